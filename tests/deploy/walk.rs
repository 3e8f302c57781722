//! The example of deploy/compose, run: from nothing to a page, support in and out, a gateway replaced while streams run.

use std::{fs, process::Command, time::Instant};

use serde_json::{Value, json};

use super::{
    alerts,
    boxed::{Boxed, Machine},
    client::{Client, Ending, Reply},
    one, texts, until,
    wire::{CLIENT, connect, operations, request},
};

const ORDERS: &str = "/t/acme/api/orders";
const SESSIONS: &str = "/_postern/v1/tenants/acme/sessions";
const CONSENT: &str = "/_postern/v1/tenants/acme/consent";
const SESSION: &str =
    r#"{"environment":"production","basis":"consent","reason":"order 1042 is stuck","ticket":"HELP-77"}"#;
/// A stop as in the file, in less time.
const SOON: [(&str, &str); 2] = [("shutdown_delay: 5s", "shutdown_delay: 2s"), ("drain: 15s", "drain: 3s")];

struct Example(Machine);

impl Example {
    fn client(&self, gateway: &str) -> Client {
        let at = (self.0.address("balancer"), self.0.address(gateway));
        connect(at.0, at.1).unwrap_or_else(|| panic!("{gateway} does not listen"))
    }

    /// A person's token, in the header that it comes in.
    fn who(&self, person: &str) -> String {
        let file = self.0.volume("people", 0).join(format!("{person}.token"));
        format!("Authorization: Bearer {}", fs::read_to_string(file).unwrap().trim())
    }

    fn ask(&self, gateway: &str, method: &str, path: &str, person: &str, body: Option<&str>) -> Reply {
        let mut client = self.client(gateway);
        client.send(request(method, path, &self.who(person), body));
        client.reply()
    }

    fn get(&self, gateway: &str, path: &str, person: &str) -> Reply {
        self.ask(gateway, "GET", path, person, None)
    }

    /// What is answered while the store comes and goes: who was let in just before it went is cut, and hears nothing.
    fn got(&self, gateway: &str, path: &str, person: &str) -> Option<Reply> {
        let mut client = self.client(gateway);
        client.send(request("GET", path, &self.who(person), None));
        (client.more() == Ending::Open).then(|| client.reply())
    }

    /// A stream that has begun.
    fn stream(&self, gateway: &str, path: &str, person: &str) -> Client {
        let mut client = self.client(gateway);
        client.send(request("GET", path, &self.who(person), None));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(client.more(), Ending::Open);
        client
    }

    fn readyz(&self, gateway: &str) -> (u16, String) {
        operations(self.0.address(gateway), "/readyz")
            .map_or((0, String::new()), |reply| (reply.status, reply.text()))
    }

    fn gateway(&self, name: &str, edits: &[(&str, &str)]) -> Boxed {
        let mut gateway = self.0.start(name, None, edits);
        self.serves(name, &mut gateway);
        gateway
    }

    fn serves(&self, name: &str, gateway: &mut Boxed) {
        until("it serves staff", || {
            assert!(gateway.running(), "{}", gateway.log());
            let (status, said) = self.readyz(name);
            status == 200 && said.contains("staff: served") && said.contains("store: known as of")
        });
    }
}

