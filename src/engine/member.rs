//! Members on routes that record (`record: true`): their intent is durable before anything goes to the application, and
//! where it cannot be written, nothing does.
//!
//! Never here: staff; theirs is [`admit`](super::admit).

use std::sync::Arc;

use serde::Serialize;

use crate::{
    audit::{body::Body, journal::Draft},
    identity::VerifiedSubject,
    model::{EnvironmentId, ExchangeId, PermissionName, RoleName, SubjectRef, TenantId},
    policy::{Ask, Caller, Deadline, Due, Permit, Reason, Route},
};

use super::{
    Engine,
    admit::personal,
    knock::{Knock, Name, Particulars, Path},
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
    policy: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    clock_moved: bool,
}

/// Whether a request that needs no document needs a record all the same.
pub(super) fn records_it(ask: &Ask<'_>, caller: Caller<'_>) -> bool {
    matches!((ask.route, caller), (Route::Mapped(rule), Caller::Known(_)) if rule.record && !rule.public)
}

/// Whether a permit is a member's, which rests on no document.
pub(super) fn is_theirs(permit: &Permit) -> bool {
    permit.staff().is_none() && permit.reason() == Reason::MemberRole
}

impl Engine {
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
            roles: &subject.roles,
            reason: permit.reason().code(),
            method: &about.method,
            path: &about.path,
            route: &rule.name,
            permissions: names.map(PermissionName::as_str).collect(),
            upstream: &about.upstream,
            policy: &knock.policy.fingerprint,
            clock_moved: self.moved(),
        };
        Some(Draft {
            opens: Some(live.exchange.to_string()),
            personal: personal(subject, &about.client),
            ..Draft::new(records::ACCESS_INTENT, self.now().ms(), Body::of(&event).ok()?)
        })
    }
}
