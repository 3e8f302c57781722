//! Gateways of two versions on one store: what a newer one wrote, an older one refuses and never overwrites.

use postern::{
    engine::{ChangeFault, Changed},
    lifecycle::Refusal,
};

use crate::{
    names::operations,
    rig::Fleet,
    watch::{Said, ask, lone},
    world::*,
};

/// Where a tenant's own document lies: parts never change.
const ACME: &str = "postern:{p12}:d:\u{1}acme\0";

fn read(fleet: &Fleet, key: &str) -> String {
    fleet.redis.tell(&["GET", key])
}

/// As a newer version would have written it: the same version of the document, in a format that this build does not know.
fn newer(document: &str) -> String {
    let changed = document.replacen("\"format\":1", "\"format\":2", 1);
    assert_ne!(changed, document);
    changed
}

#[test]
fn a_document_of_a_newer_version_is_refused_by_an_older_gateway_and_never_overwritten() {
    let mut fleet = Fleet::start(2);
    let people = &fleet.gateways[0].people;
    let (agent, admin, other) = (people.staff("sam"), people.admin("acme"), people.admin("globex"));
    for tenant in ["acme", "globex"] {
        let admin = fleet.gateways[0].people.admin(tenant);
        fleet.gateways[0].done(World::consent(tenant, "full"), &admin);
        fleet.gateways[0].start_session(tenant, &agent);
    }
    fleet.knows_of_session(&agent);
    let written = newer(&read(&fleet, ACME));
    fleet.redis.tell(&["SET", ACME, &written]);
    // One that starts now has nothing at hand, as one that never saw the tenant.
    fleet.gateways[1].gateway.take().unwrap().stop();
    fleet.gateways[1].try_up().unwrap();
    let b = &fleet.gateways[1];
    until("the rest of its staff are served", || b.get("/t/globex/orders", &agent).status == 200);
    for _ in 0..3 {
        let refused = b.get("/t/acme/orders", &agent);
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (503, "state_unavailable"),
            "{}",
            refused.text()
        );
    }
    let shown = b.get("/_postern/v1/tenants/acme/consent", &admin);
    assert_eq!(shown.status, 503, "{}", shown.text());
    // Members go by their tokens, of this tenant too.
    for (tenant, token) in [("acme", &admin), ("globex", &other)] {
        assert_eq!(b.get(&format!("/t/{tenant}/orders"), token).status, 200);
    }
    // Neither what gives nor what takes away is written over it.
    for level in ["full", "block"] {
        let refused = b.change(World::consent("acme", level), &admin).unwrap_err();
        assert_eq!(refused, ChangeFault::Refused(Refusal::Unavailable), "{level}");
    }
    assert_eq!(read(&fleet, ACME), written);
    fleet.finish();
}

#[test]
fn a_store_of_a_newer_layout_is_refused_as_that() {
    let mut fleet = Fleet::start(1);
    let (agent, admin) = (fleet.gateways[0].people.staff("sam"), fleet.gateways[0].people.admin("acme"));
    fleet.gateways[0].gateway.take().unwrap().stop();
    for part in 0..64 {
        fleet.redis.tell(&["HSET", &format!("postern:{{p{part:02}}}:head"), "format", "2"]);
    }
    fleet.gateways[0].try_up().unwrap();
    let a = &fleet.gateways[0];
    assert_eq!(a.get("/t/acme/orders", &admin).status, 200, "members go by their tokens");
    let refused = a.get("/t/acme/orders", &agent);
    assert_eq!((refused.status, refused.code().as_str()), (503, "store_newer"), "{}", refused.text());
    assert!(refused.text().contains("upgrade"), "{}", refused.text());
    let shown = a.get("/_postern/v1/tenants/acme/consent", &admin);
    assert_eq!((shown.status, shown.code().as_str()), (503, "store_newer"), "{}", shown.text());
    assert_eq!(a.change(World::consent("acme", "full"), &admin).unwrap_err().code(), "store_newer");
    let ready = operations(a, "/readyz");
    assert!(ready.contains("staff: refused: a newer version of postern runs on the store"), "{ready}");
    assert!(operations(a, "/metrics").contains("\npostern_staff_served 0\n"));
    for part in 0..64 {
        fleet.redis.tell(&["HSET", &format!("postern:{{p{part:02}}}:head"), "format", "1"]);
    }
    until("with its own layout it goes on by itself", || a.get("/t/acme/orders", &agent).status == 403);
    assert!(operations(a, "/readyz").contains("staff: served\n"));
    fleet.finish();
}

/// What somebody is answered who may be cut in the middle.
fn reads(gateway: &World, token: &str) -> Said {
    ask(gateway.gateway().address(), &lone("GET", "/t/acme/orders", token, ""))
}

/// While it runs, too: nobody goes by what was known of a store that has become another, and what runs is cut in time.
#[test]
fn a_store_that_is_taken_over_by_a_newer_version_shuts_out_staff_of_an_older_one() {
    let fleet = Fleet::start(2);
    let (agent, admin) = (fleet.gateways[0].people.staff("sam"), fleet.gateways[0].people.admin("acme"));
    fleet.gateways[0].done(World::consent("acme", "edit"), &admin);
    let session = fleet.gateways[0].start_session("acme", &agent);
    fleet.knows_of_session(&agent);
    let layout = |format: &str| {
        // The part of the tenant first: one is enough.
        for part in [12, 0, 63] {
            fleet.redis.tell(&["HSET", &format!("postern:{{p{part:02}}}:head"), "format", format]);
        }
    };
    layout("2");
    for gateway in &fleet.gateways {
        until("staff are refused", || reads(gateway, &agent).is(503, "store_newer"));
        assert!(reads(gateway, &admin).is(200, ""), "members go by their tokens");
        assert_eq!(gateway.change(World::consent("acme", "full"), &admin).unwrap_err().code(), "store_newer");
    }
    // What takes away acts all the same, here.
    let ended = fleet.gateways[0].change(World::end("acme", &session), &admin).unwrap();
    assert!(matches!(ended, Changed::InForce { .. }), "{ended:?}");
    layout("1");
    for gateway in &fleet.gateways {
        until("it goes on by itself", || reads(gateway, &agent).status == 403);
    }
    until("the end is kept", || fleet.gateways[0].gateway().engine().pending() == 0);
    fleet.finish();
}
