//! Header names that mean something to a gateway, recognised while a head is read, so that no later step compares names.
//!
//! A name is recognised as the most careless reader would: in any case, and with any byte that is neither letter nor
//! digit taken for `-` (law 9). Whether it was spelled plainly is remembered beside it. Never here: what is done with one.

use super::scan;

/// A header name, or family of names, that some step of the gateway asks for. Families end their line with `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is the header of that name; families are described")]
pub enum Known {
    /// None of the others.
    Other,
    Host,
    Connection,
    KeepAlive,
    ProxyConnection,
    Te,
    Trailer,
    TransferEncoding,
    ContentLength,
    Upgrade,
    Expect,
    Http2Settings,
    ProxyAuthorization,
    ProxyAuthenticate,
    /// `Proxy-*` otherwise: `Proxy-Authentication-Info`, `Proxy-Status`, and bare `Proxy` (the CGI variable `HTTP_PROXY`).
    Proxy,
    Authorization,
    WwwAuthenticate,
    Cookie,
    SetCookie,
    Date,
    Via,
    Forwarded,
    /// `X-Forwarded-*` and `X-Forwarded`.
    XForwarded,
    /// Headers by which a proxy says from where a client came: `X-Real-IP`, `True-Client-IP` and their like.
    ClientAddress,
    /// Headers by which a proxy names another host: `X-Host`, `X-HTTP-Host-Override`.
    HostOverride,
    /// `X-HTTP-Method-Override`, `X-HTTP-Method`, `X-Method-Override`.
    MethodOverride,
    /// `X-Original-*`, `X-Rewrite-*`, `X-Envoy-Original-*`.
    OriginalUrl,
    PosternSession,
    /// `Postern-*` otherwise.
    Postern,
    SecWebSocketKey,
    SecWebSocketAccept,
    SecWebSocketProtocol,
    SecWebSocketVersion,
    SecWebSocketExtensions,
    SecFetchSite,
    Origin,
    AccessControlRequestMethod,
    AccessControlRequestHeaders,
    /// `Access-Control-*` otherwise.
    AccessControl,
    Accept,
    AcceptEncoding,
    AcceptRanges,
    Range,
    IfRange,
    IfMatch,
    IfNoneMatch,
    IfModifiedSince,
    IfUnmodifiedSince,
    ETag,
    LastModified,
    ContentType,
    ContentEncoding,
    ContentRange,
    ContentLocation,
    ContentDisposition,
    /// `Digest`, `Content-Digest`, `Repr-Digest`, `Content-MD5`.
    Digest,
    CacheControl,
    Pragma,
    Expires,
    Age,
    Vary,
    Location,
    UserAgent,
    Server,
    Traceparent,
    Tracestate,
    RequestId,
}

/// A set of [`Known`] names: one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KnownSet(u128);

impl KnownSet {
    /// Nothing.
    pub const EMPTY: Self = Self(0);

    /// What belongs to one connection and never passes a gateway (RFC 9110, 7.6.1), framing included: both sides frame
    /// anew. `Expect` is answered here (rule 11).
    pub const HOP_BY_HOP: Self = Self::of(&[
        Known::Connection,
        Known::KeepAlive,
        Known::ProxyConnection,
        Known::Te,
        Known::Trailer,
        Known::TransferEncoding,
        Known::ContentLength,
        Known::Upgrade,
        Known::Expect,
        Known::Http2Settings,
        Known::ProxyAuthorization,
        Known::ProxyAuthenticate,
        Known::Proxy,
    ]);

    /// What a client may never say to the application: where it came from, which address, method or host it "really"
    /// meant, and everything under our own name (laws 9 and 10).
    pub const CLAIMS: Self = Self::of(&[
        Known::Forwarded,
        Known::XForwarded,
        Known::ClientAddress,
        Known::HostOverride,
        Known::MethodOverride,
        Known::OriginalUrl,
        Known::PosternSession,
        Known::Postern,
    ]);

    /// Sent once or not at all in a request: two of them can be read in two ways (law 10).
    pub(super) const SINGLE_IN_REQUEST: Self = Self::of(&[
        Known::Host,
        Known::TransferEncoding,
        Known::ContentLength,
        Known::Upgrade,
        Known::Expect,
        Known::Http2Settings,
        Known::ProxyAuthorization,
        Known::Authorization,
        Known::Cookie,
        Known::Date,
        Known::PosternSession,
        Known::SecWebSocketKey,
        Known::SecWebSocketVersion,
        Known::SecFetchSite,
        Known::Origin,
        Known::AccessControlRequestMethod,
        Known::Range,
        Known::IfRange,
        Known::IfModifiedSince,
        Known::IfUnmodifiedSince,
        Known::ContentType,
        Known::ContentRange,
        Known::ContentLocation,
        Known::Traceparent,
    ]);

    /// Sent once or not at all in a response.
    pub(super) const SINGLE_IN_RESPONSE: Self = Self::of(&[
        Known::TransferEncoding,
        Known::ContentLength,
        Known::Upgrade,
        Known::SecWebSocketKey,
        Known::SecWebSocketAccept,
        Known::ContentRange,
        Known::Location,
    ]);

