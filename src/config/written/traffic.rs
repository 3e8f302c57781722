//! The mirror of what concerns traffic, disk and keys.
//!
//! Never here: defaults and references; [`crate::config::resolve`] has them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Creates, Duration, Field, List, Narrow, OneOrMany, OuterResource, Size, Table,
    servers::{Eject, Health, Protocol, Trailers},
};

/// The embedded store: one file, this gateway's alone.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["path"]))]
pub struct State {
    /// The file. Relative paths start at the directory of the configuration file, here and everywhere.
    pub path: Field<String>,
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

/// The ledger: segments of JSON lines, a Merkle tree over them, signed checkpoints.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["path", "origin", "key"]))]
pub struct Ledger {
    /// The directory. It is state: on a disk that persists, this gateway's alone.
    pub path: Field<String>,
    /// The log's name, unique in the world, such as `example.com/postern/main`.
    pub origin: Field<String>,
    /// The key that signs checkpoints.
    pub key: Field<KeyFrom>,
    /// A segment is closed when it would outgrow this. Default `64 MiB`.
    pub segment: Field<Size>,
    /// Room kept for outcomes, ends and break-glass; staff are refused before it is touched. Default `16 MiB`.
    pub reserve: Field<Size>,
    /// Staff are refused when the ledger would outgrow this. Default: no bound but the disk.
    pub quota: Field<Size>,
}

/// Where a key is read from: exactly one of the two.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct KeyFrom {
    /// A file.
    pub file: Field<String>,
    /// An environment variable.
    pub env: Field<String>,
}

/// The signed statement about the caller that goes to the application.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["key"]))]
pub struct Assertion {
    /// The private key that signs it, in PEM.
    pub key: Field<KeyFrom>,
    /// The request header that carries it. Default `Postern-Assertion`.
    pub header: Field<String>,
    /// Its `iss`. Default: the name of the gateway.
    pub issuer: Field<String>,
}

/// TLS towards clients.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["certificates"]))]
pub struct Tls {
    /// The gateway's certificates. A client is shown the one for the host that it names, or else the first.
    pub certificates: Field<List<TlsCertificate>>,
    /// The authorities of client certificates, as a PEM file. With it, a client without such a certificate gets no
    /// further than the handshake. Who somebody is still follows from the token alone.
    pub client_ca: Field<String>,
    /// The oldest version that is spoken. Default `1.2`.
    pub min_version: Field<TlsVersion>,
}

/// A certificate of the gateway.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["chain", "key"]))]
pub struct TlsCertificate {
    /// The certificate and those that lead to its authority, as a PEM file, its own first.
    pub chain: Field<String>,
    /// Its private key, in PEM.
    pub key: Field<KeyFrom>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V13,
}

/// Where HTTP/2 is spoken to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Http2 {
    /// Over TLS, where the client takes it; HTTP/1.1 otherwise and in clear.
    Offered,
    /// Nowhere.
    Never,
    /// In clear, and nothing else: for a gateway behind something that speaks HTTP/2 to it without asking. Not with
    /// `tls`.
    PriorKnowledge,
}

/// An application behind the gateway.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("oneOf" = [{ "required": ["url"] }, { "required": ["servers"] }]))]
pub struct Upstream {
    /// Its address: `http://host:port`, `https://host:port` or `unix:/path/to.sock`, nothing behind it. The request's
    /// own path is appended. Either this or `servers`.
    pub url: Field<String>,
    /// Its addresses, where several servers do the same: each request goes to one of them. At most 64.
    pub servers: Field<List<String>>,
    /// How it is asked whether it is well. Default: not at all; who cannot be connected to is left out for a while.
    pub health: Field<Health>,
    /// When a server that cannot be connected to is left out, and for how long.
    pub eject: Field<Eject>,
    /// What is spoken to it. Default `http1`.
    pub protocol: Field<Protocol>,
    /// What becomes of trailers, in both directions. Default `drop`; gRPC needs `pass`.
    pub trailers: Field<Trailers>,
    /// With `protocol: http2`: how often a connection that is silent is asked for a sign of life. Default `5m`, which
    /// gRPC servers put up with.
    pub ping: Field<Duration>,
    /// Which routes are its own where they name no `upstream`: those for a host, those below a prefix. The longest
    /// prefix wins, and one for the route's own host before one for every host.
    pub serves: Field<OneOrMany<Serves>>,
    /// Taken off the beginning of each path on its way to the application; every route to it has to begin so.
    pub strip_prefix: Field<String>,
    /// Put before each path on its way to the application, behind what `strip_prefix` takes off.
    pub add_prefix: Field<String>,
    /// With `https`: the authorities that its certificate may come from, as a PEM file. Default: the system's.
    pub ca: Field<String>,
    /// With `https`: the name that its certificate must bear. Default: the host in `url`.
    pub server_name: Field<String>,
    /// The `aud` of assertions made for it. Default: its name here.
    pub audience: Field<String>,
    /// The `Host` that it gets: `upstream` (default) for the one in `url`, `client` for the one that the client sent,
    /// or a fixed host.
    pub host: Field<String>,
    /// Who is asserted to it. Default `staff`: members are known by the credentials that they bring.
    pub assert: Field<Assert>,
    /// How many idle connections each core keeps. Default 256.
    pub idle: Field<u64>,
    /// How long an idle connection is kept: less than the application keeps it. Default `4s`, below the five seconds
    /// after which common servers hang up; of HTTP/2, which says so before it does, `60s`.
    pub idle_timeout: Field<Duration>,
    /// How long connecting may take. Default `2s`.
    pub connect_timeout: Field<Duration>,
    /// How long the head of its answer may take. Default `60s`.
    pub response_timeout: Field<Duration>,
    /// Headers set on each request: templates with `{subject}`, `{tenant}`, `{environment}`, `{role}`, `{kind}`,
    /// `{session}`, `{client}` (the client's address) and `{actor}` (who acts as the subject by login access, else nothing).
    /// What the client sent under these names is removed.
    pub headers: Field<Table<String>>,
}

