//! What a connection costs against what it brings. Every protocol has messages that cost the sender nothing and the
//! receiver something; whoever sends little else is sent away.
//!
//! Never here: time. A long-lived connection may ask how we are as often as it likes, as long as that is not all it does.

use std::{
    cell::Cell,
    future::poll_fn,
    task::{Poll, Waker},
};

use tokio::time::Instant;

/// Bytes of frames that carry nothing, beyond as many as carried something.
const OVERHEAD: u64 = 256 << 10;
/// Streams that were reset by the client, beyond as many as came to their end.
const RESETS: u32 = 100;

/// See the module's header.
pub(super) struct Account {
    overhead: Cell<u64>,
    worth: Cell<u64>,
    resets: Cell<u32>,
    idle_since: Cell<Instant>,
    waiting: Cell<Option<Waker>>,
}

impl Account {
    pub(super) fn new() -> Account {
        Account {
            overhead: Cell::new(0),
            worth: Cell::new(0),
            resets: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            waiting: Cell::new(None),
        }
    }

    /// A frame carried nothing for anybody.
    pub(super) fn overhead(&self, bytes: u64) {
        self.overhead.set(self.overhead.get().saturating_add(bytes));
        self.look();
    }

    /// Bytes of a request or an answer, in either direction.
    pub(super) fn worth(&self, bytes: u64) {
        self.worth.set(self.worth.get().saturating_add(bytes));
    }

    /// A stream ended.
    pub(super) fn ended(&self, by_reset: bool) {
        self.idle_since.set(Instant::now());
        let resets = self.resets.get();
        self.resets.set(if by_reset { resets.saturating_add(1) } else { resets.saturating_sub(1) });
        self.look();
    }

    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since.get()
    }

    fn is_overdrawn(&self) -> bool {
        self.resets.get() > RESETS || self.overhead.get() > OVERHEAD.saturating_add(self.worth.get())
    }

    fn look(&self) {
        if self.is_overdrawn()
            && let Some(waker) = self.waiting.take()
        {
            waker.wake();
        }
    }

    /// Waits until it has cost too much.
    pub(super) async fn overdrawn(&self) {
        poll_fn(|cx| {
            if self.is_overdrawn() {
                return Poll::Ready(());
            }
            self.waiting.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_are_forgiven_by_streams_that_end_and_end_the_account_without() {
        let account = Account::new();
        for _ in 0..1_000 {
            account.ended(true);
            account.ended(false);
        }
        assert!(!account.is_overdrawn());
        for _ in 0..=RESETS {
            assert!(!account.is_overdrawn());
            account.ended(true);
        }
        assert!(account.is_overdrawn());
    }

    #[test]
    fn frames_that_carry_nothing_are_paid_for_by_those_that_carry_something() {
        let account = Account::new();
        account.overhead(OVERHEAD);
        assert!(!account.is_overdrawn());
        account.worth(17);
        account.overhead(17);
        assert!(!account.is_overdrawn());
        account.overhead(17);
        assert!(account.is_overdrawn());
    }
}
