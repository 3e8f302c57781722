//! What the configuration says about tenants, held against what the store has of them.
//!
//! A tenant takes zone, environments and first consent level from the configuration when it is registered, and only
//! then. Whoever changes them later would believe what is not so; here it is told, loudly, at each start.
//!
//! Never here: a change of a tenant.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    config::resolve::KnownTenant,
    engine::Engine,
    model::{Consent, Document, Key, Tenant, TenantId, join::narrowest},
    policy::{Fact, Policy, Snapshot},
    state::Found,
};

/// How many tenants one look at the store takes.
const PAGE: usize = 200;
/// How long it rests between looks. Nobody waits for this, and of a million tenants a store has more than that to tell.
const REST: Duration = Duration::from_millis(20);

/// Tells every difference between the configured tenants and those that are registered.
pub(super) async fn compare(engine: Arc<Engine>, known: Vec<KnownTenant>) {
    let policy = engine.policy();
    for configured in &known {
        let Fact::Found(snapshot) = engine.fact(&Key::Tenant(configured.id.clone())).await else { continue };
        for difference in differences(configured, &snapshot, &policy) {
            tracing::error!(tenant = %configured.id, line = configured.line, "the configuration has no effect: {difference}");
        }
    }
    let known: BTreeSet<&TenantId> = known.iter().map(|tenant| &tenant.id).collect();
    let mut after = None;
    loop {
        let page = match engine.store().list_tenants(after.as_ref(), PAGE).await {
            Ok(page) => page,
            Err(fault) => {
                tracing::warn!(%fault, "whether tenants were taken out of the configuration cannot be seen");
                return;
            }
        };
        let configured = |found: &Found| match found.as_ref().map(|stored| narrowest(stored, &policy.ladder))
        {
            Ok(Some(Document::Tenant(tenant))) => tenant.service.is_none(),
            Ok(_) | Err(_) => true,
        };
        let gone = |(tenant, found): &&(TenantId, Found)| !known.contains(tenant) && configured(found);
        for (tenant, _) in page.iter().filter(gone) {
            tracing::warn!(%tenant, "this tenant is registered and no longer in `tenants.known`; it stays as it is");
        }
        match page.into_iter().next_back() {
            Some((last, _)) => after = Some(last),
            None => return,
        }
        tokio::time::sleep(REST).await;
    }
}

/// What the configuration says of a tenant, and the store says otherwise.
fn differences(configured: &KnownTenant, registered: &Snapshot, policy: &Policy) -> Vec<String> {
    let Document::Tenant(Tenant { zone, environments, consent, service, .. }) = &registered.document else {
        return Vec::new();
    };
    let mut told = Vec::new();
    if service.is_some() {
        told.push(
            "a service pushed this tenant first; what it said stays, and it is refused from now on"
                .to_owned(),
        );
    }
    if *zone != configured.zone {
        told.push(format!(
            "`zone` is `{}`, and was `{}` when the tenant was registered",
            configured.zone.name(),
            zone.name()
        ));
    }
    if *environments != configured.environments {
        let names = |set: &BTreeSet<_>| set.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        told.push(format!(
            "`environments` are {}, and were {} when the tenant was registered",
            names(&configured.environments),
            names(environments)
        ));
    }
    // The first version is the registration: nobody chose since.
    let untouched = registered.version.number == 1;
    if untouched
        && let Consent { cap: Some(level), .. } = consent
        && *level != policy.default_level
    {
        told.push(format!(
            "`consent.default` is `{}`, and was `{level}` when the tenant was registered; it never chose another",
            policy.default_level
        ));
    }
    told
}
