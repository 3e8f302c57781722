//! WebSockets: granted only where the map, the client and the application agree; tunnels that end with the permit.

use std::{
    io::Write,
    net::{Shutdown, SocketAddr, TcpListener},
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use postern::{
    lifecycle::{Command, Until, WantedBasis},
    model::{GrantId, SessionId, Span},
};
use tokio_tungstenite::tungstenite::{
    Message, accept, client,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::{
    client::{Client, Ending},
    cuts::{counting, stands_still},
    world::*,
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const SOCKET: &str = "/t/acme/socket";

fn plan() -> Plan {
    Plan::default().edit(
        "routes:\n",
        "routes:\n  - { route: \"GET /t/{tenant}/socket\", permission: orders:write, upgrade: websocket, limits: { tunnel_idle: 2s } }\n  \
         - { route: \"GET /t/{tenant}/open\", permission: orders:read, upgrade: websocket, effect: read }\n",
    )
}

fn lines() -> String {
    format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
    )
}

fn asking(deed: &str, token: &str) -> String {
    request("GET", &format!("{SOCKET}?do={deed}"), token, &lines())
}

/// A world whose tenant consents to everything, with an agent inside.
fn staffed(plan: Plan) -> (World, String, SessionId) {
    let world = World::of(plan);
    world.done(World::consent("acme", "full"), &world.people.admin("acme"));
    let agent = world.people.staff("sam");
    let session = world.start_session("acme", &agent);
    (world, agent, session)
}

/// An open tunnel to that deed.
fn open(world: &World, deed: &str, token: &str) -> Client {
    let mut client = world.client();
    client.send(asking(deed, token));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    client
}

fn expect(client: &mut Client, bytes: &[u8]) {
    while client.inbox.len() < bytes.len() {
        assert_eq!(client.more(), Ending::Open, "only {:?}", client.inbox);
    }
    let came: Vec<u8> = client.inbox.drain(..bytes.len()).collect();
    assert_eq!(came, bytes);
}

/// An application that echoes messages.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut socket = accept(stream.unwrap()).unwrap();
                while let Ok(message) = socket.read() {
                    if message.is_text() || message.is_binary() {
                        socket.send(message).unwrap();
                    }
                }
            });
        }
    });
    address
}

// GW-01
#[test]
fn messages_of_every_kind_and_size_come_back_as_they_were() {
    let (world, agent, _) = staffed(Plan { upstream: Some(echo()), ..plan() });
    for token in [agent, world.people.admin("acme")] {
        let stream = world.client().stream;
        let uri = format!("ws://app.example{SOCKET}");
        let asked = tokio_tungstenite::tungstenite::ClientRequestBuilder::new(uri.parse().unwrap())
            .with_header("Authorization", format!("Bearer {token}"));
        let (mut socket, answer) = client(asked, stream).unwrap();
        assert_eq!(answer.status(), 101);
        for size in [0usize, 1, 125, 126, 1023, 1024, 1025, 16 << 10, 65_535, 65_536, 3 << 20] {
            let binary = Message::binary(crate::upstream::pattern(size));
            socket.send(binary.clone()).unwrap();
            assert_eq!(socket.read().unwrap(), binary, "{size}");
            let text = Message::text("ä".repeat(size / 2));
            socket.send(text.clone()).unwrap();
            assert_eq!(socket.read().unwrap(), text, "{size}");
        }
        socket.send(Message::Ping(b"there?".to_vec().into())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::Pong(b"there?".to_vec().into()));
        let frame = CloseFrame { code: CloseCode::Normal, reason: "enough".into() };
        socket.close(Some(frame.clone())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::Close(Some(frame)));
        assert!(socket.read().is_err(), "and then it is closed");
    }
    let outcome = world.last_outcome();
    assert_eq!((&outcome["status"], &outcome["end"]), (&101.into(), &"complete".into()), "{outcome}");
    assert!(outcome["sent"].as_u64().unwrap() > 6 << 20, "{outcome}");
    assert!(outcome["received"].as_u64().unwrap() > 6 << 20, "{outcome}");
    world.finish();
}

