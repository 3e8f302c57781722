//! What tenants say of roles: what it costs, what a fork makes of it, what it may grow to.

use std::collections::BTreeMap;

use postern::{
    lifecycle::{Actor, Command, Refusal, Until, WantedBasis},
    model::{
        Document, Grantee, Key, Member, Scope, Span, Stored, Subject, Tenant, TenantRole, Zone, join::join,
    },
    policy::Caller,
};

use crate::{naive_roles::named, world::*};

fn told() -> Plain {
    Plain { adjustable: vec!["clerk".into()], own_roles: 2, ..Plain::new(true) }
}

fn known(plain: &Plain) -> World {
    let mut world = World::default();
    let command = Command::RegisterTenant {
        tenant: tid("acme"),
        parent: None,
        zone: Zone::UTC,
        environments: vec![eid("production")],
    };
    world.run(&command, Actor::Configuration, 1_000, &plain.compile()).unwrap();
    world
}

fn say(role: &str, permissions: &[&str]) -> Command {
    let permissions = permissions.iter().map(|name| name.parse().unwrap()).collect();
    Command::SetRole { tenant: tid("acme"), role: named(role), permissions, expected: None }
}

fn foreign() -> Subject {
    let names: Vec<String> = (0..60).map(|n| format!("team-{n}")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.push("clerk");
    member("acme", "clara", &names)
}

#[test]
fn where_roles_are_the_same_for_all_tenants_no_name_costs_a_look() {
    let plain = Plain::new(true);
    let (world, policy) = (known(&plain), plain.compile());
    for (permission, code) in [("orders:write", "member_role"), ("orders:read", "permission_missing")] {
        let decided =
            world.decide(&Request::simple("acme", permission), Caller::Known(&foreign()), 2_000, &policy);
        assert_eq!((decided.code(), &decided.asked), (code, &Vec::new()));
    }
}

#[test]
fn a_token_full_of_foreign_names_costs_one_look_at_its_tenant() {
    let plain = told();
    let (mut world, policy) = (known(&plain), plain.compile());
    let ask = |world: &World, permission: &str, subject: &Subject| {
        let decided =
            world.decide(&Request::simple("acme", permission), Caller::Known(subject), 2_000, &policy);
        (decided.code(), decided.asked)
    };
    let tenant = Key::Tenant(tid("acme"));
    assert_eq!(ask(&world, "orders:read", &foreign()), ("permission_missing", vec![tenant.clone()]));
    assert_eq!(ask(&world, "orders:write", &foreign()), ("member_role", vec![tenant.clone()]));
    // A role that is the same everywhere and suffices costs none, whatever stands beside it.
    let both = Subject { roles: foreign().roles.into_iter().chain([role("reader")]).collect(), ..foreign() };
    assert_eq!(ask(&world, "orders:read", &both), ("member_role", vec![]));
    // What the tenant said is looked at beside, and that alone.
    world.run(&say("team-7", &["orders:read"]), Actor::Subject(&admin("acme")), 1_500, &policy).unwrap();
    let (code, asked) = ask(&world, "orders:read", &foreign());
    assert_eq!((code, asked), ("member_role", vec![tenant, Key::Role(tid("acme"), named("team-7"))]));
}

// GW-14
#[test]
fn acting_looks_at_no_role_that_means_the_same_everywhere_and_at_none_that_the_tenant_does_not_list() {
    let asked = |plain: &Plain, roles: &[&str]| {
        let (mut world, policy) = (known(plain), plain.compile());
        if plain.own_roles > 0 {
            let say = say("helper", &["orders:read"]);
            world.run(&say, Actor::Subject(&admin("acme")), 1_100, &policy).unwrap();
        }
        let vera = member("acme", "vera", roles);
        let allow = Command::AllowLogin {
            tenant: tid("acme"),
            grant: gid("g1"),
            environment: eid("production"),
            organisation: desk(DESKS[0]),
            lasts: Span::Millis(LENT_MS[0]),
            ticket: None,
        };
        world.run(&allow, Actor::Subject(&vera), 1_200, &policy).unwrap();
        let start = Command::StartSession {
            tenant: tid("acme"),
            session: sid("s1"),
            environment: eid("production"),
            basis: WantedBasis::ActAs(gid("g1")),
            reason: "as agreed".into(),
            ticket: None,
            lasts: None,
        };
        world.run(&start, Actor::Subject(&staff("anna")), 1_300, &policy).unwrap();
        let request = Request::simple("acme", "orders:read").inside("s1");
        let decided = world.decide(&request, Caller::Known(&staff("anna")), 1_400, &policy);
        assert_eq!(decided.code(), "session_by_act_as");
        decided.asked.into_iter().filter(|key| matches!(key, Key::Role(..))).collect::<Vec<_>>()
    };
    let roles = ["reader", "team-1", "team-2", "helper"];
    assert_eq!(asked(&Plain::new(true), &roles), []);
    assert_eq!(asked(&told(), &roles), [Key::Role(tid("acme"), named("helper"))]);
}

// GW-17
#[test]
fn what_a_tenant_is_known_to_have_said_and_cannot_be_found_is_not_taken_for_never_said() {
    let plain = told();
    let (mut world, policy) = (known(&plain), plain.compile());
    let clerk = member("acme", "clara", &["clerk"]);
    world.run(&say("clerk", &["orders:write"]), Actor::Subject(&admin("acme")), 1_500, &policy).unwrap();
    let code = |world: &World| {
        let request = Request::simple("acme", "users:manage");
        world.decide(&request, Caller::Known(&clerk), 2_000, &policy).code().to_owned()
    };
    assert_eq!(code(&world), "permission_missing");
    world.docs.remove(&Key::Role(tid("acme"), named("clerk")));
    assert_eq!(code(&world), "state_unavailable");
    // Said anew, it is known again.
    world.run(&say("clerk", &["orders:read"]), Actor::Subject(&admin("acme")), 2_500, &policy).unwrap();
    assert_eq!(code(&world), "permission_missing");
}

#[test]
fn of_a_fork_what_was_taken_from_a_role_stays_taken() {
    let plain = told();
    let (mut world, policy) = (known(&plain), plain.compile());
    let boss = admin("acme");
    let run = |world: &mut World, command: &Command, now| {
        world.run(command, Actor::Subject(&boss), now, &policy).unwrap();
    };
    run(&mut world, &say("clerk", &["orders:write", "orders:read"]), 1_100);
    run(&mut world, &say("helper", &["orders:write"]), 1_200);
    let (mut one, mut other) = (world.clone(), world);
    // Each side's changes have ids of their own.
    other.changes += 100;
    // Narrowed on one side; taken back, which gives more than that, on the other.
    run(&mut one, &say("clerk", &["orders:read"]), 1_300);
    let remove = |role: &str| Command::RemoveRole { tenant: tid("acme"), role: named(role), expected: None };
    run(&mut other, &remove("clerk"), 1_300);
    // Removed on one side, widened on the other.
    run(&mut one, &remove("helper"), 1_400);
    run(&mut other, &say("helper", &["orders:write", "jobs:run"]), 1_400);
    let mut both = one.clone();
    for (key, stored) in &other.docs {
        let joined: Stored = one.docs.get(key).map_or_else(|| stored.clone(), |mine| join(mine, stored));
        both.docs.insert(key.clone(), joined);
    }
    for subject in [member("acme", "c", &["clerk"]), member("acme", "h", &["helper"])] {
        for permission in PERMISSIONS {
            let may = |world: &World| {
                let request = Request::simple("acme", permission);
                world.decide(&request, Caller::Known(&subject), 2_000, &policy).allowed()
            };
            let (both, one, other) = (may(&both), may(&one), may(&other));
            assert!(!both || (one && other), "{permission} of {:?}", subject.roles);
        }
    }
}

#[test]
fn what_is_kept_of_a_role_is_bounded_and_a_narrowing_never_held_up_by_it() {
    let plain = told();
    let (mut world, policy) = (known(&plain), plain.compile());
    let full = (0..100).find_map(|n| {
        let by = member("acme", &format!("admin-{n}"), &["administrator"]);
        let permissions: &[&str] = if n % 2 == 0 { &["orders:read"] } else { &["orders:write"] };
        world
            .run(&say("helper", permissions), Actor::Subject(&by), 2_000 + n, &policy)
            .err()
            .map(|why| (n, why))
    });
    let (n, why) = full.expect("there is an end to it");
    assert!(n > 10 && why == Refusal::RoleTooLarge, "{n}: {why:?}");
    let boss = admin("acme");
    world.run(&say("helper", &[]), Actor::Subject(&boss), 3_000, &policy).unwrap();
    // So it is with grants; one that is over makes room.
    world.run(&say("checker", &["orders:read"]), Actor::Subject(&boss), 3_001, &policy).unwrap();
    let grant = |n: i64| Command::MakeGrant {
        tenant: tid("acme"),
        grant: gid(&format!("0199aa00-0000-7000-8000-{n:012}")),
        environment: eid("production"),
        to: Grantee::Support,
        role: named("checker"),
        scope: Scope::Everything,
        until: Until::For(Span::Millis(10_000)),
    };
    let full = (0..1_000).find_map(|n| {
        world.run(&grant(n), Actor::Subject(&boss), 4_000 + n, &policy).err().map(|why| (n, why))
    });
    let (n, why) = full.expect("there is an end to it");
    assert!(n >= 50 && why == Refusal::RoleTooLarge, "{n}: {why:?}");
    world.run(&grant(5_000), Actor::Subject(&boss), 14_100, &policy).unwrap();
}

#[test]
fn a_role_of_the_tenants_own_that_the_configuration_has_too_gives_no_more_than_both() {
    let mut plain = told();
    plain.adjustable.push("helper".into());
    let (mut world, policy) = (known(&plain), plain.compile());
    let boss = admin("acme");
    world.run(&say("helper", &["orders:write", "jobs:run"]), Actor::Subject(&boss), 1_100, &policy).unwrap();
    let may = |plain: &Plain| -> Vec<&str> {
        let (policy, subject) = (plain.compile(), member("acme", "h", &["helper"]));
        let may = |permission: &&str| {
            let request = Request::simple("acme", permission);
            world.decide(&request, Caller::Known(&subject), 2_000, &policy).allowed()
        };
        PERMISSIONS.into_iter().filter(may).collect()
    };
    assert_eq!(may(&plain), ["orders:write", "jobs:run"]);
    let configured = (vec!["orders:*".to_owned()], Vec::new());
    plain.roles.insert("helper".into(), configured);
    assert_eq!(may(&plain), ["orders:write"]);
    plain.adjustable.pop();
    assert_eq!(may(&plain), ["orders:read", "orders:write"]);
    plain.roles.remove("helper");
    plain.own_roles = 0;
    assert_eq!(may(&plain), [""; 0]);
}

/// Documents as the store has them, whatever commands there are: what a removed member row names gives nothing either.
#[test]
fn a_role_that_is_gone_gives_nothing_to_a_row_that_names_it() {
    let plain = told();
    let policy = plain.compile();
    let gone = TenantRole {
        permissions: ["orders:read".parse().unwrap()].into(),
        own: true,
        by: Default::default(),
        granted: Default::default(),
        removed: Some(at(5)),
        life: 0,
    };
    let rita = rower("acme", "rita");
    let row = Member {
        roles: [named("helper")].into(),
        suspended: false,
        email: None,
        removed: None,
        life: 0,
        left: 0,
        seat: false,
    };
    let consent = postern::model::Consent::own(level("full"));
    let tenant = Tenant {
        roles: [named("helper")].into(),
        ..Tenant::new(None, Zone::UTC, [eid("production")].into(), consent)
    };
    for (gone, code) in [
        (gone.clone(), "permission_missing"),
        (TenantRole { removed: None, life: 1, ..gone.clone() }, "permission_missing"),
        (TenantRole { removed: None, own: false, ..gone.clone() }, "permission_missing"),
        (TenantRole { removed: None, ..gone }, "member_role"),
    ] {
        let world = World::of(BTreeMap::from([
            (Key::Tenant(tid("acme")), Document::Tenant(tenant.clone())),
            (Key::Member(tid("acme"), rita.id.clone()), Document::Member(row.clone())),
            (Key::Role(tid("acme"), named("helper")), Document::Role(gone)),
        ]));
        let request = Request::simple("acme", "orders:read");
        assert_eq!(world.decide(&request, Caller::Known(&rita), 2_000, &policy).code(), code);
    }
}
