//! What others change in the same store is put in force here, part by part, in the order of each part's feed.
//!
//! For each change: the cells take it in, whoever rests on it holds until it was decided again, and the lease of its part may
//! rise up to it. A feed that does not go back far enough, has a gap or cannot be read makes this gateway forget what it knows of
//! the part and go on from the part's head: nothing of that is ever waited for by anybody else, and no entry stops it.
//!
//! A change of this gateway's own is put in force by whoever makes it, before it is acknowledged; the feed's word of it changes
//! nothing then. Parts are followed apart from each other: one that does not answer keeps no other waiting.
//!
//! Never here: how news comes, what a lease is ([`crate::state`]); how a decision is made again ([`super::judge`]).

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet};
use uuid::Uuid;

use crate::{
    model::{ChangeId, Key, Stored, Timestamp},
    state::{
        Entry, Part, Parts, StoreFault,
        healing::{HealFault, Healing},
    },
};

use super::{Engine, heal::is_untold, ids::made_ms, leash::Heard, registry::Live};

/// How many changes are read at once.
pub(super) const PAGE: usize = 64;
/// How long it rests when the store does not answer, at first and at the most; news end the rest.
const REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(2);
/// How often it looks whether a part that nothing is heard of has another life.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So many times it looks at once though it found nothing the times before.
const IN_VAIN: u32 = 4;
/// A lease that is older than this is looked after, in milliseconds.
const OLD_MS: i64 = 1_000;
/// How many of the own changes that are in force are remembered until the feed tells of them.
const MOST_DONE: usize = 4096;

/// The changes of this gateway's own, as far as the feed has not told of them.
#[derive(Debug, Default)]
pub(super) struct Follower {
    own: Mutex<Own>,
    /// When the newest change that was seen says by its id that it was made, in milliseconds.
    newest_ms: AtomicI64,
}

#[derive(Debug, Default)]
struct Own {
    /// Those that somebody is making; whether the feed has told of them already.
    making: HashMap<ChangeId, bool>,
    /// Those that are in force.
    done: BTreeSet<ChangeId>,
}

impl Follower {
    fn lock(&self) -> MutexGuard<'_, Own> {
        // Each step leaves whole entries behind.
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change was seen. What is made after it has a greater id: documents remember those with the greatest ids, and a gateway whose clock
    /// is behind another's would make changes that are forgotten at once, and taken for another history where a store is healed.
    pub(super) fn saw(&self, change: &ChangeId) {
        if let Some(ms) = made_ms(change.as_str()) {
            self.newest_ms.fetch_max(ms, Ordering::AcqRel);
        }
    }

    /// When a change made now says that it was made.
    pub(super) fn after(&self, now: Timestamp) -> Timestamp {
        let seen = self.newest_ms.load(Ordering::Acquire);
        now.max(Timestamp::from_ms(seen.saturating_add(1)))
    }

    /// The feed tells of a change: whether its maker sees to it.
    fn is_seen_to(&self, change: &ChangeId) -> bool {
        let mut own = self.lock();
        match own.making.get_mut(change) {
            Some(told) => {
                *told = true;
                true
            }
            None => own.done.remove(change),
        }
    }
}

/// Held by whoever makes a change, from before it is committed until it is in force. Let go of earlier, and told of by the feed,
/// it is put in force as anybody else's.
pub(super) struct Making {
    engine: Arc<Engine>,
    change: ChangeId,
    keys: Vec<Key>,
}

