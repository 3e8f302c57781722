//! `/v1/tenants/{t}/sessions` and `/v1/sessions`: agents start and end their own; administrators see who is inside and
//! remove them.

use serde::Serialize;

use crate::{
    lifecycle::{Command, Refusal},
    model::{SessionId, SubjectKind, TenantId},
};

use super::{
    Api,
    beside::SessionRow,
    call::Call,
    form::Form,
    grant_view::GrantRow,
    outcome::Outcome,
    problem::Problem,
    reply::Reply,
    session_view::{Eye, SessionView, look},
    walk::Page,
};

#[derive(Serialize)]
struct Inside {
    #[serde(flatten)]
    sessions: Page<SessionRow>,
    /// Those who could enter at any time. Where there are more, they are listed below `grants`.
    standing_grants: Page<GrantRow>,
}

#[derive(Serialize)]
struct Own {
    items: Vec<SessionView>,
}

#[derive(Serialize)]
pub(super) struct ChangedView {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<SessionView>,
    pub(super) outcome: Outcome,
    /// Of an end: it had ended before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) had_ended: Option<bool>,
}

impl Api {
    pub(super) async fn sessions(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        if call.is_staff() {
            call.query(&[])?;
            return Ok(Reply::ok(&Own { items: self.own_active(call, tenant).await? }));
        }
        call.must_see(tenant)?;
        let query = call.query(&["after", "limit"])?;
        let (after, limit) = (query.after()?, query.limit()?);
        let sessions = self.inside(call, tenant, after, limit).await?;
        let standing_grants = self.standing_grants(call, tenant, None, limit).await?;
        Ok(Reply::ok(&Inside { sessions, standing_grants }))
    }

    pub(super) async fn own_sessions(&self, call: &Call<'_>) -> Result<Reply, Problem> {
        call.must_be_staff()?;
        let query = call.query(&["tenant"])?;
        let tenant = query.must("tenant", |text| TenantId::new(text).ok())?;
        Ok(Reply::ok(&Own { items: self.own_active(call, &tenant).await? }))
    }

    /// The agent's active sessions in a tenant. Of a tenant that is not known there are none, as of any other that they
    /// are not inside of (law 11).
    pub(super) async fn own_active(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
    ) -> Result<Vec<SessionView>, Problem> {
        let own = self.engine.known(|facts| {
            let Some(presence) = facts.presence(tenant.as_str(), &call.subject.id)? else {
                return Ok(Vec::new());
            };
            let mut active = Vec::new();
            for id in presence.sessions.keys() {
                let eye = Eye::Agent(call.subject);
                active
                    .extend(look(facts, tenant, id, eye, call.now, &call.policy)?.filter(|view| view.active));
            }
            Ok(active)
        });
        Ok(own.await?)
    }

    pub(super) async fn session(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        id: &SessionId,
    ) -> Result<Reply, Problem> {
        if !call.is_staff() {
            call.must_see(tenant)?;
        }
        call.query(&[])?;
        let view = self.one_session(call, tenant, id).await?.ok_or(Refusal::NotFound("session"))?;
        Ok(Reply::ok(&view).tagged(Some(view.version)))
    }

    pub(super) async fn start_session(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        call.must_be_staff()?;
        if call.subject.acting {
            return Err(Refusal::Acting.into());
        }
        call.query(&[])?;
        call.without_conditions()?;
        let object = call.object()?;
        let form = Form::of(&object, &["environment", "basis", "reason", "ticket", "for"])?;
        let id = call.fresh("ses", SessionId::new)?;
        let command = Command::StartSession {
            tenant: tenant.clone(),
            session: id.clone(),
            environment: form.environment()?,
            basis: form.basis()?,
            reason: form.text("reason")?.to_owned(),
            ticket: form.maybe_text("ticket")?.map(str::to_owned),
            lasts: form.lasts()?,
        };
        self.entered(call, tenant, id, command).await
    }

    /// Starts a session, on whatever basis.
    pub(super) async fn entered(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        id: SessionId,
        command: Command,
    ) -> Result<Reply, Problem> {
        let created = self.create(call, tenant, command).await?;
        let id = created.session(id)?;
        let session = created.shown("session", self.one_session(call, tenant, &id).await)?;
        let (path, repeated) = (self.path(&format!("tenants/{tenant}/sessions/{id}")), created.repeated());
        let outcome = created.outcome;
        let reply = Reply::with(outcome.status(201), &ChangedView { session, outcome, had_ended: None });
        Ok(reply.at(path).replayed(repeated))
    }

    /// An agent leaves, or an administrator removes them. A repeat is answered like the first time.
    pub(super) async fn end_session(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        id: &SessionId,
    ) -> Result<Reply, Problem> {
        match call.subject.kind {
            SubjectKind::Staff if call.subject.acting => return Err(Refusal::Acting.into()),
            SubjectKind::Staff => {}
            SubjectKind::Member | SubjectKind::Service => call.must_manage(tenant)?,
        }
        call.query(&[])?;
        call.without_conditions()?;
        call.without_body()?;
        let command = Command::EndSession { tenant: tenant.clone(), session: id.clone() };
        let outcome = self.change(call, command).await?;
        let had_ended = Some(!outcome.changed);
        let session = self.one_session(call, tenant, id).await.ok().flatten();
        let status = outcome.status(200);
        Ok(Reply::with(status, &ChangedView { session, outcome, had_ended }))
    }

    /// One session as this caller may see it.
    pub(super) async fn one_session(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        id: &SessionId,
    ) -> Result<Option<SessionView>, Problem> {
        let eye = if call.is_staff() { Eye::Agent(call.subject) } else { Eye::Administrator };
        let found = self.engine.known(|facts| look(facts, tenant, id, eye, call.now, &call.policy));
        Ok(found.await?)
    }
}
