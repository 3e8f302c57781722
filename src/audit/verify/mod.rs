//! Verifying a ledger from its files and its public key alone: one pass, bounded memory.
//!
//! `docs/ledger-format.md` says what is checked and how a difference is named; a second verifier in the tests is
//! written from that document. Never here: repairing, and trust in anything that the files say of themselves.

mod chain;
mod content;
mod gap;
mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::journal::book::IntentRef;
use super::note::VerifyingKey;
use super::read::ReadError;
use super::tree::Hash;

/// What is wrong at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The line is not the one that was written.
    Altered,
    /// Records are missing.
    Dropped,
    /// The line does not belong to the log.
    Inserted,
    /// The line stands in the wrong place.
    Reordered,
    /// Records at the end are missing.
    CutOff,
    /// Among the records named, some are not those that a checkpoint covers.
    Mismatch,
    /// A checkpoint that is missing, malformed, older than another, or not signed by the log's key.
    Checkpoint,
    /// A personal value is not the one whose digest was recorded.
    Open,
    /// A session's records are not numbered without gap.
    SessionGap,
    /// A segment's header does not agree with what precedes it.
    Header,
}

impl What {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            What::Altered => "altered",
            What::Dropped => "dropped",
            What::Inserted => "inserted",
            What::Reordered => "reordered",
            What::CutOff => "cut_off",
            What::Mismatch => "mismatch",
            What::Checkpoint => "checkpoint",
            What::Open => "open",
            What::SessionGap => "session_gap",
            What::Header => "header",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: What,
    /// In which file.
    pub file: String,
    /// On which line of it, from 1; of a loss, the line where it shows. 0 where no line can be named.
    pub line: u64,
    /// The first record concerned.
    pub first: u64,
    /// The last record concerned.
    pub last: u64,
    /// In words.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} line {}, record {}", self.what.code(), self.file, self.line, self.first)?;
        if self.last != self.first {
            write!(f, " to {}", self.last)?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Everything that is wrong, in the order of the log.
    pub findings: Vec<Finding>,
    /// How many more there were than are listed.
    pub unlisted: u64,
    /// How many records the log has, as far as it is here.
    pub size: u64,
    /// The root of the tree of all of them, unless records are missing.
    pub root: Option<Hash>,
    /// How many records the latest checkpoint covers. Those behind it are not signed yet.
    pub signed: u64,
    /// How many checkpoints were compared with the tree.
    pub checkpoints: u64,
    /// How many segments were read.
    pub segments: u64,
    /// Bytes behind sealed ends and of a torn last line: not part of the log.
    pub outside_bytes: u64,
    /// Records by kind.
    pub kinds: BTreeMap<String, u64>,
    /// Intents without outcome.
    pub open_intents: Vec<IntentRef>,
}

/// More findings than this are only counted.
const MAX_FINDINGS: usize = 1000;

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Records that no checkpoint covers yet: genuine as far as the chain tells, but unsigned.
    pub fn unsigned(&self) -> std::ops::Range<u64> {
        self.signed.min(self.size)..self.size
    }

    fn add(&mut self, finding: Finding) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        } else {
            self.unlisted += 1;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        if self.unlisted > 0 {
            writeln!(f, "and {} more", self.unlisted)?;
        }
        writeln!(f, "{} records in {} segments", self.size, self.segments)?;
        if let Some(root) = self.root {
            writeln!(f, "root {root}")?;
        }
        writeln!(f, "{} checkpoints compared, the latest covers {} records", self.checkpoints, self.signed)?;
        let unsigned = self.unsigned();
        if !unsigned.is_empty() {
            writeln!(f, "records {} to {} are not signed yet", unsigned.start, unsigned.end - 1)?;
        }
        if self.outside_bytes > 0 {
            writeln!(f, "{} bytes behind sealed ends are not part of the log", self.outside_bytes)?;
        }
        for (kind, count) in &self.kinds {
            writeln!(f, "{count:>10} {kind}")?;
        }
        for intent in &self.open_intents {
            writeln!(f, "open: {} (record {}, {})", intent.id, intent.seq, intent.kind)?;
        }
        writeln!(f, "{}", if self.is_clean() { "verified" } else { "NOT verified" })
    }
}

/// Verifies the ledger in a directory against its public key.
///
/// Records behind the latest checkpoint are checked by their chain only; [`Report::unsigned`] names them.
///
/// # Errors
/// [`ReadError`] when a file cannot be read at all; whatever is wrong with its content is a finding.
pub fn verify(dir: &Path, key: &VerifyingKey) -> Result<Report, ReadError> {
    chain::Verifier::new(dir, key)?.run()
}
