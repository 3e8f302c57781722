//! Refusals as pages for people, by what their browsers say; everybody else gets problems.

use std::path::Path;

use crate::{
    client::Reply,
    http2::peer::{Peer, clear},
    world::*,
};

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";

/// Compares with a file beside this one, the exchange's id aside. With `POSTERN_BLESS` set it writes the file instead.
fn golden(name: &str, reply: &Reply) {
    let mut text = reply.text();
    if let Some(at) = text.find("exc_") {
        let end = text[at..].find('<').unwrap() + at;
        text.replace_range(at..end, "exc_…");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/pages").join(format!("{name}.html"));
    if std::env::var_os("POSTERN_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, wanted, "differs from {}; POSTERN_BLESS=1 accepts it", path.display());
}

fn is_page(reply: &Reply) {
    assert_eq!(reply.values("content-type"), ["text/html; charset=utf-8"], "{}", reply.head);
    assert_eq!(reply.values("cache-control"), ["no-store"]);
    assert_eq!(reply.values("vary"), ["Accept, Sec-Fetch-Dest, Sec-Fetch-Mode"]);
    assert_eq!(reply.values("x-content-type-options"), ["nosniff"]);
    let policy = reply.values("content-security-policy").concat();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
}

/// The same refusal as a page and as a problem: same status, challenge, code and words.
fn both(world: &World, name: &str, target: &str, token: &str, status: u16, code: &str) {
    let page = world.ask("GET", target, token, BROWSER);
    let problem = world.ask("GET", target, token, "");
    assert_eq!((page.status, problem.status, problem.code().as_str()), (status, status, code), "{name}");
    is_page(&page);
    assert_eq!(page.values("www-authenticate"), problem.values("www-authenticate"));
    assert_eq!(problem.values("content-type"), ["application/problem+json"]);
    assert_eq!(problem.values("vary"), page.values("vary"));
    assert!(problem.values("content-security-policy").is_empty());
    let said: serde_json::Value = serde_json::from_slice(&problem.body).unwrap();
    let detail = said["detail"].as_str().unwrap().replace('\'', "&#39;");
    let text = page.text();
    assert!(text.contains(&detail[1..]) && text.contains(&format!("<code>{code}</code>")), "{text}");
    golden(name, &page);
}

#[test]
fn who_is_refused_is_told_what_to_do_next_in_their_role() {
    let plan = Plan::default().edit(
        "  - { route: \"GET /public/{*rest}\", public: true }\n",
        "  - { route: \"GET /public/{*rest}\", public: true }\n  - { route: \"GET /t/{tenant}/keys\", permission: users:manage }\n",
    );
    let world = World::of(plan);
    let (agent, other) = (world.people.staff("sam"), world.people.staff("pat"));
    world.start_session("acme", &agent);
    let guest = world.people.member("gina", "acme", &[]);
    both(&world, "nobody", "/t/acme/orders", "", 401, "token_missing");
    both(&world, "unverified", "/t/acme/orders", "nonsense", 401, "token_invalid");
    both(&world, "no_session", "/t/acme/orders", &other, 403, "session_missing");
    both(&world, "ceiling", "/t/acme/keys", &agent, 403, "ceiling");
    both(&world, "member", "/t/acme/orders", &guest, 403, "permission_missing");
    both(&world, "malformed", "/t/acme/../orders", &guest, 400, "path_dot_segment");
    world.finish();
}

#[test]
fn an_application_that_fails_is_told_of_with_the_exchange() {
    let world = World::of(Plan::default().edit("response_timeout: 3s", "response_timeout: 500ms"));
    let (agent, admin) = (world.people.staff("sam"), world.people.admin("acme"));
    world.start_session("acme", &agent);
    both(&world, "upstream_staff", "/t/acme/orders?do=hang-up", &agent, 502, "upstream_closed");
    let page = world.ask("GET", "/t/acme/orders?do=hang-up", &agent, BROWSER);
    let exchange = world.last_outcome()["exchange"].as_str().unwrap().to_owned();
    assert!(page.text().contains(&exchange), "{}", page.text());
    both(&world, "upstream_member", "/t/acme/orders?do=stall", &admin, 504, "upstream_timeout");
    assert!(!world.ask("GET", "/t/acme/orders?do=hang-up", &admin, BROWSER).text().contains("exc_"));
    world.finish();
}

#[test]
fn rates_are_told_of_with_the_time_to_wait() {
    let world = World::of(Plan::default().edit("limits: {", "limits: { address_rate: 1, address_burst: 1,"));
    let ask = || world.ask("GET", "/public/page", "", BROWSER);
    until("the rate is reached", || ask().status == 429);
    let page = ask();
    is_page(&page);
    assert_eq!(page.values("retry-after").len(), 1);
    golden("too_many", &page);
    world.finish();
}

#[test]
fn programs_get_problems_and_the_support_api_gives_no_pages() {
    let world = World::start();
    for lines in [
        "Accept: */*\r\n",
        "Accept: application/json\r\n",
        "Accept: text/html\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n",
        "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n",
    ] {
        let reply = world.ask("GET", "/t/acme/orders", "", lines);
        assert_eq!((reply.status, reply.code().as_str()), (401, "token_missing"), "{lines}");
    }
    let reply = world.ask("GET", "/_postern/v1/session", "", BROWSER);
    assert_eq!(reply.values("content-type"), ["application/problem+json"], "{}", reply.head);
    // What an application answers passes as it is, its refusals too.
    let admin = world.people.admin("acme");
    assert_eq!(world.ask("GET", "/t/acme/orders?do=negotiate", &admin, BROWSER).status, 401);
    assert!(world.ask("GET", "/t/acme/orders", &admin, BROWSER).values("vary").is_empty());
    // Of one connection each request is told in its own form.
    let mut client = world.client();
    client.send(request("GET", "/t/acme/orders", "", BROWSER));
    is_page(&client.reply());
    client.send(request("GET", "/t/acme/orders", "", ""));
    assert_eq!(client.reply().code(), "token_missing");
    client.send(request("HEAD", "/t/acme/orders", "", BROWSER));
    let head = client.reply_to(true);
    is_page(&head);
    assert!(client.inbox.is_empty());
    world.finish();
}

#[test]
fn over_http2_it_is_the_same_page() {
    let world = clear(Plan::default());
    let peer = Peer::connect(world.gateway().address());
    let browser =
        [("accept", "text/html,*/*;q=0.8"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    let answer = peer.get_with("/t/acme/orders", "", &browser);
    assert_eq!(
        (answer.status, &answer.headers["content-type"]),
        (401, &http::HeaderValue::from_static("text/html; charset=utf-8"))
    );
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.starts_with("<!doctype html>\n<html lang=\"en\">"), "{text}");
    drop(peer);
    world.finish();
}
