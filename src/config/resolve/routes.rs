//! The route map: what each line owns and asks for.
//!
//! Never here: which of several templates wins, and the proof that each request has one owner: both are the route
//! table's ([`crate::policy::routes`]); its faults are told here with their places.

mod creates;
pub(super) mod head;
mod keys;
mod narrow;
mod prove;
mod query;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    context::{Context, short},
    gateway::TOP,
    resources::Types,
    rights::{Names, Roles},
    settings::{PathSettings, RouteEntry, TenantSource},
    tenants::is_parameter,
    upstreams::Upstreams,
};
use crate::{
    config::{
        fault::Code,
        suggest,
        written::{At, File, List, Place, Route},
    },
    model::EnvironmentId,
    policy::{PermissionId, Rule, routes::RouteSpec},
};
pub(super) use prove::{Owned, whole};

/// What routes refer to.
pub(super) struct Around<'a> {
    pub(super) names: &'a Names,
    pub(super) types: &'a Types,
    pub(super) roles: &'a Roles,
    /// The roles that are held at resources, each with its type.
    pub(super) roles_at: Vec<(&'a str, &'a str)>,
    /// Whether members' roles stand in rows, of any issuer.
    pub(super) rows: bool,
    pub(super) upstreams: &'a Upstreams,
    pub(super) tenant_from: &'a [TenantSource],
    pub(super) prefix: Option<&'a str>,
    pub(super) paths: PathSettings,
    pub(super) environments: &'a BTreeSet<EnvironmentId>,
    pub(super) cors: bool,
}

/// The map, read.
#[derive(Default)]
pub(super) struct Map {
    pub(super) entries: Vec<RouteEntry>,
    pub(super) rules: Vec<Rule>,
    /// `None` where they make no map.
    pub(super) owned: Option<Owned>,
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
    // Who says what roles hold is asked for it by the support API.
    let of_roles = file.tenant_roles.value().and_then(|roles| roles.permission.value());
    asked.extend(of_roles.and_then(|name| around.names.catalogue.id(name)));
    // … and so is who looks after the members of resources.
    asked.extend(around.types.map.values().flat_map(|rule| [rule.manage, rule.list]).flatten());
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
    unique_names(context, &list.value);
    let table = prove::one_owner(context, list.place, &specs, around.paths.table);
    let places = specs.iter().map(|(_, place)| *place).collect();
    Map { entries, rules, owned: table.map(|table| Owned { table, places }) }
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
    let head = text.and_then(|text| head::head(context, text));
    let host = written.host.given().map(|at| head::own_host(context, at));
    let asked = keys::asked(context, at, around.names);
    let resource = keys::resource(context, &written.resource, around.names, around.types);
    let name = keys::name(context, &written.name, text.map_or("", |text| text.value.as_str()));
    let environments = keys::environments(context, written, around.environments);
    let limits = keys::limits(context, written);
    let told = narrow::told(context, written, around.names, around.types);
    let made = creates::told(context, written, around);
    let (methods, path) = head?;
    let upgrade = keys::upgrade(context, written, &methods);
    let text = text?;
    let preflight = keys::preflight(context, written, &methods, around.cors);
    let template_place = context.part(text.place, &path);
    let template = head::template(context, template_place, &path, around.paths.rules)?;
    let parameters: Vec<&str> = template.names().collect();
    creates::in_one_tenant(context, made.as_ref(), &template, around);
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
    for (name, place) in resource.iter().flat_map(keys::Acted::parameters) {
        if !parameters.contains(&name.as_str()) {
            context.put(
                Code::MissingParameter,
                *place,
                format!("the path has no parameter `{name}`"),
                suggest::hint(name, parameters.iter().copied(), "parameters of this path"),
            );
        }
    }
    let (kind, id, within, within_parameters) = match resource {
        Some(acted) => (
            Some(acted.kind),
            Some(acted.id.0),
            acted.within,
            acted.outer.into_iter().map(|(name, _)| name).collect(),
        ),
        None => (None, None, Default::default(), Vec::new()),
    };
    let host = host.flatten();
    let upstream = around.upstreams.of_route(
        context,
        &written.upstream,
        text.place,
        host.as_deref(),
        &template,
        used,
    )?;
    if let Some(upstream) = around.upstreams.list.get(upstream) {
        keys::rewritten(context, template_place, &template, upstream, around.paths.rules);
        keys::upgraded(context, written, upstream);
    }
    let rule = Rule {
        name: name?,
        permissions,
        public,
        resource: kind,
        within,
        upstream,
        effect: keys::effect(written),
        record: keys::record(context, written, public),
        environments,
        plans: keys::plans(context, written, public),
        narrow: None,
        whole_only: false,
        creates: None,
    };
    let (rule, query) = narrow::narrowed(context, rule, &methods, upgrade, told, around.types);
    let rule = creates::added(context, rule, &methods, upgrade, made, around);
    let entry = RouteEntry {
        host,
        methods,
        template,
        rule: 0,
        resource_parameter: id,
        within_parameters,
        upgrade,
        preflight,
        limits,
        query,
        line: context.line(text.place),
    };
    Some(Line { entry, rule, place: text.place })
}

/// Names are told apart in records.
fn unique_names(context: Context<'_>, routes: &List<Route>) {
    let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
    for at in routes.items.iter().filter_map(|at| at.value.name.given()) {
        if let Some(first) = seen.insert(&at.value, at.place) {
            context.twice(at.place, "route", &at.value, first);
        }
    }
}
