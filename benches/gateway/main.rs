//! The gateway end to end, beside nginx and a bare hyper proxy that enforce nothing, in one run.
//!
//! ```text
//! cargo bench --bench gateway                         # prints tables
//! cargo bench --bench gateway -- --write              # and puts them into docs/performance.md
//! cargo bench --bench gateway -- --rounds 15 --only cpu,latency,instructions,syscalls
//! cargo bench --bench gateway -- peers                # the same beside HAProxy and Envoy (scripts/peers)
//! cargo bench --bench gateway -- slow | idle | soak   # what wears a gateway down (scripts/slow, scripts/soak)
//! ```
//!
//! Wanted beside cargo: `nginx` (Debian: `apt-get install nginx-light`) and `taskset`; for instructions `perf` with
//! hardware counters or else `valgrind`; for system calls `strace`. What is missing is said, and its tables are left out.
//!
//! Gateways are pinned to the core that is nearer to the disk, origin and load to the other of the first two. This
//! program plays all parts but nginx: it starts itself anew as origin, as bare proxy, and as Postern with a real
//! configuration (tokens verified by ES256 and cached, 40 routes, roles, limits, embedded store, ledger on disk). The
//! allocator is the one of the `postern` program.
//!
//! Never here: a bound that fails a build. Machines are shared; a person reads these figures.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    unreachable_pub,
    missing_docs,
    reason = "a bench may stop, prints, reads clocks, and is one crate of few files"
)]

mod bare;
#[path = "../endure/mod.rs"]
mod endure;
mod load;
#[path = "../machine/mod.rs"]
mod machine;
mod measure;
mod origin;
#[path = "../peers/mod.rs"]
mod peers;
mod report;
mod secure;
mod world;

use std::{path::Path, time::Instant};

use load::Load;
use measure::{Tool, cpu_us, median, quantile};
use report::Report;
use world::{Kind, Peer, World};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keep-alive connections of the load.
const CONNECTIONS: usize = 64;
/// Requests of one round, by row.
const MEMBERS: usize = 20_000;
const COLD: usize = 3_000;
const STAFF: usize = 6_000;
const LARGE: usize = 5_000;
/// Requests under a slow tool.
const COUNTED: usize = 2_000;

struct Wishes {
    rounds: usize,
    write: bool,
    only: Option<String>,
}

impl Wishes {
    fn of(args: &[String]) -> Wishes {
        let after = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
        Wishes {
            rounds: after("--rounds").and_then(|n| n.parse().ok()).unwrap_or(7),
            write: args.iter().any(|arg| arg == "--write"),
            only: after("--only").cloned(),
        }
    }

    fn want(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.split(',').any(|one| one == part))
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("origin") => origin::serve(args[1].parse().unwrap()),
        Some("bare") => bare::serve(args[1].parse().unwrap(), args[2].parse().unwrap()),
        Some("postern") => world::postern(Path::new(&args[1]), args[2] == "plain-clock"),
        Some("service") => peers::service::serve(args[1].parse().unwrap(), Path::new(&args[2])),
        Some("peers") => {
            let wishes = Wishes::of(&args);
            peers::run(wishes.rounds, wishes.write, wishes.only.as_deref());
        }
        Some("slow") => leave(endure::slow::run()),
        Some("idle") => {
            leave(endure::idle::run(args.get(1).and_then(|n| n.parse().ok()).unwrap_or(endure::idle::IDLE)))
        }
        Some("soak") => leave(endure::soak::run(&endure::soak::Wishes::of(&args))),
        _ => run(&Wishes::of(&args)),
    }
}

/// Ends this program with what a person or a script is to know of it.
fn leave(fine: bool) {
    if !fine {
        std::process::exit(1);
    }
}

