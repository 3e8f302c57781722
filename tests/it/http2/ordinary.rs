//! What ordinary clients do.

use std::time::{Duration, Instant};

use super::peer::{Peer, clear, more, send_all};
use crate::{upstream::pattern, vouched::Authority, world::*};

/// A world with TLS; the authority's certificate.
pub fn secure(extra: &str) -> (World, Vec<u8>) {
    let mut world = World::prepared(Plan::default());
    let authority = Authority::new();
    let pair = authority.sign(&["app.example"]);
    let dir = world.keys_dir.path();
    std::fs::write(dir.join("tls.pem"), pair.pem.as_str()).unwrap();
    std::fs::write(dir.join("tls.key"), pair.key.serialize_pem()).unwrap();
    let keys = dir.to_str().unwrap();
    let tls = format!(
        "workers: 2\ntls: {{ certificates: [{{ chain: {keys}/tls.pem, key: {{ file: {keys}/tls.key }} }}] }}\n{extra}"
    );
    world.edits.push(("workers: 2", tls.leak()));
    postern::app::init_state(&world.data.join("state.redb"), &world.data.join("ledger")).unwrap();
    world.up();
    (world, authority.certificate.pem().into_bytes())
}

// GW-01
#[test]
fn over_tls_http2_is_agreed_on_and_serves_members_and_staff() {
    let (world, authority) = secure("");
    let address = world.gateway().address();
    let (agreed, peer) = Peer::secure(address, &authority, &[b"h2", b"http/1.1"]);
    assert_eq!(agreed.as_deref(), Some(&b"h2"[..]));
    let peer = peer.unwrap();
    let ask = |token: &str, host: &str| {
        let (response, _) = peer.begin_at(host, "GET", "/t/acme/orders", token, &[], true);
        peer.answer(response).unwrap()
    };
    let admin = world.people.admin("acme");
    let answer = ask(&admin, "https://app.example");
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hello"[..]));
    let agent = world.people.staff("sam");
    let refused = ask(&agent, "https://app.example");
    assert_eq!(refused.status, 403);
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    assert!(!refused.code().is_empty());
    world.start_session("acme", &agent);
    let before = world.upstream.seen().len();
    assert_eq!(ask(&agent, "https://app.example").status, 200);
    let seen = &world.upstream.seen()[before];
    assert_eq!(seen.line(), "GET /t/acme/orders HTTP/1.1");
    assert_eq!(seen.values("host"), [world.upstream.address.to_string()]);
    assert_eq!(seen.values("postern-assertion").len(), 1);
    assert_eq!(seen.values("x-remote-user"), ["sam"]);
    assert!(seen.values("authorization").is_empty());
    assert_eq!(world.last_outcome()["end"], "complete");
    let wrong = ask(&admin, "http://app.example");
    assert_eq!((wrong.status, wrong.code().as_str()), (400, "scheme_mismatch"));
    drop(peer);
    world.finish();
}

#[test]
fn who_does_not_ask_for_http2_or_where_it_is_off_gets_http1() {
    let (world, authority) = secure("");
    let (agreed, _) = Peer::secure(world.gateway().address(), &authority, &[b"http/1.1"]);
    assert_eq!(agreed.as_deref(), Some(&b"http/1.1"[..]));
    let (agreed, _) = Peer::secure(world.gateway().address(), &authority, &[]);
    assert_eq!(agreed, None);
    world.finish();
    let (world, authority) = secure("http2: never\n");
    let (agreed, _) = Peer::secure(world.gateway().address(), &authority, &[b"h2", b"http/1.1"]);
    assert_eq!(agreed.as_deref(), Some(&b"http/1.1"[..]));
    world.finish();
}

