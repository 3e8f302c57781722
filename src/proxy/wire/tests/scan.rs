//! The byte loops against plain definitions: every byte at every place of a word and a block.

use crate::proxy::wire::scan;

/// Puts `byte` into runs of `filler` at each place and asks how far `scan` goes; `filler` is always taken.
fn assert_stops(filler: u8, takes: impl Fn(u8) -> bool, scan: impl Fn(&[u8]) -> usize) {
    for byte in 0..=255 {
        for at in (0..40).chain([63, 64, 65, 95, 96, 97, 127, 128]) {
            for after in [0, 1, 7, 8, 40] {
                let mut bytes = vec![filler; at + 1 + after];
                bytes[at] = byte;
                let expected = if takes(byte) { bytes.len() } else { at };
                assert_eq!(scan(&bytes), expected, "{byte:#x} at {at}, {after} after");
            }
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[test]
fn a_token_ends_at_the_first_byte_that_is_none() {
    assert_stops(b'a', is_token, |bytes| scan::token(bytes).0);
    assert_stops(b'Z', is_token, |bytes| scan::token(bytes).0);
    assert_stops(b'-', is_token, |bytes| scan::token(bytes).0);
    assert_stops(b'5', is_token, |bytes| scan::token(bytes).0);
    assert_stops(b'_', is_token, |bytes| scan::token(bytes).0);
}

#[test]
fn a_token_of_odd_bytes_is_noticed() {
    for byte in (0..=255).filter(|&byte| is_token(byte)) {
        for at in 0..20 {
            let mut bytes = [b'a'; 20];
            bytes[at] = byte;
            let odd = !byte.is_ascii_alphanumeric() && byte != b'-';
            assert_eq!(scan::token(&bytes), (20, odd), "{byte:#x} at {at}");
        }
    }
    assert_eq!(scan::token(b""), (0, false));
    assert_eq!(scan::token(b"a:_"), (1, false));
}

#[test]
fn a_value_ends_at_the_first_control_byte() {
    let takes = |byte: u8| byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
    for filler in [b'a', b' ', b'\t', b'~', 0x80, 0xff] {
        assert_stops(filler, takes, scan::value);
    }
}

#[test]
fn a_target_ends_at_the_first_byte_that_must_be_encoded() {
    let takes = |byte: u8| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte);
    for filler in [b'a', b'/', b'%', b'~', b'!', b'['] {
        assert_stops(filler, takes, scan::target);
    }
}

#[test]
fn edges_are_trimmed_of_space_and_tab_alone() {
    for (bytes, trimmed) in [("", ""), (" \t ", ""), ("\t a b \t", "a b"), ("\x0ba\r", "\x0ba\r")] {
        assert_eq!(scan::trim(bytes.as_bytes()), trimmed.as_bytes());
    }
}
