//! PFC: the roles of a company, what it adjusts of them, and which of them are paid for.

use serde_json::{Value, json};

use super::{IN_P1, PEOPLE, acme, app, at, staffed};
use crate::stage::person_id;

/// The five roles, and whether a company adjusts them.
const FIVE: [(&str, bool); 5] = [
    ("super_admin", false),
    ("admin", true),
    ("member", true),
    ("company_guest", true),
    ("external_guest", false),
];

#[test]
fn pfc_01_a_company_has_five_roles() {
    let acme = acme();
    for (sub, role) in PEOPLE {
        let rights = acme.get("/v1/tenants/acme/rights?environment=production", &acme.who(sub)).is(200).body;
        assert_eq!(rights["roles"], json!([role]), "{sub}");
    }
    acme.row("mia", &["owner"]).refused(422, "role_unknown");
    // What somebody is in a pipe they are nowhere else.
    acme.row("mia", &["pipe_admin"]).refused(422, "role_unknown");
    let listed = acme.get("/v1/tenants/acme/roles", &acme.who("sue")).is(200).body;
    let names: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|role| role["role"].as_str().unwrap()).collect();
    for (role, _) in FIVE {
        assert!(names.contains(&role), "{role} is not in {names:?}");
    }
    // All others are support's.
    let rest: Vec<_> = names.iter().filter(|name| !FIVE.iter().any(|(role, _)| role == *name)).collect();
    assert_eq!(rest, [&"company_reader", &"guardian", &"support_editor", &"support_reader"]);
    let pushed = acme.events("member_pushed");
    let told: Vec<(&Value, &Value)> =
        pushed.iter().map(|(event, _)| (&event["member"], &event["roles"])).collect();
    assert_eq!(told.len(), PEOPLE.len());
    acme.0.finish();
}

#[test]
fn pfc_03_a_company_adjusts_admin_member_and_guest_and_no_other_role() {
    let acme = acme();
    acme.company("globex", Some("business")).is(201);
    acme.row_in("globex", "mia", json!({"roles": ["member"]})).is(200);
    acme.can("mia", "POST", "pipes");
    acme.adjust("adam", "member", &["company_reports:create"]).is(200);
    acme.cannot("mia", "POST", "pipes");
    acme.can("mia", "POST", "reports");
    // … in that company.
    let elsewhere = acme.member("mia", "globex", &[]);
    assert!(acme.reaches("POST", "/orgs/globex/pipes", &elsewhere).is_ok());
    acme.adjust("sue", "admin", &["people:invite", "admin_dashboard:use"]).is(200);
    acme.cannot("adam", "DELETE", "people/7");
    acme.can("adam", "POST", "people");
    acme.cannot("gus", "POST", "reports");
    acme.adjust("sue", "company_guest", &["company_reports:create"]).is(200);
    acme.can("gus", "POST", "reports");
    for (role, adjustable) in FIVE {
        let told = acme.get(&format!("/v1/tenants/acme/roles/{role}"), &acme.who("sue")).is(200).body;
        let origin = if adjustable { "adjusted" } else { "configuration" };
        assert_eq!(told["origin"], origin, "{told:#}");
        if !adjustable {
            acme.adjust("sue", role, &["company_reports:create"]).refused(403, "role_locked");
        }
    }
    // What a pipe's and a database's roles hold is the same everywhere.
    for role in ["restricted_view", "pipe_member", "pipe_admin", "database_member"] {
        acme.adjust("sue", role, &["cards:read"]).refused(403, "role_locked");
    }
    acme.adjust("sue", "auditor", &["company_activities:read"]).refused(403, "own_roles_closed");
    acme.can("sue", "DELETE", "people/7");
    let set: Vec<Value> = acme.events("role_set").iter().map(|(event, _)| event["role"].clone()).collect();
    assert_eq!(set, ["member", "admin", "company_guest"]);
    // Taken back, it is as it was.
    acme.delete("/v1/tenants/acme/roles/member", &acme.who("sue")).is(200);
    acme.can("mia", "POST", "pipes");
    acme.0.finish();
}

