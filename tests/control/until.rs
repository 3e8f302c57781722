//! Consent that is raised until a date: what is taken, what is shown, and how it falls back by itself.

use postern::policy::OnLower;
use serde_json::{Value, json};

use super::support::{Answer, DAY, HOUR, Wish, World};

const ACME: &str = "/v1/tenants/acme/consent";

async fn raise(world: &World, tenant: &str, body: Value) -> Answer {
    let path = format!("/v1/tenants/{tenant}/consent");
    world.put("PUT", &path, body, &world.admin(tenant)).await
}

async fn in_force(world: &World, tenant: &str) -> String {
    let path = format!("/v1/tenants/{tenant}/consent");
    let body = world.get(&path, &world.admin(tenant)).await.is(200).body;
    body["in_force"]["level"].as_str().unwrap().to_owned()
}

fn falls(world: &World) -> Vec<Value> {
    let outcomes = world.records().into_iter().filter(|record| record["kind"] == "change.outcome");
    let events = outcomes.flat_map(|record| record["events"].as_array().cloned().unwrap_or_default());
    events.filter(|event| event["event"] == "consent_fell").collect()
}

// GW-15
#[tokio::test]
async fn consent_raised_until_a_date_falls_back_by_itself_and_that_is_written_down_once() {
    let world = World::new().await;
    let answer = raise(&world, "acme", json!({"level": "full", "for": "8h"})).await.is(200);
    let until = "2026-03-27T19:00:00.000Z";
    let shown = &answer.body["consent"];
    assert_eq!(shown["choice"], "read_only", "what was chosen stays");
    assert_eq!(shown["raised"], json!({"level": "full", "until": until}));
    assert_eq!(shown["in_force"]["level"], "full");
    let event = &answer.body["outcome"]["events"][0];
    assert_eq!((&event["to"], &event["until"]), (&json!("full"), &json!(until)));
    world.clock.advance(8 * HOUR - 1);
    assert_eq!(in_force(&world, "acme").await, "full");
    world.clock.advance(1);
    // Nothing was swept yet: the time alone has ended it.
    let body = world.get(ACME, &world.admin("acme")).await.is(200).body;
    assert_eq!((&body["in_force"]["level"], body.get("raised")), (&json!("read_only"), None));
    world.clock.advance(HOUR);
    for _ in 0..3 {
        world.engine.sweep_due().await;
    }
    let fell = json!({"event": "consent_fell", "from": "full", "to": "read_only", "at": until});
    assert_eq!(falls(&world), [fell], "once, with the instant at which it took effect");
    let again = world.restarted().await;
    assert_eq!(in_force(&again, "acme").await, "read_only");
    again.engine.sweep_due().await;
    assert_eq!(falls(&again).len(), 1);
}

// GW-15
#[tokio::test]
async fn a_date_only_goes_with_a_level_above_what_is_in_force_and_is_bounded_like_a_grants() {
    let world = World::new().await;
    world.consent("acme", "limited_edit").await;
    for level in ["block", "read_only", "limited_edit"] {
        let answer = raise(&world, "acme", json!({"level": level, "for": "8h"})).await;
        let answer = answer.refused(422, "not_raised");
        let hint = answer.body["detail"].as_str().unwrap();
        assert!(hint.contains("`limited_edit`") && hint.contains("leave it out"), "{hint}");
    }
    world.consent("acme-west", "inherit").await;
    raise(&world, "acme-west", json!({"level": "read_only", "for": "8h"})).await.refused(422, "not_raised");
    raise(&world, "acme-west", json!({"level": "inherit", "for": "8h"})).await.refused(422, "not_raised");
    raise(&world, "acme", json!({"level": "inherit", "for": "8h"})).await.refused(422, "nothing_to_inherit");
    raise(&world, "acme", json!({"level": "most", "for": "8h"})).await.refused(422, "level_unknown");
    for (body, code) in [
        (json!({"level": "full", "for": "366 calendar days"}), "too_far"),
        (json!({"level": "full", "until": "2026-03-27T12:00:00+01:00"}), "not_in_future"),
        (json!({"level": "full", "date": "2026-03-27"}), "not_in_future"),
    ] {
        raise(&world, "acme", body).await.refused(422, code);
    }
    for body in [
        json!({"level": "full", "for": "8h", "date": "2026-03-28"}),
        json!({"level": "full", "until": "tomorrow"}),
        json!({"level": "full", "for": "60"}),
    ] {
        raise(&world, "acme", body).await.refused(400, "body_malformed");
    }
    assert_eq!(in_force(&world, "acme").await, "limited_edit", "none of these changed anything");
    // A date is the beginning of that day in the tenant's zone, over the change of the clocks too.
    let answer = raise(&world, "acme", json!({"level": "full", "date": "2026-03-30"})).await.is(200);
    assert_eq!(answer.body["consent"]["raised"]["until"], "2026-03-29T22:00:00.000Z");
}

