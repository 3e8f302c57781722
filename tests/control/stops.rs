//! Kill switches over the API (GW-13): a tenant's own, and those of the vendor's operators.

use std::sync::{Arc, atomic::Ordering};

use postern::{engine::knock::Who, policy::Emergency};
use serde_json::{Value, json};

use super::support::{Answer, HOUR, Wish, World};

const STOPS: &str = "/v1/stops";

fn of_tenant(tenant: &str) -> String {
    format!("/v1/tenants/{tenant}/stop")
}

fn person(sub: &str) -> Value {
    json!({"person": {"issuer": "staff", "sub": sub}})
}

async fn set(world: &World, reach: Value, stopped: bool, who: &Who) -> Answer {
    let body = json!({"reach": reach, "stopped": stopped, "reason": "an incident"});
    world.put("PUT", STOPS, body, who).await
}

async fn set_own(world: &World, tenant: &str, stopped: bool, who: &Who) -> Answer {
    world.put("PUT", &of_tenant(tenant), json!({"stopped": stopped, "reason": "an audit"}), who).await
}

// GW-13
#[tokio::test]
async fn a_tenant_stops_all_support_and_lets_it_go_on() {
    let world = World::new().await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    let id = world.started("acme", &anna).await;
    let elsewhere = world.started("globex", &anna).await;
    let grant = world.granted("acme", json!("support"), "viewer").await;
    world.enter_by("acme", &grant, &world.agent("ben")).await.is(201);
    let answer = set_own(&world, "acme", true, &admin).await.is(200);
    let event = &answer.body["outcome"]["events"][0];
    assert_eq!((&event["event"], &event["side"]), (&json!("support_stopped"), &json!("tenant")));
    assert_eq!(
        answer.body["stop"],
        json!({
            "reach": {"tenant": "acme"}, "stopped": true, "since": "2026-03-27T11:00:00.000Z",
            "by": {"issuer": "members", "sub": "admin-of-acme"}, "reason": "an audit",
            "ended_until": "2026-03-27T11:00:00.000Z",
        })
    );
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    assert_eq!(world.inside("globex").await, [elsewhere], "another tenant's support goes on");
    let refused = world.start("acme", &anna).await.refused(403, "stopped");
    assert_eq!(refused.body["lifted_by"], "tenant");
    world.enter_by("acme", &grant, &anna).await.refused(403, "stopped");
    let again = set_own(&world, "acme", true, &admin).await.is(200);
    assert_eq!(again.body["outcome"], json!({"changed": false}));
    let seen = world.get(&of_tenant("acme"), &admin).await.is(200).body;
    assert_eq!((&seen["own"]["stopped"], &seen["operators"]["stopped"]), (&json!(true), &json!(false)));
    let record = world.record(|r| r["kind"] == "change.intent" && r["command"] == "stop").await;
    assert_eq!((&record["tenant"], &record["events"][0]["reason"]), (&json!("acme"), &json!("an audit")));
    // The tenant finds it in its own record.
    let page = world.get("/v1/tenants/acme/audit?kind=change.outcome", &admin).await.is(200).body;
    assert!(page["items"].to_string().contains("support_stopped"));
    // A raised consent opens nothing meanwhile, and what ran before does not come back afterwards.
    world.consent("acme", "full").await;
    world.start("acme", &anna).await.refused(403, "stopped");
    world.clock.advance(1);
    set_own(&world, "acme", false, &admin).await.is(200);
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    let over = world.get(&format!("/v1/tenants/acme/sessions/{id}"), &admin).await.is(200).body;
    assert_eq!(over["over"]["code"], "session_stopped");
    world.started("acme", &anna).await;
}

