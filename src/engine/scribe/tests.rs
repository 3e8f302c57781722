use std::{io, path::Path, sync::Condvar};

use serde_json::json;

use super::*;
use crate::audit::{
    journal::{
        Options,
        disk::{Disk, DiskFile, RealDisk},
    },
    note::SigningKey,
};

/// Counts flushes, and lets pass as many as it was told.
struct Gate {
    state: Mutex<State>,
    moved: Condvar,
}

struct State {
    seen: usize,
    allowed: usize,
}

impl Gate {
    fn allow(&self, flushes: usize) {
        self.state.lock().unwrap().allowed = flushes;
        self.moved.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.seen += 1;
        let number = state.seen;
        drop(self.moved.wait_while(state, |state| number > state.allowed).unwrap());
    }

    fn flushes(&self) -> usize {
        self.state.lock().unwrap().seen
    }
}

struct Gated(Arc<Gate>);

struct GatedFile(Box<dyn DiskFile>, Arc<Gate>);

impl Disk for Gated {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(GatedFile(RealDisk.create(path)?, Arc::clone(&self.0))))
    }

    fn reopen(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(GatedFile(RealDisk.reopen(path)?, Arc::clone(&self.0))))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(dir)
    }
}

impl DiskFile for GatedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.1.pass();
        self.0.sync_data()
    }

    fn release(&mut self, len: u64) -> io::Result<()> {
        self.0.release(len)
    }

    fn allocate(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.0.allocate(offset, len)
    }
}

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(1_800_000_000_000)
    }
}

#[test]
fn outcomes_that_wait_together_share_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let state = Mutex::new(State { seen: 0, allowed: usize::MAX });
    let gate = Arc::new(Gate { state, moved: Condvar::new() });
    let name = "example.com/postern/test";
    // No other checkpoint falls into the test.
    let options = Options {
        checkpoint_every: Duration::from_secs(3600),
        ..Options::new(dir.path().to_owned(), name.to_owned())
    };
    let key = SigningKey::generate(name).unwrap();
    let disk = Arc::new(Gated(Arc::clone(&gate)));
    let (journal, _) = Journal::open(options, key, Arc::new(|| Still.now().ms()), disk).unwrap();
    let journal = Arc::new(journal);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let scribe = Scribe::start(Arc::clone(&journal), Arc::new(Still), runtime.handle());
    let outcome = || {
        let body = Body::of(&json!({ "end": "complete" })).unwrap();
        Draft { class: Class::Reserved, ..Draft::new(records::ACCESS_OUTCOME, Still.now().ms(), body) }
    };
    // The writer begins with a checkpoint, whose flush does not count here.
    while journal.status().signed < journal.status().size {
        std::thread::yield_now();
    }
    let (begun, before) = (journal.status().size, gate.flushes());
    gate.allow(before);
    let flushing = async |number: usize| {
        while gate.flushes() < before + number {
            tokio::task::yield_now().await;
        }
    };
    runtime.block_on(async {
        scribe.push(outcome());
        flushing(1).await;
        for _ in 0..100 {
            scribe.push(outcome());
        }
        // The second flush begins with the first of the hundred; by then the scribe, which does not wait in between,
        // has handed over all of them.
        gate.allow(before + 1);
        flushing(2).await;
        gate.allow(usize::MAX);
        while journal.status().size < begun + 101 {
            tokio::task::yield_now().await;
        }
    });
    assert!(gate.flushes() <= before + 3, "{} flushes for 101 outcomes", gate.flushes() - before);
}
