//! What has to be known to reach a store in Redis.
//!
//! Never here: how it is written in the configuration ([`crate::config`]), how connections are held ([`super::links`]).

use std::{fmt, time::Duration};

/// How many parts a store in Redis has (decision 0024). A store keeps the number that it was made with.
pub const PARTS: u16 = 64;

/// What a store's keys begin with where nothing else is said.
pub const PREFIX: &str = "postern";

/// One server: a host name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A host name or an address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Which servers hold the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Servers {
    /// This one holds all parts.
    One(Address),
    /// The primary that a majority of these Sentinels names holds all parts.
    Sentinel {
        /// What the Sentinels call it.
        name: String,
        /// The Sentinels.
        addresses: Vec<Address>,
    },
    /// A Cluster, found by any of these.
    Cluster(Vec<Address>),
}

/// How servers prove who they are, and we to them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Certificates that vouch for the servers, as PEM; where there are none, those of the host do.
    pub roots: Option<Vec<u8>>,
    /// Our own certificate and its key, as PEM, where the servers ask for them.
    pub own: Option<(Vec<u8>, zeroize::Zeroizing<Vec<u8>>)>,
}

/// How long change ids and lines are kept, and how long the change feed: each until both are exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// At least so many changes of each part.
    pub changes: u64,
    /// And at least so long, in milliseconds between the instants that came in with the commits.
    pub ms: i64,
    /// Of the feed, which holds whole documents, at least so many changes of each part; no more than `changes`.
    pub feed: u64,
    /// And at least so long, in milliseconds; no longer than `ms`.
    pub feed_ms: i64,
}

impl Default for Kept {
    fn default() -> Self {
        const DAY: i64 = 24 * 60 * 60 * 1000;
        Self { changes: 10_000, ms: 7 * DAY, feed: 1_000, feed_ms: DAY }
    }
}

/// What has to be known to reach a store in Redis.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// Where it is.
    pub servers: Servers,
    /// TLS towards all of them; none: in the clear.
    pub tls: Option<Tls>,
    /// Who we are to them; none: the default user.
    pub user: Option<String>,
    /// The password.
    pub password: Option<zeroize::Zeroizing<String>>,
    /// Who we are to Sentinels, with the password; none: nobody, and where they insist, whoever we are to the servers.
    pub guide: Option<(Option<String>, zeroize::Zeroizing<String>)>,
    /// Which database of a server; a Cluster has only 0.
    pub database: u32,
    /// How many servers hold a copy of each part, the primary counted. A majority of them has to confirm what is acknowledged.
    pub copies: u32,
    /// What all keys begin with.
    pub prefix: String,
    /// How many parts there are; [`PARTS`] but for tests.
    pub parts: u16,
    /// What is kept how long.
    pub kept: Kept,
    /// How long a command may take before it counts as failed.
    pub timeout: Duration,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How often a gateway beats (decision 0025).
    pub beat: Duration,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, user, database, copies, prefix, parts, .. } = self;
        f.debug_struct("Options")
            .field("servers", servers)
            .field("tls", &self.tls.is_some())
            .field("user", user)
            .field("database", database)
            .field("copies", copies)
            .field("prefix", prefix)
            .field("parts", parts)
            .finish_non_exhaustive()
    }
}

/// What is wrong with options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsFault {
    /// A prefix that keys cannot have.
    #[error(
        "the prefix `{0}` cannot be used; take 1 to 64 letters, digits, `.`, `_`, `-` or `:`, which Redis does not read itself"
    )]
    Prefix(String),
    /// No copies, or too many.
    #[error("{0} copies cannot be; say how many servers hold the data, the primary counted, from 1 to 9")]
    Copies(u32),
    /// A database of a Cluster.
    #[error("a Cluster has no database {0}; leave it out")]
    Database(u32),
    /// Nothing to ask.
    #[error("no server is named; name at least one")]
    Nobody,
    /// A number of parts that names have no room for.
    #[error("{0} parts cannot be; take 1 to 64")]
    Parts(u16),
}

impl Options {
    /// The options for these servers, all else as it is by default.
    pub fn new(servers: Servers) -> Self {
        Self {
            servers,
            tls: None,
            user: None,
            password: None,
            guide: None,
            database: 0,
            copies: 1,
            prefix: PREFIX.to_owned(),
            parts: PARTS,
            kept: Kept::default(),
            timeout: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(1),
            beat: Duration::from_millis(200),
        }
    }

    /// Whether they can be used at all.
    pub fn check(&self) -> Result<(), OptionsFault> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':');
        if !(1..=64).contains(&self.prefix.len()) || !self.prefix.bytes().all(plain) {
            return Err(OptionsFault::Prefix(self.prefix.clone()));
        }
        if !(1..=9).contains(&self.copies) {
            return Err(OptionsFault::Copies(self.copies));
        }
        if !(1..=PARTS).contains(&self.parts) {
            return Err(OptionsFault::Parts(self.parts));
        }
        match &self.servers {
            Servers::Cluster(_) if self.database != 0 => Err(OptionsFault::Database(self.database)),
            Servers::Cluster(addresses) | Servers::Sentinel { addresses, .. } if addresses.is_empty() => {
                Err(OptionsFault::Nobody)
            }
            Servers::One(_) | Servers::Sentinel { .. } | Servers::Cluster(_) => Ok(()),
        }
    }

    /// How many servers beside the primary make a majority of the copies.
    pub fn wait(&self) -> u32 {
        self.copies / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options::new(Servers::One(Address { host: "::1".into(), port: 6379 }))
    }

    #[test]
    fn a_majority_counts_the_primary() {
        let waits = [1, 2, 3, 4, 5].map(|copies| Options { copies, ..options() }.wait());
        assert_eq!(waits, [0, 1, 1, 2, 2]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(options().check(), Ok(()));
        for prefix in ["", "a{b}", "a b", "é"] {
            let refused = Options { prefix: prefix.into(), ..options() }.check();
            assert_eq!(refused, Err(OptionsFault::Prefix(prefix.into())));
        }
        assert_eq!(Options { copies: 0, ..options() }.check(), Err(OptionsFault::Copies(0)));
        assert_eq!(Options { parts: 65, ..options() }.check(), Err(OptionsFault::Parts(65)));
        let cluster = Options { servers: Servers::Cluster(Vec::new()), ..options() };
        assert_eq!(cluster.check(), Err(OptionsFault::Nobody));
        let cluster = Options { database: 1, ..cluster };
        assert_eq!(cluster.check(), Err(OptionsFault::Database(1)));
    }

    #[test]
    fn no_password_is_printed() {
        let secret = || zeroize::Zeroizing::new("geheim".to_owned());
        let options = Options { password: Some(secret()), guide: Some((None, secret())), ..options() };
        assert!(!format!("{options:?}").contains("geheim"));
        let Servers::One(address) = options.servers else { panic!() };
        assert_eq!(address.to_string(), "[::1]:6379");
    }
}
