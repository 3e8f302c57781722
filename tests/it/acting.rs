//! Acting as a person of the tenant, at the door: where their roles stand in tokens only; when the configuration lets go of an
//! organisation; and in what is settled after a stop.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    client::{Client, Ending, Reply},
    cuts::counting,
    reload::{FromFile, NEVER},
    world::*,
};

const MINUTE: i64 = 60_000;
const TERMS: &str = "sessions: { last: 8h }";
const ACT_AS: &str = "sessions: { last: 8h, max_exchange: 8h }\nact_as: { durations: [1d, 7d], organisations: { desk: { issuer: vendor } } }";

fn plan() -> Plan {
    Plan::default()
        .edit(TERMS, ACT_AS)
        .edit(
            "{ X-Remote-User: \"{subject}\" }",
            "{ X-Remote-User: \"{subject}\", X-Role: \"{role}\", X-By: \"{actor}\" }",
        )
        .edit("grants: { longest: 180d }", "grants: { longest: 180d, grantor_memory: 48m }")
}

fn call(world: &World, method: &str, path: &str, token: &str, body: &Value) -> Reply {
    let body = body.to_string();
    let more = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    let mut client = world.client();
    client.send(request(method, &format!("/_postern/v1/tenants/acme/{path}"), token, &more) + &body);
    client.reply()
}

/// `ben` lets the desk act as him, and `sam` of the desk does: the session.
fn acting(world: &World, ben: &str, sam: &str) -> String {
    let lent =
        call(world, "PUT", "login-access/desk", ben, &json!({ "environment": "production", "for": "7d" }));
    assert_eq!(lent.status, 201, "{}", lent.text());
    let lent: Value = serde_json::from_slice(&lent.body).unwrap();
    let basis = json!({ "act_as": lent["confirmation"] });
    let start = json!({ "environment": "production", "basis": basis, "reason": "a case" });
    let began = call(world, "POST", "sessions", sam, &start);
    assert_eq!(began.status, 201, "{}", began.text());
    let began: Value = serde_json::from_slice(&began.body).unwrap();
    began["session"]["id"].as_str().unwrap().to_owned()
}

fn stream(world: &World, token: &str) -> Client {
    let mut stream = world.client();
    stream.send(request("GET", "/t/acme/download?do=events", token, ""));
    assert!(stream.head().contains(" 200 "));
    stream
}

// PRA-03, PRA-12
#[test]
fn as_somebody_without_a_row_one_is_what_their_last_token_named_and_nothing_once_it_is_forgotten() {
    let clock = ManualClock::at(NOON);
    let world = World::of(plan().clock(&clock));
    let (sam, ben) =
        (world.people.staff("sam"), world.people.member("ben", "acme", &["editor", "read_only"]));
    acting(&world, &ben, &sam);
    assert_eq!(world.get("/t/acme/orders", &sam).status, 200);
    let seen = world.upstream.last();
    let said = |name: &str| seen.values(name);
    assert_eq!(
        (said("X-Remote-User"), said("X-Role")),
        (vec!["ben".to_owned()], vec!["editor,read_only".to_owned()])
    );
    assert_eq!(said("X-By"), ["sam"]);
    assert_eq!(world.ask("POST", "/t/acme/orders", &sam, "Content-Length: 0\r\n").status, 200);
    // A token of his that names less: what support could do by more is gone, and the application hears of less.
    let mut upload = world.client();
    upload.send(request("POST", "/t/acme/orders?of=many", &sam, "Content-Length: 1000000\r\n"));
    until("it is under way", || world.upstream.seen().iter().any(|seen| seen.line().contains("of=many")));
    let less = world.people.member("ben", "acme", &["read_only"]);
    assert_eq!(world.get("/t/acme/orders", &less).status, 200);
    assert_eq!(upload.read_out().0, Ending::Reset);
    assert_eq!(
        world.ask("POST", "/t/acme/orders", &sam, "Content-Length: 0\r\n").code(),
        "permission_missing"
    );
    assert_eq!(world.get("/t/acme/orders", &sam).status, 200);
    assert_eq!(world.upstream.last().values("X-Role"), ["read_only"]);
    // By a token by which somebody acts as him he was not seen; and then he is forgotten.
    let mut running = stream(&world, &sam);
    clock.advance(47 * MINUTE);
    let now = world.people.now_ms() / 1000;
    let claims = json!({ "iss": "https://id.app.example", "aud": "app", "sub": "ben", "iat": now, "exp": now + 600,
        "tenant": "acme", "roles": ["read_only"], "act": { "sub": "boss" } });
    let acted = world.people.keys.app.sign("at+jwt", &claims).unwrap();
    assert_eq!(world.get("/t/acme/orders", &acted).status, 200);
    clock.advance(MINUTE);
    assert_eq!(running.read_out().0, Ending::Reset);
    assert_eq!(world.get("/t/acme/orders", &sam).code(), "grantor_unknown");
    world.finish();
}

// PRA-09
#[test]
fn what_runs_by_an_organisation_that_the_configuration_lets_go_is_cut() {
    let (hooks, _) = counting();
    let it = FromFile::start(hooks, NEVER, &[(TERMS, ACT_AS)]);
    let world = &it.world;
    let (sam, ben) = (world.people.staff("sam"), world.people.member("ben", "acme", &["editor"]));
    let mut others = Vec::new();
    for other in ["{ issuer: vendor, claim: groups, any: [desk] }", "none"] {
        acting(world, &ben, &sam);
        let mut running = stream(world, &sam);
        let instead = match other {
            "none" => TERMS.to_owned(),
            rule => ACT_AS.replace("{ issuer: vendor }", rule),
        };
        it.reload(&[(ACT_AS, &instead)]).unwrap();
        assert_eq!(running.read_out().0, Ending::Reset);
        // Nor does anything begin.
        assert_eq!(world.get("/t/acme/orders", &sam).code(), "grant_missing", "{other}");
        let eve = world.people.member("eve", "acme", &["editor"]);
        let wish = json!({ "environment": "production", "for": "1d" });
        let given = call(world, "PUT", "login-access/desk", &eve, &wish);
        others.push(given.status);
        it.reload(&[]).unwrap();
        assert_eq!(world.get("/t/acme/orders", &sam).status, 200, "put back, it says again what it said");
    }
    // Whoever belongs to it, the person gives it to the organisation; where there is none, to nobody.
    assert_eq!(others, [201, 404]);
    it.world.finish();
}

// PRA-03
#[test]
fn what_a_start_finds_without_outcome_is_settled_with_both_names() {
    let mut world = World::of(plan());
    let (sam, ben) = (world.people.staff("sam"), world.people.member("ben", "acme", &["editor"]));
    acting(&world, &ben, &sam);
    let mut running = stream(&world, &sam);
    let live = Arc::clone(&world.gateway().engine().registry().all()[0]);
    world.gateway().engine().journal().close();
    assert_eq!(running.read_out().0, Ending::Reset);
    drop(live);
    world.gateway.take().unwrap().stop();
    world.up();
    let outcome = world.last_outcome();
    assert_eq!(outcome["end"], "unknown");
    assert_eq!(
        (&outcome["subject"]["sub"], &outcome["acting_as"]["sub"]),
        (&json!("sam"), &json!("ben")),
        "{outcome}"
    );
    world.finish();
}