    /// What an option of Connection may name without harm: these are removed in any case.
    pub(super) const NAMEABLE: Self = Self::of(&[
        Known::Other,
        Known::KeepAlive,
        Known::ProxyConnection,
        Known::Te,
        Known::Trailer,
        Known::Upgrade,
        Known::Http2Settings,
        Known::ProxyAuthorization,
        Known::ProxyAuthenticate,
        Known::Proxy,
    ]);

    /// The set of these names.
    #[must_use]
    pub const fn of(names: &[Known]) -> Self {
        let mut bits = 0;
        let mut rest = names;
        while let [first, after @ ..] = rest {
            bits |= 1 << *first as u8;
            rest = after;
        }
        Self(bits)
    }

    /// Both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the name is in the set.
    #[must_use]
    pub const fn contains(self, name: Known) -> bool {
        self.0 & (1 << name as u8) != 0
    }

    pub(super) const fn insert(&mut self, name: Known) {
        self.0 |= 1 << name as u8;
    }
}

/// Whether `name`, as received, could mean `configured` to any reader: case does not count, and whatever is neither
/// letter nor digit is one and the same (`_` for `-`, law 9).
#[must_use]
pub fn canonical_eq(name: &[u8], configured: &[u8]) -> bool {
    name.len() == configured.len()
        && name.iter().zip(configured).all(|(&one, &other)| scan::fold(one) == scan::fold(other))
}

/// Recognises a name; `odd` says that it holds bytes other than letters, digits and `-`.
pub(super) fn recognise(name: &[u8], odd: bool) -> Known {
    if !odd {
        return look_up(name);
    }
    let mut plain = [0; LONGEST];
    let Some(folded) = plain.get_mut(..name.len()) else {
        // Only families hold names this long, and a prefix tells a family.
        for (to, from) in plain.iter_mut().zip(name) {
            *to = scan::fold(*from);
        }
        return family(&plain);
    };
    for (to, from) in folded.iter_mut().zip(name) {
        *to = scan::fold(*from);
    }
    look_up(folded)
}

struct Row {
    word: u64,
    name: &'static [u8],
    known: Known,
}

const LONGEST: usize = 40;

/// The first eight bytes, lower case, as one number; shorter names are filled with zero. `| 0x20` lowers letters and
/// leaves digits and `-` alone; other bytes may collide, which the full comparison settles.
const fn word(name: &[u8]) -> u64 {
    if let Some(first) = name.first_chunk::<8>() {
        return u64::from_le_bytes(*first) | 0x2020_2020_2020_2020;
    }
    let mut word = 0;
    let mut shift = 0;
    let mut rest = name;
    while let [first, after @ ..] = rest {
        word |= ((*first | 0x20) as u64) << shift;
        shift += 8;
        rest = after;
    }
    word
}

const fn row(name: &'static str, known: Known) -> Row {
    Row { word: word(name.as_bytes()), name: name.as_bytes(), known }
}

fn look_up(name: &[u8]) -> Known {
    let wanted = word(name);
    for row in rows(name.len()) {
        if row.word == wanted && row.name.eq_ignore_ascii_case(name) {
            return row.known;
        }
    }
    family(name)
}

fn family(name: &[u8]) -> Known {
    const POSTERN: u64 = word(b"postern-");
    const X_FORWARDED: u64 = word(b"x-forwarded");
    const X_ORIGINAL: u64 = word(b"x-original");
    const X_REWRITE: u64 = word(b"x-rewrite");
    const X_ENVOY: u64 = word(b"x-envoy-original");
    const ACCESS_CONTROL: u64 = word(b"access-control-");
    let (prefix, known): (&[u8], Known) = match word(name) {
        POSTERN => (b"postern-", Known::Postern),
        X_FORWARDED => (b"x-forwarded-", Known::XForwarded),
        X_ORIGINAL => (b"x-original-", Known::OriginalUrl),
        X_REWRITE => (b"x-rewrite-", Known::OriginalUrl),
        X_ENVOY => (b"x-envoy-original-", Known::OriginalUrl),
        ACCESS_CONTROL => (b"access-control-", Known::AccessControl),
        _ => (b"proxy-", Known::Proxy),
    };
    match name.get(..prefix.len()) {
        Some(start) if start.eq_ignore_ascii_case(prefix) => known,
        _ => Known::Other,
    }
}

