//! What clients hold of the gateway's memory while they take their time: the figures of docs/operations.md, by which
//! `limits.connections` is chosen. The program itself is measured, in a process of its own.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection};

use crate::{client::Client, http2::peer::Peer, load::TLS, program::Program, vouched::Authority, world::*};

/// As many as make one's share stand out from what the process takes for itself.
const CLIENTS: usize = 400;

/// A gateway of its own for each question, on one core.
struct Measured {
    world: World,
    program: Program,
    token: String,
}

impl Measured {
    fn start(plan: Plan, prepare: impl FnOnce(&std::path::Path)) -> Measured {
        let plan =
            plan.edit("header_timeout: 2s", "header_timeout: 60s").edit("body_idle: 5s", "body_idle: 60s");
        let world = World::prepared(plan);
        prepare(world.keys_dir.path());
        postern::app::init_state(&world.data.join("state.redb"), &world.ledger_dir()).unwrap();
        let file = world.keys_dir.path().join("postern.yaml");
        let text = config_text(world.keys_dir.path(), &world.data, world.upstream.address, &world.edits);
        std::fs::write(&file, text.replace("workers: 2", "workers: 1")).unwrap();
        let program = Program::start(&file, &TcpListener::bind("127.0.0.1:0").unwrap());
        let token = world.people.admin("acme");
        Measured { world, program, token }
    }

    fn ask(&self, method: &str, target: &str, more: &str) -> String {
        request(method, target, &self.token, more)
    }

    /// The process's memory, once nothing moves any more.
    fn at_rest(&self) -> usize {
        let mut last = 0;
        until("nothing moves any more", || {
            std::thread::sleep(Duration::from_millis(200));
            let now = self.program.memory();
            std::mem::replace(&mut last, now) == now
        });
        last
    }

    /// What each of so many holds, in bytes.
    fn each<T>(self, what: &str, begin: impl Fn(&Measured) -> T) -> usize {
        let some = |count: usize| -> Vec<T> { (0..count).map(|_| begin(&self)).collect() };
        // What the first of them makes the process take for good.
        let first = some(CLIENTS / 10);
        let before = self.at_rest();
        let all = some(CLIENTS);
        let each = self.at_rest().saturating_sub(before) / CLIENTS;
        println!("{what}: {each} bytes each");
        drop((first, all));
        self.world.upstream.release();
        self.program.stop();
        each
    }
}

fn in_clear(what: &str, says: impl Fn(&Measured) -> Vec<u8>) -> usize {
    Measured::start(Plan::default(), |_| {}).each(what, |gateway| {
        let mut one = Client::narrow(gateway.program.listening);
        one.send(says(gateway));
        one
    })
}

fn over_tls(what: &str, says: impl Fn(&Measured) -> Vec<u8>) -> usize {
    let authority = Authority::new();
    let gateway = Measured::start(Plan::default().edit("workers: 2", TLS), |dir| {
        authority.renew(dir);
    });
    let config = authority.believer();
    gateway.each(what, |gateway| secured(&config, gateway.program.listening, &says(gateway)))
}

fn secured(config: &Arc<ClientConfig>, address: SocketAddr, says: &[u8]) -> (Client, ClientConnection) {
    let mut one = Client::narrow(address);
    let mut tls = ClientConnection::new(Arc::clone(config), "app.example".try_into().unwrap()).unwrap();
    rustls::Stream::new(&mut tls, &mut one.stream).write_all(says).unwrap();
    (one, tls)
}

/// KiB, as they are written down.
fn at_most(kib: usize, each: usize, what: &str) {
    assert!(each <= kib << 10, "{what} holds {each} bytes, and {kib} KiB are written down");
}

#[test]
fn whoever_takes_their_time_holds_no_more_than_is_written_down() {
    let what = "a head that is not whole";
    let head = |_: &Measured| b"GET /t/acme/orders HTTP/1.1\r\nHost: app.example\r\nX-".to_vec();
    at_most(48, in_clear(what, head), what);
    let what = "an answer that does not come";
    at_most(48, in_clear(what, |gateway| gateway.ask("GET", "/t/acme/orders?do=slow", "").into()), what);
    let what = "a body that stands still";
    let body = |gateway: &Measured| {
        let head = gateway.ask("POST", "/t/acme/orders?do=taken", "Content-Length: 1000000\r\n");
        [head.into_bytes(), vec![7; 20_000]].concat()
    };
    at_most(64, in_clear(what, body), what);
}

#[test]
fn whoever_does_not_read_holds_no_more_than_is_written_down() {
    let known = |gateway: &Measured| gateway.ask("GET", "/t/acme/download?do=bytes&n=4000000", "").into();
    let chunked = |gateway: &Measured| gateway.ask("GET", "/t/acme/download?do=forever", "").into();
    let what = "an answer of known length that is not read";
    at_most(192, in_clear(what, known), what);
    let what = "an answer in chunks that is not read";
    at_most(192, in_clear(what, chunked), what);
    let what = "an answer in chunks that is not read, over TLS";
    at_most(320, over_tls(what, chunked), what);
}

#[test]
fn a_stream_of_http2_that_is_not_read_holds_no_more_than_is_written_down() {
    const STREAMS: usize = 50;
    let plan = Plan::default().edit("workers: 2", "workers: 2\nhttp2: prior_knowledge");
    let gateway = Measured::start(plan, |_| {});
    let what = "an answer over HTTP/2 that is not read";
    let peers = |count: usize| -> Vec<_> {
        let one = |_| {
            let peer = Peer::connect(gateway.program.listening);
            let begin = |_| peer.begin("GET", "/t/acme/download?do=forever", &gateway.token, &[], true);
            let streams: Vec<_> = (0..STREAMS).map(begin).collect();
            (streams, peer)
        };
        (0..count).map(one).collect()
    };
    let first = peers(1);
    let before = gateway.at_rest();
    let all = peers(CLIENTS / STREAMS);
    let each = gateway.at_rest().saturating_sub(before) / CLIENTS;
    println!("{what}: {each} bytes each");
    at_most(320, each, what);
    drop((first, all));
    gateway.program.stop();
}
