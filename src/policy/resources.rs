//! Resources below a tenant: which types there are, which roles are held at which type, and what somebody can do at a resource by
//! the rows that there are of them there and above it.
//!
//! What a path says of where a resource lies is not believed but known: pushed by a service, or left to the application where
//! the route declares that this checks it. What nobody knows gives nothing; what the path contradicts closes every row.
//!
//! A policy without types of resources looks nothing up for any of this, and neither does a permission that is held in the tenant.
//!
//! Never here: who writes rows ([`crate::lifecycle`]).

mod handing;
mod joins;
mod sight;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{PlanName, Resource, ResourceRef, ResourceType, RoleName, Span, Subject, SubjectRef};

use super::{
    Here, Lack, PermissionId, PermissionSet, Plans, Rule,
    chain::{Chain, Known, Link, known},
    has_plan,
    look_up::LookUp,
    rows::{Bound, Held, held},
};

pub use handing::{Handed, beyond};
pub use joins::{Joins, invited, joins_alone, still_given};
pub use sight::{Sight, may_see, sees_all, sight};

/// How many resources may lie in each other, the tenant not counted.
pub const MOST_DEPTH: usize = 4;
/// How many resources a path may name beside the one that is acted on.
pub const MOST_WITHIN: usize = MOST_DEPTH - 1;

/// How long an invitation stands.
pub const INVITED_FOR: Span = Span::CalendarDays(14);

/// What the path names of the resources that the one acted on lies in: by number in [`Within::types`].
pub type Outer<'a> = [Option<&'a str>; MOST_WITHIN];

/// What a route says of the resources that the one acted on lies in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Within {
    /// The types of those that the path names, nearest first; at most [`MOST_WITHIN`].
    pub types: Vec<ResourceType>,
    /// The application checks that the resource lies there.
    pub checked: bool,
}

/// A type of resources.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TypeRule {
    /// The type of what its resources lie in; `None` is the tenant.
    pub parent: Option<ResourceType>,
    /// What it takes at a resource to add, change and remove its members; `None` leaves that to services.
    pub manage: Option<PermissionId>,
    /// What it takes there to see who its members are, beside managing them.
    pub list: Option<PermissionId>,
    /// Who joins a public one without being asked, by a role in the tenant, and in which role.
    pub join: BTreeMap<RoleName, RoleName>,
    /// Who joins a private one so.
    pub enter: BTreeMap<RoleName, RoleName>,
    /// How long an invitation stands at most; [`INVITED_FOR`] where nothing is said.
    pub invited_for: Option<Span>,
    /// How one that the store knows nothing of is looked up at its application.
    pub look_up: Option<Box<LookUp>>,
}

impl TypeRule {
    /// How long an invitation stands at most, and where whoever invites says nothing.
    pub fn invitation_lasts(&self) -> Span {
        self.invited_for.unwrap_or(INVITED_FOR)
    }
}

/// A role that is held at resources of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleAt {
    /// Of which type.
    pub at: ResourceType,
    /// What it may do there and below.
    pub permissions: PermissionSet,
    /// What it may do with a resource that its holder made.
    pub own: PermissionSet,
    /// What it may do with a resource that is assigned to its holder.
    pub assigned: PermissionSet,
    /// Of which types the resources are that the two before speak of. None of them lies in another: whoever made a list
    /// did not make what stands in it (PFP-16).
    pub of: BTreeSet<ResourceType>,
    /// No member of a resource takes this role from its last holder.
    pub keep_one: bool,
    /// The plans by which it is handed out; `None` is any, and none too.
    pub plans: Plans,
}

impl RoleAt {
    /// Whether it gives this to that person at a resource. A condition is about that resource and about no other.
    pub(super) fn holds(
        &self,
        permission: PermissionId,
        person: &SubjectRef,
        acted_on: Option<&Link<'_>>,
    ) -> bool {
        let told = || acted_on.filter(|link| self.of.contains(link.kind)).and_then(|link| link.known);
        let made = || told().is_some_and(|resource| resource.creator.as_ref() == Some(person));
        let assigned = || told().is_some_and(|resource| resource.assignees.contains(person));
        self.permissions.contains(permission)
            || (self.own.contains(permission) && made())
            || (self.assigned.contains(permission) && assigned())
    }

    /// Whether it would give this at a resource if a look-up told that it is theirs.
    pub(super) fn could_hold(&self, permission: PermissionId, acted_on: Option<&Link<'_>>) -> bool {
        acted_on.filter(|link| self.of.contains(link.kind)).is_some_and(|link| {
            let (made, assigned) = link.may_be_theirs();
            (made && self.own.contains(permission)) || (assigned && self.assigned.contains(permission))
        })
    }

    /// Whether it may give this at some resources of that type.
    pub(super) fn may_hold(&self, permission: PermissionId, kind: &ResourceType) -> bool {
        let conditional = self.own.contains(permission) || self.assigned.contains(permission);
        self.permissions.contains(permission) || (conditional && self.of.contains(kind))
    }

