//! What was written: a strict mirror of the file, key by key, each value with its place.
//!
//! Lives here: the shape of the file, its documentation (which goes into the published schema), sizes and durations.
//! Never here: defaults, references between keys, anything that needs a second key to judge (see [`super::resolve`]).

mod act_as;
mod creates;
mod decode;
mod emergency;
mod entrance;
mod field;
mod fleet;
mod granting;
mod narrow;
mod node;
mod people;
mod resources;
mod servers;
mod state;
mod tenant_roles;
mod traffic;
mod units;
mod veil;
mod webhooks;

use schemars::JsonSchema;
use serde::Deserialize;

pub use act_as::{ActAs, Organisation};
pub use creates::{CreatedId, Creates};
pub use emergency::{BreakGlass, EmergencyTokens, Person, Stops};
pub use entrance::{HopHeader, ProxyProtocol, TrustedHops};
pub use field::{At, Field, FirstOrAll, List, OneOrMany, Place, Table};
pub use fleet::Fleet;
pub use granting::{Gives, GrantTo, Grantable, MayGrant};
pub use narrow::{Filter, Narrow, Narrowing};
pub use people::{
    Approvals, Authorities, ByGrant, Ceiling, Claims, Consent, EnvironmentSource, Environments, Grants,
    Issuer, JsonText, Keys, KnownTenant, LevelStep, Members, OnLower, OnRemove, Opened, Push, Require, Role,
    RolesFrom, Service, Sessions, Staff, SubjectKind, Support, TenantSource, Tenants, Ticket, Unmapped,
};
pub use resources::{Joins, LookUp, OuterResource, ResourceKind};
pub use servers::{Eject, Health, Protocol, Trailers};
pub use state::{Redis, State};
pub use tenant_roles::TenantRoles;
pub use traffic::{
    Assert, Assertion, Cors, Dangerous, Delimiters, Effect, Http2, KeyFrom, Ledger, Limits, Log, Pass, Paths,
    Preflight, Resource, Route, RouteLimits, Serves, Tls, TlsCertificate, TlsVersion, Twins, Upgrade,
    Upstream,
};
pub use units::{Duration, Size, Term, TermOrNone, UnitFault};
pub use webhooks::{EventName, Webhook};

use super::fault::Faults;
use field::{AT, FIRST, FLAG, MANY, UNIT, WORD};

/// The whole configuration of one gateway.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(
    title = "Configuration of Postern",
    extend("required" = [
        "gateway", "listen", "state", "ledger", "assertion", "upstreams", "issuers", "tenants", "permissions",
        "roles", "consent", "routes",
    ])
)]
pub struct File {
    /// The name of this gateway: in every record, and the issuer (`iss`) of its assertions. `${NAME}` stands for a variable of the
    /// environment, here, in `ledger.origin`, in `fleet.address` and in every path, so that the gateways of a fleet share one file.
    pub gateway: Field<String>,
    /// Where the application's routes and the support API are served: address and port.
    pub listen: Field<String>,
    /// TLS on `listen`. Without it the gateway belongs behind something that speaks TLS.
    pub tls: Field<Tls>,
    /// Where HTTP/2 is spoken to clients. Default `offered`.
    pub http2: Field<Http2>,
    /// The PROXY protocol on `listen`. Default: nobody speaks it.
    pub proxy_protocol: Field<ProxyProtocol>,
    /// Hops in front of the gateway that are believed about a client's address: in records, rates, the access log and
    /// `staff.require.networks`. Default: the address of whoever connects counts, and no header.
    pub trusted_hops: Field<TrustedHops>,
    /// Where `/livez`, `/readyz` and `/metrics` are served. Default `127.0.0.1:9090`; keep it away from the public.
    pub operations: Field<String>,
    /// The prefix of the support API; no route may lie below it. Default `/_postern/`.
    pub prefix: Field<String>,
    /// How many cores serve requests. Default: all.
    pub workers: Field<u64>,
    /// The embedded store.
    pub state: Field<State>,
    /// The append-only log of who did what.
    pub ledger: Field<Ledger>,
    /// The other gateways on the same store: how they ask each other for what their ledgers hold. Default: nobody is asked.
    pub fleet: Field<Fleet>,
    /// The signed statement that the application gets with each request.
    pub assertion: Field<Assertion>,
    /// Headers that the application trusts. They are removed from every request before it is forwarded, also when
    /// they are spelt with `_` for `-`. Headers that the gateway sets itself are always removed.
    pub identity_headers: Field<List<String>>,
    /// The applications behind the gateway, by name.
    pub upstreams: Field<Table<Upstream>>,
    /// Whose tokens count.
    pub issuers: Field<List<Issuer>>,
    /// What is asked of the vendor's people beside a session.
    pub staff: Field<Staff>,
    /// Kill switches: who may use them beside the tenants.
    pub stops: Field<Stops>,
    /// Entry without anybody's consent, in an emergency. Without it there is none.
    pub break_glass: Field<BreakGlass>,
    /// What programs may push: tenants and their members.
    pub services: Field<List<Service>>,
    /// How a request names its tenant and environment, and which tenants there are from the start.
    pub tenants: Field<Tenants>,
    /// The closed list of permissions, `resource_type:action`. A permission that is named anywhere and not listed here
    /// is an error. `support:read` and `support:manage` are built in.
    pub permissions: Field<List<String>>,
    /// What lies below tenants and has members of its own, by type. Default: nothing.
    pub resource_types: Field<Table<ResourceKind>>,
    /// Sets of permissions, by name.
    pub roles: Field<Table<Role>>,
    /// What tenants may do about roles. Default: nothing but adjusting those that are `adjustable`.
    pub tenant_roles: Field<TenantRoles>,
    /// What staff may never do, at any consent level and by any grant: permissions or patterns, in a list of its own or as
    /// `deny` beside `open`. By default it holds what would outlive a session: writing credentials, keys, tokens, webhooks,
    /// users, schedules. Whatever administers support access itself (`support:*`) is always out of their reach.
    pub ceiling: Field<FirstOrAll<Ceiling>>,
    /// The ladder of levels that a tenant chooses from.
    pub consent: Field<Consent>,
    /// How long support sessions last.
    pub sessions: Field<Sessions>,
    /// How long grants may stand.
    pub grants: Field<Grants>,
    /// Login access: who may be let act as a person of a tenant, and for how long. Without it nobody.
    pub act_as: Field<ActAs>,
    /// How long requests of agents live where a tenant approves each session.
    pub approvals: Field<Approvals>,
    /// The tenants' own people.
    pub members: Field<Members>,
    /// How the applications read paths.
    pub paths: Field<Paths>,
    /// The route map. What is not in it is refused to staff.
    pub routes: Field<List<Route>>,
    /// How CORS preflights are answered. What it does not declare, a browser on another origin may not ask.
    pub cors: Field<Cors>,
    /// Who is told of entries, ends and break-glass without having to look.
    pub webhooks: Field<List<Webhook>>,
    /// What is told of requests, and the trace context that they carry on.
    pub log: Field<Log>,
    /// Bounds on what one request may cost.
    pub limits: Field<Limits>,
    /// What local play needs and production must not have. Only with both listeners on loopback.
    pub dangerous: Field<Dangerous>,
}

/// Reads a text into the mirror. Faults are noted; `None` when nothing can be said about the whole.
pub(super) fn read(text: &str, faults: &Faults, byte: impl Fn(usize, usize) -> usize) -> Option<File> {
    let node = node::parse(text, faults, byte)?;
    faults.veil(veil::veil(&node));
    File::deserialize(decode::Decoder { node: &node, text, faults, of_key: false }).ok()
}
