//! The types of resources below tenants, and the roles that are held at them.
//!
//! Never here: what a row gives ([`crate::policy::resources`]).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    context::{Context, short},
    rights::{Names, Roles, term},
    tenant_roles::plans_of,
};
use crate::{
    config::{
        fault::Code,
        written::{At, Field, File, Joins, Place, Role as Written, Table},
    },
    model::{ResourceType, RoleName, resource::TENANT_TYPE},
    policy::{PermissionSet, ResourceRules, RoleAt, TypeRule, resources::MOST_DEPTH},
};

/// The types, with whether all were read.
pub(super) struct Types {
    pub(super) map: BTreeMap<ResourceType, TypeRule>,
    pub(super) whole: bool,
}

impl Types {
    /// A type by its name; tells where it is unknown.
    pub(super) fn known(&self, context: Context<'_>, at: &At<String>) -> Option<ResourceType> {
        let found = self.map.keys().find(|kind| kind.as_str() == at.value);
        if found.is_none() && self.whole {
            context.unknown(
                Code::UnknownWord,
                at,
                "resource type",
                self.map.keys().map(ResourceType::as_str),
            );
        }
        found.cloned()
    }

    /// Whether `upper` is among the types that resources of type `kind` lie in.
    pub(super) fn lies_in(&self, kind: &ResourceType, upper: &ResourceType) -> bool {
        let mut at = kind;
        for _ in 0..MOST_DEPTH {
            match self.map.get(at).and_then(|rule| rule.parent.as_ref()) {
                Some(parent) if parent == upper => return true,
                Some(parent) => at = parent,
                None => return false,
            }
        }
        false
    }
}

pub(super) fn types(context: Context<'_>, file: &File, names: &Names) -> Types {
    let Some(table) = file.resource_types.given() else {
        return Types { map: BTreeMap::new(), whole: !file.resource_types.is_broken() };
    };
    let mut types = Types { map: BTreeMap::new(), whole: table.value.broken.is_empty() };
    for (key, at) in &table.value.entries {
        let Some(kind) = context.id(key, ResourceType::new, "type of a resource") else {
            types.whole = false;
            continue;
        };
        if kind.as_str() == TENANT_TYPE {
            context.put(
                Code::ReservedName,
                key.place,
                format!("`{kind}` is the tenant itself"),
                "name another type; what lies in no other resource lies in the tenant",
            );
        }
        let permission = |field: &crate::config::written::Field<String>| {
            field.given().and_then(|at| names.permission(context, at))
        };
        let invitations = at.value.invitations.given();
        if let Some(lasts) = invitations {
            term(context, lasts.place, lasts.value.0, 60_000, 366);
        }
        let rule = TypeRule {
            manage: permission(&at.value.manage),
            list: permission(&at.value.list),
            invited_for: invitations.map(|lasts| lasts.value.0),
            ..TypeRule::default()
        };
        types.map.insert(kind, rule);
    }
    for (key, at) in &table.value.entries {
        let Some(parent_at) = at.value.parent.given() else { continue };
        let Some(parent) = types.known(context, parent_at) else { continue };
        if let Some(rule) = types.map.get_mut(key.value.as_str()) {
            rule.parent = Some(parent);
        }
    }
    for (key, at) in &table.value.entries {
        if let (Ok(kind), Some(parent)) = (ResourceType::new(&key.value), at.value.parent.given()) {
            bounded(context, &mut types, &kind, parent.place);
        }
    }
    types
}

/// Tells types that lie in themselves, or deeper than is followed. What was told is cut, so that it is told once.
fn bounded(context: Context<'_>, types: &mut Types, kind: &ResourceType, place: Place) {
    let mut seen: Vec<&ResourceType> = vec![kind];
    let mut at = kind;
    while let Some(parent) = types.map.get(at).and_then(|rule| rule.parent.as_ref()) {
        if seen.contains(&parent) {
            let message = format!("resources of type `{kind}` would lie in themselves");
            context.put(Code::ParentCycle, place, message, "let one of these types lie in the tenant");
            break;
        }
        seen.push(parent);
        if seen.len() > MOST_DEPTH {
            let message = format!("resources of type `{kind}` lie deeper than {MOST_DEPTH} in each other");
            context.put(Code::ParentsTooDeep, place, message, "take a type out of the chain");
            break;
        }
        at = parent;
    }
    if seen.len() <= MOST_DEPTH && types.map.get(at).is_none_or(|rule| rule.parent.is_none()) {
        return;
    }
    if let Some(rule) = types.map.get_mut(kind) {
        rule.parent = None;
    }
}

