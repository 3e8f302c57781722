//! The index of one subject in one tenant: a staff subject's sessions and requests, and how often they asked lately; the login
//! access that a member gave.
//!
//! Never here: whether any of that is good ([`crate::policy`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{EnvironmentId, GrantId, RequestId, SessionId, Timestamp};

/// The sessions of one subject in one tenant, so that an unnamed one can be found. An index: it grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Presence {
    /// Sessions not yet known to have ended, with their environment.
    pub sessions: BTreeMap<SessionId, EnvironmentId>,
    /// Requests not yet known to be over.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub requests: BTreeSet<RequestId>,
    /// Of a member: the grants by which support may act as them, not yet known to have ended.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub lent: BTreeSet<GrantId>,
    /// How many requests were made lately.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub asked: Option<Asked>,
}

/// How often somebody asked within a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// When the day began.
    pub since: Timestamp,
    /// How often since.
    pub times: u32,
}
