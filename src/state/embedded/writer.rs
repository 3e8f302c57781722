//! The one thread that writes: many commits in one flush, each checked against those before it in the same flush.
//!
//! After an error of the disk the database is closed and opened again, at once the first time and then ever more
//! slowly, up to [`SLOWEST`]; meanwhile everything is refused at once. What had been handed to the disk when it failed
//! is settled by what the disk says afterwards; where it says nothing, the answer is "ambiguous".
//!
//! Never here: what a commit does to the tables (see [`super::tables`]).

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use redb::{Database, Durability, ReadableDatabase};
use tokio::sync::oneshot;

use crate::{
    model::{ChangeId, Timestamp},
    state::{Commit, CommitFault, StoreFault},
};

use super::{
    Shared, file,
    reading::{self, Labelled, label},
    tables::{Tables, Trouble, Verdict, made},
};

/// How many commits share one flush at most.
pub(super) const BATCH: usize = 256;
/// The pause before the second attempt to open the file again; it doubles from there.
const FIRST: Duration = Duration::from_millis(20);
/// The longest pause between two attempts.
const SLOWEST: Duration = Duration::from_secs(1);

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    Commit(Commit, oneshot::Sender<Verdict>),
    Asked(ChangeId, oneshot::Sender<Result<Option<u64>, StoreFault>>),
    /// A reader met an error: see whether the database still works.
    Probe,
}

impl Job {
    /// Refuses what was not begun. Whoever gave up waiting is not told; there is nobody to tell.
    fn refuse(self, fault: &StoreFault) {
        match self {
            Job::Commit(_, answer) => drop(answer.send(Err(CommitFault::Unavailable(fault.clone())))),
            Job::Asked(_, answer) => drop(answer.send(Err(fault.clone()))),
            Job::Probe => {}
        }
    }
}

/// How a batch failed.
enum Failed {
    /// Before anything could have reached the disk as committed.
    Before(StoreFault),
    /// While it was made durable.
    During(StoreFault),
}

/// One answer of a batch, held back until the batch is durable.
enum Held {
    Commit(ChangeId, Verdict, oneshot::Sender<Verdict>),
    Asked(Option<u64>, oneshot::Sender<Result<Option<u64>, StoreFault>>),
}

/// Runs until the queue is closed and empty, then closes the database.
pub(super) fn run(shared: &Shared) {
    let mut pause = None;
    loop {
        let jobs = shared.writes.take_many(BATCH);
        if jobs.is_empty() {
            break;
        }
        let mut held = Vec::new();
        let outcome = catch_unwind(AssertUnwindSafe(|| batch(shared, jobs, &mut held)))
            .unwrap_or_else(|_| Err(Failed::During(unavailable("the writer failed inside"))));
        match outcome {
            Ok(position) => {
                pause = None;
                if let Some(position) = position {
                    shared.newest.send_replace(position);
                }
                held.into_iter().for_each(|held| held.release(None));
            }
            Err(failed) => recover(shared, &failed, held, &mut pause),
        }
    }
    shared.replace(None);
}

fn unavailable(detail: &str) -> StoreFault {
    StoreFault::Unavailable { detail: detail.to_owned() }
}

/// Does a batch; the newest place when it moved. Answers wait in `held`.
fn batch(shared: &Shared, jobs: Vec<Job>, held: &mut Vec<Held>) -> Result<Option<u64>, Failed> {
    let database = shared.database();
    let mut waiting = Waiting { shared, jobs };
    let Some(database) = database.as_ref() else {
        let fault = unavailable("its file is being opened again");
        waiting.refuse(&fault);
        return Err(Failed::Before(fault));
    };
    let result = attempt(shared, database, &mut waiting.jobs, held);
    if let Err(Failed::Before(fault) | Failed::During(fault)) = &result {
        waiting.refuse(fault);
    }
    result
}

/// Jobs not yet judged. Should a panic end the batch, they are refused like the rest.
struct Waiting<'a> {
    shared: &'a Shared,
    jobs: Vec<Job>,
}

impl Waiting<'_> {
    /// Whoever hears a refusal may look at the health next, and must not find it good from before.
    fn refuse(&mut self, fault: &StoreFault) {
        if !self.jobs.is_empty() {
            self.shared.health.send_replace(Some(fault.clone()));
            self.jobs.drain(..).for_each(|job| job.refuse(fault));
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.refuse(&unavailable("the writer failed inside"));
    }
}

