//! A response head from an upstream: its status line, framing and connection. Every fault here means 502.
//!
//! Never here: which statuses are handed on (rule 11), or which headers a staff client may see (rule 13).

use super::connection::Options;
use super::fault::HeadFault;
use super::fields::{Entry, Field, Fields, Framing, Limits, Once, Parsed, Version, content_length};
use super::known::{Known, KnownSet};
use super::scan;

/// `HTTP/1.1 200`.
const STATUS_LINE: usize = 12;

/// A response head, as places in the caller's bytes. It keeps its table's memory: use one for a connection's life.
#[derive(Debug, Default)]
pub struct ResponseHead {
    fields: Fields,
    len: usize,
    version: Version,
    status: u16,
    declared: Framing,
    keep_alive: bool,
}

impl ResponseHead {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets a head that was read in part, when its bytes are gone.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

    /// Reads a head at the start of `bytes`, under the same terms as [`RequestHead::parse`](super::RequestHead::parse).
    ///
    /// # Errors
    /// The first fault found; the connection must be closed.
    pub fn parse(&mut self, bytes: &[u8], limits: &Limits) -> Result<Parsed, HeadFault> {
        let parsed = self.parse_on(bytes, limits);
        if !matches!(parsed, Ok(Parsed::Partial)) {
            self.fields.finish();
        }
        parsed
    }

    fn parse_on(&mut self, bytes: &[u8], limits: &Limits) -> Result<Parsed, HeadFault> {
        let window = limits.window(bytes);
        let at = match self.fields.resume() {
            Some(at) if at <= window.len() => at,
            _ => {
                self.clear();
                match self.read_status_line(window, limits)? {
                    Some(at) => at,
                    None => return limits.unfinished(window),
                }
            }
        };
        let Some(len) = self.fields.read(window, at, limits)? else { return limits.unfinished(window) };
        self.interpret(window)?;
        self.len = len;
        Ok(Parsed::Complete { len })
    }

    fn read_status_line(&mut self, window: &[u8], limits: &Limits) -> Result<Option<usize>, HeadFault> {
        match window {
            [b'\r' | b'\n', ..] => return Err(HeadFault::LeadingEmptyLine),
            _ if !window.iter().zip(b"HTTP/").all(|(one, other)| one == other) => {
                return Err(HeadFault::StatusLine);
            }
            _ => {}
        }
        let Some((line, rest)) = window.split_at_checked(STATUS_LINE) else { return Ok(None) };
        let Some((version, [b' ', digits @ ..])) = line.split_at_checked(8) else {
            return Err(HeadFault::StatusLine);
        };
        self.version = Version::read(version)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(HeadFault::StatusLine);
        }
        self.status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        // The space before an empty phrase is often left out; nobody reads that line in two ways.
        let phrase_len = match rest {
            [] => return Ok(None),
            [b' ', ..] => scan::value(rest),
            [b'\r' | b'\n', ..] => 0,
            _ => return Err(HeadFault::StatusLine),
        };
        if phrase_len > limits.max_value {
            return Err(HeadFault::StatusLine);
        }
        match rest.get(phrase_len..).unwrap_or_default() {
            [] | [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] if !(100..600).contains(&self.status) => Err(HeadFault::StatusRange),
            [b'\r', b'\n', ..] => Ok(Some(STATUS_LINE + phrase_len + 2)),
            [b'\r', ..] => Err(HeadFault::BareCr),
            [b'\n', ..] => Err(HeadFault::BareLf),
            _ => Err(HeadFault::StatusLine),
        }
    }

    fn interpret(&mut self, bytes: &[u8]) -> Result<(), HeadFault> {
        let mut once = Once::default();
        let mut options = Options::default();
        let mut length = None;
        let mut chunked = false;
        let mut upgrade = false;
        for entry in &self.fields.entries {
            if entry.known == Known::Other {
                continue;
            }
            if entry.is_odd() {
                if matches!(entry.known, Known::ContentLength | Known::TransferEncoding) {
                    return Err(HeadFault::FramingLookalike);
                }
                continue;
            }
            once.check(entry.known, KnownSet::SINGLE_IN_RESPONSE)?;
            let value = entry.value(bytes);
            match entry.known {
                Known::Connection => options.read(value)?,
                Known::ContentLength => length = Some(content_length(value)?),
                Known::TransferEncoding if value.eq_ignore_ascii_case(b"chunked") => chunked = true,
                Known::TransferEncoding => return Err(HeadFault::TransferCodingUnsupported),
                Known::Upgrade => upgrade = true,
                _ => {}
            }
        }
        let modern = self.version == Version::Http11;
        self.declared = match (length, chunked) {
            (Some(_), true) => return Err(HeadFault::FramingConflict),
            (None, true) if !modern => return Err(HeadFault::TransferEncodingInHttp10),
            (None, true) => Framing::Chunked,
            (Some(length), false) => Framing::Length(length),
            (None, false) => Framing::None,
        };
        // A body behind one of these would be taken for the next response.
        if (self.is_informational() || self.status == 204) && self.declared.has_body() {
            return Err(HeadFault::BodyForbidden);
        }
        if self.status == 101 && !(upgrade && options.upgrade && modern) {
            return Err(HeadFault::UpgradeIncomplete);
        }
        self.keep_alive = !options.close && (modern || options.keep_alive);
        options.mark(&mut self.fields, bytes);
        Ok(())
    }

    /// The head with the bytes it was read from.
    #[must_use]
    pub const fn view<'a>(&'a self, bytes: &'a [u8]) -> ResponseView<'a> {
        ResponseView { head: self, bytes }
    }

    /// Bytes of the head.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no whole head has been read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The status, 100 to 599.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// 1xx: not the answer yet, save 101, which ends HTTP on the connection. Which ones pass is rule 11.
    #[must_use]
    pub const fn is_informational(&self) -> bool {
        self.status < 200
    }

    /// The version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// What the head says about the body's end, whether or not one follows: what is told to the client (for `HEAD` and
    /// 304 the length that `GET` would have). [`Framing::None`]: it says nothing.
    #[must_use]
    pub const fn declared(&self) -> Framing {
        self.declared
    }

    /// How the body that follows ends, given whether the request was `HEAD`.
    #[must_use]
    pub const fn framing(&self, head_request: bool) -> Framing {
        if head_request || self.is_informational() || matches!(self.status, 204 | 304) {
            return Framing::None;
        }
        match self.declared {
            Framing::None => Framing::UntilClose,
            declared => declared,
        }
    }

    /// Whether the connection may be used again after the body, given whether the request was `HEAD`. Never after a body
    /// that only the connection's end ends, and never after 101.
    #[must_use]
    pub const fn keep_alive(&self, head_request: bool) -> bool {
        self.keep_alive && self.status != 101 && !matches!(self.framing(head_request), Framing::UntilClose)
    }
}

/// A response head with its bytes.
#[derive(Debug, Clone, Copy)]
pub struct ResponseView<'a> {
    head: &'a ResponseHead,
    bytes: &'a [u8],
}

impl<'a> ResponseView<'a> {
    /// The header lines, in order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> + 'a {
        self.head.fields.iter(self.bytes)
    }

    /// The value of the first line that is plainly (not by a lookalike name) `known`.
    #[must_use]
    pub fn find(&self, known: Known) -> Option<&'a [u8]> {
        self.head.fields.find(self.bytes, known)
    }

    /// The head alone.
    #[must_use]
    pub const fn head(&self) -> &'a ResponseHead {
        self.head
    }

    pub(super) const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn entries(&self) -> &'a [Entry] {
        &self.head.fields.entries
    }
}
