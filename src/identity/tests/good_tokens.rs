use super::*;

#[test]
fn each_algorithm_verifies_with_the_key_that_it_is_bound_to() {
    let verifier = verifier();
    for (alg, kid, key) in [
        ("RS256", "rsa", &RSA),
        ("RS384", "rsa", &RSA),
        ("RS512", "rsa", &RSA),
        ("PS256", "rsa", &RSA),
        ("PS384", "rsa", &RSA),
        ("PS512", "rsa", &RSA),
        ("ES256", "ec", &EC),
        ("ES384", "ec384", &EC384),
        ("ES512", "ec521", &EC521),
        ("EdDSA", "ed", &ED),
        ("Ed25519", "ed", &ED),
    ] {
        let token = key.token(header(alg, kid).to_string(), staff_claims().to_string());
        let subject = verifier.verify(token.as_bytes(), now()).map_err(TokenFault::code);
        assert_eq!(subject.unwrap().id.to_string(), "staff|agent-7", "{alg}");
    }
}

#[test]
fn another_implementation_agrees_with_our_signatures_and_we_with_its() {
    let claims = staff_claims();
    let TestKey::Ec(pair, _) = &*EC else { panic!("an EC key") };
    let encoding = jsonwebtoken::EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref());
    let mut head = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    head.kid = Some("ec".into());
    let theirs = jsonwebtoken::encode(&head, &claims, &encoding).unwrap();
    assert!(verifier().verify(theirs.as_bytes(), now()).is_ok());

    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let signer = Signer::generate(algorithm).unwrap();
        let token = signer.sign("JWT", &json!({"sub": "a", "exp": 4_000_000_000_i64})).unwrap();
        let set: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&signer.public_jwks().unwrap()).unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(set.find(signer.kid()).unwrap()).unwrap();
        let name = algorithm.name().parse().unwrap();
        let decoded = jsonwebtoken::decode::<Value>(&token, &key, &jsonwebtoken::Validation::new(name));
        assert_eq!(decoded.unwrap().claims["sub"], "a");
    }
}

#[test]
fn a_member_has_its_tenant_and_canonical_roles_and_an_email_only_where_the_issuer_verified_it() {
    let token = |verified: bool| {
        member_token(|claims| {
            claims["roles"] = json!(["viewer", "Not Canonical", "admin", "admin", "", "x".repeat(65)]);
            claims["email"] = json!("A@example.org");
            claims["email_verified"] = json!(verified);
        })
    };
    let unverified = verifier().verify(token(false).as_bytes(), now()).unwrap();
    assert_eq!(unverified.email, None);
    let subject = verifier().verify(token(true).as_bytes(), now()).unwrap();
    assert_eq!(subject.email.as_deref(), Some("a@example.org"));
    assert_eq!(subject.kind, SubjectKind::Member);
    assert_eq!(subject.id.issuer.as_str(), "members");
    assert_eq!(subject.tenant.as_ref().unwrap().as_str(), "acme");
    assert_eq!(subject.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>(), ["admin", "viewer"]);
    assert_eq!((subject.support, subject.acting), (false, false));
    assert_eq!(subject.expires, Timestamp::from_ms((NOW + 3600) * 1000 + 5000));
}

#[test]
fn roles_may_be_one_text_or_absent() {
    let roles = |value: Option<Value>| {
        let token = member_token(|claims| *claims = with(claims.clone(), "roles", value));
        verifier().verify(token.as_bytes(), now()).unwrap().roles.len()
    };
    assert_eq!(
        (roles(Some(json!("admin"))), roles(Some(json!([]))), roles(Some(json!(null))), roles(None)),
        (1, 0, 0, 0)
    );
}

#[test]
fn staff_have_an_email_only_where_the_issuer_verified_it() {
    let email = |address: Value, verified: Option<Value>| {
        let token = staff_token(|claims| {
            claims["email"] = address;
            *claims = with(claims.clone(), "email_verified", verified);
            claims["tenant"] = json!("acme");
            claims["roles"] = json!(["admin"]);
        });
        let subject = verifier().verify(token.as_bytes(), now()).unwrap();
        assert_eq!(
            (&subject.tenant, subject.roles.len()),
            (&None, 0),
            "staff have no tenant and no roles of one"
        );
        subject.email.as_deref().map(str::to_owned)
    };
    let yes = || Some(json!(true));
    assert_eq!(email(json!("Ann.Lee@Vendor.Example"), yes()).as_deref(), Some("ann.lee@vendor.example"));
    for verified in [
        None,
        Some(json!(false)),
        Some(json!("true")),
        Some(json!(1)),
        Some(json!(null)),
        Some(json!([true])),
    ] {
        assert_eq!(email(json!("a@example.org"), verified.clone()), None, "{verified:?}");
    }
    for address in [
        json!("a"),
        json!("@a"),
        json!("a@"),
        json!("a@b@c"),
        json!("a b@c"),
        json!("\u{e4}@example.org"),
        json!("a@ex\u{212a}.org"),
        json!(["a@example.org"]),
        json!(7),
        json!(null),
        json!(format!("{}@a", "a".repeat(260))),
        json!("a\n@example.org"),
        json!(""),
    ] {
        assert_eq!(email(address.clone(), yes()), None, "{address}");
    }
}

