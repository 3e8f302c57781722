//! Doors that should not open: tenants named by header or host, tokens where they do not belong, names that cannot be
//! told, an application that answers twice.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
};

use serde_json::json;

use crate::world::*;

const BY_PATH: &str = "from: { path: tenant }";
fn by(source: &'static str) -> Plan {
    let mut plan = Plan::default().edit(BY_PATH, source);
    for (from, to) in [
        ("\"GET /t/{tenant}/orders\"", "\"GET /orders\""),
        ("\"GET /t/{tenant}/download\"", "\"GET /download\""),
        ("\"PUT /t/{tenant}/orders/{order}\"", "\"PUT /orders/{order}\""),
        ("\"POST /t/{tenant}/orders\"", "\"POST /orders\""),
        ("\"POST /t/{tenant}/users\"", "\"POST /users\""),
    ] {
        plan = plan.edit(from, to);
    }
    plan
}

#[test]
fn a_tenant_in_a_header_is_one_plain_header_or_none() {
    let world = World::of(by("from: { header: X-Tenant }"));
    let (admin, staff) = (world.people.admin("acme"), world.people.staff("sam"));
    world.start_session("acme", &staff);
    for (headers, member, agent) in [
        ("X-Tenant: acme\r\n", "", ""),
        ("", "tenant_missing", "tenant_missing"),
        ("X-Tenant: globex\r\n", "tenant_foreign", "session_missing"),
        ("X-Tenant: acme\r\nX-Tenant: acme\r\n", "tenant_unclear", "tenant_unclear"),
        ("X-Tenant: acme\r\nX-Tenant: globex\r\n", "tenant_unclear", "tenant_unclear"),
        ("X-Tenant: globex\r\nx_tenant: acme\r\n", "tenant_unclear", "tenant_unclear"),
        ("X_Tenant: acme\r\n", "tenant_unclear", "tenant_unclear"),
        ("X.Tenant: acme\r\n", "tenant_unclear", "tenant_unclear"),
        ("X-Tenant: acme\r\nConnection: x-tenant\r\n", "tenant_unclear", "tenant_unclear"),
        ("X-Tenant: acme\r\nConnection: close, X_Tenant\r\n", "tenant_unclear", "tenant_unclear"),
        ("X-Tenant: acme, globex\r\n", "tenant_foreign", "session_missing"),
        ("X-Tenant: ACME\r\n", "tenant_foreign", "session_missing"),
        ("X-Tenant: acme\t\r\n", "", ""),
        ("X-Tenant: \r\n", "tenant_foreign", "session_missing"),
        ("X-Tenant: acm\u{e9}\r\n", "tenant_foreign", "session_missing"),
    ] {
        for (token, code) in [(&admin, member), (&staff, agent)] {
            let before = world.upstream.seen().len();
            let reply = world.ask("GET", "/orders", token, headers);
            assert_eq!(reply.code(), code, "{headers:?}");
            let seen = &world.upstream.seen()[before..];
            assert_eq!(seen.len(), usize::from(code.is_empty()), "{headers:?}");
            assert!(seen.iter().all(|seen| seen.values("x-tenant") == ["acme"]), "{headers:?}: {seen:?}");
        }
    }
    world.finish();
}

#[test]
fn a_tenant_in_the_host_is_bound_to_the_token() {
    let world = World::of(by("from: { host: \"{tenant}.app.example\" }"));
    let (admin, staff) = (world.people.admin("acme"), world.people.staff("sam"));
    world.start_session("acme", &staff);
    for (host, member, agent) in [
        ("acme.app.example", "", ""),
        ("acme.APP.example:8080", "", ""),
        ("ACME.app.example", "tenant_foreign", "session_missing"),
        ("globex.app.example", "tenant_foreign", "session_missing"),
        ("app.example", "tenant_missing", "tenant_missing"),
        ("acme.app.example.evil.example", "tenant_missing", "tenant_missing"),
        ("x.acme.app.example", "tenant_missing", "tenant_missing"),
    ] {
        for (token, code) in [(&admin, member), (&staff, agent)] {
            let mut client = world.client();
            client.send(format!(
                "GET /orders HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
            ));
            assert_eq!(client.reply().code(), code, "{host}");
            // The other spelling of a target does not change whose it is.
            let mut client = world.client();
            client.send(format!(
                "GET http://{host}/orders HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
            ));
            assert_eq!(client.reply().code(), code, "{host}");
        }
    }
    world.finish();
}

