//! What runs: keys, tokens, configurations, and the processes, each on its core.

use std::{
    fmt::Write as _,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use postern::{
    app::{Extra, Gateway, init_state},
    audit::note::SigningKey,
    config::{Disk, load},
    engine::{Clock, Giver, new_id},
    identity::{Algorithm, ClaimPath, IssuerOptions, KeySource, Limits, Signer, Verifier},
    lifecycle::{Command as Verb, WantedBasis},
    model::{EnvironmentId, IssuerName, SessionId, SubjectKind, TenantId, Timestamp},
};
use serde_json::json;

use crate::load::{Request, Requests};

pub const MEMBERS_ISSUER: &str = "https://id.app.example";
const STAFF_ISSUER: &str = "https://id.vendor.example";
/// Tokens that nobody has seen before.
const COLD_TOKENS: usize = 60_000;

/// What differs from the configuration that is measured by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// HTTP/1.1 and HTTP/2 over TLS, instead of HTTP/1.1 in clear.
    pub secure: bool,
}

/// Who stands in front of the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// nginx, plain `proxy_pass`.
    Nginx,
    /// hyper on both sides.
    Bare,
    /// This crate.
    Postern,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Nginx => "nginx, enforcing nothing",
            Kind::Bare => "hyper both sides, enforcing nothing",
            Kind::Postern => "Postern",
        }
    }
}

