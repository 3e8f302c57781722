//! A gateway started from the command line, what it leaves behind, and what auditors do with that.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
};

use rustix::process::Signal;

use super::*;

/// An application that says yes to everything, on a port of its own.
fn application() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes");
        }
    });
    address
}

fn get(address: &str, path: &str, token: Option<&str>) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn segment(place: &Place) -> PathBuf {
    let names = fs::read_dir(place.file("ledger")).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).min().unwrap()
}

#[test]
fn a_gateway_serves_stops_and_leaves_a_ledger_that_verifies() {
    let place = Place::begun();
    place.configure("127.0.0.1:1880", &application());
    let gateway = Running::start(&place, &["--log", "json"]);
    // The tenant of the configuration is registered in the background; each try is a process, so no pause is needed.
    let registered = ["audit", "query", "ledger", "--tenant", "acme", "--kind", "change.outcome"];
    while place.run(&registered).with(0).is_empty() {}
    let answer = get(&gateway.address, "/t/acme/orders", Some(&place.ada("admin")));
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("yes"), "{answer}");
    let answer = get(&gateway.address, "/t/acme/orders", Some(&place.sam()));
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("session_missing"), "{answer}");
    assert!(get(&gateway.operations, "/livez", None).ends_with("alive\n"));
    assert_eq!(gateway.stop(), 0);
    for line in fs::read_to_string(place.file("run.err")).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }

    let verify = |more: &[&str]| place.run(&[&["audit", "verify", "ledger", "--key"], more].concat());
    let report = verify(&["ledger.pub"]).with(0);
    assert!(report.ends_with("verified\n") && report.contains("1 access.refused"), "{report}");
    let key = fs::read_to_string(place.file("ledger.pub")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&verify(&[key.trim(), "--json"]).with(0)).unwrap();
    assert_eq!(report["verified"], true);
    assert_eq!(report["signed_records"], report["records"]);

    // As they are, and those asked for.
    let query = |more: &[&str]| place.run(&[&["audit", "query", "ledger"], more].concat()).with(0);
    assert_eq!(query(&[]), fs::read_to_string(segment(&place)).unwrap());
    let refused = query(&["--subject", "sam", "--kind", "access", "--since", "2020-01-01T00:00:00Z"]);
    assert_eq!(refused.lines().count(), 1, "{refused}");
    assert!(refused.contains(r#""reason":"session_missing""#));
    assert_eq!(query(&["--subject", "vendor|sam"]), refused);
    assert_eq!(query(&["--tenant", "acme", "--kind", "change.outcome"]).lines().count(), 1);
    for nothing in [
        &["--tenant", "other"],
        &["--session", "x"],
        &["--until", "2020-01-01T00:00:00Z"],
        &["--kind", "acc"],
    ] {
        assert_eq!(query(nothing), "");
    }
    assert!(
        query(&["--table"]).contains("access.refused   acme         vendor|sam           GET /t/acme/orders")
    );

    // Altered by one letter, and cut off.
    let text = fs::read_to_string(segment(&place)).unwrap();
    fs::write(segment(&place), text.replace("tenant_registered", "tenant_registared")).unwrap();
    let report = verify(&["ledger.pub"]).with(1);
    let line = text.lines().position(|line| line.contains("tenant_registered")).unwrap() + 1;
    assert!(report.starts_with("altered: ") && report.contains(&format!(" line {line}, ")), "{report}");
    assert!(report.ends_with("NOT verified\n"));
    let whole: Vec<&str> = text.lines().collect();
    fs::write(segment(&place), whole[..whole.len() - 1].join("\n") + "\n").unwrap();
    let report: serde_json::Value = serde_json::from_str(&verify(&["ledger.pub", "--json"]).with(1)).unwrap();
    assert_eq!(report["findings"][0]["what"], "cut_off");
}

#[test]
fn what_is_changed_about_a_registered_tenant_is_told_to_have_no_effect() {
    let place = Place::begun();
    let first = Running::start(&place, &[]);
    let registered = ["audit", "query", "ledger", "--tenant", "acme", "--kind", "change.outcome"];
    while place.run(&registered).with(0).is_empty() {}
    assert_eq!(first.stop(), 0);
    assert!(!fs::read_to_string(place.file("run.err")).unwrap().contains("has no effect"));
    place.configure("{ id: acme, zone: Europe/Berlin }", "{ id: other, environments: [sandbox] }");
    place.configure("default: read_only", "default: block");
    let second = Running::start(&place, &[]);
    let told = |text: &str| fs::read_to_string(place.file("run.err")).unwrap().contains(text);
    // Each try is a process, so no pause is needed.
    while !told("no longer in `tenants.known`") {
        place.run(&registered).with(0);
    }
    assert_eq!(second.stop(), 0);
    place.configure(
        "known: [{ id: other, environments: [sandbox] }]",
        "known: [{ id: acme, environments: [sandbox] }]",
    );
    let third = Running::start(&place, &[]);
    while !told("no longer in `tenants.known`") {
        place.run(&registered).with(0);
    }
    assert!(told("`zone` is `UTC`, and was `Europe/Berlin` when the tenant was registered"));
    assert!(told("`environments` are sandbox, and were production, sandbox when"));
    assert!(told("`consent.default` is `block`, and was `read_only` when"));
    assert_eq!(third.stop(), 0);
}

#[test]
fn a_token_as_large_as_the_configuration_allows_is_read() {
    let place = Place::begun();
    place.configure("127.0.0.1:1880", &application());
    place.configure("sessions: { last: 8h }", "sessions: { last: 8h }\nlimits: { token: 24 KiB }");
    let gateway = Running::start(&place, &[]);
    let registered = ["audit", "query", "ledger", "--tenant", "acme", "--kind", "change.outcome"];
    while place.run(&registered).with(0).is_empty() {}
    let padding = format!("padding={}", "x".repeat(15_000));
    let args =
        ["token", "mint", "--key", "app.pem", "--issuer", "https://id.app.example", "--audience", "app"];
    let more =
        ["--subject", "ada", "--claim", "tenant=acme", "--claim", "roles:=[\"admin\"]", "--claim", &padding];
    let token = place.run(&[&args[..], &more].concat()).with(0).trim().to_owned();
    assert!(token.len() > 16 << 10, "{}", token.len());
    let answer = get(&gateway.address, "/t/acme/orders", Some(&token));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn a_hangup_reads_the_configuration_again_and_ends_nothing() {
    let place = Place::begun();
    let gateway = Running::start(&place, &[]);
    for times in 1..=2 {
        gateway.signal(Signal::HUP);
        let logged = || {
            fs::read_to_string(place.file("run.err"))
                .unwrap()
                .matches("the configuration was read again")
                .count()
        };
        // Each try is a request, so no pause is needed.
        while logged() < times {
            assert!(get(&gateway.operations, "/livez", None).ends_with("alive\n"));
        }
    }
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn state_and_ledger_are_not_for_everybody_to_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::begun();
    assert_eq!(Running::start(&place, &[]).stop(), 0);
    let open = |name: &str| place.file(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(open("state.redb") & 0o077, 0, "{:o}", open("state.redb"));
    assert_eq!(open("ledger") & 0o027, 0, "{:o}", open("ledger"));
    assert_eq!(open("ledger/lock") & 0o137, 0, "{:o}", open("ledger/lock"));
}

#[test]
fn a_demo_without_a_folder_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = postern(temporary.path(), &["demo"])
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    let here = || fs::read_dir(temporary.path()).unwrap().count();
    assert_eq!(here(), 1);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(here(), 0);
}

#[test]
fn a_second_gateway_on_the_same_state_does_not_start() {
    let place = Place::begun();
    let first = Running::start(&place, &[]);
    place.run(&["run", "--config", "postern.yaml"]).fails_saying("in use by another process");
    assert!(get(&first.operations, "/livez", None).ends_with("alive\n"));
    assert_eq!(first.stop(), 0);
    // What the first held is free again.
    assert_eq!(Running::start(&place, &[]).stop(), 0);
}

#[test]
fn a_port_in_use_is_told_with_its_address() {
    for setting in ["listen: 127.0.0.1:0", "operations: 127.0.0.1:0"] {
        let place = Place::begun();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let name = setting.split_once(' ').unwrap().0;
        place.configure(&format!("\n{setting}"), &format!("\n{name} {address}"));
        let came = place.run(&["run", "--config", "postern.yaml"]);
        came.fails_saying(&format!("cannot listen on {address}"));
    }
}

#[test]
fn either_signal_ends_it_and_nobody_reading_is_no_fault() {
    let place = Place::begun();
    for signal in [Signal::TERM, Signal::INT] {
        let mut gateway = Running::start(&place, &["--log-level", "off"]);
        gateway.signal(signal);
        assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
    }
    assert_eq!(fs::read_to_string(place.file("run.err")).unwrap(), "");
    let place = Place::begun();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = postern(place.path(), &["run", "--config", "postern.yaml"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It logs when it stops; until it can be stopped it has not caught the signals yet, so its ledger is looked for.
    while !place.file("ledger").exists() {
        assert_eq!(child.try_wait().unwrap(), None);
        std::thread::yield_now();
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
