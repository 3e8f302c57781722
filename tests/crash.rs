//! The journal's writer with every disk operation failing once, and killed at every disk operation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests"
)]

#[path = "ledger/faulty.rs"]
mod faulty;
#[path = "ledger/gated.rs"]
mod gated;
mod ledger;
#[path = "ledger/left.rs"]
mod left;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use faulty::{Fault, FaultyDisk};
use ledger::*;
use postern::audit::journal::Health;
use postern::audit::journal::disk::Disk;
use postern::audit::read::Records;
use postern::audit::verify::verify;
use postern::audit::{AppendError, Journal, Options};

/// Faults are injected, so a directory in memory serves as well and is faster.
fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Small segments, so that a few records fill one.
fn small(dir: &Path) -> Options {
    Options { segment_bytes: 64 << 10, reserve_bytes: 64 << 10, max_record: 16 << 10, ..options(dir) }
}

const RECORDS: u64 = 11;

/// What was acknowledged, by sequence number, and what was refused.
#[derive(Default)]
struct Told {
    acknowledged: BTreeMap<u64, String>,
    refused: Vec<String>,
}

fn mark(n: u64) -> String {
    format!("record {n}: {}", "x".repeat(10 << 10))
}

fn append(journal: &Journal, n: u64, told: &mut Told) -> Result<(), AppendError> {
    let mut draft = if n % 3 == 2 { outcome(n - 1) } else { intent(n) };
    let mark = mark(n);
    draft.body = body(&mark);
    match journal.append_blocking(draft) {
        Ok(receipt) => {
            told.acknowledged.insert(receipt.seq(), mark);
            Ok(())
        }
        Err(e) => {
            told.refused.push(mark);
            Err(e)
        }
    }
}

/// Some records one by one, then some at once.
fn scenario(journal: &Arc<Journal>, told: &mut Told) {
    for n in 0..RECORDS {
        if append(journal, n, told).is_err() {
            append(journal, 100 + n, told).expect("the append after a failed one succeeds");
        }
    }
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let journal = Arc::clone(journal);
            std::thread::spawn(move || {
                let mut told = Told::default();
                let _ = append(&journal, 200 + n, &mut told);
                told
            })
        })
        .collect();
    for thread in threads {
        let more = thread.join().unwrap();
        told.acknowledged.extend(more.acknowledged);
        told.refused.extend(more.refused);
    }
    append(journal, 300, told).or_else(|_| append(journal, 301, told)).expect("service resumes");
}

fn note_of(line: &postern::audit::record::Line<'_>) -> String {
    let json: serde_json::Value = serde_json::from_str(&line.leaf_json()).unwrap();
    json["note"].as_str().unwrap_or_default().to_owned()
}

/// Everything acknowledged is in the log at its place; what was refused is not in it.
fn check(dir: &Path, told: &Told, context: &str) {
    let mut records = Records::open(&ledger::ledger(dir)).unwrap();
    let mut found = BTreeMap::new();
    while let Some((seq, note)) = records.next(|line, _, _| (line.lead.seq, note_of(line))).unwrap() {
        found.insert(seq, note);
    }
    for (seq, mark) in &told.acknowledged {
        assert!(found.get(seq) == Some(mark), "{context}: record {seq} was acknowledged and is not there");
    }
    for mark in &told.refused {
        assert!(!found.values().any(|note| note == mark), "{context}: a refused record is in the log");
    }
    let report = verify(&ledger::ledger(dir), &public(dir)).unwrap();
    assert!(report.is_clean(), "{context}: {report}");
    assert_eq!(report.size, found.len() as u64, "{context}");
}

