//! A whole small world around one gateway: two tenants, their people, an agent, an application, a ledger to read.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use postern::{
    app::{self, Extra, Gateway},
    audit::{
        note::{SigningKey, VerifyingKey},
        read::{Records, segments},
        verify::verify,
    },
    config::{self, Settings},
    engine::{ChangeFault, Changed, Clock, Giver, hooks::Hooks, new_id},
    identity::{Algorithm, IssuerOptions, KeySource, Limits, Signer, SupportRule, VerifiedSubject, Verifier},
    lifecycle::{Choice, Command, Until, WantedBasis},
    model::{
        EnvironmentId, GrantId, Grantee, IssuerName, LevelName, RoleName, Scope, SessionId, Span,
        SubjectKind, TenantId, Timestamp,
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    client::{Client, PATIENCE, Reply},
    upstream::Upstream,
};

pub const ORIGIN: &str = "example.com/postern/test";

/// A clock that stands until it is moved.
pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub fn at(ms: i64) -> Arc<ManualClock> {
        Arc::new(ManualClock(AtomicI64::new(ms)))
    }

    pub fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, SeqCst);
    }

    pub fn set(&self, ms: i64) {
        self.0.store(ms, SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(SeqCst))
    }
}

/// 2026-07-01, noon UTC.
pub const NOON: i64 = 1_782_907_200_000;

/// Keys of everybody, kept beside the state so that another process can take them up.
pub struct Keys {
    pub vendor: Signer,
    pub app: Signer,
    pub assertion: Signer,
    pub ledger: VerifyingKey,
}

impl Keys {
    fn make(dir: &Path) {
        for name in ["vendor", "app", "assertion"] {
            let signer = Signer::generate(Algorithm::Es256).unwrap();
            std::fs::write(dir.join(format!("{name}.pem")), signer.to_pem().unwrap().as_bytes()).unwrap();
            std::fs::write(dir.join(format!("{name}.jwks")), signer.public_jwks().unwrap()).unwrap();
        }
        let key = SigningKey::generate(ORIGIN).unwrap();
        std::fs::write(dir.join("ledger.key"), key.to_text().unwrap().as_bytes()).unwrap();
    }

    fn load(dir: &Path) -> Keys {
        let text = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
        let signer = |name: &str| Signer::from_pem(&text(&format!("{name}.pem")), None).unwrap();
        Keys {
            vendor: signer("vendor"),
            app: signer("app"),
            assertion: signer("assertion"),
            ledger: SigningKey::parse(text("ledger.key").trim()).unwrap().verifying_key().clone(),
        }
    }
}

const CONFIG: &str = r#"
gateway: main
listen: 127.0.0.1:0
operations: 127.0.0.1:0
workers: 2
state: { path: DIR/state.redb }
ledger: { path: DIR/ledger, origin: example.com/postern/test, key: { file: KEYS/ledger.key }, segment: 4 MiB, reserve: 1 MiB }
assertion: { key: { file: KEYS/assertion.pem } }
identity_headers: [X-User]
upstreams:
  app:
    url: "http://UPSTREAM"
    headers: { X-Remote-User: "{subject}" }
    connect_timeout: 1s
    response_timeout: 3s
issuers:
  - name: vendor
    issuer: https://id.vendor.example
    kind: staff
    audience: postern
    algorithms: [ES256]
    keys: { file: KEYS/vendor.jwks }
    claims: { support: { everybody: true } }
  - name: app
    issuer: https://id.app.example
    kind: member
    audience: [app]
    algorithms: [ES256]
    keys: { file: KEYS/app.jwks }
tenants:
  from: { path: tenant }
  environments: { from: { header: X-Environment }, known: [production, sandbox] }
  known:
    - { id: acme, zone: America/Los_Angeles }
    - { id: acme-eu, zone: Europe/Berlin, parent: acme, environments: [production] }
    - { id: globex, zone: UTC }
permissions: [orders:read, orders:write, users:manage]
roles:
  read_only: { allow: "*:read" }
  editor: { allow: "orders:*" }
  admin: { allow: "*:*" }
ceiling: ["users:manage"]
consent:
  levels:
    - level: block
    - { level: read_only, role: read_only }
    - { level: edit, role: editor }
    - { level: full, role: admin }
  default: read_only
