//! Creations that bear an `Idempotency-Key`: made once, told again, to nobody else, for a day.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use postern::engine::knock::Who;
use serde_json::{Value, json};

use super::support::{Answer, DAY, HOUR, World};

const GRANTS: &str = "/v1/tenants/acme/grants";
const SESSIONS: &str = "/v1/tenants/acme/sessions";
const GLASS: &str = "/v1/tenants/acme/break-glass";

async fn post(world: &World, path: &str, key: &str, body: &Value, who: &Who) -> Answer {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    world.call("POST", path, &headers, &body.to_string(), who).await
}

fn grant() -> Value {
    json!({"environment": "production", "to": "support", "role": "viewer", "scope": "everything", "for": "10d"})
}

fn entry() -> Value {
    json!({"environment": "production", "basis": "consent", "reason": "looking at order 7"})
}

fn emergency() -> Value {
    json!({"environment": "production", "reason": "all is lost", "incident": "INC-4711", "cause": "integrity"})
}

fn is_replay(answer: &Answer) -> bool {
    answer.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
}

async fn grants(world: &World) -> usize {
    let body = world.get(&format!("{GRANTS}?state=all"), &world.admin("acme")).await.is(200).body;
    body["items"].as_array().unwrap().len()
}

fn made(world: &World, command: &str) -> usize {
    let records = world.records();
    records.iter().filter(|r| r["kind"] == "change.intent" && r["command"] == command).count()
}

#[tokio::test]
async fn each_creation_is_made_once_and_answered_alike_also_after_a_restart() {
    let world = World::new().await;
    world.consent("acme", "full").await;
    let required = json!({"required": true});
    let globex = world.admin("globex");
    world.put("PUT", "/v1/tenants/globex/approval", required, &globex).await.is(200);
    let ask =
        json!({"environment": "production", "level": "read_only", "reason": "order 7", "ticket": "T-7"});
    let requests = "/v1/tenants/globex/requests";
    let cases = [
        ("grant", GRANTS, grant(), "make_grant"),
        ("session", SESSIONS, entry(), "start_session"),
        ("session", GLASS, emergency(), "break_glass"),
        ("request", requests, ask, "make_request"),
    ];
    let who = |world: &World, path: &str| match path {
        GRANTS => world.admin("acme"),
        GLASS => world.agent("gustav"),
        _ => world.agent("anna"),
    };
    let mut first = Vec::new();
    for (what, path, body, _) in &cases {
        let answer = post(&world, path, "\"k-1\"", body, &who(&world, path)).await.is(201);
        assert!(!is_replay(&answer));
        assert_eq!(answer.body["outcome"]["durable"], true);
        first.push((what, path, body, answer));
    }
    let broken = world.engine.glass_broken();
    let mut world = world;
    for round in 0..2 {
        for (what, path, body, answer) in &first {
            // The bare word is the same key.
            let again = post(&world, path, "k-1", body, &who(&world, path)).await.is(201);
            assert!(is_replay(&again), "{what} {round}");
            assert_eq!(again.headers["location"], answer.headers["location"]);
            assert_eq!(again.headers.get("etag"), answer.headers.get("etag"));
            assert_eq!(again.body[what.to_owned()], answer.body[what.to_owned()], "{what}");
            assert_eq!(again.body["outcome"]["change"], answer.body["outcome"]["change"]);
            assert_eq!(again.body["outcome"]["changed"], true);
        }
        if round == 0 {
            assert_eq!(world.engine.glass_broken(), broken, "nobody is woken twice");
            world = world.restarted().await;
        }
    }
    for (_, _, _, command) in &cases {
        assert_eq!(made(&world, command), 1, "{command}");
    }
    // Nothing of key or request stands in the record but digests.
    let outcome =
        world.record(|r| r["kind"] == "change.outcome" && r["events"][0]["event"] == "grant_made").await;
    let documents = outcome["documents"].as_array().unwrap();
    let kept = documents.iter().find(|pair| pair[0].get("made").is_some()).unwrap();
    assert!(!kept.to_string().contains("k-1"), "{kept}");
}

#[tokio::test]
async fn a_repeat_is_shown_what_has_become_of_it() {
    let world = World::new().await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    let started = post(&world, SESSIONS, "k", &entry(), &anna).await.is(201);
    let id = started.body["session"]["id"].as_str().unwrap();
    world.delete(&format!("{SESSIONS}/{id}"), &admin).await.is(200);
    let again = post(&world, SESSIONS, "k", &entry(), &anna).await.is(201);
    assert_eq!(again.body["session"]["id"], id);
    assert_eq!(again.body["session"]["active"], false, "a repeat brings nobody back in");
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
}

