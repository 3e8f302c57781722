//! Sessions: who enters, who is inside, how it ends.

use serde_json::json;

use super::support::{DAY, HOUR, World};

const SESSIONS: &str = "/v1/tenants/acme/sessions";

#[tokio::test]
async fn p17_03_16_a_session_gets_the_role_of_the_level_in_force_and_is_recorded() {
    let world = World::new().await;
    let anna = world.agent("anna");
    world.consent("acme", "limited_edit").await;
    let body = json!({
        "environment": "production", "basis": "consent", "reason": "order 7 is stuck", "ticket": "T-1", "for": "8h",
    });
    let answer = world.put("POST", SESSIONS, body, &anna).await.is(201);
    let session = &answer.body["session"];
    let id = session["id"].as_str().unwrap();
    assert_eq!(answer.headers["location"], format!("/_postern{SESSIONS}/{id}"));
    assert_eq!(session["role"], "support_editor");
    assert_eq!(session["basis"], json!({"consent": "limited_edit"}));
    assert_eq!(session["person"], json!({"issuer": "staff", "sub": "anna"}));
    assert_eq!((&session["ticket"], &session["reason"]), (&json!("T-1"), &json!("order 7 is stuck")));
    assert_eq!(session["began"], "2026-03-27T11:00:00.000Z");
    assert_eq!(session["ends"], json!({"at": "2026-03-27T19:00:00.000Z", "clock": "session"}));
    let record = world.record(|record| record["kind"] == "change.outcome" && record["session"] == id).await;
    assert_eq!(record["events"][0]["event"], "session_started");
    assert_eq!(record["events"][0]["role"], "support_editor");
    world.clock.advance(8 * HOUR);
    world.engine.sweep_due().await;
    let record = world.record(|r| r["session"] == id && r["events"][0]["event"] == "session_ended").await;
    assert_eq!(record["events"][0]["cause"], "expired");
    assert_eq!(record["events"][0]["at"], "2026-03-27T19:00:00.000Z");
}

#[tokio::test]
async fn p17_04_23_access_ends_by_itself_after_five_calendar_days_across_the_change_of_clocks() {
    let world = World::new().await;
    let anna = world.agent("anna");
    let id = world.started("acme", &anna).await;
    assert_eq!(world.inside("acme").await, [id.as_str()]);
    let body = world.get(&format!("{SESSIONS}/{id}"), &anna).await.is(200).body;
    assert_eq!(body["ends"]["at"], "2026-04-01T10:00:00.000Z", "noon in Berlin, in summer time");
    world.clock.set("2026-04-01T11:59:59.999+02:00");
    assert_eq!(world.inside("acme").await, [id.as_str()]);
    world.clock.advance(1);
    assert_eq!(world.inside("acme").await, Vec::<String>::new(), "also before anybody wrote it down");
    let body = world.get(&format!("{SESSIONS}/{id}"), &anna).await.is(200).body;
    assert_eq!((&body["active"], &body["over"]["code"]), (&json!(false), &json!("session_expired")));
    // It cannot be prolonged; a new one starts under the consent of that moment.
    world
        .put("PATCH", &format!("{SESSIONS}/{id}"), json!({"for": "5d"}), &anna)
        .await
        .refused(405, "method_not_allowed");
    world.consent("acme", "block").await;
    world.start("acme", &anna).await.refused(403, "consent_closes");
}

#[tokio::test]
async fn p17_06_29_32_under_block_nobody_enters_by_consent_and_is_told_what_would_do() {
    let world = World::new().await;
    world.consent("acme", "block").await;
    let answer = world.start("acme", &world.agent("anna")).await.refused(403, "consent_closes");
    assert_eq!(answer.body["level_that_would_do"], "read_only");
    assert!(answer.body["detail"].as_str().unwrap().contains("grant"));
}

