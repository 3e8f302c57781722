//! Who may be a member of what lies below a tenant: by their roles there, and by invitation.

use std::collections::BTreeSet;

use postern::{
    lifecycle::{Actor, Change, Command, Created, Deed, Until},
    model::{Document, Joined, Key, Span, Subject},
    policy::{Pattern, PermissionSet, Policy, Role, RoleAt, TypeRule},
};

use crate::{
    resources::{ask, at_path, invite, join, leave, may, named, of, policy, push, row, world},
    world::*,
};

fn set(policy: &Policy, names: &[&str]) -> PermissionSet {
    names.iter().fold(PermissionSet::default(), |mut all, name| {
        all.add(&policy.catalogue.covered(&Pattern::parse(name).unwrap()));
        all
    })
}

/// Boards with cards and forms on them. Guests join nothing but forms.
pub(crate) fn with_forms() -> Policy {
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
    assert!(run(row(&gil.id, &["guest", "reader"]), 1_006)[1]);
    assert_eq!(run(row(&gil.id, &[]), 1_007), [false, true]);
    assert!(!run(row(&gil.id, &["guest", "warden"]), 1_008)[1]);
    assert_eq!(run(row(&gil.id, &["guest"]), 1_009), [false, false]);
    // What lets them join more is no narrowing, though they hold a role less.
    let change = world.dry(&row(&gil.id, &[]), Actor::Subject(&crm), 1_010, &policy).unwrap();
    assert!(!change.narrows);
}

/// The row of somebody at the board.
fn row_of(world: &World, who: &Subject, policy: &Policy) -> Joined {
    match world.document(&Key::Joined(tid("acme"), named("board", "b1"), who.id.clone()), policy) {
        Some(Document::Joined(row)) => row,
        other => panic!("{other:?}"),
    }
}

fn invite_until(who: &Subject, name: &str, until: Until) -> Command {
    let (member, role) = (who.id.clone(), role(name));
    of(&named("board", "b1"), Deed::Invite { member, role, until: Some(until) })
}

fn members(world: &World, policy: &Policy) -> u64 {
    match world.document(&Key::Tally(tid("acme"), named("board", "b1")), policy) {
        Some(Document::Tally(tally)) => tally.members(),
        _ => 0,
    }
}

