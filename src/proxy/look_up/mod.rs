//! Looking resources up at their applications, for whoever decides ([`Outside`]): one question at a time for one resource whoever asks,
//! so many at a time for one application, so many waiting, and answers kept for a bounded time and in bounded number.
//!
//! * `ask`: one question over HTTP.
//! * `answer`: what an answer says, read strictly.
//! * `fault`: why there is none.
//!
//! An answer is kept under tenant, life of the tenant, and resource, so none is another's (law 11); and under the map that was in force
//! when it was asked for. It counts from before it was asked for. What is known not to be had is not asked for again for a moment.
//!
//! Never here: whether something has to be looked up at all ([`crate::policy::look_up`]).

mod answer;
mod ask;
mod fault;

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicI64, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use quick_cache::sync::Cache;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit, watch},
    time::timeout,
};

use crate::{
    engine::outside::{Asker, Asking, Instants, Outside, Told, Wanted},
    model::{SubjectRef, TenantId, Timestamp},
    policy::{LookUp, LookedUp},
};

use super::routing::{Routing, Upstream};
use ask::{Question, ask};
use fault::Fault;

/// The largest answer, in bytes.
const MOST_BODY: usize = 64 << 10;
/// Questions to one application at a time.
pub const AT_ONCE: usize = 16;
/// … and with those that wait.
pub const MOST_UNDER_WAY: usize = 256;
/// The same of one tenant, so that none keeps all others waiting.
pub const AT_ONCE_OF_TENANT: usize = 8;
/// … and with those that wait.
pub const MOST_OF_TENANT: usize = 64;
/// … and of one person in it, so that none keeps all others out.
pub const MOST_OF_PERSON: usize = 32;
/// Turns beside these at one application, for exchanges under way that are decided again: no number of requests takes them.
pub const BESIDE: usize = 4;
/// The same of one tenant.
pub const BESIDE_OF_TENANT: usize = 2;
/// Answers that are kept.
pub const MOST_KEPT: usize = 10_000;
/// For how long it is known that something cannot be had, in milliseconds.
const NOTHING_MS: i64 = 1_000;
/// How often one kind of fault is told of, in milliseconds.
const TOLD_AGAIN_MS: i64 = 60_000;

/// See the module's header.
pub struct LookUps {
    desk: Arc<Desk>,
    background: Handle,
}

/// What the questions under way share with whoever asks.
struct Desk {
    routing: ArcSwapOption<Routing>,
    /// Which map in force it is, counted.
    map: AtomicU64,
    kept: Cache<Wanted, Kept>,
    under_way: Mutex<UnderWay>,
    turn: AtomicUsize,
    counts: Counts,
}

#[derive(Clone)]
struct Kept {
    told: Told,
    until: Timestamp,
    map: u64,
}

#[derive(Default)]
struct UnderWay {
    questions: HashMap<Asked, watch::Receiver<Option<Told>>>,
    upstreams: HashMap<Arc<str>, AtUpstream>,
}

/// A question: what is asked for, under which map, and whether for what is under way. Nobody is answered by the map before
/// theirs, and what is under way does not fall with a request that waited too long.
type Asked = (u64, bool, Wanted);

/// What is under way at one application.
struct AtUpstream {
    turns: Arc<Turns>,
    bound: Bound,
    tenants: HashMap<TenantId, OfTenant>,
}

/// … of one tenant.
struct OfTenant {
    turns: Arc<Turns>,
    bound: Bound,
    persons: HashMap<SubjectRef, usize>,
}

/// How many questions there are: all, and those of requests, which are bounded.
#[derive(Default)]
struct Bound {
    all: usize,
    of_requests: usize,
}

impl Bound {
    fn add(&mut self, asker: &Asker) {
        self.all += 1;
        self.of_requests += usize::from(*asker != Asker::UnderWay);
    }

    fn take(&mut self, asker: &Asker) {
        self.all = self.all.saturating_sub(1);
        self.of_requests = self.of_requests.saturating_sub(usize::from(*asker != Asker::UnderWay));
    }
}

/// Turns that a question waits for.
struct Turns {
    of_all: Semaphore,
    beside: Semaphore,
}

