use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::*;

fn v1(text: &str) -> Said {
    version_1(text.as_bytes())
}

/// A header of version 2: everything behind the signature.
fn header(version: u8, family: u8, rest: &[u8]) -> Said {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    version_2([version, family, length[0], length[1]], rest)
}

const FOUR: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 1, 0xbb];

fn four() -> SocketAddr {
    "192.0.2.7:4711".parse().unwrap()
}

fn told(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind, length[0], length[1]], value].concat()
}

#[test]
fn the_first_version_says_whose_connection_it_is() {
    assert_eq!(v1("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n"), Ok(Some(four())));
    let six: SocketAddr = "[2001:db8::7]:4711".parse().unwrap();
    assert_eq!(v1("PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n"), Ok(Some(six)));
    for unknown in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff:f::1 whatever 65535\r\n"] {
        assert_eq!(v1(unknown), Ok(None), "{unknown}");
    }
    for bad in [
        "PROXY\r\n",
        "PROXY \r\n",
        "proxy TCP4 192.0.2.7 10.0.0.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443 \r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443 1\r\n",
        "PROXY TCP4  192.0.2.7 10.0.0.1 4711 443\r\n",
        "PROXY\tTCP4 192.0.2.7 10.0.0.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n",
        "PROXY TCP4 192.0.2.7 4711 443\r\n",
        "PROXY TCP4 192.0.2.007 10.0.0.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 04711 443\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 +4711 443\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4711 -1\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 4711 443\r\n",
        "PROXY TCP6 192.0.2.7 10.0.0.1 4711 443\r\n",
        "PROXY TCP6 2001:db8::7%1 2001:db8::1 4711 443\r\n",
        "PROXY UDP4 192.0.2.7 10.0.0.1 4711 443\r\n",
        "PROXY TCP5 192.0.2.7 10.0.0.1 4711 443\r\n",
        "PROXY UNKNOWN\u{7}\r\n",
        "PROXY UNKNOWN \r\r\n",
        "GET / HTTP/1.1\r\n",
    ] {
        assert!(v1(bad).is_err(), "{bad:?}");
    }
    assert!(version_1(b"PROXY UNKNOWN \xff\r\n").is_err());
}

#[test]
fn the_second_version_says_it_in_bytes() {
    assert_eq!(header(0x21, 0x11, &FOUR), Ok(Some(four())));
    let mut six = [0u8; 36];
    six[..2].copy_from_slice(&[0x20, 1]);
    six[15] = 7;
    six[32..].copy_from_slice(&[0x12, 0x67, 1, 0xbb]);
    assert_eq!(header(0x21, 0x21, &six), Ok(Some("[2001::7]:4711".parse().unwrap())));
    // The balancer itself, whatever it names; no family; a socket of its machine.
    assert_eq!(header(0x20, 0x11, &FOUR), Ok(None));
    assert_eq!(header(0x20, 0x00, &[]), Ok(None));
    assert_eq!(header(0x20, 0x77, b"anything"), Ok(None));
    assert_eq!(header(0x21, 0x00, b"anything"), Ok(None));
    assert_eq!(header(0x21, 0x31, &[b'/'; 216]), Ok(None));
    for (version, family, rest) in [
        (0x22, 0x11, &FOUR[..]),
        (0x11, 0x11, &FOUR),
        (0x31, 0x11, &FOUR),
        (0x01, 0x11, &FOUR),
        (0x21, 0x12, &FOUR),
        (0x21, 0x10, &FOUR),
        (0x21, 0x01, &FOUR),
        (0x21, 0x41, &FOUR),
        (0x21, 0x13, &FOUR),
        (0x21, 0x11, &FOUR[..11]),
        (0x21, 0x11, &[]),
        (0x21, 0x21, &six[..35]),
        (0x21, 0x22, &six),
        (0x21, 0x31, &[0; 215]),
        (0x21, 0x32, &[0; 216]),
    ] {
        assert!(header(version, family, rest).is_err(), "{version:x} {family:x} {}", rest.len());
    }
}

#[test]
fn what_is_told_beside_the_addresses_is_skipped_when_it_is_whole() {
    for (extra, good) in [
        (told(0x01, b"h2"), true),
        (told(0x04, &[0; 900]), true),
        ([told(0x02, b"app.example"), told(0x20, &[1; 30]), told(0xea, b"\x01vpce-1")].concat(), true),
        (told(0x05, b""), true),
        (vec![0x01], false),
        (vec![0x01, 0], false),
        (vec![0x01, 0, 3, 1, 2], false),
        ([told(0x01, b"h2"), vec![0]].concat(), false),
    ] {
        let said = header(0x21, 0x11, &[&FOUR[..], &extra].concat());
        assert_eq!(said.is_ok(), good, "{extra:?}");
        assert!(!good || said == Ok(Some(four())));
    }
}

