//! Real servers for the tests: processes of their own on loopback, in a directory that goes with them, ended by their
//! handles and by nothing else.
//!
//! Never here: what is tested with them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use postern::state::{
    Part, RedisStore, Store, StoreFault,
    redis::{Address, Options, Servers},
};
use tempfile::TempDir;

/// How long a server may take to come up, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which program is a server.
pub(crate) fn redis_server() -> PathBuf {
    match std::env::var_os("POSTERN_REDIS_SERVER") {
        Some(path) => path.into(),
        None => found("redis-server").expect(
            "these tests start redis-server themselves; install it (Debian: apt-get install redis-server)",
        ),
    }
}

fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// A port that nobody has right now, and low enough that a member of a Cluster has its other one, 10,000 above.
fn free_port() -> u16 {
    let free = || TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    std::iter::repeat_with(free).find(|port| *port < 55_000).unwrap()
}

/// A server, for as long as this is held.
#[derive(Debug)]
pub(crate) struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    child: Child,
    password: Option<String>,
    pub(crate) port: u16,
    directory: TempDir,
}

impl Server {
    /// A server that keeps nothing on disk.
    pub(crate) fn start(arguments: &[&str]) -> Server {
        Server::run(&redis_server(), arguments)
    }

    /// The same of another program.
    pub(crate) fn run(program: &Path, arguments: &[&str]) -> Server {
        let password =
            arguments.iter().position(|word| *word == "--requirepass").map(|at| arguments[at + 1].to_owned());
        // Somebody else may take the port between the asking and the starting.
        for _ in 0..10 {
            let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
            let mut all = vec!["--port".to_owned(), port.to_string(), "--bind".into(), "127.0.0.1".into()];
            let fixed = ["--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "notice"];
            all.extend(
                fixed.iter().chain(["--repl-diskless-sync-delay", "0"].iter()).map(|word| (*word).to_owned()),
            );
            all.extend(["--dir".to_owned(), directory.path().to_str().unwrap().to_owned()]);
            all.extend(arguments.iter().map(|word| (*word).to_owned()));
            let child = launch(program, &all, directory.path());
            let mut server = Server {
                program: program.to_owned(),
                arguments: all,
                child,
                password: password.clone(),
                port,
                directory,
            };
            if server.comes_up() {
                return server;
            }
        }
        panic!("`{}` does not come up", program.display());
    }

    /// A replica of this one, once it follows.
    pub(crate) fn replica(&self, arguments: &[&str]) -> Server {
        let port = self.port.to_string();
        let mut all = vec!["--replicaof", "127.0.0.1", &port];
        all.extend(arguments);
        let replica = Server::run(&self.program, &all);
        until("the replica follows", || {
            replica.tell(&["INFO", "replication"]).contains("master_link_status:up")
        });
        replica
    }

    fn comes_up(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if let Ok(answer) = self.try_tell(&["PING"])
                && answer.contains("PONG")
            {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        panic!("`{}` does not answer: {log}", self.program.display());
    }

    /// How many keys it has, but for those that beats move.
    pub(crate) fn keys(&self) -> usize {
        self.tell(&["KEYS", "*"]).lines().filter(|key| !key.is_empty() && !key.ends_with(":beat")).count()
    }

    /// Stands still, without closing anything.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// Goes on.
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    /// Takes its directory away.
    pub(crate) fn lose_disk(&self) {
        std::fs::remove_dir_all(self.directory.path()).unwrap();
    }

    fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends at once.
    #[allow(dead_code, reason = "not each of the tests that share this needs it")]
    pub(crate) fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends at once, and comes back on the same port with what its disk kept.
    pub(crate) fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = launch(&self.program, &self.arguments, self.directory.path());
        assert!(self.comes_up(), "it does not come back");
    }

    /// Sends one command and reads the answer as the protocol has it.
    pub(crate) fn tell(&self, words: &[&str]) -> String {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.tell_bytes(&words)
    }

    pub(crate) fn tell_bytes(&self, words: &[&[u8]]) -> String {
        self.try_tell_bytes(words).unwrap()
    }

    fn try_tell(&self, words: &[&str]) -> std::io::Result<String> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.try_tell_bytes(&words)
    }

    fn try_tell_bytes(&self, words: &[&[u8]]) -> std::io::Result<String> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut stream = BufReader::new(stream);
        if let Some(password) = &self.password {
            exchange(&mut stream, &[b"AUTH", password.as_bytes()])?;
        }
        exchange(&mut stream, words)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A process that stands still is killed like any other.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn launch(program: &Path, arguments: &[String], directory: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(directory.join("log")).unwrap();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap_or_else(|fault| panic!("`{}` cannot be started: {fault}", program.display()))
}

fn exchange(stream: &mut BufReader<TcpStream>, words: &[&[u8]]) -> std::io::Result<String> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    stream.get_mut().write_all(&request)?;
    answer(stream)
}

/// One answer; lists as lines.
fn answer(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let rest = line.trim_end().to_owned();
    let count = || rest[1..].parse::<i64>().unwrap();
    match rest.as_bytes()[0] {
        b'$' if count() >= 0 => {
            let mut bytes = vec![0; usize::try_from(count()).unwrap() + 2];
            stream.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        b'*' if count() >= 0 => {
            let rows: std::io::Result<Vec<String>> = (0..count()).map(|_| answer(stream)).collect();
            Ok(rows?.join("\n"))
        }
        _ => Ok(rest),
    }
}

/// A Cluster of masters that share the slots evenly, once it is whole.
pub(crate) fn cluster(masters: u16) -> Vec<Server> {
    let settings = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"];
    let servers: Vec<Server> = (0..masters).map(|_| Server::start(&settings)).collect();
    for (server, at) in servers.iter().zip(0..) {
        let slots = (0..16384_u32).filter(|slot| slot * u32::from(masters) / 16384 == at);
        let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
        let mut words = vec!["CLUSTER", "ADDSLOTS"];
        words.extend(slots.iter().map(String::as_str));
        assert_eq!(server.tell(&words), "+OK");
        server.tell(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
    }
    for other in servers.iter().skip(1) {
        servers[0].tell(&["CLUSTER", "MEET", "127.0.0.1", &other.port.to_string()]);
    }
    let known = format!("cluster_known_nodes:{masters}");
    let whole = |server: &Server| {
        let told = server.tell(&["CLUSTER", "INFO"]);
        told.contains("cluster_state:ok") && told.contains(&known)
    };
    until("the cluster is whole", || servers.iter().all(whole));
    servers
}

/// Waits until something is so, which has to come by itself.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A store on one server, patient enough for a machine that does much else.
pub(crate) fn at(port: u16) -> Options {
    let options = Options::new(Servers::One(Address { host: "127.0.0.1".into(), port }));
    Options { timeout: Duration::from_secs(10), connect_timeout: Duration::from_secs(10), ..options }
}

/// Starts a store that has not connected yet.
pub(crate) fn started(options: Options) -> Arc<RedisStore> {
    RedisStore::start(options, &tokio::runtime::Handle::current(), Arc::new(|| 0))
}

/// Starts a store and waits until it can be asked.
pub(crate) async fn open(options: Options) -> Arc<RedisStore> {
    let store = started(options);
    answers(&store).await;
    store
}

/// Waits until all of a store can be asked, whatever it then says.
pub(crate) async fn answers(store: &RedisStore) {
    let begun = Instant::now();
    for part in (0..store.parts()).map(Part) {
        while matches!(store.mark(part).await, Err(StoreFault::Server { .. })) {
            assert!(begun.elapsed() < PATIENCE, "it cannot be reached");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
