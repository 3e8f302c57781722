//! The support API on a real engine: real store, real journal, real tokens, a clock by hand. Tests that bear a number
//! such as `p17_04` hold the sentence of that number in the source of the rules.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod approvals;
mod audit;
mod bars;
mod break_glass;
mod broken;
mod consent;
mod effects;
mod expiries;
mod form;
mod grantor;
mod grants;
mod invitations;
mod islands;
mod login_access;
mod members;
mod once;
mod resource_list;
mod resources;
mod roles;
mod self_granted;
mod services;
mod sessions;
mod stops;
mod stream;
#[path = "../support/mod.rs"]
mod support;
mod until;
mod zones;
