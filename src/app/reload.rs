//! Another configuration while the gateway runs: read whole, built whole, recorded, then put in force; or refused whole,
//! and the one in force stays.
//!
//! At once: the map, the policy, the issuers, TLS (also between gateways), the key of assertions, webhooks, bounds. Connections stay open and requests
//! under way go on; staff exchanges are decided again under the new policy, and what it does not allow is cut. Not
//! without a restart: the addresses, whether TLS is spoken, whether and where other gateways ask, the gateway's name, its workers, where state and ledger lie, and the clock of
//! `dangerous`. A configuration that changes one of these is refused, rather than half followed.
//!
//! Never here: when to reload (that is [`super::watch`] and the command line), a rule.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt::Write as _,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{
    build,
    keys::{KeyKeepers, Now},
    proofs::{self, PlacedFault},
    registered, servers,
    watch::{self, Noting, Stamps},
};
use crate::{
    audit::journal::AppendError,
    config::{self, ConfigFaults, Settings, resolve::IssuerSettings},
    control::Api,
    engine::{Engine, reload::Standing},
    fleet::Fleet,
    identity::Verifier,
    model::{IssuerName, Timestamp},
    policy::Reason,
    proxy::{Shared, again::find_again, look_up::LookUps, routing::Routing},
    webhook::Webhooks,
};

/// Why a configuration was not put in force. The one that was, is.
#[derive(Debug, thiserror::Error)]
pub enum ReloadFault {
    /// It is wrong; all faults, each with its place.
    #[error("{0}")]
    Config(Box<ConfigFaults>),
    /// It cannot be built into parts; all that is wrong.
    #[error("{}", proofs::lines(.0))]
    Build(Vec<PlacedFault>),
    /// It changes what only a start reads.
    #[error("{} cannot change while the gateway runs: restart it, or put back what was there", keys(.0))]
    Restart(Vec<&'static str>),
    /// The ledger does not take the record of it.
    #[error("the reload cannot be recorded, so it does not happen: {0}")]
    Record(#[from] AppendError),
    /// The gateway was started from settings and knows no file.
    #[error("this gateway was not started from a file, so there is nothing to read again")]
    NoFile,
    /// The work was given up, as at the end of a gateway.
    #[error("the gateway is stopping")]
    Stopping,
}

fn keys(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// What makes a gateway read its configuration again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Somebody asked for it: SIGHUP.
    Signal,
    /// A file that it was read from is another one by now.
    Files,
}

impl Cause {
    fn word(self) -> &'static str {
        match self {
            Cause::Signal => "signal",
            Cause::Files => "files",
        }
    }
}

/// What is told of reloads.
#[derive(Default)]
struct Told {
    applied: AtomicU64,
    refused: AtomicU64,
    /// When what is in force came into force, in milliseconds.
    loaded: AtomicI64,
    /// The last one that was refused since one was applied.
    fault: Mutex<Option<(Timestamp, String)>>,
}

/// The parts of a running gateway that a reload puts others in the place of.
pub(super) struct Reloader {
    pub(super) engine: Arc<Engine>,
    pub(super) shared: Arc<Shared>,
    pub(super) verifier: Arc<ArcSwap<Verifier>>,
    pub(super) keepers: Arc<ArcSwap<KeyKeepers>>,
    pub(super) api: Arc<ArcSwap<Api>>,
    pub(super) webhooks: Arc<Webhooks>,
    pub(super) look_ups: Arc<LookUps>,
    pub(super) fleet: Option<Arc<Fleet>>,
    pub(super) now: Now,
    pub(super) background: Handle,
    pub(super) stop: CancellationToken,
    /// How long a stop waits for what runs, in milliseconds.
    pub(super) drain_ms: AtomicI64,
    /// How long a stop is only told of, in milliseconds.
    pub(super) delay_ms: AtomicI64,
    /// What is in force. Locked for the whole of a reload: there is one at a time.
    inner: tokio::sync::Mutex<Inner>,
    told: Told,
}

struct Inner {
    settings: Settings,
    /// Stops the keepers of the issuers in force.
    keeping: CancellationToken,
    /// The files of the last reading, good or not.
    stamps: Stamps,
    /// The maps before the one in force, the last one last.
    earlier: VecDeque<Earlier>,
}

/// How many maps before the one in force are kept: a request that is read in one and waits, for its record say, is looked up
/// in the newest, however many came meanwhile.
const EARLIER: usize = 8;

/// A map that is no longer in force.
#[derive(Clone)]
struct Earlier {
    routing: Arc<Routing>,
    /// The issuers that have meant the same ever since.
    same: BTreeSet<IssuerName>,
}

/// The parts that a reloader is made of.
pub(super) struct Parts {
    pub(super) engine: Arc<Engine>,
    pub(super) shared: Arc<Shared>,
    pub(super) verifier: Arc<ArcSwap<Verifier>>,
    pub(super) keepers: Arc<ArcSwap<KeyKeepers>>,
    pub(super) api: Arc<ArcSwap<Api>>,
    pub(super) webhooks: Arc<Webhooks>,
    pub(super) look_ups: Arc<LookUps>,
    pub(super) fleet: Option<Arc<Fleet>>,
    pub(super) now: Now,
    pub(super) background: Handle,
    pub(super) stop: CancellationToken,
    pub(super) keeping: CancellationToken,
}

impl Reloader {
    pub(super) fn new(parts: Parts, settings: Settings, stamps: Stamps) -> Reloader {
        let Parts {
            engine,
            shared,
            verifier,
            keepers,
            api,
            webhooks,
            look_ups,
            fleet,
            now,
            background,
            stop,
            keeping,
        } = parts;
        let told = Told::default();
        told.loaded.store(engine.now().ms(), Relaxed);
        Reloader {
            drain_ms: AtomicI64::new(settings.limits.drain_ms),
            delay_ms: AtomicI64::new(settings.limits.shutdown_delay_ms),
            inner: tokio::sync::Mutex::new(Inner { settings, keeping, stamps, earlier: VecDeque::new() }),
            engine,
            shared,
            verifier,
            keepers,
            api,
            webhooks,
            look_ups,
            fleet,
            now,
            background,
            stop,
            told,
        }
    }

