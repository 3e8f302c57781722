//! What is known: the store's contract, the embedded store, and the cells in which a gateway keeps what it knows.
//!
//! Lives here: [`Store`], which every store fulfils alike (one contract suite runs on all of them); [`embedded`], one
//! file with one writer; [`redis`], a store that a fleet shares; [`lease`], as of when each part is known; [`cells`], the
//! in-process cache with its generation rule; [`bound`], what all who share a store count together; [`shadow`], what a gateway keeps of a store on its own disk, and
//! [`healing`], how a store that forgot is made whole from it.
//!
//! Never here: a rule about what a document means ([`crate::policy`], [`crate::lifecycle`]), the order of intent,
//! commit and outcome ([`crate::engine`]), a clock: the instant of a commit comes in with it.

pub mod bound;
pub mod cells;
mod checked;
mod codec;
pub mod embedded;
pub mod fault;
mod gathered;
pub mod healing;
pub mod lease;
pub mod redis;
mod server_fault;
pub mod shadow;

use std::{future::Future, pin::Pin, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use crate::model::{ChangeId, Key, Kind, Stored, TenantId, Timestamp, Version};

pub use bound::{Bound, Counted};
pub use cells::Cells;
pub use embedded::{Embedded, OpenFault};
pub use fault::{CommitFault, Refusal, ServerFault, StoreFault, Unreadable};
pub use gathered::Gathered;
pub use lease::{Age, Grounds, Leases, Line, Parts, Stretches, Suspicion};
pub use redis::RedisStore;
pub use shadow::Shadow;

/// The answer of a store, still to come. Boxed: the store is never on a member's path but for a miss.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A document that is there: readable, or damaged or newer than this build (never absent, never a default).
pub type Found = Result<Stored, Unreadable>;

/// A page of a listing or of the change feed never has more rows than this, whatever was asked for.
pub const PAGE_MOST: usize = 1000;

/// The largest document that a store takes, in bytes of its JSON form.
pub const DOCUMENT_MOST: usize = 1 << 20;

/// The most documents that one commit may read, and the most that it may write.
pub const COMMIT_MOST: usize = 1024;

/// A part of a store: all below one tenant lies in one part, and each part has a feed, an epoch and a mark of its own. The
/// embedded store has one part, one in Redis several (decision 0024).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Part(pub u16);

impl Part {
    /// The first one, and of an embedded store the only one.
    pub const FIRST: Part = Part(0);

    /// The place of a change of it.
    pub fn at(self, number: u64) -> Place {
        Place { part: self, number }
    }

    /// Whether it is the first one: records do not say so.
    pub fn is_first(&self) -> bool {
        *self == Part::FIRST
    }
}

/// The place of a change: in the feed of a part, one more than the change before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The part.
    pub part: Part,
    /// Which change of it, counted from 1.
    pub number: u64,
}

/// One change, to be made in one atomic step or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Names the change. A repeat with the same id changes nothing.
    pub change: ChangeId,
    /// When, by the clock of whoever commits; decides only how long the change id is kept.
    pub at: Timestamp,
    /// The version of every document that was looked at to decide on the change; [`Version::NONE`] for what was not
    /// there. What is written must be among them.
    pub read: Vec<(Key, Version)>,
    /// In which stretches of following the reading began ([`Leases::stretches`], asked before the first of it). Where one has ended since,
    /// the versions say nothing, and the change is a conflict. Of a store that nobody else changes there is but one.
    pub since: Stretches,
    /// The documents after the change, made by [`Stored::after`]; all of one part.
    pub write: Vec<(Key, Stored)>,
}

/// A change is in the store, durably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Its place.
    pub place: Place,
    /// The history up to and with it; [`Line::NONE`] where the store keeps none.
    pub line: Line,
    /// Whether it had been committed before; this time nothing changed.
    pub repeated: bool,
}

/// One change as the feed tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub place: Place,
    /// The history up to and with it; [`Line::NONE`] where the store keeps none.
    pub line: Line,
    /// Its id.
    pub change: ChangeId,
    /// The instant that came in with the commit.
    pub at: Timestamp,
    /// The documents after it, whole.
    pub documents: Vec<(Key, Found)>,
}

impl Entry {
    /// Those of its documents that this build can read.
    pub fn readable(&self) -> Vec<(Key, Stored)> {
        let readable = self.documents.iter();
        readable.filter_map(|(key, found)| Some((key.clone(), found.as_ref().ok()?.clone()))).collect()
    }
}

