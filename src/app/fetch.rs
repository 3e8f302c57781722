//! Fetching one key set: one connection, one request, one bounded answer.
//!
//! Only ever to the address that the configuration names. No redirect is followed, no proxy and no credential used;
//! the whole of it, names looked up included, ends by one deadline, and what comes is bounded in bytes.
//!
//! Never here: when something is fetched, what keys mean (see [`super::keys`], [`crate::identity`]).

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::{config::resolve::KeyAddress, identity::MAX_JWKS_BYTES};

/// The most bytes of an answer's head, and the most lines in it.
const MAX_HEAD: usize = 32 << 10;
const MAX_LINES: usize = 100;

/// Why nothing can be fetched from an address, whatever it answers.
#[derive(Debug, thiserror::Error)]
pub enum FetchSetupFault {
    /// The host is no name that a certificate could bear.
    #[error("`{0}` is no name that a certificate could bear; name the host as its certificate does")]
    Name(String),
    /// The certificates of the authorities cannot be read.
    #[error("`keys.ca` holds a certificate that cannot be read; write each one as a whole PEM block")]
    Authorities,
    /// The system trusts nobody.
    #[error("this system has no trusted authorities; name the one of this address with `keys.ca`")]
    NoAuthorities,
    /// The library refuses its own settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
}

/// Why a key set was not fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchFault {
    #[error("the host has no address: {0}")]
    Resolve(io::Error),
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    #[error("the answer is no HTTP that can be read: {0}")]
    Http(hyper::Error),
    #[error("it took longer than `timeout`")]
    Slow,
    #[error("it redirects, and redirects are not followed: configure the address that it means")]
    Redirect,
    #[error("it answers with status {0}")]
    Status(StatusCode),
    #[error("the answer is larger than {MAX_JWKS_BYTES} bytes")]
    TooLarge,
    #[error("the answer is compressed, which was not asked for")]
    Encoded,
    #[error("the answer broke off: {0}")]
    BrokenOff(Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer is no text")]
    NoText,
}

impl FetchFault {
    /// The word for metrics.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Resolve(_) => "resolve",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Http(_) => "http",
            Self::Slow => "slow",
            Self::Redirect => "redirect",
            Self::Status(_) => "status",
            Self::TooLarge => "too_large",
            Self::Encoded => "encoded",
            Self::BrokenOff(_) => "broken_off",
            Self::NoText => "no_text",
        }
    }
}

/// What was fetched.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) text: String,
    /// How long the answer calls itself fresh.
    pub(super) max_age: Option<Duration>,
}

/// Fetches from one address.
pub(super) struct Fetcher {
    host: String,
    port: u16,
    authority: String,
    target: String,
    timeout: Duration,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Fetcher {
    /// Reads the authorities; nothing is connected to.
    pub(super) fn new(address: &KeyAddress) -> Result<Fetcher, FetchSetupFault> {
        let tls = if address.tls {
            let name = ServerName::try_from(address.host.clone())
                .map_err(|_| FetchSetupFault::Name(address.host.clone()))?;
            Some((TlsConnector::from(Arc::new(client_config(address.authorities.as_deref())?)), name))
        } else {
            None
        };
        Ok(Fetcher {
            host: address.host.clone(),
            port: address.port,
            authority: address.authority.clone(),
            target: address.target.clone(),
            timeout: Duration::from_millis(u64::try_from(address.timeout_ms).unwrap_or(0)),
            tls,
        })
    }

    /// Fetches once.
    pub(super) async fn fetch(&self) -> Result<Answer, FetchFault> {
        tokio::time::timeout(self.timeout, self.fetch_slowly()).await.unwrap_or(Err(FetchFault::Slow))
    }

    async fn fetch_slowly(&self) -> Result<Answer, FetchFault> {
        let stream = self.connect().await?;
        match &self.tls {
            None => self.ask(stream).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await.map_err(FetchFault::Tls)?;
                self.ask(stream).await
            }
        }
    }

