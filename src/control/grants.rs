//! `/v1/tenants/{t}/grants`: dated permissions beyond consent. Administrators see and make all of their tenant's; whoever else
//! the configuration lets give, sees and changes their own; staff see those that are for them.

use serde::Serialize;

use crate::{
    lifecycle::{Command, Refusal},
    model::{Document, Grant, GrantId, Key, Kind, Stored, TenantId, Timestamp, Version, join::narrowest},
    policy::{Facts, Lack, Reason, granting::over, rows::giver, standing::is_for},
};

use super::{
    Api,
    call::{Call, cursor},
    form::Form,
    grant_view::{GrantRow, GrantView},
    outcome::Outcome,
    problem::Problem,
    reply::Reply,
    walk::{Page, Rows, Walk},
};

#[derive(Serialize)]
struct ChangedView {
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<GrantView>,
    outcome: Outcome,
    /// Of a withdrawal: it had ended before.
    #[serde(skip_serializing_if = "Option::is_none")]
    had_ended: Option<bool>,
}

/// Which grants are listed.
#[derive(Clone, Copy)]
pub(super) struct Which {
    /// Also those that are over.
    pub(super) all: bool,
    /// Only those that the caller gave.
    pub(super) own: bool,
}

/// Whether the caller gave this one. Of what cannot be read nobody can tell whose it is.
fn gave(call: &Call<'_>, stored: &Stored) -> bool {
    match narrowest(stored, &call.policy.ladder) {
        Some(Document::Grant(grant)) => grant.grantor == call.subject.id,
        Some(_) | None => false,
    }
}

/// Why a grant that has not ended gives nothing, where the tenant or its giver's going is why.
pub(super) fn closed(
    call: &Call<'_>,
    id: &TenantId,
    grant: &Grant,
    facts: &Facts,
) -> Result<Option<(Reason, Option<Timestamp>)>, Lack> {
    match facts.tenant(id.as_str())? {
        Some(tenant) => over(grant, (id.as_str(), tenant), facts, &call.policy),
        None => Ok(None),
    }
}

impl Api {
    pub(super) async fn grants(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        let own = !call.is_staff() && call.must_see_or_own(tenant)?;
        let query = call.query(&["after", "limit", "state"])?;
        let (after, limit) = (query.after()?, query.limit()?);
        let all = query.maybe("state", |word| match word {
            "all" => Some(true),
            "standing" => Some(false),
            _ => None,
        });
        let all = all?.unwrap_or(false);
        let page = if call.is_staff() {
            self.own_grants(call, tenant, after, limit, all).await?
        } else {
            self.page_of_grants(call, tenant, after, limit, Which { all, own }).await?
        };
        Ok(Reply::ok(&page))
    }

    /// A page of the grants that give something at this instant.
    pub(super) async fn standing_grants(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        after: Option<GrantId>,
        limit: usize,
    ) -> Result<Page<GrantRow>, Problem> {
        self.page_of_grants(call, tenant, after, limit, Which { all: false, own: false }).await
    }

    pub(super) async fn page_of_grants(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        after: Option<GrantId>,
        limit: usize,
        which: Which,
    ) -> Result<Page<GrantRow>, Problem> {
        let mut page = Page::default();
        let after = after.map(|id| Key::Grant(tenant.clone(), id));
        let mut walk = Walk::new(self.engine.store(), Rows::Below(tenant, Kind::Grant), after);
        while let Some((key, found)) = walk.next().await? {
            let Key::Grant(_, id) = &key else { continue };
            if which.own && !found.as_ref().is_ok_and(|stored| gave(call, stored)) {
                continue;
            }
            let unreadable = |code| GrantRow::Unreadable { id: id.clone(), unreadable: code };
            let row = match found {
                Err(fault) => unreadable(fault.code()),
                Ok(stored) => match self.grant_now(call, tenant, id, &stored).await {
                    Some(view) if which.all || view.standing => GrantRow::Grant(Box::new(view)),
                    Some(_) => continue,
                    None => unreadable("state_unavailable"),
                },
            };
            if !page.put(row, cursor(id), limit) {
                return Ok(page);
            }
        }
        // Past the bound others' grants were looked at: to whoever has only their own the page ends as if there were no more.
        if let Some(Key::Grant(_, id)) = walk.stopped().filter(|_| !which.own) {
            page.next = Some(cursor(&id));
        }
        Ok(page)
    }

    /// A listed grant as it holds at this instant, with what lies over it in this gateway's memory.
    async fn grant_now(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        id: &GrantId,
        stored: &Stored,
    ) -> Option<GrantView> {
        let Some(Document::Grant(grant)) = narrowest(stored, &call.policy.ladder) else { return None };
        let view = GrantView::of(tenant, id, &grant, call.now);
        if !view.standing {
            // An end is never undone: nothing can lie over it that matters, so the cells are not filled with it.
            return Some(view);
        }
        let found = self.engine.known(|facts| {
            let Some(grant) = facts.grant(tenant.as_str(), id.as_str())? else { return Ok(None) };
            Ok(Some(GrantView::of(tenant, id, grant, call.now).closed(closed(call, tenant, grant, facts)?)))
        });
        found.await.ok().flatten()
    }