#[test]
fn the_handshake_is_ours_on_both_sides_and_keeps_the_secrets_of_staff() {
    let (world, agent, _) = staffed(plan());
    let mut client = world.client();
    let more = format!("{}Sec-WebSocket-Protocol: chat\r\nCookie: a=b\r\nX-User: root\r\n", lines());
    client.send(request("GET", &format!("{SOCKET}?do=socket"), &agent, &more));
    let head = client.head();
    assert!(head.contains(&format!("\r\nSec-WebSocket-Accept: {ACCEPT}\r\n")), "{head}");
    assert!(head.contains("\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"), "{head}");
    assert!(!head.contains("Set-Cookie"), "{head}");
    let seen = world.upstream.last();
    assert_eq!(seen.values("Connection"), ["upgrade"]);
    assert_eq!(seen.values("Upgrade"), ["websocket"]);
    assert_eq!(seen.values("Sec-WebSocket-Key"), [KEY]);
    assert_eq!(seen.values("Sec-WebSocket-Protocol"), ["chat"]);
    assert_eq!(seen.values("X-Remote-User"), ["sam"]);
    for gone in ["Authorization", "Cookie", "X-User"] {
        assert!(seen.values(gone).is_empty(), "{gone}");
    }
    client.send("over");
    expect(&mut client, b"over");
    // Its end is handed on, and what the application says to it comes back.
    client.stream.shutdown(Shutdown::Write).unwrap();
    expect(&mut client, b"bye");
    assert_eq!(client.more(), Ending::Closed);
    let outcome = world.last_outcome();
    assert_eq!(
        (&outcome["end"], &outcome["received"], &outcome["sent"]),
        (&"complete".into(), &4.into(), &7.into()),
        "{outcome}"
    );
    world.finish();
}

#[test]
fn the_first_words_of_an_application_come_behind_its_head() {
    let (world, agent, _) = staffed(plan());
    let mut client = open(&world, "socket-brief", &agent);
    expect(&mut client, b"first and last");
    assert_eq!(client.more(), Ending::Closed);
    drop(client);
    let outcome = world.last_outcome();
    assert_eq!((&outcome["end"], &outcome["sent"]), (&"complete".into(), &14.into()), "{outcome}");
    world.finish();
}

#[test]
fn nothing_behind_a_handshake_reaches_an_application_that_has_not_switched() {
    let (world, agent, _) = staffed(plan());
    let mut client = world.client();
    let smuggled = "DELETE /t/acme/everything HTTP/1.1\r\nHost: app.example\r\n\r\n";
    client.send(format!("{}{smuggled}", asking("socket-later", &agent)));
    until("it arrives", || world.upstream.seen().len() == 1);
    client.send("more of it");
    std::thread::sleep(Duration::from_millis(50));
    let head = world.upstream.last().head.len() as u64;
    assert_eq!(world.upstream.received(), head, "the handshake and nothing else");
    world.upstream.release();
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    expect(&mut client, format!("{smuggled}more of it").as_bytes());
    assert_eq!(world.upstream.seen().len(), 1);
    drop(client);
    world.finish();
}

#[test]
fn behind_a_handshake_that_was_not_granted_stand_ordinary_requests() {
    let (world, agent, _) = staffed(plan());
    let mut client = world.client();
    let behind = request("DELETE", "/t/acme/everything", &agent, "");
    client.send(format!("{}{behind}", asking("hello", &agent)));
    assert_eq!(client.reply().status, 200, "an answer like any other");
    assert_eq!(client.reply().code(), "route_unmapped", "decided by itself");
    client.send(request("GET", "/t/acme/orders", &agent, ""));
    assert_eq!(client.reply().status, 200);
    assert_eq!(world.upstream.seen().len(), 2);
    assert_eq!(world.upstream.notes.connections.load(SeqCst), 1, "and the connection serves on");
    world.finish();
}

#[test]
fn a_101_that_grants_something_else_is_no_answer() {
    let (world, agent, _) = staffed(plan());
    for (number, deed) in ["socket-wrong", "socket-other", "switch"].into_iter().enumerate() {
        let mut client = world.client();
        client.send(asking(deed, &agent));
        let reply = client.reply();
        assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_upgrade_wrong"), "{deed}");
        until("its connection is gone", || world.upstream.notes.ended.load(SeqCst) == number as u64 + 1);
        assert_eq!(world.last_outcome()["end"], "upstream_failed", "{deed}");
    }
    world.finish();
}

