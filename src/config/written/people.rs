//! The mirror of what concerns people: issuers, tenants, roles, consent.
//!
//! Never here: defaults and references; [`crate::config::resolve`] has them.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use super::{Duration, Field, List, OneOrMany, Term, TermOrNone, traffic::Effect};

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
    /// Where its claims stand.
    pub claims: Field<Claims>,
}

/// Whom an issuer speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// The vendor's people.
    Staff,
    /// The tenants' people.
    Member,
}

/// Where public keys come from: exactly one of the two.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Keys {
    /// A file: a JSON Web Key Set, or one public key in PEM.
    pub file: Field<String>,
    /// A JSON Web Key Set, written here.
    pub inline: Field<JsonText>,
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
    /// A member's roles: a text or a list of texts. Default `roles`.
    pub roles: Field<String>,
    /// A staff person's address. Default `email`.
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
}

/// How long grants may stand.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// How far ahead a grant may end. Default `180d`; with `none`, any date.
    pub longest: Field<TermOrNone>,
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
