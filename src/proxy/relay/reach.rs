//! The way to one of an application's servers: a kept connection or a fresh one, and another server where the first cannot
//! be had. Nothing of the request is said meanwhile: it is one and the same attempt, under the one permit and the one
//! record (law 1). Once a byte has left, nobody can know what became of it, and nothing here is asked any more.
//!
//! Never here: which server is the better one (see [`servers`](crate::proxy::servers)).

use std::{sync::Arc, time::Duration};

use crate::{
    net::servers::Protocol,
    proxy::{
        core::Core,
        counters::Counters,
        dial::{self, dial},
        gate::{Broken, Gate},
        patience::{Patience, TooSlow},
        routing::{Server, Upstream},
        servers::{Load, Tried},
        socket::Socket,
    },
};

use super::{NO_ANSWER, Tally, Trouble};

/// A stream was refused each time.
const REFUSED: &str = "upstream_refused";
/// Servers that one request tries to connect to.
const TRIES: u8 = 3;

/// A connection to a server on which nothing of this request was said yet.
pub(super) struct Reached<'p> {
    pub(super) socket: Socket,
    pub(super) server: &'p Server,
    number: usize,
    /// Kept from an earlier exchange.
    pooled: bool,
    /// Under way here until this is dropped.
    _load: Load,
}

/// See the module's header.
pub(super) struct Way<'p> {
    core: &'p Core,
    settings: &'p Upstream,
    gate: Gate<'p>,
    tally: &'p Tally,
    caller: u64,
    tried: Tried,
    left: u8,
    last: &'static str,
}

impl<'p> Way<'p> {
    pub(super) fn new(
        core: &'p Core,
        settings: &'p Upstream,
        gate: Gate<'p>,
        tally: &'p Tally,
        caller: u64,
    ) -> Way<'p> {
        let (tried, last) = (Tried::default(), dial::UNREACHABLE);
        Way { core, settings, gate, tally, caller, tried, left: TRIES, last }
    }

    /// A kept connection that is still good, or a fresh one, to whichever server can be had.
    pub(super) async fn reach(&mut self) -> Result<Reached<'p>, Trouble> {
        loop {
            let chosen = self.core.loads().choose(self.settings, self.tried);
            let Some((number, server, load)) = chosen else { return Err(in_vain(self.last)) };
            self.names(server);
            // Taken in a statement of its own: the pool is not held while a connection is opened.
            let kept = self.core.pool().take(self.settings, server);
            if let Some(socket) = kept {
                return Ok(Reached { socket, server, number, pooled: true, _load: load });
            }
            if let Some(socket) = self.open(number, server).await? {
                // Of HTTP/2 the connection is an older one, as a rule.
                let pooled = self.settings.protocol == Protocol::Http2;
                return Ok(Reached { socket, server, number, pooled, _load: load });
            }
        }
    }

    /// Another stream for one that the application provably did nothing with: to another server, where there is one.
    pub(super) async fn elsewhere(&mut self, refused: &Reached<'p>) -> Result<Reached<'p>, Trouble> {
        self.last = REFUSED;
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            return Err(in_vain(REFUSED));
        }
        Counters::add(&self.core.counters().retried);
        if self.settings.servers.len() > 1 {
            self.tried.add(refused.number);
        }
        self.reach().await
    }

    /// Another connection for one that was found dead before a byte had left: to the same server where it was kept, which
    /// says nothing about the server.
    async fn instead_of(&mut self, dead: &Reached<'p>) -> Result<Reached<'p>, Trouble> {
        if !dead.pooled {
            dead.server.health.unreached("upstream_gone");
            self.failed(dead.number, "upstream_gone")?;
            return self.reach().await;
        }
        match self.open(dead.number, dead.server).await? {
            Some(socket) => Ok(Reached {
                socket,
                server: dead.server,
                number: dead.number,
                pooled: false,
                _load: self.core.loads().again(self.settings, dead.server),
            }),
            None => self.reach().await,
        }
    }

    /// A connection of its own, unless it is cut meanwhile; `None` where another server is to be tried.
    async fn open(&mut self, number: usize, server: &Server) -> Result<Option<Socket>, Trouble> {
        self.core.pool().sweep();
        let settings = self.settings;
        let opening = async {
            match settings.protocol {
                Protocol::Http1 => {
                    let dialed = dial(server, settings.protocol, settings.connect_timeout).await;
                    match dialed {
                        Ok(_) => server.health.reached(),
                        Err(code) => server.health.unreached(code),
                    }
                    dialed.map(Socket::from)
                }
                // Whoever opens the connection tells the server's health; here it may be one that is there.
                Protocol::Http2 => {
                    let stream = Box::pin(self.core.onwards().stream(settings, server, self.caller)).await;
                    stream.map(|stream| Socket::Onward(Box::new(stream)))
                }
            }
        };
        let opened = tokio::select! {
            opened = opening => opened,
            _ = self.gate.cut() => return Err(Trouble::Cut),
        };
        match opened {
            Ok(socket) => Ok(Some(socket)),
            Err(code) => {
                self.failed(number, code)?;
                Ok(None)
            }
        }
    }

    fn failed(&mut self, number: usize, code: &'static str) -> Result<(), Trouble> {
        self.tried.add(number);
        self.last = code;
        self.left = self.left.saturating_sub(1);
        if self.left == 0 || self.settings.servers.len() == 1 {
            return Err(in_vain(code));
        }
        Counters::add(&self.core.counters().retried);
        Ok(())
    }

    /// What the record says of it: where there is one server only, its upstream says it.
    fn names(&self, server: &Server) {
        if self.settings.servers.len() > 1 {
            self.tally.server.set(Some(Arc::clone(&server.name)));
        }
    }

    /// Sends what is ready of a request. A connection that is found dead before the kernel took one byte for it is replaced,
    /// whatever the method: nothing of the request was said yet.
    pub(super) async fn say(
        &mut self,
        reached: &mut Reached<'p>,
        bytes: &[u8],
        most: Duration,
        patience: &mut Patience,
    ) -> Result<(), Trouble> {
        loop {
            let (mut left, before) = (0, reached.socket.taken_below());
            let writing = self.gate.write_both(&mut reached.socket, bytes, &[], |count| left += count);
            let written = patience.wait(most, writing).await;
            let untold = left == 0 && reached.socket.taken_below() == before;
            self.tally.said.set(!untold);
            match written {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(Broken::Gone)) if untold => *reached = self.instead_of(reached).await?,
                Ok(Err(broken)) => return Err(Trouble::of_upstream(broken)),
                Err(TooSlow) => return Err(Trouble::UpstreamSlow(NO_ANSWER)),
            }
        }
    }
}

fn in_vain(code: &'static str) -> Trouble {
    match code {
        dial::TIMEOUT => Trouble::UpstreamSlow(code),
        code => Trouble::Upstream(code),
    }
}
