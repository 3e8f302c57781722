//! The data plane: from a client's socket to the application's and back.
//!
//! The way of one request: `intake` reads it in one way or refuses it, `collect` gathers what it says, the engine
//! decides and admits, `relay` forwards it and streams both ways, [`respond`] turns every refusal and fault into an
//! answer. One [`core`] a thread; nothing is shared on a member's path but immutable snapshots.
//!
//! Never here: committing or recording (that is [`crate::engine`]), a rule, the support API's routes
//! ([`crate::control`]).

pub mod access;
pub mod again;
pub mod assertion;
pub mod check;
mod collect;
mod connection;
pub mod core;
pub mod counters;
mod dial;
mod gate;
mod greet;
pub mod health;
pub mod hops;
mod http2;
mod inside;
mod intake;
pub mod look_up;
pub mod narrow;
mod onward;
mod pace;
pub mod page;
mod patience;
pub mod preflight;
pub mod preview;
pub mod proxy_protocol;
pub mod rate;
mod records;
mod relay;
pub mod respond;
pub mod routing;
mod servers;
mod socket;
mod turns;
mod upgrade;
mod upstream;
pub mod wire;

pub use self::core::{Core, FreshKeys, Shared, serve};
pub use inside::{InsideAnswer, InsideCall, InsideFuture, InsideHandler, Pieces};
