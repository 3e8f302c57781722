//! Whom the application believes: the signed assertion in the header `Postern-Assertion`, and nothing else.
//!
//! An assertion is a compact JWS (ES256 or EdDSA) made by the gateway for one request: it names the application as
//! `aud`, the method and the path, and lives half a minute (rule 14 of the design). A request without one, or with
//! one that fails any check, came around the gateway and gets 401. No permission is worked out here.

use http::request::Parts;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::{Deserialize, Serialize};

use super::Clock;

/// The header that carries the assertion.
pub const HEADER: &str = "postern-assertion";
/// The `typ` that marks a JWS as an assertion and not as any other token.
pub const TYP: &str = "postern-assertion+jwt";
/// How long an assertion may live, in seconds.
pub const LIFE_S: i64 = 30;
/// How far the gateway's clock may be ahead of this one, in seconds.
const AHEAD_S: i64 = 5;

/// Who the application believes is calling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Who {
    /// `staff`, `member`, or another kind that the gateway names.
    pub kind: String,
    /// The subject whose eyes the application looks through.
    pub sub: String,
    /// The staff person who acts, where that is someone else than `sub`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<Actor>,
    /// The tenant that the request belongs to.
    pub tenant: String,
    /// The tenant's environment, `production` or `sandbox`.
    pub env: String,
    /// The role that the gateway admitted the caller with.
    pub role: Option<String>,
    /// The support session, for staff.
    pub session: Option<String>,
    /// The assertion's own number.
    pub jti: String,
}

/// The person behind a request that is made as somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The acting person's subject.
    pub sub: String,
    /// Who vouches for that subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
}

impl Who {
    /// The person at the keyboard: the one acting, else the subject itself.
    #[must_use]
    pub fn person(&self) -> &str {
        self.act.as_ref().map_or(self.sub.as_str(), |actor| actor.sub.as_str())
    }

    /// Whom the application writes down as the author of a change.
    #[must_use]
    pub fn author(&self) -> String {
        match &self.act {
            Some(actor) if actor.sub != self.sub => format!("{} (by {})", self.sub, actor.sub),
            _ => self.sub.clone(),
        }
    }
}

/// Why the keys given at the start cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The text is not JSON, or not of the shape of a key.
    #[error("the gateway's keys cannot be read: {0}; give one JWK or a set `{{\"keys\": […]}}`")]
    Unreadable(#[from] serde_json::Error),
    /// A private key does not belong in an application.
    #[error("the gateway's keys hold a private part (`d`); give the public keys only")]
    Private,
    /// No key is left that could verify an assertion.
    #[error("the gateway's keys hold none for ES256 (EC, P-256) or EdDSA (OKP, Ed25519); add one")]
    NoneUsable,
}

/// Why a request is not believed. The caller is told; there is nothing secret in it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Distrust {
    #[error(
        "the header `Postern-Assertion` is missing; this application is reached through its gateway only"
    )]
    Missing,
    #[error("there is more than one header `Postern-Assertion`")]
    Several,
    #[error("the assertion cannot be read as a compact JWS in ES256 or EdDSA with all its members")]
    Malformed,
    #[error("the assertion's `typ` is not `postern-assertion+jwt`")]
    Typ,
    #[error("the assertion has critical header members that this application does not know")]
    Critical,
    #[error("the assertion names no key that this application was given")]
    UnknownKey,
    #[error("the assertion's signature does not match the gateway's key")]
    Signature,
    #[error("the assertion was made by `{0}`, which is not this application's gateway")]
    Issuer(String),
    #[error("the assertion is for `{0}`, not for this application")]
    Audience(String),
    #[error("the assertion expired {0} s ago")]
    Expired(i64),
    #[error("the assertion lives longer than the 30 s that an assertion may live")]
    TooLong,
    #[error("the assertion is for the method `{0}`")]
    Method(String),
    #[error("the assertion is for the path `{0}`")]
    Path(String),
}

impl Distrust {
    /// The stable code of the reason.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Missing => "assertion_missing",
            Self::Several => "assertion_ambiguous",
            Self::Malformed => "assertion_malformed",
            Self::Typ => "assertion_wrong_typ",
            Self::Critical => "assertion_unknown_crit",
            Self::UnknownKey => "assertion_unknown_key",
            Self::Signature => "assertion_bad_signature",
            Self::Issuer(_) => "assertion_wrong_issuer",
            Self::Audience(_) => "assertion_wrong_audience",
            Self::Expired(_) => "assertion_expired",
            Self::TooLong => "assertion_too_long",
            Self::Method(_) => "assertion_wrong_method",
            Self::Path(_) => "assertion_wrong_path",
        }
    }
}

/// What an assertion says. Members that are not listed are no business of this application.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    /// One application; a list would make one assertion good for several.
    aud: String,
    exp: i64,
    method: String,
    path: String,
    kind: String,
    sub: String,
    #[serde(default)]
    act: Option<Actor>,
    tenant: String,
    env: String,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    session: Option<String>,
    jti: String,
}

