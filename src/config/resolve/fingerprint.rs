//! The name of a policy in records: a digest of what it came to.
//!
//! Comments, order of keys, spelling of durations, paths and the gateway's own secrets leave it unchanged; whatever a
//! decision, or the place a request goes to, depends on changes it: also whose signatures count. Of issuers' keys only
//! a digest goes in, for under `dangerous.hmac` they are secrets.
//!
//! Never here: what any of it means.

mod resources;
mod upstream;

use std::{collections::BTreeSet, fmt::Write as _};

use aws_lc_rs::digest;
use serde_json::{Value, json};

use self::{
    resources::resources_value,
    upstream::{query_value, upstream_value},
};
use super::{
    cors::CorsSettings,
    entrance::EntranceSettings,
    settings::{
        ClaimSettings, EnvironmentSource, HostLabel, IssuerSettings, KeyText, KnownTenant, PathSettings,
        Preflight, RouteEntry, Settings, SupportSettings, TenantSettings, TenantSource,
    },
};
use crate::{
    model::{Network, Span, SubjectKind, SubjectRef},
    policy::{
        Approvals, Conditions, Effect, EmergencyTokens, GRANTOR_MEMORY_MS, Granting, LoginAccess, OnLower,
        OnRemove, PermissionSet, Policy, ResourceRules, ServiceRule, SessionRules, Staleness, TenantRoles,
        Whose, Within, conditions::TicketFrom, narrow::How, path::Delimiters, routes::Twins,
    },
};

/// SHA-256 in hexadecimal over canonical JSON: keys sorted, no spaces.
pub(super) fn fingerprint(settings: &Settings) -> String {
    // Taken apart whole, so that nothing new is forgotten.
    let Settings {
        prefix,
        entrance,
        identity_headers,
        upstreams,
        issuers,
        tenants,
        ticket_claim,
        unmapped_upstream,
        policy,
        paths,
        routes,
        cors,
        // As compiled, it stands in the policy.
        ceiling: _,
        // Where it lies, what it is called, what it listens on, what it says to whom and how much it takes at a time: no decision
        // depends on it. Neither on TLS: whoever may not speak is not heard at all.
        file: _,
        gateway: _,
        listen: _,
        tls: _,
        http2_in_clear: _,
        operations: _,
        workers: _,
        state: _,
        ledger: _,
        fleet: _,
        assertion: _,
        log: _,
        webhooks: _,
        limits: _,
        places: _,
        // What it lets be written stands with the issuers: their algorithms, and where their keys come from. A clock that was
        // moved is told by each record.
        dangerous: _,
    } = settings;
    // `serde_json::Map` is sorted by key.
    let mut value = json!({
        "format": 1,
        "policy": policy_value(policy),
        "routes": routes.iter().map(|route| route_value(policy, route)).collect::<Vec<_>>(),
        "prefix": prefix,
        "paths": paths_value(*paths),
        "unmapped_upstream": unmapped_upstream,
        "tenants": tenants_value(tenants),
        "issuers": issuers.iter().map(issuer_value).collect::<Vec<_>>(),
        "upstreams": upstreams.iter().map(upstream_value).collect::<Vec<_>>(),
        "identity_headers": identity_headers.iter().map(http::HeaderName::as_str).collect::<Vec<_>>(),
    });
    // From where a request comes is decided on; where only whoever connects says it, names stay as they were.
    if *entrance != EntranceSettings::default() {
        put(&mut value, "entrance", entrance_value(entrance));
    }
    if let Some(claim) = ticket_claim {
        put(&mut value, "ticket_claim", json!(claim));
    }
    if let Some(CorsSettings { origins, headers, credentials, max_age_s }) = cors {
        put(&mut value, "cors", json!([origins, headers, credentials, max_age_s]));
    }
    sha256(&value.to_string())
}

fn entrance_value(entrance: &EntranceSettings) -> Value {
    let networks = |all: &[Network]| all.iter().map(network_value).collect::<Vec<_>>();
    let hops = entrance.hops.as_ref();
    json!({
        "proxied": networks(&entrance.proxied),
        "hops": hops.map(|hops| json!([networks(&hops.from), hops.forwarded, hops.count])),
    })
}

fn network_value(network: &Network) -> String {
    let (base, bits) = network.parts();
    format!("{base:032x}/{bits}")
}

