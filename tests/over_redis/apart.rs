//! One gateway that is on another side than the others: cut off from the store, or left with an old primary.

use std::time::{Duration, Instant};

use postern::engine::hooks::Hooks;

use crate::{
    servers::Server,
    stage::{READS, Stage, WRITES, within},
    watch::Said,
    wire::How,
    world::*,
};

fn stale(said: &Said) -> bool {
    said.is(503, "state_stale")
}

/// It shuts out staff in time, and goes on with members; the others notice nothing. What is taken away at it is in force there at
/// once, and everywhere as soon as it can be.
#[test]
fn a_gateway_that_is_cut_off_shuts_out_its_staff_alone() {
    let stage = Stage::set();
    let (other, session) = stage.lets_in(0, "vera");
    let (third, kept_out) = stage.lets_in(0, "tom");
    for number in 0..3 {
        until("the sessions are known", || {
            [&other, &third].iter().all(|agent| stage.reads(number, agent).status == 200)
        });
    }
    let (watches, others) = (stage.watch(2), stage.watch(0));
    watches.back(Instant::now());
    others.back(Instant::now());
    let mark = watches.mark();
    others.mark();
    stage.wires[2].set(How::Held);
    // Taken away on this side and on that.
    assert!(!stage.changes(2, World::end("acme", &session), &stage.admin).unwrap(), "in force, and not kept");
    assert_eq!(stage.reads(2, &other).status, 403, "in force where it was asked for");
    assert!(stage.changes(0, World::end("acme", &kept_out), &stage.admin).unwrap());
    until("the other gateway", || stage.reads(1, &third).status == 403);
    let entering = stage.enters(2);
    assert_eq!(entering.status, 503, "{entering}");
    let writes = watches.writes.until("writing is refused", mark, stale);
    let reads = watches.reads.until("reading is refused", mark, stale);
    let heard = Duration::from_millis(750);
    within(writes, WRITES - heard, WRITES);
    within(reads, READS - heard, READS);
    assert_ne!(stage.reads(2, &third).status, 200, "what was taken away elsewhere");
    let mended = Instant::now();
    stage.wires[2].set(How::Passes);
    let back = watches.back(mended);
    for number in 0..3 {
        until("both are in force everywhere", || {
            [&other, &third].iter().all(|agent| stage.reads(number, agent).status == 403)
        });
    }
    watches.members_went_on(mark);
    for watch in others.all() {
        assert_eq!(
            watch.kinds(mark),
            [Said { status: 200, code: String::new() }],
            "the others notice nothing"
        );
    }
    let after = format!(
        "a removal there was 202 and in force there at once; all served after {:.1} s, and the removal everywhere",
        back.as_secs_f64()
    );
    watches.row(
        "one gateway is cut off from Redis",
        mark,
        mended,
        &format!("; entering: {entering}"),
        &after,
    );
    others.row("… the others meanwhile", mark, mended, "", "");
    stage.finish();
}

/// An old primary that still answers confirms nothing, so whoever asks it shuts out staff in time, and suspects nothing.
#[test]
fn an_old_primary_that_still_answers_keeps_nobody_inside() {
    let primary = Server::start(&[]);
    let (second, third) = (primary.replica(&[]), primary.replica(&[]));
    let stage = Stage::over(primary, 3, |_| Hooks::default());
    let (other, session) = stage.lets_in(0, "vera");
    for number in 0..3 {
        until("the session is known", || stage.reads(number, &other).status == 200);
    }
    let (watches, others) = (stage.watch(2), stage.watch(0));
    watches.back(Instant::now());
    others.back(Instant::now());
    let mark = watches.mark();
    others.mark();
    // The replicas and two gateways on the one side, the old primary and one gateway on the other.
    second.tell(&["REPLICAOF", "NO", "ONE"]);
    third.tell(&["REPLICAOF", "127.0.0.1", &second.port.to_string()]);
    stage.wires[..2].iter().for_each(|wire| wire.lead(second.port));
    let removed = loop {
        match stage.changes(0, World::end("acme", &session), &stage.admin) {
            Ok(true) => break Instant::now(),
            Ok(false) | Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    until("the removal is in force on the one side", || stage.reads(1, &other).status == 403);
    let refused = watches.writes.until("writing is refused", mark, stale);
    let reads = watches.reads.until("reading is refused", mark, stale);
    within(refused, Duration::ZERO, WRITES);
    within(reads, Duration::ZERO, READS);
    assert!(stale(&stage.reads(2, &other)), "what was taken away on the other side");
    let glass = watches.glass.until("break-glass is refused", mark, |said| said.status == 503);
    within(glass, Duration::ZERO, WRITES);
    let mended = Instant::now();
    stage.wires[2].lead(second.port);
    let back = watches.back(mended);
    until("the removal is in force on both", || stage.reads(2, &other).status == 403);
    watches.members_went_on(mark);
    others.members_went_on(mark);
    let after = format!("led to the new primary, all served after {:.1} s", back.as_secs_f64());
    watches.row("an old primary that still answers", mark, mended, "", &after);
    let took = removed.duration_since(mark).as_secs_f64();
    others.row("… those at the new one", mark, mended, "", &format!("took a change after {took:.1} s"));
    stage.finish();
}
