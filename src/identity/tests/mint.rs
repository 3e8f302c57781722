use super::*;
use crate::identity::mint::SignerFault;

fn verifier_for(signer: &Signer) -> Verifier {
    verifier_of(|options| options.keys = KeySource::Jwks(signer.public_jwks().unwrap()))
}

#[test]
fn what_is_signed_verifies_and_survives_storage_in_both_forms() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let signer = Signer::generate(algorithm).unwrap();
        assert_eq!(signer.algorithm(), algorithm);
        let verifier = verifier_for(&signer);
        let pem = Signer::from_pem(&signer.to_pem().unwrap(), None).unwrap();
        let jwk = Signer::from_jwk(&signer.to_private_jwk().unwrap()).unwrap();
        for again in [&signer, &pem, &jwk] {
            assert_eq!(again.public_jwk(), signer.public_jwk());
            let token = again.sign("at+jwt", &staff_claims()).unwrap();
            assert!(verifier.verify(token.as_bytes(), now()).is_ok(), "{algorithm}");
        }
        let named = Signer::from_pem(&signer.to_pem().unwrap(), Some("k1")).unwrap();
        assert_eq!(named.kid(), "k1");
        let token = named.sign("at+jwt", &staff_claims()).unwrap();
        assert_eq!(verifier.verify(token.as_bytes(), now()).unwrap_err(), TokenFault::KeyUnknown);
    }
    assert_eq!(Signer::generate(Algorithm::Rs256).unwrap_err(), SignerFault::Unsupported);
}

#[test]
fn a_key_without_a_name_is_named_by_its_thumbprint() {
    // RFC 8037 A.1 to A.3: the key and its RFC 7638 thumbprint.
    let jwk = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let signer = Signer::from_jwk(jwk).unwrap();
    assert_eq!(signer.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn private_keys_of_other_kinds_or_purposes_are_refused() {
    let good: Value =
        serde_json::from_str(&Signer::generate(Algorithm::Es256).unwrap().to_private_jwk().unwrap()).unwrap();
    let other: Value =
        serde_json::from_str(&Signer::generate(Algorithm::Es256).unwrap().to_private_jwk().unwrap()).unwrap();
    for (jwk, fault) in [
        (json!({}), SignerFault::Jwk),
        (with(good.clone(), "d", None), SignerFault::Jwk),
        (with(good.clone(), "d", json!("AQ")), SignerFault::Jwk),
        (with(good.clone(), "d", other["d"].clone()), SignerFault::Mismatch),
        (with(good.clone(), "x", other["x"].clone()), SignerFault::Mismatch),
        (with(good.clone(), "d", json!(b64([0; 32]))), SignerFault::Mismatch),
        (with(good.clone(), "crv", json!("P-384")), SignerFault::Unsupported),
        (with(good.clone(), "use", json!("enc")), SignerFault::Purpose),
        (with(good.clone(), "alg", json!("ES384")), SignerFault::Purpose),
        (with(good.clone(), "key_ops", json!(["verify"])), SignerFault::Purpose),
        (with(good.clone(), "kid", json!(7)), SignerFault::Jwk),
        (json!({"kty": "oct", "k": "AAAA"}), SignerFault::Unsupported),
        (json!({"kty": "RSA"}), SignerFault::Unsupported),
    ] {
        assert_eq!(Signer::from_jwk(&jwk.to_string()).unwrap_err(), fault, "{fault}");
    }
    let TestKey::Ec(p384, _) = &*EC384 else { panic!("an EC key") };
    for (text, fault) in [
        (String::new(), SignerFault::Pem),
        (EC.pem(), SignerFault::Pem),
        (pem::encode("PRIVATE KEY", b"x").to_string(), SignerFault::Unsupported),
        (
            pem::encode("PRIVATE KEY", p384.to_pkcs8v1().unwrap().as_ref()).to_string(),
            SignerFault::Unsupported,
        ),
        (pem::encode("EC PRIVATE KEY", b"x").to_string(), SignerFault::Pem),
    ] {
        assert_eq!(Signer::from_pem(&text, None).unwrap_err(), fault, "{fault}");
    }
}

#[test]
fn only_an_object_can_be_claims() {
    let signer = Signer::generate(Algorithm::EdDsa).unwrap();
    assert_eq!(signer.sign("JWT", &json!([1])).unwrap_err(), SignerFault::Claims);
    assert_eq!(signer.sign("JWT", &"text").unwrap_err(), SignerFault::Claims);
    let token = signer.sign("a\"b", &json!({})).unwrap();
    let head = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&head).unwrap()["typ"],
        "a\"b",
        "a type cannot break out of the header"
    );
}
