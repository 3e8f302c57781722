//! Peers that lie, hang or are not of the fleet, strangers at the fleet's listener, and callers with places that are not theirs.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use serde_json::{Value, json};

use crate::{
    client::Client,
    fake::{Script, answer, fake, item, part, who},
    stage::*,
    vouched::Authority,
    world::until,
};

const LOG: &str = "example.com/gw4";
const OTHERS: &str = "example.com/gw2";

/// A peer `gw4` that says who it is, and answers pages so.
fn with_pages(page: impl Fn(&Value) -> Option<Vec<u8>> + Send + Sync + 'static) -> Arc<Script> {
    Arc::new(move |path, body| match path {
        "/v1/who" => Some(who("gw4", LOG)),
        _ => page(body),
    })
}

fn body(text: String) -> impl Fn(&Value) -> Option<Vec<u8>> + Send + Sync {
    move |_| Some(answer(text.as_bytes()))
}

#[test]
fn a_peer_that_lies_is_named_as_missing_and_nothing_of_its_answer_is_shown() {
    let mut fleet = Fleet::new();
    fleet.timeout_ms = 1_500;
    let [one, two] = ["gw1", "gw2"].map(|name| fleet.one(name));
    two.consent(fleet.people(), "acme", "full");
    let admin = fleet.people().admin("acme");
    let honest = one.page("?limit=200", &admin);
    let now = fleet.people().now_ms();
    let good = |seq| item(LOG, seq, now, "acme");
    // To begin with, one that does not.
    let peer = fake(fleet.sides().0, with_pages(body(part("gw4", LOG, &[good(2), good(5)]))));
    fleet.known.name("gw4", peer.address);
    let page = one.page("?limit=200", &admin);
    assert_eq!(page["missing"], json!([]));
    let theirs = page["items"].as_array().unwrap().iter().filter(|item| item["log"] == LOG).count();
    assert_eq!(theirs, 2);

    let huge = {
        let mut text = part("gw4", LOG, &[]).into_bytes();
        text.resize(6 << 20, b' ');
        answer(&text)
    };
    let cut = {
        let whole = answer(part("gw4", LOG, &[good(2)]).as_bytes());
        whole[..whole.len() - 7].to_vec()
    };
    let lines = |text: &str| item(LOG, 2, now, "acme").replace(",\"tenant\"", text);
    let cases: Vec<(&str, &str, Arc<Script>)> = vec![
        (
            "another tenant's",
            "not_asked",
            with_pages(body(part("gw4", LOG, &[good(2), item(LOG, 5, now, "globex")]))),
        ),
        ("huge", "huge", with_pages(move |_| Some(huge.clone()))),
        ("no JSON", "malformed", with_pages(body("<html>".to_owned()))),
        (
            "other words",
            "malformed",
            with_pages(body(part("gw4", LOG, &[]).replace("\"size\"", "\"more\":1,\"size\""))),
        ),
        ("out of order", "malformed", with_pages(body(part("gw4", LOG, &[good(5), good(2)])))),
        (
            "a record that was altered",
            "malformed",
            with_pages(body(part("gw4", LOG, &[lines(",\"x\":1,\"tenant\"")]))),
        ),
        ("events in a record", "malformed", with_pages(body(part("gw4", LOG, &[lines(",\n\n\"tenant\"")])))),
        ("cut off", "slow", with_pages(move |_| Some(cut.clone()))),
        ("never", "slow", with_pages(|_| None)),
        ("broken", "broken", with_pages(|_| Some(b"nonsense\r\n\r\n".to_vec()))),
        (
            "a redirect",
            "refused",
            with_pages(|_| {
                Some(
                    b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/v1/page\r\nContent-Length: 0\r\n\r\n"
                        .to_vec(),
                )
            }),
        ),
        (
            "another's log in a page",
            "other_log",
            with_pages(body(part("gw4", OTHERS, &[item(OTHERS, 2, now, "acme")]))),
        ),
        ("another's log at once", "other_log", Arc::new(|_, _| Some(who("gw4", OTHERS)))),
        ("the asking gateway's log", "other_log", Arc::new(|_, _| Some(who("gw4", "example.com/gw1")))),
        ("another gateway's name", "other_gateway", Arc::new(|_, _| Some(who("gw2", LOG)))),
        ("another gateway's page", "other_gateway", with_pages(body(part("gw2", LOG, &[])))),
    ];
    for (what, code, script) in cases {
        let peer = fake(fleet.sides().0, script);
        fleet.known.name("gw4", peer.address);
        let metric = format!("postern_fleet_answers_total{{gateway=\"gw4\",what=\"{code}\"}}");
        let before = one.metric(&metric);
        let page = one.page("?limit=200", &admin);
        assert_eq!(page["missing"], json!(["gw4"]), "{what}");
        assert_eq!(page["items"], honest["items"], "{what}");
        assert_eq!(one.metric(&metric), before + 1, "{what}");
    }
    // Whose log it tried to take is still believed.
    let page = one.page("?limit=200", &admin);
    assert!(page["ledgers"].as_array().unwrap().iter().any(|ledger| ledger["log"] == OTHERS));
}

