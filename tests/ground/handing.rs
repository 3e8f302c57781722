//! Grants over resources by members who can do there, by a row, what they cannot in the whole tenant.

use std::collections::BTreeSet;

use postern::{
    lifecycle::{Actor, Command, Until, WantedBasis},
    model::{Grantee, RoleAt, Scope, Subject},
    policy::{Pattern, PermissionSet, Policy, Role, granting::May, rights::rights_now},
};

use crate::{
    resources::{ask, at_path, join, leave, policy, push, row, world},
    world::*,
};

/// Whoever is a `giver` may give grants, and can do nothing in the whole tenant; a `mender` reads and writes orders.
fn with_givers() -> Policy {
    let mut policy = policy();
    let set = |policy: &Policy, names: &[&str]| {
        names.iter().fold(PermissionSet::default(), |mut all, name| {
            all.add(&policy.catalogue.covered(&Pattern::parse(name).unwrap()));
            all
        })
    };
    for (name, holds) in [("giver", &[][..]), ("mender", &["orders:read", "orders:write"][..])] {
        let permissions = set(&policy, holds);
        policy.roles.insert(role(name), Role { permissions, adjustable: false, seat: false, plans: None });
    }
    policy.granting.by_role = [(role("giver"), May::Always)].into();
    policy
}

fn boards() -> (Policy, World, Subject) {
    let policy = with_givers();
    let mut world = world(&policy);
    let (crm, greta) = (program("crm"), rower("acme", "greta"));
    for command in [push("board", "b2", None), push("card", "c2", Some("b2")), row(&greta.id, &["giver"])] {
        world.run(&command, Actor::Subject(&crm), 1_002, &policy).unwrap();
    }
    (policy, world, greta)
}

fn over(all: &[(&str, &str)]) -> Scope {
    let one = |(kind, id): &(&str, &str)| (kind.parse().unwrap(), id.parse().unwrap());
    Scope::Resources(all.iter().map(one).collect::<BTreeSet<_>>())
}

fn grant(id: &str, scope: Scope) -> Command {
    Command::MakeGrant {
        tenant: tid("acme"),
        grant: gid(id),
        environment: eid("production"),
        to: Grantee::Support,
        role: role("mender"),
        scope,
        until: Until::At(at(20_000)),
    }
}

fn enter(grant: &str, session: &str) -> Command {
    Command::StartSession {
        tenant: tid("acme"),
        session: sid(session),
        environment: eid("production"),
        basis: WantedBasis::Grant(gid(grant)),
        reason: "a card is stuck".into(),
        ticket: None,
        lasts: None,
    }
}

fn on(
    world: &World,
    who: &Subject,
    what: &str,
    card: &str,
    board: &'static str,
    policy: &Policy,
) -> &'static str {
    ask(world, who, what, &at_path("card", card, &[("board", board)], false), policy).0
}

// CEL-08
#[test]
fn a_member_grants_where_their_row_lets_them_and_nowhere_else() {
    let (policy, mut world, greta) = boards();
    let (crm, anna) = (program("crm"), staff("anna"));
    let mut run = |command: &Command, who: &Subject, now| {
        world.run(command, Actor::Subject(who), now, &policy).map(|_| ()).map_err(|refusal| refusal.code())
    };
    assert_eq!(run(&grant("g0", over(&[("board", "b1")])), &greta, 1_003), Err("beyond_grantor"));
    assert_eq!(run(&join("board", "b1", &greta.id, "lead"), &crm, 1_003), Ok(()));
    for (scope, told) in [
        (over(&[("board", "b2")]), Err("beyond_grantor")),
        (over(&[("board", "b1"), ("board", "b2")]), Err("beyond_grantor")),
        (over(&[("card", "c2")]), Err("beyond_grantor")),
        (over(&[("board", "b9")]), Err("beyond_grantor")),
        (Scope::Everything, Err("scope_too_wide")),
        // What is known to lie there too.
        (over(&[("card", "c1")]), Ok(())),
    ] {
        assert_eq!(run(&grant("g1", scope.clone()), &greta, 1_004), told, "{scope:?}");
    }
    // Of resources with roles of their own, each role where it is given.
    let place = |id: &str, name: &str| RoleAt {
        r#type: "board".parse().unwrap(),
        id: id.parse().unwrap(),
        role: role(name),
    };
    let each = |of_b2: &str| Scope::Roles([place("b1", "mender"), place("b2", of_b2)].into());
    assert_eq!(run(&grant("g2", each("reader")), &greta, 1_005), Err("beyond_grantor"));
    assert_eq!(run(&grant("g2", each("giver")), &greta, 1_005), Ok(()));
    assert_eq!(run(&grant("g3", over(&[("board", "b1")])), &greta, 1_005), Ok(()));
    assert_eq!(run(&enter("g3", "s1"), &anna, 1_006), Ok(()));
    let told = |world: &World| {
        [
            ("orders:read", "c1", "b1"),
            ("orders:write", "c1", "b1"),
            ("orders:read", "c2", "b2"),
            ("orders:read", "c1", "b2"),
        ]
        .map(|(what, card, board)| on(world, &anna, what, card, board, &policy))
    };
    let (ok, lacks, beyond) = ("session_by_grant", "grantor_lacks", "grant_scope");
    assert_eq!(told(&world), [ok, ok, lacks, lacks]);
    assert_eq!(rights(&world, &anna, &policy), ["orders:read", "orders:write"]);
    // As it changes: support has what she has left, and she prolongs no more than that.
    let mut run = |command: &Command, who: &Subject, now| {
        world.run(command, Actor::Subject(who), now, &policy).map(|_| ()).map_err(|refusal| refusal.code())
    };
    assert_eq!(run(&join("board", "b2", &greta.id, "lead"), &crm, 1_007), Ok(()));
    assert_eq!(run(&join("board", "b1", &greta.id, "hand"), &crm, 1_007), Ok(()));
    let move_it = Command::MoveGrant {
        tenant: tid("acme"),
        grant: gid("g3"),
        until: Until::At(at(30_000)),
        expected: None,
    };
    assert_eq!(run(&move_it, &greta, 1_008), Err("beyond_grantor"));
    // What she can do elsewhere the grant does not name.
    assert_eq!(told(&world), [ok, lacks, beyond, lacks]);
    assert_eq!(rights(&world, &anna, &policy), ["orders:read"]);
    world.run(&leave("board", "b1", &greta.id), Actor::Subject(&crm), 1_009, &policy).unwrap();
    assert_eq!(told(&world), [lacks, lacks, beyond, lacks]);
    assert!(rights(&world, &anna, &policy).is_empty());
}

