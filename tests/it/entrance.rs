//! From where a request comes: only what is trusted says so, and everything that goes by it (conditions, rates, records, the
//! header for the application) goes by the same address.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use postern::engine::hooks::Hooks;

use crate::{
    client::{Client, Ending, PATIENCE},
    http2::{
        corpus::{Case, bytes, cases},
        peer::Peer,
    },
    reload::{FromFile, NEVER},
    world::*,
};

const HEADERS: &str = "headers: { X-Remote-User: \"{subject}\" }";
const WITH_CLIENT: &str = "headers: { X-Remote-User: \"{subject}\", X-Client: \"{client}\" }";

fn plan(keys: &'static str) -> Plan {
    Plan::default().edit("workers: 2\n", keys).edit(HEADERS, WITH_CLIENT)
}

fn by_list() -> Plan {
    plan("workers: 2\ntrusted_hops: { from: [127.0.0.1, 10.0.0.0/8], header: x_forwarded_for }\n")
}

fn by_element() -> Plan {
    plan("workers: 2\ntrusted_hops: { from: [127.0.0.1, 10.0.0.0/8], header: forwarded }\n")
}

fn proxied() -> Plan {
    plan("workers: 2\nproxy_protocol: { from: 127.0.0.1 }\n")
}

/// A client with an address of its own on this machine.
fn from(source: &str, to: SocketAddr) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let source: SocketAddr = format!("{source}:0").parse().unwrap();
    socket.bind(&source.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    Client { stream, inbox: Vec::new() }
}

fn judge(world: &World, case: &Case<'_>, admin: &str, split: bool) -> Result<(), String> {
    let text: Vec<u8> = case.lines.iter().flat_map(|line| bytes(&line.replace("{admin}", admin))).collect();
    let before = world.upstream.seen().len();
    let mut client = world.client();
    let pieces: Vec<&[u8]> = if split { text.chunks(1).collect() } else { vec![&text] };
    for piece in pieces {
        // A connection that is refused may be gone before all of it was written.
        if client.stream.write_all(piece).is_err() {
            break;
        }
    }
    let (verdict, rest) = case.verdict.split_once(' ').unwrap_or((case.verdict, ""));
    let arrived = |world: &World| {
        world.upstream.settled();
        world.upstream.seen().split_off(before)
    };
    match verdict {
        "client" => {
            let status = client.reply().status;
            let seen = arrived(world);
            let [one] = seen.as_slice() else { return Err(format!("{status}, {} arrived", seen.len())) };
            let said = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "true-client-ip"];
            let clean = said.iter().all(|name| one.values(name).is_empty());
            let names = one.values("x-client");
            if names == [rest] && clean && status == 200 {
                Ok(())
            } else {
                Err(format!("{status} {names:?}"))
            }
        }
        "refuse" => {
            let code = client.reply().code();
            if code == rest && arrived(world).is_empty() { Ok(()) } else { Err(code) }
        }
        "closed" => {
            let (ending, count) = client.read_out();
            if ending != Ending::Open && count == 0 && arrived(world).is_empty() {
                Ok(())
            } else {
                Err(format!("{ending:?}, {count} bytes came"))
            }
        }
        other => panic!("no such verdict: {other}"),
    }
}

