//! What the writer keeps in mind about its log: size, tree, last hash, counters of sessions, open intents.
//!
//! All of it can be worked out from a segment's header and the lines behind it. Changes are staged while a batch is
//! put together and kept or taken back as one. Never here: files.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::audit::record::Lead;
use crate::audit::tree::{Frontier, Hash};

/// A session that had no record for this long is no longer counted on; should it appear again, it counts from 1.
const SESSION_MEMORY_MS: i64 = 7 * 86_400_000;

/// The kind of the record by which an operator accepts a clock that is behind the ledger: from it on times are compared
/// with it and what follows, no longer with what stands before.
pub const CLOCK_ACCEPTED: &str = "clock.accepted";

/// How the segment before ended; part of a segment's header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    /// File name of the segment before.
    pub segment: String,
    /// `closed` (nothing lies behind its end), `sealed` (after a fault) or `stopped` (the process ended while writing).
    pub ended: Ended,
    /// How many of its lines belong to the log; what lies behind them does not. Lines, not bytes: erasing personal
    /// values makes lines shorter.
    pub lines: u64,
    /// What failed, for `sealed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// How a segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// Whole: nothing lies behind its end.
    Closed,
    /// By the writer, after a failed write or flush.
    Sealed,
    /// The process ended while it wrote; found so by the next one.
    Stopped,
}

/// An intent without an outcome, as a header tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntentRef {
    /// The id that the record opened.
    pub id: String,
    /// The record's sequence number.
    pub seq: u64,
    /// The record's kind.
    pub kind: String,
    /// The session that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// The members of a segment's header behind the fixed ones: all that is needed to go on from there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The segment's number, which is its file's name.
    pub segment: u64,
    /// The tree before this record: the roots of its perfect subtrees, largest first.
    pub frontier: Vec<Hash>,
    /// How the segment before ended; absent in a log's first segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
    /// The latest time that a record before this one bears, as RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<String>,
    /// Where a clock behind the ledger was accepted: the latest time that a record bears from then on, as RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// The last sequence number of each session that may still have records.
    pub sessions: BTreeMap<String, u64>,
    /// When each of them had its last record, as RFC 3339.
    #[serde(default)]
    pub seen: BTreeMap<String, String>,
    /// The intents that are open.
    pub intents: Vec<IntentRef>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    last: u64,
    at_ms: i64,
    ended: bool,
}

#[derive(Clone, Debug)]
struct Intent {
    seq: u64,
    kind: String,
    session: Option<String>,
}

enum Undo {
    Session(String, Option<Count>),
    Opened(String, Option<Intent>),
    Closed(String, Intent),
}

/// What a batch is taken back to.
struct Kept {
    frontier: Frontier,
    prev: Option<Hash>,
    latest_ms: Option<i64>,
    accepted_ms: Option<i64>,
}

/// See the module's header.
#[derive(Default)]
pub struct Book {
    frontier: Frontier,
    prev: Option<Hash>,
    latest_ms: Option<i64>,
    /// The same since a clock was last accepted, if ever.
    accepted_ms: Option<i64>,
    sessions: HashMap<String, Count>,
    intents: HashMap<String, Intent>,
    kept: Option<Kept>,
    undo: Vec<Undo>,
}

impl Book {
    /// The sequence number of the next record.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The tree.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// The leaf hash of the last record.
    pub fn prev(&self) -> Hash {
        self.prev.unwrap_or(Hash::ZERO)
    }

    /// The latest time that any record bears that the clock has to be past: since one was accepted, that of any from
    /// there on.
    pub fn binding_ms(&self) -> Option<i64> {
        self.accepted_ms.or(self.latest_ms)
    }

    /// How many intents are open.
    pub fn open_intents(&self) -> usize {
        self.intents.len()
    }

    /// Whether this intent is open.
    pub fn is_open(&self, id: &str) -> bool {
        self.intents.contains_key(id)
    }

    /// What the next record of this session is numbered.
    pub fn next_in_session(&self, session: &str) -> u64 {
        self.sessions.get(session).map_or(1, |count| count.last + 1)
    }

