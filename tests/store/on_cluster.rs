//! The contract suite, run on a Cluster of three masters: what a commit only reads may lie on another server there.

use std::{cell::Cell, collections::BTreeSet, sync::Arc};

use postern::state::{
    Part, RedisStore, Store, StoreFault,
    redis::{Address, Initialised, Options, Servers},
};

use crate::{
    contract::{self, made},
    make::{at as at_ms, session, session_key, tenant, tenant_id, tenant_key},
    servers::{Server, at, cluster, open},
};

fn of(masters: &[Server], prefix: &str) -> Options {
    let seeds = masters.iter().map(|server| Address { host: "127.0.0.1".into(), port: server.port });
    let servers = Servers::Cluster(seeds.collect());
    Options { servers, prefix: prefix.to_owned(), ..at(0) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_promise_is_kept_by_a_cluster_too() {
    let masters = cluster(3);
    let count = Cell::new(0);
    // Each promise has a store of its own, under a prefix of its own.
    let store = async || -> Arc<dyn Store> {
        count.set(count.get() + 1);
        let options = of(&masters, &format!("of-{}", count.get()));
        let answer = RedisStore::init(options.clone()).await.unwrap();
        assert!(matches!(answer, Initialised::Made(_)));
        let store: Arc<dyn Store> = open(options).await;
        store
    };
    contract::a_commit_is_read_back_whole(&store().await).await;
    contract::a_commit_that_conflicts_leaves_nothing(&store().await).await;
    contract::what_was_read_must_still_be_so(&store().await).await;
    contract::what_was_absent_must_still_be_absent(&store().await).await;
    contract::a_repeat_is_recognised_and_changes_nothing(&store().await).await;
    contract::of_concurrent_commits_one_wins_each_version(&store().await).await;
    contract::the_feed_has_no_gaps_and_no_other_order(&store().await).await;
    contract::a_listing_is_in_order_and_goes_on_from_its_cursor(&store().await).await;
    contract::tenants_are_listed_in_order(&store().await).await;
    contract::listings_of_all_parts_are_in_one_order(&store().await).await;
    contract::tenants_are_islands(&store().await).await;
    contract::deadlines_follow_the_documents(&store().await).await;
    contract::of_states_side_by_side_the_earliest_deadline_counts(&store().await).await;
    contract::large_documents_pass_up_to_the_bound(&store().await).await;
    contract::a_commit_put_together_wrongly_is_refused(&store().await).await;
    contract::an_abandoned_commit_is_settled_before_it_is_asked_for(&store().await).await;
    contract::what_was_made_under_keys_is_stored_with_it_and_due_with_the_last_key(&store().await).await;
    contract::what_is_written_together_lies_together(&store().await).await;
    contract::parts_have_histories_of_their_own(&store().await).await;
    contract::of_equal_deadlines_the_cursor_loses_none(&store().await).await;
    contract::kill_switches_are_listed_and_are_no_tenants(&store().await).await;
    // The parts are spread: each master has some of each store.
    let counts: Vec<usize> =
        masters.iter().map(|master| master.tell(&["KEYS", "of-1:*:head"]).lines().count()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 64);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

/// The masters that are there tell what they have, in order and page by page, and the parts of the one that is gone are named.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_master_that_is_gone_keeps_no_other_from_telling_what_it_has() {
    let mut masters = cluster(3);
    let options = of(&masters, "gone");
    RedisStore::init(options.clone()).await.unwrap();
    let store: Arc<dyn Store> = open(options).await;
    let mut names: Vec<String> = (0..40).map(|number| format!("t{number:02}")).collect();
    for (number, name) in (0..).zip(&names) {
        made(&store, vec![(tenant_key(name), tenant("full"))]).await;
        made(&store, vec![(session_key(name, "s"), session(100 + number, None))]).await;
    }
    let lost: BTreeSet<Part> = masters[1]
        .tell(&["KEYS", "gone:*:head"])
        .lines()
        .map(|key| Part(key.trim_start_matches("gone:{p").trim_end_matches("}:head").parse().unwrap()))
        .collect();
    assert!(!lost.is_empty() && lost.len() < 64);
    assert_eq!(store.due(at_ms(999), None, 100).await.whole().unwrap().len(), 40);
    masters[1].end();

    names.retain(|name| !lost.contains(&store.part_of(&tenant_key(name))));
    assert!(!names.is_empty() && names.len() < 40);
    let mut due = Vec::new();
    loop {
        let page = store.due(at_ms(999), due.last(), 7).await;
        let silent: BTreeSet<Part> = page.silent.iter().map(|(part, _)| *part).collect();
        assert_eq!(silent, lost, "{:?}", page.silent.first());
        assert!(page.silent.iter().all(|(_, fault)| matches!(fault, StoreFault::Server { .. })));
        let last = page.rows.len() < 7;
        due.extend(page.rows);
        if last {
            break;
        }
    }
    let found: Vec<_> = due.iter().map(|(_, key)| key.clone()).collect();
    assert_eq!(found, names.iter().map(|name| session_key(name, "s")).collect::<Vec<_>>());
    let listed = store.list_tenants(None, 100).await;
    let ids: Vec<_> = listed.rows.iter().map(|(id, found)| (id.clone(), found.is_ok())).collect();
    assert_eq!(ids, names.iter().map(|name| (tenant_id(name), true)).collect::<Vec<_>>());
    assert!(matches!(listed.whole(), Err(StoreFault::Server { .. })));
    assert!(store.list_grantors(None, 100).await.whole().is_err());
}
