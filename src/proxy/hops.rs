//! From where a request comes, where something that is trusted stands in front and says it: `X-Forwarded-For` or
//! `Forwarded` (RFC 7239), read from its end.
//!
//! Whoever is asked appends what they saw, so the last entry is the word of the peer itself, the one before it the word of
//! the hop before, and so on: each entry is worth what the hop behind it is worth. The client is the first entry from the
//! end that no trusted hop wrote about another trusted hop; what stands before it is the client's own word, and is not
//! looked at. A peer that is not trusted has said nothing, whatever it sent.
//!
//! Never here: a scheme or a host from such a header (neither is believed), what goes to the application.

use std::net::{IpAddr, Ipv6Addr};

use crate::{engine::knock::address_of, model::Network};

use super::wire::{Field, Known, RequestView};

/// Which header the hops write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HopHeader {
    /// `Forwarded`.
    Forwarded,
    /// `X-Forwarded-For`.
    XForwardedFor,
}

/// Who is trusted to say from where a request comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hops {
    /// The hops themselves.
    pub from: Vec<Network>,
    /// Where they say it.
    pub header: HopHeader,
    /// How many hops each request passes; `None` goes by their addresses alone.
    pub count: Option<usize>,
}

/// A trusted hop names the client in no one way. To go by the hop's own address instead could open what is open to its
/// network, so the request goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unclear;

impl Hops {
    /// The client's address, as the hops say; the peer's own where it is none of them, or names nobody.
    ///
    /// # Errors
    /// [`Unclear`].
    pub fn client(&self, peer: IpAddr, request: &RequestView<'_>) -> Result<IpAddr, Unclear> {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return Ok(peer);
        }
        let lines: Vec<Field<'_>> = request.fields().filter(|field| self.is_ours(field)).collect();
        if lines.is_empty() {
            // It asks for itself: a check of its own, or a program that runs beside it.
            return Ok(peer);
        }
        // None of them is named by `Connection`: the reader refuses that.
        let mut entries = Vec::new();
        for line in &lines {
            match self.header {
                HopHeader::XForwardedFor => entries.extend(line.value.split(|byte| *byte == b',').map(Some)),
                HopHeader::Forwarded => forwarded(line.value, &mut entries)?,
            }
        }
        let mut found = Err(Unclear);
        for (number, entry) in (1..).zip(entries.iter().rev()) {
            let address = entry.and_then(|entry| self.read(entry)).ok_or(Unclear)?;
            match self.count {
                Some(count) if number == count => return Ok(address),
                Some(_) => {}
                None if !self.trusts(address) => return Ok(address),
                // Where all of them are hops, the farthest one asked.
                None => found = Ok(address),
            }
        }
        found
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address_of(address);
        self.from.iter().any(|network| network.contains(address))
    }

    fn is_ours(&self, field: &Field<'_>) -> bool {
        !field.lookalike
            && match self.header {
                HopHeader::Forwarded => field.known == Known::Forwarded,
                HopHeader::XForwardedFor => {
                    field.known == Known::XForwarded && field.name.eq_ignore_ascii_case(b"x-forwarded-for")
                }
            }
    }

    fn read(&self, entry: &[u8]) -> Option<IpAddr> {
        let text = std::str::from_utf8(entry.trim_ascii()).ok()?;
        node(text, self.header == HopHeader::Forwarded).map(|address| address.to_canonical())
    }
}

/// An address, with or without a port behind it. `Forwarded` puts brackets around each IPv6 address, and may hide a port.
fn node(text: &str, strict: bool) -> Option<IpAddr> {
    if text.len() > 64 {
        return None;
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let sound = port.is_empty() || port.strip_prefix(':').is_some_and(|port| is_port(port, strict));
        return address.parse::<Ipv6Addr>().ok().filter(|_| sound).map(IpAddr::V6);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return (address.is_ipv4() || !strict).then_some(address);
    }
    let (address, port) = text.split_once(':')?;
    is_port(port, strict).then_some(())?;
    address.parse().ok().map(IpAddr::V4)
}

fn is_port(text: &str, strict: bool) -> bool {
    let hidden = text.strip_prefix('_').filter(|_| strict);
    match hidden {
        Some(name) => {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        }
        None => {
            text.len() <= 5
                && !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_digit())
                && text.parse::<u16>().is_ok()
        }
    }
}

/// The `for` of each element of one line, in order; `None` where an element has none that can be an address. The whole line
/// has to be one: a quote that somebody left open would swallow what the hop behind it says.
fn forwarded<'a>(line: &'a [u8], into: &mut Vec<Option<&'a [u8]>>) -> Result<(), Unclear> {
    let mut rest = line.trim_ascii();
    loop {
        let mut found: Option<&'a [u8]> = None;
        let mut named = false;
        loop {
            let (name, value, after) = pair(rest)?;
            if name.eq_ignore_ascii_case(b"for") {
                if std::mem::replace(&mut named, true) {
                    return Err(Unclear);
                }
                // No address needs an escape.
                found = (!value.contains(&b'\\')).then_some(value);
            }
            rest = after.trim_ascii_start();
            match rest.split_first() {
                Some((b';', after)) => rest = after.trim_ascii_start(),
                _ => break,
            }
        }
        into.push(found);
        match rest.split_first() {
            None => return Ok(()),
            Some((b',', after)) => rest = after.trim_ascii_start(),
            Some(_) => return Err(Unclear),
        }
    }
}

type Pair<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// One `name=value`, the value without its quotes, and what follows.
fn pair(text: &[u8]) -> Result<Pair<'_>, Unclear> {
    let (name, rest) = token(text)?;
    let Some((b'=', rest)) = rest.split_first() else { return Err(Unclear) };
    let Some((b'"', quoted)) = rest.split_first() else {
        let (value, rest) = token(rest)?;
        return Ok((name, value, rest));
    };
    let mut escaped = false;
    for (at, byte) in quoted.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => {
                let (value, rest) = quoted.split_at_checked(at).ok_or(Unclear)?;
                return Ok((name, value, rest.get(1..).unwrap_or_default()));
            }
            _ => {}
        }
    }
    Err(Unclear)
}

fn token(text: &[u8]) -> Result<(&[u8], &[u8]), Unclear> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    // What some write without the quotes that it needs: `for=192.0.2.1:80`.
    let length = text.iter().take_while(|byte| is_token(byte) || **byte == b':').count();
    if length == 0 { Err(Unclear) } else { text.split_at_checked(length).ok_or(Unclear) }
}

#[cfg(test)]
mod tests;
