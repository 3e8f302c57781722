//! What a tenant has below itself: how a service says what a resource is, and how its members come and go.
//!
//! A service that pushes resources says who their members are as well; where the configuration names a permission for it, so
//! does whoever holds that at the resource. How many hold which role moves in the commit of the row, so of two commands at once
//! that would both take the last holder one is refused. Nothing that is written lists the members: what a change costs does
//! not depend on how many there are.
//!
//! Never here: what a row gives ([`crate::policy::resources`]).

use std::collections::BTreeSet;

use crate::{
    model::{
        Document, Giver, Joined, Key, Resource, ResourceId, ResourceRef, RoleName, Subject, SubjectKind,
        SubjectRef, Tally, Tenant, TenantId, Version, resource::RESOURCE_MOST,
    },
    policy::{
        Lack, PermissionId, Push,
        resources::{RoleAt, Spot, TypeRule, can_at, invited, joins_alone, left_by, there},
        rows::{Held, held_of},
    },
};

use super::{Actor, Change, Event, Moment, Refusal, Stop, Until, invitation};

/// What is done about a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Says what it is, whole: a service.
    Push {
        /// What it lies in, of the type that is configured; `None` where that is the tenant, or not known.
        parent: Option<ResourceId>,
        /// Who made it.
        creator: Option<SubjectRef>,
        /// To whom it is assigned.
        assignees: Vec<SubjectRef>,
        /// Whether it shows itself to everybody in the tenant.
        public: bool,
    },
    /// Says that it is gone: a service.
    Remove,
    /// Makes somebody a member in this role, or gives a member this role instead of theirs.
    Join {
        /// Who.
        member: SubjectRef,
        /// In which role.
        role: RoleName,
    },
    /// Lets somebody become a member in this role, by themselves.
    Invite {
        /// Who.
        member: SubjectRef,
        /// In which role.
        role: RoleName,
        /// Until when; `None` is as long as the configuration lets an invitation stand.
        until: Option<Until>,
    },
    /// Makes somebody no member any more, or takes their invitation back: also they themselves.
    Leave {
        /// Who.
        member: SubjectRef,
    },
}

impl Deed {
    /// The stable word for records.
    pub fn code(&self) -> &'static str {
        match self {
            Deed::Push { .. } => "push_resource",
            Deed::Remove => "remove_resource",
            Deed::Join { .. } => "join_resource",
            Deed::Invite { .. } => "invite_to_resource",
            Deed::Leave { .. } => "leave_resource",
        }
    }
}

/// Does it.
pub(super) fn step(
    at: &Moment<'_>,
    id: &TenantId,
    resource: &ResourceRef,
    deed: &Deed,
    expected: Option<Version>,
) -> Result<Change, Stop> {
    match deed {
        Deed::Push { parent, creator, assignees, public } => {
            let wanted =
                Wanted { parent: parent.as_ref(), creator: creator.as_ref(), assignees, public: *public };
            push(at, id, resource, &wanted, expected)
        }
        Deed::Remove => remove(at, id, resource, expected),
        Deed::Join { member, role } => join(at, id, resource, member, role, expected),
        Deed::Invite { member, role, until } => {
            invitation::invite(at, id, resource, (member, role, *until), expected)
        }
        Deed::Leave { member } => leave(at, id, resource, member, expected),
    }
}

struct Wanted<'a> {
    parent: Option<&'a ResourceId>,
    creator: Option<&'a SubjectRef>,
    assignees: &'a [SubjectRef],
    public: bool,
}