/// What tells one store from another, and from an emptied one; of one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Names the store for its whole life, given by `postern state init` or `rebuild`.
    pub id: Uuid,
    /// Raised by every healing.
    pub epoch: u32,
    /// The place of the newest change; 0 when there was none yet.
    pub position: u64,
    /// The history up to there; [`Line::NONE`] where there was no change yet or the store keeps none.
    pub line: Line,
    /// Whether it was rebuilt from ledgers.
    pub rebuilt: bool,
}

/// A store of documents. What every implementation promises, the contract suite in `tests/store` checks:
///
/// * A commit takes effect whole or not at all, and only while every document that was read still has the version
///   that was read. Of concurrent commits on one document exactly one wins for each version.
/// * An acknowledged commit is durable. A repeat by change id is recognised for at least a week and at least ten thousand
///   changes of its part.
/// * What a commit writes lies in one part; what it only reads may lie anywhere.
/// * The feed of a part tells all its changes in one order without gaps; a reader too far behind is told so.
/// * What cannot be read is a fault for that document. It is never absent and never a default.
/// * What all parts are asked for, a part that does not answer keeps from nobody: the others tell, and it is named.
pub trait Store: Send + Sync {
    /// How many parts it has. Never changes.
    fn parts(&self) -> u16;

    /// The part that a document lies in. Never changes.
    fn part_of(&self, key: &Key) -> Part;

    /// The documents of these keys, in this order, in one round trip and, within a part, as of one instant; `None` for what is not there.
    fn load<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<Vec<Option<Found>>, StoreFault>>;

    /// Makes a change durable and announces it.
    fn commit(&self, commit: Commit) -> Answer<'_, Result<Committed, CommitFault>>;

    /// Whether a change was committed in a part: what a repeat of it would be answered. Whatever was handed to [`Store::commit`] before is
    /// settled when this answers, also where that call was abandoned.
    fn asked<'a>(
        &'a self,
        part: Part,
        change: &'a ChangeId,
    ) -> Answer<'a, Result<Option<Committed>, StoreFault>>;

    /// The changes that follow a place in the feed of a part, oldest first, at most `limit`. There may be fewer than there are;
    /// none only where there is none.
    fn changes_after(
        &self,
        part: Part,
        position: u64,
        limit: usize,
    ) -> Answer<'_, Result<Vec<Entry>, StoreFault>>;

    /// The place of the newest change in a part, as it moves, raised before the commit is answered. Whoever waits for it is also woken, without
    /// its moving, where somebody says that there is a newer one, which need not be so; and need not be for what is in force here.
    fn newest(&self, part: Part) -> watch::Receiver<u64>;

    /// The documents of one kind below one tenant, by key, those after `after`, at most `limit`.
    fn list<'a>(
        &'a self,
        tenant: &'a TenantId,
        kind: Kind,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<(Key, Found)>, StoreFault>>;

    /// All tenants by id, those after `after`, at most `limit`; fewer also where a part is silent.
    fn list_tenants<'a>(
        &'a self,
        after: Option<&'a TenantId>,
        limit: usize,
    ) -> Answer<'a, Gathered<(TenantId, Found)>>;

    /// What was seen of people who gave grants ([`Kind::Grantor`]), of all tenants, by key, those after `after`, at most `limit`;
    /// fewer also where a part is silent.
    fn list_grantors<'a>(
        &'a self,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Gathered<(Key, Found)>>;

    /// The kill switches of the vendor's operators by key, those after `after`, at most `limit`.
    fn list_stops<'a>(
        &'a self,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<(Key, Found)>, StoreFault>>;

    /// What has not ended and whose own deadline is not after `until`: by deadline, then by key, those after `after`,
    /// at most `limit`; fewer only where the parts that answer have no more.
    fn due<'a>(
        &'a self,
        until: Timestamp,
        after: Option<&'a (Timestamp, Key)>,
        limit: usize,
    ) -> Answer<'a, Gathered<(Timestamp, Key)>>;

    /// What tells this part from that of another store.
    fn mark(&self, part: Part) -> Answer<'_, Result<Mark, StoreFault>>;

    /// As of when each part is known here. [`Leases::always`] of a store that nobody else changes.
    fn leases(&self) -> Arc<Leases>;

    /// The same as [`Store::load`], of a primary that a majority confirms while it is asked: for who wants to go by nothing
    /// that is older than the question.
    fn confirmed<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<Vec<Option<Found>>, StoreFault>>;

    /// Counts something with all who share the store. It is soon answered or a fault; after a fault nobody knows whether it counts.
    fn count<'a>(&'a self, bound: Bound<'a>) -> Answer<'a, Result<Counted, StoreFault>>;
}
