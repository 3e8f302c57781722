//! Healing on real servers: wiped, restored from an old copy, forked, and healers that are killed between any two steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use postern::{
    model::{ChangeId, Document, Key, Ladder, Level, LevelName, Stored, Version, join::narrowest},
    state::{
        Answer, Commit, Line, Part, RedisStore, Shadow, Store, StoreFault,
        healing::{
            Copying, Done, Heal, Healer, Healing, Known, Loaded, Marking, Page, Putting, Recollection,
            Saying, Sight, Standing, Turned, standing,
        },
        redis::{Initialised, Options},
    },
};
use tempfile::TempDir;

use crate::{
    make::{at as instant, fresh, grant, grant_key, session_key, tenant, tenant_key},
    servers::{Server, at, open},
};

const GRACE: i64 = 30_000;
/// The clock that never runs back, of all gateways of a test.
fn clock(prefix: &str) -> Arc<AtomicI64> {
    static CLOCKS: Mutex<BTreeMap<String, Arc<AtomicI64>>> = Mutex::new(BTreeMap::new());
    Arc::clone(CLOCKS.lock().unwrap().entry(prefix.to_owned()).or_default())
}

fn part() -> Part {
    // As the store has it; every document of these tests is below one tenant.
    Part(0)
}

/// A gateway, as far as it heals.
struct Gate {
    name: String,
    store: Arc<RedisStore>,
    shadow: Arc<Shadow>,
    healing: Healing,
    directory: TempDir,
    now: Arc<AtomicI64>,
}

fn options(server: &Server, prefix: &str) -> Options {
    Options { prefix: prefix.to_owned(), parts: 1, ..at(server.port) }
}

async fn init(server: &Server, prefix: &str) {
    let made = RedisStore::init(options(server, prefix)).await.unwrap();
    assert!(matches!(made, Initialised::Made(_)));
}

impl Gate {
    async fn at(server: &Server, prefix: &str, name: &str) -> Gate {
        let directory = tempfile::tempdir().unwrap();
        let shadow = Arc::new(Shadow::open(&directory.path().join("shadow")).unwrap());
        ["g1", "g2", "g3"].iter().for_each(|gateway| shadow.meet(gateway));
        let store = open(options(server, prefix)).await;
        Gate {
            name: name.to_owned(),
            store,
            shadow,
            healing: Healing::default(),
            directory,
            now: clock(prefix),
        }
    }

    /// The same gateway after a crash, at that server.
    async fn restarted(self, server: &Server, prefix: &str) -> Gate {
        let Gate { name, store, shadow, directory, .. } = self;
        shadow.flush().unwrap();
        drop((shadow, store));
        let shadow = Arc::new(Shadow::open(&directory.path().join("shadow")).unwrap());
        let store = open(options(server, prefix)).await;
        Gate { name, store, shadow, healing: Healing::default(), directory, now: clock(prefix) }
    }

    async fn turn_on(&mut self, store: &dyn Heal) -> Result<Turned, postern::state::healing::HealFault> {
        let healer = Healer { store, known: &self.shadow, me: &self.name, grace_ms: GRACE };
        let id = fresh();
        self.healing.turn(&healer, part(), self.now.load(Ordering::SeqCst), id.as_str()).await
    }

    async fn turn(&mut self) -> Turned {
        let store = Arc::clone(&self.store);
        let turned = self.turn_on(&*store).await.unwrap();
        if turned == Turned::Serves {
            self.trust();
        }
        self.follow().await;
        turned
    }

    /// What was known of a part that was healed is forgotten, and it is followed from where it is now.
    fn trust(&self) {
        let (seen, leases) = (self.shadow.seen(part()).unwrap(), self.store.leases());
        leases.expect(part(), seen.store.unwrap(), seen.epoch);
        leases.suspect(part(), None);
        if leases.leaving(part()) {
            leases.in_force(part(), seen.number, seen.line);
        }
    }

    /// Takes steps until it serves, waits or is lost.
    async fn settle(&mut self) -> Turned {
        for _ in 0..200 {
            let claims = self.shadow.seen(part()).is_some_and(|seen| !seen.claims.is_empty());
            match self.turn().await {
                Turned::Works | Turned::Copies => {}
                // What it knows out of turn is followed meanwhile.
                Turned::Waits { .. } if claims => {}
                turned => return turned,
            }
        }
        panic!("{} does not come to an end", self.name);
    }

