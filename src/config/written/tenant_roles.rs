//! The mirror of what tenants may do about roles.
//!
//! Never here: defaults and references; [`crate::config::resolve`] has them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, OneOrMany};

/// What tenants may do about roles: those of their own, and those of `roles` that are `adjustable`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantRoles {
    /// What a tenant's person must hold to define, adjust and remove roles there. Nobody puts a permission into a role
    /// that they lack. Default `support:manage`.
    pub permission: Field<String>,
    /// How many roles of its own a tenant may define, at most `100`; `0`: none, it adjusts at most. Default `50`.
    pub most: Field<u64>,
    /// The plans that have it, as services push them. In another one, an unknown one or none, what was said of roles stays
    /// as it is and changes are refused. Default: every tenant has it.
    pub plans: Field<OneOrMany<String>>,
}
