//! Resources over sockets: what a row opens, what a path does not, and how far a grant over a resource reaches.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use postern::lifecycle::WantedBasis;
use serde_json::json;

use crate::{
    services::{call, program, with_services},
    world::*,
};

const ROLES: (&str, &str) = (
    "  admin: { allow: \"*:*\" }\n",
    "  admin: { allow: \"*:*\" }\n  lead: { at: board, allow: [\"orders:*\", \"users:manage\"], keep_one: true }\n  hand: { at: board, allow: orders:read, own: orders:write }\nresource_types:\n  board: { manage: users:manage }\n  card: { parent: board }\n",
);
const ROUTES: (&str, &str) = (
    "  - { route: \"GET /t/{tenant}/download\"",
    "  - { route: \"GET /t/{tenant}/b/{board}/c/{card}\", permission: orders:read, resource: { type: card, id: card, within: { type: board, id: board } } }\n  - { route: \"POST /t/{tenant}/b/{board}/c/{card}\", permission: orders:write, resource: { type: card, id: card, within: { type: board, id: board } } }\n  - { route: \"GET /t/{tenant}/download\"",
);

fn world() -> World {
    let plan =
        with_services(Plan::default()).edit("\"members:push\"", "\"members:push\", \"resources:push\"");
    World::of(plan.edit(ROLES.0, ROLES.1).edit(ROUTES.0, ROUTES.1))
}

fn push(world: &World, resource: &str, body: &str) {
    let reply =
        call(world, "PUT", &format!("/tenants/acme/resources/{resource}"), &program(world, "crm"), body);
    assert_eq!(reply.status, 200, "{}", reply.text());
}

fn member(board: &str, sub: &str) -> String {
    format!("/tenants/acme/resources/board/{board}/members/app.{}", URL_SAFE_NO_PAD.encode(sub))
}

// PFC-04
// PFP-17
#[test]
fn a_row_at_a_board_opens_its_cards_and_no_other_whatever_the_path_names() {
    let mut world = world();
    for (resource, body) in [
        ("board/b1", "{}"),
        ("board/b2", "{}"),
        ("card/c1", r#"{"parent": "b1", "creator": {"issuer": "app", "sub": "clara"}}"#),
        ("card/c2", r#"{"parent": "b2"}"#),
        ("card/c3", r#"{"parent": "b1"}"#),
    ] {
        push(&world, resource, body);
    }
    let crm = program(&world, "crm");
    let (clara, lena) = (world.people.member("clara", "acme", &[]), world.people.member("lena", "acme", &[]));
    let get = |world: &World, board: &str, card: &str, who: &str| {
        let reply = world.get(&format!("/t/acme/b/{board}/c/{card}"), who);
        if reply.status == 200 { "open".to_owned() } else { reply.code() }
    };
    assert_eq!(get(&world, "b1", "c1", &clara), "permission_missing");
    // A service makes one the lead, who lets the other in.
    assert_eq!(call(&world, "PUT", &member("b1", "lena"), &crm, r#"{"role": "lead"}"#).status, 200);
    assert_eq!(
        call(&world, "PUT", &member("b1", "clara"), &clara, r#"{"role": "hand"}"#).code(),
        "not_allowed"
    );
    assert_eq!(call(&world, "PUT", &member("b1", "clara"), &lena, r#"{"role": "hand"}"#).status, 200);
    assert_eq!(get(&world, "b1", "c1", &clara), "open");
    for (board, card) in [("b2", "c2"), ("b1", "c2"), ("b2", "c1"), ("b1", "c9")] {
        assert_eq!(get(&world, board, card, &clara), "permission_missing", "{card} on {board}");
    }
    // What is theirs they change, what is another's not.
    let write = "Content-Length: 0\r\n";
    assert_eq!(world.ask("POST", "/t/acme/b/b1/c/c1", &clara, write).status, 200);
    assert_eq!(world.ask("POST", "/t/acme/b/b1/c/c3", &clara, write).code(), "permission_missing");
    let outcome = |world: &World, name: &str| {
        let all = world.of_kind("change.outcome");
        all.iter()
            .flat_map(|record| record["events"].as_array().cloned().unwrap_or_default())
            .filter(|event| event["event"] == name)
            .count()
    };
    assert_eq!(outcome(&world, "resource_joined"), 2);
    // A restart knows it from the store; who is taken out is out with the answer.
    world.gateway.take().unwrap().stop();
    world.up();
    let lena = world.people.member("lena", "acme", &[]);
    assert_eq!(get(&world, "b1", "c1", &clara), "open");
    assert_eq!(call(&world, "DELETE", &member("b1", "clara"), &lena, "").status, 200);
    assert_eq!(get(&world, "b1", "c1", &clara), "permission_missing");
    assert_eq!(call(&world, "DELETE", &member("b1", "lena"), &lena, "").code(), "last_of_role");
    world.finish();
}

// CEL-15
#[test]
fn a_grant_over_a_board_reaches_what_is_known_to_lie_on_it() {
    let world = world();
    for (resource, body) in [
        ("board/b1", "{}"),
        ("card/c1", r#"{"parent": "b1"}"#),
        ("card/c2", r#"{"parent": "b2"}"#),
        ("card/c3", "{}"),
    ] {
        push(&world, resource, body);
    }
    let agent = world.people.staff("sam");
    let admin = world.people.admin("acme");
    let body = json!({"environment": "production", "to": {"subject": {"issuer": "vendor", "sub": "sam"}}, "role": "admin",
        "scope": {"resources": [{"type": "board", "id": "b1"}]}, "for": "1h"});
    let made = call(&world, "POST", "/tenants/acme/grants", &admin, &body.to_string());
    assert_eq!(made.status, 201, "{}", made.text());
    let made: serde_json::Value = serde_json::from_slice(&made.body).unwrap();
    let grant = made["grant"]["id"].as_str().unwrap().parse().unwrap();
    world.session_on("acme", &agent, WantedBasis::Grant(grant), None);
    let get = |board: &str, card: &str| {
        let reply = world.get(&format!("/t/acme/b/{board}/c/{card}"), &agent);
        if reply.status == 200 { "open".to_owned() } else { reply.code() }
    };
    assert_eq!(get("b1", "c1"), "open");
    for (board, card) in [("b2", "c2"), ("b1", "c2"), ("b2", "c1"), ("b1", "c3"), ("b1", "c9")] {
        assert_eq!(get(board, card), "grant_scope", "{card} on {board}");
    }
    // What is taken off the board is out of reach with the answer.
    push(&world, "card/c1", r#"{"parent": "b2"}"#);
    assert_eq!(get("b2", "c1"), "grant_scope");
    world.finish();
}

// PFP-07
#[test]
fn of_two_leads_who_leave_at_once_one_stays() {
    let world = world();
    push(&world, "board/b1", "{}");
    let crm = program(&world, "crm");
    let leads = ["lena", "luis"].map(|name| (name, world.people.member(name, "acme", &[])));
    for round in 0..10 {
        for (name, _) in &leads {
            assert_eq!(call(&world, "PUT", &member("b1", name), &crm, r#"{"role": "lead"}"#).status, 200);
        }
        let start = std::sync::Barrier::new(2);
        let mut told = std::thread::scope(|scope| {
            let each = leads.each_ref().map(|(name, who)| {
                let (world, start) = (&world, &start);
                scope.spawn(move || {
                    start.wait();
                    call(world, "DELETE", &member("b1", name), who, "").status
                })
            });
            each.map(|one| one.join().unwrap())
        });
        told.sort_unstable();
        assert_eq!(told, [200, 409], "round {round}");
    }
    world.finish();
}
