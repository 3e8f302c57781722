//! Room for bytes that are still to come: taken when they are there, and not while somebody takes their time to send them.
//! So whoever waits, for a client or for an application, holds next to nothing.
//!
//! Never here: reading.

use std::{future::poll_fn, pin::pin};

use crate::proxy::{core::Core, gate::Gate, socket::Half};

/// Waits until there may be something to read. `buffer` gives its memory back for as long as nothing comes, if it is empty.
pub(super) async fn arrival(core: &Core, gate: Gate<'_>, from: &Half<'_, '_>, buffer: &mut Vec<u8>) {
    let mut readable = pin!(gate.readable(from));
    poll_fn(|cx| {
        let ready = readable.as_mut().poll(cx);
        if ready.is_pending() && buffer.is_empty() && buffer.capacity() > 0 {
            core.give_back(std::mem::take(buffer));
        }
        ready
    })
    .await;
}

/// The same, then sees to so much room in `buffer`.
pub(super) async fn room(
    core: &Core,
    gate: Gate<'_>,
    from: &Half<'_, '_>,
    buffer: &mut Vec<u8>,
    most: usize,
) {
    arrival(core, gate, from, buffer).await;
    if buffer.capacity() == 0 {
        *buffer = core.buffer();
    }
    buffer.reserve(most);
}
