//! Sentinels for the tests: processes of their own on loopback, like [`crate::servers`].

use std::{
    collections::HashMap,
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::servers::{redis_server, until};

/// A port that nobody has right now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A Sentinel, for as long as this is held.
pub(crate) struct Sentinel {
    pub(crate) port: u16,
    child: Child,
    _directory: TempDir,
}

impl Sentinel {
    /// Three that watch this primary, once they know one another and its two replicas.
    pub(crate) fn three(primary: u16) -> [Sentinel; 3] {
        let all = [(); 3].map(|()| Sentinel::of(primary));
        for sentinel in &all {
            until("the sentinels know one another and the replicas", || {
                let told = sentinel.told();
                let counts =
                    ["num-slaves", "num-other-sentinels"].map(|name| told.get(name).map(String::as_str));
                counts == [Some("2"); 2]
            });
        }
        all
    }

    /// One of three that watch this primary.
    pub(crate) fn of(primary: u16) -> Self {
        Self::with(primary, "")
    }

    /// The same with more settings.
    pub(crate) fn with(primary: u16, more: &str) -> Self {
        let (port, directory) = (free_port(), tempfile::tempdir().unwrap());
        let settings = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor gate 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds gate 700\nsentinel failover-timeout gate 3000\n{more}",
            directory.path().display()
        );
        let path = directory.path().join("sentinel.conf");
        std::fs::write(&path, settings).unwrap();
        let child = Command::new(redis_server())
            .arg(&path)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { port, child, _directory: directory }
    }

    /// What it says of the primary, by name; nothing while it is not up.
    pub(crate) fn told(&self) -> HashMap<String, String> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        let asked = |mut connection| redis::cmd("SENTINEL").arg("MASTER").arg("gate").query(&mut connection);
        client.get_connection().and_then(asked).unwrap_or_default()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
