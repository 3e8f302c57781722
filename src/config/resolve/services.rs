//! What programs may push, and which programs.
//!
//! Never here: what pushing does ([`crate::lifecycle`]).

use std::{collections::BTreeSet, sync::Arc};

use super::{
    context::{Context, short},
    settings::IssuerSettings,
};
use crate::{
    config::{
        fault::Code,
        written::{self, At, Field, File, OneOrMany, Service},
    },
    model::{IdFault, IssuerName, RoleName, SubjectKind, TenantId},
    policy::{Callers, Push, ServiceRule, Whose},
};

pub(super) fn services(context: Context<'_>, file: &File, issuers: &[IssuerSettings]) -> Vec<ServiceRule> {
    let Some(list) = file.services.value() else { return Vec::new() };
    let whole = file.issuers.value().is_some_and(|written| written.items.len() == issuers.len());
    list.items.iter().filter_map(|at| service(context, at, issuers, whole)).collect()
}

/// All that is said of callers beside their tokens.
pub(super) fn callers(
    services: Vec<ServiceRule>,
    configured: Arc<BTreeSet<TenantId>>,
    issuers: &[IssuerSettings],
) -> Callers {
    let members = issuers.iter().filter(|issuer| issuer.kind == SubjectKind::Member);
    Callers {
        services,
        configured,
        members: members.clone().map(|issuer| issuer.name.clone()).collect(),
        by_row: members.filter(|issuer| issuer.rows).map(|issuer| issuer.name.clone()).collect(),
    }
}

fn service(
    context: Context<'_>,
    at: &At<Service>,
    issuers: &[IssuerSettings],
    whole: bool,
) -> Option<ServiceRule> {
    let written = &at.value;
    let hint = "name the issuer of its tokens, as `issuers` does";
    let issuer = context.need(&written.issuer, at.place, "issuer", hint);
    let issuer = issuer.and_then(|issuer| of_services(context, issuer, issuers, whole));
    let hint = "say what it may push: `may: [\"tenants:push\", \"members:push\"]`";
    let may = context.need(&written.may, at.place, "may", hint).and_then(|list| {
        if list.value.0.items.is_empty() && !list.value.0.broken {
            context.put(Code::BadValue, list.place, "this list is empty", hint);
            return None;
        }
        Some(list.value.0.items.iter().map(|at| push(at.value)).collect())
    });
    let whose = whose(context, at);
    let tenants = match &written.tenants {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(list) => ids(context, list, TenantId::new, "tenant").map(Some),
    };
    Some(ServiceRule { issuer: issuer?, whose: whose?, may: may?, tenants: tenants? })
}

fn push(word: written::Push) -> Push {
    match word {
        written::Push::Tenants => Push::Tenants,
        written::Push::Members => Push::Members,
        written::Push::Resources => Push::Resources,
    }
}

/// An issuer of services by its name.
fn of_services(
    context: Context<'_>,
    at: &At<String>,
    issuers: &[IssuerSettings],
    whole: bool,
) -> Option<IssuerName> {
    match issuers.iter().find(|issuer| issuer.name.as_str() == at.value) {
        Some(issuer) if issuer.kind == SubjectKind::Service => return Some(issuer.name.clone()),
        Some(_) => context.put(
            Code::BadValue,
            at.place,
            format!("the issuer `{}` does not speak for services", short(&at.value)),
            "name one of `kind: service`: one issuer makes one kind of subject",
        ),
        None if whole => {
            let known = issuers.iter().filter(|issuer| issuer.kind == SubjectKind::Service);
            let known: Vec<&str> = known.map(|issuer| issuer.name.as_str()).collect();
            context.unknown(Code::UnknownIssuer, at, "issuer", known);
        }
        // It may be the one that could not be read; that is told.
        None => {}
    }
    None
}

/// Which subjects: by name, or by what their token says of them.
fn whose(context: Context<'_>, at: &At<Service>) -> Option<Whose> {
    match (&at.value.subjects, &at.value.roles) {
        (Field::Given(list), Field::Absent) => {
            let subjects: BTreeSet<Arc<str>> = list
                .value
                .0
                .items
                .iter()
                .filter_map(|at| context.visible(at, "a subject", 255).map(Arc::from))
                .collect();
            filled(context, list, subjects.len()).then_some(Whose::Subjects(subjects))
        }
        (Field::Absent, Field::Given(list)) => {
            ids(context, list, RoleName::new, "role of a service").map(Whose::Roles)
        }
        (subjects, roles) if subjects.is_broken() || roles.is_broken() => None,
        _ => {
            context.put(
                Code::OneOf,
                at.place,
                "a service needs exactly one of `subjects` and `roles`",
                "name its subjects, `subjects: [provisioning]`, or a role that its token names, `roles: [provisioner]`",
            );
            None
        }
    }
}

fn ids<T: Ord>(
    context: Context<'_>,
    list: &At<OneOrMany<String>>,
    make: fn(&str) -> Result<T, IdFault>,
    what: &str,
) -> Option<BTreeSet<T>> {
    let read: BTreeSet<T> = list.value.0.items.iter().filter_map(|at| context.id(at, make, what)).collect();
    filled(context, list, read.len()).then_some(read)
}

fn filled(context: Context<'_>, list: &At<OneOrMany<String>>, count: usize) -> bool {
    if list.value.0.items.is_empty() && !list.value.0.broken {
        context.put(Code::BadValue, list.place, "this list is empty", "name at least one");
    }
    count > 0 && !list.value.0.broken
}
