//! Keeps fetched keys fresh: one task for each issuer whose keys have an address.
//!
//! Keys are fetched at the start, then at least every `refresh`, sooner where the answer calls itself fresh for less,
//! and when tokens come that the keys at hand do not fit. That last wish is everybody's, so it is bounded: whatever
//! number of tokens asks for it, there is one fetch at a time and `refetch` between two. A failed fetch changes nothing:
//! the last good keys stay in use until they are `keep` old by the gateway's clock, and every fetch that failed is
//! tried again, at growing distances.
//!
//! For a reload: make new [`KeyKeepers`], let them [`KeyKeepers::ring_for`] the new verifier, have that adopt the keys of
//! the old one and them what is told of these, swap, stop the old keepers, start the new. Old keepers cannot harm a new verifier: keys are
//! taken over by the issuer's name and the address that they came from.
//!
//! Never here: reading keys and judging tokens ([`crate::identity`]), talking to the server ([`super::fetch`]).

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::fetch::{Answer, Fetcher};
use crate::{
    config::resolve::{IssuerSettings, KeyAddress, KeyText},
    identity::{Bell, KeyChange, Verifier},
    model::{IssuerName, Timestamp},
    net::ask::SetupFault,
    proxy::FreshKeys,
};

/// The first distance between tries after a failure, and the longest.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// An answer that calls itself fresh for less is fetched again after this all the same.
const LEAST_REFRESH: Duration = Duration::from_secs(30);

/// How long a request waits for keys that are being fetched, and how many requests do at a time.
const PATIENCE: Duration = Duration::from_secs(2);
const MOST_WAITING: usize = 256;

/// What the gateway's clock says.
pub(super) type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Everybody who keeps keys fresh.
pub(super) struct KeyKeepers {
    keepers: Vec<Arc<Keeper>>,
    waiting: Arc<AtomicUsize>,
}

struct Keeper {
    issuer: IssuerName,
    fetcher: Fetcher,
    refresh: Duration,
    refetch: Duration,
    keep_ms: i64,
    bell: Arc<Wish>,
    /// How many tries are over.
    tries: watch::Sender<u64>,
    counts: Counts,
}

/// What tokens that the keys at hand do not fit ask for.
struct Wish {
    bell: Notify,
    /// So little time passed since the last fetch that nobody's wish is heard yet.
    resting: AtomicBool,
    /// It was heard, and the fetch is not over.
    heard: AtomicBool,
}

impl Wish {
    fn ring(&self) {
        if !self.resting.load(Relaxed) {
            self.heard.store(true, Relaxed);
        }
        self.bell.notify_one();
    }
}

/// For metrics.
#[derive(Default)]
struct Counts {
    fetched: AtomicU64,
    failed: AtomicU64,
    /// When keys were last fetched, by the gateway's clock; 0 is never.
    last: AtomicI64,
    usable: AtomicU64,
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

impl KeyKeepers {
    /// One keeper for each issuer whose keys are fetched. Nothing is fetched yet.
    ///
    /// # Errors
    /// The first issuer whose address cannot be fetched from, whatever it answers.
    pub(super) fn of(issuers: &[IssuerSettings]) -> Result<KeyKeepers, (IssuerName, SetupFault)> {
        let mut keepers = Vec::new();
        for issuer in issuers {
            if let KeyText::Fetched(address) = &issuer.keys {
                let keeper = Keeper::new(issuer.name.clone(), address);
                keepers.push(Arc::new(keeper.map_err(|fault| (issuer.name.clone(), fault))?));
            }
        }
        Ok(KeyKeepers { keepers, waiting: Arc::default() })
    }

    /// Has a verifier tell these keepers of tokens that its keys do not fit.
    #[must_use]
    pub(super) fn ring_for(&self, verifier: Verifier) -> Verifier {
        self.keepers.iter().fold(verifier, |verifier, keeper| {
            let bell = Arc::clone(&keeper.bell);
            verifier.with_bell(&keeper.issuer, Bell::new(move || bell.ring()))
        })
    }

