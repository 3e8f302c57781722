//! The embedded store: one file, one writing thread with group commit, one reading thread, nothing on the runtime.
//!
//! A file belongs to one process. It is made by [`Embedded::init`] or [`Embedded::rebuild`] and by nothing else; opening
//! what is missing, empty, damaged, foreign or in use fails and leaves it as it was. Change ids and the change feed are
//! kept for a week and for a hundred thousand changes, whichever is longer ([`Retention`]).
//!
//! Never here: a clock, a rule, what is cached in front of it ([`super::cells`]).

mod file;
mod medium;
mod queue;
mod reading;
mod tables;
mod writer;

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    thread,
};

use redb::{Database, ReadTransaction, ReadableDatabase};
use tokio::sync::{oneshot, watch};

use crate::model::{ChangeId, Key, Kind, Stored, TenantId, Timestamp};

use self::{
    queue::{Full, Queue},
    tables::{Label, Trouble},
    writer::Job,
};
use super::{
    Answer, Bound, Commit, CommitFault, Committed, Counted, Entry, Found, Gathered, Leases, Mark, PAGE_MOST,
    Part, Store, StoreFault, codec,
};

pub use file::{Hints, OpenFault};
pub use medium::{Disk, FileDisk};

/// How many commits may wait for the writer.
const WRITES: usize = 1024;
/// How many look-ups may wait for the reader.
const READS: usize = 4096;

/// How long change ids and the change feed are kept: until both are exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// At least so many changes.
    pub changes: u64,
    /// And at least so long, in milliseconds between the instants that came in with the commits.
    pub ms: i64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { changes: 100_000, ms: 7 * 24 * 60 * 60 * 1000 }
    }
}

/// A look-up: what the reading thread does with a transaction, or without one.
type Reading = Box<dyn FnOnce(Result<ReadTransaction, StoreFault>) -> bool + Send>;

struct Shared {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    label: Label,
    retention: Retention,
    /// Only the writer replaces it; `None` while it is opened again, and in the end.
    database: RwLock<Option<Database>>,
    writes: Queue<Job>,
    reads: Queue<Reading>,
    newest: watch::Sender<u64>,
    health: watch::Sender<Option<StoreFault>>,
    /// How many threads still run.
    running: watch::Sender<usize>,
}

impl Shared {
    fn database(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, new: Option<Database>) {
        let old = {
            let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *slot, new)
        };
        // Closing a database that failed may fail again, or panic; it is gone either way.
        let _closed = catch_unwind(AssertUnwindSafe(|| drop(old)));
    }

    fn begin_read(&self) -> Result<ReadTransaction, StoreFault> {
        match self.database().as_ref() {
            Some(database) => database.begin_read().map_err(|e| Trouble::from(e).fault()),
            None => Err(self.down()),
        }
    }

    fn down(&self) -> StoreFault {
        let fault = self.health.borrow().clone();
        fault.unwrap_or(StoreFault::Unavailable { detail: "its file is being opened again".to_owned() })
    }
}

/// A store in one file.
pub struct Embedded {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Makes a new, empty store where there is nothing yet, and leaves it closed. Blocks.
    pub fn init(path: &Path) -> Result<Mark, OpenFault> {
        file::init(path)
    }

    /// Makes a store from documents taken from ledgers or shadows, where there is nothing yet, and leaves it closed:
    /// several copies of one key are joined, epoch and versions are raised, the changes that the documents remember
    /// count as committed. Blocks.
    pub fn rebuild(
        path: &Path,
        documents: impl Iterator<Item = (Key, Stored)>,
        hints: Hints,
    ) -> Result<Mark, OpenFault> {
        file::rebuild(path, documents, hints)
    }

    /// Joins documents from a ledger into a store that is there and closed, in one step: what is newer on either side
    /// holds, of two histories the narrower one. What was joined in gets a new epoch, its changes count as committed, and
    /// places in the feed go on above the newest that anybody saw. Blocks.
    pub fn heal(
        path: &Path,
        documents: impl Iterator<Item = (Key, Stored)>,
        hints: Hints,
    ) -> Result<Mark, OpenFault> {
        file::heal(&FileDisk(path.to_owned()), path, documents, hints)
    }

