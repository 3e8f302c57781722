//! Appending to the ledger: the latency of one record, the throughput of 64 appenders, and verification.
//!
//! On the disk where temporary files lie; what a flush costs there is part of the figure, so a run in memory
//! (`/dev/shm`) stands beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench stops at the first fault")]

use std::path::PathBuf;
use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use postern::audit::journal::disk::RealDisk;
use postern::audit::verify::verify;
use postern::audit::{Body, Class, Draft, Journal, Options, Personal, SigningKey, VerifyingKey};
use serde::Serialize;
use tempfile::TempDir;

fn main() {
    divan::main();
}

#[derive(Serialize)]
struct Access<'a> {
    tenant: &'a str,
    environment: &'a str,
    route: &'a str,
    method: &'a str,
    path: &'a str,
    permission: &'a str,
    policy: &'a str,
}

fn draft() -> Draft {
    let event = Access {
        tenant: "acme-gmbh",
        environment: "production",
        route: "orders.list",
        method: "GET",
        path: "/api/v1/orders",
        permission: "orders:read",
        policy: "sha256:2b8f0e5d",
    };
    let personal = |name, value: &str| Personal { person: "agent-7".into(), name, value: value.into() };
    Draft {
        session: Some("01890a5d-ac96-774b-bcce-b302099a8057".into()),
        personal: vec![personal("email", "ada@vendor.example"), personal("address", "192.0.2.17")],
        class: Class::Ordinary,
        ..Draft::new("access.intent", 1_700_000_000_000, Body::of(&event).unwrap())
    }
}

fn journal(place: &str) -> (TempDir, Arc<Journal>, VerifyingKey) {
    let dir = match place {
        "memory" => tempfile::tempdir_in("/dev/shm").unwrap(),
        _ => tempfile::tempdir().unwrap(),
    };
    let key = SigningKey::generate("postern.example/bench").unwrap();
    let public = key.verifying_key().clone();
    let options = Options::new(PathBuf::from(dir.path()), "postern.example/bench".into());
    let clock = Arc::new(|| 1_700_000_000_000);
    let (journal, _) = Journal::open(options, key, clock, Arc::new(RealDisk)).unwrap();
    (dir, Arc::new(journal), public)
}

const PLACES: [&str; 2] = ["disk", "memory"];

#[divan::bench(args = PLACES)]
fn one_append(bencher: Bencher<'_, '_>, place: &str) {
    let (_dir, journal, _) = journal(place);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| journal.append_blocking(draft()).unwrap());
}

const APPENDERS: usize = 64;
const EACH: usize = 32;

#[divan::bench(args = PLACES)]
fn appends_by_64_at_once(bencher: Bencher<'_, '_>, place: &str) {
    let (_dir, journal, _) = journal(place);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    bencher.counter(ItemsCount::new(APPENDERS * EACH)).bench_local(|| {
        runtime.block_on(async {
            let tasks: Vec<_> = (0..APPENDERS)
                .map(|_| {
                    let journal = Arc::clone(&journal);
                    tokio::spawn(async move {
                        for _ in 0..EACH {
                            journal.append(draft()).await.unwrap();
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
}

#[divan::bench]
fn make_a_draft() -> Draft {
    black_box(draft())
}

#[divan::bench(sample_count = 10)]
fn verify_10_000_records(bencher: Bencher<'_, '_>) {
    let (dir, journal, public) = journal("memory");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for _ in 0..10_000 {
            journal.append(draft()).await.unwrap();
        }
    });
    journal.close();
    bencher.counter(ItemsCount::new(10_000_usize)).bench_local(|| {
        let report = verify(dir.path(), &public).unwrap();
        assert!(report.is_clean());
    });
}
