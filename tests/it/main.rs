//! The gateway over real sockets: clients and an application of plain bytes, a ledger that is proven at the end of
//! every test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    unreachable_pub,
    missing_docs,
    reason = "tests"
)]

mod acting;
mod asked;
mod authority;
mod ceiling;
mod child;
mod client;
mod conditions;
mod cookies;
mod created;
mod cuts;
mod emergency;
mod entrance;
mod erased;
mod fallen;
mod farm;
mod fetched;
mod flood;
mod follow;
mod full;
mod grantor;
mod held;
mod http2;
mod issuer;
mod killed;
mod load;
mod looked_up;
mod matrix;
mod memory;
mod narrowed;
mod onward;
mod operations;
mod pages;
mod path;
mod peers;
mod plans;
mod program;
mod receiver;
mod reload;
mod resources;
mod restart;
mod roles;
mod routes;
mod servers;
mod services;
mod silent;
mod slow;
mod stale;
mod tls;
mod trouble;
mod under;
mod until;
mod upstream;
mod vouched;
mod webhooks;
mod websocket;
mod world;
