//! Everything at once at a steady pace: members' and staff's requests, streams, WebSockets, and connections that come and
//! go. Whatever does not end as it must is a fault, with its words.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::spawn_local,
};

use crate::{
    load::{Request, whole},
    origin::{PIECES, find},
};

/// How long a WebSocket lives, in messages, and how often it says something.
const MESSAGES: usize = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// What was seen; whoever samples takes it out.
#[derive(Default)]
pub struct Seen {
    /// Microseconds of members' and of staff's requests.
    pub members: RefCell<Vec<f64>>,
    pub staff: RefCell<Vec<f64>>,
    /// Streams and WebSockets that ended as they must.
    pub streams: Cell<u64>,
    pub sockets: Cell<u64>,
    /// What did not.
    pub faults: RefCell<Vec<String>>,
    /// No more.
    pub stop: Cell<bool>,
}

impl Seen {
    fn fault(&self, what: &str, fault: impl std::fmt::Display) {
        self.faults.borrow_mut().push(format!("{what}: {fault}"));
    }
}

/// Which of both a request is counted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Member,
    Staff,
}

async fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn once(stream: &mut TcpStream, what: &Request, buffer: &mut Vec<u8>) -> Result<(), String> {
    stream.write_all(&what.bytes).await.map_err(|fault| fault.to_string())?;
    buffer.clear();
    loop {
        if !buffer.is_empty() && !buffer.starts_with(b"HTTP/1.1 200 ") && buffer.len() > 12 {
            return Err(String::from_utf8_lossy(&buffer[..buffer.len().min(400)]).into_owned());
        }
        if whole(buffer, what.wanted()) {
            return Ok(());
        }
        match stream.read_buf(buffer).await {
            Ok(0) => return Err("hung up".to_owned()),
            Ok(_) => {}
            Err(fault) => return Err(fault.to_string()),
        }
    }
}

/// A connection that asks these things in turn, one each `step`; without a step as fast as answers come.
pub fn asks(
    seen: &Rc<Seen>,
    port: u16,
    what: Rc<Vec<Request>>,
    who: Who,
    first: usize,
    step: Option<Duration>,
) {
    let seen = Rc::clone(seen);
    spawn_local(async move {
        let mut stream = connect(port).await.unwrap();
        let mut buffer = Vec::with_capacity(80 << 10);
        let mut due = Instant::now() + step.unwrap_or_default().mul_f64(first as f64 / 64.0);
        let mut number = first;
        while !seen.stop.get() {
            if let Some(step) = step {
                if due > Instant::now() {
                    tokio::time::sleep_until(due.into()).await;
                }
                due += step;
            }
            let began = Instant::now();
            if let Err(fault) = once(&mut stream, &what[number % what.len()], &mut buffer).await {
                seen.fault(if who == Who::Staff { "staff" } else { "member" }, fault);
                stream = connect(port).await.unwrap();
                continue;
            }
            let took = began.elapsed().as_secs_f64() * 1e6;
            let list = if who == Who::Staff { &seen.staff } else { &seen.members };
            list.borrow_mut().push(took);
            number += 1;
        }
    });
}

/// A client that connects, asks once, and leaves; again and again.
pub fn comes_and_goes(seen: &Rc<Seen>, port: u16, what: Rc<Vec<Request>>, pause: Duration) {
    let seen = Rc::clone(seen);
    spawn_local(async move {
        let mut buffer = Vec::new();
        let mut number = 0;
        while !seen.stop.get() {
            tokio::time::sleep(pause).await;
            let mut stream = connect(port).await.unwrap();
            if let Err(fault) = once(&mut stream, &what[number % what.len()], &mut buffer).await {
                seen.fault("a client that comes and goes", fault);
            }
            number += 1;
        }
    });
}

/// Opens a stream, reads it to its end, opens the next.
pub fn streams(seen: &Rc<Seen>, port: u16, what: Vec<u8>) {
    let seen = Rc::clone(seen);
    spawn_local(async move {
        while !seen.stop.get() {
            let mut stream = connect(port).await.unwrap();
            let mut all = Vec::new();
            stream.write_all(&what).await.unwrap();
            while find(&all, b"\r\n0\r\n\r\n").is_none() {
                match stream.read_buf(&mut all).await {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(_) => break,
                }
                if seen.stop.get() {
                    return;
                }
            }
            let pieces = all.windows(6).filter(|window| window == b"piece:").count();
            if pieces == PIECES {
                seen.streams.set(seen.streams.get() + 1);
            } else {
                seen.fault(
                    "a stream",
                    format!(
                        "{pieces} pieces of {PIECES}: {}",
                        String::from_utf8_lossy(&all[..all.len().min(300)])
                    ),
                );
                tokio::time::sleep(PAUSE).await;
            }
        }
    });
}

/// Opens a WebSocket, sends and takes messages, closes it, opens the next.
pub fn sockets(seen: &Rc<Seen>, port: u16, what: Vec<u8>) {
    let seen = Rc::clone(seen);
    spawn_local(async move {
        while !seen.stop.get() {
            match socket(&seen, port, &what).await {
                Ok(()) => seen.sockets.set(seen.sockets.get() + 1),
                Err(fault) => {
                    seen.fault("a WebSocket", fault);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    });
}

async fn socket(seen: &Seen, port: u16, what: &[u8]) -> Result<(), String> {
    let words = |fault: std::io::Error| fault.to_string();
    let mut stream = connect(port).await.map_err(words)?;
    stream.write_all(what).await.map_err(words)?;
    let mut inbox = Vec::new();
    let end = loop {
        if let Some(end) = find(&inbox, b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut inbox).await.map_err(words)? == 0 {
            return Err("hung up".to_owned());
        }
    };
    if !inbox.starts_with(b"HTTP/1.1 101 ") {
        return Err(String::from_utf8_lossy(&inbox[..inbox.len().min(300)]).into_owned());
    }
    inbox.drain(..end + 4);
    // A text frame of 100 bytes, masked with zeros; what comes back is not masked.
    let payload = [b'w'; 100];
    let sent = [&[0x81, 0x80 | 100, 0, 0, 0, 0][..], &payload].concat();
    let wanted = [&[0x81, 100][..], &payload].concat();
    for _ in 0..MESSAGES {
        if seen.stop.get() {
            return Ok(());
        }
        stream.write_all(&sent).await.map_err(words)?;
        while inbox.len() < wanted.len() {
            if stream.read_buf(&mut inbox).await.map_err(words)? == 0 {
                return Err("cut".to_owned());
            }
        }
        if inbox.drain(..wanted.len()).as_slice() != wanted {
            return Err("another message came back".to_owned());
        }
        tokio::time::sleep(PAUSE).await;
    }
    stream.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.map_err(words)?;
    Ok(())
}
