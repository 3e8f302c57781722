//! Who may use the kill switches.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    context::{Context, short},
    settings::IssuerSettings,
};
use crate::{
    config::{
        fault::Code,
        written::{At, File, List, Person, Place},
    },
    model::{IssuerName, SubjectKind, SubjectRef},
    policy::Emergency,
};

pub(super) fn emergency(context: Context<'_>, file: &File, issuers: &[IssuerSettings]) -> Emergency {
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
    Emergency { operators: operators.unwrap_or_default(), staff }
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
