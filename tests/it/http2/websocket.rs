//! WebSockets over HTTP/2 (RFC 8441): granted like those over HTTP/1.1, one stream each, cut alone.

use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use postern::model::SessionId;

use super::peer::{Answer, Peer, clear, more, send_all};
use crate::{
    cuts::{counting, stands_still},
    upstream::pattern,
    world::*,
};

const SOCKET: &str = "/t/acme/socket";

pub fn plan() -> Plan {
    Plan::default().edit(
        "routes:\n",
        "routes:\n  - { route: \"GET /t/{tenant}/socket\", permission: orders:write, upgrade: websocket, limits: { tunnel_idle: 2s } }\n",
    )
}

/// A world whose tenant consents to everything, with an agent inside, and a client.
fn staffed(plan: Plan) -> (World, String, SessionId, Peer) {
    let world = clear(plan);
    world.done(World::consent("acme", "full"), &world.people.admin("acme"));
    let agent = world.people.staff("sam");
    let session = world.start_session("acme", &agent);
    let peer = Peer::connect(world.gateway().address());
    (world, agent, session, peer)
}

/// An open tunnel to that deed.
fn open(peer: &Peer, deed: &str, token: &str) -> (SendStream<Bytes>, RecvStream) {
    let (response, send) = peer.tunnel(&format!("{SOCKET}?do={deed}"), token, &[]);
    let answer = peer.within(response).unwrap();
    assert_eq!(answer.status(), 200);
    (send, answer.into_body())
}

fn refused(peer: &Peer, target: &str, token: &str) -> Answer {
    let (response, _send) = peer.tunnel(target, token, &[]);
    peer.answer(response).unwrap()
}

async fn expect(body: &mut RecvStream, wanted: &[u8]) {
    let mut came = Vec::new();
    while came.len() < wanted.len() {
        came.extend(more(body).await.unwrap().expect("more of it"));
    }
    assert_eq!(came, wanted);
}

/// Whether nothing more comes than an end in order.
async fn in_order(body: &mut RecvStream) -> bool {
    loop {
        match more(body).await {
            Ok(Some(data)) if data.is_empty() => {}
            Ok(None) => return true,
            Ok(Some(_)) | Err(_) => return false,
        }
    }
}

#[test]
fn members_and_staff_speak_through_a_stream_and_the_record_says_so() {
    let (world, agent, _, peer) = staffed(plan());
    for token in [world.people.admin("acme"), agent.clone()] {
        let offered = [
            ("sec-websocket-protocol", "chat.v1, chat.v2"),
            ("sec-websocket-extensions", "permessage-deflate"),
        ];
        let (response, mut send) = peer.tunnel(&format!("{SOCKET}?do=socket-spoken"), &token, &offered);
        let answer = peer.within(response).unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["sec-websocket-protocol"], "chat.v2");
        for of_http_1 in ["sec-websocket-accept", "upgrade", "connection"] {
            assert!(!answer.headers().contains_key(of_http_1), "{of_http_1}");
        }
        let mut body = answer.into_body();
        let sent = pattern(300_000);
        let piece = sent.clone();
        let sending = peer.rt.spawn(async move {
            send_all(&mut send, &piece, false).await.unwrap();
            send
        });
        peer.within(expect(&mut body, &sent));
        let mut send = peer.within(sending).unwrap();
        // One half ends, the other says goodbye, and both have ended in order.
        send.send_data(Bytes::new(), true).unwrap();
        peer.within(expect(&mut body, b"bye"));
        assert!(peer.within(in_order(&mut body)));
        let seen = world.upstream.last();
        assert_eq!(seen.line(), format!("GET {SOCKET}?do=socket-spoken HTTP/1.1"));
        assert_eq!(seen.values("sec-websocket-version"), ["13"]);
        assert_eq!(seen.values("upgrade"), ["websocket"]);
        assert_eq!(seen.values("authorization").is_empty(), token == agent);
        assert_eq!(seen.values("postern-assertion").len(), usize::from(token == agent));
    }
    let outcome = world.last_outcome();
    assert_eq!((&outcome["end"], &outcome["status"]), (&"complete".into(), &101.into()), "{outcome}");
    assert_eq!((&outcome["received"], &outcome["sent"]), (&300_000.into(), &300_003.into()));
    drop(peer);
    world.finish();
}

#[test]
fn a_tunnel_is_offered_only_where_some_route_may_become_one() {
    let world = clear(Plan::default());
    let peer = Peer::connect(world.gateway().address());
    assert_eq!(peer.get("/public/page", "").status, 200);
    assert!(!peer.offers_tunnels());
    drop(peer);
    world.finish();
}

