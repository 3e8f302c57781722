//! What a member sees of the resources below their tenant: that one is there, what they are in it, and whether they see who else is.
//!
//! A resource shows itself to whoever is a member of it, may become one by themselves, or may see or change its members. Nobody else
//! learns whether it is there (law 11).
//!
//! Never here: what they may do there ([`super`]).

use crate::{
    model::{ResourceRef, ResourceType, RoleName, Subject, Timestamp},
    policy::{Here, Lack, rows::held},
};

use super::{Spot, can_at, invited, joins::may_have_row, joins_alone, left_by, there};

/// What a member sees of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sight {
    /// They may see, or change, who its members are.
    pub members: bool,
    /// The role of their row there.
    pub role: Option<RoleName>,
    /// The role that they are invited to.
    pub invited: Option<RoleName>,
}

/// Whether somebody may see the members of all resources of a type, by a role of theirs in the tenant.
pub fn sees_all(subject: &Subject, resource: &ResourceRef, here: Here<'_>) -> Result<bool, Lack> {
    let Some(rule) = here.policy.resources.types.get(&resource.kind) else { return Ok(false) };
    let held = held(subject, here.facts, here.policy)?;
    for permission in [rule.list, rule.manage].into_iter().flatten() {
        if held.can(here, permission)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether any resource of a type could show itself to somebody, by the roles that they hold in the tenant. Of resources nothing is
/// looked up for it.
pub fn may_see(subject: &Subject, kind: &ResourceType, here: Here<'_>) -> Result<bool, Lack> {
    let rules = &here.policy.resources;
    let Some(rule) = rules.types.get(kind) else { return Ok(false) };
    let held = held(subject, here.facts, here.policy)?;
    let Some(joins) = rules.joins_by(held) else { return Ok(false) };
    let roles = held.roles();
    let alone = || roles.iter().any(|role| rule.enter.contains_key(*role) || rule.join.contains_key(*role));
    if joins.reach(kind) && (rules.has_rows(kind) || alone()) {
        return Ok(true);
    }
    for permission in [rule.list, rule.manage].into_iter().flatten() {
        // By a row at what it may lie in.
        let above = rules.upwards(kind).filter(|above| joins.reach(above));
        let mut above = above.flat_map(|above| rules.roles.values().filter(|role| role.at == *above));
        if above.any(|role| role.may_hold(permission, kind)) || held.can(here, permission)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a member sees of a resource; `None` where it does not show itself.
pub fn sight(
    subject: &Subject,
    resource: &ResourceRef,
    here: Here<'_>,
    now: Timestamp,
) -> Result<Option<Sight>, Lack> {
    let Some(rule) = here.policy.resources.types.get(&resource.kind) else { return Ok(None) };
    let mut sight = Sight::default();
    for permission in [rule.list, rule.manage].into_iter().flatten() {
        sight.members = sight.members || can_at(subject, Spot::of(resource), permission, here)?;
    }
    sight.role = role_of(subject, resource, here)?;
    if sight.role.is_none() {
        sight.invited = invited(subject, resource, here, now)?.map(|row| row.role.clone());
    }
    let shown = sight != Sight::default() || !joins_alone(subject, resource, here)?.is_empty();
    Ok(shown.then_some(sight))
}

/// The role of somebody's row at a resource, where that counts.
fn role_of(subject: &Subject, resource: &ResourceRef, here: Here<'_>) -> Result<Option<RoleName>, Lack> {
    if !may_have_row(subject, &resource.kind, here)? {
        return Ok(None);
    }
    let row = here.facts.joined(here.tenant, &resource.kind, resource.id.as_str(), &subject.id)?;
    let Some(row) = row.filter(|row| row.removed.is_none() && row.invited.is_none()) else { return Ok(None) };
    let life = there(resource, here)?.map(|place| place.life);
    let counts = life == Some(row.life) && row.left == left_by(&subject.id, here)?;
    Ok(counts.then(|| row.role.clone()))
}
