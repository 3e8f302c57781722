//! Changes that are in force in this gateway's memory and not yet durable: tried again until they are.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use crate::{
    lifecycle::{Command, Refusal},
    model::{ChangeId, Timestamp},
};

use super::{
    ChangeFault, Engine, Giver,
    change::{Attempt, Changed, Try},
};

/// How long the mender rests between tries.
const REST: Duration = Duration::from_millis(200);

/// A change that waits.
pub(super) struct Pending {
    pub(super) command: Command,
    pub(super) giver: Giver,
    /// When it took effect.
    pub(super) at: Timestamp,
    pub(super) change: ChangeId,
    /// Its intent stands in the ledger, without outcome.
    pub(super) recorded: bool,
}

impl Engine {
    pub(super) fn keep_pending(&self, pending: Pending) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).push(pending);
        self.mend.notify_one();
    }

    /// How many changes wait to become durable.
    pub fn pending(&self) -> usize {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Runs for as long as the gateway does.
    pub async fn keep_mending(self: Arc<Self>) {
        loop {
            if self.pending() == 0 {
                self.mend.notified().await;
            }
            let waiting = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
            for pending in waiting {
                self.mend_one(pending).await;
            }
            if self.pending() > 0 {
                tokio::time::sleep(REST).await;
            }
        }
    }

    async fn mend_one(self: &Arc<Self>, mut pending: Pending) {
        let mut this = Try {
            command: &pending.command,
            giver: &pending.giver,
            now: pending.at,
            change: pending.change.clone(),
            mending: true,
            recorded: pending.recorded,
        };
        let over = match self.attempt(&mut this).await {
            Ok(Attempt::Over(Changed::Done { .. } | Changed::Unchanged | Changed::InForce { .. })) => true,
            Ok(Attempt::Overtaken)
            | Err(ChangeFault::Ledger(_) | ChangeFault::Store(_) | ChangeFault::Contended)
            // What cannot be read is not gone: it was answered that this is in force, so it waits on (law 8).
            | Err(ChangeFault::Refused(Refusal::Unavailable)) => false,
            // The thing is gone or ended by another hand: nothing is left to take away.
            Err(fault) => {
                tracing::info!(%fault, change = %pending.change, "a waiting change has become needless");
                true
            }
        };
        let over = over && (!this.recorded || self.conclude_waiting(&this).await);
        let recorded = this.recorded;
        if over {
            self.cells.released(&pending.change);
        } else {
            pending.recorded = recorded;
            self.pending.lock().unwrap_or_else(PoisonError::into_inner).push(pending);
        }
    }
}
