//! How old what a gateway knows was at some moment, so that its next life knows it too (rule 19).
//!
//! Instants of a life mean nothing to the next one: what is kept is an age, and the moment at which it was that. What has passed since is
//! told by the clock that nobody sets, where the machine still runs, and by the wall clock: the longer of both. A wall clock that was set
//! back so far that it is behind the moment tells nothing, so then nothing is known: it makes nothing younger.
//!
//! Never here: reading a clock, how old is too old.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{model::Timestamp, state::Part};

/// A moment by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// By the wall clock.
    pub at: Timestamp,
    /// By the clock that nobody sets, in milliseconds.
    pub boot_ms: i64,
    /// Since which start of the machine that one counts, where that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub boot: Option<Uuid>,
}

impl Moment {
    /// How many milliseconds have passed since an earlier one, at least; `None` where nothing tells.
    fn ms_since(self, earlier: Moment) -> Option<i64> {
        let wall = Some(self.at.ms_since(earlier.at));
        let same = self.boot.is_some() && self.boot == earlier.boot;
        let counted = same.then(|| self.boot_ms.saturating_sub(earlier.boot_ms));
        wall.max(counted).filter(|ms| *ms >= 0)
    }
}

/// How old what is known of each part was at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dated {
    /// The moment.
    pub at: Moment,
    /// How old each part was then, in milliseconds; those of which nothing was known are missing.
    pub ages: BTreeMap<Part, i64>,
}

impl Dated {
    /// As of when each part is known, by the clock that nobody sets as it stands at a later moment; nothing where the clocks do not tell.
    pub fn as_of(&self, now: Moment) -> impl Iterator<Item = (Part, i64)> {
        let passed = now.ms_since(self.at);
        let (ages, boot_ms) = (self.ages.iter(), now.boot_ms);
        ages.filter_map(move |(part, age)| Some((*part, boot_ms.saturating_sub(age.saturating_add(passed?)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Uuid = Uuid::from_u128(1);
    const P: Part = Part(7);

    fn moment(at: i64, boot_ms: i64, boot: Option<Uuid>) -> Moment {
        Moment { at: Timestamp::from_ms(at), boot_ms, boot }
    }

    /// How old what was 40 ms old at 1,000,000 (500 ms after the machine's start) is at another moment.
    fn age(now: Moment) -> Option<i64> {
        let dated = Dated { at: moment(1_000_000, 500, Some(HERE)), ages: [(P, 40)].into() };
        let text = serde_json::to_vec(&dated).unwrap();
        let dated: Dated = serde_json::from_slice(&text).unwrap();
        dated.as_of(now).find(|(part, _)| *part == P).map(|(_, as_of)| now.boot_ms - as_of)
    }

    #[test]
    fn what_passed_between_two_lives_counts_by_the_clock_that_says_more() {
        assert_eq!(age(moment(1_000_000, 500, Some(HERE))), Some(40));
        assert_eq!(age(moment(1_007_000, 7_500, Some(HERE))), Some(7_040));
        assert_eq!(age(moment(1_009_000, 7_500, Some(HERE))), Some(9_040), "the wall clock was set forward");
        assert_eq!(age(moment(1_002_000, 7_500, Some(HERE))), Some(7_040), "it was set back");
        assert_eq!(age(moment(1_000, 7_500, Some(HERE))), Some(7_040), "far back");
    }

    #[test]
    fn on_a_machine_that_was_started_anew_the_wall_clock_tells_or_nobody_does() {
        for other in [Some(Uuid::from_u128(2)), None] {
            assert_eq!(age(moment(1_007_000, 90_000, other)), Some(7_040));
            assert_eq!(age(moment(1_000_000, 3, other)), Some(40));
            assert_eq!(age(moment(999_999, 90_000, other)), None, "set back behind what was written");
        }
        assert_eq!(age(moment(999_999, 400, Some(HERE))), None, "neither clock goes on from there");
    }
}
