//! What the tests of links are made with: a clock, heads put into servers by hand, a wire that can be slowed and cut, and the
//! time that callers waited.
//!
//! Never here: what is tested.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use postern::state::{
    Age, Leases, Line, Part, Parts, ServerFault, StoreFault,
    redis::{Address, Links, Options, Ready, Servers},
};
use redis::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::servers::Server;

/// How many parts the stores of these tests have.
pub(crate) const PARTS: u16 = 8;

/// How long something may take that has to come by itself, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The longest that a caller may be held where it has to be answered at once: far less than any time-out, and more than a busy
/// machine keeps a thread from running.
pub(crate) const AT_ONCE: Duration = Duration::from_millis(250);

pub(crate) const STORE: &str = "0192f0c1-2233-7445-8677-8899aabbccdd";

pub(crate) fn all() -> Parts {
    Parts::first(PARTS)
}

pub(crate) fn local(port: u16) -> Address {
    Address { host: "127.0.0.1".to_owned(), port }
}

pub(crate) fn line(number: u64) -> Line {
    Line::parse(if number == 0 { String::new() } else { format!("{number:020x}") }.as_bytes()).unwrap()
}

/// The options for one server.
pub(crate) fn one(port: u16) -> Options {
    of(Servers::One(local(port)))
}

pub(crate) fn of(servers: Servers) -> Options {
    Options { parts: PARTS, ..Options::new(servers) }
}

/// What a head says.
pub(crate) fn head(server: &Server, part: u16, epoch: u32, number: u64) {
    let key = format!("postern:{{p{part:02}}}:head");
    let (epoch, count, line) = (epoch.to_string(), number.to_string(), line(number).as_str().to_owned());
    let words = [
        "HSET", &key, "id", STORE, "format", "1", "epoch", &epoch, "number", &count, "line", &line, "state",
        "good",
    ];
    let told = server.tell(&words);
    assert!(told.starts_with(':'), "{told}");
    if number > 0 {
        let row = format!("chg_{number} {line} 1700000000000");
        server.tell(&["ZADD", &format!("postern:{{p{part:02}}}:line"), &count, &row]);
    }
}

/// All heads, of a store without changes.
pub(crate) fn heads(server: &Server) {
    (0..PARTS).for_each(|part| head(server, part, 0, 0));
}

/// Links with the clock of this process.
pub(crate) struct Rig {
    pub(crate) links: Arc<Links>,
    pub(crate) leases: Arc<Leases>,
    begun: Instant,
}

impl Rig {
    pub(crate) fn start(options: Options) -> Self {
        let begun = Instant::now();
        let leases = Leases::of(options.parts);
        let clock = Arc::new(move || i64::try_from(begun.elapsed().as_millis()).unwrap());
        let links = Links::start(options, Arc::clone(&leases), clock, &tokio::runtime::Handle::current());
        Self { links, leases, begun }
    }

    /// The same, once all parts are linked and known.
    pub(crate) async fn known(options: Options) -> Self {
        let rig = Self::start(options);
        rig.fresh("all parts are known").await;
        rig
    }

    pub(crate) fn now(&self) -> i64 {
        i64::try_from(self.begun.elapsed().as_millis()).unwrap()
    }

    pub(crate) fn age(&self) -> Age {
        self.leases.age(all(), self.now())
    }

    /// Waits until every part is linked, and known as of later than now.
    pub(crate) async fn fresh(&self, what: &str) {
        let since = self.now();
        self.until(what, || {
            all().each().all(|part| self.links.at(part).is_ok() && self.leases.known(part) > Some(since))
        })
        .await;
    }

    /// Waits until a part is refused, which has to come at once each time it is asked; what it is refused for.
    pub(crate) async fn refused(&self, what: &str) -> StoreFault {
        self.until(what, || self.at(Part(0)).is_err()).await;
        self.at(Part(0)).unwrap_err()
    }

    /// Waits until something is the matter with the first part.
    pub(crate) async fn troubled(&self, kind: ServerFault) -> String {
        let found = || self.links.trouble(Part(0)).filter(|trouble| trouble.code() == kind.code());
        self.until(&format!("{kind:?}, now {:?}", self.links.trouble(Part(0))), || found().is_some()).await;
        found().map(|trouble| trouble.to_string()).unwrap_or_default()
    }

    /// Asks for a part's link, as every caller does: the answer is there at once.
    pub(crate) fn at(&self, part: Part) -> Result<Arc<Ready>, StoreFault> {
        let begun = Instant::now();
        let ready = self.links.at(part);
        assert!(begun.elapsed() < AT_ONCE, "a caller waited for a link");
        ready
    }

