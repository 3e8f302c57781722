//! What a peer answered, looked at record by record before any of it is believed.
//!
//! Never here: sockets, merging.

use crate::audit::{
    note::is_plain,
    own::{Foreign, OfGrant, Recorded},
};

use super::{
    fault::PeerFault,
    words::{Asked, Mark, Part, Who},
};

/// What of one ledger there is, believed.
#[derive(Debug)]
pub struct Ledger {
    /// Whose ledger it is.
    pub gateway: String,
    /// Its log's name.
    pub log: String,
    /// Records that were durable when it was looked.
    pub size: u64,
    /// The records, each with the instant at which it was written, in milliseconds since 1970 UTC; in the ledger's order.
    pub items: Vec<(i64, Recorded)>,
    /// The record to look at next.
    pub next: u64,
    /// Whether all up to `size` was looked at.
    pub complete: bool,
    /// When the last one was written that was looked at, where not all were.
    pub until: Option<i64>,
    /// The grant that was asked for, with the sessions that were learned.
    pub of: Option<OfGrant>,
}

/// Whether somebody is who is asked.
pub(super) fn who(who: &Who, name: &str) -> Result<(), PeerFault> {
    if who.gateway != name {
        return Err(PeerFault::OtherGateway);
    }
    if is_plain(&who.log) {
        Ok(())
    } else {
        Err(PeerFault::Malformed("its log has no name that a log can have"))
    }
}

/// What a gateway that proved to be `name`, with this log, answered to what was asked.
pub(super) fn part(part: Part, asked: &Asked, name: &str, log: &str) -> Result<Ledger, PeerFault> {
    if part.gateway != name {
        return Err(PeerFault::OtherGateway);
    }
    if part.log != log {
        return Err(PeerFault::OtherLog);
    }
    let malformed = |why| Err(PeerFault::Malformed(why));
    let from = asked.places.get(&Mark::of(log)).copied();
    if part.next > part.size || from.is_some_and(|from| part.next < from) {
        return malformed("it goes on where nothing can be");
    }
    match (part.complete, part.until) {
        (true, _) if part.next != part.size => return malformed("it looked at all and did not"),
        // Somebody who never gets on would be asked for ever.
        (false, _) if part.next <= from.unwrap_or(0) => return malformed("it did not get on"),
        (false, None) => return malformed("it does not say how far it looked"),
        (true | false, _) => {}
    }
    if part.items.len() > asked.limit {
        return malformed("it answered more records than were asked for");
    }
    let mut filters = asked.filters.clone();
    let (mut items, mut least) = (Vec::with_capacity(part.items.len()), from.unwrap_or(0));
    for item in part.items {
        if item.seq < least || item.seq >= part.next {
            return malformed("a record stands where it cannot");
        }
        least = item.seq + 1;
        let at = item.looked_at(log, &mut filters).map_err(|fault| match fault {
            Foreign::Malformed => PeerFault::Malformed("a record is none of its log at its place"),
            Foreign::NotAsked => PeerFault::NotAsked,
        })?;
        items.push((at, item));
    }
    Ok(Ledger {
        gateway: part.gateway,
        log: part.log,
        size: part.size,
        items,
        next: part.next,
        complete: part.complete,
        until: part.until,
        of: filters.of,
    })
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