// GW-13
#[tokio::test]
async fn an_operator_stops_a_person_a_tenant_or_everything() {
    for (reach, expected) in [
        (json!("all"), [false, false, false]),
        (json!({"tenant": "acme"}), [false, false, true]),
        (person("anna"), [false, true, false]),
    ] {
        let world = World::new().await;
        let olga = world.agent("olga");
        let seats = [("acme", "anna"), ("acme", "ben"), ("globex", "anna")];
        for (tenant, agent) in seats {
            world.started(tenant, &world.agent(agent)).await;
        }
        let answer = set(&world, reach.clone(), true, &olga).await.is(200);
        assert_eq!(answer.body["stop"]["reach"], reach);
        for (seat, goes_on) in seats.iter().zip(expected) {
            let rights = format!("/v1/tenants/{}/rights?environment=production", seat.0);
            let own = world.get(&rights, &world.agent(seat.1)).await.is(200).body;
            assert_eq!(own["sessions"] != json!([]), goes_on, "{reach} {seat:?}");
            let started = world.start(seat.0, &world.agent(seat.1)).await;
            match goes_on {
                true => started.is(201),
                false => {
                    assert_eq!(started.body["lifted_by"], "operators");
                    started.refused(403, "stopped")
                }
            };
        }
        let listed = world.get(STOPS, &olga).await.is(200).body;
        assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
        assert_eq!(
            (&listed["items"][0]["reach"], &listed["items"][0]["by"]["sub"]),
            (&reach, &json!("olga"))
        );
        set(&world, reach.clone(), true, &olga).await.is(200);
        // Another operator lifts it.
        world.clock.advance(1);
        set(&world, reach.clone(), false, &world.agent("otto")).await.is(200);
        assert_eq!(world.get(STOPS, &olga).await.is(200).body["items"], json!([]));
        let record = world
            .record(|r| r["kind"] == "change.outcome" && r["events"][0]["event"] == "support_let_go_on")
            .await;
        assert_eq!(record["events"][0]["reach"], reach);
        world.started("acme", &world.agent("anna")).await;
    }
}

// GW-13
#[tokio::test]
async fn nobody_else_uses_the_operators_switches_and_learns_anything_by_them() {
    let world = World::new().await;
    let ben = world.agent("ben");
    let acting = world.staff_with("olga", json!({"act": {"sub": "robot"}}));
    let (admin, viewer) = (world.admin("acme"), world.member("acme", "v", &["viewer"]));
    world.store.no_reads.store(true, Ordering::SeqCst);
    for who in [&ben, &admin, &viewer] {
        world.get(STOPS, who).await.refused(403, "not_operator");
        for reach in [json!("all"), json!({"tenant": "acme"}), json!({"tenant": "nowhere"}), person("olga")] {
            set(&world, reach, true, who).await.refused(403, "not_operator");
        }
        // Refused before the body is read.
        world.put("PUT", STOPS, json!("nonsense"), who).await.refused(403, "not_operator");
    }
    world.get(STOPS, &acting).await.refused(403, "acting");
    set(&world, json!("all"), true, &acting).await.refused(403, "acting");
    for who in [&ben, &world.agent("olga"), &world.admin("globex"), &viewer] {
        for tenant in ["acme", "nowhere"] {
            set_own(&world, tenant, true, who).await.refused(403, "not_allowed");
            world.get(&of_tenant(tenant), who).await.refused(403, "not_allowed");
        }
    }
    let auditor = world.member("acme", "a", &["auditor"]);
    set_own(&world, "acme", true, &auditor).await.refused(403, "not_allowed");
    world.store.no_reads.store(false, Ordering::SeqCst);
    world.get(&of_tenant("acme"), &auditor).await.is(200);
}

#[tokio::test]
async fn wishes_that_cannot_be_are_refused_each_with_its_code() {
    let world = World::new().await;
    let olga = world.agent("olga");
    for (member, value, status, code) in [
        ("reason", json!("  "), 422, "reason_unfit"),
        ("reason", json!("x".repeat(501)), 422, "reason_unfit"),
        ("reach", json!("everything"), 400, "body_malformed"),
        (
            "reach",
            json!({"tenant": "acme", "person": {"issuer": "staff", "sub": "x"}}),
            400,
            "body_malformed",
        ),
        ("reach", json!({"person": "anna"}), 400, "body_malformed"),
        ("reach", json!({"tenant": "nowhere"}), 404, "not_found"),
        ("reach", json!({"person": {"issuer": "members", "sub": "x"}}), 422, "issuer_unknown"),
        ("stopped", json!("yes"), 400, "body_malformed"),
    ] {
        let mut body = json!({"reach": "all", "stopped": true, "reason": "because"});
        body[member] = value;
        world.put("PUT", STOPS, body, &olga).await.refused(status, code);
    }
    world.put("POST", STOPS, json!({}), &olga).await.refused(405, "method_not_allowed");
    world.delete(&of_tenant("acme"), &world.admin("acme")).await.refused(405, "method_not_allowed");
}

