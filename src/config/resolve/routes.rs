//! The route map: what each line owns and asks for.
//!
//! Never here: which of several templates wins, and the proof that each request has one owner: both are the route
//! table's ([`crate::policy::routes`]); its faults are told here with their places.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;

use super::{
    context::{Context, short},
    gateway::TOP,
    rights::Names,
    settings::{PathSettings, RouteEntry, TenantSource},
    tenants::{is_parameter, parameter},
    upstreams::Upstreams,
};
use crate::{
    config::{
        fault::Code,
        suggest,
        written::{At, Field, File, List, Place, Route},
    },
    model::ResourceType,
    policy::{
        PermissionId, Rule,
        path::PathRules,
        routes::{RouteFault, RouteSpec, RouteTable, TableRules, Template},
    },
};

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// What routes refer to.
pub(super) struct Around<'a> {
    pub(super) names: &'a Names,
    pub(super) upstreams: &'a Upstreams,
    pub(super) tenant_from: &'a [TenantSource],
    pub(super) prefix: Option<&'a str>,
    pub(super) paths: PathSettings,
}

/// The map, read.
#[derive(Default)]
pub(super) struct Map {
    pub(super) entries: Vec<RouteEntry>,
    pub(super) rules: Vec<Rule>,
}

pub(super) fn routes(context: Context<'_>, file: &File, around: &Around<'_>, used: &mut [bool]) -> Map {
    let hint = "map the application, e.g. `routes: [ { route: \"GET /t/{tenant}/orders\", permission: orders:read } ]`";
    let Some(list) = context.need(&file.routes, TOP(), "routes", hint) else { return Default::default() };
    if list.value.items.is_empty() && !list.value.broken {
        context.put(
            Code::NoRoutes,
            list.place,
            "the route map is empty, so staff would be refused everywhere",
            hint,
        );
    }
    let nowhere = sources_nowhere(context, file, &list.value);
    let mut asked: BTreeSet<PermissionId> = BTreeSet::new();
    let before = context.faults.count();
    let (mut entries, mut rules, mut specs) = (Vec::new(), Vec::new(), Vec::new());
    for at in &list.value.items {
        let Some(line) = route(context, at, around, &nowhere, used) else { continue };
        asked.extend(&line.rule.permissions);
        let id = u32::try_from(rules.len()).unwrap_or(u32::MAX);
        let (host, methods) = (line.entry.host.clone(), line.entry.methods.clone());
        specs.push((RouteSpec { host, methods, template: line.entry.template.clone(), id }, line.place));
        entries.push(RouteEntry { rule: rules.len(), ..line.entry });
        rules.push(line.rule);
    }
    // What is misspelt in the map is not told a second time as something that nobody asks for.
    let all = !list.value.broken && !entries.is_empty() && entries.len() == list.value.items.len();
    if all && around.names.whole && context.faults.count() == before {
        for (name, place) in &around.names.places {
            let id = around.names.catalogue.id(name.as_str());
            if id.is_some_and(|id| !asked.contains(&id)) {
                context.warn(
                    Code::Unused,
                    *place,
                    format!("no route asks for `{name}`"),
                    "map the routes that need it, or remove it",
                );
            }
        }
    }
    prove(context, list.place, &specs, around.paths.table);
    Map { entries, rules }
}

/// One line, read.
struct Line {
    entry: RouteEntry,
    rule: Rule,
    place: Place,
}

/// Tells each parameter by which tenants or environments are to be named and which no route has: it would name
/// nothing, and the other sources alone would decide (law 11). These parameters.
fn sources_nowhere<'f>(context: Context<'_>, file: &'f File, routes: &List<Route>) -> BTreeSet<&'f str> {
    let texts = || routes.items.iter().filter_map(|at| at.value.route.value());
    let mut nowhere = BTreeSet::new();
    if routes.broken || routes.items.is_empty() || texts().count() < routes.items.len() {
        return nowhere;
    }
    let Some(tenants) = file.tenants.value() else { return nowhere };
    let of_tenants = tenants.from.value().into_iter().flat_map(|list| &list.0.items);
    let environments = tenants.environments.value().and_then(|written| written.from.value());
    let of_environments = environments.into_iter().flat_map(|list| &list.0.items);
    let paths = of_tenants
        .filter_map(|at| at.value.path.given().map(|path| ("tenant", path)))
        .chain(of_environments.filter_map(|at| at.value.path.given().map(|path| ("environment", path))));
    for (what, path) in paths {
        let name = path.value.as_str();
        // Names that are none are told where the source is read.
        if !is_parameter(name) || texts().any(|text| names_parameter(text, name)) {
            continue;
        }
        let all: BTreeSet<&str> = texts()
            .flat_map(|text| text.split('{').skip(1))
            .filter_map(|text| text.split_once('}').map(|(name, _)| name.trim_start_matches('*')))
            .collect();
        context.put(
            Code::MissingParameter,
            path.place,
            format!("no route has `{{{name}}}`, by which a request would name its {what}"),
            suggest::hint(name, all.iter().copied(), "parameters of the routes"),
        );
        nowhere.insert(name);
    }
    nowhere
}

