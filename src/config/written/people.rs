//! The mirror of what concerns people: issuers, tenants, roles, consent.
//!
//! Never here: defaults and references; [`crate::config::resolve`] has them.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use super::{
    Duration, Field, Gives, GrantTo, Grantable, Joins, List, MayGrant, OneOrMany, Table, Term, TermOrNone,
    traffic::Effect,
};

/// Whose tokens count, what they look like, and which keys sign them.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["name", "issuer", "kind", "audience", "algorithms", "keys"]))]
pub struct Issuer {
    /// Its short name: the first half of a subject's name in records.
    pub name: Field<String>,
    /// The `iss` of its tokens, compared byte by byte.
    pub issuer: Field<String>,
    /// Whom it speaks for. One issuer makes one kind.
    pub kind: Field<SubjectKind>,
    /// A token must be meant for one of these (`aud`).
    pub audience: Field<OneOrMany<String>>,
    /// The algorithms that its tokens may use; nothing else is tried.
    pub algorithms: Field<OneOrMany<String>>,
    /// Its public keys.
    pub keys: Field<Keys>,
    /// How far its clock may be off; at most `60s`. Default `5s`.
    pub leeway: Field<Duration>,
    /// The longest life of a token, from `iat` to `exp`. Default `1d`.
    pub max_lifetime: Field<Duration>,
    /// The `typ` that a token may have. Default `at+jwt` and `JWT`.
    pub types: Field<OneOrMany<String>>,
    /// Takes tokens without `typ` too. Default `false`: a signed text of another use could else pass for a token.
    pub untyped: Field<bool>,
    /// A cookie that may carry its tokens, beside `Authorization`. For members only; the support API takes none.
    pub cookie: Field<String>,
    /// Of members: where their roles stand. Default `claims`.
    pub roles: Field<RolesFrom>,
    /// Where its claims stand.
    pub claims: Field<Claims>,
}

/// Where members' roles stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolesFrom {
    /// In their tokens.
    Claims,
    /// In rows below their tenants, which services push. What a token says of roles is not looked at; whoever has no row
    /// may do nothing.
    Rows,
}

/// Whom an issuer speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// The vendor's people.
    Staff,
    /// The tenants' people.
    Member,
    /// Programs: the application itself, or what provisions it. They pass no route.
    Service,
}

/// Where public keys come from: exactly one of `file`, `inline` and `url`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("oneOf" = [{ "required": ["file"] }, { "required": ["inline"] }, { "required": ["url"] }]))]
pub struct Keys {
    /// A file: a JSON Web Key Set, or one public key in PEM.
    pub file: Field<String>,
    /// A JSON Web Key Set, written here.
    pub inline: Field<JsonText>,
    /// Where the issuer publishes its JSON Web Key Set: `https://id.example/keys`. Fetched at the start and then again
    /// and again; no redirect is followed, and no address that a token names is ever asked.
    pub url: Field<String>,
    /// Of `url`: who vouches for its certificate. Default: the authorities that the system trusts.
    pub ca: Field<Authorities>,
    /// Of `url`: the longest time between two fetches; a shorter `max-age` of the answer shortens it, not below `30s`.
    /// Default `15m`.
    pub refresh: Field<Duration>,
    /// Of `url`: how long the last good keys stay in use while nothing better comes. After that the issuer's tokens are
    /// refused with 503 `keys_unavailable`. Default `1d`.
    pub keep: Field<Duration>,
    /// Of `url`: when tokens come that the keys at hand do not fit, they are fetched again, at most this often.
    /// Default `10s`.
    pub refetch: Field<Duration>,
    /// Of `url`: how long one fetch may take in all. Default `5s`.
    pub timeout: Field<Duration>,
}

/// Who vouches for the certificate of a server.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["file"]))]
pub struct Authorities {
    /// A file with one or more certificates of authorities in PEM; the system's own are not trusted then.
    pub file: Field<String>,
}

/// Any JSON, as text.
#[derive(Clone, PartialEq, Eq)]
pub struct JsonText(pub String);

/// It may hold a secret.
impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonText({} bytes)", self.0.len())
    }
}

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(|value| JsonText(value.to_string()))
    }
}

impl JsonSchema for JsonText {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "JsonWebKeySet".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "required": ["keys"], "properties": { "keys": { "type": "array" } } })
    }
}

