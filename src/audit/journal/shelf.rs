//! Records that nobody waits for: outcomes, refusals, counts. They wait here for the writer, which takes them along with
//! the next record that somebody does wait for, or writes them by themselves a few milliseconds later. A flush begun
//! for an outcome would make the next intent wait for it.
//!
//! What lies here is bounded: every intent leads to one outcome, and intents stop when the ledger does, save those of ends,
//! withdrawals and the like, of which there are no more than there is to end; of what may be lost no more than [`MOST`] lie here,
//! and whoever left it is told when it is lost. Never here: writing, and what follows from a failure.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::draft::Ready;

/// How long a record may lie here while nobody waits for another one.
pub(super) const LINGER: Duration = Duration::from_millis(5);
/// How long it is left alone, at most, after the ledger refused it again and again.
pub(super) const LONGEST: Duration = Duration::from_millis(500);

/// How many records that may be lost lie here at the most.
pub(super) const MOST: usize = 1024;

#[derive(Default)]
pub(super) struct Shelf(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    records: VecDeque<Ready>,
    /// How many of them may be lost.
    optional: usize,
    /// The writer sleeps and would not look here by itself.
    asleep: bool,
    /// The writer is gone.
    closed: bool,
    /// Whoever waits for an empty shelf.
    resting: Vec<oneshot::Sender<()>>,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays a record down; says whether the writer has to be woken. Behind a closed ledger there is nobody to write it.
    ///
    /// # Errors
    /// The record, where too many lie here that may be lost.
    #[expect(clippy::result_large_err, reason = "the record comes back to whoever left it")]
    pub(super) fn put(&self, ready: Ready) -> Result<bool, Ready> {
        let mut inner = self.lock();
        if inner.closed {
            return Ok(false);
        }
        if !ready.matters() {
            if inner.optional >= MOST {
                return Err(ready);
            }
            inner.optional += 1;
        }
        inner.records.push_back(ready);
        Ok(std::mem::take(&mut inner.asleep))
    }

    /// The oldest record.
    pub(super) fn take(&self) -> Option<Ready> {
        let mut inner = self.lock();
        inner.asleep = false;
        let taken = inner.records.pop_front();
        if taken.as_ref().is_some_and(|ready| !ready.matters()) {
            inner.optional = inner.optional.saturating_sub(1);
        }
        taken
    }

    /// Lays records back that could not be written, in front and in their order.
    pub(super) fn put_back(&self, records: impl DoubleEndedIterator<Item = Ready>) {
        let mut inner = self.lock();
        for ready in records.rev() {
            inner.optional += usize::from(!ready.matters());
            inner.records.push_front(ready);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().records.is_empty()
    }

    /// Whether the writer may sleep until it is woken. From then on the next record wakes it.
    pub(super) fn may_sleep(&self) -> bool {
        let mut inner = self.lock();
        inner.asleep = inner.records.is_empty();
        inner.asleep
    }

    /// Is told when everything is written, or when nothing will be any more.
    pub(super) fn rest(&self) -> oneshot::Receiver<()> {
        let (told, rested) = oneshot::channel();
        let mut inner = self.lock();
        if !inner.closed {
            inner.resting.push(told);
        }
        rested
    }

    /// Tells those who wait, if nothing lies here; the writer calls it when nothing is under way either.
    pub(super) fn tell(&self) {
        let mut inner = self.lock();
        if inner.records.is_empty() {
            for told in inner.resting.drain(..) {
                // Whoever asked may be gone.
                let _ = told.send(());
            }
        }
    }

    /// The writer goes; what lies here stays unwritten, and the next start settles what it would have closed.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.records.clear();
        inner.optional = 0;
        inner.resting.clear();
    }
}
