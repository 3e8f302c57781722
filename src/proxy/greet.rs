//! From an accepted connection to a socket that carries requests: TLS where it is spoken, and which HTTP was agreed on.
//!
//! Never here: a request.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{core::Core, counters::Counters, patience::Patience, socket::Socket};
use crate::net::tls::HTTP_2;

/// Which HTTP is spoken over the socket.
pub(super) enum Greeted {
    Http1(Socket),
    Http2(Socket),
}

/// Greets a client; `None` where nothing came of it. The handshake has the time that a head has.
pub(super) async fn greet(core: &Core, stream: TcpStream) -> Option<Greeted> {
    let _ = stream.set_nodelay(true);
    let shared = core.shared();
    let (most, http2_in_clear) = {
        let routing = shared.routing.load();
        (routing.header_timeout, routing.http2_in_clear)
    };
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
