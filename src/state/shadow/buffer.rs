//! What was noted and is not yet in the file.
//!
//! Never here: when it is written ([`super`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Bound,
};

use crate::{
    model::{
        Key, Stored,
        join::{join, succeed},
    },
    state::{Part, codec},
};

use super::dated::Dated;

/// A part and a key, as bytes.
pub(super) type Name = (Part, Vec<u8>);

/// A document that lies over what is known of it below.
#[derive(Debug, Clone)]
pub(super) struct Over {
    pub(super) key: Key,
    pub(super) stored: Stored,
    /// It comes after whatever lies below, in the same history.
    succeeds: bool,
}

impl Over {
    /// What is known of the document, with what lies below.
    pub(super) fn on(&self, below: &Stored) -> Stored {
        if self.succeeds { succeed(below, &self.stored) } else { join(below, &self.stored) }
    }
}

/// Documents in memory.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) documents: BTreeMap<Name, Over>,
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
    /// How old what is known was.
    pub(super) dated: Option<Dated>,
}

impl Layer {
    /// Joins a document with what is known of it; with `succeeds` it comes after all that is.
    pub(super) fn put(&mut self, part: Part, key: &Key, stored: &Stored, succeeds: bool) {
        let over = Over { key: key.clone(), stored: stored.clone(), succeeds };
        let name = (part, codec::key(key));
        match self.documents.get_mut(&name) {
            Some(known) => {
                let before = size(&known.stored);
                known.stored = over.on(&known.stored);
                known.succeeds |= succeeds;
                self.bytes = self.bytes.saturating_sub(before).saturating_add(size(&known.stored));
            }
            None => self.insert(name, over),
        }
    }

    /// Puts what could not be written back, beneath what came meanwhile.
    pub(super) fn put_under(&mut self, name: &Name, under: &Over) {
        match self.documents.get_mut(name) {
            Some(known) => {
                let before = size(&known.stored);
                known.stored = known.on(&under.stored);
                known.succeeds |= under.succeeds;
                self.bytes = self.bytes.saturating_sub(before).saturating_add(size(&known.stored));
            }
            None => self.insert(name.clone(), under.clone()),
        }
    }

    fn insert(&mut self, name: Name, over: Over) {
        self.bytes = self.bytes.saturating_add(name.1.len()).saturating_add(size(&over.stored));
        self.documents.insert(name, over);
    }

    /// The documents of a part that follow a key.
    pub(super) fn after(&self, part: Part, after: &[u8], limit: usize) -> Vec<(Vec<u8>, Over)> {
        let from = Bound::Excluded((part, after.to_vec()));
        let rows = self.documents.range((from, Bound::Unbounded));
        let rows = rows.take_while(|((of, _), _)| *of == part).take(limit);
        rows.map(|((_, bytes), over)| (bytes.clone(), over.clone())).collect()
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
