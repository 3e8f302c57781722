//! Whom the application believes: nobody without a whole and fitting assertion.

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::demo::sample::KeysError;

const ORDERS: &str = "/t/acme/api/orders";

async fn refusal(stage: &Stage, token: &str) -> (u16, String) {
    let heard = stage.raw("GET", ORDERS, &format!("Postern-Assertion: {token}\r\n"), "").await;
    if heard.status == 401 {
        assert!(heard.head.contains("www-authenticate: postern-assertion"), "{}", heard.head);
        assert_eq!(stage.last().who, None, "nobody is believed");
    }
    (heard.status, heard.code())
}

async fn refusal_of(stage: &Stage, change: Value) -> (u16, String) {
    let mut claims = stage.claims("GET", ORDERS);
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    refusal(stage, &stage.sign(&claims)).await
}

fn refused(code: &str) -> (u16, String) {
    (401, code.to_owned())
}

#[tokio::test]
async fn good_assertion_is_believed_and_whoami_says_what_it_said() {
    let stage = Stage::new().await;
    let mut claims = stage.claims("GET", "/t/acme/api/whoami");
    claims["kind"] = json!("staff");
    claims["act"] = json!({"sub": "sam@vendor.example", "iss": "https://login.vendor.example"});
    claims["session"] = json!("ses-7");
    claims["role"] = json!("read_only");
    let heard = stage.ask_as(&claims, "GET", "/t/acme/api/whoami", None).await;
    assert_eq!(heard.status, 200);
    let told = heard.json();
    assert_eq!(told["person"], "sam@vendor.example");
    assert_eq!(told["subject"], "alice");
    assert_eq!(told["act"]["iss"], "https://login.vendor.example");
    assert_eq!(
        told["you_are"],
        "sam@vendor.example (staff) acting as alice as read_only in Acme Outdoor, production, support session ses-7"
    );
    assert_eq!((&told["tenant"], &told["environment"]), (&json!("acme"), &json!("production")));
    assert_eq!((&told["session"], &told["assertion"]), (&json!("ses-7"), &json!("a-1")));
    let who = stage.last().who.unwrap();
    assert_eq!(
        (who.kind.as_str(), who.person(), who.tenant.as_str()),
        ("staff", "sam@vendor.example", "acme")
    );
}

// GW-18
#[tokio::test]
async fn request_without_assertion_is_refused_whatever_else_it_says() {
    let stage = Stage::new().await;
    for target in [ORDERS, "/t/acme/", "/t/nobody/api/orders", "/", "/t/acme/api/exports/orders.csv"] {
        let claimed = "X-User: alice\r\nAuthorization: Bearer abc\r\nPostern_Assertion: abc\r\n";
        let heard = stage.raw("GET", target, claimed, "").await;
        assert_eq!((heard.status, heard.code()), refused("assertion_missing"), "{target}");
    }
    let heard = stage.raw("DELETE", "/t/acme/api/orders/ord-1042", "", "").await;
    assert_eq!(heard.status, 401);
    assert_eq!(stage.ask("GET", "/t/acme/api/orders/ord-1042", None).await.status, 200, "it is still there");
}

#[tokio::test]
async fn two_assertions_are_refused_though_each_is_good() {
    let stage = Stage::new().await;
    let token = stage.sign(&stage.claims("GET", ORDERS));
    let twice = format!("Postern-Assertion: {token}\r\nPostern-Assertion: {token}\r\n");
    let heard = stage.raw("GET", ORDERS, &twice, "").await;
    assert_eq!((heard.status, heard.code()), refused("assertion_ambiguous"));
}

#[tokio::test]
async fn other_key_is_refused() {
    let stage = Stage::new().await;
    let token = encode(&header(Algorithm::ES256), &stage.claims("GET", ORDERS), &ec_key()).unwrap();
    assert_eq!(refusal(&stage, &token).await, refused("assertion_bad_signature"));
}

#[tokio::test]
async fn changed_payload_is_refused() {
    let stage = Stage::new().await;
    let claims = stage.claims("GET", ORDERS);
    let token = stage.sign(&claims);
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let mut other = claims.clone();
    other["sub"] = json!("mallory");
    parts[1] = URL_SAFE_NO_PAD.encode(other.to_string());
    assert_eq!(refusal(&stage, &parts.join(".")).await, refused("assertion_bad_signature"));
}

// GW-18
#[tokio::test]
async fn unsigned_and_symmetric_assertions_are_refused() {
    let stage = Stage::new().await;
    let claims = stage.claims("GET", ORDERS);
    let none = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"none","typ":"{}"}}"#, assertion::TYP));
    let unsigned = format!("{none}.{}.", URL_SAFE_NO_PAD.encode(claims.to_string()));
    assert_eq!(refusal(&stage, &unsigned).await, refused("assertion_malformed"));
    // The public key is known to everybody; it must not serve as a shared secret.
    let secret = EncodingKey::from_secret(public(&stage.key, Algorithm::ES256).to_string().as_bytes());
    let symmetric = encode(&header(Algorithm::HS256), &claims, &secret).unwrap();
    assert_eq!(refusal(&stage, &symmetric).await, refused("assertion_unknown_key"));
    for garbage in ["abc", "a.b.c", "a.b.c.d", "..", "Bearer x"] {
        assert_eq!(refusal(&stage, garbage).await, refused("assertion_malformed"), "{garbage}");
    }
}

