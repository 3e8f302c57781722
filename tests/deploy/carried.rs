//! The configuration that a file of deploy/ carries, read by the real reader as it would be in the container: under the paths that
//! are mounted there and no others, with the variables that are set there and no others.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use postern::config::{self, Disk, Settings, Source, SourceFault, resolve::StateSettings};
use tempfile::TempDir;
use zeroize::Zeroizing;

pub const CONFIG: &str = "/etc/postern/postern.yaml";

/// What `deploy/keys` makes.
pub struct Keys {
    pub dir: TempDir,
}

impl Keys {
    pub fn make(more: &[&str], gateways: &[&str]) -> Keys {
        let dir = tempfile::tempdir().unwrap();
        let run = Command::new("sh")
            .arg(super::deploy("keys"))
            .args(more)
            .arg("--demo")
            .arg(dir.path())
            .args(gateways)
            .env("POSTERN", env!("CARGO_BIN_EXE_postern"))
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        Keys { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// The files and variables of a container.
pub struct Inside {
    /// From a path inside to one here.
    pub files: BTreeMap<PathBuf, PathBuf>,
    pub variables: BTreeMap<String, String>,
}

impl Source for Inside {
    fn read_file(&self, path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, SourceFault> {
        for (inside, here) in &self.files {
            match path.strip_prefix(inside) {
                Ok(rest) if rest.as_os_str().is_empty() => return Disk.read_file(here, most),
                Ok(rest) => return Disk.read_file(&here.join(rest), most),
                Err(_) => {}
            }
        }
        Err(SourceFault::Io(format!("nothing is mounted at {}", path.display())))
    }

    fn env(&self, name: &str) -> Result<Zeroizing<String>, SourceFault> {
        self.variables.get(name).cloned().map(Zeroizing::new).ok_or(SourceFault::NotSet)
    }
}

impl Inside {
    /// What `postern check` makes of it; the only warnings are those that a container has to have.
    pub fn check(&self) -> Settings {
        let (settings, warnings) =
            config::load(Path::new(CONFIG), self).unwrap_or_else(|faults| panic!("{faults}"));
        let wrong = warnings.iter().filter(|warning| warning.code.as_str() != "not_loopback");
        assert_eq!(wrong.map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
        let faults = postern::app::check(&settings);
        assert!(faults.is_empty(), "{}", faults.iter().map(ToString::to_string).collect::<String>());
        settings
    }
}

/// What this gateway writes: both below the one place that persists.
pub fn state(settings: &Settings) -> [PathBuf; 2] {
    assert!(matches!(settings.state, StateSettings::Redis(_)), "gateways of a fleet share a store");
    [settings.ledger.path.clone(), settings.state.file().to_owned()]
}

/// Whether a process with these connections stays below a limit, by what docs/operations.md says of memory.
pub fn fits(settings: &Settings, limit: u64) -> bool {
    let workers =
        settings.workers.expect("`workers` is said: a container sees all cores of its machine") as u64;
    settings.limits.connections * (320 << 10) + (workers + 1) * (100 << 20) + (320 << 20) <= limit
}

/// Port of `host:port`.
pub fn port(address: &str) -> u16 {
    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_else(|| panic!("`{address}`"))
}

pub fn host(address: &str) -> &str {
    address.rsplit_once(':').unwrap_or_else(|| panic!("`{address}`")).0
}

/// How a server is told to keep what it acknowledged, with one copy.
pub fn keeps_everything(words: &[String], copies: u32, memory: u64) {
    assert_eq!(super::after(words, "--appendonly"), "yes");
    assert_eq!(
        (super::after(words, "--appendfsync"), copies),
        ("always", 1),
        "one copy loses nothing by itself"
    );
    assert_eq!(super::after(words, "--maxmemory-policy"), "noeviction");
    assert!(super::bytes(super::after(words, "--maxmemory")) * 2 <= memory, "a rewrite takes as much again");
}
