//! The composition root: what the configuration means becomes running parts, in an order in which nothing is served
//! that is not ready, and stops in the reverse.
//!
//! Never here: a rule. The only clock is here ([`clock`]).

mod accept;
mod build;
pub mod clock;
mod fetch;
mod fleet;
mod kept;
mod keys;
mod links;
mod listen;
mod open;
mod operations;
mod past;
mod proofs;
mod rebuild;
mod registered;
mod reload;
mod retire;
mod roster;
mod servers;
mod shadow;
mod systemd;
mod watch;
mod webhooks;

use std::{future::Future, net::SocketAddr, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::{
    net::TcpListener,
    runtime::{Builder, LocalOptions, Runtime},
};
use tokio_util::sync::CancellationToken;

use crate::{
    audit::journal::Journal,
    config::Settings,
    control::{Api, Following},
    engine::{Clock, Engine, Parts, hooks::Hooks, outside::Outside},
    fleet::Peers,
    proxy::{self, Core, InsideFuture, Shared, counters::Counters, look_up::LookUps},
    state::Cells,
    webhook::Webhooks,
};

use self::{clock::SystemClock, kept::Kept, operations::Operations, reload::Reloader, roster::Roster};

pub use accept::{AcceptClockFault, accept_clock};
pub use build::{doubts, routing, verifier};
pub use listen::ListenFault;
pub use open::{OpenFault, init, init_state};
pub use proofs::{BuildFault, PlacedFault, check, check_beside};
pub use rebuild::{RebuildFault, Rebuilt, rebuild};
pub use reload::{Cause, ReloadFault};
pub use retire::{RetireFault, retire};
pub use systemd::{Notify, Passed, PassedFault, passed};
pub use watch::{Watch, load};

/// About how many kilobytes of documents are kept at hand.
const CELLS: usize = 256 * 1024;
/// How long what is cut at the end of a stop may take to be over.
const HALT: Duration = Duration::from_secs(1);
/// How long a stop waits for what is queued to be written, for the store, and for background work.
const REST: Duration = Duration::from_secs(2);
/// How long a start waits for the first keys. Without them it goes on: their issuers' tokens get 503 until they come.
const FIRST_KEYS: Duration = Duration::from_secs(3);
/// How long a start waits until the past is settled, so that staff who come to a gateway that was just restarted are not
/// refused for it. Without it goes on: they get 503 until it is.
const FIRST_SETTLING: Duration = Duration::from_secs(1);

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The configuration cannot be built into parts.
    #[error("{}", proofs::lines(.0))]
    Build(Vec<PlacedFault>),
    /// State or ledger cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenFault),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenFault),
    /// A socket that was handed in.
    #[error(transparent)]
    Passed(#[from] PassedFault),
    /// What is for local play only, on a socket that was handed in and is reached from elsewhere.
    #[error(
        "the socket that was handed in listens on {address}, which can be reached from elsewhere, and `dangerous` has {}; remove that, or hand in a socket on loopback",
        listed(.names)
    )]
    Dangerous {
        /// Where it listens.
        address: SocketAddr,
        /// What of `dangerous` is in use.
        names: Vec<&'static str>,
    },
    /// The system gives no thread or runtime.
    #[error("the system gives no threads: {0}")]
    Threads(#[from] std::io::Error),
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// What a start takes, beside the configuration.
#[derive(Default)]
pub struct Extra {
    /// What tests want to see or hold.
    pub hooks: Hooks,
    /// A clock of the tests' own.
    pub clock: Option<Arc<dyn Clock>>,
    /// The system's clock, where somebody else looks at it too.
    pub system: Option<Arc<SystemClock>>,
    /// The files of the configuration, where a change of them is to be followed.
    pub watch: Option<Watch>,
    /// Sockets that were handed in, instead of the addresses that the configuration names.
    pub passed: Passed,
    /// Who the other gateways of the fleet are. Without it there are none.
    pub peers: Option<Arc<dyn Peers>>,
}

/// A gateway that runs.
pub struct Gateway {
    engine: Arc<Engine>,
    shared: Arc<Shared>,
    journal: Arc<Journal>,
    store: Kept,
    roster: Option<Arc<Roster>>,
    address: SocketAddr,
    operations: SocketAddr,
    fleet: Option<SocketAddr>,
    stop: CancellationToken,
    /// A stop is near: only told.
    leaving: CancellationToken,
    reloader: Arc<Reloader>,
    file: PathBuf,
    cores: Vec<std::thread::JoinHandle<()>>,
    background: Option<Runtime>,
}

impl Gateway {
    /// Starts everything; when this answers, members are served and staff will be as soon as the past is settled.
    pub fn start(settings: Settings, extra: Extra) -> Result<Gateway, StartFault> {
        let system = extra.system.unwrap_or_default();
        let clock: Arc<dyn Clock> = extra.clock.unwrap_or_else(|| Arc::clone(&system) as Arc<dyn Clock>);
        let built = build::build(&settings).map_err(StartFault::Build)?;
        for doubt in build::broken_keys(&built.verifier) {
            tracing::warn!("{doubt}");
        }
        let background = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("background")
            .enable_all()
            .build()?;
        let opened = open::open(&settings, &clock, background.handle())?;
        let listeners = match extra.passed.proxy {
            Some(number) => systemd::take("proxy", number, built.workers)?,
            None => listen::listen(settings.listen, built.workers)?,
        };
        let operations_listener = match extra.passed.operations {
            Some(number) => systemd::take("operations", number, 1)?.pop(),
            None => None,
        };
        let operations_listener = match operations_listener {
            Some(listener) => listener,
            None => listen::one(settings.operations)?,
        };
        let address = listen::address(&listeners, settings.listen);
        let operations_address = operations_listener.local_addr().unwrap_or(settings.operations);
        // What the configuration names was looked at when it was read; these are other addresses.
        let dangerous = settings.dangerous.in_use();
        for (handed_in, address) in
            [(extra.passed.proxy, address), (extra.passed.operations, operations_address)]
        {
            if handed_in.is_some() && !dangerous.is_empty() && !address.ip().is_loopback() {
                return Err(StartFault::Dangerous { address, names: dangerous });
            }
        }
        let store = extra.hooks.before(opened.store.store());
        let cells = Arc::new(Cells::new(Arc::clone(&store), built.routing.policy.ladder.clone(), CELLS));
        let journal = Arc::new(opened.journal);
        let engine = Engine::new(
            Parts {
                gateway: settings.gateway.clone(),
                policy: Arc::clone(&built.routing.policy),
                store,
                cells,
                journal: Arc::clone(&journal),
                clock,
                background: background.handle().clone(),
                keeps: opened.store.keeps(&settings),
                hooks: extra.hooks,
            },
            &opened.recovered,
        );
        let roster = kept::roster(&opened.store, &settings);
        let peers = extra.peers.or_else(|| roster.clone().map(|roster| roster as Arc<dyn Peers>));
        let fleet = fleet::prepare(&settings, &journal, peers, background.handle())?;
        let of_fleet = fleet.as_ref().map(|running| Arc::clone(&running.fleet));
        let fleet_address = fleet.as_ref().map(|running| running.address);
        let look_ups = Arc::new(LookUps::new(background.handle().clone()));
        engine.look_outside(Arc::clone(&look_ups) as Arc<dyn Outside>);
        let (stop, leaving) = (CancellationToken::new(), CancellationToken::new());
        let api = Api::new(Arc::clone(&engine), &settings.prefix);
        let api = match &of_fleet {
            Some(fleet) => api.gathering_from(Arc::clone(fleet)),
            None => api,
        };
        let api = Arc::new(ArcSwap::from_pointee(api.sealing_by(settings.assertion.key.expose())));
        let apis = Arc::clone(&api);
        let inside = move |call: proxy::InsideCall| -> InsideFuture {
            let api = apis.load_full();
            Box::pin(async move { answer_inside(&api, call).await })
        };
        let verifier = Arc::new(ArcSwap::from_pointee(built.verifier));
        let keepers = Arc::new(ArcSwap::from_pointee(built.keepers));
        let shared = Arc::new(Shared {
            engine: Arc::clone(&engine),
            routing: ArcSwap::from_pointee(built.routing),
            tls: arc_swap::ArcSwapOption::new(settings.tls.clone()),
            verifier: Arc::clone(&verifier),
            fresh_keys: {
                let keepers = Arc::clone(&keepers);
                Box::new(move || keepers.load().coming())
            },
            inside: Arc::new(inside),
            counters: Counters::default(),
            stop: stop.clone(),
            halt: CancellationToken::new(),
        });
        look_ups.follow(shared.routing.load_full());
        let now: keys::Now = {
            let engine = Arc::clone(&engine);
            Arc::new(move || engine.now())
        };
        let keeping = stop.child_token();
        // Before anything is written: a webhook that is new is told of all that this life records.
        let webhooks = Arc::new(Webhooks::new(Arc::clone(&journal), Arc::clone(&now)));
        background.block_on(webhooks.start(built.hooks, background.handle(), &keeping));
        let settling = past::settle(
            Arc::clone(&engine),
            opened.recovered.open_intents,
            past::registrations(&settings),
            roster.clone(),
        );
        let comparing = registered::compare(Arc::clone(&engine), settings.tenants.known.clone());
        let (settled, is_settled) = tokio::sync::oneshot::channel();
        background.spawn(async move {
            settling.await;
            let _ = settled.send(());
            comparing.await;
        });
        if let Some(roster) = &roster {
            background.spawn(Arc::clone(roster).keep(Arc::clone(&engine)));
        }
        background.spawn(past::tell_of_the_clock(Arc::clone(&engine)));
        background.spawn(Arc::clone(&engine).keep_fuses());
        background.spawn(Arc::clone(&engine).keep_sweeping());
        background.spawn(Arc::clone(&engine).keep_following());
        if let Kept::Redis(store, shadow, clock) = &opened.store {
            background.spawn(kept::keep_hearing(Arc::clone(store), Arc::clone(clock)));
            background.spawn(shadow::keep_dating(Arc::clone(shadow), Arc::clone(store), Arc::clone(clock)));
        }
        background.spawn(Arc::clone(&engine).keep_mending());
        background.spawn(Arc::clone(&engine).keep_asking());
        background.spawn(Arc::clone(&engine).keep_effects());
        background.spawn(servers::keep_checking(shared.routing.load_full(), keeping.clone()));
        let first = keepers.load_full();
        first.start(&verifier, &now, background.handle(), &keeping);
        background.block_on(first.first(FIRST_KEYS));
        let reloader = Arc::new(Reloader::new(
            reload::Parts {
                engine: Arc::clone(&engine),
                shared: Arc::clone(&shared),
                verifier,
                keepers: Arc::clone(&keepers),
                api,
                webhooks: Arc::clone(&webhooks),
                look_ups: Arc::clone(&look_ups),
                fleet: of_fleet.clone(),
                now,
                background: background.handle().clone(),
                stop: stop.clone(),
                keeping,
            },
            settings.clone(),
            extra.watch.as_ref().map(|watch| watch.stamps.clone()).unwrap_or_default(),
        ));
        let operations = Arc::new(Operations {
            keys: keepers,
            reloader: Arc::clone(&reloader),
            webhooks,
            look_ups,
            fleet: of_fleet,
            store: opened.store.shared(),
            engine: Arc::clone(&engine),
            shared: Arc::clone(&shared),
            clock: settings.dangerous.clock.then_some(system),
            leaving: leaving.clone(),
        });
        {
            let _inside = background.enter();
            let listener = TcpListener::from_std(operations_listener)?;
            background.spawn(operations::serve(listener, operations, shared.halt.clone()));
        }
        if let Some(fleet) = fleet {
            fleet.serve(background.handle(), shared.halt.clone())?;
        }
        if let Some(watch) = extra.watch {
            let watching = Arc::clone(&reloader).keep_watching(settings.file.clone(), watch.every);
            background.spawn(watching);
        }
        let _ = background.block_on(async { tokio::time::timeout(FIRST_SETTLING, is_settled).await });
        let mut cores = Vec::new();
        for (number, listener) in listeners.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            let (built, building) = std::sync::mpsc::sync_channel(1);
            let thread = std::thread::Builder::new().name(format!("core-{number}")).spawn(move || {
                // One that knows that it stays on its thread: a `LocalSet` inside another runtime would wake itself through
                // the kernel, about once for two requests.
                let runtime =
                    match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                        Ok(runtime) => runtime,
                        Err(fault) => return drop(built.send(Err(fault))),
                    };
                let _ = built.send(Ok(()));
                runtime.block_on(async move {
                    match TcpListener::from_std(listener) {
                        Ok(listener) => proxy::serve(Core::new(shared), listener).await,
                        Err(fault) => tracing::error!(%fault, "a core has no listener"),
                    }
                });
            })?;
            building.recv().map_err(|_| std::io::Error::other("a core ended as it began"))??;
            cores.push(thread);
        }
        Ok(Gateway {
            engine,
            shared,
            journal,
            store: opened.store,
            roster,
            address,
            operations: operations_address,
            fleet: fleet_address,
            stop,
            leaving,
            reloader,
            file: settings.file,
            cores,
            background: Some(background),
        })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where operators look.
    pub fn operations(&self) -> SocketAddr {
        self.operations
    }

    /// Where the other gateways of the fleet ask, if there are any.
    pub fn fleet(&self) -> Option<SocketAddr> {
        self.fleet
    }

    /// The engine, for whoever looks on.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// What the data plane counted.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Puts other settings in force while everything runs, or says why not; then nothing has changed.
    ///
    /// # Errors
    /// [`ReloadFault`].
    pub fn apply(&self, settings: Settings) -> Result<(), ReloadFault> {
        let Some(background) = &self.background else { return Err(ReloadFault::Stopping) };
        background.block_on(self.reloader.apply(settings))
    }

    /// Reads the configuration's file again and puts it in force, or says why not; then nothing has changed. What came of
    /// it is logged and counted.
    ///
    /// # Errors
    /// [`ReloadFault`].
    pub fn reload(&self) -> Result<(), ReloadFault> {
        let Some(background) = &self.background else { return Err(ReloadFault::Stopping) };
        background.block_on(self.reloader.reload(self.file.clone(), Cause::Signal))
    }

    /// Says by `/readyz` that it stops, and after the configured delay takes no new requests, lets the ones in hand end for
    /// as long as the configuration says, and closes the ledger.
    pub fn stop(mut self) {
        let millis = |of: &std::sync::atomic::AtomicI64| {
            Duration::from_millis(u64::try_from(of.load(std::sync::atomic::Ordering::Relaxed)).unwrap_or(0))
        };
        let drain = millis(&self.reloader.drain_ms);
        self.leaving.cancel();
        std::thread::sleep(millis(&self.reloader.delay_ms));
        self.stop.cancel();
        let patience = std::time::Duration::from_millis(10);
        let mut waited = Duration::ZERO;
        while waited < drain && self.cores.iter().any(|core| !core.is_finished()) {
            std::thread::sleep(patience);
            waited += patience;
        }
        // What did not end in time, tunnels above all, is cut while its outcome can still be written.
        self.shared.halt.cancel();
        while waited < drain + HALT && self.cores.iter().any(|core| !core.is_finished()) {
            std::thread::sleep(patience);
            waited += patience;
        }
        if let Some(background) = self.background.take() {
            background.block_on(async {
                let _no_more = tokio::time::timeout(REST, self.engine.sweep_no_more()).await;
                // What is being told is noted, if it is soon: less is told again by the next start.
                let _ = tokio::join!(
                    tokio::time::timeout(REST, self.engine.mend_once()),
                    tokio::time::timeout(REST, self.engine.ask_once()),
                    tokio::time::timeout(REST, self.reloader.webhooks.rest()),
                );
                let left = self.engine.pending();
                if left > 0 {
                    tracing::error!(
                        left,
                        "changes that take something away are not stored; those whose intent is in the ledger are carried on by the next start"
                    );
                }
                // What did not end in time is cut with its runtime; its outcomes are settled at the next start.
                let _ = tokio::time::timeout(REST, self.engine.rest()).await;
                if let Some(roster) = &self.roster {
                    let _ = tokio::time::timeout(REST, roster.leave()).await;
                }
                let _ = tokio::time::timeout(REST, self.store.close()).await;
            });
            background.shutdown_timeout(REST);
        }
        self.store.flush();
        self.journal.close();
    }
}

/// One call of the support API, for the data plane.
async fn answer_inside(api: &Api, call: proxy::InsideCall) -> proxy::InsideAnswer {
    struct Events(Following);
    impl proxy::Pieces for Events {
        fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Bytes>> + Send + '_>> {
            Box::pin(self.0.next())
        }
    }
    let (response, rest) = api.open(call.request, call.who, call.client).await;
    let pieces = rest.map(|rest| Box::new(Events(rest)) as Box<dyn proxy::Pieces>);
    proxy::InsideAnswer { response, pieces }
}
