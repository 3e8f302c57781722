//! The built program in a process of its own, so that it can be stopped and killed as a machine would.
//!
//! Never here: when that is done.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::world::World;

/// `postern run`, until it is dropped.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    pub operations: SocketAddr,
    // Held open: whoever writes there is to find a reader.
    _out: BufReader<ChildStdout>,
}

/// Writes what a world is configured as, for a process to read.
pub fn written(world: &World) -> PathBuf {
    let path = world.data.join("postern.yaml");
    std::fs::write(&path, world.configuration()).unwrap();
    path
}

impl Process {
    /// Starts one; what it logs is appended to a file beside its configuration.
    pub fn start(config: &Path) -> Process {
        let log = config.with_extension("log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_postern"))
            .args(["run", "--watch", "0", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said = |start: &str| -> SocketAddr {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            let address = line.trim().strip_prefix(start).and_then(|address| address.parse().ok());
            address.unwrap_or_else(|| panic!("`{line}`: {}", std::fs::read_to_string(&log).unwrap()))
        };
        let address = said("listening on http://");
        let operations = said("operations on http://");
        Process { child, address, operations, _out: out }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it as an operator would; its status.
    pub fn stop(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
