//! Until when a permit holds: the earliest of the clocks that bound it, and which one that is.
//!
//! Never here: how long each of them runs.

use crate::model::Timestamp;

/// What ends a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// The session's own deadline.
    Session,
    /// The grant's expiry.
    Grant,
    /// The longest time that one exchange may run.
    Exchange,
    /// The consent was raised until then; it is decided again, and what the level below does not cover is cut.
    Consent,
    /// Whoever gave the grant is remembered until then; it is decided again, and cut where they were not seen since.
    Grantor,
    /// What was looked up at the application counts until then; it is decided again, and what no longer holds is cut.
    LookUp,
    /// Something that would bind an emergency token could not be had; it is asked for again then.
    Unknown,
}

impl Due {
    /// The stable word for records.
    pub fn code(self) -> &'static str {
        match self {
            Due::Session => "session",
            Due::Grant => "grant",
            Due::Exchange => "exchange",
            Due::Consent => "consent",
            Due::Grantor => "grantor",
            Due::LookUp => "look_up",
            Due::Unknown => "unknown",
        }
    }
}

/// The earliest of the clocks that bound a permit, and which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// From then on nothing passes.
    pub at: Timestamp,
    /// Which clock it is.
    pub due: Due,
}