/// What the agent's session is told to be able to do.
fn rights(world: &World, who: &Subject, policy: &Policy) -> Vec<String> {
    let mut facts = postern::policy::Facts::new();
    for key in world.docs.keys() {
        facts.put(key.clone(), world.fact(key, policy));
    }
    loop {
        let session = facts.session("acme", "s1").unwrap().unwrap().clone();
        let tenant = facts.tenant("acme").unwrap().unwrap().clone();
        match rights_now(&session, &tenant, "acme", who, &facts, at(9_000), policy) {
            Ok(told) => return told.unwrap(),
            Err(postern::policy::Lack::Need(need)) => {
                for key in need.0 {
                    facts.put(key.clone(), world.fact(&key, policy));
                }
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

// CEL-08
#[test]
fn what_they_may_do_with_what_is_theirs_they_do_not_grant() {
    let (policy, mut world, greta) = boards();
    world
        .run(&join("board", "b1", &greta.id, "narrow"), Actor::Subject(&program("crm")), 1_003, &policy)
        .unwrap();
    let told = world.dry(&grant("g1", over(&[("card", "c1")])), Actor::Subject(&greta), 1_004, &policy);
    assert_eq!(told.unwrap_err().code(), "beyond_grantor");
}

// CEL-08
#[test]
fn a_grant_over_a_hundred_resources_asks_for_what_it_needs_at_once() {
    let (policy, mut world, greta) = boards();
    let (crm, anna) = (program("crm"), staff("anna"));
    let ids: Vec<String> = (0..100).map(|number| format!("n{number}")).collect();
    for id in &ids {
        for command in
            [push("board", id, None), push("card", id, Some(id)), join("board", id, &greta.id, "lead")]
        {
            world.run(&command, Actor::Subject(&crm), 1_003, &policy).unwrap();
        }
    }
    let all: Vec<(&str, &str)> = ids.iter().map(|id| ("card", id.as_str())).collect();
    let (command, mut facts, mut rounds) = (grant("g1", over(&all)), postern::policy::Facts::new(), 0);
    let told = loop {
        rounds += 1;
        match postern::lifecycle::apply(&command, &facts, Actor::Subject(&greta), at(1_004), &policy) {
            postern::lifecycle::Outcome::Need(need) => {
                for key in need.0 {
                    facts.put(key.clone(), world.fact(&key, &policy));
                }
            }
            other => break other,
        }
    };
    assert!(matches!(told, postern::lifecycle::Outcome::Changed(_)), "{told:?}");
    assert!(rounds < 20, "{rounds}");
    world.run(&command, Actor::Subject(&greta), 1_004, &policy).unwrap();
    world.run(&enter("g1", "s1"), Actor::Subject(&anna), 1_005, &policy).unwrap();
    assert_eq!(on(&world, &anna, "orders:write", "n99", "n99", &policy), "session_by_grant");
}

// CEL-08
// GW-14
#[test]
fn a_row_that_the_agent_gave_as_a_person_of_the_tenant_does_not_bear_the_grant_for_them() {
    let (policy, mut world, greta) = boards();
    let (anna, ben, own) = (staff("anna"), staff("ben"), twin("acme"));
    world.run(&join("board", "b1", &greta.id, "hand"), Actor::Subject(&own), 1_003, &policy).unwrap();
    let read = Command::MakeGrant {
        tenant: tid("acme"),
        grant: gid("g1"),
        environment: eid("production"),
        to: Grantee::Support,
        role: role("peek"),
        scope: over(&[("board", "b1")]),
        until: Until::At(at(20_000)),
    };
    let mut policy = policy;
    let mut permissions = PermissionSet::default();
    permissions.add(&policy.catalogue.covered(&Pattern::parse("orders:read").unwrap()));
    policy.roles.insert(role("peek"), Role { permissions, adjustable: false, seat: false, plans: None });
    world.run(&read, Actor::Subject(&greta), 1_004, &policy).unwrap();
    for (agent, session) in [(&anna, "s1"), (&ben, "s2")] {
        world.run(&enter("g1", session), Actor::Subject(agent), 1_005, &policy).unwrap();
    }
    let told = [&anna, &ben].map(|who| on(&world, who, "orders:read", "c1", "b1", &policy));
    assert_eq!(told, ["grantor_lacks", "session_by_grant"]);
}
