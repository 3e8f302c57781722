//! What is remembered of a person who gave a grant and whose roles stand in tokens only: what their last token said of them,
//! and when it was seen (rule 5).
//!
//! Never here: for how long that counts, and what follows when it does not ([`crate::policy`]); when a token is looked at
//! ([`crate::engine`]).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{RoleName, Timestamp};

/// One who gave grants in a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grantor {
    /// The roles that their last token named; names that no policy knows give nothing. Of several such sets only what
    /// each of them gives: what a token takes away counts before another one takes its place.
    pub roles: BTreeSet<BTreeSet<RoleName>>,
    /// When it was seen.
    pub seen: Timestamp,
    /// Until when their grants stand at the latest, as far as that was looked at: as long as somebody has to look at their
    /// tokens.
    pub needed: Timestamp,
}

impl Grantor {
    /// What holds of two histories: only what each of them gives, and the earlier look.
    #[must_use]
    pub fn meet(self, other: &Grantor) -> Grantor {
        Grantor {
            roles: self.roles.union(&other.roles).cloned().collect(),
            seen: self.seen.min(other.seen),
            needed: self.needed.max(other.needed),
        }
    }
}
