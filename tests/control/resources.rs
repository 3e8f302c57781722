//! Resources below a tenant and their members: who may, what is refused, and what is told.

use std::sync::atomic::Ordering::SeqCst;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use postern::{
    engine::knock::Who,
    policy::{Catalogue, Pattern, PermissionSet, ResourceRules, RoleAt, TypeRule},
};
use serde_json::{Value, json};

use super::support::{Answer, Wish, World};

pub(super) const BOARD: &str = "/v1/tenants/acme/resources/board/b1";

/// Boards with members, cards on them. Whoever holds `users:manage` at a board manages its members, whoever holds `users:read` sees
/// them.
pub(super) fn rules(catalogue: &Catalogue) -> ResourceRules {
    let set = |patterns: &[&str]| {
        patterns.iter().fold(PermissionSet::default(), |mut all, pattern| {
            all.add(&catalogue.covered(&Pattern::parse(pattern).unwrap()));
            all
        })
    };
    let at = |patterns: &[&str], keep_one| RoleAt {
        at: "board".parse().unwrap(),
        permissions: set(patterns),
        own: PermissionSet::default(),
        assigned: PermissionSet::default(),
        of: Default::default(),
        keep_one,
        plans: None,
    };
    let joins = |by: &str, role: &str| [(by.parse().unwrap(), role.parse().unwrap())].into();
    let (manage, list) = (catalogue.id("users:manage"), catalogue.id("users:read"));
    ResourceRules {
        types: [
            (
                "board".parse().unwrap(),
                TypeRule {
                    parent: None,
                    manage,
                    list,
                    join: joins("viewer", "hand"),
                    enter: joins("order_clerk", "lead"),
                    ..TypeRule::default()
                },
            ),
            (
                "card".parse().unwrap(),
                TypeRule {
                    parent: Some("board".parse().unwrap()),
                    manage: None,
                    list: None,
                    ..TypeRule::default()
                },
            ),
        ]
        .into(),
        roles: [
            ("lead".parse().unwrap(), at(&["orders:*", "users:*"], true)),
            ("hand".parse().unwrap(), at(&["orders:read", "users:read"], false)),
            ("sender".parse().unwrap(), at(&["orders:read"], false)),
        ]
        .into(),
        joins: [("auditor".parse().unwrap(), Default::default())].into(),
    }
}

pub(super) async fn world() -> World {
    let world = World::with(Wish { resources: rules, ..Wish::default() }).await;
    push(&world, BOARD, json!({})).await.is(200);
    world
}

pub(super) async fn push(world: &World, path: &str, body: Value) -> Answer {
    world.put("PUT", path, body, &world.crm()).await
}

pub(super) fn of(issuer: &str, sub: &str) -> String {
    format!("{BOARD}/members/{issuer}.{}", URL_SAFE_NO_PAD.encode(sub))
}

pub(super) async fn join(world: &World, sub: &str, role: &str, who: &Who) -> Answer {
    world.put("PUT", &of("members", sub), json!({"role": role}), who).await
}

#[tokio::test]
async fn a_service_says_what_a_resource_is_and_who_is_in_it() {
    let world = world().await;
    let crm = world.crm();
    let anna = json!({"issuer": "members", "sub": "anna"});
    let said = json!({"parent": "b1", "creator": anna, "assignees": [anna], "visibility": "public"});
    let card = "/v1/tenants/acme/resources/card/c1";
    let answer = push(&world, card, said.clone()).await.is(200);
    let seen = world.get(card, &crm).await.is(200);
    assert_eq!(seen.etag(), answer.etag());
    assert_eq!(
        seen.body,
        json!({"type": "card", "id": "c1", "parent": {"type": "board", "id": "b1"}, "creator": anna,
            "assignees": [anna], "visibility": "public", "members": {"all": 0, "roles": []}})
    );
    assert_eq!(answer.body["outcome"]["events"][0]["event"], "resource_pushed");
    // The same again changes nothing; what is left out is not known, and what nobody said is private.
    assert_eq!(push(&world, card, said).await.is(200).body["outcome"], json!({"changed": false}));
    let less = push(&world, card, json!({})).await.is(200).body;
    assert_eq!(
        less["resource"],
        json!({"type": "card", "id": "c1", "assignees": [], "visibility": "private", "members": {"all": 0, "roles": []}})
    );
    for (sub, role) in [("anna", "lead"), ("ben", "hand"), ("cleo", "hand")] {
        let joined = join(&world, sub, role, &crm).await.is(200).body;
        assert_eq!(
            (&joined["member"]["role"], &joined["outcome"]["events"][0]["event"]),
            (&json!(role), &json!("resource_joined"))
        );
    }
    let board = world.get(BOARD, &crm).await.is(200).body;
    assert_eq!(
        board["members"],
        json!({"all": 3, "roles": [{"role": "hand", "members": 2}, {"role": "lead", "members": 1}]})
    );
    // Gone and back again it has nobody.
    assert_eq!(world.delete(BOARD, &crm).await.is(200).body["had_ended"], false);
    assert_eq!(world.delete(BOARD, &crm).await.is(200).body["had_ended"], true);
    world.get(&format!("{BOARD}/members"), &crm).await.refused(404, "not_found");
    push(&world, BOARD, json!({})).await.is(200);
    assert_eq!(world.get(BOARD, &crm).await.is(200).body["members"]["all"], 0);
    assert_eq!(world.get(&of("members", "anna"), &crm).await.is(200).body["former"], true);
    assert_eq!(world.get(&format!("{BOARD}/members"), &crm).await.is(200).body["items"], json!([]));
}

