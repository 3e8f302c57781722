//! Healing: a part of a store that forgot, forked or went back, and gateways that join what they know, step by step in any
//! order. A seeded simulation of many stores and gateways, and the same on real servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unreachable,
    reason = "tests"
)]

mod broken;
#[path = "../store/make.rs"]
#[allow(dead_code, reason = "the contract suite needs all of it")]
mod make;
mod model;
mod on_redis;
#[path = "../store/servers.rs"]
#[allow(dead_code, reason = "the contract suite needs all of it")]
mod servers;
mod settled;
mod simulation;
mod world;
