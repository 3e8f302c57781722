//! Emergency tokens: signed by the vendor's emergency authority, whose keys are pinned, and of a form of their own (rule 18).
//!
//! None passes for an access token, and no access token for one: the `typ` is another, and the claims are these and no others.
//!
//! Never here: fetching of keys, whether what was signed counts ([`crate::policy::alone`]).

use std::{collections::BTreeMap, sync::Arc};

use super::{
    algorithm::Algorithm,
    claims::Times,
    fault::TokenFault,
    json::{Json, Object},
    jwk::KeyRules,
    jws::{Compact, is_type},
    keys::{KeySet, KeySetFault},
    options::{EMERGENCY_TYPE, KeySource, Limits},
};
use crate::{
    model::{
        EMERGENCY_PREFIX, EmergencyKey, EmergencyToken, EnvironmentId, Glass, IssuerName, SessionId,
        SubjectRef, TenantId, Timestamp,
    },
    policy::EmergencyTokens,
};

/// What may be signed with.
const ALGORITHMS: &[Algorithm] = &[Algorithm::EdDsa, Algorithm::Ed25519, Algorithm::Es256];
/// The members of the claims, in alphabetical order; `environment` may be left out.
const CLAIMS: [&str; 11] =
    ["aud", "cause", "environment", "exp", "iat", "incident", "jti", "nbf", "operator", "reason", "tenant"];
/// How far the signer's clock may be ahead of the gateway's, in milliseconds.
const LEEWAY_MS: i64 = 5_000;
/// The longest text that is declared, in characters.
const LONGEST: usize = 1_000;

/// Verifies emergency tokens. Immutable; another configuration makes another one.
#[derive(Debug)]
pub struct EmergencyVerifier {
    keys: KeySet,
    named: BTreeMap<String, EmergencyKey>,
    audience: Arc<str>,
    longest_ms: i64,
    limits: Limits,
}

impl EmergencyVerifier {
    /// One that takes what these keys signed.
    ///
    /// # Errors
    /// Where one of them cannot be used: all of them were put there by hand.
    pub fn new(rules: &EmergencyTokens, limits: Limits) -> Result<Self, KeySetFault> {
        let all: Vec<&str> = rules.keys.iter().map(|key| &*key.jwk).collect();
        let source = KeySource::Jwks(format!("{{\"keys\":[{}]}}", all.join(",")));
        let allowed = KeyRules { algorithms: ALGORITHMS, hmac: false, private: false };
        let keys = KeySet::load(&source, &allowed)?;
        if !keys.ignored.is_empty() {
            return Err(KeySetFault::NoneUsable(keys.ignored));
        }
        let named = rules.keys.iter().map(|key| (key.kid.to_string(), key.clone())).collect();
        let audience = Arc::from(rules.audience.as_str());
        Ok(Self { keys, named, audience, longest_ms: rules.longest_ms, limits })
    }

    /// Verifies one, as of `now` by the wall clock.
    ///
    /// # Errors
    /// Why it counts for nobody.
    pub fn verify(&self, token: &[u8], now: Timestamp) -> Result<EmergencyToken, TokenFault> {
        let compact = Compact::read(token, &self.limits)?;
        if !ALGORITHMS.contains(&compact.header.algorithm) {
            return Err(TokenFault::AlgNotAllowed);
        }
        match &compact.header.typ {
            Some(typ) if is_type(typ, EMERGENCY_TYPE) => {}
            Some(_) => return Err(TokenFault::TypNotAllowed),
            None => return Err(TokenFault::TypMissing),
        }
        let claims = compact.claims(&self.limits)?;
        let times = Times::read(&claims)?;
        if times.expired(0, now) {
            return Err(TokenFault::Expired);
        }
        let kid = compact.header.kid.as_deref().ok_or(TokenFault::KeyUnknown)?;
        let by = self.named.get(kid).ok_or(TokenFault::KeyUnknown)?;
        let key = self.keys.choose(compact.header.algorithm, Some(kid))?;
        if !key.verifies(compact.signed, &compact.signature) {
            return Err(TokenFault::Signature);
        }
        self.read(&claims, &times, by, now)
    }

    fn read(
        &self,
        claims: &Object,
        times: &Times,
        by: &EmergencyKey,
        now: Timestamp,
    ) -> Result<EmergencyToken, TokenFault> {
        let form = TokenFault::EmergencyForm;
        if claims.names().any(|name| CLAIMS.binary_search(&name).is_err()) {
            return Err(form);
        }
        let text = |name: &str| claims.get(name).and_then(Json::text).ok_or(form);
        if text("aud").map_err(|_| TokenFault::AudForm)? != &*self.audience {
            return Err(TokenFault::AudNotAllowed);
        }
        let (Some(issued), Some(begins)) = (times.issued(), times.begins()) else { return Err(form) };
        let ends = times.ends();
        if issued > now.plus_ms(LEEWAY_MS) {
            return Err(TokenFault::IssuedInFuture);
        }
        if begins > now.plus_ms(LEEWAY_MS) {
            return Err(TokenFault::NotYetValid);
        }
        if ends.ms_since(issued) > self.longest_ms {
            return Err(TokenFault::LifetimeTooLong);
        }
        let id = SessionId::new(text("jti")?).map_err(|_| form)?;
        if !id.as_str().starts_with(EMERGENCY_PREFIX) {
            return Err(form);
        }
        let environment = match claims.get("environment") {
            None => None,
            Some(Json::Text(name)) => {
                Some(EnvironmentId::new(name).map_err(|_| TokenFault::EnvironmentForm)?)
            }
            Some(_) => return Err(TokenFault::EnvironmentForm),
        };
        let declared = |name: &str| -> Result<Arc<str>, TokenFault> {
            let said = text(name)?;
            let sound = !said.trim().is_empty()
                && said.chars().count() <= LONGEST
                && !said.chars().any(char::is_control);
            if sound { Ok(Arc::from(said)) } else { Err(form) }
        };
        Ok(EmergencyToken {
            id,
            by: by.clone(),
            audience: Arc::clone(&self.audience),
            operator: operator(claims.get("operator"))?,
            tenant: TenantId::new(text("tenant")?).map_err(|_| TokenFault::TenantForm)?,
            environment,
            glass: Glass {
                cause: declared("cause")?,
                incident: declared("incident")?,
                reason: declared("reason")?,
            },
            issued,
            ends,
        })
    }
}

/// One of the vendor's people, by the configured name of their issuer and their `sub`.
fn operator(named: Option<&Json>) -> Result<SubjectRef, TokenFault> {
    let Some(Json::Object(named)) = named else { return Err(TokenFault::EmergencyForm) };
    if named.names().any(|name| !matches!(name, "issuer" | "sub")) {
        return Err(TokenFault::EmergencyForm);
    }
    let text = |name: &str| named.get(name).and_then(Json::text).ok_or(TokenFault::EmergencyForm);
    let issuer = IssuerName::new(text("issuer")?).map_err(|_| TokenFault::EmergencyForm)?;
    let sub = text("sub")?;
    let sound = (1..=255).contains(&sub.len()) && sub.bytes().all(|byte| byte.is_ascii_graphic());
    if sound { Ok(SubjectRef { issuer, sub: Arc::from(sub) }) } else { Err(TokenFault::SubForm) }
}
