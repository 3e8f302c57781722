//! What is missing, damaged, locked, taken, or told the wrong time.

use crate::{operations::operations, world::*};

/// A tenant that closed the way and an agent with a session, so that forgetting either shows.
fn lived_in() -> (World, String, postern::model::SessionId) {
    let world = World::start();
    let agent = world.people.staff("sam");
    let session = world.start_session("globex", &agent);
    world.done(World::consent("acme", "block"), &world.people.admin("acme"));
    assert_eq!(world.get("/t/globex/orders", &agent).status, 200);
    (world, agent, session)
}

fn still_known(world: &World, agent: &str) {
    assert_eq!(world.get("/t/globex/orders", agent).status, 200, "the session is still known");
    let refused = world.change(
        postern::lifecycle::Command::StartSession {
            tenant: tenant("acme"),
            session: postern::model::SessionId::new("ses_again").unwrap(),
            environment: production(),
            basis: postern::lifecycle::WantedBasis::Consent,
            reason: "to see whether it is still closed".to_owned(),
            ticket: None,
            lasts: None,
        },
        agent,
    );
    assert_eq!(refused.unwrap_err().code(), "consent_closes", "nothing withdrawn comes back");
}

fn rest(world: &mut World) {
    until("every intent has its outcome", || world.gateway().engine().journal().status().open_intents == 0);
    world.gateway.take().unwrap().stop();
}

// GW-04
#[test]
fn a_store_that_is_missing_beside_its_ledger_is_rebuilt() {
    let (mut world, agent, session) = lived_in();
    rest(&mut world);
    std::fs::remove_file(world.data.join("state.redb")).unwrap();
    world.up();
    still_known(&world, &agent);
    world.done(World::end("globex", &session), &world.people.admin("globex"));
    rest(&mut world);
    std::fs::remove_file(world.data.join("state.redb")).unwrap();
    world.up();
    let named = world.ask("GET", "/t/globex/orders", &agent, &format!("Postern-Session: {session}\r\n"));
    assert_eq!(named.code(), "session_ended", "the newest state counts, not the first");
    world.finish();
}

// GW-17
#[test]
fn a_store_that_went_back_gives_nothing_back() {
    let (mut world, agent, session) = lived_in();
    rest(&mut world);
    let (state, older) = (world.data.join("state.redb"), world.data.join("older.redb"));
    std::fs::copy(&state, &older).unwrap();
    world.up();
    world.done(World::end("globex", &session), &world.people.admin("globex"));
    world.done(World::consent("globex", "block"), &world.people.admin("globex"));
    rest(&mut world);
    // Twice: also what was joined in is known at the next start, and is not joined in again.
    std::fs::copy(&older, &state).unwrap();
    for _ in 0..2 {
        world.up();
        let named = world.ask("GET", "/t/globex/orders", &agent, &format!("Postern-Session: {session}\r\n"));
        assert_eq!(named.code(), "session_ended", "nothing withdrawn comes back");
        rest(&mut world);
    }
    // A store of another life, in which nothing of this one ever happened.
    std::fs::remove_file(&state).unwrap();
    postern::app::init_state(&state, &world.keys_dir.path().join("no-ledger")).unwrap();
    world.up();
    let named = world.ask("GET", "/t/globex/orders", &agent, &format!("Postern-Session: {session}\r\n"));
    assert_eq!(named.code(), "session_ended");
    world.done(World::consent("globex", "read_only"), &world.people.admin("globex"));
    world.finish();
}

// GW-17
#[test]
fn a_store_that_went_back_is_not_healed_from_a_ledger_that_was_tampered_with() {
    let (mut world, _, session) = lived_in();
    rest(&mut world);
    let (state, older) = (world.data.join("state.redb"), world.data.join("older.redb"));
    std::fs::copy(&state, &older).unwrap();
    world.up();
    world.done(World::end("globex", &session), &world.people.admin("globex"));
    rest(&mut world);
    std::fs::copy(&older, &state).unwrap();
    let first = world.ledger_dir().join("00000001.jsonl");
    let text = std::fs::read_to_string(&first).unwrap();
    std::fs::write(&first, text.replacen("\"actor\":\"subject\"", "\"actor\":\"nobody1\"", 1)).unwrap();
    let fault = world.try_up().unwrap_err();
    let postern::app::StartFault::Open(open) = &fault else { panic!("{fault}") };
    assert_eq!(open.code(), "ledger_unverified", "{fault}");
}