    /// Reads the file again and puts it in force, or says why not.
    pub(super) async fn reload(self: &Arc<Self>, file: PathBuf, cause: Cause) -> Result<(), ReloadFault> {
        let mut inner = self.inner.lock().await;
        let read = tokio::task::spawn_blocking(move || {
            let noting = Noting::default();
            let read = config::load(&file, &noting);
            (read, noting.stamps())
        });
        let Ok((read, stamps)) = read.await else { return Err(ReloadFault::Stopping) };
        let before = inner.stamps.clone();
        match &read {
            Ok(_) => inner.stamps = stamps,
            // What is in force is looked at too: putting it back is a change.
            Err(_) => inner.stamps.extend(stamps),
        }
        let done = match read {
            Ok((settings, warnings)) => {
                for warning in &warnings {
                    tracing::warn!("{warning}");
                }
                self.put_in_force(&mut inner, settings, cause).await
            }
            Err(faults) => Err(ReloadFault::Config(Box::new(faults))),
        };
        if let Err(ReloadFault::Record(_)) = done {
            // Not the file's fault: whoever watches the files tries again until the ledger takes it.
            inner.stamps = before;
        }
        self.tell(&done);
        done
    }

    /// Puts these settings in force, or says why not.
    pub(super) async fn apply(self: &Arc<Self>, settings: Settings) -> Result<(), ReloadFault> {
        let mut inner = self.inner.lock().await;
        let done = self.put_in_force(&mut inner, settings, Cause::Signal).await;
        self.tell(&done);
        done
    }

