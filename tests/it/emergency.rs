//! Emergency tokens at a gateway: what opens, what does not and why, and what of it is recorded (rule 18). Without a store: see
//! tests/over_redis.

use std::{sync::Arc, time::Duration};

use postern::{
    engine::knock::{Knock, Name, Outer, Path},
    identity::{Algorithm, EmergencyVerifier, Limits, Signer},
    lifecycle::{Command, Switch},
    model::{
        Document, Key, Version,
        stop::{Halt, Reach, Stop},
    },
    policy::{Brought, Caller, Decision, Due, Effect, Fact, Facts, Snapshot, Verdict, decide},
};
use serde_json::{Value, json};

use crate::{
    authority::{Authority, with_token},
    client::Ending,
    cuts::counting,
    reload::{FromFile, NEVER},
    world::*,
};

const ORDERS: &str = "/t/acme/orders";

struct Stage {
    it: FromFile,
    authority: Authority,
    olga: String,
}

impl Stage {
    fn set(more: &str) -> Stage {
        let authority = Authority::new();
        let glass = format!("gateway: main\n{}", authority.glass(more));
        let it = FromFile::start(counting().0, NEVER, &[("gateway: main", &glass)]);
        let olga = it.world.people.staff("olga");
        Stage { it, authority, olga }
    }

    fn token(&self, edits: Value) -> String {
        self.authority.token(self.it.world.now(), edits)
    }

    /// Status and code; of a token that was refused also why.
    fn sends(&self, text: &str) -> (u16, String, String) {
        let mut client = self.it.world.client();
        client.send(text);
        let reply = client.reply();
        if reply.status == 200 {
            return (200, String::new(), String::new());
        }
        let fault = serde_json::from_str::<Value>(&reply.text()).unwrap_or_default();
        (reply.status, reply.code(), fault["fault"].as_str().unwrap_or_default().to_owned())
    }

    #[track_caller]
    fn refuses(&self, own: &str, token: &str, status: u16, code: &str, fault: &str) {
        let said = self.sends(&with_token(ORDERS, own, token));
        assert_eq!(said, (status, code.to_owned(), fault.to_owned()));
    }
}

#[test]
fn a_token_opens_what_break_glass_gives_and_all_of_it_is_recorded() {
    let stage = Stage::set("");
    let token = stage.token(json!({}));
    let before = stage.it.world.upstream.seen().len();
    assert_eq!(stage.sends(&with_token(ORDERS, &stage.olga, &token)).0, 200);
    assert_eq!(stage.sends(&with_token(ORDERS, &stage.olga, &token)).0, 200, "as often as it takes");
    let seen = stage.it.world.upstream.last();
    assert!(seen.values("postern-emergency").is_empty() && seen.values("authorization").is_empty());
    assert!(!seen.head.contains(&token), "nowhere in it");
    // The ceiling holds, and what the map does not have is no more open than before.
    let closed = |method: &str, target: &str| {
        stage.sends(&request(
            method,
            target,
            &stage.olga,
            &format!("Postern-Emergency: {token}\r\nContent-Length: 0\r\n"),
        ))
    };
    assert_eq!(closed("POST", "/t/acme/users").1, "ceiling");
    assert_eq!(closed("GET", "/t/acme/nothing").1, "route_unmapped");
    assert_eq!(stage.it.world.upstream.seen().len(), before + 2);
    let world = stage.it.world;
    assert_eq!(world.gateway().engine().glass_broken(), 1);
    let records = world.finish();
    let of = |kind: &str| records.iter().filter(|record| record["kind"] == kind).collect::<Vec<_>>();
    let entered = of("emergency.entered");
    let [entered] = entered.as_slice() else { panic!("one entry: {entered:?}") };
    assert_eq!(entered["basis"]["break_glass"]["incident"], "INC-4711");
    assert_eq!(entered["by_token"]["key"], stage.authority.0.kid());
    assert_eq!(entered["events"][0]["event"], "glass_broken");
    assert_eq!(entered["events"][1]["event"], "session_started");
    let intents: Vec<_> =
        of("access.intent").into_iter().filter(|record| record["reason"] == "emergency_token").collect();
    assert_eq!(intents.len(), 2);
    for intent in intents {
        assert_eq!(intent["session"], entered["session"]);
        assert_eq!(intent["by_token"]["tenant_known"], true);
        assert_eq!(intent["basis"]["break_glass"]["reason"], "orders are stuck");
    }
}