// GW-15
#[tokio::test]
async fn a_later_choice_replaces_moves_or_clears_what_was_raised() {
    let world = World::new().await;
    let raised = async |body: Value| {
        let answer = raise(&world, "acme", body).await.is(200);
        (answer.body["consent"]["raised"].clone(), answer.body["outcome"]["changed"] == true)
    };
    let until = |level: &str, at: &str| (json!({"level": level, "until": at}), true);
    let friday = "2026-03-27T20:00:00.000Z";
    let sunday = "2026-03-29T20:00:00.000Z";
    assert_eq!(raised(json!({"level": "full", "until": friday})).await, until("full", friday));
    assert!(!raised(json!({"level": "full", "until": friday})).await.1, "it is so already");
    assert_eq!(raised(json!({"level": "full", "until": sunday})).await, until("full", sunday));
    let lower = json!({"level": "limited_edit", "until": friday});
    assert_eq!(raised(lower).await, until("limited_edit", friday));
    assert_eq!(in_force(&world, "acme").await, "limited_edit");
    let (none, changed) = raised(json!({"level": "read_only"})).await;
    assert_eq!((none, changed), (Value::Null, true), "the level that stands, without a date, clears it");
    assert_eq!(in_force(&world, "acme").await, "read_only");
    assert!(raised(json!({"level": "full", "until": friday})).await.1);
    assert_eq!(raised(json!({"level": "full"})).await, (Value::Null, true), "for good");
    world.clock.advance(30 * DAY);
    world.engine.sweep_due().await;
    assert_eq!(in_force(&world, "acme").await, "full");
    assert_eq!(falls(&world), Vec::<Value>::new(), "what was replaced or cleared never fell");
}

// GW-15
#[tokio::test]
async fn a_choice_between_the_fall_and_the_sweep_writes_the_fall_down_as_well() {
    let world = World::new().await;
    raise(&world, "acme", json!({"level": "full", "for": "8h"})).await.is(200);
    world.clock.advance(9 * HOUR);
    let answer = world.consent("acme", "limited_edit").await;
    let events = answer.body["outcome"]["events"].as_array().unwrap();
    assert_eq!(events[0]["event"], "consent_fell");
    assert_eq!(events[0]["at"], "2026-03-27T19:00:00.000Z");
    assert_eq!((&events[1]["from"], &events[1]["to"]), (&json!("read_only"), &json!("limited_edit")));
    world.engine.sweep_due().await;
    assert_eq!(falls(&world).len(), 1);
}

// GW-15
#[tokio::test]
async fn children_that_inherit_rise_and_fall_with_their_parent() {
    let world = World::with(Wish { on_lower: OnLower::Immediate, ..Wish::default() }).await;
    world.consent("acme-west", "inherit").await;
    world.consent("acme", "block").await;
    let anna = world.agent("anna");
    world.start("acme-west", &anna).await.refused(403, "consent_closes");
    // What starts in the millisecond of a fall is over.
    world.clock.advance(1);
    raise(&world, "acme", json!({"level": "limited_edit", "for": "8h"})).await.is(200);
    let id = world.started("acme-west", &anna).await;
    let session = async || {
        let path = format!("/v1/tenants/acme-west/sessions/{id}");
        world.get(&path, &world.agent("anna")).await.is(200).body
    };
    let ends = json!({"at": "2026-03-27T19:00:00.001Z", "clock": "consent"});
    assert_eq!(session().await["ends"], ends, "the parent's date ends it before its own deadline does");
    world.clock.advance(8 * HOUR);
    assert_eq!(session().await["over"]["code"], "consent_withdrawn");
    assert_eq!(in_force(&world, "acme-west").await, "block");
    // What was closed by the clock alone stays closed, swept or not.
    world.clock.advance(1);
    raise(&world, "acme", json!({"level": "full", "for": "8h"})).await.is(200);
    assert_eq!(session().await["over"]["code"], "consent_withdrawn");
    world.started("acme-west", &world.agent("anna")).await;
}

// GW-15
#[tokio::test]
async fn what_runs_when_the_level_falls_keeps_what_the_lower_level_gives_where_lowering_is_immediate() {
    for (on_lower, after) in [(OnLower::Immediate, false), (OnLower::Future, true)] {
        let world = World::with(Wish { on_lower, ..Wish::default() }).await;
        raise(&world, "acme", json!({"level": "limited_edit", "for": "8h"})).await.is(200);
        let anna = world.agent("anna");
        let id = world.started("acme", &anna).await;
        let rights = async || {
            let path = format!("/v1/tenants/acme/sessions/{id}");
            let body = world.get(&path, &world.agent("anna")).await.is(200).body;
            assert_eq!((&body["active"], &body["ends"]["clock"]), (&json!(true), &json!("session")));
            body["rights"].as_array().unwrap().iter().any(|right| right == "jobs:manage")
        };
        assert!(rights().await);
        world.clock.advance(8 * HOUR);
        assert_eq!(rights().await, after, "a fall by the clock is a lowering like any other");
    }
}
