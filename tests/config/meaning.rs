//! What a good configuration comes to, how faults look, and what is published.

use std::{collections::BTreeMap, path::Path};

use super::{BASE, PEM, files, load, with};
use postern::{
    config::{
        self, Code, Look, Warning,
        resolve::{
            EnvironmentSource, HostHeader, HostLabel, KeyText, Piece, Slot, SupportSettings, TenantSource,
        },
    },
    model::{LevelName, Span, SubjectKind},
    net::servers::Protocol,
    policy::{OnLower, OnRemove, SessionRules, Staleness, Whose},
};

fn good(text: &str) -> (config::Settings, Vec<Warning>) {
    load(text).unwrap_or_else(|faults| panic!("{faults}"))
}

fn warned(text: &str) -> Vec<(&'static str, usize, usize)> {
    good(text).1.iter().map(|w| (w.code.as_str(), w.line, w.column)).collect()
}

#[test]
fn the_base_means_what_it_says() {
    let (settings, warnings) = good(BASE);
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(settings.prefix, "/_postern/");
    assert_eq!(settings.ledger.path, Path::new("/etc/postern/ledger"));
    assert_eq!(settings.state.path, Path::new("/etc/postern/state.redb"));
    assert_eq!(settings.ledger.segment, 64 << 20);
    assert_eq!(settings.assertion.issuer, "main");
    assert_eq!(settings.limits.request_head, 32 << 10);
    let removed: Vec<&str> = settings.identity_headers.iter().map(|h| h.as_str()).collect();
    assert_eq!(removed, ["x-user", "x-remote-user", "postern-assertion"]);
    let app = &settings.upstreams[0];
    assert_eq!((app.servers[0].place.to_string().as_str(), app.audience.as_str()), ("127.0.0.1:8000", "app"));
    assert_eq!(app.host_header, HostHeader::Upstream);
    assert_eq!(app.headers[0].1, [Piece::Slot(Slot::Subject)]);
    assert_eq!(settings.issuers[0].kind, SubjectKind::Staff);
    assert_eq!(settings.tenants.from, [TenantSource::Path("tenant".into())]);
    assert!(matches!(settings.tenants.environment_from[..], [EnvironmentSource::Header(_)]));
    assert_eq!(settings.tenants.known[0].environments.len(), 2);
    assert_eq!(settings.tenants.known[1].parent.as_ref().unwrap().as_str(), "acme");
    let policy = &settings.policy;
    assert_eq!(policy.default_level.as_str(), "read_only");
    assert_eq!(policy.on_lower, OnLower::Immediate);
    assert_eq!(policy.session_lasts, Span::Millis(28_800_000));
    assert_eq!(policy.max_exchange_ms, 3_600_000);
    let read = policy.catalogue.id("orders:read").unwrap();
    let manage = policy.catalogue.id("users:manage").unwrap();
    assert!(policy.above_ceiling(manage) && !policy.above_ceiling(read));
    assert_eq!(policy.role_at(1).unwrap().permissions, policy.roles["read_only"].permissions);
    assert_eq!(policy.rules[0].name, "GET /t/{tenant}/orders");
    assert_eq!(policy.rules[0].permissions, [read]);
    assert!(policy.rules[3].public);
    assert_eq!(settings.routes[1].resource_parameter.as_deref(), Some("order"));
    let line = BASE.lines().position(|line| line.contains("PUT /t/")).unwrap() + 1;
    assert_eq!(settings.routes[1].line, line);
    assert_eq!(settings.routes[1].template.as_str(), "/t/{tenant}/orders/{order}");
}

#[test]
fn a_parameter_that_is_nearly_the_tenants_is_told() {
    let text = with("from: { path: tenant }", "from: [{ path: tenant }, { claim: true }]")
        .replace("GET /t/{tenant}/orders\"", "GET /t/{tennant}/orders\"");
    let line = text.lines().position(|line| line.contains("tennant")).unwrap() + 1;
    assert_eq!(warned(&text), [("missing_parameter", line, 23)]);
}

#[test]
fn each_dangerous_setting_in_use_is_warned_of() {
    let text = format!("{BASE}dangerous: {{ clock: true, hmac: false }}\n");
    let line = text.lines().count();
    assert_eq!(warned(&text), [("dangerous", line, 21)]);
    let text = text.replace("hmac: false", "hmac: true");
    assert_eq!(warned(&text), [("dangerous", line, 21), ("dangerous", line, 33)]);
    let text = text.replace("clock: true, hmac: true", "http_keys: true");
    assert_eq!(warned(&text), [("dangerous", line, 25)]);
    assert_eq!(good(&text).0.dangerous.in_use(), ["http_keys"]);
}

