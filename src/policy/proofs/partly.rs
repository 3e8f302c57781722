//! Routes that are closed to whoever holds what they ask for on a condition only, because nothing says how they are narrowed.
//!
//! A condition (`own`, `assigned`) speaks of things of one type. On what holds such things it counts for nothing unless the answer is
//! narrowed to them. So none of this opens anything; it is told, for a platform team should hear of it before its people do.
//!
//! Never here: how an answer is narrowed.

use std::collections::BTreeSet;

use crate::{
    model::{ResourceType, RoleName},
    policy::{Policy, RoleAt, Rule, resources::MOST_DEPTH},
};

use super::Line;

/// Such a route. Lines are numbers in the list that was handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partly {
    /// The line.
    pub line: usize,
    /// What it acts on, which holds the things.
    pub container: ResourceType,
    /// The roles that hold on a condition only what it asks for, sorted.
    pub roles: BTreeSet<RoleName>,
    /// The types of things that their conditions speak of, and that lie in there.
    pub items: BTreeSet<ResourceType>,
    /// It is narrowed, to things of this type, of which the conditions do not speak.
    pub narrowed_to: Option<ResourceType>,
}

/// All of them, by line.
pub fn partly(policy: &Policy, lines: &[Line<'_>]) -> Vec<Partly> {
    let of_line = |(line, one): (usize, &Line<'_>)| {
        let rule = one.rule;
        let container = rule.resource.as_ref().filter(|_| !rule.public && !rule.whole_only)?;
        let narrowed_to = rule.narrow.as_deref().and_then(|narrow| narrow.kind());
        let (mut roles, mut items) = (BTreeSet::new(), BTreeSet::new());
        for (name, role) in &policy.resources.roles {
            let inside = spoken_of(policy, role, rule, container);
            if !inside.is_empty() && narrowed_to.is_none_or(|kind| !role.of.contains(kind)) {
                roles.insert(name.clone());
                items.extend(inside.into_iter().cloned());
            }
        }
        let narrowed_to = narrowed_to.cloned();
        (!roles.is_empty()).then(|| Partly { line, container: container.clone(), roles, items, narrowed_to })
    };
    lines.iter().enumerate().filter_map(of_line).collect()
}

/// The types of which the conditions speak by which a role would reach a route, where it reaches it by nothing else, and not as
/// things of the route's own type.
fn spoken_of<'p>(
    policy: &'p Policy,
    role: &'p RoleAt,
    rule: &Rule,
    container: &ResourceType,
) -> Vec<&'p ResourceType> {
    let all = role.at_most();
    let conditional = rule.permissions.iter().any(|id| !role.permissions.contains(*id));
    let reaches = rule.permissions.iter().all(|id| all.contains(*id)) && conditional;
    let counts = role.at == *container || lies_in(policy, container, &role.at);
    if !reaches || !counts || role.of.contains(container) {
        return Vec::new();
    }
    role.of.iter().filter(|kind| lies_in(policy, kind, container)).collect()
}

fn lies_in(policy: &Policy, kind: &ResourceType, upper: &ResourceType) -> bool {
    let parent = |kind: &&ResourceType| policy.resources.parent(kind);
    std::iter::successors(policy.resources.parent(kind), parent).take(MOST_DEPTH).any(|one| one == upper)
}
