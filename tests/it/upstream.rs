//! The application behind the gateway: plain threads and sockets, so that nothing between the test and the wire is
//! clever. It notes every byte it received, and behaves as the query of a request asks: `?do=forever`.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::world::until;

/// One request as it came.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The head, byte for byte.
    pub head: String,
    /// The bytes behind it, as framed.
    pub body: Vec<u8>,
}

impl Seen {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// All values of a header, by its name in any case.
    pub fn values(&self, name: &str) -> Vec<String> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned()).collect()
    }
}

#[derive(Default)]
pub struct Notes {
    pub seen: Mutex<Vec<Seen>>,
    /// Bytes of any kind received, over all connections.
    pub received: AtomicU64,
    /// Bytes of any kind that the kernel took from us.
    pub sent: AtomicU64,
    /// Connections accepted, and those that ended by a reset.
    pub connections: AtomicU64,
    pub resets: AtomicU64,
    pub ended: AtomicU64,
    /// What it answers to which method and path, whole, where it was told.
    told: Mutex<BTreeMap<String, String>>,
    /// For good; and how often those who waited then.
    released: Mutex<(bool, u64)>,
    release: Condvar,
}

#[derive(Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    pub notes: Arc<Notes>,
}

impl Upstream {
    pub fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the application");
        let address = listener.local_addr().unwrap();
        let notes = Arc::new(Notes::default());
        let shared = Arc::clone(&notes);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                shared.connections.fetch_add(1, SeqCst);
                let notes = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let mut line = Line { stream, inbox: Vec::new(), notes: Arc::clone(&notes) };
                    while line.serve().is_some() {}
                    // Closed before it is told: whoever waits for that finds it closed.
                    drop(line);
                    notes.ended.fetch_add(1, SeqCst);
                });
            }
        });
        Upstream { address, notes }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.notes.seen.lock().unwrap().clone()
    }

    pub fn last(&self) -> Seen {
        self.seen().pop().expect("the application saw a request")
    }

    /// Waits until every connection that was ever opened has been read to its end: from then on nothing more is seen. To be
    /// asked once the gateway is gone.
    pub fn drained(&self) {
        // Connections are taken in order: once this one was, all were.
        let before = self.notes.ended.load(SeqCst);
        drop(TcpStream::connect(self.address).unwrap());
        until("all that came was read", || {
            let ended = self.notes.ended.load(SeqCst);
            ended > before && ended == self.notes.connections.load(SeqCst)
        });
    }

    /// Waits until whatever was sent so far has been read, and every connection that was let go is closed here too.
    pub fn settled(&self) {
        let port = format!(":{:04X}", self.address.port());
        until("all that was sent was read", || {
            let ended = self.notes.ended.load(SeqCst);
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            // The kernel's own list: local address, its peer, state (01 is open, 08 closed by the peer), sent:unread.
            let (mut open, mut unread) = (0, false);
            for line in table.lines().skip(1) {
                let words: Vec<&str> = line.split_whitespace().collect();
                let (local, state, queues) = (words[1], words[3], words[4]);
                if local.ends_with(&port) && ["01", "08"].contains(&state) {
                    open += 1;
                    unread |= state == "08" || !queues.ends_with(":00000000");
                }
            }
            !unread && open + ended == self.notes.connections.load(SeqCst)
        });
    }

    /// Answers each such request, a method and a path, like this from now on: the status with what else its head has, and a body.
    #[allow(dead_code, reason = "not each of the tests that share this needs it")]
    pub fn answers(&self, request: &str, head: &str, body: &str) {
        let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.notes.told.lock().unwrap().insert(request.to_owned(), answer);
    }

    pub fn received(&self) -> u64 {
        self.notes.received.load(SeqCst)
    }

    /// Lets whatever waits for a release go on, now and from now on.
    pub fn release(&self) {
        self.notes.released.lock().unwrap().0 = true;
        self.notes.release.notify_all();
    }

    /// Lets whatever waits for a release right now go on.
    #[allow(dead_code, reason = "not each of the tests that share this needs it")]
    pub fn release_those(&self) {
        self.notes.released.lock().unwrap().1 += 1;
        self.notes.release.notify_all();
    }
}

