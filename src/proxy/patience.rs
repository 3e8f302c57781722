//! One timer for a connection's life, set anew without touching the runtime's wheel: it fires at times it need not, and
//! then looks whether the time that counts has come. Connections that last for one request, as the streams of HTTP/2 do,
//! hand theirs on: to put one into the wheel costs a wake-up of the kernel's.
//!
//! These bounds guard against slow peers. What ends a permit is the fuse, by the gateway's own clock.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The time that was given is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooSlow;

/// How many timers that nobody needs a core keeps.
const SPARE: usize = 256;

/// A core's timers that nobody needs right now.
#[derive(Default)]
pub(super) struct Timers(RefCell<Vec<Pin<Box<Sleep>>>>);

/// See the module's header.
pub(super) struct Patience {
    /// Made, or taken from the spare ones, for the first who has to wait.
    sleep: Option<Pin<Box<Sleep>>>,
    spare: Option<Rc<Timers>>,
}

impl Drop for Patience {
    fn drop(&mut self) {
        if let (Some(sleep), Some(spare)) = (self.sleep.take(), &self.spare) {
            let mut spare = spare.0.borrow_mut();
            if spare.len() < SPARE {
                spare.push(sleep);
            }
        }
    }
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { sleep: None, spare: None }
    }

    /// One whose timer comes from a core's, and goes back there.
    pub(super) fn of(timers: &Rc<Timers>) -> Self {
        Self { sleep: None, spare: Some(Rc::clone(timers)) }
    }

    fn sleep(&mut self) -> &mut Pin<Box<Sleep>> {
        let spare = &self.spare;
        self.sleep.get_or_insert_with(|| {
            let known = spare.as_ref().and_then(|spare| spare.0.borrow_mut().pop());
            known.unwrap_or_else(|| Box::pin(sleep_until(Instant::now())))
        })
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
            let sleep = self.sleep();
            loop {
                if sleep.as_mut().poll(cx).is_pending() {
                    if sleep.deadline() <= deadline {
                        return Poll::Pending;
                    }
                    sleep.as_mut().reset(deadline);
                    continue;
                }
                if Instant::now() >= deadline {
                    return Poll::Ready(Err(TooSlow));
                }
                sleep.as_mut().reset(deadline);
            }
        })
        .await
    }
}
