//! The sample application over real loopback sockets, with requests written by hand and assertions signed by a key
//! made for the test. The clock is a number that the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Clock, Options, Sample, Seen, assertion};

mod data;
mod streams;
mod trust;

/// When the tests begin: 14 May 2026, 06:40 UTC.
const START: i64 = 1_778_740_800;
const ISSUER: &str = "https://gateway.test";
const AUDIENCE: &str = "back-office";
/// Longer than anything here takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running application and what is needed to talk to it.
struct Stage {
    sample: Sample,
    address: std::net::SocketAddr,
    key: EncodingKey,
    time: Arc<AtomicI64>,
    stop: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

/// An answer, taken apart.
struct Heard {
    status: u16,
    head: String,
    body: Vec<u8>,
}

fn ec_key() -> EncodingKey {
    let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    EncodingKey::from_ec_der(pair.as_ref())
}

fn public(key: &EncodingKey, algorithm: Algorithm) -> Value {
    serde_json::to_value(Jwk::from_encoding_key(key, algorithm).unwrap()).unwrap()
}

fn header(algorithm: Algorithm) -> Header {
    let mut header = Header::new(algorithm);
    header.typ = Some(assertion::TYP.to_owned());
    header
}

fn options(keys: &Value, now: Clock) -> Options {
    Options {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        keys: keys.to_string(),
        now,
        stands_in: false,
    }
}

impl Stage {
    async fn new() -> Self {
        let key = ec_key();
        let keys = public(&key, Algorithm::ES256);
        Self::with_keys(key, &keys).await
    }

    /// An application that stands in for another one.
    async fn standing_in() -> Self {
        let key = ec_key();
        let keys = public(&key, Algorithm::ES256);
        Self::of(key, |now| Options { stands_in: true, ..options(&keys, now) }).await
    }

    async fn with_keys(key: EncodingKey, keys: &Value) -> Self {
        Self::of(key, |now| options(keys, now)).await
    }

    async fn of(key: EncodingKey, options: impl FnOnce(Clock) -> Options) -> Self {
        let time = Arc::new(AtomicI64::new(START));
        let moving = Arc::clone(&time);
        let now: Clock = Arc::new(move || moving.load(Ordering::SeqCst));
        let sample = Sample::new(options(now)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (serving, stopping) = (sample.clone(), stop.clone());
        let server = tokio::spawn(async move { serving.serve(listener, stopping).await });
        Self { sample, address, key, time, stop, server }
    }

    fn pass(&self, seconds: i64) {
        self.time.fetch_add(seconds, Ordering::SeqCst);
    }

    /// What a good assertion for this request says, by Alice, an administrator of `acme`.
    fn claims(&self, method: &str, target: &str) -> Value {
        let path = target.split('?').next().unwrap();
        let tenant = path.split('/').nth(2).unwrap_or("acme");
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "exp": self.time.load(Ordering::SeqCst) + 30, "iat": START,
            "method": method, "path": path, "kind": "member", "sub": "alice", "tenant": tenant,
            "env": "production", "role": "admin", "jti": "a-1",
        })
    }

    fn sign(&self, claims: &Value) -> String {
        encode(&header(Algorithm::ES256), claims, &self.key).unwrap()
    }

    /// A request by Alice, believed.
    async fn ask(&self, method: &str, target: &str, body: Option<Value>) -> Heard {
        self.ask_as(&self.claims(method, target), method, target, body).await
    }

    async fn ask_as(&self, claims: &Value, method: &str, target: &str, body: Option<Value>) -> Heard {
        let headers = format!("Postern-Assertion: {}\r\n", self.sign(claims));
        self.raw(method, target, &headers, &body.map_or_else(String::new, |body| body.to_string())).await
    }

    /// A request with exactly these headers besides what HTTP needs.
    async fn raw(&self, method: &str, target: &str, headers: &str, body: &str) -> Heard {
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: app\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        Heard::read(stream).await
    }

    /// A request that is left open: the socket, with nothing of the answer read.
    async fn open(&self, method: &str, target: &str, headers: &str) -> TcpStream {
        let token = self.sign(&self.claims(method, target));
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: app\r\nPostern-Assertion: {token}\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    /// What the log says last.
    fn last(&self) -> Seen {
        self.sample.seen().pop().unwrap()
    }

    /// Waits until the last line of the log is as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let waiting = async {
            loop {
                if let Some(seen) = self.sample.seen().pop().filter(&wanted) {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("never {what}: {:?}", self.sample.seen()))
    }
}

impl Heard {
    async fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = head[9..12].parse().unwrap();
        let mut body = bytes.split_off(end);
        if head.contains("transfer-encoding: chunked") {
            body = whole(&body);
        }
        Self { status, head, body }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }
}

/// A chunked body put together; it fails on one that lacks its end.
fn whole(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = chunks.windows(2).position(|two| two == b"\r\n").expect("a body with its end");
        let size = usize::from_str_radix(std::str::from_utf8(&chunks[..line]).unwrap(), 16).unwrap();
        let start = line + 2;
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&chunks[start..start + size]);
        chunks = &chunks[start + size + 2..];
    }
}
