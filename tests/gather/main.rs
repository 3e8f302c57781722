//! Several gateways over real sockets, each with its own store and ledger, that gather a tenant's record from each other: whole, in
//! order, by name where somebody is missing, and never by the word of a peer that lies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    unreachable_pub,
    dead_code,
    missing_docs,
    reason = "tests"
)]

#[path = "../it/client.rs"]
mod client;
#[path = "../support/described.rs"]
mod described;
mod fake;
mod hostile;
mod pages;
#[path = "../store/servers.rs"]
mod servers;
mod shared;
mod stage;
mod stream;
#[path = "../it/upstream.rs"]
mod upstream;
#[path = "../it/vouched.rs"]
mod vouched;
#[path = "../it/world.rs"]
mod world;
