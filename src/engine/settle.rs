//! What an earlier life left open: every intent without an outcome gets one, before staff are served. A
//! narrowing whose intent holds what it was to write is not forgotten but carried on.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use serde::Deserialize;

use crate::{
    audit::{
        body::Body,
        journal::{AppendError, Class, Draft, OpenIntent},
        record::Line,
    },
    lifecycle::{Change, Event},
    model::{ChangeId, Document, Key, Stored, SubjectRef},
    state::{Committed, Part, Place, StoreFault, shadow::Recorded},
};

use super::{
    Engine,
    change::ends,
    erasable,
    mend::{Origin, Pending},
    records,
};

/// How many changes are looked through for the documents of one, at a time.
const PAGE: usize = 256;

/// Why the past cannot be settled yet.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The store does not say whether a change was committed.
    #[error("the store cannot say what became of a change: {0}")]
    Store(#[from] StoreFault),
    /// The intent of a change is one that this build cannot read, so it cannot be carried on.
    #[error("the intent of change `{change}` cannot be read ({fault}); start the version that wrote it")]
    Unreadable {
        /// Which change.
        change: String,
        /// What is wrong.
        fault: serde_json::Error,
    },
    /// What is due after a creation is written in a way that this build cannot read.
    #[error(
        "what is due after a creation (`{effect}`) cannot be read ({fault}); start the version that wrote it"
    )]
    Effect {
        /// Which.
        effect: String,
        /// What is wrong.
        fault: serde_json::Error,
    },
    /// The outcome cannot be written.
    #[error("what became of an intent cannot be written: {0}")]
    Ledger(#[from] AppendError),
}

impl Engine {
    /// Settles what was left open, and then serves staff. Repeat it with what is left when it fails.
    pub async fn settle(self: &Arc<Self>, open: &mut VecDeque<OpenIntent>) -> Result<(), SettleError> {
        self.settle_intents(open).await?;
        self.begin().await
    }

    /// Writes the missing outcomes, taking out of `open` what is settled. A narrowing that the store does not know, and
    /// whose documents were recorded, is in force from here on and goes to the mender. Repeat it with what is left when it
    /// fails.
    pub async fn settle_intents(
        self: &Arc<Self>,
        open: &mut VecDeque<OpenIntent>,
    ) -> Result<(), SettleError> {
        while let Some(intent) = open.front() {
            let draft = match intent.kind.as_str() {
                records::CHANGE_INTENT => self.settled_change(intent).await?,
                // It stays open until it is done.
                records::EFFECT_DUE => {
                    self.due_again(&intent.line)
                        .map_err(|fault| SettleError::Effect { effect: intent.id.clone(), fault })?;
                    None
                }
                _ => Some(self.settled_access(intent)),
            };
            if let Some(draft) = draft {
                self.journal.append(draft).await?;
            }
            open.pop_front();
        }
        self.recalled.store(true, Ordering::Release);
        Ok(())
    }

    /// Says in the ledger that this gateway has begun; then it serves staff.
    async fn begin(&self) -> Result<(), SettleError> {
        let event = records::GatewayStarted {
            gateway: &self.gateway,
            version: env!("CARGO_PKG_VERSION"),
            policy: &self.policy().fingerprint,
            clock_moved: self.moved(),
        };
        let body = Body::of(&event).map_err(|fault| AppendError::BadDraft(fault.to_string()))?;
        let draft =
            Draft { class: Class::Reserved, ..Draft::new(records::GATEWAY_STARTED, self.now().ms(), body) };
        self.journal.append(draft).await?;
        self.settled.store(true, Ordering::Release);
        Ok(())
    }

