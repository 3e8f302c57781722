//! A tenant's own record as it is written, and the roles that exist.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use bytes::Bytes;
use http::Request;
use postern::{
    control::Following,
    engine::{knock::Who, reload::Standing},
    policy::Policy,
};
use serde_json::{Value, json};

use super::support::World;

const STREAM: &str = "/v1/tenants/acme/audit/stream";

async fn open(world: &World, who: &Who, last: Option<u64>) -> Following {
    let mut request = Request::builder().uri(STREAM);
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (response, rest) = world.api.open(request.body(Bytes::new()).unwrap(), who.clone(), client).await;
    assert_eq!(response.status(), 200, "{:?}", response.body());
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let mut rest = rest.expect("it goes on");
    let first = rest.next().await.unwrap();
    assert!(first.starts_with(b": "), "a comment comes first");
    rest
}

/// The events of the next pieces, until so many are there.
async fn events(following: &mut Following, count: usize) -> Vec<(u64, Value)> {
    let mut all = Vec::new();
    while all.len() < count {
        let piece = String::from_utf8(following.next().await.expect("more").to_vec()).unwrap();
        for event in piece.split("\n\n").filter(|event| !event.is_empty() && !event.starts_with(':')) {
            let lines: Vec<&str> = event.lines().collect();
            let [id, "event: record", data] = lines[..] else { panic!("{event}") };
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            all.push((id.strip_prefix("id: ").unwrap().parse().unwrap(), data));
        }
    }
    all
}

async fn last_event(following: &mut Following) -> String {
    loop {
        let piece = String::from_utf8(following.next().await.expect("a last event").to_vec()).unwrap();
        if let Some(code) = piece.strip_prefix("event: end\ndata: ") {
            assert_eq!(following.next().await, None, "and nothing behind it");
            return serde_json::from_str::<Value>(code).unwrap()["code"].as_str().unwrap().to_owned();
        }
    }
}

// GW-11
#[tokio::test]
async fn a_tenant_follows_its_own_record_and_goes_on_where_it_was() {
    let world = World::new().await;
    let admin = world.admin("acme");
    let mut following = open(&world, &admin, None).await;
    world.consent("globex", "block").await;
    world.started("acme", &world.agent("anna")).await;
    let seen = events(&mut following, 2).await;
    for (id, event) in &seen {
        assert_eq!((&event["record"]["tenant"], &event["record"]["seq"]), (&json!("acme"), &json!(id)));
    }
    // Each as it stands in the ledger, as a page of it shows.
    let page = world.get("/v1/tenants/acme/audit?limit=200", &admin).await.is(200).body;
    let items = page["items"].as_array().unwrap();
    assert!(seen.iter().all(|(_, event)| items.contains(event)), "{seen:#?}");
    drop(following);
    // What came while nobody followed is told first.
    world.consent("acme", "block").await;
    let missed: Vec<u64> =
        events(&mut open(&world, &admin, Some(seen[0].0)).await, 3).await.iter().map(|(id, _)| *id).collect();
    assert_eq!(missed[0], seen[1].0);
    assert!(missed.is_sorted_by(|a, b| a < b));
    let all = events(&mut open(&world, &admin, Some(0)).await, items.len()).await;
    assert_eq!(all.first().map(|(_, event)| event), items.iter().find(|item| item["seq"] != 0));
}

#[tokio::test]
async fn what_is_followed_piece_by_piece_is_what_stands_there_each_record_once() {
    let world = World::new().await;
    let admin = world.admin("acme");
    let mut following = open(&world, &admin, Some(0)).await;
    let mut seen = Vec::new();
    for round in 0..6 {
        for _ in 0..round {
            world.consent("globex", if round % 2 == 0 { "block" } else { "full" }).await;
        }
        world.consent("acme", if round % 2 == 0 { "full" } else { "read_only" }).await;
        let page = world.get("/v1/tenants/acme/audit?limit=200", &admin).await.is(200).body;
        let items: Vec<Value> =
            page["items"].as_array().unwrap().iter().filter(|item| item["seq"] != 0).cloned().collect();
        let more = events(&mut following, items.len() - seen.len()).await;
        seen.extend(more.into_iter().map(|(_, event)| event));
        assert_eq!(seen, items, "round {round}");
    }
}

#[tokio::test]
async fn a_place_behind_the_end_is_another_ledgers() {
    let world = World::new().await;
    let admin = world.admin("acme");
    let size = world.journal.status().size;
    for named in [size, size + 1, u64::MAX] {
        let answer = world.get(&format!("{STREAM}?last_event_id={named}"), &admin).await;
        assert_eq!(answer.status, 400, "{named}: {answer:?}");
    }
    drop(open(&world, &admin, Some(size - 1)).await);
}

