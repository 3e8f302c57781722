//! What lies below tenants: rows of members, conditions, where things lie; beside a naive model that lists everything and
//! deletes what is over.

use std::collections::{BTreeMap, BTreeSet};

use postern::{
    lifecycle::{self, Actor, Command, Deed, Refusal, Until, WantedBasis},
    model::{Document, Grantee, Key, ResourceId, ResourceRef, RoleName, Scope, Subject, SubjectRef, Tally},
    policy::{
        Ask, Caller, Decision, Effect, Facts, Named, Narrow, Pattern, PermissionSet, Permit, Policy, Push,
        ResourceRules, RoleAt, Rule, TypeRule, Verdict, Within, decide,
        decide::Route,
        narrow::{Beside, How, ListShape, Pointer},
    },
};
use proptest::prelude::*;

use crate::world::*;

/// What a role at resources holds: always, of what its holder made, of what is assigned to them.
type Sets = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

const ROLES: [(&str, Sets, bool); 4] = [
    (
        "lead",
        (
            "board",
            &[
                "orders:read",
                "orders:write",
                "mappings:read",
                "mappings:write",
                "users:manage",
                "users:read",
                "jobs:run",
            ],
            &[],
            &[],
        ),
        true,
    ),
    ("hand", ("board", &["orders:read", "mappings:read", "users:read"], &[], &[]), false),
    ("narrow", ("board", &["jobs:run"], &["orders:read", "orders:write"], &["orders:read"]), false),
    ("watcher", ("card", &["orders:read"], &[], &[]), false),
];

/// The configuration: boards in the tenant, cards in boards, notes in cards. Wardens have no rows.
pub(crate) fn policy() -> Policy {
    let mut policy = Plain::new(true).compile();
    let set = |names: &[&str]| {
        names.iter().fold(PermissionSet::default(), |mut all, name| {
            all.add(&policy.catalogue.covered(&Pattern::parse(name).unwrap()));
            all
        })
    };
    let roles = ROLES.iter().map(|(name, (at, always, own, assigned), keep_one)| {
        let at = at.parse().unwrap();
        let (permissions, own, assigned) = (set(always), set(own), set(assigned));
        let of = ["card".parse().unwrap()].into();
        (role(name), RoleAt { at, permissions, own, assigned, of, keep_one: *keep_one, plans: None })
    });
    let roles = roles.collect();
    let (manage, list) = (policy.catalogue.id("users:manage"), policy.catalogue.id("users:read"));
    let below = |kind: &str| Some(kind.parse().unwrap());
    policy.resources = ResourceRules {
        types: [
            ("board".parse().unwrap(), TypeRule { parent: None, manage, list, ..TypeRule::default() }),
            (
                "card".parse().unwrap(),
                TypeRule { parent: below("board"), manage: None, list: None, ..TypeRule::default() },
            ),
            (
                "note".parse().unwrap(),
                TypeRule { parent: below("card"), manage: None, list: None, ..TypeRule::default() },
            ),
        ]
        .into(),
        roles,
        joins: [(role("warden"), BTreeSet::new())].into(),
    };
    for rule in &mut policy.callers.services {
        if rule.may.contains(&Push::Members) {
            rule.may.insert(Push::Resources);
        }
    }
    policy
}

pub(crate) fn named(kind: &str, id: &str) -> ResourceRef {
    ResourceRef { kind: kind.parse().unwrap(), id: id.parse().unwrap() }
}

pub(crate) fn of(resource: &ResourceRef, deed: Deed) -> Command {
    Command::Resource { tenant: tid("acme"), resource: resource.clone(), deed, expected: None }
}

pub(crate) fn push(kind: &str, id: &str, parent: Option<&str>) -> Command {
    let parent = parent.map(|id| ResourceId::new(id).unwrap());
    let deed = Deed::Push { parent, creator: None, assignees: Vec::new(), public: false };
    of(&named(kind, id), deed)
}

pub(crate) fn join(kind: &str, id: &str, who: &SubjectRef, name: &str) -> Command {
    of(&named(kind, id), Deed::Join { member: who.clone(), role: role(name) })
}

pub(crate) fn invite(kind: &str, id: &str, who: &SubjectRef, name: &str) -> Command {
    of(&named(kind, id), Deed::Invite { member: who.clone(), role: role(name), until: None })
}

pub(crate) fn leave(kind: &str, id: &str, who: &SubjectRef) -> Command {
    of(&named(kind, id), Deed::Leave { member: who.clone() })
}

pub(crate) fn row(who: &SubjectRef, roles: &[&str]) -> Command {
    Command::PushMember {
        tenant: tid("acme"),
        member: who.clone(),
        roles: roles.iter().map(|name| role(name)).collect(),
        suspended: false,
        email: None,
        expected: None,
    }
}

/// A tenant with a board `b1` and a card `c1` on it, which `made` made.
pub(crate) fn world(policy: &Policy) -> World {
    let mut world = World::default();
    let command = Command::RegisterTenant {
        tenant: tid("acme"),
        parent: None,
        zone: postern::model::Zone::UTC,
        environments: vec![eid("production")],
    };
    world.run(&command, Actor::Configuration, 1_000, policy).unwrap();
    let crm = program("crm");
    for command in [push("board", "b1", None), push("card", "c1", Some("b1"))] {
        world.run(&command, Actor::Subject(&crm), 1_001, policy).unwrap();
    }
    world
}

/// What a path names: the resource acted on, then what it lies in, nearest first; and whether the application checks that.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    pub(crate) outer: Vec<(&'static str, String)>,
    pub(crate) checked: bool,
}

pub(crate) fn at_path(kind: &'static str, id: &str, outer: &[(&'static str, &str)], checked: bool) -> Path {
    let outer = outer.iter().map(|(kind, id)| (*kind, (*id).to_owned())).collect();
    Path { kind, id: id.to_owned(), outer, checked }
}

/// The code of the decision, and what was looked up for it.
pub(crate) fn ask(
    world: &World,
    who: &Subject,
    permission: &str,
    path: &Path,
    policy: &Policy,
) -> (&'static str, Vec<Key>) {
    let (told, asked) = ask_by(world, who, &rule_of(permission, path, policy), path, policy);
    (told.map_or_else(|denied| denied, |permit| permit.reason().code()), asked)
}

