//! Healing: a part of a store that forgot, forked or went back, and gateways that join what they know, step by step in any
//! order. A seeded simulation of many stores and gateways, and the same on real servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

mod broken;
mod model;
mod settled;
mod simulation;
mod world;
