//! The one canonical path: decided on and forwarded (law 10).
//!
//! Lives here: [`CanonicalPath`], minted by [`CanonicalPath::of`] and [`CanonicalPath::under`] alone, and the check of the
//! query string. Whatever a back-end could read in two ways is *refused*: one that decodes not at all, once or twice,
//! merges slashes, resolves dots, strips matrix parameters, reads `\` as `/`, drops trailing dots and spaces, or
//! normalises Unicode. So a canonical path is the raw path, byte for byte, nothing is allocated, and each character has
//! exactly one spelling.
//!
//! Never here: a repair. There is no second normaliser in this project, and this one changes nothing.

mod fault;
mod look_alike;
mod query;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, ops::Range};

pub use fault::PathFault;
pub use query::{QueryFault, query_ok};

/// The longest path, in bytes.
pub const MAX_PATH: usize = 8 * 1024;
/// The largest number of segments.
pub const MAX_SEGMENTS: usize = 64;

/// Which spelling of `$ & + , : = @` clients use. One of the two, never both: each character has one spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Delimiters {
    /// Raw, as RFC 3986 allows in paths; browsers and most clients do.
    #[default]
    Raw,
    /// Percent-encoded, as JavaScript's `encodeURIComponent` writes them.
    Encoded,
}

/// What the configuration says of paths. The default is the strict reading for an application about which nothing is
/// known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PathRules {
    /// Let `;` stand raw in a segment. Only for a back-end that gives it no meaning; it never matches a literal.
    pub matrix_parameters: bool,
    /// Let percent-encoded UTF-8 beyond ASCII stand in a segment. It never matches a literal.
    pub non_ascii: bool,
    /// The one spelling of `$ & + , : = @`.
    pub delimiters: Delimiters,
}

impl Default for PathRules {
    fn default() -> Self {
        Self { matrix_parameters: false, non_ascii: true, delimiters: Delimiters::Raw }
    }
}

/// A path that every back-end reads the same way. Holding one is the proof.
#[derive(Debug, Clone, Copy)]
pub struct CanonicalPath<'a> {
    text: &'a str,
    /// Where each segment ends; it starts one byte after the end of the one before. Only the first `count` count.
    // INVARIANT: strictly rising, each at most `text.len()`; the first segment starts at 1.
    ends: [u16; MAX_SEGMENTS],
    count: u8,
}

impl<'a> CanonicalPath<'a> {
    /// Reads the path part of an origin-form target, up to and without `?`, under the default [`PathRules`].
    ///
    /// # Errors
    /// The first fault from the left.
    pub fn of(raw: &'a [u8]) -> Result<Self, PathFault> {
        Self::under(raw, PathRules::default())
    }

    /// As [`CanonicalPath::of`], under the rules of a configuration.
    ///
    /// # Errors
    /// The first fault from the left.
    pub fn under(raw: &'a [u8], rules: PathRules) -> Result<Self, PathFault> {
        if raw.len() > MAX_PATH {
            return Err(PathFault::TooLong);
        }
        let Some((b'/', tail)) = raw.split_first() else { return Err(PathFault::NotRooted) };
        let mut ends = [0_u16; MAX_SEGMENTS];
        let mut count = 0_u8;
        let mut start = 1_usize;
        let mut bytes = tail.iter();
        let mut at = 1_usize;
        let mut last = b'/';
        let mut escaped = false;
        while let Some(&byte) = bytes.next() {
            match class(byte) {
                Class::Plain => {}
                Class::Slash => {
                    end_segment(raw, start..at, last, escaped)?;
                    note(&mut ends, &mut count, at)?;
                    start = at + 1;
                    escaped = false;
                }
                Class::Percent => {
                    let used = escape(bytes.as_slice(), rules)?;
                    bytes = bytes.as_slice().get(used..).unwrap_or_default().iter();
                    at += used;
                    escaped = true;
                }
                Class::Semicolon if rules.matrix_parameters => {
                    matrix_base(raw.get(start..at).unwrap_or_default())?;
                }
                other => rare(other, rules)?,
            }
            last = byte;
            at += 1;
        }
        if start < at {
            end_segment(raw, start..at, last, escaped)?;
            note(&mut ends, &mut count, at)?;
        }
        let text = std::str::from_utf8(raw).map_err(|_| PathFault::RawNonAscii)?;
        Ok(Self { text, ends, count })
    }

    /// The path, byte for byte as it was received and as it is forwarded.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// How many segments there are; `/` has none, `/a` and `/a/` have one.
    pub fn segment_count(&self) -> usize {
        usize::from(self.count)
    }

