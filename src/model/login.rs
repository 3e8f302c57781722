//! Login access: what a person of a tenant gives who lets a support organisation act as them, and as whom a session then acts.
//!
//! Never here: whether it is good right now, and what it gives ([`crate::policy`]).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Basis, GrantId, SubjectRef};

/// What there is to say of login access beside what every grant says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActAs {
    /// The ticket that whoever gave it named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ticket: Option<Arc<str>>,
}

/// As whom somebody acts, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acting {
    /// The grant that lets them.
    pub grant: GrantId,
    /// The person of the tenant who gave it, and whom they act as.
    pub user: SubjectRef,
}

impl Basis {
    /// As whom it acts, where it acts as somebody.
    pub fn acting_as(&self) -> Option<&SubjectRef> {
        match self {
            Basis::ActAs(acting) => Some(&acting.user),
            Basis::Consent(_) | Basis::Grant(_) | Basis::BreakGlass(_) => None,
        }
    }
}
