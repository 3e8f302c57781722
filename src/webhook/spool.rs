//! The ledger as a spool: what stands behind a cursor for one webhook, a bounded stretch at a time.
//!
//! Never here: moving the cursor.

use std::path::Path;

use super::message::{Message, Wanted, messages};
use crate::audit::read::{Place, ReadError, Records};

/// Records that one look takes, whomever they concern.
const STRETCH: u64 = 20_000;
/// Events that one look finds, at most, give or take those of one record.
const MOST: usize = 64;

/// What one look found.
pub(super) struct Stretch {
    pub(super) messages: Vec<Message>,
    /// The record to go on with.
    pub(super) next: u64,
    /// Where that stands.
    pub(super) place: Option<Place>,
}

/// Reads on from the record `from`, of which `told` events are over, up to `size`: what stands there is not durable yet. `place` is
/// where an earlier look ended, if that was there.
pub(super) fn read_on(
    dir: &Path,
    wanted: &Wanted,
    (from, told): (u64, usize),
    place: Option<Place>,
    size: u64,
) -> Result<Stretch, ReadError> {
    let mut records = match place {
        Some(place) => Records::behind(dir, place)?,
        None => Records::from_seq(dir, from)?,
    };
    let mut stretch = Stretch { messages: Vec::new(), next: from, place };
    while stretch.next < size && stretch.next - from < STRETCH && stretch.messages.len() < MOST {
        let found = records.next(|line, file, number| {
            let seq = line.lead.seq;
            if seq >= size {
                return None;
            }
            let found = messages(line, wanted).unwrap_or_else(|fault| {
                tracing::error!(file, line = number, %fault, "a record cannot be told: it is no outcome that can be read");
                Vec::new()
            });
            Some((seq, found))
        })?;
        let Some((seq, found)) = found.flatten() else { break };
        stretch.place = records.place();
        if seq >= from {
            stretch.messages.extend(found.into_iter().filter(|message| seq > from || message.index >= told));
            stretch.next = seq + 1;
        }
    }
    Ok(stretch)
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
