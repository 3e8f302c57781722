//! Webhooks in the configuration: what they mean, and what is wrong with them, where.

use postern::config::{self, Code, Severity};

use super::{BASE, load, marked, with};

const GOOD: &str = "{ name: ops, url: \"https://hooks.example/in?for=x\", secret: { file: a.secret } }";

fn with_hooks(hooks: &str) -> String {
    with("limits: { headers", &format!("webhooks: [{hooks}]\nlimits: {{ headers"))
}

#[test]
fn webhooks_mean_what_they_say() {
    let (settings, warnings) = load(&with_hooks(GOOD)).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let [hook] = settings.webhooks.as_slice() else { panic!("{:?}", settings.webhooks) };
    let server = &hook.server;
    assert_eq!(
        (hook.name.as_str(), server.tls, server.host.as_str(), server.port),
        ("ops", true, "hooks.example", 443)
    );
    assert_eq!((server.authority.as_str(), server.target.as_str()), ("hooks.example", "/in?for=x"));
    assert_eq!((hook.timeout_ms, hook.give_up_ms, &hook.tenants), (15_000, 3 * 86_400_000, &None));
    assert_eq!(hook.secrets[0].expose(), b"01234567890123456789012345678901");
    let expected = [
        "consent_changed",
        "consent_fell",
        "glass_broken",
        "grant_ended",
        "session_ended",
        "session_started",
        "support_stopped",
        "tenant_removed",
    ];
    assert!(hook.events.iter().copied().eq(expected), "{:?}", hook.events);

    let more = "{ name: a_b-2, url: \"http://[::1]:9000\", secret: [{ env: HOOK_SECRET }, { file: a.secret }], \
                events: request_made, tenants: [acme, later], timeout: 1s, give_up: 30d }";
    let (settings, _) = load(&with_hooks(&format!("{GOOD}, {more}"))).unwrap();
    let hook = &settings.webhooks[1];
    assert_eq!((hook.server.tls, hook.server.host.as_str(), hook.server.port), (false, "::1", 9000));
    assert_eq!(
        (hook.secrets.len(), hook.secrets[0].expose()),
        (2, b"abcdefghijklmnopqrstuvwxyz012345".as_slice())
    );
    assert!(hook.events.iter().copied().eq(["request_made"]));
    assert!(hook.tenants.as_ref().unwrap().iter().map(|id| id.as_str()).eq(["acme", "later"]));
    // Who is told is no rule: the policy is the same.
    assert_eq!(load(BASE).unwrap().0.policy.fingerprint, settings.policy.fingerprint);
    let printed = format!("{settings:?}");
    for secret in ["012345678901", "MDEyMzQ1", "/in?for=x"] {
        assert!(!printed.contains(secret), "{secret}");
    }
}

const URL: &str = "\"https://hooks.example/in?for=x\"";

/// A replacement in a good one, the first character that is to blame marked, and the code.
const CASES: &[(&str, &str, &str)] = &[
    (GOOD, "⟦{ url: \"https://a.example\", secret: { file: a.secret } }", "missing_key"),
    (GOOD, "⟦{ name: ops, secret: { file: a.secret } }", "missing_key"),
    (GOOD, "⟦{ name: ops, url: \"https://a.example\" }", "missing_key"),
    ("name: ops", "name: ⟦../ops", "bad_value"),
    ("name: ops", "name: ⟦Ops", "bad_value"),
    (URL, "⟦hooks.example/in", "bad_url"),
    (URL, "\"⟦http://hooks.example/\"", "dangerous"),
    (URL, "\"⟦http://localhost/\"", "dangerous"),
    (URL, "\"⟦http://127.0.0.1.example/\"", "dangerous"),
    (URL, "\"⟦http://10.0.0.1/\"", "dangerous"),
    (URL, "\"https://⟦me:pass@hooks.example/\"", "bad_url"),
    (URL, "\"https://⟦hooks.example:0/\"", "bad_url"),
    (URL, "⟦\"https://hooks.example/#a\"", "bad_url"),
    ("{ file: a.secret }", "{ file: ⟦missing.secret }", "secret_unreadable"),
    ("{ file: a.secret }", "{ env: ⟦NO_SUCH_SECRET }", "secret_unreadable"),
    ("{ file: a.secret }", "⟦{ file: short.secret }", "bad_keys"),
    ("{ file: a.secret }", "⟦{ file: bare.secret }", "bad_keys"),
    ("{ file: a.secret }", "⟦{ file: odd.secret }", "bad_keys"),
    ("{ file: a.secret }", "⟦{ file: a.secret, env: HOOK_SECRET }", "one_of"),
    ("{ file: a.secret }", "⟦[]", "bad_value"),
    (
        "{ file: a.secret }",
        "⟦[{ file: a.secret }, { file: a.secret }, { file: a.secret }, { file: a.secret }]",
        "out_of_range",
    ),
    ("secret: {", "events: [session_started, ⟦session_stopped], secret: {", "unknown_word"),
    ("secret: {", "events: ⟦[], secret: {", "bad_value"),
    ("secret: {", "tenants: ⟦[], secret: {", "bad_value"),
    ("secret: {", "tenants: [acme, ⟦\"a b\"], secret: {", "bad_value"),
    ("secret: {", "timeout: ⟦2m, secret: {", "out_of_range"),
    ("secret: {", "timeout: ⟦10ms, secret: {", "out_of_range"),
    ("secret: {", "give_up: ⟦1s, secret: {", "out_of_range"),
    ("secret: {", "give_up: ⟦31d, secret: {", "out_of_range"),
    ("secret: {", "ca: { file: ⟦missing.pem }, secret: {", "secret_unreadable"),
    ("secret: {", "ca: { file: ⟦public.pem }, secret: {", "bad_keys"),
];