// PFP-02
// PFP-13
#[test]
fn an_invitation_gives_nothing_until_whoever_is_invited_joins_in_its_role() {
    let policy = policy();
    let mut world = world(&policy);
    let (crm, lena) = (program("crm"), member("acme", "lena", &[]));
    let (ivo, eve) = (member("acme", "ivo", &[]), member("acme", "eve", &[]));
    world.run(&join("board", "b1", &lena.id, "lead"), Actor::Subject(&crm), 1_002, &policy).unwrap();
    let board = at_path("board", "b1", &[], false);
    // Only whoever manages the members invites, nobody themselves.
    for who in [&ivo, &eve] {
        let told = world.dry(&invite("board", "b1", &ivo.id, "hand"), Actor::Subject(who), 1_003, &policy);
        assert_eq!(told.unwrap_err().code(), "not_allowed");
    }
    let told =
        world.run(&invite("board", "b1", &ivo.id, "hand"), Actor::Subject(&lena), 1_003, &policy).unwrap();
    assert_eq!(told.events[0].name(), "resource_invited");
    assert_eq!(
        world.dry(&invite("board", "b1", &ivo.id, "hand"), Actor::Subject(&lena), 1_004, &policy),
        Ok(Change::NOTHING)
    );
    assert!(!may(&world, &ivo, "orders:read", &board, &policy));
    assert_eq!(members(&world, &policy), 1, "nobody is counted who was invited");
    let mut by = |command: &Command, who: &Subject, now| {
        let told = world.run(command, Actor::Subject(who), now, &policy);
        told.map(|change| change.events.first().map(|event| event.name())).map_err(|refusal| refusal.code())
    };
    // In another role they do not join, and nobody joins for them, or by their invitation.
    assert_eq!(by(&join("board", "b1", &ivo.id, "narrow"), &ivo, 1_005), Err("not_allowed"));
    assert_eq!(by(&join("board", "b1", &ivo.id, "hand"), &eve, 1_005), Err("not_allowed"));
    assert_eq!(by(&join("board", "b1", &eve.id, "hand"), &eve, 1_005), Err("not_allowed"));
    assert_eq!(by(&join("board", "b1", &ivo.id, "hand"), &ivo, 1_006), Ok(Some("resource_joined")));
    // A member is not invited; nor does the invitation count twice.
    assert_eq!(by(&invite("board", "b1", &ivo.id, "narrow"), &lena, 1_007), Err("member_already"));
    assert_eq!(by(&leave("board", "b1", &ivo.id), &ivo, 1_008), Ok(Some("resource_left")));
    assert_eq!(by(&join("board", "b1", &ivo.id, "hand"), &ivo, 1_009), Err("not_allowed"));
    // Taken back, declined, and made a member without being asked.
    for who in [&lena, &ivo] {
        assert_eq!(by(&invite("board", "b1", &ivo.id, "hand"), &lena, 1_010), Ok(Some("resource_invited")));
        assert_eq!(by(&leave("board", "b1", &ivo.id), who, 1_011), Ok(Some("resource_uninvited")));
        assert_eq!(by(&leave("board", "b1", &ivo.id), who, 1_011), Ok(None));
        assert_eq!(by(&join("board", "b1", &ivo.id, "hand"), &ivo, 1_012), Err("not_allowed"));
    }
    assert_eq!(by(&invite("board", "b1", &ivo.id, "narrow"), &lena, 1_013), Ok(Some("resource_invited")));
    assert_eq!(by(&join("board", "b1", &ivo.id, "hand"), &crm, 1_014), Ok(Some("resource_joined")));
    assert_eq!(by(&join("board", "b1", &ivo.id, "narrow"), &ivo, 1_015), Err("not_allowed"));
    assert!(may(&world, &ivo, "orders:read", &board, &policy));
    assert_eq!(members(&world, &policy), 2);
}

#[test]
fn an_invitation_ends_when_it_says_or_when_the_configuration_does() {
    let mut policy = policy();
    policy.resources.types.get_mut("board").unwrap().invited_for = Some(Span::Millis(60_000));
    let mut world = world(&policy);
    let (crm, ivo) = (program("crm"), member("acme", "ivo", &[]));
    let by = |world: &mut World, command: &Command, who: &Subject, now| {
        world.run(command, Actor::Subject(who), now, &policy).map(|_| ()).map_err(|refusal| refusal.code())
    };
    let (hand, plain) = (join("board", "b1", &ivo.id, "hand"), invite("board", "b1", &ivo.id, "hand"));
    let until = |ms| invite_until(&ivo, "hand", Until::At(at(ms)));
    for (command, code) in [(until(2_000), "not_in_future"), (until(62_001), "too_far")] {
        assert_eq!(by(&mut world, &command, &crm, 2_000), Err(code));
    }
    assert_eq!(by(&mut world, &plain, &crm, 2_000), Ok(()));
    let stands_until = |world: &World| row_of(world, &ivo, &policy).invited.unwrap().until;
    assert_eq!(stands_until(&world), at(62_000));
    // Said again without an end it is as it was; with one it is moved.
    assert_eq!(by(&mut world, &plain, &crm, 3_000), Ok(()));
    assert_eq!(stands_until(&world), at(62_000));
    assert_eq!(by(&mut world, &until(5_000), &crm, 3_000), Ok(()));
    assert_eq!(by(&mut world, &hand, &ivo, 5_000), Err("not_allowed"));
    assert_eq!(by(&mut world, &plain, &crm, 5_001), Ok(()), "one that is over is given anew");
    assert_eq!(by(&mut world, &hand, &ivo, 65_000), Ok(()));
    assert!(may(&world, &ivo, "orders:read", &at_path("board", "b1", &[], false), &policy));
}

