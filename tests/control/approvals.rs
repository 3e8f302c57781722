//! Where a tenant approves each session: asking, answering, entering, and what dies by itself.

use std::sync::Arc;

use postern::{
    model::{ChangeId, Key, RequestId, Version},
    policy::OnLower,
    state::{Commit, Store as _},
};
use serde_json::{Value, json};

use super::support::{Answer, HOUR, Wish, World};

const MINUTE: i64 = 60_000;
const ACME: &str = "/v1/tenants/acme/requests";

async fn require(world: &World, tenant: &str, required: bool) -> Answer {
    let path = format!("/v1/tenants/{tenant}/approval");
    world.put("PUT", &path, json!({ "required": required }), &world.admin(tenant)).await.is(200)
}

/// `acme` at `full`, with approval required.
async fn strict(wish: Wish) -> World {
    let world = World::with(wish).await;
    world.consent("acme", "full").await;
    require(&world, "acme", true).await;
    world
}

async fn ask(world: &World, agent: &str) -> Answer {
    let body = json!({
        "environment": "production", "level": "limited_edit", "reason": "order 7 is stuck", "ticket": "T-7", "for": "2h",
    });
    world.put("POST", ACME, body, &world.agent(agent)).await
}

async fn asked(world: &World, agent: &str) -> String {
    let answer = ask(world, agent).await.is(201);
    let id = answer.body["request"]["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.headers["location"], format!("/_postern{ACME}/{id}").as_str());
    id
}

async fn patch(world: &World, id: &str, body: Value, who: &postern::engine::knock::Who) -> Answer {
    world.put("PATCH", &format!("{ACME}/{id}"), body, who).await
}

async fn approve(world: &World, id: &str, terms: Value) -> Answer {
    patch(world, id, json!({ "approve": terms }), &world.admin("acme")).await
}

async fn enter(world: &World, id: &str, agent: &str) -> Answer {
    let body = json!({"environment": "production", "basis": {"request": id}, "reason": "as approved"});
    world.put("POST", "/v1/tenants/acme/sessions", body, &world.agent(agent)).await
}

async fn waiting(world: &World, who: &postern::engine::knock::Who, query: &str) -> Vec<String> {
    let body = world.get(&format!("{ACME}{query}"), who).await.is(200).body;
    body["items"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

fn ends(world: &World) -> Vec<Value> {
    let outcomes = world.records().into_iter().filter(|record| record["kind"] == "change.outcome");
    let events = outcomes.flat_map(|record| record["events"].as_array().cloned().unwrap_or_default());
    events.filter(|event| event["event"] == "request_ended").collect()
}

// GW-16
#[tokio::test]
async fn an_agent_asks_an_administrator_approves_less_and_one_session_starts_by_it() {
    let world = strict(Wish::default()).await;
    let anna = world.agent("anna");
    world.start("acme", &anna).await.refused(403, "approval_required");
    let id = asked(&world, "anna").await;
    enter(&world, &id, "anna").await.refused(409, "not_approved");
    approve(&world, &id, json!({"level": "full"})).await.refused(422, "beyond_request");
    approve(&world, &id, json!({"for": "3h"})).await.refused(422, "beyond_request");
    let answer = approve(&world, &id, json!({"level": "read_only", "for": "1h"})).await.is(200);
    let approved = &answer.body["request"]["approved"];
    assert_eq!((&approved["level"], &approved["for"]), (&json!("read_only"), &json!("1h")));
    assert_eq!(approved["until"], "2026-03-27T11:15:00.000Z", "it is to be used soon");
    enter(&world, &id, "ben").await.refused(404, "not_found");
    let session = enter(&world, &id, "anna").await.is(201).body["session"].clone();
    assert_eq!(session["basis"], json!({"consent": "read_only"}));
    assert_eq!(session["request"], id.as_str());
    assert_eq!(session["role"], "support_reader", "no further than was approved, where consent goes further");
    assert_eq!(session["ends"]["at"], "2026-03-27T12:00:00.000Z", "nor longer");
    enter(&world, &id, "anna").await.refused(409, "request_over");
    let view = world.get(&format!("{ACME}/{id}"), &anna).await.is(200).body;
    assert_eq!((&view["state"], &view["over"]["cause"]), (&json!("over"), &json!("used")));
    assert_eq!(view["over"]["session"], session["id"]);
    assert_eq!(ends(&world).len(), 1);
    // It ends by itself like any session, and a change of the rule does not touch it.
    world.clock.advance(HOUR - 1);
    assert_eq!(world.inside("acme").await.len(), 1);
    world.clock.advance(1);
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
}

// GW-16
#[tokio::test]
async fn a_session_by_approval_goes_no_further_than_consent_does_when_it_starts_and_after() {
    let world = strict(Wish { on_lower: OnLower::Immediate, ..Wish::default() }).await;
    let (first, second) = (asked(&world, "anna").await, asked(&world, "ben").await);
    for id in [&first, &second] {
        approve(&world, id, json!({})).await.is(200);
    }
    world.clock.advance(1);
    world.consent("acme", "read_only").await;
    let session = enter(&world, &first, "anna").await.is(201).body["session"].clone();
    assert_eq!(session["basis"], json!({"consent": "read_only"}));
    world.clock.advance(1);
    world.consent("acme", "block").await;
    assert_eq!(world.inside("acme").await, Vec::<String>::new(), "an approval outlives no consent");
    enter(&world, &second, "ben").await.refused(403, "consent_closes");
    ask(&world, "anna").await.refused(403, "consent_closes");
}

// GW-16
#[tokio::test]
async fn an_administrator_asks_back_the_agent_answers_and_a_refusal_says_why() {
    let world = strict(Wish::default()).await;
    let (admin, anna, ben) = (world.admin("acme"), world.agent("anna"), world.agent("ben"));
    let id = asked(&world, "anna").await;
    patch(&world, &id, json!({"answer": "so"}), &anna).await.refused(409, "nothing_asked");
    patch(&world, &id, json!({"ask": "which customer?"}), &admin).await.is(200);
    patch(&world, &id, json!({"answer": "not mine"}), &ben).await.refused(404, "not_found");
    patch(&world, &id, json!({"answer": "mine"}), &admin).await.refused(403, "not_staff");
    let answer = patch(&world, &id, json!({"answer": "Weber Ltd."}), &anna).await.is(200);
    let talk = answer.body["request"]["talk"].as_array().unwrap().clone();
    assert_eq!(
        talk.iter().map(|remark| remark["text"].clone()).collect::<Vec<_>>(),
        ["which customer?", "Weber Ltd."]
    );
    assert_eq!((&talk[0]["from"], &talk[1]["from"]), (&json!("tenant"), &json!("agent")));
    patch(&world, &id, json!({"refuse": ""}), &admin).await.refused(422, "reason_unfit");
    approve(&world, &id, json!({})).await.is(200);
    let again = approve(&world, &id, json!({})).await;
    assert_eq!(again.is(200).body["outcome"]["changed"], false);
    approve(&world, &id, json!({"for": "1h"})).await.refused(409, "request_decided");
    patch(&world, &id, json!({"ask": "really?"}), &admin).await.refused(409, "request_decided");
    // A yes is taken back until it is used.
    let refused = patch(&world, &id, json!({"refuse": "not before Monday"}), &admin).await.is(200);
    assert_eq!(refused.body["request"]["over"]["reason"], "not before Monday");
    enter(&world, &id, "anna").await.refused(409, "request_over");
    let again = patch(&world, &id, json!({"refuse": "again"}), &admin).await.is(200);
    assert_eq!(again.body["outcome"], json!({"changed": false}));
    approve(&world, &id, json!({})).await.refused(409, "request_over");
    for body in [json!({}), json!({"ask": "a", "refuse": "b"}), json!({"approve": true}), json!({"yes": {}})]
    {
        patch(&world, &id, body, &admin).await.refused(400, "body_malformed");
    }
    for n in 0..20 {
        let id = if n == 0 {
            asked(&world, "cora").await
        } else {
            waiting(&world, &world.agent("cora"), "").await[0].clone()
        };
        patch(&world, &id, json!({"ask": format!("{n}?")}), &admin).await.is(200);
    }
    let id = waiting(&world, &world.agent("cora"), "").await[0].clone();
    patch(&world, &id, json!({"ask": "one more?"}), &admin).await.refused(409, "too_many_remarks");
}

// GW-16
#[tokio::test]
async fn what_nobody_answers_dies_and_so_does_what_nobody_uses_each_written_down_once() {
    let world = strict(Wish::default()).await;
    let (dead, lapsed) = (asked(&world, "anna").await, asked(&world, "ben").await);
    world.clock.advance(12 * HOUR - MINUTE);
    approve(&world, &lapsed, json!({})).await.is(200);
    world.clock.advance(MINUTE);
    // The time alone has ended it.
    approve(&world, &dead, json!({})).await.refused(409, "request_over");
    patch(&world, &dead, json!({"ask": "late?"}), &world.admin("acme")).await.refused(409, "request_over");
    let view = world.get(&format!("{ACME}/{dead}"), &world.agent("anna")).await.is(200).body;
    assert_eq!(view["over"], json!({"cause": "expired", "at": "2026-03-27T23:00:00.000Z"}));
    world.clock.advance(14 * MINUTE);
    enter(&world, &lapsed, "ben").await.refused(409, "request_over");
    let world = world.restarted().await;
    for _ in 0..3 {
        world.engine.sweep_due().await;
    }
    let found: Vec<_> =
        ends(&world).into_iter().map(|end| (end["cause"].clone(), end["at"].clone())).collect();
    let expected = [("expired", "2026-03-27T23:00:00.000Z"), ("lapsed", "2026-03-27T23:14:00.000Z")];
    assert_eq!(found, expected.map(|(cause, at)| (json!(cause), json!(at))));
    assert_eq!(waiting(&world, &world.admin("acme"), "").await, Vec::<String>::new());
    assert_eq!(waiting(&world, &world.admin("acme"), "?state=all").await.len(), 2);
}

// GW-16
#[tokio::test]
async fn requests_of_others_and_of_other_tenants_are_none_and_too_many_are_refused() {
    let world = strict(Wish::default()).await;
    let (anna, ben, admin) = (world.agent("anna"), world.agent("ben"), world.admin("acme"));
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(asked(&world, "anna").await);
    }
    ask(&world, "anna").await.refused(409, "requests_waiting");
    ids.push(asked(&world, "ben").await);
    ids.sort();
    assert_eq!(waiting(&world, &admin, "").await, ids);
    assert_eq!(waiting(&world, &anna, "").await.len(), 8);
    assert_eq!(waiting(&world, &ben, "").await.len(), 1);
    // Pages.
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let body = world.get(&format!("{ACME}?limit=2{after}"), &anna).await.is(200).body;
        seen.extend(
            body["items"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = body["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen.len(), 8);
    let of_ben = waiting(&world, &ben, "").await.remove(0);
    world.get(&format!("{ACME}/{of_ben}"), &anna).await.refused(404, "not_found");
    world.delete(&format!("{ACME}/{of_ben}"), &anna).await.refused(404, "not_found");
    for who in [world.admin("globex"), world.admin("acme-west"), world.member("acme", "v", &["viewer"])] {
        world.get(&format!("{ACME}/{of_ben}"), &who).await.refused(403, "not_allowed");
        world.get(ACME, &who).await.refused(403, "not_allowed");
        patch(&world, &of_ben, json!({"approve": {}}), &who).await.refused(403, "not_allowed");
        world
            .put("PUT", "/v1/tenants/acme/approval", json!({"required": false}), &who)
            .await
            .refused(403, "not_allowed");
    }
    patch(&world, &of_ben, json!({"approve": {}}), &ben).await.refused(403, "not_allowed");
    world.delete(&format!("{ACME}/{of_ben}"), &ben).await.is(200);
    let again = world.delete(&format!("{ACME}/{of_ben}"), &ben).await.is(200);
    assert_eq!(again.body["had_ended"], true);
    // An unknown tenant looks like one that blocks; another tenant's request opens nothing here.
    let body = json!({"environment": "production", "level": "full", "reason": "looking"});
    world
        .put("POST", "/v1/tenants/nowhere/requests", body.clone(), &anna)
        .await
        .refused(403, "consent_closes");
    world.put("POST", "/v1/tenants/globex/requests", body, &anna).await.refused(409, "approval_not_required");
    approve(&world, &seen[0], json!({})).await.is(200);
    let elsewhere =
        json!({"environment": "production", "basis": {"request": seen[0]}, "reason": "as approved"});
    world.put("POST", "/v1/tenants/globex/sessions", elsewhere, &anna).await.refused(404, "not_found");
    let sandbox = json!({"environment": "sandbox", "basis": {"request": seen[0]}, "reason": "as approved"});
    world.put("POST", "/v1/tenants/acme/sessions", sandbox, &anna).await.refused(422, "beyond_request");
    enter(&world, &seen[0], "anna").await.is(201);
    asked(&world, "anna").await;
}

// GW-14
// GW-16
#[tokio::test]
async fn nobody_approves_for_themselves_nor_waives_approval_for_themselves() {
    let world = strict(Wish::default()).await;
    let id = asked(&world, "anna").await;
    let mail = json!({"email": "anna@vendor.example", "email_verified": true});
    let twins =
        [world.member("acme", "anna", &["admin"]), world.member_with("acme", "m-3", &["admin"], mail)];
    for twin in &twins {
        patch(&world, &id, json!({"approve": {}}), twin).await.refused(403, "self_granted");
    }
    let path = "/v1/tenants/acme/approval";
    world.put("PUT", path, json!({"required": false}), &twins[1]).await.is(200);
    world.start("acme", &world.agent("anna")).await.refused(403, "self_granted");
    world.started("acme", &world.agent("ben")).await;
    require(&world, "acme", true).await;
    approve(&world, &id, json!({})).await.is(200);
    let shown = approve(&world, &id, json!({})).await.body.to_string()
        + &world.get(ACME, &twins[0]).await.body.to_string();
    assert!(!shown.contains("digest") && !shown.contains("salt"), "{shown}");
    enter(&world, &id, "anna").await.is(201);
}

// GW-16
#[tokio::test(flavor = "multi_thread")]
async fn of_two_administrators_at_once_one_decides_and_of_two_entries_one_enters() {
    let world = Arc::new(strict(Wish::default()).await);
    for round in 0..12 {
        let id = asked(&world, "anna").await;
        let answers = [json!({"approve": {}}), json!({"approve": {"for": "1h"}}), json!({"refuse": "no"})];
        let both = answers.into_iter().cycle().skip(round % 3).take(2).map(|body| {
            let (world, id) = (Arc::clone(&world), id.clone());
            tokio::spawn(async move { patch(&world, &id, body, &world.admin("acme")).await })
        });
        let mut won = 0;
        for one in both.collect::<Vec<_>>() {
            let answer = one.await.unwrap();
            match answer.status {
                200 => won += 1,
                _ => {
                    assert!(["request_decided", "request_over"].contains(&answer.code()), "{:?}", answer.body)
                }
            }
        }
        assert!(won >= 1, "round {round}");
        let state =
            world.get(&format!("{ACME}/{id}"), &world.agent("anna")).await.is(200).body["state"].clone();
        let entries = (0..2).map(|_| {
            let (world, id) = (Arc::clone(&world), id.clone());
            tokio::spawn(async move { enter(&world, &id, "anna").await })
        });
        let mut entered = 0;
        for one in entries.collect::<Vec<_>>() {
            let answer = one.await.unwrap();
            if answer.status == 201 {
                entered += 1;
            } else {
                answer.refused(409, "request_over");
            }
        }
        assert_eq!(entered, usize::from(state == "approved"), "round {round}: used once");
    }
}

// GW-16
#[tokio::test]
async fn the_rule_is_a_setting_with_an_etag_and_a_request_is_too() {
    let world = World::new().await;
    let (path, admin) = ("/v1/tenants/acme/approval", world.admin("acme"));
    let first = world.get(path, &admin).await.is(200);
    assert_eq!(first.body["required"], false);
    let set = async |tag: &str, required: bool| {
        let headers = [("content-type", "application/json"), ("if-match", tag)];
        world.call("PUT", path, &headers, &json!({ "required": required }).to_string(), &admin).await
    };
    let second = set(&first.etag(), true).await.is(200);
    assert_eq!(second.body["required"], true);
    set(&first.etag(), false).await.refused(412, "changed");
    assert_eq!(require(&world, "acme", true).await.body["outcome"], json!({"changed": false}));
    world.put("PUT", path, json!({}), &admin).await.refused(400, "body_malformed");
    let id = asked(&world, "anna").await;
    let tag = world.get(&format!("{ACME}/{id}"), &admin).await.is(200).etag();
    patch(&world, &id, json!({"ask": "why?"}), &admin).await.is(200);
    let headers = [("content-type", "application/json"), ("if-match", tag.as_str())];
    let stale = world.call("PATCH", &format!("{ACME}/{id}"), &headers, r#"{"approve":{}}"#, &admin).await;
    stale.refused(412, "changed");
    // Sessions by grants are not concerned.
    let grant = world.granted("acme", json!("support"), "viewer").await;
    world.enter_by("acme", &grant, &world.agent("anna")).await.is(201);
}

// GW-16
#[tokio::test]
async fn an_approval_does_not_outlast_what_ended_everything_else() {
    let admin_path = |what: &str| format!("/v1/tenants/acme/{what}");
    for what in ["stop", "consent", "row"] {
        let world = strict(Wish::default()).await;
        let admin = world.admin("acme");
        let rita = world.rower("acme", "rita");
        let row = admin_path("members/rows.cml0YQ");
        world.put("PUT", &row, json!({"roles": ["admin"]}), &world.crm()).await.is(200);
        let id = asked(&world, "anna").await;
        patch(&world, &id, json!({"approve": {}}), &rita).await.is(200);
        world.clock.advance(1000);
        match what {
            "stop" => {
                for stopped in [true, false] {
                    let body = json!({"stopped": stopped, "reason": "an audit"});
                    world.put("PUT", &admin_path("stop"), body, &admin).await.is(200);
                    world.clock.advance(1000);
                }
            }
            "consent" => {
                for level in ["block", "full"] {
                    world.consent("acme", level).await;
                    world.clock.advance(1000);
                }
            }
            _ => drop(
                world
                    .put("PUT", &row, json!({"roles": ["admin"], "suspended": true}), &world.crm())
                    .await
                    .is(200),
            ),
        }
        enter(&world, &id, "anna").await.refused(409, "request_over");
        // A new one, decided anew, opens.
        let id = asked(&world, "anna").await;
        approve(&world, &id, json!({})).await.is(200);
        enter(&world, &id, "anna").await.is(201);
    }
}

// GW-16
#[tokio::test]
async fn however_many_were_made_before_what_waits_is_found() {
    let world = strict(Wish::default()).await;
    let (anna, admin) = (world.agent("anna"), world.admin("acme"));
    let first = asked(&world, "ben").await;
    world.delete(&format!("{ACME}/{first}"), &world.agent("ben")).await.is(200);
    // Two thousand and more that are over, of years ago.
    let acme = super::support::tenant("acme");
    let key = |id: &str| Key::Request(acme.clone(), RequestId::new(id).unwrap());
    let over = world.store.load(&[key(&first)]).await.unwrap().remove(0).unwrap().unwrap();
    for step in 0..21 {
        let keys = (0..100).map(|n| key(&format!("req_{:032x}", step * 100 + n)));
        let read: Vec<_> = keys.clone().map(|key| (key, Version::NONE)).collect();
        let write = keys.map(|key| (key, over.clone()));
        let change = ChangeId::new(&format!("chg_old-{step}")).unwrap();
        let commit =
            Commit { since: Default::default(), change, at: over_at(), read, write: write.collect() };
        world.store.commit(commit).await.unwrap();
    }
    let id = asked(&world, "anna").await;
    assert_eq!(waiting(&world, &anna, "").await, std::slice::from_ref(&id));
    assert_eq!(waiting(&world, &admin, "").await, std::slice::from_ref(&id));
    // Of what is over, her own of late.
    world.delete(&format!("{ACME}/{id}"), &anna).await.is(200);
    assert_eq!(waiting(&world, &anna, "").await, Vec::<String>::new());
    assert_eq!(waiting(&world, &anna, "?state=all").await, [id]);
}

fn over_at() -> postern::model::Timestamp {
    postern::model::Timestamp::from_ms(1)
}

// GW-16
#[tokio::test]
async fn nobody_floods_a_tenant_with_requests_that_they_take_back() {
    let world = strict(Wish::default()).await;
    for _ in 0..64 {
        let id = asked(&world, "anna").await;
        world.delete(&format!("{ACME}/{id}"), &world.agent("anna")).await.is(200);
    }
    ask(&world, "anna").await.refused(409, "requests_waiting");
    asked(&world, "ben").await;
    world.clock.advance(24 * HOUR);
    asked(&world, "anna").await;
}
