//! A tenant reads its own record.

use postern::audit::tree::leaf_hash;
use serde_json::{Value, json};

use super::support::World;

const AUDIT: &str = "/v1/tenants/acme/audit";

/// All pages from the beginning, `limit` at a time.
async fn all(world: &World, query: &str) -> Vec<Value> {
    let admin = world.admin("acme");
    let (mut items, mut after) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("{AUDIT}?limit=3{query}{after}"), &admin).await.is(200).body;
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        after = format!("&after={}", page["next"].as_str().unwrap());
        if page["complete"] == true {
            return items;
        }
    }
}

/// A world in which several tenants were busy; the id of Anna's session in `acme`.
async fn busy() -> (World, String) {
    let world = World::new().await;
    let anna = world.agent("anna");
    for tenant in ["globex", "acme-west", "acme"] {
        world.consent(tenant, "limited_edit").await;
        world.started(tenant, &anna).await;
    }
    let session = world.started("acme", &world.agent("ben")).await;
    world.delete(&format!("/v1/tenants/acme/sessions/{session}"), &world.admin("acme")).await.is(200);
    world.engine.rest().await;
    (world, session)
}

// GW-11
#[tokio::test]
async fn a_tenant_reads_all_of_its_own_record_and_nothing_of_others() {
    let (world, session) = busy().await;
    let items = all(&world, "").await;
    assert!(items.len() > 8, "{items:#?}");
    for item in &items {
        assert_eq!(item["record"]["tenant"], "acme", "{item}");
        assert_eq!(item["record"]["seq"], item["seq"]);
    }
    let places: Vec<u64> = items.iter().map(|item| item["seq"].as_u64().unwrap()).collect();
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    // Outcomes are the tenant's as much as what they are the outcome of.
    let of = |kind: &str| items.iter().filter(|item| item["record"]["kind"] == kind).count();
    assert_eq!(of("change.intent"), of("change.outcome"));
    let removed = |item: &&Value| item["record"]["events"][0]["cause"] == "removed";
    assert!(items.iter().filter(|item| item["record"]["session"] == *session).any(|item| removed(&item)));
    // Who it was stands in the part that can be erased.
    let started = items.iter().find(|item| item["record"]["command"] == "start_session").unwrap();
    assert_eq!(started["open"][0]["client"], "192.0.2.7", "{started}");
}

// GW-11
#[tokio::test]
async fn what_is_read_can_be_proven() {
    let (world, _) = busy().await;
    let raw = world.get(&format!("{AUDIT}?limit=1"), &world.admin("acme")).await.is(200).raw;
    let text = std::str::from_utf8(&raw).unwrap();
    // The bytes between `"record":` and the `open` or the end of the item are the leaf, closed by a brace.
    let begin = text.find("\"record\":").unwrap() + "\"record\":".len();
    let value =
        serde_json::Deserializer::from_str(&text[begin..]).into_iter::<&serde_json::value::RawValue>();
    let record = value.map(Result::unwrap).next().unwrap().get();
    let leaf = leaf_hash(record.strip_suffix('}').unwrap().as_bytes()).hex();
    assert!(text.contains(&format!("\"leaf\":\"{leaf}\"")), "{text}");
}

#[tokio::test]
async fn a_reader_narrows_by_kind_session_and_time_and_goes_on_where_it_was() {
    let (world, session) = busy().await;
    for item in all(&world, &format!("&session={session}")).await {
        assert_eq!(item["record"]["session"], *session);
    }
    assert_eq!(all(&world, "&session=ses_of_nobody").await, Vec::<Value>::new());
    let outcomes = all(&world, "&kind=change.outcome").await;
    assert!(!outcomes.is_empty() && outcomes.iter().all(|item| item["record"]["kind"] == "change.outcome"));
    // Everything up to now was read; what comes later is found from there.
    let admin = world.admin("acme");
    let page = world.get(&format!("{AUDIT}?limit=200"), &admin).await.is(200).body;
    assert_eq!(page["complete"], true);
    let next = page["next"].as_str().unwrap().to_owned();
    let later = || async { world.get(&format!("{AUDIT}?after={next}"), &admin).await.is(200).body };
    assert_eq!(later().await["items"], json!([]));
    world.clock.advance(60_000);
    let since = "2026-03-27T11:01:00Z";
    world.consent("acme", "block").await;
    world.engine.rest().await;
    let page = later().await;
    assert_eq!(page["items"][0]["record"]["command"], "set_consent", "{page}");
    let recent = all(&world, &format!("&since={since}")).await;
    assert_eq!(recent.first().map(|item| &item["seq"]), Some(&page["items"][0]["seq"]));
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_refused_and_staff_read_no_tenants_record() {
    let world = World::new().await;
    let admin = world.admin("acme");
    for query in ["since=yesterday", "after=x", "limit=0", "limit=201", "kind=a%20b", "page=2", "since="] {
        world.get(&format!("{AUDIT}?{query}"), &admin).await.refused(400, "query_malformed");
    }
    world.get(AUDIT, &world.agent("anna")).await.refused(403, "not_allowed");
    world.get(AUDIT, &world.member("acme", "v", &["viewer"])).await.refused(403, "not_allowed");
    world.put("POST", AUDIT, json!({}), &admin).await.refused(405, "method_not_allowed");
}
