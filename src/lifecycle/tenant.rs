//! How a tenant becomes known.
//!
//! Never here: a change of one that is known.

use crate::model::{Consent, Document, EnvironmentId, Key, Stop as KillSwitch, Tenant, TenantId, Zone};

use super::{Actor, Change, Event, Moment, Refusal, Stop};

/// Registers a tenant: by configuration only. A repeat with the same parent changes nothing.
pub(super) fn register(
    at: &Moment<'_>,
    id: &TenantId,
    parent: Option<&TenantId>,
    zone: Zone,
    environments: &[EnvironmentId],
) -> Result<Change, Stop> {
    match at.actor {
        Actor::Configuration => {}
        // Not even an administrator: what a tenant's parent is, is not for the tenant to say.
        Actor::Subject(_) | Actor::Clock => {
            return Err(Refusal::NotAllowed { needed: "the configuration" }.into());
        }
    }
    if let Some(known) = at.facts.tenant(id.as_str())? {
        return if known.parent.as_ref() == parent {
            Ok(Change::NOTHING)
        } else {
            Err(Refusal::ParentFixed(id.clone()).into())
        };
    }
    if let Some(parent) = parent {
        if parent == id {
            return Err(Refusal::ParentItself(id.clone()).into());
        }
        if at.facts.tenant(parent.as_str())?.is_none() {
            return Err(Refusal::ParentUnknown(parent.clone()).into());
        }
    }
    let tenant = Tenant {
        parent: parent.cloned(),
        zone,
        environments: environments.iter().cloned().collect(),
        consent: Consent::own(at.policy.default_level.clone()),
        stop: KillSwitch::default(),
    };
    Ok(Change {
        documents: vec![(Key::Tenant(id.clone()), Document::Tenant(tenant))],
        events: vec![Event::TenantRegistered],
        narrows: false,
    })
}
