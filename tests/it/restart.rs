//! One gateway stops and the next one starts on the same socket, while everything runs, and so does another configuration
//! and another certificate: no request fails, and no stream that ends within the time for draining is cut. What is older
//! than that is cut, and its record says so.
//!
//! The clients here are the strictest there are: they never send anything twice. A kept connection that is closed while a
//! request is on its way fails the test.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use postern::app::{self, Extra, Gateway, Passed};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::{
    client::{Client, Ending},
    http2::peer::Peer,
    world::*,
};

/// A world whose socket outlives its gateways, as under a service manager.
struct Held {
    world: World,
    listener: TcpListener,
}

impl Held {
    fn start(plan: Plan) -> Held {
        Held::start_beside(plan, |_| {})
    }

    /// The same, with files of its own beside the keys.
    fn start_beside(plan: Plan, prepare: impl FnOnce(&Path)) -> Held {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let world = World::prepared(plan);
        prepare(world.keys_dir.path());
        app::init_state(&world.data.join("state.redb"), &world.ledger_dir()).unwrap();
        let mut held = Held { world, listener };
        held.write(&[]);
        held.up();
        held
    }

    fn file(&self) -> PathBuf {
        self.world.keys_dir.path().join("postern.yaml")
    }

    /// Writes the configuration, with more of these replacements.
    fn write(&self, more: &[(&str, &str)]) {
        let world = &self.world;
        let edits: Vec<(&str, &str)> = world.edits.iter().copied().chain(more.iter().copied()).collect();
        let text = config_text(world.keys_dir.path(), &world.data, world.upstream.address, &edits);
        std::fs::write(self.file(), text).unwrap();
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    fn up(&mut self) {
        let (settings, _, watch) =
            app::load(&self.file(), Duration::from_secs(3600)).unwrap_or_else(|faults| panic!("{faults}"));
        let passed = Passed { proxy: Some(self.listener.as_raw_fd()), operations: None };
        let extra = Extra { hooks: self.world.hooks.clone(), watch: Some(watch), passed, ..Extra::default() };
        self.world.gateway = Some(Gateway::start(settings, extra).unwrap());
        self.world.until_ready();
    }

    /// Stops the gateway, and starts the next one; how long the first took to stop.
    fn restart(&mut self) -> Duration {
        let began = Instant::now();
        self.world.gateway.take().unwrap().stop();
        let took = began.elapsed();
        self.up();
        took
    }
}

/// Whether the other side has ended this connection, by now and without a byte more.
fn is_over(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let over = !matches!(stream.peek(&mut [0]), Err(fault) if fault.kind() == std::io::ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    over
}

/// A client that asks one thing after another on a kept connection, with pauses, until told to stop; how often.
fn asks(
    address: SocketAddr,
    request: String,
    pause: Duration,
    stop: &Arc<AtomicBool>,
    count: &Arc<AtomicU64>,
) -> std::thread::JoinHandle<()> {
    let (stop, count) = (Arc::clone(stop), Arc::clone(count));
    std::thread::spawn(move || {
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
            std::thread::sleep(pause);
        }
    })
}

/// A client that reads one stream after another to its end.
fn streams(
    address: SocketAddr,
    request: String,
    wanted: String,
    stop: &Arc<AtomicBool>,
    count: &Arc<AtomicU64>,
) -> std::thread::JoinHandle<()> {
    let (stop, count) = (Arc::clone(stop), Arc::clone(count));
    std::thread::spawn(move || {
        while !stop.load(SeqCst) {
            let mut client = Client::connect(address);
            client.send(&request);
            let reply = client.reply();
            assert_eq!((reply.status, reply.text()), (200, wanted.clone()), "the stream was cut");
            count.fetch_add(1, SeqCst);
        }
    })
}

// GW-01
#[test]
fn restarts_under_load_fail_no_request_and_cut_no_stream() {
    let mut held = Held::start(Plan::default());
    let agent = held.world.people.staff("agent-1");
    held.world.start_session("acme", &agent);
    let member = held.world.people.admin("acme");
    let stop = Arc::new(AtomicBool::new(false));
    let counts: Vec<Arc<AtomicU64>> = (0..4).map(|_| Arc::default()).collect();
    let mut threads = Vec::new();
    let orders = |token: &str| request("GET", "/t/acme/orders", token, "");
    for pause in [0, 0, 3, 40, 150, 300] {
        let pause = Duration::from_millis(pause);
        threads.push(asks(held.address(), orders(&member), pause, &stop, &counts[0]));
        threads.push(asks(held.address(), orders(&agent), pause, &stop, &counts[1]));
    }
    for (token, count) in [(&member, &counts[2]), (&agent, &counts[3])] {
        let asked = request("GET", "/t/acme/download?do=ticks&n=30", token, "");
        for _ in 0..2 {
            threads.push(streams(held.address(), asked.clone(), "tick".repeat(30), &stop, count));
        }
    }
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let before: Vec<u64> = counts.iter().map(|count| count.load(SeqCst)).collect();
        until("everything goes on", || {
            counts.iter().zip(&before).all(|(count, before)| count.load(SeqCst) > before + 1)
        });
        pauses.push(held.restart());
    }
    stop.store(true, SeqCst);
    for thread in threads {
        thread.join().expect("nobody was refused or cut");
    }
    let counted: Vec<u64> = counts.iter().map(|count| count.load(SeqCst)).collect();
    println!(
        "4 restarts, stops took {pauses:?}; requests of members and staff, streams of both: {counted:?}, none failed"
    );
    let records = held.world.finish();
    let cut =
        records.iter().filter(|record| record["kind"] == "access.outcome" && record["end"] != "complete");
    assert_eq!(cut.count(), 0);
}

