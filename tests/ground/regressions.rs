//! Faults that were found once, each as a small story.

use std::sync::Arc;

use postern::{
    lifecycle::{Actor, Choice, Command, Event, Until, WantedBasis},
    model::{
        Consent, Document, EndCause, Grantee, Key, Ladder, Level, Raise, Scope, Span, Subject, Version, Zone,
    },
    policy::{Caller, Fact, Facts, Policy, Snapshot},
};

use crate::world::*;

/// `acme` at a level of its own, its child `beta` inheriting it, and `anna` inside `beta` by consent as `s1`.
fn family(policy: &Policy, parents_level: &str) -> World {
    let mut world = World::default();
    for (tenant, parent) in [("acme", None), ("beta", Some("acme"))] {
        let command = Command::RegisterTenant {
            tenant: tid(tenant),
            parent: parent.map(tid),
            zone: Zone::UTC,
            environments: vec![eid("production")],
        };
        world.run(&command, Actor::Configuration, 1, policy).unwrap();
    }
    set(&mut world, "acme", Choice::Level(level(parents_level)), 2, policy);
    set(&mut world, "beta", Choice::Inherit, 2, policy);
    let start = start("beta", "s1", WantedBasis::Consent);
    world.run(&start, Actor::Subject(&staff("anna")), 3, policy).unwrap();
    world
}

fn set(
    world: &mut World,
    tenant: &str,
    choice: Choice,
    now: i64,
    policy: &Policy,
) -> postern::lifecycle::Change {
    let command = Command::SetConsent { tenant: tid(tenant), choice, until: None, expected: None };
    world.run(&command, Actor::Subject(&admin(tenant)), now, policy).unwrap()
}

fn start(tenant: &str, session: &str, basis: WantedBasis) -> Command {
    Command::StartSession {
        tenant: tid(tenant),
        session: sid(session),
        environment: eid("production"),
        basis,
        reason: "an order is stuck".into(),
        ticket: None,
        lasts: None,
    }
}

fn allowed(world: &World, tenant: &str, session: &str, now: i64, policy: &Policy) -> bool {
    let request = Request::simple(tenant, "orders:read").inside(session);
    world.decide(&request, Caller::Known(&staff("anna")), now, policy).allowed()
}

#[test]
fn a_removal_does_not_wait_for_an_index_that_cannot_be_read() {
    let policy = Plain::new(true).compile();
    let mut world = family(&policy, "full");
    assert!(allowed(&world, "beta", "s1", 4, &policy));
    world.unavailable.insert(Key::Presence(tid("beta"), staff("anna").id));
    let command = Command::EndSession { tenant: tid("beta"), session: sid("s1") };
    let change = world.run(&command, Actor::Subject(&admin("beta")), 4, &policy).unwrap();
    assert!(change.narrows);
    assert!(matches!(&change.events[..], [Event::SessionEnded { cause: EndCause::Removed, .. }]));
    assert!(!allowed(&world, "beta", "s1", 4, &policy));
    let expire = Command::Expire { key: Key::Session(tid("beta"), sid("s1")) };
    assert_eq!(world.run(&expire, Actor::Clock, 90_000, &policy).unwrap().documents, []);
}

#[test]
fn a_session_that_a_fork_brings_up_behind_a_bar_is_over_and_stays_so_when_it_is_lifted() {
    let policy = Plain { bar: true, ..Plain::new(true) }.compile();
    let mut world = family(&policy, "full");
    let anna = staff("anna");
    // Another gateway let her in a second time, and nobody here knew.
    let key = Key::Session(tid("beta"), sid("s2"));
    let Some(Document::Session(known)) = world.document(&Key::Session(tid("beta"), sid("s1")), &policy)
    else {
        panic!("a session")
    };
    let remove = Command::EndSession { tenant: tid("beta"), session: sid("s1") };
    let change = world.run(&remove, Actor::Subject(&admin("beta")), 4, &policy).unwrap();
    assert!(change.narrows);
    world.put(key, Document::Session(known));
    assert!(!allowed(&world, "beta", "s2", 5, &policy));
    let lift = Command::LiftBar { tenant: tid("beta"), person: anna.id.clone() };
    assert!(!world.run(&lift, Actor::Subject(&admin("beta")), 6, &policy).unwrap().narrows);
    assert!(!allowed(&world, "beta", "s2", 7, &policy), "what was ended stays ended");
    assert_eq!(world.run(&lift, Actor::Subject(&admin("beta")), 8, &policy).unwrap().documents, []);
    // Where an index cannot be read, a removal still ends, and nobody enters.
    let mut broken = family(&policy, "full");
    broken.unavailable.insert(Key::Presence(tid("beta"), anna.id.clone()));
    let change = broken.run(&remove, Actor::Subject(&admin("beta")), 4, &policy).unwrap();
    assert!(matches!(&change.events[..], [Event::SessionEnded { cause: EndCause::Removed, .. }]));
    assert!(!allowed(&broken, "beta", "s1", 4, &policy));
}