    async fn sight(&self) -> Sight {
        let place = self.shadow.seen(part()).map_or(0, |seen| seen.number);
        self.store.sight(part(), place, &self.name).await.unwrap()
    }

    async fn follow(&self) {
        let (Some(seen), sight) = (self.shadow.seen(part()), self.sight().await) else { return };
        let Some(head) = &sight.head else { return };
        if !matches!(standing(&sight, Some(&seen)), Standing::Agrees | Standing::Ahead) {
            return;
        }
        let entries = match self.store.changes_after(part(), seen.number, 1000).await {
            Err(StoreFault::FeedForgotten { .. }) => {
                self.shadow.follow(part(), &[], head.number, head.line);
                return;
            }
            // What was known of it before is not forgotten yet: it serves when it is.
            Err(StoreFault::Forked { .. } | StoreFault::WentBack { .. }) => return,
            entries => entries.unwrap(),
        };
        for entry in entries {
            let documents: Vec<(Key, Stored)> =
                entry.documents.into_iter().map(|(key, found)| (key, found.unwrap())).collect();
            self.shadow.follow(part(), &documents, entry.place.number, entry.line);
        }
    }

    /// Makes a change and has it acknowledged.
    async fn change(&self, key: &Key, document: Document) -> ChangeId {
        let since = self.store.leases().stretches();
        let before = self.load(key).await;
        let id = fresh();
        let stored = Stored::after(before.as_ref(), id.clone(), document);
        let read = vec![(key.clone(), before.map_or(Version::NONE, |stored| stored.version))];
        let write = vec![(key.clone(), stored.clone())];
        let commit = Commit { change: id.clone(), at: instant(1_000), read, since, write };
        let number = self.store.commit(commit).await.unwrap().place.number;
        let line = self.store.sight(part(), number, &self.name).await.unwrap().line_at;
        self.shadow.committed(part(), &[(key.clone(), stored)], number, line);
        id
    }

    async fn load(&self, key: &Key) -> Option<Stored> {
        let keys = [key.clone()];
        Store::load(&*self.store, &keys).await.unwrap().remove(0).map(Result::unwrap)
    }

