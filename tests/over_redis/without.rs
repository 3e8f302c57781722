//! A gateway that starts while its store is not there: members go by what an earlier life of it knew, for as long as that counts (rule
//! 19); staff do not, and an emergency token opens as ever.

use std::net::SocketAddr;

use postern::{engine::hooks::Hooks, model::Timestamp, state::Shadow};
use serde_json::json;

use crate::{
    authority::{Authority, with_token},
    client::Client,
    process::{Process, written},
    rig::{lasting, plan, prepared, serving, url},
    servers::Server,
    watch::{SOON, Said, ask, lone},
    world::*,
};

const HOUR_MS: i64 = 3_600_000;

/// Members' roles stand in rows, which a program of the vendor's pushes.
fn with_rows(plan: Plan) -> Plan {
    plan.edit(
        "  - name: app\n",
        "  - name: programs\n    issuer: https://programs.example\n    kind: service\n    audience: postern\n    algorithms: [ES256]\n    keys: { file: KEYS/vendor.jwks }\n  - name: app\n",
    )
    .edit(
        "tenants:\n  from: { path: tenant }",
        "services: [{ issuer: programs, subjects: [crm], may: [\"members:push\"] }]\ntenants:\n  from: { path: tenant }",
    )
    .edit("    kind: member\n", "    kind: member\n    roles: rows\n")
}

fn push(world: &World, address: SocketAddr) {
    let now = world.people.now_ms() / 1000;
    let claims = json!({ "iss": "https://programs.example", "aud": "postern", "sub": "crm", "iat": now, "exp": now + 3600 });
    let token = world.people.keys.vendor.sign("at+jwt", &claims).unwrap();
    let body = r#"{"roles":["read_only"]}"#;
    let more = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    let mut client = Client::connect(address);
    client.send(request("PUT", "/_postern/v1/tenants/acme/members/app.bWlh", &token, &more) + body);
    let reply = client.reply();
    assert_eq!(reply.status, 200, "{}", reply.text());
}

fn reads(world: &World, token: &str) -> Said {
    ask(world.gateway().address(), &lone("GET", "/t/acme/orders", token, ""))
}

#[test]
fn members_go_by_what_an_earlier_life_knew_until_that_is_too_old_and_staff_never_do() {
    let clock = ManualClock::at(NOON);
    let authority = Authority::new();
    let glass: &'static str = lasting(format!("sessions: {{ last: 8h }}\n{}", authority.glass("")));
    let mut redis = Server::start(&[]);
    let servers = format!("url: \"{}\"", url(redis.port));
    let planned = |name: &str| {
        // Also staff who may go by what is old are let in by nothing that this life has not heard.
        let more = ", members_max_staleness: 1h, max_staleness: { reads: 60s }";
        with_rows(plan(name, &servers, more, Hooks::default()))
            .edit("sessions: { last: 8h }", glass)
            .clock(&clock)
    };
    let mut gateway = serving(prepared(1, planned)).remove(0);
    let mia = |gateway: &World| gateway.people.member("mia", "acme", &[]);
    let (sam, olga) = (gateway.people.staff("sam"), gateway.people.staff("olga"));
    push(&gateway, gateway.gateway().address());
    gateway.start_session("acme", &sam);
    assert_eq!(reads(&gateway, &mia(&gateway)).status, 200);
    assert_eq!(reads(&gateway, &sam).status, 200);

    gateway.gateway.take().unwrap().stop();
    redis.end();
    let restarted = |gateway: &mut World| {
        if let Some(running) = gateway.gateway.take() {
            running.stop();
        }
        gateway.try_up().unwrap();
    };
    let staff_are_refused = |gateway: &World| {
        let said = reads(gateway, &sam);
        assert_eq!(said.status, 503, "{said}");
    };
    restarted(&mut gateway);
    let said = reads(&gateway, &mia(&gateway));
    assert!(said.is(200, ""), "{said}");
    staff_are_refused(&gateway);
    // As old as may be; it was not made younger by starting.
    clock.advance(HOUR_MS);
    restarted(&mut gateway);
    let said = reads(&gateway, &mia(&gateway));
    assert!(said.is(200, ""), "{said}");
    let said = reads(&gateway, &gateway.people.member("mona", "acme", &[]));
    assert_eq!(said.status, 503, "of whom nothing was ever known: {said}");
    clock.advance(1);
    for again in [false, true] {
        if again {
            restarted(&mut gateway);
        }
        let said = reads(&gateway, &mia(&gateway));
        assert!(said.is(503, "state_stale"), "{said}");
        staff_are_refused(&gateway);
    }
    // A clock that was set back between two lives makes nothing younger: behind what was written it tells nothing.
    gateway.gateway.take().unwrap().stop();
    clock.set(NOON - 1);
    restarted(&mut gateway);
    let said = reads(&gateway, &mia(&gateway));
    assert!(said.is(503, "state_stale"), "{said}");
    gateway.gateway.take().unwrap().stop();
    clock.set(NOON + HOUR_MS + 1);
    restarted(&mut gateway);
    let said = reads(&gateway, &mia(&gateway));
    assert!(said.is(503, "state_stale"), "{said}");

    let token = authority.token(Timestamp::from_ms(gateway.people.now_ms()), json!({}));
    until_within(SOON, "an emergency token opens", || {
        let mut client = Client::connect(gateway.gateway().address());
        client.send(with_token("/t/acme/orders", &olga, &token));
        client.reply().status == 200
    });
    staff_are_refused(&gateway);
    gateway.gateway.take().unwrap().stop();
    gateway.prove();
}

/// Killed, with a real clock: how old it is was noted while it ran.
#[test]
fn what_a_crash_left_says_how_old_it_is() {
    let mut redis = Server::start(&[]);
    let servers = format!("url: \"{}\"", url(redis.port));
    let mut gateway = prepared(1, |name| with_rows(plan(name, &servers, "", Hooks::default()))).remove(0);
    let process = Process::start(&written(&gateway));
    let (mia, sam) = (gateway.people.member("mia", "acme", &[]), gateway.people.staff("sam"));
    let asked = |token: &str| ask(process.address, &lone("GET", "/t/acme/orders", token, ""));
    until_within(SOON, "programs are served", || asked(&sam).status == 403);
    push(&gateway, process.address);
    assert!(asked(&mia).is(200, ""));
    let pushed = gateway.people.now_ms();
    let copy = gateway.data.join("copy.redb");
    let noted = || {
        std::fs::copy(gateway.data.join("shadow.redb"), &copy).unwrap();
        // One that is copied while it is written may be none.
        let dated = Shadow::open(&copy).ok().and_then(|shadow| shadow.dated());
        std::fs::remove_file(&copy).unwrap();
        dated.is_some_and(|dated| dated.at.at.ms() > pushed)
    };
    until_within(SOON, "it is noted", noted);
    drop(process);
    redis.end();
    gateway.try_up().unwrap();
    let said = reads(&gateway, &mia);
    assert!(said.is(200, ""), "{said}");
    let said = reads(&gateway, &sam);
    assert_eq!(said.status, 503, "{said}");
    gateway.gateway.take().unwrap().stop();
    gateway.prove();
}
