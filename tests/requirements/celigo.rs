//! CEL: the support user profile. The lines of `docs/requirements.md` that begin with CEL, one test each, on
//! `config/presets/celigo.yaml`.

use serde_json::{Value, json};

use crate::{
    client::{Client, Ending},
    stage::{Answer, DAY, HOUR, Stage, asserted, person_id, written},
    upstream::Seen,
    world::*,
};

const PRESET: &str = include_str!("../../config/presets/celigo.yaml");

/// The accounts and people that most of these need: `acme` pays, and has a production and a sandbox.
fn stage() -> Stage {
    staged(&[])
}

fn staged(edits: &[(&'static str, &'static str)]) -> Stage {
    let stage = Stage::set(PRESET, NOON, edits);
    account(&stage, "acme", &["production", "sandbox"], Some("professional")).is(201);
    for (sub, role) in [
        ("olivia", "owner"),
        ("adam", "admin"),
        ("mara", "manage_all"),
        ("mona", "monitor_all"),
        ("carl", "custom"),
    ] {
        person(&stage, "acme", sub, &[role]);
    }
    stage
}

/// An account as the program that provisions them pushes it.
#[track_caller]
fn account(stage: &Stage, name: &str, environments: &[&str], plan: Option<&str>) -> Answer {
    let mut body = json!({"environments": environments, "zone": "Europe/Berlin"});
    if let Some(plan) = plan {
        body["plan"] = json!(plan);
    }
    stage.api("PUT", &format!("/v1/tenants/{name}"), &stage.provisioner(), body)
}

#[track_caller]
fn pushed(stage: &Stage, account: &str, sub: &str, body: Value) {
    let path = format!("/v1/tenants/{account}/members/{}", person_id("app", sub));
    let method = if body.is_null() { "DELETE" } else { "PUT" };
    let answer = stage.api(method, &path, &stage.provisioner(), body);
    assert!(matches!(answer.status, 200 | 201), "{:#}", answer.body);
}

#[track_caller]
fn person(stage: &Stage, account: &str, sub: &str, roles: &[&str]) {
    pushed(stage, account, sub, json!({"roles": roles}));
}

/// One of the account's people: what they may do stands in their row.
fn of_acme(stage: &Stage, sub: &str) -> String {
    stage.member(sub, "acme", &[])
}

/// One of the vendor's people whom the configuration counts as support.
fn support(stage: &Stage, sub: &str) -> String {
    stage.agent_with(sub, &json!({"groups": ["support"]}))
}

const GRANTS: &str = "/v1/tenants/acme/grants";
const PROFILE: &str = "/v1/tenants/acme/support-profile";

/// The whole account, at `admin`.
fn whole() -> Value {
    json!({"environment": "production", "to": "support", "role": "support_admin", "scope": "everything", "for": "5d"})
}

/// Named integrations, each at its own level.
fn named(levels: &[(&str, &str)]) -> Value {
    json!({"environment": "production", "to": "support", "role": levels[0].1, "scope": scope(levels), "for": "5d"})
}

fn scope(levels: &[(&str, &str)]) -> Value {
    let one = |(id, role): &(&str, &str)| json!({"type": "integrations", "id": id, "role": role});
    json!({"resources": levels.iter().map(one).collect::<Vec<_>>()})
}

fn with(mut body: Value, more: &Value) -> Value {
    let members = body.as_object_mut().unwrap();
    for (name, value) in more.as_object().unwrap() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    body
}

#[track_caller]
fn give(stage: &Stage, sub: &str, body: Value) -> Answer {
    stage.api("POST", GRANTS, &of_acme(stage, sub), body)
}

#[track_caller]
fn change(stage: &Stage, sub: &str, grant: &str, body: Value) -> Answer {
    stage.api("PATCH", &format!("{GRANTS}/{grant}"), &of_acme(stage, sub), body)
}

#[track_caller]
fn allow_others(stage: &Stage, sub: &str, allowed: bool) -> Answer {
    stage.api("PUT", PROFILE, &of_acme(stage, sub), json!({"others_may_grant": allowed}))
}

/// An attempt to enter by a grant.
#[track_caller]
fn enter_in(stage: &Stage, environment: &str, grant: &str, token: &str) -> Answer {
    let body =
        json!({"environment": environment, "basis": {"grant": grant}, "reason": "order flow is stuck"});
    stage.api("POST", "/v1/tenants/acme/sessions", token, body)
}

#[track_caller]
fn enter(stage: &Stage, grant: &str, token: &str) -> Answer {
    enter_in(stage, "production", grant, token)
}

/// A place below an account of an integration.
fn below(integration: &str, rest: &str) -> String {
    format!("/accounts/acme/integrations/{integration}{rest}")
}

/// Whether a request reaches the application in an environment, where not, by which code it was refused.
#[track_caller]
fn reaches_in(
    stage: &Stage,
    environment: &str,
    method: &str,
    path: &str,
    token: &str,
) -> Result<Seen, String> {
    let before = stage.world.upstream.seen().len();
    let more = format!("X-Environment: {environment}\r\nContent-Length: 0\r\n");
    let reply = stage.world.ask(method, path, token, &more);
    let seen = stage.world.upstream.seen();
    if reply.status == 200 {
        return Ok(seen[before].clone());
    }
    assert_eq!(seen.len(), before, "{method} {path} was refused, and the application saw it");
    Err(reply.code())
}

#[track_caller]
fn sees(stage: &Stage, integration: &str, token: &str) -> Result<Seen, String> {
    stage.reaches("GET", &below(integration, "/flows/f1"), token)
}

#[track_caller]
fn changes(stage: &Stage, integration: &str, token: &str) -> Result<Seen, String> {
    stage.reaches("PUT", &below(integration, "/flows/f1"), token)
}

/// The account's profile in an environment, as somebody of it is told.
#[track_caller]
fn profile(stage: &Stage, account: &str, environment: &str, sub: &str) -> Value {
    let answer = stage
        .get(&format!("/v1/tenants/{account}/support-profile"), &stage.member(sub, account, &[]))
        .is(200);
    let all = answer.body["environments"].as_array().unwrap().clone();
    all.into_iter()
        .find(|one| one["environment"] == environment)
        .unwrap_or_else(|| panic!("{:#}", answer.body))
}

/// What the record says of the end of a session that fell: written down within a second, by nobody's hand.
#[track_caller]
fn fell(stage: &Stage, session: &str) -> (String, String) {
    let (event, record) = stage.end_of(session);
    assert!(record["change"].is_string());
    (event["cause"].as_str().unwrap().to_owned(), event["at"].as_str().unwrap().to_owned())
}

