//! The mirror of what narrows grants: to whom, in which roles and environments, by whom.
//!
//! Never here: defaults and references; [`crate::config::resolve`] has them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, List, OneOrMany, Table};

/// To whom a grant can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GrantTo {
    /// To support as a whole: whoever an issuer's `claims.support` counts as it.
    Support,
    /// To one of the vendor's people, by name or address.
    Person,
}

/// Which roles grants can give.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gives {
    /// Over a whole environment. Default: none.
    pub everything: Field<OneOrMany<String>>,
    /// At named resources, by their type. Default: none.
    pub resources: Field<Table<OneOrMany<String>>>,
}

/// Which environments can be granted. One that neither names cannot be.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grantable {
    /// Whatever others a tenant has.
    pub always: Field<OneOrMany<String>>,
    /// Sets of environments: a tenant that has exactly one of these sets can grant all in it.
    pub exactly: Field<List<List<String>>>,
}

/// Whether members in a role may give grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MayGrant {
    /// Always.
    Always,
    /// While an administrator of their tenant has switched that on; it is off from the start.
    WhenAllowed,
    /// Never: as where the role is not named.
    Never,
}
