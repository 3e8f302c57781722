//! What the writer lets everybody see, without locks. Never here: decisions about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

/// Whether records can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// All of them.
    Healthy,
    /// Only those that may use the reserve.
    Full,
    /// Only those that may use the reserve: the quota is used up.
    Quota,
    /// The last write failed; the next append tries a new segment.
    Broken,
    /// None: closed, or the writer died.
    Stopped,
}

/// A ledger's state at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether records can be written.
    pub health: Health,
    /// Room runs short: four fifths of the quota are used, or less than four reserves are free.
    pub warning: bool,
    /// The last failure of the disk, also when it is over.
    pub last_error: Option<String>,
    /// How many records are durable.
    pub size: u64,
    /// How many of them the latest checkpoint covers.
    pub signed: u64,
    /// The number of the current segment.
    pub segment: u64,
    /// The end of its last acknowledged record.
    pub position: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Intents without outcome.
    pub open_intents: u64,
}

#[derive(Default)]
pub(super) struct Shared {
    health: AtomicU8,
    /// A record that may use the reserve was refused, and none was taken since.
    no_outcomes: AtomicBool,
    warning: AtomicBool,
    error: ArcSwapOption<String>,
    pub(super) size: AtomicU64,
    pub(super) signed: AtomicU64,
    pub(super) segment: AtomicU64,
    pub(super) position: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) open_intents: AtomicU64,
}

impl Shared {
    pub(super) fn health(&self) -> Health {
        match self.health.load(Ordering::Acquire) {
            0 => Health::Healthy,
            1 => Health::Full,
            2 => Health::Quota,
            3 => Health::Broken,
            _ => Health::Stopped,
        }
    }

    pub(super) fn set_health(&self, health: Health) {
        let code = match health {
            Health::Healthy => 0,
            Health::Full => 1,
            Health::Quota => 2,
            Health::Broken => 3,
            Health::Stopped => 4,
        };
        if health == Health::Healthy {
            self.set_no_outcomes(false);
        }
        self.health.store(code, Ordering::Release);
    }

    pub(super) fn set_no_outcomes(&self, none: bool) {
        self.no_outcomes.store(none, Ordering::Release);
    }

    /// Whether what may use the reserve is taken, as far as is known.
    pub(super) fn takes_outcomes(&self) -> bool {
        !self.no_outcomes.load(Ordering::Acquire) && self.health() != Health::Stopped
    }

    pub(super) fn set_warning(&self, warning: bool) {
        self.warning.store(warning, Ordering::Relaxed);
    }

    pub(super) fn set_error(&self, what: &str, error: &dyn std::fmt::Display) {
        self.error.store(Some(Arc::new(format!("{what}: {error}"))));
    }

    pub(super) fn read(&self) -> Status {
        let get = |value: &AtomicU64| value.load(Ordering::Relaxed);
        Status {
            health: self.health(),
            warning: self.warning.load(Ordering::Relaxed),
            last_error: self.error.load().as_ref().map(|e| e.as_ref().clone()),
            size: get(&self.size),
            signed: get(&self.signed),
            segment: get(&self.segment),
            position: get(&self.position),
            bytes: get(&self.bytes),
            open_intents: get(&self.open_intents),
        }
    }
}
