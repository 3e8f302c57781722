//! Emergencies: who may use the kill switches, and what the switches come to for one person in one tenant (GW-13).
//!
//! Every basis is covered, whatever a session rests on. The usual case, in which no switch over a tenant or a person was
//! ever set, costs one look-up.
//!
//! Never here: setting and lifting ([`crate::lifecycle`]).

use std::collections::BTreeSet;

use crate::model::{IssuerName, Side, Stop, SubjectRef, Tenant, Timestamp};

use super::{Facts, Lack};

/// What the configuration says of emergencies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Emergency {
    /// Who may stop, and let go on, a person, a tenant or all support access.
    pub operators: BTreeSet<SubjectRef>,
    /// The issuers of staff: nobody else's people can be stopped.
    pub staff: BTreeSet<IssuerName>,
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
    fn and(self, stop: Option<&Stop>, side: Side) -> Halted {
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

/// All switches that bear on this person in this tenant.
pub fn halted(subject: &SubjectRef, tenant_id: &str, tenant: &Tenant, facts: &Facts) -> Result<Halted, Lack> {
    let halted = everywhere(subject, facts)?.and(Some(&tenant.stop), Side::Tenant);
    if halted.now == Some(Side::Operators) || !facts.stop_of_all()?.is_some_and(|all| all.others) {
        return Ok(halted);
    }
    Ok(halted.and(facts.stop_of_tenant(tenant_id)?, Side::Operators))
}