    async fn put_in_force(
        self: &Arc<Self>,
        inner: &mut Inner,
        settings: Settings,
        cause: Cause,
    ) -> Result<(), ReloadFault> {
        let fixed = needs_restart(&inner.settings, &settings);
        if !fixed.is_empty() {
            return Err(ReloadFault::Restart(fixed));
        }
        // A large map takes a while to compile, and requests are served on other threads meanwhile.
        let building =
            tokio::task::spawn_blocking(move || build::build(&settings).map(|built| (settings, built)));
        let (settings, built) = match building.await {
            Ok(built) => built.map_err(ReloadFault::Build)?,
            Err(_) => return Err(ReloadFault::Stopping),
        };
        for doubt in build::broken_keys(&built.verifier) {
            tracing::warn!("{doubt}");
        }
        let before = self.shared.routing.load_full();
        let routing = Arc::new(built.routing.adopting(&before));
        let same = same_issuers(&inner.settings.issuers, &settings.issuers);
        let mut earlier = inner.earlier.clone();
        for one in &mut earlier {
            one.same.retain(|issuer| same.contains(issuer));
        }
        earlier.push_back(Earlier { routing: before, same });
        while earlier.len() > EARLIER {
            earlier.pop_front();
        }
        let standing = standing(earlier.clone(), Arc::clone(&routing));
        // From here on nothing fails: recorded, then in force.
        let at = self.engine.reload(standing, cause.word()).await?;
        inner.earlier = earlier;
        // The issuers before the map: whoever reads the new map knows no caller by an issuer that is gone. A request that
        // read the old one is found again before it is admitted.
        let verifier = built.verifier.adopting(&self.verifier.load());
        built.keepers.adopting(&self.keepers.load(), &verifier);
        self.verifier.store(Arc::new(verifier));
        self.shared.tls.store(settings.tls.clone());
        super::fleet::follow(self.fleet.as_ref(), &settings);
        // Before the map: whoever was read in it finds its look-ups.
        self.look_ups.follow(Arc::clone(&routing));
        self.shared.routing.store(Arc::clone(&routing));
        let api = self.api.load().under(&settings.prefix).sealing_by(settings.assertion.key.expose());
        self.api.store(Arc::new(api));
        self.drain_ms.store(settings.limits.drain_ms, Relaxed);
        self.delay_ms.store(settings.limits.shutdown_delay_ms, Relaxed);
        inner.keeping.cancel();
        inner.keeping = self.stop.child_token();
        self.background.spawn(servers::keep_checking(routing, inner.keeping.clone()));
        self.webhooks.start(built.hooks, &self.background, &inner.keeping).await;
        built.keepers.start(&self.verifier, &self.now, &self.background, &inner.keeping);
        self.keepers.store(Arc::new(built.keepers));
        if !self.engine.decide_again().await {
            tracing::warn!(
                "exchanges that the new configuration ends have not all let go of their sockets yet"
            );
        }
        self.told.loaded.store(at.ms(), Relaxed);
        let (engine, tenants) = (Arc::clone(&self.engine), settings.tenants.known.clone());
        let commands = super::past::registrations(&settings);
        self.background.spawn(async move {
            super::past::register(&engine, commands).await;
            registered::compare(engine, tenants).await;
        });
        inner.settings = settings;
        Ok(())
    }

    fn tell(&self, done: &Result<(), ReloadFault>) {
        let mut last = self.told.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match done {
            Ok(()) => {
                self.told.applied.fetch_add(1, Relaxed);
                *last = None;
                tracing::info!(policy = %self.engine.policy().fingerprint, "the configuration was read again and is in force");
            }
            Err(fault) => {
                self.told.refused.fetch_add(1, Relaxed);
                let text = fault.to_string();
                tracing::error!(
                    "the configuration was read again and is refused; the one in force stays\n{text}"
                );
                *last = Some((self.engine.now(), text));
            }
        }
    }