/// Where a list is.
fn shape() -> ListShape {
    let pointer = |text| Pointer::parse(text).unwrap();
    ListShape::new(&pointer("/all"), pointer("/id"), &Beside::default()).unwrap()
}

/// A route that acts on what the path names.
pub(crate) fn rule_of(permission: &str, path: &Path, policy: &Policy) -> Rule {
    let types = path.outer.iter().map(|(kind, _)| kind.parse().unwrap()).collect();
    Rule {
        name: "GET /x".into(),
        permissions: vec![policy.catalogue.id(permission).unwrap()],
        public: false,
        resource: Some(path.kind.parse().unwrap()),
        within: Within { types, checked: path.checked },
        upstream: 0,
        effect: None,
        record: false,
        environments: Default::default(),
        plans: None,
        narrow: None,
        whole_only: false,
        creates: None,
    }
}

/// The permit, or the code of the refusal; and what was looked up for it.
pub(crate) fn ask_by(
    world: &World,
    who: &Subject,
    rule: &Rule,
    path: &Path,
    policy: &Policy,
) -> (Result<Permit, &'static str>, Vec<Key>) {
    let mut within = [None; 3];
    for (slot, (_, id)) in within.iter_mut().zip(&path.outer) {
        *slot = Some(id.as_str());
    }
    let ask = Ask {
        route: Route::Mapped(rule),
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
    let (mut facts, mut asked) = (Facts::new(), Vec::new());
    loop {
        match decide(&ask, Caller::Known(who), &facts, at(9_000), policy) {
            Verdict::Decided(Decision::Allow(permit)) => return (Ok(permit), asked),
            Verdict::Decided(Decision::Deny(denial)) => return (Err(denial.reason.code()), asked),
            Verdict::Need(need) => {
                for key in need.0 {
                    assert!(facts.get(&key).is_none(), "{key} was asked for twice");
                    facts.put(key.clone(), world.fact(&key, policy));
                    asked.push(key);
                }
            }
        }
    }
}

pub(crate) fn may(world: &World, who: &Subject, permission: &str, path: &Path, policy: &Policy) -> bool {
    ask(world, who, permission, path, policy).0 == "member_role"
}

// PFP-01
#[test]
fn a_row_at_a_resource_gives_its_role_there_and_below_and_nowhere_else() {
    let policy = policy();
    let mut world = world(&policy);
    let clara = member("acme", "clara", &[]);
    let crm = program("crm");
    for command in
        [push("board", "b2", None), push("card", "c2", Some("b2")), join("board", "b1", &clara.id, "hand")]
    {
        world.run(&command, Actor::Subject(&crm), 1_002, &policy).unwrap();
    }
    let on = |id, board| at_path("card", id, &[("board", board)], false);
    assert!(may(&world, &clara, "orders:read", &on("c1", "b1"), &policy));
    assert!(!may(&world, &clara, "orders:write", &on("c1", "b1"), &policy));
    assert!(may(&world, &clara, "orders:read", &at_path("board", "b1", &[], false), &policy));
    assert!(!may(&world, &clara, "orders:read", &on("c2", "b2"), &policy));
    // Nobody else has it, and nobody of another tenant.
    assert!(!may(&world, &member("acme", "dora", &[]), "orders:read", &on("c1", "b1"), &policy));
    assert_eq!(
        ask(&world, &member("beta", "clara", &[]), "orders:read", &on("c1", "b1"), &policy).0,
        "tenant_foreign"
    );
    // A name that is held at resources means nothing in a token.
    assert!(!may(&world, &member("acme", "dora", &["lead"]), "orders:read", &on("c1", "b1"), &policy));
}

// PFP-17
#[test]
fn the_parent_in_the_path_is_known_and_not_believed() {
    let policy = policy();
    let mut world = world(&policy);
    let (clara, crm) = (member("acme", "clara", &[]), program("crm"));
    for command in [
        push("board", "b2", None),
        push("card", "c2", Some("b2")),
        push("card", "c3", None),
        join("board", "b1", &clara.id, "lead"),
    ] {
        world.run(&command, Actor::Subject(&crm), 1_002, &policy).unwrap();
    }
    let read = |path: &Path| may(&world, &clara, "orders:read", path, &policy);
    let on = |id, board, checked| at_path("card", id, &[("board", board)], checked);
    // Known to lie elsewhere: whatever the path says, and whatever the application checks.
    assert!(!read(&on("c2", "b1", false)) && !read(&on("c2", "b1", true)));
    assert!(!read(&on("c1", "b2", true)));
    // Not known where: no; unless the application checks what the path says.
    for unknown in ["c3", "c9"] {
        assert!(!read(&on(unknown, "b1", false)), "{unknown}");
        assert!(read(&on(unknown, "b1", true)), "{unknown}");
        assert!(!read(&on(unknown, "b2", true)), "{unknown}");
        assert!(!read(&at_path("card", unknown, &[], true)), "{unknown}");
    }
    // Named by no path it is known all the same.
    assert!(read(&at_path("card", "c1", &[], false)));
}

// PFP-04
#[test]
fn own_and_assigned_go_by_what_is_known_of_the_resource() {
    let policy = policy();
    let mut world = world(&policy);
    let (clara, dora, crm) = (member("acme", "clara", &[]), member("acme", "dora", &[]), program("crm"));
    let card = named("card", "c1");
    let said = |creator: Option<&Subject>, assignees: &[&Subject]| {
        let assignees = assignees.iter().map(|who| who.id.clone()).collect();
        let parent = Some(ResourceId::new("b1").unwrap());
        of(&card, Deed::Push { parent, creator: creator.map(|who| who.id.clone()), assignees, public: false })
    };
    for who in [&clara, &dora] {
        world.run(&join("board", "b1", &who.id, "narrow"), Actor::Subject(&crm), 1_002, &policy).unwrap();
    }
    let path = at_path("card", "c1", &[("board", "b1")], false);
    let mut told = |creator: Option<&Subject>, assignees: &[&Subject]| {
        world.run(&said(creator, assignees), Actor::Subject(&crm), 1_003, &policy).unwrap();
        let can = |who, permission| may(&world, who, permission, &path, &policy);
        [
            can(&clara, "orders:read"),
            can(&clara, "orders:write"),
            can(&dora, "orders:read"),
            can(&dora, "orders:write"),
        ]
    };
    assert_eq!(told(Some(&clara), &[]), [true, true, false, false]);
    assert_eq!(told(Some(&clara), &[&dora]), [true, true, true, false]);
    // It ends with the assignment; who nobody knows made nothing.
    assert_eq!(told(None, &[&clara]), [true, false, false, false]);
    assert_eq!(told(Some(&dora), &[]), [false, false, true, true]);
    // What is not known is nobody's.
    let unknown = at_path("card", "c9", &[("board", "b1")], true);
    assert!(!may(&world, &dora, "orders:read", &unknown, &policy));
    assert!(may(&world, &dora, "jobs:run", &unknown, &policy));
}

// PFP-04
// PFP-16
#[test]
fn a_condition_speaks_of_cards_and_not_of_what_they_lie_in_or_of_what_lies_in_them() {
    let policy = policy();
    let mut world = world(&policy);
    let (clara, crm) = (member("acme", "clara", &[]), program("crm"));
    // All of it is hers.
    for (kind, id, parent) in [("board", "b1", None), ("card", "c1", Some("b1")), ("note", "n1", Some("c1"))]
    {
        let deed = Deed::Push {
            parent: parent.map(|id| ResourceId::new(id).unwrap()),
            creator: Some(clara.id.clone()),
            assignees: vec![clara.id.clone()],
            public: false,
        };
        world.run(&of(&named(kind, id), deed), Actor::Subject(&crm), 1_002, &policy).unwrap();
    }
    world.run(&join("board", "b1", &clara.id, "narrow"), Actor::Subject(&crm), 1_002, &policy).unwrap();
    let (card, board) = (at_path("card", "c1", &[], false), at_path("board", "b1", &[], false));
    let note = at_path("note", "n1", &[("card", "c1"), ("board", "b1")], false);
    for permission in ["orders:read", "orders:write"] {
        assert!(may(&world, &clara, permission, &card, &policy));
        for container in [&board, &note] {
            let told = ask(&world, &clara, permission, container, &policy).0;
            assert_eq!(told, "permission_missing", "{permission} {container:?}");
        }
    }
    assert!(
        may(&world, &clara, "jobs:run", &board, &policy),
        "what it holds without a condition it holds there"
    );
    // A list of cards on the board is narrowed to hers; one of boards or notes would show her none.
    let listing = |permission: &str, items: &str| {
        let rule = rule_of(permission, &board, &policy);
        let shape = shape();
        let item = Rule { resource: Some(items.parse().unwrap()), ..rule.clone() };
        let rule = Rule { narrow: Some(Box::new(Narrow { how: How::Filter(shape), item })), ..rule };
        ask_by(&world, &clara, &rule, &board, &policy).0.map(|permit| permit.narrowed())
    };
    assert_eq!(listing("orders:read", "card"), Ok(true));
    assert_eq!(listing("jobs:run", "card"), Ok(false));
    for items in ["board", "note"] {
        assert_eq!(listing("orders:read", items), Err("permission_missing"), "{items}");
    }
    // A route may demand more than a condition gives, of her own card too.
    let whole = |permission: &str, path: &Path| {
        let rule = Rule { whole_only: true, ..rule_of(permission, path, &policy) };
        ask_by(&world, &clara, &rule, path, &policy).0.map(|permit| permit.narrowed())
    };
    for path in [&card, &board] {
        assert_eq!(whole("orders:read", path), Err("permission_missing"), "{path:?}");
        assert_eq!(whole("jobs:run", path), Ok(false), "{path:?}");
    }
    // Who acts as her has no more of it.
    let anna = staff("anna");
    let lend = Command::AllowLogin {
        tenant: tid("acme"),
        grant: gid("g1"),
        environment: eid("production"),
        organisation: desk("help"),
        lasts: postern::model::Span::Millis(LENT_MS[1]),
        ticket: None,
    };
    world.run(&lend, Actor::Subject(&clara), 1_003, &policy).unwrap();
    let start = Command::StartSession {
        tenant: tid("acme"),
        session: sid("s1"),
        environment: eid("production"),
        basis: WantedBasis::ActAs(gid("g1")),
        reason: "a card is stuck".into(),
        ticket: None,
        lasts: None,
    };
    world.run(&start, Actor::Subject(&anna), 1_004, &policy).unwrap();
    let told = |path: &Path| ask(&world, &anna, "orders:read", path, &policy).0;
    assert_eq!(
        [&card, &board, &note].map(told),
        ["session_by_act_as", "permission_missing", "permission_missing"]
    );
    // Of a list they find hers, whoever narrows it.
    let listing = |permission: &str, items: &str, how: How| {
        let rule = rule_of(permission, &board, &policy);
        let item = Rule { resource: Some(items.parse().unwrap()), ..rule.clone() };
        let rule = Rule { narrow: Some(Box::new(Narrow { how, item })), ..rule };
        ask_by(&world, &anna, &rule, &board, &policy).0.map(|permit| permit.narrowed())
    };
    for how in [How::Query, How::Filter(shape())] {
        assert_eq!(listing("orders:read", "card", how.clone()), Ok(true));
        assert_eq!(listing("jobs:run", "card", how.clone()), Ok(false));
        for items in ["board", "note"] {
            assert_eq!(listing("orders:read", items, how.clone()), Err("permission_missing"), "{items}");
        }
    }
}

#[test]
fn what_somebody_may_do_with_what_they_made_they_do_not_hand_on() {
    let mut policy = policy();
    let mut own = PermissionSet::default();
    for name in ["users:manage", "orders:read", "orders:write", "mappings:read", "users:read", "jobs:run"] {
        own.add(&policy.catalogue.covered(&Pattern::parse(name).unwrap()));
    }
    let boards = ["board".parse().unwrap()].into();
    let maker = policy.resources.roles.get_mut(&role("narrow")).unwrap();
    (maker.own, maker.of) = (own, boards);
    let mut world = world(&policy);
    let (clara, crm) = (member("acme", "clara", &[]), program("crm"));
    let deed =
        Deed::Push { parent: None, creator: Some(clara.id.clone()), assignees: Vec::new(), public: false };
    for command in [of(&named("board", "b1"), deed), join("board", "b1", &clara.id, "narrow")] {
        world.run(&command, Actor::Subject(&crm), 1_002, &policy).unwrap();
    }
    // She manages the members of the board that she made; whom she gave more would do with others' cards what she may not.
    let (dora, eve) = (person("tenants", "dora"), person("tenants", "eve"));
    world.run(&join("board", "b1", &dora, "hand"), Actor::Subject(&crm), 1_003, &policy).unwrap();
    for name in ["hand", "narrow"] {
        let command = join("board", "b1", &eve, name);
        let refused = world.dry(&command, Actor::Subject(&clara), 1_004, &policy).unwrap_err();
        assert_eq!(refused.code(), "beyond_grantor", "{name}");
    }
    world.run(&leave("board", "b1", &dora), Actor::Subject(&clara), 1_004, &policy).unwrap();
}

#[test]
fn nothing_is_looked_up_for_what_a_role_in_the_tenant_gives_or_where_there_are_no_types() {
    let policy = policy();
    let world = world(&policy);
    let path = at_path("card", "c1", &[("board", "b1")], false);
    let reader = member("acme", "rita", &["reader"]);
    assert_eq!(ask(&world, &reader, "orders:read", &path, &policy), ("member_role", vec![]));
    let plain = Plain::new(true).compile();
    assert_eq!(ask(&world, &reader, "users:manage", &path, &plain), ("permission_missing", vec![]));
}

#[test]
fn a_decision_by_a_row_looks_at_the_chain_the_tenant_and_the_row() {
    let policy = policy();
    let mut world = world(&policy);
    let clara = member("acme", "clara", &[]);
    world
        .run(&join("board", "b1", &clara.id, "hand"), Actor::Subject(&program("crm")), 1_002, &policy)
        .unwrap();
    let path = at_path("card", "c1", &[("board", "b1")], false);
    let (code, mut asked) = ask(&world, &clara, "orders:read", &path, &policy);
    asked.sort();
    let mut expected = vec![
        Key::Tenant(tid("acme")),
        Key::Resource(tid("acme"), named("board", "b1")),
        Key::Resource(tid("acme"), named("card", "c1")),
        Key::Joined(tid("acme"), named("card", "c1"), clara.id.clone()),
        Key::Joined(tid("acme"), named("board", "b1"), clara.id.clone()),
    ];
    expected.sort();
    assert_eq!((code, asked), ("member_role", expected));
}

#[test]
fn the_last_holder_of_a_role_that_stays_is_taken_by_a_service_alone() {
    let policy = policy();
    let mut world = world(&policy);
    let (clara, dora, crm) = (member("acme", "clara", &[]), member("acme", "dora", &[]), program("crm"));
    let last = Refusal::LastOfRole(role("lead"));
    world.run(&join("board", "b1", &clara.id, "lead"), Actor::Subject(&crm), 1_002, &policy).unwrap();
    let mut by = |command: &Command, who: &Subject| {
        world.run(command, Actor::Subject(who), 1_003, &policy).map(|_| ())
    };
    assert_eq!(by(&leave("board", "b1", &clara.id), &clara), Err(last.clone()));
    assert_eq!(by(&join("board", "b1", &clara.id, "hand"), &clara), Err(last.clone()));
    assert_eq!(by(&join("board", "b1", &dora.id, "lead"), &clara), Ok(()));
    assert_eq!(by(&leave("board", "b1", &clara.id), &dora), Ok(()));
    // Repeated, nothing changes; the other is the last one now.
    assert_eq!(by(&leave("board", "b1", &clara.id), &dora), Ok(()));
    assert_eq!(by(&leave("board", "b1", &dora.id), &dora), Err(last));
    assert_eq!(by(&leave("board", "b1", &dora.id), &crm), Ok(()));
}

#[test]
fn of_two_commands_at_once_the_second_is_decided_on_what_the_first_did() {
    let policy = policy();
    let mut world = world(&policy);
    let (clara, dora, crm) = (member("acme", "clara", &[]), member("acme", "dora", &[]), program("crm"));
    for who in [&clara, &dora] {
        world.run(&join("board", "b1", &who.id, "lead"), Actor::Subject(&crm), 1_002, &policy).unwrap();
    }
    // Both read, and write, what both would change: a store takes only one of them.
    let tally = Key::Tally(tid("acme"), named("board", "b1"));
    for who in [&clara, &dora] {
        let change = world.dry(&leave("board", "b1", &who.id), Actor::Subject(who), 1_003, &policy).unwrap();
        assert!(change.documents.iter().any(|(key, _)| *key == tally));
    }
    world.run(&leave("board", "b1", &clara.id), Actor::Subject(&clara), 1_003, &policy).unwrap();
    let second = world.dry(&leave("board", "b1", &dora.id), Actor::Subject(&dora), 1_003, &policy);
    assert_eq!(second, Err(Refusal::LastOfRole(role("lead"))));
}

#[test]
fn each_refusal_of_resources_has_its_cause() {
    let policy = policy();
    let mut world = world(&policy);
    let (clara, dora, crm) = (member("acme", "clara", &[]), member("acme", "dora", &[]), program("crm"));
    for (who, name) in [(&clara, "lead"), (&dora, "hand")] {
        world.run(&join("board", "b1", &who.id, name), Actor::Subject(&crm), 1_002, &policy).unwrap();
    }
    world.run(&row(&person("rows", "wanda"), &["warden"]), Actor::Subject(&crm), 1_002, &policy).unwrap();
    let code = |command: &Command, who: &Subject| {
        world.dry(command, Actor::Subject(who), 1_003, &policy).unwrap_err().code()
    };
    let acting = Subject { acting: true, ..clara.clone() };
    let nobody = person("nowhere", "x");
    let eve = person("tenants", "eve");
    for (command, who, expected) in [
        (push("shelf", "s1", None), &crm, "resource_type_unknown"),
        (push("board", "b3", Some("b1")), &crm, "parent_unfit"),
        (push("board", "b3", None), &clara, "not_allowed"),
        (push("board", "b3", None), &program("narrow"), "not_allowed"),
        (of(&named("board", "b9"), Deed::Remove), &crm, "not_found"),
        (join("board", "b1", &eve, "reader"), &crm, "role_not_here"),
        (join("board", "b1", &eve, "watcher"), &crm, "role_not_here"),
        (join("board", "b9", &eve, "hand"), &crm, "not_found"),
        (join("board", "b1", &nobody, "hand"), &crm, "issuer_unknown"),
        (join("board", "b1", &person("rows", "nobody"), "hand"), &crm, "not_member"),
        (join("board", "b1", &person("rows", "wanda"), "hand"), &crm, "kept_apart"),
        (join("board", "b1", &eve, "hand"), &dora, "not_allowed"),
        (join("board", "b9", &eve, "hand"), &clara, "not_allowed"),
        (join("board", "b1", &eve, "hand"), &acting, "acting"),
        (join("board", "b1", &eve, "hand"), &staff("anna"), "not_allowed"),
        (join("board", "b1", &eve, "hand"), &member("beta", "clara", &["administrator"]), "not_allowed"),
        (leave("board", "b1", &eve), &clara, "not_found"),
        (leave("board", "b1", &clara.id), &dora, "not_allowed"),
        (leave("board", "b1", &clara.id), &clara, "last_of_role"),
    ] {
        assert_eq!(code(&command, who), expected, "{command:?}");
    }
    let many: Vec<SubjectRef> = (0..90).map(|n| person("tenants", &format!("{n:0>80}"))).collect();
    let deed = Deed::Push { parent: None, creator: None, assignees: many, public: false };
    assert_eq!(code(&of(&named("board", "b1"), deed), &crm), "too_many_assignees");
    // Nobody hands on what they cannot do there: who manages members only gives no lead.
    let manager = member("acme", "max", &["clerk"]);
    assert_eq!(code(&join("board", "b1", &eve, "lead"), &manager), "beyond_grantor");
    assert_eq!(code(&join("board", "b1", &eve, "hand"), &manager), "beyond_grantor");
    let stale = Command::Resource {
        tenant: tid("acme"),
        resource: named("board", "b1"),
        deed: Deed::Join { member: dora.id.clone(), role: role("lead") },
        expected: Some(postern::model::Version::NONE),
    };
    assert_eq!(code(&stale, &clara), "changed");
    // A token that is for one environment of several adds nobody.
    let confined = Subject { environment: Some(eid("sandbox")), ..clara.clone() };
    assert_eq!(code(&join("board", "b1", &eve, "hand"), &confined), "environment_foreign");
}

/// Where a card lies, who made it, to whom it is assigned.
type Card = (Option<String>, Option<String>, Option<String>);

/// The same of everything, by listing and deleting.
#[derive(Debug, Default)]
struct Naive {
    boards: BTreeSet<String>,
    cards: BTreeMap<String, Card>,
    rows: BTreeMap<(String, String, String), String>,
    /// Who is invited where, to which role, by which member if by one.
    invited: BTreeMap<(String, String, String), (String, Option<String>)>,
    /// Of those whose roles stand in rows: whether they are there, and as a warden.
    people: BTreeMap<String, bool>,
    removed: BTreeSet<String>,
}

impl Naive {
    fn forget_place(&mut self, kind: &str, id: &str) {
        self.rows.retain(|(k, i, _), _| (k.as_str(), i.as_str()) != (kind, id));
        self.invited.retain(|(k, i, _), _| (k.as_str(), i.as_str()) != (kind, id));
    }

    fn forget_person(&mut self, who: &str) {
        self.rows.retain(|(_, _, p), _| p != who);
        self.invited.retain(|(_, _, p), _| p != who);
    }

    /// Whether somebody may join by themselves in this role: invited to that, by a service, or by one who is a lead there now.
    fn may_accept(&self, key: &(String, String, String), name: &str) -> bool {
        let lead = |who: &String| {
            let at = (key.0.clone(), key.1.clone(), who.clone());
            self.rows.get(&at).is_some_and(|role| role == "lead")
        };
        let place =
            if key.0 == "board" { self.boards.contains(&key.1) } else { self.cards.contains_key(&key.1) };
        let stands = |(role, by): &(String, Option<String>)| role == name && by.as_ref().is_none_or(lead);
        place && self.people.get(&key.2) == Some(&false) && self.invited.get(key).is_some_and(stands)
    }

    fn gives(&self, kind: &str, id: &str, who: &str, permission: &str, card: Option<&str>) -> bool {
        let Some(name) = self.rows.get(&(kind.to_owned(), id.to_owned(), who.to_owned())) else {
            return false;
        };
        let (_, (_, always, own, assigned), _) = ROLES.iter().find(|(one, ..)| one == name).unwrap();
        let of = card.and_then(|card| self.cards.get(card));
        always.contains(&permission)
            || (own.contains(&permission) && of.is_some_and(|of| of.1.as_deref() == Some(who)))
            || (assigned.contains(&permission) && of.is_some_and(|of| of.2.as_deref() == Some(who)))
    }

    /// What somebody may do with a card that the path names on a board.
    fn may(&self, who: &str, permission: &str, card: &str, board: &str, checked: bool) -> bool {
        match self.people.get(who) {
            None => return false,
            // What wardens may do in the tenant, and nothing else.
            Some(true) => return permission == "orders:read",
            Some(false) if self.removed.contains(card) => return false,
            Some(false) => {}
        }
        let known = self.cards.get(card);
        let lies = match known.and_then(|card| card.0.as_deref()) {
            Some(known) if known != board => return false,
            Some(known) => Some(known),
            None => checked.then_some(board),
        };
        if lies.is_some_and(|board| self.removed.contains(&format!("board {board}"))) {
            return false;
        }
        let there = known.is_some() && self.gives("card", card, who, permission, Some(card));
        let above = lies.is_some_and(|board| {
            self.boards.contains(board) && self.gives("board", board, who, permission, Some(card))
        });
        there || above
    }
}

const BOARDS: [&str; 2] = ["b1", "b2"];
const CARDS: [&str; 3] = ["c1", "c2", "c3"];
const PEOPLE: [&str; 3] = ["paul", "quin", "ruth"];
const ASKED: [&str; 5] = ["orders:read", "orders:write", "jobs:run", "users:manage", "mappings:read"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn histories_come_to_what_listing_and_deleting_comes_to(
        steps in proptest::collection::vec((0..13usize, 0..2usize, 0..3usize, 0..3usize, 0..4usize, 0..3usize), 1..40)
    ) {
        let policy = policy();
        let mut world = World::default();
        let mut naive = Naive::default();
        let register = Command::RegisterTenant {
            tenant: tid("acme"),
            parent: None,
            zone: postern::model::Zone::UTC,
            environments: vec![eid("production")],
        };
        world.run(&register, Actor::Configuration, 1_000, &policy).unwrap();
        let crm = program("crm");
        let who = |number: usize| person("rows", PEOPLE[number]);
        for (now, (what, board, card, one, name, other)) in (1_002..).zip(steps) {
            let (board, card) = (BOARDS[board], CARDS[card]);
            let name = ROLES[name].0;
            let (kind, id) = if name == "watcher" { ("card", card) } else { ("board", board) };
            let manager = rower("acme", PEOPLE[other]);
            let key = (kind.to_owned(), id.to_owned(), PEOPLE[one].to_owned());
            let mut run = |command: &Command, by: &Subject| world.run(command, Actor::Subject(by), now, &policy).map(|_| ());
            match what {
                0 => {
                    run(&push("board", board, None), &crm).unwrap();
                    naive.boards.insert(board.into());
                    naive.removed.remove(&format!("board {board}"));
                }
                1 => {
                    let parent = (other < 2).then(|| BOARDS[other]);
                    let (creator, assignee) = ((one > 0).then(|| who(one)), (one < 2).then(|| who(one)));
                    let deed = Deed::Push {
                        parent: parent.map(|id| ResourceId::new(id).unwrap()),
                        creator: creator.clone(),
                        assignees: assignee.iter().cloned().collect(),
                        public: one == 0,
                    };
                    run(&of(&named("card", card), deed), &crm).unwrap();
                    naive.removed.remove(card);
                    let name = |who: SubjectRef| who.sub.to_string();
                    naive.cards.insert(card.into(), (parent.map(str::to_owned), creator.map(name), assignee.map(name)));
                }
                2 => {
                    let gone = run(&of(&named("board", board), Deed::Remove), &crm).is_ok();
                    prop_assert_eq!(gone, naive.boards.contains(board) || naive.removed.contains(&format!("board {board}")));
                    if naive.boards.remove(board) {
                        naive.removed.insert(format!("board {board}"));
                        naive.forget_place("board", board);
                    }
                }
                3 => {
                    let gone = run(&of(&named("card", card), Deed::Remove), &crm).is_ok();
                    prop_assert_eq!(gone, naive.cards.contains_key(card) || naive.removed.contains(card));
                    if naive.cards.remove(card).is_some() {
                        naive.removed.insert(card.into());
                        naive.forget_place("card", card);
                    }
                }
                4 => {
                    let warden = other == 0;
                    run(&row(&who(one), if warden { &["warden"] } else { &[] }), &crm).unwrap();
                    naive.people.insert(PEOPLE[one].into(), warden);
                    if warden {
                        naive.forget_person(PEOPLE[one]);
                    }
                }
                5 if other == 0 => {
                    let command = Command::RemoveMember { tenant: tid("acme"), member: who(one), expected: None };
                    let _ = run(&command, &crm);
                    naive.people.remove(PEOPLE[one]);
                    naive.forget_person(PEOPLE[one]);
                }
                5 | 6 => {
                    let by = if other < 2 { crm.clone() } else { manager.clone() };
                    let result = run(&join(kind, id, &who(one), name), &by);
                    let place = if kind == "board" { naive.boards.contains(id) } else { naive.cards.contains_key(id) };
                    let possible = place && naive.people.get(PEOPLE[one]) == Some(&false);
                    prop_assert!(possible || result.is_err());
                    if by.id == crm.id {
                        prop_assert_eq!(result.is_ok(), possible);
                    }
                    if result.is_ok() {
                        naive.invited.remove(&key);
                        naive.rows.insert(key, name.into());
                    }
                }
                7 | 8 => {
                    let by = if other < 2 { crm.clone() } else { manager.clone() };
                    let place = if kind == "board" { naive.boards.contains(id) } else { naive.cards.contains_key(id) };
                    let possible =
                        place && naive.people.get(PEOPLE[one]) == Some(&false) && !naive.rows.contains_key(&key);
                    let result = run(&invite(kind, id, &who(one), name), &by);
                    prop_assert!(possible || result.is_err());
                    if by.id == crm.id {
                        prop_assert_eq!(result.is_ok(), possible);
                    }
                    if result.is_ok() {
                        let by = (by.id != crm.id).then(|| PEOPLE[other].to_owned());
                        // Said again, what stands is left as it is: whoever gave it first gives it.
                        let stands = naive.may_accept(&key, name);
                        if !stands || naive.invited.get(&key).is_none_or(|(role, _)| role != name) {
                            naive.invited.insert(key, (name.into(), by));
                        }
                    }
                }
                9 | 10 => {
                    let (by, open) = (rower("acme", PEOPLE[one]), naive.may_accept(&key, name));
                    let leads = naive.rows.get(&key).is_some_and(|role| role == "lead");
                    let result = run(&join(kind, id, &who(one), name), &by);
                    prop_assert!(!open || result == Ok(()), "{:?}", result);
                    prop_assert!(open || leads || result.is_err());
                    if result.is_ok() {
                        naive.invited.remove(&key);
                        naive.rows.insert(key, name.into());
                    }
                }
                _ => {
                    let by = if other < 1 { crm.clone() } else { manager.clone() };
                    let lead = |naive: &Naive| naive.rows.iter().filter(|((k, i, _), name)| (k.as_str(), i.as_str(), name.as_str()) == (kind, id, "lead")).count();
                    let was = naive.rows.get(&key).cloned();
                    let result = run(&leave(kind, id, &who(one)), &by);
                    if result == Err(Refusal::LastOfRole(role("lead"))) {
                        prop_assert!(was.is_none() || lead(&naive) <= 1);
                    }
                    if by.id == crm.id && was.is_some() {
                        prop_assert_eq!(&result, &Ok(()));
                    }
                    if result.is_ok() {
                        naive.rows.remove(&key);
                        naive.invited.remove(&key);
                    }
                }
            }
            for subject in PEOPLE.map(|name| rower("acme", name)) {
                for (card, board) in CARDS.into_iter().flat_map(|card| BOARDS.map(|board| (card, board))) {
                    for (permission, checked) in ASKED.into_iter().flat_map(|one| [(one, false), (one, true)]) {
                        let path = at_path("card", card, &[("board", board)], checked);
                        let real = may(&world, &subject, permission, &path, &policy);
                        let expected = naive.may(&subject.id.sub, permission, card, board, checked);
                        prop_assert_eq!(real, expected, "{} {} {} on {}, {}", subject.id, permission, card, board, checked);
                    }
                }
            }
            counts_hold(&world, &naive, &policy)?;
        }
    }
}

/// Each count is at least what there is, and exactly that where nobody left all resources at once.
fn counts_hold(world: &World, naive: &Naive, policy: &Policy) -> Result<(), TestCaseError> {
    for board in BOARDS.into_iter().filter(|board| naive.boards.contains(*board)) {
        let life = match world.document(&Key::Resource(tid("acme"), named("board", board)), policy) {
            Some(Document::Resource(resource)) => resource.life,
            _ => panic!("{board} is there"),
        };
        let tally = match world.document(&Key::Tally(tid("acme"), named("board", board)), policy) {
            Some(Document::Tally(tally)) if tally.life == life => tally,
            _ => Tally { life, ..Tally::default() },
        };
        let mut rows: BTreeMap<RoleName, u64> = BTreeMap::new();
        for key in world.docs.keys() {
            let Key::Joined(_, of, _) = key else { continue };
            let Some(Document::Joined(row)) = world.document(key, policy) else { continue };
            if *of == named("board", board) && row.is_counted(life) {
                *rows.entry(row.role).or_default() += 1;
            }
        }
        prop_assert_eq!(&tally.roles, &rows);
        let real = naive
            .rows
            .keys()
            .filter(|(kind, id, _)| (kind.as_str(), id.as_str()) == ("board", board))
            .count();
        prop_assert!(tally.members() >= real as u64);
    }
    Ok(())
}

// CEL-08
#[test]
fn a_grant_reaches_where_a_row_lets_whoever_gave_it() {
    let policy = policy();
    let mut world = world(&policy);
    let (crm, anna, greta) = (program("crm"), staff("anna"), rower("acme", "greta"));
    for command in
        [push("board", "b2", None), push("card", "c2", Some("b2")), row(&greta.id, &["administrator"])]
    {
        world.run(&command, Actor::Subject(&crm), 1_002, &policy).unwrap();
    }
    let grant = Command::MakeGrant {
        tenant: tid("acme"),
        grant: gid("g1"),
        environment: eid("production"),
        to: Grantee::Support,
        role: role("reader"),
        scope: Scope::Everything,
        until: Until::At(at(20_000)),
    };
    world.run(&grant, Actor::Subject(&greta), 1_003, &policy).unwrap();
    let start = Command::StartSession {
        tenant: tid("acme"),
        session: sid("s1"),
        environment: eid("production"),
        basis: WantedBasis::Grant(gid("g1")),
        reason: "a card is stuck".into(),
        ticket: None,
        lasts: None,
    };
    world.run(&start, Actor::Subject(&anna), 1_004, &policy).unwrap();
    let on = |world: &World, card: &str, board: &'static str| {
        let path = at_path("card", card, &[("board", board)], false);
        ask(world, &anna, "orders:read", &path, &policy).0
    };
    assert_eq!([on(&world, "c1", "b1"), on(&world, "c2", "b2")], ["session_by_grant"; 2]);
    world.run(&row(&greta.id, &[]), Actor::Subject(&crm), 1_005, &policy).unwrap();
    assert_eq!([on(&world, "c1", "b1"), on(&world, "c2", "b2")], ["grantor_lacks"; 2]);
    // What a row of hers gives she lends, there and nowhere else, and as long as it is there.
    world.run(&join("board", "b1", &greta.id, "hand"), Actor::Subject(&crm), 1_006, &policy).unwrap();
    assert_eq!([on(&world, "c1", "b1"), on(&world, "c2", "b2")], ["session_by_grant", "grantor_lacks"]);
    assert_eq!(on(&world, "c1", "b2"), "grantor_lacks");
    world.run(&leave("board", "b1", &greta.id), Actor::Subject(&crm), 1_007, &policy).unwrap();
    assert_eq!(on(&world, "c1", "b1"), "grantor_lacks");
}

