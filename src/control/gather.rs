//! A page of a tenant's record from all ledgers of a fleet: all gateways are asked at once, what they answer is merged by time, then
//! ledger, then place, and whoever did not answer is named.
//!
//! Nothing is sent before it is known that the caller may read it. Never here: who may ([`super::audit`]), whom and how to ask
//! ([`crate::fleet`]).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    audit::own::{Filters, Recorded},
    fleet::{Asked, Fleet, Gone, Ledger, Mark, PageFault, Peer},
    model::Timestamp,
};

use super::{
    Api,
    audit::{busy, unreadable},
    call::Query,
    places::Places,
    problem::Problem,
    reply::Reply,
};

/// Calls that ask the others at the same time: what their answers take in memory is bounded by it.
pub(super) const AT_ONCE: usize = 8;

/// A record and whose it is.
#[derive(Serialize)]
pub(super) struct Item<'a> {
    /// The log that it stands in.
    pub(super) log: &'a str,
    pub(super) seq: u64,
    pub(super) leaf: &'a str,
    pub(super) record: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) open: Option<&'a RawValue>,
}

impl<'a> Item<'a> {
    pub(super) fn of(log: &'a str, item: &'a Recorded) -> Item<'a> {
        let Recorded { seq, leaf, record, open } = item;
        Item { log, seq: *seq, leaf, record, open: open.as_deref() }
    }
}

#[derive(Serialize)]
struct Page<'a> {
    /// The log of the gateway that was asked.
    log: &'a str,
    items: Vec<Item<'a>>,
    ledgers: Vec<Told<'a>>,
    /// The gateways that did not answer: what their ledgers hold is not among the items.
    missing: Vec<String>,
    /// The gateways that were retired: what their ledgers hold is not among the items either, and was given over to whoever keeps them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    retired: Vec<RetiredView>,
    /// Where to go on in each ledger; it leads to what is recorded later too, and to what was missing.
    next: String,
    /// Whether everything up to now was looked at, in all ledgers.
    complete: bool,
}

/// A gateway that was retired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct RetiredView {
    gateway: String,
    at: Timestamp,
    /// Where its ledger is kept, where that was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    archive: Option<String>,
}

impl RetiredView {
    /// All that there are.
    pub(super) fn all(fleet: &Fleet) -> Vec<RetiredView> {
        let view = |Gone { name, at, archive }| RetiredView { gateway: name, at, archive };
        fleet.retired().into_iter().map(view).collect()
    }
}

/// How far one ledger was read.
#[derive(Serialize)]
struct Told<'a> {
    log: &'a str,
    gateway: &'a str,
    size: u64,
    complete: bool,
}

