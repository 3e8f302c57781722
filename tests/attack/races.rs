//! An end that comes at a bad moment: during the connect, during the receipt, between head and body, while a client
//! waits for `100 Continue`, twice at once, while somebody does not read.

use std::{
    future::Future,
    io::Write,
    net::TcpListener,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use postern::{
    engine::{
        Changed,
        hooks::{Hooks, Step},
    },
    lifecycle::{Command, Until, WantedBasis},
    model::Span,
};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::{client::*, world::*};

/// Holds whoever reaches a step once it is armed.
pub struct Hold {
    step: Step,
    armed: AtomicU64,
    reached: AtomicU64,
    go: Semaphore,
}

impl Hold {
    pub fn at(step: Step) -> Arc<Hold> {
        Arc::new(Hold { step, armed: AtomicU64::new(0), reached: AtomicU64::new(0), go: Semaphore::new(0) })
    }

    pub fn hooks(self: &Arc<Hold>) -> Hooks {
        let hold = Arc::clone(self);
        let at = move |step: Step| {
            let hold = Arc::clone(&hold);
            Box::pin(async move {
                let armed = |armed: u64| armed.checked_sub(1);
                if step == hold.step && hold.armed.fetch_update(SeqCst, SeqCst, armed).is_ok() {
                    hold.reached.fetch_add(1, SeqCst);
                    hold.go.acquire().await.unwrap().forget();
                }
            }) as Pin<Box<dyn Future<Output = ()> + Send>>
        };
        Hooks { at: Some(Arc::new(at)), bytes: None, ..Hooks::default() }
    }

    pub fn arm(&self, times: u64) {
        self.armed.store(times, SeqCst);
    }

    pub fn until_reached(&self, times: u64) {
        until("the step is reached", || self.reached.load(SeqCst) >= times);
    }

    pub fn let_go(&self, times: usize) {
        self.go.add_permits(times);
    }
}

fn at_rest(world: World) {
    until("the registry is empty", || world.gateway().engine().registry().is_empty());
    assert_eq!(world.gateway().engine().pending(), 0);
    world.finish();
}

/// An address that takes connections no further than the kernel's queue, and that queue is full.
fn tarpit() -> (std::net::SocketAddr, Vec<Box<dyn std::any::Any>>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let listener: TcpListener = socket.into();
    let address = listener.local_addr().unwrap();
    let mut kept: Vec<Box<dyn std::any::Any>> = Vec::new();
    for _ in 0..4 {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address.into());
        kept.push(Box::new(socket));
    }
    kept.push(Box::new(listener));
    (address, kept)
}

/// How many sockets wait for this address to take them.
fn connecting(address: std::net::SocketAddr) -> usize {
    let remote = format!(":{:04X} 02 ", address.port());
    std::fs::read_to_string("/proc/net/tcp").unwrap().matches(&remote).count()
}

#[test]
fn an_end_during_the_connect_is_an_end() {
    let (address, _kept) = tarpit();
    let plan = Plan { upstream: Some(address), ..Plan::default() };
    let world = World::of(plan.edit("connect_timeout: 1s", "connect_timeout: 60s"));
    let staff = world.people.staff("sam");
    let session = world.start_session("acme", &staff);
    let mut client = world.client();
    let waiting = connecting(address);
    client.send(request("GET", "/t/acme/orders", &staff, ""));
    // Recorded and on its way: one more socket stands in SYN_SENT towards the application.
    until("it connects", || connecting(address) > waiting);
    let before = Instant::now();
    world.done(World::end("acme", &session), &world.people.admin("acme"));
    assert!(before.elapsed() < Duration::from_millis(1500), "{:?}", before.elapsed());
    assert_ne!(client.read_out().0, Ending::Open);
    assert_eq!(world.last_outcome()["end"], "cut");
    at_rest(world);
}

// GW-07
#[test]
fn an_end_during_the_receipt_lets_nothing_out() {
    for body in ["", "Content-Length: 5\r\n\r\nhello", "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"] {
        let hold = Hold::at(Step::AccessRecorded);
        let world = World::of(Plan::default().hooks(hold.hooks()));
        world.done(World::consent("acme", "edit"), &world.people.admin("acme"));
        let staff = world.people.staff("sam");
        let session = world.start_session("acme", &staff);
        hold.arm(1);
        let mut client = world.client();
        client.send(request("POST", "/t/acme/orders", &staff, body));
        hold.until_reached(1);
        world.done(World::end("acme", &session), &world.people.admin("acme"));
        hold.let_go(1);
        let reply = client.reply();
        assert_eq!((reply.status, reply.code()), (403, "session_ended".to_owned()), "{body:?}");
        assert_eq!(world.upstream.received(), 0, "{body:?}");
        assert_eq!(world.last_outcome()["end"], "not_forwarded");
        at_rest(world);
    }
}