/// Where claims stand in tokens: `realm_access.roles`, or a JSON pointer where names hold dots.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Claims {
    /// A member's tenant. Default `tenant`.
    pub tenant: Field<String>,
    /// A member's or service's roles: a text or a list of texts. Default `roles`.
    pub roles: Field<String>,
    /// A person's address: a staff person's finds grants for it, a member's finds that they are staff too. Default
    /// `email`.
    pub email: Field<String>,
    /// Whether the issuer verified that address. Default `email_verified`.
    pub email_verified: Field<String>,
    /// Which staff count as support as a whole. Default: nobody.
    pub support: Field<Support>,
}

/// Which staff count as support as a whole: `everybody`, or those with a claim.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Support {
    /// All of this issuer's people.
    pub everybody: Field<bool>,
    /// Those whose claim here is, or as a list holds, …
    pub claim: Field<String>,
    /// … one of these.
    pub any: Field<OneOrMany<String>>,
}

/// What is asked of the vendor's people beside a session.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Staff {
    /// What each request of theirs must meet, calls to the support API included; leaving a session takes none of it.
    pub require: Field<Require>,
}

/// What some programs may push. Nothing else is open to them but what the map opens to everybody.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend(
    "required" = ["issuer", "may"],
    "oneOf" = [{ "required": ["subjects"] }, { "required": ["roles"] }]
))]
pub struct Service {
    /// The issuer of their tokens, of kind `service`, by its name.
    pub issuer: Field<String>,
    /// Which subjects, by the `sub` of their tokens; or …
    pub subjects: Field<OneOrMany<String>>,
    /// … those whose token names one of these roles, where the issuer's `claims.roles` says.
    pub roles: Field<OneOrMany<String>>,
    /// What they may.
    pub may: Field<OneOrMany<Push>>,
    /// In which tenants only. Default: all, those included that are not known yet.
    pub tenants: Field<OneOrMany<String>>,
}

/// What a program may push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Push {
    /// Tenants: parent, zone, environments and plan; and their removal. Not those of `tenants.known`.
    #[serde(rename = "tenants:push")]
    Tenants,
    /// Tenants' members: roles, and that they are suspended or gone.
    #[serde(rename = "members:push")]
    Members,
    /// Resources below tenants (`resource_types`): what they lie in, who made them, to whom they are assigned; and their
    /// members.
    #[serde(rename = "resources:push")]
    Resources,
}

/// Conditions on staff. What a token does not say counts as not met.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Require {
    /// The class of their sign-in (`acr`) must be one of these; named to them in this order when it is not.
    pub acr: Field<OneOrMany<String>>,
    /// All of these methods must have been used to sign in (`amr`), e.g. `mfa`.
    pub amr: Field<OneOrMany<String>>,
    /// How long ago they may have signed in (`auth_time`). It bounds what begins, not what runs.
    pub max_auth_age: Field<Duration>,
    /// The networks that they may come from, e.g. `10.1.0.0/16` or `2001:db8::/32`: of whoever connects, or of
    /// whom `proxy_protocol` and `trusted_hops` name.
    pub networks: Field<OneOrMany<String>>,
    /// The ticket that they must name.
    pub ticket: Field<Ticket>,
}

/// A ticket that staff must name: when they start a session, or where `header` or `claim` says, with each request.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["pattern"]))]
pub struct Ticket {
    /// What a ticket looks like, as a whole: letters, digits and `-_.:/#` stand for themselves, `[A-Z0-9]` for one of
    /// these, `{2,5}` behind either for how often. Example: `[A-Z]{2,5}-[0-9]{1,8}`.
    pub pattern: Field<String>,
    /// A header of each request that names it.
    pub header: Field<String>,
    /// A claim of the token that names it.
    pub claim: Field<String>,
}

/// How a request names its tenant and environment, and which tenants there are from the start.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["from"]))]
pub struct Tenants {
    /// Where the tenant is named. Several sources must agree.
    pub from: Field<OneOrMany<TenantSource>>,
    /// The environments of tenants. Default: `production` alone.
    pub environments: Field<Environments>,
    /// Tenants that exist from the start; parents before their children.
    pub known: Field<List<KnownTenant>>,
}

