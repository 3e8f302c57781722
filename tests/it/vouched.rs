//! Certificates that an authority of a test's own vouches for, and a server's side of TLS that shows one.

use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// An authority and what it signs.
pub struct Authority {
    pub certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Pair {
    pub der: CertificateDer<'static>,
    pub pem: String,
    pub key: KeyPair,
}

impl Pair {
    pub fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()))
    }
}

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate that names these.
    pub fn sign(&self, names: &[&str]) -> Pair {
        self.signed(names, false)
    }

    /// The same, good for a year that is over.
    #[allow(dead_code, reason = "not each of the tests that share this needs it")]
    pub fn over(&self, names: &[&str]) -> Pair {
        self.signed(names, true)
    }

    fn signed(&self, names: &[&str], over: bool) -> Pair {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if over {
            (params.not_before, params.not_after) =
                (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { der: certificate.der().clone(), pem: certificate.pem(), key }
    }
}

/// A server's side that shows this certificate to everybody.
pub fn serving(pair: &Pair) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.der.clone()], pair.private())
        .unwrap()
}

/// A server's side whose certificate names these, and that of the authority which vouches for it, in PEM.
pub fn side(names: &[&str]) -> (ServerConfig, String) {
    let authority = Authority::new();
    (serving(&authority.sign(names)), authority.certificate.pem())
}
