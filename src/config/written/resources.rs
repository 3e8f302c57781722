//! The mirror of what lies below tenants.
//!
//! Never here: defaults and references; [`crate::config::resolve`] has them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, Table};

/// A type of resources below tenants.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResourceKind {
    /// The type of what its resources lie in. Default: they lie in the tenant itself. At most four lie in each other.
    pub parent: Field<String>,
    /// The permission that it takes at a resource to add, change and remove its members. Default: services alone do.
    pub manage: Field<String>,
    /// The permission that it takes at a resource to see who its members are; whoever manages them sees them too. Default:
    /// nobody else does.
    pub list: Field<String>,
    /// Who joins a public one without being asked, by a role in the tenant, and in which role at it: `{ member: hand }`. Default:
    /// nobody.
    pub join: Field<Table<String>>,
    /// Who joins a private one so, and a public one too. Default: nobody.
    pub enter: Field<Table<String>>,
}

/// One of the resources that the one acted on lies in.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["type", "id"]))]
pub struct OuterResource {
    /// Its type: one that the type of the resource lies in.
    #[serde(rename = "type")]
    pub kind: Field<String>,
    /// The parameter of the path that holds its identifier.
    pub id: Field<String>,
}
