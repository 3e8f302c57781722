//! Lists that the application narrows: it is asked for no more than the caller may see, in a query that only the gateway writes.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use postern::{
    engine::new_id,
    lifecycle::{Command, Until, WantedBasis},
    model::{GrantId, Grantee, RoleName, Scope, Span},
};
use serde_json::{Value, json};

use crate::{
    client::Reply,
    http2::peer::Peer,
    narrowed::{Application, BOARDS, ORDERS},
    onward,
    services::{call, program, with_services},
    world::*,
};

const CARDS: &str = "- { route: \"GET /t/{tenant}/orders\", permission: orders:read }
  - { route: \"GET /t/{tenant}/b/{board}/cards\", permission: orders:read, resource: { type: board, id: board }, narrow: { query: { visible_to: \"{subject}\" } } }
  - { route: \"GET /t/{tenant}/b/{board}/report\", permission: orders:read, record: true, resource: { type: board, id: board }, narrow: { query: { \"filter[of]\": \"{tenant}.{subject}\", mine: \"1\" } } }";

/// A member of board `b1` who sees what is theirs (clara), and one who sees all of it (lena).
pub fn people_of_boards(plan: Plan) -> Plan {
    with_services(plan)
        .edit("\"members:push\"", "\"members:push\", \"resources:push\"")
        .edit(BOARDS.0, BOARDS.1)
}

/// Says something of a resource, as a service does.
pub fn push(world: &World, path: &str, body: &str) {
    let path = format!("/tenants/acme/resources/{path}");
    let reply = call(world, "PUT", &path, &program(world, "crm"), body);
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// Puts them there.
pub fn settle(world: &World, members: &[(&str, &str)]) {
    push(world, "board/b1", "{}");
    for (sub, role) in members {
        let path = format!("board/b1/members/app.{}", URL_SAFE_NO_PAD.encode(sub));
        push(world, &path, &format!(r#"{{"role": "{role}"}}"#));
    }
}

fn stage(edit: impl Fn(Plan) -> Plan, in_clear: bool) -> (World, Application) {
    let application = Application::start();
    let plan = people_of_boards(Plan { upstream: Some(application.address), ..Plan::default() });
    let plan = edit(plan.edit(ORDERS, CARDS));
    let members = [("clara", "restricted"), ("lena", "lead"), ("fred", "form"), ("a,b", "restricted")];
    let mut world = World::of(plan);
    settle(&world, &members);
    if in_clear {
        // The same state behind an entrance that speaks HTTP/2 alone.
        world.gateway.take().unwrap().stop();
        world.edits.push(("workers: 2", "workers: 2\nhttp2: prior_knowledge"));
        world.up();
    }
    (world, application)
}

fn first_line(application: &Application) -> String {
    application.asked.lock().unwrap().last().unwrap().lines().next().unwrap().to_owned()
}

fn ask(world: &World, method: &str, target: &str, sub: &str, more: &str) -> Reply {
    world.ask(method, &format!("/t/acme/b/b1/{target}"), &world.people.member(sub, "acme", &[]), more)
}

/// The person lets the desk act as them, and `sam` of the desk does.
pub fn act_as(world: &World, person: &str) -> String {
    let sam = world.people.staff("sam");
    let whoever = world.people.member(person, "acme", &[]);
    let lend = r#"{"environment":"production","for":"1d"}"#;
    let lent = call(world, "PUT", "/tenants/acme/login-access/desk", &whoever, lend);
    assert_eq!(lent.status, 201, "{}", lent.text());
    let lent: Value = serde_json::from_slice(&lent.body).unwrap();
    let basis = json!({ "act_as": lent["confirmation"] });
    let start = json!({ "environment": "production", "basis": basis, "reason": "a case" }).to_string();
    let began = call(world, "POST", "/tenants/acme/sessions", &sam, &start);
    assert_eq!(began.status, 201, "{}", began.text());
    sam
}

const LAST: &str = "sessions: { last: 8h }";
const LENT: &str =
    "sessions: { last: 8h }\nact_as: { durations: [1d], organisations: { desk: { issuer: vendor } } }";
const BOTH: &str = "- { route: \"GET /t/{tenant}/orders\", permission: orders:read }
  - { route: \"GET /t/{tenant}/b/{board}/cards\", permission: orders:read, resource: { type: board, id: board }, narrow: { query: { visible_to: \"{subject}\" } } }
  - { route: \"GET /t/{tenant}/b/{board}/list\", permission: orders:read, resource: { type: board, id: board }, narrow: { filter: { type: card, list: /cards, id: /id } } }
  - { route: \"GET /t/{tenant}/b/{board}/all\", permission: orders:read, resource: { type: board, id: board }, narrow: refuse }";

/// Cards of clara's, and of others.
fn cards(world: &World) -> &'static str {
    for (card, body) in [
        ("c1", r#"{"parent": "b1", "creator": {"issuer": "app", "sub": "clara"}}"#),
        ("c2", r#"{"parent": "b1", "creator": {"issuer": "app", "sub": "lena"}}"#),
        ("c3", r#"{"parent": "b1", "assignees": [{"issuer": "app", "sub": "clara"}]}"#),
        ("c4", r#"{"parent": "b1"}"#),
    ] {
        push(world, &format!("card/{card}"), body);
    }
    r#"{"cards":[{"id":"c1"},{"id":"c2"},{"id":"c3"},{"id":"c4"}]}"#
}

fn with_both(edit: impl Fn(Plan) -> Plan, members: &[(&str, &str)]) -> (World, Application, &'static str) {
    let application = Application::start();
    let plan = people_of_boards(Plan { upstream: Some(application.address), ..Plan::default() });
    let world = World::of(edit(plan.edit(ORDERS, BOTH)));
    settle(&world, members);
    let all = cards(&world);
    (world, application, all)
}

// PFP-04
// PFP-16
#[test]
fn whoever_acts_as_somebody_sees_of_a_list_what_they_see_and_the_record_says_so() {
    let (world, application, all) = with_both(|plan| plan.edit(LAST, LENT), &[("clara", "restricted")]);
    let intent = || world.of_kind("access.intent").pop().unwrap();
    let sam = act_as(&world, "clara");
    application.lists(all);
    let reply = world.get("/t/acme/b/b1/list", &sam);
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"cards":[{"id":"c1"},{"id":"c3"}]}"#));
    let told = intent();
    assert_eq!((&told["subject"]["sub"], &told["acting_as"]["sub"]), (&"sam".into(), &"clara".into()));
    assert_eq!(told["narrowed"], "filter");
    application.says(HEAD, BODY);
    let reply = world.get("/t/acme/b/b1/cards?page=1", &sam);
    assert_eq!((reply.status, reply.text().as_str()), (200, BODY));
    assert_eq!(first_line(&application), "GET /t/acme/b/b1/cards?visible_to=clara&page=1 HTTP/1.1");
    assert_eq!((&intent()["narrowed"], reply.values("set-cookie").len()), (&"query".into(), 0));
    for refused in ["cards?visible_to=lena", "cards?visible_to=sam"] {
        let reply = world.get(&format!("/t/acme/b/b1/{refused}"), &sam);
        assert_eq!((reply.status, reply.code().as_str()), (400, "narrow_parameter_sent"), "{refused}");
    }
    let reply = world.get("/t/acme/b/b1/all", &sam);
    assert_eq!((reply.status, reply.code().as_str()), (403, "permission_missing"));
    // What is hers no longer is shown to nobody who acts as her.
    push(&world, "card/c3", r#"{"parent": "b1", "assignees": []}"#);
    application.lists(all);
    assert_eq!(world.get("/t/acme/b/b1/list", &sam).text(), r#"{"cards":[{"id":"c1"}]}"#);
    world.finish();
}

#[test]
fn whoever_acts_as_somebody_who_sees_all_or_nothing_gets_that() {
    for (person, status) in [("lena", 200), ("fred", 403)] {
        let members = [("lena", "lead"), ("fred", "form")];
        let (world, application, all) = with_both(|plan| plan.edit(LAST, LENT), &members);
        let sam = act_as(&world, person);
        for path in ["list", "cards?visible_to=x"] {
            if status == 200 {
                application.lists(all);
            }
            let reply = world.get(&format!("/t/acme/b/b1/{path}"), &sam);
            assert_eq!(reply.status, status, "{person} {path}: {}", reply.text());
            if status == 200 {
                assert_eq!(reply.text(), all);
                assert!(world.of_kind("access.intent").pop().unwrap().get("narrowed").is_none());
            }
        }
        world.finish();
    }
}

// PFP-16
#[test]
fn both_ways_hold_towards_an_application_that_speaks_http2() {
    let application = onward::application::Application::start();
    let plan = people_of_boards(Plan { upstream: Some(application.address), ..Plan::default() });
    let plan = plan.edit(ORDERS, BOTH).edit(LAST, LENT).edit(onward::URL, onward::GRPC);
    let world = World::of(plan.edit("workers: 2", "workers: 1"));
    settle(&world, &[("clara", "restricted"), ("lena", "lead")]);
    cards(&world);
    let (clara, sam) = (world.people.member("clara", "acme", &[]), act_as(&world, "clara"));
    let hers = r#"{"cards":[{"id":"c1"},{"id":"c3"}]}"#;
    let whole = r#"{"cards":[{"id":"c1"},{"id":"c2"},{"id":"c3"},{"id":"c4"}],"total":4}"#;
    let more = "Range: bytes=0-3\r\nAccept-Encoding: gzip\r\nTE: trailers\r\nConnection: TE\r\n";
    for caller in [&clara, &sam] {
        let reply = world.ask("GET", "/t/acme/b/b1/list?do=cards", caller, more);
        assert_eq!((reply.status, reply.text().as_str()), (200, hers));
        for gone in ["etag", "x-total-count", "content-length", "grpc-status"] {
            assert!(reply.values(gone).is_empty(), "{gone}: {}", reply.head);
        }
        let seen = application.last();
        assert!(seen.uri.ends_with("/t/acme/b/b1/list?do=cards"), "{}", seen.uri);
        assert!(seen.headers.get("range").is_none() && seen.headers["accept-encoding"] == "identity");
        let reply = world.ask("GET", "/t/acme/b/b1/cards?do=cards&page=2", caller, "");
        assert_eq!((reply.status, reply.text().as_str()), (200, whole));
        assert_eq!(reply.values("cache-control"), ["no-store"]);
        let seen = application.last();
        assert!(seen.uri.ends_with("/t/acme/b/b1/cards?visible_to=clara&do=cards&page=2"), "{}", seen.uri);
        let before = application.seen().len();
        let reply = world.ask("GET", "/t/acme/b/b1/cards?do=cards&visible_to=lena", caller, "");
        assert_eq!((reply.status, reply.code().as_str()), (400, "narrow_parameter_sent"));
        assert_eq!(application.seen().len(), before);
        let reply = world.ask("GET", "/t/acme/b/b1/list?do=cards-broken", caller, "");
        assert_eq!((reply.status, reply.code().as_str()), (502, "narrow_not_json"));
    }
    let lena = world.people.member("lena", "acme", &[]);
    let reply = world.ask("GET", "/t/acme/b/b1/list?do=cards", &lena, "");
    assert_eq!((reply.text().as_str(), reply.values("etag")), (whole, vec!["\"a\"".to_owned()]));
    // What could not be narrowed ended its own stream and nobody else's.
    assert_eq!(application.connections(), 1);
    world.finish();
}

// PFP-16
#[test]
fn a_grant_that_names_resources_is_not_narrowed_by_an_application_that_knows_no_grants() {
    let (world, application, all) = with_both(|plan| plan, &[]);
    let agent = world.people.staff("sam");
    let grant = GrantId::new(&new_id("gra", world.now()).unwrap()).unwrap();
    let command = Command::MakeGrant {
        tenant: tenant("acme"),
        grant: grant.clone(),
        environment: production(),
        to: Grantee::Support,
        role: RoleName::new("admin").unwrap(),
        scope: Scope::Resources([("card".parse().unwrap(), "c2".parse().unwrap())].into()),
        until: Until::For(Span::Millis(28_800_000)),
    };
    world.done(command, &world.people.admin("acme"));
    world.session_on("acme", &agent, WantedBasis::Grant(grant), None);
    application.lists(all);
    let reply = world.get("/t/acme/b/b1/list", &agent);
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"cards":[{"id":"c2"}]}"#));
    assert_eq!(world.of_kind("access.intent").pop().unwrap()["narrowed"], "filter");
    let reply = world.get("/t/acme/b/b1/cards", &agent);
    assert_eq!((reply.status, reply.code().as_str()), (403, "grant_scope"));
    world.finish();
}

const HEAD: &str = "200 OK\r\nContent-Type: text/csv\r\nContent-Length: 9\r\nETag: \"a\"\r\nX-Total-Count: 2\r\nSet-Cookie: a=b\r\nExpires: Thu, 01 Jan 2099 00:00:00 GMT\r\nCache-Control: public, max-age=60\r\nSurrogate-Control: max-age=60";
const BODY: &str = "c1,mine\r\n";

// PFP-04
// PFP-16
#[test]
fn the_application_is_asked_for_the_callers_part_and_its_answer_passes() {
    let (world, application) = stage(|plan| plan, false);
    application.says(HEAD, BODY);
    let reply =
        ask(&world, "GET", "cards?page=2&q=a+b%20c", "clara", "If-None-Match: \"b\"\r\nRange: bytes=0-3\r\n");
    assert_eq!((reply.status, reply.text().as_str()), (200, BODY));
    assert_eq!(first_line(&application), "GET /t/acme/b/b1/cards?visible_to=clara&page=2&q=a+b%20c HTTP/1.1");
    // What it says for that address is its promise; only that nobody keeps it, who knows it by another address.
    assert_eq!(
        (reply.values("etag"), reply.values("x-total-count")),
        (vec!["\"a\"".into()], vec!["2".into()])
    );
    assert_eq!(
        (reply.values("set-cookie"), reply.values("cache-control")),
        (vec!["a=b".into()], vec!["no-store".into()])
    );
    for gone in ["expires", "surrogate-control"] {
        assert!(reply.values(gone).is_empty(), "{gone}");
    }
    let asked = application.last();
    assert!(asked.contains("if-none-match: \"b\"\r\n") && asked.contains("range: bytes=0-3\r\n"), "{asked}");
    application.says(HEAD, "");
    assert_eq!(ask(&world, "HEAD", "cards", "clara", "").status, 200);
    assert_eq!(first_line(&application), "HEAD /t/acme/b/b1/cards?visible_to=clara HTTP/1.1");
    application.says(HEAD, BODY);
    assert_eq!(ask(&world, "GET", "cards?", "clara", "").status, 200);
    assert_eq!(first_line(&application), "GET /t/acme/b/b1/cards?visible_to=clara HTTP/1.1");
    // A link of the application's to the next page says it again.
    application.says(HEAD, BODY);
    assert_eq!(ask(&world, "GET", "cards?cursor=7&visible_to=clara", "clara", "").status, 200);
    assert_eq!(first_line(&application), "GET /t/acme/b/b1/cards?visible_to=clara&cursor=7 HTTP/1.1");
    // Several, recorded.
    application.says(HEAD, BODY);
    assert_eq!(ask(&world, "GET", "report?x", "clara", "").status, 200);
    assert_eq!(
        first_line(&application),
        "GET /t/acme/b/b1/report?filter%5Bof%5D=acme.clara&mine=1&x HTTP/1.1"
    );
    let intent = world.of_kind("access.intent").pop().unwrap();
    assert_eq!((&intent["path"], &intent["narrowed"]), (&"/t/acme/b/b1/report".into(), &"query".into()));
    // Whoever may see all of it asks for what they like, and gets what there is.
    application.says(HEAD, BODY);
    let reply = ask(&world, "GET", "cards?visible_to=clara&visible_to[]=x;y", "lena", "");
    assert_eq!((reply.status, reply.values("cache-control")), (200, vec!["public, max-age=60".into()]));
    assert_eq!(first_line(&application), "GET /t/acme/b/b1/cards?visible_to=clara&visible_to[]=x;y HTTP/1.1");
    for nobody in ["fred", "nora"] {
        let reply = ask(&world, "GET", "cards", nobody, "");
        assert_eq!((reply.status, reply.code()), (403, "permission_missing".to_owned()), "{nobody}");
    }
    world.finish();
}

// PFP-16
#[test]
fn nothing_that_could_be_taken_for_the_gateways_own_goes_out() {
    let (world, application) = stage(|plan| plan, false);
    let long = format!("cards?q={}", "a".repeat(8170));
    for (target, more, status, code) in [
        ("cards?visible_to=lena", "", 400, "narrow_parameter_sent"),
        ("cards?a=1&visible_to[]=lena", "", 400, "narrow_parameter_sent"),
        ("cards?visible%5Fto=lena", "", 400, "narrow_parameter_sent"),
        ("cards?Visible-To=lena", "", 400, "narrow_parameter_sent"),
        ("cards?a=1%26visible_to=lena", "", 400, "narrow_parameter_sent"),
        ("cards?visible_to=clara&visible_to=lena", "", 400, "narrow_parameter_sent"),
        ("report?filter[state]=open", "", 400, "narrow_parameter_sent"),
        ("report?mine", "", 400, "narrow_parameter_sent"),
        ("cards?a=1;visible_to=lena", "", 400, "narrow_query_unclear"),
        ("cards?a=%zz", "", 400, "narrow_query_unclear"),
        (
            "cards",
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 15\r\n\r\nvisible_to=lena",
            400,
            "body_unexpected",
        ),
        (&long, "", 414, "target_too_long"),
    ] {
        let reply = ask(&world, "GET", target, "clara", more);
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{target}");
    }
    // A name that an application could read as two asks for nothing.
    let reply = ask(&world, "GET", "cards", "a,b", "");
    assert_eq!((reply.status, reply.code().as_str()), (400, "narrow_value_unfit"));
    assert!(application.asked.lock().unwrap().is_empty());
    until("both are written", || world.of_kind("access.outcome").len() == 2);
    let refused = world.of_kind("access.outcome");
    let told: Vec<_> = refused.iter().map(|outcome| (&outcome["end"], &outcome["fault"])).collect();
    assert_eq!(told, vec![(&"not_forwarded".into(), &"narrow_parameter_sent".into()); 2]);
    world.finish();
}

// PFP-16
#[test]
fn what_is_asked_is_what_goes_out_behind_a_rewritten_path_and_by_http2() {
    let (world, application) = stage(
        |plan| {
            plan.edit(
                "    headers: { X-Remote-User",
                "    strip_prefix: /t\n    add_prefix: /api\n    assert: everyone\n    headers: { X-Remote-User",
            )
            .edit("GET /public/{*rest}", "GET /t/{tenant}/public/{*rest}")
        },
        true,
    );
    let peer = Peer::connect(world.gateway().address());
    let clara = world.people.member("clara", "acme", &[]);
    application.says(HEAD, BODY);
    let answer = peer.get("/t/acme/b/b1/cards?a=1", &clara);
    assert_eq!((answer.status, answer.body.as_slice()), (200, BODY.as_bytes()));
    assert_eq!(first_line(&application), "GET /api/acme/b/b1/cards?visible_to=clara&a=1 HTTP/1.1");
    // What is asserted is of what was sent.
    let line = application.asked.lock().unwrap().last().unwrap().clone();
    let assertion = line.lines().find_map(|line| line.strip_prefix("postern-assertion: ")).unwrap();
    let claims = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((&claims["path"], &claims["sub"]), (&"/api/acme/b/b1/cards".into(), &"clara".into()));
    let answer = peer.get("/t/acme/b/b1/cards?visible_to=lena", &clara);
    assert_eq!((answer.status, answer.code().as_str()), (400, "narrow_parameter_sent"));
    let answer = peer.post("/t/acme/b/b1/cards", &clara, &[], b"visible_to=lena");
    assert_eq!((answer.status, answer.code().as_str()), (403, "method_unmapped"));
    drop(peer);
    world.finish();
}
