//! A request head: its first line, what its headers say about framing and connection, and everything that makes it
//! readable in two ways, which is refused (law 10).
//!
//! Never here: the path's canonical form, routes, identities, or an answer.

use super::connection::Options;
use super::fault::HeadFault;
use super::fields::{Entry, Field, Fields, Framing, Limits, Once, Parsed, Span, Version, content_length};
use super::host::{self, Authority};
use super::known::{Known, KnownSet};
use super::scan;

/// The longest method taken; the longest registered one has 17 bytes.
const LONGEST_METHOD: usize = 24;
const LONGEST_VERSION: usize = 8;

/// A request method. `CONNECT` and `TRACE` never come so far (rule 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// `GET`.
    #[default]
    Get,
    /// `HEAD`.
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
    /// `DELETE`.
    Delete,
    /// `OPTIONS`.
    Options,
    /// Any other token; see [`RequestView::method_name`].
    Extension,
}

impl Method {
    fn read(name: &[u8]) -> Result<Self, HeadFault> {
        const STANDARD: [&[u8]; 9] =
            [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"CONNECT", b"TRACE"];
        Ok(match name {
            b"GET" => Self::Get,
            b"POST" => Self::Post,
            b"HEAD" => Self::Head,
            b"PUT" => Self::Put,
            b"PATCH" => Self::Patch,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"CONNECT" | b"TRACE" => return Err(HeadFault::MethodRefused),
            _ if STANDARD.iter().any(|standard| standard.eq_ignore_ascii_case(name)) => {
                return Err(HeadFault::MethodCase);
            }
            _ => Self::Extension,
        })
    }
}

/// A request head, as places in the caller's bytes. It keeps its table's memory: use one for a connection's life.
#[derive(Debug, Default)]
pub struct RequestHead {
    fields: Fields,
    len: usize,
    method: Method,
    method_len: u8,
    version: Version,
    target: Span,
    path: Span,
    authority: Option<Span>,
    host: Option<Span>,
    framing: Framing,
    keep_alive: bool,
    expect_continue: bool,
    upgrade: bool,
}

impl RequestHead {
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

