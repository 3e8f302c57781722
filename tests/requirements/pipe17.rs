//! P17: consent levels. The lines of `docs/requirements.md` that begin with P17, one test each, on `config/presets/pipe17.yaml`.

use std::collections::BTreeSet;

use jiff::ToSpan as _;
use postern::config;
use serde_json::{Value, json};

use crate::{
    client::Ending,
    stage::{Answer, DAY, HOUR, Stage, asserted, at, person_id, written},
    world::*,
};

const PRESET: &str = include_str!("../../config/presets/pipe17.yaml");

fn stage() -> Stage {
    Stage::set(PRESET, NOON, &[])
}

fn stage_at(now: &str) -> Stage {
    Stage::set(PRESET, at(now), &[])
}

const ORDERS: &str = "/orgs/acme/orders";

/// From which level on a route is open to whoever is inside by consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Opens {
    ReadOnly = 1,
    LimitedEdit = 2,
    Full = 3,
    /// At none: it makes or changes an identity of the tenant.
    Never = 4,
}

use Opens::{Full, LimitedEdit, Never, ReadOnly};

/// Every route of the map, below `/orgs/{organization}`, as the sentences of the source put it.
const MAP: &[(&str, &str, Opens)] = &[
    ("GET", "/orders", ReadOnly),
    ("POST", "/orders", Full),
    ("POST", "/orders/search", ReadOnly),
    ("GET", "/orders/7", ReadOnly),
    ("PATCH", "/orders/7", Full),
    ("DELETE", "/orders/7", Full),
    ("GET", "/orders/7/events", ReadOnly),
    ("GET", "/shipments", ReadOnly),
    ("POST", "/shipments", Full),
    ("GET", "/products", ReadOnly),
    ("PATCH", "/products/7", Full),
    ("DELETE", "/products/7", Full),
    ("GET", "/inventory", ReadOnly),
    ("POST", "/inventory/adjustments", Full),
    ("GET", "/exports/orders.csv", Full),
    ("GET", "/integrations", ReadOnly),
    ("POST", "/integrations", Full),
    ("GET", "/integrations/shop", ReadOnly),
    ("DELETE", "/integrations/shop", Full),
    ("GET", "/integrations/shop/settings", ReadOnly),
    ("PUT", "/integrations/shop/settings", LimitedEdit),
    ("POST", "/integrations/shop/actions/pull-orders", LimitedEdit),
    ("GET", "/mappings/builtin", ReadOnly),
    ("GET", "/mappings/builtin/7", ReadOnly),
    ("PUT", "/mappings/builtin/7", Full),
    ("GET", "/mappings/custom", ReadOnly),
    ("POST", "/mappings/custom", LimitedEdit),
    ("GET", "/mappings/custom/7", ReadOnly),
    ("PUT", "/mappings/custom/7", LimitedEdit),
    ("POST", "/mappings/custom/7/enable", LimitedEdit),
    ("POST", "/mappings/custom/7/disable", LimitedEdit),
    ("DELETE", "/mappings/custom/7", Full),
    ("GET", "/jobs", ReadOnly),
    ("POST", "/jobs", LimitedEdit),
    ("GET", "/jobs/7", ReadOnly),
    ("POST", "/jobs/7/pause", LimitedEdit),
    ("POST", "/jobs/7/resume", LimitedEdit),
    ("POST", "/jobs/7/stop", LimitedEdit),
    ("DELETE", "/jobs/7", Full),
    ("GET", "/logs", ReadOnly),
    ("GET", "/profile", ReadOnly),
    ("PUT", "/profile", Full),
    ("GET", "/users", ReadOnly),
    ("POST", "/users", Never),
    ("PATCH", "/users/7", Never),
    ("DELETE", "/users/7", Never),
    ("GET", "/api-keys", ReadOnly),
    ("POST", "/api-keys", Never),
    ("DELETE", "/api-keys/7", Never),
    ("GET", "/webhooks", ReadOnly),
    ("POST", "/webhooks", Full),
    ("DELETE", "/webhooks/7", Full),
    ("GET", "/schedules", ReadOnly),
    ("PUT", "/schedules/7", Full),
];

fn map() -> impl Iterator<Item = (&'static str, String, Opens)> + Clone {
    MAP.iter().map(|(method, path, from)| (*method, format!("/orgs/acme{path}"), *from))
}

/// Asks for every route of the map, and holds what came of it to the level.
#[track_caller]
fn reaches_exactly(stage: &Stage, level: Opens, token: &str) {
    // Nothing of the map stands outside of the table.
    let routes = PRESET.matches("/orgs/{organization}/").count();
    assert_eq!(map().count(), routes, "the table has another length than the preset's map");
    for (method, path, from) in map() {
        let came = stage.reaches(method, &path, token);
        match (from <= level, from) {
            (true, _) => assert!(came.is_ok(), "{method} {path} at {level:?}: {came:?}"),
            (false, Never) => assert_eq!(came.unwrap_err(), "ceiling", "{method} {path}"),
            (false, _) => assert_eq!(came.unwrap_err(), "permission_missing", "{method} {path} at {level:?}"),
        }
    }
}

#[test]
fn p17_01_a_tenant_has_one_consent_setting_with_five_values() {
    let stage = stage();
    let consent = "/v1/tenants/acme-eu/consent";
    let admin = stage.admin("acme-eu");
    for (said, in_force) in [
        ("block", "block"),
        ("limited_edit", "limited_edit"),
        ("full", "full"),
        ("inherit", "read_only"),
        ("read_only", "read_only"),
    ] {
        let answer = stage.api("PUT", consent, &admin, json!({"level": said})).is(200);
        assert_eq!(answer.body["consent"]["choice"], said);
        assert_eq!(answer.body["consent"]["in_force"]["level"], in_force);
        assert_eq!(stage.get(consent, &admin).is(200).body["choice"], said);
    }
    let ladder = stage.get(consent, &admin).is(200).body["ladder"].clone();
    let names: Vec<&str> =
        ladder.as_array().unwrap().iter().map(|step| step["level"].as_str().unwrap()).collect();
    assert_eq!(names, ["block", "read_only", "limited_edit", "full"], "and `inherit`, which is none of them");
    stage.api("PUT", consent, &admin, json!({"level": "everything"})).refused(422, "level_unknown");
    stage.api("PUT", consent, &admin, json!({"level": ["full"]})).refused(400, "body_malformed");
    stage.api("PUT", consent, &admin, json!({})).refused(400, "body_malformed");
    assert_eq!(
        stage.get(consent, &admin).is(200).body["choice"],
        "read_only",
        "what was refused changed nothing"
    );
    stage.finish();
}

#[test]
fn p17_02_who_never_set_anything_is_at_read_only_and_a_lost_setting_is_not_never_set() {
    let mut stage = stage();
    // Seen for the first time, at the top and as somebody's child.
    stage.push("initech", None, Some("Europe/Paris")).is(201);
    stage.push("initech-lab", Some("initech"), Some("Europe/Paris")).is(201);
    stage.consent("acme", "block");
    for tenant in ["acme-eu", "acme-eu-outlet", "globex", "initech", "initech-lab"] {
        let consent = stage.get(&format!("/v1/tenants/{tenant}/consent"), &stage.admin(tenant)).is(200).body;
        assert_eq!(consent["choice"], "read_only", "{tenant}: `inherit` is chosen, never assumed");
        assert_eq!(consent["in_force"]["role"], "support_reader");
        let sam = stage.agent("sam");
        stage.enter(tenant, &sam).is(201);
        assert!(
            stage.reaches("GET", &format!("/orgs/{tenant}/orders"), &sam).is_ok(),
            "nobody had to do anything"
        );
        assert_eq!(
            stage.reaches("POST", &format!("/orgs/{tenant}/orders"), &sam).unwrap_err(),
            "permission_missing"
        );
    }
    // A name that only an agent says makes no tenant known.
    stage.enter("nowhere", &stage.agent("sam")).refused(403, "consent_closes");
    // What was set and is lost: it comes back from the record, and is never taken for a beginning.
    stage.world.gateway.take().unwrap().stop();
    let state = stage.world.data.join("state.redb");
    std::fs::remove_file(&state).unwrap();
    let beginning = postern::app::init_state(&state, &stage.world.ledger_dir());
    assert_eq!(beginning.unwrap_err().code(), "ledger_there");
    stage.world.up();
    assert_eq!(stage.level("acme"), "block");
    stage.enter("acme", &stage.agent("sam")).refused(403, "consent_closes");
    // Where the record is lost too there is nothing to serve from.
    stage.world.gateway.take().unwrap().stop();
    stage.world.prove();
    std::fs::remove_file(&state).unwrap();
    std::fs::remove_dir_all(stage.world.ledger_dir()).unwrap();
    let fault = stage.world.try_up().map(|()| "it serves").unwrap_err().to_string();
    assert!(fault.contains("there is neither state"), "{fault}");
}

