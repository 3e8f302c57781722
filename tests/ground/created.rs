//! What follows from a creation is bounded as whatever a service or a member would write: by seats, by plans, by environments.
//!
//! Never here: an application's answer (`tests/it/created.rs`).

use postern::{
    lifecycle::{Actor, Command, Created, Event},
    model::{Document, ExchangeId, Key, Member},
    policy::{PermissionSet, Policy, Role},
};

use crate::{
    membership::with_forms,
    resources::{named, row, world},
    world::*,
};

fn policy_of() -> Policy {
    let mut policy = with_forms();
    let plans = Some(["gold".parse().unwrap()].into());
    let person = Role { permissions: PermissionSet::default(), adjustable: false, seat: true, plans };
    policy.roles.insert(role("person"), person);
    policy
}

fn tenant(plan: &str, seat_limit: Option<u64>) -> Command {
    Command::PushTenant {
        tenant: tid("acme"),
        parent: None,
        zone: postern::model::Zone::UTC,
        environments: vec![eid("production"), eid("sandbox")],
        plan: Some(plan.parse().unwrap()),
        seat_limit,
        expected: None,
    }
}

fn makes(who: &str, board: &str, environment: Option<&str>) -> Command {
    let made = Created {
        exchange: ExchangeId::new(&format!("exc_{board}")).unwrap(),
        resource: named("board", board),
        on: None,
        creator: Some(rower("acme", who).id),
        withheld: None,
        token_roles: [].into(),
        environment: environment.map(eid),
        role: Some(role("lead")),
        becomes: [(role("guest"), role("person"))].into(),
    };
    Command::Created { tenant: tid("acme"), made: Box::new(made) }
}

fn withheld(events: &[Event]) -> Option<&str> {
    events.iter().find_map(|event| match event {
        Event::ResourceLearned { withheld, .. } => Some(withheld.as_deref().unwrap_or("nothing")),
        _ => None,
    })
}

// PFC-07
// PFC-10
// PFC-16
#[test]
fn what_a_push_is_refused_for_nobody_becomes_by_making_something() {
    let policy = policy_of();
    let mut world = world(&policy);
    let (crm, gil) = (program("crm"), rower("acme", "gil"));
    let member = |world: &World| match world.document(&Key::Member(tid("acme"), gil.id.clone()), &policy) {
        Some(Document::Member(row)) => row,
        other => panic!("{other:?}"),
    };
    let roles = |row: &Member| row.roles.iter().map(ToString::to_string).collect::<Vec<_>>();
    world.run(&row(&gil.id, &["guest"]), Actor::Subject(&crm), 1_002, &policy).unwrap();
    for (board, plan, seats, environment, why) in [
        ("n1", "iron", None, None, "role_not_in_plan"),
        ("n2", "gold", Some(0), None, "seats_full"),
        ("n3", "gold", None, Some("sandbox"), "environment_foreign"),
    ] {
        world.run(&tenant(plan, seats), Actor::Subject(&crm), 1_003, &policy).unwrap();
        let change =
            world.run(&makes("gil", board, environment), Actor::Application, 1_004, &policy).unwrap();
        assert_eq!(withheld(&change.events), Some(why));
        // What was made is known, and whose it is; they are a guest as before, and no member of it.
        assert!(change.documents.iter().all(|(key, _)| matches!(key, Key::Resource(..))), "{change:?}");
        assert_eq!(roles(&member(&world)), ["guest"]);
    }
    world.run(&tenant("gold", Some(1)), Actor::Subject(&crm), 1_005, &policy).unwrap();
    let change = world.run(&makes("gil", "n4", None), Actor::Application, 1_006, &policy).unwrap();
    assert_eq!(
        (withheld(&change.events), roles(&member(&world))),
        (Some("nothing"), vec!["person".to_owned()])
    );
    // The role at the resource alone is bounded so too.
    let tom = rower("acme", "tom");
    world.run(&row(&tom.id, &["reader"]), Actor::Subject(&crm), 1_007, &policy).unwrap();
    let change = world.run(&makes("tom", "n5", Some("sandbox")), Actor::Application, 1_008, &policy).unwrap();
    assert_eq!((withheld(&change.events), change.documents.len()), (Some("environment_foreign"), 1));
}

// PFC-16
#[test]
fn a_row_of_an_earlier_life_of_the_tenant_moves_no_seat_of_this_one() {
    let policy = policy_of();
    let mut world = world(&policy);
    let crm = program("crm");
    let mut run = |command: &Command, now| world.run(command, Actor::Subject(&crm), now, &policy).unwrap();
    let row_of = |sub: &str| row(&rower("acme", sub).id, &["person"]);
    let gone = |sub: &str| Command::RemoveMember {
        tenant: tid("acme"),
        member: rower("acme", sub).id,
        expected: None,
    };
    run(&tenant("gold", Some(1)), 1_002);
    run(&row_of("old"), 1_003);
    run(&Command::RemoveTenant { tenant: tid("acme"), expected: None }, 1_004);
    run(&tenant("gold", Some(1)), 1_005);
    run(&row_of("new"), 1_006);
    let change = run(&gone("old"), 1_007);
    assert!(!change.events.iter().any(|event| matches!(event, Event::SeatsChanged { .. })), "{change:?}");
    let one_more = row_of("more");
    let refused = world.run(&one_more, Actor::Subject(&crm), 1_008, &policy);
    assert_eq!(refused.unwrap_err().code(), "seats_full");
}
