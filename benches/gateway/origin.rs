//! The application behind the gateways: reads heads, answers 1 KiB, or 64 KiB below `/large`, sends pieces for five seconds
//! below `/stream`, and echoes short messages of a WebSocket. It understands no more of HTTP than that, so that it costs
//! next to nothing.

use std::time::Duration;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Bytes of the two bodies.
pub const SMALL: usize = 1 << 10;
pub const LARGE: usize = 64 << 10;
/// Pieces of a stream, and the pause between them.
pub const PIECES: usize = 50;
const PAUSE: Duration = Duration::from_millis(100);

fn answer(body: usize) -> Vec<u8> {
    let mut out = format!(
        "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: application/json\r\nContent-Length: {body}\r\n\r\n"
    )
    .into_bytes();
    out.resize(out.len() + body, b'x');
    out
}

/// Serves on that port until it is killed.
pub fn serve(port: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let answers: &'static [Vec<u8>; 2] = Box::leak(Box::new([answer(SMALL), answer(LARGE)]));
    local.block_on(&runtime, async move {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::task::spawn_local(one(stream, answers));
        }
    });
}

async fn one(mut stream: TcpStream, answers: &'static [Vec<u8>; 2]) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::with_capacity(16 << 10);
    loop {
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        while let Some(end) = find(&buffer, b"\r\n\r\n") {
            let line = buffer.split(|byte| *byte == b'\r').next().unwrap_or_default();
            if find(line, b"/stream").is_some() {
                buffer.drain(..end + 4);
                if pieces(&mut stream).await.is_err() {
                    return;
                }
                continue;
            }
            if find(line, b"/socket").is_some() {
                let _ = echo(stream, buffer, end + 4).await;
                return;
            }
            if line.starts_with(b"POST") {
                // It waits for the whole body, however long that takes.
                let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                let whole = end + 4 + length.and_then(|length| length.parse::<usize>().ok()).unwrap_or(0);
                while buffer.len() < whole {
                    match stream.read_buf(&mut buffer).await {
                        Ok(0) | Err(_) => return,
                        Ok(_) => {}
                    }
                }
                buffer.drain(end + 4..whole);
            }
            let line = buffer.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let answer = &answers[usize::from(find(line, b"/large").is_some())];
            if stream.write_all(answer).await.is_err() {
                return;
            }
            buffer.drain(..end + 4);
        }
    }
}

/// A piece of 1 KiB now and then.
async fn pieces(stream: &mut TcpStream) -> std::io::Result<()> {
    stream
        .write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .await?;
    let piece = format!("400\r\npiece:{}\r\n", "s".repeat(1018));
    for _ in 0..PIECES {
        stream.write_all(piece.as_bytes()).await?;
        tokio::time::sleep(PAUSE).await;
    }
    stream.write_all(b"0\r\n\r\n").await
}

/// A WebSocket of short messages, masked with zeros.
async fn echo(mut stream: TcpStream, mut inbox: Vec<u8>, head: usize) -> std::io::Result<()> {
    let text = String::from_utf8_lossy(&inbox[..head]).into_owned();
    let key = text.lines().find_map(|line| {
        line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
    });
    let accept = derive_accept_key(key.map_or("", |(_, key)| key).as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    inbox.drain(..head);
    loop {
        while let Some(length) =
            inbox.get(1).map(|byte| usize::from(byte & 0x7f)).filter(|length| inbox.len() >= 6 + length)
        {
            let closes = inbox[0] & 0x0f == 8;
            let back = [&[inbox[0], length as u8][..], &inbox[6..6 + length]].concat();
            stream.write_all(&back).await?;
            inbox.drain(..6 + length);
            if closes {
                return Ok(());
            }
        }
        if stream.read_buf(&mut inbox).await? == 0 {
            return Ok(());
        }
    }
}

/// Where that stands.
pub fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
