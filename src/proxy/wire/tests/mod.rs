//! Tests of the wire room: tables of raw messages, and properties.

mod body;
mod properties;
mod request;
mod response;
mod write;
