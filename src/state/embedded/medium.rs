//! Where the embedded store's bytes are: a file, and a trial of it that writes nothing.
//!
//! Opening a database after a crash repairs it, that is, writes to it. So a file is first opened on trial, with all
//! writes kept in memory: one that is damaged, cut off or somebody else's is left as it was.
//!
//! Never here: what the bytes mean.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io,
    ops::Bound,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::{BackendError, StorageBackend, backends::FileBackend};

/// Opens the place where a store's bytes are, each time anew. Tests hand in one that fails.
pub trait Disk: std::fmt::Debug + Send + Sync {
    /// Opens what exists. Never creates anything.
    fn open(&self) -> io::Result<Box<dyn StorageBackend>>;
}

/// A file.
#[derive(Debug, Clone)]
pub struct FileDisk(pub PathBuf);

impl Disk for FileDisk {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        let file = OpenOptions::new().read(true).write(true).open(&self.0)?;
        // After a failed flush the kernel may hold pages that never reached the disk and call them clean. Asking it to
        // let go of clean pages makes what is read next come from the disk. Only advice: where it is not taken, the
        // checksums still have the last word.
        let _advice_only = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
    }
}

const BLOCK: usize = 4096;

/// A backend as redb takes it: straight through, or on trial.
#[derive(Debug)]
pub(super) struct Medium {
    inner: Box<dyn StorageBackend>,
    trial: Option<Mutex<Overlay>>,
}

#[derive(Debug)]
struct Overlay {
    len: u64,
    /// How much of the file below still shows: it shrinks with every cut, and never grows again.
    below: u64,
    blocks: BTreeMap<u64, Box<[u8; BLOCK]>>,
}

impl Medium {
    pub(super) fn real(inner: Box<dyn StorageBackend>) -> Self {
        Self { inner, trial: None }
    }

    pub(super) fn trial(inner: Box<dyn StorageBackend>) -> io::Result<Self> {
        let len = inner.len()?;
        Ok(Self { inner, trial: Some(Mutex::new(Overlay { len, below: len, blocks: BTreeMap::new() })) })
    }
}

fn lock(overlay: &Mutex<Overlay>) -> MutexGuard<'_, Overlay> {
    overlay.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The parts of a range, cut at block borders: number of the block, where in it, and where in the caller's bytes.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let size = BLOCK as u64;
    let mut done = 0usize;
    std::iter::from_fn(move || {
        if done >= len {
            return None;
        }
        let at = offset.saturating_add(done as u64);
        let inside = usize::try_from(at % size).unwrap_or(0);
        let count = (BLOCK - inside).min(len - done);
        let part = (at / size, inside, done..done + count);
        done += count;
        Some(part)
    })
}

impl Overlay {
    fn block(&self, inner: &dyn StorageBackend, number: u64) -> io::Result<[u8; BLOCK]> {
        if let Some(block) = self.blocks.get(&number) {
            return Ok(**block);
        }
        let mut block = [0u8; BLOCK];
        let start = number.saturating_mul(BLOCK as u64);
        let there = usize::try_from(self.below.saturating_sub(start)).unwrap_or(BLOCK).min(BLOCK);
        if let Some(part) = block.get_mut(..there).filter(|part| !part.is_empty()) {
            inner.read(start, part)?;
        }
        Ok(block)
    }

    fn read(&self, inner: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset.saturating_add(out.len() as u64) > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, inside, range) in parts(offset, out.len()) {
            let block = self.block(inner, number)?;
            let from = block.get(inside..inside + range.len());
            if let (Some(to), Some(from)) = (out.get_mut(range), from) {
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn write(&mut self, inner: &dyn StorageBackend, offset: u64, data: &[u8]) -> io::Result<()> {
        for (number, inside, range) in parts(offset, data.len()) {
            let mut block = self.block(inner, number)?;
            let to = block.get_mut(inside..inside + range.len());
            if let (Some(to), Some(from)) = (to, data.get(range)) {
                to.copy_from_slice(from);
            }
            self.blocks.insert(number, Box::new(block));
        }
        self.len = self.len.max(offset.saturating_add(data.len() as u64));
        Ok(())
    }

    fn set_len(&mut self, inner: &dyn StorageBackend, len: u64) -> io::Result<()> {
        if len < self.len {
            let number = len / BLOCK as u64;
            let mut edge = self.block(inner, number)?;
            let keep = usize::try_from(len % BLOCK as u64).unwrap_or(0);
            edge.iter_mut().skip(keep).for_each(|byte| *byte = 0);
            let _beyond = self.blocks.split_off(&number);
            self.blocks.insert(number, Box::new(edge));
            self.below = self.below.min(len);
        }
        self.len = len;
        Ok(())
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        match &self.trial {
            Some(overlay) => Ok(lock(overlay).len),
            None => self.inner.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match &self.trial {
            Some(overlay) => lock(overlay).read(&*self.inner, offset, out),
            None => self.inner.read(offset, out),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match &self.trial {
            Some(overlay) => lock(overlay).set_len(&*self.inner, len),
            None => self.inner.set_len(len),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.trial.is_some() { Ok(()) } else { self.inner.sync_data() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match &self.trial {
            Some(overlay) => lock(overlay).write(&*self.inner, offset, data),
            None => self.inner.write(offset, data),
        }
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

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    proptest! {
        #[test]
        fn a_trial_reads_as_if_written_and_leaves_the_file_alone(
            start in 0u64..20_000,
            steps in proptest::collection::vec((any::<bool>(), 0u64..24_000, 1usize..9000, any::<u8>()), 1..12),
        ) {
            let below = InMemoryBackend::new();
            below.set_len(start).unwrap();
            let pattern: Vec<u8> = (0..start).map(|i| (i % 251) as u8).collect();
            below.write(0, &pattern).unwrap();
            let medium = Medium::trial(Box::new(below)).unwrap();
            let mut model = pattern.clone();
            for (cut, at, len, byte) in steps {
                let whole = usize::try_from(at).unwrap();
                if cut {
                    medium.set_len(at).unwrap();
                    model.resize(whole, 0);
                } else if whole + len <= model.len() {
                    medium.write(at, &vec![byte; len]).unwrap();
                    model[whole..whole + len].fill(byte);
                }
            }
            let mut seen = vec![1u8; model.len()];
            medium.read(0, &mut seen).unwrap();
            prop_assert!(seen == model);
            prop_assert!(medium.read(medium.len().unwrap(), &mut [0]).is_err());
            let mut file = vec![0u8; pattern.len()];
            medium.inner.read(0, &mut file).unwrap();
            prop_assert!(file == pattern);
        }
    }
}
