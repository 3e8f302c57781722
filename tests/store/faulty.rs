//! A disk that fails when the test says so.

use std::{
    io,
    ops::Bound,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use postern::state::embedded::{Disk, FileDisk};
use redb::{BackendError, StorageBackend};

/// What goes wrong, shared by all openings of the disk.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Writes, growths and flushes so far.
    pub(crate) operations: AtomicU64,
    /// The one that fails; 0 for none.
    pub(crate) fails: AtomicU64,
    /// Decides which unflushed writes a failing flush leaves behind.
    pub(crate) seed: AtomicU64,
    /// A failing flush writes everything all the same.
    pub(crate) keeps: AtomicBool,
    pub(crate) dead: AtomicBool,
    pub(crate) full: AtomicBool,
    pub(crate) held: Mutex<bool>,
    pub(crate) released: Condvar,
}

#[derive(Debug)]
pub(crate) struct Faulty {
    pub(crate) file: FileDisk,
    pub(crate) plan: Arc<Plan>,
}

/// Keeps writes back until a flush, as a kernel may; what a failing flush does not write is lost.
#[derive(Debug)]
struct Backend {
    inner: Box<dyn StorageBackend>,
    plan: Arc<Plan>,
    waiting: Mutex<Vec<(u64, Vec<u8>)>>,
    room: u64,
}

impl Disk for Faulty {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        if self.plan.dead.load(Ordering::SeqCst) {
            return Err(io::Error::other("a dead disk"));
        }
        let inner = self.file.open()?;
        let room = inner.len()?;
        Ok(Box::new(Backend { inner, plan: Arc::clone(&self.plan), waiting: Mutex::default(), room }))
    }
}

impl Backend {
    fn step(&self) -> io::Result<()> {
        let now = self.plan.operations.fetch_add(1, Ordering::SeqCst) + 1;
        if self.plan.dead.load(Ordering::SeqCst) || now == self.plan.fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("an injected error"));
        }
        Ok(())
    }

    fn grows(&self, end: u64) -> io::Result<()> {
        if end > self.room && self.plan.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.plan.dead.load(Ordering::SeqCst) {
            return Err(io::Error::other("a dead disk"));
        }
        self.inner.read(offset, out)?;
        for (at, data) in self.waiting.lock().unwrap().iter() {
            let from = offset.max(*at);
            let to = (offset + out.len() as u64).min(at + data.len() as u64);
            if from < to {
                let source = &data[(from - at) as usize..(to - at) as usize];
                out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step()?;
        self.grows(len)?;
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut held = self.plan.held.lock().unwrap();
        while *held {
            held = self.plan.released.wait(held).unwrap();
        }
        let result = self.step();
        let mut seed = self.plan.seed.fetch_add(1, Ordering::SeqCst).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for (offset, data) in self.waiting.lock().unwrap().drain(..) {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if result.is_ok() || seed >> 63 == 0 || self.plan.keeps.load(Ordering::SeqCst) {
                self.inner.write(offset, &data)?;
            }
        }
        result?;
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step()?;
        self.grows(offset + data.len() as u64)?;
        self.waiting.lock().unwrap().push((offset, data.to_vec()));
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
