//! PFC: guests, who are part of no pipe and no database.

use super::{acme, at, staffed};

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
