//! Who may be a member of what lies below a tenant: by their roles there.

use std::collections::BTreeSet;

use postern::{
    lifecycle::Actor,
    model::{Key, Subject},
    policy::{Pattern, PermissionSet, Policy, Role, RoleAt, TypeRule},
};

use crate::{
    resources::{ask, at_path, join, may, named, policy, push, row, world},
    world::*,
};

fn set(policy: &Policy, names: &[&str]) -> PermissionSet {
    names.iter().fold(PermissionSet::default(), |mut all, name| {
        all.add(&policy.catalogue.covered(&Pattern::parse(name).unwrap()));
        all
    })
}

/// Boards with cards and forms on them. Guests join nothing but forms.
fn with_forms() -> Policy {
    let mut policy = policy();
    let form: postern::model::ResourceType = "form".parse().unwrap();
    let at = RoleAt {
        at: form.clone(),
        permissions: set(&policy, &["orders:write", "users:read"]),
        own: PermissionSet::default(),
        assigned: PermissionSet::default(),
        of: BTreeSet::new(),
        keep_one: false,
        plans: None,
    };
    policy.resources.roles.insert(role("form_user"), at);
    let rule = TypeRule { parent: Some("board".parse().unwrap()), ..TypeRule::default() };
    policy.resources.types.insert(form.clone(), rule);
    policy.resources.joins.insert(role("guest"), [form].into());
    let nothing = Role { permissions: PermissionSet::default(), adjustable: false, seat: false, plans: None };
    policy.roles.insert(role("guest"), nothing);
    policy
}

// PFC-06
// PFC-15
#[test]
fn a_guest_uses_the_forms_shared_with_them_and_has_nothing_of_the_board_behind() {
    let policy = with_forms();
    let mut world = world(&policy);
    let (crm, gil) = (program("crm"), rower("acme", "gil"));
    for command in [
        push("form", "f1", Some("b1")),
        push("form", "f2", Some("b1")),
        row(&gil.id, &["guest"]),
        join("form", "f1", &gil.id, "form_user"),
    ] {
        world.run(&command, Actor::Subject(&crm), 1_002, &policy).unwrap();
    }
    // Of a board they are no member, by whoever adds them.
    for kind in ["hand", "lead"] {
        let told = world.dry(&join("board", "b1", &gil.id, kind), Actor::Subject(&crm), 1_003, &policy);
        assert_eq!(told.unwrap_err().code(), "kept_apart");
    }
    let (form, other) = (at_path("form", "f1", &[("board", "b1")], false), at_path("form", "f2", &[], false));
    let (board, card) = (at_path("board", "b1", &[], false), at_path("card", "c1", &[("board", "b1")], true));
    assert!(may(&world, &gil, "orders:write", &form, &policy));
    for permission in ["orders:read", "orders:write", "users:read", "jobs:run"] {
        for path in [&other, &board, &card] {
            assert!(!may(&world, &gil, permission, path, &policy), "{permission} {path:?}");
        }
    }
    // Nor is a row at the board counted that was written before they were one: by a token that says so at this instant.
    let tina = |roles: &[&str]| member("acme", "tina", roles);
    for command in
        [join("board", "b1", &tina(&[]).id, "hand"), join("form", "f1", &tina(&[]).id, "form_user")]
    {
        world.run(&command, Actor::Subject(&crm), 1_003, &policy).unwrap();
    }
    let told = |who: &Subject| {
        [("orders:read", &card), ("orders:write", &form)]
            .map(|(what, path)| may(&world, who, what, path, &policy))
    };
    assert_eq!((told(&tina(&[])), told(&tina(&["guest"]))), ([true; 2], [false, true]));
    assert!(!told(&tina(&["guest", "warden"]))[1], "each of their roles counts");
    // Where no row could count, none is looked for.
    let (code, asked) = ask(&world, &tina(&["guest"]), "orders:read", &board, &policy);
    assert_eq!((code, asked), ("permission_missing", vec![]));
    let (_, asked) = ask(&world, &tina(&["guest"]), "orders:read", &form, &policy);
    let at_board = Key::Joined(tid("acme"), named("board", "b1"), tina(&[]).id);
    assert!(!asked.contains(&at_board));
}

// PFC-14
#[test]
fn whoever_may_join_less_than_before_leaves_all_at_once_and_who_may_join_more_leaves_nothing() {
    let policy = with_forms();
    let mut world = world(&policy);
    let (crm, gil) = (program("crm"), rower("acme", "gil"));
    let form = at_path("form", "f1", &[], false);
    let card = at_path("card", "c1", &[("board", "b1")], false);
    let told = |world: &World| {
        [("orders:read", &card), ("orders:write", &form)]
            .map(|(what, path)| may(world, &gil, what, path, &policy))
    };
    let mut run = |command, now| {
        world.run(&command, Actor::Subject(&crm), now, &policy).unwrap();
        told(&world)
    };
    run(push("form", "f1", Some("b1")), 1_002);
    run(row(&gil.id, &[]), 1_002);
    run(join("board", "b1", &gil.id, "hand"), 1_003);
    assert_eq!(run(join("form", "f1", &gil.id, "form_user"), 1_003), [true, true]);
    assert_eq!(run(row(&gil.id, &["guest"]), 1_004), [false, false]);
    assert_eq!(run(join("form", "f1", &gil.id, "form_user"), 1_005), [false, true]);
    // Said again, with another role beside it that joins as much, and as one who joins everything.
    assert_eq!(run(row(&gil.id, &["guest", "reader"]), 1_006)[1], true);
    assert_eq!(run(row(&gil.id, &[]), 1_007), [false, true]);
    assert_eq!(run(row(&gil.id, &["guest", "warden"]), 1_008)[1], false);
    assert_eq!(run(row(&gil.id, &["guest"]), 1_009), [false, false]);
    // What lets them join more is no narrowing, though they hold a role less.
    let change = world.dry(&row(&gil.id, &[]), Actor::Subject(&crm), 1_010, &policy).unwrap();
    assert!(!change.narrows);
}
