//! What follows from a creation that the application told of: what is known of the new resource from then on, its creator's row
//! there, and the role that they hold in the tenant instead of another.
//!
//! All of it is one change. The first answer counts: another one that says something else leaves what it contradicts unknown
//! for good, and gives nobody anything. What a service said is not changed by an answer, nor is what was removed (rule 15).
//!
//! Never here: reading the answer (see `proxy`), or trying again where a change cannot be made ([`crate::engine`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    model::{
        Document, EnvironmentId, ExchangeId, Joined, Key, Learned, Member, Resource, ResourceId, ResourceRef,
        ResourceType, RoleName, SubjectRef, Tenant, TenantId,
    },
    policy::{
        Spot, has_plan,
        resources::{Outer, left_by},
        rows::{Held, held_of},
    },
};

use super::{
    Actor, Change, Event, Moment, Refusal, Stop,
    resource::{counted_now, known_type},
    seat::{Moved, is_counted, moved},
};

/// Somebody who is no member of the tenant, for what nobody gets.
pub const NOT_MEMBER: &str = "not_member";
/// Somebody who acts as another.
pub const ACTING: &str = "acting";

/// What an application answered that it has made, and for whom: all that it takes to do what follows from it, also later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Created {
    /// In which exchange.
    pub exchange: ExchangeId,
    /// What.
    pub resource: ResourceRef,
    /// On what the request acted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub on: Option<ActedOn>,
    /// Who made it, as the application sees them; none where it was none of the tenant's people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub creator: Option<SubjectRef>,
    /// Why they get nothing by it, as a code; none where they may.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub withheld: Option<String>,
    /// The roles that their token named. They count where roles do not stand in rows.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub token_roles: BTreeSet<RoleName>,
    /// The tenant's [`life`](Tenant::life) when it was asked: in another one nothing follows. None where nobody could say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tenant_life: Option<u32>,
    /// How often they had left all resources at once ([`Member::left`]) when they asked: whoever did since gets nothing. None where
    /// there is no row of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub left: Option<u32>,
    /// The only environment that their token is for, where it is for one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub environment: Option<EnvironmentId>,
    /// The role at the resource that they get.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub role: Option<RoleName>,
    /// The roles in the tenant that they hold no more, each with the one that takes its place.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub becomes: BTreeMap<RoleName, RoleName>,
}

/// What a request acted on, and what its path named that it lies in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActedOn {
    /// It.
    pub resource: ResourceRef,
    /// The types of those that it lies in, nearest first, with what the path named.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub within: Vec<(ResourceType, Option<ResourceId>)>,
    /// The application checks that it lies there.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub checked: bool,
}

/// Does what follows. Repeating it changes nothing.
pub(super) fn step(at: &Moment<'_>, id: &TenantId, made: &Created) -> Result<Change, Stop> {
    if !matches!(at.actor, Actor::Application) {
        return Err(Refusal::NotAllowed { needed: "resources:push" }.into());
    }
    known_type(at, &made.resource)?;
    let Some(tenant) = at.facts.tenant(id.as_str())? else { return Err(Refusal::NotFound("tenant").into()) };
    at.still_there(tenant)?;
    if made.tenant_life.is_some_and(|life| life != tenant.life) {
        return Err(Refusal::TenantRemoved.into());
    }
    let resource = &made.resource;
    let before = at.facts.resource(id.as_str(), &resource.kind, resource.id.as_str())?;
    let known_by = before.and_then(|before| before.learned.as_ref());
    if known_by.is_some_and(|learned| learned.by.contains(&made.exchange)) {
        return Ok(Change::NOTHING);
    }
    match before.filter(|before| before.tenant_life == tenant.life) {
        None => first(at, id, made, tenant, before),
        Some(before) if before.removed.is_some() => Err(Refusal::ResourceSaid("removed").into()),
        Some(before) => match &before.learned {
            Some(learned) => again(at, id, made, before, learned),
            None => said(at, id, made, tenant, before),
        },
    }
}

/// Nothing is known of it in this life of the tenant: what is learned first stays.
fn first(
    at: &Moment<'_>,
    id: &TenantId,
    made: &Created,
    tenant: &Tenant,
    before: Option<&Resource>,
) -> Result<Change, Stop> {
    let after = Resource {
        parent: parent(at, id, made)?,
        creator: made.creator.clone(),
        tenant_life: tenant.life,
        life: before.map_or(0, |before| before.life.saturating_add(1)),
        learned: Some(Learned::of(made.exchange.clone())),
        ..Resource::default()
    };
    let mut change = Change::NOTHING;
    let withheld = rights(at, id, made, tenant, &after, &mut change)?;
    let event = learned(made, &after, withheld);
    change.events.insert(0, event);
    let key = Key::Resource(id.clone(), made.resource.clone());
    change.documents.insert(0, (key, Document::Resource(after)));
    Ok(change)
}