/// A part of the map that belongs to one upstream: at least one of the two.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1))]
pub struct Serves {
    /// Routes of this host. Default: of every host.
    pub host: Field<String>,
    /// Routes that begin so, in whole segments: `/billing`. Default: all.
    pub prefix: Field<String>,
}

/// How the applications read paths. The defaults trust them in nothing.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Paths {
    /// Whether `/Users` may mean something other than `/users`. Default `refuse`.
    pub case: Field<Twins>,
    /// Whether `/users/` may mean something other than `/users`. Default `refuse`.
    pub trailing_slash: Field<Twins>,
    /// Whether `;` may stand in a path. Default `refuse`: some applications cut the path there.
    pub semicolons: Field<Pass>,
    /// Whether characters beyond ASCII may stand in a path, percent-encoded. Default `allow`.
    pub non_ascii: Field<Pass>,
    /// The one spelling of `$ & + , : = @` that passes. Default `raw`.
    pub delimiters: Field<Delimiters>,
}

/// Whether something passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// It does.
    Allow,
    /// It is refused.
    Refuse,
}

/// One of two spellings of the same character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delimiters {
    /// As it is, as browsers and most clients write it.
    Raw,
    /// Percent-encoded, as JavaScript's `encodeURIComponent` writes it.
    Encoded,
}

/// Who is asserted to an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Assert {
    /// Everybody.
    Everyone,
    /// Staff; members are known by the credentials that they bring.
    Staff,
}

/// Two spellings that some applications take for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Twins {
    /// A request that differs from a route in nothing else is refused.
    Refuse,
    /// The application is known to tell them apart.
    Distinct,
}

/// One line of the route map.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["route"]))]
pub struct Route {
    /// Methods and path: `GET /t/{tenant}/api/orders/{order}`, `GET,POST /assets/{*rest}`. `GET` brings `HEAD` along.
    pub route: Field<String>,
    /// Only for this host. Default: every host.
    pub host: Field<String>,
    /// Its name in records and explanations. Default: methods and path as written.
    pub name: Field<String>,
    /// What it takes: all of these permissions. Either this or `public`.
    pub permission: Field<OneOrMany<String>>,
    /// Open to everybody: no token is asked for, no assertion and no identity header is sent. Members' `Authorization` and
    /// `Cookie` pass as they are; those of staff, and of callers whose token is refused, do not.
    pub public: Field<bool>,
    /// The resource that the path names, for the scope of grants.
    pub resource: Field<Resource>,
    /// Which upstream answers. May be left out where there is only one, or where one `serves` all of the route.
    pub upstream: Field<String>,
    /// What a request does. Default: `GET` and `HEAD` read, everything else and each upgrade writes.
    pub effect: Field<Effect>,
    /// What its connection may become: a `GET` that asks for it, and that the application grants it, ends as a tunnel.
    /// Default: nothing, and the header `Upgrade` is removed.
    pub upgrade: Field<Upgrade>,
    /// What becomes of a browser's question (CORS preflight) whether it may ask. Default `answer` where there is
    /// `cors`, else `refuse`.
    pub preflight: Field<Preflight>,
    /// Requests of members are recorded too, and fail where the record cannot be written. Those of staff always are.
    pub record: Field<bool>,
    /// Only in these environments. Default: in all.
    pub environments: Field<OneOrMany<String>>,
    /// Only in tenants with one of these plans, as services push them; a plan that nobody knows is none. Default: in all.
    pub plans: Field<OneOrMany<String>>,
    /// Bounds of this route alone.
    pub limits: Field<RouteLimits>,
    /// How its answers are narrowed for whoever may see some of their items and not all: a grant that names resources, for
    /// one. `refuse`: not at all, and the route is closed also to whoever holds its permission for what they made or are
    /// assigned only. Default: not at all, and it is closed to whoever may not see all that lies in what it acts on.
    pub narrow: Field<Narrow>,
    /// What its requests make in the application, where it answers 201: learned, with what follows for whoever made it. Such a
    /// route records members too, as `record` does.
    pub creates: Field<Creates>,
}

/// What a request does to the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It changes nothing.
    Read,
    /// It may change something.
    Write,
}