#[test]
fn members_that_pass_beside_the_map_are_warned_of_where_paths_name_tenants() {
    let allow = with("unmapped: refuse", "unmapped: allow");
    let line = allow.lines().position(|line| line.contains("unmapped")).unwrap() + 1;
    assert_eq!(warned(&allow), [("crosses_tenants", line, 22)]);
    let by_host = allow.replace("from: { path: tenant }", "from: { host: \"{tenant}.app.example\" }");
    assert_eq!(warned(&by_host), []);
}

#[test]
fn a_header_that_cannot_be_sent_for_some_callers_is_warned_of() {
    for template in
        ["{subject} {session}", "{session} {subject}", "{subject} {session}{role}", "Bearer {role}"]
    {
        let found = warned(&with("\"{subject}\"", &format!("\"{template}\"")));
        assert_eq!(found.iter().map(|w| w.0).collect::<Vec<_>>(), ["bad_value"], "{template}");
    }
    for template in ["{session}", "{subject};{session}", "{session}; {subject}{role}x", "{subject} {tenant}"]
    {
        let found = warned(&with("\"{subject}\"", &format!("\"{template}\"")));
        assert!(found.is_empty(), "{template}: {found:?}");
    }
}

#[test]
fn spellings_and_alternatives_are_read() {
    let text = with("file: assertion.pem", "env: ASSERTION_KEY");
    assert_eq!(good(&text).0.assertion.key.expose(), b"from-the-environment");
    let text = with("sessions: { last: 8h }", "sessions: { last: 5 calendar days }");
    assert_eq!(good(&text).0.policy.session_lasts, Span::CalendarDays(5));
    let text = with("grants: { longest: 180d }", "grants: { longest: none }");
    assert_eq!(good(&text).0.policy.grant_most, None);
    let rules = |text: &str| good(&with("sessions: { last: 8h }", text)).0.policy.sessions;
    assert_eq!(rules("sessions: { last: 8h }"), SessionRules::default());
    assert_eq!(rules("sessions: { on_remove: end, by_grant: last }"), SessionRules::default());
    assert_eq!(
        rules("sessions: { on_remove: bar, by_grant: grant }"),
        SessionRules { on_remove: OnRemove::Bar, as_long_as_granted: true }
    );
    let named =
        good(&with("{ level: full, role: admin }", "{ level: full, role: admin, also: [all, every] }"));
    let ladder = named.0.policy.ladder;
    let name = |name: &str| LevelName::new(name).unwrap();
    assert_eq!((ladder.named(&name("every")), ladder.rank(&name("all"))), (Some(&name("full")), 2));
    assert_eq!((ladder.named(&name("none")), ladder.knows(&name("none"))), (None, false));
    let text = with("members: { unmapped: refuse }", "members: { unmapped: allow }");
    let (settings, _) = good(&text);
    assert_eq!((settings.policy.members_unmapped, settings.unmapped_upstream), (true, Some(0)));
    let (url, plain) = ("\"http://127.0.0.1:8000\"", good(&with("listen", "listen")).0.upstreams);
    assert!(plain.iter().all(|upstream| !upstream.assert_members), "members bring their own credentials");
    let told = good(&with(url, &format!("{url}, assert: everyone"))).0.upstreams;
    assert!(told.iter().all(|upstream| upstream.assert_members));
    let text = with("from: { path: tenant }", "from: { host: \"{tenant}.{environment}.app.example\" }");
    let want = [
        HostLabel::Tenant,
        HostLabel::Environment,
        HostLabel::Literal("app".into()),
        HostLabel::Literal("example".into()),
    ];
    assert_eq!(good(&text).0.tenants.from, [TenantSource::Host(want.into())]);
    let text = with("file: vendor.jwks.json", "file: public.pem");
    assert_eq!(good(&text).0.issuers[0].keys, KeyText::Pem(PEM.into()));
    let text =
        with("{ file: vendor.jwks.json }", "{ inline: { keys: [ { kty: EC, crv: P-256, x: a, y: b } ] } }");
    assert!(matches!(&good(&text).0.issuers[0].keys, KeyText::Jwks(text) if text.contains("P-256")));
    let url = "https://id.example:8443/.well-known/jwks.json?v=1";
    let text = with("{ file: vendor.jwks.json }", &format!("{{ url: \"{url}\", refresh: 5m }}"));
    let KeyText::Fetched(address) = good(&text).0.issuers.remove(0).keys else { panic!("not fetched") };
    assert_eq!(
        (address.server.tls, address.server.host.as_str(), address.server.port),
        (true, "id.example", 8443)
    );
    assert_eq!(
        (address.server.authority.as_str(), address.server.target.as_str()),
        ("id.example:8443", "/.well-known/jwks.json?v=1")
    );
    assert_eq!((address.refresh_ms, address.keep_ms, address.refetch_ms), (300_000, 86_400_000, 10_000));
    let text =
        with("{ file: vendor.jwks.json }", "{ url: \"http://[::1]\" }") + "dangerous: { http_keys: true }\n";
    let KeyText::Fetched(address) = good(&text).0.issuers.remove(0).keys else { panic!("not fetched") };
    assert_eq!(
        (
            address.server.tls,
            address.server.host.as_str(),
            address.server.port,
            address.server.target.as_str()
        ),
        (false, "::1", 80, "/")
    );
    let text = with("\"http://127.0.0.1:8000\"", "\"http://[::1]:8000/\"");
    let (settings, _) = good(&text);
    assert_eq!(
        (
            settings.upstreams[0].servers[0].place.to_string().as_str(),
            settings.upstreams[0].authority.as_str()
        ),
        ("[::1]:8000", "[::1]:8000")
    );
}

