//! The ledger on a disk that fills, under a quota, and with more records than it can take at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

#[path = "ledger/gated.rs"]
mod gated;
mod ledger;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gated::{Gate, GatedDisk};
use ledger::*;
use postern::audit::journal::Health;
use postern::audit::journal::disk::{Disk, DiskFile, RealDisk};
use postern::audit::verify::verify;
use postern::audit::{AppendError, Class, Draft, Journal, Options};

/// A disk with so many bytes; what is allocated or written beyond what was allocated takes of them.
struct SmallDisk(Arc<Mutex<Space>>);

#[derive(Default)]
struct Space {
    free: u64,
    taken: HashMap<PathBuf, u64>,
}

impl Space {
    fn take(&mut self, path: &Path, end: u64) -> io::Result<()> {
        let taken = self.taken.entry(path.to_owned()).or_default();
        let more = end.saturating_sub(*taken);
        if more > self.free {
            return Err(io::Error::from_raw_os_error(28));
        }
        self.free -= more;
        *taken += more;
        Ok(())
    }

    fn give_back(&mut self, path: &Path) {
        self.free += self.taken.remove(path).unwrap_or_default();
    }
}

struct SmallFile {
    inner: Box<dyn DiskFile>,
    space: Arc<Mutex<Space>>,
    /// Where its room is accounted for, whatever it is called by now.
    path: Arc<Mutex<PathBuf>>,
    position: u64,
}

type Names = Mutex<HashMap<PathBuf, Arc<Mutex<PathBuf>>>>;
static NAMES: std::sync::OnceLock<Names> = std::sync::OnceLock::new();

fn names() -> &'static Names {
    NAMES.get_or_init(Mutex::default)
}

impl SmallDisk {
    fn wrap(&self, inner: Box<dyn DiskFile>, path: &Path) -> Box<dyn DiskFile> {
        let name = Arc::new(Mutex::new(path.to_owned()));
        names().lock().unwrap().insert(path.to_owned(), Arc::clone(&name));
        Box::new(SmallFile { inner, space: Arc::clone(&self.0), path: name, position: 0 })
    }
}

impl Disk for SmallDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.wrap(RealDisk.create(path)?, path))
    }

    fn reopen(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.wrap(RealDisk.reopen(path)?, path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)?;
        let mut space = self.0.lock().unwrap();
        space.give_back(to);
        let taken = space.taken.remove(from).unwrap_or_default();
        space.taken.insert(to.to_owned(), taken);
        let mut names = names().lock().unwrap();
        if let Some(name) = names.remove(from) {
            *name.lock().unwrap() = to.to_owned();
            names.insert(to.to_owned(), name);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)?;
        self.0.lock().unwrap().give_back(path);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().free)
    }
}

impl DiskFile for SmallFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let path = self.path.lock().unwrap().clone();
        self.space.lock().unwrap().take(&path, self.position + bytes.len() as u64)?;
        let written = self.inner.write(bytes)?;
        self.position += written as u64;
        Ok(written)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn release(&mut self, len: u64) -> io::Result<()> {
        let path = self.path.lock().unwrap().clone();
        let mut space = self.space.lock().unwrap();
        let taken = space.taken.insert(path, len).unwrap_or_default();
        space.free += taken.saturating_sub(len);
        drop(space);
        self.inner.release(len)
    }

    fn allocate(&mut self, offset: u64, len: u64) -> io::Result<()> {
        let path = self.path.lock().unwrap().clone();
        self.space.lock().unwrap().take(&path, offset + len)?;
        self.inner.allocate(offset, len)
    }
}

fn record(class: Class, n: u64) -> Draft {
    Draft { class, ..Draft::new("access.intent", START_MS + n as i64, body(&"y".repeat(2000))) }
}

fn fill(journal: &Journal, class: Class) -> (u64, AppendError) {
    for n in 0..100_000 {
        if let Err(e) = journal.append_blocking(record(class, n)) {
            return (n, e);
        }
    }
    panic!("the disk never filled");
}

