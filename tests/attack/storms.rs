//! Many hands at once, on several cores: whatever the order, what was ended is over, every intent has one outcome, and
//! the registry is empty.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use postern::model::Timestamp;
use postern::{
    engine::{Changed, new_id},
    lifecycle::{Command, WantedBasis},
    model::SessionId,
};

use crate::{client::*, world::*};

fn start(world: &World, id: &str) -> (SessionId, Command) {
    let session = SessionId::new(&new_id("ses", world.now()).unwrap()).unwrap();
    let command = Command::StartSession {
        tenant: tenant(id),
        session: session.clone(),
        environment: production(),
        basis: WantedBasis::Consent,
        reason: "a storm".to_owned(),
        ticket: None,
        lasts: None,
    };
    (session, command)
}

#[test]
fn starts_accesses_and_removals_at_once_leave_nothing_behind() {
    let world = World::of(Plan::default().edit("workers: 2", "workers: 4"));
    let admin = world.people.admin("acme");
    let (admitted, after) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for agent in 0..4 {
            let (world, admin, admitted, after) = (&world, &admin, &admitted, &after);
            scope.spawn(move || {
                let staff = world.people.staff(&format!("agent{agent}"));
                for round in 0..8 {
                    let (session, command) = start(world, "acme");
                    world.done(command, &staff);
                    let over = AtomicBool::new(false);
                    std::thread::scope(|inner| {
                        for kind in 0..2 {
                            let (over, staff, session) = (&over, &staff, &session);
                            inner.spawn(move || {
                                let name = format!("Postern-Session: {session}\r\n");
                                let target = if kind == 0 {
                                    "/t/acme/orders"
                                } else {
                                    "/t/acme/download?do=bytes&n=200000"
                                };
                                loop {
                                    // Looked at before asking: whoever asks after the answer must be refused.
                                    let ended = over.load(SeqCst);
                                    let mut client = world.client();
                                    client.send(request("GET", target, staff, &name));
                                    let first = client.more();
                                    let passed =
                                        first == Ending::Open && client.inbox.starts_with(b"HTTP/1.1 200");
                                    if passed {
                                        admitted.fetch_add(1, SeqCst);
                                        after.fetch_add(u64::from(ended), SeqCst);
                                    }
                                    if ended {
                                        return;
                                    }
                                }
                            });
                        }
                        if round % 2 == 0 {
                            let path = format!("/_postern/v1/tenants/acme/sessions/{session}");
                            let reply = world.ask("DELETE", &path, admin, "");
                            assert_eq!(reply.status, 200, "{}", reply.text());
                        } else {
                            // A start replaces the older session: that is an end too.
                            let (_, command) = start(world, "acme");
                            world.done(command, &staff);
                        }
                        over.store(true, SeqCst);
                    });
                }
            });
        }
    });
    assert_eq!(after.load(SeqCst), 0, "of {} admitted", admitted.load(SeqCst));
    assert!(admitted.load(SeqCst) > 0);
    until("the registry is empty", || world.gateway().engine().registry().is_empty());
    until("everything has its outcome", || world.gateway().engine().journal().status().open_intents == 0);
    nothing_was_forwarded_under_a_block(&world.records());
    world.finish();
}

/// What the application saw is no measure: a kernel may still hold what was handed on in time. The record is: between
/// the outcome of a `block` and that of the next rise no intent was followed by anything.
fn nothing_was_forwarded_under_a_block(records: &[serde_json::Value]) {
    let mut blocked = false;
    let mut refused = 0;
    for record in records {
        match record["kind"].as_str() {
            Some("change.outcome") => {
                for event in record["events"].as_array().into_iter().flatten() {
                    if event["event"] == "consent_changed" {
                        blocked = event["to"] == "block";
                    }
                }
            }
            Some("access.intent") if blocked => {
                let outcome = records.iter().find(|other| {
                    other["kind"] == "access.outcome" && other["exchange"] == record["exchange"]
                });
                assert_eq!(outcome.unwrap()["end"], "not_forwarded", "{record}");
                refused += 1;
            }
            _ => {}
        }
    }
    println!("{refused} intents came after a block, none was forwarded");
}

/// Says that it is over, also when an assertion fails: whoever storms on would hold up the test for ever.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(false, SeqCst);
    }
}

