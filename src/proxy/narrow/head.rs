//! Which answers can be narrowed, and what of their heads passes.
//!
//! A list can be narrowed that came whole, as JSON, and not compressed. Of what the application says instead (nothing there, not
//! now, not like this) the status passes and nothing else: whatever its words tell of, nobody has looked at. Everything that
//! would lead elsewhere or tell of a part is refused.
//!
//! Never here: bytes of bodies.

use std::sync::LazyLock;

use super::fault::NarrowFault;
use crate::proxy::wire::{Known, KnownSet, NameSet, Only, ResponseView};

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// It passes the filter.
    Filtered,
    /// There is none, or none passes.
    Withheld,
}

/// What of a request does not go on where its answer is narrowed: conditions and ranges are about what the application would
/// have said, and a coding hides it.
pub const NOT_ASKED: KnownSet = KnownSet::of(&[
    Known::Range,
    Known::IfRange,
    Known::IfMatch,
    Known::IfNoneMatch,
    Known::IfModifiedSince,
    Known::IfUnmodifiedSince,
    Known::AcceptEncoding,
]);

/// What becomes of an answer to `GET`, or to `HEAD`, whose answer has no body but says the same.
///
/// # Errors
/// [`NarrowFault`] where it is neither a list nor a plain refusal.
pub fn body(view: &ResponseView<'_>) -> Result<Body, NarrowFault> {
    match view.head().status() {
        200 => {}
        204 | 400.. => return Ok(Body::Withheld),
        _ => return Err(NarrowFault::Status),
    }
    let lines = |known| view.fields().filter(move |field| field.known == known);
    if lines(Known::ContentRange).next().is_some() {
        return Err(NarrowFault::Status);
    }
    plain_json(view)?;
    Ok(Body::Filtered)
}

/// Whether an answer is declared as JSON, once, and not compressed.
///
/// # Errors
/// [`NarrowFault::Type`] and [`NarrowFault::Coded`] where it is not.
pub fn plain_json(view: &ResponseView<'_>) -> Result<(), NarrowFault> {
    let lines = |known| view.fields().filter(move |field| field.known == known);
    let uncoded = |value: &[u8]| value.is_empty() || value.eq_ignore_ascii_case(b"identity");
    if !lines(Known::ContentEncoding).all(|field| !field.lookalike && uncoded(field.value)) {
        return Err(NarrowFault::Coded);
    }
    let mut types = lines(Known::ContentType);
    match (types.next(), types.next()) {
        (Some(field), None) if !field.lookalike && is_json(field.value) => Ok(()),
        _ => Err(NarrowFault::Type),
    }
}

/// The same of a head of HTTP/2 whose status is 200, where there is no other spelling of a name.
///
/// # Errors
/// [`NarrowFault`] where what is behind it is no plain JSON.
pub fn body_of_http2(headers: &http::HeaderMap) -> Result<Body, NarrowFault> {
    if headers.contains_key(http::header::CONTENT_RANGE) {
        return Err(NarrowFault::Status);
    }
    let uncoded = |value: &[u8]| value.is_empty() || value.eq_ignore_ascii_case(b"identity");
    if !headers.get_all(http::header::CONTENT_ENCODING).iter().all(|value| uncoded(value.as_bytes())) {
        return Err(NarrowFault::Coded);
    }
    let mut types = headers.get_all(http::header::CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(value), None) if is_json(value.as_bytes()) => Ok(Body::Filtered),
        _ => Err(NarrowFault::Type),
    }
}

/// `application/json`, or one that ends in `+json` (RFC 6839); in UTF-8, which is the only one there is (RFC 8259, 8.1).
fn is_json(value: &[u8]) -> bool {
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let plain = kind.iter().all(|byte| byte.is_ascii_alphanumeric() || b"/+.-_".contains(byte));
    let json = kind == b"application/json" || (kind.starts_with(b"application/") && kind.ends_with(b"+json"));
    let utf8 = |part: &[u8]| {
        let lower = part.to_ascii_lowercase();
        match lower.strip_prefix(b"charset=") {
            Some(charset) => [&b"utf-8"[..], b"\"utf-8\"", b"utf8"].contains(&charset),
            None => true,
        }
    };
    plain && json && parts.all(utf8)
}

