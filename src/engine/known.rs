//! Reading by a rule: what the rule lacks is fetched, and it is asked again. For answers that show what holds, where
//! nothing is admitted and nothing changes. And what the shadow remembers where the store does not answer (rules 18 and 19).

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    model::{Key, Stored, Version},
    policy::{Fact, Facts, Lack, Need},
};

use super::{Engine, admit::MOST_ROUNDS, follow::is_old, registry::Live};

/// How many documents are asked for with one question.
const AT_ONCE: usize = 256;

/// What a rule needs cannot be had right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the state that this needs cannot be read right now; try again")]
pub struct Unavailable;

impl Engine {
    /// Asks a pure rule, with the documents that it names.
    ///
    /// # Errors
    /// [`Unavailable`] where one of them cannot be read: it is never taken for absent.
    pub async fn known<T>(&self, rule: impl Fn(&Facts) -> Result<T, Lack>) -> Result<T, Unavailable> {
        let mut facts = Facts::new();
        for _ in 0..MOST_ROUNDS {
            match rule(&facts) {
                Ok(answer) => return Ok(answer),
                Err(Lack::Need(need)) => self.fetch(need, &mut facts, None).await,
                Err(Lack::Unavailable) => return Err(Unavailable),
            }
        }
        Err(Unavailable)
    }

    /// Brings to hand what a rule wants to know of each of these, beginning with themselves: many documents with one question to the
    /// store, as often as the rule has something new to ask. What cannot be had so is asked for by whoever needs it.
    pub(super) async fn bring<T>(&self, keys: &[Key], rule: impl Fn(&Key, &Facts) -> Result<T, Lack>) {
        let (mut asked, mut wanted) = (BTreeSet::new(), keys.to_vec());
        for _ in 0..MOST_ROUNDS {
            for some in wanted.chunks(AT_ONCE) {
                self.cells.load_many(some).await;
            }
            asked.extend(wanted);
            let lacking = keys.iter().flat_map(|key| self.lacking(|facts| rule(key, facts)));
            let lacking: BTreeSet<Key> = lacking.filter(|key| !asked.contains(key)).collect();
            if lacking.is_empty() {
                return;
            }
            wanted = lacking.into_iter().collect();
        }
    }

    /// What a rule wants next that is not at hand.
    fn lacking<T>(&self, rule: impl Fn(&Facts) -> Result<T, Lack>) -> Vec<Key> {
        let mut facts = Facts::new();
        for _ in 0..MOST_ROUNDS {
            let Err(Lack::Need(need)) = rule(&facts) else { return Vec::new() };
            let mut lacking = Vec::new();
            for key in need.0 {
                match self.cells.hit(&key) {
                    Some(fact) => facts.put(key, fact),
                    None => lacking.push(key),
                }
            }
            if !lacking.is_empty() {
                return lacking;
            }
        }
        Vec::new()
    }

    /// What is known about a document of which the store tells nothing, where that is because it is not heard of, or has lost something:
    /// as the shadow has it, as of when its part was followed last. A document that the store has and nobody can read stays a fault,
    /// and what the shadow does not know it may never have seen.
    pub(super) async fn remembered(&self, key: &Key) -> Fact {
        let part = self.store.part_of(key);
        let (Some(memory), Some(heard)) = (&self.memory, &self.heard) else { return Fact::Unavailable };
        if !is_old(part, heard) && heard.leases.suspicion(part).is_none() {
            return Fact::Unavailable;
        }
        if !memory.is_whole(part) {
            return Fact::Unavailable;
        }
        match self.in_shadow(key).await {
            Some(stored) => self.cells.remembered(key, stored),
            None => Fact::Unavailable,
        }
    }

    /// Fetches what a rule lacks for an emergency token: what the shadow knows last binds it, however old that is and whatever else is
    /// missing there (decision 0029).
    pub(super) async fn fetch_known_last(&self, need: Need, facts: &mut Facts, live: &Live) {
        let keys = need.0.clone();
        self.fetch(need, facts, Some(live)).await;
        let Some(heard) = &self.heard else { return };
        for key in keys {
            let part = self.store.part_of(&key);
            let version = match facts.get(&key) {
                // Whatever the shadow has is in the store too.
                Some(Fact::Found(_) | Fact::Absent)
                    if !is_old(part, heard) && heard.leases.suspicion(part).is_none() =>
                {
                    continue;
                }
                Some(Fact::Found(known)) => known.version,
                Some(Fact::Absent | Fact::Unavailable) | None => Version::NONE,
            };
            if let Some(stored) = self.in_shadow(&key).await.filter(|stored| stored.version > version) {
                let fact = self.cells.remembered(&key, stored);
                facts.put(key, fact);
            }
        }
    }

    /// As the shadow has a document, where it does.
    async fn in_shadow(&self, key: &Key) -> Option<Stored> {
        let shadow = Arc::clone(self.memory.as_ref()?.shadow());
        let (part, wanted) = (self.store.part_of(key), key.clone());
        self.background.spawn_blocking(move || shadow.get(part, &wanted)).await.ok()?.ok()?
    }
}
