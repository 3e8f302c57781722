//! How a tenant becomes known, how what is known of it changes, and how it is removed.
//!
//! The configuration registers the tenants that it names, once; all others are a service's to push (GW-09). Neither
//! overwrites the other: what the configuration names, a service is refused.
//!
//! Never here: the tenant's own choices.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{Consent, Document, EnvironmentId, Key, PlanName, SubjectRef, Tenant, TenantId, Version, Zone},
    policy::{
        Lack, Push,
        level::{InForce, in_force, rank_alone},
    },
};

use super::{Actor, Change, Event, Moment, Refusal, Stop, granting};

/// What is said of a tenant.
pub(super) struct Wanted<'a> {
    pub(super) parent: Option<&'a TenantId>,
    pub(super) zone: Zone,
    pub(super) environments: &'a [EnvironmentId],
    pub(super) plan: Option<&'a PlanName>,
    pub(super) seat_limit: Option<u64>,
}

/// Registers a tenant: by configuration only. A repeat with the same parent changes nothing.
pub(super) fn register(at: &Moment<'_>, id: &TenantId, wanted: &Wanted<'_>) -> Result<Change, Stop> {
    match at.actor {
        Actor::Configuration => {}
        // Not even an administrator: what a tenant's parent is, is not for the tenant to say.
        Actor::Subject(_) | Actor::Clock | Actor::Application => {
            return Err(Refusal::NotAllowed { needed: "the configuration" }.into());
        }
    }
    let known = at.facts.tenant(id.as_str())?;
    if let Some(known) = known {
        parent_stays(id, known, wanted)?;
        if known.removed.is_none() {
            return Ok(Change::NOTHING);
        }
    }
    make(at, id, known, wanted, None)
}

/// What a service says of a tenant, whole: makes it known, or changes it.
pub(super) fn push(
    at: &Moment<'_>,
    id: &TenantId,
    wanted: &Wanted<'_>,
    expected: Option<Version>,
) -> Result<Change, Stop> {
    let by = at.service(id, Push::Tenants)?.id.clone();
    if wanted.environments.is_empty() {
        return Err(Refusal::EnvironmentsMissing.into());
    }
    if let Some(unknown) = wanted.environments.iter().find(|one| !at.policy.environments.contains(*one)) {
        return Err(Refusal::EnvironmentUnknown(unknown.clone()).into());
    }
    not_configured(at, id)?;
    let key = Key::Tenant(id.clone());
    let known = at.facts.tenant(id.as_str())?;
    at.as_seen(&key, expected)?;
    if let Some(known) = known {
        parent_stays(id, known, wanted)?;
    }
    let Some(known) = known.filter(|known| known.removed.is_none()) else {
        if let Some(parent) = wanted.parent {
            // Whoever is confined to some tenants learns nothing of others, not even that they are there.
            at.service(parent, Push::Tenants)?;
        }
        return make(at, id, known, wanted, Some(by));
    };
    let environments: BTreeSet<_> = wanted.environments.iter().cloned().collect();
    let same = (known.zone, &known.environments, known.plan.as_ref(), known.seat_limit);
    if same == (wanted.zone, &environments, wanted.plan, wanted.seat_limit) {
        return Ok(Change::NOTHING);
    }
    let lost: Vec<_> = known.environments.difference(&environments).cloned().collect();
    // Zone and plan say what may be later; only where nothing but environments is taken away does nobody gain.
    let same_plan = known.plan.as_ref() == wanted.plan || granting::plan_falls(at, known, wanted.plan);
    // Of seats nobody loses theirs: how many there may be is no narrowing either.
    let same_plan = same_plan && known.seat_limit == wanted.seat_limit;
    let narrows = environments.is_subset(&known.environments) && known.zone == wanted.zone && same_plan;
    let (closings, mut events) = granting::closings(at, known, wanted.plan, &environments);
    let event = Event::TenantChanged {
        zone: wanted.zone,
        environments: environments.iter().cloned().collect(),
        plan: wanted.plan.cloned(),
        seat_limit: wanted.seat_limit,
    };
    events.insert(0, event);
    let changed = Tenant {
        closings,
        zone: wanted.zone,
        taken: taken(at, known, &lost, &environments),
        environments,
        plan: wanted.plan.cloned(),
        seat_limit: wanted.seat_limit,
        service: Some(by),
        ..known.clone()
    };
    Ok(Change { documents: vec![(key, Document::Tenant(changed))], events, narrows })
}

/// A service removes a tenant. Whoever is inside is out; what follows it stands alone from here on (rule 6). Repeating it
/// changes nothing.
pub(super) fn remove(at: &Moment<'_>, id: &TenantId, expected: Option<Version>) -> Result<Change, Stop> {
    let by = at.service(id, Push::Tenants)?.id.clone();
    not_configured(at, id)?;
    let key = Key::Tenant(id.clone());
    let Some(known) = at.facts.tenant(id.as_str())? else { return Err(Refusal::NotFound("tenant").into()) };
    if known.removed.is_some() {
        return Ok(Change::NOTHING);
    }
    at.as_seen(&key, expected)?;
    // A chain that cannot be read whole is closed, and nothing that is taken away waits for it.
    let before = match lasting(at, known) {
        Err(Lack::Unavailable) => InForce::CLOSED,
        known => known?,
    };
    let level = at.level(before.rank);
    let all: Vec<_> = known.environments.iter().cloned().collect();
    // Who gave it still has, to whatever follows this tenant.
    let consent = Consent {
        closed_at: known.consent.closed_at.max(before.closed_at),
        by: before.givers().cloned().collect(),
        above: before.above(&format!("{key}@{}", at.now.ms())),
        ..Consent::own(level.clone())
    };
    let removed = Tenant {
        consent,
        service: Some(by),
        removed: Some(at.now),
        taken: taken(at, known, &all, &BTreeSet::new()),
        ..known.clone()
    };
    let event = Event::TenantRemoved { level };
    Ok(Change { documents: vec![(key, Document::Tenant(removed))], events: vec![event], narrows: true })
}

