//! Tests of the room as a whole, with keys made at run time.
#![allow(clippy::as_conversions, reason = "tests")]

mod bad_tokens;
mod batch;
mod cache;
mod fetched;
mod good_tokens;
mod keys;
mod mint;
mod properties;
mod times;

use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::AsDer,
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        self as sig, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding,
        RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::model::{IssuerName, SubjectKind};

/// Now, in seconds.
const NOW: i64 = 1_800_000_000;
const STAFF: &str = "https://staff.example/";
const MEMBERS: &str = "https://members.example/";
const AUDIENCE: &str = "postern";

fn now() -> Timestamp {
    Timestamp::from_ms(NOW * 1000)
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key of any kind that signs anything.
enum TestKey {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
    Oct(Vec<u8>),
}

static RSA: LazyLock<TestKey> =
    LazyLock::new(|| TestKey::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));
static EC: LazyLock<TestKey> = LazyLock::new(|| ec(&sig::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"));
static EC_OTHER: LazyLock<TestKey> = LazyLock::new(|| ec(&sig::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"));
static EC384: LazyLock<TestKey> = LazyLock::new(|| ec(&sig::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"));
static EC521: LazyLock<TestKey> = LazyLock::new(|| ec(&sig::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"));
static ED: LazyLock<TestKey> = LazyLock::new(|| TestKey::Ed(Ed25519KeyPair::generate().unwrap()));
static OCT: LazyLock<TestKey> = LazyLock::new(|| TestKey::Oct((0..64).collect()));

fn ec(how: &'static EcdsaSigningAlgorithm, curve: &'static str) -> TestKey {
    TestKey::Ec(EcdsaKeyPair::generate(how).unwrap(), curve)
}

impl TestKey {
    fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Rsa(pair) => {
                let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
                let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
                json!({"kty": "RSA", "kid": kid, "n": b64(n), "e": b64(e)})
            }
            Self::Ec(pair, curve) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "kid": kid, "x": b64(x), "y": b64(y)})
            }
            Self::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(pair.public_key().as_ref())})
            }
            Self::Oct(key) => json!({"kty": "oct", "kid": kid, "k": b64(key)}),
        }
    }

    fn pem(&self) -> String {
        let der = match self {
            Self::Rsa(pair) => {
                AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap()
            }
            Self::Ec(pair, _) => pair.public_key().as_der().unwrap(),
            Self::Ed(pair) => pair.public_key().as_der().unwrap(),
            Self::Oct(_) => panic!("no PEM for symmetric keys"),
        };
        pem::encode("PUBLIC KEY", der.as_ref()).to_string()
    }

    fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => {
                let how: &'static dyn RsaEncoding = match alg {
                    "RS384" => &sig::RSA_PKCS1_SHA384,
                    "RS512" => &sig::RSA_PKCS1_SHA512,
                    "PS256" => &sig::RSA_PSS_SHA256,
                    "PS384" => &sig::RSA_PSS_SHA384,
                    "PS512" => &sig::RSA_PSS_SHA512,
                    _ => &sig::RSA_PKCS1_SHA256,
                };
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(how, &SystemRandom::new(), message, &mut out).unwrap();
                out
            }
            Self::Ec(pair, _) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Oct(key) => {
                let how = match alg {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(how, key), message).as_ref().to_vec()
            }
        }
    }

    /// A token with exactly this header and payload, byte for byte.
    fn token(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        let alg = serde_json::from_slice::<Value>(header.as_ref()).ok();
        let alg = alg.and_then(|header| header["alg"].as_str().map(str::to_owned)).unwrap_or_default();
        let signed = format!("{}.{}", b64(header), b64(payload));
        let signature = b64(self.sign(&alg, signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

fn jwks(keys: &[Value]) -> KeySource {
    KeySource::Jwks(json!({ "keys": keys }).to_string())
}

fn all_keys() -> Vec<Value> {
    vec![RSA.jwk("rsa"), EC.jwk("ec"), EC384.jwk("ec384"), EC521.jwk("ec521"), ED.jwk("ed")]
}

fn asymmetric() -> Vec<Algorithm> {
    Algorithm::ALL.iter().copied().filter(|algorithm| !algorithm.is_hmac()).collect()
}

fn issuer(kind: SubjectKind) -> IssuerOptions {
    let (name, iss) = match kind {
        SubjectKind::Staff => ("staff", STAFF),
        SubjectKind::Member => ("members", MEMBERS),
        SubjectKind::Service => ("services", "https://services.example/"),
    };
    let name = IssuerName::new(name).unwrap();
    let mut options = IssuerOptions::new(name, iss, kind, AUDIENCE, jwks(&all_keys()));
    options.algorithms = asymmetric();
    options.claims.environment = ClaimPath::parse("environment").ok();
    options
}

/// One staff issuer and one issuer of members, with the same keys.
fn verifier() -> Verifier {
    Verifier::new(vec![issuer(SubjectKind::Staff), issuer(SubjectKind::Member)], Limits::default()).unwrap()
}

fn verifier_of(change: impl FnOnce(&mut IssuerOptions)) -> Verifier {
    let mut options = issuer(SubjectKind::Staff);
    change(&mut options);
    Verifier::new(vec![options], Limits::default()).unwrap()
}

fn header(alg: &str, kid: &str) -> Value {
    json!({"alg": alg, "kid": kid, "typ": "at+jwt"})
}

fn es256() -> Value {
    header("ES256", "ec")
}

fn staff_claims() -> Value {
    json!({"iss": STAFF, "aud": AUDIENCE, "sub": "agent-7", "iat": NOW - 60, "exp": NOW + 3600})
}

fn member_claims() -> Value {
    json!({
        "iss": MEMBERS, "aud": AUDIENCE, "sub": "u|1", "iat": NOW - 60, "exp": NOW + 3600,
        "tenant": "acme", "roles": ["admin", "viewer"],
    })
}

/// A value with one member set, or with it removed where `value` is nothing.
fn with(mut base: Value, name: &str, value: impl Into<Option<Value>>) -> Value {
    let members = base.as_object_mut().unwrap();
    match value.into() {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    base
}

fn staff_token(change: impl FnOnce(&mut Value)) -> String {
    let mut claims = staff_claims();
    change(&mut claims);
    EC.token(es256().to_string(), claims.to_string())
}

fn member_token(change: impl FnOnce(&mut Value)) -> String {
    let mut claims = member_claims();
    change(&mut claims);
    EC.token(es256().to_string(), claims.to_string())
}
