//! What the store itself says and takes, for a change. A part of it that has lost something is asked nothing and given nothing
//! (law 8).
//!
//! Never here: deciding on a change, and what follows from it.

use std::sync::Arc;

use crate::{
    engine::{Engine, admit::MOST_ROUNDS, ids::new_id},
    lifecycle::{Change, Outcome, apply},
    model::{ChangeId, Key, Stored, Timestamp, Version, join::narrowest},
    policy::{Fact, Facts, Need, Policy, Snapshot},
    state::{Commit, CommitFault, Place, StoreFault},
};

use super::terms::{ChangeFault, Giver, Try, Unwritable};

impl Engine {
    /// A name for a change, greater than that of any that was seen.
    pub(super) fn new_change(&self, now: Timestamp) -> Option<ChangeId> {
        new_id("chg", self.follower.after(now)).ok().and_then(|id| ChangeId::new(&id).ok())
    }

    /// Whether nothing is left to do by what the store says as well, where others change it too. What is known here may be old, or
    /// of a primary that was left alone, and whoever hears that all is as they want it goes away (law 8). What waits for the store
    /// is told as waiting.
    pub(super) async fn is_so(
        &self,
        this: &Try<'_>,
        facts: &Facts,
        policy: &Policy,
    ) -> Result<bool, ChangeFault> {
        if self.heard.is_none() || !matches!(this.giver, Giver::Subject(..)) {
            return Ok(true);
        }
        let keys: Vec<Key> = facts.versions().map(|(key, _)| key.clone()).collect();
        if self.waiting_on(&keys.iter().collect::<Vec<_>>()).await.is_some() {
            return Ok(true);
        }
        let mut facts = Facts::new();
        self.ask_store(Need(keys), &mut facts, None).await;
        for _ in 0..MOST_ROUNDS {
            match apply(this.command, &facts, this.giver.actor(), this.now, policy) {
                Outcome::Changed(change) => return Ok(change.documents.is_empty()),
                Outcome::Refused(refusal) => return Err(ChangeFault::Refused(refusal)),
                Outcome::Need(need) => self.ask_store(need, &mut facts, None).await,
            }
        }
        Err(ChangeFault::Contended)
    }

    /// What the store itself says by a majority, past the cells and what lies over them. Whoever lets go of what was promised goes
    /// by this.
    pub(in crate::engine) async fn committed_fact(&self, key: &Key, policy: &Policy) -> Fact {
        if self.is_suspect(key) {
            return Fact::Unavailable;
        }
        match self.store.confirmed(std::slice::from_ref(key)).await.map(|mut found| found.pop()) {
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
        let kept = self.memory.as_ref().map(|memory| (memory, commit.write.clone()));
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
        if let Some((memory, documents)) = kept {
            memory.made(part, &documents, (made.place.number, made.line));
        }
        Ok(made.place)
    }
}
