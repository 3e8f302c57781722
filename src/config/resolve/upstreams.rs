//! The applications, and the headers that carry identity to them.
//!
//! Never here: connecting to them, or filling a template.

mod servers;
mod serves;

use std::{collections::BTreeMap, path::PathBuf};

use http::{HeaderName, Uri};

use super::{
    context::{Context, folded, short},
    gateway::TOP,
    settings::{HostHeader, Piece, Slot, UpstreamSettings},
};
use servers::servers;
use serves::{Served, prefix, served};

use crate::{
    config::{
        fault::Code,
        suggest,
        written::{self, Assert, At, Field, File, Place, Upstream},
    },
    net::{
        Destination,
        servers::{Eject, Protocol},
    },
    policy::routes::{Prefix, Rewrite},
    proxy::wire::{Authority, Target},
};

/// The upstreams by their names, and whether some were left out because they are broken.
pub(super) struct Upstreams {
    pub(super) list: Vec<UpstreamSettings>,
    pub(super) names: Vec<(String, Place)>,
    /// What each serves, by the same numbers.
    pub(super) serves: Vec<Vec<Served>>,
    pub(super) broken: bool,
}

impl Upstreams {
    /// Finds the upstream that a route or a default means.
    pub(super) fn find(
        &self,
        context: Context<'_>,
        field: &Field<String>,
        owner: Place,
        used: &mut [bool],
    ) -> Option<usize> {
        let found = match field {
            Field::Broken => return None,
            Field::Given(at) => {
                let found = self.names.iter().position(|(name, _)| *name == at.value);
                if found.is_none() && !self.broken {
                    let known = self.names.iter().map(|(name, _)| name.as_str());
                    context.unknown(Code::UnknownUpstream, at, "upstream", known);
                }
                found
            }
            Field::Absent => match self.names.len() {
                1 => Some(0),
                _ => {
                    if !self.broken && !self.names.is_empty() {
                        let hint = "there are several upstreams, so say which one answers";
                        context.need(field, owner, "upstream", hint);
                    }
                    None
                }
            },
        };
        if let Some(slot) = found.and_then(|i| used.get_mut(i)) {
            *slot = true;
        }
        found
    }
}

pub(super) fn upstreams(context: Context<'_>, file: &File, assertion: Option<&HeaderName>) -> Upstreams {
    let mut out = Upstreams {
        list: Vec::new(),
        names: Vec::new(),
        serves: Vec::new(),
        broken: file.upstreams.is_broken(),
    };
    let hint = "name the application: `upstreams: { app: { url: \"http://127.0.0.1:8000\" } }`";
    let Some(table) = context.need(&file.upstreams, TOP(), "upstreams", hint) else {
        out.broken = true;
        return out;
    };
    out.broken |= !table.value.broken.is_empty();
    if table.value.entries.is_empty() && !out.broken {
        context.put(Code::MissingKey, table.place, "there is no upstream", hint);
        out.broken = true;
    }
    for (key, written) in &table.value.entries {
        out.names.push((key.value.clone(), key.place));
        out.serves.push(served(context, &written.value.serves));
        match upstream(context, key, written, assertion) {
            Some(settings) => out.list.push(settings),
            None => out.list.push(blank(&key.value)),
        }
    }
    let mut parts: BTreeMap<(Option<&str>, Option<&str>), usize> = BTreeMap::new();
    for (number, served) in
        (0..).zip(&out.serves).flat_map(|(number, list)| list.iter().map(move |one| (number, one)))
    {
        let part = (served.host.as_deref(), served.prefix.as_ref().map(Prefix::as_str));
        let first = parts.insert(part, number).and_then(|first| out.names.get(first));
        if let (Some((first, _)), Some((_, place))) = (first, out.names.get(number)) {
            let message = format!(
                "this serves `{}{}`, which `{first}` serves already",
                part.0.unwrap_or_default(),
                part.1.unwrap_or("/")
            );
            context.put(Code::DuplicateName, *place, message, "each part of the map belongs to one upstream");
        }
    }
    // The only one that says nothing has what the others leave.
    let silent: Vec<usize> = (0..out.serves.len())
        .filter(|number| table.value.entries.get(*number).is_some_and(|(_, at)| at.value.serves.is_absent()))
        .collect();
    if let [rest] = silent.as_slice()
        && let Some(served) = out.serves.get_mut(*rest)
        && out.list.len() > 1
    {
        served.push(Served { host: None, prefix: None });
    }
    out
}

