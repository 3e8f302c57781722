//! The built program, as people and scripts use it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod bad;
mod break_glass;
mod explain;
mod gateway;
mod help;
mod routes;
mod token;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

const CONFIG: &str = include_str!("postern.yaml");

/// How a command came out.
#[derive(Debug)]
struct Came {
    status: i32,
    out: String,
    err: String,
}

impl Came {
    fn of(output: std::process::Output) -> Came {
        let came = Came {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!came.err.contains("panicked"), "{}", came.err);
        came
    }

    /// With this status; its output.
    #[track_caller]
    fn with(self, status: i32) -> String {
        assert_eq!(self.status, status, "{}\n{}", self.out, self.err);
        self.out
    }

    /// Not done, and standard error says so.
    #[track_caller]
    fn fails_saying(self, text: &str) {
        assert_eq!(self.status, 1, "{}\n{}", self.out, self.err);
        assert!(self.err.contains(text), "`{text}` is not in: {}", self.err);
        assert_eq!(self.out, "");
    }
}

fn postern(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
    command.current_dir(dir).args(args).stdin(Stdio::null()).env_remove("NO_COLOR");
    command
}

fn run(dir: &Path, args: &[&str]) -> Came {
    Came::of(postern(dir, args).output().unwrap())
}

fn run_with(dir: &Path, args: &[&str], input: &[u8]) -> Came {
    let mut child = postern(dir, args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    Came::of(child.wait_with_output().unwrap())
}

/// A folder with the configuration and its keys, all made by the program.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        fs::write(place.path().join("postern.yaml"), CONFIG).unwrap();
        for (name, algorithm) in [("vendor", "EdDSA"), ("app", "ES256"), ("assertion", "EdDSA")] {
            let (private, jwks) = (format!("{name}.pem"), format!("{name}.jwks.json"));
            let args = ["token", "key", "--algorithm", algorithm, "--private", &private, "--jwks", &jwks];
            place.run(&args).with(0);
        }
        let args = [
            "audit",
            "key",
            "--origin",
            "example.com/cli",
            "--private",
            "ledger.key",
            "--public",
            "ledger.pub",
        ];
        place.run(&args).with(0);
        place
    }

    /// With a store.
    fn begun() -> Place {
        let place = Place::new();
        place.run(&["state", "init", "--config", "postern.yaml"]).with(0);
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Came {
        run(self.path(), args)
    }

    /// Exchanges a piece of the configuration.
    fn configure(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.file("postern.yaml")).unwrap();
        assert_eq!(text.matches(from).count(), 1, "`{from}` must stand once in the configuration");
        fs::write(self.file("postern.yaml"), text.replace(from, to)).unwrap();
    }

    /// A member's token.
    fn ada(&self, roles: &str) -> String {
        let roles = format!("roles:=[\"{roles}\"]");
        let args =
            ["token", "mint", "--key", "app.pem", "--issuer", "https://id.app.example", "--audience", "app"];
        let more = ["--subject", "ada", "--claim", "tenant=acme", "--claim", &roles];
        self.run(&[&args[..], &more].concat()).with(0).trim().to_owned()
    }

    /// A staff token.
    fn sam(&self) -> String {
        let args = ["token", "mint", "--key", "vendor.pem", "--issuer", "https://id.vendor.example"];
        let more = ["--audience", "postern", "--subject", "sam"];
        self.run(&[&args[..], &more].concat()).with(0).trim().to_owned()
    }
}

/// Compares with a file beside this one. With `POSTERN_BLESS` set it writes the file instead.
#[track_caller]
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli").join(name);
    if std::env::var_os("POSTERN_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, wanted, "differs from {}; POSTERN_BLESS=1 accepts it", path.display());
}

/// A gateway that runs until it is dropped.
struct Running {
    child: Child,
    address: String,
    operations: String,
    // Held open: a gateway whose reader goes away is another test.
    _out: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(place: &Place, more: &[&str]) -> Running {
        let args = [&["run", "--config", "postern.yaml"], more].concat();
        let mut child = postern(place.path(), &args)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(place.file("run.err")).unwrap())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said = |start: &str| {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            let err = || fs::read_to_string(place.file("run.err")).unwrap();
            line.trim().strip_prefix(start).unwrap_or_else(|| panic!("`{line}` {}", err())).to_owned()
        };
        let address = said("listening on http://");
        let operations = said("operations on http://");
        Running { child, address, operations, _out: out }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it as an operator would.
    fn stop(mut self) -> i32 {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
