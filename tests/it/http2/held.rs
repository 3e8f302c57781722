//! A client that reads nothing, while small frames of many streams wait in the gateway: of what the kernel had not taken when
//! a removal was answered, nothing is said afterwards, when it begins to read again (law 6). What kernels hold is looked up.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use rustls::pki_types::pem::PemObject;

use super::{frames::*, ordinary::secure};
use crate::{
    cuts::{counting, stands_still},
    world::*,
};

/// Staff streams that are answered with a small piece every few milliseconds.
const TICKING: u32 = 40;
const PIECE: usize = 200;

/// An application of HTTP/1.1 that answers in small pieces: `?do=tick` for ever, in pieces that say which they are; `?do=last`
/// all but the end, which comes when it is told to; anything else at once.
fn application() -> (SocketAddr, Arc<Told>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let application = Arc::new(Told::default());
    let told = Arc::clone(&application);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let told = Arc::clone(&told);
            std::thread::spawn(move || while answer(&stream, &told).is_some() {});
        }
    });
    (address, application)
}

#[derive(Default)]
struct Told {
    /// What is held back may go.
    go: AtomicBool,
    /// Pieces that were sent.
    pieces: AtomicU64,
}

fn answer(mut stream: &TcpStream, told: &Told) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    stream.set_nodelay(true).unwrap();
    let head = String::from_utf8(head).unwrap();
    if head.contains("do=tick") {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").ok()?;
        for number in 0.. {
            let piece = piece(number);
            stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).ok()?;
            told.pieces.fetch_add(1, SeqCst);
            std::thread::sleep(Duration::from_millis(if head.contains("&slowly") { 20 } else { 4 }));
        }
    }
    if head.contains("do=last") {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 205\r\n\r\nbegin").ok()?;
        while !told.go.load(SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        return stream.write_all(piece(0).as_bytes()).ok();
    }
    if head.contains("do=long") {
        let number = told.pieces.fetch_add(1, SeqCst);
        let said = format!("{number} {}", "said to staff ".repeat(50));
        let answer = format!("HTTP/1.1 200 OK\r\nX-Said: {said}\r\nContent-Length: 5\r\n\r\nhello");
        return stream.write_all(answer.as_bytes()).ok();
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").ok()
}

fn piece(number: u32) -> String {
    let mut text = format!("piece {number:08} ");
    text.push_str(&"x".repeat(PIECE - text.len()));
    text
}

/// Bytes that kernels hold on their way from one end to the other, while nobody reads. The list is no picture of one moment:
/// what moves on while it is read may be missed or seen twice, so it is looked at until nothing moves any more.
fn held_by_kernels(ports: (u16, u16)) -> usize {
    let (mut held, mut same) = (one_look(ports), 0);
    until("nothing moves any more", || {
        let now = one_look(ports);
        same = if now == held { same + 1 } else { 0 };
        held = now;
        same >= 4
    });
    held
}

fn one_look((ours, theirs): (u16, u16)) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mut held = 0;
    for line in table.lines().skip(1) {
        let columns: Vec<_> = line.split_whitespace().collect();
        let port = |text: &str| u16::from_str_radix(text.rsplit_once(':').unwrap().1, 16).unwrap();
        let (sending, received) = columns[4].split_once(':').unwrap();
        let bytes = |text: &str| usize::from_str_radix(text, 16).unwrap();
        match (port(columns[1]), port(columns[2])) {
            pair if pair == (theirs, ours) => held += bytes(sending),
            pair if pair == (ours, theirs) => held += bytes(received),
            _ => {}
        }
    }
    held
}

struct Stage {
    world: World,
    raw: Raw,
    application: Arc<Told>,
    count: Arc<AtomicU64>,
    agent: String,
    admin: String,
    session: postern::model::SessionId,
    /// Of the connection: the client's, the gateway's.
    ports: (u16, u16),
}

/// The member's stream on the connection.
const MEMBERS: u32 = 1;

