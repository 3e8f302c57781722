//! When store or ledger misbehave at the worst moment: nothing that was answered is forgotten, and nothing is written
//! without end.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use postern::{
    audit::journal::OpenIntent,
    model::{ChangeId, Document, Key, LevelName, Stored},
    state::{Commit, Store},
};
use serde_json::json;

use crate::support::{DAY, Wish, World, tenant};

/// Lets whatever runs beside this test run.
async fn let_run() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_narrowing_that_waits_outlasts_a_store_that_cannot_be_read() {
    let world = World::new().await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    let id = world.started("acme", &anna).await;
    let path = format!("/v1/tenants/acme/sessions/{id}");
    world.store.no_commits.store(true, SeqCst);
    world.delete(&path, &admin).await.is(202);
    // Now it is not even readable, and the mender tries.
    world.store.no_reads.store(true, SeqCst);
    let mending = tokio::spawn(Arc::clone(&world.engine).keep_mending());
    let_run().await;
    assert_eq!(world.engine.pending(), 1, "what was answered 202 is not given up");
    world.store.no_reads.store(false, SeqCst);
    world.store.no_commits.store(false, SeqCst);
    world.record(|r| r["kind"] == "change.outcome" && r["events"][0]["event"] == "session_ended").await;
    mending.abort();
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    let world = world.restarted().await;
    assert_eq!(world.inside("acme").await, Vec::<String>::new(), "nothing withdrawn comes back");
}

