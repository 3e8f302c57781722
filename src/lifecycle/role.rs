//! How a tenant says what a role holds there: one of its own, or one that the configuration lets tenants adjust.
//!
//! What a role holds reaches grants and running sessions at once, since nobody copies it (rule 4); a role of the tenant's own
//! that a standing grant names stays until that is over (P17-31), so it knows those grants, in the same commit as they.
//!
//! Never here: what a role's name means ([`crate::policy::tenant_roles`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{
        Document, Giver, GrantId, Key, PermissionName, RoleName, Subject, Tenant, TenantId, TenantRole,
        Timestamp, Version, role::ROLE_MOST,
    },
    policy::{
        Lack, PermissionSet,
        rows::{administers, held},
    },
};

use super::{Actor, Change, Event, Moment, Refusal, Stop};

/// Writes what a role holds, whole. As it is already: nothing changes.
pub(super) fn set(
    at: &Moment<'_>,
    id: &TenantId,
    name: &RoleName,
    permissions: &[PermissionName],
    expected: Option<Version>,
) -> Result<Change, Stop> {
    let by = manager(at, id)?;
    let own = own(at, name)?;
    if let Some(unknown) = permissions.iter().find(|one| at.policy.catalogue.id(one.as_str()).is_none()) {
        return Err(Refusal::PermissionUnknown(unknown.clone()).into());
    }
    let Some(tenant) = at.facts.tenant(id.as_str())? else { return Err(Refusal::NotFound("tenant").into()) };
    at.still_there(tenant)?;
    let key = Key::Role(id.clone(), name.clone());
    let before = at.facts.role(id.as_str(), name)?;
    at.as_seen(&key, expected)?;
    in_plan(at, tenant)?;
    // Of another life, or taken back, it says nothing that could be kept.
    let stands = before.filter(|before| {
        before.own == own
            && before.removed.is_none()
            && before.life == tenant.life
            && tenant.roles.contains(name)
    });
    let wanted: BTreeSet<PermissionName> = permissions.iter().cloned().collect();
    let now = match at.here(id).role(name) {
        // What is lost is said anew.
        Err(Lack::Unavailable) if before.is_none() => PermissionSet::default(),
        known => known?.set(at.policy),
    };
    let Difference { added, taken } = Difference::of(at, &now, |name| wanted.contains(name));
    let as_it_is = match stands {
        Some(stands) => stands.permissions == wanted,
        None => !own && !tenant.roles.contains(name) && added.is_empty() && taken.is_empty(),
    };
    if as_it_is {
        return Ok(Change::NOTHING);
    }
    let narrows = added.is_empty() && (!own || stands.is_some());
    if !narrows {
        at.reaches_all(&tenant.environments)?;
    }
    hands_on(at, id, by, name, &added)?;
    let own_roles = tenant.roles.iter().filter(|name| at.policy.role(name).is_none()).count();
    if own && !tenant.roles.contains(name) && own_roles >= at.policy.tenant_roles.most {
        return Err(Refusal::TooManyRoles(own_roles).into());
    }
    let mut givers = stands.map(|stands| stands.by.clone()).unwrap_or_default();
    if !added.is_empty() {
        put_in(at, id, &key, by, &mut givers)?;
    }
    let granted = stands.map(|stands| stands.granted_at(at.now)).unwrap_or_default();
    let role = TenantRole { permissions: wanted, own, by: givers, granted, removed: None, life: tenant.life };
    // What only takes away makes it no larger, and is held up by nothing.
    if !narrows && role.size() > ROLE_MOST {
        return Err(Refusal::RoleTooLarge.into());
    }
    let mut documents = vec![(key, Document::Role(role))];
    if !tenant.roles.contains(name) {
        documents.push(indexed(id, tenant, |roles| roles.insert(name.clone())));
    }
    let event = Event::RoleSet { role: name.clone(), own, added, taken };
    Ok(Change { documents, events: vec![event], narrows })
}

