//! What an earlier life left open: every intent without an outcome gets one, before staff are served.

use std::{collections::VecDeque, sync::atomic::Ordering};

use serde::Deserialize;

use crate::{
    audit::{
        body::Body,
        journal::{AppendError, Class, Draft, OpenIntent},
    },
    model::{ChangeId, Key, Stored},
    state::StoreFault,
};

use super::{Engine, records};

/// How many changes are looked through for the documents of one, at a time.
const PAGE: usize = 256;

/// Why the past cannot be settled yet.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The store does not say whether a change was committed.
    #[error("the store cannot say what became of a change: {0}")]
    Store(#[from] StoreFault),
    /// The outcome cannot be written.
    #[error("what became of an intent cannot be written: {0}")]
    Ledger(#[from] AppendError),
}

impl Engine {
    /// Writes the missing outcomes, taking out of `open` what is settled; then the gateway serves staff. Repeat it with
    /// what is left when it fails.
    pub async fn settle(&self, open: &mut VecDeque<OpenIntent>) -> Result<(), SettleError> {
        while let Some(intent) = open.front() {
            let draft = if intent.kind == records::CHANGE_INTENT {
                self.settled_change(intent).await?
            } else {
                self.settled_access(intent)
            };
            self.journal.append(draft).await?;
            open.pop_front();
        }
        let event = records::GatewayStarted {
            gateway: &self.gateway,
            version: env!("CARGO_PKG_VERSION"),
            policy: &self.policy().fingerprint,
        };
        let body = Body::of(&event).map_err(|fault| AppendError::BadDraft(fault.to_string()))?;
        self.journal.append(Draft::new(records::GATEWAY_STARTED, self.now().ms(), body)).await?;
        self.settled.store(true, Ordering::Release);
        Ok(())
    }

    fn settled_access(&self, intent: &OpenIntent) -> Draft {
        let event = records::AccessOutcome {
            exchange: &intent.id,
            end: records::End::Unknown,
            status: None,
            sent: 0,
            received: 0,
            millis: 0,
            cut_by: None,
            fault: Some("gateway_stopped"),
            clock_moved: false,
        };
        self.settled_draft(records::ACCESS_OUTCOME, intent, Body::of(&event).unwrap_or_default())
    }

    async fn settled_change(&self, intent: &OpenIntent) -> Result<Draft, SettleError> {
        let position = match ChangeId::new(&intent.id) {
            Ok(change) => self.store.asked(&change).await?,
            Err(_) => None,
        };
        let documents = match position {
            Some(position) => self.documents_of(position).await?,
            None => Vec::new(),
        };
        let event = records::ChangeOutcome {
            change: &intent.id,
            outcome: if position.is_some() { records::Fate::Stored } else { records::Fate::Failed },
            position,
            events: &[],
            documents: &documents,
            settled: true,
            clock_moved: false,
        };
        let body = Body::of(&event).map_err(|fault| AppendError::BadDraft(fault.to_string()))?;
        Ok(self.settled_draft(records::CHANGE_OUTCOME, intent, body))
    }

    pub(super) async fn documents_of(&self, position: u64) -> Result<Vec<(Key, Stored)>, StoreFault> {
        let entries = self.store.changes_after(position.saturating_sub(1), PAGE).await?;
        let entry = entries.into_iter().find(|entry| entry.position == position);
        let documents = entry.map(|entry| entry.documents).unwrap_or_default();
        // A document that cannot be read any more is missing from the outcome; the store says so when it is asked.
        Ok(documents.into_iter().filter_map(|(key, found)| Some((key, found.ok()?))).collect())
    }

    fn settled_draft(&self, kind: &'static str, intent: &OpenIntent, body: Body) -> Draft {
        Draft {
            session: session_in(&intent.line),
            closes: Some(intent.id.clone()),
            class: Class::Reserved,
            ..Draft::new(kind, self.now().ms(), body)
        }
    }
}

fn session_in(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        session: Option<String>,
    }
    serde_json::from_str::<Line>(line).ok()?.session
}

/// The documents in a record, when it is the outcome of a committed change: what a lost store is rebuilt from. `leaf` is
/// the record's line up to its closing brace or its `open` member.
///
/// # Errors
/// When the record holds documents that this build cannot read: a store without them would have forgotten something.
pub fn documents_in(kind: &str, leaf: &str) -> Result<Vec<(Key, Stored)>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Outcome {
        documents: Vec<(Key, Stored)>,
    }
    if kind != records::CHANGE_OUTCOME {
        return Ok(Vec::new());
    }
    serde_json::from_str::<Outcome>(&format!("{leaf}}}")).map(|outcome| outcome.documents)
}