// GW-17
#[test]
fn a_ledger_that_is_missing_beside_its_store_is_not_begun_anew() {
    let (mut world, agent, _) = lived_in();
    rest(&mut world);
    let aside = world.data.join("unmounted");
    std::fs::rename(world.ledger_dir(), &aside).unwrap();
    for _ in 0..2 {
        let fault = world.try_up().unwrap_err();
        let postern::app::StartFault::Open(open) = &fault else { panic!("{fault}") };
        assert_eq!(open.code(), "ledger_missing", "{fault}");
        assert!(fault.to_string().contains("mount the ledger"), "{fault}");
    }
    std::fs::remove_dir_all(world.ledger_dir()).unwrap();
    std::fs::rename(&aside, world.ledger_dir()).unwrap();
    world.up();
    still_known(&world, &agent);
    world.finish();
}

#[test]
fn a_stop_writes_the_outcomes_of_what_ended_and_lets_go_of_its_files() {
    let mut world = World::start();
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    for _ in 0..30 {
        assert_eq!(world.get("/t/acme/orders", &agent).status, 200);
    }
    world.get("/t/acme/orders", "no-token");
    world.gateway.take().unwrap().stop();
    let records = world.prove();
    assert!(records.iter().all(|record| record["end"] != "unknown"));
    assert!(records.iter().any(|record| record["kind"] == "access.refusals"), "counts are written too");
    // At once, not when threads have found the time.
    let store = std::fs::File::options().read(true).write(true).open(world.data.join("state.redb")).unwrap();
    assert!(store.try_lock().is_ok(), "the store's lock is given back");
    drop(store);
    world.up();
    world.finish();
}

#[test]
fn a_clock_far_behind_the_ledger_refuses_staff_until_it_is_right() {
    let clock = ManualClock::at(NOON);
    let mut world = World::of(Plan::default().clock(&clock));
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    let member = world.people.member("rita", "acme", &["read_only"]);
    let session = world.start_session("acme", &agent);
    assert_eq!(world.get("/t/acme/orders", &agent).status, 200);
    rest(&mut world);
    // Two minutes are tolerated, to the millisecond.
    clock.set(NOON - 120_000);
    world.up();
    // The application's tokens are not yet valid to this clock; these are.
    let early = world.people.staff("sam");
    assert_eq!(world.get("/t/acme/orders", &early).status, 200);
    rest(&mut world);
    for again in 0..2 {
        clock.set(NOON - 120_001);
        world.try_up().unwrap();
        until("it is settled", || !world.of_kind("gateway.started").is_empty());
        let (early, early_member) =
            (world.people.staff("sam"), world.people.member("rita", "acme", &["read_only"]));
        until("settling is over", || world.get("/t/acme/orders", &early).code() != "settling");
        let seen = world.upstream.seen().len();
        let refused = world.get("/t/acme/orders", &early);
        assert_eq!((refused.status, refused.code()), (503, "clock_behind".to_owned()), "start {again}");
        assert!(refused.text().contains("operator"), "{}", refused.text());
        assert_eq!(world.upstream.seen().len(), seen);
        assert_eq!(world.get("/t/acme/orders", &early_member).status, 200, "members are served");
        let fault = world.change(World::end("acme", &session), &early).unwrap_err();
        assert_eq!(fault.code(), "clock_behind");
        // A tenant may take back what it gave, whatever the gateway's clock says.
        let level = ["edit", "read_only"][again];
        world.done(World::consent("acme", level), &world.people.admin("acme"));
        // What is written meanwhile does not make the clock look right at the next start.
        rest(&mut world);
    }
    clock.set(NOON + 1_000);
    world.up();
    assert_eq!(world.get("/t/acme/orders", &agent).status, 200);
    assert_eq!(world.get("/t/acme/orders", &member).status, 200);
    world.done(World::end("acme", &session), &admin);
    world.finish();
}