#[test]
fn a_clear_listener_speaks_one_protocol_and_never_guesses() {
    let world = World::start();
    let mut client = world.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let reply = client.reply();
    assert_eq!((reply.status, reply.code().as_str()), (400, "target_form"), "{}", reply.head);
    world.finish();
    let world = clear(Plan::default());
    let mut client = world.client();
    client.send(request("GET", "/t/acme/orders", &world.people.admin("acme"), ""));
    client.read_out();
    assert!(!client.inbox.windows(8).any(|bytes| bytes == b"HTTP/1.1"));
    assert!(world.upstream.seen().is_empty());
    world.finish();
}

#[test]
fn bodies_pass_both_ways_with_and_without_a_length() {
    let world = clear(Plan::default());
    let admin = world.people.admin("acme");
    let peer = Peer::connect(world.gateway().address());
    let body = pattern(1 << 20);
    let length = body.len().to_string();
    for more in [&[][..], &[("content-length", length.as_str())]] {
        let answer = peer.post("/t/acme/orders?do=taken", &admin, more, &body);
        assert_eq!(answer.status, 200);
        let seen = world.upstream.last();
        if more.is_empty() {
            assert_eq!(seen.values("transfer-encoding"), ["chunked"]);
        } else {
            assert_eq!(answer.body, length.as_bytes());
            assert_eq!(seen.values("content-length"), [length.as_str()]);
            assert!(seen.body == body);
        }
    }
    for deed in ["bytes", "chunked"] {
        let answer = peer.get(&format!("/t/acme/orders?do={deed}&n=1048576"), &admin);
        assert_eq!((answer.status, answer.body.len()), (200, 1 << 20));
        assert!(answer.headers.get("transfer-encoding").is_none());
        assert!(answer.headers.get("trailer").is_none() || deed == "chunked");
        if deed == "bytes" {
            let whole: Vec<u8> = pattern(64 << 10).iter().copied().cycle().take(1 << 20).collect();
            assert!(answer.body == whole);
            assert_eq!(answer.headers["content-length"], "1048576");
        }
    }
    let (response, _) = peer.begin("HEAD", "/t/acme/orders?do=head", &admin, &[], true);
    let head = peer.answer(response).unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], "5000");
    // Ended by a frame of its own, as some clients do.
    let (response, mut stream) = peer.begin("GET", "/t/acme/orders", &admin, &[], false);
    stream.send_data(bytes::Bytes::new(), true).unwrap();
    assert_eq!(peer.answer(response).unwrap().body, b"hello");
    assert!(world.upstream.last().values("transfer-encoding").is_empty());
    drop(peer);
    world.finish();
}

#[test]
fn a_client_that_expects_to_be_told_to_go_on_is_told() {
    let world = clear(Plan::default());
    let admin = world.people.admin("acme");
    let peer = Peer::connect(world.gateway().address());
    let more = [("expect", "100-continue"), ("content-length", "5")];
    let (mut response, mut stream) = peer.begin("POST", "/t/acme/orders?do=taken", &admin, &more, false);
    let interim = peer.within(std::future::poll_fn(|cx| response.poll_informational(cx)));
    assert_eq!(interim.unwrap().unwrap().status(), 100);
    stream.send_data(bytes::Bytes::from_static(b"12345"), true).unwrap();
    assert_eq!(peer.answer(response).unwrap().body, b"5");
    drop(peer);
    world.finish();
}

#[test]
fn a_hundred_streams_at_once_each_get_their_own_answer() {
    let world = clear(Plan::default());
    let admin = world.people.admin("acme");
    let peer = Peer::connect(world.gateway().address());
    for _ in 0..3 {
        let asked: Vec<_> = (0..100)
            .map(|number| {
                let target = format!("/t/acme/orders?do=echo&x={number}");
                let (response, _) = peer.begin("GET", &target, &admin, &[], true);
                (target, response)
            })
            .collect();
        for (target, response) in asked {
            let answer = peer.answer(response).unwrap();
            assert_eq!((answer.status, answer.body), (200, target.into_bytes()));
        }
    }
    drop(peer);
    world.finish();
}

