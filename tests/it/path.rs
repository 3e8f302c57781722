//! Who passes, who does not, and what the application hears.

use postern::{
    identity::{Algorithm, Signer},
    lifecycle::{Until, WantedBasis},
    model::Span,
};

use crate::{client::Ending, world::*};

// GW-03
#[test]
fn a_member_reads_and_writes_by_their_role() {
    let world = World::start();
    let admin = world.people.admin("acme");
    let reader = world.people.member("rita", "acme", &["read_only"]);
    assert_eq!(world.get("/t/acme/orders", &admin).text(), "hello");
    assert_eq!(world.get("/t/acme/orders", &reader).status, 200);
    let put = world.ask("PUT", "/t/acme/orders/7?do=taken", &admin, "Content-Length: 5\r\n\r\nhello");
    assert_eq!((put.status, put.text()), (200, "5".to_owned()));
    let refused = world.ask("PUT", "/t/acme/orders/7?do=taken", &reader, "Content-Length: 0\r\n");
    assert_eq!((refused.status, refused.code()), (403, "permission_missing".to_owned()));
    assert_eq!(world.upstream.seen().len(), 3);
    let records = world.finish();
    assert!(records.iter().all(|record| record["kind"] != "access.intent"), "members are not recorded");
}

#[test]
fn staff_without_a_session_reach_nothing_and_with_one_what_the_tenant_consented_to() {
    let world = World::start();
    let agent = world.people.staff("sam");
    let refused = world.get("/t/acme/orders", &agent);
    assert_eq!((refused.status, refused.code()), (403, "session_missing".to_owned()));
    assert!(world.upstream.seen().is_empty());
    let session = world.start_session("acme", &agent);
    let read = world.get("/t/acme/orders", &agent);
    assert_eq!((read.status, read.text()), (200, "hello".to_owned()));
    assert_eq!(read.values("cache-control"), ["no-store"]);
    let write = world.ask("PUT", "/t/acme/orders/7", &agent, "Content-Length: 5\r\n\r\nhello");
    assert_eq!((write.status, write.code()), (403, "permission_missing".to_owned()));
    assert_eq!(world.upstream.seen().len(), 1);
    world.done(World::end("acme", &session), &world.people.admin("acme"));
    assert_eq!(world.get("/t/acme/orders", &agent).code(), "session_missing");
    let named = world.ask("GET", "/t/acme/orders", &agent, &format!("Postern-Session: {session}\r\n"));
    assert_eq!(named.code(), "session_ended");
    let outcome = world.last_outcome();
    assert_eq!((outcome["end"].as_str(), outcome["sent"].as_u64()), (Some("complete"), Some(5)));
    world.finish();
}

