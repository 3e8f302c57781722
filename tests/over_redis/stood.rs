//! A gateway that stood still while others went on, and gateways whose clocks differ.
//!
//! Never here: what becomes of it among many other faults ([`crate::chaos`]).

use std::time::{Duration, Instant};

use postern::{
    engine::{
        Changed,
        hooks::{Hooks, Step},
    },
    lifecycle::WantedBasis,
    model::Span,
};
use rustix::process::Signal;

use crate::{
    child::Child,
    client::{Client, Ending},
    rig::{plan, prepared, serving, url},
    servers::Server,
    stage::{AT_ONCE, GLASS},
    watch::{ask, ask_whole, lone},
    world::*,
};

/// How long a machine stands still: longer than anything may be old. `POSTERN_STOOD` says another number of seconds.
fn stood_for() -> Duration {
    let seconds = std::env::var("POSTERN_STOOD").map_or(6, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

/// Two gateways in this process, and one in another, held between receipt and forwarding where that is armed.
fn with_child(redis: &Server) -> (Vec<World>, World, Child) {
    let servers = format!("url: \"{}\"", url(redis.port));
    let mut gateways =
        prepared(3, |name| plan(name, &servers, "", Hooks::default()).edit("sessions: { last: 8h }", GLASS));
    let third = gateways.pop().unwrap();
    let gateways = serving(gateways);
    let child = Child::start(&third, Some(Step::AccessRecorded), "hold");
    (gateways, third, child)
}

/// Waits for so long: what stands still does so for a time, and not until something.
fn stands(since: Instant, how_long: Duration) {
    until_within(how_long * 2, "it stood still", || since.elapsed() > how_long);
}

/// What was recorded before a gateway stood still is not forwarded once its session has ended, and neither is anything of what was
/// open, but for what was in hand.
#[test]
fn a_gateway_that_stood_still_hands_on_nothing_of_what_ended_meanwhile() {
    let redis = Server::start(&[]);
    let (gateways, third, mut child) = with_child(&redis);
    let a = &gateways[0];
    let (agent, admin) = (a.people.staff("sam"), a.people.admin("acme"));
    a.done(World::consent("acme", "full"), &admin);
    let session = a.start_session("acme", &agent);
    let read = |address, token: &str| ask(address, &lone("GET", "/t/acme/orders", token, ""));
    until("the session is known", || read(child.address, &agent).is(200, ""));
    // Between receipt and forwarding.
    child.tell("arm");
    child.hear("armed");
    let mut held = Client::connect(child.address);
    held.send(lone("PUT", "/t/acme/orders/held", &agent, "Content-Length: 0\r\n"));
    child.hear("held");
    child.signal(Signal::STOP);
    let stood = Instant::now();
    a.done(World::end("acme", &session), &admin);
    stands(stood, Duration::from_secs(2));
    child.signal(Signal::CONT);
    child.tell("release");
    let (how, _) = held.read_out();
    let arrived = third.upstream.seen().iter().any(|seen| seen.line().contains("/held"));
    assert!(!arrived, "what was recorded was forwarded after its session had ended elsewhere");
    println!(
        "| a gateway stands still between receipt and forwarding, and the session ends elsewhere | nothing is forwarded ({how:?}) | the same | 200 elsewhere at once, here when it goes on | the same as staff | |"
    );
    // Longer, with streams open.
    let session = a.start_session("acme", &agent);
    until("the session is known", || read(child.address, &agent).is(200, ""));
    let mut streams: Vec<Client> = ["events", "ticks&n=100000"]
        .iter()
        .map(|deed| {
            let mut client = Client::connect(child.address);
            client.send(request("GET", &format!("/t/acme/download?do={deed}"), &agent, ""));
            assert!(client.head().starts_with("HTTP/1.1 200"));
            client
        })
        .collect();
    let mut count = || -> u64 {
        child.tell("count");
        child.hear("count").parse().unwrap()
    };
    let first = count();
    until("pieces pass", || count() > first);
    child.signal(Signal::STOP);
    let stood = Instant::now();
    a.done(World::end("acme", &session), &admin);
    // Everybody else is served meanwhile.
    let asked = Instant::now();
    for gateway in &gateways {
        assert_eq!(read(gateway.gateway().address(), &admin).status, 200);
        assert_eq!(read(gateway.gateway().address(), &agent).status, 403);
    }
    assert!(asked.elapsed() < AT_ONCE * 4, "{:?}", asked.elapsed());
    let before = {
        stands(stood, stood_for());
        child.signal(Signal::CONT);
        stood.elapsed()
    };
    for stream in &mut streams {
        assert_eq!(stream.read_out().0, Ending::Reset);
    }
    let cut = stood.elapsed() - before;
    child.tell("count");
    let after: u64 = child.hear("count").parse().unwrap();
    child.tell("count");
    assert_eq!(child.hear("count").parse::<u64>().unwrap(), after, "nothing more passes");
    assert_eq!(read(child.address, &admin).status, 200);
    // What it knows is too old at first, and then says that the session is over.
    until("it has heard of the end", || match read(child.address, &agent).status {
        503 => false,
        status => {
            assert_eq!(status, 403);
            true
        }
    });
    println!(
        "| a gateway stands still for {} s | streams are reset {:.2} s after it goes on | the same | 200 elsewhere at once, here when it goes on | the same as staff | |",
        stood_for().as_secs(),
        cut.as_secs_f64()
    );
    assert!(cut < Duration::from_secs(2), "{cut:?}");
    child.kill();
    for gateway in gateways {
        gateway.finish();
    }
}

/// Of gateways two minutes apart each ends what is over by its own clock; what one of them has ended is over everywhere. Nothing lasts
/// longer for it.
#[test]
fn of_clocks_two_minutes_apart_the_one_ahead_ends_first() {
    let redis = Server::start(&[]);
    let servers = format!("url: \"{}\"", url(redis.port));
    let more = Box::leak(format!("{GLASS}\ndangerous: {{ clock: true }}").into_boxed_str());
    let gateways = serving(prepared(3, |name| {
        plan(name, &servers, "", Hooks::default()).edit("sessions: { last: 8h }", more)
    }));
    let (a, b) = (&gateways[0], &gateways[1]);
    let (short, long, admin) = (a.people.staff("sam"), a.people.staff("vera"), a.people.admin("acme"));
    a.done(World::consent("acme", "full"), &admin);
    b.session_on("acme", &short, WantedBasis::Consent, Some(Span::Millis(60_000)));
    b.start_session("acme", &long);
    let read = |gateway: &World, token: &str| {
        ask(gateway.gateway().address(), &lone("GET", "/t/acme/orders", token, ""))
    };
    for gateway in &gateways {
        until("the sessions are known", || {
            [&short, &long].iter().all(|agent| read(gateway, agent).is(200, ""))
        });
    }
    let body = "{\"advance\":\"2m\"}";
    let text = format!(
        "POST /clock HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let moved = Instant::now();
    let (said, answer) = ask_whole(a.gateway().operations(), &text);
    assert_eq!(said.status, 200, "{answer}");
    let ahead = read(a, &short);
    assert_eq!(ahead.status, 403, "{ahead}");
    for gateway in &gateways[1..] {
        until("what one of them has ended is over everywhere", || read(gateway, &short).status == 403);
    }
    let everywhere = moved.elapsed();
    for gateway in &gateways {
        assert_eq!(read(gateway, &long).status, 200, "nobody else is concerned");
        assert_eq!(read(gateway, &admin).status, 200);
    }
    // What is changed by a clock behind is remembered among many changes by the one ahead: else a healing would take what it changed for
    // another history, and the narrower of both would hold.
    for round in 0..40 {
        a.done(World::consent("acme", if round % 2 == 0 { "edit" } else { "full" }), &admin);
    }
    let change = loop {
        match b.change(World::consent("acme", "edit"), &admin) {
            Ok(Changed::Done { change, .. }) => break change,
            other => assert!(matches!(other, Ok(Changed::InForce { .. } | Changed::Unchanged)), "{other:?}"),
        }
        a.done(World::consent("acme", "full"), &admin);
    };
    a.done(World::consent("acme", "full"), &admin);
    let key = postern::model::Key::Tenant(tenant("acme"));
    let stored = block(a.gateway().engine().store().load(&[key])).unwrap().pop().unwrap().unwrap().unwrap();
    assert!(stored.changes.contains(&change), "{change} is forgotten: {:?}", stored.changes);
    // What begins by the clock ahead is good by the others, and over by its own deadline at the latest.
    a.session_on("acme", &short, WantedBasis::Consent, Some(Span::Millis(60_000)));
    for gateway in &gateways {
        until("it is good everywhere", || read(gateway, &short).is(200, ""));
    }
    println!(
        "| clocks two minutes apart | 200; of a session that is over by the clock ahead {ahead} there at once, everywhere {:.1} s later | the same | 200 | as staff | sessions end early, never late |",
        everywhere.as_secs_f64()
    );
    for gateway in gateways {
        gateway.finish();
    }
}
