//! What of a configuration's text is never shown: keys that stand where a file or variable should be named, and
//! passwords in addresses.
//!
//! Lives here: which bytes are blotted out in excerpts and which messages quote nothing. Never here: when something is
//! a fault.

use super::written::Place;

/// Words that messages about keys quote and that are never a secret.
const WORDS: &[&str] = &[
    "-----BEGIN PUBLIC KEY-----",
    "crv",
    "d",
    "dangerous",
    "env",
    "file",
    "inline",
    "key",
    "keys",
    "kty",
    "secret",
];

/// What is never shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Veil {
    /// Scalars that are blotted out.
    pub(super) blots: Vec<Place>,
    /// Values in which a message quotes nothing.
    pub(super) silent: Vec<Place>,
}

impl Veil {
    /// The text as it may be shown: of the same length in bytes, and with the same lines.
    pub(super) fn over(&self, text: &str) -> String {
        let mut hidden = vec![false; text.len()];
        let places = self.blots.iter().map(|place| (place.start(), place.end()));
        for (start, end) in places.chain(by_looks(text)) {
            for byte in hidden.iter_mut().take(end).skip(start) {
                *byte = true;
            }
        }
        let mut shown = String::with_capacity(text.len());
        for (at, letter) in text.char_indices() {
            if hidden.get(at) == Some(&true) && !matches!(letter, '\n' | '\r') {
                shown.extend(std::iter::repeat_n('*', letter.len_utf8()));
            } else {
                shown.push(letter);
            }
        }
        shown
    }

    /// A message about a place, without what it quotes from a key.
    pub(super) fn message(&self, place: Place, message: String) -> String {
        let inside =
            |silent: &Place| (silent.start()..=silent.end()).contains(&place.start()) && !place.is_nowhere();
        let silent = self.silent.iter().any(inside);
        let quoted = |(number, part): (usize, &str)| match number % 2 {
            1 if silent && !WORDS.contains(&part) => "…".to_owned(),
            // A secret that shows by its form, wherever it stands.
            1 if part.contains("whsec_") && part != "whsec_" => "…".to_owned(),
            _ => part.to_owned(),
        };
        message.split('`').enumerate().map(quoted).collect::<Vec<_>>().join("`")
    }
}

/// Secrets that show by their form, wherever they stand: also where the text is no YAML and nothing is known of keys.
fn by_looks(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (start, _) in text.match_indices("-----BEGIN ") {
        let rest = text.get(start..).unwrap_or_default();
        // To the dashes behind the last one; where there is no last one, to the end.
        let end = rest.find("-----END ").map_or(rest.len(), |end| {
            let behind = rest.get(end + 9..).unwrap_or_default();
            behind.find("-----").map_or(rest.len(), |dashes| end + 9 + dashes + 5)
        });
        if !rest.starts_with("-----BEGIN PUBLIC KEY") {
            found.push((start, start + end));
        }
    }
    for (start, _) in text.match_indices("PRIVATE+KEY+") {
        let rest = text.get(start..).unwrap_or_default();
        found.push((start, start + rest.find(char::is_whitespace).unwrap_or(rest.len())));
    }
    for (start, mark) in text.match_indices("whsec_") {
        let rest = text.get(start + mark.len()..).unwrap_or_default();
        let length =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_')));
        found.push((start, start + mark.len() + length.unwrap_or(rest.len())));
    }
    for (start, mark) in text.match_indices("://") {
        let start = start + mark.len();
        let rest = text.get(start..).unwrap_or_default();
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')).unwrap_or(rest.len());
        if let Some(at) = rest.get(..end).and_then(|rest| rest.rfind('@')) {
            found.push((start, start + at));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Veil::default().over(text)
    }

    #[test]
    fn what_looks_like_a_secret_is_blotted_out_and_nothing_moves() {
        assert_eq!(shown("a: http://u:pä@h/ b"), "a: http://*****@h/ b");
        assert_eq!(shown("k: PRIVATE+KEY+x+y z"), "k: *************** z");
        assert_eq!(shown("[\"whsec_a+/b=\", c]"), "[\"***********\", c]");
        let text = "k: |\n  -----BEGIN PRIVATE KEY-----\n  MC4C\n  -----END PRIVATE KEY-----\nb: 1\n";
        let veiled = shown(text);
        assert!(veiled.starts_with("k: |\n  ***") && veiled.ends_with("***\nb: 1\n"), "{veiled}");
        assert!(!veiled.contains("MC4C") && veiled.len() == text.len());
        assert!(!shown("-----BEGIN PRIVATE KEY-----\nMC4C").contains("MC4C"));
        assert_eq!(shown("mail: a@b, see http://c"), "mail: a@b, see http://c");
    }

    #[test]
    fn a_message_about_a_key_quotes_nothing_of_it() {
        let veil = Veil { blots: Vec::new(), silent: vec![Place::at(5, 10)] };
        let told = |at| veil.message(Place::at(at, 1), "`s3cret` is no `file`".to_owned());
        assert_eq!(told(7), "`…` is no `file`");
        assert_eq!(told(2), "`s3cret` is no `file`");
        let told = veil.message(Place::at(2, 1), "`whsec_abc` is none; it begins with `whsec_`".to_owned());
        assert_eq!(told, "`…` is none; it begins with `whsec_`");
    }
}
