//! What deploy/ promises: read as it stands, held against the configuration that it carries, and run without a container runtime.
//!
//! [`boxed`] runs a service as a runtime would: in a root directory of its own that is read-only, with the volumes, the user, the
//! command and the variables that the file says. It needs root, as tests of full disks do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "tests"
)]

mod alerts;
mod boxed;
mod carried;
#[path = "../it/client.rs"]
mod client;
mod compose;
mod kubernetes;
mod walk;
mod wire;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;

/// A file of deploy/.
fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(deploy(path)).unwrap_or_else(|fault| panic!("{path}: {fault}"))
}

/// Its documents.
fn yaml(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(path)).unwrap_or_else(|fault| panic!("{path}: {fault}"))
}

fn one(path: &str) -> Value {
    let all = yaml(path);
    assert_eq!(all.len(), 1, "{path}");
    all.into_iter().next().unwrap()
}

/// The texts of a list.
fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter().map(|word| word.as_str().unwrap_or_else(|| panic!("no text: {word}")).to_owned()).collect()
}

/// What follows a word.
fn after<'w>(words: &'w [String], word: &str) -> &'w str {
    let at = words.iter().position(|have| have == word).unwrap_or_else(|| panic!("no `{word}` in {words:?}"));
    &words[at + 1]
}

/// `512M`, `1Gi`, `256mb`: bytes.
fn bytes(size: &str) -> u64 {
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match size[digits.len()..].to_ascii_lowercase().as_str() {
        "m" | "mi" | "mb" => 1 << 20,
        "g" | "gi" | "gb" => 1 << 30,
        unit => panic!("`{unit}` of `{size}`"),
    };
    digits.parse::<u64>().unwrap() * factor
}

/// `30s`: milliseconds.
fn seconds(span: &str) -> i64 {
    span.strip_suffix('s').and_then(|number| number.parse::<i64>().ok()).unwrap_or_else(|| panic!("`{span}`"))
        * 1000
}

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}
