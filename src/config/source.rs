//! Where a configuration reads from: a trait, so that a test hands in a map.
//!
//! Lives here: [`Source`], the one that reads the real files and the environment, and [`Secret`]. Never here: which
//! file or variable is read, and what it must hold.

use std::{
    collections::BTreeMap,
    fmt,
    io::Read as _,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// Reads files and environment variables.
pub trait Source {
    /// The bytes of a file of at most `most` bytes.
    ///
    /// # Errors
    /// [`SourceFault`] when it is missing, unreadable or larger.
    fn read_file(&self, path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, SourceFault>;

    /// The value of an environment variable.
    ///
    /// # Errors
    /// [`SourceFault`] when it is not set or no Unicode.
    fn env(&self, name: &str) -> Result<Zeroizing<String>, SourceFault>;
}

/// Why a file or a variable gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceFault {
    /// The operating system says no.
    #[error("{0}")]
    Io(String),
    /// It is larger than what is looked for.
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
    /// The environment has no such variable.
    #[error("it is not set")]
    NotSet,
    /// The variable's value is no Unicode.
    #[error("it is no Unicode")]
    NotUnicode,
}

/// The machine's own files and environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Source for Disk {
    fn read_file(&self, path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, SourceFault> {
        let io = |fault: std::io::Error| SourceFault::Io(fault.to_string());
        let file = std::fs::File::open(path).map_err(io)?;
        let mut bytes = Zeroizing::new(Vec::new());
        let past = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        file.take(past).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() > most { Err(SourceFault::TooLarge(most)) } else { Ok(bytes) }
    }

    fn env(&self, name: &str) -> Result<Zeroizing<String>, SourceFault> {
        match std::env::var(name) {
            Ok(value) => Ok(Zeroizing::new(value)),
            Err(std::env::VarError::NotPresent) => Err(SourceFault::NotSet),
            Err(std::env::VarError::NotUnicode(_)) => Err(SourceFault::NotUnicode),
        }
    }
}

/// A source in memory: files and variables by name.
impl Source for BTreeMap<String, Vec<u8>> {
    fn read_file(&self, path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, SourceFault> {
        match path.to_str().and_then(|name| self.get(name)) {
            Some(bytes) if bytes.len() > most => Err(SourceFault::TooLarge(most)),
            Some(bytes) => Ok(Zeroizing::new(bytes.clone())),
            None => Err(SourceFault::Io("no such file".to_owned())),
        }
    }

    fn env(&self, name: &str) -> Result<Zeroizing<String>, SourceFault> {
        let bytes = self.get(&format!("${name}")).ok_or(SourceFault::NotSet)?;
        String::from_utf8(bytes.clone()).map(Zeroizing::new).map_err(|_| SourceFault::NotUnicode)
    }
}

/// Where a secret came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file, by its absolute path.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// A key's bytes. Never printed, wiped when dropped.
#[derive(Clone)]
pub struct Secret {
    /// Where it came from, to name it in messages.
    pub origin: Origin,
    bytes: Zeroizing<Vec<u8>>,
}

impl Secret {
    pub(super) fn new(origin: Origin, bytes: Zeroizing<Vec<u8>>) -> Self {
        Self { origin, bytes }
    }

    /// The bytes, as they stand in the file or the variable.
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("origin", &self.origin).finish_non_exhaustive()
    }
}
