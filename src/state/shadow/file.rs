//! The file of a shadow.
//!
//! | table | from | to |
//! | --- | --- | --- |
//! | `documents` | part, key | document as JSON |
//! | `seen` | part | up to where it was seen, as JSON |
//! | `meta` | `label`, `gateways`, `recorded`, `dated`, `configured` | layout; the fleet's gateways; how many records of the own ledger are in it; how old all was, and when; tenants that were configured |
//!
//! Never here: what is in memory and when it is written ([`super`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use redb::{
    Builder, Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    TableError, backends::FileBackend,
};
use serde::{Deserialize, Serialize};

use crate::{
    model::{Key, Stored, TenantId},
    state::{Part, Unreadable, codec},
};

use super::{buffer::Layer, dated::Dated, seen::Seen};

const DOCUMENTS: TableDefinition<(u16, &[u8]), &[u8]> = TableDefinition::new("documents");
const SEEN: TableDefinition<u16, &[u8]> = TableDefinition::new("seen");
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

/// The layout that this build writes and reads.
const LAYOUT: u32 = 1;

/// What redb keeps of the file in memory, in bytes.
const CACHE: usize = 16 << 20;

/// How many bytes of documents are written in one transaction, about.
const CHUNK: usize = 1 << 20;

/// Why a shadow is none that can be used. The file is left as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShadowFault {
    /// Another process has it open.
    #[error("`{0}` is in use by another process; stop that one first, a shadow is one gateway's")]
    Locked(PathBuf),
    /// It is damaged, cut off, or no shadow.
    #[error(
        "the shadow `{path}` is damaged or none ({detail}); move it away and start `postern run`: what this gateway's ledger has is put into a new one"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Written by another version.
    #[error("the shadow `{path}` has layout {found}, this build reads {known}; run the version of postern that wrote it", known = LAYOUT)]
    Layout {
        /// The file.
        path: PathBuf,
        /// The number it bears.
        found: u32,
    },
    /// A document in it cannot be read.
    #[error("in the shadow: {0}")]
    Unreadable(#[from] Unreadable),
    /// The system says no.
    #[error(
        "the shadow `{path}` cannot be used ({detail}); check its directory, its permissions and the room on the disk"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        detail: String,
    },
}

impl ShadowFault {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            ShadowFault::Locked(_) => "shadow_locked",
            ShadowFault::Damaged { .. } => "shadow_damaged",
            ShadowFault::Layout { .. } => "shadow_layout",
            ShadowFault::Unreadable(_) => "shadow_document",
            ShadowFault::Io { .. } => "shadow_io",
        }
    }

    pub(super) fn io(path: &Path, source: &io::Error) -> Self {
        ShadowFault::Io { path: path.to_owned(), detail: source.to_string() }
    }
}

#[derive(Serialize, Deserialize)]
struct Label {
    shadow: u32,
}

/// What is in the file beside documents; what is absent is not written.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// What was seen of parts.
    pub(super) seen: BTreeMap<Part, Seen>,
    /// The gateways known.
    pub(super) gateways: Option<BTreeSet<String>>,
    /// How many records of the own ledger had been written by then.
    pub(super) recorded: Option<u64>,
    /// How old what is known was.
    pub(super) dated: Option<Dated>,
}

/// The file, open.
pub(super) struct Base {
    path: PathBuf,
    database: Database,
}

impl Base {
    /// Opens the file, or makes it; whether it was made.
    pub(super) fn open(path: &Path) -> Result<(Self, bool), ShadowFault> {
        let made = match fs::symlink_metadata(path) {
            Ok(_) => false,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => {
                make(path)?;
                true
            }
            Err(fault) => return Err(ShadowFault::io(path, &fault)),
        };
        // redb promises errors for what is damaged, but that is no reason to trust in it.
        let opened = catch_unwind(AssertUnwindSafe(|| examined(path)));
        let database = opened.unwrap_or_else(|_| Err(damaged(path, "reading it fails")))?;
        Ok((Self { path: path.to_owned(), database }, made))
    }

    fn fault(&self, error: impl Into<redb::Error>) -> ShadowFault {
        fault(&self.path, error.into())
    }

    /// Nothing else is written as long as this is held.
    #[cfg(test)]
    pub(super) fn held(&self) -> redb::WriteTransaction {
        self.database.begin_write().unwrap()
    }

    pub(super) fn read(&self) -> Result<ReadTransaction, ShadowFault> {
        self.database.begin_read().map_err(|e| self.fault(e))
    }