/// An earlier life ran an hour ahead; its operator says that the clock is right now.
// GW-17
#[test]
fn an_operator_accepts_a_clock_that_is_behind_and_every_session_ends_by_it() {
    let clock = ManualClock::at(NOON);
    let mut world = World::of(Plan::default().clock(&clock));
    let accept = |world: &World| {
        let settings = settings(world.keys_dir.path(), &world.data, world.upstream.address, &world.edits);
        postern::app::accept_clock(&settings, Some(std::sync::Arc::clone(&clock) as _))
    };
    let (sam, olga) = (world.people.staff("sam"), world.people.staff("olga"));
    let (session, other) = (world.start_session("acme", &sam), world.start_session("globex", &olga));
    world.done(World::end("globex", &other), &olga);
    let locked = accept(&world).unwrap_err().to_string();
    assert!(locked.contains("ledger"), "a gateway runs on it: {locked}");
    rest(&mut world);
    let fault = accept(&world).unwrap_err().to_string();
    assert!(fault.contains("not behind"), "{fault}");
    clock.set(NOON - 3_600_000);
    world.try_up().unwrap();
    until("it is settled", || world.gateway().engine().settled());
    let ready = operations(&world, "/readyz");
    for said in ["staff: refused: the clock (2026-07-01T11:00:00", "(2026-07-01T12:00:00", "accept-clock"] {
        assert!(ready.contains(said), "`{said}` is not in: {ready}");
    }
    assert!(operations(&world, "/metrics").contains("\npostern_staff_served 0\n"));
    rest(&mut world);

    let accepted = accept(&world).unwrap();
    assert_eq!((accepted.sessions, accepted.now.ms()), (1, NOON - 3_600_000));
    assert_eq!(accepted.ledger.ms(), NOON);
    assert!(accept(&world).unwrap_err().to_string().contains("not behind"), "once is enough");
    world.up();
    assert!(operations(&world, "/readyz").contains("staff: served\n"));
    assert!(operations(&world, "/metrics").contains("\npostern_staff_served 1\n"));
    let sam = world.people.staff("sam");
    let named = world.ask("GET", "/t/acme/orders", &sam, &format!("Postern-Session: {session}\r\n"));
    assert_eq!(named.code(), "session_ended");
    world.start_session("acme", &sam);
    assert_eq!(world.get("/t/acme/orders", &sam).status, 200);
    rest(&mut world);
    // From here on the accepted clock is the measure: also of one that falls behind it.
    clock.advance(-120_001);
    world.try_up().unwrap();
    let early = world.people.staff("sam");
    until("staff are refused", || world.get("/t/acme/orders", &early).code() == "clock_behind");
    rest(&mut world);
    clock.advance(121_000);
    world.up();
    assert_eq!(world.get("/t/acme/orders", &sam).status, 200);
    let records = world.of_kind("clock.accepted");
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["ledger"], "2026-07-01T12:00:00.000Z");
    assert_eq!(
        (&records[0]["now"], &records[0]["at"]),
        (&"2026-07-01T11:00:00.000Z".into(), &records[0]["now"])
    );
    assert_eq!(records[0]["sessions"], 1);
    let ends: Vec<_> = world
        .of_kind("change.intent")
        .into_iter()
        .filter(|intent| intent["command"] == "accept_clock")
        .map(|intent| intent["events"][0]["cause"].clone())
        .collect();
    assert_eq!(ends, ["clock_accepted"], "what had ended before ended as it did");
    // Whoever looks for what happened at noon finds it, though later records bear earlier times.
    let dir = world.ledger_dir();
    let mut found = postern::audit::read::Records::from_time(&dir, NOON).unwrap();
    let first = found.next(|line, _, _| line.lead.at_ms).unwrap().unwrap();
    let all = std::iter::from_fn(|| found.next(|line, _, _| line.lead.at_ms).unwrap());
    assert!(first == NOON || all.into_iter().any(|at| at == NOON));
    world.finish();
}

#[test]
fn a_clock_put_right_while_the_gateway_runs_lets_staff_in_again() {
    let clock = ManualClock::at(NOON);
    let mut world = World::of(Plan::default().clock(&clock));
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    rest(&mut world);
    clock.set(NOON - 3_600_000);
    world.try_up().unwrap();
    let early = world.people.staff("sam");
    until("staff are refused for it", || world.get("/t/acme/orders", &early).code() == "clock_behind");
    // Nearly right is not right: what lies between would be lived through twice.
    for behind in [120_000, 60_000, 1] {
        clock.set(NOON - behind);
        assert_eq!(world.get("/t/acme/orders", &early).code(), "clock_behind", "{behind} ms behind");
    }
    clock.set(NOON);
    assert_eq!(world.get("/t/acme/orders", &agent).status, 200);
    world.finish();
}

