//! The shape of a reference, such as a ticket's: `[A-Z]{2,5}-[0-9]{1,8}`.
//!
//! A shape is read like a regular expression that knows characters, classes in brackets and counts in braces and nothing
//! else. It always means the whole text, its longest text is bounded, and matching takes no more steps than the text
//! has characters for each of its pieces.
//!
//! Never here: what is done with what matched.

/// The longest text that can match, in characters.
const LONGEST: u32 = 100;

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    /// One bit for each ASCII character.
    class: u128,
    least: u32,
    most: u32,
}

/// Why a text is no shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShapeFault {
    /// A character that stands for something else in other languages, or cannot stand in a reference.
    #[error(
        "only letters, digits and `-_.:/#` stand for themselves; use `[...]` for a choice and `{{...}}` for a count"
    )]
    Character,
    /// A class that is not of the form.
    #[error("a choice is `[A-Z0-9_]`: letters, digits, `-_.:/#` and ranges of letters or digits, not empty")]
    Class,
    /// A count that is not of the form.
    #[error(
        "a count is `{{3}}` or `{{1,8}}`, behind a character or a choice, its first number not above its second"
    )]
    Count,
    /// It matches nothing, or texts that are too long.
    #[error("the shape must match texts of 1 to {LONGEST} characters")]
    Length,
}

impl Shape {
    /// Reads a shape.
    ///
    /// # Errors
    /// [`ShapeFault`], which says what to write instead.
    pub fn parse(text: &str) -> Result<Shape, ShapeFault> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut counted = true;
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            match char {
                '[' => pieces.push(Piece { class: class(&mut chars)?, least: 1, most: 1 }),
                '{' if !counted => {
                    let (least, most) = count(&mut chars)?;
                    let piece = pieces.last_mut().ok_or(ShapeFault::Count)?;
                    (piece.least, piece.most) = (least, most);
                }
                '{' => return Err(ShapeFault::Count),
                plain if is_plain(plain) => pieces.push(Piece { class: bit(plain), least: 1, most: 1 }),
                _ => return Err(ShapeFault::Character),
            }
            counted = char == '{';
        }
        let longest = pieces.iter().fold(0u32, |sum, piece| sum.saturating_add(piece.most));
        if longest == 0 || longest > LONGEST {
            return Err(ShapeFault::Length);
        }
        Ok(Shape { text: text.to_owned(), pieces })
    }

    /// The shape as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole text is of this shape.
    pub fn matches(&self, text: &str) -> bool {
        if text.is_empty() || text.len() > usize::try_from(LONGEST).unwrap_or(0) {
            return false;
        }
        // Bit `n`: the pieces so far may end behind `n` characters. A text has at most 100.
        let mut ends = 1u128;
        for piece in &self.pieces {
            let fits = text.bytes().enumerate().fold(0u128, |fits, (at, byte)| {
                let is_in = byte.is_ascii() && piece.class >> byte & 1 == 1;
                fits | u128::from(is_in) << at
            });
            let mut reached = if piece.least == 0 { ends } else { 0 };
            for times in 1..=piece.most {
                ends = (ends & fits) << 1;
                if times >= piece.least {
                    reached |= ends;
                }
            }
            ends = reached;
        }
        ends >> text.len() & 1 == 1
    }
}

fn is_plain(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.' | ':' | '/' | '#')
}

fn bit(char: char) -> u128 {
    1u128.checked_shl(u32::from(char)).unwrap_or(0)
}

fn class(chars: &mut std::str::Chars<'_>) -> Result<u128, ShapeFault> {
    let (mut class, mut last) = (0u128, None);
    loop {
        match chars.next().ok_or(ShapeFault::Class)? {
            ']' if class != 0 => return Ok(class),
            '-' if last.is_some() && chars.clone().next().is_some_and(|next| next != ']') => {
                let (from, to) =
                    (last.take().ok_or(ShapeFault::Class)?, chars.next().ok_or(ShapeFault::Class)?);
                let kinds: [fn(&char) -> bool; 3] =
                    [char::is_ascii_digit, char::is_ascii_lowercase, char::is_ascii_uppercase];
                if from > to || !kinds.iter().any(|kind| kind(&from) && kind(&to)) {
                    return Err(ShapeFault::Class);
                }
                (from..=to).for_each(|char| class |= bit(char));
            }
            plain if is_plain(plain) => {
                class |= bit(plain);
                last = Some(plain);
            }
            _ => return Err(ShapeFault::Class),
        }
    }
}

