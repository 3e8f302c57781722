//! The audit ledger: what happened, provably.
//!
//! A ledger is a directory of JSON lines, one event a line, which is also an RFC 6962 Merkle tree with signed
//! checkpoints; `docs/ledger-format.md` is its format. Here live the writer ([`journal`]), the reader ([`read`]),
//! the verifier ([`verify`]), what of it is a tenant's own ([`own`]), and what they share. Never here: what an event *means* (callers hand over their own
//! structs), who may read it, the store, and any clock.

pub mod body;
pub mod journal;
pub mod note;
pub mod open;
pub mod own;
pub mod read;
pub mod record;
pub mod tree;
pub mod verify;

pub use body::Body;
pub use journal::{AppendError, Class, Draft, Journal, OpenError, Options, Personal, Receipt, Recovered};
pub use note::{SigningKey, VerifyingKey};