    /// The segments, as they were sent.
    pub fn segments(&self) -> impl Iterator<Item = &'a str> + use<'a, '_> {
        self.ranges().map(|range| self.text.get(range).unwrap_or_default())
    }

    /// Whether the path ends in `/`: `/a` and `/a/` are two paths.
    pub fn has_trailing_slash(&self) -> bool {
        self.text.ends_with('/')
    }

    /// Where each segment stands in [`CanonicalPath::as_str`].
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<'a, '_> {
        let mut start = 1;
        self.ends.iter().take(usize::from(self.count)).map(move |&end| {
            let end = usize::from(end);
            let range = start..end;
            start = end + 1;
            range
        })
    }

    /// Where the segment of this number stands.
    pub(super) fn range(&self, number: usize) -> Option<Range<usize>> {
        if number >= usize::from(self.count) {
            return None;
        }
        let end = usize::from(*self.ends.get(number)?);
        let start = match number.checked_sub(1) {
            None => 1,
            Some(before) => usize::from(*self.ends.get(before)?) + 1,
        };
        Some(start..end)
    }
}

/// The one reading of a canonical segment: its escapes decoded. Two canonical segments with one reading are the same.
pub fn decoded(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, hex_pair(after)) {
            (b'%', Ok(decoded)) => {
                bytes.push(decoded);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// The one ASCII text, if any, that a case-folding back-end could take this canonical segment for although it is not
/// ASCII: upper case makes `SS` of `ß` and `I` of `ı`. Written into `buffer` in lower case.
pub(super) fn case_twin<'b>(segment: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let mut rest = segment;
    let mut length = 0;
    let mut put = |byte: u8| -> Option<()> {
        *buffer.get_mut(length)? = byte;
        length += 1;
        Some(())
    };
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let twin = [("C3%9F", "ss"), ("E1%BA%9E", "ss"), ("C4%B1", "i"), ("C4%B0", "i")]
                    .iter()
                    .find_map(|(escape, twin)| Some((after.strip_prefix(escape.as_bytes())?, twin)))?;
                rest = twin.0;
                twin.1.bytes().try_for_each(&mut put)?;
            }
            plain => put(plain.to_ascii_lowercase())?,
        }
    }
    buffer.get(..length)
}

/// What a raw byte may do in a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Stands for itself.
    Plain,
    Slash,
    Percent,
    /// One of `$ & + , : = @`: raw or encoded by configuration.
    Delimiter,
    Semicolon,
    Backslash,
    Question,
    Hash,
    Control,
    /// RFC 3986 has it percent-encoded in a path.
    Unsafe,
    NonAscii,
}

/// RFC 3986, 3.3: `pchar`, with what this policy holds apart.
const fn classify(byte: u8) -> Class {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => Class::Plain,
        b'!' | b'\'' | b'(' | b')' | b'*' => Class::Plain,
        b'$' | b'&' | b'+' | b',' | b':' | b'=' | b'@' => Class::Delimiter,
        b'/' => Class::Slash,
        b'%' => Class::Percent,
        b';' => Class::Semicolon,
        b'\\' => Class::Backslash,
        b'?' => Class::Question,
        b'#' => Class::Hash,
        0..=0x1F | 0x7F => Class::Control,
        0x80.. => Class::NonAscii,
        b' ' | b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => Class::Unsafe,
    }
}

