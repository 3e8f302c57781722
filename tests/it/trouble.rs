//! What is missing, damaged, locked, taken, or told the wrong time.

use crate::world::*;

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
