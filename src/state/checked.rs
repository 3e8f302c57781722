//! What every store asks of a commit before it looks at anything that is stored.
//!
//! Never here: versions as they are stored, parts ([`super::redis`]).

use std::collections::BTreeSet;

use crate::model::{Ladder, Stored, Timestamp, join::narrowest};

use super::{COMMIT_MOST, Commit, Refusal, codec};

/// When a document falls due. Of states side by side the narrowest; the ladder plays no part in deadlines.
pub(super) fn due_of(stored: &Stored) -> Option<Timestamp> {
    narrowest(stored, &Ladder::new(Vec::new()))?.due()
}

/// Whether a commit is put together rightly; gives its documents as text.
pub(super) fn checked(commit: &Commit) -> Result<Vec<String>, Refusal> {
    let named = commit.read.len().max(commit.write.len());
    if named > COMMIT_MOST {
        return Err(Refusal::TooMany(named));
    }
    if commit.write.is_empty() {
        return Err(Refusal::Empty);
    }
    let mut seen = BTreeSet::new();
    if let Some((key, _)) = commit.read.iter().find(|(key, _)| !seen.insert(key)) {
        return Err(Refusal::Twice(key.clone()));
    }
    let mut seen = BTreeSet::new();
    commit
        .write
        .iter()
        .map(|(key, stored)| {
            if !seen.insert(key) {
                return Err(Refusal::Twice(key.clone()));
            }
            let Some((_, version)) = commit.read.iter().find(|(read, _)| read == key) else {
                return Err(Refusal::Unread(key.clone()));
            };
            if stored.version <= *version {
                return Err(Refusal::NotRaised(key.clone()));
            }
            codec::document(key, stored)
        })
        .collect()
}
