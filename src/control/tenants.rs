//! `/v1/tenants`: what a service pushes of tenants, and what may be seen of one: by itself, its own people, and staff inside.
//!
//! Tenants are islands: only services see more than one (law 11).

use serde::Serialize;

use crate::{
    lifecycle::{Command, Refusal},
    model::{
        Document, EnvironmentId, Key, PlanName, ResourceRef, SubjectKind, Tenant, TenantId, Timestamp,
        Version, Zone, join::narrowest,
    },
    policy::{Push, standing::standing},
};

use super::{
    Api,
    call::{Call, cursor},
    form::Form,
    outcome::Outcome,
    problem::Problem,
    reply::Reply,
    walk::{Page, Rows, Walk},
};

/// One tenant.
#[derive(Debug, Serialize)]
struct View {
    tenant: TenantId,
    /// Not for staff: another tenant's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<TenantId>,
    zone: Zone,
    environments: Vec<EnvironmentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<PlanName>,
    /// How many of its people take a paid seat, where roles say so. Not for staff.
    #[serde(skip_serializing_if = "Option::is_none")]
    seats: Option<u64>,
    /// How many they may be, where that is bounded. Not for staff.
    #[serde(skip_serializing_if = "Option::is_none")]
    seat_limit: Option<u64>,
    /// Who says what it is: `configuration` or `service`.
    from: &'static str,
    /// Since when it is no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<Timestamp>,
}

/// A row of the list.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Row {
    Tenant(Box<View>),
    Unreadable { tenant: TenantId, unreadable: &'static str },
}

#[derive(Serialize)]
struct ChangedView {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<View>,
    outcome: Outcome,
    /// Of a removal: it had been removed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    had_ended: Option<bool>,
}

fn view(call: &Call<'_>, id: &TenantId, tenant: &Tenant) -> View {
    let configured = call.policy.callers.configured.contains(id);
    View {
        tenant: id.clone(),
        parent: tenant.parent.clone().filter(|_| !call.is_staff()),
        zone: tenant.zone,
        environments: tenant.environments.iter().cloned().collect(),
        plan: tenant.plan.clone(),
        seats: None,
        seat_limit: tenant.seat_limit.filter(|_| !call.is_staff()),
        from: if configured || tenant.service.is_none() { "configuration" } else { "service" },
        removed: tenant.removed,
    }
}

impl Api {
    pub(super) async fn tenants(&self, call: &Call<'_>) -> Result<Reply, Problem> {
        call.must_be_pusher(Push::Tenants)?;
        let query = call.query(&["after", "limit"])?;
        let (after, limit): (Option<TenantId>, _) = (query.after()?, query.limit()?);
        let mut page = Page::default();
        // Whoever is confined to some tenants has those looked for, and no cursor ever names another one (law 11).
        let confined = call.policy.callers.confined_to(call.subject, Push::Tenants);
        let rows = match confined {
            None => Rows::Tenants,
            Some(only) => {
                let behind = only.into_iter().filter(|id| after.as_ref().is_none_or(|after| id > after));
                Rows::These(behind.map(Key::Tenant).collect::<Vec<_>>().into_iter())
            }
        };
        let mut walk = Walk::new(self.engine.store(), rows, after.map(Key::Tenant));
        while let Some((key, found)) = walk.next().await? {
            let Key::Tenant(id) = &key else { continue };
            let row = match found.map(|stored| narrowest(&stored, &call.policy.ladder)) {
                Ok(Some(Document::Tenant(tenant))) => Row::Tenant(Box::new(view(call, id, &tenant))),
                Ok(_) => Row::Unreadable { tenant: id.clone(), unreadable: "store_document_damaged" },
                Err(fault) => Row::Unreadable { tenant: id.clone(), unreadable: fault.code() },
            };
            if !page.put(row, cursor(id), limit) {
                return Ok(Reply::ok(&page));
            }
        }
        if let Some(Key::Tenant(id)) = walk.stopped() {
            page.next = Some(cursor(&id));
        }
        Ok(Reply::ok(&page))
    }

