//! The table of header lines: their syntax, their limits, and where each stands in the caller's bytes.
//!
//! A head that arrives in pieces is taken up at its last unfinished line, so a peer that sends byte by byte costs no more
//! than its lines. Never here: what a header means (that is `request` and `response`).

use super::fault::HeadFault;
use super::known::{Known, KnownSet};
use super::recognise::recognise;
use super::scan;

/// How large a head may be, in bytes and lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The whole head, first line and last empty line included. Never more than 1 MiB counts.
    pub max_head: usize,
    /// The request target.
    pub max_target: usize,
    /// Header lines.
    pub max_fields: usize,
    /// One header name.
    pub max_name: usize,
    /// One header value.
    pub max_value: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_head: 32 << 10, max_target: 8 << 10, max_fields: 100, max_name: 256, max_value: 16 << 10 }
    }
}

impl Limits {
    /// Keeps every offset far below what the table can hold.
    const MOST: usize = 1 << 20;

    pub(super) fn window(self, bytes: &[u8]) -> &[u8] {
        bytes.get(..self.max_head.min(Self::MOST)).unwrap_or(bytes)
    }

    /// What to answer when the window holds no whole head: wait, unless nothing more would fit.
    pub(super) fn unfinished(self, window: &[u8]) -> Result<Parsed, HeadFault> {
        if window.len() >= self.max_head.min(Self::MOST) {
            return Err(HeadFault::HeadTooLarge);
        }
        Ok(Parsed::Partial)
    }
}

/// How far a parse came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Parsed {
    /// The head is not whole: call again with more bytes after the same ones.
    Partial,
    /// The head ends after `len` bytes; what follows is body or the next message.
    Complete {
        /// Bytes of the head, its last empty line included.
        len: usize,
    },
}

/// The protocol version of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

impl Version {
    /// Reads exactly `HTTP/1.0` or `HTTP/1.1`.
    pub(super) const fn read(bytes: &[u8]) -> Result<Self, HeadFault> {
        match bytes {
            b"HTTP/1.1" => Ok(Self::Http11),
            b"HTTP/1.0" => Ok(Self::Http10),
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                Err(HeadFault::VersionUnsupported)
            }
            _ => Err(HeadFault::VersionMalformed),
        }
    }
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// There is no body, and none is announced.
    #[default]
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks, up to one of size zero.
    Chunked,
    /// All that comes until the connection closes; in responses only.
    UntilClose,
}

impl Framing {
    /// Whether there may be a byte of body.
    #[must_use]
    pub const fn has_body(self) -> bool {
        !matches!(self, Self::None | Self::Length(0))
    }
}

/// A place in the caller's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    #[expect(clippy::cast_possible_truncation, reason = "offsets stay below `Limits::MOST`")]
    pub(super) const fn new(start: usize, len: usize) -> Self {
        Self { start: start as u32, len: len as u32 }
    }

    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        bytes.get(start..start + self.len as usize).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    start: u32,
    value_start: u32,
    value_len: u32,
    /// Bytes from the end of the value to the next line.
    tail: u32,
    name_len: u16,
    pub(super) known: Known,
    flags: u8,
}

/// The name has bytes other than letters, digits and `-`.
const ODD: u8 = 1;
/// The line is `name: value CR LF` and nothing else, so it can be handed on as it is.
const CLEAN: u8 = 2;
/// A Connection header names this one.
const NAMED: u8 = 4;

impl Entry {
    pub(super) fn name(self, bytes: &[u8]) -> &[u8] {
        Span { start: self.start, len: u32::from(self.name_len) }.of(bytes)
    }

    pub(super) fn value(self, bytes: &[u8]) -> &[u8] {
        Span { start: self.value_start, len: self.value_len }.of(bytes)
    }

    pub(super) const fn value_span(self) -> Span {
        Span { start: self.value_start, len: self.value_len }
    }

    pub(super) const fn is_odd(self) -> bool {
        self.flags & ODD != 0
    }

    pub(super) const fn is_clean(self) -> bool {
        self.flags & CLEAN != 0
    }

    pub(super) const fn is_named(self) -> bool {
        self.flags & NAMED != 0
    }

    pub(super) const fn name_connection(&mut self) {
        self.flags |= NAMED;
    }

    /// Start and end of a clean line, its line end included.
    pub(super) const fn line(self) -> (usize, usize) {
        (self.start as usize, self.value_start as usize + self.value_len as usize + 2)
    }
}

/// One header line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as received.
    pub name: &'a [u8],
    /// The value without white space around it: tab, space, visible ASCII and bytes from 0x80.
    pub value: &'a [u8],
    /// What the name, read carelessly, means.
    pub known: Known,
    /// The name is spelled with bytes other than letters, digits and `-`: `known` is then only what it looks like.
    pub lookalike: bool,
    /// A Connection header names it, so it does not pass.
    pub named_by_connection: bool,
}

/// The lines of one head.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) entries: Vec<Entry>,
    /// The offset of the first line that is not whole; zero while the first line of the message is not.
    resume: usize,
}

