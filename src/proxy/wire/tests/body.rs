//! Bodies: raw chunk framing and what it is refused for, and how bodies are framed on the way out.

use crate::proxy::wire::{BodyFault, BodyReader, BodyWriter, Framing, WriteFault};

/// Reads a whole body in one piece: its data, what was taken, and whether it is whole.
fn read(framing: Framing, raw: &[u8]) -> Result<(Vec<u8>, usize, bool), BodyFault> {
    let mut reader = BodyReader::new(framing);
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        let step = reader.advance(&raw[at..])?;
        data.extend_from_slice(&raw[at..][step.data]);
        at += step.consumed;
        if step.done || at == raw.len() {
            return Ok((data, at, step.done));
        }
    }
}

#[test]
fn chunked_bodies_are_read_to_their_end_and_not_beyond() {
    for (raw, data) in [
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"),
        ("A\r\n0123456789\r\n00\r\n\r\n", "0123456789"),
        ("a\r\n0123456789\r\n0000000000000000\r\n\r\n", "0123456789"),
        ("0000000000000001\r\nx\r\n0\r\n\r\n", "x"),
        ("5;a=b\r\nhello\r\n0;last\r\n\r\n", "hello"),
        ("5;a=\"b\t;c\"\r\nhello\r\n0\r\n\r\n", "hello"),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
        ("5\r\nhello\r\n0\r\nA: b\r\nContent-Length: 9\r\nC:\r\n\r\n", "hello"),
    ] {
        let followed = format!("{raw}GET / HTTP/1.1");
        let whole = Ok((data.as_bytes().to_vec(), raw.len(), true));
        assert_eq!(read(Framing::Chunked, followed.as_bytes()), whole, "{raw:?}");
    }
}

#[test]
fn chunk_framing_that_is_not_exact_is_refused() {
    for (raw, code) in [
        ("\r\n", "chunk_size"),
        (" 5\r\nhello\r\n", "chunk_size"),
        ("5 \r\nhello\r\n", "chunk_size"),
        ("5\t\r\nhello\r\n", "chunk_size"),
        ("5 ;a\r\nhello\r\n", "chunk_size"),
        ("+5\r\nhello\r\n", "chunk_size"),
        ("-5\r\nhello\r\n", "chunk_size"),
        ("0x5\r\nhello\r\n", "chunk_size"),
        ("5h\r\nhello\r\n", "chunk_size"),
        ("5_0\r\nhello\r\n", "chunk_size"),
        ("g\r\n", "chunk_size"),
        (";a\r\n", "chunk_size"),
        ("\"5\"\r\nhello\r\n", "chunk_size"),
        ("5,\r\nhello\r\n", "chunk_size"),
        ("5\x00\r\nhello\r\n", "chunk_size"),
        ("00000000000000005\r\nhello\r\n", "chunk_size"),
        ("10000000000000000\r\n", "chunk_size"),
        ("5\nhello\r\n", "chunk_line_end"),
        ("\n", "chunk_line_end"),
        ("5\r\rhello\r\n", "chunk_line_end"),
        ("5\rhello\r\n", "chunk_line_end"),
        ("5;a\nhello\r\n", "chunk_line_end"),
        ("5;a\n\r\nhello\r\n", "chunk_line_end"),
        ("5;a\rb\r\nhello\r\n", "chunk_line_end"),
        ("5;a\x00\r\nhello\r\n", "chunk_extension"),
        ("5;a\x7f\r\nhello\r\n", "chunk_extension"),
        ("5;\u{e4}\r\nhello\r\n", "chunk_extension"),
        ("5\r\nhello0\r\n\r\n", "chunk_data_end"),
        ("5\r\nhello\n0\r\n\r\n", "chunk_data_end"),
        ("5\r\nhello\r0\r\n\r\n", "chunk_data_end"),
        ("5\r\nhello!\r\n", "chunk_data_end"),
        ("0\r\n\n", "chunk_line_end"),
        ("0\n\n", "chunk_line_end"),
        ("0\r\n\rX", "chunk_line_end"),
        ("0\r\nA: b\n\r\n", "chunk_line_end"),
        ("0\r\nA: b\r\r\n", "chunk_line_end"),
        ("0\r\n A: b\r\n\r\n", "trailer_malformed"),
        ("0\r\nA: b\r\n c\r\n\r\n", "trailer_malformed"),
        ("0\r\nA : b\r\n\r\n", "trailer_malformed"),
        ("0\r\nA\r\n\r\n", "trailer_malformed"),
        ("0\r\n: b\r\n\r\n", "trailer_malformed"),
        ("0\r\nA: b\x00\r\n\r\n", "trailer_malformed"),
        ("0\r\nGET / HTTP/1.1\r\n\r\n", "trailer_malformed"),
    ] {
        assert_eq!(read(Framing::Chunked, raw.as_bytes()).unwrap_err().code(), code, "{raw:?}");
    }
}

