//! Raw requests (`tests/corpus/http1`), judged by what the application received: nothing, or exactly the requests that
//! were decided, each clean.
//!
//! A case begins with `=== name | verdict`, where the verdict lists one answer for each request that must be answered:
//! `400 host_missing` (a refusal and its code), `200 GET /t/acme/orders BODY` (what the application must have received),
//! and `closed` when the connection must end behind them. Lines are sent one after another as they stand, with `\r`,
//! `\n`, `\t`, `\\`, `\xNN`, `\*300(x)` and `{admin}`, `{staff}`, `{expired}` filled in; nothing is added.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::{client::Ending, upstream::Seen, world::*};

/// Headers that an application must never see, from whomever.
const NEVER: [&str; 16] = [
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "proxy-connection",
    "proxy-authorization",
    "postern-session",
    "x-user",
    "x-forwarded-for",
    "x-forwarded-host",
    "forwarded",
    "x-original-url",
    "x-http-method-override",
    "x-real-ip",
];

struct Case {
    name: String,
    bytes: Vec<u8>,
    verdicts: Vec<String>,
}

fn cases(text: &str, fill: &[(&str, &str)]) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("=== ") {
            let (name, verdicts) = head.split_once(" | ").expect("a verdict");
            let verdicts = verdicts
                .split(" ; ")
                .map(|verdict| String::from_utf8(unescaped(verdict.trim())).unwrap())
                .collect();
            cases.push(Case { name: name.trim().to_owned(), bytes: Vec::new(), verdicts });
        } else if !line.is_empty() && !line.starts_with('#') {
            let mut line = line.to_owned();
            for (name, value) in fill {
                line = line.replace(name, value);
            }
            cases.last_mut().expect("a case").bytes.extend(unescaped(&line));
        }
    }
    cases
}

fn unescaped(line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = line.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&kind, after) = rest.split_first().expect("an escape");
        rest = after;
        match kind {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'\\' => out.push(b'\\'),
            b'x' => {
                out.push(u8::from_str_radix(std::str::from_utf8(&rest[..2]).unwrap(), 16).unwrap());
                rest = &rest[2..];
            }
            b'*' => {
                let open = rest.iter().position(|b| *b == b'(').unwrap();
                let close = rest.iter().position(|b| *b == b')').unwrap();
                let times: usize = std::str::from_utf8(&rest[..open]).unwrap().parse().unwrap();
                out.extend(std::iter::repeat_n(&rest[open + 1..close], times).flatten());
                rest = &rest[close + 1..];
            }
            other => panic!("no escape: {}", other as char),
        }
    }
    out
}

/// What the application received is what was decided, said by the gateway alone.
fn clean(name: &str, seen: &Seen, wanted: &str) {
    let mut wanted = wanted.splitn(3, ' ');
    let (method, target) = (wanted.next().unwrap(), wanted.next().unwrap());
    assert_eq!(seen.line(), format!("{method} {target} HTTP/1.1"), "{name}: {}", seen.head);
    if let Some(body) = wanted.next() {
        assert_eq!(String::from_utf8_lossy(&seen.body), body, "{name}");
    } else {
        assert!(seen.body.is_empty(), "{name}: {:?}", String::from_utf8_lossy(&seen.body));
    }
    assert_eq!(seen.values("host").len(), 1, "{name}: {}", seen.head);
    let lengths = seen.values("content-length").len() + seen.values("transfer-encoding").len();
    assert!(lengths <= 1, "{name}: {}", seen.head);
    for never in NEVER {
        assert_eq!(seen.values(never), Vec::<String>::new(), "{name}: `{never}` in {}", seen.head);
    }
    let names: Vec<String> =
        seen.head.lines().skip(1).filter_map(|l| l.split_once(':')).map(|(n, _)| n.to_owned()).collect();
    assert!(names.iter().all(|n| !n.contains('_')), "{name}: {names:?}");
    let public = target.starts_with("/public/");
    let told = seen.values("x-remote-user");
    assert_eq!(told.len(), usize::from(!public), "{name}: {}", seen.head);
    for assertion in seen.values("postern-assertion") {
        let claims = assertion.split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims["method"], method, "{name}");
        assert_eq!(claims["path"], target.split('?').next().unwrap(), "{name}");
        assert_eq!(claims["sub"], told[0], "{name}");
        assert!(!public, "{name}: what is open to everybody hears of nobody");
        if claims["kind"] == "staff" {
            assert!(seen.values("authorization").is_empty(), "{name}: {}", seen.head);
            assert!(seen.values("cookie").is_empty(), "{name}: {}", seen.head);
        }
    }
}

