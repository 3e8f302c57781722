//! What is written: exact bytes, for requests, responses and answers of our own.

use crate::proxy::wire::recognise::table;
use crate::proxy::wire::{
    Authority, ClientConnection, Framing, Known, KnownSet, Limits, Name, NameSet, Parsed, RequestEdit,
    RequestHead, ResponseEdit, ResponseHead, SimpleResponse, Target, UpstreamConnection, Value, Version,
    canonical_eq, client_framing, write_request, write_response, write_simple_response,
};

fn edit(drop_names: &NameSet) -> RequestEdit<'_> {
    RequestEdit {
        host: Authority::new(b"up").unwrap(),
        drop: KnownSet::EMPTY,
        drop_names,
        framing: Framing::None,
        connection: UpstreamConnection::Reuse,
        add: &[],
    }
}

fn forwarded(raw: &[u8], edit: &RequestEdit<'_>) -> String {
    let mut head = RequestHead::new();
    assert!(matches!(head.parse(raw, &Limits::default()), Ok(Parsed::Complete { .. })));
    let mut out = Vec::new();
    write_request(&mut out, &head.view(raw), Target::new("/t").unwrap(), edit);
    String::from_utf8(out).unwrap()
}

/// The lines that a request with these lines has when it is forwarded, Host aside.
fn kept(lines: &str, edit: &RequestEdit<'_>) -> String {
    let out = forwarded(format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes(), edit);
    out.strip_prefix("POST /t HTTP/1.1\r\nHost: up\r\n").unwrap().strip_suffix("\r\n").unwrap().to_owned()
}

#[test]
fn trailers_are_asked_for_in_our_own_words_and_once() {
    let names = NameSet::empty();
    let asks = RequestEdit { connection: UpstreamConnection::Trailers, ..edit(names) };
    let raw = b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers, gzip\r\nConnection: TE\r\n\r\n";
    assert_eq!(
        forwarded(raw, &asks),
        "GET /t HTTP/1.1\r\nHost: up\r\nConnection: TE\r\nTE: trailers\r\n\r\n"
    );
}

#[test]
fn a_request_is_written_anew() {
    let names = NameSet::new(["x-user"]);
    let add = [(Name::new("X-User").unwrap(), Value::ascii("7").unwrap())];
    let edit = RequestEdit {
        framing: Framing::Length(12),
        drop: KnownSet::of(&[Known::Cookie]),
        add: &add,
        ..edit(&names)
    };
    let raw = b"PURGE http://h/x HTTP/1.0\r\nAccept: a\r\nhost: h\r\nX-A:  b \r\nCookie: c\r\nX-User: 1\r\nX-B: c\r\nX-C: d\r\nContent-Length: 12\r\n\r\n";
    assert_eq!(
        forwarded(raw, &edit),
        "PURGE /t HTTP/1.1\r\nHost: up\r\nAccept: a\r\nX-A: b\r\nX-B: c\r\nX-C: d\r\n\
         Content-Length: 12\r\nX-User: 7\r\n\r\n"
    );
}

#[test]
fn what_a_client_may_not_say_is_removed() {
    let names = NameSet::new(["X-User", "x-roles"]);
    let edit = edit(&names);
    for line in [
        "Connection: keep-alive",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "TE: trailers",
        "Trailer: X-User",
        "Transfer-Encoding: chunked",
        "Content-Length: 5",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        "Expect: 100-continue",
        "Proxy-Authorization: Basic x",
        "Proxy: http://evil",
        "Proxy-Foo: a",
        "Forwarded: for=1.2.3.4",
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Host: evil",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Uri: /admin",
        "X-Forwarded-Prefix: /admin",
        "X-Forwarded: a",
        "x_forwarded_for: 1",
        "X.Forwarded.For: 1",
        "X-FORWARDED_FOR: 1",
        "X-Real-IP: 1.2.3.4",
        "X_Real_IP: 1.2.3.4",
        "True-Client-IP: 1",
        "CF-Connecting-IP: 1",
        "X-Client-IP: 1",
        "X-Cluster-Client-IP: 1",
        "Client-IP: 1",
        "X-Envoy-External-Address: 1",
        "X-Host: evil",
        "X-HTTP-Host-Override: evil",
        "X-HTTP-Method-Override: DELETE",
        "X-Http-Method: DELETE",
        "X-Method-Override: DELETE",
        "X_HTTP_Method_Override: a",
        "X-Original-URL: /admin",
        "X-Rewrite-URL: /admin",
        "X-Original-URI: /a",
        "X-Original-Host: h",
        "X_Original_URL: /a",
        "X-Envoy-Original-Path: /a",
        "X-Original-Method: GET",
        "Postern-Session: s",
        "Postern-Assertion: a",
        "postern_assertion: a",
        "POSTERN-X: a",
        "Postern.Abcdefghijklmnopqrstuvwxyzabcdefghijklmnop: a",
        "X-User: root",
        "x-user: root",
        "X_User: root",
        "x_USER: root",
        "X.User: root",
        "X~User: root",
        "X-Roles: admin",
        "Content_Type: a",
        "Content~Encoding: a",
        "Cache.Control: a",
        "X-Gone: a\r\nConnection: X-Gone",
        "x_gone: a\r\nConnection: x-gone",
        "Connection: a, B,c\r\nA: 1\r\nb: 2\r\nC: 3",
    ] {
        assert_eq!(
            kept(&format!("X-Before: 1\r\n{line}\r\nX-After: 2\r\n"), &edit),
            "X-Before: 1\r\nX-After: 2\r\n",
            "{line}"
        );
    }
}

