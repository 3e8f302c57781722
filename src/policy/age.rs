//! How old what a decision rests on may be (rule 9): one bound for each class of requests, and what facts say of their age.
//!
//! Facts say nothing of it where nobody but this gateway changes the store: what is known is what is then.
//!
//! Never here: as of when anything is known ([`crate::state`]), a clock.

use crate::model::Basis;

use super::{Effect, Facts, Reason, Rule};

/// How old what is known is. Ordered: the later, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Age {
    /// Not old at all: it is what is, or the store said so when it was asked for this decision.
    #[default]
    Now,
    /// As old as this, in milliseconds. Not the same as [`Age::Now`] at 0: the store was not asked.
    Known(i64),
    /// Nobody has confirmed it in this life of the gateway.
    Never,
    /// Where it lies, something was lost (law 8).
    Suspect,
}

/// How old what is known may be, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Staleness {
    /// For staff who write; 0 asks the store.
    pub writes_ms: i64,
    /// For staff who read; 0 asks the store.
    pub reads_ms: i64,
    /// For whoever broke the glass; 0 asks the store.
    pub break_glass_ms: i64,
    /// Members' stored facts (rule 19).
    pub members_ms: i64,
}

impl Default for Staleness {
    fn default() -> Self {
        Self { writes_ms: 1_000, reads_ms: 5_000, break_glass_ms: 0, members_ms: 24 * 3_600_000 }
    }
}

/// Who asks, as far as the bound depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Staff who write or read.
    Staff(Effect),
    /// Whoever broke the glass.
    BreakGlass,
    /// A tenant's own people.
    Member,
}

impl Class {
    /// Of a request of staff, on this basis as far as one is known.
    pub fn of(basis: Option<&Basis>, rule: &Rule, does: Effect) -> Class {
        match basis {
            Some(Basis::BreakGlass(_)) => Class::BreakGlass,
            Some(Basis::Consent(_) | Basis::Grant(_) | Basis::ActAs(_)) | None => {
                Class::Staff(rule.effect.unwrap_or(does))
            }
        }
    }
}

impl Staleness {
    /// How old facts may be for a decision, in milliseconds.
    pub fn bound(&self, class: Class) -> i64 {
        match class {
            Class::Staff(Effect::Write) => self.writes_ms,
            Class::Staff(Effect::Read) => self.reads_ms,
            Class::BreakGlass => self.break_glass_ms,
            Class::Member => self.members_ms,
        }
    }

    /// How old they may become while an exchange runs. Nobody asks the store before each byte: what was admitted by asking runs
    /// under the strictest bound of staff that is not 0, or a second where there is none.
    pub fn running(&self, class: Class) -> i64 {
        match self.bound(class) {
            0 => {
                let staff = [self.writes_ms, self.reads_ms, self.break_glass_ms];
                staff.into_iter().filter(|ms| *ms > 0).min().unwrap_or(1_000)
            }
            bound => bound,
        }
    }

    /// The smallest bound of whatever runs.
    pub fn strictest(&self) -> i64 {
        let staff = [Class::BreakGlass, Class::Staff(Effect::Write), Class::Staff(Effect::Read)];
        staff.into_iter().map(|class| self.running(class)).min().unwrap_or(1_000)
    }

    /// Why facts are no ground for a decision about this class, by how old they are, if so.
    pub fn too_old(&self, facts: &Facts, class: Class) -> Option<Reason> {
        let known_for = match (facts.age(), class) {
            (Age::Now, _) => return None,
            (Age::Suspect, Class::Staff(_) | Class::BreakGlass) => return Some(Reason::StateSuspect),
            (Age::Never, Class::Staff(_) | Class::BreakGlass) => return Some(Reason::StateStale),
            (Age::Known(ms), _) => ms,
            // What was known before a loss, or before a start, goes on counting for them as of when it was: nothing is learned from
            // what lost something, or from a store that is not there.
            (Age::Never | Age::Suspect, Class::Member) => facts.known_for_ms(),
        };
        let bound = self.bound(class);
        (bound == 0 || known_for > bound).then_some(Reason::StateStale)
    }

    /// Whether a refusal is one that only the asking of the store is lacking to.
    pub fn asks_store(&self, reason: Reason, age: Age) -> bool {
        // Where every bound that is not 0 holds, it is a bound of 0 that refused.
        reason == Reason::StateStale && matches!(age, Age::Known(ms) if ms <= self.strictest())
    }
}

