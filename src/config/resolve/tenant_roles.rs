//! What tenants may do about roles; and that none of theirs reaches where roles are the vendor's to say.
//!
//! Never here: what a role's name means in a tenant ([`crate::policy::tenant_roles`]).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    context::{Context, short},
    rights::{Names, Roles},
};
use crate::{
    config::{
        fault::Code,
        written::{At, Field, File, OneOrMany, Place, TenantRoles as Written},
    },
    model::PlanName,
    policy::{TenantRoles, tenant_roles::MOST_ROLES},
};

/// How many roles of its own a tenant may have at the most: their names stand in the tenant's own document.
const MOST: u64 = 100;

pub(super) fn tenant_roles(context: Context<'_>, file: &File, names: &Names, roles: &Roles) -> TenantRoles {
    for_vendor(context, file, roles);
    let Some(at) = file.tenant_roles.given() else { return TenantRoles::default() };
    let Written { permission, most: written_most, plans } = &at.value;
    let permission = permission.given().and_then(|at| {
        let id = names.permission(context, at)?;
        names.catalogue.name(id).cloned()
    });
    let most = context.count(written_most, MOST_ROLES as u64, 0, MOST);
    if most == 0 && !roles.map.values().any(|role| role.adjustable) {
        context.warn(
            Code::Unused,
            at.place,
            "tenants may define no role, and none is adjustable, so this says nothing",
            "raise `most`, write `adjustable: true` at a role, or remove it",
        );
    }
    let plans = plans_of(context, plans);
    TenantRoles { permission, most: usize::try_from(most).unwrap_or(MOST_ROLES), plans }
}

/// The plans that have something; `None` is all, and none too.
pub(super) fn plans_of(context: Context<'_>, field: &Field<OneOrMany<String>>) -> Option<BTreeSet<PlanName>> {
    field.given().map(|list| {
        if list.value.0.items.is_empty() && !list.value.0.broken {
            let hint = "name the plans that have it, or remove the key: then every tenant has it";
            context.put(Code::BadValue, list.place, "this list is empty", hint);
        }
        let mut places: BTreeMap<PlanName, Place> = BTreeMap::new();
        for at in &list.value.0.items {
            if let Some(plan) = context.id(at, PlanName::new, "name of a plan")
                && let Some(first) = places.insert(plan, at.place)
            {
                context.twice(at.place, "plan", &at.value, first);
            }
        }
        places.into_keys().collect()
    })
}

/// What a consent level gives is proven at load, each level within the next; what breaks the glass is the vendor's. Neither
/// is for a tenant to reshape.
fn for_vendor(context: Context<'_>, file: &File, roles: &Roles) {
    let refuse = |at: &At<String>, what: &str| {
        if roles.map.get(at.value.as_str()).is_some_and(|role| role.adjustable) {
            context.put(
                Code::AdjustableForStaff,
                at.place,
                format!("the role `{}` is adjustable by tenants, and {what}", short(&at.value)),
                "name a role here that is the same for all tenants, or take `adjustable` off",
            );
        }
    };
    let levels = file.consent.value().and_then(|consent| consent.levels.value());
    for step in levels.into_iter().flat_map(|list| &list.items) {
        if let Some(role) = step.value.role.given() {
            refuse(role, "the levels are proven to rise for every tenant alike");
        }
    }
    if let Some(role) = file.break_glass.value().and_then(|glass| glass.role.given()) {
        refuse(role, "in an emergency nobody's adjustment counts");
    }
}
