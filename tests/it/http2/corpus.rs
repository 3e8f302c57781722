//! The frame sequences of `tests/corpus/http2`, each over a connection of its own, judged by what the client is told and by
//! what the application received.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use super::{
    frames::*,
    peer::{Peer, SOON, clear},
};
use crate::{upstream::Seen, world::*};

/// The escapes of the corpus; `\e` is nothing at all.
pub fn bytes(text: &str) -> Vec<u8> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        all.extend_from_slice(before.as_bytes());
        let kind = after.chars().next().expect("an escape");
        rest = &after[kind.len_utf8()..];
        match kind {
            'r' => all.push(b'\r'),
            'n' => all.push(b'\n'),
            't' => all.push(b'\t'),
            's' => all.push(b' '),
            '0' => all.push(0),
            'e' => {}
            'x' => {
                all.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            '*' => {
                let (times, after) = rest.split_once('(').unwrap();
                let (what, after) = after.split_once(')').unwrap();
                all.extend(what.as_bytes().repeat(times.parse().unwrap()));
                rest = after;
            }
            other => panic!("no such escape: {other}"),
        }
    }
    all.extend_from_slice(rest.as_bytes());
    all
}

pub struct Case<'a> {
    pub id: &'a str,
    pub verdict: &'a str,
    pub lines: Vec<&'a str>,
}

pub fn cases(text: &str) -> Vec<Case<'_>> {
    let mut all: Vec<Case<'_>> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(first) = line.strip_prefix("=== ") {
            let (id, verdict) = first.split_once(" | ").unwrap();
            all.push(Case { id, verdict, lines: Vec::new() });
        } else if !line.starts_with("why: ") {
            all.last_mut().unwrap().lines.push(line);
        }
    }
    all
}

/// The frames of a case, as they are sent.
fn sequence(case: &Case<'_>, admin: &str) -> Vec<u8> {
    let mut all: Vec<(u8, u8, u32, Vec<u8>)> = Vec::new();
    for line in &case.lines {
        if let Some(field) = line.strip_prefix(": ") {
            let (name, value) = field.split_once(' ').unwrap();
            let value =
                if name == ":path" { marked(value, case.id) } else { value.replace("{admin}", admin) };
            let block = literal(&bytes(name), &bytes(&value));
            all.last_mut().unwrap().3.extend(block);
            continue;
        }
        let mut words = line.splitn(4, ' ');
        let (kind, stream) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
        let kind = match kind {
            "DATA" => DATA,
            "HEADERS" => HEADERS,
            "PRIORITY" => 2,
            "RST_STREAM" => RST_STREAM,
            "SETTINGS" => SETTINGS,
            "PUSH_PROMISE" => 5,
            "PING" => PING,
            "GOAWAY" => GOAWAY,
            "WINDOW_UPDATE" => 8,
            "CONTINUATION" => CONTINUATION,
            other => u8::from_str_radix(other.strip_prefix("0x").unwrap(), 16).unwrap(),
        };
        let given = words.next().unwrap_or_default();
        let mut flags = 0;
        if given.contains("end") {
            flags |= END_STREAM;
        }
        if given.contains("padded") {
            flags |= 8;
        }
        if given == "headers" || (kind == HEADERS && !given.contains("open")) {
            flags |= END_HEADERS;
        }
        all.push((kind, flags, stream, bytes(words.next().unwrap_or_default())));
    }
    all.iter().flat_map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, payload)).collect()
}

/// The path with the mark of the case, where it is one that a route of the map has: by it the application tells cases apart,
/// however late their requests come.
fn marked(path: &str, id: &str) -> String {
    match path.split_once('?') {
        None if path == "/public/page" => format!("{path}?case={id}"),
        Some(("/public/page" | "/t/acme/orders" | "/t/acme/socket", _)) => format!("{path}&case={id}"),
        _ => path.to_owned(),
    }
}

/// Whether the client is told what the case says; what else, if not.
fn told(world: &World, case: &Case<'_>, admin: &str) -> Result<(), String> {
    let mut raw = Raw::connect(world.gateway().address());
    raw.stream.set_read_timeout(Some(SOON)).unwrap();
    raw.send(&sequence(case, admin));
    let (verdict, rest) = case.verdict.split_once(' ').unwrap_or((case.verdict, ""));
    match verdict {
        "forward" => match raw.outcome(1) {
            Some(Ok(_)) => Ok(()),
            found => Err(format!("{found:?}")),
        },
        "tunnel" => {
            let mut came = Vec::new();
            while came.len() < rest.len() {
                match raw.frame() {
                    Some(frame) if frame.kind == DATA && frame.stream == 1 => came.extend(frame.payload),
                    Some(frame) if frame.kind == RST_STREAM || frame.kind == GOAWAY => {
                        return Err(format!("{frame:?}"));
                    }
                    Some(_) => {}
                    None => return Err("nothing comes back".to_owned()),
                }
            }
            if came == rest.as_bytes() { Ok(()) } else { Err(format!("{came:?}")) }
        }
        "refuse" => {
            let found = raw.outcome(1);
            let Some(Ok(body)) = found else { return Err(format!("{found:?}")) };
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            let code = problem["code"].as_str().unwrap_or_default();
            if code == rest { Ok(()) } else { Err(code.to_owned()) }
        }
        "reset" | "goaway" => {
            while let Some(frame) = raw.frame() {
                match frame.kind {
                    GOAWAY if frame.reason() != 0 => return Ok(()),
                    RST_STREAM if frame.reason() != 0 && verdict == "reset" => return Ok(()),
                    _ => {}
                }
            }
            Err("no error".to_owned())
        }
        other => panic!("no such verdict: {other}"),
    }
}