/// Fills the disk, lives on the reserve until that is used up, and goes on when there is room again.
fn fill_and_resume(dir: &Path, options: Options, disk: Arc<dyn Disk>, make_room: impl FnOnce()) {
    let clock = ManualClock::new();
    let (journal, _) = Journal::open(options, key(dir), clock.clock(), disk).unwrap();
    let (ordinary, refusal) = fill(&journal, Class::Ordinary);
    assert_eq!(refusal, AppendError::Full);
    assert_eq!(journal.status().health, Health::Full);
    assert!(journal.status().warning, "the warning comes before the disk is full");
    let reserve = ledger::ledger(dir).join("reserve");
    assert_eq!(fs::metadata(&reserve).unwrap().len(), 0, "ordinary records do not touch the reserve");

    let (reserved, refusal) = fill(&journal, Class::Reserved);
    assert_eq!(refusal, AppendError::Full);
    assert!(reserved * 2300 > 200 << 10, "the reserve took {reserved} records only");
    assert!(!reserve.exists(), "the reserve is in use");
    assert_eq!(journal.append_blocking(record(Class::Ordinary, 0)), Err(AppendError::Full));
    println!("{ordinary} ordinary records, then {reserved} from the reserve");

    make_room();
    // The writer looks for room by itself too, and may have looked in vain just as room was made.
    let resumed = (0..5).any(|_| {
        clock.advance(1000);
        journal.append_blocking(record(Class::Ordinary, 1)).is_ok()
    });
    assert!(resumed, "service resumes by itself");
    assert_eq!(journal.status().health, Health::Healthy);
    assert_eq!(fs::metadata(&reserve).unwrap().len(), 0, "the reserve is there again");
    journal.close();
    drop(journal);
    let report = verify(&ledger::ledger(dir), &public(dir)).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.kinds["access.intent"], ordinary + reserved + 1);
    assert_eq!(report.signed, report.size, "checkpoints were signed all the while or afterwards");
}

#[test]
fn a_full_disk_stops_admission_before_the_reserve() {
    let dir = tempfile::tempdir().unwrap();
    let space = Arc::new(Mutex::new(Space { free: 2 << 20, ..Space::default() }));
    let disk = Arc::new(SmallDisk(Arc::clone(&space)));
    let options = Options { segment_bytes: 512 << 10, ..options(dir.path()) };
    fill_and_resume(dir.path(), options, disk, || space.lock().unwrap().free += 4 << 20);
}

/// A file system of its own, unmounted when the test ends.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(at: &Path, size: &str) -> Mount {
        fs::create_dir_all(at).unwrap();
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(at)
            .output()
            .expect("this test needs the program `mount`");
        assert!(
            output.status.success(),
            "this test mounts a small tmpfs, so it must run as root with the right to mount (CAP_SYS_ADMIN): {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Mount(at.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_tmpfs_stops_admission_before_the_reserve() {
    let dir = tempfile::tempdir().unwrap();
    let mount = Mount::tmpfs(&dir.path().join("small"), "4m");
    let filler = mount.0.join("filler");
    fs::write(&filler, vec![0; 2 << 20]).unwrap();
    let options = Options { segment_bytes: 512 << 10, ..options(&mount.0) };
    fill_and_resume(&mount.0, options, Arc::new(RealDisk), || fs::remove_file(&filler).unwrap());
}

#[test]
fn a_ledger_opens_on_a_full_disk_and_takes_outcomes() {
    let dir = tempfile::tempdir().unwrap();
    let space = Arc::new(Mutex::new(Space { free: 2 << 20, ..Space::default() }));
    let disk = Arc::new(SmallDisk(Arc::clone(&space)));
    let clock = ManualClock::new();
    let open = || {
        Journal::open(options(dir.path()), key(dir.path()), clock.clock(), Arc::clone(&disk) as Arc<dyn Disk>)
    };
    let (journal, _) = open().unwrap();
    journal.append_blocking(intent(1)).unwrap();
    fill(&journal, Class::Ordinary);
    drop(journal);
    space.lock().unwrap().free = 0;
    let (journal, recovered) = open().unwrap();
    assert_eq!(recovered.open_intents.len(), 1);
    assert_eq!(journal.status().health, Health::Full);
    assert_eq!(journal.append_blocking(intent(3)), Err(AppendError::Full));
    journal.append_blocking(outcome(1)).expect("outcomes may use the reserve");
    journal.close();
    let report = verify(&ledger::ledger(dir.path()), &public(dir.path())).unwrap();
    assert!(report.is_clean(), "{report}");
    assert!(report.open_intents.is_empty());
}