#[test]
fn refusals_have_their_status_and_code_and_reach_nobody() {
    let world = World::start();
    let agent = world.people.staff("sam");
    let reader = world.people.member("rita", "acme", &["read_only"]);
    let mut expired = world.people.staff_claims("sam");
    expired["exp"] = (world.people.now_ms() / 1000 - 60).into();
    expired["iat"] = (world.people.now_ms() / 1000 - 600).into();
    let expired = world.people.keys.vendor.sign("at+jwt", &expired).unwrap();
    let forged = Signer::generate(Algorithm::Es256).unwrap();
    let forged = forged.sign("at+jwt", &world.people.staff_claims("sam")).unwrap();
    let assertion =
        world.people.keys.assertion.sign("postern-assertion+jwt", &world.people.staff_claims("sam"));
    let sandbox = "X-Environment: sandbox\r\n";
    let cases = [
        ("GET", "/t/acme/orders", "", "", 401, "token_missing"),
        ("GET", "/t/acme/orders", "nonsense", "", 401, "token_invalid"),
        ("GET", "/t/acme/orders", expired.as_str(), "", 401, "token_invalid"),
        ("GET", "/t/acme/orders", forged.as_str(), "", 401, "token_invalid"),
        ("GET", "/t/acme/orders", assertion.as_ref().unwrap(), "", 401, "token_invalid"),
        ("GET", "/t/globex/orders", reader.as_str(), "", 403, "tenant_foreign"),
        ("GET", "/t/nowhere/orders", reader.as_str(), "", 403, "tenant_foreign"),
        ("GET", "/t/acme/orders", reader.as_str(), "X-Environment: moon\r\n", 403, "environment_unknown"),
        (
            "GET",
            "/t/acme/orders",
            reader.as_str(),
            "X-Environment: sandbox\r\nX-Environment: production\r\n",
            403,
            "environment_unknown",
        ),
        ("GET", "/t/acme/orders", reader.as_str(), "X_Environment: sandbox\r\n", 403, "environment_unknown"),
        ("DELETE", "/t/acme/orders", agent.as_str(), "", 403, "method_unmapped"),
        ("GET", "/t/acme/secrets", reader.as_str(), "", 403, "route_unmapped"),
        ("DELETE", "/t/acme/orders", reader.as_str(), "", 403, "method_unmapped"),
        ("GET", "/t/acme/orders", agent.as_str(), "", 403, "session_missing"),
        ("GET", "/t/nowhere/orders", agent.as_str(), "", 403, "session_missing"),
        ("GET", "/t/acme/orders", agent.as_str(), sandbox, 403, "session_missing"),
        ("GET", "/t/acme/orders", agent.as_str(), "Postern-Session: ses_nobody\r\n", 403, "session_missing"),
        (
            "GET",
            "/t/acme/orders",
            agent.as_str(),
            "Postern-Session: a\r\nPostern-Session: b\r\n",
            400,
            "header_duplicate",
        ),
        ("POST", "/t/acme/users", agent.as_str(), "Content-Length: 0\r\n", 403, "ceiling"),
        ("GET", "/t/acme/secrets", agent.as_str(), "", 403, "route_unmapped"),
    ];
    for (method, target, token, more, status, code) in cases {
        let reply = world.ask(method, target, token, more);
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{method} {target} {more}");
        assert_eq!(reply.values("content-type"), ["application/problem+json"]);
        assert_eq!(reply.values("cache-control"), ["no-store"]);
        assert_eq!(status == 401, !reply.values("www-authenticate").is_empty());
    }
    assert_eq!(world.upstream.received(), 0);
    world.finish();
}

#[test]
fn sessions_hold_in_their_tenant_and_environment_only_and_ambiguity_is_said() {
    let world = World::start();
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    assert_eq!(world.get("/t/acme/orders", &agent).status, 200);
    assert_eq!(world.get("/t/globex/orders", &agent).code(), "session_missing");
    let sandbox = world.ask("GET", "/t/acme/orders", &agent, "X-Environment: sandbox\r\n");
    assert_eq!(sandbox.code(), "session_missing");
    assert_eq!(world.get("/t/acme/orders", &world.people.staff("olga")).code(), "session_missing");
    let grant = world.make_grant("acme", "editor", Until::For(Span::Millis(3_600_000)));
    let by_grant = world.session_on("acme", &agent, WantedBasis::Grant(grant), None);
    let reply = world.get("/t/acme/orders", &agent);
    assert_eq!((reply.status, reply.code()), (409, "session_ambiguous".to_owned()));
    let named = format!("Postern-Session: {by_grant}\r\nContent-Length: 0\r\n");
    assert_eq!(world.ask("PUT", "/t/acme/orders/7", &agent, &named).status, 200);
    assert!(world.upstream.last().values("postern-session").is_empty());
    let theirs = world.ask("PUT", "/t/acme/orders/7", &world.people.staff("olga"), &named);
    assert_eq!(theirs.code(), "session_missing", "a session id is no credential");
    world.finish();
}