    /// Whether it is handed out in a tenant with that plan. Whoever holds it keeps it, whatever the plan (PFP-10).
    pub fn in_plan(&self, plan: Option<&PlanName>) -> bool {
        has_plan(&self.plans, plan)
    }

    /// All that it may give, whoever holds it and whatever it is about.
    pub fn at_most(&self) -> PermissionSet {
        let mut all = self.permissions.clone();
        all.add(&self.own);
        all.add(&self.assigned);
        all
    }

    /// Whether whoever holds it can do nothing that holders of the other cannot.
    pub fn is_within(&self, other: &RoleAt) -> bool {
        let with = |set: &PermissionSet| {
            let mut all = other.permissions.clone();
            if self.of.is_subset(&other.of) {
                all.add(set);
            }
            all
        };
        self.permissions.is_within(&other.permissions)
            && self.own.is_within(&with(&other.own))
            && self.assigned.is_within(&with(&other.assigned))
    }
}

/// What the configuration says of resources.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResourceRules {
    /// The types.
    pub types: BTreeMap<ResourceType, TypeRule>,
    /// The roles that are held at them. None of these names means anything in a token or in a row of the tenant's.
    pub roles: BTreeMap<RoleName, RoleAt>,
    /// The roles of the tenant whose holders are members of resources of these types only; of none where there are none.
    pub joins: BTreeMap<RoleName, BTreeSet<ResourceType>>,
}

impl ResourceRules {
    /// The type of what resources of this type lie in.
    pub fn parent(&self, kind: &ResourceType) -> Option<&ResourceType> {
        self.types.get(kind).and_then(|rule| rule.parent.as_ref())
    }

    /// A role that is held at this type.
    pub fn role_at(&self, name: &RoleName, kind: &ResourceType) -> Option<&RoleAt> {
        self.roles.get(name).filter(|role| role.at == *kind)
    }

    /// Of which resources whoever holds these roles in the tenant may be a member.
    pub fn joins_of<'r>(&self, roles: impl IntoIterator<Item = &'r RoleName>) -> Joins<'_> {
        if self.joins.is_empty() {
            return Joins::default();
        }
        Joins::of(roles.into_iter().filter_map(|role| self.joins.get(role)))
    }

    /// The same of what somebody holds; `None` where that is nothing.
    pub fn joins_by(&self, held: Held<'_>) -> Option<Joins<'_>> {
        match held {
            Held::Token(roles) => Some(self.joins_of(roles)),
            Held::Row(row) => Some(self.joins_of(&row.roles)),
            Held::Nothing(_) => None,
        }
    }

    /// A type, and those that its resources lie in, nearest first.
    fn upwards<'r>(&'r self, kind: &'r ResourceType) -> impl Iterator<Item = &'r ResourceType> {
        std::iter::successors(Some(kind), |kind| self.parent(kind)).take(MOST_DEPTH)
    }

    /// The name of a role that is held at this type.
    pub fn role_named(&self, name: &str, kind: &ResourceType) -> Option<&RoleName> {
        self.roles.iter().find(|(one, role)| one.as_str() == name && role.at == *kind).map(|(one, _)| one)
    }

    /// Whether any of them is looked up at its application.
    pub fn looks_up(&self) -> bool {
        self.types.values().any(|rule| rule.look_up.is_some())
    }

    pub(super) fn has_rows(&self, kind: &ResourceType) -> bool {
        self.roles.values().any(|role| role.at == *kind)
    }
}

/// A resource that is acted on, with what is said of where it lies.
#[derive(Debug, Clone, Copy)]
pub struct Spot<'a> {
    kind: &'a ResourceType,
    id: &'a str,
    types: &'a [ResourceType],
    outer: Outer<'a>,
    checked: bool,
    about: About<'a>,
}

/// What is done with a resource that is acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum About<'a> {
    /// It is what is seen or changed: whose it is counts.
    #[default]
    Itself,
    /// Things in it are, or anything at all: what somebody may do with some of that does not count.
    All,
    /// Things of this type in it are listed: what they may do with some of them counts.
    Some(&'a ResourceType),
}