#[test]
fn p17_03_a_session_gets_the_role_of_the_level_in_force_and_nobody_more_by_consent() {
    let stage = stage();
    for (level, role) in
        [("read_only", "support_reader"), ("limited_edit", "support_editor"), ("full", "admin")]
    {
        stage.consent("acme", level);
        for sub in ["sam", "kim"] {
            let token = stage.agent(sub);
            let answer = stage.enter("acme", &token).is(201);
            assert_eq!(answer.body["session"]["role"], role);
            assert_eq!(answer.body["session"]["basis"], json!({"consent": level}));
            let seen = stage.reaches("GET", ORDERS, &token).unwrap();
            let told = asserted(&seen);
            assert_eq!(
                (&told["sub"], &told["role"], &told["tenant"], &told["session"]),
                (&json!(sub), &json!(role), &json!("acme"), &json!(answer.session())),
                "the application is told in which role"
            );
            assert_eq!(seen.values("authorization"), Vec::<String>::new());
            let started = stage.events("session_started").pop().unwrap().0;
            assert_eq!((&started["subject"]["sub"], &started["role"]), (&json!(sub), &json!(role)));
        }
    }
    stage.finish();
}

#[test]
fn p17_04_access_ends_after_five_calendar_days_and_is_not_prolonged() {
    // Berlin: the clocks go forward on 29 March, and back on 25 October.
    for (start, end, hours) in [
        ("2026-03-27T12:00:00+01:00", "2026-04-01T12:00:00+02:00", 119),
        ("2026-10-23T12:00:00+02:00", "2026-10-28T12:00:00+01:00", 121),
        ("2026-07-01T12:00:00+02:00", "2026-07-06T12:00:00+02:00", 120),
    ] {
        let stage = stage_at(start);
        assert_eq!(at(end) - at(start), hours * HOUR);
        let answer = stage.enter("acme-eu", &stage.agent("sam")).is(201);
        let session = answer.session();
        assert_eq!(answer.body["session"]["ends"], json!({"at": written(at(end)), "clock": "session"}));
        stage
            .api(
                "PATCH",
                &format!("/v1/tenants/acme-eu/sessions/{session}"),
                &stage.agent("sam"),
                json!({"for": "9d"}),
            )
            .refused(405, "method_not_allowed");
        stage.clock.set(at(end) - 1);
        assert!(stage.reaches("GET", "/orgs/acme-eu/orders", &stage.agent("sam")).is_ok());
        assert_eq!(stage.inside("acme-eu"), ["sam"]);
        stage.clock.set(at(end));
        assert_eq!(
            stage.reaches("GET", "/orgs/acme-eu/orders", &stage.agent("sam")).unwrap_err(),
            "session_expired"
        );
        assert_eq!(stage.inside("acme-eu"), Vec::<String>::new(), "gone from the list");
        let (event, _) = stage.end_of(&session);
        assert_eq!((&event["cause"], &event["at"]), (&json!("expired"), &json!(written(at(end)))));
        // A new one is needed, under the consent of that moment.
        stage.consent("acme-eu", "block");
        stage.enter("acme-eu", &stage.agent("sam")).refused(403, "consent_closes");
        stage.consent("acme-eu", "limited_edit");
        let again = stage.enter("acme-eu", &stage.agent("sam")).is(201);
        assert_eq!(again.body["session"]["role"], "support_editor");
        assert_ne!(again.session(), session);
        stage.finish();
    }
}

#[test]
fn p17_05_the_level_is_changed_at_any_time_and_lowering_governs_later_sessions() {
    let stage = stage();
    stage.consent("acme", "full");
    let sam = stage.agent("sam");
    stage.enter("acme", &sam).is(201);
    let mut running = stage.stream(ORDERS, &sam);
    for level in ["limited_edit", "read_only", "block"] {
        stage.consent("acme", level);
        assert!(stage.reaches("DELETE", "/orgs/acme/orders/7", &sam).is_ok(), "what runs goes on: {level}");
    }
    let before = stage.passed();
    until("the stream goes on", || running.more() == Ending::Open && stage.passed() > before + 1_000_000);
    drop(running);
    stage.enter("acme", &stage.agent("kim")).refused(403, "consent_closes");
    stage.enter("acme", &sam).refused(403, "consent_closes");
    let levels: Vec<Value> =
        stage.events("consent_changed").into_iter().map(|(event, _)| event["to"].clone()).collect();
    assert_eq!(levels, ["full", "limited_edit", "read_only", "block"]);
    stage.finish();

    // Beyond the source, by a line of configuration: at once.
    let strict = Stage::set(PRESET, NOON, &[("on_lower: future", "on_lower: immediate")]);
    strict.consent("acme", "full");
    let sam = strict.agent("sam");
    strict.enter("acme", &sam).is(201);
    strict.consent("acme", "read_only");
    assert_eq!(strict.reaches("DELETE", "/orgs/acme/orders/7", &sam).unwrap_err(), "consent_lowered");
    let running = strict.stream(ORDERS, &sam);
    strict.consent("acme", "block");
    let answered = strict.passed();
    strict.was_cut(running, answered, "consent_withdrawn");
    strict.finish();
}

#[test]
fn p17_06_under_block_nobody_starts_a_session_by_consent() {
    let stage = stage();
    stage.consent("acme", "block");
    for sub in ["sam", "kim", "olga"] {
        let token = stage.agent(sub);
        stage.enter("acme", &token).refused(403, "consent_closes");
        assert_eq!(stage.reaches("GET", ORDERS, &token).unwrap_err(), "session_missing");
    }
    until("each refusal is on record", || {
        let refused = stage.world.of_kind("change.refused");
        let names: BTreeSet<&str> =
            refused.iter().filter_map(|record| record["subject"]["sub"].as_str()).collect();
        names == BTreeSet::from(["sam", "kim", "olga"])
    });
    assert!(stage.events("session_started").is_empty());
    // The next tenant is not concerned.
    stage.enter("globex", &stage.agent("sam")).is(201);
    stage.finish();
}

#[test]
fn p17_07_read_only_sees_everything_and_changes_nothing() {
    let stage = stage();
    let sam = stage.agent("sam");
    stage.enter("acme", &sam).is(201);
    reaches_exactly(&stage, ReadOnly, &sam);
    let reads = map().filter(|(_, _, from)| *from == ReadOnly);
    assert!(reads.clone().all(|(method, path, _)| method == "GET" || path.ends_with("/search")));
    for area in [
        "orders",
        "integrations",
        "mappings/builtin",
        "mappings/custom",
        "jobs",
        "products",
        "inventory",
        "profile",
    ] {
        assert!(reads.clone().any(|(_, path, _)| path == format!("/orgs/acme/{area}")), "{area} is seen");
    }
    stage.finish();
}

#[test]
fn p17_08_limited_edit_adds_four_things_and_no_fifth() {
    let stage = stage();
    stage.consent("acme", "limited_edit");
    let sam = stage.agent("sam");
    stage.enter("acme", &sam).is(201);
    reaches_exactly(&stage, LimitedEdit, &sam);
    // The four: custom mappings, an integration's actions, its settings, jobs.
    let four = ["/mappings/custom", "/integrations/shop/actions/", "/integrations/shop/settings", "/jobs"];
    for (method, path, from) in map().filter(|(_, _, from)| *from == LimitedEdit) {
        let which = four.iter().filter(|area| path.contains(*area)).count();
        assert_eq!(which, 1, "{method} {path} {from:?}");
    }
    for (method, path) in [
        ("PUT", "/orgs/acme/mappings/builtin/7"),
        ("POST", "/orgs/acme/integrations"),
        ("DELETE", "/orgs/acme/integrations/shop"),
    ] {
        assert_eq!(stage.reaches(method, path, &sam).unwrap_err(), "permission_missing", "{method} {path}");
    }
    stage.finish();
}

#[test]
fn p17_09_full_is_what_the_administrator_role_may_do_and_never_the_administration_of_support() {
    let stage = stage();
    stage.consent("acme", "full");
    let sam = stage.agent("sam");
    let session = stage.enter("acme", &sam).is(201).session();
    reaches_exactly(&stage, Full, &sam);
    // The same role in a member's hands: everything of the map.
    let admin = stage.admin("acme");
    for (method, path, _) in map() {
        assert!(stage.reaches(method, &path, &admin).is_ok(), "{method} {path}");
    }
    no_administrator(&stage, "acme", &sam, &session);
    stage.finish();

    // As that role stands: where it may do less, so may full access.
    let less = Stage::set(
        PRESET,
        NOON,
        &[("  admin: { allow: \"*:*\" }", "  admin: { allow: \"*:*\", except: [orders:delete] }")],
    );
    less.consent("acme", "full");
    let sam = less.agent("sam");
    less.enter("acme", &sam).is(201);
    for token in [&sam, &less.admin("acme")] {
        assert_eq!(less.reaches("DELETE", "/orgs/acme/orders/7", token).unwrap_err(), "permission_missing");
        assert!(less.reaches("DELETE", "/orgs/acme/jobs/7", token).is_ok());
    }
    less.finish();
}