// GW-18
#[test]
fn the_application_hears_only_what_the_gateway_says() {
    let world = World::of(
        Plan::default().edit("    connect_timeout: 1s\n", "    connect_timeout: 1s\n    assert: everyone\n"),
    );
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    let session = world.start_session("acme", &agent);
    // With a sign that no token holds: one in a thousand spells any short word.
    let lies = "X-User: ro~ot\r\nx-user: ro~ot\r\nX_User: ro~ot\r\nx_USER: ro~ot\r\nX-Remote-User: ro~ot\r\n\
        x_remote_user: ro~ot\r\nPostern-Assertion: for~ged\r\npostern_assertion: for~ged\r\nX-Ok: stays\r\n\
        Cookie: sid=secret\r\nConnection: X-Dropped, X-Remote-User, X-User\r\nX-Dropped: x\r\n\
        Proxy-Authorization: Basic eA==\r\nTE: trailers\r\nKeep-Alive: timeout=9\r\n";
    for (token, staff) in [(&admin, false), (&agent, true)] {
        let reply = world.ask("GET", "/t/acme/orders?a=%2F&b=c", token, lies);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let seen = world.upstream.last();
        assert_eq!(seen.line(), "GET /t/acme/orders?a=%2F&b=c HTTP/1.1");
        let head = seen.head.to_ascii_lowercase();
        assert!(!head.contains("ro~ot") && !head.contains("for~ged"), "{head}");
        assert!(
            !head.contains("x-dropped") && !head.contains("keep-alive") && !head.contains("proxy-"),
            "{head}"
        );
        assert_eq!(seen.values("x-ok"), ["stays"]);
        assert_eq!(seen.values("x-remote-user"), [if staff { "sam" } else { "acme-admin" }]);
        assert_eq!(seen.values("cookie").is_empty(), staff, "{head}");
        assert_eq!(seen.values("authorization").is_empty(), staff, "{head}");
        let assertions = seen.values("postern-assertion");
        assert_eq!(assertions.len(), 1);
        let claims = assertion(&world, &assertions[0]);
        assert_eq!(claims["aud"], "app");
        assert_eq!((&claims["method"], &claims["path"]), (&"GET".into(), &"/t/acme/orders".into()));
        assert_eq!((&claims["tenant"], &claims["env"]), (&"acme".into(), &"production".into()));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 30);
        if staff {
            assert_eq!((&claims["sub"], &claims["kind"]), (&"sam".into(), &"staff".into()));
            assert_eq!(
                (&claims["session"], &claims["role"]),
                (&session.as_str().into(), &"read_only".into())
            );
        }
    }
    // Two requests, two assertions.
    world.get("/t/acme/orders", &agent);
    let seen = world.upstream.seen();
    let ids: std::collections::BTreeSet<String> = seen
        .iter()
        .map(|seen| assertion(&world, &seen.values("postern-assertion")[0])["jti"].to_string())
        .collect();
    assert_eq!(ids.len(), seen.len());
    world.finish();
}

#[test]
fn members_are_asserted_only_where_the_configuration_says_so() {
    let world = World::start();
    world.ask("GET", "/t/acme/orders", &world.people.admin("acme"), "Postern-Assertion: forged\r\n");
    let seen = world.upstream.last();
    assert!(seen.values("postern-assertion").is_empty(), "{}", seen.head);
    world.finish();
}

