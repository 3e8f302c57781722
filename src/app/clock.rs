//! The one clock.
//!
//! It is the wall clock, held on `CLOCK_BOOTTIME` from the latest reading on: a wall clock that is set back never
//! prolongs anything (law 7), and the time that a machine slept counts. A wall clock that jumps forward takes this one
//! along; until a restart it does not come back. In a fleet the store's clock counts like one more wall clock (rule 7).
//!
//! Never here: what a time means to anybody.

#![expect(clippy::disallowed_methods, reason = "here the clock is read, and nowhere else")]

use std::{
    sync::atomic::{AtomicI64, Ordering::Relaxed},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

use crate::{engine::Clock, model::Timestamp};

/// Where the kernel names the start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// See the module's header.
#[derive(Debug)]
pub struct SystemClock {
    /// The largest difference between wall clock and boot time that was seen, in milliseconds.
    ahead: AtomicI64,
    /// By how much `dangerous.clock` moved it forward, in milliseconds.
    moved: AtomicI64,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { ahead: AtomicI64::new(i64::MIN), moved: AtomicI64::new(0) }
    }
}

impl SystemClock {
    /// Moves it forward. There is no way back.
    pub fn advance(&self, ms: i64) {
        self.moved.fetch_add(ms.max(0), Relaxed);
    }

    /// By how much it was moved, in milliseconds.
    pub fn moved(&self) -> i64 {
        self.moved.load(Relaxed)
    }

    fn since_boot() -> i64 {
        let boot = clock_gettime(ClockId::Boottime);
        boot.tv_sec.saturating_mul(1000).saturating_add(boot.tv_nsec / 1_000_000)
    }

    fn at(&self, wall_ms: i64, boot_ms: i64) -> Timestamp {
        let ahead = wall_ms.saturating_sub(boot_ms);
        let ahead = self.ahead.fetch_max(ahead, Relaxed).max(ahead);
        Timestamp::from_ms(boot_ms.saturating_add(ahead).saturating_add(self.moved.load(Relaxed)))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        self.at(i64::try_from(wall).unwrap_or(i64::MAX), Self::since_boot())
    }

    /// What was moved forward by hand is no time that passed.
    fn boot_ms(&self) -> i64 {
        Self::since_boot()
    }

    fn boot(&self) -> Option<Uuid> {
        std::fs::read_to_string(BOOT_ID).ok().and_then(|id| Uuid::parse_str(id.trim()).ok())
    }

    fn heard(&self, store_ms: i64, boot_ms: i64) {
        // As if this clock had shown it then: the later of both holds from here on, and goes on with what passes.
        self.ahead.fetch_max(store_ms.saturating_sub(boot_ms), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_set_back_does_not_stop_time() {
        let clock = SystemClock::default();
        assert_eq!(clock.at(1_000_000, 500).ms(), 1_000_000);
        assert_eq!(clock.at(400_000, 1_500).ms(), 1_001_000, "ten minutes back, one second later");
        assert_eq!(clock.at(1_003_000, 2_500).ms(), 1_003_000, "a wall clock that is further counts");
    }

    #[test]
    fn time_that_a_machine_slept_counts() {
        let clock = SystemClock::default();
        clock.at(1_000_000, 500);
        assert_eq!(clock.at(1_000_000, 3_600_500).ms(), 4_600_000);
    }

    #[test]
    fn of_wall_clock_and_store_the_later_counts_moved_on_by_what_passed() {
        let clock = SystemClock::default();
        assert_eq!(clock.at(1_000_000, 500).ms(), 1_000_000);
        clock.heard(1_120_000, 700);
        assert_eq!(clock.at(1_000_500, 1_000).ms(), 1_120_300, "the store was two minutes ahead, 300 ms ago");
        clock.heard(1_000_900, 1_400);
        assert_eq!(clock.at(1_001_000, 1_500).ms(), 1_120_800, "one that is behind takes nothing back");
        assert_eq!(clock.at(1_500_000, 2_000).ms(), 1_500_000, "a wall clock that is further counts");
    }

    #[test]
    fn the_start_of_the_machine_has_one_name() {
        let name = SystemClock::default().boot();
        assert!(name.is_some());
        assert_eq!(name, SystemClock::default().boot());
    }

    #[test]
    fn it_moves_forward_only() {
        let clock = SystemClock::default();
        clock.advance(5_000);
        clock.advance(-9_000);
        assert_eq!(clock.at(1_000, 0).ms(), 6_000);
    }
}
