//! Which changes this process asked for, so that a commit made before the question is never repeated after the answer.
//!
//! A store that answers "not made" gives out a ticket with it; only a commit made after that has it (see
//! `scripts/asked.lua`).
//!
//! Never here: the question ([`super::store`]).

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::model::ChangeId;

/// How many changes are remembered.
const MOST: usize = 4096;

/// What was asked for by this process, the last of it.
#[derive(Debug, Default)]
pub(super) struct Asks(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    asked: HashMap<ChangeId, Ask>,
    order: VecDeque<ChangeId>,
}

/// What is known of the questions for one change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ask {
    /// How often it was asked for.
    times: u64,
    /// The ticket of the last answer; empty: none.
    pub(super) ticket: String,
}

impl Asks {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known now.
    pub(super) fn of(&self, change: &ChangeId) -> Ask {
        self.lock().asked.get(change).cloned().unwrap_or_default()
    }

    /// A question begins.
    pub(super) fn begin(&self, change: &ChangeId) {
        let mut inner = self.lock();
        if !inner.asked.contains_key(change) {
            inner.order.push_back(change.clone());
            if inner.order.len() > MOST
                && let Some(oldest) = inner.order.pop_front()
            {
                inner.asked.remove(&oldest);
            }
        }
        inner.asked.entry(change.clone()).or_default().times += 1;
    }

    /// It was answered with a ticket.
    pub(super) fn answered(&self, change: &ChangeId, ticket: &str) {
        if let Some(ask) = self.lock().asked.get_mut(change) {
            ask.ticket = ticket.to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_told_apart_and_only_the_last_are_remembered() {
        let asks = Asks::default();
        let change = ChangeId::new("c").unwrap();
        let before = asks.of(&change);
        asks.begin(&change);
        assert_ne!(asks.of(&change), before, "a question counts from its beginning");
        asks.answered(&change, "7");
        assert_eq!(asks.of(&change).ticket, "7");
        for number in 0..MOST {
            asks.begin(&ChangeId::new(&format!("x{number}")).unwrap());
        }
        assert_eq!(asks.of(&change), before);
        assert_eq!(asks.lock().asked.len(), MOST);
    }
}