/// Verifies an assertion as an application would: by the published key, its type pinned.
fn assertion(world: &World, token: &str) -> serde_json::Value {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let jwk = world.people.keys.assertion.public_jwk();
    let mut point = vec![4u8];
    point.extend(URL_SAFE_NO_PAD.decode(jwk.x).unwrap());
    point.extend(URL_SAFE_NO_PAD.decode(jwk.y.unwrap()).unwrap());
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
        .expect("the assertion is signed by the gateway");
    let (header, claims) = signed.split_once('.').unwrap();
    let header: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    assert_eq!(header["typ"], "postern-assertion+jwt");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[test]
fn public_routes_are_open_and_hear_of_nobody() {
    let world = World::start();
    let agent = world.people.staff("sam");
    for token in ["", agent.as_str(), "nonsense"] {
        let reply = world.ask("GET", "/public/logo", token, "X-User: root\r\n");
        assert_eq!(reply.status, 200);
        let seen = world.upstream.last();
        assert!(seen.values("postern-assertion").is_empty() && seen.values("x-remote-user").is_empty());
        assert!(seen.values("authorization").is_empty() && seen.values("x-user").is_empty(), "{}", seen.head);
    }
    world.finish();
}

#[test]
fn of_staff_no_cookie_comes_back_and_nothing_is_kept_anywhere() {
    let world = World::start();
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    world.start_session("acme", &agent);
    let reply = world.get("/t/acme/orders?do=cookie", &agent);
    assert!(reply.values("set-cookie").is_empty());
    assert_eq!(reply.values("cache-control"), ["no-store"]);
    // Nor where the map is open to everybody.
    let reply = world.get("/public/logo?do=cookie", &agent);
    assert!(reply.values("set-cookie").is_empty());
    assert_eq!(reply.values("cache-control"), ["no-store"]);
    let reply = world.get("/t/acme/orders?do=cookie", &admin);
    assert_eq!(reply.values("set-cookie").len(), 2);
    assert_eq!(reply.values("cache-control"), ["public, max-age=60"]);
    world.finish();
}

#[test]
fn requests_that_come_together_are_decided_one_after_another() {
    let world = World::start();
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    world.start_session("acme", &agent);
    let mut client = world.client();
    let mut all = request("GET", "/t/acme/orders", &agent, "");
    all += &request("GET", "/t/acme/orders", "", "");
    all += &request("PUT", "/t/acme/orders/1?do=taken", &admin, "Content-Length: 3\r\n\r\nabc")
        .replace("abc\r\n", "abc");
    all += &request("GET", "/t/globex/orders", &agent, "");
    all += &request("GET", "/t/acme/orders?do=chunked&n=100000", &agent, "");
    client.send(&all);
    assert_eq!(client.reply().text(), "hello");
    assert_eq!(client.reply().code(), "token_missing");
    assert_eq!(client.reply().text(), "3");
    assert_eq!(client.reply().code(), "session_missing");
    assert_eq!(client.reply().body.len(), 100_000);
    // Byte for byte, one at a time.
    for byte in request("GET", "/t/acme/orders", &agent, "").as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.reply().text(), "hello");
    world.finish();
}

// GW-01
#[test]
fn versions_methods_and_framings_pass_as_they_are_meant() {
    let world = World::start();
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    world.start_session("acme", &agent);
    // HEAD needs what GET needs, and its answer has no body.
    let mut client = world.client();
    client.send(request("HEAD", "/t/acme/orders?do=head", &agent, ""));
    let reply = client.reply_to(true);
    assert_eq!((reply.status, reply.values("content-length")), (200, vec!["5000".to_owned()]));
    client.send(request("GET", "/t/acme/orders", &agent, ""));
    assert_eq!(client.reply().text(), "hello", "the connection is in step after HEAD");
    // HTTP/1.0 closes, unless it asks otherwise.
    let mut old = world.client();
    old.send(request("GET", "/t/acme/orders?do=chunked&n=70000", &agent, "").replace("HTTP/1.1", "HTTP/1.0"));
    let reply = old.reply();
    assert!(reply.values("transfer-encoding").is_empty(), "{}", reply.head);
    assert_eq!(reply.body.len(), 70_000);
    let mut kept = world.client();
    for _ in 0..2 {
        let text = request("GET", "/t/acme/orders", &agent, "Connection: keep-alive\r\n");
        kept.send(text.replace("HTTP/1.1", "HTTP/1.0"));
        assert_eq!(kept.reply().text(), "hello");
    }
    // Chunked both ways, extensions and trailers dropped.
    let mut client = world.client();
    let chunked = "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n5\r\nhello\r\n0\r\nX-User: root\r\n\r\n";
    let head = request("POST", "/t/acme/orders?do=taken", &admin, chunked);
    client.send(head.strip_suffix("\r\n").unwrap());
    assert_eq!(client.reply().status, 200);
    let seen = world.upstream.last();
    let body = String::from_utf8(seen.body).unwrap();
    assert!(!body.contains("root") && !body.contains("x=y"), "{body}");
    assert!(body.contains("abc") && body.contains("hello"), "{body}");
    client.send(request("GET", "/t/acme/orders?do=chunked&n=300000", &admin, ""));
    let reply = client.reply();
    assert_eq!(reply.body.len(), 300_000);
    assert!(!reply.head.to_ascii_lowercase().contains("x-user"));
    // Without a length, to the end.
    let reply = world.get("/t/acme/orders?do=until-close", &agent);
    assert_eq!((reply.status, reply.text()), (200, "to the end".to_owned()));
    assert_eq!(world.get("/t/acme/orders?do=interim", &agent).text(), "hello");
    for method in ["TRACE", "CONNECT"] {
        let seen = world.upstream.seen().len();
        assert!(world.ask(method, "/t/acme/orders", &admin, "").status >= 400);
        assert_eq!(world.upstream.seen().len(), seen);
    }
    world.finish();
}

