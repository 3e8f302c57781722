//! The room `control`.
