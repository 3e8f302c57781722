//! What the script of a change tells those who listen.
//!
//! A push is a line `part number before line change at count` (the line before and the one up to and with the change), then for each document a line `bytes of its name, bytes of it`
//! and both; `count` is `-` where the documents are too large for a push and have to be read from the feed. Pushes may be
//! lost; nothing rests on one.
//!
//! Never here: listening.

use uuid::Uuid;

use crate::{
    model::{ChangeId, Timestamp},
    state::{Entry, Line, Part},
};

use super::value::documents;

/// The channel of a store's pushes.
pub(crate) fn channel(prefix: &str, store: Uuid) -> String {
    format!("{prefix}:{store}:moved")
}

/// What a push says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// A change, whole, and the line before it.
    Whole(Entry, Line),
    /// A part moved to this place; what changed is in the feed.
    Moved(Part, u64),
}

/// Reads a push; `None` where it is none of ours.
pub(crate) fn pushed(payload: &[u8]) -> Option<Pushed> {
    let (head, mut rest) = line_of(payload)?;
    let mut words = head.split(' ');
    let part = Part(words.next()?.parse().ok()?);
    let number: u64 = words.next()?.parse().ok()?;
    let before = Some(words.next()?).filter(|before| *before != "-").unwrap_or_default();
    let before = Line::parse(before.as_bytes())?;
    let line = Line::parse(words.next()?.as_bytes())?;
    let change = ChangeId::new(words.next()?).ok()?;
    let at = Timestamp::from_ms(words.next()?.parse().ok()?);
    let count = words.next()?;
    if words.next().is_some() {
        return None;
    }
    if count == "-" {
        return rest.is_empty().then_some(Pushed::Moved(part, number));
    }
    let count: usize = count.parse().ok()?;
    let mut rows = Vec::new();
    for _ in 0..count {
        let (lengths, after) = line_of(rest)?;
        let (name, bytes) = lengths.split_once(' ')?;
        let (name, after) = after.split_at_checked(name.parse().ok()?)?;
        let (bytes, after) = after.split_at_checked(bytes.parse().ok()?)?;
        rows.push((name, bytes));
        rest = after;
    }
    if !rest.is_empty() {
        return None;
    }
    let documents = documents(rows.into_iter())?;
    Some(Pushed::Whole(Entry { place: part.at(number), line, change, at, documents }, before))
}

fn line_of(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = bytes.split_at_checked(end)?;
    Some((std::str::from_utf8(line).ok()?, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Document, Key, Presence, Stored, SubjectRef, TenantId},
        state::codec,
    };

    #[test]
    fn a_push_is_read_whole_or_not_at_all() {
        let subject = SubjectRef { issuer: "staff".parse().unwrap(), sub: "a\nb c".into() };
        let key = Key::Presence(TenantId::new("acme").unwrap(), subject);
        let change = ChangeId::new("c1").unwrap();
        let stored = Stored::after(None, change, Document::Presence(Presence::default()));
        let text = codec::document(&key, &stored).unwrap();
        let (name, bytes) = (codec::key(&key), super::super::value::bytes(&stored, &text));
        let mut push = b"7 12 - 0123456789abcdef0123 c1 1000 1\n".to_vec();
        push.extend_from_slice(format!("{} {}\n", name.len(), bytes.len()).as_bytes());
        push.extend_from_slice(&name);
        push.extend_from_slice(&bytes);
        let Some(Pushed::Whole(told, before)) = pushed(&push) else { panic!() };
        assert_eq!(before, Line::NONE);
        assert_eq!((told.line.as_str(), told.place), ("0123456789abcdef0123", Part(7).at(12)));
        assert_eq!(told.at, Timestamp::from_ms(1000));
        assert_eq!(told.documents, vec![(key, Ok(stored))]);
        for end in 0..push.len() {
            assert_eq!(pushed(push.get(..end).unwrap()), None, "{end}");
        }
        push.push(b' ');
        assert_eq!(pushed(&push), None);
        let moved = b"7 12 0123456789abcdef0124 0123456789abcdef0123 c1 1000 -\n";
        assert_eq!(pushed(moved), Some(Pushed::Moved(Part(7), 12)));
        assert_eq!(pushed(b"7 12 0123456789abcdef0124 0123456789abcdef0123 c1 1000 - \n"), None);
        assert_eq!(pushed(b"7 12 x 0123456789abcdef0123 c1 1000 -\n"), None);
        assert_eq!(channel("p", Uuid::nil()), "p:00000000-0000-0000-0000-000000000000:moved");
    }
}
