//! `/v1/tenants/{t}/audit`: a tenant reads its own record, a page at a time, as it stands in the ledger; whoever gave a grant,
//! what that is about and what was done by it.
//!
//! The ledger is read from its files, a bounded stretch for each call: there is no index beside it that could say something
//! else. Never here: what is recorded, and whether it can be proven (that is `postern audit verify`).

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{
    audit::read::{Place, ReadError, Records},
    model::{Basis, Document, GrantId, Key, Kind, Subject, TenantId, Timestamp, join::narrowest},
    policy::{Facts, Lack, Policy, rows::has_left},
};

use super::{
    Api,
    call::{Call, cursor},
    problem::Problem,
    reply::Reply,
    walk::{Rows, Walk},
};

/// Records that one call looks at, whomever they belong to.
const STRETCH: u64 = 20_000;
/// Calls that read at the same time.
pub(super) const READERS: usize = 2;

#[derive(Serialize)]
pub(super) struct Recorded {
    /// Its place in the log.
    pub(super) seq: u64,
    /// Its leaf hash, in hexadecimal.
    leaf: String,
    /// It, byte for byte: what `leaf` is the hash of, closed by a brace (`docs/ledger-format.md`).
    record: Box<RawValue>,
    /// The values that may be erased, with their salts.
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<Box<RawValue>>,
}

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

/// What is asked for.
pub(super) struct Wanted {
    pub(super) dir: PathBuf,
    pub(super) tenant: TenantId,
    pub(super) kind: Option<String>,
    pub(super) session: Option<String>,
    /// Only what a grant is about, and what was done by it.
    pub(super) of: Option<OfGrant>,
    pub(super) since: Option<i64>,
    pub(super) after: Option<u64>,
    pub(super) limit: usize,
    /// Records from here on are not durable yet.
    pub(super) size: u64,
    /// Where an earlier look ended that went up to `after`.
    pub(super) place: Option<Place>,
}

/// A grant and the sessions that are known to run by it, by whose ids a record is known to be about it.
#[derive(Clone)]
pub(super) struct OfGrant {
    id: String,
    /// Its document, as records spell it.
    document: String,
    sessions: BTreeSet<String>,
}

impl OfGrant {
    /// Whether a record is about it; of a session that is not known yet, learns that it runs by it.
    fn takes(&mut self, line: &crate::audit::record::Line<'_>) -> bool {
        let session = line.lead.session.map(|(id, _)| id);
        if session.is_some_and(|session| self.sessions.contains(session)) {
            return true;
        }
        // Cheap, and right for all that does not name it; what it lets through is parsed.
        let names = line.rest.contains(&self.id) && self.is_named(line.rest);
        if names && let Some(session) = session {
            self.sessions.insert(session.to_owned());
        }
        names
    }

    /// Whether it stands in a record where a grant stands: what somebody wrote as a reason or asked for as a path is no such
    /// place.
    fn is_named(&self, rest: &str) -> bool {
        #[derive(Deserialize)]
        struct Own {
            basis: Option<Value>,
            #[serde(default)]
            writes: Vec<String>,
            #[serde(default)]
            events: Vec<Value>,
            #[serde(default)]
            documents: Value,
        }
        let Some(members) = rest.strip_prefix(',') else { return false };
        let Ok(own) = serde_json::from_str::<Own>(&format!("{{{members}}}")) else { return false };
        let by = |basis: &Value| basis["grant"] == self.id.as_str();
        own.basis.as_ref().is_some_and(by)
            || own.writes.contains(&self.document)
            || own.events.iter().any(|event| event["grant"] == self.id.as_str())
            || starts_by(&own.documents, &self.id)
    }
}