// GW-06
#[test]
fn break_glass_takes_half_of_the_reserve_and_leaves_the_rest_to_outcomes() {
    let dir = tempfile::tempdir().unwrap();
    let space = Arc::new(Mutex::new(Space { free: 2 << 20, ..Space::default() }));
    let disk = Arc::new(SmallDisk(Arc::clone(&space)));
    let options = Options { segment_bytes: 512 << 10, ..options(dir.path()) };
    let reserve = options.reserve_bytes;
    let (journal, _) =
        Journal::open(options, key(dir.path()), ManualClock::new().clock(), disk as Arc<dyn Disk>).unwrap();
    fill(&journal, Class::Ordinary);
    let before = journal.status().bytes;
    let (entered, refusal) = fill(&journal, Class::Emergency);
    assert_eq!(refusal, AppendError::Full);
    let taken = journal.status().bytes - before;
    // What was left of the last segment comes on top.
    assert!(entered > 10 && taken >= reserve / 3, "{entered} records, {taken} of {reserve} bytes");
    assert_eq!(journal.append_blocking(record(Class::Ordinary, 0)), Err(AppendError::Full));
    assert!(journal.takes_outcomes(), "that was no outcome");
    // Each of them has room for its outcome.
    for n in 0..entered {
        journal.append_blocking(Draft { class: Class::Reserved, ..outcome_like(n) }).unwrap();
    }
    let (rest, _) = fill(&journal, Class::Reserved);
    println!("{entered} by break-glass, their outcomes, and {rest} more");
    journal.close();
    let report = verify(&ledger::ledger(dir.path()), &public(dir.path())).unwrap();
    assert!(report.is_clean(), "{report}");
}

/// As large as an outcome is.
fn outcome_like(n: u64) -> Draft {
    Draft::new("access.outcome", START_MS + n as i64, body(&"y".repeat(400)))
}

#[test]
fn the_quota_stops_admission_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { quota_bytes: Some(300 << 10), ..options(dir.path()) };
    let (journal, _) = open_with(options, dir.path(), Arc::new(RealDisk)).unwrap();
    let (_, refusal) = fill(&journal, Class::Ordinary);
    assert_eq!(refusal, AppendError::Quota);
    assert!(journal.status().bytes <= 300 << 10);
    assert_eq!(journal.status().health, Health::Quota);
    assert!(journal.status().warning);
    for n in 0..20 {
        journal.append_blocking(record(Class::Reserved, n)).unwrap();
    }
    assert_eq!(journal.append_blocking(record(Class::Ordinary, 0)), Err(AppendError::Quota));
    journal.close();
}

#[test]
fn more_than_the_queue_holds_is_refused_as_busy_and_acknowledged_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (reached, is_reached) = channel();
    let (let_go, go) = channel();
    let gate = Arc::new(Gate { reached, go: Mutex::new(go) });
    let options = Options { queue: 3, checkpoint_every: Duration::from_secs(3600), ..options(dir.path()) };
    // The header's flush, and that of the checkpoint over it.
    let_go.send(()).unwrap();
    let_go.send(()).unwrap();
    let (journal, _) = open_with(options, dir.path(), Arc::new(GatedDisk(gate))).unwrap();
    is_reached.recv().unwrap();
    is_reached.recv().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let journal = &journal;
        let order = Mutex::new(Vec::new());
        let append = |n: u64| {
            let order = &order;
            async move {
                let receipt = journal.append(intent(n)).await?;
                order.lock().unwrap().push(receipt.seq());
                Ok::<u64, AppendError>(receipt.seq())
            }
        };
        let mut first = Box::pin(append(1));
        // Polled once, it is in the queue; the writer takes it and waits in its flush.
        assert!(poll_once(&mut first).await.is_none());
        is_reached.recv().unwrap();
        let mut waiting: Vec<_> = (2..5).map(|n| Box::pin(append(n))).collect();
        for future in &mut waiting {
            assert!(poll_once(future).await.is_none());
        }
        assert_eq!(append(9).await, Err(AppendError::Busy));
        drop(let_go);
        assert_eq!(first.await, Ok(1));
        for (n, future) in waiting.into_iter().enumerate() {
            assert_eq!(future.await, Ok(2 + n as u64));
        }
        assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4]);
    });
    // Three waited while the first was flushed: they are one batch.
    journal.close();
    let text = fs::read_to_string(ledger::ledger(dir.path()).join("00000001.jsonl")).unwrap();
    assert_eq!(text.matches("\"batch\":2,").count(), 3, "{text}");
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