// GW-02
#[test]
fn servers_of_an_application_are_read_with_what_is_said_of_them() {
    let text = with(
        "url: \"http://127.0.0.1:8000\"",
        "servers: [\"https://b.example\", \"unix:/run/a.sock\", \"https://c.example:8443\"], protocol: http2, trailers: pass, \
         health: { path: \"/up?deep\", timeout: 1s, status: 204 }, eject: { after: 0, first: 2m }",
    );
    let app = good(&text).0.upstreams.remove(0);
    let places: Vec<_> = app.servers.iter().map(|server| server.place.to_string()).collect();
    assert_eq!(places, ["b.example:443", "unix:/run/a.sock", "c.example:8443"]);
    let secure: Vec<_> = app.servers.iter().map(|server| server.tls.is_some()).collect();
    assert_eq!(secure, [true, false, true]);
    assert_eq!((app.authority.as_str(), app.trailers, app.idle_timeout_ms), ("b.example", true, 60_000));
    assert_eq!(app.protocol, Protocol::Http2);
    let check = app.check.unwrap();
    assert_eq!((check.path.as_str(), check.status, check.unhealthy_after), ("/up?deep", Some(204), 3));
    let seconds = |span: std::time::Duration| span.as_secs();
    assert_eq!((seconds(check.every), seconds(check.timeout)), (5, 1));
    assert_eq!((app.eject.after, seconds(app.eject.first), seconds(app.eject.most)), (0, 120, 120));
    let plain = good(BASE).0.upstreams.remove(0);
    assert_eq!((plain.protocol, plain.trailers, plain.check.is_none()), (Protocol::Http1, false, true));
    assert_eq!((plain.eject.after, seconds(plain.eject.first), seconds(plain.eject.most)), (3, 1, 60));
}

#[test]
fn a_connection_of_http2_becomes_no_websocket() {
    let text = with("\"http://127.0.0.1:8000\"", "\"http://127.0.0.1:8000\", protocol: http2").replace(
        "orders\", permission: orders:read }",
        "orders\", permission: orders:write, upgrade: websocket }",
    );
    let told = load(&text).unwrap_err().to_string();
    assert!(told.contains("become no WebSockets"), "{told}");
}

#[test]
fn hmac_is_for_loopback_and_for_those_who_say_so() {
    let text = with("algorithms: [ES256]", "algorithms: [HS256]")
        .replace("file: vendor.jwks.json", "file: secret.jwks.json")
        .replace("limits:", "dangerous: { hmac: true }\nlimits:");
    let (settings, warnings) = good(&text);
    assert!(settings.dangerous.hmac && !settings.dangerous.clock);
    assert_eq!(warnings.iter().map(|w| w.code).collect::<Vec<_>>(), [Code::Dangerous]);
    let faults = load(&text.replace("listen: 127.0.0.1:8080", "listen: 10.0.0.1:8080")).unwrap_err();
    assert_eq!(faults.faults().iter().map(|f| f.code).collect::<Vec<_>>(), [Code::Dangerous]);
}

