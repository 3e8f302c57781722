//! The textual armour of keys (RFC 7468): one block, strict base64, nothing before or after but white space.
//!
//! Never here: what the bytes inside mean.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

/// The label of the only block of a text, and its bytes; they may be a private key, so they are wiped afterwards.
pub(super) fn decode(text: &str) -> Option<(&str, Zeroizing<Vec<u8>>)> {
    let (label, rest) = text.trim().strip_prefix("-----BEGIN ")?.split_once("-----")?;
    let body = rest.strip_suffix("-----")?.strip_suffix(label)?.strip_suffix("-----END ")?;
    let body: Zeroizing<Vec<u8>> =
        Zeroizing::new(body.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r' | b' ' | b'\t')).collect());
    let bytes = STANDARD.decode(body.as_slice()).ok()?;
    Some((label, Zeroizing::new(bytes)))
}

/// A block in lines of 64 characters.
pub(super) fn encode(label: &str, bytes: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(bytes));
    let mut out = Zeroizing::new(String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 40));
    out.push_str("-----BEGIN ");
    out.push_str(label);
    out.push_str("-----\n");
    for (index, c) in body.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            out.push('\n');
        }
        out.push(c);
    }
    out.push_str("\n-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_as_it_went_in() {
        for length in [0, 1, 47, 48, 49, 300] {
            let bytes: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let text = encode("PUBLIC KEY", &bytes);
            assert!(text.lines().all(|line| line.len() <= 64));
            let (label, back) = decode(&text).unwrap();
            assert_eq!((label, back.as_slice()), ("PUBLIC KEY", bytes.as_slice()));
        }
    }

    #[test]
    fn a_broken_or_second_block_is_refused() {
        let good = encode("A", b"abc");
        for bad in [
            "",
            "-----BEGIN A-----",
            "-----BEGIN A-----\nYWJj\n-----END B-----",
            "-----BEGIN A-----\nYW*j\n-----END A-----",
            "x-----BEGIN A-----\nYWJj\n-----END A-----",
            &format!("{}{}", good.as_str(), good.as_str()),
        ] {
            assert!(decode(bad).is_none(), "{bad}");
        }
    }
}
