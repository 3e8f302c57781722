//! The published support-access models that presets stand for, each by a file that goes through its requirements line by line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "requirements/practifi.rs"]
mod practifi;
