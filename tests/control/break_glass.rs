//! Break-glass over the API (GW-06, P17-15): who gets in, what it gives, who sees it, how it ends.

use std::sync::atomic::Ordering;

use postern::{engine::knock::Who, policy::Emergency};
use serde_json::{Value, json};

use super::support::{Answer, HOUR, Wish, World, emergency};

fn path(tenant: &str) -> String {
    format!("/v1/tenants/{tenant}/break-glass")
}

fn declared() -> Value {
    json!({
        "environment": "production", "reason": "orders of all tenants are lost", "incident": "INC-4711", "cause": "integrity",
    })
}

async fn enter(world: &World, tenant: &str, who: &Who) -> Answer {
    world.put("POST", &path(tenant), declared(), who).await
}

// GW-06
#[tokio::test]
async fn p17_15_an_operator_enters_at_block_with_full_record_and_the_tenant_sees_it_at_once() {
    let world = World::new().await;
    let (admin, gustav) = (world.admin("acme"), world.agent("gustav"));
    world.consent("acme", "block").await;
    world.start("acme", &gustav).await.refused(403, "consent_closes");
    let answer = enter(&world, "acme", &gustav).await.is(201);
    let session = &answer.body["session"];
    let id = session["id"].as_str().unwrap();
    assert_eq!(answer.headers["location"], format!("/_postern/v1/tenants/acme/sessions/{id}"));
    let glass = json!({
        "cause": "integrity", "incident": "INC-4711", "reason": "orders of all tenants are lost",
    });
    assert_eq!(session["basis"], json!({"break_glass": glass}));
    assert_eq!(
        (&session["role"], &session["rights"]),
        (&json!("order_clerk"), &json!(["orders:read", "orders:write"]))
    );
    assert_eq!(session["ends"], json!({"at": "2026-03-27T12:00:00.000Z", "clock": "session"}));
    // At once in the tenant's list, as what it is, and in its record: before anything was done.
    let listed = world.get("/v1/tenants/acme/sessions", &admin).await.is(200).body;
    assert_eq!(listed["items"][0]["basis"]["break_glass"], glass);
    let page = world.get("/v1/tenants/acme/audit?kind=change.intent", &admin).await.is(200).body;
    let items = page["items"].as_array().unwrap();
    let intent = items.iter().map(|item| &item["record"]).find(|record| record["command"] == "break_glass");
    let event = &intent.unwrap()["events"][0];
    assert_eq!(
        (&event["event"], &event["cause"], &event["incident"], &event["reason"]),
        (
            &json!("glass_broken"),
            &json!("integrity"),
            &json!("INC-4711"),
            &json!("orders of all tenants are lost")
        )
    );
    assert_eq!(world.engine.glass_broken(), 1);
    // It ends by itself.
    world.clock.advance(HOUR);
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    world.engine.sweep_due().await;
    world.record(|r| r["session"] == id && r["events"][0]["cause"] == "expired").await;
}

// GW-06
#[tokio::test]
async fn nobody_else_enters_and_nothing_is_looked_up_for_them() {
    let world = World::new().await;
    let acting = world.staff_with("gustav", json!({"act": {"sub": "robot"}}));
    world.store.no_reads.store(true, Ordering::SeqCst);
    for tenant in ["acme", "nowhere"] {
        for who in [world.agent("anna"), world.agent("otto"), world.admin("acme")] {
            enter(&world, tenant, &who).await.refused(403, "not_operator");
            world.put("POST", &path(tenant), json!("nonsense"), &who).await.refused(403, "not_operator");
        }
        enter(&world, tenant, &acting).await.refused(403, "acting");
    }
    let refused = world.record(|r| r["kind"] == "access.refused" && r["reason"] == "not_operator").await;
    assert_eq!(refused["tenant"], "acme");
    let world = World::with(Wish { emergency: Emergency::default(), ..Wish::default() }).await;
    enter(&world, "acme", &world.agent("gustav")).await.refused(403, "not_operator");
}

#[tokio::test]
async fn p17_28_what_is_declared_has_to_be_an_emergency_with_its_incident() {
    let world = World::new().await;
    let gustav = world.agent("gustav");
    for (member, value, status, code) in [
        ("cause", json!("haste"), 422, "cause_unknown"),
        ("incident", json!("none yet"), 422, "incident_malformed"),
        ("incident", json!(""), 422, "incident_malformed"),
        ("reason", json!(" "), 422, "reason_unfit"),
        ("environment", json!("moon"), 422, "environment_unknown"),
        ("for", json!("61m"), 422, "lasts_too_long"),
        ("for", json!("0s"), 422, "not_in_future"),
        ("basis", json!("consent"), 400, "body_malformed"),
    ] {
        let mut body = declared();
        body[member] = value;
        world.put("POST", &path("acme"), body, &gustav).await.refused(status, code);
    }
    enter(&world, "nowhere", &gustav).await.refused(404, "not_found");
    let mut body = declared();
    body["for"] = json!("10m");
    let session = world.put("POST", &path("acme"), body, &gustav).await.is(201).body["session"].clone();
    assert_eq!(session["ends"]["at"], "2026-03-27T11:10:00.000Z");
}

// GW-06
#[tokio::test]
async fn an_operator_who_tries_again_and_again_is_slowed_down() {
    let world = World::new().await;
    let gustav = world.agent("gustav");
    for _ in 0..10 {
        enter(&world, "nowhere", &gustav).await.refused(404, "not_found");
    }
    let answer = enter(&world, "acme", &gustav).await.refused(429, "too_many_attempts");
    assert_eq!(answer.headers["retry-after"], "3601");
    enter(&world, "acme", &world.agent("olga")).await.is(201);
    world.clock.advance(HOUR);
    enter(&world, "acme", &world.agent("gustav")).await.is(201);
}

