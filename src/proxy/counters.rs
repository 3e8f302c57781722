//! What the data plane counts. Bounded labels only; each counter is picked once, so counting is one addition.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Requests by what became of them, connections, bytes.
#[derive(Debug, Default)]
pub struct Counters {
    /// Members' requests that were forwarded.
    pub members: AtomicU64,
    /// Requests on public routes that were forwarded.
    pub public: AtomicU64,
    /// Staff requests that were forwarded.
    pub staff: AtomicU64,
    /// Requests that a decision refused.
    pub denied: AtomicU64,
    /// Requests past a rate.
    pub limited: AtomicU64,
    /// Requests that could not be read in one way.
    pub unreadable: AtomicU64,
    /// Requests for which the gateway could not do its part.
    pub faulted: AtomicU64,
    /// Requests that the application failed.
    pub upstream_failed: AtomicU64,
    /// Requests that tried another server, none of their bytes having left.
    pub retried: AtomicU64,
    /// Staff exchanges that were cut.
    pub cut: AtomicU64,
    /// Requests to the support API.
    pub inside: AtomicU64,
    /// Open client connections.
    pub connections: AtomicI64,
    /// TLS handshakes that came to nothing.
    pub tls_failed: AtomicU64,
    /// Tokens that were verified, not found in a core's cache.
    pub verified: AtomicU64,
}

impl Counters {
    /// One more.
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// All counters with their names, for the operations listener.
    pub fn all(&self) -> [(&'static str, u64); 11] {
        [
            ("members", self.members.load(Relaxed)),
            ("public", self.public.load(Relaxed)),
            ("staff", self.staff.load(Relaxed)),
            ("denied", self.denied.load(Relaxed)),
            ("limited", self.limited.load(Relaxed)),
            ("unreadable", self.unreadable.load(Relaxed)),
            ("faulted", self.faulted.load(Relaxed)),
            ("upstream_failed", self.upstream_failed.load(Relaxed)),
            ("cut", self.cut.load(Relaxed)),
            ("inside", self.inside.load(Relaxed)),
            ("verified", self.verified.load(Relaxed)),
        ]
    }
}
