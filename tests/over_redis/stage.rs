//! Three gateways, each with a wire of its own to one Redis, and four who ask all the time: staff who read, staff who write, a member,
//! and somebody who broke the glass. What they get under a fault is a row of the table in docs/operations.md.
//!
//! Never here: which faults there are.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use postern::{
    engine::{ChangeFault, Changed, hooks::Hooks, new_id},
    lifecycle::Command,
    model::SessionId,
};

use crate::{
    authority::Authority,
    rig::{lasting, plan, prepared, serving, url},
    servers::Server,
    watch::{Said, Watch, ask, lone},
    wire::{How, Wire},
    world::*,
};

/// Staff who read may go by what is this old; who write, by what is a second old.
pub const READS: Duration = Duration::from_secs(2);
pub const WRITES: Duration = Duration::from_secs(1);
/// How much later than its bound an answer may come from a machine that is busy with other tests.
pub const SLACK: Duration = Duration::from_millis(900);
/// The longest that a member may wait for what needs no store.
pub const AT_ONCE: Duration = Duration::from_secs(1);

pub const GLASS: &str =
    "sessions: { last: 8h }\nbreak_glass: { operators: [{ issuer: vendor, sub: olga }], role: editor }";
const BOUNDS: &str = ", max_staleness: { reads: 2s }";

pub struct Stage {
    pub gateways: Vec<World>,
    pub wires: Vec<Wire>,
    pub redis: Server,
    /// Signs emergency tokens.
    pub authority: Authority,
    /// Is in `acme`, by full consent.
    pub agent: String,
    /// Broke the glass of `globex`.
    pub operator: String,
    /// Administers `acme`.
    pub admin: String,
}

/// The four of them at one gateway.
pub struct Watches {
    pub reads: Watch,
    pub writes: Watch,
    pub member: Watch,
    pub glass: Watch,
}

impl Stage {
    pub fn set() -> Stage {
        Stage::over(Server::start(&[]), 1, |_| Hooks::default())
    }

    pub fn over(redis: Server, copies: usize, hooks: impl Fn(&str) -> Hooks) -> Stage {
        let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_test_writer().try_init();
        let wires: Vec<Wire> = (0..3).map(|_| Wire::to(redis.port)).collect();
        let authority = Authority::new();
        let glass = lasting(format!("sessions: {{ last: 8h }}\n{}", authority.glass("")));
        let gateways = prepared(3, |name| {
            let at = ["a", "b", "c"].iter().position(|one| *one == name).unwrap();
            let servers = format!("url: \"{}\", copies: {copies}", url(wires[at].port));
            plan(name, &servers, BOUNDS, hooks(name)).edit("sessions: { last: 8h }", glass)
        });
        Stage::begun(serving(gateways), wires, redis, authority)
    }

    /// Lets everybody in, and waits until all gateways know it.
    fn begun(gateways: Vec<World>, wires: Vec<Wire>, redis: Server, authority: Authority) -> Stage {
        let people = &gateways[0].people;
        let (agent, operator, admin) = (people.staff("sam"), people.staff("olga"), people.admin("acme"));
        let stage = Stage { gateways, wires, redis, authority, agent, operator, admin };
        let a = &stage.gateways[0];
        a.done(World::consent("acme", "full"), &stage.admin);
        a.start_session("acme", &stage.agent);
        a.done(stage.break_glass("globex"), &stage.operator);
        stage.all_are_served();
        stage
    }

    pub fn break_glass(&self, id: &str) -> Command {
        Command::BreakGlass {
            tenant: tenant(id),
            session: SessionId::new(&new_id("ses", self.gateways[0].now()).unwrap()).unwrap(),
            environment: production(),
            reason: "orders are stuck".to_owned(),
            incident: "INC-4711".to_owned(),
            cause: "stability".to_owned(),
            lasts: None,
        }
    }

    pub fn address(&self, gateway: usize) -> SocketAddr {
        self.gateways[gateway].gateway().address()
    }

    /// What the four ask, in the order of [`Watches`].
    fn questions(&self) -> [String; 4] {
        [
            lone("GET", "/t/acme/orders", &self.agent, ""),
            lone("PUT", "/t/acme/orders/7", &self.agent, "Content-Length: 0\r\n"),
            lone("GET", "/t/acme/orders", &self.admin, ""),
            lone("GET", "/t/globex/orders", &self.operator, ""),
        ]
    }

