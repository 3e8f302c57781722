//! TLS on both sides of the gateway, and Unix sockets: who is shown which certificate, who gets in, and that a cut is one
//! under TLS too.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    sync::{
        Arc,
        atomic::{
            AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ProtocolVersion, ServerConnection,
    SignatureScheme, StreamOwned, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::{TLS12, TLS13},
};

use crate::{
    client::{Client, PATIENCE, Reply},
    cuts::{counting, stands_still},
    upstream::pattern,
    vouched::{Authority, Pair, serving},
    world::*,
};

/// A world behind TLS.
struct Secure {
    world: World,
    first: Pair,
    second: Pair,
    clients: Authority,
}

/// A prepared world with more in its configuration and these files beside its keys; nothing runs yet.
fn prepared(plan: Plan, files: &[(&str, &str)], edits: &[(&str, String)]) -> World {
    let mut world = World::prepared(plan);
    let keys = world.keys_dir.path().to_str().unwrap().to_owned();
    for (name, text) in files {
        std::fs::write(world.keys_dir.path().join(name), text).unwrap();
    }
    for (from, to) in edits {
        let from: &'static str = (*from).to_owned().leak();
        world.edits.push((from, to.replace("KEYS", &keys).leak()));
    }
    postern::app::init_state(&world.data.join("state.redb"), &world.data.join("ledger")).unwrap();
    world
}

fn secure(plan: Plan, more: &str) -> Secure {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (first, second) =
        (authority.sign(&["app.example"]), authority.sign(&["shop.example", "*.shop.example"]));
    let pair = |name: &str| format!("{{ chain: KEYS/{name}.pem, key: {{ file: KEYS/{name}-key.pem }} }}");
    let tls = format!("workers: 2\ntls: {{ certificates: [{}, {}]{more} }}", pair("first"), pair("second"));
    let files = [
        ("first.pem", first.pem.as_str()),
        ("first-key.pem", &first.key.serialize_pem()),
        ("second.pem", &second.pem),
        ("second-key.pem", &second.key.serialize_pem()),
        ("clients.pem", &clients.certificate.pem()),
    ];
    let mut world = prepared(plan, &files, &[("workers: 2", tls)]);
    world.up();
    Secure { world, first, second, clients }
}

/// Looks at signatures, and takes any certificate: the tests look at that themselves.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn config(versions: &[&'static SupportedProtocolVersion], own: Option<&Pair>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    match own {
        None => builder.with_no_client_auth(),
        Some(pair) => builder.with_client_auth_cert(vec![pair.der.clone()], pair.private()).unwrap(),
    }
}

/// A client over TLS.
struct Tls {
    stream: StreamOwned<ClientConnection, TcpStream>,
    inbox: Vec<u8>,
}

impl Tls {
    fn over(tcp: TcpStream, name: &str, config: ClientConfig) -> Tls {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        Tls { stream: StreamOwned::new(connection, tcp), inbox: Vec::new() }
    }

    fn to(world: &World) -> Tls {
        Tls::over(world.client().stream, "app.example", config(&[&TLS13], None))
    }

    fn send(&mut self, text: &str) -> &mut Tls {
        self.stream.write_all(text.as_bytes()).unwrap();
        self
    }

