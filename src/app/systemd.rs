//! What systemd hands in and wants to hear: listening sockets that it opened (`LISTEN_FDS`), and words about the state
//! of the service (`NOTIFY_SOCKET`).
//!
//! A socket that is handed in outlives the process: across a restart the kernel keeps taking connections, and nobody is
//! refused. It is one socket, so all cores take from one queue: each new connection wakes every idle core, one of them
//! gets it, and which one is chance rather than a hash. Sockets of our own, one a core (`SO_REUSEPORT`), cost less at
//! very high rates of new connections; connections that stay open do not notice.
//!
//! Never here: what is served on a socket.

use std::{
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::{Domain, Socket, Type};

/// The first descriptor that is handed in (`sd_listen_fds(3)`).
const FIRST: i32 = 3;
/// More than this is no list of sockets.
const MOST: i32 = 16;

/// Why sockets that were handed in are not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PassedFault {
    /// The variables contradict themselves.
    #[error("`{name}` is `{value}`, which is no number of sockets; start the gateway by its socket unit")]
    Malformed {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
    },
    /// There are other sockets than the gateway has uses for.
    #[error(
        "{0}; hand in one socket for requests and at most one for operations, named by `FileDescriptorName=proxy` and `=operations`"
    )]
    Unclear(String),
    /// The descriptor cannot be taken.
    #[error("the socket `{name}` that was handed in cannot be used: {why}")]
    Unusable {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        why: String,
    },
}

/// Numbers of the sockets that were handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// For requests.
    pub proxy: Option<i32>,
    /// For operations.
    pub operations: Option<i32>,
}

/// Reads what was handed in to this process; `variable` is its environment. Nothing where there is nothing, or where it
/// was meant for another process.
///
/// # Errors
/// [`PassedFault`] where the variables make no sense.
pub fn passed(pid: u32, variable: impl Fn(&str) -> Option<String>) -> Result<Passed, PassedFault> {
    let (Some(meant), Some(count)) = (variable("LISTEN_PID"), variable("LISTEN_FDS")) else {
        return Ok(Passed::default());
    };
    let malformed =
        |name, value: &str| PassedFault::Malformed { name, value: value.chars().take(40).collect() };
    let meant: u32 = meant.parse().map_err(|_| malformed("LISTEN_PID", &meant))?;
    if meant != pid {
        return Ok(Passed::default());
    }
    let number: i32 = count.parse().map_err(|_| malformed("LISTEN_FDS", &count))?;
    if !(0..=MOST).contains(&number) {
        return Err(malformed("LISTEN_FDS", &count));
    }
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut passed = Passed::default();
    for at in 0..number {
        // A unit that names nothing has its sockets called after itself: then their order says which is which.
        let place = match (names.next().unwrap_or_default(), at) {
            ("proxy", _) => &mut passed.proxy,
            ("operations", _) => &mut passed.operations,
            (_, 0) if number <= 2 => &mut passed.proxy,
            (_, 1) if number <= 2 => &mut passed.operations,
            (name, _) => return Err(PassedFault::Unclear(format!("nobody knows what `{name}` is for"))),
        };
        if place.replace(FIRST.saturating_add(at)).is_some() {
            return Err(PassedFault::Unclear("two sockets are for the same".to_owned()));
        }
    }
    if passed.proxy.is_none() && number > 0 {
        return Err(PassedFault::Unclear(
            "there is a socket for operations and none for requests".to_owned(),
        ));
    }
    Ok(passed)
}

/// So many handles on one socket that was handed in. The process asks the kernel for its own descriptor by number: the
/// only way to one without a promise that the compiler cannot check.
pub(super) fn take(name: &'static str, number: i32, times: usize) -> Result<Vec<TcpListener>, PassedFault> {
    let unusable = |why: String| PassedFault::Unusable { name, why };
    let broken = |fault: &dyn std::fmt::Display| unusable(fault.to_string());
    let this = pidfd_open(getpid(), PidfdFlags::empty()).map_err(|fault| broken(&fault))?;
    let mut handles = Vec::with_capacity(times);
    for _ in 0..times.max(1) {
        let handle = pidfd_getfd(&this, number, PidfdGetfdFlags::empty()).map_err(|fault| broken(&fault))?;
        let socket = Socket::from(handle);
        let domain = socket.domain().map_err(|fault| broken(&fault))?;
        let stream = socket.r#type().map_err(|fault| broken(&fault))? == Type::STREAM;
        let listens = socket.is_listener().map_err(|fault| broken(&fault))?;
        if !stream || !listens || !matches!(domain, Domain::IPV4 | Domain::IPV6) {
            return Err(unusable(
                "it is no TCP socket that listens (`ListenStream=`, `Accept=no`)".to_owned(),
            ));
        }
        socket.set_nonblocking(true).map_err(|fault| broken(&fault))?;
        handles.push(socket.into());
    }
    Ok(handles)
}

/// Where words about the service go; nowhere where nobody asked for them.
#[derive(Debug, Default)]
pub struct Notify(Option<SocketAddr>);

