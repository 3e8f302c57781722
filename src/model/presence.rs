//! The index of one subject in one tenant: a staff subject's sessions and requests, how often they asked lately, and whether they
//! are kept out; the login access that a member gave.
//!
//! Never here: whether any of that is good ([`crate::policy`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{EnvironmentId, Giver, GrantId, RequestId, SessionId, SubjectRef, Timestamp};

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
    /// That they were removed, and are kept out until that is lifted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub barred: Option<Bar>,
    /// What began until then is over, also when that was lifted (law 8).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub closed_at: Option<Timestamp>,
    /// While they are not: who lifted that last. They let in whoever enters since (GW-14).
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub lifted_by: BTreeSet<Giver>,
}

/// That somebody is kept out of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bar {
    /// From when on.
    pub at: Timestamp,
    /// Who removed them.
    pub by: SubjectRef,
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