impl Turns {
    fn new(of_all: usize, beside: usize) -> Arc<Turns> {
        Arc::new(Turns { of_all: Semaphore::new(of_all), beside: Semaphore::new(beside) })
    }

    /// Waits for one. The semaphores are never closed.
    async fn wait(&self, asker: &Asker) -> Option<SemaphorePermit<'_>> {
        match asker {
            Asker::Person(_) => self.of_all.acquire().await.ok(),
            Asker::UnderWay => tokio::select! {
                turn = self.of_all.acquire() => turn.ok(),
                turn = self.beside.acquire() => turn.ok(),
            },
        }
    }
}

#[derive(Default)]
struct Counts {
    at_hand: AtomicU64,
    answered: AtomicU64,
    faults: [AtomicU64; Fault::CODES.len()],
    /// When each was told of last.
    told: [AtomicI64; Fault::CODES.len()],
}

/// All that it takes to ask.
struct Errand {
    routing: Arc<Routing>,
    rule: LookUp,
    wanted: Wanted,
    map: u64,
    instants: Instants,
    asker: Asker,
}

impl LookUps {
    /// Questions are asked on this runtime: they end whether or not whoever asked first is still there.
    pub fn new(background: Handle) -> LookUps {
        let desk = Desk {
            routing: ArcSwapOption::empty(),
            map: AtomicU64::new(0),
            kept: Cache::new(MOST_KEPT),
            under_way: Mutex::default(),
            turn: AtomicUsize::new(0),
            counts: Counts::default(),
        };
        LookUps { desk: Arc::new(desk), background }
    }

    /// Another map is in force. What was answered under the one before counts no more.
    pub fn follow(&self, routing: Arc<Routing>) {
        self.desk.routing.store(Some(routing));
        self.desk.map.fetch_add(1, Release);
        self.desk.kept.clear();
    }

    /// In the form of metrics, where the map in force has anything to look up.
    pub fn metrics(&self, out: &mut String) {
        let desk = &self.desk;
        if !desk.routing.load().as_ref().is_some_and(|routing| routing.policy.resources.looks_up()) {
            return;
        }
        let name = "postern_look_ups_total";
        let _ = writeln!(
            out,
            "# HELP {name} Resources that decisions wanted looked up, by what came of it.\n# TYPE {name} counter"
        );
        let counts = &desk.counts;
        for (result, count) in [("at_hand", &counts.at_hand), ("answered", &counts.answered)]
            .into_iter()
            .chain(Fault::CODES.into_iter().zip(&counts.faults))
        {
            let _ = writeln!(out, "{name}{{result=\"{result}\"}} {}", count.load(Relaxed));
        }
        let under_way = desk.lock().questions.len();
        for (name, help, value) in [
            (
                "postern_look_ups_under_way",
                "Questions to applications that are under way, or wait.",
                under_way,
            ),
            ("postern_look_ups_kept", "Answers that are kept.", desk.kept.len()),
        ] {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
    }
}

impl Outside for LookUps {
    fn at_hand(&self, wanted: &Wanted, now: Timestamp, asker: &Asker) -> Option<Told> {
        let told = self.desk.at_hand(wanted, now, asker)?;
        self.desk.counts.at_hand.fetch_add(1, Relaxed);
        Some(told)
    }

