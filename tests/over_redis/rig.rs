//! A fleet: one store in Redis, several gateways, the same people everywhere, an application for each.

use postern::{app, engine::hooks::Hooks};

use super::{
    servers::Server,
    world::{Plan, World, until},
};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

pub struct Fleet {
    pub gateways: Vec<World>,
    pub redis: Server,
}

pub fn lasting(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// What one of a fleet is configured as: over these servers, with more said of state.
pub fn plan(name: &str, servers: &str, more: &str, hooks: Hooks) -> Plan {
    let state = format!("state: {{ redis: {{ {servers} }}{more}, shadow: ");
    Plan::default()
        .edit("gateway: main", lasting(format!("gateway: {name}")))
        .edit("state: { path: ", lasting(state))
        .edit("state.redb", "shadow.redb")
        .hooks(hooks)
}

pub fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

/// Gateways of the same people over a store that is begun by this; none runs yet.
pub fn prepared(count: usize, plan: impl Fn(&str) -> Plan) -> Vec<World> {
    let first = World::prepared(plan("a"));
    app::init(&first.settings()).unwrap();
    let mut gateways = vec![first];
    for name in &NAMES[1..count] {
        let data = gateways[0].keys_dir.path().join(name);
        std::fs::create_dir(&data).unwrap();
        let next = gateways[0].beside(Plan { data: Some(data), ..plan(name) });
        gateways.push(next);
    }
    gateways
}

/// Starts them, and waits until each serves staff.
pub fn serving(mut gateways: Vec<World>) -> Vec<World> {
    gateways.iter_mut().for_each(World::up);
    for gateway in &gateways {
        let stranger = gateway.people.staff("stranger");
        until("each serves staff", || {
            let reply = gateway.get("/t/acme/orders", &stranger);
            assert_ne!(reply.status, 200);
            reply.status == 403
        });
    }
    gateways
}

impl Fleet {
    pub fn start(count: usize) -> Fleet {
        Fleet::with(count, "", |_| Hooks::default())
    }

    /// With more said of state, and hooks for each by its name.
    pub fn with(count: usize, more: &str, hooks: impl Fn(&str) -> Hooks) -> Fleet {
        Fleet::edited(count, more, &[], hooks)
    }

    /// With more of the configuration otherwise.
    pub fn edited(
        count: usize,
        more: &str,
        edits: &[(&'static str, &'static str)],
        hooks: impl Fn(&str) -> Hooks,
    ) -> Fleet {
        Fleet::over(|redis| format!("url: \"{}\"", url(redis)), count, more, edits, hooks)
    }

    /// With a beat so often, up to 2 s.
    pub fn beating(beat: &str, count: usize, hooks: impl Fn(&str) -> Hooks) -> Fleet {
        let servers = |redis| format!("url: \"{}\", beat: {beat}", url(redis));
        Fleet::over(servers, count, ", max_staleness: { writes: 5s }", &[], hooks)
    }

    fn over(
        servers: impl Fn(u16) -> String,
        count: usize,
        more: &str,
        edits: &[(&'static str, &'static str)],
        hooks: impl Fn(&str) -> Hooks,
    ) -> Fleet {
        // What a gateway warns of is seen where a test fails.
        let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_test_writer().try_init();
        let redis = Server::start(&[]);
        let servers = servers(redis.port);
        let edited = |plan: Plan| edits.iter().fold(plan, |plan, (from, to)| plan.edit(from, to));
        let gateways = serving(prepared(count, |name| edited(plan(name, &servers, more, hooks(name)))));
        Fleet { gateways, redis }
    }

    /// One more of the same people, which has not been there before and does not run yet.
    pub fn another(&self, name: &'static str, more: &str) -> World {
        let data = self.gateways[0].keys_dir.path().join(name);
        std::fs::create_dir(&data).unwrap();
        let servers = format!("url: \"{}\"", url(self.redis.port));
        self.gateways[0].beside(Plan { data: Some(data), ..plan(name, &servers, more, Hooks::default()) })
    }

    /// Waits until each knows of all the others.
    pub fn knows_each_other(&self) {
        for gateway in &self.gateways {
            let known = || gateway.gateway().engine().healings().unwrap().fleet.len();
            until("all know of each other", || known() >= self.gateways.len());
        }
    }

    /// Waits until all know of the one session that this agent has.
    pub fn knows_of_session(&self, agent: &str) {
        for gateway in &self.gateways {
            until("the session is known everywhere", || gateway.get("/t/acme/orders", agent).status == 200);
        }
    }

    /// Stops all, and proves each ledger.
    pub fn finish(self) {
        for gateway in self.gateways {
            gateway.finish();
        }
    }
}
