//! The ledger from outside: what is written, what is found again, and how tampering is named by both verifiers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

mod ledger;

use std::fs;

use ledger::*;
use postern::audit::read::Records;
use postern::audit::verify::verify;

#[test]
fn a_ledger_of_three_segments_verifies_and_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    three_segments(dir.path());
    let report = verify(&ledger::ledger(dir.path()), &public(dir.path())).unwrap();
    println!("{report}");
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.size, report.signed, report.segments), (18, 18, 3));
    assert_eq!(report.kinds["access.intent"], 9);
    assert_eq!(report.kinds["segment"], 3);
    let open: Vec<&str> = report.open_intents.iter().map(|i| i.id.as_str()).collect();
    assert_eq!(open, ["x-2", "x-5", "x-8"]);

    let mut records = Records::open(&ledger::ledger(dir.path())).unwrap();
    let mut seqs = Vec::new();
    while let Some(seq) = records.next(|line, _, _| line.lead.seq).unwrap() {
        seqs.push(seq);
    }
    assert_eq!(seqs, (0..18).collect::<Vec<u64>>());
}

#[test]
fn opening_again_finds_open_intents_in_older_segments() {
    let dir = tempfile::tempdir().unwrap();
    three_segments(dir.path());
    let (journal, recovered) = open(dir.path());
    assert!(!recovered.fresh);
    assert_eq!(recovered.last_at_ms, Some(START_MS + 8));
    assert_eq!(recovered.dropped_tail_bytes, 0);
    let ids: Vec<&str> = recovered.open_intents.iter().map(|i| i.id.as_str()).collect();
    assert_eq!(ids, ["x-2", "x-5", "x-8"]);
    for intent in &recovered.open_intents {
        assert!(intent.line.contains(&format!("\"opens\":\"{}\"", intent.id)));
        let file =
            fs::read_to_string(ledger::ledger(dir.path()).join(format!("{:08}.jsonl", intent.seq / 6 + 1)))
                .unwrap();
        assert!(file.lines().any(|line| line == intent.line));
    }
    journal.append_blocking(outcome(2)).unwrap();
    journal.close();
    drop(journal);
    let (_journal, recovered) = open(dir.path());
    assert_eq!(recovered.open_intents.len(), 2);
}

#[test]
fn a_second_process_is_told_that_the_ledger_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let (_journal, recovered) = open(dir.path());
    assert!(recovered.fresh);
    let again = open_with(
        options(dir.path()),
        dir.path(),
        std::sync::Arc::new(postern::audit::journal::disk::RealDisk),
    );
    assert!(matches!(again, Err(postern::audit::OpenError::Locked(_))));
}
