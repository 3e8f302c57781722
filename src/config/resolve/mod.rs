//! What was written means this: defaults, references, bounds, and the policy that it all comes to.
//!
//! Every part tells its faults and goes on with what it could read, so that one run tells all of them. A name that
//! was left out because it is broken itself is not told a second time where it is used.
//!
//! Never here: the shape of the file (see [`super::written`]), decisions (see [`crate::policy`]).

mod act_as;
mod address;
mod ceiling;
mod context;
mod cors;
mod dangerous;
mod emergency;
mod entrance;
mod filled;
mod fingerprint;
mod fleet;
mod gateway;
mod granting;
mod issuers;
mod keys;
mod look_ups;
mod pieces;
mod places;
mod resources;
mod rights;
mod routes;
mod services;
mod settings;
mod staff;
mod staleness;
mod state;
mod tenant_roles;
mod tenants;
mod tls;
mod upstreams;
mod webhooks;

use std::path::Path;

pub use ceiling::CeilingSettings;
pub use cors::CorsSettings;
pub use dangerous::DangerousSettings;
pub use entrance::{EntranceSettings, HopSettings};
pub use fleet::FleetSettings;
pub use places::{Places, Spot};
pub use settings::{
    AssertionSettings, ClaimSettings, EnvironmentSource, HostHeader, HostLabel, IssuerSettings, KeyAddress,
    KeyText, KnownTenant, LedgerSettings, LimitSettings, LogSettings, PathSettings, Piece, Preflight,
    RouteEntry, RouteLimits, Settings, Slot, SupportSettings, TenantSettings, TenantSource, UpstreamSettings,
};
pub use state::{GuideLogin, RedisFound, RedisSettings, RedisTls, StateSettings};
pub use webhooks::{SigningSecret, WebhookSettings};

use super::{
    fault::{Code, Faults, Script},
    source::Source,
    written::{Field, File, Members, Unmapped},
};
use crate::policy::Policy;
use context::Context;
use upstreams::Upstreams;

/// Resolves a file. `None` when something that must be there is missing or broken; that is told then.
pub(super) fn resolve(
    path: &Path,
    file: &File,
    source: &dyn Source,
    script: &Script,
    faults: &Faults,
) -> Option<Settings> {
    let dir = path.parent().unwrap_or(Path::new(""));
    let context = Context { dir, source, script, faults };
    let gateway = gateway::name(context, file);
    let (listen, operations, dangerous) = gateway::listeners(context, file);
    let tls = tls::tls(context, file);
    let http2_in_clear = tls::http2_in_clear(context, file);
    let entrance = entrance::entrance(context, file);
    let prefix = gateway::prefix(context, file);
    let workers = gateway::workers(context, file);
    let state = state::state(context, file);
    let ledger = gateway::ledger(context, file);
    gateway::apart(context, file, state.as_ref(), ledger.as_ref());
    let others = [("listen", listen), ("operations", operations)];
    let fleet = fleet::fleet(context, file, state.as_ref(), &others, dangerous);
    let assertion = gateway::assertion(context, file, gateway.as_deref());
    let header = assertion.as_ref().map(|assertion| &assertion.header);
    let upstreams = upstreams::upstreams(context, file, header);
    let identity_headers = upstreams::identity_headers(context, file, &upstreams.list, header);
    let mut issuers = issuers::issuers(context, file, dangerous);
    let login_access = act_as::act_as(context, file, &mut issuers);
    let tenants = tenants::tenants(context, file);
    let names = rights::names(context, file);
    let types = resources::types(context, file, &names);
    let roles = rights::roles(context, file, &names);
    let (ceiling, ceiling_settings) = ceiling::ceiling(context, file, &names);
    let steps = rights::consent(context, file, &names, &roles, &ceiling);
    let tenant_roles = tenant_roles::tenant_roles(context, file, &names, &roles);
    let terms = rights::terms(context, file);
    let mut used = vec![false; upstreams.names.len()];
    let (members_unmapped, unmapped_upstream) = members(context, file, &upstreams, &mut used);
    if members_unmapped && let Some(tenants) = &tenants {
        crosses_tenants(context, file, &tenants.from);
    }
    let paths = gateway::paths(file);
    let cors = cors::cors(context, file);
    let no_environments = std::collections::BTreeSet::new();
    let around = routes::Around {
        paths,
        names: &names,
        types: &types,
        roles: &roles,
        roles_at: resources::roles_at(file),
        rows: issuers.iter().any(|issuer| issuer.rows),
        upstreams: &upstreams,
        tenant_from: tenants.as_ref().map(|tenants| tenants.from.as_slice()).unwrap_or_default(),
        prefix: prefix.as_deref(),
        environments: tenants.as_ref().map_or(&no_environments, |tenants| &tenants.environments),
        cors: !file.cors.is_absent(),
    };
    let before = faults.count();
    let routes::Map { entries: routes, rules, owned } = routes::routes(context, file, &around, &mut used);
    let look_ups = look_ups::look_ups(context, file, &types, &upstreams, &issuers, &mut used);
    if faults.are_warnings() || faults.count() == before {
        unused(context, file, &upstreams, &used);
    }
    let mut resources = resources::rules(context, file, &names, &roles, types);
    for (kind, look_up) in look_ups {
        if let Some(rule) = resources.types.get_mut(&kind) {
            rule.look_up = Some(Box::new(look_up));
        }
    }
    let limits = gateway::limits(context, file);
    let (conditions, ticket_claim) = staff::conditions(context, file);
    let emergency = emergency::emergency(
        context,
        file,
        &issuers,
        &rights::Given { names: &names, roles: &roles, ceiling: &ceiling },
    );
    let granting = granting::granting(
        context,
        file,
        &rights::Given { names: &names, roles: &roles, ceiling: &ceiling },
        tenants.as_ref().map_or(&no_environments, |tenants| &tenants.environments),
    );
    let services = services::services(context, file, &issuers);
    let webhooks = webhooks::webhooks(context, file);
    let (steps, tenants, prefix) = (steps?, tenants?, prefix?);
    let configured = std::sync::Arc::new(tenants.known.iter().map(|known| known.id.clone()).collect());
    let policy = Policy {
        fingerprint: String::new(),
        catalogue: names.catalogue,
        roles: roles.map,
        tenant_roles,
        resources,
        ceiling,
        ladder: steps.ladder.clone(),
        default_level: steps.default.clone()?,
        on_lower: steps.on_lower,
        session_lasts: terms.session_lasts,
        sessions: terms.sessions,
        grant_most: terms.grant_most,
        granting,
        grantor_memory_ms: terms.grantor_memory_ms,
        approvals: terms.approvals,
        login_access,
        emergency,
        conditions,
        max_exchange_ms: terms.max_exchange_ms,
        staleness: staleness::staleness(context, file),
        members_unmapped,
        environments: tenants.environments.clone(),
        callers: services::callers(services, configured, &issuers),
        rules,
    };
    // What is missing was told; it would only be told again as something that does not hold.
    if let Some(owned) = owned.filter(|_| faults.are_warnings()) {
        routes::whole(context, &owned, &policy, &routes, &upstreams.list, &steps);
    }
    let mut settings = Settings {
        file: path.to_owned(),
        gateway: gateway?,
        listen: listen?,
        tls: tls?,
        http2_in_clear,
        entrance,
        operations: operations?,
        prefix,
        workers,
        state: state?,
        ledger: ledger?,
        fleet: fleet?,
        assertion: assertion?,
        identity_headers,
        upstreams: upstreams.list,
        issuers,
        tenants,
        ticket_claim,
        unmapped_upstream,
        policy,
        ceiling: ceiling_settings,
        paths,
        routes,
        cors,
        webhooks,
        log: gateway::log(file),
        limits,
        dangerous,
        places: places::places(context, file),
    };
    settings.policy.fingerprint = fingerprint::fingerprint(&settings);
    Some(settings)
}