// GW-17
#[test]
fn what_cannot_be_read_is_not_committed_against_as_absent() {
    let mut facts = Facts::new();
    facts.put(Key::Tenant(tid("acme")), Fact::Unavailable);
    facts.put(Key::Tenant(tid("beta")), Fact::Absent);
    let seen: Vec<_> = facts.versions().map(|(key, version)| (key.clone(), version)).collect();
    assert_eq!(seen, [(Key::Tenant(tid("beta")), Version::NONE)]);
}

#[test]
fn a_tenant_closes_itself_while_its_parent_cannot_be_read() {
    let policy = Plain::new(true).compile();
    for choice in [Choice::Level(level("block")), Choice::Level(level("read_only"))] {
        let mut world = family(&policy, "full");
        world.unavailable.insert(Key::Tenant(tid("acme")));
        let closes = choice == Choice::Level(level("block"));
        let change = set(&mut world, "beta", choice, 5, &policy);
        assert_eq!(change.narrows, closes, "only what leaves nothing open is sure to narrow");
        // Nobody could say what was in force, so what ran by it stays ended, whatever it was.
        world.unavailable.clear();
        assert!(!allowed(&world, "beta", "s1", 6, &policy));
        set(&mut world, "beta", Choice::Level(level("full")), 7, &policy);
        assert!(!allowed(&world, "beta", "s1", 8, &policy));
    }
    // To follow a parent that cannot be read is no narrowing, and is refused.
    let mut world = family(&policy, "full");
    set(&mut world, "beta", Choice::Level(level("full")), 5, &policy);
    world.unavailable.insert(Key::Tenant(tid("acme")));
    let command =
        Command::SetConsent { tenant: tid("beta"), choice: Choice::Inherit, until: None, expected: None };
    let refusal = world.run(&command, Actor::Subject(&admin("beta")), 6, &policy).unwrap_err();
    assert_eq!(refusal.code(), "state_unavailable");
}

#[test]
fn leaving_or_joining_the_parent_at_the_same_level_is_no_narrowing() {
    let policy = Plain::new(true).compile();
    let mut world = family(&policy, "read_only");
    assert!(!set(&mut world, "beta", Choice::Level(level("read_only")), 5, &policy).narrows);
    assert!(!set(&mut world, "beta", Choice::Inherit, 6, &policy).narrows);
    assert!(set(&mut world, "beta", Choice::Level(level("block")), 7, &policy).narrows);
    set(&mut world, "acme", Choice::Level(level("block")), 8, &policy);
    // Closed both ways, but now the parent can open it.
    assert!(!set(&mut world, "beta", Choice::Inherit, 9, &policy).narrows);
    assert!(set(&mut world, "beta", Choice::Level(level("block")), 10, &policy).narrows);
}

// GW-17
#[test]
fn a_document_of_another_kind_is_unreadable_and_not_absent() {
    let policy = Plain::new(true).compile();
    let world = family(&policy, "full");
    let (grant, tenant) = (Key::Grant(tid("acme"), gid("g1")), Key::Tenant(tid("acme")));
    let wrong = Fact::Found(Arc::new(Snapshot {
        version: Version { epoch: 0, number: 1 },
        document: world.document(&tenant, &policy).unwrap(),
    }));
    let mut facts = Facts::new();
    facts.put(grant, wrong);
    facts.put(tenant.clone(), world.fact(&tenant, &policy));
    facts.put(Key::Member(tid("acme"), admin("acme").id), Fact::Absent);
    let command = Command::MakeGrant {
        tenant: tid("acme"),
        grant: gid("g1"),
        environment: eid("production"),
        to: Grantee::Support,
        role: role("reader"),
        scope: Scope::Everything,
        until: Until::For(Span::Millis(5)),
    };
    let actor = admin("acme");
    let outcome = postern::lifecycle::apply(&command, &facts, Actor::Subject(&actor), at(9), &policy);
    assert!(matches!(
        outcome,
        postern::lifecycle::Outcome::Refused(refusal) if refusal.code() == "state_unavailable"
    ));
}

