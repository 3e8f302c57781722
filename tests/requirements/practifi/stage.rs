//! A gateway that runs on the preset as it stands, but for addresses and files; its people with real tokens, an application
//! that notes what it saw, and the ledger to read. All of it over sockets.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use postern::{
    app::{self, Extra, Gateway},
    audit::{
        note::SigningKey,
        read::{Records, segments},
        verify::verify,
    },
    config::{self, Disk},
    engine::Clock,
    identity::Signer,
    model::Timestamp,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    client::{Client, PATIENCE, Reply},
    stage::with_keys,
};

const PRESET: &str = include_str!("../../../config/presets/practifi.yaml");
const KEYS: [&str; 4] = ["vendor", "partner", "app", "programs"];

/// A clock that stands until it is moved.
pub struct ManualClock(AtomicI64);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(SeqCst))
    }
}

/// What the application saw of one request.
#[derive(Debug, Clone)]
pub struct Seen {
    pub line: String,
    head: String,
}

impl Seen {
    pub fn value(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let mut values =
            lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned());
        let first = values.next();
        assert_eq!(values.next(), None, "`{name}` came twice");
        first
    }

    /// The claims of the gateway's assertion.
    pub fn assertion(&self) -> Value {
        let token = self.value("Postern-Assertion").expect("an assertion");
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice(&claims).unwrap()
    }
}

/// The application: notes each head and answers; a feed goes on until somebody hangs up.
#[derive(Clone)]
struct Application {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Application {
    fn start() -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let application = Application { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let shared = application.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let application = shared.clone();
                std::thread::spawn(move || while application.serve(&stream).is_some() {});
            }
        });
        application
    }

    fn serve(&self, mut stream: &TcpStream) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let seen = Seen { line: head.lines().next().unwrap().to_owned(), head };
        let length = seen.value("content-length").map_or(0, |length| length.parse().unwrap());
        stream.read_exact(&mut vec![0; length]).ok()?;
        let feed = seen.line.contains("/feed ");
        self.seen.lock().unwrap().push(seen);
        if feed {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").ok()?;
            loop {
                stream.write_all(b"5\r\nnews\n\r\n").ok()?;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        stream.write_all(answer).ok()
    }
}

pub struct Stage {
    gateway: Option<Gateway>,
    clock: Arc<ManualClock>,
    application: Application,
    dir: TempDir,
}

/// Looks until it is so; fails when it takes too long.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The preset with its files beside it: nothing is changed in its text.
pub fn preset_in(dir: &Path) -> PathBuf {
    with_keys(dir, "practifi.yaml", PRESET, &KEYS)
}

impl Stage {
    /// At noon of a winter's day in New York.
    pub fn start() -> Stage {
        Stage::at("2026-01-14T12:00:00-05:00")
    }

    pub fn at(when: &str) -> Stage {
        let dir = TempDir::new().unwrap();
        let file = preset_in(dir.path());
        let application = Application::start();
        let mut text = PRESET.to_owned();
        for (from, to) in [
            ("listen: 127.0.0.1:8080", "listen: 127.0.0.1:0".to_owned()),
            ("operations: 127.0.0.1:9090", "operations: 127.0.0.1:0".to_owned()),
            ("http://127.0.0.1:8000", format!("http://{}", application.address)),
            ("segment: 64 MiB", "segment: 4 MiB".to_owned()),
            ("reserve: 16 MiB", "reserve: 1 MiB".to_owned()),
        ] {
            assert!(text.contains(from), "the preset has no `{from}`");
            text = text.replace(from, &to);
        }
        std::fs::write(&file, text).unwrap();
        let (settings, warnings) = config::load(&file, &Disk).unwrap_or_else(|faults| panic!("{faults}"));
        assert!(warnings.is_empty(), "{warnings:?}");
        app::init_state(&dir.path().join("state.redb"), &dir.path().join("ledger")).unwrap();
        let clock = Arc::new(ManualClock(AtomicI64::new(Timestamp::parse(when).unwrap().ms())));
        let extra = Extra { clock: Some(Arc::clone(&clock) as Arc<dyn Clock>), ..Extra::default() };
        let gateway = Gateway::start(settings, extra).unwrap_or_else(|fault| panic!("{fault}"));
        let stage = Stage { gateway: Some(gateway), clock, application, dir };
        until("staff are served", || stage.gateway().engine().serves_staff());
        for firm in ["acme", "globex"] {
            until("the firms are known", || {
                stage.api("GET", &format!("tenants/{firm}"), &stage.provisioner(), None).status == 200
            });
        }
        stage.push("acme", "ada", &["system_admin"]);
        stage.push("acme", "ben", &["adviser"]);
        stage.push("acme", "cho", &["assistant"]);
        stage.push("globex", "gus", &["adviser"]);
        stage
    }

    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn advance(&self, ms: i64) {
        self.clock.0.fetch_add(ms, SeqCst);
    }

