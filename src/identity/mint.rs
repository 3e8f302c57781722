//! Signing: tokens for people who try things out, and the assertion that applications are handed (rule 14).
//!
//! Lives here: one private key, loaded or made, and what is published of it. Never here: what a token or an assertion
//! says, nor when it ends; a private key never leaves but by [`Signer::to_pem`].

use std::fmt;

use aws_lc_rs::{
    digest,
    encoding::AsBigEndian as _,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    algorithm::Algorithm,
    json::{Json, Object},
    pem,
};

/// Why there is no key to sign with, or no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignerFault {
    /// Not one PEM block with a PKCS#8 key.
    #[error("the signing key is not one PEM block `PRIVATE KEY` (PKCS#8, unencrypted)")]
    Pem,
    /// Not a private JSON web key.
    #[error(
        "the signing key is not a private JSON web key of type EC (`P-256`) or OKP (`Ed25519`) with `d`, `x` (and `y`)"
    )]
    Jwk,
    /// A key for something else.
    #[error(
        "the signing key's `use`, `key_ops` or `alg` says that it is not for signing with ES256 or EdDSA"
    )]
    Purpose,
    /// A type of key that does not sign here.
    #[error(
        "the signing key is neither P-256 (ES256) nor Ed25519 (EdDSA); make one with `postern token key`"
    )]
    Unsupported,
    /// Halves that do not belong together, or a broken key.
    #[error("the signing key's private and public halves do not belong together")]
    Mismatch,
    /// The claims cannot be written as a JSON object.
    #[error("the claims cannot be written as a JSON object")]
    Claims,
    /// The library refused.
    #[error("the cryptographic library could not make a key or a signature")]
    Library,
}

/// Signs with one private key.
pub struct Signer {
    key: Key,
    kid: String,
}

enum Key {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Never prints the key.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("algorithm", &self.algorithm())
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// What is published of a signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublicJwk {
    /// `EC` or `OKP`.
    pub kty: &'static str,
    /// `P-256` or `Ed25519`.
    pub crv: &'static str,
    /// The point's first coordinate, or the key.
    pub x: String,
    /// The point's second coordinate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// Its name.
    pub kid: String,
    /// Its algorithm.
    pub alg: &'static str,
    /// Always `sig`.
    #[serde(rename = "use")]
    pub purpose: &'static str,
}

#[derive(Serialize)]
struct SignedHeader<'a> {
    alg: &'static str,
    kid: &'a str,
    typ: &'a str,
}