#[test]
fn what_the_application_does_not_open_is_never_taken_for_open() {
    let (world, agent, _, peer) = staffed(plan());
    for (deed, status, code) in [
        ("hello", 502, "upstream_upgrade_refused"),
        ("forever", 502, "upstream_upgrade_refused"),
        ("socket-wrong", 502, "upstream_upgrade_wrong"),
        ("socket-other", 502, "upstream_upgrade_wrong"),
        ("hang-up", 502, "upstream_closed"),
    ] {
        let answer = refused(&peer, &format!("{SOCKET}?do={deed}"), &agent);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{deed}");
        assert_eq!(world.last_outcome()["end"], "upstream_failed", "{deed}");
    }
    // Its own refusal passes as it is.
    assert_eq!(refused(&peer, &format!("{SOCKET}?do=negotiate"), &agent).status, 401);
    let before = world.upstream.seen().len();
    let stranger = world.people.staff("pat");
    assert_eq!(refused(&peer, SOCKET, &stranger).code(), "session_missing");
    let answer = refused(&peer, "/t/acme/orders", &agent);
    assert_eq!((answer.status, answer.code().as_str()), (501, "upgrade_unsupported"));
    assert_eq!(world.last_outcome()["end"], "not_forwarded");
    assert_eq!(world.upstream.seen().len(), before);
    drop(peer);
    world.finish();
}

#[test]
fn what_comes_before_the_tunnel_is_granted_is_kept_back_and_never_a_request() {
    let (world, agent, _, peer) = staffed(plan());
    let smuggled = b"DELETE /t/acme/everything HTTP/1.1\r\nHost: app.example\r\n\r\n";
    let (response, mut send) = peer.tunnel(&format!("{SOCKET}?do=socket-later"), &agent, &[]);
    peer.within(send_all(&mut send, smuggled, false)).unwrap();
    until("it arrives", || world.upstream.seen().len() == 1);
    assert_eq!(peer.get("/t/acme/orders", &agent).status, 200);
    world.upstream.release();
    let mut body = peer.within(response).unwrap().into_body();
    peer.within(expect(&mut body, smuggled));
    // And where it is not granted, it is thrown away.
    let (response, mut send) = peer.tunnel(&format!("{SOCKET}?do=hello"), &agent, &[]);
    let _ = peer.within(send_all(&mut send, smuggled, false));
    assert_eq!(peer.answer(response).unwrap().status, 502);
    assert_eq!(peer.get("/t/acme/orders", &agent).status, 200);
    let lines: Vec<String> = world.upstream.seen().iter().map(|seen| seen.line().to_owned()).collect();
    assert!(lines.iter().all(|line| line.starts_with("GET ")), "{lines:?}");
    drop((send, body, peer));
    world.finish();
}

#[test]
fn a_removal_resets_the_tunnels_of_its_session_with_every_buffer_full_and_no_other_stream() {
    let (hooks, count) = counting();
    let (world, agent, session, peer) =
        staffed(plan().edit("tunnel_idle: 2s", "tunnel_idle: 1h").hooks(hooks));
    let admin = world.people.admin("acme");
    // A member's tunnel and a member's download, which go on.
    let (mut of_member, mut to_member) = open(&peer, "socket", &admin);
    let (response, _) = peer.begin("GET", "/t/acme/orders?do=forever", &admin, &[], true);
    let mut download = peer.within(response).unwrap().into_body();
    // Staff: one that speaks, one whose client reads nothing, one whose application reads nothing.
    let (mut speaks, mut hears) = open(&peer, "socket", &agent);
    peer.within(send_all(&mut speaks, b"over", false)).unwrap();
    peer.within(expect(&mut hears, b"over"));
    let (_unread_send, mut unread) = open(&peer, "socket-forever", &agent);
    let (mut stalled, mut of_stalled) = open(&peer, "socket-stall", &agent);
    let filling = peer.rt.spawn(async move {
        loop {
            if let Err(fault) = send_all(&mut stalled, &pattern(16 << 10), false).await {
                return fault;
            }
            let reset = std::future::poll_fn(|cx| std::task::Poll::Ready(stalled.poll_reset(cx))).await;
            if let std::task::Poll::Ready(reset) = reset {
                return h2::Error::from(reset.unwrap());
            }
        }
    });
    stands_still(&count, 50_000);
    world.done(World::end("acme", &session), &admin);
    let at_answer = count.load(SeqCst);
    for body in [&mut hears, &mut unread, &mut of_stalled] {
        let fault = loop {
            match peer.within(more(body)) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("an orderly end"),
                Err(fault) => break fault,
            }
        };
        assert_eq!(fault.reason(), Some(Reason::CANCEL));
    }
    assert_eq!(peer.within(filling).unwrap().reason(), Some(Reason::CANCEL));
    peer.within(send_all(&mut of_member, b"still here", false)).unwrap();
    peer.within(expect(&mut to_member, b"still here"));
    let mut on = 0;
    while on < 1 << 20 {
        on += peer.within(more(&mut download)).unwrap().unwrap().len();
    }
    assert_eq!(count.load(SeqCst), at_answer, "no byte of staff passes behind the answer");
    println!("{at_answer} bytes before, 0 behind");
    let cut: Vec<_> =
        world.of_kind("access.outcome").into_iter().filter(|record| record["end"] == "cut").collect();
    assert_eq!(cut.len(), 3, "{cut:?}");
    assert!(
        cut.iter().all(|record| record["cut_by"]["reason"] == "session_ended" && record["status"] == 101)
    );
    world.upstream.release();
    drop((download, of_member, to_member, peer));
    world.finish();
}