    async fn level(&self, key: &Key) -> LevelName {
        let levels = ["block", "read", "full"].map(|name| LevelName::new(name).unwrap());
        let ladder = Ladder::new(levels.map(|name| Level { name, role: None }).into());
        match narrowest(&self.load(key).await.unwrap(), &ladder).unwrap() {
            Document::Tenant(tenant) => tenant.consent.cap.unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

/// Lets gateways take steps in turn until all serve.
async fn heal(gates: &mut [&mut Gate]) {
    for _ in 0..300 {
        let mut all = true;
        for gate in &mut *gates {
            all &= gate.turn().await == Turned::Serves;
        }
        if all {
            return;
        }
        gates[0].now.fetch_add(1_000, Ordering::SeqCst);
    }
    panic!("the healing does not end");
}

fn level(name: &str) -> LevelName {
    LevelName::new(name).unwrap()
}

// GW-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_server_gets_back_what_gateways_know_and_nobody_reads_defaults() {
    let server = Server::start(&[]);
    init(&server, "w").await;
    let (mut one, mut two) = (Gate::at(&server, "w", "g1").await, Gate::at(&server, "w", "g2").await);
    heal(&mut [&mut one, &mut two]).await;
    let acme = tenant_key("acme");
    let first = one.change(&acme, tenant("full")).await;
    for n in 0..150 {
        two.change(&grant_key("acme", &format!("g{n}")), grant(5_000)).await;
    }
    // Only the first one knows.
    let last = one.change(&acme, tenant("block")).await;

    server.tell(&["FLUSHALL"]);
    // A gateway with an empty disk makes nothing of it, however long it waits; nobody reads or writes.
    let mut new = Gate::at(&server, "w", "g4").await;
    for _ in 0..5 {
        new.now.fetch_add(GRACE, Ordering::SeqCst);
        assert_eq!(new.settle().await, Turned::Lost);
    }
    for what in ["head", "d", "keys", "heal"] {
        assert_eq!(server.tell(&["KEYS", &format!("w:*:{what}*")]), "");
    }
    let lost = Store::load(&*two.store, std::slice::from_ref(&acme)).await.unwrap_err();
    assert_eq!(lost, StoreFault::Forgotten { part: 0 });

    // The second one has joined; the first and the third are waited for.
    assert!(matches!(two.settle().await, Turned::Waits { .. }));
    let commit = Commit {
        since: two.store.leases().stretches(),
        change: fresh(),
        at: instant(1_000),
        read: vec![(acme.clone(), Version::NONE)],
        write: vec![(acme.clone(), Stored::after(None, fresh(), tenant("full")))],
    };
    assert_eq!(two.store.commit(commit).await.unwrap_err().code(), "store_suspect");
    assert!(matches!(new.settle().await, Turned::Waits { .. }));
    assert!(matches!(one.settle().await, Turned::Waits { .. }));
    heal(&mut [&mut one, &mut two, &mut new]).await;
    for gate in [&one, &two, &new] {
        gate.follow().await;
        assert_eq!(gate.level(&acme).await, level("block"));
        assert!(gate.load(&grant_key("acme", "g149")).await.is_some());
        let seen = gate.shadow.seen(part()).unwrap();
        assert!(seen.whole && !seen.gaps && seen.epoch == 1, "{seen:?}");
        // By now each has all of it on its own disk.
        assert_eq!(gate.shadow.page(part(), None, 1_000).unwrap().len(), 151);
    }
    // What was made counts as made.
    for change in [&first, &last] {
        assert!(two.store.asked(part(), change).await.unwrap().is_some(), "{change}");
    }
    assert_eq!(two.store.asked(part(), &fresh()).await.unwrap(), None);
    // The indexes are there as well, and it goes on.
    let due = two.store.due(instant(6_000), None, 1_000).await.whole().unwrap();
    assert_eq!(due.len(), 150);
    two.change(&acme, tenant("read")).await;
    one.follow().await;
    assert_eq!(one.shadow.get(part(), &acme).unwrap().unwrap().version.epoch, 1);
    assert_eq!(one.level(&acme).await, level("read"));
}

// GW-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_restored_from_an_old_copy_takes_nothing_back() {
    let mut server = Server::start(&[]);
    init(&server, "r").await;
    let (mut one, mut two) = (Gate::at(&server, "r", "g1").await, Gate::at(&server, "r", "g2").await);
    let mut behind = Gate::at(&server, "r", "g3").await;
    heal(&mut [&mut one, &mut two, &mut behind]).await;
    let (acme, given) = (tenant_key("acme"), grant_key("acme", "g"));
    one.change(&acme, tenant("full")).await;
    one.change(&given, grant(5_000)).await;
    behind.follow().await;
    assert_eq!(server.tell(&["SAVE"]), "+OK");
    let dump = PathBuf::from(server.tell(&["CONFIG", "GET", "dir"]).lines().last().unwrap()).join("dump.rdb");
    let old = std::fs::read(&dump).unwrap();

    one.change(&acme, tenant("block")).await;
    two.change(&session_key("acme", "s"), crate::make::session(5_000, Some(7))).await;
    std::fs::write(&dump, old).unwrap();
    server.restart();
    crate::servers::answers(&one.store).await;
    let mut gates = [
        one.restarted(&server, "r").await,
        two.restarted(&server, "r").await,
        behind.restarted(&server, "r").await,
    ];
    // Who saw nothing of what is missing cannot tell; who did stops everybody.
    assert_eq!(gates[2].settle().await, Turned::Serves);
    assert!(matches!(gates[1].settle().await, Turned::Waits { .. }));
    assert!(gates[2].sight().await.head.unwrap().round.is_some());
    let [one, two, behind] = &mut gates;
    heal(&mut [one, two, behind]).await;
    for gate in &gates {
        assert_eq!(gate.level(&acme).await, level("block"));
        assert!(gate.load(&session_key("acme", "s")).await.is_some());
        assert!(gate.load(&given).await.is_some());
    }
}

// GW-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_fork_the_narrower_side_holds_and_nothing_of_either_is_lost() {
    let old = Server::start(&[]);
    init(&old, "f").await;
    let acme = tenant_key("acme");
    let (mut one, mut two) = (Gate::at(&old, "f", "g1").await, Gate::at(&old, "f", "g2").await);
    let mut three = Gate::at(&old, "f", "g3").await;
    heal(&mut [&mut one, &mut two, &mut three]).await;
    one.change(&acme, tenant("read")).await;
    for gate in [&one, &two, &three] {
        gate.follow().await;
    }
    let new = old.replica(&[]);
    crate::servers::until("it is copied", || new.tell(&["DBSIZE"]) == old.tell(&["DBSIZE"]));
    new.tell(&["REPLICAOF", "NO", "ONE"]);
    let mut two = two.restarted(&new, "f").await;
    // The old primary still answers, and both sides go on, at the same places.
    one.change(&acme, tenant("block")).await;
    one.change(&grant_key("acme", "g"), grant(5_000)).await;
    two.change(&acme, tenant("full")).await;
    two.change(&grant_key("acme", "h"), grant(5_000)).await;
    two.follow().await;
    assert_eq!(two.settle().await, Turned::Serves);
    assert_eq!(one.level(&acme).await, level("block"));
    assert_eq!(two.level(&acme).await, level("full"));

