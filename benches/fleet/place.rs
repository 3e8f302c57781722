//! Where a gateway lives: its directory with keys and configuration, the people and their tokens, and the application behind it.
//!
//! Never here: what is measured.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use postern::{
    app,
    audit::note::SigningKey,
    config::{Disk, Settings, load},
    identity::{Algorithm, Signer},
    model::Timestamp,
};
use serde_json::json;
use tempfile::TempDir;

/// How many agents there are; each has as many sessions.
const AGENTS: usize = 100;

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap())
}

/// See the module's header.
pub struct Place {
    dir: TempDir,
    pub port: u16,
    operations: u16,
    tokens: Vec<String>,
}

/// What the configuration of a directory means.
pub fn settings(dir: &Path) -> Settings {
    load(&dir.join("postern.yaml"), &Disk).unwrap_or_else(|faults| panic!("{faults:?}")).0
}

/// Who an agent is.
pub fn agent(number: usize) -> String {
    format!("agent-{:02}", number % AGENTS)
}

/// Answers whatever is asked, for ever.
fn application() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut inbox = [0; 16 * 1024];
                // A request without a body comes in one piece here.
                while stream.read(&mut inbox).is_ok_and(|count| count > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

impl Place {
    /// With a store begun in that Redis, which is empty.
    pub fn make(redis: u16) -> Place {
        let state = format!("redis: {{ url: \"redis://127.0.0.1:{redis}\" }}, shadow: shadow.redb");
        let place = Place::over(&state);
        app::init(&place.settings()).unwrap();
        place
    }

    /// With the store that is described.
    pub fn over(state: &str) -> Place {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let signer = || Signer::generate(Algorithm::Es256).unwrap();
        let (vendor, members, assertion) = (signer(), signer(), signer());
        put("vendor.jwks", &vendor.public_jwks().unwrap());
        put("members.jwks", &members.public_jwks().unwrap());
        put("assertion.pem", &assertion.to_pem().unwrap());
        let ledger = SigningKey::generate("example.com/postern/fleet").unwrap();
        put("ledger.key", &ledger.to_text().unwrap());
        let (port, operations, upstream) = (free_port(), free_port(), application());
        let text = format!(
            "gateway: bench
listen: 127.0.0.1:{port}
operations: 127.0.0.1:{operations}
workers: 1
state: {{ {state} }}
ledger: {{ path: ledger, origin: example.com/postern/fleet, key: {{ file: ledger.key }} }}
assertion: {{ key: {{ file: assertion.pem }} }}
upstreams: {{ app: {{ url: \"http://127.0.0.1:{upstream}\" }} }}
issuers:
  - {{ name: vendor, issuer: https://id.vendor.example, kind: staff, audience: postern, algorithms: [ES256], keys: {{ file: vendor.jwks }}, claims: {{ support: {{ everybody: true }} }} }}
  - {{ name: programs, issuer: https://programs.example, kind: service, audience: postern, algorithms: [ES256], keys: {{ file: vendor.jwks }} }}
  - {{ name: app, issuer: https://id.app.example, kind: member, audience: app, algorithms: [ES256], keys: {{ file: members.jwks }} }}
  - {{ name: rows, issuer: https://rows.app.example, kind: member, roles: rows, audience: app, algorithms: [ES256], keys: {{ file: members.jwks }} }}
services: [{{ issuer: programs, subjects: [crm], may: [\"tenants:push\", \"members:push\"] }}]
tenants:
  from: {{ path: tenant }}
  environments: {{ known: [production, sandbox], default: production }}
permissions: [orders:read, orders:write, users:manage]
roles:
  read_only: {{ allow: \"*:read\" }}
  admin: {{ allow: \"*:*\" }}
ceiling: [\"users:manage\"]
consent:
  levels: [{{ level: block }}, {{ level: read_only, role: read_only }}, {{ level: full, role: admin }}]
  default: read_only
sessions: {{ last: 8h }}
grants: {{ longest: 180d }}
members: {{ unmapped: refuse }}
routes:
  - {{ route: \"GET /t/{{tenant}}/orders\", permission: orders:read }}
"
        );
        put("postern.yaml", &text);
        let token = |number: usize| {
            let claims = json!({ "iss": "https://id.vendor.example", "aud": "postern", "sub": agent(number),
                "iat": now().ms() / 1000 - 5, "exp": now().ms() / 1000 + 36_000,
                "email": format!("{}@vendor.example", agent(number)), "email_verified": true });
            vendor.sign("at+jwt", &claims).unwrap()
        };
        let tokens = (0..AGENTS).map(token).collect();
        for (name, iss, roles) in [
            ("member", "https://id.app.example", vec!["admin"]),
            ("rower", "https://rows.app.example", vec![]),
        ] {
            let claims = json!({ "iss": iss, "aud": "app", "sub": "adele", "iat": now().ms() / 1000 - 5,
                "exp": now().ms() / 1000 + 36_000, "tenant": "acme", "roles": roles });
            put(&format!("{name}.token"), &members.sign("at+jwt", &claims).unwrap());
        }
        let place = Place { dir, port, operations, tokens };
        std::fs::write(place.dir().join("staff.token"), place.agent(0)).unwrap();
        place
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn settings(&self) -> Settings {
        settings(self.dir())
    }

    /// The token of an agent.
    pub fn agent(&self, number: usize) -> String {
        self.tokens[number % AGENTS].clone()
    }

    /// What the gateway tells its operators, where it is 200.
    pub fn told(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.operations)).ok()?;
        let mut text = String::new();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: ops\r\nConnection: close\r\n\r\n").ok()?;
        stream.read_to_string(&mut text).ok()?;
        text.starts_with("HTTP/1.1 200").then_some(text)
    }

    /// Whether the gateway says that it is ready.
    pub fn is_ready(&self) -> bool {
        self.told("/readyz").is_some()
    }

    /// One of the gateway's metrics.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.told("/metrics").expect("a gateway that runs tells its metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("there is no {name}"))
    }
}
