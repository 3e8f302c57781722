//! How a service says who is a member of a tenant, with which roles, and that somebody is suspended or gone (GW-09).
//!
//! Never here: what a member may do by it ([`crate::policy`]).

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    model::{Document, Key, Member, RoleName, SubjectRef, TenantId, Version},
    policy::{Meaning, Push},
};

use super::{Change, Event, Moment, Refusal, Stop, login::left};

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
    let (email, life) = (wanted.email.cloned(), tenant.life);
    let row = Member { roles, suspended: wanted.suspended, email, removed: None, life };
    if before == Some(&row) {
        return Ok(Change::NOTHING);
    }
    // By an address somebody may be found who was not before.
    let narrows = before.is_some_and(|before| {
        before.removed.is_none()
            && before.life == row.life
            && row.roles.is_subset(&before.roles)
            && (row.suspended || !before.suspended)
            && (row.email.is_none() || row.email == before.email)
    });
    let event = Event::MemberPushed {
        member: member.clone(),
        roles: row.roles.iter().cloned().collect(),
        suspended: row.suspended,
    };
    let mut change = Change { documents: vec![(key, Document::Member(row))], events: vec![event], narrows };
    if wanted.suspended {
        left(at, id, member, &mut change)?;
    }
    Ok(change)
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
    if before.removed.is_some() {
        return Ok(Change::NOTHING);
    }
    at.as_seen(&key, expected)?;
    let gone = Member { roles: BTreeSet::new(), email: None, removed: Some(at.now), ..before.clone() };
    let event = Event::MemberRemoved { member: member.clone() };
    let documents = vec![(key, Document::Member(gone))];
    let mut change = Change { documents, events: vec![event], narrows: true };
    left(at, id, member, &mut change)?;
    Ok(change)
}
