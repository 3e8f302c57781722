//! Who may be a member of which resources: by the roles that they hold in the tenant, and by themselves without being asked.
//!
//! Never here: what a row gives ([`super`]), or who writes one ([`crate::lifecycle`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{ResourceRef, ResourceType, RoleName, Subject},
    policy::{
        Here, Lack,
        rows::{Held, held},
    },
};

use super::{ResourceRules, there};

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
    let held = held(subject, here.facts, here.policy)?;
    let roles: BTreeSet<&RoleName> = match held {
        Held::Token(roles) => roles.iter().collect(),
        Held::Row(row) => row.roles.iter().collect(),
        Held::Nothing(_) => return Ok(BTreeSet::new()),
    };
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