#[test]
fn what_bounds_a_row_bounds_an_invitation_when_it_is_given_and_when_it_is_taken_up() {
    let mut policy = with_forms();
    policy.resources.roles.get_mut(&role("narrow")).unwrap().plans = Some(["gold".parse().unwrap()].into());
    let mut world = world(&policy);
    let crm = program("crm");
    let [ivo, nora, gil] = ["ivo", "nora", "gil"].map(|sub| rower("acme", sub));
    let by = |world: &mut World, command: &Command, who: &Subject| {
        world.run(command, Actor::Subject(who), 2_000, &policy).map(|_| ()).map_err(|refusal| refusal.code())
    };
    let plan = |plan: &str| Command::PushTenant {
        tenant: tid("acme"),
        parent: None,
        zone: postern::model::Zone::UTC,
        environments: vec![eid("production")],
        plan: Some(plan.parse().unwrap()),
        seat_limit: None,
        expected: None,
    };
    for command in [row(&ivo.id, &[]), row(&gil.id, &["guest"]), plan("gold")] {
        assert_eq!(by(&mut world, &command, &crm), Ok(()));
    }
    for (command, code) in [
        (invite("board", "b1", &nora.id, "hand"), "not_member"),
        (invite("board", "b1", &gil.id, "hand"), "kept_apart"),
        (invite("board", "b9", &ivo.id, "hand"), "not_found"),
        (invite("board", "b1", &ivo.id, "watcher"), "role_not_here"),
        (invite("board", "b1", &person("nowhere", "x"), "hand"), "issuer_unknown"),
        (invite("shelf", "b1", &ivo.id, "hand"), "resource_type_unknown"),
    ] {
        assert_eq!(by(&mut world, &command, &crm), Err(code), "{command:?}");
    }
    // Nobody hands on what they cannot do there, and whoever is confined to an environment gives nothing in the others.
    let manager = member("acme", "max", &["clerk"]);
    assert_eq!(by(&mut world, &invite("board", "b1", &ivo.id, "hand"), &manager), Err("beyond_grantor"));
    let sandbox = Subject { environment: Some(eid("sandbox")), ..member("acme", "root", &["administrator"]) };
    assert_eq!(by(&mut world, &invite("board", "b1", &ivo.id, "hand"), &sandbox), Err("environment_foreign"));
    // The plan that was there may be gone.
    assert_eq!(by(&mut world, &invite("board", "b1", &ivo.id, "narrow"), &crm), Ok(()));
    assert_eq!(by(&mut world, &plan("iron"), &crm), Ok(()));
    assert_eq!(by(&mut world, &join("board", "b1", &ivo.id, "narrow"), &ivo), Err("role_not_in_plan"));
    assert_eq!(by(&mut world, &invite("board", "b1", &gil.id, "narrow"), &crm), Err("kept_apart"));
    let renew = |world: &mut World, and: &[Command]| {
        assert_eq!(by(world, &invite("board", "b1", &ivo.id, "hand"), &crm), Ok(()));
        for command in and {
            assert_eq!(by(world, command, &crm), Ok(()), "{command:?}");
        }
        by(world, &join("board", "b1", &ivo.id, "hand"), &ivo)
    };
    // What takes rows away takes invitations: leaving the tenant, becoming a guest, the resource's end.
    let remove = Command::RemoveMember { tenant: tid("acme"), member: ivo.id.clone(), expected: None };
    assert_eq!(renew(&mut world, &[remove, row(&ivo.id, &[])]), Err("not_allowed"));
    assert_eq!(renew(&mut world, &[row(&ivo.id, &["guest"]), row(&ivo.id, &[])]), Err("not_allowed"));
    let gone = of(&named("board", "b1"), Deed::Remove);
    assert_eq!(renew(&mut world, &[gone, push("board", "b1", None)]), Err("not_allowed"));
    assert_eq!(renew(&mut world, &[row(&ivo.id, &["guest"])]), Err("not_allowed"));
    assert_eq!(by(&mut world, &row(&ivo.id, &[]), &crm), Ok(()));
    assert_eq!(renew(&mut world, &[]), Ok(()));
}