fn run_with(fault: Fault, at: u64) -> (Arc<FaultyDisk>, bool) {
    let dir = tempdir();
    let disk = FaultyDisk::new(at, fault);
    let context = format!("{fault:?} at operation {at}");
    let mut told = Told::default();
    let opened = open_with(small(dir.path()), dir.path(), Arc::clone(&disk) as Arc<dyn Disk>);
    let failed_to_open = opened.is_err();
    // A fault while opening is an error; opening again succeeds.
    let (journal, _) = match opened {
        Ok(opened) => opened,
        Err(_) => {
            open_with(small(dir.path()), dir.path(), Arc::clone(&disk) as Arc<dyn Disk>).expect(&context)
        }
    };
    let journal = Arc::new(journal);
    scenario(&journal, &mut told);
    assert_eq!(journal.status().health, Health::Healthy, "{context}");
    journal.close();
    assert_eq!(journal.append_blocking(intent(1)), Err(AppendError::Stopped));
    drop(journal);
    assert_eq!(disk.violations(), Vec::<String>::new(), "{context}");
    check(dir.path(), &told, &context);
    // A next process goes on.
    let (journal, _) =
        open_with(small(dir.path()), dir.path(), FaultyDisk::new(0, Fault::Error)).expect(&context);
    append(&journal, 400, &mut told).unwrap();
    journal.close();
    check(dir.path(), &told, &context);
    (disk, failed_to_open || !told.refused.is_empty())
}

fn every_operation(fault: Fault) {
    let operations = run_with(fault, 0).0.operations();
    assert!(operations > 100, "{operations}");
    let mut felt = 0;
    for at in 1..=operations {
        let (disk, refused) = run_with(fault, at);
        // How the records at once fall into batches differs from run to run, so the last numbers may not be reached.
        assert!(disk.operations() >= at || at > operations / 2, "{at} of {operations}");
        felt += u64::from(refused);
    }
    println!("{fault:?}: {operations} operations, {felt} failures refused records");
    if fault == Fault::Half {
        assert_eq!(felt, 0, "a short write is no failure");
    } else {
        assert!(felt >= 2 * RECORDS, "{felt}");
    }
}

#[test]
fn a_failure_of_any_operation_seals_and_loses_nothing() {
    every_operation(Fault::Error);
}

#[test]
fn an_operation_done_but_answered_with_an_error_seals_and_loses_nothing() {
    every_operation(Fault::DoneButError);
}

#[test]
fn a_write_cut_short_by_a_failure_seals_and_loses_nothing() {
    every_operation(Fault::HalfThenError);
}

#[test]
fn a_short_write_is_finished() {
    every_operation(Fault::Half);
}