    /// Reads once more; 0 at the end.
    fn more(&mut self) -> std::io::Result<usize> {
        let mut piece = [0; 16 << 10];
        let count = self.stream.read(&mut piece)?;
        self.inbox.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    fn at_least(&mut self, count: usize) -> std::io::Result<()> {
        while self.inbox.len() < count {
            if self.more()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// The next answer; of one of these with a length.
    fn try_reply(&mut self) -> std::io::Result<Reply> {
        let end = loop {
            match self.inbox.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.at_least(self.inbox.len() + 1)?,
            }
        };
        let head = String::from_utf8(self.inbox.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: Vec::new() };
        let length = reply.values("content-length").first().map_or(0, |length| length.parse().unwrap());
        self.at_least(length)?;
        reply.body = self.inbox.drain(..length).collect();
        Ok(reply)
    }

    fn reply(&mut self) -> Reply {
        self.try_reply().expect("an answer")
    }

    fn shown(&self) -> CertificateDer<'static> {
        self.stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

/// Waits until so many handshakes have failed.
fn failed(world: &World, count: u64) {
    let counters = world.gateway().counters();
    until("failed handshakes are counted", || counters.tls_failed.load(Relaxed) >= count);
    assert_eq!(counters.tls_failed.load(Relaxed), count);
}

fn orders(world: &World) -> String {
    request("GET", "/t/acme/orders", &world.people.admin("acme"), "")
}

#[test]
fn both_versions_carry_requests_and_older_ones_only_where_they_may() {
    let Secure { world, .. } = secure(Plan::default(), "");
    for (version, spoken) in [(&TLS13, ProtocolVersion::TLSv1_3), (&TLS12, ProtocolVersion::TLSv1_2)] {
        let mut client = Tls::over(world.client().stream, "app.example", config(&[version], None));
        for _ in 0..3 {
            assert_eq!(client.send(&orders(&world)).reply().text(), "hello");
        }
        assert_eq!(client.stream.conn.protocol_version(), Some(spoken));
    }
    world.finish();

    let Secure { world, .. } = secure(Plan::default(), ", min_version: \"1.3\"");
    assert_eq!(Tls::to(&world).send(&orders(&world)).reply().status, 200);
    let mut old = Tls::over(world.client().stream, "app.example", config(&[&TLS12], None));
    let fault = old.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
    assert!(fault.to_string().contains("ProtocolVersion"), "{fault}");
    failed(&world, 1);
    world.finish();
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let Secure { world, first, second, .. } = secure(Plan::default(), "");
    for (name, shown) in [
        ("app.example", &first),
        ("shop.example", &second),
        ("www.shop.example", &second),
        ("APP.example", &first),
        ("unknown.example", &first),
        ("a.b.shop.example", &first),
        ("127.0.0.1", &first),
    ] {
        let mut client = Tls::over(world.client().stream, name, config(&[&TLS13, &TLS12], None));
        assert_eq!(client.send(&orders(&world)).reply().status, 200, "{name}");
        assert_eq!(client.shown(), shown.der, "{name}");
    }
    world.finish();
}

#[test]
fn where_client_certificates_are_wanted_nobody_asks_anything_without_one() {
    let Secure { world, clients, .. } = secure(Plan::default(), ", client_ca: KEYS/clients.pem");
    let (known, stranger) = (clients.sign(&["mia"]), Authority::new().sign(&["mia"]));
    for version in [&TLS13, &TLS12] {
        for (own, why) in [(None, "none"), (Some(&stranger), "of somebody else's")] {
            let mut client = Tls::over(world.client().stream, "app.example", config(&[version], own));
            let answered =
                client.stream.write_all(orders(&world).as_bytes()).and_then(|()| client.try_reply());
            assert!(answered.is_err(), "{why}: {answered:?}");
        }
        let seen = world.upstream.seen().len();
        let mut client = Tls::over(world.client().stream, "app.example", config(&[version], Some(&known)));
        assert_eq!(client.send(&orders(&world)).reply().status, 200);
        assert_eq!(world.upstream.seen().len(), seen + 1);
        // A certificate is no token.
        assert_eq!(client.send(&request("GET", "/t/acme/orders", "", "")).reply().code(), "token_missing");
    }
    assert_eq!(world.upstream.seen().len(), 2);
    failed(&world, 4);
    world.finish();
}

#[test]
fn what_is_no_handshake_is_no_request_either() {
    let Secure { world, .. } = secure(Plan::default(), "");
    let mut plain = world.client();
    plain.send(orders(&world));
    let mut answer = Vec::new();
    let _ = plain.stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // Nothing at all, and the beginning of one.
    let hello = [22u8, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    for begun in [&[][..], &hello[..1], &hello] {
        let began = Instant::now();
        let mut client = world.client();
        client.send(begun);
        assert!(!matches!(client.stream.read(&mut [0; 64]), Ok(count) if count > 7), "{begun:?}");
        let took = began.elapsed();
        assert!(took > Duration::from_millis(1900) && took < Duration::from_secs(6), "{took:?}");
    }
    assert_eq!(world.upstream.seen().len(), 0);
    failed(&world, 4);
    world.finish();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let Secure { world, .. } = secure(Plan::default(), "");
    let admin = world.people.admin("acme");
    let one = |number: usize| request("GET", &format!("/t/acme/orders?do=echo&n={number}"), &admin, "");
    let mut client = Tls::to(&world);
    // In one record, and in records of a few bytes.
    let all: String = (0..20).map(one).collect();
    client.send(&all);
    for number in 0..20 {
        assert!(client.reply().text().ends_with(&format!("&n={number}")));
    }
    for piece in all.as_bytes().chunks(7) {
        client.stream.write_all(piece).unwrap();
        client.stream.flush().unwrap();
    }
    for number in 0..20 {
        assert!(client.reply().text().ends_with(&format!("&n={number}")));
    }
    world.finish();
}

#[test]
fn a_connection_that_idles_lives_as_long_as_it_may_and_ends_in_order() {
    let plan = Plan::default().edit("limits: { drain: 3s,", "limits: { keep_alive: 1s, drain: 3s,");
    let Secure { world, .. } = secure(plan, "");
    let mut client = Tls::to(&world);
    for pause in [0, 400, 800] {
        std::thread::sleep(Duration::from_millis(pause));
        assert_eq!(client.send(&orders(&world)).reply().status, 200, "after {pause} ms");
    }
    let since = Instant::now();
    // Without the end that TLS has of its own, this were an error.
    assert_eq!(client.more().unwrap(), 0, "closed");
    let idle = since.elapsed();
    assert!(idle > Duration::from_millis(900) && idle < Duration::from_secs(5), "{idle:?}");
    world.finish();
}

/// TLS has a last word of its own, behind everything else: whoever reads nothing would never take it.
#[test]
fn a_client_that_reads_nothing_is_let_go_of_and_holds_up_no_stop() {
    let Secure { mut world, .. } =
        secure(Plan::default().edit("limits: { drain: 3s,", "limits: { drain: 40s,"), "");
    let tcp = Client::narrow(world.gateway().address()).stream;
    let mut client = Tls::over(tcp.try_clone().unwrap(), "app.example", config(&[&TLS13], None));
    tcp.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let one = request("GET", "/t/acme/orders", "", "");
    // Until the gateway takes no more of them, since it cannot say what it has to say.
    let all = one.repeat(300);
    for _ in 0..20 {
        if client.stream.write_all(all.as_bytes()).is_err() {
            break;
        }
    }
    let denied = &world.gateway().counters().denied;
    let (mut last, mut since) = (0, Instant::now());
    until("nothing more can be said", || {
        let now = denied.load(SeqCst);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        now > 0 && since.elapsed() > Duration::from_millis(500)
    });
    let most = world.gateway().counters().connections.load(SeqCst);
    assert_eq!(most, 1, "it is open");
    let began = Instant::now();
    let stopping = world.gateway.take().unwrap();
    stopping.stop();
    let took = began.elapsed();
    println!("stopped after {took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    let mut tcp = tcp;
    while matches!(tcp.read(&mut [0; 64 << 10]), Ok(1..)) {}
    world.prove();
}

/// What a staff client does over TLS when the session is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Download,
    FullDownload,
    FullUpload,
    FullTunnel,
}

#[test]
fn a_removal_cuts_under_tls_with_every_socket_full() {
    for run in [Run::Download, Run::FullDownload, Run::FullUpload, Run::FullTunnel] {
        let (hooks, count) = counting();
        let route = "routes:\n  - { route: \"GET /t/{tenant}/socket\", permission: orders:write, upgrade: websocket }\n";
        let Secure { world, .. } = secure(Plan::default().hooks(hooks).edit("routes:\n", route), "");
        let admin = world.people.admin("acme");
        world.done(World::consent("acme", "full"), &admin);
        let agent = world.people.staff("sam");
        let session = world.start_session("acme", &agent);
        let tcp = Client::narrow(world.gateway().address()).stream;
        let mut client = Tls::over(tcp.try_clone().unwrap(), "app.example", config(&[&TLS13], None));
        match run {
            Run::Download => {
                client.send(&request("GET", "/t/acme/download?do=forever", &agent, ""));
                client.at_least(200_000).unwrap();
            }
            Run::FullDownload => {
                client.send(&request("GET", "/t/acme/download?do=forever", &agent, ""));
                client.at_least(1).unwrap();
                stands_still(&count, 10_000);
            }
            Run::FullUpload => {
                let head =
                    request("POST", "/t/acme/orders?do=stall", &agent, "Content-Length: 1000000000\r\n");
                client.send(&head);
                // Whoever cannot write looks whether there is something to read.
                tcp.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
                tcp.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                while client.stream.write_all(&[7; 16 << 10]).is_ok() {}
                tcp.set_read_timeout(Some(PATIENCE)).unwrap();
                stands_still(&count, 10_000);
            }
            Run::FullTunnel => {
                let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
                client.send(&request("GET", "/t/acme/socket?do=socket-forever", &agent, lines));
                assert_eq!(client.reply().status, 101);
                stands_still(&count, 10_000);
            }
        }
        let gone = world.upstream.notes.resets.load(SeqCst) + world.upstream.notes.ended.load(SeqCst);
        world.done(World::end("acme", &session), &admin);
        let answered = count.load(SeqCst);
        // What the kernels held still comes, and then a reset: no orderly end that could be taken for the answer's own.
        let mut last = Ok(1);
        let mut tcp = tcp;
        let deadline = Instant::now() + PATIENCE;
        while matches!(last, Ok(1..)) && Instant::now() < deadline {
            last = tcp.read(&mut [0; 64 << 10]).map_err(|fault| fault.kind());
        }
        assert_eq!(last, Err(ErrorKind::ConnectionReset), "{run:?}");
        let outcome = world.last_outcome();
        assert_eq!(count.load(SeqCst), answered, "{run:?}: bytes passed after the answer");
        assert_eq!(outcome["end"], "cut", "{run:?}: {outcome}");
        assert_eq!(outcome["cut_by"]["reason"], "session_ended", "{run:?}: {outcome}");
        if run != Run::Download {
            let passed = outcome["sent"].as_u64().unwrap();
            assert!(passed < 200_000, "kernels were left with {passed} bytes");
        }
        world.upstream.release();
        until("the application sees it too", || {
            world.upstream.notes.resets.load(SeqCst) + world.upstream.notes.ended.load(SeqCst) > gone
        });
        println!("{run:?} over TLS: 0 bytes after the answer, {answered} before");
        world.finish();
    }
}

/// Answers each request on a connection, and does `after` behind each answer.
fn answering<S: Read + Write>(mut stream: S, requests: &AtomicUsize, after: impl Fn(&mut S)) {
    let mut head = Vec::new();
    loop {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            requests.fetch_add(1, SeqCst);
            let body = pattern(1000);
            let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec();
            answer.extend_from_slice(&body);
            if stream.write_all(&answer).and_then(|()| stream.flush()).is_err() {
                return;
            }
            after(&mut stream);
        }
    }
}

#[derive(Clone, Default)]
struct Counts {
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    /// Connections on which nothing more is read.
    deaf: Arc<AtomicUsize>,
}

/// An application over TLS, which sends tickets late and changes its keys between answers.
fn application(pair: &Pair) -> (SocketAddr, Counts) {
    let mut config = serving(pair);
    config.send_tls13_tickets = 4;
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let counts = Counts::default();
    let shared = counts.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, counts) = (Arc::clone(&config), shared.clone());
            counts.connections.fetch_add(1, SeqCst);
            std::thread::spawn(move || {
                let tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                answering(tls, &counts.requests, |tls| {
                    tls.conn.refresh_traffic_keys().unwrap();
                    tls.flush().unwrap();
                });
            });
        }
    });
    (address, counts)
}

