//! How old what a decision rests on may be, and what becomes of exchanges and people when nothing is heard of the store (rules 8, 9
//! and 19).

use std::sync::atomic::Ordering::SeqCst;

use postern::{
    engine::{Answer, fuse::Look},
    policy::{Effect, Reason, Staleness},
    state::Age,
};
use serde_json::json;

use super::{
    stage::{Fleet, ask, subject, wish},
    support::{
        DAY,
        shared::{ACME, REST},
        until,
    },
};

/// The whole way down and up again: nothing is heard of, and then it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_its_bound_staff_are_refused_and_cut_by_what_they_do_and_members_go_on() {
    let fleet = Fleet::new().await;
    let (world, anna) = (&fleet.a, fleet.a.agent("anna"));
    world.started("acme", &anna).await;
    fleet.pushed("acme", "mia", json!(["viewer"])).await;
    fleet.heard().await;
    let (mia, mona) = (world.rower("acme", "mia"), world.member("acme", "mona", &["viewer"]));
    let (reading, writing) =
        (fleet.runs("acme", &anna, Effect::Read).await, fleet.runs("acme", &anna, Effect::Write).await);
    assert_eq!(fleet.refused("acme", &mia, Effect::Read).await, None);
    let told = |does| fleet.refused("acme", &anna, does);

    world.clock.advance(1_000);
    assert_eq!((told(Effect::Write).await, told(Effect::Read).await), (None, None));
    assert_eq!((writing.look(), reading.look()), (Look::Alive, Look::Alive));
    world.clock.advance(1);
    assert_eq!((told(Effect::Write).await, told(Effect::Read).await), (Some(Reason::StateStale), None));
    // Nobody hands anything on: whoever keeps the fuses finds it, and the exchange is woken.
    assert_eq!(writing.is_cut("the writer's").await, Reason::StateStale);
    assert_eq!(reading.look(), Look::Alive);
    world.clock.advance(3_999);
    assert_eq!((told(Effect::Read).await, reading.look()), (None, Look::Alive));
    world.clock.advance(1);
    assert_eq!(told(Effect::Read).await, Some(Reason::StateStale));
    assert_eq!(reading.is_cut("the reader's").await, Reason::StateStale);
    for member in [&mia, &mona] {
        assert_eq!(fleet.refused("acme", member, Effect::Write).await, None);
    }
    // A day later those are refused whose rows nobody has confirmed since, and those whose tokens say it all are not.
    world.clock.advance(DAY - 5_001);
    let (mia, mona) = (world.rower("acme", "mia"), world.member("acme", "mona", &["viewer"]));
    assert_eq!(fleet.refused("acme", &mia, Effect::Read).await, None);
    world.clock.advance(1);
    assert_eq!(fleet.refused("acme", &mia, Effect::Read).await, Some(Reason::StateStale));
    assert_eq!(fleet.refused("acme", &mona, Effect::Read).await, None);

    fleet.heard().await;
    let anna = world.agent("anna");
    for does in [Effect::Write, Effect::Read] {
        assert_eq!(fleet.refused("acme", &anna, does).await, None, "all goes on");
    }
    assert_eq!(fleet.refused("acme", &mia, Effect::Read).await, None);
}

#[tokio::test]
async fn each_record_says_how_old_its_facts_were_and_the_largest_is_kept() {
    let fleet = Fleet::new().await;
    let (world, anna) = (&fleet.a, fleet.a.agent("anna"));
    world.started("acme", &anna).await;
    fleet.heard().await;
    for ms in [0, 340, 200] {
        world.clock.advance(ms);
        let _running = fleet.runs("acme", &anna, Effect::Read).await;
    }
    let intents = fleet.b.records().into_iter().filter(|record| record["kind"] == "access.intent");
    let ages: Vec<_> = intents.map(|record| record["age_ms"].clone()).collect();
    assert_eq!(ages, [json!(null), json!(340), json!(540)]);
    assert_eq!(fleet.b.engine.known_of_store().unwrap().largest_ms, 540);
    fleet.heard().await;
    let _running = fleet.runs("acme", &anna, Effect::Read).await;
    let known = fleet.b.engine.known_of_store().unwrap();
    assert_eq!((known.largest_ms, known.oldest, known.suspect), (540, Age::Known(0), 0));
}

/// A machine that stood still: the first look at the clock is enough, nobody has to come by.
#[tokio::test(flavor = "current_thread")]
async fn a_gateway_that_stood_still_wakes_to_a_burnt_fuse() {
    let fleet = Fleet::new().await;
    let (world, anna) = (&fleet.a, fleet.a.agent("anna"));
    world.started("acme", &anna).await;
    fleet.heard().await;
    let running = fleet.runs("acme", &anna, Effect::Read).await;
    world.clock.advance(30_000);
    // On this one thread nothing else has run since.
    assert!(matches!(running.look(), Look::Burnt(cut) if cut.reason == Reason::StateStale));
}

/// A part that nothing is heard of takes nothing from tenants that lie elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_is_silent_shuts_out_its_own_tenants_alone() {
    let fleet = Fleet::new().await;
    let (world, anna) = (&fleet.a, fleet.a.agent("anna"));
    world.started("acme", &anna).await;
    world.started("globex", &anna).await;
    fleet.heard().await;
    let (here, there) =
        (fleet.runs("acme", &anna, Effect::Write).await, fleet.runs("globex", &anna, Effect::Write).await);
    world.clock.advance(1_001);
    fleet.of_b().beat_of(REST).await;
    assert_eq!(here.is_cut("the silent part's").await, Reason::StateStale);
    assert_eq!(there.look(), Look::Alive);
    assert_eq!(fleet.refused("acme", &anna, Effect::Write).await, Some(Reason::StateStale));
    assert_eq!(fleet.refused("globex", &anna, Effect::Write).await, None);
    // Whether it is there or not: whoever knocks at a tenant of that part hears the same (law 11).
    assert_eq!(fleet.refused("acme-none", &anna, Effect::Write).await, Some(Reason::StateStale));
}

