//! Paths: what is accepted is canonical, is its own canonical form, has one spelling, and is read alike by back-ends
//! that decode, merge, strip and fold in their own ways.
#![no_main]
#![allow(dead_code, reason = "of the back-ends' models only some are asked for")]

#[path = "../../tests/paths/backends.rs"]
mod backends;

use std::sync::LazyLock;

use backends::{Backend, decode};
use libfuzzer_sys::fuzz_target;
use postern::policy::path::{CanonicalPath, Delimiters, PathRules, decoded};
use unicode_normalization::UnicodeNormalization;

static BACKENDS: LazyLock<Vec<Backend>> = LazyLock::new(Backend::notable);

/// The one spelling of a decoded segment, from RFC 3986.
fn spell(segment: &str, rules: PathRules) -> String {
    let mut text = String::new();
    for byte in segment.bytes() {
        let delimiter = b"$&+,:=@".contains(&byte);
        let raw = byte.is_ascii_alphanumeric()
            || b"-._~!'()*;".contains(&byte)
            || delimiter && rules.delimiters == Delimiters::Raw;
        if raw { text.push(char::from(byte)) } else { text += &format!("%{byte:02X}") }
    }
    text
}

fuzz_target!(|input: &[u8]| {
    let Some((first, raw)) = input.split_first() else { return };
    let rules = PathRules {
        matrix_parameters: first & 1 == 1,
        non_ascii: first & 2 == 2,
        delimiters: if first & 4 == 4 { Delimiters::Encoded } else { Delimiters::Raw },
    };
    let Ok(path) = CanonicalPath::under(raw, rules) else { return };
    assert_eq!(path.as_str().as_bytes(), raw, "what is forwarded is what came");
    let again = CanonicalPath::under(path.as_str().as_bytes(), rules).expect("a fixed point");
    assert_eq!(again.as_str(), path.as_str());
    for segment in path.segments() {
        assert_eq!(spell(&decoded(segment), rules), segment, "each reading has one spelling");
    }
    let meaning = String::from_utf8(decode(raw)).expect("what is accepted decodes to UTF-8");
    for backend in BACKENDS.iter().filter(|backend| !backend.folds_case && !backend.drops_last_slash) {
        if rules.matrix_parameters && backend.strips_matrix {
            continue;
        }
        let reading = String::from_utf8(decode(&backend.reads(raw))).expect("and stays so");
        if !backend.normalises {
            assert_eq!(reading, meaning, "{backend:?} reads `{}` otherwise", path.as_str());
            continue;
        }
        assert_eq!(meaning.split('/').count(), reading.split('/').count());
        for (one, other) in meaning.split('/').zip(reading.split('/')) {
            let same = one == other || !one.is_ascii() && !other.is_ascii() && one.nfkc().eq(other.chars());
            assert!(same, "`{one}` becomes `{other}`");
        }
    }
});
