//! The mirror of what concerns the other gateways of a fleet: where they ask this one, and how they prove to each other.
//!
//! Never here: defaults and references; [`crate::config::resolve`] has them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Duration, Field, KeyFrom};

/// How the gateways of a fleet ask each other for what their ledgers hold of a tenant: over TLS 1.3, with a certificate of the fleet's
/// own authority on both sides. Needs a store that they share (`state.redis`), which names them to each other.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["listen", "address", "certificate", "key", "ca"]))]
pub struct Fleet {
    /// Where the other gateways ask this one: address and port. Nobody else gets past the handshake.
    pub listen: Field<String>,
    /// Where the others reach that: `host:port`. The certificate must name the host.
    pub address: Field<String>,
    /// The certificate of this gateway and those that lead to its authority, as a PEM file, its own first. It is shown to those that
    /// ask and to those that are asked.
    pub certificate: Field<String>,
    /// Its private key, in PEM.
    pub key: Field<KeyFrom>,
    /// The fleet's own authority, as a PEM file. Whoever has a certificate of it is answered: use it for nothing else.
    pub ca: Field<String>,
    /// How long all others together may take to answer; who has not by then is named as missing. Default `2s`.
    pub timeout: Field<Duration>,
}
