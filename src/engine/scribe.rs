//! Records that nobody waits for: outcomes, refusals, counts. Refusals are bounded here (rule 17): past a rate they are
//! counts. Never here: the writing itself, and trying again; both are the journal's.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

use crate::{
    audit::{
        body::Body,
        journal::{Class, Draft, Journal, Personal},
    },
    model::{SubjectKind, Timestamp},
};

use super::records;

/// Refusals of staff that are recorded one by one, in a second.
const REFUSALS_A_SECOND: usize = 20;
/// Kinds of counts kept at once; the rest is counted together.
const MOST_COUNTS: usize = 512;
/// How often counts are written down, in milliseconds.
const COUNTS_EVERY_MS: i64 = 60_000;

pub(super) struct Scribe {
    journal: Arc<Journal>,
    /// The journal's writer counts here what it loses.
    tally: Arc<Mutex<Tally>>,
}

#[derive(Default)]
struct Tally {
    since: Option<Timestamp>,
    counts: BTreeMap<(String, String), u64>,
    recent: VecDeque<Timestamp>,
}

impl Scribe {
    pub(super) fn new(journal: Arc<Journal>) -> Scribe {
        Scribe { journal, tally: Arc::default() }
    }

    /// Leaves a record.
    pub(super) fn push(&self, draft: Draft) {
        let kind = draft.kind;
        if let Err(fault) = self.journal.leave(draft) {
            tracing::error!(kind, %fault, "a record could not be written");
        }
    }

    /// Leaves a record of this event.
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
            let draft = Draft { personal, ..Draft::new(records::ACCESS_REFUSED, now.ms(), body) };
            self.push_or_count(draft, now, refused.reason, "staff");
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
            self.push_or_count(
                Draft::new(records::CHANGE_REFUSED, now.ms(), body),
                now,
                refused.reason,
                network,
            );
        }
    }

    /// Leaves the record of a refusal; where the ledger does not take it, it is counted.
    fn push_or_count(&self, draft: Draft, now: Timestamp, reason: &str, network: &str) {
        let kind = draft.kind;
        let (tally, reason, network) = (Arc::clone(&self.tally), reason.to_owned(), network.to_owned());
        let lost = move || lock(&tally).count(now, &reason, &network, 1);
        if let Err(fault) = self.journal.leave_or(draft, lost) {
            tracing::error!(kind, %fault, "a record could not be written");
        }
    }

    /// Whether a refusal is recorded by itself; otherwise it is counted here.
    fn one_by_one(&self, now: Timestamp, reason: &str, network: &str) -> bool {
        let mut tally = lock(&self.tally);
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
        lock(&self.tally).count(now, reason, network, 1);
    }

    /// Writes the counts down when it is time, or at once. Counts that the ledger does not take are counted on.
    pub(super) fn flush_counts(&self, now: Timestamp, at_once: bool, clock_moved: bool) {
        let taken = {
            let mut tally = lock(&self.tally);
            match tally.since {
                Some(since) if at_once || now.ms_since(since) >= COUNTS_EVERY_MS => {
                    tally.since = None;
                    Some((since, std::mem::take(&mut tally.counts)))
                }
                Some(_) | None => None,
            }
        };
        let Some((since, taken)) = taken else { return };
        let counts = taken
            .iter()
            .map(|((reason, network), times)| records::Count {
                reason: reason.clone(),
                network: network.clone(),
                times: *times,
            })
            .collect();
        let Ok(body) = Body::of(&records::Refusals { since, counts, clock_moved }) else { return };
        let tally = Arc::clone(&self.tally);
        let lost = move || {
            let mut tally = lock(&tally);
            for ((reason, network), times) in taken {
                tally.count(since, &reason, &network, times);
            }
        };
        if let Err(fault) = self.journal.leave_or(Draft::new(records::REFUSALS, now.ms(), body), lost) {
            tracing::error!(%fault, "counts of refusals could not be written");
        }
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tally {
    fn count(&mut self, since: Timestamp, reason: &str, network: &str, times: u64) {
        self.since = Some(self.since.map_or(since, |earlier| earlier.min(since)));
        let known = (reason.to_owned(), network.to_owned());
        if self.counts.len() >= MOST_COUNTS && !self.counts.contains_key(&known) {
            *self.counts.entry((reason.to_owned(), "elsewhere".to_owned())).or_default() += times;
        } else {
            *self.counts.entry(known).or_default() += times;
        }
    }
}
