//! Addresses that the gateway asks by itself: strictly one absolute address, nothing that two readers could read
//! differently, and who vouches for its server.
//!
//! Never here: connecting.

use super::context::{Context, short};
use crate::{
    config::{
        fault::Code,
        written::{At, Authorities, Field},
    },
    net::ask::Address,
};

/// How faults of an address speak of it.
pub(super) struct About {
    /// What it is the address of.
    pub(super) what: &'static str,
    /// A good one.
    pub(super) form: &'static str,
    /// What is wrong without TLS.
    pub(super) clear: &'static str,
    /// What to do about that.
    pub(super) instead: &'static str,
    /// What to do instead of a password in it.
    pub(super) password: &'static str,
}

/// Reads an address. `in_clear` says for which hosts it may be `http`.
pub(super) fn address(
    context: Context<'_>,
    at: &At<String>,
    ca: &Field<Authorities>,
    about: &About,
    in_clear: impl Fn(&str) -> bool,
) -> Option<Address> {
    let authorities = match ca {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(at) => {
            let hint = "name the file with the authority's certificate: `ca: { file: ca.pem }`";
            let file = context.need(&at.value.file, at.place, "file", hint);
            file.and_then(|file| certificates(context, file)).map(Some)
        }
    };
    let read = parts(context, at, about, in_clear)?;
    if let (false, Some(at)) = (read.tls, ca.given()) {
        let hint = "remove it, or use `https`";
        context.put(Code::BadValue, at.place, "without TLS nobody's certificate is asked for", hint);
    }
    Some(Address { authorities: authorities?, ..read })
}

pub(super) fn certificates(context: Context<'_>, file: &At<String>) -> Option<String> {
    let (_, bytes) = context.read(file, "the authority's certificate")?;
    match String::from_utf8(bytes.to_vec()) {
        Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => Some(text),
        Ok(_) | Err(_) => {
            context.put(
                Code::BadKeys,
                file.place,
                "the file holds no certificate in PEM",
                "write the authority's certificate as `-----BEGIN CERTIFICATE-----`",
            );
            None
        }
    }
}

fn parts(
    context: Context<'_>,
    at: &At<String>,
    about: &About,
    in_clear: impl Fn(&str) -> bool,
) -> Option<Address> {
    let text = at.value.as_str();
    let wrong = |part: &str, message: String, hint: &str| {
        context.put(Code::BadUrl, context.part(at.place, part), message, hint);
        None
    };
    let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => {
            return wrong(text, format!("`{}` is no address of {}", short(text), about.what), about.form);
        }
    };
    if text.len() > 2048 || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\' && b != b'#') {
        let hint = "use visible ASCII without `\\` and `#`; encode everything else";
        return wrong("", format!("`{}` is no address that is read in one way", short(text)), hint);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if authority.contains('@') {
        let message = format!("an address of {} holds no user or password", about.what);
        return wrong(authority, message, about.password);
    }
    let parsed = authority.parse::<http::uri::Authority>().ok().filter(|parsed| !parsed.host().is_empty());
    let Some(parsed) = parsed else {
        return wrong(authority, format!("`{}` is no host", short(authority)), about.form);
    };
    let port = match authority.strip_prefix(parsed.host()) {
        Some("") => Some(if tls { 443 } else { 80 }),
        Some(behind) => behind.strip_prefix(':').and_then(|port| port.parse().ok()).filter(|port| *port != 0),
        None => None,
    };
    let Some(port) = port else {
        return wrong(authority, "this is no host with a port".to_owned(), "use a port from 1 to 65535");
    };
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    if target.parse::<http::uri::PathAndQuery>().is_err() {
        return wrong(&target, format!("`{}` is no path", short(&target)), about.form);
    }
    let host = parsed.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    if !tls && !in_clear(&host) {
        context.put(Code::Dangerous, context.part(at.place, "http"), about.clear, about.instead);
        return None;
    }
    Some(Address { tls, host, port, authority: authority.to_owned(), target, authorities: None })
}