/// Tries every way of administering support access with a staff token.
#[track_caller]
fn no_administrator(stage: &Stage, tenant: &str, token: &str, session: &str) {
    let t = format!("/v1/tenants/{tenant}");
    let other = stage.enter(tenant, &stage.agent("other")).is(201).session();
    let terms = json!({"environment": "production", "to": "support", "role": "admin", "scope": "everything", "for": "9d"});
    for (method, path, body) in [
        ("PUT", format!("{t}/consent"), json!({"level": "full"})),
        ("PUT", format!("{t}/approval"), json!({"required": false})),
        ("PUT", format!("{t}/stop"), json!({"stopped": false, "reason": "none"})),
        ("POST", format!("{t}/grants"), terms),
        ("DELETE", format!("{t}/bars/{}", person_id("vendor", "sam")), Value::Null),
        ("GET", format!("{t}/consent"), Value::Null),
        ("GET", format!("{t}/support-users"), Value::Null),
        ("GET", format!("{t}/audit"), Value::Null),
    ] {
        stage.api(method, &path, token, body).refused(403, "not_allowed");
    }
    // Another's session is not there for them; their own they may leave.
    stage.delete(&format!("{t}/sessions/{other}"), token).refused(404, "not_found");
    assert!(stage.inside(tenant).contains(&"other".to_owned()));
    assert_eq!(stage.get(&format!("{t}/sessions/{session}"), token).is(200).body["active"], true);
}

#[test]
fn p17_10_inherit_is_for_children_and_follows_the_parent_through_any_depth() {
    let stage = stage();
    let consent =
        |tenant: &str| stage.get(&format!("/v1/tenants/{tenant}/consent"), &stage.admin(tenant)).is(200).body;
    // Not offered at the top, and an error there.
    assert_eq!(consent("acme")["can_inherit"], false);
    let top = stage.api("PUT", "/v1/tenants/acme/consent", &stage.admin("acme"), json!({"level": "inherit"}));
    top.refused(422, "nothing_to_inherit");
    for child in ["acme-eu", "acme-eu-outlet"] {
        assert_eq!(consent(child)["can_inherit"], true);
        stage.consent(child, "inherit");
    }
    for (level, role) in
        [("full", json!("admin")), ("block", Value::Null), ("limited_edit", json!("support_editor"))]
    {
        stage.consent("acme", level);
        for child in ["acme-eu", "acme-eu-outlet"] {
            let shown = consent(child);
            assert_eq!((&shown["choice"], &shown["in_force"]["role"]), (&json!("inherit"), &role), "{child}");
            let entered = stage.enter(child, &stage.agent("sam"));
            match role.as_str() {
                Some(role) => assert_eq!(entered.is(201).body["session"]["role"], role),
                None => drop(entered.refused(403, "consent_closes")),
            }
        }
    }
    // A child may override it, and what is below follows the child.
    stage.consent("acme-eu", "read_only");
    assert_eq!(
        (stage.level("acme-eu"), stage.level("acme-eu-outlet")),
        ("read_only".into(), "read_only".into())
    );
    // Deeper than the source knows.
    let mut above = "acme-eu-outlet".to_owned();
    for depth in 0..8 {
        let child = format!("deep-{depth}");
        stage.push(&child, Some(&above), Some("UTC")).is(201);
        stage.consent(&child, "inherit");
        above = child;
    }
    stage.consent("acme-eu", "full");
    assert_eq!(stage.level("deep-7"), "full");
    // A parent is there before its child, and stays what it was: no circle can arise.
    stage.push("own", Some("own"), Some("UTC")).refused(422, "parent_itself");
    stage.push("early", Some("late"), Some("UTC")).refused(422, "parent_unknown");
    stage.push("deep-0", Some("deep-7"), Some("UTC")).refused(409, "parent_fixed");
    let circle = PRESET.replace("{ id: acme, zone", "{ id: acme, parent: acme-eu, zone");
    let faults = compile(&circle).unwrap_err();
    assert!(faults.contains("would be its own parent's parent"), "{faults}");
    stage.finish();
}

/// Reads a variant of the preset; its faults as text.
fn compile(text: &str) -> Result<(), String> {
    let key = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"}]}"#;
    let named = ["ledger.key", "assertion.pem", "vendor.jwks.json", "app.jwks.json", "programs.jwks.json"];
    let sources: std::collections::BTreeMap<String, Vec<u8>> =
        named.map(|name| (format!("/here/{name}"), key.as_bytes().to_vec())).into();
    let read = config::load_bytes(std::path::Path::new("/here/postern.yaml"), text.as_bytes(), &sources);
    read.map(|_| ()).map_err(|faults| faults.to_string())
}

#[test]
fn p17_11_only_an_administrator_of_the_tenant_itself_changes_the_level() {
    let stage = stage();
    stage.consent("acme-eu", "full");
    let sam = stage.agent("sam");
    stage.enter("acme-eu", &sam).is(201);
    let granted =
        stage.grant("acme-eu", "kim@vendor.example", "admin", &json!({"for": "9d"})).is(201).grant();
    let kim = stage.agent("kim");
    stage.enter_by("acme-eu", &granted, &kim).is(201);
    let glass = stage.agent("olga");
    stage.break_glass("acme-eu", &glass, "stability").is(201);
    for (who, token) in [
        ("the parent's administrator", stage.admin("acme")),
        ("the child's", stage.admin("acme-eu-outlet")),
        ("a stranger's", stage.admin("globex")),
        ("a member without that right", stage.member("mia", "acme-eu", &["operations"])),
        ("an auditor", stage.member("mia", "acme-eu", &["auditor"])),
        ("staff with full access", sam),
        ("staff with the administrator role", kim),
        ("an operator inside by break-glass", glass),
        ("a program", stage.provisioner()),
    ] {
        let before = stage.level("acme-eu");
        for level in ["block", "full", "inherit"] {
            let answer = stage.api("PUT", "/v1/tenants/acme-eu/consent", &token, json!({"level": level}));
            assert_eq!((answer.status, &answer.body["code"]), (403, &json!("not_allowed")), "{who}");
        }
        assert_eq!(stage.level("acme-eu"), before, "{who}");
    }
    assert_eq!(stage.events("consent_changed").len(), 1);
    stage.finish();
}

#[test]
fn p17_12_one_named_employee_gets_any_role_until_a_date_beyond_the_level() {
    let stage = stage();
    // Far ahead, by somebody whose row says what they can give.
    let row = format!("/v1/tenants/acme/members/{}", person_id("app", "acme-admin"));
    stage.api("PUT", &row, &stage.provisioner(), json!({"roles": ["admin"]})).is(200);
    let date = json!({"until": "2036-07-01T00:00:00Z"});
    let grant = stage.grant("acme", "Anna@vendor.example", "operations", &date).is(201).grant();
    let anna = stage.agent("anna");
    // Beyond the level, which is read-only; and this person's alone.
    stage.enter_by("acme", &grant, &stage.agent("ben")).refused(404, "not_found");
    let entered = stage.enter_by("acme", &grant, &anna).is(201);
    assert_eq!(entered.body["session"]["role"], "operations");
    assert_eq!(
        entered.body["session"]["ends"],
        json!({"at": written(at("2036-07-01T00:00:00Z")), "clock": "grant"})
    );
    assert!(stage.reaches("POST", ORDERS, &anna).is_ok());
    assert_eq!(stage.reaches("DELETE", "/orgs/acme/orders/7", &anna).unwrap_err(), "permission_missing");
    // It holds until that date, ten years on.
    stage.clock.set(at("2036-07-01T00:00:00Z") - 1);
    assert!(stage.reaches("POST", ORDERS, &stage.agent("anna")).is_ok());
    stage.clock.set(at("2036-07-01T00:00:00Z"));
    assert_eq!(stage.reaches("POST", ORDERS, &stage.agent("anna")).unwrap_err(), "grant_expired");
    let (event, _) = stage.end_of(&entered.session());
    assert_eq!(
        (&event["cause"], &event["at"]),
        (&json!("grant_expired"), &json!("2036-07-01T00:00:00.000Z"))
    );
    // The administrator role too, narrowed as full access is.
    let grant = stage.grant("acme", "anna@vendor.example", "admin", &json!({"for": "30d"})).is(201).grant();
    let anna = stage.agent("anna");
    let session = stage.enter_by("acme", &grant, &anna).is(201).session();
    reaches_exactly(&stage, Full, &anna);
    no_administrator(&stage, "acme", &anna, &session);
    // And so is a role that the tenant made itself.
    define(&stage, "order_checker", &["orders:read", "orders:update"]).is(200);
    let own =
        stage.grant("acme", "carl@vendor.example", "order_checker", &json!({"for": "30d"})).is(201).grant();
    let carl = stage.agent("carl");
    stage.enter_by("acme", &own, &carl).is(201);
    assert!(stage.reaches("PATCH", "/orgs/acme/orders/7", &carl).is_ok());
    assert_eq!(stage.reaches("POST", ORDERS, &carl).unwrap_err(), "permission_missing");
    // And it is removed at any time, with what runs by it.
    let running = stage.stream(ORDERS, &anna);
    stage.delete(&format!("/v1/tenants/acme/grants/{grant}"), &stage.admin("acme")).is(200);
    let answered = stage.passed();
    stage.was_cut(running, answered, "grant_withdrawn");
    stage.enter_by("acme", &grant, &anna).refused(403, "grant_gives_nothing");
    stage.finish();
}

