//! A head that we wrote in HTTP/1.1 as the request of HTTP/2 that means the same, and an answer of HTTP/2 as the head that our
//! strict reader then reads like any other. What identifies, frames or belongs to a connection was decided before: nothing
//! is let through here that the writer of HTTP/1.1 keeps back.
//!
//! Never here: a decision, a stream.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header, response,
    uri::{Authority, Parts, PathAndQuery, Scheme},
};

use crate::proxy::{
    http2::pieces::Inbound,
    wire::{Known, KnownSet, RequestView},
};

/// The request; `None` where it has no form in HTTP/2. `trailers`: we take them, and say so.
pub(super) fn request(view: &RequestView<'_>, secure: bool, trailers: bool) -> Option<Request<()>> {
    let target = view.target();
    let path = PathAndQuery::try_from(target).ok()?;
    // The path that was decided on is the one that is sent (law 10).
    if path.as_str().as_bytes() != target {
        return None;
    }
    let mut parts = Parts::default();
    parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(Authority::try_from(view.host()?.as_bytes()).ok()?);
    parts.path_and_query = Some(path);
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(view.method_name()).ok()?;
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    for field in view.fields() {
        // The host is the authority, and what we take we say ourselves.
        if KnownSet::OF_A_CONNECTION.contains(field.known) || matches!(field.known, Known::Host | Known::Te) {
            continue;
        }
        let name = HeaderName::from_bytes(field.name).ok()?;
        let mut value = HeaderValue::from_bytes(field.value).ok()?;
        // Never kept in the table that all requests of the connection share, unless it says nothing of anybody: our own
        // lines may have any name.
        let of_nobody = matches!(
            field.known,
            Known::Accept
                | Known::AcceptEncoding
                | Known::CacheControl
                | Known::ContentLength
                | Known::ContentType
        );
        value.set_sensitive(!of_nobody);
        headers.append(name, value);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    Some(request)
}

/// Writes the head of an answer; how its body comes.
pub(super) fn response(
    out: &mut Vec<u8>,
    parts: &response::Parts,
    ended: bool,
    head_request: bool,
) -> Inbound {
    let status = parts.status.as_u16();
    out.extend_from_slice(format!("HTTP/1.1 {status} \r\n").as_bytes());
    lines(out, &parts.headers);
    let bodyless = head_request || matches!(status, 204 | 304);
    let announced = parts.headers.contains_key(header::CONTENT_LENGTH);
    let inbound = match (bodyless || ended, announced) {
        (true, _) => Inbound::Done,
        (false, true) => Inbound::Raw,
        (false, false) => Inbound::Chunked,
    };
    if inbound == Inbound::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    } else if ended && !bodyless && !announced {
        out.extend_from_slice(b"content-length: 0\r\n");
    }
    out.extend_from_slice(b"\r\n");
    inbound
}

fn lines(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::wire::{Framing, Limits, Parsed, RequestHead, ResponseHead};

    fn asked(text: &str, trailers: bool) -> Option<Request<()>> {
        let mut head = RequestHead::new();
        let parsed = head.parse(text.as_bytes(), &Limits::default()).unwrap();
        assert!(matches!(parsed, Parsed::Complete { .. }));
        request(&head.view(text.as_bytes()), true, trailers)
    }

    #[test]
    fn a_head_becomes_a_request_and_loses_what_belongs_to_a_connection() {
        let text = "POST /a%2Db?c=d&e HTTP/1.1\r\nHost: app.example:8443\r\nX-One: 1\r\nx-one: 2\r\n\
                    Accept: a/b\r\nAuthorization: Bearer x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let request = asked(text, true).unwrap();
        assert_eq!(request.uri().to_string(), "https://app.example:8443/a%2Db?c=d&e");
        assert_eq!(request.method(), Method::POST);
        let values: Vec<_> = request.headers().get_all("x-one").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!(request.headers()["te"], "trailers");
        for personal in ["authorization", "x-one"] {
            assert!(request.headers()[personal].is_sensitive(), "{personal}");
        }
        assert!(!request.headers()["accept"].is_sensitive());
        for gone in ["host", "transfer-encoding", "connection"] {
            assert!(!request.headers().contains_key(gone), "{gone}");
        }
        assert!(!asked(text, false).unwrap().headers().contains_key("te"));
        let options = asked("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", false).unwrap();
        assert_eq!(options.uri().path_and_query().unwrap().as_str(), "*");
    }

    #[test]
    fn an_answer_becomes_a_head_that_ends_where_it_ends() {
        let told = |status: u16, headers: &[(&str, &str)], ended: bool, head_request: bool| {
            let mut answer = http::Response::builder().status(status);
            for (name, value) in headers {
                answer = answer.header(*name, *value);
            }
            let (parts, ()) = answer.body(()).unwrap().into_parts();
            let mut out = Vec::new();
            let inbound = response(&mut out, &parts, ended, head_request);
            let mut head = ResponseHead::new();
            let parsed = head.parse(&out, &Limits::default()).unwrap();
            assert_eq!(parsed, Parsed::Complete { len: out.len() });
            (inbound, head.framing(head_request))
        };
        assert_eq!(told(200, &[("grpc-status", "5")], true, false), (Inbound::Done, Framing::Length(0)));
        assert_eq!(told(200, &[], false, false), (Inbound::Chunked, Framing::Chunked));
        assert_eq!(told(200, &[("content-length", "5")], false, false), (Inbound::Raw, Framing::Length(5)));
        assert_eq!(told(200, &[("content-length", "5")], true, true), (Inbound::Done, Framing::None));
        assert_eq!(told(204, &[], true, false), (Inbound::Done, Framing::None));
        assert_eq!(told(304, &[], true, false), (Inbound::Done, Framing::None));
    }
}
