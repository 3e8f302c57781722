//! The tables of the embedded store and what is done to them inside of one transaction.
//!
//! | table | from | to |
//! | --- | --- | --- |
//! | `documents` | key | document as JSON |
//! | `changes` | change id | its place in the feed |
//! | `feed` | place | the change with its documents, as JSON |
//! | `due` | deadline, key | nothing: an index |
//! | `meta` | `mark`, `position` | what tells this store from another; the newest place |
//!
//! Never here: look-ups (see [`super::reading`]), threads, files, when a transaction is made durable.

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    model::{ChangeId, Key, Stored, Timestamp, Version},
    state::{
        Commit, CommitFault, Committed, Found, Mark, Part, Refusal, StoreFault,
        checked::{checked, due_of},
        codec,
    },
};

use super::Retention;

pub(super) const DOCUMENTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("documents");
pub(super) const CHANGES: TableDefinition<&str, u64> = TableDefinition::new("changes");
pub(super) const FEED: TableDefinition<u64, &[u8]> = TableDefinition::new("feed");
pub(super) const DUE: TableDefinition<&[u8], ()> = TableDefinition::new("due");
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

/// The layout that this build writes and reads.
pub(super) const LAYOUT: u32 = 1;

/// How many old entries one flush clears away at most: more than one flush can add.
const PRUNE_MOST: usize = 2 * super::writer::BATCH;

/// What can go wrong inside of a transaction.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The database says so.
    Base(redb::Error),
    /// What it holds cannot be.
    Damaged(String),
    /// A plain answer that is no success.
    Fault(StoreFault),
}

impl<E: Into<redb::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Trouble::Base(error.into())
    }
}

impl Trouble {
    pub(super) fn fault(self) -> StoreFault {
        match self {
            Trouble::Base(redb::Error::Corrupted(detail)) | Trouble::Damaged(detail) => {
                StoreFault::Damaged { detail }
            }
            Trouble::Base(error) => StoreFault::Unavailable { detail: error.to_string() },
            Trouble::Fault(fault) => fault,
        }
    }
}

pub(super) fn damaged<T>(detail: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Damaged(detail.into()))
}

/// What is written about a store in itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Label {
    pub(super) layout: u32,
    pub(super) id: Uuid,
    pub(super) epoch: u32,
    pub(super) rebuilt: bool,
}

impl Label {
    pub(super) fn mark(&self, position: u64) -> Mark {
        Mark {
            id: self.id,
            epoch: self.epoch,
            position,
            line: super::super::Line::NONE,
            rebuilt: self.rebuilt,
        }
    }
}

/// A change as the feed keeps it.
#[derive(Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) change: ChangeId,
    pub(super) at: Timestamp,
    pub(super) documents: Vec<(Key, Box<RawValue>)>,
}

pub(super) fn place(bytes: Option<Vec<u8>>) -> Result<u64, Trouble> {
    match bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()) {
        Some(bytes) => Ok(u64::from_be_bytes(bytes)),
        None => damaged("its newest place cannot be read"),
    }
}

pub(super) fn due_key(at: Timestamp, key: &[u8]) -> Vec<u8> {
    let mut bytes = at.ms().to_be_bytes().to_vec();
    bytes.extend_from_slice(key);
    bytes
}

/// All tables, open for writing.
pub(super) struct Tables<'t> {
    documents: Table<'t, &'static [u8], &'static [u8]>,
    changes: Table<'t, &'static str, u64>,
    feed: Table<'t, u64, &'static [u8]>,
    due: Table<'t, &'static [u8], ()>,
    meta: Table<'t, &'static str, &'static [u8]>,
    position: u64,
}

/// What became of one commit inside of a transaction.
pub(super) type Verdict = Result<Committed, CommitFault>;

/// A change that is at this place. There is one history, so it has no line.
pub(super) fn made(position: u64, repeated: bool) -> Committed {
    Committed { place: Part::FIRST.at(position), line: super::super::Line::NONE, repeated }
}

impl<'t> Tables<'t> {
    /// Opens the tables of a store that has its mark.
    pub(super) fn open(write: &'t WriteTransaction) -> Result<Self, Trouble> {
        let mut tables = Self::bare(write)?;
        tables.position = place(tables.meta.get("position")?.map(|guard| guard.value().to_vec()))?;
        Ok(tables)
    }

    fn bare(write: &'t WriteTransaction) -> Result<Self, Trouble> {
        Ok(Self {
            documents: write.open_table(DOCUMENTS)?,
            changes: write.open_table(CHANGES)?,
            feed: write.open_table(FEED)?,
            due: write.open_table(DUE)?,
            meta: write.open_table(META)?,
            position: 0,
        })
    }

    /// Makes the tables of a new store.
    pub(super) fn create(write: &'t WriteTransaction, label: &Label, position: u64) -> Result<Self, Trouble> {
        let mut tables = Self::bare(write)?;
        let Ok(text) = serde_json::to_vec(label) else { return damaged("its mark cannot be written") };
        tables.meta.insert("mark", text.as_slice())?;
        tables.position = position;
        tables.keep_position()?;
        Ok(tables)
    }

    /// Another label and another newest place, after something was lost. The feed from before has a gap now, and nobody
    /// follows over it.
    pub(super) fn heal(&mut self, label: &Label, position: u64) -> Result<(), Trouble> {
        let Ok(text) = serde_json::to_vec(label) else { return damaged("its mark cannot be written") };
        self.meta.insert("mark", text.as_slice())?;
        self.feed.retain(|_, _| false)?;
        self.position = position;
        self.keep_position()
    }

