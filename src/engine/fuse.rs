//! The fuse of a staff exchange: the one thing that is looked at before every hand-over of bytes (rule 8).
//!
//! It burns when the session ends, when a deadline passes, when a new decision says no, or when what the permit rests on was not
//! heard of for too long (`leash`). Whoever burns it waits
//! until the exchange has parted from its sockets, so that an end that was answered is an end (law 6).
//!
//! Never here: reading or writing bytes (that is `proxy`), deciding (that is [`crate::policy`]).

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst},
};

use tokio::sync::Notify;

use crate::{
    model::Timestamp,
    policy::{Deadline, Due, Reason},
};

use super::leash::{Heard, Leash, Rests};

/// Why and when an exchange was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The reason, in the words of a decision.
    pub reason: Reason,
    /// Of a passed deadline: which clock it was.
    pub due: Option<Due>,
    /// When the fuse burnt.
    pub at: Timestamp,
}

/// What a look at the fuse shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Go on.
    Alive,
    /// Something that the permit rests on changed, or its level fell by the clock; hold until it was decided again.
    Stale,
    /// Nothing passes any more.
    Burnt(Cut),
}

/// See the module's header.
#[derive(Debug)]
pub struct Fuse {
    burnt: AtomicBool,
    cut: Mutex<Option<Cut>>,
    /// Counts what touched the permit, and up to where it was decided again.
    touched: AtomicU64,
    settled: AtomicU64,
    deadline: AtomicI64,
    due: Mutex<Due>,
    /// Bytes may pass: an admission was handed out.
    open: AtomicBool,
    parted: AtomicBool,
    /// Wakes the exchange.
    wake: Notify,
    /// Wakes whoever waits for the parting.
    gone: Notify,
    /// Bytes that were handed to a socket, both ways.
    handed: AtomicU64,
    /// Hand-overs that have begun to look, and are not done.
    passing: AtomicU64,
    /// Where others change the store too: what it hangs on.
    leash: Option<Leash>,
}

/// A hand-over, from before its look on.
#[derive(Debug)]
pub struct Passing<'a>(&'a Fuse);

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        self.0.passing.fetch_sub(1, SeqCst);
    }
}

impl Default for Fuse {
    fn default() -> Self {
        Self {
            burnt: AtomicBool::new(false),
            cut: Mutex::new(None),
            touched: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            deadline: AtomicI64::new(i64::MAX),
            due: Mutex::new(Due::Session),
            open: AtomicBool::new(false),
            parted: AtomicBool::new(false),
            wake: Notify::new(),
            gone: Notify::new(),
            handed: AtomicU64::new(0),
            passing: AtomicU64::new(0),
            leash: None,
        }
    }
}

impl Fuse {
    /// One that hangs on what is heard of the store.
    pub(super) fn on(line: Option<Arc<Heard>>) -> Fuse {
        Fuse { leash: line.map(Leash::new), ..Fuse::default() }
    }

    /// Looks, by the clock.
    pub fn look(&self, now: Timestamp) -> Look {
        if self.burnt.load(SeqCst) {
            return Look::Burnt(self.cut(now));
        }
        if let Some(reason) = self.leash.as_ref().and_then(Leash::torn) {
            self.burn(Cut { reason, due: None, at: now });
            return Look::Burnt(self.cut(now));
        }
        if now.ms() >= self.deadline.load(SeqCst) {
            let due = *self.due.lock().unwrap_or_else(PoisonError::into_inner);
            // A level that fell may still cover this: until that is decided, nothing passes.
            let Some(reason) = reason_of(due) else { return Look::Stale };
            self.burn(Cut { reason, due: Some(due), at: now });
            return Look::Burnt(self.cut(now));
        }
        if self.touched.load(SeqCst) != self.settled.load(SeqCst) {
            return Look::Stale;
        }
        Look::Alive
    }

    /// Burns it, unless it burnt before; the first cut stays.
    pub fn burn(&self, cut: Cut) {
        {
            let mut slot = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.is_none() {
                *slot = Some(cut);
            }
        }
        self.burnt.store(true, SeqCst);
        self.wake();
    }

    /// Why it burnt.
    pub fn burnt(&self) -> Option<Cut> {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self, now: Timestamp) -> Cut {
        self.burnt().unwrap_or(Cut { reason: Reason::SessionEnded, due: None, at: now })
    }

    /// Something that the permit rests on changed.
    pub(super) fn touch(&self) {
        self.touched.fetch_add(1, SeqCst);
        self.wake();
    }

    /// Up to where it was touched; hand it to [`Fuse::settle`] after deciding on facts read later than this.
    pub(super) fn mark(&self) -> u64 {
        self.touched.load(SeqCst)
    }

    /// It was decided again, and the answer was yes, until this deadline. Of two decisions that overlap, the one on older
    /// facts changes nothing when it comes last: its deadline may be one that was moved since.
    pub(super) fn settle(&self, mark: u64, deadline: Deadline, rests: Rests) {
        {
            let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            if mark >= self.settled.load(SeqCst) {
                *due = deadline.due;
                self.deadline.store(deadline.at.ms(), SeqCst);
                if let Some(leash) = &self.leash {
                    leash.hang(rests);
                }
                self.settled.store(mark, SeqCst);
            }
        }
        self.wake();
    }

    /// In how many milliseconds it burns where nothing more is heard of the store; `None`: it does not.
    pub(super) fn left_ms(&self) -> Option<i64> {
        self.leash.as_ref()?.left_ms()
    }

    /// When it burns by itself.
    pub fn deadline(&self) -> Timestamp {
        Timestamp::from_ms(self.deadline.load(SeqCst))
    }

