//! HTTP/2 over TLS towards applications: agreed on, or nothing is said.

use std::sync::Arc;

use super::application::{Application, Manner};
use crate::{vouched, world::*};

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
        let (mut config, authority) = vouched::side(&["127.0.0.1"]);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let application = Application::of(Manner { streams: None, tls: Some(Arc::new(config)) });
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
