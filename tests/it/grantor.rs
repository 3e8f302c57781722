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
    assert_eq!(running.more(), Ending::Open, "it still runs");
    clock.advance(38 * MINUTE);
    assert_eq!(running.read_out().0, Ending::Reset);
    until("the cut is written down", || world.of_kind("access.outcome").iter().any(|o| o["end"] == "cut"));
    let cut = world.of_kind("access.outcome").into_iter().find(|o| o["end"] == "cut").unwrap();
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
    assert_eq!(running_again(&world, &agent), Ending::Open);
    world.finish();
}

fn running_again(world: &World, agent: &str) -> Ending {
    stream(world, agent).more()
}

#[test]
fn what_a_givers_token_no_longer_names_is_cut_while_it_runs() {
    let clock = ManualClock::at(NOON);
    let (world, agent, _) = world(&clock);
    let mut running = stream(&world, &agent);
    let giver = |roles: &[&str]| world.people.member("acme-admin", "acme", roles);
    noted(&world, &giver(&["read_only"]));
    assert_eq!(running.more(), Ending::Open, "reading is still theirs to give");
    let write = "Content-Length: 0\r\n";
    assert_eq!(world.ask("PUT", "/t/acme/orders/7", &agent, write).code(), "grantor_lacks");
    let before = sightings(&world);
    assert_eq!(world.get("/t/acme/orders", &giver(&[])).status, 403, "they may not even do it themselves");
    until("that is noticed", || sightings(&world) > before);
    assert_eq!(running.read_out().0, Ending::Reset);
    assert_eq!(world.get("/t/acme/orders", &agent).code(), "grantor_lacks");
    world.finish();
}
