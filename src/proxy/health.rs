//! Whether a server of an application can be asked: one word for all cores, read at each choice, written when it changes.
//!
//! Two things put a server out. Connections that cannot be opened, several on end: for a time that doubles with each
//! attempt in vain; when it is over, one request tries. And checks that fail, until they succeed again. What a server
//! answers to a client is never held against it.
//!
//! Never here: which one is asked (that is `servers`), a connection.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::net::servers::Eject;

/// How long the one that tries may take before another one may.
const TRIAL: Duration = Duration::from_secs(5);

/// See the module's header.
#[derive(Debug)]
pub struct Health {
    upstream: String,
    server: String,
    eject: Eject,
    /// Until when it is left out, in milliseconds since [`BASE`]; 0: it is not.
    until: AtomicU64,
    /// Its time is over, and somebody tries.
    tried: AtomicBool,
    /// Connections on end that could not be opened.
    failed: AtomicU32,
    /// How often on end it was left out.
    times: AtomicU32,
    /// Checks say that it is not well.
    unwell: AtomicBool,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    unreached: AtomicU64,
    ejected: AtomicU64,
    good: AtomicU64,
    bad: AtomicU64,
}

/// What is told of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// It is asked.
    pub is_in: bool,
    /// Connections that could not be opened.
    pub unreached: u64,
    /// How often it was left out for them.
    pub ejected: u64,
    /// Checks that found it well.
    pub good: u64,
    /// Checks that did not.
    pub bad: u64,
}

/// Where times count from. Monotonic, of this process alone.
static BASE: LazyLock<Instant> = LazyLock::new(Instant::now);