/// What facts know of their age.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    /// The parts of the store that they lie in, one bit each.
    parts: u64,
    /// As of when the oldest of them is known, by the boot clock; of what was asked for, when that was.
    as_of: i64,
    /// The worst that was said of any.
    worst: Age,
    /// How old they were when somebody looked last.
    age: Age,
    /// The same in milliseconds, also of what was asked for, and of what is in doubt as of when it was not.
    age_ms: i64,
}

impl Facts {
    /// What is read next lies in these parts of the store, and is known as of this instant of the boot clock. Said before it is
    /// read: what changes meanwhile is younger.
    pub fn lies_in(&mut self, parts: u64, as_of: i64) {
        self.read_from(parts, as_of, Age::Known(0));
    }

    /// The same of what the store is asked for, by a majority.
    pub fn asked_of(&mut self, parts: u64, sent: i64) {
        self.read_from(parts, sent, Age::Now);
    }

    /// What is read next lies in parts of which nothing is confirmed, or which lost something; as of when it was known last, where
    /// that is known.
    pub fn lies_in_doubt(&mut self, parts: u64, doubt: Age, as_of: Option<i64>) {
        self.read_from(parts, as_of.unwrap_or(i64::MIN), doubt);
    }

    fn read_from(&mut self, parts: u64, as_of: i64, worst: Age) {
        let new = Read { parts, as_of, worst, age: worst, age_ms: 0 };
        match &mut self.read {
            Some(read) => {
                read.parts |= parts;
                read.as_of = read.as_of.min(as_of);
                read.worst = read.worst.max(worst);
            }
            None => self.read = Some(new),
        }
    }

    /// Looks how old they are by now.
    pub fn look_at_age(&mut self, boot_ms: i64) {
        if let Some(read) = &mut self.read {
            read.age_ms = boot_ms.saturating_sub(read.as_of).max(0);
            read.age = match read.worst {
                Age::Known(_) => Age::Known(read.age_ms),
                Age::Now | Age::Never | Age::Suspect => read.worst,
            };
        }
    }

    /// How old they were at the last look.
    pub fn age(&self) -> Age {
        self.read.as_ref().map_or(Age::Now, |read| read.age)
    }

    /// The same in milliseconds, for the record; `None` where what is known is what is.
    pub fn age_ms(&self) -> Option<i64> {
        let known = |read: &&Read| matches!(read.age, Age::Now | Age::Known(_));
        self.read.as_ref().filter(known).map(|read| read.age_ms).filter(|ms| *ms > 0)
    }

    /// For how long they were known at the last look, in milliseconds, whether that is in doubt or not.
    fn known_for_ms(&self) -> i64 {
        self.read.as_ref().map_or(0, |read| read.age_ms)
    }

