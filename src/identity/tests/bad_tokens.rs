//! Tokens that admit nobody, each with the code that says why.

use super::*;

type Case = (String, Vec<u8>, TokenFault);

struct Table(Vec<Case>);

impl Table {
    fn add(&mut self, name: impl Into<String>, token: impl Into<Vec<u8>>, fault: TokenFault) {
        self.0.push((name.into(), token.into(), fault));
    }

    /// A staff token whose header is this text.
    fn header(&mut self, text: impl Into<String>, fault: TokenFault) {
        let text = text.into();
        self.add(format!("header {text}"), EC.token(&text, staff_claims().to_string()), fault);
    }

    /// A staff token with one member of its header changed.
    fn head(&mut self, name: &str, value: impl Into<Option<Value>>, fault: TokenFault) {
        self.header(with(es256(), name, value).to_string(), fault);
    }

    /// A staff token whose payload is this text.
    fn payload(&mut self, text: impl AsRef<[u8]>, fault: TokenFault) {
        let name = format!("payload {}", String::from_utf8_lossy(text.as_ref()));
        self.add(name, EC.token(es256().to_string(), text), fault);
    }

    /// A staff token with one claim changed.
    fn claim(&mut self, name: &str, value: impl Into<Option<Value>>, fault: TokenFault) {
        self.payload(with(staff_claims(), name, value).to_string(), fault);
    }

    /// A member's token with one claim changed.
    fn member(&mut self, name: &str, value: impl Into<Option<Value>>, fault: TokenFault) {
        let claims = with(member_claims(), name, value).to_string();
        self.add(format!("member {claims}"), EC.token(es256().to_string(), claims), fault);
    }
}

fn form(table: &mut Table) {
    let good = staff_token(|_| {});
    let parts: Vec<&str> = good.split('.').collect();
    let [head, body, signature] = parts[..] else { panic!("three parts") };
    for (name, token) in [
        ("nothing", String::new()),
        ("one part", head.to_owned()),
        ("two parts", format!("{head}.{body}")),
        ("four parts", format!("{good}.")),
        ("five parts, as encrypted tokens have", format!("{good}.{head}.{head}")),
        (
            "JSON serialisation",
            json!({"payload": body, "protected": head, "signature": signature}).to_string(),
        ),
    ] {
        table.add(name, token, TokenFault::NotCompact);
    }
    for (name, token) in [
        ("padding", format!("{head}.{body}.{signature}=")),
        ("padding in the header", format!("{head}=.{body}.{signature}")),
        ("a space before", format!(" {good}")),
        ("a space behind", format!("{good} ")),
        ("a line end", format!("{good}\n")),
        ("a space inside", format!("{head}.{body} .{signature}")),
        ("the other alphabet", format!("{head}.{body}.+/{}", &signature[2..])),
        ("a NUL", format!("{head}.{body}.{signature}\0")),
        ("Bearer in front", format!("Bearer {good}")),
        ("one character too many", format!("{head}.{body}.{signature}AAA")),
        ("percent encoding", format!("{head}.{body}.%41{signature}")),
        ("letters beyond ASCII", format!("{head}.{body}.\u{e9}{signature}")),
        ("JSON serialisation with dots", "{\"a\":\"b.c.d\"}".to_owned()),
    ] {
        table.add(name, token, TokenFault::Base64);
    }
    // Of the last character of an ES256 signature four bits are free: each other value is another text, same bytes.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(signature.chars().last().unwrap()).unwrap();
    for stray in 1..16 {
        let c = alphabet.chars().nth(last + stray).unwrap();
        let token = format!("{head}.{body}.{}{c}", &signature[..signature.len() - 1]);
        table.add(format!("stray bits {stray}"), token, TokenFault::Base64);
    }
    table.add("not UTF-8", [good.as_bytes(), b"\xff"].concat(), TokenFault::Base64);
    table.add(
        "too large",
        staff_token(|claims| claims["pad"] = json!("x".repeat(8192))),
        TokenFault::TooLarge,
    );
    table.add("far too large", vec![b'.'; 1 << 20], TokenFault::TooLarge);
    table.add("no header", format!(".{body}.{signature}"), TokenFault::HeaderJson);
    table.add("no payload", format!("{head}..{signature}"), TokenFault::PayloadJson);
    table.add("no signature", format!("{head}.{body}."), TokenFault::Signature);
    table.add("only dots", "..", TokenFault::HeaderJson);
}