#[test]
fn what_is_the_clients_own_passes() {
    let names = NameSet::new(["x-user"]);
    for line in [
        "Authorization: Bearer a",
        "Cookie: a=b",
        "Accept: */*",
        "X-Users: a",
        "XUser: a",
        "X-Use: a",
        "my_header: a",
        "A.b: c",
        "Sec-WebSocket-Key: a",
        "If-None-Match: \"a\"",
        "Content-Type: a/b",
        "X-Forwarder: a",
        "Postern: a",
        "X-Originals: a",
        "X-Empty: ",
        "X-Latin: \u{e4}",
        "X-Proxy-A: a",
        "Access-Control-Request-Headers: a",
    ] {
        assert_eq!(kept(&format!("{line}\r\n"), &edit(&names)), format!("{line}\r\n"));
    }
}

#[test]
fn what_we_say_ourselves_is_said_once() {
    let add = [
        (Name::new("X-Tenant").unwrap(), Value::ascii("a").unwrap()),
        (Name::new("Authorization").unwrap(), Value::ascii("b").unwrap()),
    ];
    let edit = RequestEdit { add: &add, ..edit(NameSet::empty()) };
    let lines = "x_tenant: 1\r\nX-TENANT: 2\r\nX-Tenants: 3\r\nauthorization: 4\r\nX.Tenant: 5\r\n";
    assert_eq!(kept(lines, &edit), "X-Tenants: 3\r\nX-Tenant: a\r\nAuthorization: b\r\n");
}

