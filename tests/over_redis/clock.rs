//! A clock that is behind the ledger of a gateway of a fleet, and an operator who accepts it.

use std::sync::Arc;

use postern::{app, engine::hooks::Hooks};

use crate::{
    rig::{plan, prepared, serving, url},
    servers::Server,
    world::*,
};

/// 2026-07-01, noon.
const NOON: i64 = 1_782_907_200_000;

fn accept(
    world: &World,
    clock: &Arc<ManualClock>,
) -> Result<postern::engine::Accepted, app::AcceptClockFault> {
    app::accept_clock(&world.settings(), Some(Arc::clone(clock) as _))
}

// GW-17
#[test]
fn an_operator_accepts_a_clock_over_a_store_in_redis_once_that_is_known() {
    let redis = Server::start(&[]);
    let clock = ManualClock::at(NOON);
    let servers = format!("url: \"{}\"", url(redis.port));
    let mut gateways = serving(prepared(1, |name| plan(name, &servers, "", Hooks::default()).clock(&clock)));
    let world = &mut gateways[0];
    let (sam, olga) = (world.people.staff("sam"), world.people.staff("olga"));
    let (session, _other) = (world.start_session("acme", &sam), world.start_session("globex", &olga));
    world.gateway.take().unwrap().stop();
    let fault = accept(world, &clock).unwrap_err().to_string();
    assert!(fault.contains("not behind"), "{fault}");
    clock.set(NOON - 3_600_000);
    // A store that does not answer has lost nothing, and nothing of it ends.
    redis.freeze();
    let fault = accept(world, &clock).unwrap_err();
    assert!(matches!(fault, app::AcceptClockFault::Store(_)), "{fault}");
    assert!(fault.to_string().contains("no session was ended"), "{fault}");
    redis.thaw();
    let accepted = accept(world, &clock).unwrap();
    assert_eq!((accepted.sessions, accepted.now.ms(), accepted.ledger.ms()), (2, NOON - 3_600_000, NOON));
    world.up();
    let sam = world.people.staff("sam");
    let named = || world.ask("GET", "/t/acme/orders", &sam, &format!("Postern-Session: {session}\r\n"));
    until("staff are served again", || named().code() == "session_ended");
    world.start_session("acme", &sam);
    assert_eq!(world.get("/t/acme/orders", &sam).status, 200);
    gateways.into_iter().for_each(|gateway| drop(gateway.finish()));
}
