//! A master is killed while members and staff are at work: a Cluster of three masters, and Sentinels. Who is refused and for how long, that
//! nothing passes on facts that are too old, and that what was acknowledged is kept.
//!
//! Never here: what servers do to gateways without a fail-over ([`crate::faults`]).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use postern::{
    engine::hooks::Hooks,
    model::{Key, Reach, SessionId},
    state::Store,
};

use crate::{
    client::{Client, Ending},
    rig::{plan, prepared, serving},
    sentinel::Sentinel,
    servers::{Server, until},
    stage::{READS, SLACK, WRITES},
    watch::{SOON, Watch, ask, lone},
    world::{World, request, tenant, until_within},
};

/// When bytes of staff passed, by exchange.
type Passed = Arc<Mutex<BTreeMap<String, Vec<Instant>>>>;

/// Tenants enough to lie on several servers.
pub const MORE: &str = "- { id: globex, zone: UTC }\n    - { id: initech }\n    - { id: hooli }\n    - { id: stark }\n    - { id: wonka }";
pub const TENANTS: [&str; 6] = ["acme", "globex", "initech", "hooli", "stark", "wonka"];

struct Fleet {
    gateways: Vec<World>,
    passed: Passed,
}

impl Fleet {
    fn over(servers: &str) -> Fleet {
        let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_test_writer().try_init();
        let passed = Passed::default();
        let gateways = prepared(3, |name| {
            let noting = Arc::clone(&passed);
            let bytes = Arc::new(move |exchange: &postern::model::ExchangeId, _: usize| {
                noting.lock().unwrap().entry(exchange.to_string()).or_default().push(Instant::now());
            });
            let hooks = Hooks { bytes: Some(bytes), ..Hooks::default() };
            plan(name, servers, ", max_staleness: { reads: 2s }", hooks)
                .edit("- { id: globex, zone: UTC }", MORE)
        });
        Fleet { gateways: serving(gateways), passed }
    }

    fn reads(&self, gateway: usize, tenant: &str, token: &str, session: Option<&SessionId>) -> u16 {
        let named = session.map(|id| format!("Postern-Session: {id}\r\n")).unwrap_or_default();
        let text = lone("GET", &format!("/t/{tenant}/orders"), token, &named);
        ask(self.gateways[gateway].gateway().address(), &text).status
    }

    fn lets_in(&self, tenant: &str, name: &str) -> String {
        let a = &self.gateways[0];
        let agent = a.people.staff(name);
        a.done(World::consent(tenant, "full"), &a.people.admin(tenant));
        a.start_session(tenant, &agent);
        for gateway in 0..3 {
            until_within(SOON, "the session is known", || self.reads(gateway, tenant, &agent, None) == 200);
        }
        agent
    }

    /// A stream of pieces, which goes on until it is cut; whether it still does, and how it ended.
    fn stream(&self, gateway: usize, tenant: &str, token: &str) -> (Arc<AtomicBool>, Arc<AtomicU64>) {
        let mut client = Client::connect(self.gateways[gateway].gateway().address());
        client.send(request("GET", &format!("/t/{tenant}/download?do=ticks&n=100000"), token, ""));
        assert!(client.head().starts_with("HTTP/1.1 200"));
        let (open, pieces) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let (is_open, counted) = (Arc::clone(&open), Arc::clone(&pieces));
        std::thread::spawn(move || {
            while client.more() == Ending::Open {
                client.inbox.clear();
                counted.fetch_add(1, SeqCst);
            }
            is_open.store(false, SeqCst);
        });
        (open, pieces)
    }
}

