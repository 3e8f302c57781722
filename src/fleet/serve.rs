//! The peers' listener: TLS with a certificate of the fleet's authority, HTTP/1.1, and three calls. Whoever shows no such certificate
//! gets no further than the handshake.
//!
//! Never here: whether a tenant's record may be read; the gateway that asks has decided that.

use std::{convert::Infallible, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    Fleet,
    read::{self, PageFault, Reader},
    stream::{Answered, lines},
    words::{Asked, FOLLOW, PAGE, QUESTION, WHO, Who},
};

/// Connections that are in their handshake, and that are past it. Whoever shows no certificate takes none of the second.
const HANDSHAKES: usize = 64;
const CONNECTIONS: usize = 512;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a connection may be without a question: longer than those that ask keep one.
const IDLE: Duration = Duration::from_secs(60);
/// How long a question may take to come whole.
const QUESTION_TIME: Duration = Duration::from_secs(5);
/// The most bytes of a question's head, and the most lines in it.
const MAX_HEAD: usize = 16 << 10;
const MAX_LINES: usize = 32;
/// How often it is looked whether there is something new.
const LOOK: Duration = Duration::from_millis(250);
/// Looks without anything new, after which a line says that somebody is there: [`super::follow::BEAT`].
const SILENT: u32 = 4;
/// How long somebody who follows may take nothing.
const TAKES_NOTHING: Duration = Duration::from_secs(30);

impl Fleet {
    /// Serves the other gateways until the halt.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, halt: CancellationToken) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = halt.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Ok(shaking) = Arc::clone(&handshakes).try_acquire_owned() else {
                self.counts.turned_away.fetch_add(1, Relaxed);
                continue;
            };
            let (fleet, connections, halt) = (Arc::clone(&self), Arc::clone(&connections), halt.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = fleet.meet(stream, shaking, connections, &halt) => {}
                    () = halt.cancelled() => {}
                }
            });
        }
    }

    async fn meet(
        self: &Arc<Self>,
        stream: TcpStream,
        shaking: OwnedSemaphorePermit,
        connections: Arc<Semaphore>,
        halt: &CancellationToken,
    ) {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.link.load().serving));
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else {
            self.counts.unproved.fetch_add(1, Relaxed);
            return;
        };
        drop(shaking);
        let Ok(_place) = connections.try_acquire_owned() else {
            self.counts.turned_away.fetch_add(1, Relaxed);
            return;
        };
        let service = service_fn(move |request| {
            let (fleet, halt) = (Arc::clone(self), halt.clone());
            async move { Ok::<_, Infallible>(fleet.answer(request, halt).await) }
        });
        // What breaks is the other's to notice; it names this gateway as missing.
        let _ = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_LINES)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        halt: CancellationToken,
    ) -> Response<Answered> {
        let answered = match (request.method(), request.uri().path()) {
            (&Method::GET, WHO) => Ok(json(&self.who())),
            (&Method::POST, PAGE) => match question(request).await {
                Ok(asked) => self.tell_page(asked).await,
                Err(status) => Err(status),
            },
            (&Method::POST, FOLLOW) => match question(request).await {
                Ok(asked) => self.tell_on(&asked, halt),
                Err(status) => Err(status),
            },
            (_, WHO | PAGE | FOLLOW) => Err(StatusCode::METHOD_NOT_ALLOWED),
            (_, _) => Err(StatusCode::NOT_FOUND),
        };
        match answered {
            Ok(answer) => {
                self.counts.served.fetch_add(1, Relaxed);
                answer
            }
            Err(status) => {
                let mut answer = Response::new(Either::Left(Full::default()));
                *answer.status_mut() = status;
                answer
            }
        }
    }

    fn who(&self) -> Who {
        let (gateway, log) = (self.gateway.clone(), self.journal.origin().to_owned());
        Who { gateway, log, size: self.journal.status().size }
    }

    async fn tell_page(self: &Arc<Self>, asked: Asked) -> Result<Response<Answered>, StatusCode> {
        let turn = Arc::clone(&self.turns.pages).acquire_owned().await;
        let turn = turn.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        let fleet = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || {
            // Held by whoever reads, who goes on when nobody waits any more.
            let _turn = turn;
            read::page(&fleet.journal, &fleet.gateway, &asked).map(|(part, _)| json(&part))
        });
        read.await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?.map_err(|fault| refusal(&fault))
    }

    fn tell_on(
        self: &Arc<Self>,
        asked: &Asked,
        halt: CancellationToken,
    ) -> Result<Response<Answered>, StatusCode> {
        let Ok(seat) = Arc::clone(&self.turns.following).try_acquire_owned() else {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        };
        let reader = Reader::new(&self.journal, asked).map_err(|fault| refusal(&fault))?;
        let (into, body) = lines();
        let fleet = Arc::clone(self);
        tokio::spawn(async move {
            let _seat = seat;
            tokio::select! {
                () = fleet.keep_telling(reader, &into) => {}
                () = into.closed() => {}
                () = halt.cancelled() => {}
            }
        });
        let mut answer = Response::new(Either::Right(body));
        let kind = header::HeaderValue::from_static("application/x-ndjson");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        Ok(answer)
    }

    /// Puts in a line whenever there is something new, and now and then where there is not.
    async fn keep_telling(&self, mut reader: Reader, into: &mpsc::Sender<Bytes>) {
        // The first line says who answers, and how far it is.
        let mut silent = SILENT;
        loop {
            let size = self.journal.status().size;
            if size > reader.next || silent >= SILENT {
                let Ok(turn) = Arc::clone(&self.turns.lines).acquire_owned().await else { return };
                let (gateway, log) = (self.gateway.clone(), self.journal.origin().to_owned());
                let read = tokio::task::spawn_blocking(move || {
                    let _turn = turn;
                    reader.look(size, &gateway, &log)
                });
                let part = match read.await {
                    Ok(Ok((on, part))) => {
                        reader = on;
                        part
                    }
                    Ok(Err(fault)) => return tracing::error!(%fault, "the ledger cannot be followed"),
                    Err(_) => return,
                };
                // What is of other tenants makes no line of its own.
                if !part.items.is_empty() || silent >= SILENT {
                    silent = 0;
                    let mut line = serde_json::to_vec(&part).unwrap_or_default();
                    line.push(b'\n');
                    let taken = tokio::time::timeout(TAKES_NOTHING, into.send(Bytes::from(line))).await;
                    if !matches!(taken, Ok(Ok(()))) {
                        return;
                    }
                }
                if !part.complete {
                    continue;
                }
            }
            silent += 1;
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What is asked, read whole and strictly.
async fn question<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, StatusCode> {
    let body = Limited::new(request.into_body(), QUESTION).collect();
    let body = tokio::time::timeout(QUESTION_TIME, body).await.map_err(|_| StatusCode::REQUEST_TIMEOUT)?;
    let body = body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?.to_bytes();
    serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)
}

fn refusal(fault: &PageFault) -> StatusCode {
    match fault {
        PageFault::OtherLedger => StatusCode::CONFLICT,
        PageFault::Read(fault) => {
            tracing::error!(%fault, "the ledger cannot be read for another gateway");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

fn json(body: &impl Serialize) -> Response<Answered> {
    // Shapes of this room hold texts, numbers and lists; writing them cannot fail.
    let body = Bytes::from(serde_json::to_vec(body).unwrap_or_default());
    let mut answer = Response::new(Either::Left(Full::new(body)));
    let kind = header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
