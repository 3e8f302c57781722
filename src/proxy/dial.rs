//! Opening a connection to a server of an application: name, address, TLS. A name is resolved each time, and each of its
//! addresses has its share of the time.
//!
//! Never here: which server (see [`servers`](super::servers)), what is said on the connection.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream, lookup_host},
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{records::Records, routing::Server, socket::Socket};
use crate::net::{Destination, servers::Protocol, tls::HTTP_2};

/// Nobody takes a connection there.
pub(super) const UNREACHABLE: &str = "upstream_unreachable";
/// Nobody took one in time.
pub(super) const TIMEOUT: &str = "upstream_connect_timeout";
/// TLS failed.
const TLS_FAILED: &str = "upstream_tls_failed";
/// What answers does not speak the protocol.
pub(super) const PROTOCOL: &str = "upstream_protocol";

/// Addresses of one name that are tried.
const MOST: usize = 8;

/// A connection that nothing was said on, but TLS.
pub(super) enum Dialed {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<Records>>),
}

impl From<Dialed> for Socket {
    fn from(dialed: Dialed) -> Socket {
        match dialed {
            Dialed::Tcp(stream) => Socket::Tcp(stream),
            Dialed::Unix(stream) => Socket::Unix(stream),
            Dialed::Tls(stream) => Socket::Application(stream),
        }
    }
}

/// Bytes both ways, of any kind.
pub(super) trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Bytes for T {}

impl Dialed {
    /// For whoever does not ask what kind it is.
    pub(super) fn boxed(self) -> Box<dyn Bytes> {
        match self {
            Dialed::Tcp(stream) => Box::new(stream),
            Dialed::Unix(stream) => Box::new(stream),
            Dialed::Tls(stream) => stream,
        }
    }
}

/// Opens one; where the application speaks TLS, the time for it includes the handshake.
pub(super) async fn dial(
    server: &Server,
    protocol: Protocol,
    most: Duration,
) -> Result<Dialed, &'static str> {
    timeout(most, open(server, protocol, most)).await.unwrap_or(Err(TIMEOUT))
}

async fn open(server: &Server, protocol: Protocol, most: Duration) -> Result<Dialed, &'static str> {
    let address = match &server.place {
        Destination::Unix(path) => {
            return Ok(Dialed::Unix(UnixStream::connect(path).await.map_err(|_| UNREACHABLE)?));
        }
        Destination::Tcp(address) => address,
    };
    let stream = connect(address, most).await?;
    let _ = stream.set_nodelay(true);
    let Some(tls) = &server.tls else { return Ok(Dialed::Tcp(stream)) };
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    match connector.connect(tls.name.clone(), Records::new(stream)).await {
        Ok(stream) if protocol == Protocol::Http2 && stream.get_ref().1.alpn_protocol() != Some(HTTP_2) => {
            tracing::warn!(server = &*server.name, "an application does not take HTTP/2 over TLS");
            Err(PROTOCOL)
        }
        Ok(stream) => Ok(Dialed::Tls(Box::new(stream))),
        Err(fault) => {
            tracing::warn!(server = &*server.name, %fault, "TLS with an application failed");
            Err(TLS_FAILED)
        }
    }
}

/// The addresses of the name, one after another as the resolver orders them, until one takes the connection.
async fn connect(address: &str, most: Duration) -> Result<TcpStream, &'static str> {
    let deadline = Instant::now() + most;
    let found: Vec<_> = lookup_host(address).await.map_err(|_| UNREACHABLE)?.take(MOST).collect();
    let mut last = UNREACHABLE;
    let mut left = u32::try_from(found.len()).unwrap_or(1);
    for one in found {
        let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        match timeout(share, TcpStream::connect(one)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(_)) => last = UNREACHABLE,
            Err(_) => last = TIMEOUT,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_takes_nothing_leaves_time_for_the_next() {
        // `localhost` may have two addresses; only one of them listens here.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(connect(&format!("localhost:{port}"), Duration::from_secs(5)).await.is_ok());
        drop(listener);
        assert_eq!(
            connect(&format!("localhost:{port}"), Duration::from_secs(5)).await.unwrap_err(),
            UNREACHABLE
        );
        assert_eq!(connect("no.such.name.invalid:1", Duration::from_secs(5)).await.unwrap_err(), UNREACHABLE);
    }
}