    pub fn all_are_served(&self) {
        for number in 0..self.gateways.len() {
            for question in self.questions() {
                until_within(crate::watch::SOON, "all are served", || {
                    ask(self.address(number), &question).is(200, "")
                });
            }
        }
    }

    pub fn watch(&self, gateway: usize) -> Watches {
        let [reads, writes, member, glass] =
            self.questions().map(|question| Watch::begin(self.address(gateway), question));
        Watches { reads, writes, member, glass }
    }

    /// What somebody who wants to break the glass of `acme` now is answered.
    pub fn enters(&self, gateway: usize) -> Said {
        let body = r#"{"environment":"production","cause":"stability","incident":"INC-4712","reason":"all is stuck"}"#;
        let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        let text = lone("POST", "/_postern/v1/tenants/acme/break-glass", &self.operator, &head) + body;
        ask(self.address(gateway), &text)
    }

    /// What the operator is answered who reads orders of `acme` by an emergency token.
    pub fn reads_by_token(&self, gateway: usize) -> Said {
        let token = self.authority.token(self.gateways[gateway].now(), serde_json::json!({}));
        ask(
            self.address(gateway),
            &lone("GET", "/t/acme/orders", &self.operator, &format!("Postern-Emergency: {token}\r\n")),
        )
    }

    /// Begins a session in `acme`, of somebody.
    pub fn lets_in(&self, gateway: usize, name: &str) -> (String, SessionId) {
        let agent = self.gateways[gateway].people.staff(name);
        let session = self.gateways[gateway].start_session("acme", &agent);
        (agent, session)
    }

    /// What somebody who reads orders of `acme` is answered.
    pub fn reads(&self, gateway: usize, token: &str) -> Said {
        ask(self.address(gateway), &lone("GET", "/t/acme/orders", token, ""))
    }

    /// What is made of a change at a gateway: `Ok(true)` where it is acknowledged, `Ok(false)` where it is in force there.
    pub fn changes(&self, gateway: usize, command: Command, token: &str) -> Result<bool, ChangeFault> {
        let changed = self.gateways[gateway].change(command, token)?;
        Ok(matches!(changed, Changed::Done { .. } | Changed::Unchanged))
    }

    pub fn set_wires(&self, how: How) {
        self.wires.iter().for_each(|wire| wire.set(how));
    }

    /// Stops all, and proves each ledger.
    pub fn finish(self) {
        self.gateways.into_iter().for_each(|gateway| drop(gateway.finish()));
    }
}

impl Watches {
    pub fn all(&self) -> [&Watch; 4] {
        [&self.reads, &self.writes, &self.member, &self.glass]
    }

    /// Everything counts from here on.
    pub fn mark(&self) -> Instant {
        self.all().iter().for_each(|watch| watch.mark());
        Instant::now()
    }

    /// Waits until all are served again; how long that took since then.
    #[track_caller]
    pub fn back(&self, since: Instant) -> Duration {
        self.all()
            .map(|watch| watch.until("all are served again", since, |said| said.is(200, "")))
            .into_iter()
            .max()
            .unwrap()
    }

    /// A member was served all along, and at once.
    #[track_caller]
    pub fn members_went_on(&self, since: Instant) {
        assert_eq!(self.member.kinds(since), [Said { status: 200, code: String::new() }], "members");
        assert!(self.member.longest() < AT_ONCE, "a member waited {:?}", self.member.longest());
    }

    /// A row of the table: what they got between these.
    pub fn row(&self, fault: &str, since: Instant, end: Instant, more: &str, after: &str) {
        let [reads, writes, member, glass] = self.all().map(|watch| watch.told(since, end));
        println!("| {fault} | {reads} | {writes} | {member} | {glass}{more} | {after} |");
    }
}

/// Between these, with what a busy machine adds.
#[track_caller]
pub fn within(took: Duration, least: Duration, most: Duration) {
    assert!(took >= least && took <= most + SLACK, "{took:?} is not between {least:?} and {most:?}");
}
