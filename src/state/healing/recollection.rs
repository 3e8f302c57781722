//! What ledger files have of a store, to be joined in as a gateway joins its shadow: `postern state rebuild`.
//!
//! Never here: reading ledgers ([`crate::audit`]) or their records ([`crate::engine`]).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Bound,
    sync::{Mutex, PoisonError},
};

use uuid::Uuid;

use crate::{
    model::{ChangeId, Key, Stored, join::join},
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
    /// Of a store of so many parts, with this id where its head is gone; for each ledger its documents in its order. `part_of` is the
    /// store's.
    pub fn of(
        id: Uuid,
        parts: u16,
        ledgers: impl IntoIterator<Item = Vec<(Key, Stored)>>,
        part_of: impl Fn(&Key) -> Part,
    ) -> Self {
        let seen = Seen { store: Some(id), whole: true, ..Seen::default() };
        let mut recalled: BTreeMap<Part, Recalled> = (0..parts)
            .map(|part| (Part(part), Recalled { documents: BTreeMap::new(), seen: Some(seen.clone()) }))
            .collect();
        // A state remembers so many changes; which others came before it, the ledgers tell together.
        let mut outgrown: HashMap<Key, HashSet<ChangeId>> = HashMap::new();
        for documents in ledgers {
            let mut last: HashMap<Key, Stored> = HashMap::new();
            for (key, stored) in documents {
                let before = outgrown.entry(key.clone()).or_default();
                let newest = |change: &ChangeId| stored.heads.iter().any(|head| head.change == *change);
                before.extend(stored.changes.iter().filter(|change| !newest(change)).cloned());
                // A gateway changes what it knows, its own changes among it.
                if let Some(own) = last.insert(key.clone(), stored.clone())
                    && own.version < stored.version
                {
                    before.extend(own.heads.into_iter().map(|head| head.change));
                }
                let into = recalled.entry(part_of(&key)).or_default();
                let seen = into.seen.get_or_insert_with(|| seen.clone());
                seen.epoch = seen.epoch.max(stored.version.epoch);
                // Where in the feed these were is not known, only that there were some: no line can prove that a store has them.
                seen.number = seen.number.max(1);
                let mut joined = match into.documents.get(&key) {
                    Some(known) => join(known, &stored),
                    None => stored,
                };
                if joined.heads.iter().any(|head| !before.contains(&head.change)) {
                    joined.heads.retain(|head| !before.contains(&head.change));
                }
                into.documents.insert(key, joined);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Consent, Document, EnvironmentId, LevelName, Tenant, TenantId, Zone, document::REMEMBERED,
    };

    fn acme() -> Key {
        Key::Tenant(TenantId::new("acme").unwrap())
    }

    /// So many changes of a tenant, each after the one before; the first of them shuts it.
    fn chain(count: usize) -> Vec<Stored> {
        let mut all: Vec<Stored> = Vec::new();
        for number in 0..count {
            let level = if number == 0 { "block" } else { "full" };
            let consent = Consent::own(LevelName::new(level).unwrap());
            let environments = [EnvironmentId::new("production").unwrap()].into();
            let document = Document::Tenant(Tenant::new(None, Zone::UTC, environments, consent));
            let change = ChangeId::new(&format!("c{number:04}")).unwrap();
            all.push(Stored::after(all.last(), change, document));
        }
        all
    }

    fn known(ledgers: &[&[&Stored]]) -> Stored {
        let ledgers =
            ledgers.iter().map(|ledger| ledger.iter().map(|one| (acme(), (*one).clone())).collect());
        let recollection = Recollection::of(Uuid::nil(), 1, ledgers, |_| Part(0));
        recollection.with(Part(0), |recalled| recalled.documents.remove(&acme()).unwrap())
    }

    #[test]
    fn what_one_ledger_shows_to_be_outdated_is_so_in_all_of_them() {
        let all = chain(3 * REMEMBERED);
        let last = all.last().unwrap();
        // Two gateways took turns: what the one did at first is far behind what the other did last, and both ledgers know the rest.
        let (one, other): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(number, _)| number % 2 == 0);
        let [one, other] =
            [one, other].map(|turns| turns.into_iter().map(|(_, stored)| stored).collect::<Vec<_>>());
        for ledgers in [[&one[..], &other[..]], [&other[..], &one[..]]] {
            assert_eq!(known(&ledgers).heads, last.heads);
        }
        // Of one gateway the later change counts, also where the ledger of who did the rest is lost.
        assert_eq!(known(&[&[&all[0], last]]).heads, last.heads);
        // Where nothing tells, both hold.
        assert_eq!(known(&[&[last], &[&all[0]]]).heads.len(), 2);
    }
}
