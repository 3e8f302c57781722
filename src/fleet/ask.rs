//! Asking the other gateways: connections that are kept, one time-out for the whole, no retry and no redirect. A connection begins with
//! the question who is there.
//!
//! Never here: whether what is answered is believed ([`super::check`]).

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};
use tokio_rustls::TlsConnector;

use super::{
    Fleet, Ledger, Link, Peer, PeerFault, check,
    words::{Asked, BEYOND, PAGE, PAGE_BYTES, Part, WHO, WHO_BYTES, Who},
};

/// Connections to one gateway that wait to be used again, and for how long.
const KEPT: usize = 4;
const KEPT_FOR: Duration = Duration::from_secs(20);
/// The most bytes of an answer's head, and the most lines in it.
const MAX_HEAD: usize = 16 << 10;
const MAX_LINES: usize = 32;

/// A connection to a gateway that proved to be the one that is asked.
pub(super) struct Line {
    pub(super) sender: SendRequest<Full<Bytes>>,
    /// Its log.
    pub(super) log: String,
    address: String,
    since: Instant,
}

impl Fleet {
    /// Asks these gateways for a page each, at once. All answers are there when the time is over at the latest; in the order of the
    /// gateways.
    pub async fn pages(
        self: &Arc<Self>,
        asked: Vec<(Peer, Arc<Asked>)>,
        time: Duration,
    ) -> Vec<(Peer, Result<Ledger, PeerFault>)> {
        let mut tasks = JoinSet::new();
        for (number, (peer, asked)) in asked.into_iter().enumerate() {
            let fleet = Arc::clone(self);
            let asking = async move {
                let answered = fleet.page_in_time(&peer, &asked, time).await;
                match &answered {
                    Ok(_) => fleet.counts.answered(&peer),
                    Err(fault) => fleet.counts.missed(&peer, fault),
                }
                (number, peer, answered)
            };
            tasks.spawn_on(asking, &self.background);
        }
        let mut all = Vec::with_capacity(tasks.len());
        while let Some(done) = tasks.join_next().await {
            all.extend(done);
        }
        all.sort_by_key(|(number, ..)| *number);
        all.into_iter().map(|(_, peer, answered)| (peer, answered)).collect()
    }

    /// How long all that is asked for at once may take.
    pub fn timeout(&self) -> Duration {
        self.link.load().timeout
    }

    async fn page_in_time(&self, peer: &Peer, asked: &Asked, time: Duration) -> Result<Ledger, PeerFault> {
        let link = self.link.load_full();
        let page = tokio::time::timeout(time, self.page(peer, asked, &link));
        page.await.unwrap_or(Err(PeerFault::Slow))
    }

    async fn page(&self, peer: &Peer, asked: &Asked, link: &Link) -> Result<Ledger, PeerFault> {
        let (mut line, response) = self.put(peer, PAGE, asked, link).await?;
        let part: Part = read(response, PAGE_BYTES + BEYOND).await?;
        let ledger = check::part(part, asked, &peer.name, &line.log)?;
        // Not where something of the answer is left on it.
        if line.sender.ready().await.is_ok() {
            line.since = Instant::now();
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = kept.entry(peer.name.clone()).or_default();
            if kept.len() < KEPT {
                kept.push(line);
            }
        }
        Ok(ledger)
    }

    /// Puts a question, on a connection that is kept or on a new one.
    pub(super) async fn put(
        &self,
        peer: &Peer,
        path: &str,
        asked: &Asked,
        link: &Link,
    ) -> Result<(Line, Response<Incoming>), PeerFault> {
        let body = Bytes::from(serde_json::to_vec(asked).unwrap_or_default());
        let mut question = request(Method::POST, path, peer, body)?;
        if let Some(mut line) = self.kept(peer) {
            // One that was closed meanwhile gives the question back unsent. What was sent is not sent again.
            match line.sender.try_send_request(question).await {
                Ok(response) => return expected(response).map(|response| (line, response)),
                Err(mut fault) => match fault.take_message() {
                    Some(unsent) => question = unsent,
                    None => return Err(PeerFault::Broken(fault.into_error().to_string())),
                },
            }
        }
        let mut line = self.connect(peer, link).await?;
        let response = line.sender.send_request(question).await.map_err(broken)?;
        expected(response).map(|response| (line, response))
    }