fn run(wishes: &Wishes) {
    let world = World::make();
    let mut report = Report::new(wishes.rounds);
    if wishes.want("instructions") {
        instructions(&world, &mut report);
    }
    let (origin, peers) = (world.origin(), world.peers());
    let _origin = origin;
    warm(&world, &peers);
    if wishes.want("syscalls") {
        system_calls(&world, &peers, &mut report);
    }
    if wishes.want("cpu") {
        cpu(&world, &peers, wishes.rounds, &mut report);
    }
    if wishes.want("latency") {
        latency(&world, &peers, wishes.rounds, &mut report);
    }
    println!("{}", report.text());
    if wishes.write {
        report.write(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md"));
    }
}

fn warm(world: &World, peers: &[Peer]) {
    for peer in peers {
        Load::new(peer.port, CONNECTIONS).run(&world.small(), 4_000);
        Load::new(peer.port, CONNECTIONS).run(&world.large(), 500);
    }
}

fn of(peers: &[Peer], kind: Kind) -> &Peer {
    peers.iter().find(|peer| peer.kind == kind).unwrap()
}

/// CPU time a request, the peers in turn within each round, ratios taken round by round.
fn cpu(world: &World, peers: &[Peer], rounds: usize, report: &mut Report) {
    let mut loads: Vec<Load> = peers.iter().map(|peer| Load::new(peer.port, CONNECTIONS)).collect();
    let at = |kind| peers.iter().position(|peer| peer.kind == kind).unwrap();
    let (plain, bare, ours) = (at(Kind::Nginx), at(Kind::Bare), at(Kind::Postern));
    let rows: [(&str, usize, &[usize]); 4] = [
        ("member, GET 1 KiB, warm token", MEMBERS, &[plain, bare, ours]),
        ("member, GET 64 KiB, warm token", LARGE, &[plain, bare, ours]),
        ("member, GET 1 KiB, every token new", COLD, &[plain, ours]),
        ("staff, GET 1 KiB, record durable first", STAFF, &[plain, ours]),
    ];
    for (number, (name, count, players)) in rows.into_iter().enumerate() {
        // Of each player: microseconds of CPU a request, its ratio to nginx, requests a second.
        let mut seen = vec![(Vec::new(), Vec::new(), Vec::new()); peers.len()];
        for round in 0..rounds {
            let requests = match number {
                0 => world.small(),
                1 => world.large(),
                2 => world.cold(round * COLD, COLD),
                _ => world.staff(),
            };
            let mut spent = vec![0.0; peers.len()];
            for step in 0..players.len() {
                let player = players[(step + round) % players.len()];
                let before = cpu_us(peers[player].pid);
                let began = Instant::now();
                loads[player].run(&requests, count);
                let took = began.elapsed().as_secs_f64();
                spent[player] = (cpu_us(peers[player].pid) - before) / count as f64;
                seen[player].2.push(count as f64 / took);
            }
            for &player in players {
                seen[player].0.push(spent[player]);
                seen[player].1.push(spent[player] / spent[plain]);
            }
        }
        for &player in players {
            let (us, ratio, rate) = &mut seen[player];
            report.cpu(name, peers[player].kind, median(us), median(ratio), median(rate));
        }
    }
}

/// Latency at fixed rates far from saturation; the peers in turn.
fn latency(world: &World, peers: &[Peer], rounds: usize, report: &mut Report) {
    let mut disk = [Vec::new(), Vec::new()];
    for rate in [2_000, 4_000] {
        let parts: [(&str, Kind, _); 4] = [
            ("member", Kind::Nginx, world.small()),
            ("member", Kind::Bare, world.small()),
            ("member", Kind::Postern, world.small()),
            ("staff", Kind::Postern, world.staff()),
        ];
        let mut seen = vec![(Vec::new(), Vec::new()); parts.len()];
        for _ in 0..rounds {
            world::pin_self(world.core());
            for (all, new) in disk.iter_mut().zip(measure::flushes(world.dir(), 100)) {
                all.extend(new);
            }
            world::pin_self(1 - world.core());
            for (part, (_, kind, requests)) in parts.iter().enumerate() {
                let mut all = load::at_rate(of(peers, *kind).port, CONNECTIONS, &requests[0], rate, rate);
                seen[part].0.push(quantile(&mut all, 0.50));
                seen[part].1.push(quantile(&mut all, 0.99));
            }
        }
        for (part, (who, kind, _)) in parts.iter().enumerate() {
            let (p50, p99) = &mut seen[part];
            report.latency(who, *kind, rate, median(p50), median(p99));
        }
    }
    report.disk(disk.map(|mut took| [median(&mut took), quantile(&mut took, 0.99)]));
}

/// Instructions a request, by the hardware's counters or else by valgrind's.
fn instructions(world: &World, report: &mut Report) {
    let tool = Tool::detect();
    report.tool(tool);
    if tool == Tool::None {
        return;
    }
    let _origin = world.origin();
    let kinds: [(&str, Kind, bool); 4] = [
        ("member, GET 1 KiB, warm token", Kind::Nginx, false),
        ("member, GET 1 KiB, warm token", Kind::Bare, false),
        ("member, GET 1 KiB, warm token", Kind::Postern, false),
        ("staff, GET 1 KiB, record durable first", Kind::Postern, true),
    ];
    for (name, kind, staff) in kinds {
        let peer = world.peer(kind, tool.wrapper(world.dir()));
        let requests = if staff { world.staff() } else { world.small() };
        let mut load = Load::new(peer.port, 8);
        load.run(&requests, 500);
        let count = tool.count(world.dir(), peer.pid, || load.run(&requests, COUNTED));
        match count {
            Some(count) => report.instructions(name, kind, count / COUNTED as f64),
            None => eprintln!("no instructions were counted of {kind:?}"),
        }
    }
}

/// System calls a request, as strace counts them.
fn system_calls(world: &World, peers: &[Peer], report: &mut Report) {
    for (kind, staff) in
        [(Kind::Nginx, false), (Kind::Bare, false), (Kind::Postern, false), (Kind::Postern, true)]
    {
        let peer = of(peers, kind);
        let requests = if staff { world.staff() } else { world.small() };
        let mut load = Load::new(peer.port, CONNECTIONS);
        load.run(&requests, 500);
        match measure::system_calls(world.dir(), peer.pid, || load.run(&requests, COUNTED)) {
            Some(calls) => report.calls(if staff { "staff" } else { "member" }, kind, &calls, COUNTED),
            None => eprintln!("strace counts nothing of {kind:?}"),
        }
    }
}
