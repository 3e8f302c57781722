//! An issuer's keys, and which of them a token means.
//!
//! A token with a `kid` means the key of that name, or, where no key has it, the only fitting key that has no name at
//! all (a PEM key, say). A token without means the only key that fits its algorithm. Where two would do, the token is
//! refused: which key counts must never depend on an order.
//!
//! Never here: fetching keys.

use super::{
    algorithm::Algorithm,
    fault::TokenFault,
    json::{Json, Object},
    jwk::{KeyFault, KeyRules, Material, VerifyingKey},
    options::{KeySource, PemKey},
};

/// The largest key set, in bytes.
pub const MAX_JWKS_BYTES: usize = 1 << 20;
/// The most keys of one issuer.
const MAX_KEYS: usize = 256;
/// How deep a key set may nest: set, list, key, a list within it, and some to spare for members that are not read.
const MAX_JWKS_DEPTH: u8 = 8;

/// Why a whole key source cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetFault {
    /// Not a key set.
    #[error(
        "the text is not a JSON web key set: an object with a list `keys`, no member twice, at most 1 MiB"
    )]
    Form,
    /// Too many keys.
    #[error("the key set holds more than 256 keys; publish only those in use")]
    TooMany,
    /// Two keys of one name for one algorithm.
    #[error("two keys with the `kid` `{0}` serve the same algorithm; give each its own `kid`")]
    SameKid(String),
    /// A configured PEM key cannot be used.
    #[error("PEM key {position}: {fault}")]
    Pem {
        /// Its place in the list, from 1.
        position: usize,
        /// What is wrong with it.
        fault: KeyFault,
    },
    /// Symmetric and public keys together.
    #[error(
        "the keys are symmetric and public ones together; a set that holds a secret must not be handled as public"
    )]
    Mixed,
    /// Nothing that could verify a token.
    #[error("no key can be used{}", list(.0))]
    NoneUsable(Vec<IgnoredKey>),
}

fn list(ignored: &[IgnoredKey]) -> String {
    let mut text = String::new();
    for key in ignored.iter().take(4) {
        text.push_str("; ");
        text.push_str(&key.to_string());
    }
    if ignored.len() > 4 {
        text.push_str("; and others");
    }
    text
}

/// A key of a set that is not used, and why. RFC 7517 section 5 has unknown ones passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredKey {
    /// Its place in the set, from 1.
    pub position: usize,
    /// Why it is not used.
    pub fault: KeyFault,
}

impl std::fmt::Display for IgnoredKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "key {}: {}", self.position, self.fault)
    }
}

/// The usable keys of one issuer.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: Vec<VerifyingKey>,
    /// Names of keys that cannot be read: where a good key has the same name, nobody knows which one is meant.
    doubtful: Vec<String>,
    pub(super) ignored: Vec<IgnoredKey>,
}

impl KeySet {
    /// Reads an issuer's keys. Of a key set, keys that cannot be used are passed over and listed; a PEM key was put
    /// there by hand, so one that cannot be used is a fault.
    pub(super) fn load(source: &KeySource, rules: &KeyRules<'_>) -> Result<Self, KeySetFault> {
        let set = match source {
            KeySource::Jwks(text) => Self::from_jwks(text, rules)?,
            KeySource::Pem(keys) => Self::from_pem(keys, rules)?,
            KeySource::Fetched(_) => return Ok(Self::none()),
        };
        for (index, key) in set.keys.iter().enumerate() {
            let Some(kid) = &key.kid else { continue };
            let earlier = set.keys.iter().take(index).filter(|other| other.kid.as_ref() == Some(kid));
            for other in earlier {
                if key.algorithms().any(|algorithm| other.material(algorithm).is_some()) {
                    return Err(KeySetFault::SameKid(kid.clone()));
                }
            }
        }
        if set.is_mixed() {
            return Err(KeySetFault::Mixed);
        }
        if set.keys.is_empty() { Err(KeySetFault::NoneUsable(set.ignored)) } else { Ok(set) }
    }

    /// Reads a key set that was fetched. Nobody here can mend it, so it is taken as far as it can be read in one way:
    /// where two keys have one name, tokens that name it are refused and all others are judged as usual.
    pub(super) fn fetched(text: &str, rules: &KeyRules<'_>) -> Result<Self, KeySetFault> {
        let mut set = Self::from_jwks(text, rules)?;
        if set.is_mixed() {
            return Err(KeySetFault::Mixed);
        }
        let mut once: Vec<VerifyingKey> = Vec::with_capacity(set.keys.len());
        for key in set.keys {
            if !once.iter().any(|other| other.same_as(&key)) {
                once.push(key);
            }
        }
        set.keys = once;
        if set.keys.is_empty() { Err(KeySetFault::NoneUsable(set.ignored)) } else { Ok(set) }
    }

