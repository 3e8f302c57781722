//! Rows of members: pushed by services, read by administrators, and what they decide.

use std::sync::atomic::Ordering;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use postern::{engine::knock::Who, state::Store as _};
use serde_json::{Value, json};

use super::support::{Answer, Wish, World};

fn path(tenant: &str, issuer: &str, sub: &str) -> String {
    format!("/v1/tenants/{tenant}/members/{issuer}.{}", URL_SAFE_NO_PAD.encode(sub))
}

async fn push(world: &World, path: &str, body: Value) -> Answer {
    world.put("PUT", path, body, &world.crm()).await
}

async fn grants(world: &World, who: &Who) -> Answer {
    world.get("/v1/tenants/acme/grants", who).await
}

// GW-09
#[tokio::test]
async fn a_service_pushes_members_and_their_administrators_read_them() {
    let world = World::new().await;
    let rita = path("acme", "rows", "rita");
    let body = json!({"roles": ["admin", "viewer"], "email": "Rita@acme.example"});
    let answer = push(&world, &rita, body.clone()).await.is(200);
    assert_eq!(answer.body["outcome"]["events"][0]["event"], "member_pushed");
    let seen = world.get(&rita, &world.member("acme", "a", &["auditor"])).await.is(200);
    assert_eq!(
        seen.body,
        json!({"id": "rows.cml0YQ", "person": {"issuer": "rows", "sub": "rita"}, "roles": ["admin", "viewer"],
            "suspended": false, "email": "rita@acme.example"})
    );
    assert_eq!(push(&world, &rita, body).await.is(200).body["outcome"], json!({"changed": false}));
    // Pages, and what is over only where it is asked for.
    for sub in ["b", "c", "d"] {
        push(&world, &path("acme", "members", sub), json!({"roles": ["viewer"]})).await.is(200);
    }
    let gone = world.delete(&path("acme", "members", "c"), &world.crm()).await.is(200).body;
    assert!(gone["member"]["removed"].is_string(), "{gone}");
    let gone = world.delete(&path("acme", "members", "c"), &world.crm()).await.is(200).body;
    assert_eq!(gone["had_ended"], true);
    let admin = world.admin("acme");
    let all = async |query: &str| {
        let (mut subs, mut after) = (Vec::new(), String::new());
        loop {
            let page = world
                .get(&format!("/v1/tenants/acme/members?limit=2{query}{after}"), &admin)
                .await
                .is(200)
                .body;
            let items = page["items"].as_array().unwrap();
            subs.extend(items.iter().map(|item| item["person"]["sub"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return subs,
            }
        }
    };
    assert_eq!(all("").await, ["b", "d", "rita"]);
    assert_eq!(all("&state=all").await, ["b", "c", "d", "rita"]);
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_nobody_else_pushes_or_reads() {
    let world = World::new().await;
    let rita = path("acme", "rows", "rita");
    for wrong in [
        json!({}),
        json!({"roles": "admin"}),
        json!({"roles": ["admin", "admin"]}),
        json!({"roles": [], "suspended": "yes"}),
        json!({"roles": [], "email": "nobody"}),
        json!({"roles": [], "tenant": "acme"}),
    ] {
        push(&world, &rita, wrong).await.refused(400, "body_malformed");
    }
    push(&world, &rita, json!({"roles": ["emperor"]})).await.refused(422, "role_unknown");
    push(&world, &path("acme", "staff", "anna"), json!({"roles": []})).await.refused(422, "issuer_unknown");
    push(&world, &path("nowhere", "rows", "rita"), json!({"roles": []})).await.refused(404, "not_found");
    world.delete(&rita, &world.crm()).await.refused(404, "not_found");
    push(&world, "/v1/tenants/acme/members/rita", json!({"roles": []})).await.refused(400, "id_malformed");
    push(&world, &rita, json!({"roles": ["admin"]})).await.is(200);
    for who in [
        world.admin("acme"),
        world.agent("anna"),
        world.rower("acme", "rita"),
        world.service_with("x", json!({})),
    ] {
        let body = json!({"roles": ["admin"]});
        world.put("PUT", &rita, body, &who).await.refused(403, "not_allowed");
        world.delete(&rita, &who).await.refused(403, "not_allowed");
    }
    for who in [world.admin("globex"), world.agent("anna"), world.member("acme", "v", &["viewer"])] {
        world.get(&rita, &who).await.refused(403, "not_allowed");
        world.get("/v1/tenants/acme/members", &who).await.refused(403, "not_allowed");
    }
}

#[tokio::test]
async fn the_row_says_what_an_administrator_may_and_the_token_nothing() {
    let world = World::new().await;
    let (rita, row) = (world.rower("acme", "rita"), path("acme", "rows", "rita"));
    grants(&world, &rita).await.refused(403, "not_allowed");
    push(&world, &row, json!({"roles": ["auditor"]})).await.is(200);
    grants(&world, &rita).await.is(200);
    let level = json!({"level": "full"});
    world.put("PUT", "/v1/tenants/acme/consent", level.clone(), &rita).await.refused(403, "not_allowed");
    push(&world, &row, json!({"roles": ["admin"]})).await.is(200);
    world.put("PUT", "/v1/tenants/acme/consent", level, &rita).await.is(200);
    let me = world.get("/v1/me", &rita).await.is(200).body;
    assert_eq!(me["roles"], json!(["admin"]), "{me}");
    let rights = world.get("/v1/tenants/acme/rights?environment=production", &rita).await.is(200).body;
    assert_eq!(rights["roles"], json!(["admin"]));
    // In another tenant the row is nobody's.
    world.get("/v1/tenants/globex/grants", &world.rower("globex", "rita")).await.refused(403, "not_allowed");
    push(&world, &row, json!({"roles": ["admin"], "suspended": true})).await.is(200);
    grants(&world, &rita).await.refused(403, "not_allowed");
    push(&world, &row, json!({"roles": ["admin"]})).await.is(200);
    grants(&world, &rita).await.is(200);
    world.delete(&row, &world.crm()).await.is(200);
    grants(&world, &rita).await.refused(403, "not_allowed");
}

/// A grant of Rita's by which Anna is inside; the path of her session.
async fn inside_by_rita(world: &World, issuer: &str, rita: &Who) -> String {
    push(world, &path("acme", issuer, "rita"), json!({"roles": ["admin"]})).await.is(200);
    let body = json!({"environment": "production", "to": "support", "role": "order_clerk", "scope": "everything", "for": "5d"});
    let grant = world.put("POST", "/v1/tenants/acme/grants", body, rita).await.is(201).body;
    let grant = grant["grant"]["id"].as_str().unwrap();
    let session = world.enter_by("acme", grant, &world.agent("anna")).await.is(201).body;
    format!("/v1/tenants/acme/sessions/{}", session["session"]["id"].as_str().unwrap())
}

// CEL-08, CEL-19
#[tokio::test]
async fn a_grant_is_bounded_by_what_its_giver_can_do_now() {
    let world = World::new().await;
    let anna = world.agent("anna");
    for issuer in ["rows", "members"] {
        let rita = match issuer {
            "rows" => world.rower("acme", "rita"),
            _ => world.member("acme", "rita", &["admin"]),
        };
        let row = path("acme", issuer, "rita");
        let session = inside_by_rita(&world, issuer, &rita).await;
        let seen = async || {
            let body = world.get(&session, &anna).await.is(200).body;
            (body["rights"].clone(), body["over"]["code"].clone())
        };
        assert_eq!(seen().await, (json!(["orders:read", "orders:write"]), Value::Null));
        push(&world, &row, json!({"roles": ["viewer"]})).await.is(200);
        assert_eq!(seen().await, (json!(["orders:read"]), Value::Null));
        push(&world, &row, json!({"roles": ["admin"], "suspended": true})).await.is(200);
        assert_eq!(seen().await, (Value::Null, json!("grantor_gone")));
        push(&world, &row, json!({"roles": ["admin"]})).await.is(200);
        assert_eq!(seen().await.0, json!(["orders:read", "orders:write"]));
        world.delete(&row, &world.crm()).await.is(200);
        assert_eq!(seen().await, (Value::Null, json!("grantor_gone")));
        // Nobody enters by it any more.
        let grants = world.get("/v1/tenants/acme/grants", &anna).await.is(200).body;
        for grant in grants["items"].as_array().unwrap() {
            world
                .enter_by("acme", grant["id"].as_str().unwrap(), &anna)
                .await
                .refused(403, "grant_gives_nothing");
        }
    }
}

#[tokio::test]
async fn suspending_somebody_does_not_wait_for_the_store() {
    let world = World::new().await;
    let rita = world.rower("acme", "rita");
    let session = inside_by_rita(&world, "rows", &rita).await;
    world.store.no_commits.store(true, std::sync::atomic::Ordering::SeqCst);
    let row = path("acme", "rows", "rita");
    let answer = push(&world, &row, json!({"roles": ["admin"], "suspended": true})).await.is(202);
    assert_eq!(answer.body["outcome"]["waiting"], json!(["store"]));
    let seen = world.get(&session, &world.agent("anna")).await.is(200).body;
    assert_eq!(seen["over"]["code"], "grantor_gone");
    push(&world, &row, json!({"roles": ["admin"]})).await.is(503);
}

/// What an erasable record says of documents, put back, is what the store has: addresses of rows and grants too.
#[tokio::test]
async fn addresses_stand_beside_the_proof_and_documents_come_back_whole() {
    let world = World::new().await;
    let rita = path("acme", "rows", "rita");
    push(&world, &rita, json!({"roles": ["admin"], "email": "rita@acme.example"})).await.is(200);
    let anna = world.granted("acme", json!({"email": "anna@vendor.example"}), "viewer").await;
    let ben = world.granted("acme", json!({"email": "ben@vendor.example"}), "viewer").await;
    world.enter_by("acme", &ben, &world.agent("ben")).await.is(201);
    world
        .put("PATCH", &format!("/v1/tenants/acme/grants/{anna}"), json!({"for": "2d"}), &world.admin("acme"))
        .await
        .is(200);
    world.delete(&format!("/v1/tenants/acme/grants/{ben}"), &world.admin("acme")).await.is(200);
    let told = world.told();
    assert!(told.len() > 6, "{told:?}");
    for (key, told) in &told {
        let found = world.store.load(std::slice::from_ref(key)).await.unwrap().pop().unwrap();
        assert_eq!(found.unwrap().unwrap(), *told, "{key}");
    }
    let open = |name: &str| {
        let people = world
            .records()
            .into_iter()
            .flat_map(|record| record["open"].as_array().cloned().unwrap_or_default());
        people.filter(|person| person["email"] == name).count()
    };
    // Each state of the row and of the grants.
    assert_eq!((open("rita@acme.example"), open("anna@vendor.example")), (1, 2));
    // The withdrawal's intent and outcome, the two before, and what he did himself.
    assert_eq!(open("ben@vendor.example"), 5);
}

/// A withdrawal that only the ledger knows is carried on by the next start with everything it had.
#[tokio::test]
async fn what_is_carried_on_from_an_intent_has_its_address() {
    let world = World::new().await;
    let rita = path("acme", "rows", "rita");
    push(&world, &rita, json!({"roles": ["admin", "viewer"], "email": "rita@acme.example"})).await.is(200);
    let grant = world.granted("acme", json!({"email": "anna@vendor.example"}), "viewer").await;
    world.store.no_commits.store(true, Ordering::SeqCst);
    push(&world, &rita, json!({"roles": ["viewer"], "email": "rita@acme.example"})).await.is(202);
    world.delete(&format!("/v1/tenants/acme/grants/{grant}"), &world.admin("acme")).await.is(202);
    let world = world.restarted().await;
    assert_eq!(world.engine.pending(), 2);
    for stored in [false, true] {
        if stored {
            world.store.no_commits.store(false, Ordering::SeqCst);
            assert_eq!(world.engine.mend_once().await, 0);
        }
        let row = world.get(&rita, &world.admin("acme")).await.is(200).body;
        assert_eq!((&row["roles"], &row["email"]), (&json!(["viewer"]), &json!("rita@acme.example")));
        let gone = world.get(&format!("/v1/tenants/acme/grants/{grant}"), &world.admin("acme")).await.is(200);
        assert_eq!(gone.body["to"], json!({"email": "anna@vendor.example"}));
        assert_eq!(gone.body["over"]["cause"], "withdrawn");
    }
}

// PFC-08
// PFC-16
#[tokio::test]
async fn the_record_of_a_change_says_how_many_paid_seats_there_are_before_and_after() {
    let world = World::with(Wish { seats: &["admin", "viewer"], ..Wish::default() }).await;
    let crm = world.crm();
    let seats = async |who: &Who| world.get("/v1/tenants/acme", who).await.is(200).body["seats"].as_u64();
    assert_eq!(seats(&crm).await, Some(0));
    let moved = |answer: &Answer| -> Vec<Value> {
        let events = answer.body["outcome"]["events"].as_array().cloned().unwrap_or_default();
        events.into_iter().filter(|event| event["event"] == "seats_changed").collect()
    };
    let none = Vec::<Value>::new();
    let told = |from: u64, to: u64| vec![json!({"event": "seats_changed", "from": from, "to": to})];
    let put = async |sub: &str, body: Value| {
        let answer = push(&world, &path("acme", "rows", sub), body).await;
        moved(&answer.is(200))
    };
    assert_eq!(put("rita", json!({"roles": ["viewer"]})).await, told(0, 1));
    // Once each, whatever they hold and however often it is said; suspended too; who holds no such role never.
    assert_eq!(put("rita", json!({"roles": ["viewer", "admin"]})).await, none);
    assert_eq!(put("rita", json!({"roles": ["viewer", "admin"]})).await, none);
    assert_eq!(put("rita", json!({"roles": ["viewer"], "suspended": true})).await, none);
    assert_eq!(put("ada", json!({"roles": ["auditor"]})).await, none);
    assert_eq!(put("bob", json!({"roles": ["admin"]})).await, told(1, 2));
    assert_eq!(put("bob", json!({"roles": ["auditor"]})).await, told(2, 1));
    assert_eq!(put("bob", json!({"roles": ["admin"]})).await, told(1, 2));
    let gone = world.delete(&path("acme", "rows", "rita"), &crm).await.is(200);
    assert_eq!(moved(&gone), told(2, 1));
    assert_eq!(moved(&world.delete(&path("acme", "rows", "rita"), &crm).await.is(200)), none);
    assert_eq!(seats(&world.admin("acme")).await, Some(1));
    // Each tenant by itself; and a new life of one begins with nobody.
    assert_eq!(world.get("/v1/tenants/globex", &world.admin("globex")).await.is(200).body["seats"], 0);
    // The record has both in one line.
    let records = world.records();
    let recorded = records.iter().filter(|line| {
        let events = line["events"].as_array().cloned().unwrap_or_default();
        let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
        names == ["member_removed", "seats_changed"]
    });
    assert_eq!(recorded.count(), 2, "the intent and the outcome: {records:#?}");
    // Where no role takes one, nothing is counted and nothing said.
    let plain = World::new().await;
    let answer = push(&plain, &path("acme", "rows", "rita"), json!({"roles": ["viewer"]})).await.is(200);
    assert_eq!(moved(&answer), none);
    assert_eq!(plain.get("/v1/tenants/acme", &plain.crm()).await.is(200).body["seats"], Value::Null);
}

// PFC-16
#[tokio::test]
async fn nobody_takes_a_seat_more_than_the_tenant_has_and_nobody_loses_theirs() {
    let world = World::with(Wish { seats: &["admin", "viewer"], ..Wish::default() }).await;
    let crm = world.crm();
    let initech = "/v1/tenants/initech";
    let limited = async |limit: Value| {
        let mut body = json!({"environments": ["production"]});
        if !limit.is_null() {
            body["seat_limit"] = limit;
        }
        world.put("PUT", initech, body, &crm).await
    };
    let put = async |sub: &str, body: Value| push(&world, &path("initech", "rows", sub), body).await;
    let seated = json!({"roles": ["viewer"]});
    limited(json!(2)).await.is(201);
    for wrong in [json!(-1), json!(1.5), json!("2")] {
        limited(wrong).await.refused(400, "body_malformed");
    }
    put("rita", seated.clone()).await.is(200);
    put("sid", seated.clone()).await.is(200);
    put("tom", seated.clone()).await.refused(409, "seats_full");
    // Who takes none comes in; who has one keeps it, whatever is said of them, and whatever the limit becomes.
    put("tom", json!({"roles": ["auditor"]})).await.is(200);
    put("tom", json!({"roles": ["auditor", "admin"]})).await.refused(409, "seats_full");
    let told = limited(json!(1)).await.is(200);
    assert_eq!((&told.body["tenant"]["seats"], &told.body["tenant"]["seat_limit"]), (&json!(2), &json!(1)));
    assert_eq!(told.body["outcome"]["events"][0]["seat_limit"], 1);
    put("rita", json!({"roles": ["viewer", "admin"]})).await.is(200);
    put("rita", json!({"roles": ["viewer"], "suspended": true})).await.is(200);
    put("sid", json!({"roles": ["auditor"]})).await.is(200);
    put("sid", seated.clone()).await.refused(409, "seats_full");
    limited(Value::Null).await.is(200);
    put("sid", seated.clone()).await.is(200);
    assert_eq!(world.get(initech, &crm).await.is(200).body["seat_limit"], Value::Null);
    assert_eq!(world.get(initech, &crm).await.is(200).body["seats"], 2);
}

// PFC-16
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_at_once_for_the_last_seat_one_gets_it() {
    let world = std::sync::Arc::new(World::with(Wish { seats: &["viewer"], ..Wish::default() }).await);
    let crm = world.crm();
    for round in 0..20_u64 {
        let body = json!({"environments": ["production"], "seat_limit": round + 1});
        world.put("PUT", "/v1/tenants/initech", body, &crm).await;
        let both = ["a", "b"].map(|one| {
            let (world, path) = (world.clone(), path("initech", "rows", &format!("{one}{round}")));
            tokio::spawn(async move { push(&world, &path, json!({"roles": ["viewer"]})).await.status })
        });
        let mut told = Vec::new();
        for one in both {
            told.push(one.await.unwrap());
        }
        told.sort_unstable();
        assert_eq!(told, [200, 409], "round {round}");
        let seats = world.get("/v1/tenants/initech", &crm).await.is(200).body["seats"].clone();
        assert_eq!(seats, round + 1);
    }
}
