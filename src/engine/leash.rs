//! How long an exchange goes on while nothing is heard of the store (law 4, rules 8 and 9).
//!
//! Whatever runs hangs on the leases of the parts that its permit rests on. Each look compares: a gateway that stood still, or
//! that is cut off, finds out by the look itself, before a byte passes.
//!
//! Nothing of this where nobody but this gateway changes the store.
//!
//! Never here: renewing ([`crate::state`]), which bound is whose ([`crate::policy`]).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::SeqCst},
    },
};

use crate::{
    model::Key,
    policy::{Age as HowOld, Facts, Reason, Staff, Staleness, age::Class},
    state::{Age, Leases, Part, Parts, Store},
};

use super::{Clock, knock::Knock};

/// What is heard of a store that others change too.
pub(super) struct Heard {
    pub(super) leases: Arc<Leases>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// The largest age of what somebody was admitted by, in milliseconds.
    largest_ms: AtomicI64,
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heard").field("leases", &self.leases).finish_non_exhaustive()
    }
}

/// What an exchange rests on: the parts of the store, one bit each, and how old what is known of them may become in
/// milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rests {
    parts: u64,
    bound_ms: i64,
}

impl Rests {
    /// On nothing of the store; so do members, whom the store's absence takes nothing from (rule 19).
    pub(super) const NOTHING: Rests = Rests { parts: 0, bound_ms: i64::MAX };

    /// What staff who were admitted by this hang on. An emergency token needs no store (rule 18).
    pub(super) fn of(knock: &Knock, staff: &Staff, facts: &Facts) -> Rests {
        match knock.emergency.token() {
            Some(_) => Rests::NOTHING,
            None => Rests::on(facts, knock.class(&staff.basis), &knock.policy.staleness),
        }
    }

    /// On these facts, by this class.
    pub(super) fn on(facts: &Facts, class: Class, rules: &Staleness) -> Rests {
        Rests { parts: facts.parts(), bound_ms: rules.running(class) }
    }
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Leash {
    heard: Arc<Heard>,
    parts: AtomicU64,
    bound_ms: AtomicI64,
}

impl Heard {
    /// What is heard of this store; `None` where nobody but this gateway changes it.
    pub(super) fn of(store: &Arc<dyn Store>, clock: &Arc<dyn Clock>) -> Option<Arc<Heard>> {
        let leases = store.leases();
        // Of such a store everything is known at any time.
        if leases.age(Parts::of(Part::FIRST), i64::MAX) == Age::NONE {
            return None;
        }
        let (store, clock) = (Arc::clone(store), Arc::clone(clock));
        Some(Arc::new(Heard { leases, store, clock, largest_ms: AtomicI64::new(0) }))
    }

    pub(super) fn boot_ms(&self) -> i64 {
        self.clock.boot_ms()
    }

    /// Notes how old a document is that is about to be read.
    pub(super) fn note(&self, key: &Key, facts: &mut Facts) {
        let part = self.store.part_of(key);
        let bits = bits(part);
        // Its suspicion last: a part that is healed meanwhile is known anew.
        match (self.leases.known(part), self.leases.suspicion(part)) {
            (_, Some(_)) => facts.lies_in_doubt(bits, HowOld::Suspect, self.leases.as_of(part)),
            (None, None) => facts.lies_in_doubt(bits, HowOld::Never, self.leases.as_of(part)),
            (Some(known), None) => facts.lies_in(bits, known),
        }
    }

    /// The same where the store is asked for it, by a majority.
    pub(super) fn note_asked<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k Key>,
        sent: i64,
        facts: &mut Facts,
    ) {
        for key in keys {
            let part = self.store.part_of(key);
            match self.leases.suspicion(part) {
                Some(_) => facts.lies_in_doubt(bits(part), HowOld::Suspect, self.leases.as_of(part)),
                None => facts.asked_of(bits(part), sent),
            }
        }
    }

    /// Somebody was admitted on facts of this age.
    pub(super) fn admitted(&self, facts: &Facts) {
        if let Some(ms) = facts.age_ms() {
            self.largest_ms.fetch_max(ms, SeqCst);
        }
    }

    pub(super) fn largest_ms(&self) -> i64 {
        self.largest_ms.load(SeqCst)
    }

    /// How old what is known of the oldest part is, all of them looked at.
    pub(super) fn oldest(&self) -> Age {
        self.leases.age(Parts::first(self.store.parts()), self.boot_ms())
    }

    /// How many parts there are, and how many of them lost something.
    pub(super) fn suspects(&self) -> (u16, usize) {
        let parts = self.store.parts();
        let lost = (0..parts).filter(|part| self.leases.suspicion(Part(*part)).is_some());
        (parts, lost.count())
    }

    /// Of how many parts that lost nothing it was not heard for longer than so many milliseconds.
    pub(super) fn unheard(&self, bound_ms: i64) -> usize {
        let now = self.boot_ms();
        let parts = Parts::first(self.store.parts());
        let trusted = parts.each().filter(|part| self.leases.suspicion(*part).is_none());
        let unheard =
            |part: &Part| self.leases.known(*part).is_none_or(|known| now.saturating_sub(known) > bound_ms);
        trusted.filter(unheard).count()
    }

    /// Whether the part in which this lies lost something.
    pub(super) fn is_suspect(&self, key: &Key) -> bool {
        self.leases.suspicion(self.store.part_of(key)).is_some()
    }
}

fn bits(part: Part) -> u64 {
    Parts::of(part).bits()
}

impl Leash {
    pub(super) fn new(heard: Arc<Heard>) -> Leash {
        Leash { heard, parts: AtomicU64::new(0), bound_ms: AtomicI64::new(i64::MAX) }
    }

    /// Hangs on this from now on.
    pub(super) fn hang(&self, rests: Rests) {
        self.bound_ms.store(rests.bound_ms, SeqCst);
        self.parts.store(rests.parts, SeqCst);
    }

    /// Why nothing passes any more, if so.
    pub(super) fn torn(&self) -> Option<Reason> {
        let (now, bound) = (self.heard.boot_ms(), self.bound_ms.load(SeqCst));
        let mut torn = None;
        for part in Parts::from_bits(self.parts.load(SeqCst)).each() {
            if self.heard.leases.suspicion(part).is_some() {
                torn = Some(Reason::StateSuspect);
            } else if self.heard.leases.known(part).is_none_or(|known| now.saturating_sub(known) > bound) {
                return Some(Reason::StateStale);
            }
        }
        torn
    }

    /// In how many milliseconds it tears where nothing more is heard.
    pub(super) fn left_ms(&self) -> Option<i64> {
        let (now, bound) = (self.heard.boot_ms(), self.bound_ms.load(SeqCst));
        let left = |part| {
            let known = self.heard.leases.known(part)?;
            Some(bound.saturating_sub(now.saturating_sub(known)).saturating_add(1))
        };
        Parts::from_bits(self.parts.load(SeqCst)).each().filter_map(left).min()
    }
}