fn upstream_at(url: &str, more: &str, authority: &Authority) -> World {
    let plan = Plan::default().edit("workers: 2", "workers: 1");
    let mut world = World::prepared(plan);
    let plain = format!("url: \"http://{}\"", world.upstream.address);
    std::fs::write(world.keys_dir.path().join("ca.pem"), authority.certificate.pem()).unwrap();
    let keys = world.keys_dir.path().to_str().unwrap().to_owned();
    let to = format!("url: \"{url}\"{more}").replace("KEYS", &keys);
    world.edits.push((plain.leak(), to.leak()));
    postern::app::init_state(&world.data.join("state.redb"), &world.data.join("ledger")).unwrap();
    world.up();
    world
}

#[test]
fn an_application_over_tls_is_asked_on_one_connection_whatever_tls_says_between_answers() {
    let authority = Authority::new();
    let (address, counts) = application(&authority.sign(&["127.0.0.1", "app.internal"]));
    for name in ["", "\n    server_name: app.internal"] {
        let before = counts.connections.load(SeqCst);
        let world =
            upstream_at(&format!("https://{address}"), &format!("\n    ca: KEYS/ca.pem{name}"), &authority);
        let mut client = world.client();
        for number in 0..20 {
            let reply = client.send(orders(&world)).reply();
            assert_eq!((reply.status, reply.body.len()), (200, 1000), "{number}");
            // What comes behind the answer is there before the next question.
            std::thread::sleep(Duration::from_millis(if number < 5 { 20 } else { 0 }));
        }
        assert_eq!(counts.connections.load(SeqCst), before + 1, "one connection");
        world.finish();
    }
    assert_eq!(counts.requests.load(SeqCst), 40);
}

