//! Heads on the way out, into a reused buffer: requests to an upstream, responses to a client, answers of our own.
//!
//! Only lines that the strict reader took are copied; everything else is minted here ([`Name`], [`Value`], [`Target`]), so
//! that what is written reads as exactly one message everywhere (laws 9 and 10). Never here: bodies (save of our own
//! answers), sockets, or the decision which headers to add.

use super::fields::{Entry, Framing, Version};
use super::host::Authority;
use super::known::{Known, KnownSet, canonical_eq};
use super::name_set::NameSet;
use super::recognise::recognise;
use super::request::RequestView;
use super::response::ResponseView;
use super::scan;

/// The interim answer that lets a client send its body (rule 11 says when).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A header name that may be written: a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a>(&'a str);

impl<'a> Name<'a> {
    /// Nothing if `name` is no token, or is one that this module writes by itself (framing, connection, Host).
    #[must_use]
    pub fn new(name: &'a str) -> Option<Self> {
        let bytes = name.as_bytes();
        let (len, odd) = scan::token(bytes);
        let own = KnownSet::HOP_BY_HOP.union(KnownSet::of(&[Known::Host]));
        if bytes.is_empty() || len != bytes.len() || own.contains(recognise(bytes, odd)) {
            return None;
        }
        Some(Self(name))
    }
}

/// A header value that may be written: it cannot end its line, and no reader trims or folds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a>(&'a [u8]);

impl<'a> Value<'a> {
    /// Visible ASCII with single or several spaces inside, not at the ends; may be empty. For values that we make.
    #[must_use]
    pub fn ascii(value: &'a str) -> Option<Self> {
        let bytes = value.as_bytes();
        // Without an early way out the compiler looks at many bytes at once; an assertion has hundreds.
        let plain = bytes.iter().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'));
        (plain && scan::trim(bytes) == bytes).then_some(Self(bytes))
    }

    /// As a received value may be: tabs and bytes from 0x80 too. For values that are handed on.
    #[must_use]
    pub fn opaque(value: &'a [u8]) -> Option<Self> {
        (scan::value(value) == value.len() && scan::trim(value) == value).then_some(Self(value))
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// A request target that may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a>(&'a str);

impl<'a> Target<'a> {
    /// Nothing if `target` holds a byte that the reader would refuse, or does not start with `/` (or is `*`).
    #[must_use]
    pub fn new(target: &'a str) -> Option<Self> {
        let bytes = target.as_bytes();
        let form = bytes.starts_with(b"/") || bytes == b"*";
        (form && scan::target(bytes) == bytes.len()).then_some(Self(target))
    }
}

/// What is said about the connection to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamConnection<'a> {
    /// It may be used again, which HTTP/1.1 takes for granted.
    #[default]
    Reuse,
    /// The same, and trailers are taken (RFC 9110, 10.1.4).
    Trailers,
    /// It is to become another protocol.
    Upgrade(Value<'a>),
}

/// What is said about the connection to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientConnection<'a> {
    /// It lives on, as HTTP/1.1 takes for granted.
    #[default]
    Open,
    /// It lives on, and an HTTP/1.0 client must be told so.
    KeepAlive,
    /// It is closed after this.
    Close,
    /// It becomes another protocol (with status 101).
    Upgrade(Value<'a>),
}

/// What becomes of a request head on its way to the upstream.
///
/// Removed in any case: hop-by-hop headers, those that Connection names, [`KnownSet::CLAIMS`], and every name that is a
/// known one in disguise.
#[derive(Debug, Clone, Copy)]
pub struct RequestEdit<'a> {
    /// The Host to send: the client's own, or the upstream's.
    pub host: Authority<'a>,
    /// Further known names to remove, for instance credentials (rule 13).
    pub drop: KnownSet,
    /// Further names to remove, in any spelling.
    pub drop_names: &'a NameSet,
    /// How the body is framed towards the upstream.
    pub framing: Framing,
    /// What is said about the connection.
    pub connection: UpstreamConnection<'a>,
    /// Our own lines, added last. A received line of the same name, in any spelling, does not pass beside one.
    pub add: &'a [(Name<'a>, Value<'a>)],
}

/// Appends a request head to `out`: the method as received, `target`, and the headers as `edit` says.
pub fn write_request(
    out: &mut Vec<u8>,
    request: &RequestView<'_>,
    target: Target<'_>,
    edit: &RequestEdit<'_>,
) {
    let always = KnownSet::HOP_BY_HOP.union(KnownSet::CLAIMS).union(KnownSet::of(&[Known::Host]));
    out.reserve(request.head().len() + 512);
    out.extend_from_slice(request.method_name());
    out.push(b' ');
    out.extend_from_slice(target.0.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_line(out, b"Host", edit.host.as_bytes());
    let known = always.union(edit.drop);
    let removed = Removed { known, names: edit.drop_names, only: None, replaced: edit.add };
    copy_lines(out, request.bytes(), request.entries(), &removed);
    write_framing(out, edit.framing);
    match edit.connection {
        UpstreamConnection::Reuse => {}
        UpstreamConnection::Trailers => out.extend_from_slice(b"Connection: TE\r\nTE: trailers\r\n"),
        UpstreamConnection::Upgrade(protocol) => write_upgrade(out, protocol),
    }
    write_own(out, edit.add);
    out.extend_from_slice(b"\r\n");
}

/// The only lines of a head that pass, beside our own.
#[derive(Debug, Clone, Copy)]
pub struct Only<'a> {
    /// Known names.
    pub known: KnownSet,
    /// Further names.
    pub names: &'a NameSet,
}

/// What becomes of a response head on its way to the client.
///
/// Removed in any case: hop-by-hop headers, those that Connection names, everything under our own name, and every name
/// that is a known one in disguise.
#[derive(Debug, Clone, Copy)]
pub struct ResponseEdit<'a> {
    /// Known names to remove, for instance `Set-Cookie` (rule 13).
    pub drop: KnownSet,
    /// Further names to remove, in any spelling.
    pub drop_names: &'a NameSet,
    /// Where only some pass at all: these.
    pub only: Option<Only<'a>>,
    /// What is told about the body: for `HEAD` and 304 what the upstream declared, else how it is framed.
    pub framing: Framing,
    /// What is said about the connection.
    pub connection: ClientConnection<'a>,
    /// Our own lines, added last. A received line of the same name, in any spelling, does not pass beside one.
    pub add: &'a [(Name<'a>, Value<'a>)],
}

