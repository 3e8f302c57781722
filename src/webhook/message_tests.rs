use serde_json::json;

use super::*;
use crate::audit::record;

const EVENTS: [&str; 3] = ["session_started", "session_ended", "glass_broken"];

fn wanted(tenants: Option<&[&str]>) -> Wanted {
    Wanted {
        events: EVENTS.into(),
        tenants: tenants.map(|all| all.iter().map(|id| TenantId::new(id).unwrap()).collect()),
    }
}

/// A record of that kind with these members.
fn line_of(kind: &str, members: &Value) -> String {
    let members = members.to_string();
    let members = members.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
    format!(
        "{{\"v\":1,\"log\":\"example.com/log\",\"seq\":41,\"batch\":41,\"at\":\"2026-07-01T12:00:05.000Z\",\
         \"kind\":\"{kind}\",\"session\":\"ses_1\",\"sseq\":3,\"closes\":\"chg_1\",\"prev\":\"{}\",{members}}}",
        "0".repeat(64)
    )
}

fn told(text: &str, wanted: &Wanted) -> Vec<Message> {
    messages(&record::parse(text.as_bytes()).unwrap(), wanted).unwrap()
}

fn session(ended: &Value) -> Value {
    let mut document = json!({ "subject": { "issuer": "vendor", "sub": "sam" }, "environment": "production",
        "basis": { "consent": "edit" }, "role": "editor", "rights": ["orders:read"], "reason": "order 7 hangs",
        "ticket": "CS-1", "givers": [{ "person": { "issuer": "app", "sub": "ada" } }],
        "started": "2026-07-01T11:00:00.000Z", "deadline": "2026-07-01T12:00:00.000Z" });
    if !ended.is_null() {
        document["ended"] = ended.clone();
    }
    json!([[{ "session": ["acme", "ses_1"] }, { "format": 1, "version": { "epoch": 0, "number": 2 },
        "changes": ["chg_1"], "heads": [{ "change": "chg_1", "document": { "session": document } }] }]])
}

fn ended() -> Value {
    json!({ "change": "chg_1", "tenant": "acme", "outcome": "stored", "position": 4, "events": [{ "event": "session_ended",
        "session": "ses_1", "subject": { "issuer": "vendor", "sub": "sam" }, "cause": "removed",
        "at": "2026-07-01T11:59:00.000Z" }],
        "documents": session(&json!({ "at": "2026-07-01T11:59:00.000Z", "cause": "removed",
            "by": { "issuer": "app", "sub": "ada" } })) })
}

// GW-11
#[test]
fn an_end_is_told_with_its_cause_and_what_administrators_see_of_the_session() {
    let found = told(&line_of("change.outcome", &ended()), &wanted(None));
    let [message] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (message.id.as_str(), message.kind, message.seq, message.index),
        ("chg_1-0", "session_ended", 41, 0)
    );
    assert_eq!(message.recorded.to_string(), "2026-07-01T12:00:05.000Z");
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(
        body,
        json!({ "type": "session_ended", "timestamp": "2026-07-01T11:59:00.000Z", "data": {
            "tenant": "acme", "session": "ses_1", "subject": { "issuer": "vendor", "sub": "sam" },
            "cause": "removed", "at": "2026-07-01T11:59:00.000Z", "by": { "issuer": "app", "sub": "ada" },
            "environment": "production", "role": "editor", "basis": { "consent": "edit" }, "reason": "order 7 hangs",
            "ticket": "CS-1", "began": "2026-07-01T11:00:00.000Z", "deadline": "2026-07-01T12:00:00.000Z",
            "change": "chg_1", "log": "example.com/log", "seq": 41 } })
    );
}

#[test]
fn of_several_events_each_has_an_id_of_its_own_and_only_those_wanted_are_told() {
    let mut outcome = ended();
    let start = json!({ "event": "session_started", "session": "ses_2", "subject": { "issuer": "vendor", "sub": "sam" },
        "role": "editor", "deadline": "2026-07-01T20:00:00.000Z" });
    outcome["events"].as_array_mut().unwrap().extend([
        json!({ "event": "approval_changed", "required": true }),
        json!({ "event": "something_of_a_later_version", "x": 1 }),
        start,
    ]);
    let text = line_of("change.outcome", &outcome);
    let ids = |wanted: &Wanted| -> Vec<String> { told(&text, wanted).into_iter().map(|m| m.id).collect() };
    assert_eq!(ids(&wanted(None)), ["chg_1-0", "chg_1-3"]);
    let approvals = Wanted { events: ["approval_changed"].into(), tenants: None };
    assert_eq!(ids(&approvals), ["chg_1-1"]);
    // What cannot be found is left out, and the event is told all the same.
    let body: Value = serde_json::from_slice(&told(&text, &wanted(None))[1].body).unwrap();
    assert_eq!(body["data"]["role"], "editor");
    assert!(body["data"].get("reason").is_none());
}

