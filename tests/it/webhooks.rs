//! Webhooks over real sockets: what is told, that it is signed, that none is lost or comes out of order, and that a
//! receiver that fails, hangs or lies costs nobody else anything.

use std::time::{Duration, Instant};

use postern::{
    lifecycle::{Choice, Command},
    model::SessionId,
};
use serde_json::json;

use crate::{
    child::Child,
    client::{Client, PATIENCE},
    receiver::{Answer, Receiver, Told},
    world::*,
};

pub const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const OTHER: &str = "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU=";
const GLASS: (&str, &str) = (
    "members: { unmapped: refuse }",
    "members: { unmapped: refuse }\nbreak_glass: { operators: [{ issuer: vendor, sub: olga }], role: editor }",
);

/// The line of one webhook.
fn hook(name: &str, receiver: &Receiver, more: &str) -> String {
    let scheme = if receiver.authority.is_empty() { "http" } else { "https" };
    format!(
        "\n  - {{ name: {name}, url: \"{scheme}://{}/in?for=postern\", secret: {{ file: KEYS/a.secret }}{more} }}",
        receiver.address
    )
}

fn edit(hooks: &str) -> (&'static str, &'static str) {
    ("limits: { drain", format!("webhooks:{hooks}\nlimits: {{ drain").leak())
}

/// A world with these webhooks; nothing runs yet.
fn prepared(plan: Plan, hooks: &str) -> World {
    let mut world = World::prepared(plan);
    let keys = world.keys_dir.path();
    std::fs::write(keys.join("a.secret"), format!("{SECRET}\n")).unwrap();
    std::fs::write(keys.join("b.secret"), OTHER).unwrap();
    world.edits.push(edit(hooks));
    postern::app::init_state(&world.data.join("state.redb"), &world.data.join("ledger")).unwrap();
    world
}

fn started(plan: Plan, hooks: &str) -> World {
    let mut world = prepared(plan, hooks);
    world.up();
    world
}

/// Puts other webhooks in force.
fn reload(world: &World, hooks: &str) {
    let mut edits = world.edits.clone();
    edits.pop();
    edits.push(edit(hooks));
    let settings = settings(world.keys_dir.path(), &world.data, world.upstream.address, &edits);
    world.gateway().apply(settings).unwrap();
}

