//! The cells one promise at a time, and under real threads.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use postern::{
    model::{Stored, Version},
    policy::Fact,
    state::{Cells, Embedded, Store, StoreFault, Unreadable},
};

use crate::{make::*, slow::*};

fn poll(asking: &mut Vec<Asking<'_>>) {
    let mut context = Context::from_waker(Waker::noop());
    asking.retain_mut(|(_, future)| future.as_mut().poll(&mut context).is_pending());
}

#[tokio::test]
async fn many_who_miss_at_once_share_one_load() {
    let store = Arc::new(Slow::default());
    let cells = Cells::new(store.clone(), ladder(&LEVELS), 100);
    let key = tenant_key("a");
    let mut asking: Vec<Asking<'_>> = Vec::new();
    for _ in 0..100 {
        asking.push((0, Box::pin(cells.fact(&key))));
    }
    poll(&mut asking);
    assert_eq!(store.gates().len(), 1);
    // A fault is everybody's answer too, and is not kept.
    {
        let gates = store.gates();
        let mut gate = gates[0].lock().unwrap();
        (gate.read, gate.open) = (Some(Err(StoreFault::Busy)), true);
    }
    poll(&mut asking);
    assert!(asking.is_empty());
    assert_eq!(cells.hit(&key), None);
}

#[tokio::test]
async fn absence_is_known_without_asking_and_ends_with_a_commit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    Embedded::init(&path).unwrap();
    let store = Arc::new(Embedded::open(&path).unwrap());
    let cells = Cells::new(store.clone(), ladder(&LEVELS), 1000);
    let key = tenant_key("a");
    assert_eq!(cells.hit(&key), None);
    assert_eq!(cells.fact(&key).await, Fact::Absent);
    assert_eq!(cells.hit(&key), Some(Fact::Absent));
    let made = step(fresh(), &key, None, tenant("read"));
    store.commit(made.clone()).await.unwrap();
    cells.committed(&made.write);
    assert_eq!(rank(&cells.hit(&key).unwrap()), Some(1));
    // What the feed tells and cannot be read is forgotten, not kept as it was.
    let unreadable = Unreadable::Damaged { key: key.clone(), detail: "a test".to_owned() };
    cells.told(&[(key.clone(), Err(unreadable))]);
    assert_eq!(cells.hit(&key), None);
    store.close().await;
    assert_eq!(cells.fact(&key).await, Fact::Unavailable);
    assert_eq!(cells.hit(&key), None, "a fault is not kept");
}

/// What was confirmed is answered, and a change that arrived since it was read is not undone by it: also where nothing was known of the
/// document, so that the change itself left nothing behind.
#[test]
fn what_the_store_said_before_a_change_arrived_is_not_what_is_known_after_it() {
    for (known, name) in [(true, "a"), (false, "b")] {
        let store = Arc::new(Slow::default());
        let (key, cells) = (tenant_key(name), Cells::new(store.clone(), ladder(&LEVELS), 1000));
        let answered = |mut asked: Pin<Box<dyn Future<Output = Fact> + '_>>, meanwhile: &dyn Fn()| {
            let mut context = Context::from_waker(Waker::noop());
            assert!(asked.as_mut().poll(&mut context).is_pending());
            store.gates().iter().for_each(|gate| store.read(gate));
            meanwhile();
            store.gates().iter().for_each(|gate| store.answer(gate));
            let Poll::Ready(fact) = asked.as_mut().poll(&mut context) else { panic!("it is not answered") };
            version(&fact)
        };
        let before = step(fresh(), &key, None, tenant("full"));
        let after = step(fresh(), &key, Some(&before.write[0].1), tenant("block"));
        let is_stored = |stored: &Stored| store.documents.lock().unwrap().insert(key.clone(), stored.clone());
        is_stored(&before.write[0].1);
        if known {
            answered(Box::pin(cells.fact(&key)), &|| {});
        }
        let asked = Box::pin(async { cells.asked(std::slice::from_ref(&key)).await.remove(0) });
        let said = answered(asked, &|| {
            is_stored(&after.write[0].1);
            cells.committed(&after.write);
        });
        // Whoever asked rests on the document, and is decided again.
        assert_eq!(said, if known { 2 } else { 1 });
        let then = cells.hit(&key).map(|fact| version(&fact));
        assert_eq!(
            then.unwrap_or_else(|| answered(Box::pin(cells.fact(&key)), &|| {})),
            2,
            "known before: {known}"
        );
    }
}

