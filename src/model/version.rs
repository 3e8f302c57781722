//! The version of a stored document.
//!
//! Never here: what a document says ([`super::document`]).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The version of a document: ordered by epoch, then by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Raised by every healing of a store that had lost something.
    pub epoch: u32,
    /// Counts the changes; 0 stands for a document that does not exist.
    pub number: u64,
}

impl Version {
    /// The version of a document that does not exist.
    pub const NONE: Version = Version { epoch: 0, number: 0 };

    /// The version that the next change gives.
    #[must_use]
    pub fn next(self) -> Version {
        Version { epoch: self.epoch, number: self.number.saturating_add(1) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}
