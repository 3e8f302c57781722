//! A client that writes what it is told and reads one answer at a time.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// How long any test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// One answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn values(&self, name: &str) -> Vec<String> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The stable code of a problem.
    pub fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// How a connection ended, as the client saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Closed,
    Reset,
    Open,
}

pub struct Client {
    pub stream: TcpStream,
    pub inbox: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the gateway listens");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { stream, inbox: Vec::new() }
    }

    /// With a receive buffer so small that the gateway soon has nowhere to put anything.
    pub fn narrow(address: SocketAddr) -> Client {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&address.into()).unwrap();
        let stream: TcpStream = socket.into();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { stream, inbox: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).expect("the gateway reads");
        self
    }

    /// Reads once more; `Open` when something came.
    pub fn more(&mut self) -> Ending {
        let mut piece = vec![0u8; 64 << 10];
        match self.stream.read(&mut piece) {
            Ok(0) => Ending::Closed,
            Ok(count) => {
                self.inbox.extend_from_slice(&piece[..count]);
                Ending::Open
            }
            Err(fault) if matches!(fault.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                Ending::Reset
            }
            Err(fault) => panic!("nothing came from the gateway in time: {fault}"),
        }
    }

    /// Reads to the end, throwing away; how it ended, how much came, and when the last byte did.
    pub fn read_out(&mut self) -> (Ending, u64) {
        let deadline = Instant::now() + PATIENCE;
        let mut count = self.inbox.len() as u64;
        self.inbox.clear();
        loop {
            assert!(Instant::now() < deadline, "it goes on and on");
            match self.more() {
                Ending::Open => {
                    count += self.inbox.len() as u64;
                    self.inbox.clear();
                }
                ending => return (ending, count),
            }
        }
    }

    /// The next head.
    pub fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.inbox.windows(4).position(|w| w == b"\r\n\r\n") {
                let head: Vec<u8> = self.inbox.drain(..at + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            let ending = self.more();
            assert_eq!(ending, Ending::Open, "no head: {:?}", String::from_utf8_lossy(&self.inbox));
        }
    }

    fn at_least(&mut self, count: usize) {
        while self.inbox.len() < count {
            let ending = self.more();
            assert_eq!(ending, Ending::Open, "a body of {count} ended at {}", self.inbox.len());
        }
    }

    /// The next answer, whole.
    pub fn reply(&mut self) -> Reply {
        self.reply_to(false)
    }

    pub fn reply_to(&mut self, head_request: bool) -> Reply {
        let head = self.head();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        let mut reply = Reply { status, head, body: Vec::new() };
        if head_request || status == 204 || status == 304 || status < 200 {
            return reply;
        }
        if reply.values("transfer-encoding").iter().any(|v| v == "chunked") {
            loop {
                let at = loop {
                    match self.inbox.windows(2).position(|w| w == b"\r\n") {
                        Some(at) => break at,
                        None => self.at_least(self.inbox.len() + 1),
                    }
                };
                let size = String::from_utf8(self.inbox[..at].to_vec()).unwrap();
                let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("chunk size `{size}`"));
                self.at_least(at + 2 + size + 2);
                self.inbox.drain(..at + 2);
                reply.body.extend(self.inbox.drain(..size));
                let end: Vec<u8> = self.inbox.drain(..2).collect();
                assert_eq!(end, b"\r\n", "behind a chunk");
                if size == 0 {
                    return reply;
                }
            }
        }
        if let Some(length) = reply.values("content-length").first() {
            let length = length.parse().unwrap();
            self.at_least(length);
            reply.body = self.inbox.drain(..length).collect();
            return reply;
        }
        while self.more() == Ending::Open {}
        reply.body = std::mem::take(&mut self.inbox);
        reply
    }
}
