//! Resources that nobody pushed, looked up at their application: what that opens, what an application that lies, hangs or breaks off
//! opens (nothing), and how often it is asked.

mod held;

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use postern::lifecycle::WantedBasis;
use serde_json::{Value, json};

use crate::{
    client::{Client, Ending, Reply},
    services::{call, program, with_services},
    world::*,
};

/// What the application answers to a look-up.
#[derive(Clone)]
enum Say {
    /// This JSON.
    Json(Value),
    /// These bytes, and then it closes.
    Raw(Vec<u8>),
    /// Nothing, ever.
    Never,
    /// Nothing until it is told to go on, and then the JSON.
    Held(Value),
}

/// An application that tells of its cards at `/internal/…`, and serves everything else.
struct Application {
    address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    says: Mutex<HashMap<String, Say>>,
    list: Mutex<String>,
    /// Heads of look-ups, and of all else.
    looked_up: Mutex<Vec<String>>,
    served: AtomicUsize,
    /// The questions that are not answered.
    open: Mutex<Vec<TcpStream>>,
    most: AtomicUsize,
    gate: (Mutex<bool>, Condvar),
}

impl Application {
    fn start() -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner::default());
        let shared = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (inner, mut stream) = (Arc::clone(&shared), stream.unwrap());
                std::thread::spawn(move || while serve(&mut stream, &inner) {});
            }
        });
        Application { address, inner }
    }

    fn says(&self, path: &str, say: Say) {
        self.inner.says.lock().unwrap().insert(path.to_owned(), say);
    }

    /// Tells of a card of acme's.
    fn card(&self, id: &str, board: &str, creator: &str, assignees: &[&str]) {
        self.says(&format!("/internal/acme/cards/{id}"), Say::Json(card(id, board, creator, assignees)));
    }

    fn lists(&self, ids: impl IntoIterator<Item = String>) {
        let items: Vec<Value> = ids.into_iter().map(|id| json!({ "id": id })).collect();
        *self.inner.list.lock().unwrap() = json!({ "cards": items }).to_string();
    }

    /// The next creation makes this one.
    fn creates(&self, id: &str) {
        *self.inner.list.lock().unwrap() = json!({ "id": id }).to_string();
    }

    /// How often it was asked about something.
    fn asked(&self) -> usize {
        self.inner.looked_up.lock().unwrap().len()
    }

    fn last(&self) -> String {
        self.inner.looked_up.lock().unwrap().last().unwrap().clone()
    }

    fn go_on(&self) {
        *self.inner.gate.0.lock().unwrap() = true;
        self.inner.gate.1.notify_all();
    }
}

fn card(id: &str, board: &str, creator: &str, assignees: &[&str]) -> Value {
    let assignees: Vec<Value> = assignees.iter().map(|sub| json!({ "id": sub })).collect();
    json!({ "id": id, "board": { "id": board }, "created_by": { "id": creator }, "assignees": assignees })
}

/// One request; whether another may follow.
fn serve(stream: &mut TcpStream, inner: &Inner) -> bool {
    let mut head = Vec::new();
    let mut byte = [0u8; 1];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let json = |text: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )
    };
    if !path.starts_with("/internal/") {
        inner.served.fetch_add(1, SeqCst);
        let text =
            if path.ends_with("/cards") { inner.list.lock().unwrap().clone() } else { "{}".to_owned() };
        if path.ends_with("/stream") {
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
            while stream.write_all(b"5\r\nhello\r\n").is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
            return false;
        }
        if head.starts_with("POST ") {
            // Its body, of which nothing is wanted.
            let _ = stream.read(&mut [0; 64]);
            return stream.write_all(json(&text).replacen("200 OK", "201 Created", 1).as_bytes()).is_ok();
        }
        return stream.write_all(json(&text).as_bytes()).is_ok();
    }
    inner.looked_up.lock().unwrap().push(head.clone());
    let asked_by = stream.peer_addr().unwrap();
    {
        let mut open = inner.open.lock().unwrap();
        open.push(stream.try_clone().unwrap());
        // Not those that were given up, also where nobody here has read of it yet.
        let waits = |one: &&TcpStream| {
            let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
            rustix::net::recv(one, &mut [0u8; 1], flags).err() == Some(rustix::io::Errno::AGAIN)
        };
        inner.most.fetch_max(open.iter().filter(waits).count(), SeqCst);
    }
    let say = inner.says.lock().unwrap().get(&path).cloned();
    let bytes = match say {
        None => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        Some(Say::Json(value)) => json(&value.to_string()).into_bytes(),
        Some(Say::Held(value)) => {
            let mut open = inner.gate.0.lock().unwrap();
            while !*open {
                open = inner.gate.1.wait(open).unwrap();
            }
            json(&value.to_string()).into_bytes()
        }
        Some(Say::Raw(bytes)) => bytes,
        Some(Say::Never) => {
            // Until the other side gives up.
            let _ = stream.read(&mut byte);
            Vec::new()
        }
    };
    let _ = stream.write_all(&bytes);
    inner.open.lock().unwrap().retain(|one| one.peer_addr().is_ok_and(|peer| peer != asked_by));
    false
}

