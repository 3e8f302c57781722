//! How far each ledger of a fleet was read, as one text that only this API reads: sealed, and about one tenant's record alone.
//!
//! A ledger that nobody answered for stays where it was, and so does one of a gateway that is no longer there: whoever comes back with
//! the text goes on in each where they were.
//!
//! Never here: whether somebody may read.

use std::collections::BTreeMap;

use crate::{fleet::Mark, model::TenantId};

use super::seal::Seal;

/// The form of what is sealed.
const FORM: u8 = 1;
/// Ledgers that one text holds at most: it has to fit into a request's head.
const MOST: usize = 200;

/// The record to look at next, by ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// A ledger that is not among them is read from this instant on, in milliseconds since 1970 UTC. None: from its beginning.
    pub(super) begin: Option<i64>,
    pub(super) of: BTreeMap<Mark, u64>,
}

fn about(tenant: &TenantId) -> String {
    format!("the record of {tenant}")
}

impl Places {
    /// As a text; `None` where the system gave no key to seal it with.
    pub(super) fn close(&self, seal: &Seal, tenant: &TenantId) -> Option<String> {
        let mut bytes = vec![FORM];
        bytes.extend_from_slice(&self.begin.unwrap_or(i64::MIN).to_be_bytes());
        for (mark, next) in self.of.iter().take(MOST) {
            bytes.extend_from_slice(&mark.0.to_be_bytes());
            bytes.extend_from_slice(&next.to_be_bytes());
        }
        seal.close_bytes(&bytes, &about(tenant))
    }

    /// What a text says that was given out about this tenant's record, by any gateway of the fleet.
    pub(super) fn open(seal: &Seal, tenant: &TenantId, text: &str) -> Option<Places> {
        let bytes = seal.open_bytes(text, &about(tenant))?;
        let (form, bytes) = bytes.split_first_chunk::<1>()?;
        let (begin, mut bytes) = bytes.split_first_chunk::<8>().filter(|_| *form == [FORM])?;
        let begin = Some(i64::from_be_bytes(*begin)).filter(|begin| *begin != i64::MIN);
        let mut of = BTreeMap::new();
        while let Some((mark, rest)) = bytes.split_first_chunk::<8>() {
            let (next, rest) = rest.split_first_chunk::<8>()?;
            of.insert(Mark(u64::from_be_bytes(*mark)), u64::from_be_bytes(*next));
            bytes = rest;
        }
        bytes.is_empty().then_some(Places { begin, of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_open_as_they_were_closed_and_about_their_tenant_alone() {
        let (seal, acme) = (Seal::of(b"shared"), TenantId::new("acme").unwrap());
        let other = TenantId::new("globex").unwrap();
        let of: BTreeMap<Mark, u64> =
            [("a", 0), ("b", 12), ("c", u64::MAX)].map(|(log, next)| (Mark::of(log), next)).into();
        for places in [
            Places::default(),
            Places { begin: Some(0), of: of.clone() },
            Places { begin: Some(-7), of: of.clone() },
            Places { begin: None, of: (0..MOST as u64).map(|n| (Mark(n), n)).collect() },
        ] {
            let text = places.close(&seal, &acme).unwrap();
            assert_eq!(Places::open(&seal, &acme, &text), Some(places.clone()));
            assert_eq!(Places::open(&seal, &other, &text), None);
            assert_eq!(Places::open(&Seal::of(b"other"), &acme, &text), None);
            assert!(text.len() < 5_000, "{}", text.len());
        }
        for bytes in [&[][..], &[FORM], &[9, 0, 0, 0, 0, 0, 0, 0, 0], &[FORM, 0, 0, 0, 0, 0, 0, 0, 0, 1]] {
            let text = seal.close_bytes(bytes, &about(&acme)).unwrap();
            assert_eq!(Places::open(&seal, &acme, &text), None, "{bytes:?}");
        }
        for text in ["", "12", "bnVsbA", "%"] {
            assert_eq!(Places::open(&seal, &acme, text), None);
        }
    }
}