    /// Takes up a record: staged until [`Book::keep`] or [`Book::take_back`].
    pub fn stage(&mut self, lead: &Lead<'_>, hash: Hash, ends_session: bool) {
        if self.kept.is_none() {
            self.kept = Some(Kept {
                frontier: self.frontier.clone(),
                prev: self.prev,
                latest_ms: self.latest_ms,
                accepted_ms: self.accepted_ms,
            });
        }
        self.frontier.push(hash);
        self.prev = Some(hash);
        self.latest_ms = Some(self.latest_ms.map_or(lead.at_ms, |ms| ms.max(lead.at_ms)));
        self.accepted_ms = if lead.kind == CLOCK_ACCEPTED {
            Some(lead.at_ms)
        } else {
            self.accepted_ms.map(|ms| ms.max(lead.at_ms))
        };
        if let Some((session, sseq)) = lead.session {
            let before = self.sessions.get(session).copied();
            let ended = ends_session || before.is_some_and(|b| b.ended);
            self.sessions.insert(session.to_owned(), Count { last: sseq, at_ms: lead.at_ms, ended });
            self.undo.push(Undo::Session(session.to_owned(), before));
        }
        if let Some(id) = lead.opens {
            let intent = Intent {
                seq: lead.seq,
                kind: lead.kind.to_owned(),
                session: lead.session.map(|(session, _)| session.to_owned()),
            };
            let before = self.intents.insert(id.to_owned(), intent);
            self.undo.push(Undo::Opened(id.to_owned(), before));
        }
        if let Some(id) = lead.closes
            && let Some(intent) = self.intents.remove(id)
        {
            self.undo.push(Undo::Closed(id.to_owned(), intent));
        }
    }

    /// What was staged is durable.
    pub fn keep(&mut self) {
        self.kept = None;
        self.undo.clear();
    }

    /// What was staged did not become durable.
    pub fn take_back(&mut self) {
        if let Some(kept) = self.kept.take() {
            self.frontier = kept.frontier;
            self.prev = kept.prev;
            self.latest_ms = kept.latest_ms;
            self.accepted_ms = kept.accepted_ms;
        }
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Session(session, Some(count)) => {
                    self.sessions.insert(session, count);
                }
                Undo::Session(session, None) => {
                    self.sessions.remove(&session);
                }
                Undo::Opened(id, Some(intent)) | Undo::Closed(id, intent) => {
                    self.intents.insert(id, intent);
                }
                Undo::Opened(id, None) => {
                    self.intents.remove(&id);
                }
            }
        }
    }

    /// What the next segment's header says. Sessions that ended, or were silent too long, are left out for good,
    /// unless an intent of theirs is still open.
    pub fn header(&mut self, segment: u64, after: Option<After>, now_ms: i64) -> Header {
        let intents = &self.intents;
        self.sessions.retain(|session, count| {
            let old = count.ended || now_ms.saturating_sub(count.at_ms) > SESSION_MEMORY_MS;
            !old || intents.values().any(|i| i.session.as_deref() == Some(session))
        });
        Header {
            segment,
            frontier: self.frontier.nodes().to_vec(),
            after,
            latest: self.latest_ms.map(time_text),
            accepted: self.accepted_ms.map(time_text),
            sessions: self.sessions.iter().map(|(session, count)| (session.clone(), count.last)).collect(),
            seen: self
                .sessions
                .iter()
                .map(|(session, count)| (session.clone(), time_text(count.at_ms)))
                .collect(),
            intents: self.intents(),
        }
    }

    /// The open intents, oldest first.
    pub fn intents(&self) -> Vec<IntentRef> {
        let mut intents: Vec<IntentRef> = self
            .intents
            .iter()
            .map(|(id, i)| IntentRef {
                id: id.clone(),
                seq: i.seq,
                kind: i.kind.clone(),
                session: i.session.clone(),
            })
            .collect();
        intents.sort_by(|a, b| (a.seq, &a.id).cmp(&(b.seq, &b.id)));
        intents
    }

    /// The book as a header tells it, the header's own record not yet taken up; `None` when the header's frontier
    /// does not fit its sequence number.
    pub fn from_header(lead: &Lead<'_>, header: &Header) -> Option<Book> {
        // A header renews nothing: what was silent before it stays so.
        let seen = |session: &str| {
            let at = header.seen.get(session).and_then(|at| crate::audit::record::parse_time(at));
            at.unwrap_or(lead.at_ms)
        };
        let count = |session: &str, last: u64| Count { last, at_ms: seen(session), ended: false };
        let intent = |i: &IntentRef| Intent { seq: i.seq, kind: i.kind.clone(), session: i.session.clone() };
        Some(Book {
            frontier: Frontier::from_parts(lead.seq, header.frontier.clone())?,
            prev: Some(lead.prev),
            latest_ms: header.latest.as_deref().and_then(crate::audit::record::parse_time),
            accepted_ms: header.accepted.as_deref().and_then(crate::audit::record::parse_time),
            sessions: header.sessions.iter().map(|(s, last)| (s.clone(), count(s, *last))).collect(),
            intents: header.intents.iter().map(|i| (i.id.clone(), intent(i))).collect(),
            kept: None,
            undo: Vec::new(),
        })
    }
}

fn time_text(ms: i64) -> String {
    let mut out = Vec::with_capacity(24);
    crate::audit::record::push_time(&mut out, ms);
    String::from_utf8(out).unwrap_or_default()
}
