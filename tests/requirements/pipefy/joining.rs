//! PFP: who sees a pipe, who joins it and in which role, and who says who is in it.

use serde_json::{Value, json};

use super::{IN_P1, acme, app, at, cards_of, member_of, staffed};
use crate::stage::DAY;

#[test]
fn pfp_01_what_somebody_is_in_the_company_says_nothing_of_a_pipe() {
    let acme = acme();
    acme.card("c1", "p1", None, &[]);
    for sub in ["sue", "adam", "mia", "gus", "xena"] {
        for (method, below) in [
            ("GET", "pipes/p1"),
            ("GET", "pipes/p1/cards"),
            ("GET", "pipes/p1/cards/c1"),
            ("POST", "pipes/p1/cards"),
            ("POST", "pipes/p1/start-form"),
            ("PUT", "pipes/p1/settings"),
            ("PUT", "pipes/p1/people/7"),
        ] {
            acme.cannot(sub, method, below);
        }
    }
    // A member of the company is the admin of a pipe, its super admin one who only sees.
    acme.put("pipe/p1", "mia", "pipe_admin").is(200);
    acme.put("pipe/p1", "sue", "read_only").is(200);
    acme.can("mia", "DELETE", "pipes/p1/cards/c1");
    acme.can("sue", "GET", "pipes/p1/cards/c1");
    acme.cannot("sue", "DELETE", "pipes/p1/cards/c1");
    // More in the company is no more in the pipe, and less no less.
    acme.row("mia", &["super_admin"]).is(200);
    acme.row("sue", &["member"]).is(200);
    acme.can("mia", "DELETE", "pipes/p1/cards/c1");
    acme.cannot("sue", "DELETE", "pipes/p1/cards/c1");
    acme.cannot("mia", "GET", "pipes/p2/cards");
    acme.0.finish();
}

#[test]
fn pfp_02_a_public_pipe_is_joined_by_whoever_sees_it_and_a_private_one_by_invitation_or_by_admins() {
    let acme = acme();
    acme.push("pipe/open", json!({"visibility": "public"})).is(200);
    for (sub, role) in [("mia", "pipe_member"), ("adam", "pipe_admin"), ("sue", "pipe_admin")] {
        acme.get(&at("pipe/open"), &acme.who(sub)).is(200);
        acme.cannot(sub, "GET", "pipes/open/cards");
        for other in ["pipe_member", "pipe_admin", "read_only", "restricted_view"] {
            if other != role {
                acme.put_by(&acme.who(sub), "pipe/open", sub, other).refused(403, "not_allowed");
            }
        }
        acme.put_by(&acme.who(sub), "pipe/open", sub, role).is(200);
        acme.can(sub, "GET", "pipes/open/cards");
    }
    acme.cannot("mia", "PUT", "pipes/open/settings");
    acme.can("adam", "PUT", "pipes/open/settings");
    // It is among what shows itself to all of them; the private ones are among what shows itself to admins.
    assert_eq!(acme.shown("mia", "pipe"), ["open"]);
    for sub in ["adam", "sue"] {
        assert_eq!(acme.shown(sub, "pipe"), ["open", "p1", "p2"], "{sub}");
    }
    // For themselves, and for nobody else.
    acme.put_by(&acme.who("mia"), "pipe/open", "max", "pipe_member").refused(403, "not_allowed");
    // A private one: not by members; by admins; by whom an admin of the pipe lets in.
    acme.put_by(&acme.who("mia"), "pipe/p1", "mia", "pipe_member").refused(403, "not_allowed");
    acme.put_by(&acme.who("adam"), "pipe/p1", "adam", "pipe_admin").is(200);
    acme.put_by(&acme.who("adam"), "pipe/p1", "mia", "restricted_view").is(200);
    acme.can("mia", "POST", "pipes/p1/cards");
    let joined = acme.events("resource_joined");
    let told: Vec<(&Value, &Value)> =
        joined.iter().map(|(event, _)| (&event["member"], &event["role"])).collect();
    let expected = [
        ("mia", "pipe_member"),
        ("adam", "pipe_admin"),
        ("sue", "pipe_admin"),
        ("adam", "pipe_admin"),
        ("mia", "restricted_view"),
    ]
    .map(|(sub, role)| (app(sub), json!(role)));
    assert_eq!(told, expected.iter().map(|(member, role)| (member, role)).collect::<Vec<_>>());
    acme.0.finish();
}

