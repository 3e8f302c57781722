//! `slowhttptest` in its four modes, and an innocent client beside it.
//!
//! The attacker is a member, with a token in a cookie: who has none is turned away before anything is held for them.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    innocent::{Waited, ask},
    live::Live,
};
use crate::{
    load::Request,
    measure::cpu_us,
    world::{Plan, World, pin_self},
};

/// Connections of the attack, and new ones a second.
const ATTACK: &str = "4000";
const PACE: &str = "1000";
/// How long the innocent ask, in seconds; they begin when all of the attack has come.
const ASK: usize = 12;
const AFTER: u64 = 5;

/// What the p99 under attack may be, given that of quiet, in microseconds.
fn bound(quiet: f64) -> f64 {
    (5.0 * quiet).max(quiet + 10_000.0)
}

/// Runs all four, prints a table; whether the innocent were served as before.
pub fn run() -> bool {
    let world = World::make();
    let _origin = world.origin();
    let cookie = [
        (
            "keys: { file: ../members.jwks.json } }",
            "keys: { file: ../members.jwks.json }, cookie: app_session }",
        ),
        ("keep_alive: 300s", "keep_alive: 60s"),
    ];
    let live = Live::postern(&world, world.core(), Plan::default(), &cookie);
    pin_self(1 - world.core());
    let request = world.small()[0].clone();
    let [member, _] = world.tokens();
    let cookie = format!("app_session={member}");
    ask(live.port, &request, 2);
    let (quiet, cpu) = watched(&live, &request);
    let rss = live.rss();
    let mut rows = vec![("none", quiet, live.metric("postern_connections"), rss, cpu, true)];
    let small = format!("http://127.0.0.1:{}/t/acme/api/orders/small-1", live.port);
    let large = format!("http://127.0.0.1:{}/t/acme/api/orders/large-1", live.port);
    let post = format!("http://127.0.0.1:{}/t/acme/api/orders", live.port);
    let modes: [(&str, Vec<&str>); 4] = [
        ("slow headers (-H)", vec!["-H", "-i", "2", "-u", &small]),
        ("slow bodies (-B)", vec!["-B", "-i", "2", "-s", "8192", "-u", &post]),
        ("ranges (-R)", vec!["-R", "-a", "1", "-b", "3000", "-u", &large]),
        (
            "slow reading (-X)",
            vec!["-X", "-w", "16", "-y", "64", "-n", "2", "-z", "16", "-k", "3", "-u", &large],
        ),
    ];
    for (name, args) in modes {
        let log = std::fs::File::create(world.dir().join("slowhttptest")).unwrap();
        // Attackers have machines of their own: here theirs gives way to the innocent's.
        let mut attack = Command::new("nice")
            .args(["-n", "10", "slowhttptest", "-c", ATTACK, "-r", PACE, "-p", "3", "-j", &cookie])
            .args(["-l", &(AFTER + ASK as u64 + 1).to_string()])
            .args(&args)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .expect("`slowhttptest` is missing: `apt-get install slowhttptest`");
        // Ranges are asked for once, and it is over when they are answered.
        if args[0] != "-R" {
            std::thread::sleep(Duration::from_secs(AFTER));
        }
        let held = live.metric("postern_connections");
        let (waited, cpu) = watched(&live, &request);
        let rss = live.rss();
        let until = Instant::now() + Duration::from_secs(60);
        while attack.try_wait().unwrap().is_none() {
            if Instant::now() > until {
                let _ = attack.kill();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let came = said(&world.dir().join("slowhttptest"));
        // What did not come proves nothing. Ranges end by themselves, and are counted by nobody then, once all that were
        // asked for are answered faster than new ones come.
        let answered = args[0] == "-R" && all_answered(&world.dir().join("slowhttptest"));
        let attacked = answered || came * 10 >= ATTACK.parse::<u64>().unwrap() * 9;
        if !attacked {
            eprintln!("{name}: only {came} connections attacked");
        }
        rows.push((name, waited, held, rss, cpu, attacked && waited.p99 <= bound(quiet.p99)));
    }
    println!(
        "\n| attack | connections held | p50 µs | p99 µs | most µs | gateway's CPU % | RSS MiB | as before |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |");
    for (name, waited, held, rss, cpu, fine) in &rows {
        let fine = if *fine { "yes" } else { "NO" };
        println!("| {name} | {held:.0} | {} | {cpu:.0} | {} | {fine} |", waited.cells(), rss / 1024);
    }
    println!(
        "\n{ATTACK} connections of a member's, {PACE} new ones a second; 400 requests a second of somebody innocent, every \
         one answered 200. Bound of their p99: five times that of quiet, or 10 ms more."
    );
    let fine = rows.iter().all(|row| row.5);
    let Waited { p99, .. } = quiet;
    println!(
        "{}",
        if fine {
            "nobody innocent waited".to_owned()
        } else {
            format!("FAILED: p99 above {:.0} µs", bound(p99))
        }
    );
    fine
}

/// What the innocent wait, and what share of a core the gateway takes meanwhile.
fn watched(live: &Live, request: &Request) -> (Waited, f64) {
    let (began, before) = (Instant::now(), cpu_us(live.pid));
    let waited = ask(live.port, request, ASK);
    (waited, (cpu_us(live.pid) - before) / began.elapsed().as_secs_f64() / 1e4)
}

/// Whether the attack ended because every connection of it had its answer.
fn all_answered(log: &Path) -> bool {
    std::fs::read_to_string(log).is_ok_and(|text| text.contains("No open connections left"))
}

/// The attacker's own last count: how many of its connections came to anything, open or closed again by now.
fn said(log: &Path) -> u64 {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let count = |name: &str| {
        let line = text.lines().rev().find(|line| line.contains(name)).unwrap_or_default();
        // The digits of colours stand before the count.
        line.split(|c: char| !c.is_ascii_digit())
            .filter_map(|word| word.parse::<u64>().ok())
            .next_back()
            .unwrap_or(0)
    };
    let (open, closed, failed) = (count("connected:"), count("closed:"), count("error:"));
    eprintln!("  slowhttptest: {open} open at its end, {closed} closed, {failed} failed");
    open + closed
}
