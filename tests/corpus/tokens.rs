//! Bad tokens: refused by the verifier with their code, and by a gateway with an answer that says so, and not a byte
//! upstream.

use std::{collections::BTreeMap, fs, io::Write as _};

use postern::{
    app,
    identity::{Algorithm, ClaimPath, IssuerOptions, KeySource, Limits, TokenFault, Verifier},
    model::{IssuerName, SubjectKind, Timestamp},
};
use serde_json::json;

use crate::{
    bad_tokens::table,
    format::{Case, cases, escaped},
    generated,
    test_key::{AUDIENCE, MEMBERS, NOW, STAFF, all_keys},
    world::{ManualClock, Plan, World},
    writing,
};

const BAD: &str = include_str!("tokens/bad.txt");
const KEYS: &str = include_str!("tokens/jwks.json");

const HEADER: &str = "\
# Tokens that admit nobody, each with the code of its refusal. The format, the moment at which they are bad, and the
# settings of the verifier are described in ../README.md; the keys that they must be held against stand in jwks.json.
# Written by tests/corpus/bad_tokens.rs. The private halves of the keys are gone: nobody can sign with them.
";

fn bad() -> Vec<Case> {
    cases(BAD, &[])
}

fn issuer(name: &str, iss: &str, kind: SubjectKind) -> IssuerOptions {
    let keys = KeySource::Jwks(KEYS.to_owned());
    let mut options = IssuerOptions::new(IssuerName::new(name).unwrap(), iss, kind, AUDIENCE, keys);
    options.algorithms = Algorithm::ALL.iter().copied().filter(|algorithm| !algorithm.is_hmac()).collect();
    options.claims.environment = ClaimPath::parse("environment").ok();
    options
}

/// A token as one line: long runs of one character in short.
fn line(token: &[u8]) -> String {
    if token.len() > 100_000 && token.iter().all(|byte| byte == &token[0]) {
        return format!("\\*{}({})", token.len(), escaped(&token[..1]));
    }
    escaped(token)
}

/// Only when asked to: with new keys, so that every token is another one.
#[test]
fn bad_tokens_are_written_anew_when_asked_to() {
    let made = table();
    let mut names = BTreeMap::new();
    let mut text = HEADER.to_owned();
    for (number, (name, token, fault)) in made.iter().enumerate() {
        let why: String = name.escape_debug().to_string();
        let why =
            if why.len() > 200 { format!("{} and so on", why.get(..190).unwrap_or("long")) } else { why };
        text +=
            &format!("\n=== t{:03} | refuse 401 {}\nwhy: {why}\n{}\n", number + 1, fault.code(), line(token));
        *names.entry(fault.code()).or_insert(0) += 1;
    }
    if writing() {
        generated(
            "tokens/jwks.json",
            &(serde_json::to_string_pretty(&json!({ "keys": all_keys() })).unwrap() + "\n"),
        );
        generated("tokens/bad.txt", &text);
        return;
    }
    let stand = bad();
    let ours: Vec<String> = made.iter().map(|(_, _, fault)| format!("refuse 401 {}", fault.code())).collect();
    assert_eq!(
        stand.iter().map(|case| case.expected[0].clone()).collect::<Vec<_>>(),
        ours,
        "the file is not what is generated"
    );
    println!("{} bad tokens: {names:?}", made.len());
}

#[test]
fn every_bad_token_is_refused_with_its_code() {
    let issuers =
        vec![issuer("staff", STAFF, SubjectKind::Staff), issuer("members", MEMBERS, SubjectKind::Member)];
    let verifier = Verifier::new(issuers, Limits::default()).unwrap();
    let now = Timestamp::from_ms(NOW * 1000);
    let all = bad();
    assert!(all.len() >= 300, "{} tokens", all.len());
    let mut wrong = Vec::new();
    for case in &all {
        let got = verifier.verify(&case.bytes(), now).map_or_else(TokenFault::code, |_| "accepted");
        if case.expected[0] != format!("refuse 401 {got}") {
            wrong.push(format!("{} ({}): {got}, not {}", case.id, case.why, case.expected[0]));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    let seen: Vec<&str> = all.iter().map(|case| case.expected[0].as_str()).collect();
    let missing: Vec<&str> = TokenFault::ALL
        .iter()
        .map(|fault| fault.code())
        .filter(|code| !seen.contains(&format!("refuse 401 {code}").as_str()))
        .collect();
    // The others are about a whole request, about no access token, or about no token at all.
    let elsewhere = [
        "keys_unavailable",
        "token_key_ambiguous",
        "token_several",
        "token_in_cookie",
        "token_emergency_form",
    ];
    assert_eq!(missing, elsewhere, "every other fault has a case here");
}

#[test]
fn no_bad_token_gets_a_byte_through_the_gateway() {
    let algorithms = "algorithms: [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA]";
    let plan = Plan::default()
        .clock(&ManualClock::at(NOW * 1000))
        .edit("issuer: https://id.vendor.example", "issuer: https://staff.example/")
        .edit("issuer: https://id.app.example", "issuer: https://members.example/")
        .edit("audience: [app]", "audience: [postern]")
        .edit("algorithms: [ES256]", algorithms);
    let mut world = World::prepared(plan);
    for name in ["vendor.jwks", "app.jwks"] {
        fs::write(world.keys_dir.path().join(name), KEYS).unwrap();
    }
    app::init_state(&world.data.join("state.redb"), &world.data.join("ledger")).unwrap();
    world.up();
    let (mut told, mut unsent) = (0, 0);
    for case in bad() {
        let token = case.bytes();
        // What no header can carry, a gateway refuses before it looks at tokens; what begins or ends with white space
        // is another token, and a good one, once HTTP has trimmed it.
        let trimmed = token.trim_ascii() != token.as_slice();
        let carried = token.len() < 15_000 && token.iter().all(|byte| !matches!(byte, 0..0x20 | 0x7f));
        if token.is_empty() || trimmed && carried || token.len() > 30_000 {
            unsent += 1;
            continue;
        }
        let expected = case.expected[0].strip_prefix("refuse 401 ").unwrap();
        if expected == "token_environment_form" {
            // A configuration cannot name the claim yet that stands for the environment: to this gateway it is none.
            unsent += 1;
            continue;
        }
        let mut client = world.client();
        let head = b"GET /t/acme/orders HTTP/1.1\r\nHost: app.example\r\nAuthorization: Bearer ";
        client.stream.write_all(&[head.as_slice(), &token, b"\r\n\r\n"].concat()).unwrap();
        let reply = client.reply();
        if !carried {
            assert!(matches!(reply.status, 400 | 431), "{}: {}", case.id, reply.text());
            continue;
        }
        assert_eq!(reply.status, 401, "{}: {}", case.id, reply.text());
        let problem: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        let fault = problem["fault"].as_str().unwrap_or_default();
        assert_eq!(
            (reply.status, reply.code().as_str(), fault),
            (401, "token_invalid", expected),
            "{}",
            case.id
        );
        assert!(reply.values("www-authenticate")[0].contains("invalid_token"), "{}", case.id);
        told += 1;
    }
    println!("{told} refused by the gateway, {unsent} not to be sent in a header");
    assert!(told >= 300, "{told}");
    assert_eq!(world.upstream.received(), 0, "bytes arrived");
    assert!(world.of_kind("access.intent").is_empty());
    world.finish();
}