/// What `acme` says that a role of its own holds.
#[track_caller]
fn define(stage: &Stage, role: &str, permissions: &[&str]) -> Answer {
    let path = format!("/v1/tenants/acme/roles/{role}");
    stage.api("PUT", &path, &stage.admin("acme"), json!({"permissions": permissions}))
}

#[test]
fn p17_13_tenants_define_roles_of_their_own_and_grant_them() {
    let stage = stage();
    define(&stage, "job_watcher", &["jobs:read", "jobs:steer", "users:invite"]).is(200);
    let set = stage.events("role_set").pop().unwrap().0;
    assert_eq!((&set["role"], &set["own"]), (&json!("job_watcher"), &json!(true)));
    let grant =
        stage.grant("acme", "anna@vendor.example", "job_watcher", &json!({"for": "30d"})).is(201).grant();
    let anna = stage.agent("anna");
    let entered = stage.enter_by("acme", &grant, &anna).is(201);
    assert_eq!(entered.body["session"]["role"], "job_watcher");
    assert_eq!(
        entered.body["session"]["rights"],
        json!(["jobs:read", "jobs:steer"]),
        "under the ceiling, like every role"
    );
    // Exactly what it holds, and the application is told its name.
    for (method, path, _) in map() {
        let seen = method == "GET" && ["/orgs/acme/jobs", "/orgs/acme/jobs/7"].contains(&path.as_str());
        let wanted = seen || path.starts_with("/orgs/acme/jobs/7/");
        let came = stage.reaches(method, &path, &anna);
        assert_eq!(came.is_ok(), wanted, "{method} {path}: {came:?}");
        if let Ok(seen) = came {
            assert_eq!(asserted(&seen)["role"], "job_watcher");
        }
    }
    // The tenant's own people hold it too; in another tenant there is none of that name.
    let mia = stage.member("mia", "acme", &["job_watcher"]);
    assert!(stage.reaches("POST", "/orgs/acme/jobs/7/stop", &mia).is_ok());
    assert!(stage.reaches("POST", "/orgs/acme/users", &mia).is_ok());
    let elsewhere = stage.member("mia", "globex", &["job_watcher"]);
    assert_eq!(stage.reaches("GET", "/orgs/globex/jobs", &elsewhere).unwrap_err(), "permission_missing");
    stage
        .grant("globex", "anna@vendor.example", "job_watcher", &json!({"for": "30d"}))
        .refused(422, "role_unknown");
    // It is for the tenant's administrators to say, and out of what there is.
    define(&stage, "dreamer", &["dreams:read"]).refused(422, "permission_unknown");
    define(&stage, "operations", &["jobs:read"]).refused(403, "role_locked");
    for token in [anna, stage.admin("acme-eu"), stage.member("mia", "acme", &["operations"])] {
        let body = json!({"permissions": ["orders:read"]});
        stage.api("PUT", "/v1/tenants/acme/roles/mine", &token, body).refused(403, "not_allowed");
    }
    stage.finish();
}

#[test]
fn p17_14_administrators_see_who_is_inside_and_remove_them_at_once() {
    let stage = stage();
    let (sam, kim) = (stage.agent("sam"), stage.agent("kim"));
    let session = stage.enter("acme", &sam).is(201).session();
    stage.enter("acme", &kim).is(201);
    assert_eq!(stage.inside("acme"), ["kim", "sam"]);
    let running = stage.stream(ORDERS, &sam);
    let removed = stage.delete(&format!("/v1/tenants/acme/sessions/{session}"), &stage.admin("acme")).is(200);
    let answered = stage.passed();
    assert_eq!(removed.body["session"]["over"]["cause"], "removed");
    stage.was_cut(running, answered, "session_ended");
    assert_eq!(stage.reaches("GET", ORDERS, &sam).unwrap_err(), "session_missing");
    assert_eq!(stage.inside("acme"), ["kim"]);
    assert!(stage.reaches("GET", ORDERS, &kim).is_ok(), "nobody else is concerned");
    let (event, record) = stage.end_of(&session);
    assert_eq!((&event["cause"], &event["subject"]["sub"]), (&json!("removed"), &json!("sam")));
    // Who did it stands with the intent of the same change.
    let intents = stage.world.of_kind("change.intent");
    let intent = intents.iter().find(|intent| intent["change"] == record["change"]).unwrap();
    assert_eq!(intent["subject"], json!({"issuer": "app", "sub": "acme-admin"}));
    stage.finish();
}

#[test]
fn p17_15_in_an_emergency_a_few_people_enter_under_block_with_full_record() {
    let stage = stage();
    stage.consent("acme", "block");
    let olga = stage.agent("olga");
    stage.enter("acme", &olga).refused(403, "consent_closes");
    stage.break_glass("acme", &stage.agent("sam"), "stability").refused(403, "not_operator");
    let session = stage.break_glass("acme", &olga, "stability").is(201).session();
    // To protect the platform: what harms it can be seen and stopped; the tenant's data is not shown.
    let seen = stage.reaches("POST", "/orgs/acme/jobs/7/stop", &olga).unwrap();
    assert_eq!(asserted(&seen)["role"], "guardian");
    assert_eq!(stage.reaches("GET", ORDERS, &olga).unwrap_err(), "permission_missing");
    // Each access says on what it rests.
    let intent = stage.world.of_kind("access.intent").pop().unwrap();
    assert_eq!(
        intent["basis"]["break_glass"],
        json!({"cause": "stability", "incident": "INC-4711", "reason": "queues of all tenants stand still"})
    );
    assert_eq!((&intent["subject"]["sub"], &intent["session"]), (&json!("olga"), &json!(session)));
    let broken = stage.events("glass_broken").pop().unwrap().0;
    assert_eq!((&broken["cause"], &broken["subject"]["sub"]), (&json!("stability"), &json!("olga")));
    // For an hour.
    stage.clock.advance(HOUR);
    assert_eq!(stage.reaches("GET", "/orgs/acme/jobs", &stage.agent("olga")).unwrap_err(), "session_expired");
    stage.end_of(&session);
    stage.finish();
}

#[test]
fn p17_16_every_entry_is_recorded_with_who_which_role_when_it_began_and_expired() {
    let mut stage = stage();
    let deadline = written(at("2026-07-06T12:00:00Z"));
    let expiring = stage.enter("acme", &stage.agent("sam")).is(201).session();
    let leaving = stage.enter("acme", &stage.agent("kim")).is(201).session();
    let removed = stage.enter("acme", &stage.agent("ben")).is(201).session();
    let (event, record) = stage
        .events("session_started")
        .into_iter()
        .find(|(event, _)| event["session"] == expiring.as_str())
        .unwrap();
    assert_eq!(event["subject"], json!({"issuer": "vendor", "sub": "sam"}));
    assert_eq!((&event["role"], &event["deadline"]), (&json!("support_reader"), &json!(deadline)));
    assert_eq!(record["at"], written(NOON), "when it began");
    // An earlier end, with its cause.
    stage.clock.advance(HOUR);
    stage.delete(&format!("/v1/tenants/acme/sessions/{leaving}"), &stage.agent("kim")).is(200);
    stage.clock.advance(HOUR);
    stage.delete(&format!("/v1/tenants/acme/sessions/{removed}"), &stage.admin("acme")).is(200);
    for (session, cause, after) in [(&leaving, "ended", HOUR), (&removed, "removed", 2 * HOUR)] {
        let (event, _) = stage.end_of(session);
        assert_eq!((&event["cause"], &event["at"]), (&json!(cause), &json!(written(NOON + after))));
    }
    // Nobody is connected when the five days are over, nor does any gateway run: it is recorded with the time at which it
    // took effect, and with the time of recording.
    stage.world.gateway.take().unwrap().stop();
    let back = at(&deadline) + 7 * HOUR;
    stage.clock.set(back);
    stage.world.up();
    let (event, record) = stage.end_of(&expiring);
    assert_eq!((&event["cause"], &event["at"]), (&json!("expired"), &json!(deadline)));
    assert!(at(record["at"].as_str().unwrap()) >= back, "{record}");
    // The tenant reads the same in its own record.
    let page = stage.get("/v1/tenants/acme/audit?limit=200", &stage.admin("acme")).is(200).body;
    let told = page["items"].to_string();
    for session in [&expiring, &leaving, &removed] {
        assert!(told.contains(session.as_str()));
    }
    let all = stage.finish();
    let ends = all.iter().filter(|record| {
        record["kind"] == "change.outcome" && record["events"].to_string().contains("session_ended")
    });
    assert_eq!(ends.count(), 3, "each end once");
}

