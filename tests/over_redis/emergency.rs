//! Emergency tokens where the store cannot be asked: they open all the same, by what is known last (rule 18).

use std::time::{Duration, Instant};

use postern::{
    engine::hooks::Hooks,
    lifecycle::{Command, Switch},
};
use serde_json::{Value, json};

use crate::{
    authority::{Authority, with_token},
    client::{Client, Ending},
    rig::{Fleet, lasting, plan, url},
    watch::{Said, ask, lone},
    world::*,
};

const BOUNDS: &str = ", max_staleness: { reads: 2s }";

fn by(gateway: &World, place: &str, own: &str, token: &str) -> Said {
    let more = format!("Postern-Emergency: {token}\r\n");
    ask(gateway.gateway().address(), &lone("GET", &format!("/t/{place}/orders"), own, &more))
}

fn stop(id: &str) -> Command {
    Command::Stop { switch: Switch::Own(tenant(id)), reason: "not now".to_owned() }
}

#[test]
fn without_redis_an_emergency_token_opens_and_what_a_tenant_refused_last_binds() {
    let authority = Authority::new();
    let glass: &'static str = lasting(format!("sessions: {{ last: 8h }}\n{}", authority.glass("")));
    let fleet = Fleet::edited(2, BOUNDS, &[("sessions: { last: 8h }", glass)], |_| Hooks::default());
    let people = &fleet.gateways[0].people;
    let (agent, olga, otto) = (people.staff("sam"), people.staff("olga"), people.staff("otto"));
    let admin = people.admin("acme");
    let (a, b) = (&fleet.gateways[0], &fleet.gateways[1]);
    a.done(World::consent("acme", "full"), &admin);
    a.start_session("acme", &agent);
    fleet.knows_of_session(&agent);
    let now = a.now();
    let (acme, globex) =
        (authority.token(now, json!({})), authority.token(now, json!({ "tenant": "globex" })));
    assert!(by(b, "globex", &olga, &globex).is(200, ""));
    a.done(stop("globex"), &people.admin("globex"));
    until("b knows that globex refuses", || by(b, "globex", &olga, &globex).is(403, "stopped"));

    fleet.redis.freeze();
    until_within(Duration::from_secs(20), "staff are shut out", || {
        ask(b.gateway().address(), &lone("GET", "/t/acme/orders", &agent, "")).is(503, "state_stale")
    });
    for gateway in [a, b] {
        let said = by(gateway, "acme", &olga, &acme);
        assert!(said.is(200, ""), "{said}");
        let said = by(gateway, "globex", &olga, &globex);
        assert!(said.is(403, "stopped"), "{said}");
        assert!(by(gateway, "globex", &olga, &acme).is(403, "emergency_other_tenant"));
        assert!(by(gateway, "acme", &otto, &acme).is(403, "emergency_of_another"));
        assert!(by(gateway, "acme", "", &acme).is(401, "token_missing"));
    }
    // What runs by it goes on for longer than anything of the store may be old.
    let mut stream = Client::connect(b.gateway().address());
    stream.send(with_token("/t/acme/download?do=forever", &olga, &acme));
    assert!(stream.head().contains(" 200 "));
    let flows = Instant::now();
    while flows.elapsed() < Duration::from_secs(7) {
        assert_eq!(stream.more(), Ending::Open, "after {:?}", flows.elapsed());
        stream.inbox.clear();
    }

    // A gateway that never heard of any store, nor of any tenant.
    let data = a.keys_dir.path().join("c");
    std::fs::create_dir(&data).unwrap();
    let servers = format!("url: \"{}\"", url(fleet.redis.port));
    let planned = plan("c", &servers, BOUNDS, Hooks::default()).edit("sessions: { last: 8h }", glass);
    let mut c = a.beside(Plan { data: Some(data), ..planned });
    c.try_up().unwrap();
    until_within(Duration::from_secs(20), "a gateway without a store takes it", || {
        let said = by(&c, "acme", &olga, &acme);
        assert!(said.is(200, "") || said.status == 503, "{said}");
        said.status == 200
    });
    assert_eq!(known_of(&c), [false]);
    assert_eq!(known_of(b).last(), Some(&true));

    // It is back: what the tenant refuses from now on reaches what runs elsewhere.
    fleet.redis.thaw();
    until_within(Duration::from_secs(20), "the store is back", || a.change(stop("acme"), &admin).is_ok());
    let refused = Instant::now();
    assert_eq!(stream.read_out().0, Ending::Reset);
    println!("cut {:?} after the tenant's refusal elsewhere", refused.elapsed());
    until_within(Duration::from_secs(20), "c hears of it too", || {
        by(&c, "acme", &olga, &acme).is(403, "stopped")
    });
    c.until_ready();
    c.finish();
    fleet.finish();
}

/// A gateway that was killed before its shadow was written has the last of it from its ledger. Something is missing there from then on,
/// and what is not missing binds all the same.
#[test]
fn what_a_tenant_refused_binds_where_the_shadow_has_gaps() {
    let authority = Authority::new();
    let glass: &'static str = lasting(format!("sessions: {{ last: 8h }}\n{}", authority.glass("")));
    let mut fleet = Fleet::edited(1, BOUNDS, &[("sessions: { last: 8h }", glass)], |_| Hooks::default());
    let gateway = &mut fleet.gateways[0];
    let (olga, admin) = (gateway.people.staff("olga"), gateway.people.admin("acme"));
    let token = authority.token(gateway.now(), json!({}));
    assert!(by(gateway, "acme", &olga, &token).is(200, ""));
    let (shadow, before) = (gateway.data.join("shadow.redb"), gateway.data.join("before.redb"));
    gateway.gateway.take().unwrap().stop();
    std::fs::copy(&shadow, &before).unwrap();
    gateway.up();
    gateway.done(stop("acme"), &admin);
    gateway.gateway.take().unwrap().stop();
    // As it was a moment before.
    std::fs::rename(&before, &shadow).unwrap();
    fleet.redis.end();

    let gateway = &mut fleet.gateways[0];
    gateway.try_up().unwrap();
    let mut said = None;
    until_within(Duration::from_secs(20), "a gateway without a store decides", || {
        said = Some(by(gateway, "acme", &olga, &token)).filter(|said| said.status != 503);
        said.is_some()
    });
    let said = said.unwrap();
    assert!(said.is(403, "stopped"), "{said}");
    assert!(gateway.gateway().engine().healings().unwrap().copying > 0, "nothing is missing in its shadow");
    fleet.finish();
}

/// Of each entry by token that a gateway recorded: whether anything was known of the tenant.
fn known_of(gateway: &World) -> Vec<bool> {
    let known = |record: &Value| record["by_token"]["tenant_known"].as_bool();
    gateway.of_kind("emergency.entered").iter().filter_map(known).collect()
}
