//! What is looked up at an application, and what comes of it; beside the same world in which all of it was pushed.

use std::sync::Arc;

use postern::{
    lifecycle::{Actor, Command, Deed},
    model::{Key, Resource, ResourceId, Subject},
    policy::{
        Ask, Caller, Decision, Effect, Facts, LookUp, LookedUp, Named, Policy, Verdict, decide,
        decide::Route,
        look_up::{Each, PathPiece, may_turn},
        narrow::Pointer,
    },
};
use proptest::prelude::*;

use crate::{
    resources::{Path, at_path, join, named, of, policy, push, rule_of, world},
    world::*,
};

/// The usual one, in which cards are looked up.
fn looking() -> Policy {
    let mut policy = policy();
    let pointer = |text: &str| Some(Pointer::parse(text).unwrap());
    let look_up = LookUp {
        upstream: 0,
        path: vec![PathPiece::Text("/c/".to_owned()), PathPiece::Id],
        id: None,
        tenant: pointer("/org"),
        creator: pointer("/by"),
        assignees: Some(Each { at: pointer("/to").unwrap(), item: Some(Pointer::default()) }),
        parent: pointer("/board"),
        issuer: Some("app".parse().unwrap()),
        for_ms: 10_000,
        within_ms: 500,
    };
    policy.resources.types.get_mut("card").unwrap().look_up = Some(Box::new(look_up));
    policy
}

/// What an application says of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    board: Option<&'static str>,
    mine: bool,
    assigned: bool,
}

impl Said {
    fn all() -> impl Iterator<Item = Said> {
        [None, Some("b1"), Some("b2")].into_iter().flat_map(|board| {
            [false, true]
                .into_iter()
                .flat_map(move |mine| [false, true].map(move |assigned| Said { board, mine, assigned }))
        })
    }

    fn resource(&self, who: &Subject) -> Resource {
        Resource {
            parent: self.board.map(|id| named("board", id)),
            creator: self.mine.then(|| who.id.clone()),
            assignees: self.assigned.then(|| who.id.clone()).into_iter().collect(),
            ..Resource::default()
        }
    }

    fn pushed(&self, card: &str, who: &Subject) -> Command {
        let parent = self.board.map(|id| ResourceId::new(id).unwrap());
        let creator = self.mine.then(|| who.id.clone());
        let assignees = self.assigned.then(|| who.id.clone()).into_iter().collect();
        of(&named("card", card), Deed::Push { parent, creator, assignees, public: false })
    }
}

/// Whether it is allowed, and what was looked up for it, where the application says this; `None`: nothing.
fn asks(
    world: &World,
    who: &Subject,
    permission: &str,
    path: &Path,
    policy: &Policy,
    said: Option<&Said>,
) -> (bool, Vec<Key>) {
    let rule = rule_of(permission, path, policy);
    let mut within = [None; 3];
    for (slot, (_, id)) in within.iter_mut().zip(&path.outer) {
        *slot = Some(id.as_str());
    }
    let ask = Ask {
        route: Route::Mapped(&rule),
        tenant: Named::As("acme"),
        environment: Named::As("production"),
        resource: Some(&path.id),
        within,
        session: Named::Missing,
        around: postern::policy::Around::default(),
        emergency: &postern::policy::Brought::Nothing,
        clock_behind: false,
        does: Effect::Write,
    };
    let (mut facts, mut looked_up) = (Facts::new(), Vec::new());
    loop {
        match decide(&ask, Caller::Known(who), &facts, at(9_000), policy) {
            Verdict::Decided(Decision::Allow(_)) => return (true, looked_up),
            Verdict::Decided(Decision::Deny(denial)) => {
                if facts.asks_outside() || !may_turn(&denial, &facts, policy) {
                    return (false, looked_up);
                }
                facts.ask_outside(true);
            }
            Verdict::Need(need) => {
                for key in need.0 {
                    if facts.get(&key).is_none() {
                        facts.put(key.clone(), world.fact(&key, policy));
                        continue;
                    }
                    assert!(facts.asks_outside() && !looked_up.contains(&key), "{key} was asked for twice");
                    let told = said.map(|said| {
                        let resource = said.resource(who);
                        Arc::new(LookedUp { resource, since: at(9_000), until: at(19_000) })
                    });
                    facts.put_looked_up(key.clone(), told);
                    looked_up.push(key);
                }
            }
        }
    }
}

/// Boards `b1`, `b2`, and a note `n1` in the card `c9`, of which nobody said anything; and who holds which role on the boards.
fn stage(policy: &Policy, clara: &Subject, roles: [Option<&str>; 2]) -> World {
    let mut world = world(policy);
    let crm = program("crm");
    let mut commands = vec![push("board", "b2", None), push("note", "n1", Some("c9"))];
    for (board, role) in ["b1", "b2"].into_iter().zip(roles) {
        commands.extend(role.map(|role| join("board", board, &clara.id, role)));
    }
    for command in commands {
        world.run(&command, Actor::Subject(&crm), 1_002, policy).unwrap();
    }
    world
}

