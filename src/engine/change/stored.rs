//! What the store itself says and takes, for a change. A part of it that has lost something is asked nothing and given nothing
//! (law 8).
//!
//! Never here: deciding on a change, and what follows from it.

use std::sync::Arc;

use crate::{
    engine::{Engine, ids::new_id},
    lifecycle::Change,
    model::{ChangeId, Key, Stored, Timestamp, Version, join::narrowest},
    policy::{Fact, Facts, Policy, Snapshot},
    state::{Commit, CommitFault, Place, StoreFault},
};

use super::terms::Unwritable;

impl Engine {
    /// A name for a change, greater than that of any that was seen.
    pub(super) fn new_change(&self, now: Timestamp) -> Option<ChangeId> {
        new_id("chg", self.follower.after(now)).ok().and_then(|id| ChangeId::new(&id).ok())
    }

    /// What the store itself says, past the cells and what lies over them.
    pub(in crate::engine) async fn committed_fact(&self, key: &Key, policy: &Policy) -> Fact {
        if self.is_suspect(key) {
            return Fact::Unavailable;
        }
        match self.store.load(std::slice::from_ref(key)).await.map(|mut found| found.pop()) {
            Ok(Some(None)) => Fact::Absent,
            Ok(Some(Some(Ok(stored)))) => match narrowest(&stored, &policy.ladder) {
                Some(document) => Fact::Found(Arc::new(Snapshot { version: stored.version, document })),
                None => Fact::Unavailable,
            },
            Ok(Some(Some(Err(_))) | None) | Err(_) => Fact::Unavailable,
        }
    }

    /// The documents with their stamps; `None` when one of them is no longer as it was read.
    pub(super) async fn stored_after(
        &self,
        id: &ChangeId,
        change: &Change,
        facts: &Facts,
    ) -> Result<Option<Vec<(Key, Stored)>>, Unwritable> {
        let keys: Vec<Key> = change.documents.iter().map(|(key, _)| key.clone()).collect();
        let before = self.store.load(&keys).await?;
        let mut writes = Vec::with_capacity(keys.len());
        for ((key, document), before) in change.documents.iter().zip(before) {
            let before = before.transpose()?;
            let version = before.as_ref().map_or(Version::NONE, |stored| stored.version);
            if facts.version(key).is_some_and(|read| read != version) {
                self.cells.forget(std::slice::from_ref(key));
                return Ok(None);
            }
            // It would be forgotten among greater ones.
            if let Some(newest) = before.as_ref().and_then(|stored| stored.changes.first())
                && newest > id
                && self.heard.is_some()
            {
                self.follower.saw(newest);
                if !change.narrows {
                    return Ok(None);
                }
            }
            writes.push((key.clone(), Stored::after(before.as_ref(), id.clone(), document.clone())));
        }
        Ok(Some(writes))
    }

    /// Commits; an answer that leaves it open is followed by asking. What was committed is known to the shadow when this answers.
    pub(in crate::engine) async fn commit(&self, commit: Commit) -> Result<Place, CommitFault> {
        let part = self.part_of(commit.write.iter().map(|(key, _)| key));
        let _making = match &self.memory {
            Some(memory) => memory.making(part).await,
            None => None,
        };
        if commit.write.iter().any(|(key, _)| self.is_suspect(key)) {
            let detail = "a part of it has lost something and is not healed yet".to_owned();
            return Err(CommitFault::Unavailable(StoreFault::Unavailable { detail }));
        }
        let change = commit.change.clone();
        let kept = self.memory.as_ref().map(|memory| (memory, commit.write.clone(), commit.at));
        let made = match self.store.commit(commit).await {
            Ok(made) => made,
            Err(CommitFault::Ambiguous(why)) => match self.placed(part, &change).await {
                Ok(Some(made)) => made,
                // And never will be.
                Ok(None) => return Err(CommitFault::Unavailable(why)),
                Err(_) => return Err(CommitFault::Ambiguous(why)),
            },
            Err(fault) => return Err(fault),
        };
        if let Some((memory, documents, at)) = kept {
            memory.made(part, &documents, (made.place.number, made.line), at);
        }
        Ok(made.place)
    }
}
