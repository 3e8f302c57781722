//! How often one address, or one subject, may ask: a table of a fixed size, whatever number of them come.
//!
//! Each place of the table holds one number: when whoever falls on it will have used up what they asked for (the generic
//! cell rate algorithm). Somebody falls on one place in each of four rows, and the least of the four counts, as in a
//! count-min sketch: who is kept apart from the busy in any one row is not held back. No key is kept, so nothing grows
//! and nothing has to be swept. The price: while ten thousand others flood, about one innocent in two thousand shares all
//! four places with them and is refused beside them. Everybody's true rate is never underrated.
//!
//! Never here: a clock, what a refusal says.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hash},
    net::IpAddr,
    sync::atomic::{AtomicI64, Ordering::Relaxed},
};

use crate::model::Timestamp;

/// Places in a row; a power of two. With four rows of eight bytes: 2 MiB a table.
const PLACES: usize = 1 << 16;
const ROWS: usize = 4;

/// One limit, for all cores.
pub struct Rate {
    rows: Vec<AtomicI64>,
    seed: RandomState,
    /// What one request takes, in microseconds.
    each: i64,
    /// How far ahead somebody may be, in microseconds.
    ahead: i64,
}

impl std::fmt::Debug for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rate").field("each", &self.each).field("ahead", &self.ahead).finish_non_exhaustive()
    }
}

impl Rate {
    /// So many in a second on the long run, and so many at once after a rest; both at least one.
    pub fn new(in_a_second: u64, at_once: u64) -> Rate {
        let each = 1_000_000 / i64::try_from(in_a_second).unwrap_or(i64::MAX).clamp(1, 1_000_000);
        let at_once = i64::try_from(at_once).unwrap_or(i64::MAX).clamp(1, 1_000_000);
        Rate {
            rows: std::iter::repeat_with(|| AtomicI64::new(0)).take(ROWS * PLACES).collect(),
            seed: RandomState::new(),
            each,
            ahead: each.saturating_mul(at_once.saturating_sub(1)),
        }
    }

    /// Counts one request, or says in how many seconds to come again, at least one.
    pub fn take(&self, who: impl Hash, now: Timestamp) -> Result<(), u64> {
        let now = now.ms().saturating_mul(1_000);
        let hash = self.seed.hash_one(who);
        // Sixteen bits of the hash for each row.
        let places = (0..ROWS).filter_map(|row| {
            let at = usize::try_from((hash >> (16 * row)) & 0xffff).unwrap_or(0);
            self.rows.get(row * PLACES + at)
        });
        let used = places.clone().map(|place| place.load(Relaxed)).min().unwrap_or(0);
        let over = used.saturating_sub(now).saturating_sub(self.ahead);
        if over > 0 {
            return Err(u64::try_from(over).unwrap_or(0).div_ceil(1_000_000).max(1));
        }
        let next = used.max(now).saturating_add(self.each);
        // Two at once may both count as one: a limit that two cores meet at the same microsecond lets one more pass.
        places.for_each(|place| {
            place.fetch_max(next, Relaxed);
        });
        Ok(())
    }
}

/// What counts as one address: all of it for IPv4, the network of one line (/64) for IPv6.
pub(super) fn address(peer: IpAddr) -> u128 {
    match peer.to_canonical() {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        // No IPv4 address is as large as any of these.
        IpAddr::V6(ip) => (ip.to_bits() >> 64) | (1 << 64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(1_800_000_000_000 + ms)
    }

    #[test]
    fn after_the_burst_only_the_rate_passes_and_rest_brings_the_burst_back() {
        let rate = Rate::new(10, 5);
        let passed = |from: i64, to: i64| (from..to).filter(|ms| rate.take("a", at(*ms)).is_ok()).count();
        assert_eq!((0..20).filter(|_| rate.take("a", at(0)).is_ok()).count(), 5);
        assert_eq!(rate.take("a", at(0)), Err(1));
        assert_eq!(passed(1, 1001), 10);
        assert!(rate.take("b", at(0)).is_ok(), "somebody else is not held back");
        assert_eq!((0..20).filter(|_| rate.take("a", at(10_000)).is_ok()).count(), 5);
    }

    #[test]
    fn whoever_is_refused_is_told_when_it_passes() {
        let rate = Rate::new(1, 1);
        assert!(rate.take(7u8, at(0)).is_ok());
        let Err(seconds) = rate.take(7u8, at(300)) else { panic!("over the rate") };
        assert!(rate.take(7u8, at(300 + i64::try_from(seconds).unwrap() * 1000)).is_ok());
    }

    #[test]
    fn ten_thousand_flooders_are_each_held_back_and_hardly_an_innocent_beside_them() {
        let rate = Rate::new(1, 5);
        let mut passed = 0u64;
        for round in 0..10 {
            passed += (0u32..10_000).filter(|who| rate.take(*who, at(round)).is_ok()).count() as u64;
        }
        assert!(
            (45_000..=50_000).contains(&passed),
            "{passed} of 100,000 passed, 5 for each of 10,000 at most"
        );
        let refused = (10_000u32..20_000).filter(|who| rate.take(*who, at(10)).is_err()).count();
        println!("beside 10,000 flooders {refused} of 10,000 innocents are refused");
        assert!(refused < 100, "{refused}");
    }

    #[test]
    fn addresses_of_one_line_are_one_and_a_mapped_one_is_its_own_self() {
        let of = |text: &str| address(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_ne!(of("0.0.0.1"), of("0:0:0:1::"));
    }
}
