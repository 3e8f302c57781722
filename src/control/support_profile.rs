//! `/v1/tenants/{t}/support-profile`: how support access by grants stands in a tenant: off in every environment until somebody
//! gives one; which can be given there, by whom, and whether others than administrators may.
//!
//! Never here: giving, changing and withdrawing grants (`grants`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    lifecycle::{Command, Refusal},
    model::{EnvironmentId, GivenAs, GrantId, Key, ResourceType, RoleName, Tenant, TenantId, Version},
    policy::{Policy, Reason},
};

use super::{
    Api, call::Call, form::Form, grant_view::GrantRow, grants::Which, outcome::Outcome, problem::Problem,
    reply::Reply,
};

/// Grants that are looked at, at most: with more, it is on anyway.
const LOOKED_AT: usize = 200;

#[derive(Serialize)]
struct View {
    tenant: TenantId,
    environments: Vec<EnvironmentView>,
    /// Where the configuration has such a setting: whether members who are no administrators may give grants.
    #[serde(skip_serializing_if = "Option::is_none")]
    others_may_grant: Option<bool>,
    /// As whom the caller may give one, at this instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    you_give_as: Option<GivenAs>,
    /// Which roles can be given; any where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Roles>,
    /// For how long a grant should stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    suggested: Option<String>,
    /// For how long it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    longest: Option<String>,
}

/// One environment of the tenant.
#[derive(Serialize)]
struct EnvironmentView {
    environment: EnvironmentId,
    /// Whether a grant stands there.
    on: bool,
    /// The grants that do.
    grants: Vec<GrantId>,
    /// Why nothing can be granted there.
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_by: Option<&'static str>,
}

#[derive(Serialize)]
struct Roles {
    everything: BTreeSet<RoleName>,
    resources: Vec<AtType>,
}

/// The roles that can be given at resources of a type.
#[derive(Serialize)]
struct AtType {
    r#type: ResourceType,
    roles: BTreeSet<RoleName>,
}

#[derive(Serialize)]
struct ChangedView {
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<View>,
    outcome: Outcome,
}

impl Api {
    pub(super) async fn support_profile(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        let own = call.must_see_or_own(tenant)?;
        call.query(&[])?;
        let (view, version) = self.profile(call, tenant, own).await?.ok_or(Refusal::NotFound("tenant"))?;
        Ok(Reply::ok(&view).tagged(Some(version)))
    }

    pub(super) async fn set_granting(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        call.must_manage(tenant)?;
        call.query(&[])?;
        let expected = call.expected()?;
        let object = call.object()?;
        let allowed = Form::of(&object, &["others_may_grant"])?.yes_or_no("others_may_grant")?;
        let command = Command::SetGranting { tenant: tenant.clone(), allowed, expected };
        let outcome = self.change(call, command).await?;
        // The change has happened; that it cannot be shown is no reason to say that it has not.
        let shown = self.profile(call, tenant, false).await.ok().flatten();
        let status = outcome.status(200);
        let version = shown.as_ref().map(|(_, version)| *version).filter(|_| status == 200);
        let profile = shown.map(|(view, _)| view);
        Ok(Reply::with(status, &ChangedView { profile, outcome }).tagged(version))
    }

    async fn profile(
        &self,
        call: &Call<'_>,
        id: &TenantId,
        own: bool,
    ) -> Result<Option<(View, Version)>, Problem> {
        let key = Key::Tenant(id.clone());
        let found = self.engine.known(|facts| {
            let Some(tenant) = facts.tenant(id.as_str())? else { return Ok(None) };
            Ok(Some((tenant.clone(), super::version(facts, &key))))
        });
        let Some((tenant, version)) = found.await? else { return Ok(None) };
        let page = self.page_of_grants(call, id, None, LOOKED_AT, Which { all: false, own }).await?;
        let mut standing: BTreeMap<EnvironmentId, Vec<GrantId>> = BTreeMap::new();
        for row in page.items {
            if let GrantRow::Grant(view) = row {
                standing.entry(view.environment).or_default().push(view.id);
            }
        }
        Ok(Some((view(call, id, &tenant, standing), version)))
    }
}

fn view(
    call: &Call<'_>,
    id: &TenantId,
    tenant: &Tenant,
    mut standing: BTreeMap<EnvironmentId, Vec<GrantId>>,
) -> View {
    let policy = &call.policy;
    let granting = &policy.granting;
    let allowed = tenant.delegation.as_ref().is_some_and(|delegation| delegation.allowed);
    let environment = |environment: &EnvironmentId| {
        let grants = standing.remove(environment).unwrap_or_default();
        let closed_by = closed_by(tenant, environment, policy).map(Reason::code);
        EnvironmentView { environment: environment.clone(), on: !grants.is_empty(), grants, closed_by }
    };
    View {
        tenant: id.clone(),
        environments: tenant.environments.iter().map(environment).collect(),
        others_may_grant: granting.has_setting().then_some(allowed),
        you_give_as: call.gives_as(id).filter(|given_as| *given_as != GivenAs::Allowed || allowed),
        roles: granting.gives.as_ref().map(|gives| Roles {
            everything: gives.everything.clone(),
            resources: gives
                .resources
                .iter()
                .map(|(kind, roles)| AtType { r#type: kind.clone(), roles: roles.clone() })
                .collect(),
        }),
        suggested: granting.suggested.map(|span| span.to_string()),
        longest: policy.grant_most.map(|span| span.to_string()),
    }
}

/// Why nothing can be granted in an environment.
fn closed_by(tenant: &Tenant, environment: &EnvironmentId, policy: &Policy) -> Option<Reason> {
    if tenant.removed.is_some() {
        Some(Reason::TenantRemoved)
    } else if !policy.granting.plan_holds(tenant.plan.as_ref()) {
        Some(Reason::PlanCloses)
    } else if !policy.granting.environment_holds(environment, &tenant.environments) {
        Some(Reason::EnvironmentCloses)
    } else {
        None
    }
}
