//! The gateways of a fleet towards each other: each answers the others for what its own ledger holds of a tenant, over TLS with a
//! certificate of the fleet's own authority on both sides (decision 0027).
//!
//! Whose record it is, and who may read it, was decided by the gateway that was asked: a peer takes the tenant as given and answers
//! nothing but records. What a peer answers is looked at as if a stranger had sent it: each record must be of its log, at its place,
//! with its hash, and of the tenant that was asked for.
//!
//! Never here: who may read what, merging, who the gateways of the fleet are ([`Peers`] is handed in), a clock.

mod ask;
mod check;
mod counts;
mod fault;
mod follow;
mod read;
mod serve;
mod stream;
mod words;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use crate::{audit::journal::Journal, model::Timestamp};

pub use self::{
    check::Ledger,
    fault::PeerFault,
    follow::{Follower, News},
    read::PageFault,
    words::{Asked, Mark},
};

/// Another gateway of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name; no two have the same.
    pub name: String,
    /// Where it is reached by the others: `host:port`. Its certificate must name the host.
    pub address: String,
    /// When it was last seen in the store.
    pub seen: Timestamp,
}

/// A gateway that was retired: what its ledger holds is not asked for any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Its name.
    pub name: String,
    /// When.
    pub at: Timestamp,
    /// Where its ledger is kept, as an operator said.
    pub archive: Option<String>,
}

/// Who the gateways of the fleet are, this one among them or not.
pub trait Peers: Send + Sync {
    /// All of them, also those that have not been seen for long: what is not answered for is missing, until an operator retires it.
    fn all(&self) -> Vec<Peer>;

    /// Who was retired, oldest first.
    fn retired(&self) -> Vec<Gone>;
}

/// A fleet that is what it is.
impl Peers for Vec<Peer> {
    fn all(&self) -> Vec<Peer> {
        self.clone()
    }

    fn retired(&self) -> Vec<Gone> {
        Vec::new()
    }
}

/// How the gateways of a fleet speak to each other; another one comes with a reload.
#[derive(Clone)]
pub struct Link {
    /// TLS towards those that ask: TLS 1.3, a certificate insisted on.
    pub serving: Arc<rustls::ServerConfig>,
    /// TLS towards those that are asked.
    pub asking: Arc<rustls::ClientConfig>,
    /// How long all that others are asked for at once may take.
    pub timeout: Duration,
}

/// What a gateway's part of the fleet is made of.
pub struct Parts {
    /// This gateway's name.
    pub gateway: String,
    /// Its ledger.
    pub journal: Arc<Journal>,
    /// Who the others are.
    pub peers: Arc<dyn Peers>,
    /// How they speak.
    pub link: Link,
    /// Where it runs: whom it asks and whom it answers, so that no core of the data plane waits for either.
    pub background: Handle,
}

/// This gateway's part of the fleet.
pub struct Fleet {
    gateway: String,
    journal: Arc<Journal>,
    peers: Arc<dyn Peers>,
    link: ArcSwap<Link>,
    background: Handle,
    /// Connections that wait to be used again, by the peer's name.
    kept: Mutex<BTreeMap<String, Vec<ask::Line>>>,
    /// Whose log is whose: the first gateway that proved its name and named a log has it, as long as it is of the fleet.
    logs: Mutex<BTreeMap<String, String>>,
    counts: counts::Counts,
    turns: read::Turns,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").field("gateway", &self.gateway).finish_non_exhaustive()
    }
}

impl Fleet {
    /// Nothing is connected to yet.
    pub fn new(parts: Parts) -> Arc<Fleet> {
        let Parts { gateway, journal, peers, link, background } = parts;
        Arc::new(Fleet {
            gateway,
            journal,
            peers,
            link: ArcSwap::from_pointee(link),
            background,
            kept: Mutex::default(),
            logs: Mutex::default(),
            counts: counts::Counts::default(),
            turns: read::Turns::default(),
        })
    }

    /// This gateway's name.
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// From now on they speak so. Connections that were made otherwise are not used again.
    pub fn speak(&self, link: Link) {
        self.link.store(Arc::new(link));
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The other gateways, each once, by name.
    pub fn others(&self) -> Vec<Peer> {
        let mut all = self.peers.all();
        all.retain(|peer| peer.name != self.gateway);
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.dedup_by(|a, b| a.name == b.name);
        all
    }

    /// The gateways that were retired, oldest first.
    pub fn retired(&self) -> Vec<Gone> {
        self.peers.retired()
    }

    /// What was asked of others and by them, in the form of metrics.
    pub fn metrics(&self, out: &mut String) {
        self.counts.metrics(&self.others(), out);
    }

    /// Whether a log is this gateway's: of two that name one, the second is not believed, nor is whoever names ours.
    fn has_log(&self, log: &str, gateway: &str) -> bool {
        if log == self.journal.origin() {
            return false;
        }
        let others = self.others();
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        // Of a gateway that was retired another may have taken the ledger over.
        logs.retain(|_, owner| others.iter().any(|peer| peer.name == *owner));
        logs.entry(log.to_owned()).or_insert_with(|| gateway.to_owned()) == gateway
    }
}
