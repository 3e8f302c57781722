//! A store that fails when it is told to.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use postern::{
    model::{ChangeId, Key, Kind, TenantId, Timestamp},
    state::{
        Answer, Bound, Commit, CommitFault, Committed, Counted, Embedded, Entry, Found, Gathered, Leases,
        Mark, Part, Store, StoreFault, Unreadable,
    },
};
use tokio::sync::watch;

pub(crate) struct Faulty {
    real: Embedded,
    /// Commits are refused.
    pub(crate) no_commits: AtomicBool,
    /// Commits are made, and nobody hears whether.
    pub(crate) no_answers: AtomicBool,
    /// It knows no change by its id, as one that was healed.
    pub(crate) no_ids: AtomicBool,
    /// Somebody else always comes first.
    pub(crate) conflicts: AtomicBool,
    /// Nothing is read.
    pub(crate) no_reads: AtomicBool,
    /// Commits hang until this lets them through.
    stalls: tokio::sync::watch::Sender<bool>,
    /// These documents cannot be read.
    pub(crate) damaged: Mutex<BTreeSet<Key>>,
}

fn down() -> StoreFault {
    StoreFault::Unavailable { detail: "the test says so".to_owned() }
}

impl Faulty {
    pub(crate) fn new(real: Embedded) -> Faulty {
        Faulty {
            real,
            no_commits: AtomicBool::new(false),
            no_answers: AtomicBool::new(false),
            no_ids: AtomicBool::new(false),
            conflicts: AtomicBool::new(false),
            no_reads: AtomicBool::new(false),
            stalls: tokio::sync::watch::Sender::new(false),
            damaged: Mutex::default(),
        }
    }

    pub(crate) fn stall(&self, is: bool) {
        self.stalls.send_replace(is);
    }

    fn found(&self, key: &Key, found: Found) -> Found {
        if self.damaged.lock().unwrap().contains(key) {
            return Err(Unreadable::Damaged { key: key.clone(), detail: "the test says so".to_owned() });
        }
        found
    }

    fn readable(&self) -> Result<(), StoreFault> {
        if self.no_reads.load(Ordering::SeqCst) { Err(down()) } else { Ok(()) }
    }
}

impl Store for Faulty {
    fn parts(&self) -> u16 {
        self.real.parts()
    }

    fn part_of(&self, key: &Key) -> Part {
        self.real.part_of(key)
    }

    fn load<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<Vec<Option<Found>>, StoreFault>> {
        Box::pin(async move {
            self.readable()?;
            let found = self.real.load(keys).await?;
            Ok(keys.iter().zip(found).map(|(key, found)| found.map(|found| self.found(key, found))).collect())
        })
    }

    fn commit(&self, commit: Commit) -> Answer<'_, Result<Committed, CommitFault>> {
        if self.no_commits.load(Ordering::SeqCst) {
            return Box::pin(async { Err(CommitFault::Unavailable(down())) });
        }
        if self.conflicts.load(Ordering::SeqCst) {
            return Box::pin(async move {
                Err(CommitFault::Conflict(commit.read.into_iter().map(|(key, _)| key).collect()))
            });
        }
        let mut stalls = self.stalls.subscribe();
        Box::pin(async move {
            drop(stalls.wait_for(|stalls| !stalls).await);
            let made = self.real.commit(commit).await;
            if made.is_ok() && self.no_answers.load(Ordering::SeqCst) {
                return Err(CommitFault::Ambiguous(down()));
            }
            made
        })
    }

    fn asked<'a>(
        &'a self,
        part: Part,
        change: &'a ChangeId,
    ) -> Answer<'a, Result<Option<Committed>, StoreFault>> {
        if self.no_answers.load(Ordering::SeqCst) {
            return Box::pin(async { Err(down()) });
        }
        if self.no_ids.load(Ordering::SeqCst) {
            return Box::pin(async { Ok(None) });
        }
        self.real.asked(part, change)
    }

    fn changes_after(
        &self,
        part: Part,
        position: u64,
        limit: usize,
    ) -> Answer<'_, Result<Vec<Entry>, StoreFault>> {
        self.real.changes_after(part, position, limit)
    }

    fn newest(&self, part: Part) -> watch::Receiver<u64> {
        self.real.newest(part)
    }

    fn list<'a>(
        &'a self,
        tenant: &'a TenantId,
        kind: Kind,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<(Key, Found)>, StoreFault>> {
        Box::pin(async move {
            self.readable()?;
            let rows = self.real.list(tenant, kind, after, limit).await?;
            Ok(rows.into_iter().map(|(key, found)| (key.clone(), self.found(&key, found))).collect())
        })
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
        Box::pin(async move {
            let read = async {
                self.readable()?;
                let rows = self.real.list_grantors(after, limit).await.whole()?;
                Ok(rows.into_iter().map(|(key, found)| (key.clone(), self.found(&key, found))).collect())
            };
            Gathered::of_one(read.await)
        })
    }

    fn list_stops<'a>(
        &'a self,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<(Key, Found)>, StoreFault>> {
        Box::pin(async move {
            self.readable()?;
            let rows = self.real.list_stops(after, limit).await?;
            Ok(rows.into_iter().map(|(key, found)| (key.clone(), self.found(&key, found))).collect())
        })
    }

    fn due<'a>(
        &'a self,
        until: Timestamp,
        after: Option<&'a (Timestamp, Key)>,
        limit: usize,
    ) -> Answer<'a, Gathered<(Timestamp, Key)>> {
        self.real.due(until, after, limit)
    }

    fn mark(&self, part: Part) -> Answer<'_, Result<Mark, StoreFault>> {
        self.real.mark(part)
    }

    fn leases(&self) -> Arc<Leases> {
        self.real.leases()
    }

    fn confirmed<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<Vec<Option<Found>>, StoreFault>> {
        self.load(keys)
    }

    fn count<'a>(&'a self, bound: Bound<'a>) -> Answer<'a, Result<Counted, StoreFault>> {
        self.real.count(bound)
    }
}
