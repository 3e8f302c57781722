//! Where state is kept: what it means, and what is wrong with it, where.

use std::{collections::BTreeMap, path::Path, sync::LazyLock};

use postern::config::{
    self, ConfigFaults, Settings, Severity,
    resolve::{RedisFound, RedisSettings, StateSettings},
};

use super::{BASE, files, marked, with};

const GOOD: &str = "state: { redis: { url: \"rediss://postern@redis-0:7000/3\", password: { env: REDIS_PASSWORD }, ca: { file: redis-ca.pem }, copies: 3 }, shadow: shadow.redb }";

/// The files, with an authority that is one, and a pair.
static FILES: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["redis-0".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["redis-1".to_owned()]).unwrap();
    let mut files = files();
    files.extend([
        ("/etc/postern/redis-ca.pem".to_owned(), made.cert.pem().into_bytes()),
        ("/etc/postern/redis.key".to_owned(), made.signing_key.serialize_pem().into_bytes()),
        ("/etc/postern/other.key".to_owned(), other.signing_key.serialize_pem().into_bytes()),
        ("$REDIS_PASSWORD".to_owned(), b"geheim-7".to_vec()),
    ]);
    files
});

fn load(text: &str) -> Result<Settings, ConfigFaults> {
    config::load_bytes(Path::new("/etc/postern/postern.yaml"), text.as_bytes(), &*FILES)
        .map(|(settings, _)| settings)
}

fn state(text: &str) -> String {
    with("state: { path: state.redb }", text)
}

fn redis(settings: &Settings) -> &RedisSettings {
    match &settings.state {
        StateSettings::Redis(redis) => redis,
        StateSettings::File(path) => panic!("{}", path.display()),
    }
}

#[test]
fn a_store_in_redis_means_what_it_says() {
    let settings = load(&state(GOOD)).unwrap();
    let told = redis(&settings);
    assert_eq!(told.servers, [("redis-0".to_owned(), 7000)]);
    assert_eq!((told.found.clone(), told.copies, told.database), (RedisFound::One, 3, 3));
    assert_eq!(told.user.as_deref(), Some("postern"));
    assert_eq!(told.password.as_ref().unwrap().expose(), b"geheim-7");
    assert!(told.tls.as_ref().unwrap().authorities.is_some() && told.tls.as_ref().unwrap().pair.is_none());
    assert_eq!(
        (told.prefix.as_str(), told.timeout_ms, told.beat_ms, told.heal_grace_ms),
        ("postern", 500, 200, 30_000)
    );
    assert_eq!(settings.state.file(), Path::new("/etc/postern/shadow.redb"));
    assert!(!format!("{settings:?}").contains("geheim"));
    // Where state is kept is no rule: the policy is the same.
    assert_eq!(load(BASE).unwrap().policy.fingerprint, settings.policy.fingerprint);
    assert!(settings.state.is_as(&load(&state(GOOD)).unwrap().state));
    assert!(!settings.state.is_as(&load(BASE).unwrap().state));
    let slow = GOOD.replace("copies: 3 }", "beat: 2s }, max_staleness: { writes: 0s, reads: 4s }");
    assert_eq!(redis(&load(&state(&slow)).unwrap()).beat_ms, 2_000);
    for (from, to) in
        [("geheim", ""), ("copies: 3", "copies: 5"), ("/3", "/4"), ("shadow.redb", "other.redb")]
    {
        let other = GOOD.replace(from, to);
        if other != GOOD {
            assert!(!settings.state.is_as(&load(&state(&other)).unwrap().state), "{to}");
        }
    }
}

#[test]
fn sentinels_and_clusters_mean_what_they_say() {
    let text = "state: { redis: { url: [\"redis://a\", \"redis://[::1]:26380\"], sentinel: mymaster, copies: 3, prefix: \"eu:postern\", timeout: 2s, beat: 50ms }, shadow: s/shadow.redb, heal_grace: 2m }";
    let settings = load(&state(text)).unwrap();
    let told = redis(&settings);
    assert_eq!(told.servers, [("a".to_owned(), 6379), ("::1".to_owned(), 26380)]);
    assert_eq!(told.found, RedisFound::Sentinel("mymaster".to_owned()));
    assert!(told.tls.is_none() && told.user.is_none());
    assert_eq!(
        (told.prefix.as_str(), told.timeout_ms, told.beat_ms, told.heal_grace_ms),
        ("eu:postern", 2_000, 50, 120_000)
    );
    let text = "state: { redis: { url: [\"rediss://a\", \"rediss://b\"], cluster: true, copies: 2, ca: { file: redis-ca.pem }, certificate: redis-ca.pem, key: { file: redis.key } }, shadow: shadow.redb }";
    let settings = load(&state(text)).unwrap();
    let told = redis(&settings);
    assert_eq!((told.found.clone(), told.copies), (RedisFound::Cluster, 2));
    assert!(told.tls.as_ref().unwrap().pair.is_some());
}

