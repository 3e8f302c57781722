//! Sessions that fell with something else: their ends are written down as soon as what felled them is stored, with its instant
//! and as what it was. They were over before: nothing is decided here.
//!
//! A change costs what it touches: the sessions that have not ended in its tenant, and in those below where it is the tenant's own. All
//! that has not ended is looked at when a gateway starts, after a gap in what others changed, and for what reaches further than a tenant.
//!
//! Never here: the rule (`lifecycle::fallen`), which sessions have not ended ([`super::open`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, MutexGuard, PoisonError},
};

use crate::{
    lifecycle::{Command, fallen},
    model::{Document, Key, Reach, SessionId, Stored, TenantId, Timestamp, Version},
    policy::{Fact, Facts, Lack, Policy},
    state::{Part, Parts},
};

use super::{ChangeFault, Engine, Giver, Unavailable, open::Open};

/// How many are looked at at once.
const LOOK_MOST: usize = 256;
/// How many in one round: whatever else falls due waits for as long.
const ROUND: usize = 4096;
/// A chain of parents is no longer than this (rule 6); whatever is not known after so many questions is not to be had.
const CHAIN: usize = 64;

/// Where sessions may have fallen since the last look.
#[derive(Debug, Default)]
pub(super) struct Felled {
    /// Anywhere.
    all: bool,
    /// In these tenants; whether below them too.
    tenants: BTreeMap<TenantId, bool>,
}

/// What a pass looks at.
#[derive(Debug)]
enum Over {
    /// All that has not ended; how far it has come.
    All(Option<(Timestamp, Key)>),
    /// What these changes touch; what is left of it.
    These(BTreeMap<TenantId, bool>, Vec<Key>),
}

/// A look at sessions that may have fallen.
#[derive(Debug)]
pub(super) struct Pass {
    over: Over,
    /// The parts of the store in which something could not be looked up or written.
    failed: BTreeSet<Part>,
}

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// It goes on.
    On,
    /// It fell, and its end is not written down.
    Fell,
    /// It has ended, or there is none.
    Over,
}

fn stands(
    tenant: &TenantId,
    id: &SessionId,
    facts: &Facts,
    now: Timestamp,
    policy: &Policy,
) -> Result<Stands, Lack> {
    match facts.session(tenant.as_str(), id.as_str())? {
        Some(session) if session.ended.is_none() => {
            Ok(if fallen(session, tenant, facts, now, policy)?.is_some() { Stands::Fell } else { Stands::On })
        }
        Some(_) | None => Ok(Stands::Over),
    }
}

impl Felled {
    /// As at a start: nobody told what changed before.
    pub(super) fn anywhere() -> Felled {
        Felled { all: true, tenants: BTreeMap::new() }
    }

    fn touch(&mut self, tenant: &TenantId, below: bool) {
        *self.tenants.entry(tenant.clone()).or_default() |= below;
    }

    /// A pass did not see all that it was to look at.
    fn again(&mut self, over: Over) {
        match over {
            Over::All(_) => self.all = true,
            Over::These(tenants, _) => tenants.iter().for_each(|(tenant, below)| self.touch(tenant, *below)),
        }
    }
}

impl Engine {
    fn felled(&self) -> MutexGuard<'_, Felled> {
        // Each step leaves whole entries behind.
        self.felled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody told what changed: sessions may have fallen anywhere.
    pub(super) fn may_have_felled_any(&self) {
        self.felled().all = true;
    }

    /// The same of what was written just now: nothing rests yet on a tenant or a grant that is new, however many are pushed.
    pub(super) fn may_have_felled_by(&self, written: &[(Key, Stored)]) {
        self.open().told(written);
        let first = Version::NONE.next();
        let known =
            written.iter().filter(|(key, stored)| matches!(key, Key::Stop(_)) || stored.version != first);
        self.may_have_felled(known.map(|(key, _)| key));
        // With whoever leaves falls what they gave, where that does not come back with them.
        let away = |document: &Document| matches!(document, Document::Member(row) if row.away.is_some());
        for (key, stored) in written {
            if let Key::Member(tenant, _) = key
                && stored.version != first
                && stored.heads.iter().any(|head| away(&head.document))
            {
                self.felled().touch(tenant, false);
            }
        }
    }