#[test]
fn a_seal_is_named_by_the_next_segment() {
    let dir = tempdir();
    // The first flush of a record: found by counting up to the first append that is refused.
    let mut at = 1;
    loop {
        let to = dir.path().join(at.to_string());
        fs::create_dir(&to).unwrap();
        let disk = FaultyDisk::new(at, Fault::DoneButError);
        if let Ok((journal, _)) = open_with(small(&to), &to, disk)
            && let Err(e) = journal.append_blocking(intent(1))
        {
            assert!(matches!(&e, AppendError::Failed(_)), "{e}");
            assert_eq!(e.code(), "ledger_failed");
            journal.append_blocking(intent(2)).unwrap();
            let status = journal.status();
            assert_eq!((status.health, status.segment, status.size), (Health::Healthy, 2, 3));
            assert!(status.last_error.unwrap().contains("Input/output error"));
            journal.close();
            let second = fs::read_to_string(ledger::ledger(&to).join("00000002.jsonl")).unwrap();
            assert!(second.contains(r#""after":{"segment":"00000001.jsonl","ended":"sealed","lines":1,"fault":"Input/output error (os error 5)"}"#), "{second}");
            // The refused record may stand behind the seal; it is not part of the log.
            let report = verify(&ledger::ledger(&to), &public(&to)).unwrap();
            assert!(report.is_clean(), "{report}");
            assert_eq!(report.size, 3);
            assert!(report.outside_bytes > 0);
            break;
        }
        at += 1;
        assert!(at < 100);
    }
}

#[test]
fn a_panic_of_the_writer_stops_admission_and_hangs_nobody() {
    for at in 1..60 {
        let dir = tempdir();
        let disk = FaultyDisk::new(at, Fault::Panic);
        let options = small(dir.path());
        let path = dir.path().to_owned();
        // While opening, the panic is the caller's; afterwards it is the writer's.
        let opened = std::panic::catch_unwind(move || open_with(options, &path, disk));
        let Ok(Ok((journal, _))) = opened else { continue };
        let mut told = Told::default();
        for n in 0..RECORDS {
            if let Err(e) = append(&journal, n, &mut told) {
                assert_eq!(e, AppendError::Stopped);
            }
        }
        journal.close();
        assert_eq!(journal.status().health, Health::Stopped);
        assert_eq!(journal.append_blocking(intent(1)), Err(AppendError::Stopped));
        drop(journal);
        let mut told_again = Told { acknowledged: told.acknowledged, refused: Vec::new() };
        let (journal, _) = open(dir.path());
        append(&journal, 400, &mut told_again).unwrap();
        journal.close();
        check(dir.path(), &told_again, &format!("panic at {at}"));
    }
}

// --- killed --------------------------------------------------------------------------------------------------------

/// The process that is killed; started by the tests below with its place in the environment.
#[test]
#[ignore = "started as a child by the tests that kill it"]
fn child_that_is_killed() {
    let dir = std::env::var("LEDGER_DIR").expect("run by its parent only");
    let at = std::env::var("LEDGER_AT").unwrap().parse().unwrap();
    let fault = if std::env::var("LEDGER_HALF").is_ok() { Fault::HalfThenKill } else { Fault::Kill };
    let dir = Path::new(&dir);
    let (journal, _) = open_with(small(dir), dir, FaultyDisk::new(at, fault)).unwrap();
    let mut told = Told::default();
    let mut out = std::io::stdout();
    for n in 0..RECORDS {
        append(&journal, n, &mut told).unwrap();
        let seq = told.acknowledged.last_key_value().unwrap().0;
        // One short write, so that the kill cannot cut it in two.
        out.write_all(format!("\nack {seq} {n};\n").as_bytes()).unwrap();
        out.flush().unwrap();
    }
    journal.close();
    writeln!(out, "\ndone").unwrap();
}

/// Kills a child at each operation, then opens what it left.
fn killed_at_every_operation(half: bool) {
    let mut at = 1;
    let mut torn = 0;
    loop {
        let dir = tempdir();
        key(dir.path());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "child_that_is_killed", "--nocapture"]);
        command.env("LEDGER_DIR", dir.path()).env("LEDGER_AT", at.to_string());
        if half {
            command.env("LEDGER_HALF", "1");
        }
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut told = Told::default();
        for line in text.lines() {
            let ack = line.strip_prefix("ack ").and_then(|l| l.strip_suffix(';'));
            if let Some((seq, n)) = ack.and_then(|l| l.split_once(' ')) {
                told.acknowledged.insert(seq.parse().unwrap(), mark(n.parse().unwrap()));
            }
        }
        let done = text.lines().any(|line| line == "done");
        assert_eq!(output.status.signal() == Some(9), !done, "{text}");
        let context = format!("killed at {at}, half {half}");
        // As it lies there, it verifies: what was signed is whole, an unsigned or torn tail is named as such.
        if ledger::ledger(dir.path()).join("checkpoint").exists() {
            let report = verify(&ledger::ledger(dir.path()), &public(dir.path())).unwrap();
            assert!(report.is_clean(), "{context}: {report}");
            assert!(told.acknowledged.keys().all(|seq| *seq < report.size), "{context}");
        }
        let before = files(dir.path());
        let (journal, recovered) =
            open_with(small(dir.path()), dir.path(), FaultyDisk::new(0, Fault::Kill)).expect(&context);
        torn += u64::from(recovered.dropped_tail_bytes > 0);
        append(&journal, 400, &mut told).unwrap();
        journal.close();
        check(dir.path(), &told, &context);
        let after = files(dir.path());
        for (name, bytes) in before {
            assert_eq!(after.get(&name), Some(&bytes), "{context}: segment {name} was touched");
        }
        if done {
            break;
        }
        at += 1;
    }
    println!("killed at each of {} operations, half {half}; {torn} torn tails", at - 1);
    assert!(at > 80, "{at}");
    assert_eq!(torn > 0, half);
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(ledger::ledger(dir)).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "jsonl") {
            files.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn killed_before_any_operation_nothing_acknowledged_is_lost() {
    killed_at_every_operation(false);
}

#[test]
fn killed_within_any_operation_nothing_acknowledged_is_lost() {
    killed_at_every_operation(true);
}
