//! What the configuration says about tenants, held against what the store has of them.
//!
//! A tenant takes zone, environments and first consent level from the configuration when it is registered, and only
//! then. Whoever changes them later would believe what is not so; here it is told, loudly, at each start.
//!
//! Never here: a change of a tenant.

use std::{collections::BTreeSet, error::Error, sync::Arc, time::Duration};

use crate::{
    config::resolve::KnownTenant,
    engine::Engine,
    model::{Consent, Document, Key, Tenant, TenantId, join::narrowest},
    policy::{Fact, Policy, Snapshot},
    state::{Found, Shadow},
};

/// How many tenants one look at the store takes.
const PAGE: usize = 200;
/// How long it rests between looks. Nobody waits for this, and of a million tenants a store has more than that to tell.
const REST: Duration = Duration::from_millis(20);

/// Tells every difference between the configured tenants and those that are registered. Those that are no longer configured
/// a gateway of a fleet knows from its shadow: a store that others share is not read through for that by each of them at each start.
pub(super) async fn compare(engine: Arc<Engine>, known: Vec<KnownTenant>) {
    let policy = engine.policy();
    for configured in &known {
        let Fact::Found(snapshot) = engine.fact(&Key::Tenant(configured.id.clone())).await else { continue };
        for difference in differences(configured, &snapshot, &policy) {
            tracing::error!(tenant = %configured.id, line = configured.line, "the configuration has no effect: {difference}");
        }
    }
    let known: BTreeSet<TenantId> = known.into_iter().map(|tenant| tenant.id).collect();
    let gone = match engine.shadow() {
        Some(shadow) => remembered(&engine, known, Arc::clone(shadow)).await,
        None => registered(&engine, &known).await,
    };
    match gone {
        Ok(gone) => gone.iter().for_each(|tenant| {
            tracing::warn!(%tenant, "this tenant is registered and no longer in `tenants.known`; it stays as it is");
        }),
        Err(fault) => {
            tracing::warn!(%fault, "whether tenants were taken out of the configuration cannot be seen");
        }
    }
}

/// Those that this gateway's configuration named before and does not name now.
async fn remembered(
    engine: &Engine,
    known: BTreeSet<TenantId>,
    shadow: Arc<Shadow>,
) -> Result<Vec<TenantId>, Box<dyn Error + Send + Sync>> {
    let (all, known) = tokio::task::spawn_blocking(move || (shadow.configured(&known), known)).await?;
    let mut gone = Vec::new();
    for tenant in all?.difference(&known) {
        // What a service pushed first never was the configuration's.
        if let Fact::Found(snapshot) = engine.fact(&Key::Tenant(tenant.clone())).await
            && is_configured(&snapshot.document)
        {
            gone.push(tenant.clone());
        }
    }
    Ok(gone)
}

/// Those of the whole store that the configuration made known and does not name.
async fn registered(
    engine: &Engine,
    known: &BTreeSet<TenantId>,
) -> Result<Vec<TenantId>, Box<dyn Error + Send + Sync>> {
    let policy = engine.policy();
    let (mut after, mut gone) = (None, Vec::new());
    loop {
        let page = engine.store().list_tenants(after.as_ref(), PAGE).await.whole()?;
        let configured = |found: &Found| match found.as_ref().map(|stored| narrowest(stored, &policy.ladder))
        {
            Ok(Some(document)) => is_configured(&document),
            Ok(None) | Err(_) => true,
        };
        let not_named = |(tenant, found): &&(TenantId, Found)| !known.contains(tenant) && configured(found);
        gone.extend(page.iter().filter(not_named).map(|(tenant, _)| tenant.clone()));
        match page.into_iter().next_back() {
            Some((last, _)) => after = Some(last),
            None => return Ok(gone),
        }
        tokio::time::sleep(REST).await;
    }
}

fn is_configured(document: &Document) -> bool {
    !matches!(document, Document::Tenant(Tenant { service: Some(_), .. }))
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
