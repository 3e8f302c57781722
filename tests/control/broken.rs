//! When something is broken: what narrows still acts at once and says what it waits for; nothing unreadable is passed
//! over; no other change happens.

use std::sync::{Arc, atomic::Ordering};

use postern::{
    model::{Document, GrantId, IssuerName, Key, LevelName, SessionId, SubjectRef},
    policy::OnLower,
    state::Store,
};
use serde_json::json;

use super::support::{HOUR, Wish, World, tenant};

#[tokio::test]
async fn before_the_past_is_settled_nothing_but_me_is_answered() {
    let world = World::with(Wish { settle: false, ..Wish::default() }).await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    world.get("/v1/tenants/acme/consent", &admin).await.refused(503, "settling");
    world
        .put("PUT", "/v1/tenants/acme/consent", json!({"level": "full"}), &admin)
        .await
        .refused(503, "settling");
    // What takes something away waits for nothing.
    world.put("PUT", "/v1/tenants/acme/consent", json!({"level": "block"}), &admin).await.is(200);
    let answer = world.start("acme", &anna).await.refused(503, "settling");
    assert_eq!(answer.headers["retry-after"], "1");
    world.get("/v1/me", &anna).await.is(200);
    world.engine.settle(&mut world.recovered.open_intents.clone().into()).await.unwrap();
    world.start("acme", &anna).await.refused(403, "consent_closes");
    world.started("globex", &anna).await;
}

#[tokio::test]
async fn while_the_store_takes_nothing_a_removal_acts_at_once_and_answers_202() {
    let world = World::new().await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    let id = world.started("acme", &anna).await;
    let grant = world.granted("acme", json!("support"), "viewer").await;
    world.enter_by("acme", &grant, &anna).await.is(201);
    world.store.no_commits.store(true, Ordering::SeqCst);
    let path = format!("/v1/tenants/acme/sessions/{id}");
    let removed = world.delete(&path, &admin).await.is(202);
    assert_eq!(removed.body["outcome"]["durable"], false);
    assert_eq!(removed.body["outcome"]["waiting"], json!(["store"]));
    assert_eq!(removed.body["session"]["over"]["cause"], "removed");
    let withdrawn = world.delete(&format!("/v1/tenants/acme/grants/{grant}"), &admin).await.is(202);
    assert_eq!(withdrawn.body["grant"]["over"]["cause"], "withdrawn");
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    let lowered =
        world.put("PUT", "/v1/tenants/acme/consent", json!({"level": "block"}), &admin).await.is(202);
    assert_eq!(lowered.body["consent"]["in_force"]["level"], "block");
    assert_eq!(lowered.headers.get("etag"), None, "no version bears it yet");
    world.start("acme", &anna).await.refused(403, "consent_closes");
    // What widens waits for the store, and says that nothing was changed; all the more on top of what waits.
    let refused = world.put("PUT", "/v1/tenants/acme/consent", json!({"level": "full"}), &admin).await;
    refused.refused(503, "change_waiting");
    let globex = world.admin("globex");
    let refused = world.put("PUT", "/v1/tenants/globex/consent", json!({"level": "full"}), &globex).await;
    refused.refused(503, "state_unavailable");
    world.store.no_commits.store(false, Ordering::SeqCst);
    let mending = tokio::spawn(Arc::clone(&world.engine).keep_mending());
    for what in ["session_ended", "grant_ended", "consent_changed"] {
        world.record(|r| r["kind"] == "change.outcome" && r["events"][0]["event"] == what).await;
    }
    mending.abort();
    let again = world.delete(&path, &admin).await.is(200);
    assert_eq!(again.body["had_ended"], true);
    let body = world.get("/v1/tenants/acme/consent", &admin).await.is(200).body;
    assert_eq!(body["choice"], "block");
}

