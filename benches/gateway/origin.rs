//! The application behind the gateways: reads heads, answers 1 KiB, or 64 KiB below `/large`. It understands no more
//! of HTTP than that, so that it costs next to nothing.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Bytes of the two bodies.
pub const SMALL: usize = 1 << 10;
pub const LARGE: usize = 64 << 10;

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
            let answer = &answers[usize::from(find(line, b"/large").is_some())];
            if stream.write_all(answer).await.is_err() {
                return;
            }
            buffer.drain(..end + 4);
        }
    }
}

/// Where that stands.
pub fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
