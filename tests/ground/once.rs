//! Creations that bear an idempotency key: what is kept of them, who is told, and for how long.

use postern::{
    lifecycle::{
        Actor, Applied, Change, Command, MOST_KEYS, Outcome, Refusal, Step, Until, WantedBasis, apply_once,
    },
    model::{
        ChangeId, Document, Grantee, Key, Scope, Stored, Subject, Zone,
        join::{join, narrowest},
        once::{KEPT_MS, Kept, Made, Once, Thing},
    },
    policy::{Fact, Facts, Policy},
};
use proptest::prelude::*;

use crate::{histories::Dice, world::*};

const NOW: i64 = 1_000;

struct Scene {
    world: World,
    policy: Policy,
    count: u64,
}

fn key(word: &str, by: &Subject, body: &str) -> Once {
    Once::of(&tid("acme"), &by.id, word, ("POST", "/v1/tenants/acme/grants"), body.as_bytes())
}

fn grant(id: &str) -> Command {
    Command::MakeGrant {
        tenant: tid("acme"),
        grant: gid(id),
        environment: eid("production"),
        to: Grantee::Support,
        role: role("reader"),
        scope: Scope::Everything,
        until: Until::At(at(5_000_000_000)),
    }
}

fn start(id: &str) -> Command {
    Command::StartSession {
        tenant: tid("acme"),
        session: sid(id),
        environment: eid("production"),
        basis: WantedBasis::Consent,
        reason: "why".into(),
        ticket: None,
        lasts: None,
    }
}

fn glass(id: &str) -> Command {
    Command::BreakGlass {
        tenant: tid("acme"),
        session: sid(id),
        environment: eid("production"),
        reason: "the platform is down".into(),
        incident: "INC-1".into(),
        cause: "stability".into(),
        lasts: None,
    }
}

type Maker = fn(&str) -> Command;

/// What a command came to.
#[derive(Debug, PartialEq)]
enum Came {
    Already(Thing),
    To(Change),
    Nothing(&'static str),
}

impl Scene {
    fn new() -> Scene {
        let policy = Plain::new(true).compile();
        let mut scene = Scene { world: World::default(), policy, count: 0 };
        let environments = vec![eid("production")];
        let command =
            Command::RegisterTenant { tenant: tid("acme"), parent: None, zone: Zone::UTC, environments };
        scene.world.run(&command, Actor::Configuration, 1, &scene.policy).unwrap();
        scene
    }

    /// As the shell does, with the documents that it asked for.
    fn asked(&mut self, command: &Command, once: &Once, by: Actor<'_>, now: i64) -> (Came, Vec<Key>) {
        self.count += 1;
        let change = ChangeId::new(&format!("c{:06}", self.count)).unwrap();
        let (mut facts, mut asked) = (Facts::new(), Vec::new());
        loop {
            match apply_once(command, (once, &change), &facts, by, at(now), &self.policy) {
                Applied::Already(kept) => return (Came::Already(kept.made), asked),
                Applied::Anew(Outcome::Refused(refusal)) => return (Came::Nothing(refusal.code()), asked),
                Applied::Anew(Outcome::Changed(change)) => {
                    for (key, _) in &change.documents {
                        assert!(
                            matches!(facts.get(key), Some(Fact::Absent | Fact::Found(_))),
                            "{key} was not read"
                        );
                    }
                    self.world.commit(&change);
                    return (Came::To(change), asked);
                }
                Applied::Anew(Outcome::Need(need)) => {
                    for key in need.0 {
                        assert!(facts.get(&key).is_none(), "{key} was asked for twice");
                        facts.put(key.clone(), self.world.fact(&key, &self.policy));
                        asked.push(key);
                    }
                }
            }
        }
    }

    fn once(&mut self, command: &Command, once: &Once, by: &Subject, now: i64) -> Came {
        self.asked(command, once, Actor::Subject(by), now).0
    }

    fn made(&self, by: &Subject) -> Made {
        match self.world.document(&Key::Made(tid("acme"), by.id.clone()), &self.policy) {
            Some(Document::Made(made)) => made,
            None => Made::default(),
            Some(other) => panic!("{other:?}"),
        }
    }

