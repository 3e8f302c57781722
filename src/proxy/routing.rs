//! The map as the data plane uses it: which rule owns a request, where its tenant, environment and resource stand, and
//! to which upstream it goes. Immutable; a reload makes another one.

use std::{sync::Arc, time::Duration};

use crate::{
    identity::EmergencyVerifier,
    model::Network,
    net::{
        Destination,
        servers::{Check, Protocol},
        tls::ToUpstream,
    },
    policy::{
        Policy, Rule,
        path::PathRules,
        routes::{Rewrite, RouteTable},
    },
};

use super::{
    access::Wanted,
    assertion::Asserter,
    health::Health,
    hops::Hops,
    preflight::{Cors, Preflight},
    rate::Rate,
    wire::{KnownSet, Limits, NameSet},
};

/// Where a request's tenant is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A parameter of the path, bound per rule.
    Path,
    /// A header, by its lower-case name.
    Header(String),
    /// A label of the host.
    Host(Vec<Label>),
    /// The token's claim.
    Claim,
    /// Always this one.
    Fixed(String),
}

/// One label of a host pattern, between dots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// This one, in lower case.
    Literal(String),
    /// The tenant.
    Tenant,
    /// The environment.
    Environment,
}

/// What one route of the table means here; same number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The rule of the policy.
    pub rule: usize,
    /// The numbers of the path's parameters that name the tenant; all must name the same one.
    pub tenant: Vec<usize>,
    /// … the environment.
    pub environment: Vec<usize>,
    /// … the resource.
    pub resource: Option<usize>,
    /// … those that it lies in, in the order of the rule's types.
    pub within: Vec<usize>,
    /// The upstream, by its place in [`Routing::upstreams`].
    pub upstream: usize,
    /// Its connections may become WebSockets.
    pub upgrade: bool,
    /// What becomes of preflights.
    pub preflight: Preflight,
    /// Bounds of this route alone.
    pub bounds: Bounds,
    /// Where its application narrows: the parameters of the query by which it is asked to.
    pub query: Vec<Parameter>,
}

/// Bounds of one route; `None` leaves it to what holds for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Bytes of a request's body.
    pub request_body: Option<u64>,
    /// How long a body may stand still.
    pub body_idle: Option<Duration>,
    /// The fewest bytes a second of a request's body, where that is asked for.
    pub body_rate: Option<u64>,
    /// How long to wait for the head of an answer.
    pub response_timeout: Option<Duration>,
    /// How long a tunnel may be silent in both directions.
    pub tunnel_idle: Option<Duration>,
    /// How long the whole exchange may take.
    pub total: Option<Duration>,
}

/// Who is asserted to the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assert {
    /// Staff only; members bring their own tokens.
    Staff,
    /// Everybody.
    All,
}

/// A header that is set for the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderTemplate {
    /// Its name.
    pub name: String,
    /// Its value, in pieces.
    pub pieces: Vec<Piece>,
}

/// A parameter that is written into the query, by which the application is asked to narrow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its value, in pieces.
    pub pieces: Vec<Piece>,
}

/// A piece of a header's value, or of a parameter's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// The subject's `sub`.
    Subject,
    /// The tenant.
    Tenant,
    /// The environment.
    Environment,
    /// The role: of a session; of members all of theirs, separated by commas.
    Role,
    /// `staff` or `member`.
    Kind,
    /// The session, empty for members.
    Session,
    /// Who acts as the subject, empty where nobody does.
    Actor,
    /// The client's address.
    Client,
}

/// One server of an application.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its address, as it is told of.
    pub name: Arc<str>,
    /// What its connections are kept under: two that differ in it share none.
    pub key: String,
    /// Where it is.
    pub place: Destination,
    /// TLS to it, and the name that its certificate must bear.
    pub tls: Option<ToUpstream>,
    /// Whether it is well; one for all cores.
    pub health: Arc<Health>,
}

