//! The links to the servers of a store, as those who ask see them: the connection that is there, or a refusal at once
//! (decision 0024). Nobody ever waits for a reconnect.
//!
//! Lives here: what is published of each part: its link, its newest change, what its head told.
//!
//! Never here: what keeps the links (`supervise`), what is asked over them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};

use super::{
    beat::{Beat, Told},
    dial::Dial,
    keys::Names,
    options::{Address, Options, Servers},
    said,
    scripts::Sent,
    supervise,
};
use crate::state::{Grounds, Leases, Part, Parts, Place, StoreFault};

/// Milliseconds of the clock that never runs back and counts sleep.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// All links of a store. Dropping it ends them.
pub struct Links {
    shared: Arc<Shared>,
    _stop: DropGuard,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

/// Connections to the primary of some parts, as long as they hold.
pub struct Ready {
    /// For what only reads.
    pub loads: MultiplexedConnection,
    /// For what waits for a majority, which holds up whatever is behind it.
    pub commits: MultiplexedConnection,
    /// How many replicas make a majority with the primary; 0: none is needed.
    pub wait: u32,
    /// Which server.
    pub address: Address,
    /// Which scripts it was sent.
    pub(super) sent: Sent,
    pub(super) names: Names,
    pub(super) limit: Duration,
    pub(super) end: Arc<End>,
    pub(super) drivers: Vec<AbortOnDropHandle<()>>,
}

/// The end of a link, and why. Known to all who use it at once.
#[derive(Debug, Default)]
pub(super) struct End {
    token: CancellationToken,
    why: OnceLock<StoreFault>,
}

impl End {
    /// The first reason stays.
    pub(super) fn end(&self, why: StoreFault) {
        let _ = self.why.set(why);
        self.token.cancel();
    }

    pub(super) fn ended(&self) -> bool {
        self.token.is_cancelled()
    }

    pub(super) fn why(&self) -> StoreFault {
        self.why.get().cloned().unwrap_or_else(|| said::unreached("the connection ended"))
    }

    pub(super) async fn wait(&self) -> StoreFault {
        self.token.cancelled().await;
        self.why()
    }
}

impl Ready {
    /// Whether it still holds. It may end at any time after.
    pub fn holds(&self) -> bool {
        !self.end.ended()
    }

    /// Whether an answer counts that came over it: of a link that ended meanwhile it may come from a server that is the primary no
    /// more.
    ///
    /// # Errors
    /// Why it ended.
    pub(super) fn still(&self) -> Result<(), StoreFault> {
        if self.holds() { Ok(()) } else { Err(self.end.why()) }
    }

    /// Waits until it ends.
    pub async fn end(&self) -> StoreFault {
        self.end.wait().await
    }

    /// Tells that a command failed. Where that means that the connection is of no use, nobody is handed it from now on.
    pub fn failed(&self, trouble: &StoreFault) {
        if said::ends_link(trouble) {
            self.end.end(trouble.clone());
        }
    }

    /// Asks over one of its connections, in time. An answer of a link that ended meanwhile is none: it may come from a server
    /// that is the primary no more.
    ///
    /// # Errors
    /// [`StoreFault`]; it was told on where it matters.
    pub async fn ask<T>(&self, asking: impl Future<Output = RedisResult<T>>) -> Result<T, StoreFault> {
        let answer = said::timely(self.limit, asking).await;
        let answer = answer.map_err(|trouble| said::of(&self.address, trouble));
        match answer {
            Ok(answer) => self.still().map(|()| answer),
            Err(trouble) => {
                self.failed(&trouble);
                Err(trouble)
            }
        }
    }

    /// Whether a majority confirms at this instant that the server is the primary of a part: what was loaded over this link
    /// before is then as of no earlier than the call.
    ///
    /// # Errors
    /// [`StoreFault`], as of [`Ready::ask`].
    pub async fn confirmed(&self, part: Part) -> Result<bool, StoreFault> {
        let beat = Beat { names: &self.names, wait: self.wait, limit: self.limit };
        let mut connection = self.commits.clone();
        let told = beat.send(&mut connection, &[(part, Grounds::default())]).await.and_then(|beaten| {
            let confirmed = beaten.confirmed;
            beaten.parts.into_iter().try_for_each(|(_, answered)| answered.map(|_| ()))?;
            Ok(confirmed)
        });
        match told.map_err(|trouble| said::of(&self.address, trouble)) {
            Ok(confirmed) => self.still().map(|()| confirmed),
            Err(trouble) => {
                self.failed(&trouble);
                Err(trouble)
            }
        }
    }