impl Api {
    pub(super) async fn gathered(
        &self,
        fleet: &Arc<Fleet>,
        query: &Query<'_>,
        filters: Filters,
    ) -> Result<Reply, Problem> {
        let limit = query.limit()?;
        let tenant = filters.tenant.clone();
        let mut places =
            query.maybe("after", |text| Places::open(&self.seal, &tenant, text))?.unwrap_or_default();
        let asked = Asked { filters, begin: places.begin, places: places.of.clone(), limit };
        let _turn = Arc::clone(&self.gathering).try_acquire_owned().map_err(|_| busy())?;
        let (mut ledgers, missing) = self.gather(fleet, asked).await?;
        let merged = merge(&mut ledgers, limit);
        for (ledger, next) in ledgers.iter().zip(merged.next) {
            places.of.insert(Mark::of(&ledger.log), next);
        }
        let sealed = places.close(&self.seal, &tenant).ok_or_else(|| {
            let detail = "the operating system gave no random bytes; ask for `?ledger=own`";
            Problem::new(500, "no_random", detail)
        })?;
        let log = |number: usize| ledgers.get(number).map_or("", |ledger| ledger.log.as_str());
        let told = |(ledger, complete): (&'_ Ledger, bool)| (ledger.size, complete);
        let ends: Vec<(u64, bool)> = ledgers.iter().zip(merged.complete).map(told).collect();
        let page = Page {
            log: self.engine.journal().origin(),
            items: merged.items.iter().map(|(number, item)| Item::of(log(*number), item)).collect(),
            complete: missing.is_empty() && ends.iter().all(|(_, complete)| *complete),
            ledgers: ledgers
                .iter()
                .zip(ends)
                .map(|(ledger, (size, complete))| Told {
                    log: &ledger.log,
                    gateway: &ledger.gateway,
                    size,
                    complete,
                })
                .collect(),
            missing,
            retired: RetiredView::all(fleet),
            next: sealed,
        };
        Ok(Reply::ok(&page))
    }

    /// What each ledger answers, its own the first, and the gateways that did not answer.
    async fn gather(&self, fleet: &Arc<Fleet>, asked: Asked) -> Result<(Vec<Ledger>, Vec<String>), Problem> {
        let asked = Arc::new(asked);
        let others = fleet.others();
        let began = tokio::time::Instant::now();
        let all = others.iter().cloned().map(|peer| (peer, Arc::clone(&asked))).collect();
        let (own, answers) =
            tokio::join!(self.own_page(fleet, Arc::clone(&asked)), fleet.pages(all, fleet.timeout()));
        let (mut ledgers, mut missing) = (vec![own?], BTreeSet::new());
        for (peer, answer) in answers {
            match answer {
                Ok(ledger) => ledgers.push(ledger),
                Err(_) => drop(missing.insert(peer.name)),
            }
        }
        // A session that began by the grant at one gateway may have gone on at another, which did not know whose it is.
        let learned: BTreeSet<String> = ledgers
            .iter()
            .filter_map(|ledger| ledger.of.as_ref())
            .flat_map(|of| of.sessions.clone())
            .collect();
        let knows = |ledger: &Ledger| ledger.of.as_ref().is_none_or(|of| of.sessions.len() == learned.len());
        if !ledgers.iter().all(knows) {
            let mut again = Asked::clone(&asked);
            if let Some(of) = &mut again.filters.of {
                of.sessions = learned.clone();
            }
            let again = Arc::new(again);
            let lacking: Vec<(Peer, Arc<Asked>)> = others
                .into_iter()
                .filter(|peer| ledgers.iter().any(|ledger| ledger.gateway == peer.name && !knows(ledger)))
                .map(|peer| (peer, Arc::clone(&again)))
                .collect();
            let left = fleet.timeout().saturating_sub(began.elapsed());
            let own_knows = ledgers.first().is_none_or(knows);
            let answers = fleet.pages(lacking, left).await;
            if !own_knows && let Some(first) = ledgers.first_mut() {
                *first = self.own_page(fleet, again).await?;
            }
            for (peer, answer) in answers {
                ledgers.retain(|ledger| ledger.gateway != peer.name);
                match answer {
                    Ok(ledger) => ledgers.push(ledger),
                    Err(_) => drop(missing.insert(peer.name)),
                }
            }
        }
        Ok((ledgers, missing.into_iter().collect()))
    }

    async fn own_page(&self, fleet: &Arc<Fleet>, asked: Arc<Asked>) -> Result<Ledger, Problem> {
        let turn = Arc::clone(&self.readers).try_acquire_owned().map_err(|_| busy())?;
        let fleet = Arc::clone(fleet);
        let read = tokio::task::spawn_blocking(move || {
            // Held by whoever reads, who goes on when nobody waits for the page any more.
            let _turn = turn;
            fleet.own_page(&asked)
        });
        match read.await {
            Ok(Ok(ledger)) => Ok(ledger),
            Ok(Err(PageFault::OtherLedger)) => {
                let detail = "it is behind the end of this gateway's ledger, so it is of another one: read the record anew";
                Err(Problem::query("after", detail))
            }
            Ok(Err(PageFault::Read(fault))) => {
                tracing::error!(%fault, "the ledger cannot be read");
                Err(unreadable())
            }
            Err(_) => Err(unreadable()),
        }
    }
}

/// What comes first of several ledgers.
struct Merged {
    /// Each with the number of its ledger.
    items: Vec<(usize, Recorded)>,
    /// The record to look at next, by number of the ledger.
    next: Vec<u64>,
    /// Whether all of a ledger up to its size was looked at, and is among the items.
    complete: Vec<bool>,
}

/// Takes the first items of all ledgers, by time, then ledger, then place: so many at most, and none behind which a ledger that was not
/// read to its end may still have an earlier one. Within a ledger its own order stays, also where its clock was set back.
fn merge(ledgers: &mut [Ledger], limit: usize) -> Merged {
    let mut heads: Vec<VecDeque<(i64, Recorded)>> =
        ledgers.iter_mut().map(|ledger| std::mem::take(&mut ledger.items).into()).collect();
    let mut order: BTreeMap<(&str, usize), usize> = BTreeMap::new();
    for (number, ledger) in ledgers.iter().enumerate() {
        order.insert((ledger.log.as_str(), number), number);
    }
    let mut items = Vec::new();
    while items.len() < limit {
        let first = order
            .values()
            .filter_map(|number| Some((heads.get(*number)?.front()?.0, *number)))
            .min_by_key(|(at, _)| *at);
        let Some((at, number)) = first else { break };
        let may_come = ledgers.iter().zip(&heads).any(|(ledger, head)| {
            head.is_empty() && !ledger.complete && ledger.until.is_none_or(|until| until < at)
        });
        if may_come {
            break;
        }
        items.extend(heads.get_mut(number).and_then(VecDeque::pop_front).map(|(_, item)| (number, item)));
    }
    let ends = ledgers.iter().zip(&heads);
    let (next, complete) = ends
        .map(|(ledger, head)| match head.front() {
            // Up to there all was looked at.
            Some((_, item)) => (item.seq, false),
            None => (ledger.next, ledger.complete),
        })
        .unzip();
    Merged { items, next, complete }
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
