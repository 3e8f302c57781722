//! Who gave something, kept so that they are recognised when they come to use it (GW-14: nobody consents to themselves).
//!
//! An address of a tenant's person is never kept as it is: what is kept is a digest of it, salted by what was given and
//! when, so that an address that comes can be compared and the same one looks different in each place.
//! `docs/decisions/0009-givers-are-digests.md` says why it is no keyed digest.
//!
//! Of whoever gave something further up, not even the name is kept with a tenant below: it is another tenant's (law 11).
//!
//! Never here: what follows when giver and user are one ([`crate::policy`], [`crate::lifecycle`]).

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::{Subject, SubjectRef};

/// Characters of a giver's salt.
const SALT: usize = 24;

/// An address that can be compared and not read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// What makes it differ from place to place.
    pub salt: Arc<str>,
    /// `SHA-256(salt ‖ 0x00 ‖ address)`, in hexadecimal.
    pub digest: Arc<str>,
}

impl Mark {
    /// The mark of an address, which is lower-cased already.
    pub fn of(address: &str, salt: &str) -> Mark {
        Mark { salt: Arc::from(salt), digest: digest(address, salt) }
    }

    /// Whether it is this address.
    pub fn is(&self, address: &str) -> bool {
        digest(address, &self.salt) == self.digest
    }
}

fn digest(address: &str, salt: &str) -> Arc<str> {
    let mut context = Context::new(&SHA256);
    for part in [salt.as_bytes(), &[0], address.as_bytes()] {
        context.update(part);
    }
    let bytes = context.finish();
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

/// Somebody who gave something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Giver {
    /// Who, as their issuer knows them.
    pub person: SubjectRef,
    /// Their verified address, where their token had one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mail: Option<Mark>,
    /// The address in the row that a service pushed of them, where it is another one or their token had none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub row_mail: Option<Mark>,
}

impl Giver {
    /// This subject as a giver, with the address of their row; `place` names what is given.
    pub fn of(subject: &Subject, row: Option<&str>, place: &str) -> Giver {
        // The place itself would tell whoever reads a copy where and when it was given.
        let salt = digest(&subject.id.to_string(), place).chars().take(SALT).collect::<String>();
        let mail = subject.email.as_ref().map(|address| Mark::of(address, &salt));
        let row = row.filter(|address| subject.email.as_deref() != Some(*address));
        let row_mail = row.map(|address| Mark::of(address, &salt));
        Giver { person: subject.id.clone(), mail, row_mail }
    }

    /// Whether this subject is the same human: by the same `sub`, whichever issuer says it, or by the same verified
    /// address.
    pub fn is(&self, subject: &Subject) -> bool {
        self.person.sub == subject.id.sub || subject.email.as_ref().is_some_and(|address| self.has(address))
    }

    /// Whether this is an address of theirs.
    pub fn has(&self, address: &str) -> bool {
        [&self.mail, &self.row_mail].into_iter().flatten().any(|mark| mark.is(address))
    }

    /// The same without the name, for a place that may not know it.
    pub fn veiled(&self, place: &str) -> Veiled {
        let mails = [&self.mail, &self.row_mail].into_iter().flatten().cloned().collect();
        Veiled { sub: Mark::of(&self.person.sub, place), mails }
    }
}

/// Somebody of a tenant further up who gave something: compared, and not named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Veiled {
    /// Their `sub`.
    pub sub: Mark,
    /// Their verified addresses.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub mails: Vec<Mark>,
}

impl Veiled {
    /// Whether this subject is the same human, as of [`Giver::is`].
    pub fn is(&self, subject: &Subject) -> bool {
        self.sub.is(&subject.id.sub)
            || subject.email.as_ref().is_some_and(|address| self.mails.iter().any(|mark| mark.is(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_compared_and_never_holds_the_address() {
        let mark = Mark::of("anna@vendor.example", "tenant/acme@1");
        assert!(mark.is("anna@vendor.example"));
        assert!(!mark.is("ben@vendor.example"));
        assert_ne!(mark.digest, Mark::of("anna@vendor.example", "tenant/acme@2").digest);
        let text = serde_json::to_string(&mark).unwrap();
        assert!(!text.contains("anna") && !text.contains("vendor.example"), "{text}");
        // Salt and address are kept apart: what ends one cannot begin the other.
        assert_ne!(Mark::of("bc", "a").digest, Mark::of("c", "ab").digest);
    }
}