// GW-17
#[test]
fn a_damaged_store_is_refused_and_named() {
    let (mut world, agent, _) = lived_in();
    rest(&mut world);
    let path = world.data.join("state.redb");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 3]).unwrap();
    let fault = world.try_up().unwrap_err().to_string();
    assert!(fault.contains("state.redb"), "{fault}");
    std::fs::write(&path, b"this is no store").unwrap();
    let fault = world.try_up().unwrap_err().to_string();
    assert!(fault.contains("state.redb"), "{fault}");
    // Moved aside, it is rebuilt.
    std::fs::rename(&path, world.data.join("state.damaged")).unwrap();
    world.up();
    still_known(&world, &agent);
    world.finish();
}

#[test]
fn a_store_or_ledger_in_use_is_refused_and_named() {
    let mut world = World::start();
    let first = world.gateway.take().unwrap();
    let fault = world.try_up().unwrap_err().to_string();
    assert!(fault.contains("ledger") && fault.contains("in use"), "{fault}");
    // Also when its state file is gone: nothing is built beside a gateway that runs.
    let (state, aside) = (world.data.join("state.redb"), world.data.join("aside.redb"));
    std::fs::rename(&state, &aside).unwrap();
    let fault = world.try_up().unwrap_err().to_string();
    assert!(fault.contains("ledger") && fault.contains("in use"), "{fault}");
    assert!(!state.exists(), "no second state came to be");
    std::fs::rename(&aside, &state).unwrap();
    // The same state with another ledger.
    let mut settings = settings(world.keys_dir.path(), &world.data, world.upstream.address, &world.edits);
    settings.ledger.path = world.keys_dir.path().join("other-ledger");
    let fault =
        postern::app::Gateway::start(settings, postern::app::Extra::default()).err().unwrap().to_string();
    assert!(fault.contains("state.redb") && fault.contains("use"), "{fault}");
    // Another store on the same ledger.
    let store = world.keys_dir.path().join("other.redb");
    let mut settings =
        crate::world::settings(world.keys_dir.path(), &world.data, world.upstream.address, &world.edits);
    postern::app::init_state(&store, &world.keys_dir.path().join("no-ledger")).unwrap();
    settings.state = postern::config::resolve::StateSettings::File(store);
    let fault =
        postern::app::Gateway::start(settings, postern::app::Extra::default()).err().unwrap().to_string();
    assert!(fault.contains("ledger") && fault.contains("in use"), "{fault}");
    world.gateway = Some(first);
    assert_eq!(
        world.get("/t/acme/orders", &world.people.admin("acme")).status,
        200,
        "the first one is unharmed"
    );
    world.finish();
}

#[test]
fn a_port_in_use_is_refused_and_named_and_nothing_is_left_behind() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut world = World::start();
    rest(&mut world);
    let mut settings = settings(world.keys_dir.path(), &world.data, world.upstream.address, &world.edits);
    settings.listen = address;
    let fault =
        postern::app::Gateway::start(settings, postern::app::Extra::default()).err().unwrap().to_string();
    assert!(fault.contains(&address.to_string()) && fault.contains("another address"), "{fault}");
    // State and ledger were let go of.
    until("another start succeeds", || world.try_up().is_ok());
    world.until_ready();
    // A second gateway does not quietly share the first one's port.
    let second = World::prepared(Plan::default());
    postern::app::init_state(&second.data.join("state.redb"), &second.ledger_dir()).unwrap();
    let mut settings =
        crate::world::settings(second.keys_dir.path(), &second.data, world.upstream.address, &[]);
    settings.listen = world.gateway().address();
    let fault =
        postern::app::Gateway::start(settings, postern::app::Extra::default()).err().unwrap().to_string();
    assert!(fault.contains("cannot listen"), "{fault}");
    world.finish();
}

// GW-17
#[test]
fn nothing_is_begun_where_nothing_is_and_no_empty_store_beside_a_ledger() {
    let mut world = World::prepared(Plan::default());
    let fault = world.try_up().unwrap_err().to_string();
    assert!(fault.contains("postern state init"), "{fault}");
    assert!(!world.data.join("state.redb").exists());
    postern::app::init_state(&world.data.join("state.redb"), &world.ledger_dir()).unwrap();
    world.up();
    rest(&mut world);
    std::fs::remove_file(world.data.join("state.redb")).unwrap();
    assert!(postern::app::init_state(&world.data.join("state.redb"), &world.ledger_dir()).is_err());
    assert!(!world.data.join("state.redb").exists());
    world.prove();
}

