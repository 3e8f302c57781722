//! The mirror of what lies below tenants.
//!
//! Never here: defaults and references; [`crate::config::resolve`] has them.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Visitor};

use super::{Duration, FLAG, Field, OneOrMany, Table, Term};

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
    /// How long an invitation to one stands at most, and where whoever invites says nothing. Default `14 calendar days`.
    pub invitations: Field<Term>,
    /// How a resource that nobody pushed is looked up at its application, where that could turn a no. Default: not at all.
    pub look_up: Field<LookUp>,
}

/// How resources of a type are looked up at their application: a `GET` with the gateway's own assertion, whose answer is one JSON
/// object. Places in it are JSON pointers through objects; `null` there says that there is none. Whatever is not exactly so is
/// unknown, and unknown means no.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["path"]))]
pub struct LookUp {
    /// Which upstream is asked. May be left out where there is only one. The path goes there as it is.
    pub upstream: Field<String>,
    /// The path: `/internal/{tenant}/cards/{card}`. A segment in braces is the tenant, or the resource by its type's name.
    pub path: Field<String>,
    /// Where the resource's own identifier stands: an answer about another one counts as none. Default: it is not compared.
    pub id: Field<String>,
    /// Where the tenant stands: an answer about another's counts as none. Needed where the path does not name the tenant.
    pub tenant: Field<String>,
    /// Where who made it stands: `/created_by/id`. For `own`.
    pub creator: Field<String>,
    /// Where those to whom it is assigned stand: `/assignees/*/id`, `*` for the items of a list. For `assigned`.
    pub assignees: Field<String>,
    /// Where the identifier of what it lies in stands: `/pipe/id`. The type needs a `parent`.
    pub parent: Field<String>,
    /// Whose subjects those are: a member issuer. May be left out where there is only one.
    pub issuer: Field<String>,
    /// How long an answer counts, `1s` to `5m`: for so long whoever lost an assignment may still be let in. Default `10s`.
    #[serde(rename = "for")]
    pub lasts: Field<Duration>,
    /// How long the asking may take as a whole, `10ms` to `5s` and shorter than `for`. Default `500ms`.
    pub within: Field<Duration>,
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

/// Of which resources holders of a role may be members.
#[derive(Debug, Clone)]
pub enum Joins {
    /// Of all, or of none.
    Any(bool),
    /// Of those of these types.
    Only(OneOrMany<String>),
}

impl<'de> Deserialize<'de> for Joins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Joins;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, `false`, or types of resources")
            }
            fn visit_bool<E: serde::de::Error>(self, any: bool) -> Result<Joins, E> {
                Ok(Joins::Any(any))
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, types: D) -> Result<Joins, D::Error> {
                OneOrMany::deserialize(types).map(Joins::Only)
            }
        }
        deserializer.deserialize_newtype_struct(FLAG, V)
    }
}

impl JsonSchema for Joins {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Joins".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "boolean" },
            { "type": "string" },
            { "type": "array", "items": { "type": "string" } }
        ] })
    }
}
