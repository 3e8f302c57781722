//! What can be wrong with a server of a store in Redis: a code, and what to do about it.
//!
//! Never here: which words of a server mean what ([`super::redis`]).

/// Why a server of a store in Redis does not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerFault {
    /// It cannot be reached, or the connection broke.
    Unreachable,
    /// It did not answer in time.
    TimedOut,
    /// Fewer copies than a majority confirmed.
    Unconfirmed,
    /// It has no memory.
    OutOfMemory,
    /// It is a replica.
    ReadOnly,
    /// Its certificate is not to be trusted, or ours is not to it.
    Tls,
    /// It does not know us.
    Password,
    /// It does not let us.
    Permission,
    /// It has just started.
    Loading,
    /// It is a replica that lost its primary.
    NoPrimary,
    /// Somebody's script runs.
    ScriptBusy,
    /// It cannot write to its disk.
    CannotPersist,
    /// It has fewer replicas than it was told to have.
    FewReplicas,
    /// Its Cluster is not whole.
    ClusterDown,
    /// The keys are another server's.
    Moved,
    /// The keys are on their way to another server.
    Moving,
    /// Nobody knows which one is the primary.
    Unknown,
    /// It contradicts what was seen, and no majority stands behind it.
    Outdated,
    /// Something else lies under a key of ours.
    WrongType,
    /// Something else.
    Refused,
    /// Its answer makes no sense.
    Answer,
}

impl ServerFault {
    /// All of them.
    pub const ALL: [ServerFault; 21] = [
        ServerFault::Unreachable,
        ServerFault::TimedOut,
        ServerFault::Unconfirmed,
        ServerFault::OutOfMemory,
        ServerFault::ReadOnly,
        ServerFault::Tls,
        ServerFault::Password,
        ServerFault::Permission,
        ServerFault::Loading,
        ServerFault::NoPrimary,
        ServerFault::ScriptBusy,
        ServerFault::CannotPersist,
        ServerFault::FewReplicas,
        ServerFault::ClusterDown,
        ServerFault::Moved,
        ServerFault::Moving,
        ServerFault::Unknown,
        ServerFault::Outdated,
        ServerFault::WrongType,
        ServerFault::Refused,
        ServerFault::Answer,
    ];

    /// A stable code.
    pub fn code(self) -> &'static str {
        match self {
            ServerFault::Unreachable => "store_unreachable",
            ServerFault::TimedOut => "store_timed_out",
            ServerFault::Unconfirmed => "store_unconfirmed",
            ServerFault::OutOfMemory => "store_out_of_memory",
            ServerFault::ReadOnly => "store_read_only",
            ServerFault::Tls => "store_tls",
            ServerFault::Password => "store_password",
            ServerFault::Permission => "store_permission",
            ServerFault::Loading => "store_loading",
            ServerFault::NoPrimary => "store_no_primary",
            ServerFault::ScriptBusy => "store_script_busy",
            ServerFault::CannotPersist => "store_cannot_persist",
            ServerFault::FewReplicas => "store_few_replicas",
            ServerFault::ClusterDown => "store_cluster_down",
            ServerFault::Moved => "store_moved",
            ServerFault::Moving => "store_moving",
            ServerFault::Unknown => "store_primary_unknown",
            ServerFault::Outdated => "store_outdated",
            ServerFault::WrongType => "store_wrong_type",
            ServerFault::Refused => "store_refused",
            ServerFault::Answer => "store_answer",
        }
    }

    pub(super) fn what(self) -> &'static str {
        match self {
            ServerFault::Unreachable => "cannot be reached",
            ServerFault::TimedOut => "does not answer in time",
            ServerFault::Unconfirmed => "was not confirmed by a majority of the copies",
            ServerFault::OutOfMemory => "has no memory left",
            ServerFault::ReadOnly => "is a replica and takes no writes",
            ServerFault::Tls => "and we do not trust each other by TLS",
            ServerFault::Password => "does not accept who we are",
            ServerFault::Permission => "does not let us",
            ServerFault::Loading => "is still loading its data",
            ServerFault::NoPrimary => "is a replica that lost its primary",
            ServerFault::ScriptBusy => "is held up by a script",
            ServerFault::CannotPersist => "cannot write to its disk and takes no writes",
            ServerFault::FewReplicas => "has fewer replicas than it asks for",
            ServerFault::ClusterDown => "says that its Cluster is not whole",
            ServerFault::Moved => "does not hold these keys",
            ServerFault::Moving => "is handing these keys to another",
            ServerFault::Unknown => "has to be its primary, and nobody says which",
            ServerFault::Outdated => "contradicts what was seen, and no majority stands behind it",
            ServerFault::WrongType => "holds something else under a key of ours",
            ServerFault::Refused => "refuses it",
            ServerFault::Answer => "gave an answer that makes no sense",
        }
    }

    pub(super) fn remedy(self) -> &'static str {
        match self {
            ServerFault::Unreachable | ServerFault::TimedOut => {
                "see that it runs and can be reached from here, it is tried again by itself"
            }
            ServerFault::Unconfirmed => {
                "bring its replicas back, or correct `copies`; it is tried again by itself"
            }
            ServerFault::OutOfMemory => {
                "raise its `maxmemory`, with the policy `noeviction`; it is tried again by itself"
            }
            ServerFault::ReadOnly => {
                "name the primary or the Sentinels; after a fail-over it is found by itself"
            }
            ServerFault::Tls => {
                "correct the authority, the server's name in its certificate, or the gateway's certificate"
            }
            ServerFault::Password => "correct the store's user and password",
            ServerFault::Permission => "give the store's user the rights that docs/operations.md lists",
            ServerFault::Loading => "wait, it is tried again by itself",
            ServerFault::NoPrimary => "bring its primary back or promote it; it is tried again by itself",
            ServerFault::ScriptBusy => "end the script with `SCRIPT KILL`, and keep others off this server",
            ServerFault::CannotPersist => "free or repair its disk; it is tried again by itself",
            ServerFault::FewReplicas => "bring its replicas back; it is tried again by itself",
            ServerFault::ClusterDown => "bring its masters back; it is tried again by itself",
            ServerFault::Moved => {
                "name it as a Cluster if it is one; after a move the keys are found by themselves"
            }
            ServerFault::Moving => "wait, it is tried again by itself",
            ServerFault::Unknown => {
                "bring enough Sentinels or servers of the Cluster back, or correct their addresses; it is asked again by itself"
            }
            ServerFault::Outdated => {
                "bring its replicas back, or end it if another is the primary; it is tried again by itself"
            }
            ServerFault::WrongType => "give the store a prefix or a server of its own, and rebuild it",
            ServerFault::Refused => "see what it says; Redis 6.2 or later, or Valkey, is needed",
            ServerFault::Answer => {
                "see that it is Redis 6.2 or later, or Valkey, and nothing between changes answers"
            }
        }
    }
}
