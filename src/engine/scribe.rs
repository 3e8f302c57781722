//! Records that nobody waits for: outcomes, refusals, counts. Refusals are bounded here (rule 17): past a rate they are
//! counts. Never here: the writing itself, and trying again; both are the journal's.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
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
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    since: Option<Timestamp>,
    counts: BTreeMap<(String, String), u64>,
    recent: VecDeque<Timestamp>,
}

impl Scribe {
    pub(super) fn new(journal: Arc<Journal>) -> Scribe {
        Scribe { journal, tally: Mutex::default() }
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
            SubjectKind::Service => "services",
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