#[test]
fn a_101_that_nobody_asked_for_is_no_answer() {
    let (world, agent, _) = staffed(plan());
    let h2c = lines().replace("websocket", "h2c");
    let both = lines().replace("websocket", "websocket, h2c");
    for (target, more) in [
        ("/t/acme/socket?do=socket", format!("Sec-WebSocket-Key: {KEY}\r\n")),
        ("/t/acme/socket?do=socket", h2c),
        ("/t/acme/socket?do=socket", both),
        ("/t/acme/orders?do=socket", lines()),
    ] {
        let reply = world.ask("GET", target, &agent, &more);
        assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_switched_unasked"), "{more}");
        let seen = world.upstream.last();
        assert!(seen.values("Upgrade").is_empty() && seen.values("Connection").is_empty(), "{}", seen.head);
    }
    for malformed in [lines().replace("13", "12"), lines().replace(KEY, "c2hvcnQ=")] {
        let before = world.upstream.seen().len();
        let reply = world.ask("GET", SOCKET, &agent, &malformed);
        assert_eq!((reply.status, reply.code().as_str()), (400, "upgrade_malformed"), "{malformed}");
        assert_eq!(world.upstream.seen().len(), before);
        assert_eq!(world.last_outcome()["end"], "not_forwarded");
    }
    world.finish();
}

#[test]
fn a_page_of_another_origin_opens_nothing_with_a_members_cookie() {
    let cors = "tenants:\n  from: { path: tenant }\n";
    let plan = plan().edit("kind: member", "kind: member\n    cookie: __Host-token").edit(
        cors,
        "cors: { origins: [\"https://shop.example\"], credentials: true }\ntenants:\n  from: { path: tenant }\n",
    );
    let world = World::of(plan);
    let admin = world.people.admin("acme");
    let ask = |token: &str, more: &str| {
        let mut client = world.client();
        client.send(request(
            "GET",
            &format!("{SOCKET}?do=socket-brief"),
            token,
            &format!("{}{more}", lines()),
        ));
        client.reply()
    };
    let cookie = format!("Cookie: __Host-token={admin}\r\n");
    for origin in [
        "",
        "Origin: https://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: https://app.example.evil.example\r\n",
        "Origin: https://evil.example\r\nSec-Fetch-Site: same-origin\r\n",
        "Origin: app.example\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        let refused = ask("", &format!("{cookie}{origin}"));
        assert_eq!((refused.status, refused.code().as_str()), (403, "upgrade_origin"), "{origin}");
    }
    assert_eq!(world.upstream.seen().len(), 0);
    for origin in [
        "Origin: https://app.example\r\n",
        "Origin: https://shop.example\r\n",
        "Sec-Fetch-Site: same-origin\r\n",
    ] {
        assert_eq!(ask("", &format!("{cookie}{origin}")).status, 101, "{origin}");
    }
    // Whoever brings a token by hand is no page that uses somebody else's cookie.
    assert_eq!(ask(&admin, "Origin: https://evil.example\r\n").status, 101);
    world.finish();
}

/// What runs in a tunnel when the end comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Echo,
    Down,
    /// The client reads nothing.
    FullDown,
    /// The application reads nothing.
    FullUp,
}