/// One place where a tenant is named: exactly one key.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct TenantSource {
    /// A parameter of the route's path.
    pub path: Field<String>,
    /// A request header.
    pub header: Field<String>,
    /// A label of the host: `{tenant}.app.example`.
    pub host: Field<String>,
    /// The tenant claim of the member's token.
    pub claim: Field<bool>,
    /// Always this one.
    pub fixed: Field<String>,
}

/// The environments of tenants.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Environments {
    /// Where a request names its environment. Several sources must agree; named nowhere, it is the default.
    pub from: Field<OneOrMany<EnvironmentSource>>,
    /// All environments that there are. Default: the default alone.
    pub known: Field<List<String>>,
    /// The environment of a request that names none. Default `production`.
    pub default: Field<String>,
}

/// One place where an environment is named: exactly one key.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct EnvironmentSource {
    /// A parameter of the route's path.
    pub path: Field<String>,
    /// A request header.
    pub header: Field<String>,
    /// A label of the host: `{environment}.app.example`.
    pub host: Field<String>,
    /// A claim of the caller's token.
    pub claim: Field<String>,
}

/// A tenant that exists from the start. It is registered once: what is changed here later has no effect on it and is
/// logged as an error at each start, and one that is taken out of the list stays.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id"]))]
pub struct KnownTenant {
    /// Its identifier, as requests and tokens name it.
    pub id: Field<String>,
    /// Its time zone, an IANA name. Default `UTC`.
    pub zone: Field<String>,
    /// Its parent, listed before it.
    pub parent: Field<String>,
    /// Its environments. Default: all that are known.
    pub environments: Field<List<String>>,
}

/// A set of permissions.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["allow"]))]
pub struct Role {
    /// Permissions or patterns: `orders:read`, `orders:*`, `*:read`, `*:*`.
    pub allow: Field<OneOrMany<String>>,
    /// What of these it does not have.
    pub except: Field<OneOrMany<String>>,
    /// Whether a tenant may say for itself what it holds there. Not for the roles of consent levels and break-glass. Default
    /// `false`: it is the same for all tenants.
    pub adjustable: Field<bool>,
    /// The type of resources at which it is held (`resource_types`), in rows of their members and never in a token or a row of the
    /// tenant's. It holds there and for whatever lies in such a resource. Default: it is held in the tenant.
    pub at: Field<String>,
    /// Of a role at resources: what it may do beside that with a resource that its holder made.
    pub own: Field<OneOrMany<String>>,
    /// Of a role at resources: what it may do beside that with a resource that is assigned to its holder.
    pub assigned: Field<OneOrMany<String>>,
    /// Of a role at resources: the type of the resources that `own` and `assigned` speak of, this one or one that lies in it. They
    /// count where such a resource is acted on itself, and in lists that are narrowed. Default: the types in which nothing
    /// lies, since whoever made a list did not make what is in it.
    pub of: Field<String>,
    /// Of a role at resources: no member takes it from the last one who holds it there. Default `false`.
    pub keep_one: Field<bool>,
    /// The plans by which it is handed out, as services push them. In another one, an unknown one or none nobody is given it;
    /// whoever holds it keeps it as it is. Where roles stand in tokens, whoever makes those hands it out. Default: it is handed
    /// out by any, and without one.
    pub plans: Field<OneOrMany<String>>,
    /// Of a role in the tenant: of which resources whoever holds it may be a member: `false` is none, a list those of these types,
    /// `[form]`. Of several roles each counts. Default `true`: all.
    pub joins: Field<Joins>,
    /// Of a role in the tenant: whether whoever holds it takes a paid seat, by the rows that services push. Default `false`.
    pub seat: Field<bool>,
}

/// What staff may never do.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename = "$first", deny_unknown_fields, default)]
#[schemars(rename = "Ceiling")]
pub struct Ceiling {
    /// Permissions or patterns, beside what is closed by default.
    pub deny: Field<List<String>>,
    /// What of that which is closed by default is open here, each with the reason. `postern check` prints what is closed.
    pub open: Field<List<Opened>>,
}

/// A permission that would be closed to staff by default.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["permission", "because"]))]
pub struct Opened {
    /// Which, by its name.
    pub permission: Field<String>,
    /// Why staff may make what outlives their session: for whoever reads this file, and for `postern check`.
    pub because: Field<String>,
}