/// Takes back what the tenant says of a role. Repeating it changes nothing.
pub(super) fn remove(
    at: &Moment<'_>,
    id: &TenantId,
    name: &RoleName,
    expected: Option<Version>,
) -> Result<Change, Stop> {
    let by = manager(at, id)?;
    let own = own(at, name)?;
    let Some(tenant) = at.facts.tenant(id.as_str())? else { return Err(Refusal::NotFound("tenant").into()) };
    let key = Key::Role(id.clone(), name.clone());
    let before = match at.facts.role(id.as_str(), name)? {
        Some(before) => before,
        None if own => return Err(Refusal::NotFound("role").into()),
        None => return Ok(Change::NOTHING),
    };
    let listed = tenant.roles.contains(name);
    if before.removed.is_some() && !listed {
        return Ok(Change::NOTHING);
    }
    at.as_seen(&key, expected)?;
    in_plan(at, tenant)?;
    let standing = before.granted_at(at.now).len();
    if before.own && before.life == tenant.life && standing > 0 {
        return Err(Refusal::RoleGranted(standing).into());
    }
    let now = at.here(id).role(name)?.set(at.policy);
    // Without the tenant's word the configuration's alone is left.
    let after = at.policy.role(name).map(|role| role.permissions.clone()).unwrap_or_default();
    let in_set = |name: &PermissionName| {
        at.policy.catalogue.id(name.as_str()).is_some_and(|permission| after.contains(permission))
    };
    let Difference { added, taken } = Difference::of(at, &now, in_set);
    let mut givers = before.by.clone();
    let narrows = added.is_empty();
    if !narrows {
        at.still_there(tenant)?;
        at.reaches_all(&tenant.environments)?;
        hands_on(at, id, by, name, &added)?;
        put_in(at, id, &key, by, &mut givers)?;
    }
    let role = TenantRole {
        // Should another history still have it, what is less of both holds.
        permissions: at
            .policy
            .catalogue
            .iter()
            .map(|(_, name)| name)
            .filter(|name| in_set(name))
            .cloned()
            .collect(),
        own: before.own,
        by: if before.own { BTreeSet::new() } else { givers },
        granted: BTreeMap::new(),
        removed: Some(at.now),
        life: before.life,
    };
    let mut documents = vec![(key, Document::Role(role))];
    if listed {
        documents.push(indexed(id, tenant, |roles| roles.remove(name)));
    }
    let event = Event::RoleRemoved { role: name.clone(), own: before.own, added, taken };
    Ok(Change { documents, events: vec![event], narrows })
}

/// A grant names these roles from now on, and named those before: each of the tenant's own knows it as long as it does.
pub(super) fn named(
    at: &Moment<'_>,
    id: &TenantId,
    grant: &GrantId,
    before: &[&RoleName],
    after: &[&RoleName],
    until: Timestamp,
) -> Result<Vec<(Key, Document)>, Stop> {
    let mut documents = Vec::new();
    for name in after {
        documents.extend(granted(at, id, name, grant, until)?);
    }
    for name in before.iter().filter(|name| !after.contains(name)) {
        documents.extend(no_longer_granted(at, id, name, grant)?);
    }
    Ok(documents)
}

/// A grant that names a role of the tenant's own is made, or its end moved: the role knows it from now on.
fn granted(
    at: &Moment<'_>,
    id: &TenantId,
    name: &RoleName,
    grant: &GrantId,
    until: Timestamp,
) -> Result<Option<(Key, Document)>, Stop> {
    if at.policy.role(name).is_some() || !at.policy.is_told(name) {
        return Ok(None);
    }
    let Some(role) = at.facts.role(id.as_str(), name)?.filter(|role| role.removed.is_none()) else {
        return Ok(None);
    };
    let mut granted = role.granted_at(at.now);
    let grows = granted.insert(grant.clone(), until).is_none();
    let role = TenantRole { granted, ..role.clone() };
    if grows && role.size() > ROLE_MOST {
        return Err(Refusal::RoleTooLarge.into());
    }
    Ok(Some((Key::Role(id.clone(), name.clone()), Document::Role(role))))
}

/// A grant ended before its time. That waits for nothing: a role that cannot be read knows it until its time is over.
fn no_longer_granted(
    at: &Moment<'_>,
    id: &TenantId,
    name: &RoleName,
    grant: &GrantId,
) -> Result<Option<(Key, Document)>, Stop> {
    if !at.policy.is_told(name) {
        return Ok(None);
    }
    let role = match at.facts.role(id.as_str(), name) {
        Err(Lack::Unavailable) => None,
        known => known?,
    };
    let Some(role) = role.filter(|role| role.granted.contains_key(grant)) else { return Ok(None) };
    let mut granted = role.granted_at(at.now);
    granted.remove(grant);
    let role = TenantRole { granted, ..role.clone() };
    Ok(Some((Key::Role(id.clone(), name.clone()), Document::Role(role))))
}

