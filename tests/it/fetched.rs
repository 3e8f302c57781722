//! Keys that an issuer publishes at an address: fetched, changed, late, missing, wrong.

use postern::identity::{Algorithm, Signer};
use serde_json::{Value, json};

use crate::{
    issuer::{Answer, Issuer},
    world::*,
};

fn keys_of(signers: &[&Signer]) -> Value {
    let of = |signer: &Signer| {
        let set: Value = serde_json::from_str(&signer.public_jwks().unwrap()).unwrap();
        set["keys"][0].clone()
    };
    json!({ "keys": signers.iter().map(|signer| of(signer)).collect::<Vec<_>>() })
}

fn set_of(signers: &[&Signer]) -> Answer {
    Answer::json(&keys_of(signers).to_string())
}

/// A world whose members' keys are fetched from that issuer; nothing runs yet.
fn prepared(issuer: &Issuer, plan: Plan, host: &str, more: &str) -> World {
    let mut world = World::prepared(plan);
    let keys = world.keys_dir.path().to_str().unwrap().to_owned();
    std::fs::write(world.keys_dir.path().join("ca.pem"), &issuer.authority).unwrap();
    let url = format!("https://{host}:{}/keys?for=postern", issuer.address.port());
    let from = format!("keys: {{ file: {keys}/app.jwks }}");
    let to = format!("keys: {{ url: \"{url}\", ca: {{ file: {keys}/ca.pem }}{more} }}");
    world.edits.push((from.leak(), to.leak()));
    postern::app::init_state(&world.data.join("state.redb"), &world.data.join("ledger")).unwrap();
    world
}

fn started(issuer: &Issuer, more: &str) -> World {
    let mut world = prepared(issuer, Plan::default(), "127.0.0.1", more);
    issuer.answer(set_of(&[&world.people.keys.app]));
    world.up();
    world
}

/// A member's token by another key of the same issuer.
fn by(signer: &Signer, world: &World) -> String {
    let now = world.people.now_ms() / 1000;
    let claims = json!({ "iss": "https://id.app.example", "aud": "app", "sub": "mia", "iat": now, "exp": now + 80_000,
        "tenant": "acme", "roles": ["admin"] });
    signer.sign("at+jwt", &claims).unwrap()
}

fn new_key() -> Signer {
    Signer::generate(Algorithm::Es256).unwrap()
}