#[tokio::test]
async fn another_request_with_a_key_is_refused_and_says_so() {
    let world = World::new().await;
    let (admin, gustav) = (world.admin("acme"), world.agent("gustav"));
    post(&world, GRANTS, "k", &grant(), &admin).await.is(201);
    let mut other = grant();
    other["for"] = "11d".into();
    post(&world, GRANTS, "k", &other, &admin).await.refused(422, "idempotency_key_reused");
    // The same words in other bytes are another request.
    let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
    let spaced = format!(" {}", grant());
    world.call("POST", GRANTS, &headers, &spaced, &admin).await.refused(422, "idempotency_key_reused");
    // Another path is another request.
    post(&world, SESSIONS, "k", &entry(), &gustav).await.is(201);
    post(&world, GLASS, "k", &emergency(), &gustav).await.refused(422, "idempotency_key_reused");
    assert_eq!(grants(&world).await, 1);
    let refused = |r: &Value| r["kind"] == "change.refused" && r["reason"] == "idempotency_key_reused";
    world.record(refused).await;
}

#[tokio::test]
async fn a_key_means_nothing_to_another_subject_in_another_tenant_or_a_day_later() {
    let world = World::new().await;
    let (anna, ben) = (world.agent("anna"), world.agent("ben"));
    let started = post(&world, SESSIONS, "k", &entry(), &anna).await.is(201);
    let other = post(&world, SESSIONS, "k", &entry(), &ben).await.is(201);
    assert!(!is_replay(&other));
    assert_ne!(other.body["session"]["id"], started.body["session"]["id"]);
    let elsewhere = post(&world, "/v1/tenants/globex/sessions", "k", &entry(), &anna).await.is(201);
    assert!(!is_replay(&elsewhere));
    world.clock.advance(DAY - 1);
    assert!(is_replay(&post(&world, SESSIONS, "k", &entry(), &world.agent("anna")).await.is(201)));
    world.engine.sweep_due().await;
    assert!(is_replay(&post(&world, SESSIONS, "k", &entry(), &world.agent("anna")).await.is(201)));
    world.clock.advance(1);
    world.engine.sweep_due().await;
    let swept = |r: &Value| r["kind"] == "change.outcome" && r["events"][0]["event"] == "keys_forgotten";
    assert_eq!(world.record(swept).await["events"][0]["keys"], 1);
    let fresh = post(&world, SESSIONS, "k", &entry(), &world.agent("anna")).await.is(201);
    assert!(!is_replay(&fresh));
    assert_ne!(fresh.body["session"]["id"], started.body["session"]["id"]);
}

#[tokio::test]
async fn whoever_may_not_ask_any_more_gets_the_usual_refusal() {
    let world = World::new().await;
    let admin = world.admin("acme");
    post(&world, GRANTS, "k", &grant(), &admin).await.is(201);
    let demoted = world.member("acme", "admin-of-acme", &["auditor"]);
    let moved = world.member("globex", "admin-of-acme", &["admin"]);
    for who in [&demoted, &moved] {
        let (with, without) =
            (post(&world, GRANTS, "k", &grant(), who).await, world.put("POST", GRANTS, grant(), who).await);
        assert_eq!((with.status, &with.body), (without.status, &without.body));
        with.refused(403, "not_allowed");
    }
    post(&world, SESSIONS, "k", &entry(), &admin).await.refused(403, "not_staff");
}

#[tokio::test]
async fn a_refusal_is_no_answer_that_is_kept() {
    let world = World::new().await;
    let anna = world.agent("anna");
    world.consent("acme", "block").await;
    post(&world, SESSIONS, "k", &entry(), &anna).await.refused(403, "consent_closes");
    world.consent("acme", "full").await;
    let entered = post(&world, SESSIONS, "k", &entry(), &anna).await.is(201);
    assert!(!is_replay(&entered));
    assert!(is_replay(&post(&world, SESSIONS, "k", &entry(), &anna).await.is(201)));
}

