//! Whether a session is good right now, worked out from session, tenant, grant and chain of parents.
//!
//! Never here: what a good session may do (see [`mod@super::decide`]).

use crate::model::{
    Acting, Basis, EndCause, Grant, Grantee, Rank, Session, Subject, SubjectRef, Tenant, Timestamp,
};

use super::{
    Deadline, Detail, Due, Facts, Here, Lack, OnLower, OnRemove, Policy, Reason,
    emergency::halted,
    level::{InForce, in_force},
    login::carries,
    rows::{Bound, giver},
};

/// A session that is good at this instant.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// When it ends at the latest, and what ends it.
    pub deadline: Deadline,
    /// By consent with `on_lower: immediate`: the level that bounds it now.
    pub bound: Option<Rank>,
    /// And when that level may fall by the passing of time alone.
    pub falls: Option<Timestamp>,
    /// The grant behind it.
    pub grant: Option<&'a Grant>,
    /// By a grant: what whoever gave it can do, which bounds it now (rule 5); and which is all that acting as them gives.
    pub giver: Option<Bound<'a>>,
}

impl<'a> Standing<'a> {
    /// Until when a decision holds: to the session's end, or to the fall of its level or the end of what is remembered of
    /// the grant's giver, when it is decided again.
    pub fn again(&self) -> Deadline {
        let falls = self.falls.map(|at| Deadline { at, due: Due::Consent });
        let forgotten = self.giver.and_then(Bound::until).map(|at| Deadline { at, due: Due::Grantor });
        [falls, forgotten].into_iter().flatten().fold(self.deadline, Deadline::min)
    }

    /// By a grant: what its giver can do, and who they are. Of a session that acts as somebody that is whom it acts as.
    pub(super) fn giver(&self) -> Option<(Bound<'a>, &'a SubjectRef)> {
        Some((self.giver?, &self.grant?.grantor))
    }
}

/// A session that is not.
pub type Fallen = (Reason, Detail);

