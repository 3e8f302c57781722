//! Properties: nothing panics, pieces make no difference, what we take another parser reads alike, and what we write is
//! one message.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::proxy::wire::{
    BodyFault, BodyReader, BodyWriter, ClientConnection, Framing, HeadFault, Known, KnownSet, Limits,
    NameSet, Parsed, RequestEdit, RequestHead, RequestView, ResponseEdit, ResponseHead, Target,
    UpstreamConnection, write_request, write_response,
};

const LIMITS: Limits = Limits { max_head: 400, max_target: 40, max_fields: 8, max_name: 20, max_value: 60 };

/// Bytes that are nearly a message: fragments of good and bad ones in any order.
fn nearly(first: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let lines: &[&str] = &[
        "Host: h\r\n",
        "host:h:80\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 05\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Connection: close\r\n",
        "Connection: X-A, keep-alive\r\n",
        "Connection: host\r\n",
        "X-A: \t b \r\n",
        "X_A: b\r\n",
        "X-Forwarded-For: a\r\n",
        "Postern_Session: a\r\n",
        "Expect: 100-continue\r\n",
        "Upgrade: websocket\r\n",
        "Cookie: a=b\r\n",
        "A : b\r\n",
        "A: b\n",
        "A: b\r",
        " c\r\n",
        "A: \u{e4}\r\n",
        "A: \x01\r\n",
        "A\r\n",
        ":\r\n",
        "An-Overlong-Header-Name: b\r\n",
        "\r\n",
        "\n",
        "\r",
        "\0",
        "A:\r\n",
        "B: c\r\n",
        "C: d\r\n",
        "D: 1234567890123456789012345678901234567890123456789012345678901234567890\r\n",
    ];
    let noise = prop_oneof![9 => select(lines).prop_map(|line| line.as_bytes().to_vec()), 1 => vec(any::<u8>(), 0..6)];
    (select(first), prop::bool::weighted(0.7), vec(noise, 0..9), any::<bool>()).prop_map(
        |(first, host, lines, end)| {
            let mut bytes = first.as_bytes().to_vec();
            if host {
                bytes.extend_from_slice(b"Host: h\r\n");
            }
            bytes.extend(lines.concat());
            if end {
                bytes.extend_from_slice(b"\r\nGET / HTTP/1.1\r\n");
            }
            bytes
        },
    )
}

fn nearly_request() -> impl Strategy<Value = Vec<u8>> {
    nearly(&[
        "GET / HTTP/1.1\r\n",
        "POST /a?b=c HTTP/1.1\r\n",
        "GET http://h/a HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        "PURGE /%2e HTTP/1.1\r\n",
        "get / HTTP/1.1\r\n",
        "GET / HTTP/1.1\n",
        "GET  / HTTP/1.1\r\n",
        "GET /# HTTP/1.1\r\n",
        "GET / HTTP/2.0\r\n",
        "\r\n",
        "",
        "GET /12345678901234567890123456789012345678901 HTTP/1.1\r\n",
    ])
}

fn nearly_response() -> impl Strategy<Value = Vec<u8>> {
    nearly(&[
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 204\r\n",
        "HTTP/1.0 304 x\r\n",
        "HTTP/1.1 101 x\r\n",
        "HTTP/1.1 103 \r\n",
        "HTTP/1.1 200 O\tK\u{e4}\r\n",
        "HTTP/1.1 999 x\r\n",
        "HTTP/1.1 20 x\r\n",
        "HTTP/1.1 200 OK\n",
        "",
        "\r\n",
    ])
}

