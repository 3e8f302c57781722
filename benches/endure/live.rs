//! A real `postern` process, and what the system says of it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::world::{Plan, World, free_port, start, wait_for};

/// The program that this project builds, in this bench's profile.
const POSTERN: &str = env!("CARGO_BIN_EXE_postern");

/// A process that can be measured and is ended with its owner.
pub struct Live {
    pub pid: u32,
    pub port: u16,
    pub at: PathBuf,
    operations: Option<u16>,
    child: Child,
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(args: &[&str]) {
    let done = Command::new(POSTERN).args(args).stdout(Stdio::null()).status().unwrap();
    assert!(done.success(), "postern {args:?}");
}

impl Live {
    /// A gateway with the configuration that is measured, after these replacements in its text.
    pub fn postern(world: &World, core: usize, plan: Plan, edits: &[(&str, &str)]) -> Live {
        let port = free_port();
        let at = world.postern(port, plan);
        let file = at.join("postern.yaml");
        let mut text = std::fs::read_to_string(&file).unwrap();
        for (from, to) in edits {
            assert!(text.contains(from), "the configuration has no `{from}`");
            text = text.replace(from, to);
        }
        std::fs::write(&file, text).unwrap();
        let name = file.to_str().unwrap();
        run(&["state", "init", "--config", name]);
        let log = std::fs::File::create(at.join("log")).unwrap();
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string(), POSTERN, "run", "--watch", "0", "--config", name]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        wait_for(port);
        let text = std::fs::read_to_string(&file).unwrap();
        let operations = text.split("operations: 127.0.0.1:").nth(1).and_then(|rest| rest.lines().next());
        let live = Live {
            pid: child.id(),
            port,
            at,
            operations: operations.and_then(|port| port.parse().ok()),
            child,
        };
        let until = Instant::now() + Duration::from_secs(30);
        while !live.metrics().contains("\npostern_staff_served 1") {
            assert!(Instant::now() < until, "staff are not served");
            std::thread::sleep(Duration::from_millis(50));
        }
        live
    }

    /// nginx, plain, before the same origin.
    pub fn nginx(world: &World, core: usize, plan: Plan) -> Live {
        let port = free_port();
        let at = world.nginx(port, plan);
        let text = |path: &Path| path.display().to_string();
        let args = ["-p", &text(&at), "-c", &text(&at.join("nginx.conf")), "-e", "stderr"].map(str::to_owned);
        let child = start(core, &[], Path::new("/usr/sbin/nginx"), &args);
        wait_for(port);
        Live { pid: child.id(), port, at, operations: None, child }
    }

    /// What its operations listener says.
    pub fn metrics(&self) -> String {
        let Some(port) = self.operations else { return String::new() };
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n");
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    }

    /// One of its metrics.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or(f64::NAN)
    }

    fn status(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap()
    }

    /// Resident memory, in KiB.
    pub fn rss(&self) -> u64 {
        self.status("VmRSS")
    }

    pub fn threads(&self) -> u64 {
        self.status("Threads")
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> u64 {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap().count() as u64
    }

    /// Bytes of its ledger.
    pub fn ledger(&self) -> u64 {
        let files = std::fs::read_dir(self.at.join("ledger")).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum()
    }

    /// Sends it a signal, by name.
    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.pid.to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Opens a support session for the agent.
    pub fn enter(&self, token: &str) {
        let body = r#"{"environment":"production","basis":"consent","reason":"measuring"}"#;
        let request = format!(
            "POST /_postern/v1/tenants/acme/sessions HTTP/1.1\r\nHost: app.example\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.starts_with("HTTP/1.1 201 "), "no session: {answer}");
    }

    /// Stops it in order; whether its ledger is whole then.
    pub fn stop(mut self, world: &World) -> bool {
        self.signal("TERM");
        let until = Instant::now() + Duration::from_secs(60);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "it does not stop");
            std::thread::sleep(Duration::from_millis(50));
        }
        let key = world.dir().join("ledger.pub");
        let done = Command::new(POSTERN)
            .args(["audit", "verify"])
            .arg(self.at.join("ledger"))
            .arg("--key")
            .arg(key)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        done.success()
    }
}