// PFC-12
// PFP-09
#[tokio::test]
async fn whoever_manages_the_members_of_a_resource_does_so_there_and_nowhere_else() {
    let world = world().await;
    let crm = world.crm();
    push(&world, "/v1/tenants/acme/resources/board/b2", json!({})).await.is(200);
    for (sub, role) in [("anna", "lead"), ("ben", "hand"), ("sid", "sender")] {
        join(&world, sub, role, &crm).await.is(200);
    }
    let [anna, ben, sid] = ["anna", "ben", "sid"].map(|sub| world.member("acme", sub, &[]));
    join(&world, "dora", "hand", &anna).await.is(200);
    join(&world, "dora", "lead", &anna).await.is(200);
    let list = |answer: Answer| -> Vec<(String, String)> {
        let items = answer.body["items"].as_array().unwrap().clone();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        items.iter().map(|item| (text(&item["person"]["sub"]), text(&item["role"]))).collect()
    };
    let members = format!("{BOARD}/members");
    let all = list(world.get(&members, &ben).await.is(200));
    let expected = [("anna", "lead"), ("ben", "hand"), ("dora", "lead"), ("sid", "sender")];
    assert_eq!(all, expected.map(|(sub, role)| (sub.to_owned(), role.to_owned())));
    // Seeing is not managing, being in it is not seeing, and neither is administering support.
    join(&world, "eve", "hand", &ben).await.refused(403, "not_allowed");
    let stranger = world.member("acme", "eve", &["nobody"]);
    let elsewhere = world.member("globex", "anna", &["admin"]);
    for who in [&sid, &stranger, &elsewhere, &world.agent("anna"), &world.service_with("narrow", json!({}))] {
        let told = [
            world.get(&members, who).await.refused(403, "not_allowed").body,
            world
                .get("/v1/tenants/acme/resources/board/b9/members", who)
                .await
                .refused(403, "not_allowed")
                .body,
        ];
        assert_eq!(told[0], told[1], "whether it is there or not is one answer");
        join(&world, "eve", "hand", who).await.refused(403, "not_allowed");
    }
    // At another board a lead is nobody.
    world.get("/v1/tenants/acme/resources/board/b2/members", &anna).await.refused(403, "not_allowed");
    // What a resource is, only services say.
    world.put("PUT", BOARD, json!({"visibility": "public"}), &anna).await.refused(403, "not_allowed");
    world.delete(BOARD, &anna).await.refused(403, "not_allowed");
    // Everybody may leave.
    assert_eq!(
        world.delete(&of("members", "sid"), &sid).await.is(200).body["outcome"]["events"][0]["event"],
        "resource_left"
    );
    assert_eq!(world.delete(&of("members", "sid"), &sid).await.is(200).body["had_ended"], true);
    world.delete(&of("members", "dora"), &ben).await.refused(403, "not_allowed");
}

