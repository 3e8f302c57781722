//! From an accepted connection to a socket that carries requests: TLS where it is spoken, and which HTTP was agreed on.
//!
//! Never here: a request.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{core::Core, counters::Counters, patience::Patience, socket::Socket};

/// Greets a client; `None` where nothing came of it. The handshake has the time that a head has.
pub(super) async fn greet(core: &Core, stream: TcpStream) -> Option<Socket> {
    let _ = stream.set_nodelay(true);
    let shared = core.shared();
    let Some(tls) = shared.tls.load_full() else { return Some(Socket::Tcp(stream)) };
    let most = shared.routing.load().header_timeout;
    let shaken = Patience::new().wait(most, TlsAcceptor::from(Arc::clone(&tls)).accept(stream)).await;
    match shaken {
        Ok(Ok(stream)) => Some(Socket::Client(Box::new(stream))),
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