#[tokio::test]
async fn p17_14_27_removal_takes_effect_at_once_and_bars_nobody() {
    let world = World::new().await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    let id = world.started("acme", &anna).await;
    let path = format!("{SESSIONS}/{id}");
    let first = world.delete(&path, &admin).await.is(200);
    assert_eq!(first.body["had_ended"], false);
    assert_eq!(first.body["session"]["over"]["cause"], "removed");
    assert_eq!(first.body["session"]["over"]["by"]["sub"], "admin-of-acme");
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    for who in [&admin, &anna] {
        let again = world.delete(&path, who).await.is(200);
        assert_eq!(
            (&again.body["had_ended"], &again.body["outcome"]),
            (&json!(true), &json!({"changed": false}))
        );
        assert_eq!(again.body["session"]["over"], first.body["session"]["over"]);
    }
    let next = world.started("acme", &anna).await;
    assert_ne!(next, id);
    let own = world.delete(&format!("{SESSIONS}/{next}"), &anna).await.is(200);
    assert_eq!(own.body["session"]["over"]["cause"], "ended");
}

#[tokio::test]
async fn p17_18_a_new_session_by_consent_ends_the_older_one_there() {
    let world = World::new().await;
    let anna = world.agent("anna");
    let older = world.started("acme", &anna).await;
    let other = world.started("acme", &world.agent("ben")).await;
    let elsewhere = json!({"environment": "sandbox", "basis": "consent", "reason": "trying it out"});
    let elsewhere = world.put("POST", SESSIONS, elsewhere, &anna).await.is(201).body["session"]["id"].clone();
    let newer = world.started("acme", &anna).await;
    let mut inside = world.inside("acme").await;
    inside.sort();
    let mut wanted = vec![other, elsewhere.as_str().unwrap().to_owned(), newer];
    wanted.sort();
    assert_eq!(inside, wanted);
    let body = world.get(&format!("{SESSIONS}/{older}"), &anna).await.is(200).body;
    assert_eq!(body["over"]["cause"], "replaced");
}

#[tokio::test]
async fn p17_26_the_list_holds_those_inside_and_those_with_a_standing_grant() {
    let world = World::new().await;
    let admin = world.admin("acme");
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(world.started("acme", &world.agent(&format!("agent-{n}"))).await);
    }
    // Ids rise from one millisecond to the next.
    world.clock.advance(1);
    let grant = world.granted("acme", json!({"email": "agent-0@vendor.example"}), "viewer").await;
    let by_grant = world.enter_by("acme", &grant, &world.agent("agent-0")).await.is(201);
    ids.insert(1, by_grant.body["session"]["id"].as_str().unwrap().to_owned());
    world.started("globex", &world.agent("agent-0")).await;
    let body = world.get(SESSIONS, &admin).await.is(200).body;
    for item in body["items"].as_array().unwrap() {
        for member in ["person", "role", "basis", "began", "ends", "environment", "reason"] {
            assert!(!item[member].is_null(), "{member}: {item}");
        }
    }
    assert_eq!(body["standing_grants"]["items"][0]["id"], grant.as_str());
    for limit in [1, 2, 3, 6, 200] {
        let (mut seen, mut next) = (Vec::new(), String::new());
        loop {
            let answer = world.get(&format!("{SESSIONS}?limit={limit}{next}"), &admin).await.is(200);
            let items = answer.body["items"].as_array().unwrap().clone();
            assert!(items.len() <= limit);
            seen.extend(items.into_iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            match answer.body["next"].as_str() {
                Some(cursor) => next = format!("&after={cursor}"),
                None => break,
            }
        }
        assert_eq!(seen, ids, "by {limit}");
    }
}

