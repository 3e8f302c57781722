//! What this gateway keeps of a store that others change too, and how it heals that store (law 8, decision 0026).
//!
//! Each change that was made or followed goes into the shadow before anybody is told of it. Before a part is followed for the first
//! time, and whenever it is suspect, whoever follows it takes the steps of its healing, so that following and joining are never out of step; only then is the part
//! trusted. What the shadow lacks is copied behind that, one page of one part at a time.
//!
//! Never here: what the next step is ([`crate::state::healing`]), how a part is followed ([`super::follow`]), what makes one suspect.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{MutexGuard as Held, RwLock, RwLockReadGuard, RwLockWriteGuard};
use uuid::Uuid;

use crate::{
    model::{Key, Stored},
    state::{
        Entry, Line, Part, Shadow, StoreFault,
        healing::{Head, Heal, HealFault, Healer, Healing, Known as _, Standing, Turned, standing},
    },
};

use super::{
    Engine,
    follow::{At, PAGE, Went},
    ids::new_id,
    leash::Heard,
};

/// How long it rests where others have to go on first, at least and at most, in milliseconds.
const SOON_MS: i64 = 10;
const LOOK_MS: i64 = 200;
/// How long it rests where somebody else has to come.
const LOST_REST: Duration = Duration::from_millis(500);
/// How long it rests between two pages that are copied, whichever part they are of.
const COPY_REST: Duration = Duration::from_millis(5);
/// How often it is looked whether there is something to tell of healings.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// With what a gateway heals a store.
pub struct Keeps {
    /// What it saw of the store.
    pub shadow: Arc<Shadow>,
    /// The store.
    pub store: Arc<dyn Heal>,
    /// How long a healing is waited for that does not get on, in milliseconds.
    pub grace_ms: i64,
}

/// How the healings of a gateway are getting on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Healings {
    /// How long the oldest of them has been going on, in milliseconds.
    pub since_ms: i64,
    /// The gateways that are waited for.
    pub waits_for: BTreeSet<String>,
    /// In how many parts nobody here knows enough to begin.
    pub lost: usize,
    /// The store that this gateway was given in the place of its own.
    pub other: Option<Uuid>,
    /// How many parts were healed since the start.
    pub healed: u64,
    /// How many parts are still being copied into the shadow.
    pub copying: usize,
    /// Whom a healing would wait for.
    pub fleet: BTreeSet<String>,
    /// Why the shadow is not written.
    pub shadow: Option<String>,
}

/// What stands in the way of trusting a part.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Joins,
    Waits(BTreeSet<String>),
    Lost,
    Other(Uuid),
}

struct Ailing {
    since_ms: i64,
    stage: Stage,
}

/// See [`Keeps`].
pub(super) struct Memory {
    keeps: Keeps,
    /// For each part: held by whoever commits, and alone by whoever takes a step of its healing.
    ways: Box<[RwLock<()>]>,
    /// Held by whoever copies.
    copying: tokio::sync::Mutex<()>,
    ailing: Mutex<BTreeMap<Part, Ailing>>,
    healed: AtomicU64,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("shadow", &self.keeps.shadow).finish_non_exhaustive()
    }
}

impl Memory {
    pub(super) fn new(keeps: Keeps, parts: u16) -> Memory {
        Memory {
            keeps,
            ways: (0..parts).map(|_| RwLock::default()).collect(),
            copying: tokio::sync::Mutex::default(),
            ailing: Mutex::default(),
            healed: AtomicU64::new(0),
        }
    }