    pub(crate) async fn until(&self, what: &str, mut so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !so() {
            assert!(
                begun.elapsed() < PATIENCE,
                "not within {PATIENCE:?}: {what}; {:?}, {:?}",
                self.links.trouble(Part(0)),
                self.age()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Loads something over a part's link, as a store does; how long that took, and whether it was answered.
pub(crate) async fn load(links: &Links, part: Part) -> (Duration, bool) {
    let begun = Instant::now();
    let Ok(ready) = links.at(part) else { return (begun.elapsed(), false) };
    let mut connection = ready.loads.clone();
    let key = format!("postern:{{p{:02}}}:head", part.0);
    let command = redis::cmd("HGET").arg(&key).arg("id").to_owned();
    let answer = ready.ask(connection.send_packed_command(&command)).await;
    let good = match answer {
        Ok(Value::ServerError(_)) => false,
        Ok(_) => true,
        Err(_) => false,
    };
    (begun.elapsed(), good)
}

/// Many who ask all the time, and what became of them.
pub(crate) struct Load {
    tasks: JoinSet<()>,
    stop: Arc<AtomicBool>,
    seen: Arc<Seen>,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) good: AtomicU64,
    pub(crate) bad: AtomicU64,
    longest: Mutex<Duration>,
}

impl Load {
    pub(crate) fn start(links: &Arc<Links>, parts: Parts) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
        let mut tasks = JoinSet::new();
        for part in parts.each() {
            let (links, stop, seen) = (Arc::clone(links), Arc::clone(&stop), Arc::clone(&seen));
            tasks.spawn(async move {
                while !stop.load(SeqCst) {
                    let (took, good) = load(&links, part).await;
                    if good { &seen.good } else { &seen.bad }.fetch_add(1, SeqCst);
                    seen.waited(took);
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            });
        }
        Self { tasks, stop, seen }
    }

    pub(crate) fn good(&self) -> u64 {
        self.seen.good.load(SeqCst)
    }

    pub(crate) fn bad(&self) -> u64 {
        self.seen.bad.load(SeqCst)
    }

    /// Ends it; how many were answered, how many refused, and the longest that one of them waited.
    pub(crate) async fn end(mut self) -> (u64, u64, Duration) {
        self.stop.store(true, SeqCst);
        while self.tasks.join_next().await.is_some() {}
        let longest = *self.seen.longest.lock().unwrap();
        (self.good(), self.bad(), longest)
    }
}

impl Seen {
    fn waited(&self, took: Duration) {
        let mut longest = self.longest.lock().unwrap();
        *longest = took.max(*longest);
    }
}

/// A wire to a server that can be slowed and cut.
pub(crate) struct Wire {
    pub(crate) port: u16,
    slow: Arc<AtomicU64>,
    cut: tokio::sync::watch::Sender<u64>,
    refuses: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wire {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let (slow, refuses) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let cut = tokio::sync::watch::Sender::new(0);
        let (delay, refusing, cutting) = (Arc::clone(&slow), Arc::clone(&refuses), cut.clone());
        let task = tokio::spawn(async move {
            let mut passing = JoinSet::new();
            loop {
                let (here, _) = listener.accept().await.unwrap();
                if refusing.load(SeqCst) {
                    continue;
                }
                let Ok(there) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let (mut from, mut to) = here.into_split();
                let (mut back, mut forth) = there.into_split();
                let (delay, mut cutting) = (Arc::clone(&delay), cutting.subscribe());
                passing.spawn(async move {
                    let asks = async {
                        let _ = tokio::io::copy(&mut from, &mut forth).await;
                    };
                    let answers = async {
                        let mut bytes = [0; 16384];
                        while let Ok(count @ 1..) = back.read(&mut bytes).await {
                            tokio::time::sleep(Duration::from_millis(delay.load(SeqCst))).await;
                            if to.write_all(&bytes[..count]).await.is_err() {
                                break;
                            }
                        }
                    };
                    tokio::select! {
                        () = asks => {}
                        () = answers => {}
                        _ = cutting.changed() => {}
                    }
                });
            }
        });
        Self { port: own, slow, cut, refuses, task }
    }

    /// Each answer comes so much later.
    pub(crate) fn slow(&self, by: Duration) {
        self.slow.store(u64::try_from(by.as_millis()).unwrap(), SeqCst);
    }

    /// Closes every connection there is.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|count| *count += 1);
    }

    /// Closes every new connection from now on, or no more.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, SeqCst);
    }
}
