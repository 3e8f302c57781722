//! What stands between receipt and forwarding when the end comes.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use postern::engine::hooks::{Hooks, Step};
use rustix::process::Signal;

use crate::{
    child::{Child, sleep_past},
    client::{Client, Ending},
    world::*,
};

/// A place where a gateway is held once, when armed.
#[derive(Clone)]
pub struct Hold {
    armed: Arc<AtomicBool>,
    reached: Arc<AtomicU64>,
    go: Arc<tokio::sync::Semaphore>,
}

impl Hold {
    pub fn at(step: Step) -> (Hold, Hooks) {
        let hold = Hold {
            armed: Arc::default(),
            reached: Arc::default(),
            go: Arc::new(tokio::sync::Semaphore::new(0)),
        };
        let inner = hold.clone();
        let hook = move |at: Step| {
            let here = at == step && inner.armed.swap(false, SeqCst);
            let inner = inner.clone();
            Box::pin(async move {
                if here {
                    inner.reached.fetch_add(1, SeqCst);
                    inner.go.acquire().await.unwrap().forget();
                }
            }) as Pin<Box<dyn Future<Output = ()> + Send>>
        };
        (hold, Hooks { at: Some(Arc::new(hook)), bytes: None, ..Hooks::default() })
    }

    pub fn arm(&self) {
        self.armed.store(true, SeqCst);
    }

    pub fn until_reached(&self) {
        until("it is held", || self.reached.load(SeqCst) > 0);
    }

    pub fn release(&self) {
        self.go.add_permits(1);
    }
}

#[test]
fn an_exchange_held_while_its_session_is_removed_is_not_forwarded() {
    let (hold, hooks) = Hold::at(Step::AccessRecorded);
    let world = World::of(Plan::default().hooks(hooks));
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    let session = world.start_session("acme", &agent);
    hold.arm();
    let mut client = world.client();
    client.send(request("GET", "/t/acme/orders", &agent, ""));
    hold.until_reached();
    // Its answer waits for no exchange that has forwarded nothing.
    world.done(World::end("acme", &session), &admin);
    hold.release();
    let reply = client.reply();
    assert_eq!((reply.status, reply.code()), (403, "session_ended".to_owned()));
    assert!(world.upstream.seen().is_empty());
    assert_eq!(world.upstream.received(), 0);
    let outcome = world.last_outcome();
    assert_eq!(outcome["end"], "not_forwarded");
    assert_eq!(outcome["cut_by"]["reason"], "session_ended");
    world.finish();
}

// GW-05
#[test]
fn an_exchange_held_past_its_deadline_is_not_forwarded() {
    let (hold, hooks) = Hold::at(Step::AccessRecorded);
    let clock = ManualClock::at(NOON);
    let world = World::of(Plan::default().hooks(hooks).clock(&clock));
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    hold.arm();
    let mut client = world.client();
    client.send(request("GET", "/t/acme/orders", &agent, ""));
    hold.until_reached();
    clock.advance(8 * 3_600_000);
    hold.release();
    assert_eq!(client.reply().code(), "exchange_too_long");
    assert_eq!(world.upstream.received(), 0);
    assert_eq!(world.last_outcome()["end"], "not_forwarded");
    world.finish();
}

#[test]
fn a_client_that_leaves_while_its_record_is_written_has_an_outcome() {
    let (hold, hooks) = Hold::at(Step::AccessRecorded);
    let world = World::of(Plan::default().hooks(hooks));
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    hold.arm();
    let mut client = world.client();
    client.send(request("GET", "/t/acme/orders?do=slow", &agent, ""));
    hold.until_reached();
    drop(client);
    hold.release();
    assert_eq!(world.last_outcome()["end"], "client_gone");
    world.finish();
}

fn with_child(step: Option<Step>, lasts_ms: i64) -> (World, Child, String, i64) {
    let world = World::prepared(Plan::default());
    postern::app::init_state(&world.data.join("state.redb"), &world.ledger_dir()).unwrap();
    let mut child = Child::start(&world, step, "hold");
    let agent = world.people.staff("sam");
    // The deadline counts from the start, which lies behind this instant.
    let asked = world.people.now_ms();
    child.tell(&format!("1 start acme ses_stopped/{lasts_ms} {agent}"));
    child.hear("done 1");
    assert!(world.people.now_ms() < asked + lasts_ms, "the machine is too slow for this test");
    let deadline = world.people.now_ms() + lasts_ms;
    (world, child, agent, deadline)
}

// GW-05
#[test]
fn a_process_stopped_there_past_its_deadline_forwards_nothing() {
    let (mut world, mut child, agent, deadline) = with_child(Some(Step::AccessRecorded), 1_500);
    child.tell("arm");
    child.hear("armed");
    let mut client = Client::connect(child.address);
    client.send(request("GET", "/t/acme/orders", &agent, ""));
    child.hear("held");
    child.signal(Signal::STOP);
    sleep_past(&world.people, deadline + 50);
    child.signal(Signal::CONT);
    child.tell("release");
    let reply = client.reply();
    assert_eq!((reply.status, reply.code()), (403, "session_expired".to_owned()));
    assert_eq!(world.upstream.received(), 0);
    let outcome = world.last_outcome();
    assert_eq!(
        (outcome["end"].as_str(), &outcome["cut_by"]["reason"]),
        (Some("not_forwarded"), &"session_expired".into())
    );
    child.kill();
    world.up();
    world.finish();
}

#[test]
fn a_process_stopped_in_a_download_past_its_deadline_hands_on_no_more_than_it_had_in_hand() {
    let (mut world, mut child, agent, deadline) = with_child(None, 2_500);
    let mut client = Client::narrow(child.address);
    client.send(request("GET", "/t/acme/download?do=forever", &agent, ""));
    let mut counted = || {
        child.tell("count");
        child.hear("count").parse::<u64>().unwrap()
    };
    let mut last = 0;
    until("every buffer is full", || {
        let now = counted();
        std::thread::sleep(std::time::Duration::from_millis(60));
        let full = now > 0 && now == last;
        last = now;
        full
    });
    assert!(world.people.now_ms() < deadline - 100, "the machine is too slow for this test");
    child.signal(Signal::STOP);
    sleep_past(&world.people, deadline + 50);
    child.signal(Signal::CONT);
    let (how, held) = client.read_out();
    assert_eq!(how, Ending::Reset);
    child.tell("count");
    let after = child.hear("count").parse::<u64>().unwrap() - last;
    println!("{after} bytes slipped through; kernels held {held}");
    assert!(after <= crate::cuts::IN_HAND, "{after}");
    assert_eq!(world.last_outcome()["cut_by"]["reason"], "session_expired");
    child.kill();
    world.up();
    world.finish();
}
