//! The ledgers of all gateways in one stream: each event names its log, its `id` the places of all of them, and an event `ledgers` says
//! which are followed and which are missing, whenever that changes.
//!
//! Between ledgers events come as they are heard of. Never here: asking ([`crate::fleet`]), who may read.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    audit::own::{Filters, Recorded},
    control::{
        gather::{Item, RetiredView},
        places::Places,
        seal::Seal,
    },
    fleet::{Asked, Fleet, Follower, Mark, News},
};

/// Records of one line of a peer's, at most.
const PIECE: usize = 1_000;

/// Whether a gateway is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// It is asked for the first time.
    Asked,
    /// It is, with this log.
    There(String),
    /// It does not answer.
    Missing,
}

#[derive(Serialize)]
struct Log<'a> {
    log: &'a str,
    gateway: &'a str,
}

#[derive(Serialize)]
struct Ledgers<'a> {
    ledgers: Vec<Log<'a>>,
    missing: Vec<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    retired: &'a [RetiredView],
}

/// See the module's header.
pub(super) struct Everywhere {
    seal: Arc<Seal>,
    own: Mark,
    log: String,
    gateway: String,
    filters: Filters,
    follower: Follower,
    places: Places,
    standings: BTreeMap<String, Standing>,
    fleet: Arc<Fleet>,
    /// Who was followed, and who was retired, when it was told last.
    told: Option<(BTreeMap<String, Standing>, Vec<RetiredView>)>,
    /// Heard, and not shown yet.
    waiting: Option<News>,
}

impl Everywhere {
    pub(super) fn new(
        fleet: Arc<Fleet>,
        seal: Arc<Seal>,
        places: Places,
        filters: Filters,
        log: String,
    ) -> Everywhere {
        let asked =
            Asked { filters: filters.clone(), begin: places.begin, places: places.of.clone(), limit: PIECE };
        Everywhere {
            seal,
            own: Mark::of(&log),
            log,
            gateway: fleet.gateway().to_owned(),
            filters,
            follower: Follower::new(Arc::clone(&fleet), asked),
            fleet,
            places,
            standings: BTreeMap::new(),
            told: None,
            waiting: None,
        }
    }

    /// Waits until something is heard, for so long at most.
    pub(super) async fn wait(&mut self, time: Duration) {
        if self.waiting.is_none() {
            self.waiting = tokio::time::timeout(time, self.follower.next()).await.ok();
        }
    }

    /// What is to be shown of what was heard; `None`: nothing.
    pub(super) fn heard(&mut self) -> Option<String> {
        let others = self.follower.look_around(&self.places.of);
        self.standings.retain(|gateway, _| others.contains(gateway));
        for gateway in others {
            self.standings.entry(gateway).or_insert(Standing::Asked);
        }
        let mut text = String::new();
        if let Some(news) = self.waiting.take().or_else(|| self.follower.heard()) {
            self.take(&mut text, news);
        }
        self.tell(&mut text);
        (!text.is_empty()).then_some(text)
    }

    fn take(&mut self, text: &mut String, news: News) {
        match news {
            News::There { gateway, log } => self.stands(gateway, Standing::There(log)),
            News::Lost { gateway } => self.stands(gateway, Standing::Missing),
            News::More(ledger) => {
                let mark = Mark::of(&ledger.log);
                for (_, item) in &ledger.items {
                    // What was shown is not shown again, whoever is asked.
                    if self.places.of.get(&mark).is_none_or(|next| item.seq >= *next) {
                        self.places.of.insert(mark, item.seq.saturating_add(1));
                        self.write(text, &ledger.log, item);
                    }
                }
                let next = self.places.of.entry(mark).or_default();
                *next = ledger.next.max(*next);
            }
        }
    }

    fn stands(&mut self, gateway: String, standing: Standing) {
        // One that was retired meanwhile is none of them.
        if let Some(known) = self.standings.get_mut(&gateway) {
            *known = standing;
        }
    }

    /// Says who is followed, where that is known of all and is not what was said last.
    fn tell(&mut self, text: &mut String) {
        let open = self.standings.values().any(|standing| *standing == Standing::Asked);
        let now = (self.standings.clone(), RetiredView::all(&self.fleet));
        if open || self.told.as_ref() == Some(&now) {
            return;
        }
        let mut told = Ledgers {
            ledgers: vec![Log { log: &self.log, gateway: &self.gateway }],
            missing: Vec::new(),
            retired: &now.1,
        };
        for (gateway, standing) in &self.standings {
            match standing {
                Standing::There(log) => told.ledgers.push(Log { log, gateway }),
                Standing::Missing => told.missing.push(gateway),
                Standing::Asked => {}
            }
        }
        let data = serde_json::to_string(&told).unwrap_or_default();
        // Writing into a string cannot fail.
        let _ = write!(text, "event: ledgers\ndata: {data}\n\n");
        self.told = Some(now);
    }

    /// A record of the own ledger.
    pub(super) fn write_own(&mut self, text: &mut String, item: &Recorded) {
        self.own_is_at(item.seq.saturating_add(1));
        let log = self.log.clone();
        self.write(text, &log, item);
    }

    /// The own ledger was read up to here.
    pub(super) fn own_is_at(&mut self, next: u64) {
        self.places.of.insert(self.own, next);
    }

    fn write(&self, text: &mut String, log: &str, item: &Recorded) {
        let data = serde_json::to_string(&Item::of(log, item)).unwrap_or_default();
        if let Some(id) = self.places.close(&self.seal, &self.filters.tenant) {
            let _ = writeln!(text, "id: {id}");
        }
        let _ = write!(text, "event: record\ndata: {data}\n\n");
    }
}
