//! Emergencies: who may use the kill switches, and what the switches come to for one person in one tenant (GW-13); who may
//! break the glass, and what that gives (GW-06).
//!
//! Every basis is covered, whatever a session rests on. The usual case, in which no switch over a tenant or a person was
//! ever set, costs one look-up.
//!
//! Never here: setting and lifting ([`crate::lifecycle`]).

use std::collections::BTreeSet;

use crate::model::{Basis, IssuerName, RoleName, Session, Side, Stop, SubjectRef, Tenant, Timestamp};

use super::{Conditions, EmergencyTokens, Facts, Lack, Policy, shape::Shape};

/// What the configuration says of emergencies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Emergency {
    /// Who may stop, and let go on, a person, a tenant or all support access.
    pub operators: BTreeSet<SubjectRef>,
    /// The issuers of staff: nobody else's people can be stopped.
    pub staff: BTreeSet<IssuerName>,
    /// Entry without anybody's consent, where the configuration has it.
    pub break_glass: Option<BreakGlass>,
}

/// Entry in an emergency, without anybody's consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakGlass {
    /// Who may.
    pub operators: BTreeSet<SubjectRef>,
    /// What it gives, under the ceiling like everything.
    pub role: RoleName,
    /// How long such a session lasts at most, in milliseconds.
    pub lasts_ms: i64,
    /// What counts as an emergency.
    pub causes: BTreeSet<String>,
    /// What the reference of an incident looks like.
    pub incident: Shape,
    /// What it demands of the operators' sign-in beside what is demanded of all staff. No ticket: the incident is it.
    pub conditions: Conditions,
    /// How often one operator may try in an hour.
    pub attempts: u32,
    /// Whether the tenant's administrators can end such a session and keep operators out.
    pub tenant_ends: bool,
    /// Whose tokens open without a store, where any do (rule 18).
    pub tokens: Option<EmergencyTokens>,
}

impl Policy {
    /// What breaking the glass gives this person, if the configuration lets them.
    pub fn break_glass(&self, subject: &SubjectRef) -> Option<&BreakGlass> {
        self.emergency.break_glass.as_ref().filter(|glass| glass.operators.contains(subject))
    }

    /// Whether the tenant's administrators can end what rests on this, and keep it out.
    pub fn tenant_ends(&self, basis: &Basis) -> bool {
        let glass = || self.emergency.break_glass.as_ref().is_none_or(|glass| glass.tenant_ends);
        !matches!(basis, Basis::BreakGlass(_)) || glass()
    }

    /// Whether a session by break-glass is still what the configuration gives.
    pub fn glass_holds(&self, session: &Session) -> bool {
        self.break_glass(&session.subject).is_some_and(|glass| Some(&glass.role) == session.role.as_ref())
    }
}

/// What the switches come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Halted {
    /// One is set; who can lift it.
    pub now: Option<Side>,
    /// Sessions that began until then are over.
    pub closed_at: Option<Timestamp>,
}

impl Halted {
    pub(super) fn and(self, stop: Option<&Stop>, side: Side) -> Halted {
        let Some(stop) = stop else { return self };
        Halted {
            // Of several the operators': whoever the tenant lets in is not let in by them.
            now: self.now.max(stop.set.as_ref().map(|_| side)),
            closed_at: self.closed_at.max(stop.closed_at),
        }
    }
}

/// The operators' switches over everything and over this person: what holds of them in any tenant.
pub fn everywhere(subject: &SubjectRef, facts: &Facts) -> Result<Halted, Lack> {
    let all = facts.stop_of_all()?;
    let halted = Halted::default().and(all, Side::Operators);
    if halted.now.is_some() || !all.is_some_and(|all| all.others) {
        return Ok(halted);
    }
    Ok(halted.and(facts.stop_of_person(subject)?, Side::Operators))
}

/// All switches that bear on this person in this tenant; `own`: the tenant's own among them.
pub fn halted(
    subject: &SubjectRef,
    tenant_id: &str,
    tenant: &Tenant,
    own: bool,
    facts: &Facts,
) -> Result<Halted, Lack> {
    let halted = everywhere(subject, facts)?.and(Some(&tenant.stop).filter(|_| own), Side::Tenant);
    if halted.now == Some(Side::Operators) || !facts.stop_of_all()?.is_some_and(|all| all.others) {
        return Ok(halted);
    }
    Ok(halted.and(facts.stop_of_tenant(tenant_id)?, Side::Operators))
}