#[test]
fn cel_01_every_account_has_a_profile_from_the_start_and_it_is_off() {
    let stage = stage();
    account(&stage, "initech", &["production"], Some("standard")).is(201);
    person(&stage, "initech", "olivia", &["owner"]);
    for (account, environments) in
        [("acme", &["production", "sandbox"][..]), ("initech", &["production"][..])]
    {
        for environment in environments {
            let here = profile(&stage, account, environment, "olivia");
            assert_eq!(
                (&here["on"], &here["grants"]),
                (&json!(false), &json!([])),
                "{account} {environment}"
            );
        }
        let sam = support(&stage, "sam");
        stage.enter(account, &sam).refused(403, "consent_closes");
        let grants = stage.get(&format!("/v1/tenants/{account}/grants"), &sam).is(200);
        assert_eq!(grants.body["items"], json!([]));
        let refused = stage.reaches("GET", &format!("/accounts/{account}/integrations"), &sam).unwrap_err();
        assert_eq!(refused, "session_missing");
    }
    assert!(stage.events("session_started").is_empty());
    stage.finish();
}

#[test]
fn cel_02_an_owner_or_administrator_switches_it_on_and_chooses_the_whole_account_or_integrations() {
    let stage = stage();
    for sub in ["mara", "mona", "carl"] {
        give(&stage, sub, whole()).refused(403, "granting_off");
    }
    give(&stage, "nobody", whole()).refused(403, "not_allowed");
    stage.api("POST", GRANTS, &support(&stage, "sam"), whole()).refused(403, "not_allowed");
    let grant = give(&stage, "olivia", whole()).is(201).grant();
    assert_eq!(profile(&stage, "acme", "production", "adam")["grants"], json!([grant]));
    assert_eq!(profile(&stage, "acme", "production", "adam")["on"], true);
    let sam = support(&stage, "sam");
    enter(&stage, &grant, &sam).is(201);
    for (method, path) in [
        ("GET", "/accounts/acme/dashboard".to_owned()),
        ("POST", "/accounts/acme/integrations".to_owned()),
        ("DELETE", below("shop", "")),
        ("PUT", "/accounts/acme/profile".to_owned()),
    ] {
        let seen = stage.reaches(method, &path, &sam).unwrap();
        assert_eq!(asserted(&seen)["role"], "support_admin");
    }
    let grant = give(&stage, "adam", named(&[("shop", "monitor"), ("crm", "manage")])).is(201);
    let resources = &grant.body["grant"]["scope"]["resources"];
    assert_eq!(resources[0], json!({"type": "integrations", "id": "crm", "role": "manage"}));
    assert_eq!(resources[1], json!({"type": "integrations", "id": "shop", "role": "monitor"}));
    let kim = support(&stage, "kim");
    enter(&stage, &grant.grant(), &kim).is(201);
    assert!(sees(&stage, "shop", &kim).is_ok() && changes(&stage, "crm", &kim).is_ok());
    assert_eq!(changes(&stage, "shop", &kim).unwrap_err(), "permission_missing");
    let made = stage.events("grant_made");
    let makers: Vec<_> = made.iter().map(|(event, _)| event["role"].as_str().unwrap()).collect();
    assert_eq!(makers, ["support_admin", "monitor"]);
    stage.finish();
}

#[test]
fn cel_03_an_expiry_is_mandatory_and_at_most_180_days() {
    let stage = stage();
    let told = stage.get(PROFILE, &of_acme(&stage, "olivia")).is(200).body;
    assert_eq!((&told["suggested"], &told["longest"]), (&json!("5d"), &json!("180d")));
    give(&stage, "olivia", with(whole(), &json!({"for": null}))).refused(422, "expiry_missing");
    for (said, ms) in [("5d", 5 * DAY), ("36h", 36 * HOUR), ("180d", 180 * DAY)] {
        let answer = give(&stage, "olivia", with(whole(), &json!({"for": said}))).is(201);
        assert_eq!(answer.body["grant"]["until"], written(NOON + ms), "{said}");
    }
    for said in ["181d", "180d 1ms", "4321h"] {
        give(&stage, "olivia", with(whole(), &json!({"for": said}))).refused(422, "too_far");
    }
    let until = json!({"for": null, "until": written(NOON + 180 * DAY + 1)});
    give(&stage, "olivia", with(whole(), &until)).refused(422, "too_far");
    assert_eq!(stage.events("grant_made").len(), 3, "what was refused gave nothing");
    stage.finish();
}

#[test]
fn cel_04_it_can_be_changed_or_switched_off_at_any_time_at_once() {
    let stage = stage();
    let grant = give(&stage, "olivia", named(&[("shop", "monitor"), ("crm", "manage")])).is(201).grant();
    let (sam, kim) = (support(&stage, "sam"), support(&stage, "kim"));
    let session = enter(&stage, &grant, &sam).is(201).session();
    assert_eq!(changes(&stage, "shop", &sam).unwrap_err(), "permission_missing");
    // More is for whoever enters from now on; what runs gains nothing.
    change(
        &stage,
        "adam",
        &grant,
        json!({"scope": scope(&[("shop", "manage"), ("crm", "manage"), ("erp", "monitor")])}),
    )
    .is(200);
    enter(&stage, &grant, &kim).is(201);
    assert!(changes(&stage, "shop", &kim).is_ok() && sees(&stage, "erp", &kim).is_ok());
    assert_eq!(changes(&stage, "shop", &sam).unwrap_err(), "permission_missing");
    assert_eq!(sees(&stage, "erp", &sam).unwrap_err(), "grant_scope");
    // Less holds at once, for what is under way too.
    let stream = stage.stream(&below("crm", "/flows/f1"), &sam);
    change(&stage, "olivia", &grant, json!({"role": "monitor", "scope": scope(&[("shop", "monitor")])}))
        .is(200);
    stage.was_cut(stream, stage.passed(), "grant_scope");
    for token in [&sam, &kim] {
        assert_eq!(changes(&stage, "shop", token).unwrap_err(), "permission_missing");
        assert!(sees(&stage, "shop", token).is_ok());
        assert_eq!(sees(&stage, "crm", token).unwrap_err(), "grant_scope");
    }
    // Its end is moved, nearer and further, counted from now.
    stage.clock.advance(HOUR);
    let moved = change(&stage, "olivia", &grant, json!({"for": "2d"})).is(200);
    assert_eq!(moved.body["grant"]["until"], written(NOON + HOUR + 2 * DAY));
    // And it is switched off.
    let stream = stage.stream(&below("shop", "/flows/f1"), &sam);
    stage.delete(&format!("{GRANTS}/{grant}"), &of_acme(&stage, "olivia")).is(200);
    stage.was_cut(stream, stage.passed(), "grant_withdrawn");
    assert_eq!(sees(&stage, "shop", &sam).unwrap_err(), "grant_withdrawn");
    assert_eq!(profile(&stage, "acme", "production", "olivia")["on"], false);
    assert_eq!(fell(&stage, &session).0, "grant_withdrawn");
    assert_eq!(stage.events("grant_changed").len(), 2);
    stage.finish();
}

