//! The mirror of what stands in front of the gateway and is believed about its clients.
//!
//! Never here: defaults and references; [`crate::config::resolve`] has them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, OneOrMany};

/// The PROXY protocol on `listen`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["from"]))]
pub struct ProxyProtocol {
    /// The addresses or networks whose connections begin with its header, version 1 or 2, each of them. From all others it
    /// is refused as any other garbage.
    pub from: Field<OneOrMany<String>>,
}

/// Hops in front of the gateway that say in a header from where a request comes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["from", "header"]))]
pub struct TrustedHops {
    /// Their addresses or networks. What comes from elsewhere is not asked.
    pub from: Field<OneOrMany<String>>,
    /// The header, which the hop in front has to write itself: what a client sends in it must not be all of it.
    pub header: Field<HopHeader>,
    /// How many hops each request passes, the one in front included. Default: as many as have an address in `from`.
    pub count: Field<u64>,
}

/// The header by which hops say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HopHeader {
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`.
    XForwardedFor,
}
