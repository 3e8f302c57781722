//! The request gate: what is taken is read alike by other parsers, and what is forwarded, as bytes, is exactly one
//! equal request for our own reader, for httparse and for hyper. Beside it what is said around a request: PROXY headers,
//! `X-Forwarded-For` and `Forwarded`, trailers.
#![no_main]

#[path = "gate/around.rs"]
mod around;

use std::{cell::RefCell, convert::Infallible, rc::Rc};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use postern::{
    policy::path::{CanonicalPath, query_ok},
    proxy::wire::{
        Authority, BodyReader, BodyWriter, Framing, HeadFault, Known, KnownSet, Limits, NameSet, Parsed,
        RequestEdit, RequestHead, Target, UpstreamConnection, write_request,
    },
};
use tokio::io::AsyncWriteExt;

/// What hyper read of one request.
#[derive(Debug, PartialEq)]
struct Read {
    method: String,
    target: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
}

/// All requests that hyper finds in these bytes, and whether it found them without a fault.
fn by_hyper(bytes: &[u8]) -> (Vec<Read>, bool) {
    let found = Rc::new(RefCell::new(Vec::new()));
    let sound = RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(bytes.len() + (1 << 20));
            client.write_all(bytes).await.expect("room");
            client.shutdown().await.expect("an end");
            let notes = Rc::clone(&found);
            let service = service_fn(move |request: Request<Incoming>| {
                let notes = Rc::clone(&notes);
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.map(|body| body.to_bytes().to_vec());
                    notes.borrow_mut().push(Read {
                        method: head.method.to_string(),
                        target: head.uri.to_string(),
                        fields: head
                            .headers
                            .iter()
                            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                            .collect(),
                        body: body.unwrap_or_else(|fault| fault.to_string().into_bytes()),
                    });
                    Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
                }
            });
            // A client's hundred lines and ours beside them; its own bound of hyper's is a hundred.
            let mut builder = http1::Builder::new();
            builder.half_close(true).max_headers(128);
            builder.serve_connection(TokioIo::new(server), service).await.is_ok()
        })
    });
    (found.take(), sound)
}

/// Name in lower case, value; without those that each side frames for itself.
fn fields(head: &RequestHead, bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<(String, Vec<u8>)> = head
        .view(bytes)
        .fields()
        .map(|field| (String::from_utf8_lossy(field.name).to_ascii_lowercase(), field.value.to_vec()))
        .collect();
    fields.sort();
    fields
}

fn parse_in_two(bytes: &[u8], limits: &Limits, at: usize) -> Result<Parsed, HeadFault> {
    let mut head = RequestHead::new();
    match head.parse(&bytes[..at], limits) {
        Ok(Parsed::Partial) => head.parse(bytes, limits),
        early => early,
    }
}

/// One request off the front; nothing when it is refused or not whole. What came behind it stays.
fn one(input: &[u8]) -> Option<&[u8]> {
    let limits = Limits::default();
    let mut head = RequestHead::new();
    let parsed = head.parse(input, &limits);
    let at = input.len() / 2;
    assert_eq!(parse_in_two(input, &limits, at), parsed, "in two pieces");
    let Ok(Parsed::Complete { len }) = parsed else { return None };
    let view = head.view(input);

    let mut slots = [httparse::EMPTY_HEADER; 100];
    let mut other = httparse::Request::new(&mut slots);
    assert_eq!(other.parse(input), Ok(httparse::Status::Complete(len)), "what is taken, httparse takes");
    assert_eq!(other.path.map(str::as_bytes), Some(view.target()));

    let raw = view.path_and_query();
    let (path, query) = match raw.iter().position(|byte| *byte == b'?') {
        Some(at) => (&raw[..at], &raw[at + 1..]),
        None => (raw, &b""[..]),
    };
    let canonical = CanonicalPath::of(path).is_ok() && query_ok(query).is_ok();

    // The body, as the gateway frames it anew.
    let mut rest = &input[len..];
    let mut reader = BodyReader::new(head.framing());
    let mut writer = BodyWriter::new(head.framing());
    let (mut body, mut framed) = (Vec::new(), Vec::new());
    while !reader.is_done() {
        if rest.is_empty() {
            return None;
        }
        let step = reader.advance(rest).ok()?;
        let data = &rest[step.data.clone()];
        let frame = writer.frame(data.len()).expect("no more than was announced");
        framed.extend_from_slice(frame.before());
        framed.extend_from_slice(data);
        framed.extend_from_slice(frame.after());
        body.extend_from_slice(data);
        rest = &rest[step.consumed..];
    }
    framed.extend_from_slice(writer.finish().expect("no less than was announced"));
    if !canonical {
        return Some(rest);
    }

    let own = Authority::new(b"upstream.example").expect("a host");
    let stripped = NameSet::new(["x-user"]);
    let edit = RequestEdit {
        host: view.host().unwrap_or(own),
        drop: KnownSet::of(&[Known::Authorization, Known::Cookie]),
        drop_names: &stripped,
        framing: head.framing(),
        connection: UpstreamConnection::Reuse,
        add: &[],
    };
    let mut out = Vec::new();
    let target = std::str::from_utf8(raw).expect("a canonical path is ASCII");
    write_request(&mut out, &view, Target::new(target).expect("a target"), &edit);
    let head_len = out.len();
    out.extend_from_slice(&framed);

    // Our own reader.
    let wide = Limits { max_head: 64 << 10, max_fields: 110, ..limits };
    let mut again = RequestHead::new();
    assert_eq!(again.parse(&out, &wide), Ok(Parsed::Complete { len: head_len }));
    let written = again.view(&out);
    assert_eq!(written.method_name(), view.method_name());
    assert_eq!(written.target(), raw);
    assert_eq!(again.framing(), head.framing());
    for field in written.fields() {
        let framing = matches!(field.known, Known::ContentLength | Known::TransferEncoding);
        assert!(framing || !KnownSet::HOP_BY_HOP.contains(field.known), "{:?} passes", field.known);
        assert!(!KnownSet::CLAIMS.contains(field.known), "{:?} passes", field.known);
        assert!(!field.lookalike || field.known == Known::Other, "a name in disguise passes");
        assert!(!matches!(field.known, Known::Authorization | Known::Cookie));
        assert!(!stripped.contains(field.name));
    }

    // hyper.
    let ours = fields(&again, &out);
    let (found, sound) = by_hyper(&out);
    assert!(sound, "hyper faults on {}", out.escape_ascii());
    let [read] = found.as_slice() else { panic!("hyper found {} requests", found.len()) };
    assert_eq!(read.method.as_bytes(), view.method_name());
    assert_eq!(read.target.as_bytes(), raw);
    assert_eq!(read.body, body);
    let mut theirs = read.fields.clone();
    theirs.sort();
    assert_eq!(theirs, ours);
    assert!(head.framing() != Framing::None || body.is_empty());
    Some(rest)
}

fuzz_target!(|input: &[u8]| {
    around::all(input);
    let mut rest = input;
    for _ in 0..4 {
        match one(rest) {
            Some(after) if !after.is_empty() => rest = after,
            _ => return,
        }
    }
});