#[test]
fn an_end_between_head_and_body_takes_both_away() {
    // Toward the application: the client holds its body back, with and without having been told to go on.
    for more in [
        "Content-Length: 5\r\n",
        "Content-Length: 5\r\nExpect: 100-continue\r\n",
        "Transfer-Encoding: chunked\r\n",
    ] {
        let world = World::start();
        world.done(World::consent("acme", "edit"), &world.people.admin("acme"));
        let staff = world.people.staff("sam");
        let session = world.start_session("acme", &staff);
        let mut client = world.client();
        client.send(request("POST", "/t/acme/orders?do=taken", &staff, more));
        until("the head arrives", || world.upstream.seen().len() == 1);
        if more.contains("Expect") {
            assert!(client.head().starts_with("HTTP/1.1 100"));
        }
        let received = world.upstream.received();
        world.done(World::end("acme", &session), &world.people.admin("acme"));
        let _ = client.stream.write_all(b"hello");
        // Whether it is told as a reset depends on what the write above heard first.
        let (how, held) = client.read_out();
        assert!(how != Ending::Open && held == 0, "{more:?}: {how:?} {held}");
        until("the application is let go of", || world.upstream.notes.ended.load(SeqCst) == 1);
        assert_eq!(world.upstream.received(), received, "{more:?}");
        assert_eq!(world.last_outcome()["end"], "cut");
        at_rest(world);
    }
    // Toward the client: the head is out, the body is to come.
    let world = World::start();
    let staff = world.people.staff("sam");
    let session = world.start_session("acme", &staff);
    let mut client = world.client();
    client.send(request("GET", "/t/acme/orders?do=head", &staff, ""));
    client.head();
    world.done(World::end("acme", &session), &world.people.admin("acme"));
    assert_eq!(client.read_out(), (Ending::Reset, 0));
    at_rest(world);
}

#[test]
fn a_grant_withdrawn_twice_at_once_is_over_for_whoever_is_answered_first() {
    let hold = Hold::at(Step::ChangeCommitted);
    let world = World::of(Plan::default().hooks(hold.hooks()));
    let (staff, admin) = (world.people.staff("sam"), world.people.admin("acme"));
    let grant = world.make_grant("acme", "editor", Until::For(Span::Millis(3_600_000)));
    world.session_on("acme", &staff, WantedBasis::Grant(grant.clone()), None);
    let mut client = world.client();
    client.send(request("GET", "/t/acme/download?do=forever", &staff, ""));
    client.head();
    hold.arm(1);
    let withdraw = Command::WithdrawGrant { tenant: tenant("acme"), grant: grant.clone() };
    let first = {
        let engine = Arc::clone(world.gateway().engine());
        let giver = world.people.giver(&admin);
        std::thread::spawn(move || block(engine.change(withdraw, giver)))
    };
    hold.until_reached(1);
    // The first has committed and cut nothing yet; the second finds the grant withdrawn.
    let second = world.ask("DELETE", &format!("/_postern/v1/tenants/acme/grants/{grant}"), &admin, "");
    assert_eq!(second.status, 200, "{}", second.text());
    assert!(world.gateway().engine().registry().is_empty(), "answered while bytes still flow");
    assert_eq!(client.read_out().0, Ending::Reset);
    hold.let_go(1);
    assert!(matches!(first.join().unwrap(), Ok(Changed::Done { .. })));
    at_rest(world);
}

#[test]
fn many_removals_at_once_are_one_end() {
    let world = World::start();
    let (staff, admin) = (world.people.staff("sam"), world.people.admin("acme"));
    let session = world.start_session("acme", &staff);
    let mut client = world.client();
    client.send(request("GET", "/t/acme/download?do=forever", &staff, ""));
    client.head();
    let path = format!("/_postern/v1/tenants/acme/sessions/{session}");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asks: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let status = world.ask("DELETE", &path, &admin, "").status;
                    assert!(world.gateway().engine().registry().is_empty(), "answered before the cut");
                    status
                })
            })
            .collect();
        asks.into_iter().map(|ask| ask.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(client.read_out().0, Ending::Reset);
    let ends = world.of_kind("change.outcome");
    let ends = ends.iter().filter(|r| r["outcome"] == "stored" && r["events"][0]["event"] == "session_ended");
    assert_eq!(ends.count(), 1);
    at_rest(world);
}