#[test]
fn continue_is_said_after_admission_only() {
    let world = World::start();
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    world.done(World::consent("acme", "edit"), &admin);
    let expect = "Content-Length: 5\r\nExpect: 100-continue\r\n";
    let mut client = world.client();
    client.send(request("POST", "/t/acme/orders?do=taken", &agent, expect));
    let refused = client.reply();
    assert_eq!((refused.status, refused.code()), (403, "session_missing".to_owned()));
    world.start_session("acme", &agent);
    for token in [&agent, &admin] {
        let mut client = world.client();
        client.send(request("POST", "/t/acme/orders?do=taken", token, expect));
        assert!(client.head().starts_with("HTTP/1.1 100 "));
        client.send("hello");
        assert_eq!(client.reply().text(), "5");
        assert!(world.upstream.last().values("expect").is_empty());
    }
    let outcome = world.last_outcome();
    assert_eq!((outcome["received"].as_u64(), outcome["sent"].as_u64()), (Some(5), Some(1)));
    world.finish();
}

// GW-01
#[test]
fn large_bodies_pass_whole_both_ways_and_are_counted() {
    let world = World::start();
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    world.done(World::consent("acme", "edit"), &admin);
    world.start_session("acme", &agent);
    let size = 8_000_000;
    let mut client = world.client();
    client.send(request("GET", &format!("/t/acme/download?do=bytes&n={size}"), &agent, ""));
    let reply = client.reply();
    assert_eq!(reply.body.len(), size);
    let whole = (0..size).step_by(64 << 10).all(|at| {
        let end = (at + (64 << 10)).min(size);
        reply.body[at..end] == crate::upstream::pattern(end - at)[..]
    });
    assert!(whole, "bytes were changed on the way");
    assert_eq!(world.last_outcome()["sent"], size);
    let mut body = request("POST", "/t/acme/orders?do=taken", &agent, &format!("Content-Length: {size}\r\n"));
    let mut sender = client.stream.try_clone().unwrap();
    body.push_str(&"z".repeat(size));
    let sending =
        std::thread::spawn(move || std::io::Write::write_all(&mut sender, body.as_bytes()).unwrap());
    assert_eq!(client.reply().text(), size.to_string());
    sending.join().unwrap();
    until("it is counted", || {
        world.of_kind("access.outcome").iter().any(|outcome| outcome["received"] == size)
    });
    // An application that answers while the client still sends.
    let mut client = world.client();
    client.send(request("POST", "/t/acme/orders?do=early", &agent, "Content-Length: 900000\r\n"));
    client.send(vec![1u8; 30_000]);
    let reply = client.reply();
    assert_eq!((reply.status, reply.text()), (413, "big".to_owned()));
    assert_eq!(world.last_outcome()["end"], "complete");
    world.finish();
}