    fn settled_access(&self, intent: &OpenIntent) -> Draft {
        let Belongs { tenant, subject, acting_as, creates, session: _ } = of_line(&intent.line);
        if creates.is_some() {
            self.effect_left_open();
        }
        let event = records::AccessOutcome {
            exchange: &intent.id,
            tenant: tenant.as_deref(),
            subject: subject.as_ref().filter(|_| acting_as.is_some()),
            acting_as: acting_as.as_ref(),
            end: records::End::Unknown,
            status: None,
            sent: 0,
            received: 0,
            millis: 0,
            cut_by: None,
            fault: Some("gateway_stopped"),
            server: None,
            // What the application made of it, if anything, nobody here knows.
            effect: creates.map(|_: String| records::EFFECT_OPEN),
            effect_fault: None,
            clock_moved: false,
        };
        self.settled_draft(records::ACCESS_OUTCOME, intent, Body::of(&event).unwrap_or_default())
    }

    /// The outcome of a change; `None`: it goes to the mender.
    async fn settled_change(self: &Arc<Self>, intent: &OpenIntent) -> Result<Option<Draft>, SettleError> {
        let unreadable = |fault| SettleError::Unreadable { change: intent.id.clone(), fault };
        let mut told: Told = serde_json::from_str(&intent.line).map_err(unreadable)?;
        let change = ChangeId::new(&intent.id);
        if let Ok(change) = &change {
            erasable::restore_written(&intent.line, change, &mut told.documents);
        }
        let place = match &change {
            Ok(change) => self.placed(told.part, change).await?.map(|made| made.place),
            Err(_) => None,
        };
        let written = std::mem::take(&mut told.documents);
        if let (None, Ok(change), false) = (place, &change, written.is_empty()) {
            let change = change.clone();
            let made = Change { documents: written, events: told.events, narrows: true };
            let origin = Origin::Found { session: told.session, tenant: told.tenant };
            let pending = Arc::new(Pending::new(origin, change, self.moment(), &made));
            pending.recorded.store(true, Ordering::Release);
            self.cells.narrowed(&pending.change, made.documents);
            self.keep_pending(&pending);
            self.mend.notify_one();
            return Ok(None);
        }
        let documents = match place {
            Some(place) => match &change {
                Ok(change) => {
                    let keys: Vec<Key> = written.into_iter().map(|(key, _)| key).collect();
                    self.documents_of(place, change, &keys).await?
                }
                Err(_) => Vec::new(),
            },
            None => Vec::new(),
        };
        let events = if place.is_some() { told.events } else { Vec::new() };
        let (documents, personal) = erasable::stored(&documents);
        let event = records::ChangeOutcome {
            change: &intent.id,
            tenant: told.tenant.as_deref(),
            outcome: if place.is_some() { records::Fate::Stored } else { records::Fate::Failed },
            part: place.map(|place| place.part).unwrap_or_default(),
            position: place.map(|place| place.number),
            events: &events,
            documents: &documents,
            settled: true,
            clock_moved: false,
        };
        let body = Body::of(&event).map_err(|fault| AppendError::BadDraft(fault.to_string()))?;
        let ends_session = ends(&events, told.session.as_deref());
        let draft = self.settled_draft(records::CHANGE_OUTCOME, intent, body);
        Ok(Some(Draft { ends_session, personal, ..draft }))
    }

