use std::sync::Arc;

use super::*;
use crate::identity::cache::CacheLimits;

fn cache(max_entries: usize) -> TokenCache {
    TokenCache::new(CacheLimits { max_entries, max_bytes: 64 << 20 })
}

fn token(n: usize) -> String {
    ED_SIGNER.sign("at+jwt", &with(staff_claims(), "sub", json!(format!("agent-{n}")))).unwrap()
}

static ED_SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::generate(Algorithm::EdDsa).unwrap());

fn ed_verifier() -> Verifier {
    verifier_of(|options| options.keys = KeySource::Jwks(ED_SIGNER.public_jwks().unwrap()))
}

#[test]
fn a_known_token_is_found_and_is_the_very_same_subject() {
    let (verifier, mut cache, token) = (verifier(), cache(8), staff_token(|_| {}));
    let first = cache.resolve(&verifier, token.as_bytes(), now()).unwrap();
    let second = cache.resolve(&verifier, token.as_bytes(), now()).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!((cache.counts().hits, cache.counts().misses, cache.len()), (1, 1, 1));
}

#[test]
fn a_token_that_expired_in_the_cache_is_refused_at_the_millisecond() {
    let (verifier, mut cache, token) =
        (verifier(), cache(8), staff_token(|claims| claims["exp"] = json!(NOW + 10)));
    let end = (NOW + 10) * 1000 + 5000;
    assert!(cache.resolve(&verifier, token.as_bytes(), now()).is_ok());
    assert!(cache.resolve(&verifier, token.as_bytes(), Timestamp::from_ms(end - 1)).is_ok());
    let late = cache.resolve(&verifier, token.as_bytes(), Timestamp::from_ms(end)).unwrap_err();
    assert_eq!((late, cache.len()), (TokenFault::Expired, 0));
    let early = Timestamp::from_ms((NOW - 60) * 1000 - 5001);
    assert!(cache.resolve(&verifier, token.as_bytes(), now()).is_ok());
    assert_eq!(cache.resolve(&verifier, token.as_bytes(), early).unwrap_err(), TokenFault::IssuedInFuture);
}

#[test]
fn a_change_of_keys_reaches_what_is_cached() {
    let (old, mut cache, token) = (verifier(), cache(8), staff_token(|_| {}));
    assert!(cache.resolve(&old, token.as_bytes(), now()).is_ok());
    let rolled = verifier_of(|options| options.keys = jwks(&[EC_OTHER.jwk("ec")]));
    assert_eq!(cache.resolve(&rolled, token.as_bytes(), now()).unwrap_err(), TokenFault::Signature);
    assert_eq!(cache.len(), 0);
    assert!(
        cache.resolve(&old, token.as_bytes(), now()).is_ok(),
        "a refusal by one verifier is none by another"
    );
    let same_keys = verifier();
    assert_ne!(old.epoch(), same_keys.epoch());
    let misses = cache.counts().misses;
    assert!(cache.resolve(&same_keys, token.as_bytes(), now()).is_ok());
    assert_eq!(cache.counts().misses, misses + 1, "another verifier verifies anew");
}

#[test]
fn tokens_that_share_all_but_a_part_are_told_apart() {
    let (verifier, mut cache) = (verifier(), cache(64));
    let good = staff_token(|_| {});
    assert!(cache.resolve(&verifier, good.as_bytes(), now()).is_ok());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = signed.split_once('.').unwrap();
    // The same length and the same signature, so the same hash, over other claims.
    let forged =
        format!("{head}.{}.{signature}", b64(with(staff_claims(), "sub", json!("agent-8")).to_string()));
    assert_eq!(forged.len(), good.len());
    assert_eq!(cache.resolve(&verifier, forged.as_bytes(), now()).unwrap_err(), TokenFault::Signature);
    for cut in 0..good.len() {
        assert!(cache.resolve(&verifier, &good.as_bytes()[..cut], now()).is_err());
        assert!(cache.resolve(&verifier, &good.as_bytes()[good.len() - cut..], now()).is_err());
    }
    assert!(cache.resolve(&verifier, good.as_bytes(), now()).is_ok());
    assert_eq!(cache.len(), 1);
}

