//! What ended a session before its time, though nobody ended it: a kill switch, the end of the grant or of the consent that it
//! rests on, a tenant or an environment that is gone. Every decision looks at these by itself; here it is worked out for the
//! record (P17-16), once, with the instant at which it took effect.
//!
//! Only what stays so counts: what a later change could bring back to life (a giver's suspension, a reload) ends nothing.
//!
//! Never here: whether a session is good right now ([`crate::policy`]).

use crate::{
    model::{Acting, Basis, End, EndCause, Session, TenantId, Timestamp},
    policy::{Facts, Lack, OnLower, Policy, emergency::halted, level::in_force},
};

/// The end of a session, its own deadline included; `None` while it stands. Of several the earliest.
pub fn fallen(
    session: &Session,
    id: &TenantId,
    facts: &Facts,
    now: Timestamp,
    policy: &Policy,
) -> Result<Option<End>, Lack> {
    // Of two at once the first.
    let mut ends: Vec<(Timestamp, EndCause)> = Vec::new();
    if let Some(tenant) = facts.tenant(id.as_str())? {
        let begun = |at: &Timestamp| session.started <= *at;
        let own_switch = policy.tenant_ends(&session.basis);
        let halted = halted(&session.subject, id.as_str(), tenant, own_switch, facts)?;
        // A switch that was lifted since may bear a later mark than its own.
        let stopped = halted.closed_at.filter(begun).map(|at| at.min(session.deadline));
        ends.extend(stopped.map(|at| (at, EndCause::Stopped)));
        ends.extend(tenant.removed.map(|at| (at, EndCause::TenantRemoved)));
        let mut taken = tenant.took_away(&session.environment, session.started);
        match &session.basis {
            Basis::Consent(_) if policy.on_lower == OnLower::Immediate => {
                let closed = in_force(tenant, facts, policy, now)?.closed_at.filter(begun);
                ends.extend(closed.map(|at| (at, EndCause::ConsentWithdrawn)));
            }
            Basis::Consent(_) | Basis::BreakGlass(_) => {}
            Basis::Grant(grant) | Basis::ActAs(Acting { grant, .. }) => {
                if let Some(grant) = facts.grant(id.as_str(), grant.as_str())? {
                    ends.push((grant.until, EndCause::GrantExpired));
                    let ended = grant.ended.as_ref().filter(|end| end.cause != EndCause::Expired);
                    ends.extend(ended.map(|end| (end.at, EndCause::GrantWithdrawn)));
                    taken = taken.or(tenant.took_away(&session.environment, grant.given));
                }
            }
        }
        ends.extend(taken.map(|at| (at, EndCause::EnvironmentRemoved)));
    }
    ends.push((session.deadline, EndCause::Expired));
    let first = ends.into_iter().filter(|(at, _)| *at <= now).min_by_key(|(at, _)| *at);
    // What a fork brought together may be older than what it ended.
    Ok(first.map(|(at, cause)| End { at: at.max(session.started), cause, by: None }))
}
