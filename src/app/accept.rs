//! `postern state accept-clock`: an operator accepts a clock that is behind the ledger, while no gateway runs on it.
//!
//! State and ledger are opened as a start opens them, under the ledger's lock, and what was left open is settled first.
//! Nothing listens and nobody is served. A command and no setting: what is written into a unit would accept every later
//! clock too.
//!
//! Never here: what it does to sessions and ledger ([`crate::engine`]).

use std::{collections::VecDeque, sync::Arc};

use crate::{
    config::Settings,
    engine::{AcceptFault, Accepted, Clock, Engine, Parts, SettleError, hooks::Hooks},
    state::Cells,
};

use super::{BuildFault, CELLS, OpenFault, REST, build, clock::SystemClock, open};

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
    let accepted = runtime.block_on(async {
        let mut open = VecDeque::from(opened.recovered.open_intents);
        let accepted = match engine.settle_intents(&mut open).await {
            Ok(()) => engine.accept_clock().await.map_err(AcceptClockFault::from),
            Err(fault) => Err(fault.into()),
        };
        let _ = tokio::time::timeout(REST, engine.rest()).await;
        let _ = tokio::time::timeout(REST, kept.close()).await;
        accepted
    });
    runtime.shutdown_timeout(REST);
    kept.flush();
    journal.close();
    accepted
}