#[tokio::test]
async fn token_of_another_typ_is_refused() {
    let stage = Stage::new().await;
    for typ in [None, Some("JWT"), Some("at+jwt")] {
        let mut header = header(Algorithm::ES256);
        header.typ = typ.map(str::to_owned);
        let token = encode(&header, &stage.claims("GET", ORDERS), &stage.key).unwrap();
        assert_eq!(refusal(&stage, &token).await, refused("assertion_wrong_typ"), "{typ:?}");
    }
}

#[tokio::test]
async fn unknown_critical_header_is_refused() {
    let stage = Stage::new().await;
    let mut header = header(Algorithm::ES256);
    header.crit = Some(vec!["b64".to_owned()]);
    let token = encode(&header, &stage.claims("GET", ORDERS), &stage.key).unwrap();
    assert_eq!(refusal(&stage, &token).await, refused("assertion_unknown_crit"));
}

#[tokio::test]
async fn other_issuer_audience_method_or_path_is_refused() {
    let stage = Stage::new().await;
    let cases = [
        (json!({"iss": "https://elsewhere.test"}), "assertion_wrong_issuer"),
        (json!({"aud": "another-application"}), "assertion_wrong_audience"),
        (json!({"aud": [AUDIENCE, "another-application"]}), "assertion_malformed"),
        (json!({"method": "POST"}), "assertion_wrong_method"),
        (json!({"method": "get"}), "assertion_wrong_method"),
        (json!({"path": "/t/acme/api/orders/ord-1042"}), "assertion_wrong_path"),
        (json!({"path": "/t/acme/api/orders/"}), "assertion_wrong_path"),
        (json!({"path": "/t/acme-eu/api/orders"}), "assertion_wrong_path"),
    ];
    for (change, code) in cases {
        assert_eq!(refusal_of(&stage, change.clone()).await, refused(code), "{change}");
    }
}

#[tokio::test]
async fn assertion_that_lacks_a_member_or_leaves_it_empty_is_refused() {
    let stage = Stage::new().await;
    for name in ["iss", "aud", "exp", "method", "path", "kind", "sub", "tenant", "env", "jti"] {
        let mut claims = stage.claims("GET", ORDERS);
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(refusal(&stage, &stage.sign(&claims)).await, refused("assertion_malformed"), "{name}");
    }
    for change in
        [json!({"sub": ""}), json!({"tenant": ""}), json!({"act": {"sub": ""}}), json!({"act": "sam"})]
    {
        assert_eq!(refusal_of(&stage, change.clone()).await, refused("assertion_malformed"), "{change}");
    }
}

#[tokio::test]
async fn assertion_expires_by_the_clock_that_was_handed_in() {
    let stage = Stage::new().await;
    let token = stage.sign(&stage.claims("GET", ORDERS));
    let with_token = format!("Postern-Assertion: {token}\r\n");
    stage.pass(29);
    assert_eq!(stage.raw("GET", ORDERS, &with_token, "").await.status, 200);
    stage.pass(1);
    assert_eq!(refusal(&stage, &token).await, refused("assertion_expired"));
    stage.pass(-3600);
    assert_eq!(refusal(&stage, &token).await, refused("assertion_too_long"));
}

#[tokio::test]
async fn assertion_made_to_live_long_is_refused() {
    let stage = Stage::new().await;
    assert_eq!(refusal_of(&stage, json!({"exp": START + 36})).await, refused("assertion_too_long"));
    assert_eq!(refusal_of(&stage, json!({"exp": i64::MAX})).await, refused("assertion_too_long"));
    assert_eq!(refusal_of(&stage, json!({"exp": i64::MIN})).await, refused("assertion_expired"));
    assert_eq!(refusal_of(&stage, json!({"exp": "1778740830"})).await, refused("assertion_malformed"));
}

#[tokio::test]
async fn path_of_another_tenant_than_the_assertions_is_forbidden() {
    let stage = Stage::new().await;
    let target = "/t/acme-eu/api/orders";
    let mut claims = stage.claims("GET", target);
    claims["tenant"] = json!("acme");
    let heard = stage.ask_as(&claims, "GET", target, None).await;
    assert_eq!((heard.status, heard.code().as_str()), (403, "tenant_mismatch"));
    // Whether the tenant exists makes no difference.
    let target = "/t/nobody/api/orders";
    let mut claims = stage.claims("GET", target);
    claims["tenant"] = json!("acme");
    let heard = stage.ask_as(&claims, "GET", target, None).await;
    assert_eq!((heard.status, heard.code().as_str()), (403, "tenant_mismatch"));
    let heard = stage.ask("GET", target, None).await;
    assert_eq!((heard.status, heard.code().as_str()), (404, "not_found"));
}