#[test]
fn the_checksum_is_the_castagnoli_one_and_has_to_be_right() {
    // The check value of the catalogue of CRCs.
    assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
    let with =
        |sum: &[u8]| [&FOUR[..], &told(0x02, b"app"), &told(CHECKSUM, sum), &told(0x04, b"..")].concat();
    let zero = with(&[0; 4]);
    let fixed = [0x21, 0x11, 0, u8::try_from(zero.len()).unwrap()];
    let sum = crc32c(SIGNATURE.iter().copied().chain(fixed).chain(zero));
    assert_eq!(header(0x21, 0x11, &with(&sum.to_be_bytes())), Ok(Some(four())));
    assert_eq!(header(0x21, 0x11, &with(&(sum ^ 1).to_be_bytes())), Err("its checksum is wrong"));
    assert!(header(0x21, 0x11, &with(&[0; 4])).is_err());
    assert!(header(0x21, 0x11, &with(&sum.to_be_bytes()[..3])).is_err());
    let twice = [with(&sum.to_be_bytes()), told(CHECKSUM, &sum.to_be_bytes())].concat();
    assert!(header(0x21, 0x11, &twice).is_err());
    // Another address under the same sum.
    let mut other = with(&sum.to_be_bytes());
    other[3] ^= 1;
    assert_eq!(header(0x21, 0x11, &other), Err("its checksum is wrong"));
}

/// What is read of a connection to which these pieces are written, and what is left for whoever comes next.
fn over_a_socket(pieces: &[&[u8]]) -> (Result<Option<SocketAddr>, ProxyFault>, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let writing = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        };
        let reading = async {
            let said = read(&mut stream).await;
            let mut left = Vec::new();
            stream.read_to_end(&mut left).await.unwrap();
            (said, left)
        };
        tokio::join!(writing, reading).1
    })
}

fn whole(rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[0x21, 0x11], &length, rest].concat()
}

const BEHIND: &[u8] = b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\nGET / HTTP/1.1\r\n";

#[test]
fn exactly_the_header_is_taken_in_whatever_pieces_it_comes() {
    let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n".to_vec();
    for header in [line, whole(&FOUR), whole(&[&FOUR[..], &told(0x04, &[0; 300])].concat())] {
        let all = [&header[..], BEHIND].concat();
        let bytes: Vec<&[u8]> = all.chunks(1).collect();
        for pieces in [vec![&all[..]], bytes, all.chunks(13).collect()] {
            let (said, left) = over_a_socket(&pieces);
            assert_eq!(said.unwrap(), Some(four()));
            assert_eq!(left, BEHIND);
        }
    }
    let (said, left) = over_a_socket(&[b"PROXY UNKNOWN\r\n", BEHIND]);
    assert_eq!((said.unwrap(), left.as_slice()), (None, BEHIND));
}

#[test]
fn what_is_cut_off_or_too_long_is_no_header() {
    let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n".to_vec();
    for header in [line, whole(&FOUR)] {
        for end in 0..header.len() {
            let (said, _) = over_a_socket(&[&header[..end]]);
            assert!(matches!(said, Err(ProxyFault::Gone)), "{end}");
        }
    }
    let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 91], b"\r\n"].concat();
    assert_eq!(long.len(), 107);
    assert!(over_a_socket(&[&long]).0.is_ok());
    let longer = [&b"PROXY UNKNOWN "[..], &[b'x'; 92], b"\r\n"].concat();
    assert!(matches!(over_a_socket(&[&longer]).0, Err(ProxyFault::Malformed(_))));
    let length = u16::try_from(MOST + 1).unwrap().to_be_bytes();
    let longest = [&SIGNATURE[..], &[0x21, 0x11], &length, &[0; 64]].concat();
    assert!(matches!(over_a_socket(&[&longest]).0, Err(ProxyFault::Malformed(_))));
    // Both versions mixed, and neither.
    for other in
        [&b"PROXY \r\n\r\n\0\r\nQUIT\n!!!!"[..], b"\r\n\r\n\0\r\nQUIT\r!!!", b"GET / HTTP/1.1\r\n\r\n"]
    {
        assert!(matches!(over_a_socket(&[other]).0, Err(ProxyFault::Malformed(_))), "{other:?}");
    }
}

proptest! {
    #[test]
    fn every_address_that_is_written_is_read(ip in any::<[u8; 16]>(), four in any::<bool>(), port in any::<u16>()) {
        let address = match four {
            true => IpAddr::from([ip[0], ip[1], ip[2], ip[3]]),
            false => IpAddr::from(ip),
        };
        let said = Ok(Some(SocketAddr::new(address, port)));
        let family = if four { "TCP4" } else { "TCP6" };
        prop_assert_eq!(v1(&format!("PROXY {family} {address} {address} {port} 1\r\n")), said);
        let mut rest = match address {
            IpAddr::V4(ip) => [ip.octets(), ip.octets()].concat(),
            IpAddr::V6(ip) => [ip.octets(), ip.octets()].concat(),
        };
        rest.extend([port.to_be_bytes(), [0, 1]].concat());
        prop_assert_eq!(header(0x21, if four { 0x11 } else { 0x21 }, &rest), said);
    }

    /// Nothing that is read is read as anything but what it is, and nothing goes wrong over it.
    #[test]
    fn garbage_is_refused_or_says_nobody(fixed in any::<[u8; 4]>(), rest in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(Some(said)) = version_2(fixed, &rest) {
            let expected = match fixed[1] {
                0x11 => IpAddr::from([rest[0], rest[1], rest[2], rest[3]]),
                _ => IpAddr::from(<[u8; 16]>::try_from(&rest[..16]).unwrap()),
            };
            prop_assert_eq!((fixed[0], said.ip()), (0x21, expected));
        }
    }
}
