//! An application that speaks HTTP/2, in clear or over TLS, and behaves as the query of a request asks: `?do=echo`.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    server::{Builder, SendResponse},
};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    runtime::Runtime,
    sync::Semaphore,
};

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub uri: String,
    pub headers: HeaderMap,
    pub trailers: Option<HeaderMap>,
    pub body: usize,
    /// On which connection, counted from one.
    pub connection: u64,
}

pub struct Notes {
    pub seen: Mutex<Vec<Seen>>,
    pub connections: AtomicU64,
    /// Connections that ended in order.
    pub ended: AtomicU64,
    /// Bytes of answers that were given to connections.
    pub sent: AtomicU64,
    /// Bytes of bodies.
    pub received: AtomicU64,
    /// Why streams were reset by the other side.
    pub resets: Mutex<Vec<Reason>>,
    /// Streams that `do=refuse` still refuses.
    pub refuse: AtomicUsize,
    go: Semaphore,
}

pub struct Application {
    pub address: SocketAddr,
    pub notes: Arc<Notes>,
    _runtime: Runtime,
}

/// How it is, where it differs from the usual.
#[derive(Clone, Default)]
pub struct Manner {
    pub streams: Option<u32>,
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

impl Application {
    pub fn start() -> Application {
        Application::of(Manner::default())
    }

    pub fn of(manner: Manner) -> Application {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let notes = Arc::new(Notes {
            seen: Mutex::default(),
            connections: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            resets: Mutex::default(),
            refuse: AtomicUsize::new(0),
            go: Semaphore::new(0),
        });
        let shared = Arc::clone(&notes);
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let number = shared.connections.fetch_add(1, SeqCst) + 1;
                let (notes, manner) = (Arc::clone(&shared), manner.clone());
                tokio::spawn(async move {
                    match manner.tls {
                        None => serve(stream, notes, number, manner.streams).await,
                        Some(config) => {
                            let accepted = tokio_rustls::TlsAcceptor::from(config).accept(stream).await;
                            if let Ok(stream) = accepted {
                                serve(stream, notes, number, manner.streams).await;
                            }
                        }
                    }
                });
            }
        });
        Application { address, notes, _runtime: runtime }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.notes.seen.lock().unwrap().clone()
    }

    pub fn last(&self) -> Seen {
        self.seen().pop().expect("the application saw a request")
    }

    pub fn connections(&self) -> u64 {
        self.notes.connections.load(SeqCst)
    }

    pub fn ended(&self) -> u64 {
        self.notes.ended.load(SeqCst)
    }

    pub fn sent(&self) -> u64 {
        self.notes.sent.load(SeqCst)
    }

    pub fn received(&self) -> u64 {
        self.notes.received.load(SeqCst)
    }

    pub fn resets(&self) -> Vec<Reason> {
        self.notes.resets.lock().unwrap().clone()
    }

    /// Lets that many of those that wait go on.
    pub fn release(&self, count: usize) {
        self.notes.go.add_permits(count);
    }
}

async fn serve<T: AsyncRead + AsyncWrite + Unpin>(
    stream: T,
    notes: Arc<Notes>,
    number: u64,
    most: Option<u32>,
) {
    let mut builder = Builder::new();
    builder.initial_window_size(64 << 10).initial_connection_window_size(16 << 20);
    if let Some(most) = most {
        builder.max_concurrent_streams(most);
    }
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    loop {
        let (request, respond) = match connection.accept().await {
            Some(Ok(begun)) => begun,
            Some(Err(_)) => return,
            None => {
                notes.ended.fetch_add(1, SeqCst);
                return;
            }
        };
        if request.uri().query() == Some("do=go-away") {
            connection.graceful_shutdown();
        }
        let notes = Arc::clone(&notes);
        tokio::spawn(async move {
            if let Err(Gone(Some(reason))) = answer(request, respond, &notes, number).await {
                notes.resets.lock().unwrap().push(reason);
            }
        });
    }
}

fn ok() -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn status(code: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(code));
    trailers
}

async fn more(body: &mut RecvStream, notes: &Notes) -> Result<Option<Bytes>, h2::Error> {
    match body.data().await.transpose()? {
        None => Ok(None),
        Some(data) => {
            notes.received.fetch_add(data.len() as u64, SeqCst);
            body.flow_control().release_capacity(data.len())?;
            Ok(Some(data))
        }
    }
}

/// Why a stream is over, as an error of the other side's.
fn gone(reset: Result<Reason, h2::Error>) -> Gone {
    reset.map_or_else(Gone::from, |reason| Gone(Some(reason)))
}

/// A stream that is over, and why, where the other side said so.
struct Gone(Option<Reason>);

impl From<h2::Error> for Gone {
    fn from(fault: h2::Error) -> Gone {
        Gone(fault.reason().filter(|_| fault.is_remote()))
    }
}

async fn say(stream: &mut SendStream<Bytes>, mut data: Bytes, notes: &Notes) -> Result<(), Gone> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(room) => room?,
            // It takes no more: the other side says why.
            None => return Err(gone(std::future::poll_fn(|cx| stream.poll_reset(cx)).await)),
        };
        let now = data.split_to(room.min(data.len()));
        notes.sent.fetch_add(now.len() as u64, SeqCst);
        stream.send_data(now, false)?;
    }
    Ok(())
}