#[test]
fn a_lying_peer_is_lost_in_a_stream_and_tells_nothing() {
    let fleet = Fleet::new();
    let one = fleet.one("gw1");
    let now = fleet.people().now_ms();
    let line = part("gw4", LOG, &[item(LOG, 5, now + 60_000, "globex")]);
    let stream =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{line}\n\r\n", line.len() + 1);
    let peer = fake(fleet.sides().0, with_pages(move |_| Some(stream.clone().into_bytes())));
    fleet.known.name("gw4", peer.address);
    let mut client = Client::connect(one.gateway().address());
    let admin = fleet.people().admin("acme");
    client.send(crate::world::request("GET", &format!("{AUDIT}/stream"), &admin, ""));
    assert!(client.head().contains(" 200 "));
    while !String::from_utf8_lossy(&client.inbox).contains("\"missing\":[\"gw4\"]") {
        client.more();
    }
    let text = String::from_utf8_lossy(&client.inbox).into_owned();
    assert!(!text.contains("globex") && !text.contains("event: record"), "{text}");
    assert!(one.metric("postern_fleet_answers_total{gateway=\"gw4\",what=\"not_asked\"}") > 0);
}

/// Tries to ask a fleet's listener who it is.
fn stranger(address: std::net::SocketAddr, config: ClientConfig) -> Result<String, String> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(crate::client::PATIENCE)).unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut tls = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream);
    let mut text = String::new();
    tls.write_all(b"GET /v1/who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .map_err(|e| e.to_string())?;
    match tls.read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(fault) if text.is_empty() => Err(fault.to_string()),
        Err(_) => Ok(text),
    }
}

