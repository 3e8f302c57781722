//! Header names that mean something to a gateway, recognised while a head is read, so that no later step compares names.
//!
//! A name is recognised as the most careless reader would: in any case, and with any byte that is neither letter nor
//! digit taken for `-` (law 9). Whether it was spelled plainly is remembered beside it. Never here: what is done with one.

use super::{recognise::recognise, scan};

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
    /// Headers by which a proxy names another host: `X-Host`, `X-HTTP-Host-Override` and their like.
    HostOverride,
    /// `X-HTTP-Method-Override`, `X-HTTP-Method`, `X-Method-Override`.
    MethodOverride,
    /// `X-Original-*`, `X-Rewrite-*`, `X-Override-URL`, `X-Envoy-Original-*`.
    OriginalUrl,
    /// Headers by which a server in front steers the application's own parts: `X-Middleware-*` (CVE-2025-29927),
    /// `X-Accel-*` and `X-Sendfile-Type` (CVE-2025-61780).
    Steering,
    PosternSession,
    PosternEmergency,
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
    Location,
    Traceparent,
    Tracestate,
    RequestId,
}

impl Known {
    /// A name that is spelt just so but for its case: for whoever reads names one by one, and not as a careless reader would.
    #[must_use]
    pub fn spelt(name: &str) -> Known {
        recognise(name.as_bytes(), false)
    }
}

/// A set of [`Known`] names: one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KnownSet(u64);

impl KnownSet {
    /// Nothing.
    pub const EMPTY: Self = Self(0);

    /// What is about one HTTP/1.1 connection, `Te` apart: it means nothing in HTTP/2 (RFC 9113, 8.2.2).
    pub const OF_A_CONNECTION: Self = Self::of(&[
        Known::Connection,
        Known::KeepAlive,
        Known::ProxyConnection,
        Known::TransferEncoding,
        Known::Upgrade,
    ]);

    /// What belongs to one connection and never passes a gateway (RFC 9110, 7.6.1), framing included: both sides frame
    /// anew. `Expect` is answered here (rule 11).
    pub const HOP_BY_HOP: Self = Self::OF_A_CONNECTION.union(Self::of(&[
        Known::Te,
        Known::Trailer,
        Known::ContentLength,
        Known::Expect,
        Known::Http2Settings,
        Known::ProxyAuthorization,
        Known::ProxyAuthenticate,
        Known::Proxy,
    ]));

    /// What a client may never say to the application: where it came from, which address, method or host it "really"
    /// meant, and everything under our own name (laws 9 and 10).
    pub const CLAIMS: Self = Self::of(&[
        Known::Forwarded,
        Known::XForwarded,
        Known::ClientAddress,
        Known::HostOverride,
        Known::MethodOverride,
        Known::OriginalUrl,
        Known::Steering,
        Known::PosternSession,
        Known::PosternEmergency,
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
        Known::PosternEmergency,
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