    /// Tells of the keys that a verifier took over from another one as these keepers' predecessors told of them.
    pub(super) fn adopting(&self, before: &KeyKeepers, verifier: &Verifier) {
        for keeper in &self.keepers {
            // Nothing was fetched for this verifier yet: what it has, it took over.
            if verifier.keys_until(&keeper.issuer).is_none() {
                continue;
            }
            if let Some(old) = before.keepers.iter().find(|old| old.issuer == keeper.issuer) {
                keeper.counts.last.store(old.counts.last.load(Relaxed), Relaxed);
                keeper.counts.usable.store(old.counts.usable.load(Relaxed), Relaxed);
            }
        }
    }

    /// Begins to fetch, until told to stop.
    pub(super) fn start(
        &self,
        verifier: &Arc<ArcSwap<Verifier>>,
        now: &Now,
        on: &Handle,
        stop: &CancellationToken,
    ) {
        for keeper in &self.keepers {
            let (keeper, verifier, now) = (Arc::clone(keeper), Arc::clone(verifier), Arc::clone(now));
            let stop = stop.clone();
            on.spawn(async move {
                tokio::select! {
                    () = keeper.keep(&verifier, &now) => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    }

    /// For a request whose token names a key that nobody knows: where keys are being fetched on such a wish, their
    /// coming, for a short while. `None` where nothing is to be expected, or too many wait already.
    pub(super) fn coming(&self) -> Option<FreshKeys> {
        let heard = self.keepers.iter().filter(|keeper| keeper.bell.heard.load(Relaxed));
        let mut tries: Vec<watch::Receiver<u64>> = heard.map(|keeper| keeper.tries.subscribe()).collect();
        if tries.is_empty() || self.waiting.load(Relaxed) >= MOST_WAITING {
            return None;
        }
        let place = Place::take(&self.waiting);
        Some(Box::pin(async move {
            let all = async {
                for tries in &mut tries {
                    let _ = tries.changed().await;
                }
            };
            let _ = tokio::time::timeout(PATIENCE, all).await;
            drop(place);
        }))
    }

    /// Waits until each keeper has tried once, however it went, and no longer than this.
    pub(super) async fn first(&self, patience: Duration) {
        let all = async {
            for keeper in &self.keepers {
                let _ = keeper.tries.subscribe().wait_for(|tries| *tries > 0).await;
            }
        };
        let _ = tokio::time::timeout(patience, all).await;
    }

    /// How the keys are, in the form of metrics. The only label is the issuer's configured name.
    pub(super) fn metrics(&self, now: Timestamp, out: &mut String) {
        type Read = fn(&Keeper, Timestamp) -> u64;
        let age: Read = |keeper, now| {
            let last = keeper.counts.last.load(Relaxed);
            if last == 0 { 0 } else { u64::try_from(now.ms().saturating_sub(last) / 1000).unwrap_or(0) }
        };
        let usable: Read = |keeper, now| {
            let last = keeper.counts.last.load(Relaxed);
            let old = now.ms().saturating_sub(last) >= keeper.keep_ms;
            if last == 0 || old { 0 } else { keeper.counts.usable.load(Relaxed) }
        };
        let rows: [(&str, &str, &str, Read); 4] = [
            ("postern_keys_usable", "gauge", "Fetched keys that tokens are verified with; 0: none.", usable),
            ("postern_keys_age_seconds", "gauge", "Time since the keys were last fetched.", age),
            ("postern_keys_fetched_total", "counter", "Fetches that brought keys.", |keeper, _| {
                keeper.counts.fetched.load(Relaxed)
            }),
            ("postern_keys_failed_total", "counter", "Fetches that failed.", |keeper, _| {
                keeper.counts.failed.load(Relaxed)
            }),
        ];
        for (name, kind, help, read) in rows {
            if self.keepers.is_empty() {
                return;
            }
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for keeper in &self.keepers {
                let _ = writeln!(out, "{name}{{issuer=\"{}\"}} {}", keeper.issuer, read(keeper, now));
            }
        }
    }
}

/// A place among those who wait; given back however the waiting ends.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(count: &Arc<AtomicUsize>) -> Place {
        count.fetch_add(1, Relaxed);
        Place(Arc::clone(count))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Keeper {
    fn new(issuer: IssuerName, address: &KeyAddress) -> Result<Keeper, SetupFault> {
        Ok(Keeper {
            issuer,
            fetcher: Fetcher::new(address)?,
            refresh: millis(address.refresh_ms),
            refetch: millis(address.refetch_ms),
            keep_ms: address.keep_ms,
            bell: Arc::new(Wish {
                bell: Notify::new(),
                resting: AtomicBool::new(false),
                heard: AtomicBool::new(false),
            }),
            tries: watch::Sender::new(0),
            counts: Counts::default(),
        })
    }

    /// Fetches again and again.
    async fn keep(&self, verifier: &ArcSwap<Verifier>, now: &Now) {
        let mut failures = 0u32;
        loop {
            let next = match self.fetch(verifier, now).await {
                Ok(next) => {
                    if failures > 0 {
                        tracing::info!(issuer = %self.issuer, failures, "keys are fetched again");
                    }
                    failures = 0;
                    self.counts.fetched.fetch_add(1, Relaxed);
                    next
                }
                Err((code, why)) => {
                    failures = failures.saturating_add(1);
                    self.counts.failed.fetch_add(1, Relaxed);
                    self.lament(code, &why, failures, verifier, now);
                    let doubled = FIRST_RETRY.saturating_mul(1 << failures.min(8).saturating_sub(1));
                    doubled.min(LONGEST_RETRY).min(self.refresh)
                }
            };
            self.bell.resting.store(true, Relaxed);
            self.bell.heard.store(false, Relaxed);
            self.tries.send_modify(|tries| *tries += 1);
            // Counted from the end of a try: a server that answers slowly gets no rest otherwise.
            let over = Instant::now();
            tokio::select! {
                () = sleep_until(over + next) => {}
                () = async {
                    sleep_until(over + self.refetch).await;
                    self.bell.resting.store(false, Relaxed);
                    self.bell.bell.notified().await;
                } => {}
            }
        }
    }

    /// One try; answers when the next one is due.
    async fn fetch(
        &self,
        verifier: &ArcSwap<Verifier>,
        now: &Now,
    ) -> Result<Duration, (&'static str, String)> {
        let Answer { text, max_age } =
            self.fetcher.fetch().await.map_err(|fault| (fault.code(), fault.to_string()))?;
        let read = verifier.load().read_keys(&self.issuer, &text);
        let keys = read
            .ok_or_else(|| ("not_wanted", "the configuration no longer fetches these keys".to_owned()))?
            .map_err(|fault| ("keys", fault.to_string()))?;
        let fetched_at = now();
        let until = fetched_at.plus_ms(self.keep_ms);
        let mut change = None;
        verifier.rcu(|current| match current.with_keys(&self.issuer, &keys, until) {
            Some((next, what)) => {
                change = Some(what);
                Arc::new(next)
            }
            None => {
                change = None;
                Arc::clone(current)
            }
        });
        self.counts.last.store(fetched_at.ms(), Relaxed);
        self.counts.usable.store(u64::try_from(keys.usable()).unwrap_or(u64::MAX), Relaxed);
        if let Some(KeyChange::More | KeyChange::Other) = change {
            tracing::info!(issuer = %self.issuer, keys = keys.usable(), ?change, "the issuer's keys changed");
            for key in keys.ignored().iter().take(8) {
                tracing::warn!(issuer = %self.issuer, %key, "a published key is not used");
            }
        }
        Ok(max_age.map_or(self.refresh, |age| age.max(LEAST_REFRESH).min(self.refresh)))
    }

    /// Says that keys were not fetched: at the first failure, and at each doubling after it.
    fn lament(&self, code: &'static str, why: &str, failures: u32, verifier: &ArcSwap<Verifier>, now: &Now) {
        if !failures.is_power_of_two() {
            return;
        }
        match verifier.load().keys_until(&self.issuer) {
            Some(until) if now() < until => tracing::warn!(
                issuer = %self.issuer, code, why, failures, %until,
                "keys could not be fetched; the last good ones stay in use until then"
            ),
            Some(_) | None => tracing::error!(
                issuer = %self.issuer, code, why, failures,
                "keys could not be fetched and there are none to use; tokens of this issuer are refused with 503"
            ),
        }
    }
}
