//! Raw request heads: the first line, the syntax of lines, limits, and a head's reuse.

use crate::proxy::wire::{
    Authority, Framing, HeadFault, Known, Limits, Method, Parsed, RequestHead, Version,
};

pub(super) fn parse(raw: &[u8]) -> Result<(RequestHead, usize), HeadFault> {
    parse_within(raw, &Limits::default())
}

pub(super) fn parse_within(raw: &[u8], limits: &Limits) -> Result<(RequestHead, usize), HeadFault> {
    let mut head = RequestHead::new();
    match head.parse(raw, limits)? {
        Parsed::Complete { len } => Ok((head, len)),
        Parsed::Partial => panic!("partial: {}", raw.escape_ascii()),
    }
}

/// A head with one line between Host and the end.
pub(super) fn with(line: &str) -> Vec<u8> {
    format!("GET /a HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n").into_bytes()
}

pub(super) fn assert_codes(cases: &[(&[u8], &str)]) {
    for (raw, code) in cases {
        match parse(raw) {
            Err(fault) => assert_eq!(fault.code(), *code, "{}", raw.escape_ascii()),
            Ok(_) => panic!("taken: {}", raw.escape_ascii()),
        }
    }
}

pub(super) fn assert_line_codes(cases: &[(&str, &str)]) {
    for (line, code) in cases {
        assert_codes(&[(&with(line), code)]);
    }
}

#[test]
fn ordinary_requests_are_taken() {
    let raw =
        b"GET /a/b?c=d HTTP/1.1\r\nHost: Example.com:8080\r\nAccept: */*\r\nCookie: a=b; c=d\r\n\r\nrest";
    let (head, len) = parse(raw).unwrap();
    let view = head.view(raw);
    assert_eq!(len, raw.len() - 4);
    assert_eq!(
        (head.method(), head.version(), head.framing()),
        (Method::Get, Version::Http11, Framing::None)
    );
    assert_eq!(view.method_name(), b"GET");
    assert_eq!(view.target(), b"/a/b?c=d");
    assert_eq!(view.path_and_query(), b"/a/b?c=d");
    assert_eq!(view.host(), Authority::new(b"Example.com:8080"));
    assert_eq!(view.find(Known::Cookie), Some(b"a=b; c=d".as_slice()));
    assert!(head.keep_alive() && !head.upgrade() && !head.expect_continue());
    let names: Vec<_> = view.fields().map(|field| (field.name, field.known)).collect();
    assert_eq!(
        names,
        [(b"Host".as_slice(), Known::Host), (b"Accept", Known::Accept), (b"Cookie", Known::Cookie)]
    );
}