#[test]
fn pfp_09_who_is_in_a_pipe_is_seen_by_those_in_it_save_one_role_and_by_whoever_manages_its_people() {
    let acme = staffed();
    let mut all = IN_P1.map(|(sub, role)| (sub.to_owned(), role.to_owned())).to_vec();
    all.sort();
    for sub in ["rhea", "vic", "mo", "ada"] {
        assert_eq!(acme.members(&acme.who(sub), "pipe/p1"), all, "{sub}");
        acme.can(sub, "GET", "pipes/p1/people");
    }
    for sub in ["fay", "mia", "gus", "xena", "adam"] {
        acme.get(&format!("{}/members", at("pipe/p1")), &acme.who(sub)).refused(403, "not_allowed");
        acme.cannot(sub, "GET", "pipes/p1/people");
    }
    // Nobody learns so whether there is such a pipe.
    let there = acme.get(&format!("{}/members", at("pipe/p1")), &acme.who("mia")).body;
    let not_there = acme.get(&format!("{}/members", at("pipe/p9")), &acme.who("mia")).body;
    assert_eq!(there, not_there);
    // The list is as it is now.
    acme.take_out(&acme.who("ada"), "pipe/p1", "rhea").is(200);
    all.retain(|(sub, _)| sub != "rhea");
    assert_eq!(acme.members(&acme.who("mo"), "pipe/p1"), all);
    acme.get(&format!("{}/members", at("pipe/p1")), &acme.who("rhea")).refused(403, "not_allowed");
    acme.0.finish();
}

#[test]
fn pfp_11_public_or_private_is_a_setting_of_the_pipe_unknown_is_private_and_turning_private_removes_nobody() {
    let acme = staffed();
    // The setting is changed in the application, by the pipe's admins; what it then is, the application says.
    for (sub, _) in IN_P1 {
        if sub == "ada" {
            acme.can(sub, "PUT", "pipes/p1/settings");
        } else {
            acme.cannot(sub, "PUT", "pipes/p1/settings");
        }
        acme.api("PUT", &at("pipe/p1"), &acme.who(sub), json!({"visibility": "public"}))
            .refused(403, "not_allowed");
    }
    for unknown in [json!({}), json!({"visibility": "private"})] {
        let told = acme.push("pipe/p1", unknown).is(200).body;
        assert_eq!(told["resource"]["visibility"], "private");
        acme.put_by(&acme.who("mia"), "pipe/p1", "mia", "pipe_member").refused(403, "not_allowed");
    }
    acme.put_by(&acme.who("mia"), "pipe/p9", "mia", "pipe_member").refused(403, "not_allowed");
    acme.push("pipe/p1", json!({"visibility": "public"})).is(200);
    acme.put_by(&acme.who("mia"), "pipe/p1", "mia", "pipe_member").is(200);
    let before = acme.members(&acme.who("ada"), "pipe/p1");
    acme.push("pipe/p1", json!({"visibility": "private"})).is(200);
    assert_eq!(acme.members(&acme.who("ada"), "pipe/p1"), before);
    acme.can("mia", "GET", "pipes/p1/cards");
    acme.put_by(&acme.who("max"), "pipe/p1", "max", "pipe_member").refused(403, "not_allowed");
    let pushed = acme.events("resource_pushed");
    let publics: Vec<&Value> = pushed
        .iter()
        .filter(|(event, _)| event["resource"]["id"] == "p1")
        .map(|(event, _)| &event["public"])
        .collect();
    assert_eq!(publics, [false, true, false]);
    acme.0.finish();
}

#[test]
fn pfp_12_everyone_in_the_company_are_its_admins_and_members_and_before_joining_one_sees_no_card() {
    let acme = acme();
    acme.push("pipe/open", json!({"visibility": "public"})).is(200);
    acme.card("c1", "open", None, &[]);
    acme.says("GET pipes/open/cards", &cards_of(&["c1"]));
    for sub in ["sue", "adam", "mia", "max"] {
        let told = acme.get(&at("pipe/open"), &acme.who(sub)).is(200).body;
        assert_eq!((&told["id"], &told["visibility"]), (&json!("open"), &json!("public")));
        for below in ["pipes/open/cards", "pipes/open/cards/c1", "pipes/open/people"] {
            acme.cannot(sub, "GET", below);
        }
    }
    assert_eq!(acme.shown("max", "pipe"), ["open"]);
    for sub in ["gus", "xena"] {
        assert!(acme.shown(sub, "pipe").is_empty(), "{sub}");
    }
    // Guests neither see it nor join, and get the answer that they would get were it not there.
    for sub in ["gus", "xena"] {
        let told = acme.get(&at("pipe/open"), &acme.who(sub)).refused(403, "not_allowed").body;
        assert_eq!(told, acme.get(&at("pipe/p9"), &acme.who(sub)).body);
        for role in ["pipe_member", "pipe_admin", "start_form_only"] {
            acme.put_by(&acme.who(sub), "pipe/open", sub, role).refused(403, "not_allowed");
        }
    }
    acme.put_by(&acme.who("sue"), "pipe/open", "sue", "pipe_admin").is(200);
    acme.can("sue", "GET", "pipes/open/cards/c1");
    // Nobody of another company sees it.
    acme.company("globex", Some("business")).is(201);
    acme.row_in("globex", "hank", json!({"roles": ["super_admin"]})).is(200);
    acme.get(&at("pipe/open"), &acme.member("hank", "globex", &[])).refused(403, "not_allowed");
    acme.0.finish();
}