#[test]
fn every_claim_of_the_corpus_is_believed_or_not_as_it_says() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/client_address");
    let mut count = 0;
    for (file, plan) in
        [("x_forwarded_for", by_list()), ("forwarded", by_element()), ("proxy_protocol", proxied())]
    {
        let world = World::of(plan);
        let admin = world.people.admin("acme");
        let text = std::fs::read_to_string(dir.join(format!("{file}.txt"))).unwrap();
        let mut wrong = Vec::new();
        for case in cases(&text) {
            for split in [false, true] {
                count += 1;
                if let Err(found) = judge(&world, &case, &admin, split && case.lines.concat().len() < 1000) {
                    wrong.push(format!("{} | {}: {found}", case.id, case.verdict));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        world.finish();
    }
    println!("{count} connections");
}

#[test]
fn whoever_is_no_hop_is_not_asked_and_who_has_to_speak_first_is() {
    let world = World::of(by_list());
    let admin = world.people.admin("acme");
    for value in ["10.0.0.1", "203.0.113.7", "garbage, \""] {
        let mut client = from("127.0.0.2", world.gateway().address());
        client.send(request("GET", "/t/acme/orders", &admin, &format!("X-Forwarded-For: {value}\r\n")));
        assert_eq!(client.reply().status, 200);
        assert_eq!(world.upstream.last().values("x-client"), ["127.0.0.2"], "{value}");
    }
    world.finish();
    let world = World::of(proxied());
    let admin = world.people.admin("acme");
    let mut client = from("127.0.0.2", world.gateway().address());
    assert_eq!(client.send(request("GET", "/t/acme/orders", &admin, "")).reply().status, 200);
    assert_eq!(world.upstream.last().values("x-client"), ["127.0.0.2"]);
    for header in
        [&b"PROXY TCP4 10.0.0.1 10.0.0.1 1 1\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c0123456789ab"]
    {
        let mut client = from("127.0.0.2", world.gateway().address());
        client.send(header).send(request("GET", "/t/acme/orders", &admin, ""));
        assert_eq!(client.reply().status, 400);
        assert_ne!(client.more(), Ending::Open);
    }
    assert_eq!(world.upstream.seen().len(), 1);
    world.finish();
}

/// What a spoofed address would open: support's network.
#[test]
fn support_comes_from_where_its_hop_says_and_from_nowhere_else() {
    let plan = by_list().edit(
        "identity_headers: [X-User]",
        "identity_headers: [X-User]\nstaff: { require: { networks: [203.0.113.0/24] } }",
    );
    let world = World::of(plan);
    let agent = world.people.staff("sam");
    let ask = |source: &str, target: &str, more: &str| {
        let mut client = from(source, world.gateway().address());
        client.send(request("GET", target, &agent, more));
        client.reply()
    };
    world.start_session("acme", &agent);
    let inside = "X-Forwarded-For: 203.0.113.9\r\n";
    assert_eq!(ask("127.0.0.1", "/t/acme/orders", inside).status, 200);
    let lines = std::fs::read_to_string(world.ledger_dir().join("00000001.jsonl")).unwrap();
    assert!(lines.contains("203.0.113.9"), "the record names the client, not its hop");
    for (source, more) in [
        // Not a hop.
        ("127.0.0.2", inside),
        // The client names itself, the hop says otherwise.
        ("127.0.0.1", "X-Forwarded-For: 203.0.113.9, 198.51.100.1\r\n"),
        ("127.0.0.1", "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 198.51.100.1\r\n"),
        ("127.0.0.1", "X_Forwarded_For: 203.0.113.9\r\n"),
        ("127.0.0.1", "X-Real-IP: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\n"),
        ("127.0.0.1", ""),
    ] {
        let reply = ask(source, "/t/acme/orders", more);
        assert_eq!((reply.status, reply.code().as_str()), (403, "network_refused"), "{source} {more}");
    }
    let reply = ask("127.0.0.1", "/t/acme/orders", "X-Forwarded-For: 203.0.113.9, junk\r\n");
    assert_eq!((reply.status, reply.code().as_str()), (400, "forwarded_malformed"));
    assert_eq!(world.upstream.seen().len(), 1);
    world.finish();
}

#[test]
fn rates_are_of_the_client_and_not_of_the_hop() {
    let plan = by_list().edit("limits: {", "limits: { address_rate: 1, address_burst: 2,");
    let world = World::of(plan);
    let admin = world.people.admin("acme");
    let ask = |value: &str| {
        world.ask("GET", "/t/acme/orders", &admin, &format!("X-Forwarded-For: {value}\r\n")).status
    };
    for client in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
        assert_eq!((ask(client), ask(client)), (200, 200), "{client}");
    }
    // Whatever it says in front, it is the same one.
    assert!((0..4).any(|number| ask(&format!("192.0.2.{number}, 203.0.113.1")) == 429));
    world.finish();
}

#[test]
fn a_balancer_and_a_hop_behind_it_are_each_asked_for_their_part() {
    let world = World::of(plan(
        "workers: 2\nproxy_protocol: { from: 127.0.0.1 }\ntrusted_hops: { from: 198.51.100.0/24, header: x_forwarded_for }\n",
    ));
    let admin = world.people.admin("acme");
    for (source, found) in [("198.51.100.9", "203.0.113.7"), ("192.0.2.1", "192.0.2.1")] {
        let mut client = world.client();
        client.send(format!("PROXY TCP4 {source} 10.0.0.1 4711 443\r\n"));
        // Of one connection each request is asked by itself.
        for _ in 0..2 {
            client.send(request("GET", "/t/acme/orders", &admin, "X-Forwarded-For: 203.0.113.7\r\n"));
            assert_eq!(client.reply().status, 200);
            assert_eq!(world.upstream.last().values("x-client"), [found]);
        }
        client.send(request("GET", "/t/acme/orders", &admin, ""));
        assert_eq!(client.reply().status, 200);
        assert_eq!(world.upstream.last().values("x-client"), [source]);
    }
    world.finish();
}

#[test]
fn a_balancer_that_says_nothing_is_not_waited_for() {
    let world = World::of(proxied());
    let began = Instant::now();
    let mut waiting: Vec<Client> = (0..3).map(|_| world.client()).collect();
    waiting[1].send("PROXY TC");
    waiting[2].send(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c012");
    for client in &mut waiting {
        assert_ne!(client.more(), Ending::Open);
    }
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1900) && took < Duration::from_secs(6), "{took:?}");
    until("nothing is left of them", || {
        world.gateway().counters().connections.load(std::sync::atomic::Ordering::SeqCst) == 0
    });
    world.finish();
}