/// An application.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its name in the configuration.
    pub name: String,
    /// Its servers: at least one, at most 64. All are sent the same.
    pub servers: Vec<Server>,
    /// How they are asked whether they are well.
    pub check: Option<Check>,
    /// What is spoken to them.
    pub protocol: Protocol,
    /// Trailers go on, as far as they may.
    pub trailers: bool,
    /// How often a silent connection of HTTP/2 is asked for a sign of life.
    pub ping: Duration,
    /// The Host to send where neither `host` nor the client names one.
    pub authority: String,
    /// The Host to send, where it is not the client's.
    pub host: Option<String>,
    /// The `aud` of assertions.
    pub audience: String,
    /// Who is asserted.
    pub assert: Assert,
    /// Headers that are set.
    pub headers: Vec<HeaderTemplate>,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long to wait for the head of an answer. Between two pieces of its body there is no bound, since streams may
    /// be silent: there the client is watched for its end.
    pub response_timeout: Duration,
    /// Idle connections kept on each core.
    pub idle: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// What becomes of paths on their way to it.
    pub rewrite: Rewrite,
}

/// From where connections come, and who is believed about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entrance {
    /// Who says by the PROXY protocol whose connection it is, and has to.
    pub proxied: Vec<Network>,
    /// Who says by a header from where a request comes.
    pub hops: Option<Hops>,
}

/// See the module's header.
#[derive(Debug)]
pub struct Routing {
    /// The rules.
    pub policy: Arc<Policy>,
    /// Signs assertions. Here, beside the names that are removed from requests: its header is one of them, and a request
    /// that saw the one without the other could bring a header of its own making.
    pub asserter: Asserter,
    /// Verifies emergency tokens, where any are taken.
    pub emergency: Option<EmergencyVerifier>,
    /// How often one address may ask, where that is bounded. Counted anew after a reload.
    pub address_rate: Option<Rate>,
    /// How often one subject may ask the application, where that is bounded.
    pub subject_rate: Option<Rate>,
    /// From where connections come.
    pub entrance: Entrance,
    /// Lines and traces that are wanted.
    pub log: Wanted,
    /// Client connections at most, over all cores.
    pub most_connections: i64,
    /// Which rule owns which request.
    pub table: RouteTable,
    /// What each route means here.
    pub bindings: Vec<Binding>,
    /// Some route may become a WebSocket.
    pub upgrades: bool,
    /// Where the tenant is named; all that name one must agree.
    pub tenant: Vec<Source>,
    /// Where the environment is named; all that name one must agree.
    pub environment: Vec<Source>,
    /// The environment of a request that names none.
    pub default_environment: String,
    /// How paths are read.
    pub paths: PathRules,
    /// The applications.
    pub upstreams: Vec<Upstream>,
    /// How preflights are answered.
    pub cors: Cors,
    /// What a preflight that the application answers is decided by: open to everybody, nobody named.
    pub preflight: Rule,
    /// Where members go when the map is silent.
    pub unmapped_upstream: Option<usize>,
    /// The reserved prefix, with both slashes.
    pub prefix: String,
    /// Names that no client may send: what templates set, the assertion's header, and what the configuration lists.
    pub stripped: NameSet,
    /// HTTP/2 is what is spoken in clear.
    pub http2_in_clear: bool,
    /// Bounds of a head.
    pub limits: Limits,
    /// How long a peer may take for a head.
    pub header_timeout: Duration,
    /// How long a peer may pause within a body.
    pub body_timeout: Duration,
    /// The fewest bytes a second at which a body may come; 0 asks for none.
    pub body_rate: u64,
    /// How long a connection may idle between requests.
    pub keep_alive: Duration,
    /// The largest body that the support API takes.
    pub api_body: usize,
}

impl Routing {
    /// Takes over what is known of the servers that are the same in both maps.
    #[must_use]
    pub fn adopting(mut self, before: &Routing) -> Routing {
        for upstream in &mut self.upstreams {
            let Some(same) = before.upstreams.iter().find(|one| one.name == upstream.name) else { continue };
            if same.check != upstream.check {
                continue;
            }
            for server in &mut upstream.servers {
                let known = same.servers.iter().find(|one| one.name == server.name);
                if let Some(known) = known.filter(|known| known.health.is_judged_like(&server.health)) {
                    server.health = Arc::clone(&known.health);
                }
            }
        }
        self
    }

    /// Known headers that never reach an application, by whether whoever asks is treated as staff (rule 13).
    pub fn dropped(&self, as_staff: bool) -> KnownSet {
        use super::wire::Known;
        match as_staff {
            true => KnownSet::of(&[Known::Authorization, Known::Cookie, Known::Expect]),
            false => KnownSet::of(&[Known::Expect]),
        }
    }
}