#[tokio::test]
async fn without_a_ledger_nothing_widens_and_what_narrows_acts() {
    let world = World::new().await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    let id = world.started("acme", &anna).await;
    let grant = world.granted("acme", json!("support"), "viewer").await;
    world.journal.close();
    // A millisecond earlier, and again: what can be asked for without end uses nothing that is set aside for ends.
    let path = format!("/v1/tenants/acme/grants/{grant}");
    world.put("PATCH", &path, json!({"for": "1h"}), &admin).await.refused(503, "ledger_stopped");
    world.delete(&path, &admin).await.is(202);
    let widened = world.put("PUT", "/v1/tenants/acme/consent", json!({"level": "full"}), &admin).await;
    widened.refused(503, "ledger_stopped");
    world.start("acme", &world.agent("ben")).await.refused(503, "ledger_stopped");
    let removed = world.delete(&format!("/v1/tenants/acme/sessions/{id}"), &admin).await.is(202);
    // The store works, so the end is there.
    assert_eq!(removed.body["outcome"]["waiting"], json!(["ledger"]));
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    let body = world.get("/v1/tenants/acme/consent", &admin).await.is(200).body;
    assert_eq!(body["choice"], "read_only");
    // And stays so, whatever becomes of this gateway.
    let world = world.restarted().await;
    assert_eq!(world.inside("acme").await, Vec::<String>::new(), "nothing withdrawn comes back");
}

/// The intent of what was answered 202 holds what was to be written.
#[tokio::test]
async fn what_was_taken_away_while_the_store_took_nothing_outlasts_a_restart() {
    let world = World::new().await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    let id = world.started("acme", &anna).await;
    let grant = world.granted("acme", json!("support"), "viewer").await;
    world.store.no_commits.store(true, Ordering::SeqCst);
    world.delete(&format!("/v1/tenants/acme/sessions/{id}"), &admin).await.is(202);
    world.delete(&format!("/v1/tenants/acme/grants/{grant}"), &admin).await.is(202);
    world.put("PUT", "/v1/tenants/acme/consent", json!({"level": "block"}), &admin).await.is(202);
    // Twice: the store still takes nothing when the gateway is back.
    let world = world.restarted().await.restarted().await;
    assert_eq!(world.engine.pending(), 3);
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    world.start("acme", &anna).await.refused(403, "consent_closes");
    let gone = world.get(&format!("/v1/tenants/acme/grants/{grant}"), &admin).await.is(200);
    assert_eq!(gone.body["over"]["cause"], "withdrawn", "{}", gone.body);
    world.store.no_commits.store(false, Ordering::SeqCst);
    assert_eq!(world.engine.mend_once().await, 0);
    for what in ["session_ended", "grant_ended", "consent_changed"] {
        let stored = world.record(|r| r["outcome"] == "stored" && r["events"][0]["event"] == what).await;
        assert_eq!(stored["settled"], true);
        assert!(!stored["documents"].as_array().unwrap().is_empty());
    }
    let world = world.restarted().await;
    assert_eq!((world.engine.pending(), world.recovered.open_intents.len()), (0, 0));
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    assert_eq!(
        world.get("/v1/tenants/acme/consent", &world.admin("acme")).await.is(200).body["choice"],
        "block"
    );
}

