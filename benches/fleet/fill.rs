//! Tenants and sessions as the rules make them, committed to the store with many under way at once.
//!
//! Never here: a ledger. What a gateway writes there before and after each commit is left out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use postern::{
    engine::new_id,
    lifecycle::{self, Actor, Choice, Command, Outcome, WantedBasis},
    model::{
        ChangeId, EnvironmentId, IssuerName, Key, LevelName, RoleName, SessionId, Stored, Subject,
        SubjectKind, SubjectRef, TenantId, Timestamp, Zone, join::narrowest,
    },
    policy::{Fact, Facts, Policy, Snapshot},
    state::{
        Commit, Part, RedisStore, Store,
        redis::{Address, Options, Servers},
    },
};
use tokio::runtime::Runtime;

use super::{
    ask::Client,
    place::{Place, agent, now},
    server::{Redis, megabytes},
};

/// How many commits are under way at once.
const AT_ONCE: usize = 256;

/// What each part of a store has beside its documents.
const BESIDE: [&str; 6] = ["keys", "due", "feed", "ids", "line", "head"];

pub fn tenant(number: usize) -> TenantId {
    TenantId::new(&format!("org-{number:07}")).unwrap()
}

pub fn production() -> EnvironmentId {
    EnvironmentId::new("production").unwrap()
}

pub fn person(issuer: &str, sub: &str) -> SubjectRef {
    SubjectRef { issuer: IssuerName::new(issuer).unwrap(), sub: sub.into() }
}

fn subject(kind: SubjectKind, id: SubjectRef, tenant: Option<TenantId>) -> Subject {
    Subject {
        kind,
        email: None,
        support: kind == SubjectKind::Staff,
        organisations: Default::default(),
        environment: None,
        roles: tenant.iter().map(|_| RoleName::new("admin").unwrap()).collect(),
        tenant,
        login: None,
        acting: false,
        expires: Timestamp::MAX,
        id,
    }
}

/// Makes changes as an engine does, of what is known of the documents.
pub struct Maker(pub Policy);

impl Maker {
    pub fn commit(&self, command: &Command, by: &Subject, known: &[(Key, Stored)]) -> Commit {
        let (at, mut facts) = (now(), Facts::new());
        let change = loop {
            match lifecycle::apply(command, &facts, Actor::Subject(by), at, &self.0) {
                Outcome::Changed(change) => break change,
                Outcome::Refused(refusal) => panic!("{refusal}"),
                Outcome::Need(need) => {
                    for key in need.0 {
                        let found = known.iter().find(|(of, _)| *of == key);
                        let fact = found.map_or(Fact::Absent, |(_, stored)| {
                            let document = narrowest(stored, &self.0.ladder).unwrap();
                            Fact::Found(Arc::new(Snapshot { version: stored.version, document }))
                        });
                        facts.put(key, fact);
                    }
                }
            }
        };
        let id = ChangeId::new(&new_id("chg", at).unwrap()).unwrap();
        let write = change.documents.into_iter().map(|(key, document)| {
            let before = known.iter().find(|(of, _)| *of == key).map(|(_, stored)| stored);
            let after = Stored::after(before, id.clone(), document);
            (key, after)
        });
        let read = facts.versions().map(|(key, version)| (key.clone(), version)).collect();
        Commit { change: id.clone(), at, read, since: Default::default(), write: write.collect() }
    }

    /// A service says that there is a tenant.
    pub fn tenant(&self, tenant: &TenantId) -> Commit {
        let command = Command::PushTenant {
            tenant: tenant.clone(),
            parent: None,
            zone: Zone::UTC,
            environments: vec![production()],
            plan: None,
            seat_limit: None,
            expected: None,
        };
        self.commit(&command, &program(), &[])
    }

    /// An agent goes in, by the tenant's consent.
    pub fn session(&self, tenant: &TenantId, sub: &str, known: &[(Key, Stored)]) -> Commit {
        let command = Command::StartSession {
            tenant: tenant.clone(),
            session: SessionId::new(&new_id("ses", now()).unwrap()).unwrap(),
            environment: production(),
            basis: WantedBasis::Consent,
            reason: "orders of yesterday are missing".to_owned(),
            ticket: None,
            lasts: None,
        };
        self.commit(&command, &subject(SubjectKind::Staff, person("vendor", sub), None), known)
    }
}

pub fn program() -> Subject {
    subject(SubjectKind::Service, person("programs", "crm"), None)
}

/// A store that was filled.
pub struct Filled {
    pub sessions: usize,
    tenants: usize,
    store: Arc<RedisStore>,
    runtime: Runtime,
}

impl Filled {
    /// What somebody asks for in the tenant of a session.
    pub fn path(&self, number: usize) -> String {
        format!("/t/{}/orders", tenant(number))
    }

    /// How many documents there are: an agent's presence beside each session.
    pub fn documents(&self) -> usize {
        self.tenants + 2 * self.sessions
    }

