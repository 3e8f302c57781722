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
        level::{InForce, in_force},
    },
};

use super::{Actor, Change, Event, Moment, Refusal, Stop};

/// What is said of a tenant.
pub(super) struct Wanted<'a> {
    pub(super) parent: Option<&'a TenantId>,
    pub(super) zone: Zone,
    pub(super) environments: &'a [EnvironmentId],
    pub(super) plan: Option<&'a PlanName>,
}

/// Registers a tenant: by configuration only. A repeat with the same parent changes nothing.
pub(super) fn register(at: &Moment<'_>, id: &TenantId, wanted: &Wanted<'_>) -> Result<Change, Stop> {
    match at.actor {
        Actor::Configuration => {}
        // Not even an administrator: what a tenant's parent is, is not for the tenant to say.
        Actor::Subject(_) | Actor::Clock => {
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
    let same = (known.zone, &known.environments, known.plan.as_ref());
    if same == (wanted.zone, &environments, wanted.plan) {
        return Ok(Change::NOTHING);
    }
    let lost: Vec<_> = known.environments.difference(&environments).cloned().collect();
    // Zone and plan say what may be later; only where nothing but environments is taken away does nobody gain.
    let narrows = environments.is_subset(&known.environments)
        && (known.zone, known.plan.as_ref()) == (wanted.zone, wanted.plan);
    let event = Event::TenantChanged {
        zone: wanted.zone,
        environments: environments.iter().cloned().collect(),
        plan: wanted.plan.cloned(),
    };
    let changed = Tenant {
        zone: wanted.zone,
        taken: taken(at, known, &lost),
        environments,
        plan: wanted.plan.cloned(),
        service: Some(by),
        ..known.clone()
    };
    Ok(Change { documents: vec![(key, Document::Tenant(changed))], events: vec![event], narrows })
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
        ..Consent::own(level.clone())
    };
    let removed = Tenant {
        consent,
        service: Some(by),
        removed: Some(at.now),
        taken: taken(at, known, &all),
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
        lasting = InForce { rank, falls: then.falls.filter(|next| *next > falls), by: then.by, ..lasting };
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

/// A tenant that is new, or was removed: of what was before only stays what is over.
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
    let consent = Consent {
        closed_at: before.and_then(|before| before.consent.closed_at),
        ..Consent::own(at.policy.default_level.clone())
    };
    let environments = wanted.environments.iter().cloned().collect();
    let tenant = Tenant {
        plan: wanted.plan.cloned(),
        service,
        taken: before.map(|before| before.taken.clone()).unwrap_or_default(),
        stop: before.map(|before| before.stop.clone()).unwrap_or_default(),
        ..Tenant::new(wanted.parent.cloned(), wanted.zone, environments, consent)
    };
    Ok(Change {
        documents: vec![(Key::Tenant(id.clone()), Document::Tenant(tenant))],
        events: vec![Event::TenantRegistered],
        narrows: false,
    })
}

/// The marks with those of environments that are taken away now.
fn taken(
    at: &Moment<'_>,
    known: &Tenant,
    lost: &[EnvironmentId],
) -> BTreeMap<EnvironmentId, crate::model::Timestamp> {
    let mut taken = known.taken.clone();
    taken.extend(lost.iter().map(|environment| (environment.clone(), at.now)));
    taken
}
