//! What is kept of how grants came to be given and of what closed the way since: as whom somebody gave one, roles that
//! resources have of their own, what a session by a grant began with, and the marks of a tenant from which on grants of
//! before give nothing.
//!
//! Never here: who may give what, and what a mark means at an instant ([`crate::policy::granting`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    EnvironmentId, Giver, PermissionName, ResourceId, ResourceRef, ResourceType, RoleName, Timestamp,
};

/// As whom somebody gave a grant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GivenAs {
    /// As one who administers support access in their tenant.
    #[default]
    Administrator,
    /// As another member, whom the configuration always lets give.
    Member,
    /// As another member, whom the configuration lets give while their tenant's setting allows it.
    Allowed,
}

impl GivenAs {
    /// Whether it was given by an administrator: what every grant is where nothing else is said.
    pub fn is_administrator(&self) -> bool {
        *self == GivenAs::Administrator
    }
}

/// A resource with the role that a grant gives there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleAt {
    /// The resource's type.
    pub r#type: ResourceType,
    /// Which.
    pub id: ResourceId,
    /// The role.
    pub role: RoleName,
}

/// What a grant covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The whole environment.
    Everything,
    /// These resources only; one that is made later is not among them.
    Resources(BTreeSet<(ResourceType, ResourceId)>),
    /// Likewise, each with a role of its own in place of the grant's.
    Roles(BTreeSet<RoleAt>),
}

impl Scope {
    /// Whether it covers what lies in all of these, each in the next: any of them is enough. None: what is no resource.
    pub fn covers(&self, places: &[(&ResourceType, &str)]) -> bool {
        match self {
            Scope::Everything => true,
            Scope::Resources(all) => {
                places.iter().any(|(kind, id)| all.iter().any(|(k, i)| k == *kind && i.as_str() == *id))
            }
            Scope::Roles(all) => places.iter().any(|place| find(all, place).is_some()),
        }
    }

    /// The role that holds there, where `main` holds wherever no other is said: of several the one that is said of the nearest;
    /// none where it is not covered. Where a resource stands in it twice, the first counts.
    pub fn role_at<'a>(
        &'a self,
        main: Option<&'a RoleName>,
        places: &[(&ResourceType, &str)],
    ) -> Option<&'a RoleName> {
        match self {
            Scope::Roles(all) => places.iter().find_map(|place| find(all, place)),
            Scope::Everything | Scope::Resources(_) => main.filter(|_| self.covers(places)),
        }
    }

    /// All roles that it gives anywhere.
    pub fn roles<'a>(&'a self, main: Option<&'a RoleName>) -> BTreeSet<&'a RoleName> {
        match self {
            Scope::Everything | Scope::Resources(_) => main.into_iter().collect(),
            Scope::Roles(_) => self.own_roles().collect(),
        }
    }

    /// All roles that stand in a grant with this scope, also a `main` that holds at none of its resources; each once.
    pub fn named<'a>(&'a self, main: Option<&'a RoleName>) -> Vec<&'a RoleName> {
        self.own_roles().chain(main).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Each role with each resource at which it is given; without one, what is given in the whole environment, and a `main` that is
    /// given at none of its resources.
    pub fn given<'a>(&'a self, main: Option<&'a RoleName>) -> Vec<(&'a RoleName, Option<ResourceRef>)> {
        let at =
            |kind: &ResourceType, id: &ResourceId| Some(ResourceRef { kind: kind.clone(), id: id.clone() });
        let mut given: Vec<_> = match self {
            Scope::Everything => Vec::new(),
            Scope::Resources(all) => {
                let each = main.into_iter().flat_map(|main| all.iter().map(move |place| (main, place)));
                each.map(|(main, (kind, id))| (main, at(kind, id))).collect()
            }
            Scope::Roles(all) => all.iter().map(|one| (&one.role, at(&one.r#type, &one.id))).collect(),
        };
        if let Some(main) = main.filter(|main| !given.iter().any(|(name, _)| name == main)) {
            given.push((main, None));
        }
        given
    }

    /// The roles that its resources have of their own, in their order.
    pub fn own_roles(&self) -> impl Iterator<Item = &RoleName> {
        let each = if let Scope::Roles(all) = self { Some(all) } else { None };
        each.into_iter().flatten().map(|at| &at.role)
    }

    /// How many resources it names.
    pub fn len(&self) -> usize {
        match self {
            Scope::Everything => 0,
            Scope::Resources(all) => all.len(),
            Scope::Roles(all) => all.len(),
        }
    }

    /// Whether it covers nothing.
    pub fn is_empty(&self) -> bool {
        *self != Scope::Everything && self.len() == 0
    }
}

fn find<'a>(all: &'a BTreeSet<RoleAt>, (kind, id): &(&ResourceType, &str)) -> Option<&'a RoleName> {
    all.iter().find(|at| at.r#type == **kind && at.id.as_str() == *id).map(|at| &at.role)
}

/// What a session by a grant over named resources began with: whatever its grant comes to cover later, it has no more than
/// this (rule 4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Within {
    /// What the grant covered.
    pub scope: Scope,
    /// What the roles that it gave could do then, apart from the session's own: each sorted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub rights: BTreeMap<RoleName, Vec<PermissionName>>,
}

