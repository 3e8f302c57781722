//! What programs push of tenants, and that nothing else is open to them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use postern::engine::knock::Who;
use serde_json::{Value, json};

use super::support::{Answer, World};

async fn push(world: &World, tenant: &str, body: Value, who: &Who) -> Answer {
    world.put("PUT", &format!("/v1/tenants/{tenant}"), body, who).await
}

fn body(environments: &[&str]) -> Value {
    json!({"zone": "Europe/Berlin", "environments": environments, "plan": "gold"})
}

fn child(environments: &[&str]) -> Value {
    let mut body = body(environments);
    body["parent"] = json!("acme");
    body
}

// GW-09
#[tokio::test]
async fn a_service_pushes_a_tenant_and_nothing_less_than_all_of_it() {
    let world = World::new().await;
    let crm = world.crm();
    let answer = push(&world, "initech", body(&["production"]), &crm).await.is(201);
    assert_eq!(answer.headers["location"], "/_postern/v1/tenants/initech");
    assert_eq!(answer.body["outcome"]["events"], json!([{"event": "tenant_registered"}]));
    let seen = world.get("/v1/tenants/initech", &crm).await.is(200);
    assert_eq!(
        seen.body,
        json!({"tenant": "initech", "zone": "Europe/Berlin", "environments": ["production"], "plan": "gold", "from": "service"})
    );
    assert_eq!(seen.etag(), answer.etag());
    // The same again changes nothing; something else does, and says what.
    let again = push(&world, "initech", body(&["production"]), &crm).await.is(200).body;
    assert_eq!(again["outcome"], json!({"changed": false}));
    let more = push(&world, "initech", body(&["production", "sandbox"]), &crm).await.is(200).body;
    assert_eq!(more["outcome"]["events"][0]["event"], "tenant_changed");
    assert_eq!(more["tenant"]["environments"], json!(["production", "sandbox"]));
    // A consent of its own it has from the start, like any other.
    let consent = world.get("/v1/tenants/initech/consent", &world.admin("initech")).await.is(200).body;
    assert_eq!(consent["choice"], "read_only");
    for wrong in [
        json!({"zone": "UTC"}),
        json!({"zone": "", "environments": ["production"]}),
        json!({"zone": "Moon/Base", "environments": ["production"]}),
        json!({"zone": "UTC", "environments": "production"}),
        json!({"zone": "UTC", "environments": ["production", "production"]}),
        json!({"zone": "UTC", "environments": ["production"], "plan": "a b"}),
        json!({"zone": "UTC", "environments": ["production"], "consent": "full"}),
    ] {
        push(&world, "initech", wrong, &crm).await.refused(400, "body_malformed");
    }
    push(&world, "initech", body(&["moon"]), &crm).await.refused(422, "environment_unknown");
    push(&world, "initech", body(&[]), &crm).await.refused(422, "environments_missing");
}

#[tokio::test]
async fn two_services_do_not_overwrite_each_other_unseen() {
    let world = World::new().await;
    let crm = world.crm();
    let first = push(&world, "initech", body(&["production"]), &crm).await.is(201).etag();
    let path = "/v1/tenants/initech";
    let send = async |tag: &str, text: &str| {
        let headers = [("content-type", "application/json"), ("if-match", tag)];
        world.call("PUT", path, &headers, text, &crm).await
    };
    let text = body(&["production", "sandbox"]).to_string();
    send(&first, &text).await.is(200);
    send(&first, &body(&["sandbox"]).to_string()).await.refused(412, "changed");
    world.call("DELETE", path, &[("if-match", &first)], "", &crm).await.refused(412, "changed");
    assert_eq!(world.get(path, &crm).await.body["environments"], json!(["production", "sandbox"]));
}

