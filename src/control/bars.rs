//! `/v1/tenants/{t}/bars`: who was removed and is kept out. The tenant's administrators see and lift them; what makes one is a
//! removal, where the configuration says so.

use serde::Serialize;

use crate::{
    lifecycle::Command,
    model::{Bar, Document, Key, Kind, SubjectRef, TenantId, Timestamp, join::narrowest},
};

use super::{
    Api,
    call::{Call, cursor},
    outcome::Outcome,
    place::member_id,
    problem::Problem,
    reply::Reply,
    walk::{Page, Rows, Walk},
};

/// A row of the list.
#[derive(Serialize)]
#[serde(untagged)]
enum Row {
    /// Somebody who is kept out.
    Barred {
        /// As it stands in paths.
        id: String,
        person: SubjectRef,
        since: Timestamp,
        /// Who removed them.
        by: SubjectRef,
    },
    /// Somebody of whom it cannot be read: they cannot enter either.
    Unreadable { id: String, person: SubjectRef, unreadable: &'static str },
}

#[derive(Serialize)]
struct LiftedView {
    outcome: Outcome,
    /// They were not kept out.
    had_ended: bool,
}

impl Api {
    pub(super) async fn bars(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        call.must_see(tenant)?;
        let query = call.query(&["after", "limit"])?;
        let (after, limit): (Option<SubjectRef>, _) = (query.after()?, query.limit()?);
        let mut page = Page::default();
        let after = after.map(|person| Key::Presence(tenant.clone(), person));
        let mut walk = Walk::new(self.engine.store(), Rows::Below(tenant, Kind::Presence), after);
        while let Some((key, found)) = walk.next().await? {
            let Key::Presence(_, person) = &key else { continue };
            let (id, person) = (member_id(person), person.clone());
            let place = cursor(&person);
            let row = match found.map(|stored| narrowest(&stored, &call.policy.ladder)) {
                // As it is in force here, with what is not stored yet.
                Ok(Some(Document::Presence(stored))) => match self.barred(tenant, &person).await {
                    Ok(Some(Bar { at, by })) => Row::Barred { id, person, since: at, by },
                    Ok(None) => continue,
                    Err(_) => match stored.barred {
                        Some(Bar { at, by }) => Row::Barred { id, person, since: at, by },
                        None => Row::Unreadable { id, person, unreadable: "state_unavailable" },
                    },
                },
                Ok(_) => Row::Unreadable { id, person, unreadable: "store_document_damaged" },
                Err(fault) => Row::Unreadable { id, person, unreadable: fault.code() },
            };
            if !page.put(row, place, limit) {
                return Ok(Reply::ok(&page));
            }
        }
        if let Some(Key::Presence(_, person)) = walk.stopped() {
            page.next = Some(cursor(&person));
        }
        Ok(Reply::ok(&page))
    }

    async fn barred(&self, tenant: &TenantId, person: &SubjectRef) -> Result<Option<Bar>, Problem> {
        let known = self.engine.known(|facts| {
            let presence = facts.presence(tenant.as_str(), person)?;
            Ok(presence.and_then(|presence| presence.barred.clone()))
        });
        Ok(known.await?)
    }

    pub(super) async fn lift_bar(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        person: &SubjectRef,
    ) -> Result<Reply, Problem> {
        call.must_manage(tenant)?;
        call.query(&[])?;
        call.without_conditions()?;
        call.without_body()?;
        let command = Command::LiftBar { tenant: tenant.clone(), person: person.clone() };
        let outcome = self.change(call, command).await?;
        let (status, had_ended) = (outcome.status(200), !outcome.changed);
        Ok(Reply::with(status, &LiftedView { outcome, had_ended }))
    }
}
