//! How state and ledger are opened, and what is done when one of them is missing.
//!
//! A store that is missing beside a ledger is rebuilt from it, never made empty; where neither is there, the operator
//! says that this is a beginning (`postern state init`).
//!
//! Never here: how either of them keeps its files.

use std::{path::Path, sync::Arc};

use super::build;
use crate::{
    audit::{
        journal::{self, Journal, Recovered, disk::RealDisk},
        note::{NoteError, SigningKey},
        read::{ReadError, Records, segments},
        verify::verify,
    },
    config::Settings,
    engine::{Clock, documents_in},
    state::{self, Embedded, embedded::Hints},
};

/// The largest record, in bytes: the outcome of a change holds its documents whole, and they must not be cut.
const MAX_RECORD: usize = 1 << 20;

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
    /// The store.
    #[error(transparent)]
    Store(#[from] state::OpenFault),
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
    /// The ledger is there and does not verify, so no state is rebuilt from it.
    #[error("the state is missing and the ledger it would be rebuilt from does not verify: {0}")]
    Unverified(String),
    /// A record of the ledger holds documents that cannot be read.
    #[error(
        "the state is missing and `{file}`, line {line}, holds documents that this build cannot read: {fault}; start the version that wrote them"
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

/// State and ledger, open.
pub(super) struct Opened {
    pub(super) store: Arc<Embedded>,
    pub(super) journal: Journal,
    pub(super) recovered: Recovered,
}

fn has_ledger(dir: &Path) -> Result<bool, OpenFault> {
    if !dir.exists() {
        return Ok(false);
    }
    Ok(!segments(dir)?.is_empty())
}

/// Opens both.
pub(super) fn open(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Opened, OpenFault> {
    let key = build::ledger_key(settings)?;
    if !settings.state.path.exists() {
        if !has_ledger(&settings.ledger.path)? {
            return Err(OpenFault::NothingThere {
                state: settings.state.path.display().to_string(),
                ledger: settings.ledger.path.display().to_string(),
            });
        }
        rebuild(settings, &key)?;
    }
    let store = Embedded::open(&settings.state.path)?;
    let options = journal::Options {
        segment_bytes: settings.ledger.segment,
        reserve_bytes: settings.ledger.reserve,
        quota_bytes: settings.ledger.quota,
        // The ledger wants four records to fit; what the configuration allows is far above any document (256 KiB).
        max_record: largest_record(settings.ledger.segment.min(settings.ledger.reserve)),
        ..journal::Options::new(settings.ledger.path.clone(), settings.ledger.origin.clone())
    };
    let clock = Arc::clone(clock);
    let (journal, recovered) =
        Journal::open(options, key, Arc::new(move || clock.now().ms()), Arc::new(RealDisk))?;
    Ok(Opened { store: Arc::new(store), journal, recovered })
}

fn largest_record(room: u64) -> usize {
    usize::try_from(room / 4).map_or(MAX_RECORD, |quarter| quarter.min(MAX_RECORD))
}

/// Builds a store anew from the documents in the ledger's outcome records.
fn rebuild(settings: &Settings, key: &SigningKey) -> Result<(), OpenFault> {
    let dir = &settings.ledger.path;
    let report = verify(dir, key.verifying_key())?;
    if !report.is_clean() {
        return Err(OpenFault::Unverified(report.to_string()));
    }
    let mut records = Records::open(dir)?;
    let mut documents = Vec::new();
    while let Some((found, file, number)) = records
        .next(|line, file, number| (documents_in(line.lead.kind, line.leaf), file.to_owned(), number))?
    {
        let unreadable = |fault| OpenFault::Unreadable { file, line: number, fault };
        documents.extend(found.map_err(unreadable)?);
    }
    let hints = Hints {
        epoch: documents.iter().map(|(_, stored)| stored.version.epoch).max().unwrap_or(0),
        position: documents.len() as u64,
    };
    tracing::warn!(
        documents = documents.len(),
        state = %settings.state.path.display(),
        "the state was missing; it is rebuilt from the ledger"
    );
    Embedded::rebuild(&settings.state.path, documents.into_iter(), hints)?;
    Ok(())
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