#[tokio::test]
async fn a_parent_comes_first_and_stays() {
    let world = World::new().await;
    let crm = world.crm();
    let with = |parent: &str| json!({"parent": parent, "zone": "UTC", "environments": ["production"]});
    push(&world, "initech", with("umbrella"), &crm).await.refused(422, "parent_unknown");
    push(&world, "initech", with("initech"), &crm).await.refused(422, "parent_itself");
    push(&world, "initech", with("acme"), &crm).await.is(201);
    push(&world, "initech", with("globex"), &crm).await.refused(409, "parent_fixed");
    push(&world, "initech", body(&["production"]), &crm).await.refused(409, "parent_fixed");
    assert_eq!(world.get("/v1/tenants/initech", &crm).await.body["parent"], "acme");
}

#[tokio::test]
async fn what_the_configuration_names_is_not_for_a_service_and_nothing_is_overwritten_silently() {
    let world = World::new().await;
    let crm = world.crm();
    push(&world, "globex", body(&["production"]), &crm).await.refused(409, "tenant_configured");
    world.delete("/v1/tenants/globex", &crm).await.refused(409, "tenant_configured");
    let seen = world.get("/v1/tenants/globex", &crm).await.is(200).body;
    assert_eq!((&seen["from"], &seen["zone"]), (&json!("configuration"), &json!("UTC")));
}

// GW-09
#[tokio::test]
async fn nothing_but_what_it_may_push_is_open_to_a_service() {
    let world = World::new().await;
    let session = world.started("acme", &world.agent("anna")).await;
    for who in [world.crm(), world.service_with("crm", json!({"roles": ["admin"], "tenant": "acme"}))] {
        for (method, path) in [
            ("GET", "/v1/tenants/acme/consent"),
            ("PUT", "/v1/tenants/acme/consent"),
            ("GET", "/v1/tenants/acme/grants"),
            ("POST", "/v1/tenants/acme/grants"),
            ("GET", "/v1/tenants/acme/sessions"),
            ("GET", "/v1/tenants/acme/audit"),
            ("GET", "/v1/tenants/acme/rights?environment=production"),
        ] {
            world.call(method, path, &[], "", &who).await.refused(403, "not_allowed");
        }
        for path in ["/v1/tenants/acme/sessions", "/v1/sessions?tenant=acme"] {
            let method = if path.contains('?') { "GET" } else { "POST" };
            world.call(method, path, &[], "", &who).await.refused(403, "not_staff");
        }
        let path = format!("/v1/tenants/acme/sessions/{session}");
        world.delete(&path, &who).await.refused(403, "not_allowed");
    }
    // Nobody else pushes: not the tenant, not staff, not a program that the configuration does not name, nobody who acts.
    for who in [
        world.admin("acme"),
        world.agent("anna"),
        world.service_with("somebody", json!({})),
        world.service_with("robin", json!({"roles": ["roster"]})),
    ] {
        push(&world, "acme", body(&["production"]), &who).await.refused(403, "not_allowed");
        world.delete("/v1/tenants/acme", &who).await.refused(403, "not_allowed");
        world.get("/v1/tenants", &who).await.refused(403, "not_allowed");
    }
    let acting = world.service_with("crm", json!({"act": {"sub": "x"}}));
    push(&world, "acme", body(&["production"]), &acting).await.refused(403, "acting");
}

#[tokio::test]
async fn a_service_for_some_tenants_cannot_tell_whether_there_are_others() {
    let world = World::new().await;
    let confined = world.service_with("crm", json!({"tenant": "acme-west"}));
    for who in [world.service_with("narrow", json!({})), confined] {
        for tenant in ["acme", "nowhere"] {
            let path = format!("/v1/tenants/{tenant}");
            world.get(&path, &who).await.refused(403, "not_allowed");
            push(&world, tenant, body(&["production"]), &who).await.refused(403, "not_allowed");
        }
        // It may change its own, whose parent is none of its business.
        push(&world, "acme-west", child(&["production", "sandbox"]), &who).await.is(200);
        let all = world.get("/v1/tenants", &who).await.is(200).body;
        assert_eq!(all["items"].as_array().unwrap().len(), 1, "{all}");
        assert_eq!(all["items"][0]["tenant"], "acme-west");
    }
}

