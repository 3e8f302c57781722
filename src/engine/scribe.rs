//! Records that nobody waits for: outcomes, refusals, counts. They are handed over in order, many at a time; a record
//! that the ledger refused is tried again as a new one, behind what was handed over with it. A refused *flush* is never
//! repeated (rule 16), that is the journal's part.
//!
//! What waits here is bounded by what was admitted: every admission leads to one outcome, and admission stops when the
//! ledger does. Refusals are bounded here (rule 17): past a rate they are counts.

use std::{
    collections::{BTreeMap, VecDeque},
    future::{Future, poll_fn},
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use serde::Serialize;
use tokio::sync::mpsc;

use crate::{
    audit::{
        body::Body,
        journal::{AppendError, Class, Draft, Journal, Personal, Receipt},
    },
    model::Timestamp,
};

use super::{Clock, records};

/// Records that are handed to the journal before its answer to the first is awaited; far fewer than it lets wait.
const MOST_AT_ONCE: usize = 256;
/// Refusals of staff that are recorded one by one, in a second.
const REFUSALS_A_SECOND: usize = 20;
/// Kinds of counts kept at once; the rest is counted together.
const MOST_COUNTS: usize = 512;
/// How often counts are written down, in milliseconds.
const COUNTS_EVERY_MS: i64 = 60_000;

pub(super) struct Scribe {
    queue: mpsc::UnboundedSender<Draft>,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    since: Option<Timestamp>,
    counts: BTreeMap<(String, String), u64>,
    recent: VecDeque<Timestamp>,
}

impl Scribe {
    pub(super) fn start(
        journal: Arc<Journal>,
        clock: Arc<dyn Clock>,
        background: &tokio::runtime::Handle,
    ) -> Scribe {
        let (queue, drafts) = mpsc::unbounded_channel();
        background.spawn(keep_writing(journal, clock, drafts));
        Scribe { queue, tally: Mutex::default() }
    }

    /// Queues a record.
    pub(super) fn push(&self, draft: Draft) {
        // The receiver lives as long as its runtime; after that there is nobody left to record for.
        let _ = self.queue.send(draft);
    }

    /// Queues a record of this event.
    pub(super) fn write<T: Serialize>(&self, kind: &'static str, now: Timestamp, event: &T) {
        match Body::of(event) {
            Ok(body) => self.push(Draft { class: Class::Reserved, ..Draft::new(kind, now.ms(), body) }),
            Err(fault) => tracing::error!(kind, %fault, "an event could not be written as a record"),
        }
    }

    /// Records a refusal of a verified staff subject, or counts it when there are too many.
    pub(super) fn refusal(&self, now: Timestamp, refused: &records::Refused<'_>, personal: Vec<Personal>) {
        {
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            while tally.recent.front().is_some_and(|at| now.ms_since(*at) >= 1000) {
                tally.recent.pop_front();
            }
            if tally.recent.len() >= REFUSALS_A_SECOND {
                drop(tally);
                self.count(now, refused.reason, "staff");
                return;
            }
            tally.recent.push_back(now);
        }
        if let Ok(body) = Body::of(refused) {
            self.push(Draft { personal, ..Draft::new(records::ACCESS_REFUSED, now.ms(), body) });
        }
    }

    /// Counts a refusal that is not recorded by itself.
    pub(super) fn count(&self, now: Timestamp, reason: &str, network: &str) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.since.get_or_insert(now);
        let known = (reason.to_owned(), network.to_owned());
        if tally.counts.len() >= MOST_COUNTS && !tally.counts.contains_key(&known) {
            *tally.counts.entry((reason.to_owned(), "elsewhere".to_owned())).or_default() += 1;
        } else {
            *tally.counts.entry(known).or_default() += 1;
        }
    }

    /// Writes the counts down when it is time, or at once.
    pub(super) fn flush_counts(&self, now: Timestamp, at_once: bool) {
        let taken = {
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            match tally.since {
                Some(since) if at_once || now.ms_since(since) >= COUNTS_EVERY_MS => {
                    tally.since = None;
                    Some((since, std::mem::take(&mut tally.counts)))
                }
                Some(_) | None => None,
            }
        };
        if let Some((since, counts)) = taken {
            let counts = counts
                .into_iter()
                .map(|((reason, network), times)| records::Count { reason, network, times })
                .collect();
            if let Ok(body) = Body::of(&records::Refusals { since, counts }) {
                self.push(Draft::new(records::REFUSALS, now.ms(), body));
            }
        }
    }
}

async fn keep_writing(
    journal: Arc<Journal>,
    clock: Arc<dyn Clock>,
    mut drafts: mpsc::UnboundedReceiver<Draft>,
) {
    let mut batch = Vec::new();
    while drafts.recv_many(&mut batch, MOST_AT_ONCE).await > 0 {
        // All of them are handed over before the first is waited for, so that they share a flush. Were each waited for
        // by itself, outcomes would come to no more than one a flush, and staff faster than that would fill memory.
        let mut handed = Vec::with_capacity(batch.len());
        for draft in batch.drain(..) {
            let mut append = Box::pin(journal.append(draft.clone()));
            let first = poll_fn(|cx| Poll::Ready(append.as_mut().poll(cx))).await;
            handed.push((draft, append, first));
        }
        for (draft, append, first) in handed {
            let answer = match first {
                Poll::Ready(answer) => answer,
                Poll::Pending => append.await,
            };
            if insist(&journal, clock.as_ref(), &draft, answer).await.is_err() {
                return;
            }
        }
    }
}

/// The journal is closed: nothing more is written.
struct Closed;

/// Sees to a record that was answered so: tries again what must be written, until it is.
async fn insist(
    journal: &Journal,
    clock: &dyn Clock,
    draft: &Draft,
    mut answer: Result<Receipt, AppendError>,
) -> Result<(), Closed> {
    let must = draft.closes.is_some() || draft.class == Class::Reserved;
    let mut wait = Duration::from_millis(2);
    loop {
        match answer {
            Ok(_) => return Ok(()),
            Err(AppendError::Stopped) => return Err(Closed),
            Err(fault @ (AppendError::TooLarge { .. } | AppendError::BadDraft(_))) => {
                tracing::error!(kind = draft.kind, %fault, at = %clock.now(), "a record could not be written");
                return Ok(());
            }
            // What may be lost is lost before what must not wait.
            Err(_) if !must => return Ok(()),
            Err(_) => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_millis(500));
            }
        }
        answer = journal.append(draft.clone()).await;
    }
}

#[cfg(test)]
mod tests;
