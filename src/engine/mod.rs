//! The two protocols that bind a record to a deed.
//!
//! - [`Engine::admit`]: decide, make the intent durable, look at the fuse once more, hand out an [`Admission`]; its end
//!   writes the outcome.
//! - [`Engine::change`]: decide, make the intent durable, commit, put it in force here and cut what it ends, make the
//!   outcome durable, answer.
//!
//! Beside them what keeps both true: settling after a crash, the sweeper of deadlines, the mender of changes that could
//! not be committed, the question for those of which nobody knows, the follower of what others change in the same store.
//!
//! Never here: HTTP, routes of the API, a rule (rules are [`crate::policy`] and [`crate::lifecycle`]).

mod accept;
mod admit;
mod attempts;
mod change;
mod doubt;
mod effects;
mod emergency;
mod erasable;
mod fall;
mod fault;
mod follow;
pub mod fuse;
mod grantors;
mod heal;
pub mod hooks;
mod ids;
mod judge;
pub mod knock;
mod known;
mod leash;
mod member;
mod mend;
mod name;
mod open;
pub mod outside;
mod records;
mod refuse;
pub mod registry;
pub mod reload;
mod scribe;
mod settle;
mod sight;
mod spoken;
mod sweep;
mod turns;

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering},
};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::{
    audit::journal::{Journal, Recovered},
    model::{Key, TenantId, Timestamp},
    policy::{Effect, Fact, Facts, Need, Policy, age::Class},
    state::{Cells, Store},
};

pub use accept::{AcceptFault, Accepted};
pub use admit::{Admission, Answer, Glance, Report};
pub use attempts::Attempt;
pub use change::{ChangeFault, Changed, Giver};
pub use effects::Maker;
pub use fault::Fault;
pub use heal::{Healings, Keeps};
pub use ids::{first_id, new_id};
pub use known::Unavailable;
pub use name::Named;
pub use records::End;
pub use settle::{SettleError, documents_in, promised_in, recorded_in};
pub use sight::Sight;

use self::{
    follow::Follower, grantors::Grantors, heal::Memory, hooks::Hooks, leash::Heard, mend::Pending,
    registry::Registry, scribe::Scribe,
};

/// The one source of time; `app` has the real one. It never runs backwards (rule 7).
pub trait Clock: Send + Sync {
    /// This instant.
    fn now(&self) -> Timestamp;

    /// Milliseconds of a clock that nobody sets and that counts sleep: what ages and leases are measured by. Only differences mean
    /// anything. A clock that is moved by hand may go by its own instants.
    fn boot_ms(&self) -> i64 {
        self.now().ms()
    }

    /// Names the start of the machine since which [`Clock::boot_ms`] counts: in another life of the gateway the same name means that the
    /// instants of both can be compared. `None` where that is not known.
    fn boot(&self) -> Option<uuid::Uuid> {
        None
    }

    /// In a fleet: the store's clock showed this when that answer came, by [`Clock::boot_ms`]. From then on it is never earlier
    /// than that, moved on by what has passed since.
    fn heard(&self, _store_ms: i64, _boot_ms: i64) {}
}

/// What an engine is made of.
pub struct Parts {
    /// This gateway's name.
    pub gateway: String,
    /// The rules.
    pub policy: Arc<Policy>,
    /// What is known.
    pub store: Arc<dyn Store>,
    /// The cache in front of it.
    pub cells: Arc<Cells>,
    /// What happened.
    pub journal: Arc<Journal>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where background work runs.
    pub background: tokio::runtime::Handle,
    /// What is kept of a store that others change too, to heal it; `None` where nobody else does.
    pub keeps: Option<Keeps>,
    /// What tests want to see or hold.
    pub hooks: Hooks,
}

/// What is known of a store that others change too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownOfStore {
    /// How old the oldest part of it is.
    pub oldest: crate::state::Age,
    /// How many parts it has.
    pub parts: u16,
    /// How many of them have lost something and are not healed yet.
    pub suspect: usize,
    /// Of how many of the others too little was heard lately for staff who read.
    pub no_reads: usize,
    /// The same for staff who write.
    pub no_writes: usize,
    /// The largest age that staff were admitted by since the start, in milliseconds.
    pub largest_ms: i64,
}

/// How far a wall clock may be behind the ledger's last record before that is a fault (rule 7), in milliseconds.
pub const CLOCK_TOLERANCE_MS: i64 = 120_000;

