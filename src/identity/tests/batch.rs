//! Published vectors and hostile lines through the batch.

use super::*;
use crate::identity::batch::{BatchOptions, BatchSummary, verify_lines};

/// RFC 7515 A.1 and A.2 share their payload.
const JOE: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn rfc7515_a1() -> (Value, String) {
    let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let head = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9";
    (json!({"kty": "oct", "k": key}), format!("{head}.{JOE}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"))
}

fn rfc7515_a2() -> (Value, String) {
    let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2l\
        ZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapH\
        g665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWy\
        uXpoQ";
    let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds\
        9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6\
        _dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_Io\
        ypGlUPQGe77Rw";
    (json!({"kty": "RSA", "n": n, "e": "AQAB"}), format!("eyJhbGciOiJSUzI1NiJ9.{JOE}.{signature}"))
}

fn rfc7515_a3() -> (Value, String) {
    let key = json!({
        "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
    });
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    (key, format!("eyJhbGciOiJFUzI1NiJ9.{JOE}.{signature}"))
}

fn rfc7515_a4() -> (Value, String) {
    let key = json!({
        "kty": "EC", "crv": "P-521",
        "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
    });
    let signature = "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdC\
        APZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
    (key, format!("eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.{signature}"))
}

fn rfc8037_a4() -> (Value, String) {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dW\
        bhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    (key, token.to_owned())
}

/// RFC 7520 sections 4.1 to 4.3: RS256, PS384 and ES512 over one payload, each with its key and its name.
fn rfc7520() -> [(Value, String); 3] {
    const KID: &str = "bilbo.baggins@hobbiton.example";
    const PAYLOAD: &str = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCw\
        gYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4";
    let rsa = json!({
        "kty": "RSA", "kid": KID, "use": "sig", "e": "AQAB",
        "n": "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqV\
            wGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde\
            3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5g\
            HdrNP5zw",
    });
    let ec = json!({
        "kty": "EC", "kid": KID, "use": "sig", "crv": "P-521",
        "x": "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
        "y": "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1",
    });
    let rs256 = "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoB\
        wA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdL\
        uW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg";
    let ps384 = "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPp\
        cbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImU\
        jvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw";
    let es512 = "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMD\
        xXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2";
    [("RS256", &rsa, rs256), ("PS384", &rsa, ps384), ("ES512", &ec, es512)].map(|(alg, key, signature)| {
        let head = b64(format!("{{\"alg\":\"{alg}\",\"kid\":\"{KID}\"}}"));
        (key.clone(), format!("{head}.{PAYLOAD}.{signature}"))
    })
}

fn run(input: impl AsRef<[u8]>, allow_hmac: bool) -> (Vec<Value>, BatchSummary) {
    let mut output = Vec::new();
    let options = BatchOptions { allow_hmac, max_line_bytes: 64 * 1024, ..BatchOptions::default() };
    let summary = verify_lines(input.as_ref(), &mut output, &options).unwrap();
    let lines = String::from_utf8(output).unwrap();
    (lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), summary)
}

/// The reason that one token with these keys gets.
fn reason(keys: &[Value], token: &str, allow_hmac: bool) -> String {
    let (answers, summary) = run(json!({"id": "x", "keys": keys, "token": token}).to_string(), allow_hmac);
    let [answer] = &answers[..] else { panic!("one answer") };
    assert_eq!(answer["valid"] == true, answer["reason"] == "verified");
    assert_eq!(answer["valid"] == true, summary.valid == 1);
    answer["reason"].as_str().unwrap().to_owned()
}

#[test]
fn the_published_examples_verify() {
    assert_eq!(reason(&[rfc7515_a1().0], &rfc7515_a1().1, true), "verified");
    assert_eq!(reason(&[rfc7515_a1().0], &rfc7515_a1().1, false), "token_alg_not_allowed");
    let others = [rfc7515_a2(), rfc7515_a3(), rfc7515_a4(), rfc8037_a4()];
    for (key, token) in others.into_iter().chain(rfc7520()) {
        assert_eq!(reason(std::slice::from_ref(&key), &token, false), "verified", "{key}");
        assert_eq!(reason(std::slice::from_ref(&key), &token, true), "verified");
        let mut altered = token.clone().into_bytes();
        let at = token.rfind('.').unwrap() + 1;
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(reason(&[key], std::str::from_utf8(&altered).unwrap(), false), "token_signature");
    }
    // RFC 7515 A.5, the unsecured one.
    assert_eq!(reason(&[rfc7515_a3().0], &format!("eyJhbGciOiJub25lIn0.{JOE}."), true), "token_alg_none");
}

