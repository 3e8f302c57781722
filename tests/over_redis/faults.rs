//! What fails between gateways and their store, and what members, staff and break-glass get then: the rows of the table in
//! docs/operations.md, as measured. `cargo test --test over_redis faults -- --nocapture` prints it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{
    client::Ending,
    rig::Fleet,
    stage::{READS, Stage, WRITES, within},
    under::{Run, begin, counting},
    watch::{Said, ask},
    wire::How,
    world::*,
};

/// What a read is answered with; `None`: it was cut on the way.
fn status(gateway: &World, token: &str) -> Option<u16> {
    let said =
        ask(gateway.gateway().address(), &request("GET", "/t/acme/orders", token, "Connection: close\r\n"));
    (said.status > 0).then_some(said.status)
}

/// While it lasts nobody can ask the store: staff are decided from what is known for as long as that may be, break-glass is not.
fn outage(stage: &Stage, fault: &str, hurt: impl FnOnce(), mend: impl FnOnce()) {
    let watches = stage.watch(1);
    watches.back(Instant::now());
    let mark = watches.mark();
    hurt();
    let stale = |said: &Said| said.is(503, "state_stale");
    let glass = watches.glass.until("break-glass is refused", mark, stale);
    let writes = watches.writes.until("writing is refused", mark, stale);
    let entering = stage.enters(1);
    let by_token = stage.reads_by_token(1);
    let reads = watches.reads.until("reading is refused", mark, stale);
    // The last heartbeat may have been sent as long before as one takes.
    let heard = Duration::from_millis(750);
    within(writes, WRITES - heard, WRITES);
    within(reads, READS - heard, READS);
    within(glass, Duration::ZERO, Duration::from_secs(1));
    assert_eq!(entering.status, 503, "{entering}");
    assert!(by_token.is(200, ""), "an emergency token needs no store: {by_token}");
    assert!(stage.gateways.iter().all(|gateway| status(gateway, &stage.admin) == Some(200)));
    let mended = Instant::now();
    mend();
    let back = watches.back(mended);
    watches.members_went_on(mark);
    let after = format!("all served after {:.1} s", back.as_secs_f64());
    watches.row(
        fault,
        mark,
        mended,
        &format!("; entering: {entering}; by emergency token: {by_token}"),
        &after,
    );
    stage.all_are_served();
}

#[test]
fn a_redis_that_does_not_answer_shuts_out_staff_in_time_and_members_never() {
    let stage = Stage::set();
    let wires = |how| move |stage: &Stage| stage.set_wires(how);
    let passes = wires(How::Passes);
    outage(&stage, "Redis refuses connections", || wires(How::Closed)(&stage), || passes(&stage));
    outage(
        &stage,
        "Redis answers after 5 s",
        || wires(How::Late(Duration::from_secs(5)))(&stage),
        || passes(&stage),
    );
    outage(&stage, "Redis stands still (SIGSTOP)", || stage.redis.freeze(), || stage.redis.thaw());
    stage.finish();
}

/// Asks a server by itself, with a password.
fn tell_with(port: u16, password: &str, words: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "AUTH {password}\r\n{words}\r\nQUIT\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("+OK\r\n") && !said.contains("-"), "{words}: {said}");
}

#[test]
fn a_redis_that_takes_nothing_shuts_out_staff_in_time_and_members_never() {
    let stage = Stage::set();
    let redis = &stage.redis;
    outage(
        &stage,
        "Redis wants another password",
        || {
            redis.tell(&["CONFIG", "SET", "requirepass", "another"]);
            tell_with(redis.port, "another", "CLIENT KILL TYPE normal SKIPME yes");
        },
        || tell_with(redis.port, "another", "CONFIG SET requirepass \"\""),
    );
    outage(
        &stage,
        "Redis is a replica that takes no writes",
        || {
            // Of nobody: what it holds stays.
            redis.tell(&["REPLICAOF", "127.0.0.1", "1"]);
        },
        || {
            redis.tell(&["REPLICAOF", "NO", "ONE"]);
        },
    );
    stage.finish();
}

/// A connection that comes and goes shuts out whom it must: break-glass while it is gone, staff where it is gone for too long.
#[test]
fn a_redis_that_comes_and_goes_shuts_out_nobody_who_need_not_ask_it() {
    let stage = Stage::set();
    let watches = stage.watch(1);
    watches.back(Instant::now());
    let mark = watches.mark();
    let flaps = Duration::from_millis(250);
    while mark.elapsed() < Duration::from_secs(4) {
        stage.set_wires(How::Closed);
        std::thread::sleep(flaps / 2);
        stage.set_wires(How::Passes);
        std::thread::sleep(flaps);
    }
    let mended = Instant::now();
    let back = watches.back(mended);
    watches.members_went_on(mark);
    for said in watches.all().iter().flat_map(|watch| watch.kinds(mark)) {
        assert!(said.status == 200 || said.status == 503 || said.is_cut(), "{said}");
    }
    // Whoever is under way is cut at the instant from which on they are refused: who is never refused is never cut.
    let reads = watches.reads.kinds(mark);
    assert!(reads.iter().any(|said| said.status == 503) || !reads.iter().any(Said::is_cut), "{reads:?}");
    let after = format!("all served after {:.1} s", back.as_secs_f64());
    watches.row("Redis comes and goes, 250 ms there and 125 ms not", mark, mended, "", &after);
    stage.finish();
}