/// Memory first: an end does not wait for a disk that stalls, and neither does its answer.
#[tokio::test]
async fn a_removal_does_not_wait_for_a_store_that_stalls() {
    let world = World::new().await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    let id = world.started("acme", &anna).await;
    let path = format!("/v1/tenants/acme/sessions/{id}");
    world.store.stall(true);
    let removing = world.delete(&path, &admin);
    tokio::pin!(removing);
    // It hangs in the store; it is in force all the same.
    let key = Key::Session(tenant("acme"), SessionId::new(&id).unwrap());
    let ended = async {
        loop {
            if let postern::policy::Fact::Found(found) = world.engine.fact(&key).await
                && let postern::model::Document::Session(session) = &found.document
                && session.ended.is_some()
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = &mut removing => panic!("answered before it was looked at: {answer:?}"),
        () = ended => {}
    }
    let removed = removing.await.is(202);
    assert_eq!(removed.body["outcome"]["waiting"], json!(["store"]));
    assert_eq!(world.engine.pending(), 1);
    world.store.stall(false);
    world.record(|r| r["outcome"] == "stored" && r["events"][0]["event"] == "session_ended").await;
    let again = world.delete(&path, &admin).await.is(200);
    assert_eq!(again.body["had_ended"], true);
    assert_eq!(world.engine.pending(), 0);
}

/// Whoever saw another version is told so, and then nothing of theirs stays in force.
#[tokio::test]
async fn a_lowering_that_was_overtaken_and_is_not_as_it_was_seen_leaves_nothing_behind() {
    let world = World::new().await;
    let admin = world.admin("acme");
    world.consent("acme", "full").await;
    let etag = world.get("/v1/tenants/acme/consent", &admin).await.is(200).etag();
    // Another hand raises the version in the store alone.
    let key = Key::Tenant(tenant("acme"));
    let before = world.store.load(std::slice::from_ref(&key)).await.unwrap().pop().unwrap().unwrap().unwrap();
    let change = postern::model::ChangeId::new("chg_elsewhere").unwrap();
    let after =
        postern::model::Stored::after(Some(&before), change.clone(), before.heads[0].document.clone());
    let read = vec![(key.clone(), before.version)];
    let commit = postern::state::Commit {
        since: Default::default(),
        change,
        at: world.engine.now(),
        read,
        write: vec![(key, after)],
    };
    world.store.commit(commit).await.unwrap();
    let body = json!({"level": "block"}).to_string();
    let headers = [("content-type", "application/json"), ("if-match", etag.as_str())];
    let refused = world.call("PUT", "/v1/tenants/acme/consent", &headers, &body, &admin).await;
    refused.refused(412, "changed");
    assert_eq!(world.engine.pending(), 0);
    let body = world.get("/v1/tenants/acme/consent", &admin).await.is(200).body;
    assert_eq!(body["choice"], "full");
    world.record(|r| r["kind"] == "change.outcome" && r["outcome"] == "overtaken").await;
}

#[tokio::test]
async fn whoever_is_always_overtaken_is_told_to_try_again() {
    let world = World::new().await;
    world.store.conflicts.store(true, Ordering::SeqCst);
    let answer = world.start("acme", &world.agent("anna")).await.refused(503, "contended");
    assert_eq!(answer.headers["retry-after"], "1");
    world.store.conflicts.store(false, Ordering::SeqCst);
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_503_and_never_an_empty_list() {
    let world = World::new().await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    world.started("acme", &anna).await;
    world.store.no_reads.store(true, Ordering::SeqCst);
    for path in ["/v1/tenants/acme/sessions", "/v1/tenants/acme/grants"] {
        world.get(path, &admin).await.refused(503, "store_unavailable");
    }
    world.get("/v1/tenants/acme/sessions/ses_unseen", &admin).await.refused(503, "state_unavailable");
    world.get("/v1/tenants/globex/sessions", &anna).await.refused(503, "state_unavailable");
    // A change of consent that can still be made in memory says that its lists are missing.
    let lowered =
        world.put("PUT", "/v1/tenants/acme/consent", json!({"level": "block"}), &admin).await.is(202);
    assert_eq!(lowered.body["stays_in_force"]["fault"], "store_unavailable");
    assert_eq!(lowered.body["consent"]["choice"], "block");
}

#[tokio::test]
async fn what_cannot_be_read_is_shown_as_such_with_a_code() {
    let world = World::new().await;
    let admin = world.admin("acme");
    let (anna, ben) = (world.agent("anna"), world.agent("ben"));
    let good = world.started("acme", &anna).await;
    let bad = world.started("acme", &ben).await;
    let person = SubjectRef { issuer: IssuerName::new("staff").unwrap(), sub: "cora".into() };
    world.started("acme", &world.agent("cora")).await;
    let grant = world.granted("acme", json!("support"), "viewer").await;
    world.store.damaged.lock().unwrap().extend([
        Key::Session(tenant("acme"), SessionId::new(&bad).unwrap()),
        Key::Presence(tenant("acme"), person),
        Key::Grant(tenant("acme"), GrantId::new(&grant).unwrap()),
    ]);
    // The cells still know the documents; another gateway, or this one after a restart, does not.
    let world = world.restarted().await;
    let body = world.get("/v1/tenants/acme/sessions", &admin).await.is(200).body;
    let damaged = "store_document_damaged";
    assert_eq!(body["items"][0]["id"], good.as_str());
    assert_eq!((&body["items"][1]["id"], &body["items"][1]["unreadable"]), (&json!(bad), &json!(damaged)));
    assert_eq!(
        body["items"][2],
        json!({"person": {"issuer": "staff", "sub": "cora"}, "unreadable": damaged})
    );
    assert_eq!(body["standing_grants"]["items"], json!([{"id": grant, "unreadable": damaged}]));
    world.get(&format!("/v1/tenants/acme/grants/{grant}"), &admin).await.refused(503, "state_unavailable");
    let own = world.get("/v1/tenants/acme/grants", &anna).await.is(200);
    assert_eq!(own.body["items"], json!([]), "whose it is cannot be told");
    let stays = world.consent("acme", "block").await.body["stays_in_force"].clone();
    assert_eq!(stays["sessions"]["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn with_the_clock_behind_the_record_staff_are_refused_and_what_a_tenant_takes_back_stays_so() {
    let world = World::with(Wish { on_lower: OnLower::Immediate, ..Wish::default() }).await;
    let anna = world.agent("anna");
    world.started("acme", &anna).await;
    let world = world.restarted().await;
    world.clock.advance(-HOUR);
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    world.get("/v1/tenants/acme/sessions", &anna).await.refused(503, "clock_behind");
    world.put("PUT", "/v1/tenants/acme/consent", json!({"level": "block"}), &admin).await.is(200);
    world.get("/v1/tenants/acme/consent", &admin).await.is(200);
    world.get("/v1/me", &anna).await.is(200);
    // Once the clock is right again the session stays ended, also when the level rises.
    world.clock.advance(HOUR + 1000);
    world.consent("acme", "read_only").await;
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
}

/// A session that was ended is not carried from segment to segment.
#[tokio::test]
async fn the_ledger_counts_no_session_on_that_was_ended() {
    use postern::audit::{Body, Draft, read};
    let world = World::new().await;
    let (admin, anna, ben) = (world.admin("acme"), world.agent("anna"), world.agent("ben"));
    let (ended, kept) = (world.started("acme", &anna).await, world.started("acme", &ben).await);
    world.delete(&format!("/v1/tenants/acme/sessions/{ended}"), &admin).await.is(200);
    // One that replaces another bears its own name, and is counted on.
    let newer = world.started("acme", &ben).await;
    let big = Body::of(&json!({"filler": ["x".repeat(4000), "y".repeat(4000), "z".repeat(4000)]})).unwrap();
    let first = world.journal.status().segment;
    while world.journal.status().segment == first {
        world.journal.append(Draft::new("test.filler", 1, big.clone())).await.unwrap();
    }
    let (_, header) = read::header(&world.ledger(), first + 1).unwrap();
    assert!(header.sessions.contains_key(&kept) && !header.sessions.contains_key(&ended), "{header:?}");
    assert!(header.sessions.contains_key(&newer), "{header:?}");
}

/// A level that is lower now and higher later is nothing that only takes away.
#[tokio::test]
async fn a_raise_that_gives_way_to_a_higher_choice_waits_for_the_store() {
    let world = World::new().await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    let path = "/v1/tenants/acme/consent";
    world.consent("acme", "block").await;
    world.put("PUT", path, json!({"level": "full", "for": "8h"}), &admin).await.is(200);
    let id = world.started("acme", &anna).await;
    world.store.no_commits.store(true, Ordering::SeqCst);
    world.put("PUT", path, json!({"level": "read_only"}), &admin).await.refused(503, "state_unavailable");
    let seen = world.get(&format!("/v1/tenants/acme/sessions/{id}"), &anna).await.is(200).body;
    assert_eq!(seen["active"], true, "and nothing is cut by it");
    // What only takes away acts: a shorter raise, a lower one, none.
    for less in [
        json!({"level": "full", "for": "1h"}),
        json!({"level": "read_only", "for": "1h"}),
        json!({"level": "block"}),
    ] {
        world.put("PUT", path, less, &admin).await.is(202);
    }
}

/// What was to lower and would raise by now, because others went lower still, is decided like what raises.
#[tokio::test]
async fn a_lowering_that_others_went_below_is_no_answer_of_as_wanted_already() {
    let world = World::new().await;
    let (admin, path) = (world.admin("acme"), "/v1/tenants/acme/consent");
    world.consent("acme", "full").await;
    // Another hand closes it in the store alone.
    let key = Key::Tenant(tenant("acme"));
    let before = world.store.load(std::slice::from_ref(&key)).await.unwrap().pop().unwrap().unwrap().unwrap();
    let Document::Tenant(mut closed) = before.heads[0].document.clone() else { panic!() };
    closed.consent.cap = Some(LevelName::new("block").unwrap());
    let change = postern::model::ChangeId::new("chg_elsewhere").unwrap();
    let after = postern::model::Stored::after(Some(&before), change.clone(), Document::Tenant(closed));
    let read = vec![(key.clone(), before.version)];
    let commit = postern::state::Commit {
        since: Default::default(),
        change,
        at: world.engine.now(),
        read,
        write: vec![(key, after)],
    };
    world.store.commit(commit).await.unwrap();
    let answer = world.put("PUT", path, json!({"level": "read_only"}), &admin).await.is(200).body;
    assert_eq!(answer["outcome"]["events"][0]["from"], "block", "{answer}");
    assert_eq!(answer["consent"]["choice"], "read_only");
    assert_eq!(world.engine.pending(), 0);
    assert_eq!(world.get(path, &admin).await.is(200).body["choice"], "read_only");
}

/// A store that was healed has what a change wrote, and knows no place of it.
#[tokio::test]
async fn what_became_of_a_change_is_asked_until_the_store_says_and_told_by_its_documents_too() {
    let world = World::new().await;
    for (tenant, knows_ids) in [("globex", true), ("acme", false)] {
        let (admin, path) = (world.admin(tenant), format!("/v1/tenants/{tenant}/consent"));
        world.store.no_answers.store(true, Ordering::SeqCst);
        let refused = world.put("PUT", &path, json!({"level": "full"}), &admin).await;
        refused.refused(503, "state_unavailable");
        let given = |r: &serde_json::Value| r["command"] == "set_consent" && r["tenant"] == tenant;
        let intent = world.record(given).await;
        assert_eq!(world.engine.ask_once().await, 1, "nobody knows yet");
        world.store.no_answers.store(false, Ordering::SeqCst);
        world.store.no_ids.store(!knows_ids, Ordering::SeqCst);
        assert_eq!(world.engine.ask_once().await, 0);
        let of_it = |r: &serde_json::Value| r["kind"] == "change.outcome" && r["change"] == intent["change"];
        let outcome = world.record(of_it).await;
        assert_eq!(outcome["outcome"], "stored", "{outcome}");
        assert_eq!(outcome["position"].is_u64(), knows_ids, "{outcome}");
        assert_eq!(outcome["events"], intent["events"], "{outcome}");
        assert_eq!(outcome["documents"].as_array().unwrap().len(), 1, "{outcome}");
        assert_eq!(world.get(&path, &admin).await.is(200).body["choice"], "full");
        assert_eq!(world.engine.ask_once().await, 0);
        assert_eq!(world.records().iter().filter(|record| of_it(record)).count(), 1);
    }
}
