//! What a store says when it cannot do what was asked. Every fault has a stable code and says what to do.
//!
//! Never here: what a caller is answered then ([`crate::proxy`], [`crate::control`]); that a rule refused.

use crate::model::Key;

pub use super::server_fault::ServerFault;

/// A document that is there and cannot be read. It is never taken for absent or for a default.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Written by a newer build.
    #[error(
        "`{key}` has format {found}, this build reads {known}; run the newer version of postern that wrote it"
    )]
    Newer {
        /// Which document.
        key: Key,
        /// The number it bears.
        found: u32,
        /// The number that this build knows.
        known: u32,
    },
    /// Not what its key and format promise.
    #[error(
        "`{key}` cannot be read ({detail}); an embedded store is rebuilt when its file is moved away and `postern run` started; of one in Redis delete all keys of the document's part, so that its gateways heal it: docs/operations.md, \"A damaged part\""
    )]
    Damaged {
        /// Which document.
        key: Key,
        /// What is wrong with it.
        detail: String,
    },
}

impl Unreadable {
    /// Which document.
    pub fn key(&self) -> &Key {
        match self {
            Unreadable::Newer { key, .. } | Unreadable::Damaged { key, .. } => key,
        }
    }

    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Unreadable::Newer { .. } => "store_document_newer",
            Unreadable::Damaged { .. } => "store_document_damaged",
        }
    }
}

/// A store cannot answer. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// More is waiting than the store takes.
    #[error("the store has too much waiting; try again shortly, and look at the disk if it stays so")]
    Busy,
    /// It cannot be reached, read or written; it comes back by itself when the cause is gone.
    #[error("the store does not answer ({detail}); free or repair its disk, it is tried again by itself")]
    Unavailable {
        /// The cause as the system tells it.
        detail: String,
    },
    /// It holds something that contradicts what it acknowledged, or that cannot be understood.
    #[error(
        "the store is damaged ({detail}); stop the gateway, move the file away and start `postern run`: it is rebuilt from the ledger"
    )]
    Damaged {
        /// What was found.
        detail: String,
    },
    /// It was closed.
    #[error("the store is closed; the gateway is stopping")]
    Closed,
    /// A document that is needed cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The feed no longer goes back that far.
    #[error(
        "the change feed starts after {oldest}, not at {asked}; load afresh what is cached and follow from there"
    )]
    FeedForgotten {
        /// The place that was asked for.
        asked: u64,
        /// The earliest place that can be asked for.
        oldest: u64,
    },
    /// Somebody saw a newer change than the store has: it has lost something (law 8).
    #[error(
        "change {asked} was seen, but the store ends at {newest}: it has lost changes; restart `postern run`, which joins in what the ledger has"
    )]
    WentBack {
        /// The place that was asked for.
        asked: u64,
        /// The newest place it has.
        newest: u64,
    },
    /// A part of it has other changes than those that what is known here came from (law 8).
    #[error(
        "change {number} of part {part} of the store is not the one that was seen here, or can no longer be compared: there are two histories; its gateways join them, and it is tried again by itself"
    )]
    Forked {
        /// Which part.
        part: u16,
        /// The place where that was found.
        number: u64,
    },
    /// A part of it has no mark. What it held is unknown, which is not nothing (law 8).
    #[error(
        "part {part} of the store has no mark: it was emptied, or never made; its gateways heal it from what they know, or `postern state rebuild` does, and only a new one is made by `postern state init`"
    )]
    Forgotten {
        /// Which part.
        part: u16,
    },
    /// Another store is in its place.
    #[error(
        "the store is now {found} and was {known}: it was replaced; restart `postern run` if that was meant, else restore the former one"
    )]
    Replaced {
        /// The one that is there.
        found: String,
        /// The one that was known.
        known: String,
    },
    /// A part of it has lost something and is not healed yet (law 8).
    #[error("part {part} of the store has lost something and is being healed; it is tried again by itself")]
    Suspect {
        /// Which part.
        part: u16,
    },
    /// Its making was interrupted.
    #[error(
        "the store was begun and never finished; run `postern state init` again, which goes on from there"
    )]
    Unmade,
    /// It has the layout of a newer build.
    #[error(
        "the store has layout {found}, which a newer version of postern gave it, and this build reads {known}; run that version or a later one here"
    )]
    Newer {
        /// What it bears.
        found: u32,
        /// What this build knows.
        known: u32,
    },
    /// It has another layout.
    #[error(
        "the store has layout `{found}`, this build reads {known}; run the version of postern that made it"
    )]
    Layout {
        /// What it bears.
        found: String,
        /// What this build knows.
        known: u32,
    },
    /// It has another number of parts.
    #[error("the store has `{found}` parts, not {known}; the number is fixed when a store is made")]
    Parts {
        /// What it says.
        found: String,
        /// What was expected.
        known: u16,
    },
    /// A part holds something that cannot be understood.
    #[error(
        "part {part} of the store is damaged ({detail}); delete all of its keys, so that its gateways heal it: docs/operations.md, \"A damaged part\""
    )]
    PartDamaged {
        /// Which part.
        part: u16,
        /// What was found.
        detail: String,
    },
    /// A server of it does not do what was asked.
    #[error("a server of the store {} ({detail}); {}", fault.what(), fault.remedy())]
    Server {
        /// Why not.
        fault: ServerFault,
        /// As it says it itself.
        detail: String,
    },
}