    /// Opens a store. Reads all of it, to see that it is whole; blocks meanwhile.
    pub fn open(path: &Path) -> Result<Self, OpenFault> {
        Self::open_on(Arc::new(FileDisk(path.to_owned())), path, Retention::default())
    }

    /// Opens a store on a disk of the caller's, which `path` only names.
    pub fn open_on(disk: Arc<dyn Disk>, path: &Path, retention: Retention) -> Result<Self, OpenFault> {
        let (database, label, position) = file::open(&*disk, path)?;
        let shared = Arc::new(Shared {
            disk,
            path: path.to_owned(),
            label,
            retention,
            database: RwLock::new(Some(database)),
            writes: Queue::new(WRITES),
            reads: Queue::new(READS),
            newest: watch::Sender::new(position),
            health: watch::Sender::new(None),
            running: watch::Sender::new(2),
        });
        let store = Self { shared: Arc::clone(&shared) };
        store.spawn("postern-store-write", writer::run)?;
        store.spawn("postern-store-read", read_on)?;
        Ok(store)
    }

    fn spawn(&self, name: &str, work: fn(&Shared)) -> Result<(), OpenFault> {
        let shared = Arc::clone(&self.shared);
        let run = move || {
            let _ended = catch_unwind(AssertUnwindSafe(|| work(&shared)));
            shared.running.send_modify(|running| *running = running.saturating_sub(1));
        };
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
        spawned
            .map(drop)
            .map_err(|source: io::Error| OpenFault::Io { path: self.shared.path.clone(), source })
    }

    /// Whether the store works: `None`, or what keeps it from working, as it changes.
    pub fn health(&self) -> watch::Receiver<Option<StoreFault>> {
        self.shared.health.subscribe()
    }

    /// Takes nothing more, waits for what is queued, and closes the file.
    pub async fn close(&self) {
        self.shared.writes.close();
        self.shared.reads.close();
        let mut running = self.shared.running.subscribe();
        // The sender lives as long as `self`, so the wait ends only when the threads do.
        let _ended = running.wait_for(|running| *running == 0).await;
    }

    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, Trouble> + Send + 'static,
    ) -> Answer<'_, Result<T, StoreFault>> {
        let (answer, answered) = oneshot::channel();
        let job: Reading = Box::new(move |read| {
            let result = read.and_then(|read| work(&read).map_err(Trouble::fault));
            let broken = matches!(&result, Err(StoreFault::Unavailable { .. } | StoreFault::Damaged { .. }));
            // Whoever gave up waiting is not told.
            drop(answer.send(result));
            broken
        });
        let pushed = self.shared.reads.push(job);
        Box::pin(async move {
            pushed.map_err(refused)?;
            answered.await.unwrap_or_else(|_| Err(unanswered()))
        })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.writes.close();
        self.shared.reads.close();
    }
}

fn refused(full: Full) -> StoreFault {
    match full {
        Full::Busy => StoreFault::Busy,
        Full::Closed => StoreFault::Closed,
    }
}

fn unanswered() -> StoreFault {
    StoreFault::Unavailable { detail: "it failed inside".to_owned() }
}

fn read_on(shared: &Shared) {
    while let Some(job) = shared.reads.take() {
        let broken = catch_unwind(AssertUnwindSafe(|| job(shared.begin_read()))).unwrap_or(true);
        if broken && shared.health.borrow().is_none() {
            // Where the queue is full, the writer is about to see for itself.
            let _full = shared.writes.push(Job::Probe);
        }
    }
}

impl Store for Embedded {
    fn parts(&self) -> u16 {
        1
    }

    fn part_of(&self, _key: &Key) -> Part {
        Part::FIRST
    }

    fn load<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<Vec<Option<Found>>, StoreFault>> {
        let keys = keys.to_vec();
        self.read(move |read| reading::load(read, &keys))
    }

