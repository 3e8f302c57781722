use super::*;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

/// What happens to a token with these times, at an instant.
fn verdict(leeway_ms: i64, change: impl FnOnce(&mut Value), now_ms: i64) -> Result<Timestamp, TokenFault> {
    let verifier = verifier_of(|options| {
        options.leeway_ms = leeway_ms;
        options.max_lifetime_ms = None;
    });
    verifier.verify(staff_token(change).as_bytes(), at(now_ms)).map(|subject| subject.expires)
}

#[test]
fn at_exp_a_token_has_expired() {
    let exp = |claims: &mut Value| claims["exp"] = json!(NOW);
    assert_eq!(verdict(0, exp, NOW * 1000 - 1), Ok(at(NOW * 1000)));
    assert_eq!(verdict(0, exp, NOW * 1000), Err(TokenFault::Expired));
}

#[test]
fn leeway_moves_each_end_by_exactly_itself() {
    let exp = |claims: &mut Value| claims["exp"] = json!(NOW);
    assert_eq!(verdict(5000, exp, NOW * 1000 + 4999), Ok(at(NOW * 1000 + 5000)));
    assert_eq!(verdict(5000, exp, NOW * 1000 + 5000), Err(TokenFault::Expired));
    let nbf = |claims: &mut Value| claims["nbf"] = json!(NOW);
    assert!(verdict(5000, nbf, NOW * 1000 - 5000).is_ok());
    assert_eq!(verdict(5000, nbf, NOW * 1000 - 5001), Err(TokenFault::NotYetValid));
    let iat = |claims: &mut Value| claims["iat"] = json!(NOW);
    assert!(verdict(5000, iat, NOW * 1000 - 5000).is_ok());
    assert_eq!(verdict(5000, iat, NOW * 1000 - 5001), Err(TokenFault::IssuedInFuture));
}

#[test]
fn fractions_of_a_second_are_cut_to_the_side_that_admits_less() {
    let exp = |claims: &mut Value| claims["exp"] = json!(NOW as f64 + 0.0015);
    assert_eq!(verdict(0, exp, NOW * 1000), Ok(at(NOW * 1000 + 1)));
    assert_eq!(verdict(0, exp, NOW * 1000 + 1), Err(TokenFault::Expired));
    let nbf = |claims: &mut Value| claims["nbf"] = json!(NOW as f64 + 0.0015);
    assert_eq!(verdict(0, nbf, NOW * 1000 + 1), Err(TokenFault::NotYetValid));
    assert!(verdict(0, nbf, NOW * 1000 + 2).is_ok());
}

#[test]
fn the_ends_of_time_overflow_nothing() {
    let last = |claims: &mut Value| claims["exp"] = json!(253_402_300_799_i64);
    assert_eq!(verdict(60_000, last, NOW * 1000), Ok(Timestamp::MAX));
    let zero = |claims: &mut Value| {
        claims["nbf"] = json!(0);
        claims["iat"] = json!(0);
    };
    assert!(verdict(60_000, zero, 0).is_ok());
}

#[test]
fn lifetimes_are_bounded_to_the_second() {
    let with_life = |seconds: i64, bound: Option<i64>| {
        let verifier = verifier_of(|options| options.max_lifetime_ms = bound);
        let token = staff_token(|claims| {
            claims["iat"] = json!(NOW);
            claims["exp"] = json!(NOW + seconds);
        });
        verifier.verify(token.as_bytes(), now()).err()
    };
    assert_eq!(with_life(3600, Some(3_600_000)), None);
    assert_eq!(with_life(3601, Some(3_600_000)), Some(TokenFault::LifetimeTooLong));
    assert_eq!(with_life(4_000_000, None), None);
    let unbounded = verifier_of(|options| options.max_lifetime_ms = None);
    let no_iat = staff_token(|claims| *claims = with(claims.clone(), "iat", None));
    assert!(unbounded.verify(no_iat.as_bytes(), now()).is_ok());
}

#[test]
fn an_expired_token_is_refused_before_its_signature_is_looked_at() {
    let mut token = staff_token(|claims| claims["exp"] = json!(NOW - 100)).into_bytes();
    let first_of_signature = token.len() - 86;
    token[first_of_signature] = if token[first_of_signature] == b'A' { b'B' } else { b'A' };
    assert_eq!(verifier().verify(&token, now()).unwrap_err(), TokenFault::Expired);
    assert_eq!(verifier().verify(&token, at((NOW - 200) * 1000)).unwrap_err(), TokenFault::Signature);
}