#[test]
fn the_header_stands_before_http2() {
    let world = World::of(plan("workers: 2\nhttp2: prior_knowledge\nproxy_protocol: { from: 127.0.0.1 }\n"));
    let admin = world.people.admin("acme");
    let peer = Peer::behind(world.gateway().address(), b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n");
    for _ in 0..2 {
        assert_eq!(peer.get("/t/acme/orders", &admin).status, 200);
        assert_eq!(world.upstream.last().values("x-client"), ["203.0.113.7"]);
    }
    drop(peer);
    world.finish();
}

/// A reload says from now on who is believed: of a header with each request at once, also on connections that are open; of
/// the PROXY protocol for connections that begin from now on.
#[test]
fn a_reload_changes_who_is_believed() {
    const WORKERS: &str = "workers: 2\n";
    const HOPS: &str =
        "workers: 2\ntrusted_hops: { from: [127.0.0.1, 10.0.0.0/8], header: x_forwarded_for }\n";
    const PROXIED: &str = "workers: 2\nproxy_protocol: { from: 127.0.0.1 }\n";
    let file = FromFile::start(Hooks::default(), NEVER, &[(HEADERS, WITH_CLIENT)]);
    let world = &file.world;
    let admin = world.people.admin("acme");
    let asked = request("GET", "/t/acme/orders", &admin, "X-Forwarded-For: 203.0.113.7\r\n");
    let client_of = |client: &mut Client| {
        client.send(&asked);
        assert_eq!(client.reply().status, 200);
        world.upstream.last().values("x-client").concat()
    };
    let mut kept = world.client();
    assert_eq!(client_of(&mut kept), "127.0.0.1", "nobody is believed");
    file.reload(&[(WORKERS, HOPS)]).unwrap();
    assert_eq!(client_of(&mut kept), "203.0.113.7");
    file.reload(&[(WORKERS, "workers: 2\ntrusted_hops: { from: 10.0.0.0/8, header: x_forwarded_for }\n")])
        .unwrap();
    assert_eq!(client_of(&mut kept), "127.0.0.1", "it is no hop any more");
    file.reload(&[]).unwrap();

    let proxied = |header: &str| {
        let mut client = world.client();
        client.send(header);
        client
    };
    let header = "PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n";
    assert_eq!(proxied(header).reply().status, 400, "to whom it is not expected of it is no request");
    file.reload(&[(WORKERS, PROXIED)]).unwrap();
    let mut behind = proxied(header);
    assert_eq!(client_of(&mut behind), "203.0.113.9");
    assert_eq!(client_of(&mut kept), "127.0.0.1", "what is open has begun");
    let mut bare = world.client();
    bare.send(&asked);
    assert_ne!(bare.read_out().0, Ending::Open);
    file.reload(&[]).unwrap();
    assert_eq!(client_of(&mut behind), "203.0.113.9", "what it said when it began stands");
    assert_eq!(client_of(&mut world.client()), "127.0.0.1");
    assert_eq!(proxied(header).reply().status, 400);
    file.world.finish();
}
