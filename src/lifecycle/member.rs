//! How a service says who is a member of a tenant, with which roles, and that somebody is suspended or gone (GW-09).
//!
//! Never here: what a member may do by it ([`crate::policy`]).

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    model::{Document, Key, Member, RoleName, SubjectRef, Tenant, TenantId, Version},
    policy::{Lack, Meaning, Push, has_plan},
};

use super::{
    Change, Event, Moment, Refusal, Stop,
    login::left,
    seat::{is_counted, moved},
};

/// What is said of a member.
pub(super) struct Wanted<'a> {
    pub(super) roles: &'a [RoleName],
    pub(super) suspended: bool,
    pub(super) email: Option<&'a Arc<str>>,
}

/// Writes the row of a member, whole.
pub(super) fn push(
    at: &Moment<'_>,
    id: &TenantId,
    member: &SubjectRef,
    wanted: &Wanted<'_>,
    expected: Option<Version>,
) -> Result<Change, Stop> {
    at.service(id, Push::Members)?;
    if !at.policy.callers.members.contains(&member.issuer) {
        return Err(Refusal::IssuerUnknown(member.issuer.clone()).into());
    }
    for role in wanted.roles {
        // Of an adjusted one it does not matter here what it holds.
        if at.policy.role(role).is_none() && at.here(id).role(role)? == Meaning::Nothing {
            return Err(Refusal::RoleUnknown(role.clone()).into());
        }
    }
    let Some(tenant) = at.facts.tenant(id.as_str())? else { return Err(Refusal::NotFound("tenant").into()) };
    at.still_there(tenant)?;
    let key = Key::Member(id.clone(), member.clone());
    let before = at.facts.member(id.as_str(), member)?;
    at.as_seen(&key, expected)?;
    let roles: BTreeSet<RoleName> = wanted.roles.iter().cloned().collect();
    in_plan(at, tenant, &roles, before)?;
    let (email, life) = (wanted.email.cloned(), tenant.life);
    let away = before.and_then(|before| before.away.max(before.removed));
    let goes = wanted.suspended && before.is_none_or(|before| !before.suspended);
    let away = if goes { Some(at.now) } else { away };
    // Whoever comes to hold a role that keeps them out of some leaves every resource at once, however many that are (PFC-14).
    let (rules, no_roles) = (&at.policy.resources, BTreeSet::new());
    let joined = rules.joins_of(before.map_or(&no_roles, |before| &before.roles));
    let joins = rules.joins_of(&roles);
    let leaves = u32::from(!joined.are_within(&joins, rules));
    let no_new = joins.are_within(&joined, rules);
    let times = before.map_or(0, |before| before.left).saturating_add(leaves);
    let seat = roles.iter().any(|role| at.policy.role(role).is_some_and(|role| role.seat));
    let was_counted = is_counted(before, life);
    let suspended = wanted.suspended;
    let mut row = Member { roles, suspended, email, removed: None, away, life, left: times, seat };
    if before == Some(&row) {
        return Ok(Change::NOTHING);
    }
    // By an address somebody may be found who was not before.
    let narrows = before.is_some_and(|before| {
        before.removed.is_none()
            && before.life == row.life
            && row.roles.is_subset(&before.roles)
            && no_new
            && (row.suspended || !before.suspended)
            && (row.email.is_none() || row.email == before.email)
    });
    let event = Event::MemberPushed {
        member: member.clone(),
        roles: row.roles.iter().cloned().collect(),
        suspended: row.suspended,
    };
    let counted = match moved(at, id, life, was_counted, seat) {
        // What takes away waits for nothing: they are counted as before until they are pushed again.
        Err(Lack::Unavailable) if narrows => {
            row.seat = was_counted;
            None
        }
        counted => counted?,
    };
    if let Some(counted) = counted.as_ref().filter(|_| !narrows) {
        counted.fits(tenant)?;
    }
    let mut change = Change { documents: vec![(key, Document::Member(row))], events: vec![event], narrows };
    if let Some(counted) = counted {
        counted.put(&mut change);
    }
    if wanted.suspended {
        left(at, id, member, &mut change)?;
    }
    Ok(change)
}

/// Refuses a role that the tenant's plan does not hand out. What somebody holds they keep, whatever became of the plan (PFC-10).
fn in_plan(
    at: &Moment<'_>,
    tenant: &Tenant,
    roles: &BTreeSet<RoleName>,
    before: Option<&Member>,
) -> Result<(), Refusal> {
    let held = before.filter(|row| row.removed.is_none() && row.life == tenant.life);
    let keeps = |role: &RoleName| held.is_some_and(|row| row.roles.contains(role));
    let closed = |role: &&RoleName| {
        at.policy.role(role).is_some_and(|known| !has_plan(&known.plans, tenant.plan.as_ref()))
    };
    match roles.iter().filter(|role| !keeps(role)).find(closed) {
        Some(role) => Err(Refusal::RoleNotInPlan(role.clone())),
        None => Ok(()),
    }
}

/// Somebody is no member any more. Repeating it changes nothing.
pub(super) fn remove(
    at: &Moment<'_>,
    id: &TenantId,
    member: &SubjectRef,
    expected: Option<Version>,
) -> Result<Change, Stop> {
    at.service(id, Push::Members)?;
    let key = Key::Member(id.clone(), member.clone());
    let Some(before) = at.facts.member(id.as_str(), member)? else {
        return Err(Refusal::NotFound("member").into());
    };
    // Said again it takes away what is still counted of somebody who is gone.
    if before.removed.is_some() && !before.seat {
        return Ok(Change::NOTHING);
    }
    at.as_seen(&key, expected)?;
    let counted = match moved(at, id, before.life, before.seat, false) {
        Err(Lack::Unavailable) => Err(()),
        counted => Ok(counted?),
    };
    let gone = Member {
        roles: BTreeSet::new(),
        email: None,
        removed: before.removed.or(Some(at.now)),
        away: before.removed.map_or(Some(at.now), |_| before.away),
        left: before.left.saturating_add(1),
        seat: before.seat && counted.is_err(),
        ..before.clone()
    };
    let event = Event::MemberRemoved { member: member.clone() };
    let documents = vec![(key, Document::Member(gone))];
    let mut change = Change { documents, events: vec![event], narrows: true };
    if let Ok(Some(counted)) = counted {
        counted.put(&mut change);
    }
    left(at, id, member, &mut change)?;
    Ok(change)
}
