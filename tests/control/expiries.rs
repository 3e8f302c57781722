//! Ends that nobody makes: each is written down once, by however many gateways look for it, and with the instant at which it
//! took effect, however late that is.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use postern::{
    engine::{
        Clock as _, Engine,
        hooks::{Hooks, Step},
    },
    model::{ChangeId, Document, Grant, Grantee, Key, Scope, Stored, SubjectRef, Version},
    policy::OnLower,
    state::Commit,
};
use serde_json::{Value, json};

use super::support::{HOUR, Wish, World};

/// Two hours after the start of a world.
const OVER: &str = "2026-03-27T13:00:00.000Z";

/// What ends in two hours by itself: a grant, a raise of consent, three sessions; and in twelve, a request that nobody answers.
async fn what_ends(world: &World) {
    let terms = json!({"environment": "production", "to": "support", "role": "viewer", "scope": "everything", "for": "2h"});
    let admin = world.admin("acme");
    world.put("POST", "/v1/tenants/acme/grants", terms, &admin).await.is(201);
    let raise = json!({"level": "full", "for": "2h"});
    world.put("PUT", "/v1/tenants/acme/consent", raise, &admin).await.is(200);
    for agent in ["anna", "ben", "cora"] {
        let body = json!({"environment": "production", "basis": "consent", "reason": "order 7 is stuck", "for": "2h"});
        world.put("POST", "/v1/tenants/globex/sessions", body, &world.agent(agent)).await.is(201);
    }
    let ask = json!({"environment": "production", "level": "limited_edit", "reason": "order 7 is stuck", "for": "2h"});
    let approval = json!({"required": true});
    world.put("PUT", "/v1/tenants/acme-west/approval", approval, &world.admin("acme-west")).await.is(200);
    world.consent("acme-west", "full").await;
    let anna = world.agent("anna");
    world.put("POST", "/v1/tenants/acme-west/requests", ask, &anna).await.is(201);
}

/// What was written of ends that nobody made: the event, and when it took effect; sorted.
fn ends(records: &[Value]) -> Vec<(String, String)> {
    let outcomes = records.iter().filter(|record| record["kind"] == "change.outcome");
    let events = outcomes.flat_map(|record| record["events"].as_array().cloned().unwrap_or_default());
    let ends = events.filter(|event| {
        ["session_ended", "grant_ended", "consent_fell", "request_ended"]
            .contains(&event["event"].as_str().unwrap())
    });
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut ends: Vec<_> = ends.map(|event| (text(&event["event"]), text(&event["at"]))).collect();
    ends.sort();
    ends
}

fn expected() -> Vec<(String, String)> {
    let at = |event: &str, at: &str| (event.to_owned(), at.to_owned());
    vec![
        at("consent_fell", OVER),
        at("grant_ended", OVER),
        at("request_ended", "2026-03-27T23:00:00.000Z"),
        at("session_ended", OVER),
        at("session_ended", OVER),
        at("session_ended", OVER),
    ]
}

// P17-16
#[tokio::test]
async fn what_ended_while_no_gateway_ran_is_written_down_with_both_times() {
    let world = World::new().await;
    what_ends(&world).await;
    let before = world.records().len();
    // For a day and a half nobody asks and nobody sweeps.
    world.clock.advance(36 * HOUR);
    let world = world.restarted().await;
    let recorded = world.clock.now().to_string();
    for _ in 0..3 {
        world.engine.sweep_due().await;
        world.engine.sweep_fallen().await;
    }
    let late = world.records().split_off(before);
    assert_eq!(ends(&late), expected());
    for record in late.iter().filter(|record| record["kind"] == "change.outcome") {
        assert_eq!(record["at"], recorded.as_str(), "when it was written: {record}");
    }
    // And once: not again by the next life.
    let world = world.restarted().await;
    world.engine.sweep_due().await;
    assert_eq!(ends(&world.records()[before..]), expected());
}

/// Each gateway finds the same due, and both are past their looks before either has written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_sweepers_at_once_each_end_is_written_by_one() {
    for _ in 0..5 {
        let world = World::new().await;
        what_ends(&world).await;
        let other = world.beside(Hooks::default()).await;
        let before = world.records().len();
        world.clock.advance(36 * HOUR);
        let sweep = |engine: &Arc<Engine>| {
            let engine = Arc::clone(engine);
            tokio::spawn(async move {
                engine.sweep_due().await;
            })
        };
        let (one, two) = (sweep(&world.engine), sweep(&other.engine));
        one.await.unwrap();
        two.await.unwrap();
        let mut both = world.records().split_off(before);
        both.extend(other.records());
        assert_eq!(ends(&both), expected());
        settled(&world.journal).await;
        settled(&other.journal).await;
    }
}

