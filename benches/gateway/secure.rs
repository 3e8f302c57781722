//! Requests over TLS, by HTTP/1.1 or HTTP/2: a load as fast as answers come, and one client that asks at a moderate pace.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::SendRequest;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Runtime,
    task::LocalSet,
};
use tokio_rustls::TlsConnector;

use crate::{
    load::{Request, Requests, whole},
    origin::{LARGE, SMALL},
};

/// The same request as HTTP/2 sends it.
pub fn request(request: &Request) -> http::Request<()> {
    let text = std::str::from_utf8(&request.bytes).unwrap();
    let mut lines = text.lines();
    let path = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut builder = http::Request::get(format!("https://app.example{path}"));
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if !name.eq_ignore_ascii_case("host") {
            builder = builder.header(name, value);
        }
    }
    builder.body(()).unwrap()
}

/// A stream to that port, with TLS or without.
async fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// An HTTP/2 connection over TLS; who speaks it runs beside.
pub async fn http2(port: u16, tls: &TlsConnector) -> SendRequest<Bytes> {
    let stream = tls.connect(localhost(), connect(port).await).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "HTTP/2 is not offered");
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(8 << 20)
        .handshake(stream)
        .await
        .unwrap();
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    sender
}

/// One request, and its whole answer.
pub async fn once(sender: &SendRequest<Bytes>, request: http::Request<()>, wanted: usize) {
    let mut sender = sender.clone().ready().await.unwrap();
    let (answer, _) = sender.send_request(request, true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200, "refused");
    let mut body = answer.into_body();
    let mut got = 0;
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        got += piece.len();
        body.flow_control().release_capacity(piece.len()).unwrap();
    }
    assert_eq!(got, wanted);
}

/// The same by HTTP/1.1.
async fn once_plain<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: &Request) {
    stream.write_all(&request.bytes).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    while !whole(&answer, request.wanted()) {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "hung up");
    }
}

/// A connection of any sort, that asks one thing after another.
pub enum Asker {
    Plain(TcpStream),
    Secure(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    Http2(SendRequest<Bytes>),
}

impl Asker {
    pub async fn open(port: u16, tls: Option<&TlsConnector>, by_http2: bool) -> Asker {
        match tls {
            None => Asker::Plain(connect(port).await),
            Some(tls) if by_http2 => Asker::Http2(http2(port, tls).await),
            Some(tls) => {
                Asker::Secure(Box::new(tls.connect(localhost(), connect(port).await).await.unwrap()))
            }
        }
    }

    pub async fn ask(&mut self, what: &Request) {
        match self {
            Asker::Plain(stream) => once_plain(stream, what).await,
            Asker::Secure(stream) => once_plain(stream, what).await,
            Asker::Http2(sender) => once(sender, request(what), what.wanted()).await,
        }
    }
}

/// So many requests of one connection at so many a second; microseconds of each.
pub async fn at_pace(asker: &mut Asker, what: &Request, rate: usize, count: usize) -> Vec<f64> {
    let step = Duration::from_secs_f64(1.0 / rate as f64);
    let begin = Instant::now();
    let mut took = Vec::with_capacity(count);
    for number in 0..count {
        let due = begin + step * u32::try_from(number).unwrap();
        tokio::time::sleep_until(due.into()).await;
        let began = Instant::now();
        asker.ask(what).await;
        took.push(began.elapsed().as_secs_f64() * 1e6);
    }
    took
}

/// HTTP/2 over TLS as fast as answers come: few connections, several streams on each.
pub struct Load {
    runtime: Runtime,
    local: LocalSet,
    senders: Vec<SendRequest<Bytes>>,
    streams: usize,
}

impl Load {
    pub fn new(port: u16, tls: &TlsConnector, connections: usize, streams: usize) -> Load {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = LocalSet::new();
        let senders = local.block_on(&runtime, async {
            let mut senders = Vec::new();
            for _ in 0..connections {
                senders.push(http2(port, tls).await);
            }
            senders
        });
        Load { runtime, local, senders, streams }
    }

    pub fn run(&mut self, requests: &Requests, count: usize) {
        let next = Rc::new(Cell::new(0));
        let made: Rc<Vec<(http::Request<()>, usize)>> = Rc::new(
            requests.iter().map(|one| (request(one), if one.large { LARGE } else { SMALL })).collect(),
        );
        let mut tasks = Vec::new();
        for sender in &self.senders {
            for _ in 0..self.streams {
                let (next, made, sender) = (Rc::clone(&next), Rc::clone(&made), sender.clone());
                tasks.push(self.local.spawn_local(async move {
                    while next.get() < count {
                        let (request, wanted) = &made[next.get() % made.len()];
                        next.set(next.get() + 1);
                        once(&sender, request.clone(), *wanted).await;
                    }
                }));
            }
        }
        self.local.block_on(&self.runtime, async {
            for task in tasks {
                task.await.unwrap();
            }
        });
    }
}
