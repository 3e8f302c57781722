//! `/v1/tenants/{t}/roles`: the roles that there are in a tenant, what each comes to for staff, and which consent level gives
//! which, so that a form for a grant can be filled from it; and what the tenant itself says of them.

use serde::Serialize;

use crate::{
    lifecycle::{Command, Refusal},
    model::{Key, LevelName, PermissionName, RoleName, TenantId, Version},
    policy::{Facts, Here, Lack, Meaning, Need, PermissionSet},
};

use super::{Api, call::Call, form::Form, outcome::Outcome, problem::Problem, reply::Reply};

/// Where what a role holds has been said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Origin {
    /// In the configuration.
    Configuration,
    /// In the configuration, and adjusted by the tenant.
    Adjusted,
    /// By the tenant: it is one of its own.
    Tenant,
}

#[derive(Serialize)]
struct View {
    role: RoleName,
    origin: Origin,
    /// Whether the tenant may say what it holds.
    adjustable: bool,
    /// All that it holds.
    permissions: Vec<PermissionName>,
    /// What of it staff may do, whatever they are granted.
    for_staff: Vec<PermissionName>,
    /// What of it is closed to staff for good.
    closed_to_staff: Vec<PermissionName>,
    /// The consent levels that give it.
    levels: Vec<LevelName>,
    /// Of one of the tenant's own, for its people: how many grants that stand name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    grants: Option<usize>,
    /// For the tenant's people: whether they may hand it on by a grant, as far as their own rights go.
    #[serde(skip_serializing_if = "Option::is_none")]
    grantable: Option<bool>,
}

#[derive(Serialize)]
struct All {
    items: Vec<View>,
}

#[derive(Serialize)]
struct ChangedView {
    /// Not there once it was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<View>,
    outcome: Outcome,
    /// Of a removal: nothing was left to remove.
    #[serde(skip_serializing_if = "Option::is_none")]
    had_ended: Option<bool>,
}

impl Api {
    pub(super) async fn roles(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        self.must_know_roles(call, tenant).await?;
        call.query(&[])?;
        let items = self.engine.known(|facts| {
            let mut names: Vec<&RoleName> = call.policy.roles.keys().collect();
            let known = if call.policy.tenant_roles.most > 0 { facts.tenant(tenant.as_str())? } else { None };
            if let Some(known) = known {
                names.extend(known.roles.iter().filter(|name| call.policy.role(name).is_none()));
            }
            names.sort();
            // All of them at once: there may be many.
            let keys = names.iter().filter(|name| call.policy.is_told(name));
            let keys = keys.map(|name| Key::Role(tenant.clone(), (*name).clone()));
            let missing: Vec<Key> = keys.filter(|key| facts.get(key).is_none()).collect();
            if !missing.is_empty() {
                return Err(Lack::Need(Need(missing)));
            }
            let mut items = Vec::with_capacity(names.len());
            for name in names {
                items.extend(view(call, tenant, name, facts)?);
            }
            Ok(items)
        });
        Ok(Reply::ok(&All { items: drop_versions(items.await?) }))
    }

    pub(super) async fn role(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        name: &RoleName,
    ) -> Result<Reply, Problem> {
        self.must_know_roles(call, tenant).await?;
        call.query(&[])?;
        let (view, version) = self.one_role(call, tenant, name).await?.ok_or(Refusal::NotFound("role"))?;
        Ok(Reply::ok(&view).tagged(version))
    }

    pub(super) async fn set_role(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        name: &RoleName,
    ) -> Result<Reply, Problem> {
        call.must_manage_roles(tenant)?;
        call.query(&[])?;
        let expected = call.expected()?;
        let object = call.object()?;
        let permissions = Form::of(&object, &["permissions"])?.permissions()?;
        let (tenant_id, role) = (tenant.clone(), name.clone());
        let command = Command::SetRole { tenant: tenant_id, role, permissions, expected };
        let outcome = self.change(call, command).await?;
        Ok(self.changed_role(call, tenant, name, outcome, None).await)
    }