fn count(chars: &mut std::str::Chars<'_>) -> Result<(u32, u32), ShapeFault> {
    let mut inside = String::new();
    loop {
        match chars.next().ok_or(ShapeFault::Count)? {
            '}' => break,
            char if char.is_ascii_digit() || char == ',' => inside.push(char),
            _ => return Err(ShapeFault::Count),
        }
    }
    let number = |text: &str| text.parse::<u32>().map_err(|_| ShapeFault::Count);
    let (least, most) = match inside.split_once(',') {
        Some((least, most)) => (number(least)?, number(most)?),
        None => (number(&inside)?, number(&inside)?),
    };
    if least > most || most == 0 {
        return Err(ShapeFault::Count);
    }
    if most > LONGEST { Err(ShapeFault::Length) } else { Ok((least, most)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_means_the_whole_text() {
        let cases: [(&str, &[&str], &[&str]); 7] = [
            (
                "[A-Z]{2,5}-[0-9]{1,8}",
                &["AB-1", "SUPER-12345678", "HELP-77"],
                &[
                    "",
                    "A-1",
                    "SUPPORT-1",
                    "ab-1",
                    "AB-",
                    "AB-123456789",
                    "AB-1 ",
                    " AB-1",
                    "xAB-1",
                    "AB-1\n",
                    "AB-１",
                ],
            ),
            ("INC[0-9]{7}", &["INC0012345"], &["INC123", "inc0012345", "INC00123456"]),
            ("a{0,1}b", &["b", "ab"], &["aab", "a"]),
            ("[a-c]{1,3}c", &["ac", "cc", "ccc", "cccc", "abcc"], &["c", "ccccc", "ab"]),
            ("[ab]{0,50}[b]{0,50}", &["ab", "b", "a"], &["bac"]),
            ("a.b", &["a.b"], &["axb"]),
            ("[a-]#[._-]", &["a#.", "-#-"], &["b#."]),
        ];
        for (shape, good, bad) in cases {
            let shape = Shape::parse(shape).unwrap();
            for text in good {
                assert!(shape.matches(text), "{} {text}", shape.as_str());
            }
            for text in bad {
                assert!(!shape.matches(text), "{} {text}", shape.as_str());
            }
        }
        let longest = Shape::parse("[a-z]{1,100}").unwrap();
        assert!(longest.matches(&"x".repeat(100)) && !longest.matches(&"x".repeat(101)));
    }

    #[test]
    fn what_means_more_elsewhere_is_no_shape() {
        for (text, fault) in [
            ("", ShapeFault::Length),
            ("a{0,0}", ShapeFault::Count),
            ("a{101}", ShapeFault::Length),
            ("a{60}b{60}", ShapeFault::Length),
            ("^a$", ShapeFault::Character),
            ("a*", ShapeFault::Character),
            ("a|b", ShapeFault::Character),
            ("(a)", ShapeFault::Character),
            ("\\d", ShapeFault::Character),
            ("a b", ShapeFault::Character),
            ("ä", ShapeFault::Character),
            ("a}", ShapeFault::Character),
            ("{2}", ShapeFault::Count),
            ("a{2}{3}", ShapeFault::Count),
            ("a{}", ShapeFault::Count),
            ("a{2", ShapeFault::Count),
            ("a{3,2}", ShapeFault::Count),
            ("a{,2}", ShapeFault::Count),
            ("a{-1}", ShapeFault::Count),
            ("a{99999999999}", ShapeFault::Count),
            ("[]", ShapeFault::Class),
            ("[a", ShapeFault::Class),
            ("[z-a]", ShapeFault::Class),
            ("[A-z]", ShapeFault::Class),
            ("[0-Z]", ShapeFault::Class),
            ("[^a]", ShapeFault::Class),
            ("[a-b-c]", ShapeFault::Class),
            ("[ä]", ShapeFault::Class),
        ] {
            match Shape::parse(text) {
                // `-` behind a range stands for itself.
                Ok(shape) => assert!(text == "[a-b-c]" && shape.matches("-"), "{text}"),
                Err(found) => assert_eq!(found, fault, "{text}"),
            }
        }
    }
}
