//! Who may use the kill switches, who may break the glass, and what that gives.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    context::{Context, short},
    dangerous::DangerousSettings,
    gateway::DAY,
    keys::keys,
    rights::Given,
    settings::{IssuerSettings, KeyText},
    staff::sign_in,
};
use crate::{
    config::{
        fault::Code,
        written::{self, At, Field, File, Keys, List, Person, Place},
    },
    model::{EMERGENCY_PREFIX, EmergencyKey, IssuerName, RoleName, SessionId, SubjectKind, SubjectRef},
    policy::{BreakGlass, Conditions, Emergency, EmergencyTokens, shape::Shape},
};

/// The causes where none are written: of the platform.
const CAUSES: [&str; 2] = ["stability", "integrity"];
/// The shape of an incident where none is written.
const INCIDENT: &str = "[A-Z]{2,8}-[0-9]{1,8}";

pub(super) fn emergency(
    context: Context<'_>,
    file: &File,
    issuers: &[IssuerSettings],
    given: &Given<'_>,
) -> Emergency {
    let staff: BTreeSet<IssuerName> = issuers
        .iter()
        .filter(|issuer| issuer.kind == SubjectKind::Staff)
        .map(|issuer| issuer.name.clone())
        .collect();
    let operators = file.stops.given().and_then(|at| {
        let hint = "name them: `operators: [ { issuer: vendor, sub: … } ]`";
        let list = context.need(&at.value.operators, at.place, "operators", hint)?;
        Some(people(context, &staff, &list.value, list.place))
    });
    let break_glass = file.break_glass.given().and_then(|at| break_glass(context, at, &staff, given));
    Emergency { operators: operators.unwrap_or_default(), staff, break_glass }
}

fn break_glass(
    context: Context<'_>,
    at: &At<written::BreakGlass>,
    staff: &BTreeSet<IssuerName>,
    given: &Given<'_>,
) -> Option<BreakGlass> {
    let written = &at.value;
    let hint = "name them: `operators: [ { issuer: vendor, sub: … } ]`";
    let list = context.need(&written.operators, at.place, "operators", hint);
    let operators = list.map(|list| people(context, staff, &list.value, list.place));
    let most = context.count(&written.most, 10, 1, 100);
    if let (Some(list), Some(operators)) = (list, &operators)
        && operators.len() as u64 > most
    {
        let message = format!("{} people may break the glass, and {most} are allowed to", operators.len());
        context.put(Code::OutOfRange, list.place, message, "shorten the list, or raise `most`");
    }
    let role = context.need(&written.role, at.place, "role", "say what it gives: `role: rescuer`");
    let role = role.and_then(|at| {
        given.warn_where_emptied(context, at, "break-glass");
        given.roles.known(context, at)
    });
    let lasts_ms = context.duration(&written.last, DAY / 24, 60_000, DAY);
    let incident = incident(context, &written.incident);
    let attempts = context.count(&written.attempts, 10, 1, 1_000);
    Some(BreakGlass {
        operators: operators?,
        role: role?,
        lasts_ms,
        causes: causes(context, &written.causes),
        incident: incident?,
        conditions: conditions(context, written),
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        tenant_ends: written.tenant_ends.value().copied().unwrap_or(true),
        tokens: written.tokens.given().and_then(|at| tokens(context, at)),
    })
}

/// The longest that an emergency token may live, in milliseconds.
const LONGEST_LIFE: i64 = DAY / 6;

fn tokens(context: Context<'_>, at: &At<written::EmergencyTokens>) -> Option<EmergencyTokens> {
    let written = &at.value;
    let audience = context.need(
        &written.audience,
        at.place,
        "audience",
        "name this installation: `audience: production`",
    );
    let audience = audience.and_then(|at| {
        let sound =
            (1..=255).contains(&at.value.len()) && at.value.bytes().all(|byte| byte.is_ascii_graphic());
        if !sound {
            let message = format!("`{}` is no audience", short(&at.value));
            context.put(Code::BadValue, at.place, message, "use 1 to 255 visible ASCII characters");
        }
        sound.then(|| at.value.clone())
    });
    let longest_ms = context.duration(&written.longest, DAY / 24, 60_000, LONGEST_LIFE);
    let revoked = written.revoked.given().map(|list| list.value.0.items.as_slice()).unwrap_or_default();
    let revoked = revoked.iter().filter_map(|at| {
        if !at.value.starts_with(EMERGENCY_PREFIX) {
            let message = format!("`{}` is no id of an emergency token", short(&at.value));
            let hint = "write it as records do: `emg_…`, the token's `jti`";
            context.put(Code::BadValue, at.place, message, hint);
            return None;
        }
        context.id(at, SessionId::new, "id of an emergency token")
    });
    let revoked = revoked.collect();
    let keys = pinned(context, &written.keys, at.place);
    Some(EmergencyTokens { keys: keys?, audience: audience?, longest_ms, revoked })
}

