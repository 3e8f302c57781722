//! How often one operator may try to break the glass (decision 0028): over all gateways that share a store, and on this one besides,
//! which bounds where the store does not answer. Entries through it and by emergency tokens count together.
//!
//! Never here: what counts as an attempt; whoever tries says so.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use crate::{
    model::{SessionId, SubjectRef, Timestamp},
    state::{Bound, Counted},
};

use super::Engine;

/// The span in which attempts are counted, in milliseconds.
const HOUR_MS: i64 = 3_600_000;

/// How many attempts of one operator the store is still to be told that they are none.
const OWED: usize = 64;

/// When each operator tried on this gateway. There are as many entries as the configuration named operators, and no more.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<BTreeMap<SubjectRef, Tries>>);

#[derive(Debug, Default)]
struct Tries {
    at: VecDeque<Timestamp>,
    /// What came to nothing, and may count in the store all the same.
    owed: VecDeque<String>,
}

/// An attempt that counts.
#[derive(Debug)]
pub struct Attempt {
    subject: SubjectRef,
    at: Timestamp,
    /// What it is called in the store.
    id: String,
    /// Whether the store answered.
    told: bool,
}

impl Attempts {
    fn of<T>(&self, subject: &SubjectRef, then: impl FnOnce(&mut Tries) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        then(all.entry(subject.clone()).or_default())
    }

    /// Counts one; where there were too many, in how many seconds there is room again.
    fn count(&self, subject: &SubjectRef, now: Timestamp, most: u32) -> Result<(), u16> {
        self.of(subject, |tries| {
            let tries = &mut tries.at;
            while tries.front().is_some_and(|first| now.ms_since(*first) >= HOUR_MS) {
                tries.pop_front();
            }
            match tries.front() {
                Some(first) if tries.len() >= usize::try_from(most).unwrap_or(usize::MAX) => {
                    Err(seconds(HOUR_MS - now.ms_since(*first)))
                }
                Some(_) | None => {
                    tries.push_back(now);
                    Ok(())
                }
            }
        })
    }

    /// Takes one back that came to nothing by no fault of whoever tried.
    fn take_back(&self, subject: &SubjectRef, at: Timestamp) {
        self.of(subject, |tries| {
            if let Some(found) = tries.at.iter().rposition(|tried| *tried == at) {
                tries.at.remove(found);
            }
        });
    }

    /// The store is told later that this one is none.
    fn owe(&self, subject: &SubjectRef, id: String) {
        self.of(subject, |tries| {
            if tries.owed.len() >= OWED {
                tries.owed.pop_front();
            }
            tries.owed.push_back(id);
        });
    }

    fn owed(&self, subject: &SubjectRef) -> Vec<String> {
        self.of(subject, |tries| tries.owed.iter().cloned().collect())
    }

    fn paid(&self, subject: &SubjectRef, ids: &[String]) {
        self.of(subject, |tries| tries.owed.retain(|owed| !ids.contains(owed)));
    }
}

/// Whole seconds after which there is room again.
fn seconds(ms: i64) -> u16 {
    u16::try_from(ms.max(0) / 1000 + 1).unwrap_or(u16::MAX)
}

impl Engine {
    /// Counts an attempt of an operator, here and with all who share the store. Where that does not answer, the own count bounds.
    ///
    /// # Errors
    /// Where there were too many within an hour: in how many seconds there is room again.
    pub async fn count_attempt(
        &self,
        subject: &SubjectRef,
        at: Timestamp,
        most: u32,
        session: &SessionId,
    ) -> Result<Attempt, u16> {
        let attempts = &self.attempts;
        attempts.count(subject, at, most)?;
        let (name, id, forget) = (bound_name(subject), session.as_str().to_owned(), attempts.owed(subject));
        let bound = Bound { name: &name, span_ms: HOUR_MS, most, add: Some(&id), forget: &forget };
        let told = match self.store.count(bound).await {
            Ok(Counted::Beyond { after_ms }) => {
                attempts.paid(subject, &forget);
                attempts.take_back(subject, at);
                return Err(seconds(after_ms));
            }
            Ok(Counted::Within | Counted::Alone) => {
                attempts.paid(subject, &forget);
                true
            }
            Err(fault) => {
                tracing::warn!(%subject, code = fault.code(), "an attempt at break-glass is counted by this gateway alone: {fault}");
                false
            }
        };
        Ok(Attempt { subject: subject.clone(), at, id, told })
    }

    /// Takes an attempt back that came to nothing by no fault of whoever tried.
    pub async fn withdraw_attempt(&self, attempt: Attempt) {
        let Attempt { subject, at, id, told } = attempt;
        self.attempts.take_back(&subject, at);
        let (name, forget) = (bound_name(&subject), [id]);
        let bound = Bound { name: &name, span_ms: HOUR_MS, most: 0, add: None, forget: &forget };
        // Not asked again where it did not answer before: who is refused in an emergency is not to wait twice.
        let forgotten = told && self.store.count(bound).await.is_ok();
        if !forgotten {
            let [id] = forget;
            self.attempts.owe(&subject, id);
        }
    }
}

/// Under which name the attempts of an operator are counted.
fn bound_name(subject: &SubjectRef) -> String {
    format!("glass:{}:{}", subject.issuer, subject.sub)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IssuerName;

    #[test]
    fn attempts_are_counted_by_person_within_an_hour() {
        let attempts = Attempts::default();
        let person = |sub: &str| SubjectRef { issuer: IssuerName::new("vendor").unwrap(), sub: sub.into() };
        let at = Timestamp::from_ms;
        assert_eq!(attempts.count(&person("olga"), at(1_000), 2), Ok(()));
        assert_eq!(attempts.count(&person("olga"), at(2_000), 2), Ok(()));
        assert_eq!(attempts.count(&person("olga"), at(3_000), 2), Err(3_599));
        assert_eq!(attempts.count(&person("otto"), at(3_000), 2), Ok(()));
        assert_eq!(attempts.count(&person("olga"), at(1_000 + HOUR_MS), 2), Ok(()));
        assert_eq!(attempts.count(&person("olga"), at(1_500 + HOUR_MS), 2), Err(1));
        attempts.take_back(&person("olga"), at(1_000 + HOUR_MS));
        attempts.take_back(&person("nobody"), at(1_000 + HOUR_MS));
        assert_eq!(attempts.count(&person("olga"), at(1_600 + HOUR_MS), 2), Ok(()));
        assert_eq!(attempts.count(&person("olga"), at(1_700 + HOUR_MS), 2), Err(1));
    }

    #[test]
    fn what_is_owed_to_the_store_is_kept_until_it_is_told_and_has_a_bound() {
        let attempts = Attempts::default();
        let olga = SubjectRef { issuer: IssuerName::new("vendor").unwrap(), sub: "olga".into() };
        for number in 0..OWED + 2 {
            attempts.owe(&olga, number.to_string());
        }
        let owed = attempts.owed(&olga);
        assert_eq!((owed.len(), owed[0].as_str()), (OWED, "2"));
        attempts.owe(&olga, "new".to_owned());
        attempts.paid(&olga, &owed);
        assert_eq!(attempts.owed(&olga), ["new"]);
    }
}
