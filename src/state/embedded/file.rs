//! The file of the embedded store: made, opened, rebuilt. It is never made by opening it.
//!
//! Never here: reading and changing documents (see [`super::tables`], [`super::writer`]).

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use redb::{Builder, Database, Durability, ReadableDatabase, backends::FileBackend};
use uuid::Uuid;

use crate::{
    model::{Key, Stored, Version, join::join},
    state::{Mark, Refusal, StoreFault, Unreadable},
};

use super::{
    medium::{Disk, Medium},
    reading::{Labelled, label},
    tables::{LAYOUT, Label, Tables, Trouble},
};

/// What redb keeps of a file in memory, in bytes. The cells in front of the store are the cache that matters.
const CACHE: usize = 32 << 20;

/// What every redb file begins with.
const MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";

/// How many documents a rebuild takes into one transaction.
const CHUNK: usize = 1000;

/// Why a file is no store that can be used. The file is left as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// There is no file.
    #[error(
        "`{0}` does not exist; `postern state init` makes a new store; where there was one, `postern run` rebuilds it from the ledger"
    )]
    Missing(PathBuf),
    /// There is something already.
    #[error(
        "`{0}` exists already; a store is never made over a file: move it away first if it is to be replaced"
    )]
    Exists(PathBuf),
    /// Another process, or another part of this one, has it open.
    #[error("`{0}` is in use by another process; stop that one first, a store has one gateway")]
    Locked(PathBuf),
    /// It has no bytes.
    #[error("`{0}` is empty; move it away and start `postern run`: it is rebuilt from the ledger")]
    Empty(PathBuf),
    /// It is some other file.
    #[error("`{0}` is no store of postern; check `state:` in the configuration")]
    Foreign(PathBuf),
    /// It is damaged or cut off.
    #[error(
        "`{path}` is damaged ({detail}); move it away and start `postern run`: it is rebuilt from the ledger"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// A database without the mark of a store.
    #[error(
        "`{0}` has no mark of a store; an empty store is never taken for a new one: move it away and start `postern run`, it is rebuilt from the ledger"
    )]
    Unmarked(PathBuf),
    /// Written by another version.
    #[error("`{path}` has layout {found}, this build reads {known}; run the version of postern that wrote it", known = LAYOUT)]
    Layout {
        /// The file.
        path: PathBuf,
        /// The number it bears.
        found: u32,
    },
    /// A document for a rebuild is not one.
    #[error("a document cannot be taken over ({0})")]
    Document(#[from] Refusal),
    /// A document that was just written does not read back.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The system says no.
    #[error(
        "`{path}` cannot be used ({source}); check its directory, its permissions and the room on the disk"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl OpenFault {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            OpenFault::Missing(_) => "state_missing",
            OpenFault::Exists(_) => "state_exists",
            OpenFault::Locked(_) => "state_locked",
            OpenFault::Empty(_) => "state_empty",
            OpenFault::Foreign(_) => "state_foreign",
            OpenFault::Damaged { .. } => "state_damaged",
            OpenFault::Unmarked(_) => "state_unmarked",
            OpenFault::Layout { .. } => "state_layout",
            OpenFault::Document(_) | OpenFault::Unreadable(_) => "state_document",
            OpenFault::Io { .. } => "state_io",
        }
    }

    fn io(path: &Path) -> impl Fn(io::Error) -> OpenFault {
        move |source| OpenFault::Io { path: path.to_owned(), source }
    }

    fn base(path: &Path, error: redb::Error) -> OpenFault {
        let path = path.to_owned();
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => OpenFault::Locked(path),
            redb::Error::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
                OpenFault::Damaged { path, detail: "it is cut off".to_owned() }
            }
            redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
                OpenFault::Damaged { path, detail: source.to_string() }
            }
            redb::Error::Io(source) => OpenFault::Io { path, source },
            redb::Error::PreviousIo => OpenFault::Io { path, source: io::Error::other("an earlier error") },
            other => OpenFault::Damaged { path, detail: other.to_string() },
        }
    }

    fn trouble(path: &Path, trouble: Trouble) -> OpenFault {
        match trouble {
            Trouble::Base(error) => OpenFault::base(path, error),
            Trouble::Damaged(detail) => OpenFault::Damaged { path: path.to_owned(), detail },
            Trouble::Fault(fault) => OpenFault::Damaged { path: path.to_owned(), detail: fault.to_string() },
        }
    }

    /// The same, to callers of a store that was open before.
    pub(super) fn fault(&self) -> StoreFault {
        match self {
            OpenFault::Io { .. } | OpenFault::Locked(_) => {
                StoreFault::Unavailable { detail: self.to_string() }
            }
            _ => StoreFault::Damaged { detail: self.to_string() },
        }
    }
}

