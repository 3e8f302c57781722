//! A gateway that an operator retires: who may be, who records it, and that a store that forgot it is told anew.

use postern::{
    app::{self, RetireFault},
    engine::hooks::Hooks,
    state::redis::Farewell,
};
use serde_json::Value;

use crate::{rig::Fleet, watch::SOON, world::*};

fn farewell() -> Farewell {
    Farewell {
        by: "olga".to_owned(),
        reason: "scaled down to two".to_owned(),
        archive: Some("s3://ledgers/c".to_owned()),
    }
}

fn retirements(fleet: &Fleet) -> Vec<Value> {
    fleet.gateways.iter().flat_map(|gateway| gateway.of_kind("gateway.retired")).collect()
}

#[test]
fn a_gateway_that_is_gone_is_retired_once_and_recorded() {
    let mut fleet = Fleet::start(3);
    let settings = fleet.gateways[0].settings();
    let retire = |name: &str| app::retire(&settings, name, &farewell());
    assert!(matches!(retire("c"), Err(RetireFault::Runs(name)) if name == "c"));
    assert!(matches!(retire("d"), Err(RetireFault::Unknown(name)) if name == "d"));
    let spoken = Farewell { by: "olga@vendor.example".to_owned(), ..farewell() };
    assert!(matches!(app::retire(&settings, "c", &spoken), Err(RetireFault::Words("--by"))));
    fleet.gateways.remove(2).finish();
    let done = retire("c").unwrap();
    assert_eq!((done.name.as_str(), done.farewell), ("c", Some(farewell())));
    let by = done.recorded_by.expect("somebody records it");
    let all = retirements(&fleet);
    assert_eq!(all.len(), 1, "{all:?}");
    let one = &all[0];
    assert_eq!(
        (one["gateway"].as_str(), one["retired"].as_str(), one["by"].as_str(), one["reason"].as_str()),
        (Some(by.as_str()), Some("c"), Some("olga"), Some("scaled down to two"))
    );
    assert_eq!(
        (one["archive"].as_str(), one["retired_at"].as_str()),
        (Some("s3://ledgers/c"), Some(done.at.to_string().as_str()))
    );
    assert!(matches!(retire("c"), Err(RetireFault::Unknown(_))), "it is retired once");
    // A store that forgot it is told anew by whoever knows it, and nobody records it twice.
    let kept = || fleet.redis.tell(&["HLEN", "postern:{p00}:retired"]);
    assert_eq!(kept().trim(), ":2");
    fleet.redis.tell(&["DEL", "postern:{p00}:retired"]);
    until("the store is told again", || kept().trim() == ":2");
    assert_eq!(retirements(&fleet).len(), 1);
    fleet.finish();
}

/// A store that was wiped names nobody: who knows the fleet says who there is, and an operator says who does not come.
#[test]
fn a_healing_under_way_waits_no_more_for_a_gateway_that_is_retired() {
    let mut fleet = Fleet::with(3, ", heal_grace: 1h", |_| Hooks::default());
    fleet.knows_each_other();
    let people = &fleet.gateways[0].people;
    let (sam, admin) = (people.staff("sam"), people.admin("acme"));
    fleet.gateways[0].done(World::consent("acme", "full"), &admin);
    fleet.gateways[0].start_session("acme", &sam);
    fleet.knows_of_session(&sam);
    fleet.gateways.remove(2).finish();
    fleet.redis.tell(&["FLUSHALL"]);
    let state = |gateway: &World| {
        let engine = gateway.gateway().engine();
        (engine.healings().unwrap().waits_for, engine.known_of_store().unwrap().suspect)
    };
    for gateway in &fleet.gateways {
        until_within(SOON, "it waits for c alone", || state(gateway).0 == ["c".to_owned()].into());
    }
    let settings = fleet.gateways[0].settings();
    until_within(SOON, "c is named again, and retired", || app::retire(&settings, "c", &farewell()).is_ok());
    for gateway in &fleet.gateways {
        until_within(SOON, "it is healed", || state(gateway).1 == 0);
        until("it serves staff", || gateway.get("/t/acme/orders", &sam).status == 200);
        let fleet = || gateway.gateway().engine().healings().unwrap().fleet;
        until("the next one will not wait for it", || !fleet().contains("c"));
    }
    fleet.finish();
}

/// Nobody runs while it is done: whoever starts next records it.
#[test]
fn a_retirement_that_nobody_saw_is_recorded_by_the_next_that_starts() {
    let mut fleet = Fleet::start(2);
    for gateway in &mut fleet.gateways {
        gateway.gateway.take().unwrap().stop();
    }
    let a = &fleet.gateways[0];
    let file = a.keys_dir.path().join("postern.yaml");
    std::fs::write(&file, a.configuration()).unwrap();
    let retire = |name: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_postern"));
        command.args(["state", "retire", name, "--by", "olga", "--reason", "its disk is gone", "--config"]);
        let output = command.arg(&file).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (status, said, warned) = retire("b");
    assert_eq!(status, Some(0), "{warned}");
    let said: Vec<&str> = said.lines().collect();
    assert!(said[0].starts_with("gateway `b` is retired since 2"), "{said:?}");
    assert_eq!(said[1..], ["keep the ledger that it leaves: what it recorded stands nowhere else"]);
    assert!(
        warned.contains("warning: no gateway has recorded it yet; the next one that runs on this store does"),
        "{warned}"
    );
    let (status, said, warned) = retire("b");
    assert_eq!((status, said.as_str()), (Some(1), ""));
    assert!(warned.contains("error: no gateway `b` is written down in this store"), "{warned}");
    fleet.gateways.remove(1);
    fleet.gateways[0].up();
    until("it is recorded", || retirements(&fleet).len() == 1);
    // And not again by its next life.
    fleet.gateways[0].gateway.take().unwrap().stop();
    fleet.gateways[0].up();
    let seen = || fleet.redis.tell(&["HGET", "postern:{p00}:runs", ""]);
    let (before, count) = (seen(), std::cell::Cell::new(0));
    until("it looked at who was retired", || {
        count.set(count.get() + usize::from(seen() != before));
        count.get() > 0
    });
    assert_eq!(retirements(&fleet).len(), 1);
    fleet.finish();
}
