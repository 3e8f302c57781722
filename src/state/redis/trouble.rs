//! What can be the matter with a server of the store, or with what it answered. Each kind has a stable code and says what to do.
//!
//! Never here: what a caller of the gateway is answered then.

use std::fmt;

use redis::{ErrorKind, RedisError};

use crate::state::StoreFault;

/// The kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No connection yet since the start.
    Starting,
    /// Nobody listens there, or the name is not known.
    Unreachable,
    /// No answer in time.
    Late,
    /// The connection ended.
    Lost,
    /// Its certificate is not to be trusted, or ours is not to it.
    Tls,
    /// User or password is wrong.
    Login,
    /// The user may not do that.
    Permission,
    /// It is a replica.
    Replica,
    /// Another server has this part now.
    Moved,
    /// The part is on its way to another server.
    Moving,
    /// The Cluster does not serve, or its primary is gone.
    Down,
    /// It reads its data from disk.
    Loading,
    /// It has no memory left.
    Full,
    /// A script keeps it busy.
    Busy,
    /// It cannot write to its own disk.
    CannotSave,
    /// It has fewer replicas than its own settings ask for.
    FewReplicas,
    /// Its version is too old.
    Version,
    /// No server is known to be the primary.
    NoPrimary,
    /// It contradicts what was seen, and no majority stands behind it.
    Outdated,
    /// The gateway is stopping.
    Closed,
    /// Anything else.
    Other,
}

impl Kind {
    /// A stable code.
    pub fn code(self) -> &'static str {
        match self {
            Kind::Starting => "redis_starting",
            Kind::Unreachable => "redis_unreachable",
            Kind::Late => "redis_late",
            Kind::Lost => "redis_connection_lost",
            Kind::Tls => "redis_tls",
            Kind::Login => "redis_login_refused",
            Kind::Permission => "redis_not_permitted",
            Kind::Replica => "redis_replica",
            Kind::Moved => "redis_moved",
            Kind::Moving => "redis_moving",
            Kind::Down => "redis_cluster_down",
            Kind::Loading => "redis_loading",
            Kind::Full => "redis_out_of_memory",
            Kind::Busy => "redis_busy",
            Kind::CannotSave => "redis_cannot_save",
            Kind::FewReplicas => "redis_few_replicas",
            Kind::Version => "redis_version",
            Kind::NoPrimary => "redis_no_primary",
            Kind::Outdated => "redis_outdated",
            Kind::Closed => "redis_closed",
            Kind::Other => "redis_failed",
        }
    }

    /// What to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Kind::Starting => "wait, it is being connected to",
            Kind::Unreachable => "start the server, or correct its address",
            Kind::Late => "look for what keeps the server or the network slow",
            Kind::Lost => "look at the server's log for why it closed",
            Kind::Tls => "correct the authority, the certificate or the server's name",
            Kind::Login => "correct user and password",
            Kind::Permission => "allow the user what the guide lists",
            Kind::Replica => "name the primary, or the Sentinels that know it",
            Kind::Moved | Kind::Moving => "wait until its new server is found",
            Kind::Down => "bring the missing servers of the Cluster back",
            Kind::Loading => "wait until it has read its data",
            Kind::Full => "give the server more memory; it must not evict",
            Kind::Busy => "end the script that keeps it busy",
            Kind::CannotSave => "free or repair the server's disk",
            Kind::FewReplicas => "bring its replicas back",
            Kind::Version => "use Redis 6.2, 7 or Valkey 8",
            Kind::NoPrimary => "bring enough Sentinels or servers back, or correct their names",
            Kind::Outdated => "bring the replicas back, or end the old primary",
            Kind::Closed => "start the gateway again",
            Kind::Other => "look at the server's log",
        }
    }

    /// Whether the connection is of no use any more, so that the primary has to be looked for anew.
    pub fn ends_link(self) -> bool {
        match self {
            Kind::Permission
            | Kind::Moving
            | Kind::Full
            | Kind::Busy
            | Kind::CannotSave
            | Kind::FewReplicas
            | Kind::Other => false,
            Kind::Starting
            | Kind::Unreachable
            | Kind::Late
            | Kind::Lost
            | Kind::Tls
            | Kind::Login
            | Kind::Replica
            | Kind::Moved
            | Kind::Down
            | Kind::Loading
            | Kind::Version
            | Kind::NoPrimary
            | Kind::Outdated
            | Kind::Closed => true,
        }
    }
}

/// A kind with its particulars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Which kind.
    pub kind: Kind,
    /// The particulars, one line.
    pub detail: String,
}

