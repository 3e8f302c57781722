//! Tokens: whatever is accepted, jsonwebtoken accepts too, and an independent reading of its JSON finds nothing that
//! must be refused. The first byte says whether the rest is a token as it stands, or a header and a payload, separated
//! by a line end, that are signed here with a key that the verifier trusts: so the search reaches past the signature.
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, Validation};
use libfuzzer_sys::fuzz_target;
use postern::{
    identity::{Algorithm, ClaimPath, IssuerOptions, KeySource, Limits, Signer, Verifier},
    model::{IssuerName, SubjectKind, Timestamp},
};
use serde_json::Value;

const NOW: i64 = 1_800_000_000;
const STAFF: &str = "https://staff.example/";
const MEMBERS: &str = "https://members.example/";
/// A key of nobody: the example of RFC 8037, A.1.
const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"k","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

struct World {
    verifier: Verifier,
    pair: Ed25519KeyPair,
    public: DecodingKey,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let signer = Signer::from_jwk(KEY).expect("a key");
    let jwks = signer.public_jwks().expect("its public half");
    let issuer = |name: &str, iss: &str, kind| {
        let keys = KeySource::Jwks(jwks.clone());
        let name = IssuerName::new(name).expect("a name");
        let mut options = IssuerOptions::new(name, iss, kind, "postern", keys);
        options.algorithms = vec![Algorithm::EdDsa];
        options.claims.environment = ClaimPath::parse("environment").ok();
        options
    };
    let issuers =
        vec![issuer("staff", STAFF, SubjectKind::Staff), issuer("members", MEMBERS, SubjectKind::Member)];
    let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").expect("base64");
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed");
    World {
        verifier: Verifier::new(issuers, Limits::default()).expect("a verifier"),
        public: DecodingKey::from_ed_components("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
            .expect("a key"),
        pair,
    }
});

fn signed(header: &[u8], payload: &[u8]) -> Vec<u8> {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(WORLD.pair.sign(text.as_bytes()))).into_bytes()
}

fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().map(|one| one.as_str().expect("texts only")).collect(),
        other => panic!("neither text nor list: {other}"),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else { return };
    let token = match (mode & 1, rest.iter().position(|byte| *byte == b'\n')) {
        (1, Some(at)) => signed(&rest[..at], &rest[at + 1..]),
        _ => rest.to_vec(),
    };
    let now = Timestamp::from_ms(NOW * 1000);
    let Ok(subject) = WORLD.verifier.verify(&token, now) else { return };

    assert!(subject.holds(now));
    let text = std::str::from_utf8(&token).expect("a token is ASCII");
    let parts: Vec<&str> = text.split('.').collect();
    let [header, payload, _] = parts.as_slice() else { panic!("not three parts") };
    let json = |part: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("canonical base64url")).expect("JSON")
    };
    let (header, claims) = (json(header), json(payload));
    for never in ["crit", "jku", "jwk", "x5u", "x5c", "b64", "zip"] {
        assert!(header.get(never).is_none(), "`{never}` passes");
    }
    assert_eq!(header["alg"], "EdDSA");
    let typ = header["typ"].as_str().expect("a type").to_ascii_lowercase();
    let typ = typ.strip_prefix("application/").unwrap_or(&typ);
    assert!(typ == "at+jwt" || typ == "jwt", "{typ}");
    let iss = claims["iss"].as_str().expect("an issuer");
    assert_eq!(subject.kind == SubjectKind::Staff, iss == STAFF);
    assert!(iss == STAFF || iss == MEMBERS);
    assert!(strings(&claims["aud"]).contains(&"postern"));
    assert_eq!(claims["sub"].as_str(), Some(&*subject.id.sub));
    let time = |name: &str| claims.get(name).map(|value| value.as_f64().expect("a number"));
    let (exp, iat) = (time("exp").expect("an end"), time("iat").expect("a beginning"));
    let now_s = NOW as f64;
    assert!(exp + 5.0 > now_s && iat - 5.0 <= now_s && exp - iat <= 86_400.001, "{exp} {iat}");
    assert!(time("nbf").is_none_or(|nbf| nbf - 5.0 <= now_s));
    assert_eq!(subject.acting, claims.get("act").is_some());
    match subject.kind {
        SubjectKind::Member => {
            assert_eq!(claims["tenant"].as_str(), subject.tenant.as_ref().map(|tenant| tenant.as_str()));
        }
        SubjectKind::Staff => assert!(subject.tenant.is_none() && subject.roles.is_empty()),
        SubjectKind::Service => panic!("no issuer makes services here"),
    }

    // Its times are relative to a moment of ours, so only form, signature, issuer and audience are compared.
    let mut validation = Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.set_audience(&["postern"]);
    validation.set_issuer(&[iss]);
    let theirs = jsonwebtoken::decode::<Value>(text, &WORLD.public, &validation)
        .unwrap_or_else(|fault| panic!("jsonwebtoken refuses it: {fault}"));
    assert_eq!(theirs.claims["sub"], claims["sub"]);
});