#[test]
fn request_lines_that_are_not_exact_are_refused() {
    assert_codes(&[
        (b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "leading_empty_line"),
        (b"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "leading_empty_line"),
        (b"\r\n\r\n", "leading_empty_line"),
        (b" GET / HTTP/1.1\r\nHost: h\r\n\r\n", "request_line_malformed"),
        (b"\tGET / HTTP/1.1\r\nHost: h\r\n\r\n", "request_line_malformed"),
        (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "request_line_malformed"),
        (b"GET /  HTTP/1.1\r\nHost: h\r\n\r\n", "request_line_malformed"),
        (b"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", "request_line_malformed"),
        (b"GET /\tHTTP/1.1\r\nHost: h\r\n\r\n", "request_line_malformed"),
        (b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", "request_line_malformed"),
        (b"GET / HTTP/1.1\t\r\nHost: h\r\n\r\n", "request_line_malformed"),
        (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", "request_line_malformed"),
        (b"GET /\r\n\r\n", "request_line_malformed"),
        (b"GET / \r\n\r\n", "version_malformed"),
        (b"GET\r\n\r\n", "request_line_malformed"),
        (b"GET \r\n\r\n", "request_line_malformed"),
        (b"GET HTTP/1.1\r\nHost: h\r\n\r\n", "request_line_malformed"),
        (b"GET / HTTP/1.1\nHost: h\r\n\r\n", "bare_lf"),
        (b"GET / HTTP/1.1\n\nHost: h\r\n\r\n", "bare_lf"),
        (b"GET / HTTP/1.1\rHost: h\r\n\r\n", "bare_cr"),
        (b"GET / HTTP/1.1\r\r\nHost: h\r\n\r\n", "bare_cr"),
        (b"GET / HTTP/1.1\x0b\r\nHost: h\r\n\r\n", "version_malformed"),
        (b"GET / HTTP/1.1\x00\r\nHost: h\r\n\r\n", "version_malformed"),
    ]);
}

#[test]
fn methods_that_are_not_taken_are_refused() {
    assert_codes(&[
        (b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", "method_refused"),
        (b"TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", "method_refused"),
        (b"get / HTTP/1.1\r\nHost: h\r\n\r\n", "method_case"),
        (b"Post / HTTP/1.1\r\nHost: h\r\n\r\n", "method_case"),
        (b"trace / HTTP/1.1\r\nHost: h\r\n\r\n", "method_case"),
        (b"cONNECT / HTTP/1.1\r\nHost: h\r\n\r\n", "method_case"),
        (b"G@T / HTTP/1.1\r\nHost: h\r\n\r\n", "method_invalid"),
        (b"GET\x00 / HTTP/1.1\r\nHost: h\r\n\r\n", "method_invalid"),
        (b"\x00GET / HTTP/1.1\r\nHost: h\r\n\r\n", "method_invalid"),
        (b"GET\x80 / HTTP/1.1\r\nHost: h\r\n\r\n", "method_invalid"),
        (b"\"GET\" / HTTP/1.1\r\nHost: h\r\n\r\n", "method_invalid"),
        (b"GET: / HTTP/1.1\r\nHost: h\r\n\r\n", "method_invalid"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "method_invalid"),
        (b"ABCDEFGHIJKLMNOPQRSTUVWXY / HTTP/1.1\r\nHost: h\r\n\r\n", "method_too_long"),
    ]);
    let raw = b"ABCDEFGHIJKLMNOPQRSTUVWX / HTTP/1.1\r\nHost: h\r\n\r\n";
    let (head, _) = parse(raw).unwrap();
    assert_eq!(head.method(), Method::Extension);
    assert_eq!(head.view(raw).method_name(), b"ABCDEFGHIJKLMNOPQRSTUVWX");
    for (name, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("PUT", Method::Put),
        ("PATCH", Method::Patch),
        ("DELETE", Method::Delete),
        ("OPTIONS", Method::Options),
        ("PROPFIND", Method::Extension),
        ("M-SEARCH", Method::Extension),
    ] {
        let raw = format!("{name} / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(parse(raw.as_bytes()).unwrap().0.method(), method, "{name}");
    }
}

#[test]
fn versions_other_than_1_0_and_1_1_are_refused() {
    for (version, code) in [
        ("HTTP/2.0", "version_unsupported"),
        ("HTTP/0.9", "version_unsupported"),
        ("HTTP/1.2", "version_unsupported"),
        ("HTTP/3.0", "version_unsupported"),
        ("HTTP/2", "version_malformed"),
        ("HTTP/1", "version_malformed"),
        ("HTTP/1.", "version_malformed"),
        ("HTTP/11", "version_malformed"),
        ("HTTP/1.10", "version_malformed"),
        ("HTTP/01.1", "version_malformed"),
        ("HTTP/1,1", "version_malformed"),
        ("http/1.1", "version_malformed"),
        ("HTTP/1.x", "version_malformed"),
        ("HTTPS/1.1", "version_malformed"),
        ("XTTP/1.1", "version_malformed"),
        ("ICY/1.1", "version_malformed"),
    ] {
        let raw = format!("GET / {version}\r\nHost: h\r\n\r\n");
        assert_codes(&[(raw.as_bytes(), code)]);
    }
    assert_codes(&[(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "target_form")]);
}

#[test]
fn targets_that_can_be_read_in_two_ways_are_refused() {
    for (target, code) in [
        ("/a#b", "target_fragment"),
        ("#", "target_fragment"),
        ("/a\\b", "target_byte"),
        ("\\a", "target_byte"),
        ("/a\"b", "target_byte"),
        ("/<a>", "target_byte"),
        ("/a>", "target_byte"),
        ("/^", "target_byte"),
        ("/`", "target_byte"),
        ("/{a}", "target_byte"),
        ("/a|b", "target_byte"),
        ("/a}", "target_byte"),
        ("/a\x00", "target_byte"),
        ("/a\x7f", "target_byte"),
        ("/a\x0b", "target_byte"),
        ("/\u{e4}", "target_byte"),
        ("/a\rb", "request_line_malformed"),
        ("/a\nb", "request_line_malformed"),
        ("a/b", "target_form"),
        ("h:80", "target_form"),
        ("h", "target_form"),
        ("*", "target_form"),
        ("**", "target_form"),
        ("?a=b", "target_form"),
        ("%2fa", "target_form"),
        ("ftp://h/a", "target_form"),
        ("http:/h/a", "target_form"),
        ("http:h/a", "target_form"),
        ("javascript:alert(1)", "target_form"),
        ("http://h", "target_form"),
        ("http://h?a", "target_form"),
        ("http:///a", "target_authority"),
        ("http://user@h/a", "target_authority"),
        ("http://u:p@h/a", "target_authority"),
        ("http://h:/a", "target_authority"),
        ("http://h:80a/a", "target_authority"),
        ("http://h%2e/a", "target_authority"),
        ("http://[::1/a", "target_authority"),
        ("http://other/a", "target_host_mismatch"),
        ("http://h:80/a", "target_host_mismatch"),
        ("https://h.evil/a", "target_host_mismatch"),
    ] {
        let raw = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_codes(&[(raw.as_bytes(), code)]);
    }
}

#[test]
fn targets_of_the_three_forms_are_taken() {
    for (method, target, host, path) in [
        ("GET", "/", "h", "/"),
        ("GET", "//a", "h", "//a"),
        ("GET", "/a;b=c/%2e?d[]=e&f='g'", "h", "/a;b=c/%2e?d[]=e&f='g'"),
        ("GET", "http://h/a?b", "h", "/a?b"),
        ("GET", "HTTPS://H:8443/a", "h:8443", "/a"),
        ("GET", "http://[::1]:80/", "[::1]:80", "/"),
        ("OPTIONS", "*", "h", "*"),
    ] {
        let raw = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let (head, _) = parse(raw.as_bytes()).unwrap();
        let view = head.view(raw.as_bytes());
        assert_eq!(view.target(), target.as_bytes());
        assert_eq!(view.path_and_query(), path.as_bytes());
        assert_eq!(view.host().unwrap().as_str(), host);
    }
}

#[test]
fn header_lines_that_are_not_exact_are_refused() {
    assert_line_codes(&[
        ("A : b", "header_name_space"),
        ("A\t: b", "header_name_space"),
        ("A b: c", "header_name_space"),
        (" A: b", "obs_fold"),
        ("\tA: b", "obs_fold"),
        ("A: b\r\n c", "obs_fold"),
        ("A: b\r\n\tc", "obs_fold"),
        ("A: b\r\n ", "obs_fold"),
        ("A", "header_colon_missing"),
        ("A b", "header_name_space"),
        (": b", "header_name_invalid"),
        ("A(: b", "header_name_invalid"),
        ("A\x00: b", "header_name_invalid"),
        ("\u{e4}: b", "header_name_invalid"),
        ("A/b: c", "header_name_invalid"),
        ("A@b: c", "header_name_invalid"),
        ("{A}: c", "header_name_invalid"),
        ("A\x0b: c", "header_name_invalid"),
        ("A: b\nC: d", "bare_lf"),
        ("A: b\rC: d", "bare_cr"),
        ("A: b\r\r", "bare_cr"),
        ("A: \r", "bare_cr"),
        ("A\nC: d", "header_colon_missing"),
        ("\nTransfer-Encoding: chunked", "bare_lf"),
        ("\rA: b", "bare_cr"),
        ("A: b\x00", "header_value_byte"),
        ("A: \x01", "header_value_byte"),
        ("A: b\x0bc", "header_value_byte"),
        ("A: b\x0c", "header_value_byte"),
        ("A: b\x1b[0m", "header_value_byte"),
        ("A: b\x7f", "header_value_byte"),
        ("A: 12345678\x7f", "header_value_byte"),
        ("A: 1234567\x1f8", "header_value_byte"),
    ]);
    assert_codes(&[
        (b"GET / HTTP/1.1\r\nHost: h\n\n", "bare_lf"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\n", "bare_lf"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\rX", "bare_cr"),
        (b"GET / HTTP/1.1\r\n Host: h\r\n\r\n", "obs_fold"),
        (b"GET / HTTP/1.1\r\n\tHost: h\r\n\r\n", "obs_fold"),
    ]);
}

#[test]
fn odd_but_legal_header_lines_are_taken() {
    for (line, name, value) in [
        ("A:b", "A", "b"),
        ("A:", "A", ""),
        ("A: ", "A", ""),
        ("A: \t b \t ", "A", "b"),
        ("A: b\tc  d", "A", "b\tc  d"),
        ("A: \u{e4}\u{20ac}", "A", "\u{e4}\u{20ac}"),
        ("a!#$%&'*+-.^_`|~9: b", "a!#$%&'*+-.^_`|~9", "b"),
        ("A: b: c, \"d\" (e)", "A", "b: c, \"d\" (e)"),
    ] {
        let raw = with(line);
        let (head, _) = parse(&raw).unwrap();
        let view = head.view(&raw);
        let field = view.fields().nth(1).unwrap();
        assert_eq!((field.name, field.value), (name.as_bytes(), value.as_bytes()), "{line:?}");
    }
}

#[test]
fn what_is_too_large_is_refused_with_its_own_status() {
    let limits = Limits { max_head: 200, max_target: 20, max_fields: 3, max_name: 10, max_value: 30 };
    let status = |raw: &str| match parse_within(raw.as_bytes(), &limits) {
        Err(fault) => (fault.code(), fault.status()),
        Ok(_) => ("taken", 200),
    };
    let line = |line: &str| format!("GET / HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n");
    let target = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(len - 1));
    assert_eq!(status(&target(20)), ("taken", 200));
    assert_eq!(status(&target(21)), ("target_too_long", 414));
    assert_eq!(status(&line(&format!("{}: b", "a".repeat(10)))), ("taken", 200));
    assert_eq!(status(&line(&format!("{}: b", "a".repeat(11)))), ("header_name_too_long", 431));
    assert_eq!(status(&line(&format!("a:{}", "b".repeat(30)))), ("taken", 200));
    assert_eq!(status(&line(&format!("a:{}", "b".repeat(31)))), ("header_value_too_long", 431));
    assert_eq!(status(&line("a: b\r\nc: d")), ("taken", 200));
    assert_eq!(status(&line("a: b\r\nc: d\r\ne: f")), ("too_many_headers", 431));
    let wide = Limits { max_fields: 100, max_head: 60, ..limits };
    let whole = line(&"a: bc\r\n".repeat(5));
    let (exact, more) = (line("a: 3456789 1234567890123456"), line("a: 3456789 12345678901234567"));
    assert_eq!((exact.len(), more.len()), (56, 57));
    let wide_56 = Limits { max_head: 56, ..wide };
    assert!(parse_within(exact.as_bytes(), &wide_56).is_ok());
    assert_eq!(parse_within(more.as_bytes(), &wide_56).unwrap_err(), HeadFault::HeadTooLarge);
    assert_eq!(parse_within(whole.as_bytes(), &wide).unwrap_err().code(), "head_too_large");
    // A peer that never ends its line is refused as soon as nothing more would fit.
    assert_eq!(
        RequestHead::new().parse(&exact.as_bytes()[..50], &Limits { max_head: 50, ..wide }),
        Err(HeadFault::HeadTooLarge)
    );
    assert_eq!(RequestHead::new().parse(&[b'a'; 25], &limits), Err(HeadFault::MethodTooLong));
}

#[test]
fn partial_heads_wait() {
    let raw = b"GET /a HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n";
    for cut in 0..raw.len() {
        assert_eq!(RequestHead::new().parse(&raw[..cut], &Limits::default()), Ok(Parsed::Partial), "{cut}");
    }
    assert_eq!(parse(raw).unwrap().1, raw.len());
}

#[test]
fn a_head_is_reused_after_each_end() {
    let mut head = RequestHead::new();
    let limits = Limits::default();
    let first = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
    let second = b"GET http://i/b HTTP/1.1\r\nHost: i\r\n\r\n";
    assert_eq!(head.parse(first, &limits), Ok(Parsed::Complete { len: first.len() }));
    assert_eq!(head.parse(second, &limits), Ok(Parsed::Complete { len: second.len() }));
    assert_eq!((head.framing(), head.keep_alive()), (Framing::None, true));
    assert_eq!(head.view(second).fields().count(), 1);
    assert_eq!(head.parse(b"GET / HTTP/1.1\r\nA: b\r\nC", &limits), Ok(Parsed::Partial));
    head.clear();
    assert_eq!(head.parse(second, &limits), Ok(Parsed::Complete { len: second.len() }));
    assert!(head.parse(b"GET / HTTP/1.1\r\nA: b\r\n \r\n", &limits).is_err());
    assert_eq!(head.parse(first, &limits), Ok(Parsed::Complete { len: first.len() }));
    assert_eq!(head.view(first).fields().count(), 3);
}

#[test]
fn a_view_of_other_bytes_shows_nothing_instead_of_failing() {
    let raw = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    let (head, _) = parse(raw).unwrap();
    let view = head.view(b"");
    assert_eq!((view.target(), view.method_name()), (b"".as_slice(), b"".as_slice()));
    assert_eq!(view.fields().next().unwrap().name, b"");
}