    fn expire(&mut self, by: &Subject, now: i64) -> Result<Change, Refusal> {
        let command = Command::Expire { key: Key::Made(tid("acme"), by.id.clone()) };
        self.world.run(&command, Actor::Clock, now, &self.policy)
    }
}

#[test]
fn a_repeat_within_a_day_makes_nothing_and_is_told_what_was_made() {
    let (admin, anna, olga) = (admin("acme"), staff("anna"), staff("olga"));
    let cases: [(&Subject, Maker, Thing); 3] = [
        (&admin, grant, Thing::Grant(gid("first"))),
        (&anna, start, Thing::Session(sid("first"))),
        (&olga, glass, Thing::Session(sid("first"))),
    ];
    for (by, make, made) in cases {
        let mut scene = Scene::new();
        let once = key("k", by, "{}");
        let Came::To(change) = scene.once(&make("first"), &once, by, NOW) else { panic!("{by:?}") };
        let (key, Document::Made(kept)) = change.documents.last().unwrap() else { panic!() };
        assert_eq!(*key, Key::Made(tid("acme"), by.id.clone()));
        assert_eq!(kept.kept.len(), 1, "in the same commit");
        let before = scene.world.documents(&scene.policy);
        for later in [NOW, NOW + 1, NOW + KEPT_MS - 1] {
            assert_eq!(scene.once(&make("second"), &once, by, later), Came::Already(made.clone()), "{later}");
        }
        assert_eq!(scene.world.documents(&scene.policy), before);
        // A day later it is a key like any other.
        let again = scene.once(&make("third"), &once, by, NOW + KEPT_MS);
        assert!(matches!(again, Came::To(_)), "{again:?}");
        assert_eq!(scene.made(by).kept.len(), 1, "what was over went with it");
    }
}

#[test]
fn a_key_with_another_request_makes_nothing() {
    let mut scene = Scene::new();
    let admin = admin("acme");
    assert!(matches!(scene.once(&grant("g1"), &key("k", &admin, "{}"), &admin, NOW), Came::To(_)));
    let came = scene.once(&grant("g2"), &key("k", &admin, "{ }"), &admin, NOW);
    assert_eq!(came, Came::Nothing("idempotency_key_reused"));
}

#[test]
fn a_refusal_is_not_kept_and_may_be_tried_anew() {
    let mut scene = Scene::new();
    let (admin, anna) = (admin("acme"), staff("anna"));
    let block = |level_of: &str| Command::SetConsent {
        tenant: tid("acme"),
        choice: postern::lifecycle::Choice::Level(level(level_of)),
        until: None,
        expected: None,
    };
    scene.world.run(&block("block"), Actor::Subject(&admin), NOW, &scene.policy).unwrap();
    let once = key("k", &anna, "{}");
    assert_eq!(scene.once(&start("s1"), &once, &anna, NOW), Came::Nothing("consent_closes"));
    assert_eq!(scene.made(&anna), Made::default());
    scene.world.run(&block("full"), Actor::Subject(&admin), NOW + 1, &scene.policy).unwrap();
    assert!(matches!(scene.once(&start("s2"), &once, &anna, NOW + 2), Came::To(_)));
}

#[test]
fn whoever_may_not_ask_any_more_is_told_as_without_a_key_and_nothing_is_looked_up_for_them() {
    let mut scene = Scene::new();
    let (admin, anna, olga) = (admin("acme"), staff("anna"), staff("olga"));
    for (by, command) in [(&admin, grant("g1")), (&anna, start("s1")), (&olga, glass("s2"))] {
        assert!(matches!(scene.once(&command, &key("k", by, "{}"), by, NOW), Came::To(_)));
    }
    let demoted = Subject { roles: vec![role("reader")], ..admin.clone() };
    let elsewhere = Subject { tenant: Some(tid("other")), ..admin.clone() };
    let acting = |of: &Subject| Subject { acting: true, ..of.clone() };
    let foreign = |of: &Subject| Subject { environment: Some(eid("sandbox")), ..of.clone() };
    scene.policy.emergency.break_glass = None;
    for (by, command, code) in [
        (&demoted, grant("g2"), "not_allowed"),
        (&elsewhere, grant("g2"), "not_allowed"),
        (&acting(&admin), grant("g2"), "acting"),
        (&foreign(&admin), grant("g2"), "environment_foreign"),
        (&acting(&anna), start("s3"), "acting"),
        (&foreign(&anna), start("s3"), "environment_foreign"),
        (&olga, glass("s3"), "not_operator"),
    ] {
        let (came, asked) = scene.asked(&command, &key("k", by, "{}"), Actor::Subject(by), NOW + 1);
        assert_eq!((came, asked), (Came::Nothing(code), vec![]), "{by:?}");
    }
}

#[test]
fn nobody_is_told_what_another_one_made() {
    let mut scene = Scene::new();
    let (anna, ben) = (staff("anna"), staff("ben"));
    assert!(matches!(scene.once(&start("s1"), &key("k", &anna, "{}"), &anna, NOW), Came::To(_)));
    assert!(matches!(scene.once(&start("s2"), &key("k", &ben, "{}"), &ben, NOW), Came::To(_)));
    // Not even with the digest of the other's key in hand: it is looked for among one's own.
    let stolen = key("k2", &anna, "{}");
    assert!(matches!(scene.once(&start("s3"), &stolen, &anna, NOW), Came::To(_)));
    assert!(matches!(scene.once(&start("s4"), &stolen, &ben, NOW), Came::To(_)));
}

#[test]
fn so_many_keys_are_kept_and_no_more_until_the_first_is_forgotten() {
    let mut scene = Scene::new();
    let admin = admin("acme");
    let most = i64::try_from(MOST_KEYS).unwrap();
    for n in 0..most {
        let once = key(&format!("k{n}"), &admin, "{}");
        assert!(matches!(scene.once(&grant(&format!("g{n}")), &once, &admin, NOW + n), Came::To(_)));
    }
    let size = serde_json::to_string(&scene.made(&admin)).unwrap().len();
    assert!(size < 200 * MOST_KEYS, "a document of {size} bytes goes into each record");
    let one_more = key("one more", &admin, "{}");
    let came = scene.once(&grant("more"), &one_more, &admin, NOW + KEPT_MS - 1);
    assert_eq!(came, Came::Nothing("too_many_idempotency_keys"));
    // What is there is still told, and without a key everything goes on.
    let known = scene.once(&grant("x"), &key("k7", &admin, "{}"), &admin, NOW + most);
    assert_eq!(known, Came::Already(Thing::Grant(gid("g7"))));
    scene.world.run(&grant("bare"), Actor::Subject(&admin), NOW + most, &scene.policy).unwrap();
    assert!(matches!(scene.once(&grant("more"), &one_more, &admin, NOW + KEPT_MS), Came::To(_)));
    assert_eq!(scene.made(&admin).kept.len(), MOST_KEYS);
}

#[test]
fn keys_are_swept_once_when_the_last_one_is_over() {
    let mut scene = Scene::new();
    let admin = admin("acme");
    for (word, now) in [("a", NOW), ("b", NOW + 50)] {
        let _ = scene.once(&grant(word), &key(word, &admin, "{}"), &admin, now);
    }
    let due = scene.made(&admin).due().unwrap();
    assert_eq!(due, at(NOW + 50 + KEPT_MS));
    assert_eq!(scene.expire(&admin, due.ms() - 1).unwrap_err().code(), "not_due");
    let change = scene.expire(&admin, due.ms()).unwrap();
    assert_eq!(scene.made(&admin), Made::default());
    assert_eq!(serde_json::to_value(&change.events[0]).unwrap()["keys"], 2);
    assert_eq!(Document::Made(scene.made(&admin)).due(), None);
    assert_eq!(scene.expire(&admin, due.ms()).unwrap(), Change::NOTHING);
    assert_eq!(scene.expire(&staff("nobody"), due.ms()).unwrap_err().code(), "not_found");
    let by_hand = Command::Expire { key: Key::Made(tid("acme"), admin.id.clone()) };
    let refused = scene.world.run(&by_hand, Actor::Subject(&admin), due.ms(), &scene.policy);
    assert_eq!(refused.unwrap_err().code(), "not_allowed");
}

#[test]
fn what_is_kept_but_cannot_be_read_makes_nothing() {
    let mut scene = Scene::new();
    let admin = admin("acme");
    let key_of = Key::Made(tid("acme"), admin.id.clone());
    // Of another kind than its key: unreadable, never absent.
    scene.world.put(key_of, Document::Presence(Default::default()));
    let came = scene.once(&grant("g"), &key("k", &admin, "{}"), &admin, NOW);
    assert_eq!(came, Came::Nothing("state_unavailable"));
}

#[test]
fn what_makes_nothing_goes_by_as_if_there_were_no_key() {
    let mut scene = Scene::new();
    let admin = admin("acme");
    let once = key("k", &admin, "{}");
    assert!(matches!(scene.once(&grant("g"), &key("other", &admin, "{}"), &admin, NOW), Came::To(_)));
    let withdraw = Command::WithdrawGrant { tenant: tid("acme"), grant: gid("g") };
    let Came::To(first) = scene.once(&withdraw, &once, &admin, NOW) else { panic!() };
    assert!(first.documents.iter().all(|(key, _)| !matches!(key, Key::Made(..))));
    assert_eq!(scene.once(&withdraw, &once, &admin, NOW), Came::To(Change::NOTHING));
    let answer = Command::Request { tenant: tid("acme"), request: rid("r"), step: Step::Withdraw };
    let (came, _) = scene.asked(&answer, &once, Actor::Subject(&staff("anna")), NOW);
    assert_eq!(came, Came::Nothing("not_found"));
}

proptest! {
    /// Two gateways after a fail-over, each with keys of its own, some of them the same: after the join no key that either of
    /// them remembers makes anything again, whichever side is asked.
    #[test]
    fn of_a_fork_no_key_makes_anything_again(seeds in proptest::collection::vec(any::<u64>(), 1..24)) {
        let policy = Plain::new(true).compile();
        let subject = admin("acme");
        let change = |n: usize, side: usize| ChangeId::new(&format!("c{n:04}-{side}")).unwrap();
        let root = Stored::after(None, ChangeId::new("c0000").unwrap(), Document::Made(Made::default()));
        let mut sides = [root.clone(), root];
        for (n, seed) in seeds.iter().enumerate() {
            let mut dice = Dice::new(*seed);
            let (side, word) = (dice.below(2), format!("k{}", dice.below(6)));
            let Some(Document::Made(mut made)) = narrowest(&sides[side], &policy.ladder) else { panic!() };
            let (once, now) = (key(&word, &subject, "{}"), at(NOW + i64::try_from(n).unwrap()));
            if made.by(once.key, now).is_none() {
                let made_here = Thing::Grant(gid(&format!("g{n}-{side}")));
                let until = now.plus_ms(KEPT_MS);
                made.kept.insert(once.key, Kept { until, change: change(n + 1, side), made: made_here, asked: once.asked });
                sides[side] = Stored::after(Some(&sides[side]), change(n + 1, side), Document::Made(made));
            }
        }
        let (one, other) = (join(&sides[0], &sides[1]), join(&sides[1], &sides[0]));
        prop_assert_eq!(&one, &other);
        let Some(Document::Made(holds)) = narrowest(&one, &policy.ladder) else { panic!() };
        let now = at(NOW + 100);
        for side in &sides {
            let Some(Document::Made(made)) = narrowest(side, &policy.ladder) else { panic!() };
            for (digest, kept) in &made.kept {
                let ours = holds.by(*digest, now);
                prop_assert!(ours.is_some_and(|ours| ours.until >= kept.until));
                let known = [&sides[0], &sides[1]].iter().any(|side| {
                    let Some(Document::Made(made)) = narrowest(side, &policy.ladder) else { return false };
                    made.kept.get(digest) == ours
                });
                prop_assert!(known, "it is told what one side made");
            }
        }
    }
}