/// A request that is taken, with some headers that must not pass.
fn good_request() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        "[A-Za-z0-9!#$%&'*+.^`|~-]{1,12}:[ \t]{0,2}[!-~]([ -~]{0,20}[!-~])?[ \t]{0,2}",
        select(vec![
            "X-Forwarded-For: 1",
            "X_Tenant: evil",
            "X-Tenant: evil",
            "Postern-Session: s",
            "Accept: */*",
            "Cookie: a=b",
            "Connection: X-A",
            "X-A: gone",
            "Keep-Alive: 5",
            "X-Original-URL: /b",
            "Authorization: Bearer x",
            "A:\u{e4}",
        ])
        .prop_map(str::to_owned),
    ];
    let framing = select(vec!["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"]);
    ("[A-Z]{1,10}", "/[!$-;=?-\\[\\]_a-z~]{0,20}", vec(field, 0..12), framing).prop_map(
        |(method, path, fields, framing)| {
            let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
            format!("{method} {path} HTTP/1.1\r\n{fields}Host: h\r\n{framing}\r\n").into_bytes()
        },
    )
}

type Summary = (usize, Vec<u8>, Framing, [bool; 3], Vec<(Vec<u8>, Vec<u8>, Known, bool)>);

fn summary(view: &RequestView<'_>) -> Summary {
    let head = view.head();
    let fields = view
        .fields()
        .map(|field| (field.name.to_vec(), field.value.to_vec(), field.known, field.named_by_connection))
        .collect();
    let first = [view.method_name(), b" ", view.path_and_query()].concat();
    (head.len(), first, head.framing(), [head.keep_alive(), head.expect_continue(), head.upgrade()], fields)
}

/// Feeds `bytes` in pieces that end at `cuts`, to the first answer that is not "wait".
fn in_pieces<E: Copy>(
    bytes: &[u8],
    cuts: &[usize],
    mut parse: impl FnMut(&[u8]) -> Result<Parsed, E>,
) -> Result<Parsed, E> {
    for &cut in cuts {
        match parse(&bytes[..cut]) {
            Ok(Parsed::Partial) => {}
            answer => return answer,
        }
    }
    parse(bytes)
}

fn request_in_pieces(bytes: &[u8], cuts: &[usize]) -> Result<Option<Summary>, HeadFault> {
    let mut head = RequestHead::new();
    let parsed = in_pieces(bytes, cuts, |piece| head.parse(piece, &LIMITS))?;
    Ok((parsed != Parsed::Partial).then(|| summary(&head.view(bytes))))
}

fn agrees_with_httparse(bytes: &[u8], head: &RequestHead) {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut oracle = httparse::Request::new(&mut headers);
    assert_eq!(oracle.parse(bytes), Ok(httparse::Status::Complete(head.len())), "{}", bytes.escape_ascii());
    let view = head.view(bytes);
    assert_eq!(oracle.method.map(str::as_bytes), Some(view.method_name()));
    assert_eq!(oracle.path.map(str::as_bytes), Some(view.target()));
    let ours: Vec<_> = view.fields().map(|field| (field.name, field.value)).collect();
    let theirs: Vec<_> = oracle.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
    assert_eq!(ours, theirs);
}

/// Reads chunks in pieces of at most `size` bytes: the data up to the end or fault, and how it ended.
fn read_chunks(raw: &[u8], size: usize) -> (Vec<u8>, Result<(usize, bool), BodyFault>) {
    let mut reader = BodyReader::new(Framing::Chunked);
    let (mut data, mut at) = (Vec::new(), 0);
    while at < raw.len() && !reader.is_done() {
        let piece = &raw[at..raw.len().min(at + size)];
        match reader.advance(piece) {
            Ok(step) => {
                assert!(step.consumed <= piece.len() && step.data.end <= step.consumed);
                assert!(step.consumed > 0 || step.done);
                assert_eq!(step.done, reader.is_done());
                data.extend_from_slice(&piece[step.data]);
                at += step.consumed;
            }
            Err(fault) => return (data, Err(fault)),
        }
    }
    (data, Ok((at, reader.is_done())))
}