fn sha256(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in digest::digest(&digest::SHA256, text.as_bytes()).as_ref() {
        // Writing into a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// A digest of an issuer's keys, by what they are and not by how they are laid out.
fn keys_value(keys: &KeyText) -> String {
    match keys {
        KeyText::Jwks(text) => match serde_json::from_str::<Value>(text) {
            Ok(set) => sha256(&set.to_string()),
            Err(_) => sha256(text),
        },
        KeyText::Pem(text) => sha256(&text.split_whitespace().collect::<String>()),
        // Which keys it is at a time, their issuer says; what is decided here is whose word counts.
        KeyText::Fetched(address) => sha256(&address.url),
    }
}

fn names(policy: &Policy, set: &PermissionSet) -> Vec<String> {
    policy.catalogue.iter().filter(|(id, _)| set.contains(*id)).map(|(_, name)| name.to_string()).collect()
}

fn span(span: Span) -> Value {
    match span {
        Span::Millis(ms) => json!({ "ms": ms }),
        Span::CalendarDays(days) => json!({ "calendar_days": days }),
        Span::CalendarMonths(months) => json!({ "calendar_months": months }),
    }
}

fn policy_value(policy: &Policy) -> Value {
    let roles: serde_json::Map<String, Value> = policy
        .roles
        .iter()
        .map(|(name, role)| (name.to_string(), json!(names(policy, &role.permissions))))
        .collect();
    let mut value = json!({
        "catalogue": policy.catalogue.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(),
        "roles": roles,
        "ceiling": names(policy, &policy.ceiling),
        "ladder": policy.ladder.levels().iter()
            .map(|level| json!([level.name.as_str(), level.role.as_ref().map(|role| role.as_str())]))
            .collect::<Vec<_>>(),
        "default_level": policy.default_level.as_str(),
        "on_lower": match policy.on_lower { OnLower::Immediate => "immediate", OnLower::Future => "future" },
        "session_lasts": span(policy.session_lasts),
        "grant_most": policy.grant_most.map(span),
        "max_exchange_ms": policy.max_exchange_ms,
        "members_unmapped": policy.members_unmapped,
        "environments": policy.environments.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
    });
    // Only where something is demanded, so that policies from before there were conditions keep their names.
    if !policy.callers.services.is_empty() {
        put(&mut value, "services", policy.callers.services.iter().map(service_value).collect());
    }
    if policy.grantor_memory_ms != GRANTOR_MEMORY_MS {
        put(&mut value, "grantor_memory_ms", json!(policy.grantor_memory_ms));
    }
    if policy.staleness != Staleness::default() {
        let Staleness { writes_ms, reads_ms, break_glass_ms, members_ms } = policy.staleness;
        put(&mut value, "staleness", json!([writes_ms, reads_ms, break_glass_ms, members_ms]));
    }
    if policy.granting != Granting::default() {
        put(&mut value, "granting", super::granting::value(&policy.granting));
    }
    let adjustable =
        || policy.roles.iter().filter(|(_, role)| role.adjustable).map(|(name, _)| name.as_str());
    if adjustable().next().is_some() {
        put(&mut value, "adjustable", adjustable().collect());
    }
    let seats = || policy.roles.iter().filter(|(_, role)| role.seat).map(|(name, _)| name.as_str());
    if seats().next().is_some() {
        put(&mut value, "seats", seats().collect());
    }
    let planned: serde_json::Map<String, Value> = policy
        .roles
        .iter()
        .filter_map(|(name, role)| {
            let plans = role.plans.as_ref()?.iter().map(|plan| plan.as_str());
            Some((name.to_string(), plans.collect()))
        })
        .collect();
    if !planned.is_empty() {
        put(&mut value, "role_plans", Value::Object(planned));
    }
    if policy.tenant_roles != TenantRoles::default() {
        let TenantRoles { permission, most, plans } = &policy.tenant_roles;
        let plans = plans.as_ref().map(|plans| plans.iter().map(|plan| plan.as_str()).collect::<Vec<_>>());
        let permission = permission.as_ref().map(|name| name.as_str());
        put(&mut value, "tenant_roles", json!({ "permission": permission, "most": most, "plans": plans }));
    }
    if policy.resources != ResourceRules::default() {
        put(&mut value, "resources", resources_value(policy));
    }
    if policy.login_access.is_open() {
        let LoginAccess { durations, suggested, organisations } = &policy.login_access;
        let access = json!({
            "durations": durations.iter().copied().map(span).collect::<Vec<_>>(),
            "suggested": suggested.map(span),
            "organisations": organisations.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
        });
        put(&mut value, "act_as", access);
    }
    if policy.approvals != Approvals::default() {
        let Approvals { unanswered_ms, usable_ms } = policy.approvals;
        put(&mut value, "approvals", json!({ "unanswered_ms": unanswered_ms, "usable_ms": usable_ms }));
    }
    if !policy.conditions.is_empty() {
        put(&mut value, "conditions", conditions_value(&policy.conditions));
    }
    let also: Vec<_> = policy
        .ladder
        .levels()
        .iter()
        .flat_map(|level| {
            policy.ladder.other_names(&level.name).map(|other| json!([other.as_str(), level.name.as_str()]))
        })
        .collect();
    if !also.is_empty() {
        put(&mut value, "also", json!(also));
    }
    if policy.sessions != SessionRules::default() {
        let SessionRules { on_remove, as_long_as_granted } = policy.sessions;
        put(
            &mut value,
            "sessions",
            json!({ "bar": on_remove == OnRemove::Bar, "as_long_as_granted": as_long_as_granted }),
        );
    }
    if !policy.emergency.operators.is_empty() {
        put(&mut value, "stops", people(&policy.emergency.operators));
    }
    if let Some(glass) = &policy.emergency.break_glass {
        let mut named = json!({
            "operators": people(&glass.operators),
            "role": glass.role.as_str(),
            "lasts_ms": glass.lasts_ms,
            "causes": glass.causes,
            "incident": glass.incident.as_str(),
            "conditions": conditions_value(&glass.conditions),
            "attempts": glass.attempts,
        });
        if !glass.tenant_ends {
            put(&mut named, "tenant_ends", json!(false));
        }
        if let Some(EmergencyTokens { keys, audience, longest_ms, revoked }) = &glass.tokens {
            let keys: Vec<&str> = keys.iter().map(|key| &*key.jwk).collect();
            let tokens =
                json!({ "keys": keys, "audience": audience, "longest_ms": longest_ms, "revoked": revoked });
            put(&mut named, "tokens", tokens);
        }
        put(&mut value, "break_glass", named);
    }
    value
}

fn people(people: &BTreeSet<SubjectRef>) -> Value {
    people.iter().map(|person| json!([person.issuer.as_str(), &*person.sub])).collect()
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

fn service_value(rule: &ServiceRule) -> Value {
    let whose = match &rule.whose {
        Whose::Subjects(subjects) => json!({ "subjects": subjects }),
        Whose::Roles(roles) => json!({ "roles": roles }),
    };
    json!({
        "issuer": rule.issuer,
        "whose": whose,
        "may": rule.may.iter().map(|push| push.code()).collect::<Vec<_>>(),
        "tenants": rule.tenants,
    })
}

fn conditions_value(conditions: &Conditions) -> Value {
    let ticket = conditions.ticket.as_ref().map(|rule| {
        let from = match &rule.from {
            TicketFrom::Session => json!("session"),
            TicketFrom::Header(name) => json!({ "header": name }),
            TicketFrom::Claim => json!("claim"),
        };
        json!({ "from": from, "shape": rule.shape.as_str() })
    });
    json!({
        "acr": conditions.acr,
        "amr": conditions.amr,
        "max_auth_age_ms": conditions.max_auth_age_ms,
        "networks": conditions.networks.iter().map(network_value).collect::<Vec<_>>(),
        "ticket": ticket,
    })
}

fn route_value(policy: &Policy, route: &RouteEntry) -> Value {
    let mut limits = vec![
        json!(route.limits.request_body),
        json!(route.limits.body_idle_ms),
        json!(route.limits.response_timeout_ms),
        json!(route.limits.tunnel_idle_ms),
        json!(route.limits.total_ms),
    ];
    limits.extend(route.limits.body_rate.map(|rate| json!({ "body_rate": rate })));
    let rule = policy.rules.get(route.rule);
    let permissions = rule.map(|rule| {
        let names = rule.permissions.iter().filter_map(|id| policy.catalogue.name(*id));
        names.map(|name| name.as_str()).collect::<Vec<_>>()
    });
    let mut value = json!({
        "host": route.host,
        "methods": route.methods.iter().map(http::Method::as_str).collect::<Vec<_>>(),
        "template": route.template.as_str(),
        "permissions": permissions,
        "public": rule.map(|rule| rule.public),
        "resource": rule.and_then(|rule| rule.resource.as_ref()).map(|kind| kind.as_str()),
        "resource_parameter": route.resource_parameter,
        "upstream": rule.map(|rule| rule.upstream),
        "effect": rule.and_then(|rule| rule.effect).map(|effect| effect == Effect::Write),
        "record": rule.map(|rule| rule.record),
        "environments": rule.map(|rule| rule.environments.iter().map(|id| id.as_str()).collect::<Vec<_>>()),
        "preflight": match route.preflight {
            Preflight::Answer => "answer",
            Preflight::Forward => "forward",
            Preflight::Refuse => "refuse",
        },
        "upgrade": route.upgrade,
        "limits": limits,
    });
    if let Some(rule) = rule.filter(|rule| rule.within != Within::default()) {
        let types = rule.within.types.iter().map(|kind| kind.as_str()).collect::<Vec<_>>();
        put(&mut value, "within", json!([types, route.within_parameters, rule.within.checked]));
    }
    // Only where it is there: what was written before it could be keeps its name.
    if let Some(plans) = rule.and_then(|rule| rule.plans.as_ref()) {
        put(&mut value, "plans", plans.iter().map(|plan| plan.as_str()).collect());
    }
    if rule.is_some_and(|rule| rule.whole_only) {
        put(&mut value, "narrow", json!("refuse"));
    }
    if let Some(creates) = rule.and_then(|rule| rule.creates.as_deref()) {
        put(&mut value, "creates", json!(creates.to_string()));
    }
    if let Some(narrow) = rule.and_then(|rule| rule.narrow.as_deref()) {
        let kind = narrow.kind().map(|kind| kind.as_str());
        let how = match &narrow.how {
            How::Filter(shape) => json!({ "kind": kind, "list": shape.to_string() }),
            How::Query => json!({ "kind": kind, "query": query_value(&route.query) }),
        };
        put(&mut value, "narrow", how);
    }
    value
}

fn labels(labels: &[HostLabel]) -> String {
    let text = |label: &HostLabel| match label {
        HostLabel::Literal(text) => text.clone(),
        HostLabel::Tenant => "{tenant}".to_owned(),
        HostLabel::Environment => "{environment}".to_owned(),
    };
    labels.iter().map(text).collect::<Vec<_>>().join(".")
}

fn paths_value(paths: PathSettings) -> Value {
    let distinct = |twins: Twins| twins == Twins::Distinct;
    json!({
        "case_distinct": distinct(paths.table.case_twins),
        "trailing_slash_distinct": distinct(paths.table.slash_twins),
        "semicolons": paths.rules.matrix_parameters,
        "non_ascii": paths.rules.non_ascii,
        "delimiters_raw": paths.rules.delimiters == Delimiters::Raw,
    })
}

fn tenants_value(tenants: &TenantSettings) -> Value {
    let from = |source: &TenantSource| match source {
        TenantSource::Path(name) => json!({ "path": name }),
        TenantSource::Header(name) => json!({ "header": name.as_str() }),
        TenantSource::Host(pattern) => json!({ "host": labels(pattern) }),
        TenantSource::Claim => json!("claim"),
        TenantSource::Fixed(id) => json!({ "fixed": id.as_str() }),
    };
    let environment = |source: &EnvironmentSource| match source {
        EnvironmentSource::Path(name) => json!({ "path": name }),
        EnvironmentSource::Header(name) => json!({ "header": name.as_str() }),
        EnvironmentSource::Host(pattern) => json!({ "host": labels(pattern) }),
        EnvironmentSource::Claim(path) => json!({ "claim": path }),
    };
    // A service may not push what the configuration names.
    let known = |KnownTenant { id, zone, parent, environments, line: _ }: &KnownTenant| {
        json!([
            id.as_str(),
            zone.name(),
            parent.as_ref().map(|id| id.as_str()),
            environments.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        ])
    };
    let mut value = json!({
        "from": tenants.from.iter().map(from).collect::<Vec<_>>(),
        "environment_from": tenants.environment_from.iter().map(environment).collect::<Vec<_>>(),
        "default_environment": tenants.default_environment.as_str(),
    });
    if !tenants.known.is_empty() {
        put(&mut value, "known", tenants.known.iter().map(known).collect());
    }
    value
}

fn issuer_value(issuer: &IssuerSettings) -> Value {
    let ClaimSettings { tenant, roles, email, email_verified, support, organisations } = &issuer.claims;
    let counted = |rule: &SupportSettings| match rule {
        SupportSettings::Nobody => json!("nobody"),
        SupportSettings::Everybody => json!("everybody"),
        SupportSettings::Claim { path, values } => json!({ "claim": path, "any": values }),
    };
    let support = counted(support);
    let mut value = json!({
        "name": issuer.name.as_str(),
        "issuer": issuer.issuer,
        "kind": match issuer.kind { SubjectKind::Staff => "staff", SubjectKind::Member => "member", SubjectKind::Service => "service" },
        "audiences": issuer.audiences,
        "algorithms": issuer.algorithms,
        "types": issuer.types,
        "keys": keys_value(&issuer.keys),
        "leeway_ms": issuer.leeway_ms,
        "max_lifetime_ms": issuer.max_lifetime_ms,
        "claims": { "tenant": tenant, "roles": roles, "email": email, "email_verified": email_verified, "support": support },
    });
    if !organisations.is_empty() {
        let organisations = organisations.iter().map(|(name, rule)| json!([name.as_str(), counted(rule)]));
        put(&mut value, "organisations", organisations.collect());
    }
    if let Some(cookie) = &issuer.cookie {
        put(&mut value, "cookie", json!(cookie));
    }
    if issuer.rows {
        put(&mut value, "roles", json!("rows"));
    }
    if issuer.untyped {
        put(&mut value, "untyped", json!(true));
    }
    value
}
