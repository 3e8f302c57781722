//! What the parts of a store told together: of a store of which a part is gone, what the others have.
//!
//! Never here: asking them, and whether anybody can do with less than all.

use super::{Part, Parts, StoreFault};

/// What was asked of all parts of a store, as far as they answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered<T> {
    /// What they told, in one order.
    pub rows: Vec<T>,
    /// The parts of which something may be missing among the rows, each with why.
    pub silent: Vec<(Part, StoreFault)>,
}

impl<T> Gathered<T> {
    /// Of a store that has but one part.
    pub fn of_one(answered: Result<Vec<T>, StoreFault>) -> Self {
        match answered {
            Ok(rows) => Gathered { rows, silent: Vec::new() },
            Err(fault) => Gathered { rows: Vec::new(), silent: vec![(Part::FIRST, fault)] },
        }
    }

    /// The rows, for who can do with nothing less than all.
    ///
    /// # Errors
    /// Why a part did not answer.
    pub fn whole(self) -> Result<Vec<T>, StoreFault> {
        match self.silent.into_iter().next() {
            Some((_, fault)) => Err(fault),
            None => Ok(self.rows),
        }
    }

    /// The parts of which something may be missing.
    pub fn silent_parts(&self) -> Parts {
        self.silent.iter().map(|(part, _)| *part).collect()
    }
}
