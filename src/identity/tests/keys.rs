use super::*;

fn load(keys: KeySource) -> Result<Verifier, VerifierFault> {
    let mut options = issuer(SubjectKind::Staff);
    options.keys = keys;
    Verifier::new(vec![options], Limits::default())
}

/// Why a lone key cannot be used.
fn refusal(key: Value) -> Option<KeyFault> {
    match load(jwks(&[key])) {
        Ok(_) => None,
        Err(VerifierFault::Keys { fault: KeySetFault::NoneUsable(ignored), .. }) => Some(ignored[0].fault),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn keys_of_other_uses_forms_and_sizes_are_refused() {
    let rsa = || RSA.jwk("k");
    let ec = || EC.jwk("k");
    let number = |bytes: usize, low: u8| {
        let mut n = vec![0xa5; bytes];
        n[bytes - 1] = low;
        json!(b64(n))
    };
    for (key, fault) in [
        (json!(7), KeyFault::Form),
        (json!({}), KeyFault::Form),
        (with(rsa(), "kty", json!("rsa")), KeyFault::Type),
        (with(rsa(), "kty", json!("AKP")), KeyFault::Type),
        (with(rsa(), "kid", json!(7)), KeyFault::Form),
        (with(rsa(), "n", None), KeyFault::Form),
        (with(rsa(), "n", json!("a+b")), KeyFault::Form),
        (with(rsa(), "n", json!(format!("{}=", rsa()["n"].as_str().unwrap()))), KeyFault::Form),
        (with(rsa(), "use", json!("enc")), KeyFault::Use),
        (with(rsa(), "use", json!(["sig"])), KeyFault::Form),
        (with(rsa(), "key_ops", json!(["sign"])), KeyFault::Operations),
        (with(rsa(), "key_ops", json!([])), KeyFault::Operations),
        (with(rsa(), "key_ops", json!(["verify", "verify"])), KeyFault::Operations),
        (with(rsa(), "key_ops", json!("verify")), KeyFault::Form),
        (with(rsa(), "alg", json!("RSA-OAEP")), KeyFault::Algorithm),
        (with(rsa(), "alg", json!("ES256")), KeyFault::Algorithm),
        (with(ec(), "alg", json!("ES384")), KeyFault::Algorithm),
        (with(ec(), "alg", json!("ECDH-ES")), KeyFault::Algorithm),
        (with(rsa(), "n", number(128, 1)), KeyFault::RsaSize),
        (with(rsa(), "n", number(255, 1)), KeyFault::RsaSize),
        (with(rsa(), "n", number(1025, 1)), KeyFault::RsaSize),
        (with(rsa(), "n", number(256, 2)), KeyFault::RsaSize),
        (with(rsa(), "n", json!("")), KeyFault::RsaSize),
        (with(rsa(), "e", json!(b64([1]))), KeyFault::RsaExponent),
        (with(rsa(), "e", json!(b64([0]))), KeyFault::RsaExponent),
        (with(rsa(), "e", json!(b64([4]))), KeyFault::RsaExponent),
        (with(rsa(), "e", json!(b64([0, 1, 0, 1]))), KeyFault::RsaExponent),
        (with(rsa(), "e", json!(b64([3, 0, 0, 0, 1]))), KeyFault::RsaExponent),
        (with(rsa(), "d", json!("AQAB")), KeyFault::Private),
        (with(ec(), "d", json!("AQAB")), KeyFault::Private),
        (with(ec(), "crv", json!("secp256k1")), KeyFault::Curve),
        (with(ec(), "crv", json!("P-384")), KeyFault::Point),
        (with(ec(), "crv", None), KeyFault::Form),
        (with(ec(), "y", ec()["x"].clone()), KeyFault::Point),
        (with(ec(), "x", json!(b64([0; 31]))), KeyFault::Point),
        (with(with(ec(), "x", json!(b64([0; 32]))), "y", json!(b64([0; 32]))), KeyFault::Point),
        (with(ED.jwk("k"), "crv", json!("Ed448")), KeyFault::Curve),
        (with(ED.jwk("k"), "crv", json!("X25519")), KeyFault::Curve),
        (with(ED.jwk("k"), "x", json!(b64([0; 31]))), KeyFault::Point),
        (OCT.jwk("k"), KeyFault::Symmetric),
    ] {
        assert_eq!(refusal(key.clone()), Some(fault), "{key}");
    }
}

/// A modulus that is a power of 65537 modulo every small prime: 65537 to the 128th, which has 2049 bits.
#[test]
fn an_rsa_key_with_the_fingerprint_of_roca_is_refused() {
    let mut power = vec![1u8];
    for _ in 0..128 {
        // Times 65537: the number shifted by two bytes, plus itself.
        let shifted = [power.as_slice(), &[0, 0]].concat();
        let own = [&[0, 0], power.as_slice()].concat();
        let (mut sum, mut carry) = (Vec::new(), 0u16);
        for (a, b) in shifted.iter().rev().zip(own.iter().rev()) {
            let both = u16::from(*a) + u16::from(*b) + carry;
            sum.push((both & 0xff) as u8);
            carry = both >> 8;
        }
        assert_eq!(carry, 0);
        power = sum.into_iter().rev().collect();
    }
    assert_eq!(refusal(with(RSA.jwk("k"), "n", json!(b64(&power)))), Some(KeyFault::RsaWeak));
    let last = power.len() - 1;
    power[last] ^= 2;
    assert_ne!(refusal(with(RSA.jwk("k"), "n", json!(b64(&power)))), Some(KeyFault::RsaWeak));
}

#[test]
fn key_sets_that_can_be_read_in_two_ways_or_mix_secrets_in_are_refused() {
    let fault = |source: KeySource| match load(source) {
        Err(VerifierFault::Keys { fault, .. }) => fault,
        other => panic!("{other:?}"),
    };
    for text in [
        "",
        "[]",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":[],\"keys\":[]}",
        "<html>",
        "{\"keys\":[[[[[[[[1]]]]]]]]}",
    ] {
        assert_eq!(fault(KeySource::Jwks(text.into())), KeySetFault::Form, "{text}");
    }
    assert_eq!(fault(KeySource::Jwks(" ".repeat((1 << 20) + 1))), KeySetFault::Form);
    assert_eq!(fault(jwks(&vec![json!({}); 257])), KeySetFault::TooMany);
    assert_eq!(fault(jwks(&[EC.jwk("a"), EC_OTHER.jwk("a")])), KeySetFault::SameKid("a".into()));
    assert_eq!(fault(jwks(&[])), KeySetFault::NoneUsable(vec![]));
    assert!(
        load(jwks(&[EC.jwk("a"), RSA.jwk("a")])).is_ok(),
        "one name for different algorithms is no doubt"
    );
    let mut mixed = issuer(SubjectKind::Staff);
    mixed.dangerous_hmac = true;
    mixed.algorithms.push(Algorithm::Hs256);
    mixed.keys = jwks(&[EC.jwk("a"), OCT.jwk("b")]);
    let mixed = Verifier::new(vec![mixed], Limits::default()).unwrap_err();
    assert!(matches!(mixed, VerifierFault::Keys { fault: KeySetFault::Mixed, .. }));
}

#[test]
fn unusable_keys_beside_usable_ones_are_passed_over_and_listed() {
    let verifier =
        load(jwks(&[with(RSA.jwk("r"), "use", json!("enc")), EC.jwk("ec"), OCT.jwk("o")])).unwrap();
    let ignored: Vec<_> =
        verifier.ignored_keys().map(|(issuer, key)| (issuer.as_str(), key.position, key.fault)).collect();
    assert_eq!(ignored, [("staff", 1, KeyFault::Use), ("staff", 3, KeyFault::Symmetric)]);
    assert!(verifier.verify(staff_token(|_| {}).as_bytes(), now()).is_ok());
}

#[test]
fn a_key_for_one_algorithm_serves_no_other() {
    let verifier = load(jwks(&[with(RSA.jwk("rsa"), "alg", json!("PS256"))])).unwrap();
    let token = |alg: &str| RSA.token(header(alg, "rsa").to_string(), staff_claims().to_string());
    assert!(verifier.verify(token("PS256").as_bytes(), now()).is_ok());
    assert_eq!(verifier.verify(token("RS256").as_bytes(), now()).unwrap_err(), TokenFault::KeyMismatch);
}

#[test]
fn pem_keys_verify_and_bad_ones_are_faults() {
    let pem = |key: &TestKey, kid: Option<&str>| PemKey { kid: kid.map(Into::into), pem: key.pem() };
    for (alg, key) in [
        ("RS256", &RSA),
        ("PS512", &RSA),
        ("ES256", &EC),
        ("ES384", &EC384),
        ("ES512", &EC521),
        ("EdDSA", &ED),
    ] {
        let token = key.token(header(alg, "k").to_string(), staff_claims().to_string());
        for kid in [Some("k"), None] {
            let verifier = load(KeySource::Pem(vec![pem(key, kid)])).unwrap();
            assert!(verifier.verify(token.as_bytes(), now()).is_ok(), "{alg} {kid:?}");
        }
        let other = load(KeySource::Pem(vec![pem(key, Some("other"))])).unwrap();
        assert_eq!(other.verify(token.as_bytes(), now()).unwrap_err(), TokenFault::KeyUnknown, "{alg}");
    }
    let private = Signer::generate(Algorithm::Es256).unwrap().to_pem().unwrap().to_string();
    for (text, fault) in [
        (private, KeyFault::Private),
        (String::new(), KeyFault::Pem),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----".into(), KeyFault::Pem),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----".into(), KeyFault::Pem),
    ] {
        let source = KeySource::Pem(vec![pem(&EC, None), PemKey { kid: None, pem: text }]);
        let Err(VerifierFault::Keys { fault: found, .. }) = load(source) else { panic!("loads") };
        assert_eq!(found, KeySetFault::Pem { position: 2, fault });
    }
}

#[test]
fn a_named_key_comes_before_a_nameless_one() {
    let mut nameless = EC.jwk("");
    nameless.as_object_mut().unwrap().remove("kid");
    let verifier = load(jwks(&[nameless.clone(), EC_OTHER.jwk("b")])).unwrap();
    let token =
        |key: &TestKey, kid: &str| key.token(header("ES256", kid).to_string(), staff_claims().to_string());
    assert!(verifier.verify(token(&EC_OTHER, "b").as_bytes(), now()).is_ok());
    assert_eq!(verifier.verify(token(&EC, "b").as_bytes(), now()).unwrap_err(), TokenFault::Signature);
    assert!(verifier.verify(token(&EC, "unheard").as_bytes(), now()).is_ok());
    let two = load(jwks(&[nameless.clone(), nameless])).unwrap();
    assert_eq!(two.verify(token(&EC, "x").as_bytes(), now()).unwrap_err(), TokenFault::KeyAmbiguous);
}

#[test]
fn settings_that_would_open_a_door_do_not_build() {
    let refuse = |change: &dyn Fn(&mut IssuerOptions)| {
        let mut options = issuer(SubjectKind::Staff);
        change(&mut options);
        Verifier::new(vec![options], Limits::default()).unwrap_err()
    };
    let name = IssuerName::new("staff").unwrap();
    type Change<'a> = &'a dyn Fn(&mut IssuerOptions);
    let cases: [(Change<'_>, VerifierFault); 12] = [
        (&|o| o.issuer.clear(), VerifierFault::NoIss(name.clone())),
        (&|o| o.audiences.clear(), VerifierFault::NoAudience(name.clone())),
        (&|o| o.audiences.push(String::new()), VerifierFault::NoAudience(name.clone())),
        (&|o| o.algorithms.clear(), VerifierFault::NoAlgorithm(name.clone())),
        (&|o| o.algorithms.push(Algorithm::Hs256), VerifierFault::Hmac(name.clone())),
        (&|o| o.leeway_ms = -1, VerifierFault::Leeway(name.clone())),
        (&|o| o.leeway_ms = 60_001, VerifierFault::Leeway(name.clone())),
        (&|o| o.max_lifetime_ms = Some(0), VerifierFault::Lifetime(name.clone())),
        (
            &|o| o.types.accepted.push("application/Postern-Assertion+JWT".into()),
            VerifierFault::OwnAssertion(name.clone()),
        ),
        (&|o| o.types.accepted.clear(), VerifierFault::NoType(name.clone())),
        (&|o| (o.kind, o.claims.tenant) = (SubjectKind::Member, None), VerifierFault::NoTenant(name.clone())),
        (
            &|o| o.keys = KeySource::Jwks("x".into()),
            VerifierFault::Keys { issuer: name.clone(), fault: KeySetFault::Form },
        ),
    ];
    for (change, fault) in &cases {
        assert_eq!(&refuse(change), fault);
    }
    let twice = |name: &str, iss: &str| {
        let other = IssuerOptions {
            name: IssuerName::new(name).unwrap(),
            issuer: iss.into(),
            ..issuer(SubjectKind::Staff)
        };
        Verifier::new(vec![issuer(SubjectKind::Member), other], Limits::default()).unwrap_err()
    };
    assert_eq!(twice("members", "https://x/"), VerifierFault::SameName(IssuerName::new("members").unwrap()));
    assert_eq!(twice("x", MEMBERS), VerifierFault::SameIssuer(MEMBERS.into()));
    let nobody = Verifier::new(vec![], Limits::default()).unwrap();
    assert_eq!(nobody.verify(staff_token(|_| {}).as_bytes(), now()).unwrap_err(), TokenFault::IssUnknown);
}

#[test]
fn settings_never_print_secrets() {
    let mut options = issuer(SubjectKind::Staff);
    options.keys = jwks(&[OCT.jwk("k")]);
    assert!(!format!("{options:?}").contains(OCT.jwk("k")["k"].as_str().unwrap()));
    let signer = Signer::generate(Algorithm::EdDsa).unwrap();
    let secret: Value = serde_json::from_str(&signer.to_private_jwk().unwrap()).unwrap();
    assert!(!format!("{signer:?}").contains(secret["d"].as_str().unwrap()));
}

#[test]
fn a_good_key_that_shares_its_name_with_a_broken_one_is_not_used() {
    let broken = with(EC_OTHER.jwk("ec"), "x", json!("AB"));
    let verifier = load(jwks(&[EC.jwk("ec"), broken])).unwrap();
    assert_eq!(verifier.verify(staff_token(|_| {}).as_bytes(), now()).unwrap_err(), TokenFault::KeyAmbiguous);
    let other_purpose = with(RSA.jwk("ec"), "use", json!("enc"));
    let verifier = load(jwks(&[EC.jwk("ec"), other_purpose])).unwrap();
    assert!(verifier.verify(staff_token(|_| {}).as_bytes(), now()).is_ok());
}