    /// Staff ask in the tenant of a session until they are served: parts of the store become known one after another, and a machine that
    /// is busy may let them be too old for a moment.
    pub fn served(&self, client: &mut Client, place: &Place, number: usize) {
        let begun = Instant::now();
        while client.get(&self.path(number), &place.agent(number)) != 200 {
            assert!(begun.elapsed() < Duration::from_secs(600), "staff are not served");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Somebody of the last tenants says how far support may go there.
    pub fn change_consent(&self, place: &Place, number: usize) {
        let tenant = tenant(self.tenants - 1 - number);
        let maker = Maker(place.settings().policy);
        let key = Key::Tenant(tenant.clone());
        let found = self.runtime.block_on(self.store.load(std::slice::from_ref(&key))).unwrap().remove(0);
        let stored = found.unwrap().unwrap();
        let choice = Choice::Level(LevelName::new("full").unwrap());
        let command = Command::SetConsent { tenant: tenant.clone(), choice, until: None, expected: None };
        let admin = subject(SubjectKind::Member, person("app", "adele"), Some(tenant));
        let commit = maker.commit(&command, &admin, &[(key, stored)]);
        self.runtime.block_on(self.store.commit(commit)).unwrap();
    }

    /// Commits so many, many at once.
    fn commits(&self, count: usize, make: impl Fn(usize) -> Commit + Send + Sync + 'static) {
        let (make, next) = (Arc::new(make), Arc::new(AtomicUsize::new(0)));
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (make, next, store) = (Arc::clone(&make), Arc::clone(&next), Arc::clone(&self.store));
                self.runtime.spawn(async move {
                    loop {
                        let number = next.fetch_add(1, SeqCst);
                        if number >= count {
                            return;
                        }
                        store.commit(make(number)).await.unwrap();
                    }
                })
            })
            .collect();
        self.runtime.block_on(async {
            for worker in workers {
                worker.await.unwrap();
            }
        });
    }
}

/// What Redis uses: all, and for each kind of key beside the documents.
struct Used {
    all: u64,
    beside: Vec<u64>,
}

impl Used {
    fn of(redis: &Redis) -> Used {
        let sum = |what: &&str| {
            (0..64).map(|part| redis.size(format!("postern:{{p{part:02}}}:{what}").as_bytes())).sum::<u64>()
        };
        Used { all: redis.used(), beside: BESIDE.iter().map(sum).collect() }
    }

    /// What came since, for each of so many.
    fn tell(&self, before: &Used, what: &str, count: usize) {
        let each = |bytes: u64| bytes as f64 / count as f64;
        let beside: Vec<u64> =
            self.beside.iter().zip(&before.beside).map(|(now, then)| now.saturating_sub(*then)).collect();
        let all = self.all - before.all;
        let documents = all.saturating_sub(beside.iter().sum());
        let kinds =
            BESIDE.iter().zip(&beside).take(5).map(|(name, bytes)| format!("`{name}` {:.0}", each(*bytes)));
        println!(
            "memory for each of {count} {what}: {:.0} bytes; documents {:.0}, {} ({:.0} MB in all)",
            each(all),
            each(documents),
            kinds.collect::<Vec<_>>().join(", "),
            megabytes(all)
        );
    }
}

/// A store that can be asked.
fn open(port: u16, runtime: &Runtime) -> Arc<RedisStore> {
    // So many at once wait for each other, and the machine may be doing something else.
    let timeout = Duration::from_secs(30);
    let options =
        Options { timeout, ..Options::new(Servers::One(Address { host: "127.0.0.1".into(), port })) };
    let store = RedisStore::start(options, runtime.handle(), Arc::new(|| now().ms()));
    let begun = Instant::now();
    while runtime.block_on(store.mark(Part(0))).is_err() {
        assert!(begun.elapsed().as_secs() < 30, "the store cannot be asked");
        std::thread::sleep(Duration::from_millis(5));
    }
    store
}

pub fn fill(place: &Place, redis: &Redis, tenants: usize, sessions: usize) -> Filled {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let filled = Filled { sessions, tenants, store: open(redis.port, &runtime), runtime };
    let empty = Used::of(redis);
    let rate = |begun: Instant, count: usize, what: &str| {
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{count} {what} committed in {seconds:.1} s, {:.0} a second, {AT_ONCE} at once",
            count as f64 / seconds
        );
    };
    let (maker, begun) = (Maker(place.settings().policy), Instant::now());
    filled.commits(tenants, move |number| maker.tenant(&tenant(number)));
    rate(begun, tenants, "tenants");
    let with_tenants = Used::of(redis);
    with_tenants.tell(&empty, "tenants", tenants);
    let (maker, begun) = (Maker(place.settings().policy), Instant::now());
    filled.commits(sessions, move |number| {
        let tenant = tenant(number);
        // As it was made above, but for the change's id, which no rule looks at.
        let known = maker.tenant(&tenant).write;
        maker.session(&tenant, &agent(number), &known)
    });
    rate(begun, sessions, "sessions");
    Used::of(redis).tell(&with_tenants, "sessions", sessions);
    filled
}
