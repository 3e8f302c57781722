//! What a store in Redis says and does when its servers fail it: each fault made on real servers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use postern::{
    model::{Key, Version},
    state::{
        CommitFault, Part, RedisStore, ServerFault, Store, StoreFault, Unreadable,
        redis::{InitFault, Initialised, Kept, Options},
    },
};

use crate::{
    contract::told_after,
    make::*,
    servers::{Server, answers, at, open, started, until},
};

/// A store of one part, made and open.
async fn made(options: &Options) -> Arc<RedisStore> {
    let answer = RedisStore::init(options.clone()).await.unwrap();
    assert!(matches!(answer, Initialised::Made(_)), "{answer:?}");
    open(options.clone()).await
}

fn single(port: u16) -> Options {
    Options { parts: 1, ..at(port) }
}

fn server_fault<T: std::fmt::Debug>(answer: Result<T, StoreFault>) -> ServerFault {
    match answer {
        Err(StoreFault::Server { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

fn unavailable<T: std::fmt::Debug>(answer: Result<T, CommitFault>) -> StoreFault {
    match answer {
        Err(CommitFault::Unavailable(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

/// The key of a document, of a store of one part.
fn place_of(kind: u8, tenant: &str, rest: &str) -> Vec<u8> {
    [b"postern:{p00}:d:".as_slice(), &[kind], tenant.as_bytes(), &[0], rest.as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_majority_confirmed_is_open_until_one_does() {
    let primary = Server::start(&[]);
    let replica = primary.replica(&[]);
    let options = Options { copies: 2, timeout: Duration::from_millis(800), ..single(primary.port) };
    let store = made(&options).await;
    store.commit(step(fresh(), &tenant_key("a"), None, tenant("read"))).await.unwrap();

    replica.freeze();
    let commit = step(fresh(), &tenant_key("b"), None, tenant("read"));
    let open = store.commit(commit.clone()).await;
    let Err(CommitFault::Ambiguous(StoreFault::Server { fault, .. })) = open else { panic!("{open:?}") };
    assert_eq!(fault, ServerFault::Unconfirmed);
    assert_eq!(server_fault(store.asked(Part::FIRST, &commit.change).await), ServerFault::Unconfirmed);
    // What is read says it all the same, but not to whoever goes by nothing that no majority confirms.
    assert!(store.load(&[tenant_key("b")]).await.unwrap()[0].is_some());
    assert_eq!(server_fault(store.confirmed(&[tenant_key("b")]).await), ServerFault::Unconfirmed);
    // Nor does a repeat help, or an answer that nothing was made.
    assert!(matches!(store.commit(commit.clone()).await, Err(CommitFault::Ambiguous(_))));
    assert_eq!(server_fault(store.asked(Part::FIRST, &fresh()).await), ServerFault::Unconfirmed);

    replica.thaw();
    let mut asked = store.asked(Part::FIRST, &commit.change).await;
    let begun = Instant::now();
    while asked.is_err() && begun.elapsed() < Duration::from_secs(20) {
        asked = store.asked(Part::FIRST, &commit.change).await;
    }
    assert_eq!(numbered(asked), Ok(Some(2)));
    let again = store.commit(commit).await.unwrap();
    assert_eq!((again.place.number, again.repeated), (2, true));
    assert_eq!(*store.newest(Part::FIRST).borrow(), 2);
    let keys = [tenant_key("b"), tenant_key("none")];
    assert_eq!(store.confirmed(&keys).await, store.load(&keys).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_copies_two_suffice() {
    let primary = Server::start(&[]);
    let (good, frozen) = (primary.replica(&[]), primary.replica(&[]));
    let store = made(&Options { copies: 3, ..single(primary.port) }).await;
    frozen.freeze();
    let commit = step(fresh(), &tenant_key("a"), None, tenant("read"));
    store.commit(commit.clone()).await.unwrap();
    assert_eq!(numbered(store.asked(Part::FIRST, &commit.change).await), Ok(Some(1)));
    assert!(good.tell(&["HGET", "postern:{p00}:head", "number"]).contains('1'), "it is on the other one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_store_has_forgotten_and_is_not_empty() {
    let server = Server::start(&[]);
    let options = at(server.port);
    let store = made(&options).await;
    let key = tenant_key("a");
    let part = store.part_of(&key);
    store.commit(step(fresh(), &key, None, tenant("block"))).await.unwrap();
    server.tell(&["FLUSHALL"]);
    let forgotten = StoreFault::Forgotten { part: part.0 };
    assert_eq!(forgotten.code(), "store_mark_missing");
    assert_eq!(store.load(std::slice::from_ref(&key)).await, Err(forgotten.clone()));
    assert_eq!(store.mark(part).await, Err(forgotten.clone()));
    assert_eq!(store.asked(part, &fresh()).await, Err(forgotten.clone()));
    assert_eq!(store.changes_after(part, 0, 10).await, Err(forgotten.clone()));
    let listed = store.list(&tenant_id("a"), postern::model::Kind::Session, None, 10).await;
    assert_eq!(listed, Err(forgotten.clone()));
    for all in [
        store.list_tenants(None, 10).await.whole().map(drop),
        store.list_stops(None, 10).await.map(drop),
        store.due(at_ms(100), None, 10).await.whole().map(drop),
    ] {
        assert!(matches!(all, Err(StoreFault::Forgotten { .. })), "{all:?}");
    }
    let commit = step(fresh(), &key, None, tenant("full"));
    assert_eq!(unavailable(store.commit(commit).await), forgotten);
    // Another store in its place is another store, to whoever knew the former.
    RedisStore::init(options.clone()).await.unwrap();
    assert!(matches!(store.load(std::slice::from_ref(&key)).await, Err(StoreFault::Replaced { .. })));
    let commit = step(fresh(), &key, None, tenant("full"));
    assert!(matches!(unavailable(store.commit(commit).await), StoreFault::Replaced { .. }));
    let newcomer = open(options).await;
    assert_eq!(newcomer.load(&[key]).await, Ok(vec![None]));
}

fn at_ms(ms: i64) -> postern::model::Timestamp {
    crate::make::at(ms)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_was_wiped_alone_leaves_the_others_as_they_are() {
    let server = Server::start(&[]);
    let store = made(&at(server.port)).await;
    let (a, b) = (tenant_key("a"), tenant_key("b"));
    assert_ne!(store.part_of(&a), store.part_of(&b));
    store.commit(step(fresh(), &a, None, tenant("read"))).await.unwrap();
    server.tell(&["DEL", &format!("postern:{{p{:02}}}:head", store.part_of(&b).0)]);
    assert!(matches!(store.load(std::slice::from_ref(&a)).await.unwrap().as_slice(), [Some(Ok(_))]));
    let forgotten = StoreFault::Forgotten { part: store.part_of(&b).0 };
    assert_eq!(store.load(&[a.clone(), b.clone()]).await, Err(forgotten));
    // A change that rests on what was forgotten is not made.
    let mut start = several(fresh(), vec![(session_key("a", "s"), session(9, None))]);
    start.read.push((b, Version::NONE));
    assert!(matches!(unavailable(store.commit(start).await), StoreFault::Forgotten { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_went_back_takes_no_change() {
    let mut server = Server::start(&["--save", "3600 1000000"]);
    let options = Options { timeout: Duration::from_secs(2), ..single(server.port) };
    let store = made(&options).await;
    let key = tenant_key("a");
    store.commit(step(fresh(), &key, None, tenant("read"))).await.unwrap();
    server.tell(&["SAVE"]);
    let seen = store.load(std::slice::from_ref(&key)).await.unwrap().remove(0).unwrap().unwrap();
    let lost = step(fresh(), &key, Some(&seen), tenant("block"));
    store.commit(lost.clone()).await.unwrap();
    // Killed, and back as it was saved.
    server.restart();
    answers(&store).await;
    assert_eq!(store.mark(Part::FIRST).await.unwrap().position, 1);
    let went_back = StoreFault::WentBack { asked: 2, newest: 1 };
    let commit = step(fresh(), &key, Some(&seen), tenant("full"));
    assert_eq!(unavailable(store.commit(commit).await), went_back);
    assert_eq!(
        store.asked(Part::FIRST, &lost.change).await,
        Err(went_back.clone()),
        "it was made, and is lost"
    );
    assert_eq!(store.changes_after(Part::FIRST, 2, 10).await, Err(went_back));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_no_changes() {
    let primary = Server::start(&[]);
    let replica = primary.replica(&[]);
    let first = made(&single(primary.port)).await;
    first.commit(step(fresh(), &tenant_key("a"), None, tenant("read"))).await.unwrap();
    until("the replica has it", || replica.tell(&["HGET", "postern:{p00}:head", "number"]) == "1");
    let store = started(single(replica.port));
    let begun = Instant::now();
    while server_fault(store.load(&[tenant_key("a")]).await) != ServerFault::ReadOnly {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is not known for a replica");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let commit = step(fresh(), &tenant_key("b"), None, tenant("read"));
    assert_eq!(server_fault(Err::<(), _>(unavailable(store.commit(commit).await))), ServerFault::ReadOnly);
    assert_eq!(server_fault(store.asked(Part::FIRST, &fresh()).await), ServerFault::ReadOnly);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_memory_nothing_is_half_made() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let store = made(&single(server.port)).await;
    server.tell(&["CONFIG", "SET", "maxmemory", "1"]);
    let commit =
        several(fresh(), vec![(tenant_key("a"), tenant("read")), (session_key("a", "s"), session(9, None))]);
    let refused = unavailable(store.commit(commit.clone()).await);
    assert_eq!(server_fault(Err::<(), _>(refused)), ServerFault::OutOfMemory);
    assert_eq!(server_fault(store.asked(Part::FIRST, &commit.change).await), ServerFault::OutOfMemory);
    // What is there can be read all the same, and nothing new is there.
    assert_eq!(store.load(&[tenant_key("a")]).await, Ok(vec![None]));
    assert_eq!(store.changes_after(Part::FIRST, 0, 10).await, Ok(vec![]));
    assert_eq!(server.keys(), 1, "the head alone");
    server.tell(&["CONFIG", "SET", "maxmemory", "0"]);
    assert!(!store.commit(commit).await.unwrap().repeated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_as_such() {
    let server = Server::start(&["--requirepass", "right"]);
    let right = Options { password: Some("right".to_owned().into()), ..single(server.port) };
    made(&right).await;
    for password in [Some("wrong".to_owned().into()), None] {
        let options = Options { password, connect_timeout: Duration::from_secs(1), ..single(server.port) };
        let fault = RedisStore::init(options.clone()).await.unwrap_err();
        let InitFault::Store(StoreFault::Server { fault, detail }) = fault else { panic!("{fault:?}") };
        assert_eq!(fault, ServerFault::Password, "{detail}");
        assert!(!detail.contains("wrong"), "{detail}");
    }
    // Changed while it runs: what is connected goes on, what connects anew is refused.
    let store = open(right).await;
    server.tell(&["CONFIG", "SET", "requirepass", "other"]);
    assert_eq!(store.load(&[tenant_key("a")]).await, Ok(vec![None]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_rights_is_told_so() {
    let server = Server::start(&[]);
    made(&single(server.port)).await;
    server.tell(&["ACL", "SETUSER", "reader", "on", ">x", "~*", "&*", "+@all", "-evalsha", "-eval"]);
    server.tell(&["ACL", "SETUSER", "mute", "on", ">x", "~*", "resetchannels", "+@all"]);
    let user = |name: &str| Options {
        user: Some(name.to_owned()),
        password: Some("x".to_owned().into()),
        ..single(server.port)
    };
    let reader = started(user("reader"));
    let begun = Instant::now();
    loop {
        match server_fault(reader.load(&[tenant_key("a")]).await) {
            ServerFault::Permission => break,
            fault => assert_eq!(fault, ServerFault::Unreachable),
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let refused = unavailable(reader.commit(step(fresh(), &tenant_key("a"), None, tenant("read"))).await);
    assert_eq!(server_fault(Err::<(), _>(refused)), ServerFault::Permission);
    // Without the channel a change is made all the same: a push may be lost.
    let mute = open(user("mute")).await;
    mute.commit(step(fresh(), &tenant_key("a"), None, tenant("read"))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_user_of_the_guide_can_do_all_that_is_needed() {
    let guide = include_str!("../../docs/operations.md");
    let line = guide.lines().find(|line| line.starts_with("ACL SETUSER ")).unwrap();
    let server = Server::start(&[]);
    let words: Vec<&str> =
        line.split(' ').map(|word| if word == ">PASSWORD" { ">x" } else { word }).collect();
    assert_eq!(server.tell(&words), "+OK");
    let user = Some("postern".to_owned());
    let options = Options { user, password: Some("x".to_owned().into()), ..single(server.port) };
    let store = made(&options).await;
    let (key, s) = (tenant_key("a"), session_key("a", "s"));
    let commit = several(fresh(), vec![(key.clone(), tenant("read")), (s.clone(), session(9, None))]);
    store.commit(commit.clone()).await.unwrap();
    let seen = store.confirmed(std::slice::from_ref(&s)).await.unwrap().remove(0).unwrap().unwrap();
    store.commit(step(fresh(), &s, Some(&seen), session(9, Some(5)))).await.unwrap();
    assert_eq!(numbered(store.asked(Part::FIRST, &commit.change).await), Ok(Some(1)));
    assert_eq!(store.asked(Part::FIRST, &fresh()).await, Ok(None));
    assert_eq!(told_after(&store, Part::FIRST, 0).await.len(), 2);
    assert_eq!(store.list_tenants(None, 10).await.whole().unwrap().len(), 1);
    assert_eq!(store.due(at_ms(100), None, 10).await.whole(), Ok(vec![]));
    // A push would fail without a word to the caller.
    let mark = store.mark(Part::FIRST).await.unwrap();
    let client = redis::Client::open(format!("redis://postern:x@127.0.0.1:{}", server.port)).unwrap();
    let mut listening = client.get_connection().unwrap();
    let mut listening = listening.as_pubsub();
    listening.subscribe(format!("postern:{}:moved", mark.id)).unwrap();
    listening.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    store.commit(step(fresh(), &tenant_key("b"), None, tenant("read"))).await.unwrap();
    let push = tokio::task::block_in_place(|| listening.get_message()).unwrap();
    assert_eq!(push.get_payload_bytes(), b"0 3", "which part moved how far, and nothing of what changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_lost_or_newer_is_no_default() {
    let server = Server::start(&[]);
    let store = made(&single(server.port)).await;
    let keys: Vec<Key> = ["a", "b", "c", "d", "e"].map(|name| session_key("t", name)).to_vec();
    for key in &keys {
        store.commit(step(fresh(), key, None, session(9, None))).await.unwrap();
    }
    server.tell_bytes(&[b"SET", &place_of(3, "t", "a"), b"0.1 {\"format\":"]);
    server.tell_bytes(&[b"SET", &place_of(3, "t", "b"), b"0.1\n{\"format\":99}"]);
    server.tell_bytes(&[b"DEL", &place_of(3, "t", "c")]);
    server.tell_bytes(&[b"DEL", &place_of(3, "t", "d")]);
    server.tell_bytes(&[b"LPUSH", &place_of(3, "t", "d"), b"x"]);
    let found = store.load(&keys).await.unwrap();
    let codes: Vec<&str> = found
        .iter()
        .map(|found| found.as_ref().unwrap().as_ref().map_or_else(Unreadable::code, |_| "good"))
        .collect();
    let damaged = "store_document_damaged";
    assert_eq!(codes, [damaged, "store_document_newer", damaged, damaged, "good"]);
    // In a listing they stand like the others.
    let listed = store.list(&tenant_id("t"), postern::model::Kind::Session, None, 10).await.unwrap();
    assert_eq!(listed.iter().filter(|(_, found)| found.is_err()).count(), 4);
    // Nothing is written over them, whatever version somebody believes to have read.
    for key in keys.iter().filter(|key| **key != keys[4]) {
        for version in [Version::NONE, Version::NONE.next()] {
            // Of the newer one the version can be read, and agrees with whoever read it by another build.
            if *key == keys[1] && version != Version::NONE {
                continue;
            }
            let mut commit = several(fresh(), vec![(session_key("t", "new"), session(9, None))]);
            commit.read.push((key.clone(), version));
            let answer = store.commit(commit).await;
            assert_eq!(answer, Err(CommitFault::Conflict(vec![key.clone()])));
        }
    }
    // Without the index nobody knows what is absent.
    server.tell(&["DEL", "postern:{p00}:keys"]);
    let gone = store.load(&[session_key("t", "never")]).await;
    assert!(matches!(gone, Err(StoreFault::PartDamaged { .. })), "{gone:?}");
    let listed = store.list(&tenant_id("t"), postern::model::Kind::Session, None, 10).await;
    assert!(matches!(listed, Err(StoreFault::PartDamaged { .. })), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_in_the_feed_is_told() {
    let server = Server::start(&[]);
    let store = made(&single(server.port)).await;
    for name in ["a", "b", "c"] {
        store.commit(step(fresh(), &tenant_key(name), None, tenant("read"))).await.unwrap();
    }
    server.tell(&["XDEL", "postern:{p00}:feed", "2-0"]);
    let told = store.changes_after(Part::FIRST, 0, 10).await;
    assert!(matches!(told, Err(StoreFault::PartDamaged { .. })), "{told:?}");
    server.tell(&["DEL", "postern:{p00}:feed"]);
    let told = store.changes_after(Part::FIRST, 2, 10).await;
    assert!(matches!(told, Err(StoreFault::PartDamaged { .. })), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn something_else_under_a_key_stops_a_change_before_it_begins() {
    for what in ["feed", "ids", "line", "keys", "due", "asks"] {
        let server = Server::start(&[]);
        let store = made(&single(server.port)).await;
        server.tell(&["SET", &format!("postern:{{p00}}:{what}"), "x"]);
        let commit = step(fresh(), &session_key("a", "s"), None, session(9, None));
        let refused = unavailable(store.commit(commit).await);
        assert_eq!(server_fault(Err::<(), _>(refused)), ServerFault::WrongType, "{what}");
        assert_eq!(server.tell(&["HGET", "postern:{p00}:head", "number"]), "0");
        assert_eq!(server.keys(), 2, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_scripts_are_sent_again() {
    let server = Server::start(&[]);
    let store = made(&at(server.port)).await;
    let key = tenant_key("a");
    for round in 0..3 {
        server.tell(&["SCRIPT", "FLUSH"]);
        let before = store.load(std::slice::from_ref(&key)).await.unwrap().remove(0).map(Result::unwrap);
        server.tell(&["SCRIPT", "FLUSH"]);
        let commit = step(fresh(), &key, before.as_ref(), tenant("read"));
        assert_eq!(store.commit(commit.clone()).await.unwrap().place.number, round + 1);
        server.tell(&["SCRIPT", "FLUSH"]);
        assert_eq!(numbered(store.asked(store.part_of(&key), &commit.change).await), Ok(Some(round + 1)));
        server.tell(&["SCRIPT", "FLUSH"]);
        assert_eq!(
            store.list_tenants(None, 10).await.whole().unwrap().len(),
            1,
            "some of 64 calls may find it loaded"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_costs_one_time_out_and_then_nothing() {
    let server = Server::start(&[]);
    let options = Options {
        timeout: Duration::from_millis(300),
        connect_timeout: Duration::from_millis(300),
        ..single(server.port)
    };
    RedisStore::init(single(server.port)).await.unwrap();
    let store = open(options).await;
    server.freeze();
    let begun = Instant::now();
    assert_eq!(server_fault(store.load(&[tenant_key("a")]).await), ServerFault::TimedOut);
    let first = begun.elapsed();
    assert!(first >= Duration::from_millis(300), "{first:?}");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    for _ in 0..100 {
        assert!(store.load(&[tenant_key("a")]).await.is_err());
    }
    assert!(
        begun.elapsed() < Duration::from_millis(300),
        "nobody waits for a connection: {:?}",
        begun.elapsed()
    );
    server.thaw();
    answers(&store).await;
    assert_eq!(store.load(&[tenant_key("a")]).await, Ok(vec![None]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_told_not_to_have_been_made_is_never_made_later() {
    let server = Server::start(&[]);
    RedisStore::init(single(server.port)).await.unwrap();
    let quick = Options { timeout: Duration::from_millis(60), ..single(server.port) };
    let store = open(quick).await;
    let (mut made, mut not) = (0, 0);
    for round in 0..20 {
        let key = session_key("a", &format!("s{round}"));
        let commit = step(fresh(), &key, None, session(9, None));
        let change = commit.change.clone();
        // Sent, and nobody reads it: it is carried out when the server goes on, before or after the question.
        server.freeze();
        let answer = store.commit(commit.clone()).await;
        assert!(matches!(answer, Err(CommitFault::Ambiguous(_) | CommitFault::Unavailable(_))), "{answer:?}");
        server.thaw();
        let begun = Instant::now();
        let asked = loop {
            match store.asked(Part::FIRST, &change).await {
                Ok(asked) => break asked,
                Err(fault) => assert!(begun.elapsed() < Duration::from_secs(20), "{fault}"),
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        tokio::time::sleep(Duration::from_millis(20)).await;
        let there = store.load(std::slice::from_ref(&key)).await.unwrap().remove(0);
        assert_eq!(there.is_some(), asked.is_some(), "round {round}");
        if asked.is_some() {
            made += 1
        } else {
            not += 1
        }
        // Whoever asked may try again, under the same id.
        let again = store.commit(commit).await.unwrap();
        assert_eq!(again.repeated, asked.is_some());
    }
    println!("of 20 changes that nobody answered {made} were made, {not} were not");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_from_before_the_question_of_another_process_comes_too_late() {
    let server = Server::start(&[]);
    let first = made(&single(server.port)).await;
    let second = open(single(server.port)).await;
    let commit = step(fresh(), &tenant_key("a"), None, tenant("read"));
    let change = commit.change.clone();
    // Handed over before this process itself asks, carried out after.
    let late = first.commit(commit.clone());
    assert_eq!(first.asked(Part::FIRST, &change).await, Ok(None));
    assert!(matches!(unavailable(late.await), StoreFault::Server { .. }));
    assert_eq!(first.load(&[tenant_key("a")]).await, Ok(vec![None]));
    // A process that knows of no question makes a new attempt by its commit, as one does that was started again.
    assert!(!second.commit(commit.clone()).await.unwrap().repeated);
    assert_eq!(numbered(first.asked(Part::FIRST, &change).await), Ok(Some(1)));
    assert!(first.commit(commit).await.unwrap().repeated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_save_or_lacks_replicas_or_runs_a_script_says_so() {
    let server = Server::start(&["--lua-time-limit", "20"]);
    server.tell(&["CONFIG", "SET", "save", "3600 1"]);
    let store = made(&single(server.port)).await;
    let refused = async || {
        let commit = step(fresh(), &tenant_key("a"), None, tenant("read"));
        server_fault(Err::<(), _>(unavailable(store.commit(commit).await)))
    };
    server.tell(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(refused().await, ServerFault::FewReplicas);
    server.tell(&["CONFIG", "SET", "min-replicas-to-write", "0"]);

    server.lose_disk();
    server.tell(&["BGSAVE"]);
    until("saving fails", || server.tell(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err"));
    assert_eq!(refused().await, ServerFault::CannotPersist);
    server.tell(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);

    std::thread::scope(|scope| {
        let looping = scope.spawn(|| server.tell(&["EVAL", "while true do end", "0"]));
        until("the script holds it up", || server.tell(&["GET", "x"]).contains("BUSY"));
        let handle = tokio::runtime::Handle::current();
        let found = tokio::task::block_in_place(|| handle.block_on(refused()));
        assert_eq!(found, ServerFault::ScriptBusy);
        server.tell(&["SCRIPT", "KILL"]);
        looping.join().unwrap();
    });
    assert!(store.commit(step(fresh(), &tenant_key("a"), None, tenant("read"))).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_a_cluster_that_is_not_whole_says_so() {
    let server = Server::start(&["--cluster-enabled", "yes"]);
    // It is waited for as long as three tries to connect may take.
    let hasty = Options { connect_timeout: Duration::from_secs(2), ..single(server.port) };
    let fault = RedisStore::init(hasty).await.unwrap_err();
    let InitFault::Store(fault) = fault else { panic!("{fault:?}") };
    assert_eq!(server_fault(Err::<(), _>(fault)), ServerFault::ClusterDown);
    let slots: Vec<String> = (0..16384).map(|slot: u16| slot.to_string()).collect();
    let mut words = vec!["CLUSTER", "ADDSLOTS"];
    words.extend(slots.iter().map(String::as_str));
    assert_eq!(server.tell(&words), "+OK");
    until("it is whole", || server.tell(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
    // Keys of one part have one slot; those of several do not, and are never named together.
    let store = made(&single(server.port)).await;
    let key = tenant_key("a");
    store.commit(step(fresh(), &key, None, tenant("read"))).await.unwrap();
    assert!(matches!(store.load(&[key]).await.unwrap().as_slice(), [Some(Ok(_))]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_old_is_forgotten_and_told_so() {
    let server = Server::start(&[]);
    let kept = Kept { changes: 20, ms: 1_000, feed: 5, feed_ms: 500 };
    let store_options = Options { kept, ..single(server.port) };
    let store = made(&store_options).await;
    let key = tenant_key("a");
    let mut before = None;
    let mut ids = Vec::new();
    for number in 1..=60_i64 {
        let mut commit = step(fresh(), &key, before.as_ref(), tenant("read"));
        commit.at = at_ms(number * 10);
        before = Some(commit.write[0].1.clone());
        ids.push(commit.change.clone());
        store.commit(commit).await.unwrap();
    }
    // Young enough, however many.
    assert_eq!(server.tell(&["XLEN", "postern:{p00}:feed"]), ":51", "500 ms and the newest");
    assert_eq!(numbered(store.asked(Part::FIRST, &ids[0]).await), Ok(Some(1)));
    for number in 0..60_i64 {
        let mut commit = step(fresh(), &key, before.as_ref(), tenant("read"));
        commit.at = at_ms(100_000 + number);
        before = Some(commit.write[0].1.clone());
        store.commit(commit).await.unwrap();
    }
    // Old, but for the last of them; and those of now.
    assert_eq!(server.tell(&["XLEN", "postern:{p00}:feed"]), ":60");
    assert_eq!(server.tell(&["HLEN", "postern:{p00}:ids"]), ":60");
    assert_eq!(server.tell(&["ZCARD", "postern:{p00}:line"]), ":60");
    assert_eq!(
        store.changes_after(Part::FIRST, 10, 5).await,
        Err(StoreFault::FeedForgotten { asked: 10, oldest: 60 })
    );
    let told = store.changes_after(Part::FIRST, 60, 1000).await.unwrap();
    assert_eq!((told.len(), told[0].place.number), (60, 61));
    let fields = server.tell(&["HMGET", "postern:{p00}:head", "number", "first"]);
    assert_eq!(fields, "120\n61");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_with_one_place_and_another_past_have_other_lines() {
    let server = Server::start(&[]);
    let mut lines = Vec::new();
    for (prefix, first) in [("one", "read"), ("two", "block"), ("three", "read")] {
        let store = made(&Options { prefix: prefix.into(), ..single(server.port) }).await;
        store.commit(step(change("c1"), &tenant_key("a"), None, tenant(first))).await.unwrap();
        store.commit(step(change("c2"), &tenant_key("b"), None, tenant("read"))).await.unwrap();
        lines.push(server.tell(&["HGET", &format!("{prefix}:{{p00}}:head"), "line"]));
        let kept = server.tell(&["ZRANGE", &format!("{prefix}:{{p00}}:line"), "1", "1"]);
        assert_eq!(kept, format!("c2 {} 1000", lines.last().unwrap()));
        let told = store.changes_after(Part::FIRST, 1, 1).await.unwrap();
        assert_eq!(told[0].line.as_str(), lines.last().unwrap());
    }
    assert_eq!(lines[0].len(), 20);
    assert_eq!(lines[0], lines[2], "the same past has the same line");
    assert_ne!(lines[0], lines[1]);
}