#[tokio::test]
async fn the_last_lead_stays_and_two_that_saw_the_same_do_not_overwrite_each_other() {
    let world = world().await;
    let crm = world.crm();
    let first = join(&world, "anna", "lead", &crm).await.is(200).etag();
    let anna = world.member("acme", "anna", &[]);
    world.delete(&of("members", "anna"), &anna).await.refused(409, "last_of_role");
    join(&world, "anna", "hand", &anna).await.refused(409, "last_of_role");
    let body = json!({"role": "hand"}).to_string();
    let headers = |tag| [("content-type", "application/json"), ("if-match", tag)];
    world.call("PUT", &of("members", "anna"), &headers("\"0.0\""), &body, &crm).await.refused(412, "changed");
    world.call("PUT", &of("members", "anna"), &headers(&first), &body, &crm).await.is(200);
    world
        .call("DELETE", &of("members", "anna"), &[("if-match", &first)], "", &crm)
        .await
        .refused(412, "changed");
}

// PFC-06
// PFC-14
#[tokio::test]
async fn whoever_comes_to_hold_a_role_that_keeps_apart_leaves_at_once() {
    let world = world().await;
    let crm = world.crm();
    let member = |sub: &str| format!("/v1/tenants/acme/members/rows.{}", URL_SAFE_NO_PAD.encode(sub));
    let path = of("rows", "rita");
    let put = async |role: &str| world.put("PUT", &path, json!({"role": role}), &crm).await;
    put("hand").await.refused(422, "not_member");
    world.put("PUT", &member("rita"), json!({"roles": ["viewer"]}), &crm).await.is(200);
    put("hand").await.is(200);
    let rita = world.rower("acme", "rita");
    let members = format!("{BOARD}/members");
    assert_eq!(world.get(&members, &rita).await.is(200).body["items"].as_array().unwrap().len(), 1);
    world.put("PUT", &member("rita"), json!({"roles": ["auditor"]}), &crm).await.is(200);
    world.get(&members, &rita).await.refused(403, "not_allowed");
    assert_eq!(world.get(&members, &crm).await.is(200).body["items"], json!([]));
    put("hand").await.refused(422, "kept_apart");
    // Back in another role they are where nobody added them: nowhere.
    world.put("PUT", &member("rita"), json!({"roles": ["viewer"]}), &crm).await.is(200);
    world.get(&members, &rita).await.refused(403, "not_allowed");
    put("lead").await.is(200);
    world.get(&members, &rita).await.is(200);
    // Neither counted twice nor forgotten.
    assert_eq!(
        world.get(BOARD, &crm).await.is(200).body["members"],
        json!({"all": 1, "roles": [{"role": "lead", "members": 1}]})
    );
    // The same for who is removed and comes back.
    world.delete(&member("rita"), &crm).await.is(200);
    world.put("PUT", &member("rita"), json!({"roles": ["viewer"]}), &crm).await.is(200);
    world.get(&members, &rita).await.refused(403, "not_allowed");
}