impl Making {
    /// It is in force.
    pub(super) fn done(self) {
        let mut own = self.engine.follower.lock();
        if own.making.remove(&self.change) == Some(false) {
            own.done.insert(self.change.clone());
            while own.done.len() > MOST_DONE {
                own.done.pop_first();
            }
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if self.engine.follower.lock().making.remove(&self.change) == Some(true) {
            let mut again = Vec::new();
            self.engine.hold(self.engine.registry.resting_on(&self.keys), &mut again);
            self.engine.decide_apart(again);
        }
    }
}

/// How often in a row there was nothing new though somebody said so: whoever may publish on the store's channel may say so.
#[derive(Debug, Default)]
struct Vain(u32);

impl Vain {
    /// How long it rests before it looks again: not at all at first, then up to 64 ms, which is how much later an end comes then.
    fn rest(&mut self) -> Duration {
        let before = self.0;
        self.0 = before.saturating_add(1);
        before.checked_sub(IN_VAIN).map_or(Duration::ZERO, |over| Duration::from_millis(1 << over.min(6)))
    }
}

/// How far a part was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) number: u64,
    /// In which life of it.
    pub(super) id: Uuid,
    pub(super) epoch: u32,
    /// In which unbroken stretch of following, where that is kept ([`crate::state::healing::Seen::jumps`]).
    pub(super) jumps: u32,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Went {
    /// There may be more at once.
    On,
    /// There is nothing to do before something comes.
    Nothing,
    /// There is nothing to do for so long, unless something comes.
    Later(Duration),
    /// From here on it is followed.
    From(At),
    /// What was followed is of no use any more.
    Anew,
}

/// Waits until something was doubted or trusted again, and leaves it to be seen.
async fn changed(doubts: &watch::Receiver<Parts>) {
    let _changed = doubts.clone().changed().await;
}

/// Of a server that cannot be reached, and of a store that is a newer build's, the links tell.
fn is_told_by_link(fault: &HealFault) -> bool {
    matches!(fault, HealFault::Store(StoreFault::Server { .. } | StoreFault::Newer { .. }))
}

/// Whether nothing was heard of a part for long.
pub(super) fn is_old(part: Part, heard: &Heard) -> bool {
    heard.leases.known(part).is_none_or(|known| heard.boot_ms().saturating_sub(known) > OLD_MS)
}

impl Engine {
    /// Runs for as long as the gateway does, where others change the store too.
    pub async fn keep_following(self: Arc<Self>) {
        let Some(heard) = self.heard.clone() else { return };
        let mut parts = JoinSet::new();
        parts.spawn(Arc::clone(&self).keep_telling_of_healings());
        for part in (0..self.store.parts()).map(Part) {
            parts.spawn(Arc::clone(&self).follow(part, Arc::clone(&heard)));
        }
        while let Some(ended) = parts.join_next().await {
            if let Err(fault) = ended {
                tracing::error!(%fault, "a part of the store is followed no more; its leases end");
            }
        }
    }

    /// Somebody is about to commit this.
    pub(super) fn making(self: &Arc<Self>, change: &ChangeId, writes: &[(Key, Stored)]) -> Option<Making> {
        self.heard.as_ref()?;
        self.follower.lock().making.insert(change.clone(), false);
        let keys = writes.iter().map(|(key, _)| key.clone()).collect();
        Some(Making { engine: Arc::clone(self), change: change.clone(), keys })
    }