// GW-04
#[test]
fn memory_stays_bounded_by_absent_names() {
    let store = Arc::new(Slow::default());
    let cells = Cells::new(store.clone(), ladder(&LEVELS), 500);
    let mut cached = 0;
    for number in 0..5_000 {
        let key = tenant_key(&format!("t{number}"));
        let mut asking: Vec<Asking<'_>> = vec![(0, Box::pin(cells.fact(&key)))];
        poll(&mut asking);
        store.gates().iter().for_each(|gate| store.answer(gate));
        poll(&mut asking);
        assert!(asking.is_empty());
        drop(asking);
        cached += usize::from(cells.hit(&key).is_some());
    }
    assert!(cached > 4_000, "most are kept for a while: {cached}");
    let kept = (0..5_000).filter(|number| cells.hit(&tenant_key(&format!("t{number}"))).is_some()).count();
    // Each shard of the cache rounds its share up.
    assert!(kept <= 520, "{kept}");
}

#[test]
fn another_ladder_is_in_force_for_what_is_cached() {
    let store = Arc::new(Slow::default());
    let cells = Cells::new(store.clone(), ladder(&["block", "read", "full"]), 100);
    let key = tenant_key("a");
    let (a, b) =
        (Stored::after(None, change("a"), tenant("read")), Stored::after(None, change("b"), tenant("full")));
    store.documents.lock().unwrap().insert(key.clone(), postern::model::join::join(&a, &b));
    let mut asking: Vec<Asking<'_>> = vec![(0, Box::pin(cells.fact(&key)))];
    let mut context = Context::from_waker(Waker::noop());
    assert!(asking[0].1.as_mut().poll(&mut context).is_pending());
    store.gates().iter().for_each(|gate| store.answer(gate));
    let Poll::Ready(fact) = asking[0].1.as_mut().poll(&mut context) else { panic!() };
    assert_eq!(rank(&fact), Some(1));
    cells.set_ladder(ladder(&["block", "full", "read"]));
    assert_eq!(rank(&cells.hit(&key).unwrap()), Some(2), "`full` is the lower one now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_never_see_what_was_acknowledged_go_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    Embedded::init(&path).unwrap();
    let store = Arc::new(Embedded::open(&path).unwrap());
    let cells = Arc::new(Cells::new(store.clone(), ladder(&LEVELS), 1000));
    let (acknowledged, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let key = tenant_key("a");
    let readers: Vec<_> = (0..3)
        .map(|reader| {
            let (cells, key, done, acknowledged) =
                (cells.clone(), key.clone(), done.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let mut asked = 0u64;
                while !done.load(Ordering::SeqCst) {
                    let floor = acknowledged.load(Ordering::SeqCst);
                    let seen = version(&cells.fact(&key).await);
                    assert!(seen >= floor, "{seen} after {floor}");
                    asked += 1;
                    if reader == 0 && asked.is_multiple_of(3) {
                        cells.forget(std::slice::from_ref(&key));
                    }
                    tokio::task::yield_now().await;
                }
                asked
            })
        })
        .collect();
    let mut before: Option<Stored> = None;
    for _ in 0..1_000 {
        let commit = step(fresh(), &key, before.as_ref(), tenant("read"));
        store.commit(commit.clone()).await.unwrap();
        cells.committed(&commit.write);
        acknowledged.fetch_add(1, Ordering::SeqCst);
        before = Some(commit.write[0].1.clone());
    }
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        assert!(reader.await.unwrap() > 100);
    }
    assert_eq!(cells.fact(&key).await, cells.hit(&key).unwrap());
    assert_eq!(before.unwrap().version, Version { epoch: 0, number: 1_000 });
    store.close().await;
}