/// One metric of the members' issuer.
fn metric(world: &World, name: &str) -> u64 {
    let mut client = crate::client::Client::connect(world.gateway().operations());
    let text = client.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").reply().text();
    let line = format!("{name}{{issuer=\"app\"}} ");
    text.lines().find_map(|row| row.strip_prefix(&line)).unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

// GW-02
#[test]
fn fetched_keys_verify_from_the_first_request_on() {
    let issuer = Issuer::start(Answer::Silence);
    let world = started(&issuer, "");
    let member = world.people.member("mia", "acme", &["admin"]);
    for _ in 0..50 {
        assert_eq!(world.get("/t/acme/orders", &member).status, 200);
    }
    assert_eq!(issuer.asked(), 1);
    assert_eq!(metric(&world, "postern_keys_usable"), 1);
    assert_eq!(metric(&world, "postern_keys_fetched_total"), 1);
    assert_eq!(metric(&world, "postern_keys_failed_total"), 0);
    world.finish();
}

#[test]
fn tokens_are_answered_503_until_the_first_keys_come() {
    let issuer = Issuer::start(Answer::with("500 Oops", "", ""));
    let mut world = prepared(&issuer, Plan::default(), "127.0.0.1", "");
    world.up();
    let member = world.people.member("mia", "acme", &["admin"]);
    let refused = world.get("/t/acme/orders", &member);
    assert_eq!((refused.status, refused.code().as_str()), (503, "keys_unavailable"));
    let inside = world.get("/_postern/v1/me", &member);
    assert_eq!((inside.status, inside.code().as_str()), (503, "keys_unavailable"));
    assert_eq!(world.get("/public/page", &member).status, 200, "what is open to everybody needs no keys");
    let agent = world.people.staff("sam");
    assert_eq!(world.get("/_postern/v1/me", &agent).status, 200, "another issuer's people are not concerned");
    assert_eq!(metric(&world, "postern_keys_usable"), 0);
    issuer.answer(set_of(&[&world.people.keys.app]));
    until("the keys come", || world.get("/t/acme/orders", &member).status == 200);
    assert_eq!(metric(&world, "postern_keys_usable"), 1);
    world.finish();
}

// GW-02
#[test]
fn a_new_key_counts_at_its_first_token_and_a_withdrawn_one_no_longer() {
    let issuer = Issuer::start(Answer::Silence);
    let world = started(&issuer, ", refetch: 1s");
    let (old, next) = (&world.people.keys.app, new_key());
    let (early, late) = (world.people.member("mia", "acme", &["admin"]), by(&next, &world));
    assert_eq!(world.get("/t/acme/orders", &early).status, 200);
    // Just fetched, so a wish is not heard yet; and the issuer does not know the key either.
    assert_eq!(world.get("/t/acme/orders", &late).code(), "token_invalid");
    issuer.answer(set_of(&[old, &next]));
    until("the new key is fetched", || world.get("/t/acme/orders", &late).status == 200);
    assert_eq!(world.get("/t/acme/orders", &early).status, 200, "the old key stands beside it");

    issuer.answer(set_of(&[&next]));
    let nobody = by(&new_key(), &world);
    until("the old key is gone", || {
        let _ = world.get("/t/acme/orders", &nobody);
        world.get("/t/acme/orders", &early).status == 401
    });
    let refused = world.get("/t/acme/orders", &early);
    assert!(refused.text().contains("token_key_unknown"), "{}", refused.text());
    assert_eq!(world.get("/t/acme/orders", &late).status, 200);
    world.finish();
}

#[test]
fn the_first_token_of_a_new_key_waits_for_the_fetch_that_it_asked_for() {
    let issuer = Issuer::start(Answer::Silence);
    let world = started(&issuer, ", refetch: 1s");
    let next = new_key();
    issuer.answer(set_of(&[&world.people.keys.app, &next]));
    let token = by(&next, &world);
    // While the rest after the last fetch lasts, it is refused and nothing is fetched. The first request that has keys
    // fetched is the first that passes.
    until("the rest is over", || {
        let status = world.get("/t/acme/orders", &token).status;
        let fetched = issuer.asked() > 1;
        assert_eq!(status, if fetched { 200 } else { 401 });
        fetched
    });
    assert_eq!(issuer.asked(), 2);
    world.finish();
}

// GW-02
#[test]
fn the_last_good_keys_outlive_an_outage_until_they_are_too_old() {
    let clock = ManualClock::at(NOON);
    let issuer = Issuer::start(Answer::Silence);
    let plan = Plan::default().clock(&clock);
    let mut world = prepared(&issuer, plan, "127.0.0.1", ", refresh: 1h, keep: 6h, refetch: 1s");
    issuer.answer(set_of(&[&world.people.keys.app]));
    world.up();
    let member = world.people.member("mia", "acme", &["admin"]);
    assert_eq!(world.get("/t/acme/orders", &member).status, 200);
    issuer.down();
    clock.advance(6 * 3_600_000 - 1);
    let fresh = world.people.member("mo", "acme", &["admin"]);
    for token in [&member, &fresh] {
        assert_eq!(world.get("/t/acme/orders", token).status, 200, "known and new, the last keys stand");
    }
    clock.advance(1);
    for token in [&member, &fresh, &world.people.member("max", "acme", &["admin"])] {
        let refused = world.get("/t/acme/orders", token);
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (503, "keys_unavailable"),
            "also where it was verified"
        );
    }
    assert_eq!(metric(&world, "postern_keys_usable"), 0);
    world.finish();
}

