//! Checkpoint notes and their keys: one spelling each, and nothing opens but what was signed.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use postern::audit::{SigningKey, VerifyingKey, note::Checkpoint};

/// The example key of the reference implementation of signed notes.
const KEY: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const TEXT: &str = "PeterNeumann\n7\nAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\n";

static SIGNING: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::parse(KEY).expect("a key"));
static NOTE: LazyLock<String> = LazyLock::new(|| SIGNING.sign(TEXT).expect("a note"));

fn plain(text: &str) -> bool {
    text.bytes().all(|byte| byte >= 0x20 || byte == b'\n')
}

/// The genuine note with some bytes changed: place and value, two bytes and one.
fn changed(script: &[u8]) -> Vec<u8> {
    let mut note = NOTE.clone().into_bytes();
    for step in script.chunks_exact(4).take(8) {
        let at = usize::from(u16::from_be_bytes([step[0], step[1]])) % note.len();
        match step[2] % 3 {
            0 => note[at] = step[3],
            1 => note.insert(at, step[3]),
            _ => drop(note.remove(at)),
        }
        if note.is_empty() {
            break;
        }
    }
    note
}

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else { return };
    let bytes = if mode & 1 == 1 { changed(rest) } else { rest.to_vec() };
    let Ok(text) = std::str::from_utf8(&bytes) else { return };
    let public = SIGNING.verifying_key();

    if let Ok(opened) = public.open(text) {
        // Nobody but us signs, and of this text only, unless the reference example was found.
        assert_eq!(opened, TEXT, "a note opens that nobody signed");
        let checkpoint = Checkpoint::parse(opened).expect("a checkpoint");
        assert_eq!((checkpoint.origin.as_str(), checkpoint.size), (public.name(), 7));
    }
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        let again = checkpoint.to_text();
        assert_eq!(Checkpoint::parse(&again).expect("a checkpoint"), checkpoint);
        assert!(text.starts_with(&again), "a checkpoint in two spellings");
    }
    if let Ok(key) = VerifyingKey::parse(text) {
        assert_eq!(key.to_text(), text.trim());
        assert!(key.open(&NOTE).is_err() || key == *public);
    }
    if let Ok(key) = SigningKey::parse(text) {
        assert_eq!(*key.to_text().expect("a text"), text.trim());
    }
    if plain(text) && text.ends_with('\n') {
        let note = SIGNING.sign(text).expect("a note");
        assert_eq!(public.open(&note).expect("what was signed opens"), text);
    }
});
