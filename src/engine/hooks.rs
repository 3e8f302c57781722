//! Where tests can look on or hold an engine: between two steps, and at every hand-over of bytes. A running gateway
//! has none of them set; there is no switch that sets one.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use crate::{model::ExchangeId, state::Store};

/// A point between two steps of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// An access: it is entered, and nothing is decided.
    AccessEntered,
    /// An access: the intent is durable, nothing has been forwarded.
    AccessRecorded,
    /// A change: decided, nothing written.
    ChangeDecided,
    /// A change: the intent is durable.
    ChangeRecorded,
    /// A change: committed to the store.
    ChangeCommitted,
    /// A change: in force in this gateway's memory, what it ends is cut.
    ChangeInForce,
    /// A change: the outcome is durable, nothing has been answered.
    ChangeConcluded,
}

type Hold = dyn Fn(Step) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;
type Watch = dyn Fn(&ExchangeId, usize) + Send + Sync;
type Before = dyn Fn(Arc<dyn Store>) -> Arc<dyn Store> + Send + Sync;

/// See the module's header.
#[derive(Clone, Default)]
pub struct Hooks {
    /// Awaited at each step.
    pub at: Option<Arc<Hold>>,
    /// Called with every number of bytes that a staff exchange takes or hands on.
    pub bytes: Option<Arc<Watch>>,
    /// Puts something before the store when a gateway starts.
    pub store: Option<Arc<Before>>,
}

impl Hooks {
    /// The store, or what stands before it.
    pub fn before(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        match &self.store {
            Some(before) => before(store),
            None => store,
        }
    }

    pub(super) async fn at(&self, step: Step) {
        if let Some(hold) = &self.at {
            hold(step).await;
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("at", &self.at.is_some())
            .field("bytes", &self.bytes.is_some())
            .finish_non_exhaustive()
    }
}
