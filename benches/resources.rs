//! Resources with few and with many members: what it costs to let one more in, and to decide by a row. Neither may depend on how many
//! there are: at 100,000 members at most 1.10 times what it is at 10.
//!
//! The store holds as many rows either way, and as many people ask in turn: one board of 100,000, or ten thousand boards of 10. So the
//! one thing that differs is how many there are on a board. What ten people and a store of ten rows in all cost is shown beside it:
//! that tells what many people cost, wherever they are. Rounds are interleaved, and ratios taken round by round; `-- --instructions` counts those too, by
//! valgrind, where what stays the same is taken away by counting two runs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a benchmark"
)]
#![allow(dead_code, reason = "the world is shared with tests")]

#[path = "machine/mod.rs"]
mod machine;
#[path = "../tests/ground/world.rs"]
mod world;

use std::{
    hint::black_box,
    path::{Path, PathBuf},
    process,
    sync::Arc,
    time::Duration,
};

use postern::{
    lifecycle::{self, Actor, Command, Deed, Outcome},
    model::{
        ChangeId, Consent, Document, Joined, Key, Resource, ResourceRef, Stored, SubjectRef, Tally, Tenant,
        Zone, join::narrowest,
    },
    policy::{
        Ask, Caller, Decision, Effect, Fact, Facts, Named, Need, Policy, Push, ResourceRules, RoleAt, Rule,
        Snapshot, TypeRule, Verdict, Within, decide, decide::Route,
    },
    state::{Cells, Commit, Embedded, Store},
};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use world::*;

/// How many rows a large board has, and the store in all.
const MANY: u64 = 100_000;
/// How many a small one has.
const FEW: u64 = 10;
const ROUNDS: usize = 31;

fn policy() -> Policy {
    let mut policy = Plain::new(true).compile();
    let permissions = policy.roles[&role("administrator")].permissions.clone();
    let (own, assigned, of) = Default::default();
    let at = "board".parse().unwrap();
    let hand = RoleAt { at, permissions, own, assigned, of, keep_one: true, plans: None };
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
        joins: Default::default(),
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

/// What the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// One board of ten, and nothing else.
    Alone,
    /// Boards of ten, as many rows in all as the large one has.
    Small,
    /// One board of them all.
    Large,
}

impl Size {
    const ALL: [Size; 3] = [Size::Alone, Size::Small, Size::Large];

    fn name(self) -> &'static str {
        match self {
            Size::Alone => "alone",
            Size::Small => "small",
            Size::Large => "large",
        }
    }

    /// How many members each board has.
    fn members(self) -> u64 {
        if self == Size::Large { MANY } else { FEW }
    }

    fn boards(self) -> u64 {
        if self == Size::Small { MANY / FEW } else { 1 }
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// One more member, from the command to the durable commit, every document fetched from the store.
    Join,
    /// A decision by a row, of one member again and again, all documents in memory.
    Again,
    /// The same of all members in turn.
    InTurn,
    /// The same with every document fetched from the store.
    Fetched,
}

impl What {
    const ALL: [What; 4] = [What::Join, What::Again, What::InTurn, What::Fetched];

    fn name(self) -> &'static str {
        match self {
            What::Join => "one joins",
            What::Again => "decision, one member",
            What::InTurn => "decision, members in turn",
            What::Fetched => "decision, all fetched",
        }
    }

    /// How often in a round; and how often at least where instructions are counted.
    fn often(self) -> (u64, u64) {
        match self {
            What::Join => (40, 300),
            What::Again | What::InTurn => (20_000, 4_000),
            What::Fetched => (400, 1_000),
        }
    }
}

fn board(number: u64) -> ResourceRef {
    named("board", &format!("b{number:06}"))
}

fn card(number: u64) -> String {
    format!("c{number:06}")
}

