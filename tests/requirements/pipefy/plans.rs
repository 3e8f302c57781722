//! PFC and PFP: what hangs on a company's plan, and what stays when that is no longer had.

use serde_json::{Value, json};

use super::{Acme, IN_P1, NOON, PRESET, acme, staffed};
use crate::stage::Stage;

/// A company of that plan, with somebody who may do all, made while it had one that lets them be named.
fn of_plan(plan: Option<&str>) -> Acme {
    let acme = Acme(Stage::set(PRESET, NOON, &[]));
    acme.company("acme", Some("business")).is(201);
    acme.row("sue", &["super_admin"]).is(200);
    acme.row("mia", &["member"]).is(200);
    acme.push("pipe/p1", json!({})).is(200);
    acme.company("acme", plan).is(200);
    acme
}

/// What a company has of its plan; one that nobody knows is none.
const PLANS: [(Option<&str>, bool, bool); 6] = [
    // The plan; whether roles are customised by it; whether it is one that is active.
    (Some("business"), true, true),
    (Some("enterprise"), true, true),
    (Some("unlimited"), true, true),
    (Some("starter"), false, true),
    (Some("platinum"), false, false),
    (None, false, false),
];

#[test]
fn pfc_09_features_are_had_by_the_plans_that_have_them() {
    for (plan, customises, active) in PLANS {
        let acme = of_plan(plan);
        // Customising roles.
        let adjusted = acme.adjust("sue", "member", &["company_reports:create"]);
        if customises {
            adjusted.is(200);
            acme.cannot("mia", "POST", "pipes");
        } else {
            adjusted.refused(403, "plan_lacks_roles");
            acme.can("mia", "POST", "pipes");
        }
        // The dashboard, whoever asks for it.
        let dashboard = acme.asks("sue", "GET", "admin-dashboard");
        match dashboard {
            Ok(_) => assert!(active, "{plan:?}"),
            Err(code) => assert_eq!((code.as_str(), active), ("route_not_in_plan", false), "{plan:?}"),
        }
        // The other roles in a pipe.
        let given = acme.put("pipe/p1", "mia", "read_only");
        if customises {
            given.is(200);
        } else {
            given.refused(403, "role_not_in_plan");
        }
        acme.0.finish();
    }
}

#[test]
fn pfc_10_the_dashboard_and_naming_administrators_take_an_active_plan_and_a_lapse_takes_nothing_back() {
    let acme = acme();
    acme.adjust("sue", "member", &["company_reports:create"]).is(200);
    acme.can("adam", "GET", "admin-dashboard");
    acme.row("nora", &["admin"]).is(200);
    // It lapses: by a word that nobody knows, and by none.
    for plan in [Some("expired"), None] {
        acme.company("acme", plan).is(200);
        for (role, sub) in [("admin", "mia"), ("super_admin", "mia"), ("super_admin", "adam")] {
            acme.row(sub, &[role]).refused(403, "role_not_in_plan");
        }
        acme.row("newcomer", &["admin"]).refused(403, "role_not_in_plan");
        for method in ["GET", "PUT"] {
            let below = if method == "GET" { "admin-dashboard" } else { "admin-dashboard/roles" };
            for sub in ["sue", "adam"] {
                assert_eq!(acme.asks(sub, method, below).unwrap_err(), "route_not_in_plan");
            }
            acme.cannot("mia", method, below);
        }
        acme.adjust("sue", "member", &["company_reports:create", "pipes:create"])
            .refused(403, "plan_lacks_roles");
        acme.delete("/v1/tenants/acme/roles/member", &acme.who("sue")).refused(403, "plan_lacks_roles");
        // Roles and narrowings stay as they are, also when a row is said again.
        acme.can("adam", "POST", "people");
        acme.row_in("acme", "adam", json!({"roles": ["admin"], "email": "adam@acme.example"})).is(200);
        acme.can("adam", "POST", "people");
        acme.cannot("mia", "POST", "pipes");
        acme.can("mia", "POST", "reports");
        // Whom it does not need a plan for is named, and who is an administrator no more is none.
        acme.row("olaf", &["member"]).is(200);
    }
    acme.row("nora", &["member"]).is(200);
    acme.row("nora", &["admin"]).refused(403, "role_not_in_plan");
    // Nor is the role handed to support by a grant meanwhile.
    let grant = json!({"environment": "production", "to": {"email": "sam@vendor.example"}, "role": "admin",
        "scope": "everything", "for": "1d"});
    acme.api("POST", "/v1/tenants/acme/grants", &acme.who("sue"), grant).refused(403, "role_not_in_plan");
    // Who was removed while they held it comes back by a plan only.
    acme.row_in("acme", "adam", Value::Null).is(200);
    acme.row("adam", &["admin"]).refused(403, "role_not_in_plan");
    acme.company("acme", Some("starter")).is(200);
    acme.row("adam", &["admin"]).is(200);
    acme.can("adam", "GET", "admin-dashboard");
    acme.0.finish();
}

#[test]
fn pfp_10_other_roles_than_member_and_admin_take_a_plan_and_a_lapse_widens_nothing() {
    let planned = ["read_only", "restricted_view", "start_form_only"];
    let acme = staffed();
    acme.card("own", "p1", Some("vic"), &[]);
    acme.card("other", "p1", Some("mia"), &[]);
    for plan in [Some("starter"), Some("gold"), None] {
        acme.company("acme", plan).is(200);
        for role in planned {
            acme.put("pipe/p1", "mia", role).refused(403, "role_not_in_plan");
            acme.put_by(&acme.who("ada"), "pipe/p1", "mia", role).refused(403, "role_not_in_plan");
            // Not even in the place of more.
            acme.put("pipe/p1", "mo", role).refused(403, "role_not_in_plan");
        }
        // Everybody is what they were.
        let mut expected = IN_P1.map(|(sub, role)| (sub.to_owned(), role.to_owned()));
        expected.sort();
        assert_eq!(acme.members(&acme.who("ada"), "pipe/p1"), expected);
        acme.can("vic", "GET", "pipes/p1/cards/own");
        for (sub, below) in [("vic", "pipes/p1/cards/other"), ("fay", "pipes/p1/cards/own")] {
            acme.cannot(sub, "GET", below);
        }
        acme.cannot("rhea", "PUT", "pipes/p1/cards/own");
        for (sub, role) in [("moe", "pipe_member"), ("max", "pipe_admin")] {
            acme.put("pipe/p1", sub, role).is(200);
            acme.take_out(&acme.provisioner(), "pipe/p1", sub).is(200);
        }
    }
    for plan in ["business", "enterprise", "unlimited"] {
        acme.company("acme", Some(plan)).is(200);
        for role in planned {
            acme.put("pipe/p1", "mia", role).is(200);
        }
        acme.take_out(&acme.provisioner(), "pipe/p1", "mia").is(200);
    }
    acme.0.finish();
}
