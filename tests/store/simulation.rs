//! The cells against a model: loads that begin and end at any point between commits, acknowledgements, narrowings,
//! invalidations and callers who give up. Never is anybody handed a version older than one acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use postern::{
    model::{ChangeId, Document, Key, Kind, Ladder, Level, Stored, TenantId, Timestamp, Version},
    policy::Fact,
    state::{
        Answer, Cells, Commit, CommitFault, Committed, Embedded, Entry, Found, Mark, Store, StoreFault,
        Unreadable,
    },
};
use proptest::prelude::*;
use tokio::sync::watch;

use crate::make::*;

const LEVELS: [&str; 3] = ["block", "read", "full"];

fn ladder(names: &[&str]) -> Ladder {
    Ladder::new(names.iter().map(|name| Level { name: level(name), role: None }).collect())
}

fn rank(fact: &Fact) -> Option<usize> {
    let Fact::Found(snapshot) = fact else { return None };
    let Document::Tenant(tenant) = &snapshot.document else { panic!() };
    Some(ladder(&LEVELS).rank(tenant.consent.cap.as_ref().unwrap()))
}

fn version(fact: &Fact) -> u64 {
    match fact {
        Fact::Found(snapshot) => snapshot.version.number,
        Fact::Absent => 0,
        Fact::Unavailable => panic!("unavailable"),
    }
}

/// A store whose loads are answered when the test says so.
#[derive(Default)]
struct Slow {
    documents: Mutex<BTreeMap<Key, Stored>>,
    loads: Mutex<Vec<Arc<Mutex<Gate>>>>,
}

struct Gate {
    key: Key,
    /// What the store read, once it did.
    read: Option<Result<Option<Stored>, StoreFault>>,
    open: bool,
}

struct Waiting(Arc<Mutex<Gate>>);

impl Future for Waiting {
    type Output = Result<Vec<Option<Found>>, StoreFault>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let gate = self.0.lock().unwrap();
        match (&gate.read, gate.open) {
            (Some(read), true) => Poll::Ready(read.clone().map(|stored| vec![stored.map(Ok)])),
            _ => Poll::Pending,
        }
    }
}

impl Slow {
    fn gates(&self) -> Vec<Arc<Mutex<Gate>>> {
        let mut loads = self.loads.lock().unwrap();
        // One that only this list still holds was answered or given up.
        loads.retain(|gate| Arc::strong_count(gate) > 1);
        loads.clone()
    }

    fn read(&self, gate: &Mutex<Gate>) {
        let mut gate = gate.lock().unwrap();
        if gate.read.is_none() {
            gate.read = Some(Ok(self.documents.lock().unwrap().get(&gate.key).cloned()));
        }
    }

    fn answer(&self, gate: &Mutex<Gate>) {
        self.read(gate);
        gate.lock().unwrap().open = true;
    }
}

impl Store for Slow {
    fn load<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<Vec<Option<Found>>, StoreFault>> {
        assert_eq!(keys.len(), 1);
        let gate = Arc::new(Mutex::new(Gate { key: keys[0].clone(), read: None, open: false }));
        self.loads.lock().unwrap().push(Arc::clone(&gate));
        Box::pin(Waiting(gate))
    }
    fn commit(&self, _: Commit) -> Answer<'_, Result<Committed, CommitFault>> {
        unimplemented!()
    }
    fn asked<'a>(&'a self, _: &'a ChangeId) -> Answer<'a, Result<Option<u64>, StoreFault>> {
        unimplemented!()
    }
    fn changes_after(&self, _: u64, _: usize) -> Answer<'_, Result<Vec<Entry>, StoreFault>> {
        unimplemented!()
    }
    fn newest(&self) -> watch::Receiver<u64> {
        unimplemented!()
    }
    fn list<'a>(
        &'a self,
        _: &'a TenantId,
        _: Kind,
        _: Option<&'a Key>,
        _: usize,
    ) -> Answer<'a, Result<Vec<(Key, Found)>, StoreFault>> {
        unimplemented!()
    }
    fn list_tenants<'a>(
        &'a self,
        _: Option<&'a TenantId>,
        _: usize,
    ) -> Answer<'a, Result<Vec<(TenantId, Found)>, StoreFault>> {
        unimplemented!()
    }
    fn due<'a>(
        &'a self,
        _: Timestamp,
        _: Option<&'a (Timestamp, Key)>,
        _: usize,
    ) -> Answer<'a, Result<Vec<(Timestamp, Key)>, StoreFault>> {
        unimplemented!()
    }
    fn mark(&self) -> Answer<'_, Result<Mark, StoreFault>> {
        unimplemented!()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Ask(usize),
    GiveUp(usize),
    Read(usize),
    Answer(usize),
    Fail(usize),
    Commit(usize, usize),
    Acknowledge(usize),
    Narrow(usize, usize),
    CommitNarrowing(usize),
    Forget(usize),
    ForgetAll,
    Reload,
}

