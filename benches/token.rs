//! What a token costs: verified anew, found in the cache, signed; beside `jsonwebtoken`, which looks at less.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may stop")]

use std::sync::LazyLock;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use divan::{Bencher, black_box};
use postern::{
    identity::{
        ASSERTION_TYPE, Algorithm, IssuerOptions, KeySource, Limits, Signer, TokenCache, Verifier,
        cache::CacheLimits,
    },
    model::{IssuerName, SubjectKind, Timestamp},
};
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;
const ISS: &str = "https://members.example/";

fn main() {
    divan::main();
}

fn now() -> Timestamp {
    Timestamp::from_ms(NOW * 1000)
}

fn claims(n: usize) -> Value {
    json!({
        "iss": ISS, "aud": ["postern", "app"], "sub": format!("user-{n:06}"), "iat": NOW - 60, "exp": NOW + 3600,
        "jti": format!("0192f0c1-7d1b-7c3e-9b1a-{n:012x}"), "client_id": "web", "scope": "openid profile orders",
        "tenant": "acme", "roles": ["viewer", "orders_clerk"],
    })
}

fn verifier(jwks: &str) -> Verifier {
    let keys = KeySource::Jwks(jwks.to_owned());
    let name = IssuerName::new("members").unwrap();
    Verifier::new(
        vec![IssuerOptions::new(name, ISS, SubjectKind::Member, "postern", keys)],
        Limits::default(),
    )
    .unwrap()
}

struct Setup {
    verifier: Verifier,
    jwks: String,
    token: String,
}

fn own(algorithm: Algorithm) -> Setup {
    let signer = Signer::generate(algorithm).unwrap();
    let jwks = signer.public_jwks().unwrap();
    Setup { verifier: verifier(&jwks), jwks, token: signer.sign("at+jwt", &claims(0)).unwrap() }
}

static ES256: LazyLock<Setup> = LazyLock::new(|| own(Algorithm::Es256));
static EDDSA: LazyLock<Setup> = LazyLock::new(|| own(Algorithm::EdDsa));
static RS256: LazyLock<Setup> = LazyLock::new(|| {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
    let (n, e) = (text(n.big_endian_without_leading_zero()), text(e.big_endian_without_leading_zero()));
    let jwks = json!({"keys": [{"kty": "RSA", "kid": "r", "n": n, "e": e}]}).to_string();
    let header = json!({"alg": "RS256", "kid": "r", "typ": "at+jwt"}).to_string();
    let signed = format!("{}.{}", text(header.as_bytes()), text(claims(0).to_string().as_bytes()));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    Setup { verifier: verifier(&jwks), jwks, token: format!("{signed}.{}", text(&signature)) }
});

fn setup(alg: &str) -> &'static Setup {
    match alg {
        "RS256" => &RS256,
        "EdDSA" => &EDDSA,
        _ => &ES256,
    }
}

#[divan::bench(args = ["RS256", "ES256", "EdDSA"])]
fn verify_uncached(bencher: Bencher<'_, '_>, alg: &str) {
    let setup = setup(alg);
    bencher.bench(|| setup.verifier.verify(black_box(setup.token.as_bytes()), now()).unwrap());
}

#[divan::bench(args = ["RS256", "ES256", "EdDSA"])]
fn verify_by_jsonwebtoken(bencher: Bencher<'_, '_>, alg: &str) {
    let setup = setup(alg);
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&setup.jwks).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(set.keys.first().unwrap()).unwrap();
    let mut rules = jsonwebtoken::Validation::new(alg.parse().unwrap());
    rules.set_audience(&["postern"]);
    bencher.bench(|| jsonwebtoken::decode::<Value>(black_box(&setup.token), &key, &rules).unwrap());
}

/// What a stale or a malformed token costs before it is refused.
#[divan::bench(args = ["expired", "unsigned", "garbage", "forged"])]
fn refuse(bencher: Bencher<'_, '_>, kind: &str) {
    let setup = &*ES256;
    let mut parts: Vec<String> = setup.token.split('.').map(str::to_owned).collect();
    let later = if kind == "expired" { Timestamp::from_ms((NOW + 90_000) * 1000) } else { now() };
    match kind {
        "unsigned" => parts[0] = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        "garbage" => parts[1] = "x y z".repeat(100),
        "forged" => parts[2] = URL_SAFE_NO_PAD.encode([7; 64]),
        _ => {}
    }
    let token = parts.join(".");
    bencher.bench(|| setup.verifier.verify(black_box(token.as_bytes()), later).unwrap_err());
}

/// How many look-ups one sample of `cached_hit` makes; its figures are for so many.
const BATCH: usize = 64;

/// Hits among so many tokens, each in turn in a scattered order, as requests of many callers come.
#[divan::bench(args = [1, 10, 1_000, 10_000, 100_000])]
fn cached_hit(bencher: Bencher<'_, '_>, entries: usize) {
    let signer = Signer::generate(Algorithm::EdDsa).unwrap();
    let verifier = verifier(&signer.public_jwks().unwrap());
    let mut cache = TokenCache::new(CacheLimits { max_entries: entries, max_bytes: 1 << 30 });
    let tokens: Vec<String> = (0..entries).map(|n| signer.sign("at+jwt", &claims(n)).unwrap()).collect();
    for token in &tokens {
        cache.resolve(&verifier, token.as_bytes(), now()).unwrap();
    }
    // A request's token stands in a buffer that was just written, so copying it is no part of what is measured.
    let mut at = 0;
    let cache = std::cell::RefCell::new(cache);
    bencher
        .counter(divan::counter::ItemsCount::new(BATCH))
        .with_inputs(|| {
            let scattered = std::iter::repeat_with(|| {
                at = (at + 7919) % entries;
                tokens[at].clone()
            });
            scattered.take(BATCH).collect::<Vec<String>>()
        })
        .bench_local_values(|requests| {
            let mut cache = cache.borrow_mut();
            for token in &requests {
                black_box(cache.resolve(&verifier, black_box(token.as_bytes()), now()).unwrap());
            }
            requests
        });
    let counts = cache.borrow().counts();
    assert_eq!((counts.misses, counts.evicted), (entries as u64, 0));
}

#[divan::bench(args = ["ES256", "EdDSA"])]
fn sign_assertion(bencher: Bencher<'_, '_>, alg: &str) {
    let signer = Signer::generate(Algorithm::named(alg).unwrap()).unwrap();
    let claims = claims(0);
    bencher.bench(|| signer.sign(ASSERTION_TYPE, black_box(&claims)).unwrap());
}

#[divan::bench(args = ["ES256", "EdDSA"])]
fn sign_by_jsonwebtoken(bencher: Bencher<'_, '_>, alg: &str) {
    let signer = Signer::generate(Algorithm::named(alg).unwrap()).unwrap();
    let pem = signer.to_pem().unwrap();
    let key = match alg {
        "ES256" => jsonwebtoken::EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(),
        _ => jsonwebtoken::EncodingKey::from_ed_pem(pem.as_bytes()).unwrap(),
    };
    let header = jsonwebtoken::Header::new(alg.parse().unwrap());
    let claims = claims(0);
    bencher.bench(|| jsonwebtoken::encode(&header, black_box(&claims), &key).unwrap());
}