/// It was learned before. What is told otherwise now nobody knows any more.
fn again(
    at: &Moment<'_>,
    id: &TenantId,
    made: &Created,
    before: &Resource,
    known: &Learned,
) -> Result<Change, Stop> {
    let creator_unclear = known.creator_unclear || before.creator != made.creator;
    let parent_unclear = known.parent_unclear || before.parent != parent(at, id, made)?;
    if (creator_unclear, parent_unclear) == (known.creator_unclear, known.parent_unclear) {
        return Ok(Change::NOTHING);
    }
    let after = Resource {
        creator: before.creator.clone().filter(|_| !creator_unclear),
        parent: before.parent.clone().filter(|_| !parent_unclear),
        learned: Some(Learned {
            creator_unclear,
            parent_unclear,
            ..known.clone().and(made.exchange.clone())
        }),
        ..before.clone()
    };
    let event = learned(made, &after, None);
    let key = Key::Resource(id.clone(), made.resource.clone());
    Ok(Change { documents: vec![(key, Document::Resource(after))], events: vec![event], narrows: true })
}

/// A service said what it is, perhaps before the application answered: that stays. Whom it names as the creator too gets the role,
/// once: the row, also one that was taken back, says that they had it.
fn said(
    at: &Moment<'_>,
    id: &TenantId,
    made: &Created,
    tenant: &Tenant,
    known: &Resource,
) -> Result<Change, Stop> {
    let pushed = Refusal::ResourceSaid("pushed");
    let Some(creator) = made.creator.as_ref().filter(|creator| known.creator.as_ref() == Some(*creator))
    else {
        return Err(pushed.into());
    };
    let (kind, resource) = (&made.resource.kind, made.resource.id.as_str());
    let row = at.facts.joined(id.as_str(), kind, resource, creator)?;
    let follows = |row: &Joined| {
        row.is_counted(known.life) && row.by.is_empty() && made.role.as_ref() == Some(&row.role)
    };
    if made.withheld.is_none() && row.is_some_and(follows) {
        // A repeat finds it as it left it.
        let becomes = match held_of(creator, id.as_str(), at.facts)? {
            Held::Row(row) => row.roles.iter().any(|role| made.becomes.contains_key(role)),
            Held::Token(_) | Held::Nothing(_) => false,
        };
        return if becomes { Err(pushed.into()) } else { Ok(Change::NOTHING) };
    }
    if made.role.is_none() || row.is_some() {
        return Err(pushed.into());
    }
    let mut change = Change::NOTHING;
    let withheld = rights(at, id, made, tenant, known, &mut change)?;
    // Without the row nothing would tell a repeat.
    if !change.documents.iter().any(|(key, _)| matches!(key, Key::Joined(..))) {
        return Err(pushed.into());
    }
    change.events.insert(0, learned(made, known, withheld));
    Ok(change)
}

fn learned(made: &Created, now: &Resource, withheld: Option<String>) -> Event {
    let known = now.learned.as_ref();
    let unclear = [
        ("creator", known.is_some_and(|known| known.creator_unclear)),
        ("parent", known.is_some_and(|known| known.parent_unclear)),
    ];
    Event::ResourceLearned {
        resource: made.resource.clone(),
        exchange: made.exchange.clone(),
        parent: now.parent.clone(),
        creator: now.creator.clone(),
        unclear: unclear.iter().filter(|(_, is)| *is).map(|(name, _)| (*name).to_owned()).collect(),
        withheld,
    }
}

/// What it lies in: of what the request acted on, and of what that is known to lie in, the nearest of the type that is declared.
fn parent(at: &Moment<'_>, id: &TenantId, made: &Created) -> Result<Option<ResourceRef>, Stop> {
    let (Some(above), Some(on)) = (at.policy.resources.parent(&made.resource.kind), &made.on) else {
        return Ok(None);
    };
    let types: Vec<ResourceType> = on.within.iter().map(|(kind, _)| kind.clone()).collect();
    let mut outer = Outer::default();
    for (slot, (_, named)) in outer.iter_mut().zip(&on.within) {
        *slot = named.as_ref().map(ResourceId::as_str);
    }
    let places = Spot::named(&on.resource, &types, outer, on.checked).places(at.here(id), |_, _| false)?;
    let near = places.into_iter().find(|(kind, _)| *kind == above);
    Ok(near.and_then(|(kind, id)| Some(ResourceRef { kind: kind.clone(), id: ResourceId::new(id).ok()? })))
}

