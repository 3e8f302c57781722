//! The mirror of what concerns webhooks: who is told of what, where, and how it is signed.
//!
//! Never here: defaults and references; [`crate::config::resolve`] has them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{Authorities, Duration, Field, KeyFrom, OneOrMany};
use crate::lifecycle::Event;

/// Who is told of what happened, and where: each event that is wanted is sent by `POST`, signed (Standard Webhooks), again and
/// again until it is taken, in the order of the record.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["name", "url", "secret"]))]
pub struct Webhook {
    /// Its name, in metrics and in the log. What was delivered already is kept under it: with another name it begins
    /// anew, with another `url` it goes on where it was.
    pub name: Field<String>,
    /// Where to: an `https` address. `http` for this machine alone, by an address such as `127.0.0.1`.
    pub url: Field<String>,
    /// Who vouches for its certificate. Default: the authorities that the system trusts.
    pub ca: Field<Authorities>,
    /// Where the secret that signs is: `whsec_` and 24 to 64 random bytes in base64. Up to three, while one takes the place of
    /// another: each signs.
    pub secret: Field<OneOrMany<KeyFrom>>,
    /// What is told, by the names of the record. Default: who came in and all that ends what was inside: `session_started`,
    /// `session_ended`, `glass_broken`, `grant_ended`, `consent_changed`, `consent_fell`, `support_stopped`,
    /// `tenant_removed`.
    pub events: Field<OneOrMany<EventName>>,
    /// Of which tenants only. Default: of all, and what concerns them all.
    pub tenants: Field<OneOrMany<String>>,
    /// How long one attempt may take in all; at most `60s`. Default `15s`.
    pub timeout: Field<Duration>,
    /// For how long what is not taken is tried again, before the next is told instead; at most `30d`. Default `3d`.
    pub give_up: Field<Duration>,
}

/// What can be told: an event of the record, by its name there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventName(pub &'static str);

impl<'de> Deserialize<'de> for EventName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = Event::NAMES.iter().find(|name| **name == text);
        known.map(|name| EventName(name)).ok_or_else(|| D::Error::unknown_variant(&text, Event::NAMES))
    }
}

impl JsonSchema for EventName {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "EventName".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Event::NAMES })
    }
}