fn run(text: &str) {
    let world = World::start();
    let admin = world.people.admin("acme");
    let staff = world.people.staff("sam");
    let mut old = world.people.staff_claims("sam");
    for name in ["iat", "exp"] {
        old[name] = (old[name].as_i64().unwrap() - 90_000).into();
    }
    let expired = world.people.keys.vendor.sign("at+jwt", &old).unwrap();
    let session = world.start_session("acme", &staff);
    let fill = [
        ("{admin}", admin.as_str()),
        ("{staff}", staff.as_str()),
        ("{expired}", expired.as_str()),
        ("{session}", session.as_str()),
    ];
    for case in cases(text, &fill) {
        let name = &case.name;
        let (before, received) = (world.upstream.seen().len(), world.upstream.received());
        let mut client = world.client();
        client.send(&case.bytes);
        let mut wanted = Vec::new();
        let mut closed = false;
        for verdict in &case.verdicts {
            if verdict == "closed" {
                while client.inbox.is_empty() && client.more() == Ending::Open {}
                assert!(
                    client.inbox.is_empty(),
                    "{name}: one answer more: {:?}",
                    String::from_utf8_lossy(&client.inbox)
                );
                closed = true;
                continue;
            }
            let (status, about) = verdict.split_once(' ').unwrap_or((verdict, ""));
            let mut reply = client.reply_to(about.starts_with("HEAD "));
            while reply.status == 100 {
                reply = client.reply_to(about.starts_with("HEAD "));
            }
            assert_eq!(reply.status.to_string(), status, "{name}: {} {}", reply.head, reply.text());
            if reply.status < 300 && !about.is_empty() {
                wanted.push(about.to_owned());
            } else if !about.is_empty() {
                assert_eq!(reply.code(), about, "{name}: {}", reply.text());
            }
        }
        if !closed {
            // The same connection still serves: nothing was left over that would be taken for a request.
            client.send(request("GET", "/t/acme/orders?behind", &admin, ""));
            let reply = client.reply();
            assert_eq!((reply.status, reply.text()), (200, "hello".to_owned()), "{name}");
            wanted.push("GET /t/acme/orders?behind".to_owned());
        }
        let seen = &world.upstream.seen()[before..];
        assert_eq!(seen.len(), wanted.len(), "{name}: {seen:?}");
        for (seen, wanted) in seen.iter().zip(&wanted) {
            clean(name, seen, wanted);
        }
        if wanted.is_empty() {
            assert_eq!(world.upstream.received(), received, "{name}: bytes arrived");
        }
    }
    assert!(world.gateway().engine().registry().is_empty());
    world.finish();
}

#[test]
fn heads_that_can_be_read_in_two_ways_reach_nobody() {
    run(include_str!("../corpus/http1/heads.txt"));
}

#[test]
fn bodies_and_what_hides_behind_them_are_taken_apart_in_one_way() {
    run(include_str!("../corpus/http1/bodies.txt"));
}

#[test]
fn paths_that_look_like_others_open_nothing() {
    run(include_str!("../corpus/http1/paths.txt"));
}

#[test]
fn nobody_speaks_for_the_gateway() {
    run(include_str!("../corpus/http1/names.txt"));
}
