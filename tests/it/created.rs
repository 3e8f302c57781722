//! What an application's answer says that it has made: learned before the answer goes on, with what follows for whoever made it.

use std::{net::SocketAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use postern::engine::hooks::Step;

use crate::{
    child::Child,
    client::{Client, Ending, Reply},
    http2::peer::{Peer, clear},
    narrowed::{Application, Deed},
    onward::{PLAIN, URL},
    services::{call, program, with_services},
    world::*,
};

const PERMISSIONS: &str = "permissions: [orders:read, orders:write, users:manage]";
const ROLES: &str = "  admin: { allow: \"*:*\" }\n";
const ROUTES: &str = "  - { route: \"GET /t/{tenant}/download\"";

/// Pipes that whoever makes one is the lead of, and cards on them, which whoever makes one may see.
pub fn plan(application: &Application) -> Plan {
    plan_at(application.address)
}

fn plan_at(address: SocketAddr) -> Plan {
    let plan = with_services(Plan { upstream: Some(address), ..Plan::default() });
    plan.edit("\"members:push\"", "\"members:push\", \"resources:push\"")
        .edit("    kind: member\n", "    kind: member\n    roles: rows\n")
        .edit("editor: { allow: \"orders:*\" }", "editor: { allow: [\"orders:*\", \"*:read\"] }")
        .edit(
            PERMISSIONS,
            "permissions: [orders:read, orders:write, users:manage, pipes:create, pipes:read, cards:create, cards:read]",
        )
        .edit(
            ROLES,
            "  admin: { allow: \"*:*\" }
  guest: { allow: \"pipes:create\", joins: false }
  person: { allow: \"pipes:create\", seat: true }
  lead: { at: pipe, allow: [\"pipes:*\", \"cards:*\"] }
  hand: { at: pipe, allow: [\"pipes:read\", \"cards:create\"], own: cards:read }
resource_types:
  pipe: {}
  card: { parent: pipe }
",
        )
        .edit(
            ROUTES,
            "  - route: \"POST /t/{tenant}/pipes\"
    permission: pipes:create
    creates: { type: pipe, id: { location: \"/t/acme/pipes/{pipe}\" }, role: lead, becomes: { guest: person } }
  - { route: \"GET /t/{tenant}/pipes/{pipe}\", permission: pipes:read, resource: { type: pipe, id: pipe } }
  - route: \"POST /t/{tenant}/pipes/{pipe}/cards\"
    permission: cards:create
    resource: { type: pipe, id: pipe }
    creates: { type: card, id: { json: /data/id } }
  - { route: \"GET /t/{tenant}/cards/{card}\", permission: cards:read, resource: { type: card, id: card } }
  - { route: \"GET /t/{tenant}/download\"",
        )
}

pub fn row(world: &World, sub: &str, role: &str) {
    let path = format!("/tenants/acme/members/app.{}", URL_SAFE_NO_PAD.encode(sub));
    let reply = call(world, "PUT", &path, &program(world, "crm"), &json!({ "roles": [role] }).to_string());
    assert_eq!(reply.status, 200, "{}", reply.text());
}

fn post(world: &World, target: &str, who: &str) -> Reply {
    world.ask("POST", target, who, "Content-Length: 0\r\nAccept-Encoding: gzip\r\n")
}

/// What happened by one exchange.
fn events(world: &World, exchange: &Value) -> Vec<Value> {
    let outcomes = world.of_kind("change.outcome");
    let of_it = outcomes.iter().filter_map(|outcome| outcome["events"].as_array());
    let of_it = of_it.filter(|events| events.iter().any(|event| event["exchange"] == *exchange));
    of_it.flatten().cloned().collect()
}

fn resource(world: &World, kind: &str, id: &str) -> Reply {
    call(world, "GET", &format!("/tenants/acme/resources/{kind}/{id}"), &program(world, "crm"), "")
}

const PIPE: &str = "201 Created\r\nLocation: /t/acme/pipes/p1\r\nContent-Length: 2";

// PFC-07
// PFC-18
#[test]
fn whoever_creates_a_pipe_is_its_lead_with_the_answer_and_a_guest_becomes_a_person_who_takes_a_seat() {
    let application = Application::start();
    let world = World::of(plan(&application));
    row(&world, "gina", "guest");
    let gina = world.people.member("gina", "acme", &[]);
    application.says(PIPE, "ok");
    let reply = post(&world, "/t/acme/pipes", &gina);
    assert_eq!((reply.status, reply.text().as_str()), (201, "ok"));
    assert_eq!(reply.values("location"), ["/t/acme/pipes/p1"]);
    // Where nothing has to be read, the request goes on as it came.
    assert!(application.last().contains("accept-encoding: gzip\r\n"));
    application.says("200 OK\r\nContent-Length: 2", "ok");
    assert_eq!(world.get("/t/acme/pipes/p1", &gina).status, 200);
    // Another pipe is none of theirs.
    assert_eq!(world.get("/t/acme/pipes/p2", &gina).code(), "permission_missing");
    let intent = &world.of_kind("access.intent")[0];
    assert_eq!((&intent["creates"], &intent["roles"]), (&json!("pipe"), &json!(["guest"])));
    assert_eq!(world.outcome_of(intent["exchange"].as_str().unwrap())["effect"], "done");
    let gina_is = json!({ "issuer": "app", "sub": "gina" });
    let pipe = json!({ "type": "pipe", "id": "p1" });
    let exchange = &intent["exchange"];
    assert_eq!(
        events(&world, exchange),
        [
            json!({ "event": "resource_learned", "resource": pipe, "exchange": exchange, "creator": gina_is }),
            json!({ "event": "member_became", "member": gina_is, "roles": ["person"], "was": ["guest"], "exchange": exchange }),
            json!({ "event": "seats_changed", "from": 0, "to": 1 }),
            json!({ "event": "resource_joined", "resource": pipe, "member": gina_is, "role": "lead" }),
        ]
    );
    let change =
        world.of_kind("change.intent").into_iter().rfind(|intent| intent["command"] == "learn_resource");
    assert_eq!(change.unwrap()["actor"], "application");
    world.finish();
}

// PFP-04
#[test]
fn a_card_is_its_makers_and_lies_where_it_was_made_however_the_answer_comes() {
    let application = Application::start();
    let world = World::of(plan(&application));
    let crm = program(&world, "crm");
    assert_eq!(call(&world, "PUT", "/tenants/acme/resources/pipe/p1", &crm, "{}").status, 200);
    for sub in ["hanna", "hugo"] {
        row(&world, sub, "person");
        let path = format!("/tenants/acme/resources/pipe/p1/members/app.{}", URL_SAFE_NO_PAD.encode(sub));
        assert_eq!(call(&world, "PUT", &path, &crm, r#"{"role": "hand"}"#).status, 200);
    }
    let [hanna, hugo] = ["hanna", "hugo"].map(|sub| world.people.member(sub, "acme", &[]));
    let json = "201 Created\r\nContent-Type: application/json; charset=utf-8";
    let head = |length: &str| format!("HTTP/1.1 {json}\r\n{length}\r\nConnection: close\r\n\r\n");
    let said = |text: &str| Deed::Say(text.as_bytes().to_vec());
    let (go, wait) = std::sync::mpsc::channel();
    let (go_on, wait_on) = std::sync::mpsc::channel();
    for _ in 0..2 {
        go.send(()).unwrap();
    }
    go_on.send(()).unwrap();
    let body = r#"{"id":"c9","data":{"id":"c1","title":"\u00e9"}}"#;
    let ways: Vec<Vec<Deed>> = vec![
        vec![said(&(head(&format!("Content-Length: {}", body.len())) + body))],
        // In chunks, of which one splits the id; with pauses.
        vec![
            said(&head("Transfer-Encoding: chunked")),
            Deed::Wait(wait),
            said("14;a=b\r\n{\"id\":\"c9\",\"data\":{\"\r\n7"),
            Deed::Wait(wait_on),
            said("\r\nid\":\"c2\r\n1\r\n\"\r\n2\r\n}}\r\n0\r\n\r\n"),
        ],
        // To the end of the connection.
        vec![said(&(head("X-Last: 1") + r#"{"data":{"id":3}}"#))],
    ];
    for (deeds, (id, text)) in ways.into_iter().zip([
        ("c1", body),
        ("c2", r#"{"id":"c9","data":{"id":"c2"}}"#),
        ("3", r#"{"data":{"id":3}}"#),
    ]) {
        application.next(deeds);
        let reply = post(&world, "/t/acme/pipes/p1/cards", &hanna);
        assert_eq!((reply.status, reply.text().as_str()), (201, text));
        assert!(application.last().contains("accept-encoding: identity\r\n"), "{}", application.last());
        application.says("200 OK\r\nContent-Length: 2", "ok");
        assert_eq!(world.get(&format!("/t/acme/cards/{id}"), &hanna).status, 200, "{id}");
        assert_eq!(world.get(&format!("/t/acme/cards/{id}"), &hugo).code(), "permission_missing", "{id}");
        let known: Value = serde_json::from_slice(&resource(&world, "card", id).body).unwrap();
        assert_eq!(
            (&known["parent"]["id"], &known["creator"]["sub"]),
            (&json!("p1"), &json!("hanna")),
            "{known}"
        );
    }
    world.finish();
}

// PFP-04
#[test]
fn what_cannot_be_read_in_one_way_is_unknown_and_passes_as_it_came() {
    let application = Application::start();
    let world = World::of(plan(&application));
    row(&world, "gina", "person");
    let gina = world.people.member("gina", "acme", &[]);
    let crm = program(&world, "crm");
    assert_eq!(call(&world, "PUT", "/tenants/acme/resources/pipe/p0", &crm, "{}").status, 200);
    let path = format!("/tenants/acme/resources/pipe/p0/members/app.{}", URL_SAFE_NO_PAD.encode("gina"));
    assert_eq!(call(&world, "PUT", &path, &crm, r#"{"role": "hand"}"#).status, 200);
    let large = format!("{{\"data\":{{\"id\":\"c1\",\"text\":\"{}\"}}}}", "x".repeat(64 << 10));
    let pipes = [
        ("201 Created", "location_missing"),
        ("201 Created\r\nLocation: https://evil.example/t/acme/pipes/p1", "location_elsewhere"),
        ("201 Created\r\nLocation: /t/globex/pipes/p1", "location_unlike"),
        ("201 Created\r\nLocation: /t/acme/pipes/x/../p1", "location_unlike"),
        ("201 Created\r\nLocation: /t/acme/pipes/p1?full=1", "location_unlike"),
        ("201 Created\r\nLocation: /t/acme/pipes/-p1", "id_malformed"),
        ("201 Created\r\nContent_Location: x\r\nLocation: p1", "location_unlike"),
    ];
    let json = "201 Created\r\nContent-Type: application/json";
    let cards = [
        ("201 Created\r\nContent-Type: text/html", r#"{"data":{"id":"c1"}}"#, "answer_not_json"),
        ("201 Created", r#"{"data":{"id":"c1"}}"#, "answer_not_json"),
        (&*format!("{json}\r\nContent-Encoding: gzip"), "\u{1}\u{2}", "answer_coded"),
        (json, "{\"data\":{\"id\":\"c1\"}", "answer_unreadable"),
        (json, r#"{"data":{"id":"c1"}} {}"#, "answer_unreadable"),
        (json, r#"{"data":{}}"#, "id_missing"),
        (json, "", "answer_unreadable"),
        (json, r#"{"data":{"id":"c1","id":"c1"}}"#, "id_twice"),
        (json, r#"{"data":{"id":"c/1"}}"#, "id_malformed"),
        (json, &large, "answer_too_large"),
    ];
    let pipes = pipes.iter().map(|(head, code)| ("/t/acme/pipes", (*head).to_owned(), "ok", *code));
    let cards =
        cards.iter().map(|(head, body, code)| ("/t/acme/pipes/p0/cards", (*head).to_owned(), *body, *code));
    for (target, head, body, code) in pipes.chain(cards) {
        application.says(&format!("{head}\r\nContent-Length: {}", body.len()), body);
        let reply = post(&world, target, &gina);
        assert_eq!((reply.status, reply.text().as_str()), (201, body), "{head}");
        let outcome = world.last_outcome();
        assert_eq!(
            (&outcome["end"], &outcome["effect"], &outcome["effect_fault"]),
            (&json!("complete"), &json!("unknown"), &json!(code)),
            "{head} {outcome}"
        );
    }
    // Only one status says that something was made.
    for status in ["200 OK", "202 Accepted", "204 No Content", "303 See Other", "409 Conflict", "500 Oops"] {
        let more = if status.starts_with("204") { "" } else { "\r\nContent-Length: 0" };
        application.says(&format!("{status}\r\nLocation: /t/acme/pipes/p1{more}"), "");
        assert_eq!(post(&world, "/t/acme/pipes", &gina).status.to_string(), status[..3]);
        assert_eq!(world.last_outcome()["effect"], Value::Null, "{status}");
    }
    assert_eq!(resource(&world, "pipe", "p1").status, 404);
    // A body that trickles is not waited for: what came of it goes on, and the rest behind it.
    let (go, wait) = std::sync::mpsc::channel();
    application.next(vec![
        Deed::Say(
            format!("HTTP/1.1 {json}\r\nContent-Length: 20\r\nConnection: close\r\n\r\n{{\"data\":")
                .into_bytes(),
        ),
        Deed::Wait(wait),
        Deed::Say(b"{\"id\":\"c1\"}}".to_vec()),
    ]);
    let mut client = world.client();
    client.send(request("POST", "/t/acme/pipes/p0/cards", &gina, "Content-Length: 0\r\n"));
    assert!(client.head().contains(" 201 "), "the head waits no longer than an answer may take");
    go.send(()).unwrap();
    while client.inbox.len() < 20 {
        client.more();
    }
    assert_eq!(client.inbox, b"{\"data\":{\"id\":\"c1\"}}");
    assert_eq!(world.last_outcome()["effect_fault"], "answer_too_slow");
    // Nobody hears of one that breaks within its body; what came passes.
    application.next(vec![Deed::Say(
        format!("HTTP/1.1 {json}\r\nContent-Length: 40\r\nConnection: close\r\n\r\n{{\"data\":").into_bytes(),
    )]);
    let mut client = world.client();
    client.send(request("POST", "/t/acme/pipes/p0/cards", &gina, "Content-Length: 0\r\n"));
    assert!(client.head().contains(" 201 "));
    let outcome = world.last_outcome();
    assert_eq!((&outcome["effect"], &outcome["end"]), (&json!("unknown"), &json!("upstream_failed")));
    world.finish();
}

#[test]
fn a_client_that_leaves_before_the_answer_has_made_it_all_the_same() {
    let application = Application::start();
    let world = World::of(plan(&application));
    row(&world, "gina", "guest");
    let gina = world.people.member("gina", "acme", &[]);
    let (go, wait) = std::sync::mpsc::channel();
    application.next(vec![
        Deed::Wait(wait),
        Deed::Say(format!("HTTP/1.1 {PIPE}\r\nConnection: close\r\n\r\nok").into_bytes()),
    ]);
    let mut client = world.client();
    client.send(request("POST", "/t/acme/pipes", &gina, "Content-Length: 0\r\n"));
    until("the application is asked", || !application.asked.lock().unwrap().is_empty());
    drop(client);
    // The exchange goes on, whoever has gone.
    for _ in 0..100 {
        assert_eq!(world.gateway().engine().registry().len(), 1);
        std::thread::sleep(Duration::from_millis(2));
    }
    go.send(()).unwrap();
    let outcome = world.last_outcome();
    assert_eq!((&outcome["status"], &outcome["effect"]), (&json!(201), &json!("done")), "{outcome}");
    assert_eq!(resource(&world, "pipe", "p1").status, 200);
    // Where the answer never comes, nobody knows.
    application.next(vec![]);
    assert_eq!(post(&world, "/t/acme/pipes", &gina).status, 502);
    let outcome = world.last_outcome();
    assert_eq!(
        (&outcome["end"], &outcome["effect"]),
        (&json!("upstream_failed"), &json!("open")),
        "{outcome}"
    );
    world.finish();
}

// PFC-18
#[test]
fn a_crash_before_the_outcome_is_shown_as_open_and_what_was_committed_is_in_force() {
    let application = Application::start();
    for (step, is_there) in
        [(Step::AccessRecorded, false), (Step::ChangeRecorded, false), (Step::ChangeCommitted, true)]
    {
        let plan = Plan { upstream: None, ..plan(&application) };
        let mut world = World::of(plan);
        row(&world, "gina", "guest");
        let gina = world.people.member("gina", "acme", &[]);
        until("it is at rest", || world.gateway().engine().journal().status().open_intents == 0);
        world.gateway.take().unwrap().stop();
        let mut child = Child::start(&world, Some(step), "die");
        child.tell("arm");
        child.hear("armed");
        let mut client = Client::connect(child.address);
        client.send(request(
            "POST",
            "/t/acme/pipes?do=created&at=/t/acme/pipes/p1",
            &gina,
            "Content-Length: 0\r\n",
        ));
        assert_ne!(client.more(), Ending::Open, "nothing is answered");
        child.gone();
        world.up();
        let outcome = world.last_outcome();
        assert_eq!((&outcome["end"], &outcome["effect"]), (&json!("unknown"), &json!("open")), "{step:?}");
        assert_eq!(world.get("/t/acme/pipes/p1", &gina).status == 200, is_there, "{step:?}");
        assert_eq!(resource(&world, "pipe", "p1").status == 200, is_there, "{step:?}");
        let exchange = &outcome["exchange"];
        assert_eq!(events(&world, exchange).is_empty(), !is_there, "{step:?}");
        world.finish();
    }
}

#[test]
fn over_http_2_it_is_the_same_on_both_sides() {
    let application = crate::onward::application::Application::start();
    let world = clear(plan_at(application.address).edit(URL, PLAIN));
    let (crm, gina) = (program(&world, "crm"), world.people.member("gina", "acme", &[]));
    let peer = Peer::connect(world.gateway().address());
    let at = URL_SAFE_NO_PAD.encode("gina");
    for (path, body) in [
        (format!("members/app.{at}"), r#"{"roles":["person"]}"#),
        ("resources/pipe/p1".to_owned(), "{}"),
        (format!("resources/pipe/p1/members/app.{at}"), r#"{"role":"hand"}"#),
    ] {
        let (path, json) =
            (format!("/_postern/v1/tenants/acme/{path}"), ("content-type", "application/json"));
        let (response, mut stream) = peer.begin("PUT", &path, &crm, &[json], false);
        stream.send_data(body.as_bytes().to_vec().into(), true).unwrap();
        assert_eq!(peer.answer(response).unwrap().status, 200, "{path}");
    }
    let answer = peer.post("/t/acme/pipes/p1/cards?do=created", &gina, &[], b"");
    assert_eq!((answer.status, &*answer.body), (201, &br#"{"data":{"id":"c1"}}"#[..]));
    assert_eq!(application.last().headers["accept-encoding"], "identity");
    assert_eq!(world.last_outcome()["effect"], "done");
    assert_eq!(peer.get("/t/acme/cards/c1?do=count", &gina).status, 200);
    assert_eq!(peer.get("/t/acme/cards/c2?do=count", &gina).status, 403);
    drop(peer);
    world.finish();
}