/// Opens a store, first on trial: what cannot be opened whole is not touched.
pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<(Database, Label, u64), OpenFault> {
    let backend = disk.open().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => OpenFault::Missing(path.to_owned()),
        io::ErrorKind::IsADirectory => OpenFault::Foreign(path.to_owned()),
        _ => OpenFault::Io { path: path.to_owned(), source },
    })?;
    let len = backend.len().map_err(OpenFault::io(path))?;
    if len == 0 {
        return Err(OpenFault::Empty(path.to_owned()));
    }
    let mut head = [0u8; MAGIC.len()];
    let known = usize::try_from(len).unwrap_or(MAGIC.len()).min(MAGIC.len());
    if let Some(part) = head.get_mut(..known) {
        backend.read(0, part).map_err(OpenFault::io(path))?;
    }
    if !MAGIC.starts_with(head.get(..known).unwrap_or_default()) {
        return Err(OpenFault::Foreign(path.to_owned()));
    }
    let trial = Medium::trial(backend).map_err(OpenFault::io(path))?;
    // Checking reads every page; redb promises errors, but a damaged file is no reason to trust in that.
    let sound = catch_unwind(AssertUnwindSafe(|| examine(trial, path)));
    sound.unwrap_or_else(|_| {
        Err(OpenFault::Damaged { path: path.to_owned(), detail: "reading it fails".to_owned() })
    })?;
    let real = Medium::real(disk.open().map_err(OpenFault::io(path))?);
    let database = builder().create_with_backend(real).map_err(|e| OpenFault::base(path, e.into()))?;
    let (label, position) = labelled(&database, path)?;
    Ok((database, label, position))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

fn examine(trial: Medium, path: &Path) -> Result<(), OpenFault> {
    let mut database = builder().create_with_backend(trial).map_err(|e| OpenFault::base(path, e.into()))?;
    match database.check_integrity() {
        Ok(true) => {}
        // Repaired means: something that was durable is not as it was written.
        Ok(false) => {
            let detail = "a check of all its pages fails".to_owned();
            return Err(OpenFault::Damaged { path: path.to_owned(), detail });
        }
        Err(error) => return Err(OpenFault::base(path, error.into())),
    }
    labelled(&database, path).map(|_| ())
}

fn labelled(database: &Database, path: &Path) -> Result<(Label, u64), OpenFault> {
    let read = database.begin_read().map_err(|e| OpenFault::base(path, e.into()))?;
    match label(&read).map_err(|trouble| OpenFault::trouble(path, trouble))? {
        Labelled::Not => Err(OpenFault::Unmarked(path.to_owned())),
        Labelled::Other(found) => Err(OpenFault::Layout { path: path.to_owned(), found }),
        Labelled::As(label, position) => Ok((label, position)),
    }
}

/// What is known about a store that is being rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hints {
    /// The highest epoch that anybody saw.
    pub epoch: u32,
    /// The newest place in the feed that anybody saw. Places go on above it.
    pub position: u64,
}

