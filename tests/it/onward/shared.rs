//! A connection to an application is everybody's: what one caller does with their streams is nobody else's trouble.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use super::{
    PLAIN, URL,
    application::{Application, Manner},
    one_core,
    raw::{DATA, HEADERS, PING, RST_STREAM, SETTINGS, application, frame, ok},
};
use crate::{client::Client, http2::peer::Peer, world::*};

/// As many unread streams as fit on a connection, of frames that cost more than they carry.
#[test]
fn unread_streams_of_small_frames_end_no_connection() {
    let application = Application::start();
    let plan = Plan { upstream: Some(application.address), ..Plan::default() }
        .edit(URL, PLAIN)
        .edit("workers: 2", "workers: 1")
        .edit("body_idle: 5s", "body_idle: 60s");
    let world = World::of(plan);
    let admin = world.people.admin("globex");
    let held: Vec<_> = (0..90)
        .map(|number| {
            let greedy = world.people.member(&format!("m{}", number % 3), "acme", &["admin"]);
            let mut client = Client::narrow(world.gateway().address());
            client.send(request("GET", "/t/acme/download?do=crumbs", &greedy, ""));
            client
        })
        .collect();
    until("all are there", || application.seen().len() == 90);
    let mut sent = 0;
    until("no more of them is taken", || {
        std::thread::sleep(Duration::from_millis(300));
        let before = std::mem::replace(&mut sent, application.sent());
        sent == before
    });
    for _ in 0..20 {
        assert_eq!(world.get("/t/globex/orders", &admin).status, 200);
    }
    assert_eq!(application.connections(), 1);
    assert_eq!(application.resets(), []);
    println!("{} KiB in 90 streams, unread", sent >> 10);
    // What still comes behind their resets ends it no more.
    drop(held);
    until("all are told", || application.resets().len() == 90);
    for _ in 0..20 {
        assert_eq!(world.get("/t/globex/orders", &admin).status, 200);
    }
    assert_eq!(application.connections(), 1);
    world.finish();
}

#[test]
fn an_answer_whose_end_comes_in_a_frame_of_its_own_is_not_reset() {
    let resets = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&resets);
    let (address, connections) = application(move |mut line| {
        loop {
            let (kind, flags, stream, payload) = line.frame()?;
            match kind {
                PING if flags & 1 == 0 => line.say(&frame(PING, 1, 0, &payload))?,
                SETTINGS if flags & 1 == 0 => line.say(&frame(SETTINGS, 1, 0, &[]))?,
                RST_STREAM => {
                    count.fetch_add(1, SeqCst);
                }
                HEADERS => {
                    // `:status: 200`, `content-length: 5` (index 28 of the static table).
                    line.say(&frame(HEADERS, 4, stream, &[0x88, 0x0f, 0x0d, 1, b'5']))?;
                    line.say(&frame(DATA, 0, stream, b"hello"))?;
                    if stream % 10 == 1 {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    line.say(&frame(DATA, 1, stream, b""))?;
                }
                _ => {}
            }
        }
    });
    let plan = Plan { upstream: Some(address), ..Plan::default() };
    let world = World::of(plan.edit(URL, PLAIN).edit("workers: 2", "workers: 1"));
    let admin = world.people.admin("acme");
    let mut client = world.client();
    for number in 0..500 {
        client.send(request("GET", "/t/acme/orders", &admin, ""));
        assert_eq!(client.reply().text(), "hello", "{number}");
    }
    assert_eq!((resets.load(SeqCst), connections.load(SeqCst)), (0, 1));
    world.finish();
}

#[test]
fn one_caller_gets_no_more_than_half_of_all_streams_and_the_others_go_on() {
    let application = Application::of(Manner { streams: Some(4), tls: None });
    let world = one_core(&application, PLAIN);
    let (greedy, other, admin) = (
        world.people.admin("acme"),
        world.people.member("max", "acme", &["admin"]),
        world.people.admin("globex"),
    );
    let peer = Peer::connect(world.gateway().address());
    // Four connections of four: one at a time, so that each finds room.
    let mut held = Vec::new();
    for number in 1..=8 {
        held.push(peer.begin("GET", "/t/acme/orders?do=stall", &greedy, &[], true));
        until("it has arrived", || application.seen().len() == number);
    }
    let reply = peer.get("/t/acme/orders", &greedy);
    assert_eq!((reply.status, reply.code().as_str()), (503, "upstream_share"));
    for _ in 0..10 {
        assert_eq!(peer.get("/t/globex/orders", &admin).status, 200);
    }
    // The next greedy one has a quarter.
    for number in 0..4 {
        let before = application.seen().len();
        held.push(peer.begin("GET", "/t/acme/orders?do=stall", &other, &[], true));
        until("it has arrived", || application.seen().len() == before + 1);
        let _ = number;
    }
    assert_eq!(peer.get("/t/acme/orders", &other).code(), "upstream_share");
    assert_eq!(peer.get("/t/globex/orders", &admin).status, 200);
    // What ends makes room again.
    drop(held.split_off(4));
    until("they are told", || application.resets().len() == 8);
    until("there is room again", || peer.get("/t/acme/orders", &greedy).status == 200);
    assert_eq!(application.connections(), 4);
    drop((held, peer));
    world.finish();
}

