//! Sessions that fell with something else: their ends are written down as soon as what felled them is stored, with its instant
//! and as what it was. They were over before: nothing is decided here.
//!
//! Never here: the rule (`lifecycle::fallen`).

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use crate::{
    lifecycle::{Command, fallen},
    model::{Document, Key, Stored, Timestamp, Version},
    state::{Part, Parts},
};

use super::{ChangeFault, Engine, Giver, Unavailable};

/// How many are looked at at once.
const LOOK_MOST: usize = 256;
/// How many in one round: whatever else falls due waits for as long.
const ROUND: usize = 4096;

/// A pass over all that has not ended.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// How far it has come.
    after: Option<(Timestamp, Key)>,
    /// The parts of the store in which something could not be looked up or written.
    failed: BTreeSet<Part>,
}

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

    /// Writes down the ends of sessions that fell, where there was reason to since the last time. Of many that have not ended so
    /// many are looked at in one round, and the next one goes on from there.
    pub async fn sweep_fallen(self: &Arc<Self>) {
        if !self.serves_staff() {
            return;
        }
        let mut pass = self.falling.lock().await;
        // What comes to be stored while one is under way may lie behind it: then there is another.
        if pass.is_none() && !self.felled.swap(false, Ordering::AcqRel) {
            return;
        }
        let mut now = pass.take().unwrap_or_default();
        match self.end_fallen(&mut now).await {
            Some(false) => *pass = Some(now),
            Some(true) if now.failed.is_empty() => {}
            // Later, then.
            Some(true) | None => self.felled.store(true, Ordering::Release),
        }
    }

    /// These parts do not answer: they are looked through when they do.
    fn miss(&self, silent: Parts) {
        let mut missed = self.sweeps.missed.lock().unwrap_or_else(PoisonError::into_inner);
        *missed = missed.and(silent);
    }

    /// Whether that was all of them. `None`: something could not be read or written.
    async fn end_fallen(self: &Arc<Self>, pass: &mut Pass) -> Option<bool> {
        for _ in 0..ROUND / LOOK_MOST {
            // All that has not ended, whenever it is due.
            let open = self.store.due(Timestamp::MAX, pass.after.as_ref(), LOOK_MOST).await;
            self.miss(open.silent_parts());
            let all = open.rows.len() < LOOK_MOST;
            pass.after = open.rows.last().cloned();
            for (_, key) in open.rows {
                let Key::Session(tenant, id) = &key else { continue };
                let part = self.store.part_of(&key);
                if pass.failed.contains(&part) {
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
                        pass.failed.insert(part);
                        continue;
                    }
                }
                let fault = match self.change(Command::Expire { key: key.clone() }, Giver::Clock).await {
                    Ok(_) | Err(ChangeFault::Refused(_)) => continue,
                    Err(fault) => fault,
                };
                if self.sweeps.fallen.begins() {
                    tracing::warn!(%fault, %key, "an end cannot be written down yet");
                }
                if !matches!(fault, ChangeFault::Store(_) | ChangeFault::InDoubt(_) | ChangeFault::Suspect) {
                    return None;
                }
                pass.failed.insert(part);
            }
            if all {
                if pass.failed.is_empty() && self.sweeps.fallen.ends() {
                    tracing::info!("ends are written down again");
                }
                return Some(true);
            }
        }
        Some(false)
    }
}