#[tokio::test]
async fn agents_see_and_end_their_own_and_nobody_elses() {
    let world = World::new().await;
    let (anna, ben) = (world.agent("anna"), world.agent("ben"));
    let own = world.started("acme", &anna).await;
    let other = world.started("acme", &ben).await;
    for path in [SESSIONS, "/v1/sessions?tenant=acme"] {
        let body = world.get(path, &anna).await.is(200).body;
        let ids: Vec<_> = body["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
        assert_eq!(ids, [json!(own)]);
    }
    world.get(&format!("{SESSIONS}/{other}"), &anna).await.refused(404, "not_found");
    world.delete(&format!("{SESSIONS}/{other}"), &anna).await.refused(404, "not_found");
    assert_eq!(world.inside("acme").await.len(), 2);
    world.get("/v1/sessions", &anna).await.refused(400, "query_malformed");
    world.get("/v1/sessions?tenant=acme", &world.admin("acme")).await.refused(403, "not_staff");
}

#[tokio::test]
async fn own_rights_name_the_session_its_deadline_and_the_clock() {
    let world = World::new().await;
    let anna = world.agent("anna");
    let path = "/v1/tenants/acme/rights?environment=production";
    assert_eq!(world.get(path, &anna).await.is(200).body["sessions"], json!([]));
    let id = world.started("acme", &anna).await;
    let body = world.get(path, &anna).await.is(200).body;
    assert_eq!(body["sessions"][0]["id"], id.as_str());
    assert_eq!(
        body["sessions"][0]["rights"],
        json!(["config:read", "integrations:read", "mappings:read", "orders:read"])
    );
    assert_eq!(body["sessions"][0]["ends"]["clock"], "session");
    let sandbox = world.get("/v1/tenants/acme/rights?environment=sandbox", &anna).await.is(200);
    assert_eq!(sandbox.body["sessions"], json!([]), "rights never cross environments");
    let viewer = world.member("acme", "v", &["viewer", "no_such_role"]);
    let body = world.get(path, &viewer).await.is(200).body;
    assert_eq!((&body["kind"], &body["rights"]), (&json!("member"), &json!(["orders:read"])));
    world.get("/v1/tenants/acme/rights?environment=moon", &viewer).await.refused(422, "environment_unknown");
    world.get("/v1/tenants/acme/rights", &viewer).await.refused(400, "query_malformed");
    world.clock.advance(5 * DAY);
    assert_eq!(world.get(path, &anna).await.is(200).body["sessions"], json!([]));
}

#[tokio::test]
async fn me_says_whom_the_gateway_takes_the_caller_for() {
    let world = World::new().await;
    let body = world.get("/v1/me", &world.agent("anna")).await.is(200).body;
    assert_eq!(
        body,
        json!({
            "kind": "staff", "issuer": "staff", "sub": "anna", "email": "anna@vendor.example", "support": true,
            "acting": false, "token_expires": "2026-03-27T12:00:05.000Z",
        })
    );
    let body = world.get("/v1/me", &world.member("acme", "v", &["viewer"])).await.is(200).body;
    assert_eq!((&body["tenant"], &body["roles"]), (&json!("acme"), &json!(["viewer"])));
}

#[tokio::test]
async fn wishes_that_cannot_be_are_refused_each_with_its_code() {
    let world = World::new().await;
    let anna = world.agent("anna");
    for (member, value, status, code) in [
        ("reason", json!(""), 422, "reason_unfit"),
        ("reason", json!("   "), 422, "reason_unfit"),
        ("reason", json!("a\nb"), 422, "reason_unfit"),
        ("reason", json!("x".repeat(501)), 422, "reason_unfit"),
        ("ticket", json!(""), 422, "ticket_unfit"),
        ("ticket", json!("a b"), 422, "ticket_unfit"),
        ("ticket", json!("x".repeat(101)), 422, "ticket_unfit"),
        ("environment", json!("moon"), 422, "environment_unknown"),
        ("for", json!("6d"), 422, "lasts_too_long"),
        ("for", json!("6 calendar days"), 422, "lasts_too_long"),
        ("for", json!("0s"), 422, "not_in_future"),
        ("basis", json!({"grant": "grt_nothing"}), 404, "not_found"),
    ] {
        let mut body = json!({"environment": "production", "basis": "consent", "reason": "because"});
        body[member] = value;
        world.put("POST", SESSIONS, body, &anna).await.refused(status, code);
    }
    let sandbox = world.granted("acme", json!("support"), "viewer").await;
    let body = json!({"environment": "sandbox", "basis": {"grant": sandbox}, "reason": "because"});
    world.put("POST", SESSIONS, body, &anna).await.refused(403, "grant_gives_nothing");
    for _ in 0..32 {
        world.enter_by("acme", &sandbox, &anna).await.is(201);
    }
    world.enter_by("acme", &sandbox, &anna).await.refused(409, "too_many_sessions");
    world.start("acme", &world.member("acme", "v", &["viewer"])).await.refused(403, "not_staff");
}
