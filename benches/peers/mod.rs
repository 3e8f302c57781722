//! nginx, HAProxy and Envoy at the same work as the gateway: forwarding alone, and with every request's token verified and
//! forty rules asked. All in one run, in turn within each round, each alone on the gateways' core.
//!
//! What enforces is first proven to: no token, a forged one, an expired one, another audience, a route that is not listed
//! and a role that does not suffice are refused by each before anything is measured.
//!
//! Never here: a bound that fails a build. Machines are shared; a person reads these figures.

mod envoy;
mod haproxy;
mod nginx;
mod player;
pub mod service;
mod table;

use std::path::Path;

use self::{
    player::{Player, Sort, prove},
    table::Table,
};
use crate::{
    endure::idle::tls_client,
    load::{Load, Requests, at_rate},
    measure::{Tool, cpu_us, median, quantile},
    secure,
    world::World,
};

/// Keep-alive connections of the load; of HTTP/2, connections and streams on each.
const CONNECTIONS: usize = 64;
const HTTP2: [usize; 2] = [8, 8];
/// Requests of one round: of players that are quick at it, and of those that are not.
const QUICK: usize = 16_000;
const SLOW: usize = 4_000;
const LARGE: usize = 4_000;
const COLD: usize = 2_500;
/// Requests under a slow tool.
const COUNTED: usize = 1_500;
/// Requests a second where latency is taken.
const RATE: usize = 4_000;

/// Who takes part in a row.
type Plays = fn(Sort) -> bool;

pub const WARM: &str = "GET 1 KiB, warm token";
pub const NEW: &str = "GET 1 KiB, every token new";
pub const BIG: &str = "GET 64 KiB, warm token";
pub const OVER_TLS: &str = "GET 1 KiB, HTTP/2 over TLS, warm token";

