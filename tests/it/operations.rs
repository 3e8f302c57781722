//! What a gateway tells its operators, and when: `/readyz` and `/metrics`, before and while it stops; what a start refuses.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use crate::{
    client::{Client, PATIENCE},
    cuts::counting,
    program::Program,
    reload::{FromFile, NEVER},
    world::*,
};

/// An answer of the operations listener, head and body.
pub fn operations(world: &World, path: &str) -> String {
    asked(world.gateway().operations(), path).expect("operations are served")
}

/// A whole answer on a connection of its own; `None`: nobody takes it.
fn asked(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    (!text.is_empty()).then_some(text)
}

fn value(metrics: &str, name: &str) -> u64 {
    let line = format!("{name} ");
    metrics
        .lines()
        .find_map(|found| found.strip_prefix(&line))
        .unwrap_or_else(|| panic!("no {name}"))
        .parse()
        .unwrap()
}

// GW-01
#[test]
fn a_gateway_that_stops_says_so_first_serves_on_for_the_delay_and_says_so_to_the_end() {
    let plan = Plan::default().edit("limits: { drain: 3s", "limits: { shutdown_delay: 2s, drain: 20s");
    let mut world = World::of(plan);
    let member = world.people.admin("acme");
    let (address, told) = (world.gateway().address(), world.gateway().operations());
    assert!(operations(&world, "/readyz").starts_with("HTTP/1.1 200"));
    let mut slow = world.client();
    slow.send(request("GET", "/t/acme/orders?do=slow", &member, ""));
    until("it is under way", || world.upstream.seen().len() == 1);
    let gateway = world.gateway.take().unwrap();
    let began = Instant::now();
    let stopping = std::thread::spawn(move || gateway.stop());
    let not_ready = || {
        let answer = asked(told, "/readyz").expect("operations are served");
        answer.starts_with("HTTP/1.1 503") && answer.ends_with("stopping\n")
    };
    until("it says that it stops", not_ready);
    let ask = || -> Option<String> {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let more = "Connection: close\r\n";
        stream.write_all(request("GET", "/t/acme/orders", &member, more).as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        (!answer.is_empty()).then_some(answer)
    };
    let answer = ask().expect("new connections are served on");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    until("new connections are refused", || ask().is_none());
    assert!(began.elapsed() >= Duration::from_secs(2), "for the delay nothing changes");
    assert!(not_ready(), "also while what runs may end");
    assert!(asked(told, "/metrics").unwrap().contains("\npostern_connections "));
    world.upstream.release();
    assert_eq!(slow.reply().status, 200);
    stopping.join().unwrap();
    assert!(asked(told, "/readyz").is_none(), "then it is gone");
    world.prove();
}

#[test]
fn a_second_sigterm_ends_at_once_and_the_next_start_settles_what_that_left_open() {
    let (hooks, _) = counting();
    let mut it = FromFile::start(hooks, NEVER, &[("drain: 3s", "drain: 600s")]);
    let agent = it.world.people.staff("agent-1");
    it.world.start_session("acme", &agent);
    it.world.gateway.take().unwrap().stop();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let program = Program::start(&it.file, &listener);
    until("staff are served", || program.metric("postern_staff_served ") == 1);
    let mut slow = Client::connect(program.listening);
    slow.send(request("GET", "/t/acme/orders?do=stall", &agent, ""));
    until("it is under way", || !it.world.upstream.seen().is_empty());
    let (status, took) = program.stop_twice();
    assert_eq!(status, Some(1), "after {took:?}");
    it.world.upstream.release();
    let program = Program::start(&it.file, &listener);
    until("the past is settled", || program.metric("postern_staff_served ") == 1);
    assert!(program.stop() < PATIENCE);
    let records = it.world.prove();
    assert_eq!(records.iter().filter(|record| record["end"] == "unknown").count(), 1);
}

#[test]
fn what_is_dangerous_is_not_started_on_a_socket_from_elsewhere_that_is_handed_in() {
    let (hooks, _) = counting();
    let mut it = FromFile::start(hooks, NEVER, &[("workers: 2", "workers: 2\ndangerous: { clock: true }")]);
    it.world.gateway.take().unwrap().stop();
    let public = TcpListener::bind("0.0.0.0:0").unwrap();
    let said = Program::fails(&it.file, &public);
    assert!(said.contains("handed in listens on 0.0.0.0:") && said.contains("`clock`"), "{said}");
    let private = TcpListener::bind("127.0.0.1:0").unwrap();
    Program::start(&it.file, &private).stop();
}

// GW-06
#[test]
fn the_metrics_say_what_is() {
    let glass = "gateway: main\nbreak_glass: { operators: [{ issuer: vendor, sub: olga }], role: editor }";
    let world = World::of(Plan::default().edit("gateway: main", glass));
    let (agent, olga) = (world.people.staff("sam"), world.people.staff("olga"));
    world.start_session("acme", &agent);
    until("every intent has its outcome", || world.gateway().engine().journal().status().open_intents == 0);
    let metrics = operations(&world, "/metrics");
    for (name, wanted) in [
        ("postern_staff_served", 1),
        ("postern_ledger_healthy", 1),
        ("postern_ledger_room_short", 0),
        ("postern_ledger_open_intents", 0),
        ("postern_changes_pending", 0),
        ("postern_break_glass_entries_total", 0),
        ("postern_tls_handshakes_failed", 0),
        ("postern_staff_exchanges", 0),
    ] {
        assert_eq!(value(&metrics, name), wanted, "{name}");
    }
    assert!(metrics.contains("# TYPE postern_tls_handshakes_failed counter\n"));
    let (records, bytes) =
        (value(&metrics, "postern_ledger_records"), value(&metrics, "postern_ledger_bytes"));
    assert_eq!(records, world.records().len() as u64);
    let enter = postern::lifecycle::Command::BreakGlass {
        tenant: tenant("globex"),
        session: postern::model::SessionId::new("ses_glass").unwrap(),
        environment: production(),
        reason: "the platform is down".to_owned(),
        incident: "INC-7".to_owned(),
        cause: "stability".to_owned(),
        lasts: None,
    };
    world.done(enter, &olga);
    let mut slow = world.client();
    slow.send(request("GET", "/t/globex/orders?do=slow", &olga, ""));
    until("it is under way", || world.upstream.seen().len() == 1);
    let metrics = operations(&world, "/metrics");
    for name in
        ["postern_break_glass_entries_total", "postern_ledger_open_intents", "postern_staff_exchanges"]
    {
        assert_eq!(value(&metrics, name), 1, "{name}");
    }
    assert!(
        value(&metrics, "postern_ledger_records") > records
            && value(&metrics, "postern_ledger_bytes") > bytes
    );
    until("the signer follows", || {
        let metrics = operations(&world, "/metrics");
        value(&metrics, "postern_ledger_signed") == value(&metrics, "postern_ledger_records")
    });
    world.upstream.release();
    assert_eq!(slow.reply().status, 200);
    world.finish();
}
