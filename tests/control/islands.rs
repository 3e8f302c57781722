//! Who may not know gets one answer, whether a thing exists or not, given before anything is looked up (law 11).

use std::sync::atomic::Ordering;

use postern::engine::knock::Who;
use serde_json::json;

use super::support::{Answer, World};

/// Every call that concerns a tenant, with ids that may exist.
fn calls(tenant: &str, grant: &str, session: &str) -> Vec<(&'static str, String, &'static str)> {
    let at = |rest: &str| format!("/v1/tenants/{tenant}/{rest}");
    let make =
        r#"{"environment":"production","to":"support","role":"viewer","scope":"everything","for":"1d"}"#;
    vec![
        ("GET", format!("/v1/tenants/{tenant}"), ""),
        ("PUT", format!("/v1/tenants/{tenant}"), r#"{"zone":"UTC","environments":["production"]}"#),
        ("DELETE", format!("/v1/tenants/{tenant}"), ""),
        ("GET", at("roles"), ""),
        ("GET", at("roles/viewer"), ""),
        ("GET", at("audit/stream"), ""),
        ("GET", at("members"), ""),
        ("GET", at("members/rows.cml0YQ"), ""),
        ("PUT", at("members/rows.cml0YQ"), r#"{"roles":["admin"]}"#),
        ("DELETE", at("members/rows.cml0YQ"), ""),
        ("GET", at("consent"), ""),
        ("PUT", at("consent"), r#"{"level":"full"}"#),
        ("PUT", at("consent"), r#"{"level":"no_such"}"#),
        ("PUT", at("consent"), "not even json"),
        ("GET", at("grants"), ""),
        ("POST", at("grants"), make),
        ("POST", at("grants"), "{}"),
        ("GET", at(&format!("grants/{grant}")), ""),
        ("PATCH", at(&format!("grants/{grant}")), r#"{"for":"1d"}"#),
        ("DELETE", at(&format!("grants/{grant}")), ""),
        ("GET", at("sessions"), ""),
        ("GET", at(&format!("sessions/{session}")), ""),
        ("DELETE", at(&format!("sessions/{session}")), ""),
        ("GET", at("rights?environment=production"), ""),
        ("GET", at("audit"), ""),
        ("GET", at("audit?limit=1"), ""),
        ("GET", at("stop"), ""),
        ("PUT", at("stop"), r#"{"stopped":true,"reason":"x"}"#),
        ("PUT", at("stop"), "{}"),
        ("POST", at("break-glass"), "{}"),
    ]
}

/// And those of which each kind of caller is told something of their own.
fn more_calls(tenant: &str) -> Vec<(&'static str, String, &'static str)> {
    let at = |rest: &str| format!("/v1/tenants/{tenant}/{rest}");
    let stop = r#"{"reach":{"tenant":"acme"},"stopped":true,"reason":"x"}"#;
    vec![
        ("GET", at("approval"), ""),
        ("PUT", at("approval"), r#"{"required":true}"#),
        ("GET", at("login-access"), ""),
        ("PUT", at("login-access/help_desk"), r#"{"environment":"production","for":"1d"}"#),
        ("PUT", at("login-access/nobody"), "{}"),
        ("DELETE", at("login-access/help_desk"), ""),
        ("GET", at("requests"), ""),
        ("GET", at("requests?state=all&limit=1"), ""),
        ("POST", at("requests"), r#"{"environment":"production","level":"full","reason":"x"}"#),
        ("GET", at("requests/req_nothing"), ""),
        ("PATCH", at("requests/req_nothing"), r#"{"approve":{}}"#),
        ("DELETE", at("requests/req_nothing"), ""),
        ("GET", "/v1/stops".to_owned(), ""),
        ("PUT", "/v1/stops".to_owned(), stop),
        ("GET", "/v1/tenants?limit=1".to_owned(), ""),
    ]
}

async fn send(world: &World, (method, path, body): &(&str, String, &str), who: &Who) -> Answer {
    world.call(method, path, &[("content-type", "application/json")], body, who).await
}

/// Status, headers and body.
type Seen = (u16, Vec<(String, Vec<u8>)>, Vec<u8>);

/// Everything that a caller can see of an answer.
fn seen(answer: &Answer) -> Seen {
    let headers = answer.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    (answer.status, headers.collect(), answer.raw.to_vec())
}

#[tokio::test]
async fn outsiders_cannot_tell_what_exists_from_what_does_not() {
    let world = World::new().await;
    let grant = world.granted("acme", json!("support"), "viewer").await;
    let session = world.started("acme", &world.agent("anna")).await;
    let there = [calls("acme", &grant, &session), more_calls("acme")].concat();
    let not_there = [calls("nowhere", "grt_nothing", "ses_nothing"), more_calls("nowhere")].concat();
    let half = [calls("acme", "grt_nothing", "ses_nothing"), more_calls("acme")].concat();
    let outsiders = [
        world.admin("globex"),
        world.admin("acme-west"),
        world.member("globex", "v", &["viewer"]),
        world.member_with("acme", "x", &["admin"], json!({"act": {"sub": "y"}})),
        Who::Nobody,
        Who::Refused("token_expired"),
    ];
    for who in &outsiders {
        for ((one, two), three) in there.iter().zip(&not_there).zip(&half) {
            let [one_seen, two_seen, three_seen] =
                [send(&world, one, who).await, send(&world, two, who).await, send(&world, three, who).await]
                    .map(|answer| seen(&answer));
            if matches!(who, Who::Known(subject) if subject.acting) && one.1.contains("rights") {
                // An acted-for member of that tenant may know their own rights.
                continue;
            }
            assert!(matches!(one_seen.0, 401 | 403), "{one:?} {who:?}");
            assert_eq!(one_seen, two_seen, "{one:?} {who:?}");
            assert_eq!(one_seen, three_seen, "{one:?} {who:?}");
        }
    }
    // And nothing is looked up for it: the answers are the same while nothing can be.
    world.store.no_reads.store(true, Ordering::SeqCst);
    for who in &outsiders[..3] {
        for (one, two) in there.iter().zip(&not_there) {
            assert_eq!(seen(&send(&world, one, who).await), seen(&send(&world, two, who).await), "{one:?}");
        }
    }
}

#[tokio::test]
async fn staff_cannot_tell_a_tenant_that_blocks_from_one_that_does_not_exist() {
    let world = World::new().await;
    world.consent("acme", "block").await;
    let grant = world.granted("acme", json!({"email": "ben@vendor.example"}), "viewer").await;
    let session =
        world.enter_by("acme", &grant, &world.agent("ben")).await.is(201).body["session"]["id"].clone();
    let anna = world.agent("anna");
    let start = |tenant: &str, basis: &str| {
        let body = match basis {
            "consent" => r#"{"environment":"production","basis":"consent","reason":"x"}"#.to_owned(),
            id => format!(r#"{{"environment":"production","basis":{{"grant":"{id}"}},"reason":"x"}}"#),
        };
        (format!("/v1/tenants/{tenant}/sessions"), body)
    };
    for ((path, body), (other, other_body)) in [
        (start("acme", "consent"), start("nowhere", "consent")),
        (start("acme", &grant), start("nowhere", "grt_nothing")),
    ] {
        let json = [("content-type", "application/json")];
        let there = world.call("POST", &path, &json, &body, &anna).await;
        let not_there = world.call("POST", &other, &json, &other_body, &anna).await;
        assert_eq!(seen(&there), seen(&not_there), "{path} {body}");
    }
    let there = calls("acme", &grant, session.as_str().unwrap());
    for (one, two) in there.iter().zip(&calls("nowhere", "grt_nothing", "ses_nothing")) {
        let (here, nowhere) = (send(&world, one, &anna).await, send(&world, two, &anna).await);
        if one.1.contains("rights") {
            // The answer names the tenant that was asked for, and no session in either.
            assert_eq!((here.body["sessions"].clone(), here.status), (json!([]), 200));
            assert_eq!((nowhere.body["sessions"].clone(), nowhere.status), (json!([]), 200));
        } else {
            assert_eq!(seen(&here), seen(&nowhere), "{one:?}");
        }
    }
}

#[tokio::test]
async fn an_id_of_another_tenant_opens_nothing_in_ones_own() {
    let world = World::new().await;
    let grant = world.granted("acme", json!("support"), "viewer").await;
    let session = world.started("acme", &world.agent("anna")).await;
    let admin = world.admin("globex");
    for (method, rest) in [
        ("GET", format!("grants/{grant}")),
        ("DELETE", format!("grants/{grant}")),
        ("GET", format!("sessions/{session}")),
        ("DELETE", format!("sessions/{session}")),
    ] {
        let path = format!("/v1/tenants/globex/{rest}");
        world.call(method, &path, &[], "", &admin).await.refused(404, "not_found");
    }
    world.enter_by("globex", &grant, &world.agent("anna")).await.refused(404, "not_found");
    let cursor = world.get("/v1/tenants/acme/grants?limit=1", &world.admin("acme")).await.is(200);
    assert_eq!(cursor.body["items"].as_array().unwrap().len(), 1);
    let body = world.get("/v1/tenants/globex/sessions", &admin).await.is(200).body;
    assert_eq!((&body["items"], &body["standing_grants"]["items"]), (&json!([]), &json!([])));
    assert_eq!(world.inside("acme").await, [session]);
}

#[tokio::test]
async fn nobody_changes_anything_while_acting_as_somebody_else() {
    let world = World::new().await;
    let acting = world.member_with("acme", "boss", &["admin"], json!({"act": {"sub": "agent"}}));
    let agent = world.staff_with("anna", json!({"team": "support", "act": {"sub": "robot"}}));
    let session = world.started("acme", &world.agent("anna")).await;
    for call in calls("acme", "grt_x", &session).iter().filter(|(method, ..)| *method != "GET") {
        send(&world, call, &acting).await.refused(403, "acting");
    }
    world.start("acme", &agent).await.refused(403, "acting");
    world.delete(&format!("/v1/tenants/acme/sessions/{session}"), &agent).await.refused(403, "acting");
    let rights = world.get("/v1/tenants/acme/rights?environment=production", &acting).await.is(200);
    assert!(
        !rights.body["rights"]
            .as_array()
            .unwrap()
            .iter()
            .any(|r| r.as_str().unwrap().starts_with("support:"))
    );
}

#[tokio::test]
async fn an_auditor_sees_and_changes_nothing() {
    let world = World::new().await;
    let session = world.started("acme", &world.agent("anna")).await;
    let auditor = world.member("acme", "a", &["auditor"]);
    for call in &calls("acme", "grt_x", &session) {
        let answer = send(&world, call, &auditor).await;
        match call {
            ("GET", path, _) if path.contains("grt_x") || path.contains("rows.") => {
                answer.refused(404, "not_found")
            }
            ("GET", ..) => answer.is(200),
            ("POST", path, _) if path.contains("break-glass") => answer.refused(403, "not_operator"),
            _ => answer.refused(403, "not_allowed"),
        };
    }
}

#[tokio::test]
async fn refusals_of_verified_staff_are_in_the_record() {
    let world = World::new().await;
    let anna = world.agent("anna");
    world
        .put("PUT", "/v1/tenants/acme/consent", json!({"level": "full"}), &anna)
        .await
        .refused(403, "not_allowed");
    let record = world.record(|r| r["kind"] == "access.refused").await;
    assert_eq!((&record["reason"], &record["tenant"]), (&json!("not_allowed"), &json!("acme")));
    assert_eq!((&record["method"], &record["path"]), (&json!("PUT"), &json!("/v1/tenants/acme/consent")));
    world.consent("acme", "block").await;
    world.start("acme", &anna).await.refused(403, "consent_closes");
    let record = world.record(|r| r["kind"] == "change.refused").await;
    assert_eq!((&record["command"], &record["reason"]), (&json!("start_session"), &json!("consent_closes")));
}
