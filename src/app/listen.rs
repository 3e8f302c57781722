//! Addresses to listen on: one socket a core, all on one address, and none that somebody else has.
//!
//! Never here: what is served there.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// How many connections may wait to be accepted, on each socket.
const BACKLOG: i32 = 1024;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; stop what listens there, or choose another address")]
pub struct ListenFault {
    address: SocketAddr,
    source: std::io::Error,
}

/// One socket for each of so many cores.
pub(super) fn listen(address: SocketAddr, cores: usize) -> Result<Vec<TcpListener>, ListenFault> {
    // Sockets that share an address would also share it with a gateway that runs already: first one that shares
    // nothing, to see that nobody is there.
    let probe = socket(address, false)?;
    let address = probe.local_addr().unwrap_or(address);
    drop(probe);
    (0..cores.max(1)).map(|_| socket(address, true)).collect()
}

/// One socket that nobody shares.
pub(super) fn one(address: SocketAddr) -> Result<TcpListener, ListenFault> {
    socket(address, false)
}

/// Where they listen.
pub(super) fn address(listeners: &[TcpListener], asked: SocketAddr) -> SocketAddr {
    listeners.first().and_then(|listener| listener.local_addr().ok()).unwrap_or(asked)
}

fn socket(address: SocketAddr, shared: bool) -> Result<TcpListener, ListenFault> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|source| ListenFault { address, source })
}
