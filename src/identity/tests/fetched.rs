//! Keys that are handed over while tokens are known.

use super::*;
use crate::identity::{Bell, KeyChange, KeyOrigin, cache::CacheLimits};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

const ADDRESS: &str = "https://staff.example/keys";

fn name() -> IssuerName {
    IssuerName::new("staff").unwrap()
}

fn fetching(address: &str) -> Verifier {
    vouched_for(address, None)
}

fn vouched_for(address: &str, authorities: Option<&str>) -> Verifier {
    let origin = KeyOrigin { url: address.into(), authorities: authorities.map(str::to_owned) };
    let staff = IssuerOptions { keys: KeySource::Fetched(origin), ..issuer(SubjectKind::Staff) };
    Verifier::new(vec![issuer(SubjectKind::Member), staff], Limits::default()).unwrap()
}

fn given(verifier: &Verifier, keys: &[Value], until: Timestamp) -> (Verifier, KeyChange) {
    let text = json!({ "keys": keys }).to_string();
    let keys = verifier.read_keys(&name(), &text).unwrap().unwrap();
    verifier.with_keys(&name(), &keys, until).unwrap()
}

fn later(ms: i64) -> Timestamp {
    now().plus_ms(ms)
}

#[test]
fn before_the_first_keys_and_once_they_are_too_old_nothing_is_judged() {
    let (empty, token) = (fetching(ADDRESS), staff_token(|_| {}));
    assert_eq!(empty.verify(token.as_bytes(), now()).unwrap_err(), TokenFault::KeysUnavailable);
    assert_eq!(empty.keys_until(&name()), None);
    let (verifier, change) = given(&empty, &[EC.jwk("ec")], later(1000));
    assert_eq!(change, KeyChange::More);
    assert_eq!(verifier.keys_until(&name()), Some(later(1000)));
    let mut cache = TokenCache::new(CacheLimits::default());
    for at in [0, 999] {
        assert!(verifier.verify(token.as_bytes(), later(at)).is_ok());
        assert!(cache.resolve(&verifier, token.as_bytes(), later(at)).is_ok());
    }
    assert_eq!(verifier.verify(token.as_bytes(), later(1000)).unwrap_err(), TokenFault::KeysUnavailable);
    let known = cache.resolve(&verifier, token.as_bytes(), later(1000));
    assert_eq!(known.unwrap_err(), TokenFault::KeysUnavailable, "also where it was verified before");
    let member = member_token(|_| {});
    assert!(verifier.verify(member.as_bytes(), later(1000)).is_ok(), "other issuers are not concerned");
}

#[test]
fn what_new_keys_say_about_tokens_verified_before() {
    let base = || vec![EC.jwk("ec"), ED.jwk("ed")];
    let more = |keys: &[Value]| [base(), keys.to_vec()].concat();
    let nameless = with(EC384.jwk(""), "kid", None);
    for (what, keys, expected) in [
        ("the same", base(), KeyChange::Same),
        ("in another order", vec![ED.jwk("ed"), EC.jwk("ec")], KeyChange::Same),
        ("twice", more(&base()), KeyChange::Same),
        ("with a comment", vec![with(EC.jwk("ec"), "x5t", json!("a")), ED.jwk("ed")], KeyChange::Same),
        ("one more", more(&[RSA.jwk("rsa")]), KeyChange::More),
        ("one more that cannot be used", more(&[with(RSA.jwk("rsa"), "n", json!("AQ"))]), KeyChange::Same),
        ("one gone", vec![EC.jwk("ec")], KeyChange::Other),
        ("one exchanged under its name", vec![EC_OTHER.jwk("ec"), ED.jwk("ed")], KeyChange::Other),
        ("one renamed", vec![EC.jwk("ec2"), ED.jwk("ed")], KeyChange::Other),
        ("another under its name", more(&[EC_OTHER.jwk("ec")]), KeyChange::Other),
        ("a broken one under its name", more(&[with(RSA.jwk("ec"), "n", json!("AQ"))]), KeyChange::Other),
        ("one without a name", more(&[nameless]), KeyChange::Other),
        (
            "for fewer algorithms",
            vec![with(EC.jwk("ec"), "use", json!("enc")), ED.jwk("ed")],
            KeyChange::Other,
        ),
    ] {
        let (verifier, _) = given(&fetching(ADDRESS), &base(), later(60_000));
        assert_eq!(given(&verifier, &keys, later(60_000)).1, expected, "{what}");
    }
}

