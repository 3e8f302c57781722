//! The gateway as a process of its own, the one that operators run, under what wears gateways down: slow clients, clients
//! that stay and ask nothing, twenty minutes of everything at once.
//!
//! Never here: a comparison of what requests cost (that is the rest of this program).

pub mod idle;
mod innocent;
mod live;
mod plot;
pub mod slow;
pub mod soak;
mod steady;
