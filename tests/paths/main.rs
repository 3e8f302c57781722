//! Law 10 against back-ends that read paths in their own ways: what is accepted, all of them read as the same path, and
//! no spelling reaches a guarded route's answer by way of another route.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod backends;
mod corpus;

use backends::{Backend, decode};
use http::Method;
use postern::policy::{
    path::{CanonicalPath, Delimiters, PathRules, decoded},
    routes::{Match, Params, RouteSpec, RouteTable, Template},
};
use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;

/// A map made for attackers: beside the guarded literal stand a parameter and tails that anyone may use.
fn table() -> RouteTable {
    let routes = [
        (1, corpus::GUARDED_TEMPLATE),
        (2, "/t/{tenant}/api/{thing}"),
        (3, "/t/{tenant}/{*rest}"),
        (4, "/{*rest}"),
        (5, "/t/{tenant}/api/{thing}/{*rest}"),
    ];
    let spec = |(id, template)| RouteSpec {
        host: None,
        methods: vec![Method::GET],
        template: Template::parse(template).unwrap(),
        id,
    };
    RouteTable::build(routes.map(spec).into()).unwrap()
}

fn owner(table: &RouteTable, path: &CanonicalPath<'_>) -> Match {
    table.lookup("", &Method::GET, path, &mut Params::new())
}

#[test]
fn corpus_is_large_and_each_spelling_deceives_some_back_end() {
    let spellings = corpus::spellings();
    let backends = Backend::all();
    let deceiving = spellings
        .iter()
        .filter(|spelling| {
            backends.iter().any(|backend| backend.reads(spelling) == corpus::GUARDED.as_bytes())
        })
        .count();
    println!("{} spellings, {deceiving} of them read as the guarded path by some back-end", spellings.len());
    assert!(spellings.len() >= 500, "{}", spellings.len());
    assert!(deceiving >= 500, "{deceiving}");
}

#[test]
fn no_spelling_reaches_the_guarded_route_by_another() {
    let table = table();
    let backends = Backend::all();
    assert_eq!(owner(&table, &CanonicalPath::of(corpus::GUARDED.as_bytes()).unwrap()), Match::Route(1));
    let (mut refused, mut twins) = (0, 0);
    for spelling in corpus::spellings() {
        let Ok(path) = CanonicalPath::of(&spelling) else {
            refused += 1;
            continue;
        };
        let found = owner(&table, &path);
        twins += usize::from(found == Match::Twin);
        for backend in &backends {
            if backend.reads(&spelling) == corpus::GUARDED.as_bytes() {
                assert!(
                    matches!(found, Match::Route(1) | Match::Twin),
                    "`{}` is {found:?}, and {backend:?} reads it as the guarded path",
                    path.as_str()
                );
            }
        }
    }
    println!("{refused} refused, {twins} accepted as twins");
    assert!(twins > 10, "case and slash twins are read, but matched by nothing");
}

/// What every back-end must make of an accepted path.
fn check_agreement(raw: &[u8], rules: PathRules, backends: &[Backend]) -> Result<(), TestCaseError> {
    let Ok(path) = CanonicalPath::under(raw, rules) else { return Ok(()) };
    prop_assert_eq!(path.as_str().as_bytes(), raw, "what is forwarded is what came");
    prop_assert!(CanonicalPath::under(path.as_str().as_bytes(), rules).is_ok());
    for segment in path.segments() {
        prop_assert_eq!(spell(&decoded(segment), rules), segment, "each reading has one spelling");
    }
    let meaning = decode(raw);
    for backend in backends {
        if backend.folds_case || backend.drops_last_slash || rules.matrix_parameters && backend.strips_matrix
        {
            continue;
        }
        let reading = decode(&backend.reads(raw));
        if backend.normalises {
            let (a, b) = (String::from_utf8(meaning.clone()).unwrap(), String::from_utf8(reading).unwrap());
            prop_assert_eq!(a.split('/').count(), b.split('/').count());
            for (one, other) in a.split('/').zip(b.split('/')) {
                // One that decodes last normalises before there is anything to normalise.
                let same =
                    one == other || !one.is_ascii() && !other.is_ascii() && one.nfkc().eq(other.chars());
                prop_assert!(same, "`{}` becomes `{}`", one, other);
            }
        } else {
            prop_assert_eq!(&reading, &meaning, "{:?} reads `{}` otherwise", backend, path.as_str());
        }
    }
    Ok(())
}

