//! Webhooks: whom the record is told to. The ledger on disk is the spool: each webhook has a cursor beside it, is told of each event
//! that it wants at least once and in order, and catches up after an outage (GW-11).
//!
//! One task for each, on the background runtime, with one connection at a time: one that hangs costs the others nothing, and
//! no request ever waits for any. What is told is read from durable records alone, so nobody hears of what did not happen.
//!
//! Never here: what is recorded, which configuration says so, a clock.

mod counts;
mod cursor;
mod deliver;
mod message;
mod retry;
mod runner;
mod sign;
mod spool;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use self::{counts::Counts, runner::Runner, sign::Signer};
use crate::{
    audit::journal::Journal,
    model::{TenantId, Timestamp},
    net::ask::{Address, Asker, SetupFault},
};

/// What the gateway's clock says.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How one webhook is to be, as the configuration says.
pub struct Options<'a> {
    /// Its name: a word, which names its cursor's file too.
    pub name: &'a str,
    /// Where to.
    pub server: &'a Address,
    /// What signs, each of them.
    pub secrets: Vec<&'a [u8]>,
    /// What is told, by the names of [`crate::lifecycle::Event::NAMES`].
    pub events: BTreeSet<&'static str>,
    /// Of which tenants; `None` is all.
    pub tenants: Option<BTreeSet<TenantId>>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// For how long one event is tried, in milliseconds.
    pub give_up_ms: i64,
}

/// One webhook, ready to be told.
pub struct Hook {
    name: String,
    asker: Asker,
    signer: Signer,
    wanted: message::Wanted,
    give_up_ms: i64,
}

impl Hook {
    /// Makes one; nothing is connected to.
    ///
    /// # Errors
    /// [`SetupFault`].
    pub fn new(options: Options<'_>) -> Result<Hook, SetupFault> {
        Ok(Hook {
            name: options.name.to_owned(),
            asker: Asker::new(options.server, options.timeout)?,
            signer: Signer::new(&options.secrets),
            wanted: message::Wanted { events: options.events, tenants: options.tenants },
            give_up_ms: options.give_up_ms,
        })
    }
}

/// What stays of a webhook from one configuration to the next.
#[derive(Default)]
struct Kept {
    /// Whose turn it is to tell it: the task of an earlier configuration ends its attempt first.
    turn: tokio::sync::Mutex<()>,
    counts: Counts,
}

/// All webhooks of a gateway.
pub struct Webhooks {
    journal: Arc<Journal>,
    now: Now,
    /// By name. One that the configuration no longer has is kept while its task ends.
    kept: Mutex<BTreeMap<String, Arc<Kept>>>,
    /// Those of the configuration in force.
    names: Mutex<Vec<String>>,
}

impl Webhooks {
    /// None yet.
    pub fn new(journal: Arc<Journal>, now: Now) -> Webhooks {
        Webhooks { journal, now, kept: Mutex::default(), names: Mutex::default() }
    }

    /// Begins to tell these, until told to stop. One that was never there before is told of what is recorded from now on,
    /// and that is on disk when this answers.
    pub async fn start(&self, hooks: Vec<Hook>, on: &Handle, stop: &CancellationToken) {
        let (dir, log) = (self.journal.dir().to_owned(), self.journal.origin().to_owned());
        let size = self.journal.status().size;
        let names: Vec<String> = hooks.iter().map(|hook| hook.name.clone()).collect();
        let begun = {
            let names = names.clone();
            on.spawn_blocking(move || {
                for name in &names {
                    if let Err(fault) = cursor::begin(&dir, name, &log, size) {
                        tracing::error!(webhook = name, %fault, "a webhook's place in the record cannot be kept");
                    }
                }
            })
        };
        let _ = begun.await;
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
        for hook in hooks {
            let kept = {
                let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(all.entry(hook.name.clone()).or_default())
            };
            let runner = Runner {
                hook,
                kept,
                journal: Arc::clone(&self.journal),
                now: Arc::clone(&self.now),
                stop: stop.clone(),
            };
            on.spawn(runner.run());
        }
    }

    /// Waits until those that were told to stop have: each ends the attempt that it is at.
    pub async fn rest(&self) {
        let all: Vec<_> =
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect();
        for kept in all {
            let _ = kept.turn.lock().await;
        }
    }

    /// How they fare, in the form of metrics. The only label is the webhook's configured name.
    pub fn metrics(&self, out: &mut String) {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = names.iter().filter_map(|name| Some((name.as_str(), &all.get(name)?.counts)));
        counts::metrics(&found.collect::<Vec<_>>(), (self.now)(), self.journal.status().size, out);
    }
}