fn cut(
    reason: &str,
    plan: fn() -> Plan,
    code: &str,
    deed: fn(&World, &SessionId),
    begin: fn(&World) -> SessionId,
) {
    for run in [Run::Echo, Run::Down, Run::FullDown, Run::FullUp] {
        let (hooks, count) = counting();
        let world = World::of(plan().hooks(hooks));
        let agent = world.people.staff("sam");
        let session = begin(&world);
        let (does, narrow) = match run {
            Run::Echo => ("socket", false),
            Run::Down => ("socket-forever", false),
            Run::FullDown => ("socket-forever", true),
            Run::FullUp => ("socket-stall", false),
        };
        let mut client = match narrow {
            true => Client::narrow(world.gateway().address()),
            false => world.client(),
        };
        client.send(asking(does, &agent));
        if !narrow {
            assert!(client.head().starts_with("HTTP/1.1 101 "));
        }
        let mut writer = None;
        match run {
            Run::Echo => {
                client.send("over");
                expect(&mut client, b"over");
                until("counted", || count.load(SeqCst) >= 8);
                stands_still(&count, 8);
            }
            Run::Down => until("bytes flow", || count.load(SeqCst) > 100_000),
            Run::FullDown => stands_still(&count, 10_000),
            Run::FullUp => {
                let mut stream = client.stream.try_clone().unwrap();
                writer = Some(std::thread::spawn(move || {
                    loop {
                        if let Err(fault) = stream.write_all(&[7; 16 << 10]) {
                            return fault.kind();
                        }
                    }
                }));
                stands_still(&count, 10_000);
            }
        }
        let gone = world.upstream.notes.resets.load(SeqCst) + world.upstream.notes.ended.load(SeqCst);
        deed(&world, &session);
        let answered = count.load(SeqCst);
        let (how, _) = client.read_out();
        let written = writer.map(|writer| writer.join().unwrap());
        assert!(
            how == Ending::Reset || written == Some(std::io::ErrorKind::ConnectionReset),
            "{run:?}: a tunnel that is cut is reset: {how:?}, {written:?}"
        );
        let outcome = world.last_outcome();
        assert_eq!(count.load(SeqCst), answered, "{reason}, {run:?}: bytes passed after the answer");
        assert_eq!((&outcome["end"], &outcome["status"]), (&"cut".into(), &101.into()), "{run:?}: {outcome}");
        assert_eq!(outcome["cut_by"]["reason"], code, "{run:?}: {outcome}");
        world.upstream.release();
        until("the application sees it too", || {
            world.upstream.notes.resets.load(SeqCst) + world.upstream.notes.ended.load(SeqCst) > gone
        });
        println!("{run:?} on {reason}: 0 bytes after the answer, {} before", answered);
        world.finish();
    }
}

fn by_consent(world: &World) -> SessionId {
    world.done(World::consent("acme", "full"), &world.people.admin("acme"));
    world.start_session("acme", &world.people.staff("sam"))
}

#[test]
fn a_removal_cuts_tunnels_before_it_is_answered() {
    cut(
        "removal",
        plan,
        "session_ended",
        |world, session| world.done(World::end("acme", session), &world.people.admin("acme")),
        by_consent,
    );
}

#[test]
fn consent_that_is_lowered_cuts_tunnels_that_it_no_longer_reaches() {
    cut(
        "lowered consent",
        || plan().edit("  default: read_only", "  default: read_only\n  on_lower: immediate"),
        "consent_lowered",
        |world, _| world.done(World::consent("acme", "read_only"), &world.people.admin("acme")),
        by_consent,
    );
}

#[test]
fn consent_that_is_taken_back_cuts_tunnels() {
    cut(
        "consent taken back",
        plan,
        "consent_withdrawn",
        |world, _| world.done(World::consent("acme", "block"), &world.people.admin("acme")),
        by_consent,
    );
}

#[test]
fn a_grant_that_is_withdrawn_cuts_tunnels_under_it() {
    cut(
        "withdrawn grant",
        plan,
        "grant_withdrawn",
        |world, _| {
            let records = serde_json::to_string(&world.records()).unwrap();
            let at = records.rfind("gra_").expect("a grant");
            let grant = &records[at..at + "gra_".len() + 32];
            let grant = GrantId::new(grant).unwrap();
            let command = Command::WithdrawGrant { tenant: tenant("acme"), grant };
            world.done(command, &world.people.admin("acme"));
        },
        |world| {
            let grant = world.make_grant("acme", "editor", Until::For(Span::Millis(3_600_000)));
            let agent = world.people.staff("sam");
            world.session_on("acme", &agent, WantedBasis::Grant(grant), None)
        },
    );
}

// GW-05
#[test]
fn a_tunnel_ends_with_its_session_and_at_max_exchange() {
    for (longest, reason) in [("8h", "session_expired"), ("10m", "exchange_too_long")] {
        let clock = ManualClock::at(NOON);
        let (hooks, count) = counting();
        let edit: &'static str = format!("sessions: {{ last: 8h, max_exchange: {longest} }}").leak();
        let plan = plan().edit("sessions: { last: 8h }", edit).clock(&clock).hooks(hooks);
        let (world, agent, _) = staffed(plan);
        let mut client = open(&world, "socket", &agent);
        client.send("over");
        expect(&mut client, b"over");
        until("counted", || count.load(SeqCst) >= 8);
        stands_still(&count, 8);
        let before = count.load(SeqCst);
        clock.advance(8 * 3_600_000);
        let _ = client.stream.write_all(b"too late");
        let (how, came) = client.read_out();
        assert_eq!((how, came), (Ending::Reset, 0), "{reason}");
        let outcome = world.last_outcome();
        assert_eq!(count.load(SeqCst), before, "{reason}");
        assert_eq!(outcome["cut_by"]["reason"], reason, "{outcome}");
        world.finish();
    }
}