fn push(
    at: &Moment<'_>,
    id: &TenantId,
    resource: &ResourceRef,
    wanted: &Wanted<'_>,
    expected: Option<Version>,
) -> Result<Change, Stop> {
    at.service(id, Push::Resources)?;
    let rule = known_type(at, resource)?;
    let parent = match (wanted.parent, &rule.parent) {
        (Some(parent), Some(kind)) => Some(ResourceRef { kind: kind.clone(), id: parent.clone() }),
        (Some(_), None) => return Err(Refusal::ParentUnfit(resource.kind.clone()).into()),
        (None, _) => None,
    };
    let Some(tenant) = at.facts.tenant(id.as_str())? else { return Err(Refusal::NotFound("tenant").into()) };
    at.still_there(tenant)?;
    let key = Key::Resource(id.clone(), resource.clone());
    let before = at.facts.resource(id.as_str(), &resource.kind, resource.id.as_str())?;
    at.as_seen(&key, expected)?;
    let stands = before.filter(|before| before.removed.is_none() && before.tenant_life == tenant.life);
    let after = Resource {
        parent,
        creator: wanted.creator.cloned(),
        assignees: wanted.assignees.iter().cloned().collect(),
        public: wanted.public,
        removed: None,
        tenant_life: tenant.life,
        // One that comes back has none of its members of before.
        life: match (stands, before) {
            (Some(stands), _) => stands.life,
            (None, Some(before)) => before.life.saturating_add(1),
            (None, None) => 0,
        },
        learned: None,
    };
    if before == Some(&after) {
        return Ok(Change::NOTHING);
    }
    if after.size() > RESOURCE_MOST {
        return Err(Refusal::TooManyAssignees.into());
    }
    let narrows = stands.is_some_and(|stands| {
        (after.parent.is_none() || after.parent == stands.parent)
            && (after.creator.is_none() || after.creator == stands.creator)
            && after.assignees.is_subset(&stands.assignees)
            && (stands.public || !after.public)
    });
    let event = Event::ResourcePushed {
        resource: resource.clone(),
        parent: after.parent.clone(),
        creator: after.creator.clone(),
        assignees: after.assignees.iter().cloned().collect(),
        public: after.public,
    };
    Ok(Change { documents: vec![(key, Document::Resource(after))], events: vec![event], narrows })
}

/// Repeating it changes nothing.
fn remove(
    at: &Moment<'_>,
    id: &TenantId,
    resource: &ResourceRef,
    expected: Option<Version>,
) -> Result<Change, Stop> {
    at.service(id, Push::Resources)?;
    let key = Key::Resource(id.clone(), resource.clone());
    let before = at.facts.resource(id.as_str(), &resource.kind, resource.id.as_str())?;
    let Some(before) = before else { return Err(Refusal::NotFound("resource").into()) };
    if before.removed.is_some() {
        return Ok(Change::NOTHING);
    }
    at.as_seen(&key, expected)?;
    let gone = Resource {
        creator: None,
        assignees: BTreeSet::new(),
        public: false,
        removed: Some(at.now),
        ..before.clone()
    };
    let event = Event::ResourceRemoved { resource: resource.clone() };
    Ok(Change { documents: vec![(key, Document::Resource(gone))], events: vec![event], narrows: true })
}

/// What there has to be before somebody gets a role at a resource, or is invited to it.
pub(super) struct Wanting<'a> {
    pub(super) rule: &'a TypeRule,
    pub(super) role: &'a RoleAt,
    pub(super) tenant: &'a Tenant,
    pub(super) place: &'a Resource,
    /// Of their row.
    pub(super) key: Key,
    /// Their row, whether it counts or not.
    pub(super) before: Option<&'a Joined>,
    /// How often they left all resources.
    pub(super) left: u32,
}

impl<'a> Wanting<'a> {
    pub(super) fn of(
        at: &Moment<'a>,
        id: &'a TenantId,
        resource: &ResourceRef,
        member: &SubjectRef,
        name: &RoleName,
        expected: Option<Version>,
    ) -> Result<Wanting<'a>, Stop> {
        let rule = known_type(at, resource)?;
        let Some(role) = at.policy.resources.role_at(name, &resource.kind) else {
            return Err(Refusal::RoleNotHere { role: name.clone(), kind: resource.kind.clone() }.into());
        };
        let Some(tenant) = at.facts.tenant(id.as_str())? else {
            return Err(Refusal::NotFound("tenant").into());
        };
        at.still_there(tenant)?;
        let here = at.here(id);
        let Some(place) = there(resource, here)? else { return Err(Refusal::NotFound("resource").into()) };
        let key = Key::Joined(id.clone(), resource.clone(), member.clone());
        let before = at.facts.joined(id.as_str(), &resource.kind, resource.id.as_str(), member)?;
        at.as_seen(&key, expected)?;
        may_be_member(at, id, resource, member)?;
        Ok(Wanting { rule, role, tenant, place, key, before, left: left_by(member, here)? })
    }
}