/// One metric of one webhook.
fn metric(world: &World, name: &str, hook: &str) -> u64 {
    let mut client = Client::connect(world.gateway().operations());
    let text = client.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").reply().text();
    let line = format!("postern_webhook_{name}{{webhook=\"{hook}\"}} ");
    text.lines().find_map(|row| row.strip_prefix(&line)).unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

fn kinds(told: &[Told]) -> Vec<String> {
    told.iter().map(|one| one.what().0).collect()
}

fn ids(told: &[Told]) -> Vec<String> {
    told.iter().map(Told::id).collect()
}

/// Has an agent enter and leave so often; the sessions.
fn visits(world: &World, count: usize) -> Vec<SessionId> {
    let agent = world.people.staff("sam");
    let visit = |_| {
        let session = world.start_session("acme", &agent);
        world.done(World::end("acme", &session), &agent);
        session
    };
    (0..count).map(visit).collect()
}

fn break_glass(world: &World) -> SessionId {
    let session = SessionId::new("ses_glass").unwrap();
    let command = Command::BreakGlass {
        tenant: tenant("acme"),
        session: session.clone(),
        environment: production(),
        reason: "the shop is down".to_owned(),
        incident: "INC-7".to_owned(),
        cause: "stability".to_owned(),
        lasts: None,
    };
    world.done(command, &world.people.staff("olga"));
    session
}

// GW-11 GW-06
#[test]
fn entry_end_and_break_glass_are_told_with_a_signature_that_others_work_out() {
    let receiver = Receiver::start();
    let world = started(Plan::default().edit(GLASS.0, GLASS.1), &hook("ops", &receiver, ""));
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    let session = world.start_session("acme", &agent);
    let told = receiver.until(1);
    assert!(told[0].head.starts_with("POST /in?for=postern HTTP/1.1\r\n"), "{}", told[0].head);
    assert_eq!(told[0].header("host"), receiver.address.to_string());
    assert_eq!(told[0].header("content-type"), "application/json");
    let body = told[0].json();
    assert_eq!(body["type"], "session_started");
    let data = &body["data"];
    assert_eq!(
        (
            &data["tenant"],
            &data["session"],
            &data["environment"],
            &data["role"],
            &data["basis"],
            &data["reason"]
        ),
        (
            &json!("acme"),
            &json!(session.as_str()),
            &json!("production"),
            &json!("read_only"),
            &json!({ "consent": "read_only" }),
            &json!("a test looks around")
        )
    );
    assert_eq!(data["subject"], json!({ "issuer": "vendor", "sub": "sam" }));
    world.done(World::end("acme", &session), &admin);
    let ended = receiver.until(2)[1].json();
    assert_eq!((&ended["type"], &ended["data"]["cause"]), (&json!("session_ended"), &json!("removed")));
    assert_eq!(ended["data"]["by"], json!({ "issuer": "app", "sub": "acme-admin" }));
    let glass = break_glass(&world);
    let told = receiver.until(4);
    let broken = told[2].json();
    assert_eq!(told[2].what(), ("glass_broken".to_owned(), glass.to_string()));
    assert_eq!(
        (
            &broken["data"]["incident"],
            &broken["data"]["cause"],
            &broken["data"]["reason"],
            &broken["data"]["role"]
        ),
        (&json!("INC-7"), &json!("stability"), &json!("the shop is down"), &json!("editor"))
    );
    assert_eq!(told[3].what(), ("session_started".to_owned(), glass.to_string()));
    // What is not asked for is not told.
    world.make_grant("acme", "editor", postern::lifecycle::Until::At(world.now().plus_ms(3_600_000)));
    world.done(World::end("acme", &glass), &admin);
    let told = receiver.until(5);
    let expected = ["session_started", "session_ended", "glass_broken", "session_started", "session_ended"];
    assert_eq!(kinds(&told), expected);
    let mut seen = ids(&told);
    for one in &told {
        assert!(one.is_signed(SECRET) && !one.is_signed(OTHER), "{}", one.head);
        assert!(!one.id().contains('.'), "{}", one.id());
        let at: i64 = one.header("webhook-timestamp").parse().unwrap();
        assert!((world.people.now_ms() / 1000 - at).abs() < 60, "{at}");
        let text = String::from_utf8_lossy(&one.body).into_owned();
        assert!(!text.contains("@vendor.example") && !text.contains("127.0.0.1"), "{text}");
        // It is what the record says.
        let data = &one.json()["data"];
        let record = &world.records()[usize::try_from(data["seq"].as_u64().unwrap()).unwrap()];
        assert_eq!((&record["kind"], &record["change"]), (&json!("change.outcome"), &data["change"]));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5, "each has an id of its own");
    until("all are noted", || metric(&world, "delivered_total", "ops") == 5);
    assert_eq!(metric(&world, "failed_total", "ops"), 0);
    assert_eq!(metric(&world, "up", "ops"), 1);
    world.finish();
}

/// What the page tells receivers to do, done by another language's own library.
#[test]
fn the_receiver_of_the_documentation_verifies_what_is_sent() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/webhooks.md")).unwrap();
    let code =
        page.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the page has it");
    let receiver = Receiver::start();
    let world = started(Plan::default(), &hook("ops", &receiver, ""));
    visits(&world, 1);
    for one in receiver.until(2) {
        let headers: serde_json::Map<_, _> = ["webhook-id", "webhook-timestamp", "webhook-signature"]
            .map(|name| (name.to_owned(), json!(one.header(name))))
            .into_iter()
            .collect();
        let verified = |body: &[u8], secret: &str| {
            let call = format!(
                "{code}\nimport json, sys\nprint(json.dumps(verify({SECRET:?} if {} else {OTHER:?}, json.loads(sys.argv[1]), sys.argv[2].encode())))",
                if secret == SECRET { "True" } else { "False" }
            );
            let output = std::process::Command::new("python3")
                .args(["-c", &call, &serde_json::Value::Object(headers.clone()).to_string()])
                .arg(String::from_utf8_lossy(body).as_ref())
                .output()
                .expect("python3 is needed to verify a webhook as a receiver does; install it");
            (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let (good, text) = verified(&one.body, SECRET);
        assert!(good, "{text}");
        let body: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(body, one.json());
        assert!(!verified(&one.body, OTHER).0, "another secret");
        let mut changed = one.body.clone();
        let at = changed.windows(4).position(|text| text == b"acme").unwrap();
        changed[at] = b'b';
        assert!(!verified(&changed, SECRET).0, "another body");
    }
    world.finish();
}

// GW-11
#[test]
fn an_expiry_is_told_with_the_instant_at_which_it_took_effect() {
    let clock = ManualClock::at(NOON);
    let receiver = Receiver::start();
    let world = started(Plan::default().clock(&clock), &hook("ops", &receiver, ""));
    let session = world.start_session("acme", &world.people.staff("sam"));
    receiver.until(1);
    clock.advance(8 * 3_600_000 + 60_000);
    let told = receiver.until(2);
    let body = told[1].json();
    assert_eq!(told[1].what(), ("session_ended".to_owned(), session.to_string()));
    assert_eq!(
        (&body["data"]["cause"], &body["timestamp"]),
        (&json!("expired"), &json!("2026-07-01T20:00:00.000Z"))
    );
    assert_eq!(told[1].header("webhook-timestamp"), ((NOON + 8 * 3_600_000 + 60_000) / 1000).to_string());
    world.finish();
}

// GW-11
#[test]
fn what_happened_while_a_receiver_was_down_is_told_later_in_order() {
    let receiver = Receiver::start();
    let world = started(Plan::default(), &hook("ops", &receiver, ""));
    visits(&world, 1);
    let before = receiver.until(2).len();
    receiver.down();
    let sessions = visits(&world, 5);
    until("it is noticed", || metric(&world, "up", "ops") == 0);
    assert!(metric(&world, "failed_total", "ops") > 0);
    let back = Receiver::at(receiver.address);
    let told = back.until(10);
    assert_eq!(before, 2);
    let expected: Vec<(String, String)> = sessions
        .iter()
        .flat_map(|session| {
            ["session_started", "session_ended"].map(|kind| (kind.to_owned(), session.to_string()))
        })
        .collect();
    assert_eq!(told.iter().map(Told::what).collect::<Vec<_>>(), expected);
    until("all is well", || metric(&world, "up", "ops") == 1 && metric(&world, "lag_seconds", "ops") == 0);
    world.finish();
}

#[test]
fn whatever_is_no_2xx_is_told_again_under_the_same_id_and_holds_up_what_is_behind_it() {
    let trap = Receiver::start();
    let cases = [
        ("500", Answer::status(500)),
        ("404", Answer::status(404)),
        ("429", Answer::Status(429, "Retry-After: 0\r\n".to_owned())),
        ("a redirect", Answer::Status(302, format!("Location: http://{}/\r\n", trap.address))),
        ("308", Answer::Status(308, format!("Location: http://{}/\r\n", trap.address))),
        ("no HTTP", Answer::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())),
        ("half a head", Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-".to_vec())),
        ("nothing", Answer::Bytes(Vec::new())),
        ("an endless head", Answer::Endless(b"HTTP/1.1 200 OK\r\nX: ".to_vec())),
        ("silence", Answer::Silence),
        ("a head byte by byte", Answer::Dribble(b"HTTP/1.1 200 OK\r\nX: ".to_vec())),
    ];
    let told_again = |(what, answer): &(&str, Answer)| {
        let receiver = Receiver::start();
        receiver.answer(answer.clone());
        let world = started(Plan::default(), &hook("ops", &receiver, ", timeout: 1s"));
        let sessions = visits(&world, 1);
        let told = receiver.until(2);
        assert_eq!(ids(&told)[0], ids(&told)[1], "{what}: the same again");
        assert_eq!(told[0].body, told[1].body, "{what}");
        receiver.answer(Answer::status(200));
        until("it is taken", || metric(&world, "delivered_total", "ops") == 2);
        let told = receiver.told();
        let mut all = ids(&told);
        all.dedup();
        assert_eq!(all.len(), 2, "{what}: one after the other");
        assert_eq!(
            told.last().unwrap().what(),
            ("session_ended".to_owned(), sessions[0].to_string()),
            "{what}"
        );
        assert!(told.iter().all(|one| one.is_signed(SECRET)), "{what}: each attempt is signed anew");
        assert_eq!(metric(&world, "up", "ops"), 1, "{what}");
        world.finish();
    };
    for some in cases.chunks(4) {
        std::thread::scope(|scope| {
            for case in some {
                scope.spawn(move || told_again(case));
            }
        });
    }
    assert!(trap.told().is_empty(), "nobody is asked at the address of a redirect");
}

#[test]
fn an_answer_counts_by_its_head_however_slow_huge_or_broken_its_body_is() {
    for (what, answer) in [
        ("slow", Answer::Dribble(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{".to_vec())),
        (
            "endless",
            Answer::Endless(b"HTTP/1.1 202 Accepted\r\nContent-Length: 99999999999\r\n\r\n".to_vec()),
        ),
        ("broken", Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_vec())),
        (
            "compressed",
            Answer::Bytes(
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx".to_vec(),
            ),
        ),
    ] {
        let receiver = Receiver::start();
        receiver.answer(answer);
        let world = started(Plan::default(), &hook("ops", &receiver, ""));
        visits(&world, 1);
        until(what, || metric(&world, "delivered_total", "ops") == 2);
        assert_eq!(receiver.told().len(), 2, "{what}: once each");
        assert_eq!(metric(&world, "failed_total", "ops"), 0, "{what}");
        world.finish();
    }
}

#[test]
fn a_receiver_that_hangs_costs_other_receivers_and_clients_nothing() {
    let (hanging, well) = (Receiver::start(), Receiver::start());
    hanging.answer(Answer::Silence);
    let world =
        started(Plan::default(), &(hook("hanging", &hanging, ", timeout: 60s") + &hook("well", &well, "")));
    let agent = world.people.staff("sam");
    let session = world.start_session("acme", &agent);
    hanging.until(1);
    well.until(1);
    let began = Instant::now();
    for _ in 0..50 {
        assert_eq!(world.get("/t/acme/orders", &agent).status, 200);
    }
    world.done(World::end("acme", &session), &agent);
    well.until(2);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(hanging.told().len(), 1, "one connection at a time");
    until("both are noted", || metric(&world, "delivered_total", "well") == 2);
    assert_eq!(metric(&world, "delivered_total", "hanging"), 0);
    world.finish();
}

#[test]
fn after_410_nothing_is_told_until_the_configuration_is_read_again() {
    let receiver = Receiver::start();
    receiver.answer(Answer::status(410));
    let line = hook("ops", &receiver, "");
    let world = started(Plan::default(), &line);
    visits(&world, 2);
    receiver.until(1);
    until("it is gone", || metric(&world, "up", "ops") == 0);
    receiver.answer(Answer::status(200));
    // Longer than any first wait: the distance between tries is a second.
    let until_then = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < until_then {
        assert_eq!(receiver.told().len(), 1, "it asked to be left alone");
        std::thread::sleep(Duration::from_millis(20));
    }
    reload(&world, &line);
    let told = receiver.until(5);
    assert_eq!(ids(&told)[0], ids(&told)[1], "nothing was lost");
    assert_eq!(kinds(&told)[1..], ["session_started", "session_ended", "session_started", "session_ended"]);
    world.finish();
}

#[test]
fn what_is_never_taken_is_given_up_and_what_is_behind_it_told() {
    let clock = ManualClock::at(NOON);
    let receiver = Receiver::start();
    receiver.answer(Answer::status(422));
    let world = started(Plan::default().clock(&clock), &hook("ops", &receiver, ", give_up: 1h"));
    let agent = world.people.staff("sam");
    let session = world.start_session("acme", &agent);
    receiver.until(2);
    assert_eq!(metric(&world, "given_up_total", "ops"), 0, "it is tried for an hour");
    clock.advance(3_600_000);
    until("it is given up", || metric(&world, "given_up_total", "ops") == 1);
    receiver.answer(Answer::status(200));
    world.done(World::end("acme", &session), &agent);
    until("the next is told", || metric(&world, "delivered_total", "ops") == 1);
    assert_eq!(receiver.told().last().unwrap().what(), ("session_ended".to_owned(), session.to_string()));
    // Whoever does not want to wait for it shortens the time, and reads the configuration again.
    receiver.answer(Answer::status(422));
    visits(&world, 1);
    clock.advance(120_000);
    let count = receiver.told().len();
    receiver.until(count + 1);
    assert_eq!(metric(&world, "given_up_total", "ops"), 1);
    reload(&world, &hook("ops", &receiver, ", give_up: 1m"));
    until("both are given up", || metric(&world, "given_up_total", "ops") == 3);
    world.finish();
}

// GW-11
#[test]
fn a_kill_between_delivery_and_its_note_tells_again_under_the_same_id_and_loses_none() {
    let receiver = Receiver::start();
    let mut world = prepared(Plan::default(), &hook("ops", &receiver, ""));
    world.up();
    visits(&world, 1);
    until("both are noted", || metric(&world, "delivered_total", "ops") == 2);
    world.gateway.take().unwrap().stop();
    // The receiver has it, and the gateway never hears so.
    receiver.answer(Answer::Silence);
    let mut child = Child::start(&world, None, "");
    let agent = world.people.staff("sam");
    for (number, session) in ["ses_a", "ses_b", "ses_c"].iter().enumerate() {
        child.tell(&format!("{number} start globex {session} {agent}"));
        child.hear(&format!("done {number}"));
        child.tell(&format!("{number} end globex {session} {agent}"));
        child.hear(&format!("done {number}"));
    }
    let told = receiver.until(3);
    assert_eq!(told[2].what(), ("session_started".to_owned(), "ses_a".to_owned()));
    child.kill();
    receiver.answer(Answer::status(200));
    world.up();
    let told = receiver.until(9);
    assert_eq!(told[2].id(), told[3].id(), "once more, under the same id");
    assert_eq!(told[2].body, told[3].body);
    let expected = ["ses_a", "ses_a", "ses_b", "ses_b", "ses_c", "ses_c"];
    assert_eq!(told[3..].iter().map(|one| one.what().1).collect::<Vec<_>>(), expected);
    until("no more comes", || metric(&world, "records_behind", "ops") == 0);
    assert_eq!(receiver.told().len(), 9);
    world.finish();
}

/// Killed again and again, with receivers of every mood: what was taken, repeats left out, is what the record says, in its order.
// GW-11
#[test]
fn over_many_kills_what_was_taken_is_what_the_record_says_in_its_order() {
    let receiver = Receiver::start();
    let mut world = prepared(Plan::default(), &hook("ops", &receiver, ", timeout: 1s"));
    let agent = world.people.staff("sam");
    let moods = [200, 500, 200, 0, 404, 200].map(|status| match status {
        0 => Answer::Silence,
        status => Answer::status(status),
    });
    for (round, mood) in moods.into_iter().enumerate() {
        receiver.answer(mood);
        let mut child = Child::start(&world, None, "");
        for visit in 0..=round {
            let session = format!("ses_{round}_{visit}");
            for verb in ["start", "end"] {
                child.tell(&format!("{visit} {verb} globex {session} {agent}"));
                child.hear(&format!("done {visit}"));
            }
        }
        // One more is in hand, as far as it comes.
        child.tell(&format!("9 start globex ses_{round}_9 {agent}"));
        child.kill();
    }
    world.up();
    let told_by_the_record = |world: &World| -> Vec<String> {
        let stored = world.of_kind("change.outcome").into_iter().filter(|one| one["outcome"] == "stored");
        let events = |one: serde_json::Value| {
            let names: Vec<String> = one["events"]
                .as_array()
                .unwrap()
                .iter()
                .map(|event| event["event"].as_str().unwrap().to_owned())
                .collect();
            let change = one["change"].as_str().unwrap().to_owned();
            names
                .into_iter()
                .enumerate()
                .filter(|(_, name)| name.starts_with("session_"))
                .map(move |(index, _)| format!("{change}-{index}"))
        };
        stored.flat_map(events).collect()
    };
    until("all is told", || metric(&world, "records_behind", "ops") == 0);
    let expected = told_by_the_record(&world);
    assert!(expected.len() >= 42, "{}", expected.len());
    let taken: Vec<Told> = receiver.told().into_iter().filter(|one| one.taken).collect();
    let mut first = ids(&taken);
    let mut seen = std::collections::BTreeSet::new();
    first.retain(|id| seen.insert(id.clone()));
    assert_eq!(first, expected);
    assert!(receiver.told().iter().all(|one| one.is_signed(SECRET)));
    world.finish();
}

// GW-11
#[test]
fn a_restart_goes_on_where_it_was_and_a_new_webhook_begins_with_what_comes() {
    let (first, second) = (Receiver::start(), Receiver::start());
    let mut world = started(Plan::default(), &hook("first", &first, ""));
    visits(&world, 1);
    first.until(2);
    until("it is noted", || metric(&world, "delivered_total", "first") == 2);
    first.answer(Answer::status(503));
    visits(&world, 1);
    first.until(3);
    world.gateway.take().unwrap().stop();
    first.answer(Answer::status(200));
    world.edits.pop();
    world.edits.push(edit(&(hook("first", &first, "") + &hook("second", &second, ""))));
    world.up();
    until("the rest is told", || metric(&world, "delivered_total", "first") == 2);
    visits(&world, 1);
    let told = second.until(2);
    assert_eq!(kinds(&told), ["session_started", "session_ended"], "not the whole past");
    until("both are told", || metric(&world, "delivered_total", "first") == 4);
    let mut all = ids(&first.told());
    all.dedup();
    assert_eq!(all.len(), 6, "each of three visits once, in order, but for what was refused");
    world.finish();
}

#[test]
fn a_reload_adds_moves_and_takes_away_webhooks_and_loses_no_place() {
    let (first, second, moved) = (Receiver::start(), Receiver::start(), Receiver::start());
    let world = started(Plan::default(), &hook("first", &first, ""));
    visits(&world, 1);
    first.until(2);
    reload(&world, &(hook("first", &first, "") + &hook("second", &second, ", events: session_ended")));
    visits(&world, 1);
    first.until(4);
    assert_eq!(kinds(&second.until(1)), ["session_ended"]);
    // Taken away, it is told nothing; what happened meanwhile it is told when it is back, wherever it is then.
    reload(&world, "  []");
    let sessions = visits(&world, 2);
    let mut client = Client::connect(world.gateway().operations());
    let text = client.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").reply().text();
    assert!(!text.contains("postern_webhook"), "{text}");
    reload(&world, &hook("first", &moved, ""));
    let told = moved.until(4);
    assert_eq!(told[0].what(), ("session_started".to_owned(), sessions[0].to_string()));
    assert_eq!((first.told().len(), second.told().len(), moved.told().len()), (4, 1, 4));
    world.finish();
}

#[test]
fn a_reload_lets_the_attempt_in_hand_end_so_that_nothing_is_told_twice() {
    let receiver = Receiver::start();
    receiver.answer(Answer::Silence);
    let line = hook("ops", &receiver, ", timeout: 2s");
    let world = started(Plan::default(), &line);
    visits(&world, 1);
    receiver.until(1);
    receiver.answer(Answer::status(200));
    reload(&world, &line);
    reload(&world, &line);
    until("both are taken", || metric(&world, "delivered_total", "ops") == 2);
    assert_eq!(receiver.told().len(), 3, "the one that hung, again, and the next");
    world.finish();
}

#[test]
fn a_stop_lets_the_attempt_in_hand_end_so_that_a_restart_repeats_nothing() {
    let receiver = Receiver::start();
    receiver.answer(Answer::Late(200, Duration::from_millis(500)));
    let mut world = started(Plan::default(), &hook("ops", &receiver, ""));
    let agent = world.people.staff("sam");
    let session = world.start_session("acme", &agent);
    receiver.until(1);
    world.gateway.take().unwrap().stop();
    receiver.answer(Answer::status(200));
    world.up();
    world.done(World::end("acme", &session), &agent);
    receiver.until(2);
    until("it is noted", || metric(&world, "delivered_total", "ops") == 1);
    assert_eq!(kinds(&receiver.told()), ["session_started", "session_ended"]);
    world.finish();
}

#[test]
fn while_a_secret_takes_the_place_of_another_both_sign() {
    let receiver = Receiver::start();
    let line = hook("ops", &receiver, "");
    let both = line.replace("{ file: KEYS/a.secret }", "[{ file: KEYS/b.secret }, { file: KEYS/a.secret }]");
    let world = started(Plan::default(), &line);
    visits(&world, 1);
    receiver.until(2);
    reload(&world, &both);
    visits(&world, 1);
    receiver.until(4);
    reload(&world, &line.replace("a.secret", "b.secret"));
    visits(&world, 1);
    let told = receiver.until(6);
    let by: Vec<(bool, bool)> =
        told.iter().map(|one| (one.is_signed(SECRET), one.is_signed(OTHER))).collect();
    assert_eq!(by, [(true, false), (true, false), (true, true), (true, true), (false, true), (false, true)]);
    assert_eq!(told[2].header("webhook-signature").split(' ').count(), 2);
    world.finish();
}

// GW-11
#[test]
fn a_webhook_of_one_tenant_hears_nothing_of_another() {
    let (one, all) = (Receiver::start(), Receiver::start());
    let events = ", events: [session_started, session_ended, consent_changed, support_stopped]";
    let lines = hook("one", &one, &format!("{events}, tenants: [acme]")) + &hook("all", &all, events);
    let world = started(
        Plan::default().edit(
            "members: { unmapped: refuse }",
            "members: { unmapped: refuse }\nstops: { operators: [{ issuer: vendor, sub: olga }] }",
        ),
        &lines,
    );
    let agent = world.people.staff("sam");
    for id in ["globex", "acme", "acme-eu"] {
        let session = world.start_session(id, &agent);
        world.done(World::end(id, &session), &agent);
        world.done(World::consent(id, "edit"), &world.people.admin(id));
    }
    let stop = Command::Stop {
        switch: postern::lifecycle::Switch::Operators(postern::model::Reach::All),
        reason: "an attack".to_owned(),
    };
    world.done(stop, &world.people.staff("olga"));
    let tenants = |told: &[Told]| -> Vec<String> {
        told.iter().map(|one| one.json()["data"]["tenant"].as_str().unwrap_or("none").to_owned()).collect()
    };
    let told = all.until(10);
    assert_eq!(
        tenants(&told),
        ["globex", "globex", "globex", "acme", "acme", "acme", "acme-eu", "acme-eu", "acme-eu", "none"]
    );
    until("all was looked at", || metric(&world, "records_behind", "one") == 0);
    assert_eq!(tenants(&one.told()), ["acme", "acme", "acme"]);
    assert_eq!(kinds(&one.told()), ["session_started", "session_ended", "consent_changed"]);
    let text: String = one.told().iter().map(|one| String::from_utf8_lossy(&one.body).into_owned()).collect();
    assert!(!text.contains("globex") && !text.contains("acme-eu"), "{text}");
    world.finish();
}

#[test]
fn a_receiver_that_nobody_vouches_for_is_told_nothing() {
    let good = Receiver::tls(&["127.0.0.1"]);
    let misnamed = Receiver::tls(&["hooks.example"]);
    let strange = Receiver::tls(&["127.0.0.1"]);
    let ca = |name: &str| format!(", ca: {{ file: KEYS/{name}.pem }}, timeout: 5s");
    let lines = hook("good", &good, &ca("good"))
        + &hook("misnamed", &misnamed, &ca("misnamed"))
        + &hook("strange", &strange, &ca("good"));
    let mut world = prepared(Plan::default(), &lines);
    for (name, receiver) in [("good", &good), ("misnamed", &misnamed)] {
        std::fs::write(world.keys_dir.path().join(format!("{name}.pem")), &receiver.authority).unwrap();
    }
    world.up();
    visits(&world, 1);
    let told = good.until(2);
    assert!(told.iter().all(|one| one.is_signed(SECRET)));
    for name in ["misnamed", "strange"] {
        until("it is tried", || metric(&world, "failed_total", name) > 0);
        assert_eq!((metric(&world, "up", name), metric(&world, "delivered_total", name)), (0, 0));
    }
    assert!(misnamed.told().is_empty() && strange.told().is_empty());
    world.finish();
}

#[test]
fn a_cursor_that_cannot_be_read_stands_still_rather_than_guess() {
    let receiver = Receiver::start();
    let mut world = started(Plan::default(), &hook("ops", &receiver, ""));
    visits(&world, 1);
    until("both are noted", || metric(&world, "delivered_total", "ops") == 2);
    world.gateway.take().unwrap().stop();
    let file = world.ledger_dir().join("webhooks/ops.cursor");
    let kept = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, &kept[..kept.len() / 2]).unwrap();
    world.up();
    until("it stands still", || metric(&world, "up", "ops") == 0);
    visits(&world, 1);
    assert_eq!(receiver.told().len(), 2);
    world.gateway.take().unwrap().stop();
    // Mended, it goes on where it was; removed, it begins anew.
    std::fs::write(&file, &kept).unwrap();
    world.up();
    receiver.until(4);
    world.gateway.take().unwrap().stop();
    std::fs::remove_file(&file).unwrap();
    world.up();
    visits(&world, 1);
    assert_eq!(receiver.until(6).len(), 6);
    world.finish();
}

#[test]
fn a_cursor_that_cannot_be_written_holds_nothing_up_and_a_restart_tells_again() {
    let receiver = Receiver::start();
    let mut world = started(Plan::default(), &hook("ops", &receiver, ""));
    visits(&world, 1);
    until("both are noted", || metric(&world, "delivered_total", "ops") == 2);
    // Where the folder was, there is something else.
    let (folder, aside) = (world.ledger_dir().join("webhooks"), world.ledger_dir().join("aside"));
    std::fs::rename(&folder, &aside).unwrap();
    std::fs::write(&folder, "").unwrap();
    visits(&world, 1);
    until("both are told all the same", || metric(&world, "delivered_total", "ops") == 4);
    world.gateway.take().unwrap().stop();
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    world.up();
    let all = ids(&receiver.until(6));
    assert_eq!(all[2..4], all[4..6], "again, under the same ids");
    world.finish();
}

#[test]
fn many_records_in_many_segments_hide_no_event() {
    let receiver = Receiver::start();
    receiver.answer(Answer::status(500));
    let world = started(
        Plan::default().edit("segment: 4 MiB", "segment: 1 MiB"),
        &hook("ops", &receiver, ", events: [session_started, session_ended, consent_changed]"),
    );
    let agent = world.people.staff("sam");
    let admin = world.people.admin("acme");
    let mut expected = Vec::new();
    let began = Instant::now();
    for round in 0..6 {
        let session = world.start_session("acme", &agent);
        let mut client = world.client();
        for _ in 0..300 {
            client.send(request("GET", "/t/acme/orders", &agent, ""));
            assert_eq!(client.reply().status, 200);
        }
        let level = if round % 2 == 0 { "edit" } else { "full" };
        let choice = Choice::Level(postern::model::LevelName::new(level).unwrap());
        world.done(
            Command::SetConsent { tenant: tenant("acme"), choice, until: None, expected: None },
            &admin,
        );
        world.done(World::end("acme", &session), &agent);
        expected.extend(["session_started", "consent_changed", "session_ended"]);
    }
    assert!(postern::audit::read::segments(&world.ledger_dir()).unwrap().len() > 2);
    receiver.until(1);
    receiver.answer(Answer::status(200));
    // Waits double while nothing is taken: the next try is no further away than all of that took.
    until_within(PATIENCE + 2 * began.elapsed(), "all are told", || {
        metric(&world, "delivered_total", "ops") == expected.len() as u64
    });
    let mut told = receiver.told();
    told.dedup_by_key(|one| one.id());
    assert_eq!(kinds(&told), expected);
    world.finish();
}
