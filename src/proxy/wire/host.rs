//! Host and port as they may stand in Host and in an absolute target.
//!
//! Stricter than RFC 3986: no percent-encoding, no empty label, no trailing dot, no user information, no empty port, so
//! that one host has one spelling (letters' case aside). Never here: which host belongs to which tenant.

use super::scan;

const LONGEST_HOST: usize = 255;

/// A host, or host and port, that is plain: what Host may say on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'a>(&'a [u8]);

impl<'a> Authority<'a> {
    /// Nothing if `bytes` is no plain `host` or `host:port`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        is_authority(bytes).then_some(Self(bytes))
    }

    /// For a place that was checked when its head was read.
    pub(super) const fn checked(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes, ASCII, in the case in which they were sent.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The same as text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        std::str::from_utf8(self.0).unwrap_or_default()
    }
}

/// Whether `bytes` is `host` or `host:port`.
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    if let [b'[', rest @ ..] = bytes {
        let Some(close) = rest.iter().position(|&byte| byte == b']') else { return false };
        let Some((address, [_, after @ ..])) = rest.split_at_checked(close) else { return false };
        return is_v6(address) && is_port_part(after);
    }
    let mut label_is_empty = true;
    let mut len = 0;
    for &byte in bytes {
        match byte {
            b':' => break,
            b'.' if label_is_empty => return false,
            b'.' => label_is_empty = true,
            _ if scan::is_host_byte(byte) => label_is_empty = false,
            _ => return false,
        }
        len += 1;
    }
    !label_is_empty && len <= LONGEST_HOST && bytes.get(len..).is_some_and(is_port_part)
}

fn is_v6(address: &[u8]) -> bool {
    std::str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
}

fn is_port_part(part: &[u8]) -> bool {
    match part {
        [] => true,
        [b':', b'1'..=b'9', rest @ ..] => {
            rest.len() <= 4
                && part
                    .iter()
                    .skip(1)
                    .try_fold(0_u32, |port, &byte| {
                        byte.is_ascii_digit().then(|| port * 10 + u32::from(byte - b'0'))
                    })
                    .is_some_and(|port| port <= 65_535)
        }
        _ => false,
    }
}
