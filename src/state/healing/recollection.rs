//! What ledger files have of a store, to be joined in as a gateway joins its shadow: `postern state rebuild`.
//!
//! Never here: reading ledgers ([`crate::audit`]) or their records ([`crate::engine`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Mutex, PoisonError},
};

use uuid::Uuid;

use crate::{
    model::{Key, Stored, join::join},
    state::{Answer, Part, lease::Line, shadow::ShadowFault},
};

use super::{Known, Seen};

/// What there is of one part.
#[derive(Debug, Default)]
struct Recalled {
    documents: BTreeMap<Key, Stored>,
    seen: Option<Seen>,
}

/// Documents from ledgers, joined with each other, that are brought into a store by [`super::Healing::turn`] like a gateway's
/// shadow. Whoever makes one says that this is all there is: nobody else is waited for, and a part of which the ledgers have
/// nothing is empty.
#[derive(Debug)]
pub struct Recollection {
    parts: Mutex<BTreeMap<Part, Recalled>>,
}

impl Recollection {
    /// Of a store of so many parts, with this id where its head is gone. Documents come in the order of their ledgers, so that each
    /// is joined onto what it came from; `part_of` is the store's.
    pub fn of(
        id: Uuid,
        parts: u16,
        documents: impl IntoIterator<Item = (Key, Stored)>,
        part_of: impl Fn(&Key) -> Part,
    ) -> Self {
        let seen = Seen { store: Some(id), whole: true, ..Seen::default() };
        let mut recalled: BTreeMap<Part, Recalled> = (0..parts)
            .map(|part| (Part(part), Recalled { documents: BTreeMap::new(), seen: Some(seen.clone()) }))
            .collect();
        for (key, stored) in documents {
            let into = recalled.entry(part_of(&key)).or_default();
            let seen = into.seen.get_or_insert_with(|| seen.clone());
            seen.epoch = seen.epoch.max(stored.version.epoch);
            // Where in the feed these were is not known, only that there were some: no line can prove that a store has them.
            seen.number = seen.number.max(1);
            let joined = match into.documents.get(&key) {
                Some(before) => join(before, &stored),
                None => stored,
            };
            into.documents.insert(key, joined);
        }
        Self { parts: Mutex::new(recalled) }
    }

    fn with<T>(&self, part: Part, work: impl FnOnce(&mut Recalled) -> T) -> T {
        // Each step under the lock leaves whole values behind.
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        work(parts.entry(part).or_default())
    }
}

impl Known for Recollection {
    fn seen(&self, part: Part) -> Option<Seen> {
        self.with(part, |recalled| recalled.seen.clone())
    }

    fn gateways(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn documents<'a>(
        &'a self,
        part: Part,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<(Key, Stored)>, ShadowFault>> {
        let page = self.with(part, |recalled| {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let rows = recalled.documents.range((from, Bound::Unbounded)).take(limit);
            rows.map(|(key, stored)| (key.clone(), stored.clone())).collect()
        });
        Box::pin(std::future::ready(Ok(page)))
    }

    fn note(&self, part: Part, _documents: &[(Key, Stored)], number: u64, line: Line) {
        self.with(part, |recalled| {
            if let Some(seen) = &mut recalled.seen {
                seen.claim(number, line);
            }
        });
    }

    fn take_up(&self, part: Part, from: Option<&Seen>, to: Seen) -> bool {
        self.with(part, |recalled| {
            let unmoved = recalled.seen.as_ref() == from;
            if unmoved {
                // Nothing is kept here that a copy of the store would complete.
                recalled.seen = Some(Seen { gaps: false, ..to });
            }
            unmoved
        })
    }
}