#[test]
fn whoever_acts_as_a_person_can_do_at_a_resource_what_that_persons_row_lets_them() {
    let policy = policy();
    let mut world = world(&policy);
    let (crm, anna, clara) = (program("crm"), staff("anna"), member("acme", "clara", &[]));
    for command in
        [push("board", "b2", None), push("card", "c2", Some("b2")), join("board", "b1", &clara.id, "hand")]
    {
        world.run(&command, Actor::Subject(&crm), 1_002, &policy).unwrap();
    }
    let lend = Command::AllowLogin {
        tenant: tid("acme"),
        grant: gid("g1"),
        environment: eid("production"),
        organisation: desk("help"),
        lasts: postern::model::Span::Millis(LENT_MS[1]),
        ticket: None,
    };
    world.run(&lend, Actor::Subject(&clara), 1_003, &policy).unwrap();
    let start = Command::StartSession {
        tenant: tid("acme"),
        session: sid("s1"),
        environment: eid("production"),
        basis: WantedBasis::ActAs(gid("g1")),
        reason: "a card is stuck".into(),
        ticket: None,
        lasts: None,
    };
    world.run(&start, Actor::Subject(&anna), 1_004, &policy).unwrap();
    let code = |world: &World, permission: &str, card: &str, board: &'static str| {
        ask(world, &anna, permission, &at_path("card", card, &[("board", board)], false), &policy).0
    };
    let (acts, lacks) = ("session_by_act_as", "permission_missing");
    let told = |world: &World| {
        [
            code(world, "orders:read", "c1", "b1"),
            code(world, "orders:write", "c1", "b1"),
            code(world, "users:manage", "c1", "b1"),
            code(world, "orders:read", "c2", "b2"),
            code(world, "orders:read", "c1", "b2"),
        ]
    };
    assert_eq!(told(&world), [acts, lacks, "ceiling", lacks, lacks]);
    // What the person gains they lend at once, but for the ceiling; and what they lose is lost at once.
    world.run(&join("board", "b1", &clara.id, "lead"), Actor::Subject(&crm), 1_005, &policy).unwrap();
    assert_eq!(told(&world), [acts, acts, "ceiling", lacks, lacks]);
    world.run(&leave("board", "b1", &clara.id), Actor::Subject(&crm), 1_006, &policy).unwrap();
    assert_eq!(told(&world), [lacks, lacks, "ceiling", lacks, lacks]);
    // Acting as somebody changes nothing about members.
    let deed = join("board", "b1", &anna.id, "hand");
    assert_eq!(world.dry(&deed, Actor::Subject(&anna), 1_007, &policy).unwrap_err().code(), "not_allowed");
}

