//! Servers of one application that can be killed, brought back and made ill, each on a port of its own.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

/// How a server answers a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    #[default]
    Well,
    Fails,
    Hangs,
    Garbage,
    Redirects,
    /// Says 103 again and again, and never anything else.
    Interim,
    HangsUp,
}

#[derive(Default)]
struct Inside {
    name: usize,
    dead: AtomicBool,
    mood: Mutex<Mood>,
    open: Mutex<Vec<TcpStream>>,
    /// Held while a request is answered.
    answering: Mutex<()>,
    /// How often each request came, by its target.
    seen: Mutex<HashMap<String, usize>>,
    checks: AtomicU64,
    /// The heads of checks.
    asked: Mutex<Vec<String>>,
}

/// See the file's header.
pub struct Server {
    pub address: SocketAddr,
    inside: Arc<Inside>,
}

impl Server {
    pub fn start(name: usize) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inside = Arc::new(Inside { name, ..Inside::default() });
        run(listener, Arc::clone(&inside));
        Server { address, inside }
    }

    /// Closes everything, as the end of a process does. No request is half answered; how many connections were open.
    pub fn kill(&self) -> usize {
        let _none = self.inside.answering.lock().unwrap();
        self.inside.dead.store(true, SeqCst);
        // Wakes whoever accepts, who then goes.
        let _ = TcpStream::connect(self.address);
        let open = std::mem::take(&mut *self.inside.open.lock().unwrap());
        for stream in &open {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        crate::world::until("nobody listens", || TcpStream::connect(self.address).is_err());
        open.len()
    }

    /// A new process at the same place.
    pub fn again(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        let inside = Arc::new(Inside { name: self.inside.name, ..Inside::default() });
        *inside.seen.lock().unwrap() = self.inside.seen.lock().unwrap().clone();
        run(listener, Arc::clone(&inside));
        self.inside = inside;
    }

    pub fn mood(&self, mood: Mood) {
        *self.inside.mood.lock().unwrap() = mood;
    }

    pub fn seen(&self) -> HashMap<String, usize> {
        self.inside.seen.lock().unwrap().clone()
    }

    pub fn requests(&self) -> usize {
        self.inside.seen.lock().unwrap().values().sum()
    }

    pub fn checks(&self) -> u64 {
        self.inside.checks.load(SeqCst)
    }

    pub fn asked(&self) -> Vec<String> {
        self.inside.asked.lock().unwrap().clone()
    }
}

fn run(listener: TcpListener, inside: Arc<Inside>) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if inside.dead.load(SeqCst) {
                return;
            }
            inside.open.lock().unwrap().push(stream.try_clone().unwrap());
            let inside = Arc::clone(&inside);
            std::thread::spawn(move || serve(stream, &inside));
        }
    });
}

fn serve(mut stream: TcpStream, inside: &Inside) -> Option<()> {
    let mut inbox: Vec<u8> = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = inbox.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            let mut piece = [0u8; 4096];
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => return None,
                Ok(count) => inbox.extend_from_slice(&piece[..count]),
            }
        };
        let answering = inside.answering.lock().unwrap();
        if inside.dead.load(SeqCst) {
            return None;
        }
        let head = String::from_utf8(inbox.drain(..end).collect()).unwrap();
        let target = head.split(' ').nth(1).unwrap().to_owned();
        if target.starts_with("/healthz") {
            drop(answering);
            inside.checks.fetch_add(1, SeqCst);
            inside.asked.lock().unwrap().push(head);
            let mood = *inside.mood.lock().unwrap();
            check(&mut stream, mood)?;
            continue;
        }
        *inside.seen.lock().unwrap().entry(target).or_default() += 1;
        let name = inside.name.to_string();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

fn check(stream: &mut TcpStream, mood: Mood) -> Option<()> {
    let answer: &[u8] = match mood {
        Mood::Well => b"HTTP/1.1 204 No Content\r\n\r\n",
        Mood::Fails => b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        Mood::Redirects => b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
        Mood::Garbage => b"\x00\x01\x02 200 OK no HTTP\r\n\r\n",
        Mood::HangsUp => return None,
        Mood::Hangs => {
            std::thread::sleep(Duration::from_secs(3));
            return None;
        }
        Mood::Interim => loop {
            stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").ok()?;
            std::thread::sleep(Duration::from_millis(5));
        },
    };
    stream.write_all(answer).ok()
}

/// A place where connections are neither taken nor refused.
pub struct Swamp {
    pub address: SocketAddr,
    _listener: socket2::Socket,
    _waiting: Vec<socket2::Socket>,
}

impl Swamp {
    pub fn new() -> Swamp {
        let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let listener = socket();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        // Nobody accepts: as many as the kernel holds for a listener, and then none.
        let waiting = (0..8)
            .map(|_| {
                let one = socket();
                one.set_nonblocking(true).unwrap();
                let _ = one.connect(&address);
                one
            })
            .collect();
        Swamp { address: address.as_socket().unwrap(), _listener: listener, _waiting: waiting }
    }
}
