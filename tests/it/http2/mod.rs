//! HTTP/2 towards clients: a client of the h2 crate for what ordinary clients do, raw frames for what others do.

pub mod corpus;
mod cuts;
pub mod frames;
mod held;
mod ordinary;
pub mod peer;
mod refused;
mod websocket;