    /// All that there is beside documents.
    pub(super) fn marks(&self) -> Result<Marks, ShadowFault> {
        let read = self.read()?;
        let mut seen = BTreeMap::new();
        let table = read.open_table(SEEN).map_err(|e| self.fault(e))?;
        for row in table.range::<u16>(..).map_err(|e| self.fault(e))? {
            let (part, text) = row.map_err(|e| self.fault(e))?;
            let one = serde_json::from_slice(text.value());
            seen.insert(Part(part.value()), one.map_err(|e| damaged(&self.path, &e.to_string()))?);
        }
        Ok(Marks {
            seen,
            gateways: self.meta(&read, "gateways")?,
            recorded: self.meta(&read, "recorded")?,
            dated: self.meta(&read, "dated")?,
        })
    }

    /// Adds to the tenants that were configured; all of them.
    pub(super) fn configured(&self, known: &BTreeSet<TenantId>) -> Result<BTreeSet<TenantId>, ShadowFault> {
        let mut all: BTreeSet<TenantId> = self.meta(&self.read()?, "configured")?.unwrap_or_default();
        if !known.is_subset(&all) {
            all.extend(known.iter().cloned());
            self.transaction(|write| self.keep(write, "configured", &all))?;
        }
        Ok(all)
    }

    fn meta<T: for<'de> Deserialize<'de>>(
        &self,
        read: &ReadTransaction,
        name: &str,
    ) -> Result<Option<T>, ShadowFault> {
        let table = read.open_table(META).map_err(|e| self.fault(e))?;
        let Some(text) = table.get(name).map_err(|e| self.fault(e))? else { return Ok(None) };
        serde_json::from_slice(text.value()).map(Some).map_err(|e| damaged(&self.path, &e.to_string()))
    }

    /// One document.
    pub(super) fn get(
        &self,
        read: &ReadTransaction,
        part: Part,
        key: &Key,
    ) -> Result<Option<Stored>, ShadowFault> {
        let table = read.open_table(DOCUMENTS).map_err(|e| self.fault(e))?;
        let bytes = codec::key(key);
        let Some(text) = table.get((part.0, bytes.as_slice())).map_err(|e| self.fault(e))? else {
            return Ok(None);
        };
        Ok(Some(codec::read_document(key, text.value())?))
    }

    /// The documents of a part that follow a key.
    pub(super) fn page(
        &self,
        read: &ReadTransaction,
        part: Part,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Key, Stored)>, ShadowFault> {
        let table = read.open_table(DOCUMENTS).map_err(|e| self.fault(e))?;
        let mut rows = Vec::new();
        // The first name of all is below every document's.
        for row in table.range((part.0, after)..).map_err(|e| self.fault(e))? {
            let (name, text) = row.map_err(|e| self.fault(e))?;
            let (of, bytes) = name.value();
            if of != part.0 || rows.len() >= limit {
                break;
            }
            if bytes == after {
                continue;
            }
            let key = codec::read_key(bytes).ok_or_else(|| damaged(&self.path, "a key cannot be read"))?;
            let stored = codec::read_document(&key, text.value())?;
            rows.push((bytes.to_vec(), key, stored));
        }
        Ok(rows)
    }

    /// Writes what was noted. The places come last: a shadow never claims what it does not have.
    pub(super) fn write(&self, layer: &Layer, marks: &Marks) -> Result<(), ShadowFault> {
        let mut rest = layer.documents.iter().peekable();
        while rest.peek().is_some() {
            let mut bytes = 0;
            self.transaction(|write| {
                let mut table = write.open_table(DOCUMENTS).map_err(|e| self.fault(e))?;
                while let Some(((part, name), over)) = rest.next_if(|_| bytes < CHUNK) {
                    let name = (part.0, name.as_slice());
                    let known = table.get(name).map_err(|e| self.fault(e))?.map(|text| text.value().to_vec());
                    // What is written there and cannot be read stays: it may be a newer build's.
                    let joined = match known.map(|text| codec::read_document(&over.key, &text)) {
                        Some(Ok(known)) => over.on(&known),
                        Some(Err(unreadable)) => {
                            tracing::error!(document = %over.key, code = unreadable.code(), "the shadow keeps what it cannot read: {unreadable}");
                            continue;
                        }
                        None => over.stored.clone(),
                    };
                    let text = serde_json::to_vec(&joined).map_err(|e| damaged(&self.path, &e.to_string()))?;
                    bytes += text.len();
                    table.insert(name, text.as_slice()).map_err(|e| self.fault(e))?;
                }
                Ok(())
            })?;
        }
        self.transaction(|write| {
            let mut table = write.open_table(SEEN).map_err(|e| self.fault(e))?;
            for (part, seen) in &marks.seen {
                let text = serde_json::to_vec(seen).map_err(|e| damaged(&self.path, &e.to_string()))?;
                table.insert(part.0, text.as_slice()).map_err(|e| self.fault(e))?;
            }
            if let Some(gateways) = &marks.gateways {
                self.keep(write, "gateways", gateways)?;
            }
            if let Some(dated) = &marks.dated {
                self.keep(write, "dated", dated)?;
            }
            marks.recorded.map_or(Ok(()), |recorded| self.keep(write, "recorded", &recorded))
        })
    }