struct Line {
    stream: TcpStream,
    inbox: Vec<u8>,
    notes: Arc<Notes>,
}

impl Line {
    fn more(&mut self) -> Option<usize> {
        let mut piece = [0u8; 32 << 10];
        match self.stream.read(&mut piece) {
            Ok(0) => None,
            Ok(count) => {
                self.notes.received.fetch_add(count as u64, SeqCst);
                self.inbox.extend_from_slice(&piece[..count]);
                Some(count)
            }
            Err(fault) => {
                if fault.kind() == std::io::ErrorKind::ConnectionReset {
                    self.notes.resets.fetch_add(1, SeqCst);
                }
                None
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Option<()> {
        match self.stream.write_all(bytes) {
            Ok(()) => {
                self.notes.sent.fetch_add(bytes.len() as u64, SeqCst);
                Some(())
            }
            Err(fault) => {
                if fault.kind() == std::io::ErrorKind::ConnectionReset {
                    self.notes.resets.fetch_add(1, SeqCst);
                }
                None
            }
        }
    }

    fn wait(&mut self) -> Option<()> {
        let mut released = self.notes.released.lock().unwrap();
        let mine = released.1;
        while !released.0 && released.1 == mine {
            released = self
                .notes
                .release
                .wait_timeout(released, Duration::from_secs(20))
                .map(|(guard, _)| guard)
                .ok()?;
        }
        Some(())
    }

    fn switch(&mut self, accept: &str, behind: &str) -> Option<()> {
        self.write(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nSet-Cookie: sid=1\r\n\r\n{behind}"
            )
            .as_bytes(),
        )
    }

    /// Sends back whatever comes; to the end of it, it says goodbye.
    fn echo(&mut self) -> Option<()> {
        loop {
            if !self.inbox.is_empty() {
                let piece = std::mem::take(&mut self.inbox);
                self.write(&piece)?;
            }
            if self.more().is_none() {
                self.write(b"bye");
                return None;
            }
        }
    }

    /// Waits for the other side to go away.
    fn until_closed(&mut self) {
        while self.more().is_some() {
            self.inbox.clear();
        }
    }

    fn body_to_end(&mut self, index: usize, length: Option<usize>, chunked: bool) -> Option<usize> {
        let mut whole: Vec<u8> = Vec::new();
        loop {
            whole.append(&mut self.inbox);
            let done = if chunked {
                (whole.ends_with(b"0\r\n\r\n") || whole.ends_with(b"\r\nx-checksum: 7\r\n\r\n"))
                    .then_some(whole.len())
            } else {
                length.filter(|length| whole.len() >= *length)
            };
            if let Some(end) = done {
                self.inbox = whole.split_off(end);
                let size = whole.len();
                whole.truncate(1 << 20);
                self.notes.seen.lock().unwrap()[index].body = whole;
                return Some(size);
            }
            if self.more().is_none() {
                whole.truncate(1 << 20);
                self.notes.seen.lock().unwrap()[index].body = whole;
                return None;
            }
        }
    }

    #[allow(clippy::too_many_lines, reason = "one arm for each behaviour")]
    fn serve(&mut self) -> Option<()> {
        let end = loop {
            if let Some(at) = self.inbox.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8_lossy(&self.inbox[..end]).into_owned();
        self.inbox.drain(..end);
        let seen = Seen { head, body: Vec::new() };
        let length = seen.values("content-length").first().and_then(|v| v.parse::<usize>().ok());
        let chunked = seen.values("transfer-encoding").iter().any(|v| v == "chunked");
        let accept = seen.values("sec-websocket-key").first().map(|key| derive_accept_key(key.as_bytes()));
        let spoken = seen
            .values("sec-websocket-protocol")
            .first()
            .and_then(|all| Some(all.rsplit_once(", ")?.1.to_owned()));
        let target = seen.line().split(' ').nth(1).unwrap_or_default().to_owned();
        let method = seen.line().split(' ').next().unwrap_or_default().to_owned();
        let is_head = seen.line().starts_with("HEAD ");
        let index = {
            let mut all = self.notes.seen.lock().unwrap();
            all.push(seen);
            all.len() - 1
        };
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let value = |name: &str| {
            query.split('&').filter_map(|pair| pair.split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| v)
        };
        let n: usize = value("n").and_then(|n| n.parse().ok()).unwrap_or(0);
        let has_body = chunked || length.is_some_and(|length| length > 0);
        let deed = value("do").unwrap_or("hello");
        let takes_no_body =
            ["early", "answer-ahead", "refuse-and-stay", "stall", "sip", "drip-read"].contains(&deed);
        let mut taken = 0;
        if has_body && !takes_no_body {
            taken = self.body_to_end(index, length, chunked)?;
        }
        let asked = format!("{method} {}", target.split('?').next().unwrap_or_default());
        let told = self.notes.told.lock().unwrap().get(&asked).cloned();
        if let Some(answer) = told {
            return self.write(answer.as_bytes());
        }
        match deed {
            "hello" => self.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello")
                .filter(|()| !is_head)
                .or_else(|| is_head.then_some(())),
            "head" => self.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
            // Has made what the request names.
            "created" => {
                let made = value("at").unwrap_or_default();
                self.write(format!("HTTP/1.1 201 Created\r\nLocation: {made}\r\nContent-Length: 0\r\n\r\n").as_bytes())
            }
            // Says which request it answers.
            "echo" => self.write(
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len()).as_bytes(),
            ),
            "taken" => {
                let body = taken.to_string();
                self.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
            }
            "bytes" => {
                self.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n").as_bytes())?;
                let piece = pattern(64 << 10);
                let mut left = n;
                while left > 0 {
                    let now = left.min(piece.len());
                    self.write(&piece[..now])?;
                    left -= now;
                }
                Some(())
            }
            "chunked" => {
                self.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-User\r\n\r\n")?;
                let mut left = n;
                let mut size = 1;
                while left > 0 {
                    let now = left.min(size);
                    self.write(format!("{now:x};ext=1\r\n").as_bytes())?;
                    self.write(&pattern(now))?;
                    self.write(b"\r\n")?;
                    left -= now;
                    size = (size * 3).min(40_000);
                }
                self.write(b"0\r\nX-User: trailer\r\n\r\n")
            }
            "forever" => {
                self.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                let mut chunk = b"4000\r\n".to_vec();
                chunk.extend_from_slice(&pattern(0x4000));
                chunk.extend_from_slice(b"\r\n");
                loop {
                    self.write(&chunk)?;
                }
            }
            // As many pieces, each a little later than the one before.
            "ticks" => {
                self.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                for _ in 0..n {
                    self.write(b"4\r\ntick\r\n")?;
                    std::thread::sleep(Duration::from_millis(20));
                }
                self.write(b"0\r\n\r\n")
            }
            "events" => {
                self.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                self.write(b"d\r\ndata: first\n\n\r\n")?;
                self.until_closed();
                None
            }
            "until-close" => {
                self.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nto the end")?;
                let _ = self.stream.shutdown(Shutdown::Both);
                None
            }
            "early" => {
                self.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")?;
                self.until_closed();
                None
            }
            // Begins its answer before it has read the body, and goes on reading.
            "answer-ahead" => {
                self.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nahead\r\n")?;
                self.until_closed();
                None
            }
            // Takes no body and says nothing.
            "stall" => {
                self.wait();
                None
            }
            // Takes the body a little at a time.
            "sip" => {
                let mut piece = [0u8; 512];
                loop {
                    match self.stream.read(&mut piece) {
                        Ok(0) | Err(_) => return None,
                        Ok(count) => {
                            self.notes.received.fetch_add(count as u64, SeqCst);
                            std::thread::sleep(Duration::from_millis(1));
                        }
                    }
                }
            }
            "slow" => {
                self.wait()?;
                self.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            }
            "hang-up" => None,
            "half-head" => {
                self.write(b"HTTP/1.1 200 OK\r\nContent-Le")?;
                None
            }
            "half-body" => {
                self.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")?;
                None
            }
            "half-chunk" => {
                self.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")?;
                None
            }
            "garbage" => {
                self.write(b"\x00\x01\x02 this is no HTTP\r\n\r\n")?;
                self.until_closed();
                None
            }
            "two-lengths" => {
                self.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!")?;
                self.until_closed();
                None
            }
            "bad-chunk" => {
                self.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n")?;
                self.until_closed();
                None
            }
            "long-head" => {
                self.write(b"HTTP/1.1 200 OK\r\n")?;
                loop {
                    self.write(format!("X-Long: {}\r\n", "y".repeat(1000)).as_bytes())?;
                }
            }
            "interim" => self.write(
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            ),
            "switch" => {
                self.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nraw")?;
                self.until_closed();
                None
            }
            "cookie" => self.write(
                b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=1\r\nset-cookie: other=2\r\nCache-Control: public, max-age=60\r\nContent-Length: 5\r\n\r\nhello",
            ),
            "socket" => {
                self.switch(&accept?, "")?;
                self.echo()
            }
            // Switches when it is let.
            "socket-later" => {
                self.wait()?;
                self.switch(&accept?, "")?;
                self.echo()
            }
            "socket-forever" => {
                self.switch(&accept?, "")?;
                let piece = pattern(0x4000);
                loop {
                    self.write(&piece)?;
                }
            }
            "socket-stall" => {
                self.switch(&accept?, "")?;
                self.wait();
                None
            }
            // Speaks the last of what is offered.
            "socket-spoken" => {
                let spoken = spoken?;
                self.write(format!("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {spoken}\r\n\r\n", accept?).as_bytes())?;
                self.echo()
            }
            // Its first words come with the head, and it has no others.
            "socket-brief" => {
                self.switch(&accept?, "first and last")?;
                let _ = self.stream.shutdown(Shutdown::Write);
                self.until_closed();
                None
            }
            "socket-wrong" => {
                self.switch("AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "raw")?;
                self.until_closed();
                None
            }
            "socket-other" => {
                let accept = accept?;
                self.write(format!("HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\nraw").as_bytes())?;
                self.until_closed();
                None
            }
            // Says at once what it thinks, takes no more, and does not come to an end.
            "refuse-and-stay" => {
                self.write(b"HTTP/1.1 413 Content Too Large\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbig\r\n")?;
                self.wait();
                None
            }
            "chunked-head" => self.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            "cached" => self.write(
                b"HTTP/1.1 200 OK\r\nX-Accel-Expires: 60\r\nCDN-Cache-Control: max-age=60\r\nSurrogate-Control: max-age=60\r\nSurrogate_Key: a\r\nExpires: Thu, 01 Jan 2099 00:00:00 GMT\r\nContent-Length: 5\r\n\r\nhello",
            ),
            "negotiate" => self.write(
                b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=a, Negotiate\r\nContent-Length: 5\r\n\r\nhello",
            ),
            // Answers as if the connection lived on, and hangs up.
            "one-shot" => {
                self.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")?;
                None
            }
            // Says more than was asked.
            "unasked" => {
                self.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nspoof")
            }
            other => {
                let body = format!("no such deed: {other}");
                self.write(format!("HTTP/1.1 500 Oops\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
            }
        }
    }
}

/// Bytes that show when one is lost or doubled.
pub fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}
