//! `/v1/tenants/{t}/approval` and `/v1/tenants/{t}/requests`: where a tenant approves each session, agents ask, and
//! administrators answer. Administrators see all of their tenant's; staff see their own.

use serde::Serialize;

use crate::{
    engine::first_id,
    lifecycle::{Command, Refusal, Step},
    model::{
        Document, Key, Kind, Request, RequestId, Stored, SubjectKind, TenantId, Version, join::narrowest,
    },
    policy::Fact,
};

use super::{
    Api,
    call::{Call, cursor},
    form::Form,
    outcome::Outcome,
    problem::Problem,
    reply::Reply,
    request_view::{RequestRow, RequestView},
    walk::{Page, Rows, Walk},
};

#[derive(Serialize)]
struct RuleView<'a> {
    tenant: &'a TenantId,
    /// Whether each session by consent has to be approved.
    required: bool,
    /// Of the answer to a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
}

#[derive(Serialize)]
struct ChangedView {
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<RequestView>,
    outcome: Outcome,
    /// Of a withdrawal: it was over before.
    #[serde(skip_serializing_if = "Option::is_none")]
    had_ended: Option<bool>,
}

impl Api {
    pub(super) async fn approval(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        call.must_see(tenant)?;
        call.query(&[])?;
        let (required, version) = self.rule(tenant).await?.ok_or(Refusal::NotFound("tenant"))?;
        Ok(Reply::ok(&RuleView { tenant, required, outcome: None }).tagged(Some(version)))
    }

    pub(super) async fn set_approval(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        call.must_manage(tenant)?;
        call.query(&[])?;
        let expected = call.expected()?;
        let object = call.object()?;
        let required = Form::of(&object, &["required"])?.yes_or_no("required")?;
        let command = Command::SetApproval { tenant: tenant.clone(), required, expected };
        let outcome = self.change(call, command).await?;
        let status = outcome.status(200);
        // The change has happened; that it cannot be shown is no reason to say that it has not.
        let shown = self.rule(tenant).await.ok().flatten();
        let version = shown.map(|(_, version)| version).filter(|_| status == 200);
        let required = shown.map_or(required, |(required, _)| required);
        Ok(Reply::with(status, &RuleView { tenant, required, outcome: Some(outcome) }).tagged(version))
    }

    async fn rule(&self, tenant: &TenantId) -> Result<Option<(bool, Version)>, Problem> {
        let found = self.engine.known(|facts| {
            let known = facts.tenant(tenant.as_str())?.filter(|known| known.removed.is_none());
            Ok(known.map(|known| {
                let required = known.approval.as_ref().is_some_and(|rule| rule.required);
                (required, super::version(facts, &Key::Tenant(tenant.clone())))
            }))
        });
        Ok(found.await?)
    }

    pub(super) async fn requests(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        if !call.is_staff() {
            call.must_see(tenant)?;
        }
        let query = call.query(&["after", "limit", "state"])?;
        let (after, limit) = (query.after()?, query.limit()?);
        let all = query.maybe("state", |word| match word {
            "all" => Some(true),
            "waiting" => Some(false),
            _ => None,
        });
        let all = all?.unwrap_or(false);
        let page = match (call.is_staff(), all) {
            (true, false) => self.own_waiting(call, tenant, after, limit).await?,
            (true, true) => {
                self.page_of_requests(call, tenant, later(after, self.oldest(call)), limit, all).await?
            }
            (false, true) => self.page_of_requests(call, tenant, after, limit, all).await?,
            (false, false) => {
                self.page_of_requests(call, tenant, later(after, self.oldest(call)), limit, all).await?
            }
        };
        Ok(Reply::ok(&page))
    }

    /// Where those requests begin that may still wait: ids rise with time, and none waits for longer than this.
    fn oldest(&self, call: &Call<'_>) -> Option<RequestId> {
        let approvals = call.policy.approvals;
        let longest = approvals.unanswered_ms.saturating_add(approvals.usable_ms);
        RequestId::new(&first_id("req", call.now.plus_ms(longest.saturating_neg()))).ok()
    }

