//! What is said around a request by whoever stands in front, and behind its body: each is read in one way or refused, and what
//! is read can be said again and means the same.

use std::net::{IpAddr, SocketAddr};

use postern::{
    model::{Address, Network},
    proxy::{
        hops::{HopHeader, Hops},
        proxy_protocol::{version_1, version_2},
        wire::{Limits, NameSet, Parsed, RequestHead, pass_trailers},
    },
};

pub(crate) fn all(input: &[u8]) {
    proxy_line(input);
    proxy_block(input);
    hops(input);
    trailers(input);
}

/// Version 1, as a line that ends with the first line feed.
fn proxy_line(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').map_or(input.len(), |at| at + 1);
    let line = &input[..end];
    let Ok(said) = version_1(line) else { return };
    assert!(line.starts_with(b"PROXY ") && line.ends_with(b"\r\n"), "{}", line.escape_ascii());
    assert!(line[..line.len() - 2].iter().all(|byte| (b' '..=b'~').contains(byte)));
    if let Some(said) = said {
        assert_eq!(version_1(line_of(said).as_bytes()), Ok(Some(said)));
    }
}

/// Version 2, behind its signature: four fixed bytes, then as many as they say.
fn proxy_block(input: &[u8]) {
    let input = input.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n").unwrap_or(input);
    let Some((fixed, rest)) = input.split_first_chunk::<4>() else { return };
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    let Some(rest) = rest.get(..length) else { return };
    let Ok(Some(said)) = version_2(*fixed, rest) else { return };
    let (family, mut block) = match said.ip() {
        IpAddr::V4(ip) => (0x11, [ip.octets(), [0; 4]].concat()),
        IpAddr::V6(ip) => (0x21, [ip.octets(), [0; 16]].concat()),
    };
    block.extend_from_slice(&said.port().to_be_bytes());
    block.extend_from_slice(&[0, 0]);
    let length = u8::try_from(block.len()).expect("36 at most");
    assert_eq!(version_2([0x21, family, 0, length], &block), Ok(Some(said)));
    assert_eq!(version_1(line_of(said).as_bytes()), Ok(Some(said)), "both versions say the same");
}

fn line_of(said: SocketAddr) -> String {
    let (family, other) = if said.is_ipv4() { ("TCP4", "0.0.0.0") } else { ("TCP6", "::") };
    format!("PROXY {family} {} {other} {} 0\r\n", said.ip(), said.port())
}

/// Whoever is named by a trusted hop, with these lines; `None` where that is not said in one way.
fn client(header: HopHeader, value: &[u8], count: Option<usize>) -> Option<IpAddr> {
    let name = match header {
        HopHeader::Forwarded => "Forwarded",
        HopHeader::XForwardedFor => "X-Forwarded-For",
    };
    let text = [b"GET / HTTP/1.1\r\nHost: a\r\n", name.as_bytes(), b": ", value, b"\r\n\r\n"].concat();
    let mut head = RequestHead::new();
    let Ok(Parsed::Complete { len }) = head.parse(&text, &Limits::default()) else { return None };
    // A value that held a line end was another request.
    if len != text.len() || head.view(&text).fields().count() != 2 {
        return None;
    }
    let network = |base: u128, bits: u8| Network::new(Address(base), bits).expect("a network");
    // 10.0.0.0/8 and fd00::/8.
    let from = vec![network(0xffff_0a00_0000, 96 + 8), network(0xfd << 120, 8)];
    let hops = Hops { from, header, count };
    let stranger: IpAddr = "203.0.113.1".parse().expect("an address");
    assert_eq!(hops.client(stranger, &head.view(&text)), Ok(stranger), "who is no hop has said nothing");
    hops.client("10.0.0.1".parse().expect("an address"), &head.view(&text)).ok()
}

fn hops(input: &[u8]) {
    let is_hop = |address: IpAddr| match address {
        IpAddr::V4(ip) => ip.octets()[0] == 10,
        IpAddr::V6(ip) => ip.octets()[0] == 0xfd,
    };
    for header in [HopHeader::XForwardedFor, HopHeader::Forwarded] {
        client(header, input, Some(2));
        let Some(found) = client(header, input, None) else { continue };
        let said = match (header, found) {
            (HopHeader::XForwardedFor, ip) => ip.to_string(),
            (HopHeader::Forwarded, IpAddr::V4(ip)) => format!("for={ip}"),
            (HopHeader::Forwarded, IpAddr::V6(ip)) => format!("for=\"[{ip}]\""),
        };
        assert_eq!(client(header, said.as_bytes(), None), Some(found));
        // Whatever a client says in front of it, it is the same one.
        if !is_hop(found) {
            let more = match header {
                HopHeader::XForwardedFor => [b"192.0.2.1, ", input].concat(),
                HopHeader::Forwarded => [b"for=192.0.2.1, ", input].concat(),
            };
            let again = client(header, &more, None);
            // A longer head may be too long; it is never another client's.
            assert!(again.is_none_or(|again| again == found), "{found} became {again:?}");
        }
    }
}

fn trailers(input: &[u8]) {
    let (identity, none) = (NameSet::new(["x-user"]), NameSet::empty());
    let mut out = Vec::new();
    if pass_trailers(&mut out, input, [&identity, none]).is_err() {
        return;
    }
    let mut again = Vec::new();
    assert_eq!(pass_trailers(&mut again, &out, [&identity, none]), Ok(()), "{}", out.escape_ascii());
    assert_eq!(again, out, "what passes once passes as it is");
    for line in out.split_inclusive(|byte| *byte == b'\n') {
        assert!(line.ends_with(b"\r\n"), "{}", line.escape_ascii());
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default().to_ascii_lowercase();
        let framing: [&[u8]; 5] =
            [b"content-length", b"transfer-encoding", b"host", b"connection", b"x-user"];
        assert!(!framing.contains(&name.as_slice()), "{}", line.escape_ascii());
    }
}