// GW-14
#[test]
fn a_row_of_ones_own_or_of_ones_own_giving_opens_nothing_to_oneself_as_support() {
    let policy = policy();
    let mut world = world(&policy);
    let (crm, anna, ben) = (program("crm"), staff("anna"), staff("ben"));
    // Anna is an administrator there too, by the same address.
    let (own, clara) = (twin("acme"), member("acme", "clara", &[]));
    world.run(&join("board", "b1", &own.id, "hand"), Actor::Subject(&crm), 1_002, &policy).unwrap();
    world.run(&join("board", "b1", &clara.id, "hand"), Actor::Subject(&own), 1_002, &policy).unwrap();
    let start = |grant: &str, session: &str| Command::StartSession {
        tenant: tid("acme"),
        session: sid(session),
        environment: eid("production"),
        basis: WantedBasis::ActAs(gid(grant)),
        reason: "a card is stuck".into(),
        ticket: None,
        lasts: None,
    };
    for (giver, grant) in [(&own, "g1"), (&clara, "g2")] {
        let lend = Command::AllowLogin {
            tenant: tid("acme"),
            grant: gid(grant),
            environment: eid("production"),
            organisation: desk("help"),
            lasts: postern::model::Span::Millis(LENT_MS[1]),
            ticket: None,
        };
        world.run(&lend, Actor::Subject(giver), 1_003, &policy).unwrap();
    }
    // As herself in the tenant she does not act at all; as a colleague of hers she has nothing of what she gave them.
    let refused = world.dry(&start("g1", "s0"), Actor::Subject(&anna), 1_004, &policy).unwrap_err();
    assert_eq!(refused.code(), "self_granted");
    for (agent, session) in [(&anna, "s1"), (&ben, "s2")] {
        world.run(&start("g2", session), Actor::Subject(agent), 1_004, &policy).unwrap();
    }
    let path = at_path("card", "c1", &[("board", "b1")], false);
    let told = |world: &World| [&anna, &ben].map(|who| ask(world, who, "orders:read", &path, &policy).0);
    assert_eq!(told(&world), ["permission_missing", "session_by_act_as"]);
    // Nor is it hers to lend by way of a grant: a service's word is.
    world.run(&leave("board", "b1", &clara.id), Actor::Subject(&crm), 1_005, &policy).unwrap();
    world.run(&join("board", "b1", &clara.id, "hand"), Actor::Subject(&crm), 1_006, &policy).unwrap();
    assert_eq!(told(&world), ["session_by_act_as"; 2]);
}

