//! What the configuration says about issuers: the settings of this room, as plain values.
//!
//! Never here: parsing of the configuration, fetching of keys.

use std::fmt;

use super::{algorithm::Algorithm, json::ClaimPath};
use crate::model::{IssuerName, OrganisationName, SubjectKind};

/// The `typ` of the assertions that this gateway makes for applications; never taken as a token (rule 14).
pub const ASSERTION_TYPE: &str = "postern-assertion+jwt";

/// The `typ` of emergency tokens; none is ever taken as an access token, whatever an issuer's types are (rule 18).
pub const EMERGENCY_TYPE: &str = "postern-emergency+jwt";

/// The largest leeway that an issuer may be given, in milliseconds.
pub const MAX_LEEWAY_MS: i64 = 60_000;

/// Bounds on what is read before anything is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest token, in bytes.
    pub max_token_bytes: usize,
    /// How deep header and claims may nest, themselves included.
    pub max_depth: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_token_bytes: 8 * 1024, max_depth: 16 }
    }
}

/// One issuer: whose tokens they are, what they look like, and which keys sign them.
#[derive(Debug, Clone)]
pub struct IssuerOptions {
    /// Its short name, the first half of a subject's name.
    pub name: IssuerName,
    /// Its `iss`, compared byte by byte.
    pub issuer: String,
    /// The one kind of subject that it makes (rule 1).
    pub kind: SubjectKind,
    /// A token must name one of these in `aud`.
    pub audiences: Vec<String>,
    /// The algorithms that its tokens may use.
    pub algorithms: Vec<Algorithm>,
    /// Which `typ` its tokens may have.
    pub types: TypeRule,
    /// Its keys.
    pub keys: KeySource,
    /// How far its clock may differ from the gateway's, in milliseconds; at most [`MAX_LEEWAY_MS`].
    pub leeway_ms: i64,
    /// The longest time between `iat` and `exp`, in milliseconds. Where it is set, tokens need an `iat`.
    pub max_lifetime_ms: Option<i64>,
    /// A cookie that may carry its tokens, beside the header. Members only: a browser sends it unasked.
    pub cookie: Option<String>,
    /// Where its claims stand.
    pub claims: ClaimMap,
    /// Takes HMAC algorithms and `oct` keys: whoever can verify can then also sign.
    pub dangerous_hmac: bool,
}

impl IssuerOptions {
    /// An issuer with the defaults: 5 s leeway, tokens of a day at most, the usual types and claims, no HMAC.
    pub fn new(name: IssuerName, issuer: &str, kind: SubjectKind, audience: &str, keys: KeySource) -> Self {
        Self {
            name,
            issuer: issuer.to_owned(),
            kind,
            audiences: vec![audience.to_owned()],
            algorithms: vec![Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa],
            types: TypeRule::default(),
            keys,
            leeway_ms: 5_000,
            max_lifetime_ms: Some(24 * 3_600_000),
            cookie: None,
            claims: ClaimMap::default(),
            dangerous_hmac: false,
        }
    }
}

/// Which `typ` a token may have.
///
/// By default `at+jwt` (RFC 9068) and `JWT`, which most issuers still send. A token without any is refused unless
/// `absent` is set: RFC 8725 section 3.11 asks for explicit types so that a token of one use cannot pass for another,
/// and an issuer that sends none should be a decision that somebody made, not one that nobody noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeRule {
    /// Compared without regard to case and to a leading `application/`.
    pub accepted: Vec<String>,
    /// Whether a token without `typ` passes.
    pub absent: bool,
}

impl Default for TypeRule {
    fn default() -> Self {
        Self { accepted: vec!["at+jwt".to_owned(), "JWT".to_owned()], absent: false }
    }
}

/// Where keys come from.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A JSON web key set, as text.
    Jwks(String),
    /// Public keys in PEM.
    Pem(Vec<PemKey>),
    /// A key set that somebody fetches from this address and hands over by [`super::Verifier::with_keys`]. Until then,
    /// and once it is too old, the issuer's tokens cannot be judged.
    Fetched(KeyOrigin),
}

/// From where a key set is fetched. Keys of one origin are never taken for those of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOrigin {
    /// The address.
    pub url: String,
    /// The certificates of the authorities that vouch for it, in PEM; `None` are the system's. Whoever lets go of an
    /// authority believes nothing that was fetched under it.
    pub authorities: Option<String>,
}

/// Never prints the keys: under `dangerous_hmac` they are secrets.
impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jwks(text) => write!(f, "Jwks({} bytes)", text.len()),
            Self::Pem(keys) => write!(f, "Pem({} keys)", keys.len()),
            Self::Fetched(origin) => write!(f, "Fetched({})", origin.url),
        }
    }
}

/// A public key in PEM, with the name that tokens call it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemKey {
    /// The `kid` of tokens signed by it; without one the key serves whatever fits it alone.
    pub kid: Option<String>,
    /// One block `PUBLIC KEY`.
    pub pem: String,
}

/// Where claims stand in an issuer's tokens. `iss`, `sub`, `aud`, `exp`, `nbf`, `iat` and `act` have fixed places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimMap {
    /// A member's tenant. Needed for issuers of members, unused for staff.
    pub tenant: Option<ClaimPath>,
    /// The environment that a token is for.
    pub environment: Option<ClaimPath>,
    /// A member's roles: a text or a list of texts. Unused for staff.
    pub roles: Option<ClaimPath>,
    /// A staff subject's address. Unused for members (rule 1).
    pub email: Option<ClaimPath>,
    /// Whether the issuer verified that address: counts only where it is `true`.
    pub email_verified: Option<ClaimPath>,
    /// The ticket that a staff token names. Unused for members.
    pub ticket: Option<ClaimPath>,
    /// Which staff count as support as a whole.
    pub support: SupportRule,
    /// Which staff count to which support organisation, by the same kind of rule.
    pub organisations: Vec<(OrganisationName, SupportRule)>,
}

impl Default for ClaimMap {
    fn default() -> Self {
        let path = |name: &str| ClaimPath::parse(name).ok();
        Self {
            tenant: path("tenant"),
            environment: None,
            roles: path("roles"),
            email: path("email"),
            email_verified: path("email_verified"),
            ticket: None,
            support: SupportRule::Nobody,
            organisations: Vec::new(),
        }
    }
}

/// Which staff subjects of an issuer count as support as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SupportRule {
    /// None: grants to support as a whole reach nobody here.
    Nobody,
    /// All of them.
    Everybody,
    /// Those whose claim is, or as a list holds, one of the values; `true` and `false` match as texts.
    Claim {
        /// Where the claim stands.
        path: ClaimPath,
        /// Any of these.
        values: Vec<String>,
    },
}