    /// Ends it, with whatever is in flight: those who wait for answers are told at once.
    pub(super) fn cut(&self, why: StoreFault) {
        self.end.end(why);
        self.drivers.iter().for_each(AbortOnDropHandle::abort);
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready")
            .field("address", &self.address)
            .field("holds", &self.holds())
            .finish_non_exhaustive()
    }
}

/// What is published of one part.
pub(super) struct Slot {
    pub(super) ready: ArcSwapOption<Ready>,
    pub(super) trouble: ArcSwapOption<StoreFault>,
    pub(super) newest: watch::Sender<u64>,
    pub(super) told: Mutex<Option<Told>>,
}

/// What the links and those who ask have in common.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) names: Names,
    pub(super) clock: Clock,
    pub(super) leases: Arc<Leases>,
    pub(super) dial: Arc<Dial>,
    pub(super) slots: Box<[Slot]>,
    pub(super) up: watch::Sender<Parts>,
    pub(super) moved: watch::Sender<u64>,
    /// Each server's clock: milliseconds since 1970, and ours of the boot clock when they came.
    pub(super) time: Mutex<BTreeMap<Address, (i64, i64)>>,
    pub(super) warnings: Mutex<BTreeMap<Address, Vec<String>>>,
    /// The servers that there is to be a link to.
    pub(super) wanted: Mutex<BTreeSet<Address>>,
    /// How many links ended that had been there.
    pub(super) lost: AtomicU64,
    /// Wakes the finder.
    pub(super) nudge: Notify,
}