    /// An agent's own that wait, which their index names: however many others were made in that tenant.
    async fn own_waiting(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        after: Option<RequestId>,
        limit: usize,
    ) -> Result<Page<RequestRow>, Problem> {
        let indexed = self.engine.known(|facts| {
            let presence = facts.presence(tenant.as_str(), &call.subject.id)?;
            Ok(presence.map(|presence| presence.requests.clone()).unwrap_or_default())
        });
        let mut page = Page::default();
        for id in indexed.await?.into_iter().filter(|id| after.as_ref().is_none_or(|after| id > after)) {
            let row = match self.one_request(call, tenant, &id).await {
                Ok(Some((view, _))) if view.state != "over" => RequestRow::Request(Box::new(view)),
                Ok(_) => continue,
                Err(_) => RequestRow::Unreadable { id: id.clone(), unreadable: "state_unavailable" },
            };
            if !page.put(row, cursor(&id), limit) {
                break;
            }
        }
        Ok(page)
    }

    /// A page of requests. An agent's holds their own: others' are passed over, and so is what cannot be read, whose it is
    /// cannot be told; neither rows nor cursor say anything about them (law 11).
    async fn page_of_requests(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        after: Option<RequestId>,
        limit: usize,
        all: bool,
    ) -> Result<Page<RequestRow>, Problem> {
        let own = call.is_staff();
        let mut page = Page::default();
        let after = after.map(|id| Key::Request(tenant.clone(), id));
        let mut walk = Walk::new(self.engine.store(), Rows::Below(tenant, Kind::Request), after);
        while let Some((key, found)) = walk.next().await? {
            let Key::Request(_, id) = &key else { continue };
            let row = match found {
                Err(_) if own => None,
                Err(fault) => Some(RequestRow::Unreadable { id: id.clone(), unreadable: fault.code() }),
                Ok(stored) => self.row(call, tenant, id, &stored, all).await,
            };
            if let Some(row) = row
                && !page.put(row, cursor(id), limit)
            {
                return Ok(page);
            }
        }
        if let (false, Some(Key::Request(_, id))) = (own, walk.stopped()) {
            page.next = Some(cursor(&id));
        }
        Ok(page)
    }

    /// A listed request as it holds at this instant, with what lies over it in this gateway's memory.
    async fn row(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        id: &RequestId,
        stored: &Stored,
        all: bool,
    ) -> Option<RequestRow> {
        let own = |request: &Request| !call.is_staff() || request.asker.person == call.subject.id;
        let unreadable = || RequestRow::Unreadable { id: id.clone(), unreadable: "state_unavailable" };
        let Some(Document::Request(request)) = narrowest(stored, &call.policy.ladder) else {
            return (!call.is_staff()).then(unreadable);
        };
        if !own(&request) {
            return None;
        }
        let mut view = RequestView::of(tenant, id, &request, call.now);
        if view.state != "over" {
            view = match self.engine.fact(&Key::Request(tenant.clone(), id.clone())).await {
                Fact::Found(snapshot) => match &snapshot.document {
                    Document::Request(request) => RequestView::of(tenant, id, request, call.now),
                    _ => return Some(unreadable()),
                },
                Fact::Absent | Fact::Unavailable => return Some(unreadable()),
            };
        }
        (all || view.state != "over").then(|| RequestRow::Request(Box::new(view)))
    }

    pub(super) async fn request(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        id: &RequestId,
    ) -> Result<Reply, Problem> {
        if !call.is_staff() {
            call.must_see(tenant)?;
        }
        call.query(&[])?;
        let found = self.one_request(call, tenant, id).await?;
        let (view, version) = found.ok_or(Refusal::NotFound("request"))?;
        Ok(Reply::ok(&view).tagged(Some(version)))
    }

