//! What a subject made under idempotency keys of theirs, kept for a day: so that whoever did not hear an answer may ask
//! again with the same key, and nothing is made twice.
//!
//! Neither a key nor a request is ever kept as it is: what is kept are digests of them. A key's is salted with tenant and
//! subject, so the same key looks different for each; a request's with its key, so nobody tries out bodies on it.
//! `docs/decisions/0014-idempotency-keys.md` says why it is one document for each subject in each tenant.
//!
//! Never here: how a key is spelled in a request ([`crate::control`]), whether the subject may ask
//! ([`crate::lifecycle`]).

use std::{collections::BTreeMap, fmt};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::{ChangeId, GrantId, RequestId, SessionId, SubjectRef, TenantId, Timestamp};

/// How long a key is kept, in milliseconds: a day.
pub const KEPT_MS: i64 = 86_400_000;

/// Half of a SHA-256, as 32 hexadecimal digits: nobody finds a second text with the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(u128);

impl Digest {
    /// Of these parts, none of which can run into the next.
    fn of(parts: &[&[u8]]) -> Digest {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
        let half = context.finish().as_ref().first_chunk::<16>().copied().unwrap_or_default();
        Digest(u128::from_be_bytes(half))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let digits =
            text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let number = digits.then(|| u128::from_str_radix(&text, 16).ok()).flatten();
        number.map(Digest).ok_or("a digest has 32 hexadecimal digits in lower case")
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// A key as it came with a request, and that request; both as digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Once {
    /// The key.
    pub key: Digest,
    /// The request.
    pub asked: Digest,
}

impl Once {
    /// A key of this subject in this tenant, with the request that it came with: its method and path, its body byte by
    /// byte.
    pub fn of(
        tenant: &TenantId,
        subject: &SubjectRef,
        key: &str,
        (method, path): (&str, &str),
        body: &[u8],
    ) -> Once {
        let place = [tenant.as_str(), subject.issuer.as_str(), &subject.sub, key].map(str::as_bytes);
        let [tenant, issuer, sub, key] = place;
        Once {
            key: Digest::of(&[b"postern idempotency key", tenant, issuer, sub, key]),
            asked: Digest::of(&[
                b"postern idempotent request",
                tenant,
                issuer,
                sub,
                key,
                method.as_bytes(),
                path.as_bytes(),
                body,
            ]),
        }
    }
}

/// What a request made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thing {
    /// A grant.
    Grant(GrantId),
    /// A session.
    Session(SessionId),
    /// A request for approval.
    Request(RequestId),
}

/// What is kept of one key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// From when on the key means nothing.
    pub until: Timestamp,
    /// The change that made it.
    pub change: ChangeId,
    /// What it made.
    pub made: Thing,
    /// The request that it came with.
    pub asked: Digest,
}

/// What one subject made in one tenant, by key. It grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The keys; those whose time is over mean nothing and go with the next that comes, or when the last one's is.
    pub kept: BTreeMap<Digest, Kept>,
}

impl Made {
    /// What a key made, if that is remembered at this instant.
    pub fn by(&self, key: Digest, now: Timestamp) -> Option<&Kept> {
        self.kept.get(&key).filter(|kept| now < kept.until)
    }

    /// The same without what is over.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Made {
        let standing = self.kept.iter().filter(|(_, kept)| now < kept.until);
        Made { kept: standing.map(|(key, kept)| (*key, kept.clone())).collect() }
    }

    /// When all of it is over.
    pub fn due(&self) -> Option<Timestamp> {
        self.kept.values().map(|kept| kept.until).max()
    }

    /// What holds of two histories: whatever either remembers, so that a repeat makes nothing a third time. Where a key made
    /// something in both, the one that is remembered longer is answered.
    #[must_use]
    pub fn meet(mut self, other: &Made) -> Made {
        for (key, theirs) in &other.kept {
            let ours = self.kept.entry(*key).or_insert_with(|| theirs.clone());
            if theirs > ours {
                ours.clone_from(theirs);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IssuerName;

    fn once(tenant: &str, issuer: &str, sub: &str, key: &str, path: &str, body: &str) -> Once {
        let subject = SubjectRef { issuer: IssuerName::new(issuer).unwrap(), sub: sub.into() };
        Once::of(&TenantId::new(tenant).unwrap(), &subject, key, ("POST", path), body.as_bytes())
    }

    #[test]
    fn a_key_is_another_one_for_another_subject_or_tenant() {
        let plain = once("acme", "staff", "anna", "k", "/p", "{}");
        assert_eq!(plain, once("acme", "staff", "anna", "k", "/p", "{}"));
        for other in [
            once("globex", "staff", "anna", "k", "/p", "{}"),
            once("acme", "other", "anna", "k", "/p", "{}"),
            once("acme", "staff", "ben", "k", "/p", "{}"),
            once("acme", "staff", "anna", "K", "/p", "{}"),
            // What ends one part cannot begin the next.
            once("acme", "staff", "ann", "ak", "/p", "{}"),
            once("acme", "staf", "fanna", "k", "/p", "{}"),
        ] {
            assert_ne!(plain.key, other.key);
            assert_ne!(plain.asked, other.asked);
        }
    }

    #[test]
    fn a_request_is_told_by_path_and_body() {
        let plain = once("acme", "staff", "anna", "k", "/p", "{}");
        for (path, body) in [("/q", "{}"), ("/p", "{ }"), ("/p{", "}"), ("/p", "")] {
            let other = once("acme", "staff", "anna", "k", path, body);
            assert_eq!(plain.key, other.key);
            assert_ne!(plain.asked, other.asked);
        }
    }

    #[test]
    fn a_digest_is_read_back_as_it_was_written_and_in_no_other_spelling() {
        let digest = once("acme", "staff", "anna", "k", "/p", "{}").key;
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(text.len(), 34);
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        for bad in
            ["\"\"", "\"00\"", "\"+0000000000000000000000000000000\"", &text.to_uppercase().replace('0', "A")]
        {
            assert!(serde_json::from_str::<Digest>(bad).is_err(), "{bad}");
        }
    }
}