#[test]
fn whatever_is_not_right_about_a_token_is_refused_with_its_code() {
    let stage = Stage::set(", revoked: [emg_gone], longest: 30m");
    let world = &stage.it.world;
    let seconds = world.now().ms() / 1_000;
    let short = |edits: Value| {
        let mut all = json!({ "exp": seconds + 900 });
        all.as_object_mut().unwrap().extend(edits.as_object().unwrap().clone());
        stage.token(all)
    };
    let good = short(json!({}));
    let olga = stage.olga.as_str();
    assert_eq!(stage.sends(&with_token(ORDERS, olga, &good)).0, 200);

    // Never without the operator's own token, nor with another's.
    assert_eq!(stage.sends(&with_token(ORDERS, "", &good)).1, "token_missing");
    stage.refuses(&world.people.staff("otto"), &good, 403, "emergency_of_another", "");
    stage.refuses(&world.people.staff("sam"), &good, 403, "emergency_not_operator", "");
    assert_eq!(stage.sends(&with_token(ORDERS, &good, &good)).1, "token_invalid", "it is no access token");
    // A member's header means nothing.
    let admin = world.people.admin("acme");
    assert_eq!(stage.sends(&with_token(ORDERS, &admin, &good)).0, 200);
    assert!(world.upstream.last().values("postern-emergency").is_empty());

    // For another place.
    let elsewhere = stage.sends(&with_token("/t/globex/orders", olga, &good));
    assert_eq!((elsewhere.0, elsewhere.1.as_str()), (403, "emergency_other_tenant"));
    let sandbox = short(json!({ "environment": "sandbox" }));
    stage.refuses(olga, &sandbox, 403, "emergency_other_environment", "");
    stage.refuses(olga, &short(json!({ "jti": "emg_gone" })), 403, "emergency_revoked", "");
    for undeclared in [json!({ "cause": "curiosity" }), json!({ "incident": "none" })] {
        stage.refuses(olga, &short(undeclared), 403, "emergency_undeclared", "");
    }

    // What the token itself says.
    let invalid = |token: &str, fault: &str| stage.refuses(olga, token, 403, "emergency_invalid", fault);
    invalid(&stage.token(json!({})), "token_lifetime_too_long");
    invalid(&short(json!({ "iat": seconds - 7_200, "exp": seconds - 1 })), "token_expired");
    invalid(&short(json!({ "nbf": seconds + 600 })), "token_not_yet_valid");
    invalid(&short(json!({ "iat": seconds + 600 })), "token_issued_in_future");
    invalid(&short(json!({ "aud": "staging" })), "token_aud_not_allowed");
    invalid(&short(json!({ "aud": ["tests"] })), "token_aud_form");
    invalid(&short(json!({ "tenant": "ac me" })), "token_tenant_form");
    for form in [
        json!({ "jti": "ses_1" }),
        json!({ "jti": null }),
        json!({ "nbf": null }),
        json!({ "iat": null }),
        json!({ "reason": " " }),
        json!({ "reason": "a\nb" }),
        json!({ "operator": "olga" }),
        json!({ "operator": { "issuer": "vendor", "sub": "olga", "act": "x" } }),
        json!({ "role": "owner" }),
    ] {
        invalid(&short(form), "token_emergency_form");
    }

    // Signed by somebody else, by nobody, or with what everybody has.
    let claims = || {
        let mut claims = Authority::claims(world.now());
        claims["exp"] = json!(seconds + 900);
        claims
    };
    let stranger = Authority(Signer::generate(Algorithm::EdDsa).unwrap());
    invalid(&stranger.sign(&claims()), "token_key_unknown");
    let named = Signer::from_pem(&stranger.0.to_pem().unwrap(), Some(stage.authority.0.kid())).unwrap();
    invalid(&Authority(named).sign(&claims()), "token_signature");
    let kid = stage.authority.0.kid();
    invalid(
        &unsigned(&json!({ "alg": "none", "kid": kid, "typ": "postern-emergency+jwt" }), &claims()),
        "token_alg_none",
    );
    let hmac = json!({ "alg": "HS256", "kid": kid, "typ": "postern-emergency+jwt" });
    invalid(&by_hmac(&hmac, &claims(), stage.authority.0.public_jwk().x.as_bytes()), "token_alg_not_allowed");
    invalid(olga, "token_typ_not_allowed");
    invalid(&stage.authority.0.sign("JWT", &claims()).unwrap(), "token_typ_not_allowed");
    invalid("x", "token_not_compact");
    invalid(&"x".repeat(8_200), "token_too_large");

    // Two of them, one in disguise, and one beside a session.
    let more = |more: &str| stage.sends(&request("GET", ORDERS, olga, more));
    let twice = more(&format!("Postern-Emergency: {good}\r\nPostern-Emergency: {good}\r\n"));
    assert_eq!(twice.0, 400, "{twice:?}");
    let disguised = more(&format!("Postern_Emergency: {good}\r\n"));
    assert_eq!((disguised.0, disguised.1.as_str()), (400, "emergency_unclear"));
    let both = more(&format!("Postern-Emergency: {good}\r\nPostern-Session: ses_1\r\n"));
    assert_eq!((both.0, both.1.as_str()), (400, "emergency_and_session"));
    let huge = more(&format!("Postern-Emergency: {}\r\n", "x".repeat(60_000)));
    assert!(matches!(huge.0, 400 | 431), "{huge:?}");
    stage.it.world.finish();
}

