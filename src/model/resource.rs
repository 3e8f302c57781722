//! Resources below a tenant, the rows of their members, and how many there are.
//!
//! `docs/decisions/0019-resources.md` says why each row is a document of its own, and the counts another.
//!
//! Never here: what a row gives ([`crate::policy::resources`]), or who writes one ([`crate::lifecycle`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::{
    Giver, Learned, ResourceId, ResourceType, RoleName, SubjectRef, TenantId, Timestamp, document::is_zero,
};

/// How much a resource may say of people, by [`Resource::size`]: a record of its change still fits into a line of the ledger.
pub const RESOURCE_MOST: usize = 6_000;

/// The name of a resource in its tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceRef {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ResourceType,
    /// Its identifier, as the application names it.
    pub id: ResourceId,
}

/// The type of the tenant itself; none of `resource_types` bears it.
pub const TENANT_TYPE: &str = "tenant";

impl ResourceRef {
    /// The tenant itself, as what is counted of its people is kept.
    pub fn of_tenant(tenant: &TenantId) -> Option<ResourceRef> {
        let (kind, id) = (ResourceType::new(TENANT_TYPE).ok()?, ResourceId::new(tenant.as_str()).ok()?);
        Some(ResourceRef { kind, id })
    }
}

impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}

/// A resource, as far as Postern knows it. What is not known of it gives nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// The one that it lies in; `None` where that is the tenant, or nobody knows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parent: Option<ResourceRef>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub creator: Option<SubjectRef>,
    /// To whom it is assigned.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub assignees: BTreeSet<SubjectRef>,
    /// Whether it shows itself to everybody in the tenant. Whatever nobody said is private.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub public: bool,
    /// Since when it is gone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub removed: Option<Timestamp>,
    /// The tenant's [`life`](super::Tenant::life) when it was said; in another one it says nothing.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub tenant_life: u32,
    /// How often it came back. Rows of before count no more.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub life: u32,
    /// Where it was learned from; `None` where a service said it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub learned: Option<Learned>,
}

impl Resource {
    /// About how many bytes what it says of people takes.
    pub fn size(&self) -> usize {
        self.creator.iter().chain(&self.assignees).map(|person| 40 + person.sub.len()).sum()
    }

    /// What holds of two histories: of what they contradict each other in nobody knows anything.
    #[must_use]
    pub fn meet(self, other: &Resource) -> Resource {
        let learned = Learned::meet(&self, other);
        Resource {
            learned,
            parent: self.parent.filter(|parent| other.parent.as_ref() == Some(parent)),
            creator: self.creator.filter(|creator| other.creator.as_ref() == Some(creator)),
            assignees: self.assignees.intersection(&other.assignees).cloned().collect(),
            public: self.public && other.public,
            removed: self.removed.max(other.removed),
            tenant_life: self.tenant_life.min(other.tenant_life),
            life: self.life.max(other.life),
        }
    }
}

/// One member of a resource: a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joined {
    /// The role they hold there; a name that no policy knows gives nothing.
    pub role: RoleName,
    /// Since when they are a member, in whichever role.
    pub since: Timestamp,
    /// Since when they are none any more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub removed: Option<Timestamp>,
    /// The resource's [`life`](Resource::life) when it was written; in another one it counts no more.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub life: u32,
    /// The member's [`left`](super::Member::left) when it was written; behind another one it counts no more.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub left: u32,
    /// The members who gave it, if it was no service: what somebody gave as one of a tenant's people they do not use as one of the
    /// vendor's (GW-14).
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub by: BTreeSet<Giver>,
    /// They are no member yet, and may become one by themselves.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub invited: Option<Invitation>,
    /// Roles that histories which contradict each other said they held: uninvited they come back to no more than each of these.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub bounds: BTreeSet<RoleName>,
}

/// Of a row that is an invitation: it gives nothing, and is counted nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    /// From when on it is nothing.
    pub until: Timestamp,
    /// The role of the row that it took the place of, of one who had been a member: not invited any more they come back to no more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held: Option<RoleName>,
}