#[test]
fn a_token_says_only_what_its_issuer_may_say() {
    let world = World::start();
    let staff = world.people.staff("sam");
    world.start_session("acme", &staff);
    let now = world.people.now_ms() / 1000;
    let keys = &world.people.keys;
    let member = json!({ "iss": "https://id.app.example", "aud": "app", "sub": "sam", "iat": now, "exp": now + 600,
        "tenant": "acme", "roles": ["admin"] });
    let vendor = world.people.staff_claims("sam");
    let with = |claims: &serde_json::Value, name: &str, value: serde_json::Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let tokens = [
        ("the member's, signed by the vendor", keys.vendor.sign("at+jwt", &member).unwrap()),
        ("the vendor's, signed for members", keys.app.sign("at+jwt", &vendor).unwrap()),
        ("for the other audience", keys.vendor.sign("at+jwt", &with(&vendor, "aud", json!("app"))).unwrap()),
        (
            "for the other audience, of members",
            keys.app.sign("at+jwt", &with(&member, "aud", json!("postern"))).unwrap(),
        ),
        (
            "of nobody's issuer",
            keys.app.sign("at+jwt", &with(&member, "iss", json!("https://id.app.example/"))).unwrap(),
        ),
        ("an assertion of our own", keys.assertion.sign("postern-assertion+jwt", &vendor).unwrap()),
        ("an assertion's type", keys.vendor.sign("postern-assertion+jwt", &vendor).unwrap()),
        ("not yet", keys.vendor.sign("at+jwt", &with(&vendor, "nbf", json!(now + 3600))).unwrap()),
        ("without an end", {
            let mut claims = vendor.clone();
            claims.as_object_mut().unwrap().remove("exp");
            keys.vendor.sign("at+jwt", &claims).unwrap()
        }),
    ];
    for (what, token) in tokens {
        assert_eq!(world.get("/t/acme/orders", &token).code(), "token_invalid", "{what}");
        let reply = world.get("/_postern/v1/me", &token);
        assert_eq!((reply.status, reply.code()), (401, "token_invalid".to_owned()), "{what}");
    }
    // A member who is called like the agent is somebody else, and so is an agent without the session.
    let namesake = keys.app.sign("at+jwt", &with(&member, "roles", json!([]))).unwrap();
    assert_eq!(world.get("/t/acme/orders", &namesake).code(), "permission_missing");
    assert_eq!(world.get("/t/acme/orders", &world.people.staff("Sam")).code(), "session_missing");
    // No tenant, no entry.
    let mut lost = member.clone();
    lost.as_object_mut().unwrap().remove("tenant");
    let lost = keys.app.sign("at+jwt", &lost).unwrap();
    assert!(
        ["tenant_foreign", "token_invalid"].contains(&world.get("/t/acme/orders", &lost).code().as_str())
    );
    assert!(world.upstream.seen().is_empty());
    world.finish();
}

// GW-18
#[test]
fn an_assertion_that_the_application_heard_opens_nothing() {
    let world = World::start();
    let staff = world.people.staff("sam");
    world.start_session("acme", &staff);
    assert_eq!(world.get("/t/acme/orders", &staff).status, 200);
    let heard = world.upstream.last().values("postern-assertion").pop().expect("staff are asserted");
    assert_eq!(world.get("/t/acme/orders", &heard).code(), "token_invalid");
    assert_eq!(world.upstream.seen().len(), 1);
    world.finish();
}

