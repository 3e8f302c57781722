//! The look-up of a name among the known ones: by length, then by its first eight bytes as one number, then whole.
//!
//! Never here: what the names mean (that is `known`).

use super::known::Known;
use super::scan;

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
    head: u64,
    name: &'static [u8],
    known: Known,
}

const LONGEST: usize = 40;

/// Lowers letters and leaves digits and `-` alone, eight bytes at once. Exact for names of only these.
const LOWER: u64 = 0x2020_2020_2020_2020;

/// The first eight bytes, lower case, as one number. Of a shorter name all its bytes, some of them twice.
const fn head(name: &[u8]) -> u64 {
    if let Some(first) = name.first_chunk::<8>() {
        return u64::from_le_bytes(*first) | LOWER;
    }
    if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        return ((u32::from_le_bytes(*last) as u64) << 32 | u32::from_le_bytes(*first) as u64) | LOWER;
    }
    match name {
        [a] => *a as u64 | LOWER,
        [a, b] => *a as u64 | (*b as u64) << 8 | LOWER,
        [a, b, c] => *a as u64 | (*b as u64) << 8 | (*c as u64) << 16 | LOWER,
        _ => LOWER,
    }
}

/// Whether what comes after the first eight bytes is the same; both have one length.
fn same_rest(one: &[u8], other: &[u8]) -> bool {
    let lower = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes) | LOWER;
    let (Some(one_last), Some(other_last)) = (one.last_chunk::<8>(), other.last_chunk::<8>()) else {
        return true;
    };
    if lower(one_last) != lower(other_last) {
        return false;
    }
    if one.len() <= 16 {
        return true;
    }
    let ((one, _), (other, _)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    one.iter().zip(other).skip(1).all(|(one, other)| lower(one) == lower(other))
}

const fn row(name: &'static str, known: Known) -> Row {
    Row { head: head(name.as_bytes()), name: name.as_bytes(), known }
}

fn look_up(name: &[u8]) -> Known {
    let wanted = head(name);
    for row in rows(name.len()) {
        if row.head == wanted && same_rest(row.name, name) {
            return row.known;
        }
    }
    family(name)
}

fn family(name: &[u8]) -> Known {
    const POSTERN: u64 = head(b"postern-");
    const X_FORWARDED: u64 = head(b"x-forwarded");
    const X_ORIGINAL: u64 = head(b"x-original");
    const X_REWRITE: u64 = head(b"x-rewrite");
    const X_ENVOY: u64 = head(b"x-envoy-original");
    const X_ACCEL: u64 = head(b"x-accel-");
    const X_MIDDLEWARE: u64 = head(b"x-middleware-");
    const ACCESS_CONTROL: u64 = head(b"access-control-");
    let (prefix, known): (&[u8], Known) = match head(name) {
        POSTERN => (b"postern-", Known::Postern),
        X_FORWARDED => (b"x-forwarded-", Known::XForwarded),
        X_ORIGINAL => (b"x-original-", Known::OriginalUrl),
        X_REWRITE => (b"x-rewrite-", Known::OriginalUrl),
        X_ENVOY => (b"x-envoy-original-", Known::OriginalUrl),
        X_ACCEL => (b"x-accel-", Known::Steering),
        X_MIDDLEWARE => (b"x-middleware-", Known::Steering),
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
        3 => const { &[row("via", Known::Via)] },
        4 => const { &[row("host", Known::Host), row("etag", Known::ETag), row("date", Known::Date)] },
        5 => const { &[row("range", Known::Range), row("proxy", Known::Proxy)] },
        6 => {
            const {
                &[
                    row("accept", Known::Accept),
                    row("cookie", Known::Cookie),
                    row("origin", Known::Origin),
                    row("expect", Known::Expect),
                    row("digest", Known::Digest),
                    row("x-host", Known::HostOverride),
                ]
            }
        }
        7 => const { &[row("upgrade", Known::Upgrade), row("trailer", Known::Trailer)] },
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
                    row("x-real-host", Known::HostOverride),
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
                    row("x-forward-for", Known::ClientAddress),
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
                    row("x-proxyuser-ip", Known::ClientAddress),
                    row("x-forward-host", Known::HostOverride),
                    row("x-override-url", Known::OriginalUrl),
                ]
            }
        }
        15 => {
            const {
                &[
                    row("accept-encoding", Known::AcceptEncoding),
                    row("postern-session", Known::PosternSession),
                    row("x-forwarder-for", Known::ClientAddress),
                    row("x-sendfile-type", Known::Steering),
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
                    row("x-originating-ip", Known::ClientAddress),
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
                    row("postern-emergency", Known::PosternEmergency),
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
        25 => const { &[row("x-custom-ip-authorization", Known::ClientAddress)] },
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
