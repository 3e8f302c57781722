//! Looking resources up at their applications, for whoever decides ([`Outside`]): one question at a time for one resource whoever asks,
//! so many at a time for one application, so many waiting, and answers kept for a bounded time and in bounded number.
//!
//! * [`ask`]: one question over HTTP.
//! * [`answer`]: what an answer says, read strictly.
//! * [`fault`]: why there is none.
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
    sync::{Semaphore, watch},
    time::timeout,
};

use crate::{
    engine::outside::{Asking, Outside, Told, Wanted},
    model::{TenantId, Timestamp},
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
    questions: HashMap<Wanted, watch::Receiver<Option<Told>>>,
    upstreams: HashMap<Arc<str>, AtUpstream>,
}

/// What is under way at one application.
struct AtUpstream {
    at_once: Arc<Semaphore>,
    number: usize,
    tenants: HashMap<TenantId, (Arc<Semaphore>, usize)>,
}

/// Turns that one question waits for, its tenant's before all.
type Turns = [Arc<Semaphore>; 2];

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
    now: Timestamp,
    wall: Timestamp,
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
    fn at_hand(&self, wanted: &Wanted, now: Timestamp) -> Option<Told> {
        let told = self.desk.at_hand(wanted, now)?;
        self.desk.counts.at_hand.fetch_add(1, Relaxed);
        Some(told)
    }

    fn ask(&self, wanted: Wanted, now: Timestamp, wall: Timestamp) -> Asking {
        let now_is = |told: Told| -> Asking { Box::pin(std::future::ready(told)) };
        if let Some(told) = self.at_hand(&wanted, now) {
            return now_is(told);
        }
        let (mut done, begins) = match self.desk.take_up(&wanted, now, wall) {
            Turn::Known(told) => return now_is(told),
            Turn::Wait(done) => (done, None),
            Turn::Ask { done, tell, errand, turns } => (done, Some((tell, errand, turns))),
        };
        if let Some((tell, errand, turns)) = begins {
            let under_way = Leave { desk: Arc::clone(&self.desk), errand: *errand };
            self.background.spawn(async move {
                let told = under_way.desk.run(&under_way.errand, &turns).await;
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
        turns: Turns,
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
        let mut under_way = self.desk.lock();
        under_way.questions.remove(&self.errand.wanted);
        let Some(at) = under_way.upstreams.get_mut(name) else { return };
        at.number = at.number.saturating_sub(1);
        let tenant = &self.errand.wanted.tenant;
        match at.tenants.get_mut(tenant) {
            Some((_, number)) if *number > 1 => *number = number.saturating_sub(1),
            Some(_) | None => drop(at.tenants.remove(tenant)),
        }
        if at.number == 0 {
            under_way.upstreams.remove(name);
        }
    }
}

impl Errand {
    fn upstream(&self) -> Option<&Upstream> {
        self.routing.upstreams.get(self.rule.upstream)
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at_hand(&self, wanted: &Wanted, now: Timestamp) -> Option<Told> {
        let kept = self.kept.get(wanted)?;
        (now < kept.until && kept.map == self.map.load(Acquire)).then_some(kept.told)
    }

    /// How something is asked for under the map in force, if it is.
    fn errand(&self, wanted: &Wanted, now: Timestamp, wall: Timestamp) -> Option<Errand> {
        // The number first: a map that comes in between makes the answer one that is not kept.
        let map = self.map.load(Acquire);
        let routing = self.routing.load_full()?;
        let rule = routing.policy.resources.types.get(&wanted.resource.kind)?.look_up.as_deref()?.clone();
        Some(Errand { routing, rule, wanted: wanted.clone(), map, now, wall })
    }

    fn take_up(&self, wanted: &Wanted, now: Timestamp, wall: Timestamp) -> Turn {
        let Some(errand) = self.errand(wanted, now, wall) else { return Turn::Known(Told::Nothing) };
        let Some(upstream) = errand.upstream() else { return Turn::Known(Told::Nothing) };
        let mut under_way = self.lock();
        if let Some(done) = under_way.questions.get(wanted) {
            return Turn::Wait(done.clone());
        }
        // Whoever was just told is in what is kept.
        if let Some(told) = self.at_hand(wanted, now) {
            return Turn::Known(told);
        }
        let at = under_way.upstreams.entry(Arc::from(upstream.name.as_str())).or_insert_with(|| AtUpstream {
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            number: 0,
            tenants: HashMap::new(),
        });
        let of_tenant = at.tenants.get(&wanted.tenant).map_or(0, |(_, number)| *number);
        if at.number >= MOST_UNDER_WAY || of_tenant >= MOST_OF_TENANT {
            drop(under_way);
            self.count(Fault::Busy, &errand);
            return Turn::Known(Told::Silence);
        }
        at.number += 1;
        let own = || (Arc::new(Semaphore::new(AT_ONCE_OF_TENANT)), 0);
        let (own, number) = at.tenants.entry(wanted.tenant.clone()).or_insert_with(own);
        *number += 1;
        let turns = [Arc::clone(own), Arc::clone(&at.at_once)];
        let (tell, done) = watch::channel(None);
        under_way.questions.insert(wanted.clone(), done.clone());
        Turn::Ask { done, tell, errand: Box::new(errand), turns }
    }

    /// Asks, and keeps what came of it.
    async fn run(&self, errand: &Errand, [of_tenant, of_all]: &Turns) -> Told {
        let within = Duration::from_millis(u64::try_from(errand.rule.within_ms).unwrap_or(0));
        let asked = async {
            // Never closed.
            let _turns = (of_tenant.acquire().await, of_all.acquire().await);
            self.exchange(errand, within).await
        };
        let (told, until) = match timeout(within, asked).await.unwrap_or(Err(Fault::Slow)) {
            Ok(said) => {
                self.counts.answered.fetch_add(1, Relaxed);
                let until = said.until;
                (Told::This(Arc::new(said)), until)
            }
            Err(fault) => {
                self.count(fault, errand);
                let asked = errand.now.plus_ms(NOTHING_MS);
                match fault.is_silence() {
                    true => (Told::Silence, asked.plus_ms(errand.rule.within_ms)),
                    false => (Told::Nothing, asked),
                }
            }
        };
        let kept = Kept { told: told.clone(), until, map: errand.map };
        self.kept.insert(errand.wanted.clone(), kept);
        told
    }

    async fn exchange(&self, errand: &Errand, within: Duration) -> Result<LookedUp, Fault> {
        let Errand { routing, rule, wanted, now, wall, .. } = errand;
        let upstream = errand.upstream().ok_or(Fault::Unreachable("no_upstream"))?;
        let target = rule.target(&wanted.tenant, &wanted.resource.id);
        let signed = routing.asserter.assert_own(wanted.tenant.as_str(), &target, upstream, *wall);
        let assertion = signed.map_err(|_| Fault::Unsigned)?;
        let question = Question { target: &target, header: &routing.asserter.header, assertion: &assertion };
        let first = self.turn.fetch_add(1, Relaxed);
        let body = ask(upstream, first, within, &question).await?;
        let parent = routing.policy.resources.parent(&wanted.resource.kind);
        let resource = answer::read(&body, rule, wanted, parent)?;
        Ok(LookedUp { resource, since: *now, until: now.plus_ms(rule.for_ms) })
    }

    fn count(&self, fault: Fault, errand: &Errand) {
        let number = fault.number();
        if let Some(count) = self.counts.faults.get(number) {
            count.fetch_add(1, Relaxed);
        }
        let Some(last) = self.counts.told.get(number).filter(|_| !fault.is_ordinary()) else { return };
        let (before, now) = (last.load(Relaxed), errand.now.ms());
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
