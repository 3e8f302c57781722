//! A store that several gateways share, as one of them sees it: what others changed is told, and what is known is confirmed, when
//! the test says so. It has two parts: `acme` and what begins like it lies in one, all else in the other.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
};

use postern::{
    engine::Clock as _,
    model::{ChangeId, Key, Kind, TenantId, Timestamp},
    state::{
        Answer, Bound, Commit, CommitFault, Committed, Counted, Entry, Found, Gathered, Leases, Line, Mark,
        PAGE_MOST, Part, Store, StoreFault, Unreadable,
    },
};
use tokio::sync::watch;

use super::{Hand, faulty::Faulty};

pub(crate) const ACME: Part = Part(0);
pub(crate) const REST: Part = Part(1);
const PARTS: [Part; 2] = [ACME, REST];

pub(crate) struct Shared {
    real: Arc<Faulty>,
    clock: Arc<Hand>,
    pub(crate) leases: Arc<Leases>,
    newest: [watch::Sender<u64>; 2],
    /// The feed has forgotten all but the newest.
    pub(crate) forgets: AtomicBool,
    /// The feed leaves out what comes first.
    pub(crate) gap: AtomicBool,
    /// These documents cannot be read where the feed tells of them.
    pub(crate) unreadable: Mutex<BTreeSet<Key>>,
    pub(crate) epoch: AtomicU32,
    /// How many loads there were, and how many were to be confirmed.
    pub(crate) loads: AtomicUsize,
    pub(crate) confirmed: AtomicUsize,
    /// It is a primary that was left alone: it still reads, and no majority confirms anything.
    pub(crate) alone: AtomicBool,
    /// How many documents were loaded, and how often it was asked what has not ended.
    pub(crate) documents: AtomicUsize,
    pub(crate) dues: AtomicUsize,
    /// Loads wait behind this once they have read.
    pub(crate) held: watch::Sender<bool>,
    pub(crate) waiting: AtomicUsize,
}

impl Shared {
    pub(crate) fn of(real: Arc<Faulty>, clock: Arc<Hand>) -> Shared {
        Shared {
            real,
            clock,
            leases: Leases::of(2),
            newest: [watch::Sender::new(0), watch::Sender::new(0)],
            forgets: AtomicBool::new(false),
            gap: AtomicBool::new(false),
            unreadable: Mutex::default(),
            epoch: AtomicU32::new(1),
            loads: AtomicUsize::new(0),
            confirmed: AtomicUsize::new(0),
            alone: AtomicBool::new(false),
            documents: AtomicUsize::new(0),
            dues: AtomicUsize::new(0),
            held: watch::Sender::new(false),
            waiting: AtomicUsize::new(0),
        }
    }

    fn line(number: u64) -> Line {
        if number == 0 { Line::NONE } else { Line::parse(format!("{number:020x}").as_bytes()).unwrap() }
    }

    fn newest_of(&self, part: Part) -> &watch::Sender<u64> {
        &self.newest[usize::from(part.0)]
    }

    /// All changes of a part.
    async fn all(&self, part: Part) -> Result<Vec<Entry>, StoreFault> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let page = self.real.changes_after(Part::FIRST, after, PAGE_MOST).await?;
            let Some(last) = page.last() else { break };
            after = last.place.number;
            all.extend(page.into_iter().filter(|entry| self.part_of(&entry.documents[0].0) == part));
        }
        for (number, entry) in (1..).zip(&mut all) {
            entry.place = part.at(number);
            entry.line = Shared::line(number);
        }
        Ok(all)
    }

    /// Tells this gateway that there is something new.
    pub(crate) async fn tell(&self) {
        for part in PARTS {
            let head = self.all(part).await.unwrap().len() as u64;
            self.newest_of(part).send_replace(head);
        }
    }

    /// A beat of one part, confirmed as of now. What it told of is in force only when it was followed.
    pub(crate) async fn beat_of(&self, part: Part) {
        let (sent, head) = (self.clock.boot_ms(), self.all(part).await.unwrap().len() as u64);
        self.leases.renew_up_to(part, sent, head, Shared::line(head));
    }

    /// Tells everything, and is heard of as of now.
    pub(crate) async fn heard(&self) {
        self.tell().await;
        for part in PARTS {
            self.beat_of(part).await;
            let (sent, head) = (self.clock.boot_ms(), *self.newest_of(part).borrow());
            let is = || self.leases.known(part) == Some(sent) && self.leases.followed(part).0 >= head;
            super::until("the follower is up to date", is).await;
        }
    }

    fn down() -> StoreFault {
        StoreFault::Unavailable { detail: "the test says so".to_owned() }
    }

    fn in_company(&self) -> Result<(), StoreFault> {
        if self.alone.load(SeqCst) { Err(Shared::down()) } else { Ok(()) }
    }
}

impl Store for Shared {
    fn parts(&self) -> u16 {
        2
    }

