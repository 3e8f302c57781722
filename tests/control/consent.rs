//! How far support may go: the choice, what is in force, who may change it.

use postern::policy::OnLower;
use serde_json::json;

use super::support::{DAY, Wish, World};

const ACME: &str = "/v1/tenants/acme/consent";
const WEST: &str = "/v1/tenants/acme-west/consent";

#[tokio::test]
async fn p17_01_02_10_a_tenant_that_never_chose_is_at_read_only_and_is_shown_the_ladder() {
    let world = World::new().await;
    for (path, tenant, can_inherit) in [(ACME, "acme", false), (WEST, "acme-west", true)] {
        let body = world.get(path, &world.admin(tenant)).await.is(200).body;
        assert_eq!(body["choice"], "read_only");
        assert_eq!(body["in_force"]["level"], "read_only");
        assert_eq!(body["in_force"]["role"], "support_reader");
        assert_eq!(body["can_inherit"], can_inherit, "a child can inherit, and never does unasked");
        let levels: Vec<_> = body["ladder"].as_array().unwrap().iter().map(|l| l["level"].clone()).collect();
        assert_eq!(levels, ["block", "read_only", "limited_edit", "full"]);
        assert_eq!(body["ladder"][0]["role"], json!(null));
        assert_eq!(body["ladder"][0]["rights"], json!([]));
    }
}

#[tokio::test]
async fn p17_07_08_09_24_the_ladder_says_what_each_level_lets_staff_do() {
    let world = World::new().await;
    let body = world.get(ACME, &world.admin("acme")).await.is(200).body;
    let rights =
        |n: usize| -> Vec<String> { serde_json::from_value(body["ladder"][n]["rights"].clone()).unwrap() };
    assert_eq!(rights(1), ["config:read", "integrations:read", "mappings:read", "orders:read"]);
    let edit = rights(2);
    assert!(edit.contains(&"jobs:manage".to_owned()));
    assert!(!edit.contains(&"jobs:delete".to_owned()) && !edit.contains(&"mappings:delete".to_owned()));
    let full = rights(3);
    assert!(full.contains(&"mappings:delete".to_owned()) && full.contains(&"users:read".to_owned()));
    // The ceiling and whatever administers support access stay closed at every level (law 5).
    assert!(!full.contains(&"users:manage".to_owned()));
    assert!(!full.iter().any(|right| right.starts_with("support:")));
}

#[tokio::test]
async fn p17_10_25_inherit_follows_the_parent_as_it_changes_and_a_child_may_override() {
    let world = World::new().await;
    let admin = world.admin("acme");
    let refused = world.put("PUT", ACME, json!({"level": "inherit"}), &admin).await;
    refused.refused(422, "nothing_to_inherit");
    world.consent("acme-west", "inherit").await;
    let in_force = async || {
        let body = world.get(WEST, &world.admin("acme-west")).await.is(200).body;
        assert_eq!(body["choice"], "inherit");
        body["in_force"]["level"].as_str().unwrap().to_owned()
    };
    for level in ["read_only", "full", "block", "limited_edit"] {
        world.consent("acme", level).await;
        assert_eq!(in_force().await, level);
    }
    let body = world.consent("acme-west", "full").await.body;
    assert_eq!(body["consent"]["choice"], "full");
    assert_eq!(body["consent"]["in_force"]["level"], "full", "higher than its parent's");
}

#[tokio::test]
async fn p17_11_only_an_administrator_of_the_tenant_itself_changes_the_level() {
    let world = World::new().await;
    for who in [
        world.admin("acme"), // of the parent
        world.admin("globex"),
        world.member("acme-west", "v", &["viewer"]),
        world.member("acme-west", "a", &["auditor"]),
        world.agent("anna"),
    ] {
        let answer = world.put("PUT", WEST, json!({"level": "full"}), &who).await;
        answer.refused(403, "not_allowed");
    }
    let body = world.get(WEST, &world.admin("acme-west")).await.body;
    assert_eq!(body["choice"], "read_only");
}

#[tokio::test]
async fn p17_05_18_a_changed_level_governs_later_sessions_where_the_preset_says_so() {
    let world = World::new().await;
    let anna = world.agent("anna");
    let first = world.started("acme", &anna).await;
    let raised = world.consent("acme", "full").await;
    assert_eq!(raised.body["stays_in_force"]["sessions"]["items"][0]["id"], first.as_str());
    let path = format!("/v1/tenants/acme/sessions/{first}");
    let role = world.get(&path, &anna).await.is(200).body["role"].clone();
    assert_eq!(role, "support_reader", "a running session gains nothing");
    world.consent("acme", "block").await;
    assert_eq!(world.inside("acme").await, [first.as_str()], "and loses nothing");
    world.start("acme", &anna).await.refused(403, "consent_closes");
}

#[tokio::test]
async fn p17_05_a_lowered_level_cuts_running_sessions_at_once_where_that_is_configured() {
    let world = World::with(Wish { on_lower: OnLower::Immediate, ..Wish::default() }).await;
    let anna = world.agent("anna");
    world.consent("acme", "limited_edit").await;
    let id = world.started("acme", &anna).await;
    let path = format!("/v1/tenants/acme/sessions/{id}");
    let rights = async || {
        let body = world.get(&path, &anna).await.is(200).body;
        body["rights"].as_array().map(|rights| rights.iter().any(|right| right == "jobs:manage"))
    };
    assert_eq!(rights().await, Some(true));
    world.clock.advance(1000);
    world.consent("acme", "read_only").await;
    assert_eq!(rights().await, Some(false));
    let beside = world.consent("acme", "block").await.body["stays_in_force"].clone();
    assert_eq!(beside["sessions"]["items"], json!([]));
    let body = world.get(&path, &anna).await.is(200).body;
    assert_eq!((&body["active"], &body["over"]["code"]), (&json!(false), &json!("consent_withdrawn")));
    world.clock.advance(1000);
    world.consent("acme", "full").await;
    assert_eq!(world.inside("acme").await, Vec::<String>::new(), "what was closed stays closed");
}