    let mut one = one.restarted(&new, "f").await;
    assert!(matches!(one.settle().await, Turned::Waits { .. }));
    let mut three = three.restarted(&new, "f").await;
    heal(&mut [&mut one, &mut two, &mut three]).await;
    for gate in [&one, &two, &three] {
        assert_eq!(gate.level(&acme).await, level("block"));
        for name in ["g", "h"] {
            assert!(gate.load(&grant_key("acme", name)).await.is_some());
        }
    }
    assert_eq!(one.load(&acme).await.unwrap().heads.len(), 2);
}

/// A server that is gone after so many steps: the last one done, or not.
struct Cut {
    store: Arc<RedisStore>,
    left: AtomicUsize,
    done: bool,
}

impl Cut {
    fn to<'a, T: Send + 'a>(
        &'a self,
        work: Answer<'a, Result<T, StoreFault>>,
    ) -> Answer<'a, Result<T, StoreFault>> {
        Box::pin(async move {
            let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if left.is_ok() {
                return work.await;
            }
            if self.done {
                work.await?;
            }
            Err(StoreFault::Closed)
        })
    }
}

impl Heal for Cut {
    fn sight<'a>(&'a self, part: Part, place: u64, me: &'a str) -> Answer<'a, Result<Sight, StoreFault>> {
        self.to(self.store.sight(part, place, me))
    }
    fn mark(&self, part: Part, marking: Marking) -> Answer<'_, Result<Done, StoreFault>> {
        self.to(self.store.mark_part(part, marking))
    }
    fn load<'a>(&'a self, part: Part, keys: &'a [Key]) -> Answer<'a, Result<Loaded, StoreFault>> {
        self.to(Heal::load(&*self.store, part, keys))
    }
    fn put(&self, part: Part, putting: Putting) -> Answer<'_, Result<Done, StoreFault>> {
        self.to(self.store.put(part, putting))
    }
    fn say_joined(&self, part: Part, saying: Saying) -> Answer<'_, Result<Option<(u64, Line)>, StoreFault>> {
        self.to(self.store.say_joined(part, saying))
    }
    fn trust<'a>(
        &'a self,
        part: Part,
        round: &'a str,
        over: bool,
        retired: &'a BTreeSet<String>,
    ) -> Answer<'a, Result<Done, StoreFault>> {
        self.to(self.store.trust(part, round, over, retired))
    }
    fn page(&self, part: Part, copying: Copying) -> Answer<'_, Result<Option<Page>, StoreFault>> {
        self.to(self.store.page(part, copying))
    }
}

/// [`Heal::mark`] by another name: a store has a mark of its own.
trait MarkPart {
    fn mark_part(&self, part: Part, marking: Marking) -> Answer<'_, Result<Done, StoreFault>>;
}

impl MarkPart for RedisStore {
    fn mark_part(&self, part: Part, marking: Marking) -> Answer<'_, Result<Done, StoreFault>> {
        Heal::mark(self, part, marking)
    }
}

