//! A store in Redis with many tenants and sessions: what it takes there, how a gateway starts on it and copies it into its shadow,
//! what a miss costs, what goes on without anybody asking, how Redis is filled again that was emptied. And what a decision costs on it, beside the embedded store: in instructions.
//!
//! ```text
//! cargo bench --bench fleet                                        # 20,000 tenants, 2,000 sessions
//! cargo bench --bench fleet -- --tenants 1000000 --sessions 100000
//! cargo bench --bench fleet -- decisions                           # instructions, by valgrind
//! ```
//!
//! It starts its own `redis-server`, which keeps nothing on disk, and a gateway in a process of its own. Everything shares the
//! machine: look at ratios first. Tenants and sessions are made by the rules and committed as a gateway commits, many at a time; only the ledger
//! is left out of it.
//!
//! Never here: a machine's figures (docs/performance.md).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    unreachable_pub,
    missing_docs,
    reason = "a benchmark"
)]

mod ask;
mod decisions;
mod fill;
#[path = "../machine/mod.rs"]
mod machine;
mod place;
mod server;
mod shadow;

use std::time::{Duration, Instant};

use postern::app::{Extra, Gateway};

use self::{
    ask::{Client, quantiles},
    fill::Filled,
    place::Place,
    server::{Redis, Running, megabytes},
};

/// How many requests are measured of each kind.
const ASKED: usize = 2_000;
/// For how long what goes on by itself is looked at.
const IDLE: Duration = Duration::from_secs(10);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["gateway", dir] => gateway(std::path::Path::new(dir)),
        ["count", rest @ ..] => decisions::counted(rest),
        ["decisions"] => decisions::table(),
        words => whole(number(words, "--tenants", 20_000), number(words, "--sessions", 2_000)),
    }
}

fn number(words: &[&str], name: &str, default: usize) -> usize {
    let at = words.iter().position(|word| *word == name);
    at.map_or(default, |at| words[at + 1].parse().expect("a number follows"))
}

/// Plays the gateway, until it is killed.
/// Plays the gateway, until nobody holds the other end of its input any more.
fn gateway(dir: &std::path::Path) {
    let gateway = Gateway::start(place::settings(dir), Extra::default()).unwrap();
    let _end = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    gateway.stop();
}

fn whole(tenants: usize, sessions: usize) {
    let redis = Redis::start();
    println!("{}; {}.\n", machine::machine(), redis.version());
    let place = Place::make(redis.port);
    let filled = fill::fill(&place, &redis, tenants, sessions);
    println!("\n| what | |\n| --- | ---: |");
    let (begun, its) = (Instant::now(), redis.cpu());
    let running = start(&place, &filled, begun);
    shadow::filling(&place, &redis, &running, &filled, begun);
    quiet(&redis, &running, begun, its);
    misses(&place, &running, &filled);
    by_itself(&place, &redis, &running, &filled);
    let running = shadow::again(&place, &redis, running, &filled);
    shadow::emptied(&place, &redis, &running, &filled);
}

/// From a process that is begun to what it answers.
fn start<'p>(place: &'p Place, filled: &Filled, begun: Instant) -> Running<'p> {
    let running = Running::start(place);
    println!("| start of a cold gateway, to `/readyz` | {:.0} ms |", begun.elapsed().as_secs_f64() * 1e3);
    filled.served(&mut Client::connect(place.port), place, 0);
    println!("| … to the first staff request served | {:.0} ms |", begun.elapsed().as_secs_f64() * 1e3);
    println!("| resident then | {:.1} MB |", megabytes(running.resident()));
    running
}

/// Waits until a gateway does no more by itself than beat; what it used since it was begun, and Redis since then.
fn quiet(redis: &Redis, running: &Running<'_>, begun: Instant, its: Duration) {
    // Whatever it does in the background is done when three looks in a row see no more than beats.
    let (mut quiet, mut last) = (0, running.cpu());
    while quiet < 3 {
        std::thread::sleep(Duration::from_secs(1));
        let now = running.cpu();
        quiet = if now - last < Duration::from_millis(60) { quiet + 1 } else { 0 };
        last = now;
        if begun.elapsed() > Duration::from_secs(1800) {
            println!("| … it is not quiet after 30 min | |");
            break;
        }
    }
    println!(
        "| until it is quiet | {:.0} s |",
        (begun.elapsed() - Duration::from_secs(3)).as_secs_f64().max(0.0)
    );
    println!(
        "| CPU of the gateway, of Redis until then | {:.1} s, {:.1} s |",
        running.cpu().as_secs_f64(),
        (redis.cpu() - its).as_secs_f64()
    );
    println!(
        "| resident then, and at most until then | {:.1} MB, {:.1} MB |",
        megabytes(running.resident()),
        megabytes(running.most_resident())
    );
}

/// The first request in a tenant, and the second, in turn: what else happens on the machine happens to both.
fn misses(place: &Place, running: &Running<'_>, filled: &Filled) {
    let mut client = Client::connect(place.port);
    let (mut missed, mut hit) = (Vec::new(), Vec::new());
    // The first ones were asked for while the shadow was filled.
    let asked = shadow::ASKED_IN.min(filled.sessions - 1);
    let count = ASKED.min(filled.sessions - asked);
    let before = running.resident();
    for number in asked..asked + count {
        for took in [&mut missed, &mut hit] {
            let begun = Instant::now();
            filled.served(&mut client, place, number);
            took.push(begun.elapsed().as_secs_f64() * 1e6);
        }
    }
    for (what, took) in [("first request of staff in a tenant", missed), ("the second", hit)] {
        let [p50, p99] = quantiles(took);
        println!("| {what}, p50, p99 | {p50:.0} µs, {p99:.0} µs |");
    }
    for number in asked + count..filled.sessions {
        filled.served(&mut client, place, number);
    }
    let grown = running.resident().saturating_sub(before);
    let per = grown as f64 / (filled.sessions - asked) as f64 / 1024.0;
    println!(
        "| memory for {} more tenants in which somebody works | {:.1} MB, {per:.2} KiB each |",
        filled.sessions - asked,
        megabytes(grown)
    );
}

/// What goes on while nobody asks, and while one tenant's consent changes each second.
fn by_itself(place: &Place, redis: &Redis, running: &Running<'_>, filled: &Filled) {
    std::thread::sleep(Duration::from_secs(2));
    for (what, changes) in
        [("while nobody asks", 0), ("while one consent changes each second", IDLE.as_secs())]
    {
        let (mine, its, sent) = (running.cpu(), redis.cpu(), redis.sent());
        let begun = Instant::now();
        for number in 0..changes {
            filled.change_consent(place, number as usize);
            let next = Duration::from_secs(number + 1);
            std::thread::sleep(next.saturating_sub(begun.elapsed()));
        }
        std::thread::sleep(IDLE.saturating_sub(begun.elapsed()));
        let of_a_second = |cpu: Duration| cpu.as_secs_f64() * 1e3 / IDLE.as_secs_f64();
        println!(
            "| CPU a second {what}, gateway, Redis | {:.1} ms, {:.1} ms |",
            of_a_second(running.cpu() - mine),
            of_a_second(redis.cpu() - its)
        );
        println!(
            "| … and what Redis sends | {:.1} kB/s |",
            (redis.sent() - sent) as f64 / IDLE.as_secs_f64() / 1e3
        );
    }
}
