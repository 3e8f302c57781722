//! `kill -9` (law 8): under load, and between each two steps of a change.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use postern::{
    engine::hooks::Step,
    model::{Document, Key, SessionId, join::narrowest},
};

use crate::{child::Child, world::*};

fn document(world: &World, key: Key) -> Option<Document> {
    let engine = world.gateway().engine();
    let stored = block(engine.store().load(&[key])).unwrap().pop().unwrap()?.unwrap();
    narrowest(&stored, &engine.policy().ladder)
}

fn level(world: &World, id: &str) -> String {
    let Some(Document::Tenant(found)) = document(world, Key::Tenant(tenant(id))) else {
        panic!("no tenant {id}")
    };
    serde_json::to_value(&found.consent).unwrap().to_string()
}

/// `None`: there is no such session. `Some(true)`: it has ended.
fn ended(world: &World, id: &str, session: &str) -> Option<bool> {
    match document(world, Key::Session(tenant(id), SessionId::new(session).unwrap())) {
        Some(Document::Session(session)) => Some(session.ended.is_some()),
        _ => None,
    }
}

fn rest(world: &mut World) {
    until("every intent is settled", || world.gateway().engine().journal().status().open_intents == 0);
    world.gateway.take().unwrap().stop();
}

/// Puts without a body until the connection breaks; notes each path that was answered.
fn load(
    address: std::net::SocketAddr,
    token: &str,
    name: &str,
    answered: &Mutex<Vec<String>>,
    count: &AtomicU64,
) {
    let Ok(mut stream) = TcpStream::connect(address) else { return };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let mut inbox = Vec::new();
    for number in 0.. {
        let path = format!("/t/acme/orders/{name}-{number}");
        let head = request("PUT", &path, token, "Content-Length: 0\r\n");
        if stream.write_all(head.as_bytes()).is_err() {
            return;
        }
        // The answer counts from its first byte.
        let mut piece = [0u8; 4096];
        loop {
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => return,
                Ok(size) => inbox.extend_from_slice(&piece[..size]),
            }
            if inbox.starts_with(b"HTTP/1.1 200") {
                break;
            }
            assert!(
                inbox.len() < 12 || inbox.starts_with(b"HTTP/1.1 2"),
                "{}",
                String::from_utf8_lossy(&inbox)
            );
        }
        answered.lock().unwrap().push(path);
        count.fetch_add(1, SeqCst);
        while !inbox.ends_with(b"hello") {
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => return,
                Ok(size) => inbox.extend_from_slice(&piece[..size]),
            }
        }
        inbox.clear();
    }
}

