//! What gateways ask Redis for: nothing at all for a request whose documents are known. Counted at the server, which says by
//! `MONITOR` what was asked of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::JoinHandle,
};

use postern::{
    engine::{Giver, hooks::Hooks, new_id},
    lifecycle::Command,
    model::{SessionId, Zone},
};

use crate::{
    process::{Process, written},
    rig::{Fleet, plan, prepared, serving, url},
    servers::Server,
    world::*,
};

/// How many requests of each kind.
const MANY: usize = 200;

/// Listens to what a server is asked, from the moment it is made on.
pub struct Watch {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Watch {
    pub fn of(server: &Server) -> Watch {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        let (mut asking, mut lines) = (stream.try_clone().unwrap(), BufReader::new(stream).lines());
        asking.write_all(b"MONITOR\r\n").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "+OK");
        let (seen, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, ended) = (Arc::clone(&seen), Arc::clone(&over));
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if line.contains("\"ECHO\" \"over\"") {
                    ended.store(true, SeqCst);
                    return;
                }
                kept.lock().unwrap().push(line);
            }
        });
        Watch { port: server.port, seen, over, reader: Some(reader) }
    }

    /// What was asked until now, and how often. A command of a script's own is no asking.
    pub fn end(mut self) -> BTreeMap<&'static str, usize> {
        let mut word = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        word.write_all(b"*2\r\n$4\r\nECHO\r\n$4\r\nover\r\n").unwrap();
        until("the server has told all", || self.over.load(SeqCst));
        self.reader.take().unwrap().join().unwrap();
        let mut counts = BTreeMap::new();
        for line in self.seen.lock().unwrap().iter().filter(|line| !line.contains(" lua]")) {
            *counts.entry(kind(line)).or_insert(0) += 1;
        }
        counts
    }
}

/// What a command was for, by the keys that it names.
fn kind(line: &str) -> &'static str {
    let words: Vec<&str> = line.split_once("] ").unwrap_or_default().1.split("\" \"").collect();
    let command = words[0].trim_matches('"').to_ascii_lowercase();
    if !command.starts_with("eval") {
        return match command.as_str() {
            // Each beat ends with these.
            "time" | "wait" => "beat",
            // How the server is set, each ten seconds.
            "config" => "settings",
            _ => "another command",
        };
    }
    let count: usize = words[2].parse().unwrap();
    let keys: Vec<&str> =
        words[3..3 + count].iter().map(|key| key.trim_end_matches('"').split("}:").nth(1).unwrap()).collect();
    match keys.as_slice() {
        ["head", "line", "beat"] => "beat",
        ["head", "due"] => "sweep",
        // How far the feed is, where a busy machine let beats come late.
        ["head"] | ["head", "feed", "line"] => "following",
        ["head", "gateways", ..] => "announcement",
        ["head", "keys"] => "names",
        // A shadow that begins in the middle is filled in the background: names, pages, and how far it is.
        ["head", "line", "keys", ..] | ["head", "line", "heal"] => "copying",
        ["head", "keys", "line", "beat", document, ..] if document.starts_with("d:") => "load",
        ["head", "feed", "ids", ..] => "commit",
        _ => "another script",
    }
}

/// What a gateway asks by itself, however many requests there are.
const OWN: [&str; 7] = ["beat", "sweep", "following", "announcement", "copying", "names", "settings"];

/// What was asked for the sake of requests.
fn asked(server: &Server, requests: impl FnOnce()) -> BTreeMap<&'static str, usize> {
    let watch = Watch::of(server);
    requests();
    let mut counts = watch.end();
    counts.retain(|kind, _| !OWN.contains(kind));
    counts
}

fn reads(gateway: &World, token: &str) {
    for _ in 0..MANY {
        assert_eq!(gateway.get("/t/acme/orders", token).status, 200);
    }
}

fn writes(gateway: &World, token: &str) {
    for _ in 0..MANY {
        assert_eq!(gateway.ask("PUT", "/t/acme/orders/o1", token, "Content-Length: 0\r\n").status, 200);
    }
}

const GLASS: &str = "members: { unmapped: refuse }\nbreak_glass: { operators: [{ issuer: vendor, sub: olga }], role: editor }";

/// A gateway over a store of its own, ready for staff; `olga` may break the glass.
fn alone(more: &str) -> (Server, World) {
    let redis = Server::start(&[]);
    let servers = format!("url: \"{}\"", url(redis.port));
    let plan = |name: &str| {
        plan(name, &servers, more, Hooks::default()).edit("members: { unmapped: refuse }", GLASS)
    };
    let gateway = serving(prepared(1, plan)).remove(0);
    (redis, gateway)
}

