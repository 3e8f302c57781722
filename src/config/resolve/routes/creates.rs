//! What the requests of a line make.
//!
//! Never here: what follows from it ([`crate::lifecycle`]).

use std::collections::BTreeMap;

use http::Method;

use super::{Around, head, narrow::pointer};
use crate::{
    config::{
        fault::Code,
        resolve::{
            context::{Context, short},
            settings::TenantSource,
        },
        written::{At, CreatedId, Creates, Place, Route},
    },
    model::{ResourceType, RoleName},
    policy::{
        self, Effect, Rule,
        creates::{IdFrom, TENANT},
        routes::{Segment, Template},
    },
};

/// What a line says of it.
pub(super) struct Told {
    creates: policy::Creates,
    place: Place,
    /// Where each role stands that takes another's place.
    becomes: Vec<(RoleName, RoleName, Place)>,
}

/// Reads it. `None` where it is broken, or not there.
pub(super) fn told(context: Context<'_>, route: &Route, around: &Around<'_>) -> Option<Told> {
    let at = route.creates.given()?;
    let written = &at.value;
    let hint = "name the type of what is made: `type: pipe`";
    let kind = context.need(&written.kind, at.place, "type", hint);
    let kind = kind.and_then(|kind| around.types.known(context, kind));
    let hint =
        "say where its identifier stands: `id: { location: \"/api/pipes/{pipe}\" }` or `id: { json: /id }`";
    let id = context.need(&written.id, at.place, "id", hint).and_then(|id| id_from(context, id, around));
    let role = match written.role.given() {
        Some(role) => Some(role_at(context, role, kind.as_ref()?, around)?),
        None => None,
    };
    let becomes = becomes(context, written, around);
    let all: BTreeMap<RoleName, RoleName> =
        becomes.iter().map(|(from, to, _)| (from.clone(), to.clone())).collect();
    let creates = policy::Creates { kind: kind?, id: id?, role, becomes: all };
    Some(Told { creates, place: at.place, becomes })
}

/// Tells a form of `Location` that names one tenant where the route names whichever asks: the answers to all others would be unlike.
pub(super) fn in_one_tenant(
    context: Context<'_>,
    told: Option<&Told>,
    route: &Template,
    around: &Around<'_>,
) {
    let Some(Told { creates: policy::Creates { id: IdFrom::Location(form), .. }, place, .. }) = told else {
        return;
    };
    let names = |segment: &Segment| {
        let by = |source: &TenantSource| matches!((source, segment), (TenantSource::Path(by), Segment::Parameter(name)) if **name == **by);
        around.tenant_from.iter().any(by)
    };
    let differs = route.segments().iter().zip(form.segments()).find(|(ours, theirs)| ours != theirs);
    if let Some((ours, Segment::Literal(tenant))) = differs
        && names(ours)
    {
        let message = format!("`{}` stands where the route names the tenant that asks", short(tenant));
        let hint = "write `{tenant}` there: the answer has to name the tenant that asked";
        context.put(Code::BadValue, *place, message, hint);
    }
}

fn id_from(context: Context<'_>, at: &At<CreatedId>, around: &Around<'_>) -> Option<IdFrom> {
    match (at.value.location.given(), at.value.json.given()) {
        (Some(location), None) => {
            let place = context.part(location.place, &location.value);
            let template = head::template(context, place, &location.value, around.paths.rules)?;
            let tail = template.segments().iter().any(|segment| matches!(segment, Segment::Tail(_)));
            if tail || template.names().filter(|name| *name != TENANT).count() != 1 {
                let message = format!("`{}` does not name one identifier", short(&location.value));
                let hint = "write a path with one parameter, the identifier, and `{tenant}` where the tenant stands: `/t/{tenant}/pipes/{pipe}`";
                context.put(Code::BadValue, location.place, message, hint);
                return None;
            }
            Some(IdFrom::Location(template))
        }
        (None, Some(json)) => {
            let pointer = pointer(context, json)?;
            if pointer.steps().is_empty() {
                let hint = "name the member: `json: /id`";
                context.put(Code::BadValue, json.place, "the whole answer is no identifier", hint);
                return None;
            }
            Some(IdFrom::Json(pointer))
        }
        _ if at.value.location.is_broken() || at.value.json.is_broken() => None,
        (found, _) => {
            let message = match found {
                Some(_) => "both `location` and `json` say where the identifier stands",
                None => "nothing says where the identifier stands",
            };
            context.put(Code::OneOf, at.place, message, "keep one of the two: `location` or `json`");
            None
        }
    }
}

