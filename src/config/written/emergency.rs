//! The mirror of what concerns emergencies: who may use the kill switches.
//!
//! Never here: defaults and references; [`crate::config::resolve`] has them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, List};

/// Kill switches: one command ends support access, and keeps it ended until it is lifted.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["operators"]))]
pub struct Stops {
    /// Who may stop, and let go on, one of the vendor's people, a tenant, or all support access. A tenant's
    /// administrators have a switch of their own over their tenant in any case.
    pub operators: Field<List<Person>>,
}

/// One of the vendor's people, by issuer and `sub`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["issuer", "sub"]))]
pub struct Person {
    /// The short name of an issuer of staff.
    pub issuer: Field<String>,
    /// The `sub` of their tokens.
    pub sub: Field<String>,
}