// GW-13
#[tokio::test]
async fn operators_who_stop_each_other_leave_somebody_who_can_lift() {
    let world = World::new().await;
    let (olga, otto) = (world.agent("olga"), world.agent("otto"));
    set(&world, person("otto"), true, &olga).await.is(200);
    set(&world, person("olga"), true, &otto).await.refused(403, "stopped");
    set(&world, person("otto"), false, &otto).await.refused(403, "stopped");
    set(&world, person("olga"), true, &olga).await.is(200);
    world.start("acme", &olga).await.refused(403, "stopped");
    set(&world, person("olga"), false, &olga).await.is(200);
    set(&world, person("otto"), false, &olga).await.is(200);
    assert_eq!(world.get(STOPS, &olga).await.is(200).body["items"], json!([]));
}

// GW-13
#[tokio::test]
async fn a_stop_acts_at_once_while_the_store_takes_nothing_and_outlasts_a_restart() {
    let world = World::new().await;
    let (olga, anna) = (world.agent("olga"), world.agent("anna"));
    world.started("acme", &anna).await;
    world.started("acme", &world.agent("ben")).await;
    world.store.no_commits.store(true, Ordering::SeqCst);
    let answer = set(&world, person("anna"), true, &olga).await.is(202);
    assert_eq!(answer.body["outcome"]["waiting"], json!(["store"]));
    let inside = world.inside("acme").await;
    assert_eq!(inside.len(), 1, "ben alone: {inside:?}");
    world.start("acme", &anna).await.refused(403, "stopped");
    let own = set_own(&world, "acme", true, &world.admin("acme")).await.is(202);
    assert_eq!(own.body["stop"]["stopped"], true);
    // Nothing is let go on top of what waits.
    set(&world, person("anna"), false, &olga).await.refused(503, "change_waiting");
    let world = world.restarted().await.restarted().await;
    assert_eq!(world.engine.pending(), 2);
    let (olga, anna) = (world.agent("olga"), world.agent("anna"));
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    world.start("globex", &anna).await.refused(403, "stopped");
    world.store.no_commits.store(false, Ordering::SeqCst);
    assert_eq!(world.engine.mend_once().await, 0);
    let world = world.restarted().await;
    let listed = world.get(STOPS, &world.agent("olga")).await.is(200).body;
    assert_eq!(listed["items"][0]["reach"], person("anna"));
    world.start("globex", &world.agent("anna")).await.refused(403, "stopped");
    world.clock.advance(1);
    drop((olga, anna));
    set(&world, person("anna"), false, &world.agent("olga")).await.is(200);
    world.started("globex", &world.agent("anna")).await;
}

