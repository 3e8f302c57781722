//! Where a request names its tenant and environment, and the tenants that exist from the start.
//!
//! Never here: registering them, or reading a request.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    context::{Context, short},
    gateway::TOP,
    issuers::claim_path,
    settings::{EnvironmentSource, HostLabel, KnownTenant, TenantSettings, TenantSource},
};
use crate::{
    config::{
        fault::Code,
        written::{self, At, Environments, Field, File, List, OneOrMany, Place, Tenants},
    },
    model::{EnvironmentId, TenantId, Zone},
    policy::level::LONGEST_CHAIN,
};

pub(super) fn tenants(context: Context<'_>, file: &File) -> Option<TenantSettings> {
    let hint = "say where requests name their tenant, e.g. `tenants: { from: { path: tenant } }`";
    let at = context.need(&file.tenants, TOP(), "tenants", hint)?;
    let from = context.need(&at.value.from, at.place, "from", hint).map(|list| sources(context, list));
    if let Some(from) = &from
        && from.iter().all(|source| *source == TenantSource::Claim)
        && !from.is_empty()
    {
        context.warn(
            Code::NoWayIn,
            at.value.from.given().map_or(at.place, |at| at.place),
            "the tenant is named by the member's token alone, and tokens of staff name none",
            "add a path, header or host by which staff can say which tenant they mean",
        );
    }
    let none = Environments::default();
    let written = at.value.environments.value().unwrap_or(&none);
    let environment_from =
        written.from.given().map(|list| environment_sources(context, list)).unwrap_or_default();
    let (environments, default_environment, sound) = environments(context, written);
    let known = known(context, &at.value, &environments, sound);
    Some(TenantSettings {
        from: from?,
        environment_from,
        environments,
        default_environment: default_environment?,
        known,
    })
}

fn environments(
    context: Context<'_>,
    written: &Environments,
) -> (BTreeSet<EnvironmentId>, Option<EnvironmentId>, bool) {
    let default = match &written.default {
        Field::Absent => EnvironmentId::new("production").ok(),
        Field::Broken => None,
        Field::Given(at) => context.id(at, EnvironmentId::new, "environment"),
    };
    let Some(list) = written.known.given() else {
        return (default.iter().cloned().collect(), default, written.known.is_absent());
    };
    let mut places = BTreeMap::new();
    let mut sound = !list.value.broken;
    for at in &list.value.items {
        match context.id(at, EnvironmentId::new, "environment") {
            Some(id) => {
                if let Some(first) = places.insert(id, at.place) {
                    context.twice(at.place, "environment", &at.value, first);
                }
            }
            None => sound = false,
        }
    }
    if let Some(id) = &default
        && sound
        && !places.contains_key(id)
    {
        sound = false;
        let known = places.keys().map(EnvironmentId::as_str);
        match written.default.given() {
            Some(at) => context.unknown(Code::UnknownEnvironment, at, "environment", known),
            None => context.put(
                Code::UnknownEnvironment,
                list.place,
                "the default environment `production` is not among those known",
                "add it, or say which is the `default`",
            ),
        }
    }
    (places.into_keys().collect(), default, sound)
}

/// A source has exactly one key; tells when it does not.
fn only_one(context: Context<'_>, place: Place, absent: &[(&str, bool)]) -> bool {
    let given: Vec<&str> = absent.iter().filter(|(_, absent)| !absent).map(|(key, _)| *key).collect();
    if given.len() == 1 {
        return true;
    }
    let keys: Vec<String> = absent.iter().map(|(key, _)| format!("`{key}`")).collect();
    context.put(
        Code::OneOf,
        place,
        format!("a source has exactly one of {}; this one has {}", keys.join(", "), given.len()),
        "write several sources as a list; all that name something must agree",
    );
    false
}

fn sources(context: Context<'_>, list: &At<OneOrMany<written::TenantSource>>) -> Vec<TenantSource> {
    let List { items, broken } = &list.value.0;
    if items.is_empty() && !broken {
        context.put(
            Code::BadValue,
            list.place,
            "this list names no source",
            "name one, e.g. `from: { path: tenant }`",
        );
    }
    items.iter().filter_map(|at| source(context, at)).collect()
}

