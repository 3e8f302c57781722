//! What a line of the map says is what happens: rewrites, bounds, environments, preflights, members who are recorded.

use std::time::Instant;

use crate::{client::Reply, world::*};

const ORDERS: &str = "- { route: \"GET /t/{tenant}/orders\", permission: orders:read }";

/// A world with more lines in the map.
fn with(lines: &'static str) -> World {
    World::of(Plan::default().edit(ORDERS, lines))
}

fn preflight(world: &World, target: &str, more: &str) -> Reply {
    world.ask("OPTIONS", target, "", &format!("Origin: https://shop.example\r\n{more}"))
}

#[test]
fn a_rewritten_path_is_what_the_application_sees_and_its_query_stays() {
    let plan = Plan::default().edit(
        "    headers: { X-Remote-User",
        "    strip_prefix: /t\n    add_prefix: /api/v2\n    headers: { X-Remote-User",
    );
    let world = World::of(plan.edit("GET /public/{*rest}", "GET /t/{tenant}/public/{*rest}"));
    let admin = world.people.admin("acme");
    assert_eq!(world.get("/t/acme/orders?a=%2Ft%2F..&b=?", &admin).status, 200);
    assert_eq!(world.upstream.last().line(), "GET /api/v2/acme/orders?a=%2Ft%2F..&b=? HTTP/1.1");
    assert_eq!(world.get("/t/acme/public/a/b/", "").status, 200);
    assert_eq!(world.upstream.last().line(), "GET /api/v2/acme/public/a/b/ HTTP/1.1");
    // What a tail takes may grow past what any path may have; then nothing goes out.
    let seen = world.upstream.seen().len();
    assert_eq!(world.get(&format!("/t/acme/public{}", "/a".repeat(60)), "").status, 200);
    let deep = world.get(&format!("/t/acme/public{}", "/a".repeat(61)), "");
    assert_eq!((deep.status, deep.code()), (400, "path_not_rewritten".to_owned()));
    // Staff: the record names the path that was decided on, the application gets the other.
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    assert_eq!(world.get("/t/acme/orders", &agent).status, 200);
    assert_eq!(world.upstream.last().line(), "GET /api/v2/acme/orders HTTP/1.1");
    assert_eq!(world.upstream.seen().len(), seen + 2);
    assert_eq!(world.of_kind("access.intent").pop().unwrap()["path"], "/t/acme/orders");
    world.finish();
}

#[test]
fn bodies_past_the_bound_of_their_route_are_refused_however_they_come() {
    let world = with(
        "- { route: \"GET /t/{tenant}/orders\", permission: orders:read }\n  - { route: \"POST /t/{tenant}/notes\", permission: orders:write, limits: { request_body: 4 B } }",
    );
    let admin = world.people.admin("acme");
    let post = |more: &str| world.ask("POST", "/t/acme/notes?do=taken", &admin, more);
    assert_eq!(post("Content-Length: 4\r\n\r\nfour").text(), "4");
    let seen = world.upstream.seen().len();
    let long = post("Content-Length: 5\r\n\r\nfive!");
    assert_eq!((long.status, long.code()), (413, "body_too_large".to_owned()));
    assert_eq!(world.upstream.seen().len(), seen, "nothing of it goes out");
    assert_eq!(post("Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n").status, 200);
    let long = post("Transfer-Encoding: chunked\r\n\r\n3\r\nfiv\r\n2\r\ne!\r\n0\r\n\r\n");
    assert_eq!((long.status, long.code()), (413, "body_too_large".to_owned()));
    world.finish();
}

#[test]
fn a_route_has_deadlines_of_its_own() {
    let world = with(
        "- { route: \"GET /t/{tenant}/orders\", permission: orders:read, limits: { response_timeout: 200ms } }\n  - { route: \"GET /t/{tenant}/feed\", permission: orders:read, limits: { total: 300ms } }",
    );
    let admin = world.people.admin("acme");
    let began = Instant::now();
    let slow = world.get("/t/acme/orders?do=stall", &admin);
    assert_eq!((slow.status, slow.code()), (504, "upstream_timeout".to_owned()));
    let late = world.get("/t/acme/feed?do=stall", &admin);
    assert_eq!((late.status, late.code()), (504, "route_timeout".to_owned()));
    // Of an answer that runs, the connection is cut instead.
    let mut client = world.client();
    client.send(request("GET", "/t/acme/feed?do=forever", &admin, ""));
    assert!(client.head().starts_with("HTTP/1.1 200"));
    let (ending, _) = client.read_out();
    assert!(matches!(ending, crate::client::Ending::Reset), "{ending:?}");
    assert!(began.elapsed().as_secs() < 3, "the upstream's own bound is three seconds");
    world.finish();
}

#[test]
fn a_route_exists_only_in_its_environments() {
    let world = with(
        "- { route: \"GET /t/{tenant}/orders\", permission: orders:read, environments: [sandbox] }\n  - { route: \"GET /try/{*rest}\", public: true, environments: [sandbox] }",
    );
    let admin = world.people.admin("acme");
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    for (target, who) in [("/t/acme/orders", &admin), ("/t/acme/orders", &agent), ("/try/x", &String::new())]
    {
        let refused = world.get(target, who);
        assert_eq!((refused.status, refused.code()), (403, "route_elsewhere".to_owned()), "{target}");
    }
    assert!(world.upstream.seen().is_empty());
    let sandbox = "X-Environment: sandbox\r\n";
    assert_eq!(world.ask("GET", "/t/acme/orders", &admin, sandbox).status, 200);
    assert_eq!(world.ask("GET", "/try/x", "", sandbox).status, 200);
    world.finish();
}