#[test]
fn the_example_runs_from_nothing_to_a_gateway_that_is_replaced_under_open_streams() {
    let example = Example(Machine::new(one("compose/compose.yaml")["services"].clone()));
    let machine = &example.0;

    // Keys are made once. At the next start nothing that somebody may rely on is another; only tokens are new.
    machine.start("keys", None, &[]).succeeds();
    let files = |volume: &str| {
        let all = fs::read_dir(machine.volume(volume, 0)).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = all.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        all.sort();
        all
    };
    let made = ["keys", "public", "redis-users", "authority"].map(files);
    machine.start("keys", None, &[]).succeeds();
    assert!(made == ["keys", "public", "redis-users", "authority"].map(files));

    // The store is begun once, as often as that is asked.
    let redis = machine.start("redis", None, &[]);
    let check = texts(&machine.services["redis"]["healthcheck"]["test"]);
    assert_eq!(check[..2], ["CMD", "valkey-cli"]);
    let address = machine.address("redis").to_string();
    until("redis is well", || {
        let asked = Command::new("redis-cli").args(["-h", &address]).args(&check[2..]).output().unwrap();
        asked.status.success() && asked.stdout == b"PONG\n"
    });
    // Nobody does anything without the gateways' password.
    let asked = Command::new("redis-cli").args(["-h", &address, "-e", "get", "postern"]).output().unwrap();
    assert!(!asked.status.success(), "{}", String::from_utf8_lossy(&asked.stdout));
    // Whoever operates it sets it otherwise; a gateway does not.
    let sets = |user: &str, volume: &str, file: &str| {
        let password = fs::read_to_string(machine.volume(volume, 0).join(file)).unwrap();
        let who = ["-h", &address, "-e", "--no-auth-warning", "--user", user, "--pass", password.trim()];
        let set = Command::new("redis-cli").args(who).args(["config", "set", "maxmemory", "200mb"]).output();
        set.unwrap().status.success()
    };
    assert!(sets("admin", "authority", "redis.admin.password"));
    assert!(!sets("postern", "keys", "redis.password"));
    // A gateway that comes too early makes none, lets no staff in, and waits.
    let mut second = machine.start("gateway-2", None, &SOON);
    until("it is up", || {
        assert!(second.running(), "{}", second.log());
        example.readyz("gateway-2").0 == 200
    });
    let early = example.get("gateway-2", ORDERS, "sam");
    assert_eq!(early.status, 503, "{}", early.text());
    let said = machine.start("init", None, &[]).succeeds();
    assert!(said.contains("an empty store begins in Redis"), "{said}");
    let said = machine.start("init", None, &[]).succeeds();
    assert!(said.contains("nothing is begun: the store") && said.contains("is there already"), "{said}");

    let _application = machine.start("application", None, &[]);
    let check = ["check", "--config", "/etc/postern/postern.yaml"];
    let said = machine.start("gateway-1", Some(&check), &SOON).succeeds();
    assert!(said.starts_with("/etc/postern/postern.yaml: fine\n"), "{said}");
    let first = example.gateway("gateway-1", &SOON);
    example.serves("gateway-2", &mut second);

    // Members pass through either, a browser by its cookie.
    for gateway in ["gateway-1", "gateway-2"] {
        until("the application answers", || example.get(gateway, ORDERS, "alice").status == 200);
        let cookies = fs::read_to_string(machine.volume("people", 0).join("cookies.map")).unwrap();
        let cookie = cookies.lines().find_map(|line| line.strip_prefix("/alice ")).unwrap();
        assert!(!cookies.contains("/sam "));
        let mut browser = example.client(gateway);
        browser.send(request("GET", "/t/acme/", &format!("Cookie: postern-demo={cookie}"), None));
        let page = browser.reply();
        assert!(page.status == 200 && page.text().contains("Orders of"), "{}", page.text());
    }

    // Support: refused, let in by consent, known at both.
    let refused = example.get("gateway-2", ORDERS, "sam");
    assert_eq!((refused.status, refused.code().as_str()), (403, "session_missing"));
    let consent = |level: &str| {
        let body = format!("{{\"level\":\"{level}\"}}");
        let set = example.ask("gateway-2", "PUT", CONSENT, "alice", Some(&body));
        assert_eq!(set.status, 200, "{}", set.text());
    };
    consent("block");
    until("the first hears of it", || {
        let refused = example.ask("gateway-1", "POST", SESSIONS, "sam", Some(SESSION));
        assert_eq!(refused.status, 403, "{}", refused.text());
        refused.code() == "consent_closes"
    });
    consent("read_only");
    until("the first hears of it", || {
        example.ask("gateway-1", "POST", SESSIONS, "sam", Some(SESSION)).status == 201
    });
    for gateway in ["gateway-1", "gateway-2"] {
        until("both know of the session", || example.get(gateway, ORDERS, "sam").status == 200);
    }

    // One stops: checked, it says so at once; it still takes who comes; what ends in time ends whole, the rest is reset at the end of
    // the drain. The other goes on.
    let mut through =
        example.stream("gateway-1", "/t/acme/api/exports/orders.csv?seconds=2&rate=20000", "alice");
    let mut endless = example.stream("gateway-1", "/t/acme/api/events?every=50", "sam");
    let mut beside = example.stream("gateway-2", "/t/acme/api/events?every=50", "sam");
    first.terminate();
    let begun = Instant::now();
    until("the balancer is told", || example.readyz("gateway-1").0 == 503);
    assert_eq!(example.get("gateway-1", ORDERS, "alice").status, 200, "taken until the balancer has looked");
    let (ending, whole) = through.read_out();
    assert_eq!(ending, Ending::Closed);
    assert!(whole >= 20_000 * 2 - 64 * 1024 / 4, "{whole} bytes of the export");
    let (ending, _) = endless.read_out();
    assert_eq!(ending, Ending::Reset);
    let (status, log) = first.ends();
    assert!(status.success(), "{log}");
    let took = begun.elapsed();
    assert!(took.as_secs() >= 5 && took.as_secs() < 15, "a delay of 2 s and a drain of 3 s took {took:?}");
    beside.inbox.clear();
    assert_eq!(beside.more(), Ending::Open, "the other goes on");
    assert_eq!(example.get("gateway-2", ORDERS, "sam").status, 200);

    // What only it recorded is missing by name, and is there again when it is.
    let audit = || {
        let page: Value = serde_json::from_slice(
            &example.get("gateway-2", "/_postern/v1/tenants/acme/audit", "alice").body,
        )
        .unwrap();
        page
    };
    assert_eq!(audit()["missing"], json!(["gateway-1"]));

    // Started again as `docker compose up` does it, the beginning included. It also fetches keys and has a webhook here, so that all
    // that alarms may ask for is there.
    let said = machine.start("init", None, &[]).succeeds();
    assert!(said.lines().last().unwrap().contains("nothing is begun: there is"), "{said}");
    let more = [
        SOON[0],
        SOON[1],
        (
            "issuers:\n",
            "webhooks: [{ name: pager, url: \"https://127.0.0.1:9/\", secret: { file: keys/hook.secret }, events: [session_started] }]\n\
             resource_types: { orders: { look_up: { path: \"/in/{tenant}/{orders}\", creator: /by, issuer: app } } }\n\
             issuers:\n  - { name: elsewhere, issuer: \"https://id.elsewhere.example\", kind: member, audience: app, algorithms: [ES256], \
             keys: { url: \"https://127.0.0.1:9/jwks\" }, claims: { tenant: tenant, roles: roles } }\n",
        ),
    ];
    fs::write(
        machine.volume("keys", 0).join("hook.secret"),
        "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    )
    .unwrap();
    let first = example.gateway("gateway-1", &more);
    assert_eq!(example.get("gateway-1", ORDERS, "sam").status, 200, "the session goes on");
    until("its ledger is there again", || audit()["missing"] == json!([]));
    assert_eq!(audit()["ledgers"].as_array().unwrap().len(), 2);
    assert!(audit().to_string().contains(CLIENT), "records say who came, not the balancer");
    let metrics = operations(machine.address("gateway-1"), "/metrics").unwrap().text();
    alerts::ask_for_what_there_is(&metrics);

    // Redis dies in the middle and comes back on its disk: support waits, members do not, and nothing is forgotten.
    drop(redis);
    until("support is refused", || {
        example.got("gateway-2", ORDERS, "sam").is_some_and(|reply| reply.code() == "state_stale")
    });
    assert_eq!(example.get("gateway-2", ORDERS, "alice").status, 200);
    let (status, ready) = example.readyz("gateway-2");
    assert_eq!(status, 200, "members are served");
    assert!(ready.contains("\nstaff: refused: the store was not heard of for "), "{ready}");
    assert!(
        ready.contains("\nof 64 parts: store_unreachable: ") && ready.contains("`redis:6379`"),
        "{ready}"
    );
    let redis = machine.start("redis", None, &[]);
    for gateway in ["gateway-1", "gateway-2"] {
        until("support goes on", || {
            example.got(gateway, ORDERS, "sam").is_some_and(|reply| reply.status == 200)
        });
        assert!(
            operations(machine.address(gateway), "/metrics")
                .unwrap()
                .text()
                .contains("\npostern_state_parts_suspect 0\n")
        );
    }

    for gateway in [first, second] {
        gateway.terminate();
        gateway.succeeds();
    }
    for name in ["gateway-1", "gateway-2"] {
        let key = machine.volume("public", 0).join(format!("{name}.ledger.pub"));
        let verified = Command::new(env!("CARGO_BIN_EXE_postern"))
            .args(["audit", "verify"])
            .arg(machine.volume(name, 0).join("ledger"))
            .arg("--key")
            .arg(key)
            .output()
            .unwrap();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    }
    redis.terminate();
    redis.succeeds();
}