/// The roles that the file holds at resources, each with its type.
pub(super) fn roles_at(file: &File) -> Vec<(&str, &str)> {
    let all = file.roles.value().into_iter().flat_map(|table| &table.entries);
    all.filter_map(|(key, at)| Some((key.value.as_str(), at.value.at.value()?.as_str()))).collect()
}

/// What lies below tenants: the types, and what `roles` says of those held there.
pub(super) fn rules(
    context: Context<'_>,
    file: &File,
    names: &Names,
    roles: &Roles,
    types: Types,
) -> ResourceRules {
    let mut rules = ResourceRules::default();
    for (key, at) in file.roles.value().into_iter().flat_map(|table| &table.entries) {
        let Ok(name) = RoleName::new(&key.value) else { continue };
        match &at.value.at {
            field if field.is_absent() => {
                not_there(context, &at.value);
                if let Some(only) = joins(context, &at.value.joins, &types) {
                    rules.joins.insert(name, only);
                }
            }
            field => {
                let Some(kind_at) = field.given() else { continue };
                let joins = at.value.joins.given().map(|given| ("joins", given.place));
                let seat = at.value.seat.given().map(|given| ("seat", given.place));
                for (key, place) in joins.into_iter().chain(seat) {
                    let message = format!("`{key}` is for roles that are held in the tenant");
                    context.put(Code::BadValue, place, message, "remove it, or remove `at`");
                }
                if let Some(adjustable) = at.value.adjustable.given().filter(|adjustable| adjustable.value) {
                    context.put(
                        Code::BadValue,
                        adjustable.place,
                        format!("the role `{name}` is held at resources, and tenants do not adjust those"),
                        "remove `adjustable`, or `at`",
                    );
                }
                let Some(kind) = types.known(context, kind_at) else { continue };
                rules.roles.insert(name, role(context, &at.value, names, kind, &types));
            }
        }
    }
    rules.types = types.map;
    for (key, at) in file.resource_types.value().into_iter().flat_map(|table| &table.entries) {
        let Ok(kind) = ResourceType::new(&key.value) else { continue };
        let join = joining(context, &at.value.join, &rules, roles, &kind);
        let enter = joining(context, &at.value.enter, &rules, roles, &kind);
        if let Some(rule) = rules.types.get_mut(&kind) {
            (rule.join, rule.enter) = (join, enter);
        }
    }
    rules
}

/// The types of which holders of a role may be members of resources; `None` is all.
fn joins(context: Context<'_>, field: &Field<Joins>, types: &Types) -> Option<BTreeSet<ResourceType>> {
    let joins = field.given()?;
    match &joins.value {
        Joins::Any(true) => None,
        Joins::Any(false) => {
            if types.map.is_empty() && types.whole {
                let message = "there is nothing that holders of this role could join";
                context.warn(Code::Unused, joins.place, message, "declare `resource_types`, or remove it");
            }
            Some(BTreeSet::new())
        }
        Joins::Only(list) => {
            if list.0.items.is_empty() && !list.0.broken {
                let hint = "name the types that they may join, or write `false`: then they join nothing";
                context.put(Code::BadValue, joins.place, "this list is empty", hint);
            }
            let mut places: BTreeMap<ResourceType, Place> = BTreeMap::new();
            for at in &list.0.items {
                if let Some(kind) = types.known(context, at)
                    && let Some(first) = places.insert(kind, at.place)
                {
                    context.twice(at.place, "type", &at.value, first);
                }
            }
            Some(places.into_keys().collect())
        }
    }
}

