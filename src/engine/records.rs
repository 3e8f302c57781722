//! What the engine writes into the ledger, event by event. The format around it is the ledger's
//! (`docs/ledger-format.md`); the members here are documented in `docs/records.md`.
//!
//! Personal values (whence somebody came, e-mail addresses, of documents too) never stand here: they go into the erasable
//! part of a record ([`super::erasable`]).

use serde::Serialize;

use crate::{
    audit::journal::Personal,
    identity::VerifiedSubject,
    lifecycle::Event,
    model::{
        Basis, Document, EnvironmentId, ExchangeId, Key, ResourceType, RoleName, SessionId, Stored,
        SubjectKind, SubjectRef, TenantId, Timestamp,
    },
    policy::{Facts, Permit, Rule},
    state::Part,
};

use super::fuse::Cut;

/// An access is about to happen.
pub(super) const ACCESS_INTENT: &str = "access.intent";
/// How an access went.
pub(super) const ACCESS_OUTCOME: &str = "access.outcome";
/// An access was refused.
pub(super) const ACCESS_REFUSED: &str = "access.refused";
/// Somebody entered by an emergency token.
pub(super) const EMERGENCY_ENTERED: &str = "emergency.entered";
/// Refusals that are only counted.
pub(super) const REFUSALS: &str = "access.refusals";
/// A change is about to happen.
pub(super) const CHANGE_INTENT: &str = "change.intent";
/// How a change went.
pub(super) const CHANGE_OUTCOME: &str = "change.outcome";
/// A change was refused.
pub(super) const CHANGE_REFUSED: &str = "change.refused";
/// What follows from a creation could not be done at once.
pub(super) const EFFECT_DUE: &str = "effect.due";
/// What became of it.
pub(super) const EFFECT_OUTCOME: &str = "effect.outcome";
/// Of an exchange: nobody knows whether anything follows from it.
pub(super) const EFFECT_OPEN: &str = "open";
/// A gateway began.
pub(super) const GATEWAY_STARTED: &str = "gateway.started";
/// Another configuration is about to be in force.
pub(super) const GATEWAY_RELOADED: &str = "gateway.reloaded";
/// Another gateway of the fleet was retired.
pub(super) const GATEWAY_RETIRED: &str = "gateway.retired";
/// Somebody moved the gateway's clock.
pub(super) const CLOCK_MOVED: &str = "clock.moved";

#[derive(Serialize)]
pub(super) struct AccessIntent<'a> {
    pub(super) exchange: &'a ExchangeId,
    pub(super) tenant: &'a TenantId,
    pub(super) environment: &'a EnvironmentId,
    pub(super) subject: &'a SubjectRef,
    pub(super) token: String,
    /// Whoever acts as somebody has none of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'a RoleName>,
    pub(super) basis: &'a Basis,
    /// As whom, where as a person of the tenant, and the roles that these hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acting_as: Option<&'a SubjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) roles: Option<&'a [RoleName]>,
    pub(super) reason: &'static str,
    pub(super) deadline: Timestamp,
    pub(super) due: &'static str,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) route: &'a str,
    pub(super) permissions: Vec<&'a str>,
    pub(super) upstream: &'a str,
    /// The type of what it makes in the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) creates: Option<&'a ResourceType>,
    pub(super) policy: &'a str,
    pub(super) rests_on: Vec<Rest>,
    /// How old they were when they were looked at, in milliseconds; nothing where nobody but this gateway changes the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) age_ms: Option<i64>,
    /// By whom its answer is narrowed, where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) narrowed: Option<&'static str>,
    /// The ticket that the request or its token named, where the configuration asks each request for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ticket: Option<&'a str>,
    /// By which emergency token, where by one; its id stands as the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) by_token: Option<ByToken<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) clock_moved: bool,
}

/// An emergency token, and whether anything was known of the tenant that it opened.
#[derive(Serialize)]
pub(super) struct ByToken<'a> {
    /// The `kid` of who signed it.
    pub(super) key: &'a str,
    pub(super) issued: Timestamp,
    pub(super) ends: Timestamp,
    pub(super) tenant_known: bool,
}

#[derive(Serialize)]
pub(super) struct EmergencyEntered<'a> {
    /// The token's id: by it a repeat is known, as a change is by its own.
    pub(super) change: &'a SessionId,
    pub(super) exchange: &'a ExchangeId,
    pub(super) tenant: &'a TenantId,
    pub(super) environment: &'a EnvironmentId,
    pub(super) subject: &'a SubjectRef,
    pub(super) token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'a RoleName>,
    pub(super) basis: &'a Basis,
    pub(super) by_token: ByToken<'a>,
    pub(super) rests_on: Vec<Rest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) age_ms: Option<i64>,
    pub(super) events: &'a [Event],
    pub(super) policy: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) clock_moved: bool,
}

/// A document that a decision rested on.
#[derive(Serialize)]
pub(super) struct Rest {
    pub(super) document: String,
    pub(super) version: String,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Answered to the last byte.
    Complete,
    /// Cut by the gateway.
    Cut,
    /// The client went away.
    ClientGone,
    /// The application failed, or answered what cannot be read.
    UpstreamFailed,
    /// Nothing went to the application.
    NotForwarded,
    /// The gateway stopped before it knew.
    Unknown,
}

