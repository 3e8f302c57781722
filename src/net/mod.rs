//! The network as the configuration names it: where an application is, its servers, and TLS on both sides. Used by whoever listens and
//! connects; and asking a server of the configuration's own ([`ask`]). Never here: a connection of a client's.

pub mod ask;
pub mod servers;
pub mod tls;

use std::{fmt, path::PathBuf};

/// Where an application is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Host and port.
    Tcp(String),
    /// A socket of this machine.
    Unix(PathBuf),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Tcp(address) => f.write_str(address),
            Destination::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