#[test]
fn a_client_that_takes_nothing_is_held_little_for() {
    let (world, agent, _, _) =
        staffed(plan().edit("tunnel_idle: 2s", "tunnel_idle: 1h").edit("body_idle: 5s", "body_idle: 1s"));
    let peer = Peer::with_window(world.gateway().address(), 16 << 10);
    for token in [world.people.admin("acme"), agent] {
        let before = world.upstream.notes.sent.load(SeqCst);
        let (_send, mut body) = open(&peer, "socket-forever", &token);
        let began = Instant::now();
        // A piece that is not taken within `body_idle` ends it; meanwhile the application waits.
        let fault = peer.within(async {
            tokio::time::sleep(Duration::from_millis(2500)).await;
            loop {
                match body.data().await {
                    Some(Ok(_)) => {}
                    Some(Err(fault)) => return fault,
                    None => panic!("an orderly end"),
                }
            }
        });
        assert_eq!(fault.reason(), Some(Reason::CANCEL));
        let sent = world.upstream.notes.sent.load(SeqCst) - before;
        println!("{sent} bytes left the application in {:?}", began.elapsed());
        assert!(sent < 16 << 20, "not all of it in memory: {sent}");
    }
    assert_eq!(world.last_outcome()["fault"], "client_reads_too_slowly");
    drop(peer);
    world.finish();
}

#[test]
fn a_silent_tunnel_is_ended_and_one_whose_client_goes_takes_the_application_along() {
    let (world, agent, _, peer) = staffed(plan());
    let (_send, mut body) = open(&peer, "socket", &agent);
    let began = Instant::now();
    assert!(peer.within(in_order(&mut body)), "nothing is under way");
    assert!(began.elapsed() > Duration::from_millis(1500), "{:?}", began.elapsed());
    assert_eq!(world.last_outcome()["fault"], "tunnel_idle");
    let (send, body) = open(&peer, "socket", &agent);
    let ended = world.upstream.notes.ended.load(SeqCst) + world.upstream.notes.resets.load(SeqCst);
    drop((send, body));
    until("the application hears of it", || {
        world.upstream.notes.ended.load(SeqCst) + world.upstream.notes.resets.load(SeqCst) > ended
    });
    assert_eq!(world.last_outcome()["end"], "client_gone");
    assert_eq!(peer.get("/t/acme/orders", &agent).status, 200);
    drop(peer);
    world.finish();
}

#[test]
fn a_stop_waits_for_tunnels_of_streams_and_cuts_what_does_not_end() {
    let (mut world, agent, _, peer) = staffed(plan().edit("tunnel_idle: 2s", "tunnel_idle: 1h"));
    let (mut ends, mut of_ends) = open(&peer, "socket", &agent);
    let (_stays, mut of_stays) = open(&peer, "socket", &agent);
    let gateway = world.gateway.take().unwrap();
    let began = Instant::now();
    let stopping = std::thread::spawn(move || gateway.stop());
    std::thread::sleep(Duration::from_millis(300));
    peer.within(send_all(&mut ends, b"still there?", false)).unwrap();
    peer.within(expect(&mut of_ends, b"still there?"));
    ends.send_data(Bytes::new(), true).unwrap();
    peer.within(expect(&mut of_ends, b"bye"));
    assert!(!stopping.is_finished(), "one still runs");
    assert!(peer.within(more(&mut of_stays)).is_err(), "cut, not ended");
    stopping.join().unwrap();
    let took = began.elapsed();
    assert!(took > Duration::from_millis(2900) && took < Duration::from_secs(8), "{took:?}");
    let records = world.prove();
    let of = |end: &str| {
        let outcomes = records.iter().filter(|record| record["kind"] == "access.outcome");
        outcomes.filter(|record| record["end"] == end).count()
    };
    assert_eq!((of("complete"), of("cut")), (1, 1));
}
