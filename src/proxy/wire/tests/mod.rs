//! Tests of the wire room: tables of raw messages, and properties.

mod request;
