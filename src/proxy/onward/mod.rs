//! HTTP/2 towards applications: a few connections for each core and server, and on them one stream for each exchange, which
//! the relay takes for a connection of HTTP/1.1 (docs/decisions/0011).
//!
//! Never here: a decision, a header that was not in the head of HTTP/1.1 (but `te: trailers`, which is ours to say).

mod drive;
mod lines;
mod sieve;
mod stream;
mod translate;

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use super::routing::{Server, Upstream};

pub(super) use lines::{BUSY, SHARE};
pub(super) use stream::Onward;

/// Servers of which no connection is open are forgotten when there are more than this.
const MOST: usize = 256;

/// All connections of HTTP/2 that a core has to applications.
#[derive(Default)]
pub(super) struct Onwards {
    servers: RefCell<HashMap<Box<str>, Rc<lines::Lines>>>,
}

impl Onwards {
    /// A stream on which nothing was said yet.
    ///
    /// # Errors
    /// The code of why there is none. [`BUSY`] and [`SHARE`] say nothing against the server; what does, its health knows.
    pub(super) async fn stream(
        &self,
        settings: &Upstream,
        server: &Server,
        caller: u64,
    ) -> Result<Onward, &'static str> {
        let lines = self.lines(server);
        Ok(Onward::new(lines.ticket(settings, server, caller).await?, settings.trailers))
    }

    fn lines(&self, server: &Server) -> Rc<lines::Lines> {
        let mut servers = self.servers.borrow_mut();
        if let Some(lines) = servers.get(server.key.as_str()) {
            return Rc::clone(lines);
        }
        if servers.len() >= MOST {
            servers.retain(|_, lines| !lines.is_empty());
        }
        Rc::clone(servers.entry(server.key.as_str().into()).or_default())
    }
}
