//! One order out of what all parts tell, each in its own.
//!
//! A page of all parts costs about a page: each is asked for its share, since names are spread evenly, and again only when
//! its share is used up before the page is full. A page from each would be 64 of them, of which 63 are thrown away.
//!
//! A part that does not answer keeps no other from telling what it has, and is named.
//!
//! Never here: what is listed ([`super::listing`]).

use std::collections::VecDeque;

use crate::state::{Gathered, Part, StoreFault};

use super::{RedisStore, gather::Answered, scripts::Call};

/// What one part has told, as far as it was not used up.
struct Tail<T> {
    part: Part,
    rows: VecDeque<T>,
    /// The last that it told, if any.
    last: Option<T>,
    /// There may be more of it.
    more: bool,
}

/// How much each part is asked for at a time: its share of a page and half as much again, as some have more than others.
fn share(limit: usize, parts: usize) -> usize {
    let even = limit.div_ceil(parts.max(1));
    (even + even / 2 + 4).min(limit)
}

/// Of rows that stand first in their parts, which part has the least.
fn least<T: Ord>(tails: &[Tail<T>]) -> Option<usize> {
    let fronts = tails.iter().enumerate().filter_map(|(at, tail)| Some((tail.rows.front()?, at)));
    fronts.min().map(|(_, at)| at)
}

impl RedisStore {
    /// The first rows of all parts, at most `limit`; fewer only where those that answer have no more. `ask` makes the question for
    /// what follows a row of a part, if there can be anything; `read` reads its answer.
    pub(super) async fn merged<T: Ord + Clone>(
        &self,
        limit: usize,
        first: Option<&T>,
        ask: impl Fn(Part, Option<&T>, usize) -> Option<Call>,
        read: impl Fn(Part, Answered) -> Result<Vec<T>, StoreFault>,
    ) -> Gathered<T> {
        let tail = |part| Tail { part, rows: VecDeque::new(), last: first.cloned(), more: true };
        let mut tails: Vec<Tail<T>> = self.names.parts().map(tail).collect();
        let share = share(limit, tails.len());
        let (mut merged, mut silent) = (Vec::new(), Vec::new());
        while merged.len() < limit {
            silent.extend(self.refill(&mut tails, share, &ask, &read).await);
            // Until one is used up of which there may be more: that may come before all that is at hand.
            while merged.len() < limit
                && let Some(tail) = least(&tails).and_then(|at| tails.get_mut(at))
            {
                merged.extend(tail.rows.pop_front());
                if tail.rows.is_empty() && tail.more {
                    break;
                }
            }
            if tails.iter().all(|tail| tail.rows.is_empty() && !tail.more) {
                break;
            }
        }
        Gathered { rows: merged, silent }
    }

    /// Asks for more of those that are used up; those that do not answer tell no more.
    async fn refill<T: Ord + Clone>(
        &self,
        tails: &mut [Tail<T>],
        share: usize,
        ask: &impl Fn(Part, Option<&T>, usize) -> Option<Call>,
        read: &impl Fn(Part, Answered) -> Result<Vec<T>, StoreFault>,
    ) -> Vec<(Part, StoreFault)> {
        let mut asked: Vec<&mut Tail<T>> = Vec::new();
        let mut calls = Vec::new();
        for tail in tails.iter_mut().filter(|tail| tail.rows.is_empty() && tail.more) {
            match ask(tail.part, tail.last.as_ref(), share) {
                Some(call) => {
                    calls.push((tail.part, call));
                    asked.push(tail);
                }
                None => tail.more = false,
            }
        }
        let mut silent = Vec::new();
        for (tail, answer) in asked.into_iter().zip(self.each(calls).await) {
            match answer.and_then(|answer| read(tail.part, answer)) {
                Ok(rows) => {
                    tail.more = rows.len() >= share;
                    tail.last = rows.last().cloned().or(tail.last.take());
                    tail.rows = rows.into();
                }
                Err(fault) => {
                    tail.more = false;
                    silent.push((tail.part, fault));
                }
            }
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_no_more_than_a_page_and_never_nothing() {
        for (limit, parts, expected) in [(1, 64, 1), (3, 64, 3), (64, 64, 5), (1000, 64, 28), (1000, 1, 1000)]
        {
            assert_eq!(share(limit, parts), expected, "{limit} of {parts}");
        }
    }
}
