//! Trailers on their way through: which of them may go on. Whoever reads a message looks at them last, when everything was
//! decided; so nothing in them may say what a head says (RFC 9110, 6.5.1; law 9).
//!
//! Never here: whether trailers pass at all (that is the configuration's).

use super::fault::HeadFault;
use super::fields::{Fields, Limits};
use super::known::Known;
use super::name_set::NameSet;

/// As a body's reader bounds them, and a little more.
const LIMITS: Limits =
    Limits { max_head: 16 << 10, max_target: 0, max_fields: 64, max_name: 256, max_value: 8 << 10 };

/// Appends the lines that may go on: those with a name that means nothing to a gateway or to whoever frames, routes,
/// identifies or keeps a message, in any spelling, and that is in neither set. `lines` are as
/// [`BodyReader::trailers`](super::BodyReader::trailers) has them.
///
/// # Errors
/// A line is malformed, or there are too many of them.
pub fn pass_trailers(out: &mut Vec<u8>, lines: &[u8], refused: [&NameSet; 2]) -> Result<(), HeadFault> {
    let mut bytes = Vec::with_capacity(lines.len() + 2);
    bytes.extend_from_slice(lines);
    bytes.extend_from_slice(b"\r\n");
    let mut fields = Fields::default();
    if fields.read(&bytes, 0, &LIMITS)? != Some(bytes.len()) {
        return Err(HeadFault::HeaderNameInvalid);
    }
    for field in fields.iter(&bytes) {
        let meant_otherwise = field.known != Known::Other && field.known != Known::Digest;
        if meant_otherwise || refused.iter().any(|names| names.contains(field.name)) {
            continue;
        }
        for part in [field.name, b": ", field.value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(lines: &str) -> Result<String, HeadFault> {
        let (identity, keeping) = (NameSet::new(["X-User"]), NameSet::new(["Surrogate-Control"]));
        let mut out = Vec::new();
        pass_trailers(&mut out, lines.as_bytes(), [&identity, &keeping])?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_means_nothing_to_a_gateway_goes_on() {
        let lines =
            "grpc-status: 0\r\nGrpc-Message: all%20well\r\nx-custom-bin: AAEC\r\nServer-Timing: a;dur=1\r\n";
        assert_eq!(passed(lines).unwrap(), lines);
        assert_eq!(passed("x-a:   padded \t \r\n").unwrap(), "x-a: padded\r\n");
        assert_eq!(passed("").unwrap(), "");
        assert_eq!(passed("Content-Digest: sha-256=:AAAA:\r\n").unwrap().len(), 32);
    }

    #[test]
    fn who_somebody_is_and_how_a_message_is_framed_or_kept_does_not() {
        for name in [
            "X-User",
            "x_user",
            "X.USER",
            "Postern-Assertion",
            "postern_session",
            "Authorization",
            "Cookie",
            "Set-Cookie",
            "set_cookie",
            "Host",
            "Content-Length",
            "content_length",
            "Transfer-Encoding",
            "Connection",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Upgrade",
            "Content-Type",
            "Content-Encoding",
            "Content-Range",
            "Cache-Control",
            "Surrogate-Control",
            "X-Forwarded-For",
            "X-Forwarded_Host",
            "Forwarded",
            "X-Real-IP",
            "X-Original-URL",
            "X-HTTP-Method-Override",
            "X-Accel-Redirect",
            "Proxy-Authorization",
            "Proxy",
            "Expect",
            "Location",
            "WWW-Authenticate",
        ] {
            assert_eq!(
                passed(&format!("a: 1\r\n{name}: x\r\nb: 2\r\n")).unwrap(),
                "a: 1\r\nb: 2\r\n",
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_malformed_or_too_much_is_refused() {
        for lines in
            ["a\r\n", "a : 1\r\n", " a: 1\r\n", "a: 1\n", "a: \0\r\n", "a: 1\r\n\r\nb: 2\r\n", "a: 1"]
        {
            assert!(passed(lines).is_err(), "{lines:?}");
        }
        assert!(passed(&"a: 1\r\n".repeat(65)).is_err());
    }
}