    pub fn set(&self, when: &str) {
        self.clock.0.store(Timestamp::parse(when).unwrap().ms(), SeqCst);
    }

    // People.

    fn sign(&self, key: &str, mut claims: Value) -> String {
        let pem = std::fs::read_to_string(self.dir.path().join(format!("{key}.pem"))).unwrap();
        let now = self.now().ms() / 1000;
        let times = json!({ "iat": now, "exp": now + 3_600 });
        claims.as_object_mut().unwrap().extend(times.as_object().unwrap().clone());
        Signer::from_pem(&pem, None).unwrap().sign("at+jwt", &claims).unwrap()
    }

    /// One of the vendor's people, in these groups.
    pub fn staff(&self, sub: &str, groups: &[&str]) -> String {
        let claims =
            json!({ "iss": "https://id.vendor.example", "aud": "postern", "sub": sub, "groups": groups });
        self.sign("vendor", claims)
    }

    /// Of business support.
    pub fn sam(&self) -> String {
        self.staff("sam", &["biz-support"])
    }

    pub fn staff_acting(&self, sub: &str, by: &str) -> String {
        let claims = json!({ "iss": "https://id.vendor.example", "aud": "postern", "sub": sub,
            "groups": ["biz-support"], "act": { "sub": by } });
        self.sign("vendor", claims)
    }

    /// One of a partner's people.
    pub fn partner(&self, sub: &str) -> String {
        self.sign("partner", json!({ "iss": "https://id.partner.example", "aud": "postern", "sub": sub }))
    }

    pub fn user(&self, firm: &str, sub: &str) -> String {
        self.sign("app", json!({ "iss": "https://id.app.example", "aud": "app", "sub": sub, "firm": firm }))
    }

    /// A token by which somebody acts as that user, whoever made it.
    pub fn user_acting(&self, firm: &str, sub: &str, by: &str) -> String {
        let claims = json!({ "iss": "https://id.app.example", "aud": "app", "sub": sub, "firm": firm,
            "act": { "sub": by } });
        self.sign("app", claims)
    }

    pub fn provisioner(&self) -> String {
        self.sign(
            "programs",
            json!({ "iss": "https://programs.example", "aud": "postern", "sub": "provisioner" }),
        )
    }

    fn member(firm: &str, sub: &str) -> String {
        format!("tenants/{firm}/members/app.{}", URL_SAFE_NO_PAD.encode(sub))
    }

    pub fn push(&self, firm: &str, sub: &str, roles: &[&str]) {
        let row = json!({ "roles": roles });
        assert_eq!(self.api("PUT", &Stage::member(firm, sub), &self.provisioner(), Some(row)).status, 200);
    }

    pub fn suspend(&self, firm: &str, sub: &str, roles: &[&str]) {
        let row = json!({ "roles": roles, "suspended": true });
        assert_eq!(self.api("PUT", &Stage::member(firm, sub), &self.provisioner(), Some(row)).status, 200);
    }

    pub fn remove(&self, firm: &str, sub: &str) {
        assert_eq!(self.api("DELETE", &Stage::member(firm, sub), &self.provisioner(), None).status, 200);
    }

    // Requests.

    pub fn connect(&self) -> Client {
        Client::connect(self.gateway().address())
    }

    pub fn send(&self, method: &str, path: &str, token: &str, more: &str, body: Option<Value>) -> Reply {
        let mut client = self.connect();
        client.send(request(method, path, token, more, body.as_ref()));
        client.reply()
    }

