//! What a configuration means: plain values, all defaults applied, all references followed.
//!
//! The other rooms never see these types; [`crate::app`] makes their options from them.
//!
//! Never here: a default, or a check.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc};

use http::{HeaderName, Method};

pub use super::pieces::{Piece, Slot};
use super::{
    ceiling::CeilingSettings, cors::CorsSettings, dangerous::DangerousSettings, entrance::EntranceSettings,
    fleet::FleetSettings, places::Places, state::StateSettings, webhooks::WebhookSettings,
};
use crate::{
    config::source::Secret,
    model::{EnvironmentId, IssuerName, OrganisationName, SubjectKind, TenantId, Zone},
    net::{
        ask::Address,
        servers::{Check, Eject, Protocol, Server},
    },
    policy::{
        Policy,
        path::PathRules,
        routes::{Rewrite, TableRules, Template},
    },
};

/// A configuration that may be used.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file it was read from.
    pub file: PathBuf,
    /// The gateway's name.
    pub gateway: String,
    /// The proxy listener.
    pub listen: SocketAddr,
    /// TLS on the proxy listener, ready to be spoken: its certificates were proved to fit their keys.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// HTTP/2 is what is spoken in clear on the proxy listener.
    pub http2_in_clear: bool,
    /// What stands in front of the proxy listener.
    pub entrance: EntranceSettings,
    /// The operations listener.
    pub operations: SocketAddr,
    /// The reserved prefix; begins and ends with `/`.
    pub prefix: String,
    /// How many cores serve requests; `None` is all.
    pub workers: Option<usize>,
    /// The embedded store.
    pub state: StateSettings,
    /// The ledger.
    pub ledger: LedgerSettings,
    /// The other gateways of a fleet.
    pub fleet: Option<FleetSettings>,
    /// The assertion.
    pub assertion: AssertionSettings,
    /// All headers that are removed from requests: those declared, those that templates set, the assertion's.
    pub identity_headers: Vec<HeaderName>,
    /// The upstreams; [`crate::policy::Rule::upstream`] counts in this list.
    pub upstreams: Vec<UpstreamSettings>,
    /// The issuers.
    pub issuers: Vec<IssuerSettings>,
    /// Where tenants and environments are named, and which there are.
    pub tenants: TenantSettings,
    /// The claim that names a ticket, where `staff.require.ticket` says one.
    pub ticket_claim: Option<String>,
    /// Where members' requests go for which the map is silent, if they may pass.
    pub unmapped_upstream: Option<usize>,
    /// What may be.
    pub policy: Policy,
    /// How what staff never do came about.
    pub ceiling: CeilingSettings,
    /// How the applications read paths.
    pub paths: PathSettings,
    /// The route map: entry `i` belongs to rule `i` of the policy.
    /// It was proved to compile under `paths`.
    pub routes: Vec<RouteEntry>,
    /// How CORS preflights are answered.
    pub cors: Option<CorsSettings>,
    /// Who is told of what happened.
    pub webhooks: Vec<WebhookSettings>,
    /// What is told of requests.
    pub log: LogSettings,
    /// Bounds.
    pub limits: LimitSettings,
    /// What local play needs.
    pub dangerous: DangerousSettings,
    /// Where what is not proved yet stands in the file.
    pub places: Places,
}

/// What is told of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// A line for each.
    pub access: bool,
    /// A trace context for each.
    pub trace: bool,
}

/// The ledger.
#[derive(Debug, Clone)]
pub struct LedgerSettings {
    /// Its directory: as written, or below the directory of the configuration's file.
    pub path: PathBuf,
    /// The log's name.
    pub origin: String,
    /// The signing key, as its file or variable holds it.
    pub key: Secret,
    /// Bytes of a segment.
    pub segment: u64,
    /// Bytes kept in reserve.
    pub reserve: u64,
    /// Bytes of the whole.
    pub quota: Option<u64>,
}

/// The assertion.
#[derive(Debug, Clone)]
pub struct AssertionSettings {
    /// The signing key, as its file or variable holds it.
    pub key: Secret,
    /// The header that carries it.
    pub header: HeaderName,
    /// Its `iss`.
    pub issuer: String,
}

