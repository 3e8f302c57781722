//! Rule 5: what a grant's giver can do now bounds it, by their last token where roles stand in tokens, and for a day.

use postern::{
    engine::knock::Who,
    model::{
        ChangeId, Document, EnvironmentId, Grant, GrantId, Grantee, IssuerName, Key, RoleName, Scope, Stored,
        SubjectRef, Version,
    },
    state::{Commit, Store as _},
};
use serde_json::{Value, json};

use super::support::{DAY, HOUR, World, tenant};

const MINUTE: i64 = 60_000;

/// A request with this token comes to the door.
fn passes(world: &World, who: &Who) {
    let Who::Known(subject) = who else { panic!("no token") };
    world.engine.saw(subject, world.engine.wall());
}

/// How often it was written down that a giver was seen.
fn sightings(world: &World) -> Vec<Value> {
    let records = world.records().into_iter().filter(|record| record["kind"] == "change.outcome");
    let events = records.flat_map(|record| record["events"].as_array().cloned().unwrap_or_default());
    events.filter(|event| event["event"] == "grantor_seen").collect()
}

/// Waits until it was written down so often.
async fn noted(world: &World, times: usize) {
    for _ in 0..2000 {
        if sightings(world).len() >= times {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(sightings(world).len(), times);
}

/// Nothing is on its way to be written down: whatever a sighting starts is done before a later change of its own.
async fn nothing_noted(world: &World, times: usize) {
    world.consent("globex", "full").await;
    world.consent("globex", "read_only").await;
    assert_eq!(sightings(world).len(), times);
}

async fn session(world: &World, id: &str) -> Value {
    world.get(&format!("/v1/tenants/acme/sessions/{id}"), &world.agent("anna")).await.is(200).body
}

async fn giver(world: &World, grant: &str) -> Value {
    let path = format!("/v1/tenants/acme/grants/{grant}");
    world.get(&path, &world.agent("anna")).await.is(200).body["giver"].clone()
}

async fn inside(world: &World) -> (String, String) {
    let grant = world.granted("acme", json!("support"), "order_clerk").await;
    let entered = world.enter_by("acme", &grant, &world.agent("anna")).await.is(201);
    (grant, entered.body["session"]["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_grant_gives_nothing_a_day_after_its_giver_was_seen_and_gives_again_when_they_are() {
    let world = World::new().await;
    let (grant, id) = inside(&world).await;
    assert_eq!(giver(&world, &grant).await, json!({"counts": true, "until": "2026-03-28T11:00:00.000Z"}));
    world.clock.advance(DAY - 1);
    assert_eq!(session(&world, &id).await["rights"], json!(["orders:read", "orders:write"]));
    world.clock.advance(1);
    let lapsed = session(&world, &id).await;
    assert_eq!((&lapsed["active"], &lapsed["over"]["code"]), (&json!(false), &json!("grantor_unknown")));
    assert_eq!(lapsed["over"]["at"], "2026-03-28T11:00:00.000Z");
    assert_eq!(giver(&world, &grant).await, json!({"counts": false, "code": "grantor_unknown"}));
    let refused =
        world.enter_by("acme", &grant, &world.agent("anna")).await.refused(403, "grant_gives_nothing");
    assert!(refused.body["detail"].as_str().unwrap().contains("not seen"), "{}", refused.body);
    assert_eq!(sightings(&world).len(), 0, "nobody ended anything: it is worked out each time");
    // They sign in again: the session, which is not over, goes on.
    passes(&world, &world.admin("acme"));
    noted(&world, 1).await;
    let again = session(&world, &id).await;
    assert_eq!((&again["active"], &again["rights"]), (&json!(true), &json!(["orders:read", "orders:write"])));
    assert_eq!(giver(&world, &grant).await["until"], "2026-03-29T11:00:00.000Z");
}

#[tokio::test]
async fn what_a_givers_token_no_longer_names_is_gone_at_once_and_comes_back_slowly() {
    let world = World::new().await;
    let (_, id) = inside(&world).await;
    let rights = async || session(&world, &id).await["rights"].clone();
    let with = |roles: &[&str]| world.member("acme", "admin-of-acme", roles);
    world.clock.advance(MINUTE);
    passes(&world, &with(&["viewer"]));
    noted(&world, 1).await;
    assert_eq!(rights().await, json!(["orders:read"]));
    // An older token of theirs, or a new one that names more, is believed a few minutes after the last was written down.
    passes(&world, &with(&["admin"]));
    nothing_noted(&world, 1).await;
    assert_eq!(rights().await, json!(["orders:read"]));
    world.clock.advance(4 * MINUTE);
    passes(&world, &with(&["admin"]));
    noted(&world, 2).await;
    assert_eq!(rights().await, json!(["orders:read", "orders:write"]));
    passes(&world, &with(&[]));
    noted(&world, 3).await;
    assert_eq!(rights().await, json!([]));
    // Of the change itself both is written down: who, by which token, and what it came to.
    let seen = world.record(|r| r["kind"] == "change.intent" && r["command"] == "see_grantor").await;
    assert_eq!(seen["subject"], json!({"issuer": "members", "sub": "admin-of-acme"}));
}

#[tokio::test]
async fn whoever_passes_often_is_written_down_once_an_hour() {
    let world = World::new().await;
    inside(&world).await;
    let admin = world.admin("acme");
    for _ in 0..59 {
        world.clock.advance(MINUTE);
        passes(&world, &admin);
        passes(&world, &admin);
    }
    nothing_noted(&world, 0).await;
    world.clock.advance(MINUTE);
    passes(&world, &admin);
    noted(&world, 1).await;
    // Many tokens at once, and the same one on many cores.
    world.clock.advance(HOUR);
    for _ in 0..50 {
        passes(&world, &world.admin("acme"));
    }
    noted(&world, 2).await;
    nothing_noted(&world, 2).await;
}

#[tokio::test]
async fn only_a_givers_own_token_counts_as_a_sighting_and_of_others_nothing_is_kept() {
    let world = World::new().await;
    inside(&world).await;
    world.clock.advance(2 * HOUR);
    let acting = json!({"act": {"sub": "somebody"}});
    for who in [
        world.member("acme", "another", &["admin"]),
        world.member("globex", "admin-of-acme", &["admin"]),
        world.member_with("acme", "admin-of-acme", &["admin"], acting),
        world.rower("acme", "admin-of-acme"),
        world.agent("admin-of-acme"),
        world.crm(),
    ] {
        passes(&world, &who);
    }
    nothing_noted(&world, 0).await;
    let found = world.store.list(&tenant("acme"), postern::model::Kind::Grantor, None, 10).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        world
            .store
            .list(&tenant("globex"), postern::model::Kind::Grantor, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_giver_is_noticed_after_a_restart_and_while_their_grant_stands_only() {
    let world = World::new().await;
    let (grant, _) = inside(&world).await;
    let world = world.restarted().await;
    world.clock.advance(2 * HOUR);
    passes(&world, &world.admin("acme"));
    noted(&world, 1).await;
    assert_eq!(giver(&world, &grant).await["until"], "2026-03-28T13:00:00.000Z");
    // Ten days on the grant is over: nobody needs to know any more.
    world.clock.advance(11 * DAY);
    passes(&world, &world.admin("acme"));
    nothing_noted(&world, 1).await;
}

/// Grants of builds that remembered nobody.
#[tokio::test]
async fn a_grant_whose_giver_nobody_remembers_gives_nothing_until_they_are_seen() {
    let world = World::new().await;
    let (id, change) = (GrantId::new("gra_old").unwrap(), ChangeId::new("chg_old").unwrap());
    let key = Key::Grant(tenant("acme"), id);
    let document = Document::Grant(Grant {
        environment: EnvironmentId::new("production").unwrap(),
        to: Grantee::Support,
        bound: None,
        role: Some(RoleName::new("order_clerk").unwrap()),
        act_as: None,
        scope: Scope::Everything,
        grantor: SubjectRef { issuer: IssuerName::new("members").unwrap(), sub: "admin-of-acme".into() },
        grantor_mail: None,
        grantor_row_mail: None,
        prolonged_by: Default::default(),
        given_as: Default::default(),
        given: world.engine.now(),
        until: world.engine.now().plus_ms(10 * DAY),
        ended: None,
    });
    let commit = Commit {
        since: Default::default(),
        change: change.clone(),
        at: world.engine.now(),
        read: vec![(key.clone(), Version::NONE)],
        write: vec![(key, Stored::after(None, change, document))],
    };
    world.store.commit(commit).await.unwrap();
    // Nobody asked for them yet.
    passes(&world, &world.admin("acme"));
    nothing_noted(&world, 0).await;
    world.enter_by("acme", "gra_old", &world.agent("anna")).await.refused(403, "grant_gives_nothing");
    passes(&world, &world.admin("acme"));
    noted(&world, 1).await;
    world.enter_by("acme", "gra_old", &world.agent("anna")).await.is(201);
}

#[tokio::test]
async fn where_the_store_takes_nothing_what_a_token_lacks_still_acts_at_once() {
    let world = World::new().await;
    let (_, id) = inside(&world).await;
    world.clock.advance(MINUTE);
    world.store.no_commits.store(true, std::sync::atomic::Ordering::SeqCst);
    passes(&world, &world.member("acme", "admin-of-acme", &["viewer"]));
    world.record(|r| r["kind"] == "change.intent" && r["command"] == "see_grantor").await;
    assert_eq!(session(&world, &id).await["rights"], json!(["orders:read"]));
    // And stays so, whatever becomes of this gateway.
    let world = world.restarted().await;
    assert_eq!(session(&world, &id).await["rights"], json!(["orders:read"]));
}

#[tokio::test]
async fn who_prolongs_their_own_grant_was_seen_and_who_shortens_it_changes_nothing() {
    let world = World::new().await;
    let (grant, _) = inside(&world).await;
    let path = format!("/v1/tenants/acme/grants/{grant}");
    let shift = async |body: Value, who: Who| {
        world.clock.advance(MINUTE);
        world.put("PATCH", &path, body, &who).await.is(200).body["grant"]["giver"]["until"].clone()
    };
    assert_eq!(shift(json!({"for": "20d"}), world.admin("acme")).await, "2026-03-28T11:01:00.000Z");
    assert_eq!(shift(json!({"for": "5d"}), world.admin("acme")).await, "2026-03-28T11:01:00.000Z");
    // Another one's prolonging says nothing of whoever gave it.
    let other = world.member("acme", "another", &["admin"]);
    assert_eq!(shift(json!({"for": "9d"}), other).await, "2026-03-28T11:01:00.000Z");
}
