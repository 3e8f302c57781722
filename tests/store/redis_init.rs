//! Making a store in Redis, and what keeps it from being made.

use std::time::{Duration, Instant};

use postern::state::{
    Part, RedisStore, Store, StoreFault,
    redis::{InitFault, Initialised, Options, OptionsFault},
};

use crate::{
    make::*,
    servers::{Server, at, open},
};

fn head(part: u16) -> String {
    format!("postern:{{p{part:02}}}:head")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_made_once_and_told_when_it_is_there() {
    let server = Server::start(&[]);
    let Ok(Initialised::Made(made)) = RedisStore::init(at(server.port)).await else { panic!() };
    assert_eq!(RedisStore::init(at(server.port)).await, Ok(Initialised::There(made)));
    assert_eq!(server.keys(), 64);
    let store = open(at(server.port)).await;
    for part in (0..64).map(Part) {
        assert_eq!(store.mark(part).await, Ok(made));
    }
    store.commit(step(fresh(), &tenant_key("a"), None, tenant("read"))).await.unwrap();
    let Ok(Initialised::There(there)) = RedisStore::init(at(server.port)).await else { panic!() };
    assert_eq!(there.id, made.id);
}

/// Nobody waits behind it, so a server that is slow for once (a disk that flushes, a machine that starts) is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_for_a_while_is_waited_for() {
    let server = std::sync::Arc::new(Server::start(&[]));
    let stood = Duration::from_millis(1_500);
    for _ in 0..50 {
        server.tell(&["FLUSHALL"]);
        let stopper = std::sync::Arc::clone(&server);
        let stopper = std::thread::spawn(move || {
            while stopper.keys() == 0 {}
            stopper.freeze();
            std::thread::sleep(stood);
            stopper.thaw();
        });
        let begun = Instant::now();
        let usual = Options { timeout: Duration::from_millis(500), ..at(server.port) };
        let made = RedisStore::init(usual).await;
        let took = begun.elapsed();
        stopper.join().unwrap();
        assert!(matches!(made, Ok(Initialised::Made(_))), "{made:?}");
        // It may have been ready before the other looked.
        if took >= stood {
            return;
        }
    }
    panic!("it never stood still in between");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_make_a_store_all_make_the_same() {
    let server = Server::start(&[]);
    let makers: Vec<_> = (0..8).map(|_| tokio::spawn(RedisStore::init(at(server.port)))).collect();
    let mut ids = std::collections::BTreeSet::new();
    for maker in makers {
        match maker.await.unwrap().unwrap() {
            Initialised::Made(mark) | Initialised::There(mark) => ids.insert(mark.id),
        };
    }
    assert_eq!(ids.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_making_that_was_interrupted_goes_on_from_anywhere() {
    let server = Server::start(&[]);
    // Before all heads were there, and while they were opened.
    for (made, opened) in [(1, 0), (40, 0), (64, 0), (64, 1), (64, 63)] {
        server.tell(&["FLUSHALL"]);
        let Ok(Initialised::Made(mark)) = RedisStore::init(at(server.port)).await else { panic!() };
        for part in 0..64 {
            if part >= made {
                server.tell(&["DEL", &head(part)]);
            } else if part >= opened {
                server.tell(&["HSET", &head(part), "state", "new"]);
            }
        }
        if opened < 64 && made == 64 {
            let store = open(at(server.port)).await;
            assert_eq!(store.mark(Part(63)).await, Err(StoreFault::Unmade));
        }
        assert_eq!(RedisStore::init(at(server.port)).await, Ok(Initialised::Made(mark)), "{made} {opened}");
        assert_eq!(RedisStore::init(at(server.port)).await, Ok(Initialised::There(mark)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_something_was_lost_no_store_is_made() {
    let server = Server::start(&[]);
    RedisStore::init(at(server.port)).await.unwrap();
    server.tell(&["DEL", &head(5)]);
    assert_eq!(RedisStore::init(at(server.port)).await, Err(InitFault::Lost { part: 5 }));
    server.tell(&["FLUSHALL"]);
    RedisStore::init(at(server.port)).await.unwrap();
    let store = open(at(server.port)).await;
    store.commit(step(fresh(), &tenant_key("a"), None, tenant("read"))).await.unwrap();
    for part in 0..64 {
        server.tell(&["DEL", &head(part)]);
    }
    let refused = RedisStore::init(at(server.port)).await;
    assert!(matches!(refused, Err(InitFault::Remains { .. })), "{refused:?}");
    assert_eq!(server.tell(&["EXISTS", &head(0)]), ":0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_store_is_left_alone() {
    let server = Server::start(&[]);
    RedisStore::init(at(server.port)).await.unwrap();
    server.tell(&["HSET", &head(9), "id", "018f0000-0000-7000-8000-000000000000"]);
    let refused = RedisStore::init(at(server.port)).await;
    assert!(matches!(refused, Err(InitFault::Mixed { part: 9, .. })), "{refused:?}");
    // Another layout, and another number of parts.
    server.tell(&["HSET", &head(9), "format", "2"]);
    let layout = StoreFault::Newer { found: 2, known: 1 };
    assert_eq!(RedisStore::init(at(server.port)).await, Err(InitFault::Store(layout.clone())));
    let store = open(at(server.port)).await;
    assert_eq!(store.mark(Part(9)).await, Err(layout));
    server.tell(&["FLUSHALL"]);
    RedisStore::init(Options { parts: 32, ..at(server.port) }).await.unwrap();
    let parts = StoreFault::Parts { found: "32".into(), known: 64 };
    assert_eq!(RedisStore::init(at(server.port)).await, Err(InitFault::Store(parts.clone())));
    let store = open(at(server.port)).await;
    assert_eq!(store.mark(Part::FIRST).await, Err(parts));
    // What cannot be is refused before anybody is asked.
    let refused = RedisStore::init(Options { prefix: "{x}".into(), ..at(1) }).await;
    assert_eq!(refused, Err(InitFault::Options(OptionsFault::Prefix("{x}".into()))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_no_majority_holds_is_not_made() {
    let server = Server::start(&[]);
    let options = Options { copies: 3, timeout: std::time::Duration::from_millis(400), ..at(server.port) };
    let refused = RedisStore::init(options.clone()).await;
    let Err(InitFault::Store(StoreFault::Server { fault, .. })) = refused else { panic!("{refused:?}") };
    assert_eq!(fault.code(), "store_unconfirmed");
    // With a replica the making goes on.
    let _replica = server.replica(&[]);
    let answer = RedisStore::init(Options { timeout: std::time::Duration::from_secs(5), ..options }).await;
    assert!(matches!(answer, Ok(Initialised::Made(_))), "{answer:?}");
}