// GW-07
#[test]
fn twenty_five_kills_under_load_lose_nothing_that_was_answered() {
    const ROUNDS: u64 = 25;
    let mut world = World::of(Plan::default());
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    let (other, visitor) = (world.people.admin("globex"), world.people.staff("vera"));
    world.done(World::consent("acme", "full"), &admin);
    world.start_session("acme", &agent);
    rest(&mut world);
    let (mut accesses, mut changes, mut unknown) = (0, 0, 0);
    // What globex has, as far as was acknowledged; what was asked for and not answered may be either way.
    let mut sessions: BTreeMap<String, bool> = BTreeMap::new();
    let mut open_end: Option<String>;
    for round in 0..ROUNDS {
        let mut child = Child::start(&world, None, "");
        let answered = Mutex::new(Vec::new());
        let count = AtomicU64::new(0);
        let stop = Arc::new(AtomicBool::new(false));
        let mut acknowledged: Option<&str> = None;
        let mut asked: Option<&str> = None;
        open_end = None;
        std::thread::scope(|scope| {
            for client in 0..3 {
                let (agent, answered, count) = (&agent, &answered, &count);
                let address = child.address;
                scope.spawn(move || load(address, agent, &format!("r{round}c{client}"), answered, count));
            }
            let wanted = 5 + round * 7 % 40;
            let mut number = 0u64;
            let levels = ["edit", "read_only", "full"];
            while count.load(SeqCst) < wanted || number < 3 + round % 5 {
                number += 1;
                let level = levels[usize::try_from(number / 3).unwrap() % 3];
                let session = format!("ses_r{round}n{number}");
                let what = match number % 3 {
                    0 => format!("{number} consent globex {level} {other}"),
                    1 => format!("{number} start globex {session} {visitor}"),
                    _ => {
                        let before = format!("ses_r{round}n{}", number - 1);
                        open_end = Some(before.clone());
                        format!("{number} end globex {before} {other}")
                    }
                };
                if number.is_multiple_of(3) {
                    asked = Some(level);
                }
                child.tell(&what);
                child.hear(&format!("done {number}"));
                changes += 1;
                match number % 3 {
                    0 => acknowledged = Some(level),
                    1 => {
                        sessions.insert(session, false);
                    }
                    _ => {
                        sessions.insert(open_end.take().unwrap(), true);
                    }
                }
            }
            // One more of each in flight when the end comes.
            child.tell(&format!("900 consent globex block {other}"));
            child.tell(&format!("901 start globex ses_r{round}last {visitor}"));
            if round % 2 == 0 {
                // Somewhere within them.
                std::thread::sleep(Duration::from_micros(round * 700));
            } else {
                child.hear_if("done 900");
                acknowledged = Some("block");
                changes += 1;
            }
            stop.store(true, SeqCst);
            child.kill();
        });
        world.up();
        let records = world.records();
        let paths: std::collections::HashSet<&str> = records
            .iter()
            .filter(|record| record["kind"] == "access.intent")
            .filter_map(|record| record["path"].as_str())
            .collect();
        for path in answered.lock().unwrap().iter() {
            assert!(paths.contains(path.as_str()), "round {round}: `{path}` was answered and has no intent");
            accesses += 1;
        }
        for (session, is_ended) in &sessions {
            let found = ended(&world, "globex", session);
            assert!(found.is_some(), "round {round}: session {session} is lost");
            // The agent's next session by consent replaces the one before.
            assert!(!*is_ended || found == Some(true), "round {round}: session {session} came back");
        }
        if let Some(acknowledged) = acknowledged {
            let now = level(&world, "globex");
            let fits = now.contains(&format!("\"{acknowledged}\"")) || now.contains("\"block\"");
            assert!(fits, "round {round}: {acknowledged} was acknowledged, it is {now}, asked {asked:?}");
        }
        // Nobody is locked out by what was left behind; the next round starts from an open tenant.
        assert_eq!(world.ask("PUT", "/t/acme/orders/after", &agent, "Content-Length: 0\r\n").status, 200);
        world.change(World::consent("globex", "full"), &other).unwrap();
        rest(&mut world);
        let proven = world.prove();
        unknown = proven.iter().filter(|record| record["end"] == "unknown").count();
    }
    assert!(accesses > 50 && changes > 50, "{accesses} {changes}");
    println!(
        "{ROUNDS} kills: {accesses} answers seen, each with its intent; {changes} changes acknowledged, each in force; {unknown} accesses settled as unknown"
    );
}

// GW-04
#[test]
fn a_kill_between_any_two_steps_of_a_change_leaves_it_whole_or_undone() {
    let steps = [
        (Step::ChangeDecided, Some(false)),
        (Step::ChangeRecorded, Some(false)),
        (Step::ChangeCommitted, Some(true)),
        (Step::ChangeInForce, Some(true)),
        (Step::ChangeConcluded, Some(true)),
    ];
    for (step, happened) in steps {
        for what in ["end", "consent"] {
            let mut world = World::of(Plan::default());
            let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
            let session = world.start_session("acme", &agent);
            rest(&mut world);
            let mut child = Child::start(&world, Some(step), "die");
            child.tell("arm");
            child.hear("armed");
            match what {
                "end" => child.tell(&format!("1 end acme {session} {admin}")),
                _ => child.tell(&format!("1 consent acme full {admin}")),
            }
            assert_eq!(child.hear_if("done"), None, "{step:?}: nothing was acknowledged");
            child.gone();
            for way in ["as it was left", "rebuilt from the ledger"] {
                if way == "rebuilt from the ledger" {
                    std::fs::remove_file(world.data.join("state.redb")).unwrap();
                }
                world.up();
                until("what was recorded is carried on", || world.gateway().engine().pending() == 0);
                // What narrows is carried on from its intent; what widens is not.
                let happened =
                    if what == "end" && step == Step::ChangeRecorded { Some(true) } else { happened };
                let found = match what {
                    "end" => ended(&world, "acme", session.as_str()),
                    _ => Some(level(&world, "acme").contains("\"full\"")),
                };
                assert_eq!(found, happened, "{what} killed at {step:?}, {way}");
                rest(&mut world);
                world.prove();
            }
            let outcome = world.of_kind("change.outcome").into_iter().rfind(|o| {
                world
                    .of_kind("change.intent")
                    .iter()
                    .any(|i| i["change"] == o["change"] && i["actor"] == "subject")
            });
            let outcome = outcome.unwrap();
            let settled = matches!(step, Step::ChangeRecorded | Step::ChangeCommitted | Step::ChangeInForce);
            assert_eq!(outcome["settled"].as_bool().unwrap_or(false), settled, "{what} {step:?} {outcome}");
        }
    }
}