#[tokio::test]
async fn a_key_that_cannot_be_read_one_way_is_refused_and_elsewhere_none_is_read() {
    let world = World::new().await;
    let admin = world.admin("acme");
    let long = "k".repeat(129);
    for bad in ["", "\"\"", "a b", "\"a", "a,b", "\"a\";b", long.as_str()] {
        let refused = post(&world, GRANTS, bad, &grant(), &admin).await;
        assert_eq!(refused.refused(400, "idempotency_key_malformed").body["field"], "idempotency-key");
    }
    let twice = [("content-type", "application/json"), ("idempotency-key", "a"), ("idempotency-key", "a")];
    let text = grant().to_string();
    world.call("POST", GRANTS, &twice, &text, &admin).await.refused(400, "idempotency_key_malformed");
    assert_eq!(grants(&world).await, 0);
    // What says how something is to be can be said again anyway.
    let headers = [("content-type", "application/json"), ("idempotency-key", "a b")];
    for level in ["full", "block"] {
        let body = json!({ "level": level }).to_string();
        world.call("PUT", "/v1/tenants/acme/consent", &headers, &body, &admin).await.is(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_at_once_with_one_key_make_one_and_hear_of_the_same() {
    let world = Arc::new(World::new().await);
    for (path, body, who) in
        [(GRANTS, grant(), world.admin("acme")), (SESSIONS, entry(), world.agent("anna"))]
    {
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (world, body, who) = (Arc::clone(&world), body.clone(), who.clone());
            all.spawn(async move { post(&world, path, "k", &body, &who).await.is(201) });
        }
        let answers = all.join_all().await;
        let places: BTreeSet<_> = answers.iter().map(|a| a.headers["location"].to_str().unwrap()).collect();
        assert_eq!(places.len(), 1, "{places:?}");
        assert_eq!(answers.iter().filter(|answer| !is_replay(answer)).count(), 1);
    }
    assert_eq!((made(&world, "make_grant"), made(&world, "start_session")), (1, 1));
    assert_eq!((grants(&world).await, world.inside("acme").await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_at_once_with_keys_of_their_own_are_all_made() {
    let world = Arc::new(World::new().await);
    let admin = world.admin("acme");
    let mut all = tokio::task::JoinSet::new();
    for n in 0..50 {
        let (world, admin) = (Arc::clone(&world), admin.clone());
        all.spawn(async move { post(&world, GRANTS, &format!("k{n}"), &grant(), &admin).await.is(201) });
    }
    assert!(all.join_all().await.iter().all(|answer| !is_replay(answer)));
    assert_eq!(grants(&world).await, 50);
}

#[tokio::test]
async fn of_a_commit_whose_answer_was_lost_a_repeat_tells_and_makes_nothing_twice() {
    let world = World::new().await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    for (path, body, who) in [(GRANTS, grant(), &admin), (SESSIONS, entry(), &anna)] {
        world.store.no_answers.store(true, Ordering::SeqCst);
        post(&world, path, "k", &body, who).await.refused(503, "state_unavailable");
        world.store.no_answers.store(false, Ordering::SeqCst);
        let told = post(&world, path, "k", &body, who).await.is(201);
        assert!(is_replay(&told), "the first was made");
    }
    assert_eq!((grants(&world).await, world.inside("acme").await.len()), (1, 1));
    // And where nothing was stored, it is made now.
    world.store.no_commits.store(true, Ordering::SeqCst);
    post(&world, GRANTS, "k2", &grant(), &admin).await.refused(503, "state_unavailable");
    world.store.no_commits.store(false, Ordering::SeqCst);
    assert!(!is_replay(&post(&world, GRANTS, "k2", &grant(), &admin).await.is(201)));
    assert_eq!(grants(&world).await, 2);
    let world = world.restarted().await;
    assert!(is_replay(&post(&world, GRANTS, "k", &grant(), &world.admin("acme")).await.is(201)));
    assert_eq!(grants(&world).await, 2);
}

#[tokio::test]
async fn while_the_first_hangs_the_second_is_told_to_come_again_with_the_same_key() {
    let world = Arc::new(World::new().await);
    let admin = world.admin("acme");
    world.store.stall(true);
    let first = {
        let (world, admin) = (Arc::clone(&world), admin.clone());
        tokio::spawn(async move { post(&world, GRANTS, "k", &grant(), &admin).await })
    };
    world.record(|r| r["kind"] == "change.intent" && r["command"] == "make_grant").await;
    let second = post(&world, GRANTS, "k", &grant(), &admin).await.refused(409, "idempotency_in_progress");
    assert_eq!(second.headers["retry-after"], "1");
    world.store.stall(false);
    let first = first.await.unwrap().is(201);
    let again = post(&world, GRANTS, "k", &grant(), &admin).await.is(201);
    assert_eq!(again.headers["location"], first.headers["location"]);
    assert_eq!(grants(&world).await, 1);
}

#[tokio::test]
async fn what_is_kept_and_cannot_be_read_holds_up_only_what_bears_a_key() {
    let world = World::new().await;
    let admin = world.admin("acme");
    post(&world, GRANTS, "k", &grant(), &admin).await.is(201);
    let Who::Known(subject) = &admin else { panic!() };
    let key = postern::model::Key::Made(super::support::tenant("acme"), subject.id.clone());
    world.store.damaged.lock().unwrap().insert(key);
    let world = world.restarted().await;
    let admin = world.admin("acme");
    post(&world, GRANTS, "k", &grant(), &admin).await.refused(503, "state_unavailable");
    world.put("POST", GRANTS, grant(), &admin).await.is(201);
    world.clock.advance(HOUR);
    assert_eq!(grants(&world).await, 2);
}
