//! `/v1/tenants/{t}/break-glass`: an operator enters in an emergency, without anybody's consent (GW-06).
//!
//! How often one operator tries is bounded, over all gateways that share a store (decision 0028): a slip of a script is not to
//! fill the record, and somebody who guesses at references is to be slow. What cannot be read, and what a gateway could not
//! do, is no try. Each gateway counts by itself besides: that bounds where the store does not answer.
//!
//! Never here: who may, and what it gives ([`crate::lifecycle`]).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use crate::{
    lifecycle::{Command, Refusal},
    model::{SessionId, SubjectKind, SubjectRef, TenantId, Timestamp},
    state::{Bound, Counted},
};

use super::{Api, call::Call, form::Form, problem::Problem, reply::Reply};

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
struct Attempt {
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

fn too_many(after: u16) -> Problem {
    let detail = "you tried to break the glass too often within an hour";
    Problem { after: Some(after), ..Problem::new(429, "too_many_attempts", detail) }
}

impl Api {
    pub(super) async fn break_glass(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        let subject = call.subject.subject();
        if subject.acting {
            return Err(Refusal::Acting.into());
        }
        let glass = call.policy.break_glass(&subject.id).filter(|_| subject.kind == SubjectKind::Staff);
        let glass = glass.ok_or(Refusal::NotOperator)?;
        if let Some(unmet) = call.unmet_of(&glass.conditions) {
            return Err(Problem::unmet(unmet));
        }
        call.query(&[])?;
        call.without_conditions()?;
        let object = call.object()?;
        let form = Form::of(&object, &["environment", "reason", "incident", "cause", "for"])?;
        let id = call.fresh("ses", SessionId::new)?;
        let command = Command::BreakGlass {
            tenant: tenant.clone(),
            session: id.clone(),
            environment: form.environment()?,
            reason: form.text("reason")?.to_owned(),
            incident: form.text("incident")?.to_owned(),
            cause: form.text("cause")?.to_owned(),
            lasts: form.lasts()?,
        };
        // Counted before it is tried, so that many at once are bounded too.
        let attempt = self.attempt(call, glass.attempts, &id).await?;
        let entered = self.entered(call, tenant, id, command).await;
        // What this gateway could not do is nobody's attempt.
        if entered.as_ref().is_err_and(|problem| problem.status >= 500) {
            self.withdraw(call, attempt).await;
        }
        entered
    }

    /// Counts an attempt, here and with all who share the store. Where that does not answer, the own count bounds.
    async fn attempt(&self, call: &Call<'_>, most: u32, session: &SessionId) -> Result<Attempt, Problem> {
        let subject = &call.subject.subject().id;
        self.attempts.count(subject, call.now, most).map_err(too_many)?;
        let (name, id, forget) =
            (bound_name(subject), session.as_str().to_owned(), self.attempts.owed(subject));
        let bound = Bound { name: &name, span_ms: HOUR_MS, most, add: Some(&id), forget: &forget };
        let told = match self.engine.store().count(bound).await {
            Ok(Counted::Beyond { after_ms }) => {
                self.attempts.paid(subject, &forget);
                self.attempts.take_back(subject, call.now);
                return Err(too_many(seconds(after_ms)));
            }
            Ok(Counted::Within | Counted::Alone) => {
                self.attempts.paid(subject, &forget);
                true
            }
            Err(fault) => {
                tracing::warn!(%subject, code = fault.code(), "an attempt at break-glass is counted by this gateway alone: {fault}");
                false
            }
        };
        Ok(Attempt { id, told })
    }

    async fn withdraw(&self, call: &Call<'_>, attempt: Attempt) {
        let subject = &call.subject.subject().id;
        self.attempts.take_back(subject, call.now);
        let forget = [attempt.id];
        let bound =
            Bound { name: &bound_name(subject), span_ms: HOUR_MS, most: 0, add: None, forget: &forget };
        // Not asked again where it did not answer before: who is refused in an emergency is not to wait twice.
        let forgotten = attempt.told && self.engine.store().count(bound).await.is_ok();
        if !forgotten {
            let [id] = forget;
            self.attempts.owe(subject, id);
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
