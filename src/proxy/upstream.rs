//! Connections to applications: one pool a core, last in first out. A connection comes back only after an exchange that
//! ended complete and in step; one that was closed or spoke unasked is thrown away before anything is sent on it.
//!
//! Never here: opening one (see [`dial`](super::dial)), a retry after bytes were sent.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{
    routing::{Server, Upstream},
    socket::Socket,
};

/// How often servers are looked through for connections that nobody takes any more.
const SWEEP: Duration = Duration::from_secs(10);

struct Idle {
    socket: Socket,
    since: Instant,
}

/// See the module's header.
#[derive(Default)]
pub(super) struct Pool {
    /// By address: a map that is put in force later may number its applications anew.
    idle: HashMap<Box<str>, Kept>,
    swept: Option<Instant>,
}

struct Kept {
    list: Vec<Idle>,
    timeout: Duration,
}

impl Pool {
    /// An idle connection that is still good.
    pub(super) fn take(&mut self, settings: &Upstream, server: &Server) -> Option<Socket> {
        let list = &mut self.idle.get_mut(server.key.as_str())?.list;
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
    pub(super) fn put(&mut self, settings: &Upstream, server: &Server, socket: Socket) {
        let idle = Idle { socket, since: Instant::now() };
        match self.idle.get_mut(server.key.as_str()) {
            Some(kept) if kept.list.len() < settings.idle => kept.list.push(idle),
            Some(_) => {}
            None if settings.idle > 0 => {
                let kept = Kept { list: vec![idle], timeout: settings.idle_timeout };
                self.idle.insert(server.key.as_str().into(), kept);
            }
            None => {}
        }
    }

    /// Lets go of servers whose newest connection is too old: those of another map, of which none is taken any more,
    /// above all. Called where a connection has to be opened, so that those who find one pay nothing.
    pub(super) fn sweep(&mut self) {
        if self.swept.is_some_and(|swept| swept.elapsed() < SWEEP) {
            return;
        }
        self.swept = Some(Instant::now());
        self.idle.retain(|_, kept| kept.list.last().is_some_and(|idle| idle.since.elapsed() <= kept.timeout));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{io::Write, mem::MaybeUninit, net::TcpListener, sync::Arc};

    use super::*;
    use crate::{
        net::{Destination, servers::Protocol},
        proxy::{dial::dial, health::Health, routing::Assert},
    };

    pub(in crate::proxy) fn settings(address: String) -> Upstream {
        let server = Server {
            name: address.as_str().into(),
            key: address.clone(),
            health: Arc::new(Health::new("app", &address, Default::default())),
            place: Destination::Tcp(address),
            tls: None,
        };
        Upstream {
            name: "app".to_owned(),
            servers: vec![server],
            check: None,
            protocol: Protocol::Http1,
            trailers: false,
            ping: Duration::from_secs(300),
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
        let server = &settings.servers[0];
        let open =
            || async { Socket::from(dial(server, Protocol::Http1, settings.connect_timeout).await.unwrap()) };
        let mut pool = Pool::default();
        for speaks in [true, false] {
            let stream = open().await;
            let (mut peer, _) = listener.accept().unwrap();
            if speaks {
                peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nspoof").unwrap();
            } else {
                drop(peer);
            }
            until_something_came(&stream);
            pool.put(&settings, server, stream);
            assert!(pool.take(&settings, server).is_none(), "speaks: {speaks}");
        }
        let stream = open().await;
        let _peer = listener.accept().unwrap();
        pool.put(&settings, server, stream);
        let elsewhere = Server { key: "127.0.0.1:9".to_owned(), ..server.clone() };
        assert!(
            pool.take(&settings, &elsewhere).is_none(),
            "a connection goes to the address it was made to"
        );
        assert!(pool.take(&settings, server).is_some());
    }
}