    /// No key at all: nothing was fetched yet.
    pub(super) fn none() -> Self {
        Self { keys: Vec::new(), doubtful: Vec::new(), ignored: Vec::new() }
    }

    /// How many keys can be used.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether all that `earlier` verified means the same here: each of its keys is still there, and whatever is new
    /// has a name that no earlier key has.
    pub(super) fn extends(&self, earlier: &Self) -> bool {
        let kept = earlier.keys.iter().all(|old| self.keys.iter().any(|key| key.same_as(old)));
        let taken = |kid: &Option<String>| kid.is_none() || earlier.keys.iter().any(|old| old.kid == *kid);
        let plain = self
            .keys
            .iter()
            .filter(|key| !earlier.keys.iter().any(|old| old.same_as(key)))
            .all(|new| !taken(&new.kid));
        let undoubted =
            self.doubtful.iter().all(|kid| !taken(&Some(kid.clone())) || earlier.doubtful.contains(kid));
        kept && plain && undoubted
    }

    /// Whether both hold the same keys.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.extends(other) && other.extends(self)
    }

    fn from_jwks(text: &str, rules: &KeyRules<'_>) -> Result<Self, KeySetFault> {
        if text.len() > MAX_JWKS_BYTES {
            return Err(KeySetFault::Form);
        }
        let set = Object::read(text.as_bytes(), MAX_JWKS_DEPTH).map_err(|_| KeySetFault::Form)?;
        let Some(Json::List(keys)) = set.get("keys") else { return Err(KeySetFault::Form) };
        if keys.len() > MAX_KEYS {
            return Err(KeySetFault::TooMany);
        }
        Ok(Self::of(keys, rules))
    }

    /// The usable ones among some JSON web keys; names are not compared.
    pub(super) fn of(keys: &[Json], rules: &KeyRules<'_>) -> Self {
        let mut set =
            Self { keys: Vec::with_capacity(keys.len()), doubtful: Vec::new(), ignored: Vec::new() };
        for (index, key) in keys.iter().enumerate() {
            match VerifyingKey::from_jwk(key, rules) {
                Ok(key) => set.keys.push(key),
                Err(fault) => {
                    if let (false, Some(kid)) = (fault.is_other_purpose(), VerifyingKey::name_of(key)) {
                        set.doubtful.push(kid.to_owned());
                    }
                    set.ignored.push(IgnoredKey { position: index + 1, fault });
                }
            }
        }
        set
    }

    fn from_pem(keys: &[PemKey], rules: &KeyRules<'_>) -> Result<Self, KeySetFault> {
        if keys.len() > MAX_KEYS {
            return Err(KeySetFault::TooMany);
        }
        let mut set =
            Self { keys: Vec::with_capacity(keys.len()), doubtful: Vec::new(), ignored: Vec::new() };
        for (index, key) in keys.iter().enumerate() {
            let key = VerifyingKey::from_pem(&key.pem, key.kid.clone(), rules)
                .map_err(|fault| KeySetFault::Pem { position: index + 1, fault })?;
            set.keys.push(key);
        }
        Ok(set)
    }

    /// Whether symmetric and public keys stand together.
    pub(super) fn is_mixed(&self) -> bool {
        let symmetric = self.keys.iter().filter(|key| key.is_symmetric()).count();
        symmetric != 0 && symmetric != self.keys.len()
    }

    /// Whether no key can be used.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The one key that a token means.
    pub(super) fn choose(&self, algorithm: Algorithm, kid: Option<&str>) -> Result<&Material, TokenFault> {
        let Some(kid) = kid else {
            return self.only(algorithm, |_| true)?.ok_or(TokenFault::KeyUnknown);
        };
        if let Some(key) = self.only(algorithm, |key| key.kid.as_deref() == Some(kid))? {
            let doubtful = self.doubtful.iter().any(|other| other == kid);
            return if doubtful { Err(TokenFault::KeyAmbiguous) } else { Ok(key) };
        }
        if self.keys.iter().any(|key| key.kid.as_deref() == Some(kid)) {
            return Err(TokenFault::KeyMismatch);
        }
        self.only(algorithm, |key| key.kid.is_none())?.ok_or(TokenFault::KeyUnknown)
    }

    fn only(
        &self,
        algorithm: Algorithm,
        meant: impl Fn(&VerifyingKey) -> bool,
    ) -> Result<Option<&Material>, TokenFault> {
        let mut fitting = self.keys.iter().filter(|key| meant(key)).filter_map(|key| key.material(algorithm));
        match (fitting.next(), fitting.next()) {
            (_, Some(_)) => Err(TokenFault::KeyAmbiguous),
            (only, None) => Ok(only),
        }
    }
}
