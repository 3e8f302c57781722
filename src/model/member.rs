//! A tenant's person as a service pushed them: the row that says what they may do there.
//!
//! Never here: who pushes rows ([`crate::lifecycle`]), what follows from them ([`crate::policy`]).

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{RoleName, Timestamp};

/// One of a tenant's people, as a service pushed it: a row below the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The roles they hold there; names that no policy knows give nothing.
    pub roles: BTreeSet<RoleName>,
    /// They may do nothing until this is taken back.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub suspended: bool,
    /// An address that somebody verified, lower-cased ASCII.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub email: Option<Arc<str>>,
    /// Since when they are no member any more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub removed: Option<Timestamp>,
    /// The tenant's [`life`](super::Tenant::life) when it was pushed; in another one it counts no more.
    #[serde(skip_serializing_if = "super::document::is_zero", default)]
    pub life: u32,
    /// How often they left all resources at once, as whoever is removed does, or comes to hold a role that keeps apart from them:
    /// rows of before count no more.
    #[serde(skip_serializing_if = "super::document::is_zero", default)]
    pub left: u32,
    /// They are counted among those who take a paid seat, in this [`life`](Member::life) of the tenant.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub seat: bool,
}
