//! Clients that take their time: each may hold a connection for a bounded time, and no longer than it does something.

use std::{
    io::Write,
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use crate::{
    client::{Client, Ending},
    http2::peer::{Peer, clear, send_all},
    world::*,
};

fn plan() -> Plan {
    Plan::default().edit("body_idle: 5s", "body_idle: 1s, body_rate: 2 KiB")
}

/// Sends so many bytes every tenth of a second until the gateway has had enough, or the time is over; how long it took.
fn drip(client: &mut Client, piece: &[u8], most: Duration) -> Duration {
    let began = Instant::now();
    client.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut scrap = [0u8; 4096];
    while began.elapsed() < most {
        if client.stream.write_all(piece).is_err() {
            break;
        }
        match std::io::Read::read(&mut client.stream, &mut scrap) {
            Ok(count) => {
                client.inbox.extend_from_slice(&scrap[..count]);
                break;
            }
            Err(fault) if fault.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    client.stream.set_read_timeout(Some(crate::client::PATIENCE)).unwrap();
    began.elapsed()
}

#[test]
fn a_body_that_drips_is_ended_however_steadily_and_one_that_keeps_the_rate_is_not() {
    let world = World::of(plan());
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    world.done(World::consent("acme", "edit"), &admin);
    world.start_session("acme", &agent);
    for token in [&admin, &agent] {
        for (framing, piece) in [
            ("Content-Length: 1000000\r\n", vec![7u8; 50]),
            // Framing buys nothing: 400 bytes on the line, 50 of them body.
            ("Transfer-Encoding: chunked\r\n", b"1\r\nx\r\n".repeat(50)),
        ] {
            let mut client = world.client();
            client.send(request("POST", "/t/acme/orders?do=taken", token, framing));
            let took = drip(&mut client, &piece, Duration::from_secs(8));
            assert!(took > Duration::from_millis(900) && took < Duration::from_secs(6), "{took:?}");
            let reply = client.reply();
            assert_eq!((reply.status, reply.code().as_str()), (408, "body_too_slow"), "{framing}");
            assert_ne!(client.more(), Ending::Open);
        }
    }
    let outcome = world.last_outcome();
    assert_eq!((&outcome["end"], &outcome["fault"]), (&"client_gone".into(), &"body_too_slow".into()));
    // Twice the rate, for longer than any of those lasted.
    let mut client = world.client();
    client.send(request("POST", "/t/acme/orders?do=taken", &agent, "Content-Length: 16000\r\n"));
    let began = Instant::now();
    for _ in 0..40 {
        client.send([7u8; 400]);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(client.reply().text(), "16000", "{:?}", began.elapsed());
    world.finish();
}

#[test]
fn a_body_that_stands_still_is_ended_and_so_is_one_whose_answer_has_begun() {
    let world = World::of(plan());
    let admin = world.people.admin("acme");
    let mut client = world.client();
    client.send(request("POST", "/t/acme/orders?do=taken", &admin, "Content-Length: 100\r\n")).send("some");
    let began = Instant::now();
    let reply = client.reply();
    assert_eq!((reply.status, reply.code().as_str()), (408, "body_too_slow"));
    assert!(began.elapsed() > Duration::from_millis(800) && began.elapsed() < Duration::from_secs(5));
    let mut client = world.client();
    client.send(request("POST", "/t/acme/orders?do=answer-ahead", &admin, "Content-Length: 100\r\n"));
    client.send("some");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    // An answer that is under way is not ended as if it were whole.
    assert_eq!(client.read_out().0, Ending::Reset);
    world.finish();
}

#[test]
fn a_route_has_a_rate_of_its_own_or_none() {
    let own =
        "- { route: \"POST /t/{tenant}/orders\", permission: orders:write, limits: { body_rate: 0 B } }";
    let world =
        World::of(plan().edit("- { route: \"POST /t/{tenant}/orders\", permission: orders:write }", own));
    let admin = world.people.admin("acme");
    let mut client = world.client();
    client.send(request("POST", "/t/acme/orders?do=taken", &admin, "Content-Length: 1000000\r\n"));
    let took = drip(&mut client, b"x", Duration::from_secs(4));
    assert!(took >= Duration::from_secs(4), "{took:?}");
    assert!(client.inbox.is_empty());
    drop(client);
    world.finish();
}

#[test]
fn the_support_api_waits_no_longer_for_a_body() {
    let world = World::of(plan());
    let admin = world.people.admin("acme");
    let mut client = world.client();
    client.send(request("POST", "/_postern/v1/tenants/acme/grants", &admin, "Content-Length: 60000\r\n"));
    let took = drip(&mut client, &[b' '; 50], Duration::from_secs(8));
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(6), "{took:?}");
    let reply = client.reply();
    assert_eq!((reply.status, reply.code().as_str()), (408, "body_too_slow"));
    world.finish();
}

#[test]
fn a_stream_that_drips_is_ended_alone() {
    let world = clear(plan());
    let admin = world.people.admin("acme");
    let peer = Peer::connect(world.gateway().address());
    let (response, mut stream) = peer.begin("POST", "/t/acme/orders?do=taken", &admin, &[], false);
    let dripping = peer.rt.spawn(async move {
        while send_all(&mut stream, b"some", false).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let began = Instant::now();
    let answer = peer.answer(response).unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (408, "body_too_slow"));
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
    assert_eq!(peer.get("/t/acme/orders", &admin).status, 200);
    dripping.abort();
    drop(peer);
    world.finish();
}

#[test]
fn whoever_says_nothing_at_first_has_no_more_time_than_for_a_head() {
    let world = World::of(Plan::default().edit("limits: {", "limits: { keep_alive: 30s,"));
    let began = Instant::now();
    let mut silent = world.client();
    let mut dawdler = world.client();
    dawdler.send("GET / HT");
    assert_eq!(silent.more(), Ending::Closed);
    assert!(began.elapsed() > Duration::from_millis(1900) && began.elapsed() < Duration::from_secs(6));
    assert_eq!(dawdler.reply().code(), "head_too_slow");
    // Behind an answer there is the time for the next request.
    let admin = world.people.admin("acme");
    let mut client = world.client();
    assert_eq!(client.send(request("GET", "/t/acme/orders", &admin, "")).reply().status, 200);
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(client.send(request("GET", "/t/acme/orders", &admin, "")).reply().status, 200);
    world.finish();
}

#[test]
fn a_connection_without_a_next_request_is_closed() {
    let world = World::of(Plan::default().edit("limits: {", "limits: { keep_alive: 700ms,"));
    let admin = world.people.admin("acme");
    let mut client = world.client();
    assert_eq!(client.send(request("GET", "/t/acme/orders", &admin, "")).reply().status, 200);
    let began = Instant::now();
    assert_eq!(client.more(), Ending::Closed);
    assert!(began.elapsed() > Duration::from_millis(500) && began.elapsed() < Duration::from_secs(5));
    world.finish();
}

/// What is ready for a client is held in pieces of a bounded size, and each piece has to be taken within `body_idle`: who
/// reads a little now and then to look alive is cut, and what the application has for it was never taken into memory.
#[test]
fn a_reader_that_trickles_is_cut_and_little_is_held_for_it() {
    let world = World::of(plan());
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    world.start_session("acme", &agent);
    for token in [&admin, &agent] {
        let mut client = Client::narrow(world.gateway().address());
        client.send(request("GET", "/t/acme/download?do=forever", token, ""));
        let began = Instant::now();
        let mut byte = [0u8; 1];
        std::io::Read::read_exact(&mut client.stream, &mut byte).unwrap();
        while world.gateway().counters().connections.load(SeqCst) > 0 {
            // What had come before the reset is still read.
            assert_ne!(std::io::Read::read(&mut client.stream, &mut byte).unwrap_or(1), 0, "an orderly end");
            std::thread::sleep(Duration::from_millis(20));
            assert!(began.elapsed() < Duration::from_secs(9), "it is never cut");
        }
        assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
        assert_eq!(client.read_out().0, Ending::Reset);
    }
    assert_eq!(world.last_outcome()["fault"], "client_reads_too_slowly");
    world.finish();
}

/// Not in this process, and not in the kernel, whose memory is everybody's: the application keeps it. The record counts
/// what the kernel took.
#[test]
fn of_what_a_member_does_not_read_the_kernel_is_given_little() {
    let route = "GET /t/{tenant}/download\", permission: orders:read";
    let world =
        World::of(plan().edit(route, "GET /t/{tenant}/download\", permission: orders:read, record: true"));
    let mut client = world.client();
    client.send(request("GET", "/t/acme/download?do=forever", &world.people.admin("acme"), ""));
    until("it is cut", || !world.of_kind("access.outcome").is_empty());
    let outcome = world.last_outcome();
    assert_eq!(outcome["fault"], "client_reads_too_slowly", "{outcome}");
    // Its own window, which is the client's to offer, and what may wait before it.
    let sent = outcome["sent"].as_u64().unwrap();
    assert!(sent < 512 << 10, "{sent} bytes were taken for somebody who reads nothing");
    drop(client);
    world.finish();
}
