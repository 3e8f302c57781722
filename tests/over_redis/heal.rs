//! A store that forgot, went back or has two histories, under gateways that run: nobody of staff is served on it, members go on, and
//! what gateways knew is back when it is healed (law 8).

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use postern::{
    app,
    engine::{ChangeFault, Changed, hooks::Hooks},
    lifecycle::{Refusal, Until, WantedBasis},
    model::{SessionId, Span},
    state::Part,
};

use crate::{
    rig::Fleet,
    servers::Server,
    watch::{ask, lone},
    world::*,
};

/// How long healing may take on a machine that does much else, beside the time of grace.
const HEALS: Duration = Duration::from_secs(30);

/// What a read is answered with; status 0 where it was cut on the way.
fn staff(world: &World, agent: &str) -> (u16, String) {
    let said = ask(world.gateway().address(), &lone("GET", "/t/acme/orders", agent, ""));
    (said.status, said.code)
}

/// Of a session that is over, by which it was known or of which nothing is known any more.
const OVER: &str = "session_missing session_ended";

/// Refused with one of these codes within a while; never served meanwhile.
fn refused(what: &str, world: &World, agent: &str, codes: &str) {
    comes_to_be_refused(what, world, agent, codes, false);
}

/// The same of what another gateway has to hear of first.
fn is_told(what: &str, world: &World, agent: &str, codes: &str) {
    comes_to_be_refused(what, world, agent, codes, true);
}

fn comes_to_be_refused(what: &str, world: &World, agent: &str, codes: &str, may_be_served: bool) {
    let begun = Instant::now();
    loop {
        let last = staff(world, agent);
        assert!(may_be_served || last.0 != 200, "{what}: served meanwhile");
        if codes.split(' ').any(|code| last.1 == code) {
            return;
        }
        assert!(begun.elapsed() < HEALS, "{what}: {last:?}");
        std::thread::yield_now();
    }
}

fn serves(what: &str, world: &World, agent: &str) {
    until_within(HEALS, what, || staff(world, agent).0 == 200);
}