// PFP-10
#[test]
fn a_role_that_needs_a_plan_is_handed_out_by_that_alone_and_a_lapse_widens_nothing() {
    let mut policy = policy();
    policy.resources.roles.get_mut(&role("narrow")).unwrap().plans = Some(["gold".parse().unwrap()].into());
    policy.resources.types.get_mut("board").unwrap().enter = [(role("reader"), role("hand"))].into();
    let mut world = world(&policy);
    let crm = program("crm");
    let (clara, dora) = (member("acme", "clara", &[]), member("acme", "dora", &["reader"]));
    world.run(&join("board", "b1", &clara.id, "lead"), Actor::Subject(&crm), 1_002, &policy).unwrap();
    let plan = |plan: Option<&str>| Command::PushTenant {
        tenant: tid("acme"),
        parent: None,
        zone: postern::model::Zone::UTC,
        environments: vec![eid("production")],
        plan: plan.map(|plan| plan.parse().unwrap()),
        seat_limit: None,
        expected: None,
    };
    let give = join("board", "b1", &dora.id, "narrow");
    let path = at_path("card", "c1", &[("board", "b1")], false);
    // Neither unknown nor another one: nobody gives it, a service as little as a lead, also to who has more.
    world.run(&join("board", "b1", &dora.id, "lead"), Actor::Subject(&crm), 1_002, &policy).unwrap();
    for other in [None, Some("iron")] {
        world.run(&plan(other), Actor::Subject(&crm), 1_003, &policy).unwrap();
        for by in [&crm, &clara] {
            let told = world.dry(&give, Actor::Subject(by), 1_003, &policy).unwrap_err();
            assert_eq!(told, Refusal::RoleNotInPlan(role("narrow")));
        }
    }
    world.run(&plan(Some("gold")), Actor::Subject(&crm), 1_004, &policy).unwrap();
    world.run(&give, Actor::Subject(&clara), 1_004, &policy).unwrap();
    let may_all = |world: &World| ASKED.map(|permission| may(world, &dora, permission, &path, &policy));
    let before = may_all(&world);
    // It lapses: they keep what they have, said again it is still so, and they do not get out of it by themselves.
    world.run(&plan(None), Actor::Subject(&crm), 1_005, &policy).unwrap();
    assert_eq!(may_all(&world), before);
    assert_eq!(world.dry(&give, Actor::Subject(&crm), 1_005, &policy), Ok(lifecycle::Change::NOTHING));
    let alone = join("board", "b1", &dora.id, "hand");
    let refused =
        |world: &World| world.dry(&alone, Actor::Subject(&dora), 1_006, &policy).unwrap_err().code();
    assert_eq!(refused(&world), "not_allowed");
    world.run(&leave("board", "b1", &dora.id), Actor::Subject(&dora), 1_006, &policy).unwrap();
    assert_eq!(refused(&world), "not_allowed");
    // Who never was in it joins; who had as much comes back; and a lead gives anybody what there is without a plan.
    let eve = member("acme", "eve", &["reader"]);
    for command in [
        join("board", "b1", &eve.id, "hand"),
        leave("board", "b1", &eve.id),
        join("board", "b1", &eve.id, "hand"),
    ] {
        world.run(&command, Actor::Subject(&eve), 1_007, &policy).unwrap();
    }
    world.run(&alone, Actor::Subject(&clara), 1_008, &policy).unwrap();
}
