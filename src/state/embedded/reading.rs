//! Look-ups in the tables of the embedded store, each inside of one short transaction.
//!
//! Never here: what changes a table (see [`super::tables`]).

use std::ops::Bound;

use redb::{ReadTransaction, ReadableTable};
use serde::Deserialize;

use crate::{
    model::{ChangeId, Key, Timestamp},
    state::{Entry, Found, Part, StoreFault, codec},
};

use super::tables::{
    CHANGES, DOCUMENTS, DUE, FEED, LAYOUT, Label, Line, META, Trouble, damaged, due_key, place,
};

/// The layout number alone, so that a newer label is told from a damaged one.
#[derive(Deserialize)]
struct LayoutOnly {
    layout: u32,
}

/// What the label of a store says.
pub(super) enum Labelled {
    /// Nothing.
    Not,
    /// Another layout.
    Other(u32),
    /// This, and the newest place.
    As(Label, u64),
}

/// Reads the label and the newest place.
pub(super) fn label(read: &ReadTransaction) -> Result<Labelled, Trouble> {
    let meta = match read.open_table(META) {
        Ok(meta) => meta,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Labelled::Not),
        Err(error) => return Err(error.into()),
    };
    let Some(text) = meta.get("mark")? else { return Ok(Labelled::Not) };
    let Ok(layout) = serde_json::from_slice::<LayoutOnly>(text.value()) else {
        return damaged("its mark cannot be read");
    };
    if layout.layout != LAYOUT {
        return Ok(Labelled::Other(layout.layout));
    }
    let Ok(label) = serde_json::from_slice::<Label>(text.value()) else {
        return damaged("its mark cannot be read");
    };
    let position = place(meta.get("position")?.map(|guard| guard.value().to_vec()))?;
    Ok(Labelled::As(label, position))
}

/// The documents of these keys.
pub(super) fn load(read: &ReadTransaction, keys: &[Key]) -> Result<Vec<Option<Found>>, Trouble> {
    let documents = read.open_table(DOCUMENTS)?;
    keys.iter()
        .map(|key| {
            let row = documents.get(codec::key(key).as_slice())?;
            Ok(row.map(|guard| codec::read_document(key, guard.value())))
        })
        .collect()
}

/// The documents whose keys begin with `prefix`, those after `after`.
pub(super) fn list(
    read: &ReadTransaction,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Key, Found)>, Trouble> {
    let documents = read.open_table(DOCUMENTS)?;
    let end = codec::after_prefix(prefix);
    let from = match after {
        Some(after) if after >= end.as_slice() => return Ok(Vec::new()),
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    let mut rows = Vec::new();
    for row in documents.range::<&[u8]>((from, Bound::Excluded(end.as_slice())))?.take(limit) {
        let (bytes, text) = row?;
        let Some(key) = codec::read_key(bytes.value()) else { return damaged("a key cannot be read") };
        let found = codec::read_document(&key, text.value());
        rows.push((key, found));
    }
    Ok(rows)
}

/// What falls due.
pub(super) fn due(
    read: &ReadTransaction,
    until: Timestamp,
    after: Option<&(Timestamp, Key)>,
    limit: usize,
) -> Result<Vec<(Timestamp, Key)>, Trouble> {
    let index = read.open_table(DUE)?;
    let end = until.ms().saturating_add(1).to_be_bytes();
    let after = after.map(|(at, key)| due_key(*at, &codec::key(key)));
    let from = match &after {
        Some(after) if after.as_slice() >= end.as_slice() => return Ok(Vec::new()),
        Some(after) => Bound::Excluded(after.as_slice()),
        None => Bound::Unbounded,
    };
    let mut rows = Vec::new();
    for row in index.range::<&[u8]>((from, Bound::Excluded(end.as_slice())))?.take(limit) {
        let (bytes, ()) = {
            let (key, value) = row?;
            (key.value().to_vec(), value.value())
        };
        let read = bytes
            .split_first_chunk::<8>()
            .and_then(|(at, key)| Some((Timestamp::from_ms(i64::from_be_bytes(*at)), codec::read_key(key)?)));
        let Some(read) = read else { return damaged("the index of deadlines cannot be read") };
        rows.push(read);
    }
    Ok(rows)
}

/// The changes after a place.
pub(super) fn changes_after(
    read: &ReadTransaction,
    position: u64,
    limit: usize,
) -> Result<Vec<Entry>, Trouble> {
    let newest = match label(read)? {
        Labelled::As(_, newest) => newest,
        Labelled::Not | Labelled::Other(_) => return damaged("its mark is gone"),
    };
    if position > newest {
        return Err(Trouble::Fault(StoreFault::WentBack { asked: position, newest }));
    }
    let feed = read.open_table(FEED)?;
    let first = feed.first()?.map_or(newest.saturating_add(1), |(place, _)| place.value());
    if position.saturating_add(1) < first {
        let oldest = first.saturating_sub(1);
        return Err(Trouble::Fault(StoreFault::FeedForgotten { asked: position, oldest }));
    }
    let mut entries = Vec::new();
    for (row, expected) in
        feed.range(position.saturating_add(1)..)?.take(limit).zip(position.saturating_add(1)..)
    {
        let (place, text) = row?;
        let line = serde_json::from_slice::<Line>(text.value());
        let (true, Ok(line)) = (place.value() == expected, line) else {
            return damaged(format!("change {expected} cannot be read"));
        };
        let documents = line.documents.into_iter().map(|(key, raw)| {
            let found = codec::read_document(&key, raw.get().as_bytes());
            (key, found)
        });
        let documents = documents.collect();
        entries.push(Entry {
            place: Part::FIRST.at(expected),
            line: super::super::Line::NONE,
            change: line.change,
            at: line.at,
            documents,
        });
    }
    Ok(entries)
}

/// The place of a change.
pub(super) fn asked(read: &ReadTransaction, change: &ChangeId) -> Result<Option<u64>, Trouble> {
    Ok(read.open_table(CHANGES)?.get(change.as_str())?.map(|guard| guard.value()))
}
