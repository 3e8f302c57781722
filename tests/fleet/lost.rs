//! A part of the store that has lost something (law 8): nobody of staff, nothing given, what is taken away acts at once and is kept.

use postern::{
    engine::fuse::Look,
    policy::{Effect, Reason},
    state::Suspicion,
};
use serde_json::json;

use super::{
    stage::Fleet,
    support::shared::{ACME, REST},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_part_that_lost_something_staff_are_refused_and_cut_and_members_go_on_by_what_was_known() {
    let fleet = Fleet::new().await;
    let (world, anna) = (&fleet.a, fleet.a.agent("anna"));
    world.started("acme", &anna).await;
    world.started("globex", &anna).await;
    fleet.pushed("acme", "mia", json!(["viewer"])).await;
    fleet.pushed("acme", "mo", json!(["viewer"])).await;
    fleet.heard().await;
    let (mia, mo) = (world.rower("acme", "mia"), world.rower("acme", "mo"));
    assert_eq!(fleet.refused("acme", &mia, Effect::Read).await, None);
    let (here, there) =
        (fleet.runs("acme", &anna, Effect::Read).await, fleet.runs("globex", &anna, Effect::Read).await);
    fleet.of_b().leases.suspect(ACME, Some(Suspicion::PlaceBehind));
    assert_eq!(here.is_cut("at once").await, Reason::StateSuspect);
    assert_eq!(there.look(), Look::Alive);
    assert_eq!(fleet.refused("acme", &anna, Effect::Read).await, Some(Reason::StateSuspect));
    assert_eq!(fleet.refused("globex", &anna, Effect::Read).await, None);
    assert_eq!(fleet.refused("acme", &mia, Effect::Read).await, None, "as was known before");
    // Of him nothing was known: what has lost something is not believed that he is nobody.
    assert_eq!(fleet.refused("acme", &mo, Effect::Read).await, Some(Reason::StateSuspect));
    let known = fleet.b.engine.known_of_store().unwrap();
    assert_eq!((known.parts, known.suspect), (2, 1));
    fleet.of_b().leases.suspect(ACME, None);
    fleet.heard().await;
    assert_eq!(fleet.refused("acme", &anna, Effect::Read).await, None);
    assert_eq!(fleet.refused("acme", &mo, Effect::Read).await, None);
}

/// On the gateway that has the API.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_gives_is_refused_and_what_takes_away_acts_and_is_stored_when_it_is_healed() {
    let fleet = Fleet::new().await;
    let (world, anna, ben) = (&fleet.a, fleet.a.agent("anna"), fleet.a.agent("ben"));
    let admin = world.admin("acme");
    let session = world.started("acme", &anna).await;
    fleet.heard().await;
    // What it rests on is known here.
    let path = format!("/v1/tenants/acme/sessions/{session}");
    world.get(&path, &admin).await.is(200);
    let view = fleet.of_a();
    view.leases.suspect(ACME, Some(Suspicion::Unmarked));
    world.get("/v1/tenants/acme/sessions", &admin).await.refused(503, "state_suspect");
    let changes = view.leases.followed(ACME).0;
    let given = world.put("PUT", "/v1/tenants/acme/consent", json!({"level": "full"}), &admin).await;
    given.refused(503, "state_suspect");
    assert_eq!(world.start("acme", &ben).await.status, 503);
    let ended = world.delete(&path, &admin).await.is(202);
    assert_eq!(ended.body["outcome"]["waiting"], json!(["store"]), "{}", ended.body);
    assert_eq!((world.engine.mend_once().await, world.engine.pending()), (1, 1), "it waits");
    fleet.of_b().tell().await;
    view.leases.suspect(ACME, None);
    fleet.heard().await;
    assert_eq!(view.leases.followed(ACME).0, changes, "nothing was stored meanwhile");
    assert_eq!(world.engine.mend_once().await, 0);
    fleet.heard().await;
    assert_eq!(view.leases.followed(ACME).0, changes + 1);
    assert!(fleet.refused("acme", &anna, Effect::Read).await.is_some());
    let change = ended.body["outcome"]["change"].clone();
    let stored = world.record(|record| record["change"] == change && record["outcome"] == "stored").await;
    assert_eq!(stored["position"], changes + 1);
    assert!(view.leases.suspicion(REST).is_none());
}
