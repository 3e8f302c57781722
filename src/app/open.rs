//! How state and ledger are opened, and what is done when one of them is missing.
//!
//! A store that is missing beside a ledger is rebuilt from it, never made empty; one that is older than its ledger has what
//! it lacks joined in; where neither is there, the operator says that this is a beginning (`postern state init`).
//!
//! Never here: how either of them keeps its files.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use tokio::runtime::Handle;

use super::{
    build,
    kept::{self, Kept},
    shadow,
};
use crate::{
    audit::{
        journal::{self, Claim, Journal, Recovered, disk::RealDisk},
        note::{NoteError, SigningKey, VerifyingKey},
        read::{ReadError, Records, segment_name, segments},
        verify::verify,
    },
    config::{Settings, resolve::StateSettings},
    engine::{Clock, documents_in, promised_in},
    model::{Key, Stored},
    state::{
        self, Embedded, Part, RedisStore, Store, StoreFault,
        embedded::Hints,
        redis::{InitFault, Initialised},
        shadow::ShadowFault,
    },
};

/// The largest record, in bytes: the outcome of a change holds its documents whole, and they must not be cut.
const MAX_RECORD: usize = 1 << 20;
/// How many of the ledger's latest changes the store is asked for, at least, before it is trusted.
const LOOKED_AT: usize = 64;
/// How many documents are looked up at once.
const CHUNK: usize = 256;

/// Why state or ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// Neither state nor ledger is there.
    #[error(
        "there is neither state at `{state}` nor a ledger at `{ledger}`; `postern state init` begins both"
    )]
    NothingThere {
        /// Where state should be.
        state: String,
        /// Where the ledger should be.
        ledger: String,
    },
    /// The store has seen changes, and the ledger that recorded them is gone.
    #[error(
        "the state at `{state}` has seen changes, but there is no ledger at `{ledger}`; mount the ledger that belongs to it, or, if that is lost, move the state away too and begin again with `postern state init`"
    )]
    LedgerMissing {
        /// Where the state is.
        state: String,
        /// Where the ledger should be.
        ledger: String,
    },
    /// This gateway has a shadow of a store that is shared, and the ledger in which it recorded is gone.
    #[error(
        "there is a shadow at `{shadow}`, but no ledger at `{ledger}`; mount the ledger that belongs to it, or, if that is lost, move the shadow away too: the gateway then begins a ledger anew"
    )]
    LedgerGone {
        /// Where the shadow is.
        shadow: String,
        /// Where the ledger should be.
        ledger: String,
    },
    /// The shadow.
    #[error(transparent)]
    Shadow(#[from] ShadowFault),
    /// The store.
    #[error(transparent)]
    Store(#[from] state::OpenFault),
    /// The store, once open, does not answer.
    #[error(transparent)]
    Answer(#[from] StoreFault),
    /// The system gives no runtime to ask the store with.
    #[error("the system gives no threads: {0}")]
    Threads(std::io::Error),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] journal::OpenError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The ledger's key.
    #[error("the ledger's key: {0}")]
    Key(#[from] NoteError),
    /// A beginning was asked for, beside a ledger.
    #[error(
        "there is a ledger at `{0}`; a store beside it is rebuilt from it when the gateway starts, not made empty"
    )]
    LedgerThere(String),
    /// A beginning was asked for, beside a shadow.
    #[error(
        "there is a shadow at `{0}`, so this gateway knew a store; start it with that store, or have `postern state rebuild` make that anew"
    )]
    ShadowThere(String),
    /// A beginning was asked for, and it is made.
    #[error("the store {0} is there already; start the gateway with `postern run`")]
    StoreThere(String),
    /// A store in Redis could not be begun.
    #[error(transparent)]
    Init(#[from] InitFault),
    /// The ledger is there and does not verify, so no state is rebuilt from it.
    #[error(
        "the state is missing or older than the ledger, and the ledger does not verify, so nothing is rebuilt from it: {0}"
    )]
    Unverified(String),
    /// A record of the ledger holds documents that cannot be read.
    #[error(
        "`{file}`, line {line}, holds documents that this build cannot read: {fault}; start the version that wrote them"
    )]
    Unreadable {
        /// The segment.
        file: String,
        /// The line.
        line: u64,
        /// What is wrong.
        fault: serde_json::Error,
    },
}

impl OpenFault {
    /// Whether a beginning was refused since there was one: a store, or what was left by one that this gateway knew.
    pub fn is_begun(&self) -> bool {
        matches!(
            self,
            OpenFault::Store(state::OpenFault::Exists(_))
                | OpenFault::StoreThere(_)
                | OpenFault::ShadowThere(_)
                | OpenFault::LedgerThere(_)
        )
    }

    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            OpenFault::NothingThere { .. } => "nothing_there",
            OpenFault::LedgerMissing { .. } | OpenFault::LedgerGone { .. } => "ledger_missing",
            OpenFault::Shadow(fault) => fault.code(),
            OpenFault::Store(fault) => fault.code(),
            OpenFault::Answer(fault) => fault.code(),
            OpenFault::Threads(_) => "no_threads",
            OpenFault::Ledger(_) => "ledger_unopened",
            OpenFault::LedgerThere(_) => "ledger_there",
            OpenFault::ShadowThere(_) => "shadow_there",
            OpenFault::StoreThere(_) => "store_there",
            OpenFault::Init(_) => "store_not_made",
            OpenFault::Read(_) => "ledger_unreadable",
            OpenFault::Key(_) => "ledger_key",
            OpenFault::Unverified(_) => "ledger_unverified",
            OpenFault::Unreadable { .. } => "ledger_documents",
        }
    }
}

