//! Room on the disk: what is set aside ahead of the writing, the reserve, the quota, the warning (rule 16).
//!
//! From the end of the disk: the reserve, which ordinary records never touch; then the quota; then the warning. Never
//! here: writing.

use std::io;
use std::path::{Path, PathBuf};

use super::{NEXT, RESERVE, Writer};
use crate::audit::journal::AppendError;
use crate::audit::journal::disk::DiskFile;
use crate::audit::journal::draft::Class;
use crate::audit::journal::status::Health;

/// How long a lack of room is believed before it is tried again.
const RETRY_MS: i64 = 200;

impl Writer {
    /// A file with room for a header and more: a new one, or else, for those who may, the reserve.
    pub(super) fn allocated_file(
        &mut self,
        header: u64,
        class: Class,
    ) -> io::Result<(Box<dyn DiskFile>, PathBuf, u64)> {
        let path = self.options.dir.join(NEXT);
        let room = header + self.options.chunk();
        let error = if self.no_room {
            io::ErrorKind::StorageFull.into()
        } else {
            match self.new_file(&path, room) {
                Ok(file) => return Ok((file, path, room)),
                Err(e) => {
                    self.lack_room(&e);
                    e
                }
            }
        };
        if class != Class::Ordinary && header < self.options.reserve_bytes {
            let reserve = self.reserve.take().ok_or(error)?;
            return Ok((reserve, self.options.dir.join(RESERVE), self.options.reserve_bytes));
        }
        Err(error)
    }

    fn new_file(&self, path: &Path, room: u64) -> io::Result<Box<dyn DiskFile>> {
        // One left by a failure or a crash; that there is none is the usual case.
        let _ = self.disk.remove(path);
        let mut file = self.disk.create(path)?;
        match file.allocate(0, room) {
            Ok(()) => Ok(file),
            Err(e) => {
                let _ = self.disk.remove(path);
                Err(e)
            }
        }
    }

    /// Finds the reserve that an earlier process left, or sets one aside.
    pub(super) fn take_up_reserve(&mut self) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;