fn join(
    at: &Moment<'_>,
    id: &TenantId,
    resource: &ResourceRef,
    member: &SubjectRef,
    name: &RoleName,
    expected: Option<Version>,
) -> Result<Change, Stop> {
    let by = match alone(at, id, resource, member, name)? {
        Some(by) => by,
        None => manager(at, id, resource)?,
    };
    let Wanting { role, tenant, place, key, before, left, .. } =
        Wanting::of(at, id, resource, member, name, expected)?;
    let counted = before.filter(|row| row.is_counted(place.life));
    let stands = counted.filter(|row| row.left == left);
    if stands.is_some_and(|row| row.role == *name) {
        return Ok(Change::NOTHING);
    }
    // Also where it takes something away: what a plan does not have nobody is given (PFP-10).
    if !role.in_plan(tenant.plan.as_ref()) {
        return Err(Refusal::RoleNotInPlan(name.clone()).into());
    }
    let was = stands.and_then(|row| at.policy.resources.role_at(&row.role, &resource.kind));
    let narrows = was.is_some_and(|was| role.is_within(was));
    let givers = givers(at, id, by, &key, narrows)?;
    if !narrows {
        at.reaches_all(&tenant.environments)?;
        hands_on(at, id, by, resource, name, role)?;
    }
    let mut tally = counted_now(at, id, resource, place)?;
    if let Some(row) = counted {
        stays(at, by, resource, row, &tally)?;
        tally.take(&row.role);
    }
    tally.add(name);
    let since = stands.map_or(at.now, |row| row.since);
    let (life, role) = (place.life, name.clone());
    let bounds = BTreeSet::new();
    let row = Joined { role, since, removed: None, life, left, by: givers, invited: None, bounds };
    let event = Event::ResourceJoined {
        resource: resource.clone(),
        member: member.clone(),
        role: name.clone(),
        was: stands.map(|row| row.role.clone()),
    };
    let tally = (Key::Tally(id.clone(), resource.clone()), Document::Tally(tally));
    Ok(Change { documents: vec![(key, Document::Joined(row)), tally], events: vec![event], narrows })
}

/// Repeating it changes nothing.
fn leave(
    at: &Moment<'_>,
    id: &TenantId,
    resource: &ResourceRef,
    member: &SubjectRef,
    expected: Option<Version>,
) -> Result<Change, Stop> {
    let by = match at.actor {
        // Nobody has to be asked for leaving.
        Actor::Subject(own) if own.id == *member && is_member(own, id) && !own.acting => By::Member(own),
        Actor::Subject(_) | Actor::Configuration | Actor::Clock | Actor::Application => {
            manager(at, id, resource)?
        }
    };
    let key = Key::Joined(id.clone(), resource.clone(), member.clone());
    let before = at.facts.joined(id.as_str(), &resource.kind, resource.id.as_str(), member)?;
    let Some(row) = before else { return Err(Refusal::NotFound("member").into()) };
    if row.removed.is_some() {
        return Ok(Change::NOTHING);
    }
    at.as_seen(&key, expected)?;
    let gone = Joined { removed: Some(at.now), ..row.clone() };
    let mut documents = vec![(key, Document::Joined(gone))];
    // A row that counts no more is taken away all the same; the counts are of those that do.
    let place = match there(resource, at.here(id)) {
        Err(Lack::Unavailable) if matches!(by, By::Service) => None,
        known => known?.filter(|place| row.is_counted(place.life)),
    };
    if let Some(place) = place {
        match counted_now(at, id, resource, place) {
            Ok(mut tally) => {
                stays(at, by, resource, row, &tally)?;
                tally.take(&row.role);
                documents.push((Key::Tally(id.clone(), resource.clone()), Document::Tally(tally)));
            }
            // What takes away waits for nothing, save for whether a member may take it.
            Err(Lack::Unavailable) if matches!(by, By::Service) => {}
            Err(lack) => return Err(lack.into()),
        }
    }
    let (resource, member, role) = (resource.clone(), member.clone(), row.role.clone());
    let event = match row.invited {
        None => Event::ResourceLeft { resource, member, role },
        Some(_) => Event::ResourceUninvited { resource, member, role },
    };
    Ok(Change { documents, events: vec![event], narrows: true })
}

