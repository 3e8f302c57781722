//! The mirror of what concerns emergencies: who may use the kill switches, who may break the glass.
//!
//! Never here: defaults and references; [`crate::config::resolve`] has them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Duration, Field, Keys, List, OneOrMany, Require};

/// Kill switches: one command ends support access, and keeps it ended until it is lifted.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["operators"]))]
pub struct Stops {
    /// Who may stop, and let go on, one of the vendor's people, a tenant, or all support access. A tenant's
    /// administrators have a switch of their own over their tenant in any case.
    pub operators: Field<List<Person>>,
}

/// Entry in an emergency: works at every consent level and without a grant, for those who are named here.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["operators", "role"]))]
pub struct BreakGlass {
    /// Who may.
    pub operators: Field<List<Person>>,
    /// How many they may be: a longer list is refused. Default `10`.
    pub most: Field<u64>,
    /// The role that it gives, under the ceiling like everything.
    pub role: Field<String>,
    /// How long such a session lasts at most; at most `1d`. Default `1h`.
    pub last: Field<Duration>,
    /// What counts as an emergency; one of these is declared. Default `stability` and `integrity`, of the platform.
    pub causes: Field<OneOrMany<String>>,
    /// What the reference of an incident looks like, as a ticket's pattern. Default `[A-Z]{2,8}-[0-9]{1,8}`.
    pub incident: Field<String>,
    /// How often one operator may try in an hour, over all gateways that share a store. Default `10`.
    pub attempts: Field<u64>,
    /// Whether the tenant's administrators can end such a session, and their kill switch keeps it out. They see it in any
    /// case. Default `true`.
    pub tenant_ends: Field<bool>,
    /// What is demanded of the operators' sign-in beside `staff.require`, for the entry and for each request by it. It
    /// takes no `ticket`: the incident is it.
    pub require: Field<Require>,
    /// Emergency tokens: with one, an operator enters where the store cannot be asked. Without this none is taken.
    pub tokens: Field<EmergencyTokens>,
}

/// Whose emergency tokens count, and which. `postern break-glass token` makes them.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["keys", "audience"]))]
pub struct EmergencyTokens {
    /// The public keys of the emergency authority, as a JSON Web Key Set from a file or written here: Ed25519 or P-256, each with a
    /// `kid` of its own. They are never fetched.
    pub keys: Field<Keys>,
    /// What the tokens must be made for. One name for all gateways in front of one installation, and another for staging: a token of
    /// one opens nothing of the other.
    pub audience: Field<String>,
    /// How long a token may live at most; at most `4h`. Default `1h`.
    pub longest: Field<Duration>,
    /// The ids of tokens that were taken back, `emg_…`. What runs by one of them is cut by the reload that brings it.
    pub revoked: Field<OneOrMany<String>>,
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
