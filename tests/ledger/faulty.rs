//! A disk that fails, cuts short, kills or panics at one operation, and watches that nothing is touched after it failed.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use postern::audit::journal::disk::{Disk, DiskFile, RealDisk};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The operation answers with an error and does nothing.
    Error,
    /// The operation is done, and answers with an error.
    DoneButError,
    /// A write takes half and the next one on that file fails; other operations fail.
    HalfThenError,
    /// A write takes half, the rest goes well; other operations are done.
    Half,
    /// The process is killed before the operation.
    Kill,
    /// The process is killed after half of a write; other operations are done first.
    HalfThenKill,
    /// The thread panics.
    Panic,
}

pub(crate) struct FaultyDisk {
    state: Arc<State>,
}

struct State {
    at: u64,
    fault: Fault,
    done: AtomicU64,
    files: AtomicU64,
    failed: Mutex<HashSet<u64>>,
    violations: Mutex<Vec<String>>,
}

impl FaultyDisk {
    /// Fails at the operation of this number, from 1; 0 never.
    pub(crate) fn new(at: u64, fault: Fault) -> Arc<FaultyDisk> {
        Arc::new(FaultyDisk {
            state: Arc::new(State {
                at,
                fault,
                done: AtomicU64::new(0),
                files: AtomicU64::new(0),
                failed: Mutex::default(),
                violations: Mutex::default(),
            }),
        })
    }

    /// How many operations there were.
    pub(crate) fn operations(&self) -> u64 {
        self.state.done.load(Ordering::SeqCst)
    }

    /// Files that were written or flushed after a write or flush of theirs had failed.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.state.violations.lock().unwrap().clone()
    }
}

enum Turn {
    Normal,
    Fail { after: bool },
    Half { then: Then },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Error,
    GoOn,
    Kill,
}

fn kill() -> ! {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    loop {
        std::thread::park();
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl State {
    fn turn(&self) -> Turn {
        let n = self.done.fetch_add(1, Ordering::SeqCst) + 1;
        if n != self.at {
            return Turn::Normal;
        }
        match self.fault {
            Fault::Error => Turn::Fail { after: false },
            Fault::DoneButError => Turn::Fail { after: true },
            Fault::HalfThenError => Turn::Half { then: Then::Error },
            Fault::Half => Turn::Half { then: Then::GoOn },
            Fault::HalfThenKill => Turn::Half { then: Then::Kill },
            Fault::Kill => kill(),
            Fault::Panic => panic!("the disk panics"),
        }
    }

    fn plain<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.turn() {
            Turn::Normal | Turn::Half { then: Then::GoOn } => act(),
            Turn::Fail { after: false } | Turn::Half { then: Then::Error } => Err(eio()),
            Turn::Fail { after: true } => {
                drop(act()?);
                Err(eio())
            }
            Turn::Half { then: Then::Kill } => {
                let _ = act();
                kill()
            }
        }
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inner = self.state.plain(|| RealDisk.create(path))?;
        Ok(self.wrap(inner))
    }

    fn reopen(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inner = self.state.plain(|| RealDisk.reopen(path))?;
        Ok(self.wrap(inner))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state.plain(|| RealDisk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state.plain(|| RealDisk.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.state.plain(|| RealDisk.sync_dir(dir))
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(dir)
    }
}

impl FaultyDisk {
    fn wrap(&self, inner: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let id = self.state.files.fetch_add(1, Ordering::SeqCst);
        Box::new(FaultyFile { inner, id, state: Arc::clone(&self.state), next_fails: false })
    }
}

struct FaultyFile {
    inner: Box<dyn DiskFile>,
    id: u64,
    state: Arc<State>,
    next_fails: bool,
}

impl FaultyFile {
    fn watch(&self, what: &str) {
        if self.state.failed.lock().unwrap().contains(&self.id) {
            self.state.violations.lock().unwrap().push(format!("{what} on file {} after it failed", self.id));
        }
    }

    fn fail<T>(&self) -> io::Result<T> {
        self.state.failed.lock().unwrap().insert(self.id);
        Err(eio())
    }
}

impl DiskFile for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.watch("write");
        if self.next_fails {
            return self.fail();
        }
        match self.state.turn() {
            Turn::Normal => self.inner.write(bytes),
            Turn::Fail { after } => {
                if after {
                    self.inner.write(bytes).unwrap();
                }
                self.fail()
            }
            Turn::Half { then } => {
                let half = self.inner.write(&bytes[..bytes.len().div_ceil(2)]);
                self.next_fails = then == Then::Error;
                if then == Then::Kill {
                    kill();
                }
                half
            }
        }
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.watch("flush");
        let state = Arc::clone(&self.state);
        state.plain(|| self.inner.sync_data()).or_else(|_| self.fail())
    }

    fn release(&mut self, len: u64) -> io::Result<()> {
        self.watch("release");
        let state = Arc::clone(&self.state);
        state.plain(|| self.inner.release(len))
    }

    fn allocate(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.watch("allocate");
        let state = Arc::clone(&self.state);
        state.plain(|| self.inner.allocate(offset, len))
    }
}
