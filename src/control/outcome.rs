//! How a change is told: what it came to, and whether it is durable yet.

use serde::Serialize;

use crate::{engine::Changed, lifecycle::Event, model::ChangeId};

/// What a change came to.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Outcome {
    /// Whether anything was to be done at all.
    pub(super) changed: bool,
    /// The change's id, as the ledger has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<ChangeId>,
    /// Whether it is in the store and the ledger. `false`: it is in force on this gateway and becomes durable by itself.
    /// Nothing is said of what had been so before.
    #[serde(skip_serializing_if = "Option::is_none")]
    durable: Option<bool>,
    /// What it still waits for: `ledger`, `store`, `cuts`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<&'static str>,
    /// What happened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<Event>,
}

impl Outcome {
    /// Everything was as wanted already.
    pub(super) fn nothing() -> Outcome {
        Outcome { changed: false, change: None, durable: None, waiting: Vec::new(), events: Vec::new() }
    }

    pub(super) fn of(changed: Changed) -> Outcome {
        match changed {
            Changed::Done { change, events, documents: _ } => Outcome {
                changed: true,
                change: Some(change),
                durable: Some(true),
                waiting: Vec::new(),
                events,
            },
            Changed::Unchanged => Outcome::nothing(),
            // The first answer said the rest; what of it is durable by now is not looked up.
            Changed::Already { change, made: _ } => {
                Outcome { changed: true, change: Some(change), ..Outcome::nothing() }
            }
            Changed::InForce { change, events, waiting } => {
                // What only waits for sockets is in the store and the ledger.
                let durable = waiting.iter().all(|what| *what == "cuts");
                Outcome { changed: true, change: Some(change), durable: Some(durable), waiting, events }
            }
        }
    }

    /// Whether a tenant became known by it.
    pub(super) fn registered(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::TenantRegistered))
    }

    /// 202 while something is still to come; otherwise `done`.
    pub(super) fn status(&self, done: u16) -> u16 {
        if self.waiting.is_empty() { done } else { 202 }
    }
}
