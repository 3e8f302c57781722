//! `/v1/tenants/{t}/audit`: a tenant reads its own record, a page at a time, as it stands in the ledger; whoever gave a grant,
//! what that is about and what was done by it.
//!
//! The ledger is read from its files, a bounded stretch for each call ([`crate::audit::own`]). In a fleet those of the other gateways
//! are read too ([`super::gather`]). Never here: what is recorded, and whether it can be proven (that is `postern audit verify`).

use std::{collections::BTreeSet, sync::Arc};

use serde::Serialize;

use crate::{
    audit::{
        own::{Filters, OfGrant, Recorded, Stretch, Wanted, read_on},
        read::ReadError,
    },
    model::{Basis, Document, GrantId, Key, Kind, Subject, TenantId, Timestamp, join::narrowest},
    policy::{Facts, Lack, Policy, rows::has_left},
};

use super::{
    Api,
    call::{Call, Query, cursor},
    problem::Problem,
    reply::Reply,
    walk::{Rows, Walk},
};

/// Calls that read at the same time.
pub(super) const READERS: usize = 2;

#[derive(Serialize)]
struct Page {
    /// The log's name.
    log: String,
    items: Vec<Recorded>,
    /// Where to go on; it leads to what is recorded later too.
    next: String,
    /// Whether everything up to now was looked at.
    complete: bool,
}

impl Api {
    pub(super) async fn audit(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        let query = call.query(&["after", "limit", "kind", "session", "since", "grant", "ledger"]);
        // Whoever may not know learns nothing of what they sent.
        let named = query.as_ref().ok().and_then(|query| query.get("grant"));
        let of = self.sees_record(call, tenant, named).await?;
        let query = query?;
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic()).then(|| text.to_owned());
        let since: Option<Timestamp> = query.maybe("since", Timestamp::parse)?;
        let filters = Filters {
            tenant: tenant.clone(),
            kind: query.maybe("kind", plain)?,
            session: query.maybe("session", plain)?,
            of,
            since: since.map(Timestamp::ms),
        };
        if let (false, Some(fleet)) = (own_alone(&query)?, &self.fleet) {
            return self.gathered(fleet, &query, filters).await;
        }
        let journal = self.engine.journal();
        let wanted = Wanted {
            dir: journal.dir().to_owned(),
            filters,
            after: query.after::<Option<u64>>()?.flatten(),
            limit: query.limit()?,
            bytes: usize::MAX,
            size: journal.status().size,
            place: None,
        };
        let turn = Arc::clone(&self.readers).try_acquire_owned().map_err(|_| busy())?;
        let log = journal.origin().to_owned();
        let page = tokio::task::spawn_blocking(move || {
            // Held by whoever reads, who goes on when nobody waits for the page any more.
            let _turn = turn;
            page(&wanted, log)
        })
        .await;
        match page {
            Ok(Ok(page)) => Ok(Reply::ok(&page)),
            Ok(Err(fault)) => {
                tracing::error!(%fault, "the ledger cannot be read");
                Err(unreadable())
            }
            Err(_) => Err(unreadable()),
        }
    }
}

impl Api {
    /// Refuses whoever may not read that record: all of it is for those who see support access in that tenant, what a grant is
    /// about and what was done by it also for whoever gave it.
    pub(super) async fn sees_record(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        grant: Option<&str>,
    ) -> Result<Option<OfGrant>, Problem> {
        let Some(grant) = grant else { return call.must_see(tenant).map(|()| None) };
        let id = GrantId::new(grant).ok();
        if !call.sees(tenant) {
            let theirs = match id.as_ref().filter(|_| call.may_own(tenant)) {
                Some(id) => {
                    self.engine.known(|facts| gave(call.subject, tenant, id, facts, &call.policy)).await?
                }
                None => false,
            };
            // One answer, whether there is such a grant or not (law 11).
            if !theirs {
                call.must_see(tenant)?;
            }
        }
        let Some(id) = id else {
            return Err(Problem::query("grant", "it has not the form that it must have"));
        };
        let mut sessions = BTreeSet::new();
        let mut walk = Walk::new(self.engine.store(), Rows::Below(tenant, Kind::Session), None);
        while let Some((key, found)) = walk.next().await? {
            if let (Key::Session(_, session), Ok(stored)) = (&key, found)
                && let Some(Document::Session(known)) = narrowest(&stored, &call.policy.ladder)
                && known.basis == Basis::Grant(id.clone())
            {
                sessions.insert(session.to_string());
            }
        }
        Ok(Some(OfGrant::new(tenant, &id, sessions)))
    }
}

/// Whether a person of a tenant gave a grant, and is a member there at this instant.
pub(super) fn gave(
    subject: &Subject,
    tenant: &TenantId,
    id: &GrantId,
    facts: &Facts,
    policy: &Policy,
) -> Result<bool, Lack> {
    let Some(grant) = facts.grant(tenant.as_str(), id.as_str())? else { return Ok(false) };
    Ok(grant.grantor == subject.id && !has_left(&subject.id, tenant.as_str(), facts, policy)?)
}

/// Whether only what this gateway's own ledger holds is asked for.
pub(super) fn own_alone(query: &Query<'_>) -> Result<bool, Problem> {
    match query.get("ledger") {
        None => Ok(false),
        Some("own") => Ok(true),
        Some(_) => Err(Problem::query("ledger", "it is `own`, or left out")),
    }
}

pub(super) fn busy() -> Problem {
    Problem::new(503, "audit_busy", "others are reading the record at this moment; try again")
}

pub(super) fn unreadable() -> Problem {
    Problem::new(503, "audit_unreadable", "the record cannot be read right now; the operator's log says why")
}

fn page(wanted: &Wanted, log: String) -> Result<Page, ReadError> {
    let Stretch { items, last, complete, .. } = read_on(wanted)?;
    Ok(Page { log, items, next: cursor(&last), complete })
}
