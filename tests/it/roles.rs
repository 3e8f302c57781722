//! Roles of tenants at the door: what a role loses ends what runs by it.

use postern::{
    lifecycle::{Until, WantedBasis},
    model::Span,
};
use serde_json::json;

use crate::{client::Ending, services::call, world::*};

const EDITS: [(&str, &str); 2] = [
    (
        "  admin: { allow: \"*:*\" }\n",
        "  admin: { allow: \"*:*\" }\n  clerk: { allow: \"orders:read\", adjustable: true }\ntenant_roles: { most: 3 }\n",
    ),
    (
        "GET /t/{tenant}/orders\", permission: orders:read",
        "GET /t/{tenant}/orders\", permission: orders:read, record: true",
    ),
];

fn world() -> World {
    World::of(EDITS.into_iter().fold(Plan::default(), |plan, (from, to)| plan.edit(from, to)))
}

fn say(world: &World, role: &str, permissions: &[&str]) {
    let body = json!({"permissions": permissions}).to_string();
    let path = format!("/tenants/acme/roles/{role}");
    let reply = call(world, "PUT", &path, &world.people.admin("acme"), &body);
    assert_eq!(reply.status, 200, "{}", reply.text());
}

// P17-13
// P17-31
#[test]
fn a_role_of_the_tenants_own_that_is_narrowed_cuts_a_download_that_runs_by_it() {
    let world = world();
    let agent = world.people.staff("sam");
    say(&world, "order_editor", &["orders:read", "orders:write"]);
    let grant = world.make_grant("acme", "order_editor", Until::For(Span::CalendarDays(30)));
    world.session_on("acme", &agent, WantedBasis::Grant(grant), None);
    let write = "Content-Length: 0\r\n";
    assert_eq!(world.ask("POST", "/t/acme/orders", &agent, write).status, 200);
    let mut running = world.client();
    running.send(request("GET", "/t/acme/download?do=forever", &agent, ""));
    assert!(running.head().contains(" 200 "));

    // What it loses beside does not concern the download.
    say(&world, "order_editor", &["orders:read"]);
    assert_eq!(world.ask("POST", "/t/acme/orders", &agent, write).code(), "permission_missing");
    assert_eq!(world.get("/t/acme/orders", &agent).status, 200);
    say(&world, "order_editor", &["orders:write"]);
    assert_eq!(running.read_out().0, Ending::Reset);
    let cut = world.of_kind("access.outcome").into_iter().find(|outcome| outcome["end"] == "cut").unwrap();
    assert_eq!(cut["cut_by"]["reason"], "permission_missing");
    assert_eq!(world.get("/t/acme/orders", &agent).code(), "permission_missing");
    // Given back, the session has it again, as at its start.
    say(&world, "order_editor", &["orders:read"]);
    assert_eq!(world.get("/t/acme/orders", &agent).status, 200);
    world.finish();
}

// PFC-03
#[test]
fn members_follow_what_their_tenant_says_of_a_role_on_each_request_and_where_they_are_recorded_at_once() {
    let mut world = world();
    let clara = world.people.member("clara", "acme", &["clerk", "somewhere_else"]);
    let write = "Content-Length: 0\r\n";
    assert_eq!(world.get("/t/acme/download", &clara).status, 200);
    assert_eq!(world.ask("POST", "/t/acme/orders", &clara, write).code(), "permission_missing");
    say(&world, "clerk", &["orders:read", "orders:write"]);
    assert_eq!(world.ask("POST", "/t/acme/orders", &clara, write).status, 200);
    // Elsewhere it is as it was.
    let there = world.people.member("carl", "globex", &["clerk"]);
    assert_eq!(world.ask("POST", "/t/globex/orders", &there, write).code(), "permission_missing");
    // What runs on a route that records is held to it.
    let mut running = world.client();
    running.send(request("GET", "/t/acme/orders?do=forever", &clara, ""));
    assert!(running.head().contains(" 200 "));
    say(&world, "clerk", &["orders:write"]);
    assert_eq!(running.read_out().0, Ending::Reset);
    assert_eq!(world.get("/t/acme/download", &clara).code(), "permission_missing");
    // A restart knows it from the store.
    world.gateway.take().unwrap().stop();
    world.up();
    assert_eq!(world.get("/t/acme/download", &clara).code(), "permission_missing");
    assert_eq!(world.ask("POST", "/t/acme/orders", &clara, write).status, 200);
    world.finish();
}