/// Appends a response head to `out`: the upstream's status with our own phrase, and its headers as `edit` says.
pub fn write_response(out: &mut Vec<u8>, response: &ResponseView<'_>, edit: &ResponseEdit<'_>) {
    let always = KnownSet::HOP_BY_HOP.union(KnownSet::of(&[
        Known::PosternSession,
        Known::PosternEmergency,
        Known::Postern,
    ]));
    out.reserve(response.head().len() + 256);
    write_status(out, response.head().status());
    let known = always.union(edit.drop);
    let removed = Removed { known, names: edit.drop_names, only: edit.only, replaced: edit.add };
    copy_lines(out, response.bytes(), response.entries(), &removed);
    if !response.head().is_informational() && response.head().status() != 204 {
        write_framing(out, edit.framing);
    }
    write_connection(out, edit.connection);
    write_own(out, edit.add);
    out.extend_from_slice(b"\r\n");
}

/// An answer of our own.
#[derive(Debug, Clone, Copy)]
pub struct SimpleResponse<'a> {
    /// The status, 200 to 599.
    pub status: u16,
    /// The media type; none without a body.
    pub content_type: Option<Value<'a>>,
    /// Further lines (`Date`, `WWW-Authenticate`, `Cache-Control`, …).
    pub extra: &'a [(Name<'a>, Value<'a>)],
    /// The body; its length is announced, also where it is not sent.
    pub body: &'a [u8],
    /// The request was `HEAD`: the body is not sent.
    pub head_request: bool,
    /// What is said about the connection.
    pub connection: ClientConnection<'a>,
}

