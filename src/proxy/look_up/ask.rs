//! One question to an application, and its answer: a `GET` on a connection of its own, with the gateway's assertion and nothing of
//! any client's. No redirect is followed, no coding taken, and no more than [`MOST_BODY`] bytes.
//!
//! Never here: when somebody is asked, how long it may take as a whole, what an answer means.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    net::servers::Protocol,
    proxy::{
        dial::{self, dial},
        narrow::{
            NarrowFault,
            head::{self, Body},
        },
        routing::{Server, Upstream},
        wire::{BodyReader, Limits, Parsed, ResponseHead},
    },
};

use super::{MOST_BODY, fault::Fault};

/// The largest head of an answer, in bytes.
const MOST_HEAD: usize = 16 << 10;
/// Interim answers that are passed over.
const MOST_INTERIM: usize = 8;
/// Servers that are tried, while not one byte has left.
const MOST_SERVERS: usize = 3;

/// What is asked for.
pub(super) struct Question<'a> {
    /// Path, as the application reads it.
    pub(super) target: &'a str,
    /// The header that carries the assertion.
    pub(super) header: &'a str,
    /// The assertion.
    pub(super) assertion: &'a str,
}

/// Asks one of an upstream's servers, beginning with this one of those that are in.
pub(super) async fn ask(
    upstream: &Upstream,
    first: usize,
    most: Duration,
    question: &Question<'_>,
) -> Result<Vec<u8>, Fault> {
    let mut last = Fault::Unreachable(dial::UNREACHABLE);
    for server in in_turn(&upstream.servers, first).take(MOST_SERVERS) {
        match dial(server, upstream.protocol, upstream.connect_timeout.min(most)).await {
            Ok(dialed) => {
                server.health.reached();
                return match upstream.protocol {
                    Protocol::Http1 => over_http1(upstream, question, dialed.boxed()).await,
                    Protocol::Http2 => over_http2(upstream, server, question, dialed.boxed()).await,
                };
            }
            Err(code) => {
                // Whoever gave a server less time than everybody's connections have says nothing of it.
                if code != dial::TIMEOUT || most >= upstream.connect_timeout {
                    server.health.unreached(code);
                }
                last = Fault::Unreachable(code);
            }
        }
    }
    Err(last)
}

/// Those that are in, then the others, each group from that number on.
fn in_turn(servers: &[Server], first: usize) -> impl Iterator<Item = &Server> {
    let start = first.checked_rem(servers.len()).unwrap_or(0);
    let turned = move || servers.iter().cycle().skip(start).take(servers.len());
    turned().filter(|server| server.health.is_in()).chain(turned().filter(|server| !server.health.is_in()))
}

fn host(upstream: &Upstream) -> &str {
    upstream.host.as_deref().unwrap_or(&upstream.authority)
}

/// What a head says about the body behind it.
fn taken(status: u16, plain: impl FnOnce() -> Result<Body, NarrowFault>) -> Result<(), Fault> {
    match status {
        200 => {}
        300..400 => return Err(Fault::Redirect),
        404 | 410 => return Err(Fault::NotFound),
        other => return Err(Fault::Status(other)),
    }
    match plain() {
        Ok(Body::Filtered) => Ok(()),
        Err(NarrowFault::Coded) => Err(Fault::Coded),
        Ok(Body::Withheld) | Err(_) => Err(Fault::Type),
    }
}

async fn over_http1(
    upstream: &Upstream,
    question: &Question<'_>,
    mut stream: Box<dyn dial::Bytes>,
) -> Result<Vec<u8>, Fault> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: postern-look-up\r\nAccept: application/json\r\nAccept-Encoding: identity\r\n{}: {}\r\nConnection: close\r\n\r\n",
        question.target,
        host(upstream),
        question.header,
        question.assertion,
    );
    stream.write_all(request.as_bytes()).await.map_err(|_| Fault::HungUp)?;
    stream.flush().await.map_err(|_| Fault::HungUp)?;
    let limits = Limits { max_head: MOST_HEAD, ..Limits::default() };
    let mut head = ResponseHead::new();
    let mut buffer = Vec::new();
    let mut interim = 0;
    let mut at = loop {
        match head.parse(&buffer, &limits).map_err(|_| Fault::Unreadable)? {
            Parsed::Complete { .. } if head.status() == 101 => return Err(Fault::Status(101)),
            Parsed::Complete { len } if head.is_informational() => {
                interim += 1;
                if interim > MOST_INTERIM {
                    return Err(Fault::Unreadable);
                }
                buffer.drain(..len);
                head.clear();
            }
            Parsed::Complete { len } => break len,
            Parsed::Partial => more(&mut stream, &mut buffer).await?,
        }
    };
    taken(head.status(), || head::body(&head.view(&buffer)))?;
    let mut reader = BodyReader::new(head.framing(false));
    let mut body = Vec::new();
    while !reader.is_done() {
        let rest = buffer.get(at..).unwrap_or_default();
        if rest.is_empty() {
            buffer.clear();
            at = 0;
            match more(&mut stream, &mut buffer).await {
                Ok(()) => continue,
                Err(_) => {
                    reader.end().map_err(|_| Fault::HungUp)?;
                    break;
                }
            }
        }
        let step = reader.advance(rest).map_err(|_| Fault::Unreadable)?;
        let data = rest.get(step.data).unwrap_or_default();
        if body.len() + data.len() > MOST_BODY {
            return Err(Fault::TooLarge);
        }
        body.extend_from_slice(data);
        at += step.consumed;
    }
    Ok(body)
}

async fn more(stream: &mut Box<dyn dial::Bytes>, buffer: &mut Vec<u8>) -> Result<(), Fault> {
    buffer.reserve(4 << 10);
    match stream.read_buf(buffer).await {
        Ok(0) | Err(_) => Err(Fault::HungUp),
        Ok(_) => Ok(()),
    }
}

async fn over_http2(
    upstream: &Upstream,
    server: &Server,
    question: &Question<'_>,
    stream: Box<dyn dial::Bytes>,
) -> Result<Vec<u8>, Fault> {
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).max_header_list_size(u32::try_from(MOST_HEAD).unwrap_or(u32::MAX));
    let (send, connection) = builder.handshake::<_, Bytes>(stream).await.map_err(|_| Fault::Unreadable)?;
    let scheme = if server.tls.is_some() { "https" } else { "http" };
    let answer = async {
        let request = http::Request::get(format!("{scheme}://{}{}", host(upstream), question.target))
            .header("user-agent", "postern-look-up")
            .header("accept", "application/json")
            .header("accept-encoding", "identity")
            .header(question.header, question.assertion)
            .body(())
            .map_err(|_| Fault::Unreadable)?;
        let mut send = send.ready().await.map_err(|_| Fault::HungUp)?;
        let (answer, _) = send.send_request(request, true).map_err(|_| Fault::HungUp)?;
        let answer = answer.await.map_err(|_| Fault::HungUp)?;
        let (head, mut stream) = answer.into_parts();
        taken(head.status.as_u16(), || head::body_of_http2(&head.headers))?;
        let mut body = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data.map_err(|_| Fault::HungUp)?;
            if body.len() + data.len() > MOST_BODY {
                return Err(Fault::TooLarge);
            }
            let _ = stream.flow_control().release_capacity(data.len());
            body.extend_from_slice(&data);
        }
        Ok(body)
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        _ = connection => Err(Fault::HungUp),
    }
}