#[test]
fn an_application_that_cannot_prove_its_name_is_told_nothing() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (pair, name) in [
        (stranger.sign(&["127.0.0.1"]), ""),
        (authority.sign(&["127.0.0.2", "localhost"]), ""),
        (authority.sign(&["127.0.0.1", "app.internal"]), "\n    server_name: other.internal"),
    ] {
        let (address, counts) = application(&pair);
        let world =
            upstream_at(&format!("https://{address}"), &format!("\n    ca: KEYS/ca.pem{name}"), &authority);
        let agent = world.people.staff("sam");
        world.start_session("acme", &agent);
        let reply = world.get("/t/acme/orders", &agent);
        assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_tls_failed"));
        let outcome = world.last_outcome();
        assert_eq!(
            (&outcome["end"], &outcome["fault"]),
            (&"upstream_failed".into(), &"upstream_tls_failed".into())
        );
        assert_eq!(counts.requests.load(SeqCst), 0);
        world.finish();
    }
}

#[test]
fn an_application_at_a_unix_socket_is_asked_there() {
    let place = tempfile::TempDir::new().unwrap();
    let path = place.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let counts = Counts::default();
    let shared = counts.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counts = shared.clone();
            counts.connections.fetch_add(1, SeqCst);
            std::thread::spawn(move || answering(stream, &counts.requests, |_| {}));
        }
    });
    let world = upstream_at(&format!("unix:{}", path.display()), "", &Authority::new());
    let mut client = world.client();
    for _ in 0..5 {
        let reply = client.send(orders(&world)).reply();
        assert_eq!((reply.status, reply.body.len()), (200, 1000));
    }
    assert_eq!((counts.connections.load(SeqCst), counts.requests.load(SeqCst)), (1, 5));
    world.finish();

    std::fs::remove_file(&path).unwrap();
    let world = upstream_at(&format!("unix:{}", path.display()), "", &Authority::new());
    let reply = world.get("/t/acme/orders", &world.people.admin("acme"));
    assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_unreachable"));
    world.finish();
}

