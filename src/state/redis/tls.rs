//! TLS towards the servers of the store: rustls, the authority that the settings name, our certificate where they ask for one.
//! The server's name is always checked.
//!
//! Never here: the TLS of the gateway's own doors.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use super::{
    options::{Address, Tls},
    said,
};
use crate::state::{ServerFault, StoreFault};

fn unusable(what: &str, why: impl std::fmt::Display) -> StoreFault {
    said::so(ServerFault::Tls, format!("{what} ({why})"))
}

/// What every connection to these servers is made with.
pub(super) fn config(tls: &Tls) -> Result<Arc<ClientConfig>, StoreFault> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| unusable("tls cannot be used", why))?
        .with_root_certificates(match &tls.roots {
            Some(pem) => roots(pem)?,
            None => system_roots()?,
        });
    let config = match &tls.own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
            let chain = chain.map_err(|why| unusable("the gateway's certificate cannot be read", why))?;
            // What exactly is wrong is not said: the text is a secret.
            let key = PrivateKeyDer::from_pem_slice(key.as_slice())
                .map_err(|_| said::so(ServerFault::Tls, "the gateway's key cannot be read"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|why| unusable("the gateway's certificate cannot be used", why))?
        }
    };
    Ok(Arc::new(config))
}

fn roots(pem: &[u8]) -> Result<RootCertStore, StoreFault> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|why| unusable("the authority cannot be read", why))?;
        store.add(certificate).map_err(|why| unusable("the authority cannot be used", why))?;
    }
    if store.is_empty() {
        Err(unusable("the authority cannot be read", "no certificate in it"))
    } else {
        Ok(store)
    }
}

fn system_roots() -> Result<RootCertStore, StoreFault> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() { Err(unusable("no authority is trusted", "the system has none")) } else { Ok(store) }
}

/// The name that the certificate of a server has to bear.
pub(super) fn name(address: &Address) -> Result<ServerName<'static>, StoreFault> {
    ServerName::try_from(address.host.clone()).map_err(|why| unusable("no name for a certificate", why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_bear_the_host_by_name_or_address() {
        let name = |host: &str| name(&Address { host: host.to_owned(), port: 6379 });
        assert_eq!(name("redis.test").unwrap(), ServerName::try_from("redis.test").unwrap());
        assert_eq!(name("::1").unwrap(), ServerName::try_from("::1").unwrap());
        assert_eq!(name("a b").unwrap_err().code(), "store_tls");
    }

    #[test]
    fn an_authority_that_is_none_and_a_key_that_is_none_are_said() {
        let bad = |ca: &[u8]| Tls { roots: Some(ca.to_vec()), own: None };
        for ca in
            [&b""[..], b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            assert_eq!(config(&bad(ca)).unwrap_err().code(), "store_tls");
        }
        let own = rcgen::generate_simple_self_signed(["redis.test".to_owned()]).unwrap();
        let (certificate, key) = (
            own.cert.pem().into_bytes(),
            zeroize::Zeroizing::new(own.signing_key.serialize_pem().into_bytes()),
        );
        let tls = |own| Tls { roots: Some(certificate.clone()), own };
        assert!(config(&tls(None)).is_ok());
        assert!(config(&tls(Some((certificate.clone(), key.clone())))).is_ok());
        let said = config(&tls(Some((certificate.clone(), b"secret".to_vec().into())))).unwrap_err();
        assert!(said.code() == "store_tls" && !said.to_string().contains("secret"));
    }
}
