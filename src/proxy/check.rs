//! One look whether a server is well: a `GET` on a connection of its own, with no client's data, and the status of what comes
//! back. The body is not read; a redirection is an answer like any other, and not followed.
//!
//! Never here: when, and what follows from it (see [`health`](super::health) and `app`).

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::net::servers::{Check, Protocol};

use super::{
    dial::{self, dial},
    routing::{Server, Upstream},
    wire::{HeadFault, Limits, Parsed, ResponseHead},
};

/// The largest head of an answer, in bytes.
const MOST_HEAD: usize = 16 << 10;

/// Why a server does not count as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unwell {
    /// No connection.
    #[error("{0}")]
    Unreached(&'static str),
    /// It took too long.
    #[error("no answer in {} ms", .0.as_millis())]
    Slow(Duration),
    /// It hung up.
    #[error("it hung up before it answered")]
    HungUp,
    /// What came is no answer.
    #[error("what it answers cannot be read: {0}")]
    Unreadable(HeadFault),
    /// It breaks HTTP/2.
    #[error("it breaks off its answer over HTTP/2")]
    Broken,
    /// Another status than the one that is good.
    #[error("it answers {0}")]
    Status(u16),
}

/// Looks once.
///
/// # Errors
/// Why it does not count as well.
pub async fn look(upstream: &Upstream, server: &Server, check: &Check) -> Result<(), Unwell> {
    let asked = async {
        let dialed = dial(server, upstream.protocol, check.timeout).await.map_err(|code| match code {
            dial::TIMEOUT => Unwell::Slow(check.timeout),
            code => Unwell::Unreached(code),
        })?;
        match upstream.protocol {
            Protocol::Http1 => ask(upstream, check, dialed.boxed()).await,
            Protocol::Http2 => ask_http2(upstream, server, check, dialed.boxed()).await,
        }
    };
    let status = timeout(check.timeout, asked).await.unwrap_or(Err(Unwell::Slow(check.timeout)))?;
    let good = match check.status {
        Some(only) => status == only,
        None => (200..300).contains(&status),
    };
    if good { Ok(()) } else { Err(Unwell::Status(status)) }
}

fn host(upstream: &Upstream) -> &str {
    upstream.host.as_deref().unwrap_or(&upstream.authority)
}

async fn ask(upstream: &Upstream, check: &Check, mut stream: Box<dyn dial::Bytes>) -> Result<u16, Unwell> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: postern-check\r\nConnection: close\r\n\r\n",
        check.path,
        host(upstream)
    );
    stream.write_all(request.as_bytes()).await.map_err(|_| Unwell::HungUp)?;
    stream.flush().await.map_err(|_| Unwell::HungUp)?;
    let limits = Limits { max_head: MOST_HEAD, ..Limits::default() };
    let mut head = ResponseHead::new();
    let mut buffer = Vec::new();
    loop {
        match head.parse(&buffer, &limits).map_err(Unwell::Unreadable)? {
            Parsed::Complete { len } if head.is_informational() && head.status() != 101 => {
                buffer.drain(..len);
                head.clear();
            }
            Parsed::Complete { .. } => return Ok(head.status()),
            Parsed::Partial => {
                buffer.reserve(1 << 10);
                match stream.read_buf(&mut buffer).await {
                    Ok(0) | Err(_) => return Err(Unwell::HungUp),
                    Ok(_) => {}
                }
            }
        }
    }
}

async fn ask_http2(
    upstream: &Upstream,
    server: &Server,
    check: &Check,
    stream: Box<dyn dial::Bytes>,
) -> Result<u16, Unwell> {
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).max_header_list_size(u32::try_from(MOST_HEAD).unwrap_or(u32::MAX));
    let (send, connection) = builder.handshake::<_, Bytes>(stream).await.map_err(|_| Unwell::Broken)?;
    let scheme = if server.tls.is_some() { "https" } else { "http" };
    let answer = async {
        let request = http::Request::get(format!("{scheme}://{}{}", host(upstream), check.path))
            .header("user-agent", "postern-check")
            .body(())
            .map_err(|_| Unwell::Broken)?;
        let mut send = send.ready().await.map_err(|_| Unwell::Broken)?;
        let (answer, _) = send.send_request(request, true).map_err(|_| Unwell::Broken)?;
        answer.await.map(|answer| answer.status().as_u16()).map_err(|_| Unwell::Broken)
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        _ = connection => Err(Unwell::Broken),
    }
}
