//! Who is inside: the active support sessions of a tenant and its standing grants, for a listing, and for the
//! answer to a change of consent, which names what stays in force beside it.
//!
//! Sessions are found through their agents' indexes: there is one for each agent, however many sessions they had. An
//! entry that cannot be read is shown as such, never passed over.

use serde::{Deserialize, Serialize};

use crate::{
    model::{Document, Key, Kind, SessionId, SubjectRef, TenantId, join::narrowest},
    state::Found,
};

use super::{
    Api,
    call::{Call, cursor},
    grant_view::GrantRow,
    problem::Problem,
    session_view::{Eye, SessionView, look},
    walk::{Page, Rows, Walk},
};

/// What the answer to a change names at most.
const NAMED: usize = 200;

/// A row of a list of sessions.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(super) enum SessionRow {
    /// One that can be read.
    Session(Box<SessionView>),
    /// One that cannot.
    Unreadable {
        /// Its id; none where its agent's index itself cannot be read.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<SessionId>,
        /// Whose it is.
        person: SubjectRef,
        /// Why not.
        unreadable: &'static str,
    },
}

/// A place in the list of sessions: behind this agent's session, or behind all of theirs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    #[serde(rename = "p")]
    person: SubjectRef,
    #[serde(rename = "s")]
    session: Option<SessionId>,
}

/// What stays in force.
#[derive(Debug, Default, Serialize)]
pub(super) struct Beside {
    sessions: Page<SessionRow>,
    grants: Page<GrantRow>,
    /// What could not be read, so that the lists may be incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
}

impl Api {
    /// What stays in force beside a choice. The choice is made; a list that cannot be had is said to be missing.
    pub(super) async fn beside(&self, call: &Call<'_>, tenant: &TenantId) -> Beside {
        let mut beside = Beside::default();
        match self.inside(call, tenant, None, NAMED).await {
            Ok(sessions) => beside.sessions = sessions,
            Err(problem) => beside.fault = Some(problem.code),
        }
        match self.standing_grants(call, tenant, None, NAMED).await {
            Ok(grants) => beside.grants = grants,
            Err(problem) => beside.fault = Some(problem.code),
        }
        beside
    }

    /// A page of the active sessions in a tenant, by agent.
    pub(super) async fn inside(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        after: Option<Mark>,
        limit: usize,
    ) -> Result<Page<SessionRow>, Problem> {
        let mut page = Page::default();
        let mut last = None;
        if let Some(Mark { person, session }) = after {
            let key = Key::Presence(tenant.clone(), person.clone());
            if let Some(session) = session {
                let found = self.engine.store().load(std::slice::from_ref(&key)).await?.pop().flatten();
                if let Some(found) = found {
                    let full = self.of_agent(call, tenant, &person, found, Some(&session), limit, &mut page);
                    if full.await? {
                        return Ok(page);
                    }
                }
            }
            last = Some(key);
        }
        let mut walk = Walk::new(self.engine.store(), Rows::Below(tenant, Kind::Presence), last);
        while let Some((key, found)) = walk.next().await? {
            let Key::Presence(_, person) = &key else { continue };
            if self.of_agent(call, tenant, person, found, None, limit, &mut page).await? {
                return Ok(page);
            }
        }
        if let Some(Key::Presence(_, person)) = walk.stopped() {
            page.next = Some(cursor(&Mark { person, session: None }));
        }
        Ok(page)
    }

    /// Adds an agent's active sessions behind `after`; `true` when the page is full, with its cursor.
    #[expect(clippy::too_many_arguments, reason = "a step of one loop, taken from two places")]
    async fn of_agent(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        person: &SubjectRef,
        found: Found,
        after: Option<&SessionId>,
        limit: usize,
        page: &mut Page<SessionRow>,
    ) -> Result<bool, Problem> {
        let unreadable = |id, code| SessionRow::Unreadable { id, person: person.clone(), unreadable: code };
        let ids: Vec<SessionId> = match found.map(|stored| narrowest(&stored, &call.policy.ladder)) {
            Ok(Some(Document::Presence(presence))) => presence.sessions.into_keys().collect(),
            Ok(_) => {
                page.items.push(unreadable(None, "store_document_damaged"));
                Vec::new()
            }
            Err(fault) => {
                page.items.push(unreadable(None, fault.code()));
                Vec::new()
            }
        };
        let mut ids = ids.into_iter().filter(|id| after.is_none_or(|after| id > after)).peekable();
        while let Some(id) = ids.next() {
            let rule = |facts: &_| look(facts, tenant, &id, Eye::Administrator, call.now, &call.policy);
            match self.engine.known(rule).await {
                Ok(Some(mut view)) if view.active => {
                    // What each may do is shown with the one session; a list of them stays a list.
                    view.rights = None;
                    page.items.push(SessionRow::Session(Box::new(view)));
                }
                Ok(Some(_) | None) => continue,
                Err(_) => {
                    let code = self.why_unreadable(&Key::Session(tenant.clone(), id.clone())).await?;
                    page.items.push(unreadable(Some(id.clone()), code));
                }
            }
            if page.items.len() >= limit {
                // Whatever follows is on the next page, which may turn out empty.
                let session = ids.peek().is_some().then_some(id);
                page.next = Some(cursor(&Mark { person: person.clone(), session }));
                return Ok(true);
            }
        }
        if page.items.len() >= limit {
            page.next = Some(cursor(&Mark { person: person.clone(), session: None }));
        }
        Ok(page.items.len() >= limit)
    }

    /// Why a document cannot be shown; a store that does not answer at all is the whole call's fault.
    async fn why_unreadable(&self, key: &Key) -> Result<&'static str, Problem> {
        match self.engine.store().load(std::slice::from_ref(key)).await?.pop() {
            Some(Some(Err(fault))) => Ok(fault.code()),
            Some(_) | None => Ok("state_unavailable"),
        }
    }
}
