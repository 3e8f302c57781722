//! A support session as the API shows it: what it is, whether it is good at this instant, what it may do, when it ends.
//!
//! Worked out by the rules at each look; nothing here is stored.

use serde::Serialize;

use crate::{
    model::{
        Basis, EndCause, EnvironmentId, Key, RequestId, RoleName, SessionId, Subject, SubjectKind,
        SubjectRef, TenantId, Timestamp, Version,
    },
    policy::{
        Deadline, Detail, Due, Facts, Lack, Policy, level::closes_at, rights::rights_now, standing::standing,
    },
};

/// One session.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SessionView {
    pub(super) id: SessionId,
    pub(super) tenant: TenantId,
    pub(super) environment: EnvironmentId,
    pub(super) person: SubjectRef,
    /// Whoever acts as somebody has none of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<RoleName>,
    pub(super) basis: Basis,
    /// As whom it acts, where as a person of the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acting_as: Option<SubjectRef>,
    /// By consent that had to be approved: the request that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<RequestId>,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<String>,
    pub(super) began: Timestamp,
    pub(super) active: bool,
    /// Of an active one: when it ends at the latest, and which clock that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends: Option<Ends>,
    /// Of one that is over: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    over: Option<Over>,
    /// Of an active one: what it may do at this instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rights: Option<Vec<String>>,
    #[serde(skip)]
    pub(super) version: Version,
}

impl SessionView {
    /// Of an active one: when it ends at the latest.
    pub(super) fn ends(&self) -> Option<Timestamp> {
        self.ends.as_ref().map(|ends| ends.at)
    }
}

#[derive(Debug, Clone, Serialize)]
struct Ends {
    at: Timestamp,
    clock: &'static str,
}

impl From<Deadline> for Ends {
    fn from(deadline: Deadline) -> Self {
        Ends { at: deadline.at, clock: deadline.due.code() }
    }
}

#[derive(Debug, Clone, Serialize)]
struct Over {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    /// Where its end is written down: what ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<EndCause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<SubjectRef>,
}

/// Who looks at a session.
#[derive(Clone, Copy)]
pub(super) enum Eye<'a> {
    /// An administrator of the tenant: sees each.
    Administrator,
    /// A staff subject: sees their own, and of any other not even that it is there.
    Agent(&'a Subject),
}

/// Looks at one session; `None` where there is none for that eye.
pub(super) fn look(
    facts: &Facts,
    tenant_id: &TenantId,
    id: &SessionId,
    eye: Eye<'_>,
    now: Timestamp,
    policy: &Policy,
) -> Result<Option<SessionView>, Lack> {
    let Some(session) = facts.session(tenant_id.as_str(), id.as_str())? else { return Ok(None) };
    let assumed;
    let subject = match eye {
        Eye::Agent(subject) if subject.id != session.subject => return Ok(None),
        Eye::Agent(subject) => subject,
        Eye::Administrator => {
            assumed = agent_of(&session.subject, policy);
            &assumed
        }
    };
    let Some(tenant) = facts.tenant(tenant_id.as_str())? else { return Ok(None) };
    let standing = standing(session, tenant_id.as_str(), tenant, subject, facts, now, policy)?;
    let rights = rights_now(session, tenant, tenant_id.as_str(), subject, facts, now, policy)?;
    let (ends, over) = match standing {
        Ok(standing) => {
            // A level that only falls to another is no end.
            let closes = match standing.falls {
                Some(_) => closes_at(tenant, facts, policy, now)?,
                None => None,
            };
            let closes = closes.map(|at| Deadline { at, due: Due::Consent });
            let end = closes.map_or(standing.deadline, |closes| closes.min(standing.deadline));
            (Some(Ends::from(end)), None)
        }
        Err((reason, detail)) => {
            let end = session.ended.as_ref();
            let at = match detail {
                Detail::At(at) => Some(at),
                Detail::None
                | Detail::Token(_)
                | Detail::LevelWouldDo(_)
                | Detail::GrantWouldDo
                | Detail::LiftedBy(_)
                | Detail::GivenBy(_)
                | Detail::StepUp(_) => None,
            };
            let over = Over {
                code: reason.code(),
                at,
                cause: end.map(|end| end.cause),
                by: end.and_then(|end| end.by.clone()),
            };
            (None, Some(over))
        }
    };
    Ok(Some(SessionView {
        id: id.clone(),
        tenant: tenant_id.clone(),
        environment: session.environment.clone(),
        person: session.subject.clone(),
        role: session.role.clone(),
        basis: session.basis.clone(),
        acting_as: session.basis.acting_as().cloned(),
        request: session.request.clone(),
        reason: session.reason.clone(),
        ticket: session.ticket.clone(),
        began: session.started,
        active: ends.is_some(),
        ends,
        over,
        rights: rights.ok(),
        version: super::version(facts, &Key::Session(tenant_id.clone(), id.clone())),
    }))
}

/// The agent of a session, as far as it can be told without their token: an administrator rather sees somebody whom
/// the configuration no longer counts as support than not somebody who is inside.
fn agent_of(id: &SubjectRef, policy: &Policy) -> Subject {
    let organisations = policy.login_access.organisations.clone();
    Subject { organisations, ..Subject::named(SubjectKind::Staff, id.clone()) }
}