    /// Whether sessions may have fallen with any of these, which are stored.
    pub(super) fn may_have_felled<'a>(&self, stored: impl IntoIterator<Item = &'a Key>) {
        for key in stored {
            match key {
                Key::Stop(Reach::All | Reach::Person(_)) => self.may_have_felled_any(),
                // What is inherited falls below as well.
                Key::Tenant(tenant) => self.felled().touch(tenant, true),
                Key::Stop(Reach::Tenant(tenant)) | Key::Grant(tenant, _) => {
                    self.felled().touch(tenant, false)
                }
                _ => {}
            }
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
        let mut now = match pass.take() {
            Some(now) => now,
            None => match self.next_pass().await {
                Some(over) => Pass { over, failed: BTreeSet::new() },
                None => return,
            },
        };
        match self.end_fallen(&mut now).await {
            Some(false) => *pass = Some(now),
            Some(true) if now.failed.is_empty() => {}
            // Later, then.
            Some(true) | None => self.felled().again(now.over),
        }
    }

    /// What is to be looked at, if there is reason to.
    async fn next_pass(&self) -> Option<Over> {
        let Felled { all, tenants } = std::mem::take(&mut *self.felled());
        if all {
            return Some(Over::All(None));
        }
        if tenants.is_empty() {
            return None;
        }
        self.place_tenants().await;
        let touched = self.open().touched(&tenants);
        Some(Over::These(tenants, touched))
    }

    /// Looks up the parents of tenants in which there are sessions, once for each tenant.
    async fn place_tenants(&self) {
        for _ in 0..CHAIN {
            let unplaced = self.open().unplaced();
            let keys: Vec<Key> = unplaced.iter().cloned().map(Key::Tenant).collect();
            for keys in keys.chunks(LOOK_MOST) {
                self.cells.load_many(keys).await;
            }
            let mut open = self.open();
            let before = open.unplaced();
            for (tenant, key) in unplaced.iter().zip(&keys) {
                match self.cells.hit(key) {
                    Some(Fact::Found(found)) => {
                        if let Document::Tenant(document) = &found.document {
                            open.place(tenant, document.parent.as_ref());
                        }
                    }
                    Some(Fact::Absent) => open.place(tenant, None),
                    Some(Fact::Unavailable) | None => {}
                }
            }
            if open.unplaced() == before {
                return;
            }
        }
    }

    /// These parts do not answer: they are looked through when they do.
    fn miss(&self, silent: Parts) {
        let mut missed = self.sweeps.missed.lock().unwrap_or_else(PoisonError::into_inner);
        *missed = missed.and(silent);
    }

    /// The next sessions of a pass, and whether they are the last.
    async fn next_sessions(&self, over: &mut Over) -> (Vec<Key>, bool) {
        match over {
            Over::All(after) => {
                // All that has not ended, whenever it is due.
                let due = self.store.due(Timestamp::MAX, after.as_ref(), LOOK_MOST).await;
                self.miss(due.silent_parts());
                let last = due.rows.len() < LOOK_MOST;
                *after = due.rows.last().cloned();
                let keys = due.rows.into_iter().map(|(_, key)| key);
                let sessions: Vec<Key> = keys.filter(|key| matches!(key, Key::Session(..))).collect();
                let mut open = self.open();
                for key in &sessions {
                    if let Key::Session(tenant, id) = key {
                        open.begun(tenant, id);
                    }
                }
                (sessions, last)
            }
            Over::These(_, left) => {
                let rest = left.split_off(left.len().min(LOOK_MOST));
                let sessions = std::mem::replace(left, rest);
                (sessions, left.is_empty())
            }
        }
    }

    /// Whether that was all of them. `None`: something could not be read or written.
    async fn end_fallen(self: &Arc<Self>, pass: &mut Pass) -> Option<bool> {
        for _ in 0..ROUND / LOOK_MOST {
            let (sessions, last) = self.next_sessions(&mut pass.over).await;
            let (policy, now) = (self.policy(), self.now());
            let rule = |key: &Key, facts: &Facts| match key {
                Key::Session(tenant, id) => stands(tenant, id, facts, now, &policy),
                _ => Ok(Stands::Over),
            };
            self.bring(&sessions, rule).await;
            for key in sessions {
                let part = self.store.part_of(&key);
                if pass.failed.contains(&part) {
                    continue;
                }
                match self.known(|facts| rule(&key, facts)).await {
                    Ok(Stands::Fell) => {}
                    Ok(Stands::On) => continue,
                    Ok(Stands::Over) => {
                        if let Key::Session(tenant, id) = &key {
                            self.open().over(tenant, id);
                        }
                        continue;
                    }
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
            if last {
                if pass.failed.is_empty() && self.sweeps.fallen.ends() {
                    tracing::info!("ends are written down again");
                }
                return Some(true);
            }
        }
        Some(false)
    }
}
