//! Who plays, how each is started, and the proof that those who are to enforce do.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Child,
    time::Duration,
};

use serde_json::json;

use super::{envoy, haproxy, nginx};
use crate::world::{Kind, MEMBERS_ISSUER, Peer, Plan, World, free_port, now_s, start as spawn, wait_for};

/// Resources of the map, five routes each: the same forty rules for everybody.
pub const RESOURCES: [&str; 8] =
    ["orders", "mappings", "integrations", "jobs", "users", "invoices", "products", "returns"];
/// Method, whether an id follows, and whether it writes.
pub const ROUTES: [(&str, bool, bool); 5] = [
    ("GET", false, false),
    ("POST", false, true),
    ("GET", true, false),
    ("PATCH", true, true),
    ("DELETE", true, true),
];

/// The roles that hold what a route asks for, as the gateway's configuration has it.
pub fn roles(resource: &str, writes: bool) -> &'static [&'static str] {
    match (resource, writes) {
        ("orders", true) => &["clerk"],
        (_, false) => &["clerk", "read_only"],
        (_, true) => &["nobody"],
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Nginx,
    Haproxy,
    Envoy,
    Postern,
    NginxCached,
    NginxService,
    HaproxyEnforcing,
    EnvoyCached,
    EnvoyEnforcing,
}

impl Sort {
    pub const ALL: [Sort; 9] = [
        Sort::Nginx,
        Sort::Haproxy,
        Sort::Envoy,
        Sort::Postern,
        Sort::NginxCached,
        Sort::NginxService,
        Sort::HaproxyEnforcing,
        Sort::EnvoyCached,
        Sort::EnvoyEnforcing,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Sort::Nginx => "nginx, enforcing nothing",
            Sort::Haproxy => "HAProxy, enforcing nothing",
            Sort::Envoy => "Envoy, enforcing nothing",
            Sort::Postern => "Postern, enforcing",
            Sort::NginxCached => "nginx, `auth_request` with answers cached for 10 s",
            Sort::NginxService => "nginx, `auth_request` to a hyper service",
            Sort::HaproxyEnforcing => "HAProxy, `jwt_verify` and ACLs",
            Sort::EnvoyCached => "Envoy, `jwt_authn` with its token cache, RBAC",
            Sort::EnvoyEnforcing => "Envoy, `jwt_authn`, RBAC",
        }
    }

    pub fn enforces(self) -> bool {
        !matches!(self, Sort::Nginx | Sort::Haproxy | Sort::Envoy)
    }

    /// Looks at the signature of a token that it has not seen.
    pub fn verifies_each(self) -> bool {
        self.enforces() && self != Sort::NginxCached
    }

    /// Takes far longer for a request than the others.
    pub fn is_slow(self) -> bool {
        matches!(self, Sort::NginxService | Sort::HaproxyEnforcing | Sort::EnvoyEnforcing)
    }

    pub fn speaks_http2(self) -> bool {
        !matches!(self, Sort::NginxCached | Sort::NginxService | Sort::EnvoyEnforcing)
    }

    /// Can be run under valgrind in one process.
    pub fn is_counted(self) -> bool {
        !matches!(self, Sort::Envoy | Sort::EnvoyCached | Sort::EnvoyEnforcing | Sort::NginxService)
    }
}

/// One of them, running.
pub struct Player {
    pub sort: Sort,
    pub pid: u32,
    pub port: u16,
    /// The service that it asks, where there is one: its work is the player's.
    pub beside: Option<Peer>,
    _child: Owned,
}

