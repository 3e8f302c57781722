//! One timer for a connection's life, set anew without touching the runtime's wheel: it fires at times it need not, and
//! then looks whether the time that counts has come.
//!
//! These bounds guard against slow peers. What ends a permit is the fuse, by the gateway's own clock.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The time that was given is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooSlow;

/// See the module's header.
pub(super) struct Patience {
    sleep: Pin<Box<Sleep>>,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { sleep: Box::pin(sleep_until(Instant::now())) }
    }

    /// Waits for `what`, and no longer than `most`.
    pub(super) async fn wait<T>(
        &mut self,
        most: Duration,
        what: impl Future<Output = T>,
    ) -> Result<T, TooSlow> {
        self.within(most, &mut None, what).await
    }

    /// The same, and how long the waiting took: nothing where nobody had to wait.
    pub(super) async fn timed<T>(
        &mut self,
        most: Duration,
        what: impl Future<Output = T>,
    ) -> Result<(T, Duration), TooSlow> {
        let mut began = None;
        let value = self.within(most, &mut began, what).await?;
        Ok((value, began.map_or(Duration::ZERO, |began| began.elapsed())))
    }

    async fn within<T>(
        &mut self,
        most: Duration,
        began: &mut Option<Instant>,
        what: impl Future<Output = T>,
    ) -> Result<T, TooSlow> {
        let mut what = std::pin::pin!(what);
        poll_fn(|cx| {
            if let Poll::Ready(value) = what.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            // The clock is read only for those who have to wait.
            let deadline = *began.get_or_insert_with(Instant::now) + most;
            loop {
                if self.sleep.as_mut().poll(cx).is_pending() {
                    if self.sleep.deadline() <= deadline {
                        return Poll::Pending;
                    }
                    self.sleep.as_mut().reset(deadline);
                    continue;
                }
                if Instant::now() >= deadline {
                    return Poll::Ready(Err(TooSlow));
                }
                self.sleep.as_mut().reset(deadline);
            }
        })
        .await
    }
}
