//! Signing checkpoints: the latest in its own file, replaced as one; each also in the history of its segment.
//!
//! A checkpoint that could not be written fails no record: it is signed anew, into a new file, at the next turn. Never
//! here: when it is time.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::disk::{Disk, DiskFile, write_all};
use crate::audit::note::{Checkpoint, SigningKey};
use crate::audit::read::{CHECKPOINT, history_name};
use crate::audit::tree::Frontier;

/// Where the next latest checkpoint is written before it takes its name.
pub(super) const SPARE: &str = "checkpoint.tmp";
/// Room that is set aside for it, so that a full disk does not stop checkpoints.
const SPARE_BYTES: u64 = 4096;

pub(super) struct Checkpoints {
    dir: PathBuf,
    key: SigningKey,
    disk: Arc<dyn Disk>,
    spare: Option<Box<dyn DiskFile>>,
    signed: u64,
    /// The history of the segment of this number; without a file once writing to it failed.
    history: Option<(u64, Option<Box<dyn DiskFile>>)>,
}

impl Checkpoints {
    pub(super) fn new(dir: PathBuf, key: SigningKey, disk: Arc<dyn Disk>, signed: u64) -> Checkpoints {
        let mut new = Checkpoints { dir, key, disk, spare: None, signed, history: None };
        new.prepare();
        new
    }

    /// How many records the latest checkpoint covers.
    pub(super) fn signed(&self) -> u64 {
        self.signed
    }

    /// Signs the tree as it is, unless that was done.
    pub(super) fn sign(&mut self, tree: &Frontier, segment: u64) -> io::Result<()> {
        if tree.size() == self.signed {
            return Ok(());
        }
        let origin = self.key.verifying_key().name().to_owned();
        let checkpoint = Checkpoint { origin, size: tree.size(), root: tree.root() };
        let note = self.key.sign(&checkpoint.to_text()).map_err(io::Error::other)?;
        // The history never holds what `checkpoint` did not say first: that is how a `checkpoint` which was taken away
        // or replaced by an older one is noticed at the next start.
        let result = match self.replace(&note) {
            Ok(()) => {
                self.signed = tree.size();
                self.remember(&note, segment)
            }
            Err(e) => {
                self.spare = None;
                Err(e)
            }
        };
        self.prepare();
        result
    }

    fn replace(&mut self, note: &str) -> io::Result<()> {
        let path = self.dir.join(SPARE);
        let mut file = match self.spare.take() {
            Some(file) => file,
            None => {
                // One left by a failure or a crash; that there is none is the usual case.
                let _ = self.disk.remove(&path);
                self.disk.create(&path)?
            }
        };
        write_all(&mut *file, note.as_bytes())?;
        file.sync_data()?;
        self.disk.rename(&path, &self.dir.join(CHECKPOINT))?;
        self.disk.sync_dir(&self.dir)
    }

    /// The history narrows where an alteration lies; nothing rests on it, so it is flushed only at a segment's end.
    fn remember(&mut self, note: &str, segment: u64) -> io::Result<()> {
        if self.history.as_ref().is_none_or(|(of, _)| *of != segment) {
            self.history = Some((segment, None));
            let file = self.disk.create(&self.dir.join(history_name(segment)))?;
            self.history = Some((segment, Some(file)));
        }
        let Some((_, Some(file))) = &mut self.history else { return Ok(()) };
        let result = write_all(&mut **file, note.as_bytes());
        if result.is_err() {
            self.history = Some((segment, None));
        }
        result
    }

    /// Flushes the history of a segment that is closed.
    pub(super) fn end_history(&mut self) -> io::Result<()> {
        match self.history.take() {
            Some((_, Some(mut file))) => file.sync_data(),
            _ => Ok(()),
        }
    }

    /// Makes the next spare file and sets its room aside. On a full disk the room is what the replaced one left; where
    /// even that fails, the next signing tries again.
    fn prepare(&mut self) {
        if self.spare.is_some() {
            return;
        }
        let path = self.dir.join(SPARE);
        // One left by a failure or a crash; that there is none is the usual case.
        let _ = self.disk.remove(&path);
        if let Ok(mut file) = self.disk.create(&path)
            && file.allocate(0, SPARE_BYTES).is_ok()
        {
            self.spare = Some(file);
        }
    }
}
