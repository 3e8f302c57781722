//! What a removal means (P17-27): nothing more than an end, or a bar that stands until it is lifted. And what the tenant may not end.

use std::sync::atomic::Ordering;

use postern::{
    engine::knock::Who,
    policy::{Emergency, OnRemove, SessionRules},
};
use serde_json::{Value, json};

use super::support::{Answer, DAY, HOUR, Wish, World, emergency};

const BARS: &str = "/v1/tenants/acme/bars";
/// `staff|anna`, as it stands in paths.
const ANNA: &str = "/v1/tenants/acme/bars/staff.YW5uYQ";

fn barring() -> Wish {
    let sessions = SessionRules { on_remove: OnRemove::Bar, as_long_as_granted: false };
    Wish { sessions, ..Wish::default() }
}

async fn remove(world: &World, session: &str) -> Answer {
    world.delete(&format!("/v1/tenants/acme/sessions/{session}"), &world.admin("acme")).await
}

async fn barred(world: &World) -> Vec<Value> {
    let list = world.get(BARS, &world.admin("acme")).await.is(200).body;
    list["items"].as_array().unwrap().iter().map(|row| row["person"]["sub"].clone()).collect()
}

async fn break_glass(world: &World, who: &Who) -> Answer {
    let declared = json!({
        "environment": "production", "reason": "orders of all tenants are lost", "incident": "INC-4711",
        "cause": "integrity",
    });
    world.put("POST", "/v1/tenants/acme/break-glass", declared, who).await
}

#[tokio::test]
async fn a_bar_stands_over_a_restart_until_an_administrator_lifts_it() {
    let world = World::with(barring()).await;
    let anna = world.agent("anna");
    let session = world.started("acme", &anna).await;
    let sandbox = json!({"environment": "sandbox", "basis": "consent", "reason": "trying it out"});
    world.put("POST", "/v1/tenants/acme/sessions", sandbox, &anna).await.is(201);
    let answer = remove(&world, &session).await.is(200);
    let events: Vec<&str> = answer.body["outcome"]["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        events,
        ["session_ended", "session_ended", "person_barred"],
        "all of theirs end in one change"
    );
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    world.start("acme", &anna).await.refused(403, "barred");
    // A repeat changes nothing, and neither does the session of another's.
    assert_eq!(remove(&world, &session).await.is(200).body["had_ended"], true);
    let world = world.restarted().await;
    world.start("acme", &world.agent("anna")).await.refused(403, "barred");
    world.started("acme", &world.agent("ben")).await;
    world.started("globex", &world.agent("anna")).await;
    assert_eq!(barred(&world).await, ["anna"]);
    // Nor does an agent ask to be let in.
    world
        .put("PUT", "/v1/tenants/acme/approval", json!({"required": true}), &world.admin("acme"))
        .await
        .is(200);
    let ask = json!({"environment": "production", "level": "read_only", "reason": "let me in again"});
    world.put("POST", "/v1/tenants/acme/requests", ask, &world.agent("anna")).await.refused(403, "barred");
    world
        .put("PUT", "/v1/tenants/acme/approval", json!({"required": false}), &world.admin("acme"))
        .await
        .is(200);
    let lifted = world.delete(ANNA, &world.admin("acme")).await.is(200);
    assert_eq!(lifted.body["had_ended"], false);
    assert_eq!(barred(&world).await, Vec::<Value>::new());
    world.started("acme", &world.agent("anna")).await;
    assert_eq!(world.delete(ANNA, &world.admin("acme")).await.is(200).body["had_ended"], true);
    for event in ["person_barred", "bar_lifted"] {
        let record =
            world.record(|r| r["kind"] == "change.outcome" && r["events"].to_string().contains(event)).await;
        assert_eq!(record["tenant"], "acme");
    }
}

#[tokio::test]
async fn nobody_is_barred_by_leaving_by_an_expiry_or_where_it_is_not_configured() {
    let world = World::with(barring()).await;
    let session = world.started("acme", &world.agent("anna")).await;
    world.delete(&format!("/v1/tenants/acme/sessions/{session}"), &world.agent("anna")).await.is(200);
    let session = world.started("acme", &world.agent("anna")).await;
    world.clock.advance(6 * DAY);
    remove(&world, &session).await.is(200);
    world.started("acme", &world.agent("anna")).await;
    assert_eq!(barred(&world).await, Vec::<Value>::new());
    let plain = World::new().await;
    let session = plain.started("acme", &plain.agent("anna")).await;
    remove(&plain, &session).await.is(200);
    plain.started("acme", &plain.agent("anna")).await;
}

