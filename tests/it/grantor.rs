//! Rule 5 at the door: members' own requests say what the givers of grants can do, at no cost to them; what runs by a
//! grant is cut when its giver was not seen for too long, and when their token names less.

use postern::{
    lifecycle::{Until, WantedBasis},
    model::{GrantId, Span},
};

use crate::{
    client::{Client, Ending},
    world::*,
};

const MINUTE: i64 = 60_000;

fn world(clock: &std::sync::Arc<ManualClock>) -> (World, String, GrantId) {
    let world = World::of(
        Plan::default()
            .edit("sessions: { last: 8h }", "sessions: { last: 8h, max_exchange: 8h }")
            .edit("grants: { longest: 180d }", "grants: { longest: 180d, grantor_memory: 48m }")
            .clock(clock),
    );
    let grant = world.make_grant("acme", "editor", Until::For(Span::CalendarDays(30)));
    let agent = world.people.staff("sam");
    world.session_on("acme", &agent, WantedBasis::Grant(grant.clone()), None);
    (world, agent, grant)
}

fn sightings(world: &World) -> usize {
    let seen = |record: &serde_json::Value| record["events"].to_string().contains("grantor_seen");
    world.of_kind("change.outcome").iter().filter(|record| seen(record)).count()
}

/// A member's request: it passes, and what it says of them is written down beside it.
fn noted(world: &World, token: &str) {
    let before = sightings(world);
    assert_eq!(world.get("/t/acme/orders", token).status, 200);
    until("a giver's token is noticed", || sightings(world) > before);
}

fn stream(world: &World, agent: &str) -> Client {
    let mut stream = world.client();
    stream.send(request("GET", "/t/acme/download?do=events", agent, ""));
    assert!(stream.head().contains(" 200 "));
    stream
}

// GW-05
#[test]
fn what_runs_by_a_grant_is_cut_when_its_giver_was_not_seen_for_too_long() {
    let clock = ManualClock::at(NOON);
    let (world, agent, grant) = world(&clock);
    let mut running = stream(&world, &agent);
    // Seen in time: it goes on past the first deadline.
    clock.advance(40 * MINUTE);
    noted(&world, &world.people.admin("acme"));
    clock.advance(10 * MINUTE);
    assert_eq!(world.get("/t/acme/orders", &agent).status, 200);
    clock.advance(38 * MINUTE);
    assert_eq!(running.read_out().0, Ending::Reset);
    let cut = cut_of(&world);
    assert_eq!(cut["cut_by"]["at"], postern::model::Timestamp::from_ms(NOON + 88 * MINUTE).to_string());
    assert_eq!(
        (&cut["cut_by"]["reason"], &cut["cut_by"]["due"]),
        (&"grantor_unknown".into(), &"grantor".into())
    );
    assert_eq!(world.get("/t/acme/orders", &agent).code(), "grantor_unknown");
    // The support API is a door like any other: they look at the grant, and it gives again.
    let admin = world.people.admin("acme");
    let seen = world.ask("GET", &format!("/_postern/v1/tenants/acme/grants/{grant}"), &admin, "");
    assert_eq!(seen.status, 200, "{}", seen.text());
    until("it gives again", || world.get("/t/acme/orders", &agent).status == 200);
    world.finish();
}

/// The record of what was cut.
fn cut_of(world: &World) -> serde_json::Value {
    let cut = || world.of_kind("access.outcome").into_iter().find(|outcome| outcome["end"] == "cut");
    until("the cut is written down", || cut().is_some());
    cut().unwrap()
}

#[test]
fn what_a_givers_token_no_longer_names_is_cut_while_it_runs() {
    let clock = ManualClock::at(NOON);
    let (world, agent, _) = world(&clock);
    let mut running = stream(&world, &agent);
    let giver = |roles: &[&str]| world.people.member("acme-admin", "acme", roles);
    noted(&world, &giver(&["read_only"]));
    clock.advance(1_000);
    let write = "Content-Length: 0\r\n";
    assert_eq!(world.ask("PUT", "/t/acme/orders/7", &agent, write).code(), "grantor_lacks");
    let before = sightings(&world);
    assert_eq!(world.get("/t/acme/orders", &giver(&[])).status, 403, "they may not even do it themselves");
    until("that is noticed", || sightings(&world) > before);
    assert_eq!(running.read_out().0, Ending::Reset);
    let cut = cut_of(&world);
    // Reading was still theirs to give a second before.
    assert_eq!(cut["cut_by"]["reason"], "grantor_lacks");
    assert_eq!(cut["cut_by"]["at"], postern::model::Timestamp::from_ms(NOON + 1_000).to_string());
    assert_eq!(world.get("/t/acme/orders", &agent).code(), "grantor_lacks");
    world.finish();
}