    fn commit(&self, commit: Commit) -> Answer<'_, Result<Committed, CommitFault>> {
        let (answer, answered) = oneshot::channel();
        let pushed = match self.shared.health.borrow().clone() {
            Some(fault) => Err(fault),
            None => self.shared.writes.push(Job::Commit(commit, answer)).map_err(refused),
        };
        Box::pin(async move {
            pushed.map_err(CommitFault::Unavailable)?;
            answered.await.unwrap_or_else(|_| Err(CommitFault::Ambiguous(unanswered())))
        })
    }

    fn asked<'a>(
        &'a self,
        _part: Part,
        change: &'a ChangeId,
    ) -> Answer<'a, Result<Option<Committed>, StoreFault>> {
        let (answer, answered) = oneshot::channel();
        let pushed = match self.shared.health.borrow().clone() {
            Some(fault) => Err(fault),
            None => self.shared.writes.push(Job::Asked(change.clone(), answer)).map_err(refused),
        };
        Box::pin(async move {
            pushed?;
            let place = answered.await.unwrap_or_else(|_| Err(unanswered()))?;
            Ok(place.map(|place| tables::made(place, true)))
        })
    }

    fn changes_after(
        &self,
        _part: Part,
        position: u64,
        limit: usize,
    ) -> Answer<'_, Result<Vec<Entry>, StoreFault>> {
        let limit = limit.min(PAGE_MOST);
        self.read(move |read| reading::changes_after(read, position, limit))
    }

    fn newest(&self, _part: Part) -> watch::Receiver<u64> {
        self.shared.newest.subscribe()
    }

    fn list<'a>(
        &'a self,
        tenant: &'a TenantId,
        kind: Kind,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<(Key, Found)>, StoreFault>> {
        let (prefix, limit) = (codec::tenant_prefix(tenant, kind), limit.min(PAGE_MOST));
        let after = after.map(codec::key);
        self.read(move |read| reading::list(read, &prefix, after.as_deref(), limit))
    }

    fn list_tenants<'a>(
        &'a self,
        after: Option<&'a TenantId>,
        limit: usize,
    ) -> Answer<'a, Gathered<(TenantId, Found)>> {
        let limit = limit.min(PAGE_MOST);
        let after = after.map(|tenant| codec::key(&Key::Tenant(tenant.clone())));
        let rows = self.read(move |read| {
            let rows = reading::list(read, &codec::kind_prefix(Kind::Tenant), after.as_deref(), limit)?;
            Ok(rows.into_iter().filter_map(|(key, found)| Some((key.tenant()?.clone(), found))).collect())
        });
        Box::pin(async { Gathered::of_one(rows.await) })
    }

    fn list_grantors<'a>(
        &'a self,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Gathered<(Key, Found)>> {
        let (after, limit) = (after.map(codec::key), limit.min(PAGE_MOST));
        let prefix = codec::kind_prefix(Kind::Grantor);
        let rows = self.read(move |read| reading::list(read, &prefix, after.as_deref(), limit));
        Box::pin(async { Gathered::of_one(rows.await) })
    }

    fn list_stops<'a>(
        &'a self,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<(Key, Found)>, StoreFault>> {
        let (after, limit) = (after.map(codec::key), limit.min(PAGE_MOST));
        self.read(move |read| reading::list(read, &codec::stops_prefix(), after.as_deref(), limit))
    }

    fn due<'a>(
        &'a self,
        until: Timestamp,
        after: Option<&'a (Timestamp, Key)>,
        limit: usize,
    ) -> Answer<'a, Gathered<(Timestamp, Key)>> {
        let (after, limit) = (after.cloned(), limit.min(PAGE_MOST));
        let rows = self.read(move |read| reading::due(read, until, after.as_ref(), limit));
        Box::pin(async { Gathered::of_one(rows.await) })
    }

    fn mark(&self, _part: Part) -> Answer<'_, Result<Mark, StoreFault>> {
        self.read(|read| match reading::label(read)? {
            reading::Labelled::As(label, position) => Ok(label.mark(position)),
            reading::Labelled::Not | reading::Labelled::Other(_) => {
                Err(Trouble::Damaged("its mark is gone".to_owned()))
            }
        })
    }

    fn leases(&self) -> Arc<Leases> {
        Leases::always()
    }

    fn confirmed<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<Vec<Option<Found>>, StoreFault>> {
        self.load(keys)
    }

    fn count<'a>(&'a self, _bound: Bound<'a>) -> Answer<'a, Result<Counted, StoreFault>> {
        Box::pin(async { Ok(Counted::Alone) })
    }
}
