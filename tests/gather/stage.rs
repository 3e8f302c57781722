//! Gateways of one fleet: the same people and tenants, certificates of one authority, a list of who they are that tests change.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use postern::{
    app::{self, Extra, Gateway},
    audit::note::SigningKey,
    config::{
        Settings,
        resolve::{FleetSettings, RedisFound, RedisSettings, StateSettings},
    },
    fleet::{Gone, Peer, Peers},
    model::Timestamp,
    net::tls::{Serving, asking_newest_as, serving},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    client::{Client, Reply},
    described,
    vouched::{Authority, Pair},
    world::{self, People, Plan, World, request, until_ready},
};

pub const AUDIT: &str = "/_postern/v1/tenants/acme/audit";

/// Who the gateways are, as the test says, and who was retired.
#[derive(Default)]
pub struct Known(Mutex<Vec<Peer>>, Mutex<Vec<Gone>>);

impl Peers for Known {
    fn all(&self) -> Vec<Peer> {
        self.0.lock().unwrap().clone()
    }

    fn retired(&self) -> Vec<Gone> {
        self.1.lock().unwrap().clone()
    }
}

impl Known {
    /// Names a gateway, or another address of one.
    pub fn name(&self, name: &str, address: SocketAddr) {
        let mut all = self.0.lock().unwrap();
        all.retain(|peer| peer.name != name);
        let seen = Timestamp::from_ms(0);
        all.push(Peer { name: name.to_owned(), address: address.to_string(), seen });
    }

    pub fn retire(&self, name: &str) {
        self.0.lock().unwrap().retain(|peer| peer.name != name);
        let archive = Some(format!("s3://ledgers/{name}"));
        self.1.lock().unwrap().push(Gone { name: name.to_owned(), at: Timestamp::from_ms(7), archive });
    }
}

pub struct Fleet {
    pub world: World,
    pub authority: Authority,
    pub known: Arc<Known>,
    pub timeout_ms: i64,
}

/// One gateway, and what it needs to start again.
pub struct One {
    pub name: String,
    pub gateway: Option<Gateway>,
    dir: TempDir,
}

pub type Sides = (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>);

/// Both sides of TLS with this certificate, believing this authority.
pub fn sides(pair: &Pair, authority: &str) -> Sides {
    let key = pair.key.serialize_pem();
    let pem = || postern::net::tls::Pair { chain: pair.pem.as_bytes(), key: key.as_bytes() };
    let asked =
        Serving { pairs: &[pem()], client_ca: Some(authority.as_bytes()), tls12: false, http2: false };
    (serving(&asked).unwrap(), asking_newest_as(authority.as_bytes(), &pem()).unwrap())
}

impl Fleet {
    pub fn new() -> Fleet {
        Fleet {
            world: World::prepared(Plan::default()),
            authority: Authority::new(),
            known: Arc::default(),
            timeout_ms: 2_000,
        }
    }

    pub fn people(&self) -> &People {
        &self.world.people
    }

    pub fn sides(&self) -> Sides {
        sides(&self.authority.sign(&["127.0.0.1"]), &self.authority.certificate.pem())
    }

    /// A gateway of this name, begun and served.
    pub fn one(&self, name: &str) -> One {
        let mut one = self.prepared(name);
        app::init_state(&one.dir.path().join("state.redb"), &one.dir.path().join("ledger")).unwrap();
        self.up(&mut one);
        one
    }

    /// One that finds the others in the store in Redis that they share; the first of them makes that.
    pub fn one_on(&self, redis: u16, name: &str, first: bool) -> One {
        let mut one = self.prepared(name);
        let mut settings = self.settings(&one, self.sides());
        settings.state = StateSettings::Redis(Box::new(RedisSettings {
            servers: vec![("127.0.0.1".to_owned(), redis)],
            found: RedisFound::One,
            copies: 1,
            database: 0,
            user: None,
            password: None,
            guide: None,
            tls: None,
            prefix: "postern".to_owned(),
            timeout_ms: 2_000,
            beat_ms: 200,
            shadow: one.dir.path().join("shadow.redb"),
            heal_grace_ms: 30_000,
        }));
        if first {
            app::init(&settings).unwrap();
        }
        // Its address has to be known before it runs.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let fleet = settings.fleet.as_mut().unwrap();
        (fleet.listen, fleet.address) = (free, free.to_string());
        let gateway = Gateway::start(settings, Extra::default()).unwrap();
        until_ready(&gateway);
        one.gateway = Some(gateway);
        one
    }

