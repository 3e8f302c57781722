//! The mirror of what concerns the servers of an application: whether they are well, and what is spoken to them.
//!
//! Never here: defaults and references; [`crate::config::resolve`] has them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Duration, Field};

/// How the servers of an upstream are asked whether they are well: by `GET`, with no client's data.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["path"]))]
pub struct Health {
    /// The path that is asked for, with its query.
    pub path: Field<String>,
    /// How often each server is asked. Default `5s`.
    pub every: Field<Duration>,
    /// How long an answer may take. Default `2s`.
    pub timeout: Field<Duration>,
    /// So many good answers on end bring it back. Default 2.
    pub healthy_after: Field<u64>,
    /// So many bad ones on end leave it out. Default 3.
    pub unhealthy_after: Field<u64>,
    /// The one status that is good. Default: every one from 200 to 299.
    pub status: Field<u64>,
}

/// When a server that cannot be connected to is left out, and for how long.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Eject {
    /// After so many connections on end that could not be opened. Default 3; 0 is never.
    pub after: Field<u64>,
    /// For so long the first time, and twice as long each time that it is tried again in vain. Default `1s`.
    pub first: Field<Duration>,
    /// No longer than this at a time. Default `60s`.
    pub most: Field<Duration>,
}

/// What is spoken to an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: agreed on by ALPN over TLS, taken for granted in clear.
    Http2,
}

/// What becomes of trailers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trailers {
    /// They are read and thrown away.
    Drop,
    /// They go on, save what says who somebody is, how a message is framed or how it is kept.
    Pass,
}