#[test]
fn preflights_are_answered_forwarded_or_refused_as_the_map_says() {
    let world = World::of(
        Plan::default()
            .edit(
                ORDERS,
                "- { route: \"GET /t/{tenant}/orders\", permission: orders:read }\n  - { route: \"GET,POST /t/{tenant}/own\", permission: orders:write, preflight: forward }\n  - { route: \"GET /t/{tenant}/shut\", permission: orders:read, preflight: refuse }",
            )
            .edit(
                "limits: { drain",
                "cors: { origins: [\"https://shop.example\"], headers: [X-Id, X-Other], credentials: true, max_age: 1m }\nlimits: { drain",
            ),
    );
    let asks = "Access-Control-Request-Method: GET\r\n";
    let answer = preflight(&world, "/t/acme/orders", asks);
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.values("access-control-allow-origin"), ["https://shop.example"]);
    assert_eq!(answer.values("access-control-allow-methods"), ["GET"]);
    assert_eq!(answer.values("access-control-allow-headers"), ["x-id, x-other"]);
    assert_eq!(answer.values("access-control-allow-credentials"), ["true"]);
    assert_eq!(answer.values("access-control-max-age"), ["60"]);
    let foreign = world.ask(
        "OPTIONS",
        "/t/acme/orders",
        "",
        &format!("Origin: https://shop.example.evil.example\r\n{asks}"),
    );
    assert_eq!((foreign.status, foreign.code()), (403, "preflight_origin".to_owned()));
    assert!(foreign.values("access-control-allow-origin").is_empty());
    // What is no preflight, or asks for what the map does not have, is a request like any other.
    for (target, more) in [
        ("/t/acme/orders", "Access-Control-Request-Method: DELETE\r\n"),
        ("/t/acme/orders", "Access-Control-Request-Method: OPTIONS\r\n"),
        ("/t/acme/orders", ""),
        ("/t/acme/orders", "Access-Control-Request-Method: GET\r\nContent-Length: 1\r\n\r\nx"),
        ("/t/acme/Orders", asks),
        ("/t/acme/none", asks),
        ("/t/acme/shut", asks),
    ] {
        let refused = preflight(&world, target, more);
        assert_eq!((refused.status, refused.code()), (401, "token_missing".to_owned()), "{target} {more}");
    }
    assert!(world.upstream.seen().is_empty());
    // Forwarded, but not in anybody's name.
    let agent = world.people.staff("sam");
    for token in [String::new(), agent, world.people.admin("acme")] {
        let more = "Origin: https://any.example\r\nCookie: a=b\r\nX-User: root\r\nAccess-Control-Request-Method: POST\r\n";
        assert_eq!(world.ask("OPTIONS", "/t/acme/own", &token, more).status, 200);
        let seen = world.upstream.last();
        assert_eq!(seen.line(), "OPTIONS /t/acme/own HTTP/1.1");
        assert_eq!(seen.values("origin"), ["https://any.example"]);
        for gone in ["authorization", "cookie", "x-user", "x-remote-user", "postern-assertion"] {
            assert!(seen.values(gone).is_empty(), "{gone}: {}", seen.head);
        }
    }
    world.finish();
}

#[test]
fn members_are_recorded_where_the_map_says_so() {
    let world = with(
        "- { route: \"GET /t/{tenant}/orders\", permission: orders:read }\n  - { name: payroll, route: \"GET /t/{tenant}/payroll\", permission: orders:read, record: true }",
    );
    let admin = world.people.admin("acme");
    assert_eq!(world.get("/t/acme/orders", &admin).status, 200);
    assert_eq!(world.get("/t/acme/payroll", &admin).text(), "hello");
    let refused = world.get("/t/acme/payroll", &world.people.member("x", "acme", &["none"]));
    assert_eq!((refused.status, refused.code()), (403, "permission_missing".to_owned()));
    assert_eq!(world.get("/t/globex/payroll", &admin).code(), "tenant_foreign");
    // One that runs is on record before its end.
    let mut client = world.client();
    client.send(request("GET", "/t/acme/payroll?do=forever", &admin, ""));
    assert!(client.head().starts_with("HTTP/1.1 200"));
    assert_eq!(world.of_kind("access.intent").len(), 2);
    drop(client);
    until("the outcome is written", || world.of_kind("access.outcome").len() == 2);
    let records = world.finish();
    let intents: Vec<_> = records.iter().filter(|record| record["kind"] == "access.intent").collect();
    assert_eq!(intents.len(), 2);
    let intent = intents[0];
    assert_eq!(intent["route"], "payroll");
    assert_eq!(intent["tenant"], "acme");
    assert_eq!(intent["reason"], "member_role");
    assert_eq!(intent["roles"], serde_json::json!(["admin"]));
    assert!(intent.get("session").is_none() && intent.get("basis").is_none());
    let outcomes: Vec<_> = records.iter().filter(|record| record["kind"] == "access.outcome").collect();
    assert_eq!((&outcomes[0]["end"], &outcomes[0]["sent"]), (&"complete".into(), &5.into()));
    assert_eq!(outcomes[1]["end"], "client_gone");
}

#[test]
fn recorded_members_outlive_every_change_of_consent() {
    let world = with("- { route: \"GET /t/{tenant}/orders\", permission: orders:read, record: true }");
    let admin = world.people.admin("acme");
    let mut client = world.client();
    client.send(request("GET", "/t/acme/orders?do=forever", &admin, ""));
    assert!(client.head().starts_with("HTTP/1.1 200"));
    world.done(World::consent("acme", "block"), &admin);
    for _ in 0..64 {
        assert!(matches!(client.more(), crate::client::Ending::Open), "it runs on");
    }
    drop(client);
    until("the outcome is written", || world.of_kind("access.outcome").len() == 1);
    world.finish();
}
