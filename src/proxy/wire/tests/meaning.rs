//! Raw request heads: what the headers say about host, framing and connection, and when they say it in two ways.

use super::request::{assert_codes, assert_line_codes, parse, with};
use crate::proxy::wire::{Authority, Framing, Known};

#[test]
fn host_must_be_one_and_plain() {
    assert_codes(&[
        (b"GET / HTTP/1.1\r\n\r\n", "host_missing"),
        (b"GET / HTTP/1.1\r\nX-Host: h\r\n\r\n", "host_missing"),
        (b"GET http://h/ HTTP/1.1\r\n\r\n", "host_missing"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", "host_duplicate"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nhost: other\r\n\r\n", "host_duplicate"),
        (b"GET / HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n", "host_duplicate"),
    ]);
    for host in [
        "",
        " ",
        "a b",
        "a,b",
        "a/b",
        "a@b",
        "u:p@a",
        "a:",
        "a:b",
        "a:0",
        "a:080",
        "a:65536",
        "a:123456",
        "a:80:80",
        "a:-1",
        "a:+80",
        ":80",
        "a..b",
        ".a",
        "a.",
        "a%00",
        "a%2eb",
        "a?b",
        "a#b",
        "a\\b",
        "\u{e4}",
        "a;b",
        "http://a",
        "[::1",
        "::1",
        "[]",
        "[::g]",
        "[::1]x",
        "[::1]:",
        "[fe80::1%25eth0]",
        "[127.0.0.1]",
        "a\tb",
        "(a)",
        "a*",
    ] {
        let raw = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_codes(&[(raw.as_bytes(), "host_invalid")]);
    }
    for host in
        ["a", "A.b-c.example", "a_b", "127.0.0.1:1", "xn--nxasmq6b:65535", "[::1]", "[2001:db8::1]:443"]
    {
        let raw = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(
            parse(raw.as_bytes()).unwrap().0.view(raw.as_bytes()).host(),
            Authority::new(host.as_bytes())
        );
    }
    let long = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(256));
    assert_codes(&[(long.as_bytes(), "host_invalid")]);
}

#[test]
fn http_1_0_may_leave_host_out() {
    let raw = b"GET / HTTP/1.0\r\n\r\n";
    let (head, _) = parse(raw).unwrap();
    assert_eq!((head.view(raw).host(), head.keep_alive()), (None, false));
    let raw = b"GET http://h/ HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
    let (head, _) = parse(raw).unwrap();
    assert_eq!((head.view(raw).host(), head.keep_alive()), (Authority::new(b"h"), true));
}

