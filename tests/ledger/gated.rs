//! A disk that is held in its flush until the test lets it go.

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};

use postern::audit::journal::disk::{Disk, DiskFile, RealDisk};

/// A disk whose flush says that it was reached, and waits until it is let go.
pub(crate) struct Gate {
    pub(crate) reached: Sender<()>,
    pub(crate) go: Mutex<Receiver<()>>,
}

pub(crate) struct GatedDisk(pub(crate) Arc<Gate>);
struct GatedFile(Box<dyn DiskFile>, Arc<Gate>);

impl Disk for GatedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(GatedFile(RealDisk.create(path)?, Arc::clone(&self.0))))
    }
    fn reopen(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        RealDisk.reopen(path)
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
        let _ = self.1.reached.send(());
        // When the test lets go for good, the channel is closed.
        let _ = self.1.go.lock().unwrap().recv();
        self.0.sync_data()
    }
    fn release(&mut self, len: u64) -> io::Result<()> {
        self.0.release(len)
    }
    fn allocate(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.0.allocate(offset, len)
    }
}