#[expect(clippy::too_many_lines, reason = "a table by length")]
const fn rows(len: usize) -> &'static [Row] {
    match len {
        2 => const { &[row("te", Known::Te)] },
        3 => const { &[row("via", Known::Via), row("age", Known::Age)] },
        4 => {
            const {
                &[
                    row("host", Known::Host),
                    row("etag", Known::ETag),
                    row("date", Known::Date),
                    row("vary", Known::Vary),
                ]
            }
        }
        5 => const { &[row("range", Known::Range), row("proxy", Known::Proxy)] },
        6 => {
            const {
                &[
                    row("accept", Known::Accept),
                    row("cookie", Known::Cookie),
                    row("origin", Known::Origin),
                    row("expect", Known::Expect),
                    row("pragma", Known::Pragma),
                    row("server", Known::Server),
                    row("digest", Known::Digest),
                    row("x-host", Known::HostOverride),
                ]
            }
        }
        7 => {
            const {
                &[
                    row("upgrade", Known::Upgrade),
                    row("trailer", Known::Trailer),
                    row("expires", Known::Expires),
                ]
            }
        }
        8 => {
            const {
                &[
                    row("if-match", Known::IfMatch),
                    row("if-range", Known::IfRange),
                    row("location", Known::Location),
                ]
            }
        }
        9 => {
            const {
                &[
                    row("forwarded", Known::Forwarded),
                    row("x-real-ip", Known::ClientAddress),
                    row("client-ip", Known::ClientAddress),
                ]
            }
        }
        10 => {
            const {
                &[
                    row("user-agent", Known::UserAgent),
                    row("connection", Known::Connection),
                    row("keep-alive", Known::KeepAlive),
                    row("set-cookie", Known::SetCookie),
                    row("tracestate", Known::Tracestate),
                ]
            }
        }
        11 => {
            const {
                &[
                    row("traceparent", Known::Traceparent),
                    row("x-forwarded", Known::XForwarded),
                    row("x-client-ip", Known::ClientAddress),
                    row("x-remote-ip", Known::ClientAddress),
                    row("repr-digest", Known::Digest),
                    row("content-md5", Known::Digest),
                ]
            }
        }
        12 => const { &[row("content-type", Known::ContentType), row("x-request-id", Known::RequestId)] },
        13 => {
            const {
                &[
                    row("authorization", Known::Authorization),
                    row("cache-control", Known::CacheControl),
                    row("if-none-match", Known::IfNoneMatch),
                    row("last-modified", Known::LastModified),
                    row("accept-ranges", Known::AcceptRanges),
                    row("content-range", Known::ContentRange),
                    row("x-http-method", Known::MethodOverride),
                    row("x-remote-addr", Known::ClientAddress),
                    row("forwarded-for", Known::ClientAddress),
                ]
            }
        }
        14 => {
            const {
                &[
                    row("content-length", Known::ContentLength),
                    row("sec-fetch-site", Known::SecFetchSite),
                    row("http2-settings", Known::Http2Settings),
                    row("content-digest", Known::Digest),
                    row("true-client-ip", Known::ClientAddress),
                ]
            }
        }
        15 => {
            const {
                &[
                    row("accept-encoding", Known::AcceptEncoding),
                    row("postern-session", Known::PosternSession),
                ]
            }
        }
        16 => {
            const {
                &[
                    row("content-encoding", Known::ContentEncoding),
                    row("content-location", Known::ContentLocation),
                    row("proxy-connection", Known::ProxyConnection),
                    row("www-authenticate", Known::WwwAuthenticate),
                    row("cf-connecting-ip", Known::ClientAddress),
                    row("fastly-client-ip", Known::ClientAddress),
                ]
            }
        }
        17 => {
            const {
                &[
                    row("transfer-encoding", Known::TransferEncoding),
                    row("if-modified-since", Known::IfModifiedSince),
                    row("sec-websocket-key", Known::SecWebSocketKey),
                    row("x-method-override", Known::MethodOverride),
                ]
            }
        }
        18 => {
            const {
                &[
                    row("proxy-authenticate", Known::ProxyAuthenticate),
                    row("cf-connecting-ipv6", Known::ClientAddress),
                ]
            }
        }
        19 => {
            const {
                &[
                    row("content-disposition", Known::ContentDisposition),
                    row("if-unmodified-since", Known::IfUnmodifiedSince),
                    row("proxy-authorization", Known::ProxyAuthorization),
                    row("x-cluster-client-ip", Known::ClientAddress),
                    row("x-appengine-user-ip", Known::ClientAddress),
                ]
            }
        }
        20 => {
            const {
                &[
                    row("sec-websocket-accept", Known::SecWebSocketAccept),
                    row("x-http-host-override", Known::HostOverride),
                ]
            }
        }
        21 => const { &[row("sec-websocket-version", Known::SecWebSocketVersion)] },
        22 => {
            const {
                &[
                    row("sec-websocket-protocol", Known::SecWebSocketProtocol),
                    row("x-http-method-override", Known::MethodOverride),
                ]
            }
        }
        24 => {
            const {
                &[
                    row("sec-websocket-extensions", Known::SecWebSocketExtensions),
                    row("x-envoy-external-address", Known::ClientAddress),
                ]
            }
        }
        29 => const { &[row("access-control-request-method", Known::AccessControlRequestMethod)] },
        30 => const { &[row("access-control-request-headers", Known::AccessControlRequestHeaders)] },
        _ => &[],
    }
}

/// Every row, for the test that each stands in the bucket of its own length.
#[cfg(test)]
pub(super) fn table() -> Vec<(usize, &'static [u8], Known)> {
    (0..=LONGEST).flat_map(|len| rows(len).iter().map(move |row| (len, row.name, row.known))).collect()
}