/// The narrowest moment: one has its intent in its ledger, and before it commits the other is through.
#[tokio::test]
async fn a_sweeper_that_is_overtaken_between_its_intent_and_its_commit_writes_no_second_end() {
    let world = World::new().await;
    what_ends(&world).await;
    let before = world.records().len();
    let first: Arc<OnceLock<Arc<Engine>>> = Arc::default();
    let overtaken = Arc::new(Mutex::new(0));
    let (hooked, count, busy) =
        (Arc::clone(&first), Arc::clone(&overtaken), Arc::new(AtomicBool::new(false)));
    let at = move |step: Step| {
        let (first, count, busy) = (Arc::clone(&hooked), Arc::clone(&count), Arc::clone(&busy));
        Box::pin(async move {
            if step == Step::ChangeRecorded && !busy.swap(true, SeqCst) {
                *count.lock().unwrap() += 1;
                first.get().unwrap().sweep_due().await;
            }
        }) as Pin<Box<dyn Future<Output = ()> + Send>>
    };
    let other = world.beside(Hooks { at: Some(Arc::new(at)), bytes: None, ..Hooks::default() }).await;
    first.set(Arc::clone(&world.engine)).ok().unwrap();
    world.clock.advance(36 * HOUR);
    other.engine.sweep_due().await;
    assert_eq!(*overtaken.lock().unwrap(), 1, "it was held where it was meant to be");
    let mut both = world.records().split_off(before);
    both.extend(other.records());
    assert_eq!(ends(&both), expected());
    // Its intent has its outcome, which says that somebody else was first.
    settled(&other.journal).await;
    let outcomes: Vec<Value> =
        other.records().into_iter().filter(|record| record["kind"] == "change.outcome").collect();
    assert_eq!(outcomes.iter().map(|record| record["outcome"].clone()).collect::<Vec<_>>(), ["overtaken"]);
    // What it holds in its memory is what is stored: a further look changes nothing.
    other.engine.sweep_due().await;
    assert_eq!((other.engine.pending(), ends(&other.records())), (0, Vec::new()));
}

/// Grants that fall due before any session, straight into the store.
async fn many_grants(world: &World, count: usize) {
    let until = world.clock.now().plus_ms(HOUR / 2);
    let grant = || Grant {
        environment: "production".parse().unwrap(),
        to: Grantee::Support,
        bound: None,
        role: Some("viewer".parse().unwrap()),
        act_as: None,
        scope: Scope::Everything,
        grantor: SubjectRef { issuer: "tenants".parse().unwrap(), sub: "adele".into() },
        grantor_mail: None,
        grantor_row_mail: None,
        prolonged_by: Default::default(),
        given_as: Default::default(),
        given: world.clock.now(),
        until,
        ended: None,
    };
    for from in (0..count).step_by(1000) {
        let change: ChangeId = format!("many-{from}").parse().unwrap();
        let key = |number| Key::Grant("globex".parse().unwrap(), format!("g-{number}").parse().unwrap());
        let keys: Vec<Key> = (from..count.min(from + 1000)).map(key).collect();
        let read = keys.iter().map(|key| (key.clone(), Version::NONE)).collect();
        let made = |key| (key, Stored::after(None, change.clone(), Document::Grant(grant())));
        let write = keys.into_iter().map(made).collect();
        let at = world.clock.now();
        world
            .engine
            .store()
            .commit(Commit { since: Default::default(), change: change.clone(), at, read, write })
            .await
            .unwrap();
    }
}

/// With a hundred thousand that have not ended, one look at all of them would keep everything else that falls due waiting.
#[tokio::test]
async fn of_many_that_have_not_ended_a_round_looks_at_some_and_the_next_one_goes_on() {
    let world = World::with(Wish { on_lower: OnLower::Immediate, ..Wish::default() }).await;
    world.consent("globex", "full").await;
    let body =
        json!({"environment": "production", "basis": "consent", "reason": "order 7 is stuck", "for": "2h"});
    world.put("POST", "/v1/tenants/globex/sessions", body, &world.agent("anna")).await.is(201);
    many_grants(&world, 5_000).await;
    world.consent("globex", "block").await;
    let before = world.records().len();
    let ends = || ends(&world.records()[before..]).len();
    world.engine.sweep_fallen().await;
    assert_eq!(ends(), 0, "so many are not looked at in one round");
    world.engine.sweep_fallen().await;
    assert_eq!(ends(), 1);
    // Nothing fell since: there is nothing to be looked at.
    world.engine.sweep_fallen().await;
    assert_eq!(ends(), 1);
}

/// Outcomes that nobody waits for are written in the background.
async fn settled(journal: &postern::audit::Journal) {
    for _ in 0..2000 {
        if journal.status().open_intents == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    panic!("an intent stays open");
}