/// Looks at a session from every side: its own end and deadline, then the kill switches, then its basis.
pub fn standing<'a>(
    session: &'a Session,
    tenant_id: &str,
    tenant: &Tenant,
    subject: &Subject,
    facts: &'a Facts,
    now: Timestamp,
    policy: &Policy,
) -> Result<Result<Standing<'a>, Fallen>, Lack> {
    let own_switch = policy.tenant_ends(&session.basis);
    if let Some(end) = &session.ended {
        // While the switch is set, whoever asks is told who can lift it.
        if end.cause == EndCause::Stopped
            && let Some(side) = halted(&session.subject, tenant_id, tenant, own_switch, facts)?.now
        {
            return Ok(Err((Reason::Stopped, Detail::LiftedBy(side))));
        }
        let reason = match end.cause {
            EndCause::Expired => Reason::SessionExpired,
            EndCause::Ended
            | EndCause::Removed
            | EndCause::Withdrawn
            | EndCause::Replaced
            | EndCause::Conflict
            | EndCause::ClockAccepted
            | EndCause::GiverGone => Reason::SessionEnded,
            EndCause::Stopped => Reason::SessionStopped,
            EndCause::GrantWithdrawn => Reason::GrantWithdrawn,
            EndCause::GrantExpired => Reason::GrantExpired,
            EndCause::ConsentWithdrawn => Reason::ConsentWithdrawn,
            EndCause::TenantRemoved => Reason::TenantRemoved,
            EndCause::EnvironmentRemoved => Reason::EnvironmentRemoved,
        };
        return Ok(Err((reason, Detail::At(end.at))));
    }
    let own = Deadline { at: session.deadline, due: Due::Session };
    if now >= own.at {
        return Ok(Err((Reason::SessionExpired, Detail::At(own.at))));
    }
    let halted = halted(&session.subject, tenant_id, tenant, own_switch, facts)?;
    if let Some(side) = halted.now {
        return Ok(Err((Reason::Stopped, Detail::LiftedBy(side))));
    }
    if let Some(at) = halted.closed_at.filter(|at| session.started <= *at) {
        return Ok(Err((Reason::SessionStopped, Detail::At(at))));
    }
    if let Some(at) = tenant.removed {
        return Ok(Err((Reason::TenantRemoved, Detail::At(at))));
    }
    // Whoever was removed and kept out is out, whatever other sessions turn up when histories are joined.
    if policy.sessions.on_remove == OnRemove::Bar
        && own_switch
        && let Some(at) = facts.presence(tenant_id, &session.subject)?.and_then(|presence| presence.closed_at)
        && session.started <= at
    {
        return Ok(Err((Reason::SessionEnded, Detail::At(at))));
    }
    let taken = |begun| tenant.took_away(&session.environment, begun).map(Detail::At);
    if let Some(detail) = taken(session.started) {
        return Ok(Err((Reason::EnvironmentRemoved, detail)));
    }
    match &session.basis {
        Basis::Consent(_) if let Some(own) = session.givers.iter().find(|giver| giver.is(subject)) => {
            Ok(Err(self_granted(Some(&own.person))))
        }
        Basis::Consent(_) if session.above.iter().any(|giver| giver.is(subject)) => {
            Ok(Err(self_granted(None)))
        }
        Basis::Consent(_) => match policy.on_lower {
            OnLower::Future => {
                Ok(Ok(Standing { deadline: own, bound: None, falls: None, grant: None, giver: None }))
            }
            OnLower::Immediate => {
                let now_in_force = in_force(tenant, facts, policy, now)?;
                if let Some(own) = now_in_force.given_by(subject) {
                    return Ok(Err(self_granted(own)));
                }
                let closed = now_in_force.closed_at.is_some_and(|at| session.started <= at);
                if closed || policy.ladder.role_at(now_in_force.rank).is_none() {
                    return Ok(Err((Reason::ConsentWithdrawn, Detail::None)));
                }
                let InForce { rank, falls, .. } = now_in_force;
                Ok(Ok(Standing { deadline: own, bound: Some(rank), falls, grant: None, giver: None }))
            }
        },
        Basis::BreakGlass(_) if policy.glass_holds(session) => {
            Ok(Ok(Standing { deadline: own, bound: None, falls: None, giver: None, grant: None }))
        }
        Basis::BreakGlass(_) => Ok(Err((Reason::BreakGlassWithdrawn, Detail::None))),
        Basis::Grant(id) | Basis::ActAs(Acting { grant: id, .. }) => {
            let Some(grant) = facts.grant(tenant_id, id.as_str())? else {
                return Ok(Err((Reason::GrantMissing, Detail::None)));
            };
            if let Some(fallen) = grant_fallen(grant, now) {
                return Ok(Err(fallen));
            }
            if !carries(grant, &session.basis, policy)
                || grant.environment != session.environment
                || !is_for(grant, subject)
                || !bound_to(grant, &subject.id)
            {
                return Ok(Err((Reason::GrantMissing, Detail::None)));
            }
            if let Some(own) = grant.given_by(subject) {
                return Ok(Err(self_granted(Some(&own))));
            }
            let here = Here { tenant: tenant_id, facts, policy };
            if let Some(name) = &session.role
                && let Some(own) = here.filled_by(name, subject)?
            {
                return Ok(Err(self_granted(Some(&own.person))));
            }
            if let Some(detail) = taken(grant.given) {
                return Ok(Err((Reason::EnvironmentRemoved, detail)));
            }
            let giver = match giver(&grant.grantor, tenant_id, facts, now, policy)? {
                Ok(giver) => giver,
                Err(fallen) => return Ok(Err(fallen)),
            };
            // Acting has what the person's roles hold: nobody gives themselves more by these.
            if let Basis::ActAs(_) = session.basis
                && let Some(own) = giver.filled_by(here, subject)?
            {
                return Ok(Err(self_granted(Some(&own.person))));
            }
            let deadline = own.min(Deadline { at: grant.until, due: Due::Grant });
            Ok(Ok(Standing { deadline, bound: None, falls: None, grant: Some(grant), giver: Some(giver) }))
        }
    }
}

/// Whose it was to give is not to use it (GW-14); who that is, is for the record, where it is a person of that tenant.
fn self_granted(giver: Option<&SubjectRef>) -> Fallen {
    (Reason::SelfGranted, giver.map_or(Detail::None, |giver| Detail::GivenBy(giver.clone())))
}

/// Why a grant gives nothing at this instant, if so.
pub fn grant_fallen(grant: &Grant, now: Timestamp) -> Option<Fallen> {
    match &grant.ended {
        Some(end) if end.cause == EndCause::Expired => Some((Reason::GrantExpired, Detail::At(end.at))),
        Some(end) => Some((Reason::GrantWithdrawn, Detail::At(end.at))),
        None if now >= grant.until => Some((Reason::GrantExpired, Detail::At(grant.until))),
        None => None,
    }
}

/// Whether a grant is for this staff subject, apart from who used it first.
pub fn is_for(grant: &Grant, subject: &Subject) -> bool {
    match &grant.to {
        Grantee::Subject(named) => *named == subject.id,
        Grantee::Email(address) => match &grant.bound {
            // Bound once, the subject counts and no longer the address.
            Some(first) => *first == subject.id,
            None => subject.email.as_ref() == Some(address),
        },
        Grantee::Erased => grant.bound.as_ref() == Some(&subject.id),
        Grantee::Support => subject.support,
        Grantee::Organisation(name) => subject.organisations.contains(name),
    }
}

/// A session by a grant to an address exists only for the subject that the grant is bound to.
fn bound_to(grant: &Grant, subject: &SubjectRef) -> bool {
    match grant.to {
        Grantee::Email(_) | Grantee::Erased => grant.bound.as_ref() == Some(subject),
        Grantee::Subject(_) | Grantee::Support | Grantee::Organisation(_) => true,
    }
}
