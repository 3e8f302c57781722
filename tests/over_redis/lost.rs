//! What everybody gets while the store has lost something, until it is healed: the rows of the table. What is healed into what is tested in
//! [`crate::heal`].

use std::time::{Duration, Instant};

use postern::engine::hooks::Hooks;

use crate::{
    servers::Server,
    stage::{SLACK, Stage, Watches},
    watch::Said,
    world::*,
};

/// How long somebody may still be served by what was known when the store forgot: until the next beat.
const FOUND: Duration = Duration::from_secs(1);

fn suspect(said: &Said) -> bool {
    said.is(503, "state_suspect")
}

impl Stage {
    /// Waits until each gateway knows of the others, so that none is forgotten in a healing.
    fn knows_each_other(&self) {
        for gateway in &self.gateways {
            until("all know of each other", || {
                gateway.gateway().engine().healings().unwrap().fleet.len() >= 3
            });
        }
    }

    /// Nobody finds anything suspect any more.
    fn healed(&self) {
        for gateway in &self.gateways {
            until_within(crate::watch::SOON, "it is healed", || {
                gateway.gateway().engine().known_of_store().unwrap().suspect == 0
            });
        }
    }
}

/// Staff are refused as soon as it is found, members are not; then all are served again, and whoever was removed is not.
fn lost(stage: &Stage, watches: &Watches, fault: &str, mark: Instant, removed: &str) {
    let reads = watches.reads.was("reading is refused", mark, suspect);
    let writes = watches.writes.was("writing is refused", mark, suspect);
    assert!(reads.max(writes) < FOUND + SLACK, "{reads:?} {writes:?}");
    let back = watches.back(mark);
    let end = Instant::now();
    stage.healed();
    stage.all_are_served();
    for number in 0..3 {
        assert_eq!(stage.reads(number, removed).status, 403, "who was removed is back at {number}");
    }
    watches.members_went_on(mark);
    watches.row(fault, mark, end, "", &format!("healed, all served {:.1} s after", back.as_secs_f64()));
}

fn ready(stage: &Stage) -> (Watches, String) {
    stage.knows_each_other();
    let (removed, session) = stage.lets_in(0, "tom");
    until("the session is known", || stage.reads(1, &removed).is(200, ""));
    let watches = stage.watch(1);
    watches.back(Instant::now());
    stage.gateways[0].done(World::end("acme", &session), &stage.admin);
    (watches, removed)
}

#[test]
fn a_store_that_forgot_shuts_out_staff_until_it_is_healed() {
    let mut stage = Stage::set();
    let (watches, removed) = ready(&stage);
    let mark = watches.mark();
    stage.redis.tell(&["FLUSHALL"]);
    lost(&stage, &watches, "Redis is wiped", mark, &removed);
    // A copy that has the session of whoever is removed now.
    let (again, session) = stage.lets_in(0, "uma");
    until("the session is known", || stage.reads(1, &again).is(200, ""));
    assert_eq!(stage.redis.tell(&["SAVE"]), "+OK");
    assert!(stage.changes(2, World::end("acme", &session), &stage.admin).unwrap());
    until("the end is known", || stage.reads(1, &again).status == 403);
    let mark = watches.mark();
    stage.redis.restart();
    lost(&stage, &watches, "Redis comes back from an older copy", mark, &again);
    // A gateway that lost its disk comes while nothing is healed yet: it makes nothing of it, and serves when the others have healed it.
    drop(watches);
    let empty = stage.gateways.pop().unwrap();
    let mut empty = empty;
    empty.gateway.take().unwrap().stop();
    std::fs::remove_dir_all(empty.ledger_dir()).unwrap();
    std::fs::remove_file(empty.data.join("shadow.redb")).unwrap();
    let watches = stage.watch(1);
    watches.back(Instant::now());
    let mark = watches.mark();
    stage.redis.tell(&["FLUSHALL"]);
    empty.up();
    let took = mark.elapsed();
    stage.gateways.push(empty);
    watches.back(mark);
    stage.all_are_served();
    for number in 0..3 {
        assert_eq!(stage.reads(number, &removed).status, 403);
    }
    watches.members_went_on(mark);
    let after = format!("it joined, and served {:.1} s after", took.as_secs_f64());
    watches.row(
        "Redis is wiped, and a gateway comes with an empty disk: the others",
        mark,
        Instant::now(),
        "",
        &after,
    );
    drop(watches);
    stage.finish();
}

/// A gateway that was left at the old primary, and took what the others did not: of both the narrower holds.
#[test]
fn of_a_fork_the_block_of_either_side_holds() {
    let primary = Server::start(&[]);
    let replica = primary.replica(&[]);
    let stage = Stage::over(primary, 1, |_| Hooks::default());
    stage.knows_each_other();
    let watches = stage.watch(1);
    watches.back(Instant::now());
    until("it is copied", || replica.tell(&["DBSIZE"]) == stage.redis.tell(&["DBSIZE"]));
    let mark = watches.mark();
    replica.tell(&["REPLICAOF", "NO", "ONE"]);
    stage.wires[..2].iter().for_each(|wire| wire.lead(replica.port));
    until("both sides take changes", || {
        let there = stage.changes(0, World::consent("acme", "edit"), &stage.admin);
        let here = stage.changes(2, World::consent("acme", "block"), &stage.admin);
        matches!((there, here), (Ok(true), Ok(true)))
    });
    assert!(stage.reads(1, &stage.agent).is(200, ""), "on the one side consent was raised");
    assert_eq!(stage.reads(2, &stage.agent).status, 403, "on the other it was taken back");
    let joined = Instant::now();
    stage.wires[2].lead(replica.port);
    let found = |said: &Said| said.status != 200;
    let refused = watches.reads.until("it is found", joined, found);
    watches.reads.until("the narrower holds", joined, |said| said.is(403, "consent_withdrawn"));
    watches.glass.until("other tenants are served again", joined, |said| said.is(200, ""));
    let end = Instant::now();
    stage.healed();
    for number in 0..3 {
        until("the narrower holds everywhere", || {
            stage.reads(number, &stage.agent).is(403, "consent_withdrawn")
        });
    }
    watches.members_went_on(mark);
    let after = format!(
        "the `block` of the old side was found {:.1} s after both met, and holds everywhere; healed {:.1} s after",
        refused.as_secs_f64(),
        end.duration_since(joined).as_secs_f64()
    );
    watches.row("two histories, `block` in one of them", joined, end, "", &after);
    drop(watches);
    stage.finish();
}