/// See the module's header.
pub struct Engine {
    gateway: String,
    policy: ArcSwap<Policy>,
    /// From the first reload on: the policy in force with its map.
    standing: ArcSwapOption<reload::Standing>,
    store: Arc<dyn Store>,
    cells: Arc<Cells>,
    journal: Arc<Journal>,
    registry: Registry,
    /// What is heard of a store that others change too.
    heard: Option<Arc<Heard>>,
    /// What is kept of it.
    memory: Option<Memory>,
    follower: Follower,
    grantors: Grantors,
    /// Asks applications about resources.
    outside: OnceLock<Arc<dyn outside::Outside>>,
    clock: Arc<dyn Clock>,
    scribe: Scribe,
    hooks: Hooks,
    background: tokio::runtime::Handle,
    pending: Mutex<Vec<Arc<Pending>>>,
    mend: tokio::sync::Notify,
    /// Changes of which the store did not say whether it made them.
    doubts: doubt::Doubts,
    effects: effects::Effects,
    /// By how much the ledger's last record was ahead of the clock at the start, within the tolerance.
    ahead_ms: i64,
    /// The latest instant that the ledger bears from before this start, or the one at which the clock was accepted since;
    /// the clock must not be far behind it.
    last_record: AtomicI64,
    /// Somebody moved the clock (`dangerous.clock`): every record says so.
    clock_moved: AtomicBool,
    /// Intents of an earlier life are settled.
    recalled: AtomicBool,
    /// That, and all that staff wait for besides; they may be served.
    settled: AtomicBool,
    /// How this process stands to its name ([`Named`]).
    named: AtomicU8,
    /// Held by a round of sweeping.
    sweeping: tokio::sync::Mutex<()>,
    /// What is the matter with it.
    sweeps: sweep::Sweeps,
    /// Where something was stored since the last look by which sessions may have fallen.
    felled: Mutex<fall::Felled>,
    /// The sessions that have not ended.
    open: Mutex<open::Open>,
    /// The look at what fell that is under way.
    falling: tokio::sync::Mutex<Option<fall::Pass>>,
    /// How often somebody entered by break-glass.
    glass_broken: AtomicU64,
    /// How often operators tried.
    attempts: attempts::Attempts,
    /// By which emergency tokens somebody entered.
    entered: emergency::Entered,
    /// Creations that bear idempotency keys, one after another for each subject in each tenant.
    turns: turns::Turns,
}

impl Engine {
    /// Puts the parts together. Staff are refused until [`Engine::settle`] is through.
    pub fn new(parts: Parts, recovered: &Recovered) -> Arc<Engine> {
        let last_record = recovered.last_at_ms.unwrap_or(0);
        let behind = last_record.saturating_sub(parts.clock.now().ms());
        let ahead_ms = if (0..=CLOCK_TOLERANCE_MS).contains(&behind) { behind } else { 0 };
        let scribe = Scribe::new(Arc::clone(&parts.journal));
        let heard = Heard::of(&parts.store, &parts.clock);
        let store_parts = parts.store.parts();
        Arc::new(Engine {
            gateway: parts.gateway,
            policy: ArcSwap::new(parts.policy),
            standing: ArcSwapOption::empty(),
            store: parts.store,
            cells: parts.cells,
            journal: parts.journal,
            registry: Registry::on(heard.clone()),
            heard,
            memory: parts.keeps.map(|keeps| Memory::new(keeps, store_parts)),
            follower: Follower::default(),
            grantors: Grantors::default(),
            outside: OnceLock::new(),
            clock: parts.clock,
            scribe,
            hooks: parts.hooks,
            background: parts.background,
            pending: Mutex::new(Vec::new()),
            mend: tokio::sync::Notify::new(),
            doubts: doubt::Doubts::default(),
            effects: effects::Effects::default(),
            ahead_ms,
            last_record: AtomicI64::new(last_record),
            clock_moved: AtomicBool::new(false),
            recalled: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            named: AtomicU8::new(0),
            sweeping: tokio::sync::Mutex::default(),
            sweeps: sweep::Sweeps::default(),
            // What an earlier life left is looked at once.
            felled: Mutex::new(fall::Felled::anywhere()),
            open: Mutex::default(),
            falling: tokio::sync::Mutex::default(),
            glass_broken: AtomicU64::new(0),
            attempts: attempts::Attempts::default(),
            entered: emergency::Entered::default(),
            turns: turns::Turns::default(),
        })
    }

    /// This instant. It goes on from the ledger's last record where the clock is a little behind that, so that a restart
    /// brings no time back.
    pub fn now(&self) -> Timestamp {
        self.clock.now().plus_ms(self.ahead_ms)
    }

    /// This instant by the clock alone: for tokens and assertions, which others' clocks bear too.
    pub fn wall(&self) -> Timestamp {
        self.clock.now()
    }

    /// The rules in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// The staff exchanges under way.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The store, for listings.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What is known of the store, for its status; `None` where nobody but this gateway changes it.
    pub fn known_of_store(&self) -> Option<KnownOfStore> {
        let heard = self.heard.as_ref()?;
        let (parts, suspect) = heard.suspects();
        let rules = self.policy.load().staleness;
        let unheard = |effect| heard.unheard(rules.running(Class::Staff(effect)));
        Some(KnownOfStore {
            oldest: heard.oldest(),
            parts,
            suspect,
            no_reads: unheard(Effect::Read),
            no_writes: unheard(Effect::Write),
            largest_ms: heard.largest_ms(),
        })
    }