sessions: { last: 8h }
grants: { longest: 180d }
members: { unmapped: refuse }
routes:
  - { route: "GET /t/{tenant}/orders", permission: orders:read }
  - { route: "GET /t/{tenant}/download", permission: orders:read }
  - { route: "PUT /t/{tenant}/orders/{order}", permission: orders:write, resource: { type: orders, id: order } }
  - { route: "POST /t/{tenant}/orders", permission: orders:write }
  - { route: "POST /t/{tenant}/users", permission: users:manage }
  - { route: "GET /public/{*rest}", public: true }
limits: { drain: 3s, header_timeout: 2s, body_idle: 5s }
"#;

/// How a world is to be, where it differs from the usual.
#[derive(Default)]
pub struct Plan {
    /// Replacements in the configuration's text; each must be found.
    pub edits: Vec<(&'static str, &'static str)>,
    pub hooks: Hooks,
    pub clock: Option<Arc<ManualClock>>,
    /// Where state and ledger are, when not beside the keys.
    pub data: Option<PathBuf>,
    pub upstream: Option<std::net::SocketAddr>,
    /// Another configuration than the usual one.
    pub written: Option<&'static str>,
}

impl Plan {
    pub fn edit(mut self, from: &'static str, to: &'static str) -> Plan {
        self.edits.push((from, to));
        self
    }

    pub fn clock(mut self, clock: &Arc<ManualClock>) -> Plan {
        self.clock = Some(Arc::clone(clock));
        self
    }

    pub fn hooks(mut self, hooks: Hooks) -> Plan {
        self.hooks = hooks;
        self
    }
}

/// The configuration of a world whose keys lie in `keys` and whose state lies in `data`, as text.
pub fn config_text(
    keys: &Path,
    data: &Path,
    upstream: std::net::SocketAddr,
    edits: &[(&str, &str)],
) -> String {
    edited(CONFIG, keys, data, upstream, edits)
}

fn edited(
    written: &str,
    keys: &Path,
    data: &Path,
    upstream: std::net::SocketAddr,
    edits: &[(&str, &str)],
) -> String {
    let mut text = written
        .replace("DIR", data.to_str().unwrap())
        .replace("KEYS", keys.to_str().unwrap())
        .replace("UPSTREAM", &upstream.to_string());
    for (from, to) in edits {
        assert!(text.contains(from), "the configuration has no `{from}`");
        text = text.replace(from, to);
    }
    // An edit may name them too.
    text.replace("KEYS", keys.to_str().unwrap())
        .replace("DIR", data.to_str().unwrap())
        .replace("UPSTREAM", &upstream.to_string())
}

/// The same, read.
pub fn settings(
    keys: &Path,
    data: &Path,
    upstream: std::net::SocketAddr,
    edits: &[(&str, &str)],
) -> Settings {
    settings_of(CONFIG, keys, data, upstream, edits)
}

fn settings_of(
    written: &str,
    keys: &Path,
    data: &Path,
    upstream: std::net::SocketAddr,
    edits: &[(&str, &str)],
) -> Settings {
    let text = edited(written, keys, data, upstream, edits);
    let mut source = BTreeMap::new();
    for name in ["vendor.jwks", "app.jwks", "assertion.pem", "ledger.key"] {
        let path = keys.join(name);
        source.insert(path.to_str().unwrap().to_owned(), std::fs::read(&path).unwrap());
    }
    // Certificates and secrets, where a test wrote some.
    for entry in std::fs::read_dir(keys).unwrap() {
        let path = entry.unwrap().path();
        let of_tls = path.file_name().is_some_and(|name| name == "tls.key");
        if of_tls || path.extension().is_some_and(|extension| extension == "pem" || extension == "secret") {
            source.insert(path.to_str().unwrap().to_owned(), std::fs::read(&path).unwrap());
        }
    }
    match config::load_bytes(Path::new("/etc/postern/postern.yaml"), text.as_bytes(), &source) {
        Ok((settings, _)) => settings,
        Err(faults) => panic!("{faults}"),
    }
}

pub struct World {
    pub gateway: Option<Gateway>,
    pub people: People,
    pub upstream: Upstream,
    pub keys_dir: Arc<TempDir>,
    pub data: PathBuf,
    pub edits: Vec<(&'static str, &'static str)>,
    pub hooks: Hooks,
    pub clock: Option<Arc<ManualClock>>,
    written: &'static str,
    target: std::net::SocketAddr,
}