// GW-13
#[tokio::test]
async fn a_stop_does_not_wait_for_a_store_that_cannot_even_be_read() {
    let world = World::new().await;
    world.started("acme", &world.agent("anna")).await;
    // Nothing of the switches is known here yet but that there are none.
    let world = world.restarted().await;
    let (olga, anna) = (world.agent("olga"), world.agent("anna"));
    world.store.no_reads.store(true, Ordering::SeqCst);
    world.store.no_commits.store(true, Ordering::SeqCst);
    let answer = set(&world, person("anna"), true, &olga).await.is(202);
    assert_eq!(answer.body["outcome"]["durable"], false);
    world.store.no_reads.store(false, Ordering::SeqCst);
    world.store.no_commits.store(false, Ordering::SeqCst);
    world.start("acme", &anna).await.refused(403, "stopped");
    let mending = tokio::spawn(Arc::clone(&world.engine).keep_mending());
    world.record(|r| r["outcome"] == "stored" && r["events"][0]["event"] == "support_stopped").await;
    mending.abort();
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_ledger_that_is_gone_stops_no_stop() {
    let world = World::new().await;
    world.started("acme", &world.agent("anna")).await;
    world.journal.close();
    let answer = set(&world, json!("all"), true, &world.agent("olga")).await.is(202);
    assert_eq!(answer.body["outcome"]["waiting"], json!(["ledger"]));
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    set(&world, json!("all"), false, &world.agent("olga")).await.refused(503, "ledger_stopped");
}

#[tokio::test]
async fn with_the_clock_behind_an_operator_still_stops_and_does_not_lift() {
    let world = World::new().await;
    world.started("acme", &world.agent("anna")).await;
    let world = world.restarted().await;
    world.clock.advance(-HOUR);
    let olga = world.agent("olga");
    set(&world, person("anna"), true, &olga).await.is(200);
    set(&world, person("anna"), false, &olga).await.refused(503, "clock_behind");
    world.clock.advance(HOUR + 1000);
    world.start("acme", &world.agent("anna")).await.refused(403, "stopped");
}

#[tokio::test]
async fn where_the_configuration_names_no_operator_there_is_none() {
    let world = World::with(Wish { emergency: Emergency::default(), ..Wish::default() }).await;
    set(&world, json!("all"), true, &world.agent("olga")).await.refused(403, "not_operator");
    set_own(&world, "acme", true, &world.admin("acme")).await.is(200);
}

#[tokio::test]
async fn the_list_of_switches_comes_in_pages_and_shows_what_cannot_be_read() {
    let world = World::new().await;
    let olga = world.agent("olga");
    let mut wanted = Vec::new();
    set(&world, json!("all"), true, &olga).await.is(200);
    set(&world, json!({"tenant": "globex"}), true, &olga).await.is(200);
    wanted.extend([json!("all"), json!({"tenant": "globex"})]);
    for n in 0..5 {
        set(&world, person(&format!("agent-{n}")), true, &olga).await.is(200);
        wanted.push(person(&format!("agent-{n}")));
    }
    for limit in [1, 2, 3, 7, 200] {
        let (mut seen, mut next) = (Vec::new(), String::new());
        loop {
            let answer = world.get(&format!("{STOPS}?limit={limit}{next}"), &olga).await.is(200);
            let items = answer.body["items"].as_array().unwrap().clone();
            assert!(items.len() <= limit);
            seen.extend(items.into_iter().map(|item| item["reach"].clone()));
            match answer.body["next"].as_str() {
                Some(cursor) => next = format!("&after={cursor}"),
                None => break,
            }
        }
        assert_eq!(seen, wanted, "by {limit}");
    }
    let key: postern::model::Key = serde_json::from_value(json!({"stop": person("agent-2")})).unwrap();
    world.store.damaged.lock().unwrap().insert(key);
    let body = world.get(STOPS, &olga).await.is(200).body;
    assert_eq!(body["items"][4], json!({"reach": person("agent-2"), "unreadable": "store_document_damaged"}));
}

#[tokio::test]
async fn a_switch_that_is_in_force_and_not_stored_yet_is_listed_as_that() {
    let world = World::new().await;
    let olga = world.agent("olga");
    world.store.no_commits.store(true, Ordering::SeqCst);
    set(&world, person("anna"), true, &olga).await.is(202);
    let listed = world.get(STOPS, &olga).await.is(200).body;
    let [one] = listed["items"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!(
        (&one["reach"], &one["stopped"], &one["durable"]),
        (&person("anna"), &json!(true), &json!(false))
    );
    world.store.no_commits.store(false, Ordering::SeqCst);
    assert_eq!(world.engine.mend_once().await, 0);
    let listed = world.get(STOPS, &olga).await.is(200).body;
    let [one] = listed["items"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!((&one["reach"], one.get("durable")), (&person("anna"), None));
}