/// Whoever does not read the gateway's own answers holds up nobody's removal.
#[test]
fn an_agent_who_does_not_read_their_errors_holds_up_no_removal() {
    let world = World::start();
    let (staff, admin) = (world.people.staff("sam"), world.people.admin("acme"));
    let session = world.start_session("acme", &staff);
    let client = Client::narrow(world.gateway().address());
    client.stream.set_write_timeout(None).unwrap();
    // As many answers as the buffers on the way take: errors until the gateway is stuck with one.
    let one = request("GET", "/t/acme/orders?do=hang-up", &staff, "");
    let mut writer = client.stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || while writer.write_all(one.as_bytes()).is_ok() {});
    let mut seen = (0, Instant::now());
    while seen.0 == 0 || seen.1.elapsed() < Duration::from_millis(700) {
        let now = world.upstream.seen().len();
        if now != seen.0 {
            seen = (now, Instant::now());
        }
        assert!(now < 20_000, "the buffers never fill");
        std::thread::sleep(Duration::from_millis(10));
    }
    let before = Instant::now();
    let ended = world.change(World::end("acme", &session), &admin);
    println!("stuck after {} requests; the removal took {:?}", seen.0, before.elapsed());
    assert!(matches!(ended, Ok(Changed::Done { .. })), "{ended:?}");
    assert!(before.elapsed() < Duration::from_millis(1500), "{:?}", before.elapsed());
    client.stream.shutdown(std::net::Shutdown::Both).unwrap();
    writing.join().unwrap();
    drop(client);
    at_rest(world);
}

#[test]
fn a_client_that_goes_away_leaves_nothing_behind() {
    type Leave = fn(&Client);
    let half: Leave = |client| client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    let reset: Leave = |client| {
        socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    };
    for (what, leave, drops) in [("half-closes", half, false), ("resets", reset, true)] {
        for deed in ["stall", "events", "forever"] {
            let world = World::start();
            let staff = world.people.staff("sam");
            world.start_session("acme", &staff);
            let mut client = world.client();
            client.send(request("GET", &format!("/t/acme/download?do={deed}"), &staff, ""));
            until("it arrives", || world.upstream.seen().len() == 1);
            leave(&client);
            if drops {
                drop(client);
            } else {
                assert_ne!(client.read_out().0, Ending::Open, "{what} {deed}");
            }
            assert_eq!(world.last_outcome()["end"], "client_gone", "{what} {deed}");
            world.upstream.release();
            until("the application hears of it", || world.upstream.notes.ended.load(SeqCst) == 1);
            at_rest(world);
        }
    }
}

/// A client that has sent much behind its request and then left is seen to have left.
#[test]
fn a_client_that_left_behind_a_heap_of_requests_is_missed() {
    let world = World::start();
    let admin = world.people.admin("acme");
    let mut client = world.client();
    client.send(request("GET", "/t/acme/download?do=events", &admin, ""));
    client.head();
    let heap = request("GET", "/t/acme/orders", &admin, "").repeat(100);
    client.send(&heap);
    drop(client);
    until("the application hears of it", || world.upstream.notes.ended.load(SeqCst) == 1);
    until("the connection is counted out", || world.gateway().counters().connections.load(SeqCst) == 0);
    at_rest(world);
}

#[test]
fn what_was_answered_has_its_outcome_when_the_gateway_stops() {
    for _ in 0..5 {
        let mut world = World::start();
        let staff = world.people.staff("sam");
        world.start_session("acme", &staff);
        let mut client = world.client();
        for _ in 0..40 {
            client.send(request("GET", "/t/acme/orders", &staff, ""));
        }
        for _ in 0..40 {
            assert_eq!(client.reply().status, 200);
        }
        assert_eq!(world.ask("GET", "/t/acme/orders", "", "").code(), "token_missing");
        drop(client);
        world.gateway.take().unwrap().stop();
        let records = world.prove();
        let complete = records.iter().filter(|r| r["kind"] == "access.outcome" && r["end"] == "complete");
        assert_eq!(complete.count(), 40);
        let counts: Vec<_> = records.iter().filter(|r| r["kind"] == "access.refusals").collect();
        assert_eq!(counts.len(), 1, "counts are written down before the end");
        assert_eq!(counts[0]["counts"][0]["reason"], json!("token_missing"));
    }
}