    pub(super) async fn remove_role(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        name: &RoleName,
    ) -> Result<Reply, Problem> {
        call.must_manage_roles(tenant)?;
        call.query(&[])?;
        let expected = call.expected()?;
        call.without_body()?;
        let command = Command::RemoveRole { tenant: tenant.clone(), role: name.clone(), expected };
        let outcome = self.change(call, command).await?;
        let had_ended = Some(!outcome.changed);
        Ok(self.changed_role(call, tenant, name, outcome, had_ended).await)
    }

    async fn changed_role(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        name: &RoleName,
        outcome: Outcome,
        had_ended: Option<bool>,
    ) -> Reply {
        // The change has happened; that it cannot be shown is no reason to say that it has not.
        let shown = self.one_role(call, tenant, name).await.ok().flatten();
        let status = outcome.status(200);
        let version = shown.as_ref().and_then(|(_, version)| *version).filter(|_| status == 200);
        let role = shown.map(|(view, _)| view);
        Reply::with(status, &ChangedView { role, outcome, had_ended }).tagged(version)
    }

    async fn one_role(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        name: &RoleName,
    ) -> Result<Option<(View, Option<Version>)>, Problem> {
        Ok(self.engine.known(|facts| view(call, tenant, name, facts)).await?)
    }

    /// The tenant's administrators, those who say what its roles hold, and staff who are inside.
    async fn must_know_roles(&self, call: &Call<'_>, tenant: &TenantId) -> Result<(), Problem> {
        if !call.is_staff() {
            return if call.manages_roles(tenant) { Ok(()) } else { call.must_see(tenant) };
        }
        if self.is_inside(call, tenant).await? { Ok(()) } else { Err(Refusal::NotFound("tenant").into()) }
    }
}

fn drop_versions(items: Vec<(View, Option<Version>)>) -> Vec<View> {
    items.into_iter().map(|(view, _)| view).collect()
}

/// A role as it is in that tenant, with the version of what the tenant says of it, where that is for it to say.
fn view(
    call: &Call<'_>,
    tenant: &TenantId,
    name: &RoleName,
    facts: &Facts,
) -> Result<Option<(View, Option<Version>)>, Lack> {
    let policy = &call.policy;
    let meant = Here { tenant: tenant.as_str(), facts, policy }.role(name)?;
    let (origin, grants) = match meant {
        Meaning::Nothing => return Ok(None),
        Meaning::Configured(_) => (Origin::Configuration, None),
        Meaning::Told(told, _) if told.own => (Origin::Tenant, Some(told.granted_at(call.now).len())),
        Meaning::Told(..) => (Origin::Adjusted, None),
    };
    let adjustable = policy.is_told(name);
    let version = if adjustable {
        // Said or not, it has a version to set it against.
        facts.role(tenant.as_str(), name)?;
        Some(super::version(facts, &Key::Role(tenant.clone(), name.clone())))
    } else {
        None
    };
    let set: PermissionSet = meant.set(policy);
    let held = || policy.catalogue.iter().filter(|(id, _)| set.contains(*id));
    let of_level = |level: &&crate::model::Level| level.role.as_ref() == Some(name);
    let people = !call.is_staff();
    let view = View {
        role: name.clone(),
        origin,
        adjustable,
        permissions: held().map(|(_, name)| name.clone()).collect(),
        for_staff: policy.staff_rights_of(&set),
        closed_to_staff: held()
            .filter(|(id, _)| policy.above_ceiling(*id))
            .map(|(_, name)| name.clone())
            .collect(),
        levels: policy.ladder.levels().iter().filter(of_level).map(|level| level.name.clone()).collect(),
        grants: grants.filter(|_| people),
        grantable: people.then(|| held().all(|(id, _)| policy.above_ceiling(id) || call.can(id))),
    };
    Ok(Some((view, version)))
}
