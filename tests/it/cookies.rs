//! Tokens in cookies: members' alone, never two at once, never for the support API. And programs, who pass no route.

use crate::world::*;

const ORDERS: &str = "/t/acme/orders";

fn world() -> World {
    World::of(Plan::default().edit("kind: member", "kind: member\n    cookie: __Host-token"))
}

fn cookie(token: &str) -> String {
    format!("Cookie: __Host-token={token}\r\n")
}

// GW-02
#[test]
fn a_member_may_bring_a_token_in_the_cookie_of_its_issuer() {
    let world = world();
    let (mia, admin) = (world.people.member("mia", "acme", &["admin"]), world.people.admin("acme"));
    for line in [
        cookie(&mia),
        format!("Cookie: theme=dark; __Host-token={mia}; a\r\n"),
        format!("Cookie: theme=dark; x=y;__Host-token={mia};\tz=\r\n"),
        format!("Cookie: __Host-token={mia}; __Host-token={mia}; __Host-token=\r\n"),
        format!("Cookie: __Host-token={mia}\r\nAuthorization: Bearer {mia}\r\n"),
        format!("Cookie: __Host-token=\r\nAuthorization: Bearer {mia}\r\n"),
        format!("Cookie: __host-token={admin}\r\nAuthorization: Bearer {mia}\r\n"),
    ] {
        assert_eq!(world.ask("GET", ORDERS, "", &line).status, 200, "{line}");
        let seen = world.upstream.last();
        assert!(seen.values("Cookie").join(";").contains('='), "a member's own cookies pass");
        assert_eq!(seen.values("X-Remote-User"), ["mia"]);
    }
    for (line, code) in [
        ("Cookie: theme=dark\r\n".to_owned(), "token_missing"),
        ("Cookie: __Host-token=\r\n".to_owned(), "token_missing"),
        ("Cookie: __Host-token\r\n".to_owned(), "token_missing"),
        (format!("Cookie: token={mia}\r\n"), "token_missing"),
        (format!("Cookie: __host-token={mia}\r\n"), "token_missing"),
        (format!("Cookie: __Host-token=\"{mia}\"\r\n"), "token_invalid"),
        (format!("Cookie: __Host-token={mia}=\r\n"), "token_invalid"),
    ] {
        let refused = world.ask("GET", ORDERS, "", &line);
        assert_eq!((refused.status, refused.code().as_str()), (401, code), "{line}");
    }
    world.finish();
}

#[test]
fn of_two_different_tokens_none_counts() {
    let world = world();
    let (mia, admin) = (world.people.member("mia", "acme", &["admin"]), world.people.admin("acme"));
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    let before = world.upstream.seen().len();
    for line in [
        format!("Authorization: Bearer {mia}\r\nCookie: __Host-token={admin}\r\n"),
        format!("Authorization: Bearer {mia}\r\nCookie: __Host-token=junk\r\n"),
        format!("Authorization: Bearer junk\r\nCookie: __Host-token={mia}\r\n"),
        format!("Authorization: Bearer {agent}\r\nCookie: __Host-token={mia}\r\n"),
        format!("Cookie: __Host-token={mia}; __Host-token={admin}\r\n"),
        format!("Cookie: __Host-token={mia}; __Host-token={admin}\r\nAuthorization: Bearer {mia}\r\n"),
    ] {
        let refused = world.ask("GET", ORDERS, "", &line);
        assert_eq!(refused.status, 401, "{line}");
        assert!(refused.text().contains("\"fault\":\"token_several\""), "{}", refused.text());
    }
    // Lines that come twice are no request at all over HTTP/1.1.
    for twice in [
        format!("Authorization: Bearer {mia}\r\nAuthorization: Bearer {admin}\r\n"),
        format!("Cookie: __Host-token={mia}\r\nCookie: __Host-token={admin}\r\n"),
    ] {
        assert_eq!(world.ask("GET", ORDERS, "", &twice).status, 400, "{twice}");
    }
    assert_eq!(world.upstream.seen().len(), before, "nothing went out");
    world.finish();
}

#[test]
fn staff_never_enter_by_a_cookie() {
    let world = world();
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    assert_eq!(world.get(ORDERS, &agent).status, 200);
    let before = world.upstream.seen().len();
    let refused = world.ask("GET", ORDERS, "", &cookie(&agent));
    assert_eq!((refused.status, refused.code().as_str()), (401, "token_invalid"));
    assert!(refused.text().contains("token_in_cookie"), "also of a token that is known: {}", refused.text());
    assert_eq!(world.upstream.seen().len(), before);
    let both = format!("{}Authorization: Bearer {agent}\r\n", cookie(&agent));
    assert_eq!(world.ask("GET", ORDERS, "", &both).status, 200, "the header's counts");
    assert!(world.upstream.last().values("Cookie").is_empty(), "and no cookie goes on");
    world.finish();
}

/// A page of the application's origin can make an administrator's browser send this.
#[test]
fn an_administrators_cookie_changes_no_consent() {
    let world = world();
    let admin = world.people.admin("acme");
    let consent = "/_postern/v1/tenants/acme/consent";
    let put = |lines: &str| {
        let body = "{\"level\":\"full\"}";
        let more = format!("{lines}Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        let mut client = world.client();
        client.send(format!("{}{body}", request("PUT", consent, "", &more))).reply()
    };
    for lines in [
        cookie(&admin),
        format!("{}Origin: https://app.example\r\nSec-Fetch-Site: same-origin\r\n", cookie(&admin)),
    ] {
        let refused = put(&lines);
        assert_eq!((refused.status, refused.code().as_str()), (401, "token_missing"));
        assert_eq!(world.ask("GET", consent, "", &lines).status, 401);
    }
    assert!(world.get(consent, &admin).text().contains("read_only"));
    assert_eq!(put(&format!("Authorization: Bearer {admin}\r\n")).status, 200, "the header's does");
    world.finish();
}

#[test]
fn a_service_passes_no_route_and_administers_nothing() {
    let world = World::of(Plan::default().edit("kind: member", "kind: service"));
    let token = world.people.member("importer", "acme", &["admin"]);
    for target in [ORDERS, "/nowhere"] {
        let refused = world.get(target, &token);
        assert_eq!((refused.status, refused.code().as_str()), (403, "service_not_here"), "{target}");
    }
    assert!(world.upstream.seen().is_empty());
    assert_eq!(world.get("/public/page", &token).status, 200, "what is open to everybody is");
    assert!(world.upstream.last().values("Authorization").is_empty(), "without its credentials");
    assert!(world.get("/_postern/v1/me", &token).text().contains("\"kind\":\"service\""));
    for target in ["consent", "grants", "sessions", "rights?environment=production"] {
        let refused = world.get(&format!("/_postern/v1/tenants/acme/{target}"), &token);
        assert_eq!((refused.status, refused.code().as_str()), (403, "not_allowed"), "{target}");
    }
    world.finish();
}