static CLASSES: [Class; 256] = {
    let mut table = [Class::NonAscii; 256];
    let mut byte = 0_u8;
    loop {
        #[expect(clippy::indexing_slicing, reason = "a u8 cannot leave a table of 256")]
        {
            table[byte as usize] = classify(byte);
        }
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

fn class(byte: u8) -> Class {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(Class::NonAscii)
}

/// Whether a template may write this byte in a literal segment: it stands for itself in a request.
pub(super) fn plain_in_literal(byte: u8) -> bool {
    matches!(class(byte), Class::Plain | Class::Delimiter)
}

#[cold]
fn rare(class: Class, rules: PathRules) -> Result<(), PathFault> {
    match class {
        Class::Plain | Class::Slash | Class::Percent => Ok(()),
        Class::Delimiter if rules.delimiters == Delimiters::Raw => Ok(()),
        Class::Delimiter => Err(PathFault::RawDelimiter),
        Class::Semicolon => Err(PathFault::MatrixParameter),
        Class::Backslash => Err(PathFault::Backslash),
        Class::Question => Err(PathFault::Query),
        Class::Hash => Err(PathFault::Fragment),
        Class::Control => Err(PathFault::Control),
        Class::Unsafe => Err(PathFault::RawUnsafe),
        Class::NonAscii => Err(PathFault::RawNonAscii),
    }
}

/// What stands before a `;` has to be a segment of its own worth, so that `..;x` and `;x` hide nothing.
#[cold]
fn matrix_base(base: &[u8]) -> Result<(), PathFault> {
    match base {
        [] => Err(PathFault::EmptySegment),
        [b'.'] | [b'.', b'.'] => Err(PathFault::DotSegment),
        [.., b'.'] => Err(PathFault::TrailingDot),
        _ if base.ends_with(b"%20") => Err(PathFault::EdgeSpace),
        _ => Ok(()),
    }
}

/// Judges a finished segment; `last` is its last byte, or the slash before it when it is empty.
fn end_segment(raw: &[u8], at: Range<usize>, last: u8, escaped: bool) -> Result<(), PathFault> {
    if at.is_empty() {
        return Err(PathFault::EmptySegment);
    }
    if last == b'.' || escaped {
        return edges(raw.get(at).unwrap_or_default());
    }
    Ok(())
}

#[cold]
fn edges(segment: &[u8]) -> Result<(), PathFault> {
    match segment {
        [b'.'] | [b'.', b'.'] => Err(PathFault::DotSegment),
        [.., b'.'] => Err(PathFault::TrailingDot),
        _ if segment.starts_with(b"%20") || segment.ends_with(b"%20") => Err(PathFault::EdgeSpace),
        _ => Ok(()),
    }
}

fn note(ends: &mut [u16; MAX_SEGMENTS], count: &mut u8, at: usize) -> Result<(), PathFault> {
    let slot = ends.get_mut(usize::from(*count)).ok_or(PathFault::TooManySegments)?;
    *slot = u16::try_from(at).map_err(|_| PathFault::TooLong)?;
    *count += 1;
    Ok(())
}

/// Judges one encoded character, of which the first `%` was taken already, and says how many bytes it has after that.
#[cold]
fn escape(rest: &[u8], rules: PathRules) -> Result<usize, PathFault> {
    let first = hex_pair(rest)?;
    if first.is_ascii() {
        return ascii_escape(first, rules).map(|()| 2);
    }
    let length = match first {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return Err(PathFault::InvalidUtf8),
    };
    let mut decoded = [0_u8; 4];
    let mut used = 0;
    for (number, slot) in decoded.iter_mut().take(length).enumerate() {
        if number > 0 {
            if rest.get(used) != Some(&b'%') {
                return Err(PathFault::InvalidUtf8);
            }
            used += 1;
        }
        *slot = hex_pair(rest.get(used..).unwrap_or_default())?;
        used += 2;
    }
    let character = std::str::from_utf8(decoded.get(..length).unwrap_or_default())
        .ok()
        .and_then(|text| text.chars().next())
        .ok_or(PathFault::InvalidUtf8)?;
    if character.is_control() {
        Err(PathFault::Control)
    } else if look_alike::is_look_alike(character) {
        Err(PathFault::LookAlike)
    } else if !rules.non_ascii {
        Err(PathFault::NonAscii)
    } else {
        Ok(used)
    }
}

/// An encoded ASCII character passes only when it could not stand raw and hides no structure.
fn ascii_escape(byte: u8, rules: PathRules) -> Result<(), PathFault> {
    match class(byte) {
        Class::Unsafe => Ok(()),
        Class::Delimiter if rules.delimiters == Delimiters::Encoded => Ok(()),
        Class::Plain | Class::Delimiter => Err(PathFault::NeedlessEscape),
        Class::Slash => Err(PathFault::EncodedSlash),
        Class::Percent => Err(PathFault::EncodedPercent),
        Class::Semicolon => Err(PathFault::MatrixParameter),
        Class::Backslash => Err(PathFault::Backslash),
        Class::Question | Class::Hash => Err(PathFault::EncodedDelimiter),
        Class::Control => Err(PathFault::Control),
        Class::NonAscii => Err(PathFault::InvalidUtf8),
    }
}

fn hex_pair(rest: &[u8]) -> Result<u8, PathFault> {
    let [high, low, ..] = rest else { return Err(PathFault::BadEscape) };
    let (Some(upper), Some(lower)) = (hex_digit(*high), hex_digit(*low)) else {
        return Err(PathFault::BadEscape);
    };
    if high.is_ascii_lowercase() || low.is_ascii_lowercase() {
        return Err(PathFault::LowerCaseEscape);
    }
    Ok(upper << 4 | lower)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
