//! One public key: a JSON web key (RFC 7517, 7518, 8037) or a PEM block, read strictly and bound to its algorithms.
//!
//! Lives here: what a key must be to verify anything at all. Never here: which of several keys a token means (see
//! [`super::keys`]), private halves (see [`super::mint`]).

use std::fmt;

use aws_lc_rs::{
    digest, hmac,
    signature::{self as sig, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    algorithm::Algorithm,
    json::{Json, Object},
    pem,
};

/// Why a key cannot be used. The message never holds the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KeyFault {
    /// Not an object with the members of its type, as canonical base64url.
    #[error("the key is not a JSON web key: `kty` and the members of that type, as canonical base64url")]
    Form,
    /// A type of key that is not known.
    #[error("the key's `kty` is not `RSA`, `EC` or `OKP`")]
    Type,
    /// A curve that is not known.
    #[error("the key's `crv` is not `P-256`, `P-384`, `P-521` or `Ed25519`")]
    Curve,
    /// The point does not lie on the curve.
    #[error("the key's point has the wrong size, or does not lie on its curve")]
    Point,
    /// `use` is not `sig`.
    #[error("the key's `use` is not `sig`")]
    Use,
    /// `key_ops` does not hold `verify`.
    #[error("the key's `key_ops` do not hold `verify`, or name an operation twice")]
    Operations,
    /// `alg` is none that this key and this issuer have in common.
    #[error("the key fits none of the issuer's `algorithms`, or its own `alg` is another one")]
    Algorithm,
    /// An RSA modulus of less than 2048 or more than 8192 bits, or an even one.
    #[error("the RSA key must have 2048 to 8192 bits, and its modulus must be odd and without leading zeros")]
    RsaSize,
    /// An RSA exponent that is even, below 3, or beyond 33 bits.
    #[error("the RSA key's exponent must be odd, at least 3, and at most 33 bits long")]
    RsaExponent,
    /// A modulus of the weak form that the ROCA flaw leaves (CVE-2017-15361).
    #[error(
        "the RSA key has the form of a weak generator (ROCA, CVE-2017-15361), so it can be factored; make another"
    )]
    RsaWeak,
    /// A symmetric key.
    #[error("a symmetric (`oct`) key is refused: whoever can verify with it can also sign")]
    Symmetric,
    /// A symmetric key shorter than its hash.
    #[error("the symmetric key is shorter than the hash of its algorithm")]
    SymmetricShort,
    /// A private key where a public one is expected.
    #[error(
        "the key holds its private half: publish only the public one, and replace this key, since it is known now"
    )]
    Private,
    /// Not one PEM block with a public key.
    #[error("the text is not one PEM block `PUBLIC KEY` with an RSA, P-256, P-384, P-521 or Ed25519 key")]
    Pem,
}

impl KeyFault {
    /// Whether the key is well, yet for something else.
    pub(super) const fn is_other_purpose(self) -> bool {
        matches!(
            self,
            Self::Type | Self::Curve | Self::Use | Self::Operations | Self::Algorithm | Self::Symmetric
        )
    }

    /// The stable code of this fault.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Form => "key_form",
            Self::Type => "key_type",
            Self::Curve => "key_curve",
            Self::Point => "key_point",
            Self::Use => "key_use",
            Self::Operations => "key_ops",
            Self::Algorithm => "key_alg",
            Self::RsaSize => "key_rsa_size",
            Self::RsaExponent => "key_rsa_exponent",
            Self::RsaWeak => "key_rsa_weak",
            Self::Symmetric => "key_symmetric",
            Self::SymmetricShort => "key_symmetric_short",
            Self::Private => "key_private",
            Self::Pem => "key_pem",
        }
    }
}

/// Which keys are taken.
pub(super) struct KeyRules<'a> {
    /// The algorithms that the key may serve.
    pub(super) algorithms: &'a [Algorithm],
    /// Whether `oct` keys are taken; a way to be forged by whoever verifies.
    pub(super) hmac: bool,
    /// Whether a key that holds its private half is taken (for test vectors), or refused as leaked.
    pub(super) private: bool,
}