#[test]
fn chunk_extensions_and_trailers_are_bounded() {
    let extended = |len: usize| format!("1;{}\r\nx\r\n", "e".repeat(len));
    let end = "0\r\n\r\n";
    assert!(read(Framing::Chunked, (extended(256) + end).as_bytes()).is_ok());
    assert_eq!(
        read(Framing::Chunked, (extended(257) + end).as_bytes()),
        Err(BodyFault::ChunkExtensionTooLong)
    );
    assert!(read(Framing::Chunked, (extended(256).repeat(64) + end).as_bytes()).is_ok());
    assert_eq!(
        read(Framing::Chunked, (extended(256).repeat(65) + end).as_bytes()),
        Err(BodyFault::ChunkExtensionTooLong)
    );
    let trailed = |len: usize| format!("0\r\n{}\r\n", format!("A: {}\r\n", "b".repeat(len - 4)).repeat(8));
    // The CR counts, the LF does not: 8 lines of 1,024.
    assert!(read(Framing::Chunked, trailed(1024).as_bytes()).unwrap().2);
    let one_more = trailed(1024).replacen("b", "bb", 1);
    assert_eq!(read(Framing::Chunked, one_more.as_bytes()), Err(BodyFault::TrailersTooLong));
}

#[test]
fn a_length_is_neither_exceeded_nor_cut_unseen() {
    assert_eq!(read(Framing::Length(5), b"helloGET"), Ok((b"hello".to_vec(), 5, true)));
    assert_eq!(read(Framing::Length(0), b"GET"), Ok((vec![], 0, true)));
    assert_eq!(read(Framing::None, b"GET"), Ok((vec![], 0, true)));
    assert_eq!(read(Framing::Length(u64::MAX), b"abc"), Ok((b"abc".to_vec(), 3, false)));
    let mut reader = BodyReader::new(Framing::Length(3));
    assert_eq!(reader.end(), Err(BodyFault::Premature));
    assert_eq!(reader.advance(b"ab").unwrap().data, 0..2);
    assert_eq!(reader.end(), Err(BodyFault::Premature));
    assert!(reader.advance(b"c").unwrap().done && reader.is_done());
    assert_eq!(reader.end(), Ok(()));
    let step = reader.advance(b"more").unwrap();
    assert_eq!((step.consumed, step.data, step.done), (0, 0..0, true));
}

#[test]
fn the_end_of_a_connection_ends_only_a_body_that_it_may_end() {
    let mut reader = BodyReader::new(Framing::UntilClose);
    let step = reader.advance(b"abc").unwrap();
    assert_eq!((step.consumed, step.data, step.done), (3, 0..3, false));
    assert_eq!(reader.end(), Ok(()));
    assert!(reader.is_done());
    let whole = b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for cut in 0..whole.len() {
        let mut reader = BodyReader::new(Framing::Chunked);
        let mut rest = &whole[..cut];
        while !rest.is_empty() {
            let step = reader.advance(rest).unwrap();
            assert!(!step.done);
            rest = &rest[step.consumed..];
        }
        assert_eq!(reader.end(), Err(BodyFault::Premature), "{cut}");
    }
}

#[test]
fn data_is_framed_as_announced() {
    let mut writer = BodyWriter::new(Framing::Chunked);
    for (len, line) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0xabc_def0, "abcdef0\r\n")] {
        let frame = writer.frame(len).unwrap();
        assert_eq!((frame.before(), frame.after()), (line.as_bytes(), b"\r\n".as_slice()));
    }
    assert_eq!(writer.frame(usize::MAX).unwrap().before(), format!("{:x}\r\n", usize::MAX).as_bytes());
    let nothing = writer.frame(0).unwrap();
    assert_eq!((nothing.before(), nothing.after()), (b"".as_slice(), b"".as_slice()));
    assert_eq!(writer.finish(), Ok(b"0\r\n\r\n".as_slice()));
    assert_eq!(writer.finish(), Ok(b"".as_slice()));
    assert_eq!(writer.frame(1), Err(WriteFault::TooLong));

    let mut writer = BodyWriter::new(Framing::UntilClose);
    assert_eq!(writer.frame(9).unwrap().before(), b"");
    assert_eq!(writer.finish(), Ok(b"".as_slice()));
    assert_eq!(BodyWriter::new(Framing::None).frame(1), Err(WriteFault::TooLong));
}

#[test]
fn a_writer_holds_a_body_to_its_length() {
    let mut writer = BodyWriter::new(Framing::Length(5));
    assert_eq!(writer.finish(), Err(WriteFault::TooShort));
    assert_eq!(writer.frame(3).unwrap().before(), b"");
    assert_eq!(writer.frame(3), Err(WriteFault::TooLong));
    assert_eq!(writer.finish(), Err(WriteFault::TooShort));
    assert!(writer.frame(2).is_ok());
    assert_eq!(writer.finish(), Ok(b"".as_slice()));
    assert_eq!(writer.frame(1), Err(WriteFault::TooLong));
}
