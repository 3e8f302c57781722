//! `postern break-glass` against a gateway that runs: entering, being refused, and asking again with the same key.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use super::*;

const GLASS: &str = "break_glass: { operators: [{ issuer: vendor, sub: sam }], role: admin }\nconsent:\n";

fn enter(place: &Place, url: &str, more: &[&str]) -> Came {
    let words =
        ["break-glass", "--url", url, "--tenant", "acme", "--cause", "integrity", "--token", "token.txt"];
    place.run(&[&words[..], &["--reason", "all orders are lost"], more].concat())
}

fn line<'a>(told: &'a str, word: &str) -> &'a str {
    let line = told.lines().find(|line| line.split_whitespace().next() == Some(word));
    line.unwrap_or_else(|| panic!("no `{word}` in {told}"))[word.len()..].trim()
}

/// What `explain` says of a session by break-glass is what the gateway does in one.
fn agrees(place: &Place, gateway: &Running, session: &str) {
    for (method, path) in [
        ("GET", "/t/acme/orders"),
        ("PUT", "/t/acme/orders/7"),
        ("POST", "/t/acme/users"),
        ("GET", "/nowhere"),
        ("DELETE", "/t/acme/orders"),
    ] {
        let words =
            ["explain", "--config", "postern.yaml", "--break-glass", "--token", "token.txt", method, path];
        let explained = place.run(&words);
        let mut stream = TcpStream::connect(&gateway.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nPostern-Session: {session}\r\nConnection: close\r\n\
             Content-Length: 0\r\nAuthorization: Bearer {}\r\n\r\n",
            fs::read_to_string(place.file("token.txt")).unwrap().trim()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let told = explained.out.lines().find(|line| line.contains(", by break-glass,")).unwrap();
        let passes = told.ends_with("passes (session_by_break_glass)");
        assert_eq!(explained.status, i32::from(!passes), "{told}");
        if passes {
            // Nobody listens behind the gateway.
            assert!(answer.starts_with("HTTP/1.1 502 "), "{told} {answer}");
        } else {
            let (status, code) =
                told.split_once(": ").unwrap().1.split_once(": ").unwrap().0.split_once(' ').unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{told} {answer}");
            assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{told} {answer}");
        }
    }
}

// GW-06
#[test]
fn an_operator_enters_from_a_terminal_and_a_repeat_with_the_key_enters_once() {
    let place = Place::begun();
    place.configure("consent:\n", GLASS);
    fs::write(place.file("token.txt"), format!("{}\n", place.sam())).unwrap();
    let gateway = Running::start(&place, &[]);
    let url = format!("http://{}", gateway.address);
    let registered = ["audit", "query", "ledger", "--tenant", "acme", "--kind", "change.outcome"];
    while place.run(&registered).with(0).is_empty() {}

    let first = enter(&place, &url, &["--incident", "INC-4711", "--for", "30m", "--key", "k-1"]);
    assert_eq!(first.err, "");
    let told = first.with(0);
    let session = line(&told, "session");
    assert!(session.starts_with("ses_"), "{told}");
    assert_eq!(line(&told, "send"), format!("Postern-Session: {session}"));
    assert_eq!(line(&told, "inside"), "acme, production");
    assert!(line(&told, "role").starts_with("admin: orders:read orders:write"), "{told}");
    assert!(line(&told, "ends").ends_with('Z'), "{told}");
    let leave = line(&told, "leave");
    assert_eq!(leave, format!("DELETE {url}/_postern/v1/tenants/acme/sessions/{session}"));

    agrees(&place, &gateway, session);
    let again = enter(&place, &url, &["--incident", "INC-4711", "--for", "30m", "--key", "k-1"]).with(0);
    assert_eq!(again, told);
    let json = enter(&place, &url, &["--incident", "INC-4711", "--for", "30m", "--key", "k-1", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.with(0)).unwrap();
    assert_eq!(json["session"]["id"], session);
    // Without a key each run is another entry.
    let other = enter(&place, &url, &["--incident", "INC-4711"]).with(0);
    assert_ne!(line(&other, "session"), session);

    for (more, code) in [
        (&["--incident", "nothing"][..], "422 incident_malformed"),
        (&["--incident", "INC-1", "--key", "k-1"], "422 idempotency_key_reused"),
        (&["--incident", "INC-1", "--environment", "moon"], "422 environment_unknown"),
        (&["--incident", "INC-1", "--key", "a b"], "400 idempotency_key_malformed"),
    ] {
        let came = enter(&place, &url, more);
        assert!(came.err.contains(&format!("error: {code}: ")), "{}", came.err);
        assert_eq!(came.with(1), "");
    }
    fs::write(place.file("token.txt"), place.ada("admin")).unwrap();
    let came = enter(&place, &url, &["--incident", "INC-1"]);
    assert!(came.err.contains("403 not_operator"), "{}", came.err);
    fs::write(place.file("token.txt"), "nonsense").unwrap();
    let came = enter(&place, &url, &["--incident", "INC-1"]);
    assert!(came.err.contains("401 token_invalid") && came.err.contains("Bearer"), "{}", came.err);
    assert!(!came.err.contains("nonsense"), "a token is never printed");
    assert_eq!(gateway.stop(), 0);
    let query = ["audit", "query", "ledger", "--kind", "change.intent"];
    let entries = place.run(&query).with(0).lines().filter(|line| line.contains("\"break_glass\"")).count();
    assert_eq!(entries, 2, "one under the key, one without");
}

#[test]
fn a_token_goes_in_clear_to_this_machine_only_and_bad_addresses_are_told() {
    let place = Place::new();
    fs::write(place.file("token.txt"), "t").unwrap();
    for (url, why) in [
        ("http://app.example", "by `https` only"),
        ("http://192.0.2.1:8080", "by `https` only"),
        ("app.example", "write where the gateway is reached"),
        ("ftp://app.example", "write where the gateway is reached"),
        ("https://me:secret@app.example", "scheme, host and port, nothing else"),
        ("https://app.example/_postern/", "scheme, host and port, nothing else"),
    ] {
        let came = enter(&place, url, &["--incident", "INC-1"]);
        assert!(came.err.contains(why), "{url}: {}", came.err);
        assert_eq!(came.with(1), "");
    }
    let missing =
        ["break-glass", "--url", "http://127.0.0.1:1", "--tenant", "acme", "--cause", "x", "--reason", "x"];
    let came = place.run(&[&missing[..], &["--incident", "INC-1"]].concat());
    assert!(came.err.contains("POSTERN_TOKEN"), "{}", came.err);
}

#[test]
fn where_no_answer_comes_it_tries_again_under_one_key_and_says_how_to_go_on() {
    let place = Place::new();
    fs::write(place.file("token.txt"), "t").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Takes each request whole and hangs up.
    let heads = std::thread::spawn(move || {
        let mut keys = Vec::new();
        for stream in listener.incoming().take(3) {
            let mut stream = stream.unwrap();
            let (mut all, mut piece) = (Vec::new(), [0; 4096]);
            while !all.ends_with(b"}") {
                let size = stream.read(&mut piece).unwrap();
                all.extend_from_slice(&piece[..size]);
            }
            let text = String::from_utf8(all).unwrap().to_ascii_lowercase();
            assert!(text.starts_with("post /_postern/v1/tenants/acme/break-glass "), "{text}");
            let key = text.lines().find_map(|line| line.strip_prefix("idempotency-key: ").map(str::to_owned));
            if keys.len() == 1 {
                let _ = stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
            }
            keys.push(key.unwrap());
        }
        keys
    });
    let came = enter(&place, &url, &["--incident", "INC-1"]);
    let keys = heads.join().unwrap();
    assert!(keys.iter().all(|key| *key == keys[0] && key.len() > 20), "{keys:?}");
    let key = keys[0].trim_matches('"');
    assert!(came.err.to_ascii_lowercase().contains(&format!("`--key {key}`")), "{}", came.err);
    assert_eq!(came.err.matches("trying again").count(), 2, "{}", came.err);
    assert_eq!(came.with(1), "");
}

// GW-06
#[test]
fn an_emergency_token_is_made_without_a_gateway() {
    let place = Place::new();
    let made = place.run(&[
        "token",
        "key",
        "--algorithm",
        "EdDSA",
        "--kid",
        "authority",
        "--private",
        "emergency.pem",
        "--jwks",
        "emergency.jwks.json",
    ]);
    assert_eq!(made.status, 0, "{}", made.err);
    let token = |more: &[&str]| {
        let words = [
            "break-glass",
            "token",
            "--key",
            "emergency.pem",
            "--kid",
            "authority",
            "--audience",
            "production",
            "--tenant",
            "acme",
            "--incident",
            "INC-7",
            "--cause",
            "stability",
            "--reason",
            "all is stuck",
        ];
        place.run(&[&words[..], more].concat())
    };
    let made = token(&["--operator", "vendor:olga", "--for", "30m"]);
    assert_eq!(made.status, 0, "{}", made.err);
    assert_eq!(made.out.trim().split('.').count(), 3, "{}", made.out);
    assert!(made.err.contains("emg_") && made.err.contains("signed by authority"), "{}", made.err);
    for (more, why) in [
        (&["--operator", "olga"][..], "--operator"),
        (&["--operator", "vendor:olga", "--for", "5h"][..], "--for"),
        (&["--operator", "vendor:olga", "--environment", "a b"][..], "--environment"),
    ] {
        let refused = token(more);
        assert_eq!((refused.status, refused.out.as_str()), (1, ""), "{}", refused.err);
        assert!(refused.err.contains(why), "{}", refused.err);
    }
    assert_eq!(place.run(&["break-glass"]).status, 2, "what it takes to enter is still asked for");
}
