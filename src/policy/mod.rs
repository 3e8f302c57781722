//! The room `policy`.

pub mod path;
pub mod routes;
