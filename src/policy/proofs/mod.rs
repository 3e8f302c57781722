//! What is proved of a policy before it comes into force, each failure with a request that breaks it.
//!
//! Lives here, as pure functions over what the configuration compiled to: levels that rise, reading levels that reach
//! nothing that writes, ceilings that no role and no detour reaches (law 5). That each request has one owner is proved where
//! the map is compiled ([`super::routes`]). Never here: places in files, texts for people.

mod ceiling;
mod partly;

use std::{collections::BTreeSet, fmt};

use http::Method;

use super::{
    Effect, PermissionId, PermissionSet, Policy, Role, Rule,
    routes::{Rewrite, RouteTable, Template},
};
use crate::model::{LevelName, Rank, RoleName};

pub use partly::{Partly, partly};

/// One line of the map, with all that the proofs look at.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// The host it holds for; `None` is every host.
    pub host: Option<&'a str>,
    /// The methods it owns.
    pub methods: &'a [Method],
    /// The paths it owns.
    pub template: &'a Template,
    /// What it demands.
    pub rule: &'a Rule,
    /// Its `GET` may become a tunnel, of which nobody knows what it does (rule 12).
    pub upgrade: bool,
    /// What becomes of its paths.
    pub rewrite: &'a Rewrite,
    /// Lines with the same number reach the same application in a way in which it cannot tell hosts apart; `None`: it
    /// is told the host that the client named.
    pub application: Option<usize>,
}

/// A request that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its host, where that matters.
    pub host: Option<String>,
    /// Its path, canonical.
    pub path: String,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.method, self.host.as_deref().unwrap_or_default(), self.path)
    }
}

/// What does not hold. Lines are numbers in the list that was handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// A level gives less than one below it.
    NotMonotone {
        /// The higher level.
        rank: Rank,
        /// The one below it.
        below: Rank,
        /// What it lacks, sorted by name.
        lacks: Vec<PermissionId>,
        /// A request that the lower level admits and the higher one refuses, if the map has one.
        request: Option<(usize, Request)>,
    },
    /// A level that only reads reaches a route that writes.
    ReadingLevelWrites {
        /// The level.
        rank: Rank,
        /// The route.
        line: usize,
        /// A request that it admits.
        request: Request,
    },
    /// A role holds for staff what the ceiling takes.
    CeilingHeld {
        /// The role.
        role: RoleName,
        /// A route that is closed to staff, and that the role reaches.
        line: usize,
        /// A request that it admits.
        request: Request,
    },
    /// A request that is not closed to staff reaches in the application what a closed route owns.
    CeilingPassed {
        /// The route that is closed.
        closed: usize,
        /// The route that passes it.
        by: usize,
        /// The request.
        request: Request,
        /// The path under which the application gets it, where that is another one.
        forwarded: Option<String>,
    },
    /// Closed routes overlap with others in too many ways to look at each.
    TooEntangled {
        /// The closed route at which the bound was passed.
        closed: usize,
    },
}

/// Proves a policy over its map; empty when all holds. `reading` are the levels that only read; `table` is the map compiled,
/// whose ids are the numbers of `lines`.
pub fn prove(
    policy: &Policy,
    lines: &[Line<'_>],
    table: &RouteTable,
    reading: &BTreeSet<LevelName>,
) -> Vec<Broken> {
    let mut broken = not_monotone(policy, lines, table);
    broken.extend(reading_levels(policy, lines, table, reading));
    broken.extend(held_by_roles(policy, lines, table));
    broken.extend(ceiling::passed(policy, lines, table));
    broken
}

/// What a role gives to staff, the ceiling taken off.
fn staff_set(policy: &Policy, role: &Role) -> PermissionSet {
    let mut set = PermissionSet::default();
    for (id, _) in policy.catalogue.iter() {
        if role.permissions.contains(id) && !policy.above_ceiling(id) {
            set.insert(id);
        }
    }
    set
}

/// Whether a role with these permissions opens a route to staff.
fn opens(set: &PermissionSet, rule: &Rule) -> bool {
    !rule.public && !rule.permissions.is_empty() && rule.permissions.iter().all(|id| set.contains(*id))
}

fn example(line: &Line<'_>, method: &Method, table: &RouteTable) -> Request {
    Request {
        method: method.clone(),
        host: line.host.map(str::to_owned),
        path: line.template.example(table.filler()),
    }
}

/// A request of a line, whatever its method.
fn any(line: &Line<'_>, table: &RouteTable) -> Option<Request> {
    line.methods.first().map(|method| example(line, method, table))
}

fn not_monotone(policy: &Policy, lines: &[Line<'_>], table: &RouteTable) -> Vec<Broken> {
    let mut broken = Vec::new();
    let mut last: Option<(Rank, PermissionSet)> = None;
    for (rank, level) in policy.ladder.levels().iter().enumerate() {
        // A role that is not known gives nothing, and is told elsewhere.
        let Some(role) = level.role.as_ref().and_then(|name| policy.role(name)) else { continue };
        let set = staff_set(policy, role);
        if let Some((below, lower)) = &last
            && !lower.is_within(&set)
        {
            let lost = |id: &PermissionId| lower.contains(*id) && !set.contains(*id);
            let lacks = policy.catalogue.iter().map(|(id, _)| id).filter(lost).collect();
            let refused = |(_, line): &(usize, &Line<'_>)| opens(lower, line.rule) && !opens(&set, line.rule);
            let request = lines.iter().enumerate().find(refused);
            let request = request.and_then(|(number, line)| Some((number, any(line, table)?)));
            broken.push(Broken::NotMonotone { rank, below: *below, lacks, request });
        }
        last = Some((rank, set));
    }
    broken
}

fn reading_levels(
    policy: &Policy,
    lines: &[Line<'_>],
    table: &RouteTable,
    reading: &BTreeSet<LevelName>,
) -> Vec<Broken> {
    let levels: Vec<(Rank, PermissionSet)> = policy
        .ladder
        .levels()
        .iter()
        .enumerate()
        .filter(|(_, level)| reading.contains(&level.name))
        .filter_map(|(rank, level)| Some((rank, staff_set(policy, policy.role(level.role.as_ref()?)?))))
        .collect();
    let mut broken = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let upgrades = |method: &Method| line.upgrade && method == Method::GET;
        let writes = |method: &&Method| line.rule.effect(method, upgrades(method)) == Effect::Write;
        let Some(method) = line.methods.iter().find(writes) else { continue };
        if let Some((rank, _)) = levels.iter().find(|(_, set)| opens(set, line.rule)) {
            let request = example(line, method, table);
            broken.push(Broken::ReadingLevelWrites { rank: *rank, line: number, request });
        }
    }
    broken
}

/// What the decision relies on: what is left of a role without the ceiling opens no closed route.
fn held_by_roles(policy: &Policy, lines: &[Line<'_>], table: &RouteTable) -> Vec<Broken> {
    let roles: Vec<(&RoleName, PermissionSet)> =
        policy.roles.iter().map(|(name, role)| (name, staff_set(policy, role))).collect();
    let mut broken = Vec::new();
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| closed(policy, line.rule)) {
        for (role, set) in &roles {
            if opens(set, line.rule)
                && let Some(request) = any(line, table)
            {
                broken.push(Broken::CeilingHeld { role: (*role).clone(), line: number, request });
            }
        }
    }
    broken
}

/// Whether a rule is closed to staff at every level and on any basis.
fn closed(policy: &Policy, rule: &Rule) -> bool {
    !rule.public && rule.permissions.iter().any(|id| policy.above_ceiling(*id))
}
