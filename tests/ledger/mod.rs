//! What the tests of the ledger share: small ledgers, a clock by hand, drafts.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use postern::audit::journal::disk::{Disk, RealDisk};
use postern::audit::journal::{Clock, Recovered};
use postern::audit::{Body, Class, Draft, Journal, OpenError, Options, Personal, SigningKey, VerifyingKey};

pub(crate) const ORIGIN: &str = "postern.example/gw1";
pub(crate) const START_MS: i64 = 1_700_000_000_000;

pub(crate) fn key(dir: &Path) -> SigningKey {
    let path = dir.join("signing.key");
    if !path.exists() {
        SigningKey::generate(ORIGIN).unwrap().save(&path).unwrap();
    }
    SigningKey::load(&path).unwrap()
}

pub(crate) fn public(dir: &Path) -> VerifyingKey {
    key(dir).verifying_key().clone()
}

pub(crate) fn ledger(dir: &Path) -> PathBuf {
    dir.join("ledger")
}

pub(crate) fn options(dir: &Path) -> Options {
    Options {
        segment_bytes: 1 << 20,
        reserve_bytes: 256 << 10,
        checkpoint_every: Duration::ZERO,
        ..Options::new(ledger(dir), ORIGIN.to_owned())
    }
}

/// A clock that stands until it is moved.
#[derive(Clone)]
pub(crate) struct ManualClock(pub(crate) Arc<AtomicI64>);

impl ManualClock {
    pub(crate) fn new() -> ManualClock {
        ManualClock(Arc::new(AtomicI64::new(START_MS)))
    }

    pub(crate) fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let ms = Arc::clone(&self.0);
        Arc::new(move || ms.load(Ordering::SeqCst))
    }
}

pub(crate) fn open_with(
    options: Options,
    dir: &Path,
    disk: Arc<dyn Disk>,
) -> Result<(Journal, Recovered), OpenError> {
    // A test beside this one may be starting a process: until that has become another program, it holds what was open here,
    // locks included.
    for _ in 0..2000 {
        match Journal::open(options.clone(), key(dir), ManualClock::new().clock(), Arc::clone(&disk)) {
            Err(OpenError::Locked(_)) => std::thread::sleep(Duration::from_millis(1)),
            opened => return opened,
        }
    }
    Journal::open(options, key(dir), ManualClock::new().clock(), disk)
}

pub(crate) fn open(dir: &Path) -> (Journal, Recovered) {
    open_with(options(dir), dir, Arc::new(RealDisk)).unwrap()
}

pub(crate) fn body(text: &str) -> Body {
    Body::of(&serde_json::json!({"route": "orders.list", "note": text})).unwrap()
}

pub(crate) fn intent(n: u64) -> Draft {
    Draft {
        session: Some(format!("s-{}", n % 2)),
        opens: Some(format!("x-{n}")),
        personal: vec![
            Personal { person: "agent-7".into(), name: "email", value: format!("agent{n}@vendor.example") },
            Personal { person: "agent-7".into(), name: "name", value: "Ada \"Q\" Ünal".into() },
            Personal { person: "admin-1".into(), name: "email", value: "boss@tenant.example".into() },
        ],
        ..Draft::new("access.intent", START_MS + n as i64, body(&format!("intent {n}")))
    }
}

pub(crate) fn outcome(n: u64) -> Draft {
    Draft {
        session: Some(format!("s-{}", n % 2)),
        closes: Some(format!("x-{n}")),
        class: Class::Reserved,
        ..Draft::new("access.outcome", START_MS + n as i64, body(&format!("outcome {n}")))
    }
}

/// A ledger of three segments, closed in order: 3 × (1 header, 3 intents, 2 outcomes).
pub(crate) fn three_segments(dir: &Path) {
    for round in 0..3 {
        let (journal, _) = open(dir);
        for n in round * 3..round * 3 + 3 {
            journal.append_blocking(intent(n)).unwrap();
        }
        for n in round * 3..round * 3 + 2 {
            journal.append_blocking(outcome(n)).unwrap();
        }
        journal.close();
    }
}