    fn prepared(&self, name: &str) -> One {
        let dir = world::directory();
        for file in std::fs::read_dir(self.world.keys_dir.path()).unwrap().map(Result::unwrap) {
            if file.file_type().unwrap().is_file() {
                std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
            }
        }
        let key = SigningKey::generate(&log_of(name)).unwrap();
        std::fs::write(dir.path().join("ledger.key"), key.to_text().unwrap().as_bytes()).unwrap();
        One { name: name.to_owned(), gateway: None, dir }
    }

    /// What is configured for a gateway, with these certificates.
    pub fn settings(&self, one: &One, (serving, asking): Sides) -> Settings {
        let edits = [
            ("gateway: main", format!("gateway: {}", one.name)),
            ("example.com/postern/test", log_of(&one.name)),
            ("workers: 2", "workers: 1".to_owned()),
        ];
        let edits: Vec<(&str, &str)> = edits.iter().map(|(from, to)| (*from, to.as_str())).collect();
        let dir = one.dir.path();
        let mut settings = world::settings(dir, dir, self.world.upstream.address, &edits);
        settings.fleet = Some(FleetSettings {
            listen: "127.0.0.1:0".parse().unwrap(),
            address: "127.0.0.1:1".to_owned(),
            serving,
            asking,
            timeout_ms: self.timeout_ms,
        });
        settings
    }

    pub fn up(&self, one: &mut One) {
        let settings = self.settings(one, self.sides());
        let peers = Some(Arc::clone(&self.known) as Arc<dyn Peers>);
        let gateway = Gateway::start(settings, Extra { peers, ..Extra::default() }).unwrap();
        until_ready(&gateway);
        self.known.name(&one.name, gateway.fleet().unwrap());
        one.gateway = Some(gateway);
    }
}

pub fn log_of(name: &str) -> String {
    format!("example.com/{name}")
}

impl One {
    pub fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("it runs")
    }

    pub fn stop(&mut self) {
        self.gateway.take().expect("it runs").stop();
    }

    pub fn ledger(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    pub fn ask(&self, method: &str, target: &str, token: &str, more: &str) -> Reply {
        let mut client = Client::connect(self.gateway().address());
        client.send(request(method, target, token, more));
        client.reply()
    }

    /// A page of the record, as it is described.
    pub fn page(&self, query: &str, token: &str) -> Value {
        let reply = self.ask("GET", &format!("{AUDIT}{query}"), token, "");
        assert_eq!(reply.status, 200, "{}", reply.text());
        let page: Value = serde_json::from_slice(&reply.body).unwrap();
        described::check("GET", "/v1/tenants/acme/audit", 200, "application/json", &page);
        page
    }

    /// All pages until one is complete, `limit` at a time: the items, and where it goes on.
    pub fn all(&self, query: &str, token: &str) -> (Vec<Value>, String) {
        let (mut items, mut after) = (Vec::new(), String::new());
        for _ in 0..10_000 {
            let page = self.page(&format!("?limit=7{query}{after}"), token);
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            after = format!("&after={}", page["next"].as_str().unwrap());
            if page["complete"] == true {
                return (items, after);
            }
        }
        panic!("it never ends");
    }

    /// Sets the tenant's consent here, which is recorded here.
    pub fn consent(&self, people: &People, tenant: &str, level: &str) {
        let command = World::consent(tenant, level);
        let token = people.admin(tenant);
        world::block(self.gateway().engine().change(command, people.giver(&token))).unwrap();
    }

    /// A metric, by its name with its labels.
    pub fn metric(&self, name: &str) -> u64 {
        let mut client = Client::connect(self.gateway().operations());
        client.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
        let text = client.reply().text();
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }
}

/// What an item is: log and place.
pub fn place(item: &Value) -> (String, u64) {
    (item["log"].as_str().unwrap().to_owned(), item["seq"].as_u64().unwrap())
}
