//! Records that nobody waits for: outcomes, refusals, counts. They are written in order, and a record that the ledger
//! refused is tried again as a new one; a refused *flush* is never repeated (rule 16), that is the journal's part.
//!
//! What waits here is bounded by what was admitted: every admission leads to one outcome, and admission stops when the
//! ledger does. Refusals are bounded here (rule 17): past a rate they are counts.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::mpsc;

use crate::{
    audit::{
        body::Body,
        journal::{AppendError, Class, Draft, Journal, Personal},
    },
    model::Timestamp,
};

use super::{Clock, records};

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
    while let Some(draft) = drafts.recv().await {
        let must = draft.closes.is_some() || draft.class == Class::Reserved;
        let mut wait = Duration::from_millis(2);
        loop {
            match journal.append(draft.clone()).await {
                Ok(_) => break,
                Err(AppendError::Stopped) => return,
                Err(fault @ (AppendError::TooLarge { .. } | AppendError::BadDraft(_))) => {
                    tracing::error!(kind = draft.kind, %fault, at = %clock.now(), "a record could not be written");
                    break;
                }
                // What may be lost is lost before what must not wait.
                Err(_) if !must => break,
                Err(_) => {
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_millis(500));
                }
            }
        }
    }
}