    /// Reads a head at the start of `bytes`.
    ///
    /// After [`Parsed::Partial`] call again with the same bytes and more behind them (reading goes on where it stopped),
    /// or [`clear`](Self::clear) first. After a whole head or a fault the next call starts anew.
    ///
    /// # Errors
    /// The first fault found; the connection must not be read further.
    pub fn parse(&mut self, bytes: &[u8], limits: &Limits) -> Result<Parsed, HeadFault> {
        let parsed = self.parse_on(bytes, limits);
        if !matches!(parsed, Ok(Parsed::Partial)) {
            // `resume` only: the table is what the views read.
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
                match self.read_request_line(window, limits)? {
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

    fn read_request_line(&mut self, window: &[u8], limits: &Limits) -> Result<Option<usize>, HeadFault> {
        let (method_len, _) = scan::token(window.get(..=LONGEST_METHOD).unwrap_or(window));
        if method_len > LONGEST_METHOD {
            return Err(HeadFault::MethodTooLong);
        }
        let Some((method, [stop, rest @ ..])) = window.split_at_checked(method_len) else { return Ok(None) };
        match stop {
            b' ' if method_len > 0 => {}
            b'\r' | b'\n' if method_len == 0 => return Err(HeadFault::LeadingEmptyLine),
            b'\r' | b'\n' | b' ' | b'\t' => return Err(HeadFault::RequestLine),
            _ => return Err(HeadFault::MethodInvalid),
        }
        self.method = Method::read(method)?;
        self.method_len = method_len as u8;

        let target_start = method_len + 1;
        let target_len = scan::target(rest);
        if target_len > limits.max_target {
            return Err(HeadFault::TargetTooLong);
        }
        let Some((target, [stop, rest @ ..])) = rest.split_at_checked(target_len) else { return Ok(None) };
        match stop {
            b' ' if target_len > 0 => {}
            b'\r' | b'\n' | b' ' | b'\t' => return Err(HeadFault::RequestLine),
            b'#' => return Err(HeadFault::TargetFragment),
            _ => return Err(HeadFault::TargetByte),
        }
        self.target = Span::new(target_start, target_len);
        self.read_target(target, target_start)?;

        let version_len =
            rest.iter().take(LONGEST_VERSION + 1).take_while(|byte| byte.is_ascii_graphic()).count();
        if version_len > LONGEST_VERSION {
            return Err(HeadFault::VersionMalformed);
        }
        let Some((version, end)) = rest.split_at_checked(version_len) else { return Ok(None) };
        match end {
            [] => return Ok(None),
            [b'\r' | b'\n', ..] => {}
            [b' ' | b'\t', ..] => return Err(HeadFault::RequestLine),
            _ => return Err(HeadFault::VersionMalformed),
        }
        self.version = Version::read(version)?;
        match end {
            [b'\r', b'\n', ..] => Ok(Some(target_start + target_len + 1 + version_len + 2)),
            [b'\n', ..] => Err(HeadFault::BareLf),
            [_] => Ok(None),
            _ => Err(HeadFault::BareCr),
        }
    }

    /// Tells origin form, absolute form and `*` apart, and finds the path.
    fn read_target(&mut self, target: &[u8], start: usize) -> Result<(), HeadFault> {
        if target.starts_with(b"/") || (target == b"*" && self.method == Method::Options) {
            self.path = self.target;
            return Ok(());
        }
        let scheme_len = [b"http://".as_slice(), b"https://"]
            .iter()
            .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
            .map_or(0, |scheme| scheme.len());
        let Some((_, rest)) = target.split_at_checked(scheme_len).filter(|_| scheme_len > 0) else {
            return Err(HeadFault::TargetForm);
        };
        let authority_len = rest.iter().position(|&byte| byte == b'/' || byte == b'?').unwrap_or(rest.len());
        let Some((authority, path)) = rest.split_at_checked(authority_len) else {
            return Err(HeadFault::TargetForm);
        };
        if !host::is_authority(authority) {
            return Err(HeadFault::TargetAuthority);
        }
        // Without a path the target would have to be completed; only what was sent is matched and forwarded.
        if !path.starts_with(b"/") {
            return Err(HeadFault::TargetForm);
        }
        self.authority = Some(Span::new(start + scheme_len, authority_len));
        self.path = Span::new(start + scheme_len + authority_len, path.len());
        Ok(())
    }

    /// What the headers say together.
    fn interpret(&mut self, bytes: &[u8]) -> Result<(), HeadFault> {
        let mut once = Once::default();
        let mut options = Options::default();
        let mut length = None;
        let mut chunked = false;
        let mut expect = false;
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
            once.check(entry.known, KnownSet::SINGLE_IN_REQUEST)?;
            let value = entry.value(bytes);
            match entry.known {
                Known::Host => self.host = Some(self.read_host(*entry, bytes)?),
                Known::Connection => options.read(value)?,
                Known::ContentLength => length = Some(content_length(value)?),
                Known::TransferEncoding if value.eq_ignore_ascii_case(b"chunked") => chunked = true,
                Known::TransferEncoding => return Err(HeadFault::TransferCodingUnsupported),
                Known::Expect if value.eq_ignore_ascii_case(b"100-continue") => expect = true,
                Known::Expect => return Err(HeadFault::ExpectUnsupported),
                Known::Upgrade => upgrade = true,
                _ => {}
            }
        }
        let modern = self.version == Version::Http11;
        if self.host.is_none() {
            if modern {
                return Err(HeadFault::HostMissing);
            }
            self.host = self.authority;
        }
        self.framing = match (length, chunked) {
            (Some(_), true) => return Err(HeadFault::FramingConflict),
            (None, true) if !modern => return Err(HeadFault::TransferEncodingInHttp10),
            (None, true) => Framing::Chunked,
            (Some(length), false) => Framing::Length(length),
            (None, false) => Framing::None,
        };
        // What these bodies mean nobody has said (RFC 9110, 9.3.1), so some back-ends leave them on the connection: there
        // they would be a request of their own, past decision and record (law 1).
        if matches!(self.method, Method::Get | Method::Head) && self.framing.has_body() {
            return Err(HeadFault::BodyUnexpected);
        }
        self.keep_alive = !options.close && (modern || options.keep_alive);
        // Without a body there is nothing to wait for; HTTP/1.0 knows no 100 (RFC 9110, 10.1.1).
        self.expect_continue = expect && modern && self.framing.has_body();
        // A request that switches protocols and has a body can be cut in two places; the upgrade is not taken then.
        self.upgrade = upgrade && options.upgrade && modern && !self.framing.has_body();
        options.mark(&mut self.fields, bytes);
        Ok(())
    }

    fn read_host(&self, entry: Entry, bytes: &[u8]) -> Result<Span, HeadFault> {
        let value = entry.value(bytes);
        if !host::is_authority(value) {
            return Err(HeadFault::HostInvalid);
        }
        if let Some(authority) = self.authority
            && !authority.of(bytes).eq_ignore_ascii_case(value)
        {
            return Err(HeadFault::TargetHostMismatch);
        }
        Ok(entry.value_span())
    }

    /// The head with the bytes it was read from.
    #[must_use]
    pub const fn view<'a>(&'a self, bytes: &'a [u8]) -> RequestView<'a> {
        RequestView { head: self, bytes }
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

    /// The method's kind.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// How the body ends; never [`Framing::UntilClose`].
    #[must_use]
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the client wants the connection to live on.
    #[must_use]
    pub const fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the client waits for `100 Continue` before it sends its body (rule 11 says when it may have it).
    #[must_use]
    pub const fn expect_continue(&self) -> bool {
        self.expect_continue
    }

    /// Whether the client asks to switch protocols: Upgrade and `Connection: upgrade`, HTTP/1.1, no body. To which one is
    /// the value of [`Known::Upgrade`].
    #[must_use]
    pub const fn upgrade(&self) -> bool {
        self.upgrade
    }
}

/// A request head with its bytes.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    head: &'a RequestHead,
    bytes: &'a [u8],
}

impl<'a> RequestView<'a> {
    /// The method as sent.
    #[must_use]
    pub fn method_name(&self) -> &'a [u8] {
        self.bytes.get(..usize::from(self.head.method_len)).unwrap_or_default()
    }

    /// The whole target as sent.
    #[must_use]
    pub fn target(&self) -> &'a [u8] {
        self.head.target.of(self.bytes)
    }

    /// Path and query, from `/` on (or `*`), also when the target is absolute. Not canonical.
    #[must_use]
    pub fn path_and_query(&self) -> &'a [u8] {
        self.head.path.of(self.bytes)
    }

    /// Host and port as sent; missing only in HTTP/1.0.
    #[must_use]
    pub fn host(&self) -> Option<Authority<'a>> {
        self.head.host.map(|span| Authority::checked(span.of(self.bytes)))
    }

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
    pub const fn head(&self) -> &'a RequestHead {
        self.head
    }

    pub(super) const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn entries(&self) -> &'a [Entry] {
        &self.head.fields.entries
    }
}
