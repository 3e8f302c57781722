//! Ten thousand connections that asked once and stay: what they hold, and what somebody else waits meanwhile.

use std::{sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore, pki_types::pem::PemObject as _};
use tokio_rustls::TlsConnector;

use super::{innocent::Waited, live::Live};
use crate::{
    secure::{Asker, at_pace},
    world::{Plan, World, pin_self},
};

/// Connections of each kind.
pub const IDLE: usize = 10_000;
/// Requests a second of somebody else, and for how many seconds.
const RATE: usize = 400;
const ASK: usize = 5;
/// How long nothing is asked before memory counts.
const REST: Duration = Duration::from_secs(4);
/// What one may hold of the gateway's memory, in KiB: what must hold, and what is aimed at.
const MOST: f64 = 20.0;
const AIM: f64 = 2.0;

/// What idles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Http1,
    Tls,
    Http2,
}

impl Sort {
    fn name(self) -> &'static str {
        match self {
            Sort::Http1 => "HTTP/1.1",
            Sort::Tls => "HTTP/1.1 over TLS",
            Sort::Http2 => "HTTP/2 over TLS",
        }
    }
}

/// A client that believes the bench's own certificate.
pub fn tls_client(world: &World, protocol: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(world.dir().join("tls.pem")).unwrap();
    roots.add(rustls_pki_types::CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    TlsConnector::from(Arc::new(config))
}

struct Row {
    who: &'static str,
    sort: Sort,
    each: f64,
    quiet: Waited,
    beside: Waited,
}

/// Runs all, prints a table; whether each connection holds no more than it may.
pub fn run(count: usize) -> bool {
    let world = World::make();
    let _origin = world.origin();
    let mut rows = Vec::new();
    for sort in [Sort::Http1, Sort::Tls, Sort::Http2] {
        let plan = Plan { secure: sort != Sort::Http1 };
        for ours in [true, false] {
            let live = if ours {
                Live::postern(&world, world.core(), plan, &[])
            } else {
                Live::nginx(&world, world.core(), plan)
            };
            pin_self(1 - world.core());
            let who = if ours { "Postern" } else { "nginx" };
            let row = measure(&world, &live, who, sort, count);
            eprintln!("{who}, {}: {:.1} KiB each", sort.name(), row.each);
            rows.push(row);
        }
    }
    println!("\n| gateway | {count} idle connections | KiB each | p50 / p99 / most µs without | with them |");
    println!("| --- | --- | ---: | ---: | ---: |");
    for row in &rows {
        let slashes = |waited: &Waited| waited.cells().replace('|', "/");
        let (quiet, beside) = (slashes(&row.quiet), slashes(&row.beside));
        println!("| {} | {} | {:.1} | {quiet} | {beside} |", row.who, row.sort.name(), row.each);
    }
    let ours: Vec<&Row> = rows.iter().filter(|row| row.who == "Postern").collect();
    println!(
        "\nEach asked once, was answered, and stays. Memory is the growth of the process's resident memory."
    );
    let plain = ours.iter().find(|row| row.sort == Sort::Http1).map_or(f64::NAN, |row| row.each);
    println!("A keep-alive connection may hold {MOST} KiB and is to hold {AIM}: {plain:.1}.");
    plain <= MOST
}

fn measure(world: &World, live: &Live, who: &'static str, sort: Sort, count: usize) -> Row {
    let request = world.small()[0].clone();
    let by_http2 = sort == Sort::Http2;
    let tls = (sort != Sort::Http1).then(|| tls_client(world, if by_http2 { "h2" } else { "http/1.1" }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        // What the process takes for itself is taken by now.
        for _ in 0..200 {
            Asker::open(live.port, tls.as_ref(), by_http2).await.ask(&request).await;
        }
        let mut innocent = Asker::open(live.port, tls.as_ref(), by_http2).await;
        let quiet = Waited::of(at_pace(&mut innocent, &request, RATE, RATE * ASK).await);
        let before = live.rss();
        let mut held = Vec::with_capacity(count);
        for _ in 0..count {
            let mut one = Asker::open(live.port, tls.as_ref(), by_http2).await;
            one.ask(&request).await;
            held.push(one);
        }
        // Whoever asked just now is not idle yet.
        tokio::time::sleep(REST).await;
        let after = live.rss();
        let beside = Waited::of(at_pace(&mut innocent, &request, RATE, RATE * ASK).await);
        drop(held);
        Row { who, sort, each: (after as f64 - before as f64) / count as f64, quiet, beside }
    })
}
