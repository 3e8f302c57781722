//! The embedded store on disks that fail: at any single write or flush, wholly, or for lack of room.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use postern::{
    model::{Key, Stored},
    state::{
        Commit, CommitFault, Committed, Embedded, Part, Store, StoreFault,
        embedded::{FileDisk, Retention},
    },
};

use crate::{
    faulty::{Faulty, Plan},
    make::*,
};

struct Place {
    _directory: tempfile::TempDir,
    path: PathBuf,
    plan: Arc<Plan>,
    store: Arc<Embedded>,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    Embedded::init(&path).unwrap();
    let plan = Arc::new(Plan::default());
    let store = open(&path, &plan);
    Place { _directory: directory, path, plan, store }
}

fn open(path: &Path, plan: &Arc<Plan>) -> Arc<Embedded> {
    let disk = Faulty { file: FileDisk(path.to_owned()), plan: Arc::clone(plan) };
    Arc::new(Embedded::open_on(Arc::new(disk), path, Retention::default()).unwrap())
}

async fn works(store: &Embedded) {
    store.health().wait_for(Option::is_none).await.unwrap();
}

/// Commits as the engine does: asks where it is not told, repeats what was not applied.
async fn persist(store: &Embedded, commit: &Commit) -> (Committed, usize) {
    let mut faults = 0;
    loop {
        match store.commit(commit.clone()).await {
            Ok(done) => return (done, faults),
            Err(CommitFault::Unavailable(_)) => {
                faults += 1;
                works(store).await;
                assert_eq!(
                    store.asked(Part::FIRST, &commit.change).await,
                    Ok(None),
                    "unavailable means: not applied"
                );
            }
            Err(CommitFault::Ambiguous(_)) => {
                faults += 1;
                works(store).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn whichever_write_or_flush_fails_nothing_acknowledged_is_lost_or_done_twice() {
    sweep(false).await;
}

#[tokio::test]
async fn a_flush_that_fails_after_it_wrote_everything_is_settled_by_the_file() {
    sweep(true).await;
}

async fn sweep(keeps: bool) {
    const CHANGES: u64 = 3;
    let (mut number, mut failures) = (0, BTreeMap::new());
    loop {
        number += 1;
        let place = place();
        let start = place.plan.operations.load(Ordering::SeqCst);
        place.plan.seed.store(number * 1_000, Ordering::SeqCst);
        place.plan.keeps.store(keeps, Ordering::SeqCst);
        place.plan.fails.store(start + number, Ordering::SeqCst);
        let key = session_key("a", "s");
        let (mut before, mut ids): (Option<Stored>, Vec<_>) = (None, Vec::new());
        let mut met = 0;
        for change in 1..=CHANGES {
            // Large enough that the file grows on the way.
            let reason = "x".repeat(200_000);
            let commit = step(fresh(), &key, before.as_ref(), session_about(&reason, change as i64, None));
            let (done, faults) = persist(&place.store, &commit).await;
            met += faults;
            assert_eq!(done.place.number, change, "failing {number}");
            ids.push(commit.change.clone());
            before = Some(commit.write[0].1.clone());
        }
        *failures.entry(met).or_insert(0) += 1;
        let over = place.plan.operations.load(Ordering::SeqCst) < start + number;
        place.store.close().await;
        // As the next process finds it.
        let store = Embedded::open(&place.path).unwrap();
        let found = store.load(std::slice::from_ref(&key)).await.unwrap().remove(0).unwrap().unwrap();
        assert_eq!(Some(found), before);
        let told: Vec<_> = store
            .changes_after(Part::FIRST, 0, 100)
            .await
            .unwrap()
            .into_iter()
            .map(|entry| entry.change)
            .collect();
        assert_eq!(told, ids, "failing {number}");
        assert_eq!(store.due(at(999), None, 10).await.whole(), Ok(vec![(at(CHANGES as i64), key)]));
        store.close().await;
        if over {
            break;
        }
    }
    println!("{number} places to fail; commits that met a fault: {failures:?}");
    assert!(failures.get(&1).is_some_and(|count| *count > 15), "{failures:?}");
    // Without a fault at all: the last round, and changes that were found applied after their flush had failed.
    assert_eq!(failures[&0] > 1, keeps, "{failures:?}");
}

async fn one(store: &Embedded, key: &Key, before: Option<&Stored>) -> Result<Stored, CommitFault> {
    let commit = step(fresh(), key, before, session(9, None));
    store.commit(commit.clone()).await.map(|_| commit.write[0].1.clone())
}

#[tokio::test]
async fn a_dead_disk_refuses_at_once_and_comes_back_by_itself() {
    let place = place();
    let key = session_key("a", "s");
    let first = one(&place.store, &key, None).await.unwrap();
    place.plan.dead.store(true, Ordering::SeqCst);
    let fault = one(&place.store, &key, Some(&first)).await.unwrap_err();
    assert!(matches!(fault, CommitFault::Unavailable(_) | CommitFault::Ambiguous(_)), "{fault}");
    let mut health = place.store.health();
    health.wait_for(Option::is_some).await.unwrap();
    for _ in 0..100 {
        let refused = one(&place.store, &key, Some(&first)).await.unwrap_err();
        assert!(matches!(refused, CommitFault::Unavailable(_)), "{refused}");
        assert!(place.store.load(std::slice::from_ref(&key)).await.is_err());
        assert!(place.store.asked(Part::FIRST, &first.changes[0]).await.is_err());
        assert!(place.store.mark(Part::FIRST).await.is_err());
    }
    place.plan.dead.store(false, Ordering::SeqCst);
    works(&place.store).await;
    let found = place.store.load(std::slice::from_ref(&key)).await.unwrap().remove(0).unwrap().unwrap();
    assert_eq!(found, first);
    one(&place.store, &key, Some(&found)).await.unwrap();
    place.store.close().await;
}

#[tokio::test]
async fn whoever_hears_a_refusal_does_not_find_the_health_good_from_before() {
    for size in [10, 200_000, 900_000].repeat(10) {
        let place = place();
        place.plan.dead.store(true, Ordering::SeqCst);
        let about = session_about(&"x".repeat(size), 9, None);
        let health = place.store.health();
        let mut refused = place.store.commit(step(fresh(), &session_key("a", "s"), None, about));
        // Looked at without a pause: whoever sleeps until they are woken comes too late to see it.
        let mut at_once = std::task::Context::from_waker(std::task::Waker::noop());
        let refused = loop {
            if let std::task::Poll::Ready(refused) = refused.as_mut().poll(&mut at_once) {
                break refused;
            }
        };
        // The disk stays dead: the health cannot have become good again.
        assert!(health.borrow().is_some(), "{size}: {refused:?}");
        place.store.close().await;
    }
}

#[tokio::test]
async fn closing_does_not_wait_for_a_dead_disk() {
    let place = place();
    place.plan.dead.store(true, Ordering::SeqCst);
    one(&place.store, &session_key("a", "s"), None).await.unwrap_err();
    place.store.close().await;
    let refused = one(&place.store, &session_key("a", "s"), None).await;
    assert!(matches!(refused, Err(CommitFault::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_reader_that_meets_an_error_has_the_file_opened_again() {
    let place = place();
    // More than is kept of the file in memory.
    let keys: Vec<Key> = (0..45).map(|number| session_key("a", &format!("s{number}"))).collect();
    for key in &keys {
        let reason = "x".repeat(1_000_000);
        place.store.commit(step(fresh(), key, None, session_about(&reason, 9, None))).await.unwrap();
    }
    place.store.close().await;
    let store = open(&place.path, &place.plan);
    let mut health = store.health();
    place.plan.dead.store(true, Ordering::SeqCst);
    assert!(store.load(&keys).await.is_err());
    health.wait_for(Option::is_some).await.unwrap();
    place.plan.dead.store(false, Ordering::SeqCst);
    works(&store).await;
    assert_eq!(store.load(&keys).await.unwrap().len(), 45);
    store.close().await;
}

#[tokio::test]
async fn a_store_put_back_under_a_running_gateway_stays_refused() {
    let place = place();
    let key = session_key("a", "s");
    let first = one(&place.store, &key, None).await.unwrap();
    let old = place.path.with_extension("old");
    fs::copy(&place.path, &old).unwrap();
    let second = one(&place.store, &key, Some(&first)).await.unwrap();
    place.plan.dead.store(true, Ordering::SeqCst);
    one(&place.store, &key, Some(&second)).await.unwrap_err();
    fs::rename(&old, &place.path).unwrap();
    place.plan.dead.store(false, Ordering::SeqCst);
    let mut health = place.store.health();
    let went_back = StoreFault::WentBack { asked: 2, newest: 1 };
    health.wait_for(|fault| fault.as_ref() == Some(&went_back)).await.unwrap();
    let refused = one(&place.store, &key, Some(&second)).await;
    assert_eq!(refused, Err(CommitFault::Unavailable(went_back)));
    // Nor is another store taken for this one.
    fs::remove_file(&place.path).unwrap();
    Embedded::init(&place.path).unwrap();
    health.wait_for(|fault| matches!(fault, Some(StoreFault::Damaged { .. }))).await.unwrap();
    place.store.close().await;
}

#[tokio::test]
async fn more_than_may_wait_is_refused_at_once() {
    let place = place();
    let release = |held: bool| {
        *place.plan.held.lock().unwrap() = held;
        place.plan.released.notify_all();
    };
    release(true);
    let (mut answers, mut busy) = (Vec::new(), 0);
    for number in 0..2_000 {
        let commit = step(fresh(), &session_key("a", &format!("s{number}")), None, session(9, None));
        let mut answer = Box::pin(place.store.commit(commit));
        match futures_poll(&mut answer) {
            Some(Err(CommitFault::Unavailable(StoreFault::Busy))) => busy += 1,
            Some(other) => panic!("{other:?}"),
            None => answers.push(answer),
        }
    }
    assert!(busy >= 2_000 - 1_024 - 256, "{busy}");
    let before = place.plan.operations.load(Ordering::SeqCst);
    release(false);
    let taken = answers.len() as u64;
    for answer in answers {
        answer.await.unwrap();
    }
    let operations = place.plan.operations.load(Ordering::SeqCst) - before;
    assert!(operations < taken, "{taken} commits share their flushes: {operations}");
    assert_eq!(place.store.mark(Part::FIRST).await.unwrap().position, taken);
    place.store.close().await;
}

fn futures_poll<T>(future: &mut std::pin::Pin<Box<impl Future<Output = T> + ?Sized>>) -> Option<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}

/// Commits large documents until there is no room, then goes on when there is.
async fn fills_and_recovers(store: &Embedded, make_room: impl FnOnce()) {
    let reason = "x".repeat(100_000);
    let commit = |number: usize| {
        step(fresh(), &session_key("a", &format!("s{number}")), None, session_about(&reason, 9, None))
    };
    let mut acknowledged = Vec::new();
    let refused = loop {
        let next = commit(acknowledged.len());
        match store.commit(next.clone()).await {
            Ok(_) => acknowledged.push(next),
            Err(_) => break next,
        }
        assert!(acknowledged.len() < 1_000, "the disk never fills");
    };
    assert!(!acknowledged.is_empty());
    // While there is no room, what is there is read, and changes are refused.
    for _ in 0..6 {
        works(store).await;
        let keys: Vec<Key> = acknowledged.iter().map(|commit| commit.write[0].0.clone()).collect();
        // Between two attempts the file may just be opened again.
        if let Ok(found) = store.load(&keys).await {
            assert!(found.into_iter().zip(&acknowledged).all(|(f, a)| f.unwrap().unwrap() == a.write[0].1));
        }
        match store.commit(refused.clone()).await {
            Err(CommitFault::Unavailable(_) | CommitFault::Ambiguous(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    make_room();
    let (done, _) = persist(store, &refused).await;
    assert_eq!(done.place.number, acknowledged.len() as u64 + 1);
    acknowledged.push(refused);
    for commit in &acknowledged {
        assert!(store.asked(Part::FIRST, &commit.change).await.unwrap().is_some());
        let found = store.load(&[commit.write[0].0.clone()]).await.unwrap().remove(0);
        assert_eq!(found.unwrap().as_ref(), Ok(&commit.write[0].1));
    }
}

#[tokio::test]
async fn a_full_disk_refuses_changes_and_loses_nothing() {
    let place = place();
    place.plan.full.store(true, Ordering::SeqCst);
    fills_and_recovers(&place.store, || place.plan.full.store(false, Ordering::SeqCst)).await;
    place.store.close().await;
    Embedded::open(&place.path).unwrap().close().await;
}

/// Takes the mount away again, however the test ends.
struct Mounted(tempfile::TempDir);

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
        println!("unmounted: {done:?}");
    }
}

#[tokio::test]
async fn a_full_tmpfs_refuses_changes_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8m", "postern-test"])
        .arg(directory.path())
        .output();
    if !mount.is_ok_and(|done| done.status.success()) {
        println!("not allowed to mount: only the injected full disk was tried");
        return;
    }
    let mounted = Mounted(directory);
    let directory = &mounted.0;
    let path = directory.path().join("state");
    Embedded::init(&path).unwrap();
    let store = Embedded::open(&path).unwrap();
    let balloon = directory.path().join("balloon");
    fs::write(&balloon, vec![0; 3 << 20]).unwrap();
    fills_and_recovers(&store, || fs::remove_file(&balloon).unwrap()).await;
    store.close().await;
    Embedded::open(&path).unwrap().close().await;
}
