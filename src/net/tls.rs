//! TLS towards clients and towards applications, from certificates and keys in PEM: which certificate a client is shown,
//! whose certificates are believed. Never here: reading files, and what is said inside.

use std::sync::Arc;

use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
    client::{Resumption, WantsClientCert},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::{
        ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier,
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

/// TLS to an application.
#[derive(Debug, Clone)]
pub struct ToUpstream {
    /// Versions, authorities, sessions.
    pub config: Arc<ClientConfig>,
    /// The name that is asked for and must be proved.
    pub name: ServerName<'static>,
}

/// The protocols that are offered, the best first (RFC 7301).
const HTTP_1: &[u8] = b"http/1.1";
/// HTTP/2 over TLS.
pub const HTTP_2: &[u8] = b"h2";

/// Why certificates or keys cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TlsFault {
    /// No certificate in the text.
    #[error("there is no certificate in it (a PEM block `CERTIFICATE` is wanted)")]
    NoCertificate,
    /// A block of it cannot be read.
    #[error("it cannot be read as PEM: {0}")]
    Pem(String),
    /// No private key in the text.
    #[error("there is no private key in it (a PEM block `PRIVATE KEY` is wanted, not encrypted)")]
    NoKey,
    /// Key and certificate are not a pair.
    #[error("key and certificate do not belong together: {0}")]
    NotAPair(String),
    /// The system's own authorities cannot be used.
    #[error("none of the system's certificate authorities can be read; name one with `ca`")]
    NoAuthorities,
    /// TLS refuses it.
    #[error("TLS cannot use it: {0}")]
    Unusable(String),
}

/// One certificate of ours: the chain, its own certificate first, and its key, both in PEM.
pub struct Pair<'a> {
    /// The chain.
    pub chain: &'a [u8],
    /// The key.
    pub key: &'a [u8],
}

/// How clients are met.
pub struct Serving<'a> {
    /// Our certificates. The first is shown to clients that name no host, or one that none is for.
    pub pairs: &'a [Pair<'a>],
    /// Whose client certificates are asked for and insisted on, in PEM.
    pub client_ca: Option<&'a [u8]>,
    /// Whether TLS 1.2 is still spoken.
    pub tls12: bool,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
}

/// What `main` installs, and what every configuration here is made with.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn versions(tls12: bool) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    BOTH.get(..if tls12 { 2 } else { 1 }).unwrap_or_default()
}

/// The server's side. A new one for each reload: sessions begun under another certificate are not resumed.
///
/// # Errors
/// [`TlsFault`], with the number of the pair that it concerns, or `None` for the authorities.
pub fn serving(serving: &Serving<'_>) -> Result<Arc<ServerConfig>, (Option<usize>, TlsFault)> {
    let provider = provider();
    let mut certified = Vec::new();
    for (number, pair) in serving.pairs.iter().enumerate() {
        let of = |fault| (Some(number), fault);
        let chain = certificates(pair.chain).map_err(of)?;
        let key = private_key(pair.key).map_err(of)?;
        let pair = CertifiedKey::from_der(chain, key, &provider)
            .map_err(|fault| of(TlsFault::NotAPair(fault.to_string())))?;
        certified.push(Arc::new(pair));
    }
    let unusable = |fault: rustls::Error| (None, TlsFault::Unusable(fault.to_string()));
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(serving.tls12))
        .map_err(unusable)?;
    let builder = match serving.client_ca {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let roots = roots(pem).map_err(|fault| (None, fault))?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|fault| (None, TlsFault::Unusable(fault.to_string())))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName(certified)));
    config.alpn_protocols =
        if serving.http2 { vec![HTTP_2.to_vec(), HTTP_1.to_vec()] } else { vec![HTTP_1.to_vec()] };
    if serving.client_ca.is_some() {
        // A resumed session would skip the look at the client's certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

/// The client's side of anything that speaks TLS without ALPN: its authorities in PEM, or the system's, and what is shown to it.
///
/// # Errors
/// [`TlsFault`].
pub fn asking_as(ca: Option<&[u8]>, pair: Option<&Pair<'_>>) -> Result<Arc<ClientConfig>, TlsFault> {
    let builder = trusting(ca, true)?;
    Ok(Arc::new(match pair {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let (chain, key) = (certificates(pair.chain)?, private_key(pair.key)?);
            let unpaired = |fault: rustls::Error| TlsFault::NotAPair(fault.to_string());
            builder.with_client_auth_cert(chain, key).map_err(unpaired)?
        }
    }))
}

