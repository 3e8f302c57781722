//! Tests of the wire room: tables of raw messages, and properties.

mod body;
mod meaning;
mod properties;
mod request;
mod response;
mod scan;
mod write;
