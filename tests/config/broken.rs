//! One case for each way in which a configuration can be wrong: what is written instead, where the caret must stand,
//! and the code. The mark `⟦` shows the place.

use super::{load, marked, with};
use postern::config::Severity;

/// What is exchanged in the base, for what, and the code of the fault.
type Case = (&'static str, &'static str, &'static str);

const CASES: &[Case] = &[
    // The text itself.
    ("gateway: main", "gateway: main⟦: x", "syntax"),
    ("gateway: main", "gateway: ⟦main\n\tlisten: x", "syntax"),
    ("identity_headers: [X-User]", "identity_headers: [X-User\nassertion⟦: 1", "syntax"),
    ("gateway: main", "gateway: main\n⟦gateway: other", "duplicate_key"),
    ("sessions: { last: 8h }", "sessions: { last: 8h, ⟦last: 9h }", "duplicate_key"),
    ("state: { path: state.redb }", "state: &s { path: state.redb }\nlimits: { ⟦<<: *s }", "syntax"),
    // Keys and kinds of values.
    ("gateway: main", "gateway: main\n⟦gatewy: main", "unknown_key"),
    ("permission: orders:read }", "⟦permision: orders:read }", "unknown_key"),
    ("grants: { longest: 180d }", "grants: { longest: 180d, ⟦shortest: 1d }", "unknown_key"),
    ("gateway: main\n", "⟦", "missing_key"),
    ("state: { path: state.redb }", "state: ⟦{ }", "missing_key"),
    ("- name: vendor\n    issuer: https://id.vendor.example", "- ⟦name: vendor", "missing_key"),
    ("listen: 127.0.0.1:8080", "⟦listen:", "empty_value"),
    ("gateway: main", "gateway: ⟦NO", "wrong_type"),
    ("gateway: main", "gateway: ⟦1.10", "wrong_type"),
    ("gateway: main", "gateway: ⟦[main]", "wrong_type"),
    ("state: { path: state.redb }", "state: ⟦state.redb", "wrong_type"),
    ("limits: { headers: 100 }", "limits: { headers: ⟦many }", "wrong_type"),
    ("limits: { headers: 100 }", "limits: { headers: ⟦-5 }", "out_of_range"),
    ("public: true", "public: ⟦yes", "wrong_type"),
    ("public: true", "public: ⟦\"true\"", "wrong_type"),
    ("permissions: [orders:read, orders:write, users:manage]", "permissions: ⟦orders:read", "wrong_type"),
    ("identity_headers: [X-User]", "identity_headers: [⟦1]", "wrong_type"),
    ("kind: staff", "kind: ⟦stuff", "unknown_word"),
    ("members: { unmapped: refuse }", "members: { unmapped: ⟦maybe }", "unknown_word"),
    // Services.
    (
        "gateway: main",
        "gateway: main\nservices: [{ issuer: ⟦vendor, subjects: [x], may: \"tenants:push\" }]",
        "bad_value",
    ),
    (
        "gateway: main",
        "gateway: main\nservices: [{ issuer: ⟦vendr, subjects: [x], may: \"tenants:push\" }]",
        "unknown_issuer",
    ),
    // Login access.
    ("gateway: main", "gateway: main\nact_as: ⟦{ durations: 1d }", "missing_key"),
    (
        "gateway: main",
        "gateway: main\nact_as: ⟦{ organisations: { desk: { issuer: vendor } } }",
        "missing_key",
    ),
    (
        "gateway: main",
        "gateway: main\nact_as: { durations: ⟦[], organisations: { desk: { issuer: vendor } } }",
        "bad_value",
    ),
    (
        "gateway: main",
        "gateway: main\nact_as: { durations: [1d, ⟦24h], organisations: { desk: { issuer: vendor } } }",
        "duplicate_name",
    ),
    (
        "gateway: main",
        "gateway: main\nact_as: { durations: [1d, ⟦0s], organisations: { desk: { issuer: vendor } } }",
        "out_of_range",
    ),
    (
        "gateway: main",
        "gateway: main\nact_as: { durations: [⟦13 calendar months], organisations: { desk: { issuer: vendor } } }",
        "out_of_range",
    ),
    (
        "gateway: main",
        "gateway: main\nact_as: { durations: [⟦1 month], organisations: { desk: { issuer: vendor } } }",
        "bad_value",
    ),
    (
        "gateway: main",
        "gateway: main\nact_as: { durations: [1d], suggested: ⟦7 calendar days, organisations: { desk: { issuer: vendor } } }",
        "bad_value",
    ),
    ("gateway: main", "gateway: main\nact_as: { durations: [1d], organisations: ⟦{} }", "bad_value"),
    (
        "gateway: main",
        "gateway: main\nact_as: { durations: [1d], organisations: { ⟦Desk: { issuer: vendor } } }",
        "bad_value",
    ),
    (
        "gateway: main",
        "gateway: main\nact_as: { durations: [1d], organisations: { desk: { issuer: ⟦vendr } } }",
        "unknown_issuer",
    ),
    (
        "gateway: main",
        "gateway: main\nact_as: { durations: [1d], organisations: { desk: { issuer: ⟦app } } }",
        "bad_value",
    ),
    ("gateway: main", "gateway: main\nact_as: { durations: [1d], organisations: { desk: ⟦{} } }", "one_of"),
    (
        "gateway: main",
        "gateway: main\nact_as: { durations: [1d], organisations: { desk: ⟦{ issuer: vendor, claim: groups } } }",
        "one_of",
    ),
    (
        "gateway: main",
        "gateway: main\nact_as: { durations: [1d], organisations: { desk: ⟦{ any: [desk] } } }",
        "one_of",
    ),
    (
        "gateway: main",
        "gateway: main\nact_as: { durations: [1d], organisations: { desk: { claim: ⟦a..b, any: [desk] } } }",
        "bad_value",
    ),
    (
        "gateway: main",
        "gateway: main\nact_as: { durations: [1d], organisations: { desk: { claim: groups, any: ⟦[] } } }",
        "bad_value",
    ),
    (
        "gateway: main",
        "gateway: main\nact_as: { durations: [1d], organisations: { desk: { issuer: vendor, ⟦role: x } } }",
        "unknown_key",
    ),
    // Sizes and durations.
    ("sessions: { last: 8h }", "sessions: { last: ⟦8 hours }", "bad_value"),
    ("sessions: { last: 8h }", "sessions: { last: ⟦8 }", "bad_value"),
    ("sessions: { last: 8h }", "sessions: { last: ⟦0s }", "out_of_range"),
    ("sessions: { last: 8h }", "sessions: { last: ⟦0 calendar days }", "out_of_range"),
    ("sessions: { last: 8h }", "sessions: { last: ⟦367d }", "out_of_range"),
    ("sessions: { last: 8h }", "sessions: { last: 8h, max_exchange: ⟦8d }", "out_of_range"),
    ("path: state.redb }", "path: state.redb, max_staleness: { writes: ⟦499ms } }", "out_of_range"),
    ("path: state.redb }", "path: state.redb, max_staleness: { reads: ⟦61m } }", "out_of_range"),
    ("path: state.redb }", "path: state.redb, max_staleness: { break_glass: ⟦1ms } }", "out_of_range"),
    ("path: state.redb }", "path: state.redb, members_max_staleness: ⟦59s }", "out_of_range"),
    ("grants: { longest: 180d }", "grants: { longest: ⟦forever }", "bad_value"),
    ("key: { file: ledger.key }", "key: { file: ledger.key }, segment: ⟦64 MB", "bad_value"),
    ("key: { file: ledger.key }", "key: { file: ledger.key }, segment: ⟦1 B", "out_of_range"),
    ("key: { file: ledger.key }", "key: { file: ledger.key }, quota: ⟦32 MiB", "out_of_range"),
    ("limits: { headers: 100 }", "limits: { headers: ⟦1000000 }", "out_of_range"),
    ("algorithms: [ES256]", "algorithms: [ES256]\n    leeway: ⟦2m", "out_of_range"),
    ("limits: { headers: 100 }", "limits: { request_head: 32 KiB, token: ⟦32 KiB }", "out_of_range"),
    ("limits: { headers: 100 }", "limits: { request_head: 9 KiB, target: ⟦9 KiB }", "out_of_range"),
    ("limits: { headers: 100 }", "limits: { request_head: ⟦8 KiB, token: 4 KiB }", "out_of_range"),
    // What stands in front.
    ("gateway: main", "gateway: main\nproxy_protocol: ⟦{ }", "missing_key"),
    ("gateway: main", "gateway: main\nproxy_protocol: { from: ⟦[] }", "bad_value"),
    ("gateway: main", "gateway: main\nproxy_protocol: { from: ⟦balancer }", "bad_value"),
    ("gateway: main", "gateway: main\nproxy_protocol: { from: ⟦0.0.0.0/0 }", "bad_value"),
    ("gateway: main", "gateway: main\nproxy_protocol: { from: [10.0.0.1, ⟦\"::/0\"] }", "bad_value"),
    ("gateway: main", "gateway: main\ntrusted_hops: ⟦{ from: 10.0.0.1 }", "missing_key"),
    ("gateway: main", "gateway: main\ntrusted_hops: ⟦{ header: forwarded }", "missing_key"),
    (
        "gateway: main",
        "gateway: main\ntrusted_hops: { from: ⟦\"::ffff:0:0/96\", header: forwarded }",
        "bad_value",
    ),
    ("gateway: main", "gateway: main\ntrusted_hops: { from: 10.0.0.1, header: ⟦x_real_ip }", "unknown_word"),
    (
        "gateway: main",
        "gateway: main\ntrusted_hops: { from: 10.0.0.1, header: forwarded, count: ⟦0 }",
        "out_of_range",
    ),
    // The gateway.
    ("gateway: main", "gateway: ⟦\"main gate\"", "bad_value"),
    ("listen: 127.0.0.1:8080", "listen: ⟦localhost:8080", "bad_value"),
    ("operations: 127.0.0.1:9090", "operations: ⟦127.0.0.1:8080", "same_address"),
    ("operations: 127.0.0.1:9090", "operations: ⟦0.0.0.0:8080", "same_address"),
    ("gateway: main", "gateway: main\nprefix: ⟦_postern", "bad_value"),
    ("gateway: main", "gateway: main\nworkers: ⟦0", "out_of_range"),
    ("operations: 127.0.0.1:9090", "operations: 0.0.0.0:9090\ndangerous: ⟦{ clock: true }", "dangerous"),
    ("origin: example.com/postern/main", "origin: ⟦\"a b\"", "bad_value"),
    ("origin: example.com/postern/main", "origin: ⟦a+b", "bad_value"),
    // Secrets.
    ("file: ledger.key", "file: ⟦missing.key", "secret_unreadable"),
    ("file: assertion.pem", "env: ⟦MISSING", "secret_unreadable"),
    ("file: assertion.pem", "file: ⟦empty.pem", "secret_unreadable"),
    ("key: { file: assertion.pem }", "key: ⟦{ file: assertion.pem, env: ASSERTION_KEY }", "one_of"),
    ("key: { file: assertion.pem }", "key: ⟦{}", "one_of"),
    // Headers.
    ("identity_headers: [X-User]", "identity_headers: [⟦\"X User\"]", "bad_header"),
    ("identity_headers: [X-User]", "identity_headers: [⟦Authorization]", "bad_header"),
    ("identity_headers: [X-User]", "identity_headers: [X-User, ⟦x_user]", "duplicate_name"),
    ("X-Remote-User: \"{subject}\"", "⟦Postern-Assertion: \"{subject}\"", "bad_header"),
    ("X-Remote-User: \"{subject}\"", "⟦Host: \"{tenant}\"", "bad_header"),
    ("X-Remote-User: \"{subject}\"", "X-A: a, ⟦x_a: b", "duplicate_name"),
    ("\"{subject}\"", "\"{⟦subjct}\"", "unknown_word"),
    ("\"{subject}\"", "\"a ⟦{subject\"", "bad_value"),
    ("\"{subject}\"", "\"⟦größe\"", "bad_value"),
    ("\"{subject}\"", "⟦\"{subject} \"", "bad_value"),
    ("\"{subject}\"", "⟦\" {subject}\"", "bad_value"),
    // Upstreams.
    ("\"http://127.0.0.1:8000\"", "\"⟦ftp://127.0.0.1:8000\"", "bad_url"),
    ("\"http://127.0.0.1:8000\"", "\"http://127.0.0.1:8000⟦/app\"", "bad_url"),
    ("\"http://127.0.0.1:8000\"", "\"⟦unix:run/app.sock\"", "bad_url"),
    ("\"http://127.0.0.1:8000\"", "\"http://127.0.0.1:8000\", ca: ⟦vendor.jwks.json", "bad_value"),
    ("\"http://127.0.0.1:8000\"", "\"unix:/run/app.sock\", server_name: ⟦app.example", "bad_value"),
    (
        "\"http://127.0.0.1:8000\"",
        "\"http://127.0.0.1:8000\", servers: ⟦[\"http://127.0.0.1:8001\"]",
        "one_of",
    ),
    ("url: \"http://127.0.0.1:8000\"", "servers: ⟦[]", "missing_key"),
    (
        "url: \"http://127.0.0.1:8000\"",
        "servers: [\"http://a:1\", \"http://b\", ⟦\"http://a:1\"]",
        "duplicate_name",
    ),
    ("url: \"http://127.0.0.1:8000\"", "servers: [\"http://a:1\", \"http://a:2⟦/x\"]", "bad_url"),
    (
        "url: \"http://127.0.0.1:8000\"",
        "servers: [\"unix:/a\", \"http://a:1\", ⟦\"https://a:2\"]",
        "bad_value",
    ),
    ("\"http://127.0.0.1:8000\"", "\"http://127.0.0.1:8000\", health: ⟦{ every: 1s }", "missing_key"),
    ("\"http://127.0.0.1:8000\"", "\"http://127.0.0.1:8000\", health: { path: ⟦healthz }", "bad_value"),
    ("\"http://127.0.0.1:8000\"", "\"http://127.0.0.1:8000\", health: { path: ⟦\"/a b\" }", "bad_value"),
    (
        "\"http://127.0.0.1:8000\"",
        "\"http://127.0.0.1:8000\", health: { path: /, status: ⟦100 }",
        "out_of_range",
    ),
    (
        "\"http://127.0.0.1:8000\"",
        "\"http://127.0.0.1:8000\", health: { path: /, every: ⟦1ms }",
        "out_of_range",
    ),
    (
        "\"http://127.0.0.1:8000\"",
        "\"http://127.0.0.1:8000\", eject: { first: 10s, most: ⟦1s }",
        "out_of_range",
    ),
    ("\"http://127.0.0.1:8000\"", "\"http://127.0.0.1:8000\", ping: ⟦5m", "bad_value"),
    ("\"http://127.0.0.1:8000\"", "\"http://127.0.0.1:8000\", protocol: ⟦h2", "unknown_word"),
    ("\"http://127.0.0.1:8000\"", "\"https://app.example\", ca: ⟦vendor.jwks.json", "bad_certificate"),
    ("\"http://127.0.0.1:8000\"", "\"https://app.example\", ca: ⟦nowhere.pem", "secret_unreadable"),
    (
        "\"http://127.0.0.1:8000\"",
        "\"https://app.example\", ca: public.pem, server_name: ⟦\"a b\"",
        "bad_value",
    ),
    // TLS towards clients.
    ("gateway: main", "gateway: main\ntls: ⟦{ }", "missing_key"),
    ("gateway: main", "gateway: main\nhttp2: ⟦sometimes", "unknown_word"),
    ("gateway: main", "gateway: main\ntls: { certificates: ⟦[] }", "missing_key"),
    ("gateway: main", "gateway: main\ntls: { certificates: [⟦{ chain: public.pem }] }", "missing_key"),
    (
        "gateway: main",
        "gateway: main\ntls: { certificates: [⟦{ chain: public.pem, key: { file: assertion.pem } }] }",
        "bad_certificate",
    ),
    ("\"http://127.0.0.1:8000\"", "\"http://127.0.0.1:8000⟦?x=1\"", "bad_url"),
    ("\"http://127.0.0.1:8000\"", "\"http://⟦user:pass@127.0.0.1:8000\"", "bad_url"),
    ("\"http://127.0.0.1:8000\"", "\"http://127.0.0.1:⟦99999\"", "bad_url"),
    ("\"http://127.0.0.1:8000\"", "\"⟦127.0.0.1:8000\"", "bad_url"),
    ("\"http://127.0.0.1:8000\"", "\"http://127.0.0.1:8000\", host: ⟦\"a/b\"", "bad_value"),
    ("\"http://127.0.0.1:8000\"", "\"http://127.0.0.1:8000\", host: ⟦app.example.", "bad_value"),
    ("\"http://127.0.0.1:8000\"", "\"http://127.0.0.1:8000\", host: ⟦\"app.example:080\"", "bad_value"),
    ("\"http://127.0.0.1:8000\"", "\"http://⟦app.example.:8000\"", "bad_url"),
    // Issuers.
    ("name: vendor", "name: ⟦Vendor", "bad_value"),
    ("name: app\n", "name: ⟦vendor\n", "duplicate_name"),
    ("issuer: https://id.app.example", "issuer: ⟦https://id.vendor.example", "duplicate_name"),
    ("algorithms: [ES256]", "algorithms: [⟦ES265]", "unknown_algorithm"),
    ("algorithms: [ES256]", "algorithms: [⟦none]", "unknown_algorithm"),
    ("algorithms: [ES256]", "algorithms: [ES256, ⟦RS256]", "algorithm_without_key"),
    ("algorithms: [ES256]", "algorithms: [ES256, ⟦ES256]", "duplicate_name"),
    ("algorithms: [ES256]", "algorithms: [ES256, ⟦HS256]", "dangerous"),
    ("algorithms: [ES256]", "algorithms: ⟦[]", "bad_value"),
    ("file: vendor.jwks.json", "file: ⟦missing.json", "secret_unreadable"),
    ("file: vendor.jwks.json", "file: ⟦private.jwks.json", "private_key"),
    ("file: vendor.jwks.json", "file: ⟦private.pem", "private_key"),
    ("file: vendor.jwks.json", "file: ⟦secret.jwks.json", "bad_keys"),
    ("file: vendor.jwks.json", "file: ⟦none.jwks.json", "bad_keys"),
    ("file: vendor.jwks.json", "file: ⟦other.json", "bad_keys"),
    ("file: vendor.jwks.json", "file: ⟦words.txt", "bad_keys"),
    ("keys: { file: vendor.jwks.json }", "keys: ⟦{}", "one_of"),
    ("file: vendor.jwks.json", "url: \"⟦ftp://id.example/keys\"", "bad_url"),
    ("file: vendor.jwks.json", "url: \"⟦http://id.example/keys\"", "dangerous"),
    ("file: vendor.jwks.json", "url: \"https://⟦me:pass@id.example/keys\"", "bad_url"),
    ("file: vendor.jwks.json", "url: \"https://⟦:443/keys\"", "bad_url"),
    ("file: vendor.jwks.json", "url: \"https://⟦id.example:0/keys\"", "bad_url"),
    ("file: vendor.jwks.json", "url: \"https://⟦id.example:99999/keys\"", "bad_url"),
    ("file: vendor.jwks.json", "url: ⟦\"https://id.example/keys#a\"", "bad_url"),
    ("file: vendor.jwks.json", "url: ⟦\"https://id.example/a b\"", "bad_url"),
    ("file: vendor.jwks.json", "url: ⟦\"https://id.example\\\\@evil.example/\"", "bad_url"),
    (
        "keys: { file: vendor.jwks.json }",
        "keys: ⟦{ file: vendor.jwks.json, url: \"https://id.example/\" }",
        "one_of",
    ),
    ("file: vendor.jwks.json", "file: vendor.jwks.json, refresh: ⟦5m", "bad_value"),
    ("file: vendor.jwks.json", "file: vendor.jwks.json, ca: ⟦{ file: public.pem }", "bad_value"),
    ("file: vendor.jwks.json", "url: \"https://id.example/\", refresh: ⟦5s", "out_of_range"),
    ("file: vendor.jwks.json", "url: \"https://id.example/\", keep: ⟦1s", "out_of_range"),
    ("file: vendor.jwks.json", "url: \"https://id.example/\", keep: ⟦5m", "out_of_range"),
    ("file: vendor.jwks.json", "url: \"https://id.example/\", refetch: ⟦1ms", "out_of_range"),
    ("file: vendor.jwks.json", "url: \"https://id.example/\", timeout: ⟦2m", "out_of_range"),
    (
        "file: vendor.jwks.json",
        "url: \"https://id.example/\", ca: { file: ⟦missing.pem }",
        "secret_unreadable",
    ),
    ("file: vendor.jwks.json", "url: \"https://id.example/\", ca: { file: ⟦public.pem }", "bad_keys"),
    ("file: vendor.jwks.json", "url: \"https://id.example/\", ca: ⟦{}", "missing_key"),
    ("audience: postern", "audience: postern\n    cookie: ⟦token", "bad_value"),
    ("audience: [app]", "audience: [app]\n    cookie: ⟦\"a b\"", "bad_value"),
    ("audience: [app]", "audience: [app]\n    cookie: ⟦\"a;b\"", "bad_value"),
    ("audience: postern", "audience: ⟦[]", "bad_value"),
    ("audience: postern", "audience: postern\n    claims: { tenant: ⟦org }", "bad_value"),
    ("audience: [app]", "audience: [app]\n    claims: { support: ⟦{ everybody: true } }", "bad_value"),
    ("audience: [app]", "audience: [app]\n    claims: { roles: ⟦a..b }", "bad_value"),
    ("audience: postern", "audience: postern\n    claims: { support: ⟦{ claim: groups } }", "one_of"),
    ("tenants:\n  from: { path", "approvals: { usable: ⟦1s }\ntenants:\n  from: { path", "out_of_range"),
    ("tenants:\n  from: { path", "approvals: { unanswered: ⟦31d }\ntenants:\n  from: { path", "out_of_range"),
    // State and ledger apart.
    ("path: ledger,", "path: ⟦state.redb,", "bad_value"),
    ("path: ledger,", "path: ⟦./x/../state.redb,", "bad_value"),
    ("path: ledger,", "path: ⟦state.redb/ledger,", "bad_value"),
    ("path: ledger,", "path: ⟦/etc/postern/,", "bad_value"),
    ("path: ledger,", "path: ⟦.,", "bad_value"),
    // Emergencies.
    ("tenants:\n  from: { path", "stops: ⟦{ }\ntenants:\n  from: { path", "missing_key"),
    ("tenants:\n  from: { path", "stops: { operators: ⟦[] }\ntenants:\n  from: { path", "bad_value"),
    (
        "tenants:\n  from: { path",
        "stops: { operators: [⟦{ issuer: vendor }] }\ntenants:\n  from: { path",
        "missing_key",
    ),
    (
        "tenants:\n  from: { path",
        "stops: { operators: [{ issuer: ⟦app, sub: x }] }\ntenants:\n  from: { path",
        "bad_value",
    ),
    (
        "tenants:\n  from: { path",
        "stops: { operators: [{ issuer: vendor, sub: ⟦a b }] }\ntenants:\n  from: { path",
        "bad_value",
    ),
    (
        "tenants:\n  from: { path",
        "stops: { operators: [{ issuer: vendor, sub: x }, ⟦{ issuer: vendor, sub: x }] }\ntenants:\n  from: { path",
        "duplicate_name",
    ),
    ("tenants:\n  from: { path", "break_glass: ⟦{ role: admin }\ntenants:\n  from: { path", "missing_key"),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: [{ issuer: vendor, sub: x }], role: admin, tokens: ⟦{ audience: a } }\ntenants:\n  from: { path",
        "missing_key",
    ),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: [{ issuer: vendor, sub: x }], role: admin, tokens: ⟦{ keys: { inline: { keys: [{ kty: OKP, crv: Ed25519, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo, kid: k }] } } } }\ntenants:\n  from: { path",
        "missing_key",
    ),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: [{ issuer: vendor, sub: x }], role: admin, tokens: { keys: { url: ⟦\"https://id.example/keys\" }, audience: a } }\ntenants:\n  from: { path",
        "bad_value",
    ),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: [{ issuer: vendor, sub: x }], role: admin, tokens: { keys: { inline: ⟦{ keys: [] } }, audience: a } }\ntenants:\n  from: { path",
        "bad_keys",
    ),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: [{ issuer: vendor, sub: x }], role: admin, tokens: { keys: ⟦{ inline: { keys: [{ kty: OKP, crv: Ed25519, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo }] } }, audience: a } }\ntenants:\n  from: { path",
        "bad_keys",
    ),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: [{ issuer: vendor, sub: x }], role: admin, tokens: { keys: ⟦{ inline: { keys: [{ kty: OKP, crv: Ed25519, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo, kid: k }, { kty: OKP, crv: Ed25519, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo, kid: k }] } }, audience: a } }\ntenants:\n  from: { path",
        "bad_keys",
    ),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: [{ issuer: vendor, sub: x }], role: admin, tokens: { keys: { inline: ⟦{ keys: [{ kty: oct, k: c2VjcmV0, kid: k }] } }, audience: a } }\ntenants:\n  from: { path",
        "bad_keys",
    ),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: [{ issuer: vendor, sub: x }], role: admin, tokens: { keys: { inline: { keys: [{ kty: OKP, crv: Ed25519, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo, kid: k }] } }, audience: ⟦\"\" } }\ntenants:\n  from: { path",
        "bad_value",
    ),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: [{ issuer: vendor, sub: x }], role: admin, tokens: { keys: { inline: { keys: [{ kty: OKP, crv: Ed25519, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo, kid: k }] } }, audience: a, longest: ⟦5h } }\ntenants:\n  from: { path",
        "out_of_range",
    ),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: [{ issuer: vendor, sub: x }], role: admin, tokens: { keys: { inline: { keys: [{ kty: OKP, crv: Ed25519, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo, kid: k }] } }, audience: a, revoked: [⟦ses_1] } }\ntenants:\n  from: { path",
        "bad_value",
    ),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: [{ issuer: vendor, sub: x }], role: admin, tokens: { keys: { inline: { keys: [{ kty: OKP, crv: Ed25519, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo, kid: k }] } }, audience: a, ⟦key: x } }\ntenants:\n  from: { path",
        "unknown_key",
    ),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: [{ issuer: vendor, sub: x }], role: ⟦nobody }\ntenants:\n  from: { path",
        "unknown_role",
    ),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: ⟦[{ issuer: vendor, sub: x }, { issuer: vendor, sub: w }], most: 1, role: admin }\ntenants:\n  from: { path",
        "out_of_range",
    ),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: [{ issuer: vendor, sub: x }], role: admin, tenant_ends: ⟦never }\ntenants:\n  from: { path",
        "wrong_type",
    ),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: [{ issuer: vendor, sub: x }], role: admin, last: ⟦2d }\ntenants:\n  from: { path",
        "out_of_range",
    ),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: [{ issuer: vendor, sub: x }], role: admin, causes: ⟦[] }\ntenants:\n  from: { path",
        "bad_value",
    ),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: [{ issuer: vendor, sub: x }], role: admin, incident: ⟦\"A.*\" }\ntenants:\n  from: { path",
        "bad_value",
    ),
    (
        "tenants:\n  from: { path",
        "break_glass: { operators: [{ issuer: vendor, sub: x }], role: admin, require: { ticket: ⟦{ pattern: A } } }\ntenants:\n  from: { path",
        "bad_value",
    ),
    // Conditions on staff.
    ("tenants:\n  from: { path", "staff: { require: { acr: ⟦[] } }\ntenants:\n  from: { path", "bad_value"),
    (
        "tenants:\n  from: { path",
        "staff: { require: { acr: ⟦\"a b\" } }\ntenants:\n  from: { path",
        "bad_value",
    ),
    (
        "tenants:\n  from: { path",
        "staff: { require: { amr: [⟦\"a\\\"\"] } }\ntenants:\n  from: { path",
        "bad_value",
    ),
    (
        "tenants:\n  from: { path",
        "staff: { require: { max_auth_age: ⟦0s } }\ntenants:\n  from: { path",
        "out_of_range",
    ),
    (
        "tenants:\n  from: { path",
        "staff: { require: { networks: [⟦10.0.0.1/8] } }\ntenants:\n  from: { path",
        "bad_value",
    ),
    (
        "tenants:\n  from: { path",
        "staff: { require: { networks: ⟦10.0.0.0/33 } }\ntenants:\n  from: { path",
        "bad_value",
    ),
    (
        "tenants:\n  from: { path",
        "staff: { require: { networks: ⟦10.0.0/8 } }\ntenants:\n  from: { path",
        "bad_value",
    ),
    (
        "tenants:\n  from: { path",
        "staff: { require: { networks: ⟦10.0.0.0/+8 } }\ntenants:\n  from: { path",
        "bad_value",
    ),
    (
        "tenants:\n  from: { path",
        "staff: { require: { ticket: ⟦{} } }\ntenants:\n  from: { path",
        "missing_key",
    ),
    (
        "tenants:\n  from: { path",
        "staff: { require: { ticket: { pattern: ⟦\"A.*\" } } }\ntenants:\n  from: { path",
        "bad_value",
    ),
    (
        "tenants:\n  from: { path",
        "staff: { require: { ticket: ⟦{ pattern: A, header: X-A, claim: a } } }\ntenants:\n  from: { path",
        "one_of",
    ),
    (
        "tenants:\n  from: { path",
        "staff: { require: { ticket: { pattern: A, header: ⟦Authorization } } }\ntenants:\n  from: { path",
        "bad_header",
    ),
    (
        "tenants:\n  from: { path",
        "staff: { require: { ticket: { pattern: A, claim: ⟦a..b } } }\ntenants:\n  from: { path",
        "bad_value",
    ),
    // Tenants.
    ("from: { path: tenant }", "from: ⟦{ path: tenant, claim: true }", "one_of"),
    ("from: { path: tenant }", "from: ⟦[]", "bad_value"),
    ("from: { path: tenant }", "from: { path: ⟦\"{tenant}\" }", "bad_value"),
    ("from: { path: tenant }", "from: { header: ⟦Host }", "bad_header"),
    ("from: { path: tenant }", "from: { host: ⟦app.example }", "bad_value"),
    ("from: { path: tenant }", "from: { host: ⟦\"x{tenant}.app.example\" }", "bad_value"),
    ("from: { path: tenant }", "from: { fixed: ⟦\"a b\" }", "bad_value"),
    ("from: { path: tenant }", "from: { claim: ⟦false }", "bad_value"),
    ("known: [production, sandbox]", "known: ⟦[sandbox]", "unknown_environment"),
    ("known: [production, sandbox]", "known: [production, ⟦production]", "duplicate_name"),
    ("known: [production, sandbox]", "known: [production], default: ⟦prod", "unknown_environment"),
    ("environments: [production]", "environments: [⟦prodution]", "unknown_environment"),
    ("environments: [production]", "environments: ⟦[]", "bad_value"),
    ("zone: Europe/Berlin", "zone: ⟦Europe/Berlinn", "unknown_zone"),
    ("zone: Europe/Berlin", "zone: ⟦NO", "wrong_type"),
    ("parent: acme,", "parent: ⟦amce,", "unknown_tenant"),
    ("parent: acme,", "parent: ⟦acme-eu,", "parent_cycle"),
    (
        "{ id: acme, zone: America/Los_Angeles }",
        "{ id: acme, parent: ⟦later }\n    - { id: later }",
        "parent_after_child",
    ),
    ("{ id: acme-eu,", "{ id: ⟦acme,", "duplicate_name"),
    ("{ id: acme-eu,", "{ id: ⟦-acme,", "bad_value"),
    ("from: { header: X-Environment }", "from: [{ claim: env }, ⟦{ claim: b }]", "one_of"),
    // A parameter that no route has would never name anything, and the other sources alone would decide.
    ("from: { path: tenant }", "from: [{ path: ⟦tennant }, { claim: true }]", "missing_parameter"),
    ("from: { path: tenant }", "from: { path: ⟦tennant }", "missing_parameter"),
    ("from: { path: tenant }", "from: [{ path: tenant }, { path: ⟦org }]", "missing_parameter"),
    ("from: { header: X-Environment }", "from: { path: ⟦enviroment }", "missing_parameter"),
    // Permissions, roles, ceiling.
    (
        "[orders:read, orders:write, users:manage]",
        "[orders:read, orders:write, users:manage, ⟦orders]",
        "bad_value",
    ),
    (
        "[orders:read, orders:write, users:manage]",
        "[orders:read, orders:write, users:manage, ⟦support:read]",
        "reserved_name",
    ),
    (
        "[orders:read, orders:write, users:manage]",
        "[orders:read, orders:write, users:manage, ⟦orders:read]",
        "duplicate_name",
    ),
    ("allow: \"*:read\"", "allow: ⟦\"orders:reed\"", "unknown_permission"),
    ("allow: \"*:read\"", "allow: [⟦\"order:*\", \"*:read\"]", "pattern_covers_nothing"),
    ("allow: \"*:read\"", "allow: ⟦\"orders:re*\"", "bad_value"),
    ("ceiling: [\"users:manage\"]", "ceiling: [⟦\"users:manege\"]", "unknown_permission"),
    ("ceiling: [\"users:manage\"]", "ceiling: [⟦\"cards:*\"]", "pattern_covers_nothing"),
    (
        "  admin: { allow: \"*:*\" }",
        "  admin: { allow: \"*:*\" }\n  ⟦Viewer: { allow: \"*:read\" }",
        "bad_value",
    ),
    // The ladder.
    ("- level: block", "- level: block\n      role: ⟦read_only", "lowest_level_has_role"),
    ("{ level: full, role: admin }", "⟦{ level: full }", "level_without_role"),
    ("{ level: full, role: admin }", "{ level: full, role: ⟦admn }", "unknown_role"),
    ("{ level: full, role: admin }", "{ level: ⟦read_only, role: admin }", "duplicate_name"),
    ("{ level: full, role: admin }", "{ level: ⟦inherit, role: admin }", "reserved_name"),
    ("{ level: full, role: admin }", "{ level: full, also: ⟦inherit, role: admin }", "reserved_name"),
    ("{ level: full, role: admin }", "{ level: full, also: ⟦read_only, role: admin }", "duplicate_name"),
    ("{ level: full, role: admin }", "{ level: full, also: [all, ⟦all], role: admin }", "duplicate_name"),
    ("{ level: full, role: admin }", "{ level: full, also: ⟦Everything, role: admin }", "bad_value"),
    ("sessions: { last: 8h }", "sessions: { on_remove: ⟦forget }", "unknown_word"),
    ("sessions: { last: 8h }", "sessions: { by_grant: ⟦forever }", "unknown_word"),
    (
        "*:*\" }\nceiling: [\"users:manage\"]\nconsent:\n  levels:\n    - level: block\n    - { level: read_only, role: read_only }\n    - { level: full, role: admin }",
        "*:write\" }\nceiling: [\"users:manage\"]\nconsent:\n  levels:\n    - level: block\n    - { level: read_only, role: read_only }\n    - { level: full, role: ⟦admin }",
        "ladder_not_monotone",
    ),
    ("default: read_only\n", "default: ⟦read_onyl\n", "unknown_level"),
    // Routes.
    ("GET /public/{*rest}", "GET /public/⟦ö", "bad_route"),
    ("public: true }\n", "public: true }\n  - { route: ⟦\"GET /PUBLIC/x\", public: true }\n", "route_twins"),
    (
        "route: \"GET /public/{*rest}\", public: true }\n",
        "route: ⟦\"GET /public/{*rest}\", public: true }\n  - { route: \"GET /public/{a}\", public: true }\n  - { route: \"GET /public/{a}/{*b}\", public: true }\n",
        "route_never_reached",
    ),
    ("GET /t/{tenant}/orders\"", "⟦GETT /t/{tenant}/orders\"", "bad_route"),
    ("GET /t/{tenant}/orders\"", "⟦get /t/{tenant}/orders\"", "bad_route"),
    ("GET /t/{tenant}/orders\"", "⟦TRACE /t/{tenant}/orders\"", "bad_route"),
    ("GET /t/{tenant}/orders\"", "⟦GET,GET /t/{tenant}/orders\"", "bad_route"),
    ("GET /t/{tenant}/orders\"", "⟦/t/{tenant}/orders\"", "bad_route"),
    ("GET /t/{tenant}/orders\"", "GET ⟦t/{tenant}/orders\"", "bad_route"),
    ("GET /t/{tenant}/orders\"", "GET /t/⟦/{tenant}/orders\"", "bad_route"),
    ("GET /t/{tenant}/orders\"", "GET /t/{tenant}/o⟦{x}\"", "bad_route"),
    ("GET /t/{tenant}/orders\"", "GET /t/{tenant}/⟦..\"", "bad_route"),
    ("GET /t/{tenant}/orders\"", "GET /t/{tenant}/⟦{tenant}\"", "bad_route"),
    ("GET /public/{*rest}", "GET /public/{*rest}⟦/x", "bad_route"),
    ("GET /t/{tenant}/orders\"", "GET ⟦/t/x/orders\"", "missing_parameter"),
    ("id: order }", "id: ⟦ordr }", "missing_parameter"),
    ("type: orders,", "type: ⟦order,", "unknown_word"),
    ("permission: orders:read }", "permission: ⟦orders:reed }", "unknown_permission"),
    ("permission: orders:read }", "permission: [orders:read, ⟦orders:read] }", "duplicate_name"),
    ("permission: orders:read }", "permission: ⟦[] }", "bad_value"),
    ("permission: orders:read }", "permission: orders:read, upstream: ⟦ap }", "unknown_upstream"),
    ("public: true", "public: true, permission: ⟦orders:read", "one_of"),
    (
        "route: \"GET /public/{*rest}\", public: true",
        "route: ⟦\"GET /public/{*rest}\", public: false",
        "one_of",
    ),
    ("GET /public/{*rest}", "GET ⟦/_postern/x", "reserved_path"),
    ("GET /public/{*rest}", "GET ⟦/_postern", "reserved_path"),
    ("route: \"POST /t/{tenant}/users\"", "route: \"POST ⟦/t/{t}/users\"", "missing_parameter"),
    ("public: true", "host: ⟦App.example, public: true", "bad_value"),
    (
        "  - { route: \"GET /public/{*rest}\", public: true }",
        "  - { route: \"POST /public\", public: true }\n  - { route: ⟦\"POST /public\", public: true }",
        "route_conflict",
    ),
];