// GW-11
#[test]
fn nobody_is_told_of_another_tenant_or_of_what_did_not_happen() {
    let text = |outcome: &Value| line_of("change.outcome", outcome);
    assert_eq!(told(&text(&ended()), &wanted(Some(&["acme"]))).len(), 1);
    assert!(told(&text(&ended()), &wanted(Some(&["acme-eu", "globex"]))).is_empty());
    for fate in ["failed", "overtaken"] {
        let mut outcome = ended();
        outcome["outcome"] = json!(fate);
        assert!(told(&text(&outcome), &wanted(None)).is_empty(), "{fate}");
    }
    for kind in ["change.intent", "access.outcome", "change.refused"] {
        assert!(told(&line_of(kind, &ended()), &wanted(None)).is_empty(), "{kind}");
    }
    // What concerns no single tenant is for those who are told of all.
    let all = json!({ "change": "chg_1", "outcome": "stored", "documents": [],
        "events": [{ "event": "support_stopped", "reach": "all", "side": "operators", "reason": "x" }] });
    let stops = |tenants: Option<&[&str]>| Wanted { events: ["support_stopped"].into(), ..wanted(tenants) };
    assert_eq!(told(&text(&all), &stops(None)).len(), 1);
    assert!(told(&text(&all), &stops(Some(&["acme"]))).is_empty());
}

#[test]
fn documents_that_cannot_be_read_and_sizes_out_of_bounds_hold_nothing_up() {
    let mut outcome = ended();
    outcome["documents"][0][1]["format"] = json!(9);
    outcome["clock_moved"] = json!(true);
    let found = told(&line_of("change.outcome", &outcome), &wanted(None));
    let body: Value = serde_json::from_slice(&found[0].body).unwrap();
    assert_eq!((&body["data"]["cause"], &body["data"]["clock_moved"]), (&json!("removed"), &json!(true)));
    assert!(body["data"].get("reason").is_none());

    let mut outcome = ended();
    outcome["documents"][0][1]["heads"][0]["document"]["session"]["reason"] = json!("x".repeat(70_000));
    let found = told(&line_of("change.outcome", &outcome), &wanted(None));
    let body: Value = serde_json::from_slice(&found[0].body).unwrap();
    assert_eq!(
        body,
        json!({ "type": "session_ended", "timestamp": "2026-07-01T11:59:00.000Z", "data": { "tenant": "acme",
            "change": "chg_1", "log": "example.com/log", "seq": 41, "cut": true } })
    );
    let broken = line_of("change.outcome", &json!({ "change": 7, "events": ["session_ended"] }));
    assert!(messages(&record::parse(broken.as_bytes()).unwrap(), &wanted(None)).is_err());
}

#[test]
fn nothing_of_the_part_that_can_be_erased_is_told() {
    let mut text = line_of("change.outcome", &ended());
    text.truncate(text.len() - 1);
    text.push_str(",\"digests\":[]");
    let text = format!("{text},\"open\":{{\"email\":\"sam@vendor.example\"}}}}");
    let Ok(line) = record::parse(text.as_bytes()) else { panic!("no record") };
    for message in messages(&line, &wanted(None)).unwrap() {
        assert!(!String::from_utf8_lossy(&message.body).contains("sam@vendor.example"));
    }
}

// PRA-03
#[test]
fn of_a_session_that_acts_as_somebody_the_end_says_as_whom_and_no_role() {
    let mut members = ended();
    let document = &mut members["documents"][0][1]["heads"][0]["document"]["session"];
    document.as_object_mut().unwrap().remove("role");
    let user = json!({ "issuer": "app", "sub": "ben" });
    document["basis"] = json!({ "act_as": { "grant": "grt_1", "user": user } });
    let found = told(&line_of("change.outcome", &members), &wanted(None));
    let body: Value = serde_json::from_slice(&found[0].body).unwrap();
    let data = &body["data"];
    assert_eq!((&data["acting_as"], &data["subject"]["sub"]), (&user, &json!("sam")), "{body}");
    assert_eq!((data.get("role"), &data["basis"]["act_as"]["grant"]), (None, &json!("grt_1")), "{body}");
}

// GW-11
#[test]
fn an_entry_by_an_emergency_token_is_told_like_one_through_the_gateway() {
    let subject = json!({ "issuer": "vendor", "sub": "olga" });
    let entered = json!({ "change": "emg_1", "tenant": "acme", "environment": "production", "events": [
        { "event": "glass_broken", "session": "emg_1", "subject": subject, "environment": "production",
            "cause": "stability", "incident": "INC-7", "reason": "all is stuck" },
        { "event": "session_started", "session": "emg_1", "subject": subject, "role": "editor",
            "deadline": "2026-07-01T12:00:00.000Z" }] });
    let found = told(&line_of("emergency.entered", &entered), &wanted(Some(&["acme"])));
    let ids: Vec<_> = found.iter().map(|message| (message.id.as_str(), message.kind)).collect();
    assert_eq!(ids, [("emg_1-0", "glass_broken"), ("emg_1-1", "session_started")]);
    let body: Value = serde_json::from_slice(&found[0].body).unwrap();
    assert_eq!((&body["data"]["tenant"], &body["data"]["incident"]), (&json!("acme"), &json!("INC-7")));
    assert!(told(&line_of("emergency.entered", &entered), &wanted(Some(&["globex"]))).is_empty());
    // A change without its outcome is none.
    assert!(told(&line_of("change.outcome", &entered), &wanted(None)).is_empty());
}
