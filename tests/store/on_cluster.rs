//! The contract suite, run on a Cluster of three masters: what a commit only reads may lie on another server there.

use std::{cell::Cell, sync::Arc};

use postern::state::{
    RedisStore, Store,
    redis::{Address, Initialised, Options, Servers},
};

use crate::{
    contract,
    servers::{at, cluster, open},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_promise_is_kept_by_a_cluster_too() {
    let masters = cluster(3);
    let made = Cell::new(0);
    // Each promise has a store of its own, under a prefix of its own.
    let store = async || -> Arc<dyn Store> {
        made.set(made.get() + 1);
        let seeds = masters.iter().map(|server| Address { host: "127.0.0.1".into(), port: server.port });
        let servers = Servers::Cluster(seeds.collect());
        let options = Options { servers, prefix: format!("of-{}", made.get()), ..at(0) };
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
