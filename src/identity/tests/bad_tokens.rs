//! Tokens that admit nobody where it depends on the verifier. Those that nobody takes stand in `tests/corpus/tokens`.

use super::*;

#[test]
fn codes_are_stable_and_unique_and_messages_say_what_to_do() {
    let codes: std::collections::BTreeSet<&str> = TokenFault::ALL.iter().map(|fault| fault.code()).collect();
    assert_eq!(codes.len(), TokenFault::ALL.len());
    for fault in TokenFault::ALL {
        assert!(fault.code().starts_with("token_") || *fault == TokenFault::KeysUnavailable);
        let message = fault.to_string();
        assert!(message.len() > 30 && !message.contains('\n') && !message.ends_with('.'), "{message}");
    }
    insta::assert_snapshot!(codes.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_token_without_kid_needs_a_single_fitting_key() {
    let token = |alg: &str, key: &TestKey| {
        key.token(with(header(alg, ""), "kid", None).to_string(), staff_claims().to_string())
    };
    let one_of_each = verifier();
    for (alg, key) in [("ES256", &EC), ("RS256", &RSA), ("EdDSA", &ED)] {
        assert!(one_of_each.verify(token(alg, key).as_bytes(), now()).is_ok(), "{alg}");
    }
    let two = verifier_of(|options| options.keys = jwks(&[EC.jwk("a"), EC_OTHER.jwk("b")]));
    assert_eq!(two.verify(token("ES256", &EC).as_bytes(), now()).unwrap_err(), TokenFault::KeyAmbiguous);
    assert_eq!(two.verify(token("RS256", &RSA).as_bytes(), now()).unwrap_err(), TokenFault::KeyUnknown);
}

#[test]
fn an_assertion_of_ours_is_never_a_token_even_with_a_trusted_key() {
    let signer = Signer::generate(Algorithm::Es256).unwrap();
    let verifier = verifier_of(|options| options.keys = KeySource::Jwks(signer.public_jwks().unwrap()));
    assert!(verifier.verify(signer.sign("JWT", &staff_claims()).unwrap().as_bytes(), now()).is_ok());
    let assertion = signer.sign(ASSERTION_TYPE, &staff_claims()).unwrap();
    assert_eq!(verifier.verify(assertion.as_bytes(), now()).unwrap_err(), TokenFault::OwnAssertion);
}

#[test]
fn hmac_passes_only_where_it_was_called_dangerous() {
    let token = OCT.token(header("HS256", "k").to_string(), staff_claims().to_string());
    let verifier = verifier_of(|options| {
        options.dangerous_hmac = true;
        options.algorithms = vec![Algorithm::Hs256];
        options.keys = jwks(&[OCT.jwk("k")]);
    });
    assert!(verifier.verify(token.as_bytes(), now()).is_ok());
    let forged =
        TestKey::Oct(vec![1; 64]).token(header("HS256", "k").to_string(), staff_claims().to_string());
    assert_eq!(verifier.verify(forged.as_bytes(), now()).unwrap_err(), TokenFault::Signature);
}