impl Fields {
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.resume = 0;
    }

    /// Makes the next read start anew; the lines stay for the views.
    pub(super) const fn finish(&mut self) {
        self.resume = 0;
    }

    /// Where to go on, or nothing if the first line has to be read first.
    pub(super) const fn resume(&self) -> Option<usize> {
        if self.resume == 0 { None } else { Some(self.resume) }
    }

    /// Reads lines from `at` to the empty line; `Some` is the end of the head.
    pub(super) fn read(
        &mut self,
        window: &[u8],
        at: usize,
        limits: &Limits,
    ) -> Result<Option<usize>, HeadFault> {
        let mut at = at;
        loop {
            self.resume = at;
            let rest = window.get(at..).unwrap_or_default();
            let (name_len, odd) = scan::token(rest);
            if name_len == 0 {
                return match rest {
                    [] | [b'\r'] => Ok(None),
                    [b'\r', b'\n', ..] => Ok(Some(at + 2)),
                    [b'\r', ..] => Err(HeadFault::BareCr),
                    [b'\n', ..] => Err(HeadFault::BareLf),
                    [b' ' | b'\t', ..] => Err(HeadFault::ObsFold),
                    _ => Err(HeadFault::HeaderNameInvalid),
                };
            }
            if self.entries.len() >= limits.max_fields {
                return Err(HeadFault::TooManyHeaders);
            }
            let Some(entry) = read_line(rest, at, name_len, odd, limits)? else { return Ok(None) };
            at = entry.value_start as usize + entry.value_len as usize + entry.tail as usize;
            self.entries.push(entry);
        }
    }

    pub(super) fn iter<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = Field<'a>> + 'a {
        self.entries.iter().map(|entry| Field {
            name: entry.name(bytes),
            value: entry.value(bytes),
            known: entry.known,
            lookalike: entry.is_odd(),
            named_by_connection: entry.is_named(),
        })
    }

    /// The value of the first line that is plainly `known`.
    pub(super) fn find<'a>(&self, bytes: &'a [u8], known: Known) -> Option<&'a [u8]> {
        self.entries
            .iter()
            .find(|entry| entry.known == known && !entry.is_odd())
            .map(|entry| entry.value(bytes))
    }
}

/// Reads the line at the start of `rest`, whose name has been found; nothing if the line is not whole.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "offsets stay below `Limits::MOST`, names below 65,536")]
fn read_line(
    rest: &[u8],
    at: usize,
    name_len: usize,
    odd: bool,
    limits: &Limits,
) -> Result<Option<Entry>, HeadFault> {
    if name_len > limits.max_name.min(usize::from(u16::MAX)) {
        return Err(HeadFault::HeaderNameTooLong);
    }
    let Some((name, [stop, raw @ ..])) = rest.split_at_checked(name_len) else { return Ok(None) };
    match stop {
        b':' => {}
        b' ' | b'\t' => return Err(HeadFault::HeaderNameSpace),
        b'\r' | b'\n' => return Err(HeadFault::HeaderColonMissing),
        _ => return Err(HeadFault::HeaderNameInvalid),
    }
    let raw_len = scan::value(raw);
    if raw_len > limits.max_value {
        return Err(HeadFault::HeaderValueTooLong);
    }
    let Some((raw, end)) = raw.split_at_checked(raw_len) else { return Ok(None) };
    match end {
        [b'\r', b'\n', ..] => {}
        [] | [b'\r'] => return Ok(None),
        [b'\r', ..] => return Err(HeadFault::BareCr),
        [b'\n', ..] => return Err(HeadFault::BareLf),
        _ => return Err(HeadFault::HeaderValueByte),
    }
    // The common line has one space before its value and none after it: no need to look for the edges.
    let (lead, value_len, clean) = match raw {
        [b' ', value @ ..] if is_trimmed(value) => (1, value.len(), true),
        _ => {
            let lead = raw.iter().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
            (lead, scan::trim(raw).len(), false)
        }
    };
    Ok(Some(Entry {
        start: at as u32,
        value_start: (at + name_len + 1 + lead) as u32,
        value_len: value_len as u32,
        tail: (raw_len - lead - value_len + 2) as u32,
        name_len: name_len as u16,
        known: recognise(name, odd),
        flags: if odd { ODD } else { 0 } | if clean { CLEAN } else { 0 },
    }))
}

const fn is_trimmed(value: &[u8]) -> bool {
    !matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t'])
}

/// Collects what a header may say once.
#[derive(Debug, Default)]
pub(super) struct Once {
    seen: KnownSet,
}

impl Once {
    /// Refuses the second of a name in `single`.
    pub(super) fn check(&mut self, known: Known, single: KnownSet) -> Result<(), HeadFault> {
        if self.seen.contains(known) && single.contains(known) {
            return Err(match known {
                Known::Host => HeadFault::HostDuplicate,
                Known::ContentLength => HeadFault::ContentLengthDuplicate,
                Known::TransferEncoding => HeadFault::TransferEncodingDuplicate,
                _ => HeadFault::HeaderDuplicate,
            });
        }
        self.seen.insert(known);
        Ok(())
    }
}

/// Reads a Content-Length: 1 to 19 digits, no leading zero (some readers take it for octal), no list, no sign.
pub(super) fn content_length(value: &[u8]) -> Result<u64, HeadFault> {
    if value.is_empty() || value.len() > 19 || (value.len() > 1 && value.starts_with(b"0")) {
        return Err(HeadFault::ContentLengthInvalid);
    }
    let mut length: u64 = 0;
    for byte in value {
        if !byte.is_ascii_digit() {
            return Err(HeadFault::ContentLengthInvalid);
        }
        length = length.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
    }
    Ok(length)
}