#[tokio::test]
async fn p17_19_the_answer_names_the_sessions_and_grants_that_stay() {
    let world = World::new().await;
    let (anna, ben) = (world.agent("anna"), world.agent("ben"));
    let by_consent = world.started("acme", &anna).await;
    let grant = world.granted("acme", json!({"email": "ben@vendor.example"}), "admin").await;
    let by_grant = world.enter_by("acme", &grant, &ben).await.is(201).body["session"]["id"].clone();
    let ended = world.started("acme", &world.agent("cora")).await;
    world.delete(&format!("/v1/tenants/acme/sessions/{ended}"), &world.agent("cora")).await.is(200);
    let answer = world.consent("acme", "block").await;
    let stays = &answer.body["stays_in_force"];
    let ids: Vec<_> =
        stays["sessions"]["items"].as_array().unwrap().iter().map(|s| s["id"].clone()).collect();
    assert_eq!(ids, [json!(by_consent), by_grant]);
    assert_eq!(stays["grants"]["items"][0]["id"], grant.as_str());
    assert_eq!(stays["grants"]["items"].as_array().unwrap().len(), 1);
    assert_eq!(stays.get("fault"), None);
    // Nothing to do is said as such, with the same lists.
    let again = world.consent("acme", "block").await;
    assert_eq!(again.body["outcome"], json!({"changed": false}));
    assert_eq!(again.body["stays_in_force"], *stays);
    world.clock.advance(11 * DAY);
    let later = world.consent("acme", "full").await.body;
    assert_eq!(later["stays_in_force"]["sessions"]["items"], json!([]));
    assert_eq!(later["stays_in_force"]["grants"]["items"], json!([]));
}

#[tokio::test]
async fn etags_guard_concurrent_edits() {
    let world = World::new().await;
    let admin = world.admin("acme");
    let tag = world.get(ACME, &admin).await.is(200).etag();
    let set = async |tag: &str, level: &str| {
        let headers = [("content-type", "application/json"), ("if-match", tag)];
        world.call("PUT", ACME, &headers, &json!({ "level": level }).to_string(), &admin).await
    };
    let newer = set(&tag, "full").await.is(200).etag();
    assert_ne!(newer, tag);
    assert_eq!(world.get(ACME, &admin).await.etag(), newer);
    set(&tag, "block").await.refused(412, "changed");
    set(&format!("W/{newer}"), "block").await.refused(412, "changed");
    set("\"never-given-out\"", "block").await.refused(412, "changed");
    for bad in ["", "full", &format!("{newer}, {newer}"), "\"x", "*,*"] {
        set(bad, "block").await.refused(400, "if_match_malformed");
    }
    assert_eq!(world.get(ACME, &admin).await.body["choice"], "full", "none of these changed anything");
    set("*", "limited_edit").await.is(200);
    let twice = [("content-type", "application/json"), ("if-match", &newer), ("if-match", "*")];
    let answer = world.call("PUT", ACME, &twice, r#"{"level":"block"}"#, &admin).await;
    answer.refused(400, "if_match_malformed");
    let never = [("content-type", "application/json"), ("if-none-match", "*")];
    let answer = world.call("PUT", ACME, &never, r#"{"level":"block"}"#, &admin).await;
    answer.refused(400, "precondition_unsupported");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_administrators_at_once_one_wins_and_the_other_is_told() {
    let world = std::sync::Arc::new(World::new().await);
    for round in 0..20 {
        let tag = world.get(ACME, &world.admin("acme")).await.etag();
        let both = ["block", "full", "limited_edit"].into_iter().skip(round % 2).take(2).map(|level| {
            let (world, tag) = (std::sync::Arc::clone(&world), tag.clone());
            tokio::spawn(async move {
                let headers = [("content-type", "application/json"), ("if-match", tag.as_str())];
                let body = json!({ "level": level }).to_string();
                let answer = world.call("PUT", ACME, &headers, &body, &world.admin("acme")).await;
                // Choosing what is chosen already is no change, and wins nothing.
                (level, answer)
            })
        });
        let mut won = Vec::new();
        for one in both.collect::<Vec<_>>() {
            let (level, answer) = one.await.unwrap();
            match answer.status {
                200 if answer.body["outcome"]["changed"] == true => won.push(level),
                200 => {}
                _ => {
                    answer.refused(412, "changed");
                }
            }
        }
        assert!(won.len() <= 1, "round {round}: {won:?}");
        if let [level] = won[..] {
            assert_eq!(world.get(ACME, &world.admin("acme")).await.body["choice"], level);
        }
        assert!(round > 0 || won.len() == 1);
    }
}

#[tokio::test]
async fn levels_that_the_ladder_has_not_are_refused() {
    let world = World::new().await;
    let admin = world.admin("acme");
    world.put("PUT", ACME, json!({"level": "everything"}), &admin).await.refused(422, "level_unknown");
    let answer =
        world.put("PUT", ACME, json!({"level": "Full"}), &admin).await.refused(400, "body_malformed");
    assert_eq!(answer.body["field"], "level");
    let unregistered = "/v1/tenants/nowhere/consent";
    let admin = world.admin("nowhere");
    world.get(unregistered, &admin).await.refused(404, "not_found");
    world.put("PUT", unregistered, json!({"level": "full"}), &admin).await.refused(404, "not_found");
}
