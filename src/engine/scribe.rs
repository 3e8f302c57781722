//! Records that nobody waits for: outcomes, refusals, counts. They are written in order, and a record that the ledger
//! refused is tried again as a new one; a refused *flush* is never repeated (rule 16), that is the journal's part.
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
use tokio::sync::{mpsc, oneshot};

use crate::{
    audit::{
        body::Body,
        journal::{AppendError, Class, Draft, Journal, Personal, Receipt},
    },
    model::{SubjectKind, Timestamp},
};

use super::{Clock, records};

/// Refusals of staff that are recorded one by one, in a second.
const REFUSALS_A_SECOND: usize = 20;
/// Kinds of counts kept at once; the rest is counted together.
const MOST_COUNTS: usize = 512;
/// How often counts are written down, in milliseconds.
const COUNTS_EVERY_MS: i64 = 60_000;
/// Records that are handed to the ledger at once, to share its flushes.
const TOGETHER: usize = 128;

pub(super) struct Scribe {
    queue: mpsc::UnboundedSender<Work>,
    tally: Mutex<Tally>,
}

enum Work {
    Write(Draft),
    /// Says so when everything before it is written.
    Told(oneshot::Sender<()>),
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
        let _ = self.queue.send(Work::Write(draft));
    }

    /// Waits until everything that was queued before is written.
    pub(super) async fn rest(&self) {
        let (told, rested) = oneshot::channel();
        if self.queue.send(Work::Told(told)).is_ok() {
            let _ = rested.await;
        }
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
        if self.one_by_one(now, refused.reason, "staff")
            && let Ok(body) = Body::of(refused)
        {
            self.push(Draft { personal, ..Draft::new(records::ACCESS_REFUSED, now.ms(), body) });
        }
    }

    /// Records the refusal of a change, or counts it when there are too many: whoever keeps asking for what they do not
    /// get fills no ledger.
    pub(super) fn refused_change(
        &self,
        now: Timestamp,
        kind: SubjectKind,
        refused: &records::ChangeRefused<'_>,
    ) {
        let network = match kind {
            SubjectKind::Staff => "staff",
            SubjectKind::Member => "members",
        };
        if self.one_by_one(now, refused.reason, network)
            && let Ok(body) = Body::of(refused)
        {
            self.push(Draft::new(records::CHANGE_REFUSED, now.ms(), body));
        }
    }

    /// Whether a refusal is recorded by itself; otherwise it is counted here.
    fn one_by_one(&self, now: Timestamp, reason: &str, network: &str) -> bool {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        while tally.recent.front().is_some_and(|at| now.ms_since(*at) >= 1000) {
            tally.recent.pop_front();
        }
        if tally.recent.len() >= REFUSALS_A_SECOND {
            drop(tally);
            self.count(now, reason, network);
            return false;
        }
        tally.recent.push_back(now);
        true
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
    mut queue: mpsc::UnboundedReceiver<Work>,
) {
    let mut work = Vec::with_capacity(TOGETHER);
    while queue.recv_many(&mut work, TOGETHER).await > 0 {
        let mut drafts = Vec::with_capacity(work.len());
        let mut told = Vec::new();
        for one in work.drain(..) {
            match one {
                Work::Write(draft) => drafts.push(draft),
                Work::Told(sender) => told.push(sender),
            }
        }
        let written = together(drafts.iter().map(|draft| journal.append(draft.clone()))).await;
        for (draft, written) in drafts.into_iter().zip(written) {
            if !settle(&journal, &clock, draft, written).await {
                return;
            }
        }
        for sender in told {
            // Whoever asked may be gone.
            let _ = sender.send(());
        }
    }
}

/// Waits for all of them at once; they begin in their order.
async fn together<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|cx| {
        let mut all = true;
        for (future, done) in &mut running {
            if done.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(value) => *done = Some(value),
                    Poll::Pending => all = false,
                }
            }
        }
        if all { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, done)| done).collect()
}

/// Tries a record again that was refused, for as long as it matters; `false` when the ledger is closed.
async fn settle(
    journal: &Journal,
    clock: &Arc<dyn Clock>,
    draft: Draft,
    mut written: Result<Receipt, AppendError>,
) -> bool {
    let must = draft.closes.is_some() || draft.class == Class::Reserved;
    let mut wait = Duration::from_millis(2);
    loop {
        match written {
            Ok(_) => return true,
            Err(AppendError::Stopped) => return false,
            Err(fault @ (AppendError::TooLarge { .. } | AppendError::BadDraft(_))) => {
                tracing::error!(kind = draft.kind, %fault, at = %clock.now(), "a record could not be written");
                return true;
            }
            // What may be lost is lost before what must not wait.
            Err(_) if !must => return true,
            Err(_) => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_millis(500));
            }
        }
        written = journal.append(draft.clone()).await;
    }
}

#[cfg(test)]
mod tests;
