//! What a line asks for and how its requests are treated.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;

use crate::{
    config::{
        fault::Code,
        resolve::{
            context::{Context, short},
            gateway::DAY,
            resources::Types,
            rights::Names,
            settings::{Preflight, RouteLimits, UpstreamSettings},
            tenant_roles::plans_of,
            tenants::parameter,
        },
        suggest,
        written::{self, At, Field, Place, Route},
    },
    model::{EnvironmentId, ResourceType},
    net::servers::Protocol,
    policy::{Effect, PermissionId, Plans, Within, path::PathRules},
};

/// What a route asks for: permissions, or nothing because it is public.
pub(super) fn asked(
    context: Context<'_>,
    at: &At<Route>,
    names: &Names,
) -> Option<(Vec<PermissionId>, bool)> {
    let written = &at.value;
    if written.public.is_broken() || written.permission.is_broken() {
        return None;
    }
    let public = written.public.value().copied().unwrap_or(false);
    let hint = "write `permission: orders:read` for what it takes, or `public: true` to open it to everybody";
    let Some(list) = written.permission.given() else {
        if !public {
            context.put(
                Code::OneOf,
                written.route.given().map_or(at.place, |route| route.place),
                "nothing says what this route takes",
                hint,
            );
            return None;
        }
        return Some((Vec::new(), true));
    };
    if public {
        context.put(Code::OneOf, list.place, "a public route asks for no permission", "keep one of the two");
        return None;
    }
    let items = &list.value.0.items;
    if items.is_empty() && !list.value.0.broken {
        context.put(Code::BadValue, list.place, "this list is empty", hint);
        return None;
    }
    let mut ids: Vec<PermissionId> = Vec::new();
    let mut sound = !list.value.0.broken;
    for at in items {
        match names.permission(context, at) {
            Some(id) if ids.contains(&id) => {
                let message = format!("`{}` stands here twice", short(&at.value));
                context.put(Code::DuplicateName, at.place, message, "keep one of them");
            }
            Some(id) => ids.push(id),
            None => sound = false,
        }
    }
    // A name that is not known keeps its route in the map, so that other faults of the map are told too.
    (sound || names.whole).then_some((ids, false))
}

pub(super) fn resource_type(
    context: Context<'_>,
    at: &At<String>,
    names: &Names,
    declared: &Types,
) -> Option<ResourceType> {
    let kind = context.id(at, ResourceType::new, "type of a resource")?;
    let mut types: BTreeMap<&str, ()> =
        names.catalogue.iter().map(|(_, name)| (name.resource_type(), ())).collect();
    types.extend(declared.map.keys().map(|kind| (kind.as_str(), ())));
    if names.whole && declared.whole && !types.contains_key(kind.as_str()) {
        context.put(
            Code::UnknownWord,
            at.place,
            format!("no permission is about `{kind}`"),
            suggest::hint(kind.as_str(), types.keys().copied(), "types of resources"),
        );
    }
    Some(kind)
}

/// The resource that a path names, and what it says of where that lies.
pub(super) struct Acted {
    pub(super) kind: ResourceType,
    /// The parameter, with its place.
    pub(super) id: (String, Place),
    pub(super) within: Within,
    /// The parameters of those that it lies in.
    pub(super) outer: Vec<(String, Place)>,
}

impl Acted {
    /// All parameters that it names.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &(String, Place)> {
        std::iter::once(&self.id).chain(&self.outer)
    }
}

/// The resource that a path names. `None` where that is broken.
pub(super) fn resource(
    context: Context<'_>,
    field: &Field<written::Resource>,
    names: &Names,
    types: &Types,
) -> Option<Option<Acted>> {
    let at = match field {
        Field::Absent => return Some(None),
        Field::Broken => return None,
        Field::Given(at) => at,
    };
    let kind = context.need(&at.value.kind, at.place, "type", "name its type, e.g. `type: orders`");
    let kind = kind.and_then(|kind| resource_type(context, kind, names, types));
    let hint = "name the parameter of the path, e.g. `id: order`";
    let id = context.need(&at.value.id, at.place, "id", hint);
    let id = id.and_then(|id| parameter(context, id).map(|name| (name, id.place)));
    let (kind, id) = kind.zip(id)?;
    let mut acted = Acted { kind, id, within: Within::default(), outer: Vec::new() };
    for one in at.value.within.value().into_iter().flat_map(|list| &list.0.items) {
        outer(context, one, types, &mut acted);
    }
    if let Some(checked) = at.value.checked.given() {
        acted.within.checked = checked.value;
        if checked.value && acted.within.types.is_empty() && at.value.within.is_absent() {
            context.warn(
                Code::Unused,
                checked.place,
                "the path names nothing that the resource lies in, so there is nothing to check",
                "name it in `within`, or remove `checked`",
            );
        }
    }
    Some(Some(acted))
}

