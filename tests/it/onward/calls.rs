//! What ordinary clients and gRPC clients do.

use std::time::Duration;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue};

use super::{GRPC, PLAIN, URL, application::Application, one_core, world, world_of_http1};
use crate::{
    http2::peer::{Peer, more, send_all},
    upstream::{Upstream, pattern},
    world::*,
};

/// A message as gRPC frames it.
fn message(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0u8][..], &length, bytes].concat()
}

const CALL: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];

/// One call under way.
struct Call<'p> {
    peer: &'p Peer,
    sending: SendStream<Bytes>,
    answer: Option<h2::client::ResponseFuture>,
    status: u16,
    headers: HeaderMap,
    body: Option<RecvStream>,
}

impl<'p> Call<'p> {
    fn begin(peer: &'p Peer, target: &str, token: &str) -> Call<'p> {
        let (answer, sending) = peer.begin("POST", target, token, &CALL, false);
        Call { peer, sending, answer: Some(answer), status: 0, headers: HeaderMap::new(), body: None }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.peer.within(send_all(&mut self.sending, &message(bytes), false)).unwrap();
    }

    fn end(&mut self, trailers: &[(&'static str, &'static str)]) {
        if trailers.is_empty() {
            self.sending.send_data(Bytes::new(), true).unwrap();
            return;
        }
        let mut map = HeaderMap::new();
        for (name, value) in trailers {
            map.append(*name, HeaderValue::from_static(value));
        }
        self.sending.send_trailers(map).unwrap();
    }

    fn head(&mut self) {
        let (parts, body) = self.peer.within(self.answer.take().unwrap()).unwrap().into_parts();
        (self.status, self.headers, self.body) = (parts.status.as_u16(), parts.headers, Some(body));
    }

    /// So many bytes, or all that come to the end.
    fn take(&mut self, count: Option<usize>) -> Vec<u8> {
        let body = self.body.as_mut().unwrap();
        let mut all = Vec::new();
        while count.is_none_or(|count| all.len() < count) {
            match self.peer.within(more(body)).unwrap() {
                Some(data) => all.extend_from_slice(&data),
                None => break,
            }
        }
        all
    }

    fn trailers(&mut self) -> Option<HeaderMap> {
        self.peer.within(self.body.as_mut().unwrap().trailers()).unwrap()
    }
}

#[test]
fn a_unary_call_passes_with_its_trailers_both_ways() {
    let application = Application::start();
    let world = world(&application, GRPC);
    let (agent, admin) = (world.people.staff("sam"), world.people.admin("acme"));
    world.done(World::consent("acme", "edit"), &admin);
    world.start_session("acme", &agent);
    let peer = Peer::connect(world.gateway().address());
    for token in [&admin, &agent] {
        let mut call = Call::begin(&peer, "/t/acme/orders?do=echo", token);
        call.send(b"ping");
        call.end(&[
            ("x-checksum", "7"),
            ("x-user", "root"),
            ("postern-assertion", "x"),
            ("content-length", "1"),
        ]);
        call.head();
        assert_eq!(
            (call.status, &call.headers["content-type"]),
            (200, &HeaderValue::from_static("application/grpc"))
        );
        assert_eq!(call.take(None), message(b"ping"));
        let trailers = call.trailers().expect("trailers");
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(
            (&trailers["grpc-message"], &trailers["x-custom-bin"]),
            (&"all%20well".parse().unwrap(), &"AAEC".parse().unwrap())
        );
        let seen = application.last();
        assert_eq!(seen.headers["te"], "trailers");
        assert!(!seen.headers["x-remote-user"].is_empty());
        assert!(!seen.headers.contains_key("transfer-encoding") && !seen.headers.contains_key("host"));
        // What says who somebody is, or how a message is framed, does not come in by the back door.
        let came = seen.trailers.expect("trailers came");
        assert_eq!(came.len(), 1, "{came:?}");
        assert_eq!(came["x-checksum"], "7");
    }
    // Of staff neither token nor cookies go on.
    assert!(application.seen()[0].headers.contains_key("authorization"));
    assert!(!application.seen()[1].headers.contains_key("authorization"));
    assert!(application.seen()[1].headers.contains_key("postern-assertion"));
    assert_eq!(application.connections(), 1, "one connection carries all of it");
    assert_eq!(world.last_outcome()["end"], "complete");
    drop(peer);
    world.finish();
}

// GW-01
#[test]
fn streams_of_messages_pass_in_either_direction_and_in_both() {
    let application = Application::start();
    let world = world(&application, GRPC);
    let admin = world.people.admin("acme");
    let peer = Peer::connect(world.gateway().address());
    // From the application.
    let mut call = Call::begin(&peer, "/t/acme/orders?do=count", &admin);
    call.send(b"all of them");
    call.end(&[]);
    call.head();
    assert_eq!(call.take(None).len(), 50_000);
    assert_eq!(call.trailers().unwrap()["grpc-status"], "0");
    // Both ways, in turns: each message is answered before the next is sent.
    let mut call = Call::begin(&peer, "/t/acme/orders?do=echo", &admin);
    for number in 0..20u8 {
        call.send(&[number; 100]);
        if number == 0 {
            call.head();
        }
        assert_eq!(call.take(Some(105)), message(&[number; 100]));
    }
    call.end(&[]);
    assert_eq!(call.take(None), b"");
    assert_eq!(call.trailers().unwrap()["grpc-status"], "0");
    // From the client: much, and then the answer.
    let mut call = Call::begin(&peer, "/t/acme/orders?do=hello", &admin);
    for _ in 0..50 {
        call.send(&pattern(20_000));
    }
    call.end(&[]);
    call.head();
    assert_eq!(call.take(None), b"hello");
    assert_eq!(application.received(), 50 * 20_005 + 20 * 105);
    drop(call);
    drop(peer);
    world.finish();
}

#[test]
fn an_answer_of_trailers_alone_one_without_body_and_an_early_one_arrive() {
    let application = Application::start();
    let world = world(&application, GRPC);
    let admin = world.people.admin("acme");
    let peer = Peer::connect(world.gateway().address());
    let mut call = Call::begin(&peer, "/t/acme/orders?do=trailers-only", &admin);
    call.end(&[]);
    call.head();
    assert_eq!((call.status, &call.headers["grpc-status"]), (200, &HeaderValue::from_static("5")));
    assert_eq!(call.take(None), b"");
    let mut call = Call::begin(&peer, "/t/acme/orders?do=early", &admin);
    call.send(b"one");
    call.head();
    assert_eq!(call.take(None), b"enough");
    assert_eq!(call.trailers().unwrap()["grpc-status"], "8");
    let none = peer.get("/t/acme/orders?do=none", &admin);
    assert_eq!((none.status, none.body.len()), (204, 0));
    let head = peer.begin("HEAD", "/t/acme/orders", &admin, &[], true).0;
    let head = peer.answer(head).unwrap();
    assert_eq!((head.status, &head.headers["content-length"]), (200, &HeaderValue::from_static("5")));
    let interim = peer.get("/t/acme/orders?do=interim", &admin);
    assert_eq!((interim.status, interim.body.as_slice()), (200, &b"hello"[..]));
    drop(call);
    drop(peer);
    world.finish();
}

#[test]
fn what_an_application_may_not_say_in_trailers_is_kept_back_and_without_leave_all_of_them() {
    let application = Application::start();
    for (how, passes) in [(GRPC, true), (PLAIN, false)] {
        let world = world(&application, how);
        let admin = world.people.admin("acme");
        let peer = Peer::connect(world.gateway().address());
        let mut call = Call::begin(&peer, "/t/acme/orders?do=bad-trailers", &admin);
        call.end(&[]);
        call.head();
        assert_eq!(call.take(None), b"hello");
        let trailers = call.trailers();
        if passes {
            let trailers = trailers.unwrap();
            assert_eq!(trailers.len(), 1, "{trailers:?}");
            assert_eq!(trailers["grpc-status"], "0");
        } else {
            assert!(trailers.is_none(), "{trailers:?}");
            let mut call = Call::begin(&peer, "/t/acme/orders?do=echo", &admin);
            call.end(&[("x-checksum", "7")]);
            call.head();
            call.take(None);
            assert!(application.last().trailers.is_none());
            assert!(!application.last().headers.contains_key("te"));
        }
        drop(call);
        drop(peer);
        world.finish();
    }
}

#[test]
fn a_refusal_is_told_to_a_grpc_client_as_a_problem() {
    let application = Application::start();
    let world = world(&application, GRPC);
    let peer = Peer::connect(world.gateway().address());
    for (token, status, code) in
        [(String::new(), 401, "token_missing"), (world.people.staff("sam"), 403, "session_missing")]
    {
        let mut call = Call::begin(&peer, "/t/acme/orders?do=echo", &token);
        call.head();
        assert_eq!(call.status, status);
        assert_eq!(call.headers["content-type"], "application/problem+json");
        let problem: serde_json::Value = serde_json::from_slice(&call.take(None)).unwrap();
        assert_eq!(problem["code"], code);
    }
    assert!(application.seen().is_empty());
    drop(peer);
    world.finish();
}

#[test]
fn a_client_of_http_1_gets_trailers_where_it_says_that_it_takes_them() {
    let application = Application::start();
    let world = world_of_http1(&application, GRPC);
    let admin = world.people.admin("acme");
    for (te, wanted) in [("TE: trailers\r\nConnection: TE\r\n", true), ("", false)] {
        let mut client = world.client();
        let more = format!("{te}Transfer-Encoding: chunked\r\n");
        client.send(request("POST", "/t/acme/orders?do=echo", &admin, &more));
        client.send("4\r\nping\r\n0\r\nX-Checksum: 7\r\nX-User: root\r\n\r\n");
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        while !client.inbox.ends_with(b"\r\n\r\n") {
            client.more();
        }
        let text = String::from_utf8(client.inbox.clone()).unwrap();
        if wanted {
            assert!(text.starts_with("4\r\nping\r\n0\r\n") && text.contains("grpc-status: 0\r\n"), "{text}");
        } else {
            assert_eq!(text, "4\r\nping\r\n0\r\n\r\n");
        }
        let came = application.last().trailers.unwrap();
        assert_eq!((came.len(), &came["x-checksum"]), (1, &HeaderValue::from_static("7")));
    }
    // The usual ones, one after another on a connection.
    let mut client = world.client();
    for _ in 0..3 {
        let reply = client.send(request("GET", "/t/acme/orders", &admin, "")).reply();
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
        let reply = client.send(request("HEAD", "/t/acme/orders", &admin, "")).reply_to(true);
        assert_eq!((reply.status, reply.values("content-length")), (200, vec!["5".to_owned()]));
        let body = "Content-Length: 3\r\n";
        let reply = client.send(request("POST", "/t/acme/orders", &admin, body) + "abc").reply();
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
        assert_eq!(application.last().headers["content-length"], "3");
    }
    world.finish();
}

#[test]
fn trailers_pass_through_applications_of_http_1_too_where_they_may() {
    for (edit, passes) in [("  app:\n    trailers: pass\n    url:", true), (URL, false)] {
        let upstream = Upstream::start();
        let plan = Plan { upstream: Some(upstream.address), ..Plan::default() }.edit(URL, edit);
        let world = crate::http2::peer::clear(plan);
        let admin = world.people.admin("acme");
        let peer = Peer::connect(world.gateway().address());
        let (answer, mut sending) = peer.begin("POST", "/t/acme/orders?do=taken", &admin, &[], false);
        peer.within(send_all(&mut sending, b"hello", false)).unwrap();
        let mut map = HeaderMap::new();
        map.append("x-checksum", HeaderValue::from_static("7"));
        map.append("x-user", HeaderValue::from_static("root"));
        sending.send_trailers(map).unwrap();
        assert_eq!(peer.answer(answer).unwrap().status, 200);
        let body = String::from_utf8(upstream.last().body).unwrap();
        let asked = upstream.last().values("te").concat() + &upstream.last().values("connection").concat();
        assert_eq!(asked, if passes { "trailersTE" } else { "" });
        let behind = if passes { "0\r\nx-checksum: 7\r\n\r\n" } else { "0\r\n\r\n" };
        assert_eq!(body, format!("5\r\nhello\r\n{behind}"));
        drop(peer);
        world.finish();
    }
}

#[test]
fn staff_get_no_cookie_and_nothing_that_is_kept_over_http2_either() {
    let application = Application::start();
    let world = world_of_http1(&application, PLAIN);
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    let reply = world.get("/t/acme/orders?do=cookie", &agent);
    assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
    assert!(reply.values("set-cookie").is_empty());
    assert_eq!(reply.values("cache-control"), ["no-store"]);
    assert_eq!(application.last().headers["x-remote-user"], "sam");
    world.finish();
}

#[test]
fn many_at_once_share_few_connections_and_wait_where_an_application_takes_few() {
    for most in [None, Some(2)] {
        let application = Application::of(super::application::Manner { streams: most, tls: None });
        let world = world(&application, PLAIN);
        let admin = world.people.admin("acme");
        let peer = Peer::connect(world.gateway().address());
        let begun: Vec<_> =
            (0..90).map(|_| peer.begin("GET", "/t/acme/orders", &admin, &[], true).0).collect();
        for response in begun {
            assert_eq!(peer.answer(response).unwrap().status, 200);
        }
        assert!(application.connections() <= 4, "{}", application.connections());
        drop(peer);
        world.finish();
    }
    let application = Application::of(super::application::Manner { streams: Some(1), tls: None });
    let world = world(&application, PLAIN);
    let admin = world.people.admin("acme");
    let peer = Peer::connect(world.gateway().address());
    let tokens: Vec<_> = (0..4).map(|n| world.people.member(&format!("m{n}"), "acme", &["admin"])).collect();
    let held: Vec<_> =
        tokens.iter().map(|token| peer.begin("GET", "/t/acme/orders?do=slow", token, &[], true).0).collect();
    until("all that may be had are under way", || application.seen().len() == 4);
    let answer = peer.get("/t/acme/orders", &admin);
    assert_eq!((answer.status, answer.code()), (503, "upstream_busy".to_owned()));
    application.release(4);
    for response in held {
        assert_eq!(peer.answer(response).unwrap().body, b"hello");
    }
    assert_eq!(peer.get("/t/acme/orders", &admin).status, 200);
    drop(peer);
    world.finish();
}

#[test]
fn who_reads_slowly_holds_up_nobody_else_on_the_connection() {
    let application = Application::start();
    let world = one_core(&application, PLAIN);
    let admin = world.people.admin("acme");
    let peer = Peer::connect(world.gateway().address());
    // Each holds as much as a stream may.
    let unread: Vec<_> = (0..90)
        .map(|_| {
            let (response, _) = peer.begin("GET", "/t/acme/orders?do=forever", &admin, &[], true);
            peer.within(response).unwrap().into_body()
        })
        .collect();
    until("everything on the way is full", || {
        let before = application.sent();
        std::thread::sleep(Duration::from_millis(50));
        before > 0 && application.sent() == before
    });
    let other = Peer::connect(world.gateway().address());
    for _ in 0..20 {
        assert_eq!(other.get("/t/acme/orders", &admin).status, 200);
    }
    assert_eq!(application.connections(), 1);
    drop((unread, peer, other));
    world.finish();
}
