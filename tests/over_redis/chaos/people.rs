//! Members, agents and administrators at three gateways, who go on whatever happens, and note what they were told.
//!
//! Never here: faults; what of it is right beyond an answer ([`super::truth`]).

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    application::wall_ms,
    seed::Seed,
    truth::{Arrival, Session, Truth},
};
use crate::{
    watch::{Said, lone},
    world::{People, request},
};

pub const TENANTS: [&str; 2] = ["acme", "globex"];
/// How long anybody waits for an answer of a gateway that may be stopped.
const PATIENCE: Duration = Duration::from_secs(8);

/// Where a gateway is, and how often something happened to its process.
#[derive(Debug, Clone, Copy)]
pub struct Door {
    pub address: SocketAddr,
    pub operations: SocketAddr,
    /// Odd while it does not run.
    pub disturbed: u64,
}

/// What all of them see and count.
pub struct Stage {
    pub doors: [RwLock<Door>; 3],
    pub truth: Arc<Truth>,
    pub people: People,
    pub over: AtomicBool,
    /// Nobody changes anything while what is so is looked at.
    pub quiet: AtomicBool,
    /// How many of those who change something are at it.
    pub busy: AtomicU64,
    pub counts: Mutex<Counts>,
}

#[derive(Debug, Default, Clone)]
pub struct Counts {
    pub members: u64,
    pub members_longest: Duration,
    /// Staff, by what they were answered.
    pub staff: BTreeMap<Said, u64>,
    pub ticks: u64,
    pub changes: BTreeMap<Said, u64>,
    pub foreign: u64,
}

/// One answer, in time; what is `cut` has status 0.
pub fn call(address: SocketAddr, text: &str) -> (Said, Value) {
    let read = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(text.as_bytes())?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        Ok(String::from_utf8_lossy(&all).into_owned())
    };
    let text = read().unwrap_or_default();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    (Said { status, code: body["code"].as_str().unwrap_or_default().to_owned() }, body)
}

fn api(method: &str, path: &str, token: &str, body: &str) -> String {
    let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    lone(method, &format!("/_postern/v1/{path}"), token, &head) + body
}

/// Whether an answer of the API says that it is kept.
fn is_kept(said: &Said) -> bool {
    [200, 201].contains(&said.status)
}

impl Stage {
    pub fn door(&self, gateway: usize) -> Door {
        *self.doors[gateway].read().unwrap()
    }

    pub fn ask(&self, gateway: usize, text: &str) -> (Said, Value) {
        call(self.door(gateway).address, text)
    }

    fn goes_on(&self) -> bool {
        !self.over.load(SeqCst)
    }