/// Who joins by themselves, and in which role.
fn joining(
    context: Context<'_>,
    field: &Field<Table<String>>,
    rules: &ResourceRules,
    roles: &Roles,
    kind: &ResourceType,
) -> BTreeMap<RoleName, RoleName> {
    let mut map = BTreeMap::new();
    for (by, role) in field.value().into_iter().flat_map(|table| &table.entries) {
        let Some(by_name) = roles.known(context, by) else { continue };
        if !rules.joins_of([&by_name]).reach(kind) {
            let message = format!("holders of `{by_name}` are members of no resource of type `{kind}`");
            context.put(Code::BadValue, by.place, message, "name another role, or change its `joins`");
        }
        match rules.role_named(&role.value, kind) {
            Some(name) => drop(map.insert(by_name, name.clone())),
            None => {
                let there = rules.roles.iter().filter(|(_, at)| at.at == *kind);
                let known: Vec<&str> = there.map(|(name, _)| name.as_str()).collect();
                context.unknown(Code::UnknownRole, role, "role at these resources", known);
            }
        }
    }
    map
}

fn role(context: Context<'_>, written: &Written, names: &Names, at: ResourceType, types: &Types) -> RoleAt {
    let set = |field: &crate::config::written::Field<crate::config::written::OneOrMany<String>>| {
        field.value().map(|list| names.covered(context, &list.0)).unwrap_or_default()
    };
    let except = match written.except.value() {
        // Told where the role is read.
        Some(list) => list.0.items.iter().fold(PermissionSet::default(), |mut all, at| {
            if let Some(pattern) = crate::policy::Pattern::parse(&at.value) {
                all.add(&names.catalogue.covered(&pattern));
            }
            all
        }),
        None => PermissionSet::default(),
    };
    let mut permissions = PermissionSet::default();
    for at in written.allow.value().into_iter().flat_map(|list| &list.0.items) {
        if let Some(pattern) = crate::policy::Pattern::parse(&at.value) {
            permissions.add(&names.catalogue.covered(&pattern));
        }
    }
    permissions.remove(&except);
    let (mut own, mut assigned) = (set(&written.own), set(&written.assigned));
    for conditional in [&mut own, &mut assigned] {
        conditional.remove(&except);
    }
    let of = spoken_of(context, written, &at, types);
    let keep_one = written.keep_one.value().copied().unwrap_or(false);
    let plans = plans_of(context, &written.plans);
    RoleAt { at, permissions, own, assigned, of, keep_one, plans }
}

/// The types of which a role's conditions speak: the one that is named, or those in which nothing lies. Both ways none of them
/// lies in another.
fn spoken_of(
    context: Context<'_>,
    written: &Written,
    at: &ResourceType,
    types: &Types,
) -> BTreeSet<ResourceType> {
    let here = |kind: &ResourceType| kind == at || types.lies_in(kind, at);
    let unconditional = written.own.is_absent() && written.assigned.is_absent();
    if let Some(named) = written.of.given() {
        if unconditional {
            let hint = "say what it may do with those: `own: cards:read`; or remove it";
            context.warn(Code::Unused, named.place, "neither `own` nor `assigned` needs it", hint);
        }
        let known = types.known(context, named);
        if let Some(kind) = known.as_ref().filter(|kind| !here(kind)) {
            let message = format!("no resource of type `{kind}` lies in one of type `{at}`");
            context.put(Code::BadValue, named.place, message, "name the type itself, or one that lies in it");
        }
        return known.into_iter().collect();
    }
    if unconditional {
        return BTreeSet::new();
    }
    let holds_others = |kind| types.map.values().any(|rule| rule.parent.as_ref() == Some(kind));
    types.map.keys().filter(|kind| here(kind) && !holds_others(*kind)).cloned().collect()
}

/// Tells what only roles at resources may say.
fn not_there(context: Context<'_>, written: &Written) {
    let conditional = [("own", &written.own), ("assigned", &written.assigned)];
    let places = conditional.into_iter().filter_map(|(key, field)| Some((key, field.given()?.place)));
    let of = written.of.given().map(|at| ("of", at.place));
    let keep = written.keep_one.given().map(|at| ("keep_one", at.place));
    for (key, place) in places.chain(of).chain(keep) {
        context.put(
            Code::BadValue,
            place,
            format!("`{}` is for roles that are held at resources", short(key)),
            "say at which type of resources: `at: board`; or remove it",
        );
    }
}
