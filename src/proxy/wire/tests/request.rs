//! Raw request heads, one line each: what is taken, and what is refused with which code.

use crate::proxy::wire::{Framing, HeadFault, Known, Limits, Method, Parsed, RequestHead, Version};

fn parse(raw: &[u8]) -> Result<(RequestHead, usize), HeadFault> {
    parse_within(raw, &Limits::default())
}

fn parse_within(raw: &[u8], limits: &Limits) -> Result<(RequestHead, usize), HeadFault> {
    let mut head = RequestHead::new();
    match head.parse(raw, limits)? {
        Parsed::Complete { len } => Ok((head, len)),
        Parsed::Partial => panic!("partial: {}", raw.escape_ascii()),
    }
}

/// A head with one line between Host and the end.
fn with(line: &str) -> Vec<u8> {
    format!("GET /a HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n").into_bytes()
}

fn assert_codes(cases: &[(&[u8], &str)]) {
    for (raw, code) in cases {
        match parse(raw) {
            Err(fault) => assert_eq!(fault.code(), *code, "{}", raw.escape_ascii()),
            Ok(_) => panic!("taken: {}", raw.escape_ascii()),
        }
    }
}

fn assert_line_codes(cases: &[(&str, &str)]) {
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
    assert_eq!(view.host(), Some(b"Example.com:8080".as_slice()));
    assert_eq!(view.find(Known::Cookie), Some(b"a=b; c=d".as_slice()));
    assert!(head.keep_alive() && !head.upgrade() && !head.expect_continue());
    let names: Vec<_> = view.fields().map(|field| (field.name, field.known)).collect();
    assert_eq!(
        names,
        [(b"Host".as_slice(), Known::Host), (b"Accept", Known::Accept), (b"Cookie", Known::Cookie)]
    );
}
