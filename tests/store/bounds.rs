//! What is counted by all who share a store, on real servers and on the embedded one.

use std::{sync::Arc, time::Instant};

use postern::state::{Bound, Counted, Embedded, RedisStore, Store, StoreFault};

use crate::servers::{Server, at, open};

fn three<'a>(name: &'a str, add: &'a str) -> Bound<'a> {
    Bound { name, span_ms: 60_000, most: 3, add: Some(add), forget: &[] }
}

async fn two_on(server: &Server) -> [Arc<RedisStore>; 2] {
    RedisStore::init(at(server.port)).await.unwrap();
    [open(at(server.port)).await, open(at(server.port)).await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_share_a_store_count_together() {
    let server = Server::start(&[]);
    let [one, two] = two_on(&server).await;
    for (store, id) in [(&one, "a"), (&two, "b"), (&one, "c")] {
        assert_eq!(store.count(three("olga", id)).await, Ok(Counted::Within));
    }
    for store in [&one, &two] {
        let Ok(Counted::Beyond { after_ms }) = store.count(three("olga", "d")).await else { panic!() };
        assert!((50_000..=60_000).contains(&after_ms), "{after_ms}");
        // A name of its own, with whatever stands in it.
        let odd = format!("{{p07}} \r\n\0 {}", std::ptr::from_ref(store).addr());
        assert_eq!(store.count(three(&odd, "d")).await, Ok(Counted::Within));
    }
    // Told twice, it counts once; what is taken back leaves room for one.
    assert_eq!(two.count(three("olga", "a")).await, Ok(Counted::Within));
    let forget = ["a".to_owned(), "never".to_owned()];
    let back = Bound { add: None, forget: &forget, ..three("olga", "") };
    assert_eq!(two.count(back).await, Ok(Counted::Within));
    assert_eq!(one.count(three("olga", "d")).await, Ok(Counted::Within));
    assert!(matches!(one.count(three("olga", "e")).await, Ok(Counted::Beyond { .. })));
    // With a lower bound there is room when enough are over, not when one is.
    let lower = Bound { most: 1, ..three("olga", "e") };
    assert!(matches!(one.count(lower).await, Ok(Counted::Beyond { .. })));
    // What is owed goes with the next.
    let forget = ["b".to_owned()];
    assert_eq!(one.count(Bound { forget: &forget, ..three("olga", "e") }).await, Ok(Counted::Within));
    // It is over by itself.
    let ttl = server.tell(&["PTTL", "postern:{p01}:bound:olga"]);
    let ttl: i64 = ttl.trim_start_matches(':').trim().parse().unwrap();
    assert!((1..=60_000).contains(&ttl), "{ttl}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_leaves_room() {
    let server = Server::start(&[]);
    let [one, two] = two_on(&server).await;
    let short = |id| Bound { span_ms: 300, most: 1, ..three("olga", id) };
    assert_eq!(one.count(short("a")).await, Ok(Counted::Within));
    let begun = Instant::now();
    while two.count(short("b")).await != Ok(Counted::Within) {
        assert!(begun.elapsed().as_secs() < 10, "it is never over");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_no_store_or_shares_none_counts_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    Embedded::init(&path).unwrap();
    let embedded = Embedded::open(&path).unwrap();
    assert_eq!(embedded.count(three("olga", "a")).await, Ok(Counted::Alone));
    let server = Server::start(&[]);
    let [one, _two] = two_on(&server).await;
    server.tell(&["FLUSHALL"]);
    let fault = one.count(three("olga", "a")).await.unwrap_err();
    assert!(matches!(fault, StoreFault::Forgotten { .. } | StoreFault::Server { .. }), "{fault}");
}
