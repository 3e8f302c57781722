//! What gateways of a fleet say to each other, in JSON: who somebody is, what is asked for, what of a ledger there is.
//!
//! A word that is not known is refused: a filter that an older gateway passed over would show what nobody asked for.
//!
//! Never here: sockets, what is believed ([`super::check`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::audit::{
    own::{Filters, Recorded},
    tree::leaf_hash,
};

/// Who are you?
pub(super) const WHO: &str = "/v1/who";
/// A page of what is one tenant's.
pub(super) const PAGE: &str = "/v1/page";
/// The same, and on as it is written: lines for as long as there are.
pub(super) const FOLLOW: &str = "/v1/follow";

/// The most bytes of a question. Sessions of one grant are the only long list in it.
pub(super) const QUESTION: usize = 1 << 20;
/// Bytes of records after which a page has no more.
pub(super) const PAGE_BYTES: usize = 2 << 20;
/// The same for one line of what is followed.
pub(super) const LINE_BYTES: usize = 64 << 10;
/// What the last record of a page may add, and everything around the records.
pub(super) const BEYOND: usize = 2 << 20;
/// The most bytes of an answer that says who somebody is.
pub(super) const WHO_BYTES: usize = 4 << 10;
/// Records of one page, at most.
pub(super) const LIMIT: usize = 1_000;

/// A ledger in few bytes: the beginning of a digest of its log's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mark(pub u64);

impl Mark {
    /// Of a log.
    pub fn of(log: &str) -> Mark {
        let digest = leaf_hash(log.as_bytes()).0;
        Mark(digest.iter().take(8).fold(0, |mark, byte| (mark << 8) | u64::from(*byte)))
    }
}

impl From<Mark> for String {
    fn from(mark: Mark) -> String {
        format!("{:016x}", mark.0)
    }
}

impl TryFrom<String> for Mark {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Mark, &'static str> {
        let mark = u64::from_str_radix(&text, 16).map(Mark).map_err(|_| "no mark of a ledger")?;
        if String::from(mark) == text { Ok(mark) } else { Err("no mark of a ledger") }
    }
}

/// What is asked for, the same of every ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Which records.
    pub filters: Filters,
    /// Of a ledger without a place: from this instant on, in milliseconds since 1970 UTC. None: from its beginning.
    pub begin: Option<i64>,
    /// The record that each ledger is to be looked at from.
    pub places: BTreeMap<Mark, u64>,
    /// Records at most.
    pub limit: usize,
}

/// Who a gateway is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Who {
    pub(super) gateway: String,
    pub(super) log: String,
    pub(super) size: u64,
}

/// What of one ledger there is: a page of it, or a line of what is followed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub(super) gateway: String,
    pub(super) log: String,
    /// Records that were durable when it was looked.
    pub(super) size: u64,
    pub(super) items: Vec<Recorded>,
    /// The record to look at next.
    pub(super) next: u64,
    /// Whether all up to `size` was looked at.
    pub(super) complete: bool,
    /// When the last one was written that was looked at, where not all were.
    pub(super) until: Option<i64>,
}