/// Makes a new, empty store.
pub(super) fn init(path: &Path) -> Result<Mark, OpenFault> {
    let label = Label { layout: LAYOUT, id: fresh_id(path)?, epoch: 0, rebuilt: false };
    build(path, |database| {
        in_transaction(database, path, |tables| tables.keep_position(), Some((&label, 0)))?;
        Ok(label.mark(0))
    })
}

/// Makes a store from documents taken from ledgers or shadows.
pub(super) fn rebuild(
    path: &Path,
    documents: impl Iterator<Item = (Key, Stored)>,
    hints: Hints,
) -> Result<Mark, OpenFault> {
    let id = fresh_id(path)?;
    build(path, |database| {
        let draft = Label { layout: LAYOUT, id, epoch: 0, rebuilt: true };
        in_transaction(database, path, |tables| tables.keep_position(), Some((&draft, hints.position)))?;
        let mut epoch = hints.epoch;
        let mut documents = documents.peekable();
        while documents.peek().is_some() {
            let chunk: Vec<(Key, Stored)> = documents.by_ref().take(CHUNK).collect();
            epoch = chunk.iter().map(|(_, stored)| stored.version.epoch).fold(epoch, u32::max);
            in_transaction(database, path, |tables| gather(tables, &chunk), None)??;
        }
        let label = Label { epoch: epoch.saturating_add(1), ..draft };
        let mut after = Vec::new();
        loop {
            let step = |tables: &mut Tables<'_>| raise(tables, &after, label.epoch);
            match in_transaction(database, path, step, None)?? {
                Some(last) => after = last,
                None => break,
            }
        }
        in_transaction(database, path, |tables| tables.keep_position(), Some((&label, hints.position)))?;
        Ok(label.mark(hints.position))
    })
}

fn gather(tables: &mut Tables<'_>, chunk: &[(Key, Stored)]) -> Result<Result<(), OpenFault>, Trouble> {
    for (key, stored) in chunk {
        let joined = match tables.document(key, &crate::state::codec::key(key))? {
            Some(Ok(before)) => join(&before, stored),
            Some(Err(unreadable)) => return Ok(Err(unreadable.into())),
            None => stored.clone(),
        };
        if let Err(refusal) = tables.replace(key, &joined)? {
            return Ok(Err(refusal.into()));
        }
    }
    Ok(Ok(()))
}

/// Joins documents into a store that is there.
pub(super) fn heal(
    disk: &dyn Disk,
    path: &Path,
    documents: impl Iterator<Item = (Key, Stored)>,
    hints: Hints,
) -> Result<Mark, OpenFault> {
    let (database, label, position) = open(disk, path)?;
    // Among themselves first: a ledger tells one history step by step, and what its end remembers may not reach back to
    // its beginning.
    let mut newest: BTreeMap<Key, Stored> = BTreeMap::new();
    for (key, stored) in documents {
        let joined = newest.get(&key).map_or_else(|| stored.clone(), |before| join(before, &stored));
        newest.insert(key, joined);
    }
    let documents: Vec<(Key, Stored)> = newest.into_iter().collect();
    let seen = documents.iter().map(|(_, stored)| stored.version.epoch).fold(hints.epoch, u32::max);
    let label = Label { epoch: label.epoch.max(seen).saturating_add(1), ..label };
    let position = position.max(hints.position);
    in_transaction(&database, path, |tables| take_in(tables, &documents, &label, position), None)??;
    database.close().map_err(|e| OpenFault::base(path, e.into()))?;
    Ok(label.mark(position))
}

