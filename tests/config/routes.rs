//! What a line of the map can say beside its head, several upstreams, and the proofs, each with the request that breaks it.

use http::Method;
use postern::{
    config::{
        ConfigFaults, Severity,
        resolve::{Preflight, RouteLimits},
    },
    policy::Effect,
};

use super::{load, marked, with};

const ORDERS: &str = "- { route: \"GET /t/{tenant}/orders\", permission: orders:read }";

/// The base with one more route.
fn and(line: &str) -> String {
    with(ORDERS, &format!("{ORDERS}\n  - {line}"))
}

/// The base with two upstreams.
fn two(billing: &str, line: &str) -> String {
    and(line).replace(
        "headers: { X-Remote-User: \"{subject}\" } }",
        &format!(
            "headers: {{ X-Remote-User: \"{{subject}}\" }} }}\n  billing: {{ url: \"http://127.0.0.1:8001\", {billing} }}"
        ),
    )
}

/// The one fault: at the mark, with this code; its message.
#[track_caller]
fn fault(text: &str, code: &str) -> String {
    let (text, line, column) = marked(text);
    let faults: ConfigFaults = load(&text).expect_err("this must not pass");
    let errors: Vec<_> = faults.faults().iter().filter(|fault| fault.severity == Severity::Error).collect();
    assert_eq!(errors.len(), 1, "{faults}");
    assert_eq!(errors[0].code.as_str(), code, "{faults}");
    assert_eq!((errors[0].line, errors[0].column), (line, column), "{faults}");
    errors[0].message.clone()
}

// GW-03
#[test]
fn a_route_says_what_it_does_and_how_far_it_goes() {
    let text = and(
        "{ name: searchOrders, route: \"POST /t/{tenant}/search\", permission: [orders:read, orders:write], effect: read, \
         record: true, environments: [production], preflight: forward, limits: { request_body: 1 MiB, body_idle: 5s, body_rate: 1 KiB, \
         response_timeout: 2s, total: 1m } }",
    );
    let (settings, _) = load(&text).unwrap_or_else(|faults| panic!("{faults}"));
    let entry = &settings.routes[1];
    let rule = &settings.policy.rules[entry.rule];
    assert_eq!(rule.name, "searchOrders");
    assert_eq!(rule.permissions.len(), 2);
    assert_eq!(rule.effect(&Method::POST, false), Effect::Read);
    assert!(rule.record && rule.is_in("production") && !rule.is_in("sandbox"));
    assert_eq!(entry.preflight, Preflight::Forward);
    assert_eq!(
        entry.limits,
        RouteLimits {
            request_body: Some(1 << 20),
            body_idle_ms: Some(5_000),
            body_rate: Some(1024),
            response_timeout_ms: Some(2_000),
            tunnel_idle_ms: None,
            total_ms: Some(60_000)
        }
    );
    let plain = &settings.policy.rules[settings.routes[0].rule];
    assert_eq!(plain.name, "GET /t/{tenant}/orders");
    assert_eq!(plain.effect(&Method::GET, false), Effect::Read);
    assert_eq!(plain.effect(&Method::HEAD, false), Effect::Read);
    assert_eq!(plain.effect(&Method::GET, true), Effect::Write, "what passes in a tunnel is not judged");
    assert_eq!(plain.effect(&Method::OPTIONS, false), Effect::Write);
    assert!(!plain.record && plain.is_in("sandbox"));
    assert_eq!(settings.routes[0].preflight, Preflight::Refuse);
}

#[test]
fn preflights_are_answered_where_there_is_cors() {
    let text = with(
        "limits: { headers: 100 }",
        "cors: { origins: [\"https://app.example\", \"http://localhost:5173\"], headers: [X-Request-Id], credentials: true, max_age: 5m }",
    );
    let (settings, _) = load(&text).unwrap();
    let cors = settings.cors.unwrap();
    assert_eq!(cors.origins, ["https://app.example", "http://localhost:5173"]);
    assert_eq!(cors.headers, ["x-request-id"]);
    assert!(cors.credentials && cors.max_age_s == 300);
    assert!(settings.routes.iter().all(|route| route.preflight == Preflight::Answer));
}

