//! Programs over sockets: what they push is in force at once, and nothing else is open to them.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use serde_json::json;

use crate::{
    client::{Client, Ending, Reply},
    cuts::counting,
    world::*,
};

/// An issuer of programs, which signs with the vendor's key, and one program that may push.
pub fn with_services(plan: Plan) -> Plan {
    plan.edit(
        "  - name: app\n",
        "  - name: programs\n    issuer: https://programs.example\n    kind: service\n    audience: postern\n    algorithms: [ES256]\n    keys: { file: KEYS/vendor.jwks }\n  - name: app\n",
    )
    .edit(
        "tenants:\n  from: { path: tenant }",
        "services: [{ issuer: programs, subjects: [crm], may: [\"tenants:push\", \"members:push\"] }]\ntenants:\n  from: { path: tenant }",
    )
}

/// The token of a program.
pub fn program(world: &World, sub: &str) -> String {
    let now = world.people.now_ms() / 1000;
    let claims = json!({ "iss": "https://programs.example", "aud": "postern", "sub": sub, "iat": now, "exp": now + 3600 });
    world.people.keys.vendor.sign("at+jwt", &claims).unwrap()
}

/// One call of the support API on a connection of its own.
pub fn call(world: &World, method: &str, path: &str, token: &str, body: &str) -> Reply {
    let more = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    let mut client = world.client();
    client.send(request(method, &format!("/_postern/v1{path}"), token, &more) + body);
    client.reply()
}

const WHOLE: &str = r#"{"zone":"UTC","environments":["production","sandbox"]}"#;
const LESS: &str = r#"{"zone":"UTC","environments":["sandbox"]}"#;

/// A download of an agent's in a tenant, under way.
fn download(world: &World, tenant: &str, agent: &str, count: &AtomicU64) -> Client {
    let before = count.load(SeqCst);
    let mut client = world.client();
    client.send(request("GET", &format!("/t/{tenant}/download?do=forever"), agent, ""));
    assert!(client.head().contains(" 200 "));
    until("bytes flow", || count.load(SeqCst) > before + 100_000);
    client
}

// GW-09
#[test]
fn what_a_service_takes_away_cuts_what_runs_before_it_is_answered_and_stays_over_a_restart() {
    let (hooks, count) = counting();
    let mut world = World::of(with_services(Plan::default()).hooks(hooks));
    let (crm, agent) = (program(&world, "crm"), world.people.staff("sam"));
    assert_eq!(call(&world, "PUT", "/tenants/initech", &crm, WHOLE).status, 201);
    world.start_session("initech", &agent);
    let mut client = download(&world, "initech", &agent, &count);
    let answer = call(&world, "PUT", "/tenants/initech", &crm, LESS);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answered = count.load(SeqCst);
    assert_eq!(client.read_out().0, Ending::Reset);
    assert_eq!(count.load(SeqCst), answered, "bytes passed after the answer");
    assert_eq!(world.last_outcome()["cut_by"]["reason"], "environment_removed");
    assert_eq!(call(&world, "PUT", "/tenants/initech", &crm, WHOLE).status, 200);
    assert_eq!(world.get("/t/initech/orders", &agent).code(), "environment_removed");
    world.start_session("initech", &agent);
    let mut client = download(&world, "initech", &agent, &count);
    assert_eq!(call(&world, "DELETE", "/tenants/initech", &crm, "").status, 200);
    assert_eq!(client.read_out().0, Ending::Reset);
    assert_eq!(world.last_outcome()["cut_by"]["reason"], "tenant_removed");
    world.gateway.take().unwrap().stop();
    world.up();
    assert_eq!(world.get("/t/initech/orders", &agent).code(), "tenant_removed");
    let known = call(&world, "GET", "/tenants/initech", &crm, "");
    assert!(known.text().contains("\"removed\":"), "{}", known.text());
    world.finish();
}

// GW-09
#[test]
fn a_service_passes_no_route_but_those_that_are_open_to_everybody() {
    let world = World::of(with_services(Plan::default()));
    let crm = program(&world, "crm");
    assert_eq!(world.get("/t/acme/orders", &crm).code(), "service_not_here");
    assert_eq!(world.get("/t/nowhere/orders", &crm).code(), "service_not_here");
    assert_eq!(world.get("/public/page", &crm).status, 200);
    let seen = world.upstream.seen();
    assert_eq!(seen.len(), 1);
    assert!(!seen[0].head.contains(&crm), "its token went to the application");
    for path in ["/tenants/acme/consent", "/tenants/acme/sessions", "/tenants/acme/audit"] {
        assert_eq!(call(&world, "GET", path, &crm, "").code(), "not_allowed", "{path}");
    }
    assert_eq!(call(&world, "GET", "/tenants", &program(&world, "other"), "").code(), "not_allowed");
    world.finish();
}

