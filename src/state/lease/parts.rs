//! A set of parts of a store.
//!
//! Never here: what is known of them.

use super::super::Part;

/// No store has more parts.
pub const PARTS_MOST: u16 = 64;

/// A set of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Parts(u64);

impl Parts {
    /// No part.
    pub const NONE: Parts = Parts(0);

    /// One part. A number that no store has stands for all, so that whoever asks for it is refused rather than served.
    pub fn of(part: Part) -> Self {
        Parts(1u64.checked_shl(u32::from(part.0)).unwrap_or(u64::MAX))
    }

    /// The first so many parts.
    pub fn first(count: u16) -> Self {
        Parts(1u64.checked_shl(u32::from(count)).map_or(u64::MAX, |bit| bit - 1))
    }

    /// These and one more.
    #[must_use]
    pub fn with(self, part: Part) -> Self {
        self.and(Parts::of(part))
    }

    /// Those whose bits are set, the first part's being the lowest.
    pub fn from_bits(bits: u64) -> Self {
        Parts(bits)
    }

    /// As bits.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// All of both.
    #[must_use]
    pub fn and(self, other: Parts) -> Self {
        Parts(self.0 | other.0)
    }

    /// These but for one.
    #[must_use]
    pub fn without(self, part: Part) -> Self {
        Parts(self.0 & !Parts::of(part).0)
    }

    /// Whether it is one of them.
    pub fn contains(self, part: Part) -> bool {
        part.0 < PARTS_MOST && self.0 & Parts::of(part).0 != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many they are.
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Each of them, in order, in as many steps as there are: every decision takes them.
    pub fn each(self) -> impl Iterator<Item = Part> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let next = u16::try_from(rest.trailing_zeros()).ok().filter(|next| *next < PARTS_MOST)?;
            rest &= rest.wrapping_sub(1);
            Some(Part(next))
        })
    }
}

impl FromIterator<Part> for Parts {
    fn from_iter<I: IntoIterator<Item = Part>>(parts: I) -> Self {
        parts.into_iter().fold(Parts::NONE, Parts::with)
    }
}
