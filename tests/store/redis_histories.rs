//! Histories that are told apart: after a fail-over documents bear the same version on both sides, and nobody overwrites the one by
//! what was read of the other (law 8, decision 0026). On real servers.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU16, Ordering::SeqCst},
    },
    task::Poll,
    thread,
    time::Duration,
};

use postern::{
    model::{Document, Key, Stored, Version},
    state::{
        Commit, CommitFault, Part, Parts, RedisStore, Store, StoreFault, Suspicion,
        redis::{Initialised, Options},
    },
};

use crate::{
    contract::told_after,
    make::*,
    servers::{Server, answers, at, open, until},
};

/// An address whose server changes, as after a fail-over.
struct Relay {
    port: u16,
    to: Arc<AtomicU16>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    over: Arc<AtomicBool>,
}

impl Relay {
    fn to(server: &Server) -> Relay {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (to, over) = (Arc::new(AtomicU16::new(server.port)), Arc::new(AtomicBool::new(false)));
        let open = Arc::new(Mutex::new(Vec::new()));
        let relay = Relay { port, to, open, over };
        let (to, over, open) = (Arc::clone(&relay.to), Arc::clone(&relay.over), Arc::clone(&relay.open));
        thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(SeqCst) {
                    return;
                }
                let server = SocketAddr::from(([127, 0, 0, 1], to.load(SeqCst)));
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else { continue };
                let again = |stream: &TcpStream| stream.try_clone().unwrap();
                open.lock().unwrap().extend([again(&client), again(&server)]);
                for (mut from, mut to) in [(again(&client), again(&server)), (server, client)] {
                    thread::spawn(move || {
                        let _ended = io::copy(&mut from, &mut to);
                        let _gone = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        relay
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _gone = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Everybody is cut off, and finds another server here.
    fn turn_to(&self, server: &Server) {
        self.to.store(server.port, SeqCst);
        self.cut();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        self.cut();
        let _woken = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// A primary, and a copy of it that has stopped to follow; a gateway that reaches whichever is turned to, and one at the copy.
struct Fork {
    old: Server,
    new: Server,
    relay: Relay,
    here: Arc<RedisStore>,
    there: Arc<RedisStore>,
}

impl Fork {
    /// After one change of a tenant.
    async fn of(parts: u16, key: &Key) -> Fork {
        let old = Server::start(&[]);
        let relay = Relay::to(&old);
        let options = |port| Options { parts, beat: Duration::from_millis(50), ..at(port) };
        let made = RedisStore::init(options(old.port)).await.unwrap();
        assert!(matches!(made, Initialised::Made(_)));
        let here = open(options(relay.port)).await;
        here.commit(step(fresh(), key, None, tenant("read"))).await.unwrap();
        let new = old.replica(&[]);
        let head = format!("postern:{{p{:02}}}:head", here.part_of(key).0);
        until("the copy has it", || new.tell(&["HGET", &head, "number"]) == "1");
        assert_eq!(new.tell(&["REPLICAOF", "NO", "ONE"]), "+OK");
        let there = open(options(new.port)).await;
        Fork { old, new, relay, here, there }
    }

    async fn go_over(&self, part: Part) {
        self.relay.turn_to(&self.new);
        // The link that ended is gone before the next one has beaten.
        let mut up = self.here.links().up();
        let leases = self.here.leases();
        let found = async {
            while leases.suspicion(part).is_none() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            up.wait_for(|parts| parts.contains(part)).await.unwrap();
        };
        tokio::time::timeout(Duration::from_secs(30), found).await.unwrap();
        assert_eq!(leases.suspicion(part), Some(Suspicion::Forked));
    }
}

async fn load(store: &RedisStore, key: &Key) -> Stored {
    store.load(std::slice::from_ref(key)).await.unwrap().remove(0).unwrap().unwrap()
}

/// Reads a tenant and changes it.
async fn set(store: &RedisStore, key: &Key, document: Document) {
    let since = store.leases().stretches();
    let before = load(store, key).await;
    let commit = Commit { since, ..step(fresh(), key, Some(&before), document) };
    store.commit(commit).await.unwrap();
}

fn unavailable<T: std::fmt::Debug>(answer: Result<T, CommitFault>) -> StoreFault {
    match answer {
        Err(CommitFault::Unavailable(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

// GW-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gateway_made_before_a_fail_over_lost_it_is_no_ground_for_a_change() {
    let acme = tenant_key("acme");
    let fork = Fork::of(1, &acme).await;
    set(&fork.here, &acme, tenant("block")).await;
    let mine = load(&fork.here, &acme).await;
    set(&fork.there, &acme, tenant("full")).await;
    fork.there.commit(step(fresh(), &tenant_key("other"), None, tenant("read"))).await.unwrap();
    let theirs = load(&fork.there, &acme).await;
    assert_eq!(mine.version, theirs.version, "nothing else tells them apart");
    fork.go_over(Part::FIRST).await;
    let forked = StoreFault::Forked { part: 0, number: 2 };
    let commit = step(fresh(), &acme, Some(&mine), tenant("read"));
    let change = commit.change.clone();
    assert_eq!(unavailable(fork.here.commit(commit).await), forked);
    assert_eq!(fork.here.asked(Part::FIRST, &change).await, Err(forked.clone()));
    assert_eq!(fork.here.load(std::slice::from_ref(&acme)).await, Err(forked.clone()));
    assert_eq!(fork.here.changes_after(Part::FIRST, 2, 10).await, Err(forked));
    assert_eq!(load(&fork.there, &acme).await, theirs, "nothing of it was overwritten");
    // Who began anew goes by what is there.
    let leases = fork.here.leases();
    leases.leave(Part::FIRST);
    let commit = Commit { since: leases.stretches(), ..step(fresh(), &acme, Some(&mine), tenant("read")) };
    assert_eq!(unavailable(fork.here.commit(commit).await), StoreFault::Suspect { part: 0 });
    let head = fork.here.mark(Part::FIRST).await.unwrap();
    leases.in_force(Part::FIRST, head.position, head.line);
    set(&fork.here, &acme, tenant("block")).await;
    drop(fork.old);
}

// GW-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gateway_loaded_before_a_fail_over_lost_it_is_no_ground_for_a_change() {
    let acme = tenant_key("acme");
    let fork = Fork::of(1, &acme).await;
    let other = open(Options { parts: 1, ..at(fork.old.port) }).await;
    set(&other, &acme, tenant("block")).await;
    let read = load(&fork.here, &acme).await;
    set(&fork.there, &acme, tenant("full")).await;
    let theirs = load(&fork.there, &acme).await;
    assert_eq!(read.version, theirs.version);
    fork.go_over(Part::FIRST).await;
    let commit = step(fresh(), &acme, Some(&read), tenant("read"));
    assert_eq!(unavailable(fork.here.commit(commit).await), StoreFault::Forked { part: 0, number: 2 });
    assert_eq!(load(&fork.there, &acme).await, theirs);
}

/// Forgets what is known of a part, and goes on from its head: as whoever follows it does.
async fn begin_anew(store: &RedisStore, part: Part) {
    let leases = store.leases();
    leases.leave(part);
    let head = store.mark(part).await.unwrap();
    leases.in_force(part, head.position, head.line);
    leases.suspect(part, None);
}

// GW-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_decided_before_a_part_was_begun_anew_is_decided_again() {
    let (acme, start) = (tenant_key("acme"), session_key("acme", "s"));
    let fork = Fork::of(1, &acme).await;
    set(&fork.here, &acme, tenant("full")).await;
    let (since, mine) = (fork.here.leases().stretches(), load(&fork.here, &acme).await);
    set(&fork.there, &acme, tenant("block")).await;
    let theirs = load(&fork.there, &acme).await;
    assert_eq!(mine.version, theirs.version, "nothing else tells them apart");
    fork.go_over(Part::FIRST).await;
    begin_anew(&fork.here, Part::FIRST).await;
    // It was written on top of, or only read.
    let writes = step(fresh(), &acme, Some(&mine), tenant("read"));
    let mut reads = step(fresh(), &start, None, session(9, None));
    reads.read.push((acme.clone(), mine.version));
    for commit in [writes, reads] {
        let keys: Vec<Key> = commit.read.iter().map(|(key, _)| key.clone()).collect();
        let refused = fork.here.commit(Commit { since: since.clone(), ..commit }).await;
        assert_eq!(refused, Err(CommitFault::Conflict(keys)));
    }
    assert_eq!(load(&fork.there, &acme).await, theirs, "nothing of it was overwritten");
    set(&fork.here, &acme, tenant("read")).await;
}

// GW-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_only_read_in_another_part_is_read_again_too_where_that_was_begun_anew() {
    let (parent, start) = (tenant_key("parent"), session_key("acme", "s"));
    let fork = Fork::of(64, &parent).await;
    set(&fork.here, &parent, tenant("full")).await;
    let (since, read) = (fork.here.leases().stretches(), load(&fork.here, &parent).await);
    set(&fork.there, &parent, tenant("block")).await;
    let part = fork.here.part_of(&parent);
    fork.go_over(part).await;
    begin_anew(&fork.here, part).await;
    let mut commit = Commit { since, ..step(fresh(), &start, None, session(9, None)) };
    commit.read.push((parent.clone(), read.version));
    assert_eq!(fork.here.commit(commit).await, Err(CommitFault::Conflict(vec![parent])));
}

/// An old primary that was left alone still answers whoever asked it. What it answers late is not gone by, and nothing is suspected for it.
// GW-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_old_primary_answers_late_is_no_answer() {
    let acme = tenant_key("acme");
    let fork = Fork::of(1, &acme).await;
    set(&fork.here, &acme, tenant("full")).await;
    set(&fork.there, &acme, tenant("block")).await;
    let told = told_after(&fork.there, Part::FIRST, 0).await;
    // No beat tells it anything meanwhile.
    let options = Options { parts: 1, beat: Duration::from_secs(600), ..at(fork.old.port) };
    let one = open(options).await;
    let leases = one.leases();
    leases.in_force(Part::FIRST, 1, told[0].line);
    // Nor is what its first one told waited for.
    leases.unlinked(Parts::of(Part::FIRST));
    fork.old.freeze();
    let keys = [acme.clone()];
    let mut asking = one.load(&keys);
    let waits = std::future::poll_fn(|context| Poll::Ready(asking.as_mut().poll(context).is_pending()));
    assert!(waits.await, "it is asked, and does not answer");
    // It is followed on along the other history.
    leases.in_force(Part::FIRST, 2, told[1].line);
    fork.old.thaw();
    assert_eq!(asking.await, Err(StoreFault::Forked { part: 0, number: 2 }));
    assert_eq!((leases.suspicion(Part::FIRST), leases.grounds(Part::FIRST).claims), (None, vec![]));
    // Nor what it was asked before the part was begun anew, though that may have been the same.
    leases.leave(Part::FIRST);
    let head = one.mark(Part::FIRST).await.unwrap();
    leases.in_force(Part::FIRST, head.position, head.line);
    fork.old.freeze();
    let mut asking = one.load(&keys);
    let waits = std::future::poll_fn(|context| Poll::Ready(asking.as_mut().poll(context).is_pending()));
    assert!(waits.await);
    leases.leave(Part::FIRST);
    leases.in_force(Part::FIRST, head.position, head.line);
    fork.old.thaw();
    assert_eq!(asking.await, Err(StoreFault::Forked { part: 0, number: 2 }));
    assert_eq!(load(&one, &acme).await, load(&fork.here, &acme).await, "the next one is one");
}

// GW-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_only_read_in_another_part_has_to_be_of_its_history_as_well() {
    let (parent, start) = (tenant_key("parent"), session_key("acme", "s"));
    let fork = Fork::of(64, &parent).await;
    let (of_parent, of_start) = (fork.here.part_of(&parent), fork.here.part_of(&start));
    assert_ne!(of_parent, of_start);
    set(&fork.here, &parent, tenant("full")).await;
    let read = load(&fork.here, &parent).await;
    set(&fork.there, &parent, tenant("block")).await;
    fork.go_over(of_parent).await;
    let mut commit = step(fresh(), &start, None, session(9, None));
    commit.read.push((parent.clone(), read.version));
    let forked = StoreFault::Forked { part: of_parent.0, number: 2 };
    assert_eq!(unavailable(fork.here.commit(commit).await), forked);
    assert_eq!(fork.here.leases().suspicion(of_start), None);
    // What does not rest on it is made.
    fork.here.commit(step(fresh(), &start, None, session(9, None))).await.unwrap();
}

// GW-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_push_nor_the_feed_leads_from_one_history_into_another() {
    let acme = tenant_key("acme");
    let fork = Fork::of(1, &acme).await;
    // This one beats so seldom that it finds out by nothing else.
    let options = Options { parts: 1, beat: Duration::from_secs(600), ..at(fork.old.port) };
    let follower = open(options).await;
    let leases = follower.leases();
    set(&fork.here, &acme, tenant("block")).await;
    for entry in follower.changes_after(Part::FIRST, 0, 10).await.unwrap() {
        leases.in_force(Part::FIRST, entry.place.number, entry.line);
    }
    assert_eq!(leases.followed(Part::FIRST).0, 2);
    set(&fork.there, &acme, tenant("full")).await;
    // The server takes over the other history, and goes on in it; the connections stay.
    let port = fork.new.port.to_string();
    fork.old.tell(&["REPLICAOF", "127.0.0.1", &port]);
    until("it has the other one", || {
        fork.old.tell(&["INFO", "replication"]).contains("master_link_status:up")
    });
    assert_eq!(fork.old.tell(&["REPLICAOF", "NO", "ONE"]), "+OK");
    let other = open(Options { parts: 1, ..at(fork.old.port) }).await;
    let mut newest = follower.newest(Part::FIRST);
    set(&other, &acme, tenant("read")).await;
    let pushed = newest.changed();
    tokio::time::timeout(Duration::from_secs(30), pushed).await.unwrap().unwrap();
    assert!(follower.links().at(Part::FIRST).is_ok() && leases.suspicion(Part::FIRST).is_none());
    let told = follower.changes_after(Part::FIRST, 2, 10).await;
    assert_eq!(told, Err(StoreFault::Forked { part: 0, number: 2 }));
    let told = follower.load(std::slice::from_ref(&acme)).await;
    assert_eq!(told, Err(StoreFault::Forked { part: 0, number: 2 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_no_longer_be_compared_is_no_ground_either() {
    let server = Server::start(&[]);
    let options = Options { parts: 1, beat: Duration::from_secs(600), ..at(server.port) };
    RedisStore::init(options.clone()).await.unwrap();
    let (one, two) = (open(options.clone()).await, open(options).await);
    let (a, b) = (tenant_key("a"), tenant_key("b"));
    one.commit(step(fresh(), &a, None, tenant("read"))).await.unwrap();
    let read = load(&one, &a).await;
    two.commit(step(fresh(), &b, None, tenant("read"))).await.unwrap();
    server.tell(&["DEL", "postern:{p00}:line"]);
    let commit = step(fresh(), &a, Some(&read), tenant("block"));
    let refused = unavailable(one.commit(commit.clone()).await);
    assert_eq!((refused.code(), refused), ("store_forked", StoreFault::Forked { part: 0, number: 1 }));
    assert_eq!(load(&two, &a).await.version, Version::NONE.next());
    // Who begins anew, knowing nothing, reads what is there and goes on.
    one.leases().leave(Part::FIRST);
    let head = one.mark(Part::FIRST).await.unwrap();
    one.leases().in_force(Part::FIRST, head.position, head.line);
    let since = one.leases().stretches();
    assert_eq!(load(&one, &a).await, read);
    one.commit(Commit { since, ..commit }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_out_of_turn_is_proved_by_the_next_beat() {
    let server = Server::start(&[]);
    let options = Options { parts: 1, beat: Duration::from_millis(20), ..at(server.port) };
    RedisStore::init(options.clone()).await.unwrap();
    let two = open(options.clone()).await;
    let clock = AtomicI64::new(1);
    let tick = Arc::new(move || clock.fetch_add(1, SeqCst));
    let one = RedisStore::start(options, &tokio::runtime::Handle::current(), tick);
    answers(&one).await;
    let key = tenant_key("a");
    two.commit(step(fresh(), &key, None, tenant("read"))).await.unwrap();
    load(&one, &key).await;
    // Neither what is loaded, nor how often, nor what is made piles up.
    for _ in 0..20 {
        set(&two, &key, tenant("read")).await;
        load(&one, &key).await;
        assert!(one.leases().grounds(Part::FIRST).claims.len() <= 1);
    }
    for _ in 0..20 {
        set(&one, &key, tenant("read")).await;
    }
    let grounds = one.leases().grounds(Part::FIRST);
    assert_eq!((grounds.claims.len(), grounds.top()), (1, 41));
    // It counts as known from when it is followed.
    let before = one.leases().known(Part::FIRST);
    for entry in told_after(&one, Part::FIRST, 0).await {
        one.leases().in_force(Part::FIRST, entry.place.number, entry.line);
    }
    let leases = one.leases();
    until("it is known", || leases.known(Part::FIRST) > before);
    assert_eq!((leases.grounds(Part::FIRST).claims.len(), leases.suspicion(Part::FIRST)), (0, None));
}
