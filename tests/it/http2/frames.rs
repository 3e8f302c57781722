//! Raw frames, and a client that sends them as they are.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut all = vec![length[1], length[2], length[3], kind, flags];
    all.extend_from_slice(&stream.to_be_bytes());
    all.extend_from_slice(payload);
    all
}

/// Fields as literals, without Huffman codes and without a table.
pub fn fields(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut all = Vec::new();
    for (name, value) in lines {
        all.extend(literal(name.as_bytes(), value.as_bytes()));
    }
    all
}

pub fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut all = vec![0];
    for text in [name, value] {
        if text.len() < 127 {
            all.push(u8::try_from(text.len()).unwrap());
        } else {
            all.push(127);
            let mut left = text.len() - 127;
            while left >= 128 {
                all.push(u8::try_from(left % 128).unwrap() | 128);
                left /= 128;
            }
            all.push(u8::try_from(left).unwrap());
        }
        all.extend_from_slice(text);
    }
    all
}

/// A request's first four lines.
pub fn get(path: &str) -> Vec<(&str, &str)> {
    vec![(":method", "GET"), (":scheme", "http"), (":authority", "app.example"), (":path", path)]
}

#[derive(Debug, Clone)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The reason of a RST_STREAM or GOAWAY.
    pub fn reason(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub struct Raw {
    pub stream: TcpStream,
}

impl Raw {
    pub fn connect(address: SocketAddr) -> Raw {
        Raw::over(TcpStream::connect(address).unwrap())
    }

    /// With room for little that it has not read.
    pub fn narrow(address: SocketAddr) -> Raw {
        Raw::over(Raw::narrow_socket(address))
    }

    pub fn narrow_socket(address: SocketAddr) -> TcpStream {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&address.into()).unwrap();
        let stream: TcpStream = socket.into();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn over(stream: TcpStream) -> Raw {
        let mut raw = Raw { stream };
        raw.stream.set_nodelay(true).unwrap();
        raw.stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        raw.stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        raw.send(&frame(SETTINGS, 0, 0, &[]));
        raw
    }

    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next frame; `None` at the end.
    pub fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// What becomes of a stream: its body, or the reason why it was reset, or `None` where the connection ended.
    pub fn outcome(&mut self, stream: u32) -> Option<Result<Vec<u8>, u32>> {
        let mut body = Vec::new();
        while let Some(frame) = self.frame() {
            match frame.kind {
                GOAWAY if frame.reason() != 0 => return None,
                RST_STREAM if frame.stream == stream && frame.reason() != 0 => {
                    return Some(Err(frame.reason()));
                }
                DATA if frame.stream == stream => body.extend_from_slice(&frame.payload),
                _ => {}
            }
            if frame.stream == stream && matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0
            {
                return Some(Ok(body));
            }
        }
        None
    }
}
