//! The contract suite, run on the embedded store.

use std::sync::Arc;

use postern::state::{Embedded, Store};

use crate::contract;

async fn run(check: impl AsyncFnOnce(&Arc<dyn Store>)) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    Embedded::init(&path).unwrap();
    let embedded = Arc::new(Embedded::open(&path).unwrap());
    let store: Arc<dyn Store> = embedded.clone();
    check(&store).await;
    embedded.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_is_read_back_whole() {
    run(contract::a_commit_is_read_back_whole).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_that_conflicts_leaves_nothing() {
    run(contract::a_commit_that_conflicts_leaves_nothing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_read_must_still_be_so() {
    run(contract::what_was_read_must_still_be_so).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_absent_must_still_be_absent() {
    run(contract::what_was_absent_must_still_be_absent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repeat_is_recognised_and_changes_nothing() {
    run(contract::a_repeat_is_recognised_and_changes_nothing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_concurrent_commits_one_wins_each_version() {
    run(contract::of_concurrent_commits_one_wins_each_version).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_feed_has_no_gaps_and_no_other_order() {
    run(contract::the_feed_has_no_gaps_and_no_other_order).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_listing_is_in_order_and_goes_on_from_its_cursor() {
    run(contract::a_listing_is_in_order_and_goes_on_from_its_cursor).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tenants_are_listed_in_order() {
    run(contract::tenants_are_listed_in_order).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn listings_of_all_parts_are_in_one_order() {
    run(contract::listings_of_all_parts_are_in_one_order).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tenants_are_islands() {
    run(contract::tenants_are_islands).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deadlines_follow_the_documents() {
    run(contract::deadlines_follow_the_documents).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_states_side_by_side_the_earliest_deadline_counts() {
    run(contract::of_states_side_by_side_the_earliest_deadline_counts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn large_documents_pass_up_to_the_bound() {
    run(contract::large_documents_pass_up_to_the_bound).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_put_together_wrongly_is_refused() {
    run(contract::a_commit_put_together_wrongly_is_refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_abandoned_commit_is_settled_before_it_is_asked_for() {
    run(contract::an_abandoned_commit_is_settled_before_it_is_asked_for).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_made_under_keys_is_stored_with_it_and_due_with_the_last_key() {
    run(contract::what_was_made_under_keys_is_stored_with_it_and_due_with_the_last_key).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_written_together_lies_together() {
    run(contract::what_is_written_together_lies_together).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parts_have_histories_of_their_own() {
    run(contract::parts_have_histories_of_their_own).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_equal_deadlines_the_cursor_loses_none() {
    run(contract::of_equal_deadlines_the_cursor_loses_none).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kill_switches_are_listed_and_are_no_tenants() {
    run(contract::kill_switches_are_listed_and_are_no_tenants).await;
}