#[test]
fn sentinels_may_have_users_and_passwords_of_their_own_and_servers_behind_them_databases() {
    let of = |more: &str| {
        load(&state(&GOOD.replace("copies: 3", &format!("copies: 3, sentinel: mymaster{more}"))))
    };
    let plain = of("").unwrap();
    assert_eq!((redis(&plain).database, redis(&plain).guide.is_none()), (3, true));
    let own = of(", sentinel_user: guide, sentinel_password: { file: words.txt }").unwrap();
    let guide = redis(&own).guide.clone().unwrap();
    assert_eq!(guide.user.as_deref(), Some("guide"));
    assert_ne!(guide.password.expose(), redis(&own).password.as_ref().unwrap().expose());
    assert_eq!(redis(&own).user.as_deref(), Some("postern"));
    let nameless = of(", sentinel_password: { file: words.txt }").unwrap();
    assert_eq!(redis(&nameless).guide.as_ref().unwrap().user, None);
    for other in [&plain, &nameless] {
        assert!(!own.state.is_as(&other.state));
    }
    assert!(
        own.state.is_as(&of(", sentinel_user: guide, sentinel_password: { file: words.txt }").unwrap().state)
    );
}

/// A replacement in a good one, the first character that is to blame marked, and the code.
const CASES: &[(&str, &str, &str)] = &[
    (GOOD, "state: ⟦{}", "missing_key"),
    (GOOD, "state: ⟦{ shadow: shadow.redb }", "missing_key"),
    (GOOD, "state: ⟦{ path: state.redb, redis: { url: \"redis://a\" } }", "one_of"),
    (GOOD, "state: { path: state.redb, shadow: ⟦shadow.redb }", "bad_value"),
    (GOOD, "state: { path: state.redb, heal_grace: ⟦3s }", "bad_value"),
    (", shadow: shadow.redb", "", "missing_key"),
    ("url: \"rediss://postern@redis-0:7000/3\", ", "", "missing_key"),
    ("\"rediss://postern@redis-0:7000/3\"", "⟦[]", "missing_key"),
    ("rediss://postern@redis-0:7000/3", "⟦redis-0:7000", "bad_url"),
    ("\"rediss://postern@redis-0:7000/3\"", "⟦\"rediss://postern:word@redis-0\"", "bad_url"),
    ("\"rediss://postern@redis-0:7000/3\"", "⟦\"rediss://:word@redis-0\"", "bad_url"),
    ("\"rediss://postern@redis-0:7000/3\"", "⟦\"rediss://@redis-0\"", "bad_url"),
    ("redis-0:7000/3", "⟦redis-0:70000/3", "bad_url"),
    ("redis-0:7000/3", "⟦redis-0:0/3", "bad_url"),
    ("redis-0:7000/3", "redis-0:7000/⟦300", "bad_url"),
    ("redis-0:7000/3", "redis-0:7000/⟦x", "bad_url"),
    ("\"rediss://postern@redis-0:7000/3\"", "[\"rediss://a\", ⟦\"rediss://a\"]", "duplicate_name"),
    ("\"rediss://postern@redis-0:7000/3\"", "[\"rediss://a\", ⟦\"redis://b\"]", "bad_url"),
    (
        "redis: { url: \"rediss://postern@redis-0:7000/3\"",
        "redis: ⟦{ url: [\"rediss://a\", \"rediss://b\"]",
        "one_of",
    ),
    ("copies: 3", "copies: ⟦0", "out_of_range"),
    ("copies: 3", "copies: ⟦10", "out_of_range"),
    (
        "redis: { url: \"rediss://postern@redis-0:7000/3\"",
        "redis: ⟦{ cluster: true, url: \"rediss://a/3\"",
        "bad_url",
    ),
    ("copies: 3", "copies: 3, sentinel_user: ⟦guide", "bad_value"),
    ("copies: 3", "copies: 3, sentinel_password: ⟦{ env: REDIS_PASSWORD }", "bad_value"),
    ("copies: 3", "copies: 3, sentinel: mymaster, sentinel_user: ⟦guide", "missing_key"),
    (
        "copies: 3",
        "copies: 3, sentinel: mymaster, sentinel_password: { env: REDIS_PASSWORD }, sentinel_user: ⟦\"\"",
        "bad_value",
    ),
    (
        "copies: 3",
        "copies: 3, sentinel: mymaster, sentinel_password: { env: ⟦NO_SUCH_PASSWORD }",
        "secret_unreadable",
    ),
    ("copies: 3", "sentinel: mymaster, cluster: ⟦true, copies: 3", "one_of"),
    ("env: REDIS_PASSWORD", "env: ⟦NO_SUCH_PASSWORD", "secret_unreadable"),
    ("copies: 3", "prefix: ⟦\"a{b}\"", "bad_value"),
    ("copies: 3", "prefix: ⟦\"\"", "bad_value"),
    ("copies: 3", "timeout: ⟦1ms", "out_of_range"),
    ("copies: 3", "beat: ⟦5s", "out_of_range"),
    // Two of them fit into the strictest bound of staff, which is that of writes where nothing else is said.
    ("copies: 3", "beat: ⟦600ms", "out_of_range"),
    (
        "copies: 3 }, shadow",
        "beat: ⟦300ms }, max_staleness: { writes: 2s, reads: 500ms }, shadow",
        "out_of_range",
    ),
    ("ca: { file: redis-ca.pem }", "ca: { file: ⟦words.txt }", "bad_keys"),
    ("copies: 3", "certificate: ⟦redis-ca.pem", "missing_key"),
    ("copies: 3", "key: ⟦{ file: redis.key }", "missing_key"),
    ("copies: 3", "certificate: ⟦redis-ca.pem, key: { file: other.key }", "bad_certificate"),
    (
        "rediss://postern@redis-0:7000/3\", password: { env: REDIS_PASSWORD }, ca: {",
        "redis://a\", ca: ⟦{",
        "bad_value",
    ),
];