/// Keeps the numbers of the others right; never used, since a fault was told.
fn blank(name: &str) -> UpstreamSettings {
    UpstreamSettings {
        name: name.to_owned(),
        servers: Vec::new(),
        check: None,
        eject: Eject::default(),
        protocol: Protocol::Http1,
        trailers: false,
        ping_ms: 0,
        authority: String::new(),
        audience: String::new(),
        host_header: HostHeader::Upstream,
        assert_members: false,
        idle: 0,
        idle_timeout_ms: 0,
        connect_timeout_ms: 0,
        response_timeout_ms: 0,
        headers: Vec::new(),
        rewrite: Rewrite::default(),
    }
}

fn upstream(
    context: Context<'_>,
    key: &At<String>,
    at: &At<Upstream>,
    assertion: Option<&HeaderName>,
) -> Option<UpstreamSettings> {
    let written = &at.value;
    let name = context.visible(key, "the name of an upstream", 64);
    let http2 = written.protocol.value() == Some(&written::Protocol::Http2);
    let found = servers(context, written, at.place, http2);
    let audience = match &written.audience {
        Field::Absent => name.clone(),
        Field::Broken => None,
        Field::Given(at) => context.visible(at, "an audience", 512),
    };
    let host_header = match written.host.given() {
        None => Some(HostHeader::Upstream),
        Some(at) => match at.value.as_str() {
            "upstream" => Some(HostHeader::Upstream),
            "client" => Some(HostHeader::Client),
            fixed => fixed_host(context, at, fixed),
        },
    };
    let assert_members = written.assert.value() == Some(&Assert::Everyone);
    let idle = context.count(&written.idle, 256, 0, 10_000);
    let idle_timeout_ms =
        context.duration(&written.idle_timeout, if http2 { 60_000 } else { 4_000 }, 0, 3_600_000);
    let connect_timeout_ms = context.duration(&written.connect_timeout, 2_000, 1, 60_000);
    let response_timeout_ms = context.duration(&written.response_timeout, 60_000, 1, 3_600_000);
    let headers = headers(context, written, assertion);
    let rewrite =
        Rewrite { strip: prefix(context, &written.strip_prefix), add: prefix(context, &written.add_prefix) };
    let check = servers::check(context, &written.health);
    let eject = servers::eject(context, &written.eject);
    let ping_ms = servers::ping(context, written, http2);
    let found = found?;
    Some(UpstreamSettings {
        name: name?,
        servers: found.list,
        check: check?,
        eject,
        protocol: if http2 { Protocol::Http2 } else { Protocol::Http1 },
        trailers: written.trailers.value() == Some(&written::Trailers::Pass),
        ping_ms,
        authority: found.authority,
        audience: audience?,
        host_header: host_header?,
        assert_members,
        idle,
        idle_timeout_ms,
        connect_timeout_ms,
        response_timeout_ms,
        headers,
        rewrite,
    })
}

fn fixed_host(context: Context<'_>, at: &At<String>, fixed: &str) -> Option<HostHeader> {
    if Authority::new(fixed.as_bytes()).is_some() {
        return Some(HostHeader::Fixed(fixed.to_owned()));
    }
    context.put(
        Code::BadValue,
        at.place,
        format!("`{}` is no host", short(fixed)),
        "write `upstream`, `client` or a host such as `app.example`",
    );
    None
}