impl Joined {
    /// Whether it is among those that are counted.
    pub fn is_counted(&self, life: u32) -> bool {
        self.is_there(life) && self.invited.is_none()
    }

    /// Whether it is a member's in this life of the resource, or somebody's who is invited.
    pub fn is_there(&self, life: u32) -> bool {
        self.removed.is_none() && self.life == life
    }

    /// Whether it is an invitation whose time is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.invited.as_ref().is_some_and(|invited| invited.until <= now)
    }

    /// The role that they hold as a member, or held last.
    pub fn held(&self) -> Option<&RoleName> {
        match &self.invited {
            None => Some(&self.role),
            Some(invited) => invited.held.as_ref(),
        }
    }

    /// The roles that each bound what they come back to uninvited; none where they never were a member.
    pub fn bounds(&self) -> impl Iterator<Item = &RoleName> {
        self.held().into_iter().chain(&self.bounds)
    }

    /// What holds of two histories: gone where it is gone in one, or where they say different things. Uninvited nobody comes back to
    /// more than they had in either.
    #[must_use]
    pub fn meet(self, other: &Joined) -> Joined {
        let mut bounds: BTreeSet<RoleName> = self.bounds().chain(other.bounds()).cloned().collect();
        // Of a role that one of the two only invites to nobody was a member.
        let role = match (&self.invited, &other.invited) {
            (Some(_), None) => &other.role,
            (None, Some(_)) => &self.role,
            (None, None) | (Some(_), Some(_)) => (&self.role).min(&other.role),
        };
        let role = role.clone();
        let invited = match (&self.invited, &other.invited) {
            (Some(one), Some(another)) => {
                let held = one.held.clone().filter(|held| another.held.as_ref() == Some(held));
                Some(Invitation { until: one.until.min(another.until), held })
            }
            _ => None,
        };
        let held = |row: &Joined| row.invited.as_ref().map(|invited| invited.held.clone());
        let same = (&self.role, self.life, self.left, held(&self))
            == (&other.role, other.life, other.left, held(other));
        let conflict = (!same).then(|| self.since.max(other.since));
        let met = Joined {
            since: self.since.max(other.since),
            removed: self.removed.max(other.removed).max(conflict),
            // Where these differ it is gone; what bounds them counts in the later life.
            life: self.life.max(other.life),
            left: self.left.max(other.left),
            by: self.by.union(&other.by).cloned().collect(),
            invited,
            bounds: BTreeSet::new(),
            role,
        };
        if let Some(held) = met.held() {
            bounds.remove(held);
        }
        Joined { bounds, ..met }
    }
}

/// How many members a resource has, in the same commit as their rows. It opens nothing: what it is for is that the last holder of a
/// role stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// By role. Roles that nobody holds are not in it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub roles: BTreeMap<RoleName, u64>,
    /// Of the tenant itself ([`ResourceRef::of_tenant`]): how many of its people take a paid seat.
    #[serde(skip_serializing_if = "is_nothing", default)]
    pub seats: u64,
    /// The resource's [`life`](Resource::life) that is counted, or the tenant's.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub life: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_nothing(number: &u64) -> bool {
    *number == 0
}

impl Tally {
    /// All of them.
    pub fn members(&self) -> u64 {
        self.roles.values().fold(0, |sum, number| sum.saturating_add(*number))
    }

    /// Those who hold one role.
    pub fn of(&self, role: &RoleName) -> u64 {
        self.roles.get(role).copied().unwrap_or(0)
    }

    /// One more holds this.
    pub fn add(&mut self, role: &RoleName) {
        let number = self.roles.entry(role.clone()).or_insert(0);
        *number = number.saturating_add(1);
    }

    /// One fewer does.
    pub fn take(&mut self, role: &RoleName) {
        match self.roles.get_mut(role) {
            Some(number) if *number > 1 => *number = number.saturating_sub(1),
            Some(_) | None => drop(self.roles.remove(role)),
        }
    }

