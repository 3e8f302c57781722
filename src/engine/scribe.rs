//! Records that nobody waits for: outcomes, refusals, counts. Refusals are bounded here (rule 17): past a rate they are
//! counts, by kind and by person, so that nobody hides what others try. Never here: the writing itself, and trying again; both are
//! the journal's.

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
    model::{SubjectKind, SubjectRef, Timestamp},
};

use super::records;

/// Refusals of verified callers of one kind that are recorded one by one, in a second; and of these, one person's.
const REFUSALS_A_SECOND: usize = 20;
const OF_ONE_A_SECOND: usize = 10;
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
    counts: BTreeMap<Counted, u64>,
    /// Those of the last second that were recorded: no more than the bound for each kind of caller.
    recent: VecDeque<Recent>,
}

/// What is counted together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Counted {
    reason: String,
    network: String,
    tenant: Option<String>,
}

struct Recent {
    at: Timestamp,
    network: &'static str,
    who: SubjectRef,
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
        let counted = Counted::of(refused.reason, "staff", refused.tenant);
        if !self.one_by_one(now, "staff", refused.subject) {
            return lock(&self.tally).count(now, counted, 1);
        }
        if let Ok(body) = Body::of(refused) {
            let draft = Draft { personal, ..Draft::new(records::ACCESS_REFUSED, now.ms(), body) };
            self.push_or_count(draft, now, counted);
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
        let counted = Counted::of(refused.reason, network, refused.tenant);
        if !self.one_by_one(now, network, refused.subject) {
            return lock(&self.tally).count(now, counted, 1);
        }
        if let Ok(body) = Body::of(refused) {
            self.push_or_count(Draft::new(records::CHANGE_REFUSED, now.ms(), body), now, counted);
        }
    }

    /// Leaves the record of a refusal; where the ledger does not take it, it is counted.
    fn push_or_count(&self, draft: Draft, now: Timestamp, counted: Counted) {
        let kind = draft.kind;
        let tally = Arc::clone(&self.tally);
        let lost = move || lock(&tally).count(now, counted, 1);
        if let Err(fault) = self.journal.leave_or(draft, lost) {
            tracing::error!(kind, %fault, "a record could not be written");
        }
    }

    /// Whether a refusal is recorded by itself.
    fn one_by_one(&self, now: Timestamp, network: &'static str, who: &SubjectRef) -> bool {
        let mut tally = lock(&self.tally);
        while tally.recent.front().is_some_and(|recent| now.ms_since(recent.at) >= 1000) {
            tally.recent.pop_front();
        }
        let alike = tally.recent.iter().filter(|recent| recent.network == network);
        let (of_all, of_one) =
            alike.fold((0, 0), |(all, one), recent| (all + 1, one + usize::from(recent.who == *who)));
        if of_all >= REFUSALS_A_SECOND || of_one >= OF_ONE_A_SECOND {
            return false;
        }
        tally.recent.push_back(Recent { at: now, network, who: who.clone() });
        true
    }

    /// Counts a refusal of somebody who is not verified.
    pub(super) fn count(&self, now: Timestamp, reason: &str, network: &str) {
        lock(&self.tally).count(now, Counted::of(reason, network, None), 1);
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
            .map(|(counted, times)| records::Count {
                reason: counted.reason.clone(),
                network: counted.network.clone(),
                tenant: counted.tenant.clone(),
                times: *times,
            })
            .collect();
        let Ok(body) = Body::of(&records::Refusals { since, counts, clock_moved }) else { return };
        let tally = Arc::clone(&self.tally);
        let lost = move || {
            let mut tally = lock(&tally);
            for (counted, times) in taken {
                tally.count(since, counted, times);
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

impl Counted {
    fn of(reason: &str, network: &str, tenant: Option<&str>) -> Counted {
        Counted { reason: reason.to_owned(), network: network.to_owned(), tenant: tenant.map(str::to_owned) }
    }
}

impl Tally {
    fn count(&mut self, since: Timestamp, counted: Counted, times: u64) {
        self.since = Some(self.since.map_or(since, |earlier| earlier.min(since)));
        let full = self.counts.len() >= MOST_COUNTS && !self.counts.contains_key(&counted);
        let counted = if full { Counted::of(&counted.reason, "elsewhere", None) } else { counted };
        *self.counts.entry(counted).or_default() += times;
    }
}