/// Who is who, and their tokens.
pub struct People {
    pub keys: Keys,
    verifier: Verifier,
    clock: Option<Arc<ManualClock>>,
}

fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

impl People {
    pub fn load(dir: &Path, clock: Option<Arc<ManualClock>>) -> People {
        let keys = Keys::load(dir);
        let issuer = |name: &str, iss: &str, kind, audience: &str, signer: &Signer| {
            let set = KeySource::Jwks(signer.public_jwks().unwrap());
            let mut options = IssuerOptions::new(IssuerName::new(name).unwrap(), iss, kind, audience, set);
            options.algorithms = vec![Algorithm::Es256];
            if kind == SubjectKind::Staff {
                options.claims.support = SupportRule::Everybody;
            }
            options
        };
        let issuers = vec![
            issuer("vendor", "https://id.vendor.example", SubjectKind::Staff, "postern", &keys.vendor),
            issuer("app", "https://id.app.example", SubjectKind::Member, "app", &keys.app),
        ];
        let verifier = Verifier::new(issuers, Limits::default()).unwrap();
        People { keys, verifier, clock }
    }

    pub fn now_ms(&self) -> i64 {
        self.clock.as_ref().map_or_else(wall_ms, |clock| clock.now().ms())
    }

    pub fn staff_claims(&self, sub: &str) -> Value {
        let now = self.now_ms() / 1000;
        json!({ "iss": "https://id.vendor.example", "aud": "postern", "sub": sub, "iat": now, "exp": now + 80_000,
            "email": format!("{sub}@vendor.example"), "email_verified": true })
    }

    pub fn staff(&self, sub: &str) -> String {
        self.keys.vendor.sign("at+jwt", &self.staff_claims(sub)).unwrap()
    }

    pub fn member(&self, sub: &str, tenant: &str, roles: &[&str]) -> String {
        let now = self.now_ms() / 1000;
        let claims = json!({ "iss": "https://id.app.example", "aud": "app", "sub": sub, "iat": now, "exp": now + 80_000,
            "tenant": tenant, "roles": roles });
        self.keys.app.sign("at+jwt", &claims).unwrap()
    }

    pub fn admin(&self, tenant: &str) -> String {
        self.member(&format!("{tenant}-admin"), tenant, &["admin"])
    }

    pub fn verified(&self, token: &str) -> Arc<VerifiedSubject> {
        self.verifier.verify(token.as_bytes(), Timestamp::from_ms(self.now_ms())).expect("a good token")
    }

    pub fn giver(&self, token: &str) -> Giver {
        Giver::Subject(self.verified(token), "127.0.0.1".to_owned())
    }
}

/// A directory of one's own, whose name spells nothing that stands for something in a configuration's text: of some
/// sixty thousand one does.
pub fn directory() -> TempDir {
    let spells = |dir: &TempDir| {
        ["DIR", "KEYS", "UPSTREAM"].iter().any(|word| dir.path().to_str().unwrap().contains(word))
    };
    std::iter::repeat_with(|| TempDir::new().unwrap()).find(|dir| !spells(dir)).unwrap()
}

/// Runs one future to its end.
pub fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Looks until it is so; fails when it takes too long.
pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    until_within(PATIENCE, what, is_so);
}