/// A key that can verify, with each algorithm that it may serve.
pub(super) struct VerifyingKey {
    pub(super) kid: Option<String>,
    uses: Vec<(Algorithm, Material)>,
    /// Tells this key from every other: a digest of its name, its algorithms and its public half.
    print: [u8; 32],
}

/// Key and algorithm, inseparable.
pub(super) enum Material {
    Public(ParsedPublicKey),
    // Boxed: it is by far the largest, and the rare one.
    Hmac(Box<hmac::Key>),
}

impl Material {
    /// Whether this is the signature of that text.
    pub(super) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Public(key) => key.verify_sig(signed, signature).is_ok(),
            Self::Hmac(key) => hmac::verify(key, signed, signature).is_ok(),
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<Algorithm> = self.uses.iter().map(|(algorithm, _)| *algorithm).collect();
        f.debug_struct("VerifyingKey").field("kid", &self.kid).field("algorithms", &algorithms).finish()
    }
}

impl VerifyingKey {
    /// The key as that algorithm uses it, where it may.
    pub(super) fn material(&self, algorithm: Algorithm) -> Option<&Material> {
        self.uses.iter().find(|(own, _)| *own == algorithm).map(|(_, material)| material)
    }

    /// A key with its digest. `halves` are the public numbers that it consists of.
    fn of(kid: Option<String>, uses: Uses, halves: &[&[u8]]) -> Result<Self, KeyFault> {
        if uses.is_empty() {
            return Err(KeyFault::Algorithm);
        }
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut part = |bytes: &[u8]| {
            hash.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(bytes);
        };
        part(kid.as_deref().unwrap_or_default().as_bytes());
        part(&[u8::from(kid.is_some())]);
        halves.iter().for_each(|half| part(half));
        uses.iter().for_each(|(algorithm, _)| part(algorithm.name().as_bytes()));
        let mut print = [0; 32];
        print.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Ok(Self { kid, uses, print })
    }

    /// Whether both are the same key under the same name, for the same algorithms.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.print == other.print
    }

    /// Whether it is symmetric.
    pub(super) fn is_symmetric(&self) -> bool {
        self.uses.iter().any(|(_, material)| matches!(material, Material::Hmac(_)))
    }

    /// The algorithms that it serves.
    pub(super) fn algorithms(&self) -> impl Iterator<Item = Algorithm> + '_ {
        self.uses.iter().map(|(algorithm, _)| *algorithm)
    }

    /// The `kid` of a JSON web key, however broken the rest of it.
    pub(super) fn name_of(jwk: &Json) -> Option<&str> {
        match jwk {
            Json::Object(jwk) => jwk.get("kid").and_then(Json::text),
            _ => None,
        }
    }

    /// Reads a JSON web key.
    pub(super) fn from_jwk(jwk: &Json, rules: &KeyRules<'_>) -> Result<Self, KeyFault> {
        let Json::Object(jwk) = jwk else { return Err(KeyFault::Form) };
        let kid = optional(jwk, "kid")?.map(str::to_owned);
        if optional(jwk, "use")?.is_some_and(|purpose| purpose != "sig") {
            return Err(KeyFault::Use);
        }
        may_verify(jwk.get("key_ops"))?;
        let own = optional(jwk, "alg")?;
        let allowed: Vec<Algorithm> =
            rules.algorithms.iter().copied().filter(|a| own.is_none_or(|own| own == a.name())).collect();
        let kty = optional(jwk, "kty")?.ok_or(KeyFault::Form)?;
        if !rules.private
            && kty != "oct"
            && ["d", "p", "q", "dp", "dq", "qi"].iter().any(|name| jwk.has(name))
        {
            return Err(KeyFault::Private);
        }
        let (uses, members): (Uses, &[&str]) = match kty {
            "RSA" => (rsa(&bytes(jwk, "n")?, &bytes(jwk, "e")?, &allowed)?, &["n", "e"]),
            "EC" => (elliptic(jwk, &allowed)?, &["crv", "x", "y"]),
            "OKP" => (edwards(jwk, &allowed)?, &["crv", "x"]),
            "oct" if rules.hmac => (symmetric(&bytes(jwk, "k")?, &allowed)?, &["k"]),
            "oct" => return Err(KeyFault::Symmetric),
            _ => return Err(KeyFault::Type),
        };
        let halves: Vec<&[u8]> =
            members.iter().filter_map(|name| jwk.get(name)?.text()).map(str::as_bytes).collect();
        Self::of(kid, uses, &halves)
    }

    /// Reads a PEM block `PUBLIC KEY`.
    pub(super) fn from_pem(text: &str, kid: Option<String>, rules: &KeyRules<'_>) -> Result<Self, KeyFault> {
        let (label, der) = pem::decode(text).ok_or(KeyFault::Pem)?;
        if label.ends_with("PRIVATE KEY") {
            return Err(KeyFault::Private);
        }
        if label != "PUBLIC KEY" {
            return Err(KeyFault::Pem);
        }
        let uses = match aws_lc_rs::rsa::PublicKey::from_der(&der) {
            Ok(key) => rsa(
                key.modulus().big_endian_without_leading_zero(),
                key.exponent().big_endian_without_leading_zero(),
                rules.algorithms,
            )?,
            Err(_) => {
                let serves = |algorithms: &[Algorithm], how: &'static dyn sig::VerificationAlgorithm| {
                    ParsedPublicKey::new(how, &*der)
                        .ok()
                        .map(|key| public(algorithms, rules.algorithms, &key))
                };
                serves(&[Algorithm::Es256], &sig::ECDSA_P256_SHA256_FIXED)
                    .or_else(|| serves(&[Algorithm::Es384], &sig::ECDSA_P384_SHA384_FIXED))
                    .or_else(|| serves(&[Algorithm::Es512], &sig::ECDSA_P521_SHA512_FIXED))
                    .or_else(|| serves(&[Algorithm::EdDsa, Algorithm::Ed25519], &sig::ED25519))
                    .ok_or(KeyFault::Pem)?
            }
        };
        Self::of(kid, uses, &[&der])
    }
}

