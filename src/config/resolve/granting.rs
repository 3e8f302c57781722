//! What narrows grants: to whom, in which roles and environments, by whom.
//!
//! Never here: what follows from it at a decision ([`crate::policy::granting`]).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    context::Context,
    rights::{Given, Roles},
};
use crate::{
    config::{
        fault::Code,
        written::{self, At, Field, File, List, OneOrMany},
    },
    model::{EnvironmentId, PlanName, ResourceType, RoleName},
    policy::{
        Granting,
        granting::{Gives, Grantable, May, To},
    },
};

pub(super) fn granting(
    context: Context<'_>,
    file: &File,
    given: &Given<'_>,
    environments: &BTreeSet<EnvironmentId>,
) -> Granting {
    let none = written::Grants::default();
    let grants = file.grants.value().unwrap_or(&none);
    let to = of_list(context, &grants.to, "name at least one: `to: support`", |at| {
        Some(match at.value {
            written::GrantTo::Support => To::Support,
            written::GrantTo::Person => To::Person,
        })
    });
    let plans = of_list(context, &grants.plans, "name a plan that includes it: `plans: [standard]`", |at| {
        context.id(at, PlanName::new, "name of a plan")
    });
    Granting {
        to,
        gives: grants.give.value().map(|gives| gives_of(context, gives, given)),
        plans,
        environments: grants.environments.value().map(|known| grantable(context, known, environments)),
        by_role: by_role(context, grants, given.roles),
        suggested: grants.suggested.value().map(|term| term.0),
    }
}

/// A list that names something. What it cannot read was told.
fn of_list<T, O: Ord>(
    context: Context<'_>,
    field: &Field<OneOrMany<T>>,
    hint: &str,
    read: impl Fn(&At<T>) -> Option<O>,
) -> Option<BTreeSet<O>> {
    let list = field.given()?;
    if list.value.0.items.is_empty() && !list.value.0.broken {
        context.put(Code::BadValue, list.place, "this list is empty", hint);
    }
    Some(list.value.0.items.iter().filter_map(read).collect())
}

fn gives_of(context: Context<'_>, gives: &written::Gives, given: &Given<'_>) -> Gives {
    let roles = |list: &List<String>| -> BTreeSet<RoleName> {
        let known = |at: &At<String>| {
            given.warn_where_emptied(context, at, "such a grant");
            given.roles.known(context, at)
        };
        list.items.iter().filter_map(known).collect()
    };
    let everything = gives.everything.given().map(|list| roles(&list.value.0)).unwrap_or_default();
    let mut resources: BTreeMap<ResourceType, BTreeSet<RoleName>> = BTreeMap::new();
    for (key, list) in gives.resources.value().into_iter().flat_map(|table| &table.entries) {
        if let Some(kind) = context.id(key, ResourceType::new, "type of resources") {
            resources.insert(kind, roles(&list.value.0));
        }
    }
    Gives { everything, resources }
}

fn grantable(
    context: Context<'_>,
    known: &written::Grantable,
    environments: &BTreeSet<EnvironmentId>,
) -> Grantable {
    let named = |list: &List<String>| -> BTreeSet<EnvironmentId> {
        let one = |at: &At<String>| {
            let found = environments.iter().find(|known| known.as_str() == at.value);
            if found.is_none() && !environments.is_empty() {
                let names = environments.iter().map(EnvironmentId::as_str);
                context.unknown(Code::BadValue, at, "environment", names);
            }
            found.cloned()
        };
        list.items.iter().filter_map(one).collect()
    };
    let mut exactly = BTreeSet::new();
    for set in known.exactly.value().into_iter().flat_map(|sets| &sets.items) {
        let names = named(&set.value);
        // Of a set that could not be read whole, less would be more.
        if names.len() == set.value.items.len() && !set.value.broken {
            exactly.insert(names);
        }
    }
    Grantable { always: known.always.given().map(|list| named(&list.value.0)).unwrap_or_default(), exactly }
}

fn by_role(context: Context<'_>, grants: &written::Grants, roles: &Roles) -> BTreeMap<RoleName, May> {
    let mut table = BTreeMap::new();
    for (key, may) in grants.by_role.value().into_iter().flat_map(|table| &table.entries) {
        let Some(role) = roles.known(context, key) else { continue };
        match may.value {
            written::MayGrant::Always => drop(table.insert(role, May::Always)),
            written::MayGrant::WhenAllowed => drop(table.insert(role, May::WhenAllowed)),
            written::MayGrant::Never => {}
        }
    }
    table
}

/// The same for the fingerprint, where it narrows anything.
pub(super) fn value(granting: &Granting) -> Value {
    let Granting { to, gives, plans, environments, by_role, suggested } = granting;
    let word = |to: &To| match to {
        To::Support => "support",
        To::Person => "person",
    };
    json!({
        "to": to.as_ref().map(|to| to.iter().map(word).collect::<Vec<_>>()),
        "gives": gives.as_ref().map(|gives| json!([gives.everything, gives.resources])),
        "plans": plans,
        "environments": environments.as_ref().map(|known| json!([known.always, known.exactly])),
        "by_role": by_role.iter().map(|(role, may)| json!([role, *may == May::Always])).collect::<Vec<_>>(),
        "suggested": suggested.map(|span| span.to_string()),
    })
}
