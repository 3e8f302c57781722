//! Pushes as they are kept: the store's channel tells each change as it is made, and what follows directly on what is known can
//! be taken from here without a round trip; a lost message costs nothing but a beat's delay (decision 0025).
//!
//! Each link subscribes at its own server and takes only what is said of its own parts (decision 0024).
//!
//! Never here: what a message looks like ([`super::push`]), putting it in force.

use std::collections::VecDeque;

use crate::state::{Entry, Line};

/// How many changes are kept of a part, and of how many bytes.
const CHANGES: usize = 64;
const BYTES: usize = 256 << 10;

/// A change, the line before it, and the size of its message.
type Kept = (Entry, Line, usize);

/// The changes of one part that were pushed and follow one another, in one history and without a gap, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pushes {
    kept: VecDeque<Kept>,
    bytes: usize,
}

impl Pushes {
    /// Forgets all: there is a gap, or they may come from a server that is the primary no more.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.bytes = 0;
    }

    fn first(&mut self) {
        if let Some((.., bytes)) = self.kept.pop_front() {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// Takes a change in, which came after this line; one that does not follow on the last begins anew.
    pub(super) fn add(&mut self, entry: Entry, before: Line, bytes: usize) {
        if let Some((last, ..)) = self.kept.back() {
            if (last.place, last.line) == (entry.place, entry.line) {
                return;
            }
            if (last.place.number + 1, last.line) != (entry.place.number, before) {
                self.clear();
            }
        }
        self.bytes += bytes;
        self.kept.push_back((entry, before, bytes));
        while self.kept.len() > CHANGES || self.bytes > BYTES {
            self.first();
        }
    }

    /// What follows exactly on a place and the line there ([`Line::NONE`]: not known, or the beginning); `None` if that is not known
    /// here. What is before the place is let go of.
    pub(super) fn after(&mut self, (number, line): (u64, Line), limit: usize) -> Option<Vec<Entry>> {
        while self.kept.front().is_some_and(|(first, ..)| first.place.number <= number) {
            self.first();
        }
        let follows = |before: Line| line == Line::NONE || before == line;
        let next = self
            .kept
            .front()
            .is_some_and(|(first, before, _)| first.place.number == number + 1 && follows(*before));
        next.then(|| self.kept.iter().take(limit).map(|(entry, ..)| entry.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{ChangeId, Timestamp},
        state::{Line, Part},
    };

    fn line(number: u64) -> Line {
        if number == 0 { Line::NONE } else { Line::parse(format!("{number:020x}").as_bytes()).unwrap() }
    }

    fn entry(number: u64) -> Entry {
        let change = ChangeId::new(&format!("chg_{number}")).unwrap();
        let at = Timestamp::from_ms(0);
        Entry { place: Part(7).at(number), line: line(number), change, at, documents: Vec::new() }
    }

    fn add(pushes: &mut Pushes, number: u64, bytes: usize) {
        pushes.add(entry(number), line(number - 1), bytes);
    }

    fn numbers(pushes: &mut Pushes, after: u64, limit: usize) -> Option<Vec<u64>> {
        let found = pushes.after((after, line(after)), limit);
        found.map(|found| found.iter().map(|entry| entry.place.number).collect())
    }

    #[test]
    fn only_what_follows_exactly_is_answered() {
        let mut pushes = Pushes::default();
        [5, 6, 7].into_iter().for_each(|number| add(&mut pushes, number, 1));
        assert_eq!(numbers(&mut pushes, 3, 10), None, "4 is not here");
        assert_eq!(numbers(&mut pushes, 4, 2), Some(vec![5, 6]));
        assert_eq!(numbers(&mut pushes, 5, 10), Some(vec![6, 7]));
        assert_eq!(numbers(&mut pushes, 4, 10), None, "5 was let go of");
        assert_eq!(numbers(&mut pushes, 7, 10), None);
    }

    #[test]
    fn what_follows_on_another_history_is_not_taken_in() {
        let mut pushes = Pushes::default();
        [5, 6].into_iter().for_each(|number| add(&mut pushes, number, 1));
        assert_eq!(pushes.after((4, line(99)), 10), None, "whoever asks has followed another one");
        assert_eq!(pushes.after((4, Line::NONE), 10).unwrap().len(), 2);
        // The next number, after something else than what was pushed before.
        pushes.add(entry(7), line(99), 1);
        assert_eq!(numbers(&mut pushes, 4, 10), None);
        assert_eq!(pushes.after((6, line(6)), 10), None);
        assert_eq!(pushes.after((6, line(99)), 10).unwrap().len(), 1);
    }

    #[test]
    fn a_gap_and_another_line_begin_anew() {
        let mut pushes = Pushes::default();
        [1, 2, 2, 3, 5].into_iter().for_each(|number| add(&mut pushes, number, 1));
        assert_eq!((numbers(&mut pushes, 0, 9), numbers(&mut pushes, 4, 9)), (None, Some(vec![5])));
        pushes.add(Entry { line: Line::NONE, ..entry(5) }, line(4), 1);
        assert_eq!(pushes.after((4, line(4)), 9).unwrap()[0].line, Line::NONE);
        pushes.clear();
        assert_eq!((numbers(&mut pushes, 4, 9), pushes.bytes), (None, 0));
    }

    #[test]
    fn neither_many_nor_large_messages_pile_up() {
        let mut pushes = Pushes::default();
        (1..=1000).for_each(|number| add(&mut pushes, number, 1));
        assert_eq!(numbers(&mut pushes, 936, 1000).unwrap().len(), CHANGES);
        let mut pushes = Pushes::default();
        for number in 1..=10 {
            add(&mut pushes, number, 60 << 10);
            assert!(pushes.bytes <= BYTES);
        }
        assert_eq!(numbers(&mut pushes, 6, 10), Some(vec![7, 8, 9, 10]));
        add(&mut pushes, 11, BYTES + 1);
        assert_eq!((numbers(&mut pushes, 10, 9), pushes.bytes), (None, 0));
    }
}