#[test]
fn each_slip_is_told_where_it_is() {
    let mut wrong = Vec::new();
    for (from, to, code) in CASES {
        assert_eq!(GOOD.matches(from).count(), 1, "`{from}`");
        let text = state(&GOOD.replace(from, to));
        // What is missing stands where its mapping begins.
        let text = if to.contains('⟦') { text } else { text.replace("state: {", "state: ⟦{") };
        let text = if to.is_empty() && from.contains("url") {
            text.replace("⟦{ redis: {", "{ redis: ⟦{")
        } else {
            text
        };
        let (text, line, column) = marked(&text);
        let Err(faults) = load(&text) else {
            wrong.push(format!("{to:?} passes, {code} is wanted"));
            continue;
        };
        let errors = faults.faults().iter().filter(|f| f.severity == Severity::Error);
        let found: Vec<_> = errors.map(|f| (f.code.as_str(), f.line, f.column)).collect();
        if found != [(*code, line, column)] || faults.to_string().contains("word@") {
            wrong.push(format!("{to:?}: wanted {code} at {line}:{column}, found {found:?}\n{faults}"));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn a_shadow_lies_apart_from_the_ledger() {
    for shadow in ["ledger", "ledger/shadow.redb"] {
        let faults = load(&state(&GOOD.replace("shadow.redb", shadow))).unwrap_err().to_string();
        assert!(faults.contains("give the ledger a directory of its own"), "{faults}");
    }
}

#[test]
fn copies_have_to_be_said_where_there_are_several_servers() {
    for found in ["sentinel: mymaster", "cluster: true"] {
        let text = format!("state: {{ redis: {{ url: \"redis://a\", {found} }}, shadow: shadow.redb }}");
        let faults = load(&state(&text)).unwrap_err().to_string();
        assert!(faults.contains("`copies` is missing") && faults.contains("majority"), "{faults}");
    }
}
