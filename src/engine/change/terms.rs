//! With what a change is given, what it came to, and why it did not happen. Never here: making one.

use std::sync::Arc;

use crate::{
    audit::journal::AppendError,
    identity::VerifiedSubject,
    lifecycle::{Actor, Command, Event, Refusal},
    model::{
        ChangeId, Key, Stored, SubjectKind, Timestamp,
        once::{Once, Thing},
    },
    state::{StoreFault, Unreadable},
};

use crate::engine::mend::Pending;

/// Who gives a command.
#[derive(Debug, Clone)]
pub enum Giver {
    /// A verified caller, and from which address.
    Subject(Arc<VerifiedSubject>, String),
    /// The configuration, at start.
    Configuration,
    /// The passing of time.
    Clock,
    /// What the application answered to a request that was admitted.
    Application,
}

impl Giver {
    pub(in crate::engine) fn actor(&self) -> Actor<'_> {
        match self {
            Giver::Subject(subject, _) => Actor::Subject(subject.subject()),
            Giver::Configuration => Actor::Configuration,
            Giver::Clock => Actor::Clock,
            Giver::Application => Actor::Application,
        }
    }

    pub(super) fn is_staff(&self) -> bool {
        matches!(self, Giver::Subject(subject, _) if subject.kind == SubjectKind::Staff)
    }

    pub(super) fn word(&self) -> &'static str {
        match self {
            Giver::Subject(..) => "subject",
            Giver::Configuration => "configuration",
            Giver::Clock => "clock",
            Giver::Application => "application",
        }
    }
}

/// What a change came to.
#[derive(Debug, Clone)]
pub enum Changed {
    /// Committed, in force, recorded.
    Done {
        /// Its id.
        change: ChangeId,
        /// What happened.
        events: Vec<Event>,
        /// The documents as they are now.
        documents: Vec<(Key, Stored)>,
    },
    /// Everything was as wanted already.
    Unchanged,
    /// The same request made something before, with the same idempotency key; now nothing was done.
    Already {
        /// The change that made it.
        change: ChangeId,
        /// What it made.
        made: Thing,
    },
    /// In force on this gateway from now on, and not yet durable everywhere it has to be.
    InForce {
        /// Its id.
        change: ChangeId,
        /// What happened.
        events: Vec<Event>,
        /// What it still waits for: `ledger`, `store`, `cuts`.
        waiting: Vec<&'static str>,
    },
}

/// Why a change did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeFault {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be recorded, so it did not happen.
    #[error("the record cannot be written, so nothing was changed: {0}")]
    Ledger(#[from] AppendError),
    /// It could not be stored.
    #[error("the state cannot be written, so nothing was changed: {0}")]
    Store(String),
    /// It may have been stored.
    #[error(
        "the store did not say whether it took the change; look at what is in force before trying again: {0}"
    )]
    InDoubt(String),
    /// Where it would be stored, something was lost (law 8).
    #[error("the store has lost something and is being healed, so nothing is given meanwhile; try again")]
    Suspect,
    /// Others kept changing the same things.
    #[error("others keep changing the same things; try again")]
    Contended,
    /// An earlier change that takes something away is in force and not stored yet; on top of it nothing is given.
    #[error("an earlier change that took something away is not stored yet; try again when it is")]
    Waiting,
    /// What an earlier life left open is not settled yet.
    #[error("the gateway is still settling what it left open when it stopped; try again in a moment")]
    Settling,
    /// The clock is behind the ledger (rule 7).
    #[error("the gateway's clock is behind its own record; set it right")]
    ClockBehind,
    /// The store has the layout of a newer build.
    #[error(
        "a newer version of postern runs on the store, and this gateway cannot read it, so nothing is given here; its operator must upgrade it"
    )]
    StoreNewer,
    /// Another process goes by this gateway's name.
    #[error("another process goes by this gateway's name, so staff change nothing here; give it another")]
    NameTaken,
    /// Another creation of the same subject under an idempotency key takes long.
    #[error(
        "another request of yours with an `Idempotency-Key` is still under way here; send this one again in a moment, with the same key"
    )]
    InProgress,
    /// The task that made the change died.
    #[error(
        "the gateway could not bring the change to its end; look at what is in force before trying again"
    )]
    Lost,
}

impl ChangeFault {
    /// Whether the change may have been made all the same.
    pub fn is_open(&self) -> bool {
        matches!(self, ChangeFault::InDoubt(_) | ChangeFault::Lost)
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            ChangeFault::Refused(refusal) => refusal.code(),
            ChangeFault::Ledger(fault) => fault.code(),
            ChangeFault::Store(_) | ChangeFault::InDoubt(_) => "state_unavailable",
            ChangeFault::Suspect => "state_suspect",
            ChangeFault::Contended => "contended",
            ChangeFault::Waiting => "change_waiting",
            ChangeFault::Settling => "settling",
            ChangeFault::ClockBehind => "clock_behind",
            ChangeFault::StoreNewer => "store_newer",
            ChangeFault::NameTaken => "gateway_name_taken",
            ChangeFault::InProgress => "idempotency_in_progress",
            ChangeFault::Lost => "lost",
        }
    }
}

/// Why documents cannot be written on top of what is there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwritable {
    #[error(transparent)]
    Store(#[from] StoreFault),
    #[error(transparent)]
    Document(#[from] Unreadable),
}

/// What one attempt came to.
pub(in crate::engine) enum Attempt {
    Over(Changed),
    Overtaken,
}

/// What an attempt is made with.
pub(in crate::engine) struct Try<'a> {
    pub(in crate::engine) command: &'a Command,
    pub(in crate::engine) giver: &'a Giver,
    /// Its idempotency key, where it came with one.
    pub(in crate::engine) once: Option<Once>,
    pub(in crate::engine) now: Timestamp,
    /// The change's id; a repeat carries the same one.
    pub(in crate::engine) change: ChangeId,
    /// Of a narrowing that is in force in memory: what is kept of it. Facts then come from the store itself.
    pub(in crate::engine) pending: Option<&'a Pending>,
}

impl Changed {
    /// The same, waiting for cuts besides where not all have parted.
    pub(super) fn and_parted(self, id: &ChangeId, parted: bool) -> Changed {
        match self {
            Changed::Unchanged if !parted => {
                Changed::InForce { change: id.clone(), events: Vec::new(), waiting: vec!["cuts"] }
            }
            Changed::Done { change, events, .. } if !parted => {
                Changed::InForce { change, events, waiting: vec!["cuts"] }
            }
            Changed::InForce { change, events, mut waiting } if !parted && !waiting.contains(&"cuts") => {
                waiting.push("cuts");
                Changed::InForce { change, events, waiting }
            }
            same @ (Changed::Done { .. }
            | Changed::Unchanged
            | Changed::Already { .. }
            | Changed::InForce { .. }) => same,
        }
    }
}
