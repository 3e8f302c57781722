//! Applications that go away, refuse, break off or do not speak HTTP/2 at all. What may be said again is what provably was
//! not looked at, and nothing else.

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
    raw::{self, RST_STREAM, application, frame, go_away, ok},
    world, world_of_http1,
};
use crate::{client::Reply, farm, http2::peer::Peer, upstream::Upstream, world::*};

fn at(address: std::net::SocketAddr) -> World {
    World::of(Plan { upstream: Some(address), ..Plan::default() }.edit(URL, PLAIN))
}

fn get(world: &World) -> Reply {
    world.get("/t/acme/orders", &world.people.admin("acme"))
}

fn post(world: &World) -> Reply {
    let mut client = world.client();
    let admin = world.people.admin("acme");
    client.send(request("POST", "/t/acme/orders", &admin, "Content-Length: 3\r\n") + "abc");
    client.reply()
}

#[test]
fn a_stream_that_is_refused_is_tried_again_and_not_for_ever() {
    let application = Application::start();
    let world = world_of_http1(&application, PLAIN);
    let admin = world.people.admin("acme");
    application.notes.refuse.store(2, SeqCst);
    assert_eq!(world.get("/t/acme/orders?do=refuse", &admin).status, 200);
    assert_eq!(application.seen().len(), 1);
    // Its body too, where all of it was sent at once.
    application.notes.refuse.store(1, SeqCst);
    let mut client = world.client();
    let asking = request("POST", "/t/acme/orders?do=refuse", &admin, "Content-Length: 3\r\n") + "abc";
    assert_eq!(client.send(asking).reply().status, 200);
    assert_eq!(application.received(), 3);
    application.notes.refuse.store(100, SeqCst);
    let reply = world.get("/t/acme/orders?do=refuse", &admin);
    assert_eq!((reply.status, reply.code()), (502, "upstream_refused".to_owned()));
    assert_eq!(application.notes.refuse.load(SeqCst), 97, "three times at most");
    world.finish();
}

#[test]
fn a_refused_stream_whose_body_went_on_is_not_said_again() {
    let application = Application::start();
    let world = world(&application, PLAIN);
    let admin = world.people.admin("acme");
    let peer = Peer::connect(world.gateway().address());
    // The head is there first, what follows comes when the gateway has long said it: nothing of that is kept.
    let came = Arc::new(AtomicUsize::new(0));
    let heads = Arc::clone(&came);
    let lines = raw::application(move |mut line| {
        let stream = line.request()?;
        heads.fetch_add(1, SeqCst);
        while line.frame()?.0 != raw::DATA {}
        line.say(&frame(RST_STREAM, 0, stream, &7u32.to_be_bytes()))?;
        while line.request().is_some() {}
        None
    });
    let (address, connections) = lines;
    let other =
        crate::http2::peer::clear(Plan { upstream: Some(address), ..Plan::default() }.edit(URL, PLAIN));
    let peer2 = Peer::connect(other.gateway().address());
    let (answer, mut sending) =
        peer2.begin("POST", "/t/acme/orders", &other.people.admin("acme"), &[], false);
    until("the head has arrived", || came.load(SeqCst) == 1);
    sending.send_data(bytes::Bytes::from_static(b"more"), true).unwrap();
    let answer = peer2.answer(answer).unwrap();
    assert_eq!((answer.status, answer.code()), (502, "upstream_gone".to_owned()));
    assert_eq!(connections.load(SeqCst), 1);
    drop(peer2);
    other.finish();
    assert_eq!(peer.get("/t/acme/orders", &admin).status, 200);
    drop(peer);
    world.finish();
}

#[test]
fn what_an_application_that_goes_away_did_not_look_at_is_said_on_another_connection() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // Each connection answers one request, and goes away at the next without having looked at it.
    let (address, connections) = application(move |mut line| {
        let first = line.request()?;
        count.fetch_add(1, SeqCst);
        line.say(&ok(first))?;
        line.request()?;
        line.say(&go_away(first, 0))
    });
    let world = at(address);
    for number in 0..10 {
        let reply = if number % 2 == 0 { get(&world) } else { post(&world) };
        assert_eq!(reply.status, 200, "{number}: {}", reply.text());
    }
    assert_eq!(asked.load(SeqCst), 10, "each is looked at once");
    assert!(connections.load(SeqCst) >= 5);
    world.finish();
}

#[test]
fn what_an_application_that_goes_away_may_have_looked_at_is_not_said_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let (address, _) = application(move |mut line| {
        let stream = line.request()?;
        count.fetch_add(1, SeqCst);
        line.say(&go_away(stream, 0))
    });
    let world = at(address);
    for number in 1..=3 {
        let reply = if number == 2 { post(&world) } else { get(&world) };
        assert_eq!((reply.status, reply.code()), (502, "upstream_gone".to_owned()));
        assert_eq!(asked.load(SeqCst), number);
    }
    world.finish();
}

#[test]
fn an_application_that_goes_away_in_order_answers_what_it_has() {
    let application = Application::start();
    let world = world(&application, PLAIN);
    let admin = world.people.admin("acme");
    let peer = Peer::connect(world.gateway().address());
    let (slow, _) = peer.begin("GET", "/t/acme/orders?do=slow", &admin, &[], true);
    until("it has arrived", || application.seen().len() == 1);
    for _ in 0..5 {
        assert_eq!(peer.get("/t/acme/orders?do=go-away", &admin).status, 200);
    }
    application.release(1);
    assert_eq!(peer.answer(slow).unwrap().body, b"hello");
    drop(peer);
    world.finish();
}

