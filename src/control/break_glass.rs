//! `/v1/tenants/{t}/break-glass`: an operator enters in an emergency, without anybody's consent (GW-06).
//!
//! How often one operator tries is bounded here, on each gateway: a slip of a script is not to fill the record, and
//! somebody who guesses at references is to be slow. What cannot be read, and what this gateway could not do, is no try. Never here: who may, and what it gives ([`crate::lifecycle`]).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use crate::{
    lifecycle::{Command, Refusal},
    model::{SessionId, SubjectKind, SubjectRef, TenantId, Timestamp},
};

use super::{Api, call::Call, form::Form, problem::Problem, reply::Reply};

/// The span in which attempts are counted, in milliseconds.
const HOUR_MS: i64 = 3_600_000;

/// When each operator tried. There are as many entries as the configuration named operators, and no more.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<BTreeMap<SubjectRef, VecDeque<Timestamp>>>);

impl Attempts {
    /// Counts one; where there were too many, in how many seconds there is room again.
    fn count(&self, subject: &SubjectRef, now: Timestamp, most: u32) -> Result<(), u16> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tries = all.entry(subject.clone()).or_default();
        while tries.front().is_some_and(|first| now.ms_since(*first) >= HOUR_MS) {
            tries.pop_front();
        }
        match tries.front() {
            Some(first) if tries.len() >= usize::try_from(most).unwrap_or(usize::MAX) => {
                let seconds = (HOUR_MS - now.ms_since(*first)).max(0) / 1000 + 1;
                Err(u16::try_from(seconds).unwrap_or(u16::MAX))
            }
            Some(_) | None => {
                tries.push_back(now);
                Ok(())
            }
        }
    }

    /// Takes one back that came to nothing by no fault of whoever tried.
    fn take_back(&self, subject: &SubjectRef, at: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tries) = all.get_mut(subject)
            && let Some(found) = tries.iter().rposition(|tried| *tried == at)
        {
            tries.remove(found);
        }
    }
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
        if let Err(after) = self.attempts.count(&subject.id, call.now, glass.attempts) {
            let detail = "you tried to break the glass too often within an hour";
            return Err(Problem { after: Some(after), ..Problem::new(429, "too_many_attempts", detail) });
        }
        let entered = self.entered(call, tenant, id, command).await;
        // What this gateway could not do is nobody's attempt.
        if entered.as_ref().is_err_and(|problem| problem.status >= 500) {
            self.attempts.take_back(&subject.id, call.now);
        }
        entered
    }
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
}