/// When the way by grants was closed last: what was given until then is over, also where the way is open again (law 4).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closings {
    /// In the whole tenant, by what it pays for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan: Option<Timestamp>,
    /// In an environment, by which others there are.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub environments: BTreeMap<EnvironmentId, Timestamp>,
}

impl Closings {
    /// Whether nothing was ever closed.
    pub fn is_empty(&self) -> bool {
        *self == Closings::default()
    }

    /// What holds of two histories: whatever either closed.
    #[must_use]
    pub fn meet(mut self, other: &Closings) -> Closings {
        self.plan = self.plan.max(other.plan);
        for (environment, at) in &other.environments {
            let known = self.environments.entry(environment.clone()).or_insert(*at);
            *known = (*known).max(*at);
        }
        self
    }
}

/// A tenant's choice whether members who are no administrators may give grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// Whether.
    pub allowed: bool,
    /// Grants given until then by it are over: when it was switched off last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub off: Option<Timestamp>,
    /// Who switched it on: who lets others give has let in whoever enters by it (GW-14).
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub by: BTreeSet<Giver>,
}

impl Delegation {
    /// What holds of two histories: it is on where it is on in both.
    #[must_use]
    pub fn meet(one: Option<Delegation>, other: Option<&Delegation>) -> Option<Delegation> {
        match (one, other) {
            (None, None) => None,
            // Off from the start, in one of them.
            (Some(known), None) => Some(Delegation { allowed: false, ..known }),
            (None, Some(known)) => Some(Delegation { allowed: false, ..known.clone() }),
            (Some(a), Some(b)) => Some(Delegation {
                allowed: a.allowed && b.allowed,
                off: a.off.max(b.off),
                by: a.by.union(&b.by).cloned().collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> RoleName {
        RoleName::new(name).unwrap()
    }

    fn at(id: &str, name: &str) -> RoleAt {
        RoleAt { r#type: "flows".parse().unwrap(), id: id.parse().unwrap(), role: role(name) }
    }

    #[test]
    fn a_resource_has_the_role_that_is_said_of_it_and_none_that_is_said_of_others() {
        let (main, flows, files): (_, ResourceType, ResourceType) =
            (role("look"), "flows".parse().unwrap(), "files".parse().unwrap());
        let each = Scope::Roles([at("a", "look"), at("b", "change")].into());
        let named = Scope::Resources([("flows".parse().unwrap(), "a".parse().unwrap())].into());
        assert_eq!(each.role_at(Some(&main), &[(&flows, "a")]), Some(&role("look")));
        assert_eq!(each.role_at(None, &[(&flows, "b")]), Some(&role("change")));
        // What lies in another: the nearest of which something is said.
        let below = |id| [(&files, "f"), (&flows, id), (&flows, "b")];
        assert_eq!(each.role_at(None, &below("a")), Some(&role("look")));
        assert_eq!(each.role_at(None, &below("c")), Some(&role("change")));
        assert!(named.covers(&below("a")) && !named.covers(&below("c")));
        for elsewhere in [&[][..], &[(&flows, "c")], &[(&flows, "A")], &[(&files, "a")]] {
            for scope in [&each, &named] {
                assert!(!scope.covers(elsewhere), "{elsewhere:?}");
                assert_eq!(scope.role_at(Some(&main), elsewhere), None, "{elsewhere:?}");
            }
            assert_eq!(Scope::Everything.role_at(Some(&main), elsewhere), Some(&main));
        }
        assert_eq!(each.roles(Some(&main)), [&role("change"), &role("look")].into());
        assert!(Scope::Roles(BTreeSet::new()).is_empty() && !Scope::Everything.is_empty());
    }

    #[test]
    fn of_two_histories_what_either_closed_is_closed() {
        let mark = |ms| Some(Timestamp::from_ms(ms));
        let sandbox: EnvironmentId = "sandbox".parse().unwrap();
        let a = Closings { plan: mark(5), environments: [(sandbox.clone(), Timestamp::from_ms(9))].into() };
        let b = Closings { plan: mark(7), environments: [(sandbox.clone(), Timestamp::from_ms(3))].into() };
        let both = a.clone().meet(&b);
        assert_eq!(both, b.meet(&a));
        assert_eq!((both.plan, both.environments[&sandbox].ms()), (mark(7), 9));
        let on = Delegation { allowed: true, off: mark(1), by: BTreeSet::new() };
        let off = Delegation { allowed: false, off: mark(4), by: BTreeSet::new() };
        assert_eq!(Delegation::meet(Some(on.clone()), Some(&off)), Some(off.clone()));
        assert!(!Delegation::meet(None, Some(&on)).unwrap().allowed);
        assert!(!Delegation::meet(Some(on), None).unwrap().allowed);
        assert_eq!(Delegation::meet(None, None), None);
    }
}
