//! What is looked at to find the sessions that fell with something else: all at a start, many with one question; then what a change
//! touches.

use std::sync::atomic::Ordering::SeqCst;

use postern::engine::hooks::Hooks;
use serde_json::json;

use super::{
    stage::{Fleet, wish},
    support::World,
};

const MANY: usize = 40;

/// Sessions whose ends were written down.
fn ended(fleet: &Fleet) -> Vec<String> {
    let records = fleet.b.records();
    let outcomes = records.iter().filter(|record| record["kind"] == "change.outcome");
    let events = outcomes.filter_map(|record| Some((record, record["events"].as_array()?)));
    let mut ended: Vec<String> = events
        .filter(|(_, events)| events.iter().any(|event| event["event"] == "session_ended"))
        .map(|(record, _)| record["tenant"].as_str().unwrap().to_owned())
        .collect();
    ended.sort();
    ended
}

/// How many questions there were on `b` while this was done: for documents, how many of these, and for what has not ended.
async fn asked(fleet: &Fleet) -> (usize, usize, usize) {
    let counts = || {
        let of_b = fleet.of_b();
        (of_b.loads.load(SeqCst), of_b.documents.load(SeqCst), of_b.dues.load(SeqCst))
    };
    let before = counts();
    fleet.b.engine.sweep_fallen().await;
    let after = counts();
    (after.0 - before.0, after.1 - before.1, after.2 - before.2)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_costs_what_it_touches_and_a_start_asks_for_many_at_once() {
    let world = World::with(wish()).await;
    let anna = world.agent("anna");
    world.consent("acme-west", "inherit").await;
    for number in 0..MANY {
        world.started("globex", &world.agent(&format!("agent-{number}"))).await;
    }
    for tenant in ["acme", "acme-west"] {
        world.started(tenant, &anna).await;
    }
    // One that starts now was told of nothing and has nothing at hand: all that has not ended is looked at.
    let b = world.beside(Hooks::default()).await;
    let fleet = Fleet { a: world, b };
    let world = &fleet.a;
    fleet.heard().await;
    let (loads, documents, dues) = asked(&fleet).await;
    println!("at the start: {loads} loads of {documents} documents, {dues} listings");
    assert!(documents > MANY, "{documents}");
    assert!((1..=6).contains(&loads), "{loads} questions for {documents} documents");
    assert_eq!(dues, 1);
    assert_eq!(asked(&fleet).await, (0, 0, 0), "nothing has changed since");
    assert_eq!(ended(&fleet), Vec::<String>::new());

    // What is inherited falls below as well; of whatever lies beside it nothing is read.
    world.consent("acme", "block").await;
    fleet.heard().await;
    let (loads, documents, dues) = asked(&fleet).await;
    println!("a change: {loads} loads of {documents} documents, {dues} listings");
    assert!(documents < 12, "{documents}");
    assert_eq!(dues, 0);
    assert_eq!(ended(&fleet), ["acme", "acme-west"]);

    // A grant that is withdrawn, in a tenant of which all is at hand.
    let grant = world.granted("globex", json!("support"), "order_clerk").await;
    fleet.heard().await;
    assert_eq!(asked(&fleet).await, (0, 0, 0), "nothing rests on what is new");
    world.delete(&format!("/v1/tenants/globex/grants/{grant}"), &world.admin("globex")).await.is(200);
    fleet.heard().await;
    let (_, documents, dues) = asked(&fleet).await;
    assert!(documents <= 4, "{documents}");
    assert_eq!(dues, 0);
    assert_eq!(ended(&fleet).len(), 2);

    // A gap: nobody says what changed, so all is looked at.
    fleet.of_b().forgets.store(true, SeqCst);
    world.consent("acme", "full").await;
    world.consent("acme", "block").await;
    fleet.heard().await;
    let (_, _, dues) = asked(&fleet).await;
    assert_eq!(dues, 1);
}
