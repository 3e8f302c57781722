//! Opening a ledger that was left torn, damaged or tampered with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod ledger;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ledger::*;
use postern::audit::journal::Recovered;
use postern::audit::journal::disk::RealDisk;
use postern::audit::verify::verify;
use postern::audit::{Body, Draft, Journal, OpenError, Options, SigningKey};

/// A ledger whose checkpoint covers only the header and whose records were each a batch of their own.
fn unsigned(dir: &Path) -> PathBuf {
    let options = Options { checkpoint_every: Duration::from_secs(3600), ..options(dir) };
    let (journal, _) = open_with(options, dir, Arc::new(RealDisk)).unwrap();
    for n in 0..4 {
        journal.append_blocking(intent(n)).unwrap();
    }
    // As a process that was killed leaves it: no checkpoint at the end.
    let copy = dir.join("copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(ledger::ledger(dir)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    drop(journal);
    fs::remove_dir_all(ledger::ledger(dir)).unwrap();
    fs::rename(copy, ledger::ledger(dir)).unwrap();
    ledger::ledger(dir).join("00000001.jsonl")
}

fn try_open(dir: &Path) -> Result<(Journal, Recovered), OpenError> {
    open_with(options(dir), dir, Arc::new(RealDisk))
}

fn refused(dir: &Path) -> (String, u64, String) {
    match try_open(dir) {
        Err(OpenError::Damaged { file, line, why }) => (file, line, why),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was opened"),
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().split_inclusive('\n').map(str::to_owned).collect()
}

#[test]
fn a_torn_tail_is_left_where_it_is_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let segment = unsigned(dir.path());
    let whole = fs::read(&segment).unwrap();
    let torn = &whole[..whole.len() - 40];
    fs::write(&segment, torn).unwrap();
    let (journal, recovered) = try_open(dir.path()).unwrap();
    let last = lines(&segment)[4].len() as u64;
    assert_eq!(recovered.dropped_tail_bytes, last);
    assert_eq!(recovered.open_intents.len(), 3);
    journal.append_blocking(intent(9)).unwrap();
    journal.close();
    assert_eq!(fs::read(&segment).unwrap(), torn, "the torn segment was touched");
    let next = fs::read_to_string(segment.with_file_name("00000002.jsonl")).unwrap();
    assert!(next.contains(r#""after":{"segment":"00000001.jsonl","ended":"stopped","lines":4}"#), "{next}");
    let report = verify(&ledger::ledger(dir.path()), &public(dir.path())).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.size, report.outside_bytes), (6, last));
}

#[test]
fn damage_before_acknowledged_records_is_refused_though_no_checkpoint_covers_it() {
    let dir = tempfile::tempdir().unwrap();
    let segment = unsigned(dir.path());
    let mut all = lines(&segment);
    all[2] = all[2].replacen("{\"v\":1", "{\"v\":7", 1);
    fs::write(&segment, all.concat()).unwrap();
    let (file, line, why) = refused(dir.path());
    assert_eq!((file.as_str(), line), ("00000001.jsonl", 3));
    assert!(why.contains("acknowledged records follow"), "{why}");
    // A record altered but still readable is noticed by the one behind it.
    all[2] = all[2].replacen("{\"v\":7", "{\"v\":1", 1).replacen("intent 1", "intent 7", 1);
    fs::write(&segment, all.concat()).unwrap();
    assert_eq!(refused(dir.path()).1, 4);
}

#[test]
fn what_a_checkpoint_covers_must_be_there_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    three_segments(dir.path());
    let segment = ledger::ledger(dir.path()).join("00000003.jsonl");
    let all = lines(&segment);

    let mut altered = all.clone();
    altered[5] = altered[5].replacen("outcome 7", "outcome 6", 1);
    fs::write(&segment, altered.concat()).unwrap();
    assert!(refused(dir.path()).2.contains("not those that the checkpoint covers"));

    fs::write(&segment, all[..5].concat()).unwrap();
    assert!(refused(dir.path()).2.contains("ends with 17 records, but the checkpoint covers 18"));

    // Nor is a checkpoint taken away unnoticed, with what it covered or without; nor an older one put in place.
    fs::write(&segment, all.concat()).unwrap();
    let checkpoint = segment.with_file_name("checkpoint");
    let newest = fs::read(&checkpoint).unwrap();
    fs::remove_file(&checkpoint).unwrap();
    let history = "`00000003.checkpoints` says that 18 records were signed";
    assert_eq!(refused(dir.path()), ("checkpoint".into(), 0, format!("it is missing, and {history}")));
    let notes = fs::read_to_string(segment.with_file_name("00000003.checkpoints")).unwrap();
    let first: String = notes.split_inclusive('\n').take(5).collect();
    fs::write(&checkpoint, first).unwrap();
    assert!(refused(dir.path()).2.ends_with("and `00000003.checkpoints` says that 18 were signed"));
    fs::write(&checkpoint, newest).unwrap();

    fs::remove_file(&segment).unwrap();
    assert!(refused(dir.path()).2.contains("ends with 12 records"));
    for n in [1, 2] {
        fs::remove_file(segment.with_file_name(format!("{n:08}.jsonl"))).unwrap();
    }
    assert!(refused(dir.path()).2.contains("there is no segment"));
}