/// The level in force that no raise props up, here or further up: what is raised until a date does not outlive it.
fn lasting<'a>(at: &Moment<'a>, tenant: &'a Tenant) -> Result<InForce<'a>, Lack> {
    let mut lasting = in_force(tenant, at.facts, at.policy, at.now)?;
    while let Some(falls) = lasting.falls {
        let then = in_force(tenant, at.facts, at.policy, falls)?;
        let rank = then.rank.min(lasting.rank);
        // Each raise ends once, so this comes to an end.
        let next = then.falls.filter(|next| *next > falls);
        lasting = InForce { rank, falls: next, closed_at: lasting.closed_at, ..then };
    }
    Ok(lasting)
}

/// Rule 6: fixed at registration, also for one that comes back.
fn parent_stays(id: &TenantId, known: &Tenant, wanted: &Wanted<'_>) -> Result<(), Refusal> {
    if known.parent.as_ref() == wanted.parent { Ok(()) } else { Err(Refusal::ParentFixed(id.clone())) }
}

fn not_configured(at: &Moment<'_>, id: &TenantId) -> Result<(), Refusal> {
    if at.policy.callers.configured.contains(id) {
        Err(Refusal::TenantConfigured(id.clone()))
    } else {
        Ok(())
    }
}

/// A tenant that is new, or was removed: of what was before stays what is over, and what somebody there had refused.
/// Whoever makes tenants known undoes no choice of theirs by removing them.
fn make(
    at: &Moment<'_>,
    id: &TenantId,
    before: Option<&Tenant>,
    wanted: &Wanted<'_>,
    service: Option<SubjectRef>,
) -> Result<Change, Stop> {
    if let Some(parent) = wanted.parent {
        if parent == id {
            return Err(Refusal::ParentItself(id.clone()).into());
        }
        if at.facts.tenant(parent.as_str())?.is_none_or(|parent| parent.removed.is_some()) {
            return Err(Refusal::ParentUnknown(parent.clone()).into());
        }
    }
    let environments: BTreeSet<_> = wanted.environments.iter().cloned().collect();
    let consent = Consent::own(at.policy.default_level.clone());
    let new = Tenant {
        plan: wanted.plan.cloned(),
        seat_limit: wanted.seat_limit,
        service,
        ..Tenant::new(wanted.parent.cloned(), wanted.zone, environments.clone(), consent)
    };
    let tenant = match before {
        None => new,
        Some(before) => Tenant {
            consent: anew(at, before),
            taken: taken(at, before, &[], &environments),
            stop: before.stop.clone(),
            approval: before.approval.clone(),
            closings: before.closings.clone(),
            delegation: before.delegation.clone(),
            life: before.life.saturating_add(1),
            // What it narrowed stays narrowed; of its own roles nothing is left but the names.
            roles: before.roles.clone(),
            ..new
        },
    };
    Ok(Change {
        documents: vec![(Key::Tenant(id.clone()), Document::Tenant(tenant))],
        events: vec![Event::TenantRegistered],
        narrows: false,
    })
}

/// The consent of one that comes back: the lower of the default level and of the one that stood.
fn anew(at: &Moment<'_>, before: &Tenant) -> Consent {
    let ladder = &at.policy.ladder;
    // Its consent is one level of its own since it was removed; on another ladder that may be none.
    let stood = before.consent.cap.as_ref().map_or(0, |level| ladder.rank(level));
    let rank = stood.min(ladder.rank(&at.policy.default_level));
    // What was closed meanwhile to whoever follows it stays ended; what begins in the millisecond of the return is new.
    let closed = ladder.role_at(stood.min(rank_alone(at.policy))).is_none();
    let mark = closed.then(|| at.now.plus_ms(-1));
    Consent {
        by: before.consent.by.clone(),
        above: before.consent.above.clone(),
        closed_at: before.consent.closed_at.max(mark),
        ..Consent::own(at.level(rank))
    }
}

/// The marks, with those of environments that are taken away now, and of those that are back: what somebody elsewhere began
/// there meanwhile is over.
fn taken(
    at: &Moment<'_>,
    known: &Tenant,
    lost: &[EnvironmentId],
    wanted: &BTreeSet<EnvironmentId>,
) -> BTreeMap<EnvironmentId, crate::model::Timestamp> {
    let mut taken = known.taken.clone();
    let gone =
        |environment: &EnvironmentId| known.removed.is_some() || !known.environments.contains(environment);
    for (environment, mark) in &mut taken {
        if wanted.contains(environment) && gone(environment) {
            *mark = (*mark).max(at.now.plus_ms(-1));
        }
    }
    taken.extend(lost.iter().map(|environment| (environment.clone(), at.now)));
    taken
}
