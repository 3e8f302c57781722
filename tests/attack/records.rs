//! An application over TLS whose answers come in records as no honest one cuts them: what it says beyond an answer reaches
//! nobody (laws 10 and 11).

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection};

use crate::{
    doors::{ODD, ask_oddly},
    vouched,
    world::*,
};

/// The server's side, without tickets, and the authority that vouches for it.
fn side() -> (Arc<ServerConfig>, String) {
    let (mut config, authority) = vouched::side(&["127.0.0.1"]);
    config.send_tls13_tickets = 0;
    (Arc::new(config), authority)
}

fn world(address: SocketAddr, authority: &str) -> World {
    let mut world = World::prepared(Plan::default().edit("workers: 2", "workers: 1"));
    std::fs::write(world.keys_dir.path().join("ca.pem"), authority).unwrap();
    let from = format!("url: \"http://{}\"", world.upstream.address);
    let keys = world.keys_dir.path().to_str().unwrap().to_owned();
    world.edits.push((from.leak(), format!("ca: {keys}/ca.pem\n    url: \"https://{address}\"").leak()));
    postern::app::init_state(&world.data.join("state.redb"), &world.data.join("ledger")).unwrap();
    world.up();
    world
}

/// One connection of an application.
struct Line {
    tcp: TcpStream,
    tls: ServerConnection,
    /// Counted from zero.
    number: usize,
}

impl Line {
    /// Reads until a head is whole; `None` at the end.
    fn request(&mut self) -> Option<()> {
        let mut head = Vec::new();
        loop {
            while self.tls.wants_write() {
                self.tls.write_tls(&mut self.tcp).ok()?;
            }
            let mut piece = [0u8; 4096];
            match self.tls.reader().read(&mut piece) {
                Ok(0) => return None,
                Ok(count) => head.extend_from_slice(&piece[..count]),
                Err(_) => {
                    if self.tls.read_tls(&mut self.tcp).ok()? == 0 {
                        return None;
                    }
                    self.tls.process_new_packets().ok()?;
                }
            }
            if head.ends_with(b"\r\n\r\n") {
                return Some(());
            }
        }
    }

    /// Each piece as a record of its own, all of them together as bytes.
    fn records(&mut self, pieces: &[&[u8]]) -> Vec<u8> {
        let mut all = Vec::new();
        for piece in pieces {
            self.tls.writer().write_all(piece).unwrap();
            while self.tls.wants_write() {
                self.tls.write_tls(&mut all).unwrap();
            }
        }
        all
    }
}

/// Serves each connection so.
fn application(
    config: &Arc<ServerConfig>,
    serve: impl Fn(Line) -> Option<()> + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let (serve, counted, config) = (Arc::new(serve), Arc::clone(&count), Arc::clone(config));
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            tcp.set_nodelay(true).unwrap();
            let number = counted.fetch_add(1, SeqCst);
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(Line { tcp, tls, number }));
        }
    });
    (address, count)
}

#[test]
fn an_application_that_answers_oddly_over_tls_gives_nobody_anything_of_anybody_else() {
    let (config, authority) = side();
    for odd in &ODD {
        let (pieces, closes) = (odd.pieces, odd.closes);
        let (address, _) = application(&config, move |mut line| {
            loop {
                line.request()?;
                // All in one flight.
                let flight = line.records(pieces);
                line.tcp.write_all(&flight).ok()?;
                if closes {
                    line.tls.send_close_notify();
                    let end = line.records(&[]);
                    line.tcp.write_all(&end).ok()?;
                    return None;
                }
            }
        });
        let world = world(address, &authority);
        ask_oddly(&world, odd);
        world.finish();
    }
}

/// Answers whose last byte is the last for which a buffer has room: nobody looks behind them by reading on.
#[test]
fn what_stands_in_another_record_behind_an_answer_is_nobodys_answer() {
    let (config, authority) = side();
    let spoof = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nspoof";
    for behind in [&spoof[..], b"x"] {
        let (address, connections) = application(&config, move |mut line| {
            line.request()?;
            let whole = 8192 << (line.number % 4);
            let head = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            let mut answer = head(whole - head(whole).len()).into_bytes();
            if answer.len() < head(whole).len() {
                answer = head(whole - answer.len()).into_bytes();
            }
            answer.resize(whole, b'h');
            let (most, last) = answer.split_at(whole - 100);
            let mut pieces: Vec<&[u8]> = most.chunks(16_000).collect();
            pieces.extend([last, behind]);
            let flight = line.records(&pieces);
            line.tcp.write_all(&flight).ok()?;
            while line.request().is_some() {}
            None
        });
        let world = world(address, &authority);
        let (one, other) = (world.people.admin("acme"), world.people.admin("globex"));
        for number in 1..=8 {
            let (target, token) =
                if number % 2 == 0 { ("/t/acme/orders", &one) } else { ("/t/globex/orders", &other) };
            let reply = world.get(target, token);
            assert!(
                reply.status == 200 && reply.body.iter().all(|byte| *byte == b'h'),
                "{number}: {}",
                reply.text()
            );
            assert_eq!(connections.load(SeqCst), number, "each on a connection of its own");
        }
        world.finish();
    }
}

#[test]
fn half_a_record_behind_an_answer_is_nobodys_answer() {
    let (config, authority) = side();
    for half in [1, 4, 10] {
        let (address, connections) = application(&config, move |mut line| {
            line.request()?;
            if line.number > 0 {
                let answer = line.records(&[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfresh"]);
                line.tcp.write_all(&answer).ok()?;
                return line.request();
            }
            let mut flight = line.records(&[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"]);
            let rest = line.records(&[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nspoof"]);
            flight.extend_from_slice(&rest[..half]);
            line.tcp.write_all(&flight).ok()?;
            // The rest, once another request has come here.
            line.request()?;
            line.tcp.write_all(&rest[half..]).ok()?;
            std::thread::sleep(Duration::from_millis(200));
            None
        });
        let world = world(address, &authority);
        assert_eq!(world.get("/t/acme/orders", &world.people.admin("acme")).text(), "hello");
        assert_eq!(world.get("/t/globex/orders", &world.people.admin("globex")).text(), "fresh");
        assert_eq!(connections.load(SeqCst), 2);
        world.finish();
    }
}

/// The same over many exchanges with an application that does nothing odd: its connection is kept.
#[test]
fn whole_records_are_kept_for_the_next_exchange() {
    let (config, authority) = side();
    let (address, connections) = application(&config, |mut line| {
        loop {
            line.request()?;
            // The answer itself may well come in several, and in halves.
            let flight = line.records(&[b"HTTP/1.1 200 OK\r\n", b"Content-Length: 5\r\n\r\nhe", b"llo"]);
            let (first, second) = flight.split_at(flight.len() / 2);
            line.tcp.write_all(first).ok()?;
            std::thread::sleep(Duration::from_millis(5));
            line.tcp.write_all(second).ok()?;
        }
    });
    let world = world(address, &authority);
    let admin = world.people.admin("acme");
    for _ in 0..20 {
        assert_eq!(world.get("/t/acme/orders", &admin).text(), "hello");
    }
    assert_eq!(connections.load(SeqCst), 1);
    world.finish();
}