#[test]
fn an_upgrade_is_written_by_us() {
    let edit = RequestEdit {
        connection: UpstreamConnection::Upgrade(Value::ascii("websocket").unwrap()),
        ..edit(NameSet::empty())
    };
    let lines = "Connection: Upgrade, X-A\r\nUpgrade: websocket\r\nX-A: b\r\nSec-WebSocket-Version: 13\r\n";
    assert_eq!(
        kept(lines, &edit),
        "Sec-WebSocket-Version: 13\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    );
}

fn answered(raw: &[u8], edit: &ResponseEdit<'_>) -> String {
    let mut head = ResponseHead::new();
    assert!(matches!(head.parse(raw, &Limits::default()), Ok(Parsed::Complete { .. })));
    let mut out = Vec::new();
    write_response(&mut out, &head.view(raw), edit);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_response_is_written_anew() {
    let names = NameSet::new(["x-powered-by"]);
    let add = [(Name::new("Cache-Control").unwrap(), Value::ascii("no-store").unwrap())];
    let edit = ResponseEdit {
        drop: KnownSet::of(&[Known::SetCookie, Known::CacheControl]),
        drop_names: &names,
        only: None,
        framing: Framing::Chunked,
        connection: ClientConnection::Open,
        add: &add,
    };
    let raw = b"HTTP/1.0 200 Fine and <b>odd</b>\r\nServer: s\r\nSet-Cookie: a\r\nset_cookie: b\r\nCache-Control: public\r\n\
        X-Powered-By: x\r\nContent-Type:a/b\r\nPostern-X: y\r\nConnection: keep-alive, X-Gone\r\nX-Gone: a\r\n\
        Keep-Alive: 5\r\nContent-Length: 3\r\nETag: \"e\"\r\n\r\n";
    assert_eq!(
        answered(raw, &edit),
        "HTTP/1.1 200 OK\r\nServer: s\r\nContent-Type: a/b\r\nETag: \"e\"\r\nTransfer-Encoding: chunked\r\n\
         Cache-Control: no-store\r\n\r\n"
    );
    let plain = ResponseEdit { drop: KnownSet::EMPTY, drop_names: NameSet::empty(), add: &[], ..edit };
    assert_eq!(answered(b"HTTP/1.1 204 x\r\n\r\n", &plain), "HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(answered(b"HTTP/1.1 103 x\r\n\r\n", &plain), "HTTP/1.1 103 \r\n\r\n");
    let close = ResponseEdit { connection: ClientConnection::Close, framing: Framing::UntilClose, ..plain };
    assert_eq!(answered(b"HTTP/1.1 299 x\r\n\r\n", &close), "HTTP/1.1 299 \r\nConnection: close\r\n\r\n");
    let old = ResponseEdit { connection: ClientConnection::KeepAlive, framing: Framing::Length(0), ..plain };
    let told = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n";
    assert_eq!(answered(b"HTTP/1.1 404 x\r\n\r\n", &old), told);
    let switch =
        ResponseEdit { connection: ClientConnection::Upgrade(Value::ascii("websocket").unwrap()), ..plain };
    assert_eq!(
        answered(b"HTTP/1.1 101 x\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n", &switch),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
}

#[test]
fn answers_of_our_own_are_whole() {
    let extra = [(Name::new("Date").unwrap(), Value::ascii("d").unwrap())];
    let answer = SimpleResponse {
        status: 403,
        content_type: Value::ascii("application/problem+json"),
        extra: &extra,
        body: b"{}",
        head_request: false,
        connection: ClientConnection::Close,
    };
    let text = |answer: &SimpleResponse<'_>| {
        let mut out = b"before".to_vec();
        write_simple_response(&mut out, answer);
        String::from_utf8(out).unwrap()
    };
    let head = "beforeHTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\nContent-Length: 2\r\n\
                Connection: close\r\nDate: d\r\n\r\n";
    assert_eq!(text(&answer), format!("{head}{{}}"));
    assert_eq!(text(&SimpleResponse { head_request: true, ..answer }), head);
    assert_eq!(
        text(&SimpleResponse { status: 204, connection: ClientConnection::Open, extra: &[], ..answer }),
        "beforeHTTP/1.1 204 No Content\r\n\r\n"
    );
}

#[test]
fn nothing_unclean_can_be_minted() {
    for value in ["a\r\nb", "a\n", "\r", "a\0", "\u{1}", "\u{7f}", " a", "a ", "\ta"] {
        assert_eq!(Value::ascii(value), None, "{value:?}");
        assert_eq!(Value::opaque(value.as_bytes()), None, "{value:?}");
    }
    for value in ["\u{e4}", "a\tb"] {
        assert_eq!(Value::ascii(value), None);
        assert!(Value::opaque(value.as_bytes()).is_some());
    }
    assert!(Value::ascii("").is_some() && Value::ascii("Ann Lee").is_some());
    for name in [
        "",
        "a b",
        "a:",
        "a\r\n",
        "\u{e4}",
        "Host",
        "content-length",
        "Transfer-Encoding",
        "transfer_encoding",
        "Connection",
        "Upgrade",
        "TE",
    ] {
        assert_eq!(Name::new(name), None, "{name:?}");
    }
    for target in ["", "a", "/a b", "/a\r\n", "/\u{e4}", "/#", "/\0", "http://h/", "/\\", "**", "*/"] {
        assert_eq!(Target::new(target), None, "{target:?}");
    }
    assert!(Target::new("/a?b").is_some() && Target::new("*").is_some());
}

#[test]
fn chunks_never_reach_an_http_1_0_client() {
    for (upstream, version, client) in [
        (Framing::Chunked, Version::Http10, Framing::UntilClose),
        (Framing::UntilClose, Version::Http10, Framing::UntilClose),
        (Framing::Chunked, Version::Http11, Framing::Chunked),
        (Framing::UntilClose, Version::Http11, Framing::Chunked),
        (Framing::Length(5), Version::Http10, Framing::Length(5)),
        (Framing::None, Version::Http11, Framing::None),
    ] {
        assert_eq!(client_framing(upstream, version), client);
    }
}

#[test]
fn every_known_name_is_recognised_in_any_spelling() {
    let rows = table();
    assert!(rows.iter().all(|(_, _, known)| (*known as u8) < 64), "a set has 64 places");
    assert!(rows.len() >= 75, "{}", rows.len());
    for (bucket, name, known) in rows {
        assert_eq!(bucket, name.len(), "{}", name.escape_ascii());
        let text = String::from_utf8(name.to_vec()).unwrap();
        for spelling in
            [text.clone(), text.to_ascii_uppercase(), text.replace('-', "_"), text.replace('-', "~")]
        {
            let raw = format!("HTTP/1.1 299 \r\n{spelling}: 5\r\n\r\n");
            let mut head = ResponseHead::new();
            match head.parse(raw.as_bytes(), &Limits::default()) {
                Ok(_) => {
                    assert_eq!(head.view(raw.as_bytes()).fields().next().unwrap().known, known, "{spelling}")
                }
                Err(fault) => {
                    assert!(matches!(known, Known::ContentLength | Known::TransferEncoding), "{fault}")
                }
            }
        }
    }
}

#[test]
fn names_are_equal_as_the_most_careless_reader_reads_them() {
    for (name, configured, equal) in [
        ("X-User", "x-user", true),
        ("x_user", "X-User", true),
        ("X.User", "x-user", true),
        ("x-user", "X_USER", true),
        ("xuser", "x-user", false),
        ("x-user2", "x-user", false),
        ("x-usex", "x-user", false),
    ] {
        assert_eq!(canonical_eq(name.as_bytes(), configured.as_bytes()), equal, "{name}");
        assert_eq!(NameSet::new([configured]).contains(name.as_bytes()), equal, "{name}");
    }
    let long = "x-".to_owned() + &"a".repeat(70);
    let set = NameSet::new([long.as_str(), "b"]);
    assert!(set.contains(long.to_ascii_uppercase().as_bytes()) && set.contains(b"B"));
    assert!(!set.contains("y-".to_owned().as_bytes()) && !set.contains(&[b'a'; 72]));
}