fn source(context: Context<'_>, at: &At<written::TenantSource>) -> Option<TenantSource> {
    let written = &at.value;
    let keys = [
        ("path", written.path.is_absent()),
        ("header", written.header.is_absent()),
        ("host", written.host.is_absent()),
        ("claim", written.claim.is_absent()),
        ("fixed", written.fixed.is_absent()),
    ];
    if !only_one(context, at.place, &keys) {
        return None;
    }
    if let Some(claim) = written.claim.given() {
        if claim.value {
            return Some(TenantSource::Claim);
        }
        context.put(
            Code::BadValue,
            claim.place,
            "`claim: false` names nothing",
            "write `claim: true`, or remove it; which claim it is stands with the issuer",
        );
    }
    None.or_else(|| written.path.given().and_then(|at| parameter(context, at)).map(TenantSource::Path))
        .or_else(|| {
            written
                .header
                .given()
                .and_then(|at| context.header(at.place, &at.value))
                .map(TenantSource::Header)
        })
        .or_else(|| {
            written.host.given().and_then(|at| host(context, at, &HostLabel::Tenant)).map(TenantSource::Host)
        })
        .or_else(|| {
            written
                .fixed
                .given()
                .and_then(|at| context.id(at, TenantId::new, "tenant"))
                .map(TenantSource::Fixed)
        })
}

fn environment_sources(
    context: Context<'_>,
    list: &At<OneOrMany<written::EnvironmentSource>>,
) -> Vec<EnvironmentSource> {
    let mut claims = list.value.0.items.iter().filter(|at| !at.value.claim.is_absent());
    if let (Some(_), Some(second)) = (claims.next(), claims.next()) {
        context.put(
            Code::OneOf,
            second.place,
            "a token names its environment in one claim only",
            "keep one `claim` among the sources",
        );
    }
    list.value.0.items.iter().filter_map(|at| environment_source(context, at)).collect()
}

fn environment_source(
    context: Context<'_>,
    at: &At<written::EnvironmentSource>,
) -> Option<EnvironmentSource> {
    let written = &at.value;
    let keys = [
        ("path", written.path.is_absent()),
        ("header", written.header.is_absent()),
        ("host", written.host.is_absent()),
        ("claim", written.claim.is_absent()),
    ];
    if !only_one(context, at.place, &keys) {
        return None;
    }
    None.or_else(|| written.path.given().and_then(|at| parameter(context, at)).map(EnvironmentSource::Path))
        .or_else(|| {
            let header = written.header.given().and_then(|at| context.header(at.place, &at.value));
            header.map(EnvironmentSource::Header)
        })
        .or_else(|| {
            let host = written.host.given().and_then(|at| host(context, at, &HostLabel::Environment));
            host.map(EnvironmentSource::Host)
        })
        .or_else(|| {
            written.claim.given().and_then(|at| claim_path(context, at)).map(EnvironmentSource::Claim)
        })
}