    /// Whether the part of the store where this tenant lies has lost something and is not healed yet (law 8).
    pub fn suspects(&self, tenant: &TenantId) -> bool {
        self.is_suspect(&Key::Tenant(tenant.clone()))
    }

    fn is_suspect(&self, key: &Key) -> bool {
        self.heard.as_ref().is_some_and(|heard| heard.is_suspect(key))
    }

    /// The ledger, for its status.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Whether what an earlier life left open is settled.
    pub fn settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// Whether staff can be served: the past is settled, the clock is not behind it, the name is this process's, and the store is one
    /// that it reads.
    pub fn serves_staff(&self) -> bool {
        self.settled() && !self.name_taken() && !self.store_newer() && !self.clock_behind(self.now())
    }

    /// Whether the store has the layout of a newer build: this one reads nothing of it.
    pub fn store_newer(&self) -> bool {
        self.heard.as_ref().is_some_and(|heard| heard.leases.any_newer())
    }

    /// Whether the clock is behind the ledger's last record (rule 7). `now` is [`Engine::now`], which goes on from there
    /// where the clock was within the tolerance at the start; one that was not has to come all the way.
    pub fn clock_behind(&self, now: Timestamp) -> bool {
        now.ms() < self.last_record.load(Ordering::Acquire)
    }

    /// Where the clock is behind the ledger: the latest instant that the ledger bears, and this one. Staff are refused
    /// until the clock has passed the first, or an operator accepts it.
    pub fn clock_fault(&self) -> Option<(Timestamp, Timestamp)> {
        let now = self.now();
        self.clock_behind(now).then(|| (Timestamp::from_ms(self.last_record.load(Ordering::Acquire)), now))
    }

    /// When a change takes effect: never before what the ledger bears, also under a clock that is far behind. What a
    /// tenant takes back under such a clock would else be older than what it takes back.
    fn moment(&self) -> Timestamp {
        self.now().max(Timestamp::from_ms(self.last_record.load(Ordering::Acquire)))
    }

    /// Somebody is about to move the clock: every record from here on says so.
    pub fn clock_is_moving(&self) {
        self.clock_moved.store(true, Ordering::Release);
    }

    /// Somebody moved the clock forward: says so in the ledger and in every later record, and looks at all deadlines.
    pub fn clock_was_moved(&self, by_ms: i64) {
        self.clock_moved.store(true, Ordering::Release);
        let event = records::ClockMoved { by_ms, now: self.now() };
        self.scribe.write(records::CLOCK_MOVED, self.now(), &event);
        // What holds since its level fell is taken up by whoever keeps the fuses, at once.
        let (_, fallen) = self.sweep_fuses();
        for live in fallen {
            self.registry.due(&live, self.now());
        }
        self.registry.wake();
    }

    /// Counts bytes that a staff exchange took or handed on.
    pub fn handed(&self, live: &registry::Live, bytes: usize) {
        live.fuse.count(bytes);
        if let Some(watch) = &self.hooks.bytes {
            watch(&live.exchange, bytes);
        }
    }

    /// Writes down what waits, counts of refusals included. For the end of a gateway, when nothing new comes in.
    pub async fn rest(&self) {
        self.scribe.flush_counts(self.now(), true, self.moved());
        self.journal.rest().await;
    }

    fn moved(&self) -> bool {
        self.clock_moved.load(Ordering::Acquire)
    }

    /// Fetches what a rule lacks, each document watched before it is read.
    async fn fetch(&self, need: Need, facts: &mut Facts, live: Option<&registry::Live>) {
        for key in need.0 {
            if let Some(live) = live {
                self.registry.watch(live, &key);
            }
            if let Some(heard) = &self.heard {
                heard.note(&key, facts);
            }
            let fact = self.fact(&key).await;
            if let Key::Grantor(tenant, subject) = &key {
                self.grantors.asked(tenant, subject, facts);
            }
            facts.put(key, fact);
        }
    }

    /// Looks how old facts are, where others change the store too. Before each decision on them.
    #[inline]
    fn look_at_age(&self, facts: &mut Facts) {
        if let Some(heard) = &self.heard {
            facts.look_at_age(heard.boot_ms());
        }
    }

    /// What is known about one document.
    pub async fn fact(&self, key: &Key) -> Fact {
        match self.cells.hit(key) {
            Some(fact) => fact,
            None => match self.cells.fact(key).await {
                Fact::Unavailable => self.remembered(key).await,
                fact => fact,
            },
        }
    }
}