/// A role that is held at that type.
fn role_at(
    context: Context<'_>,
    at: &At<String>,
    kind: &ResourceType,
    around: &Around<'_>,
) -> Option<RoleName> {
    let there = around.roles_at.iter().filter(|(_, of)| *of == kind.as_str());
    let known: Vec<&str> = there.map(|(name, _)| *name).collect();
    if !known.contains(&at.value.as_str()) {
        context.unknown(Code::UnknownRole, at, "role at these resources", known);
        return None;
    }
    RoleName::new(&at.value).ok()
}

fn becomes(context: Context<'_>, written: &Creates, around: &Around<'_>) -> Vec<(RoleName, RoleName, Place)> {
    let Some(table) = written.becomes.given() else { return Vec::new() };
    if !around.rows {
        context.put(
            Code::BadValue,
            table.place,
            "roles in the tenant stand in tokens here, and nothing that a gateway does changes those",
            "have members' roles in rows (`roles: rows` of their issuer), or remove it",
        );
    }
    let mut all = Vec::new();
    for (from, to) in &table.value.entries {
        let (from_name, to_name) = (around.roles.known(context, from), around.roles.known(context, to));
        let (Some(from_name), Some(to_name)) = (from_name, to_name) else { continue };
        if from_name == to_name {
            let message = format!("`{from_name}` would become what it is");
            context.put(Code::BadValue, to.place, message, "name another role, or remove the entry");
            continue;
        }
        all.push((from_name, to_name, to.place));
    }
    all
}

/// Adds it to the rule of its line.
pub(super) fn added(
    context: Context<'_>,
    mut rule: Rule,
    methods: &[Method],
    upgrade: bool,
    told: Option<Told>,
    around: &Around<'_>,
) -> Rule {
    let Some(Told { creates, place, becomes }) = told else { return rule };
    let one_of = |message: &str, hint: &str| context.put(Code::OneOf, place, message, hint);
    if rule.public {
        one_of(
            "a public route hears of nobody, so nobody made what is made there",
            "ask for a permission, or remove `creates`",
        );
    }
    if rule.narrow.is_some() {
        one_of(
            "what is narrowed only reads, and creates nothing",
            "keep one of the two: `narrow` or `creates`",
        );
    } else if upgrade {
        one_of(
            "what passes in a WebSocket is not looked at, so nothing is learned from it",
            "give WebSockets a route of their own",
        );
    } else if let Some(method) = methods.iter().find(|method| rule.effect(method, false) == Effect::Read) {
        let message = format!("`{method}` only reads here, and creates nothing");
        let hint = "give what creates a route of its own, or remove `creates`";
        context.put(Code::BadValue, place, message, hint);
    }
    // Their own request is decided again as soon as their roles change.
    for (from, to, place) in becomes {
        let roles = [&from, &to].map(|name| around.roles.map.get(name));
        if let [Some(before), Some(after)] = roles
            && rule
                .permissions
                .iter()
                .any(|id| before.permissions.contains(*id) && !after.permissions.contains(*id))
        {
            let message =
                format!("whoever becomes `{to}` may not do what this route takes, and `{from}` may");
            let hint = "give it what the route takes: else the request that made them so would be cut";
            context.put(Code::BadValue, place, message, hint);
        }
    }
    rule.record = !rule.public;
    rule.creates = Some(Box::new(creates));
    rule
}