// GW-14
#[test]
fn an_invitation_is_as_good_as_who_gave_it_and_remembered_of_them() {
    let policy = policy();
    let mut world = world(&policy);
    let (crm, lena, ivo) = (program("crm"), rower("acme", "lena"), member("acme", "ivo", &[]));
    let by = |world: &mut World, command: &Command, who: &Subject| {
        world.run(command, Actor::Subject(who), 2_000, &policy).map(|_| ()).map_err(|refusal| refusal.code())
    };
    let (invites, joins) = (invite("board", "b1", &ivo.id, "hand"), join("board", "b1", &ivo.id, "hand"));
    for command in [row(&lena.id, &[]), join("board", "b1", &lena.id, "lead")] {
        assert_eq!(by(&mut world, &command, &crm), Ok(()));
    }
    assert_eq!(by(&mut world, &invites, &lena), Ok(()));
    // She can give it no more: while that is so it is nothing.
    assert_eq!(by(&mut world, &join("board", "b1", &lena.id, "hand"), &crm), Ok(()));
    assert_eq!(by(&mut world, &joins, &ivo), Err("not_allowed"));
    let suspended = |suspended| Command::PushMember {
        tenant: tid("acme"),
        member: lena.id.clone(),
        roles: vec![],
        suspended,
        email: None,
        expected: None,
    };
    assert_eq!(by(&mut world, &join("board", "b1", &lena.id, "lead"), &crm), Ok(()));
    assert_eq!(by(&mut world, &suspended(true), &crm), Ok(()));
    assert_eq!(by(&mut world, &joins, &ivo), Err("not_allowed"));
    assert_eq!(by(&mut world, &suspended(false), &crm), Ok(()));
    assert_eq!(by(&mut world, &joins, &ivo), Ok(()));
    let row = row_of(&world, &ivo, &policy);
    assert!(row.by.len() == 1 && row.by.iter().all(|giver| giver.person == lena.id));
    // Another one who may give it gives it anew, in their own name.
    assert_eq!(by(&mut world, &leave("board", "b1", &ivo.id), &ivo), Ok(()));
    assert_eq!(by(&mut world, &invites, &lena), Ok(()));
    assert_eq!(by(&mut world, &suspended(true), &crm), Ok(()));
    assert_eq!(by(&mut world, &invites, &crm), Ok(()));
    assert_eq!(by(&mut world, &joins, &ivo), Ok(()));
    assert!(row_of(&world, &ivo, &policy).by.is_empty());
}

#[test]
fn an_invitation_goes_with_a_giver_who_is_known_to_have_left_and_stays_if_somebody_else_gave_it_too() {
    let policy = policy();
    let mut world = world(&policy);
    // Her roles stand in her tokens; that she left a row can say all the same.
    let [lena, lea, ivo] = ["lena", "lea", "ivo"].map(|sub| member("acme", sub, &[]));
    let crm = program("crm");
    let by = |world: &mut World, command: &Command, who: &Subject| {
        world.run(command, Actor::Subject(who), 2_000, &policy).map(|_| ()).map_err(|refusal| refusal.code())
    };
    let (invites, joins) = (invite("board", "b1", &ivo.id, "hand"), join("board", "b1", &ivo.id, "hand"));
    let suspended = |suspended| Command::PushMember {
        tenant: tid("acme"),
        member: lena.id.clone(),
        roles: vec![],
        suspended,
        email: None,
        expected: None,
    };
    for who in [&lena, &lea] {
        assert_eq!(by(&mut world, &join("board", "b1", &who.id, "lead"), &crm), Ok(()));
    }
    for other in [&lea, &crm] {
        assert_eq!(by(&mut world, &invites, &lena), Ok(()));
        assert_eq!(by(&mut world, &suspended(true), &crm), Ok(()));
        assert_eq!(by(&mut world, &joins, &ivo), Err("not_allowed"));
        assert_eq!(by(&mut world, &suspended(false), &crm), Ok(()));
        // Said again by somebody else it is theirs, and does not go with her.
        assert_eq!(by(&mut world, &invites, other), Ok(()));
        assert!(row_of(&world, &ivo, &policy).by.iter().all(|giver| giver.person == other.id));
        assert_eq!(by(&mut world, &suspended(true), &crm), Ok(()));
        // One of an issuer that members have no more is nothing; of a service's nobody has to ask.
        let mut later = policy.clone();
        later.callers.members.remove(&lea.id.issuer);
        let told = world.dry(&joins, Actor::Subject(&ivo), 2_000, &later).unwrap_err().code();
        assert_eq!(told, if other.id == crm.id { "issuer_unknown" } else { "not_allowed" });
        assert_eq!(by(&mut world, &joins, &ivo), Ok(()));
        assert_eq!(by(&mut world, &leave("board", "b1", &ivo.id), &ivo), Ok(()));
        assert_eq!(by(&mut world, &suspended(false), &crm), Ok(()));
    }
}