fn headers(table: &mut Table) {
    for text in [
        "",
        "{",
        "[]",
        "null",
        "\"ES256\"",
        "7",
        "{}{}",
        "{alg:1}",
        "\u{feff}{\"alg\":\"ES256\"}",
        "{\"alg\":\"ES256\",}",
    ] {
        table.header(text, TokenFault::HeaderJson);
    }
    table.header("{}", TokenFault::AlgMissing);
    for text in [
        r#"{"alg":"ES256","alg":"ES256","kid":"ec","typ":"JWT"}"#,
        r#"{"alg":"none","kid":"ec","typ":"JWT","alg":"ES256"}"#,
        r#"{"alg":"ES256","\u0061lg":"none","kid":"ec","typ":"JWT"}"#,
        r#"{"alg":"ES256","kid":"ec","typ":"JWT","x":{"y":1,"y":2}}"#,
        r#"{"alg":"ES256","kid":"other","kid":"ec","typ":"JWT"}"#,
    ] {
        table.header(text, TokenFault::DuplicateMember);
    }
    table.head(
        "deep",
        serde_json::from_str::<Value>(&format!("{}{}", "[".repeat(16), "]".repeat(16))).unwrap(),
        TokenFault::TooDeep,
    );
    table.head("alg", None, TokenFault::AlgMissing);
    for value in [json!(null), json!(256), json!(["ES256"]), json!({})] {
        table.head("alg", value.clone(), TokenFault::HeaderForm);
        table.head("kid", value.clone(), TokenFault::HeaderForm);
        table.head("typ", value, TokenFault::HeaderForm);
    }
    for name in ["none", "None", "NONE", "nOnE"] {
        table.head("alg", json!(name), TokenFault::AlgNone);
        let bare = format!(
            "{}.{}.",
            b64(with(es256(), "alg", json!(name)).to_string()),
            b64(staff_claims().to_string())
        );
        table.add(format!("unsigned {name}"), bare, TokenFault::AlgNone);
    }
    for name in [
        "es256",
        "ES256 ",
        "ES256K",
        "RS1",
        "ES224",
        "Ed448",
        "eddsa",
        "RSA-OAEP",
        "A128KW",
        "dir",
        "",
        "HS1",
        "ML-DSA-44",
    ] {
        table.head("alg", json!(name), TokenFault::AlgUnsupported);
    }
    for name in ["HS256", "HS384", "HS512"] {
        table.head("alg", json!(name), TokenFault::AlgNotAllowed);
    }
    for value in [json!(["exp"]), json!([]), json!("exp"), json!(null), json!(["b64"]), json!(["x-unknown"])]
    {
        table.head("crit", value, TokenFault::Critical);
    }
    table.header(
        with(with(es256(), "crit", json!(["b64"])), "b64", json!(false)).to_string(),
        TokenFault::Critical,
    );
    table.head("jwk", EC.jwk("ec"), TokenFault::KeyInHeader);
    table.head("jku", json!("https://staff.example/jwks"), TokenFault::KeyInHeader);
    table.head("x5u", json!("https://staff.example/x"), TokenFault::KeyInHeader);
    table.head("x5c", json!(["MIIB"]), TokenFault::KeyInHeader);
    table.head("jwk", json!(null), TokenFault::KeyInHeader);
    table.head("b64", json!(true), TokenFault::Unencoded);
    table.head("b64", json!(false), TokenFault::Unencoded);
    table.head("zip", json!("DEF"), TokenFault::Compressed);
    table.head("typ", None, TokenFault::TypMissing);
    for typ in [
        "logout+jwt",
        "dpop+jwt",
        "id_token",
        "",
        "JWT ",
        "application/",
        "text/jwt",
        "application/x/jwt",
        "JOSE",
        "secevent+jwt",
        "vc+sd-jwt",
        "application/application/jwt",
        "at +jwt",
    ] {
        table.head("typ", json!(typ), TokenFault::TypNotAllowed);
    }
    for typ in ["postern-assertion+jwt", "Postern-Assertion+JWT", "application/postern-assertion+jwt"] {
        table.head("typ", json!(typ), TokenFault::OwnAssertion);
    }
}

