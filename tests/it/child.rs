//! A gateway in a process of its own, so that it can be stopped and killed: this test binary again, told by its
//! environment to be one. It is commanded by lines on its standard input and answers with lines that begin with `@@`.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child as Process, ChildStdin, Command as Program, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    time::{Duration, Instant},
};

use postern::{
    app::{Extra, Gateway},
    engine::{
        Changed,
        hooks::{Hooks, Step},
    },
    lifecycle::{Command, WantedBasis},
    model::{SessionId, Span},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::{client::PATIENCE, world::*};

const MARK: &str = "@@ ";

/// The other process.
pub struct Child {
    process: Process,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    pub address: SocketAddr,
}

impl Child {
    /// Starts one on a world's keys and state. `step` is where its hook is armed, `deed` what it does there.
    pub fn start(world: &World, step: Option<Step>, deed: &str) -> Child {
        let mut process = Program::new(std::env::current_exe().unwrap())
            .args(["--exact", "child::a_gateway_for_other_tests", "--nocapture", "--test-threads=1"])
            .env("POSTERN_IT_KEYS", world.keys_dir.path())
            .env("POSTERN_IT_DATA", &world.data)
            .env("POSTERN_IT_UPSTREAM", world.upstream.address.to_string())
            .env("POSTERN_IT_EDITS", serde_json::to_string(&world.edits).unwrap())
            .env("POSTERN_IT_STEP", step.map_or_else(String::new, |step| format!("{step:?}")))
            .env("POSTERN_IT_DEED", deed)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some((_, told)) = line.split_once(MARK)
                    && sender.send(told.to_owned()).is_err()
                {
                    return;
                }
            }
        });
        let stdin = process.stdin.take();
        let mut child = Child { process, stdin, lines, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        child.address = child.hear("ready").parse().unwrap();
        child
    }

    pub fn tell(&mut self, line: &str) {
        // A child that is gone hears nothing.
        let _ = writeln!(self.stdin.as_mut().unwrap(), "{line}");
    }

    /// The next line that begins so, without that beginning.
    pub fn hear(&self, begins: &str) -> String {
        self.hear_if(begins).unwrap_or_else(|| panic!("the child ended without saying `{begins}`"))
    }

    /// The same; `None` when the child ended.
    pub fn hear_if(&self, begins: &str) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(begins) {
                        return Some(rest.trim().to_owned());
                    }
                    assert!(!line.starts_with("not-done"), "{line}");
                }
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => panic!("the child does not say `{begins}`"),
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.process.wait().unwrap();
    }

    /// Waits until it ended by itself.
    pub fn gone(mut self) {
        until("the child ends", || self.process.try_wait().unwrap().is_some());
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "\n{MARK}{line}");
    let _ = out.flush();
}

/// No test: what a child process runs. As a test it passes at once.
#[test]
fn a_gateway_for_other_tests() {
    let Some(keys) = std::env::var_os("POSTERN_IT_KEYS") else { return };
    let data = std::env::var_os("POSTERN_IT_DATA").unwrap();
    let upstream: SocketAddr = std::env::var("POSTERN_IT_UPSTREAM").unwrap().parse().unwrap();
    let step = std::env::var("POSTERN_IT_STEP").unwrap();
    let deed = std::env::var("POSTERN_IT_DEED").unwrap();
    let armed = Arc::new(AtomicBool::new(false));
    let release = Arc::new(tokio::sync::Notify::new());
    let count = Arc::new(AtomicU64::new(0));
    let hooks = {
        let (armed, release, counted) = (Arc::clone(&armed), Arc::clone(&release), Arc::clone(&count));
        Hooks {
            at: Some(Arc::new(move |at: Step| {
                let here = format!("{at:?}") == step && armed.swap(false, SeqCst);
                let (deed, release) = (deed.clone(), Arc::clone(&release));
                Box::pin(async move {
                    if here && deed == "die" {
                        kill_process(rustix::process::getpid(), Signal::KILL).unwrap();
                    }
                    if here && deed == "hold" {
                        say("held");
                        release.notified().await;
                    }
                }) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
            })),
            bytes: Some(Arc::new(move |_: &postern::model::ExchangeId, bytes: usize| {
                counted.fetch_add(bytes as u64, SeqCst);
            })),
            ..Hooks::default()
        }
    };
    let people = Arc::new(People::load(Path::new(&keys), None));
    let edits: Vec<(String, String)> =
        serde_json::from_str(&std::env::var("POSTERN_IT_EDITS").unwrap()).unwrap();
    let edits: Vec<(&str, &str)> = edits.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    let settings = settings(Path::new(&keys), Path::new(&data), upstream, &edits);
    let gateway = Arc::new(Gateway::start(settings, Extra { hooks, ..Extra::default() }).unwrap());
    until_ready(&gateway);
    say(&format!("ready {}", gateway.address()));
    let order = Arc::new(Mutex::new(()));
    for line in std::io::stdin().lines().map_while(Result::ok) {
        match line.as_str() {
            "arm" => {
                armed.store(true, SeqCst);
                say("armed");
                continue;
            }
            "release" => {
                release.notify_one();
                continue;
            }
            "count" => {
                say(&format!("count {}", count.load(SeqCst)));
                continue;
            }
            _ => {}
        }
        let (gateway, people, order) = (Arc::clone(&gateway), Arc::clone(&people), Arc::clone(&order));
        std::thread::spawn(move || {
            let _one_after_another = order.lock();
            let (number, command, token) = command(&line);
            let changed = block(gateway.engine().change(command, people.giver(&token)));
            match changed {
                Ok(Changed::Done { .. } | Changed::Unchanged) => say(&format!("done {number}")),
                other => say(&format!("not-done {number} {other:?}")),
            }
        });
    }
    // Whoever started this is gone.
    std::process::exit(0);
}

/// `<number> <verb> <tenant> <what> <token>`.
fn command(line: &str) -> (String, Command, String) {
    let mut words = line.split(' ').map(str::to_owned);
    let mut word = || words.next().unwrap();
    let (number, verb, tenant_id, what, token) = (word(), word(), word(), word(), word());
    let command = match verb.as_str() {
        "consent" => World::consent(&tenant_id, &what),
        "end" => World::end(&tenant_id, &SessionId::new(&what).unwrap()),
        "start" => {
            // `ses_1` or `ses_1/1500`, in milliseconds.
            let (session, lasts) =
                what.split_once('/').map_or((what.as_str(), None), |(s, ms)| (s, Some(ms)));
            Command::StartSession {
                tenant: tenant(&tenant_id),
                session: SessionId::new(session).unwrap(),
                environment: production(),
                basis: WantedBasis::Consent,
                reason: "a child looks around".to_owned(),
                ticket: None,
                lasts: lasts.map(|ms| Span::Millis(ms.parse().unwrap())),
            }
        }
        other => panic!("no such verb: {other}"),
    };
    (number, command, token)
}

/// Sleeps until that instant of the wall clock, in milliseconds; a deadline, not luck.
pub fn sleep_past(people: &People, at_ms: i64) {
    while people.now_ms() <= at_ms {
        std::thread::sleep(Duration::from_millis(5));
    }
}