    fn ask(&self, wanted: Wanted, instants: Instants, asker: &Asker) -> Asking {
        let now_is = |told: Told| -> Asking { Box::pin(std::future::ready(told)) };
        if let Some(told) = self.at_hand(&wanted, instants.now(), asker) {
            return now_is(told);
        }
        let (mut done, begins) = match self.desk.take_up(&wanted, instants, asker) {
            Turn::Known(told) => return now_is(told),
            Turn::Wait(done) => (done, None),
            Turn::Ask { done, tell, errand, turns } => (done, Some((tell, errand, turns))),
        };
        if let Some((tell, errand, turns)) = begins {
            let under_way = Leave { desk: Arc::clone(&self.desk), errand: *errand };
            self.background.spawn(async move {
                let [of_tenant, of_all] = &turns;
                let told = under_way.desk.run(&under_way.errand, of_tenant, of_all).await;
                // Gone from what is under way before anybody hears of it: whoever asks next looks at what is kept.
                drop(under_way);
                tell.send_replace(Some(told));
            });
        }
        Box::pin(async move {
            let told = done.wait_for(Option::is_some).await.ok().and_then(|told| told.clone());
            told.unwrap_or(Told::Silence)
        })
    }
}

/// What becomes of somebody who wants something looked up.
enum Turn {
    /// It is known by now.
    Known(Told),
    /// Somebody else has asked already.
    Wait(watch::Receiver<Option<Told>>),
    /// It has to be asked.
    Ask {
        done: watch::Receiver<Option<Told>>,
        tell: watch::Sender<Option<Told>>,
        errand: Box<Errand>,
        turns: [Arc<Turns>; 2],
    },
}

/// Takes a question out of what is under way, however it ends.
struct Leave {
    desk: Arc<Desk>,
    errand: Errand,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let name = self.errand.upstream().map(|upstream| upstream.name.as_str()).unwrap_or_default();
        let asker = &self.errand.asker;
        let mut under_way = self.desk.lock();
        under_way.questions.remove(&self.errand.asked());
        let Some(at) = under_way.upstreams.get_mut(name) else { return };
        at.bound.take(asker);
        let tenant = &self.errand.wanted.tenant;
        if let Some(own) = at.tenants.get_mut(tenant) {
            own.bound.take(asker);
            if let Asker::Person(person) = asker
                && let Some(number) = own.persons.get_mut(person)
            {
                *number = number.saturating_sub(1);
                if *number == 0 {
                    own.persons.remove(person);
                }
            }
            if own.bound.all == 0 {
                at.tenants.remove(tenant);
            }
        }
        if at.bound.all == 0 {
            under_way.upstreams.remove(name);
        }
    }
}

impl Errand {
    fn upstream(&self) -> Option<&Upstream> {
        self.routing.upstreams.get(self.rule.upstream)
    }