    fn kept(&self, peer: &Peer) -> Option<Line> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = kept.get_mut(&peer.name)?;
        lines.retain(|line| {
            line.address == peer.address && !line.sender.is_closed() && line.since.elapsed() < KEPT_FOR
        });
        lines.pop()
    }

    /// A new connection, to the gateway that is meant.
    async fn connect(&self, peer: &Peer, link: &Link) -> Result<Line, PeerFault> {
        let (host, port) = host_and_port(&peer.address).ok_or(PeerFault::Address)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| PeerFault::Address)?;
        let failed = |fault: std::io::Error| PeerFault::Connect(fault.to_string());
        let stream = TcpStream::connect((host, port)).await.map_err(failed)?;
        let _ = stream.set_nodelay(true);
        let connector = TlsConnector::from(Arc::clone(&link.asking));
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|fault| PeerFault::Tls(fault.to_string()))?;
        let mut builder = Builder::new();
        builder.max_buf_size(MAX_HEAD).max_headers(MAX_LINES);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It ends with the sender, which whoever asks lets go of at the deadline.
        self.background.spawn(connection);
        let question = request(Method::GET, WHO, peer, Bytes::new())?;
        let response = sender.send_request(question).await.map_err(|fault| refused_certificate(&fault))?;
        let who: Who = read(expected(response)?, WHO_BYTES).await?;
        check::who(&who, &peer.name)?;
        if !self.has_log(&who.log, &peer.name) {
            return Err(PeerFault::OtherLog);
        }
        sender.ready().await.map_err(broken)?;
        Ok(Line { sender, log: who.log, address: peer.address.clone(), since: Instant::now() })
    }
}

/// An address as the configuration and the store have it: a name or an address, IPv6 in brackets, and a port.
pub(super) fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    port.parse().ok().map(|port| (host, port))
}

fn request(method: Method, path: &str, peer: &Peer, body: Bytes) -> Result<Request<Full<Bytes>>, PeerFault> {
    let agent = concat!("postern/", env!("CARGO_PKG_VERSION"));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, &peer.address)
        .header(header::USER_AGENT, agent)
        .header(header::CONTENT_TYPE, "application/json");
    request.body(Full::new(body)).map_err(|_| PeerFault::Address)
}

fn broken(fault: hyper::Error) -> PeerFault {
    PeerFault::Broken(fault.to_string())
}

/// In TLS 1.3 a client learns with the first answer only that its certificate was refused.
fn refused_certificate(fault: &hyper::Error) -> PeerFault {
    let mut cause: Option<&dyn std::error::Error> = Some(fault);
    while let Some(one) = cause {
        let inner = one.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return PeerFault::Tls(tls.to_string());
        }
        cause = one.source();
    }
    PeerFault::Broken(fault.to_string())
}

fn expected(response: Response<Incoming>) -> Result<Response<Incoming>, PeerFault> {
    match response.status() {
        StatusCode::OK => Ok(response),
        status => Err(PeerFault::Refused(status.as_u16())),
    }
}

/// Reads an answer whole, as far as it may go.
async fn read<T: serde::de::DeserializeOwned>(
    response: Response<Incoming>,
    most: usize,
) -> Result<T, PeerFault> {
    let mut body = response.into_body();
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(broken)?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > most {
            return Err(PeerFault::Huge);
        }
        whole.extend_from_slice(&data);
    }
    serde_json::from_slice(&whole).map_err(|_| PeerFault::Malformed("it is no answer to this question"))
}