#[test]
fn a_stream_older_than_the_time_for_draining_is_cut_and_its_record_says_by_what() {
    let mut held = Held::start(Plan::default().edit("drain: 3s", "drain: 1s"));
    let agent = held.world.people.staff("agent-1");
    held.world.start_session("acme", &agent);
    let mut endless = Client::connect(held.address());
    endless.send(request("GET", "/t/acme/download?do=forever", &agent, ""));
    assert!(endless.head().contains(" 200 "));
    let reader = std::thread::spawn(move || endless.read_out().0);
    let took = held.restart();
    assert_eq!(reader.join().unwrap(), Ending::Reset, "an orderly end could be taken for the whole");
    assert!(took >= Duration::from_secs(1), "it was given its time: {took:?}");
    let outcome = held.world.last_outcome();
    assert_eq!((&outcome["end"], &outcome["fault"]), (&"cut".into(), &"gateway_stopped".into()), "{outcome}");
    held.world.finish();
}

#[test]
fn who_comes_while_nobody_serves_waits_and_is_served_by_the_next() {
    let mut held = Held::start(Plan::default());
    let member = held.world.people.admin("acme");
    held.world.gateway.take().unwrap().stop();
    let mut client = Client::connect(held.address());
    client.stream.write_all(request("GET", "/t/acme/orders", &member, "").as_bytes()).unwrap();
    held.up();
    assert_eq!(client.reply().status, 200);
    held.world.finish();
}

/// An authority that signs the gateway's certificates.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    /// A new certificate and its key, put in place as a renewal does it.
    fn renew(&self, dir: &Path) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["app.example".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &self.issuer).unwrap();
        for (name, text) in [("tls.key", key.serialize_pem()), ("tls.pem", certificate.pem())] {
            std::fs::write(dir.join("next"), text).unwrap();
            std::fs::rename(dir.join("next"), dir.join(name)).unwrap();
        }
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