/// An application.
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// Its name.
    pub name: String,
    /// Its servers; at least one.
    pub servers: Vec<Server>,
    /// How they are asked whether they are well.
    pub check: Option<Check>,
    /// When one that cannot be connected to is left out.
    pub eject: Eject,
    /// What is spoken to them.
    pub protocol: Protocol,
    /// Whether trailers go on.
    pub trailers: bool,
    /// With HTTP/2: how often a silent connection is asked for a sign of life, in milliseconds.
    pub ping_ms: i64,
    /// `host[:port]` of the first server as written; `localhost` for a socket of this machine.
    pub authority: String,
    /// The `aud` of its assertions.
    pub audience: String,
    /// The `Host` that it gets.
    pub host_header: HostHeader,
    /// Whether members too are asserted to it, and not staff alone.
    pub assert_members: bool,
    /// Idle connections kept on each core.
    pub idle: u64,
    /// Milliseconds that an idle connection is kept.
    pub idle_timeout_ms: i64,
    /// In milliseconds.
    pub connect_timeout_ms: i64,
    /// In milliseconds.
    pub response_timeout_ms: i64,
    /// Headers set on each request.
    pub headers: Vec<(HeaderName, Vec<Piece>)>,
    /// What becomes of paths on their way to it; proved for each of its routes.
    pub rewrite: Rewrite,
}

/// The `Host` that an application gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostHeader {
    /// The authority of its address.
    Upstream,
    /// What the client sent.
    Client,
    /// Always this.
    Fixed(String),
}

/// An issuer.
#[derive(Debug, Clone)]
pub struct IssuerSettings {
    /// Its short name.
    pub name: IssuerName,
    /// Its `iss`.
    pub issuer: String,
    /// Whom it speaks for.
    pub kind: SubjectKind,
    /// Accepted `aud`.
    pub audiences: Vec<String>,
    /// Registered names of the algorithms, each known and with a key that fits.
    pub algorithms: Vec<String>,
    /// Tokens without `typ` are taken too.
    pub untyped: bool,
    /// Of members: their roles stand in rows.
    pub rows: bool,
    /// A cookie that may carry its tokens.
    pub cookie: Option<String>,
    /// Accepted `typ`.
    pub types: Option<Vec<String>>,
    /// Its keys.
    pub keys: KeyText,
    /// In milliseconds.
    pub leeway_ms: i64,
    /// In milliseconds.
    pub max_lifetime_ms: i64,
    /// Where its claims stand; `None` is the usual place.
    pub claims: ClaimSettings,
}

/// Public keys, as text. Never printed: under `dangerous.hmac` they are secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyText {
    /// A JSON Web Key Set.
    Jwks(String),
    /// Exactly one public key in PEM.
    Pem(String),
    /// A JSON Web Key Set that is fetched.
    Fetched(KeyAddress),
}

/// From where and how a key set is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAddress {
    /// The address as written.
    pub url: String,
    /// The same, taken apart.
    pub server: Address,
    /// The longest time between two fetches, in milliseconds.
    pub refresh_ms: i64,
    /// How long the last good keys stay in use, in milliseconds.
    pub keep_ms: i64,
    /// The shortest time between two fetches that tokens ask for, in milliseconds.
    pub refetch_ms: i64,
    /// How long one fetch may take, in milliseconds.
    pub timeout_ms: i64,
}

impl std::fmt::Debug for KeyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeyText::Jwks(text) => write!(f, "Jwks({} bytes)", text.len()),
            KeyText::Pem(text) => write!(f, "Pem({} bytes)", text.len()),
            KeyText::Fetched(address) => write!(f, "Fetched({})", address.url),
        }
    }
}

/// Where claims stand; `None` is the usual place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimSettings {
    /// A member's tenant.
    pub tenant: Option<String>,
    /// A member's roles.
    pub roles: Option<String>,
    /// A staff person's address.
    pub email: Option<String>,
    /// Whether it is verified.
    pub email_verified: Option<String>,
    /// Who counts as support as a whole.
    pub support: SupportSettings,
    /// Who counts to which support organisation, as `act_as` says.
    pub organisations: Vec<(OrganisationName, SupportSettings)>,
}

/// Who counts as support as a whole, or to one support organisation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SupportSettings {
    /// Nobody.
    #[default]
    Nobody,
    /// All of the issuer's people.
    Everybody,
    /// Those with a claim.
    Claim {
        /// Where it stands.
        path: String,
        /// Any of these.
        values: Vec<String>,
    },
}

