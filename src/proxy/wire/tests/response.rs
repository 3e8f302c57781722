//! Raw response heads of upstreams good and bad.

use crate::proxy::wire::{Framing, HeadFault, Known, Limits, Parsed, ResponseHead, Version};

fn parse(raw: &[u8]) -> Result<ResponseHead, HeadFault> {
    let mut head = ResponseHead::new();
    match head.parse(raw, &Limits::default())? {
        Parsed::Complete { len } => {
            assert_eq!(len, raw.len());
            Ok(head)
        }
        Parsed::Partial => panic!("partial: {}", raw.escape_ascii()),
    }
}

fn with(status: u16, lines: &str) -> Result<ResponseHead, HeadFault> {
    parse(format!("HTTP/1.1 {status} x\r\n{lines}\r\n").as_bytes())
}

#[test]
fn ordinary_responses_are_taken() {
    let raw = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 5\r\n\r\n";
    let head = parse(raw).unwrap();
    assert_eq!((head.status(), head.version()), (200, Version::Http11));
    assert_eq!((head.framing(false), head.framing(true)), (Framing::Length(5), Framing::None));
    assert_eq!((head.declared(), head.keep_alive(false)), (Framing::Length(5), true));
    let view = head.view(raw);
    assert_eq!(view.find(Known::ContentType), Some(b"a/b".as_slice()));
    assert_eq!(view.fields().filter(|field| field.known == Known::SetCookie).count(), 2);
    for line in ["HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200 \r\n\r\n", "HTTP/1.0 599 \u{e4} \t\r\n\r\n"] {
        assert!(parse(line.as_bytes()).is_ok(), "{line:?}");
    }
}

#[test]
fn status_lines_that_are_not_exact_are_refused() {
    for (raw, code) in [
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", "leading_empty_line"),
        ("<html>not http</html>", "status_line_malformed"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "status_line_malformed"),
        ("http/1.1 200 OK\r\n\r\n", "status_line_malformed"),
        ("HTTP/2.0 200 OK\r\n\r\n", "version_unsupported"),
        ("HTTP/1.2 200 OK\r\n\r\n", "version_unsupported"),
        ("HTTP/1.1  200 OK\r\n\r\n", "status_line_malformed"),
        ("HTTP/1.1\t200 OK\r\n\r\n", "status_line_malformed"),
        ("HTTP/1.1 20 OK\r\n\r\n", "status_line_malformed"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "status_line_malformed"),
        ("HTTP/1.1 +20 OK\r\n\r\n", "status_line_malformed"),
        ("HTTP/1.1 abc OK\r\n\r\n", "status_line_malformed"),
        ("HTTP/1.1 200OK\r\n\r\n", "status_line_malformed"),
        ("HTTP/1.1 200\tOK\r\n\r\n", "status_line_malformed"),
        ("HTTP/1.1 000 OK\r\n\r\n", "status_out_of_range"),
        ("HTTP/1.1 099 OK\r\n\r\n", "status_out_of_range"),
        ("HTTP/1.1 600 OK\r\n\r\n", "status_out_of_range"),
        ("HTTP/1.1 999 OK\r\n\r\n", "status_out_of_range"),
        ("HTTP/1.1 200 OK\n\r\n", "bare_lf"),
        ("HTTP/1.1 200\n\r\n", "bare_lf"),
        ("HTTP/1.1 200 O\rK\r\n\r\n", "bare_cr"),
        ("HTTP/1.1 200 O\x00K\r\n\r\n", "status_line_malformed"),
        ("HTTP/1.1 200 O\x1b[1mK\r\n\r\n", "status_line_malformed"),
    ] {
        assert_eq!(parse(raw.as_bytes()).unwrap_err().code(), code, "{raw:?}");
    }
}