#[test]
fn a_choice_that_says_nothing_stays_closed_beside_any_other() {
    let ladder = Ladder::new(
        LEVELS.into_iter().map(|name| Level { name: level(name), role: Some(role("reader")) }).collect(),
    );
    let nothing = Consent::nothing();
    for other in [Consent::own(level("full")), Consent::inherited(), nothing.clone()] {
        assert_eq!(nothing.meet(&other, &ladder), nothing);
        assert_eq!(other.meet(&nothing, &ladder), nothing);
    }
}

#[test]
fn a_session_by_consent_that_was_closed_stays_closed_when_the_level_rises() {
    let policy = Plain::new(true).compile();
    // At the tenant, at its parent, and by leaving a parent that closed.
    for way in 0..3 {
        let mut world = family(&policy, "full");
        match way {
            0 => {
                set(&mut world, "beta", Choice::Level(level("block")), 5, &policy);
                set(&mut world, "beta", Choice::Inherit, 6, &policy);
            }
            1 => {
                set(&mut world, "acme", Choice::Level(level("block")), 5, &policy);
                set(&mut world, "acme", Choice::Level(level("full")), 6, &policy);
            }
            _ => {
                set(&mut world, "acme", Choice::Level(level("block")), 5, &policy);
                set(&mut world, "beta", Choice::Level(level("full")), 6, &policy);
            }
        }
        assert!(!allowed(&world, "beta", "s1", 7, &policy), "{way}");
        world
            .run(&start("beta", "s2", WantedBasis::Consent), Actor::Subject(&staff("anna")), 8, &policy)
            .unwrap();
        assert!(allowed(&world, "beta", "s2", 8, &policy), "{way}");
    }
}

