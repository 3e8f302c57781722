//! What a tenant says of a role: one of its own, or how it adjusts one that the configuration lets tenants adjust.
//!
//! `docs/decisions/0017-roles-of-tenants.md` says why it is one document for each role.
//!
//! Never here: which roles a tenant may define or adjust, and what a role's name means there ([`crate::policy`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Giver, GrantId, PermissionName, Timestamp};

/// How large such a document may become, by [`TenantRole::size`]: a record of its change still fits into a line of the ledger.
pub const ROLE_MOST: usize = 6_000;

/// What a tenant says of a role. Names of permissions that no policy knows give nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantRole {
    /// All that it holds there.
    pub permissions: BTreeSet<PermissionName>,
    /// Whether it is one of the tenant's own; otherwise it is one of the configuration's, adjusted.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub own: bool,
    /// Who put something into it; they do not use it themselves (GW-14).
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub by: BTreeSet<Giver>,
    /// Of one of the tenant's own: the grants that name it, each as long as it stands.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub granted: BTreeMap<GrantId, Timestamp>,
    /// Since when it is gone: of one of the tenant's own, it gives nothing; of an adjusted one, the configuration alone
    /// holds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub removed: Option<Timestamp>,
    /// The tenant's [`life`](super::Tenant::life) when it was set.
    #[serde(skip_serializing_if = "super::document::is_zero", default)]
    pub life: u32,
}

impl TenantRole {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let permissions: usize = self.permissions.iter().map(|name| name.as_str().len() + 3).sum();
        let granted: usize = self.granted.keys().map(|grant| grant.as_str().len() + 32).sum();
        permissions + granted + self.by.len() * 300
    }

    /// The grants that name it and still stand at an instant.
    pub fn granted_at(&self, now: Timestamp) -> BTreeMap<GrantId, Timestamp> {
        let standing = self.granted.iter().filter(|(_, until)| now < **until);
        standing.map(|(grant, until)| (grant.clone(), *until)).collect()
    }

    /// What holds of two histories: only what it holds in each, and gone where it is gone in one. What is one of the
    /// tenant's own in one and adjusted in the other gives nothing.
    #[must_use]
    pub fn meet(mut self, other: &TenantRole) -> TenantRole {
        let permissions = match self.own == other.own {
            true => self.permissions.intersection(&other.permissions).cloned().collect(),
            false => BTreeSet::new(),
        };
        for (grant, until) in &other.granted {
            let known = self.granted.entry(grant.clone()).or_insert(*until);
            *known = (*known).max(*until);
        }
        TenantRole {
            permissions,
            own: self.own && other.own,
            by: self.by.union(&other.by).cloned().collect(),
            granted: self.granted,
            removed: self.removed.max(other.removed),
            life: self.life.min(other.life),
        }
    }
}
