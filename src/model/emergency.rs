//! What an emergency token says: who may enter which tenant without its consent, why and until when, where no store can be asked.
//!
//! Never here: whether it was signed (that is `identity`), whether it counts ([`crate::policy::alone`]).

use std::sync::Arc;

use super::{EnvironmentId, Glass, SessionId, SubjectRef, TenantId, Timestamp};

/// What every token's id begins with; no session in a store has such an id.
pub const EMERGENCY_PREFIX: &str = "emg_";

/// A public key of the vendor's emergency authority.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EmergencyKey {
    /// Its `kid`: names it in tokens and records.
    pub kid: Arc<str>,
    /// All of it, as a JSON web key. Another key of the same name is another key.
    pub jwk: Arc<str>,
}

/// A token that was signed by such a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmergencyToken {
    /// Its `jti`, by which what is done with it is called a session.
    pub id: SessionId,
    /// Who signed.
    pub by: EmergencyKey,
    /// For which gateways it was made.
    pub audience: Arc<str>,
    /// Who may use it.
    pub operator: SubjectRef,
    /// Which tenant it opens.
    pub tenant: TenantId,
    /// Which of its environments; `None` is each.
    pub environment: Option<EnvironmentId>,
    /// What was declared.
    pub glass: Glass,
    /// When it was made.
    pub issued: Timestamp,
    /// The first instant at which it no longer counts.
    pub ends: Timestamp,
}