#[test]
fn a_chain_of_64_parents_counts_and_one_more_is_closed() {
    let policy = Plain::new(true).compile();
    let mut world = World::default();
    let mut parent = None;
    for n in 0..=65 {
        let tenant = tid(&format!("t{n}"));
        let command = Command::RegisterTenant {
            tenant: tenant.clone(),
            parent: parent.replace(tenant),
            zone: Zone::UTC,
            environments: vec![eid("production")],
        };
        world.run(&command, Actor::Configuration, 1, &policy).unwrap();
        let choice = if n == 0 { Choice::Level(level("full")) } else { Choice::Inherit };
        set(&mut world, &format!("t{n}"), choice, 2, &policy);
    }
    let anna = staff("anna");
    world.run(&start("t64", "s1", WantedBasis::Consent), Actor::Subject(&anna), 3, &policy).unwrap();
    assert!(allowed(&world, "t64", "s1", 4, &policy));
    let refusal = world.run(&start("t65", "s2", WantedBasis::Consent), Actor::Subject(&anna), 3, &policy);
    assert_eq!(refusal.unwrap_err().code(), "consent_closes");
    // A look at the root is what the deepest decision takes; everything else of the chain, too.
    let request = Request::simple("t64", "orders:read").inside("s1");
    assert_eq!(world.decide(&request, Caller::Known(&anna), 4, &policy).rounds, 68);
    match world.document(&Key::Tenant(tid("t0")), &policy) {
        Some(Document::Tenant(root)) => assert!(!root.consent.inherit),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fall_and_a_rise_in_one_millisecond_end_what_ran_and_what_starts_after_a_rise_is_new() {
    let policy = Plain::new(true).compile();
    let mut world = family(&policy, "full");
    for to in ["block", "full"] {
        set(&mut world, "acme", Choice::Level(level(to)), 3, &policy);
    }
    assert!(!allowed(&world, "beta", "s1", 3, &policy));
    set(&mut world, "acme", Choice::Level(level("block")), 8, &policy);
    set(&mut world, "acme", Choice::Level(level("full")), 9, &policy);
    let start = start("beta", "s2", WantedBasis::Consent);
    world.run(&start, Actor::Subject(&staff("anna")), 9, &policy).unwrap();
    assert!(allowed(&world, "beta", "s2", 9, &policy));
}

#[test]
fn a_session_by_a_grant_to_an_address_falls_when_the_grant_is_not_bound_to_its_agent() {
    let policy = Plain::new(true).compile();
    let mut world = family(&policy, "full");
    let make = Command::MakeGrant {
        tenant: tid("beta"),
        grant: gid("g1"),
        environment: eid("production"),
        to: Grantee::Email("anna@vendor.example".into()),
        role: role("reader"),
        scope: Scope::Everything,
        until: Until::For(Span::Millis(5_000)),
    };
    world.run(&make, Actor::Subject(&admin("beta")), 4, &policy).unwrap();
    let by_grant = start("beta", "s2", WantedBasis::Grant(gid("g1")));
    world.run(&by_grant, Actor::Subject(&staff("anna")), 5, &policy).unwrap();
    assert!(allowed(&world, "beta", "s2", 6, &policy));
    for bound in [None, Some(staff("cleo").id)] {
        let key = Key::Grant(tid("beta"), gid("g1"));
        let Some(Document::Grant(mut grant)) = world.document(&key, &policy) else { panic!() };
        grant.bound = bound;
        world.put(key, Document::Grant(grant));
        assert!(!allowed(&world, "beta", "s2", 6, &policy), "rule 1: bound once, to one subject");
    }
}

#[test]
fn a_token_by_which_somebody_acts_as_an_agent_enters_no_session() {
    let plain = Plain::new(true);
    let policy = plain.compile();
    let world = family(&policy, "full");
    let acting = Subject { acting: true, ..staff("anna") };
    let request = Request::simple("beta", "orders:read").inside("s1");
    assert!(world.decide(&request, Caller::Known(&staff("anna")), 4, &policy).allowed());
    let decided = world.decide(&request, Caller::Known(&acting), 4, &policy);
    assert_eq!(decided.code(), "acting");
}

fn raise(tenant: &str, to: &str, until: i64) -> Command {
    let choice = Choice::Level(level(to));
    Command::SetConsent { tenant: tid(tenant), choice, until: Some(Until::At(at(until))), expected: None }
}

// GW-15
#[test]
fn a_raised_level_stands_by_itself_where_the_parent_cannot_be_read() {
    let policy = Plain::new(true).compile();
    let mut world = family(&policy, "read_only");
    world.run(&raise("beta", "full", 1_000), Actor::Subject(&admin("beta")), 4, &policy).unwrap();
    world.unavailable.insert(Key::Tenant(tid("acme")));
    assert!(allowed(&world, "beta", "s1", 999, &policy));
    assert!(!allowed(&world, "beta", "s1", 1_000, &policy), "and nothing does when it is over");
    // The end is written down all the same, as what could be known of it.
    let expire = Command::Expire { key: Key::Tenant(tid("beta")) };
    let change = world.run(&expire, Actor::Clock, 2_000, &policy).unwrap();
    let fell = Event::ConsentFell { from: level("full"), to: level("block"), at: at(1_000) };
    assert_eq!(change.events, [fell]);
    assert!(change.narrows);
}

// GW-15
#[test]
fn of_a_raise_and_a_parent_the_higher_is_in_force_so_that_its_end_only_takes_away() {
    let policy = Plain::new(true).compile();
    let mut world = family(&policy, "read_only");
    world.run(&raise("beta", "limited_edit", 1_000), Actor::Subject(&admin("beta")), 4, &policy).unwrap();
    set(&mut world, "acme", Choice::Level(level("full")), 5, &policy);
    world.run(&start("beta", "s2", WantedBasis::Consent), Actor::Subject(&staff("ben")), 6, &policy).unwrap();
    let writes = |now| {
        let request = Request::simple("beta", "orders:write").inside("s2");
        world.decide(&request, Caller::Known(&staff("ben")), now, &policy).allowed()
    };
    assert!(writes(999) && writes(1_000), "the parent's level covers it before and after");
}

// GW-15
#[test]
fn a_document_of_before_raises_is_read_and_written_as_it_was() {
    let text = r#"{"parent":"acme","zone":"UTC","environments":["production"],"consent":{"inherit":false,"cap":"full"}}"#;
    let tenant: postern::model::Tenant = serde_json::from_str(text).unwrap();
    assert_eq!(tenant.consent, Consent::own(level("full")));
    assert_eq!(serde_json::to_string(&tenant).unwrap(), text);
    assert_eq!(Document::Tenant(tenant.clone()).due(), None);
    let consent = Consent {
        raised: Some(Raise { level: level("full"), until: at(7), by: Default::default() }),
        ..tenant.consent
    };
    assert_eq!(Document::Tenant(postern::model::Tenant { consent, ..tenant }).due(), Some(at(7)));
}

// GW-14
#[test]
fn whoever_gives_what_a_session_runs_by_is_cut_from_it_and_others_are_not() {
    let policy = Plain::new(true).compile();
    let mut world = family(&policy, "full");
    world.run(&start("beta", "s2", WantedBasis::Consent), Actor::Subject(&staff("ben")), 3, &policy).unwrap();
    let code = |world: &World, session: &str, who: &str, now| {
        let request = Request::simple("beta", "orders:read").inside(session);
        world.decide(&request, Caller::Known(&staff(who)), now, &policy).code()
    };
    assert_eq!(code(&world, "s1", "anna", 4), "session_by_consent");
    // Further up the chain, by an identity that shares nothing but the address.
    let command = Command::SetConsent {
        tenant: tid("acme"),
        choice: Choice::Level(level("limited_edit")),
        until: None,
        expected: None,
    };
    world.run(&command, Actor::Subject(&twin("acme")), 5, &policy).unwrap();
    assert_eq!(code(&world, "s1", "anna", 6), "self_granted");
    assert_eq!(code(&world, "s2", "ben", 6), "session_by_consent");
    set(&mut world, "acme", Choice::Level(level("full")), 7, &policy);
    assert_eq!(code(&world, "s1", "anna", 8), "session_by_consent", "somebody else gives it now");
    // A raise counts while it runs, and no longer.
    let herself = member("beta", "anna", &["administrator"]);
    set(&mut world, "acme", Choice::Level(level("read_only")), 9, &policy);
    world.run(&raise("beta", "full", 100), Actor::Subject(&herself), 10, &policy).unwrap();
    assert_eq!(code(&world, "s1", "anna", 99), "self_granted");
    assert_eq!(code(&world, "s1", "anna", 100), "session_by_consent");
}

// GW-14
#[test]
fn a_session_remembers_who_gave_what_it_began_on_where_lowering_waits() {
    let policy = Plain::new(false).compile();
    let mut world = family(&policy, "read_only");
    let (twin, nameless) = (twin("acme"), Subject { email: None, ..staff("anna") });
    let command = Command::SetConsent {
        tenant: tid("acme"),
        choice: Choice::Level(level("full")),
        until: None,
        expected: None,
    };
    world.run(&command, Actor::Subject(&twin), 4, &policy).unwrap();
    // Her token does not say her address when she enters, and says it later.
    world.run(&start("beta", "s2", WantedBasis::Consent), Actor::Subject(&nameless), 5, &policy).unwrap();
    set(&mut world, "acme", Choice::Level(level("limited_edit")), 6, &policy);
    let request = Request::simple("beta", "orders:read").inside("s2");
    assert_eq!(world.decide(&request, Caller::Known(&nameless), 7, &policy).code(), "session_by_consent");
    assert_eq!(world.decide(&request, Caller::Known(&staff("anna")), 7, &policy).code(), "self_granted");
}

// GW-14
#[test]
fn nobody_prolongs_a_grant_for_themselves() {
    let policy = Plain::new(true).compile();
    let mut world = family(&policy, "full");
    let grant = Command::MakeGrant {
        tenant: tid("beta"),
        grant: gid("g1"),
        environment: eid("production"),
        to: Grantee::Support,
        role: role("reader"),
        scope: Scope::Everything,
        until: Until::At(at(1_000)),
    };
    world.run(&grant, Actor::Subject(&admin("beta")), 4, &policy).unwrap();
    let enter = |session: &str| start("beta", session, WantedBasis::Grant(gid("g1")));
    world.run(&enter("s2"), Actor::Subject(&staff("anna")), 5, &policy).unwrap();
    let moved = |until| Command::MoveGrant {
        tenant: tid("beta"),
        grant: gid("g1"),
        until: Until::At(at(until)),
        expected: None,
    };
    let herself = member("beta", "anna", &["administrator"]);
    world.run(&moved(900), Actor::Subject(&herself), 6, &policy).unwrap();
    let read = Request::simple("beta", "orders:read").inside("s2");
    assert!(world.decide(&read, Caller::Known(&staff("anna")), 7, &policy).allowed(), "shorter is no gift");
    world.run(&moved(2_000), Actor::Subject(&herself), 8, &policy).unwrap();
    assert_eq!(world.decide(&read, Caller::Known(&staff("anna")), 9, &policy).code(), "self_granted");
    let refusal = world.run(&enter("s3"), Actor::Subject(&staff("anna")), 9, &policy).unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.detail().as_deref()),
        ("self_granted", Some("given by tenants|anna"))
    );
    world.run(&enter("s4"), Actor::Subject(&staff("ben")), 9, &policy).unwrap();
}

