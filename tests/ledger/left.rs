//! Records that nobody waits for: when they are written, with what, and that a failing disk loses none and doubles none.

use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postern::audit::journal::disk::{Disk, RealDisk};
use postern::audit::read::Records;
use postern::audit::verify::verify;
use postern::audit::{AppendError, Body, Class, Draft, Journal, Options};

use super::faulty::{Fault, FaultyDisk};
use super::gated::{Gate, GatedDisk};
use super::ledger::{self, intent, open, open_with, options, outcome, public};
use super::{small, tempdir};

fn rest(journal: &Journal) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(30), journal.rest()).await.expect("all of it is written");
    });
}

/// What the log holds: kinds of its records and the ids of the intents that they close.
fn closed(dir: &Path) -> Vec<String> {
    let mut records = Records::open(&ledger::ledger(dir)).unwrap();
    let mut found = Vec::new();
    while let Some(closes) = records.next(|line, _, _| line.lead.closes.map(|id| id.to_owned())).unwrap() {
        found.extend(closes);
    }
    found
}

#[test]
fn what_is_left_is_written_by_itself() {
    let dir = tempdir();
    let (journal, _) = open(dir.path());
    journal.append_blocking(intent(1)).unwrap();
    let size = journal.status().size;
    // The writer may be awake or asleep: once right after a record, once long after it.
    for n in 1..3 {
        journal.leave(outcome(n)).unwrap();
        let until = Instant::now() + Duration::from_secs(30);
        while journal.status().size < size + n {
            assert!(Instant::now() < until, "outcome {n} is not written");
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    rest(&journal);
    journal.close();
    assert_eq!(closed(dir.path()), ["x-1", "x-2"]);
}

#[test]
fn what_is_left_is_written_before_a_close() {
    let dir = tempdir();
    let (journal, _) = open(dir.path());
    for n in 0..200 {
        journal.leave(outcome(n)).unwrap();
    }
    journal.close();
    assert_eq!(closed(dir.path()).len(), 200);
    // Nobody is left to write it; nobody waits in vain.
    journal.leave(outcome(300)).unwrap();
    rest(&journal);
}

#[test]
fn what_can_never_be_a_record_is_refused_at_once() {
    let dir = tempdir();
    let (journal, _) = open(dir.path());
    let kind = Draft::new("two words", ledger::START_MS, Body::of(&serde_json::json!({})).unwrap());
    assert!(matches!(journal.leave(kind), Err(AppendError::BadDraft(_))));
    rest(&journal);
}

#[test]
fn outcomes_share_the_flush_of_the_next_intent_and_stand_before_it() {
    let dir = tempdir();
    let (reached, is_reached) = channel();
    let (let_go, go) = channel();
    let options = Options { checkpoint_every: Duration::from_secs(3600), ..options(dir.path()) };
    // The header's flush, and that of the checkpoint over it.
    let_go.send(()).unwrap();
    let_go.send(()).unwrap();
    let disk = GatedDisk(Arc::new(Gate { reached, go: Mutex::new(go) }));
    let (journal, _) = open_with(options, dir.path(), Arc::new(disk)).unwrap();
    is_reached.recv().unwrap();
    is_reached.recv().unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| journal.append_blocking(intent(1)));
        is_reached.recv().unwrap();
        // The writer is in the first intent's flush. A hundred outcomes come, then a second intent.
        for n in 10..110 {
            journal.leave(Draft { closes: None, ..outcome(n) }).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut second = Box::pin(journal.append(intent(2)));
            // Polled once, it is in the queue.
            assert!(
                std::future::poll_fn(|cx| std::task::Poll::Ready(second.as_mut().poll(cx).is_pending()))
                    .await
            );
            drop(let_go);
            assert_eq!(first.join().unwrap().unwrap().seq(), 1);
            assert_eq!(second.await.unwrap().seq(), 102);
        });
    });
    journal.close();
    let text = fs::read_to_string(ledger::ledger(dir.path()).join("00000001.jsonl")).unwrap();
    assert_eq!(text.matches("\"batch\":2,").count(), 101, "one flush for a hundred outcomes and the intent");
}

#[test]
fn an_outcome_waits_for_an_intent_that_still_stands_in_the_queue() {
    let dir = tempdir();
    let (reached, reaches) = channel();
    let (let_go, go) = channel();
    let gate = Arc::new(Gate { reached, go: Mutex::new(go) });
    // The header's flush, and the first intent's; those of checkpoints are let go of at the end.
    let unsigned = Options { checkpoint_every: Duration::from_secs(3600), ..options(dir.path()) };
    let opening = std::thread::scope(|scope| {
        let opened = scope.spawn(|| open_with(unsigned, dir.path(), Arc::new(GatedDisk(gate))).unwrap());
        reaches.recv().unwrap();
        let_go.send(()).unwrap();
        opened.join().unwrap()
    });
    let journal = Arc::new(opening.0);
    let first = {
        let journal = Arc::clone(&journal);
        std::thread::spawn(move || journal.append_blocking(intent(1)))
    };
    // A checkpoint of the beginning may be flushed before it.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    reaches.recv().unwrap();
    runtime.block_on(async {
        // Asked for and dropped, as by a client that went away; its outcome is left at once.
        let mut dropped = Box::pin(journal.append(intent(2)));
        let pending = |context: &mut std::task::Context<'_>| {
            std::task::Poll::Ready(dropped.as_mut().poll(context).is_pending())
        };
        assert!(std::future::poll_fn(pending).await);
    });
    journal.leave(outcome(2)).unwrap();
    drop(let_go);
    first.join().unwrap().unwrap();
    rest(&journal);
    journal.leave(outcome(1)).unwrap();
    rest(&journal);
    journal.close();
    assert_eq!(journal.status().open_intents, 0, "no outcome stands before its intent");
    drop(journal);
    let report = verify(&ledger::ledger(dir.path()), &public(dir.path())).unwrap();
    assert!(report.is_clean() && report.open_intents.is_empty(), "{report}");
}