/// Ends with its owner.
enum Owned {
    Child(Child),
    Peer { _peer: Peer },
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Owned::Child(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts one; `None` where it is not installed, which is said.
pub fn start(world: &World, sort: Sort, secure: bool) -> Option<Player> {
    begin(world, sort, Plan { secure }, Vec::new())
}

/// The same under a tool.
pub fn start_under(world: &World, sort: Sort, wrapper: Vec<String>) -> Option<Player> {
    begin(world, sort, Plan::default(), wrapper)
}

fn begin(world: &World, sort: Sort, plan: Plan, wrapper: Vec<String>) -> Option<Player> {
    let peer = match sort {
        Sort::Nginx => Some(Kind::Nginx),
        Sort::Postern => Some(Kind::Postern),
        _ => None,
    };
    if let Some(kind) = peer {
        let peer = world.peer_as(kind, wrapper, plan);
        return Some(Player {
            sort,
            pid: peer.pid,
            port: peer.port,
            beside: None,
            _child: Owned::Peer { _peer: peer },
        });
    }
    let beside = matches!(sort, Sort::NginxCached | Sort::NginxService).then(|| service(world));
    let port = free_port();
    let at = world.dir().join(port.to_string());
    std::fs::create_dir_all(&at).unwrap();
    let (program, args) = match sort {
        Sort::NginxCached | Sort::NginxService => {
            let service = beside.as_ref().map_or(0, |peer| peer.port);
            nginx::write(&at, port, world.origin_port(), service, sort == Sort::NginxCached)
        }
        Sort::Haproxy | Sort::HaproxyEnforcing => haproxy::write(world, &at, port, plan, sort.enforces()),
        _ => envoy::write(world, &at, port, plan, sort),
    };
    let Some(program) = program else {
        eprintln!("{}: not installed, left out", sort.name());
        return None;
    };
    let child = spawn(world.core(), &wrapper, &program, &args);
    wait_for(port);
    Some(Player { sort, pid: child.id(), port, beside, _child: Owned::Child(child) })
}

/// The authorisation service, beside on the same core.
fn service(world: &World) -> Peer {
    let port = free_port();
    let exe = std::env::current_exe().unwrap();
    let args = ["service".to_owned(), port.to_string(), world.dir().display().to_string()];
    world.beside(port, &exe, &args)
}

/// The first of these files that is there.
pub fn installed(places: &[PathBuf]) -> Option<PathBuf> {
    places.iter().find(|place| place.exists()).cloned()
}

pub fn text(path: &Path) -> String {
    path.display().to_string()
}

fn status(port: u16, method: &str, path: &str, token: Option<&str>) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let authorization = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: app.example\r\n{authorization}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// A player that enforces lets the right one in and nobody else; one that does not is taken at its word.
pub fn prove(world: &World, player: &Player) {
    let good = "/t/acme/api/orders/small-4711";
    let [member, _] = world.tokens();
    let ask = |method: &str, path: &str, token: Option<&str>| status(player.port, method, path, token);
    assert_eq!(ask("GET", good, Some(member)), 200, "{} refuses whom it must serve", player.sort.name());
    if !player.sort.enforces() {
        return;
    }
    let claims = |what: &str| {
        let mut claims = json!({
            "iss": MEMBERS_ISSUER, "aud": "app", "sub": "mallory", "iat": now_s() - 5, "exp": now_s() + 3_600,
            "tenant": "acme", "roles": ["clerk"],
        });
        match what {
            "expired" => claims["exp"] = json!(now_s() - 3_600),
            "audience" => claims["aud"] = json!("other"),
            "issuer" => claims["iss"] = json!("https://id.other.example"),
            _ => claims["roles"] = json!(["nobody"]),
        }
        world.members().sign("at+jwt", &claims).unwrap()
    };
    let forged = {
        let (front, signature) = member.rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { "B" } else { "A" };
        format!("{front}.{first}{}", &signature[1..])
    };
    let cases = [
        ("no token", "GET", good, None),
        ("a forged signature", "GET", good, Some(forged)),
        ("an expired token", "GET", good, Some(claims("expired"))),
        ("another audience", "GET", good, Some(claims("audience"))),
        ("another issuer", "GET", good, Some(claims("issuer"))),
        ("a role that holds nothing", "GET", good, Some(claims("role"))),
        ("a route that is not listed", "GET", "/t/acme/api/secrets/small-1", Some(member.to_owned())),
        ("a method that the role may not", "DELETE", "/t/acme/api/users/small-1", Some(member.to_owned())),
        ("another tenant", "GET", "/t/globex/api/orders/small-1", Some(member.to_owned())),
    ];
    for (what, method, path, token) in cases {
        let status = ask(method, path, token.as_deref());
        assert!((400..500).contains(&status), "{} answers {status} to {what}", player.sort.name());
    }
}
