//! Three gateways in processes of their own, a Redis with two replicas, and whatever may happen to them, by a seed. After each step the laws are
//! looked at that can be seen from outside; in the end each ledger is proved.
//!
//! `POSTERN_SEED=n` repeats a schedule of faults (not the instants at which machines do what they do); `scripts/chaos` runs for twenty
//! minutes. Clocks: a gateway's wall clock is moved forward by its operations listener (`dangerous.clock`) and is back where it was after its
//! next start; nobody sets the machine's own.
//!
//! | file | what it has |
//! | --- | --- |
//! | `seed` | chance that can be had again |
//! | `people` | who goes on asking and changing |
//! | `application` | what they reach |
//! | `truth` | what was acknowledged, and whether what comes may |
//! | `machines` | processes and servers, and what happens to them |

mod application;
mod machines;
mod people;
mod seed;
mod truth;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

pub use self::machines::get;
use self::{
    machines::Machines,
    people::{Counts, Door, Stage, TENANTS},
    seed::Seed,
    truth::Truth,
};
use crate::{
    watch::lone,
    world::{People, prove},
};

/// How long the short form goes on.
const SHORT: u64 = 16;
/// How long a fleet may take to serve everybody again once every fault is over.
const RECOVERY: Duration = Duration::from_secs(60);

#[test]
fn whatever_happens_the_laws_hold() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = number("POSTERN_SEED").unwrap_or_else(|| application::wall_ms().unsigned_abs() % 1_000_000);
    let lasts = Duration::from_secs(number("POSTERN_CHAOS_SECONDS").unwrap_or(SHORT));
    println!("chaos: POSTERN_SEED={seed} repeats this; {} s", lasts.as_secs());
    let told = std::panic::catch_unwind(|| run(Seed::new(seed), lasts));
    if let Err(why) = told {
        println!("chaos: failed; POSTERN_SEED={seed} repeats the schedule");
        std::panic::resume_unwind(why);
    }
}

fn run(seed: Seed, lasts: Duration) {
    let truth = Arc::new(Truth::default());
    let mut machines = Machines::start(&truth);
    let stage = Stage {
        doors: [0, 1, 2].map(|number| RwLock::new(machines.door(number))),
        truth: Arc::clone(&truth),
        people: People::load(machines.worlds[0].keys_dir.path(), None),
        over: AtomicBool::new(false),
        quiet: AtomicBool::new(false),
        busy: AtomicU64::new(0),
        counts: Mutex::default(),
    };
    for tenant in TENANTS {
        stage.choose(tenant, "full", 0, &stage.people.admin(tenant));
    }
    until_served(&stage);
    std::thread::scope(|scope| {
        let _ended = Ended(&stage);
        for gateway in 0..3 {
            let (member, streamer) = (&stage, seed.fork(100 + gateway as u64));
            scope.spawn(move || member.member(gateway));
            scope.spawn(move || member.streamer(gateway, streamer));
        }
        for (at, (name, tenant)) in
            [("sam", "acme"), ("vera", "globex"), ("tom", "acme"), ("ida", "globex")].into_iter().enumerate()
        {
            let (stage, seed) = (&stage, seed.fork(200 + at as u64));
            scope.spawn(move || stage.agent(name, tenant, seed));
        }
        for (at, tenant) in TENANTS.into_iter().enumerate() {
            let (stage, seed) = (&stage, seed.fork(300 + at as u64));
            scope.spawn(move || stage.administrator(tenant, seed));
        }
        steps(&stage, &mut machines, seed.fork(1), lasts);
    });
    let counts = stage.counts.lock().unwrap().clone();
    let paths = truth.paths();
    let mut records = 0;
    for (gateway, world) in machines.end().iter().enumerate() {
        let all = prove(&world.ledger_dir(), &world.people.keys.ledger);
        records += all.len();
        let mut intents: HashMap<&str, u64> = HashMap::new();
        for record in all.iter().filter(|record| record["kind"] == "access.intent") {
            *intents.entry(record["path"].as_str().unwrap()).or_default() += 1;
        }
        for (_, path) in paths.iter().filter(|(by, _)| *by == gateway) {
            let left = intents.get_mut(path.as_str()).filter(|left| **left > 0);
            *left.unwrap_or_else(|| panic!("law 1: `{path}` came through {gateway} and was not recorded")) -=
                1;
        }
    }
    let said = |map: &std::collections::BTreeMap<crate::watch::Said, u64>| -> String {
        map.iter().map(|(said, count)| format!("{said}: {count}")).collect::<Vec<_>>().join(", ")
    };
    println!(
        "chaos: members {} answered, the slowest {:?}, {} of another tenant refused; staff {}; changes {}; {} pieces of streams; \
         {} requests of staff arrived, each recorded; {records} records in three ledgers, all verified",
        counts.members,
        counts.members_longest,
        counts.foreign,
        said(&counts.staff),
        said(&counts.changes),
        counts.ticks,
        paths.len(),
    );
    assert_eq!(truth.broken(), Vec::<String>::new());
    assert!(counts.members > 0 && !paths.is_empty(), "nobody came");
}

/// Everybody stops when this goes, also where a step fails.
struct Ended<'a>(&'a Stage);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, SeqCst);
    }
}