#[test]
fn responses_that_two_readers_could_read_differently_are_refused() {
    for (lines, code) in [
        ("Content-Length: 5\r\nContent-Length: 5\r\n", "content_length_duplicate"),
        ("Content-Length: 5,5\r\n", "content_length_invalid"),
        ("Content-Length: +5\r\n", "content_length_invalid"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "framing_conflict"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "transfer_encoding_duplicate"),
        ("Transfer-Encoding: gzip, chunked\r\n", "transfer_coding_unsupported"),
        ("Transfer-Encoding: identity\r\n", "transfer_coding_unsupported"),
        ("Transfer_Encoding: chunked\r\n", "framing_lookalike"),
        ("A: b\r\n c\r\n", "obs_fold"),
        (" A: b\r\n", "obs_fold"),
        ("A : b\r\n", "header_name_space"),
        ("A: b\nC: d\r\n", "bare_lf"),
        ("A: b\rC: d\r\n", "bare_cr"),
        ("A: \x00\r\n", "header_value_byte"),
        ("A\r\n", "header_colon_missing"),
        ("A: b\r\n\n", "bare_lf"),
        ("Location: /a\r\nLocation: /b\r\n", "header_duplicate"),
        ("Connection: Set-Cookie\r\n", "connection_names_protected"),
        ("Connection: Content-Type\r\n", "connection_names_protected"),
        ("Connection: a b\r\n", "connection_invalid"),
    ] {
        assert_eq!(with(200, lines).unwrap_err().code(), code, "{lines:?}");
    }
    let old = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(parse(old).unwrap_err().code(), "transfer_encoding_in_http10");
    assert_eq!(with(204, "Content-Length: 5\r\n").unwrap_err().code(), "body_forbidden");
    assert_eq!(with(204, "Transfer-Encoding: chunked\r\n").unwrap_err().code(), "body_forbidden");
    assert_eq!(with(103, "Content-Length: 5\r\n").unwrap_err().code(), "body_forbidden");
    for lines in ["", "Upgrade: websocket\r\n", "Connection: upgrade\r\n"] {
        assert_eq!(with(101, lines).unwrap_err().code(), "upgrade_incomplete", "{lines:?}");
    }
    let old = b"HTTP/1.0 101 x\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n";
    assert_eq!(parse(old).unwrap_err().code(), "upgrade_incomplete");
    let many = "A: b\r\n".repeat(101);
    assert_eq!(with(200, &many).unwrap_err().code(), "too_many_headers");
    let large = format!("A: {}\r\n", "b".repeat(16_000)).repeat(3);
    assert_eq!(with(200, &large).unwrap_err().code(), "head_too_large");
}

#[test]
fn the_end_of_a_response_is_found() {
    for (status, lines, head_request, framing, keep_alive) in [
        (200, "Transfer-Encoding: chunked\r\n", false, Framing::Chunked, true),
        (200, "Transfer-Encoding: chunked\r\n", true, Framing::None, true),
        (200, "", false, Framing::UntilClose, false),
        (200, "", true, Framing::None, true),
        (200, "Connection: close\r\nContent-Length: 3\r\n", false, Framing::Length(3), false),
        (204, "", false, Framing::None, true),
        (204, "Content-Length: 0\r\n", false, Framing::None, true),
        (304, "Content-Length: 5\r\n", false, Framing::None, true),
        (304, "Transfer-Encoding: chunked\r\n", false, Framing::None, true),
        (100, "", false, Framing::None, true),
        (103, "Link: </a>\r\n", false, Framing::None, true),
        (101, "Connection: Upgrade\r\nUpgrade: websocket\r\n", false, Framing::None, false),
    ] {
        let head = with(status, lines).unwrap();
        assert_eq!(head.framing(head_request), framing, "{status} {lines:?}");
        assert_eq!(head.keep_alive(head_request), keep_alive, "{status} {lines:?}");
        assert_eq!(head.is_informational(), status < 200);
    }
    let old = parse(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n").unwrap();
    assert!(!old.keep_alive(false));
    let old = parse(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n").unwrap();
    assert!(old.keep_alive(false));
}

#[test]
fn partial_responses_wait() {
    let raw = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    for cut in 0..raw.len() {
        assert_eq!(ResponseHead::new().parse(&raw[..cut], &Limits::default()), Ok(Parsed::Partial), "{cut}");
    }
}