/// Tenants and environments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSettings {
    /// Where a tenant is named; all that name one must agree.
    pub from: Vec<TenantSource>,
    /// Where an environment is named; all that name one must agree.
    pub environment_from: Vec<EnvironmentSource>,
    /// All environments.
    pub environments: BTreeSet<EnvironmentId>,
    /// The environment of a request that names none.
    pub default_environment: EnvironmentId,
    /// Tenants that exist from the start, parents first.
    pub known: Vec<KnownTenant>,
}

/// Where a tenant is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantSource {
    /// A parameter of the path.
    Path(String),
    /// A header.
    Header(HeaderName),
    /// The host.
    Host(Vec<HostLabel>),
    /// The member's token.
    Claim,
    /// Always this one.
    Fixed(TenantId),
}

/// Where an environment is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvironmentSource {
    /// A parameter of the path.
    Path(String),
    /// A header.
    Header(HeaderName),
    /// The host.
    Host(Vec<HostLabel>),
    /// A claim of the token.
    Claim(String),
}

/// One label of a host pattern, between dots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostLabel {
    /// Itself, in lower case.
    Literal(String),
    /// The tenant.
    Tenant,
    /// The environment.
    Environment,
}

/// A tenant that exists from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTenant {
    /// Its identifier.
    pub id: TenantId,
    /// Its zone.
    pub zone: Zone,
    /// Its parent, which stands before it.
    pub parent: Option<TenantId>,
    /// Its environments.
    pub environments: BTreeSet<EnvironmentId>,
    /// The line where it was written.
    pub line: usize,
}

/// How the applications read paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathSettings {
    /// For a path by itself.
    pub rules: PathRules,
    /// For two paths that are nearly the same.
    pub table: TableRules,
}

/// One line of the route map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteEntry {
    /// Only for this host.
    pub host: Option<String>,
    /// The methods as written.
    pub methods: Vec<Method>,
    /// The template.
    pub template: Template,
    /// The number of its rule in the policy.
    pub rule: usize,
    /// The parameter that holds the resource's identifier.
    pub resource_parameter: Option<String>,
    /// Those that hold the identifiers of what it lies in, nearest first.
    pub within_parameters: Vec<String>,
    /// Its connections may become WebSockets.
    pub upgrade: bool,
    /// What becomes of CORS preflights.
    pub preflight: Preflight,
    /// Its own bounds.
    pub limits: RouteLimits,
    /// Where its application narrows: the parameters of the query by which it is asked to.
    pub query: Vec<(String, Vec<Piece>)>,
    /// The line where it was written.
    pub line: usize,
}

/// What becomes of CORS preflights for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Preflight {
    /// The gateway answers.
    Answer,
    /// The application answers; identity is removed.
    Forward,
    /// They are requests like any other.
    #[default]
    Refuse,
}

/// Bounds of one route; `None` leaves it to what holds for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteLimits {
    /// Bytes of a request's body.
    pub request_body: Option<u64>,
    /// Milliseconds that a body may stand still.
    pub body_idle_ms: Option<i64>,
    /// The fewest bytes a second of a request's body.
    pub body_rate: Option<u64>,
    /// Milliseconds until the head of an answer.
    pub response_timeout_ms: Option<i64>,
    /// Milliseconds that a tunnel may be silent.
    pub tunnel_idle_ms: Option<i64>,
    /// Milliseconds of the whole exchange.
    pub total_ms: Option<i64>,
}

/// Bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSettings {
    /// Bytes of a request's head.
    pub request_head: u64,
    /// Bytes of a request's target.
    pub target: u64,
    /// Header lines.
    pub headers: u64,
    /// Bytes of a token.
    pub token: u64,
    /// Milliseconds until a head is whole.
    pub header_timeout_ms: i64,
    /// Milliseconds that a body may stand still.
    pub body_idle_ms: i64,
    /// The fewest bytes a second of a request's body; 0 asks for none.
    pub body_rate: u64,
    /// Milliseconds until the next request of a connection.
    pub keep_alive_ms: i64,
    /// Bytes of a body that the support API takes.
    pub api_body: u64,
    /// Connections at a time.
    pub connections: u64,
    /// Requests of one address: in a second, and at once.
    pub address_rate: Option<(u64, u64)>,
    /// Requests of one subject: in a second, and at once.
    pub subject_rate: Option<(u64, u64)>,
    /// Milliseconds that running requests get at the end.
    pub drain_ms: i64,
    /// Milliseconds before that, in which it is only said that the end is near.
    pub shutdown_delay_ms: i64,
}
