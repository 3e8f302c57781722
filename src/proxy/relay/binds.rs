//! Logins that belong to a connection, not to a request: NTLM and Negotiate. An application that knows such a login takes
//! whatever comes next on the same connection for the same person's, so such a connection serves one exchange.
//!
//! Never here: what becomes of the connection (see [`relay`](super)).

use crate::proxy::wire::{Known, RequestView, ResponseView};

/// Whether the request logs in its connection.
pub(super) fn request(view: &RequestView<'_>) -> bool {
    let bears = |value: &[u8]| value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
    let lines = view.fields().filter(|field| field.known == Known::Authorization);
    // A token is long, comes with nearly every request, and is no list: it is not looked through.
    lines.into_iter().any(|field| !bears(field.value) && names(field.value))
}

/// Whether the answer asks for such a login, or tells of one.
pub(super) fn response(view: &ResponseView<'_>) -> bool {
    view.fields().any(|field| match field.known {
        Known::WwwAuthenticate => names(field.value),
        // A gateway's own, and no business of an application: whatever it means, it means the connection.
        Known::ProxyAuthenticate | Known::Proxy => true,
        _ => false,
    })
}

/// Whether one of the challenges or credentials is of a scheme that binds.
fn names(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|element| {
        let element = element.trim_ascii();
        let scheme = element.split(|byte| matches!(byte, b' ' | b'\t')).next().unwrap_or_default();
        [&b"ntlm"[..], b"negotiate", b"kerberos", b"nego2"].iter().any(|one| scheme.eq_ignore_ascii_case(one))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_that_bind_are_found_among_others() {
        for binding in [
            "NTLM",
            "Negotiate",
            "negotiate TlRM",
            "Basic realm=\"a\", NTLM",
            "Bearer,  Negotiate\tabc",
            "nTlM x",
        ] {
            assert!(names(binding.as_bytes()), "{binding}");
        }
        for free in ["", "Bearer NTLM", "Basic realm=\"Negotiate\"", "NTLMv3", "Digest nonce=ntlm"] {
            assert!(!names(free.as_bytes()), "{free}");
        }
    }
}