#[test]
fn what_is_odd_but_usable_is_a_warning() {
    let (line, column) = (2, 9);
    assert_eq!(
        warned(&with("listen: 127.0.0.1:8080", "listen: 0.0.0.0:8080")),
        [("not_loopback", line, column)]
    );
    // Of a listener that speaks TLS nobody is told that it does not.
    let made = rcgen::generate_simple_self_signed(["gateway.example".to_owned()]).unwrap();
    let mut files = super::files();
    files.insert("/etc/postern/gateway.pem".to_owned(), made.cert.pem().into_bytes());
    files.insert("/etc/postern/gateway.key".to_owned(), made.signing_key.serialize_pem().into_bytes());
    let warned_beside = |text: &str| {
        let path = Path::new("/etc/postern/postern.yaml");
        let (_, warnings) = postern::config::load_bytes(path, text.as_bytes(), &files).unwrap();
        warnings.iter().map(|w| (w.code.as_str(), w.line)).collect::<Vec<_>>()
    };
    let tls =
        "tls: { certificates: [{ chain: gateway.pem, key: { file: gateway.key } }] }\nlisten: 0.0.0.0:8443";
    assert_eq!(warned_beside(&with("listen: 127.0.0.1:8080", tls)), []);
    let both = tls.replace("listen: 0.0.0.0:8443", "listen: 0.0.0.0:8443\noperations: 0.0.0.0:9090");
    let found =
        warned_beside(&with("listen: 127.0.0.1:8080", &both).replace("operations: 127.0.0.1:9090\n", ""));
    assert_eq!(found, [("not_loopback", 4)], "operations are never spoken over TLS");
    for (from, to, code) in [
        (
            "gateway: main",
            "gateway: main\ncors: { origins: [\"https://app.example\"], max_age: 500ms }",
            "unused",
        ),
        ("gateway: main", "gateway: main\nstaff: { require: { networks: [0.0.0.0/0] } }", "unused"),
        (
            "gateway: main",
            "gateway: main\ntrusted_hops: { from: [0.0.0.0/1, 128.0.0.0/1], header: forwarded }",
            "bad_value",
        ),
        (
            "gateway: main",
            "gateway: main\ntrusted_hops: { from: [\"::/1\", \"8000::/1\"], header: forwarded }",
            "bad_value",
        ),
        (
            "GET /t/{tenant}/orders\", permission: orders:read }",
            "GET /t/{tenant}/orders\", permission: orders:read, limits: { tunnel_idle: 1m } }",
            "unused",
        ),
    ] {
        let found = warned(&with(from, to));
        assert_eq!(found.iter().map(|w| w.0).collect::<Vec<_>>(), [code], "{to}: {found:?}");
    }
    for (from, to) in [
        ("gateway: main", "gateway: main\ncors: { origins: [\"https://app.example\"], max_age: 0s }"),
        (
            "gateway: main",
            "gateway: main\ntrusted_hops: { from: [0.0.0.0/1, 128.0.0.0/2], header: forwarded }",
        ),
        ("gateway: main", "gateway: main\nstaff: { require: { networks: [10.0.0.0/8, 11.0.0.0/8] } }"),
    ] {
        assert_eq!(warned(&with(from, to)), [], "{to}");
    }
    let glass = "ceiling: [\"*:read\", \"users:manage\"]\nbreak_glass: { operators: [{ issuer: vendor, sub: olga }], role: read_only }";
    let found = warned(&with("ceiling: [\"users:manage\"]", glass));
    assert_eq!(
        found.iter().map(|w| w.0).collect::<Vec<_>>(),
        ["level_emptied", "level_emptied"],
        "{found:?}"
    );
    let text = with("ceiling: [\"users:manage\"]", "ceiling: [\"users:manage\", \"*:read\"]");
    let found = warned(&text);
    assert_eq!(found.iter().map(|w| w.0).collect::<Vec<_>>(), ["level_emptied"]);
    let text = with("[orders:read, orders:write,", "[orders:read, orders:write, cards:read,");
    assert_eq!(warned(&text).iter().map(|w| w.0).collect::<Vec<_>>(), ["unused"]);
    let text = with("from: { path: tenant }", "from: { claim: true }");
    assert_eq!(warned(&text).iter().map(|w| w.0).collect::<Vec<_>>(), ["no_way_in"]);
    let text = with("  app: {", "  other: { url: \"http://127.0.0.1:1\" }\n  app: {");
    let faults = load(&text).unwrap_err();
    assert_eq!(faults.faults().iter().filter(|f| f.code == Code::MissingKey).count(), 4, "{faults}");
    let text = text
        .replace("permission:", "upstream: app, permission:")
        .replace("public:", "upstream: app, public:");
    assert_eq!(warned(&text), [("unused", 9, 3)]);
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_text() {
    let text = with("gateway: main", "gatewy: main")
        .replace("zone: Europe/Berlin", "zone: Europe/Berln")
        .replace("allow: \"*:read\"", "allow: \"orders:reed\"")
        .replace("sessions: { last: 8h }", "sessions: { last: 8 }")
        .replace("permission: orders:write", "permission: orders:wrte")
        .replace("\"http://127.0.0.1:8000\"", "\"htps://127.0.0.1:8000\"")
        .replace("headers: 100", "headers: [1], hedders: 1");
    let faults = load(&text).unwrap_err();
    let codes: Vec<&str> = faults.faults().iter().map(|f| f.code.as_str()).collect();
    let wanted = [
        "unknown_key",
        "bad_url",
        "unknown_zone",
        "unknown_permission",
        "bad_value",
        "unknown_permission",
        "wrong_type",
        "unknown_key",
    ];
    assert_eq!(codes, wanted, "{faults}");
}

#[test]
fn what_is_broken_is_not_told_again_where_it_is_used() {
    // One role, one upstream and one permission are broken; nothing that names them is blamed.
    let text = with("read_only: { allow: \"*:read\" }", "read_only: 5")
        .replace("app: { url:", "app: { ulr:")
        .replace("[orders:read, orders:write, users:manage]", "[orders:read, Orders:write, users:manage]");
    let faults = load(&text).unwrap_err();
    let codes: Vec<&str> = faults.faults().iter().map(|f| f.code.as_str()).collect();
    assert_eq!(codes, ["unknown_key", "bad_value", "wrong_type"], "{faults}");
}

#[test]
fn how_old_what_is_known_may_be_is_said_for_each_class() {
    let of = |more: &str| good(&with("path: state.redb }", more)).0.policy.staleness;
    let all = |of: Staleness| [of.writes_ms, of.reads_ms, of.break_glass_ms, of.members_ms];
    assert_eq!(all(of("path: state.redb }")), [1_000, 5_000, 0, 86_400_000]);
    let some =
        "path: state.redb, max_staleness: { reads: 0s, break_glass: 500ms }, members_max_staleness: 2h }";
    assert_eq!(all(of(some)), [1_000, 0, 500, 7_200_000]);
}

#[test]
fn the_fingerprint_follows_the_meaning_and_not_the_text() {
    let print = |text: &str| good(text).0.policy.fingerprint;
    let base = print(BASE);
    assert_eq!(base.len(), 64);
    assert_eq!(print(&format!("# a comment\n{BASE}")), base);
    assert_eq!(print(&with("last: 8h", "last: 480m")), base);
    assert_eq!(
        print(&with(
            "[orders:read, orders:write, users:manage]",
            "[users:manage, orders:write, orders:read]"
        )),
        base
    );
    assert_eq!(print(&with("file: assertion.pem", "env: ASSERTION_KEY")), base);
    let inline = "{ inline: { keys: [ { y: b, crv: P-256, x: a, kty: EC } ] } }";
    assert_eq!(print(&with("{ file: vendor.jwks.json }", inline)), base);
    let mut seen = std::collections::BTreeSet::from([base]);
    for (from, to) in [
        ("last: 8h", "last: 9h"),
        ("longest: 180d", "longest: none"),
        ("path: state.redb }", "path: state.redb, max_staleness: { writes: 2s } }"),
        ("permission: orders:read }", "permission: orders:write }"),
        ("public/{*rest}\", public: true", "public/{tenant}/{*rest}\", permission: orders:read"),
        ("GET /public/{*rest}", "GET,POST /public/{*rest}"),
        ("GET /t/{tenant}/orders\"", "GET /t/{tenant}/order\""),
        ("ceiling: [\"users:manage\"]", "ceiling: [\"orders:write\"]"),
        (
            "ceiling: [\"users:manage\"]",
            "ceiling: { open: [{ permission: users:manage, because: \"they run it for them\" }] }",
        ),
        ("allow: \"*:*\"", "allow: \"*:*\", except: \"orders:write\""),
        ("default: read_only\n", "default: block\n"),
        ("default: read_only\n", "default: read_only\n  on_lower: future\n"),
        ("unmapped: refuse", "unmapped: allow"),
        ("from: { path: tenant }", "from: [{ path: tenant }, { claim: true }]"),
        ("kind: staff", "kind: member"),
        ("audience: postern", "audience: other"),
        ("file: vendor.jwks.json", "file: app.jwks.json"),
        ("file: vendor.jwks.json", "file: public.pem"),
        ("\"{subject}\"", "\"{session}\""),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8001"),
        ("url: \"http://127.0.0.1:8000\"", "servers: [\"http://127.0.0.1:8000\", \"http://127.0.0.1:8001\"]"),
        ("\"http://127.0.0.1:8000\"", "\"http://127.0.0.1:8000\", protocol: http2"),
        ("\"http://127.0.0.1:8000\"", "\"http://127.0.0.1:8000\", trailers: pass"),
        ("identity_headers: [X-User]", "identity_headers: [X-Usr]"),
        (
            "gateway: main",
            "gateway: main\nbreak_glass: { operators: [{ issuer: vendor, sub: olga }], role: admin }",
        ),
        (
            "gateway: main",
            "gateway: main\nbreak_glass: { operators: [{ issuer: vendor, sub: olga }], role: admin, tenant_ends: false }",
        ),
        ("sessions: { last: 8h }", "sessions: { last: 8h, on_remove: bar }"),
        ("sessions: { last: 8h }", "sessions: { last: 8h, by_grant: grant }"),
        ("{ level: full, role: admin }", "{ level: full, role: admin, also: all }"),
        ("gateway: main", "gateway: main\nstops: { operators: [{ issuer: vendor, sub: olga }] }"),
        ("gateway: main", "gateway: main\nprefix: /support/"),
        ("gateway: main", "gateway: main\npaths: { case: distinct }"),
        (
            "gateway: main",
            "gateway: main\nstaff: { require: { ticket: { claim: ticket, pattern: \"[A-Z]{2,5}-[0-9]{1,8}\" } } }",
        ),
        (
            "gateway: main",
            "gateway: main\nstaff: { require: { ticket: { claim: case, pattern: \"[A-Z]{2,5}-[0-9]{1,8}\" } } }",
        ),
        ("gateway: main", "gateway: main\ncors: { origins: [\"https://app.example\"] }"),
        ("gateway: main", "gateway: main\ncors: { origins: [\"https://www.example\"] }"),
        ("zone: Europe/Berlin", "zone: Europe/Paris"),
        ("gateway: main", "gateway: main\npaths: { semicolons: allow }"),
    ] {
        if let Ok((settings, _)) = load(&with(from, to)) {
            assert!(seen.insert(settings.policy.fingerprint), "{to} must change the fingerprint");
        } else {
            panic!("{to}: {}", load(&with(from, to)).unwrap_err());
        }
    }
}

#[test]
fn login_access_means_what_it_says_and_each_part_of_it_is_another_policy() {
    let with = |act_as: &str| good(&format!("{BASE}act_as: {act_as}\n")).0;
    assert!(!good(BASE).0.policy.login_access.is_open());
    let whole = with(
        "{ durations: [1d, 7 calendar days, 1 calendar month], suggested: 7 calendar days, organisations: \
         { desk: { issuer: vendor, claim: groups, any: [desk, leads] }, partner: { claim: firm, any: p } } }",
    );
    let access = &whole.policy.login_access;
    assert_eq!(access.durations, [Span::Millis(86_400_000), Span::CalendarDays(7), Span::CalendarMonths(1)]);
    assert_eq!(access.suggested, Some(Span::CalendarDays(7)));
    let of = |name: &str| whole.issuers.iter().find(|issuer| issuer.name.as_str() == name).unwrap();
    let counted: Vec<_> =
        of("vendor").claims.organisations.iter().map(|(name, rule)| (name.as_str(), rule.clone())).collect();
    let claim = |path: &str, values: &[&str]| SupportSettings::Claim {
        path: path.into(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    assert_eq!(counted, [("desk", claim("groups", &["desk", "leads"])), ("partner", claim("firm", &["p"]))]);
    assert!(of("app").claims.organisations.is_empty(), "no member belongs to support");
    let mut seen = std::collections::BTreeSet::from([good(BASE).0.policy.fingerprint]);
    for act_as in [
        "{ durations: [1d], organisations: { desk: { issuer: vendor } } }",
        "{ durations: [2d], organisations: { desk: { issuer: vendor } } }",
        "{ durations: [1 calendar day], organisations: { desk: { issuer: vendor } } }",
        "{ durations: [1d, 2d], organisations: { desk: { issuer: vendor } } }",
        "{ durations: [2d, 1d], organisations: { desk: { issuer: vendor } } }",
        "{ durations: [1d], suggested: 1d, organisations: { desk: { issuer: vendor } } }",
        "{ durations: [1d], organisations: { other: { issuer: vendor } } }",
        "{ durations: [1d], organisations: { desk: { claim: groups, any: desk } } }",
        "{ durations: [1d], organisations: { desk: { claim: group, any: desk } } }",
        "{ durations: [1d], organisations: { desk: { claim: groups, any: [desk, leads] } } }",
    ] {
        assert!(seen.insert(with(act_as).policy.fingerprint), "{act_as} must change the fingerprint");
    }
}

#[test]
fn faults_look_like_this() {
    let text = with("permission: orders:read }", "permision: orders:reed }")
        .replace("zone: Europe/Berlin", "zone: Europe/Berln")
        .replace("gateway: main\n", "")
        .replace("sessions: { last: 8h }", "sessions: { last: 8 }");
    let faults = load(&text).unwrap_err();
    let syntax = load(&with("identity_headers: [X-User]", "identity_headers: [X-User")).unwrap_err();
    let drawn = |faults| {
        let plain = config::render(faults, Look { fancy: false, width: 100 });
        plain.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    };
    let look = format!("{faults}\n\n{syntax}\n\n=====\n\n{}\n{}\n", drawn(&faults), drawn(&syntax));
    golden("look.txt", &look);
}

/// Compares with a file beside the tests; with `UPDATE=1` writes it.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(wanted, text, "look at the difference; `UPDATE=1 cargo test --test config` accepts it");
}

#[test]
fn the_published_schema_is_the_one_that_the_types_give() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(config::SCHEMA_FILE);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, config::schema()).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == config::schema(),
        "`UPDATE=1 cargo test --test config` writes {}",
        config::SCHEMA_FILE
    );
    let schema: serde_json::Value = serde_json::from_str(&published).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["properties"]["routes"]["description"].as_str().unwrap().contains("route map"));
}

