//! Load that never lets up and forgives nothing: clients that ask one thing after another on kept connections, and clients
//! that read one stream after another to its end, in clear, over TLS and by HTTP/2. None sends anything twice. A request that
//! fails, or a stream that ends before its end, fails the test.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::{client::Client, http2::peer::Peer, vouched::Authority, world::*};

/// What the streams ask for, and what a whole one holds.
pub const STREAM: &str = "/t/acme/download?do=ticks&n=30";

fn whole() -> String {
    "tick".repeat(30)
}

/// A gateway that shows what [`Authority::renew`] wrote.
pub const TLS: &str =
    "workers: 2\ntls: { certificates: [{ chain: KEYS/tls.pem, key: { file: KEYS/tls.key } }] }";

/// Everybody who asks, and how often each kind was answered.
pub struct Load {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    counts: Vec<Arc<AtomicU64>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn at(address: SocketAddr) -> Load {
        Load { address, stop: Arc::default(), counts: Vec::new(), threads: Vec::new() }
    }

    /// Another kind, counted by itself.
    pub fn kind(&mut self) {
        self.counts.push(Arc::default());
    }

    fn spawn(&mut self, run: impl FnOnce(SocketAddr, &AtomicBool, &AtomicU64) + Send + 'static) {
        let count = Arc::clone(self.counts.last().expect("a kind"));
        let (address, stop) = (self.address, Arc::clone(&self.stop));
        self.threads.push(std::thread::spawn(move || run(address, &stop, &count)));
    }

    /// One who asks on a kept connection, with pauses.
    pub fn asks(&mut self, token: &str, pause: u64) {
        let request = request("GET", "/t/acme/orders", token, "");
        self.spawn(move |address, stop, count| {
            let mut client = Client::connect(address);
            while !stop.load(SeqCst) {
                // What every client does before it uses a kept connection again.
                if is_over(&client.stream) {
                    client = Client::connect(address);
                }
                client.send(&request);
                let reply = client.reply();
                assert_eq!(reply.status, 200, "{}", reply.text());
                assert_eq!(reply.text(), "hello");
                count.fetch_add(1, SeqCst);
                if reply.values("connection").iter().any(|value| value == "close") {
                    client = Client::connect(address);
                }
                std::thread::sleep(Duration::from_millis(pause));
            }
        });
    }

    /// One who reads streams.
    pub fn streams(&mut self, token: &str) {
        let request = request("GET", STREAM, token, "");
        self.spawn(move |address, stop, count| {
            while !stop.load(SeqCst) {
                let mut client = Client::connect(address);
                client.send(&request);
                let reply = client.reply();
                assert_eq!((reply.status, reply.text()), (200, whole()), "the stream was cut");
                count.fetch_add(1, SeqCst);
            }
        });
    }

    /// One who asks over TLS on a kept connection, with pauses.
    pub fn asks_secured(&mut self, authority: &Authority, token: &str, pause: u64) {
        let config = authority.believer();
        let request = request("GET", "/t/acme/orders", token, "");
        self.spawn(move |address, stop, count| {
            let mut stream = over_tls(&config, address);
            while !stop.load(SeqCst) {
                if is_over(&stream.sock) || !once(&mut stream, &request) {
                    stream = over_tls(&config, address);
                }
                count.fetch_add(1, SeqCst);
                std::thread::sleep(Duration::from_millis(pause));
            }
        });
    }

