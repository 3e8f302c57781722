//! `/v1/tenants/{t}/consent`: how far support may go, as the tenant chose and as it is in force.

use serde::Serialize;

use crate::{
    lifecycle::{Command, Refusal},
    model::{Consent, Key, LevelName, PermissionName, Raise, RoleName, TenantId, Timestamp, Version, Zone},
    policy::{
        Policy,
        level::{in_force, leads},
    },
};

use super::{Api, beside::Beside, call::Call, form::Form, outcome::Outcome, problem::Problem, reply::Reply};

#[derive(Serialize)]
struct View<'a> {
    tenant: &'a TenantId,
    /// The tenant's own choice: a level, or `inherit`.
    choice: &'a str,
    /// Where two histories were joined: the level that bounds what is inherited.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<&'a LevelName>,
    /// A level beside that choice, and until when: then what was chosen is in force again.
    #[serde(skip_serializing_if = "Option::is_none")]
    raised: Option<RaiseView<'a>>,
    in_force: Step<'a>,
    can_inherit: bool,
    /// Lowest first.
    ladder: Vec<Step<'a>>,
    /// In which calendar days are counted.
    zone: Zone,
}

/// A level until a date.
#[derive(Serialize)]
struct RaiseView<'a> {
    level: &'a LevelName,
    until: Timestamp,
}

impl<'a> RaiseView<'a> {
    fn of(raise: &'a Raise) -> Self {
        RaiseView { level: &raise.level, until: raise.until }
    }
}

/// One level with what it gives to staff.
#[derive(Serialize)]
struct Step<'a> {
    level: Option<&'a LevelName>,
    role: Option<&'a RoleName>,
    rights: Vec<PermissionName>,
    /// Further names under which it can be chosen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also: Vec<&'a LevelName>,
}

#[derive(Serialize)]
struct ChangedView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    consent: Option<View<'a>>,
    outcome: Outcome,
    stays_in_force: Beside,
}

/// What is known of a tenant's consent.
struct Stand {
    consent: Consent,
    rank: usize,
    now: Timestamp,
    can_inherit: bool,
    zone: Zone,
    version: Version,
}

impl Api {
    pub(super) async fn consent(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        call.must_see(tenant)?;
        call.query(&[])?;
        let stand = self.stand(call, tenant).await?.ok_or(Refusal::NotFound("tenant"))?;
        Ok(Reply::ok(&view(tenant, &stand, &call.policy)).tagged(Some(stand.version)))
    }

    pub(super) async fn set_consent(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        call.must_manage(tenant)?;
        call.query(&[])?;
        let expected = call.expected()?;
        let object = call.object()?;
        let form = Form::of(&object, &["level", "until", "date", "for"])?;
        let (choice, until) = (form.choice()?, form.maybe_until()?);
        let command = Command::SetConsent { tenant: tenant.clone(), choice, until, expected };
        let outcome = self.change(call, command).await?;
        // The change has happened; that it cannot be shown is no reason to say that it has not.
        let stand = self.stand(call, tenant).await.ok().flatten();
        let stays_in_force = self.beside(call, tenant).await;
        let version = stand.as_ref().map(|stand| stand.version).filter(|_| outcome.status(200) == 200);
        let consent = stand.as_ref().map(|stand| view(tenant, stand, &call.policy));
        let status = outcome.status(200);
        Ok(Reply::with(status, &ChangedView { consent, outcome, stays_in_force }).tagged(version))
    }

    async fn stand(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Option<Stand>, Problem> {
        let key = Key::Tenant(tenant.clone());
        let stand = self.engine.known(|facts| {
            let Some(known) = facts.tenant(tenant.as_str())? else { return Ok(None) };
            let in_force = in_force(known, facts, &call.policy, call.now)?;
            let can_inherit = leads(known, facts)?;
            Ok(Some(Stand {
                consent: known.consent.clone(),
                rank: in_force.rank,
                now: call.now,
                can_inherit,
                zone: known.zone,
                version: super::version(facts, &key),
            }))
        });
        Ok(stand.await?)
    }
}

fn view<'a>(tenant: &'a TenantId, stand: &'a Stand, policy: &'a Policy) -> View<'a> {
    let step = |level: Option<&'a crate::model::Level>| {
        let role = level.and_then(|level| level.role.as_ref());
        let known = role.and_then(|role| policy.role(role));
        Step {
            level: level.map(|level| &level.name),
            role,
            rights: known.map(|role| policy.staff_rights(role)).unwrap_or_default(),
            also: level.into_iter().flat_map(|level| policy.ladder.other_names(&level.name)).collect(),
        }
    };
    let own = stand.consent.cap.as_ref();
    View {
        tenant,
        choice: if stand.consent.inherit { "inherit" } else { own.map_or("", LevelName::as_str) },
        raised: stand.consent.raise_at(stand.now).map(RaiseView::of),
        at_most: own.filter(|_| stand.consent.inherit),
        in_force: step(policy.ladder.at(stand.rank)),
        can_inherit: stand.can_inherit,
        ladder: policy.ladder.levels().iter().map(|level| step(Some(level))).collect(),
        zone: stand.zone,
    }
}