/// Runs everything that is wanted; prints, and writes where that is wished.
pub fn run(rounds: usize, write: bool, only: Option<&str>) {
    let want = |part: &str| only.is_none_or(|only| only.split(',').any(|one| one == part));
    let world = World::make();
    let _origin = world.origin();
    let mut table = Table::new(rounds);
    if want("cpu") || want("latency") {
        let players: Vec<Player> =
            Sort::ALL.iter().filter_map(|sort| player::start(&world, *sort, false)).collect();
        for player in &players {
            prove(&world, player);
            let mut load = Load::new(player.port, CONNECTIONS);
            load.run(&world.small(), 2_000);
            load.run(&world.large(), 300);
        }
        if want("cpu") {
            cpu(&world, &players, rounds, &mut table);
        }
        if want("latency") {
            latency(&world, &players, rounds, &mut table);
        }
    }
    if want("cpu") || want("tls") {
        over_tls(&world, rounds, &mut table);
    }
    if want("instructions") {
        instructions(&world, &mut table);
    }
    println!("{}", table.text());
    if write {
        table.write(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md"));
    }
}

/// CPU time a request of these players, in turn within each round; ratios are taken round by round.
fn cpu(world: &World, players: &[Player], rounds: usize, table: &mut Table) {
    let mut loads: Vec<Load> = players.iter().map(|player| Load::new(player.port, CONNECTIONS)).collect();
    let rows: [(&str, Plays); 3] =
        [(WARM, |_| true), (NEW, Sort::verifies_each), (BIG, |sort| !sort.is_slow())];
    for (row, plays) in rows {
        let chosen: Vec<usize> = (0..players.len())
            .filter(|at| plays(players[*at].sort) || players[*at].sort == Sort::Postern)
            .collect();
        let mut spent: Vec<Vec<f64>> = vec![Vec::new(); players.len()];
        for round in 0..rounds {
            let requests = match row {
                WARM => world.small(),
                NEW => world.cold(round * COLD, COLD),
                _ => world.large(),
            };
            for step in 0..chosen.len() {
                let at = chosen[(step + round) % chosen.len()];
                let count = match row {
                    NEW => COLD,
                    BIG => LARGE,
                    _ if players[at].sort.is_slow() => SLOW,
                    _ => QUICK,
                };
                let before = players[at].cpu();
                loads[at].run(&requests, count);
                spent[at].push((players[at].cpu() - before) / count as f64);
            }
        }
        record(table, row, players, &chosen, &spent);
    }
}

fn record(table: &mut Table, row: &'static str, players: &[Player], chosen: &[usize], spent: &[Vec<f64>]) {
    let of = |sort| chosen.iter().find(|at| players[**at].sort == sort).map(|at| &spent[*at]);
    let ratio = |these: &[f64], those: Option<&Vec<f64>>| {
        those.map_or(f64::NAN, |those| {
            let mut all: Vec<f64> = these.iter().zip(those).map(|(this, that)| this / that).collect();
            median(&mut all)
        })
    };
    for at in chosen {
        let us = median(&mut spent[*at].clone());
        let to_nginx = ratio(&spent[*at], of(Sort::Nginx));
        let postern = of(Sort::Postern).map_or(f64::NAN, |ours| ratio(ours, Some(&spent[*at])));
        table.cpu(row, players[*at].sort, us, to_nginx, postern);
    }
}

/// The same for HTTP/2 over TLS, with processes of their own.
fn over_tls(world: &World, rounds: usize, table: &mut Table) {
    let players: Vec<Player> = Sort::ALL
        .iter()
        .filter(|sort| sort.speaks_http2())
        .filter_map(|sort| player::start(world, *sort, true))
        .collect();
    let tls = tls_client(world, "h2");
    let mut loads: Vec<secure::Load> =
        players.iter().map(|player| secure::Load::new(player.port, &tls, HTTP2[0], HTTP2[1])).collect();
    for load in &mut loads {
        load.run(&world.small(), 1_000);
    }
    let chosen: Vec<usize> = (0..players.len()).collect();
    let mut spent: Vec<Vec<f64>> = vec![Vec::new(); players.len()];
    for round in 0..rounds {
        for step in 0..players.len() {
            let at = (step + round) % players.len();
            let count = if players[at].sort.is_slow() { SLOW } else { QUICK / 2 };
            let before = players[at].cpu();
            loads[at].run(&world.small(), count);
            spent[at].push((players[at].cpu() - before) / count as f64);
        }
    }
    record(table, OVER_TLS, &players, &chosen, &spent);
}

/// Latency at a fixed rate far from saturation, the players in turn. Who cannot keep up is said to.
fn latency(world: &World, players: &[Player], rounds: usize, table: &mut Table) {
    let request = world.small()[0].clone();
    let mut seen = vec![(Vec::new(), Vec::new()); players.len()];
    for _ in 0..rounds {
        for (player, seen) in players.iter().zip(&mut seen) {
            let mut all = at_rate(player.port, CONNECTIONS, &request, RATE, RATE);
            seen.0.push(quantile(&mut all, 0.50));
            seen.1.push(quantile(&mut all, 0.99));
        }
    }
    let nginx = players.iter().position(|player| player.sort == Sort::Nginx);
    let quiet = nginx.map_or(f64::NAN, |at| median(&mut seen[at].0.clone()));
    for (player, (p50, p99)) in players.iter().zip(&mut seen) {
        let (p50, p99) = (median(p50), median(p99));
        table.latency(player.sort, p50, p99, p50 - quiet);
    }
}

/// Instructions a request, where a tool counts them. Envoy does not run under valgrind.
fn instructions(world: &World, table: &mut Table) {
    let tool = Tool::detect();
    table.tool(tool);
    if tool == Tool::None {
        return;
    }
    for sort in Sort::ALL {
        if tool == Tool::Callgrind && !sort.is_counted() {
            continue;
        }
        let Some(player) = player::start_under(world, sort, tool.wrapper(world.dir())) else { continue };
        let requests: Requests = world.small();
        let mut load = Load::new(player.port, 8);
        load.run(&requests, 300);
        let count = tool.count(world.dir(), player.pid, || load.run(&requests, COUNTED));
        match count {
            Some(count) => table.instructions(sort, count / COUNTED as f64),
            None => eprintln!("no instructions were counted of {}", sort.name()),
        }
    }
}

impl Player {
    /// Microseconds of CPU of all its processes so far.
    fn cpu(&self) -> f64 {
        cpu_us(self.pid) + self.beside.as_ref().map_or(0.0, |beside| cpu_us(beside.pid))
    }
}
