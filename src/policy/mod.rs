//! The room `policy`.

pub mod path;
