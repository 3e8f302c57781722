//! A hundred thousand wrong tokens from ten thousand addresses: each gets its answer, and neither who is let in, nor the
//! ledger, nor the gateway's memory notices. The program itself takes them, in a process of its own, so that its memory is
//! what is measured.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::{
    client::{Client, PATIENCE, Reply},
    program::Program,
    world::*,
};

const ADDRESSES: usize = 10_000;
/// Of each address; twice as many as it may ask at once.
const TOKENS: usize = 10;
/// As many hands at once; more would only wait for the machine.
const HANDS: usize = 4;

/// What may be asked: of each address so much in a second, and so much at once. Those who mean no harm keep to it.
const LIMITS: &str = "limits: { address_rate: 30, address_burst: 5,";
/// The address of a front whose word counts.
const FRONT: Ipv4Addr = Ipv4Addr::new(127, 255, 0, 1);

/// A token that opens nothing, each another one: badly signed (which costs the check of a signature), by an issuer that
/// nobody knows, by a key that nobody knows, unsigned, or no token at all.
fn wrong(n: usize) -> String {
    let encoded = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
    let payload = |issuer: &str| {
        encoded(format!(
            r#"{{"iss":"{issuer}","aud":"app","sub":"mallory-{n}","iat":1,"exp":4000000000,"tenant":"acme","roles":["admin"]}}"#
        ))
    };
    let header = |more: &str| encoded(format!(r#"{{"alg":"ES256","typ":"at+jwt"{more}}}"#));
    let signature = encoded(format!("{n:064}"));
    let known = "https://id.app.example";
    match n % 5 {
        0 => format!("{}.{}.{signature}", header(""), payload(known)),
        1 => format!("{}.{}.{signature}", header(""), payload("https://id.elsewhere.example")),
        2 => format!("{}.{}.{signature}", header(r#","kid":"of-nobody""#), payload(known)),
        3 => format!("{}.{}.", encoded(r#"{"alg":"none","typ":"at+jwt"}"#.to_owned()), payload(known)),
        _ => format!("{n}-guess"),
    }
}

/// The address of one of them: each in a network of its own, so that counts by network find no end either.
fn attacker(n: usize) -> Ipv4Addr {
    let [high, low] = u16::try_from(n).unwrap().to_be_bytes();
    Ipv4Addr::new(127, 1 + high, low, 1)
}

fn from(source: Ipv4Addr, to: SocketAddr) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream: TcpStream = socket.into();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client { stream, inbox: Vec::new() }
}

/// A refusal that says what it is and nothing of what was asked for.
fn judge(reply: &Reply, counts: &mut BTreeMap<u16, usize>) {
    assert!([401, 429].contains(&reply.status), "{} {}", reply.status, reply.text());
    match reply.status {
        401 => assert_eq!(reply.values("www-authenticate").len(), 1, "{}", reply.head),
        _ => assert_eq!(reply.code(), "too_many_requests"),
    }
    *counts.entry(reply.status).or_default() += 1;
}

/// One innocent asks ten times a second until told to stop; how long each answer took.
fn innocent(address: SocketAddr, token: &str, stop: &AtomicBool) -> Vec<Duration> {
    let asked = request("GET", "/t/acme/orders", token, "");
    let mut client = Client::connect(address);
    let mut took = Vec::new();
    while !stop.load(SeqCst) {
        let began = Instant::now();
        client.send(&asked);
        let reply = client.reply();
        took.push(began.elapsed());
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"), "an innocent is served");
        std::thread::sleep(Duration::from_millis(100));
    }
    took.sort();
    took
}

struct Flood {
    counts: BTreeMap<u16, usize>,
    took: Duration,
}

/// All of them, by so many hands; `ask` lets one attacker ask everything on that hand's own connection, if it keeps one.
fn flood(ask: impl Fn(usize, &mut Option<Client>) -> Vec<Reply> + Sync) -> Flood {
    let next = AtomicUsize::new(0);
    let counts = Mutex::new(BTreeMap::new());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..HANDS {
            scope.spawn(|| {
                let mut kept = None;
                loop {
                    let n = next.fetch_add(1, SeqCst);
                    if n >= ADDRESSES {
                        return;
                    }
                    let replies = ask(n, &mut kept);
                    let mut counts = counts.lock().unwrap();
                    replies.iter().for_each(|reply| judge(reply, &mut counts));
                }
            });
        }
    });
    Flood { counts: counts.into_inner().unwrap(), took: began.elapsed() }
}

/// Floods a gateway while innocents go on, and looks at what that left behind.
fn endure(ask: impl Fn(SocketAddr, usize, &mut Option<Client>) -> Vec<Reply> + Sync) {
    let plan = Plan::default()
        .edit("limits: {", LIMITS)
        .edit("workers: 2", "workers: 2\ntrusted_hops: { from: [127.255.0.0/16], header: x_forwarded_for }");
    let mut world = World::of(plan);
    let (member, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    world.start_session("acme", &agent);
    world.gateway.take().unwrap().stop();
    let file = world.keys_dir.path().join("postern.yaml");
    let text = config_text(world.keys_dir.path(), &world.data, world.upstream.address, &world.edits);
    std::fs::write(&file, text).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let program = Program::start(&file, &listener);
    let address = program.listening;
    let records = world.records().len();
    let stop = AtomicBool::new(false);
    let (done, innocents, grew) = std::thread::scope(|scope| {
        let innocents = [&member, &agent].map(|token| {
            let stop = &stop;
            scope.spawn(move || innocent(address, token, stop))
        });
        // What a gateway takes with its first requests is no matter of floods.
        until("they are served", || world.upstream.seen().len() > 10);
        let before = program.memory();
        let watched = scope.spawn(|| {
            let mut most = 0;
            while !stop.load(SeqCst) {
                most = program.memory().max(most);
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        let done = flood(|n, kept| ask(address, n, kept));
        stop.store(true, SeqCst);
        let most = watched.join().unwrap();
        let innocents = innocents.map(|one| one.join().expect("an innocent is served"));
        (done, innocents, most.saturating_sub(before))
    });
    let limited = program.metric("postern_requests_total{what=\"limited\"}");
    program.stop();
    let all: usize = done.counts.values().sum();
    println!("{all} wrong tokens from {ADDRESSES} addresses in {:?}: {:?}", done.took, done.counts);
    for (who, took) in ["a member", "staff"].iter().zip(&innocents) {
        let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
        let (half, most, last) = (at(50), at(99), took[took.len() - 1]);
        println!("{who} meanwhile: {} answers, p50 {half:?}, p99 {most:?}, slowest {last:?}", took.len());
        // In a build without optimisation, on whatever machine: nobody waits for the flood to be over.
        assert!(last < Duration::from_secs(5), "{who} waited {last:?}");
    }
    println!("the gateway's memory grew by {} KiB at most", grew >> 10);
    assert_eq!(all, ADDRESSES * TOKENS);
    assert_eq!(done.counts[&429], limited, "who asks too often is counted");
    assert!(done.counts[&429] >= all / 4, "an address may ask five times at once");
    assert!(done.counts[&401] >= all / 4);
    assert!(grew < 24 << 20, "{grew} bytes more than before the flood");
    for seen in world.upstream.seen() {
        assert!(!seen.head.contains("mallory"), "{}", seen.head);
    }
    assert_eq!(
        world.upstream.seen().iter().filter(|seen| !seen.head.contains(" /t/acme/orders ")).count(),
        0
    );

    // Rule 17: of whoever nobody knows the record has counts, of a bounded number of kinds, and they are all there.
    let ledger = world.prove();
    let news = &ledger[records..];
    let (mut counted, mut kinds) = (0, 0);
    for record in news {
        match record["kind"].as_str().unwrap() {
            "access.refusals" => {
                let counts = record["counts"].as_array().unwrap();
                kinds = kinds.max(counts.len());
                counted += counts.iter().map(|count| count["times"].as_u64().unwrap()).sum::<u64>();
            }
            "access.intent" | "access.outcome" | "gateway.started" => {}
            other => panic!("a record of `{other}`"),
        }
    }
    assert_eq!(counted, done.counts[&401] as u64, "no refusal is forgotten");
    assert!(kinds <= 512 + 8, "{kinds} kinds of counts");
    println!("the ledger grew by {} records; {kinds} kinds of counts", news.len());
}

fn asked(n: usize, more: &str) -> String {
    let ask = |k: usize| request("GET", "/t/acme/orders", &wrong(n * TOKENS + k), more);
    (0..TOKENS).map(ask).collect()
}

// GW-02
#[test]
fn a_hundred_thousand_wrong_tokens_from_ten_thousand_addresses_are_refused_and_nobody_else_notices() {
    endure(|address, n, _| {
        let mut client = from(attacker(n), address);
        client.send(asked(n, ""));
        (0..TOKENS).map(|_| client.reply()).collect()
    });
}

#[test]
fn so_are_those_that_a_trusted_front_hands_on() {
    endure(|address, n, kept| {
        let client = kept.get_or_insert_with(|| from(FRONT, address));
        let [high, low] = u16::try_from(n).unwrap().to_be_bytes();
        client.send(asked(n, &format!("X-Forwarded-For: 198.18.0.1, 10.{high}.{low}.1\r\n")));
        (0..TOKENS).map(|_| client.reply()).collect()
    });
}