// GW-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healer_may_be_killed_between_any_two_steps() {
    let server = Server::start(&[]);
    let (acme, given) = (tenant_key("acme"), grant_key("acme", "g"));
    let mut longest = 0;
    for steps in 0..40 {
        let mut whole = true;
        for done in [false, true] {
            let prefix = format!("k{steps}-{done}");
            init(&server, &prefix).await;
            let mut one = Gate::at(&server, &prefix, "g1").await;
            let mut two = Gate::at(&server, &prefix, "g2").await;
            heal(&mut [&mut one, &mut two]).await;
            two.change(&given, grant(5_000)).await;
            one.follow().await;
            two.follow().await;
            // Only the first one knows this.
            one.change(&acme, tenant("block")).await;
            one.follow().await;
            for key in server.tell(&["KEYS", &format!("{prefix}:*")]).lines() {
                server.tell(&["DEL", key]);
            }
            // It heals until it is killed, or is through without any other.
            let cut = Cut { store: Arc::clone(&one.store), left: AtomicUsize::new(steps), done };
            loop {
                match one.turn_on(&cut).await {
                    Ok(Turned::Serves) => break,
                    Ok(Turned::Waits { .. }) => drop(one.now.fetch_add(GRACE, Ordering::SeqCst)),
                    Ok(_) => {}
                    Err(_) => {
                        whole = false;
                        break;
                    }
                }
            }
            // Another does the rest, and does not wait for ever.
            if two.settle().await != Turned::Serves {
                two.now.fetch_add(GRACE, Ordering::SeqCst);
                assert_eq!(two.settle().await, Turned::Serves, "after {steps}, {done}");
            }
            assert!(two.load(&given).await.is_some());
            // The first one comes late, and joins before it serves.
            let mut one = one.restarted(&server, &prefix).await;
            assert_eq!(one.settle().await, Turned::Serves, "after {steps}, {done}");
            two.follow().await;
            for gate in [&one, &two] {
                assert_eq!(gate.level(&acme).await, level("block"), "after {steps}, {done}");
                assert!(gate.load(&given).await.is_some(), "after {steps}, {done}");
            }
        }
        if whole {
            longest = steps;
            break;
        }
    }
    assert!(longest > 12, "it was cut at {longest} places only");
    println!("a healing was cut at {longest} places");
}

// GW-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ledgers_have_is_joined_like_a_shadow() {
    let server = Server::start(&[]);
    init(&server, "l").await;
    let mut one = Gate::at(&server, "l", "g1").await;
    assert_eq!(one.settle().await, Turned::Serves);
    let acme = tenant_key("acme");
    one.change(&acme, tenant("full")).await;
    let old = one.load(&acme).await.unwrap();
    one.change(&acme, tenant("block")).await;
    let new = one.load(&acme).await.unwrap();
    let id = one.sight().await.head.unwrap().id;
    server.tell(&["FLUSHALL"]);

    let documents = [(acme.clone(), old), (acme.clone(), new.clone())];
    let recollection = Recollection::of(id, 1, [documents.into()], |_| part());
    let healer = Healer { store: &*one.store, known: &recollection, me: "rebuild", grace_ms: 0 };
    let mut healing = Healing::default();
    let mut turned = Turned::Works;
    for _ in 0..20 {
        turned = healing.turn(&healer, part(), 0, fresh().as_str()).await.unwrap();
        if turned == Turned::Serves {
            break;
        }
    }
    assert_eq!(turned, Turned::Serves);
    let reader = open(options(&server, "l")).await;
    let found = Store::load(&*reader, std::slice::from_ref(&acme)).await.unwrap().remove(0).unwrap();
    assert_eq!(found.unwrap().heads, new.heads);
    // It is another history than the one that this gateway made its changes in.
    let answer = Store::load(&*one.store, std::slice::from_ref(&acme)).await;
    assert!(matches!(answer, Err(StoreFault::Forked { .. })), "{answer:?}");
    assert_eq!(Known::seen(&recollection, part()).unwrap().epoch, 1);
    // A gateway whose shadow is of before joins what it has.
    assert_eq!(one.settle().await, Turned::Serves);
    assert_eq!(one.level(&acme).await, level("block"));
}
