//! Resources with few and with many members: what it costs to let one more in, and to decide by a row, with every document fetched
//! from the embedded store. Neither may depend on how many there are: at 100,000 members at most 1.10 times what it is at 10.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark"
)]
#![allow(dead_code, reason = "the world is shared with tests")]

#[path = "../tests/ground/world.rs"]
mod world;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use divan::{Bencher, black_box};
use postern::{
    lifecycle::{self, Actor, Command, Deed, Outcome},
    model::{
        ChangeId, Consent, Document, Joined, Key, Resource, ResourceRef, Stored, SubjectRef, Tally, Tenant,
        Zone, join::narrowest,
    },
    policy::{
        Ask, Caller, Decision, Fact, Facts, Named, Need, Policy, Push, ResourceRules, RoleAt, Rule, Snapshot,
        TypeRule, Verdict, Within, decide, decide::Route,
    },
    state::{Commit, Embedded, Store},
};
use tokio::runtime::Runtime;
use world::*;

fn main() {
    divan::main();
}

const SIZES: [u64; 2] = [10, 100_000];

fn policy() -> Policy {
    let mut policy = Plain::new(true).compile();
    let permissions = policy.roles[&role("administrator")].permissions.clone();
    let (own, assigned) = Default::default();
    let hand = RoleAt { at: "board".parse().unwrap(), permissions, own, assigned, keep_one: true };
    policy.resources = ResourceRules {
        types: [
            ("board".parse().unwrap(), TypeRule::default()),
            (
                "card".parse().unwrap(),
                TypeRule { parent: Some("board".parse().unwrap()), ..TypeRule::default() },
            ),
        ]
        .into(),
        roles: [(role("hand"), hand)].into(),
        apart: Default::default(),
    };
    for rule in &mut policy.callers.services {
        rule.may.insert(Push::Resources);
    }
    policy
}

fn named(kind: &str, id: &str) -> ResourceRef {
    ResourceRef { kind: kind.parse().unwrap(), id: id.parse().unwrap() }
}

fn who(number: u64) -> SubjectRef {
    person("tenants", &format!("member-{number:08}"))
}

struct Place {
    _directory: tempfile::TempDir,
    runtime: Runtime,
    store: Arc<Embedded>,
    policy: Policy,
    next: AtomicU64,
}

/// A board with so many members, and a card on it.
fn place(members: u64) -> Place {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("state");
    let tenant = Tenant::new(None, Zone::UTC, [eid("production")].into(), Consent::own(level("read_only")));
    let card = Resource { parent: Some(named("board", "b1")), ..Resource::default() };
    let row =
        || Document::Joined(Joined { role: role("hand"), since: at(1), removed: None, life: 0, left: 0 });
    let tally = Tally { roles: [(role("hand"), members)].into(), life: 0 };
    let few = [
        (Key::Tenant(tid("acme")), Document::Tenant(tenant)),
        (Key::Resource(tid("acme"), named("board", "b1")), Document::Resource(Resource::default())),
        (Key::Resource(tid("acme"), named("card", "c1")), Document::Resource(card)),
        (Key::Tally(tid("acme"), named("board", "b1")), Document::Tally(tally)),
    ];
    let rows =
        (0..members).map(|number| (Key::Joined(tid("acme"), named("board", "b1"), who(number)), row()));
    let all = few.into_iter().chain(rows).enumerate().map(|(number, (key, document))| {
        let change = ChangeId::new(&format!("made-{number:08}")).unwrap();
        (key, Stored::after(None, change, document))
    });
    Embedded::rebuild(&path, all, Default::default()).unwrap();
    let store = Arc::new(Embedded::open(&path).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    Place { _directory: directory, runtime, store, policy: policy(), next: AtomicU64::new(members) }
}

impl Place {
    fn fetch(&self, need: Need, facts: &mut Facts, stored: &mut Vec<(Key, Stored)>) {
        let found = self.runtime.block_on(self.store.load(&need.0)).unwrap();
        for (key, found) in need.0.into_iter().zip(found) {
            let fact = match found {
                None => Fact::Absent,
                Some(found) => {
                    let found = found.unwrap();
                    let document = narrowest(&found, &self.policy.ladder).unwrap();
                    let version = found.version;
                    stored.push((key.clone(), found));
                    Fact::Found(Arc::new(Snapshot { version, document }))
                }
            };
            facts.put(key, fact);
        }
    }

    fn join(&self) {
        let number = self.next.fetch_add(1, Relaxed);
        let deed = Deed::Join { member: who(number), role: role("hand") };
        let command =
            Command::Resource { tenant: tid("acme"), resource: named("board", "b1"), deed, expected: None };
        let crm = program("crm");
        let (mut facts, mut stored) = (Facts::new(), Vec::new());
        let change = loop {
            match lifecycle::apply(&command, &facts, Actor::Subject(&crm), at(5), &self.policy) {
                Outcome::Need(need) => self.fetch(need, &mut facts, &mut stored),
                Outcome::Changed(change) => break change,
                Outcome::Refused(refusal) => panic!("{refusal}"),
            }
        };
        let id = ChangeId::new(&format!("n{number:010}")).unwrap();
        let write = change.documents.into_iter().map(|(key, document)| {
            let before = stored.iter().find(|(known, _)| *known == key).map(|(_, stored)| stored);
            let after = Stored::after(before, id.clone(), document);
            (key, after)
        });
        let commit = Commit {
            change: id.clone(),
            at: at(5),
            read: facts.versions().map(|(key, version)| (key.clone(), version)).collect(),
            write: write.collect(),
        };
        self.runtime.block_on(self.store.commit(commit)).unwrap();
    }

    fn decide(&self, rule: &Rule, number: u64) -> Decision {
        let subject = postern::model::Subject { id: who(number), ..member("acme", "x", &[]) };
        let ask = Ask {
            route: Route::Mapped(rule),
            tenant: Named::As("acme"),
            environment: Named::As("production"),
            resource: Some("c1"),
            within: [Some("b1"), None, None],
            session: Named::Missing,
            around: postern::policy::Around::default(),
            clock_behind: false,
        };
        let (mut facts, mut stored) = (Facts::new(), Vec::new());
        loop {
            match decide(&ask, Caller::Known(&subject), &facts, at(9), &self.policy) {
                Verdict::Decided(decision) => return decision,
                Verdict::Need(need) => self.fetch(need, &mut facts, &mut stored),
            }
        }
    }
}

#[divan::bench(args = SIZES, sample_count = 200, sample_size = 1)]
fn join(bencher: Bencher<'_, '_>, members: u64) {
    let place = place(members);
    bencher.bench_local(|| place.join());
}

#[divan::bench(args = SIZES, sample_count = 200, sample_size = 20)]
fn decide_with_every_document_fetched(bencher: Bencher<'_, '_>, members: u64) {
    let place = place(members);
    let rule = Rule {
        name: "GET /x".into(),
        permissions: vec![place.policy.catalogue.id("orders:read").unwrap()],
        public: false,
        resource: Some("card".parse().unwrap()),
        within: Within { types: vec!["board".parse().unwrap()], checked: false },
        upstream: 0,
        effect: None,
        record: false,
        environments: Default::default(),
    };
    assert!(matches!(place.decide(&rule, 3), Decision::Allow(_)));
    let asked = AtomicU64::new(0);
    bencher.bench_local(|| {
        let number = asked.fetch_add(7_919, Relaxed) % members;
        black_box(place.decide(&rule, number))
    });
}