#[derive(Serialize)]
pub(super) struct AccessOutcome<'a> {
    pub(super) exchange: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<&'a str>,
    /// Where somebody acted as another: who, and as whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<&'a SubjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acting_as: Option<&'a SubjectRef>,
    pub(super) end: End,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) millis: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cut_by: Option<CutWords>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<&'a str>,
    /// What became of what follows from it, where something may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) effect: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) effect_fault: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) clock_moved: bool,
}

#[derive(Serialize)]
pub(super) struct CutWords {
    pub(super) reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) due: Option<&'static str>,
    pub(super) at: Timestamp,
}

impl From<Cut> for CutWords {
    fn from(cut: Cut) -> Self {
        CutWords { reason: cut.reason.code(), due: cut.due.map(crate::policy::Due::code), at: cut.at }
    }
}

#[derive(Serialize)]
pub(super) struct Refused<'a> {
    pub(super) subject: &'a SubjectRef,
    pub(super) token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<&'a str>,
    pub(super) reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) policy: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) clock_moved: bool,
}

#[derive(Serialize)]
pub(super) struct Refusals {
    pub(super) since: Timestamp,
    pub(super) counts: Vec<Count>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) clock_moved: bool,
}

/// How often something was refused.
#[derive(Serialize)]
pub(super) struct Count {
    pub(super) reason: String,
    pub(super) network: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<String>,
    pub(super) times: u64,
}

#[derive(Serialize)]
pub(super) struct ChangeIntent<'a> {
    pub(super) change: &'a str,
    pub(super) command: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<&'a TenantId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<&'a SubjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
    pub(super) actor: &'static str,
    pub(super) rests_on: Vec<Rest>,
    pub(super) writes: Vec<String>,
    /// The part of the store that it is written to.
    #[serde(skip_serializing_if = "Part::is_first")]
    pub(super) part: Part,
    /// What happens by it, so that whoever settles it knows.
    pub(super) events: &'a [Event],
    /// Of a narrowing: the documents as they are to be, so that it is carried on where the store could not take it.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) documents: &'a [(Key, Document)],
    pub(super) policy: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) clock_moved: bool,
}

/// How a change went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fate {
    /// It is in the store.
    Stored,
    /// Somebody else's change came first; nothing was written.
    Overtaken,
    /// The store could not take it; nothing was written.
    Failed,
}

#[derive(Serialize)]
pub(super) struct ChangeOutcome<'a> {
    pub(super) change: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<&'a str>,
    pub(super) outcome: Fate,
    #[serde(skip_serializing_if = "Part::is_first")]
    pub(super) part: Part,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<u64>,
    pub(super) events: &'a [Event],
    /// The documents whole, so that a store can be rebuilt from ledgers.
    pub(super) documents: &'a [(Key, Stored)],
    /// Settled after a restart.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) settled: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) clock_moved: bool,
}

#[derive(Serialize)]
pub(super) struct ChangeRefused<'a> {
    pub(super) command: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<&'a str>,
    pub(super) subject: &'a SubjectRef,
    pub(super) reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) clock_moved: bool,
}

#[derive(Serialize)]
pub(super) struct GatewayStarted<'a> {
    pub(super) gateway: &'a str,
    pub(super) version: &'static str,
    pub(super) policy: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) clock_moved: bool,
}

#[derive(Serialize)]
pub(super) struct GatewayReloaded<'a> {
    pub(super) gateway: &'a str,
    pub(super) from: &'a str,
    pub(super) policy: &'a str,
    pub(super) cause: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) clock_moved: bool,
}

#[derive(Serialize)]
pub(super) struct GatewayRetired<'a> {
    pub(super) gateway: &'a str,
    /// Which one.
    pub(super) retired: &'a str,
    /// When, by the store's clock.
    pub(super) retired_at: Timestamp,
    /// Who said so, why, and where its ledger is kept: as they wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) archive: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) clock_moved: bool,
}

#[derive(Serialize)]
pub(super) struct ClockAccepted<'a> {
    pub(super) gateway: &'a str,
    /// The latest instant that the ledger bore.
    pub(super) ledger: Timestamp,
    /// The clock that was accepted.
    pub(super) now: Timestamp,
    /// How many sessions it ended.
    pub(super) sessions: usize,
}

#[derive(Serialize)]
pub(super) struct ClockMoved {
    pub(super) by_ms: i64,
    pub(super) now: Timestamp,
}

/// By whom the answer is narrowed of which a permit reaches some only.
pub(super) fn narrowed(permit: &Permit, rule: Option<&Rule>) -> Option<&'static str> {
    let narrow = rule.and_then(|rule| rule.narrow.as_deref()).filter(|_| permit.narrowed());
    narrow.map(|narrow| narrow.how.code())
}

pub(super) fn rests(facts: &Facts) -> Vec<Rest> {
    facts
        .versions()
        .map(|(key, version)| Rest { document: key.to_string(), version: version.to_string() })
        .chain(super::outside::rests(facts))
        .collect()
}

pub(super) fn personal(subject: &VerifiedSubject, client: &str) -> Vec<Personal> {
    let person = subject.id.to_string();
    let mut values = Vec::new();
    // Of a tenant's people the address is only compared, never kept.
    if let Some(email) = subject.email.as_ref().filter(|_| subject.kind == SubjectKind::Staff) {
        values.push(Personal { person: person.clone(), name: "email", value: email.to_string() });
    }
    if !client.is_empty() {
        values.push(Personal { person, name: "client", value: client.to_owned() });
    }
    values
}
