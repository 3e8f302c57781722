//! The mirror of what concerns the store: one file, or servers that several gateways share.
//!
//! Never here: defaults and references; [`crate::config::resolve`] has them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Authorities, Duration, Field, KeyFrom, OneOrMany};

/// Where what is known is kept: in one file, for one gateway (`path`), or in Redis, for several (`redis`).
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct State {
    /// The embedded store's file. Relative paths start at the directory of the configuration file, here and everywhere.
    pub path: Field<String>,
    /// A store in Redis or Valkey, shared by all gateways of a fleet.
    pub redis: Field<Redis>,
    /// With `redis`: the file in which this gateway keeps what it saw, so that a store that forgot can be healed. It is state: on a
    /// disk that persists, this gateway's alone.
    pub shadow: Field<String>,
    /// With `redis`: how long a store that forgot waits for gateways that it knew of, before it goes on without them. Default `30s`.
    pub heal_grace: Field<Duration>,
    /// How old what is known of a store that several gateways change may be for staff. Of an embedded store nothing is ever old.
    pub max_staleness: Field<MaxStaleness>,
    /// How old what is known of members may be. Default `24h`.
    pub members_max_staleness: Field<Duration>,
}

/// How old what is known may be, for each class of staff's requests; from `500ms` on. Past it they get 503 `state_stale`, and what
/// runs is cut. `0s` asks the store for each decision.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MaxStaleness {
    /// Where they write. Default `1s`.
    pub writes: Field<Duration>,
    /// Where they read. Default `5s`.
    pub reads: Field<Duration>,
    /// Of whoever broke the glass. Default `0s`.
    pub break_glass: Field<Duration>,
}

/// The servers of a store in Redis (6.2 or later) or Valkey.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["url"]))]
pub struct Redis {
    /// `redis://host:port`, or `rediss://` over TLS, with a user (`redis://user@host`) and the number of a database (`/0`) where there
    /// are some. Of Sentinels all of them; of a Cluster several that are asked for the others.
    pub url: Field<OneOrMany<String>>,
    /// The name under which Sentinels know the primary: `url` names Sentinels then.
    pub sentinel: Field<String>,
    /// Whether `url` names servers of a Redis Cluster. Default `false`.
    pub cluster: Field<bool>,
    /// How many servers hold each document, the primary included: a change is acknowledged when a majority of them has it. Default 1;
    /// with Sentinels or a Cluster it has to be said.
    pub copies: Field<u64>,
    /// The password of the servers; and of Sentinels, where these ask for one and nothing else is said of them.
    pub password: Field<KeyFrom>,
    /// Who this gateway is to the Sentinels, where these have users of their own. Needs `sentinel_password`.
    pub sentinel_user: Field<String>,
    /// The password of the Sentinels, where it is another than that of the servers.
    pub sentinel_password: Field<KeyFrom>,
    /// Who vouches for the servers' certificates. Default: the system's authorities.
    pub ca: Field<Authorities>,
    /// The PEM file with the certificate that this gateway shows to the servers.
    pub certificate: Field<String>,
    /// The key of that certificate.
    pub key: Field<KeyFrom>,
    /// What all keys and the channel begin with, where several stores share a server. Default `postern`.
    pub prefix: Field<String>,
    /// How long an answer of a server may take. Default `500ms`.
    pub timeout: Field<Duration>,
    /// How often a heartbeat asks each primary how far it is. Default `200ms`.
    pub beat: Field<Duration>,
}
