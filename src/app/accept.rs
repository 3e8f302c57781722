//! `postern state accept-clock`: an operator accepts a clock that is behind the ledger, while no gateway runs on it.
//!
//! State and ledger are opened as a start opens them, under the ledger's lock, and what was left open is settled first.
//! A store that gateways share is waited for: nothing of it is settled or taken away before all of it is known, and its clock is heard.
//! Nothing listens and nobody is served. A command and no setting: what is written into a unit would accept every later
//! clock too.
//!
//! Never here: what it does to sessions and ledger ([`crate::engine`]).

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    config::{Settings, resolve::StateSettings},
    engine::{AcceptFault, Accepted, Clock, Engine, Parts, SettleError, hooks::Hooks},
    state::{Age, Cells, Part, StoreFault},
};

use super::{
    BuildFault, CELLS, OpenFault, REST, build,
    clock::SystemClock,
    kept::{self, Kept},
    open,
};

/// How long a store that is shared is waited for; one that is being healed as much longer as a healing may stand still.
const STORE: Duration = Duration::from_secs(10);
/// How long one look is from the next.
const AGAIN: Duration = Duration::from_millis(50);

/// Why a clock is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptClockFault {
    /// The configuration cannot be built into parts.
    #[error(transparent)]
    Build(#[from] BuildFault),
    /// State or ledger cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenFault),
    /// The system gives no thread or runtime.
    #[error("the system gives no threads: {0}")]
    Threads(#[from] std::io::Error),
    /// A store that is shared.
    #[error("the store is not known whole, so the clock is not accepted and no session was ended: {0}")]
    Store(StoreFault),
    /// What an earlier life left open cannot be settled.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// The rest.
    #[error(transparent)]
    Accept(#[from] AcceptFault),
}

/// Accepts this clock, or the system's.
///
/// # Errors
/// [`AcceptClockFault`]: the clock is not accepted then.
pub fn accept_clock(
    settings: &Settings,
    clock: Option<Arc<dyn Clock>>,
) -> Result<Accepted, AcceptClockFault> {
    let clock = clock.unwrap_or_else(|| Arc::new(SystemClock::default()));
    let routing = build::routing(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let opened = open::open(settings, &clock, runtime.handle())?;
    let hears = Arc::clone(&clock);
    let kept = opened.store;
    let store = kept.store();
    let cells = Arc::new(Cells::new(Arc::clone(&store), routing.policy.ladder.clone(), CELLS));
    let journal = Arc::new(opened.journal);
    let engine = Engine::new(
        Parts {
            gateway: settings.gateway.clone(),
            policy: Arc::clone(&routing.policy),
            store,
            cells,
            journal: Arc::clone(&journal),
            clock,
            background: runtime.handle().clone(),
            keeps: kept.keeps(settings),
            hooks: Hooks::default(),
        },
        &opened.recovered,
    );
    // Of a store that is shared nothing is taken away before it is known that nothing of it was lost.
    runtime.spawn(Arc::clone(&engine).keep_following());
    if let Kept::Redis(store, ..) = &kept {
        runtime.spawn(kept::keep_hearing(Arc::clone(store), hears));
    }
    let accepted = runtime.block_on(async {
        let mut open = VecDeque::from(opened.recovered.open_intents);
        let accepting = async {
            known(&engine, &kept, settings).await.map_err(AcceptClockFault::Store)?;
            engine.settle_intents(&mut open).await?;
            Ok(engine.accept_clock().await?)
        };
        let accepted = accepting.await;
        let _ = tokio::time::timeout(REST, engine.rest()).await;
        let _ = tokio::time::timeout(REST, kept.close()).await;
        accepted
    });
    runtime.shutdown_timeout(REST);
    kept.flush();
    journal.close();
    accepted
}

/// Waits until all of a store that is shared is known, and nothing of it is lost.
async fn known(engine: &Engine, kept: &Kept, settings: &Settings) -> Result<(), StoreFault> {
    let (Kept::Redis(store, ..), StateSettings::Redis(redis)) = (kept, &settings.state) else {
        return Ok(());
    };
    let (leases, begun) = (engine.store().leases(), Instant::now());
    let heals = STORE + Duration::from_millis(redis.heal_grace_ms.unsigned_abs());
    while !engine.known_of_store().is_none_or(|known| matches!(known.oldest, Age::Known(_))) {
        let suspect = |part: &Part| leases.suspicion(*part).is_some();
        let mut lacking = (0..engine.store().parts())
            .map(Part)
            .filter(|part| suspect(part) || leases.known(*part).is_none());
        if let Some(part) = lacking.next()
            && begun.elapsed() > if suspect(&part) { heals } else { STORE }
        {
            let trouble = store.links().trouble(part);
            return Err(trouble.unwrap_or(StoreFault::Suspect { part: part.0 }));
        }
        tokio::time::sleep(AGAIN).await;
    }
    Ok(())
}
