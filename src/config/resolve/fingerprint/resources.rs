//! What lies below tenants, as it stands in the fingerprint.
//!
//! Never here: what it means ([`crate::policy::resources`]).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    model::{ResourceType, RoleName},
    policy::{PermissionId, Policy, ResourceRules, RoleAt},
};

use super::{super::look_ups, names, put, span};

pub(super) fn resources_value(policy: &Policy) -> Value {
    let ResourceRules { types, roles, joins } = &policy.resources;
    let name =
        |id: Option<PermissionId>| id.and_then(|id| policy.catalogue.name(id)).map(|name| name.as_str());
    let types: serde_json::Map<String, Value> = types
        .iter()
        .map(|(kind, rule)| {
            let parent = rule.parent.as_ref().map(|parent| parent.as_str());
            let joining = [&rule.join, &rule.enter]
                .map(|map| map.iter().map(|(by, role)| [by.as_str(), role.as_str()]).collect::<Vec<_>>());
            let mut parts =
                vec![json!(parent), json!(name(rule.manage)), json!(name(rule.list)), json!(joining)];
            parts.extend(rule.invited_for.map(span));
            parts.extend(rule.look_up.as_deref().map(look_ups::value));
            (kind.to_string(), Value::Array(parts))
        })
        .collect();
    let roles: serde_json::Map<String, Value> = roles
        .iter()
        .map(|(name, role)| {
            let RoleAt { at, permissions, own, assigned, of, keep_one, plans } = role;
            let sets = [permissions, own, assigned].map(|set| names(policy, set));
            let plans =
                plans.as_ref().map(|plans| plans.iter().map(|plan| plan.as_str()).collect::<Vec<_>>());
            let mut parts = vec![json!(at.as_str()), json!(sets), json!(keep_one), json!(plans)];
            if !of.is_empty() {
                parts.push(json!(of.iter().map(|kind| kind.as_str()).collect::<Vec<_>>()));
            }
            (name.to_string(), Value::Array(parts))
        })
        .collect();
    let apart = joins.iter().filter(|(_, only)| only.is_empty()).map(|(name, _)| name.as_str());
    let mut value = json!({ "types": types, "roles": roles, "apart": apart.collect::<Vec<_>>() });
    let only = |(name, only): (&RoleName, &BTreeSet<ResourceType>)| {
        let only: Vec<_> = only.iter().map(ResourceType::as_str).collect();
        (name.to_string(), json!(only))
    };
    let some: serde_json::Map<String, Value> =
        joins.iter().filter(|(_, only)| !only.is_empty()).map(only).collect();
    if !some.is_empty() {
        put(&mut value, "joins", Value::Object(some));
    }
    value
}