#[test]
fn keys_that_come_cost_no_signature_check_and_keys_that_go_take_what_was_known() {
    let mut cache = TokenCache::new(CacheLimits::default());
    let (staff, member) = (staff_token(|_| {}), member_token(|_| {}));
    let (mut verifier, _) = given(&fetching(ADDRESS), &[EC.jwk("ec")], later(1000));
    let both = |cache: &mut TokenCache, verifier: &Verifier| {
        [&staff, &member].map(|token| cache.resolve(verifier, token.as_bytes(), now()).map(|_| ()))
    };
    assert_eq!(both(&mut cache, &verifier), [Ok(()), Ok(())]);
    assert_eq!(cache.counts().misses, 2);
    for keys in [vec![EC.jwk("ec")], vec![EC.jwk("ec"), RSA.jwk("rsa")]] {
        let before = verifier.epoch();
        verifier = given(&verifier, &keys, later(1000)).0;
        assert_ne!(verifier.epoch(), before);
        assert_eq!(both(&mut cache, &verifier), [Ok(()), Ok(())]);
        assert_eq!(cache.counts().misses, 2, "what the keys still vouch for stays known");
    }
    verifier = given(&verifier, &[RSA.jwk("rsa")], later(1000)).0;
    assert_eq!(both(&mut cache, &verifier), [Err(TokenFault::KeyUnknown), Ok(())]);
    assert_eq!(cache.counts().misses, 3, "the other issuer's tokens stay known");
    verifier = given(&verifier, &[EC_OTHER.jwk("ec")], later(1000)).0;
    assert_eq!(both(&mut cache, &verifier), [Err(TokenFault::Signature), Ok(())]);
    verifier = given(&verifier, &[EC.jwk("ec")], later(1000)).0;
    assert_eq!(
        both(&mut cache, &verifier),
        [Ok(()), Ok(())],
        "a refusal by earlier keys is none by later ones"
    );
    cache.assert_sound();
}

#[test]
fn keys_reach_only_the_issuer_and_the_address_that_they_were_fetched_for() {
    let here = fetching(ADDRESS);
    let text = json!({ "keys": [EC.jwk("ec")] }).to_string();
    let keys = here.read_keys(&name(), &text).unwrap().unwrap();
    assert!(fetching("https://other.example/keys").with_keys(&name(), &keys, later(1)).is_none());
    assert!(verifier().with_keys(&name(), &keys, later(1)).is_none(), "those keys are in the configuration");
    let members = IssuerName::new("members").unwrap();
    assert!(here.with_keys(&members, &keys, later(1)).is_none());
    assert!(here.read_keys(&members, &text).is_none());
}

#[test]
fn a_reload_adopts_keys_of_the_same_address_and_nothing_that_was_known() {
    let (old, _) = given(&fetching(ADDRESS), &[EC.jwk("ec")], later(1000));
    let token = staff_token(|_| {});
    let mut cache = TokenCache::new(CacheLimits::default());
    assert!(cache.resolve(&old, token.as_bytes(), now()).is_ok());
    let new = fetching(ADDRESS).adopting(&old);
    assert!(cache.resolve(&new, token.as_bytes(), now()).is_ok());
    assert_eq!(cache.counts().misses, 2, "other settings may judge it otherwise");
    assert_eq!(new.verify(token.as_bytes(), later(1000)).unwrap_err(), TokenFault::KeysUnavailable);
    let elsewhere = fetching("https://other.example/keys").adopting(&old);
    assert_eq!(elsewhere.verify(token.as_bytes(), now()).unwrap_err(), TokenFault::KeysUnavailable);
    // An authority is let go of because somebody else can sign by it: what came under it is not believed either.
    let believing_another = vouched_for(ADDRESS, Some("another authority")).adopting(&old);
    assert_eq!(believing_another.verify(token.as_bytes(), now()).unwrap_err(), TokenFault::KeysUnavailable);
}

#[test]
fn the_bell_rings_where_other_keys_might_help_and_only_there() {
    let rung = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&rung);
    let bell = Bell::new(move || {
        count.fetch_add(1, SeqCst);
    });
    let verifier = fetching(ADDRESS).with_bell(&name(), bell);
    let (verifier, _) = given(&verifier, &[EC.jwk("ec")], later(3_600_000));
    let other = |kid: &str| EC_OTHER.token(header("ES256", kid).to_string(), staff_claims().to_string());
    for (token, at, rings) in [
        (staff_token(|_| {}), now(), 0),
        (staff_token(|claims| claims["aud"] = json!("x")), now(), 0),
        (staff_token(|claims| claims["exp"] = json!(NOW - 60)), now(), 0),
        (EC_OTHER.token(header("ES384", "no").to_string(), "{}"), now(), 0),
        (EC.token(header("HS256", "no").to_string(), staff_claims().to_string()), now(), 0),
        (EC.token(es256().to_string(), member_claims().to_string()), now(), 0),
        (other("other"), now(), 1),
        (other("ec"), now(), 1),
        (staff_token(|_| {}), later(3_600_000 - 1), 0),
    ] {
        let before = rung.load(SeqCst);
        let _ = verifier.verify(token.as_bytes(), at);
        assert_eq!(rung.load(SeqCst) - before, rings, "{token}");
    }
}