#[test]
fn an_answer_that_breaks_off_is_not_ended_in_order() {
    let application = Application::start();
    let world = world(&application, PLAIN);
    let admin = world.people.admin("acme");
    let peer = Peer::connect(world.gateway().address());
    let (response, _) = peer.begin("GET", "/t/acme/orders?do=break", &admin, &[], true);
    let answer = peer.answer(response);
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(peer.get("/t/acme/orders", &admin).status, 200);
    drop(peer);
    world.finish();
}

#[test]
fn who_does_not_speak_http2_is_told_nothing_of_any_request() {
    // One that speaks HTTP/1.1, one that takes everything and says nothing, one that hangs up.
    let upstream = Upstream::start();
    let world = at(upstream.address);
    let reply = get(&world);
    assert_eq!((reply.status, reply.code()), (502, "upstream_protocol".to_owned()));
    assert!(upstream.seen().iter().all(|seen| !seen.head.contains("/t/acme")), "{:?}", upstream.seen());
    world.finish();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let world = at(silent.local_addr().unwrap());
    let began = Instant::now();
    let reply = get(&world);
    assert_eq!((reply.status, reply.code()), (504, "upstream_connect_timeout".to_owned()));
    assert!(began.elapsed() < Duration::from_secs(3));
    world.finish();
    drop(silent);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = at(nobody);
    let reply = get(&world);
    assert_eq!((reply.status, reply.code()), (502, "upstream_unreachable".to_owned()));
    world.finish();
}

#[test]
fn a_login_that_belongs_to_a_connection_is_not_put_on_one_that_others_share() {
    let application = Application::start();
    let world = world_of_http1(&application, "  app:\n    protocol: http2\n    url:");
    let mut client = world.client();
    client.send("GET /public/page HTTP/1.1\r\nHost: app.example\r\nAuthorization: Negotiate YII=\r\n\r\n");
    let reply = client.reply();
    assert_eq!((reply.status, reply.code()), (400, "login_binds_connection".to_owned()));
    assert!(application.seen().is_empty());
    world.finish();
}

#[test]
fn a_connection_that_gives_no_sign_of_life_is_let_go() {
    // It answers the first ping, by which it is known, takes the request, and is never heard of again.
    let (address, connections) = application(|mut line| {
        if line.number > 0 {
            let stream = line.request()?;
            line.say(&ok(stream))?;
            while line.request().is_some() {}
            return None;
        }
        line.request()?;
        while line.frame().is_some() {}
        None
    });
    let edit = "  app:\n    protocol: http2\n    ping: 1s\n    url:";
    let plan = Plan { upstream: Some(address), ..Plan::default() }
        .edit(URL, edit)
        .edit("response_timeout: 3s", "response_timeout: 60s")
        .edit("workers: 2", "workers: 1");
    let world = World::of(plan);
    let began = Instant::now();
    let reply = get(&world);
    assert_eq!((reply.status, reply.code()), (502, "upstream_gone".to_owned()));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(get(&world).status, 200);
    assert_eq!(connections.load(SeqCst), 2);
    world.finish();
}

#[test]
fn an_idle_connection_is_ended_in_order_and_another_one_opened() {
    let application = Application::start();
    let world =
        world_of_http1(&application, "  app:\n    protocol: http2\n    idle_timeout: 200ms\n    url:");
    for number in 1..=2 {
        let mut client = world.client();
        let admin = world.people.admin("acme");
        client.send(request("GET", "/t/acme/orders", &admin, ""));
        assert_eq!(client.reply().status, 200);
        assert_eq!(application.connections(), number);
        until("it is ended", || application.ended() == number);
    }
    world.finish();
}

#[test]
fn several_servers_over_http2_are_checked_and_chosen_as_any_others() {
    let applications = [Application::start(), Application::start()];
    let ports: Vec<_> = applications.iter().map(|one| one.address).collect();
    let swamp = farm::Swamp::new();
    let edit = format!(
        "  app:\n    protocol: http2\n    servers: [\"http://{}\", \"http://{}\", \"http://{}\"]\n    health: {{ path: /healthz, every: 100ms, timeout: 200ms }}\n    # url:",
        ports[0], ports[1], swamp.address
    );
    let world = World::of(Plan::default().edit(URL, edit.leak()));
    let admin = world.people.admin("acme");
    for _ in 0..40 {
        assert_eq!(world.get("/t/acme/orders", &admin).status, 200);
    }
    for application in &applications {
        let seen = application.seen();
        assert!(seen.iter().any(|seen| seen.uri.ends_with("/healthz")));
        assert!(seen.iter().filter(|seen| seen.uri.ends_with("/orders")).count() > 3);
        let check = seen.iter().find(|seen| seen.uri.ends_with("/healthz")).unwrap();
        assert!(!check.headers.contains_key("authorization"));
        assert!(check.connection > 0 && check.method == "GET" && check.body == 0);
    }
    let _ = Manner::default();
    world.finish();
}
