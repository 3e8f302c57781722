//! A peer that answers what a test says: with a certificate of the fleet or another, or not at all.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use postern::audit::{
    record::{self, Lead, push_lead},
    tree::Hash,
};
use rustls::{ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// What is done with a question: its path and its body are handed in, bytes come back. `None`: nothing, for as long as somebody waits.
pub type Script = dyn Fn(&str, &Value) -> Option<Vec<u8>> + Send + Sync;

pub struct Fake {
    pub address: SocketAddr,
    /// Connections that came, and questions.
    pub met: Arc<AtomicUsize>,
    pub asked: Arc<AtomicUsize>,
    /// Bytes that somebody took.
    pub written: Arc<AtomicUsize>,
}

/// Listens for as long as the process runs; each connection has a thread of its own.
pub fn fake(config: Arc<rustls::ServerConfig>, script: Arc<Script>) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let fake = Fake {
        address: listener.local_addr().unwrap(),
        met: Arc::default(),
        asked: Arc::default(),
        written: Arc::default(),
    };
    let counts = [&fake.met, &fake.asked, &fake.written].map(Arc::clone);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            counts[0].fetch_add(1, SeqCst);
            let (config, script, counts) = (Arc::clone(&config), Arc::clone(&script), counts.clone());
            std::thread::spawn(move || serve(stream, config, &*script, &counts[1], &counts[2]));
        }
    });
    fake
}

/// Takes connections and says nothing at all.
pub fn deaf() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn serve(
    stream: TcpStream,
    config: Arc<rustls::ServerConfig>,
    script: &Script,
    asked: &AtomicUsize,
    written: &AtomicUsize,
) {
    let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut inbox = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        let Some(at) = inbox.windows(4).position(|w| w == b"\r\n\r\n") else {
            match tls.read(&mut piece) {
                Ok(count) if count > 0 => inbox.extend_from_slice(&piece[..count]),
                _ => return,
            }
            continue;
        };
        let head = String::from_utf8(inbox[..at].to_vec()).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length: ").map(|n| n.parse::<usize>().unwrap())
        });
        let end = at + 4 + length.unwrap_or(0);
        while inbox.len() < end {
            match tls.read(&mut piece) {
                Ok(count) if count > 0 => inbox.extend_from_slice(&piece[..count]),
                _ => return,
            }
        }
        let body = serde_json::from_slice(&inbox[at + 4..end]).unwrap_or(Value::Null);
        inbox.drain(..end);
        asked.fetch_add(1, SeqCst);
        match script(&path, &body) {
            Some(bytes) => {
                for slice in bytes.chunks(16 << 10) {
                    if tls.write_all(slice).and_then(|()| tls.flush()).is_err() {
                        return;
                    }
                    written.fetch_add(slice.len(), SeqCst);
                }
                if !bytes.starts_with(b"HTTP/1.1 200") {
                    return;
                }
            }
            // Until whoever asked lets go.
            None => while matches!(tls.read(&mut piece), Ok(count) if count > 0) {},
        }
    }
}

/// An answer with this body.
pub fn answer(body: &[u8]) -> Vec<u8> {
    let mut whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    whole.extend_from_slice(body);
    whole
}

pub fn who(gateway: &str, log: &str) -> Vec<u8> {
    answer(json!({"gateway": gateway, "log": log, "size": 10}).to_string().as_bytes())
}

/// An item as a ledger of this name has it.
pub fn item(log: &str, seq: u64, at_ms: i64, tenant: &str) -> String {
    let mut line = Vec::new();
    let lead = Lead {
        log,
        seq,
        batch: seq,
        at_ms,
        kind: "change.intent",
        session: None,
        opens: None,
        closes: None,
        prev: Hash::ZERO,
    };
    push_lead(&mut line, &lead);
    line.extend_from_slice(format!(",\"tenant\":\"{tenant}\"}}").as_bytes());
    let leaf = record::parse(&line).unwrap().hash().hex();
    format!("{{\"seq\":{seq},\"leaf\":\"{leaf}\",\"record\":{}}}", String::from_utf8(line).unwrap())
}

/// A page of ten records, of which these are the tenant's.
pub fn part(gateway: &str, log: &str, items: &[String]) -> String {
    format!(
        "{{\"gateway\":\"{gateway}\",\"log\":\"{log}\",\"size\":10,\"items\":[{}],\"next\":10,\"complete\":true,\"until\":null}}",
        items.join(",")
    )
}
