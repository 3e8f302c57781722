//! Somebody who asks again and again, and what they were answered since when: a cell of the table of faults.
//!
//! Never here: which faults there are.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use crate::world::request;

/// How long anything may take that comes by itself.
pub const SOON: Duration = Duration::from_secs(20);
/// From one question to the next.
const EVERY: Duration = Duration::from_millis(15);

/// What somebody was answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said {
    /// 0 where no answer came, or not all of it.
    pub status: u16,
    pub code: String,
}

impl Said {
    pub fn is(&self, status: u16, code: &str) -> bool {
        self.status == status && self.code == code
    }

    /// No answer came, or not all of it.
    pub fn is_cut(&self) -> bool {
        self.status == 0
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.status, self.code.as_str()) {
            (0, _) => f.write_str("cut"),
            (status, "") => write!(f, "{status}"),
            (status, code) => write!(f, "{status} `{code}`"),
        }
    }
}

/// Asks once, on a connection of its own.
pub fn ask(address: SocketAddr, text: &str) -> Said {
    ask_whole(address, text).0
}

/// The same, with all that was answered.
pub fn ask_whole(address: SocketAddr, text: &str) -> (Said, String) {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(text.as_bytes())?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        Ok(all)
    };
    let text = read().map(|all| String::from_utf8_lossy(&all).into_owned()).unwrap_or_default();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let problem = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let problem: serde_json::Value = serde_json::from_str(problem).unwrap_or_default();
    (Said { status, code: problem["code"].as_str().unwrap_or_default().to_owned() }, text)
}

/// A request on a connection that is for it alone.
pub fn lone(method: &str, target: &str, token: &str, more: &str) -> String {
    request(method, target, token, &format!("Connection: close\r\n{more}"))
}

#[derive(Debug, Clone)]
struct Turn {
    asked: Instant,
    answered: Instant,
    said: Said,
}

/// See the module's header.
pub struct Watch {
    stop: Arc<AtomicBool>,
    /// The first answer of each kind in a row, and the last of all.
    turns: Arc<Mutex<Vec<Turn>>>,
    longest: Arc<Mutex<Duration>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watch {
    pub fn begin(address: SocketAddr, text: String) -> Watch {
        let (stop, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::<Turn>::new())));
        let longest = Arc::new(Mutex::new(Duration::ZERO));
        let (over, noted, most) = (Arc::clone(&stop), Arc::clone(&turns), Arc::clone(&longest));
        let thread = std::thread::spawn(move || {
            while !over.load(SeqCst) {
                let asked = Instant::now();
                let said = ask(address, &text);
                let turn = Turn { asked, answered: Instant::now(), said };
                {
                    let mut longest = most.lock().unwrap();
                    *longest = turn.answered.duration_since(asked).max(*longest);
                }
                noted.lock().unwrap().push(turn);
                std::thread::sleep(EVERY);
            }
        });
        Watch { stop, turns, longest, thread: Some(thread) }
    }

    /// Forgets what was, and answers the instant from which on it counts.
    pub fn mark(&self) {
        self.turns.lock().unwrap().clear();
        *self.longest.lock().unwrap() = Duration::ZERO;
    }

    /// The longest that one of them waited.
    pub fn longest(&self) -> Duration {
        *self.longest.lock().unwrap()
    }

    /// What was answered to who asked since then.
    fn since(&self, mark: Instant) -> Vec<Turn> {
        let all = self.turns.lock().unwrap();
        all.iter().filter(|turn| turn.asked >= mark).cloned().collect()
    }

    /// All kinds of answers since then.
    pub fn kinds(&self, mark: Instant) -> Vec<Said> {
        let mut all: Vec<Said> = self.since(mark).into_iter().map(|turn| turn.said).collect();
        all.sort();
        all.dedup();
        all
    }

    /// How many were answered since then.
    pub fn count(&self, mark: Instant) -> usize {
        self.since(mark).len()
    }

    /// Waits until whoever asks from now on is answered so; how long after the mark that was.
    #[track_caller]
    pub fn until(&self, what: &str, mark: Instant, is: impl Fn(&Said) -> bool) -> Duration {
        let (now, mut found) = (Instant::now().max(mark), None);
        while found.is_none() {
            assert!(now.elapsed() < SOON, "not in time: {what}; {}", self.told(mark, Instant::now()));
            std::thread::sleep(Duration::from_millis(1));
            found = self.since(now).into_iter().find(|turn| is(&turn.said));
        }
        // It may have been so before it was asked for.
        let found = found.unwrap();
        let all = self.since(mark);
        let before = all.iter().rposition(|turn| turn.asked < found.asked && !is(&turn.said));
        let first = all.get(before.map_or(0, |before| before + 1)).unwrap_or(&found);
        first.answered.duration_since(mark)
    }

    /// Waits until somebody who asked since the mark was answered so, also where it is over by now; how long after the mark that was.
    #[track_caller]
    pub fn was(&self, what: &str, mark: Instant, is: impl Fn(&Said) -> bool) -> Duration {
        let begun = Instant::now();
        loop {
            if let Some(turn) = self.since(mark).into_iter().find(|turn| is(&turn.said)) {
                return turn.answered.duration_since(mark);
            }
            assert!(begun.elapsed() < SOON, "not in time: {what}; {}", self.told(mark, Instant::now()));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What was answered between these, in words: each kind in a row with when it began.
    pub fn told(&self, mark: Instant, end: Instant) -> String {
        let (mut text, mut last) = (String::new(), None::<Said>);
        let mut changes = 0;
        let mut all = self.since(mark);
        all.retain(|turn| turn.answered < end);
        for turn in &all {
            if last.as_ref() == Some(&turn.said) {
                continue;
            }
            changes += 1;
            if changes > 4 {
                continue;
            }
            let after = turn.answered.duration_since(mark).as_secs_f64();
            let _ = match &last {
                None => write!(text, "{}", turn.said),
                Some(_) => write!(text, ", after {after:.1} s {}", turn.said),
            };
            last = Some(turn.said.clone());
        }
        if changes > 4 {
            let (bad, count) = (all.iter().filter(|turn| turn.said.status != 200).count(), all.len());
            let _ = write!(text, ", … ({bad} of {count} were no 200)");
        }
        text
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
