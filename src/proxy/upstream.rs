//! Connections to applications: one pool a core, last in first out. A connection comes back only after an exchange that
//! ended complete and in step; one that was closed or spoke unasked is thrown away before anything is sent on it.
//!
//! Never here: a retry after bytes were sent.

use std::{collections::HashMap, io, mem::MaybeUninit, time::Duration};

use tokio::{net::TcpStream, time::Instant};

use super::routing::Upstream;

struct Idle {
    stream: TcpStream,
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
    pub(super) fn take(&mut self, settings: &Upstream) -> Option<TcpStream> {
        let list = self.idle.get_mut(settings.address.as_str())?;
        while let Some(idle) = list.pop() {
            if idle.since.elapsed() > settings.idle_timeout {
                // Those below are older still.
                list.clear();
                return None;
            }
            // The kernel is asked, not the runtime: of what came since it last looked, the runtime knows nothing.
            let mut byte = [MaybeUninit::uninit(); 1];
            match socket2::SockRef::from(&idle.stream).peek(&mut byte) {
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => return Some(idle.stream),
                // The end, or bytes that nobody asked for.
                Ok(_) | Err(_) => {}
            }
        }
        None
    }

    /// Keeps a connection for the next exchange.
    pub(super) fn put(&mut self, settings: &Upstream, stream: TcpStream) {
        let idle = Idle { stream, since: Instant::now() };
        match self.idle.get_mut(settings.address.as_str()) {
            Some(list) if list.len() < settings.idle => list.push(idle),
            Some(_) => {}
            None if settings.idle > 0 => drop(self.idle.insert(settings.address.as_str().into(), vec![idle])),
            None => {}
        }
    }
}

/// Opens a connection.
pub(super) async fn connect(settings: &Upstream) -> Result<TcpStream, &'static str> {
    match tokio::time::timeout(settings.connect_timeout, TcpStream::connect(settings.address.as_str())).await
    {
        Ok(Ok(stream)) => {
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(_)) => Err("upstream_unreachable"),
        Err(_) => Err("upstream_connect_timeout"),
    }
}

/// What the kernel may hold unsent towards staff, in bytes: until a cut it goes on sending what it has (law 6).
const UNSENT: u32 = 16 << 10;

/// Has the kernel take little more than it can send.
pub(super) fn keep_little_unsent(stream: &TcpStream) {
    // Where the system has no such bound, the reset still drops what is held.
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}

/// Makes the drop of a connection a reset: what was not sent is not sent any more.
pub(super) fn reset_on_drop(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::TcpListener};

    use super::*;
    use crate::proxy::routing::Assert;

    fn settings(address: String) -> Upstream {
        Upstream {
            name: "app".to_owned(),
            address,
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
    fn until_something_came(stream: &TcpStream) {
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
        let elsewhere = Upstream { address: "127.0.0.1:9".to_owned(), ..settings.clone() };
        assert!(pool.take(&elsewhere).is_none(), "a connection goes to the address it was made to");
        assert!(pool.take(&settings).is_some());
    }
}
