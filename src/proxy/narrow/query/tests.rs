use proptest::prelude::*;

use super::*;

fn own() -> Vec<(&'static str, String)> {
    vec![("visible_to", "clara".to_owned())]
}

fn write(client: &str) -> Result<String, QueryFault> {
    written(client, &own())
}

#[test]
fn ours_come_first_and_the_rest_passes_as_it_came() {
    assert_eq!(write(""), Ok("visible_to=clara".to_owned()));
    for passes in [
        "status=open&page=2",
        "q=a+b%20c&q=caf%C3%A9",
        "filter[status]=open&filter%5Bx%5D=1",
        "visible_to_all=1&invisible_to=2&is_visible_to=x&visible=1&to=2",
        "q=visible_to",
        "next=%2Fcards%3Fcursor%3D1",
        "q=50%2525&r=100%25",
        "q=caf%C3%A9%26th%C3%A9&x=a%3Bb",
        "&&a&=b&",
        "q={\"a\":[1,2]}|~",
    ] {
        assert_eq!(write(passes), Ok(format!("visible_to=clara&{passes}")), "{passes}");
    }
    let several = [("mine", "1".to_owned()), ("who", "a+b@x é/|=".to_owned())];
    assert_eq!(written("a=1", &several), Ok("mine=1&who=a%2Bb%40x%20%C3%A9%2F%7C%3D&a=1".to_owned()));
    let bracket = [("filter[author]", "clara".to_owned())];
    assert_eq!(written("", &bracket), Ok("filter%5Bauthor%5D=clara".to_owned()));
    assert_eq!(written("filter[author]=clara&a", &bracket), Ok("filter%5Bauthor%5D=clara&a".to_owned()));
    for refused in ["filter[status]=open", "filter=x", "FILTER.author=x"] {
        assert_eq!(written(refused, &bracket), Err(QueryFault::Taken), "{refused}");
    }
}

#[test]
fn a_link_of_the_applications_that_says_the_same_is_followed() {
    for same in [
        "cursor=2&visible_to=clara",
        "visible_to=clara&cursor=2",
        "visible_to=%63lara&cursor=2&visible_to=clara",
    ] {
        assert_eq!(write(same), Ok("visible_to=clara&cursor=2".to_owned()), "{same}");
    }
    let mail = [("who", "a+b@x".to_owned())];
    for same in ["who=a%2Bb%40x", "who=a+b@x", "who=a%2bb@x"] {
        assert_eq!(written(same, &mail), Ok("who=a%2Bb%40x".to_owned()), "{same}");
    }
}

#[test]
fn whatever_could_be_taken_for_ours_is_refused() {
    for taken in [
        "visible_to=lena",
        "visible_to",
        "visible_to=",
        "visible_to=clara2",
        "visible_to=Clara",
        "visible_to=clara=",
        "a=1&visible_to=lena",
        "VISIBLE_TO=lena",
        "Visible-To=lena",
        "visibleTo=lena",
        "visible_to[]=lena",
        "visible_to[0]=lena",
        "visible_to%5B%5D=lena",
        "visible_to.x=lena",
        "visible_to(1i)=lena",
        "visible_to:eq=lena",
        "visible_to+=lena",
        "+visible_to=lena",
        "%20visible_to=lena",
        "visible.to=lena",
        "visible+to=lena",
        "visible%20to=lena",
        "visible[to=lena",
        "!visible_to=lena",
        "_visible_to=lena",
        "v%69sible_to=lena",
        "v%2569sible_to=lena",
        "v%252569sible_to=lena",
        "visible%5Fto=clara",
        "a=1%26visible_to=lena",
        "a=1%26visible_to%3Dlena",
        "a=1%2526visible_to%3Dlena",
        "a=1%3Bvisible_to%3Dlena",
        "a=1?visible_to=lena",
        "a=1%3Fvisible_to=lena",
        "visible_to%00=lena".trim_end_matches("%00=lena"),
    ] {
        assert_eq!(write(taken), Err(QueryFault::Taken), "{taken}");
    }
    for unclear in [
        "a=1;b=2",
        ";",
        "a=100%",
        "a=%zz",
        "%u0076isible_to=lena",
        "v%C3%AFsible=1",
        "visible_to%00=lena",
        "a=%00",
        "visible%0Ato=lena",
        "a=%FF",
        &format!("a=%{}41", "25".repeat(9)),
    ] {
        assert_eq!(write(unclear), Err(QueryFault::Unclear), "{unclear}");
    }
}

#[test]
fn values_are_such_that_nobody_takes_them_apart() {
    for good in ["clara", "auth0|6", "a+b@x.example", "é", "x=", "a/b"] {
        assert!(is_value(good), "{good}");
    }
    for bad in ["", "a,b", "a;b", "*", "a b", "a%2C", "a&b", "a'b", "a\"", "a\n", "\u{a0}"] {
        assert!(!is_value(bad), "{bad:?}");
    }
}