fn keys(table: &mut Table) {
    for kid in ["nobody", "", "EC", "ec ", "../ec", "ec\0"] {
        table.head("kid", json!(kid), TokenFault::KeyUnknown);
    }
    let claims = staff_claims().to_string();
    for (alg, kid, key) in [
        ("ES256", "rsa", &EC),
        ("ES256", "ec384", &EC),
        ("ES256", "ed", &EC),
        ("ES384", "ec", &EC384),
        ("RS256", "ec", &RSA),
        ("PS256", "ed", &RSA),
        ("EdDSA", "ec", &ED),
        ("ES512", "ec384", &EC521),
    ] {
        table.add(
            format!("{alg} with {kid}"),
            key.token(header(alg, kid).to_string(), &claims),
            TokenFault::KeyMismatch,
        );
    }
    for (name, token) in [
        ("another key", EC_OTHER.token(es256().to_string(), &claims)),
        ("another kind of signature", ED.token(es256().to_string(), &claims)),
        ("RS256 in the place of PS256", {
            let signed = format!("{}.{}", b64(header("PS256", "rsa").to_string()), b64(&claims));
            format!("{signed}.{}", b64(RSA.sign("RS256", signed.as_bytes())))
        }),
        ("RS384 in the place of RS256", {
            let signed = format!("{}.{}", b64(header("RS256", "rsa").to_string()), b64(&claims));
            format!("{signed}.{}", b64(RSA.sign("RS384", signed.as_bytes())))
        }),
    ] {
        table.add(name, token, TokenFault::Signature);
    }
    let signed = format!("{}.{}", b64(es256().to_string()), b64(&claims));
    let good = EC.sign("ES256", signed.as_bytes());
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order: Vec<u8> = (0..32).map(|n| u8::from_str_radix(&order[2 * n..2 * n + 2], 16).unwrap()).collect();
    for (name, signature) in [
        ("r and s zero", vec![0; 64]),
        ("r zero", [&[0; 32], &good[32..]].concat()),
        ("s zero", [&good[..32], &[0; 32]].concat()),
        ("r is the order", [&order, &good[32..]].concat()),
        ("s is the order", [&good[..32], &order].concat()),
        (
            "r and s one",
            [[[0u8; 31].as_slice(), &[1]].concat(), [[0u8; 31].as_slice(), &[1]].concat()].concat(),
        ),
        ("all ones", vec![0xff; 64]),
        ("cut by one byte", good[..63].to_vec()),
        ("half", good[..32].to_vec()),
        ("a zero behind", [good.as_slice(), &[0]].concat()),
        ("a zero before", [&[0], good.as_slice()].concat()),
        ("halves swapped", [&good[32..], &good[..32]].concat()),
        ("as DER", {
            let half = |n: &[u8]| [&[2, 33, 0], n].concat();
            [vec![0x30, 70], half(&good[..32]), half(&good[32..])].concat()
        }),
        ("very long", vec![7; 4000]),
    ] {
        table.add(name, format!("{signed}.{}", b64(signature)), TokenFault::Signature);
    }
    let rsa = format!("{}.{}", b64(header("RS256", "rsa").to_string()), b64(&claims));
    let good = RSA.sign("RS256", rsa.as_bytes());
    for (name, signature) in [
        ("RSA cut", good[..255].to_vec()),
        ("RSA with a zero before", [&[0], good.as_slice()].concat()),
        ("RSA zero", vec![0; 256]),
        ("RSA one", [vec![0; 255], vec![1]].concat()),
        ("RSA beyond the modulus", vec![0xff; 256]),
    ] {
        table.add(name, format!("{rsa}.{}", b64(signature)), TokenFault::Signature);
    }
    let ed = format!("{}.{}", b64(header("EdDSA", "ed").to_string()), b64(&claims));
    let good = ED.sign("EdDSA", ed.as_bytes());
    // S plus the group order: the same signature in another spelling, which RFC 8032 has refused.
    let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let mut carry = 0u16;
    let spelled: Vec<u8> = (0..32)
        .map(|n| {
            let sum = u16::from(good[32 + n])
                + u16::from(u8::from_str_radix(&order[2 * n..2 * n + 2], 16).unwrap())
                + carry;
            carry = sum >> 8;
            (sum & 0xff) as u8
        })
        .collect();
    for (name, signature) in [
        ("Ed25519 zero", vec![0; 64]),
        ("Ed25519 cut", good[..63].to_vec()),
        ("Ed25519 in another spelling", [&good[..32], &spelled].concat()),
    ] {
        table.add(name, format!("{ed}.{}", b64(signature)), TokenFault::Signature);
    }
    // The public key of ES256 as a secret: the classical confusion.
    let public = TestKey::Oct(EC.pem().into_bytes());
    table.add(
        "public key as secret",
        public.token(header("HS256", "ec").to_string(), &claims),
        TokenFault::AlgNotAllowed,
    );
    let altered = |index: usize| {
        let token = staff_token(|_| {});
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        parts[index] = match index {
            0 => b64(with(es256(), "x", json!(1)).to_string()),
            _ => b64(with(staff_claims(), "sub", json!("boss")).to_string()),
        };
        parts.join(".")
    };
    table.add("header altered", altered(0), TokenFault::Signature);
    table.add("payload altered", altered(1), TokenFault::Signature);
}

