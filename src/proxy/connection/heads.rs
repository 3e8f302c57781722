//! The next request of a connection: its bytes, and from where it comes.
//!
//! Never here: what it means.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::engine::knock::Particulars;
use crate::proxy::{
    collect::Mapped,
    core::{Core, client_of},
    counters::Counters,
    hops::Unclear,
    intake::{self, Unreadable},
    respond::Told,
    routing::Routing,
    wire::{Parsed, RequestView},
};

use super::{Connection, FOLLOWS, LAST_CALL, PIECE, told::unreadable};

/// Whether something comes from a client.
pub(super) enum Coming {
    Now,
    NotYet,
    /// Nothing will any more.
    Never,
}

/// What came of waiting for a head.
pub(super) enum Came {
    Head(Vec<u8>),
    Nothing,
    End,
}

impl Connection {
    /// Waits for the first byte of a request, so long at most. Whoever has said nothing yet has no more time than for a
    /// head; when the gateway stops, nobody has more than for what is on its way.
    pub(super) async fn first_byte(&mut self, core: &Core, most: Duration) -> Coming {
        let most = match self.fresh {
            None => most,
            Some(began) => {
                let routing = core.shared().routing.load();
                routing.keep_alive.min(routing.header_timeout).saturating_sub(began.elapsed())
            }
        };
        let mut ready = tokio::select! {
            biased;
            ready = self.patience.wait(most, self.stream.readable()) => Some(ready),
            () = core.stopped() => None,
        };
        let stopped = ready.is_none();
        if stopped {
            ready = Some(self.patience.wait(most.min(LAST_CALL), self.stream.readable()).await);
        }
        match ready {
            Some(Ok(Ok(()))) => Coming::Now,
            Some(Err(_)) if !stopped && self.fresh.is_none() => Coming::NotYet,
            Some(_) | None => Coming::Never,
        }
    }

    /// The bytes of the next whole head; what came behind it stays in the inbox.
    pub(super) async fn next_head(&mut self, core: &Core) -> Came {
        let shared = core.shared();
        let routing = shared.routing.load();
        if self.inbox.is_empty() {
            match self.first_byte(core, routing.keep_alive.min(FOLLOWS)).await {
                Coming::Now => self.inbox = core.buffer(),
                Coming::NotYet => return Came::Nothing,
                Coming::Never => return Came::End,
            }
        }
        let mut started = self.fresh.take();
        let limits = routing.limits;
        let header_timeout = routing.header_timeout;
        drop(routing);
        loop {
            if !self.inbox.is_empty() {
                match self.head.parse(&self.inbox, &limits) {
                    Ok(Parsed::Complete { len }) => {
                        let rest = self.inbox.split_off(len.min(self.inbox.len()));
                        return Came::Head(std::mem::replace(&mut self.inbox, rest));
                    }
                    Ok(Parsed::Partial) => {}
                    Err(fault) => {
                        Counters::add(&core.counters().unreadable);
                        self.tell(&unreadable(Unreadable::Head(fault)), false).await;
                        return Came::End;
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
                Ok(Ok(0) | Err(_)) => return Came::End,
                Ok(Ok(_)) => {}
                Err(_) => {
                    if !self.inbox.is_empty() {
                        let told = Told::plain(408, "head_too_slow", "the request's head took too long");
                        self.tell(&told, false).await;
                    }
                    return Came::End;
                }
            }
        }
    }

    /// Finds out from where a request comes. Where that is not said in one way, it is the peer's, and the request refused.
    pub(super) fn look_whence(&mut self, routing: &Routing, request: &RequestView<'_>) -> Option<Told> {
        let peer = self.peer.ip();
        let client = match &routing.entrance.hops {
            None => Ok(peer),
            Some(hops) => hops.client(peer, request),
        };
        self.client = client.unwrap_or(peer).to_canonical();
        client.err().map(|Unclear| {
            let detail = "where the request comes from is not said in one way";
            Told::plain(400, "forwarded_malformed", detail)
        })
    }

    /// What the record says of the request.
    pub(super) fn particulars(
        &self,
        routing: &Routing,
        method: &http::Method,
        host: &str,
        target: &intake::Target<'_>,
        mapped: &Mapped<'_>,
    ) -> Particulars {
        let upstream = mapped.binding.and_then(|binding| routing.upstreams.get(binding.upstream));
        Particulars {
            method: method.to_string(),
            host: host.to_owned(),
            path: target.path.as_str().to_owned(),
            client: client_of(self.client),
            upstream: upstream.map(|upstream| upstream.name.clone()).unwrap_or_default(),
        }
    }
}
