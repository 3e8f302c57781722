//! A client over HTTP/2, in clear or over TLS, whose connection runs in the background.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::ResponseFuture};
use http::{HeaderMap, Request};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::Runtime,
    task::JoinHandle,
};

use crate::{client::PATIENCE, world::*};

/// A world that speaks HTTP/2 in clear.
pub fn clear(plan: Plan) -> World {
    World::of(plan.edit("workers: 2", "workers: 2\nhttp2: prior_knowledge"))
}

pub struct Peer {
    pub rt: Runtime,
    send: h2::client::SendRequest<Bytes>,
    pub driver: JoinHandle<Result<(), h2::Error>>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }
}

async fn shake<T>(io: T, window: u32) -> (h2::client::SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(1 << 20);
    let (send, connection) = builder.handshake::<_, Bytes>(io).await.unwrap();
    (send, tokio::spawn(connection))
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

impl Peer {
    pub fn connect(address: SocketAddr) -> Peer {
        Peer::with_window(address, 64 << 10)
    }

    pub fn with_window(address: SocketAddr, window: u32) -> Peer {
        let rt = runtime();
        let (send, driver) =
            rt.block_on(async { shake(TcpStream::connect(address).await.unwrap(), window).await });
        Peer { rt, send, driver }
    }

    /// Where these bytes stand before everything.
    pub fn behind(address: SocketAddr, header: &[u8]) -> Peer {
        let rt = runtime();
        let (send, driver) = rt.block_on(async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, header).await.unwrap();
            shake(stream, 64 << 10).await
        });
        Peer { rt, send, driver }
    }

    /// Over TLS, believing that authority; which protocol was agreed on.
    pub fn secure(address: SocketAddr, authority: &[u8], alpn: &[&[u8]]) -> (Option<Vec<u8>>, Option<Peer>) {
        let rt = runtime();
        let mut roots = RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(authority).unwrap()).unwrap();
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let (agreed, parts) = rt.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("app.example").unwrap();
            let stream =
                tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
            let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            let parts =
                if agreed.as_deref() == Some(b"h2") { Some(shake(stream, 64 << 10).await) } else { None };
            (agreed, parts)
        });
        (agreed, parts.map(|(send, driver)| Peer { rt, send, driver }))
    }

    /// A request whose body may follow.
    pub fn begin(
        &self,
        method: &str,
        target: &str,
        token: &str,
        more: &[(&str, &str)],
        end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        self.begin_at("http://app.example", method, target, token, more, end)
    }

    pub fn begin_at(
        &self,
        host: &str,
        method: &str,
        target: &str,
        token: &str,
        more: &[(&str, &str)],
        end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::builder().method(method).uri(format!("{host}{target}"));
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        self.rt.block_on(async {
            let mut ready = self.send.clone().ready().await.unwrap();
            ready.send_request(request.body(()).unwrap(), end).unwrap()
        })
    }

    /// The same on a connection that may have ended.
    pub async fn try_begin(
        &self,
        method: &str,
        target: &str,
        token: &str,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.try_begin_at("http://app.example", method, target, token).await
    }

    pub async fn try_begin_at(
        &self,
        host: &str,
        method: &str,
        target: &str,
        token: &str,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{host}{target}"))
            .header("authorization", format!("Bearer {token}"));
        self.send.clone().ready().await?.send_request(request.body(()).unwrap(), true)
    }

    /// Asks for a WebSocket (RFC 8441).
    pub fn tunnel(
        &self,
        target: &str,
        token: &str,
        more: &[(&str, &str)],
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::builder()
            .method("CONNECT")
            .uri(format!("http://app.example{target}"))
            .header("sec-websocket-version", "13")
            .extension(h2::ext::Protocol::from_static("websocket"));
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        self.within(async {
            // The gateway says in its settings that it may be asked.
            while !self.offers_tunnels() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let mut ready = self.send.clone().ready().await.unwrap();
            ready.send_request(request.body(()).unwrap(), false).unwrap()
        })
    }

    pub fn offers_tunnels(&self) -> bool {
        self.send.is_extended_connect_protocol_enabled()
    }

    pub fn get(&self, target: &str, token: &str) -> Answer {
        self.get_with(target, token, &[])
    }

    pub fn get_with(&self, target: &str, token: &str, more: &[(&str, &str)]) -> Answer {
        let (response, _) = self.begin("GET", target, token, more, true);
        self.answer(response).unwrap()
    }

    /// A request with all of that body.
    pub fn post(&self, target: &str, token: &str, more: &[(&str, &str)], body: &[u8]) -> Answer {
        let (response, mut stream) = self.begin("POST", target, token, more, false);
        let body = body.to_vec();
        let sending = self.rt.spawn(async move { send_all(&mut stream, &body, true).await });
        let answer = self.answer(response).unwrap();
        let _ = self.rt.block_on(sending);
        answer
    }

    /// The whole answer.
    pub fn answer(&self, response: ResponseFuture) -> Result<Answer, h2::Error> {
        self.rt.block_on(async { tokio::time::timeout(PATIENCE, whole(response)).await.expect("an answer") })
    }

    pub fn within<T>(&self, future: impl Future<Output = T>) -> T {
        self.rt.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("in time") })
    }

    /// How the connection ended.
    pub fn ended(self) -> Result<(), h2::Error> {
        drop(self.send);
        self.rt
            .block_on(async { tokio::time::timeout(PATIENCE, self.driver).await.expect("an end").unwrap() })
    }
}

pub async fn whole(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let (parts, mut body) = response.await?.into_parts();
    let mut all = Vec::new();
    while let Some(data) = more(&mut body).await? {
        all.extend_from_slice(&data);
    }
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body: all })
}

/// The next data, for which room is made at once.
pub async fn more(body: &mut RecvStream) -> Result<Option<Bytes>, h2::Error> {
    match body.data().await.transpose()? {
        None => Ok(None),
        Some(data) => {
            body.flow_control().release_capacity(data.len()).unwrap();
            Ok(Some(data))
        }
    }
}

/// Sends as there is room; how much, where it was stopped.
pub async fn send_all(stream: &mut SendStream<Bytes>, mut body: &[u8], end: bool) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len().min(16 << 10));
        let mut room = stream.capacity();
        while room == 0 {
            room = match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(room) => room?,
                None => return Ok(()),
            };
        }
        let (now, rest) = body.split_at(room.min(body.len()));
        stream.send_data(Bytes::copy_from_slice(now), end && rest.is_empty())?;
        body = rest;
    }
    Ok(())
}

/// How long a removal may be waited for before something is wrong.
pub const SOON: Duration = Duration::from_secs(2);