#[test]
fn who_was_invited_comes_back_uninvited_to_no_more_than_they_had() {
    let mut policy = policy();
    policy.resources.types.get_mut("board").unwrap().enter = [(role("reader"), role("lead"))].into();
    let mut world = world(&policy);
    let (crm, rita) = (program("crm"), member("acme", "rita", &["reader"]));
    let mut by = |command: &Command, who: &Subject| {
        world.run(command, Actor::Subject(who), 2_000, &policy).map(|_| ()).map_err(|refusal| refusal.code())
    };
    let lead = join("board", "b1", &rita.id, "lead");
    // Who never was in it may take either way in.
    assert_eq!(by(&invite("board", "b1", &rita.id, "narrow"), &crm), Ok(()));
    assert_eq!(by(&lead, &rita), Ok(()));
    // Once somebody made them less, an invitation is no way around that, whether it stands or not.
    assert_eq!(by(&join("board", "b1", &rita.id, "hand"), &crm), Ok(()));
    assert_eq!(by(&leave("board", "b1", &rita.id), &rita), Ok(()));
    assert_eq!(by(&lead, &rita), Err("not_allowed"));
    assert_eq!(by(&invite("board", "b1", &rita.id, "narrow"), &crm), Ok(()));
    assert_eq!(by(&lead, &rita), Err("not_allowed"));
    assert_eq!(by(&invite("board", "b1", &rita.id, "hand"), &crm), Ok(()));
    assert_eq!(by(&leave("board", "b1", &rita.id), &rita), Ok(()));
    assert_eq!(by(&lead, &rita), Err("not_allowed"));
    // Invited to it they join.
    assert_eq!(by(&invite("board", "b1", &rita.id, "lead"), &crm), Ok(()));
    assert_eq!(by(&lead, &rita), Ok(()));
}

// PFC-07
// PFC-16
#[test]
fn who_makes_something_becomes_no_member_for_whom_there_is_no_seat() {
    let mut policy = with_forms();
    policy.roles.get_mut(&role("editor")).unwrap().seat = true;
    let mut world = world(&policy);
    let (crm, gil) = (program("crm"), rower("acme", "gil"));
    let limit = |limit| Command::PushTenant {
        tenant: tid("acme"),
        parent: None,
        zone: postern::model::Zone::UTC,
        environments: vec![eid("production")],
        plan: None,
        seat_limit: Some(limit),
        expected: None,
    };
    for command in [limit(0), row(&gil.id, &["guest"])] {
        world.run(&command, Actor::Subject(&crm), 1_002, &policy).unwrap();
    }
    let makes = |id: &str| Command::Created {
        tenant: tid("acme"),
        made: Box::new(Created {
            exchange: id.parse().unwrap(),
            resource: named("board", id),
            on: None,
            creator: Some(gil.id.clone()),
            withheld: None,
            token_roles: BTreeSet::new(),
            environment: None,
            role: Some(role("lead")),
            tenant_life: None,
            left: None,
            becomes: [(role("guest"), role("editor"))].into(),
        }),
    };
    let told = |world: &mut World, id: &str| {
        let change = world.run(&makes(id), Actor::Application, 1_003, &policy).unwrap();
        let names: Vec<&str> = change.events.iter().map(|event| event.name()).collect();
        (names.contains(&"member_became"), names.contains(&"resource_joined"))
    };
    // Still a guest, so no member of what they made either.
    assert_eq!(told(&mut world, "b7"), (false, false));
    world.run(&limit(1), Actor::Subject(&crm), 1_004, &policy).unwrap();
    assert_eq!(told(&mut world, "b8"), (true, true));
}