#[test]
fn cel_05_an_account_on_a_free_or_trial_plan_cannot_switch_it_on() {
    let stage = stage();
    for (account_name, plan) in [("free-co", Some("free")), ("trial-co", Some("trial")), ("none-co", None)] {
        account(&stage, account_name, &["production"], plan).is(201);
        person(&stage, account_name, "olivia", &["owner"]);
        let grants = format!("/v1/tenants/{account_name}/grants");
        let olivia = stage.member("olivia", account_name, &[]);
        stage.api("POST", &grants, &olivia, whole()).refused(403, "plan_closes");
        let here = profile(&stage, account_name, "production", "olivia");
        assert_eq!((&here["on"], &here["closed_by"]), (&json!(false), &json!("plan_closes")));
        // A plan that includes it opens the way.
        account(&stage, account_name, &["production"], Some("standard")).is(200);
        stage.api("POST", &grants, &olivia, whole()).is(201);
    }
    let refused = stage.world.of_kind("change.refused");
    assert_eq!(refused.iter().filter(|record| record["reason"] == "plan_closes").count(), 3);
    stage.finish();
}

/// What changes who may do what: none of it is open to support, ever.
const PERMISSIONS_OF_USERS: &[(&str, &str)] = &[
    ("POST", "/accounts/acme/users"),
    ("PUT", "/accounts/acme/users/u1"),
    ("DELETE", "/accounts/acme/users/u1"),
    ("POST", "/accounts/acme/ownership"),
    ("POST", "/accounts/acme/api-tokens"),
];

#[test]
fn cel_06_at_no_level_and_in_no_environment_staff_change_what_users_may_do() {
    let stage = stage();
    for environment in ["production", "sandbox"] {
        let place = json!({"environment": environment});
        for (number, body) in
            [whole(), named(&[("shop", "manage")]), named(&[("shop", "monitor")])].into_iter().enumerate()
        {
            let grant = give(&stage, "olivia", with(body, &place)).is(201).grant();
            let token = support(&stage, &format!("sam-{environment}-{number}"));
            enter_in(&stage, environment, &grant, &token).is(201);
            assert!(reaches_in(&stage, environment, "GET", &below("shop", "/flows"), &token).is_ok());
            for (method, path) in PERMISSIONS_OF_USERS {
                let refused = reaches_in(&stage, environment, method, path, &token).unwrap_err();
                assert_eq!(refused, "ceiling", "{method} {path} in {environment}");
            }
        }
    }
    // Their own administrators do.
    let adam = of_acme(&stage, "adam");
    assert!(stage.reaches("POST", "/accounts/acme/users", &adam).is_ok());
    stage.finish();
}

#[test]
fn cel_07_a_setting_lets_others_than_administrators_grant_and_is_off_by_default() {
    let stage = stage();
    let olivia = of_acme(&stage, "olivia");
    assert_eq!(stage.get(PROFILE, &olivia).is(200).body["others_may_grant"], false);
    for sub in ["mara", "mona", "carl"] {
        give(&stage, sub, named(&[("shop", "monitor")])).refused(403, "granting_off");
        allow_others(&stage, sub, true).refused(403, "not_allowed");
    }
    stage
        .api("PUT", PROFILE, &support(&stage, "sam"), json!({"others_may_grant": true}))
        .refused(403, "not_allowed");
    stage
        .api("PUT", PROFILE, &stage.provisioner(), json!({"others_may_grant": true}))
        .refused(403, "not_allowed");
    for switcher in ["olivia", "adam"] {
        let answer = allow_others(&stage, switcher, true).is(200);
        assert_eq!(answer.body["profile"]["others_may_grant"], true);
        for sub in ["mara", "mona", "carl"] {
            give(&stage, sub, named(&[("shop", "monitor")])).is(201);
            let told = stage.get(PROFILE, &of_acme(&stage, sub)).is(200).body;
            assert_eq!(told["you_give_as"], "allowed");
        }
        allow_others(&stage, switcher, false).is(200);
        give(&stage, "mara", named(&[("shop", "monitor")])).refused(403, "granting_off");
    }
    let switched: Vec<_> =
        stage.events("granting_changed").iter().map(|(event, _)| event["allowed"].clone()).collect();
    assert_eq!(switched, [json!(true), json!(false), json!(true), json!(false)]);
    stage.finish();
}

#[test]
fn cel_08_a_grant_by_another_is_bounded_by_what_they_can_do_as_that_changes() {
    let stage = stage();
    allow_others(&stage, "olivia", true).is(200);
    give(&stage, "mara", whole()).refused(403, "scope_too_wide");
    give(&stage, "mona", named(&[("shop", "manage")])).refused(422, "beyond_grantor");
    give(&stage, "carl", named(&[("shop", "manage")])).refused(422, "beyond_grantor");
    let grant = give(&stage, "mara", named(&[("shop", "manage")])).is(201);
    assert_eq!(grant.body["grant"]["given_as"], "allowed");
    let sam = support(&stage, "sam");
    enter(&stage, &grant.grant(), &sam).is(201);
    assert!(sees(&stage, "shop", &sam).is_ok() && changes(&stage, "shop", &sam).is_ok());
    assert_eq!(sees(&stage, "crm", &sam).unwrap_err(), "grant_scope");
    assert_eq!(stage.reaches("GET", "/accounts/acme/dashboard", &sam).unwrap_err(), "permission_missing");
    // The grantor loses a right, and support loses it: on the next request, and what is open.
    person(&stage, "acme", "mara", &["monitor_all"]);
    assert!(sees(&stage, "shop", &sam).is_ok(), "what they still can, support still can");
    assert_eq!(changes(&stage, "shop", &sam).unwrap_err(), "grantor_lacks");
    let stream = stage.stream(&below("shop", "/flows/f1"), &sam);
    person(&stage, "acme", "mara", &[]);
    stage.was_cut(stream, stage.passed(), "grantor_lacks");
    assert_eq!(sees(&stage, "shop", &sam).unwrap_err(), "grantor_lacks");
    // It never reaches the whole account, also not by a change.
    person(&stage, "acme", "mara", &["manage_all"]);
    change(&stage, "mara", &grant.grant(), json!({"role": "support_admin", "scope": "everything"}))
        .refused(403, "scope_too_wide");
    change(&stage, "olivia", &grant.grant(), json!({"role": "support_admin", "scope": "everything"}))
        .refused(403, "scope_too_wide");
    stage.finish();
}

/// Where people reach some integrations only: rows say who manages which.
const BY_INTEGRATION: [(&str, &str); 2] = [
    (
        "roles:\n  # What support gets.",
        "resource_types: { integrations: {} }\nroles:\n  keeper: { at: integrations, allow: [integrations:read, integrations:update, \"flows:*\", \"steps:*\", \"connections:*\", \"jobs:*\", \"errors:*\", \"mappings:*\"] }\n  # What support gets.",
    ),
    (
        "may: [\"tenants:push\", \"members:push\"]",
        "may: [\"tenants:push\", \"members:push\", \"resources:push\"]",
    ),
];