/// The same with another patience.
pub fn until_within(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn tenant(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

pub fn production() -> EnvironmentId {
    EnvironmentId::new("production").unwrap()
}

impl World {
    pub fn start() -> World {
        World::of(Plan::default())
    }

    pub fn of(plan: Plan) -> World {
        let world = World::prepared(plan);
        app::init_state(&world.data.join("state.redb"), &world.data.join("ledger")).unwrap();
        let mut world = world;
        world.up();
        world
    }

    /// All but the beginning: no state yet, nothing runs.
    pub fn prepared(plan: Plan) -> World {
        let keys_dir = directory();
        Keys::make(keys_dir.path());
        World::with_keys(Arc::new(keys_dir), plan)
    }

    /// Another world of the same people; what its plan does not say is as in any.
    #[allow(dead_code, reason = "not each of the tests that share this needs it")]
    pub fn beside(&self, plan: Plan) -> World {
        World::with_keys(Arc::clone(&self.keys_dir), plan)
    }

    fn with_keys(keys_dir: Arc<TempDir>, plan: Plan) -> World {
        let upstream = Upstream::start();
        World {
            gateway: None,
            people: People::load(keys_dir.path(), plan.clock.clone()),
            target: plan.upstream.unwrap_or(upstream.address),
            upstream,
            data: plan.data.unwrap_or_else(|| keys_dir.path().to_owned()),
            keys_dir,
            edits: plan.edits,
            hooks: plan.hooks,
            clock: plan.clock,
            written: plan.written.unwrap_or(CONFIG),
        }
    }

    /// What is configured, as text.
    #[allow(dead_code, reason = "not each of the tests that share this needs it")]
    pub fn configuration(&self) -> String {
        edited(self.written, self.keys_dir.path(), &self.data, self.target, &self.edits)
    }

    /// What is configured.
    pub fn settings(&self) -> Settings {
        settings_of(self.written, self.keys_dir.path(), &self.data, self.target, &self.edits)
    }

    pub fn try_up(&mut self) -> Result<(), app::StartFault> {
        let settings = self.settings();
        let clock = self.clock.clone().map(|clock| clock as Arc<dyn Clock>);
        self.gateway =
            Some(Gateway::start(settings, Extra { hooks: self.hooks.clone(), clock, ..Extra::default() })?);
        Ok(())
    }

    /// Starts the gateway and waits until staff are served and the tenants are known.
    pub fn up(&mut self) {
        self.try_up().unwrap_or_else(|fault| panic!("{fault}"));
        self.until_ready();
    }

    pub fn until_ready(&self) {
        until_ready(self.gateway());
    }

    pub fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("the gateway runs")
    }

    pub fn client(&self) -> Client {
        Client::connect(self.gateway().address())
    }

    /// One request on a connection of its own.
    pub fn ask(&self, method: &str, target: &str, token: &str, more: &str) -> Reply {
        let mut client = self.client();
        client.send(request(method, target, token, more));
        client.reply_to(method == "HEAD")
    }

    pub fn get(&self, target: &str, token: &str) -> Reply {
        self.ask("GET", target, token, "")
    }

    pub fn change(&self, command: Command, token: &str) -> Result<Changed, ChangeFault> {
        block(self.gateway().engine().change(command, self.people.giver(token)))
    }

    pub fn done(&self, command: Command, token: &str) {
        match self.change(command, token) {
            Ok(Changed::Done { .. }) => {}
            // A busy machine takes longer than an answer waits: in force, and soon durable.
            Ok(Changed::InForce { waiting, .. }) if !waiting.contains(&"cuts") => {
                until("it is durable", || self.gateway().engine().pending() == 0);
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.people.now_ms())
    }

    pub fn start_session(&self, id: &str, agent: &str) -> SessionId {
        self.session_on(id, agent, WantedBasis::Consent, None)
    }

    pub fn session_on(&self, id: &str, agent: &str, basis: WantedBasis, lasts: Option<Span>) -> SessionId {
        let session = SessionId::new(&new_id("ses", self.now()).unwrap()).unwrap();
        let command = Command::StartSession {
            tenant: tenant(id),
            session: session.clone(),
            environment: production(),
            basis,
            reason: "a test looks around".to_owned(),
            ticket: None,
            lasts,
        };
        self.done(command, agent);
        session
    }

    pub fn make_grant(&self, id: &str, role: &str, until: Until) -> GrantId {
        let grant = GrantId::new(&new_id("gra", self.now()).unwrap()).unwrap();
        let command = Command::MakeGrant {
            tenant: tenant(id),
            grant: grant.clone(),
            environment: production(),
            to: Grantee::Support,
            role: RoleName::new(role).unwrap(),
            scope: Scope::Everything,
            until,
        };
        self.done(command, &self.people.admin(id));
        grant
    }

    pub fn end(id: &str, session: &SessionId) -> Command {
        Command::EndSession { tenant: tenant(id), session: session.clone() }
    }

    pub fn consent(id: &str, level: &str) -> Command {
        let choice = Choice::Level(LevelName::new(level).unwrap());
        Command::SetConsent { tenant: tenant(id), choice, until: None, expected: None }
    }

    pub fn ledger_dir(&self) -> PathBuf {
        self.data.join("ledger")
    }

    pub fn records(&self) -> Vec<Value> {
        records(&self.ledger_dir())
    }

    pub fn of_kind(&self, kind: &str) -> Vec<Value> {
        self.records().into_iter().filter(|record| record["kind"] == kind).collect()
    }

    /// Waits for the outcome of the latest access.
    pub fn last_outcome(&self) -> Value {
        let intent = self.of_kind("access.intent").pop().expect("there was an access");
        self.outcome_of(intent["exchange"].as_str().unwrap())
    }

    pub fn outcome_of(&self, exchange: &str) -> Value {
        let mut found = None;
        until("an outcome follows", || {
            found = self.of_kind("access.outcome").into_iter().find(|record| record["exchange"] == exchange);
            found.is_some()
        });
        found.unwrap()
    }

    /// Stops the gateway and proves its ledger: whole, signed, and each intent with exactly one outcome.
    pub fn finish(mut self) -> Vec<Value> {
        until("every intent has its outcome", || {
            self.gateway().engine().journal().status().open_intents == 0
        });
        if let Some(gateway) = self.gateway.take() {
            gateway.stop();
        }
        self.prove()
    }

    pub fn prove(&self) -> Vec<Value> {
        prove(&self.ledger_dir(), &self.people.keys.ledger)
    }
}

/// Waits until staff are served and the configured tenants are known.
pub fn until_ready(gateway: &Gateway) {
    until("staff are served", || gateway.engine().serves_staff());
    let configured = gateway.engine().policy().callers.configured.clone();
    let all: Vec<_> = configured.iter().cloned().map(postern::model::Key::Tenant).collect();
    until("the tenants are known", || {
        block(gateway.engine().store().load(&all)).is_ok_and(|found| found.iter().all(Option::is_some))
    });
}

/// Every record of a ledger, in order.
pub fn records(dir: &Path) -> Vec<Value> {
    if !dir.exists() || segments(dir).map_or(true, |found| found.is_empty()) {
        return Vec::new();
    }
    let mut records = Records::open(dir).unwrap();
    let mut all = Vec::new();
    while let Some(line) = records.next(|line, _, _| format!("{}}}", line.leaf)).unwrap() {
        all.push(serde_json::from_str(&line).unwrap());
    }
    all
}

/// An e-mail address in what is proven of a record, apart from the path that a client asked for.
pub fn address_in(record: &Value) -> Option<String> {
    let mut record = record.clone();
    record.as_object_mut()?.remove("path");
    let text = record.to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._%+-".contains(c);
    text.match_indices('@').find_map(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + 1..]);
        let domain = &after[..after.find(|c| !plain(c)).unwrap_or(after.len())];
        let local = &before[before.rfind(|c| !plain(c)).map_or(0, |found| found + 1)..];
        (!local.is_empty() && domain.contains('.')).then(|| format!("{local}@{domain}"))
    })
}