#[tokio::test]
async fn members_are_listed_page_by_page_and_of_their_resource_alone() {
    let world = world().await;
    let crm = world.crm();
    push(&world, "/v1/tenants/acme/resources/board/b11", json!({})).await.is(200);
    push(&world, "/v1/tenants/acme/resources/board/b0", json!({})).await.is(200);
    for number in 0..7 {
        join(&world, &format!("m{number}"), "hand", &crm).await.is(200);
        for other in ["b0", "b11"] {
            let path = of("members", &format!("x{number}")).replace("/b1/", &format!("/{other}/"));
            world.put("PUT", &path, json!({"role": "hand"}), &crm).await.is(200);
        }
    }
    let mut seen = Vec::new();
    let mut next = String::new();
    for _ in 0..5 {
        let page = world.get(&format!("{BOARD}/members?limit=2{next}"), &crm).await.is(200).body;
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["person"]["sub"].clone()));
        match page["next"].as_str() {
            Some(cursor) => next = format!("&after={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, (0..7).map(|number| json!(format!("m{number}"))).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_cannot_be_is_told_by_its_code() {
    let world = world().await;
    let crm = world.crm();
    push(&world, "/v1/tenants/acme/resources/shelf/s1", json!({}))
        .await
        .refused(422, "resource_type_unknown");
    push(&world, BOARD, json!({"parent": "b2"})).await.refused(422, "parent_unfit");
    push(&world, "/v1/tenants/nowhere/resources/board/b1", json!({})).await.refused(404, "not_found");
    for wrong in [
        json!({"parent": "a b"}),
        json!({"visibility": "secret"}),
        json!({"creator": "anna"}),
        json!({"assignees": [{"issuer": "members", "sub": "a"}, {"issuer": "members", "sub": "a"}]}),
        json!({"members": []}),
    ] {
        push(&world, BOARD, wrong).await.refused(400, "body_malformed");
    }
    join(&world, "anna", "viewer", &crm).await.refused(422, "role_not_here");
    world
        .put("PUT", &of("nowhere", "anna"), json!({"role": "hand"}), &crm)
        .await
        .refused(422, "issuer_unknown");
    world.delete(&of("members", "nobody"), &crm).await.refused(404, "not_found");
    for bad in ["board/a%20b", "Board/b1", "board/b1/members/anna"] {
        world.get(&format!("/v1/tenants/acme/resources/{bad}"), &crm).await.refused(400, "id_malformed");
    }
    world.get(&format!("{BOARD}/grants"), &crm).await.refused(404, "path_unknown");
    // Nobody hands on what they cannot do there.
    join(&world, "ben", "lead", &crm).await.is(200);
    let manager = world.member("acme", "max", &["order_clerk"]);
    join(&world, "eve", "lead", &manager).await.refused(403, "not_allowed");
}

// PFP-02
// PFP-12
// PFP-13
#[tokio::test]
async fn a_public_board_is_joined_by_whoever_may_and_a_private_one_by_fewer() {
    let world = world().await;
    let crm = world.crm();
    let [vera, clark, eve] = [("vera", "viewer"), ("clark", "order_clerk"), ("eve", "nobody")]
        .map(|(sub, role)| world.member("acme", sub, &[role]));
    // To whom it is closed it does not show itself.
    world.get(BOARD, &vera).await.refused(403, "not_allowed");
    join(&world, "vera", "hand", &vera).await.refused(403, "not_allowed");
    world.get(BOARD, &clark).await.is(200);
    push(&world, BOARD, json!({"visibility": "public"})).await.is(200);
    world.get(BOARD, &vera).await.is(200);
    for other in [BOARD, "/v1/tenants/acme/resources/board/b9"] {
        world.get(other, &eve).await.refused(403, "not_allowed");
    }
    join(&world, "eve", "hand", &eve).await.refused(403, "not_allowed");
    // Each in the role that theirs in the tenant has there, and nobody for somebody else.
    join(&world, "vera", "lead", &vera).await.refused(403, "not_allowed");
    join(&world, "clark", "hand", &vera).await.refused(403, "not_allowed");
    join(&world, "vera", "hand", &vera).await.is(200);
    join(&world, "clark", "lead", &clark).await.is(200);
    // Who was given another role does not take the old one back; turning private takes nobody out.
    join(&world, "clark", "sender", &crm).await.is(200);
    join(&world, "clark", "lead", &clark).await.refused(403, "not_allowed");
    push(&world, BOARD, json!({"visibility": "private"})).await.is(200);
    world.get(&of("members", "vera"), &vera).await.is(200);
    world.delete(&of("members", "vera"), &vera).await.is(200);
    join(&world, "vera", "hand", &vera).await.refused(403, "not_allowed");
}

#[tokio::test]
async fn what_a_resource_loses_while_the_store_takes_nothing_is_gone_at_once_and_stays_so() {
    let world = world().await;
    let crm = world.crm();
    let tag = push(&world, BOARD, json!({"visibility": "public"})).await.is(200).etag();
    world.store.no_commits.store(true, SeqCst);
    let anna = json!({"issuer": "members", "sub": "anna"});
    // What gives waits for the store, and changes nothing.
    push(&world, BOARD, json!({"visibility": "public", "creator": anna}))
        .await
        .refused(503, "state_unavailable");
    let body = json!({"visibility": "private"}).to_string();
    let headers = [("content-type", "application/json"), ("if-match", tag.as_str())];
    let less = world.call("PUT", BOARD, &headers, &body, &crm).await.is(202);
    assert_eq!(less.body["outcome"]["waiting"], json!(["store"]));
    assert_eq!(world.get(BOARD, &crm).await.is(200).body["visibility"], "private");
    world.store.no_commits.store(false, SeqCst);
    assert_eq!(world.engine.mend_once().await, 0);
    let world = world.restarted().await;
    assert_eq!(world.get(BOARD, &world.crm()).await.is(200).body["visibility"], "private");
}
