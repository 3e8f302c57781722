//! `postern state rebuild`: what a store in Redis forgot, made again from ledgers, where no gateway is left that knew it whole (law 8).
//!
//! Each ledger has to verify. What they have is joined in as a gateway joins its shadow, and only where the store has lost something: gateways
//! that come later join what they know as well. The own ledger's lock is held meanwhile, so this gateway does not run.
//!
//! Never here: how it is joined ([`crate::state::healing`]), which documents a ledger has ([`super::open`]).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use uuid::Uuid;

use super::{BuildFault, OpenFault, REST, build, clock::SystemClock, kept, open};
use crate::{
    audit::{
        journal::{self, Claim},
        note::VerifyingKey,
    },
    config::{Settings, resolve::StateSettings},
    engine::{Clock, new_id},
    model::{Key, Stored},
    state::{
        Part, Parts, RedisStore, Shadow, Store, StoreFault,
        healing::{Heal, HealFault, Healer, Healing, Known, Recollection, Turned},
        shadow::ShadowFault,
    },
};

/// Who joins, where a gateway would say its name.
const ME: &str = "state-rebuild";
/// How long the servers may take to be reached.
const REACH: Duration = Duration::from_secs(10);
/// How long it rests where a step came to nothing, and how often that may be in a row.
const AGAIN: Duration = Duration::from_millis(100);
const MOST_TRIES: u32 = 50;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// The store's id.
    pub store: Uuid,
    /// How many of its parts had lost something and are whole again.
    pub parts: usize,
    /// How many states of documents the ledgers had.
    pub documents: usize,
}

