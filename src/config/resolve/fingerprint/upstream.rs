//! What of an application's settings a request's way depends on.
//!
//! Never here: what any of it means.

use serde_json::{Value, json};

use super::{
    super::settings::{HostHeader, Piece, Slot, UpstreamSettings},
    put,
};
use crate::net::servers::{Protocol, Server};

fn piece_value(piece: &Piece) -> Value {
    match piece {
        Piece::Literal(text) => json!(text),
        Piece::Slot(slot) => {
            json!({ "slot": Slot::ALL.iter().find(|(_, known)| known == slot).map(|(name, _)| *name) })
        }
    }
}

/// What is written into queries of one route.
pub(super) fn query_value(parameters: &[(String, Vec<Piece>)]) -> Value {
    let value = |(name, pieces): &(String, Vec<Piece>)| {
        json!([name, pieces.iter().map(piece_value).collect::<Vec<_>>()])
    };
    parameters.iter().map(value).collect()
}

pub(super) fn upstream_value(upstream: &UpstreamSettings) -> Value {
    let headers = upstream
        .headers
        .iter()
        .map(|(name, pieces)| json!([name.as_str(), pieces.iter().map(piece_value).collect::<Vec<_>>()]));
    let place = |server: &Server| format!("{:?}", server.place);
    let tls = |server: &Server| server.tls.as_ref().map(|tls| tls.name.to_str().into_owned());
    let mut value = json!({
        "name": upstream.name,
        "authority": upstream.authority,
        "place": upstream.servers.first().map(place),
        "tls": upstream.servers.first().and_then(tls),
        "audience": upstream.audience,
        "assert_members": upstream.assert_members,
        "host": match &upstream.host_header {
            HostHeader::Upstream => json!("upstream"),
            HostHeader::Client => json!("client"),
            HostHeader::Fixed(host) => json!({ "fixed": host }),
        },
        "headers": headers.collect::<Vec<_>>(),
        "strip_prefix": upstream.rewrite.strip.as_ref().map(|prefix| prefix.as_str()),
        "add_prefix": upstream.rewrite.add.as_ref().map(|prefix| prefix.as_str()),
    });
    if upstream.servers.len() > 1 {
        let servers: Vec<_> =
            upstream.servers.iter().map(|server| json!([place(server), tls(server)])).collect();
        put(&mut value, "servers", json!(servers));
    }
    if upstream.protocol == Protocol::Http2 {
        put(&mut value, "protocol", json!("http2"));
    }
    if upstream.trailers {
        put(&mut value, "trailers", json!("pass"));
    }
    value
}