/// Appends a whole answer to `out`. A 204 or 304 has neither body nor length.
pub fn write_simple_response(out: &mut Vec<u8>, answer: &SimpleResponse<'_>) {
    let bodyless = matches!(answer.status, 204 | 304);
    write_status(out, answer.status);
    if let Some(Value(content_type)) = answer.content_type.filter(|_| !bodyless) {
        write_line(out, b"Content-Type", content_type);
    }
    if !bodyless {
        write_framing(out, Framing::Length(answer.body.len() as u64));
    }
    write_connection(out, answer.connection);
    write_own(out, answer.extra);
    out.extend_from_slice(b"\r\n");
    if !bodyless && !answer.head_request {
        out.extend_from_slice(answer.body);
    }
}

/// Appends the head of an answer of our own whose body comes in pieces, framed as [`client_framing`] says.
pub fn write_stream_head(
    out: &mut Vec<u8>,
    content_type: Option<Value<'_>>,
    extra: &[(Name<'_>, Value<'_>)],
    framing: Framing,
    connection: ClientConnection<'_>,
) {
    write_status(out, 200);
    if let Some(Value(content_type)) = content_type {
        write_line(out, b"Content-Type", content_type);
    }
    write_framing(out, framing);
    write_connection(out, connection);
    write_own(out, extra);
    out.extend_from_slice(b"\r\n");
}

/// How a body that is framed `upstream` is framed towards a client of this version: HTTP/1.0 knows no chunks, so the
/// connection's end must end the body there (and [`ClientConnection::Close`] goes with it).
#[must_use]
pub const fn client_framing(upstream: Framing, client: Version) -> Framing {
    match (upstream, client) {
        (Framing::Chunked | Framing::UntilClose, Version::Http10) => Framing::UntilClose,
        (Framing::Chunked | Framing::UntilClose, Version::Http11) => Framing::Chunked,
        (framing, _) => framing,
    }
}

/// Which received lines do not pass.
struct Removed<'a> {
    known: KnownSet,
    names: &'a NameSet,
    only: Option<Only<'a>>,
    replaced: &'a [(Name<'a>, Value<'a>)],
}

impl Removed<'_> {
    fn has(&self, entry: Entry, bytes: &[u8]) -> bool {
        let name = entry.name(bytes);
        let disguised = entry.is_odd() && entry.known != Known::Other;
        self.known.contains(entry.known)
            || disguised
            || entry.is_named()
            || self.names.contains(name)
            || self.only.is_some_and(|only| !only.known.contains(entry.known) && !only.names.contains(name))
            || self.replaced.iter().any(|(Name(own), _)| canonical_eq(name, own.as_bytes()))
    }
}

/// Copies the lines that stay. Neighbours that are clean are copied as one run.
fn copy_lines(out: &mut Vec<u8>, bytes: &[u8], entries: &[Entry], removed: &Removed<'_>) {
    let mut run = 0..0;
    for entry in entries {
        if removed.has(*entry, bytes) {
            continue;
        }
        if entry.is_clean() {
            let (start, end) = entry.line();
            if start != run.end {
                out.extend_from_slice(bytes.get(run).unwrap_or_default());
                run = start..start;
            }
            run.end = end;
        } else {
            out.extend_from_slice(bytes.get(run).unwrap_or_default());
            run = 0..0;
            write_line(out, entry.name(bytes), entry.value(bytes));
        }
    }
    out.extend_from_slice(bytes.get(run).unwrap_or_default());
}

fn write_own(out: &mut Vec<u8>, lines: &[(Name<'_>, Value<'_>)]) {
    for (Name(name), Value(value)) in lines {
        write_line(out, name.as_bytes(), value);
    }
}

fn write_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn write_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            write_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn write_connection(out: &mut Vec<u8>, connection: ClientConnection<'_>) {
    match connection {
        ClientConnection::Open => {}
        ClientConnection::KeepAlive => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        ClientConnection::Close => out.extend_from_slice(b"Connection: close\r\n"),
        ClientConnection::Upgrade(protocol) => write_upgrade(out, protocol),
    }
}

fn write_upgrade(out: &mut Vec<u8>, protocol: Value<'_>) {
    out.extend_from_slice(b"Connection: upgrade\r\n");
    write_line(out, b"Upgrade", protocol.0);
}

fn write_decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; 20];
    let mut left = number;
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (left % 10) as u8;
        left /= 10;
        used += 1;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

fn write_status(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The registered phrase, or an empty one.
const fn phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}
