//! From a token to a verified subject: one immutable verifier, shared by all cores.
//!
//! The order: form, header, issuer (by `iss`, only to choose keys), what that issuer may use, the key, times, the
//! signature, then everything else that the claims say. An expired token is refused before its signature is looked
//! at, so that a flood of stale tokens costs no cryptography; nothing else is said of a token that nobody signed.
//!
//! Never here: a clock, a cache, fetching of keys. New keys make a new verifier (see [`super::fetched`]).

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use super::{
    TokenFingerprint, VerifiedSubject,
    claims::{self, Times},
    fault::TokenFault,
    jwk::KeyRules,
    jws::{Compact, Header, is_type},
    keys::{IgnoredKey, KeySet, KeySetFault},
    options::{ASSERTION_TYPE, EMERGENCY_TYPE, IssuerOptions, KeySource, Limits, MAX_LEEWAY_MS},
};
use crate::model::{IssuerName, SubjectKind, Timestamp};

/// Why a verifier cannot be built from its settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifierFault {
    /// Two issuers with one `iss`: one issuer makes one kind of subject (rule 1).
    #[error("two issuers have the `iss` `{0}`; one issuer makes one kind of subject")]
    SameIssuer(String),
    /// Two issuers with one name.
    #[error("two issuers have the name `{0}`; give each its own")]
    SameName(IssuerName),
    /// An `iss` that is empty.
    #[error("issuer `{0}`: `issuer` is empty; write its `iss` as its tokens have it")]
    NoIss(IssuerName),
    /// No audience, or an empty one.
    #[error("issuer `{0}`: `audiences` is empty or holds an empty text; name what its tokens have in `aud`")]
    NoAudience(IssuerName),
    /// No algorithm.
    #[error("issuer `{0}`: `algorithms` is empty; name those that its tokens use")]
    NoAlgorithm(IssuerName),
    /// HMAC without the word for it.
    #[error("issuer `{0}`: HMAC algorithms need `dangerous_hmac`, since whoever verifies can then also sign")]
    Hmac(IssuerName),
    /// A leeway that is negative or too long.
    #[error("issuer `{0}`: the leeway must lie between 0 and 60 seconds")]
    Leeway(IssuerName),
    /// A bound on lifetimes that is not positive.
    #[error("issuer `{0}`: `max_lifetime` must be longer than 0")]
    Lifetime(IssuerName),
    /// The type of our own assertions, or that of emergency tokens, among the accepted ones (rules 14 and 18).
    #[error(
        "issuer `{0}`: `types` names this gateway's own assertions or emergency tokens, which are never taken as tokens"
    )]
    OwnAssertion(IssuerName),
    /// No type at all.
    #[error("issuer `{0}`: `types` accepts nothing; name a type, or accept tokens without one")]
    NoType(IssuerName),
    /// Members without a tenant.
    #[error("issuer `{0}`: members need a claim that names their tenant")]
    NoTenant(IssuerName),
    /// A cookie for others than members.
    #[error("issuer `{0}`: only members' tokens may come in a cookie")]
    Cookie(IssuerName),
    /// The keys.
    #[error("issuer `{issuer}`: {fault}")]
    Keys {
        /// The issuer's name.
        issuer: IssuerName,
        /// What is wrong.
        fault: KeySetFault,
    },
}

/// Each verifier of a process has its own epoch, so what another one verified is recognised. The same numbers tell one
/// state of an issuer's keys from another.
static EPOCHS: AtomicU64 = AtomicU64::new(1);

/// The next epoch.
pub(super) fn new_epoch() -> u64 {
    EPOCHS.fetch_add(1, Ordering::Relaxed)
}

/// Verifies tokens of the configured issuers. Immutable; a change of keys or settings makes another one.
#[derive(Debug, Clone)]
pub struct Verifier {
    pub(super) issuers: Vec<Issuer>,
    by_iss: Arc<HashMap<String, usize>>,
    cookies: Arc<[String]>,
    limits: Limits,
    pub(super) epoch: u64,
}

