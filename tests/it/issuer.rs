//! An issuer's address of keys, over real TLS: it answers as it is told to, and counts how often it was asked.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::vouched::side;

/// What is sent once a request came.
#[derive(Clone)]
pub enum Answer {
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// These bytes, then one after another with a pause between them, for as long as somebody reads.
    Dribble(Vec<u8>),
    /// Nothing, and no end.
    Silence,
    /// No TLS at all.
    Hang,
}

impl Answer {
    pub fn json(body: &str) -> Answer {
        Answer::with("200 OK", "Content-Type: application/json\r\n", body)
    }

    pub fn with(status: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        Answer::Bytes(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into())
    }
}

pub struct Issuer {
    pub address: SocketAddr,
    /// The certificate of the authority that vouches for it, in PEM.
    pub authority: String,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Issuer {
    /// An issuer whose certificate names these.
    pub fn named(names: &[&str], answer: Answer) -> Issuer {
        let (config, authority) = side(names);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = Issuer {
            address: listener.local_addr().unwrap(),
            authority,
            answer: Arc::new(Mutex::new(answer)),
            asked: Arc::default(),
            stop: Arc::default(),
        };
        let config = Arc::new(config);
        let (answer, asked, stop) =
            (Arc::clone(&issuer.answer), Arc::clone(&issuer.asked), Arc::clone(&issuer.stop));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(SeqCst) {
                    return;
                }
                let (config, answer) = (Arc::clone(&config), answer.lock().unwrap().clone());
                let (asked, stop) = (Arc::clone(&asked), Arc::clone(&stop));
                std::thread::spawn(move || serve(stream, config, &answer, &asked, &stop));
            }
        });
        issuer
    }

    pub fn start(answer: Answer) -> Issuer {
        Issuer::named(&["127.0.0.1"], answer)
    }

    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// How many requests came.
    pub fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    /// From now on nobody listens there.
    pub fn down(&self) {
        self.stop.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.down();
    }
}

fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    answer: &Answer,
    asked: &AtomicUsize,
    stop: &AtomicBool,
) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let hold = || {
        while !stop.load(SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    if matches!(answer, Answer::Hang) {
        asked.fetch_add(1, SeqCst);
        return hold();
    }
    let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match tls.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("GET /keys?for=postern HTTP/1.1\r\n"), "{head}");
    assert!(!head.to_lowercase().contains("authorization"), "{head}");
    asked.fetch_add(1, SeqCst);
    match answer {
        Answer::Bytes(bytes) => {
            let _ = tls.write_all(bytes);
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
        Answer::Dribble(bytes) => {
            let _ = tls.write_all(bytes);
            while tls.write_all(b" ").and_then(|()| tls.flush()).is_ok() && !stop.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Answer::Silence | Answer::Hang => hold(),
    }
}