#[test]
fn framing_that_two_readers_could_read_differently_is_refused() {
    assert_line_codes(&[
        ("Content-Length: 5\r\nContent-Length: 5", "content_length_duplicate"),
        ("Content-Length: 5\r\ncontent-length: 6", "content_length_duplicate"),
        ("Content-Length: 5, 5", "content_length_invalid"),
        ("Content-Length: +5", "content_length_invalid"),
        ("Content-Length: -5", "content_length_invalid"),
        ("Content-Length: 5 5", "content_length_invalid"),
        ("Content-Length: 0x5", "content_length_invalid"),
        ("Content-Length: 5.0", "content_length_invalid"),
        ("Content-Length: 1e3", "content_length_invalid"),
        ("Content-Length: 1_000", "content_length_invalid"),
        ("Content-Length: 05", "content_length_invalid"),
        ("Content-Length: 00", "content_length_invalid"),
        ("Content-Length: ", "content_length_invalid"),
        ("Content-Length: \"5\"", "content_length_invalid"),
        ("Content-Length: five", "content_length_invalid"),
        ("Content-Length: 10000000000000000000", "content_length_invalid"),
        ("Content-Length: 99999999999999999999999", "content_length_invalid"),
        ("Content-Length: \u{663}", "content_length_invalid"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", "framing_conflict"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", "framing_conflict"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", "framing_conflict"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "transfer_encoding_duplicate"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "transfer_encoding_duplicate"),
        ("Transfer-Encoding: chunked, chunked", "transfer_coding_unsupported"),
        ("Transfer-Encoding: gzip, chunked", "transfer_coding_unsupported"),
        ("Transfer-Encoding: chunked, identity", "transfer_coding_unsupported"),
        ("Transfer-Encoding: identity", "transfer_coding_unsupported"),
        ("Transfer-Encoding: xchunked", "transfer_coding_unsupported"),
        ("Transfer-Encoding: chunkedx", "transfer_coding_unsupported"),
        ("Transfer-Encoding: \"chunked\"", "transfer_coding_unsupported"),
        ("Transfer-Encoding: 'chunked'", "transfer_coding_unsupported"),
        ("Transfer-Encoding: chunked;q=1", "transfer_coding_unsupported"),
        ("Transfer-Encoding: ,chunked", "transfer_coding_unsupported"),
        ("Transfer-Encoding: chunked,", "transfer_coding_unsupported"),
        ("Transfer-Encoding: ", "transfer_coding_unsupported"),
        ("Transfer-Encoding: chu nked", "transfer_coding_unsupported"),
        ("Transfer-Encoding:\x0bchunked", "header_value_byte"),
        ("Transfer-Encoding: chunked\x00", "header_value_byte"),
        ("Transfer-Encoding : chunked", "header_name_space"),
        ("Transfer-Encoding\x00: chunked", "header_name_invalid"),
        ("Transfer_Encoding: chunked", "framing_lookalike"),
        ("transfer.encoding: chunked", "framing_lookalike"),
        ("Content_Length: 5", "framing_lookalike"),
        ("CONTENT~LENGTH: 5", "framing_lookalike"),
    ]);
    assert_codes(&[(
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "transfer_encoding_in_http10",
    )]);
}

fn posted(line: &str) -> Vec<u8> {
    [b"POST / HTTP/1.1\r\nHost: h\r\n", line.as_bytes(), b"\r\n\r\n"].concat()
}

#[test]
fn get_and_head_bring_no_body() {
    for method in ["GET", "HEAD"] {
        for (lines, code) in [
            ("Content-Length: 5", Some("body_unexpected")),
            ("Transfer-Encoding: chunked", Some("body_unexpected")),
            ("Content-Length: 0", None),
            ("A: b", None),
        ] {
            let raw = format!("{method} / HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n");
            let fault = parse(raw.as_bytes()).err();
            assert_eq!(fault.map(crate::proxy::wire::HeadFault::code), code, "{method} {lines}");
        }
    }
}

#[test]
fn framing_is_read() {
    for (line, framing) in [
        ("A: b", Framing::None),
        ("Content-Length: 0", Framing::Length(0)),
        ("Content-Length:\t5 ", Framing::Length(5)),
        ("content-LENGTH: 9999999999999999999", Framing::Length(9_999_999_999_999_999_999)),
        ("Transfer-Encoding: chunked", Framing::Chunked),
        ("transfer-encoding:  Chunked", Framing::Chunked),
    ] {
        assert_eq!(parse(&posted(line)).unwrap().0.framing(), framing, "{line}");
    }
}

#[test]
fn what_may_be_sent_once_is_refused_twice() {
    for name in [
        "Authorization",
        "Cookie",
        "Expect",
        "Upgrade",
        "Content-Type",
        "Origin",
        "Range",
        "Postern-Session",
        "Sec-Fetch-Site",
        "Sec-WebSocket-Key",
        "If-Range",
        "Traceparent",
        "Proxy-Authorization",
        "HTTP2-Settings",
        "Access-Control-Request-Method",
        "Content-Range",
        "If-Modified-Since",
    ] {
        let value = if name == "Expect" { "100-continue" } else { "a" };
        let lower = name.to_ascii_lowercase();
        assert_line_codes(&[(&format!("{name}: {value}\r\n{lower}: {value}"), "header_duplicate")]);
    }
    assert!(parse(&with("Accept: a\r\nAccept: b\r\nIf-Match: a\r\nIf-Match: b\r\nX-A: a\r\nX-A: b")).is_ok());
}

#[test]
fn connection_says_what_becomes_of_the_connection() {
    for (line, keep_alive) in [
        ("A: b", true),
        ("Connection: keep-alive", true),
        ("Connection: Keep-Alive, te", true),
        ("Connection: close", false),
        ("Connection: CLOSE", false),
        ("Connection: keep-alive, close", false),
        ("Connection: , ,close,", false),
        ("Connection: keep-alive\r\nConnection: close", false),
        ("Connection: ", true),
    ] {
        assert_eq!(parse(&with(line)).unwrap().0.keep_alive(), keep_alive, "{line}");
    }
    let raw = with("Connection: X-Gone, keep-alive\r\nX-Gone: a\r\nx_gone: b\r\nX-Stays: c");
    let (head, _) = parse(&raw).unwrap();
    let named: Vec<_> =
        head.view(&raw).fields().filter(|field| field.named_by_connection).map(|field| field.value).collect();
    assert_eq!(named, [b"a", b"b"]);
}

#[test]
fn connection_that_names_what_must_arrive_is_refused() {
    for name in [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Authorization",
        "Cookie",
        "Postern-Session",
        "Postern-Anything",
        "Forwarded",
        "X-Forwarded-For",
        "Content-Type",
        "Connection",
        "Date",
        "Expect",
        "X-HTTP-Method-Override",
        "X-Original-URL",
        "Origin",
        "Range",
        "content_length",
        "Postern_Session",
        "X-Real-IP",
        "If-None-Match",
        "Sec-WebSocket-Key",
        "Sec-Fetch-Site",
        "Traceparent",
    ] {
        assert_line_codes(&[(&format!("Connection: keep-alive, {name}"), "connection_names_protected")]);
    }
    assert_line_codes(&[
        ("Connection: a b", "connection_invalid"),
        ("Connection: \"close\"", "connection_invalid"),
        ("Connection: close;a", "connection_invalid"),
        ("Connection: \u{e4}", "connection_invalid"),
        ("Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", "connection_too_many"),
    ]);
    assert!(
        parse(&with("Connection: keep-alive, Upgrade, TE, Trailer, HTTP2-Settings, Proxy-Connection"))
            .is_ok()
    );
}

#[test]
fn expectations_other_than_100_continue_are_refused() {
    assert_line_codes(&[
        ("Expect: 100-continue, foo", "expect_unsupported"),
        ("Expect: ", "expect_unsupported"),
        ("Expect: 200-ok", "expect_unsupported"),
        ("Expect: 100-continue;a", "expect_unsupported"),
    ]);
    for (line, expected) in [
        ("Expect: 100-continue\r\nContent-Length: 1", true),
        ("Expect: 100-Continue\r\nTransfer-Encoding: chunked", true),
        ("Expect: 100-continue", false),
        ("Expect: 100-continue\r\nContent-Length: 0", false),
    ] {
        assert_eq!(parse(&posted(line)).unwrap().0.expect_continue(), expected, "{line}");
    }
    let old = b"POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n";
    assert!(!parse(old).unwrap().0.expect_continue());
}

#[test]
fn an_upgrade_needs_both_headers_and_no_body() {
    for (line, upgrade) in [
        ("Connection: Upgrade\r\nUpgrade: websocket", true),
        ("Connection: keep-alive, upgrade\r\nUpgrade: websocket", true),
        ("Upgrade: websocket", false),
        ("Connection: upgrade", false),
        ("Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5", false),
        ("Connection: upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked", false),
    ] {
        assert_eq!(parse(&posted(line)).unwrap().0.upgrade(), upgrade, "{line}");
    }
    let old = b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(!parse(old).unwrap().0.upgrade());
}

#[test]
fn a_name_that_only_looks_like_one_is_not_read_for_it() {
    let raw = with("Postern_Session: forged\r\nAccess-Control-abcdeft-Method: a\r\nPostern-Session: real");
    let (head, _) = parse(&raw).unwrap();
    let view = head.view(&raw);
    assert_eq!(view.find(Known::PosternSession), Some(b"real".as_slice()));
    assert_eq!(view.find(Known::AccessControlRequestMethod), None);
    let known: Vec<_> = view.fields().skip(1).map(|field| (field.known, field.lookalike)).collect();
    assert_eq!(
        known,
        [(Known::PosternSession, true), (Known::AccessControl, false), (Known::PosternSession, false)]
    );
}
