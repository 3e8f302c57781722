//! A configured set of header names, for instance those that carry identity to the application (law 9).
//!
//! A received name is in the set if any reader could take it for one of them. Never here: where the set comes from.

use super::known::canonical_eq;

/// Names to remove. Asking costs nothing where no configured name has the asked one's length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameSet {
    /// Bit `n`: a name of `n` bytes is in the set; the last bit stands for all longer ones.
    lengths: u64,
    names: Vec<Box<[u8]>>,
}

impl NameSet {
    /// The empty set.
    #[must_use]
    pub const fn empty() -> &'static Self {
        static EMPTY: NameSet = NameSet { lengths: 0, names: Vec::new() };
        &EMPTY
    }

    /// The set of these names, in any spelling.
    #[must_use]
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<Box<[u8]>> = names.into_iter().map(|name| name.as_bytes().into()).collect();
        let lengths = names.iter().fold(0, |bits, name| bits | bit(name.len()));
        Self { lengths, names }
    }

    /// Whether `name` could be read as one of the set.
    #[must_use]
    pub fn contains(&self, name: &[u8]) -> bool {
        self.lengths & bit(name.len()) != 0 && self.names.iter().any(|one| canonical_eq(name, one))
    }
}

fn bit(len: usize) -> u64 {
    1 << len.min(63)
}