#[test]
fn support_follows_its_rule_and_only_for_staff() {
    let path = || ClaimPath::parse("org.groups").unwrap();
    let rule = || SupportRule::Claim { path: path(), values: vec!["support".into(), "true".into()] };
    let support = |rule: SupportRule, claim: Value| {
        let verifier = verifier_of(|options| options.claims.support = rule);
        let token = staff_token(|claims| claims["org"] = json!({ "groups": claim }));
        verifier.verify(token.as_bytes(), now()).unwrap().support
    };
    assert!(!support(SupportRule::Nobody, json!("support")));
    assert!(support(SupportRule::Everybody, json!(null)));
    for (claim, counts) in [
        (json!("support"), true),
        (json!(["sales", "support"]), true),
        (json!(true), true),
        (json!(false), false),
        (json!("Support"), false),
        (json!("support,sales"), false),
        (json!([["support"]]), false),
        (json!({"support": 1}), false),
        (json!(null), false),
    ] {
        assert_eq!(support(rule(), claim.clone()), counts, "{claim}");
    }
    let mut members = issuer(SubjectKind::Member);
    members.claims.support = SupportRule::Everybody;
    let verifier = Verifier::new(vec![members], Limits::default()).unwrap();
    assert!(!verifier.verify(member_token(|_| {}).as_bytes(), now()).unwrap().support);
}

/// A token with an `act` claim is acting, whoever made it.
#[test]
fn an_act_claim_of_any_form_is_acting() {
    for act in [json!({"sub": "boss"}), json!({}), json!(null), json!(false), json!("x")] {
        let token = member_token(|claims| claims["act"] = act.clone());
        assert!(verifier().verify(token.as_bytes(), now()).unwrap().acting, "{act}");
    }
}

#[test]
fn claims_are_found_by_pointer_and_by_dots() {
    let mut options = issuer(SubjectKind::Member);
    options.claims.tenant = ClaimPath::parse("/https:~1~1app.example~1org/id").ok();
    options.claims.roles = ClaimPath::parse("realm_access.roles").ok();
    let verifier = Verifier::new(vec![options], Limits::default()).unwrap();
    let token = member_token(|claims| {
        claims["https://app.example/org"] = json!({"id": "globex"});
        claims["realm_access"] = json!({"roles": ["clerk"]});
    });
    let subject = verifier.verify(token.as_bytes(), now()).unwrap();
    assert_eq!(subject.tenant.as_ref().unwrap().as_str(), "globex");
    assert_eq!(subject.roles[0].as_str(), "clerk");
}

#[test]
fn one_of_several_audiences_is_enough() {
    for aud in [json!([AUDIENCE]), json!(["other", AUDIENCE]), json!(AUDIENCE)] {
        assert!(verifier().verify(staff_token(|claims| claims["aud"] = aud).as_bytes(), now()).is_ok());
    }
}

#[test]
fn types_are_compared_as_media_types() {
    for typ in
        ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt", "jwt", "JWT", "application/jwt"]
    {
        let token = EC.token(with(es256(), "typ", json!(typ)).to_string(), staff_claims().to_string());
        assert!(verifier().verify(token.as_bytes(), now()).is_ok(), "{typ}");
    }
    let untyped = EC.token(with(es256(), "typ", None).to_string(), staff_claims().to_string());
    assert_eq!(verifier().verify(untyped.as_bytes(), now()).unwrap_err(), TokenFault::TypMissing);
    let lenient = verifier_of(|options| options.types.absent = true);
    assert!(lenient.verify(untyped.as_bytes(), now()).is_ok());
}

#[test]
fn unknown_header_members_and_claims_have_no_effect() {
    let head = with(with(es256(), "x5t", json!("abc")), "nonce", json!({"a": [1]}));
    let token = EC.token(head.to_string(), with(staff_claims(), "admin", json!(true)).to_string());
    assert!(verifier().verify(token.as_bytes(), now()).is_ok());
}

#[test]
fn a_record_names_the_token_without_giving_it_away() {
    let token = staff_token(|_| {});
    let subject = verifier().verify(token.as_bytes(), now()).unwrap();
    let name = subject.fingerprint().to_string();
    assert_eq!(name.len(), 32);
    assert!(!format!("{subject:?}").contains(token.rsplit('.').next().unwrap()));
    let other =
        verifier().verify(staff_token(|claims| claims["jti"] = json!("2")).as_bytes(), now()).unwrap();
    assert_ne!(name, other.fingerprint().to_string());
}

#[test]
fn verifier_and_signer_are_shared_between_cores_and_a_cache_moves_to_its_own() {
    fn shared<T: Send + Sync>() {}
    fn moved<T: Send>() {}
    shared::<Verifier>();
    shared::<Signer>();
    shared::<VerifiedSubject>();
    moved::<TokenCache>();
}