/// The keys that a reload takes over are told of as before it, whatever the address answers now.
// GW-03
#[test]
fn a_reload_in_an_outage_tells_of_the_keys_that_it_took_over() {
    let issuer = Issuer::start(Answer::Silence);
    let world = started(&issuer, "");
    let member = world.people.member("mia", "acme", &["admin"]);
    assert_eq!(metric(&world, "postern_keys_usable"), 1);
    issuer.answer(Answer::with("500 Oops", "", ""));
    let same = settings(world.keys_dir.path(), &world.data, world.upstream.address, &world.edits);
    world.gateway().apply(same).unwrap();
    assert_eq!(world.get("/t/acme/orders", &member).status, 200);
    assert_eq!(metric(&world, "postern_keys_usable"), 1);
    until("the fetch failed", || metric(&world, "postern_keys_failed_total") > 0);
    assert_eq!(metric(&world, "postern_keys_usable"), 1);
    assert_eq!(metric(&world, "postern_keys_fetched_total"), 0);
    world.finish();
}

/// Each answer in turn replaces a good one; the last good keys stay, and the failure is counted.
#[test]
fn whatever_a_broken_address_answers_the_last_good_keys_stay() {
    let issuer = Issuer::start(Answer::Silence);
    let world = started(&issuer, ", refetch: 1s, timeout: 300ms");
    let (good, next) = (world.people.member("mia", "acme", &["admin"]), new_key());
    let stranger = by(&next, &world);
    assert_eq!(world.get("/t/acme/orders", &good).status, 200);
    let html = "<!doctype html><title>Sign in</title><p>Please sign in.";
    let both = keys_of(&[&world.people.keys.app, &next]).to_string();
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    let huge = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(1 << 20));
    let many = json!({ "keys": vec![json!({ "kty": "EC" }); 257] }).to_string();
    let mut private: Value = serde_json::from_str(&both).unwrap();
    for key in private["keys"].as_array_mut().unwrap() {
        key["d"] = json!("AQAB");
    }
    let compressed = Answer::with("200 OK", "Content-Encoding: gzip\r\n", &both);
    let moved = format!("Location: https://127.0.0.1:{}/keys?for=postern\r\n", issuer.address.port());
    for (what, answer) in [
        ("HTML", Answer::with("200 OK", "Content-Type: text/html\r\n", html)),
        ("nothing", Answer::json("")),
        ("an empty set", Answer::json("{\"keys\":[]}")),
        ("a set that says twice what its keys are", Answer::json(&format!("{{\"keys\":[],{}", &both[1..]))),
        ("another object", Answer::json("{\"jwks_uri\":\"https://127.0.0.1/keys\"}")),
        ("deep nesting", Answer::json(&deep)),
        ("too much", Answer::json(&huge)),
        ("too many keys", Answer::json(&many)),
        ("private keys", Answer::json(&private.to_string())),
        (
            "secrets",
            Answer::json(
                "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0\"}]}",
            ),
        ),
        (
            "bytes that are no text",
            Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe".to_vec()),
        ),
        ("a compressed set", compressed),
        ("a redirect to itself", Answer::with("302 Found", &moved, "")),
        ("a permanent redirect", Answer::with("308 Permanent Redirect", &moved, "")),
        ("not modified", Answer::with("304 Not Modified", "", "")),
        ("part of it", Answer::with("206 Partial Content", "", &both)),
        ("an error", Answer::with("503 Service Unavailable", "Retry-After: 1\r\n", &both)),
        (
            "half a set",
            Answer::Bytes(format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{both}").into()),
        ),
        ("no HTTP", Answer::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())),
        ("an endless head", Answer::Bytes(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(100_000)).into())),
        ("silence", Answer::Silence),
        ("no TLS", Answer::Hang),
        ("a head byte by byte", Answer::Dribble(b"HTTP/1.1 200 OK\r\nX: ".to_vec())),
        (
            "a body byte by byte",
            Answer::Dribble(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{".to_vec()),
        ),
    ] {
        let before = metric(&world, "postern_keys_failed_total");
        issuer.answer(answer);
        until(what, || {
            assert_ne!(world.get("/t/acme/orders", &stranger).status, 200, "{what}");
            metric(&world, "postern_keys_failed_total") > before
        });
        assert_eq!(world.get("/t/acme/orders", &good).status, 200, "{what}");
        let other = world.people.member(what.split(' ').next().unwrap(), "acme", &["admin"]);
        assert_eq!(
            world.get("/t/acme/orders", &other).status,
            200,
            "also of a token not seen before: {what}"
        );
    }
    issuer.answer(Answer::json(&both));
    until("the address is well again", || world.get("/t/acme/orders", &stranger).status == 200);
    world.finish();
}

