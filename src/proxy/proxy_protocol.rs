//! The PROXY protocol, versions 1 and 2: what a balancer that passes bytes through writes before them, to say whose
//! connection it is.
//!
//! It is asked for from the addresses that the configuration names, and read from no others: to them these bytes are part of
//! what they send, and are refused as such. Read is exactly the header; what follows, TLS or a request, is left where it is.
//! One of version 1 is at most 107 bytes, one of version 2 at most 4 KiB behind its
//! fixed part; the time for it is that of a head.
//!
//! Never here: whether an address may do anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::{io::AsyncReadExt, net::TcpStream};

/// What begins version 2. None of it could begin a request or a handshake.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, its line end included.
const MOST_V1: usize = 107;
/// The most that is taken behind the first 16 bytes of version 2: addresses and whatever else is told.
const MOST: usize = 4 << 10;
/// The checksum over the whole header (CRC-32C).
const CHECKSUM: u8 = 0x03;

/// Why a connection has no beginning.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyFault {
    /// It went away.
    #[error("the connection ended before its PROXY header")]
    Gone,
    /// Something else came.
    #[error(
        "what came is no PROXY header: {0}; see to it that the balancer sends one, or take it out of `proxy_protocol.from`"
    )]
    Malformed(&'static str),
}

/// Reads the header. `None`: the balancer speaks for itself, or for somebody whose address is none of the network's.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Option<SocketAddr>, ProxyFault> {
    let mut head = [0u8; 12];
    fill(stream, &mut head).await?;
    if head == *SIGNATURE {
        let mut fixed = [0u8; 4];
        fill(stream, &mut fixed).await?;
        let [_, _, high, low] = fixed;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > MOST {
            return Err(ProxyFault::Malformed("it is too long"));
        }
        let mut rest = vec![0u8; length];
        fill(stream, &mut rest).await?;
        return version_2(fixed, &rest).map_err(ProxyFault::Malformed);
    }
    if !head.starts_with(b"PROXY ") {
        return Err(ProxyFault::Malformed("it begins otherwise"));
    }
    let mut line = head.to_vec();
    while !line.ends_with(b"\n") {
        // Looked at before it is taken: what stands behind the line belongs to somebody else.
        let mut ahead = [0u8; MOST_V1];
        let room = MOST_V1.saturating_sub(line.len());
        let ahead = ahead.get_mut(..room).unwrap_or_default();
        if ahead.is_empty() {
            return Err(ProxyFault::Malformed("its line does not end"));
        }
        let count = stream.peek(ahead).await.map_err(|_| ProxyFault::Gone)?;
        let there = ahead.get(..count).unwrap_or_default();
        let ours = there.iter().position(|byte| *byte == b'\n').map_or(count, |at| at + 1);
        let mut piece = vec![0u8; ours];
        fill(stream, &mut piece).await?;
        if piece.is_empty() {
            return Err(ProxyFault::Gone);
        }
        line.extend_from_slice(&piece);
    }
    version_1(&line).map_err(ProxyFault::Malformed)
}

async fn fill(stream: &mut TcpStream, into: &mut [u8]) -> Result<(), ProxyFault> {
    stream.read_exact(into).await.map(|_| ()).map_err(|_| ProxyFault::Gone)
}

/// Whose connection it is, if anybody's; or why that is not said in one way.
pub type Said = Result<Option<SocketAddr>, &'static str>;

/// One whole line, with its end.
///
/// # Errors
/// What is wrong with it.
pub fn version_1(line: &[u8]) -> Said {
    let Some(line) = line.strip_suffix(b"\r\n") else { return Err("its line ends otherwise") };
    let Ok(text) = std::str::from_utf8(line) else { return Err("it is no text") };
    if text.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
        return Err("it is no text");
    }
    let mut words = text.split(' ');
    let (first, family) = (words.next(), words.next());
    if first != Some("PROXY") {
        return Err("it begins otherwise");
    }
    let ip: fn(&str) -> Option<IpAddr> = match family {
        // Whatever else the line says is to be left alone.
        Some("UNKNOWN") => return Ok(None),
        Some("TCP4") => |word: &str| word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Some("TCP6") => |word: &str| word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return Err("it names another family"),
    };
    let mut address = || words.next().and_then(ip);
    let (source, destination) = (address(), address());
    let mut port = || words.next().and_then(port);
    let (source_port, destination_port) = (port(), port());
    match (source, destination, source_port, destination_port, words.next()) {
        (Some(ip), Some(_), Some(port), Some(_), None) => Ok(Some(SocketAddr::new(ip, port))),
        _ => Err("its addresses or ports are none"),
    }
}

fn port(word: &str) -> Option<u16> {
    let plain = word == "0" || !word.starts_with('0');
    (plain && word.bytes().all(|byte| byte.is_ascii_digit())).then(|| word.parse().ok()).flatten()
}

/// Behind the signature: version and command, family and protocol, length; then so many bytes.
///
/// # Errors
/// What is wrong with it.
pub fn version_2(fixed: [u8; 4], rest: &[u8]) -> Said {
    let [version, family, ..] = fixed;
    match version {
        // The balancer's own connection, a check mostly; the rest means nothing.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err("its version or command is unknown"),
    }
    let (source, told) = match family {
        // No family, with or without a protocol: nothing can be said about what follows.
        0x00 => return Ok(None),
        0x11 => {
            let (addresses, told) = rest.split_first_chunk::<12>().ok_or("its addresses are cut off")?;
            let [a, b, c, d, _, _, _, _, high, low, ..] = *addresses;
            let port = u16::from_be_bytes([high, low]);
            (Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port)), told)
        }
        0x21 => {
            let (addresses, told) = rest.split_first_chunk::<36>().ok_or("its addresses are cut off")?;
            let (source, _) = addresses.split_first_chunk::<16>().ok_or("its addresses are cut off")?;
            let [.., high, low, _, _] = *addresses;
            (Some(SocketAddr::new(Ipv6Addr::from(*source).into(), u16::from_be_bytes([high, low]))), told)
        }
        // A socket of its own machine.
        0x31 => (None, rest.get(216..).ok_or("its addresses are cut off")?),
        _ => return Err("its family or protocol is none of a stream"),
    };
    checked(fixed, rest, told)?;
    Ok(source)
}

/// Walks what is told beside the addresses: each is whole, and a checksum, where one is told, is right.
fn checked(fixed: [u8; 4], rest: &[u8], mut told: &[u8]) -> Result<(), &'static str> {
    const CUT: &str = "what it tells is cut off";
    let mut seen = false;
    while let Some((kind, after)) = told.split_first() {
        let (length, after) = after.split_first_chunk::<2>().ok_or(CUT)?;
        let (value, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(CUT)?;
        if *kind == CHECKSUM {
            let sum = <[u8; 4]>::try_from(value).map_err(|_| "its checksum is none")?;
            if std::mem::replace(&mut seen, true) {
                return Err("it has two checksums");
            }
            // Worked out over the header as it came, with zeros in the place of the sum.
            let at = rest.len() - after.len() - 4;
            let zeros = rest.iter().enumerate().map(
                |(number, byte)| {
                    if (at..at + 4).contains(&number) { 0 } else { *byte }
                },
            );
            let all = SIGNATURE.iter().copied().chain(fixed).chain(zeros);
            if crc32c(all) != u32::from_be_bytes(sum) {
                return Err("its checksum is wrong");
            }
        }
        told = after;
    }
    Ok(())
}

/// CRC-32C (Castagnoli), bit by bit: once a connection, over some dozens of bytes.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests;
