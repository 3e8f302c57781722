//! Changes of which the store did not say whether it made them: it is asked until it says, and that is written down as their outcome.
//! Until then nobody goes by what was known before. What was told not to have been made is never made later (decision 0024).
//!
//! Never here: what takes something away, which is in force meanwhile ([`super::mend`]); what a start finds open ([`super::settle`]).

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::{
    lifecycle::{Command, Event},
    model::{ChangeId, Key, Stored},
    state::{Committed, Part, Place, StoreFault},
};

use super::{
    Engine, Giver,
    change::{About, Try},
    records::Fate,
};

/// How long it rests between questions. One that cannot be sent costs nothing, and a part that does not answer is asked for one
/// change a round.
const REST: Duration = Duration::from_millis(200);

/// All changes in doubt.
#[derive(Default)]
pub(super) struct Doubts {
    all: Mutex<Vec<Arc<Doubt>>>,
    more: Notify,
    /// Held by whoever asks: each gets one outcome.
    asking: tokio::sync::Mutex<()>,
}

/// One of them. It gives something, and nobody was told that it is in force.
struct Doubt {
    command: Command,
    giver: Giver,
    change: ChangeId,
    events: Vec<Event>,
    /// What it writes.
    keys: Vec<Key>,
}

/// What the store says that became of it: its place, where the store knows that, and the documents.
enum Became {
    Made(Option<Place>, Vec<(Key, Stored)>),
    NotMade,
}

impl Doubts {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Doubt>>> {
        // Each step leaves whole entries behind.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Nobody knows whether this was committed: its intent stays open until the store says.
    pub(super) fn in_doubt(&self, this: &Try<'_>, events: Vec<Event>, writes: Vec<(Key, Stored)>) {
        let keys: Vec<Key> = writes.into_iter().map(|(key, _)| key).collect();
        self.cells.forget(&keys);
        tracing::warn!(change = %this.change, "whether a change was made is not known; the store is asked until it says");
        let (command, giver, change) = (this.command.clone(), this.giver.clone(), this.change.clone());
        self.doubts.lock().push(Arc::new(Doubt { command, giver, change, events, keys }));
        self.doubts.more.notify_one();
    }

    /// Runs for as long as the gateway does: asks for what is in doubt.
    pub async fn keep_asking(self: Arc<Self>) {
        loop {
            if self.doubts.lock().is_empty() {
                self.doubts.more.notified().await;
            }
            if self.ask_once().await > 0 {
                tokio::time::sleep(REST).await;
            }
        }
    }

    /// Asks for everything in doubt, once; answers how much is left. A part of the store that does not answer keeps no other from its
    /// turn.
    pub async fn ask_once(self: &Arc<Self>) -> usize {
        let _asking = self.doubts.asking.lock().await;
        let all = self.doubts.lock().clone();
        let mut silent: BTreeSet<Part> = BTreeSet::new();
        for doubt in all {
            let part = self.part_of(&doubt.keys);
            if silent.contains(&part) {
                continue;
            }
            match self.became(part, &doubt).await {
                Ok(became) => {
                    self.conclude_doubt(&doubt, became).await;
                    self.doubts.lock().retain(|one| !Arc::ptr_eq(one, &doubt));
                }
                Err(fault) => {
                    tracing::debug!(%fault, change = %doubt.change, "the store does not say yet whether a change was made");
                    silent.insert(part);
                }
            }
        }
        self.doubts.lock().len()
    }

    async fn became(&self, part: Part, doubt: &Doubt) -> Result<Became, StoreFault> {
        if let Some(Committed { place, .. }) = self.placed(part, &doubt.change).await? {
            return Ok(Became::Made(
                Some(place),
                self.documents_of(place, &doubt.change, &doubt.keys).await?,
            ));
        }
        // A store that was healed meanwhile has what the change wrote from whoever had heard of it, and not its place.
        let there = self.remembering(&doubt.change, &doubt.keys).await?;
        Ok(if there.is_empty() { Became::NotMade } else { Became::Made(None, there) })
    }

    async fn conclude_doubt(self: &Arc<Self>, doubt: &Doubt, became: Became) {
        let Doubt { command, giver, change, events, keys } = doubt;
        let about = About::made(change, command);
        let draft = match became {
            Became::Made(place, documents) => {
                // What was read while it was in doubt may be from before it.
                self.cells.forget(keys);
                self.grantors.committed(&documents);
                self.may_have_felled_by(&documents);
                self.put_in_force(keys).await;
                self.told_loud(command, giver);
                tracing::info!(%change, "a change that was in doubt was made, and is in force");
                self.outcome(&about, Fate::Stored, place, events, &documents)
            }
            Became::NotMade => {
                tracing::info!(%change, "a change that was in doubt was not made");
                self.outcome(&about, Fate::Failed, None, &[], &[])
            }
        };
        draft.into_iter().for_each(|draft| self.scribe.push(draft));
    }
}
