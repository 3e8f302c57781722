//! From a record to what is told of it: the outcome of a change that was committed, event by event, for those who want it.
//!
//! In the record's own words (`docs/records.md`), and of a session what its tenant's administrators see of it. Nothing from
//! the part of the record that can be erased: what was sent cannot be taken back (`docs/webhooks.md`).
//!
//! Never here: reading the ledger, sending.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    audit::record::Line,
    lifecycle::Event,
    model::{Document, Key, Session, SessionId, Stored, TenantId, Timestamp},
};

/// The kind of record that says what came of a change.
const OUTCOME: &str = "change.outcome";
/// The kind of record that says that somebody entered by an emergency token.
const ENTERED: &str = "emergency.entered";
/// Its word for a change that is in the store.
const STORED: &str = "stored";
/// A body is no larger; of one that would be, it is told that it happened, and to whom.
const LARGEST: usize = 64 << 10;

/// What one webhook wants to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// By name.
    pub(super) events: BTreeSet<&'static str>,
    /// Of these tenants alone; `None` is all, and what concerns no single one.
    pub(super) tenants: Option<BTreeSet<TenantId>>,
}

/// One event, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The same for each attempt, and for each time that the event is told.
    pub(super) id: String,
    /// The event's name.
    pub(super) kind: &'static str,
    /// Its record.
    pub(super) seq: u64,
    /// Its place among that record's events.
    pub(super) index: usize,
    /// When it was recorded.
    pub(super) recorded: Timestamp,
    pub(super) body: Bytes,
}

/// The outcome of a change, as far as it is looked at.
#[derive(Deserialize)]
struct Outcome<'a> {
    change: String,
    tenant: Option<TenantId>,
    /// An entry by an emergency token is there once it is recorded: it has none.
    outcome: Option<String>,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    #[serde(borrow)]
    documents: Option<&'a RawValue>,
    #[serde(default)]
    clock_moved: bool,
}

/// What is sent.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: Timestamp,
    data: &'a Map<String, Value>,
}

/// What a record tells this webhook; nothing, for most of them.
///
/// # Errors
/// Why the outcome of a change cannot be read.
pub(super) fn messages(line: &Line<'_>, wanted: &Wanted) -> Result<Vec<Message>, serde_json::Error> {
    if !matches!(line.lead.kind, OUTCOME | ENTERED)
        || !wanted.events.iter().any(|name| line.rest.contains(name))
    {
        return Ok(Vec::new());
    }
    let leaf = line.leaf_json();
    let outcome: Outcome<'_> = serde_json::from_str(&leaf)?;
    let of_tenant = match (&wanted.tenants, &outcome.tenant) {
        (None, _) => true,
        (Some(wanted), Some(tenant)) => wanted.contains(tenant),
        (Some(_), None) => false,
    };
    let happened = match outcome.outcome.as_deref() {
        Some(outcome) => outcome == STORED,
        None => line.lead.kind == ENTERED,
    };
    if !happened || !of_tenant {
        return Ok(Vec::new());
    }
    let documents = documents(&outcome);
    let mut found = Vec::new();
    for (index, raw) in outcome.events.iter().enumerate() {
        // One that another version wrote and this one does not know is none that anybody asked for here.
        let Ok(event) = serde_json::from_str::<Event>(raw.get()) else { continue };
        if wanted.events.contains(event.name()) {
            found.push(message(line, &outcome, &documents, index, &event));
        }
    }
    Ok(found)
}

/// The documents that the change wrote. They only add to what is told: where they cannot be read, it is told without.
fn documents(outcome: &Outcome<'_>) -> Vec<(Key, Stored)> {
    outcome.documents.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

fn message(
    line: &Line<'_>,
    outcome: &Outcome<'_>,
    documents: &[(Key, Stored)],
    index: usize,
    event: &Event,
) -> Message {
    let recorded = Timestamp::from_ms(line.lead.at_ms);
    let mut data = match serde_json::to_value(event) {
        Ok(Value::Object(members)) => members,
        Ok(_) | Err(_) => Map::new(),
    };
    data.remove("event");
    if let Some(session) = session_of(event).and_then(|id| find(documents, outcome.tenant.as_ref()?, id)) {
        of_session(session, &mut data);
    }
    let mut always = Map::new();
    if let Some(tenant) = &outcome.tenant {
        put(&mut always, "tenant", tenant);
    }
    put(&mut always, "change", &outcome.change);
    put(&mut always, "log", line.lead.log);
    put(&mut always, "seq", line.lead.seq);
    if outcome.clock_moved {
        put(&mut always, "clock_moved", true);
    }
    data.extend(always.clone());
    let timestamp = event.since().unwrap_or(recorded);
    let kind = event.name();
    let write =
        |data: &Map<String, Value>| serde_json::to_vec(&Body { kind, timestamp, data }).unwrap_or_default();
    let mut body = write(&data);
    if body.len() > LARGEST {
        put(&mut always, "cut", true);
        body = write(&always);
    }
    Message {
        id: format!("{}-{index}", outcome.change),
        kind,
        seq: line.lead.seq,
        index,
        recorded,
        body: body.into(),
    }
}

fn put(members: &mut Map<String, Value>, name: &str, value: impl Serialize) {
    if let Ok(value) = serde_json::to_value(value) {
        members.insert(name.to_owned(), value);
    }
}

fn session_of(event: &Event) -> Option<&SessionId> {
    match event {
        Event::SessionStarted { session, .. }
        | Event::GlassBroken { session, .. }
        | Event::SessionEnded { session, .. } => Some(session),
        _ => None,
    }
}

fn find<'a>(documents: &'a [(Key, Stored)], tenant: &TenantId, session: &SessionId) -> Option<&'a Session> {
    let (_, stored) = documents
        .iter()
        .find(|(key, _)| matches!(key, Key::Session(of, id) if of == tenant && id == session))?;
    match &stored.heads.first()?.document {
        Document::Session(session) => Some(session),
        _ => None,
    }
}

/// What a tenant's administrators see of a session, beside what the event says itself.
fn of_session(session: &Session, data: &mut Map<String, Value>) {
    let mut more = Map::new();
    put(&mut more, "environment", &session.environment);
    if let Some(role) = &session.role {
        put(&mut more, "role", role);
    }
    put(&mut more, "basis", &session.basis);
    if let Some(user) = session.basis.acting_as() {
        put(&mut more, "acting_as", user);
    }
    put(&mut more, "reason", &session.reason);
    if let Some(ticket) = &session.ticket {
        put(&mut more, "ticket", ticket);
    }
    if let Some(request) = &session.request {
        put(&mut more, "request", request);
    }
    put(&mut more, "began", session.started);
    put(&mut more, "deadline", session.deadline);
    if let Some(by) = session.ended.as_ref().and_then(|end| end.by.as_ref()) {
        put(&mut more, "by", by);
    }
    for (name, value) in more {
        data.entry(name).or_insert(value);
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
