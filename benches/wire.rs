//! What reading and writing heads costs: a member's typical request, its way upstream, and a typical response.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a benchmark")]

use divan::{Bencher, black_box};
use postern::proxy::wire::{
    Authority, ClientConnection, Framing, KnownSet, Limits, Name, NameSet, RequestEdit, RequestHead,
    ResponseEdit, ResponseHead, Target, UpstreamConnection, Value, write_request, write_response,
};

const REQUEST: &[u8] = b"GET /api/v1/orders/4711/items?limit=50&after=abcdef HTTP/1.1\r\n\
Host: app.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Accept: application/json, text/plain, */*\r\n\
Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Authorization: Bearer 0123456789012345678901234567890123456789012345678901234567890123456789\r\n\
Referer: https://app.example.com/orders/4711\r\n\
Cookie: theme=dark; locale=en; consent=essential\r\n\
Sec-Fetch-Site: same-origin\r\n\
X-Request-Id: 0192f0c4-7b1e-7c3a-9d55-3f6f0a1b2c3d\r\n\
If-None-Match: \"33a64df551425fcc55e4d42a148795d9\"\r\n\
Connection: keep-alive\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
Date: Sat, 21 Nov 2026 23:30:00 GMT\r\n\
Content-Type: application/json; charset=utf-8\r\n\
Content-Length: 1024\r\n\
Cache-Control: private, max-age=0\r\n\
ETag: \"33a64df551425fcc55e4d42a148795d9\"\r\n\
Vary: Accept-Encoding\r\n\r\n";

fn main() {
    divan::main();
}

#[divan::bench]
fn read_request(bencher: Bencher<'_, '_>) {
    let mut head = RequestHead::new();
    let limits = Limits::default();
    bencher.bench_local(|| head.parse(black_box(REQUEST), &limits).is_ok());
}

#[divan::bench]
fn read_request_httparse(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut headers);
        request.parse(black_box(REQUEST)).is_ok()
    });
}

#[divan::bench]
fn write_request_upstream(bencher: Bencher<'_, '_>) {
    let mut head = RequestHead::new();
    let _ = head.parse(REQUEST, &Limits::default()).unwrap();
    let identity = NameSet::new(["x-user", "x-tenant", "x-roles", "x-assertion"]);
    let add = [
        (Name::new("Postern-Assertion").unwrap(), Value::ascii("eyJhbGciOiJFZERTQSJ9.e30.c2ln").unwrap()),
        (Name::new("X-User").unwrap(), Value::ascii("4711").unwrap()),
    ];
    let edit = RequestEdit {
        host: Authority::new(b"app.example.com").unwrap(),
        drop: KnownSet::EMPTY,
        drop_names: &identity,
        framing: Framing::None,
        connection: UpstreamConnection::Reuse,
        add: &add,
    };
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        out.clear();
        let target = Target::new(black_box("/api/v1/orders/4711/items?limit=50&after=abcdef")).unwrap();
        write_request(&mut out, &head.view(black_box(REQUEST)), target, &edit);
        out.len()
    });
}

#[divan::bench]
fn read_response(bencher: Bencher<'_, '_>) {
    let mut head = ResponseHead::new();
    let limits = Limits::default();
    bencher.bench_local(|| head.parse(black_box(RESPONSE), &limits).is_ok());
}

#[divan::bench]
fn write_response_to_client(bencher: Bencher<'_, '_>) {
    let mut head = ResponseHead::new();
    let _ = head.parse(RESPONSE, &Limits::default()).unwrap();
    let edit = ResponseEdit {
        drop: KnownSet::EMPTY,
        drop_names: NameSet::empty(),
        only: None,
        framing: Framing::Length(1024),
        connection: ClientConnection::Open,
        add: &[],
    };
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        out.clear();
        write_response(&mut out, &head.view(black_box(RESPONSE)), &edit);
        out.len()
    });
}