#[test]
fn a_raise_is_not_lowered_to_what_outlasts_it() {
    let policy = Plain::new(true).compile();
    let mut world = family(&policy, "read_only");
    set(&mut world, "acme", Choice::Level(level("block")), 4, &policy);
    world.run(&raise("acme", "full", 1_000), Actor::Subject(&admin("acme")), 4, &policy).unwrap();
    // Now it is less, from the raise's end on more.
    assert!(!set(&mut world.clone(), "acme", Choice::Level(level("read_only")), 5, &policy).narrows);
    let run = |command: &Command| {
        world.clone().run(command, Actor::Subject(&admin("acme")), 5, &policy).unwrap().narrows
    };
    assert!(!run(&raise("acme", "limited_edit", 1_001)), "lower, and longer");
    assert!(run(&raise("acme", "limited_edit", 1_000)) && run(&raise("acme", "full", 999)));
    assert!(set(&mut world.clone(), "acme", Choice::Level(level("block")), 5, &policy).narrows);
    // So it is where the raise is further up.
    assert!(!set(&mut world.clone(), "beta", Choice::Level(level("read_only")), 5, &policy).narrows);
    assert!(set(&mut world.clone(), "beta", Choice::Level(level("block")), 5, &policy).narrows);
}

#[test]
fn a_token_for_one_environment_opens_nothing_in_the_others() {
    let policy = Plain::new(true).compile();
    let mut world = World::default();
    for (tenant, environments) in [("acme", &["production", "sandbox"][..]), ("beta", &["sandbox"][..])] {
        let command = Command::RegisterTenant {
            tenant: tid(tenant),
            parent: None,
            zone: Zone::UTC,
            environments: environments.iter().map(|name| eid(name)).collect(),
        };
        world.run(&command, Actor::Configuration, 1, &policy).unwrap();
    }
    let switch = |tenant: &str| postern::lifecycle::Switch::Own(tid(tenant));
    let choose = |tenant: &str, to: &str| Command::SetConsent {
        tenant: tid(tenant),
        choice: Choice::Level(level(to)),
        until: None,
        expected: None,
    };
    let approval =
        |tenant: &str, required| Command::SetApproval { tenant: tid(tenant), required, expected: None };
    let stop = |tenant: &str| Command::Stop { switch: switch(tenant), reason: "an audit".into() };
    let lift = |tenant: &str| Command::Lift { switch: switch(tenant), reason: "it is over".into() };
    for (tenant, refused) in [("acme", true), ("beta", false)] {
        let sandboxed = Subject { environment: Some(eid("sandbox")), ..admin(tenant) };
        let mut run = |command: &Command, now| world.run(command, Actor::Subject(&sandboxed), now, &policy);
        // What takes away is free.
        for less in [approval(tenant, true), stop(tenant), choose(tenant, "block")] {
            assert!(run(&less, 2).unwrap().narrows);
        }
        for more in
            [approval(tenant, false), lift(tenant), raise(tenant, "full", 1_000), choose(tenant, "read_only")]
        {
            let result = run(&more, 3).map(|change| change.narrows).map_err(|refusal| refusal.code());
            assert_eq!(result, if refused { Err("environment_foreign") } else { Ok(false) }, "{more:?}");
        }
    }
    // Nor do operators let everything go on by such a token.
    let all = postern::lifecycle::Switch::Operators(postern::model::Reach::All);
    let olga = Subject { environment: Some(eid("sandbox")), ..staff("olga") };
    let stop = Command::Stop { switch: all.clone(), reason: "INC-7".into() };
    world.run(&stop, Actor::Subject(&olga), 4, &policy).unwrap();
    let lift = Command::Lift { switch: all, reason: "INC-7".into() };
    assert_eq!(
        world.run(&lift, Actor::Subject(&olga), 5, &policy).unwrap_err().code(),
        "environment_foreign"
    );
    world.run(&lift, Actor::Subject(&staff("olga")), 5, &policy).unwrap();
}

