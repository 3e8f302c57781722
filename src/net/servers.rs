//! The servers of an application: where each is, what is spoken to it, when it counts as one that can be asked.
//!
//! Never here: asking one, or counting what came of it.

use std::time::Duration;

use super::{Destination, tls::ToUpstream};

/// One server of an application.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where it is.
    pub place: Destination,
    /// TLS to it, with the name that its certificate must bear.
    pub tls: Option<ToUpstream>,
}

/// What is spoken to an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// How servers are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Path and query.
    pub path: String,
    /// How often.
    pub every: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Good ones on end that bring a server back.
    pub healthy_after: u32,
    /// Bad ones on end that put it out.
    pub unhealthy_after: u32,
    /// The one that is good; `None` is 200 to 299.
    pub status: Option<u16>,
}

/// When a server that cannot be connected to is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eject {
    /// After so many on end; 0 is never.
    pub after: u32,
    /// For so long the first time.
    pub first: Duration,
    /// And no longer than this.
    pub most: Duration,
}

impl Default for Eject {
    fn default() -> Self {
        Eject { after: 3, first: Duration::from_secs(1), most: Duration::from_secs(60) }
    }
}
