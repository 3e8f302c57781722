//! The mirror of login access: a person of a tenant lets a support organisation act as them.
//!
//! Never here: defaults and references; [`crate::config::resolve`] has them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, OneOrMany, Table, Term};

/// Login access: any person of a tenant may let a support organisation act as them, for one of these times.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["durations", "organisations"]))]
pub struct ActAs {
    /// For how long it can be given, in the order in which it is offered: `1d`, `7 calendar days`, `1 calendar month`.
    pub durations: Field<OneOrMany<Term>>,
    /// The one of them that is suggested. Default: none.
    pub suggested: Field<Term>,
    /// To whom it can be given, by name. A person gives it to one of them; the others have nothing by it.
    pub organisations: Field<Table<Organisation>>,
}

/// Which of the vendor's people belong to a support organisation: an issuer's, those with a claim, or an issuer's with a claim.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1))]
pub struct Organisation {
    /// The short name of an issuer of staff. Default: any of them.
    pub issuer: Field<String>,
    /// Those whose claim here is, or as a list holds, …
    pub claim: Field<String>,
    /// … one of these. Without a claim all of the issuer's people.
    pub any: Field<OneOrMany<String>>,
}