fn claims(table: &mut Table) {
    for text in ["", "hello", "[]", "null", "\"x\"", "{\"iss\":", "{}x", "{\"a\":1e999}"] {
        table.payload(text, TokenFault::PayloadJson);
    }
    table.payload(b"{\"iss\":\"\xff\"}", TokenFault::PayloadJson);
    table.payload(r#"{"iss":"\ud800"}"#, TokenFault::PayloadJson);
    let twice = |extra: &str| format!("{},{extra}}}", staff_claims().to_string().trim_end_matches('}'));
    for extra in [
        r#""sub":"boss""#,
        r#""exp":4000000000"#,
        r#""iss":"https://staff.example/""#,
        r#""s\u0075b":"boss""#,
        r#""org":{"id":1,"id":2}"#,
        r#""list":[{"a":1,"a":1}]"#,
    ] {
        table.payload(twice(extra), TokenFault::DuplicateMember);
    }
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    table.payload(twice(&format!("\"x\":{deep}")), TokenFault::TooDeep);
    table.claim("iss", None, TokenFault::IssMissing);
    for iss in [json!(null), json!(7), json!([STAFF]), json!({})] {
        table.claim("iss", iss, TokenFault::IssMissing);
    }
    for iss in [
        "",
        "https://staff.example",
        "https://STAFF.example/",
        "https://staff.example/ ",
        "http://staff.example/",
        "https://evil.example/",
    ] {
        table.claim("iss", json!(iss), TokenFault::IssUnknown);
    }
    table.claim("aud", None, TokenFault::AudMissing);
    for aud in [
        json!("other"),
        json!(""),
        json!([]),
        json!(["other"]),
        json!("Postern"),
        json!("postern "),
        json!("postern,other"),
        json!("*"),
        json!(["*"]),
    ] {
        table.claim("aud", aud, TokenFault::AudNotAllowed);
    }
    for aud in [
        json!(null),
        json!(7),
        json!({"postern": true}),
        json!(["postern", 7]),
        json!([["postern"]]),
        json!(true),
    ] {
        table.claim("aud", aud, TokenFault::AudForm);
    }
    table.claim("exp", None, TokenFault::ExpMissing);
    for time in [
        json!(null),
        json!("1900000000"),
        json!(true),
        json!([NOW]),
        json!({}),
        json!(-1),
        json!(-0.5),
        json!(1e300),
        json!(u64::MAX),
        json!(i64::MAX),
        json!(NOW * 1000),
        json!(253_402_300_800_i64),
        json!(253_402_300_799.5),
    ] {
        for name in ["exp", "nbf", "iat"] {
            table.claim(name, time.clone(), TokenFault::TimeForm);
        }
    }
    for exp in [json!(0), json!(NOW - 3600), json!(NOW - 5), json!(NOW as f64 - 5.0), json!(-0.0)] {
        table.claim("exp", exp, TokenFault::Expired);
    }
    for nbf in [json!(NOW + 6), json!(NOW as f64 + 5.001), json!(NOW + 86_400), json!(253_402_300_799_i64)] {
        table.claim("nbf", nbf, TokenFault::NotYetValid);
    }
    for iat in [json!(NOW + 6), json!(NOW as f64 + 5.001), json!(NOW + 3000)] {
        table.claim("iat", iat, TokenFault::IssuedInFuture);
    }
    table.claim("iat", None, TokenFault::IatMissing);
    table.claim("exp", json!(NOW - 60 + 86_401), TokenFault::LifetimeTooLong);
    table.claim("iat", json!(0), TokenFault::LifetimeTooLong);
    table.claim("sub", None, TokenFault::SubMissing);
    for sub in [
        json!(null),
        json!(7),
        json!(""),
        json!(["a"]),
        json!("a b"),
        json!("a\n"),
        json!("\u{0}"),
        json!("a\u{7f}"),
        json!("\u{e4}"),
        json!("a".repeat(256)),
        json!("\u{202e}a"),
        json!(" a"),
        json!("a\t"),
    ] {
        table.claim("sub", sub, TokenFault::SubForm);
    }
    table.member("tenant", None, TokenFault::TenantMissing);
    table.member("tenant", json!(null), TokenFault::TenantMissing);
    for tenant in [
        json!(""),
        json!(" acme"),
        json!("ac/me"),
        json!("../acme"),
        json!("*"),
        json!("acme,globex"),
        json!("acm\u{e9}"),
        json!(7),
        json!(["acme"]),
        json!({"id": "acme"}),
        json!(true),
        json!("a".repeat(129)),
        json!("-acme"),
    ] {
        table.member("tenant", tenant, TokenFault::TenantForm);
    }
    for environment in
        [json!(""), json!("pro duction"), json!(7), json!(["production"]), json!("a".repeat(65))]
    {
        table.member("environment", environment, TokenFault::EnvironmentForm);
    }
    for roles in [
        json!(7),
        json!(true),
        json!({"admin": true}),
        json!(["admin", 7]),
        json!([["admin"]]),
        json!(["admin", null]),
    ] {
        table.member("roles", roles, TokenFault::RolesForm);
    }
}

#[test]
fn each_bad_token_is_refused_with_its_code() {
    let mut table = Table(Vec::new());
    form(&mut table);
    headers(&mut table);
    keys(&mut table);
    claims(&mut table);
    let verifier = verifier();
    let wrong: Vec<String> = table
        .0
        .iter()
        .filter_map(|(name, token, fault)| {
            let got = verifier.verify(token, now()).err();
            (got != Some(*fault))
                .then(|| format!("{name}: wanted {}, got {:?}", fault.code(), got.map(TokenFault::code)))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), table.0.len(), wrong.join("\n"));
    assert!(table.0.len() >= 300, "{} cases", table.0.len());

    let seen: std::collections::HashSet<TokenFault> = table.0.iter().map(|(_, _, fault)| *fault).collect();
    let missing: Vec<&TokenFault> = TokenFault::ALL.iter().filter(|fault| !seen.contains(fault)).collect();
    assert_eq!(
        missing,
        [
            &TokenFault::KeysUnavailable,
            &TokenFault::KeyAmbiguous,
            &TokenFault::Several,
            &TokenFault::InCookie
        ],
        "every other fault has a case here"
    );
}

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