    fn keep(
        &self,
        write: &redb::WriteTransaction,
        name: &str,
        value: &impl Serialize,
    ) -> Result<(), ShadowFault> {
        let mut table = write.open_table(META).map_err(|e| self.fault(e))?;
        let text = serde_json::to_vec(value).map_err(|e| damaged(&self.path, &e.to_string()))?;
        table.insert(name, text.as_slice()).map_err(|e| self.fault(e))?;
        Ok(())
    }

    fn transaction(
        &self,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<(), ShadowFault>,
    ) -> Result<(), ShadowFault> {
        let mut write = self.database.begin_write().map_err(|e| self.fault(e))?;
        write.set_durability(Durability::Immediate).map_err(|e| self.fault(e))?;
        work(&write)?;
        write.commit().map_err(|e| self.fault(e))
    }
}

fn damaged(path: &Path, detail: &str) -> ShadowFault {
    ShadowFault::Damaged { path: path.to_owned(), detail: detail.to_owned() }
}

fn fault(path: &Path, error: redb::Error) -> ShadowFault {
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            ShadowFault::Locked(path.to_owned())
        }
        redb::Error::Io(source)
            if matches!(source.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) =>
        {
            damaged(path, &source.to_string())
        }
        redb::Error::Io(source) => ShadowFault::io(path, &source),
        redb::Error::PreviousIo => ShadowFault::io(path, &io::Error::other("an earlier error")),
        other => damaged(path, &other.to_string()),
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

fn examined(path: &Path) -> Result<Database, ShadowFault> {
    let io = |source: io::Error| ShadowFault::io(path, &source);
    if fs::metadata(path).map_err(io)?.len() == 0 {
        return Err(damaged(path, "it is empty"));
    }
    let base = |error: redb::Error| fault(path, error);
    let mut database = builder().open(path).map_err(|e| base(e.into()))?;
    if !database.check_integrity().map_err(|e| base(e.into()))? {
        return Err(damaged(path, "a check of all its pages fails"));
    }
    let read = database.begin_read().map_err(|e| base(e.into()))?;
    let table = match read.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Err(damaged(path, "it has no label")),
        Err(error) => return Err(base(error.into())),
    };
    let label = table.get("label").map_err(|e| base(e.into()))?;
    let label = label.and_then(|text| serde_json::from_slice::<Label>(text.value()).ok());
    match label {
        Some(Label { shadow: LAYOUT }) => {}
        Some(Label { shadow: found }) => return Err(ShadowFault::Layout { path: path.to_owned(), found }),
        None => return Err(damaged(path, "it has no label of a shadow")),
    }
    drop(table);
    drop(read);
    Ok(database)
}

/// Makes an empty shadow beside its place and puts it there: whole or not at all, and never over anything.
fn make(path: &Path) -> Result<(), ShadowFault> {
    let io = |source: io::Error| ShadowFault::io(path, &source);
    let mut name = path.file_name().map(std::ffi::OsStr::to_owned).unwrap_or_default();
    name.push(".new");
    let draft = path.with_file_name(name);
    // What a crash left half made; a shadow in use is never there.
    match fs::remove_file(&draft) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(io(fault)),
        _ => {}
    }
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&draft).map_err(io)?;
    let base = |error: redb::Error| fault(path, error);
    let backend = FileBackend::new(file).map_err(|e| base(e.into()))?;
    let database = builder().create_with_backend(backend).map_err(|e| base(e.into()))?;
    let made = Base { path: path.to_owned(), database };
    made.transaction(|write| {
        write.open_table(DOCUMENTS).map_err(|e| made.fault(e))?;
        write.open_table(SEEN).map_err(|e| made.fault(e))?;
        made.keep(write, "label", &Label { shadow: LAYOUT })
    })?;
    drop(made);
    File::open(&draft).and_then(|file| file.sync_all()).map_err(io)?;
    fs::hard_link(&draft, path).map_err(io)?;
    fs::remove_file(&draft).map_err(io)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(io)
}
