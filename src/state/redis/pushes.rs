//! Pushes: the store's channel tells each change as it is made. What follows directly on what is known can be taken from
//! here without a round trip; a lost message costs nothing but a beat's delay (decision 0025).
//!
//! Each link subscribes at its own server and takes only what is said of its own parts. In a Cluster every server hears every
//! message, so one subscription would do; but then a message would come by the bus between the servers, which loses it where the
//! server that made the change is cut off from the others, and one dead connection would silence all parts.
//!
//! Never here: reading the documents in a message ([`super`]), putting them in force.

use std::{collections::VecDeque, sync::Arc};

use redis::{PushInfo, PushKind, Value};

use crate::state::{Line, Part, lease::PARTS_MOST};

/// How many messages are kept of a part, and how many bytes.
const MESSAGES: usize = 64;
const BYTES: usize = 256 << 10;

/// One message, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The part.
    pub part: Part,
    /// The number of the change.
    pub number: u64,
    /// The line after it.
    pub line: Line,
    /// Whether the documents are in it.
    pub whole: bool,
    /// The message: a line of words (part, number, line, change, at, how many documents), and the documents.
    pub payload: Vec<u8>,
}

impl Pushed {
    /// The payload of a message of the store.
    pub(super) fn read(info: PushInfo) -> Option<Self> {
        if info.kind != PushKind::Message {
            return None;
        }
        match info.data.into_iter().nth(1)? {
            Value::BulkString(payload) => Self::parse(payload),
            _ => None,
        }
    }

    fn parse(payload: Vec<u8>) -> Option<Self> {
        let end = payload.iter().position(|byte| *byte == b'\n');
        let head = std::str::from_utf8(payload.get(..end.unwrap_or(payload.len()))?).ok()?;
        let mut words = head.split(' ');
        let part = words.next()?.trim_start_matches('p').parse().ok().filter(|part| *part < PARTS_MOST)?;
        let number = words.next()?.parse().ok()?;
        let line = Line::parse(words.next()?.as_bytes())?;
        // Then the change, its instant, and how many documents follow.
        let whole = words.nth(2).is_some_and(|count| count != "-");
        Some(Self { part: Part(part), number, line, whole, payload })
    }
}

/// The messages of one part that follow one another without a gap, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pushes {
    kept: VecDeque<Arc<Pushed>>,
    bytes: usize,
}

impl Pushes {
    /// Forgets all: they may come from a server that is none any more.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.bytes = 0;
    }

    fn first(&mut self) {
        if let Some(gone) = self.kept.pop_front() {
            self.bytes = self.bytes.saturating_sub(gone.payload.len());
        }
    }

    /// Takes a message in; one that does not follow on the last begins anew.
    pub(super) fn add(&mut self, pushed: Pushed) {
        if let Some(last) = self.kept.back() {
            if last.number == pushed.number && last.line == pushed.line {
                return;
            }
            if last.number + 1 != pushed.number {
                self.clear();
            }
        }
        if !pushed.whole || pushed.payload.len() > BYTES {
            self.clear();
            return;
        }
        self.bytes += pushed.payload.len();
        self.kept.push_back(Arc::new(pushed));
        while self.kept.len() > MESSAGES || self.bytes > BYTES {
            self.first();
        }
    }

    /// What follows exactly on a place; `None` if that is not known here. What is before the place is let go of.
    pub(super) fn after(&mut self, number: u64, limit: usize) -> Option<Vec<Arc<Pushed>>> {
        while self.kept.front().is_some_and(|first| first.number <= number) {
            self.first();
        }
        let next = self.kept.front().is_some_and(|first| first.number == number + 1);
        next.then(|| self.kept.iter().take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(number: u64) -> Pushed {
        let text = format!("p07 {number} {number:020x} chg_{number} 1700 1\n{{}}");
        Pushed::parse(text.into_bytes()).unwrap()
    }

    fn numbers(pushes: &mut Pushes, after: u64, limit: usize) -> Option<Vec<u64>> {
        pushes.after(after, limit).map(|found| found.iter().map(|pushed| pushed.number).collect())
    }

    #[test]
    fn a_message_tells_its_part_number_and_line_and_what_is_none_is_passed_over() {
        let read = pushed(255);
        assert_eq!(
            (read.part, read.number, read.line.as_str(), read.whole),
            (Part(7), 255, "000000000000000000ff", true)
        );
        let large = Pushed::parse(format!("7 9 {} chg 1 -\n", "a".repeat(20)).into_bytes()).unwrap();
        assert!(!large.whole);
        for bad in ["", "p64 1 a", "p07 x", "p07 1", "p07 1 zz", "p99999999 1 "] {
            assert_eq!(Pushed::parse(bad.as_bytes().to_vec()), None, "{bad}");
        }
        let info = |kind, data| PushInfo { kind, data };
        let payload = Value::BulkString(pushed(1).payload);
        let channel = Value::BulkString(b"c".to_vec());
        assert!(Pushed::read(info(PushKind::Message, vec![channel.clone(), payload.clone()])).is_some());
        assert!(Pushed::read(info(PushKind::Subscribe, vec![channel.clone(), payload])).is_none());
        assert!(Pushed::read(info(PushKind::Message, vec![channel])).is_none());
    }

    #[test]
    fn only_what_follows_exactly_is_answered() {
        let mut pushes = Pushes::default();
        [5, 6, 7].into_iter().for_each(|number| pushes.add(pushed(number)));
        assert_eq!(numbers(&mut pushes, 3, 10), None, "4 is not here");
        assert_eq!(numbers(&mut pushes, 4, 2), Some(vec![5, 6]));
        assert_eq!(numbers(&mut pushes, 5, 10), Some(vec![6, 7]));
        assert_eq!(numbers(&mut pushes, 4, 10), None, "5 was let go of");
        assert_eq!(numbers(&mut pushes, 7, 10), None);
    }

    #[test]
    fn a_gap_another_line_and_a_message_without_documents_begin_anew() {
        let mut pushes = Pushes::default();
        [1, 2, 2, 3, 5].into_iter().for_each(|number| pushes.add(pushed(number)));
        assert_eq!((numbers(&mut pushes, 0, 9), numbers(&mut pushes, 4, 9)), (None, Some(vec![5])));
        pushes.add(Pushed { line: Line::NONE, ..pushed(5) });
        assert_eq!(pushes.after(4, 9).unwrap()[0].line, Line::NONE);
        pushes.add(Pushed { whole: false, ..pushed(6) });
        assert_eq!((numbers(&mut pushes, 4, 9), numbers(&mut pushes, 5, 9)), (None, None));
        pushes.add(pushed(7));
        assert_eq!(numbers(&mut pushes, 6, 9), Some(vec![7]));
    }

    #[test]
    fn neither_many_nor_large_messages_pile_up() {
        let mut pushes = Pushes::default();
        (1..=1000).for_each(|number| pushes.add(pushed(number)));
        assert_eq!(numbers(&mut pushes, 936, 1000).unwrap().len(), MESSAGES);
        let mut pushes = Pushes::default();
        for number in 1..=10 {
            pushes.add(Pushed { payload: vec![0; 60 << 10], ..pushed(number) });
            assert!(pushes.bytes <= BYTES);
        }
        assert_eq!(numbers(&mut pushes, 6, 10), Some(vec![7, 8, 9, 10]));
        pushes.add(Pushed { payload: vec![0; BYTES + 1], ..pushed(11) });
        assert_eq!((numbers(&mut pushes, 10, 9), pushes.bytes), (None, 0));
    }
}