#[allow(clippy::too_many_lines, reason = "one arm for each behaviour")]
async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    notes: &Notes,
    connection: u64,
) -> Result<(), Gone> {
    let (parts, mut body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let deed = query.split('&').find_map(|pair| pair.strip_prefix("do=")).unwrap_or("hello");
    if deed == "refuse" && notes.refuse.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
        respond.send_reset(Reason::REFUSED_STREAM);
        return Ok(());
    }
    let index = {
        let mut all = notes.seen.lock().unwrap();
        all.push(Seen {
            method: parts.method.to_string(),
            uri: parts.uri.to_string(),
            headers: parts.headers.clone(),
            trailers: None,
            body: 0,
            connection,
        });
        all.len() - 1
    };
    match deed {
        // Message by message, and the trailers that came as headers of its own.
        "echo" => {
            let mut stream = respond.send_response(ok(), false)?;
            while let Some(data) = more(&mut body, notes).await? {
                notes.seen.lock().unwrap()[index].body += data.len();
                say(&mut stream, data, notes).await?;
            }
            let came = body.trailers().await?;
            notes.seen.lock().unwrap()[index].trailers.clone_from(&came);
            let mut trailers = status("0");
            trailers.insert("grpc-message", HeaderValue::from_static("all%20well"));
            trailers.insert("x-custom-bin", HeaderValue::from_static("AAEC"));
            stream.send_trailers(trailers)?;
        }
        // Has made a card, and says so in two pieces.
        "created" => {
            let mut response = ok();
            *response.status_mut() = http::StatusCode::CREATED;
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
            let mut stream = respond.send_response(response, false)?;
            say(&mut stream, Bytes::from_static(b"{\"data\":{\"id\""), notes).await?;
            stream.send_data(Bytes::from_static(b":\"c1\"}}"), true)?;
        }
        "forever" => {
            let mut stream = respond.send_response(ok(), false)?;
            loop {
                say(&mut stream, Bytes::from(vec![b'x'; 0x4000]), notes).await?;
            }
        }
        // Small frames of many sizes, for ever.
        "crumbs" => {
            let mut stream = respond.send_response(ok(), false)?;
            for number in 0.. {
                say(&mut stream, Bytes::from(vec![b'x'; 1 + number % 100]), notes).await?;
            }
        }
        "count" => {
            let mut stream = respond.send_response(ok(), false)?;
            for number in 0..50u8 {
                say(&mut stream, Bytes::from(vec![number; 1000]), notes).await?;
            }
            stream.send_trailers(status("0"))?;
        }
        // A list in pieces, with all that could count it.
        "cards" | "cards-broken" => {
            let mut response = Response::new(());
            for (name, value) in
                [("content-type", "application/json"), ("etag", "\"a\""), ("x-total-count", "4")]
            {
                response.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            let mut stream = respond.send_response(response, false)?;
            let rest = if deed == "cards" { r#"},{"id":"c4"}],"total":4}"# } else { "},NaN]}" };
            for piece in [r#"{"cards":[{"id":"c1"},{"i"#, r#"d":"c2"},{"id":"c"#, r#"3""#, rest] {
                say(&mut stream, Bytes::from_static(piece.as_bytes()), notes).await?;
                tokio::task::yield_now().await;
            }
            stream.send_trailers(status("4"))?;
        }
        "trailers-only" => {
            let mut response = ok();
            response.headers_mut().extend(status("5"));
            respond.send_response(response, true)?;
        }
        "bad-trailers" => {
            let mut stream = respond.send_response(ok(), false)?;
            say(&mut stream, Bytes::from_static(b"hello"), notes).await?;
            let mut trailers = status("0");
            for name in
                ["postern-assertion", "x-user", "x_user", "set-cookie", "content-length", "authorization"]
            {
                trailers.insert(name, HeaderValue::from_static("1"));
            }
            stream.send_trailers(trailers)?;
        }
        // Answers before it has read.
        "early" => {
            let mut stream = respond.send_response(ok(), false)?;
            say(&mut stream, Bytes::from_static(b"enough"), notes).await?;
            stream.send_trailers(status("8"))?;
        }
        "stall" => {
            std::future::poll_fn(|cx| respond.poll_reset(cx)).await.map(|reason| {
                notes.resets.lock().unwrap().push(reason);
            })?;
        }
        // Takes what comes, and says nothing.
        "sip" => while more(&mut body, notes).await?.is_some() {},
        "slow" => {
            notes.go.acquire().await.unwrap().forget();
            let mut stream = respond.send_response(ok(), false)?;
            stream.send_data(Bytes::from_static(b"hello"), true)?;
        }
        "break" => {
            let mut stream = respond.send_response(ok(), false)?;
            say(&mut stream, Bytes::from_static(b"half"), notes).await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
        "interim" => {
            for _ in 0..3 {
                let hints = Response::builder().status(103).header("link", "</a>").body(()).unwrap();
                respond.send_informational(hints)?;
            }
            respond.send_response(ok(), false)?.send_data(Bytes::from_static(b"hello"), true)?;
        }
        "cookie" => {
            let response = Response::builder()
                .header("set-cookie", "sid=1")
                .header("cache-control", "public")
                .header("content-length", "5")
                .body(())
                .unwrap();
            respond.send_response(response, false)?.send_data(Bytes::from_static(b"hello"), true)?;
        }
        "none" => {
            respond.send_response(Response::builder().status(204).body(()).unwrap(), true)?;
        }
        _ => {
            while more(&mut body, notes).await?.is_some() {}
            let mut response = ok();
            response.headers_mut().insert("content-length", HeaderValue::from_static("5"));
            let end = parts.method == "HEAD";
            let mut stream = respond.send_response(response, end)?;
            if !end {
                stream.send_data(Bytes::from_static(b"hello"), true)?;
            }
        }
    }
    Ok(())
}
