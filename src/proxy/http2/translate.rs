//! A request of HTTP/2 written as the one head of HTTP/1.1 that means the same. The reader of HTTP/1.1 then reads it as any
//! other: one reading, one set of rules. What HTTP/2 can say and HTTP/1.1 would understand differently is refused here.
//!
//! The library has refused, with an error of the stream: pseudo-headers that are missing, doubled, unknown or late, names in
//! capitals, connection-specific fields, `te` other than `trailers`. Never here: paths, hosts, limits (the reader's).

use std::{future::poll_fn, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use h2::{RecvStream, ext::Protocol};
use http::{HeaderMap, HeaderName, Method, Request, Uri, header, uri::PathAndQuery};

use super::pieces::Inbound;
use crate::proxy::{
    patience::Patience,
    respond::Told,
    wire::{Known, KnownSet},
};

/// The one protocol that a stream may become (RFC 8441, 5).
const WEBSOCKET: &str = "websocket";
/// What only a handshake over HTTP/1.1 has; over HTTP/2 the gateway asks the application by a key of its own.
const OF_A_HANDSHAKE: [HeaderName; 2] = [header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_ACCEPT];

/// A request on its way in.
pub(super) struct Incoming {
    /// Its head as HTTP/1.1; empty where it was refused.
    pub(super) head: Vec<u8>,
    /// Body that was looked at already.
    pub(super) first: Bytes,
    pub(super) body: RecvStream,
    pub(super) inbound: Inbound,
    pub(super) head_request: bool,
    /// The stream is to become a tunnel, or nothing.
    pub(super) tunnel: bool,
}

/// Why it has no head in HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untranslatable {
    Connect,
    Path,
    Scheme,
    HostMismatch,
    OfAConnection,
    Padded,
    LengthMismatch,
    Handshake,
    /// The system gives no random bytes.
    NoKey,
}

impl Untranslatable {
    pub(super) fn told(self) -> Told {
        let (status, code, detail) = match self {
            Self::Connect => (501, "connect_unsupported", "the gateway opens no tunnels but WebSockets"),
            Self::Path => (400, "target_form", "`:path` has to begin with `/`"),
            Self::Scheme => (400, "scheme_mismatch", "`:scheme` is not what this connection speaks"),
            Self::HostMismatch => {
                (400, "target_host_mismatch", "`:authority` and `host` name different hosts")
            }
            Self::OfAConnection => {
                (400, "connection_specific_field", "a field is about a connection of HTTP/1.1")
            }
            Self::Padded => (400, "header_value_padded", "a value begins or ends with a space"),
            Self::LengthMismatch => {
                (400, "content_length_mismatch", "a body was announced that does not follow")
            }
            Self::Handshake => (
                400,
                "upgrade_malformed",
                "a stream that is to become a WebSocket stays open, and has neither length nor key",
            ),
            Self::NoKey => (503, "undecided", "the system gives no random bytes"),
        };
        Told::plain(status, code, detail)
    }
}

/// Writes the head. `None` where the client went away before it was known whether a body follows.
pub(super) async fn translate(
    request: Request<RecvStream>,
    secure: bool,
    most: Duration,
) -> Option<Result<Incoming, (Untranslatable, Incoming)>> {
    let (parts, mut body) = request.into_parts();
    let head_request = parts.method == Method::HEAD;
    let announced = parts.headers.contains_key(header::CONTENT_LENGTH);
    let mut first = Bytes::new();
    // Some clients end a request without a body by a frame of its own. What has none in HTTP/1.1 is not given one for it.
    let mut ended = body.is_end_stream();
    if !ended && !announced && matches!(parts.method, Method::GET | Method::HEAD) {
        let look = async {
            while first.is_empty() {
                match poll_fn(|cx| body.poll_data(cx)).await {
                    None => return Some(true),
                    Some(Ok(data)) => first = data,
                    Some(Err(_)) => return None,
                }
            }
            Some(false)
        };
        ended = Patience::new().wait(most, look).await.ok()??;
    }
    let tunnel = parts.method == Method::CONNECT;
    let inbound = match (ended, announced) {
        (true, _) => Inbound::Done,
        (false, announced) if tunnel || announced => Inbound::Raw,
        (false, _) => Inbound::Chunked,
    };
    let mut head = Vec::with_capacity(1 << 10);
    let written = write(&mut head, &parts, secure, inbound);
    let mut incoming = Incoming { head, first, body, inbound, head_request, tunnel };
    Some(match written {
        Ok(()) => Ok(incoming),
        Err(fault) => {
            incoming.head.clear();
            incoming.inbound = Inbound::Done;
            Err((fault, incoming))
        }
    })
}