#[test]
fn a_name_that_no_header_can_carry_is_not_bent_into_one() {
    let world = World::start();
    for sub in ["a\r\nX-User: root", "a\nb", "a\u{0}b", "caf\u{e9}", " a", "a ", "a\tb", "\u{202e}a"] {
        let token = world.people.member(sub, "acme", &["admin"]);
        let reply = world.get("/t/acme/orders", &token);
        assert!(
            ["header_value_unfit", "token_invalid"].contains(&reply.code().as_str()),
            "{sub:?}: {} {}",
            reply.status,
            reply.text()
        );
    }
    for sub in ["a:b", "a,b;c=\"d\"", "a b", "%0d%0aX-User: root", "auth0|5f7"] {
        let before = world.upstream.seen().len();
        let reply = world.get("/t/acme/orders", &world.people.member(sub, "acme", &["admin"]));
        let seen = &world.upstream.seen()[before..];
        match seen {
            [] => assert!(reply.status >= 400, "{sub:?}"),
            [seen] => {
                assert_eq!(seen.values("x-remote-user"), [sub]);
                assert!(seen.values("x-user").is_empty());
            }
            _ => panic!("{sub:?}: {seen:?}"),
        }
    }
    // Of staff, the refusal stands in the ledger as the outcome of its intent.
    let mut claims = world.people.staff_claims("sam");
    claims["sub"] = json!("s\u{e9}m");
    let agent = world.people.keys.vendor.sign("at+jwt", &claims).unwrap();
    if world.get("/_postern/v1/me", &agent).status == 200 {
        world.start_session("acme", &agent);
        let before = world.upstream.seen().len();
        assert_eq!(world.get("/t/acme/orders", &agent).code(), "header_value_unfit");
        let outcome = world.last_outcome();
        assert_eq!(
            (&outcome["end"], &outcome["fault"]),
            (&json!("not_forwarded"), &json!("header_value_unfit"))
        );
        assert_eq!(world.upstream.seen().len(), before);
    }
    world.finish();
}

/// An application that answers each request with these bytes, and closes when told to.
fn answers(pieces: &'static [&'static [u8]], closes: bool) -> (std::net::SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let notes = Arc::clone(&notes);
            std::thread::spawn(move || {
                let mut piece = [0u8; 65536];
                while let Ok(count) = stream.read(&mut piece) {
                    if count == 0 {
                        return;
                    }
                    notes.lock().unwrap().extend_from_slice(&piece[..count]);
                    if stream.write_all(&pieces.concat()).is_err() {
                        return;
                    }
                    if closes {
                        return;
                    }
                }
            });
        }
    });
    (address, heard)
}

/// What an application answers each request with, what a client hears of it.
pub struct Odd {
    pub what: &'static str,
    pub pieces: &'static [&'static [u8]],
    pub closes: bool,
    pub status: u16,
    pub body: &'static str,
}