#[test]
fn a_ledger_that_was_tampered_with_rebuilds_nothing() {
    let (mut world, ..) = lived_in();
    rest(&mut world);
    let segment = std::fs::read_dir(world.ledger_dir())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains("access.intent")))
        .unwrap();
    let text = std::fs::read_to_string(&segment).unwrap();
    std::fs::write(&segment, text.replacen("\"method\":\"GET\"", "\"method\":\"PUT\"", 1)).unwrap();
    std::fs::remove_file(world.data.join("state.redb")).unwrap();
    let fault = world.try_up().unwrap_err().to_string();
    assert!(fault.contains("does not verify") || fault.contains("damaged"), "{fault}");
    assert!(!world.data.join("state.redb").exists());
}

// GW-05
#[test]
fn a_clock_set_back_prolongs_nothing() {
    let clock = ManualClock::at(NOON);
    let world = World::of(Plan::default().clock(&clock));
    let agent = world.people.staff("sam");
    let lasts = Some(postern::model::Span::Millis(1_800_000));
    let session = world.session_on("acme", &agent, postern::lifecycle::WantedBasis::Consent, lasts);
    let mut stream = world.client();
    stream.send(request("GET", "/t/acme/download?do=events", &agent, ""));
    stream.head();
    clock.advance(1_800_000);
    assert_eq!(stream.read_out().0, crate::client::Ending::Reset);
    until("its end is written down", || {
        let named = world.ask("GET", "/t/acme/orders", &agent, &format!("Postern-Session: {session}\r\n"));
        named.code() == "session_expired"
            && world.records().iter().any(|record| {
                record["kind"] == "change.outcome" && record["events"].to_string().contains("session_ended")
            })
    });
    // Even a clock of the gateway's own that ran backwards would not bring it back.
    clock.set(NOON + 60_000);
    let named = world.ask("GET", "/t/acme/orders", &agent, &format!("Postern-Session: {session}\r\n"));
    assert!(["session_expired", "session_ended"].contains(&named.code().as_str()), "{}", named.text());
    world.finish();
}

/// Deadlines go on from the ledger's last record; tokens bear others' time and go by the clock alone.
#[test]
fn a_clock_a_little_behind_the_ledger_makes_no_token_old() {
    let clock = ManualClock::at(NOON);
    let mut world = World::of(Plan::default().clock(&clock));
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    rest(&mut world);
    clock.set(NOON - 110_000);
    world.up();
    let mut claims = world.people.staff_claims("sam");
    claims["exp"] = (world.people.now_ms() / 1000 + 30).into();
    let short = world.people.keys.vendor.sign("at+jwt", &claims).unwrap();
    let reply = world.get("/t/acme/orders", &short);
    assert_eq!(reply.status, 200, "{}", reply.text());
    world.finish();
}

/// Law 1 to the end: where not even an outcome can be written, nothing of staff runs on.
#[test]
fn a_ledger_that_takes_no_outcome_cuts_what_runs() {
    let mut world = World::start();
    let agent = world.people.staff("sam");
    let member = world.people.member("rita", "acme", &["read_only"]);
    world.start_session("acme", &agent);
    let mut stream = world.client();
    stream.send(request("GET", "/t/acme/download?do=events", &agent, ""));
    stream.head();
    let live = world.gateway().engine().registry().all().remove(0);
    world.gateway().engine().journal().close();
    assert_eq!(stream.read_out().0, crate::client::Ending::Reset);
    assert_eq!(live.fuse.burnt().unwrap().reason.code(), "record_unavailable");
    assert_eq!(world.get("/t/acme/orders", &member).status, 200, "members are served");
    drop(live);
    world.gateway.take().unwrap().stop();
    world.up();
    let outcome = world.last_outcome();
    assert_eq!(outcome["end"], "unknown");
    world.finish();
}

/// A start under a used-up quota settles the past, serves what it can and lets a tenant take back what it gave.
#[test]
fn after_a_start_under_a_used_up_quota_a_tenant_can_still_take_back() {
    let (mut world, agent, session) = lived_in();
    rest(&mut world);
    let mut settings =
        crate::world::settings(world.keys_dir.path(), &world.data, world.upstream.address, &world.edits);
    settings.ledger.quota = Some(1);
    world.gateway = Some(postern::app::Gateway::start(settings, postern::app::Extra::default()).unwrap());
    world.until_ready();
    assert_eq!(world.get("/t/globex/orders", &agent).code(), "ledger_quota");
    world.done(World::end("globex", &session), &world.people.admin("globex"));
    let named = world.ask("GET", "/t/globex/orders", &agent, &format!("Postern-Session: {session}\r\n"));
    assert_eq!(named.code(), "session_ended");
    rest(&mut world);
    world.up();
    world.finish();
}
