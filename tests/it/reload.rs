//! Another configuration while everything runs: all of it or nothing, no request fails for it, and no stream is cut
//! that the new one still allows.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use postern::{
    app::{self, Extra, Gateway, ReloadFault},
    engine::hooks::Step,
};
use rustls::{HandshakeKind, pki_types::CertificateDer};
use serde_json::Value;

use crate::{
    client::{Client, Ending},
    cuts::counting,
    held::Hold,
    world::*,
};

/// A gateway that was started from a file, which tests write anew.
pub struct FromFile {
    pub world: World,
    pub file: PathBuf,
    text: String,
}

pub const NEVER: Duration = Duration::from_secs(3600);

impl FromFile {
    pub fn start(hooks: postern::engine::hooks::Hooks, every: Duration, edits: &[(&str, &str)]) -> FromFile {
        FromFile::start_beside(hooks, every, edits, |_| {})
    }

    /// The same, with files of its own beside the keys.
    fn start_beside(
        hooks: postern::engine::hooks::Hooks,
        every: Duration,
        edits: &[(&str, &str)],
        prepare: impl FnOnce(&Path),
    ) -> FromFile {
        let mut world = World::prepared(Plan::default().hooks(hooks));
        app::init_state(&world.data.join("state.redb"), &world.data.join("ledger")).unwrap();
        prepare(world.keys_dir.path());
        let file = world.keys_dir.path().join("postern.yaml");
        let text = config_text(world.keys_dir.path(), &world.data, world.upstream.address, edits);
        std::fs::write(&file, &text).unwrap();
        let (settings, _, watch) = app::load(&file, every).unwrap_or_else(|faults| panic!("{faults}"));
        let extra = Extra { hooks: world.hooks.clone(), watch: Some(watch), ..Extra::default() };
        world.gateway = Some(Gateway::start(settings, extra).unwrap());
        world.until_ready();
        FromFile { world, file, text }
    }

    /// Writes the file with these replacements.
    fn write(&self, edits: &[(&str, &str)]) {
        let mut text = self.text.clone();
        for (from, to) in edits {
            assert!(text.contains(from), "the configuration has no `{from}`");
            text = text.replace(from, to);
        }
        replace(&self.file, text.as_bytes());
    }

    pub fn reload(&self, edits: &[(&str, &str)]) -> Result<(), ReloadFault> {
        self.write(edits);
        self.world.gateway().reload()
    }

    fn fingerprint(&self) -> String {
        self.world.gateway().engine().policy().fingerprint.clone()
    }

    fn operations(&self, path: &str) -> String {
        let mut client = Client::connect(self.world.gateway().operations());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: o\r\n\r\n"));
        client.reply().text()
    }
}

/// As an editor or a certificate's renewal does it: beside it, then over it.
fn replace(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("next");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

/// An open download of an agent's, and whoever reads it until told to stop.
struct Download {
    stop: Arc<AtomicBool>,
    reader: std::thread::JoinHandle<Option<Ending>>,
    bytes: Arc<AtomicU64>,
}

impl Download {
    fn begin(world: &World, agent: &str) -> Download {
        let mut client = world.client();
        client.send(request("GET", "/t/acme/download?do=forever", agent, ""));
        assert!(client.head().contains(" 200 "));
        let (stop, bytes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&bytes));
        let reader = std::thread::spawn(move || {
            while !stopped.load(SeqCst) {
                match client.more() {
                    Ending::Open => {
                        count.fetch_add(client.inbox.len() as u64, SeqCst);
                        client.inbox.clear();
                    }
                    ending => return Some(ending),
                }
            }
            None
        });
        Download { stop, reader, bytes }
    }

    /// How it had ended by now; `None`: it flows.
    fn ending(self) -> Option<Ending> {
        self.stop.store(true, SeqCst);
        self.reader.join().unwrap()
    }

    fn flows_on(&self) {
        let before = self.bytes.load(SeqCst);
        until("the download goes on", || self.bytes.load(SeqCst) > before + 200_000);
    }
}

