//! One gateway stops and the next one starts on the same socket, while everything runs: no request fails, and no stream
//! that ends within the time for draining is cut. What is older than that is cut, and its record says so.
//!
//! The clients here are the strictest there are: they never send anything twice. A kept connection that is closed while a
//! request is on its way fails the test.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use postern::app::{self, Extra, Gateway, Passed};

use crate::{
    client::{Client, Ending},
    world::*,
};

/// A world whose socket outlives its gateways, as under a service manager.
struct Held {
    world: World,
    listener: TcpListener,
}

impl Held {
    fn start(plan: Plan) -> Held {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let world = World::prepared(plan);
        app::init_state(&world.data.join("state.redb"), &world.ledger_dir()).unwrap();
        let mut held = Held { world, listener };
        held.up();
        held
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    fn up(&mut self) {
        let world = &self.world;
        let settings = settings(world.keys_dir.path(), &world.data, world.upstream.address, &world.edits);
        let passed = Passed { proxy: Some(self.listener.as_raw_fd()), operations: None };
        let extra = Extra { hooks: world.hooks.clone(), passed, ..Extra::default() };
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