const PERMISSIONS: [&str; 4] = ["orders:read", "orders:write", "jobs:run", "users:manage"];

fn paths() -> Vec<Path> {
    let mut all = Vec::new();
    for checked in [false, true] {
        all.push(at_path("card", "c9", &[], checked));
        all.push(at_path("note", "n1", &[], checked));
        all.push(at_path("note", "n1", &[("card", "c9")], checked));
        for board in ["b1", "b2"] {
            all.push(at_path("card", "c9", &[("board", board)], checked));
            all.push(at_path("note", "n1", &[("card", "c9"), ("board", board)], checked));
        }
    }
    all
}

fn role_of() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![Just(None), Just(Some("lead")), Just(Some("hand")), Just(Some("narrow"))]
}

proptest! {
    // PFP-16
    // PFP-17
    #[test]
    fn what_is_looked_up_opens_what_it_would_open_pushed_and_only_what_may_matter_is_looked_up(
        roles in [role_of(), role_of()],
        which in 0usize..12,
        place in 0usize..14,
        permission in 0usize..4,
    ) {
        let policy = looking();
        let clara = member("acme", "clara", &[]);
        let world = stage(&policy, &clara, roles);
        let said = Said::all().nth(which).unwrap();
        let path = &paths()[place];
        let permission = PERMISSIONS[permission];
        let ask = |world: &World, said: Option<&Said>| asks(world, &clara, permission, path, &policy, said);
        let pushed = |said: &Said| {
            let mut world = world.clone();
            world.run(&said.pushed("c9", &clara), Actor::Subject(&program("crm")), 1_003, &policy).unwrap();
            let (open, asked) = ask(&world, None);
            assert!(asked.is_empty(), "what was pushed is not looked up");
            open
        };
        let (blind, asked_in_vain) = ask(&world, None);
        let (open, asked) = ask(&world, Some(&said));
        // Where the route declares that the application checks the path, what it says of itself is not asked for.
        prop_assert_eq!(open, pushed(&said) || (blind && path.checked));
        prop_assert!(asked.len() <= 1 && asked == asked_in_vain);
        if blind {
            prop_assert!(asked.is_empty(), "it was open without");
        }
        let could = Said::all().any(|said| pushed(&said));
        let names_board = path.outer.iter().any(|(kind, _)| *kind == "board");
        if !asked.is_empty() && names_board {
            prop_assert!(could, "no answer could have turned it");
        }
        if asked.is_empty() && !blind {
            prop_assert!(!could, "an answer could have turned it");
        }
    }
}

#[test]
fn a_pushed_or_removed_resource_and_a_tenant_that_is_gone_are_not_looked_up() {
    let policy = looking();
    let clara = member("acme", "clara", &[]);
    let mut world = stage(&policy, &clara, [Some("narrow"), None]);
    let said = Said { board: Some("b1"), mine: true, assigned: false };
    let path = at_path("card", "c9", &[], false);
    let ask = |world: &World, who: &Subject| asks(world, who, "orders:read", &path, &policy, Some(&said));
    assert_eq!(ask(&world, &clara), (true, vec![Key::Resource(tid("acme"), named("card", "c9"))]));
    // Somebody else's is asked for too where no board is named, and is not theirs.
    assert!(!ask(&world, &member("acme", "dora", &[])).0);
    let crm = program("crm");
    world.run(&push("card", "c9", Some("b1")), Actor::Subject(&crm), 1_003, &policy).unwrap();
    assert_eq!(ask(&world, &clara), (false, Vec::new()));
    world.run(&of(&named("card", "c9"), Deed::Remove), Actor::Subject(&crm), 1_004, &policy).unwrap();
    assert_eq!(ask(&world, &clara), (false, Vec::new()));
    let mut world = stage(&policy, &clara, [Some("narrow"), None]);
    let gone = Command::RemoveTenant { tenant: tid("acme"), expected: None };
    world.run(&gone, Actor::Subject(&crm), 1_003, &policy).unwrap();
    assert_eq!(ask(&world, &clara), (false, Vec::new()));
}

#[test]
fn what_does_not_say_where_a_resource_lies_is_not_asked_for_it() {
    let mut policy = looking();
    let rule = policy.resources.types.get_mut("card").unwrap();
    rule.look_up.as_deref_mut().unwrap().parent = None;
    let clara = member("acme", "clara", &[]);
    let world = stage(&policy, &clara, [Some("narrow"), None]);
    let said = Said { board: None, mine: true, assigned: false };
    let ask = |path: &Path| asks(&world, &clara, "orders:read", path, &policy, Some(&said));
    assert_eq!(ask(&at_path("card", "c9", &[], false)), (false, Vec::new()));
    assert_eq!(ask(&at_path("card", "c9", &[("board", "b1")], false)), (false, Vec::new()));
    let checked = ask(&at_path("card", "c9", &[("board", "b1")], true));
    assert_eq!((checked.0, checked.1.len()), (true, 1));
    assert_eq!(ask(&at_path("card", "c9", &[("board", "b2")], true)), (false, Vec::new()));
}