fn any_step() -> impl Strategy<Value = Step> {
    let (key, some) = (0..4usize, 0..8usize);
    prop_oneof![
        6 => key.clone().prop_map(Step::Ask),
        1 => some.clone().prop_map(Step::GiveUp),
        3 => some.clone().prop_map(Step::Read),
        4 => some.clone().prop_map(Step::Answer),
        1 => some.clone().prop_map(Step::Fail),
        4 => (key.clone(), 0..3usize).prop_map(|(key, rank)| Step::Commit(key, rank)),
        4 => some.clone().prop_map(Step::Acknowledge),
        2 => (key.clone(), 0..2usize).prop_map(|(key, rank)| Step::Narrow(key, rank)),
        2 => some.prop_map(Step::CommitNarrowing),
        1 => key.prop_map(Step::Forget),
        1 => Just(Step::ForgetAll),
        1 => Just(Step::Reload),
    ]
}

type Asking<'a> = (usize, Pin<Box<dyn Future<Output = Fact> + 'a>>);

/// What must be so, kept by hand.
#[derive(Default)]
struct Model {
    /// Ranks by version, for each key.
    ranks: [Vec<usize>; 4],
    /// Commits not yet acknowledged.
    pending: Vec<(usize, Stored)>,
    /// The versions acknowledged.
    acknowledged: [u64; 4],
    /// Narrowings not committed.
    narrowings: Vec<(usize, ChangeId, usize)>,
    /// Narrowings that are committed, but nobody told the cells.
    untold: BTreeSet<(usize, ChangeId, usize)>,
}

impl Model {
    fn check(&self, key: usize, fact: &Fact, exact: bool) {
        let found = version(fact);
        assert!(found >= self.acknowledged[key], "{found} after {} was acknowledged", self.acknowledged[key]);
        let own = self.narrowings.iter().filter(|(at, ..)| *at == key).map(|(_, _, rank)| *rank).min();
        let own = own.unwrap_or(usize::MAX);
        let maybe = self.untold.iter().filter(|(at, ..)| *at == key).map(|(_, _, rank)| *rank).min();
        let maybe = maybe.unwrap_or(usize::MAX).min(own);
        let stored = match found {
            0 => usize::MAX,
            number => self.ranks[key][number as usize - 1],
        };
        match rank(fact) {
            None => assert!(own == usize::MAX && found == 0, "a narrowing is not shown"),
            Some(rank) => {
                assert!(rank <= stored.min(own), "wider than the store or a narrowing");
                assert!(rank >= stored.min(maybe), "narrower than anything that holds");
                if exact {
                    assert_eq!(rank, stored.min(own));
                }
            }
        }
    }
}

fn poll(asking: &mut Vec<Asking<'_>>, model: &Model) {
    let mut context = Context::from_waker(Waker::noop());
    // Answers of one may set others free, so until nothing moves.
    loop {
        let before = asking.len();
        asking.retain_mut(|(key, future)| match future.as_mut().poll(&mut context) {
            Poll::Ready(Fact::Unavailable) => false,
            Poll::Ready(fact) => {
                model.check(*key, &fact, false);
                false
            }
            Poll::Pending => true,
        });
        if asking.len() == before {
            return;
        }
    }
}