#[test]
fn cel_08_a_grant_by_another_reaches_only_the_integrations_that_they_reach() {
    let stage = staged(&BY_INTEGRATION);
    let integration = |id: &str| format!("/v1/tenants/acme/resources/integrations/{id}");
    for id in ["shop", "crm"] {
        stage.api("PUT", &integration(id), &stage.provisioner(), json!({})).is(200);
    }
    let carls = format!("{}/members/{}", integration("shop"), person_id("app", "carl"));
    allow_others(&stage, "olivia", true).is(200);
    give(&stage, "carl", named(&[("shop", "manage")])).refused(422, "beyond_grantor");
    stage.api("PUT", &carls, &stage.provisioner(), json!({"role": "keeper"})).is(200);
    // What he manages he grants, and not the one beside it.
    give(&stage, "carl", named(&[("crm", "manage")])).refused(422, "beyond_grantor");
    give(&stage, "carl", named(&[("shop", "manage"), ("crm", "manage")])).refused(422, "beyond_grantor");
    let grant = give(&stage, "carl", named(&[("shop", "manage"), ("crm", "monitor")])).is(201);
    let sam = support(&stage, "sam");
    enter(&stage, &grant.grant(), &sam).is(201);
    assert!(changes(&stage, "shop", &sam).is_ok() && sees(&stage, "crm", &sam).is_ok());
    assert_eq!(changes(&stage, "crm", &sam).unwrap_err(), "permission_missing");
    // He loses it there, and support loses it: on the next request, and what is open.
    stage.delete(&carls, &stage.provisioner()).is(200);
    assert_eq!(changes(&stage, "shop", &sam).unwrap_err(), "grantor_lacks");
    assert!(sees(&stage, "shop", &sam).is_ok(), "what he still can in the whole account, support still can");
    let stream = stage.stream(&below("crm", "/flows/f1"), &sam);
    person(&stage, "acme", "carl", &[]);
    stage.was_cut(stream, stage.passed(), "grantor_lacks");
    stage.finish();
}

#[test]
fn cel_09_a_grantor_withdraws_their_own_and_an_administrator_any() {
    let stage = stage();
    allow_others(&stage, "olivia", true).is(200);
    let of = |sub: &str| give(&stage, sub, named(&[("shop", "monitor")])).is(201).grant();
    let (maras, monas) = (of("mara"), of("mona"));
    let path = |grant: &str| format!("{GRANTS}/{grant}");
    let (sam, kim) = (support(&stage, "sam"), support(&stage, "kim"));
    enter(&stage, &maras, &sam).is(201);
    enter(&stage, &monas, &kim).is(201);
    // Others' are none of theirs, not even to see; one answer, whether there is such a grant or not.
    let (mara, mona) = (of_acme(&stage, "mara"), of_acme(&stage, "mona"));
    for grant in [&monas, &"grt_nothing".to_owned()] {
        stage.delete(&path(grant), &mara).refused(403, "not_allowed");
        stage.get(&path(grant), &mara).refused(404, "not_found");
        change(&stage, "mara", grant, json!({"for": "1d"})).refused(403, "not_allowed");
    }
    let listed = stage.get(GRANTS, &mara).is(200).body;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["id"], maras.as_str());
    // Their own they withdraw, and what runs by it is cut.
    let stream = stage.stream(&below("shop", "/flows/f1"), &sam);
    stage.delete(&path(&maras), &mara).is(200);
    stage.was_cut(stream, stage.passed(), "grant_withdrawn");
    assert!(sees(&stage, "shop", &kim).is_ok(), "the other one stands");
    stage.delete(&path(&monas), &of_acme(&stage, "adam")).is(200);
    assert_eq!(sees(&stage, "shop", &kim).unwrap_err(), "grant_withdrawn");
    assert_eq!(stage.get(&path(&monas), &mona).is(200).body["over"]["by"]["sub"], "adam");
    // Also when they may give none any more.
    let monas = of("mona");
    person(&stage, "acme", "mona", &[]);
    stage.delete(&path(&monas), &mona).is(200);
    stage.finish();
}

#[test]
fn cel_10_environments_are_separate_and_which_can_be_granted_goes_by_those_that_there_are() {
    let stage = stage();
    let grant = give(&stage, "olivia", whole()).is(201).grant();
    let sam = support(&stage, "sam");
    enter(&stage, &grant, &sam).is(201);
    assert!(reaches_in(&stage, "production", "GET", &below("shop", ""), &sam).is_ok());
    assert_eq!(
        reaches_in(&stage, "sandbox", "GET", &below("shop", ""), &sam).unwrap_err(),
        "session_missing"
    );
    enter_in(&stage, "sandbox", &grant, &sam).refused(403, "grant_gives_nothing");
    // One production and one sandbox: each by its own grant.
    let sandbox = json!({"environment": "sandbox"});
    let tried = give(&stage, "olivia", with(whole(), &sandbox)).is(201).grant();
    enter_in(&stage, "sandbox", &tried, &sam).is(201);
    let seen = reaches_in(&stage, "sandbox", "GET", &below("shop", ""), &sam).unwrap();
    assert_eq!(asserted(&seen)["env"], "sandbox");
    // Several: production alone.
    for (name, environments) in [
        ("several", &["production", "sandbox", "staging"][..]),
        ("other-pair", &["production", "staging"][..]),
        ("sandbox-only", &["sandbox"][..]),
    ] {
        account(&stage, name, environments, Some("enterprise")).is(201);
        person(&stage, name, "olivia", &["owner"]);
        let (grants, olivia) = (format!("/v1/tenants/{name}/grants"), stage.member("olivia", name, &[]));
        for environment in environments {
            let answer =
                stage.api("POST", &grants, &olivia, with(whole(), &json!({"environment": environment})));
            let here = profile(&stage, name, environment, "olivia");
            if *environment == "production" {
                answer.is(201);
                assert_eq!(here["on"], true);
            } else {
                answer.refused(422, "environment_closes");
                assert_eq!((&here["on"], &here["closed_by"]), (&json!(false), &json!("environment_closes")));
            }
        }
    }
    stage.finish();
}

#[test]
fn cel_11_who_may_grant_is_set_for_each_role() {
    let stage = stage();
    for sub in ["olivia", "adam"] {
        give(&stage, sub, whole()).is(201);
        give(&stage, sub, named(&[("any", "manage")])).is(201);
    }
    let tries = [
        ("mara", "manage", true),
        ("mona", "monitor", true),
        ("mona", "manage", false),
        ("carl", "monitor", true),
    ];
    for (sub, level, _) in tries {
        give(&stage, sub, named(&[("shop", level)])).refused(403, "granting_off");
    }
    allow_others(&stage, "adam", true).is(200);
    for (sub, level, may) in tries {
        let answer = give(&stage, sub, named(&[("shop", level)]));
        let _ = if may { answer.is(201) } else { answer.refused(422, "beyond_grantor") };
        give(&stage, sub, whole()).refused(403, "scope_too_wide");
    }
    // Whoever holds none of these roles gives nothing.
    person(&stage, "acme", "mara", &[]);
    give(&stage, "mara", named(&[("shop", "monitor")])).refused(403, "not_allowed");
    stage.finish();
    // The other reading is one line.
    let stage = staged(&[("manage_all: when_allowed", "manage_all: always")]);
    let grant = give(&stage, "mara", named(&[("shop", "manage")])).is(201);
    assert_eq!(grant.body["grant"]["given_as"], "member");
    give(&stage, "mara", whole()).refused(403, "scope_too_wide");
    give(&stage, "mona", named(&[("shop", "monitor")])).refused(403, "granting_off");
    stage.finish();
}

