//! Deadlines that pass while nobody knocks: fuses burn, and ends are written down once, with the instant at which they
//! took effect.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    lifecycle::Command,
    model::{Key, Timestamp},
    policy::Reason,
    state::{Age, Part, Parts},
};

use super::{
    ChangeFault, Engine, Giver,
    fuse::{Cut, Look},
    registry::Live,
    spoken::Spoken,
};

/// The clock is looked at this often even when no deadline is near: a machine may have slept, or a clock been moved.
const LOOK_EVERY_MS: i64 = 250;
/// How often the store is asked for what has fallen due.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How much is swept at once.
const SWEEP_MOST: usize = 256;

/// What is the matter with sweeping, as far as it was told.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    /// What has fallen due cannot be read.
    unread: Spoken,
    /// An expiry cannot be written down.
    due: Spoken,
    /// Neither can an end of what fell with something else.
    pub(super) fallen: Spoken,
    /// The parts of the store that did not answer when it was looked through for what fell.
    pub(super) missed: Mutex<Parts>,
}

/// Waits until another part of the store is suspect, or trusted again.
async fn doubted(doubts: &mut Option<watch::Receiver<Parts>>) {
    if let Some(doubts) = doubts
        && doubts.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

impl Engine {
    /// Burns the fuses of exchanges whose deadline has passed; answers how long to wait for the next, and which
    /// exchanges hold because the level that they rest on fell: whoever asked has them decided again.
    pub(super) fn sweep_fuses(&self) -> (Duration, Vec<Arc<Live>>) {
        let now = self.now();
        let (past, next) = self.registry.past(now, LOOK_EVERY_MS);
        let mut fallen = Vec::new();
        for live in past {
            // The look burns what is due. A fuse whose deadline moved meanwhile is entered again.
            match live.fuse.look(now) {
                Look::Stale if live.fuse.fallen(now).is_some() => fallen.push(live),
                Look::Alive | Look::Stale => self.registry.due(&live, live.fuse.deadline()),
                Look::Burnt(_) => {}
            }
        }
        let wait = next.ms_since(now).min(self.sweep_leases(now)).max(1);
        (Duration::from_millis(u64::try_from(wait).unwrap_or(1)), fallen)
    }

    /// Burns the fuses of exchanges that hang on what was not heard of for too long; answers in how many milliseconds the next
    /// may burn by that.
    fn sweep_leases(&self, now: Timestamp) -> i64 {
        let Some(heard) = &self.heard else { return LOOK_EVERY_MS };
        let strictest = self.policy().staleness.strictest();
        if let Age::Known(ms) = heard.oldest()
            && let Some(left) = strictest.checked_sub_unsigned(ms).filter(|left| *left > 0)
        {
            // Nobody's can have burnt.
            return left;
        }
        let mut next = LOOK_EVERY_MS;
        for live in self.registry.all() {
            // The look burns what hangs on nothing any more.
            if let Look::Alive | Look::Stale = live.fuse.look(now)
                && let Some(left) = live.fuse.left_ms()
            {
                next = next.min(left);
            }
        }
        next
    }

    /// Where the ledger takes not even outcomes, what runs would end without a record: it ends now (law 1).
    fn cut_unrecorded(&self) {
        if self.journal.takes_outcomes() {
            return;
        }
        let cut = Cut { reason: Reason::RecordUnavailable, due: None, at: self.now() };
        for live in self.registry.all() {
            live.fuse.burn(cut);
        }
    }

    /// Runs for as long as the gateway does: burns fuses on time.
    pub async fn keep_fuses(self: Arc<Self>) {
        let mut doubts = self.heard.as_ref().map(|heard| heard.leases.doubts());
        loop {
            self.cut_unrecorded();
            let (wait, fallen) = self.sweep_fuses();
            // What holds since its level fell, or since what was looked up counts no more.
            self.decide_apart(fallen);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.registry.sooner() => {}
                () = doubted(&mut doubts) => {}
            }
        }
    }

    /// Runs for as long as the gateway does: writes down what has fallen due, and counts.
    pub async fn keep_sweeping(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let _round = self.sweeping.lock().await;
            self.sweep_due().await;
            self.sweep_fallen().await;
            self.scribe.flush_counts(self.now(), false, self.moved());
        }
    }

    /// Waits for the round that runs, and keeps the next from beginning for as long as the answer is held: what a stop finds
    /// half written would be left to the next start.
    pub async fn sweep_no_more(&self) -> impl Sized {
        self.sweeping.lock().await
    }

    /// Writes down every end that has come due. A part of the store that does not answer keeps no other from its turn.
    pub async fn sweep_due(self: &Arc<Self>) {
        if !self.serves_staff() {
            return;
        }
        // What cannot be written down stays due; page by page, so that it keeps nothing else from its turn.
        let (mut after, mut failed, mut silent) = (None, BTreeSet::new(), Parts::NONE);
        loop {
            let due = self.store.due(self.now(), after.as_ref(), SWEEP_MOST).await;
            if let Some((_, fault)) = due.silent.first()
                && self.sweeps.unread.begins()
            {
                tracing::warn!(%fault, parts = due.silent.len(), "what has fallen due cannot be read");
            }
            silent = silent.and(due.silent_parts());
            let all = due.rows.len() < SWEEP_MOST;
            after = due.rows.last().cloned();
            if !self.expire_all(due.rows, &mut failed).await {
                break;
            }
            if all {
                if failed.is_empty() && silent.is_empty() && self.sweeps.due.ends() {
                    tracing::info!("expiries are written down again");
                }
                break;
            }
        }
        if silent.is_empty() && self.sweeps.unread.ends() {
            tracing::info!("what falls due is read again");
        }
        self.answer_again(silent);
    }

    /// What fell while its part did not answer is looked for when it does.
    fn answer_again(&self, silent: Parts) {
        let mut missed = self.sweeps.missed.lock().unwrap_or_else(PoisonError::into_inner);
        if missed.each().any(|part| !silent.contains(part)) {
            self.may_have_felled_any();
            *missed = missed.each().filter(|part| silent.contains(*part)).collect();
        }
    }

    /// `false`: nothing can be written down right now. A part of the store that takes nothing is tried once, and keeps no other
    /// from its turn.
    async fn expire_all(self: &Arc<Self>, due: Vec<(Timestamp, Key)>, failed: &mut BTreeSet<Part>) -> bool {
        for (_, key) in due {
            let part = self.store().part_of(&key);
            if failed.contains(&part) {
                continue;
            }
            let fault = match self.change(Command::Expire { key: key.clone() }, Giver::Clock).await {
                Ok(_) | Err(ChangeFault::Refused(_)) => continue,
                Err(fault) => fault,
            };
            if self.sweeps.due.begins() {
                tracing::warn!(%fault, %key, "an expiry cannot be written down yet");
            }
            if !matches!(fault, ChangeFault::Store(_) | ChangeFault::InDoubt(_) | ChangeFault::Suspect) {
                return false;
            }
            failed.insert(part);
        }
        true
    }
}
