//! The processes: a Redis of its own, and a gateway; what they used so far, and what Redis says of itself.
//!
//! Never here: what is asked of them.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::place::{Place, free_port};

/// How long a process may take to come up.
const PATIENCE: Duration = Duration::from_secs(300);

pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// CPU time of all threads of a process, ended ones included.
fn cpu_of(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // A hundred a second, on every Linux that this runs on.
    Duration::from_millis(ticks * 10)
}

/// A server that keeps nothing on disk.
pub struct Redis {
    child: Child,
    pub port: u16,
    _directory: tempfile::TempDir,
}

impl Redis {
    pub fn start() -> Redis {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--maxmemory-policy", "noeviction", "--dir"])
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed (Debian: apt-get install redis-server)");
        let redis = Redis { child, port, _directory: directory };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "redis-server does not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
        redis
    }

    /// One command; a line, a number or a text.
    pub fn tell(&self, words: &[&[u8]]) -> String {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).unwrap());
        let mut asking = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            asking.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            asking.extend_from_slice(word);
            asking.extend_from_slice(b"\r\n");
        }
        stream.get_mut().write_all(&asking).unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let Some(length) = line.strip_prefix('$').and_then(|length| length.trim().parse::<usize>().ok())
        else {
            return line[1..].trim().to_owned();
        };
        let mut text = vec![0; length];
        stream.read_exact(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    fn info(&self, name: &str) -> String {
        let all = self.tell(&[b"INFO", b"everything"]);
        let line = all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("INFO has no {name}")).trim().to_owned()
    }

    pub fn version(&self) -> String {
        format!("Redis {}", self.info("redis_version"))
    }

    /// Bytes that it uses for everything.
    pub fn used(&self) -> u64 {
        self.info("used_memory").parse().unwrap()
    }

    /// Bytes that it has sent.
    pub fn sent(&self) -> u64 {
        self.info("total_net_output_bytes").parse().unwrap()
    }

    /// Bytes that the value of a key takes, its elements all looked at.
    pub fn size(&self, key: &[u8]) -> u64 {
        self.tell(&[b"MEMORY", b"USAGE", key, b"SAMPLES", b"0"]).parse().unwrap_or(0)
    }

    pub fn cpu(&self) -> Duration {
        cpu_of(self.child.id())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// A gateway that runs.
pub struct Running<'p> {
    child: Child,
    _place: &'p Place,
}

impl<'p> Running<'p> {
    /// Answers when it says that it is ready.
    pub fn start(place: &'p Place) -> Running<'p> {
        let program = std::env::current_exe().unwrap();
        let child =
            Command::new(program).arg("gateway").arg(place.dir()).stdin(Stdio::piped()).spawn().unwrap();
        let mut running = Running { child, _place: place };
        let begun = Instant::now();
        while !place.is_ready() {
            let ended = running.child.try_wait().unwrap();
            assert!(ended.is_none(), "the gateway does not start: {ended:?}");
            assert!(begun.elapsed() < PATIENCE, "the gateway does not come up");
            std::thread::sleep(Duration::from_millis(1));
        }
        running
    }

    /// Stops it as a signal does, and waits until it is gone.
    pub fn stop(mut self) {
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the gateway stopped with {status}");
    }

    /// Bytes that it handed to the disk, and that it read from there.
    pub fn disk(&self) -> [u64; 2] {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap();
        ["write_bytes: ", "read_bytes: "].map(|name| {
            let line = io.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|count| count.parse().ok()).unwrap_or(0)
        })
    }

    pub fn cpu(&self) -> Duration {
        cpu_of(self.child.id())
    }

    /// Bytes of memory that it has.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most that it had.
    pub fn most_resident(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
