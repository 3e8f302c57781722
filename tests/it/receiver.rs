//! A receiver of webhooks, in clear or over real TLS: it keeps what it was told, and answers as it is told to.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::{vouched::side, world::until};

/// What is answered.
#[derive(Clone)]
pub enum Answer {
    /// This status, with these header lines and nothing else.
    Status(u16, String),
    /// This status, after a while.
    Late(u16, Duration),
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// These bytes, then one after another with a pause between them, for as long as somebody reads.
    Dribble(Vec<u8>),
    /// These bytes, then as many more as somebody takes.
    Endless(Vec<u8>),
    /// Nothing, and no end.
    Silence,
}

impl Answer {
    pub fn status(status: u16) -> Answer {
        Answer::Status(status, String::new())
    }
}

/// One request.
#[derive(Debug, Clone)]
pub struct Told {
    pub head: String,
    pub body: Vec<u8>,
    /// It was answered with 2xx.
    pub taken: bool,
}

impl Told {
    pub fn header(&self, name: &str) -> String {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let found = lines.find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.unwrap_or_else(|| panic!("no {name} in {}", self.head)).1.to_owned()
    }

    pub fn id(&self) -> String {
        self.header("webhook-id")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Its type and its session.
    pub fn what(&self) -> (String, String) {
        let body = self.json();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&body["type"]), text(&body["data"]["session"]))
    }

    /// Whether one of its signatures is by this secret, worked out by RFC 2104 itself.
    pub fn is_signed(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut text = format!("{}.{}.", self.id(), self.header("webhook-timestamp")).into_bytes();
        text.extend(&self.body);
        let expected = format!("v1,{}", STANDARD.encode(hmac(&key, &text)));
        self.header("webhook-signature").split(' ').any(|one| one == expected)
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0u8; 64];
    block[..key.len()].copy_from_slice(key);
    let padded = |with: u8, rest: &[u8]| {
        let mut all: Vec<u8> = block.iter().map(|byte| byte ^ with).collect();
        all.extend(rest);
        digest(&SHA256, &all)
    };
    padded(0x5c, padded(0x36, text).as_ref()).as_ref().to_vec()
}

pub struct Receiver {
    pub address: SocketAddr,
    /// The certificate of the authority that vouches for it, in PEM.
    pub authority: String,
    told: Arc<Mutex<Vec<Told>>>,
    answer: Arc<Mutex<Answer>>,
    stop: Arc<AtomicBool>,
}

impl Receiver {
    pub fn start() -> Receiver {
        Receiver::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// One that takes all, at this address.
    pub fn at(address: SocketAddr) -> Receiver {
        Receiver::serving(address, None, String::new())
    }

    /// One over TLS, whose certificate names these.
    pub fn tls(names: &[&str]) -> Receiver {
        let (config, authority) = side(names);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Receiver::serving(address, Some(Arc::new(config)), authority)
    }

    fn serving(address: SocketAddr, tls: Option<Arc<ServerConfig>>, authority: String) -> Receiver {
        let listener = TcpListener::bind(address).unwrap();
        let receiver = Receiver {
            address: listener.local_addr().unwrap(),
            authority,
            told: Arc::default(),
            answer: Arc::new(Mutex::new(Answer::status(204))),
            stop: Arc::default(),
        };
        let (told, answer, stop) =
            (Arc::clone(&receiver.told), Arc::clone(&receiver.answer), Arc::clone(&receiver.stop));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(SeqCst) {
                    return;
                }
                let (told, answer, stop, tls) =
                    (Arc::clone(&told), Arc::clone(&answer), Arc::clone(&stop), tls.clone());
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                    match tls {
                        None => serve(stream, &told, &answer, &stop),
                        Some(config) => {
                            let connection = ServerConnection::new(config).unwrap();
                            serve(StreamOwned::new(connection, stream), &told, &answer, &stop);
                        }
                    }
                });
            }
        });
        receiver
    }

    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until so many requests came; all that did.
    pub fn until(&self, count: usize) -> Vec<Told> {
        until(&format!("{count} requests come"), || self.told().len() >= count);
        self.told()
    }

    /// From now on nobody listens there.
    pub fn down(&self) {
        self.stop.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
        until("nobody listens", || TcpStream::connect(self.address).is_err());
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: impl Read + Write, told: &Mutex<Vec<Told>>, answer: &Mutex<Answer>, stop: &AtomicBool) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let mut one = Told { head: String::from_utf8(head).unwrap(), body: Vec::new(), taken: false };
    one.body = vec![0; one.header("content-length").parse().unwrap()];
    if stream.read_exact(&mut one.body).is_err() {
        return;
    }
    // What is answered to a request is what counts when it is counted.
    let answer = {
        let answer = answer.lock().unwrap().clone();
        one.taken = matches!(answer, Answer::Status(200..300, _) | Answer::Late(200..300, _));
        told.lock().unwrap().push(one);
        answer
    };
    match answer {
        Answer::Status(status, headers) => {
            let _ = stream.write_all(
                format!("HTTP/1.1 {status} Said\r\n{headers}Content-Length: 0\r\n\r\n").as_bytes(),
            );
        }
        Answer::Late(status, pause) => {
            std::thread::sleep(pause);
            let _ =
                stream.write_all(format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n").as_bytes());
        }
        Answer::Bytes(bytes) => {
            let _ = stream.write_all(&bytes);
        }
        Answer::Dribble(bytes) => {
            let _ = stream.write_all(&bytes);
            while stream.write_all(b" ").and_then(|()| stream.flush()).is_ok() && !stop.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Answer::Endless(bytes) => {
            let _ = stream.write_all(&bytes);
            let more = vec![b'x'; 64 << 10];
            while stream.write_all(&more).is_ok() && !stop.load(SeqCst) {}
        }
        Answer::Silence => {
            while !stop.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    let _ = stream.flush();
}
