//! Ends of sessions and grants: when, by what, by whom.
//!
//! Never here: what is over by the passing of time alone, which is worked out.

use serde::{Deserialize, Serialize};

use super::{SubjectRef, Timestamp};

/// Why and when something ended. An end is never undone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// From when on it is no more.
    pub at: Timestamp,
    /// What ended it.
    pub cause: EndCause,
    /// Who ended it, where it was a person.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<SubjectRef>,
}

/// What ended a session or grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// Its own deadline passed.
    Expired,
    /// The agent ended it.
    Ended,
    /// An administrator of the tenant removed the agent.
    Removed,
    /// A person of the tenant withdrew the grant.
    Withdrawn,
    /// The agent started another session by consent; or the person gave login access to that organisation anew.
    Replaced,
    /// A kill switch.
    Stopped,
    /// The grant that it rested on was withdrawn.
    GrantWithdrawn,
    /// The time of the grant that it rested on was over.
    GrantExpired,
    /// The consent that it rested on was taken back.
    ConsentWithdrawn,
    /// Its tenant was removed.
    TenantRemoved,
    /// Its environment was taken away.
    EnvironmentRemoved,
    /// Two histories of it disagree in what cannot differ.
    Conflict,
    /// An operator accepted a clock that is behind the ledger (rule 7): nobody can say any more how long it lasted.
    ClockAccepted,
    /// Of login access: whoever gave it was suspended, or is no member any more.
    GiverGone,
}