fn play(steps: Vec<Step>, capacity: usize) {
    let store = Arc::new(Slow::default());
    let cells = Cells::new(store.clone(), ladder(&LEVELS), capacity);
    let keys: Vec<Key> = ["a", "b", "c", "d"].map(tenant_key).into();
    let mut model = Model::default();
    let mut asking: Vec<Asking<'_>> = Vec::new();
    let commit = |model: &mut Model, key: usize, id: ChangeId, rank: usize| {
        let mut documents = store.documents.lock().unwrap();
        let stored = Stored::after(documents.get(&keys[key]), id, tenant(LEVELS[rank]));
        model.ranks[key].push(rank);
        documents.insert(keys[key].clone(), stored.clone());
        model.pending.push((key, stored));
    };
    let acknowledge = |model: &mut Model, number: usize| {
        if model.pending.is_empty() {
            return;
        }
        let (key, stored) = model.pending.remove(number % model.pending.len());
        cells.committed(&[(keys[key].clone(), stored.clone())]);
        model.acknowledged[key] = model.acknowledged[key].max(stored.version.number);
        model.untold.retain(|(at, id, _)| *at != key || !stored.remembers(id));
    };
    for step in steps {
        match step {
            Step::Ask(key) => asking.push((key, Box::pin(cells.fact(&keys[key])))),
            Step::GiveUp(number) if !asking.is_empty() => {
                let number = number % asking.len();
                drop(asking.remove(number));
            }
            Step::Read(number) | Step::Answer(number) | Step::Fail(number) => {
                let gates = store.gates();
                let Some(gate) = gates.get(number % gates.len().max(1)) else { continue };
                match step {
                    Step::Read(_) => store.read(gate),
                    Step::Answer(_) => store.answer(gate),
                    _ => {
                        let mut gate = gate.lock().unwrap();
                        (gate.read, gate.open) = (Some(Err(StoreFault::Busy)), true);
                    }
                }
            }
            Step::Commit(key, rank) => commit(&mut model, key, fresh(), rank),
            Step::Acknowledge(number) => acknowledge(&mut model, number),
            // Only what exists can be narrowed.
            Step::Narrow(key, rank) if !model.ranks[key].is_empty() => {
                let id = fresh();
                model.narrowings.push((key, id.clone(), rank));
                cells.narrowed(&id, vec![(keys[key].clone(), tenant(LEVELS[rank]))]);
            }
            Step::CommitNarrowing(number) if !model.narrowings.is_empty() => {
                let number = number % model.narrowings.len();
                let (key, id, rank) = model.narrowings.remove(number);
                model.untold.insert((key, id.clone(), rank));
                commit(&mut model, key, id, rank);
            }
            Step::Forget(key) => {
                cells.forget(&keys[key..=key]);
                // Whoever asks from now on sees what the store holds now.
                model.acknowledged[key] = model.ranks[key].len() as u64;
            }
            Step::ForgetAll => {
                cells.forget_all();
                for key in 0..4 {
                    model.acknowledged[key] = model.ranks[key].len() as u64;
                }
            }
            Step::Reload => cells.set_ladder(ladder(&LEVELS)),
            Step::GiveUp(_) | Step::Narrow(..) | Step::CommitNarrowing(_) => {}
        }
        poll(&mut asking, &model);
        for (number, key) in keys.iter().enumerate() {
            if let Some(fact) = cells.hit(key) {
                model.check(number, &fact, false);
            }
        }
    }
    // In the end everybody gets an answer, and it is the newest.
    while !model.pending.is_empty() {
        acknowledge(&mut model, 0);
    }
    for key in 0..4 {
        asking.push((key, Box::pin(cells.fact(&keys[key]))));
    }
    poll(&mut asking, &model);
    while !asking.is_empty() {
        let gates = store.gates();
        assert!(!gates.is_empty(), "somebody waits for nothing");
        gates.iter().for_each(|gate| store.answer(gate));
        drop(gates);
        poll(&mut asking, &model);
    }
    for (number, key) in keys.iter().enumerate() {
        if let Some(fact) = cells.hit(key) {
            assert_eq!(version(&fact), model.ranks[number].len() as u64);
            model.check(number, &fact, true);
        }
    }
    let over: BTreeSet<usize> = model.narrowings.iter().map(|(key, ..)| *key).collect();
    assert_eq!(cells.narrowings(), over.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_handed_a_version_older_than_one_acknowledged(
        steps in proptest::collection::vec(any_step(), 1..60),
        capacity in proptest::sample::select(vec![1usize, 3, 1000]),
    ) {
        play(steps, capacity);
    }
}

#[test]
fn a_change_during_a_load_wins() {
    for arrives in [Step::Acknowledge(1), Step::Forget(0), Step::ForgetAll] {
        let steps = vec![
            Step::Commit(0, 2),
            Step::Ask(0),
            Step::Read(0),
            Step::Commit(0, 0),
            arrives,
            Step::Answer(0),
        ];
        play(steps, 1000);
    }
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
    poll(&mut asking, &Model::default());
    assert_eq!(store.gates().len(), 1);
    // A fault is everybody's answer too, and is not kept.
    {
        let gates = store.gates();
        let mut gate = gates[0].lock().unwrap();
        (gate.read, gate.open) = (Some(Err(StoreFault::Busy)), true);
    }
    poll(&mut asking, &Model::default());
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

#[test]
fn memory_stays_bounded_by_absent_names() {
    let store = Arc::new(Slow::default());
    let cells = Cells::new(store.clone(), ladder(&LEVELS), 500);
    let mut cached = 0;
    for number in 0..5_000 {
        let key = tenant_key(&format!("t{number}"));
        let mut asking: Vec<Asking<'_>> = vec![(0, Box::pin(cells.fact(&key)))];
        poll(&mut asking, &Model::default());
        store.gates().iter().for_each(|gate| store.answer(gate));
        poll(&mut asking, &Model::default());
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
