//! Keys that are fetched while the gateway runs: how a verifier takes them over, and what of the tokens verified
//! earlier stays known.
//!
//! A token's keys are those of the issuer that it names, from the address that the configuration names, never from
//! anything that a token says. New keys make a new verifier; where every earlier key is still there, what was verified
//! under it stays known, and where one is gone, every token of that issuer is judged anew.
//!
//! Never here: fetching itself, a clock, a schedule.

use std::sync::Arc;

use super::{
    keys::{IgnoredKey, KeySet, KeySetFault},
    options::{KeyOrigin, KeySource},
    verifier::{Bell, Issuer, Verifier, new_epoch, rules},
};
use crate::model::{IssuerName, Timestamp};

/// A key set that was fetched for one issuer and read under its rules.
#[derive(Debug, Clone)]
pub struct FetchedKeys {
    origin: KeyOrigin,
    set: Arc<KeySet>,
}

impl FetchedKeys {
    /// How many of its keys can be used.
    pub fn usable(&self) -> usize {
        self.set.len()
    }

    /// Those that cannot, and why.
    pub fn ignored(&self) -> &[IgnoredKey] {
        &self.set.ignored
    }
}

/// What new keys change about tokens that were verified earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyChange {
    /// The keys are the same.
    Same,
    /// Keys came to those that were there: what was verified stays known.
    More,
    /// A key is gone or means something else: every token of this issuer is judged anew.
    Other,
}

impl Verifier {
    /// Reads a key set that was fetched for that issuer. `None` where no issuer of that name has its keys fetched.
    ///
    /// # Errors
    /// [`KeySetFault`] where it is none, or where no key of it can be used.
    pub fn read_keys(&self, issuer: &IssuerName, text: &str) -> Option<Result<FetchedKeys, KeySetFault>> {
        let known = self.fetching(issuer)?;
        let KeySource::Fetched(origin) = &known.options.keys else { return None };
        let read = KeySet::fetched(text, &rules(&known.options));
        Some(read.map(|set| FetchedKeys { origin: origin.clone(), set: Arc::new(set) }))
    }

    /// A verifier like this one in which that issuer has these keys until then. `None` where this verifier has no such
    /// issuer, or one whose keys come from elsewhere: keys of an earlier configuration never reach a later one.
    pub fn with_keys(
        &self,
        issuer: &IssuerName,
        keys: &FetchedKeys,
        until: Timestamp,
    ) -> Option<(Verifier, KeyChange)> {
        let mut next = self.clone();
        next.epoch = new_epoch();
        let known = next.issuers.iter_mut().find(|known| known.fetches(issuer))?;
        if known.options.keys != KeySource::Fetched(keys.origin.clone()) {
            return None;
        }
        let change = if keys.set.same_as(&known.keys) {
            KeyChange::Same
        } else if keys.set.extends(&known.keys) {
            KeyChange::More
        } else {
            KeyChange::Other
        };
        if change == KeyChange::Other {
            known.keys_epoch = new_epoch();
        }
        known.keys = Arc::clone(&keys.set);
        known.keys_until = Some(until);
        Some((next, change))
    }

    /// Takes over the fetched keys of an earlier verifier, for each issuer that still has them from the same address,
    /// vouched for by the same authorities, under the same rules. For a reload: nobody waits for keys that are known.
    #[must_use]
    pub fn adopting(mut self, earlier: &Verifier) -> Verifier {
        for known in &mut self.issuers {
            let same = |old: &&Issuer| {
                old.fetches(&known.options.name)
                    && old.options.keys == known.options.keys
                    && old.options.algorithms == known.options.algorithms
                    && old.options.dangerous_hmac == known.options.dangerous_hmac
            };
            if matches!(known.options.keys, KeySource::Fetched(_))
                && let Some(old) = earlier.issuers.iter().find(same)
            {
                known.keys = Arc::clone(&old.keys);
                known.keys_until = old.keys_until;
            }
        }
        self
    }

    /// Has that issuer tell somebody when a token comes that its keys do not fit.
    #[must_use]
    pub fn with_bell(mut self, issuer: &IssuerName, bell: Bell) -> Verifier {
        if let Some(known) = self.issuers.iter_mut().find(|known| known.fetches(issuer)) {
            known.bell = Some(bell);
        }
        self
    }

    /// Until when the fetched keys of that issuer may be used; `None` where none were fetched yet, or its keys are not
    /// fetched.
    pub fn keys_until(&self, issuer: &IssuerName) -> Option<Timestamp> {
        let known = self.fetching(issuer)?;
        if known.keys.is_empty() { None } else { known.keys_until }
    }

    fn fetching(&self, issuer: &IssuerName) -> Option<&Issuer> {
        self.issuers.iter().find(|known| known.fetches(issuer))
    }
}

impl Issuer {
    fn fetches(&self, name: &IssuerName) -> bool {
        self.options.name == *name && matches!(self.options.keys, KeySource::Fetched(_))
    }
}