impl Trouble {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let detail: String = detail.into();
        Self { kind, detail: detail.replace(['\n', '\r'], " ") }
    }

    /// The same, of a named server.
    pub(crate) fn of(self, address: &super::options::Address) -> Self {
        Self { kind: self.kind, detail: format!("redis `{address}`: {}", self.detail) }
    }

    /// Whether what was asked may have been done all the same: it was sent, and no answer came.
    pub fn ambiguous(&self) -> bool {
        matches!(self.kind, Kind::Late | Kind::Lost)
    }

    /// Whether a server no longer knows a script that it was told: somebody has flushed them.
    pub(crate) fn unknown_script(&self) -> bool {
        self.detail.starts_with("NOSCRIPT")
    }

    /// By the code that a server puts before its words, which is inside the words where a script of Redis 6 failed.
    pub(crate) fn from_server(code: &str, words: &str) -> Self {
        let inner = words.split_whitespace().filter_map(|word| word.strip_prefix('-')).find_map(kind_of);
        let kind = kind_of(code).or(if code == "ERR" { inner } else { None }).unwrap_or(Kind::Other);
        Trouble::new(kind, format!("{code} {words}"))
    }
}

fn kind_of(code: &str) -> Option<Kind> {
    Some(match code {
        "WRONGPASS" | "NOAUTH" => Kind::Login,
        "NOPERM" => Kind::Permission,
        "READONLY" => Kind::Replica,
        "MOVED" => Kind::Moved,
        "ASK" | "TRYAGAIN" => Kind::Moving,
        "CLUSTERDOWN" | "MASTERDOWN" => Kind::Down,
        "LOADING" => Kind::Loading,
        "OOM" => Kind::Full,
        "BUSY" => Kind::Busy,
        "MISCONF" => Kind::CannotSave,
        "NOREPLICAS" => Kind::FewReplicas,
        _ => return None,
    })
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() {
            return Trouble::new(Kind::Late, "no answer in time");
        }
        if error.is_connection_refusal() {
            return Trouble::new(Kind::Unreachable, error.to_string());
        }
        if error.is_io_error() {
            return Trouble::new(Kind::Lost, error.to_string());
        }
        match error.kind() {
            ErrorKind::RESP3NotSupported => Trouble::new(Kind::Version, "it does not speak RESP3"),
            ErrorKind::AuthenticationFailed => Trouble::new(Kind::Login, error.to_string()),
            ErrorKind::Parse => Trouble::new(Kind::Lost, format!("what it sends is not RESP ({error})")),
            _ => match error.code() {
                Some(code) => Trouble::from_server(code, error.detail().unwrap_or_default()),
                None => Trouble::new(Kind::Other, error.to_string()),
            },
        }
    }
}

impl From<Trouble> for StoreFault {
    fn from(trouble: Trouble) -> Self {
        match trouble.kind {
            Kind::Closed => StoreFault::Closed,
            _ => StoreFault::Unavailable { detail: trouble.to_string() },
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.detail, self.kind.advice())
    }
}

impl std::error::Error for Trouble {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say_is_told_apart_by_its_code() {
        for (code, kind, ends) in [
            ("READONLY", Kind::Replica, true),
            ("MOVED", Kind::Moved, true),
            ("CLUSTERDOWN", Kind::Down, true),
            ("LOADING", Kind::Loading, true),
            ("WRONGPASS", Kind::Login, true),
            ("OOM", Kind::Full, false),
            ("MISCONF", Kind::CannotSave, false),
            ("BUSY", Kind::Busy, false),
            ("NOPERM", Kind::Permission, false),
            ("ERR", Kind::Other, false),
        ] {
            let trouble = Trouble::from_server(code, "some -words");
            assert_eq!((trouble.kind, trouble.kind.ends_link()), (kind, ends), "{code}");
            assert!(trouble.to_string().contains(';'), "{trouble}");
        }
    }

    #[test]
    fn a_script_of_redis_6_hides_the_code_in_its_words() {
        let words = "Error running script (call to f_1): @user_script:1: -READONLY You can't write against a read only replica.";
        assert_eq!(Trouble::from_server("ERR", words).kind, Kind::Replica);
        let words = "Error running script (call to f_1): @user_script:1: -OOM command not allowed";
        assert_eq!(Trouble::from_server("ERR", words).kind, Kind::Full);
    }

    #[test]
    fn a_connection_that_ended_is_lost_and_what_was_sent_may_have_been_done() {
        let lost = Trouble::from(RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe)));
        assert_eq!((lost.kind, lost.ambiguous()), (Kind::Lost, true));
        let late = Trouble::from(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)));
        assert_eq!((late.kind, late.ambiguous()), (Kind::Late, true));
        let refused =
            Trouble::from(RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)));
        assert_eq!((refused.kind, refused.ambiguous()), (Kind::Unreachable, false));
        assert_eq!(StoreFault::from(refused).code(), "store_unavailable");
        assert_eq!(StoreFault::from(Trouble::new(Kind::Closed, "")), StoreFault::Closed);
    }
}