/// State and ledger, open.
pub(super) struct Opened {
    pub(super) store: Kept,
    pub(super) journal: Journal,
    pub(super) recovered: Recovered,
}

pub(super) fn has_ledger(dir: &Path) -> Result<bool, OpenFault> {
    if !dir.exists() {
        return Ok(false);
    }
    Ok(!segments(dir)?.is_empty())
}

/// Opens both. The ledger is claimed before anything is looked at or built: where another gateway runs on it, its state
/// is not touched either.
pub(super) fn open(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    runtime: &Handle,
) -> Result<Opened, OpenFault> {
    let key = build::ledger_key(settings)?;
    let dir = settings.ledger.path.as_path();
    match &settings.state {
        StateSettings::File(path) => {
            if !path.exists() && !has_ledger(dir)? {
                return Err(OpenFault::NothingThere {
                    state: path.display().to_string(),
                    ledger: dir.display().to_string(),
                });
            }
            let claim = Claim::of(dir)?;
            let store = Kept::File(Arc::new(embedded(path, dir, &key)?));
            let (journal, recovered) = open_journal(settings, claim, key, clock)?;
            Ok(Opened { store, journal, recovered })
        }
        StateSettings::Redis(redis) => {
            let claim = Claim::of(dir)?;
            let has_ledger = has_ledger(dir)?;
            shadow::look(&redis.shadow, dir, has_ledger)?;
            let verifying = key.verifying_key().clone();
            // The ledger first: a shadow without one is one that lost it.
            let (journal, recovered) = open_journal(settings, claim, key, clock)?;
            let shadow = shadow::open(&redis.shadow, &journal, &verifying)?;
            Ok(Opened { store: kept::redis(redis, &shadow, runtime, clock), journal, recovered })
        }
    }
}

fn open_journal(
    settings: &Settings,
    claim: Claim,
    key: SigningKey,
    clock: &Arc<dyn Clock>,
) -> Result<(Journal, Recovered), OpenFault> {
    let options = journal::Options {
        segment_bytes: settings.ledger.segment,
        reserve_bytes: settings.ledger.reserve,
        quota_bytes: settings.ledger.quota,
        // The ledger wants four records to fit. The smallest segment leaves 256 KiB, which is less than the store would take
        // of one document (`DOCUMENT_MOST`), and far more than the rules let one become.
        max_record: largest_record(settings.ledger.segment.min(settings.ledger.reserve)),
        ..journal::Options::new(settings.ledger.path.clone(), settings.ledger.origin.clone())
    };
    let clock = Arc::clone(clock);
    Ok(Journal::open_claimed(claim, options, key, Arc::new(move || clock.now().ms()), Arc::new(RealDisk))?)
}

/// The embedded store, rebuilt from the ledger where it is missing, healed from it where it is older.
fn embedded(path: &Path, dir: &Path, key: &SigningKey) -> Result<Embedded, OpenFault> {
    if !path.exists() {
        let documents = documents(dir, key.verifying_key())?;
        tracing::warn!(
            documents = documents.len(),
            state = %path.display(),
            "the state was missing; it is rebuilt from the ledger"
        );
        let hints = hints(&documents);
        Embedded::rebuild(path, documents.into_iter(), hints)?;
    }
    let mut store = Embedded::open(path)?;
    // What is asked of the store here is answered by its own threads.
    let asking = tokio::runtime::Builder::new_current_thread().build().map_err(OpenFault::Threads)?;
    if !has_ledger(dir)? {
        if asking.block_on(store.mark(Part::FIRST))?.position > 0 {
            // So that its file is let go of before anybody is told.
            asking.block_on(store.close());
            return Err(OpenFault::LedgerMissing {
                state: path.display().to_string(),
                ledger: dir.display().to_string(),
            });
        }
    } else if asking.block_on(went_back(&store, &latest(dir)?))? {
        asking.block_on(store.close());
        drop(store);
        let documents = documents(dir, key.verifying_key())?;
        tracing::error!(
            state = %path.display(),
            "the state is older than the ledger; what the ledger knows is joined in, and the narrower holds"
        );
        let hints = hints(&documents);
        Embedded::heal(path, documents.into_iter(), hints)?;
        store = Embedded::open(path)?;
    }
    Ok(store)
}

fn largest_record(room: u64) -> usize {
    usize::try_from(room / 4).map_or(MAX_RECORD, |quarter| quarter.min(MAX_RECORD))
}

