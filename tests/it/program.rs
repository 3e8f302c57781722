//! The program `postern` itself in a process of its own, on a socket that it is handed as systemd hands it: descriptor 3,
//! `LISTEN_FDS`, `LISTEN_PID`.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{client::PATIENCE, world::until};

pub struct Program {
    process: Child,
    /// Read on, so that the program never writes to a closed pipe.
    _told: BufReader<ChildStdout>,
    pub listening: SocketAddr,
    operations: SocketAddr,
}

/// The socket comes as standard input and is moved to its place by a shell, which becomes the program: so it has the number
/// that it names, and no other child of these tests inherits the socket.
const HAND_OVER: &str = r#"exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" "$@""#;

impl Program {
    /// Starts it, and waits until it says that clients may come. It looks at its files only when it is told to.
    pub fn start(file: &Path, socket: &TcpListener) -> Program {
        let socket: OwnedFd = socket.try_clone().unwrap().into();
        let mut process = Command::new("sh")
            .args(["-c", HAND_OVER, env!("CARGO_BIN_EXE_postern"), "run", "--watch", "0"])
            .args(["--log-level", "warn", "--config"])
            .arg(file)
            .stdin(Stdio::from(socket))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(process.stdout.take().unwrap());
        let mut address = |begins: &str| {
            let mut line = String::new();
            told.read_line(&mut line).unwrap();
            let rest = line.trim().strip_prefix(begins).unwrap_or_else(|| panic!("it says `{line}`"));
            let (scheme, address) = rest.split_once("://").unwrap();
            (scheme.to_owned(), address.parse().unwrap())
        };
        let (scheme, listening) = address("listening on ");
        let tls = std::fs::read_to_string(file).unwrap().contains("\ntls: ");
        assert_eq!(scheme, if tls { "https" } else { "http" });
        let (_, operations) = address("operations on ");
        Program { process, _told: told, listening, operations }
    }

    /// Starts one that does not come up; what it says about that.
    pub fn fails(file: &Path, socket: &TcpListener) -> String {
        let socket: OwnedFd = socket.try_clone().unwrap().into();
        let came = Command::new("sh")
            .args(["-c", HAND_OVER, env!("CARGO_BIN_EXE_postern"), "run", "--watch", "0", "--config"])
            .arg(file)
            .stdin(Stdio::from(socket))
            .output()
            .unwrap();
        assert_eq!((came.status.code(), came.stdout.len()), (Some(1), 0));
        String::from_utf8(came.stderr).unwrap()
    }

    /// SIGTERM, and once it is heard another one; with which status it goes, and how long that took.
    pub fn stop_twice(mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        self.signal(Signal::TERM);
        until("it says that it stops", || self.told("/readyz").ends_with("stopping\n"));
        assert!(self.process.try_wait().unwrap().is_none(), "it waits for what runs");
        self.signal(Signal::TERM);
        until("it goes", || self.process.try_wait().unwrap().is_some());
        (self.process.wait().unwrap().code(), began.elapsed())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// SIGTERM, and waits until it has gone in peace; how long that took.
    pub fn stop(mut self) -> Duration {
        let began = Instant::now();
        self.signal(Signal::TERM);
        until("it goes", || self.process.try_wait().unwrap().is_some());
        assert!(self.process.wait().unwrap().success());
        began.elapsed()
    }

    /// SIGHUP, and waits until it has taken so many configurations.
    pub fn reload(&self, times: usize) {
        self.signal(Signal::HUP);
        let applied = format!("postern_config_reloads_total{{result=\"applied\"}} {times}\n");
        let refused = "postern_config_reloads_total{result=\"refused\"} 0\n";
        until("it has taken the configuration", || {
            let metrics = self.metrics();
            assert!(metrics.contains(refused), "{metrics}");
            metrics.contains(&applied)
        });
    }

    /// One metric's value.
    pub fn metric(&self, name: &str) -> usize {
        let metrics = self.metrics();
        let value =
            metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{metrics}"));
        value.trim().parse().unwrap()
    }

    /// What it holds of the machine's memory, in bytes.
    pub fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let held = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        held.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    fn metrics(&self) -> String {
        self.told("/metrics")
    }

    /// What the operations listener says.
    fn told(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.operations).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: ops\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