#[test]
fn cookie_crumbs_arrive_as_one_line() {
    let world = clear(Plan::default());
    let admin = world.people.admin("acme");
    let peer = Peer::connect(world.gateway().address());
    let crumbs = [("cookie", "a=1"), ("x-b", "2"), ("cookie", "c=3"), ("te", "trailers")];
    assert_eq!(peer.get_with("/t/acme/orders", &admin, &crumbs).status, 200);
    let seen = world.upstream.last();
    assert_eq!(seen.values("cookie"), ["a=1; c=3"]);
    assert_eq!(seen.values("x-b"), ["2"]);
    assert!(seen.values("te").is_empty());
    drop(peer);
    world.finish();
}

#[test]
fn an_event_stream_is_handed_on_event_by_event() {
    let world = clear(Plan::default());
    let peer = Peer::connect(world.gateway().address());
    let admin = world.people.admin("acme");
    let (response, _) = peer.begin("GET", "/t/acme/orders?do=events", &admin, &[], true);
    let mut body = peer.within(response).unwrap().into_body();
    assert_eq!(peer.within(more(&mut body)).unwrap().unwrap(), &b"data: first\n\n"[..]);
    drop(body);
    drop(peer);
    world.finish();
}

#[test]
fn a_slow_reader_holds_up_its_own_stream_alone_and_is_cut_in_time() {
    let plan = Plan::default().edit("body_idle: 5s", "body_idle: 1s");
    let world = clear(plan);
    let peer = Peer::connect(world.gateway().address());
    let admin = world.people.admin("acme");
    let (response, _) = peer.begin("GET", "/t/acme/orders?do=forever", &admin, &[], true);
    let mut body = peer.within(response).unwrap().into_body();
    let began = Instant::now();
    // Nothing of it is read; another stream lives.
    let mut held = None;
    let fault = loop {
        assert_eq!(peer.get("/t/acme/orders", &admin).body, b"hello");
        let next =
            peer.rt.block_on(async { tokio::time::timeout(Duration::from_millis(20), body.data()).await });
        match next {
            Ok(Some(Ok(data))) => held = Some(data),
            Ok(Some(Err(fault))) => break fault,
            Ok(None) => panic!("an orderly end of an answer that has none"),
            Err(_) => {}
        }
        assert!(began.elapsed() < Duration::from_secs(8), "the slow reader is never cut");
    };
    assert!(held.is_some());
    assert_eq!(fault.reason(), Some(h2::Reason::CANCEL));
    assert!(
        world.upstream.notes.sent.load(std::sync::atomic::Ordering::SeqCst) < 32 << 20,
        "not all of it in memory"
    );
    drop(peer);
    world.finish();
}

#[test]
fn a_client_gone_midway_is_recorded_as_gone() {
    let world = clear(Plan::default());
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    let peer = Peer::connect(world.gateway().address());
    // One stream is let go of, the connection stays.
    let (response, mut stream) = peer.begin("GET", "/t/acme/download?do=forever", &agent, &[], true);
    let mut body = peer.within(response).unwrap().into_body();
    peer.within(more(&mut body)).unwrap().unwrap();
    stream.send_reset(h2::Reason::CANCEL);
    drop((body, stream));
    assert_eq!(world.last_outcome()["end"], "client_gone");
    // One that waits for its answer.
    let seen = world.upstream.seen().len();
    let (response, mut stream) = peer.begin("GET", "/t/acme/orders?do=stall", &agent, &[], true);
    until("it arrives", || world.upstream.seen().len() > seen);
    stream.send_reset(h2::Reason::CANCEL);
    drop((response, stream));
    assert_eq!(world.last_outcome()["end"], "client_gone");
    assert_eq!(peer.get("/t/acme/orders", &agent).status, 200);
    // The whole connection goes.
    let (response, _) = peer.begin("GET", "/t/acme/download?do=forever", &agent, &[], true);
    let mut body = peer.within(response).unwrap().into_body();
    peer.within(more(&mut body)).unwrap().unwrap();
    drop(peer);
    assert_eq!(world.last_outcome()["end"], "client_gone");
    drop(body);
    world.finish();
}

