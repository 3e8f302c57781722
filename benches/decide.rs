//! What one decision costs once its documents are at hand: `cargo bench --bench decide`. The goal is 500 ns at most and
//! no allocation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    missing_docs,
    reason = "a bench stops at the first fault, and uses a part of the tests' world"
)]

#[path = "../tests/ground/world.rs"]
mod world;

use divan::{Bencher, black_box};
use postern::{
    lifecycle::{Actor, Choice, Command, Until, WantedBasis},
    model::{Grantee, Scope, Span, Zone},
    policy::{Ask, Caller, Decision, Effect, Facts, Named, Policy, Reason, Route, Rule, Verdict, decide},
};
use world::*;

/// Shows allocations beside the times: a decision has none.
#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

fn rule(policy: &Policy) -> Rule {
    Rule {
        name: "GET /t/{tenant}/api/orders/{order}".into(),
        permissions: vec![policy.catalogue.id("orders:read").unwrap()],
        public: false,
        resource: Some("orders".parse().unwrap()),
        within: Default::default(),
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

fn ask<'a>(rule: &'a Rule, tenant: &'a str, session: Named<'a>) -> Ask<'a> {
    Ask {
        route: Route::Mapped(rule),
        tenant: Named::As(tenant),
        environment: Named::As("production"),
        resource: Some("o1"),
        within: Default::default(),
        session,
        around: postern::policy::Around::default(),
        emergency: &postern::policy::Brought::Nothing,
        clock_behind: false,
        does: Effect::Write,
    }
}

/// A world with a chain of four tenants; `anna` inside `tenant`.
fn inside(tenant: &str, by_grant: bool, policy: &Policy) -> World {
    let mut world = World::default();
    for (name, parent) in TENANTS.into_iter().zip(PARENTS) {
        let command = Command::RegisterTenant {
            tenant: tid(name),
            parent: parent.map(tid),
            zone: Zone::UTC,
            environments: vec![eid("production")],
        };
        world.run(&command, Actor::Configuration, 1_000, policy).unwrap();
        let choice = match parent {
            Some(_) => Choice::Inherit,
            None => Choice::Level(level("full")),
        };
        let command = Command::SetConsent { tenant: tid(name), choice, until: None, expected: None };
        world.run(&command, Actor::Subject(&admin(name)), 1_001, policy).unwrap();
    }
    let mut basis = WantedBasis::Consent;
    if by_grant {
        let command = Command::MakeGrant {
            tenant: tid(tenant),
            grant: gid("0199aa00-0000-7000-8000-000000000001"),
            environment: eid("production"),
            to: Grantee::Email("anna@vendor.example".into()),
            role: role("administrator"),
            scope: Scope::Resources([("orders".parse().unwrap(), "o1".parse().unwrap())].into()),
            until: Until::For(Span::Millis(50_000)),
        };
        world.run(&command, Actor::Subject(&admin(tenant)), 1_002, policy).unwrap();
        basis = WantedBasis::Grant(gid("0199aa00-0000-7000-8000-000000000001"));
    }
    let command = Command::StartSession {
        tenant: tid(tenant),
        session: sid(SESSION),
        environment: eid("production"),
        basis,
        reason: "an order is stuck".into(),
        ticket: None,
        lasts: None,
    };
    world.run(&command, Actor::Subject(&staff("anna")), 1_003, policy).unwrap();
    world
}

const SESSION: &str = "0199aa00-0000-7000-8000-000000000002";

fn measure(bencher: Bencher<'_, '_>, tenant: &str, by_grant: bool, named: bool) {
    let policy = Plain::new(true).compile();
    let world = inside(tenant, by_grant, &policy);
    let rule = rule(&policy);
    let anna = staff("anna");
    let session = if named { Named::As(SESSION) } else { Named::Missing };
    let ask = ask(&rule, tenant, session);
    // Warm: the facts that this very decision asked for.
    let mut facts = Facts::new();
    while let Verdict::Need(need) = decide(&ask, Caller::Known(&anna), &facts, at(1_010), &policy) {
        for key in need.0 {
            let fact = world.fact(&key, &policy);
            facts.put(key, fact);
        }
    }
    let expected = if by_grant { Reason::SessionByGrant } else { Reason::SessionByConsent };
    bencher.bench_local(|| {
        let verdict = decide(black_box(&ask), Caller::Known(&anna), black_box(&facts), at(1_010), &policy);
        match &verdict {
            Verdict::Decided(Decision::Allow(permit)) => assert_eq!(permit.reason(), expected),
            other => panic!("{other:?}"),
        }
        verdict
    });
}

/// What an allocation would look like in this table.
#[divan::bench]
fn an_allocation_for_comparison() -> String {
    black_box("acme").to_owned()
}

#[divan::bench]
fn member(bencher: Bencher<'_, '_>) {
    let policy = Plain::new(true).compile();
    let rule = rule(&policy);
    let subject = world::member("acme", "clara", &["clerk", "reader"]);
    let ask = ask(&rule, "acme", Named::Missing);
    bencher.bench_local(|| {
        let verdict = decide(black_box(&ask), Caller::Known(&subject), &Facts::new(), at(1_010), &policy);
        assert!(matches!(verdict, Verdict::Decided(Decision::Allow(_))));
        verdict
    });
}

#[divan::bench]
fn staff_refused_without_session(bencher: Bencher<'_, '_>) {
    let policy = Plain::new(true).compile();
    let rule = rule(&policy);
    let anna = staff("anna");
    let ask = Ask { route: Route::Unmapped, ..ask(&rule, "acme", Named::Missing) };
    bencher.bench_local(|| decide(black_box(&ask), Caller::Known(&anna), &Facts::new(), at(1_010), &policy));
}

#[divan::bench(args = [true, false])]
fn staff_by_consent(bencher: Bencher<'_, '_>, named: bool) {
    measure(bencher, "acme", false, named);
}

#[divan::bench(args = [true, false])]
fn staff_by_consent_of_three_parents(bencher: Bencher<'_, '_>, named: bool) {
    measure(bencher, "delta", false, named);
}

#[divan::bench(args = [true, false])]
fn staff_by_grant(bencher: Bencher<'_, '_>, named: bool) {
    measure(bencher, "delta", true, named);
}
