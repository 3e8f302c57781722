//! Keys and tokens from the command line.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;

const VERIFY: &[&str] = &["token", "verify", "--config", "postern.yaml"];

#[test]
fn a_minted_token_is_verified_as_the_gateway_would() {
    let place = Place::new();
    let token = place.ada("admin");
    let said: serde_json::Value =
        serde_json::from_str(&place.run(&[VERIFY, &[&token]].concat()).with(0)).unwrap();
    for (name, value) in [("kind", "member"), ("issuer", "app"), ("sub", "ada"), ("tenant", "acme")] {
        assert_eq!(said[name], value);
    }
    assert_eq!(said["roles"][0], "admin");
    let piped = run_with(place.path(), &[VERIFY, &["-"]].concat(), format!("{}\n", place.sam()).as_bytes());
    let said: serde_json::Value = serde_json::from_str(&piped.with(0)).unwrap();
    assert_eq!((&said["kind"], &said["sub"]), (&"staff".into(), &"sam".into()));
}

#[test]
fn a_bad_token_is_named_by_its_fault() {
    let place = Place::new();
    let mint = |more: &[&str]| {
        let args =
            ["token", "mint", "--key", "app.pem", "--issuer", "https://id.app.example", "--subject", "ada"];
        place.run(&[&args[..], &["--audience", "app"], more].concat()).with(0).trim().to_owned()
    };
    let good = mint(&["--claim", "tenant=acme"]);
    let mut forged: Vec<char> = good.chars().collect();
    let middle = good.rfind('.').unwrap() + 10;
    forged[middle] = if forged[middle] == 'A' { 'B' } else { 'A' };
    for (token, code) in [
        (mint(&["--claim", "tenant=acme", "--claim", "exp:=1000000000"]), "token_expired"),
        (mint(&["--claim", "tenant=acme", "--claim", "aud=other"]), "token_aud_not_allowed"),
        (mint(&["--claim", "tenant=acme", "--lifetime", "2d"]), "token_lifetime_too_long"),
        (mint(&["--claim", "tenant=acme", "--type", "postern-assertion+jwt"]), "error[token_"),
        (mint(&["--claim", "tenant=acme", "--kid", "other"]), "token_key_unknown"),
        (mint(&[]), "token_tenant_missing"),
        (forged.into_iter().collect(), "token_signature"),
        ("nonsense".to_owned(), "token_not_compact"),
        (String::new(), "token_not_compact"),
    ] {
        place.run(&[VERIFY, &[token.as_str()]].concat()).fails_saying(code);
    }
}

#[test]
fn keys_are_private_and_never_overwritten() {
    let place = Place::new();
    let before = fs::read(place.file("app.pem")).unwrap();
    let mode = |name: &str| fs::metadata(place.file(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("app.pem"), mode("ledger.key")), (0o600, 0o600));
    let key = |private: &str, jwks: &str| {
        place.run(&["token", "key", "--algorithm", "ES256", "--private", private, "--jwks", jwks])
    };
    key("app.pem", "new.jwks.json").fails_saying("keys are never overwritten");
    key("new.pem", "app.jwks.json").fails_saying("keys are never overwritten");
    key("missing/new.pem", "new.jwks.json").fails_saying("No such file");
    assert!(!place.file("new.pem").exists() && !place.file("new.jwks.json").exists());
    assert_eq!(fs::read(place.file("app.pem")).unwrap(), before);
    let args = ["audit", "key", "--origin", "x", "--private", "l.key", "--public", "ledger.pub"];
    place.run(&args).fails_saying("keys are never overwritten");
    assert!(!place.file("l.key").exists());
    let args = ["audit", "key", "--origin", "a b", "--private", "l.key", "--public", "l.pub"];
    place.run(&args).fails_saying("the key name `a b`");
}

#[test]
fn a_key_keeps_its_name_in_either_form() {
    let place = Place::new();
    for (algorithm, format, private) in [("ES256", "jwk", "k.json"), ("EdDSA", "pem", "k.pem")] {
        let jwks = format!("{private}.jwks");
        let made = ["token", "key", "--algorithm", algorithm, "--kid", "mine", "--format", format];
        place.run(&[&made[..], &["--private", private, "--jwks", &jwks]].concat()).with(0);
        assert!(fs::read_to_string(place.file(&jwks)).unwrap().contains(r#""kid":"mine""#));
        let mut mint =
            vec!["token", "mint", "--key", private, "--issuer", "i", "--audience", "a", "--subject", "s"];
        if format == "pem" {
            mint.extend(["--kid", "mine"]);
        }
        let token = place.run(&mint).with(0);
        // The published half verifies what the private half signed.
        let keys: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(place.file(&jwks)).unwrap()).unwrap();
        let line = serde_json::json!({ "id": 1, "keys": keys["keys"], "token": token.trim() }).to_string();
        let came = run_with(place.path(), &["token", "verify", "--batch"], line.as_bytes());
        assert_eq!(came.with(0), "{\"id\":1,\"valid\":true,\"reason\":\"verified\"}\n");
    }
    let jwk = [
        "token",
        "mint",
        "--key",
        "k.json",
        "--kid",
        "x",
        "--issuer",
        "i",
        "--audience",
        "a",
        "--subject",
        "s",
    ];
    place.run(&jwk).fails_saying("brings its own `kid`");
}

/// RFC 7515, appendix A.1: HMAC. RFC 8037, appendix A.4: Ed25519.
const LINES: &str = concat!(
    r#"{"id":"a.1","keys":[{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}],"token":"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"}"#,
    "\n",
    r#"{"id":"a.4","keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}],"token":"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"}"#,
    "\n\n",
    "not json\n",
    r#"{"id":5,"keys":[],"token":"a.b.c"}"#,
    "\n",
    r#"{"keys":[],"token":"a.b.c"}"#,
    "\n",
    r#"{"id":7,"id":8,"keys":[],"token":"a.b.c"}"#,
);

#[test]
fn a_batch_answers_every_line_and_garbage_too() {
    let here = Path::new(".");
    let answers = |args: &[&str]| {
        let mut input = LINES.as_bytes().to_vec();
        input.extend_from_slice(b"\n\xff\xfe\x00\n");
        let came = run_with(here, args, &input);
        (came.err.clone(), came.with(0))
    };
    let (err, strict) = answers(&["token", "verify", "--batch"]);
    assert_eq!(err, "1 valid, 2 invalid, 4 unreadable\n");
    golden("batch.txt", &strict);
    let (err, lax) = answers(&["token", "verify", "--batch", "--allow-hmac"]);
    assert_eq!(err, "2 valid, 1 invalid, 4 unreadable\n");
    assert!(lax.starts_with(r#"{"id":"a.1","valid":true,"reason":"verified"}"#), "{lax}");
}