#[test]
fn pfc_04_a_person_holds_another_role_in_each_pipe_and_database() {
    let acme = acme();
    for (resource, role) in [
        ("pipe/p1", "read_only"),
        ("pipe/p2", "pipe_admin"),
        ("database/d1", "database_member"),
        ("database/d2", "database_read_only"),
    ] {
        acme.put(resource, "max", role).is(200);
    }
    acme.card("c1", "p1", None, &[]);
    acme.card("c2", "p2", None, &[]);
    for (id, database) in [("r1", "d1"), ("r2", "d2")] {
        acme.push(&format!("record/{id}"), json!({"parent": database})).is(200);
    }
    acme.can("max", "GET", "pipes/p1/cards/c1");
    acme.cannot("max", "PUT", "pipes/p1/cards/c1");
    acme.can("max", "DELETE", "pipes/p2/cards/c2");
    acme.can("max", "PUT", "databases/d1/records/r1");
    acme.can("max", "GET", "databases/d2/records/r2");
    acme.cannot("max", "PUT", "databases/d2/records/r2");
    acme.put("pipe/p1", "max", "pipe_member").is(200);
    acme.can("max", "PUT", "pipes/p1/cards/c1");
    acme.cannot("max", "DELETE", "pipes/p1/cards/c1");
    acme.can("max", "DELETE", "pipes/p2/cards/c2");
    acme.0.finish();
}

