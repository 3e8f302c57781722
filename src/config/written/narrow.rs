//! The mirror of how answers are narrowed.
//!
//! Never here: pointers and types; [`crate::config::resolve`] has them.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Visitor};

use super::{Field, OneOrMany, Table, WORD};

/// How the answers of a route are narrowed.
#[derive(Debug, Clone)]
pub enum Narrow {
    /// Not at all.
    Refuse,
    /// Like this.
    As(Box<Narrowing>),
}

impl<'de> Deserialize<'de> for Narrow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Narrow;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`refuse`, or a mapping")
            }
            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Narrow, E> {
                match word {
                    "refuse" => Ok(Narrow::Refuse),
                    other => Err(E::unknown_variant(other, &["refuse"])),
                }
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, all: D) -> Result<Narrow, D::Error> {
                Narrowing::deserialize(all).map(|all| Narrow::As(Box::new(all)))
            }
        }
        deserializer.deserialize_newtype_struct(WORD, V)
    }
}

impl JsonSchema for Narrow {
    fn schema_name() -> Cow<'static, str> {
        "Narrow".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let all = generator.subschema_for::<Narrowing>();
        json_schema!({ "description": "How the answers of a route are narrowed.", "anyOf": [{ "const": "refuse" }, all] })
    }
}

/// How the answers of a route are narrowed, where they are: exactly one of `filter` and `query`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("oneOf" = [{ "required": ["filter"] }, { "required": ["query"] }]))]
pub struct Narrowing {
    /// The gateway reads the answer, which has to be JSON, and hands on the items that the caller may see.
    pub filter: Field<Filter>,
    /// The application answers with no more than the caller may see, where it is asked so: parameters of the query that the gateway
    /// writes, as templates with `{subject}`, `{tenant}`, `{environment}` and `{role}`. Its answer passes as it comes. Who sends one
    /// of them themselves is refused (400).
    pub query: Field<Table<String>>,
    /// With `query`: of which type of resources the things are. Default: the only type that lies in what the route acts on and in
    /// which nothing lies.
    #[serde(rename = "type")]
    pub kind: Field<String>,
}

/// What is in an answer, by JSON pointers (RFC 6901) through objects: `/data/cards`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["type", "list", "id"]))]
pub struct Filter {
    /// What the items are: a type of resources. Each is decided like a request for it.
    #[serde(rename = "type")]
    pub kind: Field<String>,
    /// Where the list is; `""` where the answer itself is one.
    pub list: Field<String>,
    /// Where in an item its id is: a text or a whole number; `""` where the items are ids themselves.
    pub id: Field<String>,
    /// What passes beside the list, and counts nothing that is hidden. Default: nothing.
    pub keep: Field<OneOrMany<String>>,
    /// Instead of `keep`: all passes beside the list but these, totals and cursors for example. Whoever writes this declares
    /// that nothing else counts.
    pub drop: Field<OneOrMany<String>>,
}