    /// Whether the passing of time is what has to be decided about: which clock it was.
    pub(super) fn fallen(&self, now: Timestamp) -> Option<Due> {
        let due = *self.due.lock().unwrap_or_else(PoisonError::into_inner);
        (now.ms() >= self.deadline.load(SeqCst) && reason_of(due).is_none()).then_some(due)
    }

    /// From here on bytes may pass. Said *before* the last look, so that whoever burns it either is seen by that look
    /// or sees that there is somebody to wait for.
    pub(super) fn open(&self) {
        self.open.store(true, SeqCst);
    }

    /// The exchange has let go of its sockets: nothing passes any more.
    pub(super) fn part(&self) {
        self.parted.store(true, SeqCst);
        self.gone.notify_waiters();
    }

    /// Waits until nothing passes any more.
    pub(super) async fn parted(&self) {
        loop {
            let gone = self.gone.notified();
            if self.parted.load(SeqCst) || !self.open.load(SeqCst) {
                return;
            }
            gone.await;
        }
    }

    /// Said before the look that a hand-over rests on, and held until it is done: it does not wait in between.
    pub fn passing(&self) -> Passing<'_> {
        self.passing.fetch_add(1, SeqCst);
        Passing(self)
    }

    /// Waits until whatever looked before this was touched or burnt has handed its bytes on: no longer than such a call takes.
    pub(super) async fn held(&self) {
        while self.passing.load(SeqCst) != 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until there is a reason to look again.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    fn wake(&self) {
        // One permit is kept for a task that looks later; both directions of an exchange may wait at once.
        self.wake.notify_waiters();
        self.wake.notify_one();
    }

    /// Counts bytes that were handed on.
    pub fn count(&self, bytes: usize) {
        self.handed.fetch_add(bytes as u64, SeqCst);
    }

    /// How many bytes were handed on so far.
    pub fn handed(&self) -> u64 {
        self.handed.load(SeqCst)
    }
}

/// What a passed deadline comes to; `None`: that has to be decided anew.
fn reason_of(due: Due) -> Option<Reason> {
    match due {
        Due::Session => Some(Reason::SessionExpired),
        Due::Exchange => Some(Reason::ExchangeTooLong),
        Due::Grant => Some(Reason::GrantExpired),
        Due::Consent | Due::Grantor | Due::LookUp | Due::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn a_deadline_burns_at_its_millisecond_and_the_first_cut_stays() {
        let fuse = Fuse::default();
        fuse.settle(0, Deadline { at: at(100), due: Due::Grant }, Rests::NOTHING);
        assert_eq!(fuse.look(at(99)), Look::Alive);
        let cut = Cut { reason: Reason::GrantExpired, due: Some(Due::Grant), at: at(100) };
        assert_eq!(fuse.look(at(100)), Look::Burnt(cut));
        fuse.burn(Cut { reason: Reason::SessionEnded, due: None, at: at(200) });
        assert_eq!(fuse.look(at(50)), Look::Burnt(cut), "a clock set back revives nothing");
    }

    #[test]
    fn a_decision_on_older_facts_that_comes_last_prolongs_nothing() {
        let fuse = Fuse::default();
        fuse.touch();
        let older = fuse.mark();
        fuse.touch();
        let newer = fuse.mark();
        fuse.settle(newer, Deadline { at: at(100), due: Due::Grant }, Rests::NOTHING);
        fuse.settle(older, Deadline { at: at(900), due: Due::Session }, Rests::NOTHING);
        assert_eq!(fuse.deadline(), at(100));
        assert_eq!(fuse.look(at(50)), Look::Alive);
        let cut = Cut { reason: Reason::GrantExpired, due: Some(Due::Grant), at: at(100) };
        assert_eq!(fuse.look(at(100)), Look::Burnt(cut));
    }

    #[test]
    fn a_level_that_falls_holds_from_its_millisecond_until_it_is_decided_again() {
        let fuse = Fuse::default();
        fuse.settle(0, Deadline { at: at(100), due: Due::Consent }, Rests::NOTHING);
        assert_eq!((fuse.look(at(99)), fuse.fallen(at(99))), (Look::Alive, None));
        assert_eq!((fuse.look(at(100)), fuse.fallen(at(100))), (Look::Stale, Some(Due::Consent)));
        assert_eq!(fuse.burnt(), None);
        fuse.settle(fuse.mark(), Deadline { at: at(900), due: Due::Session }, Rests::NOTHING);
        assert_eq!((fuse.look(at(100)), fuse.fallen(at(100))), (Look::Alive, None));
        assert!(matches!(fuse.look(at(900)), Look::Burnt(_)));
    }

    #[test]
    fn what_holds_is_waited_for_until_nothing_is_in_hand() {
        let fuse = Fuse::default();
        let mut held = std::pin::pin!(fuse.held());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let (up, down) = (fuse.passing(), fuse.passing());
        assert_eq!(fuse.look(at(1)), Look::Alive);
        fuse.touch();
        assert!(held.as_mut().poll(&mut context).is_pending());
        drop(up);
        assert!(held.as_mut().poll(&mut context).is_pending());
        drop(down);
        assert!(held.as_mut().poll(&mut context).is_ready());
        assert_eq!(fuse.look(at(1)), Look::Stale);
    }

    #[test]
    fn what_was_touched_during_a_decision_stays_stale() {
        let fuse = Fuse::default();
        fuse.touch();
        let mark = fuse.mark();
        fuse.touch();
        fuse.settle(mark, Deadline { at: at(100), due: Due::Session }, Rests::NOTHING);
        assert_eq!(fuse.look(at(1)), Look::Stale);
        fuse.settle(fuse.mark(), Deadline { at: at(100), due: Due::Session }, Rests::NOTHING);
        assert_eq!(fuse.look(at(1)), Look::Alive);
    }
}