/// One public key of the gateway, for one algorithm.
struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Holds the gateway's keys and checks every request against them.
pub(super) struct Gatekeeper {
    issuer: String,
    audience: String,
    keys: Vec<Key>,
    now: Clock,
}

impl Gatekeeper {
    pub(super) fn new(issuer: String, audience: String, keys: &str, now: Clock) -> Result<Self, KeysError> {
        Ok(Self { issuer, audience, keys: parse_keys(keys)?, now })
    }

    /// Who is calling, by the assertion in the request's head.
    pub(super) fn believe(&self, head: &Parts) -> Result<Who, Distrust> {
        let mut headers = head.headers.get_all(HEADER).iter();
        let token = match (headers.next(), headers.next()) {
            (None, _) => return Err(Distrust::Missing),
            (Some(_), Some(_)) => return Err(Distrust::Several),
            (Some(value), None) => value.as_bytes(),
        };
        let claims = self.verify(token)?;
        let now = (self.now)();
        if claims.iss != self.issuer {
            return Err(Distrust::Issuer(claims.iss));
        }
        if claims.aud != self.audience {
            return Err(Distrust::Audience(claims.aud));
        }
        if claims.exp <= now {
            return Err(Distrust::Expired(now.saturating_sub(claims.exp)));
        }
        if claims.exp > now.saturating_add(LIFE_S + AHEAD_S) {
            return Err(Distrust::TooLong);
        }
        if claims.method != head.method.as_str() {
            return Err(Distrust::Method(claims.method));
        }
        if claims.path != head.uri.path() {
            return Err(Distrust::Path(claims.path));
        }
        let Claims { kind, sub, act, tenant, env, role, session, jti, .. } = claims;
        Ok(Who { kind, sub, act, tenant, env, role, session, jti })
    }

    /// Signature and header of a token; what it says is checked by the caller, against the clock handed in.
    fn verify(&self, token: &[u8]) -> Result<Claims, Distrust> {
        let header = decode_header(token).map_err(|_| Distrust::Malformed)?;
        if header.typ.as_deref() != Some(TYP) {
            return Err(Distrust::Typ);
        }
        if header.crit.is_some() {
            return Err(Distrust::Critical);
        }
        let mut validation = Validation::new(header.alg);
        // The library would ask the system's clock, and would pass a token that lacks `iss` or `aud`.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let mut refusal = Distrust::UnknownKey;
        for key in self.keys.iter().filter(|key| key.may_have_signed(header.alg, header.kid.as_deref())) {
            match decode::<Claims>(token, &key.key, &validation) {
                Ok(data) if data.claims.is_whole() => return Ok(data.claims),
                Ok(_) => return Err(Distrust::Malformed),
                Err(error) => {
                    refusal = match error.kind() {
                        jsonwebtoken::errors::ErrorKind::InvalidSignature => Distrust::Signature,
                        _ => Distrust::Malformed,
                    };
                }
            }
        }
        Err(refusal)
    }
}

impl Claims {
    /// A member that is present and empty says nothing.
    fn is_whole(&self) -> bool {
        let named = [&self.kind, &self.sub, &self.tenant, &self.env, &self.jti];
        named.iter().all(|value| !value.is_empty())
            && self.act.as_ref().is_none_or(|actor| !actor.sub.is_empty())
    }
}

impl Key {
    fn may_have_signed(&self, algorithm: Algorithm, kid: Option<&str>) -> bool {
        let named = match (self.kid.as_deref(), kid) {
            (Some(own), Some(asked)) => own == asked,
            _ => true,
        };
        named && self.algorithm == algorithm
    }
}

fn parse_keys(text: &str) -> Result<Vec<Key>, KeysError> {
    let value: serde_json::Value = serde_json::from_str(text)?;
    let single = std::slice::from_ref(&value);
    let entries = value.get("keys").and_then(serde_json::Value::as_array).map_or(single, Vec::as_slice);
    if entries.iter().any(|entry| entry.get("d").is_some()) {
        return Err(KeysError::Private);
    }
    let keys: Vec<Jwk> = if value.get("keys").is_some() {
        serde_json::from_value::<JwkSet>(value)?.keys
    } else {
        vec![serde_json::from_value(value)?]
    };
    let usable: Vec<Key> = keys.iter().filter_map(usable).collect();
    if usable.is_empty() { Err(KeysError::NoneUsable) } else { Ok(usable) }
}

/// A key as a verifier of assertions; `None` for any other type, curve, use or algorithm.
fn usable(jwk: &Jwk) -> Option<Key> {
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(p) if p.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(p) if p.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let common = &jwk.common;
    let signs = common.public_key_use.as_ref().is_none_or(|u| *u == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|ops| ops.contains(&KeyOperations::Verify));
    let agrees = common.key_algorithm.is_none_or(|given| given == name);
    let key = DecodingKey::from_jwk(jwk).ok()?;
    (signs && verifies && agrees).then(|| Key { kid: common.key_id.clone(), algorithm, key })
}