/// Writes a store: boards with members, a card on each.
fn build(path: &Path, size: Size) {
    let tenant = Tenant::new(None, Zone::UTC, [eid("production")].into(), Consent::own(level("read_only")));
    let row = || {
        Document::Joined(Joined {
            role: role("hand"),
            since: at(1),
            removed: None,
            life: 0,
            left: 0,
            by: Default::default(),
            invited: None,
            bounds: Default::default(),
        })
    };
    let one = |number: u64| {
        let tally = Tally { roles: [(role("hand"), size.members())].into(), seats: 0, life: 0 };
        let card_on = Resource { parent: Some(board(number)), ..Resource::default() };
        let few = [
            (Key::Resource(tid("acme"), board(number)), Document::Resource(Resource::default())),
            (Key::Resource(tid("acme"), named("card", &card(number))), Document::Resource(card_on)),
            (Key::Tally(tid("acme"), board(number)), Document::Tally(tally)),
        ];
        let rows = (0..size.members()).map(move |member| {
            (Key::Joined(tid("acme"), board(number), who(number * size.members() + member)), row())
        });
        few.into_iter().chain(rows)
    };
    let all = std::iter::once((Key::Tenant(tid("acme")), Document::Tenant(tenant)));
    let all = all.chain((0..size.boards()).flat_map(one)).enumerate().map(|(number, (key, document))| {
        let change = ChangeId::new(&format!("made-{number:08}")).unwrap();
        (key, Stored::after(None, change, document))
    });
    Embedded::rebuild(path, all, Default::default()).unwrap();
}

struct Place {
    size: Size,
    runtime: Runtime,
    store: Arc<Embedded>,
    cells: Cells,
    policy: Policy,
    rule: Rule,
    /// Who asks or joins next.
    next: u64,
}

impl Place {
    fn open(path: &Path, size: Size) -> Place {
        let store = Arc::new(Embedded::open(path).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let policy = policy();
        let rule = Rule {
            name: "GET /x".into(),
            permissions: vec![policy.catalogue.id("orders:read").unwrap()],
            public: false,
            resource: Some("card".parse().unwrap()),
            within: Within { types: vec!["board".parse().unwrap()], checked: false },
            upstream: 0,
            effect: None,
            record: false,
            environments: Default::default(),
            plans: None,
            narrow: None,
            whole_only: false,
            creates: None,
        };
        let capacity = 4 * usize::try_from(MANY).unwrap();
        let cells = Cells::new(store.clone(), policy.ladder.clone(), capacity);
        Place { size, runtime, store, cells, policy, rule, next: 0 }
    }

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

    /// One more, on the large board, or each time on another one that has ten.
    fn join(&mut self, number: u64) {
        let deed = Deed::Join { member: who(MANY + number), role: role("hand") };
        let resource = board(number % self.size.boards());
        let command = Command::Resource { tenant: tid("acme"), resource, deed, expected: None };
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
            since: Default::default(),
            write: write.collect(),
        };
        self.runtime.block_on(self.store.commit(commit)).unwrap();
    }

    fn decide(&self, at_board: u64, number: u64, fetched: bool) {
        let subject = postern::model::Subject { id: who(number), ..member("acme", "x", &[]) };
        let (on, above) = (card(at_board), board(at_board));
        let ask = Ask {
            route: Route::Mapped(&self.rule),
            tenant: Named::As("acme"),
            environment: Named::As("production"),
            resource: Some(&on),
            within: [Some(above.id.as_str()), None, None],
            session: Named::Missing,
            around: postern::policy::Around::default(),
            emergency: &postern::policy::Brought::Nothing,
            clock_behind: false,
            does: Effect::Write,
        };
        let (mut facts, mut stored) = (Facts::new(), Vec::new());
        let decision = loop {
            match decide(&ask, Caller::Known(&subject), &facts, at(9), &self.policy) {
                Verdict::Decided(decision) => break decision,
                Verdict::Need(need) if fetched => self.fetch(need, &mut facts, &mut stored),
                Verdict::Need(need) => {
                    for key in need.0 {
                        let known = self.cells.hit(&key);
                        let fact = known.unwrap_or_else(|| self.runtime.block_on(self.cells.fact(&key)));
                        facts.put(key, fact);
                    }
                }
            }
        };
        assert!(matches!(black_box(decision), Decision::Allow(_)));
    }