#[test]
fn an_application_that_misbehaves_is_answered_for_and_recorded() {
    let world = World::start();
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    for (deed, status, code) in [
        ("hang-up", 502, "upstream_closed"),
        ("half-head", 502, "upstream_head_cut_off"),
        ("garbage", 502, ""),
        ("two-lengths", 502, ""),
        ("long-head", 502, ""),
        ("switch", 502, "upstream_switched_unasked"),
        ("stall", 504, "upstream_timeout"),
    ] {
        let reply = world.get(&format!("/t/acme/orders?do={deed}"), &agent);
        assert_eq!(reply.status, status, "{deed} {}", reply.text());
        assert!(code.is_empty() || reply.code() == code, "{deed} {}", reply.code());
        assert!(!reply.code().is_empty() && reply.values("cache-control") == ["no-store"], "{deed}");
        let outcome = world.last_outcome();
        assert_eq!(
            (outcome["end"].as_str(), outcome["fault"].as_str()),
            (Some("upstream_failed"), Some(reply.code().as_str())),
            "{deed}"
        );
    }
    // Once the answer has begun, a reset is the only way to say that it is not whole.
    for deed in ["half-body", "half-chunk", "bad-chunk"] {
        let mut client = world.client();
        client.send(request("GET", &format!("/t/acme/orders?do={deed}"), &agent, ""));
        let mut how = Ending::Open;
        while how == Ending::Open && !client.inbox.starts_with(b"HTTP/1.1 502") {
            how = client.more();
        }
        assert_ne!(how, Ending::Closed, "{deed}: a client could take it for whole");
        assert_eq!(world.last_outcome()["end"], "upstream_failed", "{deed}");
    }
    // Nothing of a connection that is out of step reaches the next request.
    for deed in ["one-shot", "unasked"] {
        for _ in 0..5 {
            let ended = world.upstream.notes.ended.load(std::sync::atomic::Ordering::SeqCst);
            let reply = world.get(&format!("/t/acme/orders?do={deed}"), &agent);
            assert_eq!((reply.status, reply.text()), (200, "hello".to_owned()), "{deed}");
            // What hangs up only when the next request is on its way is lost with it: that cannot be sent twice.
            if deed == "one-shot" {
                until("it has hung up", || {
                    world.upstream.notes.ended.load(std::sync::atomic::Ordering::SeqCst) > ended
                });
            }
            let reply = world.get("/t/acme/orders?do=bytes&n=3", &agent);
            assert_eq!((reply.status, reply.body.len()), (200, 3), "after {deed}: {}", reply.text());
        }
    }
    world.finish();
}

#[test]
fn an_application_that_is_down_is_a_502_for_everybody() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::of(Plan { upstream: Some(nobody), ..Plan::default() });
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    world.start_session("acme", &agent);
    for token in [&admin, &agent] {
        let reply = world.get("/t/acme/orders", token);
        assert_eq!((reply.status, reply.code()), (502, "upstream_unreachable".to_owned()));
    }
    assert_eq!(world.last_outcome()["fault"], "upstream_unreachable");
    world.finish();
}

