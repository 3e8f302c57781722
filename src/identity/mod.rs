//! Who knocks: from a token to a verified subject.
//!
//! Lives here: signed tokens in compact form, issuers and their keys, the verifier, one core's cache of verified
//! tokens, the signer of tokens and assertions, and the batch check of published vectors. The way through:
//!
//! | file | what it does |
//! | --- | --- |
//! | [`options`] | what the configuration says about issuers |
//! | `jws`, `json` | takes a token apart; refuses what can be read in two ways |
//! | `jwk`, `keys`, `pem` | keys, bound to their algorithms, and which of them a token means |
//! | `claims` | times, audience, and the claims that are mapped |
//! | [`fetched`] | how a verifier takes over keys that somebody fetched |
//! | [`verifier`] | all of these in order: a token in, a [`VerifiedSubject`] or a [`TokenFault`] out |
//! | [`cache`] | what one core verified lately |
//! | [`mint`] | signing: tokens for people who try things, assertions for applications |
//! | [`emergency`] | tokens of the emergency authority |
//! | [`batch`] | the verifier run on lines of test vectors |
//!
//! Never here: what a subject may do (that is [`crate::policy`]), a clock, a socket, fetching of keys.

use std::{
    fmt,
    ops::Deref,
    sync::atomic::{AtomicI64, Ordering},
};

use aws_lc_rs::digest;

use crate::model::{Subject, Timestamp};

mod algorithm;
pub mod batch;
pub mod cache;
mod claims;
pub mod emergency;
mod fault;
pub mod fetched;
pub(crate) mod json;
mod jwk;
mod jws;
mod keys;
pub mod mint;
pub mod options;
mod pem;
#[cfg(test)]
mod tests;
pub mod verifier;

pub use algorithm::Algorithm;
pub use cache::TokenCache;
pub use emergency::EmergencyVerifier;
pub use fault::TokenFault;
pub use fetched::{FetchedKeys, KeyChange};
pub use json::{ClaimPath, ClaimPathFault};
pub use jwk::KeyFault;
pub use keys::{IgnoredKey, KeySetFault, MAX_JWKS_BYTES};
pub use mint::Signer;
pub use options::{
    ASSERTION_TYPE, ClaimMap, EMERGENCY_TYPE, IssuerOptions, KeyOrigin, KeySource, Limits, PemKey,
    SupportRule, TypeRule,
};
pub use verifier::{Bell, Verifier, VerifierFault};

/// A subject that a configured issuer vouches for. Only [`Verifier::verify`] makes one, so whoever holds one need not
/// ask where it comes from; it still has to be asked whether it holds *now*.
///
/// ```compile_fail
/// # use postern::{identity::VerifiedSubject, model::Subject};
/// fn forge(subject: Subject) -> VerifiedSubject {
///     VerifiedSubject { subject, issuer: 0 }
/// }
/// ```
#[derive(Debug)]
pub struct VerifiedSubject {
    subject: Subject,
    issuer: usize,
    fingerprint: TokenFingerprint,
    window: claims::Window,
    /// The state of its issuer's keys that verified it, and until when that state may be used.
    keys_epoch: u64,
    keys_until: Option<Timestamp>,
    /// In milliseconds: from when on whoever notes who was seen looks at it again.
    look: AtomicI64,
}

impl VerifiedSubject {
    /// Whether somebody wants to look at whose token this is, at this instant; as long as nobody said from when on, yes.
    #[inline]
    pub fn is_looked_at(&self, now: Timestamp) -> bool {
        now.ms() >= self.look.load(Ordering::Relaxed)
    }

    /// Says from when on.
    pub fn look_from(&self, at: Timestamp) {
        self.look.store(at.ms(), Ordering::Relaxed);
    }

    /// Who it is, as the rules see them.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Which token it was, for records: never the token.
    pub fn fingerprint(&self) -> TokenFingerprint {
        self.fingerprint
    }

    /// Whether its token holds at that instant.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.window.holds(now)
    }
}

impl Deref for VerifiedSubject {
    type Target = Subject;

    fn deref(&self) -> &Subject {
        &self.subject
    }
}

/// The first half of the SHA-256 of a token: names it in records without giving it away.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenFingerprint([u8; 16]);

impl TokenFingerprint {
    fn of(token: &[u8]) -> Self {
        let hash = digest::digest(&digest::SHA256, token);
        let mut half = [0; 16];
        half.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        Self(half)
    }
}

impl fmt::Display for TokenFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TokenFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenFingerprint({self})")
    }
}