/// Ends the download that is under way by ending its session, so that the world can finish.
fn end(world: &World, session: &postern::model::SessionId, agent: &str) {
    world.done(World::end("acme", session), agent);
}

// GW-03
#[test]
fn twenty_reloads_under_load_fail_no_request_and_cut_no_stream() {
    let (hooks, _) = counting();
    let it = FromFile::start(hooks, NEVER, &[]);
    let world = &it.world;
    let agent = world.people.staff("agent-1");
    let session = world.start_session("acme", &agent);
    let member = world.people.admin("acme");
    let download = Download::begin(world, &agent);
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let load: Vec<_> = [member.clone(), member, agent.clone(), agent.clone()]
        .into_iter()
        .map(|token| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            let mut client = world.client();
            std::thread::spawn(move || {
                while !stop.load(SeqCst) {
                    client.send(request("GET", "/t/acme/orders", &token, ""));
                    let reply = client.reply();
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    asked.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for number in 0..20 {
        let before = asked.load(SeqCst);
        // Each is another policy than the one before: the numbers of roles and routes move.
        let more = format!(
            "routes:\n  - {{ route: \"GET /t/{{tenant}}/report-{number}\", permission: orders:read }}"
        );
        it.reload(&[("routes:", &more), ("{ last: 8h }", &format!("{{ last: {}h }}", 9 + number))]).unwrap();
        until("requests go on", || asked.load(SeqCst) > before + 4);
    }
    stop.store(true, SeqCst);
    for thread in load {
        thread.join().unwrap();
    }
    download.flows_on();
    assert_eq!(download.ending(), None, "the download was cut");
    end(world, &session, &agent);
    let reloads = world.of_kind("gateway.reloaded");
    assert_eq!(reloads.len(), 20);
    for pair in reloads.windows(2) {
        assert_eq!(pair[0]["policy"], pair[1]["from"]);
        assert_ne!(pair[1]["policy"], pair[1]["from"]);
    }
    println!("20 reloads under load: {} requests, none failed", asked.load(SeqCst));
    it.world.finish();
}

#[test]
fn a_wrong_file_changes_nothing_and_all_its_faults_are_told() {
    let (hooks, _) = counting();
    let it = FromFile::start(hooks, NEVER, &[]);
    let member = it.world.people.admin("acme");
    let before = it.fingerprint();
    let wrong = [("orders:write, users:manage]", "orders:write]"), ("{ last: 8h }", "{ last: soon }")];
    let fault = it.reload(&wrong).unwrap_err().to_string();
    let place = it.file.display().to_string();
    assert!(fault.matches(&format!("{place}:")).count() >= 2, "{fault}");
    assert!(fault.contains("soon") && fault.contains("users:manage"), "{fault}");
    assert_eq!(it.fingerprint(), before);
    assert_eq!(it.world.get("/t/acme/orders", &member).status, 200);
    let ready = it.operations("/readyz");
    assert!(ready.contains(&before) && ready.contains("reload refused at"), "{ready}");
    let metrics = it.operations("/metrics");
    assert!(metrics.contains("postern_config_reloads_total{result=\"refused\"} 1"), "{metrics}");
    assert!(metrics.contains("postern_config_stale 1"), "{metrics}");
    assert!(it.world.of_kind("gateway.reloaded").is_empty());
    it.reload(&[]).unwrap();
    let metrics = it.operations("/metrics");
    assert!(metrics.contains("postern_config_reloads_total{result=\"applied\"} 1"), "{metrics}");
    assert!(metrics.contains("postern_config_stale 0"), "{metrics}");
    assert!(!it.operations("/readyz").contains("refused at"));
    it.world.finish();
}

#[test]
fn what_only_a_start_reads_refuses_the_whole_reload_and_is_named() {
    let (hooks, _) = counting();
    let it = FromFile::start_beside(hooks, NEVER, &[], |dir| drop(new_certificate(dir)));
    let before = it.fingerprint();
    let tls = "state: {";
    let with_tls = "tls: { certificates: [{ chain: KEYS/tls.pem, key: { file: KEYS/tls.key } }] }\nstate: {"
        .replace("KEYS", it.world.keys_dir.path().to_str().unwrap());
    for (key, from, to) in [
        ("gateway", "gateway: main", "gateway: other"),
        ("listen", "listen: 127.0.0.1:0", "listen: 127.0.0.2:0"),
        ("tls", tls, with_tls.as_str()),
        ("operations", "operations: 127.0.0.1:0", "operations: 127.0.0.2:0"),
        ("workers", "workers: 2", "workers: 3"),
        ("state", "state.redb", "other.redb"),
        ("ledger.path", "/ledger, origin", "/ledger-2, origin"),
        ("ledger.origin", "origin: example.com/postern/test", "origin: example.com/postern/other"),
        ("ledger.segment", "segment: 4 MiB", "segment: 5 MiB"),
        ("ledger.reserve", "reserve: 1 MiB", "reserve: 2 MiB"),
        ("ledger.quota", "reserve: 1 MiB", "reserve: 1 MiB, quota: 64 MiB"),
        ("dangerous.clock", "workers: 2", "workers: 2\ndangerous: { clock: true }"),
    ] {
        let fault = it.reload(&[(from, to), ("8h", "9h")]).unwrap_err();
        assert!(matches!(fault, ReloadFault::Restart(_)), "{key}: {fault}");
        assert!(fault.to_string().starts_with(&format!("`{key}` cannot change")), "{key}: {fault}");
        assert_eq!(it.fingerprint(), before, "{key}: the rest of it is not in force either");
    }
    let edits = [("gateway: main", "gateway: other"), ("workers: 2", "workers: 3")];
    let fault = it.reload(&edits).unwrap_err().to_string();
    assert!(fault.contains("`gateway`, `workers` cannot change"), "{fault}");
    let key = it.world.keys_dir.path().join("ledger.key");
    let other = postern::audit::note::SigningKey::generate(ORIGIN).unwrap();
    replace(&key, other.to_text().unwrap().as_bytes());
    let fault = it.reload(&[]).unwrap_err().to_string();
    assert!(fault.contains("`ledger.key`"), "{fault}");
    it.world.finish();
}

/// The listener never begins to speak in clear.
#[test]
fn tls_that_is_taken_out_of_the_file_stays_until_a_restart() {
    let (hooks, _) = counting();
    let first = std::cell::RefCell::new(None);
    let tls = "tls: { certificates: [{ chain: KEYS/tls.pem, key: { file: KEYS/tls.key } }] }\nstate: {";
    let mut it = FromFile::start_beside(hooks, NEVER, &[("state: {", tls)], |dir| {
        first.replace(Some(new_certificate(dir)));
    });
    let at = it.text.find("tls: {").unwrap();
    let end = it.text[at..].find('\n').unwrap();
    it.text.replace_range(at..=at + end, "");
    let fault = it.reload(&[]).unwrap_err().to_string();
    assert!(fault.starts_with("`tls` cannot change"), "{fault}");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(first.into_inner().unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let member = request("GET", "/t/acme/orders", &it.world.people.admin("acme"), "");
    assert_eq!(over_tls(&Arc::new(config), it.world.gateway().address(), &member).2, "200");
    it.world.finish();
}

// GW-06
#[test]
fn a_reload_forgets_no_attempt_to_break_the_glass() {
    let (hooks, _) = counting();
    let glass = "gateway: main\nbreak_glass: { operators: [{ issuer: vendor, sub: olga }], role: editor, attempts: 1 }";
    let it = FromFile::start(hooks, NEVER, &[("gateway: main", glass)]);
    let olga = it.world.people.staff("olga");
    let enter = |tenant: &str| {
        let body =
            r#"{"environment":"production","reason":"it is down","incident":"INC-7","cause":"stability"}"#;
        let more = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        let target = format!("/_postern/v1/tenants/{tenant}/break-glass");
        let mut client = it.world.client();
        client.send(request("POST", &target, &olga, &more) + body);
        client.reply()
    };
    assert_eq!(enter("nowhere").status, 404);
    let reply = enter("acme");
    assert_eq!((reply.status, reply.code().as_str()), (429, "too_many_attempts"));
    it.reload(&[("8h", "9h")]).unwrap();
    let reply = enter("acme");
    assert_eq!((reply.status, reply.code().as_str()), (429, "too_many_attempts"), "{}", reply.text());
    it.world.finish();
}

/// The file is right and the ledger takes nothing: whoever watches the files goes on trying, though a signal came first.
#[test]
fn a_reload_that_cannot_be_recorded_is_tried_again_also_after_a_signal() {
    let (hooks, _) = counting();
    let it = FromFile::start(hooks, Duration::from_millis(200), &[]);
    it.world.gateway().engine().journal().close();
    let fault = it.reload(&[("8h", "9h")]).unwrap_err();
    assert!(matches!(fault, ReloadFault::Record(_)), "{fault}");
    let refused = || {
        let metrics = it.operations("/metrics");
        let line = "postern_config_reloads_total{result=\"refused\"} ";
        metrics.lines().find_map(|found| found.strip_prefix(line)).unwrap().parse::<u64>().unwrap()
    };
    until("it is tried again by itself", || refused() >= 3);
    let FromFile { mut world, .. } = it;
    world.gateway.take().unwrap().stop();
}

/// Reloads with these edits while an agent downloads; how the download ended, and the record of it.
fn under_way(edits: &[(&str, &str)]) -> (Option<Ending>, Value) {
    let (hooks, count) = counting();
    let it = FromFile::start(hooks, NEVER, &[]);
    let world = &it.world;
    let agent = world.people.staff("agent-1");
    let session = world.start_session("acme", &agent);
    let download = Download::begin(world, &agent);
    download.flows_on();
    it.reload(edits).unwrap();
    let at_answer = count.load(SeqCst);
    if world.gateway().engine().registry().is_empty() {
        until("the client sees the end", || download.reader.is_finished());
        assert_eq!(count.load(SeqCst), at_answer, "a byte passed after the reload was in force");
        let ending = download.ending();
        let outcome = world.last_outcome();
        it.world.finish();
        return (ending, outcome);
    }
    download.flows_on();
    let ending = download.ending();
    end(world, &session, &agent);
    let outcome = world.last_outcome();
    it.world.finish();
    (ending, outcome)
}

#[test]
fn a_role_that_loses_a_permission_cuts_the_download_that_needs_it() {
    let (ending, outcome) = under_way(&[
        ("read_only: { allow: \"*:read\" }", "read_only: { allow: \"reports:read\" }"),
        ("[orders:read,", "[reports:read, orders:read,"),
        ("editor: { allow: \"orders:*\" }", "editor: { allow: [\"orders:*\", \"reports:read\"] }"),
    ]);
    assert_eq!(ending, Some(Ending::Reset), "{outcome}");
    assert_eq!(outcome["end"], "cut");
    assert_eq!(outcome["cut_by"]["reason"], "permission_missing", "{outcome}");
}

// GW-10
#[test]
fn a_permission_that_goes_under_the_ceiling_cuts_and_one_that_leaves_it_does_not() {
    let (ending, outcome) =
        under_way(&[("ceiling: [\"users:manage\"]", "ceiling: [\"users:manage\", \"orders:read\"]")]);
    assert_eq!((ending, &outcome["cut_by"]["reason"]), (Some(Ending::Reset), &"ceiling".into()), "{outcome}");
    let (ending, _) = under_way(&[("ceiling: [\"users:manage\"]", "ceiling: []")]);
    assert_eq!(ending, None, "what gives more cuts nothing");
}

#[test]
fn a_route_that_is_gone_or_asks_for_more_cuts_and_one_that_moved_in_the_file_does_not() {
    let route = "  - { route: \"GET /t/{tenant}/download\", permission: orders:read }\n";
    let (ending, outcome) = under_way(&[(route, "")]);
    assert_eq!((ending, &outcome["cut_by"]["reason"]), (Some(Ending::Reset), &"route_unmapped".into()));
    let (ending, outcome) = under_way(&[(route, &route.replace("orders:read", "orders:write"))]);
    assert_eq!(ending, Some(Ending::Reset), "{outcome}");
    let (ending, _) = under_way(&[(route, ""), ("routes:\n", &format!("routes:\n{route}"))]);
    assert_eq!(ending, None, "the same route under another number");
}

const VENDOR: &str = "    issuer: https://id.vendor.example\n    kind: staff\n";

#[test]
fn an_issuer_that_is_gone_or_speaks_for_others_cuts_its_agents() {
    for (what, edits) in [
        (
            "it is gone: another one has its name",
            vec![(VENDOR, "    issuer: https://other.example\n    kind: staff\n")],
        ),
        ("it is gone: it has another name", vec![("- name: vendor", "- name: seller")]),
        (
            "it speaks for programs",
            vec![
                (VENDOR, "    issuer: https://id.vendor.example\n    kind: service\n"),
                ("    claims: { support: { everybody: true } }\n", ""),
            ],
        ),
        (
            "it says otherwise who is support",
            vec![("support: { everybody: true }", "support: { claim: groups, any: [support] }")],
        ),
    ] {
        let (ending, outcome) = under_way(&edits);
        assert_eq!(ending, Some(Ending::Reset), "{what}: {outcome}");
        assert_eq!(outcome["cut_by"]["reason"], "configuration_replaced", "{what}: {outcome}");
    }
    let (ending, _) = under_way(&[("audience: postern", "audience: [postern, other]")]);
    assert_eq!(ending, None, "which tokens are taken bounds what begins");
}

#[test]
fn where_tenants_or_environments_are_named_by_other_means_agents_are_cut() {
    for edit in [
        ("from: { path: tenant }", "from: [{ path: tenant }, { header: X-Tenant }]"),
        ("from: { header: X-Environment }", "from: { header: X-Env }"),
    ] {
        let (ending, outcome) = under_way(&[edit]);
        assert_eq!(ending, Some(Ending::Reset), "{edit:?}: {outcome}");
        assert_eq!(outcome["cut_by"]["reason"], "configuration_replaced", "{edit:?}: {outcome}");
    }
}

/// It was read in a map, and before it is decided others come.
fn held_through(reloads: &[&[(&str, &str)]]) -> (u16, String, usize) {
    let (hold, hooks) = Hold::at(Step::AccessEntered);
    let it = FromFile::start(hooks, NEVER, &[]);
    let agent = it.world.people.staff("sam");
    let session = it.world.start_session("acme", &agent);
    hold.arm();
    let mut client = it.world.client();
    client.send(request("GET", "/t/acme/orders", &agent, ""));
    hold.until_reached();
    for edits in reloads {
        it.reload(edits).unwrap();
    }
    hold.release();
    let reply = client.reply();
    let code = if reply.status == 200 { String::new() } else { reply.code() };
    end(&it.world, &session, &agent);
    let seen = it.world.upstream.seen().len();
    it.world.finish();
    (reply.status, code, seen)
}

#[test]
fn a_request_that_was_read_before_several_reloads_is_found_in_the_newest_map() {
    let longer = ["{ last: 9h }", "{ last: 10h }", "{ last: 11h }"].map(|last| [("{ last: 8h }", last)]);
    let all: Vec<&[(&str, &str)]> = longer.iter().map(|edits| &edits[..]).collect();
    assert_eq!(held_through(&all), (200, String::new(), 1));
    // One of them named the tenant by other means, and the next did again as before or went on: what was read the
    // old way is not compared with the new.
    let means = [("from: { path: tenant }", "from: [{ path: tenant }, { header: X-Tenant }]")];
    let on = [means[0], ("{ last: 8h }", "{ last: 9h }")];
    assert_eq!(held_through(&[&means, &on]), (403, "configuration_replaced".to_owned(), 0));
    // And where so many came that nobody has its map any more, it is asked to come again.
    let hours: Vec<String> = (9..20).map(|hours| format!("{{ last: {hours}h }}")).collect();
    let many: Vec<[(&str, &str); 1]> = hours.iter().map(|last| [("{ last: 8h }", last.as_str())]).collect();
    let all: Vec<&[(&str, &str)]> = many.iter().map(|edits| &edits[..]).collect();
    assert_eq!(held_through(&all), (403, "configuration_replaced".to_owned(), 0));
}

/// The application that it is towards is no longer named; the request goes on there to its end.
#[test]
fn a_request_towards_an_upstream_that_is_gone_ends_as_it_began() {
    let (hooks, _) = counting();
    let it = FromFile::start(hooks, NEVER, &[]);
    let mut client = it.world.client();
    let member = it.world.people.admin("acme");
    client.send(request("GET", "/t/acme/orders?do=slow", &member, ""));
    until("it is under way", || it.world.upstream.seen().len() == 1);
    let other = crate::upstream::Upstream::start();
    it.reload(&[
        ("  app:\n    url", "  new:\n    url"),
        (&it.world.upstream.address.to_string(), &other.address.to_string()),
    ])
    .unwrap();
    assert_eq!(it.world.get("/t/acme/orders", &member).status, 200);
    assert_eq!(
        (it.world.upstream.seen().len(), other.seen().len()),
        (1, 1),
        "what begins goes to the new one"
    );
    it.world.upstream.release();
    assert_eq!(client.reply().status, 200);
    it.world.finish();
}

// GW-02
#[test]
fn a_change_of_a_key_file_alone_reloads() {
    let (hooks, _) = counting();
    let it = FromFile::start(hooks, Duration::from_millis(50), &[]);
    let member = it.world.people.admin("acme");
    assert_eq!(it.world.get("/t/acme/orders", &member).status, 200);
    let before = it.fingerprint();
    let other = postern::identity::Signer::generate(postern::identity::Algorithm::Es256).unwrap();
    replace(&it.world.keys_dir.path().join("app.jwks"), other.public_jwks().unwrap().as_bytes());
    until("the key is read again", || it.fingerprint() != before);
    until("what the old key signed is no longer known", || {
        it.world.get("/t/acme/orders", &member).status == 401
    });
    assert_eq!(it.world.of_kind("gateway.reloaded")[0]["cause"], "files");
    // A broken one changes nothing, and is read again once it is whole.
    let known = it.fingerprint();
    replace(&it.world.keys_dir.path().join("app.jwks"), b"{");
    until("it is refused", || {
        it.operations("/metrics").contains("postern_config_reloads_total{result=\"refused\"} 1")
    });
    assert_eq!(it.fingerprint(), known);
    replace(
        &it.world.keys_dir.path().join("app.jwks"),
        it.world.people.keys.app.public_jwks().unwrap().as_bytes(),
    );
    until("the first key is back", || it.world.get("/t/acme/orders", &member).status == 200);
    it.world.finish();
}

// GW-03
#[test]
fn ten_thousand_routes_are_reloaded_under_load() {
    let (hooks, _) = counting();
    let it = FromFile::start(hooks, NEVER, &[]);
    let member = it.world.people.admin("acme");
    let mut more = String::from("routes:\n");
    for number in 0..10_000 {
        more.push_str(&format!(
            "  - {{ route: \"GET /t/{{tenant}}/area-{}/things-{number}/{{thing}}\", permission: orders:read }}\n",
            number % 97
        ));
    }
    let (stop, slowest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let load = {
        let (stop, slowest, mut client) = (Arc::clone(&stop), Arc::clone(&slowest), it.world.client());
        let member = member.clone();
        std::thread::spawn(move || {
            let mut asked = 0u64;
            while !stop.load(SeqCst) {
                let began = Instant::now();
                client.send(request("GET", "/t/acme/orders", &member, ""));
                assert_eq!(client.reply().status, 200);
                slowest.fetch_max(u64::try_from(began.elapsed().as_micros()).unwrap(), SeqCst);
                asked += 1;
            }
            asked
        })
    };
    let began = Instant::now();
    it.reload(&[("routes:\n", &more)]).unwrap();
    let took = began.elapsed();
    stop.store(true, SeqCst);
    let asked = load.join().unwrap();
    println!(
        "10,000 routes reloaded in {took:?} (debug build) beside {asked} requests, none failed, the slowest {} us",
        slowest.load(SeqCst)
    );
    // 9991 is 103 times 97, so it stands in area 0.
    assert_eq!(it.world.get("/t/acme/area-0/things-9991/7", &member).status, 200);
    assert_eq!(it.world.get("/t/acme/area-1/things-9991/7", &member).code(), "route_unmapped");
    it.world.finish();
}

/// A certificate for the gateway, with its key beside it; answers its bytes.
fn new_certificate(dir: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["gateway.example".to_owned()]).unwrap();
    replace(&dir.join("tls.key"), made.signing_key.serialize_pem().as_bytes());
    replace(&dir.join("tls.pem"), made.cert.pem().as_bytes());
    made.cert.der().clone()
}

/// One request over TLS; how the handshake went, whose certificate was shown, and the status.
fn over_tls(
    config: &Arc<rustls::ClientConfig>,
    address: std::net::SocketAddr,
    request: &str,
) -> (HandshakeKind, CertificateDer<'static>, String) {
    let name = "gateway.example".try_into().unwrap();
    let connection = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, std::net::TcpStream::connect(address).unwrap());
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    let mut piece = [0; 4096];
    while !reply.contains("\r\n\r\n") {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "the answer ended early: {reply}");
        reply.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    let shown = stream.conn.peer_certificates().unwrap()[0].clone().into_owned();
    let status = reply.split(' ').nth(1).unwrap().to_owned();
    (stream.conn.handshake_kind().unwrap(), shown, status)
}

#[test]
fn a_new_certificate_is_shown_to_the_next_client_and_resumes_nothing_of_the_old_one() {
    let (hooks, _) = counting();
    let first = std::cell::RefCell::new(None);
    let it = FromFile::start_beside(
        hooks,
        NEVER,
        &[(
            "state: {",
            "tls: { certificates: [{ chain: KEYS/tls.pem, key: { file: KEYS/tls.key } }] }\nstate: {",
        )],
        |dir| {
            first.replace(Some(new_certificate(dir)));
        },
    );
    let first = first.into_inner().unwrap();
    let address = it.world.gateway().address();
    let member = request("GET", "/t/acme/orders", &it.world.people.admin("acme"), "");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(first.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = |roots: rustls::RootCertStore| {
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    };
    let config = client(roots.clone());
    let (kind, shown, status) = over_tls(&config, address, &member);
    assert_ne!(kind, HandshakeKind::Resumed);
    assert_eq!((shown, status.as_str()), (first.clone(), "200"));
    assert_eq!(over_tls(&config, address, &member).0, HandshakeKind::Resumed, "it can resume at all");
    // A key that does not belong to the certificate is refused whole.
    let old_key = std::fs::read(it.world.keys_dir.path().join("tls.key")).unwrap();
    let second = new_certificate(it.world.keys_dir.path());
    let new_key = std::fs::read(it.world.keys_dir.path().join("tls.key")).unwrap();
    replace(&it.world.keys_dir.path().join("tls.key"), &old_key);
    let fault = it.world.gateway().reload().unwrap_err().to_string();
    assert!(fault.contains("do not belong together"), "{fault}");
    assert_eq!(over_tls(&config, address, &member).1, first);
    replace(&it.world.keys_dir.path().join("tls.key"), &new_key);
    it.world.gateway().reload().unwrap();
    // Whoever trusts only the old one is not let back in by a session of it.
    let name = "gateway.example".try_into().unwrap();
    let old = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
    let mut old = rustls::StreamOwned::new(old, std::net::TcpStream::connect(address).unwrap());
    assert!(old.write_all(member.as_bytes()).is_err(), "the old certificate's session was resumed");
    roots.add(second.clone()).unwrap();
    let (kind, shown, status) = over_tls(&client(roots), address, &member);
    assert_ne!(kind, HandshakeKind::Resumed);
    assert_eq!((shown, status.as_str()), (second, "200"));
    it.world.finish();
}

const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_trace_goes_on_where_it_is_well_formed_and_begins_here_where_not() {
    let world = World::of(Plan::default().edit("limits: {", "log: { trace: true }\nlimits: {"));
    let member = world.people.admin("acme");
    let seen = |more: &str| {
        assert_eq!(world.ask("GET", "/t/acme/orders", &member, more).status, 200);
        (world.upstream.last().values("traceparent"), world.upstream.last().values("tracestate"))
    };
    let whole = format!("traceparent: {GOOD}\r\ntracestate: vendor=1\r\n");
    assert_eq!(seen(&whole), (vec![GOOD.to_owned()], vec!["vendor=1".to_owned()]));
    let fresh = |(parents, states): (Vec<String>, Vec<String>)| {
        assert!(states.is_empty(), "{states:?}");
        assert_eq!(parents.len(), 1, "{parents:?}");
        assert!(
            parents[0].len() == 55 && parents[0].starts_with("00-") && !parents[0].contains("0af7651916")
        );
        parents[0].clone()
    };
    let malformed = format!("traceparent: {}\r\ntracestate: vendor=1\r\n", GOOD.to_uppercase());
    let twice = format!("traceparent: {GOOD}\r\ntraceparent: {GOOD}\r\n");
    assert_eq!(world.ask("GET", "/t/acme/orders", &member, &twice).status, 400, "which one is it?");
    let all: std::collections::BTreeSet<String> =
        ["", "tracestate: vendor=1\r\n", &malformed].iter().map(|more| fresh(seen(more))).collect();
    assert_eq!(all.len(), 3, "each is its own");
    world.finish();
    let world = World::start();
    world.ask("GET", "/t/acme/orders", &world.people.admin("acme"), "");
    assert!(world.upstream.last().values("traceparent").is_empty(), "off by default");
    world.finish();
}

#[test]
fn past_its_rate_an_address_or_a_person_gets_429_and_is_told_when_to_come_again() {
    let clock = ManualClock::at(NOON);
    let plan =
        Plan::default().clock(&clock).edit("limits: {", "limits: { subject_rate: 1, subject_burst: 3,");
    let world = World::of(plan);
    let (one, other) = (world.people.admin("acme"), world.people.member("rita", "acme", &["read_only"]));
    let mut client = world.client();
    let mut ask = |token: &str| {
        client.send(request("GET", "/t/acme/orders", token, ""));
        client.reply()
    };
    for _ in 0..3 {
        assert_eq!(ask(&one).status, 200);
    }
    let refused = ask(&one);
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_requests"));
    assert_eq!(refused.values("retry-after"), ["1"]);
    assert_eq!(ask(&other).status, 200, "somebody else on the same connection");
    assert_eq!(world.upstream.seen().len(), 4, "what is refused goes nowhere");
    clock.advance(1000);
    assert_eq!(ask(&one).status, 200);
    world.finish();

    let clock = ManualClock::at(NOON);
    let plan =
        Plan::default().clock(&clock).edit("limits: {", "limits: { address_rate: 1, address_burst: 5,");
    let world = World::of(plan);
    let admin = world.people.admin("acme");
    let codes: Vec<u16> = (0..8).map(|_| world.get("/t/acme/orders", "wrong").status).collect();
    assert_eq!(codes, [401, 401, 401, 401, 401, 429, 429, 429]);
    assert_eq!(world.get("/t/acme/orders", &admin).status, 429, "before anybody looks at the token");
    let consent = world.get("/_postern/v1/tenants/acme/consent", &admin).status;
    assert_eq!(consent, 200, "a tenant's people reach their consent all the same");
    assert_eq!(world.get("/_postern/v1/tenants/acme/consent", "wrong").status, 429);
    assert_eq!(world.gateway().counters().limited.load(SeqCst), 5);
    world.finish();
}
