//! The staff exchanges that are under way: found by the documents they rest on and by their deadlines.
//!
//! An exchange is entered before its facts are read, so no change can fall between the reading and the watching.
//!
//! Never here: deciding; the engine asks the rules, this only knows whom to ask about.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::{
    identity::VerifiedSubject,
    model::{ExchangeId, Key, Timestamp},
    policy::Deadline,
};

use super::{
    fuse::Fuse,
    knock::{Knock, Particulars},
};

/// One exchange under way.
#[derive(Debug)]
pub struct Live {
    /// Its id.
    pub exchange: ExchangeId,
    /// Its fuse.
    pub fuse: Fuse,
    number: u64,
    /// What was asked, by whom; set once the first decision said yes.
    pub(super) case: OnceLock<Case>,
}

/// What a decision is made again from.
#[derive(Debug)]
pub(super) struct Case {
    /// Under the policy by which it was last decided.
    pub(super) knock: ArcSwap<Knock>,
    /// As it came, so that it can be found in another map.
    pub(super) about: Particulars,
    pub(super) began: Timestamp,
    /// The longest time of one exchange, counted from its first decision (rule 10).
    pub(super) longest: Deadline,
    pub(super) subject: Arc<VerifiedSubject>,
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    all: HashMap<u64, (Arc<Live>, BTreeSet<Key>, Timestamp)>,
    by_key: HashMap<Key, BTreeSet<u64>>,
    by_deadline: BTreeMap<(Timestamp, u64), ()>,
}

/// See the module's header.
#[derive(Debug, Default)]
pub struct Registry {
    entries: Mutex<Entries>,
    /// Wakes whoever waits for the next deadline.
    sooner: Notify,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters an exchange that rests on nothing yet.
    pub(super) fn enter(&self, exchange: ExchangeId) -> Arc<Live> {
        let mut entries = self.lock();
        let number = entries.next;
        entries.next = number.wrapping_add(1);
        let live = Arc::new(Live { exchange, fuse: Fuse::default(), number, case: OnceLock::new() });
        entries.all.insert(number, (Arc::clone(&live), BTreeSet::new(), Timestamp::MAX));
        live
    }

    /// It is about to read this document.
    pub(super) fn watch(&self, live: &Live, key: &Key) {
        let mut entries = self.lock();
        if let Some((_, keys, _)) = entries.all.get_mut(&live.number)
            && keys.insert(key.clone())
        {
            entries.by_key.entry(key.clone()).or_default().insert(live.number);
        }
    }

    /// It ends by itself at this instant.
    pub(super) fn due(&self, live: &Live, at: Timestamp) {
        let mut entries = self.lock();
        if let Some((_, _, old)) = entries.all.get_mut(&live.number) {
            let old = std::mem::replace(old, at);
            entries.by_deadline.remove(&(old, live.number));
            entries.by_deadline.insert((at, live.number), ());
            drop(entries);
            self.sooner.notify_one();
        }
    }

    /// It is over.
    pub(super) fn leave(&self, live: &Live) {
        let mut entries = self.lock();
        if let Some((_, keys, deadline)) = entries.all.remove(&live.number) {
            entries.by_deadline.remove(&(deadline, live.number));
            for key in keys {
                if let Some(numbers) = entries.by_key.get_mut(&key) {
                    numbers.remove(&live.number);
                    if numbers.is_empty() {
                        entries.by_key.remove(&key);
                    }
                }
            }
        }
    }

    /// The exchanges that rest on any of these documents.
    pub(super) fn resting_on<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) -> Vec<Arc<Live>> {
        let entries = self.lock();
        let numbers: BTreeSet<u64> =
            keys.into_iter().filter_map(|key| entries.by_key.get(key)).flatten().copied().collect();
        numbers
            .iter()
            .filter_map(|number| entries.all.get(number))
            .map(|(live, _, _)| Arc::clone(live))
            .collect()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Live>> {
        self.lock().all.values().map(|(live, _, _)| Arc::clone(live)).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those whose deadline has passed, taken out of the deadlines; and when the next one falls.
    pub(super) fn past(&self, now: Timestamp) -> (Vec<Arc<Live>>, Option<Timestamp>) {
        let mut entries = self.lock();
        let mut past = Vec::new();
        while let Some(((at, number), ())) = entries.by_deadline.first_key_value().map(|(k, v)| (*k, *v)) {
            if at > now {
                return (past, Some(at));
            }
            entries.by_deadline.remove(&(at, number));
            if let Some((live, _, _)) = entries.all.get(&number) {
                past.push(Arc::clone(live));
            }
        }
        (past, None)
    }

    /// Waits until an earlier deadline may have come in.
    pub(super) async fn sooner(&self) {
        self.sooner.notified().await;
    }
}