    async fn follow(self: Arc<Self>, part: Part, heard: Arc<Heard>) {
        let mut newest = self.store.newest(part);
        let mut doubts = heard.leases.doubts();
        let mut healing = Healing::default();
        let mut at: Option<At> = None;
        let (mut rest, mut vain) = (REST, Vain::default());
        loop {
            // Whatever is told from here on is looked at after this.
            newest.mark_unchanged();
            // It may have been suspect and healed before anybody looked here.
            let doubted = doubts.has_changed().unwrap_or(false);
            doubts.mark_unchanged();
            if heard.leases.suspicion(part).is_some() {
                // What it says is not taken in until it is healed; then all of it anew.
                at = None;
            }
            let went = match &mut at {
                Some(now) => {
                    let went = self.follow_on(part, &heard, now, doubted).await;
                    if matches!(went, Ok(Went::On)) {
                        vain = Vain::default();
                    }
                    let told = *newest.borrow();
                    match went {
                        // It has all that is known to be there, and need not ask once more for nothing.
                        Ok(Went::On) if told <= now.number => Ok(Went::Nothing),
                        went => went,
                    }
                }
                None => self.begin_following(part, &heard, &mut healing).await,
            };
            match went {
                Ok(Went::On) => {}
                Ok(Went::From(begun)) => {
                    at = Some(begun);
                    doubts.mark_unchanged();
                }
                Ok(Went::Anew) => at = None,
                Ok(Went::Later(so_long)) => {
                    tokio::select! {
                        _ = newest.changed() => {}
                        () = tokio::time::sleep(so_long) => {}
                    }
                }
                Ok(Went::Nothing) => {
                    rest = REST;
                    let copied = tokio::select! {
                        biased;
                        () = self.await_news(part, &heard, &mut newest, &doubts) => {
                            let rest = vain.rest();
                            if !rest.is_zero() {
                                tokio::time::sleep(rest).await;
                            }
                            Ok(Went::On)
                        }
                        copied = self.copied(part, &heard, at, &mut healing) => copied,
                    };
                    match copied {
                        Ok(Went::Anew) => at = None,
                        Ok(_) => {}
                        Err(fault) => tracing::debug!(%fault, part = part.0, "the shadow is filled later"),
                    }
                }
                Err(fault) => {
                    if rest == REST && !is_told_by_link(&fault) {
                        tracing::warn!(%fault, part = part.0, "what others changed cannot be read yet");
                    }
                    rest = (rest * 2).min(LONGEST_REST);
                    tokio::select! {
                        _ = newest.changed() => {}
                        () = tokio::time::sleep(rest) => {}
                    }
                }
            }
        }
    }

    /// One step towards following a part.
    async fn begin_following(
        self: &Arc<Self>,
        part: Part,
        heard: &Heard,
        healing: &mut Healing,
    ) -> Result<Went, HealFault> {
        match &self.memory {
            Some(memory) => self.begin_kept(part, heard, memory, healing).await,
            // Nobody here could heal it.
            None if heard.leases.suspicion(part).is_some() => Ok(Went::Later(REST)),
            None => Ok(Went::From(self.take_up(part, heard).await?)),
        }
    }