    /// One by HTTP/2 over TLS, for requests or for streams. Where the gateway says that it goes away before it looked at a
    /// request, which the protocol has a word for, the client asks on another connection.
    pub fn by_http2(&mut self, authority: &Authority, token: &str, streams: bool) {
        let (pem, token) = (authority.certificate.pem(), token.to_owned());
        let (target, wanted) =
            if streams { (STREAM, whole()) } else { ("/t/acme/orders", "hello".to_owned()) };
        self.spawn(move |address, stop, count| {
            let connect = || Peer::secure(address, pem.as_bytes(), &[b"h2"]).1.expect("HTTP/2 is agreed on");
            let mut peer = connect();
            while !stop.load(SeqCst) {
                let begun = peer.within(peer.try_begin_at("https://app.example", "GET", target, &token));
                let Ok((response, _)) = begun else {
                    peer = connect();
                    continue;
                };
                match peer.answer(response) {
                    Ok(answer) => {
                        let text = String::from_utf8_lossy(&answer.body).into_owned();
                        assert_eq!((answer.status, text), (200, wanted.clone()));
                        count.fetch_add(1, SeqCst);
                    }
                    Err(fault) => {
                        let not_looked_at = fault.is_go_away()
                            && fault.reason() == Some(h2::Reason::NO_ERROR)
                            || fault.reason() == Some(h2::Reason::REFUSED_STREAM);
                        assert!(not_looked_at, "a request failed: {fault}");
                        peer = connect();
                    }
                }
            }
        });
    }

    /// Waits until every kind was answered twice more.
    pub fn goes_on(&self, what: &str) {
        let before: Vec<u64> = self.counts.iter().map(|count| count.load(SeqCst)).collect();
        until(what, || {
            let failed = self.threads.iter().any(JoinHandle::is_finished);
            assert!(!failed, "{what}: somebody was refused or cut, see above");
            self.counts.iter().zip(&before).all(|(count, before)| count.load(SeqCst) > before + 1)
        });
    }

    /// Ends it; how often each kind was answered.
    pub fn end(self) -> Vec<u64> {
        self.stop.store(true, SeqCst);
        for thread in self.threads {
            thread.join().expect("nobody was refused or cut");
        }
        self.counts.iter().map(|count| count.load(SeqCst)).collect()
    }
}

/// No outcome in the ledger but whole ones.
pub fn nothing_was_cut(records: &[serde_json::Value]) {
    let cut: Vec<_> = records
        .iter()
        .filter(|record| record["kind"] == "access.outcome" && record["end"] != "complete")
        .collect();
    assert!(cut.is_empty(), "{cut:?}");
}

/// Whether the other side has ended this connection, by now and without a byte more.
fn is_over(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let over = !matches!(stream.peek(&mut [0]), Err(fault) if fault.kind() == std::io::ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    over
}

impl Authority {
    /// A new certificate and its key, put in place as a renewal does it; the certificate.
    pub fn renew(&self, dir: &Path) -> Vec<u8> {
        let pair = self.sign(&["app.example"]);
        for (name, text) in [("tls.key", pair.key.serialize_pem()), ("tls.pem", pair.pem)] {
            std::fs::write(dir.join("next"), text).unwrap();
            std::fs::rename(dir.join("next"), dir.join(name)).unwrap();
        }
        pair.der.to_vec()
    }

    /// A client's settings that believe this authority and nobody else.
    pub fn believer(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Arc::new(config.unwrap().with_root_certificates(roots).with_no_client_auth())
    }

    /// The certificate that the gateway shows to whoever comes now.
    pub fn shown(&self, address: SocketAddr) -> Vec<u8> {
        let mut stream = over_tls(&self.believer(), address);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        stream.conn.peer_certificates().unwrap()[0].to_vec()
    }
}

type Secured = StreamOwned<ClientConnection, TcpStream>;

fn over_tls(config: &Arc<ClientConfig>, address: SocketAddr) -> Secured {
    let name = "app.example".try_into().unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(crate::client::PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), stream)
}

/// One request on a kept connection; whether it may be used again.
fn once(stream: &mut Secured, request: &str) -> bool {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let mut piece = [0; 4096];
    while !answer.ends_with("\r\n\r\nhello") {
        let count = stream.read(&mut piece).expect("an answer");
        assert!(count > 0, "the answer ended early: {answer}");
        answer.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    !answer.to_ascii_lowercase().contains("connection: close")
}
