//! A gateway's shadow: how long it takes to copy a store that was there before the gateway was, what that costs and who notices,
//! and how a gateway starts whose shadow has everything.
//!
//! Never here: what a store takes in Redis ([`super::fill`]).

use std::time::{Duration, Instant};

use super::{
    ask::{Client, quantiles},
    fill::Filled,
    place::Place,
    quiet,
    server::{Redis, Running, megabytes},
};

/// In how many tenants staff ask meanwhile.
pub const ASKED_IN: usize = 64;
/// How long after each request the next one begins.
const EVERY: Duration = Duration::from_millis(10);
/// For how long they ask when it is over, to compare.
const AFTER: Duration = Duration::from_secs(20);
/// How long may pass until it is over.
const PATIENCE: Duration = Duration::from_secs(1800);

/// What staff asked for and how long that took, and what it cost.
struct Asked {
    took: Vec<f64>,
    seconds: f64,
    gateway: Duration,
    redis: Duration,
}

impl Asked {
    /// Staff ask for what the gateway knows, as long as somebody says.
    fn so_long(
        place: &Place,
        redis: &Redis,
        running: &Running<'_>,
        filled: &Filled,
        mut on: impl FnMut(Duration) -> bool,
    ) -> Asked {
        let mut client = Client::connect(place.port);
        let (begun, mine, its) = (Instant::now(), running.cpu(), redis.cpu());
        let mut took = Vec::new();
        while on(begun.elapsed()) {
            let number = took.len() % ASKED_IN.min(filled.sessions);
            let asking = Instant::now();
            filled.served(&mut client, place, number);
            took.push(asking.elapsed().as_secs_f64() * 1e6);
            std::thread::sleep(EVERY.saturating_sub(asking.elapsed()));
        }
        Asked {
            took,
            seconds: begun.elapsed().as_secs_f64(),
            gateway: running.cpu() - mine,
            redis: redis.cpu() - its,
        }
    }

    fn tell(self, when: &str) {
        let of_a_second = |cpu: Duration| cpu.as_secs_f64() * 1e3 / self.seconds;
        println!(
            "| CPU a second {when}, with {} requests of staff a second, gateway, Redis | {:.0} ms, {:.0} ms |",
            1000 / EVERY.as_millis(),
            of_a_second(self.gateway),
            of_a_second(self.redis)
        );
        let [p50, p99] = quantiles(self.took);
        println!("| … and how long those took, p50, p99 | {p50:.0} µs, {p99:.0} µs |");
    }
}

/// How many parts of the store a gateway still copies.
fn copying(place: &Place) -> u64 {
    place.metric("postern_shadow_parts_copying") as u64
}

fn file(place: &Place) -> u64 {
    std::fs::metadata(place.dir().join("shadow.redb")).unwrap().len()
}

/// The shadow of a gateway that was just started without one, while staff work.
pub fn filling(place: &Place, redis: &Redis, running: &Running<'_>, filled: &Filled, begun: Instant) {
    let mut client = Client::connect(place.port);
    for number in 0..ASKED_IN.min(filled.sessions) {
        filled.served(&mut client, place, number);
    }
    let [written, _] = running.disk();
    let mut left = copying(place);
    // Of few tenants it is over before anybody looks.
    if left > 0 {
        let mut looked = Instant::now();
        let asked = Asked::so_long(place, redis, running, filled, |passed| {
            if looked.elapsed() > Duration::from_millis(200) {
                (left, looked) = (copying(place), Instant::now());
            }
            assert!(passed < PATIENCE, "the copy does not end: {left} parts are left");
            left > 0
        });
        println!(
            "| the store is copied into the shadow, from the start | {:.1} s |",
            begun.elapsed().as_secs_f64()
        );
        asked.tell("while it copies");
    }
    Asked::so_long(place, redis, running, filled, |passed| passed < AFTER).tell("afterwards");
    println!("| the shadow's file | {:.1} MB, {:.0} bytes for each document |", megabytes(file(place)), {
        file(place) as f64 / filled.documents() as f64
    });
    println!("| written to the disk, ledger included | {:.1} MB |", megabytes(running.disk()[0] - written));
}

/// Stops a gateway whose shadow is full, and starts it again.
pub fn again<'p>(place: &'p Place, redis: &Redis, running: Running<'p>, filled: &Filled) -> Running<'p> {
    let begun = Instant::now();
    running.stop();
    println!("| it stops | {:.0} ms |", begun.elapsed().as_secs_f64() * 1e3);
    println!("| the shadow's file then | {:.1} MB |", megabytes(file(place)));
    let begun = Instant::now();
    let (its, running) = (redis.cpu(), Running::start(place));
    println!("| start with a full shadow, to `/readyz` | {:.0} ms |", begun.elapsed().as_secs_f64() * 1e3);
    filled.served(&mut Client::connect(place.port), place, 0);
    println!("| … to the first staff request served | {:.0} ms |", begun.elapsed().as_secs_f64() * 1e3);
    println!(
        "| … CPU, and read from the disk, until then | {:.1} s, {:.1} MB |",
        running.cpu().as_secs_f64(),
        { megabytes(running.disk()[1]) }
    );
    assert_eq!(copying(place), 0, "a shadow that is full is copied anew");
    quiet(redis, &running, begun, its);
    running
}

/// Empties Redis under a gateway whose shadow is full.
pub fn emptied(place: &Place, redis: &Redis, running: &Running<'_>, filled: &Filled) {
    let (mine, its) = (running.cpu(), redis.cpu());
    assert_eq!(redis.tell(&[b"FLUSHALL"]), "OK");
    let begun = Instant::now();
    while place.metric("postern_state_parts_suspect") == 0.0 {
        assert!(begun.elapsed() < PATIENCE, "nobody notices");
        std::thread::sleep(Duration::from_millis(10));
    }
    while place.metric("postern_state_parts_suspect") > 0.0 {
        assert!(begun.elapsed() < PATIENCE, "it is not healed");
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("| Redis emptied, until all parts are healed | {:.1} s |", begun.elapsed().as_secs_f64());
    println!(
        "| … CPU of the gateway, of Redis until then | {:.1} s, {:.1} s |",
        (running.cpu() - mine).as_secs_f64(),
        (redis.cpu() - its).as_secs_f64()
    );
    filled.served(&mut Client::connect(place.port), place, 0);
    println!("| … to the first staff request served | {:.1} s |", begun.elapsed().as_secs_f64());
}
