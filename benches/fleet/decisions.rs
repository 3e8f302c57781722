//! What a request's decision costs from what is known, over the embedded store and over one in Redis, in instructions, by valgrind.
//!
//! An engine is put together as a gateway does it, without what it does by itself in the background; the store's beats are told
//! by hand. What is there without any decision is taken away by counting two runs.
//!
//! Never here: time.

use std::{
    hint::black_box,
    path::Path,
    process::Command as Process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use postern::{
    app,
    audit::{Journal, Options as JournalOptions, SigningKey, journal::disk::RealDisk},
    engine::{
        Answer, Clock, End, Engine, Glance, Parts, Report,
        fuse::Look,
        hooks::Hooks,
        knock::{Knock, Name, Outer, Particulars, Path as OnMap},
    },
    lifecycle::Command,
    model::{RoleName, TenantId, Timestamp},
    policy::{Caller, Effect, Policy, Staleness},
    state::{
        Cells, Embedded, Part, RedisStore, Store,
        redis::{Address, Options, Servers},
    },
};
use tokio::runtime::Runtime;

use super::{
    fill::{Maker, person, program},
    place::{self, Place, agent, now},
    server::Redis,
};

/// What is counted, and how often at least.
const WHAT: [(&str, &str, u64); 4] = [
    ("member", "member, roles in the token", 20_000),
    ("rower", "member, roles in a row", 4_000),
    ("staff", "staff, admitted and concluded, records included", 500),
    ("look", "staff, one look before bytes are handed on", 40_000),
];

/// As a gateway's own, but for the page that valgrind hides.
struct Plain;

impl Clock for Plain {
    fn now(&self) -> Timestamp {
        now()
    }
}

/// Prints the table.
pub fn table() {
    let redis = Redis::start();
    println!("{}; {}; valgrind.\n", super::machine::machine(), redis.version());
    println!(
        "| a decision from what is known | embedded | Redis | to embedded |\n| --- | ---: | ---: | ---: |"
    );
    for (what, text, times) in WHAT {
        let [embedded, shared] = ["embedded", "redis"].map(|kind| instructions(&redis, kind, what, times));
        println!("| {text} | {embedded:.0} | {shared:.0} | {:.3} |", shared / embedded);
    }
}

fn instructions(redis: &Redis, kind: &str, what: &str, times: u64) -> f64 {
    static STORES: AtomicU64 = AtomicU64::new(0);
    let count = |times: u64| {
        let prefix = format!("count-{}", STORES.fetch_add(1, SeqCst));
        let place = Place::over("path: state.redb");
        let output = Process::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().unwrap())
            .args(["count", kind, what, &times.to_string()])
            .arg(place.dir())
            .args([&redis.port.to_string(), &prefix])
            .output()
            .expect("valgrind is there");
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().find(|line| line.contains("Collected"));
        assert!(output.status.success(), "{text}");
        line.unwrap().rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    (count(3 * times) - count(times)) / (2 * times) as f64
}

fn open(kind: &str, dir: &Path, port: &str, prefix: &str, runtime: &Runtime) -> Arc<dyn Store> {
    if kind == "embedded" {
        let path = dir.join("state.redb");
        Embedded::init(&path).unwrap();
        return Arc::new(Embedded::open(&path).unwrap());
    }
    let address = Address { host: "127.0.0.1".into(), port: port.parse().unwrap() };
    let long = Duration::from_secs(3600);
    // Valgrind takes its time, and beats would be counted.
    let options = Options {
        prefix: prefix.to_owned(),
        beat: long,
        timeout: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(60),
        ..Options::new(Servers::One(address))
    };
    runtime.block_on(RedisStore::init(options.clone())).unwrap();
    let store = RedisStore::start(options, runtime.handle(), Arc::new(|| now().ms()));
    while runtime.block_on(store.mark(Part(0))).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let leases = store.leases();
    for part in (0..store.parts()).map(Part) {
        leases.renew(part, now().ms());
    }
    store
}

/// `acme` with a member by row, and an agent inside.
fn furnish(store: &Arc<dyn Store>, policy: &Policy, runtime: &Runtime) {
    let (maker, acme) = (Maker(policy.clone()), TenantId::new("acme").unwrap());
    let made = maker.tenant(&acme);
    let known = made.write.clone();
    let command = Command::PushMember {
        tenant: acme.clone(),
        member: person("rows", "adele"),
        roles: vec![RoleName::new("admin").unwrap()],
        suspended: false,
        email: None,
        expected: None,
    };
    let member = maker.commit(&command, &program(), &known);
    let session = maker.session(&acme, &agent(0), &known);
    for commit in [made, member, session] {
        runtime.block_on(store.commit(commit)).unwrap();
    }
}

fn engine(dir: &Path, store: &Arc<dyn Store>, policy: Policy, runtime: &Runtime) -> Arc<Engine> {
    let key = SigningKey::load(&dir.join("ledger.key")).unwrap();
    let options = JournalOptions::new(dir.join("ledger"), "example.com/postern/fleet".to_owned());
    let (journal, recovered) =
        Journal::open(options, key, Arc::new(|| now().ms()), Arc::new(RealDisk)).unwrap();
    let cells = Cells::new(Arc::clone(store), policy.ladder.clone(), 10_000);
    let parts = Parts {
        gateway: "bench".to_owned(),
        policy: Arc::new(policy),
        store: Arc::clone(store),
        cells: Arc::new(cells),
        journal: Arc::new(journal),
        clock: Arc::new(Plain),
        background: runtime.handle().clone(),
        keeps: None,
        hooks: Hooks::default(),
    };
    let engine = Engine::new(parts, &recovered);
    runtime.block_on(engine.settle(&mut recovered.open_intents.into())).unwrap();
    engine
}

/// Decides so often, in a process that does nothing else.
pub fn counted(words: &[&str]) {
    let [kind, what, times, dir, port, prefix] = words else {
        panic!("count STORE WHAT TIMES DIR PORT PREFIX")
    };
    let (dir, times) = (Path::new(dir), times.parse::<u64>().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let settings = place::settings(dir);
    let hour = 3_600_000;
    let staleness = Staleness { writes_ms: hour, reads_ms: hour, ..Staleness::default() };
    let policy = Policy { staleness, ..settings.policy.clone() };
    let store = open(kind, dir, port, prefix, &runtime);
    furnish(&store, &policy, &runtime);
    let engine = engine(dir, &store, policy, &runtime);
    let who = if *what == "look" { "staff" } else { what };
    let token = std::fs::read_to_string(dir.join(format!("{who}.token"))).unwrap();
    let subject = app::verifier(&settings).unwrap().verify(token.as_bytes(), now()).unwrap();
    let knock = Knock {
        policy: engine.policy(),
        path: OnMap::Rule(0),
        tenant: Name::As("acme".into()),
        environment: Name::As("production".into()),
        resource: None,
        within: Outer::default(),
        session: Name::Missing,
        emergency: postern::policy::Brought::Nothing,
        does: Effect::Read,
        client: None,
        ticket: Name::Missing,
        asked: None,
    };
    let about = Particulars::default();
    let admit = || {
        let asked = engine.admit(knock.clone(), Arc::clone(&subject), &about);
        match runtime.block_on(asked) {
            Answer::Admitted(admission) => admission,
            Answer::Denied(denial) => panic!("{denial:?}"),
            Answer::Faulted(fault) => panic!("{fault}"),
        }
    };
    let report =
        || Report { end: End::Complete, status: Some(200), sent: 2, received: 0, fault: None, server: None };
    // What it rests on is known from here on.
    let first = admit();
    let ask = knock.ask(false);
    for _ in 0..times {
        match *what {
            "staff" => admit().finish(&report()),
            "look" => {
                let look = first.live().unwrap().fuse.look(engine.now());
                assert_eq!(black_box(look), Look::Alive);
            }
            _ => match engine.glance(black_box(&ask), Caller::Known(subject.subject()), &knock.policy) {
                Glance::Admitted(admission) => drop(black_box(admission)),
                Glance::Denied(denial) => panic!("{denial:?}"),
                Glance::Look => panic!("it asks the store"),
            },
        }
    }
    first.finish(&report());
}
