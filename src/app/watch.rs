//! Which files a configuration was read from, and whether any of them is another one by now.
//!
//! Looked at every few seconds (size, time of change, inode), not told by the kernel: a notification watches an inode or
//! a directory, and misses what matters here. Certificates are swapped by renaming a symbolic link two directories above
//! (as orchestrators do with mounted secrets), files lie on network disks that notify nobody, an overflowing queue drops
//! events. A look at a dozen files costs microseconds and sees all of these.
//!
//! A change counts once two looks in a row saw the same: whoever writes a file in pieces, or a certificate before its
//! key, is not read half-way.
//!
//! Never here: what a change means.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use zeroize::Zeroizing;

use crate::config::{self, ConfigFaults, Disk, Settings, Source, SourceFault, Warning};

/// What tells one state of a file from another; `None` where there is none, or none that can be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(Option<[i64; 5]>);

impl Stamp {
    fn of(path: &Path) -> Stamp {
        let number = |n: u64| i64::from_ne_bytes(n.to_ne_bytes());
        Stamp(std::fs::metadata(path).ok().map(|found| {
            [
                found.mtime(),
                found.mtime_nsec(),
                number(found.size()),
                number(found.ino()),
                number(found.dev()),
            ]
        }))
    }
}

/// The files of one configuration, as they were when it was read.
pub(super) type Stamps = BTreeMap<PathBuf, Stamp>;

/// The same files as they are now.
pub(super) fn look(stamps: &Stamps) -> Stamps {
    stamps.keys().map(|path| (path.clone(), Stamp::of(path))).collect()
}

/// The files that a configuration was read from, as they were then, and how often to look at them.
#[derive(Debug, Clone)]
pub struct Watch {
    pub(super) stamps: Stamps,
    /// How often.
    pub every: Duration,
}

/// Reads a configuration from the machine's own files, to be started from and watched.
///
/// # Errors
/// As [`config::load`].
pub fn load(file: &Path, every: Duration) -> Result<(Settings, Vec<Warning>, Watch), ConfigFaults> {
    let noting = Noting::default();
    let (settings, warnings) = config::load(file, &noting)?;
    Ok((settings, warnings, Watch { stamps: noting.stamps(), every }))
}

/// The machine's own files, each noted before it is read: what changes while it is read is seen by the next look.
#[derive(Debug, Default)]
pub(super) struct Noting(RefCell<Stamps>);

impl Noting {
    /// What was read.
    pub(super) fn stamps(self) -> Stamps {
        self.0.into_inner()
    }
}

impl Source for Noting {
    fn read_file(&self, path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, SourceFault> {
        self.0.borrow_mut().entry(path.to_owned()).or_insert_with(|| Stamp::of(path));
        Disk.read_file(path, most)
    }

    fn env(&self, name: &str) -> Result<Zeroizing<String>, SourceFault> {
        Disk.env(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_renamed_over_or_removed_is_seen_as_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let noting = Noting::default();
        assert!(noting.read_file(&path, 10).is_err());
        let missing = noting.stamps();
        std::fs::write(&path, "a").unwrap();
        let noting = Noting::default();
        noting.read_file(&path, 10).unwrap();
        let first = noting.stamps();
        assert_ne!(missing, first, "one that came is seen");
        assert_eq!(first, look(&first), "one that stands still is not");
        std::fs::write(dir.path().join("other"), "b").unwrap();
        std::fs::rename(dir.path().join("other"), &path).unwrap();
        let second = look(&first);
        assert_ne!(first, second, "another inode of the same size");
        std::fs::write(&path, "bc").unwrap();
        assert_ne!(second, look(&first), "another size");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(missing, look(&first));
    }

    #[test]
    fn a_link_that_points_elsewhere_is_seen_through() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("tls.key"), name).unwrap();
        }
        let (link, next) = (dir.path().join("now"), dir.path().join("next"));
        std::os::unix::fs::symlink("one", &link).unwrap();
        let noting = Noting::default();
        noting.read_file(&link.join("tls.key"), 10).unwrap();
        let stamps = noting.stamps();
        std::os::unix::fs::symlink("two", &next).unwrap();
        std::fs::rename(&next, &link).unwrap();
        assert_ne!(stamps, look(&stamps));
    }
}