pub const ODD: [Odd; 11] = [
    Odd {
        what: "a second answer behind the first",
        pieces: &[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nspoof"],
        closes: false,
        status: 200,
        body: "hello",
    },
    Odd {
        what: "a body behind 204",
        pieces: &[b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nspoof"],
        closes: false,
        status: 204,
        body: "",
    },
    Odd {
        what: "a length with 204",
        pieces: &[b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nspoof"],
        closes: false,
        status: 502,
        body: "",
    },
    Odd {
        what: "length and chunks",
        pieces: &[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
        closes: false,
        status: 502,
        body: "",
    },
    Odd {
        what: "two lengths that differ by spelling",
        pieces: &[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent_Length: 50\r\n\r\nhello"],
        closes: false,
        status: 502,
        body: "",
    },
    Odd {
        what: "many interim answers",
        pieces: &[b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
        closes: false,
        status: 502,
        body: "",
    },
    Odd {
        what: "protocols switched unasked",
        pieces: &[b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw"],
        closes: false,
        status: 502,
        body: "",
    },
    Odd {
        what: "a name of ours",
        pieces: &[b"HTTP/1.1 200 OK\r\nPostern-Session: x\r\nSet-Cookie: a=b\r\nSet_Cookie: a=b\r\nConnection: x-secret\r\nX-Secret: 1\r\nContent-Length: 5\r\n\r\nhello"],
        closes: false,
        status: 200,
        body: "hello",
    },
    Odd {
        what: "half a head, then the end",
        pieces: &[b"HTTP/1.1 200 OK\r\nContent-Len"],
        closes: true,
        status: 502,
        body: "",
    },
    Odd {
        what: "http/0.9",
        pieces: &[b"hello"],
        closes: true,
        status: 502,
        body: "",
    },
    Odd {
        what: "a line with a bare carriage return",
        pieces: &[b"HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: c=d\r\nContent-Length: 0\r\n\r\n"],
        closes: false,
        status: 502,
        body: "",
    },
];

/// Asks an application that answers so, several times on one connection, so that whatever was left over would be taken for
/// the next answer.
pub fn ask_oddly(world: &World, odd: &Odd) {
    let Odd { what, status, body, .. } = *odd;
    let staff = world.people.staff("sam");
    world.start_session("acme", &staff);
    for token in [staff, world.people.admin("acme")] {
        let mut client = world.client();
        for _ in 0..4 {
            client.send(request("GET", "/t/acme/orders", &token, ""));
            let reply = client.reply();
            assert_eq!(reply.status, status, "{what}: {} {}", reply.head, reply.text());
            if status < 300 {
                assert_eq!(reply.text(), body, "{what}");
                assert!(reply.values("postern-session").is_empty(), "{what}");
                assert!(reply.values("x-secret").is_empty(), "{what}");
                assert!(reply.values("set_cookie").is_empty(), "{what}");
            }
            if !reply.values("connection").is_empty() {
                client = world.client();
            }
        }
    }
    assert!(world.gateway().engine().registry().is_empty(), "{what}");
}

#[test]
fn an_application_that_answers_oddly_gives_nobody_anything_of_anybody_else() {
    for odd in &ODD {
        let (address, _) = answers(odd.pieces, odd.closes);
        let world = World::of(Plan { upstream: Some(address), ..Plan::default() });
        ask_oddly(&world, odd);
        world.finish();
    }
}

/// The time for an answer counts from when the application has the whole request.
#[test]
fn an_upload_may_take_longer_than_an_answer() {
    let world = World::of(Plan::default().edit("response_timeout: 3s", "response_timeout: 400ms"));
    world.done(World::consent("acme", "edit"), &world.people.admin("acme"));
    let staff = world.people.staff("sam");
    world.start_session("acme", &staff);
    for token in [staff, world.people.admin("acme")] {
        let mut client = world.client();
        client.send(request("POST", "/t/acme/orders?do=taken", &token, "Content-Length: 10\r\n"));
        for _ in 0..10 {
            client.send("x");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let reply = client.reply();
        assert_eq!((reply.status, reply.text()), (200, "10".to_owned()));
        // An application that takes it all and says nothing is still too slow, and so is one that takes nothing.
        let mut client = world.client();
        client.send(request("POST", "/t/acme/orders?do=stall", &token, "Content-Length: 5\r\n\r\nhello"));
        assert_eq!(client.reply().code(), "upstream_timeout");
    }
    world.upstream.release();
    world.finish();
}

#[test]
fn no_page_in_a_browser_moves_the_clock() {
    let world =
        World::of(Plan::default().edit(
            "members: { unmapped: refuse }",
            "members: { unmapped: refuse }\ndangerous: { clock: true }",
        ));
    let staff = world.people.staff("sam");
    world.start_session("acme", &staff);
    let ask = |more: &str| {
        let mut client = crate::client::Client::connect(world.gateway().operations());
        let body = "{\"advance\":\"9h\"}";
        client.send(format!(
            "POST /clock HTTP/1.1\r\nHost: localhost\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        client.reply().status
    };
    assert_eq!(ask("Origin: https://evil.example\r\nContent-Type: text/plain\r\n"), 403);
    assert_eq!(ask("Origin: null\r\n"), 403);
    assert_eq!(world.get("/t/acme/orders", &staff).status, 200);
    assert_eq!(ask(""), 200);
    assert_eq!(world.get("/t/acme/orders", &staff).status, 403, "the session is over by the moved clock");
    world.finish();
}
