//! PFC: guests, who are part of no pipe and no database.

use serde_json::json;

use super::{Acme, at, staffed};

#[test]
fn pfc_14_nothing_makes_a_guest_part_of_a_pipe_and_who_becomes_one_leaves_theirs_at_once() {
    let acme = staffed();
    // No adjustment does: a guest's role may be given everything that its author has.
    acme.adjust("sue", "company_guest", &["company_reports:create", "people:read", "automations:manage"])
        .is(200);
    acme.can("gus", "GET", "people");
    for role in ["pipe_member", "read_only", "start_form_only", "pipe_admin"] {
        acme.put("pipe/p1", "gus", role).refused(422, "kept_apart");
        acme.put_by(&acme.who("ada"), "pipe/p1", "gus", role).refused(422, "kept_apart");
    }
    acme.put("database/d1", "xena", "database_read_only").refused(422, "kept_apart");
    acme.adjust("sue", "member", &["pipes:create"]).is(200);
    acme.put("pipe/p1", "gus", "pipe_member").refused(422, "kept_apart");

    acme.card("c1", "p1", Some("mo"), &["mo"]);
    acme.put("pipe/p2", "mo", "pipe_admin").is(200);
    acme.put("database/d1", "mo", "database_admin").is(200);
    acme.can("mo", "PUT", "pipes/p1/cards/c1");
    for (guest, sub) in [("company_guest", "mo"), ("external_guest", "rhea")] {
        acme.row(sub, &[guest]).is(200);
        for (method, below) in [
            ("GET", "pipes/p1"),
            ("GET", "pipes/p1/cards"),
            ("GET", "pipes/p1/cards/c1"),
            ("PUT", "pipes/p1/cards/c1"),
            ("PUT", "pipes/p2/settings"),
            ("GET", "databases/d1/records"),
        ] {
            acme.cannot(sub, method, below);
        }
        acme.get(&format!("{}/members", at("pipe/p1")), &acme.who(sub)).refused(403, "not_allowed");
    }
    let left: Vec<String> =
        acme.members(&acme.who("ada"), "pipe/p1").into_iter().map(|(sub, _)| sub).collect();
    assert_eq!(left, ["ada", "fay", "vic"]);
    // Also of somebody who is something else beside it.
    acme.row("vic", &["member", "company_guest"]).is(200);
    acme.cannot("vic", "POST", "pipes/p1/cards");
    // And for good: who is a member again is in nothing that nobody put them into.
    acme.row("mo", &["member"]).is(200);
    acme.cannot("mo", "GET", "pipes/p1/cards/c1");
    acme.put("pipe/p1", "mo", "read_only").is(200);
    acme.can("mo", "GET", "pipes/p1/cards/c1");
    acme.cannot("mo", "PUT", "pipes/p2/settings");
    acme.0.finish();
}

/// With two start forms of the pipe p1 and one of p2.
fn with_forms() -> Acme {
    let acme = staffed();
    for (form, pipe) in [("f1", "p1"), ("f2", "p1"), ("f3", "p2")] {
        acme.push(&format!("form/{form}"), json!({"parent": pipe})).is(200);
    }
    acme
}

fn form(pipe: &str, form: &str) -> [(&'static str, String); 2] {
    let path = format!("pipes/{pipe}/forms/{form}");
    [("GET", path.clone()), ("POST", path + "/submissions")]
}

#[test]
fn pfc_06_guests_are_part_of_no_pipe_or_database_and_use_the_start_forms_shared_with_them() {
    let acme = with_forms();
    for guest in ["gus", "xena"] {
        for role in ["read_only", "restricted_view", "start_form_only", "pipe_member", "pipe_admin"] {
            acme.put("pipe/p1", guest, role).refused(422, "kept_apart");
        }
        for role in ["database_read_only", "database_member", "database_admin"] {
            acme.put("database/d1", guest, role).refused(422, "kept_apart");
        }
        for (method, below) in form("p1", "f1") {
            acme.cannot(guest, method, &below);
        }
        acme.put_by(&acme.who("ada"), "form/f1", guest, "form_guest").is(200);
        for (method, below) in form("p1", "f1") {
            acme.can(guest, method, &below);
        }
    }
    let joined = acme.events("resource_joined");
    let (event, record) = joined.last().unwrap();
    assert_eq!(
        (&event["member"]["sub"], &event["role"], &record["tenant"]),
        (&json!("xena"), &json!("form_guest"), &json!("acme"))
    );
    assert!(
        joined
            .iter()
            .all(|(event, _)| event["resource"]["type"] == "form" || event["member"]["sub"] != "gus")
    );
    // It is no longer shared.
    acme.take_out(&acme.who("ada"), "form/f1", "gus").is(200);
    for (method, below) in form("p1", "f1") {
        acme.cannot("gus", method, &below);
        acme.can("xena", method, &below);
    }
    acme.0.finish();
}

#[test]
fn pfc_15_a_guest_reaches_a_form_where_it_was_shared_and_nothing_of_the_pipe_behind_it() {
    let acme = with_forms();
    acme.put_by(&acme.who("ada"), "form/f1", "gus", "form_guest").is(200);
    // What he sent is a card of his, which he does not see.
    acme.card("sent", "p1", Some("gus"), &["gus"]);
    for (method, below) in form("p1", "f1") {
        acme.can("gus", method, &below);
    }
    // Another form, another pipe's, and this one under another pipe's name.
    for (pipe, other) in [("p1", "f2"), ("p2", "f3"), ("p2", "f1"), ("p1", "f9")] {
        for (method, below) in form(pipe, other) {
            acme.cannot("gus", method, &below);
        }
    }
    for (method, below) in [
        ("GET", ""),
        ("GET", "/start-form"),
        ("POST", "/start-form"),
        ("GET", "/phases"),
        ("GET", "/people"),
        ("GET", "/cards"),
        ("POST", "/cards"),
        ("GET", "/cards/sent"),
        ("PUT", "/cards/sent"),
        ("GET", "/cards/sent/comments"),
        ("POST", "/cards/sent/comments"),
        ("GET", "/cards/sent/attachments/7"),
        ("POST", "/search"),
        ("GET", "/export.json"),
        ("GET", "/count"),
    ] {
        acme.cannot("gus", method, &format!("pipes/p1{below}"));
    }
    for hidden in ["pipe/p1", "card/sent", "pipe/p1/members", "form/f1/members"] {
        acme.get(&at(hidden), &acme.who("gus")).refused(403, "not_allowed");
    }
    // Nobody shares a form but who manages the people of its pipe: not he, and no member.
    for sub in ["gus", "mo", "mia", "adam"] {
        acme.put_by(&acme.who(sub), "form/f1", "xena", "form_guest").refused(403, "not_allowed");
    }
    acme.0.finish();
}