/// One issuer with its keys as of now.
#[derive(Debug, Clone)]
pub(super) struct Issuer {
    pub(super) options: Arc<IssuerOptions>,
    pub(super) keys: Arc<KeySet>,
    /// Of fetched keys: from when on they are too old to judge by. Before the first were fetched, always.
    pub(super) keys_until: Option<Timestamp>,
    /// Which tokens verified earlier are still known: those verified in this epoch.
    pub(super) keys_epoch: u64,
    /// Called where other keys might judge a token otherwise.
    pub(super) bell: Option<Bell>,
}

/// How whoever fetches keys is told that a token came which the keys at hand do not fit. Called on the way of a
/// request: it must neither wait nor work.
#[derive(Clone)]
pub struct Bell(Arc<dyn Fn() + Send + Sync>);

impl Bell {
    /// A bell that does this.
    pub fn new(ring: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(ring))
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bell")
    }
}

impl Verifier {
    /// Checks the settings and reads the keys. Without any issuer, every token is refused.
    pub fn new(issuers: Vec<IssuerOptions>, limits: Limits) -> Result<Self, VerifierFault> {
        let mut by_iss = HashMap::new();
        let mut known: Vec<Issuer> = Vec::with_capacity(issuers.len());
        for options in issuers {
            if known.iter().any(|other| other.options.name == options.name) {
                return Err(VerifierFault::SameName(options.name));
            }
            let issuer = Issuer::new(options)?;
            let iss = issuer.options.issuer.clone();
            if by_iss.insert(iss.clone(), known.len()).is_some() {
                return Err(VerifierFault::SameIssuer(iss));
            }
            known.push(issuer);
        }
        let mut cookies: Vec<String> =
            known.iter().filter_map(|issuer| issuer.options.cookie.clone()).collect();
        cookies.sort_unstable();
        cookies.dedup();
        Ok(Self {
            issuers: known,
            by_iss: Arc::new(by_iss),
            cookies: cookies.into(),
            limits,
            epoch: new_epoch(),
        })
    }

    /// The names of all cookies that may carry a token.
    pub fn cookies(&self) -> &[String] {
        &self.cookies
    }

    /// Whether a token of this subject's issuer may come in that cookie.
    pub fn takes_cookie(&self, subject: &VerifiedSubject, cookie: &str) -> bool {
        let issuer = self.issuers.get(subject.issuer);
        issuer.is_some_and(|issuer| issuer.options.cookie.as_deref() == Some(cookie))
    }

    /// What tells this verifier from every other one of this process.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The largest token that can be verified, in bytes.
    pub fn max_token_bytes(&self) -> usize {
        self.limits.max_token_bytes
    }

    /// The issuers, in their order.
    pub fn issuers(&self) -> impl Iterator<Item = &IssuerName> {
        self.issuers.iter().map(|issuer| &issuer.options.name)
    }

    /// The published keys that are not used, and why.
    pub fn ignored_keys(&self) -> impl Iterator<Item = (&IssuerName, &IgnoredKey)> {
        self.issuers
            .iter()
            .flat_map(|issuer| issuer.keys.ignored.iter().map(|key| (&issuer.options.name, key)))
    }

    /// Those of them that were meant to verify tokens and are broken; the others are well, for something else.
    pub fn broken_keys(&self) -> impl Iterator<Item = (&IssuerName, &IgnoredKey)> {
        self.ignored_keys().filter(|(_, key)| !key.fault.is_other_purpose())
    }

    /// Verifies one token as of `now`. Only this makes a [`VerifiedSubject`].
    pub fn verify(&self, token: &[u8], now: Timestamp) -> Result<Arc<VerifiedSubject>, TokenFault> {
        let compact = Compact::read(token, &self.limits)?;
        let claims = compact.claims(&self.limits)?;
        let iss = claims.get("iss").and_then(|iss| iss.text()).ok_or(TokenFault::IssMissing)?;
        let index = *self.by_iss.get(iss).ok_or(TokenFault::IssUnknown)?;
        let issuer = self.issuers.get(index).ok_or(TokenFault::IssUnknown)?;
        let options = &issuer.options;

        issuer.check_header(&compact.header)?;
        let times = Times::read(&claims)?;
        if times.expired(options.leeway_ms, now) {
            return Err(TokenFault::Expired);
        }
        issuer.check_signature(&compact, now).inspect_err(|_| issuer.ring())?;

        let window = times.window(options, now)?;
        claims::check_audience(&claims, &options.audiences)?;
        let subject = claims::subject(&claims, options, window.until)?;
        let fingerprint = TokenFingerprint::of(token);
        Ok(Arc::new(VerifiedSubject {
            subject,
            issuer: index,
            fingerprint,
            window,
            keys_epoch: issuer.keys_epoch,
            keys_until: issuer.keys_until,
            look: AtomicI64::new(i64::MIN),
        }))
    }

