//! PFC: the roles in a database.

use serde_json::json;

use super::{acme, at};

const IN_D1: [(&str, &str); 3] =
    [("mia", "database_read_only"), ("max", "database_member"), ("moe", "database_admin")];

#[test]
fn pfc_05_a_database_has_three_roles() {
    let acme = acme();
    for (sub, role) in IN_D1 {
        acme.put("database/d1", sub, role).is(200);
    }
    for other in ["read_only", "pipe_member", "restricted_view", "member"] {
        acme.put("database/d1", "mia", other).refused(422, "role_not_here");
    }
    let told = acme.get(&at("database/d1"), &acme.provisioner()).is(200).body;
    let one = |role: &str| json!({"role": role, "members": 1});
    let roles = ["database_admin", "database_member", "database_read_only"].map(one);
    assert_eq!(told["members"], json!({"all": 3, "roles": roles}));
    // Here, and in no other one.
    for (sub, _) in IN_D1 {
        acme.can(sub, "GET", "databases/d1");
        acme.cannot(sub, "GET", "databases/d2");
    }
    acme.0.finish();
}

#[test]
fn pfc_13_read_only_sees_records_members_edit_them_and_admins_do_the_rest() {
    let acme = acme();
    for (sub, role) in IN_D1 {
        acme.put("database/d1", sub, role).is(200);
    }
    for (id, database) in [("r1", "d1"), ("r2", "d2")] {
        acme.push(&format!("record/{id}"), json!({"parent": database})).is(200);
    }
    // What is asked, and how it stands with read only, member and admin.
    for (method, below, cells) in [
        ("GET", "databases/d1/records", [true, true, true]),
        ("GET", "databases/d1/records/r1", [true, true, true]),
        ("POST", "databases/d1/records", [false, true, true]),
        ("PUT", "databases/d1/records/r1", [false, true, true]),
        ("DELETE", "databases/d1/records/r1", [false, false, true]),
        ("PUT", "databases/d1/settings", [false, false, true]),
        ("GET", "databases/d1/people", [true, true, true]),
        ("PUT", "databases/d1/people/7", [false, false, true]),
        ("DELETE", "databases/d1/people/7", [false, false, true]),
        // The database itself is the company's to delete.
        ("DELETE", "databases/d1", [false, false, false]),
        // A record of another, whichever the path names.
        ("GET", "databases/d1/records/r2", [false, false, false]),
        ("GET", "databases/d2/records/r2", [false, false, false]),
        ("GET", "databases/d2/records/r1", [false, false, false]),
    ] {
        for ((sub, _), passes) in IN_D1.into_iter().zip(cells) {
            if passes {
                acme.can(sub, method, below);
            } else {
                acme.cannot(sub, method, below);
            }
        }
    }
    // Its admin manages its people, and hands on what they hold.
    let moe = acme.who("moe");
    acme.put_by(&moe, "database/d1", "mia", "database_member").is(200);
    acme.can("mia", "PUT", "databases/d1/records/r1");
    acme.put_by(&acme.who("max"), "database/d1", "mia", "database_admin").refused(403, "not_allowed");
    acme.take_out(&moe, "database/d1", "mia").is(200);
    acme.cannot("mia", "GET", "databases/d1/records/r1");
    acme.0.finish();
}
