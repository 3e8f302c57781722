//! Several gateways over one store in Redis: real servers, real sockets, a real clock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    unreachable_pub,
    missing_docs,
    dead_code,
    reason = "tests; the world, the servers and the clients are shared with other tests"
)]

mod anew;
mod apart;
#[path = "../it/authority.rs"]
mod authority;
mod between;
mod calls;
mod chaos;
#[path = "../it/child.rs"]
mod child;
#[path = "../it/client.rs"]
mod client;
mod clock;
mod emergency;
mod ends;
mod fail_over;
mod faults;
mod forged;
mod heal;
mod limits;
mod lost;
mod names;
mod part_gone;
mod process;
mod retired;
mod rig;
#[path = "../store/sentinel.rs"]
mod sentinel;
#[path = "../store/servers.rs"]
mod servers;
mod stage;
mod stood;
mod unanswered;
#[path = "../it/under.rs"]
mod under;
mod upgrade;
#[path = "../it/upstream.rs"]
mod upstream;
mod watch;
mod wire;
mod without;
#[path = "../it/world.rs"]
mod world;
