//! Leases: as of when each part of a store is known, on the clock that never runs back (decision 0025).
//!
//! Lives here: the sending of the last beat that a majority confirmed and whose changes are all in force, for each part; the
//! histories that what is known rests on ([`Grounds`]); whether a part is trusted at all. Asking for an age takes no lock.
//!
//! Never here: a clock (milliseconds of the boot clock come in), a beat ([`super::redis`]), how old is too old
//! ([`crate::policy`]), what heals a part.

mod history;
mod line;
mod parts;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering::SeqCst},
    },
};

use tokio::sync::watch;
use uuid::Uuid;

use self::history::History;
use super::Part;

pub use history::{Grounds, Stretches};
pub use line::Line;
pub use parts::{PARTS_MOST, Parts};

/// How many renewals wait for the follower at most. The oldest are kept, since they are given first; of the others the newest.
const KEPT: usize = 16;

/// A part of which nothing is known yet.
const NEVER: i64 = i64::MIN;

/// How old what is known of some parts is. Ordered: the later, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Age {
    /// As old as this, in milliseconds.
    Known(u64),
    /// Of one of them nothing was ever confirmed.
    Never,
    /// One of them has lost something and is not healed yet (law 8).
    Suspect,
}

impl Age {
    /// Known this minute.
    pub const NONE: Age = Age::Known(0);
}

/// Why a part is not trusted (decision 0026).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Suspicion {
    /// Its head is missing: it was wiped, or `postern state init` was never run.
    Unmarked = 1,
    /// Its head bears the id of another store.
    OtherStore = 2,
    /// Its epoch is lower than one that was seen.
    EpochBehind = 3,
    /// Its newest change is older than one that was seen.
    PlaceBehind = 4,
    /// It had other changes before the place that was followed to.
    Forked = 5,
    /// Its epoch is higher: others have healed it, and what this gateway remembers is not joined in yet.
    HealedByOthers = 6,
    /// Another gateway has found it suspect and said so in its head.
    Marked = 7,
    /// Nothing shows yet that it has what this gateway remembers.
    Unproven = 8,
}

impl Suspicion {
    const ALL: [Suspicion; 8] = [
        Suspicion::Unmarked,
        Suspicion::OtherStore,
        Suspicion::EpochBehind,
        Suspicion::PlaceBehind,
        Suspicion::Forked,
        Suspicion::HealedByOthers,
        Suspicion::Marked,
        Suspicion::Unproven,
    ];

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|why| *why as u8 == number)
    }

    /// A stable code.
    pub fn code(self) -> &'static str {
        match self {
            Suspicion::Unmarked => "mark_missing",
            Suspicion::OtherStore => "mark_of_another_store",
            Suspicion::EpochBehind => "epoch_behind",
            Suspicion::PlaceBehind => "place_behind",
            Suspicion::Forked => "line_forked",
            Suspicion::HealedByOthers => "healed_by_others",
            Suspicion::Marked => "marked_suspect",
            Suspicion::Unproven => "not_proven",
        }
    }
}

/// What came of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// All that it rests on is in force: the part is known as of then.
    Given,
    /// The follower is behind; given when it has caught up.
    Kept,
    /// The follower has passed the place and its line is no longer remembered; the next beat will do.
    Passed,
    /// The follower had another line there. The part is suspect now.
    Forked,
}

/// One number for each part that only rises: as of when it is known. See the module's header.
#[derive(Debug)]
pub struct Leases {
    /// Of a store that is always right about itself.
    always: bool,
    parts: Box<[Lease]>,
    doubts: watch::Sender<Parts>,
    /// The parts whose layout is a newer build's, as bits.
    newer: AtomicU64,
}

#[derive(Debug)]
struct Lease {
    known: AtomicI64,
    /// As of when an earlier life of this gateway knew it.
    recalled: AtomicI64,
    why: AtomicU8,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    history: History,
    /// Confirmed beats whose changes are not all in force: when they were sent, and the head they told.
    kept: VecDeque<(i64, u64, Line)>,
    /// The store's id and epoch as seen last.
    expected: Option<(Uuid, u32)>,
}

impl Inner {
    fn leave(&mut self) {
        self.history.leave();
        self.kept.clear();
    }
}