fn now() -> u64 {
    millis(BASE.elapsed()).saturating_add(1)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Health {
    /// Of a server of which nothing is known: it is in.
    pub fn new(upstream: &str, server: &str, eject: Eject) -> Health {
        Health {
            upstream: upstream.to_owned(),
            server: server.to_owned(),
            eject,
            until: AtomicU64::new(0),
            tried: AtomicBool::new(false),
            failed: AtomicU32::new(0),
            times: AtomicU32::new(0),
            unwell: AtomicBool::new(false),
            counts: Counts::default(),
        }
    }

    /// Whether the same would put both out.
    pub fn is_judged_like(&self, other: &Health) -> bool {
        self.eject == other.eject
    }

    /// Whether it is asked like any other.
    pub fn is_in(&self) -> bool {
        self.until.load(Relaxed) == 0 && !self.unwell.load(Relaxed)
    }

    /// Whether whoever asks this is the one that tries whether it is back.
    pub fn may_try(&self) -> bool {
        // The clock is read only where something is out.
        self.until.load(Relaxed) != 0 && self.may_try_at(now())
    }

    fn may_try_at(&self, now: u64) -> bool {
        let until = self.until.load(Relaxed);
        if until == 0 || self.unwell.load(Relaxed) {
            return false;
        }
        let mine =
            now >= until && self.until.compare_exchange(until, now + millis(TRIAL), Relaxed, Relaxed).is_ok();
        if mine {
            self.tried.store(true, Relaxed);
        }
        mine
    }

    /// Whether checks say that it is not well.
    pub fn is_unwell(&self) -> bool {
        self.unwell.load(Relaxed)
    }

    /// A connection was opened.
    pub fn reached(&self) {
        if self.failed.load(Relaxed) != 0 || self.until.load(Relaxed) != 0 {
            self.back("it can be connected to");
        }
    }

    fn back(&self, why: &str) {
        self.failed.store(0, Relaxed);
        self.times.store(0, Relaxed);
        self.tried.store(false, Relaxed);
        if self.until.swap(0, Relaxed) != 0 {
            tracing::info!(upstream = self.upstream, server = self.server, "a server is back: {why}");
        }
    }

    /// A connection could not be opened.
    pub fn unreached(&self, code: &str) {
        self.unreached_at(now(), code);
    }

    fn unreached_at(&self, now: u64, code: &str) {
        self.counts.unreached.fetch_add(1, Relaxed);
        let failed = self.failed.fetch_add(1, Relaxed).saturating_add(1);
        if self.eject.after == 0 || failed < self.eject.after {
            return;
        }
        let until = self.until.load(Relaxed);
        // Others that began before it was left out say nothing new.
        if until > now && !self.tried.swap(false, Relaxed) {
            return;
        }
        let times = self.times.fetch_add(1, Relaxed).min(20);
        let rest = self.eject.first.saturating_mul(1 << times).min(self.eject.most);
        if self.until.compare_exchange(until, now + millis(rest), Relaxed, Relaxed).is_err() {
            return;
        }
        self.counts.ejected.fetch_add(1, Relaxed);
        if until == 0 {
            tracing::warn!(
                upstream = self.upstream,
                server = self.server,
                failed,
                code,
                "a server is left out: it cannot be connected to"
            );
        }
    }

    /// A check came to an end; `turn` where that changes what is held of it.
    pub fn checked(&self, good: bool, turn: bool, why: &str) {
        let count = if good { &self.counts.good } else { &self.counts.bad };
        count.fetch_add(1, Relaxed);
        if !turn {
            return;
        }
        if good {
            if self.unwell.swap(false, Relaxed) {
                tracing::info!(upstream = self.upstream, server = self.server, "a server is well again");
            }
            if self.until.load(Relaxed) != 0 {
                self.back("its checks succeed");
            }
        } else if !self.unwell.swap(true, Relaxed) {
            tracing::warn!(
                upstream = self.upstream,
                server = self.server,
                "a server is left out: its checks fail ({why})"
            );
        }
    }

    /// What is told of it.
    pub fn state(&self) -> State {
        State {
            is_in: self.is_in(),
            unreached: self.counts.unreached.load(Relaxed),
            ejected: self.counts.ejected.load(Relaxed),
            good: self.counts.good.load(Relaxed),
            bad: self.counts.bad.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(after: u32) -> Health {
        let eject = Eject { after, first: Duration::from_secs(1), most: Duration::from_secs(5) };
        Health::new("app", "127.0.0.1:1", eject)
    }

    #[test]
    fn one_tries_when_the_time_is_over_and_in_vain_it_doubles_up_to_the_bound() {
        let health = health(2);
        let mut now = 1_000;
        health.unreached_at(now, "x");
        assert!(health.is_in(), "once is nothing");
        health.unreached_at(now, "x");
        assert!(!health.is_in() && !health.may_try_at(now));
        for rest in [1_000, 2_000, 4_000, 5_000, 5_000] {
            // What began before says nothing new.
            for _ in 0..10 {
                health.unreached_at(now, "x");
            }
            now += rest - 1;
            assert!(!health.may_try_at(now), "before {rest} ms are over");
            now += 1;
            assert!(health.may_try_at(now), "after {rest} ms");
            assert!(!health.may_try_at(now) && !health.is_in(), "one tries");
            health.unreached_at(now, "x");
        }
        assert!(health.may_try_at(now + 5_000));
        health.reached();
        assert!(health.is_in());
        assert_eq!(health.state().ejected, 6);
        health.unreached_at(now, "x");
        assert!(health.is_in(), "counted anew");
    }

    #[test]
    fn whoever_gave_up_trying_leaves_it_to_another() {
        let health = health(1);
        health.unreached_at(1, "x");
        assert!(health.may_try_at(1_001));
        let over = 1_001 + millis(TRIAL);
        assert!(!health.may_try_at(over - 1));
        assert!(health.may_try_at(over));
    }

    #[test]
    fn checks_put_a_server_out_whatever_connections_say() {
        let health = health(0);
        for _ in 0..100 {
            health.unreached("x");
        }
        assert!(health.is_in(), "never for connections");
        health.checked(false, false, "500");
        assert!(health.is_in());
        health.checked(false, true, "500");
        health.reached();
        assert!(!health.is_in() && !health.may_try());
        health.checked(true, true, "");
        assert!(health.is_in());
        assert_eq!((health.state().good, health.state().bad), (1, 2));
    }
}