fn write(
    out: &mut Vec<u8>,
    parts: &http::request::Parts,
    secure: bool,
    inbound: Inbound,
) -> Result<(), Untranslatable> {
    let tunnel = parts.method == Method::CONNECT;
    if tunnel {
        if parts.extensions.get::<Protocol>().is_none_or(|protocol| protocol.as_str() != WEBSOCKET) {
            return Err(Untranslatable::Connect);
        }
        let refused = parts.headers.contains_key(header::CONTENT_LENGTH)
            || OF_A_HANDSHAKE.iter().any(|name| parts.headers.contains_key(name));
        if inbound == Inbound::Done || refused {
            return Err(Untranslatable::Handshake);
        }
    }
    // Behind something that speaks TLS, a request in clear may well say `https`; over TLS none says `http`.
    let scheme = parts.uri.scheme_str();
    if scheme.is_some_and(|scheme| scheme != "https" && (secure || scheme != "http")) {
        return Err(Untranslatable::Scheme);
    }
    let path = path(&parts.uri)
        .filter(|path| path.starts_with('/') || (*path == "*" && parts.method == Method::OPTIONS));
    let Some(path) = path else { return Err(Untranslatable::Path) };
    // What asks for a WebSocket is a `GET` over HTTP/1.1.
    let method = if tunnel { "GET" } else { parts.method.as_str() };
    for part in [method, " ", path, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let repeated = host(out, parts)?;
    lines(out, &parts.headers, repeated)?;
    if tunnel {
        let mut nonce = [0u8; 16];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| Untranslatable::NoKey)?;
        line(out, b"connection", b"upgrade")?;
        line(out, b"upgrade", WEBSOCKET.as_bytes())?;
        line(out, b"sec-websocket-key", STANDARD.encode(nonce).as_bytes())?;
        out.extend_from_slice(b"\r\n");
        return Ok(());
    }
    match inbound {
        Inbound::Chunked => line(out, b"transfer-encoding", b"chunked")?,
        Inbound::Done => {
            let mut announced = parts.headers.get_all(header::CONTENT_LENGTH).iter();
            if announced.any(|length| length.as_bytes().iter().any(|digit| *digit != b'0')) {
                return Err(Untranslatable::LengthMismatch);
            }
        }
        Inbound::Raw => {}
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Path and query as they came; nothing where none came, which the library would show as `/`.
fn path(uri: &Uri) -> Option<&str> {
    let path = uri.path_and_query().filter(|_| !uri.path().is_empty())?;
    let shown = path.as_str();
    (shown != "/" || *path == PathAndQuery::from_static("/")).then_some(shown)
}

/// Writes the one Host; whether a `host` beside `:authority` says the same and need not be written.
fn host(out: &mut Vec<u8>, parts: &http::request::Parts) -> Result<bool, Untranslatable> {
    let Some(authority) = parts.uri.authority() else { return Ok(false) };
    line(out, b"host", authority.as_str().as_bytes())?;
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let agree =
        |host: &header::HeaderValue| host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes());
    match (hosts.next(), hosts.next()) {
        (None, _) => Ok(true),
        (Some(host), None) if agree(host) => Ok(true),
        (Some(_), None) => Err(Untranslatable::HostMismatch),
        // Left to the reader, who refuses more than one.
        (Some(_), Some(_)) => Ok(false),
    }
}

fn lines(out: &mut Vec<u8>, headers: &HeaderMap, host_repeated: bool) -> Result<(), Untranslatable> {
    let is = |name: &HeaderName, other: HeaderName| *name == other;
    for (name, value) in headers {
        if KnownSet::OF_A_CONNECTION.contains(Known::spelt(name.as_str())) {
            return Err(Untranslatable::OfAConnection);
        }
        if is(name, header::TE) {
            // Said anew towards applications that are sent trailers.
            if value != "trailers" {
                return Err(Untranslatable::OfAConnection);
            }
            continue;
        }
        if is(name, header::COOKIE) || (host_repeated && is(name, header::HOST)) {
            continue;
        }
        line(out, name.as_str().as_bytes(), value.as_bytes())?;
    }
    // A cookie may come in crumbs, and is one line in HTTP/1.1 (RFC 9113, 8.2.3).
    let mut crumbs = headers.get_all(header::COOKIE).iter().peekable();
    if crumbs.peek().is_some() {
        let crumbs: Vec<&[u8]> = crumbs.map(header::HeaderValue::as_bytes).collect();
        line(out, b"cookie", &crumbs.join(&b"; "[..]))?;
    }
    Ok(())
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), Untranslatable> {
    let padding = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    // The library lets none of the others through; a line that ended early would be another one.
    if padding(value.first()) || padding(value.last()) || value.iter().any(|byte| b"\r\n\0".contains(byte)) {
        return Err(Untranslatable::Padded);
    }
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(request: http::request::Builder, inbound: Inbound) -> Result<String, Untranslatable> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let mut out = Vec::new();
        write(&mut out, &parts, true, inbound).map(|()| String::from_utf8(out).unwrap())
    }

    fn get(uri: &str) -> http::request::Builder {
        Request::builder().uri(uri)
    }

    #[test]
    fn a_request_becomes_one_head() {
        let request = get("https://app.example/a?b=c").header("x-one", "1").header("te", "trailers");
        assert_eq!(
            written(request, Inbound::Done).unwrap(),
            "GET /a?b=c HTTP/1.1\r\nhost: app.example\r\nx-one: 1\r\n\r\n"
        );
    }

    #[test]
    fn what_is_to_become_a_websocket_asks_for_it_as_over_http_1() {
        let asking = || {
            let protocol = Protocol::from_static("websocket");
            get("https://app.example/chat?a=b").method("CONNECT").extension(protocol)
        };
        let head = written(asking().header("sec-websocket-version", "13"), Inbound::Raw).unwrap();
        let (before, key) = head.split_once("sec-websocket-key: ").unwrap();
        assert_eq!(
            before,
            "GET /chat?a=b HTTP/1.1\r\nhost: app.example\r\nsec-websocket-version: 13\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        );
        let key = key.strip_suffix("\r\n\r\n").unwrap();
        assert_eq!(STANDARD.decode(key).unwrap().len(), 16);
        assert_ne!(
            written(asking(), Inbound::Raw).unwrap().split_once("key: ").unwrap().1,
            format!("{key}\r\n\r\n")
        );
        assert_eq!(written(asking(), Inbound::Done), Err(Untranslatable::Handshake));
        for name in ["content-length", "sec-websocket-key", "sec-websocket-accept"] {
            assert_eq!(
                written(asking().header(name, "5"), Inbound::Raw),
                Err(Untranslatable::Handshake),
                "{name}"
            );
        }
        for other in ["WebSocket", "websocket ", "connect-udp", ""] {
            let other = get("https://app.example/chat").method("CONNECT").extension(Protocol::from(other));
            assert_eq!(written(other, Inbound::Raw), Err(Untranslatable::Connect));
        }
    }

    #[test]
    fn crumbs_are_joined_and_a_host_that_agrees_is_said_once() {
        let request = get("https://App.example/a")
            .header("cookie", "a=1")
            .header("host", "app.EXAMPLE")
            .header("cookie", "b=2; c=3")
            .header("cookie", "d=4");
        assert_eq!(
            written(request, Inbound::Done).unwrap(),
            "GET /a HTTP/1.1\r\nhost: App.example\r\ncookie: a=1; b=2; c=3; d=4\r\n\r\n"
        );
    }

    #[test]
    fn a_body_is_framed_by_its_length_or_in_chunks() {
        let request = || get("https://app.example/a").method("POST");
        assert!(
            written(request(), Inbound::Chunked).unwrap().ends_with("\r\ntransfer-encoding: chunked\r\n\r\n")
        );
        let sized = request().header("content-length", "5");
        assert!(written(sized, Inbound::Raw).unwrap().ends_with("\r\ncontent-length: 5\r\n\r\n"));
        let empty = request().header("content-length", "0");
        assert!(written(empty, Inbound::Done).unwrap().ends_with("\r\ncontent-length: 0\r\n\r\n"));
        let lying = request().header("content-length", "5");
        assert_eq!(written(lying, Inbound::Done), Err(Untranslatable::LengthMismatch));
    }

    #[test]
    fn what_http_1_would_understand_differently_is_refused() {
        let one = |name: &str, value: &str| {
            written(get("https://app.example/a").header(name, value), Inbound::Done)
        };
        for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
            assert_eq!(one(name, "x"), Err(Untranslatable::OfAConnection), "{name}");
        }
        assert_eq!(one("te", "gzip"), Err(Untranslatable::OfAConnection));
        assert_eq!(one("te", "trailers, gzip"), Err(Untranslatable::OfAConnection));
        for value in [" x", "x ", "\tx", "x\t"] {
            assert_eq!(one("x-a", value), Err(Untranslatable::Padded), "{value:?}");
        }
        assert_eq!(one("host", "other.example"), Err(Untranslatable::HostMismatch));
        assert_eq!(one("host", "app.example:443"), Err(Untranslatable::HostMismatch));
        assert_eq!(written(get("http://app.example/a"), Inbound::Done), Err(Untranslatable::Scheme));
        let connect = Request::builder().method("CONNECT").uri("app.example:443");
        assert_eq!(written(connect, Inbound::Done), Err(Untranslatable::Connect));
        assert_eq!(written(get("*"), Inbound::Done), Err(Untranslatable::Path));
        let mut nowhere = http::uri::Parts::default();
        for path in [None, Some(PathAndQuery::try_from("#a").unwrap())] {
            nowhere.path_and_query = path;
            let uri = Uri::from_parts(std::mem::take(&mut nowhere)).unwrap();
            assert_eq!(written(Request::builder().uri(uri), Inbound::Done), Err(Untranslatable::Path));
        }
        let two = get("https://app.example/a").header("host", "app.example").header("host", "app.example");
        assert_eq!(
            written(two, Inbound::Done).unwrap().matches("host:").count(),
            3,
            "for the reader to refuse"
        );
    }
}
