//! What cannot be read in one way, or says more than is understood, is refused and changes nothing.

use postern::engine::knock::Who;
use serde_json::{Value, json};

use super::support::World;

/// Every answer of these tests is held to the published description (`support::described`); here, that it describes what
/// there is and nothing else.
#[tokio::test]
async fn the_description_is_served_to_anybody_and_knows_each_operation() {
    let world = World::new().await;
    let answer = world.get("/v1/openapi.json", &Who::Nobody).await.is(200);
    assert_eq!(answer.body["openapi"], "3.1.0");
    assert_eq!(&answer.raw[..], include_bytes!("../../config/openapi.json"));
    world.delete("/v1/openapi.json", &Who::Nobody).await.refused(405, "method_not_allowed");
    let described = super::support::described::operations();
    let paths: std::collections::BTreeSet<&str> = described.iter().map(|(_, path)| path.as_str()).collect();
    let admin = world.admin("acme");
    for template in paths {
        let path = template
            .replace("{tenant}", "acme")
            .replace("{member}", "rows.cml0YQ")
            .replace("{person}", "staff.YW5uYQ")
            .replace("{role}", "viewer")
            .replace("{type}", "board")
            .replace("{resource}", "b1")
            .replace("{grant}", "grt_nothing")
            .replace("{session}", "ses_nothing")
            .replace("{request}", "req_nothing")
            .replace("{organisation}", "help_desk");
        for method in ["GET", "PUT", "POST", "PATCH", "DELETE"] {
            let answer = world.call(method, &path, &[], "", &admin).await;
            assert_ne!(answer.body["code"], "path_unknown", "{path}");
            let known = described.contains(&(method.to_owned(), template.to_owned()));
            assert_eq!(known, answer.status != 405, "{method} {path}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn the_unverified_are_challenged_whatever_they_ask_for() {
    let world = World::new().await;
    for path in ["/v1/me", "/v1/tenants/acme/consent", "/v1/nothing", "/", "/v1/tenants/a%2fb/consent"] {
        let nobody = world.get(path, &Who::Nobody).await.refused(401, "token_missing");
        assert_eq!(nobody.headers["www-authenticate"], "Bearer realm=\"postern\"");
        let refused = world.get(path, &Who::Refused("token_expired")).await.refused(401, "token_invalid");
        assert_eq!(refused.headers["www-authenticate"], "Bearer realm=\"postern\", error=\"invalid_token\"");
        assert_eq!(refused.body["fault"], "token_expired");
    }
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist_are_named_as_such() {
    let world = World::new().await;
    let admin = world.admin("acme");
    world.get("/v1/nothing", &admin).await.refused(404, "path_unknown");
    world.get("/v1/tenants/acme/consent/", &admin).await.refused(404, "path_unknown");
    world.get("/v1/tenants/ac%6de/consent", &admin).await.refused(400, "id_malformed");
    for (method, path, allow) in [
        ("DELETE", "/v1/me", "GET, HEAD"),
        ("OPTIONS", "/v1/tenants/acme/consent", "GET, HEAD, PUT"),
        ("PATCH", "/v1/tenants/acme/consent", "GET, HEAD, PUT"),
        ("PUT", "/v1/tenants/acme/grants", "GET, HEAD, POST"),
        ("POST", "/v1/tenants/acme/grants/g", "GET, HEAD, PATCH, DELETE"),
        ("TRACE", "/v1/tenants/acme/sessions", "GET, HEAD, POST"),
        ("PUT", "/v1/tenants/acme/sessions/s", "GET, HEAD, DELETE"),
        ("get", "/v1/tenants/acme/rights", "GET, HEAD"),
    ] {
        let answer = world.call(method, path, &[], "", &admin).await.refused(405, "method_not_allowed");
        assert_eq!(answer.headers["allow"], allow);
    }
    let get = world.get("/v1/tenants/acme/consent", &admin).await.is(200);
    let head = world.call("HEAD", "/v1/tenants/acme/consent", &[], "", &admin).await.is(200);
    assert_eq!((get.headers, get.raw), (head.headers, head.raw));
}

#[tokio::test]
async fn bodies_are_json_and_say_so() {
    let world = World::new().await;
    let admin = world.admin("acme");
    let put = async |headers: &[(&str, &str)], body: &str| {
        world.call("PUT", "/v1/tenants/acme/consent", headers, body, &admin).await
    };
    let good = r#"{"level":"read_only"}"#;
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "application/jsonp")],
        &[("content-type", "application/json; charset=latin1")],
        &[("content-type", "application/json"), ("content-type", "text/plain")],
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
    ] {
        put(headers, good).await.refused(415, "content_type");
    }
    let json = &[("content-type", "Application/JSON; charset=UTF-8")][..];
    put(json, good).await.is(200);
    for body in [
        "",
        "null",
        "[]",
        "\"full\"",
        "{",
        "{}{}",
        "{\"level\":\"full\"",
        "{'level':'full'}",
        "\u{feff}{}",
        r#"{"level":"full","level":"block"}"#,
        r#"{"level":"full","\u006cevel":"block"}"#,
        r#"{"level":1e999}"#,
        &format!("{}1{}", r#"{"level":"#.repeat(500), "}".repeat(500)),
    ] {
        put(json, body).await.refused(400, "body_malformed");
    }
    for (body, field) in [
        (r#"{}"#, "level"),
        (r#"{"level":null}"#, "level"),
        (r#"{"level":7}"#, "level"),
        (r#"{"level":["full"]}"#, "level"),
        (r#"{"level":""}"#, "level"),
        (r#"{"level":" full"}"#, "level"),
        (r#"{"level":"full","until":"tomorrow"}"#, "until"),
        (r#"{"Level":"full"}"#, "Level"),
    ] {
        let answer = put(json, body).await.refused(400, "body_malformed");
        assert_eq!(answer.body["field"], field, "{body}");
    }
    world.call("GET", "/v1/me", json, "{}", &admin).await.refused(400, "body_malformed");
    world
        .call("DELETE", "/v1/tenants/acme/grants/g", json, "{}", &admin)
        .await
        .refused(400, "body_malformed");
    world.get("/v1/tenants/acme/consent?x=1", &admin).await.refused(400, "query_malformed");
    let body = world.get("/v1/tenants/acme/consent", &admin).await.body;
    assert_eq!(body["choice"], "read_only");
}

#[tokio::test]
async fn each_field_of_a_grant_is_read_strictly_and_named_when_wrong() {
    let world = World::new().await;
    let admin = world.admin("acme");
    let long = "x".repeat(300);
    let many: Vec<Value> = (0..101).map(|n| json!({"type": "pipe", "id": n.to_string()})).collect();
    for (member, value, field) in [
        ("environment", json!(null), "environment"),
        ("environment", json!("pro duction"), "environment"),
        ("to", json!("everybody"), "to"),
        ("to", json!(7), "to"),
        ("to", json!({}), "to"),
        ("to", json!({"email": "a@b.c", "subject": {"issuer": "staff", "sub": "a"}}), "to"),
        ("to", json!({"name": "anna"}), "to.name"),
        ("to", json!({"email": 7}), "to.email"),
        ("to", json!({"email": "anna"}), "to.email"),
        ("to", json!({"email": "@b"}), "to.email"),
        ("to", json!({"email": "a@"}), "to.email"),
        ("to", json!({"email": "a@b@c"}), "to.email"),
        ("to", json!({"email": "a b@c"}), "to.email"),
        ("to", json!({"email": "änna@b.c"}), "to.email"),
        ("to", json!({"email": format!("{long}@b.c")}), "to.email"),
        ("to", json!({"subject": "anna"}), "to.subject"),
        ("to", json!({"subject": {"issuer": "staff"}}), "to.subject.sub"),
        ("to", json!({"subject": {"issuer": "Staff", "sub": "a"}}), "to.subject.issuer"),
        ("to", json!({"subject": {"issuer": "staff", "sub": long}}), "to.subject.sub"),
        ("to", json!({"subject": {"issuer": "staff", "sub": "a\u{7f}"}}), "to.subject.sub"),
        ("to", json!({"subject": {"issuer": "staff", "sub": "a", "kind": "staff"}}), "to.subject.kind"),
        ("role", json!(["viewer"]), "role"),
        ("scope", json!("nothing"), "scope"),
        ("scope", json!({"resources": {}}), "scope.resources"),
        ("scope", json!({"resources": ["pipe"]}), "scope.resources[0]"),
        ("scope", json!({"resources": [{"type": "pipe", "id": "a/b"}]}), "scope.resources[0].id"),
        ("scope", json!({"resources": [{"type": "pipe", "id": 7}]}), "scope.resources[0].id"),
        (
            "scope",
            json!({"resources": [{"type": "p", "id": "a"}, {"type": "p", "id": "a"}]}),
            "scope.resources[1]",
        ),
        ("scope", json!({"resources": many}), "scope.resources"),
        ("for", json!(5), "for"),
        ("for", json!("5"), "for"),
        ("for", json!("5 days"), "for"),
        ("for", json!("-5d"), "for"),
        ("for", json!("99999999999999999999d"), "for"),
        ("until", json!("2026-05-01T00:00:00Z"), "for"), // beside `for`
        ("grantor", json!("me"), "grantor"),
        ("id", json!("grt_mine"), "id"),
    ] {
        let mut body = json!({
            "environment": "production", "to": "support", "role": "viewer", "scope": "everything", "for": "1d",
        });
        body[member] = value;
        let answer = world.put("POST", "/v1/tenants/acme/grants", body.clone(), &admin).await;
        let answer = answer.refused(400, "body_malformed");
        assert_eq!(answer.body["field"], field, "{body}");
    }
    for (member, value) in [
        ("until", json!("2026-05-01")),
        ("until", json!("2026-05-01T00:00:00")),
        ("until", json!("10000-01-01T00:00:00Z")),
        ("until", json!(1_800_000_000)),
        ("date", json!("2026-5-1")),
        ("date", json!("2026-02-30")),
        ("date", json!("+026-01-01")),
        ("date", json!("0001-01-01")),
        ("date", json!("2026-05-01T00:00:00Z")),
    ] {
        let mut body =
            json!({"environment": "production", "to": "support", "role": "viewer", "scope": "everything"});
        body[member] = value;
        let answer = world.put("POST", "/v1/tenants/acme/grants", body.clone(), &admin).await;
        let answer = answer.refused(400, "body_malformed");
        assert_eq!(answer.body["field"], member, "{body}");
    }
    let list = world.get("/v1/tenants/acme/grants?state=all", &admin).await.is(200);
    assert_eq!(list.body["items"], json!([]), "none of these made anything");
}

#[tokio::test]
async fn each_field_of_a_session_is_read_strictly_too() {
    let world = World::new().await;
    let anna = world.agent("anna");
    for (member, value, field) in [
        ("environment", json!(7), "environment"),
        ("basis", json!("grant"), "basis"),
        ("basis", json!({"grant": "a b"}), "basis.grant"),
        ("basis", json!({"grant": "g", "x": 1}), "basis.x"),
        ("basis", json!({}), "basis.grant"),
        ("reason", json!(null), "reason"),
        ("ticket", json!(null), "ticket"),
        ("ticket", json!(7), "ticket"),
        ("for", json!("forever"), "for"),
        ("role", json!("admin"), "role"),
        ("subject", json!("ben"), "subject"),
    ] {
        let mut body = json!({"environment": "production", "basis": "consent", "reason": "because"});
        body[member] = value;
        let answer = world.put("POST", "/v1/tenants/acme/sessions", body.clone(), &anna).await;
        let answer = answer.refused(400, "body_malformed");
        assert_eq!(answer.body["field"], field, "{body}");
    }
    assert_eq!(world.inside("acme").await, Vec::<String>::new());
}

#[tokio::test]
async fn pages_are_bounded_and_cursors_are_not_guessed() {
    let world = World::new().await;
    let admin = world.admin("acme");
    for query in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "after=x",
        "after=%00",
        "after=&limit=1",
        "limit=1&limit=2",
        "page=2",
    ] {
        for list in ["grants", "sessions"] {
            let answer = world.get(&format!("/v1/tenants/acme/{list}?{query}"), &admin).await;
            answer.refused(400, "query_malformed");
        }
    }
    world.get("/v1/tenants/acme/grants?state=gone", &admin).await.refused(400, "query_malformed");
}
