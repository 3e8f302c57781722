//! How often each gateway of the fleet answered and did not, in the form of metrics; and a line in the log when that changes.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{Peer, PeerFault};

const ANSWERED: &str = "answered";

#[derive(Default)]
struct OfOne {
    by: BTreeMap<&'static str, u64>,
    last: Option<&'static str>,
}

/// See the module's header.
#[derive(Default)]
pub(super) struct Counts {
    of: Mutex<BTreeMap<String, OfOne>>,
    /// Questions of others that were answered.
    pub(super) served: AtomicU64,
    /// Those that got no further than the handshake.
    pub(super) unproved: AtomicU64,
    /// Connections that there was no room for.
    pub(super) turned_away: AtomicU64,
}

impl Counts {
    pub(super) fn answered(&self, peer: &Peer) {
        if self.note(peer, ANSWERED) {
            tracing::info!(gateway = %peer.name, address = %peer.address, "a gateway of the fleet answers");
        }
    }

    pub(super) fn missed(&self, peer: &Peer, fault: &PeerFault) {
        if self.note(peer, fault.code()) {
            tracing::warn!(
                gateway = %peer.name, address = %peer.address, code = fault.code(), %fault,
                "a gateway of the fleet is not answered for: what its ledger holds is missing in what tenants read"
            );
        }
    }

    /// Whether it is another word than the last.
    fn note(&self, peer: &Peer, word: &'static str) -> bool {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let one = of.entry(peer.name.clone()).or_default();
        *one.by.entry(word).or_default() += 1;
        one.last.replace(word) != Some(word)
    }

    pub(super) fn metrics(&self, others: &[Peer], out: &mut String) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        of.retain(|name, _| others.iter().any(|peer| peer.name == *name));
        let name = "postern_fleet_answers_total";
        let _ = writeln!(out, "# HELP {name} Questions to each gateway of the fleet, by what came of them.");
        let _ = writeln!(out, "# TYPE {name} counter");
        for peer in others {
            let by = of.get(&peer.name).map(|one| &one.by);
            for word in [ANSWERED].iter().chain(PeerFault::CODES) {
                let count = by.and_then(|by| by.get(word)).copied().unwrap_or(0);
                let _ = writeln!(out, "{name}{{gateway=\"{}\",what=\"{word}\"}} {count}", peer.name);
            }
        }
        let name = "postern_fleet_asked_total";
        let _ = writeln!(out, "# HELP {name} What other gateways of the fleet wanted, by what became of it.");
        let _ = writeln!(out, "# TYPE {name} counter");
        for (what, count) in
            [("served", &self.served), ("unproved", &self.unproved), ("turned_away", &self.turned_away)]
        {
            let _ = writeln!(out, "{name}{{what=\"{what}\"}} {}", count.load(Relaxed));
        }
    }
}