#[test]
fn strangers_get_no_further_than_the_handshake() {
    let fleet = Fleet::new();
    let one = fleet.one("gw1");
    let address = one.gateway().fleet().unwrap();
    let own = fleet.authority.certificate.pem();
    let asking = |pair: &crate::vouched::Pair| ClientConfig::clone(&sides(pair, &own).1);
    // One of the fleet is answered.
    let member = stranger(address, asking(&fleet.authority.sign(&["127.0.0.1"]))).unwrap();
    assert!(member.contains("\"gateway\":\"gw1\"") && member.contains("example.com/gw1"), "{member}");
    // Without a certificate, with one of another authority, with one that is over.
    let mut roots = rustls::RootCertStore::empty();
    roots.add(fleet.authority.certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = |versions: &[&'static rustls::SupportedProtocolVersion]| {
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap()
    };
    let nobody =
        builder(&[&rustls::version::TLS13]).with_root_certificates(roots.clone()).with_no_client_auth();
    let other = asking(&Authority::new().sign(&["127.0.0.1"]));
    let over = asking(&fleet.authority.over(&["127.0.0.1"]));
    for (what, config) in [("nobody", nobody), ("of another authority", other), ("over", over)] {
        let before = one.metric("postern_fleet_asked_total{what=\"unproved\"}");
        let answered = stranger(address, config);
        assert!(answered.as_ref().is_err_and(|fault| !fault.is_empty()), "{what}: {answered:?}");
        until("it is counted", || one.metric("postern_fleet_asked_total{what=\"unproved\"}") > before);
    }
    // An older version of TLS, and no TLS at all.
    let pair = fleet.authority.sign(&["127.0.0.1"]);
    let older = builder(&[&rustls::version::TLS12])
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![pair.der.clone()], pair.private())
        .unwrap();
    assert!(stranger(address, older).is_err());
    let mut clear = Client::connect(address);
    clear.send("GET /v1/who HTTP/1.1\r\nHost: a\r\n\r\n");
    while clear.more() == crate::client::Ending::Open {}
    assert!(!String::from_utf8_lossy(&clear.inbox).contains("gw1"));
    // What one of the fleet may ask is these three things, each in one way.
    let ask = |text: &str| {
        let stream = TcpStream::connect(address).unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let config = Arc::new(asking(&fleet.authority.sign(&["127.0.0.1"])));
        let mut tls = StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream);
        tls.write_all(text.as_bytes()).unwrap();
        let mut text = String::new();
        let _ = tls.read_to_string(&mut text);
        text.get(9..12).unwrap_or_default().to_owned()
    };
    let post = |body: &str| {
        ask(&format!(
            "POST /v1/page HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    let filters = r#"{"tenant":"acme","kind":null,"session":null,"of":null,"since":null}"#;
    let good = format!(r#"{{"filters":{filters},"begin":null,"places":{{}},"limit":5}}"#);
    assert_eq!(post(&good), "200");
    for (from, to) in
        [("\"limit\":5", "\"limit\":5,\"more\":1"), ("acme", "a b"), ("}", ""), ("{}", "{\"x\":1}")]
    {
        assert_eq!(post(&good.replacen(from, to, 1)), "400", "{to}");
    }
    assert_eq!(post(&" ".repeat((1 << 20) + 1)), "413");
    for other in ["GET /v1/page", "POST /v1/who", "DELETE /v1/follow"] {
        assert_eq!(
            ask(&format!("{other} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")),
            "405",
            "{other}"
        );
    }
    assert_eq!(ask("GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), "404");
}

#[test]
fn a_peer_without_the_fleets_certificate_is_told_nothing() {
    let fleet = Fleet::new();
    let one = fleet.one("gw1");
    let admin = fleet.people().admin("acme");
    let own = fleet.authority.certificate.pem();
    let other = Authority::new();
    let (elsewhere, over) = (fleet.authority.sign(&["gw4.example"]), fleet.authority.over(&["127.0.0.1"]));
    for (what, pair) in
        [("another authority", other.sign(&["127.0.0.1"])), ("another address", elsewhere), ("over", over)]
    {
        let peer = fake(sides(&pair, &own).0, with_pages(body(part("gw4", LOG, &[]))));
        fleet.known.name("gw4", peer.address);
        let before = one.metric("postern_fleet_answers_total{gateway=\"gw4\",what=\"tls\"}");
        assert_eq!(one.page("", &admin)["missing"], json!(["gw4"]), "{what}");
        assert_eq!(
            one.metric("postern_fleet_answers_total{gateway=\"gw4\",what=\"tls\"}"),
            before + 1,
            "{what}"
        );
        assert_eq!((peer.met.load(SeqCst), peer.asked.load(SeqCst)), (1, 0), "{what}");
    }
}

#[test]
fn nobody_is_asked_for_somebody_who_may_not_read() {
    let fleet = Fleet::new();
    let one = fleet.one("gw1");
    let peer = fake(fleet.sides().0, with_pages(body(part("gw4", LOG, &[]))));
    fleet.known.name("gw4", peer.address);
    let people = fleet.people();
    for (who, token) in [
        ("another tenant", people.admin("globex")),
        ("a clerk", people.member("cleo", "acme", &["editor"])),
        ("staff", people.staff("sam")),
    ] {
        for target in ["", "/stream", "?after=nonsense", "?grant=gra_1", "/stream?grant=gra_1", "?ledger=all"]
        {
            let reply = one.ask("GET", &format!("{AUDIT}{target}"), &token, "");
            assert!(reply.status == 403 || reply.status == 401, "{who} {target}: {}", reply.text());
        }
    }
    assert_eq!(one.ask("GET", AUDIT, "", "").status, 401);
    assert_eq!(peer.met.load(SeqCst), 0);
    one.page("", &people.admin("acme"));
    assert!(peer.asked.load(SeqCst) > 0);
}

#[test]
fn a_place_that_is_not_the_callers_is_no_place() {
    let fleet = Fleet::new();
    let [one, two] = ["gw1", "gw2"].map(|name| fleet.one(name));
    let (acme, globex) = (fleet.people().admin("acme"), fleet.people().admin("globex"));
    let next = |one: &One, tenant: &str, token: &str| {
        let reply = one.ask("GET", &format!("/_postern/v1/tenants/{tenant}/audit"), token, "");
        let page: Value = serde_json::from_slice(&reply.body).unwrap();
        page["next"].as_str().unwrap().to_owned()
    };
    let mine = next(&one, "acme", &acme);
    let theirs = next(&one, "globex", &globex);
    let own = one.page("?ledger=own", &acme)["next"].as_str().unwrap().to_owned();
    // Another gateway of the fleet knows it.
    two.page(&format!("?after={mine}"), &acme);
    let mut bad =
        vec![theirs, own, "AAAA".to_owned(), "12".to_owned(), mine[4..].to_owned(), format!("{mine}AAAA")];
    for at in [0, 5, 20, mine.len() / 2, mine.len() - 2] {
        let other = if mine.as_bytes()[at] == b'A' { "B" } else { "A" };
        bad.push(format!("{}{other}{}", &mine[..at], &mine[at + 1..]));
    }
    for place in &bad {
        for (target, more) in [
            (format!("{AUDIT}?after={place}"), String::new()),
            (format!("{AUDIT}/stream?last_event_id={place}"), String::new()),
            (format!("{AUDIT}/stream"), format!("Last-Event-ID: {place}\r\n")),
        ] {
            let reply = one.ask("GET", &target, &acme, &more);
            assert_eq!((reply.status, reply.code().as_str()), (400, "query_malformed"), "{target} {more}");
        }
    }
    // A place of a fleet is none of one ledger.
    let reply = one.ask("GET", &format!("{AUDIT}?ledger=own&after={mine}"), &acme, "");
    assert_eq!((reply.status, reply.code().as_str()), (400, "query_malformed"));
}
