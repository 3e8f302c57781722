//! Kill switches (GW-13): what ends a person everywhere, a tenant's support, or all of it, and keeps it ended until it is
//! lifted.
//!
//! A switch ends what ran for good: sessions that began before [`Stop::closed_at`] are over, also when it was lifted. So
//! nobody has to find them all to end them.
//!
//! Never here: who may use one ([`crate::lifecycle`]), what it does to a session ([`crate::policy`]).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Giver, SubjectRef, TenantId, Timestamp};

/// How far a switch of the vendor's operators reaches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// All support access.
    All,
    /// All support access to one tenant.
    Tenant(TenantId),
    /// One of the vendor's people, in every tenant.
    Person(SubjectRef),
}

/// Whose a switch is: who set it, and so who can lift it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The tenant's own, over support access to itself.
    Tenant,
    /// The operators' whom the vendor's configuration names.
    Operators,
}

/// That a switch is set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halt {
    /// Of a person's: they set it themselves, so they may lift it too. Of two, one that somebody else set counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
    /// From when on.
    pub since: Timestamp,
    /// Who set it.
    pub by: SubjectRef,
    /// Why, in their words.
    pub reason: String,
}

/// A switch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// Whether it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Halt>,
    /// Sessions that began until then stay ended, also when it is lifted (law 8: nothing withdrawn comes back).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// Of the switch over everything: that one over a tenant or a person was ever set. Where none was, nobody has to look.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub others: bool,
    /// Of a tenant's own, while it is not set: who lifted it last. They let in whoever enters since (GW-14).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lifted_by: BTreeSet<Giver>,
}

impl Stop {
    /// Nothing was ever stopped by it.
    pub fn is_nothing(&self) -> bool {
        *self == Stop::default()
    }

    /// What holds of two histories: set beats lifted, the later closing counts.
    #[must_use]
    pub fn meet(self, other: &Stop) -> Stop {
        Stop {
            set: [self.set, other.set.clone()].into_iter().flatten().min(),
            closed_at: self.closed_at.max(other.closed_at),
            others: self.others || other.others,
            lifted_by: self.lifted_by.union(&other.lifted_by).cloned().collect(),
        }
    }
}