/// The client's side, towards an application that speaks HTTP/2 or HTTP/1.1: its authorities in PEM, or the system's.
///
/// # Errors
/// [`TlsFault`].
pub fn asking(ca: Option<&[u8]>, http2: bool) -> Result<Arc<ClientConfig>, TlsFault> {
    let mut config = trusting(ca, true)?.with_no_client_auth();
    config.alpn_protocols = vec![if http2 { HTTP_2 } else { HTTP_1 }.to_vec()];
    Ok(Arc::new(config))
}

/// The client's side between gateways: TLS 1.3 alone, a certificate of ours, nobody believed but by this authority.
///
/// # Errors
/// [`TlsFault`].
pub fn asking_newest_as(ca: &[u8], pair: &Pair<'_>) -> Result<Arc<ClientConfig>, TlsFault> {
    let (chain, key) = (certificates(pair.chain)?, private_key(pair.key)?);
    let unpaired = |fault: rustls::Error| TlsFault::NotAPair(fault.to_string());
    let mut config = trusting(Some(ca), false)?.with_client_auth_cert(chain, key).map_err(unpaired)?;
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    // Nothing is resumed: each connection looks at the certificate anew.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Whether both sides would take each other, by a handshake in memory: chains, names, purposes, validity.
///
/// # Errors
/// [`TlsFault::Unusable`], with what the one that refuses says.
pub fn prove(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &ServerName<'static>,
) -> Result<(), TlsFault> {
    let unusable = |fault: rustls::Error| TlsFault::Unusable(fault.to_string());
    let broken = |fault: std::io::Error| TlsFault::Unusable(fault.to_string());
    let mut client = ClientConnection::new(Arc::clone(client), name.clone()).map_err(unusable)?;
    let mut server = ServerConnection::new(Arc::clone(server)).map_err(unusable)?;
    // A handshake has three flights; what comes behind it are tickets.
    for _ in 0..8 {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).map_err(broken)?;
        }
        let mut rest = flight.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).map_err(broken)?;
            server.process_new_packets().map_err(unusable)?;
        }
        let mut flight = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut flight).map_err(broken)?;
        }
        let mut rest = flight.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).map_err(broken)?;
            client.process_new_packets().map_err(unusable)?;
        }
        if !client.is_handshaking() && !server.is_handshaking() && !client.wants_write() {
            return Ok(());
        }
    }
    Err(TlsFault::Unusable("the handshake does not end".to_owned()))
}

fn trusting(
    ca: Option<&[u8]>,
    tls12: bool,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsFault> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(tls12))
        .map_err(|fault| TlsFault::Unusable(fault.to_string()))?;
    let roots = match ca {
        Some(pem) => roots(pem)?,
        None => system_roots()?,
    };
    Ok(builder.with_root_certificates(roots))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|fault| TlsFault::Pem(fault.to_string()))?;
    if all.is_empty() { Err(TlsFault::NoCertificate) } else { Ok(all) }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsFault> {
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(rustls::pki_types::pem::Error::NoItemsFound) => Err(TlsFault::NoKey),
        // What exactly is wrong is not said: the text is a secret.
        Err(_) => Err(TlsFault::Pem("a block is malformed".to_owned())),
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, TlsFault> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem)? {
        store.add(certificate).map_err(|fault| TlsFault::Unusable(fault.to_string()))?;
    }
    Ok(store)
}

fn system_roots() -> Result<RootCertStore, TlsFault> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() { Err(TlsFault::NoAuthorities) } else { Ok(store) }
}

/// Shows the certificate that is for the host which the client names.
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let fits = |pair: &&Arc<CertifiedKey>| {
            let Some(name) = &named else { return true };
            pair.end_entity_cert()
                .and_then(ParsedCertificate::try_from)
                .is_ok_and(|own| rustls::client::verify_server_name(&own, name).is_ok())
        };
        self.0.iter().find(fits).or_else(|| self.0.first()).cloned()
    }
}