#[test]
fn cel_12_everything_that_support_does_is_logged_with_the_persons_own_name() {
    let stage = stage();
    allow_others(&stage, "olivia", true).is(200);
    let grants = [
        give(&stage, "olivia", whole()).is(201).grant(),
        give(&stage, "adam", named(&[("shop", "manage")])).is(201).grant(),
        give(&stage, "mara", named(&[("shop", "manage")])).is(201).grant(),
        give(&stage, "carl", named(&[("shop", "monitor")])).is(201).grant(),
    ];
    for (grant, sub) in grants.iter().zip(["sam", "kim", "lou", "max"]) {
        let token = support(&stage, sub);
        let session = enter(&stage, grant, &token).is(201).session();
        let seen = sees(&stage, "shop", &token).unwrap();
        assert_eq!(asserted(&seen)["sub"], sub, "the application is told who it is");
        let intents = stage.world.of_kind("access.intent");
        let intent = intents.last().unwrap();
        assert_eq!((&intent["subject"]["sub"], &intent["session"]), (&json!(sub), &json!(session)));
        assert_eq!(intent["basis"], json!({"grant": grant}));
        assert_eq!((&intent["method"], &intent["path"]), (&json!("GET"), &json!(below("shop", "/flows/f1"))));
        let outcome = stage.world.outcome_of(intent["exchange"].as_str().unwrap());
        assert_eq!((&outcome["end"], &outcome["status"]), (&json!("complete"), &json!(200)));
        // What they were refused too.
        assert_eq!(stage.reaches("POST", "/accounts/acme/users", &token).unwrap_err(), "ceiling");
        until("the refusal is written", || {
            stage.world.of_kind("access.refused").iter().any(|record| record["subject"]["sub"] == sub)
        });
    }
    stage.finish();
}

#[test]
fn cel_13_the_profile_is_for_support_as_a_whole_and_nobody_else_of_the_vendor() {
    let stage = stage();
    for to in [json!({"email": "sam@vendor.example"}), json!({"subject": {"issuer": "vendor", "sub": "sam"}})]
    {
        give(&stage, "olivia", with(whole(), &json!({"to": to}))).refused(422, "grantee_not_offered");
    }
    let grant = give(&stage, "olivia", whole()).is(201).grant();
    for sub in ["sam", "kim", "lou"] {
        let token = support(&stage, sub);
        assert_eq!(stage.get(GRANTS, &token).is(200).body["items"][0]["id"], grant.as_str());
        enter(&stage, &grant, &token).is(201);
        assert!(sees(&stage, "shop", &token).is_ok());
    }
    for (sub, groups) in
        [("eve", json!(["engineering"])), ("dan", json!([])), ("sue", json!(["support-leads"]))]
    {
        let token = stage.agent_with(sub, &json!({"groups": groups}));
        assert_eq!(stage.get(GRANTS, &token).is(200).body["items"], json!([]));
        enter(&stage, &grant, &token).refused(404, "not_found");
        assert_eq!(sees(&stage, "shop", &token).unwrap_err(), "session_missing");
    }
    // Whoever is not support any more is out with the next token.
    let former = stage.agent_with("sam", &json!({"groups": ["sales"]}));
    assert_eq!(sees(&stage, "shop", &former).unwrap_err(), "grant_missing");
    stage.finish();
}

fn follow(stage: &Stage, token: &str, query: &str) -> Client {
    let mut client = stage.world.client();
    client.send(request("GET", &format!("/_postern/v1/tenants/acme/audit/stream{query}"), token, ""));
    client
}

/// Reads until the text holds this.
#[track_caller]
fn hears(client: &mut Client, what: &str) -> String {
    loop {
        let text = String::from_utf8_lossy(&client.inbox).into_owned();
        if text.contains(what) && text.ends_with("\n\n\r\n") {
            return text;
        }
        assert_eq!(client.more(), Ending::Open, "{text}");
    }
}

