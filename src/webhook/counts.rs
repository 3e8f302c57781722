//! What is counted of a webhook, for whoever watches the gateway. Never here: what is done about it.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
};

use crate::model::Timestamp;

#[derive(Default)]
pub(super) struct Counts {
    pub(super) delivered: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) given_up: AtomicU64,
    /// The last attempt failed, or none can be made.
    pub(super) down: AtomicBool,
    /// When the event that waits was recorded, in milliseconds; 0: none waits.
    pub(super) waiting: AtomicI64,
    /// The record that is looked at next.
    pub(super) seq: AtomicU64,
}

pub(super) fn metrics(hooks: &[(&str, &Counts)], now: Timestamp, size: u64, out: &mut String) {
    if hooks.is_empty() {
        return;
    }
    type Read<'a> = &'a dyn Fn(&Counts) -> u64;
    let lag = |counts: &Counts| match counts.waiting.load(Relaxed) {
        0 => 0,
        since => u64::try_from(now.ms().saturating_sub(since) / 1000).unwrap_or(0),
    };
    let behind = |counts: &Counts| size.saturating_sub(counts.seq.load(Relaxed));
    let rows: [(&str, &str, &str, Read<'_>); 6] = [
        ("up", "gauge", "1 when the last attempt was taken, or none was needed yet.", &|counts| {
            u64::from(!counts.down.load(Relaxed))
        }),
        ("lag_seconds", "gauge", "For how long the event that is told next waits; 0: none does.", &lag),
        ("records_behind", "gauge", "Durable records that were not looked at yet.", &behind),
        ("delivered_total", "counter", "Events that were taken.", &|counts| counts.delivered.load(Relaxed)),
        ("failed_total", "counter", "Attempts that failed.", &|counts| counts.failed.load(Relaxed)),
        ("given_up_total", "counter", "Events that were never taken.", &|counts| {
            counts.given_up.load(Relaxed)
        }),
    ];
    for (name, kind, help, read) in rows {
        // Writing into a string cannot fail.
        let _ = writeln!(out, "# HELP postern_webhook_{name} {help}\n# TYPE postern_webhook_{name} {kind}");
        for (hook, counts) in hooks {
            let _ = writeln!(out, "postern_webhook_{name}{{webhook=\"{hook}\"}} {}", read(counts));
        }
    }
}