fn push(tenant: &str, parent: Option<&str>, environments: &[&str]) -> Command {
    Command::PushTenant {
        tenant: tid(tenant),
        parent: parent.map(tid),
        zone: Zone::UTC,
        environments: environments.iter().map(|name| eid(name)).collect(),
        plan: None,
        seat_limit: None,
        expected: None,
    }
}

// GW-09
#[test]
fn what_a_removal_closed_to_children_stays_closed_when_the_parent_comes_back() {
    // A ladder without `read_only`: whoever followed the parent has nothing while it is away.
    let plain = Plain {
        ladder: vec![("block".into(), None), ("support".into(), Some("administrator".into()))],
        ..Plain::new(true)
    };
    let policy = Policy { default_level: level("support"), ..plain.compile() };
    let mut world = family(&policy, "support");
    let crm = program("crm");
    assert!(allowed(&world, "beta", "s1", 4, &policy));
    world
        .run(
            &Command::RemoveTenant { tenant: tid("acme"), expected: None },
            Actor::Subject(&crm),
            10,
            &policy,
        )
        .unwrap();
    assert!(!allowed(&world, "beta", "s1", 11, &policy));
    world.run(&push("acme", None, &["production"]), Actor::Subject(&crm), 20, &policy).unwrap();
    assert!(!allowed(&world, "beta", "s1", 21, &policy), "nothing withdrawn comes back");
    world
        .run(&start("beta", "s2", WantedBasis::Consent), Actor::Subject(&staff("anna")), 20, &policy)
        .unwrap();
    assert!(allowed(&world, "beta", "s2", 21, &policy), "what begins anew is new");
}