/// What whoever made it gets: another role in the tenant, and one at the resource. Answers why not all of that, as a code.
fn rights(
    at: &Moment<'_>,
    id: &TenantId,
    made: &Created,
    tenant: &Tenant,
    place: &Resource,
    change: &mut Change,
) -> Result<Option<String>, Stop> {
    if made.role.is_none() && made.becomes.is_empty() {
        return Ok(None);
    }
    let no = |code: &str| Ok(Some(code.to_owned()));
    let Some(creator) = made.creator.as_ref().filter(|_| made.withheld.is_none()) else {
        return no(made.withheld.as_deref().unwrap_or(NOT_MEMBER));
    };
    // Rows reach all environments; a token that is for one of several gives none.
    if made.environment.as_ref().is_some_and(|own| tenant.environments.iter().any(|other| other != own)) {
        return no("environment_foreign");
    }
    let mut withheld = None;
    let by_row = at.policy.callers.by_row.contains(&creator.issuer);
    let (rules, kind) = (&at.policy.resources, &made.resource.kind);
    let (joins, left) = if by_row {
        let Held::Row(row) = held_of(creator, id.as_str(), at.facts)? else { return no(NOT_MEMBER) };
        // Removed since and pushed anew, or a guest for a while: what they did before is none of theirs any more.
        if made.left.is_some_and(|left| left != row.left) {
            return no("left_since");
        }
        match changed(at, id, made, tenant, row)? {
            Ok(None) => (rules.joins_of(&row.roles).reach(kind), row.left),
            Err(code) => {
                withheld = Some(code.to_owned());
                (rules.joins_of(&row.roles).reach(kind), row.left)
            }
            Ok(Some((after, counted))) => {
                let standing = (rules.joins_of(&after.roles).reach(kind), after.left);
                became(id, made, creator, row, after, change);
                if let Some(counted) = counted {
                    counted.put(change);
                }
                standing
            }
        }
    } else {
        (rules.joins_of(&made.token_roles).reach(kind), left_by(creator, at.here(id))?)
    };
    let Some(name) = &made.role else { return Ok(withheld) };
    let refused = match rules.role_at(name, kind) {
        None => Some("role_not_here"),
        Some(_) if !joins => Some("kept_apart"),
        Some(role) if !role.in_plan(tenant.plan.as_ref()) => Some("role_not_in_plan"),
        Some(_) => None,
    };
    if let Some(code) = refused {
        return Ok(withheld.or_else(|| Some(code.to_owned())));
    }
    // What is written is read first, so that nobody's change is written over.
    let known = at.facts.joined(id.as_str(), kind, made.resource.id.as_str(), creator)?;
    if known.is_some_and(|row| row.is_counted(place.life)) {
        return Ok(withheld);
    }
    let mut tally = counted_now(at, id, &made.resource, place)?;
    tally.add(name);
    let row = Joined {
        role: name.clone(),
        since: at.now,
        removed: None,
        life: place.life,
        left,
        by: BTreeSet::new(),
        invited: None,
        bounds: BTreeSet::new(),
    };
    change
        .documents
        .push((Key::Joined(id.clone(), made.resource.clone(), creator.clone()), Document::Joined(row)));
    change.documents.push((Key::Tally(id.clone(), made.resource.clone()), Document::Tally(tally)));
    change.events.push(Event::ResourceJoined {
        resource: made.resource.clone(),
        member: creator.clone(),
        role: name.clone(),
        was: None,
    });
    Ok(withheld)
}

/// A row as it becomes, and the seats that are taken then.
type Row = (Member, Option<Moved>);

/// The row with the roles that somebody holds from now on, and the seats that are taken then; `None` where that changes nothing, a
/// code where they cannot hold them.
fn changed(
    at: &Moment<'_>,
    id: &TenantId,
    made: &Created,
    tenant: &Tenant,
    row: &Member,
) -> Result<Result<Option<Row>, &'static str>, Stop> {
    let roles: BTreeSet<RoleName> =
        row.roles.iter().map(|role| made.becomes.get(role).unwrap_or(role)).cloned().collect();
    if roles == row.roles {
        return Ok(Ok(None));
    }
    let lacks = |role: &RoleName| {
        at.policy.role(role).is_none_or(|role| !has_plan(&role.plans, tenant.plan.as_ref()))
    };
    if roles.difference(&row.roles).any(lacks) {
        return Ok(Err("role_not_in_plan"));
    }
    // Whoever comes to hold a role that keeps them out of some leaves every resource at once (PFC-14).
    let rules = &at.policy.resources;
    let leaves = u32::from(!rules.joins_of(&row.roles).are_within(&rules.joins_of(&roles), rules));
    let seat = roles.iter().any(|role| at.policy.role(role).is_some_and(|role| role.seat));
    let counted = moved(at, id, row.life, is_counted(Some(row), row.life), seat)?;
    if counted.as_ref().is_some_and(|counted| counted.fits(tenant).is_err()) {
        return Ok(Err("seats_full"));
    }
    Ok(Ok(Some((Member { roles, left: row.left.saturating_add(leaves), seat, ..row.clone() }, counted))))
}

/// Writes the row.
fn became(
    id: &TenantId,
    made: &Created,
    member: &SubjectRef,
    before: &Member,
    after: Member,
    change: &mut Change,
) {
    change.events.push(Event::MemberBecame {
        member: member.clone(),
        roles: after.roles.iter().cloned().collect(),
        was: before.roles.iter().cloned().collect(),
        exchange: made.exchange.clone(),
    });
    change.documents.push((Key::Member(id.clone(), member.clone()), Document::Member(after)));
}
