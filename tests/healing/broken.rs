//! That the simulation bites: what each part of the machine is for, shown by breaking it.

use std::ops::Range;

use crate::{
    simulation::{Play, first_violation, length},
    world::Broken,
};

/// Which seed finds what is broken, and by which words.
fn finds(what: &str, broken: Broken, words: &str) {
    finds_in(0..4_000, what, broken, words);
}

fn finds_in(seeds: Range<u64>, what: &str, broken: Broken, words: &str) {
    let found = first_violation(seeds, broken).0;
    let (seed, violation) = found.unwrap_or_else(|| panic!("nothing finds: {what}"));
    println!("{what}: seed {seed}: {violation}");
    assert!(violation.contains(words), "{what}: {violation}");
    // It is found again by its seed alone.
    assert_eq!(Play::new(seed, broken, false).run(length(seed)).violation, Some(violation));
}

#[test]
fn progress_that_outlives_the_history_it_was_made_in_loses_changes() {
    finds("progress is kept by the gateway", Broken { cursors_apart: true, ..Broken::default() }, "lacks");
}

#[test]
fn places_without_lines_take_a_fork_for_the_same_history() {
    finds("places are compared alone", Broken { places_only: true, ..Broken::default() }, "lacks");
}

#[test]
fn an_empty_gateway_that_counts_as_one_that_knows_makes_an_empty_store() {
    finds("whoever joins counts as whole", Broken { all_whole: true, ..Broken::default() }, "emptied");
}

#[test]
fn a_new_head_with_an_old_line_promises_what_is_not_there() {
    finds("a new head takes up the old line", Broken { old_line: true, ..Broken::default() }, "");
}

#[test]
fn a_change_on_what_was_read_of_another_history_overwrites_one() {
    finds("changes need no proof", Broken { no_proof: true, ..Broken::default() }, "");
}

#[test]
fn what_only_the_ledger_has_is_lost_where_the_shadow_claims_to_be_proved() {
    finds("the ledger is put back quietly", Broken { quiet_ledger: true, ..Broken::default() }, "lacks");
}

#[test]
fn a_page_that_was_compared_with_one_server_does_not_count_on_another() {
    // It takes a fail-over between two steps, and is rare.
    let seeds = 73_600..73_700;
    finds_in(seeds, "pages count anywhere", Broken { any_page: true, ..Broken::default() }, "lacks");
}
