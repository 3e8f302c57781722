//! The next request of a connection: its bytes, and from where it comes.
//!
//! Never here: what it means.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::proxy::{
    core::Core,
    counters::Counters,
    intake::Unreadable,
    respond::Told,
    routing::Routing,
    wire::{Parsed, RequestView},
};

use super::{Connection, PIECE, told::unreadable};

impl Connection {
    /// The bytes of the next whole head; what came behind it stays in the inbox. `None`: the connection is over.
    pub(super) async fn next_head(&mut self, core: &Core) -> Option<Vec<u8>> {
        let shared = core.shared();
        let routing = shared.routing.load();
        // Whoever has said nothing yet has no more time than for a head.
        let mut started = self.fresh.take();
        if self.inbox.is_empty() {
            let most = started.map_or(routing.keep_alive, |_| routing.keep_alive.min(routing.header_timeout));
            let ready = tokio::select! {
                biased;
                ready = self.patience.wait(most, self.stream.readable()) => ready,
                () = shared.stop.cancelled() => return None,
            };
            if !matches!(ready, Ok(Ok(()))) {
                return None;
            }
            self.inbox = core.buffer();
        }
        let limits = routing.limits;
        let header_timeout = routing.header_timeout;
        drop(routing);
        loop {
            if !self.inbox.is_empty() {
                match self.head.parse(&self.inbox, &limits) {
                    Ok(Parsed::Complete { len }) => {
                        let rest = self.inbox.split_off(len.min(self.inbox.len()));
                        return Some(std::mem::replace(&mut self.inbox, rest));
                    }
                    Ok(Parsed::Partial) => {}
                    Err(fault) => {
                        Counters::add(&core.counters().unreadable);
                        self.tell(&unreadable(Unreadable::Head(fault)), false).await;
                        return None;
                    }
                }
            }
            // The time for a head counts from its first byte, however often it is fed. Of a head that comes in one
            // piece, as most do, no time is taken.
            if started.is_none() && !self.inbox.is_empty() {
                started = Some(tokio::time::Instant::now());
            }
            let left = header_timeout.saturating_sub(started.map_or(Duration::ZERO, |began| began.elapsed()));
            self.inbox.reserve(PIECE);
            match self.patience.wait(left, self.stream.read_buf(&mut self.inbox)).await {
                Ok(Ok(0) | Err(_)) => return None,
                Ok(Ok(_)) => {}
                Err(_) => {
                    if !self.inbox.is_empty() {
                        let told = Told::plain(408, "head_too_slow", "the request's head took too long");
                        self.tell(&told, false).await;
                    }
                    return None;
                }
            }
        }
    }

    /// Finds out from where a request comes. Where that is not said in one way, it is the peer's, and the request refused.
    pub(super) fn look_whence(&mut self, routing: &Routing, request: &RequestView<'_>) -> Result<(), Told> {
        let peer = self.peer.ip();
        let client = match &routing.entrance.hops {
            None => Ok(peer),
            Some(hops) => hops.client(peer, request),
        };
        self.client = client.unwrap_or(peer).to_canonical();
        client.map(|_| ()).map_err(|_| {
            let detail = "where the request comes from is not said in one way";
            Told::plain(400, "forwarded_malformed", detail)
        })
    }
}