/// A beat renews only up to what is in force here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beat_that_tells_of_what_is_not_in_force_renews_nothing_until_it_is() {
    let fleet = Fleet::new().await;
    let (world, anna) = (&fleet.a, fleet.a.agent("anna"));
    world.started("acme", &anna).await;
    fleet.heard().await;
    let running = fleet.runs("acme", &anna, Effect::Write).await;
    world.consent("acme", "limited_edit").await;
    world.clock.advance(600);
    fleet.of_b().beat_of(ACME).await;
    fleet.of_b().beat_of(REST).await;
    world.clock.advance(401);
    assert!(matches!(running.look(), Look::Burnt(cut) if cut.reason == Reason::StateStale), "a lost push");
    fleet.tell_b().await;
    let sent = super::stage::now(&fleet) - 401;
    until("it counts from its sending", || fleet.of_b().leases.known(ACME) == Some(sent)).await;
    assert_eq!(fleet.refused("acme", &anna, Effect::Write).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_was_never_heard_of_staff_learn_nothing() {
    let world = super::support::World::with(wish()).await;
    let anna = world.agent("anna");
    world.started("acme", &anna).await;
    let Answer::Denied(denial) = ask(&world.engine, "acme", &anna, Effect::Read).await else {
        panic!("admitted on what nobody has confirmed")
    };
    assert_eq!(denial.reason, Reason::StateStale);
    let mona = world.member("acme", "mona", &["viewer"]);
    assert!(matches!(ask(&world.engine, "acme", &mona, Effect::Read).await, Answer::Admitted(_)));
    assert_eq!(world.engine.known_of_store().unwrap().oldest, Age::Never);
}

/// `max_staleness: 0`: decided on what the store says now, once; a hit otherwise asks nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_broke_the_glass_is_decided_on_what_the_store_says_now_and_others_on_what_is_at_hand() {
    let fleet = Fleet::new().await;
    let (world, gustav, anna) = (&fleet.a, fleet.a.agent("gustav"), fleet.a.agent("anna"));
    fleet.break_glass("acme", &gustav).await;
    world.started("acme", &anna).await;
    fleet.heard().await;
    drop(fleet.runs("acme", &anna, Effect::Read).await);
    drop(fleet.runs("acme", &gustav, Effect::Read).await);
    let counts = || (fleet.of_b().loads.load(SeqCst), fleet.of_b().confirmed.load(SeqCst));
    let (loads, confirmed) = counts();
    assert!(confirmed > 0);
    for does in [Effect::Read, Effect::Write] {
        drop(fleet.runs("acme", &anna, does).await);
    }
    assert_eq!(counts(), (loads, confirmed), "not one call for what is at hand");
    let running = fleet.runs("acme", &gustav, Effect::Write).await;
    assert_eq!(counts(), (loads, confirmed + 1), "one for all that it rests on");
    // An end that nobody has told `b` of yet: what is asked for knows of it.
    let session = running.admission.staff().unwrap().session.to_string();
    world.delete(&format!("/v1/tenants/acme/sessions/{session}"), &world.admin("acme")).await.is(200);
    assert_eq!(fleet.refused("acme", &gustav, Effect::Read).await, Some(Reason::SessionMissing));
    // What runs is bound by the strictest bound that is not 0.
    let olga = world.agent("olga");
    fleet.break_glass("acme", &olga).await;
    fleet.heard().await;
    let running = fleet.runs("acme", &olga, Effect::Read).await;
    world.clock.advance(1_001);
    assert!(matches!(running.look(), Look::Burnt(cut) if cut.reason == Reason::StateStale));
    // And without an answer nobody enters.
    fleet.heard().await;
    world.store.no_reads.store(true, SeqCst);
    assert_eq!(fleet.refused("acme", &olga, Effect::Read).await, Some(Reason::StateUnavailable));
    assert_eq!(fleet.refused("acme", &anna, Effect::Read).await, None, "others need none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounds_are_those_of_the_policy() {
    let staleness = Staleness { writes_ms: 0, reads_ms: 2_000, break_glass_ms: 9_000, members_ms: 60_000 };
    let fleet = Fleet::with(super::support::Wish { staleness, ..wish() }, Default::default()).await;
    let (world, anna, gustav) = (&fleet.a, fleet.a.agent("anna"), fleet.a.agent("gustav"));
    world.started("acme", &anna).await;
    fleet.break_glass("acme", &gustav).await;
    fleet.heard().await;
    let running = fleet.runs("acme", &anna, Effect::Write).await;
    assert_eq!(fleet.of_b().confirmed.load(SeqCst), 1, "a writer asks");
    world.clock.advance(2_000);
    assert_eq!((fleet.refused("acme", &anna, Effect::Read).await, running.look()), (None, Look::Alive));
    world.clock.advance(1);
    assert_eq!(fleet.refused("acme", &anna, Effect::Read).await, Some(Reason::StateStale));
    assert_eq!(
        fleet.refused("acme", &anna, Effect::Write).await,
        Some(Reason::StateStale),
        "it would be cut"
    );
    assert!(matches!(running.look(), Look::Burnt(_)));
    assert_eq!(fleet.refused("acme", &gustav, Effect::Write).await, None);
    assert_eq!(subject(&gustav).id.sub.as_ref(), "gustav");
}