/// Whether a route's text has a parameter of this name.
fn names_parameter(text: &str, name: &str) -> bool {
    [format!("{{{name}}}"), format!("{{*{name}}}")].iter().any(|parameter| text.contains(parameter.as_str()))
}

fn route(
    context: Context<'_>,
    at: &At<Route>,
    around: &Around<'_>,
    nowhere: &BTreeSet<&str>,
    used: &mut [bool],
) -> Option<Line> {
    let written = &at.value;
    let hint = "write methods and path: `route: GET /t/{tenant}/api/orders/{order}`";
    let text = context.need(&written.route, at.place, "route", hint);
    let head = text.and_then(|text| head(context, text));
    let host = written.host.given().map(|at| own_host(context, at));
    let asked = asked(context, at, around.names);
    let upstream = around.upstreams.find(context, &written.upstream, at.place, used);
    let resource = match &written.resource {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(at) => {
            let kind = context.need(&at.value.kind, at.place, "type", "name its type, e.g. `type: orders`");
            let kind = kind.and_then(|kind| resource_type(context, kind, around.names));
            let id = context.need(
                &at.value.id,
                at.place,
                "id",
                "name the parameter of the path, e.g. `id: order`",
            );
            let id = id.and_then(|id| parameter(context, id).map(|name| (name, id.place)));
            kind.zip(id).map(Some)
        }
    };
    let (methods, path) = head?;
    let text = text?;
    let template_place = context.part(text.place, &path);
    let template = template(context, template_place, &path, around.paths.rules)?;
    let parameters: Vec<&str> = template.names().collect();
    if let Some(prefix) = around.prefix
        && format!("{}/", path.trim_end_matches('/')).starts_with(prefix)
    {
        context.put(
            Code::ReservedPath,
            template_place,
            format!("`{}` lies below the reserved prefix `{prefix}`", short(&path)),
            "map another path, or move the `prefix`",
        );
    }
    let (permissions, public) = asked?;
    for source in around.tenant_from {
        if let TenantSource::Path(name) = source
            && !parameters.contains(&name.as_str())
            && !nowhere.contains(name.as_str())
            && let Some(near) = parameters.iter().find(|one| suggest::nearest(one, [name.as_str()]).is_some())
        {
            context.warn(
                Code::MissingParameter,
                context.part(template_place, near),
                format!("`{{{near}}}` is nearly `{{{name}}}`, and does not name the request's tenant"),
                format!("write `{{{name}}}`, or another name if it means something else"),
            );
        }
    }
    if let [TenantSource::Path(name)] = around.tenant_from
        && !public
        && !parameters.contains(&name.as_str())
        && !nowhere.contains(name.as_str())
    {
        context.put(
            Code::MissingParameter,
            template_place,
            format!("the path has no `{{{name}}}`, by which a request names its tenant"),
            format!(
                "put `{{{name}}}` into the path, make the route `public`, or name tenants in another way too"
            ),
        );
    }
    let resource = resource?;
    if let Some((_, (name, place))) = &resource
        && !parameters.contains(&name.as_str())
    {
        context.put(
            Code::MissingParameter,
            *place,
            format!("the path has no parameter `{name}`"),
            suggest::hint(name, parameters.iter().copied(), "parameters of this path"),
        );
    }
    let (kind, id) = match resource {
        Some((kind, (name, _))) => (Some(kind), Some(name)),
        None => (None, None),
    };
    let rule = Rule { name: text.value.clone(), permissions, public, resource: kind, upstream: upstream? };
    let entry = RouteEntry {
        host: host.flatten(),
        methods,
        template,
        rule: 0,
        resource_parameter: id,
        line: context.line(text.place),
    };
    Some(Line { entry, rule, place: text.place })
}

