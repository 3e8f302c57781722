//! The staff exchanges that are under way: found by the documents they rest on and by their deadlines.
//!
//! An exchange is entered before its facts are read, so no change can fall between the reading and the watching.
//!
//! Never here: deciding; the engine asks the rules, this only knows whom to ask about.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::AtomicBool},
};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::{
    identity::VerifiedSubject,
    model::{ExchangeId, Key, SubjectRef, Timestamp},
    policy::Deadline,
};

use super::{
    effects::Mark,
    fuse::Fuse,
    knock::{Knock, Particulars},
    leash::{Heard, Rests},
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
    /// What follows from what it makes.
    pub(super) effect: Mark,
    /// Somebody is about to decide it again, on what is known from then on.
    pub(super) again: AtomicBool,
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
    /// As whom they act, where as somebody.
    pub(super) acting_as: Option<SubjectRef>,
    /// Each item of its answer is looked at.
    pub(super) narrowed: bool,
}

#[derive(Debug)]
struct Entries {
    next: u64,
    all: HashMap<u64, (Arc<Live>, BTreeSet<Key>, Timestamp)>,
    by_key: HashMap<Key, BTreeSet<u64>>,
    by_deadline: BTreeMap<(Timestamp, u64), ()>,
    /// When whoever burns fuses looks next, without being woken.
    looks: Timestamp,
}

impl Default for Entries {
    fn default() -> Self {
        Self {
            next: 0,
            all: HashMap::new(),
            by_key: HashMap::new(),
            by_deadline: BTreeMap::new(),
            // Nobody has looked yet: the first deadline wakes.
            looks: Timestamp::MAX,
        }
    }
}

/// See the module's header.
#[derive(Debug, Default)]
pub struct Registry {
    entries: Mutex<Entries>,
    /// Wakes whoever waits for the next deadline.
    sooner: Notify,
    /// What fuses hang on, where others change the store too.
    heard: Option<Arc<Heard>>,
}

impl Registry {
    /// One whose exchanges hang on what is heard of the store.
    pub(super) fn on(heard: Option<Arc<Heard>>) -> Registry {
        Registry { heard, ..Registry::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters an exchange that rests on nothing yet.
    pub(super) fn enter(&self, exchange: ExchangeId) -> Arc<Live> {
        let mut entries = self.lock();
        let number = entries.next;
        entries.next = number.wrapping_add(1);
        let live = Arc::new(Live {
            exchange,
            fuse: Fuse::on(self.heard.clone()),
            number,
            case: OnceLock::new(),
            effect: Mark::default(),
            again: AtomicBool::new(false),
        });
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

    /// It was decided again as of this mark, and goes on until this deadline.
    pub(super) fn settle(&self, live: &Live, mark: u64, deadline: Deadline, rests: Rests) {
        live.fuse.settle(mark, deadline, rests);
        self.due(live, deadline.at);
    }

    /// It ends by itself at this instant.
    pub(super) fn due(&self, live: &Live, at: Timestamp) {
        let mut entries = self.lock();
        if let Some((_, _, old)) = entries.all.get_mut(&live.number) {
            let old = std::mem::replace(old, at);
            entries.by_deadline.remove(&(old, live.number));
            entries.by_deadline.insert((at, live.number), ());
            // A deadline is hours away as a rule: a wake for each exchange would cost as much as the exchange's own wait.
            let sooner = at < entries.looks;
            drop(entries);
            if sooner {
                self.sooner.notify_one();
            }
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

    /// The exchanges that rest on any document such as this.
    pub(super) fn resting_where(&self, wanted: impl Fn(&Key) -> bool) -> Vec<Arc<Live>> {
        let entries = self.lock();
        let keys = entries.by_key.iter().filter(|(key, _)| wanted(key));
        let numbers: BTreeSet<u64> = keys.flat_map(|(_, numbers)| numbers).copied().collect();
        let found = numbers.iter().filter_map(|number| entries.all.get(number));
        found.map(|(live, _, _)| Arc::clone(live)).collect()
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

    /// Those whose deadline has passed, taken out of the deadlines; and when to look again: with the next deadline, at the
    /// latest `most_ms` milliseconds from now. Whatever falls earlier and comes in meanwhile wakes [`Registry::sooner`].
    pub(super) fn past(&self, now: Timestamp, most_ms: i64) -> (Vec<Arc<Live>>, Timestamp) {
        let mut entries = self.lock();
        let mut past = Vec::new();
        let mut looks = now.plus_ms(most_ms);
        while let Some(((at, number), ())) = entries.by_deadline.first_key_value().map(|(k, v)| (*k, *v)) {
            if at > now {
                looks = looks.min(at);
                break;
            }
            entries.by_deadline.remove(&(at, number));
            if let Some((live, _, _)) = entries.all.get(&number) {
                past.push(Arc::clone(live));
            }
        }
        entries.looks = looks;
        (past, looks)
    }

    /// Wakes whoever waits in [`Registry::sooner`]: the clock made a leap.
    pub(super) fn wake(&self) {
        self.sooner.notify_one();
    }

    /// Waits until an earlier deadline may have come in.
    pub(super) async fn sooner(&self) {
        self.sooner.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    fn entered(registry: &Registry, name: &str) -> Arc<Live> {
        registry.enter(ExchangeId::new(name).unwrap())
    }

    #[test]
    fn only_a_deadline_before_the_next_look_wakes() {
        let registry = Registry::default();
        let (far, near) = (entered(&registry, "exc_a"), entered(&registry, "exc_b"));
        let woken = || pin!(registry.sooner()).poll(&mut Context::from_waker(Waker::noop())).is_ready();
        assert_eq!(registry.past(at(1_000), 250).1, at(1_250));
        registry.due(&far, at(9_000));
        assert!(!woken(), "looked at in time anyway");
        registry.due(&near, at(1_100));
        assert!(woken());
        assert_eq!(
            registry.past(at(1_050), 250).1,
            at(1_100),
            "the look itself comes with the next deadline"
        );
        let (past, next) = registry.past(at(1_100), 250);
        assert_eq!((past.len(), next), (1, at(1_350)));
        registry.due(&far, at(1_349));
        assert!(woken(), "a deadline that was moved");
    }
}