#[tokio::test]
async fn a_narrowing_that_waits_for_the_store_does_not_eat_the_ledgers_reserve() {
    let world = World::new().await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    let id = world.started("acme", &anna).await;
    world.store.no_commits.store(true, SeqCst);
    world.delete(&format!("/v1/tenants/acme/sessions/{id}"), &admin).await.is(202);
    let before = world.journal.status().size;
    let mending = tokio::spawn(Arc::clone(&world.engine).keep_mending());
    // Some tries, however fast they are.
    tokio::time::sleep(std::time::Duration::from_millis(900)).await;
    assert!(world.journal.status().size <= before + 1, "a try writes nothing until it succeeds");
    world.store.no_commits.store(false, SeqCst);
    world.record(|r| r["kind"] == "change.outcome" && r["events"][0]["event"] == "session_ended").await;
    mending.abort();
    let about = |kind: &str| {
        let of = |r: &serde_json::Value| r["kind"] == kind && r["session"] == id.as_str();
        world.records().iter().filter(|r| of(r)).count()
    };
    assert_eq!((about("change.intent"), about("change.outcome")), (2, 2), "a start and an end");
    // A record can be read a moment before the status counts it.
    for _ in 0..2000 {
        if world.journal.status().open_intents == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert_eq!(world.journal.status().open_intents, 0);
}

#[tokio::test]
async fn a_narrowing_that_another_hand_made_needless_leaves_no_intent_open() {
    let world = World::new().await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    let id = world.started("acme", &anna).await;
    world.store.no_commits.store(true, SeqCst);
    world.delete(&format!("/v1/tenants/acme/sessions/{id}"), &admin).await.is(202);
    world.store.no_commits.store(false, SeqCst);
    // Somebody else, who knows nothing of it, ends the same session in the store.
    let key = Key::Session(tenant("acme"), postern::model::SessionId::new(&id).unwrap());
    let before = world.store.load(std::slice::from_ref(&key)).await.unwrap().pop().unwrap().unwrap().unwrap();
    let Document::Session(mut session) = before.heads[0].document.clone() else { panic!("a session") };
    session.ended = Some(postern::model::End {
        at: world.engine.now(),
        cause: postern::model::EndCause::Ended,
        by: None,
    });
    behind_its_back(&world, "chg_elsewhere", key, Document::Session(session)).await;
    let mending = tokio::spawn(Arc::clone(&world.engine).keep_mending());
    for _ in 0..2000 {
        if world.engine.pending() == 0 && world.journal.status().open_intents == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    mending.abort();
    assert_eq!((world.engine.pending(), world.journal.status().open_intents), (0, 0));
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_promised_narrowing_outlasts_its_givers_right() {
    let world = World::new().await;
    let (anna, olga, otto) = (world.agent("anna"), world.agent("olga"), world.agent("otto"));
    world.started("acme", &anna).await;
    let stop = |sub: &str| json!({"reach": {"person": {"issuer": "staff", "sub": sub}}, "stopped": true, "reason": "an incident"});
    world.store.no_commits.store(true, SeqCst);
    world.put("PUT", "/v1/stops", stop("anna"), &otto).await.is(202);
    world.store.no_commits.store(false, SeqCst);
    // Before the first is stored, whoever gave it may give nothing any more.
    world.put("PUT", "/v1/stops", stop("otto"), &olga).await.is(200);
    assert_eq!(world.engine.mend_once().await, 0);
    world.start("acme", &anna).await.refused(403, "stopped");
    let world = world.restarted().await;
    let anna = world.agent("anna");
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
    world.start("acme", &anna).await.refused(403, "stopped");
    let outcomes = world.records();
    let of_anna = |r: &&serde_json::Value| {
        r["kind"] == "change.outcome"
            && r.to_string().contains("\"sub\":\"anna\"")
            && r.to_string().contains("stopped")
    };
    assert_eq!(outcomes.iter().filter(of_anna).count(), 1, "it has its outcome, once");
    assert_eq!(world.journal.status().open_intents, 0);
}

/// Commits as another gateway would, or as a commit of our own of whose end nobody heard.
async fn behind_its_back(world: &World, change: &str, key: Key, document: Document) {
    let before = world.store.load(std::slice::from_ref(&key)).await.unwrap().pop().unwrap().unwrap().unwrap();
    let change = ChangeId::new(change).unwrap();
    let after = Stored::after(Some(&before), change.clone(), document);
    let read = vec![(key.clone(), before.version)];
    let commit =
        Commit { since: Default::default(), change, at: world.engine.now(), read, write: vec![(key, after)] };
    world.store.commit(commit).await.unwrap();
}

#[tokio::test]
async fn a_document_that_was_only_read_and_is_stale_is_read_again() {
    let world = World::new().await;
    let anna = world.agent("anna");
    world.started("acme", &anna).await;
    let key = Key::Tenant(tenant("acme"));
    let before = world.store.load(std::slice::from_ref(&key)).await.unwrap().pop().unwrap().unwrap().unwrap();
    let Document::Tenant(mut changed) = before.heads[0].document.clone() else { panic!("a tenant") };
    changed.consent.cap = Some(LevelName::new("limited_edit").unwrap());
    behind_its_back(&world, "chg_elsewhere", key, Document::Tenant(changed)).await;
    let started = world.start("acme", &anna).await.is(201);
    assert_eq!(started.body["session"]["role"], "support_editor", "the tenant's choice of now");
}

#[tokio::test]
async fn refused_changes_are_counted_past_a_rate_and_do_not_fill_the_ledger() {
    let world = World::new().await;
    let (anna, admin) = (world.agent("anna"), world.admin("globex"));
    world.consent("globex", "block").await;
    let before = world.journal.status().size;
    for _ in 0..100 {
        world.start("globex", &anna).await.refused(403, "consent_closes");
        let body = json!({"environment": "production", "to": "support", "role": "nobody", "scope": "everything", "for": "1d"});
        world.put("POST", "/v1/tenants/globex/grants", body, &admin).await.refused(422, "role_unknown");
    }
    let sweeping = tokio::spawn(Arc::clone(&world.engine).keep_sweeping());
    world.clock.advance(61_000);
    let counts = world.record(|r| r["kind"] == "access.refusals").await;
    sweeping.abort();
    let records = world.journal.status().size - before;
    assert!(records <= 50, "{records} records");
    let refused = |reason: &str| {
        let one_by_one =
            world.records().iter().filter(|r| r["kind"] == "change.refused" && r["reason"] == reason).count();
        let counted = counts["counts"].as_array().unwrap().iter().filter(|c| c["reason"] == reason);
        one_by_one as u64 + counted.map(|c| c["times"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((refused("consent_closes"), refused("role_unknown")), (100, 100), "none is forgotten");
}

/// Settling that fails half-way begins where it stopped: what it wrote it does not write again, every half second, into
/// the reserve of a ledger that may be full.
#[tokio::test]
async fn whoever_is_refused_all_the_time_hides_nobody() {
    let world = World::new().await;
    world.consent("globex", "block").await;
    let (anna, ben, admin) = (world.agent("anna"), world.agent("ben"), world.admin("globex"));
    let grant = json!({"environment": "production", "to": "support", "role": "nobody", "scope": "everything", "for": "1d"});
    for _ in 0..100 {
        world
            .put("POST", "/v1/tenants/globex/grants", grant.clone(), &admin)
            .await
            .refused(422, "role_unknown");
        world.start("globex", &anna).await.refused(403, "consent_closes");
    }
    world.start("globex", &ben).await.refused(403, "consent_closes");
    let refused = world.record(|r| r["kind"] == "change.refused" && r["subject"]["sub"] == "ben").await;
    assert_eq!((&refused["tenant"], &refused["reason"]), (&json!("globex"), &json!("consent_closes")));
    let sweeping = tokio::spawn(Arc::clone(&world.engine).keep_sweeping());
    world.clock.advance(61_000);
    let counts = world.record(|r| r["kind"] == "access.refusals").await;
    sweeping.abort();
    let anna = counts["counts"].as_array().unwrap().iter().find(|count| count["network"] == "staff").unwrap();
    assert_eq!(
        (&anna["tenant"], anna["times"].as_u64()),
        (&json!("globex"), Some(90)),
        "the tenant is named"
    );
}

#[tokio::test]
async fn settling_again_writes_no_outcome_twice() {
    let world = World::with(Wish { settle: false, ..Wish::default() }).await;
    let intent = |id: &str, kind: &str| OpenIntent {
        id: id.to_owned(),
        seq: 1,
        kind: kind.to_owned(),
        line: "{}".to_owned(),
    };
    // The ledger takes no outcome of an intent without a name.
    let mut open: std::collections::VecDeque<_> =
        ["exc_a", "exc_b", ""].into_iter().map(|id| intent(id, "access.intent")).collect();
    for _ in 0..3 {
        assert!(world.engine.settle(&mut open).await.is_err());
        assert!(!world.engine.settled());
    }
    let outcomes = world.records().into_iter().filter(|r| r["kind"] == "access.outcome");
    let of: Vec<String> = outcomes.map(|r| r["exchange"].as_str().unwrap().to_owned()).collect();
    assert_eq!(of, ["exc_a", "exc_b"]);
}

/// Deadlines of documents that cannot be read stay due for ever; they keep nobody else's from being written down.
#[tokio::test]
async fn what_cannot_be_read_holds_up_no_other_expiry() {
    const DAMAGED: usize = 257;
    let world = World::new().await;
    let mut damaged = Vec::new();
    for _ in 0..DAMAGED {
        let grant = world.granted("acme", json!("support"), "viewer").await;
        damaged.push(Key::Grant(tenant("acme"), postern::model::GrantId::new(&grant).unwrap()));
    }
    world.clock.advance(1000);
    let last = world.granted("acme", json!("support"), "viewer").await;
    world.store.damaged.lock().unwrap().extend(damaged);
    let world = world.restarted().await;
    world.clock.advance(11 * DAY);
    world.engine.sweep_due().await;
    world
        .record(|r| {
            let ended = r["kind"] == "change.outcome" && r["events"][0]["event"] == "grant_ended";
            ended && r["events"][0]["grant"] == last.as_str()
        })
        .await;
}