fn nearly_chunks() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &[&str] = &[
        "5\r\nhello\r\n",
        "0\r\n",
        "\r\n",
        "0\r\n\r\n",
        "1;a=b\r\nx\r\n",
        "a\r\n0123456789\r\n",
        "5\n",
        "5 \r\n",
        "ffffffffffffffff\r\n",
        "A: b\r\n",
        " c\r\n",
        "\r",
        "\n",
        ";",
        "00000000000000000",
        "g",
        "3\r\n\r\n\r\r\n",
    ];
    let piece = prop_oneof![9 => select(pieces).prop_map(|piece| piece.as_bytes().to_vec()), 1 => vec(any::<u8>(), 0..4)];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..600)) {
        for limits in [LIMITS, Limits::default()] {
            if let Ok(Parsed::Complete { len }) = RequestHead::new().parse(&bytes, &limits) {
                prop_assert!(len <= bytes.len());
            }
            if let Ok(Parsed::Complete { len }) = ResponseHead::new().parse(&bytes, &limits) {
                prop_assert!(len <= bytes.len());
            }
        }
        let _ = read_chunks(&bytes, 7).1;
    }

    #[test]
    fn a_request_is_the_same_whole_and_in_pieces(bytes in nearly_request(), at in vec(any::<Index>(), 0..5)) {
        let whole = request_in_pieces(&bytes, &[]);
        let mut cuts: Vec<_> = at.iter().map(|at| at.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(&request_in_pieces(&bytes, &cuts), &whole);
        let each: Vec<_> = (0..bytes.len()).collect();
        prop_assert_eq!(&request_in_pieces(&bytes, &each), &whole);
    }

    #[test]
    fn a_response_is_the_same_whole_and_in_pieces(bytes in nearly_response()) {
        let mut head = ResponseHead::new();
        let whole = head.parse(&bytes, &LIMITS);
        let shown = |head: &ResponseHead| {
            let lines: Vec<_> =
                head.view(&bytes).fields().map(|field| (field.name.to_vec(), field.value.to_vec(), field.known)).collect();
            (head.status(), head.declared(), head.keep_alive(false), lines)
        };
        let mut again = ResponseHead::new();
        let each: Vec<_> = (0..bytes.len()).collect();
        let pieces = in_pieces(&bytes, &each, |piece| again.parse(piece, &LIMITS));
        prop_assert_eq!(pieces, whole);
        if whole.is_ok() {
            prop_assert_eq!(shown(&again), shown(&head));
        }
    }

    #[test]
    fn what_follows_a_head_changes_nothing(bytes in nearly_request(), after in vec(any::<u8>(), 0..20)) {
        let mut head = RequestHead::new();
        if let Ok(Parsed::Complete { len }) = head.parse(&bytes, &LIMITS) {
            let before = summary(&head.view(&bytes));
            let other = [&bytes[..len], &after].concat();
            prop_assert_eq!(head.parse(&other, &LIMITS), Ok(Parsed::Complete { len }));
            prop_assert_eq!(summary(&head.view(&other)), before);
        }
    }

    #[test]
    fn what_is_taken_another_parser_reads_alike(bytes in prop_oneof![nearly_request(), good_request()]) {
        let mut head = RequestHead::new();
        if let Ok(Parsed::Complete { .. }) = head.parse(&bytes, &Limits::default()) {
            agrees_with_httparse(&bytes, &head);
        }
    }

    #[test]
    fn a_response_that_is_taken_another_parser_reads_alike(bytes in nearly_response()) {
        let mut head = ResponseHead::new();
        if let Ok(Parsed::Complete { len }) = head.parse(&bytes, &Limits::default()) {
            let mut headers = [httparse::EMPTY_HEADER; 100];
            let mut oracle = httparse::Response::new(&mut headers);
            prop_assert_eq!(oracle.parse(&bytes), Ok(httparse::Status::Complete(len)));
            prop_assert_eq!(oracle.code, Some(head.status()));
            let view = head.view(&bytes);
            let ours: Vec<_> = view.fields().map(|field| (field.name, field.value)).collect();
            let theirs: Vec<_> = oracle.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn what_is_written_is_one_request_and_the_same(bytes in good_request()) {
        let mut head = RequestHead::new();
        let parsed = head.parse(&bytes, &Limits::default());
        // Some generated headers refuse the request (a second Cookie, CONNECT); most do not.
        prop_assume!(parsed.is_ok());
        let view = head.view(&bytes);
        let names = NameSet::new(["x-tenant"]);
        let edit = RequestEdit {
            host: view.host().unwrap(),
            drop: KnownSet::EMPTY,
            drop_names: &names,
            framing: head.framing(),
            connection: UpstreamConnection::Reuse,
            add: &[],
        };
        let path = std::str::from_utf8(view.path_and_query()).unwrap();
        let mut out = Vec::new();
        write_request(&mut out, &view, Target::new(path).unwrap(), &edit);

        let mut again = RequestHead::new();
        prop_assert_eq!(again.parse(&out, &Limits::default()), Ok(Parsed::Complete { len: out.len() }));
        agrees_with_httparse(&out, &again);
        let written = again.view(&out);
        prop_assert_eq!(written.method_name(), view.method_name());
        prop_assert_eq!(written.path_and_query(), view.path_and_query());
        prop_assert_eq!(written.host(), view.host());
        prop_assert_eq!(again.framing(), head.framing());
        let gone = KnownSet::HOP_BY_HOP.union(KnownSet::CLAIMS).union(KnownSet::of(&[Known::Host]));
        let stays: Vec<_> = view
            .fields()
            .filter(|field| !gone.contains(field.known) && (!field.lookalike || field.known == Known::Other))
            .filter(|field| !field.named_by_connection && !names.contains(field.name))
            .map(|field| (field.name, field.value))
            .collect();
        let came: Vec<_> = written
            .fields()
            .filter(|field| !matches!(field.known, Known::Host | Known::ContentLength | Known::TransferEncoding))
            .map(|field| (field.name, field.value))
            .collect();
        prop_assert_eq!(came, stays);
    }

    #[test]
    fn what_is_written_is_one_response(bytes in nearly_response()) {
        let mut head = ResponseHead::new();
        if let Ok(Parsed::Complete { .. }) = head.parse(&bytes, &Limits::default()) {
            let edit = ResponseEdit {
                drop: KnownSet::EMPTY,
                drop_names: NameSet::empty(),
                only: None,
                framing: Framing::Chunked,
                connection: ClientConnection::Open,
                add: &[],
            };
            prop_assume!(head.status() != 101);
            let mut out = Vec::new();
            write_response(&mut out, &head.view(&bytes), &edit);
            let mut again = ResponseHead::new();
            prop_assert_eq!(again.parse(&out, &Limits::default()), Ok(Parsed::Complete { len: out.len() }));
            prop_assert_eq!(again.status(), head.status());
        }
    }

    #[test]
    fn chunks_come_back_as_they_went_in_over_all_splits(
        data in vec(vec(any::<u8>(), 0..40), 0..5),
        size in 1_usize..50,
    ) {
        let mut writer = BodyWriter::new(Framing::Chunked);
        let mut raw = Vec::new();
        for data in &data {
            let frame = writer.frame(data.len()).unwrap();
            raw.extend_from_slice(frame.before());
            raw.extend_from_slice(data);
            raw.extend_from_slice(frame.after());
        }
        raw.extend_from_slice(writer.finish().unwrap());
        let whole = raw.len();
        raw.extend_from_slice(b"0\r\n\r\n");
        for size in [size, 1, usize::MAX / 2] {
            prop_assert_eq!(read_chunks(&raw, size), (data.concat(), Ok((whole, true))));
        }
    }

    #[test]
    fn chunks_are_the_same_whole_and_in_pieces(raw in nearly_chunks(), size in 1_usize..20) {
        let (by_byte, end) = read_chunks(&raw, 1);
        for size in [size, raw.len().max(1)] {
            let (data, other) = read_chunks(&raw, size);
            prop_assert_eq!(other, end);
            // At a fault the data of that same slice is withheld.
            prop_assert!(by_byte.starts_with(&data) && (end.is_err() || data == by_byte));
        }
    }
}