    /// Some more of it. In turn: everybody on every board, in strides, so that no two in a row lie beside each other.
    fn run(&mut self, what: What, times: u64) {
        let (members, boards) = (self.size.members(), self.size.boards());
        for _ in 0..times {
            let number = self.next;
            self.next += 1;
            match what {
                What::Join => self.join(number),
                What::Again => self.decide(0, 3, false),
                What::InTurn | What::Fetched => {
                    let row = number.wrapping_mul(7_919) % (members * boards);
                    self.decide(row / members, row, what == What::Fetched);
                }
            }
        }
    }
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap(), u32::try_from(now.tv_nsec).unwrap())
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// CPU time of each in every round, in nanoseconds.
fn rounds(what: What, places: &mut [Place]) -> Vec<Vec<f64>> {
    let (times, _) = what.often();
    // What is in memory is there before it is measured.
    for place in &mut *places {
        let warm = if what == What::InTurn { place.size.members() * place.size.boards() } else { times };
        place.run(what, warm);
    }
    let mut all = vec![Vec::new(); places.len()];
    for round in 0..ROUNDS {
        for turn in 0..places.len() {
            let at = (turn + round) % places.len();
            let before = cpu();
            places[at].run(what, times);
            all[at].push((cpu() - before).as_secs_f64() * 1e9 / times as f64);
        }
    }
    all
}

/// Instructions for one, the programs's whole life but for what is there without it taken away.
fn instructions(template: &Path, size: Size, what: What) -> f64 {
    let count = |times: u64| {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("state");
        std::fs::copy(template, &store).unwrap();
        let output = process::Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().unwrap())
            .args(["count", size.name()])
            .arg(format!("{what:?}"))
            .arg(times.to_string())
            .arg(&store)
            .output()
            .expect("valgrind is there");
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().find(|line| line.contains("Collected")).unwrap_or_else(|| panic!("{text}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let (_, times) = what.often();
    (count(3 * times) - count(times)) / (2 * times) as f64
}

fn counted(args: &[String]) {
    let [size, what, times, path] = args else { panic!("count SIZE WHAT TIMES STORE") };
    let size = Size::ALL.into_iter().find(|one| one.name() == size).unwrap();
    let what = What::ALL.into_iter().find(|one| format!("{one:?}") == *what).unwrap();
    let mut place = Place::open(&PathBuf::from(path), size);
    let times: u64 = times.parse().unwrap();
    if what == What::InTurn {
        // The same thousand again and again: what was not in memory is then.
        for round in 0..=times / 1_000 {
            place.next = 0;
            place.run(what, if round == 0 { 1_000 } else { 1_000.min(times) });
        }
    } else {
        place.run(what, times);
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let Some((first, rest)) = args.split_first()
        && first == "count"
    {
        return counted(rest);
    }
    let count = args.iter().any(|arg| arg == "--instructions");
    let directory = tempfile::tempdir().unwrap();
    let template = |size: Size| directory.path().join(size.name());
    for size in Size::ALL {
        build(&template(size), size);
    }
    println!(
        "{}; medians of {ROUNDS} interleaved rounds, ratios taken round by round.\n",
        machine::machine()
    );
    println!("| what | | 10, alone | 10 of 100,000 rows | 100,000 | to 10 of as many rows | to 10 alone |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: |");
    for what in What::ALL {
        let copy = |size: Size| {
            let path = directory.path().join(format!("{}-{what:?}", size.name()));
            std::fs::copy(template(size), &path).unwrap();
            Place::open(&path, size)
        };
        let mut places: Vec<Place> = Size::ALL.into_iter().map(copy).collect();
        let all = rounds(what, &mut places);
        let ratio = |of: usize, to: usize| {
            median(all[of].iter().zip(&all[to]).map(|(of, to)| of / to).collect::<Vec<_>>())
        };
        let [alone, small, large] = [0, 1, 2].map(|at| median(all[at].clone()) / 1e3);
        println!(
            "| {} | CPU µs | {alone:.2} | {small:.2} | {large:.2} | {:.2} | {:.2} |",
            what.name(),
            ratio(2, 1),
            ratio(2, 0)
        );
        drop(places);
        if count {
            let [alone, small, large] = Size::ALL.map(|size| instructions(&template(size), size, what));
            println!(
                "| {} | instructions | {alone:.0} | {small:.0} | {large:.0} | {:.3} | {:.3} |",
                what.name(),
                large / small,
                large / alone
            );
        }
    }
}