/// Whether a text can be the name of a path's parameter.
pub(super) fn is_parameter(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The name of a path's parameter.
pub(super) fn parameter(context: Context<'_>, at: &At<String>) -> Option<String> {
    let name = at.value.as_str();
    if is_parameter(name) {
        return Some(name.to_owned());
    }
    context.put(
        Code::BadValue,
        at.place,
        format!("`{}` is no name of a path's parameter", short(name)),
        "write the name alone, without braces: lower-case letters, digits and `_`",
    );
    None
}

fn host(context: Context<'_>, at: &At<String>, wanted: &HostLabel) -> Option<Vec<HostLabel>> {
    let plain = |label: &str| {
        let edge = label.starts_with('-') || label.ends_with('-');
        let inside = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        !label.is_empty() && label.len() <= 63 && !edge && inside
    };
    let labels: Option<Vec<HostLabel>> = at
        .value
        .split('.')
        .map(|label| match label {
            "{tenant}" => Some(HostLabel::Tenant),
            "{environment}" => Some(HostLabel::Environment),
            literal => plain(literal).then(|| HostLabel::Literal(literal.to_owned())),
        })
        .collect();
    let once = |labels: &Vec<HostLabel>| {
        let count = |label: &HostLabel| labels.iter().filter(|l| *l == label).count();
        count(wanted) == 1 && count(&HostLabel::Tenant) <= 1 && count(&HostLabel::Environment) <= 1
    };
    if let Some(labels) = labels.filter(once) {
        return Some(labels);
    }
    let name = if *wanted == HostLabel::Tenant { "tenant" } else { "environment" };
    context.put(
        Code::BadValue,
        at.place,
        format!("`{}` is no pattern of hosts", short(&at.value)),
        format!(
            "write `{{{name}}}` once, as a whole label of a host in lower case: `{{{name}}}.app.example`"
        ),
    );
    None
}

fn known(
    context: Context<'_>,
    written: &Tenants,
    environments: &BTreeSet<EnvironmentId>,
    sound: bool,
) -> Vec<KnownTenant> {
    let Some(list) = written.known.value() else { return Vec::new() };
    // Where each tenant is declared, and whose child it says to be.
    let declared: BTreeMap<&str, Option<&str>> = list
        .items
        .iter()
        .filter_map(|at| Some((at.value.id.value()?.as_str(), at.value.parent.value().map(String::as_str))))
        .collect();
    let mut before: BTreeMap<&str, (Place, usize)> = BTreeMap::new();
    let mut out = Vec::new();
    for at in &list.items {
        let Some(id_at) = context.need(&at.value.id, at.place, "id", "name the tenant, e.g. `id: acme`")
        else {
            continue;
        };
        let id = context.id(id_at, TenantId::new, "tenant");
        let mut depth = 0;
        if let Some(parent) = at.value.parent.given() {
            match before.get(parent.value.as_str()) {
                Some((_, above)) => depth = above + 1,
                None => stray_parent(context, &id_at.value, parent, &declared, list.broken),
            }
            if depth > LONGEST_CHAIN {
                context.put(
                    Code::ParentsTooDeep,
                    parent.place,
                    format!("this tenant has {depth} parents above it; {LONGEST_CHAIN} are followed"),
                    "a longer chain gives no access at all; make it shorter",
                );
            }
        }
        if let Some((first, _)) = before.get(id_at.value.as_str()) {
            context.twice(id_at.place, "tenant", &id_at.value, *first);
            continue;
        }
        before.insert(id_at.value.as_str(), (id_at.place, depth));
        let zone = match &at.value.zone {
            Field::Absent => Some(Zone::UTC),
            Field::Broken => None,
            Field::Given(at) => zone(context, at),
        };
        let own = own_environments(context, &at.value.environments, environments, sound);
        let parent = at.value.parent.given().and_then(|parent| TenantId::new(&parent.value).ok());
        if let (Some(id), Some(zone)) = (id, zone) {
            out.push(KnownTenant { id, zone, parent, environments: own, line: context.line(at.place) });
        }
    }
    out
}

/// A parent that does not stand before its child: later, in a circle, or nowhere.
fn stray_parent(
    context: Context<'_>,
    child: &str,
    parent: &At<String>,
    declared: &BTreeMap<&str, Option<&str>>,
    broken: bool,
) {
    let mut above = Some(parent.value.as_str());
    for _ in 0..=declared.len() {
        let Some(name) = above else { break };
        if name == child {
            context.put(
                Code::ParentCycle,
                parent.place,
                format!("`{child}` would be its own parent's parent"),
                "let one of them stand at the top, without a parent",
            );
            return;
        }
        above = declared.get(name).copied().flatten();
    }
    if declared.contains_key(parent.value.as_str()) {
        context.put(
            Code::ParentAfterChild,
            parent.place,
            format!("the parent `{}` is declared after its child", short(&parent.value)),
            "move the parent before its child: it is registered first",
        );
    } else if !broken {
        context.unknown(Code::UnknownTenant, parent, "tenant", declared.keys().copied());
    }
}

fn zone(context: Context<'_>, at: &At<String>) -> Option<Zone> {
    let zone = Zone::named(&at.value);
    if zone.is_none() {
        context.put(
            Code::UnknownZone,
            at.place,
            format!("there is no time zone `{}`", short(&at.value)),
            "write an IANA name such as `Europe/Berlin`, or leave it out for UTC",
        );
    }
    zone
}

fn own_environments(
    context: Context<'_>,
    field: &Field<List<String>>,
    environments: &BTreeSet<EnvironmentId>,
    sound: bool,
) -> BTreeSet<EnvironmentId> {
    let Some(list) = field.given() else { return environments.clone() };
    if list.value.items.is_empty() && !list.value.broken {
        context.put(
            Code::BadValue,
            list.place,
            "a tenant without environments cannot be reached",
            "name one, or leave the key out for all of them",
        );
    }
    let mut own = BTreeSet::new();
    for at in &list.value.items {
        let Some(id) = context.id(at, EnvironmentId::new, "environment") else { continue };
        if sound && !environments.contains(&id) {
            let known = environments.iter().map(EnvironmentId::as_str);
            context.unknown(Code::UnknownEnvironment, at, "environment", known);
        } else if !own.insert(id) {
            let message = format!("the environment `{}` stands here twice", short(&at.value));
            context.put(Code::DuplicateName, at.place, message, "keep one of them");
        }
    }
    own
}