/// The one spelling of a decoded segment, written here anew from RFC 3986.
fn spell(segment: &str, rules: PathRules) -> String {
    let mut text = String::new();
    for byte in segment.bytes() {
        let delimiter = b"$&+,:=@".contains(&byte);
        let raw = byte.is_ascii_alphanumeric()
            || b"-._~!'()*".contains(&byte)
            || byte == b';'
            || delimiter && rules.delimiters == Delimiters::Raw;
        if raw { text.push(char::from(byte)) } else { text += &format!("%{byte:02X}") }
    }
    text
}

#[test]
fn back_ends_agree_on_every_accepted_spelling_of_the_corpus() {
    let backends = Backend::all();
    for spelling in corpus::spellings() {
        check_agreement(&spelling, PathRules::default(), &backends).unwrap();
    }
}

fn rules() -> impl Strategy<Value = PathRules> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(matrix_parameters, non_ascii, encoded)| {
        PathRules {
            matrix_parameters,
            non_ascii,
            delimiters: if encoded { Delimiters::Encoded } else { Delimiters::Raw },
        }
    })
}

/// Paths made of pieces that matter, so that many are accepted or nearly so.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec!["/", "a", "users", "Api", ".", "x1", "-", "~"]),
        4 => prop::sample::select(vec!["%20", "%C3%A9", "%E4%B8%AD", "%5B", "%7C", "@", ":", "+", "%40", "!", "%F0%9F%98%80"]),
        2 => prop::sample::select(corpus::PIECES.to_vec()),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| {
        let mut raw = b"/".to_vec();
        raw.extend(pieces.concat().bytes());
        raw
    })
}

/// Any character at all, percent-encoded, inside an ordinary path.
fn any_character() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<char>(), 1..4).prop_map(|characters| {
        let encoded: String =
            characters.iter().collect::<String>().bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("/a/b{encoded}c").into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_one_way_or_refused(tail in prop::collection::vec(any::<u8>(), 0..40), rules in rules()) {
        let raw = [b"/", tail.as_slice()].concat();
        check_agreement(&raw, rules, &Backend::notable())?;
        check_agreement(&tail, rules, &Backend::notable())?;
    }

    #[test]
    fn soup_of_nasty_pieces_is_read_one_way_or_refused(raw in soup(), rules in rules()) {
        check_agreement(&raw, rules, &Backend::notable())?;
    }

    #[test]
    fn any_encoded_character_is_read_one_way_or_refused(raw in any_character(), rules in rules()) {
        check_agreement(&raw, rules, &Backend::notable())?;
    }
}

#[test]
fn soup_is_accepted_often_enough_to_prove_something() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let accepted = (0..2_000)
        .filter(|_| CanonicalPath::of(&soup().new_tree(&mut runner).unwrap().current()).is_ok())
        .count();
    println!("{accepted} of 2000 accepted");
    assert!(accepted > 100);
}

#[test]
fn every_character_encoded_in_a_path_agrees_or_is_refused() {
    let backends = Backend::notable();
    for character in '\0'..=char::MAX {
        let mut buffer = [0; 4];
        let escaped: String =
            character.encode_utf8(&mut buffer).bytes().map(|byte| format!("%{byte:02X}")).collect();
        let raw = format!("/b{escaped}c");
        // All back-ends for what is most used, the normalising ones for the rest.
        if u32::from(character) < 0x3000 {
            check_agreement(raw.as_bytes(), PathRules::default(), &backends).unwrap();
        } else if CanonicalPath::of(raw.as_bytes()).is_ok() {
            assert!(character.nfkc().all(|c| !c.is_ascii()), "U+{:04X}", u32::from(character));
        }
    }
}
