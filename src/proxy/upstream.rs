//! Connections to applications: one pool a core, last in first out. A connection comes back only after an exchange that
//! ended complete and in step; one that was closed or spoke unasked is thrown away before anything is sent on it.
//!
//! Never here: a retry after bytes were sent.

use std::{collections::HashMap, sync::Arc};

use tokio::{
    net::{TcpStream, UnixStream},
    time::Instant,
};
use tokio_rustls::TlsConnector;

use crate::net::Destination;

use super::{routing::Upstream, socket::Socket};

const UNREACHABLE: &str = "upstream_unreachable";

struct Idle {
    socket: Socket,
    since: Instant,
}

/// See the module's header.
#[derive(Default)]
pub(super) struct Pool {
    /// By address: a map that is put in force later may number its applications anew.
    idle: HashMap<Box<str>, Vec<Idle>>,
}

impl Pool {
    /// An idle connection that is still good.
    pub(super) fn take(&mut self, settings: &Upstream) -> Option<Socket> {
        let list = self.idle.get_mut(settings.key.as_str())?;
        while let Some(mut idle) = list.pop() {
            if idle.since.elapsed() > settings.idle_timeout {
                // Those below are older still.
                list.clear();
                return None;
            }
            if idle.socket.is_quiet() {
                return Some(idle.socket);
            }
        }
        None
    }

    /// Keeps a connection for the next exchange.
    pub(super) fn put(&mut self, settings: &Upstream, socket: Socket) {
        let idle = Idle { socket, since: Instant::now() };
        match self.idle.get_mut(settings.key.as_str()) {
            Some(list) if list.len() < settings.idle => list.push(idle),
            Some(_) => {}
            None if settings.idle > 0 => drop(self.idle.insert(settings.key.as_str().into(), vec![idle])),
            None => {}
        }
    }
}

/// Opens a connection; where the application speaks TLS, the time for it includes the handshake.
pub(super) async fn connect(settings: &Upstream) -> Result<Socket, &'static str> {
    let open = async {
        match &settings.place {
            Destination::Unix(path) => {
                Ok(Socket::Unix(UnixStream::connect(path).await.map_err(|_| UNREACHABLE)?))
            }
            Destination::Tcp(address) => {
                let stream = TcpStream::connect(address.as_str()).await.map_err(|_| UNREACHABLE)?;
                let _ = stream.set_nodelay(true);
                let Some(tls) = &settings.tls else { return Ok(Socket::Tcp(stream)) };
                let connector = TlsConnector::from(Arc::clone(&tls.config));
                match connector.connect(tls.name.clone(), stream).await {
                    Ok(stream) => Ok(Socket::Application(Box::new(stream))),
                    Err(fault) => {
                        tracing::warn!(upstream = settings.name, %fault, "TLS with an application failed");
                        Err("upstream_tls_failed")
                    }
                }
            }
        }
    };
    tokio::time::timeout(settings.connect_timeout, open).await.unwrap_or(Err("upstream_connect_timeout"))
}

#[cfg(test)]
mod tests {
    use std::{io::Write, mem::MaybeUninit, net::TcpListener, time::Duration};

    use super::*;
    use crate::proxy::routing::Assert;

    fn settings(address: String) -> Upstream {
        Upstream {
            name: "app".to_owned(),
            key: address.clone(),
            place: Destination::Tcp(address),
            tls: None,
            authority: "app".to_owned(),
            host: None,
            audience: "app".to_owned(),
            assert: Assert::Staff,
            headers: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(5),
            idle: 8,
            idle_timeout: Duration::from_secs(60),
            rewrite: Default::default(),
        }
    }

    /// Blocks until the kernel has something for this socket; the runtime does not get to look.
    fn until_something_came(socket: &Socket) {
        let Socket::Tcp(stream) = socket else { panic!("plain") };
        let mut byte = [MaybeUninit::uninit(); 1];
        while socket2::SockRef::from(stream).peek(&mut byte).is_err() {
            std::thread::yield_now();
        }
    }

    #[tokio::test]
    async fn a_connection_that_spoke_unasked_or_ended_is_not_used_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let settings = settings(listener.local_addr().unwrap().to_string());
        let mut pool = Pool::default();
        for speaks in [true, false] {
            let stream = connect(&settings).await.unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            if speaks {
                peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nspoof").unwrap();
            } else {
                drop(peer);
            }
            until_something_came(&stream);
            pool.put(&settings, stream);
            assert!(pool.take(&settings).is_none(), "speaks: {speaks}");
        }
        let stream = connect(&settings).await.unwrap();
        let _peer = listener.accept().unwrap();
        pool.put(&settings, stream);
        let elsewhere = Upstream { key: "127.0.0.1:9".to_owned(), ..settings.clone() };
        assert!(pool.take(&elsewhere).is_none(), "a connection goes to the address it was made to");
        assert!(pool.take(&settings).is_some());
    }
}