    /// The newest place.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Writes the newest place; the last thing in every transaction that moved it.
    pub(super) fn keep_position(&mut self) -> Result<(), Trouble> {
        self.meta.insert("position", self.position.to_be_bytes().as_slice())?;
        Ok(())
    }

    /// The place of a change.
    pub(super) fn asked(&self, change: &ChangeId) -> Result<Option<u64>, Trouble> {
        Ok(self.changes.get(change.as_str())?.map(|guard| guard.value()))
    }

    pub(super) fn document(&self, key: &Key, bytes: &[u8]) -> Result<Option<Found>, Trouble> {
        Ok(self.documents.get(bytes)?.map(|guard| codec::read_document(key, guard.value())))
    }

    /// Applies one commit, or says why not. Nothing is written unless all of it is: every check comes first, and a
    /// fault of the database ends the whole transaction.
    pub(super) fn apply(&mut self, commit: &Commit) -> Result<Verdict, Trouble> {
        if let Some(position) = self.asked(&commit.change)? {
            return Ok(Ok(made(position, true)));
        }
        let texts = match checked(commit) {
            Ok(texts) => texts,
            Err(refusal) => return Ok(Err(CommitFault::Refused(refusal))),
        };
        let mut conflicts = Vec::new();
        let mut stale_due = Vec::new();
        for (key, version) in &commit.read {
            let bytes = codec::key(key);
            match self.document(key, &bytes)? {
                Some(Err(unreadable)) => {
                    return Ok(Err(CommitFault::Unavailable(StoreFault::Unreadable(unreadable))));
                }
                Some(Ok(stored)) if stored.version == *version => {
                    let written = commit.write.iter().any(|(written, _)| written == key);
                    if let Some(at) = due_of(&stored).filter(|_| written) {
                        stale_due.push(due_key(at, &bytes));
                    }
                }
                None if *version == Version::NONE => {}
                Some(Ok(_)) | None => conflicts.push(key.clone()),
            }
        }
        if !conflicts.is_empty() {
            return Ok(Err(CommitFault::Conflict(conflicts)));
        }
        for key in stale_due {
            self.due.remove(key.as_slice())?;
        }
        self.position = self.position.saturating_add(1);
        self.changes.insert(commit.change.as_str(), self.position)?;
        let mut line = Line { change: commit.change.clone(), at: commit.at, documents: Vec::new() };
        for ((key, stored), text) in commit.write.iter().zip(texts) {
            self.put(key, stored, &text)?;
            let Ok(raw) = RawValue::from_string(text) else { return damaged("a document is no JSON") };
            line.documents.push((key.clone(), raw));
        }
        let Ok(line) = serde_json::to_vec(&line) else { return damaged("a change cannot be written") };
        self.feed.insert(self.position, line.as_slice())?;
        Ok(Ok(made(self.position, false)))
    }

    fn put(&mut self, key: &Key, stored: &Stored, text: &str) -> Result<(), Trouble> {
        let bytes = codec::key(key);
        self.documents.insert(bytes.as_slice(), text.as_bytes())?;
        if let Some(at) = due_of(stored) {
            self.due.insert(due_key(at, &bytes).as_slice(), ())?;
        }
        Ok(())
    }

    /// Replaces a document outside of any change, as a rebuild does before the store is anybody's.
    pub(super) fn replace(&mut self, key: &Key, stored: &Stored) -> Result<Result<(), Refusal>, Trouble> {
        let text = match codec::document(key, stored) {
            Ok(text) => text,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(Ok(before)) = self.document(key, &codec::key(key))?
            && let Some(at) = due_of(&before)
        {
            self.due.remove(due_key(at, &codec::key(key)).as_slice())?;
        }
        self.put(key, stored, &text)?;
        Ok(Ok(()))
    }

    /// Makes a change known that was committed to a store before this one.
    pub(super) fn remember(&mut self, change: &ChangeId) -> Result<(), Trouble> {
        self.changes.insert(change.as_str(), self.position)?;
        Ok(())
    }

    /// The documents that follow a key, as bytes.
    pub(super) fn page(&self, after: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Found)>, Trouble> {
        let mut rows = Vec::new();
        let range = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        for row in self.documents.range::<&[u8]>(range)?.take(limit) {
            let (key, text) = row?;
            let Some(name) = codec::read_key(key.value()) else { return damaged("a key cannot be read") };
            rows.push((key.value().to_vec(), codec::read_document(&name, text.value())));
        }
        Ok(rows)
    }

    /// Clears away what is older than it need be kept, a bounded number at a time.
    pub(super) fn prune(&mut self, now: Timestamp, retention: &Retention) -> Result<(), Trouble> {
        for _ in 0..PRUNE_MOST {
            let Some((oldest, change)) = self.oldest(now, retention)? else { return Ok(()) };
            self.feed.remove(oldest)?;
            self.changes.remove(change.as_str())?;
        }
        Ok(())
    }

    fn oldest(&self, now: Timestamp, retention: &Retention) -> Result<Option<(u64, ChangeId)>, Trouble> {
        let Some((place, text)) = self.feed.first()? else { return Ok(None) };
        let place = place.value();
        // Places have no gaps, so the difference is the number of entries.
        if self.position.saturating_sub(place).saturating_add(1) <= retention.changes {
            return Ok(None);
        }
        let Ok(line) = serde_json::from_slice::<Line>(text.value()) else {
            return damaged(format!("change {place} cannot be read"));
        };
        Ok((now.ms_since(line.at) > retention.ms).then_some((place, line.change)))
    }
}