/// Whether members pass where the map is silent, and where to.
fn members(
    context: Context<'_>,
    file: &File,
    upstreams: &Upstreams,
    used: &mut [bool],
) -> (bool, Option<usize>) {
    let none = Members::default();
    let written = file.members.value().unwrap_or(&none);
    let owner = file.members.given().map_or(gateway::TOP(), |at| at.place);
    match (written.unmapped.value(), &written.upstream) {
        (Some(Unmapped::Allow), upstream) => {
            let found = upstreams.find(context, upstream, owner, used);
            if let Some(settings) = found.and_then(|number| upstreams.list.get(number))
                && settings.rewrite.strip.is_some()
            {
                let place = upstream.given().map_or(owner, |at| at.place);
                let message = format!(
                    "the upstream `{}` takes a prefix off, which unmapped paths may lack",
                    settings.name
                );
                context.put(
                    Code::BadRewrite,
                    place,
                    message,
                    "name an upstream without `strip_prefix`, or map its routes",
                );
            }
            (true, found)
        }
        (_, Field::Given(at)) => {
            context.warn(
                Code::Unused,
                at.place,
                "members are refused where the map is silent, so this upstream is never asked",
                "remove it, or write `unmapped: allow`",
            );
            (false, None)
        }
        _ => (false, None),
    }
}

/// Where the map is silent nobody reads the path, so its tenant is not compared with the token's.
fn crosses_tenants(context: Context<'_>, file: &File, from: &[TenantSource]) {
    if !from.iter().any(|source| matches!(source, TenantSource::Path(_))) {
        return;
    }
    if let Some(at) = file.members.value().and_then(|members| members.unmapped.given()) {
        context.warn(
            Code::CrossesTenants,
            at.place,
            "paths name tenants, and where the map is silent no path is read: members reach other tenants' paths",
            "map all paths that name a tenant, or see to it that the application compares them with the token",
        );
    }
}

fn unused(context: Context<'_>, file: &File, upstreams: &Upstreams, used: &[bool]) {
    if upstreams.broken || file.routes.value().is_none_or(|routes| routes.broken || routes.items.is_empty()) {
        return;
    }
    for ((name, place), used) in upstreams.names.iter().zip(used) {
        if !used {
            context.warn(
                Code::Unused,
                *place,
                format!("no route goes to the upstream `{name}`"),
                "map its routes, or remove it",
            );
        }
    }
}