#[test]
fn a_silent_tunnel_is_closed_and_a_busy_one_is_not() {
    let (world, agent, _) = staffed(plan());
    let mut busy = open(&world, "socket", &agent);
    let began = Instant::now();
    // Longer than it may be silent; each word resets the time for both directions.
    while began.elapsed() < Duration::from_millis(3000) {
        busy.send("x");
        expect(&mut busy, b"x");
        std::thread::sleep(Duration::from_millis(200));
    }
    let since = Instant::now();
    assert_eq!(busy.more(), Ending::Closed);
    let silent = since.elapsed();
    assert!(silent > Duration::from_millis(1500) && silent < Duration::from_secs(6), "{silent:?}");
    let outcome = world.last_outcome();
    assert_eq!((&outcome["end"], &outcome["fault"]), (&"cut".into(), &"tunnel_idle".into()), "{outcome}");
    world.finish();
}

#[test]
fn a_reader_that_is_slow_loses_nothing() {
    let (world, agent, _) = staffed(plan());
    let mut client = Client::narrow(world.gateway().address());
    client.send(asking("socket", &agent));
    client.head();
    let sent = crate::upstream::pattern(1 << 20);
    let mut stream = client.stream.try_clone().unwrap();
    let piece = sent.clone();
    let writer = std::thread::spawn(move || stream.write_all(&piece).unwrap());
    let mut came = Vec::new();
    while came.len() < sent.len() {
        if came.len() < 64 << 10 {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(client.more(), Ending::Open, "{}", came.len());
        came.append(&mut client.inbox);
    }
    writer.join().unwrap();
    assert!(came == sent, "the same bytes in the same order");
    drop(client);
    world.finish();
}

#[test]
fn a_client_that_vanishes_takes_its_tunnel_along() {
    let (world, agent, _) = staffed(plan());
    let client = open(&world, "socket", &agent);
    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    until("the application hears of it", || world.upstream.notes.ended.load(SeqCst) == 1);
    assert_eq!(world.last_outcome()["end"], "client_gone");
    world.finish();
}

#[test]
fn a_stop_waits_for_tunnels_and_cuts_what_does_not_end() {
    let (mut world, agent, _) = staffed(plan().edit("tunnel_idle: 2s", "tunnel_idle: 1h"));
    let member = world.people.admin("acme");
    let mut tunnels: Vec<Client> = (0..200)
        .map(|number| open(&world, "socket", if number % 2 == 0 { &agent } else { &member }))
        .collect();
    let gateway = world.gateway.take().unwrap();
    let began = Instant::now();
    let stopping = std::thread::spawn(move || gateway.stop());
    // They are served on while the gateway waits for them.
    for (number, tunnel) in tunnels.iter_mut().enumerate() {
        tunnel.send("still there?");
        expect(tunnel, b"still there?");
        if number < 150 {
            tunnel.stream.shutdown(Shutdown::Write).unwrap();
            expect(tunnel, b"bye");
            assert_eq!(tunnel.more(), Ending::Closed);
        }
    }
    assert!(!stopping.is_finished(), "some still run");
    for tunnel in &mut tunnels[150..] {
        assert_eq!(tunnel.more(), Ending::Reset);
    }
    stopping.join().unwrap();
    let took = began.elapsed();
    assert!(took > Duration::from_millis(2900) && took < Duration::from_secs(8), "{took:?}");
    let records = world.prove();
    let outcomes: Vec<_> = records.iter().filter(|record| record["kind"] == "access.outcome").collect();
    let of = |end: &str| outcomes.iter().filter(|outcome| outcome["end"] == end).count();
    assert_eq!((of("complete"), of("cut")), (75, 25), "of staff: {outcomes:?}");
}
