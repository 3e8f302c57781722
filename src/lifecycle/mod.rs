//! The room `lifecycle`.