/// What a connection may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Upgrade {
    /// A WebSocket (RFC 6455).
    Websocket,
}

/// What becomes of a CORS preflight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preflight {
    /// The gateway answers it from `cors`.
    Answer,
    /// The application answers it; identity is removed.
    Forward,
    /// It is a request like any other, and refused unless the map has a route for `OPTIONS`.
    Refuse,
}

/// Bounds of one route.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteLimits {
    /// The largest body of a request. Default: no bound.
    pub request_body: Field<Size>,
    /// How long a body may stand still. Default: `limits.body_idle`.
    pub body_idle: Field<Duration>,
    /// The fewest bytes a second at which a request's body may come; `0 B` where its sender may be silent for most of the
    /// time. Default: `limits.body_rate`.
    pub body_rate: Field<Size>,
    /// How long the head of an answer may take. Default: the upstream's `response_timeout`.
    pub response_timeout: Field<Duration>,
    /// How long a tunnel may be silent in both directions. Default `5m`.
    pub tunnel_idle: Field<Duration>,
    /// How long the whole exchange may take. Default: no bound for members, `sessions.max_exchange` for staff.
    pub total: Field<Duration>,
}

/// How the gateway answers CORS preflights.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["origins"]))]
pub struct Cors {
    /// Which origins may ask, each written out: `https://app.example`.
    pub origins: Field<OneOrMany<String>>,
    /// Which request headers they may send beside those that browsers always may. Default: none.
    pub headers: Field<OneOrMany<String>>,
    /// Whether they may send cookies. Default `false`.
    pub credentials: Field<bool>,
    /// How long a browser may remember the answer. Default `10m`.
    pub max_age: Field<Duration>,
}

/// The resource that a path names: the one that is acted on.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["type", "id"]))]
pub struct Resource {
    /// Its type, e.g. `orders`.
    #[serde(rename = "type")]
    pub kind: Field<String>,
    /// The parameter of the path that holds its identifier.
    pub id: Field<String>,
    /// Those of the resources that it lies in which the path names too, nearest first. They are not believed: one that is known
    /// to be another closes what members of resources may do here.
    pub within: Field<OneOrMany<OuterResource>>,
    /// The application answers only where the resource lies where the path says, so that counts where nothing is known of it.
    /// Default `false`.
    pub checked: Field<bool>,
}

/// Bounds on what one request may cost.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest head of a request. Default `32 KiB`.
    pub request_head: Field<Size>,
    /// The longest request target. Default `8 KiB`.
    pub target: Field<Size>,
    /// The most header lines. Default 100.
    pub headers: Field<u64>,
    /// The largest token. Default `8 KiB`.
    pub token: Field<Size>,
    /// How long the head of a request may take to arrive: the first of a connection from its beginning, each other from its
    /// first byte. Default `10s`.
    pub header_timeout: Field<Duration>,
    /// How long a body may stand still, in either direction. Default `60s`.
    pub body_idle: Field<Duration>,
    /// The fewest bytes a second at which a request's body may come, over any time longer than `body_idle`; `0 B` asks for
    /// none. Slower ones get 408. Default `240 B`.
    pub body_rate: Field<Size>,
    /// How long a connection may wait for its next request. Default `60s`.
    pub keep_alive: Field<Duration>,
    /// The largest body that the support API takes. Default `64 KiB`.
    pub api_body: Field<Size>,
    /// The most connections at a time. Default 10000.
    pub connections: Field<u64>,
    /// Requests in a second that one client address may send on the long run; of IPv6 a /64 counts as one. More gets 429.
    /// Default: no limit.
    pub address_rate: Field<u64>,
    /// How many of them at once, after a rest. Default: twice `address_rate`.
    pub address_burst: Field<u64>,
    /// Requests in a second to the application that one verified person may send on the long run. Default: no limit.
    pub subject_rate: Field<u64>,
    /// How many of them at once, after a rest. Default: twice `subject_rate`.
    pub subject_burst: Field<u64>,
    /// How long running requests may take to finish when the gateway is stopped. Default `30s`.
    pub drain: Field<Duration>,
    /// How long a gateway that is stopped goes on as before and only says by `/readyz` that it stops, so that a balancer
    /// that asks there sends nobody any more. `drain` begins after it. Default `0s`.
    pub shutdown_delay: Field<Duration>,
}

/// What is told of requests.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A line for each request, in the form and at the place of the other lines. It names who asked; no token, cookie or
    /// query. Default `false`.
    pub access: Field<bool>,
    /// Each request carries a `traceparent` to the application: the client's where it is well-formed, else a new one.
    /// Nothing is decided by it. Default `false`: what a client sends passes as it is.
    pub trace: Field<bool>,
}

/// What local play needs and production must not have.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dangerous {
    /// The operations listener can move the gateway's clock forward; every record made so says it.
    pub clock: Field<bool>,
    /// Tokens signed with HMAC are taken: whoever can verify them can make them.
    pub hmac: Field<bool>,
    /// Key sets may be fetched over plain `http://`: whoever sits in between can exchange them.
    pub http_keys: Field<bool>,
}