/// What an upstream's address says.
pub(super) struct Address {
    pub(super) place: Destination,
    /// The host without brackets; nothing for a socket of this machine.
    pub(super) host: String,
    pub(super) authority: String,
    pub(super) secure: bool,
}

/// Whether this can be asked for as it is.
fn is_target(text: &str) -> bool {
    text.starts_with('/') && text.len() <= 1024 && Target::new(text).is_some()
}

fn address(context: Context<'_>, at: &At<String>) -> Option<Address> {
    let text = at.value.as_str();
    let wrong = |part: &str, message: String, hint: &str| {
        context.put(Code::BadUrl, context.part(at.place, part), message, hint);
        None
    };
    // Before anything of it is quoted.
    if text.contains('@') {
        let behind = text.split_once("://").map_or(text, |(_, behind)| behind);
        let message = "an upstream's address holds no user and password".to_owned();
        return wrong(behind, message, "leave them out; the application believes the signed assertion");
    }
    let form = "write scheme, host and port alone: `http://127.0.0.1:8000`, `https://app.example` or `unix:/run/app.sock`";
    if let Some(path) = text.strip_prefix("unix:") {
        if !path.starts_with('/') || path.contains('\0') || path.len() > 100 {
            let hint = "write the absolute path of the socket, at most 100 bytes: `unix:/run/app.sock`";
            return wrong(text, format!("`{}` is no socket of this machine", short(path)), hint);
        }
        let place = Destination::Unix(PathBuf::from(path));
        return Some(Address {
            place,
            host: String::new(),
            authority: "localhost".to_owned(),
            secure: false,
        });
    }
    let secure = text.starts_with("https://");
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return wrong(text, format!("`{}` is no address of an application", short(text)), form);
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if !matches!(behind, "" | "/") {
        let message = format!("`{}` does not belong into an upstream's address", short(behind));
        return wrong(behind, message, "leave it out: the path that was decided on is the path that is sent");
    }
    let port = match authority.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return wrong(port, format!("`{}` is no port", short(port)), "use 1 to 65535"),
        },
        _ if secure => 443,
        _ => 80,
    };
    let parsed = text.parse::<Uri>().ok();
    let parsed = parsed.as_ref().and_then(Uri::authority);
    // It is sent as `Host` too, so it must be spelt as the codec takes it: no dot at the end, no zeros before a port.
    let (Some(parsed), true) = (parsed, Authority::new(authority.as_bytes()).is_some()) else {
        return wrong(authority, format!("`{}` is no host and port", short(authority)), form);
    };
    let host = parsed.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return wrong(authority, "the address names no host".to_owned(), form);
    }
    let place = Destination::Tcp(if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    });
    Some(Address { place, host, authority: authority.to_owned(), secure })
}

fn headers(
    context: Context<'_>,
    written: &Upstream,
    assertion: Option<&HeaderName>,
) -> Vec<(HeaderName, Vec<Piece>)> {
    let Some(table) = written.headers.value() else { return Vec::new() };
    let mut seen: BTreeMap<String, Place> = BTreeMap::new();
    let mut out = Vec::new();
    for (key, value) in &table.entries {
        let Some(header) = context.header(key.place, &key.value) else { continue };
        if assertion.is_some_and(|assertion| folded(assertion) == folded(&header)) {
            context.put(
                Code::BadHeader,
                key.place,
                format!("the header `{header}` carries the assertion"),
                "set another one, or give the assertion another `header`",
            );
            continue;
        }
        if let Some(first) = seen.insert(folded(&header), key.place) {
            context.twice(key.place, "header", &key.value, first);
            continue;
        }
        if let Some(pieces) = template(context, value, "a header") {
            edges(context, value, &pieces);
            out.push((header, pieces));
        }
    }
    out
}