#[test]
fn pfp_13_a_private_pipe_shows_itself_to_its_members_the_invited_and_the_companys_admins_alone() {
    let acme = staffed();
    acme.card("c1", "p1", None, &[]);
    let sees = |sub: &str| acme.get(&at("pipe/p1"), &acme.who(sub)).status == 200;
    for (sub, shown) in [
        ("mo", true),
        ("ada", true),
        ("sue", true),
        ("adam", true),
        ("mia", false),
        ("gus", false),
        ("xena", false),
    ] {
        assert_eq!(sees(sub), shown, "{sub}");
    }
    // An invitation, by an admin of the pipe: it shows the pipe, and no card of it.
    let invite = |by: &str, sub: &str, role: &str| {
        let body = json!({"role": role, "invited": true});
        acme.api("PUT", &member_of("pipe/p1", sub), &acme.who(by), body)
    };
    for by in ["mo", "vic", "mia", "adam"] {
        invite(by, "mia", "pipe_member").refused(403, "not_allowed");
    }
    assert!(acme.shown("mia", "pipe").is_empty());
    invite("ada", "mia", "restricted_view").is(200);
    assert_eq!(acme.shown("mia", "pipe"), ["p1"]);
    assert_eq!(acme.shown("mo", "pipe"), ["p1"]);
    invite("ada", "gus", "read_only").refused(422, "kept_apart");
    assert!(sees("mia"));
    for below in ["pipes/p1", "pipes/p1/cards", "pipes/p1/cards/c1"] {
        acme.cannot("mia", "GET", below);
    }
    // They join in that role and in no other.
    for other in ["pipe_member", "pipe_admin", "read_only"] {
        acme.put_by(&acme.who("mia"), "pipe/p1", "mia", other).refused(403, "not_allowed");
    }
    acme.put_by(&acme.who("max"), "pipe/p1", "max", "restricted_view").refused(403, "not_allowed");
    acme.put_by(&acme.who("mia"), "pipe/p1", "mia", "restricted_view").is(200);
    acme.can("mia", "POST", "pipes/p1/cards");
    acme.cannot("mia", "GET", "pipes/p1/cards/c1");
    // One that was taken back is none, nor one whose time is over.
    invite("ada", "max", "pipe_member").is(200);
    assert!(sees("max"));
    acme.take_out(&acme.who("ada"), "pipe/p1", "max").is(200);
    assert!(!sees("max"));
    acme.put_by(&acme.who("max"), "pipe/p1", "max", "pipe_member").refused(403, "not_allowed");
    invite("ada", "moe", "pipe_member").is(200);
    // An admin of the company joins as the pipe's admin, and sees no card before.
    acme.cannot("adam", "GET", "pipes/p1/cards/c1");
    acme.put_by(&acme.who("adam"), "pipe/p1", "adam", "pipe_member").refused(403, "not_allowed");
    acme.put_by(&acme.who("adam"), "pipe/p1", "adam", "pipe_admin").is(200);
    acme.can("adam", "DELETE", "pipes/p1/cards/c1");
    acme.clock.advance(15 * DAY);
    assert!(!sees("moe"));
    acme.put_by(&acme.who("moe"), "pipe/p1", "moe", "pipe_member").refused(403, "not_allowed");
    let joined = acme.events("resource_joined");
    let told: Vec<_> =
        joined.iter().rev().take(2).map(|(event, _)| (&event["member"]["sub"], &event["role"])).collect();
    assert_eq!(told, [(&json!("adam"), &json!("pipe_admin")), (&json!("mia"), &json!("restricted_view"))]);
    acme.0.finish();
}
