//! Who may be a member of which resources: by the roles that they hold in the tenant, and by themselves without being asked.
//!
//! Never here: what a row gives ([`super`]), or who writes one ([`crate::lifecycle`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{Joined, ResourceRef, ResourceType, RoleName, Subject, Timestamp},
    policy::{
        Here, Lack,
        rows::{has_left, held, held_of},
    },
};

use super::{ResourceRules, Spot, left_by, there};

/// Of resources of which types somebody may be a member, by the roles that they hold in the tenant: each of these sets bounds it.
#[derive(Debug, Clone, Default)]
pub struct Joins<'a>(Vec<&'a BTreeSet<ResourceType>>);

impl<'a> Joins<'a> {
    /// Bounded by each of these.
    pub(super) fn of(sets: impl Iterator<Item = &'a BTreeSet<ResourceType>>) -> Joins<'a> {
        Joins(sets.collect())
    }

    /// Whether of one of this type.
    pub fn reach(&self, kind: &ResourceType) -> bool {
        self.0.iter().all(|only| only.contains(kind))
    }

    /// Whether they reach no type that the others do not.
    pub fn are_within(&self, others: &Joins<'_>, rules: &ResourceRules) -> bool {
        rules.types.keys().all(|kind| others.reach(kind) || !self.reach(kind))
    }
}

/// The roles in which a member may join a resource without being asked. Nothing is looked up where the configuration lets nobody.
pub fn joins_alone(
    subject: &Subject,
    resource: &ResourceRef,
    here: Here<'_>,
) -> Result<BTreeSet<RoleName>, Lack> {
    let rules = &here.policy.resources;
    let Some(rule) = rules.types.get(&resource.kind) else { return Ok(BTreeSet::new()) };
    if rule.join.is_empty() && rule.enter.is_empty() {
        return Ok(BTreeSet::new());
    }
    let roles = held(subject, here.facts, here.policy)?.roles();
    if !rules.joins_of(roles.iter().copied()).reach(&resource.kind) {
        return Ok(BTreeSet::new());
    }
    let Some(place) = there(resource, here)? else { return Ok(BTreeSet::new()) };
    let by = |map: &BTreeMap<RoleName, RoleName>| -> Vec<RoleName> {
        roles.iter().filter_map(|role| map.get(*role)).cloned().collect()
    };
    let mut all: BTreeSet<RoleName> = by(&rule.enter).into_iter().collect();
    if place.public {
        all.extend(by(&rule.join));
    }
    Ok(all)
}

/// Whether a row of somebody's at a resource of this type could count, by the roles that they hold in the tenant: where not, none is
/// looked for.
pub(super) fn may_have_row(subject: &Subject, kind: &ResourceType, here: Here<'_>) -> Result<bool, Lack> {
    let rules = &here.policy.resources;
    if !rules.has_rows(kind) {
        return Ok(false);
    }
    let joins = rules.joins_by(held(subject, here.facts, here.policy)?);
    Ok(joins.is_some_and(|joins| joins.reach(kind)))
}

/// The invitation by which a member may join a resource, where one stands at this instant.
pub fn invited<'a>(
    subject: &Subject,
    resource: &ResourceRef,
    here: Here<'a>,
    now: Timestamp,
) -> Result<Option<&'a Joined>, Lack> {
    if !may_have_row(subject, &resource.kind, here)? {
        return Ok(None);
    }
    let row = here.facts.joined(here.tenant, &resource.kind, resource.id.as_str(), &subject.id)?;
    let Some(row) = row.filter(|row| row.invited.is_some() && row.removed.is_none() && !row.is_over(now))
    else {
        return Ok(None);
    };
    let life = there(resource, here)?.map(|place| place.life);
    if life != Some(row.life) || row.left != left_by(&subject.id, here)? {
        return Ok(None);
    }
    Ok(still_given(row, resource, here)?.then_some(row))
}

/// Whether whoever gave an invitation could give it anew, as far as rows say it. Of those whose roles stand in their tokens nobody
/// knows what they hold now: their invitations stand until their time is over, or a row says that they left. Of an issuer that
/// members have no more nobody gives anything.
pub fn still_given(row: &Joined, resource: &ResourceRef, here: Here<'_>) -> Result<bool, Lack> {
    let (rules, catalogue) = (&here.policy.resources, &here.policy.catalogue);
    let Some(role) = rules.role_at(&row.role, &resource.kind) else { return Ok(false) };
    let manage = rules.types.get(&resource.kind).and_then(|rule| rule.manage);
    let all = role.at_most();
    let callers = &here.policy.callers;
    for giver in &row.by {
        let is_member = callers.members.contains(&giver.person.issuer);
        if !is_member || has_left(&giver.person, here.tenant, here.facts, here.policy)? {
            return Ok(false);
        }
        if !callers.by_row.contains(&giver.person.issuer) {
            continue;
        }
        let held = held_of(&giver.person, here.tenant, here.facts)?;
        let Some(manage) = manage else { return Ok(false) };
        let given = catalogue.iter().map(|(id, _)| id).filter(|id| all.contains(*id));
        let needed = std::iter::once((manage, Spot::of(resource)));
        for (permission, spot) in needed.chain(given.map(|id| (id, Spot::of(resource).whole()))) {
            let can =
                held.can(here, permission)? || held.can_at(&giver.person, Some(spot), permission, here)?;
            if !can {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
