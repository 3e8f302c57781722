//! Lists, towards somebody who may see some of their items: an agent whose grant names resources.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use postern::{
    engine::new_id,
    lifecycle::{Command, Until, WantedBasis},
    model::{GrantId, Grantee, RoleName, Scope, Span},
};

use crate::{
    client::{Ending, Reply},
    http2::peer::{Peer, clear},
    services::{call, program, with_services},
    world::*,
};

pub const ORDERS: &str = "- { route: \"GET /t/{tenant}/orders\", permission: orders:read }";
const NARROWED: &str = "- { route: \"GET /t/{tenant}/orders\", permission: orders:read, narrow: { filter: { type: orders, list: /orders, id: /id, keep: /page } } }
  - { route: \"GET /t/{tenant}/export\", permission: orders:read, narrow: { filter: { type: orders, list: \"\", id: /id } } }
  - { route: \"POST /t/{tenant}/search\", permission: orders:read, effect: read, narrow: { filter: { type: orders, list: /hits/hits, id: /_id, drop: [/hits/total, /took] } } }
  - { route: \"GET /t/{tenant}/orders/{order}\", permission: orders:read, resource: { type: orders, id: order } }
  - { route: \"GET /t/{tenant}/count\", permission: orders:read }";

/// What the application does with a connection.
pub enum Deed {
    /// These bytes.
    Say(Vec<u8>),
    /// Nothing until it is told to go on.
    Wait(mpsc::Receiver<()>),
}

/// An application that says what it is told, to one request after another, and closes when it was told no more.
pub struct Application {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<String>>>,
    deeds: mpsc::Sender<Vec<Deed>>,
}

impl Application {
    pub fn start() -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (deeds, told) = mpsc::channel::<Vec<Deed>>();
        let notes = Arc::clone(&asked);
        std::thread::spawn(move || {
            let told = Arc::new(Mutex::new(told));
            for stream in listener.incoming() {
                let (notes, told) = (Arc::clone(&notes), Arc::clone(&told));
                std::thread::spawn(move || serve(&mut stream.unwrap(), &notes, &told));
            }
        });
        Application { address, asked, deeds }
    }

    pub fn next(&self, deeds: Vec<Deed>) {
        self.deeds.send(deeds).unwrap();
    }

    /// Answers the next request with this head and body, the head without its end.
    pub fn says(&self, head: &str, body: impl AsRef<[u8]>) {
        let mut bytes = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").into_bytes();
        bytes.extend_from_slice(body.as_ref());
        self.next(vec![Deed::Say(bytes)]);
    }

    /// The same, as whole JSON.
    pub fn lists(&self, body: &str) {
        self.says(
            &format!("200 OK\r\nContent-Type: application/json\r\nContent-Length: {}", body.len()),
            body,
        );
    }

    pub fn last(&self) -> String {
        self.asked.lock().unwrap().last().unwrap().to_ascii_lowercase()
    }
}

/// One connection: each request is answered, then it is closed.
fn serve(stream: &mut TcpStream, notes: &Mutex<Vec<String>>, told: &Mutex<mpsc::Receiver<Vec<Deed>>>) {
    let mut head = Vec::new();
    let mut byte = [0u8; 1];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    notes.lock().unwrap().push(String::from_utf8(head).unwrap());
    let deeds = told.lock().unwrap().recv_timeout(Duration::from_secs(10)).unwrap_or_default();
    for deed in deeds {
        match deed {
            Deed::Say(bytes) => {
                for piece in bytes.chunks(64 << 10) {
                    if stream.write_all(piece).is_err() {
                        return;
                    }
                }
            }
            Deed::Wait(go) => {
                let _ = go.recv_timeout(Duration::from_secs(10));
            }
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read(&mut [0; 64]);
}

/// A world, its application, and an agent whose grant names these orders.
fn stage(orders: &[&str], in_clear: bool) -> (World, Application, String) {
    let application = Application::start();
    let plan = Plan { upstream: Some(application.address), ..Plan::default() }.edit(ORDERS, NARROWED);
    let world = if in_clear { clear(plan) } else { World::of(plan) };
    let agent = world.people.staff("sam");
    let grant = GrantId::new(&new_id("gra", world.now()).unwrap()).unwrap();
    let named = orders.iter().map(|id| ("orders".parse().unwrap(), id.parse().unwrap())).collect();
    let command = Command::MakeGrant {
        tenant: tenant("acme"),
        grant: grant.clone(),
        environment: production(),
        to: Grantee::Support,
        role: RoleName::new("admin").unwrap(),
        scope: Scope::Resources(named),
        until: Until::For(Span::Millis(28_800_000)),
    };
    world.done(command, &world.people.admin("acme"));
    world.session_on("acme", &agent, WantedBasis::Grant(grant), None);
    (world, application, agent)
}

/// What must be in no answer that is narrowed.
fn holds_nothing_else(reply: &Reply) {
    for gone in [
        "etag",
        "last-modified",
        "content-length",
        "accept-ranges",
        "content-range",
        "link",
        "digest",
        "content-digest",
        "repr-digest",
        "content-md5",
        "x-total-count",
        "content-location",
        "trailer",
        "expires",
    ] {
        assert!(reply.values(gone).is_empty(), "{gone}: {}", reply.head);
    }
    assert_eq!(reply.values("cache-control"), ["no-store"]);
    assert!(!reply.text().contains("HIDDEN"), "{}", reply.text());
}

const LIST: &str = r#"{"total":3,"orders":[{"id":"o1","note":"first"},{"id":"o2","note":"HIDDEN"},{"id":7,"note":"third"}],"next":"HIDDEN","page":{"size":50}}"#;

// PFP-16
#[test]
fn a_list_shows_what_the_grant_names_and_no_way_to_count_the_rest() {
    let (world, application, agent) = stage(&["o1", "7"], false);
    let more = "Range: bytes=0-10\r\nIf-None-Match: \"a\"\r\nIf-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT\r\nIf-Range: \"a\"\r\nAccept-Encoding: gzip, br\r\nX-Other: 1\r\n";
    let head = format!(
        "200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\nETag: \"a\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nAccept-Ranges: bytes\r\nLink: </o?after=HIDDEN>; rel=next\r\nX-Total-Count: 3\r\nDigest: sha-256=aaaa\r\nContent-Digest: sha-256=:aaaa:\r\nRepr-Digest: sha-256=:aaaa:\r\nContent-MD5: aaaa\r\nContent-Location: /o/3\r\nExpires: Thu, 01 Jan 2099 00:00:00 GMT\r\nCache-Control: public\r\nVary: Accept\r\nX-Request-Id: r1\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT",
        LIST.len()
    );
    application.says(&head, LIST);
    let reply = world.ask("GET", "/t/acme/orders", &agent, more);
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.text(),
        r#"{"orders":[{"id":"o1","note":"first"},{"id":7,"note":"third"}],"page":{"size":50}}"#
    );
    holds_nothing_else(&reply);
    assert_eq!(reply.values("content-type"), ["application/json; charset=utf-8"]);
    assert_eq!(
        (reply.values("vary"), reply.values("x-request-id")),
        (vec!["Accept".into()], vec!["r1".into()])
    );
    let asked = application.last();
    assert!(asked.contains("accept-encoding: identity\r\n") && asked.contains("x-other: 1\r\n"), "{asked}");
    for gone in ["range:", "if-none-match", "if-modified-since", "if-range", "gzip"] {
        assert!(!asked.contains(gone), "{gone}: {asked}");
    }
    let outcome = world.last_outcome();
    assert_eq!((&outcome["end"], &outcome["sent"]), (&"complete".into(), &(reply.body.len() as u64).into()));
    // Whoever may see all of it gets it as it came, and what they ask goes on as they asked it.
    let admin = world.people.admin("acme");
    application.says(&head, LIST);
    let reply = world.ask("GET", "/t/acme/orders", &admin, more);
    assert_eq!((reply.text().as_str(), reply.values("etag")), (LIST, vec!["\"a\"".to_owned()]));
    assert!(application.last().contains("accept-encoding: gzip, br\r\n"));
    world.finish();
}

// PFP-16
#[test]
fn every_way_to_an_item_is_narrowed_or_refused() {
    let (world, application, agent) = stage(&["o1"], false);
    application.lists(r#"[{"id":"o1"},{"id":"o2","n":"HIDDEN"}]"#);
    let reply = world.get("/t/acme/export", &agent);
    assert_eq!(reply.text(), r#"[{"id":"o1"}]"#);
    holds_nothing_else(&reply);
    application.lists(
        r#"{"took":2,"timed_out":false,"hits":{"total":{"value":2},"hits":[{"_id":"o2","n":"HIDDEN"},{"_id":"o1"}]}}"#,
    );
    let reply = world.ask("POST", "/t/acme/search", &agent, "");
    assert_eq!(reply.text(), r#"{"timed_out":false,"hits":{"hits":[{"_id":"o1"}]}}"#);
    holds_nothing_else(&reply);
    // One by one the same holds; what is not narrowed is refused.
    application.lists("{}");
    assert_eq!(world.get("/t/acme/orders/o1", &agent).status, 200);
    for refused in ["/t/acme/orders/o2", "/t/acme/count", "/t/acme/download"] {
        let reply = world.get(refused, &agent);
        assert_eq!((reply.status, reply.code()), (403, "grant_scope".to_owned()), "{refused}");
    }
    // Nothing of an answer to `HEAD` tells of a length.
    application.says("200 OK\r\nContent-Type: application/json\r\nContent-Length: 4000\r\nETag: \"a\"", "");
    let reply = world.ask("HEAD", "/t/acme/orders", &agent, "");
    assert_eq!(reply.status, 200);
    holds_nothing_else(&reply);
    world.finish();
}

#[test]
fn an_agent_whose_grant_names_other_things_is_refused() {
    let (world, _, agent) = stage(&["o1"], false);
    let grant = GrantId::new(&new_id("gra", world.now()).unwrap()).unwrap();
    let command = Command::MakeGrant {
        tenant: tenant("acme"),
        grant: grant.clone(),
        environment: production(),
        to: Grantee::Support,
        role: RoleName::new("admin").unwrap(),
        scope: Scope::Resources([("users".parse().unwrap(), "o1".parse().unwrap())].into()),
        until: Until::For(Span::Millis(28_800_000)),
    };
    world.done(command, &world.people.admin("acme"));
    let session = world.session_on("acme", &agent, WantedBasis::Grant(grant), None);
    let reply = world.ask("GET", "/t/acme/orders", &agent, &format!("Postern-Session: {session}\r\n"));
    assert_eq!((reply.status, reply.code()), (403, "grant_scope".to_owned()));
    world.finish();
}

#[test]
fn what_cannot_be_narrowed_is_not_shown_and_says_why() {
    let (world, application, agent) = stage(&["o1"], false);
    let json = "Content-Type: application/json";
    let length = |body: &str| format!("Content-Length: {}", body.len());
    for (head, body, code) in [
        (format!("206 X\r\n{json}\r\nContent-Range: bytes 0-9/100"), r#"{"orders":[]}"#, "narrow_status"),
        (format!("302 X\r\n{json}\r\nLocation: https://files.example/HIDDEN"), "{}", "narrow_status"),
        (format!("201 X\r\n{json}"), r#"{"orders":[]}"#, "narrow_status"),
        ("200 X\r\nContent-Type: text/csv".to_owned(), "HIDDEN", "narrow_type"),
        ("200 X\r\nContent-Type: application/x-ndjson".to_owned(), "{\"id\":\"o1\"}", "narrow_type"),
        ("200 X\r\nX-A: b".to_owned(), "{}", "narrow_type"),
        (format!("200 X\r\n{json}\r\nContent-Encoding: gzip"), "\x1f\u{b}", "narrow_coded"),
        (format!("200 X\r\n{json}"), "<html>HIDDEN", "narrow_not_json"),
        (format!("200 X\r\n{json}"), "\u{feff}{\"orders\":[]}", "narrow_not_json"),
        (format!("200 X\r\n{json}"), r#"{"items":["HIDDEN"]}"#, "narrow_list_missing"),
        (format!("200 X\r\n{json}"), r#"{"orders":[],"orders":["HIDDEN"]}"#, "narrow_member_twice"),
        (format!("200 X\r\n{json}"), r#"{"orders":[{"id":"o1","id":"HIDDEN"}]}"#, "narrow_member_twice"),
        (format!("200 X\r\n{json}"), r#"{"orders":[]}{"id":"HIDDEN"}"#, "narrow_trailing"),
        (format!("200 X\r\n{json}"), r#"{"orders":[{"id":"o1"}"#, "narrow_cut_off"),
    ] {
        application.says(&format!("{head}\r\n{}", length(body)), body);
        let reply = world.get("/t/acme/orders", &agent);
        assert_eq!((reply.status, reply.code().as_str()), (502, code), "{head} {body}");
        assert!(!reply.text().contains("HIDDEN") && !reply.head.contains("HIDDEN"), "{}", reply.text());
        let outcome = world.last_outcome();
        assert_eq!((&outcome["end"], &outcome["fault"]), (&"upstream_failed".into(), &code.into()));
    }
    application.says("304 Not Modified\r\nETag: \"a\"", "");
    let reply = world.get("/t/acme/orders", &agent);
    assert_eq!((reply.status, reply.code()), (502, "narrow_status".to_owned()));
    // Of a refusal the status passes, and nothing else.
    for status in [404, 429, 503] {
        application.says(
            &format!("{status} X\r\n{json}\r\nContent-Length: 18\r\nRetry-After: 7\r\nX-Hint: HIDDEN"),
            r#"{"hint":"HIDDEN"}."#,
        );
        let reply = world.get("/t/acme/orders", &agent);
        assert_eq!((reply.status, reply.body.len()), (status, 0));
        assert_eq!(
            (reply.values("content-length"), reply.values("retry-after")),
            (vec!["0".into()], vec!["7".into()])
        );
        assert!(!reply.head.contains("HIDDEN") && reply.values("content-type").is_empty(), "{}", reply.head);
    }
    world.finish();
}

/// A list of about so many bytes, in chunks, of which each third item is hidden; and what of it is seen.
fn large(bytes: usize) -> (Vec<u8>, String) {
    let (mut whole, mut seen) = (String::from(r#"{"orders":["#), String::from(r#"{"orders":["#));
    let mut number = 0;
    while whole.len() < bytes {
        let hidden = number % 3 == 0;
        let (id, text) =
            if hidden { (format!("x{number}"), "HIDDEN ") } else { (format!("o{}", number % 2), "seen ") };
        let item = format!(r#"{{"id":"{id}","text":"{}"}}"#, text.repeat(number % 200));
        whole.push_str(if number > 0 { ",\n " } else { "" });
        whole.push_str(&item);
        if !hidden {
            seen.push_str(if seen.ends_with('}') { "," } else { "" });
            seen.push_str(&item);
        }
        number += 1;
    }
    whole.push_str("],\"total\":3}");
    seen.push_str("]}");
    let mut framed = Vec::new();
    for piece in whole.as_bytes().chunks(10_007) {
        framed.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        framed.extend_from_slice(piece);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\nX-Total: 3\r\n\r\n");
    (framed, seen)
}

const CHUNKED: &str =
    "200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: X-Total";

#[test]
fn a_list_of_ten_megabytes_passes_over_both_protocols() {
    let (framed, seen) = large(10 << 20);
    let (world, application, agent) = stage(&["o0", "o1"], false);
    application.says(CHUNKED, &framed);
    let reply = world.get("/t/acme/orders", &agent);
    assert_eq!(reply.status, 200);
    assert!(reply.text() == seen, "{} of {}", reply.body.len(), seen.len());
    holds_nothing_else(&reply);
    let outcome = world.last_outcome();
    assert_eq!((&outcome["end"], &outcome["sent"]), (&"complete".into(), &(seen.len() as u64).into()));
    world.finish();
    let (world, application, agent) = stage(&["o0", "o1"], true);
    application.says(CHUNKED, &framed);
    let peer = Peer::connect(world.gateway().address());
    let (response, _) = peer.begin("GET", "/t/acme/orders", &agent, &[], true);
    let answer = peer.answer(response).unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.body == seen.as_bytes(), "{} of {}", answer.body.len(), seen.len());
    assert!(answer.headers.get("content-length").is_none());
    drop(peer);
    world.finish();
}

/// A list that breaks behind so many of its bytes, in the middle of an item.
fn breaking(bytes: usize, how: &str) -> Vec<u8> {
    let mut text = String::from(r#"{"orders":["#);
    while text.len() < bytes {
        text.push_str(r#"{"id":"o1","text":"seen"},{"id":"x","text":"HIDDEN"},"#);
    }
    text.push_str(how);
    text.into_bytes()
}

#[test]
fn a_fault_behind_the_first_byte_resets_and_never_ends_in_order() {
    let (world, application, agent) = stage(&["o1"], false);
    for (how, code) in [
        (r#"{"id":"o1","text":NaN}]}"#, "narrow_not_json"),
        (r#"{"id":"o1","id":"o1"}]}"#, "narrow_member_twice"),
        (r#"{"id":"o1"}]}x"#, "narrow_trailing"),
        // The application closes here, where only its close says that the body is over.
        (r#"{"id":"o1","text":"#, "narrow_cut_off"),
    ] {
        application.says("200 OK\r\nContent-Type: application/json", breaking(400_000, how));
        let mut client = world.client();
        client.send(request("GET", "/t/acme/orders", &agent, ""));
        assert!(client.head().starts_with("HTTP/1.1 200"));
        let mut text = Vec::new();
        let ending = loop {
            match client.more() {
                Ending::Open => text.append(&mut client.inbox),
                ending => break ending,
            }
        };
        assert_eq!(ending, Ending::Reset, "{how}");
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("seen") && !text.contains("HIDDEN") && !text.ends_with("0\r\n\r\n"));
        let outcome = world.last_outcome();
        assert_eq!((&outcome["end"], &outcome["fault"]), (&"upstream_failed".into(), &code.into()));
    }
    world.finish();
    let (world, application, agent) = stage(&["o1"], true);
    application.says("200 OK\r\nContent-Type: application/json", breaking(400_000, "NaN]}"));
    let peer = Peer::connect(world.gateway().address());
    let (response, _) = peer.begin("GET", "/t/acme/orders", &agent, &[], true);
    let broken = peer.answer(response).unwrap_err();
    assert!(broken.is_reset(), "{broken}");
    drop(peer);
    world.finish();
}

#[test]
fn a_list_that_comes_slowly_goes_on_as_it_comes_and_ends_with_the_session() {
    let (world, application, agent) = stage(&["o1"], false);
    let (go, wait) = mpsc::channel();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let item = |id: &str, text: &str| format!(r#"{{"id":"{id}","text":"{}"}},"#, text.repeat(1000));
    let (hide, hidden) = mpsc::channel();
    application.next(vec![
        // A byte at a time, and the items hidden or not in pieces.
        Deed::Say([head.to_owned()].concat().into_bytes()),
        Deed::Say(r#"{"orders":["#.chars().map(|c| chunk(&c.to_string())).collect::<String>().into_bytes()),
        Deed::Say(chunk(&item("x", "HIDDEN")).into_bytes()),
        Deed::Say(chunk(&item("o1", "seen ")).into_bytes()),
        Deed::Wait(wait),
        Deed::Say(chunk(&item("o1", "more ")[..3000]).into_bytes()),
        Deed::Wait(hidden),
    ]);
    let mut client = world.client();
    client.send(request("GET", "/t/acme/orders", &agent, ""));
    assert!(client.head().starts_with("HTTP/1.1 200"));
    let has =
        |client: &crate::client::Client, text: &[u8]| client.inbox.windows(text.len()).any(|w| w == text);
    until("the first item came", || {
        has(&client, b"\"}") || client.more() == Ending::Open && has(&client, b"\"}")
    });
    assert!(!has(&client, b"HIDDEN"));
    client.inbox.clear();
    // Half an item is none: nothing of it passes, and with the session nothing ever will.
    go.send(()).unwrap();
    let session = world.of_kind("access.intent").pop().unwrap()["session"].as_str().unwrap().to_owned();
    world.done(World::end("acme", &session.parse().unwrap()), &agent);
    let (ending, count) = client.read_out();
    assert_eq!((ending, count), (Ending::Reset, 0));
    hide.send(()).unwrap();
    assert_eq!(world.last_outcome()["end"], "cut");
    world.finish();
}

pub const BOARDS: (&str, &str) = (
    "  admin: { allow: \"*:*\" }\n",
    "  admin: { allow: \"*:*\" }\n  lead: { at: board, allow: \"orders:*\" }\n  restricted: { at: board, allow: orders:write, own: orders:read, assigned: orders:read }\n  form: { at: board, allow: orders:write }\nresource_types:\n  board: { manage: users:manage }\n  card: { parent: board }\n",
);
const CARDS: &str = "- { route: \"GET /t/{tenant}/orders\", permission: orders:read }
  - { route: \"GET /t/{tenant}/b/{board}/cards\", permission: orders:read, resource: { type: board, id: board }, narrow: { filter: { type: card, list: /cards, id: /id } } }
  - { route: \"GET /t/{tenant}/b/{board}/count\", permission: orders:read, resource: { type: board, id: board } }
  - { route: \"GET /t/{tenant}/b/{board}/c/{card}\", permission: orders:read, resource: { type: card, id: card, within: { type: board, id: board } } }
  - { route: \"GET /t/{tenant}/b/{board}/c/{card}/notes\", permission: orders:read, resource: { type: card, id: card, within: { type: board, id: board } }, narrow: refuse }";

// PFP-04
// PFP-16
// PFP-17
#[test]
fn whoever_sees_what_they_made_or_were_assigned_finds_only_that_in_lists() {
    let application = Application::start();
    let plan = Plan { upstream: Some(application.address), ..Plan::default() };
    let plan = with_services(plan).edit("\"members:push\"", "\"members:push\", \"resources:push\"");
    let world = World::of(plan.edit(BOARDS.0, BOARDS.1).edit(ORDERS, CARDS));
    let crm = program(&world, "crm");
    let push = |path: &str, body: &str| {
        let reply = call(&world, "PUT", &format!("/tenants/acme/resources/{path}"), &crm, body);
        assert_eq!(reply.status, 200, "{}", reply.text());
    };
    let clara = r#"{"issuer": "app", "sub": "clara"}"#;
    for (resource, body) in [
        // That she made the board itself opens none of its cards.
        ("board/b1", format!(r#"{{"creator": {clara}}}"#)),
        ("board/b2", "{}".to_owned()),
        ("board/b3", "{}".to_owned()),
        ("card/c1", format!(r#"{{"parent": "b1", "creator": {clara}}}"#)),
        ("card/c2", format!(r#"{{"parent": "b1", "assignees": [{clara}]}}"#)),
        ("card/c3", r#"{"parent": "b1", "creator": {"issuer": "app", "sub": "lena"}}"#.to_owned()),
        ("card/c4", format!(r#"{{"parent": "b2", "creator": {clara}}}"#)),
        ("card/c5", format!(r#"{{"creator": {clara}}}"#)),
    ] {
        push(resource, &body);
    }
    for (board, sub, role) in [
        ("b1", "clara", "restricted"),
        ("b3", "clara", "restricted"),
        ("b1", "lena", "lead"),
        ("b1", "fred", "form"),
    ] {
        let path = format!("board/{board}/members/app.{}", URL_SAFE_NO_PAD.encode(sub));
        push(&path, &format!(r#"{{"role": "{role}"}}"#));
    }
    let who = |sub: &str| world.people.member(sub, "acme", &[]);
    let cards = |ids: &[&str]| {
        let items: Vec<String> = ids.iter().map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
        format!(r#"{{"cards":[{}]}}"#, items.join(","))
    };
    let all = cards(&["c1", "c2", "c3", "c4", "c5", "c6"]);
    let list = |sub: &str| {
        application.lists(&all);
        let reply = world.get("/t/acme/b/b1/cards", &who(sub));
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.text()
    };
    assert_eq!(list("clara"), cards(&["c1", "c2"]));
    assert_eq!(list("lena"), all, "who may see all of it gets it as it came");
    // Her card opens one by one; what is not told apart by whose it is stays closed, of it too.
    application.lists("{}");
    assert_eq!(world.get("/t/acme/b/b1/c/c1", &who("clara")).status, 200);
    application.lists("{}");
    assert_eq!(world.get("/t/acme/b/b1/c/c1/notes", &who("lena")).status, 200);
    // It ends with the assignment.
    push("card/c2", r#"{"parent": "b1", "assignees": []}"#);
    assert_eq!(list("clara"), cards(&["c1"]));
    // Where nothing says how it is narrowed it is refused, on a board that she made herself too; and so is whoever may
    // see none.
    for (sub, path) in [
        ("clara", "b1/count"),
        ("clara", "b3/count"),
        ("clara", "b1/c/c3"),
        ("clara", "b1/c/c1/notes"),
        ("clara", "b2/cards"),
        ("fred", "b1/cards"),
        ("nobody", "b1/cards"),
    ] {
        let reply = world.get(&format!("/t/acme/b/{path}"), &who(sub));
        assert_eq!((reply.status, reply.code()), (403, "permission_missing".to_owned()), "{sub} {path}");
    }
    world.finish();
}