/// All documents in the ledger's outcome records, in its order. A ledger that does not verify gives none.
pub(super) fn documents(dir: &Path, key: &VerifyingKey) -> Result<Vec<(Key, Stored)>, OpenFault> {
    let report = verify(dir, key)?;
    if !report.is_clean() {
        return Err(OpenFault::Unverified(report.to_string()));
    }
    let mut records = Records::open(dir)?;
    let mut documents = Vec::new();
    while let Some((found, file, number)) =
        records.next(|line, file, number| (documents_in(line), file.to_owned(), number))?
    {
        let unreadable = |fault| OpenFault::Unreadable { file, line: number, fault };
        documents.extend(found.map_err(unreadable)?);
    }
    Ok(documents)
}

/// What was promised to be taken away and has no outcome: its gateway may be gone before it could store it.
pub(super) fn promised(dir: &Path) -> Result<Vec<(Key, Stored)>, OpenFault> {
    let mut records = Records::open(dir)?;
    let mut open: BTreeMap<String, Vec<(Key, Stored)>> = BTreeMap::new();
    loop {
        let next = records.next(|line, file, number| {
            let [opens, closes] = [line.lead.opens, line.lead.closes].map(|id| id.map(str::to_owned));
            (promised_in(line), opens, closes, file.to_owned(), number)
        })?;
        let Some((found, opens, closes, file, line)) = next else { break };
        if let Some(closed) = closes {
            open.remove(&closed);
        }
        let found = found.map_err(|fault| OpenFault::Unreadable { file, line, fault })?;
        if let (Some(id), false) = (opens, found.is_empty()) {
            open.insert(id, found);
        }
    }
    Ok(open.into_values().flatten().collect())
}

fn hints(documents: &[(Key, Stored)]) -> Hints {
    Hints {
        epoch: documents.iter().map(|(_, stored)| stored.version.epoch).max().unwrap_or(0),
        position: documents.len() as u64,
    }
}

/// The documents of the latest changes that the ledger has as stored, each as it was last. Outcomes may stand in another
/// order than their changes were made in, so several are looked at; the ledger's end is read, not all of it.
fn latest(dir: &Path) -> Result<BTreeMap<Key, Stored>, OpenFault> {
    let mut latest = BTreeMap::new();
    let mut changes = 0;
    for number in segments(dir)?.into_iter().rev() {
        let name = segment_name(number);
        let mut records = Records::from_segment(dir, number)?;
        while let Some((found, file, line)) =
            records.next(|line, file, number| (documents_in(line), file.to_owned(), number))?
        {
            if file != name {
                break;
            }
            let found: Vec<(Key, Stored)> =
                found.map_err(|fault| OpenFault::Unreadable { file, line, fault })?;
            changes += usize::from(!found.is_empty());
            for (key, stored) in found {
                if latest.get(&key).is_none_or(|known: &Stored| known.version < stored.version) {
                    latest.insert(key, stored);
                }
            }
        }
        if changes >= LOOKED_AT {
            break;
        }
    }
    Ok(latest)
}

/// Whether the store lacks any of these (law 8). Documents are never removed, and their versions only rise; a store of
/// another history has another change under the same version.
async fn went_back(store: &Embedded, latest: &BTreeMap<Key, Stored>) -> Result<bool, StoreFault> {
    let keys: Vec<Key> = latest.keys().cloned().collect();
    for keys in keys.chunks(CHUNK) {
        let found = store.load(keys).await?;
        for (known, found) in keys.iter().filter_map(|key| latest.get(key)).zip(found) {
            let lacks = match found {
                None => true,
                // Whoever needs it is told that it cannot be read.
                Some(Err(_)) => false,
                Some(Ok(found)) if found.version == known.version => {
                    !known.heads.iter().all(|head| found.remembers(&head.change))
                }
                Some(Ok(found)) => found.version < known.version,
            };
            if lacks {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Begins what the settings name.
///
/// # Errors
/// [`OpenFault`]: there is something already.
pub fn init(settings: &Settings) -> Result<(), OpenFault> {
    let redis = match &settings.state {
        StateSettings::File(path) => return init_state(path, &settings.ledger.path),
        StateSettings::Redis(redis) => redis,
    };
    // Whoever has a shadow or a ledger knows a store that is there, or one that was lost: neither begins anew.
    if redis.shadow.symlink_metadata().is_ok() {
        return Err(OpenFault::ShadowThere(redis.shadow.display().to_string()));
    }
    if has_ledger(&settings.ledger.path)? {
        return Err(OpenFault::LedgerThere(settings.ledger.path.display().to_string()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(OpenFault::Threads)?.block_on(RedisStore::init(kept::options(redis)))? {
        Initialised::Made(_) => Ok(()),
        Initialised::There(mark) => Err(OpenFault::StoreThere(mark.id.to_string())),
    }
}

/// Begins: an empty store where there is neither state nor ledger.
pub fn init_state(store: &Path, ledger: &Path) -> Result<(), OpenFault> {
    // The store first: who has both is told of the store, which is what would be overwritten.
    if store.symlink_metadata().is_ok() {
        return Err(state::OpenFault::Exists(store.to_owned()).into());
    }
    if has_ledger(ledger)? {
        return Err(OpenFault::LedgerThere(ledger.display().to_string()));
    }
    Embedded::init(store)?;
    Ok(())
}