/// Methods and template of `GET,POST /path`.
fn head(context: Context<'_>, at: &At<String>) -> Option<(Vec<Method>, String)> {
    let bad = |part: &str, message: String, hint: &str| {
        context.put(Code::BadRoute, context.part(at.place, part), message, hint);
    };
    let Some((methods, template)) = at.value.split_once(' ') else {
        let message = format!("`{}` is not methods and path", short(&at.value));
        bad(&at.value, message, "write both with a space between: `GET /t/{tenant}/api/orders`");
        return None;
    };
    let template = template.trim_start_matches(' ');
    let mut read: Vec<Method> = Vec::new();
    let mut sound = true;
    for name in methods.split(',') {
        let upper =
            !name.is_empty() && name.len() <= 32 && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        let slip = !METHODS.contains(&name) && suggest::nearest(name, METHODS.iter().copied()).is_some();
        let method = Method::from_bytes(name.as_bytes()).ok().filter(|_| upper && !slip);
        match method {
            Some(Method::TRACE | Method::CONNECT) => {
                bad(name, format!("`{name}` is always refused"), "remove it from the route");
                sound = false;
            }
            Some(method) if read.contains(&method) => {
                bad(methods, format!("`{name}` stands here twice"), "keep one of them");
                sound = false;
            }
            Some(method) => read.push(method),
            None => {
                let upper_name = name.to_ascii_uppercase();
                let hint = suggest::hint(&upper_name, METHODS.iter().copied(), "usual methods");
                bad(name, format!("`{}` is no method", short(name)), &hint);
                sound = false;
            }
        }
    }
    sound.then(|| (read, template.to_owned()))
}

/// The template, with the caret below what is wrong in it.
fn template(context: Context<'_>, place: Place, text: &str, rules: PathRules) -> Option<Template> {
    let bad = |place: Place, message: String| {
        let hint = "a path is `/t/{tenant}/orders/{order}`; a parameter is a whole segment, `{*rest}` the whole rest";
        context.put(Code::BadRoute, place, message, hint);
        None
    };
    match Template::parse(text) {
        Ok(template) => match template.fault_under(rules) {
            Some(fault) => bad(place, format!("no request can match this path: {fault}")),
            None => Some(template),
        },
        // Only where the text stands in the file as it is does a column of it mean a place in the file.
        Err(fault) if place.len() == text.len() => {
            let start = (fault.column - 1).min(text.len());
            bad(place.within(start, fault.length.min(text.len() - start)), fault.problem.to_string())
        }
        Err(fault) => bad(place, fault.to_string()),
    }
}

/// Proves that the routes make a map; each fault is told at the line of the later route.
fn prove(context: Context<'_>, owner: Place, lines: &[(RouteSpec, Place)], rules: TableRules) {
    let specs = lines.iter().map(|(spec, _)| spec.clone()).collect();
    let Err(faults) = RouteTable::build_under(specs, rules) else { return };
    let place =
        |id: u32| usize::try_from(id).ok().and_then(|id| lines.get(id)).map_or(owner, |(_, place)| *place);
    let line = |id: u32| context.line(place(id));
    for fault in faults {
        let message = fault.to_string();
        let (code, at, message, hint) = match fault {
            RouteFault::Conflict { a, b, witness } => (
                Code::RouteConflict,
                place(a.max(b)),
                format!("the route in line {} owns `{witness}` already", line(a.min(b))),
                "each request has one owner: take the method out of one of them, or join them",
            ),
            RouteFault::CaseTwins { a, b, witness } => (
                Code::RouteTwins,
                place(a.max(b)),
                format!("this differs from the route in line {} in case only: `{witness}`", line(a.min(b))),
                "spell them alike, or write `paths: { case: distinct }` if the application tells them apart",
            ),
            RouteFault::NeverReached { id, template } => (
                Code::RouteNeverReached,
                place(id),
                format!("more specific routes own all that `{template}` covers"),
                "remove it: no request can reach it",
            ),
            RouteFault::NoMethod { id }
            | RouteFault::RefusedMethod { id, .. }
            | RouteFault::Host { id, .. } => {
                (Code::BadRoute, place(id), message, "correct the route's methods or host")
            }
            RouteFault::TooEntangled => {
                (Code::BadRoute, owner, message, "use fewer parameters beside literals at the same depth")
            }
        };
        context.put(code, at, message, hint);
    }
}

fn own_host(context: Context<'_>, at: &At<String>) -> Option<String> {
    let sound = !at.value.is_empty()
        && at.value.len() <= 253
        && at.value.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        });
    if !sound {
        context.put(
            Code::BadValue,
            at.place,
            format!("`{}` is no host for a route", short(&at.value)),
            "write it in lower case, without port, wildcard or dot at the end: `app.example`",
        );
        return None;
    }
    Some(at.value.clone())
}

/// What a route asks for: permissions, or nothing because it is public.
fn asked(context: Context<'_>, at: &At<Route>, names: &Names) -> Option<(Vec<PermissionId>, bool)> {
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

fn resource_type(context: Context<'_>, at: &At<String>, names: &Names) -> Option<ResourceType> {
    let kind = context.id(at, ResourceType::new, "type of a resource")?;
    let types: BTreeMap<&str, ()> =
        names.catalogue.iter().map(|(_, name)| (name.resource_type(), ())).collect();
    if names.whole && !types.contains_key(kind.as_str()) {
        context.put(
            Code::UnknownWord,
            at.place,
            format!("no permission is about `{kind}`"),
            suggest::hint(kind.as_str(), types.keys().copied(), "types of resources"),
        );
    }
    Some(kind)
}