impl<'a> Spot<'a> {
    /// What a request acts on, where its route names a resource.
    pub fn of_route(rule: &'a Rule, resource: Option<&'a str>, outer: Outer<'a>) -> Option<Spot<'a>> {
        let (kind, id) = (rule.resource.as_ref()?, resource?);
        let about = if rule.narrow.is_some() || rule.whole_only { About::All } else { About::Itself };
        Some(Spot { kind, id, types: &rule.within.types, outer, checked: rule.within.checked, about })
    }

    /// The same, asked for what may be done with some of the things of this type in it.
    #[must_use]
    pub(super) fn of_some(self, items: &'a ResourceType) -> Spot<'a> {
        Spot { about: About::Some(items), ..self }
    }

    /// The same, asked for what may be done there and below whosever it is.
    #[must_use]
    pub fn whole(self) -> Spot<'a> {
        Spot { about: About::All, ..self }
    }

    /// A resource of which nothing else is said.
    pub fn of(resource: &'a ResourceRef) -> Spot<'a> {
        Spot::at(&resource.kind, resource.id.as_str())
    }

    /// The same by type and identifier.
    pub(super) fn at(kind: &'a ResourceType, id: &'a str) -> Spot<'a> {
        let outer = Outer::default();
        Spot { kind, id, types: &[], outer, checked: false, about: About::Itself }
    }

    /// Itself, and what it is known to lie in, nearest first. Nothing where nothing counts. Where it is worth a look-up, `matters`
    /// says: see `Chain::places`.
    pub fn places(
        self,
        here: Here<'a>,
        matters: impl Fn(&[(&'a ResourceType, &'a str)], &[&'a ResourceType]) -> bool,
    ) -> Result<Vec<(&'a ResourceType, &'a str)>, Lack> {
        if here.policy.resources.types.is_empty() {
            return Ok(vec![(self.kind, self.id)]);
        }
        Chain::of(self, here)?.places(here, matters)
    }

    pub(super) fn itself(&self) -> (&'a ResourceType, &'a str) {
        (self.kind, self.id)
    }

    pub(super) fn about(&self) -> About<'a> {
        self.about
    }

    /// Whether the application checks that it lies where the path says.
    pub(super) fn is_checked(&self) -> bool {
        self.checked
    }

    /// The id of the resource of that type: of itself, or of what the path says that it lies in.
    pub fn id_of(&self, kind: &ResourceType) -> Option<&'a str> {
        if kind == self.kind { Some(self.id) } else { self.names(kind) }
    }

    /// A resource with what was named of what it lies in.
    pub fn named(
        resource: &'a ResourceRef,
        types: &'a [ResourceType],
        outer: Outer<'a>,
        checked: bool,
    ) -> Spot<'a> {
        Spot { types, outer, checked, ..Spot::of(resource) }
    }

    pub(super) fn names(&self, kind: &ResourceType) -> Option<&'a str> {
        let at = self.types.iter().position(|one| one == kind)?;
        self.outer.get(at).copied().flatten()
    }
}

/// A resource that is there, in this life of the tenant.
pub fn there<'a>(resource: &ResourceRef, here: Here<'a>) -> Result<Option<&'a Resource>, Lack> {
    Ok(match known(&resource.kind, resource.id.as_str(), here)? {
        Known::Is(resource) => Some(resource),
        Known::Not | Known::Gone => None,
    })
}

/// How often somebody left all resources, as far as rows of the tenant say it: that is where they are the source.
pub fn left_by(person: &SubjectRef, here: Here<'_>) -> Result<u32, Lack> {
    if !here.policy.callers.by_row.contains(&person.issuer) {
        return Ok(0);
    }
    Ok(here.facts.member(here.tenant, person)?.map_or(0, |row| row.left))
}

impl Held<'_> {
    /// Whether a row at a resource gives its member this, by whatever it lies in too.
    pub fn can_at<'f>(
        self,
        person: &SubjectRef,
        spot: Option<Spot<'f>>,
        permission: PermissionId,
        here: Here<'f>,
    ) -> Result<bool, Lack> {
        let Some(joins) = here.policy.resources.joins_by(self) else { return Ok(false) };
        gives_at((person, joins), spot, permission, None, here)
    }
}

impl Bound<'_> {
    /// The same of whoever gave a grant. A row that whoever uses it gave them themselves, as another person of the tenant, does not
    /// count (GW-14).
    pub fn can_at<'f>(
        self,
        person: &SubjectRef,
        spot: Option<Spot<'f>>,
        permission: PermissionId,
        user: &Subject,
        here: Here<'f>,
    ) -> Result<bool, Lack> {
        let joins = match self {
            Bound::Row(row) => here.policy.resources.joins_of(&row.roles),
            Bound::Remembered(known, _) if known.roles.is_empty() => return Ok(false),
            Bound::Remembered(known, _) => here.policy.resources.joins_of(known.roles.iter().flatten()),
        };
        gives_at((person, joins), spot, permission, Some(user), here)
    }
}

/// Whether a row that counts gives them this. Nothing is looked up where no row could.
fn gives_at<'f>(
    (person, joins): (&SubjectRef, Joins<'_>),
    spot: Option<Spot<'f>>,
    permission: PermissionId,
    but: Option<&Subject>,
    here: Here<'f>,
) -> Result<bool, Lack> {
    let rules = &here.policy.resources;
    let any =
        |spot: &Spot<'_>| !rules.roles.is_empty() && rules.upwards(spot.kind).any(|kind| joins.reach(kind));
    let Some(spot) = spot.filter(any) else { return Ok(false) };
    Chain::of(spot, here)?.gives((person, &joins, left_by(person, here)?), permission, but, here)
}

/// Whether a member can do this at a resource: by a role of theirs in the tenant, or by a row there or above it.
pub fn can_at(
    subject: &Subject,
    spot: Spot<'_>,
    permission: PermissionId,
    here: Here<'_>,
) -> Result<bool, Lack> {
    let held = held(subject, here.facts, here.policy)?;
    Ok(held.can(here, permission)? || held.can_at(&subject.id, Some(spot), permission, here)?)
}
