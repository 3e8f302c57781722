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