#[test]
fn requests_that_can_be_read_in_two_ways_are_refused() {
    let world = World::start();
    let admin = world.people.admin("acme");
    let good = request("GET", "/t/acme/orders", &admin, "");
    let post = |more: &str| request("POST", "/t/acme/orders?do=taken", &admin, more);
    let second = format!("Authorization: Bearer {}\r\n", world.people.member("eve", "acme", &[]));
    let bad = [
        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        post("Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        post("Content-Length: +5\r\n\r\nhello"),
        post("Content-Length: 5, 5\r\n\r\nhello"),
        post("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        post("Transfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc"),
        good.replace("Host: app.example\r\n", ""),
        good.replace("Host: app.example\r\n", "Host: app.example\r\nHost: other.example\r\n"),
        good.replace("Host: app.example\r\n", "Host : app.example\r\n"),
        good.replace("\r\n\r\n", "\r\n folded: yes\r\n\r\n"),
        good.replace("\r\n\r\n", "\r\nX-Nul: a\0b\r\n\r\n"),
        good.replace("HTTP/1.1", "HTTP/1.2"),
        good.replace("GET /t", "GET  /t"),
        good.replace("\r\n\r\n", &format!("\r\n{second}\r\n")),
        request("GET", "/t/acme/orders", &admin, "Connection: Authorization\r\n"),
        request("GET", "/t/acme/orders", &admin, "Connection: Postern-Assertion\r\n"),
        request("GET", "/t/acme/../globex/orders", &admin, ""),
        request("GET", "/t/acme//orders", &admin, ""),
        request("GET", "/t/acme/%2e%2e/orders", &admin, ""),
        request("GET", "/t/acme%2forders", &admin, ""),
        request("GET", "/t/acme/orders#x", &admin, ""),
        request("GET", "/t/acme/orders;a=b", &admin, ""),
        request("GET", "/t/acme\\orders", &admin, ""),
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    ];
    for text in bad {
        let mut client = world.client();
        client.send(&text);
        let reply = client.reply();
        let refused = (400..=505).contains(&reply.status) && !reply.code().is_empty();
        assert!(refused, "{} for {text:?}", reply.head);
    }
    let seen: Vec<_> = world.upstream.seen().iter().map(|seen| seen.line().to_owned()).collect();
    assert!(seen.is_empty(), "{seen:?}");
    // A body with broken chunks has been admitted already; it is never passed on as whole.
    let mut client = world.client();
    client.send(post("Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n"));
    let reply = client.reply();
    assert_eq!((reply.status, client.more()), (400, Ending::Closed), "{}", reply.text());
    world.finish();
}

#[test]
fn a_body_that_ends_early_ends_the_exchange_and_a_head_that_dawdles_the_connection() {
    let world = World::start();
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    world.done(World::consent("acme", "edit"), &admin);
    world.start_session("acme", &agent);
    let mut client = world.client();
    client.send(request("POST", "/t/acme/orders?do=taken", &agent, "Content-Length: 100\r\n"));
    client.send("only this");
    until("it is on its way", || !world.upstream.seen().is_empty());
    drop(client);
    let outcome = world.last_outcome();
    assert_eq!((outcome["end"].as_str(), outcome["received"].as_u64()), (Some("client_gone"), Some(9)));
    let mut slow = world.client();
    slow.send("GET /t/acme/orders HTT");
    let reply = slow.reply();
    assert_eq!((reply.status, reply.code()), (408, "head_too_slow".to_owned()));
    assert_eq!(slow.more(), Ending::Closed);
    world.finish();
}

#[test]
fn a_client_that_leaves_ends_its_exchange_and_the_applications_too() {
    let world = World::start();
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    for deed in ["stall", "forever", "events"] {
        let ended = world.upstream.notes.ended.load(std::sync::atomic::Ordering::SeqCst);
        let seen = world.upstream.seen().len();
        let mut client = world.client();
        client.send(request("GET", &format!("/t/acme/download?do={deed}"), &agent, ""));
        until("it is on its way", || world.upstream.seen().len() > seen);
        if deed != "stall" {
            client.head();
        }
        drop(client);
        assert_eq!(world.last_outcome()["end"], "client_gone", "{deed}");
        world.upstream.release();
        until("the application is let go of", || {
            world.upstream.notes.ended.load(std::sync::atomic::Ordering::SeqCst) > ended
        });
    }
    world.finish();
}

/// Also one that has sent so much ahead that nothing more is read from it.
#[test]
fn a_client_that_leaves_with_much_sent_ahead_does_not_hold_the_application() {
    let world = World::start();
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    world.start_session("acme", &agent);
    for token in [&admin, &agent] {
        let ended = world.upstream.notes.ended.load(std::sync::atomic::Ordering::SeqCst);
        let mut client = world.client();
        client.send(request("GET", "/t/acme/download?do=events", token, ""));
        client.head();
        let ahead = request("GET", "/t/acme/orders", token, "").repeat(200);
        client.send(ahead);
        drop(client);
        until("the application is let go of", || {
            world.upstream.notes.ended.load(std::sync::atomic::Ordering::SeqCst) > ended
        });
    }
    assert_eq!(world.last_outcome()["end"], "client_gone");
    assert_eq!(world.upstream.seen().len(), 2, "what was sent ahead goes nowhere");
    world.finish();
}

#[test]
fn a_request_of_which_a_byte_has_left_is_never_said_again() {
    let world = World::of(Plan::default().edit("workers: 2", "workers: 1"));
    let admin = world.people.admin("acme");
    let mut client = world.client();
    assert_eq!(client.send(request("GET", "/t/acme/orders", &admin, "")).reply().status, 200);
    // The kept connection dies with this one in hand: whether it was answered to, nobody can know.
    let lost = client.send(request("GET", "/t/acme/orders?do=hang-up", &admin, "")).reply();
    assert_eq!((lost.status, lost.code().as_str()), (502, "upstream_closed"));
    assert_eq!(world.upstream.seen().len(), 2);
    assert_eq!(world.upstream.notes.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert_eq!(client.send(request("GET", "/t/acme/orders", &admin, "")).reply().status, 200);
    assert_eq!(world.upstream.notes.connections.load(std::sync::atomic::Ordering::SeqCst), 2);
    world.finish();
}
