//! What staff access demands beside a session: how they signed in, when, from where, with which ticket.

use postern::lifecycle::{Command, WantedBasis};
use serde_json::{Value, json};

use crate::world::*;

const ORDERS: &str = "/t/acme/orders";

/// A world whose staff must meet these, written as the configuration has it.
fn demanding(require: &str, plan: Plan) -> World {
    let to = format!("staff: {{ require: {require} }}\ntenants:\n  from: {{ path: tenant }}");
    World::of(plan.edit("tenants:\n  from: { path: tenant }", to.leak()))
}

fn agent(world: &World, more: Value) -> String {
    let mut claims = world.people.staff_claims("sam");
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    world.people.keys.vendor.sign("at+jwt", &claims).unwrap()
}

fn challenge(reply: &crate::client::Reply) -> String {
    reply.values("WWW-Authenticate").join("; ")
}

// GW-12
#[test]
fn a_sign_in_that_is_not_enough_is_told_which_one_would_be() {
    let clock = ManualClock::at(NOON);
    let world = demanding(
        "{ acr: [urn:gold, urn:silver], amr: [mfa, hwk], max_auth_age: 1h }",
        Plan::default().clock(&clock),
    );
    let now = NOON / 1000;
    let good = json!({ "acr": "urn:silver", "amr": ["pwd", "hwk", "mfa"], "auth_time": now });
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        agent(&world, claims)
    };
    let good = agent(&world, good.clone());
    world.start_session("acme", &good);
    assert_eq!(world.get(ORDERS, &good).status, 200);
    let wanted = "Bearer realm=\"postern\", error=\"insufficient_user_authentication\", \
                  acr_values=\"urn:gold urn:silver\", max_age=\"3600\"";
    for (token, code) in [
        (with("acr", json!("urn:bronze")), "acr_insufficient"),
        (with("acr", json!(null)), "acr_insufficient"),
        (with("acr", json!(["urn:gold"])), "acr_insufficient"),
        (with("acr", json!("urn:gold urn:silver")), "acr_insufficient"),
        (with("acr", json!("URN:GOLD")), "acr_insufficient"),
        (with("amr", json!(["mfa"])), "amr_insufficient"),
        (with("amr", json!("mfa hwk")), "amr_insufficient"),
        (with("amr", json!(["mfa", "hwk", 7])), "amr_insufficient"),
        (with("amr", json!([])), "amr_insufficient"),
        (with("auth_time", json!(null)), "auth_too_old"),
        (with("auth_time", json!(now.to_string())), "auth_too_old"),
        (with("auth_time", json!(now - 3601)), "auth_too_old"),
        (with("auth_time", json!(now + 61)), "auth_too_old"),
        (with("auth_time", json!(-1)), "auth_too_old"),
    ] {
        for target in [ORDERS, "/_postern/v1/sessions"] {
            let refused = world.get(target, &token);
            assert_eq!((refused.status, refused.code().as_str()), (401, code), "{target}");
            assert_eq!(challenge(&refused), wanted, "{target}");
        }
        assert_eq!(world.get("/_postern/v1/me", &token).status, 200, "who they are they may always ask");
        assert_eq!(world.get("/public/page", &token).status, 200, "what is open to everybody stays open");
    }
    for token in [with("auth_time", json!(now - 3600)), with("auth_time", json!(now + 60))] {
        assert_eq!(world.get(ORDERS, &token).status, 200);
    }
    let member = world.people.member("mia", "acme", &["admin"]);
    assert_eq!(world.get(ORDERS, &member).status, 200, "members are not concerned");
    clock.advance(3_600_000);
    assert_eq!(world.get(ORDERS, &good).status, 200);
    clock.advance(1);
    assert_eq!(world.get(ORDERS, &good).code(), "auth_too_old", "also of a token that is known");
    until("the refusal is recorded", || {
        world.of_kind("access.refused").iter().any(|record| {
            record["reason"] == "auth_too_old"
                && record["detail"].as_str().is_some_and(|detail| detail.contains("max_age=\"3600\""))
        })
    });
    world.finish();
}

// GW-12
#[test]
fn staff_come_from_their_networks_only_and_leave_from_anywhere() {
    let world = demanding("{ networks: [10.0.0.0/8, \"2001:db8::/32\"] }", Plan::default());
    let token = world.people.staff("sam");
    let session = world.start_session("acme", &token);
    let refused = world.get(ORDERS, &token);
    assert_eq!((refused.status, refused.code().as_str()), (403, "network_refused"));
    let forwarded =
        world.ask("GET", ORDERS, &token, "X-Forwarded-For: 10.1.2.3\r\nForwarded: for=10.1.2.3\r\n");
    assert_eq!(forwarded.code(), "network_refused", "what a client says about its address is nothing");
    let body = "{\"environment\":\"production\",\"basis\":\"consent\",\"reason\":\"a test\"}";
    let post = |token: &str| {
        let more = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        let mut client = world.client();
        let head = request("POST", "/_postern/v1/tenants/acme/sessions", token, &more);
        client.send(format!("{head}{body}")).reply()
    };
    assert_eq!(post(&token).code(), "network_refused");
    assert_eq!(world.upstream.seen().len(), 0, "nothing went out");
    let end = format!("/_postern/v1/tenants/acme/sessions/{session}");
    assert_eq!(world.ask("DELETE", &end, &token, "").status, 200, "whoever is inside may leave");
    let member = world.people.member("mia", "acme", &["admin"]);
    assert_eq!(world.get(ORDERS, &member).status, 200);
    world.finish();

    let world = demanding("{ networks: 127.0.0.0/8 }", Plan::default());
    let token = world.people.staff("sam");
    world.start_session("acme", &token);
    assert_eq!(world.get(ORDERS, &token).status, 200);
    world.finish();
}