/// A process, ended with its owner.
pub struct Peer {
    pub kind: Kind,
    pub pid: u32,
    pub port: u16,
    child: Child,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// See the module's header.
pub struct World {
    dir: tempfile::TempDir,
    /// The core of the gateways; origin and load run on the other one.
    core: usize,
    origin: u16,
    members: Signer,
    member_token: String,
    staff_token: String,
}

/// Pins this thread to a core, and so what it starts, unless that is pinned elsewhere.
pub fn pin_self(core: usize) {
    let link = std::fs::read_link("/proc/thread-self").unwrap();
    let thread = link.file_name().unwrap().to_str().unwrap().to_owned();
    let core = core.to_string();
    let done = Command::new("taskset").args(["-pc", &core, &thread]).stdout(Stdio::null()).status();
    assert!(done.is_ok_and(|status| status.success()), "`taskset` (util-linux) pins processes to cores");
}

/// Which of the first two cores makes bytes durable faster, by the median of so many flushes on each in turn: a flush
/// wakes its waiter from the core that serves the disk's interrupts.
fn core_near_the_disk(dir: &Path) -> (usize, [f64; 2]) {
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..4 {
        for (core, took) in took.iter_mut().enumerate() {
            pin_self(core);
            let [growing, _] = crate::measure::flushes(dir, 50);
            took.extend(growing);
        }
    }
    let medians = took.map(|mut took| crate::measure::median(&mut took));
    (usize::from(medians[1] < medians[0]), medians)
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn start(core: usize, wrapper: &[String], program: &Path, args: &[String]) -> Child {
    let core = core.to_string();
    let mut command = Command::new("taskset");
    command.args(["-c", &core]).args(wrapper).arg(program).args(args).stdin(Stdio::null());
    command.spawn().unwrap_or_else(|fault| panic!("{} does not start: {fault}", program.display()))
}

pub fn wait_for(port: u16) {
    let until = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "nobody listens on port {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl World {
    /// Keys, tokens and a directory on a real disk: what is durable has to be.
    pub fn make() -> World {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (core, [first, second]) = core_near_the_disk(dir.path());
        eprintln!(
            "a flush takes {first:.0} µs on core 0, {second:.0} µs on core 1: gateways run on core {core}"
        );
        pin_self(1 - core);
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let signer = || Signer::generate(Algorithm::Es256).unwrap();
        let (member, vendor) = (signer(), signer());
        put("members.jwks.json", &member.public_jwks().unwrap());
        let pair = rcgen::KeyPair::from_pem(&member.to_pem().unwrap()).unwrap();
        put("members.pub.pem", &pair.public_key_pem());
        put("vendor.jwks.json", &vendor.public_jwks().unwrap());
        put("assertion.pem", &Signer::generate(Algorithm::EdDsa).unwrap().to_pem().unwrap());
        let ledger = SigningKey::generate("example.com/postern/bench").unwrap();
        put("ledger.key", &ledger.to_text().unwrap());
        put("ledger.pub", &ledger.verifying_key().to_text());
        let now = now_s();
        let claims = json!({
            "iss": STAFF_ISSUER, "aud": "postern", "sub": "agent-7", "iat": now - 5, "exp": now + 36_000,
            "email": "agent@vendor.example", "email_verified": true,
        });
        let staff_token = vendor.sign("at+jwt", &claims).unwrap();
        put("staff.token", &staff_token);
        let member_token = member_token(&member, 0);
        let shown = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        put("tls.pem", &shown.cert.pem());
        put("tls.key", &shown.signing_key.serialize_pem());
        // HAProxy reads both from one file.
        put("tls.both.pem", &format!("{}{}", shown.cert.pem(), shown.signing_key.serialize_pem()));
        World { dir, core, origin: free_port(), members: member, member_token, staff_token }
    }

    /// The core of the gateways.
    pub fn core(&self) -> usize {
        self.core
    }

    /// Where the origin is.
    pub fn origin_port(&self) -> u16 {
        self.origin
    }

    /// Who signs members' tokens.
    pub fn members(&self) -> &Signer {
        &self.members
    }

    /// The token of the member who asks for what is warm, and the one of the agent.
    pub fn tokens(&self) -> [&str; 2] {
        [&self.member_token, &self.staff_token]
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the origin beside the load.
    pub fn origin(&self) -> Peer {
        let exe = std::env::current_exe().unwrap();
        let child = start(1 - self.core, &[], &exe, &["origin".to_owned(), self.origin.to_string()]);
        wait_for(self.origin);
        Peer { kind: Kind::Bare, pid: child.id(), port: self.origin, child }
    }

    /// Starts a program beside the gateways, on their core.
    pub fn beside(&self, port: u16, program: &Path, args: &[String]) -> Peer {
        let child = start(self.core, &[], program, args);
        wait_for(port);
        Peer { kind: Kind::Bare, pid: child.id(), port, child }
    }

    /// Starts all gateways, on one core.
    pub fn peers(&self) -> Vec<Peer> {
        [Kind::Nginx, Kind::Bare, Kind::Postern].map(|kind| self.peer(kind, Vec::new())).into()
    }

    /// Starts one of them, maybe under a tool.
    pub fn peer(&self, kind: Kind, wrapper: Vec<String>) -> Peer {
        self.peer_as(kind, wrapper, Plan::default())
    }

    /// The same, otherwise than by default.
    pub fn peer_as(&self, kind: Kind, wrapper: Vec<String>, plan: Plan) -> Peer {
        let exe = std::env::current_exe().unwrap();
        let port = free_port();
        let (program, args) = match kind {
            Kind::Nginx => {
                let at = self.nginx(port, plan);
                let text = |path: &Path| path.display().to_string();
                let args = ["-p", &text(&at), "-c", &text(&at.join("nginx.conf")), "-e", "stderr"];
                (PathBuf::from("/usr/sbin/nginx"), args.map(str::to_owned).to_vec())
            }
            Kind::Bare => (exe, vec!["bare".to_owned(), port.to_string(), self.origin.to_string()]),
            Kind::Postern => {
                let clock = if wrapper.is_empty() { "own-clock" } else { "plain-clock" };
                (
                    exe,
                    vec![
                        "postern".to_owned(),
                        self.postern(port, plan).display().to_string(),
                        clock.to_owned(),
                    ],
                )
            }
        };
        assert!(program.exists(), "nginx is missing: `apt-get install nginx-light`");
        let child = start(self.core, &wrapper, &program, &args);
        wait_for(port);
        if kind == Kind::Postern {
            let ready = self.dir().join(port.to_string()).join("ready");
            let until = Instant::now() + Duration::from_secs(60);
            while !ready.exists() {
                assert!(Instant::now() < until, "the staff session does not start");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Peer { kind, pid: child.id(), port, child }
    }

    /// The same for nginx.
    pub fn nginx(&self, port: u16, plan: Plan) -> PathBuf {
        let at = self.dir().join(port.to_string());
        std::fs::create_dir_all(&at).unwrap();
        let (origin, dir) = (self.origin, self.dir().display());
        let listen = if plan.secure {
            format!("ssl http2; ssl_certificate {dir}/tls.pem; ssl_certificate_key {dir}/tls.key")
        } else {
            String::new()
        };
        let text = format!(
            "daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} {listen};
    location / {{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_buffers 32 8k;
    }}
  }}
}}
"
        );
        std::fs::write(at.join("nginx.conf"), text).unwrap();
        at
    }

    /// Writes a configuration for that port; the directory that it lies in.
    pub fn postern(&self, port: u16, plan: Plan) -> PathBuf {
        let at = self.dir().join(port.to_string());
        std::fs::create_dir_all(&at).unwrap();
        let (origin, operations) = (self.origin, free_port());
        let mut text = format!(
            "gateway: bench
listen: 127.0.0.1:{port}
operations: 127.0.0.1:{operations}
workers: 1
state: {{ path: state.redb }}
ledger: {{ path: ledger, origin: example.com/postern/bench, key: {{ file: ../ledger.key }} }}
assertion: {{ key: {{ file: ../assertion.pem }} }}
upstreams: {{ app: {{ url: \"http://127.0.0.1:{origin}\", assert: staff }} }}
issuers:
  - {{ name: vendor, issuer: \"{STAFF_ISSUER}\", kind: staff, audience: postern, algorithms: [ES256], keys: {{ file: ../vendor.jwks.json }} }}
  - {{ name: app, issuer: \"{MEMBERS_ISSUER}\", kind: member, audience: app, algorithms: [ES256], keys: {{ file: ../members.jwks.json }} }}
tenants:
  from: [{{ path: tenant }}, {{ claim: true }}]
  environments: {{ known: [production], default: production }}
  known: [{{ id: acme, zone: Europe/Berlin }}]
roles:
  clerk: {{ allow: [\"*:read\", orders:write] }}
  read_only: {{ allow: \"*:read\" }}
consent:
  levels: [{{ level: block }}, {{ level: read_only, role: read_only }}]
  default: read_only
sessions: {{ last: 8h }}
grants: {{ longest: 180d }}
members: {{ unmapped: refuse }}
limits: {{ request_head: 32 KiB, headers: 100, header_timeout: 10s, body_idle: 60s, keep_alive: 300s, connections: 30000 }}
"
        );
        if plan.secure {
            text += "tls: { certificates: [{ chain: ../tls.pem, key: { file: ../tls.key } }] }\n";
        }
        // Eight resources of five routes each.
        let resources =
            ["orders", "mappings", "integrations", "jobs", "users", "invoices", "products", "returns"];
        let names = resources.map(|resource| format!("{resource}:read, {resource}:write"));
        writeln!(text, "permissions: [{}]\nroutes:", names.join(", ")).unwrap();
        for resource in resources {
            for (method, tail, verb) in [
                ("GET", "", "read"),
                ("POST", "", "write"),
                ("GET", "/{id}", "read"),
                ("PATCH", "/{id}", "write"),
                ("DELETE", "/{id}", "write"),
            ] {
                let scope = if tail.is_empty() {
                    String::new()
                } else {
                    format!(", resource: {{ type: {resource}, id: id }}")
                };
                writeln!(
                    text,
                    "  - {{ route: \"{method} /t/{{tenant}}/api/{resource}{tail}\", permission: {resource}:{verb}{scope} }}"
                )
                .unwrap();
            }
        }
        std::fs::write(at.join("postern.yaml"), text).unwrap();
        at
    }

    fn request(token: &str, large: bool) -> Request {
        let what = if large { "large" } else { "small" };
        let text = format!(
            "GET /t/acme/api/orders/{what}-4711 HTTP/1.1\r\nHost: app.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux \
             x86_64) bench\r\nAccept: application/json\r\nAccept-Encoding: gzip, br\r\nAccept-Language: en\r\n\
             Authorization: Bearer {token}\r\nX-Request-Id: 0192f0c17d1b7c3e9b1a\r\n\r\n"
        );
        Request { bytes: text.into_bytes(), large }
    }

    /// A member's request for 1 KiB.
    pub fn small(&self) -> Requests {
        Rc::new(vec![World::request(&self.member_token, false)])
    }

    /// A member's request for 64 KiB.
    pub fn large(&self) -> Requests {
        Rc::new(vec![World::request(&self.member_token, true)])
    }

    /// Requests whose tokens nobody has seen: the slice of them that begins there.
    pub fn cold(&self, from: usize, count: usize) -> Requests {
        assert!(from + count < COLD_TOKENS, "more than the cache holds would measure its eviction");
        Rc::new(
            (from..from + count)
                .map(|n| World::request(&member_token(&self.members, n + 1), false))
                .collect(),
        )
    }

    /// As many different members, each asking for 1 KiB.
    pub fn people(&self, count: usize) -> Vec<Request> {
        (0..count).map(|n| World::request(&member_token(&self.members, COLD_TOKENS + n), false)).collect()
    }

    /// Any GET, with more lines in its head.
    pub fn asking(&self, path: &str, token: &str, more: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: app.example\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
            .into_bytes()
    }

    /// A support agent's request for 1 KiB.
    pub fn staff(&self) -> Requests {
        Rc::new(vec![World::request(&self.staff_token, false)])
    }
}

struct PlainClock(Instant);

impl Clock for PlainClock {
    fn now(&self) -> Timestamp {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        std::hint::black_box(self.0.elapsed());
        Timestamp::from_ms(i64::try_from(wall).unwrap())
    }
}

fn member_token(issuer: &Signer, number: usize) -> String {
    let now = now_s();
    let claims = json!({
        "iss": MEMBERS_ISSUER, "aud": "app", "sub": format!("member-{number}"), "iat": now - 5,
        "exp": now + 36_000, "tenant": "acme", "roles": ["clerk"], "scope": "openid profile orders",
        "jti": format!("0192f0c1-7d1b-7c3e-9b1a-{number:012x}"),
    });
    issuer.sign("at+jwt", &claims).unwrap()
}

/// Plays Postern, with a support session under way.
///
/// Under valgrind the system hides its clock page, which the gateway's own clock reads; there it is given one that asks
/// the standard library as often.
pub fn postern(dir: &Path, plain_clock: bool) {
    init_state(&dir.join("state.redb"), &dir.join("ledger")).unwrap();
    let (settings, _) = load(&dir.join("postern.yaml"), &Disk).unwrap_or_else(|faults| panic!("{faults:?}"));
    let clock = plain_clock.then(|| Arc::new(PlainClock(Instant::now())) as Arc<dyn Clock>);
    let gateway = Gateway::start(settings, Extra { clock, ..Extra::default() }).unwrap();
    let jwks = std::fs::read_to_string(dir.join("../vendor.jwks.json")).unwrap();
    let name = IssuerName::new("vendor").unwrap();
    let mut options =
        IssuerOptions::new(name, STAFF_ISSUER, SubjectKind::Staff, "postern", KeySource::Jwks(jwks));
    options.claims.email = ClaimPath::parse("email").ok();
    let verifier = Verifier::new(vec![options], Limits::default()).unwrap();
    let token = std::fs::read_to_string(dir.join("../staff.token")).unwrap();
    let now = Timestamp::from_ms(i64::try_from(now_s()).unwrap() * 1000);
    let agent = verifier.verify(token.as_bytes(), now).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let verb = Verb::StartSession {
            tenant: TenantId::new("acme").unwrap(),
            session: SessionId::new(&new_id("ses", now).unwrap()).unwrap(),
            environment: EnvironmentId::new("production").unwrap(),
            basis: WantedBasis::Consent,
            reason: "measuring".to_owned(),
            ticket: None,
            lasts: None,
        };
        let giver = Giver::Subject(Arc::clone(&agent), "127.0.0.1".to_owned());
        match runtime.block_on(gateway.engine().change(verb, giver)) {
            Ok(_) => break,
            // The past is being settled, or the tenant is not registered yet.
            Err(fault) => assert!(Instant::now() < until, "no session: {fault}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    std::fs::write(dir.join("ready"), "").unwrap();
    loop {
        std::thread::park();
    }
}