/// The ladder of consent levels.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["levels"]))]
pub struct Consent {
    /// The levels, lowest first. The lowest has no role: nobody enters by consent. Each higher one allows at least
    /// what the one below does.
    pub levels: Field<List<LevelStep>>,
    /// The level that a tenant gets when it is registered, and keeps until it chooses another: what is changed here
    /// later concerns tenants registered after it. Default `read_only`.
    pub default: Field<String>,
    /// When a lowered level reaches running sessions. Default `immediate`.
    pub on_lower: Field<OnLower>,
}

/// One step of the ladder.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["level"]))]
pub struct LevelStep {
    /// Its name, as tenants choose it.
    pub level: Field<String>,
    /// Further names under which tenants may choose it. It is stored and shown by its own.
    pub also: Field<OneOrMany<String>>,
    /// The role that support gets at this level.
    pub role: Field<String>,
    /// `read`: the configuration is refused where this level reaches a route that writes. Default `read` for a level
    /// that is called `read_only`, else `write`.
    pub effect: Field<Effect>,
}

/// When a lowered level reaches running sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLower {
    /// At once: they are cut down to it, or ended.
    Immediate,
    /// It governs sessions that start afterwards.
    Future,
}

/// How long support sessions last.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sessions {
    /// A session ends so long after its start. Default `8h`; `5 calendar days` are days of the tenant's own calendar.
    pub last: Field<Term>,
    /// How long one exchange of staff runs at most. Default `1h`.
    pub max_exchange: Field<Duration>,
    /// How long a session by a grant may last. Default `last`.
    pub by_grant: Field<ByGrant>,
    /// What it means that an administrator of the tenant removes somebody. Default `end`.
    pub on_remove: Field<OnRemove>,
}

/// How long a session by a grant may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ByGrant {
    /// As long as any other: `sessions.last`; then a new one has to be started, by the same grant.
    Last,
    /// As long as its grant stands, however its expiry is moved.
    Grant,
}

/// What it means that an administrator of the tenant removes somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnRemove {
    /// Their session ends. They may start another, by what is consented to then.
    End,
    /// All their sessions in that tenant end, and they start none there until an administrator of it lifts that.
    Bar,
}

/// How long grants may stand.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// How far ahead a grant may end. Default `180d`; with `none`, any date.
    pub longest: Field<TermOrNone>,
    /// Where roles stand in tokens: how long after the giver's last token a grant goes on giving what that token said they
    /// may do. After that it gives nothing until they are seen again. Default `24h`.
    pub grantor_memory: Field<Duration>,
    /// How long a grant should stand, told to whoever gives one.
    pub suggested: Field<Term>,
    /// To whom grants can be given. Default: to support as a whole, and to single people.
    pub to: Field<OneOrMany<GrantTo>>,
    /// Which roles can be given, over a whole environment and at named resources. Default: any that its giver holds.
    pub give: Field<Gives>,
    /// The plans of tenants that include support access; another plan, or none, does not. A tenant that falls to such a plan
    /// ends what it had granted, for good. Default: all, and without one.
    pub plans: Field<OneOrMany<String>>,
    /// The environments that can be granted. One that can be no longer, by others that came or went, ends what was granted
    /// there, for good. Default: all.
    pub environments: Field<Grantable>,
    /// Who may give grants without administering support access, by the roles that they hold: over named resources only, and
    /// bounded by what they can do themselves at each instant. Default: nobody.
    pub by_role: Field<Table<MayGrant>>,
}

/// How long requests of agents live where a tenant approves each session.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Approvals {
    /// One that nobody answers. Default `12h`.
    pub unanswered: Field<Duration>,
    /// One that was approved, until its session starts. Default `15m`.
    pub usable: Field<Duration>,
}

/// The tenants' own people.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Members {
    /// What happens to their requests where the map is silent. Default `refuse`.
    pub unmapped: Field<Unmapped>,
    /// Which upstream answers those. May be left out where there is only one.
    pub upstream: Field<String>,
}

/// What happens to members' requests where the map is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unmapped {
    /// Refused.
    Refuse,
    /// Forwarded, with whatever credentials they bring. What such a path says about a tenant is not compared with the
    /// token: that is the application's then.
    Allow,
}