#[test]
fn what_a_route_cannot_say_is_told_at_its_place() {
    let all = [
        ("{ route: \"GET /t/{tenant}/a\", permission: orders:read, effect: ⟦reads }", "unknown_word"),
        (
            "{ route: \"GET /t/{tenant}/a\", permission: orders:read, environments: [⟦produktion] }",
            "unknown_environment",
        ),
        ("{ route: \"GET /t/{tenant}/a\", permission: orders:read, environments: ⟦[] }", "bad_value"),
        (
            "{ route: \"GET /t/{tenant}/a\", permission: orders:read, environments: [sandbox, ⟦sandbox] }",
            "duplicate_name",
        ),
        ("{ route: \"GET /a\", public: true, record: ⟦true }", "one_of"),
        ("{ route: \"GET /t/{tenant}/a\", permission: orders:read, preflight: ⟦answer }", "missing_key"),
        ("{ route: \"OPTIONS /a\", public: true, preflight: ⟦forward }", "one_of"),
        ("{ route: \"GET /t/{tenant}/a\", permission: orders:read, limits: { total: ⟦0s } }", "out_of_range"),
        ("{ route: \"GET /t/{tenant}/a\", permission: orders:read, limits: { ⟦speed: 1s } }", "unknown_key"),
        ("{ name: ⟦\"a b\", route: \"GET /t/{tenant}/a\", permission: orders:read }", "bad_value"),
    ];
    for (line, code) in all {
        fault(&and(line), code);
    }
    let twice = "{ name: a, route: \"GET /t/{tenant}/a\", permission: orders:read }\n  - { name: ⟦a, route: \"GET /t/{tenant}/b\", permission: orders:read }";
    assert!(fault(&and(twice), "duplicate_name").contains("first in line"));
    for (cors, code) in [
        ("cors: ⟦{ }", "missing_key"),
        ("cors: { origins: [⟦\"*\"] }", "bad_value"),
        ("cors: { origins: [⟦\"https://App.example\"] }", "bad_value"),
        ("cors: { origins: [⟦\"https://app.example:443\"] }", "bad_value"),
        ("cors: { origins: [⟦\"https://app.example/\"] }", "bad_value"),
        ("cors: { origins: [\"https://app.example\"], headers: [⟦\"a b\"] }", "bad_header"),
    ] {
        fault(&with("limits: { headers: 100 }", cors), code);
    }
}

#[test]
fn an_upstream_serves_what_lies_below_its_prefix() {
    let line = "{ route: \"GET /billing/t/{tenant}/invoices\", permission: orders:read }";
    let text = two("serves: { prefix: /billing }, strip_prefix: /billing, add_prefix: /v2", line);
    let (settings, _) = load(&text).unwrap_or_else(|faults| panic!("{faults}"));
    let upstreams: Vec<usize> =
        settings.routes.iter().map(|route| settings.policy.rules[route.rule].upstream).collect();
    assert_eq!(upstreams, [0, 1, 0, 0, 0], "the only one that says nothing has what is left");
    let rewrite = &settings.upstreams[1].rewrite;
    assert_eq!(rewrite.strip.as_ref().unwrap().as_str(), "/billing");
    assert_eq!(rewrite.add.as_ref().unwrap().as_str(), "/v2");
}

#[test]
fn the_own_host_and_the_longest_prefix_win() {
    let text = with(
        "  app: { url: \"http://127.0.0.1:8000\", headers: { X-Remote-User: \"{subject}\" } }",
        "  app: { url: \"http://127.0.0.1:8000\" }\n  api: { url: \"http://127.0.0.1:8001\", serves: { prefix: /t } }\n  \
         shop: { url: \"http://127.0.0.1:8002\", serves: [{ host: shop.example }, { host: api.example, prefix: /public }] }",
    )
    .replace("- { route:", "- { host: app.example, route:")
    .replace(
        "routes:\n",
        "routes:\n  - { route: \"GET /t/{tenant}/orders\", host: shop.example, permission: orders:read }\n  - { route: \"GET \
         /x/{tenant}/orders\", host: api.example, permission: orders:read }\n",
    )
    .replace("host: app.example, route: \"GET /public", "host: api.example, route: \"GET /public");
    let (settings, _) = load(&text).unwrap_or_else(|faults| panic!("{faults}"));
    let upstreams: Vec<usize> =
        settings.routes.iter().map(|route| settings.policy.rules[route.rule].upstream).collect();
    assert_eq!(upstreams, [2, 0, 1, 1, 1, 2]);
}

#[test]
fn a_route_that_belongs_to_two_upstreams_or_to_none_is_told() {
    let serves = "serves: { prefix: /billing }";
    let message = fault(
        &two(serves, "{ route: ⟦\"GET /{tenant}/{*rest}\", permission: orders:read }"),
        "upstream_unclear",
    );
    assert!(message.contains("`/billing`") && message.contains("`billing`"), "{message}");
    let by_name =
        two(serves, "{ route: \"GET /x/{tenant}/{*rest}\", permission: orders:read, upstream: billing }");
    assert!(load(&by_name).is_ok(), "who names the upstream has said it");
    let text = two(serves, "{ route: ⟦\"GET /x/{tenant}\", permission: orders:read }").replace(
        "{ url: \"http://127.0.0.1:8000\",",
        "{ url: \"http://127.0.0.1:8000\", serves: [{ prefix: /t }, { prefix: /public }],",
    );
    fault(&text, "upstream_unclear");
    let text = two(serves, "{ route: \"GET /t/{tenant}/x\", permission: orders:read }").replace(
        "  billing:",
        "  more: { url: \"http://127.0.0.1:8002\", serves: { prefix: /billing } }\n  ⟦billing:",
    );
    let (text, line, _) = marked(&text);
    let faults = load(&text).unwrap_err();
    assert!(
        faults.faults().iter().any(|fault| fault.code.as_str() == "duplicate_name" && fault.line == line),
        "{faults}"
    );
}