#[test]
fn each_fault_has_its_code_its_line_and_its_column() {
    let mut wrong = Vec::new();
    for (from, to, code) in CASES {
        let (text, line, column) = marked(&with(from, to));
        let Err(faults) = load(&text) else {
            wrong.push(format!("{to:?} passes, {code} is wanted"));
            continue;
        };
        let errors: Vec<_> = faults.faults().iter().filter(|f| f.severity == Severity::Error).collect();
        let found: Vec<_> = errors.iter().map(|f| (f.code.as_str(), f.line, f.column)).collect();
        let alone = found == [(*code, line, column)];
        if !alone {
            wrong.push(format!("{to:?}: wanted {code} at {line}:{column}, found {found:?}\n{faults}"));
        }
        for fault in errors {
            assert!(!fault.hint.is_empty() && !fault.message.contains('\n'), "{fault}");
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n\n"));
    assert!(CASES.len() >= 60);
}

#[test]
fn http2_with_prior_knowledge_is_not_for_a_listener_with_tls() {
    let both = "gateway: main\nhttp2: ⟦prior_knowledge\ntls: { certificates: [{ chain: public.pem, key: { file: assertion.pem } }] }";
    let (text, line, column) = marked(&with("gateway: main", both));
    let faults = load(&text).map(|_| ()).unwrap_err();
    let told = faults.to_string();
    assert!(
        told.contains(&format!("postern.yaml:{line}:{column}: error[bad_value]: `http2: prior_knowledge`")),
        "{told}"
    );
    let (settings, _) = load(&with("gateway: main", "gateway: main\nhttp2: prior_knowledge")).unwrap();
    assert!(settings.http2_in_clear);
}
