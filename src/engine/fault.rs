//! Why an access that nobody refused does not happen: the gateway cannot do its part of it.
//!
//! Never here: refusals; those are values of [`decide`](mod@crate::policy::decide).

use crate::audit::journal::AppendError;

/// Why the gateway cannot do its part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No record, no access (law 1).
    #[error("the record cannot be written, so the access does not happen: {0}")]
    Ledger(#[from] AppendError),
    /// What an earlier life left open is not settled yet.
    #[error("the gateway is still settling what it left open when it stopped; try again in a moment")]
    Settling,
    /// The store has the layout of a newer build.
    #[error(
        "a newer version of postern runs on the store, and this gateway cannot read it; its operator must upgrade it"
    )]
    StoreNewer,
    /// Another process goes by this gateway's name.
    #[error(
        "another process goes by this gateway's name, so it serves no staff; its operator must give it another"
    )]
    NameTaken,
    /// The rules asked for more documents than any request needs, or no random bytes were to be had.
    #[error("the gateway could not come to a decision")]
    Undecided,
}

impl Fault {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::Ledger(fault) => fault.code(),
            Fault::Settling => "settling",
            Fault::StoreNewer => "store_newer",
            Fault::NameTaken => "gateway_name_taken",
            Fault::Undecided => "undecided",
        }
    }
}
