//! Asking a server that the configuration names: one connection, one request, one answer.
//!
//! No redirect is followed, no proxy of the environment and no credential of ours used; the whole of it, names looked up
//! included, ends by one deadline, and heads are bounded. For what is fetched (key sets) and what is told (webhooks); requests of
//! clients never go this way.
//!
//! Never here: when somebody is asked, what an answer means.

use std::{future::Future, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::{client::Resumption, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::tls::{self, TlsFault};

/// The most bytes of an answer's head, and the most lines in it.
const MAX_HEAD: usize = 32 << 10;
const MAX_LINES: usize = 100;

/// Whom to ask, and how.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether it is `https`.
    pub tls: bool,
    /// Host to connect to, and that the certificate must name: a name or an address, IPv6 without brackets.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// `host[:port]` for the `Host` header.
    pub authority: String,
    /// Path and query.
    pub target: String,
    /// Certificates of the authorities that vouch for the server, in PEM; `None` are the system's.
    pub authorities: Option<String>,
}

/// The path is left out: that of a webhook may be as good as a password.
impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address")
            .field("tls", &self.tls)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

/// Why nobody can be asked at an address, whatever stands there.
#[derive(Debug, thiserror::Error)]
pub enum SetupFault {
    /// The host is no name that a certificate could bear.
    #[error("`{0}` is no name that a certificate could bear; name the host as its certificate does")]
    Name(String),
    /// The certificates of the authorities cannot be used.
    #[error("`ca`: {0}")]
    Authorities(TlsFault),
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskFault {
    /// The host's name leads nowhere.
    #[error("the host has no address: {0}")]
    Resolve(io::Error),
    /// None of its addresses takes a connection.
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// The handshake failed, or the certificate is not vouched for.
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    /// What came is no answer.
    #[error("the answer is no HTTP that can be read: {0}")]
    Http(hyper::Error),
    /// The deadline passed.
    #[error("it took longer than `timeout`")]
    Slow,
}

impl AskFault {
    /// A stable word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Resolve(_) => "resolve",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Http(_) => "http",
            Self::Slow => "slow",
        }
    }
}

/// Asks one server.
pub struct Asker {
    address: Address,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
}

impl Asker {
    /// Reads the authorities; nothing is connected to. No question lasts longer than `timeout`, with all that is done with
    /// its answer.
    ///
    /// # Errors
    /// [`SetupFault`].
    pub fn new(address: &Address, timeout: Duration) -> Result<Asker, SetupFault> {
        let tls = if address.tls {
            let name = ServerName::try_from(address.host.clone())
                .map_err(|_| SetupFault::Name(address.host.clone()))?;
            let authorities = address.authorities.as_deref().map(str::as_bytes);
            let config = tls::asking(authorities, false).map_err(SetupFault::Authorities)?;
            // Nothing is resumed: each question looks at the certificate anew.
            let mut config = Arc::unwrap_or_clone(config);
            config.resumption = Resumption::disabled();
            Some((TlsConnector::from(Arc::new(config)), name))
        } else {
            None
        };
        Ok(Asker { address: address.clone(), tls, timeout })
    }

    /// Host and port, for people.
    pub fn authority(&self) -> &str {
        &self.address.authority
    }

    /// Asks once. What is sent goes to the address' own target, with its `Host`, and the connection ends with the answer.
    ///
    /// # Errors
    /// [`AskFault`]; also where `take` does not get done in time.
    pub async fn ask<T, F: Future<Output = T>>(
        &self,
        request: Request<Full<Bytes>>,
        take: impl FnOnce(Response<Incoming>) -> F,
    ) -> Result<T, AskFault> {
        tokio::time::timeout(self.timeout, self.ask_slowly(request, take))
            .await
            .unwrap_or(Err(AskFault::Slow))
    }

    async fn ask_slowly<T, F: Future<Output = T>>(
        &self,
        request: Request<Full<Bytes>>,
        take: impl FnOnce(Response<Incoming>) -> F,
    ) -> Result<T, AskFault> {
        let stream = self.connect().await?;
        match &self.tls {
            None => self.exchange(stream, request, take).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await.map_err(AskFault::Tls)?;
                self.exchange(stream, request, take).await
            }
        }
    }

    async fn connect(&self) -> Result<TcpStream, AskFault> {
        let place = (self.address.host.as_str(), self.address.port);
        let addresses = tokio::net::lookup_host(place).await.map_err(AskFault::Resolve)?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(fault) => last = fault,
            }
        }
        Err(AskFault::Connect(last))
    }

    async fn exchange<T, F: Future<Output = T>>(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        mut request: Request<Full<Bytes>>,
        take: impl FnOnce(Response<Incoming>) -> F,
    ) -> Result<T, AskFault> {
        let mut builder = hyper::client::conn::http1::Builder::new();
        builder.max_buf_size(MAX_HEAD).max_headers(MAX_LINES);
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(AskFault::Http)?;
        // Both were read strictly when the configuration was; what cannot be sent would be refused by the peer.
        if let Ok(target) = self.address.target.parse() {
            *request.uri_mut() = target;
        }
        let headers = request.headers_mut();
        if let Ok(host) = self.address.authority.parse() {
            headers.insert(header::HOST, host);
        }
        let agent = concat!("postern/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, header::HeaderValue::from_static(agent));
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        let exchange = async {
            let response = sender.send_request(request).await.map_err(AskFault::Http)?;
            Ok(take(response).await)
        };
        // The connection is driven here and dropped with the exchange: nothing of it outlives the deadline.
        let mut connection = std::pin::pin!(connection);
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => return answer,
            driven = &mut connection => if let Err(fault) = driven {
                return Err(AskFault::Http(fault));
            },
        }
        exchange.await
    }
}
