//! Login access: for how long it can be given, to which organisations, and who of the vendor's people belongs to which.

use std::collections::BTreeMap;

use super::{
    context::{Context, short},
    issuers::{claim_path, texts},
    rights::term,
    settings::{IssuerSettings, SupportSettings},
};
use crate::{
    config::{
        fault::Code,
        written::{self, At, Field, File},
    },
    model::{IssuerName, OrganisationName, Span, SubjectKind},
    policy::LoginAccess,
};

/// What the policy has of it. Each issuer of staff is told which of its people belong to which organisation.
pub(super) fn act_as(context: Context<'_>, file: &File, issuers: &mut [IssuerSettings]) -> LoginAccess {
    let Some(at) = file.act_as.given() else { return LoginAccess::default() };
    let durations = durations(context, at);
    let suggested = suggested(context, &at.value.suggested, &durations);
    let whole = file.issuers.value().is_some_and(|written| written.items.len() == issuers.len());
    let hint = "name them: `organisations: { help_desk: { issuer: vendor } }`";
    let Some(table) = context.need(&at.value.organisations, at.place, "organisations", hint) else {
        return LoginAccess::default();
    };
    if table.value.entries.is_empty() && table.value.broken.is_empty() {
        let hint = "name an organisation, or remove `act_as`: without it nobody acts as anybody";
        context.put(Code::BadValue, table.place, "this table is empty", hint);
    }
    let mut known: BTreeMap<OrganisationName, written::Place> = BTreeMap::new();
    for (key, organisation) in &table.value.entries {
        let Some(name) = context.id(key, OrganisationName::new, "name of an organisation") else { continue };
        if let Some(first) = known.insert(name.clone(), key.place) {
            context.twice(key.place, "organisation", name.as_str(), first);
        }
        let Some((issuer, rule)) = belongs(context, organisation, issuers, whole) else { continue };
        let of = issuers.iter_mut().filter(|one| one.kind == SubjectKind::Staff);
        for one in of.filter(|one| issuer.as_ref().is_none_or(|only| one.name == *only)) {
            one.claims.organisations.push((name.clone(), rule.clone()));
        }
    }
    LoginAccess { durations, suggested, organisations: known.into_keys().collect() }
}

fn durations(context: Context<'_>, at: &At<written::ActAs>) -> Vec<Span> {
    let hint = "say for how long it can be given: `durations: [1d, 7 calendar days, 1 calendar month]`";
    let Some(list) = context.need(&at.value.durations, at.place, "durations", hint) else {
        return Vec::new();
    };
    if list.value.0.items.is_empty() && !list.value.0.broken {
        context.put(Code::BadValue, list.place, "this list is empty", hint);
    }
    let mut seen: Vec<(Span, written::Place)> = Vec::new();
    for at in &list.value.0.items {
        let span = at.value.0;
        term(context, at.place, span, 60_000, 366);
        match seen.iter().find(|(before, _)| *before == span) {
            Some((_, first)) => context.twice(at.place, "duration", &span.to_string(), *first),
            None => seen.push((span, at.place)),
        }
    }
    seen.into_iter().map(|(span, _)| span).collect()
}

fn suggested(context: Context<'_>, field: &Field<written::Term>, durations: &[Span]) -> Option<Span> {
    let at = field.given()?;
    if durations.is_empty() || durations.contains(&at.value.0) {
        return Some(at.value.0);
    }
    let known: Vec<String> = durations.iter().map(Span::to_string).collect();
    let message = format!("`{}` is not among the durations that are offered", at.value.0);
    context.put(Code::BadValue, at.place, message, format!("suggest one of: {}", known.join(", ")));
    None
}

/// Of which issuer alone, and which of its people.
fn belongs(
    context: Context<'_>,
    at: &At<written::Organisation>,
    issuers: &[IssuerSettings],
    whole: bool,
) -> Option<(Option<IssuerName>, SupportSettings)> {
    let written = &at.value;
    let issuer = match &written.issuer {
        Field::Absent => None,
        Field::Broken => return None,
        Field::Given(at) => Some(of_staff(context, at, issuers, whole)?),
    };
    let rule = match (&written.claim, &written.any) {
        (Field::Given(claim), Field::Given(any)) => {
            let path = claim_path(context, claim)?;
            SupportSettings::Claim { path, values: texts(context, any, "a value of the claim")? }
        }
        (Field::Absent, Field::Absent) if issuer.is_some() => SupportSettings::Everybody,
        (claim, any) if claim.is_broken() || any.is_broken() => return None,
        (Field::Absent, Field::Absent) => {
            let hint = "write `{ issuer: vendor }`, `{ claim: groups, any: [help_desk] }`, or both";
            context.put(Code::OneOf, at.place, "nothing says who belongs to this organisation", hint);
            return None;
        }
        _ => {
            let hint = "write both, as in `{ claim: groups, any: [help_desk] }`";
            context.put(Code::OneOf, at.place, "`claim` and `any` go together", hint);
            return None;
        }
    };
    Some((issuer, rule))
}

/// An issuer of staff by its name.
fn of_staff(
    context: Context<'_>,
    at: &At<String>,
    issuers: &[IssuerSettings],
    whole: bool,
) -> Option<IssuerName> {
    match issuers.iter().find(|issuer| issuer.name.as_str() == at.value) {
        Some(issuer) if issuer.kind == SubjectKind::Staff => return Some(issuer.name.clone()),
        Some(_) => context.put(
            Code::BadValue,
            at.place,
            format!("the issuer `{}` does not speak for the vendor's people", short(&at.value)),
            "name one of `kind: staff`: nobody else acts as a person of a tenant",
        ),
        None if whole => {
            let known = issuers.iter().filter(|issuer| issuer.kind == SubjectKind::Staff);
            let known: Vec<&str> = known.map(|issuer| issuer.name.as_str()).collect();
            context.unknown(Code::UnknownIssuer, at, "issuer", known);
        }
        // It may be the one that could not be read; that is told.
        None => {}
    }
    None
}