/// What is under these locks is whole after each step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn slot(&self, part: Part) -> Option<&Slot> {
        self.slots.get(usize::from(part.0))
    }

    /// Somebody says that a part moved on to a place: whoever waits for that looks. No more is made of it, whoever says so.
    pub(super) fn wake(&self, place: Place) {
        let Some(slot) = self.slot(place.part) else { return };
        let followed = self.leases.followed(place.part).0;
        self.woken(slot.newest.send_if_modified(|newest| place.number > followed.max(*newest)));
    }

    /// What is known to be the newest change of a part. Whoever has followed up to it is not woken for it.
    pub(super) fn newest(&self, part: Part, change: impl FnOnce(u64) -> u64) {
        let Some(slot) = self.slot(part) else { return };
        let followed = self.leases.followed(part).0;
        self.woken(slot.newest.send_if_modified(|newest| {
            let before = std::mem::replace(newest, change(*newest));
            *newest < before || *newest > followed.max(before)
        }));
    }

    fn woken(&self, is: bool) {
        if is {
            self.moved.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Something is the matter with these parts.
    pub(super) fn troubled(&self, parts: Parts, trouble: &StoreFault) {
        let trouble = Arc::new(trouble.clone());
        for slot in parts.each().filter_map(|part| self.slot(part)) {
            slot.trouble.store(Some(Arc::clone(&trouble)));
        }
    }
}

impl Links {
    /// Begins to look for the servers, and keeps links to them until it is dropped. What beats tell goes into the leases.
    pub fn start(options: Options, leases: Arc<Leases>, clock: Clock, runtime: &Handle) -> Arc<Self> {
        let names = Names::new(&options.prefix, options.parts);
        let slot = |_| Slot {
            ready: ArcSwapOption::empty(),
            trouble: ArcSwapOption::empty(),
            newest: watch::Sender::new(0),
            told: Mutex::default(),
        };
        let shared = Arc::new(Shared {
            dial: Arc::new(Dial::new(&options)),
            slots: names.parts().map(slot).collect(),
            names,
            options,
            clock,
            leases,
            up: watch::Sender::new(Parts::NONE),
            moved: watch::Sender::new(0),
            time: Mutex::default(),
            warnings: Mutex::default(),
            wanted: Mutex::default(),
            lost: AtomicU64::new(0),
            nudge: Notify::new(),
        });
        let stop = CancellationToken::new();
        runtime.spawn(supervise::supervise(Arc::clone(&shared), stop.clone()));
        Arc::new(Self { shared, _stop: stop.drop_guard() })
    }

    /// The connections to the primary of a part. Never waits.
    ///
    /// # Errors
    /// What is the matter, when there are none.
    pub fn at(&self, part: Part) -> Result<Arc<Ready>, StoreFault> {
        let Some(slot) = self.shared.slot(part) else {
            return Err(StoreFault::Unavailable { detail: format!("there is no part {}", part.0) });
        };
        match slot.ready.load_full() {
            Some(ready) if ready.holds() => Ok(ready),
            Some(ended) => Err(ended.end.why()),
            None => Err(self.trouble(part).unwrap_or_else(|| said::unreached("no connection yet"))),
        }
    }

    /// Whether all parts lie on one primary: then a script may name keys of several.
    pub fn one_server(&self) -> bool {
        !matches!(self.shared.options.servers, Servers::Cluster(_))
    }

    /// What is the matter with a part, also where there is a connection: that no majority confirms its beats, say.
    pub fn trouble(&self, part: Part) -> Option<StoreFault> {
        self.shared.slot(part)?.trouble.load().as_deref().cloned()
    }

    /// The parts with a connection, as that changes.
    pub fn up(&self) -> watch::Receiver<Parts> {
        self.shared.up.subscribe()
    }

    /// The place of the newest change in a part, as it moves.
    pub fn newest(&self, part: Part) -> watch::Receiver<u64> {
        match self.shared.slot(part) {
            Some(slot) => slot.newest.subscribe(),
            None => watch::Sender::new(0).subscribe(),
        }
    }

    /// Rises whenever the newest place of any part moves.
    pub fn moved(&self) -> watch::Receiver<u64> {
        self.shared.moved.subscribe()
    }

    /// There is a change of this number: whoever commits says so.
    pub fn raise(&self, part: Part, number: u64) {
        self.shared.newest(part, |newest| number.max(newest));
    }

    /// What the head of a part told last.
    pub fn told(&self, part: Part) -> Option<Told> {
        lock(&self.shared.slot(part)?.told).clone()
    }

    /// The store's clock: milliseconds since 1970, and the boot clock when they came. Of several servers the one ahead.
    pub fn fleet_time(&self) -> Option<(i64, i64)> {
        let time = lock(&self.shared.time);
        time.values().copied().max_by_key(|(store, boot)| store.saturating_sub(*boot))
    }

    /// The servers that there is to be a link to, and whether there is one.
    pub fn servers(&self) -> Vec<(Address, bool)> {
        let ready = self.shared.slots.iter().filter_map(|slot| slot.ready.load_full());
        let linked: BTreeSet<Address> =
            ready.filter(|ready| ready.holds()).map(|ready| ready.address.clone()).collect();
        let wanted = lock(&self.shared.wanted);
        wanted.iter().map(|address| (address.clone(), linked.contains(address))).collect()
    }

    /// What is the matter, and with how many parts.
    pub fn troubles(&self) -> Vec<(StoreFault, usize)> {
        let mut troubles: Vec<(StoreFault, usize)> = Vec::new();
        for trouble in self.shared.slots.iter().filter_map(|slot| slot.trouble.load_full()) {
            match troubles.iter_mut().find(|(known, _)| *known == *trouble) {
                Some((_, parts)) => *parts += 1,
                None => troubles.push((StoreFault::clone(&trouble), 1)),
            }
        }
        troubles
    }

    /// How many links were lost since the start: those to a server that is the primary no more too.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// What the servers are set to lose, each with its address.
    pub fn warnings(&self) -> Vec<String> {
        let warnings = lock(&self.shared.warnings);
        let of = |(address, texts): (&Address, &Vec<String>)| {
            texts.iter().map(|text| format!("redis `{address}`: {text}")).collect::<Vec<_>>()
        };
        warnings.iter().flat_map(of).collect()
    }
}