#[tokio::test]
async fn services_list_tenants_page_by_page() {
    let world = World::new().await;
    let crm = world.crm();
    for number in 0..7 {
        push(&world, &format!("t{number}"), body(&["production"]), &crm).await.is(201);
    }
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/v1/tenants?limit=3{after}"), &crm).await.is(200).body;
        let items = page["items"].as_array().unwrap();
        names.extend(items.iter().map(|item| item["tenant"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(names, ["acme", "acme-west", "globex", "t0", "t1", "t2", "t3", "t4", "t5", "t6"]);
}

#[tokio::test]
async fn a_tenant_is_seen_by_its_people_by_staff_inside_and_by_nobody_else() {
    let world = World::new().await;
    let anna = world.agent("anna");
    let path = "/v1/tenants/acme-west";
    world.get(path, &anna).await.refused(404, "not_found");
    world.get("/v1/tenants/nowhere", &anna).await.refused(404, "not_found");
    world.started("acme-west", &anna).await;
    let inside = world.get(path, &anna).await.is(200).body;
    assert_eq!((inside["zone"].as_str(), inside.get("parent")), (Some("Europe/Berlin"), None));
    let own = world.get(path, &world.member("acme-west", "a", &["auditor"])).await.is(200).body;
    assert_eq!(own["parent"], "acme");
    for outsider in [world.admin("acme"), world.member("acme-west", "v", &["viewer"])] {
        world.get(path, &outsider).await.refused(403, "not_allowed");
    }
}

#[tokio::test]
async fn an_environment_that_is_taken_away_ends_what_was_there_for_good() {
    let world = World::new().await;
    let (crm, anna) = (world.crm(), world.agent("anna"));
    let grant = world.granted("acme", json!("support"), "viewer").await;
    let session = world.started("acme", &anna).await;
    let path = format!("/v1/tenants/acme/sessions/{session}");
    assert_eq!(world.get(&path, &anna).await.body["active"], true);
    let answer = push(&world, "acme", body(&["sandbox"]), &crm).await.is(200);
    assert_eq!(answer.body["outcome"]["durable"], true);
    let over = |answer: Answer| answer.is(200).body["over"]["code"].clone();
    assert_eq!(over(world.get(&path, &anna).await), "environment_removed");
    world.start("acme", &anna).await.refused(422, "environment_unknown");
    // It comes back; what was there does not.
    world.clock.advance(1000);
    push(&world, "acme", body(&["production", "sandbox"]), &crm).await.is(200);
    assert_eq!(over(world.get(&path, &anna).await), "environment_removed");
    world.enter_by("acme", &grant, &anna).await.refused(403, "grant_gives_nothing");
    world.clock.advance(1);
    world.started("acme", &anna).await;
}

#[tokio::test]
async fn taking_an_environment_away_does_not_wait_for_the_store() {
    let world = World::new().await;
    let anna = world.agent("anna");
    let session = world.started("acme", &anna).await;
    world.store.no_commits.store(true, std::sync::atomic::Ordering::SeqCst);
    let narrower = json!({"zone": "Europe/Berlin", "environments": ["sandbox"]});
    let answer = push(&world, "acme", narrower, &world.crm()).await.is(202);
    assert_eq!(answer.body["outcome"]["waiting"], json!(["store"]));
    let seen = world.get(&format!("/v1/tenants/acme/sessions/{session}"), &anna).await.is(200).body;
    assert_eq!(seen["over"]["code"], "environment_removed");
    // What gives is refused meanwhile.
    push(&world, "initech", body(&["production"]), &world.crm()).await.is(503);
}

// P17-25
#[tokio::test]
async fn a_removed_tenant_admits_nobody_and_its_child_stands_alone() {
    let world = World::new().await;
    let (crm, anna) = (world.crm(), world.agent("anna"));
    world.consent("acme", "full").await;
    let west = world.admin("acme-west");
    let inherit = json!({"level": "inherit"});
    world.put("PUT", "/v1/tenants/acme-west/consent", inherit.clone(), &west).await.is(200);
    let session = world.started("acme", &anna).await;
    world.started("acme-west", &anna).await;
    let in_force = async || {
        let consent = world.get("/v1/tenants/acme-west/consent", &west).await.is(200).body;
        (consent["in_force"]["level"].clone(), consent["can_inherit"].clone())
    };
    assert_eq!(in_force().await, (json!("full"), json!(true)));
    let gone = world.delete("/v1/tenants/acme", &crm).await.is(200).body;
    assert_eq!(gone["outcome"]["events"], json!([{"event": "tenant_removed", "level": "full"}]));
    assert!(gone["tenant"]["removed"].is_string());
    assert_eq!(in_force().await, (json!("read_only"), json!(false)));
    let seen = world.get(&format!("/v1/tenants/acme/sessions/{session}"), &anna).await.is(200).body;
    assert_eq!(seen["over"]["code"], "tenant_removed");
    // To staff it is as one that blocks, or never was.
    world.start("acme", &anna).await.refused(403, "consent_closes");
    let admin = world.admin("acme");
    world
        .put("PUT", "/v1/tenants/acme/consent", json!({"level": "full"}), &admin)
        .await
        .refused(409, "tenant_removed");
    world
        .put("PUT", "/v1/tenants/acme-west/consent", inherit, &west)
        .await
        .refused(422, "nothing_to_inherit");
    // The child chooses for itself; the same again is as wanted already.
    world.consent("acme-west", "limited_edit").await;
    assert_eq!(world.delete("/v1/tenants/acme", &crm).await.is(200).body["had_ended"], true);
    push(&world, "acme-new", child(&["production"]), &crm).await.refused(422, "parent_unknown");
    // It is pushed again: nothing of before comes with it.
    world.clock.advance(1000);
    push(&world, "acme", body(&["production", "sandbox"]), &crm).await.is(201);
    let consent = world.get("/v1/tenants/acme/consent", &admin).await.is(200).body;
    assert_eq!(consent["choice"], "read_only");
    let seen = world.get(&format!("/v1/tenants/acme/sessions/{session}"), &anna).await.is(200).body;
    assert_eq!(seen["active"], false);
    world.clock.advance(1);
    world.started("acme", &anna).await;
}

// GW-09
#[tokio::test]
async fn a_tenant_that_staff_name_does_not_become_known_by_it() {
    let world = World::new().await;
    world.start("umbrella", &world.agent("anna")).await.refused(403, "consent_closes");
    world.get("/v1/tenants/umbrella", &world.crm()).await.refused(404, "not_found");
}

#[tokio::test]
async fn no_cursor_tells_a_confined_service_of_other_tenants() {
    let world = World::new().await;
    let (crm, pair) = (world.crm(), world.service_with("pair", json!({})));
    for tenant in ["beta", "yankee", "zulu", "zulu-two"] {
        push(&world, tenant, body(&["production"]), &crm).await.is(201);
    }
    let page =
        async |query: &str| world.get(&format!("/v1/tenants?limit=1{query}"), &pair).await.is(200).body;
    let place = |next: &Value| {
        let text = next.as_str().unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
        (String::from_utf8(bytes).unwrap(), format!("&after={text}"))
    };
    let first = page("").await;
    assert_eq!(first["items"][0]["tenant"], "acme");
    let (told, after) = place(&first["next"]);
    assert_eq!(told, "\"acme\"", "a place that was shown, and no neighbour of `zulu`");
    let second = page(&after).await;
    assert_eq!((&second["items"][0]["tenant"], &second["next"]), (&json!("zulu"), &Value::Null));
    // Whichever place they name, they see what is theirs behind it, and nothing else.
    let between = URL_SAFE_NO_PAD.encode("\"m\"");
    let seen = page(&format!("&after={between}")).await;
    assert_eq!((seen["items"].as_array().unwrap().len(), &seen["next"]), (1, &Value::Null));
    // By a token for one tenant, that one.
    let one = world.service_with("crm", json!({"tenant": "beta"}));
    let seen = world.get("/v1/tenants?limit=1", &one).await.is(200).body;
    assert_eq!((&seen["items"][0]["tenant"], &seen["next"]), (&json!("beta"), &Value::Null));
}

// GW-09
#[tokio::test]
async fn a_service_undoes_no_refusal_by_removing_a_tenant_and_pushing_it_again() {
    let world = World::new().await;
    let (crm, anna, rita) = (world.crm(), world.agent("anna"), world.rower("acme", "rita"));
    let row = format!("/v1/tenants/acme/members/rows.{}", URL_SAFE_NO_PAD.encode("rita"));
    world.put("PUT", &row, json!({"roles": ["admin"]}), &crm).await.is(200);
    let consent = "/v1/tenants/acme/consent";
    world.put("PUT", "/v1/tenants/acme/approval", json!({"required": true}), &rita).await.is(200);
    world.put("PUT", consent, json!({"level": "block"}), &rita).await.is(200);
    let west = world.admin("acme-west");
    world.put("PUT", "/v1/tenants/acme-west/consent", json!({"level": "inherit"}), &west).await.is(200);
    world.delete("/v1/tenants/acme", &crm).await.is(200);
    world.clock.advance(1000);
    push(&world, "acme", body(&["production", "sandbox"]), &crm).await.is(201);
    // It is as closed as it was, for itself and for whoever follows it.
    let admin = world.admin("acme");
    assert_eq!(world.get(consent, &admin).await.is(200).body["in_force"]["level"], "block");
    assert_eq!(world.get("/v1/tenants/acme/approval", &admin).await.is(200).body["required"], true);
    for tenant in ["acme", "acme-west"] {
        world.start(tenant, &anna).await.refused(403, "consent_closes");
    }
    // Nobody administers it by a row of before, until somebody says anew that they do.
    world.get(consent, &rita).await.refused(403, "not_allowed");
    let rows =
        async |query: &str| world.get(&format!("/v1/tenants/acme/members{query}"), &admin).await.is(200).body;
    assert_eq!(rows("").await["items"], json!([]));
    assert_eq!(rows("?state=all").await["items"][0]["former"], true);
    world.put("PUT", &row, json!({"roles": ["admin"]}), &crm).await.is(200);
    world.put("PUT", consent, json!({"level": "full"}), &rita).await.is(200);
    assert_eq!(rows("").await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_tenant_keeps_of_its_parents_choice_names_nobody_there() {
    let world = World::new().await;
    let (crm, anna, west) = (world.crm(), world.agent("anna"), world.admin("acme-west"));
    let secret = json!({"email": "Twin@Vendor.example", "email_verified": true});
    let parents = world.member_with("acme", "parents-own-admin", &["admin"], secret);
    world.put("PUT", "/v1/tenants/acme/consent", json!({"level": "full"}), &parents).await.is(200);
    world.put("PUT", "/v1/tenants/acme-west/consent", json!({"level": "inherit"}), &west).await.is(200);
    world.started("acme-west", &anna).await;
    // The same human is recognised all the same, and who they are there is told to nobody here.
    for other in ["twin", "parents-own-admin"] {
        world.start("acme-west", &world.agent(other)).await.refused(403, "self_granted");
        let refused =
            |record: &Value| record["reason"] == "self_granted" && record["subject"]["sub"] == other;
        assert_eq!(world.record(refused).await.get("detail"), None);
    }
    world.delete("/v1/tenants/acme-west", &crm).await.is(200);
    world.clock.advance(1000);
    push(&world, "acme-west", child(&["production"]), &crm).await.is(201);
    world.start("acme-west", &world.agent("twin")).await.refused(403, "self_granted");
    let own: Vec<_> = world.records().into_iter().filter(|record| record["tenant"] == "acme-west").collect();
    let about_others = |record: &&Value| record["subject"]["sub"] != "parents-own-admin";
    let text = serde_json::to_string(&own.iter().filter(about_others).collect::<Vec<_>>()).unwrap();
    assert!(text.contains("\"above\""), "somebody further up is remembered");
    assert!(!text.contains("parents-own-admin") && !text.contains("tenant/acme@"), "{text}");
}