    /// What holds of two histories: no more than each counts, so that who may be the last holder stays.
    #[must_use]
    pub fn meet(self, other: &Tally) -> Tally {
        let life = self.life.max(other.life);
        if self.life != other.life {
            // What was counted in an earlier life says nothing of this one; nor is all of this one known to it.
            let seats = if self.life > other.life { self.seats } else { other.seats };
            return Tally { roles: BTreeMap::new(), seats, life };
        }
        let roles = self.roles.into_iter().filter_map(|(role, number)| {
            let number = number.min(other.of(&role));
            (number > 0).then_some((role, number))
        });
        // A seat too many is taken back by whoever counts anew; one too few is not missed.
        Tally { roles: roles.collect(), seats: self.seats.max(other.seats), life }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> RoleName {
        RoleName::new(name).unwrap()
    }

    #[test]
    fn counts_follow_rows_and_never_fall_below_nothing() {
        let mut tally = Tally::default();
        tally.add(&role("lead"));
        tally.add(&role("lead"));
        tally.add(&role("reader"));
        assert_eq!((tally.members(), tally.of(&role("lead"))), (3, 2));
        tally.take(&role("reader"));
        tally.take(&role("reader"));
        tally.take(&role("lead"));
        assert_eq!((tally.members(), tally.roles.len()), (1, 1));
    }

    #[test]
    fn what_two_histories_contradict_each_other_in_is_unknown() {
        let parent = |id: &str| {
            Some(ResourceRef { kind: ResourceType::new("board").unwrap(), id: ResourceId::new(id).unwrap() })
        };
        let one = Resource { parent: parent("b1"), public: true, ..Resource::default() };
        let other = Resource { parent: parent("b2"), public: true, life: 1, ..Resource::default() };
        let both = one.clone().meet(&other);
        assert_eq!((both.parent.clone(), both.public, both.life), (None, true, 1));
        assert_eq!(both, other.meet(&one));
    }

    #[test]
    fn a_row_that_differs_is_gone() {
        let row = |name: &str, since: i64| Joined {
            role: role(name),
            since: Timestamp::from_ms(since),
            removed: None,
            life: 0,
            left: 0,
            by: BTreeSet::new(),
            invited: None,
            bounds: BTreeSet::new(),
        };
        assert_eq!(row("lead", 1).meet(&row("lead", 2)).removed, None);
        assert_eq!(row("lead", 1).meet(&row("reader", 2)).removed, Some(Timestamp::from_ms(2)));
        // Who joined in one and is only invited in the other is neither; of two invitations the shorter stands.
        let invited = |until: i64| Joined {
            invited: Some(Invitation { until: Timestamp::from_ms(until), held: None }),
            ..row("lead", 1)
        };
        assert_eq!(invited(9).meet(&row("lead", 2)).removed, Some(Timestamp::from_ms(2)));
        assert_eq!(invited(9).meet(&invited(7)), invited(7));
        // Who was taken down in either comes back to no more than that, whatever they are invited to, and in whichever order.
        let had = |name: &str| Joined {
            invited: Some(Invitation { until: Timestamp::from_ms(9), held: Some(role(name)) }),
            ..row("lead", 1)
        };
        let former = Joined { life: 1, ..row("hand", 1) };
        for (one, other, bounds) in [
            (had("hand"), row("hand", 2), vec!["hand"]),
            (had("hand"), row("lead", 2), vec!["hand", "lead"]),
            (row("hand", 1), row("lead", 2), vec!["hand", "lead"]),
            (had("hand"), had("reader"), vec!["hand", "reader"]),
            (had("hand"), invited(9), vec!["hand"]),
            (former, row("lead", 1), vec!["hand", "lead"]),
        ] {
            let met = one.clone().meet(&other);
            assert_eq!(met, other.meet(&one));
            let told: BTreeSet<&str> = met.bounds().map(RoleName::as_str).collect();
            assert_eq!((told, met.removed.is_some()), (bounds.into_iter().collect(), true));
        }
        assert!(!invited(9).is_counted(0) && invited(9).is_there(0));
        assert!(invited(9).is_over(Timestamp::from_ms(9)) && !invited(9).is_over(Timestamp::from_ms(8)));
    }
}