/// Why nothing is rebuilt, or not all.
#[derive(Debug, thiserror::Error)]
pub enum RebuildFault {
    /// The store is a file.
    #[error("a store in a file is rebuilt from its ledger by `postern run`, when it is missing or older")]
    Embedded,
    /// Nothing was lost.
    #[error("the store {0} has lost nothing; gateways join what it lacks when they start")]
    Sound(Uuid),
    /// There is nothing to rebuild from.
    #[error("the ledgers have no changes; name others by `--ledger DIR=KEY`")]
    Nothing,
    /// Another store than this gateway knew.
    #[error("the store {found} is there, and this gateway's shadow is of {known}; correct the address")]
    Other {
        /// What is there.
        found: Uuid,
        /// What was known.
        known: Uuid,
    },
    /// The configuration.
    #[error(transparent)]
    Build(#[from] BuildFault),
    /// A ledger, or what else a start opens.
    #[error(transparent)]
    Open(#[from] OpenFault),
    /// The shadow, of which the store's id is read.
    #[error(transparent)]
    Shadow(#[from] ShadowFault),
    /// The store.
    #[error("{0}; what was done stays, run it again")]
    Store(#[from] StoreFault),
    /// A step.
    #[error("{0}; what was done stays, run it again")]
    Heal(#[from] HealFault),
    /// The system gives no threads.
    #[error("the system gives no threads: {0}")]
    Threads(#[from] std::io::Error),
}

/// Rebuilds from the own ledger and others, each with its key; `progress` is called with how many parts are done, and of how many.
///
/// # Errors
/// [`RebuildFault`].
pub fn rebuild(
    settings: &Settings,
    others: &[(PathBuf, VerifyingKey)],
    mut progress: impl FnMut(usize, usize),
) -> Result<Rebuilt, RebuildFault> {
    let StateSettings::Redis(redis) = &settings.state else { return Err(RebuildFault::Embedded) };
    let own = settings.ledger.path.as_path();
    let key = build::ledger_key(settings).map_err(OpenFault::from)?;
    let _claim = Claim::of(own).map_err(|fault: journal::OpenError| OpenFault::from(fault))?;
    let mut ledgers = Vec::new();
    if open::has_ledger(own)? {
        ledgers.push(told(own, key.verifying_key())?);
    }
    for (ledger, key) in others {
        ledgers.push(told(ledger, key)?);
    }
    let count: usize = ledgers.iter().map(Vec::len).sum();
    if count == 0 {
        return Err(RebuildFault::Nothing);
    }
    let options = kept::options(redis);
    let known = match redis.shadow.symlink_metadata() {
        Ok(_) => {
            let shadow = Shadow::open(&redis.shadow)?;
            (0..options.parts).find_map(|part| shadow.seen(Part(part))?.store)
        }
        Err(_) => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let clock = Arc::new(SystemClock::default());
    let ticking = Arc::clone(&clock);
    let store = RedisStore::start(options, runtime.handle(), Arc::new(move || ticking.boot_ms()));
    let rebuilt = runtime.block_on(async {
        reached(&store).await?;
        let lost = lost(&store, known).await?;
        let recollection = Recollection::of(lost.store, store.parts(), ledgers, |key| store.part_of(key));
        for (done, part) in lost.parts.iter().enumerate() {
            progress(done, lost.parts.len());
            heal(&store, &recollection, *part, &clock).await?;
        }
        progress(lost.parts.len(), lost.parts.len());
        Ok(Rebuilt { store: lost.store, parts: lost.parts.len(), documents: count })
    });
    drop(store);
    runtime.shutdown_timeout(REST);
    rebuilt
}

/// What a ledger tells of documents: what was stored, and what was promised to be taken away and may not have been.
fn told(ledger: &Path, key: &VerifyingKey) -> Result<Vec<(Key, Stored)>, OpenFault> {
    let mut documents = open::documents(ledger, key)?;
    documents.extend(open::promised(ledger)?);
    Ok(documents)
}

/// Waits until all parts can be reached.
async fn reached(store: &RedisStore) -> Result<(), StoreFault> {
    let all = Parts::first(store.parts());
    let mut up = store.links().up();
    match tokio::time::timeout(REACH, up.wait_for(|up| *up == all)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => {
            let trouble = all.each().find_map(|part| store.links().at(part).err());
            Err(trouble.unwrap_or(StoreFault::Closed))
        }
    }
}

struct Lost {
    store: Uuid,
    parts: Vec<Part>,
}

/// What the store has lost, and whose it is.
async fn lost(store: &RedisStore, known: Option<Uuid>) -> Result<Lost, RebuildFault> {
    let (mut there, mut parts) = (None, Vec::new());
    for part in (0..store.parts()).map(Part) {
        let head = store.sight(part, 0, ME).await?.head;
        there = there.or(head.as_ref().map(|head| (head.id, head.was.clone())));
        if head.is_none_or(|head| head.round.is_some()) {
            parts.push(part);
        }
    }
    match (there, known) {
        (Some((found, was)), Some(known)) if found != known && !was.contains(&known) => {
            Err(RebuildFault::Other { found, known })
        }
        (Some((found, _)), _) if parts.is_empty() => Err(RebuildFault::Sound(found)),
        (Some((store, _)), _) | (None, Some(store)) => Ok(Lost { store, parts }),
        (None, None) => Ok(Lost { store: Uuid::now_v7(), parts }),
    }
}

/// Joins what is recalled into one part until that is whole, and a majority has it.
async fn heal(
    store: &RedisStore,
    recollection: &Recollection,
    part: Part,
    clock: &SystemClock,
) -> Result<(), RebuildFault> {
    let healer = Healer { store, known: recollection, me: ME, grace_ms: 0 };
    let (mut healing, mut tries) = (Healing::default(), 0);
    loop {
        let fresh = new_id("heal", clock.now())
            .map_err(|fault| StoreFault::Unavailable { detail: fault.to_string() })?;
        match healing.turn(&healer, part, clock.boot_ms(), &fresh).await {
            Ok(Turned::Serves | Turned::Copies) => break,
            Ok(Turned::Works) => tries = 0,
            Ok(Turned::Waits { .. }) => tokio::time::sleep(AGAIN).await,
            // Whoever rebuilds says that this is all there is, so neither comes.
            Ok(Turned::Lost | Turned::OtherStore(_)) => {
                return Err(StoreFault::Forgotten { part: part.0 }.into());
            }
            Err(fault) if tries >= MOST_TRIES => return Err(fault.into()),
            Err(_) => {
                tries += 1;
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    let first = recollection.documents(part, None, 1).await.map_err(HealFault::from)?;
    let keys: Vec<_> = first.into_iter().map(|(key, _)| key).collect();
    if !keys.is_empty() {
        store.confirmed(&keys).await?;
    }
    Ok(())
}