/// The keys of the emergency authority: at hand whatever happens, and each with a name, by which records say who signed.
fn pinned(context: Context<'_>, field: &Field<Keys>, owner: Place) -> Option<BTreeSet<EmergencyKey>> {
    let hint = "name them: `keys: { file: emergency.jwks.json }`; `postern token key` writes such a file";
    let at = context.need(field, owner, "keys", hint)?;
    if let Some(url) = at.value.url.given() {
        let message =
            "keys of the emergency authority are not fetched: in an emergency nobody may be there to ask";
        context.put(Code::BadValue, url.place, message, hint);
        return None;
    }
    // Whoever can verify a shared secret can sign with it; that no play allows here.
    let read = keys(context, field, owner, DangerousSettings::default())?;
    let KeyText::Jwks(text) = read.text else {
        let message = "keys of the emergency authority stand in a JSON Web Key Set, where each has a name";
        context.put(Code::BadKeys, at.place, message, hint);
        return None;
    };
    let set: serde_json::Value = serde_json::from_str(&text).ok()?;
    let mut found = BTreeMap::new();
    for key in set.get("keys").and_then(serde_json::Value::as_array).into_iter().flatten() {
        let kid = key.get("kid").and_then(serde_json::Value::as_str).filter(|kid| !kid.is_empty());
        let Some(kid) = kid else {
            let message = "a key of the emergency authority has no `kid`, by which records say who signed";
            context.put(Code::BadKeys, at.place, message, "give each key a `kid` of its own");
            return None;
        };
        let jwk = EmergencyKey { kid: kid.into(), jwk: key.to_string().into() };
        if found.insert(kid, jwk).is_some() {
            let message = format!("two keys of the emergency authority have the `kid` `{}`", short(kid));
            context.put(Code::BadKeys, at.place, message, "give each key a `kid` of its own");
            return None;
        }
    }
    Some(found.into_values().collect())
}

fn causes(context: Context<'_>, field: &Field<written::OneOrMany<String>>) -> BTreeSet<String> {
    let Some(list) = field.given() else { return CAUSES.map(str::to_owned).into() };
    if list.value.0.items.is_empty() && !list.value.0.broken {
        let hint =
            "name the causes that count, or remove the key: then these are `stability` and `integrity`";
        context.put(Code::BadValue, list.place, "this list is empty", hint);
    }
    // The form of a role's name is that of any word here.
    let word = |at: &At<String>| context.id(at, RoleName::new, "word for a cause").map(|_| at.value.clone());
    list.value.0.items.iter().filter_map(word).collect()
}

fn incident(context: Context<'_>, field: &Field<String>) -> Option<Shape> {
    let Some(at) = field.given() else { return Shape::parse(INCIDENT).ok() };
    Shape::parse(&at.value)
        .map_err(|fault| {
            let message = format!("`{}` is no shape of an incident: {fault}", short(&at.value));
            context.put(Code::BadValue, at.place, message, "write it as in `[A-Z]{2,8}-[0-9]{1,8}`");
        })
        .ok()
}

fn conditions(context: Context<'_>, written: &written::BreakGlass) -> Conditions {
    let Some(require) = written.require.given() else { return Conditions::default() };
    if let Some(ticket) = require.value.ticket.given() {
        let hint = "remove it; say what an incident looks like in `break_glass.incident`";
        context.put(Code::BadValue, ticket.place, "break-glass names an incident and no ticket", hint);
    }
    sign_in(context, &require.value)
}

/// A list of the vendor's people that names somebody.
fn people(
    context: Context<'_>,
    staff: &BTreeSet<IssuerName>,
    list: &List<Person>,
    place: Place,
) -> BTreeSet<SubjectRef> {
    if list.items.is_empty() && !list.broken {
        let hint = "name somebody, or remove the key: without it nobody is an operator";
        context.put(Code::BadValue, place, "this list is empty", hint);
    }
    let mut places = BTreeMap::new();
    for at in &list.items {
        if let Some(subject) = person(context, staff, at)
            && let Some(first) = places.insert(subject.clone(), at.place)
        {
            context.twice(at.place, "operator", &subject.to_string(), first);
        }
    }
    places.into_keys().collect()
}

fn person(context: Context<'_>, staff: &BTreeSet<IssuerName>, at: &At<Person>) -> Option<SubjectRef> {
    let hint = "name the person as the tokens do: `{ issuer: vendor, sub: … }`";
    let issuer = context.need(&at.value.issuer, at.place, "issuer", hint);
    let sub = context.need(&at.value.sub, at.place, "sub", hint);
    let name = issuer.and_then(|issuer| {
        let name = context.id(issuer, IssuerName::new, "name of an issuer")?;
        if !staff.contains(&name) {
            let message = format!("`{}` is no issuer of the vendor's people", short(&issuer.value));
            let hint = match staff.iter().next() {
                Some(known) => format!("an operator is one of the vendor's people, as of `{known}`"),
                None => "declare an issuer with `kind: staff` first".to_owned(),
            };
            context.put(Code::BadValue, issuer.place, message, hint);
            return None;
        }
        Some(name)
    });
    let sub = sub.and_then(|sub| {
        let sound = (1..=255).contains(&sub.value.len()) && sub.value.bytes().all(|b| b.is_ascii_graphic());
        if !sound {
            let message = format!("`{}` cannot be the `sub` of a token", short(&sub.value));
            context.put(Code::BadValue, sub.place, message, "use 1 to 255 visible ASCII characters");
        }
        sound.then(|| sub.value.as_str().into())
    });
    Some(SubjectRef { issuer: name?, sub: sub? })
}
