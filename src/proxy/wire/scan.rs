//! Bytes: which are allowed where, and the loops that look for the first that is not.
//!
//! Values are scanned eight bytes at a time, names and targets by one table. Never here: what a byte sequence means.

/// May stand in a token (method, header name): RFC 9110, 5.6.2.
const TOKEN: u8 = 1;
/// May stand in a request target. Stricter than "visible": without `#` (a fragment is never sent) and without the bytes
/// that RFC 3986 does not allow raw and that parsers read differently: quotes, angle brackets, backslash, caret, grave,
/// braces and bar.
const TARGET: u8 = 2;
/// A token byte other than letters, digits and `-`. Gateways of the CGI family turn some or all of these into `_`, so a
/// name that has one may mean the same as one that has `-` there.
const ODD: u8 = 4;
/// May stand in a host name.
const HOST: u8 = 8;

const CLASS: [u8; 256] = classes();
const FOLD: [u8; 256] = folds();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "the loop ends at 255")]
        let byte = at as u8;
        let alnum = byte.is_ascii_alphanumeric();
        let odd_token = matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        let barred = matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}');
        let mut class = 0;
        if alnum || byte == b'-' || odd_token {
            class |= TOKEN;
        }
        if odd_token {
            class |= ODD;
        }
        if byte.is_ascii_graphic() && !barred {
            class |= TARGET;
        }
        if alnum || matches!(byte, b'-' | b'.' | b'_') {
            class |= HOST;
        }
        #[expect(clippy::indexing_slicing, reason = "in a constant: a fault here would not compile")]
        {
            table[at] = class;
        }
        at += 1;
    }
    table
}

const fn folds() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        #[expect(clippy::indexing_slicing, reason = "in a constant: a fault here would not compile")]
        if CLASS[at] & TOKEN != 0 {
            #[expect(clippy::cast_possible_truncation, reason = "the loop ends at 255")]
            let byte = at as u8;
            table[at] = if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
        }
        at += 1;
    }
    table
}

fn class(byte: u8) -> u8 {
    CLASS.get(usize::from(byte)).copied().unwrap_or(0)
}

/// The byte as the most careless reader sees it in a name: letters lower, everything that is no letter or digit `-`.
/// Zero if it cannot stand in a name.
pub(super) fn fold(byte: u8) -> u8 {
    FOLD.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Length of the token at the start of `bytes`, and whether it holds bytes other than letters, digits and `-`.
pub(super) fn token(bytes: &[u8]) -> (usize, bool) {
    let mut seen = 0;
    let mut len = 0;
    for &byte in bytes {
        let class = class(byte);
        if class & TOKEN == 0 {
            break;
        }
        seen |= class;
        len += 1;
    }
    (len, seen & ODD != 0)
}

/// Whether `bytes` is a token and not empty.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && token(bytes).0 == bytes.len()
}

/// Length of the run of target bytes at the start of `bytes`.
pub(super) fn target(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| class(byte) & TARGET == 0).unwrap_or(bytes.len())
}

/// Whether every byte may stand in a host name.
pub(super) fn is_host_bytes(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| class(byte) & HOST != 0)
}

const ONES: u64 = u64::from_le_bytes([0x01; 8]);
const TOPS: u64 = u64::from_le_bytes([0x80; 8]);

/// A mark in the top bit of each byte that is below 0x20 or 0x7f. Marks above the lowest true one may be false (a
/// borrow), so only the lowest counts.
const fn controls(word: u64) -> u64 {
    let below_space = word.wrapping_sub(ONES.wrapping_mul(0x20)) & !word;
    let delete = word ^ ONES.wrapping_mul(0x7f);
    let is_delete = delete.wrapping_sub(ONES) & !delete;
    (below_space | is_delete) & TOPS
}

/// Length of the run of field-value bytes at the start of `bytes`: tab, space, visible ASCII, and bytes from 0x80.
pub(super) fn value(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    let mut len = 0;
    loop {
        let run = until_control(rest);
        len += run;
        match rest.get(run..) {
            Some([b'\t', after @ ..]) => {
                len += 1;
                rest = after;
            }
            _ => return len,
        }
    }
}

fn until_control(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut len = 0;
    for word in words {
        let marks = controls(u64::from_le_bytes(*word));
        if marks != 0 {
            return len + (marks.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    len + tail.iter().position(|&byte| byte < 0x20 || byte == 0x7f).unwrap_or(tail.len())
}

/// `bytes` without spaces and tabs at both ends (OWS of RFC 9110, 5.6.3).
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [b' ' | b'\t', after @ ..] = rest {
        rest = after;
    }
    while let [before @ .., b' ' | b'\t'] = rest {
        rest = before;
    }
    rest
}