/// Whoever has their share waits for what others leave as for what they leave themselves.
#[test]
fn whoever_has_their_share_goes_on_when_others_leave_room() {
    let application = Application::of(Manner { streams: Some(4), tls: None });
    let plan = Plan { upstream: Some(application.address), ..Plan::default() }
        .edit(URL, PLAIN)
        .edit("connect_timeout: 1s", "connect_timeout: 5s")
        .edit("response_timeout: 3s", "response_timeout: 30s")
        .edit("workers: 2", "workers: 1\nhttp2: prior_knowledge");
    let world = World::of(plan);
    let (greedy, other, admin) = (
        world.people.admin("acme"),
        world.people.member("max", "acme", &["admin"]),
        world.people.admin("globex"),
    );
    let peer = Peer::connect(world.gateway().address());
    let hold = |token: &str| -> Vec<_> {
        let held = (0..4).map(|_| {
            let before = application.seen().len();
            let held = peer.begin("GET", "/t/acme/orders?do=stall", token, &[], true);
            until("it has arrived", || application.seen().len() == before + 1);
            held
        });
        held.collect()
    };
    // Half of all: a quarter is one's, a quarter the other's.
    let (kept, left) = (hold(&greedy), hold(&other));
    let waiting: Vec<_> = (0..3).map(|_| peer.begin("GET", "/t/acme/orders", &greedy, &[], true)).collect();
    // Begun after them and answered: so they wait.
    assert_eq!(peer.get("/t/globex/orders", &admin).status, 200);
    assert_eq!(application.seen().len(), 9);
    drop(left);
    for (answer, _) in waiting {
        let reply = peer.answer(answer).unwrap();
        assert_eq!((reply.status, String::from_utf8_lossy(&reply.body).as_ref()), (200, "hello"));
    }
    drop((kept, peer));
    world.finish();
}

/// Many wait for few streams: each that ends lets the next one go.
#[test]
fn whoever_waits_for_a_stream_gets_one_when_one_ends() {
    let application = Application::of(Manner { streams: Some(1), tls: None });
    let world = one_core(&application, "  app:\n    protocol: http2\n    # url:\n    url:");
    let peer = Peer::connect(world.gateway().address());
    let tokens: Vec<_> = (0..24).map(|n| world.people.member(&format!("m{n}"), "acme", &["admin"])).collect();
    let waiting: Vec<_> =
        tokens.iter().map(|token| peer.begin("GET", "/t/acme/orders?do=slow", token, &[], true)).collect();
    until("four have arrived", || application.seen().len() == 4);
    for number in 4..24 {
        application.release(1);
        until("the next one has", || application.seen().len() == number + 1);
    }
    application.release(4);
    for (answer, _) in waiting {
        assert_eq!(peer.answer(answer).unwrap().status, 200);
    }
    drop(peer);
    world.finish();
}

#[test]
fn a_connection_that_died_in_silence_takes_no_second_request() {
    // The first takes a request and is never heard of again; the others answer.
    let (address, connections) = application(|mut line| {
        if line.number == 0 {
            line.request()?;
            while line.frame().is_some() {}
            return None;
        }
        loop {
            let stream = line.request()?;
            line.say(&ok(stream))?;
        }
    });
    let plan = Plan { upstream: Some(address), ..Plan::default() }
        .edit(URL, PLAIN)
        .edit("response_timeout: 3s", "response_timeout: 1s")
        .edit("workers: 2", "workers: 1");
    let world = World::of(plan);
    let admin = world.people.admin("acme");
    assert_eq!(world.get("/t/acme/orders", &admin).code(), "upstream_timeout");
    let began = Instant::now();
    for _ in 0..5 {
        assert_eq!(world.get("/t/acme/orders", &admin).status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(connections.load(SeqCst), 2);
    world.finish();
}

/// Slow is not dead: who answers the ping is asked again.
#[test]
fn an_application_that_is_slow_keeps_its_connection() {
    let application = Application::start();
    let plan = Plan { upstream: Some(application.address), ..Plan::default() }
        .edit(URL, PLAIN)
        .edit("response_timeout: 3s", "response_timeout: 500ms")
        .edit("workers: 2", "workers: 1");
    let world = World::of(plan);
    let admin = world.people.admin("acme");
    for _ in 0..3 {
        assert_eq!(world.get("/t/acme/orders?do=stall", &admin).code(), "upstream_timeout");
        until("it is trusted", || {
            let connections = application.connections();
            world.get("/t/acme/orders", &admin).status == 200 && application.connections() == connections
        });
    }
    assert!(application.connections() <= 2);
    world.finish();
}
