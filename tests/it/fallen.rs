//! Sessions that fall with something else: the record has their end at once, with its cause and instant, and not when their
//! own time is over (P17-16).

use postern::{
    lifecycle::{Command, Switch, Until, WantedBasis},
    model::{Reach, Span, SubjectRef},
};

use crate::world::*;

fn plan() -> Plan {
    let operators = "stops: { operators: [{ issuer: vendor, sub: olga }] }\nsessions: { last: 8h }";
    Plan::default().edit("sessions: { last: 8h }", operators)
}

fn stop(switch: Switch, set: bool) -> Command {
    let reason = "an incident".to_owned();
    if set { Command::Stop { switch, reason } } else { Command::Lift { switch, reason } }
}

/// The event that says how a session ended, and who wrote it, once it is there; and the instant of the change that did it.
fn end_of(world: &World, session: &str, by: &str) -> (serde_json::Value, serde_json::Value) {
    let found = || {
        let outcomes = world.of_kind("change.outcome");
        let events =
            outcomes.iter().flat_map(|record| record["events"].as_array().cloned().unwrap_or_default());
        let mut ends =
            events.filter(|event| event["event"] == "session_ended" && event["session"] == session);
        let end = ends.next();
        assert!(ends.next().is_none(), "its end is told twice");
        end
    };
    until("its end is written down", || found().is_some());
    let intents = world.of_kind("change.intent");
    let felled = intents.iter().rfind(|intent| intent["command"] == by).expect("what felled it").clone();
    (found().unwrap(), felled)
}

// GW-13
// P17-16
#[test]
fn what_falls_with_a_switch_a_grant_or_consent_is_written_down_as_that_at_once() {
    let clock = ManualClock::at(NOON);
    let world = World::of(plan().clock(&clock));
    let (admin, olga) = (world.people.admin("acme"), world.people.staff("olga"));
    let sam = SubjectRef { issuer: "vendor".parse().unwrap(), sub: "sam".into() };
    let agent = world.people.staff("sam");
    let switches = [
        Switch::Own(tenant("acme")),
        Switch::Operators(Reach::Person(sam)),
        Switch::Operators(Reach::Tenant(tenant("acme"))),
        Switch::Operators(Reach::All),
    ];
    for switch in switches {
        let session = world.start_session("acme", &agent).to_string();
        let by = if matches!(switch, Switch::Own(_)) { &admin } else { &olga };
        clock.advance(1_000);
        world.done(stop(switch.clone(), true), by);
        let (end, felled) = end_of(&world, &session, "stop");
        assert_eq!((&end["cause"], &end["at"]), (&"stopped".into(), &felled["at"]), "{switch:?}");
        assert_eq!(world.get("/t/acme/orders", &agent).code(), "stopped", "{switch:?}: and is told so");
        clock.advance(1_000);
        world.done(stop(switch.clone(), false), by);
        clock.advance(1_000);
        assert_eq!(world.get("/t/acme/orders", &agent).code(), "session_stopped", "{switch:?}");
    }

    let grant = world.make_grant("acme", "editor", Until::For(Span::Millis(86_400_000)));
    let session = world.session_on("acme", &agent, WantedBasis::Grant(grant.clone()), None).to_string();
    clock.advance(1_000);
    world.done(Command::WithdrawGrant { tenant: tenant("acme"), grant }, &admin);
    let (end, felled) = end_of(&world, &session, "withdraw_grant");
    assert_eq!((&end["cause"], &end["at"]), (&"grant_withdrawn".into(), &felled["at"]));
    assert_eq!(world.get("/t/acme/orders", &agent).code(), "grant_withdrawn");

    // A child that follows its parent falls with it.
    let child = world.people.admin("acme-eu");
    let follow = Command::SetConsent {
        tenant: tenant("acme-eu"),
        choice: postern::lifecycle::Choice::Inherit,
        until: None,
        expected: None,
    };
    world.done(follow, &child);
    let sessions = ["acme", "acme-eu"].map(|id| world.start_session(id, &agent).to_string());
    clock.advance(1_000);
    world.done(World::consent("acme", "block"), &admin);
    for session in sessions {
        let (end, felled) = end_of(&world, &session, "set_consent");
        assert_eq!((&end["cause"], &end["at"]), (&"consent_withdrawn".into(), &felled["at"]));
    }
    assert_eq!(world.get("/t/acme/orders", &agent).code(), "consent_withdrawn");
    world.finish();
}

// P17-16
#[test]
fn what_fell_before_a_start_is_written_down_by_it() {
    let mut world = World::of(plan());
    let agent = world.people.staff("sam");
    let session = world.start_session("acme", &agent).to_string();
    let stay = world.start_session("globex", &agent).to_string();
    world.done(stop(Switch::Own(tenant("acme")), true), &world.people.admin("acme"));
    // Whether it was quick enough or not: it is there once.
    world.gateway.take().unwrap().stop();
    world.up();
    let (end, _) = end_of(&world, &session, "stop");
    assert_eq!(end["cause"], "stopped");
    assert_eq!(world.get("/t/globex/orders", &agent).status, 200, "{stay} goes on");
    world.finish();
}