    /// Waits for a change, or until there is reason to look after a part that nothing is heard of.
    async fn await_news(
        &self,
        part: Part,
        heard: &Heard,
        newest: &mut watch::Receiver<u64>,
        doubts: &watch::Receiver<Parts>,
    ) {
        loop {
            tokio::select! {
                // The store holds their other ends.
                _ = newest.changed() => return,
                () = changed(doubts) => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if is_old(part, heard) || heard.leases.suspicion(part).is_some() {
                return;
            }
        }
    }

    /// Fills the shadow where it lacks something, when it is this part's turn.
    async fn copied(
        self: &Arc<Self>,
        part: Part,
        heard: &Heard,
        at: Option<At>,
        healing: &mut Healing,
    ) -> Result<Went, HealFault> {
        let (Some(memory), Some(at)) = (&self.memory, at) else { return std::future::pending().await };
        let _turn = memory.lacks(part).await;
        if is_old(part, heard) {
            // Nobody says that this is the server that it was.
            tokio::time::sleep(LOOK_EVERY).await;
            return Ok(Went::On);
        }
        self.copy_on(part, heard, memory, &at, healing).await
    }

    /// One step.
    async fn follow_on(
        self: &Arc<Self>,
        part: Part,
        heard: &Heard,
        now: &mut At,
        doubted: bool,
    ) -> Result<Went, HealFault> {
        if heard.leases.leaving(part) {
            return Ok(Went::Anew);
        }
        if doubted && self.life_of(part).await? != (now.id, now.epoch) {
            return Ok(Went::Anew);
        }
        let entries = match self.store.changes_after(part, now.number, PAGE).await {
            Ok(entries) => entries,
            Err(fault) if self.is_another_life(part, now, &fault).await? => {
                tracing::warn!(%fault, part = part.0, "what is known of a part of the store is forgotten, and loaded anew");
                if let (Some(memory), true) = (&self.memory, is_untold(&fault)) {
                    memory.jump_over(self, part).await?;
                }
                return Ok(Went::Anew);
            }
            Err(fault) => return Err(fault.into()),
        };
        if entries.is_empty() {
            if is_old(part, heard) && self.life_of(part).await? != (now.id, now.epoch) {
                return Ok(Went::Anew);
            }
            return Ok(Went::Nothing);
        }
        let (mut again, mut went) = (Vec::new(), Went::On);
        for entry in entries {
            if entry.place != part.at(now.number.saturating_add(1)) {
                tracing::warn!(part = part.0, after = now.number, "the change feed has a gap");
                went = Went::Anew;
                break;
            }
            now.number = entry.place.number;
            self.take_in(&entry, &mut again);
            heard.leases.in_force(part, now.number, entry.line);
        }
        self.decide_apart(again);
        if let (Some(memory), Went::Anew) = (&self.memory, went) {
            memory.jump_over(self, part).await?;
        }
        Ok(went)
    }

    /// Whether a fault of the feed means that following on is of no use.
    async fn is_another_life(&self, part: Part, at: &At, fault: &StoreFault) -> Result<bool, StoreFault> {
        match fault {
            fault if is_untold(fault) => Ok(true),
            // Whoever heals finds out what that means.
            StoreFault::Forked { .. } => Ok(self.memory.is_some()),
            // Lost, until somebody has healed it.
            StoreFault::WentBack { .. } => Ok(self.life_of(part).await? != (at.id, at.epoch)),
            _ => Ok(false),
        }
    }

    async fn life_of(&self, part: Part) -> Result<(Uuid, u32), StoreFault> {
        let mark = self.store.mark(part).await?;
        Ok((mark.id, mark.epoch))
    }

    /// Forgets what is known of a part, and goes on from its head: whatever is read from here on is at least as new.
    async fn take_up(self: &Arc<Self>, part: Part, heard: &Heard) -> Result<At, StoreFault> {
        let head = self.store.mark(part).await?;
        let mut again = Vec::new();
        self.forget_part(part, heard, &mut again);
        heard.leases.in_force(part, head.position, head.line);
        self.decide_apart(again);
        Ok(At { number: head.position, id: head.id, epoch: head.epoch, jumps: 0 })
    }

    /// Forgets what is known of a part; whoever rests on it holds from here on, and is added to `again`.
    pub(super) fn forget_part(&self, part: Part, heard: &Heard, again: &mut Vec<Arc<Live>>) {
        // Before it is forgotten: what is loaded from then on counts.
        heard.leases.leave(part);
        self.cells.forget_part(part);
        self.may_have_felled_any();
        let of_it = |key: &Key| self.store.part_of(key) == part;
        self.hold(self.registry.resting_where(of_it), again);
    }

    /// Takes in one change; whoever has to be decided again is added to `again`, and holds already.
    fn take_in(&self, entry: &Entry, again: &mut Vec<Arc<Live>>) {
        self.follower.saw(&entry.change);
        let readable = entry.readable();
        if let Some(memory) = &self.memory {
            memory.told(entry, &readable);
        }
        self.cells.told(&entry.documents);
        self.grantors.committed(&readable);
        self.may_have_felled_by(&readable);
        let unreadable = entry.documents.iter().filter(|(_, found)| found.is_err());
        self.may_have_felled(unreadable.map(|(key, _)| key));
        if !self.follower.is_seen_to(&entry.change) {
            self.hold(self.registry.resting_on(entry.documents.iter().map(|(key, _)| key)), again);
        }
    }

    /// From here on they hold: nothing of them passes until they were decided again. Of each that is asked for once, however
    /// often it holds before that.
    fn hold(&self, all: Vec<Arc<Live>>, again: &mut Vec<Arc<Live>>) {
        for live in all {
            live.fuse.touch();
            if !live.again.swap(true, Ordering::SeqCst) {
                again.push(live);
            }
        }
    }
}
