//! `postern state retire`: an operator takes a gateway out of the fleet that will not come back, by the store that its gateways
//! share. A gateway that runs writes it into its ledger.
//!
//! Never here: what becomes of the ledger that it leaves (docs/operations.md).

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    config::{Settings, resolve::StateSettings},
    engine::Clock as _,
    state::{
        RedisStore, StoreFault,
        redis::{Farewell, Retired, Retiring},
    },
};

use super::{clock::SystemClock, kept};

/// How long the store is waited for, and how long for a gateway to record it.
const STORE: Duration = Duration::from_secs(10);
const RECORD: Duration = Duration::from_secs(10);
/// How long one look is from the next.
const AGAIN: Duration = Duration::from_millis(100);
/// Characters of what is said, at most.
const LONGEST: usize = 500;

/// Why a gateway is not retired.
#[derive(Debug, thiserror::Error)]
pub enum RetireFault {
    /// The store is one gateway's.
    #[error(
        "a store in a file has one gateway, so there is none to retire; only a fleet on Redis has others"
    )]
    Alone,
    /// It goes on.
    #[error("gateway `{0}` still runs, or did a moment ago; stop it, wait five seconds, and try again")]
    Runs(String),
    /// Nobody wrote that name down.
    #[error(
        "no gateway `{0}` is written down in this store; names are those of `gateway` in the configurations"
    )]
    Unknown(String),
    /// What is said cannot be recorded.
    #[error(
        "`{0}` takes 1 to {LONGEST} characters in one line, without e-mail addresses: it is recorded for good"
    )]
    Words(&'static str),
    /// The store.
    #[error("the store cannot be asked, so nobody was retired: {0}")]
    Store(StoreFault),
    /// The store, in the middle.
    #[error(
        "the store did not answer, so nobody knows whether it is done; run it again, `no gateway` then means that it was: {0}"
    )]
    Open(StoreFault),
    /// The system gives no runtime.
    #[error("the system gives no threads: {0}")]
    Threads(#[from] std::io::Error),
}

/// Retires a gateway; answers which, and whose ledger has it, where one had soon.
///
/// # Errors
/// [`RetireFault`].
pub fn retire(settings: &Settings, name: &str, farewell: &Farewell) -> Result<Retired, RetireFault> {
    let StateSettings::Redis(redis) = &settings.state else { return Err(RetireFault::Alone) };
    let said = [
        ("--by", Some(&farewell.by)),
        ("--reason", Some(&farewell.reason)),
        ("--archive", farewell.archive.as_ref()),
    ];
    for (what, words) in said {
        if words.is_some_and(|words| !fits(words)) {
            return Err(RetireFault::Words(what));
        }
    }
    let clock = Arc::new(SystemClock::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let store = RedisStore::start(kept::options(redis), runtime.handle(), Arc::new(move || clock.boot_ms()));
    let done = runtime.block_on(retire_in(&store, name, farewell));
    runtime.shutdown_timeout(AGAIN);
    done
}

fn fits(words: &str) -> bool {
    (1..=LONGEST).contains(&words.chars().count()) && !words.contains(|c: char| c.is_control() || c == '@')
}

async fn retire_in(store: &RedisStore, name: &str, farewell: &Farewell) -> Result<Retired, RetireFault> {
    let begun = Instant::now();
    while let Err(fault) = store.retired().await {
        let server = matches!(fault, StoreFault::Server { .. } | StoreFault::Unavailable { .. });
        if !server || begun.elapsed() > STORE {
            return Err(RetireFault::Store(fault));
        }
        tokio::time::sleep(AGAIN).await;
    }
    let done = match store.retire(name, farewell).await.map_err(RetireFault::Open)? {
        Retiring::Done(retired) => retired,
        Retiring::Runs => return Err(RetireFault::Runs(name.to_owned())),
        Retiring::Unknown => return Err(RetireFault::Unknown(name.to_owned())),
    };
    let begun = Instant::now();
    while begun.elapsed() < RECORD {
        let all = store.retired().await.unwrap_or_default();
        let found = all.into_iter().find(|one| (one.at, &one.name) == (done.at, &done.name));
        if let Some(recorded) = found.filter(|one| one.recorded_by.is_some()) {
            return Ok(recorded);
        }
        tokio::time::sleep(AGAIN).await;
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_for_good_is_one_line_and_names_no_address() {
        assert!(fits("scaled down to two") && fits("s3://ledgers/gw3/"));
        for words in ["", "a\nb", "olga@vendor.example", &"x".repeat(LONGEST + 1)] {
            assert!(!fits(words), "{words}");
        }
    }
}