// GW-12
#[test]
fn a_ticket_stands_in_a_header_where_one_is_asked_for() {
    let world =
        demanding("{ ticket: { pattern: \"[A-Z]{2,5}-[0-9]{1,8}\", header: X-Ticket } }", Plan::default());
    let token = world.people.staff("sam");
    world.start_session("acme", &token);
    for (lines, code) in [
        ("", "ticket_missing"),
        ("X-Ticket: help-1\r\n", "ticket_malformed"),
        ("X-Ticket: HELP-1 and more\r\n", "ticket_malformed"),
        ("X-Ticket: HELP-1\r\nX-Ticket: HELP-1\r\n", "ticket_malformed"),
        ("X-Ticket: HELP-1\r\nX-Ticket: HELP-2\r\n", "ticket_malformed"),
        ("X_Ticket: HELP-1\r\n", "ticket_malformed"),
    ] {
        let refused = world.ask("GET", ORDERS, &token, lines);
        assert_eq!((refused.status, refused.code().as_str()), (403, code), "{lines}");
    }
    assert_eq!(world.ask("GET", ORDERS, &token, "X-Ticket: HELP-77\r\n").status, 200);
    let inside = world.ask("GET", "/_postern/v1/sessions?tenant=acme", &token, "X-Ticket: HELP-77\r\n");
    assert_eq!(inside.status, 200);
    assert_eq!(world.get("/_postern/v1/sessions", &token).code(), "ticket_missing");
    let intent = world.of_kind("access.intent").pop().unwrap();
    assert_eq!(intent["ticket"], "HELP-77", "the record says for which ticket");
    world.finish();
}

// GW-12
#[test]
fn a_ticket_stands_in_the_token_where_its_claim_is_named() {
    let world = demanding("{ ticket: { pattern: \"INC[0-9]{7}\", claim: context.ticket } }", Plan::default());
    let good = agent(&world, json!({ "context": { "ticket": "INC0012345" } }));
    world.start_session("acme", &good);
    assert_eq!(world.get(ORDERS, &good).status, 200);
    for (claims, code) in [
        (json!({}), "ticket_missing"),
        (json!({ "context": { "ticket": 12345 } }), "ticket_missing"),
        (json!({ "context": { "ticket": "INC1" } }), "ticket_malformed"),
    ] {
        let refused = world.get(ORDERS, &agent(&world, claims));
        assert_eq!((refused.status, refused.code().as_str()), (403, code));
    }
    let intent = world.of_kind("access.intent").pop().unwrap();
    assert_eq!(intent["ticket"], "INC0012345");
    world.finish();
}

// GW-12
#[test]
fn a_ticket_is_named_when_a_session_starts_where_nothing_else_is_said() {
    let world = demanding("{ ticket: { pattern: \"HELP-[0-9]{1,6}\" } }", Plan::default());
    let token = world.people.staff("sam");
    let start = |ticket: Option<&str>| {
        let session = postern::model::SessionId::new(&postern::engine::new_id("ses", world.now()).unwrap());
        world.change(
            Command::StartSession {
                tenant: tenant("acme"),
                session: session.unwrap(),
                environment: production(),
                basis: WantedBasis::Consent,
                reason: "a test".to_owned(),
                ticket: ticket.map(str::to_owned),
                lasts: None,
            },
            &token,
        )
    };
    assert_eq!(start(None).unwrap_err().code(), "ticket_missing");
    assert_eq!(start(Some("HELP-")).unwrap_err().code(), "ticket_malformed");
    assert_eq!(world.get(ORDERS, &token).code(), "session_missing");
    start(Some("HELP-12")).unwrap();
    assert_eq!(world.get(ORDERS, &token).status, 200);
    world.finish();
}

/// A sign-in that grows old bounds what begins, not what runs (rule 10 for tokens, likewise here).
#[test]
fn an_exchange_that_runs_is_judged_by_its_beginning() {
    let clock = ManualClock::at(NOON);
    let world = demanding("{ max_auth_age: 10m }", Plan::default().clock(&clock));
    let token = agent(&world, json!({ "auth_time": NOON / 1000 }));
    let session = world.start_session("acme", &token);
    let mut client = world.client();
    client.send(request("GET", "/t/acme/download?do=slow", &token, ""));
    // Decided, and handed on: it is registered before that.
    until("the exchange runs", || !world.upstream.seen().is_empty());
    clock.advance(11 * 60_000);
    // Something that it rests on changes, so it is decided again.
    world.done(World::consent("acme", "edit"), &world.people.admin("acme"));
    assert_eq!(world.get(ORDERS, &token).code(), "auth_too_old");
    world.upstream.release();
    assert_eq!(client.reply().status, 200);
    world.done(World::end("acme", &session), &token);
    world.finish();
}