#[tokio::test]
async fn environment_header_cannot_contradict_the_assertion() {
    let stage = Stage::new().await;
    let token = stage.sign(&stage.claims("GET", ORDERS));
    for (environment, status) in [("production", 200), ("sandbox", 403), ("", 403)] {
        let headers = format!("Postern-Assertion: {token}\r\nX-Environment: {environment}\r\n");
        assert_eq!(stage.raw("GET", ORDERS, &headers, "").await.status, status, "`{environment}`");
    }
    let headers =
        format!("Postern-Assertion: {token}\r\nX-Environment: production\r\nX-Environment: sandbox\r\n");
    assert_eq!(stage.raw("GET", ORDERS, &headers, "").await.code(), "environment_mismatch");
    assert_eq!(refusal_of(&stage, json!({"env": "staging"})).await, (404, "not_found".to_owned()));
}

#[tokio::test]
async fn key_set_picks_the_key_that_the_assertion_names() {
    let (first, second) = (ec_key(), ec_key());
    let mut keys = vec![public(&first, Algorithm::ES256), public(&second, Algorithm::ES256)];
    keys[0]["kid"] = json!("2026-04");
    keys[1]["kid"] = json!("2026-05");
    let stage = Stage::with_keys(second, &json!({"keys": keys})).await;
    let mut named = header(Algorithm::ES256);
    for (kid, expected) in [("2026-05", 200), ("2026-04", 401), ("2026-06", 401)] {
        named.kid = Some(kid.to_owned());
        let token = encode(&named, &stage.claims("GET", ORDERS), &stage.key).unwrap();
        let heard = stage.raw("GET", ORDERS, &format!("Postern-Assertion: {token}\r\n"), "").await;
        assert_eq!(heard.status, expected, "{kid}");
    }
    assert_eq!(
        stage.ask("GET", ORDERS, None).await.status,
        200,
        "unnamed, any key of the set may have signed"
    );
}

#[tokio::test]
async fn eddsa_is_believed_as_well() {
    let pair = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
    let key = EncodingKey::from_ed_der(pair.as_ref());
    let keys = public(&key, Algorithm::EdDSA);
    let stage = Stage::with_keys(key, &keys).await;
    let token = encode(&header(Algorithm::EdDSA), &stage.claims("GET", ORDERS), &stage.key).unwrap();
    let heard = stage.raw("GET", ORDERS, &format!("Postern-Assertion: {token}\r\n"), "").await;
    assert_eq!(heard.status, 200);
    let other = encode(&header(Algorithm::ES256), &stage.claims("GET", ORDERS), &ec_key()).unwrap();
    assert_eq!(refusal(&stage, &other).await, refused("assertion_unknown_key"));
}

#[test]
fn keys_that_cannot_verify_are_refused_at_the_start() {
    let now: Clock = Arc::new(|| START);
    let refusal = |keys: Value| Sample::new(options(&keys, Arc::clone(&now))).err().unwrap();
    let good = public(&ec_key(), Algorithm::ES256);
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    assert!(matches!(refusal(json!("text")), KeysError::Unreadable(_)));
    assert!(matches!(refusal(json!({"keys": []})), KeysError::NoneUsable));
    assert!(matches!(refusal(json!({"kty": "oct", "k": "c2VjcmV0"})), KeysError::NoneUsable));
    assert!(matches!(refusal(with("use", json!("enc"))), KeysError::NoneUsable));
    assert!(matches!(refusal(with("key_ops", json!(["sign"]))), KeysError::NoneUsable));
    assert!(matches!(refusal(with("alg", json!("ES384"))), KeysError::NoneUsable));
    assert!(matches!(refusal(with("d", json!("AAAA"))), KeysError::Private));
    assert!(matches!(refusal(json!({"keys": [good.clone(), with("d", json!("AAAA"))]})), KeysError::Private));
    assert!(Sample::new(options(&json!({"keys": [with("use", json!("enc")), good.clone()]}), now)).is_ok());
}

#[tokio::test]
async fn where_it_stands_in_it_says_what_it_was_asked_and_by_whom_and_believes_nobody_else() {
    let stage = Stage::standing_in().await;
    let target = "/orgs/acme/anything?at=all";
    let claims = stage.claims("POST", target);
    let told = stage.ask_as(&claims, "POST", target, None).await;
    assert_eq!(told.status, 200);
    let told = told.json();
    assert_eq!((&told["asked"], &told["of"]["sub"]), (&json!("POST /orgs/acme/anything"), &json!("alice")));
    // About another tenant than the assertion, or without one.
    let mut claims = stage.claims("GET", "/orgs/globex/anything");
    claims["tenant"] = json!("acme");
    let other = stage.ask_as(&claims, "GET", "/orgs/globex/anything", None).await;
    assert_eq!((other.status, other.code()), (403, "tenant_mismatch".to_owned()));
    assert_eq!(stage.raw("GET", target, "", "").await.status, 401);
    // Elsewhere there is no such page.
    let usual = Stage::new().await;
    let claims = usual.claims("GET", "/orgs/acme/anything");
    assert_eq!(usual.ask_as(&claims, "GET", "/orgs/acme/anything", None).await.status, 404);
}