/// The person, who must hold the configured permission in that tenant.
fn manager<'a>(at: &Moment<'a>, id: &TenantId) -> Result<&'a Subject, Stop> {
    let needed = at.policy.tenant_roles.permission();
    match at.actor {
        Actor::Subject(subject) if subject.acting => Err(Refusal::Acting.into()),
        Actor::Subject(subject) if administers(subject, id, at.facts, at.policy, needed)? => Ok(subject),
        Actor::Subject(_) | Actor::Configuration | Actor::Clock | Actor::Application => {
            match PermissionName::new(needed) {
                Ok(needed) => Err(Refusal::RolesNotYours { needed }.into()),
                Err(_) => Err(Refusal::NotAllowed { needed: "a permission that is configured" }.into()),
            }
        }
    }
}

/// Whether a role is one of the tenant's own, where the tenant may say something of it at all.
fn own(at: &Moment<'_>, name: &RoleName) -> Result<bool, Refusal> {
    match at.policy.role(name) {
        Some(role) if role.adjustable => Ok(false),
        Some(_) => Err(Refusal::RoleLocked(name.clone())),
        // Held at resources: its name means nothing else.
        None if at.policy.resources.roles.contains_key(name) => Err(Refusal::RoleLocked(name.clone())),
        None if at.policy.tenant_roles.most == 0 => Err(Refusal::RolesClosed),
        None => Ok(true),
    }
}

/// PFC-10: without a plan that has it only changes are refused; what was said before stays.
fn in_plan(at: &Moment<'_>, tenant: &Tenant) -> Result<(), Refusal> {
    if at.policy.tenant_roles.in_plan(tenant.plan.as_ref()) { Ok(()) } else { Err(Refusal::RolesNotInPlan) }
}

/// What a role gains and loses.
struct Difference {
    added: Vec<PermissionName>,
    taken: Vec<PermissionName>,
}

impl Difference {
    fn of(at: &Moment<'_>, before: &PermissionSet, after: impl Fn(&PermissionName) -> bool) -> Difference {
        let names = |wanted: fn(bool, bool) -> bool| {
            let all = at.policy.catalogue.iter();
            let all = all.filter(|(id, name)| wanted(before.contains(*id), after(name)));
            all.map(|(_, name)| name.clone()).collect()
        };
        Difference {
            added: names(|before, after| !before && after),
            taken: names(|before, after| before && !after),
        }
    }
}

/// PFC-17: nobody gives a right that they lack.
fn hands_on(
    at: &Moment<'_>,
    id: &TenantId,
    by: &Subject,
    name: &RoleName,
    added: &[PermissionName],
) -> Result<(), Stop> {
    if added.is_empty() {
        return Ok(());
    }
    let held = held(by, at.facts, at.policy)?;
    for permission in added {
        let known = at.policy.catalogue.id(permission.as_str());
        let holds = match known {
            Some(known) => held.can(at.here(id), known)?,
            None => false,
        };
        if !holds {
            return Err(Refusal::BeyondOwn { role: name.clone(), lacking: permission.clone() }.into());
        }
    }
    Ok(())
}

/// Notes who put something in; once is enough of each.
fn put_in(
    at: &Moment<'_>,
    id: &TenantId,
    key: &Key,
    by: &Subject,
    givers: &mut BTreeSet<Giver>,
) -> Result<(), Stop> {
    let row = at.facts.member(id.as_str(), &by.id)?.and_then(|row| row.email.as_deref());
    let known = |giver: &Giver| {
        let has = |address: Option<&str>| address.is_none_or(|address| giver.has(address));
        giver.person == by.id && has(by.email.as_deref()) && has(row)
    };
    if !givers.iter().any(known) {
        givers.insert(Giver::of(by, row, &format!("{key}@{}", at.now.ms())));
    }
    Ok(())
}

/// The tenant with another index of its roles.
fn indexed(
    id: &TenantId,
    tenant: &Tenant,
    change: impl FnOnce(&mut BTreeSet<RoleName>) -> bool,
) -> (Key, Document) {
    let mut tenant = tenant.clone();
    let _ = change(&mut tenant.roles);
    (Key::Tenant(id.clone()), Document::Tenant(tenant))
}