/// Consent goes down while agents come in from all sides: nobody is inside afterwards, whatever they were told.
#[test]
fn no_session_outlives_consent_that_was_lowered_while_it_started() {
    let world = World::of(Plan::default().edit("workers: 2", "workers: 4"));
    let admin = world.people.admin("acme");
    let child = world.people.admin("acme-eu");
    world.done(
        Command::SetConsent {
            tenant: tenant("acme-eu"),
            choice: postern::lifecycle::Choice::Inherit,
            until: None,
            expected: None,
        },
        &child,
    );
    let agents: Vec<String> = (0..6).map(|n| world.people.staff(&format!("agent{n}"))).collect();
    for round in 0..6 {
        let running = AtomicBool::new(true);
        let entered = Arc::new(AtomicU64::new(0));
        std::thread::scope(|scope| {
            for (n, agent) in agents.iter().enumerate() {
                let (world, running, entered) = (&world, &running, Arc::clone(&entered));
                // Half of them enter the child, which follows its parent.
                let into = if n % 2 == 0 { "acme" } else { "acme-eu" };
                scope.spawn(move || {
                    while running.load(SeqCst) {
                        let (_, command) = start(world, into);
                        match world.change(command, agent) {
                            Ok(Changed::Done { .. }) => {
                                entered.fetch_add(1, SeqCst);
                                // It may be cut: what counts is what it leaves behind.
                                let mut client = world.client();
                                client.send(request("GET", &format!("/t/{into}/orders"), agent, ""));
                                client.more();
                            }
                            Ok(other) => panic!("{other:?}"),
                            Err(fault) => {
                                assert!(["consent_closes", "contended"].contains(&fault.code()), "{fault:?}")
                            }
                        }
                    }
                });
            }
            let over = Over(&running);
            until("agents come in", || entered.load(SeqCst) > 10);
            world.done(World::consent("acme", "block"), &admin);
            // Whoever still waits for their receipt was burnt, or is to be decided again; nobody goes on.
            let engine = world.gateway().engine();
            let now = engine.now();
            for live in engine.registry().all() {
                let undecided = live.fuse.deadline() == Timestamp::MAX;
                assert!(undecided || live.fuse.look(now) != postern::engine::fuse::Look::Alive, "{live:?}");
            }
            for agent in &agents {
                for into in ["acme", "acme-eu"] {
                    let reply = world.get(&format!("/t/{into}/orders"), agent);
                    assert_eq!(reply.status, 403, "round {round}: {}", reply.text());
                }
            }
            drop(over);
        });
        for (id, admin) in [("acme", &admin), ("acme-eu", &child)] {
            let inside = world.get(&format!("/_postern/v1/tenants/{id}/sessions"), admin).text();
            let inside: serde_json::Value = serde_json::from_str(&inside).unwrap();
            assert_eq!(inside["items"].as_array().map(Vec::len), Some(0), "round {round}: {inside}");
        }
        world.done(World::consent("acme", "read_only"), &admin);
        for agent in &agents {
            let reply = world.get("/t/acme/orders", agent);
            assert_eq!(reply.status, 403, "nothing that ended comes back: {}", reply.text());
        }
    }
    until("the registry is empty", || world.gateway().engine().registry().is_empty());
    world.finish();
}

/// Outcomes are written as fast as intents: what waits for the ledger does not grow with the load.
#[test]
fn outcomes_keep_up_with_intents() {
    let world = World::start();
    let staff = world.people.staff("sam");
    world.start_session("acme", &staff);
    const CLIENTS: usize = 24;
    const EACH: usize = 60;
    let most = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = world.client();
                for _ in 0..EACH {
                    client.send(request("GET", "/t/acme/orders", &staff, ""));
                    assert_eq!(client.reply().status, 200);
                    most.fetch_max(world.gateway().engine().journal().status().open_intents, SeqCst);
                }
            });
        }
    });
    let most = most.load(SeqCst);
    println!("{CLIENTS} clients, at most {most} intents open at once");
    // Each client has one under way, and about as many outcomes wait for one flush.
    assert!(most <= 6 * CLIENTS as u64, "{most} intents are open, and only {CLIENTS} clients ask");
    world.finish();
}