    /// Looks at the files now and then, and reloads where one has changed.
    pub(super) async fn keep_watching(self: Arc<Self>, file: PathBuf, every: Duration) {
        let mut seen: Option<Stamps> = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = self.stop.cancelled() => return,
            }
            let known = self.inner.lock().await.stamps.clone();
            let Ok((known, now)) = tokio::task::spawn_blocking(move || {
                let now = watch::look(&known);
                (known, now)
            })
            .await
            else {
                return;
            };
            if now == known {
                seen = None;
            } else if seen.as_ref() == Some(&now) {
                seen = None;
                // What came of it is told.
                let _ = self.reload(file.clone(), Cause::Files).await;
            } else {
                seen = Some(now);
            }
        }
    }

    /// In the form of metrics.
    pub(super) fn metrics(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "# HELP postern_config_reloads_total Configurations that were read again, by what came of it."
        );
        let _ = writeln!(out, "# TYPE postern_config_reloads_total counter");
        for (result, count) in [("applied", &self.told.applied), ("refused", &self.told.refused)] {
            let _ =
                writeln!(out, "postern_config_reloads_total{{result=\"{result}\"}} {}", count.load(Relaxed));
        }
        let at = self.told.loaded.load(Relaxed) / 1000;
        let _ = writeln!(
            out,
            "# HELP postern_config_loaded_timestamp When the configuration in force came into force, in seconds since 1970.\n# TYPE postern_config_loaded_timestamp gauge\npostern_config_loaded_timestamp {at}"
        );
        let failed = self.told.fault.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let _ = writeln!(
            out,
            "# HELP postern_config_stale 1 when the configuration was read again since and refused.\n# TYPE postern_config_stale gauge\npostern_config_stale {}",
            u8::from(failed)
        );
    }

    /// What is in force, and the last fault, as lines for people.
    pub(super) fn lines(&self) -> String {
        let mut out = format!(
            "configuration: {} since {}\n",
            self.engine.policy().fingerprint,
            Timestamp::from_ms(self.told.loaded.load(Relaxed))
        );
        if let Some((at, fault)) = &*self.told.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            let first: String = fault.lines().next().unwrap_or_default().chars().take(300).collect();
            let _ = writeln!(out, "reload refused at {at}: {first}");
        }
        out
    }
}

/// How requests under way are found in the new map.
fn standing(earlier: VecDeque<Earlier>, now: Arc<Routing>) -> Standing {
    Standing {
        policy: Arc::clone(&now.policy),
        find: Box::new(move |asked_under, about, subject| {
            let known = earlier.iter().find(|one| Arc::ptr_eq(&one.routing.policy, asked_under));
            match known {
                Some(before) if before.same.contains(&subject.id.issuer) => {
                    find_again(&before.routing, &now, about)
                }
                Some(_) | None => Err(Reason::ConfigurationReplaced),
            }
        }),
    }
}

/// The issuers whose word still means the same about a person whose token was verified earlier. Other keys do not count:
/// a token's end bounds what may begin, not what runs (rule 10).
fn same_issuers(before: &[IssuerSettings], now: &[IssuerSettings]) -> BTreeSet<IssuerName> {
    let same = |one: &&IssuerSettings| {
        before.iter().any(|other| {
            one.name == other.name
                && one.issuer == other.issuer
                && one.kind == other.kind
                && one.rows == other.rows
                && one.claims.support == other.claims.support
                && one.claims.organisations == other.claims.organisations
        })
    };
    now.iter().filter(same).map(|issuer| issuer.name.clone()).collect()
}

/// The keys that a start reads and a reload cannot follow, where they differ.
fn needs_restart(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let differs = [
        ("gateway", old.gateway != new.gateway),
        ("listen", old.listen != new.listen),
        // A listener that speaks in clear from one request to the next is nobody's wish.
        ("tls", old.tls.is_some() != new.tls.is_some()),
        ("operations", old.operations != new.operations),
        ("fleet", !super::fleet::stays(old.fleet.as_ref(), new.fleet.as_ref())),
        ("workers", old.workers != new.workers),
        ("state", !old.state.is_as(&new.state)),
        ("ledger.path", old.ledger.path != new.ledger.path),
        ("ledger.origin", old.ledger.origin != new.ledger.origin),
        ("ledger.key", old.ledger.key.expose().trim_ascii() != new.ledger.key.expose().trim_ascii()),
        ("ledger.segment", old.ledger.segment != new.ledger.segment),
        ("ledger.reserve", old.ledger.reserve != new.ledger.reserve),
        ("ledger.quota", old.ledger.quota != new.ledger.quota),
        ("dangerous.clock", old.dangerous.clock != new.dangerous.clock),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}
