//! A connection on which the application reads nothing any more: what stands in its queues when an end is answered is not
//! said afterwards (law 6).

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use super::{
    PLAIN, URL,
    application::Application,
    raw::{HEADERS, SETTINGS, application, frame},
};
use crate::{
    cuts::{counting, stands_still},
    http2::peer::{Peer, send_all},
    upstream::pattern,
    world::*,
};

/// Windows that nobody fills.
fn wide() -> Vec<u8> {
    let window = (1u32 << 30).to_be_bytes();
    let mut all = frame(SETTINGS, 0, 0, &[&[0, 4][..], &window].concat());
    all.extend(frame(8, 0, 0, &window));
    all
}

// GW-05
#[test]
fn a_request_that_is_queued_when_its_session_ends_never_comes() {
    for body in [false, true] {
        let reads = Arc::new(AtomicBool::new(true));
        let heads = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let (go, seen, done) = (Arc::clone(&reads), Arc::clone(&heads), Arc::clone(&over));
        let (address, connections) = application(move |mut line| {
            line.say(&wide())?;
            let first = line.request()?;
            seen.lock().unwrap().push(first);
            go.store(false, SeqCst);
            while !go.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            while let Some((kind, _, stream, _)) = line.frame() {
                if kind == HEADERS {
                    seen.lock().unwrap().push(stream);
                }
            }
            done.store(true, SeqCst);
            None
        });
        let (hooks, count) = counting();
        let plan = Plan { upstream: Some(address), ..Plan::default() }
            .hooks(hooks)
            .edit(URL, PLAIN)
            .edit("workers: 2", "workers: 1\nhttp2: prior_knowledge")
            .edit("response_timeout: 3s", "response_timeout: 60s")
            .edit("body_idle: 5s", "body_idle: 60s");
        let world = World::of(plan);
        let (agent, admin) = (world.people.staff("sam"), world.people.admin("acme"));
        world.done(World::consent("acme", "edit"), &admin);
        let session = world.start_session("acme", &agent);
        let peer = Peer::connect(world.gateway().address());
        // A member's upload, until nothing of it is taken any more.
        let (uploading, mut sending) = peer.begin("POST", "/t/acme/orders", &admin, &[], false);
        until("it has arrived", || !reads.load(SeqCst));
        let moved = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counter = Arc::clone(&moved);
        let pushing = peer.rt.spawn(async move {
            let piece = pattern(16 << 10);
            while send_all(&mut sending, &piece, false).await.is_ok() {
                counter.fetch_add(1, SeqCst);
                let over = std::future::poll_fn(|cx| std::task::Poll::Ready(sending.poll_reset(cx))).await;
                if over.is_ready() {
                    return;
                }
            }
        });
        stands_still(&moved, 10);
        // Staff ask on the same connection.
        let (asking, more) = match body {
            false => peer.begin("PUT", "/t/acme/orders/7", &agent, &[], true),
            true => {
                let (asking, mut more) =
                    peer.begin("PUT", "/t/acme/orders/7", &agent, &[("content-length", "5")], false);
                more.send_data(bytes::Bytes::from_static(b"hello"), true).unwrap();
                (asking, more)
            }
        };
        until("it was given to the connection", || count.load(SeqCst) > 0);
        world.done(World::end("acme", &session), &admin);
        reads.store(true, SeqCst);
        until("the application has read all there is", || {
            over.load(SeqCst) || heads.lock().unwrap().len() > 1
        });
        assert_eq!(heads.lock().unwrap().len(), 1, "the member's alone: {:?}", heads.lock().unwrap());
        assert!(peer.answer(asking).is_err());
        drop((uploading, more));
        let outcome = world.last_outcome();
        assert_eq!((&outcome["end"], &outcome["cut_by"]["reason"]), (&"cut".into(), &"session_ended".into()));
        assert_eq!(connections.load(SeqCst), 1);
        pushing.abort();
        drop(peer);
        world.finish();
    }
}

/// Ends that fall together with beginnings, on a connection that is well: nobody else's stream pays for it.
#[test]
fn ends_that_meet_beginnings_leave_the_connection_to_the_others() {
    let application = Application::start();
    let plan = Plan { upstream: Some(application.address), ..Plan::default() }
        .edit(URL, PLAIN)
        .edit("workers: 2", "workers: 1\nhttp2: prior_knowledge")
        .edit("body_idle: 5s", "body_idle: 60s")
        // One waits for its answer through all of this.
        .edit("response_timeout: 3s", "response_timeout: 60s");
    let world = World::of(plan);
    let (agent, admin) = (world.people.staff("sam"), world.people.admin("acme"));
    world.done(World::consent("acme", "edit"), &admin);
    let peer = Peer::connect(world.gateway().address());
    let (waiting, _) = peer.begin("GET", "/t/acme/orders?do=slow", &admin, &[], true);
    until("it has arrived", || application.seen().len() == 1);
    let mut told = 0;
    for _ in 0..40 {
        let session = world.start_session("acme", &agent);
        let before = application.seen().len();
        let asking: Vec<_> =
            (0..5).map(|_| peer.begin("PUT", "/t/acme/orders/7", &agent, &[], true)).collect();
        world.done(World::end("acme", &session), &admin);
        let after = application.seen().len();
        for (answer, _) in asking {
            let _ = peer.answer(answer);
        }
        told += application.seen().len() - before;
        // What the kernel had when the end was answered may still be on its way; nothing else is.
        assert!(application.seen().len() - after <= 5);
    }
    println!("{told} of 200 requests arrived");
    assert_eq!(application.connections(), 1);
    application.release(1);
    assert_eq!(peer.answer(waiting).unwrap().body, b"hello");
    drop(peer);
    world.finish();
}