    async fn connect(&self) -> Result<TcpStream, FetchFault> {
        let addresses =
            tokio::net::lookup_host((self.host.as_str(), self.port)).await.map_err(FetchFault::Resolve)?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(fault) => last = fault,
            }
        }
        Err(FetchFault::Connect(last))
    }

    async fn ask(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<Answer, FetchFault> {
        let mut builder = hyper::client::conn::http1::Builder::new();
        builder.max_buf_size(MAX_HEAD).max_headers(MAX_LINES);
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(FetchFault::Http)?;
        let request = Request::builder()
            .uri(&self.target)
            .header(header::HOST, &self.authority)
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(header::USER_AGENT, concat!("postern/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new());
        let exchange = async {
            let request = request.map_err(|fault| FetchFault::BrokenOff(Box::new(fault)))?;
            let response = sender.send_request(request).await.map_err(FetchFault::Http)?;
            let (head, body) = response.into_parts();
            if head.status.is_redirection() {
                return Err(FetchFault::Redirect);
            }
            if head.status != StatusCode::OK {
                return Err(FetchFault::Status(head.status));
            }
            if head.headers.get_all(header::CONTENT_ENCODING).iter().any(|value| value != "identity") {
                return Err(FetchFault::Encoded);
            }
            let body = Limited::new(body, MAX_JWKS_BYTES).collect().await.map_err(|fault| {
                if fault.is::<LengthLimitError>() {
                    FetchFault::TooLarge
                } else {
                    FetchFault::BrokenOff(fault)
                }
            })?;
            let text = String::from_utf8(body.to_bytes().into()).map_err(|_| FetchFault::NoText)?;
            Ok(Answer { text, max_age: max_age(&head.headers) })
        };
        // The connection is driven here and dropped with the exchange: nothing of it outlives the deadline.
        let mut connection = std::pin::pin!(connection);
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => return answer,
            driven = &mut connection => if let Err(fault) = driven {
                return Err(FetchFault::Http(fault));
            },
        }
        exchange.await
    }
}

/// TLS towards a server that one of these vouches for. Nothing is resumed: each fetch looks at the certificate anew.
fn client_config(authorities: Option<&str>) -> Result<ClientConfig, FetchSetupFault> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(text) => {
            for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
                let certificate = certificate.map_err(|_| FetchSetupFault::Authorities)?;
                roots.add(certificate).map_err(|_| FetchSetupFault::Authorities)?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err(match authorities {
            Some(_) => FetchSetupFault::Authorities,
            None => FetchSetupFault::NoAuthorities,
        });
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(FetchSetupFault::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// What `Cache-Control` says; of several words the one that allows the least counts.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let words = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    words
        .flat_map(|value| value.split(','))
        .filter_map(|word| {
            let word = word.trim().to_ascii_lowercase();
            match word.split_once('=') {
                Some(("max-age", seconds)) => Some(seconds.trim_matches('"').parse().unwrap_or(0)),
                _ if word == "no-store" || word == "no-cache" => Some(0),
                _ => None,
            }
        })
        .min()
        .map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_that_cache_control_allows_counts() {
        for (values, seconds) in [
            (vec![], None),
            (vec!["public"], None),
            (vec!["public, max-age=300"], Some(300)),
            (vec!["Max-Age=\"60\""], Some(60)),
            (vec!["max-age=600", "max-age=60"], Some(60)),
            (vec!["max-age=600, no-cache"], Some(0)),
            (vec!["no-store"], Some(0)),
            (vec!["max-age=-5"], Some(0)),
            (vec!["max-age=99999999999999999999999"], Some(0)),
            (vec!["s-maxage=5"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(header::CACHE_CONTROL, header::HeaderValue::from_static(value));
            }
            assert_eq!(max_age(&headers), seconds.map(Duration::from_secs), "{values:?}");
        }
    }
}