#[test]
fn the_example_passes_without_a_warning() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/demo");
    let text = std::fs::read_to_string(dir.join("postern.yaml")).unwrap();
    assert!(text.starts_with("# yaml-language-server: $schema=../../postern.schema.json\n"));
    assert!(dir.join("../../postern.schema.json").exists());
    let keys =
        r#"{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"},{"kty":"OKP","crv":"Ed25519","x":"a"}]}"#;
    let sources: BTreeMap<String, Vec<u8>> = [
        ("/demo/ledger.key", "key"),
        ("/demo/assertion.pem", "key"),
        ("/demo/vendor.jwks.json", keys),
        ("/demo/app.jwks.json", keys),
        ("/demo/postern.yaml", text.as_str()),
    ]
    .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
    .into();
    let (settings, warnings) =
        config::load(Path::new("/demo/postern.yaml"), &sources).unwrap_or_else(|f| panic!("{f}"));
    assert!(warnings.is_empty(), "{warnings:?}");
    let policy = &settings.policy;
    let allowed = |level: usize, permission: &str| {
        let id = policy.catalogue.id(permission).unwrap();
        policy.role_at(level).is_some_and(|role| role.permissions.contains(id)) && !policy.above_ceiling(id)
    };
    // The sentences of the product whose ladder this is.
    assert!(policy.role_at(0).is_none());
    for level in 1..=3 {
        assert!(allowed(level, "orders:read") && allowed(level, "mappings:read"));
        assert_eq!(allowed(level, "mappings:write"), level >= 2);
        assert_eq!(allowed(level, "jobs:write"), level >= 2);
        assert_eq!(allowed(level, "integrations:run"), level >= 2);
        assert_eq!(allowed(level, "integrations:configure"), level >= 2);
        assert_eq!(allowed(level, "integrations:write"), level >= 3);
        assert_eq!(allowed(level, "mappings:delete"), level >= 3);
        assert_eq!(allowed(level, "jobs:delete"), level >= 3);
        assert!(!allowed(level, "users:manage") && !allowed(level, "support:manage"));
    }
}

