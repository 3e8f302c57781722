//! `/v1/tenants/{t}/login-access`: a person of the tenant lets a support organisation act as them, sees what they gave, and takes
//! it back. Each sees and gives their own alone; administrators see all of it among the tenant's grants.

use serde::Serialize;

use crate::{
    lifecycle::Command,
    model::{EnvironmentId, GrantId, Grantee, OrganisationName, TenantId},
};

use super::{
    Api, call::Call, form::Form, form::NO_ACCESS, grant_view::GrantView, outcome::Outcome, problem::Problem,
    reply::Reply,
};

#[derive(Serialize)]
struct View {
    /// What can be chosen: `no access` first.
    durations: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suggested: Option<String>,
    organisations: Vec<Organisation>,
}

#[derive(Serialize)]
struct Organisation {
    organisation: OrganisationName,
    /// What stands, by environment; none is `no access`.
    access: Vec<GrantView>,
}

#[derive(Serialize)]
struct ChangedView {
    organisation: OrganisationName,
    /// To be quoted in a ticket: the name of the grant, by which nobody enters.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmation: Option<GrantId>,
    access: Vec<GrantView>,
    outcome: Outcome,
}

impl Api {
    pub(super) async fn login_access(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        call.must_be_member(tenant)?;
        call.query(&[])?;
        let offered = &call.policy.login_access;
        let standing = self.lent(call, tenant).await?;
        let organisations = offered
            .organisations
            .iter()
            .map(|name| Organisation { organisation: name.clone(), access: of(&standing, name) });
        Ok(Reply::ok(&View {
            durations: std::iter::once(NO_ACCESS.to_owned())
                .chain(offered.durations.iter().map(ToString::to_string))
                .filter(|_| offered.is_open())
                .collect(),
            suggested: offered.suggested.map(|span| span.to_string()),
            organisations: organisations.collect(),
        }))
    }

    pub(super) async fn allow_login(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        to: &OrganisationName,
    ) -> Result<Reply, Problem> {
        call.must_be_member(tenant)?;
        call.query(&[])?;
        call.without_conditions()?;
        let object = call.object()?;
        let form = Form::of(&object, &["environment", "for", "ticket"])?;
        let environment = form.environment()?;
        let ticket = form.maybe_text("ticket")?.map(str::to_owned);
        let Some(lasts) = form.login_lasts()? else {
            return self.take_back(call, tenant, to, Some(environment)).await;
        };
        let grant = call.fresh("grt", GrantId::new)?;
        let command = Command::AllowLogin {
            tenant: tenant.clone(),
            grant: grant.clone(),
            environment,
            organisation: to.clone(),
            lasts,
            ticket,
        };
        let outcome = self.change(call, command).await?;
        Ok(self.changed_login(call, tenant, to, outcome, Some(grant)).await)
    }

    pub(super) async fn withdraw_login(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        to: &OrganisationName,
    ) -> Result<Reply, Problem> {
        call.must_be_member(tenant)?;
        call.query(&[])?;
        call.without_conditions()?;
        call.without_body()?;
        self.take_back(call, tenant, to, None).await
    }

    /// In one environment, or in all. A repeat is answered like the first time.
    async fn take_back(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        to: &OrganisationName,
        environment: Option<EnvironmentId>,
    ) -> Result<Reply, Problem> {
        let command =
            Command::WithdrawLogin { tenant: tenant.clone(), organisation: to.clone(), environment };
        let outcome = self.change(call, command).await?;
        Ok(self.changed_login(call, tenant, to, outcome, None).await)
    }

    async fn changed_login(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        to: &OrganisationName,
        outcome: Outcome,
        confirmation: Option<GrantId>,
    ) -> Reply {
        // The change has happened; that it cannot be shown is no reason to say that it has not.
        let access = self.lent(call, tenant).await.map(|lent| of(&lent, to)).unwrap_or_default();
        let status = outcome.status(if confirmation.is_some() { 201 } else { 200 });
        Reply::with(status, &ChangedView { organisation: to.clone(), confirmation, access, outcome })
    }

    /// What the caller gave and stands, by their own index.
    async fn lent(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
    ) -> Result<Vec<(OrganisationName, GrantView)>, Problem> {
        let found = self.engine.known(|facts| {
            let mut standing = Vec::new();
            let Some(presence) = facts.presence(tenant.as_str(), &call.subject.id)? else {
                return Ok(standing);
            };
            for id in &presence.lent {
                let Some(grant) = facts.grant(tenant.as_str(), id.as_str())? else { continue };
                let view = GrantView::of(tenant, id, grant, call.now);
                if let Grantee::Organisation(to) = &grant.to
                    && grant.grantor == call.subject.id
                    && view.standing
                {
                    standing.push((to.clone(), view));
                }
            }
            Ok(standing)
        });
        Ok(found.await?)
    }
}

fn of(standing: &[(OrganisationName, GrantView)], name: &OrganisationName) -> Vec<GrantView> {
    standing.iter().filter(|(to, _)| to == name).map(|(_, view)| view.clone()).collect()
}