/// The members' issuer of the usual world, with roles in rows.
fn with_rows(plan: Plan) -> Plan {
    with_services(plan).edit("    kind: member\n", "    kind: member\n    roles: rows\n").edit(
        "GET /t/{tenant}/orders\", permission: orders:read",
        "GET /t/{tenant}/orders\", permission: orders:read, record: true",
    )
}

// GW-08, GW-09
#[test]
fn members_pass_by_their_rows_and_what_a_suspension_ends_on_recorded_routes_is_cut() {
    let (hooks, _) = counting();
    let mut world = World::of(with_rows(Plan::default()).hooks(hooks));
    let crm = program(&world, "crm");
    // What the token says of roles is not looked at.
    let mia = world.people.member("mia", "acme", &["admin"]);
    let row = "/tenants/acme/members/app.bWlh";
    assert_eq!(world.get("/t/acme/download", &mia).code(), "member_unknown");
    assert_eq!(call(&world, "PUT", row, &crm, r#"{"roles":["read_only"]}"#).status, 200);
    assert_eq!(world.get("/t/acme/download", &mia).status, 200);
    assert_eq!(
        world.ask("POST", "/t/acme/orders", &mia, "Content-Length: 0\r\n").code(),
        "permission_missing"
    );
    assert_eq!(world.get("/t/globex/download", &mia).code(), "tenant_foreign");
    assert_eq!(call(&world, "PUT", row, &crm, r#"{"roles":["editor"]}"#).status, 200);
    assert_eq!(world.ask("POST", "/t/acme/orders", &mia, "Content-Length: 0\r\n").status, 200);
    // A route that records knows the roles, and holds what runs to the row.
    let mut client = world.client();
    client.send(request("GET", "/t/acme/orders?do=forever", &mia, ""));
    assert!(client.head().contains(" 200 "));
    let intent = world.records().into_iter().rfind(|r| r["kind"] == "access.intent").unwrap();
    assert_eq!((&intent["subject"]["sub"], &intent["roles"]), (&json!("mia"), &json!(["editor"])));
    assert_eq!(call(&world, "PUT", row, &crm, r#"{"roles":["editor"],"suspended":true}"#).status, 200);
    assert_eq!(client.read_out().0, Ending::Reset);
    assert_eq!(world.last_outcome()["cut_by"]["reason"], "member_suspended");
    assert_eq!(world.get("/t/acme/download", &mia).code(), "member_suspended");
    // A restart knows it from the store.
    world.gateway.take().unwrap().stop();
    world.up();
    assert_eq!(world.get("/t/acme/download", &mia).code(), "member_suspended");
    assert_eq!(call(&world, "DELETE", row, &crm, "").status, 200);
    assert_eq!(world.get("/t/acme/download", &mia).code(), "member_unknown");
    world.finish();
}

// CEL-19
#[test]
fn a_giver_who_is_suspended_takes_their_support_along() {
    let (hooks, count) = counting();
    let world = World::of(with_rows(Plan::default()).hooks(hooks));
    let (crm, agent) = (program(&world, "crm"), world.people.staff("sam"));
    let row = "/tenants/acme/members/app.YWNtZS1hZG1pbg";
    assert_eq!(call(&world, "PUT", row, &crm, r#"{"roles":["admin"]}"#).status, 200);
    let grant = world.make_grant(
        "acme",
        "editor",
        postern::lifecycle::Until::For(postern::model::Span::Millis(3_600_000)),
    );
    world.session_on("acme", &agent, postern::lifecycle::WantedBasis::Grant(grant), None);
    let mut client = download(&world, "acme", &agent, &count);
    assert_eq!(call(&world, "PUT", row, &crm, r#"{"roles":["admin"],"suspended":true}"#).status, 200);
    let answered = count.load(SeqCst);
    assert_eq!(client.read_out().0, Ending::Reset);
    assert_eq!(count.load(SeqCst), answered, "bytes passed after the answer");
    assert_eq!(world.last_outcome()["cut_by"]["reason"], "grantor_gone");
    world.finish();
}