#[test]
fn cel_14_activity_is_watched_while_it_happens_by_administrators_and_by_the_grantor_for_their_own() {
    let stage = stage();
    allow_others(&stage, "olivia", true).is(200);
    let maras = give(&stage, "mara", named(&[("shop", "manage")])).is(201).grant();
    let others = give(&stage, "olivia", named(&[("crm", "manage")])).is(201).grant();
    let (sam, kim) = (support(&stage, "sam"), support(&stage, "kim"));
    // Of two sessions by it one began before anybody watched.
    let early = enter(&stage, &maras, &sam).is(201).session();
    let mut watching: Vec<Client> =
        [("olivia", String::new()), ("adam", String::new()), ("mara", format!("?grant={maras}"))]
            .iter()
            .map(|(sub, query)| follow(&stage, &of_acme(&stage, sub), query))
            .collect();
    for client in &mut watching {
        assert!(client.head().contains(" 200 "));
    }
    enter(&stage, &others, &kim).is(201);
    assert!(changes(&stage, "crm", &kim).is_ok());
    assert!(changes(&stage, "shop", &sam).is_ok());
    for (number, client) in watching.iter_mut().enumerate() {
        // From the intent to how it went.
        let intent =
            stage.world.of_kind("access.intent").into_iter().find(|r| r["session"] == *early).unwrap();
        let exchange = intent["exchange"].as_str().unwrap().to_owned();
        hears(client, &exchange);
        let text = hears(client, "\"access.outcome\"");
        assert!(text.contains("/flows/f1"), "{text}");
        assert_eq!(
            text.contains("\"sub\":\"kim\""),
            number < 2,
            "others' are not the grantor's to watch: {text}"
        );
    }
    // Nobody watches what is not theirs, and nobody else of the account watches at all.
    for (sub, query) in [
        ("mara", String::new()),
        ("mara", format!("?grant={others}")),
        ("mara", "?grant=grt_nothing".to_owned()),
        ("mona", format!("?grant={maras}")),
        ("carl", String::new()),
    ] {
        for path in ["audit/stream", "audit"] {
            let path = format!("/v1/tenants/acme/{path}{query}");
            stage.get(&path, &of_acme(&stage, sub)).refused(403, "not_allowed");
        }
    }
    // The same afterwards, page by page.
    let page =
        stage.get(&format!("/v1/tenants/acme/audit?grant={maras}"), &of_acme(&stage, "mara")).is(200).body;
    let records: Vec<&Value> = page["items"].as_array().unwrap().iter().map(|item| &item["record"]).collect();
    let kinds: Vec<&str> = records.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    for kind in ["change.intent", "change.outcome", "access.intent", "access.outcome"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    assert!(records.iter().all(|record| record["subject"]["sub"] != "kim"), "{records:#?}");
    // Withdrawn or not, what was done by it stays theirs to read; gone from the account, nothing does.
    stage.delete(&format!("{GRANTS}/{maras}"), &of_acme(&stage, "mara")).is(200);
    stage.get(&format!("/v1/tenants/acme/audit?grant={maras}"), &of_acme(&stage, "mara")).is(200);
    pushed(&stage, "acme", "mara", Value::Null);
    let watcher = &mut watching[2];
    while watcher.more() == Ending::Open {}
    let text = String::from_utf8_lossy(&watcher.inbox).into_owned();
    assert!(text.contains("event: end\ndata: {\"code\":\"not_allowed\"}"), "{text}");
    drop(watching);
    stage.finish();
}

#[test]
fn cel_15_each_named_integration_carries_its_own_level() {
    let stage = stage();
    let grant = give(&stage, "olivia", named(&[("shop", "monitor"), ("crm", "manage")])).is(201).grant();
    let sam = support(&stage, "sam");
    enter(&stage, &grant, &sam).is(201);
    let reading = ["", "/flows", "/flows/f1", "/flows/f1/steps/s1", "/connections", "/jobs", "/errors"];
    let writing = [
        ("PUT", ""),
        ("POST", "/flows"),
        ("PUT", "/flows/f1"),
        ("DELETE", "/flows/f1"),
        ("POST", "/flows/f1/run"),
        ("PUT", "/flows/f1/steps/s1"),
        ("PUT", "/flows/f1/mappings"),
        ("PUT", "/connections/c1"),
        ("POST", "/jobs/j1/cancel"),
        ("POST", "/errors/e1/retry"),
    ];
    for rest in reading {
        for integration in ["shop", "crm"] {
            assert!(stage.reaches("GET", &below(integration, rest), &sam).is_ok(), "{integration}{rest}");
        }
        // One that is named nowhere, or made later, is not in it.
        assert_eq!(stage.reaches("GET", &below("later", rest), &sam).unwrap_err(), "grant_scope");
    }
    for (method, rest) in writing {
        assert_eq!(
            stage.reaches(method, &below("shop", rest), &sam).unwrap_err(),
            "permission_missing",
            "{rest}"
        );
        assert!(stage.reaches(method, &below("crm", rest), &sam).is_ok(), "{method} {rest}");
    }
    // Neither level makes or removes an integration, nor sees across them.
    assert_eq!(stage.reaches("DELETE", &below("crm", ""), &sam).unwrap_err(), "permission_missing");
    assert_eq!(stage.reaches("GET", "/accounts/acme/integrations", &sam).unwrap_err(), "grant_scope");
    assert_eq!(stage.reaches("POST", "/accounts/acme/integrations", &sam).unwrap_err(), "permission_missing");
    // The whole account is `admin`, and nothing less; an integration is never.
    for role in ["monitor", "manage", "admin", "owner"] {
        give(&stage, "olivia", with(whole(), &json!({"role": role}))).refused(422, "role_not_given");
    }
    give(&stage, "olivia", named(&[("shop", "support_admin")])).refused(422, "role_not_given");
    give(&stage, "olivia", named(&[("shop", "monitor"), ("crm", "support_admin")]))
        .refused(422, "role_not_given");
    let flows = json!({"resources": [{"type": "flows", "id": "f1"}]});
    give(&stage, "olivia", with(named(&[("shop", "monitor")]), &json!({"scope": flows})))
        .refused(422, "role_not_given");
    stage.finish();
}

#[test]
fn cel_16_a_grant_by_another_has_the_same_mandatory_expiry_and_the_same_maximum() {
    let stage = stage();
    allow_others(&stage, "olivia", true).is(200);
    for sub in ["mara", "mona", "carl"] {
        let body = named(&[("shop", "monitor")]);
        give(&stage, sub, with(body.clone(), &json!({"for": null}))).refused(422, "expiry_missing");
        give(&stage, sub, with(body.clone(), &json!({"for": "180d 1s"}))).refused(422, "too_far");
        let grant = give(&stage, sub, with(body, &json!({"for": "180d"}))).is(201).grant();
        change(&stage, sub, &grant, json!({"for": "181d"})).refused(422, "too_far");
        let moved = change(&stage, sub, &grant, json!({"for": "6h"})).is(200);
        assert_eq!(moved.body["grant"]["until"], written(NOON + 6 * HOUR));
    }
    let grants = stage.get(GRANTS, &of_acme(&stage, "mona")).is(200).body;
    let sam = support(&stage, "sam");
    let session = enter(&stage, grants["items"][0]["id"].as_str().unwrap(), &sam).is(201).session();
    assert!(sees(&stage, "shop", &sam).is_ok());
    stage.clock.advance(6 * HOUR);
    assert_eq!(sees(&stage, "shop", &sam).unwrap_err(), "grant_expired");
    assert_eq!(fell(&stage, &session), ("grant_expired".to_owned(), written(NOON + 6 * HOUR)));
    stage.finish();
}

#[test]
fn cel_17_days_are_24_hours_counted_anew_from_each_change() {
    // Where the account is, the clocks go back on 25 October.
    let stage = Stage::set(PRESET, crate::stage::at("2026-10-24T10:00:00Z"), &[]);
    account(&stage, "acme", &["production"], Some("standard")).is(201);
    person(&stage, "acme", "olivia", &["owner"]);
    let begun = stage.now();
    let until = |answer: &Answer| answer.body["grant"]["until"].as_str().unwrap().to_owned();
    let grant = give(&stage, "olivia", with(whole(), &json!({"for": "2d"}))).is(201);
    assert_eq!(until(&grant), written(begun + 2 * DAY), "48 hours, whatever the clocks on the wall do");
    for same in ["180d", "4320h"] {
        let answer = give(&stage, "olivia", with(whole(), &json!({"for": same}))).is(201);
        assert_eq!(until(&answer), written(begun + 180 * DAY));
    }
    for more in ["180d 1s", "4320h 1ms"] {
        give(&stage, "olivia", with(whole(), &json!({"for": more}))).refused(422, "too_far");
    }
    // Nothing, zero, the past, less than nothing.
    for (said, status, code) in [
        (json!({"for": null}), 422, "expiry_missing"),
        (json!({"for": "0h"}), 422, "not_in_future"),
        (json!({"for": null, "until": written(begun)}), 422, "not_in_future"),
        (json!({"for": null, "until": written(begun - 1)}), 422, "not_in_future"),
        (json!({"for": "-1d"}), 400, "body_malformed"),
        (json!({"for": ""}), 400, "body_malformed"),
        (json!({"for": 5}), 400, "body_malformed"),
    ] {
        give(&stage, "olivia", with(whole(), &said)).refused(status, code);
        if !said["for"].is_null() || said.get("until").is_some() {
            change(&stage, "olivia", &grant.grant(), with(json!({}), &said)).refused(status, code);
        }
    }
    // A change counts from its own moment, with the same bound.
    stage.clock.advance(DAY);
    let change = |body| change(&stage, "olivia", &grant.grant(), body);
    assert_eq!(until(&change(json!({"for": "180d"})).is(200)), written(begun + 181 * DAY));
    change(json!({"for": "180d 1s"})).refused(422, "too_far");
    let both = json!({"role": "manage", "scope": scope(&[("shop", "manage")]), "for": "3h"});
    assert_eq!(until(&change(both).is(200)), written(begun + DAY + 3 * HOUR));
    let sam = support(&stage, "sam");
    enter(&stage, &grant.grant(), &sam).is(201);
    stage.clock.advance(3 * HOUR - 1);
    assert!(sees(&stage, "shop", &sam).is_ok());
    stage.clock.advance(1);
    assert_eq!(sees(&stage, "shop", &sam).unwrap_err(), "grant_expired");
    stage.finish();
}

#[test]
fn cel_18_a_grant_is_what_was_granted_and_what_the_grantor_has_now() {
    let stage = stage();
    allow_others(&stage, "olivia", true).is(200);
    let grant = give(&stage, "mona", named(&[("shop", "monitor")])).is(201).grant();
    let (sam, kim) = (support(&stage, "sam"), support(&stage, "kim"));
    enter(&stage, &grant, &sam).is(201);
    // A right that the grantor gains later is not in it, for nobody who enters by it.
    person(&stage, "acme", "mona", &["manage_all"]);
    enter(&stage, &grant, &kim).is(201);
    for token in [&sam, &kim] {
        assert!(sees(&stage, "shop", token).is_ok());
        assert_eq!(changes(&stage, "shop", token).unwrap_err(), "permission_missing");
    }
    // By a new grant it is.
    let wider = give(&stage, "mona", named(&[("shop", "manage")])).is(201).grant();
    let lou = support(&stage, "lou");
    enter(&stage, &wider, &lou).is(201);
    assert!(changes(&stage, "shop", &lou).is_ok());
    // What the grantor has no more is in neither.
    person(&stage, "acme", "mona", &["custom"]);
    assert_eq!(changes(&stage, "shop", &lou).unwrap_err(), "grantor_lacks");
    assert!(sees(&stage, "shop", &lou).is_ok() && sees(&stage, "shop", &sam).is_ok());
    stage.finish();
}

#[test]
fn cel_19_the_setting_switched_off_or_the_grantor_gone_ends_such_grants_at_once() {
    let stage = stage();
    let of = |sub: &str| give(&stage, sub, named(&[("shop", "monitor")])).is(201).grant();
    allow_others(&stage, "olivia", true).is(200);
    let (maras, olivias) = (of("mara"), of("olivia"));
    let (sam, kim) = (support(&stage, "sam"), support(&stage, "kim"));
    let session = enter(&stage, &maras, &sam).is(201).session();
    enter(&stage, &olivias, &kim).is(201);
    let stream = stage.stream(&below("shop", "/flows/f1"), &sam);
    allow_others(&stage, "adam", false).is(200);
    stage.was_cut(stream, stage.passed(), "granting_off");
    assert_eq!(sees(&stage, "shop", &sam).unwrap_err(), "granting_off");
    assert!(sees(&stage, "shop", &kim).is_ok(), "what an administrator gave rests on no setting");
    assert_eq!(fell(&stage, &session), ("granting_off".to_owned(), written(NOON)));
    // On again, it stays over.
    stage.clock.advance(HOUR);
    allow_others(&stage, "adam", true).is(200);
    enter(&stage, &maras, &support(&stage, "lou")).refused(403, "grant_gives_nothing");
    let over = stage.get(&format!("{GRANTS}/{maras}"), &of_acme(&stage, "mara")).is(200).body;
    assert_eq!((&over["standing"], &over["over"]["code"]), (&json!(false), &json!("granting_off")));
    change(&stage, "mara", &maras, json!({"for": "10d"})).refused(409, "ended");
    // Suspended, or gone from the account; what they gave does not come back with them.
    for (sub, away) in [("mona", json!({"roles": ["monitor_all"], "suspended": true})), ("carl", Value::Null)]
    {
        let grant = of(sub);
        let token = support(&stage, &format!("for-{sub}"));
        let session = enter(&stage, &grant, &token).is(201).session();
        let stream = stage.stream(&below("shop", "/flows/f1"), &token);
        pushed(&stage, "acme", sub, away);
        stage.was_cut(stream, stage.passed(), "grantor_gone");
        assert_eq!(fell(&stage, &session), ("giver_gone".to_owned(), written(NOON + HOUR)));
        person(&stage, "acme", sub, &["manage_all"]);
        enter(&stage, &grant, &support(&stage, &format!("again-{sub}"))).refused(403, "grant_gives_nothing");
        let own = stage.get(&format!("{GRANTS}/{grant}"), &of_acme(&stage, sub)).is(200).body;
        assert_eq!((&own["standing"], &own["over"]["code"]), (&json!(false), &json!("grantor_gone")));
    }
    stage.finish();
}

#[test]
fn cel_20_a_fall_to_a_plan_without_it_ends_what_runs_and_it_stays_off() {
    let stage = stage();
    let both = ["production", "sandbox"];
    for (number, plan) in [Some("free"), Some("trial"), Some("unheard-of"), None].into_iter().enumerate() {
        let grant = give(&stage, "olivia", whole()).is(201).grant();
        let token = support(&stage, &format!("sam-{number}"));
        let session = enter(&stage, &grant, &token).is(201).session();
        let stream = stage.stream(&below("shop", "/flows/f1"), &token);
        let fallen = stage.now();
        account(&stage, "acme", &both, plan).is(200);
        stage.was_cut(stream, stage.passed(), "plan_closes");
        assert_eq!(sees(&stage, "shop", &token).unwrap_err(), "plan_closes");
        assert_eq!(fell(&stage, &session), ("plan_fell".to_owned(), written(fallen)));
        let here = profile(&stage, "acme", "production", "olivia");
        assert_eq!((&here["on"], &here["closed_by"]), (&json!(false), &json!("plan_closes")), "{plan:?}");
        // It is paid for again, and stays off until somebody switches it on anew.
        stage.clock.advance(HOUR);
        account(&stage, "acme", &both, Some("enterprise")).is(200);
        let here = profile(&stage, "acme", "production", "olivia");
        assert_eq!((&here["on"], &here["closed_by"]), (&json!(false), &Value::Null));
        assert_eq!(sees(&stage, "shop", &token).unwrap_err(), "plan_closes");
        enter(&stage, &grant, &support(&stage, "kim")).refused(403, "grant_gives_nothing");
        change(&stage, "olivia", &grant, json!({"for": "10d"})).refused(409, "ended");
    }
    let closed = stage.events("grants_closed");
    assert_eq!(closed.len(), 4, "once each");
    assert!(closed.iter().all(|(event, _)| event["cause"] == "plan_fell"));
    // From one plan that includes it to another nothing happens.
    let grant = give(&stage, "olivia", whole()).is(201).grant();
    let lou = support(&stage, "lou");
    enter(&stage, &grant, &lou).is(201);
    account(&stage, "acme", &both, Some("standard")).is(200);
    assert!(sees(&stage, "shop", &lou).is_ok());
    stage.finish();
}

#[test]
fn cel_21_a_further_environment_ends_the_grant_on_the_sandbox() {
    let stage = stage();
    let produced = give(&stage, "olivia", whole()).is(201).grant();
    let tried = give(&stage, "olivia", with(whole(), &json!({"environment": "sandbox"}))).is(201).grant();
    let (sam, kim) = (support(&stage, "sam"), support(&stage, "kim"));
    enter(&stage, &produced, &sam).is(201);
    let session = enter_in(&stage, "sandbox", &tried, &kim).is(201).session();
    for (environment, token) in [("production", &sam), ("sandbox", &kim)] {
        assert!(reaches_in(&stage, environment, "DELETE", &below("shop", ""), token).is_ok(), "full access");
    }
    account(&stage, "acme", &["production", "sandbox", "staging"], Some("professional")).is(200);
    let refused = reaches_in(&stage, "sandbox", "GET", &below("shop", ""), &kim).unwrap_err();
    assert_eq!(refused, "environment_closes");
    assert!(reaches_in(&stage, "production", "GET", &below("shop", ""), &sam).is_ok());
    assert_eq!(fell(&stage, &session), ("environment_closed".to_owned(), written(NOON)));
    let closed = stage.events("grants_closed");
    assert_eq!(closed.len(), 1);
    assert_eq!(
        (&closed[0].0["environment"], &closed[0].0["cause"]),
        (&json!("sandbox"), &json!("environment_closed"))
    );
    // The third one goes again: what was granted stays over, and a new grant can be given.
    stage.clock.advance(HOUR);
    account(&stage, "acme", &["production", "sandbox"], Some("professional")).is(200);
    let refused = reaches_in(&stage, "sandbox", "GET", &below("shop", ""), &kim).unwrap_err();
    assert_eq!(refused, "environment_closes");
    enter_in(&stage, "sandbox", &tried, &support(&stage, "lou")).refused(403, "grant_gives_nothing");
    let anew = give(&stage, "olivia", with(whole(), &json!({"environment": "sandbox"}))).is(201).grant();
    let max = support(&stage, "max");
    enter_in(&stage, "sandbox", &anew, &max).is(201);
    assert!(reaches_in(&stage, "sandbox", "GET", &below("shop", ""), &max).is_ok());
    stage.finish();
}

#[test]
fn cel_22_what_users_may_do_covers_inviting_removing_roles_ownership_and_the_profile_itself() {
    let stage = stage();
    allow_others(&stage, "olivia", true).is(200);
    let grants = [
        ("production", give(&stage, "olivia", whole()).is(201).grant()),
        (
            "sandbox",
            give(&stage, "olivia", with(whole(), &json!({"environment": "sandbox"}))).is(201).grant(),
        ),
        ("production", give(&stage, "mara", named(&[("shop", "manage")])).is(201).grant()),
    ];
    for (number, (environment, grant)) in grants.iter().enumerate() {
        let token = support(&stage, &format!("sam-{number}"));
        enter_in(&stage, environment, grant, &token).is(201);
        for (method, path) in PERMISSIONS_OF_USERS {
            let refused = reaches_in(&stage, environment, method, path, &token).unwrap_err();
            assert_eq!(refused, "ceiling", "{method} {path}");
        }
        // The profile itself: neither given, nor changed, nor prolonged, nor the setting switched; also not by whoever is inside.
        stage.api("POST", GRANTS, &token, whole()).refused(403, "not_allowed");
        let own = format!("{GRANTS}/{grant}");
        stage.api("PATCH", &own, &token, json!({"for": "180d"})).refused(403, "not_allowed");
        stage
            .api("PATCH", &own, &token, json!({"role": "support_admin", "scope": "everything"}))
            .refused(403, "not_allowed");
        stage.delete(&own, &token).refused(403, "not_allowed");
        stage.api("PUT", PROFILE, &token, json!({"others_may_grant": false})).refused(403, "not_allowed");
        let row = format!("/v1/tenants/acme/members/{}", person_id("app", "mara"));
        stage.api("PUT", &row, &token, json!({"roles": ["owner"]})).refused(403, "not_allowed");
    }
    stage.finish();
}

#[test]
fn cel_23_a_session_rests_on_one_grant_and_grants_never_add_up() {
    let stage = stage();
    let shop = give(&stage, "olivia", named(&[("shop", "monitor")])).is(201).grant();
    let crm = give(&stage, "olivia", named(&[("crm", "manage")])).is(201).grant();
    let same = give(&stage, "olivia", named(&[("shop", "manage")])).is(201).grant();
    let sam = support(&stage, "sam");
    let session = |grant: &str| enter(&stage, grant, &sam).is(201).session();
    let (in_shop, in_crm, in_same) = (session(&shop), session(&crm), session(&same));
    let grants = [shop, crm, same];
    // Which one is meant has to be said.
    assert_eq!(sees(&stage, "shop", &sam).unwrap_err(), "session_ambiguous");
    let by = |session: &str, method: &str, path: &str| -> Result<(), String> {
        let more = format!("Postern-Session: {session}\r\nContent-Length: 0\r\n");
        let reply = stage.world.ask(method, path, &sam, &more);
        if reply.status == 200 { Ok(()) } else { Err(reply.code()) }
    };
    let (shop, crm) = (below("shop", "/flows/f1"), below("crm", "/flows/f1"));
    for (session, method, path, comes) in [
        (&in_shop, "GET", &shop, Ok(())),
        (&in_shop, "PUT", &shop, Err("permission_missing")),
        (&in_shop, "GET", &crm, Err("grant_scope")),
        (&in_crm, "PUT", &crm, Ok(())),
        (&in_crm, "GET", &shop, Err("grant_scope")),
        (&in_same, "PUT", &shop, Ok(())),
        (&in_same, "GET", &crm, Err("grant_scope")),
    ] {
        assert_eq!(by(session, method, path), comes.map_err(str::to_owned), "{session} {method} {path}");
    }
    // Each access is recorded with the one that it rested on.
    let intents = stage.world.of_kind("access.intent");
    let rested: Vec<&str> = intents.iter().map(|intent| intent["basis"]["grant"].as_str().unwrap()).collect();
    assert_eq!(rested, grants.each_ref().map(String::as_str));
    stage.finish();
}
