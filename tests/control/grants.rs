//! Grants: dated, named, beyond consent.

use std::sync::atomic::Ordering::SeqCst;

use postern::policy::{Granting, granting::May};
use serde_json::{Value, json};

use super::support::{DAY, HOUR, Wish, World};

const GRANTS: &str = "/v1/tenants/acme/grants";

fn terms(more: Value) -> Value {
    let mut terms = json!({
        "environment": "production", "to": {"email": "Anna@Vendor.example"}, "role": "order_clerk",
        "scope": "everything",
    });
    terms.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    terms
}

#[tokio::test]
async fn p17_12_20_a_grant_to_an_address_reaches_beyond_the_level_also_under_block() {
    let world = World::new().await;
    world.consent("acme", "block").await;
    let answer = world.put("POST", GRANTS, terms(json!({"for": "10d"})), &world.admin("acme")).await.is(201);
    let grant = answer.body["grant"]["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.headers["location"], format!("/_postern/v1/tenants/acme/grants/{grant}"));
    assert_eq!(answer.body["grant"]["to"], json!({"email": "anna@vendor.example"}), "lower-cased");
    // Another person's address, an address of another kind of issuer, and one that nobody verified find nothing.
    world.enter_by("acme", &grant, &world.agent("ben")).await.refused(404, "not_found");
    let unverified = world.staff_with("anna", json!({"email": "anna@vendor.example"}));
    world.enter_by("acme", &grant, &unverified).await.refused(404, "not_found");
    let more = json!({"email": "anna@vendor.example", "email_verified": true});
    let member = world.member_with("acme", "anna", &["admin"], more);
    world.enter_by("acme", &grant, &member).await.refused(403, "not_staff");
    let anna = world.agent("anna");
    let session = world.enter_by("acme", &grant, &anna).await.is(201).body["session"].clone();
    assert_eq!(session["role"], "order_clerk");
    assert_eq!(session["basis"], json!({"grant": grant}));
    assert_eq!(session["rights"], json!(["orders:read", "orders:write"]));
    // The first subject that used the address has it; the address alone opens nothing any more.
    let impostor = world.staff_with("other", json!({"email": "anna@vendor.example", "email_verified": true}));
    world.enter_by("acme", &grant, &impostor).await.refused(404, "not_found");
    let body = world.get(&format!("{GRANTS}/{grant}"), &world.admin("acme")).await.is(200).body;
    assert_eq!(body["bound"], json!({"issuer": "staff", "sub": "anna"}));
}

#[tokio::test]
async fn grants_to_a_subject_and_to_support_as_a_whole() {
    let world = World::new().await;
    let to = json!({"subject": {"issuer": "staff", "sub": "ben"}});
    let named = world.granted("acme", to, "viewer").await;
    world.enter_by("acme", &named, &world.agent("ben")).await.is(201);
    world.enter_by("acme", &named, &world.agent("anna")).await.refused(404, "not_found");
    let all = world.granted("acme", json!("support"), "viewer").await;
    world.enter_by("acme", &all, &world.agent("anna")).await.is(201);
    world.enter_by("acme", &all, &world.staff_with("dev", json!({}))).await.refused(404, "not_found");
}

// GW-10
#[tokio::test]
async fn p17_09_12_the_administrator_role_can_be_granted_and_stays_below_the_ceiling() {
    let world = World::new().await;
    let grant = world.granted("acme", json!("support"), "admin").await;
    let anna = world.agent("anna");
    let session = world.enter_by("acme", &grant, &anna).await.is(201).body["session"].clone();
    let rights = session["rights"].as_array().unwrap();
    assert!(rights.iter().any(|right| right == "integrations:delete"));
    assert!(!rights.iter().any(|right| right == "users:manage" || right == "support:manage"));
    // Nor does the session make its agent an administrator of support access.
    world
        .put("PUT", "/v1/tenants/acme/consent", json!({"level": "full"}), &anna)
        .await
        .refused(403, "not_allowed");
    world.put("POST", GRANTS, terms(json!({"for": "1d"})), &anna).await.refused(403, "not_allowed");
}

#[tokio::test]
async fn p17_21_22_every_grant_ends_and_the_answer_states_the_instant() {
    let world = World::new().await;
    let admin = world.admin("acme");
    let answer = world.put("POST", GRANTS, terms(json!({})), &admin).await.refused(422, "expiry_missing");
    assert_eq!(answer.body["field"], "until");
    let until = async |more: Value| {
        let answer = world.put("POST", GRANTS, terms(more), &world.admin("acme")).await.is(201);
        answer.body["grant"]["until"].as_str().unwrap().to_owned()
    };
    // Berlin: +01:00 until 29 March, then +02:00. It is noon on the 27th.
    assert_eq!(until(json!({"date": "2026-03-31"})).await, "2026-03-30T22:00:00.000Z");
    assert_eq!(until(json!({"for": "5 calendar days"})).await, "2026-04-01T10:00:00.000Z");
    assert_eq!(until(json!({"for": "5d"})).await, "2026-04-01T11:00:00.000Z");
    assert_eq!(until(json!({"until": "2026-04-01T00:00:00+02:00"})).await, "2026-03-31T22:00:00.000Z");
    for (more, code) in [
        (json!({"date": "2026-03-27"}), "not_in_future"), // began at midnight
        (json!({"until": "2026-03-27T11:00:00Z"}), "not_in_future"), // this instant
        (json!({"until": "1970-01-01T00:00:00Z"}), "not_in_future"),
        (json!({"for": "0s"}), "not_in_future"),
        (json!({"for": "0 calendar days"}), "not_in_future"),
        (json!({"for": "366d"}), "too_far"),
        (json!({"until": "9999-12-31T23:59:59Z"}), "too_far"),
        (json!({"date": "9999-12-31"}), "too_far"),
        (json!({"for": "100000 calendar days"}), "too_far"),
    ] {
        world.put("POST", GRANTS, terms(more.clone()), &admin).await.refused(422, code);
    }
}

#[tokio::test]
async fn p17_21_an_administrator_moves_the_expiry_and_it_holds_for_the_running_session() {
    let world = World::new().await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    let grant = world.granted("acme", json!({"email": "anna@vendor.example"}), "viewer").await;
    let path = format!("{GRANTS}/{grant}");
    let session = world.enter_by("acme", &grant, &anna).await.is(201).body["session"].clone();
    assert_eq!(session["ends"]["clock"], "session", "the five days come before the ten");
    let tag = world.get(&path, &admin).await.is(200).etag();
    let moved = |tag: String, more: Value| {
        let (world, path, admin) = (&world, &path, &admin);
        async move {
            let headers = [("content-type", "application/json"), ("if-match", tag.as_str())];
            world.call("PATCH", path, &headers, &more.to_string(), admin).await
        }
    };
    let answer = moved(tag.clone(), json!({"for": "2h"})).await.is(200);
    assert_eq!(answer.body["outcome"]["events"][0]["event"], "grant_moved");
    let tag_now = answer.etag();
    moved(tag, json!({"for": "3h"})).await.refused(412, "changed");
    moved(tag_now.clone(), json!({"date": "2020-01-01"})).await.refused(422, "not_in_future");
    moved(tag_now.clone(), json!({})).await.refused(422, "expiry_missing");
    moved(tag_now, json!({"for": "2h", "rolle": "admin"})).await.refused(400, "body_malformed");
    let id = session["id"].as_str().unwrap();
    let body = world.get(&format!("/v1/tenants/acme/sessions/{id}"), &anna).await.is(200).body;
    assert_eq!(body["ends"], json!({"at": "2026-03-27T13:00:00.000Z", "clock": "grant"}));
    world.clock.advance(2 * HOUR);
    let body = world.get(&format!("/v1/tenants/acme/sessions/{id}"), &anna).await.is(200).body;
    assert_eq!(body["over"]["code"], "grant_expired");
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    // What has ended is not brought back.
    world.put("PATCH", &path, json!({"for": "5d"}), &admin).await.refused(409, "ended");
    world.enter_by("acme", &grant, &anna).await.refused(403, "grant_gives_nothing");
}

#[tokio::test]
async fn p17_12_a_grant_can_be_withdrawn_at_any_time_and_its_session_falls_with_it() {
    let world = World::new().await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    let grant = world.granted("acme", json!("support"), "viewer").await;
    let path = format!("{GRANTS}/{grant}");
    world.enter_by("acme", &grant, &anna).await.is(201);
    let first = world.delete(&path, &admin).await.is(200);
    assert_eq!(first.body["had_ended"], false);
    assert_eq!(first.body["grant"]["over"]["cause"], "withdrawn");
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    for _ in 0..2 {
        let again = world.delete(&path, &admin).await.is(200);
        assert_eq!(
            (&again.body["had_ended"], &again.body["outcome"]),
            (&json!(true), &json!({"changed": false}))
        );
        assert_eq!(again.body["grant"], first.body["grant"]);
    }
    world.delete(&format!("{GRANTS}/grt_nothing"), &admin).await.refused(404, "not_found");
    let headers = [("if-match", "\"0.1\"")];
    world.call("DELETE", &path, &headers, "", &admin).await.refused(400, "precondition_unsupported");
}

#[tokio::test]
async fn grants_to_the_unknown_are_refused() {
    let world = World::new().await;
    let admin = world.admin("acme");
    for (more, code) in [
        (json!({"role": "nobody"}), "role_unknown"),
        (json!({"environment": "moon"}), "environment_unknown"),
        (json!({"scope": {"resources": []}}), "scope_empty"),
    ] {
        let mut body = terms(more);
        body["for"] = json!("1d");
        world.put("POST", GRANTS, body, &admin).await.refused(422, code);
    }
    let nowhere = "/v1/tenants/nowhere/grants";
    let answer = world.put("POST", nowhere, terms(json!({"for": "1d"})), &world.admin("nowhere")).await;
    answer.refused(404, "not_found");
    let scope = json!({"for": "1d", "scope": {"resources": [{"type": "integration", "id": "shop-7"}]}});
    let made = world.put("POST", GRANTS, terms(scope.clone()), &admin).await.is(201);
    assert_eq!(made.body["grant"]["scope"], scope["scope"]);
}

#[tokio::test]
async fn lists_go_on_by_cursor_and_lose_nothing() {
    let world = World::new().await;
    let admin = world.admin("acme");
    let mut made = Vec::new();
    for n in 0..7 {
        let to = if n % 2 == 0 { json!("support") } else { json!({"email": "ben@vendor.example"}) };
        made.push(world.granted("acme", to, "viewer").await);
        world.clock.advance(1);
    }
    world.delete(&format!("{GRANTS}/{}", made[3]), &admin).await.is(200);
    world.granted("globex", json!("support"), "viewer").await;
    let all = async |state: &str, limit: usize, who: &_| {
        let (mut ids, mut next) = (Vec::new(), String::new());
        loop {
            let answer = world.get(&format!("{GRANTS}?limit={limit}&state={state}{next}"), who).await.is(200);
            let items = answer.body["items"].as_array().unwrap().clone();
            assert!(items.len() <= limit);
            ids.extend(items.into_iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            match answer.body["next"].as_str() {
                Some(cursor) => next = format!("&after={cursor}"),
                None => return ids,
            }
        }
    };
    let standing: Vec<String> = made.iter().filter(|id| **id != made[3]).cloned().collect();
    for limit in [1, 2, 3, 200] {
        assert_eq!(all("all", limit, &admin).await, made);
        assert_eq!(all("standing", limit, &admin).await, standing);
    }
    // An agent sees those that are for them, and nothing of the others, not even by where a page ends.
    let anna = world.agent("anna");
    let own: Vec<String> = made.iter().step_by(2).cloned().collect();
    for limit in [1, 4, 200] {
        assert_eq!(all("standing", limit, &anna).await, own);
    }
    let page = world.get(&format!("{GRANTS}?limit=4"), &anna).await.is(200);
    assert_eq!(page.body["next"], json!(null));
    world.get(&format!("{GRANTS}/{}", made[1]), &anna).await.refused(404, "not_found");
    world.get(&format!("{GRANTS}/{}", made[2]), &anna).await.is(200);
    world.clock.advance(11 * DAY);
    assert_eq!(all("standing", 3, &admin).await, Vec::<String>::new());
    assert_eq!(all("all", 3, &admin).await, made);
}

#[tokio::test]
async fn lists_longer_than_one_look_into_the_store_are_whole() {
    let world = World::new().await;
    let admin = world.admin("acme");
    let (mut grants, mut sessions) = (Vec::new(), Vec::new());
    for n in 0..230 {
        let to = if n % 100 == 99 { json!("support") } else { json!({"email": "ben@vendor.example"}) };
        grants.push(world.granted("acme", to, "viewer").await);
        if n < 120 {
            sessions.push(world.started("acme", &world.agent(&format!("agent-{n:03}"))).await);
        }
        world.clock.advance(1);
    }
    let all = async |list: &str, who: &_| {
        let (mut ids, mut next, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let answer = world.get(&format!("/v1/tenants/acme/{list}?limit=70{next}"), who).await.is(200);
            let items = answer.body["items"].as_array().unwrap().clone();
            ids.extend(items.into_iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            pages += 1;
            match answer.body["next"].as_str() {
                Some(cursor) => next = format!("&after={cursor}"),
                None => return (ids, pages),
            }
        }
    };
    assert_eq!(all("grants", &admin).await, (grants.clone(), 4));
    assert_eq!(all("sessions", &admin).await, (sessions, 2));
    let own = vec![grants[99].clone(), grants[199].clone()];
    assert_eq!(all("grants", &world.agent("anna")).await, (own, 1), "past a hundred of others'");
    // Sessions that ended leave nothing to look through but their agents' empty indexes.
    world.clock.advance(6 * DAY);
    assert_eq!(all("sessions", &admin).await, (Vec::new(), 1));
}

#[tokio::test]
async fn an_agents_search_is_bounded_and_its_end_says_nothing_of_others_grants() {
    let world = World::new().await;
    let anna = world.agent("anna");
    let none = world.get(GRANTS, &anna).await.is(200).raw;
    for _ in 0..42 {
        let others = (0..50).map(|_| world.granted("acme", json!({"email": "ben@vendor.example"}), "viewer"));
        let mut others: Vec<_> = others.map(Box::pin).collect();
        // All at once, for they share their flushes.
        std::future::poll_fn(|cx| {
            others.retain_mut(|grant| grant.as_mut().poll(cx).is_pending());
            if others.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
    world.clock.advance(1);
    world.granted("acme", json!({"email": "anna@vendor.example"}), "viewer").await;
    assert_eq!(
        world.get(GRANTS, &anna).await.is(200).raw,
        none,
        "beyond 2,000 of others' nothing is looked for"
    );
}

#[tokio::test]
async fn the_setting_switched_off_while_the_store_takes_nothing_is_off_at_once_and_stays_so() {
    const PROFILE: &str = "/v1/tenants/acme/support-profile";
    let granting =
        Granting { by_role: [("viewer".parse().unwrap(), May::WhenAllowed)].into(), ..Granting::default() };
    let world = World::with(Wish { granting, ..Wish::default() }).await;
    let admin = world.admin("acme");
    let on = json!({"others_may_grant": true});
    world.store.no_commits.store(true, SeqCst);
    // What gives waits for the store, and changes nothing.
    world.put("PUT", PROFILE, on.clone(), &admin).await.refused(503, "state_unavailable");
    world.store.no_commits.store(false, SeqCst);
    assert_eq!(world.get(PROFILE, &admin).await.is(200).body["others_may_grant"], false);
    let tag = world.put("PUT", PROFILE, on, &admin).await.is(200).etag();
    world.store.no_commits.store(true, SeqCst);
    let body = json!({"others_may_grant": false}).to_string();
    let headers = [("content-type", "application/json"), ("if-match", tag.as_str())];
    let off = world.call("PUT", PROFILE, &headers, &body, &admin).await.is(202);
    assert_eq!(off.body["outcome"]["waiting"], json!(["store"]));
    assert_eq!(world.get(PROFILE, &admin).await.is(200).body["others_may_grant"], false);
    world.store.no_commits.store(false, SeqCst);
    assert_eq!(world.engine.mend_once().await, 0);
    let world = world.restarted().await;
    assert_eq!(world.get(PROFILE, &world.admin("acme")).await.is(200).body["others_may_grant"], false);
}