    /// The grants that are for this agent. Others' are passed over, and so is what cannot be read: whose it is cannot be
    /// told. Neither rows nor cursor say anything about them (law 11): past the bound the page ends as if there were no
    /// more, since an end of its own kind would tell how many others have.
    async fn own_grants(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        after: Option<GrantId>,
        limit: usize,
        all: bool,
    ) -> Result<Page<GrantRow>, Problem> {
        let mut page = Page::default();
        let after = after.map(|id| Key::Grant(tenant.clone(), id));
        let mut walk = Walk::new(self.engine.store(), Rows::Below(tenant, Kind::Grant), after);
        while let Some((key, found)) = walk.next().await? {
            if let (Key::Grant(_, id), Ok(stored)) = (&key, found)
                && let Some(Document::Grant(grant)) = narrowest(&stored, &call.policy.ladder)
                && is_for(&grant, call.subject)
                && let Some(view) = self.grant_now(call, tenant, id, &stored).await
                && (all || view.standing)
                && !page.put(GrantRow::Grant(Box::new(view)), cursor(id), limit)
            {
                break;
            }
        }
        Ok(page)
    }

    pub(super) async fn grant(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        id: &GrantId,
    ) -> Result<Reply, Problem> {
        if !call.is_staff() {
            call.must_see_or_own(tenant)?;
        }
        call.query(&[])?;
        let found = self.one_grant(call, tenant, id).await?;
        let (view, version) = found.ok_or(Refusal::NotFound("grant"))?;
        Ok(Reply::ok(&view).tagged(Some(version)))
    }

    pub(super) async fn make_grant(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        call.must_give(tenant)?;
        call.query(&[])?;
        call.without_conditions()?;
        let object = call.object()?;
        let form = Form::of(&object, &["environment", "to", "role", "scope", "until", "date", "for"])?;
        let id = call.fresh("grt", GrantId::new)?;
        let (environment, to, role) = (form.environment()?, form.grantee()?, form.role()?);
        let command = Command::MakeGrant {
            tenant: tenant.clone(),
            grant: id.clone(),
            environment,
            to,
            scope: form.scope(Some(&role))?,
            role,
            until: form.until()?,
        };
        let created = self.create(call, tenant, command).await?;
        let id = created.grant(id)?;
        if created.repeated() {
            created.shown("grant", self.one_grant(call, tenant, &id).await)?;
        }
        let (path, repeated) = (self.path(&format!("tenants/{tenant}/grants/{id}")), created.repeated());
        let reply = self.changed_grant(call, tenant, &id, created.outcome, 201, None).await;
        Ok(reply.at(path).replayed(repeated))
    }

    pub(super) async fn move_grant(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        id: &GrantId,
    ) -> Result<Reply, Problem> {
        call.must_manage_or_own(tenant)?;
        call.query(&[])?;
        let expected = call.expected()?;
        let object = call.object()?;
        let form = Form::of(&object, &["role", "scope", "until", "date", "for"])?;
        let role = form.maybe_role()?;
        let scope = form.maybe_scope(role.as_ref())?;
        let (tenant_id, grant) = (tenant.clone(), id.clone());
        let command = if role.is_none() && scope.is_none() {
            Command::MoveGrant { tenant: tenant_id, grant, until: form.until()?, expected }
        } else {
            let until = form.maybe_until()?;
            Command::ChangeGrant { tenant: tenant_id, grant, role, scope, until, expected }
        };
        let outcome = self.change(call, command).await?;
        Ok(self.changed_grant(call, tenant, id, outcome, 200, None).await)
    }

    pub(super) async fn withdraw_grant(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        id: &GrantId,
    ) -> Result<Reply, Problem> {
        call.must_manage_or_own(tenant)?;
        call.query(&[])?;
        call.without_conditions()?;
        call.without_body()?;
        let command = Command::WithdrawGrant { tenant: tenant.clone(), grant: id.clone() };
        // A repeat is answered like the first time.
        let outcome = self.change(call, command).await?;
        let had_ended = Some(!outcome.changed);
        Ok(self.changed_grant(call, tenant, id, outcome, 200, had_ended).await)
    }

    async fn changed_grant(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        id: &GrantId,
        outcome: Outcome,
        done: u16,
        had_ended: Option<bool>,
    ) -> Reply {
        // The change has happened; that it cannot be shown is no reason to say that it has not.
        let shown = self.one_grant(call, tenant, id).await.ok().flatten();
        let status = outcome.status(done);
        let version = shown.as_ref().map(|(_, version)| *version).filter(|_| status == done);
        let grant = shown.map(|(view, _)| view);
        Reply::with(status, &ChangedView { grant, outcome, had_ended }).tagged(version)
    }

    /// One grant as this caller may see it.
    async fn one_grant(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        id: &GrantId,
    ) -> Result<Option<(GrantView, Version)>, Problem> {
        let found = self.engine.known(|facts| {
            let Some(grant) = facts.grant(tenant.as_str(), id.as_str())? else { return Ok(None) };
            let theirs = if call.is_staff() {
                is_for(grant, call.subject)
            } else {
                call.sees(tenant) || grant.grantor == call.subject.id
            };
            if !theirs {
                return Ok(None);
            }
            let version = super::version(facts, &Key::Grant(tenant.clone(), id.clone()));
            let view = GrantView::of(tenant, id, grant, call.now).closed(closed(call, tenant, grant, facts)?);
            if !view.standing {
                return Ok(Some((view, version)));
            }
            Ok(Some(match giver(&grant.grantor, tenant.as_str(), facts, call.now, &call.policy) {
                Ok(bound) => (view.given(&bound), version),
                Err(Lack::Unavailable) => (view, version),
                Err(need @ Lack::Need(_)) => return Err(need),
            }))
        });
        Ok(found.await?)
    }
}
