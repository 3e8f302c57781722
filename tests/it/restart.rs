//! One gateway stops and the next one starts on the same socket, while everything runs, and so does another configuration
//! and another certificate: no request fails, and no stream that ends within the time for draining is cut. What is older
//! than that is cut, and its record says so.
//!
//! The clients here are the strictest there are: they never send anything twice. A kept connection that is closed while a
//! request is on its way fails the test.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use postern::app::{self, Extra, Gateway, Passed};

use crate::{
    client::{Client, Ending},
    load::{Load, TLS, nothing_was_cut},
    program::Program,
    vouched::Authority,
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

// GW-01
#[test]
fn restarts_under_load_fail_no_request_and_cut_no_stream() {
    let mut held = Held::start(Plan::default());
    let agent = held.world.people.staff("agent-1");
    held.world.start_session("acme", &agent);
    let member = held.world.people.admin("acme");
    let mut load = Load::at(held.address());
    for token in [&member, &agent] {
        load.kind();
        for pause in [0, 0, 3, 40, 150, 300] {
            load.asks(token, pause);
        }
    }
    for token in [&member, &agent] {
        load.kind();
        load.streams(token);
        load.streams(token);
    }
    let mut pauses = Vec::new();
    for _ in 0..4 {
        load.goes_on("everything goes on");
        pauses.push(held.restart());
    }
    let counted = load.end();
    println!(
        "4 restarts, stops took {pauses:?}; requests of members and staff, streams of both: {counted:?}, none failed"
    );
    nothing_was_cut(&held.world.finish());
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

#[test]
fn a_new_certificate_ten_thousand_routes_and_a_restart_under_load_over_tls_fail_nothing() {
    let authority = Authority::new();
    let mut held = Held::start_beside(Plan::default().edit("workers: 2", TLS), |dir| {
        authority.renew(dir);
    });
    let agent = held.world.people.staff("agent-1");
    held.world.start_session("acme", &agent);
    let member = held.world.people.admin("acme");
    let load = over_tls(held.address(), &authority, &member, &agent);
    load.goes_on("everything goes");
    authority.renew(held.world.keys_dir.path());
    held.world.gateway().reload().unwrap();
    load.goes_on("everything goes on with another certificate");
    held.write(&[("routes:\n", &ten_thousand_routes())]);
    held.world.gateway().reload().unwrap();
    load.goes_on("everything goes on with ten thousand routes");
    let took = held.restart();
    load.goes_on("everything goes on with the next gateway");
    let counted = load.end();
    println!(
        "certificate, 10,000 routes, restart (stop {took:?}): requests of members and staff over TLS, by HTTP/2, streams: {counted:?}"
    );
    nothing_was_cut(&held.world.finish());
}

/// The program itself, as a service manager starts it: it is handed the socket, told to go by SIGTERM, and followed by the
/// next one on the same socket.
// GW-01
#[test]
fn the_program_is_restarted_under_load_on_the_socket_it_was_handed_and_nobody_notices() {
    let mut held = Held::start(Plan::default());
    let agent = held.world.people.staff("agent-1");
    held.world.start_session("acme", &agent);
    held.world.gateway.take().unwrap().stop();
    let member = held.world.people.admin("acme");
    let mut program = Program::start(&held.file(), &held.listener);
    assert_eq!(program.listening, held.address(), "not on a socket of its own");
    let mut load = Load::at(held.address());
    for token in [&member, &agent] {
        load.kind();
        for pause in [0, 3, 40, 300] {
            load.asks(token, pause);
        }
    }
    for token in [&member, &agent] {
        load.kind();
        load.streams(token);
        load.streams(token);
    }
    let mut stops = Vec::new();
    for _ in 0..3 {
        load.goes_on("everything goes on");
        stops.push(program.stop());
        program = Program::start(&held.file(), &held.listener);
    }
    load.goes_on("everything goes on with the last one");
    let counted = load.end();
    println!(
        "3 restarts of the program, stops took {stops:?}; requests of members and staff, streams of both: {counted:?}, none failed"
    );
    program.stop();
    nothing_was_cut(&held.world.prove());
}

// GW-03
#[test]
fn the_program_takes_a_certificate_ten_thousand_routes_and_a_restart_under_load_over_tls() {
    let authority = Authority::new();
    let mut held = Held::start_beside(Plan::default().edit("workers: 2", TLS), |dir| {
        authority.renew(dir);
    });
    let agent = held.world.people.staff("agent-1");
    held.world.start_session("acme", &agent);
    held.world.gateway.take().unwrap().stop();
    let member = held.world.people.admin("acme");
    let program = Program::start(&held.file(), &held.listener);
    let load = over_tls(held.address(), &authority, &member, &agent);
    load.goes_on("everything goes");
    let renewed = authority.renew(held.world.keys_dir.path());
    assert_ne!(authority.shown(held.address()), renewed, "nobody was told of it yet");
    program.reload(1);
    assert_eq!(authority.shown(held.address()), renewed);
    load.goes_on("everything goes on with another certificate");
    held.write(&[("routes:\n", &ten_thousand_routes())]);
    program.reload(2);
    load.goes_on("everything goes on with ten thousand routes");
    let took = program.stop();
    let program = Program::start(&held.file(), &held.listener);
    load.goes_on("everything goes on with the next program");
    let counted = load.end();
    println!(
        "the program: certificate, 10,000 routes, restart (stop {took:?}): requests of members and staff over TLS, by HTTP/2, streams: {counted:?}"
    );
    program.stop();
    nothing_was_cut(&held.world.prove());
}

/// Requests of both over TLS, by HTTP/2, and streams that last.
fn over_tls(address: SocketAddr, authority: &Authority, member: &str, agent: &str) -> Load {
    let mut load = Load::at(address);
    for token in [member, agent] {
        load.kind();
        for pause in [0, 20, 200] {
            load.asks_secured(authority, token, pause);
        }
    }
    for streams in [false, true] {
        load.kind();
        for token in [member, agent] {
            load.by_http2(authority, token, streams);
        }
    }
    load
}

fn ten_thousand_routes() -> String {
    let route = |n: usize| {
        let area = n % 97;
        format!("  - {{ route: \"GET /t/{{tenant}}/area-{area}/things-{n}\", permission: orders:read }}\n")
    };
    std::iter::once("routes:\n".to_owned()).chain((0..10_000).map(route)).collect()
}
