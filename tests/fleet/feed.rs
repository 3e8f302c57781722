//! What the follower does with a feed that is not as it should be, and with loads that news overtake.

use std::sync::atomic::Ordering::SeqCst;

use postern::{
    engine::knock::Who,
    model::{Key, SessionId},
    policy::{Effect, Reason},
    state::Suspicion,
};

use super::{
    stage::Fleet,
    support::{shared::ACME, tenant, until},
};

/// Each fault of the feed, while an end and a raise are told: the end cuts, what goes on goes on, and the follower with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_forgot_or_has_a_gap_is_no_end_of_the_following() {
    for fault in ["forgets", "gap"] {
        let fleet = Fleet::new().await;
        let (world, anna, ben) = (&fleet.a, fleet.a.agent("anna"), fleet.a.agent("ben"));
        let session = world.started("acme", &anna).await;
        world.started("acme", &ben).await;
        fleet.heard().await;
        let (ends, stays) =
            (fleet.runs("acme", &anna, Effect::Read).await, fleet.runs("acme", &ben, Effect::Read).await);
        world.delete(&format!("/v1/tenants/acme/sessions/{session}"), &anna).await.is(200);
        world.consent("acme", "full").await;
        match fault {
            "forgets" => fleet.of_b().forgets.store(true, SeqCst),
            _ => fleet.of_b().gap.store(true, SeqCst),
        }
        fleet.tell_b().await;
        assert_eq!(ends.is_cut(fault).await, Reason::SessionEnded, "{fault}");
        stays.goes_on(fault).await;
        // It goes on from there.
        fleet.heard().await;
        let session = stays.admission.staff().unwrap().session.to_string();
        world.delete(&format!("/v1/tenants/acme/sessions/{session}"), &ben).await.is(200);
        fleet.tell_b().await;
        assert_eq!(stays.is_cut(fault).await, Reason::SessionEnded, "{fault}");
    }
}

/// What an entry says of a document cannot be read: what was known of that is forgotten, it is asked for, and what stands behind it in
/// the feed is followed all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_cannot_be_read_is_forgotten_and_the_next_one_followed() {
    let fleet = Fleet::new().await;
    let (world, anna, ben) = (&fleet.a, fleet.a.agent("anna"), fleet.a.agent("ben"));
    let hers = world.started("acme", &anna).await;
    let his = world.started("acme", &ben).await;
    fleet.heard().await;
    let (first, second) =
        (fleet.runs("acme", &anna, Effect::Read).await, fleet.runs("acme", &ben, Effect::Read).await);
    let key = Key::Session(tenant("acme"), SessionId::new(&hers).unwrap());
    fleet.of_b().unreadable.lock().unwrap().insert(key);
    for (session, who) in [(hers, &anna), (his, &ben)] {
        world.delete(&format!("/v1/tenants/acme/sessions/{session}"), who).await.is(200);
    }
    fleet.tell_b().await;
    assert_eq!(second.is_cut("the entry behind it").await, Reason::SessionEnded);
    assert_eq!(first.is_cut("as the store says it").await, Reason::SessionEnded);
}

/// A document of a newer build comes by the feed and is stored like that: known no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_build_wrote_cuts_who_rests_on_it_and_is_never_a_default() {
    let fleet = Fleet::new().await;
    let (world, anna) = (&fleet.a, fleet.a.agent("anna"));
    world.started("acme", &anna).await;
    fleet.heard().await;
    let running = fleet.runs("acme", &anna, Effect::Read).await;
    let key = Key::Tenant(tenant("acme"));
    world.consent("acme", "full").await;
    fleet.of_b().unreadable.lock().unwrap().insert(key.clone());
    world.store.damaged.lock().unwrap().insert(key.clone());
    fleet.tell_b().await;
    assert_eq!(running.is_cut("it cannot be decided").await, Reason::StateUnavailable);
    assert_eq!(fleet.refused("acme", &anna, Effect::Read).await, Some(Reason::StateUnavailable));
    world.store.damaged.lock().unwrap().clear();
    assert_eq!(fleet.refused("acme", &anna, Effect::Read).await, None);
}

/// The generation rule, by the follower: what arrives during a load wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_is_told_while_its_document_is_loaded_wins() {
    let fleet = Fleet::new().await;
    let (world, anna) = (&fleet.a, fleet.a.agent("anna"));
    let session = world.started("acme", &anna).await;
    fleet.heard().await;
    fleet.of_b().held.send_replace(true);
    let (engine, who) = (fleet.b.engine.clone(), anna.clone());
    let asking = tokio::spawn(async move { super::stage::ask(&engine, "acme", &who, Effect::Read).await });
    // It has read, and waits for the answer.
    until("it loads", || fleet.of_b().waiting.load(SeqCst) > 0).await;
    let heard = fleet.of_b().leases.followed(ACME).0;
    world.delete(&format!("/v1/tenants/acme/sessions/{session}"), &anna).await.is(200);
    fleet.tell_b().await;
    until("it is followed", || fleet.of_b().leases.followed(ACME).0 > heard).await;
    fleet.of_b().held.send_replace(false);
    let postern::engine::Answer::Denied(denial) = asking.await.unwrap() else {
        panic!("admitted on what was loaded before")
    };
    assert!([Reason::SessionEnded, Reason::SessionMissing].contains(&denial.reason), "{denial:?}");
}

/// Healed by others, or put in place of the one that was: the part begins anew, and what was known of it is loaded anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_with_another_epoch_is_loaded_anew() {
    let fleet = Fleet::new().await;
    let (world, anna) = (&fleet.a, fleet.a.agent("anna"));
    let session = world.started("acme", &anna).await;
    fleet.heard().await;
    assert_eq!(fleet.refused("acme", &anna, Effect::Read).await, None);
    // Other histories tell of an end that this gateway has passed.
    fleet.of_b().leases.suspect(ACME, Some(Suspicion::Forked));
    world.delete(&format!("/v1/tenants/acme/sessions/{session}"), &anna).await.is(200);
    fleet.of_b().epoch.store(2, SeqCst);
    fleet.of_b().leases.suspect(ACME, None);
    is_refused(&fleet, "acme", &anna).await;
    // The same where nobody was suspicious, and nothing was heard for a while.
    let ben = world.agent("ben");
    world.started("acme", &ben).await;
    fleet.heard().await;
    let running = fleet.runs("acme", &ben, Effect::Read).await;
    let loads = fleet.of_b().loads.load(SeqCst);
    world.clock.advance(1_500);
    fleet.of_b().epoch.store(3, SeqCst);
    until("it is loaded anew", || fleet.of_b().loads.load(SeqCst) > loads).await;
    running.goes_on("it is decided again, and young enough for that").await;
}

/// Asks until the answer is no.
async fn is_refused(fleet: &Fleet, tenant: &str, who: &Who) {
    for _ in 0..1000 {
        if fleet.refused(tenant, who, Effect::Read).await.is_some() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("what was known before is still gone by");
}
