//! What asking a cell costs, and what a miss and a change cost below it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench")]

use std::sync::Arc;

use divan::{Bencher, black_box, counter::ItemsCount};
use postern::{
    model::{
        ChangeId, Consent, Document, EnvironmentId, Key, Ladder, LevelName, SessionId, Stored, Tenant,
        TenantId, Timestamp, Version, Zone,
    },
    state::{Cells, Commit, Embedded, Store},
};
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

const TENANTS: usize = 10_000;

struct World {
    _directory: tempfile::TempDir,
    runtime: Runtime,
    store: Arc<Embedded>,
    cells: Cells,
}

fn key(number: usize) -> Key {
    Key::Tenant(TenantId::new(&format!("tenant-{number:06}")).unwrap())
}

fn tenant() -> Document {
    Document::Tenant(Tenant::new(
        None,
        Zone::UTC,
        [EnvironmentId::new("production").unwrap()].into(),
        Consent::own(LevelName::new("read").unwrap()),
    ))
}

fn commit(id: &str, key: Key, before: Option<&Stored>) -> Commit {
    let change = ChangeId::new(id).unwrap();
    let version = before.map_or(Version::NONE, |stored| stored.version);
    let stored = Stored::after(before, change.clone(), tenant());
    Commit {
        change,
        at: Timestamp::from_ms(1),
        read: vec![(key.clone(), version)],
        since: Default::default(),
        write: vec![(key, stored)],
    }
}

fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let documents = (0..TENANTS).map(|number| {
        let change = ChangeId::new(&format!("made-{number:06}")).unwrap();
        (key(number), Stored::after(None, change, tenant()))
    });
    Embedded::rebuild(&path, documents, Default::default()).unwrap();
    let store = Arc::new(Embedded::open(&path).unwrap());
    let cells = Cells::new(store.clone(), Ladder::new(Vec::new()), 4 * TENANTS);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for number in 0..TENANTS {
            cells.fact(&key(number)).await;
        }
    });
    World { _directory: directory, runtime, store, cells }
}

/// Each thread asks for many documents in turn.
#[divan::bench(threads = [1, 2])]
fn hit_among_ten_thousand(bencher: Bencher<'_, '_>) {
    let world = world();
    let keys: Vec<Key> = (0..1024).map(|number| key(number * 7 % TENANTS)).collect();
    bencher.counter(ItemsCount::new(keys.len())).bench(|| {
        for key in &keys {
            black_box(world.cells.hit(black_box(key)));
        }
    });
}

/// All threads ask for one document.
#[divan::bench(threads = [1, 2])]
fn hit_of_one(bencher: Bencher<'_, '_>) {
    let world = world();
    let key = key(1);
    bencher.counter(ItemsCount::new(1024usize)).bench(|| {
        for _ in 0..1024 {
            black_box(world.cells.hit(black_box(&key)));
        }
    });
}

/// The same as a session's key, which has two parts.
#[divan::bench]
fn hit_of_an_absent_session(bencher: Bencher<'_, '_>) {
    let world = world();
    let session = SessionId::new("0190a5c0-7d1e-7bd0-9b8f-3f1e5c3f0c11").unwrap();
    let key = Key::Session(TenantId::new("tenant-000001").unwrap(), session);
    world.runtime.block_on(world.cells.fact(&key));
    bencher.counter(ItemsCount::new(1024usize)).bench(|| {
        for _ in 0..1024 {
            black_box(world.cells.hit(black_box(&key)));
        }
    });
}

/// A miss: forgotten, then loaded through the store.
#[divan::bench]
fn miss(bencher: Bencher<'_, '_>) {
    let world = world();
    let key = key(1);
    bencher.bench(|| {
        world.cells.forget(std::slice::from_ref(&key));
        world.runtime.block_on(world.cells.fact(&key))
    });
}

/// Durable changes, so many at once.
#[divan::bench(args = [1, 64])]
fn commit_at_once(bencher: Bencher<'_, '_>, many: usize) {
    let world = world();
    let mut round = 0;
    bencher.counter(ItemsCount::new(many)).bench_local(|| {
        round += 1;
        world.runtime.block_on(async {
            let answers: Vec<_> = (0..many)
                .map(|number| {
                    let key = Key::Tenant(TenantId::new(&format!("new-{round}-{number}")).unwrap());
                    world.store.commit(commit(&format!("c-{round}-{number}"), key, None))
                })
                .collect();
            for answer in answers {
                answer.await.unwrap();
            }
        });
    });
}
