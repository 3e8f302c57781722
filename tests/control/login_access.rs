//! Login access: a person of a tenant lets a support organisation act as them. Who is let through which door, and who is not.

use postern::{
    engine::knock::Who,
    model::{Document, Key},
};
use serde_json::{Value, json};

use super::support::{Answer, DAY, HOUR, World, tenant};

const PATH: &str = "/v1/tenants/acme/login-access";

fn week() -> Value {
    json!({"environment": "production", "for": "7 calendar days"})
}

async fn lend(world: &World, who: &Who, to: &str, body: Value) -> Answer {
    world.put("PUT", &format!("{PATH}/{to}"), body, who).await
}

async fn lent(world: &World, who: &Who) -> String {
    let answer = lend(world, who, "help_desk", week()).await.is(201);
    answer.body["confirmation"].as_str().unwrap().to_owned()
}

async fn enter(world: &World, who: &Who, grant: &str) -> Answer {
    let body = json!({"environment": "production", "basis": {"act_as": grant}, "reason": "as agreed"});
    world.put("POST", "/v1/tenants/acme/sessions", body, who).await
}

fn night(world: &World) -> Who {
    world.staff_with("nils", json!({"team": "night"}))
}

// PRA-01
#[tokio::test]
async fn what_is_offered_is_shown_and_one_of_it_is_given_and_taken_back() {
    let world = World::new().await;
    let vera = world.member("acme", "vera", &["viewer"]);
    let shown = world.get(PATH, &vera).await.is(200).body;
    assert_eq!(shown["durations"], json!(["no access", "1d", "7 calendar days", "1 calendar month"]));
    assert_eq!(shown["suggested"], "7 calendar days");
    let none = |name: &str| json!({"organisation": name, "access": []});
    assert_eq!(shown["organisations"], json!([none("help_desk"), none("night_desk")]));
    let body = json!({"environment": "production", "for": "168h"});
    lend(&world, &vera, "help_desk", body).await.refused(422, "duration_not_offered");
    // Over the change of the clocks in Berlin.
    let answer = lend(&world, &vera, "help_desk", week()).await.is(201);
    let access = &answer.body["access"][0];
    assert_eq!((&access["until"], &access["standing"]), (&json!("2026-04-03T10:00:00.000Z"), &json!(true)));
    assert_eq!(access["to"], json!({"organisation": "help_desk"}));
    assert_eq!((access.get("role"), &access["act_as"]), (None, &json!({})));
    // Another environment is another one's, and so is another organisation.
    let sandbox = json!({"environment": "sandbox", "for": "1d"});
    let both = lend(&world, &vera, "help_desk", sandbox).await.is(201).body;
    assert_eq!(both["access"].as_array().unwrap().len(), 2);
    lend(&world, &vera, "night_desk", week()).await.is(201);
    // `no access` is for one environment, a deletion for all.
    let none = json!({"environment": "sandbox", "for": "no access"});
    let left = lend(&world, &vera, "help_desk", none.clone()).await.is(200).body;
    assert_eq!((left["access"].as_array().unwrap().len(), &left["outcome"]["changed"]), (1, &json!(true)));
    let again = lend(&world, &vera, "help_desk", none).await.is(200).body;
    assert_eq!(again["outcome"]["changed"], false);
    let gone = world.delete(&format!("{PATH}/help_desk"), &vera).await.is(200).body;
    assert_eq!(gone["access"], json!([]));
    let shown = world.get(PATH, &vera).await.is(200).body;
    let left: Vec<_> = shown["organisations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["access"].as_array().unwrap().len())
        .collect();
    assert_eq!(left, [0, 1]);
}

// PRA-06
#[tokio::test]
async fn whoever_is_no_person_of_the_tenant_or_acts_as_one_gives_nothing() {
    let world = World::new().await;
    let acting = world.member_with("acme", "vera", &["viewer"], json!({"act": {"sub": "boss"}}));
    for (who, code) in [
        (world.admin("globex"), "not_allowed"),
        (world.admin("acme-west"), "not_allowed"),
        (world.agent("anna"), "not_allowed"),
        (world.crm(), "not_allowed"),
        (acting, "acting"),
    ] {
        world.get(PATH, &who).await.refused(403, code);
        // Before anything that they sent is read.
        for body in [week(), json!({"for": 7})] {
            lend(&world, &who, "help_desk", body).await.refused(403, code);
        }
        world.delete(&format!("{PATH}/help_desk"), &who).await.refused(403, code);
    }
    let vera = world.member("acme", "vera", &["viewer"]);
    lend(&world, &vera, "no_desk", week()).await.refused(404, "not_found");
    lend(&world, &vera, "help_desk", json!({"environment": "moon", "for": "1d"}))
        .await
        .refused(422, "environment_unknown");
    for body in
        [json!({}), json!({"environment": "production"}), json!({"environment": "production", "for": "soon"})]
    {
        lend(&world, &vera, "help_desk", body).await.refused(400, "body_malformed");
    }
    let ticket = json!({"environment": "production", "for": "1d", "ticket": "a ticket"});
    lend(&world, &vera, "help_desk", ticket).await.refused(422, "ticket_unfit");
    for path in [format!("{PATH}/"), format!("{PATH}/Help"), format!("{PATH}/a%62c")] {
        world.call("PUT", &path, &[], "", &vera).await.refused(400, "id_malformed");
    }
    world.call("POST", &format!("{PATH}/help_desk"), &[], "", &vera).await.refused(405, "method_not_allowed");
    assert!(!world.told().keys().any(|key| matches!(key, Key::Grant(..))));
}

// PRA-12
#[tokio::test]
async fn whoever_is_suspended_or_not_known_as_a_member_gives_nothing_and_what_they_gave_is_over() {
    let world = World::new().await;
    let row = "/v1/tenants/acme/members/rows.cml0YQ";
    let rita = world.rower("acme", "rita");
    lend(&world, &rita, "help_desk", week()).await.refused(403, "not_allowed");
    world.put("PUT", row, json!({"roles": ["order_clerk"]}), &world.crm()).await.is(200);
    let grant = lent(&world, &rita).await;
    let anna = world.agent("anna");
    let session = enter(&world, &anna, &grant).await.is(201).body["session"].clone();
    assert_eq!(session["rights"], json!(["orders:read", "orders:write"]));
    assert_eq!(session["acting_as"], json!({"issuer": "rows", "sub": "rita"}));
    assert_eq!(session.get("role"), None);
    // The grant and the session are over with the change that suspends her, and stay so.
    let suspended = json!({"roles": ["order_clerk"], "suspended": true});
    let answer = world.put("PUT", row, suspended, &world.crm()).await.is(200).body;
    let events: Vec<_> =
        answer["outcome"]["events"].as_array().unwrap().iter().map(|event| event["event"].clone()).collect();
    assert_eq!(events, [json!("member_pushed"), json!("grant_ended")], "{answer}");
    lend(&world, &rita, "help_desk", week()).await.refused(403, "not_allowed");
    let over = |answer: Answer| answer.body["over"].clone();
    let shown = over(world.get(&format!("/v1/tenants/acme/grants/{grant}"), &anna).await.is(200));
    assert_eq!((&shown["cause"], &shown["by"]["sub"]), (&json!("giver_gone"), &json!("crm")));
    world.put("PUT", row, json!({"roles": ["order_clerk"]}), &world.crm()).await.is(200);
    enter(&world, &anna, &grant).await.refused(403, "grant_gives_nothing");
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    // Again, and then she goes.
    let grant = lent(&world, &rita).await;
    enter(&world, &anna, &grant).await.is(201);
    world.delete(row, &world.crm()).await.is(200);
    enter(&world, &anna, &grant).await.refused(403, "grant_gives_nothing");
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
}

// PRA-09, PRA-05
#[tokio::test]
async fn only_staff_of_the_organisation_enter_by_a_token_of_their_own_and_as_what_it_is() {
    let world = World::new().await;
    let vera = world.member("acme", "vera", &["viewer"]);
    let grant = lent(&world, &vera).await;
    let acting = world.staff_with("anna", json!({"team": "support", "act": {"sub": "robot"}}));
    enter(&world, &acting, &grant).await.refused(403, "acting");
    enter(&world, &vera, &grant).await.refused(403, "not_staff");
    for other in [night(&world), world.staff_with("dev", json!({}))] {
        enter(&world, &other, &grant).await.refused(404, "not_found");
        world.get(&format!("/v1/tenants/acme/grants/{grant}"), &other).await.refused(404, "not_found");
    }
    let anna = world.agent("anna");
    world.enter_by("acme", &grant, &anna).await.refused(403, "grant_gives_nothing");
    let role = world.granted("acme", json!("support"), "viewer").await;
    enter(&world, &anna, &role).await.refused(403, "grant_gives_nothing");
    for basis in [json!({"act_as": grant, "grant": role}), json!({"act_as": 7}), json!({})] {
        let body = json!({"environment": "production", "basis": basis, "reason": "x"});
        world.put("POST", "/v1/tenants/acme/sessions", body, &anna).await.refused(400, "body_malformed");
    }
    let elsewhere = json!({"environment": "sandbox", "basis": {"act_as": grant}, "reason": "x"});
    world
        .put("POST", "/v1/tenants/acme/sessions", elsewhere, &anna)
        .await
        .refused(403, "grant_gives_nothing");
    enter(&world, &anna, &grant).await.is(201);
    // An administrator sees who is inside, as whom, and what stands; and removes and withdraws.
    let admin = world.admin("acme");
    let inside = world.get("/v1/tenants/acme/sessions", &admin).await.is(200).body;
    assert_eq!(inside["items"][0]["acting_as"]["sub"], "vera");
    let standing = inside["standing_grants"]["items"].as_array().unwrap();
    assert!(
        standing.iter().any(|one| one["id"] == json!(grant) && one["grantor"]["sub"] == "vera"),
        "{standing:?}"
    );
    let path = format!("/v1/tenants/acme/grants/{grant}");
    world.put("PATCH", &path, json!({"for": "1d"}), &admin).await.refused(409, "login_access_moved");
    world.delete(&path, &admin).await.is(200);
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    assert_eq!(world.get(PATH, &vera).await.is(200).body["organisations"][0]["access"], json!([]));
}

// GW-14
#[tokio::test]
async fn whoever_lends_their_own_login_does_not_use_it_as_staff() {
    let world = World::new().await;
    let anna = world.agent("anna");
    let address = json!({"email": "Anna@Vendor.example", "email_verified": true});
    for twin in
        [world.member("acme", "anna", &["admin"]), world.member_with("acme", "m-17", &["admin"], address)]
    {
        let grant = lent(&world, &twin).await;
        enter(&world, &anna, &grant).await.refused(403, "self_granted");
        enter(&world, &world.agent("ben"), &grant).await.is(201);
    }
}

// GW-13
#[tokio::test]
async fn a_kill_switch_ends_acting_and_keeps_it_ended() {
    let world = World::new().await;
    let grant = lent(&world, &world.member("acme", "vera", &["viewer"])).await;
    let anna = world.agent("anna");
    enter(&world, &anna, &grant).await.is(201);
    let stop = |stopped: bool| json!({"stopped": stopped, "reason": "an incident"});
    world.put("PUT", "/v1/tenants/acme/stop", stop(true), &world.admin("acme")).await.is(200);
    enter(&world, &anna, &grant).await.refused(403, "stopped");
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    world.clock.advance(1_000);
    world.put("PUT", "/v1/tenants/acme/stop", stop(false), &world.admin("acme")).await.is(200);
    assert_eq!(world.inside("acme").await, Vec::<String>::new(), "what it ended stays ended");
    enter(&world, &anna, &grant).await.is(201);
}

/// A request with this token comes to the door, and so often it is written down by now that somebody was seen.
async fn passes(world: &World, who: &Who, times: usize) {
    let Who::Known(subject) = who else { panic!("no token") };
    world.engine.saw(subject, world.engine.wall());
    let seen = |world: &World| {
        let records = world.records().into_iter().filter(|record| record["kind"] == "change.outcome");
        records.filter(|record| record["events"].to_string().contains("grantor_seen")).count()
    };
    for _ in 0..2000 {
        if seen(world) >= times {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(seen(world), times);
}

/// Rule 5, where roles stand in tokens only: what the last token said, for as long as that is remembered.
// PRA-12
#[tokio::test]
async fn of_whoever_has_no_row_acting_has_what_their_last_token_named_for_as_long_as_that_counts() {
    let world = World::new().await;
    let grant = lent(&world, &world.member("acme", "carl", &["order_clerk", "viewer"])).await;
    let session = enter(&world, &world.agent("anna"), &grant).await.is(201).body["session"].clone();
    assert_eq!(session["rights"], json!(["orders:read", "orders:write"]));
    let path = format!("/v1/tenants/acme/sessions/{}", session["id"].as_str().unwrap());
    let rights = async || world.get(&path, &world.agent("anna")).await.is(200).body["rights"].clone();
    // A token that names less takes it away at once; one that names more gives it, at the next look.
    passes(&world, &world.member("acme", "carl", &["viewer"]), 1).await;
    assert_eq!(rights().await, json!(["orders:read"]));
    world.clock.advance(HOUR);
    passes(&world, &world.member("acme", "carl", &["admin", "viewer"]), 2).await;
    let held = rights().await;
    assert!(held.as_array().unwrap().contains(&json!("integrations:delete")), "{held}");
    assert!(!held.as_array().unwrap().contains(&json!("users:manage")), "the ceiling: {held}");
    // Not seen for a day, nobody knows what they may do, so acting as them does nothing.
    world.clock.advance(DAY);
    let over = world.get(&path, &world.agent("anna")).await.is(200).body["over"].clone();
    assert_eq!(over["code"], "grantor_unknown");
    enter(&world, &world.agent("ben"), &grant).await.refused(403, "grant_gives_nothing");
}

#[tokio::test]
async fn a_removed_tenant_takes_none_and_its_members_index_stays_small() {
    let world = World::new().await;
    let vera = world.member("acme", "vera", &["viewer"]);
    for _ in 0..40 {
        lend(&world, &vera, "help_desk", week()).await.is(201);
    }
    let told = world.told();
    let lent: Vec<_> = told
        .iter()
        .filter_map(|(key, stored)| match (key, &stored.heads[0].document) {
            (Key::Presence(of, person), Document::Presence(presence))
                if *of == tenant("acme") && &*person.sub == "vera" =>
            {
                Some(presence.lent.len())
            }
            _ => None,
        })
        .collect();
    assert_eq!(lent, [1]);
    let standing = world.get("/v1/tenants/acme/grants", &world.admin("acme")).await.is(200).body;
    assert_eq!(standing["items"].as_array().unwrap().len(), 1);
}
