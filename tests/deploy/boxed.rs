//! A service of compose.yaml as a container runtime would run it, without one: a mount namespace with a root directory of its own that
//! is read-only, the volumes, user, command and variables that the file says, no capability. Of the network there is loopback alone,
//! so each service has an address of its own there, and what it would bind in its container (`0.0.0.0`) is that address.

use std::{
    fmt::Write as _,
    fs,
    net::Ipv4Addr,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{compose::mounts, deploy, texts};

/// Everybody who has an address, in the order of their last numbers.
const NAMES: [&str; 5] = ["redis", "application", "gateway-1", "gateway-2", "balancer"];

/// The machine: volumes that outlive containers, and addresses.
pub struct Machine {
    dir: TempDir,
    net: [u8; 2],
    server: PathBuf,
    pub services: Value,
}

/// A container that runs; killed where a test ends before it.
pub struct Boxed {
    child: Child,
    log: PathBuf,
}

fn quoted(path: &Path) -> String {
    let text = path.to_str().unwrap();
    assert!(!text.contains('\''));
    format!("'{text}'")
}

impl Machine {
    pub fn new(services: Value) -> Machine {
        assert!(
            rustix::process::getuid().is_root(),
            "these tests mount what containers have mounted: run them as root"
        );
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let pid = std::process::id().to_be_bytes();
        let net = [64 + pid[2] % 128, pid[3]];
        let server = std::env::var_os("POSTERN_REDIS_SERVER").map_or_else(
            || {
                let path = std::env::var_os("PATH").unwrap();
                let all = std::env::split_paths(&path).map(|folder| folder.join("redis-server"));
                all.into_iter().find(|file| file.is_file()).expect("install redis-server")
            },
            PathBuf::from,
        );
        Machine { dir, net, server, services }
    }

    pub fn address(&self, name: &str) -> Ipv4Addr {
        let at =
            NAMES.iter().position(|have| *have == name).unwrap_or_else(|| panic!("{name} has no address"));
        Ipv4Addr::new(127, self.net[0], self.net[1], u8::try_from(at).unwrap() + 1)
    }

    /// A volume, which is its first writer's.
    pub fn volume(&self, name: &str, user: u32) -> PathBuf {
        let path = self.dir.path().join("volumes").join(name);
        if !path.exists() {
            fs::create_dir_all(&path).unwrap();
            chown(&path, Some(user), Some(user)).unwrap();
        }
        path
    }

    /// A file of deploy/compose as the service sees it: on this machine's addresses, and with the edits.
    fn file(&self, service: &str, name: &str, edits: &[(&str, &str)]) -> PathBuf {
        let own = self.here(service, &fs::read_to_string(deploy("compose").join(name)).unwrap());
        let balancer = format!("{}/32", self.address("balancer"));
        let mut text = own.replace("172.30.80.0/24", &balancer);
        for (from, to) in edits {
            assert_eq!(text.matches(from).count(), 1, "`{from}`");
            text = text.replace(from, to);
        }
        let path = self.dir.path().join(format!("{service}-{}", name.replace('/', "_")));
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn here(&self, service: &str, text: &str) -> String {
        if text.contains("0.0.0.0") {
            text.replace("0.0.0.0", &self.address(service).to_string())
        } else {
            text.to_owned()
        }
    }

    /// Starts a service; with another command where one is said, and edits of the files that it reads.
    pub fn start(&self, name: &str, command: Option<&[&str]>, edits: &[(&str, &str)]) -> Boxed {
        let service = &self.services[name];
        let who = if NAMES.contains(&name) { name } else { "gateway-1" };
        let user: u32 = service["user"].as_str().unwrap().split_once(':').unwrap().0.parse().unwrap();
        let root = self.dir.path().join(format!("root-{name}"));
        fs::create_dir_all(&root).unwrap();
        let log = self.dir.path().join(format!("{name}.log"));

        let mut arguments = match command {
            Some(words) => words.iter().map(|word| (*word).to_owned()).collect(),
            None => texts(&service["command"]).iter().map(|word| self.here(who, word)).collect::<Vec<_>>(),
        };
        let image = service["image"].as_str().unwrap();
        let program = if image.starts_with("valkey/valkey:") {
            assert_eq!(arguments.remove(0), "valkey-server");
            arguments.extend(["--bind".to_owned(), self.address(who).to_string()]);
            "/redis-server"
        } else if image == "postern-keys" {
            arguments.insert(0, "/postern-keys".to_owned());
            "/bin/sh"
        } else {
            assert_eq!(image, "postern");
            "/postern"
        };

        let mut script = self.root(&root);
        for (what, target, writable) in mounts(service) {
            let source = match what.strip_prefix("./") {
                Some(file) => self.file(who, file, edits),
                None => self.volume(&what, user),
            };
            mount(&mut script, &root, &source, &target, writable);
        }
        for entry in service["tmpfs"].as_array().into_iter().flatten() {
            let (target, options) = entry.as_str().unwrap().split_once(':').unwrap();
            let at = quoted(&root.join(target.trim_start_matches('/')));
            writeln!(script, "mkdir -p {at}; mount -t tmpfs -o {options} tmp {at}").unwrap();
        }
        let at = quoted(&root);
        writeln!(script, "mount -o remount,ro,bind {at}").unwrap();
        writeln!(script, "cd {at}").unwrap();
        writeln!(
            script,
            "exec setpriv --bounding-set=-all,+sys_chroot,+setuid,+setgid --no-new-privs \
             chroot --userspec={user}:{user} --groups={user} {at} {program} \"$@\""
        )
        .unwrap();

        let out = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut process = Command::new("unshare");
        process.args(["--mount", "--propagation", "private", "sh", "-euc", &script, name]).args(&arguments);
        process.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("POSTERN", "/postern");
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            process.env(variable, value.as_str().unwrap());
        }
        process.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        Boxed { child: process.spawn().unwrap(), log }
    }

    /// The script that makes a root directory: the machine's programs and libraries to read, and what an image brings.
    fn root(&self, root: &Path) -> String {
        let at = quoted(root);
        let mut hosts = String::from("127.0.0.1 localhost\n");
        for name in NAMES {
            writeln!(hosts, "{} {name}", self.address(name)).unwrap();
        }
        let etc = self.dir.path().join("etc");
        fs::create_dir_all(&etc).unwrap();
        fs::write(etc.join("hosts"), hosts).unwrap();
        fs::write(etc.join("nsswitch.conf"), "hosts: files\n").unwrap();
        // OpenSSL wants its settings where the machine has them.
        let mut script = format!(
            "mount -t tmpfs -o mode=755 root {at}\n\
             for name in bin sbin lib lib64; do\n\
             if [ -L /$name ]; then cp -P /$name {at}/; elif [ -d /$name ]; then mkdir {at}/$name; mount --bind -o ro /$name {at}/$name; fi\n\
             done\n\
             mkdir {at}/etc\ncp {etc}/hosts {etc}/nsswitch.conf {at}/etc/\n\
             if [ -d /etc/ssl ]; then mkdir {at}/etc/ssl; mount --bind -o ro /etc/ssl {at}/etc/ssl; fi\n",
            etc = quoted(&etc)
        );
        for name in ["/usr", "/dev", "/proc"] {
            mount(&mut script, root, Path::new(name), name, name != "/usr");
        }
        for (source, target) in [
            (Path::new(env!("CARGO_BIN_EXE_postern")), "/postern"),
            (&self.server, "/redis-server"),
            (&deploy("keys"), "/postern-keys"),
        ] {
            mount(&mut script, root, source, target, false);
        }
        script
    }
}

fn mount(script: &mut String, root: &Path, source: &Path, target: &str, writable: bool) {
    let at = root.join(target.trim_start_matches('/'));
    let (at, parent) = (quoted(&at), quoted(at.parent().unwrap()));
    let make =
        if source.is_dir() { format!("mkdir -p {at}") } else { format!("mkdir -p {parent}; touch {at}") };
    let options = if writable { "" } else { "-o ro" };
    writeln!(script, "{make}; mount --bind {options} {} {at}", quoted(source)).unwrap();
}

impl Boxed {
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for its end.
    pub fn ends(mut self) -> (ExitStatus, String) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.log());
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn succeeds(self) -> String {
        let (status, log) = self.ends();
        assert!(status.success(), "{status}: {log}");
        log
    }

    pub fn running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }
}

impl Drop for Boxed {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