    /// The parts of the store that they lie in, one bit each.
    pub fn parts(&self) -> u64 {
        self.read.as_ref().map_or(0, |read| read.parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: Class = Class::Staff(Effect::Write);
    const READ: Class = Class::Staff(Effect::Read);

    const DAY: i64 = 86_400_000;

    /// Facts of this age, as they are looked at.
    fn aged(age: Age, known_for: Option<i64>) -> Facts {
        let mut facts = Facts::new();
        match age {
            Age::Now => facts.asked_of(1, 0),
            Age::Known(ms) => facts.lies_in(1, -ms),
            Age::Never | Age::Suspect => facts.lies_in_doubt(1, age, known_for.map(i64::wrapping_neg)),
        }
        facts.look_at_age(0);
        facts
    }

    #[test]
    fn a_bound_holds_to_its_last_millisecond_and_zero_never_does() {
        let rules = Staleness::default();
        let too_old = |age, class| rules.too_old(&aged(age, None), class);
        assert_eq!(too_old(Age::Known(1_000), WRITE), None);
        assert_eq!(too_old(Age::Known(1_001), WRITE), Some(Reason::StateStale));
        assert_eq!(too_old(Age::Known(5_000), READ), None);
        assert_eq!(too_old(Age::Known(5_001), READ), Some(Reason::StateStale));
        assert_eq!(too_old(Age::Known(0), Class::BreakGlass), Some(Reason::StateStale));
        assert_eq!(too_old(Age::Now, Class::BreakGlass), None);
        assert_eq!(too_old(Age::Known(DAY), Class::Member), None);
        assert_eq!(too_old(Age::Known(DAY + 1), Class::Member), Some(Reason::StateStale));
    }

    #[test]
    fn what_is_in_doubt_counts_for_members_alone_and_as_of_when_it_was_known() {
        let rules = Staleness::default();
        for (doubt, staff) in [(Age::Never, Reason::StateStale), (Age::Suspect, Reason::StateSuspect)] {
            for (known_for, members) in [
                (Some(0), None),
                (Some(DAY), None),
                (Some(DAY + 1), Some(Reason::StateStale)),
                (None, Some(Reason::StateStale)),
            ] {
                let facts = aged(doubt, known_for);
                assert_eq!(rules.too_old(&facts, Class::Member), members, "{doubt:?} {known_for:?}");
                for class in [WRITE, READ, Class::BreakGlass] {
                    assert_eq!(rules.too_old(&facts, class), Some(staff), "{class:?} {known_for:?}");
                }
            }
        }
        // The oldest of all counts, whatever else was read.
        let mut facts = aged(Age::Never, Some(DAY + 1));
        facts.lies_in(2, 0);
        facts.lies_in_doubt(4, Age::Suspect, Some(0));
        facts.look_at_age(0);
        assert_eq!(rules.too_old(&facts, Class::Member), Some(Reason::StateStale));
    }

    #[test]
    fn what_was_admitted_by_asking_runs_under_the_strictest_other_bound() {
        let rules = Staleness::default();
        assert_eq!((rules.running(Class::BreakGlass), rules.running(READ)), (1_000, 5_000));
        let all_ask = Staleness { writes_ms: 0, reads_ms: 0, ..rules };
        assert_eq!((all_ask.running(WRITE), all_ask.strictest()), (1_000, 1_000));
        let reads = Staleness { writes_ms: 0, reads_ms: 300, ..rules };
        assert_eq!((reads.running(WRITE), reads.strictest()), (300, 300));
    }

    #[test]
    fn the_store_is_asked_only_where_that_is_what_lacks() {
        let rules = Staleness::default();
        assert!(rules.asks_store(Reason::StateStale, Age::Known(200)));
        assert!(!rules.asks_store(Reason::StateStale, Age::Known(1_001)), "it would be cut at once");
        assert!(!rules.asks_store(Reason::StateStale, Age::Now));
        assert!(!rules.asks_store(Reason::StateStale, Age::Never));
        assert!(!rules.asks_store(Reason::StateSuspect, Age::Suspect));
        assert!(!rules.asks_store(Reason::SessionMissing, Age::Known(200)));
    }

    #[test]
    fn facts_are_as_old_as_the_oldest_part_that_they_lie_in() {
        let mut facts = Facts::new();
        facts.look_at_age(9_000);
        assert_eq!((facts.age(), facts.age_ms(), facts.parts()), (Age::Now, None, 0));
        facts.lies_in(0b01, 1_000);
        facts.lies_in(0b10, 700);
        facts.lies_in(0b01, 1_200);
        facts.look_at_age(1_500);
        assert_eq!((facts.age(), facts.age_ms(), facts.parts()), (Age::Known(800), Some(800), 0b11));
        facts.lies_in_doubt(0b100, Age::Never, None);
        facts.look_at_age(1_500);
        assert_eq!((facts.age(), facts.age_ms()), (Age::Never, None));
        facts.lies_in_doubt(0b1000, Age::Suspect, Some(1_000));
        facts.lies_in(0b1000, 1_500);
        facts.look_at_age(1_500);
        assert_eq!((facts.age(), facts.parts()), (Age::Suspect, 0b1111));
    }

    #[test]
    fn what_was_asked_for_is_not_old_and_says_when_it_was_asked() {
        let mut facts = Facts::new();
        facts.asked_of(1, 1_000);
        facts.look_at_age(1_003);
        assert_eq!((facts.age(), facts.age_ms()), (Age::Now, Some(3)));
        facts.lies_in(2, 990);
        facts.look_at_age(1_003);
        assert_eq!((facts.age(), facts.age_ms()), (Age::Known(13), Some(13)), "one that was not asked for");
    }
}
