//! A product's preset on a stage: its files, addresses and ports put in, its clock in our hands, its support API called over
//! sockets. Whatever the API answers is held to its published description.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use postern::{
    audit::note::SigningKey,
    engine::hooks::Hooks,
    identity::{Algorithm, Signer},
    model::Timestamp,
};
use serde_json::{Value, json};

use crate::{
    client::{Client, Ending, Reply},
    described,
    upstream::Seen,
    world::*,
};

pub const HOUR: i64 = 3_600_000;
pub const DAY: i64 = 24 * HOUR;

/// An instant as it is written, in milliseconds.
pub fn at(text: &str) -> i64 {
    Timestamp::parse(text).expect("an instant").ms()
}

/// An instant as the API and the record write it.
pub fn written(ms: i64) -> String {
    Timestamp::from_ms(ms).to_string()
}

/// An answer of the support API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: Reply,
    pub body: Value,
}

impl Answer {
    #[track_caller]
    pub fn is(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{:#}", self.body);
        self
    }

    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Answer {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{:#}", self.body);
        self
    }

    /// The id of the session that it is about.
    #[track_caller]
    pub fn session(&self) -> String {
        self.body["session"]["id"].as_str().unwrap_or_else(|| panic!("{:#}", self.body)).to_owned()
    }

    /// The id of the grant that it is about.
    #[track_caller]
    pub fn grant(&self) -> String {
        self.body["grant"]["id"].as_str().unwrap_or_else(|| panic!("{:#}", self.body)).to_owned()
    }
}

pub struct Stage {
    pub world: World,
    pub clock: Arc<ManualClock>,
    /// Bytes of staff exchanges that passed.
    pub passed: Arc<AtomicU64>,
}

impl Stage {
    /// The preset, with its files and addresses put in and more of it changed as told; it is `now`.
    pub fn set(preset: &'static str, now: i64, edits: &[(&'static str, &'static str)]) -> Stage {
        let clock = ManualClock::at(now);
        let passed = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&passed);
        let bytes = Arc::new(move |_: &postern::model::ExchangeId, bytes: usize| {
            seen.fetch_add(bytes as u64, SeqCst);
        });
        let mut plan = Plan { written: Some(preset), ..Plan::default() }
            .clock(&clock)
            .hooks(Hooks { at: None, bytes: Some(bytes), ..Hooks::default() })
            .edit("listen: 127.0.0.1:8080", "workers: 2\nlisten: 127.0.0.1:0")
            .edit("operations: 127.0.0.1:9090", "operations: 127.0.0.1:0")
            .edit("path: state.redb", "path: DIR/state.redb")
            .edit("path: ledger\n", "path: DIR/ledger\n")
            .edit("origin: example.com/postern/main", "origin: example.com/postern/test")
            .edit("file: ledger.key", "file: KEYS/ledger.key")
            .edit("segment: 64 MiB", "segment: 4 MiB")
            .edit("reserve: 16 MiB", "reserve: 1 MiB")
            .edit("file: assertion.pem", "file: KEYS/assertion.pem")
            .edit("http://127.0.0.1:8000", "http://UPSTREAM")
            .edit("file: vendor.jwks.json", "file: KEYS/vendor.jwks")
            .edit("file: app.jwks.json", "file: KEYS/app.jwks")
            // The programs sign with the vendor's key here, so that there need not be one more.
            .edit("file: programs.jwks.json", "file: KEYS/vendor.jwks");
        for (from, to) in edits {
            plan = plan.edit(from, to);
        }
        Stage { world: World::of(plan), clock, passed }
    }

    pub fn now(&self) -> i64 {
        self.world.people.now_ms()
    }

    /// An agent, with a token of this moment.
    pub fn agent(&self, sub: &str) -> String {
        self.world.people.staff(sub)
    }

    /// An agent with more, or other, claims.
    pub fn agent_with(&self, sub: &str, more: &Value) -> String {
        let mut claims = self.world.people.staff_claims(sub);
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.world.people.keys.vendor.sign("at+jwt", &claims).unwrap()
    }

    /// An administrator of a tenant, with a token of this moment.
    pub fn admin(&self, tenant: &str) -> String {
        self.world.people.admin(tenant)
    }

    pub fn member(&self, sub: &str, tenant: &str, roles: &[&str]) -> String {
        self.world.people.member(sub, tenant, roles)
    }

    /// The program that provisions tenants.
    pub fn provisioner(&self) -> String {
        let now = self.now() / 1000;
        let claims = json!({ "iss": "https://programs.example", "aud": "postern", "sub": "provisioner", "iat": now,
            "exp": now + 3600 });
        self.world.people.keys.vendor.sign("at+jwt", &claims).unwrap()
    }

    /// One call of the support API, on a connection of its own.
    #[track_caller]
    pub fn api(&self, method: &str, path: &str, token: &str, body: Value) -> Answer {
        let mut client = self.world.client();
        if body.is_null() {
            client.send(request(method, &format!("/_postern{path}"), token, ""));
        } else {
            let body = body.to_string();
            let more = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
            client.send(request(method, &format!("/_postern{path}"), token, &more) + &body);
        }
        let head = client.reply_to(method == "HEAD");
        let body: Value = serde_json::from_slice(&head.body).unwrap_or_default();
        let content_type = head.values("content-type").first().cloned().unwrap_or_default();
        let plain = path.split('?').next().unwrap();
        described::check(method, plain, head.status, &content_type, &body);
        Answer { status: head.status, head, body }
    }

    #[track_caller]
    pub fn get(&self, path: &str, token: &str) -> Answer {
        self.api("GET", path, token, Value::Null)
    }

    #[track_caller]
    pub fn delete(&self, path: &str, token: &str) -> Answer {
        self.api("DELETE", path, token, Value::Null)
    }

    /// A request to the application, with an empty body where its method has one.
    pub fn ask(&self, method: &str, path: &str, token: &str) -> Reply {
        let more = if matches!(method, "GET" | "HEAD" | "DELETE") { "" } else { "Content-Length: 0\r\n" };
        self.world.ask(method, path, token, more)
    }

    /// Whether such a request reaches the application; where not, by which code it was refused.
    #[track_caller]
    pub fn reaches(&self, method: &str, path: &str, token: &str) -> Result<Seen, String> {
        let before = self.world.upstream.seen().len();
        let reply = self.ask(method, path, token);
        let seen = self.world.upstream.seen();
        if reply.status == 200 {
            assert_eq!(seen.len(), before + 1, "{method} {path} was answered, and not by the application");
            return Ok(seen[before].clone());
        }
        assert_eq!(seen.len(), before, "{method} {path} was refused, and the application saw it");
        assert!(!reply.code().is_empty(), "{method} {path}: {} {}", reply.status, reply.text());
        Err(reply.code())
    }

    /// A tenant's choice, by its administrator.
    #[track_caller]
    pub fn consent(&self, tenant: &str, level: &str) -> Answer {
        let path = format!("/v1/tenants/{tenant}/consent");
        self.api("PUT", &path, &self.admin(tenant), json!({"level": level})).is(200)
    }

    /// The level in force in a tenant, as its administrator is told.
    #[track_caller]
    pub fn level(&self, tenant: &str) -> String {
        let answer = self.get(&format!("/v1/tenants/{tenant}/consent"), &self.admin(tenant)).is(200);
        answer.body["in_force"]["level"].as_str().unwrap().to_owned()
    }

    /// An attempt to enter by consent.
    #[track_caller]
    pub fn enter(&self, tenant: &str, token: &str) -> Answer {
        let body = json!({"environment": "production", "basis": "consent", "reason": "order 4711 is stuck"});
        self.api("POST", &format!("/v1/tenants/{tenant}/sessions"), token, body)
    }

    /// An attempt to enter by a grant.
    #[track_caller]
    pub fn enter_by(&self, tenant: &str, grant: &str, token: &str) -> Answer {
        let body = json!({"environment": "production", "basis": {"grant": grant}, "reason": "as agreed"});
        self.api("POST", &format!("/v1/tenants/{tenant}/sessions"), token, body)
    }

    /// An attempt to break the glass.
    #[track_caller]
    pub fn break_glass(&self, tenant: &str, token: &str, cause: &str) -> Answer {
        let body = json!({"environment": "production", "cause": cause, "incident": "INC-4711",
            "reason": "queues of all tenants stand still"});
        self.api("POST", &format!("/v1/tenants/{tenant}/break-glass"), token, body)
    }

    /// An attempt of the tenant's administrator to grant something to an address; `until` is the member that says until when.
    #[track_caller]
    pub fn grant(&self, tenant: &str, email: &str, role: &str, until: &Value) -> Answer {
        let mut body =
            json!({"environment": "production", "to": {"email": email}, "role": role, "scope": "everything"});
        body.as_object_mut().unwrap().extend(until.as_object().unwrap().clone());
        self.api("POST", &format!("/v1/tenants/{tenant}/grants"), &self.admin(tenant), body)
    }

    /// Who is listed as a support user of a tenant: each row with the `sub` it is of, or the address it is for.
    #[track_caller]
    pub fn support_users(&self, tenant: &str) -> Vec<Value> {
        let answer = self.get(&format!("/v1/tenants/{tenant}/support-users"), &self.admin(tenant)).is(200);
        assert_eq!(answer.body["next"], Value::Null);
        answer.body["items"].as_array().unwrap().clone()
    }

    /// The same, of those who are inside only, by `sub`.
    #[track_caller]
    pub fn inside(&self, tenant: &str) -> Vec<String> {
        let rows = self.support_users(tenant);
        let inside = rows.iter().filter(|row| row["inside"] == true);
        inside.map(|row| row["person"]["sub"].as_str().unwrap().to_owned()).collect()
    }

    /// Pushes a tenant, by the program that provisions them.
    #[track_caller]
    pub fn push(&self, tenant: &str, parent: Option<&str>, zone: Option<&str>) -> Answer {
        let mut body = json!({"environments": ["production", "sandbox"]});
        let members = body.as_object_mut().unwrap();
        members.extend(parent.map(|parent| ("parent".to_owned(), json!(parent))));
        members.extend(zone.map(|zone| ("zone".to_owned(), json!(zone))));
        self.api("PUT", &format!("/v1/tenants/{tenant}"), &self.provisioner(), body)
    }

    /// The events of changes in the record, with the record that each stands in.
    pub fn events(&self, name: &str) -> Vec<(Value, Value)> {
        let mut found = Vec::new();
        for record in self.world.of_kind("change.outcome") {
            let events = record["events"].as_array().cloned().unwrap_or_default();
            found.extend(
                events
                    .into_iter()
                    .filter(|event| event["event"] == name)
                    .map(|event| (event, record.clone())),
            );
        }
        found
    }

    /// Waits until a session's end is in the record, and gives the event with its record.
    #[track_caller]
    pub fn end_of(&self, session: &str) -> (Value, Value) {
        let find = || self.events("session_ended").into_iter().find(|(event, _)| event["session"] == session);
        until("the end is written down", || find().is_some());
        find().unwrap()
    }

    /// A stream of an agent's under way.
    pub fn stream(&self, path: &str, token: &str) -> Client {
        let mut client = self.world.client();
        let before = self.passed.load(SeqCst);
        client.send(request("GET", &format!("{path}?do=forever"), token, ""));
        let head = client.head();
        assert!(head.contains(" 200 "), "{head}");
        until("bytes flow", || self.passed.load(SeqCst) > before + 100_000);
        client
    }

    /// A stream was cut before what ended it was answered: nothing passed since.
    #[track_caller]
    pub fn was_cut(&self, mut client: Client, answered: u64, reason: &str) {
        assert_eq!(client.read_out().0, Ending::Reset);
        assert_eq!(self.passed.load(SeqCst), answered, "bytes passed behind the answer");
        let cut = self.world.last_outcome();
        assert_eq!((&cut["end"], &cut["cut_by"]["reason"]), (&json!("cut"), &json!(reason)), "{cut}");
    }

    pub fn passed(&self) -> u64 {
        self.passed.load(SeqCst)
    }

    /// Stops it and proves its ledger.
    pub fn finish(self) -> Vec<Value> {
        self.world.finish()
    }
}

/// What the gateway asserts to the application about who asks. Its signature is looked at where assertions are tested.
pub fn asserted(seen: &Seen) -> Value {
    let token = seen.values("Postern-Assertion").pop().expect("an assertion");
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

/// The place of a person in paths.
pub fn person_id(issuer: &str, sub: &str) -> String {
    format!("{issuer}.{}", URL_SAFE_NO_PAD.encode(sub))
}

/// A preset as it stands, with keys of its own beside it, and what the program says of it: its status, and its words.
pub fn checked(name: &str, preset: &str, more: &[&str]) -> (Option<i32>, String) {
    let dir = tempfile::TempDir::new().unwrap();
    let file = with_keys(dir.path(), name, preset, &["vendor", "app", "programs"]);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_postern"));
    let output = command.args(more).arg("--config").arg(file).output().unwrap();
    let [said, told] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code(), said + &told)
}

/// Writes a preset and the keys that it names, those of these issuers among them.
pub fn with_keys(dir: &Path, name: &str, preset: &str, issuers: &[&str]) -> PathBuf {
    let file = dir.join(name);
    std::fs::write(&file, preset).unwrap();
    for name in issuers {
        let signer = Signer::generate(Algorithm::Es256).unwrap();
        std::fs::write(dir.join(format!("{name}.pem")), signer.to_pem().unwrap().as_bytes()).unwrap();
        std::fs::write(dir.join(format!("{name}.jwks.json")), signer.public_jwks().unwrap()).unwrap();
    }
    let assertion = Signer::generate(Algorithm::Es256).unwrap();
    std::fs::write(dir.join("assertion.pem"), assertion.to_pem().unwrap().as_bytes()).unwrap();
    let ledger = SigningKey::generate("example.com/postern/main").unwrap();
    std::fs::write(dir.join("ledger.key"), ledger.to_text().unwrap().as_bytes()).unwrap();
    file
}
