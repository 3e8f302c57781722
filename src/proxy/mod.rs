//! The room `proxy`.

pub mod wire;