fn take_in(
    tables: &mut Tables<'_>,
    documents: &[(Key, Stored)],
    label: &Label,
    position: u64,
) -> Result<Result<(), OpenFault>, Trouble> {
    tables.heal(label, position)?;
    for (key, stored) in documents {
        let before = match tables.document(key, &crate::state::codec::key(key))? {
            Some(Ok(before)) => Some(before),
            Some(Err(unreadable)) => return Ok(Err(unreadable.into())),
            None => None,
        };
        let mut joined = before.as_ref().map_or_else(|| stored.clone(), |before| join(before, stored));
        if before.is_some_and(|before| before.heads == joined.heads) {
            continue;
        }
        joined.version.epoch = label.epoch;
        for change in joined.changes.iter().chain(joined.heads.iter().map(|head| &head.change)) {
            tables.remember(change)?;
        }
        if let Err(refusal) = tables.replace(key, &joined)? {
            return Ok(Err(refusal.into()));
        }
    }
    Ok(Ok(()))
}

/// Gives the documents after `after` the new epoch and makes their changes known; the last key, or `None` at the end.
fn raise(
    tables: &mut Tables<'_>,
    after: &[u8],
    epoch: u32,
) -> Result<Result<Option<Vec<u8>>, OpenFault>, Trouble> {
    let mut last = None;
    for (bytes, found) in tables.page(after, CHUNK)? {
        let (Some(key), Ok(mut stored)) = (crate::state::codec::read_key(&bytes), found) else {
            return Err(Trouble::Damaged("what was just written does not read back".to_owned()));
        };
        stored.version = Version { epoch, number: stored.version.number };
        for change in stored.changes.iter().chain(stored.heads.iter().map(|head| &head.change)) {
            tables.remember(change)?;
        }
        if let Err(refusal) = tables.replace(&key, &stored)? {
            return Ok(Err(refusal.into()));
        }
        last = Some(bytes);
    }
    Ok(Ok(last))
}

fn in_transaction<T>(
    database: &Database,
    path: &Path,
    work: impl FnOnce(&mut Tables<'_>) -> Result<T, Trouble>,
    create: Option<(&Label, u64)>,
) -> Result<T, OpenFault> {
    let run = || {
        let mut write = database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        let mut tables = match create {
            Some((label, position)) => Tables::create(&write, label, position)?,
            None => Tables::open(&write)?,
        };
        let done = work(&mut tables)?;
        drop(tables);
        write.commit()?;
        Ok(done)
    };
    run().map_err(|trouble| OpenFault::trouble(path, trouble))
}

fn fresh_id(path: &Path) -> Result<Uuid, OpenFault> {
    let mut bytes = [0u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| OpenFault::Io {
        path: path.to_owned(),
        source: io::Error::other("no random numbers"),
    })?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// Builds a file beside its place, flushes it, and puts it there: whole or not at all, and never over anything.
fn build(path: &Path, fill: impl FnOnce(&Database) -> Result<Mark, OpenFault>) -> Result<Mark, OpenFault> {
    let io = OpenFault::io(path);
    if fs::symlink_metadata(path).is_ok() {
        return Err(OpenFault::Exists(path.to_owned()));
    }
    let mut name = path.file_name().map(std::ffi::OsStr::to_owned).unwrap_or_default();
    name.push(format!(".{}.new", fresh_id(path)?.simple()));
    let draft = path.with_file_name(name);
    let place = || -> Result<Mark, OpenFault> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .map_err(&io)?;
        let backend = FileBackend::new(file).map_err(|e| OpenFault::base(path, e.into()))?;
        let database = builder().create_with_backend(backend).map_err(|e| OpenFault::base(path, e.into()))?;
        let mark = fill(&database)?;
        database.close().map_err(|e| OpenFault::base(path, e.into()))?;
        File::open(&draft).and_then(|file| file.sync_all()).map_err(&io)?;
        // A link, unlike a renaming, never replaces what came there meanwhile.
        fs::hard_link(&draft, path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => OpenFault::Exists(path.to_owned()),
            _ => io(source),
        })?;
        Ok(mark)
    };
    let placed = place();
    // On success the second name goes, on failure the half-made file; where that fails, a leftover does no harm.
    let _leftover = fs::remove_file(&draft);
    let mark = placed?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(&io)?;
    Ok(mark)
}