    fn part_of(&self, key: &Key) -> Part {
        let acme = key.tenant().is_some_and(|tenant| tenant.as_str().starts_with("acme"));
        if acme { ACME } else { REST }
    }

    fn load<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<Vec<Option<Found>>, StoreFault>> {
        Box::pin(async move {
            self.loads.fetch_add(1, SeqCst);
            self.documents.fetch_add(keys.len(), SeqCst);
            let found = self.real.load(keys).await;
            let mut held = self.held.subscribe();
            if *held.borrow() {
                self.waiting.fetch_add(1, SeqCst);
                drop(held.wait_for(|held| !held).await);
            }
            found
        })
    }

    fn commit(&self, commit: Commit) -> Answer<'_, Result<Committed, CommitFault>> {
        Box::pin(async move {
            self.in_company().map_err(CommitFault::Ambiguous)?;
            let (part, change) = (self.part_of(&commit.write[0].0), commit.change.clone());
            let committed = self.real.commit(commit).await?;
            let all = self.all(part).await.map_err(CommitFault::Ambiguous)?;
            let told = all.iter().find(|entry| entry.change == change).unwrap();
            Ok(Committed { place: told.place, line: told.line, ..committed })
        })
    }

    fn asked<'a>(
        &'a self,
        part: Part,
        change: &'a ChangeId,
    ) -> Answer<'a, Result<Option<Committed>, StoreFault>> {
        Box::pin(async move {
            self.in_company()?;
            self.real.asked(Part::FIRST, change).await?;
            let all = self.all(part).await?;
            let told = all.iter().find(|entry| entry.change == *change);
            Ok(told.map(|told| Committed { place: told.place, line: told.line, repeated: true }))
        })
    }

    fn changes_after(
        &self,
        part: Part,
        position: u64,
        limit: usize,
    ) -> Answer<'_, Result<Vec<Entry>, StoreFault>> {
        Box::pin(async move {
            // What was not told is not there yet.
            let told = *self.newest_of(part).borrow();
            let all = self.all(part).await?;
            let new =
                all.into_iter().filter(|entry| entry.place.number > position && entry.place.number <= told);
            let mut new: Vec<Entry> = new.take(limit).collect();
            if !new.is_empty() && self.forgets.swap(false, SeqCst) {
                return Err(StoreFault::FeedForgotten { asked: position, oldest: told });
            }
            if !new.is_empty() && self.gap.swap(false, SeqCst) {
                new.remove(0);
            }
            let unreadable = self.unreadable.lock().unwrap();
            for (key, found) in new.iter_mut().flat_map(|entry| &mut entry.documents) {
                if unreadable.contains(key) {
                    *found = Err(Unreadable::Newer { key: key.clone(), found: 99, known: 1 });
                }
            }
            Ok(new)
        })
    }

    fn newest(&self, part: Part) -> watch::Receiver<u64> {
        self.newest_of(part).subscribe()
    }

    fn list<'a>(
        &'a self,
        tenant: &'a TenantId,
        kind: Kind,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<(Key, Found)>, StoreFault>> {
        self.real.list(tenant, kind, after, limit)
    }

    fn list_tenants<'a>(
        &'a self,
        after: Option<&'a TenantId>,
        limit: usize,
    ) -> Answer<'a, Gathered<(TenantId, Found)>> {
        self.real.list_tenants(after, limit)
    }

    fn list_grantors<'a>(
        &'a self,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Gathered<(Key, Found)>> {
        self.real.list_grantors(after, limit)
    }

    fn list_stops<'a>(
        &'a self,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<(Key, Found)>, StoreFault>> {
        self.real.list_stops(after, limit)
    }

    fn due<'a>(
        &'a self,
        until: Timestamp,
        after: Option<&'a (Timestamp, Key)>,
        limit: usize,
    ) -> Answer<'a, Gathered<(Timestamp, Key)>> {
        self.dues.fetch_add(1, SeqCst);
        self.real.due(until, after, limit)
    }

    fn mark(&self, part: Part) -> Answer<'_, Result<Mark, StoreFault>> {
        Box::pin(async move {
            let mark = self.real.mark(Part::FIRST).await?;
            let position = self.all(part).await?.len() as u64;
            Ok(Mark { position, line: Shared::line(position), epoch: self.epoch.load(SeqCst), ..mark })
        })
    }

    fn leases(&self) -> Arc<Leases> {
        Arc::clone(&self.leases)
    }

    fn confirmed<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<Vec<Option<Found>>, StoreFault>> {
        Box::pin(async move {
            self.confirmed.fetch_add(1, SeqCst);
            self.in_company()?;
            if self.real.no_reads.load(SeqCst) { Err(Shared::down()) } else { self.real.load(keys).await }
        })
    }

    fn count<'a>(&'a self, bound: Bound<'a>) -> Answer<'a, Result<Counted, StoreFault>> {
        self.real.count(bound)
    }
}
