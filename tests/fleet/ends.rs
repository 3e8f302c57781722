//! An end on one gateway reaches what runs on another (law 6).

use std::sync::atomic::Ordering::SeqCst;

use postern::{
    engine::fuse::Look,
    policy::{Effect, Reason},
};
use serde_json::{Value, json};

use super::{
    stage::{Fleet, Running, ask},
    support::{HOUR, shared::Shared, until},
};

/// Whatever is taken away on one gateway, in one way after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_on_one_gateway_is_cut_on_the_other() {
    for (way, reason) in [
        ("the agent ends it", Reason::SessionEnded),
        ("an administrator removes them", Reason::SessionEnded),
        ("consent is lowered", Reason::ConsentWithdrawn),
        ("their role loses the permission", Reason::PermissionMissing),
        ("the tenant's switch is set", Reason::Stopped),
    ] {
        let fleet = Fleet::new().await;
        let (world, anna) = (&fleet.a, fleet.a.agent("anna"));
        let admin = world.admin("acme");
        let session = world.started("acme", &anna).await;
        fleet.tell_b().await;
        let running = fleet.runs("acme", &anna, Effect::Read).await;
        let path = format!("/v1/tenants/acme/sessions/{session}");
        match way {
            "the agent ends it" => drop(world.delete(&path, &anna).await.is(200)),
            "an administrator removes them" => drop(world.delete(&path, &admin).await.is(200)),
            "consent is lowered" => drop(world.consent("acme", "block").await),
            "their role loses the permission" => {
                let body = json!({"permissions": ["config:read"]});
                world.put("PUT", "/v1/tenants/acme/roles/support_reader", body, &admin).await.is(200);
            }
            _ => {
                let body = json!({"stopped": true, "reason": "an audit"});
                world.put("PUT", "/v1/tenants/acme/stop", body, &admin).await.is(200);
            }
        }
        assert_eq!(running.look(), Look::Alive, "{way}: nothing was told yet");
        fleet.tell_b().await;
        let told = running.is_cut(way).await;
        let ended = matches!(told, Reason::SessionEnded | Reason::SessionStopped) || told == reason;
        assert!(told == reason || (way.contains("switch") && ended), "{way}: {told}");
        assert_ne!(fleet.refused("acme", &anna, Effect::Read).await, None, "{way}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_grant_and_a_changed_one_reach_the_other_gateway() {
    let fleet = Fleet::new().await;
    let (world, anna) = (&fleet.a, fleet.a.agent("anna"));
    world.consent("acme", "block").await;
    let grant = world.granted("acme", json!("support"), "order_clerk").await;
    world.enter_by("acme", &grant, &anna).await.is(201);
    fleet.heard().await;
    let running = fleet.runs("acme", &anna, Effect::Write).await;
    world.delete(&format!("/v1/tenants/acme/grants/{grant}"), &world.admin("acme")).await.is(200);
    fleet.tell_b().await;
    assert_eq!(running.is_cut("the grant is withdrawn").await, Reason::GrantWithdrawn);
}

// P17-16
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expiry_ends_on_both_by_their_clocks_and_is_recorded_by_one() {
    let fleet = Fleet::new().await;
    let (world, anna) = (&fleet.a, fleet.a.agent("anna"));
    let body = json!({"environment": "production", "basis": "consent", "reason": "order 7", "for": "2h"});
    world.put("POST", "/v1/tenants/acme/sessions", body, &anna).await.is(201);
    fleet.tell_b().await;
    drop(fleet.runs("acme", &anna, Effect::Read).await);
    // It is heard of up to its last millisecond.
    world.clock.advance(2 * HOUR - 1);
    fleet.heard().await;
    let running = fleet.runs("acme", &anna, Effect::Read).await;
    world.clock.advance(1);
    assert!(matches!(running.look(), Look::Burnt(cut) if cut.reason == Reason::SessionExpired));
    for _ in 0..2 {
        tokio::join!(world.engine.sweep_due(), fleet.b.engine.sweep_due());
        fleet.heard().await;
    }
    let ends = |records: Vec<Value>| {
        let outcomes = records.into_iter().filter(|record| record["kind"] == "change.outcome");
        let events = outcomes.flat_map(|record| record["events"].as_array().cloned().unwrap_or_default());
        events.filter(|event| event["event"] == "session_ended").count()
    };
    assert_eq!(ends(world.records()) + ends(fleet.b.records()), 1);
}

/// What the feed tells of a gateway's own change was in force before: it is not decided again. Whoever broke the glass asks the
/// store for each decision, so decisions can be counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_feed_tells_of_an_own_change_is_not_decided_again() {
    let fleet = Fleet::new().await;
    let (world, gustav) = (&fleet.a, fleet.a.agent("gustav"));
    fleet.break_glass("acme", &gustav).await;
    fleet.heard().await;
    let asked = |of: &Shared| of.confirmed.load(SeqCst);
    let here = Running::of(&world.engine, ask(&world.engine, "acme", &gustav, Effect::Read).await);
    let there = fleet.runs("acme", &gustav, Effect::Read).await;
    let before = (asked(fleet.of_a()), asked(fleet.of_b()));
    world.consent("acme", "full").await;
    let made = asked(fleet.of_a());
    assert!(made > before.0, "it was decided again where it was made");
    fleet.heard().await;
    there.goes_on("it is decided again where it was told").await;
    until("it was asked", || asked(fleet.of_b()) > before.1).await;
    here.goes_on("here too").await;
    assert_eq!(asked(fleet.of_a()), made, "its own word told it nothing new");
}
