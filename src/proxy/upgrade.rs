//! The handshake by which a connection becomes a WebSocket (RFC 6455, 4): whether a request asks for one in the one form
//! that every reader takes alike, from where it may ask, and whether the application granted what was asked for.
//!
//! Never here: what passes in the tunnel; that is counted, not judged (rule 12). Any other protocol, `h2c` above all, is
//! none that a connection may become: the header is removed and the request passes as an ordinary one.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::engine::knock::Who;

use super::{
    collect::{self, Token},
    core::Core,
    routing::{Binding, Routing},
    wire::{Known, Method, RequestView, ResponseView, Value},
};

const WEBSOCKET: &str = "websocket";
/// What every server appends to the key (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Status, code and words of a handshake that goes no further.
pub(super) type Refused = (u16, &'static str, &'static str);

/// A handshake that may go on to the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handshake {
    /// What `Sec-WebSocket-Accept` must say.
    accept: String,
}

impl Handshake {
    fn new(key: &[u8]) -> Handshake {
        let accept = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
        Handshake { accept: STANDARD.encode(accept) }
    }

    /// Whether a 101 grants this and nothing else.
    pub(super) fn is_granted_by(&self, answer: &ResponseView<'_>) -> bool {
        answer.find(Known::Upgrade).is_some_and(is_websocket)
            && answer.find(Known::SecWebSocketAccept) == Some(self.accept.as_bytes())
    }
}

/// What is written in `Upgrade`, towards both sides.
pub(super) fn protocol() -> Option<Value<'static>> {
    Value::ascii(WEBSOCKET)
}

/// Whether a request asks for a WebSocket on a route that may become one. `None` is a request like any other.
pub(super) fn asked(
    request: &RequestView<'_>,
    binding: Option<&Binding>,
    core: &Core,
    routing: &Routing,
    who: &Who,
) -> Result<Option<Handshake>, Refused> {
    if !binding.is_some_and(|binding| binding.upgrade) {
        return Ok(None);
    }
    let Some(handshake) = handshake(request)? else { return Ok(None) };
    // Whoever brought a token that is not in `Authorization` brought it in a cookie, whichever count as such by now.
    let in_header = matches!(collect::token(request, &[]), Token::Bearer(_));
    let by_cookie = !in_header && !matches!(who, Who::Nobody);
    let secure = core.shared().tls.load().is_some();
    if by_cookie && !comes_from_here(request, routing, secure) {
        let detail = "a page of another origin may not open this WebSocket with a cookie";
        return Err((403, "upgrade_origin", detail));
    }
    Ok(Some(handshake))
}

fn handshake(request: &RequestView<'_>) -> Result<Option<Handshake>, Refused> {
    let head = request.head();
    let asks = head.upgrade() && head.method() == Method::Get;
    if !asks || !request.find(Known::Upgrade).is_some_and(is_websocket) {
        return Ok(None);
    }
    if request.find(Known::SecWebSocketVersion) != Some(b"13") {
        return Err((400, "upgrade_malformed", "`Sec-WebSocket-Version` must be 13"));
    }
    match request.find(Known::SecWebSocketKey) {
        Some(key) if STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16) => {
            Ok(Some(Handshake::new(key)))
        }
        _ => Err((400, "upgrade_malformed", "`Sec-WebSocket-Key` must be 16 bytes in base64")),
    }
}

fn is_websocket(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(WEBSOCKET.as_bytes())
}