    /// Whether the keys that verified this subject's token would verify it now.
    pub(super) fn still_vouches(&self, subject: &VerifiedSubject) -> bool {
        self.issuers.get(subject.issuer).is_some_and(|issuer| issuer.keys_epoch == subject.keys_epoch)
    }
}

impl Issuer {
    fn new(options: IssuerOptions) -> Result<Self, VerifierFault> {
        let name = || options.name.clone();
        if options.issuer.is_empty() {
            return Err(VerifierFault::NoIss(name()));
        }
        if options.audiences.is_empty() || options.audiences.iter().any(String::is_empty) {
            return Err(VerifierFault::NoAudience(name()));
        }
        if options.algorithms.is_empty() {
            return Err(VerifierFault::NoAlgorithm(name()));
        }
        if !options.dangerous_hmac && options.algorithms.iter().any(|algorithm| algorithm.is_hmac()) {
            return Err(VerifierFault::Hmac(name()));
        }
        if !(0..=MAX_LEEWAY_MS).contains(&options.leeway_ms) {
            return Err(VerifierFault::Leeway(name()));
        }
        if options.max_lifetime_ms.is_some_and(|longest| longest <= 0) {
            return Err(VerifierFault::Lifetime(name()));
        }
        if options
            .types
            .accepted
            .iter()
            .any(|typ| is_type(typ, ASSERTION_TYPE) || is_type(typ, EMERGENCY_TYPE))
        {
            return Err(VerifierFault::OwnAssertion(name()));
        }
        if options.types.accepted.is_empty() && !options.types.absent {
            return Err(VerifierFault::NoType(name()));
        }
        if options.cookie.is_some() && options.kind != SubjectKind::Member {
            return Err(VerifierFault::Cookie(name()));
        }
        if options.kind == SubjectKind::Member && options.claims.tenant.is_none() {
            return Err(VerifierFault::NoTenant(name()));
        }
        let keys = KeySet::load(&options.keys, &rules(&options))
            .map_err(|fault| VerifierFault::Keys { issuer: name(), fault })?;
        let keys_until =
            matches!(options.keys, KeySource::Fetched(_)).then_some(Timestamp::from_ms(i64::MIN));
        Ok(Self {
            options: Arc::new(options),
            keys: Arc::new(keys),
            keys_until,
            keys_epoch: new_epoch(),
            bell: None,
        })
    }

    /// Whether a key of this issuer signed it.
    fn check_signature(&self, compact: &Compact<'_>, now: Timestamp) -> Result<(), TokenFault> {
        if self.keys_until.is_some_and(|until| now >= until) {
            return Err(TokenFault::KeysUnavailable);
        }
        let key = self.keys.choose(compact.header.algorithm, compact.header.kid.as_deref())?;
        if key.verifies(compact.signed, &compact.signature) { Ok(()) } else { Err(TokenFault::Signature) }
    }

    fn ring(&self) {
        if let Some(Bell(ring)) = &self.bell {
            ring();
        }
    }

    /// What the header may say for this issuer.
    fn check_header(&self, header: &Header) -> Result<(), TokenFault> {
        if !self.options.algorithms.contains(&header.algorithm) {
            return Err(TokenFault::AlgNotAllowed);
        }
        let types = &self.options.types;
        match &header.typ {
            None if types.absent => Ok(()),
            None => Err(TokenFault::TypMissing),
            Some(typ) if types.accepted.iter().any(|accepted| is_type(accepted, typ)) => Ok(()),
            Some(_) => Err(TokenFault::TypNotAllowed),
        }
    }
}

/// Which keys that issuer may have.
pub(super) fn rules(options: &IssuerOptions) -> KeyRules<'_> {
    KeyRules { algorithms: &options.algorithms, hmac: options.dangerous_hmac, private: false }
}