#[test]
fn a_route_whose_paths_cannot_be_rewritten_is_told() {
    let strip = "serves: { prefix: /billing }, strip_prefix: /billing";
    let line = "{ route: \"GET ⟦/x/{tenant}\", permission: orders:read, upstream: billing }";
    assert!(fault(&two(strip, line), "bad_rewrite").contains("`/x/x`"));
    let line = "{ route: \"GET ⟦/billing\", public: true, upstream: billing }";
    fault(&two(strip, line), "bad_rewrite");
    let line = "{ route: \"GET /billing/{tenant}\", permission: orders:read, upstream: billing }";
    fault(&two("serves: { prefix: /x }, strip_prefix: ⟦/billing/", line), "bad_rewrite");
    fault(&two("serves: { prefix: /x }, add_prefix: ⟦\"/a/{b}\"", line), "bad_rewrite");
    fault(&two("serves: { prefix: /x }, add_prefix: ⟦\"/../b\"", line), "bad_rewrite");
    fault(&two("serves: { prefix: ⟦\"/a//b\" }", line), "bad_rewrite");
    fault(&two("serves: ⟦{ }", line), "one_of");
    let unmapped =
        two(strip, line).replace("{ unmapped: refuse }", "{ unmapped: allow, upstream: ⟦billing }");
    fault(&unmapped, "bad_rewrite");
}

#[test]
fn a_level_that_gives_less_is_told_with_the_request_that_it_refuses() {
    let text = with("admin: { allow: \"*:*\" }", "admin: { allow: \"*:write\" }")
        .replace("role: admin }", "role: ⟦admin }");
    let message = fault(&text, "ladder_not_monotone");
    assert!(message.contains("`GET /t/x1/orders` (line 44)"), "{message}");
}

#[test]
fn a_reading_level_that_reaches_a_writing_route_is_told_with_the_request() {
    let line = "{ route: ⟦\"GET,POST /t/{tenant}/search/{id}\", host: api.example, permission: orders:read }";
    let message = fault(&and(line), "reading_level_writes");
    assert!(
        message.contains("`POST api.example/t/x1/search/x1`") && message.contains("`read_only`"),
        "{message}"
    );
    let declared =
        and("{ route: \"GET,POST /t/{tenant}/search/{id}\", permission: orders:read, effect: read }");
    assert!(load(&declared).is_ok());
    let writing = and("{ route: \"POST /t/{tenant}/search\", permission: orders:read }")
        .replace("{ level: read_only, role", "{ level: read_only, effect: write, role");
    assert!(load(&writing).is_ok());
    let full = BASE_FULL_READS;
    let message = fault(&with(full.0, full.1).replace("\"PUT /t", "⟦\"PUT /t"), "reading_level_writes");
    assert!(message.contains("`full`"), "{message}");
}

/// A level that is declared to read and does not.
const BASE_FULL_READS: (&str, &str) =
    ("{ level: full, role: admin }", "{ level: full, role: admin, effect: read }");

