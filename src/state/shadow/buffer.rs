//! What was noted and is not yet in the file.
//!
//! Never here: when it is written ([`super`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Bound,
};

use crate::{
    model::{Key, Stored, Timestamp, join::join},
    state::{Part, codec},
};

use super::dated::Dated;

/// A part and a key, as bytes.
pub(super) type Name = (Part, Vec<u8>);

/// Documents in memory.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) documents: BTreeMap<Name, (Key, Stored)>,
    /// About how many bytes they are.
    pub(super) bytes: usize,
}

/// What was noted since the last writing.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) layer: Layer,
    /// The parts of which another place was seen.
    pub(super) moved: BTreeSet<Part>,
    /// Whether other gateways are known.
    pub(super) met: bool,
    /// The instant of the newest change.
    pub(super) at: Option<Timestamp>,
    /// How old what is known was.
    pub(super) dated: Option<Dated>,
}

impl Layer {
    /// Joins a document with what is here of it.
    pub(super) fn join(&mut self, part: Part, key: &Key, stored: &Stored) {
        let name = (part, codec::key(key));
        match self.documents.get_mut(&name) {
            Some((_, known)) => {
                let before = size(known);
                *known = join(known, stored);
                self.bytes = self.bytes.saturating_sub(before).saturating_add(size(known));
            }
            None => {
                self.bytes = self.bytes.saturating_add(name.1.len()).saturating_add(size(stored));
                self.documents.insert(name, (key.clone(), stored.clone()));
            }
        }
    }

    /// The documents of a part that follow a key.
    pub(super) fn after(&self, part: Part, after: &[u8], limit: usize) -> Vec<(Vec<u8>, Key, Stored)> {
        let from = Bound::Excluded((part, after.to_vec()));
        let rows = self.documents.range((from, Bound::Unbounded));
        let rows = rows.take_while(|((of, _), _)| *of == part).take(limit);
        rows.map(|((_, bytes), (key, stored))| (bytes.clone(), key.clone(), stored.clone())).collect()
    }
}

/// How many bytes a document is in the file.
fn size(stored: &Stored) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // What cannot be written is found where it is written; here it only weighs nothing.
    let _counted = serde_json::to_writer(&mut count, stored);
    count.0
}
