//! Why a gateway of the fleet did not answer, or is not believed: a closed list with stable words, for the log and for metrics. What a
//! tenant learns is that its part is missing.

/// Why what a gateway's ledger holds is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// Its address cannot be used.
    #[error("its address is no `host:port` whose host a certificate could bear")]
    Address,
    /// Nobody takes a connection there.
    #[error("no connection: {0}")]
    Connect(String),
    /// The handshake failed: its certificate is not of the fleet's authority, not for its address, or not valid; or ours is not.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The connection broke, or what came is no HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// It took longer than `fleet.timeout`.
    #[error("it took longer than `fleet.timeout`")]
    Slow,
    /// It refused.
    #[error("it answered {0}")]
    Refused(u16),
    /// It answered more than a page can be.
    #[error("it answered more than a page can be")]
    Huge,
    /// What it answered cannot be read, or contradicts itself.
    #[error("what it answered cannot be used: {0}")]
    Malformed(&'static str),
    /// Another gateway than the store names stands at its address.
    #[error("another gateway answers at its address")]
    OtherGateway,
    /// It names a log that is another gateway's.
    #[error("it names a log that is another gateway's")]
    OtherLog,
    /// It answered records that were not asked for: another tenant's, or outside of the filter.
    #[error("it answered records that were not asked for; all that it answered is dropped")]
    NotAsked,
}

impl PeerFault {
    /// Stable words, all of them: `answered` is none.
    pub(super) const CODES: &'static [&'static str] = &[
        "address",
        "connect",
        "tls",
        "broken",
        "slow",
        "refused",
        "huge",
        "malformed",
        "other_gateway",
        "other_log",
        "not_asked",
    ];

    /// A stable word.
    pub fn code(&self) -> &'static str {
        match self {
            PeerFault::Address => "address",
            PeerFault::Connect(_) => "connect",
            PeerFault::Tls(_) => "tls",
            PeerFault::Broken(_) => "broken",
            PeerFault::Slow => "slow",
            PeerFault::Refused(_) => "refused",
            PeerFault::Huge => "huge",
            PeerFault::Malformed(_) => "malformed",
            PeerFault::OtherGateway => "other_gateway",
            PeerFault::OtherLog => "other_log",
            PeerFault::NotAsked => "not_asked",
        }
    }
}
