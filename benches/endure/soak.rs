//! Everything at once for a long time: does memory, do descriptors, does latency stay where they are?
//!
//! What counts as flat: over the judged time (after a tenth of the whole, at least 30 s, in which caches fill) memory's
//! slope (Theil and Sen's, which single peaks do not move) adds up to no more than 3 % of it or 2 MiB, descriptors' to no
//! more than 3 % or 5, threads' to none; and nothing failed. The ledger grows with what staff do: it is drawn, not judged.

use std::{
    fmt::Write as _,
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::task::LocalSet;

use super::{
    live::Live,
    plot::{Panel, svg},
    steady::{Seen, Who, asks, comes_and_goes, sockets, streams},
};
use crate::{
    load::{Load, Request},
    measure::{cpu_us, median, quantile},
    world::{Plan, World, pin_self},
};

/// Members' keep-alive connections, and how many different people ask.
const CONNECTIONS: usize = 64;
const PEOPLE: usize = 500;
/// Staff's connections, and their requests a second over all of them.
const STAFF: usize = 4;
const STAFF_RATE: usize = 80;
/// Streams and WebSockets that are open at a time: members', and staff's.
const OPEN: [usize; 2] = [16, 4];
/// How often another configuration is put in force.
const RELOAD: Duration = Duration::from_secs(10);

/// What a run is to be.
pub struct Wishes {
    seconds: u64,
    share: f64,
    out: PathBuf,
}

impl Wishes {
    pub fn of(args: &[String]) -> Wishes {
        let after = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
        let minutes: f64 = after("--minutes").and_then(|n| n.parse().ok()).unwrap_or(20.0);
        Wishes {
            seconds: (minutes * 60.0) as u64,
            share: after("--share").and_then(|n| n.parse().ok()).unwrap_or(0.7),
            out: after("--out")
                .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../soak"), PathBuf::from),
        }
    }
}

/// One second.
#[derive(Clone, Copy)]
struct Sample {
    second: f64,
    rss_kib: f64,
    descriptors: f64,
    threads: f64,
    ledger_mib: f64,
    rate: f64,
    p50: f64,
    p99: f64,
    most: f64,
    staff_p50: f64,
    staff_p99: f64,
    cpu: f64,
}

/// One value of a sample.
type Of = fn(&Sample) -> f64;
type Column = (&'static str, Of);

const COLUMNS: [Column; 12] = [
    ("second", |s| s.second),
    ("rss_kib", |s| s.rss_kib),
    ("descriptors", |s| s.descriptors),
    ("threads", |s| s.threads),
    ("ledger_mib", |s| s.ledger_mib),
    ("requests", |s| s.rate),
    ("p50_us", |s| s.p50),
    ("p99_us", |s| s.p99),
    ("most_us", |s| s.most),
    ("staff_p50_us", |s| s.staff_p50),
    ("staff_p99_us", |s| s.staff_p99),
    ("cpu_percent", |s| s.cpu),
];

/// Runs it; whether everything stayed flat and nothing failed.
pub fn run(wishes: &Wishes) -> bool {
    let world = World::make();
    let _origin = world.origin();
    let socket = "routes:\n  - { route: \"GET /t/{tenant}/socket\", permission: orders:read, effect: read, upgrade: websocket }";
    let live = Live::postern(&world, world.core(), Plan::default(), &[("routes:", socket)]);
    pin_self(1 - world.core());
    let [member, agent] = world.tokens();
    live.enter(agent);
    let people = Rc::new(world.people(PEOPLE));
    let capacity = {
        let mut load = Load::new(live.port, CONNECTIONS);
        load.run(&people, 20_000);
        let began = Instant::now();
        load.run(&people, 100_000);
        100_000.0 / began.elapsed().as_secs_f64()
    };
    let rate = capacity * wishes.share;
    println!(
        "capacity {capacity:.0} requests/s of members alone; {:.0} % of it: {rate:.0}/s",
        wishes.share * 100.0
    );
    let seen = Rc::new(Seen::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let samples = LocalSet::new().block_on(&runtime, async {
        let step = Duration::from_secs_f64(CONNECTIONS as f64 / rate);
        for number in 0..CONNECTIONS {
            asks(&seen, live.port, Rc::clone(&people), Who::Member, number, Some(step));
        }
        let staff: Rc<Vec<Request>> = world.staff();
        let step = Duration::from_secs_f64(STAFF as f64 / STAFF_RATE as f64);
        for number in 0..STAFF {
            asks(&seen, live.port, Rc::clone(&staff), Who::Staff, number, Some(step));
        }
        for (token, count) in [member, agent].into_iter().zip(OPEN) {
            for number in 0..count {
                tokio::time::sleep(Duration::from_millis(17)).await;
                streams(
                    &seen,
                    live.port,
                    world.asking(&format!("/t/acme/api/orders/stream-{number}"), token, ""),
                );
                let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
                sockets(&seen, live.port, world.asking("/t/acme/socket", token, upgrade));
            }
        }
        comes_and_goes(&seen, live.port, Rc::clone(&people), Duration::from_millis(25));
        sample(&live, &seen, wishes.seconds).await
    });
    let faults = seen.faults.borrow().clone();
    let whole = live.stop(&world);
    verdict(wishes, &samples, &seen, &faults, whole)
}

/// Looks once a second, and reloads now and then.
async fn sample(live: &Live, seen: &Seen, seconds: u64) -> Vec<Sample> {
    let file = live.at.join("postern.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut samples = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.tick().await;
    let began = Instant::now();
    let (mut cpu, mut last) = (cpu_us(live.pid), began);
    for second in 1..=seconds {
        tick.tick().await;
        let taken = |list: &std::cell::RefCell<Vec<f64>>| std::mem::take(&mut *list.borrow_mut());
        let (mut members, mut staff) = (taken(&seen.members), taken(&seen.staff));
        let at = |list: &mut [f64], q| if list.is_empty() { f64::NAN } else { quantile(list, q) };
        let (now, spent) = (Instant::now(), cpu_us(live.pid));
        let took = now.duration_since(last).as_secs_f64();
        samples.push(Sample {
            second: began.elapsed().as_secs_f64(),
            rss_kib: live.rss() as f64,
            descriptors: live.descriptors() as f64,
            threads: live.threads() as f64,
            ledger_mib: live.ledger() as f64 / f64::from(1 << 20),
            rate: members.len() as f64 / took,
            p50: at(&mut members, 0.5),
            p99: at(&mut members, 0.99),
            most: at(&mut members, 1.0),
            staff_p50: at(&mut staff, 0.5),
            staff_p99: at(&mut staff, 0.99),
            cpu: (spent - cpu) / took / 1e4,
        });
        (cpu, last) = (spent, now);
        if second % RELOAD.as_secs() == 0 {
            // Each is another policy than the one before.
            let hours = 2 + (second / RELOAD.as_secs()) % 7;
            std::fs::write(
                &file,
                text.replace("sessions: { last: 8h }", &format!("sessions: {{ last: {hours}h }}")),
            )
            .unwrap();
            live.signal("HUP");
        }
    }
    // Reloads that did not take are faults too.
    let refused = live.metric("postern_config_reloads_total{result=\"refused\"}");
    let applied = live.metric("postern_config_reloads_total{result=\"applied\"}");
    if refused != 0.0 || applied + 1.0 < (seconds / RELOAD.as_secs()) as f64 {
        seen.faults.borrow_mut().push(format!("reloads: {applied} applied, {refused} refused"));
    }
    seen.stop.set(true);
    tokio::time::sleep(Duration::from_millis(300)).await;
    samples
}

/// What a value grows by each second, by Theil and Sen: the median of the slopes between pairs.
fn slope(samples: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    let mut slopes = Vec::new();
    let apart = samples.len() / 3;
    for (first, second) in samples.iter().zip(samples.iter().skip(apart.max(1))) {
        slopes.push((of(second) - of(first)) / (second.second - first.second));
    }
    median(&mut slopes)
}

fn verdict(wishes: &Wishes, samples: &[Sample], seen: &Seen, faults: &[String], whole: bool) -> bool {
    std::fs::create_dir_all(&wishes.out).unwrap();
    let mut csv = COLUMNS.map(|(name, _)| name).join(",") + "\n";
    for sample in samples {
        let cells = COLUMNS.map(|(_, of)| format!("{:.1}", of(sample)));
        writeln!(csv, "{}", cells.join(",")).unwrap();
    }
    std::fs::write(wishes.out.join("soak.csv"), csv).unwrap();
    let from = (samples.len() / 10).max(30).min(samples.len() / 2);
    let judged = &samples[from..];
    let all = |of: fn(&Sample) -> f64| samples.iter().map(of).collect::<Vec<f64>>();
    let panel = |title, curves: Vec<(&'static str, Vec<f64>)>, from_zero| Panel { title, curves, from_zero };
    let seconds = all(|s| s.second);
    let panels = [
        panel("resident memory, MiB", vec![("memory", all(|s| s.rss_kib / 1024.0))], true),
        panel(
            "descriptors and threads",
            vec![("descriptors", all(|s| s.descriptors)), ("threads", all(|s| s.threads))],
            true,
        ),
        panel("members' latency, µs", vec![("p50", all(|s| s.p50)), ("p99", all(|s| s.p99))], true),
        panel(
            "staff's latency (record durable first), µs",
            vec![("p50", all(|s| s.staff_p50)), ("p99", all(|s| s.staff_p99))],
            true,
        ),
        panel(
            "requests of members, thousands a second; ledger, MiB",
            vec![("requests", all(|s| s.rate / 1e3)), ("ledger", all(|s| s.ledger_mib))],
            true,
        ),
    ];
    let title = format!(
        "{} minutes at {:.0} % load, a reload every {} s; judged from the dashed line on",
        samples.len() / 60,
        wishes.share * 100.0,
        RELOAD.as_secs()
    );
    std::fs::write(wishes.out.join("soak.svg"), svg(&title, &seconds, seconds[from], &panels)).unwrap();

    let window =
        judged.last().map_or(0.0, |last| last.second) - judged.first().map_or(0.0, |first| first.second);
    let mut fine = true;
    println!("\n| what | median | least | most | grows by, over {window:.0} s | may grow by | |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | --- |");
    let judgements: [(&str, Of, f64, f64); 3] = [
        ("resident memory, KiB", |s| s.rss_kib, 0.03, 2048.0),
        ("descriptors", |s| s.descriptors, 0.03, 5.0),
        ("threads", |s| s.threads, 0.0, 0.5),
    ];
    for (name, of, share, least_bound) in judgements {
        let mut values: Vec<f64> = judged.iter().map(of).collect();
        let middle = median(&mut values);
        let grows = slope(judged, of) * window;
        let may = (middle * share).max(least_bound);
        let flat = grows <= may;
        fine &= flat;
        let (least, most) = (values[0], values[values.len() - 1]);
        println!(
            "| {name} | {middle:.0} | {least:.0} | {most:.0} | {grows:.1} | {may:.1} | {} |",
            if flat { "flat" } else { "GROWS" }
        );
    }
    for (name, of) in [
        ("members' p50, µs", (|s: &Sample| s.p50) as Of),
        ("members' p99, µs", |s| s.p99),
        ("staff's p50, µs", |s| s.staff_p50),
        ("staff's p99, µs", |s| s.staff_p99),
        ("members' requests/s", |s| s.rate),
        ("CPU of the gateway, %", |s| s.cpu),
        ("ledger, MiB", |s| s.ledger_mib),
    ] {
        let mut values: Vec<f64> = judged.iter().map(of).filter(|value| value.is_finite()).collect();
        if values.is_empty() {
            continue;
        }
        let middle = median(&mut values);
        println!(
            "| {name} | {middle:.0} | {:.0} | {:.0} | {:.1} | | |",
            values[0],
            values[values.len() - 1],
            slope(judged, of) * window
        );
    }
    println!(
        "\n{} streams and {} WebSockets came to their end as they must; {} faults; the ledger is {}.",
        seen.streams.get(),
        seen.sockets.get(),
        faults.len(),
        if whole { "whole" } else { "NOT WHOLE" }
    );
    for fault in faults.iter().take(10) {
        println!("  {}", fault.lines().next().unwrap_or_default());
    }
    println!("curves in {0}/soak.svg, figures in {0}/soak.csv", wishes.out.display());
    fine && faults.is_empty() && whole
}
