//! `/v1/tenants/{t}/roles`: the roles that exist, what each comes to for staff, and which consent level gives which; so that a
//! form for a grant can be filled from it.

use serde::Serialize;

use crate::{
    lifecycle::Refusal,
    model::{LevelName, PermissionName, RoleName, TenantId},
    policy::Role,
};

use super::{Api, call::Call, problem::Problem, reply::Reply};

#[derive(Serialize)]
struct View<'a> {
    role: &'a RoleName,
    /// All that it holds.
    permissions: Vec<&'a PermissionName>,
    /// What of it staff may do, whatever they are granted.
    for_staff: Vec<PermissionName>,
    /// What of it is closed to staff for good.
    closed_to_staff: Vec<&'a PermissionName>,
    /// The consent levels that give it.
    levels: Vec<&'a LevelName>,
    /// For the tenant's people: whether they may hand it on by a grant, as far as their own rights go.
    #[serde(skip_serializing_if = "Option::is_none")]
    grantable: Option<bool>,
}

#[derive(Serialize)]
struct All<'a> {
    items: Vec<View<'a>>,
}

impl Api {
    pub(super) async fn roles(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        self.must_know_roles(call, tenant).await?;
        call.query(&[])?;
        let items = call.policy.roles.iter().map(|(name, role)| view(call, name, role)).collect();
        Ok(Reply::ok(&All { items }))
    }

    pub(super) async fn role(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        name: &RoleName,
    ) -> Result<Reply, Problem> {
        self.must_know_roles(call, tenant).await?;
        call.query(&[])?;
        let (name, role) = call.policy.roles.get_key_value(name).ok_or(Refusal::NotFound("role"))?;
        Ok(Reply::ok(&view(call, name, role)))
    }

    /// The tenant's administrators, and staff who are inside.
    async fn must_know_roles(&self, call: &Call<'_>, tenant: &TenantId) -> Result<(), Problem> {
        if !call.is_staff() {
            return call.must_see(tenant);
        }
        if self.is_inside(call, tenant).await? { Ok(()) } else { Err(Refusal::NotFound("tenant").into()) }
    }
}

fn view<'a>(call: &'a Call<'_>, name: &'a RoleName, role: &Role) -> View<'a> {
    let policy = &call.policy;
    let held = || policy.catalogue.iter().filter(|(id, _)| role.permissions.contains(*id));
    let of_level = |level: &&crate::model::Level| level.role.as_ref() == Some(name);
    View {
        role: name,
        permissions: held().map(|(_, name)| name).collect(),
        for_staff: policy.staff_rights(role),
        closed_to_staff: held().filter(|(id, _)| policy.above_ceiling(*id)).map(|(_, name)| name).collect(),
        levels: policy.ladder.levels().iter().filter(of_level).map(|level| &level.name).collect(),
        grantable: (!call.is_staff()).then(|| held().all(|(id, _)| policy.above_ceiling(id) || call.can(id))),
    }
}