/// Who changes the members of a resource.
#[derive(Clone, Copy)]
pub(super) enum By<'a> {
    Service,
    Member(&'a Subject),
    /// Somebody who joins by themselves, as the configuration lets them.
    Alone,
    /// Somebody who was invited, by this.
    Invited(&'a Joined),
}

/// Whoever joins by themselves: in the role in which they are invited, or in one that the configuration has for theirs. Not who is a
/// member already: a role that was changed stays changed. And who was one before comes back uninvited to no more than they had:
/// leaving widens nothing.
fn alone<'a>(
    at: &Moment<'a>,
    id: &'a TenantId,
    resource: &ResourceRef,
    member: &SubjectRef,
    name: &RoleName,
) -> Result<Option<By<'a>>, Stop> {
    let Actor::Subject(own) = at.actor else { return Ok(None) };
    if own.id != *member || own.acting || !is_member(own, id) {
        return Ok(None);
    }
    let here = at.here(id);
    if let Some(row) = invited(own, resource, here, at.now)?.filter(|row| row.role == *name) {
        return Ok(Some(By::Invited(row)));
    }
    if !joins_alone(own, resource, here)?.contains(name) {
        return Ok(None);
    }
    let row = at.facts.joined(id.as_str(), &resource.kind, resource.id.as_str(), member)?;
    let life = there(resource, here)?.map(|place| place.life);
    let left = left_by(member, here)?;
    let Some(row) = row.filter(|row| life == Some(row.life) && row.left == left) else {
        return Ok(Some(By::Alone));
    };
    let role = |name| at.policy.resources.role_at(name, &resource.kind);
    let within =
        |held| role(held).is_some_and(|before| role(name).is_some_and(|wanted| wanted.is_within(before)));
    let is_member = row.removed.is_none() && row.invited.is_none();
    Ok((!is_member && row.bounds().all(within)).then_some(By::Alone))
}

/// A service that pushes resources there, or a member who manages the members of this one. Whoever is neither is told so, whether
/// there is such a resource or not (law 11).
pub(super) fn manager<'a>(at: &Moment<'a>, id: &TenantId, resource: &ResourceRef) -> Result<By<'a>, Stop> {
    let no = Refusal::NotAllowed { needed: Push::Resources.code() };
    let subject = match at.actor {
        Actor::Subject(subject) if subject.acting => return Err(Refusal::Acting.into()),
        Actor::Subject(subject) if at.policy.callers.may(subject, Push::Resources, id) => {
            return Ok(By::Service);
        }
        Actor::Subject(subject) if is_member(subject, id) => subject,
        Actor::Subject(_) | Actor::Configuration | Actor::Clock | Actor::Application => return Err(no.into()),
    };
    let Some(needed) = at.policy.resources.types.get(&resource.kind).and_then(|rule| rule.manage) else {
        return Err(no.into());
    };
    if can_at(subject, Spot::of(resource), needed, at.here(id))? {
        return Ok(By::Member(subject));
    }
    Err(match at.policy.catalogue.name(needed) {
        Some(needed) => Refusal::RolesNotYours { needed: needed.clone() },
        None => no,
    }
    .into())
}

fn is_member(subject: &Subject, id: &TenantId) -> bool {
    subject.kind == SubjectKind::Member && subject.tenant.as_ref() == Some(id)
}

