//! Changes that are in force in this gateway's memory and not yet durable: tried again until they are.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    lifecycle::{Command, Refusal},
    model::{ChangeId, Key, Timestamp},
    policy::Facts,
};

use super::{
    ChangeFault, Engine, Giver,
    change::{Attempt, Changed, Try},
    records,
};

/// How long the mender rests between tries, at first and at the most.
const REST: Duration = Duration::from_millis(200);
const LONGEST_REST: Duration = Duration::from_secs(5);

/// A change that waits.
pub(super) struct Pending {
    pub(super) command: Command,
    pub(super) giver: Giver,
    /// When it took effect.
    pub(super) at: Timestamp,
    pub(super) change: ChangeId,
    /// What it touches.
    pub(super) keys: Vec<Key>,
    /// What it waits for, as it was answered.
    pub(super) waiting: Vec<&'static str>,
    /// Its intent is durable and has no outcome: a further try writes none, so that tries take nothing from the reserve.
    pub(super) recorded: AtomicBool,
}

impl Engine {
    pub(super) fn keep_pending(&self, pending: Pending) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(pending));
        self.mend.notify_one();
    }

    /// How many changes wait to become durable.
    pub fn pending(&self) -> usize {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What a change that touches any of these documents still waits for.
    pub(super) fn waiting_on(&self, facts: &Facts) -> Option<Vec<&'static str>> {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let touched = |pending: &&Arc<Pending>| facts.versions().any(|(key, _)| pending.keys.contains(key));
        pending.iter().find(touched).map(|pending| pending.waiting.clone())
    }

    /// Runs for as long as the gateway does.
    pub async fn keep_mending(self: Arc<Self>) {
        let mut rest = REST;
        loop {
            if self.pending() == 0 {
                self.mend.notified().await;
                rest = REST;
            }
            let waiting = self.pending.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let before = waiting.len();
            for pending in waiting {
                if self.mend_one(&pending).await {
                    self.cells.released(&pending.change);
                    let mut all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
                    all.retain(|one| one.change != pending.change);
                }
            }
            let left = self.pending();
            if left > 0 {
                rest = if left < before { REST } else { (rest * 2).min(LONGEST_REST) };
                tokio::time::sleep(rest).await;
            }
        }
    }

    /// Whether nothing is left to do.
    async fn mend_one(self: &Arc<Self>, pending: &Pending) -> bool {
        let recorded = pending.recorded.load(Ordering::Acquire);
        let this = Try {
            command: &pending.command,
            giver: &pending.giver,
            now: pending.at,
            change: pending.change.clone(),
            mending: Some(&pending.recorded),
        };
        if recorded {
            // It may have been committed by the try whose answer got lost.
            match self.store.asked(&pending.change).await {
                Ok(Some(position)) => {
                    let Ok(documents) = self.documents_of(position).await else { return false };
                    self.conclude_change(&this, records::Fate::Stored, Some(position), &[], &documents);
                    return true;
                }
                Ok(None) => {}
                Err(_) => return false,
            }
        }
        let needless = match self.attempt(this).await {
            Ok(Attempt::Over(Changed::Done { .. } | Changed::InForce { .. })) => return true,
            Ok(Attempt::Over(Changed::Unchanged)) => true,
            Ok(Attempt::Overtaken) => false,
            // The thing is gone or ended by another hand: nothing is left to take away.
            Err(ChangeFault::Refused(refusal)) => !matches!(refusal, Refusal::Unavailable),
            Err(_) => false,
        };
        if needless {
            tracing::info!(change = %pending.change, "a waiting change has become needless");
            if pending.recorded.load(Ordering::Acquire) {
                let this = Try {
                    command: &pending.command,
                    giver: &pending.giver,
                    now: pending.at,
                    change: pending.change.clone(),
                    mending: Some(&pending.recorded),
                };
                self.conclude_change(&this, records::Fate::Overtaken, None, &[], &[]);
            }
        }
        needless
    }
}
