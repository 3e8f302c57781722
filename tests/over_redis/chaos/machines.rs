//! Three gateways as processes, a Redis with two replicas, a wire between each gateway and its store; and what happens to them.
//!
//! Never here: what is right.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use postern::engine::hooks::Hooks;
use rustix::process::Signal;

use super::{
    application, open,
    people::{Door, Stage},
    seed::Seed,
    truth::Truth,
};
use crate::{
    process::{Process, written},
    rig::{plan, prepared, url},
    servers::Server,
    wire::{How, Wire},
    world::{World, until},
};

/// What is asked of the operations listener.
pub fn get(address: SocketAddr, path: &str) -> String {
    tell(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

fn tell(address: SocketAddr, text: &str) -> String {
    let read = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(text.as_bytes())?;
        let mut all = String::new();
        stream.read_to_string(&mut all)?;
        Ok(all)
    };
    read().unwrap_or_default()
}

/// See the module's header.
pub struct Machines {
    pub worlds: Vec<World>,
    configs: Vec<PathBuf>,
    gateways: Vec<Option<Process>>,
    /// How often something happened to each process.
    disturbed: [u64; 3],
    /// By how many seconds each clock was moved since its gateway started.
    moved: [u64; 3],
    wires: Vec<Wire>,
    servers: Vec<Server>,
    primary: usize,
}

const NAMES: [&str; 3] = ["a", "b", "c"];
/// What all this needs beside what every world has.
const BOUNDS: &str = ", max_staleness: { reads: 2s }, heal_grace: 3s";

impl Machines {
    pub fn start(truth: &Arc<Truth>) -> Machines {
        let primary = Server::start(&[]);
        let replicas = [primary.replica(&[]), primary.replica(&[])];
        let wires: Vec<Wire> = NAMES.iter().map(|_| Wire::to(primary.port)).collect();
        let worlds = prepared(3, |name| {
            let at = NAMES.iter().position(|one| *one == name).unwrap();
            let servers = format!("url: \"{}\", copies: 3", url(wires[at].port));
            let mut plan = plan(name, &servers, BOUNDS, Hooks::default())
                .edit("sessions: { last: 8h }", "sessions: { last: 8h }\ndangerous: { clock: true }");
            plan.upstream = Some(application::begin(at, Arc::clone(truth)));
            plan
        });
        let configs: Vec<PathBuf> = worlds.iter().map(written).collect();
        let gateways = configs.iter().map(|config| Some(Process::start(config))).collect();
        let mut servers = vec![primary];
        servers.extend(replicas);
        Machines { worlds, configs, gateways, disturbed: [0; 3], moved: [0; 3], wires, servers, primary: 0 }
    }

    pub fn door(&self, number: usize) -> Door {
        let process = self.gateways[number].as_ref().unwrap();
        Door { address: process.address, operations: process.operations, disturbed: self.disturbed[number] }
    }

    fn disturb(&mut self, stage: &Stage, number: usize) {
        self.disturbed[number] += 1;
        open(stage, number, Door { disturbed: self.disturbed[number], ..stage.door(number) });
    }

    fn start_again(&mut self, stage: &Stage, number: usize) {
        self.gateways[number] = Some(Process::start(&self.configs[number]));
        self.moved[number] = 0;
        self.disturbed[number] += 1;
        open(stage, number, self.door(number));
    }

    /// Something happens; what, in words. Most of it is over when this answers, and all of it after [`Machines::mend`].
    pub fn happen(&mut self, stage: &Stage, seed: &mut Seed) -> String {
        let (number, tenths) = (seed.below(3), 5 + seed.below(36) as u64);
        let (name, pause) = (NAMES[number], Duration::from_millis(tenths * 100));
        match seed.below(14) {
            0 => {
                self.disturb(stage, number);
                drop(self.gateways[number].take());
                std::thread::sleep(pause / 3);
                self.start_again(stage, number);
                format!("{name} killed, started {:.1} s later", pause.as_secs_f64() / 3.0)
            }
            1 => {
                self.disturb(stage, number);
                assert_eq!(self.gateways[number].take().unwrap().stop(), Some(0));
                self.start_again(stage, number);
                format!("{name} stopped and started")
            }
            2 | 3 => {
                self.disturb(stage, number);
                let process = self.gateways[number].as_ref().unwrap();
                process.signal(Signal::STOP);
                std::thread::sleep(pause);
                stage.truth.stood(number);
                process.signal(Signal::CONT);
                self.disturb(stage, number);
                format!("{name} stands still for {pause:?}")
            }
            4 | 5 => {
                let how = *seed.of(&[How::Held, How::Closed]);
                self.wires[number].set(how);
                stage.truth.cut_off(number, true);
                std::thread::sleep(pause);
                stage.truth.cut_off(number, false);
                self.wires[number].set(How::Passes);
                format!("{name} cut off ({how:?}) for {pause:?}")
            }
            6 => {
                self.servers[self.primary].freeze();
                (0..3).for_each(|number| stage.truth.cut_off(number, true));
                std::thread::sleep(pause);
                (0..3).for_each(|number| stage.truth.cut_off(number, false));
                self.servers[self.primary].thaw();
                format!("Redis stands still for {pause:?}")
            }
            7 => {
                let old = self.primary;
                self.servers[old].end();
                std::thread::sleep(pause / 4);
                let new = self.fail_over(old);
                format!("Redis {old} killed, {new} promoted {:?} later", pause / 4)
            }
            8 => {
                let seconds = tenths / 2;
                if self.moved[number] + seconds > 90 {
                    return format!("{name}'s clock stays");
                }
                self.moved[number] += seconds;
                let body = format!("{{\"advance\":\"{seconds}s\"}}");
                let said = tell(
                    stage.door(number).operations,
                    &format!(
                        "POST /clock HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    ),
                );
                assert!(said.starts_with("HTTP/1.1 200"), "{said}");
                format!("{name}'s clock jumps {seconds} s")
            }
            9 => {
                self.servers[self.primary].tell(&["FLUSHALL"]);
                "Redis wiped".to_owned()
            }
            10 => {
                // Replicas take up what it comes back with. While one of them takes up all of it nobody else may save.
                until("Redis saves", || self.servers[self.primary].tell(&["SAVE"]) == "+OK");
                std::thread::sleep(pause / 2);
                self.servers[self.primary].restart();
                self.servers[self.primary].tell(&["REPLICAOF", "NO", "ONE"]);
                format!("Redis comes back from a copy {:?} old", pause / 2)
            }
            11 => {
                // Two gateways and both replicas on the one side, a gateway and the old primary on the other.
                let old = self.primary;
                let new = self.promote(old);
                (0..3).filter(|other| *other != number).for_each(|other| self.lead(other));
                std::thread::sleep(pause / 2);
                self.lead(number);
                self.follow(old);
                format!("{name} left at the old primary for {:?}, {new} promoted", pause / 2)
            }
            _ => {
                self.wires.iter().for_each(|wire| wire.set(How::Late(Duration::from_millis(tenths * 20))));
                std::thread::sleep(pause);
                self.wires.iter().for_each(|wire| wire.set(How::Passes));
                format!("Redis answers {} ms late for {pause:?}", tenths * 20)
            }
        }
    }

    /// Whoever has more of the two that are left is the primary from here on, as Sentinels would choose; the other follows.
    fn promote(&mut self, old: usize) -> usize {
        let offset = |server: &Server| -> u64 {
            let told = server.tell(&["INFO", "replication"]);
            let found = told
                .lines()
                .find_map(|line| line.trim().strip_prefix("slave_repl_offset:").map(str::to_owned));
            found.and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        let mut left: Vec<usize> = (0..3).filter(|number| *number != old).collect();
        left.sort_by_key(|number| std::cmp::Reverse(offset(&self.servers[*number])));
        let (new, other) = (left[0], left[1]);
        self.servers[new].tell(&["REPLICAOF", "NO", "ONE"]);
        self.primary = new;
        self.follow(other);
        new
    }

    fn follow(&self, number: usize) {
        let port = self.servers[self.primary].port.to_string();
        self.servers[number].tell(&["REPLICAOF", "127.0.0.1", &port]);
    }

    fn lead(&self, gateway: usize) {
        self.wires[gateway].lead(self.servers[self.primary].port);
    }

    /// The old one comes back with what its disk has, and follows.
    fn fail_over(&mut self, old: usize) -> usize {
        let new = self.promote(old);
        (0..3).for_each(|gateway| self.lead(gateway));
        self.servers[old].restart();
        self.follow(old);
        new
    }

    /// Nothing is the matter any more.
    pub fn mend(&mut self, _stage: &Stage) {
        let replicas = self.servers.iter().enumerate().filter(|(number, _)| *number != self.primary);
        for (_, server) in replicas {
            until("the replicas follow", || {
                server.tell(&["INFO", "replication"]).contains("master_link_status:up")
            });
        }
    }

    /// Prints what each ledger has of the latest changes, for whoever looks for the cause of a fault.
    pub fn tell_changes(&self) {
        for (name, world) in NAMES.iter().zip(&self.worlds) {
            let records = world.records();
            let changes = records
                .iter()
                .filter(|record| record["kind"].as_str().is_some_and(|kind| kind.starts_with("change.")));
            let changes: Vec<_> = changes.collect();
            for record in changes.iter().rev().take(40).rev() {
                println!("{name}: {record}");
            }
        }
    }

    /// Ends all gateways as an operator would, once each has found out what became of every change; their worlds, with ledgers at rest.
    pub fn end(self) -> Vec<World> {
        for gateway in self.gateways.iter().flatten() {
            let concluded =
                || get(gateway.operations, "/metrics").contains("\npostern_ledger_open_intents 0\n");
            until("every intent has its outcome", concluded);
        }
        for (gateway, world) in self.gateways.into_iter().zip(&self.worlds) {
            assert_eq!(gateway.unwrap().stop(), Some(0));
            let key = world.data.join("ledger.pub");
            std::fs::write(&key, world.people.keys.ledger.to_text()).unwrap();
            let verified = std::process::Command::new(env!("CARGO_BIN_EXE_postern"))
                .args(["audit", "verify"])
                .arg(world.ledger_dir())
                .arg("--key")
                .arg(&key)
                .output()
                .unwrap();
            assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        }
        self.worlds
    }
}
