//! Reading by a rule: what the rule lacks is fetched, and it is asked again. For answers that show what holds, where
//! nothing is admitted and nothing changes.

use crate::policy::{Facts, Lack};

use super::{Engine, admit::MOST_ROUNDS};

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
}