#[test]
fn p17_17_the_default_is_read_only_and_enhanced_is_limited_edit() {
    let stage = stage();
    assert_eq!(stage.level("globex"), "read_only");
    let answer = stage.consent("globex", "enhanced");
    assert_eq!(answer.body["consent"]["choice"], "limited_edit");
    let step = answer.body["consent"]["ladder"][2].clone();
    assert_eq!((&step["level"], &step["also"]), (&json!("limited_edit"), &json!(["enhanced"])));
    assert_eq!(
        stage.enter("globex", &stage.agent("sam")).is(201).body["session"]["basis"],
        json!({"consent": "limited_edit"})
    );
    // One and the same: to say it by the other name changes nothing.
    assert_eq!(stage.consent("globex", "limited_edit").body["outcome"]["changed"], false);
    let changed = stage.events("consent_changed");
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].0["to"], "limited_edit");
    stage.finish();
}

#[test]
fn p17_18_raising_reaches_later_sessions_only_and_a_new_one_ends_the_older() {
    let stage = stage();
    let sam = stage.agent("sam");
    let first = stage.enter("acme", &sam).is(201).session();
    stage.consent("acme", "full");
    assert_eq!(stage.reaches("POST", ORDERS, &sam).unwrap_err(), "permission_missing", "it gains nothing");
    let sandbox = json!({"environment": "sandbox", "basis": "consent", "reason": "trying it out first"});
    let elsewhere = stage.api("POST", "/v1/tenants/acme/sessions", &sam, sandbox).is(201).session();
    let other = stage.enter("globex", &sam).is(201).session();
    let second = stage.enter("acme", &sam).is(201);
    assert_eq!(second.body["session"]["role"], "admin");
    assert!(stage.reaches("POST", ORDERS, &sam).is_ok());
    let (event, _) = stage.end_of(&first);
    assert_eq!(event["cause"], "replaced");
    // In that tenant and environment only.
    let active = |tenant: &str, session: &str| {
        stage.get(&format!("/v1/tenants/{tenant}/sessions/{session}"), &sam).is(200).body["active"] == true
    };
    assert!(active("acme", &elsewhere) && active("globex", &other) && !active("acme", &first));
    stage.finish();
}

