//! HTTP/2 over TLS towards applications: agreed on, or nothing is said.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::application::{Application, Manner};
use crate::world::*;

/// A server's side that agrees on these protocols, and the authority that vouches for it.
fn side(protocols: &[&[u8]]) -> (Arc<ServerConfig>, String) {
    let own = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&own).unwrap();
    let issuer = Issuer::new(params, own);
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    (Arc::new(config), authority.pem())
}

fn world(application: &Application, authority: &str) -> World {
    let mut world = World::prepared(Plan::default());
    std::fs::write(world.keys_dir.path().join("ca.pem"), authority).unwrap();
    let from = format!("url: \"http://{}\"", world.upstream.address);
    let keys = world.keys_dir.path().to_str().unwrap().to_owned();
    let to = format!("protocol: http2\n    ca: {keys}/ca.pem\n    url: \"https://{}\"", application.address);
    world.edits.push((from.leak(), to.leak()));
    postern::app::init_state(&world.data.join("state.redb"), &world.data.join("ledger")).unwrap();
    world.up();
    world
}

#[test]
fn over_tls_http2_is_agreed_on_or_nothing_is_said() {
    for (protocols, code) in [
        (&[&b"h2"[..], b"http/1.1"][..], None),
        (&[&b"http/1.1"[..]], Some("upstream_tls_failed")),
        (&[], Some("upstream_protocol")),
    ] {
        let (config, authority) = side(protocols);
        let application = Application::of(Manner { streams: None, tls: Some(config) });
        let world = world(&application, &authority);
        let admin = world.people.admin("acme");
        for _ in 0..3 {
            let reply = world.get("/t/acme/orders?a=%2F&b", &admin);
            match code {
                None => {
                    assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
                    let seen = application.last();
                    assert_eq!(seen.uri, format!("https://{}/t/acme/orders?a=%2F&b", application.address));
                    assert_eq!(seen.method, "GET");
                }
                Some(code) => assert_eq!((reply.status, reply.code().as_str()), (502, code)),
            }
        }
        assert_eq!(application.seen().is_empty(), code.is_some());
        world.finish();
    }
}