/// What the operations listener says.
fn told(world: &World, path: &str) -> String {
    let mut stream = TcpStream::connect(world.gateway().operations()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn stop(world: &mut World) {
    world.gateway.take().unwrap().stop();
}

/// The same gateway, which was given another server.
fn point_at(world: &mut World, before: &Server, now: &Server) {
    let (before, now) = (format!("127.0.0.1:{}", before.port), format!("127.0.0.1:{}", now.port));
    for (_, to) in &mut world.edits {
        *to = Box::leak(to.replace(&before, &now).into_boxed_str());
    }
}

fn healed(world: &World) {
    let engine = world.gateway().engine();
    until_within(HEALS, "it is healed", || {
        engine.known_of_store().unwrap().suspect == 0 && engine.healings().unwrap().healed > 0
    });
}

// GW-04
/// Wiped under gateways of which one is down: staff are refused and members are not; what is taken away meanwhile stays taken away though its
/// gateway ends before it is stored; whoever is missing is waited for, and joins when it comes.
#[test]
fn a_wiped_redis_gets_back_what_the_gateways_knew_and_nothing_withdrawn_comes_back() {
    let mut fleet = Fleet::with(3, ", heal_grace: 3s", |_| Hooks::default());
    fleet.knows_each_other();
    let people = &fleet.gateways[0].people;
    let (sam, tom, uma) = (people.staff("sam"), people.staff("tom"), people.staff("uma"));
    let admin = people.admin("acme");
    let a = &fleet.gateways[0];
    a.done(World::consent("acme", "full"), &admin);
    a.start_session("acme", &sam);
    let of_tom = a.start_session("acme", &tom);
    let of_uma = a.start_session("acme", &uma);
    for agent in [&sam, &tom, &uma] {
        fleet.knows_of_session(agent);
    }
    a.done(World::end("acme", &of_tom), &admin);
    stop(&mut fleet.gateways[2]);
    fleet.redis.tell(&["FLUSHALL"]);
    let [a, b, _] = &fleet.gateways[..] else { panic!() };
    for gateway in [a, b] {
        is_told("a wiped store serves no staff", gateway, &sam, "state_suspect");
        assert_eq!(gateway.get("/t/acme/orders", &admin).status, 200);
        until("it is said whom it waits for", || {
            let ready = told(gateway, "/readyz");
            assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
            ready.contains("waiting for c\n")
        });
        let metrics = told(gateway, "/metrics");
        assert!(metrics.contains("\npostern_state_healing_waits_for 1\n"), "{metrics}");
    }
    // In force, and said to be not stored yet.
    let ended = a.change(World::end("acme", &of_uma), &admin).unwrap();
    let Changed::InForce { waiting, .. } = ended else { panic!("{ended:?}") };
    assert_eq!(waiting, ["store"]);
    stop(&mut fleet.gateways[0]);
    // It is healed without either.
    serves("it is healed", &fleet.gateways[1], &sam);
    assert_eq!(staff(&fleet.gateways[1], &tom).0, 403);
    for late in [0, 2] {
        fleet.gateways[late].up();
        serves("who comes late joins, and serves", &fleet.gateways[late], &sam);
    }
    for gateway in &fleet.gateways {
        refused("what was taken away stays away", gateway, &tom, OVER);
        is_told("what was in force while nothing could be stored is stored", gateway, &uma, OVER);
        assert_eq!(gateway.gateway().engine().known_of_store().unwrap().suspect, 0);
    }
    // It goes on.
    let a = &fleet.gateways[0];
    let again = a.start_session("acme", &tom);
    fleet.knows_of_session(&tom);
    a.done(World::end("acme", &again), &admin);
    is_told("an end reaches the others", &fleet.gateways[2], &tom, OVER);
    fleet.finish();
}

// GW-04
/// A document remembers so many changes. What a gateway did longer ago stands in its ledger all the same, and is not taken for another
/// history when it starts: it would hold again, as the narrower, as soon as a store is healed.
#[test]
fn what_is_long_outdated_does_not_come_back_from_a_ledger() {
    let mut fleet = Fleet::with(2, ", heal_grace: 3s", |_| Hooks::default());
    fleet.knows_each_other();
    let people = &fleet.gateways[0].people;
    let (sam, admin) = (people.staff("sam"), people.admin("acme"));
    fleet.gateways[0].done(World::consent("acme", "block"), &admin);
    for _ in 0..postern::model::document::REMEMBERED {
        fleet.gateways[1].done(World::consent("acme", "read_only"), &admin);
        fleet.gateways[1].done(World::consent("acme", "full"), &admin);
    }
    fleet.gateways[0].start_session("acme", &sam);
    fleet.knows_of_session(&sam);
    stop(&mut fleet.gateways[0]);
    fleet.gateways[0].up();
    fleet.redis.tell(&["FLUSHALL"]);
    for gateway in &fleet.gateways {
        healed(gateway);
        serves("nobody blocked it since", gateway, &sam);
    }
    fleet.finish();
}

// GW-04
#[test]
fn a_redis_that_comes_back_from_an_old_copy_gives_back_nothing_that_was_withdrawn() {
    let mut fleet = Fleet::with(2, "", |_| Hooks::default());
    fleet.knows_each_other();
    let people = &fleet.gateways[0].people;
    let (sam, tom, admin) = (people.staff("sam"), people.staff("tom"), people.admin("acme"));
    let a = &fleet.gateways[0];
    a.done(World::consent("acme", "full"), &admin);
    let of_sam = a.start_session("acme", &sam);
    fleet.knows_of_session(&sam);
    assert_eq!(fleet.redis.tell(&["SAVE"]), "+OK");
    let place = fleet.redis.tell(&["CONFIG", "GET", "dir"]);
    let dump = PathBuf::from(place.lines().last().unwrap()).join("dump.rdb");
    let old = std::fs::read(&dump).unwrap();
    a.done(World::end("acme", &of_sam), &admin);
    fleet.gateways[1].start_session("acme", &tom);
    fleet.knows_of_session(&tom);
    is_told("an end reaches the other", &fleet.gateways[1], &sam, OVER);
    std::fs::write(&dump, old).unwrap();
    fleet.redis.restart();
    for gateway in &fleet.gateways {
        healed(gateway);
        serves("what was begun since the copy goes on", gateway, &tom);
        refused("what was withdrawn stays so", gateway, &sam, OVER);
        let metrics = told(gateway, "/metrics");
        assert!(metrics.contains("\npostern_state_parts_suspect 0\n"), "{metrics}");
    }
    // Also while all of them were down.
    let of_tom = World::end("acme", &fleet.gateways[0].start_session("acme", &sam));
    fleet.knows_of_session(&sam);
    assert_eq!(fleet.redis.tell(&["SAVE"]), "+OK");
    let old = std::fs::read(&dump).unwrap();
    fleet.gateways[0].done(of_tom, &admin);
    fleet.gateways.iter_mut().for_each(stop);
    std::fs::write(&dump, old).unwrap();
    fleet.redis.restart();
    fleet.gateways.iter_mut().for_each(|gateway| gateway.try_up().unwrap_or_else(|fault| panic!("{fault}")));
    fleet.gateways.iter().for_each(World::until_ready);
    for gateway in &fleet.gateways {
        serves("it is healed", gateway, &tom);
        refused("an end that the store forgot", gateway, &sam, OVER);
    }
    fleet.finish();
}

// GW-04
#[test]
fn a_gateway_with_an_empty_disk_makes_nothing_of_a_wiped_store_and_waits_for_one_that_knew() {
    let mut fleet = Fleet::with(1, ", heal_grace: 1s", |_| Hooks::default());
    let a = &fleet.gateways[0];
    let (sam, admin) = (a.people.staff("sam"), a.people.admin("acme"));
    a.done(World::consent("acme", "full"), &admin);
    a.start_session("acme", &sam);
    fleet.knows_of_session(&sam);
    stop(&mut fleet.gateways[0]);
    fleet.redis.tell(&["FLUSHALL"]);
    let mut new = fleet.another("b", ", heal_grace: 1s");
    new.try_up().unwrap_or_else(|fault| panic!("{fault}"));
    until("it says what it lacks", || told(&new, "/readyz").contains("nobody here knows enough"));
    assert_eq!(new.get("/t/acme/orders", &admin).status, 200);
    assert_eq!(staff(&new, &sam).0, 503);
    assert_eq!(fleet.redis.keys(), 0, "nobody made an empty store of it");
    // The one that knew.
    fleet.gateways[0].up();
    serves("it is healed", &fleet.gateways[0], &sam);
    serves("the new one follows it", &new, &sam);
    new.until_ready();
    new.finish();
    // A gateway whose ledger is gone says so, and touches nothing.
    let mut lost = fleet.gateways.remove(0);
    stop(&mut lost);
    std::fs::rename(lost.ledger_dir(), lost.data.join("moved")).unwrap();
    let Err(app::StartFault::Open(fault)) = lost.try_up() else { panic!("it starts without its ledger") };
    assert_eq!(fault.code(), "ledger_missing", "{fault}");
    let Err(fault) = app::init(&lost.settings()) else { panic!("a store is begun anew") };
    assert_eq!(fault.code(), "shadow_there", "{fault}");
}

// GW-04
/// A fail-over that left a gateway at the old primary: both go on, and of what both changed the narrower holds.
#[test]
fn of_two_histories_the_narrower_holds_and_what_either_made_is_kept() {
    let mut fleet = Fleet::with(2, ", heal_grace: 3s", |_| Hooks::default());
    fleet.knows_each_other();
    let people = &fleet.gateways[0].people;
    let (sam, tom, admin) = (people.staff("sam"), people.staff("tom"), people.admin("acme"));
    let a = &fleet.gateways[0];
    a.done(World::consent("acme", "edit"), &admin);
    a.start_session("acme", &sam);
    fleet.knows_of_session(&sam);
    let new = fleet.redis.replica(&[]);
    until("it is copied", || new.tell(&["DBSIZE"]) == fleet.redis.tell(&["DBSIZE"]));
    stop(&mut fleet.gateways[1]);
    new.tell(&["REPLICAOF", "NO", "ONE"]);
    let old = &fleet.redis;
    point_at(&mut fleet.gateways[1], old, &new);
    fleet.gateways[1].up();
    let [a, b] = &fleet.gateways[..] else { panic!() };
    // At the same places of both.
    b.done(World::consent("acme", "full"), &admin);
    a.done(World::consent("acme", "block"), &admin);
    let grant = b.make_grant("acme", "editor", Until::For(Span::Millis(3_600_000)));
    b.session_on("acme", &tom, WantedBasis::Grant(grant), None);
    serves("the new primary has consent", b, &sam);
    serves("and the grant", b, &tom);
    refused("the old one has it withdrawn", a, &sam, "consent_withdrawn");
    stop(&mut fleet.gateways[0]);
    point_at(&mut fleet.gateways[0], &fleet.redis, &new);
    fleet.gateways[0].up();
    for gateway in &fleet.gateways {
        healed(gateway);
        serves("what was given on one side is kept", gateway, &tom);
        refused("what was withdrawn on the other stays so", gateway, &sam, "consent_withdrawn");
    }
    fleet.finish();
}

/// Waits until a gateway has seen, on its own disk, all that the store has.
fn has_seen_all(world: &World) {
    let engine = world.gateway().engine();
    let (store, leases) = (engine.store(), engine.store().leases());
    until_within(HEALS, "all of it was seen", || {
        let parts = (0..store.parts()).map(Part);
        let mut behind = parts.filter(|part| leases.followed(*part).0 < *store.newest(*part).borrow());
        behind.next().is_none() && engine.healings().unwrap().copying == 0
    });
}

/// A gateway that is cut off takes away what it never was asked about before: its shadow knows it.
#[test]
fn what_a_gateway_only_followed_is_taken_away_by_it_also_without_the_store() {
    let fleet = Fleet::with(2, "", |_| Hooks::default());
    let [a, b] = &fleet.gateways[..] else { panic!() };
    let (sam, admin) = (a.people.staff("sam"), a.people.admin("globex"));
    a.done(World::consent("globex", "full"), &admin);
    let session = a.start_session("globex", &sam);
    has_seen_all(b);
    fleet.redis.freeze();
    let mut told = None;
    until_within(HEALS, "it is taken away", || {
        let unknown = SessionId::new("ses_of_nobody").unwrap();
        // What nobody here ever saw is not said to be absent.
        let nobody = b.change(World::end("globex", &unknown), &admin);
        assert!(matches!(nobody, Err(ChangeFault::Refused(Refusal::Unavailable))), "{nobody:?}");
        told = b.change(World::end("globex", &session), &admin).ok();
        told.is_some()
    });
    let Some(Changed::InForce { waiting, .. }) = told else { panic!("{told:?}") };
    assert_eq!(waiting, ["store"]);
    fleet.redis.thaw();
    let read = |world: &World| ask(world.gateway().address(), &lone("GET", "/t/globex/orders", &sam, ""));
    for gateway in [a, b] {
        until_within(HEALS, "it is stored and heard of", || {
            OVER.split(' ').any(|code| read(gateway).is(403, code))
        });
    }
    until("it is stored", || b.gateway().engine().pending() == 0);
    fleet.finish();
}

// GW-04
/// Promised by a gateway that could not store it, whose machine was lost: its ledger has it.
#[test]
fn what_was_promised_and_never_stored_is_in_a_rebuilt_store() {
    let mut fleet = Fleet::with(2, ", heal_grace: 1s", |_| Hooks::default());
    let people = &fleet.gateways[0].people;
    let (sam, tom, admin) = (people.staff("sam"), people.staff("tom"), people.admin("acme"));
    let key = people.keys.ledger.clone();
    let [a, b] = &fleet.gateways[..] else { panic!() };
    a.done(World::consent("acme", "full"), &admin);
    a.start_session("acme", &sam);
    let of_tom = a.start_session("acme", &tom);
    fleet.knows_of_session(&tom);
    fleet.redis.freeze();
    let ended = b.change(World::end("acme", &of_tom), &admin).unwrap();
    assert!(matches!(&ended, Changed::InForce { waiting, .. } if waiting.contains(&"store")), "{ended:?}");
    let (settings, others) = (a.settings(), [(b.ledger_dir(), key)]);
    stop(&mut fleet.gateways[1]);
    fleet.redis.thaw();
    stop(&mut fleet.gateways[0]);
    fleet.redis.tell(&["FLUSHALL"]);
    std::fs::remove_file(fleet.gateways[0].data.join("shadow.redb")).unwrap();
    app::rebuild(&settings, &others, |_, _| {}).unwrap();
    fleet.gateways[0].up();
    serves("what was stored is back", &fleet.gateways[0], &sam);
    refused("what was promised holds", &fleet.gateways[0], &tom, OVER);
}

// GW-04
/// No disk is left but those of the ledgers.
#[test]
fn a_store_that_nobody_knows_any_more_is_made_again_from_the_ledgers() {
    let mut fleet = Fleet::with(2, ", heal_grace: 1s", |_| Hooks::default());
    let people = &fleet.gateways[0].people;
    let (sam, tom, admin) = (people.staff("sam"), people.staff("tom"), people.admin("acme"));
    let key = people.keys.ledger.clone();
    let [a, b] = &fleet.gateways[..] else { panic!() };
    a.done(World::consent("acme", "full"), &admin);
    b.start_session("acme", &sam);
    let of_tom = b.start_session("acme", &tom);
    fleet.knows_of_session(&tom);
    a.done(World::end("acme", &of_tom), &admin);
    let settings = a.settings();
    let others = [(b.ledger_dir(), key)];
    let rebuilds_nothing = |what: &str| {
        let mut parts = Vec::new();
        let done = app::rebuild(&settings, &others, |done, of| parts.push((done, of)));
        let fault = done.unwrap_err();
        assert!(fault.to_string().contains(what) && parts.is_empty(), "{fault}");
    };
    rebuilds_nothing("in use");
    fleet.gateways.iter_mut().for_each(stop);
    rebuilds_nothing("has lost nothing");
    fleet.redis.tell(&["FLUSHALL"]);
    for gateway in &fleet.gateways {
        std::fs::remove_file(gateway.data.join("shadow.redb")).unwrap();
    }
    let mut parts = Vec::new();
    let done = app::rebuild(&settings, &others, |done, of| parts.push((done, of))).unwrap();
    assert_eq!((done.parts, parts.len(), parts.last()), (64, 65, Some(&(64, 64))), "{done:?}");
    assert!(done.documents > 5, "{done:?}");
    rebuilds_nothing("has lost nothing");
    fleet.gateways.iter_mut().for_each(World::up);
    for gateway in &fleet.gateways {
        serves("what the ledgers have is back", gateway, &sam);
        refused("what was withdrawn stays so", gateway, &tom, OVER);
    }
    fleet.finish();
}