#[tokio::test]
async fn only_the_tenants_own_administrators_see_and_lift_bars_and_nothing_is_looked_up_for_others() {
    let world = World::with(barring()).await;
    let session = world.started("acme", &world.agent("anna")).await;
    remove(&world, &session).await.is(200);
    let auditor = world.member("acme", "aud", &["auditor"]);
    assert_eq!(world.get(BARS, &auditor).await.is(200).body["items"].as_array().unwrap().len(), 1);
    world.store.no_reads.store(true, Ordering::SeqCst);
    for who in [
        world.agent("anna"),
        world.agent("olga"),
        world.admin("acme-west"),
        world.admin("globex"),
        world.member("acme", "mia", &["viewer"]),
        world.crm(),
    ] {
        world.get(BARS, &who).await.refused(403, "not_allowed");
        world.delete(ANNA, &who).await.refused(403, "not_allowed");
    }
    world.delete(ANNA, &auditor).await.refused(403, "not_allowed");
    let acting = world.member_with("acme", "admin-of-acme", &["admin"], json!({"act": {"sub": "robot"}}));
    world.delete(ANNA, &acting).await.refused(403, "acting");
    world.store.no_reads.store(false, Ordering::SeqCst);
    // Who lifts it for themselves lifts it for nobody (GW-14).
    let namesake = world.member("acme", "anna", &["admin"]);
    world.delete(ANNA, &namesake).await.is(200);
    world.start("acme", &world.agent("anna")).await.refused(403, "self_granted");
    // A token for one environment does not open them all.
    let session = world.started("acme", &world.agent("ben")).await;
    remove(&world, &session).await.is(200);
    world.delete("/v1/tenants/acme/bars/staff.YmVuMg", &world.admin("acme")).await.is(200);
    world
        .put("GET", "/v1/tenants/acme/bars/staff.YmVu", Value::Null, &world.admin("acme"))
        .await
        .refused(405, "method_not_allowed");
    for path in ["staff.YmVu=", "ben", "staff."] {
        world.delete(&format!("{BARS}/{path}"), &world.admin("acme")).await.refused(400, "id_malformed");
    }
}

#[tokio::test]
async fn an_operator_is_barred_like_anybody_unless_the_tenant_does_not_end_break_glass() {
    let world = World::with(barring()).await;
    let gustav = world.agent("gustav");
    let session = break_glass(&world, &gustav).await.is(201).body["session"]["id"].clone();
    remove(&world, session.as_str().unwrap()).await.is(200);
    break_glass(&world, &gustav).await.refused(403, "barred");

    let mut aloof = emergency();
    aloof.break_glass.as_mut().unwrap().tenant_ends = false;
    let world = World::with(Wish { emergency: aloof, ..barring() }).await;
    let gustav = world.agent("gustav");
    let glass = break_glass(&world, &gustav).await.is(201).body["session"]["id"].as_str().unwrap().to_owned();
    remove(&world, &glass).await.refused(403, "not_yours_to_end");
    // Their ordinary session is the tenant's to end, and they are barred by that; not from break-glass.
    let session = world.started("acme", &gustav).await;
    remove(&world, &session).await.is(200);
    assert_eq!(world.inside("acme").await, [glass.as_str()]);
    world.start("acme", &gustav).await.refused(403, "barred");
    let stop = json!({"stopped": true, "reason": "nobody at all"});
    world.put("PUT", "/v1/tenants/acme/stop", stop, &world.admin("acme")).await.is(200);
    assert_eq!(world.inside("acme").await, [glass.as_str()], "nor does the tenant's own switch end it");
    break_glass(&world, &gustav).await.is(201);
    // The operators' switch does.
    let stop = json!({"reach": {"tenant": "acme"}, "stopped": true, "reason": "INC-4711"});
    world.put("PUT", "/v1/stops", stop, &world.agent("otto")).await.is(200);
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    break_glass(&world, &gustav).await.refused(403, "stopped");
    let none = World::with(Wish { emergency: Emergency::default(), ..barring() }).await;
    break_glass(&none, &none.agent("gustav")).await.refused(403, "not_operator");
}

#[tokio::test]
async fn a_session_by_a_grant_lasts_as_long_as_the_grant_where_that_is_configured() {
    let sessions = SessionRules { on_remove: OnRemove::End, as_long_as_granted: true };
    let world = World::with(Wish { sessions, grantor_memory_ms: 100 * DAY, ..Wish::default() }).await;
    let grant = world.granted("acme", json!("support"), "viewer").await;
    let entered = world.enter_by("acme", &grant, &world.agent("anna")).await.is(201).body;
    assert_eq!(entered["session"]["ends"]["clock"], "grant");
    let id = entered["session"]["id"].as_str().unwrap().to_owned();
    // By consent it is the five days, as ever; and whoever asks for less gets less.
    let five = world.start("acme", &world.agent("ben")).await.is(201).body["session"]["ends"].clone();
    assert_eq!(five, json!({"at": "2026-04-01T10:00:00.000Z", "clock": "session"}));
    let less =
        json!({"environment": "production", "basis": {"grant": grant}, "reason": "as agreed", "for": "2h"});
    let less = world.put("POST", "/v1/tenants/acme/sessions", less, &world.agent("carl")).await.is(201).body;
    assert_eq!(less["session"]["ends"]["clock"], "session");
    for (wrong, code) in [("0s", "not_in_future"), ("11d", "lasts_too_long")] {
        let wrong = json!({"environment": "production", "basis": {"grant": grant}, "reason": "as agreed", "for": wrong});
        world.put("POST", "/v1/tenants/acme/sessions", wrong, &world.agent("carl")).await.refused(422, code);
    }
    world.clock.advance(9 * DAY);
    assert_eq!(world.inside("acme").await, [id.as_str()]);
    let later = json!({"for": "20d"});
    world
        .put("PATCH", &format!("/v1/tenants/acme/grants/{grant}"), later, &world.admin("acme"))
        .await
        .is(200);
    world.clock.advance(20 * DAY - HOUR);
    assert_eq!(world.inside("acme").await, [id.as_str()]);
    world.clock.advance(HOUR);
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    world.engine.sweep_due().await;
    world.engine.sweep_fallen().await;
    let end = world
        .record(|r| {
            r["kind"] == "change.outcome"
                && r["events"][0]["session"] == id.as_str()
                && r["events"][0]["event"] == "session_ended"
        })
        .await;
    assert_eq!(end["events"][0]["cause"], "grant_expired");
}