/// A compact token of these parts with no signature.
fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}.", part(header), part(claims))
}

fn part(value: &Value) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn by_hmac(header: &Value, claims: &Value, secret: &[u8]) -> String {
    use aws_lc_rs::hmac;
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let signed = format!("{}.{}", part(header), part(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

#[test]
fn without_its_configuration_no_token_opens_anything() {
    let authority = Authority::new();
    let glass = "gateway: main\nbreak_glass: { operators: [{ issuer: vendor, sub: olga }], role: editor }";
    let it = FromFile::start(counting().0, NEVER, &[("gateway: main", glass)]);
    let olga = it.world.people.staff("olga");
    let token = authority.token(it.world.now(), json!({}));
    let stage = Stage { it, authority, olga };
    stage.refuses(&stage.olga, &token, 403, "emergency_not_configured", "");
    stage.it.world.finish();
}

/// A stream by a token, that ends by what is done; and why nothing more opens after.
fn is_cut(end: impl FnOnce(&Stage, &str), code: &str, fault: &str) {
    let stage = Stage::set(", revoked: [emg_none]");
    let token = stage.token(json!({ "jti": "emg_0011" }));
    let mut stream = stage.it.world.client();
    stream.send(with_token("/t/acme/download?do=forever", &stage.olga, &token));
    assert!(stream.head().contains(" 200 "));
    end(&stage, &token);
    assert_eq!(stream.read_out().0, Ending::Reset);
    stage.refuses(&stage.olga, &token, 403, code, fault);
    let records = stage.it.world.finish();
    let is_cut = |record: &&serde_json::Value| record["kind"] == "access.outcome" && record["end"] == "cut";
    let cut = records.iter().rfind(is_cut).unwrap();
    assert_eq!(cut["cut_by"]["reason"], code, "{cut}");
}

#[test]
fn a_token_that_a_reload_takes_back_is_cut() {
    let end = |stage: &Stage, _: &str| stage.it.reload(&[("emg_none", "emg_0011")]).unwrap();
    is_cut(end, "emergency_revoked", "");
}

#[test]
fn a_token_of_a_key_that_a_reload_takes_away_is_cut() {
    let end = |stage: &Stage, _: &str| {
        let other = Authority::new();
        let (old, new) = (stage.authority.0.public_jwks().unwrap(), other.0.public_jwks().unwrap());
        stage.it.reload(&[(old.as_str(), new.as_str())]).unwrap();
    };
    is_cut(end, "emergency_invalid", "token_key_unknown");
}

#[test]
fn a_tenant_that_refuses_cuts_what_runs_by_a_token() {
    let end = |stage: &Stage, _: &str| {
        let stop = Command::Stop { switch: Switch::Own(tenant("acme")), reason: "not now".to_owned() };
        stage.it.world.done(stop, &stage.it.world.people.admin("acme"));
    };
    is_cut(end, "stopped", "");
}

#[test]
fn a_token_ends_what_runs_by_it_when_it_ends() {
    let stage = Stage::set("");
    let seconds = stage.it.world.now().ms() / 1_000;
    let token = stage.token(json!({ "exp": seconds + 5 }));
    let mut stream = stage.it.world.client();
    stream.send(with_token("/t/acme/download?do=forever", &stage.olga, &token));
    assert!(stream.head().contains(" 200 "));
    assert_eq!(stream.read_out().0, Ending::Reset);
    // By the clock that it goes by; how late it is noticed depends on what else the machine does.
    let late = stage.it.world.gateway().engine().now().ms() - (seconds + 5) * 1_000;
    assert!((0..10_000).contains(&late), "{late} ms after its end");
    stage.refuses(&stage.olga, &token, 403, "emergency_invalid", "token_expired");
    stage.it.world.finish();
}

#[test]
fn entries_by_token_are_bounded_with_those_through_the_gateway() {
    let authority = Authority::new();
    let glass = authority.glass("").replace("role: editor", "role: editor, attempts: 2");
    let it = FromFile::start(counting().0, NEVER, &[("gateway: main", &format!("gateway: main\n{glass}"))]);
    let olga = it.world.people.staff("olga");
    let stage = Stage { it, authority, olga };
    let tokens: Vec<_> = (0..3).map(|n| stage.token(json!({ "jti": format!("emg_{n}") }))).collect();
    for token in [&tokens[0], &tokens[1], &tokens[0]] {
        assert_eq!(stage.sends(&with_token(ORDERS, &stage.olga, token)).0, 200);
    }
    let said = stage.sends(&with_token(ORDERS, &stage.olga, &tokens[2]));
    assert_eq!((said.0, said.1.as_str()), (429, "emergency_too_often"));
    assert_eq!(stage.sends(&with_token(ORDERS, &stage.olga, &tokens[1])).0, 200, "who is inside goes on");
    until_within(Duration::from_secs(5), "nothing runs", || {
        stage.it.world.gateway().engine().registry().is_empty()
    });
    stage.it.world.finish();
}

/// What could not be had binds nothing, and what is known binds; nothing is decided before all that could bind was asked for.
#[test]
fn what_is_known_last_binds_and_what_is_not_known_does_not() {
    let stage = Stage::set("");
    let world = &stage.it.world;
    let engine = world.gateway().engine();
    let policy = engine.policy();
    let rules = policy.emergency.break_glass.as_ref().unwrap().tokens.as_ref().unwrap();
    let verifier = EmergencyVerifier::new(rules, Limits::default()).unwrap();
    let token = verifier.verify(stage.token(json!({})).as_bytes(), world.now()).unwrap();
    let operator = token.operator.clone();
    let rule = policy.rules.iter().position(|rule| rule.name == "GET /t/{tenant}/orders").unwrap();
    let knock = Knock {
        policy: policy.clone(),
        path: Path::Rule(rule),
        tenant: Name::As("acme".into()),
        environment: Name::As("production".into()),
        resource: None,
        within: Outer::default(),
        session: Name::Missing,
        emergency: Brought::Token(Arc::new(token)),
        does: Effect::Read,
        client: None,
        ticket: Name::Missing,
        asked: None,
    };
    let subject = world.people.verified(&stage.olga);
    let keys = [
        Key::Tenant(tenant("acme")),
        Key::Stop(Reach::All),
        Key::Stop(Reach::Person(operator.clone())),
        Key::Stop(Reach::Tenant(tenant("acme"))),
        Key::Presence(tenant("acme"), operator),
    ];
    let set = |others: bool, set: bool| {
        let halt = Halt { own: false, since: world.now(), by: subject.id.clone(), reason: "x".to_owned() };
        let stop = Stop { set: set.then_some(halt), others, ..Stop::default() };
        Fact::Found(Arc::new(Snapshot { version: Version::NONE, document: Document::Stop(stop) }))
    };
    let acme = block(engine.fact(&keys[0]));
    assert!(matches!(acme, Fact::Found(_)));
    let said = |known: &[Fact]| {
        let mut facts = Facts::new();
        for (key, fact) in keys.iter().zip(known) {
            facts.put(key.clone(), fact.clone());
        }
        match decide(&knock.ask(false), Caller::Known(subject.subject()), &facts, world.now(), &policy) {
            Verdict::Need(_) => "need",
            Verdict::Decided(Decision::Deny(denial)) => denial.reason.code(),
            Verdict::Decided(Decision::Allow(permit)) => {
                let lacks = known.contains(&Fact::Unavailable);
                assert_eq!(permit.staff().unwrap().deadline.due == Due::Unknown, lacks, "it is asked again");
                permit.reason().code()
            }
        }
    };
    let (no, none) = (Fact::Unavailable, Fact::Absent);
    let all = |a: &Fact, b: &Fact, c: &Fact, d: &Fact, e: &Fact| said(&[a, b, c, d, e].map(Clone::clone));
    assert_eq!(all(&no, &no, &no, &no, &no), "emergency_token", "a tenant that was never known");
    assert_eq!(all(&acme, &none, &none, &none, &none), "emergency_token");
    assert_eq!(all(&none, &none, &none, &none, &none), "tenant_foreign", "the store says that there is none");
    assert_eq!(all(&acme, &set(false, true), &no, &no, &no), "stopped");
    assert_eq!(
        all(&no, &no, &set(false, true), &no, &no),
        "stopped",
        "the index is not at hand, the switch is"
    );
    assert_eq!(all(&no, &set(true, false), &no, &set(false, true), &no), "stopped");
    for missing in 0..2 {
        let known: Vec<Fact> = keys[..missing].iter().map(|_| no.clone()).collect();
        assert_eq!(said(&known), "need");
    }
    stage.it.world.finish();
}
