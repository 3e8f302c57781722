//! Two processes that go by one name: the later one serves no staff until it is alone. Who restarts is not taken for another one.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use postern::engine::{Named, hooks::Hooks};

use crate::{
    client::Ending,
    rig::{Fleet, plan, url},
    under::{Run, begin, counting},
    world::*,
};

pub fn operations(world: &World, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(world.gateway().operations()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Another process by this name, with files of its own.
fn twin(fleet: &Fleet, name: &str, hooks: Hooks) -> World {
    let first = &fleet.gateways[0];
    let data = first.keys_dir.path().join(format!("twin-of-{name}"));
    std::fs::create_dir(&data).unwrap();
    first.beside(Plan {
        data: Some(data),
        ..plan(name, &format!("url: \"{}\"", url(fleet.redis.port)), "", hooks)
    })
}

fn staff(world: &World, token: &str) -> (u16, String) {
    let reply = world.get("/t/acme/orders", token);
    (reply.status, reply.code())
}

#[test]
fn the_later_of_two_processes_of_one_name_serves_no_staff_until_it_is_alone() {
    let mut fleet = Fleet::start(2);
    let agent = fleet.gateways[0].people.staff("sam");
    let admin = fleet.gateways[0].people.admin("acme");
    fleet.gateways[0].done(World::consent("acme", "full"), &admin);
    fleet.gateways[0].start_session("acme", &agent);
    fleet.knows_of_session(&agent);
    let mut twin = twin(&fleet, "a", Hooks::default());
    twin.try_up().unwrap();
    let served = || match staff(&twin, &agent) {
        (200, _) => panic!("a twin serves staff"),
        (_, code) => code,
    };
    until("it knows that its name is taken", || served() == "gateway_name_taken");
    assert_eq!(staff(&twin, &agent).0, 503);
    assert_eq!(twin.get("/t/acme/orders", &admin).status, 200, "members go on");
    let sessions = "/_postern/v1/sessions";
    assert_eq!(twin.get(sessions, &agent).code(), "gateway_name_taken");
    assert!(
        operations(&twin, "/readyz").contains("staff: refused: another process goes by this gateway's name")
    );
    assert!(operations(&twin, "/metrics").contains("\npostern_staff_served 0\n"));
    for world in [&twin, &fleet.gateways[0]] {
        until("both say so", || {
            operations(world, "/metrics").contains("\npostern_gateway_name_contested 1\n")
        });
    }
    // Who was there first goes on, and so does everybody else.
    for gateway in &fleet.gateways {
        assert_eq!(staff(gateway, &agent), (200, String::new()));
    }
    assert_eq!(twin.gateway().engine().named(), Named::Taken);
    // It stops: the other one is alone, soon.
    fleet.gateways.remove(0).finish();
    let begun = Instant::now();
    until("the twin serves staff", || staff(&twin, &agent).0 == 200);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(operations(&twin, "/metrics").contains("\npostern_gateway_name_contested 0\n"));
    twin.finish();
    fleet.finish();
}

/// A process that was away for long while another one took its name over: the one that began first serves, and what staff had
/// under way at the other is cut.
#[test]
fn what_staff_have_under_way_is_cut_when_the_name_is_lost() {
    let (hooks, count) = counting();
    let fleet = Fleet::start(1);
    let a = &fleet.gateways[0];
    let agent = a.people.staff("sam");
    a.done(World::consent("acme", "full"), &a.people.admin("acme"));
    a.start_session("acme", &agent);
    // As if it had begun and was not heard of since: too long ago to be waited for.
    fleet.redis.tell(&["DEL", "postern:{p00}:runs"]);
    let mut later = twin(&fleet, "late", hooks);
    later.up();
    until("the session is known", || staff(&later, &agent).0 == 200);
    let mut events = begin(&later, Run::Events, &agent, &count);
    let row = "0190b2a0-0000-7000-8000-000000000001 late";
    // Somebody who began before it, and goes on.
    let beat = || fleet.redis.tell(&["HGET", "postern:{p00}:runs", ""]);
    let newest = |text: String| text.lines().last().unwrap().trim().to_owned();
    let beats = newest(beat());
    fleet.redis.tell(&[
        "HSET",
        "postern:{p00}:runs",
        row,
        &format!("1 {}", beats.parse::<u64>().unwrap() + 1_000),
    ]);
    assert_eq!(events.ending().0, Ending::Reset);
    assert_eq!(later.last_outcome()["cut_by"]["reason"], "gateway_name_taken");
    later.finish();
    fleet.finish();
}

#[test]
fn a_restart_is_not_taken_for_another_process() {
    let mut fleet = Fleet::start(1);
    let stranger = fleet.gateways[0].people.staff("stranger");
    let a = &mut fleet.gateways[0];
    // Stopped in order, it leaves nothing that the next would wait for.
    a.gateway.take().unwrap().stop();
    let begun = Instant::now();
    a.up();
    until("staff are served", || staff(a, &stranger).0 == 403);
    assert!(begun.elapsed() < Duration::from_millis(2_400), "{:?}", begun.elapsed());
    // Killed, it leaves a beat of a moment ago.
    a.gateway.take().unwrap().stop();
    let newest = fleet.redis.tell(&["HGET", "postern:{p00}:runs", ""]);
    let newest = newest.lines().last().unwrap().trim();
    let row = "0190b2a0-0000-7000-8000-000000000001 a";
    fleet.redis.tell(&["HSET", "postern:{p00}:runs", row, &format!("1 {newest}")]);
    let a = &mut fleet.gateways[0];
    let begun = Instant::now();
    a.try_up().unwrap();
    until("staff are served again", || match staff(a, &stranger) {
        (403, _) => true,
        (_, code) => {
            assert_ne!(code, "gateway_name_taken");
            false
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    fleet.finish();
}