/// A header's value cannot begin or end with a space: such a request is refused (400). Some slots are empty for some
/// callers, and then what stands beside them is the edge.
fn edges(context: Context<'_>, at: &At<String>, pieces: &[Piece]) {
    let edge = |pieces: &mut dyn Iterator<Item = &Piece>, is_space: fn(&str) -> bool| {
        let mut empty = None;
        for piece in pieces {
            match piece {
                Piece::Literal(text) if is_space(text) => return Some(empty),
                // No member has a session, some members have no role, and mostly nobody acts as another.
                Piece::Slot(slot @ (Slot::Session | Slot::Role | Slot::Actor)) => empty = Some(*slot),
                Piece::Literal(_) | Piece::Slot(_) => return None,
            }
        }
        None
    };
    let found = [
        edge(&mut pieces.iter(), |text| text.starts_with(' ')),
        edge(&mut pieces.iter().rev(), |text| text.ends_with(' ')),
    ];
    for slot in found.into_iter().flatten() {
        let hint =
            "put the space away, use another character such as `;`, or give the slot a header of its own";
        match slot {
            None => context.put(
                Code::BadValue,
                at.place,
                "the value begins or ends with a space, which no header can",
                hint,
            ),
            Some(slot) => {
                let name = Slot::ALL.iter().find(|(_, known)| *known == slot).map_or("", |(name, _)| name);
                context.warn(
                    Code::BadValue,
                    at.place,
                    format!("callers without a {name} are refused: where `{{{name}}}` is empty, a space stands at the edge"),
                    hint,
                );
            }
        }
    }
}

/// The pieces of a template; `within` is what its value stands in.
pub(super) fn template(context: Context<'_>, at: &At<String>, within: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = at.value.as_str();
    let literal = |text: &str| {
        let sound = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') && !text.contains('}');
        if !sound {
            context.put(
                Code::BadValue,
                context.part(at.place, text),
                format!("`{}` cannot stand in {within}", short(text)),
                "use visible ASCII; braces only around a name, as in `{subject}`",
            );
        }
        sound
    };
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((name, behind)) = behind.split_once('}') else {
            context.put(
                Code::BadValue,
                context.part(at.place, rest.strip_prefix(before).unwrap_or(rest)),
                "a `{` without its `}`",
                "close it, as in `{subject}`",
            );
            return None;
        };
        if !literal(before) {
            return None;
        }
        if !before.is_empty() {
            pieces.push(Piece::Literal(before.to_owned()));
        }
        match Slot::ALL.iter().find(|(known, _)| *known == name) {
            Some((_, slot)) => pieces.push(Piece::Slot(*slot)),
            None => {
                let known = Slot::ALL.iter().map(|(known, _)| *known);
                context.put(
                    Code::UnknownWord,
                    context.part(at.place, name),
                    format!("nothing is known about `{{{}}}`", short(name)),
                    suggest::hint(name, known, "names here"),
                );
                return None;
            }
        }
        rest = behind;
    }
    if !literal(rest) {
        return None;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest.to_owned()));
    }
    Some(pieces)
}

/// All headers to be removed from requests: those declared and those that the gateway sets.
pub(super) fn identity_headers(
    context: Context<'_>,
    file: &File,
    upstreams: &[UpstreamSettings],
    assertion: Option<&HeaderName>,
) -> Vec<HeaderName> {
    let mut seen: BTreeMap<String, Place> = BTreeMap::new();
    let mut out: Vec<HeaderName> = Vec::new();
    for at in file.identity_headers.value().into_iter().flat_map(|list| &list.items) {
        let Some(header) = context.header(at.place, &at.value) else { continue };
        match seen.insert(folded(&header), at.place) {
            Some(first) => context.twice(at.place, "header", &at.value, first),
            None => out.push(header),
        }
    }
    let own = upstreams.iter().flat_map(|upstream| upstream.headers.iter().map(|(header, _)| header));
    for header in own.chain(assertion) {
        if !out.iter().any(|known| folded(known) == folded(header)) {
            out.push(header.clone());
        }
    }
    out
}