impl Notify {
    /// To the socket that `NOTIFY_SOCKET` names: a path, or with a leading `@` a name in the abstract namespace.
    pub fn to(socket: Option<&str>) -> Notify {
        Notify(socket.and_then(|name| match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name).ok(),
            None if name.starts_with('/') => SocketAddr::from_pathname(name).ok(),
            None => None,
        }))
    }

    /// Clients may come.
    pub fn ready(&self) {
        self.say("READY=1\nSTATUS=serving");
    }

    /// The configuration is read again; [`Notify::ready`] follows.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading the configuration"));
    }

    /// A reload is over: what is in force, and whether it is the new one.
    pub fn reloaded(&self, applied: bool) {
        let status =
            if applied { "serving" } else { "serving; the configuration on disk is refused, see the log" };
        self.say(&format!("READY=1\nSTATUS={status}"));
    }

    /// No new requests are taken.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=running requests may end");
    }

    fn say(&self, words: &str) {
        let Some(address) = &self.0 else { return };
        // Nobody is harmed by words that do not arrive, but systemd would wait for them.
        if let Err(fault) =
            UnixDatagram::unbound().and_then(|socket| socket.send_to_addr(words.as_bytes(), address))
        {
            tracing::warn!(%fault, "the service manager was not told");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Passed, PassedFault> {
        passed(42, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn sockets_are_taken_by_name_or_by_their_order() {
        let both = Passed { proxy: Some(3), operations: Some(4) };
        assert_eq!(read(&[("LISTEN_PID", "42"), ("LISTEN_FDS", "2")]), Ok(both));
        let named = [("LISTEN_PID", "42"), ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "operations:proxy")];
        assert_eq!(read(&named), Ok(Passed { proxy: Some(4), operations: Some(3) }));
        let one = [("LISTEN_PID", "42"), ("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "postern.socket")];
        assert_eq!(read(&one), Ok(Passed { proxy: Some(3), operations: None }));
    }

    #[test]
    fn what_is_meant_for_another_process_or_nobody_is_left_alone() {
        assert_eq!(read(&[]), Ok(Passed::default()));
        assert_eq!(read(&[("LISTEN_FDS", "2")]), Ok(Passed::default()));
        assert_eq!(read(&[("LISTEN_PID", "41"), ("LISTEN_FDS", "9999")]), Ok(Passed::default()));
        assert_eq!(read(&[("LISTEN_PID", "42"), ("LISTEN_FDS", "0")]), Ok(Passed::default()));
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_not_guessed() {
        for bad in ["-1", "17", "99999999999", "two", "", "1 "] {
            assert!(read(&[("LISTEN_PID", "42"), ("LISTEN_FDS", bad)]).is_err(), "{bad}");
        }
        assert!(read(&[("LISTEN_PID", "me"), ("LISTEN_FDS", "1")]).is_err());
        for (count, names) in
            [("3", "a:b:c"), ("2", "proxy:proxy"), ("1", "operations"), ("3", "proxy:operations:x")]
        {
            let told = read(&[("LISTEN_PID", "42"), ("LISTEN_FDS", count), ("LISTEN_FDNAMES", names)]);
            assert!(told.is_err(), "{names}");
        }
    }

    #[test]
    fn every_handle_takes_connections_of_the_one_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let handles = take("proxy", listener.as_raw_fd(), 3).unwrap();
        drop(listener);
        for handle in &handles {
            let _client = std::net::TcpStream::connect(address).unwrap();
            handle.set_nonblocking(false).unwrap();
            handle.accept().unwrap();
        }
    }

    #[test]
    fn what_does_not_listen_is_not_taken() {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(matches!(take("proxy", udp.as_raw_fd(), 1), Err(PassedFault::Unusable { .. })));
        let file = tempfile::tempfile().unwrap();
        assert!(matches!(take("proxy", file.as_raw_fd(), 1), Err(PassedFault::Unusable { .. })));
        assert!(matches!(take("proxy", 65_000, 1), Err(PassedFault::Unusable { .. })));
    }

    #[test]
    fn the_manager_hears_each_word_by_path_and_by_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("postern-test-{}", std::process::id());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (hears, notify) in
            [(by_path, Notify::to(path.to_str())), (by_name, Notify::to(Some(&format!("@{name}"))))]
        {
            notify.ready();
            notify.reloading();
            notify.reloaded(false);
            notify.stopping();
            let mut words = Vec::new();
            for _ in 0..4 {
                let mut text = [0; 256];
                let count = hears.recv(&mut text).unwrap();
                words.push(String::from_utf8_lossy(&text[..count]).into_owned());
            }
            assert!(words[0].starts_with("READY=1\n"), "{words:?}");
            assert!(words[1].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{words:?}");
            assert!(words[2].starts_with("READY=1\n") && words[2].contains("refused"), "{words:?}");
            assert!(words[3].starts_with("STOPPING=1\n"), "{words:?}");
        }
        Notify::to(None).ready();
        Notify::to(Some("relative")).ready();
    }
}