#[tokio::test]
async fn what_cannot_be_read_and_what_the_gateway_fails_is_no_attempt_and_another_prefix_forgets_none() {
    let world = World::new().await;
    let gustav = world.agent("gustav");
    for _ in 0..15 {
        let mut body = declared();
        body["cause"] = json!(5);
        world.put("POST", &path("acme"), body, &gustav).await.refused(400, "body_malformed");
    }
    world.store.no_commits.store(true, std::sync::atomic::Ordering::SeqCst);
    for _ in 0..15 {
        enter(&world, "acme", &gustav).await.refused(503, "state_unavailable");
    }
    world.store.no_commits.store(false, std::sync::atomic::Ordering::SeqCst);
    for _ in 0..10 {
        enter(&world, "nowhere", &gustav).await.refused(404, "not_found");
    }
    let mut world = world;
    world.api = std::sync::Arc::new(world.api.under("/support/"));
    enter(&world, "acme", &gustav).await.refused(429, "too_many_attempts");
}

/// Whoever is told that nobody knows may be inside all the same: it was an attempt.
#[tokio::test]
async fn what_the_store_may_have_taken_is_an_attempt() {
    let mut emergency = emergency();
    emergency.break_glass.as_mut().unwrap().attempts = 2;
    let world = World::with(Wish { emergency, ..Wish::default() }).await;
    let gustav = world.agent("gustav");
    world.store.no_answers.store(true, Ordering::SeqCst);
    let told = enter(&world, "acme", &gustav).await.refused(503, "state_unavailable");
    let detail = told.body["detail"].as_str().unwrap();
    assert!(!detail.contains("nothing was changed"), "{detail}");
    world.store.no_answers.store(false, Ordering::SeqCst);
    assert_eq!(world.engine.ask_once().await, 0);
    assert_eq!(world.inside("acme").await.len(), 1, "they are inside");
    enter(&world, "nowhere", &gustav).await.refused(404, "not_found");
    enter(&world, "acme", &gustav).await.refused(429, "too_many_attempts");
}

// GW-13
#[tokio::test]
async fn the_tenant_ends_it_like_any_session_and_only_a_kill_switch_keeps_them_out() {
    let world = World::new().await;
    let (admin, gustav) = (world.admin("acme"), world.agent("gustav"));
    let id = enter(&world, "acme", &gustav).await.is(201).body["session"]["id"].clone();
    let removed =
        world.delete(&format!("/v1/tenants/acme/sessions/{}", id.as_str().unwrap()), &admin).await.is(200);
    assert_eq!(removed.body["session"]["over"]["cause"], "removed");
    // Removal bars nobody.
    let again = enter(&world, "acme", &gustav).await.is(201).body["session"]["id"].clone();
    assert_eq!(world.inside("acme").await, [again]);
    let stop = json!({"stopped": true, "reason": "not now"});
    world.put("PUT", "/v1/tenants/acme/stop", stop, &admin).await.is(200);
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    let refused = enter(&world, "acme", &gustav).await.refused(403, "stopped");
    assert_eq!(refused.body["lifted_by"], "tenant");
    let all = json!({"reach": "all", "stopped": true, "reason": "everything"});
    world.put("PUT", "/v1/stops", all, &world.agent("otto")).await.is(200);
    enter(&world, "globex", &gustav).await.refused(403, "stopped");
}

#[tokio::test]
async fn a_new_entry_ends_the_older_one_there_and_leaves_other_sessions_alone() {
    let world = World::new().await;
    let gustav = world.agent("gustav");
    let ordinary = world.started("acme", &gustav).await;
    let first = enter(&world, "acme", &gustav).await.is(201).body["session"]["id"].clone();
    let second = enter(&world, "acme", &gustav).await.is(201).body["session"]["id"].clone();
    let mut inside = world.inside("acme").await;
    inside.sort();
    let mut wanted = vec![ordinary, second.as_str().unwrap().to_owned()];
    wanted.sort();
    assert_eq!(inside, wanted);
    let path = format!("/v1/tenants/acme/sessions/{}", first.as_str().unwrap());
    let over = world.get(&path, &gustav).await.is(200).body;
    assert_eq!(over["over"]["cause"], "replaced");
}

#[tokio::test]
async fn break_glass_can_ask_for_a_sign_in_of_its_own() {
    let mut emergency = emergency();
    let glass = emergency.break_glass.as_mut().unwrap();
    glass.conditions.acr = vec!["gold".to_owned()];
    glass.conditions.max_auth_age_ms = Some(300_000);
    let world = World::with(Wish { emergency, ..Wish::default() }).await;
    let answer = enter(&world, "acme", &world.agent("gustav")).await.refused(401, "acr_insufficient");
    let challenge = answer.headers["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.contains("acr_values=\"gold\"") && challenge.contains("max_age=\"300\""),
        "{challenge}"
    );
    let now = 1_774_609_200;
    let old = world.staff_with("gustav", json!({"acr": "gold", "auth_time": now - 301}));
    enter(&world, "acme", &old).await.refused(401, "auth_too_old");
    let good = world.staff_with("gustav", json!({"acr": "gold", "auth_time": now - 299}));
    enter(&world, "acme", &good).await.is(201);
    // Ordinary support asks for none of it.
    world.started("acme", &world.agent("anna")).await;
}