    /// Waits where it has to be quiet; `None` once all is over.
    fn turn(&self) -> Option<Turn<'_>> {
        loop {
            if !self.goes_on() {
                return None;
            }
            self.busy.fetch_add(1, SeqCst);
            let turn = Turn(self);
            if !self.quiet.load(SeqCst) {
                return Some(turn);
            }
            drop(turn);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A member asks and asks: where the gateway ran all the time, the answer is what they came for.
    pub fn member(&self, gateway: usize) {
        let token = self.people.admin("acme");
        let own = lone("GET", "/t/acme/orders", &token, "");
        let foreign = lone("GET", "/t/globex/orders", &token, "");
        for number in 0_u64.. {
            if !self.goes_on() {
                return;
            }
            let (before, asked) = (self.door(gateway), Instant::now());
            let (said, _) = call(before.address, if number % 10 == 9 { &foreign } else { &own });
            let (after, took) = (self.door(gateway), asked.elapsed());
            let ran = before.disturbed == after.disturbed && before.disturbed % 2 == 0;
            let mut counts = self.counts.lock().unwrap();
            if number % 10 == 9 {
                counts.foreign += 1;
                if ran && said.status != 403 {
                    self.truth.broke(format!("law 11: a member of another tenant got {said} at {gateway}"));
                }
            } else if ran {
                counts.members += 1;
                counts.members_longest = counts.members_longest.max(took);
                if said.status != 200 {
                    self.truth.broke(format!("rule 19: a member got {said} at {gateway} after {took:?}"));
                }
            }
            drop(counts);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// An agent who enters a tenant, reads, writes, looks elsewhere, and is removed.
    pub fn agent(&self, name: &str, tenant: &'static str, mut seed: Seed) {
        let (token, admin) = (self.people.staff(name), self.people.admin(tenant));
        let mut session: Option<String> = None;
        for number in 0_u64.. {
            let Some(_turn) = self.turn() else { return };
            let gateway = seed.below(3);
            // Whoever asks one that stands still waits for it: some do.
            if self.door(gateway).disturbed % 2 == 1 && seed.below(4) > 0 {
                drop(_turn);
                std::thread::sleep(Duration::from_millis(8));
                continue;
            }
            let named = |id: &str| format!("Postern-Session: {id}\r\n");
            match (&session, seed.below(20)) {
                (None, _) => session = self.enter(gateway, name, tenant, &token, &mut seed),
                (Some(id), 0) => {
                    let id = id.clone();
                    self.truth.may_end(|other, _| other == id);
                    let text = api("DELETE", &format!("tenants/{tenant}/sessions/{id}"), &admin, "");
                    let (said, _) = self.ask(gateway, &text);
                    if said.status == 200 {
                        self.truth.ended(&id, gateway);
                    }
                    self.changed(&said);
                    session = None;
                }
                (Some(id), 1..=8) => {
                    let path = format!("/t/{tenant}/orders/{name}-{number}");
                    let text = lone("PUT", &path, &token, &format!("Content-Length: 0\r\n{}", named(id)));
                    let (said, _) = self.ask(gateway, &text);
                    if said.status == 403 && said.code.starts_with("session") {
                        session = None;
                    }
                    self.served(said);
                }
                (Some(id), 9) => {
                    let elsewhere = TENANTS[usize::from(tenant == TENANTS[0])];
                    let text = lone("GET", &format!("/t/{elsewhere}/orders"), &token, &named(id));
                    let (said, _) = self.ask(gateway, &text);
                    if said.status == 200 {
                        self.truth
                            .broke(format!("law 11: `{id}` of {tenant} opened {elsewhere} at {gateway}"));
                    }
                }
                (Some(id), _) => {
                    let (said, _) =
                        self.ask(gateway, &lone("GET", &format!("/t/{tenant}/orders"), &token, &named(id)));
                    self.served(said);
                }
            }
            drop(_turn);
            std::thread::sleep(Duration::from_millis(8));
        }
    }

    fn enter(
        &self,
        gateway: usize,
        name: &str,
        tenant: &'static str,
        token: &str,
        seed: &mut Seed,
    ) -> Option<String> {
        let lasts = if seed.below(3) == 0 { format!("{}s", 2 + seed.below(4)) } else { "8h".to_owned() };
        let body =
            format!(r#"{{"environment":"production","basis":"consent","reason":"chaos","for":"{lasts}"}}"#);
        // A new one by consent ends the older one, also where nobody hears of it.
        self.truth.may_end(|_, session| session.person == name && session.tenant == tenant);
        let (said, found) =
            self.ask(gateway, &api("POST", &format!("tenants/{tenant}/sessions"), token, &body));
        self.changed(&said);
        if !is_kept(&said) {
            return None;
        }
        let id = found["session"]["id"].as_str().unwrap().to_owned();
        // Somebody may have ended it before it is shown.
        let at = serde_json::from_value::<postern::model::Timestamp>(found["session"]["ends"]["at"].clone())
            .ok()?;
        let session = Session {
            tenant,
            person: name.to_owned(),
            ends_ms: at.ms(),
            doubtful: lasts != "8h",
            ended: None,
        };
        self.truth.began(&id, session);
        Some(id)
    }

    /// An administrator who cannot make up their mind.
    pub fn administrator(&self, tenant: &'static str, mut seed: Seed) {
        let token = self.people.admin(tenant);
        loop {
            let Some(_turn) = self.turn() else { return };
            let gateway = seed.below(3);
            let level = *seed.of(&[
                "full",
                "edit",
                "full",
                "edit",
                "read_only",
                "full",
                "edit",
                "read_only",
                "full",
                "block",
            ]);
            self.choose(tenant, level, gateway, &token);
            drop(_turn);
            std::thread::sleep(Duration::from_millis(150 + seed.below(500) as u64));
        }
    }

    pub fn choose(&self, tenant: &'static str, level: &str, gateway: usize, token: &str) -> Said {
        self.truth.may_choose(tenant, level);
        let body = format!("{{\"level\":\"{level}\"}}");
        let (said, _) = self.ask(gateway, &api("PUT", &format!("tenants/{tenant}/consent"), token, &body));
        if said.status == 200 {
            self.truth.chose(tenant, level);
        } else {
            self.truth.is_doubtful(tenant);
        }
        self.changed(&said);
        said
    }

    /// The level that a gateway says is in force in a tenant.
    pub fn level(&self, gateway: usize, tenant: &str) -> Option<String> {
        let token = self.people.admin(tenant);
        let (_, found) = self.ask(gateway, &api("GET", &format!("tenants/{tenant}/consent"), &token, ""));
        found["choice"].as_str().map(str::to_owned)
    }

    /// Somebody who has a stream open for as long as they may, at one gateway, and begins again.
    pub fn streamer(&self, gateway: usize, mut seed: Seed) {
        let (name, tenant) = (format!("streamer{gateway}"), TENANTS[gateway % 2]);
        let token = self.people.staff(&name);
        while self.goes_on() {
            let session = match self.turn() {
                Some(_turn) => self.enter(gateway, &name, tenant, &token, &mut seed),
                None => return,
            };
            if let Some(id) = session {
                self.stream(gateway, tenant, &token, &id);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn stream(&self, gateway: usize, tenant: &str, token: &str, session: &str) {
        let door = self.door(gateway);
        let Ok(mut stream) = TcpStream::connect_timeout(&door.address, PATIENCE) else { return };
        let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
        let path = format!("/t/{tenant}/download");
        let text =
            request("GET", &format!("{path}?do=ticks"), token, &format!("Postern-Session: {session}\r\n"));
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
        let (mut piece, mut heard) = ([0; 4096], Instant::now());
        let mut admitted = false;
        while self.goes_on() {
            match stream.read(&mut piece) {
                Ok(0) => return,
                Ok(count) => {
                    heard = Instant::now();
                    // A refusal is no byte of the application's.
                    admitted |= piece[..count].starts_with(b"HTTP/1.1 200");
                    if !admitted {
                        return;
                    }
                    let path = String::new();
                    let (tenant, session) = (tenant.to_owned(), Some(session.to_owned()));
                    self.truth.arrived(&Arrival {
                        gateway,
                        at: heard,
                        wall_ms: wall_ms(),
                        writes: false,
                        path,
                        path_tenant: tenant.clone(),
                        tenant,
                        session,
                    });
                    self.counts.lock().unwrap().ticks += 1;
                }
                Err(fault)
                    if matches!(
                        fault.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    if heard.elapsed() > PATIENCE || self.door(gateway).disturbed > door.disturbed + 1 {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    fn served(&self, said: Said) {
        *self.counts.lock().unwrap().staff.entry(said).or_default() += 1;
    }

    fn changed(&self, said: &Said) {
        *self.counts.lock().unwrap().changes.entry(said.clone()).or_default() += 1;
    }
}

/// Somebody is at it.
struct Turn<'a>(&'a Stage);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, SeqCst);
    }
}