#[test]
fn every_example_passes_without_a_warning() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let keys =
        r#"{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"},{"kty":"OKP","crv":"Ed25519","x":"a"}]}"#;
    let mut seen = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let Ok(text) = std::fs::read(entry.unwrap().path().join("postern.yaml")) else { continue };
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("# yaml-language-server: $schema=../../postern.schema.json\n"));
        let named = ["ledger.key", "assertion.pem", "vendor.jwks.json", "app.jwks.json", "members.jwks.json"];
        let sources: BTreeMap<String, Vec<u8>> =
            named.map(|name| (format!("/here/{name}"), keys.as_bytes().to_vec())).into();
        let loaded = config::load_bytes(Path::new("/here/postern.yaml"), text.as_bytes(), &sources);
        let (_, warnings) = loaded.unwrap_or_else(|faults| panic!("{faults}"));
        assert!(warnings.is_empty(), "{}", warnings.iter().map(ToString::to_string).collect::<String>());
        seen += 1;
    }
    assert!(seen >= 2);
}

#[test]
fn every_preset_passes_without_a_warning() {
    let presets = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/presets");
    let keys =
        r#"{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"},{"kty":"OKP","crv":"Ed25519","x":"a"}]}"#;
    let mut seen = 0;
    for entry in std::fs::read_dir(presets).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // Their walks.
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# yaml-language-server: $schema=../postern.schema.json\n"), "{path:?}");
        let file = |line: &str| {
            line.split_once("file: ").map(|(_, name)| name.split([' ', '}']).next().unwrap().to_owned())
        };
        let names = text.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(file);
        let sources: BTreeMap<String, Vec<u8>> =
            names.map(|name| (format!("/here/{name}"), keys.as_bytes().to_vec())).collect();
        let loaded = config::load_bytes(Path::new("/here/postern.yaml"), text.as_bytes(), &sources);
        let (settings, warnings) = loaded.unwrap_or_else(|faults| panic!("{path:?}: {faults}"));
        assert!(
            warnings.is_empty(),
            "{path:?}: {}",
            warnings.iter().map(ToString::to_string).collect::<String>()
        );
        assert!(settings.policy.rules.len() >= 30, "{path:?} maps too little to begin with");
        seen += 1;
    }
    assert!(seen >= 1);
}