fn steps(stage: &Stage, machines: &mut Machines, mut seed: Seed, lasts: Duration) {
    let begun = Instant::now();
    for step in 1.. {
        if begun.elapsed() > lasts {
            return;
        }
        let before = stage.counts.lock().unwrap().clone();
        let at = begun.elapsed().as_secs_f64();
        let mut what = machines.happen(stage, &mut seed);
        if seed.below(4) == 0 {
            what += &format!(", then {}", machines.happen(stage, &mut seed));
        }
        machines.mend(stage);
        let mended = Instant::now();
        until_served(stage);
        let took = mended.elapsed();
        let (ended, there) = look(stage);
        let after = stage.counts.lock().unwrap().clone();
        let count = |counts: &Counts, is: fn(u16) -> bool| -> u64 {
            counts.staff.iter().filter(|(said, _)| is(said.status)).map(|(_, count)| count).sum()
        };
        let more = |is: fn(u16) -> bool| count(&after, is) - count(&before, is);
        let changes = |counts: &Counts| -> u64 {
            counts
                .changes
                .iter()
                .filter(|(said, _)| [200, 201].contains(&said.status))
                .map(|(_, count)| count)
                .sum()
        };
        println!(
            "chaos: step {step} at {at:.1} s: {what}; all served {:.1} s later; members {} answered; staff {} admitted, {} refused with 403, {} with 503, \
             {} cut; {} changes acknowledged; {ended} ended sessions stay ended, {there} others are there",
            took.as_secs_f64(),
            after.members - before.members,
            more(|status| status == 200),
            more(|status| status == 403),
            more(|status| status == 503),
            more(|status| status == 0),
            changes(&after) - changes(&before),
        );
        let broken = stage.truth.broken();
        if !broken.is_empty() {
            machines.tell_changes();
        }
        assert_eq!(broken, Vec::<String>::new());
    }
}

/// Waits until each gateway decides about staff, has nothing waiting, and answers for both tenants.
fn until_served(stage: &Stage) {
    let begun = Instant::now();
    let stranger = stage.people.staff("stranger");
    loop {
        let mut troubles = Vec::new();
        for gateway in 0..3 {
            for tenant in TENANTS {
                let (said, _) =
                    stage.ask(gateway, &lone("GET", &format!("/t/{tenant}/orders"), &stranger, ""));
                if said.status != 403 {
                    troubles.push(format!("{gateway} says {said} of {tenant}"));
                }
            }
            let operations = stage.door(gateway).operations;
            let metrics = machines::get(operations, "/metrics");
            if !metrics.contains("\npostern_changes_pending 0\n") {
                troubles.push(format!("{gateway} has changes waiting"));
            }
        }
        if troubles.is_empty() {
            return;
        }
        if begun.elapsed() > RECOVERY {
            let ready: Vec<String> =
                (0..3).map(|number| machines::get(stage.door(number).operations, "/readyz")).collect();
            panic!(
                "not served again within {RECOVERY:?}: {troubles:?}; {ready:#?}; {:?}",
                stage.truth.broken()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Looks whether what was acknowledged is so, while nobody changes anything; how many sessions ended and stay so, and how many are there.
fn look(stage: &Stage) -> (usize, usize) {
    stage.quiet.store(true, SeqCst);
    let begun = Instant::now();
    while stage.busy.load(SeqCst) > 0 {
        assert!(begun.elapsed() < RECOVERY, "somebody never comes to an end");
        std::thread::sleep(Duration::from_millis(2));
    }
    for tenant in TENANTS {
        let agree = || {
            let first = stage.level(0, tenant)?;
            ((1..3).all(|gateway| stage.level(gateway, tenant).as_ref() == Some(&first))).then_some(first)
        };
        let level = loop {
            if let Some(level) = agree() {
                break level;
            }
            assert!(begun.elapsed() < RECOVERY, "gateways never agree on the consent of {tenant}");
            std::thread::sleep(Duration::from_millis(20));
        };
        let choice = stage.truth.choice(tenant);
        if choice.acknowledged != level && !choice.possible.contains(&level) {
            stage.truth.broke(format!("law 8: consent of {tenant} is {level}, and {choice:?}"));
        }
        stage.truth.settled(tenant, &level);
        if level == "block" {
            // Else nobody gets in for long.
            let said = stage.choose(tenant, "full", 0, &stage.people.admin(tenant));
            assert_eq!(said.status, 200, "{said}");
        }
    }
    let [ended, there] = stage.truth.sessions();
    let reads = |gateway: usize, id: &str, session: &truth::Session| {
        let token = stage.people.staff(&session.person);
        let path = format!("/t/{}/orders", session.tenant);
        let text = lone("GET", &path, &token, &format!("Postern-Session: {id}\r\n"));
        loop {
            let said = stage.ask(gateway, &text).0;
            // A gateway may find out late that its server is another one.
            if said.status != 503 || begun.elapsed() > RECOVERY {
                return said;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // The latest, and some of those long gone.
    let every = (ended.len() / 20).max(1);
    let ended_ones = ended.iter().step_by(every).map(|one| (one, "ended", 403));
    for ((id, session), what, wanted) in ended_ones.chain(there.iter().map(|one| (one, "begun", 200))) {
        for gateway in 0..3 {
            let said = reads(gateway, id, session);
            if said.status != wanted {
                stage
                    .truth
                    .broke(format!("law 8: {id} had {what} and gets {said} at {gateway}: {session:?}"));
            }
        }
    }
    stage.quiet.store(false, SeqCst);
    (ended.len(), there.len())
}

/// A door is where people go in.
fn open(stage: &Stage, gateway: usize, door: Door) {
    *stage.doors[gateway].write().unwrap() = door;
}