#[test]
fn p17_19_the_answer_to_a_change_names_what_stays_in_force() {
    let stage = stage();
    stage.consent("acme", "limited_edit");
    let session = stage.enter("acme", &stage.agent("sam")).is(201).session();
    let grant =
        stage.grant("acme", "anna@vendor.example", "operations", &json!({"for": "30d"})).is(201).grant();
    let stays = stage.consent("acme", "block").body["stays_in_force"].clone();
    let ids = |list: &str| -> Vec<String> {
        stays[list]["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!((ids("sessions"), ids("grants")), (vec![session.clone()], vec![grant.clone()]));
    // What it named, the administrator can take away.
    stage.delete(&format!("/v1/tenants/acme/sessions/{session}"), &stage.admin("acme")).is(200);
    stage.delete(&format!("/v1/tenants/acme/grants/{grant}"), &stage.admin("acme")).is(200);
    let stays = stage.consent("acme", "read_only").body["stays_in_force"].clone();
    assert_eq!((&stays["sessions"]["items"], &stays["grants"]["items"]), (&json!([]), &json!([])));
    stage.finish();
}

#[test]
fn p17_20_a_grant_stands_and_is_made_under_block() {
    let stage = stage();
    let before =
        stage.grant("acme", "anna@vendor.example", "operations", &json!({"for": "30d"})).is(201).grant();
    stage.consent("acme", "block");
    let anna = stage.agent("anna");
    stage.enter_by("acme", &before, &anna).is(201);
    assert!(stage.reaches("POST", ORDERS, &anna).is_ok());
    let under = stage.grant("acme", "ben@vendor.example", "auditor", &json!({"for": "30d"})).is(201).grant();
    let ben = stage.agent("ben");
    stage.enter_by("acme", &under, &ben).is(201);
    assert!(stage.reaches("GET", ORDERS, &ben).is_ok());
    // The way by consent is closed to both.
    for token in [&anna, &ben] {
        stage.enter("acme", token).refused(403, "consent_closes");
    }
    stage.finish();
}

#[test]
fn p17_21_every_grant_ends_and_is_extended_or_shortened_with_its_running_session() {
    let stage = stage();
    stage.grant("acme", "anna@vendor.example", "operations", &json!({})).refused(422, "expiry_missing");
    let grant =
        stage.grant("acme", "anna@vendor.example", "operations", &json!({"for": "10d"})).is(201).grant();
    let path = format!("/v1/tenants/acme/grants/{grant}");
    let session = stage.enter_by("acme", &grant, &stage.agent("anna")).is(201).session();
    // The five days do not apply.
    stage.clock.advance(6 * DAY);
    assert!(stage.reaches("POST", ORDERS, &stage.agent("anna")).is_ok());
    // Extended, past what it was.
    let moved = stage.api("PATCH", &path, &stage.admin("acme"), json!({"for": "30d"})).is(200);
    assert_eq!(moved.body["grant"]["until"], written(NOON + 36 * DAY));
    stage.clock.advance(20 * DAY);
    assert!(stage.reaches("POST", ORDERS, &stage.agent("anna")).is_ok(), "the same session goes on");
    // Shortened: what runs is cut when the new end is there.
    stage.api("PATCH", &path, &stage.admin("acme"), json!({"for": "30m"})).is(200);
    let anna = stage.agent("anna");
    let mut running = stage.stream(ORDERS, &anna);
    stage.clock.advance(HOUR / 2);
    assert_eq!(running.read_out().0, Ending::Reset);
    assert_eq!(stage.reaches("POST", ORDERS, &anna).unwrap_err(), "grant_expired");
    let (event, _) = stage.end_of(&session);
    assert_eq!(
        (&event["cause"], &event["at"]),
        (&json!("grant_expired"), &json!(written(NOON + 26 * DAY + HOUR / 2)))
    );
    // Each change is on record, from when to when.
    let moves: Vec<(Value, Value)> = stage
        .events("grant_moved")
        .into_iter()
        .map(|(event, _)| (event["from"].clone(), event["until"].clone()))
        .collect();
    let (ten, thirty, short) = (NOON + 10 * DAY, NOON + 36 * DAY, NOON + 26 * DAY + HOUR / 2);
    assert_eq!(
        moves,
        [(ten, thirty), (thirty, short)].map(|(from, until)| (json!(written(from)), json!(written(until))))
    );
    stage.finish();
}

#[test]
fn p17_22_a_bare_date_ends_access_when_it_begins_in_the_tenants_zone() {
    let stage = stage_at("2026-03-20T12:00:00Z");
    // Midnight of the 30th: in Berlin in summer time by then, in Los Angeles since the 8th, and in UTC.
    for (tenant, instant) in [
        ("acme", "2026-03-30T07:00:00.000Z"),
        ("acme-eu", "2026-03-29T22:00:00.000Z"),
        ("globex", "2026-03-30T00:00:00.000Z"),
    ] {
        let answer =
            stage.grant(tenant, "anna@vendor.example", "operations", &json!({"date": "2026-03-30"})).is(201);
        assert_eq!(answer.body["grant"]["until"], instant, "the answer states the instant");
    }
    let answer =
        stage.grant("acme-eu", "ben@vendor.example", "auditor", &json!({"date": "2026-03-30"})).is(201);
    let grant = answer.grant();
    stage.enter_by("acme-eu", &grant, &stage.agent("ben")).is(201);
    stage.clock.set(at("2026-03-29T22:00:00Z") - 1);
    assert!(stage.reaches("GET", "/orgs/acme-eu/orders", &stage.agent("ben")).is_ok());
    stage.clock.set(at("2026-03-29T22:00:00Z"));
    assert_eq!(
        stage.reaches("GET", "/orgs/acme-eu/orders", &stage.agent("ben")).unwrap_err(),
        "grant_expired"
    );
    // One that has begun is over.
    stage
        .grant("acme-eu", "ben@vendor.example", "auditor", &json!({"date": "2026-03-30"}))
        .refused(422, "not_in_future");
    stage.finish();
}

/// The same local time five days later, as another library than the product's has it: of two the earlier, and of none the
/// instant before the gap.
fn five_days(zone: &str, start: i64) -> i64 {
    let zone = jiff::tz::TimeZone::get(zone).unwrap();
    let local = jiff::Timestamp::from_millisecond(start).unwrap().to_zoned(zone.clone()).datetime();
    let then = local.checked_add(5.days()).unwrap();
    zone.to_ambiguous_zoned(then).earlier().unwrap().timestamp().as_millisecond()
}

#[test]
fn p17_23_a_deadline_is_an_instant_that_no_change_of_zone_moves() {
    let stage = stage_at("2026-01-10T00:00:00Z");
    // Five zones in both directions, in the order of time; at noon, and where the local time is missing or doubled.
    let starts = [
        ("2026-03-05T12:00:00-05:00", "America/New_York"),
        ("2026-03-24T02:30:00+01:00", "Europe/Berlin"), // missing on the 29th
        ("2026-03-27T12:00:00+01:00", "Europe/Berlin"),
        ("2026-03-31T01:45:00+11:00", "Australia/Lord_Howe"), // doubled on the 5th, for half an hour
        ("2026-04-01T12:00:00+13:45", "Pacific/Chatham"),
        ("2026-04-02T12:00:00-03:00", "America/Santiago"),
        ("2026-09-03T12:00:00-04:00", "America/Santiago"),
        ("2026-09-24T12:00:00+12:45", "Pacific/Chatham"),
        ("2026-10-01T12:00:00+10:30", "Australia/Lord_Howe"),
        ("2026-10-20T02:30:00+02:00", "Europe/Berlin"), // doubled on the 25th
        ("2026-10-28T12:00:00-04:00", "America/New_York"),
    ];
    let mut lengths = BTreeSet::new();
    for (number, (start, zone)) in starts.into_iter().enumerate() {
        let tenant = format!("zone-{number}");
        stage.push(&tenant, None, Some(zone)).is(201);
        stage.clock.set(at(start));
        let expected = five_days(zone, at(start));
        let entered = stage.enter(&tenant, &stage.agent("sam")).is(201);
        assert_eq!(entered.body["session"]["ends"]["at"], written(expected), "{zone} {start}");
        lengths.insert((expected - at(start)) - 5 * DAY);
        // The tenant moves to the other side of the world.
        stage.push(&tenant, None, Some("Pacific/Kiritimati")).is(200);
        stage.clock.set(expected - 1);
        let orders = format!("/orgs/{tenant}/orders");
        assert!(stage.reaches("GET", &orders, &stage.agent("sam")).is_ok(), "{zone} {start}");
        stage.clock.set(expected);
        assert_eq!(stage.reaches("GET", &orders, &stage.agent("sam")).unwrap_err(), "session_expired");
    }
    // Longer and shorter than five times a day, each.
    assert!([HOUR, -HOUR, -HOUR / 2].iter().all(|off| lengths.contains(off)), "{lengths:?}");
    // A zone that nobody knows is UTC; a slip of the pen is told.
    stage.push("nowhere", None, None).is(201);
    let consent = stage.get("/v1/tenants/nowhere/consent", &stage.admin("nowhere")).is(200);
    assert_eq!(consent.body["zone"], "UTC");
    let entered = stage.enter("nowhere", &stage.agent("sam")).is(201);
    assert_eq!(entered.body["session"]["ends"]["at"], written(stage.now() + 5 * DAY));
    stage.push("slip", None, Some("Europe/Berlim")).refused(400, "body_malformed");
    stage.finish();
}

#[test]
fn p17_24_to_steer_is_not_to_delete() {
    let stage = stage();
    stage.consent("acme", "limited_edit");
    let sam = stage.agent("sam");
    stage.enter("acme", &sam).is(201);
    for path in [
        "/mappings/custom/7/disable",
        "/mappings/custom/7/enable",
        "/jobs/7/pause",
        "/jobs/7/resume",
        "/jobs/7/stop",
    ] {
        assert!(stage.reaches("POST", &format!("/orgs/acme{path}"), &sam).is_ok(), "{path} is steering");
    }
    let deletions: Vec<String> =
        map().filter(|(method, ..)| *method == "DELETE").map(|(_, path, _)| path).collect();
    assert!(deletions.len() >= 8);
    for path in &deletions {
        assert!(stage.reaches("DELETE", path, &sam).is_err(), "{path}");
    }
    // Deletion is named for full access alone.
    stage.consent("acme", "full");
    stage.enter("acme", &sam).is(201);
    for path in [
        "/orgs/acme/mappings/custom/7",
        "/orgs/acme/jobs/7",
        "/orgs/acme/orders/7",
        "/orgs/acme/integrations/shop",
    ] {
        assert!(deletions.iter().any(|deletion| deletion == path));
        assert!(stage.reaches("DELETE", path, &sam).is_ok(), "{path}");
    }
    stage.finish();
}

#[test]
fn p17_25_a_child_goes_as_far_as_it_likes_and_one_that_loses_its_parent_falls() {
    let stage = stage();
    // Higher than its parent.
    stage.consent("acme", "block");
    stage.consent("acme-eu", "full");
    assert_eq!(stage.enter("acme-eu", &stage.agent("sam")).is(201).body["session"]["role"], "admin");
    // The parent's change acts on a child that inherits as one of its own would: on later sessions.
    stage.consent("acme", "full");
    stage.consent("acme-eu", "inherit");
    stage.enter("acme-eu", &stage.agent("sam")).is(201);
    stage.consent("acme", "block");
    assert!(stage.reaches("POST", "/orgs/acme-eu/orders", &stage.agent("sam")).is_ok(), "what runs goes on");
    stage.enter("acme-eu", &stage.agent("kim")).refused(403, "consent_closes");
    // A parent that is gone: the lower of the last level in force and `read_only`.
    for (level, alone) in
        [("full", "read_only"), ("limited_edit", "read_only"), ("read_only", "read_only"), ("block", "block")]
    {
        let (parent, child) =
            (format!("parent-{}", level.replace('_', "-")), format!("child-{}", level.replace('_', "-")));
        stage.push(&parent, None, Some("UTC")).is(201);
        stage.push(&child, Some(&parent), Some("UTC")).is(201);
        stage.consent(&parent, level);
        stage.consent(&child, "inherit");
        assert_eq!(stage.level(&child), level);
        stage.delete(&format!("/v1/tenants/{parent}"), &stage.provisioner()).is(200);
        assert_eq!(stage.level(&child), alone, "its parent was at {level}");
        let entered = stage.enter(&child, &stage.agent("sam"));
        match alone {
            "block" => drop(entered.refused(403, "consent_closes")),
            _ => assert_eq!(entered.is(201).body["session"]["role"], "support_reader"),
        }
        // It has no parent to follow any more, and chooses for itself.
        stage
            .api(
                "PUT",
                &format!("/v1/tenants/{child}/consent"),
                &stage.admin(&child),
                json!({"level": "inherit"}),
            )
            .refused(422, "nothing_to_inherit");
        stage.consent(&child, "full");
        assert_eq!(stage.level(&child), "full");
    }
    stage.finish();
}

#[test]
fn p17_26_the_list_holds_who_is_inside_who_has_a_grant_and_who_broke_the_glass() {
    let stage = stage();
    let consent = stage.enter("acme", &stage.agent("sam")).is(201).session();
    let standing =
        stage.grant("acme", "anna@vendor.example", "operations", &json!({"for": "30d"})).is(201).grant();
    let used = stage.grant("acme", "ben@vendor.example", "auditor", &json!({"for": "20d"})).is(201).grant();
    stage.clock.advance(HOUR);
    let by_grant = stage.enter_by("acme", &used, &stage.agent("ben")).is(201).session();
    let glass = stage.break_glass("acme", &stage.agent("olga"), "integrity").is(201).session();
    stage.enter("globex", &stage.agent("kim")).is(201);
    let rows = stage.support_users("acme");
    let row = |id: &str| {
        rows.iter()
            .find(|row| row["session"] == id || (row["inside"] == false && row["basis"]["grant"] == id))
            .unwrap()
    };
    let person = |sub: &str| json!({"issuer": "vendor", "sub": sub});
    assert_eq!(
        row(&consent),
        &json!({"inside": true, "session": consent, "person": person("sam"), "environment": "production",
            "role": "support_reader", "basis": {"consent": "read_only"}, "began": written(NOON),
            "ends": written(NOON + 5 * DAY)})
    );
    assert_eq!(
        row(&standing),
        &json!({"inside": false, "to": {"email": "anna@vendor.example"}, "environment": "production",
            "role": "operations", "basis": {"grant": standing}, "began": written(NOON), "ends": written(NOON + 30 * DAY)}),
        "who was never inside"
    );
    assert_eq!(
        row(&by_grant),
        &json!({"inside": true, "session": by_grant, "person": person("ben"), "environment": "production",
            "role": "auditor", "basis": {"grant": used}, "began": written(NOON + HOUR), "ends": written(NOON + 20 * DAY)})
    );
    assert_eq!(row(&used)["person"], person("ben"), "and it goes on standing");
    let broken =
        json!({"cause": "integrity", "incident": "INC-4711", "reason": "queues of all tenants stand still"});
    assert_eq!(
        row(&glass),
        &json!({"inside": true, "session": glass, "person": person("olga"), "environment": "production",
            "role": "guardian", "basis": {"break_glass": broken}, "began": written(NOON + HOUR),
            "ends": written(NOON + 2 * HOUR)})
    );
    assert_eq!(rows.len(), 5, "nobody of another tenant's: {rows:#?}");
    // In pages of one it is the same list.
    let (mut after, mut paged) = (String::new(), Vec::new());
    for _ in 0..20 {
        let page = stage
            .get(&format!("/v1/tenants/acme/support-users?limit=1{after}"), &stage.admin("acme"))
            .is(200)
            .body;
        paged.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(paged, rows);
    for after in ["x", "s", "s.!", "g.", "z.e30", "s.e30"] {
        stage
            .get(&format!("/v1/tenants/acme/support-users?after={after}"), &stage.admin("acme"))
            .refused(400, "query_malformed");
    }
    // Whoever is gone is off it.
    stage.delete(&format!("/v1/tenants/acme/sessions/{consent}"), &stage.admin("acme")).is(200);
    for grant in [&standing, &used] {
        stage.delete(&format!("/v1/tenants/acme/grants/{grant}"), &stage.admin("acme")).is(200);
    }
    stage.clock.advance(HOUR);
    assert_eq!(stage.support_users("acme"), Vec::<Value>::new());
    // It is for the tenant's own eyes.
    for token in [stage.agent("sam"), stage.admin("globex"), stage.member("mia", "acme", &["operations"])] {
        stage.get("/v1/tenants/acme/support-users", &token).refused(403, "not_allowed");
    }
    stage.get("/v1/tenants/acme/support-users", &stage.member("aud", "acme", &["auditor"])).is(200);
    stage.finish();
}

#[test]
fn p17_27_a_removal_bars_nobody_unless_that_is_configured_and_then_until_it_is_lifted() {
    let remove = |stage: &Stage, session: &str| -> Answer {
        stage.delete(&format!("/v1/tenants/acme/sessions/{session}"), &stage.admin("acme")).is(200)
    };
    let stage = stage();
    let sam = stage.agent("sam");
    let session = stage.enter("acme", &sam).is(201).session();
    remove(&stage, &session);
    stage.consent("acme", "limited_edit");
    let again = stage.enter("acme", &sam).is(201);
    assert_eq!(again.body["session"]["role"], "support_editor", "under the consent of that moment");
    let bars = stage.get("/v1/tenants/acme/bars", &stage.admin("acme")).is(200);
    assert_eq!(bars.body["items"], json!([]));
    stage.finish();

    let mut strict = Stage::set(PRESET, NOON, &[("on_remove: end", "on_remove: bar")]);
    let (sam, admin) = (strict.agent("sam"), strict.admin("acme"));
    let grant =
        strict.grant("acme", "sam@vendor.example", "operations", &json!({"for": "30d"})).is(201).grant();
    let session = strict.enter("acme", &sam).is(201).session();
    let beside = strict.enter_by("acme", &grant, &sam).is(201).session();
    let mut running = strict.world.client();
    let before = strict.passed();
    running.send(request(
        "GET",
        &format!("{ORDERS}?do=forever"),
        &sam,
        &format!("Postern-Session: {beside}\r\n"),
    ));
    until("bytes flow", || strict.passed() > before + 100_000);
    let removed = remove(&strict, &session);
    let answered = strict.passed();
    // All of theirs end, and no way in is left to them.
    strict.was_cut(running, answered, "session_ended");
    let events = removed.body["outcome"]["events"].as_array().unwrap().clone();
    assert!(
        events.iter().any(|event| event["event"] == "person_barred" && event["subject"]["sub"] == "sam"),
        "{events:?}"
    );
    strict.enter("acme", &sam).refused(403, "barred");
    strict.enter_by("acme", &grant, &sam).refused(403, "barred");
    let later = strict.grant("acme", "sam@vendor.example", "auditor", &json!({"for": "30d"})).is(201).grant();
    strict.enter_by("acme", &later, &sam).refused(403, "barred");
    // That person, in that tenant.
    strict.enter("acme", &strict.agent("kim")).is(201);
    strict.enter("globex", &sam).is(201);
    // It outlives a restart.
    strict.world.gateway.take().unwrap().stop();
    strict.world.up();
    strict.enter("acme", &sam).refused(403, "barred");
    let id = person_id("vendor", "sam");
    let bars = strict.get("/v1/tenants/acme/bars", &admin).is(200).body;
    assert_eq!(
        bars["items"],
        json!([{"id": id, "person": {"issuer": "vendor", "sub": "sam"}, "since": written(NOON),
            "by": {"issuer": "app", "sub": "acme-admin"}}])
    );
    // Only the tenant's own administrator lifts it, and not for themselves.
    let bar = format!("/v1/tenants/acme/bars/{id}");
    for token in [
        strict.agent("olga"),
        sam.clone(),
        strict.admin("acme-eu"),
        strict.member("mia", "acme", &["operations"]),
    ] {
        strict.delete(&bar, &token).refused(403, "not_allowed");
    }
    let namesake = strict.member("sam", "acme", &["admin"]);
    strict.delete(&bar, &namesake).is(200);
    strict.enter("acme", &sam).refused(403, "self_granted");
    let session = strict.enter("acme", &strict.agent("kim")).is(201).session();
    remove(&strict, &session);
    let kim = format!("/v1/tenants/acme/bars/{}", person_id("vendor", "kim"));
    let lifted = strict.delete(&kim, &admin).is(200);
    assert_eq!(
        (&lifted.body["had_ended"], &lifted.body["outcome"]["events"][0]["event"]),
        (&json!(false), &json!("bar_lifted"))
    );
    assert_eq!(strict.delete(&kim, &admin).is(200).body["had_ended"], true);
    strict.enter("acme", &strict.agent("kim")).is(201);
    assert_eq!((strict.events("person_barred").len(), strict.events("bar_lifted").len()), (2, 2));
    strict.finish();
}

#[test]
fn p17_28_break_glass_is_declared_its_list_is_short_and_the_tenant_cannot_end_it() {
    let stage = stage();
    stage.consent("acme", "block");
    let olga = stage.agent("olga");
    for cause in ["urgent", "convenience", "Stability", ""] {
        stage.break_glass("acme", &olga, cause).refused(422, "cause_unknown");
    }
    let without = json!({"environment": "production", "incident": "INC-4711", "reason": "because"});
    stage.api("POST", "/v1/tenants/acme/break-glass", &olga, without).refused(400, "body_malformed");
    for cause in ["stability", "integrity"] {
        stage.break_glass("acme", &olga, cause).is(201);
    }
    let session = stage.get("/v1/sessions?tenant=acme", &olga).is(200).body["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    // The tenant sees it and cannot end it, by no means it has.
    let admin = stage.admin("acme");
    let mut running = stage.stream("/orgs/acme/jobs", &olga);
    assert_eq!(stage.inside("acme"), ["olga"]);
    stage.delete(&format!("/v1/tenants/acme/sessions/{session}"), &admin).refused(403, "not_yours_to_end");
    stage
        .api("PUT", "/v1/tenants/acme/stop", &admin, json!({"stopped": true, "reason": "nobody now"}))
        .is(200);
    assert!(stage.reaches("GET", "/orgs/acme/jobs", &olga).is_ok());
    stage.break_glass("acme", &stage.agent("gustav"), "stability").is(201);
    let before = stage.passed();
    until("the stream goes on", || running.more() == Ending::Open && stage.passed() > before + 1_000_000);
    drop(running);
    // The vendor's operators can.
    stage.api("PUT", "/v1/stops", &olga, json!({"reach": {"person": {"issuer": "vendor", "sub": "gustav"}}, "stopped": true, "reason": "INC-7"})).is(200);
    assert_eq!(stage.reaches("GET", "/orgs/acme/jobs", &stage.agent("gustav")).unwrap_err(), "stopped");
    stage.finish();

    // A list that is longer than it may be does not compile, and the fault says where.
    let long = PRESET.replace(
        "sub: gustav }\n",
        "sub: gustav }\n    - { issuer: vendor, sub: maria }\n    - { issuer: vendor, sub: pavel }\n",
    );
    let line = 1 + PRESET[..PRESET.find("sub: olga").unwrap()].matches('\n').count();
    let faults = compile(&long).unwrap_err();
    assert!(faults.contains("4 people may break the glass, and 3 are allowed to"), "{faults}");
    let place = format!("postern.yaml:{line}:");
    assert!(faults.contains(&place), "at line and column: {faults}");
    assert!(!compile(PRESET).is_err_and(|faults| faults.contains("break the glass")));
}

#[test]
fn p17_29_urgent_support_is_refused_under_block_until_the_tenant_acts() {
    let stage = stage();
    stage.consent("acme", "block");
    let sam = stage.agent("sam");
    let refused = stage.enter("acme", &sam).refused(403, "consent_closes");
    assert_eq!(refused.body["level_that_would_do"], "read_only");
    stage.break_glass("acme", &sam, "stability").refused(403, "not_operator");
    stage.break_glass("acme", &stage.agent("olga"), "urgent").refused(422, "cause_unknown");
    assert!(stage.reaches("GET", ORDERS, &sam).is_err());
    // The one way: a grant.
    let grant =
        stage.grant("acme", "sam@vendor.example", "operations", &json!({"for": "4h"})).is(201).grant();
    let session = stage.enter_by("acme", &grant, &sam).is(201).session();
    assert!(stage.reaches("POST", ORDERS, &sam).is_ok());
    stage.delete(&format!("/v1/tenants/acme/sessions/{session}"), &sam).is(200);
    // The other: the level.
    stage.consent("acme", "limited_edit");
    stage.enter("acme", &sam).is(201);
    assert!(stage.reaches("POST", "/orgs/acme/jobs/7/pause", &sam).is_ok());
    stage.finish();
}

#[test]
fn p17_30_the_address_of_a_grant_counts_only_in_a_token_of_staff() {
    let stage = stage();
    let grant =
        stage.grant("acme", "anna@vendor.example", "operations", &json!({"for": "30d"})).is(201).grant();
    let now = stage.now() / 1000;
    let address = json!({"email": "anna@vendor.example", "email_verified": true});
    let other = |iss: &str, aud: &str, more: Value| {
        let mut claims = json!({"iss": iss, "aud": aud, "sub": "anna", "iat": now, "exp": now + 3600});
        for add in [&address, &more] {
            claims.as_object_mut().unwrap().extend(add.as_object().unwrap().clone());
        }
        claims
    };
    let keys = &stage.world.people.keys;
    let member = |tenant: &str| {
        keys.app
            .sign(
                "at+jwt",
                &other("https://id.app.example", "app", json!({"tenant": tenant, "roles": ["operations"]})),
            )
            .unwrap()
    };
    let program =
        keys.vendor.sign("at+jwt", &other("https://programs.example", "postern", json!({}))).unwrap();
    for token in [member("acme"), member("globex"), program] {
        stage.enter_by("acme", &grant, &token).refused(403, "not_staff");
    }
    // With the same address elsewhere nothing of the tenant opens.
    assert_eq!(stage.reaches("POST", ORDERS, &member("globex")).unwrap_err(), "tenant_foreign");
    // Nor where the issuer of staff did not verify it.
    for more in [
        json!({"email": "anna@vendor.example", "email_verified": false}),
        json!({"email": "anna@other.example"}),
    ] {
        stage.enter_by("acme", &grant, &stage.agent_with("anna", &more)).refused(404, "not_found");
    }
    let anna = stage.agent("anna");
    stage.enter_by("acme", &grant, &anna).is(201);
    assert!(stage.reaches("POST", ORDERS, &anna).is_ok());
    stage.finish();
}

#[test]
fn p17_31_a_change_of_a_role_reaches_its_grants_at_once_and_a_granted_role_stays() {
    let stage = stage();
    define(&stage, "order_clerk", &["orders:read", "orders:create"]).is(200);
    let grant =
        stage.grant("acme", "anna@vendor.example", "order_clerk", &json!({"for": "30d"})).is(201).grant();
    let anna = stage.agent("anna");
    stage.enter_by("acme", &grant, &anna).is(201);
    assert!(stage.reaches("POST", ORDERS, &anna).is_ok());
    let running = stage.stream(ORDERS, &anna);
    // What it loses is lost at once, to what runs too.
    define(&stage, "order_clerk", &["orders:create"]).is(200);
    let answered = stage.passed();
    stage.was_cut(running, answered, "permission_missing");
    assert_eq!(stage.reaches("GET", ORDERS, &anna).unwrap_err(), "permission_missing");
    assert!(stage.reaches("POST", ORDERS, &anna).is_ok());
    // What it gains, a session gains that starts from then on.
    define(&stage, "order_clerk", &["orders:create", "jobs:read"]).is(200);
    assert_eq!(stage.reaches("GET", "/orgs/acme/jobs", &anna).unwrap_err(), "permission_missing");
    let session = stage.get("/v1/sessions?tenant=acme", &anna).is(200).body["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    stage.delete(&format!("/v1/tenants/acme/sessions/{session}"), &anna).is(200);
    stage.enter_by("acme", &grant, &anna).is(201);
    assert!(stage.reaches("GET", "/orgs/acme/jobs", &anna).is_ok());
    // Granted, it stays.
    let role = "/v1/tenants/acme/roles/order_clerk";
    stage.delete(role, &stage.admin("acme")).refused(409, "role_granted");
    assert!(stage.reaches("GET", "/orgs/acme/jobs", &anna).is_ok());
    stage.delete(&format!("/v1/tenants/acme/grants/{grant}"), &stage.admin("acme")).is(200);
    stage.delete(role, &stage.admin("acme")).is(200);
    stage
        .grant("acme", "anna@vendor.example", "order_clerk", &json!({"for": "30d"}))
        .refused(422, "role_unknown");
    assert_eq!((stage.events("role_set").len(), stage.events("role_removed").len()), (3, 1));
    stage.finish();
}

#[test]
fn p17_32_who_is_refused_for_want_of_rights_learns_what_would_do() {
    let stage = stage();
    let sam = stage.agent("sam");
    stage.enter("acme", &sam).is(201);
    let told = |method: &str, path: &str| -> Value {
        let reply = stage.ask(method, path, &sam);
        assert_eq!((reply.status, reply.code().as_str()), (403, "permission_missing"), "{method} {path}");
        serde_json::from_slice(&reply.body).unwrap()
    };
    for (method, path, level) in [
        ("POST", "/orgs/acme/integrations/shop/actions/pull-orders", "limited_edit"),
        ("PUT", "/orgs/acme/mappings/custom/7", "limited_edit"),
        ("DELETE", "/orgs/acme/mappings/custom/7", "full"),
        ("PATCH", "/orgs/acme/orders/7", "full"),
    ] {
        let problem = told(method, path);
        assert_eq!(problem["level_that_would_do"], level, "{method} {path}");
        assert!(problem["detail"].as_str().unwrap().contains("or a grant: ask the tenant"), "{problem}");
    }
    // It was true: at that level it passes.
    stage.consent("acme", "limited_edit");
    stage.enter("acme", &sam).is(201);
    assert!(stage.reaches("POST", "/orgs/acme/integrations/shop/actions/pull-orders", &sam).is_ok());
    // Under `block` too, where they ask to come in.
    stage.consent("globex", "block");
    let refused = stage.enter("globex", &sam).refused(403, "consent_closes");
    assert_eq!(refused.body["level_that_would_do"], "read_only");
    assert!(refused.body["detail"].as_str().unwrap().contains("grant"));
    // Where no level would do and no grant, nothing of the kind is said.
    let never: Value = serde_json::from_slice(&stage.ask("POST", "/orgs/acme/users", &sam).body).unwrap();
    assert_eq!((&never["code"], &never["level_that_would_do"]), (&json!("ceiling"), &Value::Null));
    stage.finish();
}