/// Whether the page that asks is the application's own, or one that may use cookies here. Browsers send cookies along from
/// every page, ask no question before they open a WebSocket, and let the page read what comes; they always name its origin.
fn comes_from_here(request: &RequestView<'_>, routing: &Routing, secure: bool) -> bool {
    let Some(origin) = request.find(Known::Origin) else {
        return request.find(Known::SecFetchSite) == Some(b"same-origin");
    };
    let listed = |origin: &[u8]| routing.cors.origins.iter().any(|one| one.as_bytes() == origin);
    if routing.cors.credentials && listed(origin) {
        return true;
    }
    // Without TLS of our own it stands before us, or nowhere; we cannot know.
    let plain = origin.strip_prefix(b"http://").filter(|_| !secure);
    let (Some(named), Some(host)) = (origin.strip_prefix(b"https://").or(plain), request.host()) else {
        return false;
    };
    named.eq_ignore_ascii_case(host.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::wire::{Limits, Parsed, RequestHead, ResponseHead};

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn read(text: &str) -> Result<Option<Handshake>, Refused> {
        let mut head = RequestHead::new();
        let parsed = head.parse(text.as_bytes(), &Limits::default()).unwrap();
        assert!(matches!(parsed, Parsed::Complete { .. }));
        handshake(&head.view(text.as_bytes()))
    }

    fn asking(start: &str, lines: &str) -> Result<Option<Handshake>, Refused> {
        read(&format!("{start}\r\nHost: a\r\n{lines}\r\n"))
    }

    fn granted(lines: &str) -> bool {
        let text = format!("HTTP/1.1 101 x\r\nConnection: upgrade\r\n{lines}\r\n");
        let mut head = ResponseHead::default();
        let _ = head.parse(text.as_bytes(), &Limits::default()).unwrap();
        Handshake::new(KEY.as_bytes()).is_granted_by(&head.view(text.as_bytes()))
    }

    #[test]
    fn the_example_of_the_rfc_is_a_handshake() {
        let lines = format!(
            "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
        );
        let handshake = asking("GET /chat HTTP/1.1", &lines).unwrap().unwrap();
        assert_eq!(handshake.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for start in ["POST /chat HTTP/1.1", "GET /chat HTTP/1.0", "HEAD /chat HTTP/1.1"] {
            assert_eq!(asking(start, &lines), Ok(None), "{start}");
        }
    }

    #[test]
    fn other_protocols_are_requests_like_any_other() {
        for protocol in ["h2c", "websocket, h2c", "h2c, websocket", "websocket/13", "websockets", "TLS/1.0"] {
            let lines = format!(
                "Connection: Upgrade\r\nUpgrade: {protocol}\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
            );
            assert_eq!(asking("GET / HTTP/1.1", &lines), Ok(None), "{protocol}");
        }
        let half = format!("Upgrade: websocket\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n");
        assert_eq!(asking("GET / HTTP/1.1", &half), Ok(None));
    }

    #[test]
    fn a_handshake_that_is_none_is_refused() {
        let key = format!("Sec-WebSocket-Key: {KEY}\r\n");
        for lines in [
            key.clone(),
            format!("{key}Sec-WebSocket-Version: 8\r\n"),
            format!("{key}Sec-WebSocket-Version: 013\r\n"),
            "Sec-WebSocket-Version: 13\r\n".to_owned(),
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \r\n".to_owned(),
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n".to_owned(),
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n".to_owned(),
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n".to_owned(),
            format!("Sec-WebSocket-Version: 13\r\nSec_WebSocket_Key: {KEY}\r\n"),
        ] {
            let asked =
                asking("GET / HTTP/1.1", &format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{lines}"));
            assert_eq!(asked.unwrap_err().1, "upgrade_malformed", "{lines}");
        }
    }

    #[test]
    fn only_the_right_word_for_the_right_key_grants() {
        let right = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        assert!(granted(&format!("Upgrade: websocket\r\n{right}")));
        for lines in [
            "Upgrade: websocket\r\n".to_owned(),
            format!("Upgrade: h2c\r\n{right}"),
            format!("Upgrade: websocket, h2c\r\n{right}"),
            "Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo\r\n".to_owned(),
            "Upgrade: websocket\r\nSec-WebSocket-Accept: S3PPLMBITXAQ9KYGZZHZRBK+XOO=\r\n".to_owned(),
            "Upgrade: websocket\r\nSec_WebSocket_Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n".to_owned(),
        ] {
            assert!(!granted(&lines), "{lines}");
        }
    }
}