#[test]
fn sources_are_read_below_the_file() {
    let mut sources = files();
    sources.insert("/etc/postern/postern.yaml".into(), BASE.as_bytes().to_vec());
    let (settings, _) = config::load(Path::new("/etc/postern/postern.yaml"), &sources).unwrap();
    assert_eq!(settings.file, Path::new("/etc/postern/postern.yaml"));
    let moved =
        config::load_bytes(Path::new("/elsewhere/postern.yaml"), BASE.as_bytes(), &sources).unwrap_err();
    assert_eq!(moved.faults().iter().filter(|f| f.code == Code::SecretUnreadable).count(), 4);
}

#[test]
fn a_chain_of_parents_is_as_long_as_it_is_followed() {
    let chain = |length: usize| {
        let more: String =
            (1..length).map(|i| format!("\n    - {{ id: t{i}, parent: t{} }}", i - 1)).collect();
        with(
            "    - { id: acme, zone: America/Los_Angeles }",
            &format!("    - {{ id: acme }}\n    - {{ id: t0 }}{more}"),
        )
    };
    assert_eq!(good(&chain(65)).0.tenants.known.len(), 67);
    let faults = load(&chain(66)).unwrap_err();
    assert_eq!(faults.faults().iter().map(|f| f.code).collect::<Vec<_>>(), [Code::ParentsTooDeep]);
}

