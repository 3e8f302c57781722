//! The application behind a gateway: it answers at once, or for as long as it is heard, and tells the truth of what came.
//!
//! Never here: whether that may have come.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::truth::{Arrival, Truth};

pub fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Begins one; where it listens.
pub fn begin(gateway: usize, truth: Arc<Truth>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let truth = Arc::clone(&truth);
            std::thread::spawn(move || serve(gateway, &truth, stream));
        }
    });
    address
}

/// Answers until the connection ends.
fn serve(gateway: usize, truth: &Truth, mut stream: TcpStream) -> Option<()> {
    let mut inbox = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = inbox.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let mut piece = [0; 4096];
            match stream.read(&mut piece) {
                Ok(count @ 1..) => inbox.extend_from_slice(&piece[..count]),
                _ => return None,
            }
        };
        let head = String::from_utf8_lossy(&inbox[..end]).into_owned();
        inbox.drain(..end);
        let arrival = read(gateway, &head);
        let (target, is_staff) = (head.split(' ').nth(1)?.to_owned(), arrival.as_ref().is_some());
        if let Some(arrival) = &arrival {
            truth.arrived(arrival);
        }
        if is_staff && target.contains("do=ticks") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").ok()?;
            loop {
                stream.write_all(b"4\r\ntick\r\n").ok()?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").ok()?;
    }
}

/// What came, where the gateway says that it is of staff.
fn read(gateway: usize, head: &str) -> Option<Arrival> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("postern-assertion:"))?;
    let payload = line.split_once(':')?.1.trim().split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    if claims["kind"] != "staff" {
        return None;
    }
    let text = |name: &str| claims[name].as_str().map(str::to_owned);
    let path = head.split(' ').nth(1)?.split('?').next()?.to_owned();
    Some(Arrival {
        gateway,
        at: Instant::now(),
        wall_ms: wall_ms(),
        writes: !head.starts_with("GET "),
        path_tenant: path.split('/').nth(2)?.to_owned(),
        path,
        tenant: text("tenant").unwrap_or_default(),
        session: text("session"),
    })
}