    pub(super) async fn make_request(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        call.must_be_staff()?;
        if call.subject.acting {
            return Err(Refusal::Acting.into());
        }
        call.query(&[])?;
        call.without_conditions()?;
        let object = call.object()?;
        let form = Form::of(&object, &["environment", "level", "reason", "ticket", "for"])?;
        let id = call.fresh("req", RequestId::new)?;
        let step = Step::Ask {
            environment: form.environment()?,
            level: form.level()?,
            reason: form.text("reason")?.to_owned(),
            ticket: form.maybe_text("ticket")?.map(str::to_owned),
            lasts: form.lasts()?,
        };
        let command = Command::Request { tenant: tenant.clone(), request: id.clone(), step };
        let created = self.create(call, tenant, command).await?;
        let id = created.request(id)?;
        let shown = created.shown("request", self.one_request(call, tenant, &id).await)?;
        let (path, repeated) = (self.path(&format!("tenants/{tenant}/requests/{id}")), created.repeated());
        Ok(answered(shown, created.outcome, 201, None).at(path).replayed(repeated))
    }

    /// An administrator approves, asks back or refuses; the agent answers.
    pub(super) async fn decide_request(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        id: &RequestId,
    ) -> Result<Reply, Problem> {
        match call.subject.kind {
            SubjectKind::Staff if call.subject.acting => return Err(Refusal::Acting.into()),
            SubjectKind::Staff => {}
            SubjectKind::Member | SubjectKind::Service => call.must_manage(tenant)?,
        }
        call.query(&[])?;
        let expected = call.expected()?;
        let object = call.object()?;
        let step = Form::of(&object, &["approve", "ask", "answer", "refuse"])?.step(expected)?;
        if expected.is_some() && !matches!(step, Step::Approve { .. }) {
            call.without_conditions()?;
        }
        self.stepped(call, tenant, id, step, 200).await
    }

    /// The agent takes it back. A repeat is answered like the first time.
    pub(super) async fn withdraw_request(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        id: &RequestId,
    ) -> Result<Reply, Problem> {
        call.must_be_staff()?;
        if call.subject.acting {
            return Err(Refusal::Acting.into());
        }
        call.query(&[])?;
        call.without_conditions()?;
        call.without_body()?;
        self.stepped(call, tenant, id, Step::Withdraw, 200).await
    }

    async fn stepped(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        id: &RequestId,
        step: Step,
        done: u16,
    ) -> Result<Reply, Problem> {
        let withdraws = step == Step::Withdraw;
        let command = Command::Request { tenant: tenant.clone(), request: id.clone(), step };
        let outcome = self.change(call, command).await?;
        let had_ended = withdraws.then_some(!outcome.changed);
        // The change has happened; that it cannot be shown is no reason to say that it has not.
        let shown = self.one_request(call, tenant, id).await.ok().flatten();
        Ok(answered(shown, outcome, done, had_ended))
    }

    /// One request as this caller may see it.
    async fn one_request(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        id: &RequestId,
    ) -> Result<Option<(RequestView, Version)>, Problem> {
        let found = self.engine.known(|facts| {
            let Some(request) = facts.request(tenant.as_str(), id.as_str())? else { return Ok(None) };
            if call.is_staff() && request.asker.person != call.subject.id {
                return Ok(None);
            }
            let version = super::version(facts, &Key::Request(tenant.clone(), id.clone()));
            Ok(Some((RequestView::of(tenant, id, request, call.now), version)))
        });
        Ok(found.await?)
    }
}

/// The later of two places.
fn later(after: Option<RequestId>, oldest: Option<RequestId>) -> Option<RequestId> {
    after.max(oldest)
}

fn answered(
    shown: Option<(RequestView, Version)>,
    outcome: Outcome,
    done: u16,
    had_ended: Option<bool>,
) -> Reply {
    let status = outcome.status(done);
    let version = shown.as_ref().map(|(_, version)| *version).filter(|_| status == done);
    let request = shown.map(|(view, _)| view);
    Reply::with(status, &ChangedView { request, outcome, had_ended }).tagged(version)
}