    pub(super) async fn tenant(&self, call: &Call<'_>, id: &TenantId) -> Result<Reply, Problem> {
        match call.subject.kind {
            SubjectKind::Service => call.must_push(Push::Tenants, id)?,
            SubjectKind::Member => call.must_see(id)?,
            // Whoever is not inside learns nothing, not even that there is such a tenant.
            SubjectKind::Staff => {
                if !self.is_inside(call, id).await? {
                    return Err(Refusal::NotFound("tenant").into());
                }
            }
        }
        call.query(&[])?;
        let (view, version) = self.one_tenant(call, id).await?.ok_or(Refusal::NotFound("tenant"))?;
        Ok(Reply::ok(&view).tagged(Some(version)))
    }

    pub(super) async fn push_tenant(&self, call: &Call<'_>, id: &TenantId) -> Result<Reply, Problem> {
        call.must_push(Push::Tenants, id)?;
        call.query(&[])?;
        let expected = call.expected()?;
        let object = call.object()?;
        let form = Form::of(&object, &["parent", "zone", "environments", "plan", "seat_limit"])?;
        let command = Command::PushTenant {
            tenant: id.clone(),
            parent: form.parent()?,
            zone: form.zone()?,
            environments: form.environments()?,
            plan: form.plan()?,
            seat_limit: form.seat_limit()?,
            expected,
        };
        let outcome = self.change(call, command).await?;
        let done = if outcome.registered() { 201 } else { 200 };
        let path = self.path(&format!("tenants/{id}"));
        let reply = self.changed_tenant(call, id, outcome, done, None).await;
        Ok(if done == 201 { reply.at(path) } else { reply })
    }

    pub(super) async fn remove_tenant(&self, call: &Call<'_>, id: &TenantId) -> Result<Reply, Problem> {
        call.must_push(Push::Tenants, id)?;
        call.query(&[])?;
        let expected = call.expected()?;
        call.without_body()?;
        let outcome = self.change(call, Command::RemoveTenant { tenant: id.clone(), expected }).await?;
        let had_ended = Some(!outcome.changed);
        Ok(self.changed_tenant(call, id, outcome, 200, had_ended).await)
    }

    async fn changed_tenant(
        &self,
        call: &Call<'_>,
        id: &TenantId,
        outcome: Outcome,
        done: u16,
        had_ended: Option<bool>,
    ) -> Reply {
        // The change has happened; that it cannot be shown is no reason to say that it has not.
        let shown = self.one_tenant(call, id).await.ok().flatten();
        let status = outcome.status(done);
        let version = shown.as_ref().map(|(_, version)| *version).filter(|_| status == done);
        let tenant = shown.map(|(view, _)| view);
        Reply::with(status, &ChangedView { tenant, outcome, had_ended }).tagged(version)
    }

    async fn one_tenant(&self, call: &Call<'_>, id: &TenantId) -> Result<Option<(View, Version)>, Problem> {
        let found = self.engine.known(|facts| {
            let Some(tenant) = facts.tenant(id.as_str())? else { return Ok(None) };
            let version = super::version(facts, &Key::Tenant(id.clone()));
            let counts = !call.is_staff() && call.policy.roles.values().any(|role| role.seat);
            let seats = match ResourceRef::of_tenant(id).filter(|_| counts) {
                Some(of) => {
                    let tally = facts.tally(id, &of)?.filter(|tally| tally.life == tenant.life);
                    Some(tally.map_or(0, |tally| tally.seats))
                }
                None => None,
            };
            Ok(Some((View { seats, ..view(call, id, tenant) }, version)))
        });
        Ok(found.await?)
    }

    /// Whether this agent has a good session in that tenant at this instant.
    pub(super) async fn is_inside(&self, call: &Call<'_>, id: &TenantId) -> Result<bool, Problem> {
        if call.subject.acting {
            return Err(Refusal::Acting.into());
        }
        let inside = self.engine.known(|facts| {
            let Some(presence) = facts.presence(id.as_str(), &call.subject.id)? else { return Ok(false) };
            let Some(tenant) = facts.tenant(id.as_str())? else { return Ok(false) };
            for session in presence.sessions.keys() {
                let Some(session) = facts.session(id.as_str(), session.as_str())? else { continue };
                let own = session.subject == call.subject.id;
                let (subject, policy) = (call.subject, &call.policy);
                if own && standing(session, id.as_str(), tenant, subject, facts, call.now, policy)?.is_ok() {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        Ok(inside.await?)
    }
}