/// What may be lost is told to whoever left it, and does not pile up.
#[test]
fn what_may_be_lost_is_bounded_and_told() {
    let optional = |n: u64| Draft { class: Class::Ordinary, opens: None, ..intent(n) };
    let lost = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = |lost: &Arc<std::sync::atomic::AtomicU64>| {
        let lost = Arc::clone(lost);
        move || {
            let _ = lost.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    };
    // A ledger that takes nothing ordinary.
    let dir = tempdir();
    let full = Options { quota_bytes: Some(1), ..options(dir.path()) };
    let (journal, _) = open_with(full, dir.path(), Arc::new(RealDisk)).unwrap();
    for n in 0..100 {
        journal.leave_or(optional(n), count(&lost)).unwrap();
    }
    rest(&journal);
    assert_eq!(lost.load(std::sync::atomic::Ordering::SeqCst), 100);
    journal.close();
    // A ledger whose disk hangs.
    let dir = tempdir();
    let (reached, reaches) = channel();
    let (let_go, go) = channel();
    let gate = Arc::new(Gate { reached, go: Mutex::new(go) });
    let (journal, _) = std::thread::scope(|scope| {
        let opened =
            scope.spawn(|| open_with(options(dir.path()), dir.path(), Arc::new(GatedDisk(gate))).unwrap());
        reaches.recv().unwrap();
        let_go.send(()).unwrap();
        opened.join().unwrap()
    });
    reaches.recv().unwrap();
    let before = lost.load(std::sync::atomic::Ordering::SeqCst);
    for n in 0..3000 {
        journal.leave_or(optional(n), count(&lost)).unwrap();
    }
    journal.leave(outcome(1)).unwrap();
    assert_eq!(lost.load(std::sync::atomic::Ordering::SeqCst) - before, 3000 - 1024);
    drop(let_go);
    rest(&journal);
    journal.close();
    assert_eq!(
        lost.load(std::sync::atomic::Ordering::SeqCst) - before,
        3000 - 1024,
        "the others are written"
    );
    assert_eq!(closed(dir.path()), ["x-1"], "what matters is never refused");
}

#[test]
fn a_session_that_is_silent_for_weeks_is_forgotten_across_restarts() {
    let dir = tempdir();
    let clock = ledger::ManualClock::new();
    let start = || {
        let key = ledger::key(dir.path());
        Journal::open(options(dir.path()), key, clock.clock(), Arc::new(RealDisk)).unwrap().0
    };
    let journal = start();
    journal.append_blocking(intent(1)).unwrap();
    journal.append_blocking(outcome(1)).unwrap();
    drop(journal);
    let mut known = Vec::new();
    for _ in 0..4 {
        clock.advance(3 * 86_400_000);
        drop(start());
        let last = *postern::audit::read::segments(&ledger::ledger(dir.path())).unwrap().last().unwrap();
        let (_, header) = postern::audit::read::header(&ledger::ledger(dir.path()), last).unwrap();
        known.push(header.sessions.contains_key("s-1"));
    }
    assert_eq!(known, [true, true, false, false]);
    let report = verify(&ledger::ledger(dir.path()), &public(dir.path())).unwrap();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_disk_that_fails_once_neither_loses_nor_doubles_what_was_left() {
    for fault in [Fault::Error, Fault::DoneButError, Fault::HalfThenError] {
        let mut at = 1;
        loop {
            let dir = tempdir();
            let context = format!("{fault:?} at operation {at}");
            let disk = FaultyDisk::new(at, fault);
            let opened = open_with(small(dir.path()), dir.path(), Arc::clone(&disk) as Arc<dyn Disk>);
            if let Ok((journal, _)) = opened {
                let mut wanted = Vec::new();
                for n in 0..6 {
                    // Where it fails for an intent, that exchange does not happen.
                    if journal.append_blocking(intent(n)).is_ok() {
                        journal.leave(outcome(n)).unwrap();
                        wanted.push(format!("x-{n}"));
                    }
                    if n % 2 == 0 {
                        rest(&journal);
                    }
                }
                // May be lost, and does not hold up what may not.
                journal.leave(Draft { class: Class::Ordinary, opens: None, ..intent(50) }).unwrap();
                rest(&journal);
                let before_close = disk.operations();
                journal.close();
                assert_eq!(disk.violations(), Vec::<String>::new(), "{context}");
                let mut found = closed(dir.path());
                found.sort();
                assert_eq!(found, wanted, "{context}");
                let report = verify(&ledger::ledger(dir.path()), &public(dir.path())).unwrap();
                assert!(report.is_clean(), "{context}: {report}");
                if before_close < at {
                    break;
                }
            }
            at += 1;
        }
        assert!(at > 40, "{fault:?}: {at} operations");
    }
}
