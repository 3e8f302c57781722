//! Reading by a rule: what the rule lacks is fetched, and it is asked again. For answers that show what holds, where
//! nothing is admitted and nothing changes. And what the shadow remembers where the store does not answer (rule 19).

use std::sync::Arc;

use crate::{
    model::Key,
    policy::{Fact, Facts, Lack},
};

use super::{Engine, admit::MOST_ROUNDS, follow::is_old};

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

    /// What is known about a document of which the store tells nothing, where that is because it is not heard of, or has lost something:
    /// as the shadow has it, as of when its part was followed last. A document that the store has and nobody can read stays a fault,
    /// and what the shadow does not know it may never have seen.
    pub(super) async fn remembered(&self, key: &Key) -> Fact {
        let part = self.store.part_of(key);
        let (Some(memory), Some(heard)) = (&self.memory, &self.heard) else { return Fact::Unavailable };
        if !is_old(part, heard) && heard.leases.suspicion(part).is_none() {
            return Fact::Unavailable;
        }
        let Some(shadow) = memory.whole(part) else { return Fact::Unavailable };
        let (shadow, wanted) = (Arc::clone(shadow), key.clone());
        match self.background.spawn_blocking(move || shadow.get(part, &wanted)).await {
            Ok(Ok(Some(stored))) => self.cells.remembered(key, stored),
            Ok(Ok(None) | Err(_)) | Err(_) => Fact::Unavailable,
        }
    }
}