impl Stage {
    fn set() -> Stage {
        let (address, application) = application();
        let (hooks, count) = counting();
        let plan = Plan { upstream: Some(address), ..Plan::default() }
            .hooks(hooks)
            .edit("workers: 2", "workers: 1\nhttp2: prior_knowledge")
            .edit("body_idle: 5s", "body_idle: 60s");
        let world = World::of(plan);
        let (agent, admin) = (world.people.staff("sam"), world.people.admin("acme"));
        let session = world.start_session("acme", &agent);
        let mut raw = Raw::narrow(world.gateway().address());
        raw.send(&frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
        raw.send(&frame(8, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
        let ports = (raw.stream.local_addr().unwrap().port(), raw.stream.peer_addr().unwrap().port());
        Stage { ports, world, raw, application, count, agent, admin, session }
    }

    fn ask(&mut self, stream: u32, target: &str) {
        let bearer = format!("Bearer {}", if stream == MEMBERS { &self.admin } else { &self.agent });
        let mut lines = get(target);
        lines.push(("authorization", &bearer));
        self.raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields(&lines)));
    }

    /// The member's and those of staff begin, all of their heads are read, and from then on nothing.
    fn begin(&mut self, staff: impl Iterator<Item = u32>) -> (BTreeMap<u32, Vec<u8>>, Vec<u32>) {
        let mut read: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        // More of it would take the room of what is looked at.
        self.ask(MEMBERS, "/t/acme/orders?do=tick&slowly");
        let staff: Vec<_> = staff.collect();
        for stream in &staff {
            let target = if *stream == 3 { "/t/acme/orders?do=last" } else { "/t/acme/orders?do=tick" };
            self.ask(*stream, target);
        }
        let mut heads = 0;
        while heads < staff.len() + 1 || read.get(&3).is_none_or(Vec::is_empty) {
            let frame = self.raw.frame().expect("the connection lives");
            match frame.kind {
                HEADERS => heads += 1,
                DATA => read.entry(frame.stream).or_default().extend(frame.payload),
                _ => {}
            }
        }
        (read, staff)
    }

    /// Waits until nothing passes however much the application sends: every buffer on the way is full.
    fn stands_still(&self) {
        let (mut last, mut since) = (0, 0);
        until("every buffer is full", || {
            let (now, pieces) = (self.count.load(SeqCst), self.application.pieces.load(SeqCst));
            if now != last {
                (last, since) = (now, pieces);
            }
            pieces > since + 50 * u64::from(TICKING)
        });
    }

    /// Ends the session; how many bytes kernels held of what had been said by then.
    fn remove(&mut self) -> usize {
        let before = held_by_kernels(self.ports);
        self.world.done(World::end("acme", &self.session), &self.admin);
        before.max(one_look(self.ports))
    }
}

// GW-05
#[test]
fn data_that_waits_in_the_gateway_when_its_session_ends_is_never_said() {
    let mut stage = Stage::set();
    let (mut read, staff) = stage.begin((3..).step_by(2).take(TICKING as usize));
    stage.stands_still();
    // Of one stream the last of an answer waits, with its end: of that no reset of the library's would follow.
    let before = stage.count.load(SeqCst);
    stage.application.go.store(true, SeqCst);
    until("it was given to the connection", || stage.count.load(SeqCst) >= before + PIECE as u64);
    let mut held = stage.remove();
    let kernels = held;
    let counted = stage.count.load(SeqCst);
    let (mut emptied, mut after, mut resets) = (0, 0, Vec::new());
    while resets.len() < staff.len() || after < 20 * PIECE {
        let frame = stage.raw.frame().expect("the connection lives");
        let length = frame.payload.len();
        let said = held.saturating_sub(9).min(length);
        held = held.saturating_sub(9 + length);
        let (early, late) = frame.payload.split_at(said);
        if frame.stream != MEMBERS && staff.contains(&frame.stream) {
            assert!(frame.kind == DATA || frame.kind == RST_STREAM, "{frame:?}");
            if frame.kind == RST_STREAM {
                assert_eq!(frame.reason(), 8);
                resets.push(frame.stream);
                continue;
            }
            assert!(!resets.contains(&frame.stream), "nothing follows a reset");
            assert_eq!(frame.flags & END_STREAM, 0, "an answer that was cut is never whole");
            let text = String::from_utf8_lossy(late);
            assert!(late.iter().all(|byte| *byte == 0), "said after the removal was answered: {text}");
            assert!(!early.contains(&0));
            emptied += late.len();
        } else if frame.kind == DATA {
            after += late.len();
            read.entry(MEMBERS).or_default().extend(frame.payload);
        }
    }
    println!("kernels held {kernels} bytes; behind them {emptied} were emptied");
    assert!(emptied >= 10 * PIECE, "so much had been given to the connection: {emptied}");
    resets.sort_unstable();
    assert_eq!(resets, staff, "each is told once");
    // The member's pieces are all there, in their order.
    let all = String::from_utf8(read.remove(&MEMBERS).unwrap()).unwrap();
    let whole = all.len() / PIECE;
    let expected: String = (0..u32::try_from(whole).unwrap()).map(piece).collect();
    assert_eq!(all[..whole * PIECE], expected);
    assert_eq!(stage.count.load(SeqCst), counted);
    // The connection is as good as before.
    stage.ask(999, "/public/page");
    assert_eq!(stage.raw.outcome(999).unwrap().unwrap(), b"hello");
    let cut = stage.world.of_kind("access.outcome");
    assert_eq!(cut.iter().filter(|record| record["end"] == "cut").count(), staff.len(), "{cut:?}");
    drop(stage.raw);
    stage.world.finish();
}

// GW-05
#[test]
fn heads_that_wait_in_the_gateway_when_their_session_ends_take_the_connection_with_them() {
    let mut stage = Stage::set();
    // Small answers, whole, with nobody to read them, until some wait: heads cannot be taken out of what others read too.
    let mut asked = 0;
    let ended = |world: &World| world.of_kind("access.outcome").len();
    while asked < ended(&stage.world) + 15 {
        stage.ask(u32::try_from(2 * asked + 3).unwrap(), "/t/acme/orders?do=long");
        asked += 1;
        let (began, mut looks) = (Instant::now(), 0);
        while looks == 0 || (ended(&stage.world) < asked && began.elapsed() < Duration::from_millis(150)) {
            std::thread::sleep(Duration::from_millis(2));
            looks = stage.application.pieces.load(SeqCst) / asked as u64;
        }
    }
    stands_still(&stage.count, 0);
    // Looked up before: a connection that was reset stands in no table.
    let held = held_by_kernels(stage.ports);
    let whole = ended(&stage.world);
    stage.remove();
    let mut rest = Vec::new();
    let how = loop {
        let mut scrap = vec![0; 16 << 10];
        match stage.raw.stream.read(&mut scrap) {
            Ok(0) => break None,
            Ok(count) => rest.extend_from_slice(&scrap[..count]),
            Err(fault) => break Some(fault.kind()),
        }
    };
    println!(
        "{} bytes came where kernels had held {held}; {whole} of {asked} answers were whole",
        rest.len()
    );
    assert_eq!(how, Some(std::io::ErrorKind::ConnectionReset));
    assert!(rest.len() <= held);
    let world = &stage.world;
    until("all are recorded", || ended(world) == asked);
    // None of them had been said to the end.
    let outcomes = world.of_kind("access.outcome");
    let cut = outcomes.iter().filter(|record| record["end"] == "cut").count();
    assert_eq!(cut, asked - whole, "{outcomes:?}");
    stage.world.finish();
}

// GW-05
#[test]
fn over_tls_too_nothing_leaves_behind_an_end_but_what_kernels_held() {
    let (world, authority) = secure("");
    let (agent, admin) = (world.people.staff("sam"), world.people.admin("acme"));
    let session = world.start_session("acme", &agent);
    let mut tcp = Raw::narrow_socket(world.gateway().address());
    let ports = (tcp.local_addr().unwrap().port(), tcp.peer_addr().unwrap().port());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(&authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = rustls::pki_types::ServerName::try_from("app.example").unwrap();
    let mut tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let bearer = format!("Bearer {agent}");
    let mut lines = get("/t/acme/download?do=forever");
    lines[1] = (":scheme", "https");
    lines.push(("authorization", &bearer));
    let mut asking = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    asking.extend(frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
    asking.extend(frame(8, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
    asking.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&lines)));
    rustls::Stream::new(&mut tls, &mut tcp).write_all(&asking).unwrap();
    // What is under way stays the same for a while: every buffer is full.
    let (mut held, mut since) = (0, Instant::now());
    until("every buffer is full", || {
        let now = held_by_kernels(ports);
        if now != held {
            (held, since) = (now, Instant::now());
        }
        held > 16_000 && since.elapsed() > Duration::from_millis(300)
    });
    world.done(World::end("acme", &session), &admin);
    let mut came = 0;
    let how = loop {
        match tcp.read(&mut vec![0; 16 << 10]) {
            Ok(0) => break None,
            Ok(count) => came += count,
            Err(fault) => break Some(fault.kind()),
        }
    };
    println!("{came} bytes came where kernels had held {held}");
    // What is encrypted cannot be emptied.
    assert_eq!(how, Some(std::io::ErrorKind::ConnectionReset));
    assert!(came <= held);
    assert_eq!(world.last_outcome()["end"], "cut");
    world.finish();
}
