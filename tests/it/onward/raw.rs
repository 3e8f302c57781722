//! Applications that speak HTTP/2 as no library does: frames by hand, on plain threads.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

pub use crate::http2::frames::{DATA, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, frame};

/// `:status: 200`, and the end of the stream.
pub fn ok(stream: u32) -> Vec<u8> {
    frame(HEADERS, 0x4 | 0x1, stream, &[0x88])
}

pub fn go_away(last: u32, reason: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat())
}

/// One connection, after the preface.
pub struct Line {
    pub stream: TcpStream,
    /// Counted from zero.
    pub number: usize,
}

impl Line {
    /// The next frame: kind, flags, stream, payload.
    pub fn frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0u8; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some((head[3], head[4], stream, payload))
    }

    /// The stream of the next request; pings and settings before it are answered.
    pub fn request(&mut self) -> Option<u32> {
        loop {
            let (kind, flags, stream, payload) = self.frame()?;
            match kind {
                HEADERS => return Some(stream),
                PING if flags & 1 == 0 => self.say(&frame(PING, 1, 0, &payload))?,
                SETTINGS if flags & 1 == 0 => self.say(&frame(SETTINGS, 1, 0, &[]))?,
                _ => {}
            }
        }
    }

    pub fn say(&mut self, bytes: &[u8]) -> Option<()> {
        self.stream.write_all(bytes).ok()
    }
}

/// Serves each connection so; how many there were.
pub fn application(
    serve: impl Fn(Line) -> Option<()> + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let (serve, counted) = (Arc::new(serve), Arc::clone(&count));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let number = counted.fetch_add(1, SeqCst);
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || {
                let mut preface = [0u8; 24];
                stream.read_exact(&mut preface).ok()?;
                assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
                stream.write_all(&frame(SETTINGS, 0, 0, &[])).ok()?;
                serve(Line { stream, number })
            });
        }
    });
    (address, count)
}
