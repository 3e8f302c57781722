//! Several gateways on one store: what one changes is in force on the others, and none goes by what it has not heard of for too
//! long. Two whole engines over one store; what is told of it, and when it is heard of, the test says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod age;
mod alone;
mod ends;
mod fallen;
mod feed;
mod lost;
mod stage;
#[path = "../support/mod.rs"]
mod support;