impl Signer {
    /// A new key, for ES256 or EdDSA.
    pub fn generate(algorithm: Algorithm) -> Result<Self, SignerFault> {
        let key = match algorithm {
            Algorithm::Es256 => Key::P256(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| SignerFault::Library)?,
            ),
            Algorithm::EdDsa => Key::Ed25519(Ed25519KeyPair::generate().map_err(|_| SignerFault::Library)?),
            _ => return Err(SignerFault::Unsupported),
        };
        Ok(Self::of(key, None))
    }

    /// Reads a PKCS#8 key in PEM. Without a `kid`, the key is named by its RFC 7638 thumbprint.
    pub fn from_pem(text: &str, kid: Option<&str>) -> Result<Self, SignerFault> {
        let (label, der) = pem::decode(text).ok_or(SignerFault::Pem)?;
        if label != "PRIVATE KEY" {
            return Err(SignerFault::Pem);
        }
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der)
            .map(Key::P256)
            .or_else(|_| Ed25519KeyPair::from_pkcs8(&der).map(Key::Ed25519))
            .map_err(|_| SignerFault::Unsupported)?;
        Ok(Self::of(key, kid.map(str::to_owned)))
    }

    /// Reads a private JSON web key; its `kid`, or else its RFC 7638 thumbprint, names it.
    pub fn from_jwk(text: &str) -> Result<Self, SignerFault> {
        let jwk = Object::read(text.as_bytes(), 3).map_err(|_| SignerFault::Jwk)?;
        let text_of = |name: &str| jwk.get(name).and_then(Json::text);
        let bytes = |name: &str| {
            let bytes = text_of(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
            bytes.map(Zeroizing::new).ok_or(SignerFault::Jwk)
        };
        let (key, name) = match (text_of("kty"), text_of("crv")) {
            (Some("EC"), Some("P-256")) => {
                let (d, x, y) = (bytes("d")?, bytes("x")?, bytes("y")?);
                if d.len() != 32 || x.len() != 32 || y.len() != 32 {
                    return Err(SignerFault::Jwk);
                }
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                let how = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let pair = EcdsaKeyPair::from_private_key_and_public_key(how, &d, &point);
                (pair.map(Key::P256), "ES256")
            }
            (Some("OKP"), Some("Ed25519")) => {
                let (d, x) = (bytes("d")?, bytes("x")?);
                if d.len() != 32 || x.len() != 32 {
                    return Err(SignerFault::Jwk);
                }
                (Ed25519KeyPair::from_seed_and_public_key(&d, &x).map(Key::Ed25519), "EdDSA")
            }
            (Some("EC" | "OKP" | "RSA" | "oct"), _) => return Err(SignerFault::Unsupported),
            _ => return Err(SignerFault::Jwk),
        };
        let fits = |name: &str, value: &str| !jwk.has(name) || text_of(name) == Some(value);
        let may_sign = match jwk.get("key_ops") {
            None => true,
            Some(Json::List(operations)) => {
                operations.iter().any(|operation| operation.text() == Some("sign"))
            }
            Some(_) => false,
        };
        if !fits("use", "sig") || !fits("alg", name) || !may_sign {
            return Err(SignerFault::Purpose);
        }
        if jwk.has("kid") && text_of("kid").is_none() {
            return Err(SignerFault::Jwk);
        }
        Ok(Self::of(key.map_err(|_| SignerFault::Mismatch)?, text_of("kid").map(str::to_owned)))
    }

    fn of(key: Key, kid: Option<String>) -> Self {
        let mut signer = Self { key, kid: String::new() };
        signer.kid = kid.unwrap_or_else(|| signer.thumbprint());
        signer
    }

    /// The key in PEM (PKCS#8), to be kept where only the gateway reads it.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, SignerFault> {
        let der = match &self.key {
            Key::P256(pair) => pair.to_pkcs8v1(),
            Key::Ed25519(pair) => pair.to_pkcs8v1(),
        };
        Ok(pem::encode("PRIVATE KEY", der.map_err(|_| SignerFault::Library)?.as_ref()))
    }

    /// The key as a private JSON web key.
    pub fn to_private_jwk(&self) -> Result<Zeroizing<String>, SignerFault> {
        let d = match &self.key {
            Key::P256(pair) => {
                let bytes = pair.private_key().as_be_bytes().map_err(|_| SignerFault::Library)?;
                Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_ref()))
            }
            Key::Ed25519(pair) => {
                let seed = pair.seed().map_err(|_| SignerFault::Library)?;
                let bytes = seed.as_be_bytes().map_err(|_| SignerFault::Library)?;
                Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_ref()))
            }
        };
        #[derive(Serialize)]
        struct Private<'a> {
            #[serde(flatten)]
            public: PublicJwk,
            d: &'a str,
        }
        let private = Private { public: self.public_jwk(), d: &d };
        serde_json::to_string(&private).map(Zeroizing::new).map_err(|_| SignerFault::Library)
    }

    /// What verifies this signer's tokens.
    pub fn public_jwk(&self) -> PublicJwk {
        let (kty, crv, x, y) = self.point();
        PublicJwk { kty, crv, x, y, kid: self.kid.clone(), alg: self.algorithm().name(), purpose: "sig" }
    }

    /// The same as a key set of one key, ready to be served.
    pub fn public_jwks(&self) -> Result<String, SignerFault> {
        #[derive(Serialize)]
        struct Set {
            keys: [PublicJwk; 1],
        }
        serde_json::to_string(&Set { keys: [self.public_jwk()] }).map_err(|_| SignerFault::Library)
    }

    /// ES256 or EdDSA.
    pub fn algorithm(&self) -> Algorithm {
        match self.key {
            Key::P256(_) => Algorithm::Es256,
            Key::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// The name of the key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// A token in compact form, with that `typ` and those claims.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, SignerFault> {
        let header = SignedHeader { alg: self.algorithm().name(), kid: &self.kid, typ };
        let header = serde_json::to_vec(&header).map_err(|_| SignerFault::Claims)?;
        let claims = serde_json::to_vec(claims).map_err(|_| SignerFault::Claims)?;
        if claims.first() != Some(&b'{') {
            return Err(SignerFault::Claims);
        }
        // 4 characters for 3 bytes, two dots, 86 characters of signature.
        let mut token = String::with_capacity((header.len() + claims.len() + 4) * 4 / 3 + 92);
        URL_SAFE_NO_PAD.encode_string(header, &mut token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = match &self.key {
            Key::P256(pair) => pair.sign(&SystemRandom::new(), token.as_bytes()),
            Key::Ed25519(pair) => pair.try_sign(token.as_bytes()),
        };
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.map_err(|_| SignerFault::Library)?.as_ref(), &mut token);
        Ok(token)
    }

    fn point(&self) -> (&'static str, &'static str, String, Option<String>) {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.key {
            Key::P256(pair) => {
                // 0x04, then both coordinates of 32 bytes.
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                ("EC", "P-256", text(x), Some(text(y)))
            }
            Key::Ed25519(pair) => ("OKP", "Ed25519", text(pair.public_key().as_ref()), None),
        }
    }

    /// RFC 7638: the SHA-256 of the required members in alphabetical order.
    fn thumbprint(&self) -> String {
        let (kty, crv, x, y) = self.point();
        let text = match y {
            Some(y) => format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}"#),
            None => format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}"}}"#),
        };
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
    }
}
