//! The cells against a model: loads that begin and end at any point between commits, acknowledgements, narrowings,
//! invalidations and callers who give up. Never is anybody handed a version older than one acknowledged.

use std::{
    collections::BTreeSet,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use postern::{
    model::{ChangeId, Key, Stored},
    policy::Fact,
    state::{Cells, StoreFault},
};
use proptest::prelude::*;

use crate::{make::*, slow::*};

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
                for (floor, ranks) in model.acknowledged.iter_mut().zip(&model.ranks) {
                    *floor = ranks.len() as u64;
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
    for (number, key) in keys.iter().enumerate() {
        asking.push((number, Box::pin(cells.fact(key))));
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

    // GW-04
    #[test]
    fn nobody_is_handed_a_version_older_than_one_acknowledged(
        steps in proptest::collection::vec(any_step(), 1..60),
        capacity in proptest::sample::select(vec![1usize, 3, 1000]),
    ) {
        play(steps, capacity);
    }
}

// GW-04
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