    /// The part that all of these documents lie in; what is written together lies together.
    pub(super) fn part_of<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) -> Part {
        keys.into_iter().next().map(|key| self.store.part_of(key)).unwrap_or_default()
    }

    /// The place of a change, where it was committed. A part that lost something may have lost that as well.
    pub(super) async fn placed(
        &self,
        part: Part,
        change: &ChangeId,
    ) -> Result<Option<Committed>, StoreFault> {
        if self.heard.as_ref().is_some_and(|heard| heard.leases.suspicion(part).is_some()) {
            return Err(StoreFault::Suspect { part: part.0 });
        }
        self.store.asked(part, change).await
    }

    /// What a change of this gateway's own has written, as the feed tells it, and then the shadow has it when this answers; where that has
    /// forgotten it, what these documents are, as far as they remember the change.
    pub(super) async fn documents_of(
        &self,
        place: Place,
        change: &ChangeId,
        keys: &[Key],
    ) -> Result<Vec<(Key, Stored)>, StoreFault> {
        let entries = match self.store.changes_after(place.part, place.number.saturating_sub(1), PAGE).await {
            Ok(entries) => entries,
            // That of a store that was healed or rebuilt begins anew.
            Err(StoreFault::FeedForgotten { .. }) => return self.remembering(change, keys).await,
            Err(fault) => return Err(fault),
        };
        let entry = entries.into_iter().find(|entry| entry.place == place);
        let Some(entry) = entry else { return Ok(Vec::new()) };
        // A document that cannot be read any more is missing from the outcome; the store says so when it is asked.
        let documents = entry.readable();
        if let Some(memory) = &self.memory {
            memory.made(place.part, &documents, (place.number, entry.line));
        }
        Ok(documents)
    }

    /// Those of these documents that remember a change, as the store has them.
    pub(super) async fn remembering(
        &self,
        change: &ChangeId,
        keys: &[Key],
    ) -> Result<Vec<(Key, Stored)>, StoreFault> {
        let found = keys.iter().cloned().zip(self.store.load(keys).await?);
        let there = found.filter_map(|(key, found)| Some((key, found?.ok()?)));
        Ok(there.filter(|(_, stored)| stored.remembers(change)).collect())
    }

    fn settled_draft(&self, kind: &'static str, intent: &OpenIntent, body: Body) -> Draft {
        Draft {
            session: of_line(&intent.line).session,
            closes: Some(intent.id.clone()),
            class: Class::Reserved,
            ..Draft::new(kind, self.now().ms(), body)
        }
    }
}

/// What the intent of a change says of it.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    part: Part,
    session: Option<String>,
    tenant: Option<String>,
    #[serde(default)]
    events: Vec<Event>,
    #[serde(default)]
    documents: Vec<(Key, Document)>,
}

/// What any intent says of where it belongs.
#[derive(Default, Deserialize)]
struct Belongs {
    session: Option<String>,
    tenant: Option<String>,
    subject: Option<SubjectRef>,
    acting_as: Option<SubjectRef>,
    creates: Option<String>,
}

fn of_line(line: &str) -> Belongs {
    serde_json::from_str(line).unwrap_or_default()
}

/// A change as a record has it, when it is the outcome of a committed one: what a shadow that lost it takes in.
///
/// # Errors
/// As of [`documents_in`].
pub fn recorded_in(line: &Line<'_>) -> Result<Option<Recorded>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Where {
        #[serde(default)]
        part: Part,
        position: Option<u64>,
    }
    let documents = documents_in(line)?;
    if documents.is_empty() {
        return Ok(None);
    }
    let Where { part, position } = serde_json::from_str(&line.leaf_json())?;
    Ok(Some(Recorded { part, number: position, documents }))
}

/// What a record promised to take away, when it is the intent of a change that narrows: its documents as they were to become. Of one without an
/// outcome nobody knows whether it was stored; it was in force where it was made, and said to be (law 8).
///
/// # Errors
/// As of [`documents_in`].
pub fn promised_in(line: &Line<'_>) -> Result<Vec<(Key, Stored)>, serde_json::Error> {
    let change = line.lead.opens.and_then(|id| ChangeId::new(id).ok());
    let (records::CHANGE_INTENT, Some(change)) = (line.lead.kind, change) else { return Ok(Vec::new()) };
    let mut told: Told = serde_json::from_str(&line.leaf_json())?;
    erasable::restore_promised(line, &change, &mut told.documents);
    let documents = told.documents.into_iter();
    Ok(documents.map(|(key, document)| (key, Stored::after(None, change.clone(), document))).collect())
}

/// The documents in a record, when it is the outcome of a committed change: what a lost store is rebuilt from. What may
/// be erased is put back where it was not; where it was, a document gives less.
///
/// # Errors
/// When the record holds documents that this build cannot read: a store without them would have forgotten something.
pub fn documents_in(line: &Line<'_>) -> Result<Vec<(Key, Stored)>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Outcome {
        documents: Vec<(Key, Stored)>,
    }
    if line.lead.kind != records::CHANGE_OUTCOME {
        return Ok(Vec::new());
    }
    let mut documents = serde_json::from_str::<Outcome>(&line.leaf_json())?.documents;
    erasable::restore_stored(line, &mut documents);
    Ok(documents)
}
