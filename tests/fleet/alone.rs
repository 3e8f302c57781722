//! A gateway whose server of the store was left alone: it still reads there, and no majority confirms what it reads.

use std::sync::atomic::Ordering::SeqCst;

use postern::{
    engine::Giver,
    lifecycle::Command,
    model::{GrantId, SessionId},
};
use serde_json::json;

use super::{
    stage::{Fleet, subject},
    support::tenant,
};

/// Somebody ends something on `b`, which `a` is told of or not; then the server of `a` is left alone.
async fn ended_elsewhere(fleet: &Fleet, command: Command, told: bool) {
    let admin = Giver::Subject(subject(&fleet.a.admin("acme")), "198.51.100.9".to_owned());
    fleet.b.engine.change(command, admin).await.unwrap();
    if told {
        fleet.heard().await;
    }
    fleet.of_a().alone.store(true, SeqCst);
}

/// Nothing is said to be so that a fail-over may yet undo: it is in force here, and kept until a majority says it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_ended_is_told_as_ended_only_when_a_majority_says_so() {
    for (what, told) in [("sessions", false), ("sessions", true), ("grants", false), ("grants", true)] {
        let fleet = Fleet::new().await;
        let (world, anna, admin) = (&fleet.a, fleet.a.agent("anna"), fleet.a.admin("acme"));
        let id = match what {
            "sessions" => world.started("acme", &anna).await,
            _ => world.granted("acme", json!("support"), "order_clerk").await,
        };
        fleet.heard().await;
        let path = format!("/v1/tenants/acme/{what}/{id}");
        world.get(&path, &admin).await.is(200);
        let command = match what {
            "sessions" => {
                Command::EndSession { tenant: tenant("acme"), session: SessionId::new(&id).unwrap() }
            }
            _ => Command::WithdrawGrant { tenant: tenant("acme"), grant: GrantId::new(&id).unwrap() },
        };
        ended_elsewhere(&fleet, command, told).await;
        for _ in 0..2 {
            let ended = world.delete(&path, &admin).await.is(202);
            assert_eq!(ended.body["outcome"]["waiting"], json!(["store"]), "{what}, {told}: {}", ended.body);
        }
        assert_eq!(world.engine.mend_once().await, 1, "{what}, {told}: it is kept");
        fleet.of_a().alone.store(false, SeqCst);
        assert_eq!(world.engine.mend_once().await, 0, "{what}, {told}");
        fleet.heard().await;
        let ended = world.delete(&path, &admin).await.is(200);
        assert_eq!(ended.body["outcome"]["changed"], false, "{what}, {told}: {}", ended.body);
        world.record(|record| record["kind"] == "change.outcome" && record["outcome"] == "overtaken").await;
    }
}
