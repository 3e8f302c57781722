//! Roles that tenants define and adjust: who may, what is refused, and what follows at once.

use std::sync::atomic::Ordering::SeqCst;

use postern::{
    engine::knock::Who,
    model::{PermissionName, PlanName},
    policy::TenantRoles,
};
use serde_json::{Value, json};

use super::support::{Answer, Wish, World};

const AUDITOR: &str = "/v1/tenants/acme/roles/order_auditor";
const VIEWER: &str = "/v1/tenants/acme/roles/viewer";

/// Tenants may define three roles and adjust `viewer` and `auditor`.
async fn world() -> World {
    World::with(wish()).await
}

fn wish() -> Wish {
    let tenant_roles = TenantRoles { permission: None, most: 3, plans: None };
    Wish { tenant_roles, adjustable: &["viewer", "auditor"], ..Wish::default() }
}

async fn set(world: &World, path: &str, permissions: &[&str], who: &Who) -> Answer {
    world.put("PUT", path, json!({"permissions": permissions}), who).await
}

fn names(answer: &Answer, of: &str) -> Vec<String> {
    let list = answer.body[of].as_array().unwrap();
    list.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

async fn rights_of(world: &World, who: &Who) -> Vec<String> {
    names(&world.get("/v1/tenants/acme/rights?environment=production", who).await.is(200), "rights")
}

// P17-13
#[tokio::test]
async fn an_administrator_defines_a_role_and_grants_it() {
    let world = world().await;
    let admin = world.admin("acme");
    let made = set(&world, AUDITOR, &["orders:read", "config:read"], &admin).await.is(200);
    assert_eq!(
        made.body["role"],
        json!({"role": "order_auditor", "origin": "tenant", "adjustable": true,
            "permissions": ["config:read", "orders:read"], "for_staff": ["config:read", "orders:read"],
            "closed_to_staff": [], "levels": [], "grants": 0, "grantable": true})
    );
    let event = &made.body["outcome"]["events"][0];
    assert_eq!(
        *event,
        json!({"event": "role_set", "role": "order_auditor", "own": true,
            "added": ["config:read", "orders:read"], "taken": []})
    );
    // It stands in the list beside the configured ones, with where each comes from.
    let list = world.get("/v1/tenants/acme/roles", &admin).await.is(200).body;
    let of = |name: &str| {
        let items = list["items"].as_array().unwrap();
        items
            .iter()
            .find(|item| item["role"] == name)
            .map(|item| (item["origin"].clone(), item["adjustable"].clone()))
    };
    assert_eq!(of("order_auditor"), Some((json!("tenant"), json!(true))));
    assert_eq!(of("viewer"), Some((json!("configuration"), json!(true))));
    assert_eq!(of("admin"), Some((json!("configuration"), json!(false))));
    // Nobody else has it (law 11).
    let other = world.get("/v1/tenants/globex/roles", &world.admin("globex")).await.is(200).body;
    assert!(!other.to_string().contains("order_auditor"));

    let grant =
        world.granted("acme", json!({"subject": {"issuer": "staff", "sub": "anna"}}), "order_auditor").await;
    let anna = world.agent("anna");
    let session = world.enter_by("acme", &grant, &anna).await.is(201).body["session"].clone();
    assert_eq!(session["role"], "order_auditor");
    assert_eq!(session["rights"], json!(["config:read", "orders:read"]));
    // Staff inside see it, though not what else names it.
    let seen = world.get(AUDITOR, &anna).await.is(200).body;
    assert_eq!((&seen["permissions"], seen.get("grants")), (&json!(["config:read", "orders:read"]), None));
}

// P17-31
#[tokio::test]
async fn a_change_reaches_grants_at_once_and_a_granted_role_cannot_be_removed() {
    let world = world().await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    set(&world, AUDITOR, &["orders:read", "config:read"], &admin).await.is(200);
    let to = json!({"subject": {"issuer": "staff", "sub": "anna"}});
    let (first, second) = (
        world.granted("acme", to.clone(), "order_auditor").await,
        world.granted("acme", to, "order_auditor").await,
    );
    world.enter_by("acme", &first, &anna).await.is(201);
    assert_eq!(world.get(AUDITOR, &admin).await.is(200).body["grants"], 2);
    world.delete(AUDITOR, &admin).await.refused(409, "role_granted");

    let rights = async || {
        let answer = world.get("/v1/tenants/acme/rights?environment=production", &anna).await.is(200);
        answer.body["sessions"][0]["rights"].clone()
    };
    // Narrowed at once; widened again up to what the session began with, and not beyond (rule 4).
    set(&world, AUDITOR, &["orders:read"], &admin).await.is(200);
    assert_eq!(rights().await, json!(["orders:read"]));
    set(&world, AUDITOR, &["orders:read", "config:read", "jobs:create"], &admin).await.is(200);
    assert_eq!(rights().await, json!(["config:read", "orders:read"]));

    world.delete(&format!("/v1/tenants/acme/grants/{first}"), &admin).await.is(200);
    assert_eq!(world.get(AUDITOR, &admin).await.is(200).body["grants"], 1);
    world.delete(AUDITOR, &admin).await.refused(409, "role_granted");
    // Whose time is over stands no more, written down or not.
    world.clock.advance(11 * 86_400_000);
    let admin = world.admin("acme");
    assert_eq!(world.get(AUDITOR, &admin).await.is(200).body["grants"], 0);
    let gone = world.delete(AUDITOR, &admin).await.is(200).body;
    assert_eq!(gone["outcome"]["events"][0]["event"], "role_removed");
    assert_eq!(gone["outcome"]["events"][0]["taken"], json!(["config:read", "jobs:create", "orders:read"]));
    let again = world.delete(AUDITOR, &admin).await.is(200).body;
    assert_eq!((&again["had_ended"], &again["outcome"]), (&json!(true), &json!({"changed": false})));
    world.get(AUDITOR, &admin).await.refused(404, "not_found");
    // A name that is gone gives nothing, and the grants that bore it open nothing.
    world.enter_by("acme", &second, &world.agent("anna")).await.refused(403, "grant_gives_nothing");
    let body = json!({"environment": "production", "to": {"subject": {"issuer": "staff", "sub": "anna"}},
        "role": "order_auditor", "scope": "everything", "for": "1d"});
    world.put("POST", "/v1/tenants/acme/grants", body, &admin).await.refused(422, "role_unknown");
}

// PFC-03
#[tokio::test]
async fn a_tenant_adjusts_what_is_adjustable_and_nothing_else() {
    let world = world().await;
    let admin = world.admin("acme");
    let viewer = world.member("acme", "v", &["viewer"]);
    assert_eq!(rights_of(&world, &viewer).await, ["orders:read"]);
    let adjusted = set(&world, VIEWER, &["orders:read", "jobs:create"], &admin).await.is(200).body;
    assert_eq!(
        (&adjusted["role"]["origin"], &adjusted["outcome"]["events"][0]["own"]),
        (&json!("adjusted"), &json!(false))
    );
    assert_eq!(rights_of(&world, &viewer).await, ["jobs:create", "orders:read"]);
    // The same role of another tenant is as it was.
    let elsewhere = world.member("globex", "v", &["viewer"]);
    let seen = world.get("/v1/tenants/globex/rights?environment=production", &elsewhere).await.is(200);
    assert_eq!(names(&seen, "rights"), ["orders:read"]);
    // Nothing at all is a choice too.
    set(&world, VIEWER, &[], &admin).await.is(200);
    assert_eq!(rights_of(&world, &viewer).await, Vec::<String>::new());
    // Taken back, it is as configured; again and again.
    let back = world.delete(VIEWER, &admin).await.is(200).body;
    assert_eq!(
        (&back["role"]["origin"], &back["outcome"]["events"][0]["added"]),
        (&json!("configuration"), &json!(["orders:read"]))
    );
    assert_eq!(rights_of(&world, &viewer).await, ["orders:read"]);
    assert_eq!(world.delete(VIEWER, &admin).await.is(200).body["had_ended"], true);
    // As it is already: nothing happens.
    assert_eq!(
        set(&world, VIEWER, &["orders:read"], &admin).await.is(200).body["outcome"],
        json!({"changed": false})
    );

    for locked in ["admin", "order_clerk", "support_reader"] {
        let path = format!("/v1/tenants/acme/roles/{locked}");
        set(&world, &path, &["orders:read"], &admin).await.refused(403, "role_locked");
        world.delete(&path, &admin).await.refused(403, "role_locked");
    }
    world.delete(AUDITOR, &admin).await.refused(404, "not_found");
}

// PFC-17
#[tokio::test]
async fn nobody_but_those_who_may_says_what_roles_hold_and_nobody_gives_what_they_lack() {
    let permission = Some(PermissionName::new("settings:write").unwrap());
    let tenant_roles = TenantRoles { permission, most: 3, plans: None };
    let world = World::with(Wish { tenant_roles, ..wish() }).await;
    let admin = world.admin("acme");
    world.consent("acme", "full").await;
    let anna = world.agent("anna");
    world.started("acme", &anna).await;
    for who in [
        anna,
        world.member("acme", "c", &["order_clerk"]),
        world.member("acme", "a", &["auditor"]),
        world.admin("globex"),
        world.admin("acme-west"),
        world.crm(),
    ] {
        set(&world, AUDITOR, &["orders:read"], &who).await.refused(403, "not_allowed");
        world.delete(VIEWER, &who).await.refused(403, "not_allowed");
    }
    let acting = world.member_with("acme", "a", &["admin"], json!({"act": {"sub": "somebody"}}));
    set(&world, AUDITOR, &["orders:read"], &acting).await.refused(403, "acting");
    world.delete(VIEWER, &acting).await.refused(403, "acting");

    // Whoever holds that one permission, by a role of the tenant's own, gives no more than they have.
    set(&world, "/v1/tenants/acme/roles/role_keeper", &["settings:write", "orders:read"], &admin)
        .await
        .is(200);
    let keeper = world.member("acme", "k", &["role_keeper"]);
    set(&world, AUDITOR, &["orders:read"], &keeper).await.is(200);
    world.get("/v1/tenants/acme/roles", &keeper).await.is(200);
    for beyond in ["orders:write", "support:read", "support:manage", "users:manage"] {
        set(&world, AUDITOR, &["orders:read", beyond], &keeper).await.refused(422, "beyond_own_rights");
    }
    // What somebody else put in stays, and can be taken out by them.
    set(&world, AUDITOR, &["orders:read", "orders:write"], &admin).await.is(200);
    set(&world, AUDITOR, &["orders:write"], &keeper).await.is(200);
    set(&world, AUDITOR, &["orders:read", "orders:write"], &keeper).await.is(200);
    set(&world, AUDITOR, &["orders:read"], &keeper).await.is(200);
    set(&world, AUDITOR, &["orders:read", "orders:write"], &keeper).await.refused(422, "beyond_own_rights");
    // Not even by taking an adjustment back.
    set(&world, "/v1/tenants/acme/roles/auditor", &[], &admin).await.is(200);
    world.delete("/v1/tenants/acme/roles/auditor", &keeper).await.refused(422, "beyond_own_rights");
    world.delete("/v1/tenants/acme/roles/auditor", &admin).await.is(200);
    // And what the role no longer holds its holder can do no more.
    set(&world, "/v1/tenants/acme/roles/role_keeper", &["orders:read"], &admin).await.is(200);
    set(&world, AUDITOR, &[], &keeper).await.refused(403, "not_allowed");
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let world = world().await;
    let admin = world.admin("acme");
    for wrong in [
        json!({}),
        json!({"permissions": "orders:read"}),
        json!({"permissions": ["orders:*"]}),
        json!({"permissions": ["orders:read", "orders:read"]}),
        json!({"permissions": [7]}),
        json!({"permissions": [], "own": true}),
    ] {
        world.put("PUT", AUDITOR, wrong, &admin).await.refused(400, "body_malformed");
    }
    set(&world, AUDITOR, &["orders:shred"], &admin).await.refused(422, "permission_unknown");
    set(&world, "/v1/tenants/acme/roles/Auditor", &[], &admin).await.refused(400, "id_malformed");
    world.put("POST", AUDITOR, json!({"permissions": []}), &admin).await.refused(405, "method_not_allowed");
    for name in ["one", "two", "three"] {
        set(&world, &format!("/v1/tenants/acme/roles/{name}"), &["orders:read"], &admin).await.is(200);
    }
    set(&world, AUDITOR, &["orders:read"], &admin).await.refused(409, "too_many_roles");
    // Adjusting takes no room, and what is removed makes room.
    set(&world, VIEWER, &[], &admin).await.is(200);
    set(&world, "/v1/tenants/acme/roles/two", &[], &admin).await.is(200);
    world.delete("/v1/tenants/acme/roles/one", &admin).await.is(200);
    set(&world, AUDITOR, &["orders:read"], &admin).await.is(200);
    // Where the configuration says nothing of it there is nothing of it.
    let closed = World::new().await;
    let admin = closed.admin("acme");
    set(&closed, AUDITOR, &["orders:read"], &admin).await.refused(403, "own_roles_closed");
    set(&closed, VIEWER, &["orders:read"], &admin).await.refused(403, "role_locked");
}

// PFC-09
// PFC-10
#[tokio::test]
async fn without_a_plan_that_has_it_only_changes_are_refused() {
    let plans = ["business", "unlimited"].map(|plan| PlanName::new(plan).unwrap());
    let tenant_roles = TenantRoles { permission: None, most: 3, plans: Some(plans.into()) };
    let world = World::with(Wish { tenant_roles, ..wish() }).await;
    let plan = async |plan: Option<&str>| {
        let mut body = json!({"zone": "UTC", "environments": ["production"]});
        if let Some(plan) = plan {
            body["plan"] = json!(plan);
        }
        let answer = world.put("PUT", "/v1/tenants/zulu", body, &world.crm()).await;
        assert!([200, 201].contains(&answer.status), "{}", answer.body);
    };
    let (own, viewer) = ("/v1/tenants/zulu/roles/counter", "/v1/tenants/zulu/roles/viewer");
    plan(Some("free")).await;
    let admin = world.admin("zulu");
    set(&world, own, &["orders:read"], &admin).await.refused(403, "plan_lacks_roles");
    set(&world, viewer, &[], &admin).await.refused(403, "plan_lacks_roles");
    plan(Some("business")).await;
    set(&world, own, &["orders:read", "jobs:create"], &admin).await.is(200);
    set(&world, viewer, &[], &admin).await.is(200);
    let rights = async |role: &str| {
        let who = world.member("zulu", "m", &[role]);
        names(&world.get("/v1/tenants/zulu/rights?environment=production", &who).await.is(200), "rights")
    };
    for lapsed in [Some("free"), Some("gold"), None] {
        plan(lapsed).await;
        for path in [own, viewer] {
            set(&world, path, &["orders:read"], &admin).await.refused(403, "plan_lacks_roles");
            world.delete(path, &admin).await.refused(403, "plan_lacks_roles");
        }
        assert_eq!(rights("counter").await, ["jobs:create", "orders:read"]);
        assert_eq!(rights("viewer").await, Vec::<String>::new());
        assert_eq!(world.get(viewer, &admin).await.is(200).body["origin"], "adjusted");
    }
    plan(Some("unlimited")).await;
    set(&world, viewer, &["orders:read"], &admin).await.is(200);
}

#[tokio::test]
async fn of_two_at_once_the_second_is_told() {
    let world = world().await;
    let admin = world.admin("acme");
    let put = async |tag: &str, permissions: &[&str]| {
        let body = json!({"permissions": permissions}).to_string();
        let headers = [("content-type", "application/json"), ("if-match", tag)];
        world.call("PUT", AUDITOR, &headers, &body, &admin).await
    };
    let first = put("\"0.0\"", &["orders:read"]).await.is(200);
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    put("\"0.0\"", &["orders:read", "jobs:create"]).await.refused(412, "changed");
    // The tag of an adjustable role that nobody adjusted yet is one too.
    let untold = world.get(VIEWER, &admin).await.is(200);
    assert_eq!(untold.headers["etag"], "\"0.0\"");
    assert!(!world.get("/v1/tenants/acme/roles/admin", &admin).await.is(200).headers.contains_key("etag"));

    let (one, other) = tokio::join!(put(&tag, &["orders:read", "jobs:create"]), put(&tag, &["config:read"]));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    let gone = world.call("DELETE", AUDITOR, &[("if-match", &tag)], "", &admin).await;
    gone.refused(412, "changed");
    let tag = world.get(AUDITOR, &admin).await.is(200).headers["etag"].to_str().unwrap().to_owned();
    world.call("DELETE", AUDITOR, &[("if-match", &tag)], "", &admin).await.is(200);
}

// GW-14
#[tokio::test]
async fn nobody_uses_as_staff_what_they_put_into_a_role_as_a_person_of_the_tenant() {
    let world = world().await;
    let (admin, anna) = (world.admin("acme"), world.agent("anna"));
    set(&world, AUDITOR, &["orders:read"], &admin).await.is(200);
    let grant =
        world.granted("acme", json!({"subject": {"issuer": "staff", "sub": "anna"}}), "order_auditor").await;
    world.enter_by("acme", &grant, &anna).await.is(201);
    // The same human, by the same address.
    let herself = json!({"email": "anna@vendor.example", "email_verified": true});
    let herself = world.member_with("acme", "a.nna", &["admin"], herself);
    set(&world, AUDITOR, &[], &herself).await.is(200);
    let sessions = async || {
        world.get("/v1/tenants/acme/rights?environment=production", &anna).await.is(200).body["sessions"]
            .clone()
    };
    assert_eq!(sessions().await.as_array().unwrap().len(), 1);
    set(&world, AUDITOR, &["orders:read", "orders:write"], &herself).await.is(200);
    assert_eq!(sessions().await, json!([]));
    world.enter_by("acme", &grant, &anna).await.refused(403, "self_granted");
    // Somebody else of support may.
    let grant =
        world.granted("acme", json!({"subject": {"issuer": "staff", "sub": "ben"}}), "order_auditor").await;
    world.enter_by("acme", &grant, &world.agent("ben")).await.is(201);
}

/// Acting has what the person's roles hold, so whoever filled one of these acts as nobody who holds it.
// GW-14
#[tokio::test]
async fn nobody_acts_as_a_person_whose_role_they_themselves_filled() {
    let world = world().await;
    let (admin, anna, crm) = (world.admin("acme"), world.agent("anna"), world.crm());
    set(&world, "/v1/tenants/acme/roles/helper", &["orders:read"], &admin).await.is(200);
    let rita = "/v1/tenants/acme/members/rows.cml0YQ";
    world.put("PUT", rita, json!({"roles": ["helper", "order_clerk"]}), &crm).await.is(200);
    let herself = json!({"email": "anna@vendor.example", "email_verified": true});
    let herself = world.member_with("acme", "a.nna", &["admin"], herself);
    // Of the one a token says the roles, of the other a row.
    let lenders = [
        (world.member("acme", "vera", &["viewer", "order_clerk"]), "viewer", "config:read"),
        (world.rower("acme", "rita"), "helper", "jobs:create"),
    ];
    for (person, role, more) in lenders {
        let body = json!({"environment": "production", "for": "1d"});
        let path = "/v1/tenants/acme/login-access/help_desk";
        let lent = world.put("PUT", path, body, &person).await.is(201).body;
        let grant = lent["confirmation"].as_str().unwrap().to_owned();
        let enter = async |who: &Who| {
            let body =
                json!({"environment": "production", "basis": {"act_as": grant}, "reason": "as agreed"});
            world.put("POST", "/v1/tenants/acme/sessions", body, who).await
        };
        let good = async || {
            let seen = world.get("/v1/tenants/acme/rights?environment=production", &anna).await.is(200);
            seen.body["sessions"].as_array().unwrap().len()
        };
        let path = format!("/v1/tenants/acme/roles/{role}");
        enter(&anna).await.is(201);
        // Somebody else's change, and her own that only takes, leave her inside.
        set(&world, &path, &["orders:read", "orders:write"], &admin).await.is(200);
        set(&world, &path, &["orders:read"], &herself).await.is(200);
        assert_eq!(good().await, 1, "{role}");
        set(&world, &path, &["orders:read", more], &herself).await.is(200);
        assert_eq!(good().await, 0, "{role}");
        enter(&anna).await.refused(403, "self_granted");
        enter(&world.agent("ben")).await.is(201);
        // So it stays while the role is as she made it, whoever else writes it.
        set(&world, &path, &["orders:read", more, "orders:write"], &admin).await.is(200);
        enter(&anna).await.refused(403, "self_granted");
    }
}

#[tokio::test]
async fn rows_name_roles_of_the_tenants_own_and_a_grant_goes_as_far_as_its_giver() {
    let world = world().await;
    let (admin, crm) = (world.admin("acme"), world.crm());
    let rita = "/v1/tenants/acme/members/rows.cml0YQ";
    world.put("PUT", rita, json!({"roles": ["giver"]}), &crm).await.refused(422, "role_unknown");
    let giver = "/v1/tenants/acme/roles/giver";
    set(&world, giver, &["support:manage", "orders:read", "orders:write"], &admin).await.is(200);
    world.put("PUT", rita, json!({"roles": ["giver"]}), &crm).await.is(200);
    // What one tenant calls so is nothing in another.
    world
        .put("PUT", "/v1/tenants/globex/members/rows.cml0YQ", json!({"roles": ["giver"]}), &crm)
        .await
        .refused(422, "role_unknown");
    set(&world, AUDITOR, &["orders:read", "orders:write"], &admin).await.is(200);
    let body = json!({"environment": "production", "to": {"subject": {"issuer": "staff", "sub": "anna"}},
        "role": "order_auditor", "scope": "everything", "for": "1d"});
    let grant =
        world.put("POST", "/v1/tenants/acme/grants", body, &world.rower("acme", "rita")).await.is(201);
    let grant = grant.body["grant"]["id"].as_str().unwrap().to_owned();
    let anna = world.agent("anna");
    world.enter_by("acme", &grant, &anna).await.is(201);
    let rights = async || {
        let answer = world.get("/v1/tenants/acme/rights?environment=production", &anna).await.is(200);
        answer.body["sessions"][0]["rights"].clone()
    };
    assert_eq!(rights().await, json!(["orders:read", "orders:write"]));
    // The giver's role loses a right: so does whoever uses their grant.
    set(&world, giver, &["support:manage", "orders:read"], &admin).await.is(200);
    assert_eq!(rights().await, json!(["orders:read"]));
}

#[tokio::test]
async fn what_a_role_loses_while_the_store_takes_nothing_is_gone_at_once_and_stays_so() {
    let world = world().await;
    let (admin, viewer) = (world.admin("acme"), world.member("acme", "v", &["viewer", "order_auditor"]));
    set(&world, VIEWER, &["orders:read", "jobs:create"], &admin).await.is(200);
    set(&world, AUDITOR, &["config:read"], &admin).await.is(200);
    let tag = world.get(VIEWER, &admin).await.is(200).etag();
    world.store.no_commits.store(true, SeqCst);
    // What gives waits for the store, and changes nothing.
    set(&world, VIEWER, &["orders:read", "config:read"], &admin).await.refused(503, "state_unavailable");
    let body = json!({"permissions": ["orders:read"]}).to_string();
    let headers = [("content-type", "application/json"), ("if-match", tag.as_str())];
    let less = world.call("PUT", VIEWER, &headers, &body, &admin).await.is(202);
    assert_eq!(less.body["outcome"]["waiting"], json!(["store"]));
    world.delete(AUDITOR, &admin).await.is(202);
    assert_eq!(rights_of(&world, &viewer).await, ["orders:read"]);
    world.store.no_commits.store(false, SeqCst);
    assert_eq!(world.engine.mend_once().await, 0);
    let world = world.restarted().await;
    let viewer = world.member("acme", "v", &["viewer", "order_auditor"]);
    assert_eq!(rights_of(&world, &viewer).await, ["orders:read"]);
    world.get(AUDITOR, &world.admin("acme")).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_tenant_that_comes_back_has_none_of_its_roles_and_all_of_its_narrowings() {
    let world = world().await;
    let (crm, body) = (world.crm(), json!({"zone": "UTC", "environments": ["production"]}));
    let push = async || {
        let answer = world.put("PUT", "/v1/tenants/zulu", body.clone(), &crm).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
    };
    push().await;
    let admin = world.admin("zulu");
    let (own, viewer, auditor) =
        ("/v1/tenants/zulu/roles/counter", "/v1/tenants/zulu/roles/viewer", "/v1/tenants/zulu/roles/auditor");
    set(&world, own, &["orders:read"], &admin).await.is(200);
    set(&world, viewer, &[], &admin).await.is(200);
    set(&world, auditor, &["orders:read", "jobs:create"], &admin).await.is(200);
    world.delete("/v1/tenants/zulu", &crm).await.is(200);
    set(&world, own, &["orders:read", "config:read"], &admin).await.refused(409, "tenant_removed");
    push().await;
    let rights = async |role: &str| {
        let who = world.member("zulu", "m", &[role]);
        names(&world.get("/v1/tenants/zulu/rights?environment=production", &who).await.is(200), "rights")
    };
    assert_eq!(rights("counter").await, Vec::<String>::new());
    assert_eq!(rights("viewer").await, Vec::<String>::new());
    assert_eq!(rights("auditor").await, ["orders:read"]);
    world.get(own, &admin).await.refused(404, "not_found");
    // It is defined anew, or taken back, as if it were new.
    set(&world, own, &["config:read"], &admin).await.is(200);
    assert_eq!(rights("counter").await, ["config:read"]);
    world.delete(auditor, &admin).await.is(200);
    assert_eq!(rights("auditor").await, ["orders:read", "support:read"]);
}

#[tokio::test]
async fn the_record_tells_what_was_added_and_taken_and_the_ledger_holds_the_role_whole() {
    let world = world().await;
    let admin = world.admin("acme");
    set(&world, VIEWER, &["orders:read", "jobs:create"], &admin).await.is(200);
    set(&world, VIEWER, &["jobs:create"], &admin).await.is(200);
    world.delete(VIEWER, &admin).await.is(200);
    let events: Vec<Value> = world
        .records()
        .iter()
        .filter(|record| record["kind"] == "change.outcome")
        .flat_map(|record| record["events"].as_array().cloned().unwrap_or_default())
        .filter(|event| event["role"] == "viewer")
        .map(|event| json!([event["event"], event["added"], event["taken"]]))
        .collect();
    assert_eq!(
        events,
        [
            json!(["role_set", ["jobs:create"], []]),
            json!(["role_set", [], ["orders:read"]]),
            json!(["role_removed", ["orders:read"], ["jobs:create"]]),
        ]
    );
    let refused = set(&world, "/v1/tenants/acme/roles/admin", &[], &admin).await;
    refused.refused(403, "role_locked");
    world.record(|record| record["reason"] == "role_locked" && record["command"] == "set_role").await;
    // A store that is rebuilt from the ledger has it.
    let told = world.told();
    let key = postern::model::Key::Role("acme".parse().unwrap(), "viewer".parse().unwrap());
    assert!(told.contains_key(&key), "{:?}", told.keys());
}
