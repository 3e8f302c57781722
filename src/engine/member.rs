//! Members whose roles stand in rows; and members on routes that record (`record: true`): their intent is durable before anything goes to the application, and
//! where it cannot be written, nothing does.
//!
//! Never here: staff; theirs is [`admit`](super::admit).

use std::sync::Arc;

use serde::Serialize;

use crate::{
    audit::{body::Body, journal::Draft},
    identity::VerifiedSubject,
    model::{
        EnvironmentId, ExchangeId, PermissionName, ResourceType, RoleName, SubjectKind, SubjectRef, TenantId,
    },
    policy::{
        Ask, Caller, Deadline, Decision, Due, Facts, Need, Permit, Policy, Reason, Route, Verdict, decide,
    },
};

use super::{
    Engine,
    admit::{Admission, Answer, Glance, MOST_ROUNDS, personal},
    fault::Fault,
    knock::{Knock, Name, Particulars, Path},
    outside::Asker,
    records,
    registry::Live,
};

/// No clock of ours ends a member's exchange: this is past every one, in milliseconds.
const NEVER: i64 = 400 * 86_400_000;

/// A member's access is about to happen.
#[derive(Serialize)]
struct MemberIntent<'a> {
    exchange: &'a ExchangeId,
    tenant: Option<&'a TenantId>,
    environment: Option<EnvironmentId>,
    subject: &'a SubjectRef,
    token: String,
    roles: &'a [RoleName],
    reason: &'static str,
    method: &'a str,
    path: &'a str,
    route: &'a str,
    permissions: Vec<&'a str>,
    upstream: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    creates: Option<&'a ResourceType>,
    policy: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    narrowed: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    clock_moved: bool,
}

/// Whether a request that needs no document needs a record all the same.
pub(super) fn records_it(ask: &Ask<'_>, caller: Caller<'_>) -> bool {
    matches!((ask.route, caller), (Route::Mapped(rule), Caller::Known(_)) if rule.record && !rule.public)
}

/// Whether it is a member who asks, of whom nothing is recorded here.
pub(super) fn unrecorded(ask: &Ask<'_>, caller: Caller<'_>) -> bool {
    matches!(caller, Caller::Known(subject) if subject.kind == SubjectKind::Member)
        && !records_it(ask, caller)
}

/// Whether a permit is a member's, which rests on their row at most.
pub(super) fn is_theirs(permit: &Permit) -> bool {
    permit.staff().is_none() && permit.reason() == Reason::MemberRole
}

impl Engine {
    /// Goes on from a first look at a member whose roles stand in a row, while that is at hand.
    pub(super) fn glance_at_row(
        &self,
        ask: &Ask<'_>,
        caller: Caller<'_>,
        need: Need,
        policy: &Policy,
    ) -> Glance {
        let (mut facts, mut need) = (Facts::new(), need);
        // Their row, the tenant that it is a row of, what that says of their roles, and their rows at a few resources.
        for _ in 0..16 {
            for key in need.0 {
                if Self::is_outside(&facts, &key) {
                    let Caller::Known(subject) = caller else { return Glance::Look };
                    let asker = Asker::Person(subject.id.clone());
                    let Some(told) = self.at_hand(&facts, &key, &asker) else { return Glance::Look };
                    facts.put_looked_up(key, told.said());
                    continue;
                }
                if let Some(heard) = &self.heard {
                    heard.note(&key, &mut facts);
                }
                let Some(fact) = self.cells.hit(&key) else { return Glance::Look };
                facts.put(key, fact);
            }
            self.look_at_age(&mut facts);
            need = match decide(ask, caller, &facts, self.now(), policy) {
                Verdict::Decided(Decision::Allow(permit)) => {
                    return Glance::Admitted(Admission::open(&permit));
                }
                // Now with leave to name what is to be looked up.
                Verdict::Decided(Decision::Deny(denial))
                    if self.looks_further(&denial, &mut facts, policy) =>
                {
                    Need(Vec::new())
                }
                Verdict::Decided(Decision::Deny(denial)) => return Glance::Denied(denial),
                Verdict::Need(need) => need,
            };
        }
        Glance::Look
    }

    /// Admits a member whose row is not at hand. No record, no fuse, and nothing of the past is waited for.
    pub(super) async fn admit_member(&self, knock: &Knock, subject: &VerifiedSubject) -> Answer {
        let mut facts = Facts::new();
        let asker = Asker::Person(subject.id.clone());
        for _ in 0..MOST_ROUNDS {
            let (ask, caller) = (knock.ask(false), Caller::Known(subject.subject()));
            self.look_at_age(&mut facts);
            match decide(&ask, caller, &facts, self.now(), &knock.policy) {
                Verdict::Need(need) => {
                    let need = self.look_up_of(need, &mut facts, &asker).await;
                    self.fetch(need, &mut facts, None).await;
                }
                Verdict::Decided(Decision::Allow(permit)) => {
                    return Answer::Admitted(Admission::open(&permit));
                }
                Verdict::Decided(Decision::Deny(denial)) => {
                    if !self.looks_further(&denial, &mut facts, &knock.policy) {
                        return Answer::Denied(denial);
                    }
                }
            }
        }
        Answer::Faulted(Fault::Undecided)
    }

    /// When a member's recorded exchange ends by our clocks: not.
    pub(super) fn member_deadline(&self) -> Deadline {
        Deadline { at: self.now().plus_ms(NEVER), due: Due::Exchange }
    }

    /// The record of a member's intent.
    pub(super) fn member_intent(
        &self,
        live: &Live,
        permit: &Permit,
        knock: &Knock,
        subject: &Arc<VerifiedSubject>,
        about: &Particulars,
    ) -> Option<Draft> {
        let Path::Rule(number) = knock.path else { return None };
        let rule = knock.policy.rules.get(number)?;
        let environment = match &knock.environment {
            Name::As(text) => EnvironmentId::new(text).ok(),
            Name::Missing | Name::Unclear => None,
        };
        let names = rule.permissions.iter().filter_map(|id| knock.policy.catalogue.name(*id));
        let event = MemberIntent {
            exchange: &live.exchange,
            tenant: subject.tenant.as_ref(),
            environment,
            subject: &subject.id,
            token: subject.fingerprint().to_string(),
            roles: permit.roles().unwrap_or(&subject.roles),
            reason: permit.reason().code(),
            method: &about.method,
            path: &about.path,
            route: &rule.name,
            permissions: names.map(PermissionName::as_str).collect(),
            upstream: &about.upstream,
            creates: Engine::creates(Some(rule)),
            policy: &knock.policy.fingerprint,
            narrowed: records::narrowed(permit, Some(rule)),
            clock_moved: self.moved(),
        };
        Some(Draft {
            opens: Some(live.exchange.to_string()),
            personal: personal(subject, &about.client),
            ..Draft::new(records::ACCESS_INTENT, self.now().ms(), Body::of(&event).ok()?)
        })
    }
}
