//! How a tenant chooses how far support may go.
//!
//! Never here: what a level allows ([`crate::policy`]).

use crate::{
    model::{Consent, Document, Key, Tenant, TenantId, Version},
    policy::{
        Lack, SUPPORT_MANAGE,
        level::{InForce, in_force},
    },
};

use super::{Change, Choice, Event, Moment, Refusal, Stop};

/// Sets the choice: by an administrator of the tenant itself, not of its parent, and by no staff.
pub(super) fn set(
    at: &Moment<'_>,
    id: &TenantId,
    choice: &Choice,
    expected: Option<Version>,
) -> Result<Change, Stop> {
    at.administrator(id, SUPPORT_MANAGE)?;
    let key = Key::Tenant(id.clone());
    let Some(tenant) = at.facts.tenant(id.as_str())? else { return Err(Refusal::NotFound("tenant").into()) };
    at.still_there(tenant)?;
    at.as_seen(&key, expected)?;
    let wanted = match choice {
        Choice::Level(level) if at.policy.ladder.knows(level) => Consent::own(level.clone()),
        Choice::Level(level) => return Err(Refusal::LevelUnknown(level.clone()).into()),
        Choice::Inherit if leads(at, tenant)? => Consent::inherited(),
        Choice::Inherit => return Err(Refusal::NothingToInherit.into()),
    };
    if (wanted.inherit, &wanted.cap) == (tenant.consent.inherit, &tenant.consent.cap) {
        return Ok(Change::NOTHING);
    }
    // A tenant that lowers its level never waits for a parent that cannot be read: the chain counts as closed until
    // now (rule 6), so what ran by it ends.
    let before = match in_force(tenant, at.facts, at.policy) {
        Err(Lack::Unavailable) => InForce { rank: 0, closed_at: None },
        known => known?,
    };
    let mut changed = Tenant { consent: wanted, ..tenant.clone() };
    let after = in_force(&changed, at.facts, at.policy)?;
    // What ran while nothing was open stays ended (law 4), also when the level rises again. A mark that was inherited
    // until now is kept, so that leaving the parent brings nothing back. What starts in the millisecond of a rise is
    // new; what started in the millisecond of a fall is over.
    let closed = |rank| at.policy.ladder.role_at(rank).is_none();
    let mark = match (closed(before.rank), closed(after.rank)) {
        (_, true) => Some(at.now),
        (true, false) => Some(at.now.plus_ms(-1)),
        (false, false) => None,
    };
    changed.consent.closed_at = tenant.consent.closed_at.max(before.closed_at).max(mark);
    // At an equal level a tenant leaves or joins its parent, which takes nothing away; a level of its own that gives
    // nothing takes away whatever there was.
    let narrows = after.rank < before.rank || (!changed.consent.inherit && closed(after.rank));
    let event = Event::ConsentChanged {
        from: at.level(before.rank),
        to: at.level(after.rank),
        inherit: changed.consent.inherit,
    };
    Ok(Change { documents: vec![(key, Document::Tenant(changed))], events: vec![event], narrows })
}

/// Whether there is a parent to follow. One that cannot be read may be one.
fn leads(at: &Moment<'_>, tenant: &Tenant) -> Result<bool, Lack> {
    let Some(parent) = &tenant.parent else { return Ok(false) };
    match at.facts.tenant(parent.as_str()) {
        Ok(parent) => Ok(parent.is_none_or(|parent| parent.removed.is_none())),
        Err(Lack::Unavailable) => Ok(true),
        Err(need) => Err(need),
    }
}