/// Whether the application received of it what the case says; what else, if not.
fn arrived(case: &Case<'_>, seen: &[&Seen]) -> Result<(), String> {
    let (verdict, rest) = case.verdict.split_once(' ').unwrap_or((case.verdict, ""));
    let one = || match seen {
        [one] => Ok(*one),
        _ => Err(format!("{} requests arrived", seen.len())),
    };
    let fine = match verdict {
        "forward" => {
            let mut words = rest.splitn(3, ' ');
            let (method, path) = (words.next().unwrap(), words.next().unwrap());
            let line = format!("{method} {} HTTP/1.1", marked(path, case.id));
            let body = words.next().unwrap_or_default().as_bytes();
            let one = one()?;
            let framed = format!("{:x}\r\n", body.len()).into_bytes();
            let whole =
                one.body == body || (one.body.starts_with(&framed) && one.body.ends_with(b"0\r\n\r\n"));
            let clean = one.values("x-user").is_empty() && one.values("host").len() == 1;
            one.line() == line && whole && clean
        }
        "tunnel" => {
            let one = one()?;
            one.line().starts_with("GET /t/acme/socket?do=socket&case=")
                && one.values("upgrade") == ["websocket"]
                && one.values("sec-websocket-key").len() == 1
        }
        "refuse" => seen.is_empty(),
        // Of a body that is wrong at its end a part may have arrived, never all of it.
        _ => {
            let whole = |seen: &Seen| {
                let chunked = seen.values("transfer-encoding").len() == 1;
                !seen.line().starts_with("GET")
                    && !seen.body.is_empty()
                    && (!chunked || seen.body.ends_with(b"0\r\n\r\n"))
            };
            let first_was_fine = case.id.starts_with("stream-");
            !seen.iter().any(|seen| whole(seen) || (seen.line().starts_with("GET") && !first_was_fine))
        }
    };
    if fine { Ok(()) } else { Err(format!("arrived: {seen:?}")) }
}

/// Judges every case of a folder; an innocent request on another connection follows each. What arrived is looked at when the
/// gateway is gone and nothing can come any more.
fn judged(plan: Plan, folder: &str) -> usize {
    const INNOCENT: &str = "/t/acme/orders?do=echo&x=1";
    let world = clear(plan);
    let admin = world.people.admin("acme");
    let innocent = Peer::connect(world.gateway().address());
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts: Vec<String> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let cases: Vec<Case<'_>> = texts.iter().flat_map(|text| cases(text)).collect();
    let ids: BTreeSet<&str> = cases.iter().map(|case| case.id).collect();
    assert_eq!(ids.len(), cases.len(), "each case has a name of its own");
    let mut wrong = String::new();
    for case in &cases {
        if let Err(found) = told(&world, case, &admin) {
            writeln!(wrong, "{} | {}: the client: {found}", case.id, case.verdict).unwrap();
        }
        assert_eq!(innocent.get(INNOCENT, &admin).body, INNOCENT.as_bytes());
    }
    println!("{} sequences", cases.len());
    drop(innocent);
    let application = world.upstream.clone();
    world.finish();
    application.drained();

    let seen = application.seen();
    let mut of_cases: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    let mut innocents = 0;
    for one in &seen {
        let target = one.line().split(' ').nth(1).unwrap_or_default();
        match target.split_once("case=") {
            Some((_, id)) => of_cases.entry(id).or_default().push(one),
            None if target == INNOCENT => innocents += 1,
            None => writeln!(wrong, "of no case: {one:?}").unwrap(),
        }
    }
    if innocents != cases.len() {
        writeln!(wrong, "{innocents} innocent requests arrived").unwrap();
    }
    for case in &cases {
        let of_it = of_cases.remove(case.id).unwrap_or_default();
        if let Err(found) = arrived(case, &of_it) {
            writeln!(wrong, "{} | {}: {found}", case.id, case.verdict).unwrap();
        }
    }
    if !of_cases.is_empty() {
        writeln!(wrong, "of no case: {of_cases:?}").unwrap();
    }
    assert!(wrong.is_empty(), "{wrong}");
    cases.len()
}

#[test]
fn every_sequence_of_the_corpus_is_judged_as_it_says() {
    assert!(judged(Plan::default(), "http2") >= 60);
}

#[test]
fn every_stream_that_asks_for_a_tunnel_is_judged_as_the_corpus_says() {
    assert!(judged(super::websocket::plan(), "http2_tunnels") >= 25);
}