#[test]
fn pfc_08_a_change_of_the_seat_count_is_in_the_record_of_the_change() {
    let acme = acme();
    // Five of the seven take a seat; of the two guests none does.
    let counts = |acme: &super::Acme| -> Vec<(u64, u64)> {
        let all = acme.events("seats_changed");
        all.iter()
            .map(|(event, _)| (event["from"].as_u64().unwrap(), event["to"].as_u64().unwrap()))
            .collect()
    };
    assert_eq!(counts(&acme), [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]);
    for (_, record) in acme.events("seats_changed") {
        let names: Vec<&str> = record["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["event"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["member_pushed", "seats_changed"], "one change, one record");
        assert_eq!(record["tenant"], "acme");
    }
    assert_eq!(acme.seats(), 5);
    let guest_pays = acme.row("gus", &["member"]).is(200);
    let told = &guest_pays.body["outcome"]["events"];
    assert_eq!((&told[1]["from"], &told[1]["to"]), (&json!(5), &json!(6)), "{told:#}");
    acme.row_in("acme", "gus", Value::Null).is(200);
    assert_eq!(acme.seats(), 5);
    assert_eq!(counts(&acme)[5..], [(5, 6), (6, 5)]);
    acme.0.finish();
}

#[test]
fn pfc_11_a_pipe_has_five_roles() {
    let acme = acme();
    for (sub, role) in IN_P1 {
        acme.row(sub, &["member"]).is(200);
        acme.put("pipe/p1", sub, role).is(200);
    }
    for other in ["pipe_guest", "member", "super_admin", "database_admin"] {
        acme.put("pipe/p1", "mia", other).refused(422, "role_not_here");
    }
    let told = acme.get(&at("pipe/p1"), &acme.provisioner()).is(200).body;
    let mut expected: Vec<Value> =
        IN_P1.iter().map(|(_, role)| json!({"role": role, "members": 1})).collect();
    expected.sort_by_key(|row| row["role"].as_str().unwrap().to_owned());
    assert_eq!(told["members"], json!({"all": 5, "roles": expected}));
    let joined = acme.events("resource_joined");
    let roles: Vec<&Value> = joined.iter().map(|(event, _)| &event["role"]).collect();
    assert_eq!(roles, IN_P1.map(|(_, role)| role));
    acme.0.finish();
}

#[test]
fn pfc_12_an_admin_of_a_pipe_manages_its_people_automations_and_reports_whatever_they_are_in_the_company() {
    let acme = staffed();
    // A member of the company, of which the matrix says that they invite nobody and work with no automation.
    let ada = acme.who("ada");
    acme.put_by(&ada, "pipe/p1", "mia", "pipe_member").is(200);
    acme.put_by(&ada, "pipe/p1", "mia", "pipe_admin").is(200);
    acme.take_out(&ada, "pipe/p1", "mia").is(200);
    let there = [
        ("PUT", "people/7"),
        ("DELETE", "people/7"),
        ("GET", "automations"),
        ("POST", "automations"),
        ("PUT", "automations/7"),
        ("DELETE", "automations/7"),
        ("POST", "reports"),
        ("GET", "reports/7"),
        ("DELETE", "reports/7"),
    ];
    for (method, below) in there {
        acme.can("ada", method, &format!("pipes/p1/{below}"));
        acme.cannot("ada", method, &format!("pipes/p2/{below}"));
        // In the pipe only what somebody is there counts, also for an admin of the company.
        acme.cannot("adam", method, &format!("pipes/p1/{below}"));
    }
    acme.put_by(&ada, "pipe/p2", "mia", "pipe_member").refused(403, "not_allowed");
    for (method, below) in
        [("POST", "people"), ("DELETE", "people/7"), ("GET", "automations"), ("POST", "automations")]
    {
        acme.cannot("ada", method, below);
        acme.can("adam", method, below);
    }
    let joined = acme.events("resource_joined");
    let (event, record) = &joined[joined.len() - 1];
    assert_eq!(
        (&event["member"], &event["role"], &event["was"]),
        (&app("mia"), &json!("pipe_admin"), &json!("pipe_member"))
    );
    assert_eq!(record["tenant"], "acme");
    acme.0.finish();
}

#[test]
fn pfc_16_members_and_admins_take_a_seat_once_each_and_guests_and_support_never() {
    let acme = acme();
    assert_eq!(acme.seats(), 5);
    // From the invitation on: somebody who cannot do anything yet is counted.
    acme.row_in("acme", "nina", json!({"roles": ["member"], "suspended": true})).is(200);
    assert_eq!(acme.seats(), 6);
    acme.row("nina", &["member"]).is(200);
    assert_eq!(acme.seats(), 6);
    // A person is one, whatever they hold and in how many pipes.
    acme.row("nina", &["member", "admin", "company_guest"]).is(200);
    for resource in ["pipe/p1", "pipe/p2"] {
        acme.put(resource, "max", "pipe_member").is(200);
    }
    assert_eq!(acme.seats(), 6);
    for guest in ["company_guest", "external_guest"] {
        acme.row("nina", &["admin"]).is(200);
        assert_eq!(acme.seats(), 6);
        acme.row("nina", &[guest]).is(200);
        assert_eq!(acme.seats(), 5, "{guest}");
    }
    // Support is inside as a super admin could not be, and takes none.
    let level = json!({"level": "assist"});
    acme.api("PUT", "/v1/tenants/acme/consent", &acme.who("sue"), level).is(200);
    let sam = acme.agent_with("sam", &json!({"groups": ["support"]}));
    acme.enter("acme", &sam).is(201);
    assert!(acme.reaches("GET", "/orgs/acme/pipes/p1/cards", &sam).is_ok());
    assert_eq!(acme.seats(), 5);
    // Nor does a row of somebody whom no issuer of members vouches for.
    let row = format!("/v1/tenants/acme/members/{}", person_id("vendor", "sam"));
    acme.api("PUT", &row, &acme.provisioner(), json!({"roles": ["admin"]})).refused(422, "issuer_unknown");
    assert_eq!(acme.seats(), 5);
    acme.0.finish();
}

#[test]
fn pfc_17_whoever_may_use_the_dashboard_adjusts_roles_and_gives_nothing_that_they_lack() {
    let acme = acme();
    for sub in ["mia", "gus", "xena"] {
        acme.adjust(sub, "member", &["company_reports:create"]).refused(403, "not_allowed");
    }
    acme.adjust("adam", "member", &["company_reports:create", "pipes:create", "admin_dashboard:use"]).is(200);
    acme.can("mia", "GET", "admin-dashboard");
    // Now Mia may, as far as she goes herself.
    acme.adjust("mia", "company_guest", &["company_reports:create"]).is(200);
    for lacking in ["people:invite", "automations:manage", "databases:create"] {
        acme.adjust("mia", "company_guest", &["company_reports:create", lacking])
            .refused(422, "beyond_own_rights");
    }
    // What somebody holds in a pipe they hold there.
    acme.put("pipe/p1", "mia", "pipe_admin").is(200);
    acme.adjust("mia", "company_guest", &["company_reports:create", "cards:read"])
        .refused(422, "beyond_own_rights");
    // Nor does she widen a role by taking an adjustment back.
    acme.adjust("sue", "admin", &["people:invite", "admin_dashboard:use"]).is(200);
    acme.delete("/v1/tenants/acme/roles/admin", &acme.who("mia")).refused(422, "beyond_own_rights");
    acme.cannot("adam", "DELETE", "people/7");
    // Support says what roles hold at no level.
    let level = json!({"level": "assist"});
    acme.api("PUT", "/v1/tenants/acme/consent", &acme.who("sue"), level).is(200);
    let sam = acme.agent_with("sam", &json!({"groups": ["support"]}));
    acme.enter("acme", &sam).is(201);
    let body = json!({"permissions": []});
    acme.api("PUT", "/v1/tenants/acme/roles/member", &sam, body).refused(403, "not_allowed");
    assert_eq!(acme.reaches("GET", "/orgs/acme/admin-dashboard", &sam).unwrap_err(), "ceiling");
    let (event, record) = acme.events("role_set").swap_remove(1);
    assert_eq!(
        (&event["role"], &event["added"]),
        (&json!("company_guest"), &json!(["company_reports:create"]))
    );
    let intents = acme.world.of_kind("change.intent");
    let intent = intents.iter().find(|intent| intent["change"] == record["change"]).unwrap();
    assert_eq!(intent["subject"]["sub"], "mia");
    acme.0.finish();
}
