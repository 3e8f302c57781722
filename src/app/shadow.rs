//! This gateway's shadow of a store that gateways share, as a start opens it (decision 0026): what the own ledger has and the shadow
//! lost is put back into it, what it saw is what the store is compared with from the first heartbeat on, and how old that is is noted
//! for the next start.
//!
//! Never here: what is done where they differ ([`crate::engine`]).

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    audit::{
        journal::Journal,
        note::VerifyingKey,
        read::{ReadError, Records},
        verify::verify,
    },
    engine::{Clock, recorded_in},
    state::{
        Leases, Part, RedisStore, Shadow, Store as _, Suspicion,
        lease::PARTS_MOST,
        shadow::{Dated, Moment, Recorded},
    },
};

use super::OpenFault;

/// How long the first checkpoint of a ledger is waited for, in milliseconds.
const SIGNED_WITHIN_MS: u32 = 5_000;
/// How often it is noted how old what is known is, while that changes: by so much more it is too old after a crash.
const DATE_EVERY: Duration = Duration::from_secs(5);
/// How many changes are put back at a time.
const CHUNK: usize = 256;

/// Whether there may be a shadow here: one that is there has a ledger beside it.
///
/// # Errors
/// Where the ledger is gone.
pub(super) fn look(path: &Path, ledger: &Path, has_ledger: bool) -> Result<(), OpenFault> {
    if has_ledger || path.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(OpenFault::LedgerGone { shadow: path.display().to_string(), ledger: ledger.display().to_string() })
}

/// Opens it, or makes it, and puts back what the ledger has and it lost: of a new one all, of one that crashed the last of it.
///
/// # Errors
/// Where either cannot be used.
pub(super) fn open(path: &Path, journal: &Journal, key: &VerifyingKey) -> Result<Arc<Shadow>, OpenFault> {
    let shadow = Shadow::open(path)?;
    if shadow.made() {
        until_signed(journal);
    }
    top_up(&shadow, journal, key)?;
    shadow.beside(journal.records());
    Ok(Arc::new(shadow))
}

/// The ledger's writer signs what is there as it begins, beside whoever opened it: a ledger that was begun just now, or whose first life
/// ended before it signed anything, cannot be verified sooner. Where it signs nothing, verifying says so.
fn until_signed(journal: &Journal) {
    for _ in 0..SIGNED_WITHIN_MS {
        let status = journal.status();
        if status.signed >= status.size {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn top_up(shadow: &Shadow, journal: &Journal, key: &VerifyingKey) -> Result<(), OpenFault> {
    let ledger = journal.dir();
    // A ledger that has fewer is another one.
    let from = shadow.recorded().filter(|records| *records <= journal.status().size);
    let mut records = match from {
        Some(records) => Records::from_seq(ledger, records)?,
        None => {
            // Who gives nothing needs no proof: a ledger that was just begun has no checkpoint yet.
            if chunk(&mut Records::open(ledger)?)?.is_empty() {
                return Ok(());
            }
            let report = verify(ledger, key)?;
            if !report.is_clean() {
                return Err(OpenFault::Unverified(report.to_string()));
            }
            Records::open(ledger)?
        }
    };
    let mut lost = 0;
    loop {
        let chunk = chunk(&mut records)?;
        if chunk.is_empty() {
            break;
        }
        lost += shadow.top_up(chunk)?;
    }
    if lost > 0 {
        tracing::warn!(
            changes = lost,
            "the shadow had lost changes that the ledger has; they are back, and joined into the store before it is trusted"
        );
    }
    Ok(())
}

fn chunk(records: &mut Records) -> Result<Vec<Recorded>, OpenFault> {
    let mut chunk = Vec::new();
    while chunk.len() < CHUNK {
        let next: Result<_, ReadError> =
            records.next(|line, file, number| (recorded_in(line), file.to_owned(), number));
        let Some((found, file, line)) = next? else { break };
        chunk.extend(found.map_err(|fault| OpenFault::Unreadable { file, line, fault })?);
    }
    Ok(chunk)
}

fn moment(clock: &dyn Clock) -> Moment {
    Moment { at: clock.now(), boot_ms: clock.boot_ms(), boot: clock.boot() }
}

/// Notes how old what is known of each part is. Where nothing was ever known, what an earlier life noted stays.
pub(super) fn date(shadow: &Shadow, leases: &Leases, clock: &dyn Clock) {
    let parts = || (0..PARTS_MOST).map(Part);
    // Read before the clock is: what comes in between is younger than is said.
    let as_of: Vec<(Part, i64)> = parts().filter_map(|part| Some((part, leases.as_of(part)?))).collect();
    if as_of.is_empty() {
        return;
    }
    let at = moment(clock);
    let ages = as_of.into_iter().map(|(part, ms)| (part, at.boot_ms.saturating_sub(ms).max(0))).collect();
    shadow.date(Dated { at, ages });
}

/// Runs for as long as the gateway does: notes it every few seconds, while anything is confirmed anew.
pub(super) async fn keep_dating(shadow: Arc<Shadow>, store: Arc<RedisStore>, clock: Arc<dyn Clock>) {
    let leases = store.leases();
    let known = || (0..PARTS_MOST).map(|part| leases.known(Part(part))).collect::<Vec<_>>();
    let mut before = known();
    loop {
        tokio::time::sleep(DATE_EVERY).await;
        let now = known();
        if now != before {
            date(&shadow, &leases, &*clock);
            before = now;
        }
    }
}

/// What a store of so many parts is compared with. A part of which it is not known what would prove it is suspect until it is
/// proven.
pub(super) fn leases(shadow: &Shadow, parts: u16, clock: &dyn Clock) -> Arc<Leases> {
    let leases = Leases::of(parts);
    let dated = shadow.dated();
    for (part, as_of) in dated.iter().flat_map(|dated| dated.as_of(moment(clock))) {
        leases.recall(part, as_of);
    }
    for part in (0..parts).map(Part) {
        let Some(seen) = shadow.seen(part) else { continue };
        if let Some(id) = seen.store {
            leases.expect(part, id, seen.epoch);
        }
        if seen.proves() {
            leases.in_force(part, seen.number, seen.line);
        } else {
            leases.suspect(part, Some(Suspicion::Unproven));
        }
    }
    leases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{
        Journal,
        journal::{Options, disk::RealDisk},
        note::SigningKey,
    };

    #[test]
    fn a_shadow_begins_beside_a_ledger_that_was_just_begun_and_has_no_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("ledger");
        let key = SigningKey::generate("example.com/a").unwrap();
        let verifying = key.verifying_key().clone();
        let options = Options::new(ledger.clone(), "example.com/a".to_owned());
        let (journal, _) = Journal::open(options, key, Arc::new(|| 0), Arc::new(RealDisk)).unwrap();
        journal.close();
        for entry in std::fs::read_dir(&ledger).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().contains("checkpoint") {
                std::fs::remove_file(path).unwrap();
            }
        }
        assert!(!verify(&ledger, &verifying).unwrap().is_clean(), "there is no checkpoint");
        open(&dir.path().join("shadow.redb"), &journal, &verifying).unwrap();
    }
}
