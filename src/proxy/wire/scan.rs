//! Bytes: which are allowed where, and the loops that look for the first that is not.
//!
//! Eight bytes at a time where most bytes are common ones, by one table for the rest. The loops are inlined by force:
//! called, they cost a head three in a hundred instructions more. Never here: what a byte sequence means.

/// May stand in a token (method, header name): RFC 9110, 5.6.2.
const TOKEN: u8 = 1;
/// May stand in a request target. Stricter than "visible": without `#` (a fragment is never sent) and without the bytes
/// that RFC 3986 does not allow raw and that parsers read differently: quotes, angle brackets, backslash, caret, grave,
/// braces and bar.
const TARGET: u8 = 2;
/// A token byte other than letters, digits and `-`. Gateways of the CGI family turn some or all of these into `_`, so a
/// name that has one may mean the same as one that has `-` there.
const ODD: u8 = 4;
/// May stand in a label of a host name.
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
        if alnum || matches!(byte, b'-' | b'_') {
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
#[inline(always)]
pub(super) fn token(bytes: &[u8]) -> (usize, bool) {
    let len = run(bytes, common_name_bytes);
    match bytes.get(len) {
        Some(&byte) if class(byte) & TOKEN != 0 => uncommon_token(bytes, len),
        _ => (len, false),
    }
}

/// The rest of a token whose first `len` bytes are letters and `-`, and whose next is neither.
#[inline(never)]
fn uncommon_token(bytes: &[u8], len: usize) -> (usize, bool) {
    let mut seen = 0;
    let mut len = len;
    for &byte in bytes.iter().skip(len) {
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
    let mut len = 0;
    loop {
        let rest = bytes.get(len..).unwrap_or_default();
        len += run(rest, common_target_bytes);
        match bytes.get(len) {
            Some(&byte) if class(byte) & TARGET != 0 => len += 1,
            _ => return len,
        }
    }
}

/// Whether the byte may stand in a label of a host name.
pub(super) fn is_host_byte(byte: u8) -> bool {
    class(byte) & HOST != 0
}

const ONES: u64 = u64::from_le_bytes([0x01; 8]);
const TOPS: u64 = u64::from_le_bytes([0x80; 8]);

/// A mark in the top bit of each byte of `word` (all below 0x80) that is at least `from` and at most `to`.
const fn between(word: u64, from: u8, to: u8) -> u64 {
    let reached = word.wrapping_add(ONES.wrapping_mul(0x80 - from as u64));
    let passed = word.wrapping_add(ONES.wrapping_mul(0x7f - to as u64));
    reached & !passed
}

/// A mark in the top bit of each byte that is neither letter nor `-`; other bits mean nothing.
const fn common_name_bytes(word: u64) -> u64 {
    let low = word & !TOPS;
    let letter = between(low | ONES.wrapping_mul(0x20), b'a', b'z');
    !(letter | between(low, b'-', b'-')) | word
}

/// A mark in the top bit of each byte that is not among the commonest of a target: letters, digits and
/// `$%&'()*+,-./:;=?_`; other bits mean nothing.
const fn common_target_bytes(word: u64) -> u64 {
    let low = word & !TOPS;
    let letter = between(low | ONES.wrapping_mul(0x20), b'a', b'z');
    // `=` and `?` differ in one bit.
    let query = between(low | ONES.wrapping_mul(0x02), b'?', b'?');
    !(letter | between(low, b'$', b';') | query | between(low, b'_', b'_')) | word
}

/// A mark in the top bit of each byte that is below 0x20 or 0x7f. Marks above the lowest true one may be false (a
/// borrow), so only the lowest counts.
const fn controls(word: u64) -> u64 {
    let below_space = word.wrapping_sub(ONES.wrapping_mul(0x20));
    let delete = (word & !TOPS).wrapping_add(ONES);
    (below_space | delete) & !word
}

/// Length of the run of bytes that `stops` does not mark.
#[inline(always)]
fn run(bytes: &[u8], stops: impl Fn(u64) -> u64) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut len = 0;
    for word in words {
        let marks = stops(u64::from_le_bytes(*word)) & TOPS;
        if marks != 0 {
            return len + (marks.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    len + run_in_tail(tail, stops)
}

/// The last bytes of what has arrived: seldom more than once in a head, so kept out of the loops' way.
#[cold]
#[inline(never)]
fn run_in_tail(tail: &[u8], stops: impl Fn(u64) -> u64) -> usize {
    // Filled with zero, which every `stops` marks.
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(tail) {
        *to = *from;
    }
    let marks = stops(u64::from_le_bytes(word)) & TOPS;
    ((marks.trailing_zeros() / 8) as usize).min(tail.len())
}

/// Length of the run of field-value bytes at the start of `bytes`: tab, space, visible ASCII, and bytes from 0x80.
#[inline(always)]
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

/// Long values (tokens, cookies) go by blocks, which compilers turn into vector instructions.
#[inline(always)]
fn until_control(bytes: &[u8]) -> usize {
    let start = run(bytes.get(..32).unwrap_or(bytes), controls);
    if start < 32 {
        return start;
    }
    let rest = bytes.get(32..).unwrap_or_default();
    let clean = rest
        .as_chunks::<32>()
        .0
        .iter()
        .take_while(|block| {
            block.iter().fold(0, |seen, &byte| seen | u8::from(byte < 0x20) | u8::from(byte == 0x7f)) == 0
        })
        .count();
    let len = 32 + clean * 32;
    len + run(bytes.get(len..).unwrap_or_default(), controls)
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