/// Members and staff, on the gateway where the session began and on another one: what each needs is there, and Redis hears
/// nothing of their requests.
#[test]
fn requests_whose_documents_are_known_ask_redis_for_nothing() {
    let fleet = Fleet::start(2);
    let first = &fleet.gateways[0];
    let (member, agent) = (first.people.admin("acme"), first.people.staff("sam"));
    first.done(World::consent("acme", "full"), &member);
    let before = asked(&fleet.redis, || {
        first.start_session("acme", &agent);
        fleet.knows_of_session(&agent);
    });
    assert!(before.contains_key("load") && before.contains_key("commit"), "{before:?}");
    for gateway in &fleet.gateways {
        let warm = asked(&fleet.redis, || {
            reads(gateway, &member);
            reads(gateway, &agent);
            writes(gateway, &agent);
        });
        println!("{MANY} requests each of a member who reads, of staff who read and who write: {warm:?}");
        assert_eq!(warm, BTreeMap::new());
    }
    fleet.finish();
}

/// `max_staleness: 0` asks for each request of its class, and for no other.
#[test]
fn nothing_older_than_the_question_is_asked_for_at_each_request() {
    let (redis, gateway) = alone(", max_staleness: { writes: 0s }");
    let (member, agent) = (gateway.people.admin("acme"), gateway.people.staff("sam"));
    gateway.done(World::consent("acme", "full"), &member);
    gateway.start_session("acme", &agent);
    until("staff read", || gateway.get("/t/acme/orders", &agent).status == 200);
    let read = asked(&redis, || {
        reads(&gateway, &member);
        reads(&gateway, &agent);
    });
    assert_eq!(read, BTreeMap::new());
    let wrote = asked(&redis, || writes(&gateway, &agent));
    println!("{MANY} writes of staff by what the store says: {wrote:?}");
    // Documents of the tenant and kill switches lie in two parts.
    assert_eq!(wrote, [("load", 2 * MANY)].into());
    gateway.finish();
}

/// Whoever broke the glass asks by default.
#[test]
fn break_glass_asks_for_each_request() {
    let (redis, gateway) = alone("");
    let operator = gateway.people.staff("olga");
    let session = SessionId::new(&new_id("ses", gateway.now()).unwrap()).unwrap();
    let command = Command::BreakGlass {
        tenant: tenant("acme"),
        session,
        environment: production(),
        reason: "orders of all tenants are lost".to_owned(),
        incident: "INC-7".to_owned(),
        cause: "integrity".to_owned(),
        lasts: None,
    };
    gateway.done(command, &operator);
    until("the operator is inside", || gateway.get("/t/acme/orders", &operator).status == 200);
    let read = asked(&redis, || reads(&gateway, &operator));
    println!("{MANY} reads by break-glass: {read:?}");
    assert_eq!(read, [("load", 2 * MANY)].into());
    gateway.finish();
}

/// A start says who was taken out of the configuration, and does not read all tenants of the store for it: of a million that is
/// minutes of work for each gateway.
#[test]
fn a_start_tells_of_tenants_that_are_configured_no_more_and_lists_none() {
    const PUSHED: usize = 250;
    let (redis, mut world) = alone("");
    let engine = world.gateway().engine();
    for number in 0..PUSHED {
        let command = Command::RegisterTenant {
            tenant: tenant(&format!("org-{number}")),
            parent: None,
            zone: Zone::UTC,
            environments: vec![production()],
        };
        // Parts become known one after another.
        until("it is registered", || block(engine.change(command.clone(), Giver::Configuration)).is_ok());
    }
    let named = || engine.shadow().unwrap().configured(&BTreeSet::new()).unwrap();
    until("it is noted who is configured", || named().contains(&tenant("globex")));
    until("the shadow has all", || engine.healings().unwrap().copying == 0);
    world.gateway.take().unwrap().stop();
    world.edits.push(("    - { id: globex, zone: UTC }\n", ""));
    let (config, watch) = (written(&world), Watch::of(&redis));
    let process = Process::start(&config);
    let log = || std::fs::read_to_string(config.with_extension("log")).unwrap();
    let told = |text: &str| text.lines().filter(|line| line.contains("no longer in `tenants.known`")).count();
    until("it is told", || told(&log()) > 0);
    assert_eq!(process.stop(), Some(0));
    let asked = watch.end();
    println!("a start on {PUSHED} tenants: {asked:?}");
    assert!(log().contains("globex") && told(&log()) == 1, "{}", log());
    // Those who gave grants, once in each part.
    assert_eq!(asked.get("names"), Some(&64));
}