/// What of the head of such an answer passes. What is not in here could count, name or lead to what is hidden: validators,
/// lengths, digests, links with cursors, and whatever an application has made up for totals (rule 15).
#[must_use]
pub fn passes(body: Body) -> Only<'static> {
    static NAMES: LazyLock<NameSet> = LazyLock::new(|| {
        NameSet::new([
            "Content-Language",
            "Content-Security-Policy",
            "Cross-Origin-Resource-Policy",
            "Deprecation",
            "Retry-After",
            "Strict-Transport-Security",
            "Sunset",
            "Timing-Allow-Origin",
            "Vary",
            "X-Content-Type-Options",
        ])
    });
    const ALWAYS: KnownSet = KnownSet::of(&[
        Known::AccessControl,
        Known::Date,
        Known::RequestId,
        Known::SetCookie,
        Known::Traceparent,
        Known::WwwAuthenticate,
    ]);
    let known = match body {
        Body::Filtered => ALWAYS.union(KnownSet::of(&[Known::ContentType, Known::ContentDisposition])),
        Body::Withheld => ALWAYS,
    };
    Only { known, names: &NAMES }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::wire::{Limits, ResponseHead};

    fn judged(lines: &str) -> Result<Body, NarrowFault> {
        let text = format!("HTTP/1.1 {lines}\r\n\r\n");
        let mut head = ResponseHead::new();
        let _ = head.parse(text.as_bytes(), &Limits::default()).unwrap();
        body(&head.view(text.as_bytes()))
    }

    #[test]
    fn only_whole_plain_json_is_a_list() {
        let json = "Content-Type: application/json";
        for good in [
            json,
            "Content-Type: application/JSON; charset=UTF-8",
            "content-type: application/vnd.api+json;ext=\"x\"",
            "Content-Type: application/json\r\nContent-Encoding: identity",
            "Content-Type: application/json;charset=\"utf-8\"",
        ] {
            assert_eq!(judged(&format!("200 OK\r\n{good}")), Ok(Body::Filtered), "{good}");
        }
        for (bad, fault) in [
            (format!("206 OK\r\n{json}"), NarrowFault::Status),
            (format!("304 OK\r\n{json}"), NarrowFault::Status),
            (format!("302 OK\r\n{json}\r\nLocation: /export/1"), NarrowFault::Status),
            (format!("201 OK\r\n{json}"), NarrowFault::Status),
            (format!("203 OK\r\n{json}"), NarrowFault::Status),
            (format!("226 OK\r\n{json}"), NarrowFault::Status),
            (format!("200 OK\r\n{json}\r\nContent-Range: items 0-9/100"), NarrowFault::Status),
            (format!("200 OK\r\n{json}\r\nContent-Encoding: gzip"), NarrowFault::Coded),
            (format!("200 OK\r\n{json}\r\nContent-Encoding: identity, br"), NarrowFault::Coded),
            (
                format!("200 OK\r\n{json}\r\nContent-Encoding: identity\r\nContent-Encoding: br"),
                NarrowFault::Coded,
            ),
            (format!("200 OK\r\n{json}\r\nContent_Encoding: identity"), NarrowFault::Coded),
            ("200 OK\r\nA: b".to_owned(), NarrowFault::Type),
            ("200 OK\r\nContent-Type: text/csv".to_owned(), NarrowFault::Type),
            ("200 OK\r\nContent-Type: application/jsonl".to_owned(), NarrowFault::Type),
            ("200 OK\r\nContent-Type: application/x-ndjson".to_owned(), NarrowFault::Type),
            ("200 OK\r\nContent-Type: application/json; charset=utf-16".to_owned(), NarrowFault::Type),
            ("200 OK\r\nContent-Type: text/html, application/a+json".to_owned(), NarrowFault::Type),
            (format!("200 OK\r\n{json}\r\n{json}"), NarrowFault::Type),
            ("200 OK\r\nContent_Type: application/json".to_owned(), NarrowFault::Type),
        ] {
            assert_eq!(judged(&bad), Err(fault), "{bad}");
        }
    }

    #[test]
    fn of_a_refusal_the_status_passes_whatever_its_body_is() {
        for status in ["204", "401", "404", "422", "429", "500", "503"] {
            assert_eq!(judged(&format!("{status} X\r\nContent-Type: text/html")), Ok(Body::Withheld));
        }
    }
}