type Uses = Vec<(Algorithm, Material)>;

/// The same public key under those of its algorithms that are allowed.
fn public(serves: &[Algorithm], allowed: &[Algorithm], key: &ParsedPublicKey) -> Uses {
    let both = serves.iter().filter(|algorithm| allowed.contains(algorithm));
    both.map(|algorithm| (*algorithm, Material::Public(key.clone()))).collect()
}

fn rsa(n: &[u8], e: &[u8], allowed: &[Algorithm]) -> Result<Uses, KeyFault> {
    let bits = n.first().map_or(0, |top| n.len() * 8 - top.leading_zeros() as usize);
    let odd = |number: &[u8]| number.last().is_some_and(|low| low & 1 == 1);
    if !(2048..=8192).contains(&bits) || n.first() == Some(&0) || !odd(n) {
        return Err(KeyFault::RsaSize);
    }
    let size = e.first().map_or(0, |top| e.len() * 8 - top.leading_zeros() as usize);
    if !(2..=33).contains(&size) || e.first() == Some(&0) || !odd(e) {
        return Err(KeyFault::RsaExponent);
    }
    if is_roca(n) {
        return Err(KeyFault::RsaWeak);
    }
    let ways: [(Algorithm, &'static RsaParameters); 6] = [
        (Algorithm::Rs256, &sig::RSA_PKCS1_2048_8192_SHA256),
        (Algorithm::Rs384, &sig::RSA_PKCS1_2048_8192_SHA384),
        (Algorithm::Rs512, &sig::RSA_PKCS1_2048_8192_SHA512),
        (Algorithm::Ps256, &sig::RSA_PSS_2048_8192_SHA256),
        (Algorithm::Ps384, &sig::RSA_PSS_2048_8192_SHA384),
        (Algorithm::Ps512, &sig::RSA_PSS_2048_8192_SHA512),
    ];
    ways.into_iter()
        .filter(|(algorithm, _)| allowed.contains(algorithm))
        .map(|(algorithm, how)| {
            let key = RsaPublicKeyComponents { n, e }.to_parsed_public_key(how);
            Ok((algorithm, Material::Public(key.map_err(|_| KeyFault::RsaSize)?)))
        })
        .collect()
}

/// Whether a modulus has the fingerprint of ROCA: modulo each of these primes it is a power of 65537. Of sound keys
/// about one in 2^27 looks so by chance.
fn is_roca(n: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101,
        103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.iter().all(|prime| {
        let rest = n.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let powers = std::iter::successors(Some(1), |power| Some(power * (65537 % prime) % prime));
        powers.take(*prime as usize).any(|power| power == rest)
    })
}

fn elliptic(jwk: &Object, allowed: &[Algorithm]) -> Result<Uses, KeyFault> {
    let (algorithm, how, size): (_, &'static dyn sig::VerificationAlgorithm, _) = match optional(jwk, "crv")?
    {
        Some("P-256") => (Algorithm::Es256, &sig::ECDSA_P256_SHA256_FIXED, 32),
        Some("P-384") => (Algorithm::Es384, &sig::ECDSA_P384_SHA384_FIXED, 48),
        Some("P-521") => (Algorithm::Es512, &sig::ECDSA_P521_SHA512_FIXED, 66),
        Some(_) => return Err(KeyFault::Curve),
        None => return Err(KeyFault::Form),
    };
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != size || y.len() != size {
        return Err(KeyFault::Point);
    }
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    let key = ParsedPublicKey::new(how, point).map_err(|_| KeyFault::Point)?;
    Ok(public(&[algorithm], allowed, &key))
}

fn edwards(jwk: &Object, allowed: &[Algorithm]) -> Result<Uses, KeyFault> {
    match optional(jwk, "crv")? {
        Some("Ed25519") => {}
        Some(_) => return Err(KeyFault::Curve),
        None => return Err(KeyFault::Form),
    }
    let x = bytes(jwk, "x")?;
    if x.len() != 32 {
        return Err(KeyFault::Point);
    }
    let key = ParsedPublicKey::new(&sig::ED25519, x).map_err(|_| KeyFault::Point)?;
    Ok(public(&[Algorithm::EdDsa, Algorithm::Ed25519], allowed, &key))
}

/// RFC 7518 section 3.2: a key at least as long as the hash.
fn symmetric(key: &[u8], allowed: &[Algorithm]) -> Result<Uses, KeyFault> {
    let ways = [
        (Algorithm::Hs256, hmac::HMAC_SHA256, 32),
        (Algorithm::Hs384, hmac::HMAC_SHA384, 48),
        (Algorithm::Hs512, hmac::HMAC_SHA512, 64),
    ];
    let wanted = || ways.into_iter().filter(|(algorithm, _, _)| allowed.contains(algorithm));
    let uses: Uses = wanted()
        .filter(|(_, _, size)| key.len() >= *size)
        .map(|(algorithm, how, _)| (algorithm, Material::Hmac(Box::new(hmac::Key::new(how, key)))))
        .collect();
    if uses.is_empty() && wanted().next().is_some() { Err(KeyFault::SymmetricShort) } else { Ok(uses) }
}

fn may_verify(operations: Option<&Json>) -> Result<(), KeyFault> {
    let Some(operations) = operations else { return Ok(()) };
    let Json::List(operations) = operations else { return Err(KeyFault::Form) };
    let mut seen: Vec<&str> = Vec::with_capacity(operations.len());
    for operation in operations {
        let operation = operation.text().ok_or(KeyFault::Form)?;
        if seen.contains(&operation) || seen.len() > 16 {
            return Err(KeyFault::Operations);
        }
        seen.push(operation);
    }
    if seen.contains(&"verify") { Ok(()) } else { Err(KeyFault::Operations) }
}

fn optional<'a>(jwk: &'a Object, name: &str) -> Result<Option<&'a str>, KeyFault> {
    match jwk.get(name) {
        None => Ok(None),
        Some(value) => value.text().map(Some).ok_or(KeyFault::Form),
    }
}

fn bytes(jwk: &Object, name: &str) -> Result<Vec<u8>, KeyFault> {
    let text = optional(jwk, name)?.ok_or(KeyFault::Form)?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyFault::Form)
}