#[test]
fn an_environment_that_comes_back_brings_nothing_that_was_begun_meanwhile() {
    let policy = Plain::new(true).compile();
    let mut world = World::default();
    let crm = program("crm");
    for (environments, now) in
        [(&["production", "sandbox"][..], 1), (&["sandbox"][..], 10), (&["production", "sandbox"][..], 100)]
    {
        world.run(&push("acme", None, environments), Actor::Subject(&crm), now, &policy).unwrap();
    }
    let Some(Document::Tenant(tenant)) = world.document(&Key::Tenant(tid("acme")), &policy) else { panic!() };
    assert_eq!(tenant.took_away(&eid("production"), at(99)), Some(at(99)), "elsewhere, before it was known");
    assert_eq!(tenant.took_away(&eid("production"), at(100)), None);
    assert_eq!(tenant.took_away(&eid("sandbox"), at(1)), None);
}

#[test]
fn a_reason_stands_on_one_line_and_reads_from_left_to_right() {
    let policy = Plain::new(true).compile();
    let mut world = family(&policy, "full");
    for c in ['\n', '\u{2028}', '\u{2029}', '\u{202e}', '\u{2066}', '\u{200f}', '\u{61c}'] {
        let command = Command::StartSession {
            tenant: tid("beta"),
            session: sid("s9"),
            environment: eid("production"),
            basis: WantedBasis::Consent,
            reason: format!("order{c}7"),
            ticket: None,
            lasts: None,
        };
        let refused = world.run(&command, Actor::Subject(&staff("ben")), 4, &policy).unwrap_err();
        assert_eq!(refused.code(), "reason_unfit", "{c:?}");
    }
}
