//! Files with keys: written once, durable, never over another.
//!
//! Never here: what a key is.

use std::path::Path;

use super::Trouble;
use crate::audit::{VerifyingKey, note::create};

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    /// Its owner alone.
    Owner,
    /// Everybody.
    All,
}

/// Writes a file that must not be there yet, and makes it durable.
pub(super) fn write_new(path: &Path, text: &str, readers: Readers) -> Result<(), Trouble> {
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::All => 0o644,
    };
    create(path, text.as_bytes(), mode).map_err(|fault| match fault.kind() {
        std::io::ErrorKind::AlreadyExists => there(path),
        _ => Trouble::at(path, fault),
    })
}

/// Refuses where one of these is there, before any is written: half a pair is of no use.
pub(super) fn all_new(paths: &[&Path]) -> Result<(), Trouble> {
    match paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(there(path)),
        None => Ok(()),
    }
}

fn there(path: &Path) -> Trouble {
    Trouble::at(path, "is there already, and keys are never overwritten; name another file, or move it away")
}

/// Reads a text of at most a megabyte.
pub(super) fn read(path: &Path) -> Result<zeroize::Zeroizing<String>, Trouble> {
    use crate::config::{Disk, Source as _};
    let bytes = Disk.read_file(path, 1 << 20).map_err(|fault| Trouble::at(path, fault))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Trouble::at(path, "is no text"))?;
    Ok(zeroize::Zeroizing::new(text.to_owned()))
}

/// The public key of a ledger: the text itself, or the file that holds it.
pub(super) fn verifying(text: &str) -> Result<VerifyingKey, Trouble> {
    if let Ok(key) = VerifyingKey::parse(text) {
        return Ok(key);
    }
    let path = Path::new(text);
    VerifyingKey::parse(&read(path)?).map_err(|fault| Trouble::at(path, fault))
}
