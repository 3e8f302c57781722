//! How slowly a body may come: waiting is paid for by bytes.
//!
//! Whoever sends has an account of time, full at the beginning. Waiting for a byte takes from it, and each byte that came
//! puts back what it may take at the least rate, up to the full account. So a pause is as long as it ever was, and whoever
//! pauses has to make up for it before the next; a drop at a time empties the account once, and never fills it. Time in
//! which nobody waits for the client, because the application is slow, costs nothing.
//!
//! Never here: a clock (see [`Patience`]), what becomes of who is too slow.

use std::{future::Future, time::Duration};

use super::patience::{Patience, TooSlow};

/// See the module's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// Bytes a second; none asks for none.
    rate: u64,
    full: Duration,
    left: Duration,
}

impl Pace {
    /// So many bytes a second, and never a longer pause than that.
    pub(super) fn new(rate: u64, pause: Duration) -> Pace {
        Pace { rate, full: pause, left: pause }
    }

    /// Waits for more of the body, as long as the account lasts.
    pub(super) async fn wait<T>(
        &mut self,
        patience: &mut Patience,
        what: impl Future<Output = T>,
    ) -> Result<T, TooSlow> {
        let (value, waited) = patience.timed(self.left, what).await?;
        self.waited(waited);
        Ok(value)
    }

    /// So much of the body came. Its framing buys nothing.
    pub(super) fn came(&mut self, bytes: u64) {
        if let Some(bought) = bytes.saturating_mul(1_000_000).checked_div(self.rate) {
            self.left = self.left.saturating_add(Duration::from_micros(bought)).min(self.full);
        }
    }

    fn waited(&mut self, time: Duration) {
        if self.rate > 0 {
            self.left = self.left.saturating_sub(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(60);

    /// Whether somebody who sends so many bytes each time, that long apart, is still heard after so many times.
    fn lasts(rate: u64, bytes: u64, apart_ms: u64, times: u32) -> bool {
        let mut pace = Pace::new(rate, PAUSE);
        (0..times).all(|_| {
            let apart = Duration::from_millis(apart_ms);
            let heard = apart <= pace.left;
            pace.waited(apart);
            pace.came(bytes);
            heard
        })
    }

    #[test]
    fn a_drop_at_a_time_ends_and_a_slow_line_does_not() {
        assert!(!lasts(240, 1, 10_000, 7), "a byte in ten seconds");
        assert!(!lasts(240, 1, 50, 2_000), "twenty bytes a second");
        assert!(lasts(240, 300, 1_000, 100_000), "300 bytes a second");
        assert!(lasts(240, 16 << 10, 59_000, 10_000), "much, with long pauses");
        assert!(lasts(0, 1, 59_000, 10_000), "where no rate is asked for, the pause alone counts");
        assert!(!lasts(0, 1, 61_000, 1));
    }

    proptest! {
        /// However it is spread: with the account full at the beginning, and `pause` the most it ever holds, nobody stays
        /// below the rate for longer than the pause.
        #[test]
        fn who_is_heard_for_long_kept_the_rate(
            rate in 1u64..100_000,
            steps in prop::collection::vec((0u64..100_000, 0u64..30_000), 1..200),
        ) {
            let mut pace = Pace::new(rate, PAUSE);
            let (mut bytes, mut time) = (0u64, Duration::ZERO);
            for (came, apart) in steps {
                let apart = Duration::from_millis(apart);
                if apart > pace.left {
                    break;
                }
                pace.waited(apart);
                pace.came(came);
                bytes += came;
                time += apart;
                let owed = time.saturating_sub(PAUSE).as_micros() * u128::from(rate) / 1_000_000;
                prop_assert!(u128::from(bytes) + 1 >= owed, "{bytes} bytes in {time:?}");
                prop_assert!(pace.left <= PAUSE);
            }
        }
    }
}