#[test]
fn what_vectors_try_is_refused_with_its_reason() {
    let (rsa_key, rsa_token) = rfc7515_a2();
    let (ec_key, ec_token) = rfc7515_a3();
    let (oct_key, oct_token) = rfc7515_a1();
    let text = |key: &TestKey, head: Value| key.token(head.to_string(), "any payload");
    for (keys, token, expected) in [
        (vec![], ec_token.clone(), "token_key_unknown"),
        (vec![with(ec_key.clone(), "use", json!("enc"))], ec_token.clone(), "key_use"),
        (vec![with(ec_key.clone(), "key_ops", json!(["sign"]))], ec_token.clone(), "key_ops"),
        (vec![with(rsa_key.clone(), "alg", json!("PS256"))], rsa_token.clone(), "token_key_unknown"),
        (vec![with(ec_key.clone(), "alg", json!("ES512"))], ec_token.clone(), "key_alg"),
        (vec![with(ec_key.clone(), "crv", json!("P-384"))], ec_token.clone(), "key_point"),
        (vec![with(ec_key.clone(), "crv", json!("secp256k1"))], ec_token.clone(), "key_curve"),
        (vec![with(ec_key.clone(), "kty", json!("RSA"))], ec_token.clone(), "key_form"),
        (vec![with(rsa_key.clone(), "e", json!("AQ"))], rsa_token.clone(), "key_rsa_exponent"),
        (vec![with(rsa_key.clone(), "n", json!("rJBIp6T1YK8"))], rsa_token.clone(), "key_rsa_size"),
        (vec![rsa_key.clone()], ec_token.clone(), "token_key_unknown"),
        (vec![ec_key.clone(), ec_key.clone()], ec_token.clone(), "token_key_ambiguous"),
        (vec![ec_key.clone(), oct_key.clone()], ec_token.clone(), "keys_mixed"),
        (
            vec![with(oct_key.clone(), "k", json!("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg"))],
            oct_token.clone(),
            "key_symmetric_short",
        ),
        (vec![with(oct_key.clone(), "k", json!(""))], oct_token.clone(), "key_symmetric_short"),
        (vec![ec_key.clone()], format!("{ec_token}="), "token_base64"),
        (vec![ec_key.clone()], format!("{ec_token}.x"), "token_not_compact"),
        (vec![ec_key.clone()], String::new(), "token_not_compact"),
        (vec![ec_key.clone()], format!("eyJhbGciOiJFUzI1NiJ9.{JOE}."), "token_signature"),
        (
            vec![json!({"kty": "OKP", "crv": "Ed448", "x": b64([7; 57])})],
            text(&ED, json!({"alg": "Ed448"})),
            "token_alg_unsupported",
        ),
        (
            vec![json!({"kty": "OKP", "crv": "Ed448", "x": b64([7; 57])})],
            text(&ED, json!({"alg": "EdDSA"})),
            "key_curve",
        ),
        (vec![EC.jwk("k")], text(&EC, json!({"alg": "ES256K"})), "token_alg_unsupported"),
        (vec![EC.jwk("k")], text(&EC, json!({"alg": "ES256", "kid": "K"})), "token_key_unknown"),
        (vec![EC.jwk("k")], text(&EC, json!({"alg": "ES256", "b64": false, "crit": ["b64"]})), "token_crit"),
        (vec![EC.jwk("k")], text(&EC, json!({"alg": "ES256", "jwk": EC.jwk("k")})), "token_key_in_header"),
        (
            vec![EC.jwk("k"), EC_OTHER.jwk("k")],
            text(&EC, json!({"alg": "ES256", "kid": "k"})),
            "token_key_ambiguous",
        ),
        (
            vec![EC.jwk("k"), RSA.jwk("r")],
            text(&EC, json!({"alg": "ES256", "kid": "r"})),
            "token_key_mismatch",
        ),
        (vec![EC.jwk("k"), RSA.jwk("r")], text(&EC, json!({"alg": "ES256"})), "verified"),
        (
            vec![EC.jwk("k"), EC_OTHER.jwk("o")],
            text(&EC_OTHER, json!({"alg": "ES256", "kid": "o", "typ": "any"})),
            "verified",
        ),
        (vec![EC384.jwk("k")], text(&EC384, json!({"alg": "ES256"})), "token_key_unknown"),
        (vec![OCT.jwk("k")], text(&OCT, json!({"alg": "HS512", "kid": "k"})), "verified"),
        (vec![EC.jwk("k")], EC.token(r#"{"alg":"ES256"}"#, ""), "verified"),
    ] {
        assert_eq!(reason(&keys, &token, true), expected, "{keys:?} {token}");
    }
}

#[test]
fn lines_that_cannot_be_read_get_an_answer_and_the_batch_goes_on() {
    let (key, token) = rfc7515_a3();
    let good = json!({"id": 7, "keys": [key], "token": token, "comment": "kept"}).to_string();
    let lines = [
        "not json".to_owned(),
        "[]".into(),
        "{\"id\":\"a\",\"id\":\"b\"}".into(),
        "{\"keys\":[],\"token\":\"x\"}".into(),
        "{\"id\":null,\"keys\":[],\"token\":\"x\"}".into(),
        "{\"id\":\"k\",\"token\":\"x\"}".into(),
        "{\"id\":\"k2\",\"keys\":{},\"token\":\"x\"}".into(),
        "{\"id\":\"t\",\"keys\":[]}".into(),
        "{\"id\":\"t2\",\"keys\":[],\"token\":7}".into(),
        "{\"id\":\"j\",\"keys\":[],\"token\":{\"payload\":\"x\"}}".into(),
        String::new(),
        "  \t".into(),
        format!("{{\"id\":\"big\",\"x\":\"{}\"}}", "y".repeat(70_000)),
        good.clone(),
        "[".repeat(40_000),
        good.clone(),
    ];
    let mut input = lines.join("\n").into_bytes();
    input.extend_from_slice(b"\n\xff\xfe\n");
    input.extend_from_slice(good.as_bytes());
    let (answers, summary) = run(input, false);
    let pairs: Vec<(Value, &str)> =
        answers.iter().map(|answer| (answer["id"].clone(), answer["reason"].as_str().unwrap())).collect();
    assert_eq!(
        pairs,
        [
            (json!(null), "line_json"),
            (json!(null), "line_json"),
            (json!(null), "line_json"),
            (json!(null), "line_id"),
            (json!(null), "line_id"),
            (json!("k"), "line_keys"),
            (json!("k2"), "line_keys"),
            (json!("t"), "line_token"),
            (json!("t2"), "line_token"),
            (json!("j"), "token_not_compact"),
            (json!(null), "line_too_long"),
            (json!(7), "verified"),
            (json!(null), "line_json"),
            (json!(7), "verified"),
            (json!(null), "line_json"),
            (json!(7), "verified"),
        ]
    );
    assert_eq!(summary, BatchSummary { valid: 3, invalid: 1, unreadable: 12 });
}

#[test]
fn a_line_of_exactly_the_bound_is_read_with_or_without_its_end() {
    let line = |length: usize| {
        let empty = "{\"id\":1,\"keys\":[],\"token\":\"\",\"x\":\"\"}".len();
        format!("{{\"id\":1,\"keys\":[],\"token\":\"\",\"x\":\"{}\"}}", "y".repeat(length - empty))
    };
    let limit = 64 * 1024;
    for (input, expected) in [
        (line(limit), "token_not_compact"),
        (line(limit) + "\n", "token_not_compact"),
        (line(limit + 1), "line_too_long"),
        (line(limit + 1) + "\n", "line_too_long"),
    ] {
        assert_eq!(run(input, false).0[0]["reason"], expected);
    }
}

#[test]
fn a_broken_output_ends_the_batch_with_its_error() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let fault = verify_lines(&b"x\n"[..], Full, &BatchOptions::default()).unwrap_err();
    assert_eq!(fault.kind(), std::io::ErrorKind::StorageFull);
}