#[test]
fn of_two_keys_with_one_name_neither_counts_and_the_others_do() {
    let issuer = Issuer::start(Answer::Silence);
    let world = started(&issuer, ", refetch: 1s");
    let (twin, other) = (new_key(), new_key());
    let good = world.people.member("mia", "acme", &["admin"]);
    assert_eq!(world.get("/t/acme/orders", &good).status, 200);
    let mut set = keys_of(&[&world.people.keys.app, &twin, &other]);
    set["keys"][1]["kid"] = set["keys"][0]["kid"].clone();
    issuer.answer(Answer::json(&set.to_string()));
    let third = by(&other, &world);
    until("the third key is fetched", || world.get("/t/acme/orders", &third).status == 200);
    let refused = world.get("/t/acme/orders", &good);
    assert!(refused.text().contains("token_key_ambiguous"), "{}", refused.text());
    // The same key twice is one key.
    let set = keys_of(&[&world.people.keys.app, &world.people.keys.app]);
    issuer.answer(Answer::json(&set.to_string()));
    until("the name means one key again", || world.get("/t/acme/orders", &good).status == 200);
    world.finish();
}

#[test]
fn a_server_that_nobody_vouches_for_gives_no_keys() {
    let other = Issuer::start(Answer::Silence);
    for (names, host, strange) in
        [(&["id.example"][..], "127.0.0.1", false), (&["127.0.0.1"][..], "127.0.0.1", true)]
    {
        let issuer = Issuer::named(names, Answer::Silence);
        let mut world = prepared(&issuer, Plan::default(), host, ", timeout: 1s");
        if strange {
            std::fs::write(world.keys_dir.path().join("ca.pem"), &other.authority).unwrap();
        }
        issuer.answer(set_of(&[&world.people.keys.app]));
        world.up();
        let member = world.people.member("mia", "acme", &["admin"]);
        assert_eq!(world.get("/t/acme/orders", &member).code(), "keys_unavailable");
        assert_eq!(issuer.asked(), 0, "nothing is asked of whoever is not vouched for");
        assert!(metric(&world, "postern_keys_failed_total") > 0);
        world.finish();
    }
}

/// A flood of tokens that name keys nobody has, from many connections at once: the issuer hears little of it.
#[test]
fn a_hundred_thousand_wrong_tokens_cause_a_handful_of_fetches() {
    const CLIENTS: usize = 8;
    const EACH: usize = 12_500;
    let issuer = Issuer::start(Answer::Silence);
    let world = started(&issuer, ", refetch: 5s");
    let good = world.people.member("mia", "acme", &["admin"]);
    let began = std::time::Instant::now();
    // Signed well, by keys that the issuer does not publish.
    let tokens: Vec<String> = (0..64).map(|_| by(&new_key(), &world)).collect();
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (world, tokens) = (&world, &tokens);
            scope.spawn(move || {
                let mut client = world.client();
                for round in 0..EACH / 25 {
                    let batch: String = (0..25)
                        .map(|at| request("GET", "/t/acme/orders", &tokens[(number + round + at) % 64], ""))
                        .collect();
                    client.send(batch);
                    for _ in 0..25 {
                        assert_eq!(client.reply().status, 401);
                    }
                }
            });
        }
        for _ in 0..20 {
            assert_eq!(world.get("/t/acme/orders", &good).status, 200, "a good token is served all along");
        }
    });
    let took = began.elapsed();
    let most = 2 + took.as_secs() / 5;
    println!("{} wrong tokens in {took:?}: {} fetches", CLIENTS * EACH, issuer.asked());
    assert!(issuer.asked() as u64 <= most, "{} fetches in {took:?}", issuer.asked());
    world.finish();
}
