//! The products whose published models this project stands on, sentence by sentence: one file each, one test for each line,
//! named by its id. Each runs the product's preset as it lies in `config/presets` over real sockets with real tokens, and
//! looks at what the client saw, what the application saw, and what the record holds.
//!
//! `scripts/requirements` prints which test shows which line.
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

#[path = "requirements/celigo.rs"]
mod celigo;
#[path = "it/client.rs"]
mod client;
#[path = "support/described.rs"]
mod described;
#[path = "requirements/pipe17.rs"]
mod pipe17;
#[path = "requirements/pipefy.rs"]
mod pipefy;
#[path = "requirements/practifi.rs"]
mod practifi;
#[path = "requirements/stage.rs"]
mod stage;
#[path = "it/upstream.rs"]
mod upstream;
#[path = "it/world.rs"]
mod world;