impl Lease {
    fn new() -> Self {
        let inner = Mutex::new(Inner::default());
        let never = || AtomicI64::new(NEVER);
        Self { known: never(), recalled: never(), why: AtomicU8::new(0), inner }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each step under the lock leaves whole values behind.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leases {
    /// Of an embedded store: what is known is what is, at any age.
    pub fn always() -> Arc<Self> {
        Arc::new(Self::new(true, Box::default()))
    }

    /// Of a store with so many parts (64 at most) of which nothing is known yet.
    pub fn of(parts: u16) -> Arc<Self> {
        let parts = (0..parts.min(PARTS_MOST)).map(|_| Lease::new()).collect();
        Arc::new(Self::new(false, parts))
    }

    fn new(always: bool, parts: Box<[Lease]>) -> Self {
        Self { always, parts, doubts: watch::Sender::new(Parts::NONE), newer: AtomicU64::new(0) }
    }

    fn lease(&self, part: Part) -> Option<&Lease> {
        self.parts.get(usize::from(part.0))
    }

    /// A part is known as of this instant, if that is later than it was. Whoever calls it vouches for it; a beat calls
    /// [`Leases::renew_up_to`].
    pub fn renew(&self, part: Part, sent_ms: i64) {
        if let Some(lease) = self.lease(part) {
            lease.known.fetch_max(sent_ms, SeqCst);
        }
    }

    /// A majority has confirmed a beat that was sent then, and that told this head: given now if everything up to there is in
    /// force, else as soon as it is.
    pub fn renew_up_to(&self, part: Part, sent_ms: i64, number: u64, line: Line) -> Renewal {
        let Some(lease) = self.lease(part) else { return Renewal::Passed };
        let mut inner = lease.lock();
        if inner.history.leaving() || inner.history.place().0 < number {
            if inner.kept.len() >= KEPT {
                inner.kept.pop_back();
            }
            inner.kept.push_back((sent_ms, number, line));
            return Renewal::Kept;
        }
        if number == 0 {
            lease.known.fetch_max(sent_ms, SeqCst);
            return Renewal::Given;
        }
        let Some(at) = inner.history.line_at(number) else { return Renewal::Passed };
        if *at == Line::NONE {
            // The follower began here, with nothing in hand that another history could contradict.
            *at = line;
        }
        if *at == line {
            lease.known.fetch_max(sent_ms, SeqCst);
            return Renewal::Given;
        }
        drop(inner);
        self.suspect(part, Some(Suspicion::Forked));
        Renewal::Forked
    }

    /// The follower has put a change in force; called for each, in their order. [`Line::NONE`] where it begins to follow and
    /// holds nothing yet: a beat then says which line that is. A place that does not follow begins anew.
    pub fn in_force(&self, part: Part, number: u64, line: Line) {
        let Some(lease) = self.lease(part) else { return };
        let mut forked;
        {
            let mut inner = lease.lock();
            forked = !inner.history.follow(number, line);
            while let Some((sent_ms, head, told)) = inner.kept.front().copied() {
                if head > number {
                    break;
                }
                inner.kept.pop_front();
                if head == number && line == told && !forked {
                    lease.known.fetch_max(sent_ms, SeqCst);
                } else if head == number && line != Line::NONE {
                    forked = true;
                }
            }
        }
        if forked {
            self.suspect(part, Some(Suspicion::Forked));
        }
    }

    /// Up to which change this gateway has followed a part, and the line there; number 0 where it has not begun.
    pub fn followed(&self, part: Part) -> (u64, Line) {
        self.lease(part).map_or((0, Line::NONE), |lease| lease.lock().history.place())
    }

    /// The line of a place, as far as it is known and remembered; [`Line::NONE`] where it is not.
    pub fn line_at(&self, part: Part, number: u64) -> Line {
        self.lease(part).map_or(Line::NONE, |lease| lease.lock().history.known_at(number))
    }

    /// What the store of this part has to have: whoever asks it for documents, or for a change, names it.
    pub fn grounds(&self, part: Part) -> Grounds {
        let Some(lease) = self.lease(part) else { return Grounds::default() };
        let inner = lease.lock();
        inner.history.grounds(inner.expected)
    }

    /// In which stretch of following each part is: whoever reads asks before, and names it with the change that rests on what they read.
    pub fn stretches(&self) -> Stretches {
        let of = |lease: &Lease| {
            let inner = lease.lock();
            (!inner.history.leaving()).then(|| inner.history.stretch())
        };
        self.parts.iter().map(of).collect()
    }

    /// The same of one part, also while it is left: what was asked for in an earlier one is not kept.
    pub fn stretch(&self, part: Part) -> u64 {
        self.lease(part).map_or(0, |lease| lease.lock().history.stretch())
    }

    /// A server that was found to have all of these answered documents as of this place. `false`: they are not to be gone by. What was known
    /// when it was asked is forgotten by now, or another history is followed. Nothing is suspected for that: no majority stands behind a load,
    /// so it may be an old primary that answered. A beat finds out.
    #[must_use]
    pub fn loaded(&self, part: Part, grounds: &Grounds, answered: (u64, Line)) -> bool {
        let Some(lease) = self.lease(part) else { return true };
        let mut inner = lease.lock();
        inner.history.stretch() == grounds.stretch && inner.history.proved(grounds, Some(answered))
    }

    /// A store that was found to have all of these, and confirmed it by a majority, answered as of this place; `None`: it answered no
    /// document. What it answered is known out of turn from here on. Where that contradicts what else is known, the part is suspect.
    pub fn proved(&self, part: Part, grounds: &Grounds, answered: Option<(u64, Line)>) {
        let Some(lease) = self.lease(part) else { return };
        let proved = {
            let mut inner = lease.lock();
            let proved = inner.history.proved(grounds, answered);
            if !proved {
                inner.history.tear();
            }
            proved
        };
        if !proved {
            self.suspect(part, Some(Suspicion::Forked));
        }
    }

    /// What is known of a part is about to be forgotten: call this before. Nothing rests on it from here on, and until
    /// [`Leases::in_force`] says from where it is followed anew, nothing is renewed ([`Leases::leaving`]).
    pub fn leave(&self, part: Part) {
        if let Some(lease) = self.lease(part) {
            lease.lock().leave();
        }
    }

    /// Whether what is known of a part has to be forgotten, or just is: nothing says of which history it is, so no change is made of
    /// it. So after a healing, whose part is another one.
    pub fn leaving(&self, part: Part) -> bool {
        self.lease(part).is_some_and(|lease| lease.lock().history.leaving())
    }

    /// A place that was followed to without knowing its line has this one.
    pub fn line_is(&self, part: Part, number: u64, line: Line) {
        let Some(lease) = self.lease(part) else { return };
        if let Some(at) = lease.lock().history.line_at(number)
            && *at == Line::NONE
        {
            *at = line;
        }
    }

    /// The id and epoch that a part's head has to bear: what was seen last, or what a healing made. Where that changes, what was
    /// known is to be forgotten ([`Leases::leaving`]).
    pub fn expect(&self, part: Part, id: Uuid, epoch: u32) {
        let Some(lease) = self.lease(part) else { return };
        let mut inner = lease.lock();
        if inner.expected.replace((id, epoch)).is_some_and(|before| before != (id, epoch)) {
            inner.leave();
        }
    }

    /// The id and epoch that were seen last.
    pub fn expected(&self, part: Part) -> Option<(Uuid, u32)> {
        self.lease(part).and_then(|lease| lease.lock().expected)
    }

    /// A part is not trusted, for this reason, or is trusted again. Of several reasons the first stays until it is lifted. What
    /// was known stays known as of when it was.
    pub fn suspect(&self, part: Part, why: Option<Suspicion>) {
        let Some(lease) = self.lease(part) else { return };
        let Some(why) = why else {
            lease.why.store(0, SeqCst);
            self.doubts.send_modify(|parts| *parts = parts.without(part));
            return;
        };
        lease.lock().kept.clear();
        if lease.why.compare_exchange(0, why as u8, SeqCst, SeqCst).is_ok() {
            self.doubts.send_modify(|parts| *parts = parts.with(part));
        }
    }

    /// Why a part is not trusted.
    pub fn suspicion(&self, part: Part) -> Option<Suspicion> {
        self.lease(part).and_then(|lease| Suspicion::from_number(lease.why.load(SeqCst)))
    }

    /// The parts that are not trusted, as that changes.
    pub fn doubts(&self) -> watch::Receiver<Parts> {
        self.doubts.subscribe()
    }

    /// Whether the head of a part bears the layout of a newer build. Answers whether it is the first of which that is found.
    pub fn found_newer(&self, part: Part, newer: bool) -> bool {
        let bits = Parts::of(part).bits();
        if newer {
            return self.newer.fetch_or(bits, SeqCst) == 0;
        }
        self.newer.fetch_and(!bits, SeqCst);
        false
    }

    /// Whether any part bears the layout of a newer build: this one reads nothing of it.
    pub fn any_newer(&self) -> bool {
        self.newer.load(SeqCst) != 0
    }

    /// The link to the server of these parts ended: what it confirmed and what is not in force yet is not waited for.
    pub fn unlinked(&self, parts: Parts) {
        for lease in parts.each().filter_map(|part| self.lease(part)) {
            lease.lock().kept.clear();
        }
    }

    /// As of when a part is known, in milliseconds of the boot clock.
    pub fn known(&self, part: Part) -> Option<i64> {
        let known = self.lease(part)?.known.load(SeqCst);
        (known != NEVER).then_some(known)
    }

    /// An earlier life of this gateway knew a part as of this instant, and what it knew is at hand. No lease: it says how old that is
    /// to those whom the store's absence takes nothing from (rule 19).
    pub fn recall(&self, part: Part, as_of_ms: i64) {
        if let Some(lease) = self.lease(part) {
            lease.recalled.fetch_max(as_of_ms, SeqCst);
        }
    }

    /// As of when what is at hand of a part is known, in this life or an earlier one, in milliseconds of the boot clock.
    pub fn as_of(&self, part: Part) -> Option<i64> {
        let lease = self.lease(part)?;
        let as_of = lease.known.load(SeqCst).max(lease.recalled.load(SeqCst));
        (as_of != NEVER).then_some(as_of)
    }

    /// How old what is known of these parts is: that of the oldest; what is suspect or was never known is worse than any.
    #[inline]
    pub fn age(&self, parts: Parts, now_ms: i64) -> Age {
        if self.always {
            return Age::NONE;
        }
        parts.each().map(|part| self.age_of(part, now_ms)).max().unwrap_or(Age::NONE)
    }

    fn age_of(&self, part: Part, now_ms: i64) -> Age {
        let Some(lease) = self.lease(part) else { return Age::Never };
        if lease.why.load(SeqCst) != 0 {
            return Age::Suspect;
        }
        match lease.known.load(SeqCst) {
            NEVER => Age::Never,
            known => Age::Known(u64::try_from(now_ms.saturating_sub(known)).unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests;