pub(super) fn known_type<'a>(at: &Moment<'a>, resource: &ResourceRef) -> Result<&'a TypeRule, Refusal> {
    let known = at.policy.resources.types.get(&resource.kind);
    known.ok_or_else(|| Refusal::ResourceTypeUnknown(resource.kind.clone()))
}

/// Refuses whoever is no member of the tenant, as far as its rows say it, and whoever holds a role there that keeps them out of
/// resources of this type.
pub(super) fn may_be_member(
    at: &Moment<'_>,
    id: &TenantId,
    resource: &ResourceRef,
    member: &SubjectRef,
) -> Result<(), Stop> {
    if !at.policy.callers.members.contains(&member.issuer) {
        return Err(Refusal::IssuerUnknown(member.issuer.clone()).into());
    }
    if !at.policy.callers.by_row.contains(&member.issuer) {
        return Ok(());
    }
    match held_of(member, id.as_str(), at.facts)? {
        Held::Row(row) if at.policy.resources.joins_of(&row.roles).reach(&resource.kind) => Ok(()),
        Held::Row(_) => Err(Refusal::KeptApart.into()),
        Held::Token(_) | Held::Nothing(_) => Err(Refusal::NotMember.into()),
    }
}

/// Who gives a row, as that remembers it: of an invitation whoever invited. What only takes away waits for no row of theirs.
pub(super) fn givers(
    at: &Moment<'_>,
    id: &TenantId,
    by: By<'_>,
    key: &Key,
    narrows: bool,
) -> Result<BTreeSet<Giver>, Lack> {
    Ok(match by {
        By::Member(giver) => {
            let (giver, unknown) = at.giver_if_known(id, giver, &key.to_string())?;
            if let Some(lack) = unknown.filter(|_| !narrows) {
                return Err(lack);
            }
            BTreeSet::from([giver])
        }
        By::Invited(row) => row.by.clone(),
        By::Service | By::Alone => BTreeSet::new(),
    })
}

/// Nobody gives at a resource what they cannot do there.
pub(super) fn hands_on(
    at: &Moment<'_>,
    id: &TenantId,
    by: By<'_>,
    resource: &ResourceRef,
    name: &RoleName,
    role: &RoleAt,
) -> Result<(), Stop> {
    let By::Member(subject) = by else { return Ok(()) };
    let all = role.at_most();
    let given = at.policy.catalogue.iter().filter(|(permission, _)| all.contains(*permission));
    let given: Vec<(PermissionId, _)> = given.collect();
    for (permission, lacking) in given {
        // What they may do with some things there is none of it: whoever it is given to may make others.
        if !can_at(subject, Spot::of(resource).whole(), permission, at.here(id))? {
            let (role, lacking) = (name.clone(), lacking.clone());
            return Err(Refusal::BeyondGrantor { role, lacking }.into());
        }
    }
    Ok(())
}

/// What is counted of this life of the resource.
pub(super) fn counted_now(
    at: &Moment<'_>,
    id: &TenantId,
    resource: &ResourceRef,
    place: &Resource,
) -> Result<Tally, Lack> {
    let known = at.facts.tally(id, resource)?.filter(|tally| tally.life == place.life);
    Ok(known.cloned().unwrap_or(Tally { life: place.life, ..Tally::default() }))
}

/// Refuses a member who would take a role from the last one who holds it, where the configuration says that it stays.
pub(super) fn stays(
    at: &Moment<'_>,
    by: By<'_>,
    resource: &ResourceRef,
    row: &Joined,
    tally: &Tally,
) -> Result<(), Refusal> {
    let keep = at.policy.resources.role_at(&row.role, &resource.kind).is_some_and(|role| role.keep_one);
    match by {
        By::Member(_) if keep && tally.of(&row.role) <= 1 => Err(Refusal::LastOfRole(row.role.clone())),
        By::Member(_) | By::Service | By::Alone | By::Invited(_) => Ok(()),
    }
}
