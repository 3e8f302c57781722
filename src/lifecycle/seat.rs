//! How many paid seats a tenant's people take: the number moves in the commit of the row that moves it, and the record of that
//! change says so. A person counts once, whatever roles they hold, from when a service says who they are until it says that they
//! are no member, suspended or not. Who has no row, as the vendor's people, never counts.
//!
//! How many there may be, a service says with the tenant: who would take one more is refused, and nobody who has one loses it. Since
//! all of it meets in one count, of two commands at once for the last seat one is refused.
//!
//! Never here: what a seat costs.

use crate::{
    model::{Document, Key, Member, ResourceRef, Tally, Tenant, TenantId},
    policy::Lack,
};

use super::{Change, Event, Moment, Refusal};

/// The new count, and the event that says so.
pub(super) struct Moved(Key, Tally, Event);

impl Moved {
    /// Refuses one more than the tenant may have. One fewer is always right.
    pub(super) fn fits(&self, tenant: &Tenant) -> Result<(), Refusal> {
        let Moved(_, tally, event) = self;
        let grows = matches!(event, Event::SeatsChanged { from, to } if to > from);
        match tenant.seat_limit.filter(|limit| grows && tally.seats > *limit) {
            Some(limit) => Err(Refusal::SeatsFull(limit)),
            None => Ok(()),
        }
    }

    pub(super) fn put(self, change: &mut Change) {
        let Moved(key, tally, event) = self;
        change.documents.push((key, Document::Tally(tally)));
        change.events.push(event);
    }
}

/// Whether a row is counted, in this life of its tenant.
pub(super) fn is_counted(row: Option<&Member>, life: u32) -> bool {
    row.is_some_and(|row| row.seat && row.life == life)
}

/// What the count comes to where one more is counted from now on, or one fewer. Of a row of an earlier life of the tenant than the one
/// that is counted nothing moves.
pub(super) fn moved(
    at: &Moment<'_>,
    id: &TenantId,
    life: u32,
    was: bool,
    is: bool,
) -> Result<Option<Moved>, Lack> {
    let Some(of) = ResourceRef::of_tenant(id).filter(|_| was != is) else { return Ok(None) };
    let known = at.facts.tally(id, &of)?;
    if known.is_some_and(|tally| tally.life > life) {
        return Ok(None);
    }
    let known = known.filter(|tally| tally.life == life).cloned();
    let mut tally = known.unwrap_or(Tally { life, ..Tally::default() });
    let from = tally.seats;
    tally.seats = if is { from.saturating_add(1) } else { from.saturating_sub(1) };
    let event = Event::SeatsChanged { from, to: tally.seats };
    Ok(Some(Moved(Key::Tally(id.clone(), of), tally, event)))
}