#[test]
fn each_fault_of_a_webhook_has_its_code_its_line_and_its_column() {
    let mut wrong = Vec::new();
    for (from, to, code) in CASES {
        assert_eq!(GOOD.matches(from).count(), 1, "{from}");
        let (text, line, column) = marked(&with_hooks(&GOOD.replace(from, to)));
        let Err(faults) = load(&text) else {
            wrong.push(format!("{to:?} passes, {code} is wanted"));
            continue;
        };
        let errors = faults.faults().iter().filter(|f| f.severity == Severity::Error);
        let found: Vec<_> = errors.map(|f| (f.code.as_str(), f.line, f.column)).collect();
        if found != [(*code, line, column)] {
            wrong.push(format!("{to:?}: wanted {code} at {line}:{column}, found {found:?}\n{faults}"));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn a_slip_in_an_events_name_is_answered_with_the_name() {
    let faults = load(&with_hooks(&GOOD.replace("secret: {", "events: sesion_ended, secret: {")))
        .map(drop)
        .unwrap_err();
    assert!(faults.to_string().contains("did you mean `session_ended`?"), "{faults}");
}

#[test]
fn names_stand_once_and_a_ca_needs_tls() {
    let (text, line, column) = marked(&with_hooks(&format!("{GOOD}, {}", GOOD.replace("ops", "⟦ops"))));
    let faults = load(&text).map(drop).unwrap_err();
    let found: Vec<_> = faults.faults().iter().map(|f| (f.code, f.line, f.column)).collect();
    assert_eq!(found, [(Code::DuplicateName, line, column)]);
    let clear =
        "{ name: ops, url: \"http://127.0.0.1/\", ca: { file: public.pem }, secret: { file: a.secret } }";
    assert!(load(&with_hooks(clear)).is_err());
}

#[test]
fn a_secret_in_the_wrong_place_is_never_shown() {
    for secret in [
        "secret: whsec_TOPSECRETx0",
        "secret: [whsec_TOPSECRETx0]",
        "secret: { file: whsec_TOPSECRETx0 }",
        "secret: { env: TOPSECRETx0 }",
        "secret: { whsec_TOPSECRETx0: 1 }",
        "sceret: whsec_TOPSECRETx0",
        "secret: { file: a.secret }, events: whsec_TOPSECRETx0",
        "secret: { file: a.secret }, tenants: [\"whsec_TOPSECRETx0 x\"], timeout: whsec_TOPSECRETx0",
    ] {
        let faults =
            load(&with_hooks(&GOOD.replace("secret: { file: a.secret }", secret))).map(drop).unwrap_err();
        let drawn = config::render(&faults, config::Look { fancy: false, width: 200 });
        for told in [faults.to_string(), drawn] {
            assert!(!told.contains("TOPSECRET"), "{secret}: {told}");
        }
    }
}

/// What the page shows is a configuration, once its files are there.
#[test]
fn the_example_of_the_page_is_a_configuration() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/webhooks.md")).unwrap();
    let example = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let mut files = super::files();
    let secret = files["/etc/postern/a.secret"].clone();
    for name in ["$POSTERN_WEBHOOK_SECRET", "/etc/postern/acme-new.secret", "/etc/postern/acme-old.secret"] {
        files.insert(name.to_owned(), secret.clone());
    }
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    files.insert("/etc/postern/acme-ca.pem".to_owned(), certificate.into());
    let text = format!("{BASE}{example}");
    let loaded =
        config::load_bytes(std::path::Path::new("/etc/postern/postern.yaml"), text.as_bytes(), &files);
    let (settings, warnings) = loaded.unwrap_or_else(|faults| panic!("{faults}"));
    assert!(warnings.is_empty() && settings.webhooks.len() == 2, "{warnings:?}");
    // And every event that there is stands on the page.
    for name in postern::lifecycle::Event::NAMES {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
    let bold = settings.webhooks[0].events.iter().all(|name| page.contains(&format!("**`{name}`**")));
    assert!(bold, "those that are told by default are marked");
}
