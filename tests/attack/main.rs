//! Attacks: what somebody sends who means harm, and what happens when things fall together badly. Each test says what
//! must not happen, and looks for it at the far end: in what the application received, in the ledger, in the registry.
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
mod doors;
mod races;
mod records;
mod repairs;
mod storms;
#[path = "../support/mod.rs"]
mod support;
#[path = "../it/upstream.rs"]
mod upstream;
#[path = "../it/vouched.rs"]
mod vouched;
#[path = "../it/world.rs"]
mod world;