// GW-10
#[test]
fn a_way_around_the_ceiling_is_told_with_the_request() {
    // The closed route is `POST /t/{tenant}/users` on every host.
    for (line, witness) in [
        (
            "{ route: ⟦\"POST /t/{tenant}/users\", host: api.example, permission: orders:write }",
            "`POST api.example/t/x1/users`",
        ),
        (
            "{ route: ⟦\"POST /t/{tenant}/{*rest}\", host: api.example, permission: orders:write }",
            "`POST api.example/t/x1/users`",
        ),
        (
            "{ route: ⟦\"POST /{a}/{tenant}/{c}\", host: api.example, public: true }",
            "`POST api.example/t/x1/users`",
        ),
    ] {
        assert!(fault(&and(line), "ceiling_reached").contains(witness), "{line}");
    }
    // Through another prefix to the same address.
    let text = two(
        "strip_prefix: /b",
        "{ route: ⟦\"POST /b/t/{tenant}/{*rest}\", permission: orders:write, upstream: billing }",
    )
    .replace(":8001", ":8000")
    .replace("permission: users:manage", "permission: users:manage, upstream: app")
    .replace("permission: orders:read }", "permission: orders:read, upstream: app }")
    .replace("id: order } }", "id: order }, upstream: app }")
    .replace("public: true }", "public: true, upstream: app }");
    let message = fault(&text, "ceiling_reached");
    assert!(
        message.contains("`POST elsewhere.invalid/b/t/x1/users` reaches the application as `/t/x1/users`"),
        "{message}"
    );
    // Where the application is told the host, or the route asks for the same, nothing is around anything.
    for fine in [
        "{ route: \"POST /t/{tenant}/users\", host: api.example, permission: users:manage }",
        "{ route: \"GET /t/{tenant}/users\", host: api.example, permission: orders:read }",
        "{ route: \"POST /t/{tenant}/users/{id}\", host: api.example, permission: orders:write }",
    ] {
        assert!(load(&and(fine)).is_ok(), "{fine}");
    }
    let told = and("{ route: \"POST /t/{tenant}/users\", host: api.example, permission: orders:write }")
        .replace("url: \"http://127.0.0.1:8000\",", "url: \"http://127.0.0.1:8000\", host: client,");
    assert!(load(&told).is_ok());
}

#[test]
fn a_route_that_may_become_a_tunnel_writes_unless_it_says_otherwise() {
    let silent = "{ route: \"GET /t/{tenant}/socket\", permission: orders:read, upgrade: websocket, limits: { tunnel_idle: 1m }, effect: read }";
    let (settings, _) = load(&and(silent)).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(settings.routes[1].upgrade && !settings.routes[0].upgrade);
    assert_eq!(settings.routes[1].limits.tunnel_idle_ms, Some(60_000));
    let message = fault(
        &and("{ route: ⟦\"GET /t/{tenant}/socket\", permission: orders:read, upgrade: websocket }"),
        "reading_level_writes",
    );
    assert!(message.starts_with("`GET /t/"), "{message}");
    let post = "{ route: \"POST /t/{tenant}/socket\", permission: orders:write, upgrade: ⟦websocket }";
    assert_eq!(fault(&and(post), "bad_value"), "a WebSocket is opened with `GET`, which this route lacks");
    fault(
        &and("{ route: \"GET /t/{tenant}/socket\", permission: orders:write, upgrade: ⟦h2c }"),
        "unknown_word",
    );
}

/// PFC-09, PFC-10 over sockets; here what the file says of it.
#[test]
fn a_route_and_a_role_name_the_plans_that_have_them() {
    let line = |more: &str| {
        and(&format!("{{ route: \"GET /t/{{tenant}}/dashboard\", permission: orders:write{more} }}"))
    };
    let plans = |text: &str| load(text).unwrap_or_else(|faults| panic!("{faults}")).0.policy;
    let (open, gold) = (plans(&line("")), plans(&line(", plans: [gold, iron]")));
    let of = |policy: &postern::policy::Policy| {
        policy.rules.iter().find(|rule| rule.name.contains("dashboard")).unwrap().plans.clone()
    };
    assert_eq!(of(&open), None);
    assert_eq!(of(&gold).map(|plans| plans.len()), Some(2));
    assert_ne!(open.fingerprint, gold.fingerprint);
    fault(&line(", plans: ⟦[]"), "bad_value");
    fault(&line(", plans: [gold, ⟦gold]"), "duplicate_name");
    fault(&and("{ route: \"GET /open/{*rest}\", public: true, plans: ⟦gold }"), "bad_value");

    let admin = "  admin: { allow: \"*:*\" }";
    let role = plans(&with(admin, "  admin: { allow: \"*:*\", plans: gold }"));
    let base = plans(super::BASE);
    assert!(role.roles["admin"].plans.is_some() && base.roles["admin"].plans.is_none());
    assert_ne!(role.fingerprint, base.fingerprint);
    fault(&with(admin, "  admin: { allow: \"*:*\", plans: ⟦[] }"), "bad_value");
}

/// A role that a tenant adjusts may begin with nothing, and so may one that says what its holders are members of.
#[test]
fn a_role_that_may_do_nothing_is_told_unless_it_is_there_for_something_else() {
    let admin = "  admin: { allow: \"*:*\" }";
    let types = "resource_types:\n  form: {}\n";
    for (more, told) in [("", true), (", adjustable: true", false), (", joins: [form]", false)] {
        let text = with(admin, &format!("{admin}\n  guest: {{ allow: []{more} }}")) + types;
        let (_, warnings) = load(&text).unwrap_or_else(|faults| panic!("{faults}"));
        let nothing = warnings.iter().any(|told| told.message.contains("may do nothing"));
        assert_eq!(nothing, told, "{more}: {warnings:?}");
    }
}