    /// One call of the support API.
    pub fn api(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> Reply {
        self.send(method, &format!("/_postern/v1/{path}"), token, "", body)
    }

    /// One request to the application.
    pub fn get(&self, path: &str, token: &str) -> Reply {
        self.send("GET", path, token, "", None)
    }

    /// The same in a session that is named.
    pub fn in_session(&self, method: &str, path: &str, token: &str, session: &str) -> Reply {
        self.send(method, path, token, &format!("Postern-Session: {session}\r\n"), None)
    }

    // What the tests do most.

    /// A user of `acme` lets business support act as them; the confirmation.
    pub fn lend(&self, sub: &str, lasts: &str) -> String {
        let reply =
            self.lend_to("acme", sub, "biz_support", json!({ "environment": "production", "for": lasts }));
        assert_eq!(reply.status, 201, "{}", reply.text());
        json_of(&reply)["confirmation"].as_str().unwrap().to_owned()
    }

    pub fn lend_to(&self, firm: &str, sub: &str, to: &str, body: Value) -> Reply {
        let path = format!("tenants/{firm}/login-access/{to}");
        self.api("PUT", &path, &self.user(firm, sub), Some(body))
    }

    pub fn enter(&self, firm: &str, token: &str, grant: &str) -> Reply {
        let body = json!({ "environment": "production", "basis": { "act_as": grant }, "reason": "a case" });
        self.api("POST", &format!("tenants/{firm}/sessions"), token, Some(body))
    }

    /// The id of a session that began.
    pub fn session(&self, token: &str, grant: &str) -> String {
        let reply = self.enter("acme", token, grant);
        assert_eq!(reply.status, 201, "{}", reply.text());
        json_of(&reply)["session"]["id"].as_str().unwrap().to_owned()
    }

    // What is seen.

    pub fn seen(&self) -> Vec<Seen> {
        self.application.seen.lock().unwrap().clone()
    }

    pub fn last(&self) -> Seen {
        self.seen().pop().expect("the application saw a request")
    }

    pub fn records(&self) -> Vec<Value> {
        let dir = self.dir.path().join("ledger");
        if segments(&dir).map_or(true, |found| found.is_empty()) {
            return Vec::new();
        }
        let mut records = Records::open(&dir).unwrap();
        let mut all = Vec::new();
        while let Some(line) = records.next(|line, _, _| format!("{}}}", line.leaf)).unwrap() {
            all.push(serde_json::from_str(&line).unwrap());
        }
        all
    }

    pub fn of_kind(&self, kind: &str) -> Vec<Value> {
        self.records().into_iter().filter(|record| record["kind"] == kind).collect()
    }

    /// The events of all changes.
    pub fn events(&self, name: &str) -> Vec<Value> {
        let outcomes = self.of_kind("change.outcome");
        let events =
            outcomes.iter().flat_map(|record| record["events"].as_array().cloned().unwrap_or_default());
        events.filter(|event| event["event"] == name).collect()
    }

    /// Intent and outcome of the latest access.
    pub fn last_access(&self) -> (Value, Value) {
        let intent = self.of_kind("access.intent").pop().expect("there was an access");
        let mut found = None;
        until("an outcome follows", || {
            let outcomes = self.of_kind("access.outcome").into_iter();
            found = outcomes.rev().find(|record| record["exchange"] == intent["exchange"]);
            found.is_some()
        });
        (intent, found.unwrap())
    }

    /// Stops the gateway; its ledger is whole, signed, and every intent has its outcome.
    pub fn finish(mut self) {
        until("every intent has its outcome", || {
            self.gateway().engine().journal().status().open_intents == 0
        });
        self.gateway.take().unwrap().stop();
        let key = std::fs::read_to_string(self.dir.path().join("ledger.key")).unwrap();
        let key = SigningKey::parse(key.trim()).unwrap().verifying_key().clone();
        let report = verify(&self.dir.path().join("ledger"), &key).unwrap();
        assert!(report.is_clean(), "{report}");
        assert!(report.open_intents.is_empty(), "{:?}", report.open_intents);
    }
}

pub fn json_of(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|_| panic!("{}", reply.text()))
}

pub fn request(method: &str, path: &str, token: &str, more: &str, body: Option<&Value>) -> String {
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: crm.example\r\nAuthorization: Bearer {token}\r\n{more}");
    match body {
        None => format!("{head}\r\n"),
        Some(body) => {
            let body = body.to_string();
            let length = body.len();
            format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        }
    }
}