        let path = self.options.dir.join(RESERVE);
        let whole = std::fs::metadata(&path)
            .is_ok_and(|m| m.len() == 0 && m.blocks() * 512 >= self.options.reserve_bytes);
        let file = if whole {
            self.disk.reopen(&path)?
        } else {
            let file = self.new_file(&path, self.options.reserve_bytes)?;
            self.disk.sync_dir(&self.options.dir)?;
            file
        };
        self.reserve = Some(file);
        Ok(())
    }

    /// Makes sure that a record of this size can be written without asking the disk for room.
    pub(super) fn make_room(&mut self, need: u64, class: Class) -> Result<(), AppendError> {
        match class {
            Class::Ordinary => self.admit_ordinary(need)?,
            Class::Emergency => self.admit_emergency(need)?,
            Class::Reserved => {}
        }
        let pending = self.buffer.len() as u64;
        let outgrown = self.segment.as_ref().is_some_and(|s| {
            let end = s.position + pending;
            end + need > self.options.segment_bytes && end > s.header
        });
        if outgrown {
            self.commit();
            self.end_segment();
        }
        if self.segment.is_none() {
            self.open_segment(class).map_err(|e| self.refusal(&e))?;
        }
        let Err(e) = self.grow(need) else { return Ok(()) };
        if class == Class::Ordinary || self.reserve.is_none() {
            return Err(self.refusal(&e));
        }
        self.commit();
        if self.segment.is_some() {
            self.end_segment();
        }
        self.open_segment(class).map_err(|e| self.refusal(&e))?;
        self.grow(need).map_err(|e| self.refusal(&e))
    }

    fn refusal(&self, error: &io::Error) -> AppendError {
        if lacks_room(error) {
            self.set_health(Health::Full);
            AppendError::Full
        } else {
            self.set_health(Health::Broken);
            AppendError::Failed(error.to_string())
        }
    }

    /// Reserve, then quota (rule 16): what an ordinary record must not touch.
    fn admit_ordinary(&mut self, need: u64) -> Result<(), AppendError> {
        if self.reserve.is_none() {
            self.refill().map_err(|e| self.refusal(&e))?;
        }
        let Some(quota) = self.options.quota_bytes else { return Ok(()) };
        if self.total() + self.buffer.len() as u64 + need > quota {
            self.set_health(Health::Quota);
            return Err(AppendError::Quota);
        }
        Ok(())
    }

    /// What begins in an emergency goes on where ordinary records stop, and stops while half of the reserve, or as much
    /// beyond the quota, is left: that is for outcomes and ends (rule 16).
    fn admit_emergency(&mut self, need: u64) -> Result<(), AppendError> {
        let half = self.options.reserve_bytes / 2;
        let pending = self.buffer.len() as u64;
        if self.reserve.is_none() && self.refill().is_err() {
            let left = self.segment.as_ref().map_or(0, |s| s.allocated.saturating_sub(s.position + pending));
            if left < half + need {
                return Err(AppendError::Full);
            }
        }
        match self.options.quota_bytes {
            Some(quota) if self.total() + pending + need > quota + half => Err(AppendError::Quota),
            Some(_) | None => Ok(()),
        }
    }

    /// Room for so many more bytes in the current segment, from what is allocated or newly so.
    fn grow(&mut self, need: u64) -> io::Result<()> {
        let chunk = self.options.chunk();
        let pending = self.buffer.len() as u64;
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let segment = self.segment.as_mut().ok_or_else(full)?;
        let wanted = segment.position + pending + need;
        if wanted <= segment.allocated {
            return Ok(());
        }
        if self.no_room {
            return Err(full());
        }
        let more = chunk.max(wanted - segment.allocated);
        let result = segment.file.allocate(segment.allocated, more);
        match &result {
            Ok(()) => segment.allocated += more,
            Err(e) => self.lack_room(e),
        }
        result
    }

    fn refill(&mut self) -> io::Result<()> {
        if self.no_room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let result = self.take_up_reserve();
        if let Err(e) = &result {
            self.lack_room(e);
        }
        result
    }

    fn lack_room(&mut self, error: &io::Error) {
        // Any other failure may be over at the next try; a full disk is believed for a while.
        self.no_room = lacks_room(error);
        if self.no_room {
            // No checkpoint may be signed for as long as nothing is written.
            self.shared.set_warning(true);
        }
        self.tried_ms = (self.clock)();
        self.shared.set_error("setting room aside", error);
    }

    /// Allows another try, now and then.
    pub(super) fn forget_lack_of_room(&mut self) {
        if self.no_room {
            let since = (self.clock)().saturating_sub(self.tried_ms);
            self.no_room = (0..RETRY_MS).contains(&since);
        }
    }

    /// While something is wrong, looks by itself whether it is over.
    pub(super) fn look_for_room(&mut self) {
        if self.shared.health() == Health::Healthy {
            return;
        }
        self.no_room = false;
        let reserve = self.reserve.is_some() || self.refill().is_ok();
        let segment = self.segment.is_some() || self.open_segment(Class::Ordinary).is_ok();
        let need = self.options.max_record as u64;
        let quota = self.options.quota_bytes.is_none_or(|quota| self.total() + need <= quota);
        if !quota {
            self.set_health(Health::Quota);
        } else if reserve && segment && self.grow(need).is_ok() {
            self.set_health(Health::Healthy);
        }
        self.publish();
    }

    /// The warning is renewed when a checkpoint is signed: often enough, and off the way of records.
    pub(super) fn look_for_shortage(&self) {
        let quota = self.options.quota_bytes.is_some_and(|quota| self.total() > quota / 5 * 4);
        let free = self.disk.free_bytes(&self.options.dir);
        let short = free.is_ok_and(|free| free < 4 * self.options.reserve_bytes);
        self.shared.set_warning(quota || short);
    }
}

pub(super) fn lacks_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
