//! From an accepted connection to a socket that carries requests: whose it is where a balancer says so, TLS where it is
//! spoken, and which HTTP was agreed on.
//!
//! Never here: a request.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::TlsAcceptor;

use super::{
    core::Core,
    counters::Counters,
    patience::Patience,
    proxy_protocol::{self, ProxyFault},
    socket::Socket,
};
use crate::{engine::knock::address_of, net::tls::HTTP_2};

/// Which HTTP is spoken over the socket.
pub(super) enum Greeted {
    Http1(Socket),
    Http2(Socket),
}

/// Greets a client; `None` where nothing came of it. All of it has the time that a head has.
pub(super) async fn greet(
    core: &Core,
    mut stream: TcpStream,
    mut peer: SocketAddr,
) -> Option<(Greeted, SocketAddr)> {
    let _ = stream.set_nodelay(true);
    let shared = core.shared();
    let (mut most, http2_in_clear, proxied) = {
        let routing = shared.routing.load();
        let address = address_of(peer.ip());
        let proxied = routing.entrance.proxied.iter().any(|network| network.contains(address));
        (routing.header_timeout, routing.http2_in_clear, proxied)
    };
    if proxied {
        let began = Instant::now();
        peer = whose(core, &mut stream, peer, most).await?;
        most = most.saturating_sub(began.elapsed());
    }
    let greeted = shake(core, stream, most, http2_in_clear).await?;
    Some((greeted, peer))
}

/// Whose connection it is, as the balancer says; nothing is answered where it says nothing.
async fn whose(core: &Core, stream: &mut TcpStream, peer: SocketAddr, most: Duration) -> Option<SocketAddr> {
    match Patience::new().wait(most, proxy_protocol::read(stream)).await {
        Ok(Ok(said)) => return Some(said.unwrap_or(peer)),
        // A balancer that looks whether somebody listens does this every few seconds.
        Ok(Err(ProxyFault::Gone)) => return None,
        Ok(Err(fault)) => tracing::warn!(%peer, %fault, "a connection without a beginning"),
        Err(_) => tracing::warn!(%peer, "a connection whose PROXY header took too long"),
    }
    Counters::add(&core.counters().unreadable);
    None
}

async fn shake(core: &Core, stream: TcpStream, most: Duration, http2_in_clear: bool) -> Option<Greeted> {
    let shared = core.shared();
    let Some(tls) = shared.tls.load_full() else {
        // Never guessed from what comes: a byte stream that begins like one protocol can go on like the other.
        let socket = Socket::Tcp(stream);
        return Some(if http2_in_clear { Greeted::Http2(socket) } else { Greeted::Http1(socket) });
    };
    let shaken = Patience::new().wait(most, TlsAcceptor::from(Arc::clone(&tls)).accept(stream)).await;
    match shaken {
        Ok(Ok(stream)) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
            let socket = Socket::Client(Box::new(stream));
            Some(if http2 { Greeted::Http2(socket) } else { Greeted::Http1(socket) })
        }
        Ok(Err(fault)) => {
            // Scanners do this all day: it is counted, and said where somebody looks for it.
            tracing::debug!(%fault, "a TLS handshake failed");
            Counters::add(&core.counters().tls_failed);
            None
        }
        Err(_) => {
            Counters::add(&core.counters().tls_failed);
            None
        }
    }
}