fn attempt(
    shared: &Shared,
    database: &Database,
    jobs: &mut Vec<Job>,
    held: &mut Vec<Held>,
) -> Result<Option<u64>, Failed> {
    let before = |trouble: Trouble| Failed::Before(trouble.fault());
    let mut write = database.begin_write().map_err(|e| before(e.into()))?;
    write.set_durability(Durability::Immediate).map_err(|e| before(e.into()))?;
    let mut tables = Tables::open(&write).map_err(before)?;
    let start = tables.position();
    let mut latest = None::<Timestamp>;
    // From the back, so that a job leaves the list before it is judged; the list was turned around for that.
    jobs.reverse();
    while let Some(job) = jobs.pop() {
        match job {
            Job::Commit(commit, answer) => match tables.apply(&commit) {
                Ok(verdict) => {
                    latest = latest.max(Some(commit.at));
                    held.push(Held::Commit(commit.change, verdict, answer));
                }
                Err(trouble) => {
                    jobs.push(Job::Commit(commit, answer));
                    return Err(before(trouble));
                }
            },
            Job::Asked(change, answer) => match tables.asked(&change) {
                Ok(place) => held.push(Held::Asked(place, answer)),
                Err(trouble) => {
                    jobs.push(Job::Asked(change, answer));
                    return Err(before(trouble));
                }
            },
            Job::Probe => {}
        }
    }
    let position = tables.position();
    if position == start {
        drop(tables);
        write.abort().map_err(|e| before(e.into()))?;
        return Ok(None);
    }
    if let Some(now) = latest {
        tables.prune(now, &shared.retention).map_err(before)?;
    }
    tables.keep_position().map_err(before)?;
    drop(tables);
    write.commit().map_err(|e| Failed::During(Trouble::from(e).fault()))?;
    Ok(Some(position))
}

/// What became of a change whose batch failed.
type Aftermath<'a> = &'a dyn Fn(&ChangeId, &Verdict) -> Verdict;

impl Held {
    /// Answers: as judged, or, where the batch failed, with what became of it.
    fn release(self, failed: Option<Aftermath<'_>>) {
        match (self, failed) {
            (Held::Commit(_, verdict, answer), None) => drop(answer.send(verdict)),
            (Held::Commit(change, verdict, answer), Some(failed)) => {
                drop(answer.send(failed(&change, &verdict)));
            }
            (Held::Asked(place, answer), None) => drop(answer.send(Ok(place))),
            // What was seen inside of a transaction that failed is no answer.
            (Held::Asked(_, answer), Some(_)) => {
                drop(answer.send(Err(unavailable("its file is being opened again"))));
            }
        }
    }
}

/// Closes the database, answers what can be answered, and opens it again.
fn recover(shared: &Shared, failed: &Failed, held: Vec<Held>, pause: &mut Option<Duration>) {
    let (Failed::Before(fault) | Failed::During(fault)) = failed;
    shared.health.send_replace(Some(fault.clone()));
    shared.replace(None);
    let mut held = Some(held);
    loop {
        // The first attempt after a success comes at once.
        let wait = pause.map_or(Duration::ZERO, |pause| pause);
        *pause = Some(pause.map_or(FIRST, |pause| pause.saturating_mul(2).min(SLOWEST)));
        if !wait.is_zero() {
            // Whoever waits for an answer does not wait for the disk.
            settle(held.take(), failed, None);
            shared.writes.drain().into_iter().for_each(|job| job.refuse(fault));
            if shared.writes.pause(wait) {
                shared.writes.drain().into_iter().for_each(|job| job.refuse(&StoreFault::Closed));
                return;
            }
        }
        match reopen(shared) {
            Ok(database) => {
                settle(held.take(), failed, Some(&database));
                shared.replace(Some(database));
                shared.health.send_replace(None);
                return;
            }
            Err(fault) => {
                settle(held.take(), failed, None);
                shared.health.send_replace(Some(fault.clone()));
                shared.writes.drain().into_iter().for_each(|job| job.refuse(&fault));
            }
        }
    }
}

/// Answers a failed batch by what the file says now; without it, by what is certain.
fn settle(held: Option<Vec<Held>>, failed: &Failed, database: Option<&Database>) {
    let answer = |change: &ChangeId, verdict: &Verdict| -> Verdict {
        let fault = match failed {
            Failed::Before(fault) => return Err(CommitFault::Unavailable(fault.clone())),
            Failed::During(fault) => fault.clone(),
        };
        let Some(database) = database else { return Err(CommitFault::Ambiguous(fault)) };
        match look(database, change) {
            Ok(Some(position)) => {
                let repeated = verdict.as_ref().is_ok_and(|committed| committed.repeated);
                Ok(made(position, repeated))
            }
            Ok(None) => Err(CommitFault::Unavailable(fault)),
            Err(_) => Err(CommitFault::Ambiguous(fault)),
        }
    };
    held.into_iter().flatten().for_each(|held| held.release(Some(&answer)));
}

fn look(database: &Database, change: &ChangeId) -> Result<Option<u64>, Trouble> {
    reading::asked(&database.begin_read()?, change)
}

/// Opens the file again. It must be the same store, and must not have lost what was acknowledged.
fn reopen(shared: &Shared) -> Result<Database, StoreFault> {
    let (database, found, position) =
        file::open(&*shared.disk, &shared.path).map_err(|fault| fault.fault())?;
    let acknowledged = *shared.newest.borrow();
    if found.id != shared.label.id {
        return Err(StoreFault::Damaged { detail: "another store is in its place".to_owned() });
    }
    if position < acknowledged {
        return Err(StoreFault::WentBack { asked: acknowledged, newest: position });
    }
    shared.newest.send_replace(position);
    match database.begin_read().map_err(Trouble::from).and_then(|read| label(&read)) {
        Ok(Labelled::As(..)) => Ok(database),
        Ok(Labelled::Not | Labelled::Other(_)) => {
            Err(StoreFault::Damaged { detail: "its mark is gone".to_owned() })
        }
        Err(trouble) => Err(trouble.fault()),
    }
}