/// Starts and ends sessions one after the other while it lasts; what was acknowledged of each.
fn changes(gateway: &World, tenant: &str, over: &AtomicBool) -> Vec<(String, SessionId, bool)> {
    let admin = gateway.people.admin(tenant);
    let mut all = Vec::new();
    for number in 0.. {
        if over.load(SeqCst) {
            return all;
        }
        let name = format!("{}-{number}", gateway.data.file_name().unwrap().to_string_lossy());
        let agent = gateway.people.staff(&name);
        let session = SessionId::new(&postern::engine::new_id("ses", gateway.now()).unwrap()).unwrap();
        let command = postern::lifecycle::Command::StartSession {
            tenant: crate::world::tenant(tenant),
            session: session.clone(),
            environment: crate::world::production(),
            basis: postern::lifecycle::WantedBasis::Consent,
            reason: "a fail-over".to_owned(),
            ticket: None,
            lasts: None,
        };
        let done = |command, token: &str| {
            matches!(gateway.change(command, token), Ok(postern::engine::Changed::Done { .. }))
        };
        if done(command, &agent) {
            // Every other one stays.
            let ended = number % 2 == 0 && done(World::end(tenant, &session), &admin);
            if ended || number % 2 == 1 {
                all.push((name, session, ended));
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    all
}

/// Everybody is at work in two tenants, and the server of one of them is killed.
fn under_load(fleet: Fleet, what: &str, tenant: &str, other: Option<&str>, kill: impl FnOnce()) {
    let agent = fleet.lets_in(tenant, "sam");
    let beside = other.map(|tenant| (tenant, fleet.lets_in(tenant, "vera")));
    let address = |number: usize| fleet.gateways[number].gateway().address();
    let member = fleet.gateways[0].people.admin(tenant);
    let watch = |number: usize, method: &str, tenant: &str, token: &str| {
        let (path, more) = match method {
            "GET" => (format!("/t/{tenant}/orders"), ""),
            _ => (format!("/t/{tenant}/orders/7"), "Content-Length: 0\r\n"),
        };
        Watch::begin(address(number), lone(method, &path, token, more))
    };
    let reads: Vec<Watch> = (0..3).map(|number| watch(number, "GET", tenant, &agent)).collect();
    let writes = watch(1, "PUT", tenant, &agent);
    let members: Vec<Watch> = (0..3).map(|number| watch(number, "GET", tenant, &member)).collect();
    let elsewhere: Vec<Watch> = beside
        .iter()
        .flat_map(|(tenant, token)| {
            (0..3).map(|number| watch(number, "GET", tenant, token)).collect::<Vec<_>>()
        })
        .collect();
    let streams: Vec<_> = (0..3).map(|number| fleet.stream(number, tenant, &agent)).collect();
    let others: Vec<_> = beside
        .iter()
        .flat_map(|(tenant, token)| {
            (0..3).map(|number| fleet.stream(number, tenant, token)).collect::<Vec<_>>()
        })
        .collect();
    let over = AtomicBool::new(false);
    let (killed, back, acknowledged) = std::thread::scope(|scope| {
        let changing: Vec<_> =
            fleet.gateways.iter().map(|gateway| scope.spawn(|| changes(gateway, tenant, &over))).collect();
        for (_, pieces) in streams.iter().chain(&others) {
            until("streams are under way", || pieces.load(SeqCst) > 3);
        }
        let killed = Instant::now();
        kill();
        let refused = writes.until("writing is refused", killed, |said| said.status == 503);
        assert!(refused < WRITES + SLACK, "{refused:?}");
        let back = reads
            .iter()
            .chain([&writes])
            .map(|watch| watch.until("staff are served by the new one", killed, |said| said.status == 200))
            .max()
            .unwrap();
        // Some more of them by the new one.
        let served = Instant::now();
        until("changes go on", || served.elapsed() > Duration::from_millis(500));
        over.store(true, SeqCst);
        let all: Vec<_> = changing.into_iter().flat_map(|one| one.join().unwrap()).collect();
        (killed, back, all)
    });
    // Members, and whoever is elsewhere, notice nothing.
    let mut answered = 0;
    for watch in members.iter().chain(&elsewhere) {
        assert!(
            watch.kinds(killed).iter().all(|said| said.is(200, "")),
            "{}",
            watch.told(killed, Instant::now())
        );
        answered += watch.count(killed);
    }
    assert!(others.iter().all(|(open, _)| open.load(SeqCst)), "a stream of another part was cut");
    // What was acknowledged is so at every gateway.
    let ended = acknowledged.iter().filter(|(_, _, ended)| *ended).count();
    for (name, session, ended) in &acknowledged {
        let token = fleet.gateways[0].people.staff(name);
        for gateway in 0..3 {
            let wanted = if *ended { 403 } else { 200 };
            let mut said = 503;
            // Whoever was served may be refused once more, until this gateway too has found the new one.
            until_within(SOON, "a gateway says so", || {
                said = fleet.reads(gateway, tenant, &token, Some(session));
                said != 503
            });
            assert_eq!(said, wanted, "{session} of {name} at {gateway}");
        }
    }
    println!(
        "{what}: staff who read: {}; who write: {}; all served {:.1} s after; {answered} of members and of other parts answered, none refused; \
         {} acknowledged changes ({ended} removals), all kept",
        reads[1].told(killed, Instant::now()),
        writes.told(killed, Instant::now()),
        back.as_secs_f64(),
        acknowledged.len() + ended,
    );
    drop((reads, writes, members, elsewhere));
    let cut = streams.iter().filter(|(open, _)| !open.load(SeqCst)).count();
    let passed = std::mem::take(&mut *fleet.passed.lock().unwrap());
    let mut oldest = 0;
    for gateway in fleet.gateways {
        gateway.upstream.release();
        let records = gateway.records();
        let outcomes: HashMap<&str, &serde_json::Value> = records
            .iter()
            .filter(|record| record["kind"] == "access.outcome")
            .map(|record| (record["exchange"].as_str().unwrap(), record))
            .collect();
        for intent in records.iter().filter(|record| record["kind"] == "access.intent") {
            let age = intent["age_ms"].as_i64().unwrap_or(0);
            let bound = if intent["method"] == "GET" { READS } else { WRITES };
            oldest = oldest.max(age);
            assert!(age <= i64::try_from(bound.as_millis()).unwrap(), "{intent}");
            // Of what was cut for its age nothing passed later than its bound after the last that can have been heard.
            let exchange = intent["exchange"].as_str().unwrap();
            let stale =
                outcomes.get(exchange).is_some_and(|outcome| outcome["cut_by"]["reason"] == "state_stale");
            let last = passed.get(exchange).and_then(|all| all.last());
            if let (true, Some(last)) = (stale, last) {
                assert!(last.saturating_duration_since(killed) <= bound + SLACK, "{intent}");
            }
        }
        drop(gateway);
    }
    println!(
        "{what}: {cut} of 3 streams of that part were cut; the oldest facts that anybody was admitted by were {oldest} ms old"
    );
}

#[test]
fn sentinels_fail_over_under_load() {
    let mut primary = Server::start(&[]);
    let _replicas = [primary.replica(&[]), primary.replica(&[])];
    let sentinels = Sentinel::three(primary.port);
    let urls: Vec<String> =
        sentinels.iter().map(|one| format!("\"redis://127.0.0.1:{}\"", one.port)).collect();
    let servers = format!("url: [{}], sentinel: gate, copies: 3", urls.join(", "));
    let fleet = Fleet::over(&servers);
    under_load(fleet, "Sentinels", "acme", None, || primary.end());
}

fn node() -> Server {
    let more = [
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "1000",
        "--cluster-require-full-coverage",
        "no",
    ];
    Server::start(&more)
}

/// Three masters, each with so many replicas: the masters first.
pub fn cluster(copies: usize) -> Vec<Server> {
    let nodes: Vec<Server> = (0..3 + 3 * copies).map(|_| node()).collect();
    let known = format!("cluster_known_nodes:{}", nodes.len());
    let (masters, replicas) = nodes.split_at(3);
    for (at, (master, range)) in masters.iter().zip([(0, 5460), (5461, 10922), (10923, 16383)]).enumerate() {
        let told = master.tell(&["CLUSTER", "ADDSLOTSRANGE", &range.0.to_string(), &range.1.to_string()]);
        assert_eq!(told, "+OK");
        master.tell(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
    }
    for other in &nodes[1..] {
        nodes[0].tell(&["CLUSTER", "MEET", "127.0.0.1", &other.port.to_string()]);
    }
    for node in &nodes {
        until("the cluster is whole", || {
            let told = node.tell(&["CLUSTER", "INFO"]);
            told.contains("cluster_state:ok") && told.contains(&known)
        });
    }
    for (at, replica) in replicas.iter().enumerate() {
        let master = masters[at / copies].tell(&["CLUSTER", "MYID"]);
        until("the replica follows", || {
            replica.tell(&["CLUSTER", "REPLICATE", &master]);
            replica.tell(&["INFO", "replication"]).contains("master_link_status:up")
        });
    }
    until("all know of all replicas", || {
        nodes.iter().all(|node| node.tell(&["CLUSTER", "NODES"]).matches("slave").count() == replicas.len())
    });
    nodes
}

/// How gateways are told of it.
pub fn seeds(nodes: &[Server]) -> String {
    let urls: Vec<String> =
        nodes[..3].iter().map(|one| format!("\"redis://127.0.0.1:{}\"", one.port)).collect();
    format!("url: [{}], cluster: true, copies: {}", urls.join(", "), nodes.len() / 3)
}

/// Which of the masters has the part that a document lies in.
pub fn master_of(nodes: &[Server], store: &Arc<dyn Store>, key: &Key) -> usize {
    let head = format!("postern:{{p{:02}}}:head", store.part_of(key).0);
    let slot: u32 = nodes[0].tell(&["CLUSTER", "KEYSLOT", &head]).trim_start_matches(':').parse().unwrap();
    usize::from(slot > 5460) + usize::from(slot > 10922)
}

#[test]
fn a_cluster_of_three_masters_fails_over_under_load() {
    let mut nodes = cluster(2);
    let fleet = Fleet::over(&seeds(&nodes));
    // Who has which part. All staff rest on that of the kill switches; of the others one is lost and one is not.
    let store = fleet.gateways[0].gateway().engine().store();
    let master = |key: &Key| master_of(&nodes, store, key);
    let stops = master(&Key::Stop(Reach::All));
    let on: Vec<(&str, usize)> = TENANTS.iter().map(|id| (*id, master(&Key::Tenant(tenant(id))))).collect();
    let (lost, gone) = *on.iter().find(|(_, at)| *at != stops).unwrap();
    let (kept, _) = *on.iter().find(|(_, at)| *at != gone).unwrap();
    under_load(fleet, "a Cluster", lost, Some(kept), || nodes[gone].end());
}