#[test]
fn what_is_empty_is_told_as_empty() {
    let (head, tail) = BASE.split_once("routes:\n").unwrap();
    let limits = tail.lines().last().unwrap();
    let codes = |text: &str| load(text).unwrap_err().faults().iter().map(|f| f.code).collect::<Vec<_>>();
    assert_eq!(codes(&format!("{head}routes: []\n{limits}\n")), [Code::NoRoutes]);
    assert_eq!(codes(&format!("{head}{limits}\n")), [Code::MissingKey]);
    let (head, tail) = BASE.split_once("upstreams:\n").unwrap();
    let (_, tail) = tail.split_once('\n').unwrap();
    assert_eq!(codes(&format!("{head}upstreams: {{}}\n{tail}")), [Code::MissingKey]);
    // All that is missing is told at once, and nothing else.
    let all = codes("gateway: main");
    assert_eq!(all, [Code::MissingKey; 11]);
}

// GW-09
#[test]
fn services_may_what_they_are_allowed_and_a_change_of_it_is_another_policy() {
    let programs = "- { name: programs, issuer: \"https://programs.example\", kind: service, audience: postern, algorithms: [ES256], keys: { file: vendor.jwks.json } }\n  - name: vendor";
    let text = with("- name: vendor", programs);
    let said = |lines: &str| text.replace("gateway: main", &format!("gateway: main\nservices:\n{lines}"));
    let settings = good(&said(
        "  - { issuer: programs, subjects: [crm, billing], may: \"tenants:push\" }\n  - { issuer: programs, roles: roster, may: [\"members:push\", \"tenants:push\"], tenants: [acme] }",
    ))
    .0;
    let callers = &settings.policy.callers;
    let told: Vec<_> = callers
        .services
        .iter()
        .map(|rule| (rule.may.len(), rule.tenants.as_ref().map(|t| t.len())))
        .collect();
    assert_eq!(told, [(1, None), (2, Some(1))]);
    assert!(matches!(&callers.services[0].whose, Whose::Subjects(names) if names.len() == 2));
    assert!(matches!(&callers.services[1].whose, Whose::Roles(names) if names.len() == 1));
    assert!(callers.configured.contains("acme") && callers.configured.len() == settings.tenants.known.len());
    let mut seen = std::collections::BTreeSet::from([good(&text).0.policy.fingerprint]);
    for lines in [
        "  - { issuer: programs, subjects: [crm], may: \"tenants:push\" }",
        "  - { issuer: programs, subjects: [crm], may: \"members:push\" }",
        "  - { issuer: programs, subjects: [crn], may: \"members:push\" }",
        "  - { issuer: programs, roles: [crn], may: \"members:push\" }",
        "  - { issuer: programs, roles: [crn], may: \"members:push\", tenants: acme }",
    ] {
        assert!(seen.insert(good(&said(lines)).0.policy.fingerprint), "{lines}");
    }
}