/// One of the resources that it lies in.
fn outer(context: Context<'_>, at: &At<written::OuterResource>, types: &Types, acted: &mut Acted) {
    let hint = "name the type of what it lies in, e.g. `type: board`";
    let kind_at = context.need(&at.value.kind, at.place, "type", hint);
    let hint = "name the parameter of the path, e.g. `id: board`";
    let id = context.need(&at.value.id, at.place, "id", hint);
    let (Some(kind_at), Some(id)) = (kind_at, id) else { return };
    let Some(name) = parameter(context, id) else { return };
    let Some(kind) = context.id(kind_at, ResourceType::new, "type of a resource") else { return };
    let inner = acted.within.types.last().unwrap_or(&acted.kind);
    if !types.lies_in(inner, &kind) {
        if types.whole {
            context.put(
                Code::BadValue,
                kind_at.place,
                format!("resources of type `{inner}` lie in none of type `{kind}`"),
                "name what it lies in by `resource_types`, nearest first",
            );
        }
        return;
    }
    acted.within.types.push(kind);
    acted.outer.push((name, id.place));
}

/// The route's name in records: its own, or else its head.
pub(super) fn name(context: Context<'_>, field: &Field<String>, head: &str) -> Option<String> {
    match field {
        Field::Absent => Some(head.to_owned()),
        Field::Broken => None,
        Field::Given(at) => context.visible(at, "the name of a route", 200),
    }
}

/// The plans whose tenants have a route.
pub(super) fn plans(context: Context<'_>, route: &Route, public: bool) -> Plans {
    if let Some(list) = route.plans.given().filter(|_| public) {
        let message = "whoever asks for what is open to everybody is of no tenant";
        context.put(Code::BadValue, list.place, message, "remove `plans`, or `public: true`");
    }
    plans_of(context, &route.plans)
}

/// The environments that a route exists in; empty is all.
pub(super) fn environments(
    context: Context<'_>,
    route: &Route,
    known: &BTreeSet<EnvironmentId>,
) -> BTreeSet<EnvironmentId> {
    let Some(list) = route.environments.given() else { return BTreeSet::new() };
    if list.value.0.items.is_empty() && !list.value.0.broken {
        let hint = "name the environments, or remove the key: then it exists in all";
        context.put(Code::BadValue, list.place, "this list is empty", hint);
    }
    let mut set = BTreeSet::new();
    for at in &list.value.0.items {
        match known.iter().find(|id| id.as_str() == at.value) {
            Some(id) if set.insert(id.clone()) => {}
            Some(_) => {
                let message = format!("`{}` stands here twice", short(&at.value));
                context.put(Code::DuplicateName, at.place, message, "keep one of them");
            }
            None if known.is_empty() => {}
            None => {
                let names = known.iter().map(EnvironmentId::as_str);
                context.unknown(Code::UnknownEnvironment, at, "environment", names);
            }
        }
    }
    set
}

/// What the route's requests do, as declared.
pub(super) fn effect(route: &Route) -> Option<Effect> {
    route.effect.value().map(|effect| match effect {
        written::Effect::Read => Effect::Read,
        written::Effect::Write => Effect::Write,
    })
}

/// Whether a connection may become a WebSocket: only a `GET` asks for one (RFC 6455, 4.1).
/// A connection of HTTP/2 becomes nothing else.
pub(super) fn upgraded(context: Context<'_>, route: &Route, upstream: &UpstreamSettings) {
    if let Some(at) = route.upgrade.given()
        && upstream.protocol == Protocol::Http2
    {
        context.put(
            Code::BadValue,
            at.place,
            format!(
                "`{}` is spoken to by HTTP/2, whose connections become no WebSockets",
                short(&upstream.name)
            ),
            "give WebSockets an upstream of their own with `protocol: http1`, at the same address if need be",
        );
    }
}