/// Whether documents of a change hold a session on this grant.
fn starts_by(documents: &Value, id: &str) -> bool {
    match documents {
        Value::Array(all) => all.iter().any(|one| starts_by(one, id)),
        Value::Object(members) => {
            members.get("basis").is_some_and(|basis| basis["grant"] == id)
                || members.values().any(|one| starts_by(one, id))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// What one stretch of the ledger holds of it.
pub(super) struct Stretch {
    /// With the sessions that were learned.
    pub(super) of: Option<OfGrant>,
    pub(super) items: Vec<Recorded>,
    /// The last record that was looked at.
    pub(super) last: Option<u64>,
    /// Where that stands.
    pub(super) place: Option<Place>,
    /// Whether everything up to the size was looked at.
    pub(super) complete: bool,
}

impl Api {
    pub(super) async fn audit(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        let query = call.query(&["after", "limit", "kind", "session", "since", "grant"]);
        // Whoever may not know learns nothing of what they sent.
        let named = query.as_ref().ok().and_then(|query| query.get("grant"));
        let of = self.sees_record(call, tenant, named).await?;
        let query = query?;
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic()).then(|| text.to_owned());
        let since: Option<Timestamp> = query.maybe("since", Timestamp::parse)?;
        let journal = self.engine.journal();
        let wanted = Wanted {
            dir: journal.dir().to_owned(),
            tenant: tenant.clone(),
            kind: query.maybe("kind", plain)?,
            session: query.maybe("session", plain)?,
            of,
            since: since.map(Timestamp::ms),
            after: query.after::<Option<u64>>()?.flatten(),
            limit: query.limit()?,
            size: journal.status().size,
            place: None,
        };
        let Ok(turn) = Arc::clone(&self.readers).try_acquire_owned() else {
            let detail = "others are reading the record at this moment; try again";
            return Err(Problem::new(503, "audit_busy", detail));
        };
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
        let document = Key::Grant(tenant.clone(), id.clone()).to_string();
        Ok(Some(OfGrant { id: id.to_string(), document, sessions }))
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

fn unreadable() -> Problem {
    Problem::new(503, "audit_unreadable", "the record cannot be read right now; the operator's log says why")
}

fn page(wanted: &Wanted, log: String) -> Result<Page, ReadError> {
    let Stretch { items, last, complete, .. } = read_on(wanted)?;
    Ok(Page { log, items, next: cursor(&last), complete })
}

/// Reads on behind `after`, a bounded stretch.
pub(super) fn read_on(wanted: &Wanted) -> Result<Stretch, ReadError> {
    let mut records = match (wanted.place, wanted.after, wanted.since) {
        (Some(place), _, _) => Records::behind(&wanted.dir, place)?,
        (None, Some(after), _) => Records::from_seq(&wanted.dir, after.saturating_add(1))?,
        (None, None, Some(since)) => Records::from_time(&wanted.dir, since)?,
        (None, None, None) => Records::open(&wanted.dir)?,
    };
    let (mut items, mut looked, mut of) = (Vec::new(), 0, wanted.of.clone());
    // Where nothing is looked at, the place stays.
    let (mut last, mut place) = (wanted.after, wanted.place);
    let complete = loop {
        if items.len() >= wanted.limit || looked >= STRETCH {
            break false;
        }
        let found = records.next(|line, _, _| {
            let seq = line.lead.seq;
            if seq >= wanted.size || wanted.after.is_some_and(|after| seq <= after) {
                return (seq, None);
            }
            let fits = wanted.fits(line) && of.as_mut().is_none_or(|of| of.takes(line));
            (seq, fits.then(|| recorded(line)).flatten())
        })?;
        let Some((seq, item)) = found.filter(|(seq, _)| *seq < wanted.size) else { break true };
        if wanted.after.is_none_or(|after| seq > after) {
            looked += 1;
            last = Some(seq);
            place = records.place();
        }
        items.extend(item);
    };
    Ok(Stretch { of, items, last, place, complete })
}

impl Wanted {
    fn fits(&self, line: &crate::audit::record::Line<'_>) -> bool {
        self.kind.as_deref().is_none_or(|kind| line.lead.kind == kind)
            && self.since.is_none_or(|since| line.lead.at_ms >= since)
            && self.session.as_deref().is_none_or(|wanted| line.lead.session.is_some_and(|(id, _)| id == wanted))
            // Cheap, and right for all that does not belong; what it lets through is parsed.
            && line.rest.contains(self.tenant.as_str())
            && of_tenant(line.rest).is_some_and(|tenant| tenant == self.tenant.as_str())
    }
}

/// The tenant that a record names as its own: the member of that name on the outermost level, nothing within.
fn of_tenant(rest: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Own {
        tenant: Option<String>,
    }
    let members = rest.strip_prefix(',')?;
    serde_json::from_str::<Own>(&format!("{{{members}}}")).ok()?.tenant
}

fn recorded(line: &crate::audit::record::Line<'_>) -> Option<Recorded> {
    Some(Recorded {
        seq: line.lead.seq,
        leaf: line.hash().hex(),
        record: RawValue::from_string(format!("{}}}", line.leaf)).ok()?,
        open: line.open.and_then(|open| RawValue::from_string(open.to_owned()).ok()),
    })
}