/// How a reader of queries may be made, independent of how they are written here.
#[derive(Debug, Clone, Copy)]
struct Reader {
    /// `;` separates too.
    semicolons: bool,
    /// `+` is a space.
    plus: bool,
    /// Names are compared without case.
    folds: bool,
    /// A name ends where a bracket or a dot begins.
    nests: bool,
    /// Spaces, dots and brackets in names become `_`, spaces before them go.
    php: bool,
    /// What is decoded is decoded again.
    twice: bool,
    /// All is decoded before it is split.
    early: bool,
    /// No more parameters than this.
    most: usize,
}

impl Reader {
    fn decode(self, text: &str) -> String {
        let once = |text: &str| {
            let (mut out, bytes) = (Vec::new(), text.as_bytes());
            let mut at = 0;
            while at < bytes.len() {
                let pair =
                    text.get(at + 1..at + 3).filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()));
                match (bytes[at], pair) {
                    (b'%', Some(pair)) => {
                        out.push(u8::from_str_radix(pair, 16).unwrap());
                        at += 3;
                    }
                    (b'+', _) if self.plus => {
                        out.push(b' ');
                        at += 1;
                    }
                    (byte, _) => {
                        out.push(byte);
                        at += 1;
                    }
                }
            }
            String::from_utf8_lossy(&out).into_owned()
        };
        let text = once(text);
        if self.twice { once(&text) } else { text }
    }

    fn name(self, name: &str) -> String {
        let mut name = name.to_owned();
        if self.php {
            name = name.trim_start_matches(' ').split('\0').next().unwrap().replace([' ', '.', '['], "_");
        }
        if self.nests && !self.php {
            name = name.split(['[', '.']).next().unwrap().trim().to_owned();
        }
        if self.folds { name.to_lowercase() } else { name }
    }

    /// All values of a parameter, in order.
    fn read(self, query: &str, wanted: &str) -> Vec<String> {
        let whole = if self.early { self.decode(query) } else { query.to_owned() };
        let split = |c: char| c == '&' || (self.semicolons && c == ';');
        let parts = whole.split(split).filter(|part| !part.is_empty()).take(self.most);
        let read = parts.map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (self.name(&self.decode(name)), self.decode(value))
        });
        read.filter(|(name, _)| *name == wanted).map(|(_, value)| value).collect()
    }
}

fn reader() -> impl Strategy<Value = Reader> {
    let flags = any::<(bool, bool, bool, bool, bool, bool, bool)>();
    (flags, 1usize..6).prop_map(|((semicolons, plus, folds, nests, php, twice, early), most)| Reader {
        semicolons,
        plus,
        folds,
        nests,
        php,
        twice,
        early,
        most,
    })
}

/// Queries that come near to ours.
fn near() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "visible", "_to", "visible_to", "to", "=", "&", ";", "?", "%26", "%3D", "%3B", "%5B", "[", "]", ".", "+", "%20", "%2526",
            "%25", "%", "%5F", "_", "-", "clara", "lena", "a", "1", "v%69sible_to", "VISIBLE", "%00", "%C3%A9", "%FF", "=clara",
            "visible_to=clara",
        ]).prop_map(str::to_owned),
        1 => "[!-\"$-~]{0,3}",
    ];
    prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    // PFP-16
    #[test]
    fn whatever_the_client_sends_each_reader_reads_our_value_and_no_other(client in near(), reader in reader()) {
        if let Ok(query) = write(&client) {
            let values = reader.read(&query, "visible_to");
            prop_assert_eq!(values, ["clara"], "{} by {:?}", query, reader);
        }
    }

    #[test]
    fn what_is_written_is_the_value_for_each_reader(value in "[ -~é]{1,12}", mut reader in reader()) {
        // Who decodes twice reads another value than was meant; such values are refused before (`is_value`).
        reader.twice = reader.twice && is_value(&value);
        reader.early = false;
        let query = written("a=1&b", &[("who", value.clone())]).unwrap();
        prop_assume!(!(reader.twice && reader.plus && value.contains('+')));
        prop_assert_eq!(reader.read(&query, "who"), [value]);
        prop_assert!(query.bytes().all(|byte| matches!(byte, 0x21..=0x7E)));
    }

    #[test]
    fn what_has_nothing_of_ours_passes(client in "[a-h0-9]{1,4}(=[a-z0-9._~-]{0,5})?(&[a-h0-9]{1,4}=[a-z0-9]{0,3}){0,4}") {
        prop_assert_eq!(write(&client), Ok(format!("visible_to=clara&{client}")));
    }
}