#[test]
fn an_answer_before_the_end_of_the_request_arrives_whole() {
    let world = clear(Plan::default());
    let admin = world.people.admin("acme");
    let peer = Peer::connect(world.gateway().address());
    let (response, mut stream) = peer.begin("POST", "/t/acme/orders?do=early", &admin, &[], false);
    peer.within(send_all(&mut stream, &pattern(4096), false)).unwrap();
    let answer = peer.answer(response).unwrap();
    assert_eq!((answer.status, answer.body), (413, b"big".to_vec()));
    let refused = peer.post("/t/acme/nowhere", &admin, &[], &pattern(30_000));
    assert_eq!((refused.status, refused.code().is_empty()), (403, false));
    assert_eq!(peer.get("/t/acme/orders", &admin).status, 200);
    drop(peer);
    world.finish();
}

#[test]
fn at_a_stop_open_streams_end_in_order_and_none_begins() {
    let mut world = clear(Plan::default());
    let admin = world.people.admin("acme");
    let peer = Peer::connect(world.gateway().address());
    let seen = world.upstream.seen().len();
    let (response, _) = peer.begin("GET", "/t/acme/orders?do=slow", &admin, &[], true);
    until("it arrives", || world.upstream.seen().len() > seen);
    let gateway = world.gateway.take().unwrap();
    let stopping = std::thread::spawn(move || gateway.stop());
    std::thread::sleep(Duration::from_millis(200));
    assert!(!stopping.is_finished(), "the open stream is waited for");
    // Streams that were on their way when it began are still taken; then none is.
    let begins = || {
        peer.within(async {
            match peer.try_begin("GET", "/t/acme/orders", &admin).await {
                Ok((response, _)) => response.await.is_ok(),
                Err(_) => false,
            }
        })
    };
    until("no stream begins any more", || !begins());
    let seen = world.upstream.seen().len();
    for _ in 0..5 {
        assert!(!begins(), "one began after another was refused");
    }
    assert_eq!(world.upstream.seen().len(), seen, "what is refused goes nowhere");
    world.upstream.release();
    let answer = peer.answer(response).unwrap();
    assert_eq!((answer.status, answer.body), (200, b"hello".to_vec()));
    assert!(peer.ended().is_ok(), "an orderly end");
    stopping.join().unwrap();
    world.prove();
}

#[test]
fn an_idle_connection_ends_in_order() {
    let world = clear(Plan::default().edit("drain: 3s", "keep_alive: 500ms, drain: 3s"));
    let admin = world.people.admin("acme");
    let peer = Peer::connect(world.gateway().address());
    assert_eq!(peer.get("/t/acme/orders", &admin).status, 200);
    let ended = peer.rt.block_on(async { tokio::time::timeout(Duration::from_secs(5), peer.driver).await });
    assert!(ended.expect("it ends").unwrap().is_ok());
    world.finish();
}

// GW-11
#[test]
fn a_tenant_follows_its_record_on_one_stream_of_a_connection_that_serves_others_too() {
    let world = clear(Plan::default());
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    let peer = Peer::connect(world.gateway().address());
    let (response, _) = peer.begin("GET", "/_postern/v1/tenants/acme/audit/stream", &admin, &[], true);
    let response = peer.within(response).unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    let mut events = response.into_body();
    let session = world.start_session("acme", &agent);
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(session.as_str()) {
        text.extend_from_slice(&peer.within(more(&mut events)).unwrap().unwrap());
    }
    assert_eq!(peer.get("/t/acme/orders", &admin).status, 200, "the connection goes on");
    drop(events);
    world.finish();
}
