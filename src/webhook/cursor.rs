//! How far a webhook was told: a small file for each below the ledger's directory, exchanged as a whole, on disk before anybody goes
//! on.
//!
//! Never here: when it moves.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The folder of cursors in a ledger's directory.
const FOLDER: &str = "webhooks";
/// No cursor is larger.
const MOST_BYTES: u64 = 4096;
/// The format that this build writes and reads.
const FORMAT: u32 = 1;

/// Behind what a webhook is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cursor {
    v: u32,
    /// The log that it counts in.
    pub(super) log: String,
    /// The record that is looked at next.
    pub(super) seq: u64,
    /// Of that record: so many of its events are over.
    pub(super) told: usize,
}

/// Why a cursor cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum CursorFault {
    #[error("`{path}`: {source}")]
    Io { path: String, source: io::Error },
    #[error(
        "`{path}` is no cursor that this version wrote ({why}); remove it to begin with what is recorded from then on"
    )]
    Unreadable { path: String, why: String },
}

impl Cursor {
    pub(super) fn at(log: &str, seq: u64) -> Cursor {
        Cursor { v: FORMAT, log: log.to_owned(), seq, told: 0 }
    }
}

fn place(ledger: &Path, name: &str) -> PathBuf {
    ledger.join(FOLDER).join(format!("{name}.cursor"))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CursorFault + '_ {
    |source| CursorFault::Io { path: path.display().to_string(), source }
}

/// Gives a webhook that has no cursor one at this place.
pub(super) fn begin(ledger: &Path, name: &str, log: &str, seq: u64) -> Result<(), CursorFault> {
    match load(ledger, name)? {
        Some(_) => Ok(()),
        None => save(ledger, name, &Cursor::at(log, seq)),
    }
}

/// Reads it; `None` where there is none.
pub(super) fn load(ledger: &Path, name: &str) -> Result<Option<Cursor>, CursorFault> {
    let path = place(ledger, name);
    let file = match File::open(&path) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed(&path))?,
    };
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(failed(&path))?;
    let unreadable = |why: String| CursorFault::Unreadable { path: path.display().to_string(), why };
    let cursor: Cursor = serde_json::from_slice(&bytes).map_err(|fault| unreadable(fault.to_string()))?;
    if cursor.v != FORMAT {
        return Err(unreadable(format!("its format is {}", cursor.v)));
    }
    Ok(Some(cursor))
}

/// Writes it, in place of the one that is there.
pub(super) fn save(ledger: &Path, name: &str, cursor: &Cursor) -> Result<(), CursorFault> {
    let path = place(ledger, name);
    let folder = ledger.join(FOLDER);
    if !folder.is_dir() {
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        sync(ledger)?;
    }
    let fresh = path.with_extension("new");
    let text = serde_json::to_string(cursor).unwrap_or_default() + "\n";
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).open(&fresh).map_err(failed(&fresh))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed(&fresh))?;
    fs::rename(&fresh, &path).map_err(failed(&path))?;
    sync(&folder)
}

fn sync(folder: &Path) -> Result<(), CursorFault> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_begins_only_once() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path(), "a").unwrap(), None);
        begin(dir.path(), "a", "log", 7).unwrap();
        begin(dir.path(), "a", "log", 9).unwrap();
        assert_eq!(load(dir.path(), "a").unwrap(), Some(Cursor::at("log", 7)));
        let moved = Cursor { told: 2, ..Cursor::at("log", 11) };
        save(dir.path(), "a", &moved).unwrap();
        assert_eq!(load(dir.path(), "a").unwrap(), Some(moved));
        assert_eq!(load(dir.path(), "b").unwrap(), None, "each has its own");
    }

    #[test]
    fn what_is_no_cursor_is_neither_the_beginning_nor_the_end() {
        let dir = tempfile::tempdir().unwrap();
        begin(dir.path(), "a", "log", 7).unwrap();
        for text in [
            "",
            "{}",
            "[1]",
            "{\"v\":2,\"log\":\"log\",\"seq\":1,\"told\":0}",
            "{\"v\":1,\"log\":\"l\",\"seq\":-1}",
        ] {
            std::fs::write(place(dir.path(), "a"), text).unwrap();
            assert!(matches!(load(dir.path(), "a"), Err(CursorFault::Unreadable { .. })), "{text}");
            assert!(begin(dir.path(), "a", "log", 9).is_err(), "{text}");
        }
    }
}