#[test]
fn a_kept_connection_that_takes_nothing_any_more_is_replaced_before_a_byte_has_left() {
    let place = tempfile::TempDir::new().unwrap();
    let path = place.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let counts = Counts::default();
    let shared = counts.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counts = shared.clone();
            counts.connections.fetch_add(1, SeqCst);
            // It reads no more, which the other side learns by writing only.
            std::thread::spawn(move || {
                answering(stream, &counts.requests, |stream| {
                    stream.shutdown(std::net::Shutdown::Read).unwrap();
                    counts.deaf.fetch_add(1, SeqCst);
                    std::thread::park();
                });
            });
        }
    });
    let world = upstream_at(&format!("unix:{}", path.display()), "", &Authority::new());
    let admin = world.people.admin("acme");
    let mut client = world.client();
    for number in 1..=6 {
        let (method, target) =
            if number % 2 == 0 { ("POST", "/t/acme/orders") } else { ("GET", "/t/acme/orders") };
        let more = if number % 2 == 0 { "Content-Length: 0\r\n" } else { "" };
        let reply = client.send(request(method, target, &admin, more)).reply();
        assert_eq!((reply.status, reply.body.len()), (200, 1000), "{number}");
        until("it reads no more", || counts.deaf.load(SeqCst) == number);
        assert_eq!(counts.connections.load(SeqCst), number);
        assert_eq!(counts.requests.load(SeqCst), number, "each request is said once");
    }
    world.finish();
}

#[test]
fn the_header_of_a_balancer_stands_before_the_handshake() {
    let plan = Plan::default()
        .edit("listen: 127.0.0.1:0", "listen: 127.0.0.1:0\nproxy_protocol: { from: 127.0.0.1 }")
        .edit("headers: {", "headers: { X-Client: \"{client}\",");
    let Secure { world, .. } = secure(plan, "");
    for split in [false, true] {
        let mut tcp = world.client().stream;
        let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x0a\0\0\x01\x12\x67\x01\xbb";
        for piece in header.chunks(if split { 1 } else { header.len() }) {
            tcp.write_all(piece).unwrap();
        }
        let mut client = Tls::over(tcp, "app.example", config(&[&TLS13], None));
        assert_eq!(client.send(&orders(&world)).reply().status, 200);
        assert_eq!(world.upstream.last().values("x-client"), ["203.0.113.7"]);
    }
    // A handshake in its place, and the header within.
    let mut bare = world.client();
    bare.send([&[22u8, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[0; 40]].concat());
    assert_eq!(bare.stream.read(&mut [0; 64]).unwrap_or(0), 0);
    failed(&world, 0);
    assert_eq!(world.upstream.seen().len(), 2);
    world.finish();
}
