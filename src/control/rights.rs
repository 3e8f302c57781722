//! What callers can find out about themselves: who the gateway takes them for, and what they may do at this instant.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    lifecycle::Refusal,
    model::{EnvironmentId, PermissionName, RoleName, SubjectKind, SubjectRef, TenantId, Timestamp},
    policy::{SUPPORT_READ, SUPPORT_TYPE},
};

use super::{Api, call::Call, problem::Problem, reply::Reply, session_view::SessionView};

#[derive(Serialize)]
struct Me<'a> {
    kind: SubjectKind,
    #[serde(flatten)]
    id: &'a SubjectRef,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    support: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a TenantId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'a EnvironmentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<&'a [RoleName]>,
    acting: bool,
    token_expires: Timestamp,
}

/// What a member may do.
#[derive(Serialize)]
struct MemberRights<'a> {
    tenant: &'a TenantId,
    environment: &'a EnvironmentId,
    kind: SubjectKind,
    roles: &'a [RoleName],
    rights: Vec<&'a PermissionName>,
}

/// What an agent may do. The rights of several sessions never add up (rule 3): each request is made in one.
#[derive(Serialize)]
struct StaffRights<'a> {
    tenant: &'a TenantId,
    environment: &'a EnvironmentId,
    kind: SubjectKind,
    sessions: Vec<SessionView>,
}

impl Api {
    pub(super) fn me(&self, call: &Call<'_>) -> Result<Reply, Problem> {
        call.query(&[])?;
        let subject = call.subject.subject();
        let staff = call.is_staff();
        Ok(Reply::ok(&Me {
            kind: subject.kind,
            id: &subject.id,
            email: subject.email.as_ref(),
            support: staff.then_some(subject.support),
            tenant: subject.tenant.as_ref(),
            environment: subject.environment.as_ref(),
            roles: (!staff).then_some(call.roles()),
            acting: subject.acting,
            token_expires: subject.expires,
        }))
    }

    pub(super) async fn rights(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        let subject = call.subject.subject();
        if subject.kind == SubjectKind::Member && subject.tenant.as_ref() != Some(tenant) {
            return Err(Problem::new(403, "tenant_foreign", "there is nothing for you in this tenant"));
        }
        let query = call.query(&["environment"])?;
        let environment = query.must("environment", |text| EnvironmentId::new(text).ok())?;
        let own = subject.environment.as_ref();
        if !call.policy.environments.contains(&environment) || own.is_some_and(|own| *own != environment) {
            let detail = "there is no such environment for you";
            return Err(Problem::new(422, "environment_unknown", detail));
        }
        let kind = subject.kind;
        match kind {
            SubjectKind::Member => {
                // Nobody administers support access while acting as somebody else (law 5).
                let closed = |name: &PermissionName| subject.acting && name.resource_type() == SUPPORT_TYPE;
                let rights = call.policy.catalogue.iter();
                let rights = rights
                    .filter(|(id, name)| call.can(*id) && !closed(name))
                    .map(|(_, name)| name)
                    .collect();
                Ok(Reply::ok(&MemberRights {
                    tenant,
                    environment: &environment,
                    kind,
                    roles: call.roles(),
                    rights,
                }))
            }
            SubjectKind::Service => Err(Refusal::NotAllowed { needed: SUPPORT_READ }.into()),
            SubjectKind::Staff => {
                let mut sessions = self.own_active(call, tenant).await?;
                sessions.retain(|session| session.environment == environment);
                Ok(Reply::ok(&StaffRights { tenant, environment: &environment, kind, sessions }))
            }
        }
    }
}