#[test]
fn a_ledger_of_another_key_or_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    three_segments(dir.path());
    let clock = ManualClock::new().clock();
    let other = SigningKey::generate(ORIGIN).unwrap();
    let result = Journal::open(options(dir.path()), other, Arc::clone(&clock), Arc::new(RealDisk));
    assert!(matches!(result, Err(OpenError::Checkpoint(_))));
    let named = SigningKey::generate("another.example/gw1").unwrap();
    let result = Journal::open(options(dir.path()), named, clock, Arc::new(RealDisk));
    assert!(matches!(result, Err(OpenError::Options(_))));
}

#[test]
fn a_segment_that_is_full_is_followed_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 64 << 10, max_record: 8 << 10, ..options(dir.path()) };
    let (journal, _) = open_with(options, dir.path(), Arc::new(RealDisk)).unwrap();
    for n in 0..100 {
        journal.append_blocking(Draft::new("note", START_MS + n, body(&"z".repeat(2000)))).unwrap();
    }
    journal.close();
    let report = verify(&ledger::ledger(dir.path()), &public(dir.path())).unwrap();
    assert!(report.is_clean(), "{report}");
    assert!(report.segments >= 4, "{report}");
    for number in 1..=report.segments {
        let path = ledger::ledger(dir.path()).join(format!("{number:08}.jsonl"));
        assert!(fs::metadata(path).unwrap().len() <= 64 << 10);
    }
}

#[test]
fn a_long_string_is_cut_and_a_record_that_cannot_be_cut_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let receipt = journal.append_blocking(Draft::new("note", START_MS, body(&"ü".repeat(60_000)))).unwrap();
    assert_eq!(receipt.seq(), 1);
    assert_eq!(receipt.log(), ORIGIN);
    let many = Body::of(&serde_json::json!({"numbers": vec![123_456; 20_000]})).unwrap();
    let error = journal.append_blocking(Draft::new("note", START_MS, many)).unwrap_err();
    assert_eq!(error.code(), "ledger_record_too_large");
    journal.close();
    let text = lines(&ledger::ledger(dir.path()).join("00000001.jsonl"))[1].clone();
    assert!(text.len() <= 32 << 10);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["cut"][0]["at"], "/note");
    assert_eq!(json["cut"][0]["bytes"], 120_000);
    let report = verify(&ledger::ledger(dir.path()), &public(dir.path())).unwrap();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_session_that_ended_is_forgotten_by_the_next_header_and_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let of = |session: &str| Draft {
        session: Some(session.to_owned()),
        ..Draft::new("note", START_MS, Body::empty())
    };
    journal.append_blocking(of("stays")).unwrap();
    journal.append_blocking(of("open")).unwrap();
    journal.append_blocking(Draft { ends_session: true, ..of("ends") }).unwrap();
    // The ending is the writer's knowledge, so the same process must begin the next segment: fill this one.
    for n in 0..700 {
        journal.append_blocking(Draft::new("fill", START_MS + n, body(&"f".repeat(2000)))).unwrap();
    }
    journal.append_blocking(of("stays")).unwrap();
    journal.close();
    let second = lines(&ledger::ledger(dir.path()).join("00000002.jsonl"));
    let header: serde_json::Value = serde_json::from_str(&second[0]).unwrap();
    assert_eq!(header["sessions"], serde_json::json!({"stays": 1, "open": 1}));
    assert!(second.last().unwrap().contains(r#""session":"stays","sseq":2,"#));
    let report = verify(&ledger::ledger(dir.path()), &public(dir.path())).unwrap();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_draft_that_the_format_cannot_carry_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let good = || Draft::new("note", START_MS, Body::empty());
    let bad = [
        Draft { kind: "segment", ..good() },
        Draft { kind: "two words", ..good() },
        Draft { at_ms: -1, ..good() },
        Draft { session: Some("a\"b".into()), ..good() },
        Draft { opens: Some(String::new()), ..good() },
        Draft { closes: Some("x\n".into()), ..good() },
    ];
    for draft in bad {
        assert_eq!(journal.append_blocking(draft).unwrap_err().code(), "ledger_bad_record");
    }
    assert_eq!(journal.append_blocking(good()).unwrap().seq(), 1);
}