impl StoreFault {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            StoreFault::Busy => "store_busy",
            StoreFault::Unavailable { .. } => "store_unavailable",
            StoreFault::Damaged { .. } => "store_damaged",
            StoreFault::Closed => "store_closed",
            StoreFault::Unreadable(unreadable) => unreadable.code(),
            StoreFault::FeedForgotten { .. } => "store_feed_forgotten",
            StoreFault::WentBack { .. } => "store_went_back",
            StoreFault::Forked { .. } => "store_forked",
            StoreFault::Forgotten { .. } => "store_mark_missing",
            StoreFault::Replaced { .. } => "store_replaced",
            StoreFault::Suspect { .. } => "store_suspect",
            StoreFault::Unmade => "store_unmade",
            StoreFault::Newer { .. } => "store_newer",
            StoreFault::Layout { .. } => "store_layout",
            StoreFault::Parts { .. } => "store_parts",
            StoreFault::PartDamaged { .. } => "store_part_damaged",
            StoreFault::Server { fault, .. } => fault.code(),
        }
    }
}

/// Why a commit is none: it was put together wrongly. A fault of the program, not of the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A document is to be written whose version was not read.
    #[error("`{0}` is written but was not read; read every document that a change writes")]
    Unread(Key),
    /// A key is named twice.
    #[error("`{0}` is named twice; name every document once")]
    Twice(Key),
    /// The new version is not above the one that was read.
    #[error("`{0}` does not get a higher version; make the document with its former state at hand")]
    NotRaised(Key),
    /// The document does not belong under its key, or is none.
    #[error("`{0}` would hold something else than its key names; write each kind under its own key")]
    Mismatch(Key),
    /// The document is larger than [`super::DOCUMENT_MOST`].
    #[error("`{key}` has {bytes} bytes, at most {most} are taken; shorten its lists and texts", most = super::DOCUMENT_MOST)]
    TooLarge {
        /// Which document.
        key: Key,
        /// How large it is.
        bytes: usize,
    },
    /// It names more than [`super::COMMIT_MOST`] documents.
    #[error("the change names {0} documents, at most {most} are taken; split it", most = super::COMMIT_MOST)]
    TooMany(usize),
    /// It writes nothing.
    #[error("the change writes nothing; commit only what changes a document")]
    Empty,
    /// It writes in two parts.
    #[error("`{0}` lies in another part than what is written beside it; write below one tenant at a time")]
    Parts(Key),
}

impl Refusal {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Unread(_) => "commit_unread",
            Refusal::Twice(_) => "commit_twice",
            Refusal::NotRaised(_) => "commit_not_raised",
            Refusal::Mismatch(_) => "commit_mismatch",
            Refusal::TooLarge { .. } => "commit_too_large",
            Refusal::TooMany(_) => "commit_too_many",
            Refusal::Empty => "commit_empty",
            Refusal::Parts(_) => "commit_parts",
        }
    }
}

/// Why a commit was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitFault {
    /// These documents are no longer as they were read. Nothing was changed: read again and decide again.
    #[error("{} of the documents read changed meanwhile; read them again and decide again", .0.len())]
    Conflict(Vec<Key>),
    /// Nothing was changed.
    #[error(transparent)]
    Unavailable(StoreFault),
    /// It may have been applied or not: ask by [`super::Store::asked`], or commit again with the same id.
    #[error("whether the change was applied is not known ({0}); ask for it by its id")]
    Ambiguous(StoreFault),
    /// It was put together wrongly. Nothing was changed.
    #[error(transparent)]
    Refused(Refusal),
}

impl CommitFault {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            CommitFault::Conflict(_) => "commit_conflict",
            CommitFault::Unavailable(fault) => fault.code(),
            CommitFault::Ambiguous(_) => "commit_ambiguous",
            CommitFault::Refused(refusal) => refusal.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TenantId;

    #[test]
    fn every_fault_has_a_code_of_its_own_and_says_what_to_do() {
        let key = || Key::Tenant(TenantId::new("acme").unwrap());
        let detail = || "x".to_owned();
        let unreadable = [
            Unreadable::Newer { key: key(), found: 2, known: 1 },
            Unreadable::Damaged { key: key(), detail: detail() },
        ];
        let mut faults = vec![
            StoreFault::Busy,
            StoreFault::Unavailable { detail: detail() },
            StoreFault::Damaged { detail: detail() },
            StoreFault::Closed,
            StoreFault::FeedForgotten { asked: 1, oldest: 2 },
            StoreFault::WentBack { asked: 2, newest: 1 },
            StoreFault::Forgotten { part: 7 },
            StoreFault::Replaced { found: detail(), known: detail() },
            StoreFault::Suspect { part: 7 },
            StoreFault::Unmade,
            StoreFault::Newer { found: 2, known: 1 },
            StoreFault::Layout { found: detail(), known: 1 },
            StoreFault::Parts { found: detail(), known: 64 },
            StoreFault::PartDamaged { part: 7, detail: detail() },
        ];
        faults.extend(ServerFault::ALL.map(|fault| StoreFault::Server { fault, detail: detail() }));
        faults.extend(unreadable.into_iter().map(StoreFault::Unreadable));
        let refusals = [
            Refusal::Unread(key()),
            Refusal::Twice(key()),
            Refusal::NotRaised(key()),
            Refusal::Mismatch(key()),
            Refusal::TooLarge { key: key(), bytes: 9 },
            Refusal::TooMany(9),
            Refusal::Empty,
            Refusal::Parts(key()),
        ];
        let mut all: Vec<CommitFault> = faults.into_iter().map(CommitFault::Unavailable).collect();
        all.extend(refusals.into_iter().map(CommitFault::Refused));
        all.push(CommitFault::Conflict(vec![key()]));
        all.push(CommitFault::Ambiguous(StoreFault::Closed));
        let mut codes: Vec<&str> = all.iter().map(CommitFault::code).collect();
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
        for fault in &all {
            let text = fault.to_string();
            assert!(!text.contains('\n') && text.contains([';', ':', ',']), "{text}");
            assert!(text.starts_with(|first: char| !first.is_uppercase()), "{text}");
        }
    }
}
