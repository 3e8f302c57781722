use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::identity::batch::{BatchOptions, verify_lines};

static VERIFIER: LazyLock<Verifier> = LazyLock::new(verifier);

/// One good token of each family.
static GOOD: LazyLock<Vec<String>> = LazyLock::new(|| {
    let claims = member_claims().to_string();
    vec![
        EC.token(es256().to_string(), &claims),
        RSA.token(header("PS256", "rsa").to_string(), &claims),
        ED.token(header("EdDSA", "ed").to_string(), &claims),
    ]
});

/// JSON of any form, now and then with the names that matter.
fn any_json() -> impl Strategy<Value = Value> {
    let names =
        select(vec!["alg", "kid", "typ", "crit", "iss", "aud", "exp", "sub", "tenant", "roles", "act", "x"]);
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(vec![STAFF, MEMBERS, AUDIENCE, "ES256", "none", "ec", "JWT", "acme"]).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((names.clone().prop_map(str::to_owned), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes_never_panic_and_never_verify(bytes in vec(any::<u8>(), 0..600)) {
        prop_assert!(VERIFIER.verify(&bytes, now()).is_err());
    }

    #[test]
    fn arbitrary_signed_json_never_panics(head in any_json(), claims in any_json()) {
        let token = EC.token(head.to_string(), claims.to_string());
        let _ = VERIFIER.verify(token.as_bytes(), now());
        let claims = with(member_claims(), "x", claims);
        let token = EC.token(es256().to_string(), claims.to_string());
        prop_assert!(VERIFIER.verify(token.as_bytes(), now()).is_ok(), "an unknown claim has no effect");
    }

    #[test]
    fn no_single_changed_byte_verifies(which in 0usize..3, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let good = &GOOD[which];
        let mut bytes = good.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        prop_assert!(VERIFIER.verify(&bytes, now()).is_err());
    }

    #[test]
    fn no_dropped_doubled_or_swapped_byte_verifies(which in 0usize..3, at in any::<prop::sample::Index>(), how in 0u8..3) {
        let good = GOOD[which].as_bytes();
        let at = at.index(good.len() - 1);
        let mut bytes = good.to_vec();
        match how {
            0 => drop(bytes.remove(at)),
            1 => bytes.insert(at, good[at]),
            _ => bytes.swap(at, at + 1),
        }
        prop_assume!(bytes != good);
        prop_assert!(VERIFIER.verify(&bytes, now()).is_err());
    }

    #[test]
    fn a_subject_is_what_its_claims_say(sub in "[!-~]{1,255}", tenant in "[A-Za-z0-9][A-Za-z0-9._~-]{0,127}", life in 1i64..80_000) {
        let token = member_token(|claims| {
            claims["sub"] = json!(sub);
            claims["tenant"] = json!(tenant);
            claims["exp"] = json!(NOW + life);
        });
        let subject = VERIFIER.verify(token.as_bytes(), now()).unwrap();
        prop_assert_eq!(&*subject.id.sub, sub.as_str());
        prop_assert_eq!(subject.tenant.as_ref().unwrap().as_str(), tenant.as_str());
        prop_assert_eq!(subject.expires.ms(), (NOW + life) * 1000 + 5000);
    }

    #[test]
    fn arbitrary_key_sets_never_panic(keys in vec(any_json(), 0..4), text in ".{0,200}") {
        for source in [jwks(&keys), KeySource::Jwks(text.clone()), KeySource::Pem(vec![PemKey { kid: None, pem: text.clone() }])] {
            let mut options = issuer(SubjectKind::Staff);
            options.keys = source;
            prop_assert!(Verifier::new(vec![options], Limits::default()).is_err());
        }
        let _ = Signer::from_jwk(&text);
        let _ = Signer::from_pem(&text, None);
    }

    #[test]
    fn each_line_of_a_batch_has_its_answer(lines in vec(prop_oneof!["[^\n]{0,80}", any_json().prop_map(|v| v.to_string())], 0..12)) {
        let input = lines.join("\n");
        let mut output = Vec::new();
        let summary = verify_lines(input.as_bytes(), &mut output, &BatchOptions::default()).unwrap();
        let wanted = lines.iter().filter(|line| !line.as_bytes().trim_ascii().is_empty()).count();
        prop_assert_eq!(String::from_utf8(output).unwrap().lines().count(), wanted);
        prop_assert_eq!((summary.valid + summary.invalid + summary.unreadable) as usize, wanted);
    }
}