#[tokio::test]
async fn a_stream_ends_with_the_token_with_the_right_and_after_an_hour() {
    let world = World::new().await;
    let admin = world.member_with("acme", "a", &["admin"], json!({}));
    let mut following = open(&world, &admin, None).await;
    world.clock.advance(3_600_000 + 5_000);
    assert_eq!(last_event(&mut following).await, "token_expired");
    let now = world.clock_seconds();
    let long = world.member_with("acme", "a", &["admin"], json!({"exp": now + 40_000}));
    let mut following = open(&world, &long, None).await;
    world.clock.advance(3_600_000);
    assert_eq!(last_event(&mut following).await, "stream_too_long");
    // A right that stands in a row is gone with it.
    let row = "/v1/tenants/acme/members/rows.cml0YQ";
    world.put("PUT", row, json!({"roles": ["auditor"]}), &world.crm()).await.is(200);
    let mut following = open(&world, &world.rower("acme", "rita"), None).await;
    world.delete(row, &world.crm()).await.is(200);
    assert_eq!(last_event(&mut following).await, "not_allowed");
    // And every right, with the issuer that vouched for its holder.
    let mut following = open(&world, &world.admin("acme"), None).await;
    let mut policy = Policy::clone(&world.engine.policy());
    policy.callers.members.clear();
    let standing = Standing {
        policy: Arc::new(policy),
        find: Box::new(|_, _, _| Err(postern::policy::Reason::ConfigurationReplaced)),
    };
    world.engine.reload(standing, "test").await.unwrap();
    assert_eq!(last_event(&mut following).await, "not_allowed");
}

#[tokio::test]
async fn so_many_follow_and_no_more_and_nobody_elses_record() {
    let world = World::new().await;
    let admin = world.admin("acme");
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(open(&world, &admin, None).await);
    }
    world.get(STREAM, &admin).await.refused(503, "audit_streams");
    // Others have their own places, and one that is let go of is free.
    world.get("/v1/tenants/globex/audit/stream", &world.admin("globex")).await.is(200);
    all.pop();
    all.push(open(&world, &admin, None).await);
    for who in
        [world.admin("globex"), world.agent("anna"), world.member("acme", "v", &["viewer"]), world.crm()]
    {
        world.get(STREAM, &who).await.refused(403, "not_allowed");
    }
    drop(all);
    world.get(&format!("{STREAM}?last_event_id=x"), &admin).await.refused(400, "query_malformed");
    world.call("GET", STREAM, &[("last-event-id", "-1")], "", &admin).await.refused(400, "query_malformed");
}

#[tokio::test]
async fn a_form_for_a_grant_can_be_filled_from_the_roles() {
    let world = World::new().await;
    let path = "/v1/tenants/acme/roles";
    let all = world.get(path, &world.admin("acme")).await.is(200).body;
    let names: Vec<&str> =
        all["items"].as_array().unwrap().iter().map(|r| r["role"].as_str().unwrap()).collect();
    assert_eq!(names, ["admin", "auditor", "order_clerk", "support_editor", "support_reader", "viewer"]);
    let one = async |name: &str, who: &Who| world.get(&format!("{path}/{name}"), who).await.is(200).body;
    let admin = one("admin", &world.admin("acme")).await;
    assert_eq!(admin["levels"], json!(["full"]));
    assert_eq!(admin["closed_to_staff"], json!(["support:manage", "support:read", "users:manage"]));
    assert!(!admin["for_staff"].as_array().unwrap().contains(&json!("users:manage")), "{admin}");
    assert_eq!(admin["grantable"], true);
    // What somebody cannot do they do not hand on.
    let auditor = world.member("acme", "a", &["auditor"]);
    assert_eq!(one("viewer", &auditor).await["grantable"], true);
    assert_eq!(one("order_clerk", &auditor).await["grantable"], false);
    world.get(&format!("{path}/emperor"), &auditor).await.refused(404, "not_found");
    // Staff see them inside, and outside not even that there is such a tenant.
    let anna = world.agent("anna");
    world.get(path, &anna).await.refused(404, "not_found");
    world.get("/v1/tenants/nowhere/roles", &anna).await.refused(404, "not_found");
    world.started("acme", &anna).await;
    assert_eq!(one("viewer", &anna).await.get("grantable"), None);
    for who in [world.admin("globex"), world.member("acme", "v", &["viewer"]), world.crm()] {
        world.get(path, &who).await.refused(403, "not_allowed");
    }
}