    fn ailing(&self) -> MutexGuard<'_, BTreeMap<Part, Ailing>> {
        // Each step leaves whole entries behind.
        self.ailing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held while a change of this part is being made, until the shadow has it: what a healing says is known here, must not be passed by
    /// what is just becoming known.
    pub(super) async fn making(&self, part: Part) -> Option<RwLockReadGuard<'_, ()>> {
        Some(self.ways.get(usize::from(part.0))?.read().await)
    }

    async fn alone(&self, part: Part) -> Option<RwLockWriteGuard<'_, ()>> {
        Some(self.ways.get(usize::from(part.0))?.write().await)
    }

    /// A change of this gateway's own is in the store; told before anybody hears that it is.
    pub(super) fn made(&self, part: Part, documents: &[(Key, Stored)], at: (u64, Line)) {
        self.keeps.shadow.committed(part, documents, at.0, at.1);
    }

    /// The feed tells of the next change.
    pub(super) fn told(&self, entry: &Entry, documents: &[(Key, Stored)]) {
        self.keeps.shadow.follow(entry.place.part, documents, entry.place.number, entry.line);
    }

    fn ails(&self, part: Part, heard: &Heard, stage: Stage) {
        let now = heard.boot_ms();
        let mut ailing = self.ailing();
        ailing.entry(part).or_insert(Ailing { since_ms: now, stage: Stage::Joins }).stage = stage;
    }

    fn is_well(&self, part: Part, heard: &Heard) {
        let ailed = self.ailing().remove(&part);
        if heard.leases.suspicion(part).is_some() || ailed.is_some() {
            self.healed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until it is this part's turn to be copied; for ever where nothing is missing. What two histories were seen of, or
    /// nothing proves any more, is looked after in the same way.
    pub(super) async fn lacks(&self, part: Part) -> Held<'_, ()> {
        match self.keeps.shadow.seen(part) {
            Some(seen) if seen.gaps || seen.torn => self.copying.lock().await,
            _ => std::future::pending().await,
        }
    }

    pub(super) fn shadow(&self) -> &Arc<Shadow> {
        &self.keeps.shadow
    }

    /// Whether nothing of this part is missing in the shadow.
    pub(super) fn is_whole(&self, part: Part) -> bool {
        self.keeps.shadow.seen(part).is_some_and(|seen| seen.whole && !seen.gaps)
    }

    fn healings(&self, parts: u16, now_ms: i64) -> Healings {
        let mut all = Healings {
            healed: self.healed.load(Ordering::Relaxed),
            fleet: self.keeps.shadow.gateways(),
            shadow: self.keeps.shadow.fault().map(|fault| fault.to_string()),
            ..Healings::default()
        };
        let gaps = |part: &Part| self.keeps.shadow.seen(*part).is_some_and(|seen| seen.gaps);
        all.copying = (0..parts).map(Part).filter(gaps).count();
        for one in self.ailing().values() {
            all.since_ms = all.since_ms.max(now_ms.saturating_sub(one.since_ms));
            match &one.stage {
                Stage::Joins => {}
                Stage::Waits(missing) => all.waits_for.extend(missing.iter().cloned()),
                Stage::Lost => all.lost = all.lost.saturating_add(1),
                Stage::Other(id) => all.other = Some(*id),
            }
        }
        all
    }

    /// What is known out of turn is followed up to, also in a part that is suspect: only its own history can show whether it is
    /// there.
    async fn catch_up(&self, engine: &Engine, part: Part) -> Result<(), StoreFault> {
        let Some(seen) = self.keeps.shadow.seen(part).filter(|seen| !seen.claims.is_empty()) else {
            return Ok(());
        };
        let sight = self.keeps.store.sight(part, seen.number, &engine.gateway).await?;
        if !matches!(standing(&sight, Some(&seen)), Standing::Agrees | Standing::Ahead) {
            return Ok(());
        }
        match engine.store.changes_after(part, seen.number, PAGE).await {
            Ok(entries) => entries.iter().for_each(|entry| self.told(entry, &entry.readable())),
            Err(fault) if is_untold(&fault) => self.jump(part, sight.head.as_ref()),
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    fn jump(&self, part: Part, head: Option<&Head>) {
        if let Some(head) = head {
            self.keeps.shadow.jump(part, head.number, head.line);
        }
    }

    /// The feed does not tell what comes next: goes on from the head, and what lies between is copied later. Not in a store of another
    /// history: what is to be done there is found where the part is begun anew.
    pub(super) async fn jump_over(&self, engine: &Engine, part: Part) -> Result<(), StoreFault> {
        let Some(seen) = self.keeps.shadow.seen(part) else { return Ok(()) };
        let sight = self.keeps.store.sight(part, seen.number, &engine.gateway).await?;
        if matches!(standing(&sight, Some(&seen)), Standing::Agrees | Standing::Ahead) {
            self.jump(part, sight.head.as_ref());
        }
        Ok(())
    }
}

/// Whether the feed cannot tell what comes next, and never will.
pub(super) fn is_untold(fault: &StoreFault) -> bool {
    matches!(
        fault,
        StoreFault::FeedForgotten { .. }
            | StoreFault::Damaged { .. }
            | StoreFault::PartDamaged { .. }
            | StoreFault::Unreadable(_)
    )
}

impl Engine {
    /// How healings are getting on; `None` where nobody but this gateway changes the store.
    pub fn healings(&self) -> Option<Healings> {
        let (memory, heard) = (self.memory.as_ref()?, self.heard.as_ref()?);
        Some(memory.healings(self.store.parts(), heard.boot_ms()))
    }

    /// What this gateway keeps of a store that others change too, on its own disk.
    pub fn shadow(&self) -> Option<&Arc<Shadow>> {
        Some(&self.memory.as_ref()?.keeps.shadow)
    }

    async fn heal_turn(
        &self,
        part: Part,
        heard: &Heard,
        memory: &Memory,
        healing: &mut Healing,
    ) -> Result<Turned, HealFault> {
        let fresh = new_id("heal", self.now())
            .map_err(|fault| StoreFault::Unavailable { detail: fault.to_string() })?;
        let Keeps { shadow, store, grace_ms } = &memory.keeps;
        let healer = Healer { store: &**store, known: shadow, me: &self.gateway, grace_ms: *grace_ms };
        healing.turn(&healer, part, heard.boot_ms(), &fresh).await
    }

    /// One step towards a part that can be followed: it is sound, and has all that is known here.
    pub(super) async fn begin_kept(
        self: &Arc<Self>,
        part: Part,
        heard: &Heard,
        memory: &Memory,
        healing: &mut Healing,
    ) -> Result<Went, HealFault> {
        let turned = {
            let _alone = memory.alone(part).await;
            self.heal_turn(part, heard, memory, healing).await?
        };
        let went = match turned {
            Turned::Serves | Turned::Copies => self.trust(part, heard, memory),
            Turned::Works => {
                if heard.leases.suspicion(part).is_some() {
                    memory.ails(part, heard, Stage::Joins);
                }
                Went::On
            }
            Turned::Waits { until_ms, missing } => {
                memory.catch_up(self, part).await?;
                if heard.leases.suspicion(part).is_some() {
                    memory.ails(part, heard, Stage::Waits(missing));
                }
                let rest = until_ms.saturating_sub(heard.boot_ms()).clamp(SOON_MS, LOOK_MS);
                Went::Later(Duration::from_millis(rest.unsigned_abs()))
            }
            Turned::Lost => {
                memory.ails(part, heard, Stage::Lost);
                Went::Later(LOST_REST)
            }
            Turned::OtherStore(id) => {
                memory.ails(part, heard, Stage::Other(id));
                Went::Later(LOST_REST)
            }
        };
        Ok(went)
    }

    /// A part is sound and has all that is known here: it is followed from there on, and trusted as soon as a beat says so too.
    fn trust(self: &Arc<Self>, part: Part, heard: &Heard, memory: &Memory) -> Went {
        let seen = memory.keeps.shadow.seen(part);
        let Some((seen, id)) = seen.and_then(|seen| seen.store.map(|id| (seen, id))) else { return Went::On };
        let mut again = Vec::new();
        // Before anybody may go by it: what was known may be of a history that was left.
        self.forget_part(part, heard, &mut again);
        heard.leases.expect(part, id, seen.epoch);
        heard.leases.in_force(part, seen.number, seen.line);
        memory.is_well(part, heard);
        heard.leases.suspect(part, None);
        self.decide_apart(again);
        Went::From(At { number: seen.number, id, epoch: seen.epoch, jumps: seen.jumps })
    }

    /// One page of what the shadow lacks, or a step towards what proves that the store has what is known here. The part is trusted
    /// meanwhile; changes of this gateway's own go first.
    pub(super) async fn copy_on(
        self: &Arc<Self>,
        part: Part,
        heard: &Heard,
        memory: &Memory,
        at: &At,
        healing: &mut Healing,
    ) -> Result<Went, HealFault> {
        if !memory.keeps.shadow.is_behind()
            && let Some(Ok(_alone)) = memory.ways.get(usize::from(part.0)).map(RwLock::try_write)
        {
            self.heal_turn(part, heard, memory, healing).await?;
        }
        tokio::time::sleep(COPY_REST).await;
        let seen = memory.keeps.shadow.seen(part);
        let goes_on = seen.is_some_and(|seen| {
            (seen.store, seen.epoch, seen.jumps) == (Some(at.id), at.epoch, at.jumps)
                && seen.number == at.number
                && !seen.torn
        });
        Ok(if goes_on { Went::On } else { Went::Anew })
    }

    /// Says in the log what becomes of healings, for as long as the gateway runs.
    pub(super) async fn keep_telling_of_healings(self: Arc<Self>) {
        let (Some(memory), Some(heard)) = (&self.memory, &self.heard) else { return };
        let mut before = Healings::default();
        let mut suspects = 0;
        loop {
            let now = memory.healings(self.store.parts(), heard.boot_ms());
            let (parts, suspect) = heard.suspects();
            if suspect > 0
                && (suspects == 0
                    || (&before.waits_for, before.lost, before.other)
                        != (&now.waits_for, now.lost, now.other))
            {
                let waits_for = now.waits_for.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
                let reasons: BTreeSet<&str> = (0..parts)
                    .filter_map(|part| heard.leases.suspicion(Part(part)))
                    .map(|why| why.code())
                    .collect();
                let reasons = reasons.into_iter().collect::<Vec<_>>().join(" ");
                tracing::error!(
                    parts = suspect, lost = now.lost, %waits_for, %reasons,
                    "the store has lost something and is being healed; staff are refused there until it is"
                );
            }
            if let Some(id) = now.other
                && before.other.is_none()
            {
                tracing::error!(
                    store = %id,
                    "this is another store than the one that this gateway's shadow is of; neither is mixed with the other: correct the address, or move shadow and ledger away"
                );
            }
            if suspects > 0 && suspect == 0 {
                let without = before.waits_for.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
                tracing::warn!(
                    healed = now.healed, %without,
                    "the store is healed: what gateways knew is joined in; who was waited for in vain joins before it serves"
                );
            }
            (before, suspects) = (now, suspect);
            tokio::time::sleep(TELL_EVERY).await;
        }
    }
}
