//! The mirror of what a route's requests make.
//!
//! Never here: templates, pointers, types and roles; [`crate::config::resolve`] has them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, Table};

/// What the requests of a route make in the application, where it answers 201.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["type", "id"]))]
pub struct Creates {
    /// Its type: one of `resource_types`. Who made it and what it lies in is known from then on.
    #[serde(rename = "type")]
    pub kind: Field<String>,
    /// Where its identifier stands in the answer.
    pub id: Field<CreatedId>,
    /// The role at it that whoever made it gets: one that is held at this type. Default: none.
    pub role: Field<String>,
    /// Which roles in the tenant whoever made it holds no more, each with the one that takes its place: `{ guest: member }`. Only
    /// where members' roles stand in rows. Default: none.
    pub becomes: Field<Table<String>>,
}

/// Where the identifier of what was made stands: one of the two.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CreatedId {
    /// In `Location`, a path of this form with one parameter, as the application writes it: `/api/pipes/{pipe}`.
    pub location: Field<String>,
    /// At this place of the answer, which is JSON: a JSON pointer (RFC 6901) through objects, `/data/id`.
    pub json: Field<String>,
}
