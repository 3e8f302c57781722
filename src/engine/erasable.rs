//! Documents in records: without the values that may be erased, which stand in `open` beside them, and put back from there.
//!
//! Never here: which values those are ([`crate::model::erasable`]).

use std::borrow::Cow;

use crate::{
    audit::{
        journal::Personal,
        open::{Person, people},
        record::{self, Line},
    },
    model::{
        ChangeId, Document, Head, Key, Stored,
        erasable::{EMAIL, put_back, without_address},
    },
};

/// Documents as a record tells them, and what it says beside them.
pub(super) type Told<'a, D> = (Cow<'a, [(Key, D)]>, Vec<Personal>);

/// Under which name the value of one state of one document is found again: the record names both anyway.
fn place(key: &Key, change: &ChangeId) -> String {
    format!("{key}@{change}")
}

fn personal(key: &Key, change: &ChangeId, address: &str) -> Personal {
    Personal { person: place(key, change), name: EMAIL, value: address.to_owned() }
}

/// The documents that a change writes.
pub(super) fn written<'a>(change: &ChangeId, documents: &'a [(Key, Document)]) -> Told<'a, Document> {
    let (mut told, mut values) = (Cow::Borrowed(documents), Vec::new());
    for (index, (key, document)) in documents.iter().enumerate() {
        if let Some((without, address)) = without_address(document)
            && let Some(slot) = told.to_mut().get_mut(index)
        {
            slot.1 = without;
            values.push(personal(key, change, &address));
        }
    }
    (told, values)
}

/// The documents after a change, with their stamps.
pub(super) fn stored(documents: &[(Key, Stored)]) -> Told<'_, Stored> {
    let (mut told, mut values) = (Cow::Borrowed(documents), Vec::new());
    for (index, (key, stored)) in documents.iter().enumerate() {
        for (side, head) in stored.heads.iter().enumerate() {
            if let Some((without, address)) = without_address(&head.document)
                && let Some(slot) =
                    told.to_mut().get_mut(index).and_then(|(_, told)| told.heads.get_mut(side))
            {
                slot.document = without;
                values.push(personal(key, &head.change, &address));
            }
        }
    }
    (told, values)
}

/// Puts back what the record of a change's intent still says.
pub(super) fn restore_written(line: &str, change: &ChangeId, documents: &mut [(Key, Document)]) {
    if let Ok(line) = record::parse(line.as_bytes()) {
        restore_promised(&line, change, documents);
    }
}

/// The same of a line that was taken apart.
pub(super) fn restore_promised(line: &Line<'_>, change: &ChangeId, documents: &mut [(Key, Document)]) {
    let known = people(line);
    for (key, document) in documents {
        restore(&known, key, change, document);
    }
}

/// Puts back what the record of a change's outcome still says.
pub(super) fn restore_stored(line: &Line<'_>, documents: &mut [(Key, Stored)]) {
    let known = people(line);
    if known.is_empty() {
        return;
    }
    for (key, stored) in documents {
        for Head { change, document } in &mut stored.heads {
            restore(&known, key, change, document);
        }
    }
}

fn restore(known: &[Person], key: &Key, change: &ChangeId, document: &mut Document) {
    let place = place(key, change);
    let person = known.iter().find(|person| person.person == place);
    if let Some(address) = person.and_then(|person| person.values.get(EMAIL)) {
        put_back(document, address);
    }
}