#[test]
fn bounds_hold_and_a_token_in_use_outlives_those_that_pass_by() {
    let verifier = ed_verifier();
    let mut cache = cache(50);
    let favourite = token(0);
    for n in 1..400 {
        cache.resolve(&verifier, favourite.as_bytes(), now()).unwrap();
        cache.resolve(&verifier, token(n).as_bytes(), now()).unwrap();
        assert!(cache.len() <= 50);
    }
    assert_eq!(cache.counts().evicted, 350);
    assert_eq!(cache.counts().hits, 398, "the favourite was verified once");

    let mut small = TokenCache::new(CacheLimits { max_entries: 1000, max_bytes: 8 * 1024 });
    for n in 0..100 {
        small.resolve(&verifier, token(n).as_bytes(), now()).unwrap();
        assert!(small.bytes() <= 8 * 1024);
    }
    assert!((3..100).contains(&small.len()), "{}", small.len());
    for limits in [(0, 1 << 20), (10, 100)] {
        let mut none = TokenCache::new(CacheLimits { max_entries: limits.0, max_bytes: limits.1 });
        assert!(none.resolve(&verifier, favourite.as_bytes(), now()).is_ok());
        assert_eq!((none.len(), none.bytes(), none.is_empty()), (0, 0, true));
    }
}

#[test]
fn a_flood_of_bad_tokens_evicts_nothing_and_a_repeated_one_costs_no_signature_check() {
    let verifier = ed_verifier();
    let mut cache = cache(10);
    let good: Vec<String> = (0..10).map(token).collect();
    for token in &good {
        cache.resolve(&verifier, token.as_bytes(), now()).unwrap();
    }
    for n in 0..500 {
        let forged = EC.token(
            header("EdDSA", ED_SIGNER.kid()).to_string(),
            with(staff_claims(), "n", json!(n)).to_string(),
        );
        assert_eq!(cache.resolve(&verifier, forged.as_bytes(), now()).unwrap_err(), TokenFault::Signature);
        let misses = cache.counts().misses;
        assert_eq!(cache.resolve(&verifier, forged.as_bytes(), now()).unwrap_err(), TokenFault::Signature);
        assert_eq!((cache.counts().misses, cache.counts().refused), (misses, n + 1));
    }
    for token in &good {
        cache.resolve(&verifier, token.as_bytes(), now()).unwrap();
    }
    assert_eq!((cache.counts().hits, cache.counts().evicted, cache.len()), (10, 0, 10));
}

/// Whatever is asked in whatever order, the cache answers as the verifier would, and its bounds hold.
#[test]
fn the_cache_agrees_with_the_verifier_under_churn() {
    let verifiers = [ed_verifier(), ed_verifier(), verifier()];
    let tokens: Vec<String> = (0..200)
        .map(|n| {
            let claims = with(staff_claims(), "exp", json!(NOW + n % 7));
            ED_SIGNER.sign("at+jwt", &with(claims, "sub", json!(format!("s{n}")))).unwrap()
        })
        .collect();
    let mut cache = cache(60);
    let mut state = 7u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..6000 {
        let (token, verifier) = (&tokens[random(200)], &verifiers[[0, 0, 0, 0, 1, 2][random(6)]]);
        let at = Timestamp::from_ms(NOW * 1000 + random(15_000) as i64);
        let cached = cache.resolve(verifier, token.as_bytes(), at).map(|subject| subject.subject().clone());
        let fresh = verifier.verify(token.as_bytes(), at).map(|subject| subject.subject().clone());
        assert_eq!(cached, fresh);
        assert!(cache.len() <= 60);
        cache.assert_sound();
    }
    assert!(cache.counts().hits > 300 && cache.counts().evicted > 300, "{:?}", cache.counts());
}
