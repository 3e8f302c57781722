//! Sessions that fell with something else: their ends are written down as soon as what felled them is stored, with its instant
//! and as what it was. They were over before: nothing is decided here.
//!
//! Never here: the rule (`lifecycle::fallen`).

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    lifecycle::{Command, fallen},
    model::{Document, Key, Stored, Timestamp, Version},
};

use super::{ChangeFault, Engine, Giver, Unavailable};

/// How many are looked at at once.
const LOOK_MOST: usize = 256;

impl Engine {
    /// The same of what was written just now: nothing rests yet on a tenant or a grant that is new, however many are pushed.
    pub(super) fn may_have_felled_by(&self, written: &[(Key, Stored)]) {
        let first = Version::NONE.next();
        let known =
            written.iter().filter(|(key, stored)| matches!(key, Key::Stop(_)) || stored.version != first);
        self.may_have_felled(known.map(|(key, _)| key));
        // With whoever leaves falls what they gave, where that does not come back with them.
        let away = |document: &Document| matches!(document, Document::Member(row) if row.away.is_some());
        let leaves = |stored: &Stored| stored.heads.iter().any(|head| away(&head.document));
        if written.iter().any(|(_, stored)| stored.version != first && leaves(stored)) {
            self.felled.store(true, Ordering::Release);
        }
    }

    /// Whether sessions may have fallen with any of these, which are stored.
    pub(super) fn may_have_felled<'a>(&self, stored: impl IntoIterator<Item = &'a Key>) {
        let felling = |key: &Key| matches!(key, Key::Stop(_) | Key::Tenant(_) | Key::Grant(..));
        if stored.into_iter().any(felling) {
            self.felled.store(true, Ordering::Release);
        }
    }

    /// Writes down the ends of sessions that fell, where there was reason to since the last time.
    pub async fn sweep_fallen(self: &Arc<Self>) {
        if !self.serves_staff() || !self.felled.swap(false, Ordering::AcqRel) {
            return;
        }
        if self.end_fallen().await.is_none() {
            // Later, then.
            self.felled.store(true, Ordering::Release);
        }
    }

    /// `None`: something could not be read or written.
    async fn end_fallen(self: &Arc<Self>) -> Option<()> {
        let (mut after, mut failed) = (None, BTreeSet::new());
        loop {
            // All that has not ended, whenever it is due.
            let open = self.store.due(Timestamp::MAX, after.as_ref(), LOOK_MOST).await.ok()?;
            let all = open.len() < LOOK_MOST;
            after = open.last().cloned();
            for (_, key) in open {
                let Key::Session(tenant, id) = &key else { continue };
                let part = self.store.part_of(&key);
                if failed.contains(&part) {
                    continue;
                }
                let (policy, now) = (self.policy(), self.now());
                let fell = self.known(|facts| match facts.session(tenant.as_str(), id.as_str())? {
                    Some(session) if session.ended.is_none() => {
                        Ok(fallen(session, tenant, facts, now, &policy)?.is_some())
                    }
                    Some(_) | None => Ok(false),
                });
                match fell.await {
                    Ok(true) => {}
                    Ok(false) => continue,
                    // A part that does not answer keeps no other from its turn.
                    Err(Unavailable) => {
                        failed.insert(part);
                        continue;
                    }
                }
                match self.change(Command::Expire { key: key.clone() }, Giver::Clock).await {
                    Ok(_) | Err(ChangeFault::Refused(_)) => {}
                    Err(fault @ (ChangeFault::Store(_) | ChangeFault::Suspect)) => {
                        tracing::warn!(%fault, %key, "an end cannot be written down yet");
                        failed.insert(part);
                    }
                    Err(fault) => {
                        tracing::warn!(%fault, %key, "an end cannot be written down yet");
                        return None;
                    }
                }
            }
            if all {
                return failed.is_empty().then_some(());
            }
        }
    }
}