    fn asked(&self) -> Asked {
        (self.map, self.asker == Asker::UnderWay, self.wanted.clone())
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at_hand(&self, wanted: &Wanted, now: Timestamp, asker: &Asker) -> Option<Told> {
        let kept = self.kept.get(wanted)?;
        // One that waited in vain among requests says nothing of what has turns of its own.
        let counts = *asker != Asker::UnderWay || kept.told != Told::Silence;
        (counts && now < kept.until && kept.map == self.map.load(Acquire)).then_some(kept.told)
    }

    /// How something is asked for under the map in force, if it is.
    fn errand(&self, wanted: &Wanted, instants: Instants, asker: &Asker) -> Option<Errand> {
        // The number first: a map that comes in between makes the answer one that is not kept.
        let map = self.map.load(Acquire);
        let routing = self.routing.load_full()?;
        let rule = routing.policy.resources.types.get(&wanted.resource.kind)?.look_up.as_deref()?.clone();
        Some(Errand { routing, rule, wanted: wanted.clone(), map, instants, asker: asker.clone() })
    }

    fn take_up(&self, wanted: &Wanted, instants: Instants, asker: &Asker) -> Turn {
        let now = instants.now();
        let Some(errand) = self.errand(wanted, instants, asker) else { return Turn::Known(Told::Nothing) };
        let Some(upstream) = errand.upstream() else { return Turn::Known(Told::Nothing) };
        let asked = errand.asked();
        let mut under_way = self.lock();
        if let Some(done) = under_way.questions.get(&asked) {
            return Turn::Wait(done.clone());
        }
        // Whoever was just told is in what is kept.
        if let Some(told) = self.at_hand(wanted, now, asker) {
            return Turn::Known(told);
        }
        let at = under_way.upstreams.get(upstream.name.as_str());
        if let (Some(at), Asker::Person(person)) = (at, asker) {
            let own = at.tenants.get(&wanted.tenant);
            let of_person = own.and_then(|own| own.persons.get(person)).copied().unwrap_or(0);
            if at.bound.of_requests >= MOST_UNDER_WAY
                || own.is_some_and(|own| own.bound.of_requests >= MOST_OF_TENANT)
                || of_person >= MOST_OF_PERSON
            {
                drop(under_way);
                self.count(Fault::Busy, &errand);
                return Turn::Known(Told::Silence);
            }
        }
        let at = under_way.upstreams.entry(Arc::from(upstream.name.as_str())).or_insert_with(|| AtUpstream {
            turns: Turns::new(AT_ONCE, BESIDE),
            bound: Bound::default(),
            tenants: HashMap::new(),
        });
        at.bound.add(asker);
        let own = at.tenants.entry(wanted.tenant.clone()).or_insert_with(|| OfTenant {
            turns: Turns::new(AT_ONCE_OF_TENANT, BESIDE_OF_TENANT),
            bound: Bound::default(),
            persons: HashMap::new(),
        });
        own.bound.add(asker);
        if let Asker::Person(person) = asker {
            *own.persons.entry(person.clone()).or_default() += 1;
        }
        let turns = [Arc::clone(&own.turns), Arc::clone(&at.turns)];
        let (tell, done) = watch::channel(None);
        under_way.questions.insert(asked, done.clone());
        Turn::Ask { done, tell, errand: Box::new(errand), turns }
    }

    /// Asks, and keeps what came of it.
    async fn run(&self, errand: &Errand, of_tenant: &Turns, of_all: &Turns) -> Told {
        let within = Duration::from_millis(u64::try_from(errand.rule.within_ms).unwrap_or(0));
        let turns = async { (of_tenant.wait(&errand.asker).await, of_all.wait(&errand.asker).await) };
        let asked = match &errand.asker {
            Asker::Person(_) => {
                let waited = async {
                    let _turns = turns.await;
                    self.exchange(errand, within).await
                };
                timeout(within, waited).await
            }
            // Nobody waits but what holds: its time begins with its turn.
            Asker::UnderWay => {
                let _turns = turns.await;
                timeout(within, self.exchange(errand, within)).await
            }
        };
        let (told, until) = match asked.unwrap_or(Err(Fault::Slow)) {
            Ok(said) => {
                self.counts.answered.fetch_add(1, Relaxed);
                let until = said.until;
                (Told::This(Arc::new(said)), until)
            }
            Err(fault) => {
                self.count(fault, errand);
                let told = if fault.is_silence() { Told::Silence } else { Told::Nothing };
                (told, errand.instants.now().plus_ms(NOTHING_MS))
            }
        };
        let kept = Kept { told: told.clone(), until, map: errand.map };
        self.kept.insert(errand.wanted.clone(), kept);
        told
    }

    async fn exchange(&self, errand: &Errand, within: Duration) -> Result<LookedUp, Fault> {
        let Errand { routing, rule, wanted, .. } = errand;
        let (now, wall) = (errand.instants.now(), errand.instants.wall());
        let upstream = errand.upstream().ok_or(Fault::Unreachable("no_upstream"))?;
        let target = rule.target(&wanted.tenant, &wanted.resource.id);
        let signed = routing.asserter.assert_own(wanted.tenant.as_str(), &target, upstream, wall);
        let assertion = signed.map_err(|_| Fault::Unsigned)?;
        let question = Question { target: &target, header: &routing.asserter.header, assertion: &assertion };
        let first = self.turn.fetch_add(1, Relaxed);
        let body = ask(upstream, first, within, &question).await?;
        let parent = routing.policy.resources.parent(&wanted.resource.kind);
        let resource = answer::read(&body, rule, wanted, parent)?;
        Ok(LookedUp { resource, since: now, until: now.plus_ms(rule.for_ms) })
    }

    fn count(&self, fault: Fault, errand: &Errand) {
        let number = fault.number();
        if let Some(count) = self.counts.faults.get(number) {
            count.fetch_add(1, Relaxed);
        }
        let Some(last) = self.counts.told.get(number).filter(|_| !fault.is_ordinary()) else { return };
        let (before, now) = (last.load(Relaxed), errand.instants.now().ms());
        let again = before == 0 || now.saturating_sub(before) >= TOLD_AGAIN_MS;
        if again && last.compare_exchange(before, now, Relaxed, Relaxed).is_ok() {
            let upstream = errand.upstream().map(|upstream| upstream.name.as_str()).unwrap_or_default();
            tracing::warn!(
                upstream,
                kind = errand.wanted.resource.kind.as_str(),
                code = fault.code(),
                "a look-up came to nothing, so what it was for counts as unknown: {fault}"
            );
        }
    }
}