pub(super) fn upgrade(context: Context<'_>, route: &Route, methods: &[Method]) -> bool {
    let Some(at) = route.upgrade.given() else { return false };
    let written::Upgrade::Websocket = at.value;
    if !methods.contains(&Method::GET) {
        let hint = "give the route the method `GET`, or remove the key";
        context.put(
            Code::BadValue,
            at.place,
            "a WebSocket is opened with `GET`, which this route lacks",
            hint,
        );
    }
    true
}

/// Whether members' requests are recorded.
pub(super) fn record(context: Context<'_>, route: &Route, public: bool) -> bool {
    let Some(at) = route.record.given() else { return false };
    if at.value && public {
        let hint = "ask for a permission: a record names who asked, and a public route hears of nobody";
        context.put(Code::OneOf, at.place, "requests of a public route cannot be recorded", hint);
    }
    at.value && !public
}

/// What becomes of preflights; `answer` is the default where there is `cors`.
pub(super) fn preflight(context: Context<'_>, route: &Route, methods: &[Method], cors: bool) -> Preflight {
    let Some(at) = route.preflight.given() else {
        return if cors { Preflight::Answer } else { Preflight::Refuse };
    };
    match at.value {
        written::Preflight::Refuse => return Preflight::Refuse,
        written::Preflight::Answer if !cors => {
            let hint =
                "declare `cors: { origins: [\"https://app.example\"] }`, or write `forward` or `refuse`";
            context.put(Code::MissingKey, at.place, "nothing says how a preflight is answered", hint);
        }
        written::Preflight::Answer | written::Preflight::Forward => {}
    }
    if methods == [Method::OPTIONS] {
        let hint = "remove it: preflights ask for another method, and this route owns `OPTIONS` itself";
        context.put(Code::OneOf, at.place, "a preflight never asks for `OPTIONS` alone", hint);
    }
    if at.value == written::Preflight::Forward { Preflight::Forward } else { Preflight::Answer }
}

/// The route's own bounds.
pub(super) fn limits(context: Context<'_>, route: &Route) -> RouteLimits {
    let Some(written) = route.limits.value() else { return RouteLimits::default() };
    let time = |field: &Field<written::Duration>, most: i64| {
        (!field.is_absent()).then(|| context.duration(field, most, 1, most))
    };
    if let Some(at) = written.tunnel_idle.given().filter(|_| route.upgrade.is_absent()) {
        context.warn(
            Code::Unused,
            at.place,
            "this route has no tunnel, so nothing looks at `tunnel_idle`",
            "remove it, or write `upgrade: websocket`",
        );
    }
    RouteLimits {
        request_body: (!written.request_body.is_absent())
            .then(|| context.size(&written.request_body, 0, 0, 1 << 50)),
        body_idle_ms: time(&written.body_idle, DAY / 24),
        body_rate: (!written.body_rate.is_absent()).then(|| context.size(&written.body_rate, 0, 0, 1 << 30)),
        response_timeout_ms: time(&written.response_timeout, DAY / 24),
        tunnel_idle_ms: time(&written.tunnel_idle, DAY),
        total_ms: time(&written.total, 7 * DAY),
    }
}

/// Why a template is refused at load, for paths that are rewritten.
pub(super) fn rewritten(
    context: Context<'_>,
    place: Place,
    template: &crate::policy::routes::Template,
    upstream: &crate::config::resolve::UpstreamSettings,
    rules: PathRules,
) {
    let Err(fault) = upstream.rewrite.prove(template, rules) else { return };
    let example = template.example("x");
    let message = format!("`{example}` cannot go to the upstream `{}`: {fault}", upstream.name);
    let hint = match &upstream.rewrite.strip {
        Some(strip) => format!("give the route a path below `{strip}/`, or another `upstream`"),
        None => "correct the upstream's `add_prefix`, or the path".to_owned(),
    };
    context.put(Code::BadRewrite, place, message, hint);
}