// GW-07
#[test]
fn a_kill_between_record_and_forwarding_is_settled_as_unknown() {
    let mut world = World::of(Plan::default());
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    rest(&mut world);
    let mut child = Child::start(&world, Some(Step::AccessRecorded), "die");
    child.tell("arm");
    child.hear("armed");
    let mut client = crate::client::Client::connect(child.address);
    client.send(request("GET", "/t/acme/orders", &agent, ""));
    assert_ne!(client.more(), crate::client::Ending::Open, "nothing is answered");
    child.gone();
    assert_eq!(world.upstream.received(), 0);
    world.up();
    let outcome = world.last_outcome();
    assert_eq!(
        (outcome["end"].as_str(), outcome["fault"].as_str()),
        (Some("unknown"), Some("gateway_stopped"))
    );
    world.finish();
}

/// Posts to a child and waits for what comes: `None` when it died before it answered.
fn post(address: std::net::SocketAddr, token: &str, key: &str, body: &str) -> Option<serde_json::Value> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let more = format!(
        "Content-Type: application/json\r\nIdempotency-Key: \"{key}\"\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    let head = request("POST", "/_postern/v1/tenants/acme/sessions", token, &more);
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let text = String::from_utf8(all).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 201"), "{text}");
    let mut value: serde_json::Value = serde_json::from_str(body).unwrap();
    value["replayed"] = head.to_ascii_lowercase().contains("idempotent-replayed: true").into();
    Some(value)
}

#[test]
fn a_creation_that_was_killed_at_any_step_is_made_once_by_a_repeat_with_its_key() {
    let steps = [
        (Step::ChangeDecided, false),
        (Step::ChangeRecorded, false),
        (Step::ChangeCommitted, true),
        (Step::ChangeInForce, true),
        (Step::ChangeConcluded, true),
    ];
    let body = r#"{"environment": "production", "basis": "consent", "reason": "looking at order 7"}"#;
    for (step, made) in steps {
        let mut world = World::of(Plan::default());
        let agent = world.people.staff("sam");
        rest(&mut world);
        let mut child = Child::start(&world, Some(step), "die");
        child.tell("arm");
        child.hear("armed");
        assert_eq!(post(child.address, &agent, "k", body), None, "{step:?}: nothing was answered");
        child.gone();
        let mut first = None;
        for way in ["as it was left", "once more", "rebuilt from the ledger"] {
            if way == "rebuilt from the ledger" {
                std::fs::remove_file(world.data.join("state.redb")).unwrap();
            }
            world.up();
            let told = post(world.gateway().address(), &agent, "k", body).unwrap();
            let id = told["session"]["id"].as_str().unwrap().to_owned();
            let expected = made || first.is_some();
            assert_eq!(told["replayed"], expected, "{step:?}, {way}");
            assert_eq!(*first.get_or_insert_with(|| id.clone()), id, "{step:?}, {way}");
            assert_eq!(ended(&world, "acme", &id), Some(false), "{step:?}, {way}");
            let key = Key::Presence(tenant("acme"), world.people.verified(&agent).subject().id.clone());
            let Some(Document::Presence(presence)) = document(&world, key) else { panic!("{step:?}") };
            assert_eq!(presence.sessions.len(), 1, "{step:?}, {way}");
            rest(&mut world);
        }
        world.prove();
        let starts = world.of_kind("change.outcome").into_iter().filter(|record| {
            record["outcome"] == "stored"
                && record["events"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|event| event["event"] == "session_started")
        });
        assert_eq!(starts.count(), 1, "{step:?}");
    }
}