/// A ledger at rest is whole, and each intent in it has exactly one outcome, behind it.
pub fn prove(dir: &Path, key: &VerifyingKey) -> Vec<Value> {
    let report = verify(dir, key).unwrap();
    assert!(report.is_clean(), "{report}");
    assert!(report.open_intents.is_empty(), "{:?}", report.open_intents);
    let all = records(dir);
    for record in &all {
        assert_eq!(address_in(record), None, "{record}");
    }
    let mut open: HashMap<String, bool> = HashMap::new();
    for record in &all {
        let kind = record["kind"].as_str().unwrap_or_default();
        for (intent, outcome, id) in
            [("access.intent", "access.outcome", "exchange"), ("change.intent", "change.outcome", "change")]
        {
            let name = record[id].as_str().unwrap_or_default();
            if kind == intent {
                // A change that could not be stored is tried again under its own id.
                let before = open.insert(name.to_owned(), true);
                assert_ne!(before, Some(true), "two intents `{name}`, the first without outcome");
                assert!(id == "change" || before.is_none(), "two intents `{name}`");
            }
            if kind == outcome {
                let before = open.insert(name.to_owned(), false);
                assert_eq!(before, Some(true), "an outcome of `{name}` without a fresh intent");
            }
        }
    }
    assert!(open.values().all(|open| !open), "an intent without outcome");
    all
}

/// A request as text.
pub fn request(method: &str, target: &str, token: &str, more: &str) -> String {
    let authorization =
        if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    format!("{method} {target} HTTP/1.1\r\nHost: app.example\r\n{authorization}{more}\r\n")
}