#[test]
fn a_new_certificate_ten_thousand_routes_and_a_restart_under_load_over_tls_fail_nothing() {
    let authority = Authority::new();
    let tls = "workers: 2\ntls: { certificates: [{ chain: KEYS/tls.pem, key: { file: KEYS/tls.key } }] }";
    let mut held = Held::start_beside(Plan::default().edit("workers: 2", tls), |dir| authority.renew(dir));
    let agent = held.world.people.staff("agent-1");
    held.world.start_session("acme", &agent);
    let member = held.world.people.admin("acme");
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let stop = Arc::new(AtomicBool::new(false));
    let counts: Vec<Arc<AtomicU64>> = (0..4).map(|_| Arc::default()).collect();
    let address = held.address();
    let mut threads = Vec::new();
    for (token, count) in [(&member, &counts[0]), (&agent, &counts[1])] {
        for pause in [0, 20, 200] {
            let (config, stop, count) = (Arc::clone(&config), Arc::clone(&stop), Arc::clone(count));
            let asked = request("GET", "/t/acme/orders", token, "");
            threads.push(std::thread::spawn(move || {
                let mut stream = over_tls(&config, address);
                while !stop.load(SeqCst) {
                    if is_over(&stream.sock) || !once(&mut stream, &asked) {
                        stream = over_tls(&config, address);
                    }
                    count.fetch_add(1, SeqCst);
                    std::thread::sleep(Duration::from_millis(pause));
                }
            }));
        }
    }
    // By HTTP/2: one request after another, and streams that last. Where the gateway says that it goes away before it
    // looked at a request, which the protocol has a word for, the client asks on another connection.
    let pem = authority.certificate.pem();
    for (target, wanted, count) in [
        ("/t/acme/orders".to_owned(), "hello".to_owned(), &counts[2]),
        ("/t/acme/download?do=ticks&n=30".to_owned(), "tick".repeat(30), &counts[3]),
    ] {
        for token in [&member, &agent] {
            let (stop, count) = (Arc::clone(&stop), Arc::clone(count));
            let (pem, target, wanted, token) = (pem.clone(), target.clone(), wanted.clone(), token.clone());
            threads.push(std::thread::spawn(move || {
                let connect =
                    || Peer::secure(address, pem.as_bytes(), &[b"h2"]).1.expect("HTTP/2 is agreed on");
                let mut peer = connect();
                while !stop.load(SeqCst) {
                    let begun = peer.within(peer.try_begin_at("https://app.example", "GET", &target, &token));
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
            }));
        }
    }
    let go_on = |what: &str| {
        let before: Vec<u64> = counts.iter().map(|count| count.load(SeqCst)).collect();
        until(what, || counts.iter().zip(&before).all(|(count, before)| count.load(SeqCst) > before + 1));
    };
    go_on("everything goes");
    authority.renew(held.world.keys_dir.path());
    held.world.gateway().reload().unwrap();
    go_on("everything goes on with another certificate");
    let routes: String = (0..10_000)
        .map(|n| {
            format!(
                "  - {{ route: \"GET /t/{{tenant}}/area-{}/things-{n}\", permission: orders:read }}\n",
                n % 97
            )
        })
        .collect();
    held.write(&[("routes:\n", &format!("routes:\n{routes}"))]);
    held.world.gateway().reload().unwrap();
    go_on("everything goes on with ten thousand routes");
    let took = held.restart();
    go_on("everything goes on with the next gateway");
    stop.store(true, SeqCst);
    for thread in threads {
        thread.join().expect("nobody was refused or cut");
    }
    let counted: Vec<u64> = counts.iter().map(|count| count.load(SeqCst)).collect();
    println!(
        "certificate, 10,000 routes, restart (stop {took:?}): requests of members and staff over TLS, by HTTP/2, streams: {counted:?}"
    );
    let records = held.world.finish();
    let cut =
        records.iter().filter(|record| record["kind"] == "access.outcome" && record["end"] != "complete");
    assert_eq!(cut.count(), 0);
}