/// Out of memory it still tells what is, and takes nothing: what gives is refused, what takes away is in force. Nobody who is inside is shut out,
/// break-glass neither: what confirms its questions to the store needs no memory.
#[test]
fn a_redis_out_of_memory_shuts_out_nobody_who_is_inside_and_takes_no_change_that_gives() {
    let stage = Stage::set();
    let (other, session) = stage.lets_in(0, "vera");
    until("the session is known", || stage.reads(1, &other).is(200, ""));
    let watches = stage.watch(1);
    watches.back(Instant::now());
    let mark = watches.mark();
    stage.redis.tell(&["CONFIG", "SET", "maxmemory", "1"]);
    let entering = stage.enters(1);
    assert_eq!(entering.status, 503, "{entering}");
    let raised =
        stage.changes(1, World::consent("globex", "full"), &stage.gateways[1].people.admin("globex"));
    assert!(raised.is_err(), "{raised:?}");
    assert!(
        !stage.changes(1, World::end("acme", &session), &stage.admin).unwrap(),
        "it is in force, and not kept"
    );
    assert_eq!(stage.reads(1, &other).status, 403, "in force where it was asked for");
    // Longer than anything may be old.
    until("it goes on", || mark.elapsed() > READS + Duration::from_secs(1));
    let later = Instant::now();
    let glass = watches.glass.until("break-glass goes on", later, |said| said.is(200, ""));
    let mended = Instant::now();
    stage.redis.tell(&["CONFIG", "SET", "maxmemory", "0"]);
    for number in 0..3 {
        until("it is in force everywhere", || stage.reads(number, &other).status == 403);
    }
    until("it is kept", || stage.gateways[1].gateway().engine().pending() == 0);
    let kept = mended.elapsed();
    for watch in [&watches.reads, &watches.writes] {
        assert_eq!(watch.kinds(mark).len(), 1, "{:?}", watch.kinds(mark));
    }
    // Each of its requests asks: on a busy machine an answer may come too late, and the next one comes.
    assert!(glass < Duration::from_secs(2), "{glass:?}");
    watches.back(mended);
    watches.members_went_on(mark);
    let more = format!("; entering: {entering}");
    let after = format!(
        "a removal was 202, in force there at once, kept and everywhere {:.1} s after",
        kept.as_secs_f64()
    );
    watches.row("Redis is out of memory", mark, mended, &more, &after);
    stage.finish();
}

/// Without Redis: members go on; staff are decided from what is known, for as long as that may be, and then cut and refused; when it is
/// back all goes on by itself.
#[test]
fn a_redis_that_is_gone_shuts_out_staff_in_time_and_members_never() {
    let (hooks, count) = counting();
    let mut fleet = Fleet::with(2, "", |name| if name == "b" { hooks.clone() } else { Default::default() });
    let agent = fleet.gateways[0].people.staff("sam");
    let member = fleet.gateways[0].people.admin("acme");
    let a = &fleet.gateways[0];
    a.done(World::consent("acme", "full"), &member);
    a.start_session("acme", &agent);
    fleet.knows_of_session(&agent);
    let mut events = begin(&fleet.gateways[1], Run::Events, &agent, &count);
    let mut upload = begin(&fleet.gateways[1], Run::Upload, &agent, &count);
    fleet.redis.freeze();
    let frozen = Instant::now();
    let b = &fleet.gateways[1];
    assert_eq!(upload.ending().0, Ending::Reset);
    let wrote = frozen.elapsed();
    assert_eq!(events.ending().0, Ending::Reset);
    let read = frozen.elapsed();
    println!("frozen: an upload was cut after {wrote:?}, a stream of events after {read:?}");
    assert!(wrote < Duration::from_millis(1_800), "{wrote:?}");
    assert!(read > Duration::from_millis(4_000) && read < Duration::from_millis(6_000), "{read:?}");
    for gateway in &fleet.gateways {
        // The one may have heard of the store a beat later than the other.
        until("reading is refused too", || status(gateway, &agent) == Some(503));
        let begun = Instant::now();
        let refused = gateway.get("/t/acme/orders", &agent);
        assert_eq!((refused.status, refused.code().as_str()), (503, "state_stale"), "{}", refused.head);
        assert_eq!(gateway.get("/t/acme/orders", &member).status, 200);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    let outcome = b.last_outcome();
    assert_eq!(outcome["cut_by"]["reason"], "state_stale", "{outcome}");
    fleet.redis.thaw();
    fleet.knows_of_session(&agent);
    // Killed, it comes back as it was on its disk: here with nothing. Nobody takes that for a new store: what the gateways know is
    // joined in before anybody is served on it.
    fleet.redis.restart();
    for gateway in &fleet.gateways {
        until("the store is healed", || {
            gateway.gateway().engine().healings().is_some_and(|all| all.healed > 0)
        });
        assert_eq!(gateway.get("/t/acme/orders", &member).status, 200);
    }
    fleet.knows_of_session(&agent);
}
