//! The store: one contract suite for every implementation, what only the embedded one promises, and the cells.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod bounds;
mod cells;
mod contract;
mod crash;
mod disk;
mod embedded;
mod faulty;
mod links;
mod links_fleet;
mod links_rig;
mod make;
mod on_cluster;
mod on_embedded;
mod on_redis;
mod redis_faults;
mod redis_histories;
mod redis_init;
mod sentinel;
mod sentinel_login;
mod servers;
mod simulation;
mod slow;