const ROLES: (&str, &str) = (
    "  admin: { allow: \"*:*\" }\n",
    "  admin: { allow: \"*:*\" }
  lead: { at: board, allow: [\"orders:*\", \"users:manage\"] }
  hand: { at: board, allow: notes:see, own: \"orders:*\", assigned: orders:read }
  form: { at: board, allow: orders:write }
resource_types:
  board: { manage: users:manage }
  card:
    parent: board
    look_up:
      path: /internal/{tenant}/cards/{card}
      id: /id
      creator: /created_by/id
      assignees: /assignees/*/id
      parent: /board/id
      for: 10s
      within: WITHIN
",
);
const ROUTES: (&str, &str) = (
    "  - { route: \"GET /t/{tenant}/download\"",
    "  - { route: \"GET /t/{tenant}/c/{card}\", permission: orders:read, resource: { type: card, id: card } }
  - { route: \"GET /t/{tenant}/b/{board}/c/{card}\", permission: orders:read, resource: { type: card, id: card, within: { type: board, id: board } } }
  - { route: \"PUT /t/{tenant}/b/{board}/c/{card}\", permission: orders:write, resource: { type: card, id: card, within: { type: board, id: board } } }
  - { route: \"GET /t/{tenant}/c/{card}/stream\", permission: orders:read, record: true, resource: { type: card, id: card } }
  - { route: \"GET /t/{tenant}/b/{board}/cards\", permission: orders:read, resource: { type: board, id: board }, narrow: { filter: { type: card, list: /cards, id: /id } } }
  - { route: \"GET /t/{tenant}/cards\", permission: orders:read, narrow: { filter: { type: card, list: /cards, id: /id } } }
  - { route: \"GET /t/{tenant}/download\"",
);

/// Boards `b1` and `b2` of acme and of globex; on each board of acme's lena leads, clara works with what is hers, and fred only writes.
fn stage(clock: Option<&Arc<ManualClock>>) -> (World, Application) {
    stage_within(clock, "4s")
}

/// The same, with this time for a look-up: a short one where none is answered.
fn stage_within(clock: Option<&Arc<ManualClock>>, within: &'static str) -> (World, Application) {
    let application = Application::start();
    let plan = Plan { upstream: Some(application.address), clock: clock.cloned(), ..Plan::default() };
    let plan = with_services(plan).edit("\"members:push\"", "\"members:push\", \"resources:push\"");
    let plan = plan.edit("permissions: [orders:read,", "permissions: [notes:see, orders:read,");
    let world = World::of(plan.edit(ROLES.0, ROLES.1).edit("WITHIN", within).edit(ROUTES.0, ROUTES.1));
    for tenant in ["acme", "globex"] {
        for board in ["b1", "b2"] {
            push(&world, tenant, &format!("board/{board}"), "{}");
        }
    }
    for (board, sub, role) in [
        ("b1", "lena", "lead"),
        ("b1", "clara", "hand"),
        ("b2", "clara", "hand"),
        ("b1", "fred", "form"),
        ("b1", "mia", "hand"),
    ] {
        row(&world, board, sub, role);
    }
    (world, application)
}

fn push(world: &World, tenant: &str, resource: &str, body: &str) {
    let path = format!("/tenants/{tenant}/resources/{resource}");
    let reply = call(world, "PUT", &path, &program(world, "crm"), body);
    assert_eq!(reply.status, 200, "{}", reply.text());
}

fn row(world: &World, board: &str, sub: &str, role: &str) {
    let path = format!("/tenants/acme/resources/board/{board}/members/app.{}", URL_SAFE_NO_PAD.encode(sub));
    let reply = call(world, "PUT", &path, &program(world, "crm"), &format!(r#"{{"role": "{role}"}}"#));
    assert_eq!(reply.status, 200, "{}", reply.text());
}

fn what(reply: &Reply) -> String {
    if reply.status == 200 { "open".to_owned() } else { reply.code() }
}

/// One request of a member of acme's.
fn ask(world: &World, method: &str, path: &str, sub: &str) -> String {
    let more = if method == "GET" { "" } else { "Content-Length: 0\r\n" };
    what(&world.ask(method, &format!("/t/acme/{path}"), &world.people.member(sub, "acme", &[]), more))
}

fn get(world: &World, path: &str, sub: &str) -> String {
    ask(world, "GET", path, sub)
}

const NO: &str = "permission_missing";

fn metric(world: &World, result: &str) -> u64 {
    let mut client = Client::connect(world.gateway().operations());
    client.send("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let text = client.reply().text();
    let wanted = format!("postern_look_ups_total{{result=\"{result}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&wanted));
    line.unwrap_or_else(|| panic!("{result}: {text}")).parse().unwrap()
}

// PFP-04
// PFP-16
#[test]
fn what_the_application_says_is_hers_opens_and_nothing_else_does() {
    let (world, application) = stage(None);
    application.card("c1", "b1", "clara", &[]);
    application.card("c2", "b1", "lena", &["mia", "clara"]);
    application.card("c3", "b1", "lena", &["mia"]);
    application.card("c4", "b3", "clara", &["clara"]);
    for (path, answer) in [
        ("c/c1", "open"),
        ("c/c2", "open"),
        ("b/b1/c/c1", "open"),
        ("b/b1/c/c2", "open"),
        ("c/c3", NO),
        ("b/b1/c/c3", NO),
        // On a board on which she is nobody.
        ("c/c4", NO),
        // The path says another board than the application.
        ("b/b2/c/c1", NO),
        // Nobody knows it.
        ("c/c9", NO),
        ("b/b1/c/c9", NO),
    ] {
        assert_eq!(get(&world, path, "clara"), answer, "{path}");
    }
    // What is hers she changes; what is assigned to her she reads.
    assert_eq!(ask(&world, "PUT", "b/b1/c/c1", "clara"), "open");
    assert_eq!(ask(&world, "PUT", "b/b1/c/c2", "clara"), NO);
    // The lead of the board finds by it where a card lies; without its board in the path, nobody else said.
    assert_eq!(get(&world, "c/c3", "lena"), "open");
    assert_eq!(get(&world, "c/c4", "lena"), NO);
    // The question: the gateway's own word, and nothing of the client's.
    let head = application.last();
    let lower = head.to_ascii_lowercase();
    assert!(head.starts_with("GET /internal/acme/cards/"), "{head}");
    assert!(
        lower.contains("accept: application/json\r\n") && lower.contains("accept-encoding: identity\r\n")
    );
    for gone in ["authorization", "cookie", "x-remote-user", "x-user", "x-forwarded", "postern-session"] {
        assert!(!lower.contains(gone), "{gone}: {head}");
    }
    let assertion = head.lines().find_map(|line| line.strip_prefix("postern-assertion: ")).unwrap();
    let claims = assertion.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!((&claims["kind"], &claims["tenant"]), (&json!("gateway"), &json!("acme")));
    assert_eq!((&claims["sub"], &claims["aud"]), (&claims["iss"], &json!("app")));
    assert_eq!(claims["path"], head.split(' ').nth(1).unwrap());
    assert!(claims.get("role").is_none() && claims.get("session").is_none());
    world.finish();
}

#[test]
fn nobody_is_asked_where_the_answer_stands_without() {
    let (world, application) = stage(None);
    application.card("c1", "b1", "clara", &[]);
    let admin = world.people.admin("acme");
    for path in ["/t/acme/c/c1", "/t/acme/b/b1/c/c1", "/t/acme/b/b1/cards"] {
        assert_eq!(world.get(path, &admin).status, 200);
    }
    // Whoever has no row on the board that the path names; whose row could give it in no case.
    for (path, sub) in
        [("b/b1/c/c1", "nobody"), ("b/b2/c/c1", "lena"), ("b/b1/c/c1", "fred"), ("b/b1/cards", "fred")]
    {
        assert_eq!(get(&world, path, sub), NO, "{path} {sub}");
    }
    // Another tenant's, somebody without a token.
    let foreign = world.people.member("clara", "globex", &[]);
    assert_eq!(world.get("/t/acme/c/c1", &foreign).code(), "tenant_foreign");
    assert_eq!(world.get("/t/acme/c/c1", "").status, 401);
    // An agent whose session is by consent; and one that has none.
    let agent = world.people.staff("sam");
    assert_eq!(world.get("/t/acme/c/c1", &agent).code(), "session_missing");
    world.start_session("acme", &agent);
    assert_eq!(world.get("/t/acme/c/c1", &agent).status, 200);
    assert_eq!(ask(&world, "PUT", "b/b1/c/c1", "nobody"), NO);
    // What a service pushed, or removed, is known.
    push(&world, "acme", "card/c1", r#"{"parent": "b1", "creator": {"issuer": "app", "sub": "lena"}}"#);
    assert_eq!(get(&world, "c/c1", "clara"), NO);
    let gone = call(&world, "DELETE", "/tenants/acme/resources/card/c1", &program(&world, "crm"), "");
    assert_eq!(gone.status, 200);
    assert_eq!(get(&world, "c/c1", "lena"), NO);
    assert_eq!(application.asked(), 0, "{:?}", application.inner.looked_up.lock().unwrap());
    world.finish();
}

// PFP-16
#[test]
fn an_assignment_that_was_lost_ends_within_the_time_that_an_answer_counts() {
    let clock = ManualClock::at(NOON);
    let (world, application) = stage(Some(&clock));
    application.card("c1", "b1", "lena", &["clara"]);
    assert_eq!((get(&world, "c/c1", "clara"), application.asked()), ("open".to_owned(), 1));
    application.card("c1", "b1", "lena", &[]);
    clock.advance(9_999);
    assert_eq!((get(&world, "c/c1", "clara"), application.asked()), ("open".to_owned(), 1));
    clock.advance(1);
    assert_eq!((get(&world, "c/c1", "clara"), application.asked()), (NO.to_owned(), 2));
    // That there is none is known for a second.
    assert_eq!(get(&world, "c/c7", "clara"), NO);
    application.card("c7", "b1", "clara", &[]);
    assert_eq!((get(&world, "c/c7", "clara"), application.asked()), (NO.to_owned(), 3));
    clock.advance(1_000);
    assert_eq!((get(&world, "c/c7", "clara"), application.asked()), ("open".to_owned(), 4));
    assert_eq!((metric(&world, "answered"), metric(&world, "not_found")), (3, 1));
    // What is pushed counts at once.
    push(&world, "acme", "card/c7", r#"{"parent": "b1"}"#);
    assert_eq!(get(&world, "c/c7", "clara"), NO);
    world.finish();
}

#[test]
fn an_application_that_lies_hangs_or_breaks_off_opens_nothing() {
    let (world, application) = stage_within(None, "2s");
    let raw = |head: &str, body: &[u8]| {
        let mut bytes = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        Say::Raw(bytes)
    };
    let good = |id: &str| card(id, "b1", "clara", &["clara"]).to_string();
    let typed = "200 OK\r\nContent-Type: application/json";
    let mut cases: Vec<(Say, &str)> = vec![
        (Say::Never, "slow"),
        (Say::Raw(Vec::new()), "hung_up"),
        (
            Say::Raw(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n{".to_vec(),
            ),
            "hung_up",
        ),
        (Say::Raw(b"SSH-2.0-x\r\n\r\n".to_vec()), "unreadable"),
        (raw("500 X\r\nContent-Type: application/json", b"{}"), "status"),
        (raw("204 No", b""), "status"),
        (raw("404 No", b"{}"), "not_found"),
        (raw(typed, b"<html>"), "not_json"),
        (raw(typed, b"[]"), "not_json"),
    ];
    let ids: Vec<String> = (0..19).map(|number| format!("x{number}")).collect();
    let of = |number: usize| good(&ids[number]);
    cases.extend([
        (
            raw(
                &format!(
                    "302 X\r\nLocation: http://{}/internal/acme/cards/good\r\nContent-Type: application/json",
                    application.address
                ),
                of(9).as_bytes(),
            ),
            "redirect",
        ),
        (raw("200 OK\r\nContent-Type: text/html", of(10).as_bytes()), "type"),
        (raw(&format!("{typed}\r\nContent-Encoding: gzip"), of(11).as_bytes()), "coded"),
        (
            raw(typed, of(12).replace("\"created_by\":{", "\"created_by\":{\"id\":\"lena\",").as_bytes()),
            "twice",
        ),
        (raw(typed, of(13).replace("\"x13\"", "\"x1\"").as_bytes()), "another"),
        (raw(typed, of(14).replace("\"created_by\"", "\"made_by\"").as_bytes()), "missing"),
        (raw(typed, of(15).replace("\"b1\"", "\"b1/../b1\"").as_bytes()), "value"),
        (raw(typed, format!("{}{}", of(16), " ".repeat(64 << 10)).as_bytes()), "too_large"),
        (
            raw(
                typed,
                card("x17", "b1", "clara", &(0..200).map(|n| ["a", "b"][n % 2]).collect::<Vec<_>>())
                    .to_string()
                    .replace("\"a\"", "\"clara\"")
                    .as_bytes(),
            ),
            "",
        ),
        (raw(typed, card("x18", "b1", "clara", &["é"]).to_string().as_bytes()), "value"),
    ]);
    application.card("good", "b1", "clara", &[]);
    for (number, (say, code)) in cases.into_iter().enumerate() {
        let id = format!("x{number}");
        application.says(&format!("/internal/acme/cards/{id}"), say);
        let before = if code.is_empty() { 0 } else { metric(&world, code) };
        let began = Instant::now();
        let reply = world.get(&format!("/t/acme/c/{id}"), &world.people.member("clara", "acme", &[]));
        if code.is_empty() {
            assert_eq!(reply.status, 200, "two people who are named many times are two");
            continue;
        }
        assert_eq!((reply.status, reply.code()), (403, NO.to_owned()), "{id} {code}");
        assert!(!reply.text().contains("html") && reply.values("location").is_empty(), "{}", reply.text());
        assert_eq!(metric(&world, code), before + 1, "{id} {code}");
        assert!(began.elapsed() < Duration::from_secs(8), "{id} {code}");
    }
    assert!(application.inner.looked_up.lock().unwrap().iter().all(|head| !head.contains("/cards/good ")));
    assert_eq!(get(&world, "c/good", "clara"), "open");
    world.finish();
}

// PFC-04
#[test]
fn what_was_looked_up_of_one_tenant_says_nothing_of_anothers() {
    let (world, application) = stage(None);
    application.card("c1", "b1", "clara", &[]);
    let clara = world.people.member("clara", "globex", &[]);
    let path = format!("/tenants/globex/resources/board/b1/members/app.{}", URL_SAFE_NO_PAD.encode("clara"));
    assert_eq!(call(&world, "PUT", &path, &program(&world, "crm"), r#"{"role": "hand"}"#).status, 200);
    assert_eq!(get(&world, "c/c1", "clara"), "open");
    // A card of the same name, of which that tenant's application says nothing.
    assert_eq!(world.get("/t/globex/c/c1", &clara).code(), NO);
    let asked: Vec<String> = application.inner.looked_up.lock().unwrap().clone();
    let paths: Vec<&str> = asked.iter().map(|head| head.split(' ').nth(1).unwrap()).collect();
    assert_eq!(paths, ["/internal/acme/cards/c1", "/internal/globex/cards/c1"]);
    world.finish();
}

#[test]
fn a_tenant_that_came_back_is_asked_about_anew() {
    let clock = ManualClock::at(NOON);
    let (world, application) = stage(Some(&clock));
    let crm = program(&world, "crm");
    let whole = r#"{"zone":"UTC","environments":["production"]}"#;
    let rows = || {
        push(&world, "initech", "board/b1", "{}");
        let path =
            format!("/tenants/initech/resources/board/b1/members/app.{}", URL_SAFE_NO_PAD.encode("clara"));
        assert_eq!(call(&world, "PUT", &path, &crm, r#"{"role": "hand"}"#).status, 200);
    };
    assert_eq!(call(&world, "PUT", "/tenants/initech", &crm, whole).status, 201);
    rows();
    let clara = world.people.member("clara", "initech", &[]);
    application.says("/internal/initech/cards/c1", Say::Json(card("c1", "b1", "clara", &[])));
    assert_eq!(world.get("/t/initech/c/c1", &clara).status, 200);
    assert_eq!(call(&world, "DELETE", "/tenants/initech", &crm, "").status, 200);
    application.says("/internal/initech/cards/c1", Say::Json(card("c1", "b1", "lena", &[])));
    assert_eq!(world.get("/t/initech/c/c1", &clara).code(), NO);
    assert_eq!(application.asked(), 1, "a tenant that is removed has nothing that could be asked for");
    assert!(call(&world, "PUT", "/tenants/initech", &crm, whole).status < 300);
    rows();
    assert_eq!(world.get("/t/initech/c/c1", &clara).code(), NO);
    assert_eq!(application.asked(), 2, "what was said in another life counts no more");
    world.finish();
}

#[test]
fn many_who_want_the_same_at_once_ask_once() {
    let (world, application) = stage(None);
    application.says("/internal/acme/cards/c1", Say::Held(card("c1", "b1", "clara", &[])));
    let token = world.people.member("clara", "acme", &[]);
    let mut clients: Vec<Client> = (0..50).map(|_| world.client()).collect();
    for client in &mut clients {
        client.send(request("GET", "/t/acme/c/c1", &token, ""));
    }
    until("somebody asks", || application.asked() == 1);
    // One who goes away takes nothing with them.
    drop(clients.remove(0));
    application.go_on();
    for client in &mut clients {
        assert_eq!(client.reply().status, 200);
    }
    assert_eq!(application.asked(), 1);
    world.finish();
}

#[test]
fn a_flood_of_names_keeps_to_its_bound_and_no_other_tenant_waits_for_it() {
    let (world, application) = stage_within(None, "2s");
    for number in 0..120 {
        application.says(&format!("/internal/acme/cards/f{number}"), Say::Never);
    }
    let token = world.people.member("clara", "acme", &[]);
    let mut clients: Vec<Client> = (0..120).map(|_| world.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(request("GET", &format!("/t/acme/c/f{number}"), &token, ""));
    }
    until("they ask", || application.asked() >= 8);
    // Meanwhile somebody of another tenant is answered.
    let path = format!("/tenants/globex/resources/board/b1/members/app.{}", URL_SAFE_NO_PAD.encode("clara"));
    assert_eq!(call(&world, "PUT", &path, &program(&world, "crm"), r#"{"role": "hand"}"#).status, 200);
    application.says("/internal/globex/cards/c1", Say::Json(card("c1", "b1", "clara", &[])));
    assert_eq!(world.get("/t/globex/c/c1", &world.people.member("clara", "globex", &[])).status, 200);
    for client in &mut clients {
        assert_eq!(client.reply().code(), NO);
    }
    assert!(application.inner.most.load(SeqCst) <= 9, "{}", application.inner.most.load(SeqCst));
    assert!(application.asked() <= 64, "{}", application.asked());
    let (busy, slow) = (metric(&world, "busy"), metric(&world, "slow"));
    assert_eq!(busy + slow, 120);
    assert!(busy > 0 && slow >= 8, "{busy} {slow}");
    world.finish();
}

// PFP-16
#[test]
fn a_list_is_narrowed_by_what_is_looked_up_of_its_items_within_a_bound() {
    let (world, application) = stage(None);
    let list = |sub: &str| {
        let reply = world.get("/t/acme/b/b1/cards", &world.people.member(sub, "acme", &[]));
        assert_eq!(reply.status, 200, "{}", reply.text());
        let value: Value = serde_json::from_slice(&reply.body).unwrap();
        value["cards"]
            .as_array()
            .unwrap()
            .iter()
            .map(|card| card["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    application.card("c1", "b1", "clara", &[]);
    application.card("c2", "b1", "lena", &["clara"]);
    application.card("c3", "b1", "lena", &["mia"]);
    application.card("c4", "b2", "clara", &[]);
    push(&world, "acme", "card/c5", r#"{"parent": "b1", "creator": {"issuer": "app", "sub": "clara"}}"#);
    application.lists(["c1", "c2", "c3", "c4", "c5", "c6"].map(str::to_owned));
    assert_eq!(list("clara"), ["c1", "c2", "c5"]);
    assert_eq!(application.asked(), 5, "what was pushed is not asked for");
    assert_eq!(list("mia"), ["c3"], "by what was just asked");
    assert_eq!(list("lena"), ["c1", "c2", "c3", "c4", "c5", "c6"], "whoever may see all of it");
    assert!(application.asked() <= 6, "only what is not there may have been asked for once more");
    // Of a long list so many are asked for; what is known of others goes on counting.
    let ids: Vec<String> = (0..150).map(|number| format!("n{number}")).collect();
    for id in &ids {
        application.card(id, "b1", "clara", &[]);
    }
    let before = application.asked();
    application.lists(ids.iter().cloned().chain(["c1".to_owned(), "c5".to_owned()]));
    let seen = list("clara");
    assert_eq!(seen.len(), 102, "{seen:?}");
    assert_eq!(seen[99..], ["n99", "c1", "c5"]);
    assert_eq!(application.asked(), before + 100);
    // The next request finds those, and asks for the rest.
    assert_eq!(list("clara").len(), 152);
    world.finish();
}

#[test]
fn a_list_does_not_wait_a_hundred_times_for_an_application_that_hangs() {
    let (world, application) = stage_within(None, "500ms");
    let ids: Vec<String> = (0..60).map(|number| format!("h{number}")).collect();
    for id in &ids {
        application.says(&format!("/internal/acme/cards/{id}"), Say::Never);
    }
    push(&world, "acme", "card/c5", r#"{"parent": "b1", "creator": {"issuer": "app", "sub": "clara"}}"#);
    application.lists(ids.into_iter().chain(["c5".to_owned()]));
    let reply = world.get("/t/acme/b/b1/cards", &world.people.member("clara", "acme", &[]));
    assert_eq!(reply.text(), r#"{"cards":[{"id":"c5"}]}"#);
    assert_eq!(application.asked(), 5);
    world.finish();
}

// CEL-15
#[test]
fn a_grant_over_a_board_reaches_what_the_application_says_lies_on_it_for_as_long_as_it_says_so() {
    let clock = ManualClock::at(NOON);
    let (world, application) = stage(Some(&clock));
    application.card("c1", "b1", "clara", &[]);
    application.card("c2", "b2", "clara", &[]);
    let agent = world.people.staff("sam");
    let admin = world.people.admin("acme");
    let body = json!({"environment": "production", "to": {"subject": {"issuer": "vendor", "sub": "sam"}}, "role": "admin",
        "scope": {"resources": [{"type": "board", "id": "b1"}]}, "for": "1h"});
    let made = call(&world, "POST", "/tenants/acme/grants", &admin, &body.to_string());
    assert_eq!(made.status, 201, "{}", made.text());
    let made: Value = serde_json::from_slice(&made.body).unwrap();
    let grant = made["grant"]["id"].as_str().unwrap().parse().unwrap();
    world.session_on("acme", &agent, WantedBasis::Grant(grant), None);
    for (path, answer) in [
        ("c/c1", "open"),
        ("b/b1/c/c1", "open"),
        ("c/c2", "grant_scope"),
        ("b/b2/c/c1", "grant_scope"),
        ("c/c9", "grant_scope"),
    ] {
        assert_eq!(what(&world.get(&format!("/t/acme/{path}"), &agent)), answer, "{path}");
    }
    // The record says what was looked up, and until when the permit holds by it.
    let intent = world.of_kind("access.intent").into_iter().next().unwrap();
    let rests = intent["rests_on"].as_array().unwrap();
    let looked = rests.iter().find(|rest| rest["document"] == "looked_up/acme/card/c1").unwrap();
    assert_eq!(looked["version"], "2026-07-01T12:00:00.000Z");
    assert_eq!(
        (&intent["due"], &intent["deadline"]),
        (&json!("look_up"), &json!("2026-07-01T12:00:10.000Z"))
    );
    // What runs is decided again when the answer counts no more: it goes on where the application says the same …
    let mut client = world.client();
    client.send(request("GET", "/t/acme/c/c1/stream", &agent, ""));
    assert!(client.head().contains(" 200 "));
    let asked = application.asked();
    clock.advance(10_000);
    until("it is asked again", || application.asked() == asked + 1);
    client.inbox.clear();
    until("bytes flow on", || client.more() == Ending::Open && client.inbox.len() > 1000);
    // … and is cut where it says another thing.
    application.card("c1", "b2", "clara", &[]);
    clock.advance(10_000);
    assert_eq!(client.read_out().0, Ending::Reset);
    let outcome = world.last_outcome();
    assert_eq!(
        (&outcome["end"], &outcome["cut_by"]["reason"], &outcome["cut_by"]["due"]),
        (&json!("cut"), &json!("grant_scope"), &json!("look_up"))
    );
    // So does a member's, where it is recorded.
    application.card("c3", "b1", "lena", &["clara"]);
    let clara = world.people.member("clara", "acme", &[]);
    let mut client = world.client();
    client.send(request("GET", "/t/acme/c/c3/stream", &clara, ""));
    assert!(client.head().contains(" 200 "));
    application.card("c3", "b1", "lena", &[]);
    clock.advance(10_000);
    assert_eq!(client.read_out().0, Ending::Reset);
    assert_eq!(world.last_outcome()["cut_by"]["reason"], NO);
    world.finish();
}

#[test]
fn another_configuration_asks_anew() {
    let (world, application) = stage(None);
    application.card("c1", "b1", "clara", &[]);
    assert_eq!((get(&world, "c/c1", "clara"), application.asked()), ("open".to_owned(), 1));
    assert_eq!((get(&world, "c/c1", "clara"), application.asked()), ("open".to_owned(), 1));
    let mut edits = world.edits.clone();
    edits.push(("creator: /created_by/id", "creator: /board/id"));
    world.gateway().apply(settings(world.keys_dir.path(), &world.data, application.address, &edits)).unwrap();
    assert_eq!((get(&world, "c/c1", "clara"), application.asked()), (NO.to_owned(), 2));
    world.finish();
}

/// An application that speaks HTTP/2 over TLS, and tells of cards by their names.
fn over_http2(config: rustls::ServerConfig) -> (SocketAddr, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let path = request.uri().path().to_owned();
                    let id = path.rsplit('/').next().unwrap();
                    let (mut status, mut kind, mut coding) = (200, "application/json", "identity");
                    let mut body = card(id, "b1", "clara", &[]).to_string();
                    match id {
                        "gone" => status = 404,
                        "moved" => status = 307,
                        "plain" => kind = "text/plain",
                        "packed" => coding = "gzip",
                        "large" => body.push_str(&" ".repeat(64 << 10)),
                        "reset" => {
                            respond.send_reset(h2::Reason::INTERNAL_ERROR);
                            continue;
                        }
                        "hangs" => {
                            tokio::spawn(async move {
                                let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                            });
                            continue;
                        }
                        _ => {}
                    }
                    let answer = http::Response::builder()
                        .status(status)
                        .header("content-type", kind)
                        .header("content-encoding", coding)
                        .body(())
                        .unwrap();
                    let mut stream = respond.send_response(answer, false).unwrap();
                    let _ = stream.send_data(body.into(), true);
                }
            });
        }
    });
    (address, runtime)
}

#[test]
fn an_application_is_asked_over_http2_and_tls_as_its_upstream_is() {
    for good in [true, false] {
        let (mut config, authority) = crate::vouched::side(&["127.0.0.1"]);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (address, _runtime) = over_http2(config);
        let plan =
            with_services(Plan::default()).edit("\"members:push\"", "\"members:push\", \"resources:push\"");
        let plan = plan.edit("permissions: [orders:read,", "permissions: [notes:see, orders:read,");
        let mut world =
            World::prepared(plan.edit(ROLES.0, ROLES.1).edit("WITHIN", "2s").edit(ROUTES.0, ROUTES.1));
        // Somebody else's authority vouches for nothing here.
        let authority = if good { authority } else { crate::vouched::side(&["127.0.0.1"]).1 };
        std::fs::write(world.keys_dir.path().join("ca.pem"), authority).unwrap();
        let from = format!("url: \"http://{}\"", world.upstream.address);
        let to = format!("protocol: http2\n    ca: KEYS/ca.pem\n    url: \"https://{address}\"");
        world.edits.push((from.leak(), to.leak()));
        postern::app::init_state(&world.data.join("state.redb"), &world.data.join("ledger")).unwrap();
        world.up();
        push(&world, "acme", "board/b1", "{}");
        row(&world, "b1", "clara", "hand");
        let told =
            |id: &str| world.get(&format!("/t/acme/c/{id}"), &world.people.member("clara", "acme", &[]));
        if !good {
            assert_eq!((told("c1").code(), metric(&world, "unreachable")), (NO.to_owned(), 1));
            world.finish();
            continue;
        }
        assert_eq!(told("c1").status, 200);
        for (id, code) in [
            ("gone", "not_found"),
            ("moved", "redirect"),
            ("plain", "type"),
            ("packed", "coded"),
            ("large", "too_large"),
            ("reset", "hung_up"),
            ("hangs", "slow"),
        ] {
            assert_eq!((told(id).code(), metric(&world, code)), (NO.to_owned(), 1), "{id}");
        }
        world.finish();
    }
}

#[test]
fn an_end_does_not_wait_for_what_is_looked_up_of_a_list() {
    let (world, application) = stage_within(None, "5s");
    for number in 0..20 {
        application
            .says(&format!("/internal/acme/cards/h{number}"), Say::Held(card("x", "b1", "clara", &[])));
    }
    application.lists((0..20).map(|number| format!("h{number}")));
    let agent = world.people.staff("sam");
    let body = json!({"environment": "production", "to": {"subject": {"issuer": "vendor", "sub": "sam"}}, "role": "admin",
        "scope": {"resources": [{"type": "card", "id": "c0"}, {"type": "board", "id": "b2"}]}, "for": "1h"});
    let made = call(&world, "POST", "/tenants/acme/grants", &world.people.admin("acme"), &body.to_string());
    let made: Value = serde_json::from_slice(&made.body).unwrap();
    let grant = made["grant"]["id"].as_str().unwrap().parse().unwrap();
    let session = world.session_on("acme", &agent, WantedBasis::Grant(grant), None);
    let mut client = world.client();
    client.send(request("GET", "/t/acme/cards", &agent, ""));
    until("it is asked", || application.asked() > 0);
    let began = Instant::now();
    world.done(World::end("acme", &session), &agent);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(application.asked(), 1);
    assert_eq!(client.read_out().0, Ending::Reset);
    assert_eq!(world.last_outcome()["end"], "cut");
    application.go_on();
    world.finish();
}

// PFP-04
// PFP-16
#[test]
fn what_was_learned_from_a_creation_is_completed_and_not_overruled() {
    let application = Application::start();
    let plan = Plan { upstream: Some(application.address), ..Plan::default() };
    let plan = with_services(plan).edit("\"members:push\"", "\"members:push\", \"resources:push\"");
    let plan = plan.edit("permissions: [orders:read,", "permissions: [notes:see, orders:read,");
    let plan = plan.edit(ROLES.0, ROLES.1).edit("WITHIN", "4s").edit(ROUTES.0, ROUTES.1);
    let world = World::of(plan.edit(
        "  - { route: \"GET /t/{tenant}/cards\"",
        "  - { route: \"POST /t/{tenant}/b/{board}/cards\", permission: notes:see, resource: { type: board, id: board }, creates: { type: card, id: { json: /id } } }\n  - { route: \"GET /t/{tenant}/cards\"",
    ));
    for board in ["b1", "b2"] {
        push(&world, "acme", &format!("board/{board}"), "{}");
    }
    for (board, sub) in [("b1", "clara"), ("b1", "mia"), ("b2", "mia"), ("b1", "lena")] {
        row(&world, board, sub, "hand");
    }
    let makes = |id: &str| {
        application.creates(id);
        let body = "Content-Length: 2\r\nContent-Type: application/json\r\n";
        let mut client = world.client();
        let token = world.people.member("clara", "acme", &[]);
        client.send(request("POST", "/t/acme/b/b1/cards", &token, body) + "{}");
        assert_eq!(client.reply().status, 201);
    };
    makes("c1");
    makes("c2");
    // What was learned is enough for her who made it.
    assert_eq!((get(&world, "c/c1", "clara"), application.asked()), ("open".to_owned(), 0));
    // To whom it is assigned only the application says.
    application.card("c1", "b1", "clara", &["mia"]);
    assert_eq!((get(&world, "c/c1", "mia"), application.asked()), ("open".to_owned(), 1));
    assert_eq!((get(&world, "c/c1", "lena"), application.asked()), (NO.to_owned(), 1));
    // Of a card that it calls another's, or places elsewhere, nobody knows that any more.
    application.card("c2", "b2", "lena", &["mia"]);
    assert_eq!((get(&world, "c/c2", "lena"), get(&world, "c/c2", "mia")), (NO.to_owned(), NO.to_owned()));
    assert_eq!(application.asked(), 2);
    world.finish();
}
