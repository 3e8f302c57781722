//! A wire to a server of a test's own, which can be slowed, held, closed, and led to another server.
//!
//! Never here: when that is done.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Passes,
    /// Each answer comes so much later.
    Late(Duration),
    /// Each answer comes so much later, but for what is pushed.
    LateAnswers(Duration),
    /// Connections stay open, new ones are taken, and nothing passes: a partition.
    Held,
    /// There are no connections, and none lasts.
    Closed,
}

struct State {
    how: How,
    target: u16,
    /// Counts what ends all connections there are.
    life: u64,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    over: AtomicBool,
}

/// See the module's header.
pub struct Wire {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Wire {
    pub fn to(target: u16) -> Wire {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Mutex::new(State { how: How::Passes, target, life: 0 });
        let shared = Arc::new(Shared { state, changed: Condvar::new(), over: AtomicBool::new(false) });
        let taking = Arc::clone(&shared);
        std::thread::spawn(move || {
            for here in listener.incoming() {
                if taking.over.load(SeqCst) {
                    return;
                }
                let Ok(here) = here else { continue };
                let (how, target, life) = {
                    let state = taking.state.lock().unwrap();
                    (state.how, state.target, state.life)
                };
                if how == How::Closed {
                    continue;
                }
                let Ok(there) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let (back, forth) = (there.try_clone().unwrap(), here.try_clone().unwrap());
                let hears = Arc::new(AtomicBool::new(false));
                for (from, to, answers) in [(here, there, false), (back, forth, true)] {
                    let (shared, hears) = (Arc::clone(&taking), Arc::clone(&hears));
                    std::thread::spawn(move || {
                        // Looks up now and then whether it is over.
                        let _ = from.set_read_timeout(Some(Duration::from_millis(20)));
                        let _ = to.set_nodelay(true);
                        pump(&shared, life, answers, &hears, &from, &to);
                        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                    });
                }
            }
        });
        Wire { port, shared }
    }

    pub fn set(&self, how: How) {
        let mut state = self.shared.state.lock().unwrap();
        state.how = how;
        if how == How::Closed {
            state.life += 1;
        }
        self.shared.changed.notify_all();
    }

    /// Leads to another server from now on; what is open ends.
    pub fn lead(&self, target: u16) {
        let mut state = self.shared.state.lock().unwrap();
        state.target = target;
        state.life += 1;
        self.shared.changed.notify_all();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.over.store(true, SeqCst);
        self.shared.state.lock().unwrap().life += 1;
        self.shared.changed.notify_all();
        // Wakes whoever takes connections, to find that it is over.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Whether a connection of this life goes on, once it may: where it is held, that is waited for.
fn goes_on(shared: &Shared, life: u64, answers: bool, hears: bool) -> bool {
    let come = Instant::now();
    let mut state = shared.state.lock().unwrap();
    loop {
        if state.life != life {
            return false;
        }
        let left = match state.how {
            How::Passes => return true,
            How::Late(_) | How::LateAnswers(_) if !answers => return true,
            How::LateAnswers(_) if hears => return true,
            How::Late(by) | How::LateAnswers(by) => match by.checked_sub(come.elapsed()) {
                Some(left) if !left.is_zero() => left,
                _ => return true,
            },
            How::Held | How::Closed => Duration::from_secs(3600),
        };
        state = shared.changed.wait_timeout(state, left).unwrap().0;
    }
}

fn pump(
    shared: &Shared,
    life: u64,
    answers: bool,
    hears: &AtomicBool,
    mut from: &TcpStream,
    mut to: &TcpStream,
) {
    let mut bytes = [0; 16 << 10];
    loop {
        let count = match from.read(&mut bytes) {
            Ok(0) => return,
            Ok(count) => count,
            Err(fault)
                if matches!(fault.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                if shared.state.lock().unwrap().life != life {
                    return;
                }
                continue;
            }
            Err(_) => return,
        };
        // Whoever subscribed is told what is pushed.
        if !answers && bytes[..count].windows(9).any(|word| word.eq_ignore_ascii_case(b"SUBSCRIBE")) {
            hears.store(true, SeqCst);
        }
        if !goes_on(shared, life, answers, hears.load(SeqCst)) || to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}
