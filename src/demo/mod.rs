//! The room `demo`.
//!
//! [`sample`] is the application that `postern demo` puts behind the gateway. It belongs to nobody here: it imports
//! no other room.

pub mod sample;
