//! Making a change, and asking for one.
//!
//! What a script answered may still be lost: a change is acknowledged when a majority of the copies confirmed it, and
//! where an answer does not come it is open whether the change was made. Whoever asks settles that: a change that was
//! told not to have been made is refused when it comes later, on whatever connection.
//!
//! Never here: what a script does (`scripts/commit.lua`), how it is sent ([`super::scripts`]).

use std::collections::BTreeMap;

use ::redis::Value;

use crate::{
    model::{ChangeId, Key, Version},
    state::{
        Commit, CommitFault, Committed, Grounds, Part, Refusal, ServerFault, StoreFault,
        checked::{checked, due_of},
    },
};

use super::{
    RedisStore,
    asks::Ask,
    said::{self, number, text, word},
    scripts::{self, Call},
    store::Failed,
    value,
};

/// How many questions for changes that were not made a part remembers.
const ASKS: u64 = 10_000;

/// What was read of a document.
type Read = (Key, Version);

/// What a change rests on: in the part that it writes, and elsewhere on the same server.
struct Reads<'c> {
    own: Vec<&'c Read>,
    foreign: Vec<&'c Read>,
}

impl RedisStore {
    /// The versions of what lies on other servers, compared immediately before (decision 0024), and the histories with them.
    async fn compared(&self, read: &[&Read]) -> Result<(), CommitFault> {
        let keys: Vec<Key> = read.iter().map(|(key, _)| key.clone()).collect();
        let found = self.load_all(&keys, false).await.map_err(CommitFault::Unavailable)?;
        let mut conflicts = Vec::new();
        for ((key, version), found) in read.iter().zip(found) {
            let now = found.transpose().map_err(|why| CommitFault::Unavailable(why.into()))?;
            if now.map_or(Version::NONE, |stored| stored.version) != *version {
                conflicts.push(key.clone());
            }
        }
        if conflicts.is_empty() { Ok(()) } else { Err(CommitFault::Conflict(conflicts)) }
    }

    /// What is known here of each part that a change rests on, if what was read of them is known still: a part that was begun anew since may
    /// be of another history, in which the same versions are others.
    fn grounds_of(&self, commit: &Commit) -> Result<BTreeMap<Part, Grounds>, CommitFault> {
        let (mut all, mut conflicts) = (BTreeMap::new(), Vec::new());
        for (key, _) in &commit.read {
            let part = self.names.part_of(key);
            let grounds = all.entry(part).or_insert_with(|| self.leases.grounds(part));
            // Nothing says of which history that is what the change rests on.
            if grounds.leaving {
                return Err(CommitFault::Unavailable(StoreFault::Suspect { part: part.0 }));
            }
            if !commit.since.hold(part, grounds) {
                conflicts.push(key.clone());
            }
        }
        if conflicts.is_empty() { Ok(all) } else { Err(CommitFault::Conflict(conflicts)) }
    }

    pub(super) async fn commit_one(&self, commit: Commit, ask: Ask) -> Result<Committed, CommitFault> {
        let texts = checked(&commit).map_err(CommitFault::Refused)?;
        let Some((first, _)) = commit.write.first() else { return Err(CommitFault::Refused(Refusal::Empty)) };
        let part = self.names.part_of(first);
        if let Some((key, _)) = commit.write.iter().find(|(key, _)| self.names.part_of(key) != part) {
            return Err(CommitFault::Refused(Refusal::Parts(key.clone())));
        }
        let (own, foreign) = commit.read.iter().partition(|(key, _)| self.names.part_of(key) == part);
        let mut reads = Reads { own, foreign };
        if !reads.foreign.is_empty() && !self.links.one_server() {
            self.compared(&reads.foreign).await?;
            reads.foreign.clear();
        }
        let unavailable = |fault| CommitFault::Unavailable(fault);
        let mut ticket = ask.ticket.clone();
        for again in [false, true] {
            let mut grounds = self.grounds_of(&commit)?;
            let (call, order) = self.commit_call(&commit, &texts, part, (&grounds, &reads), &ticket);
            let (value, confirmed) = match self.write(part, call).await {
                Ok(answered) => answered,
                Err(Failed { fault, open: true }) => return Err(CommitFault::Ambiguous(fault)),
                Err(Failed { fault, open: false }) => return Err(unavailable(fault)),
            };
            if let Some(conflicts) = conflicts(&value, &order) {
                return Err(CommitFault::Conflict(conflicts));
            }
            if let Some(given) = given(&value) {
                // Asked for by this process since: the answer holds. By one before it: this is a new attempt.
                if again || self.asks.of(&commit.change) != ask {
                    let detail = "it was asked for meanwhile, and counts as not made".to_owned();
                    return Err(unavailable(StoreFault::Server { fault: ServerFault::TimedOut, detail }));
                }
                ticket = given;
                continue;
            }
            let mut rows = self.opened(part, value).map_err(unavailable)?;
            let repeated = rows.next().as_ref().and_then(text) == Some(b"repeated");
            let (place, line) = (number(rows.next().as_ref()), said::line(rows.next().as_ref()));
            let Some((place, line)) = place.zip(line) else {
                return Err(CommitFault::Ambiguous(said::senseless("a change without a place")));
            };
            if let Some(silent) = rows.next().map(|row| word(Some(&row))).filter(|why| !why.is_empty()) {
                tracing::warn!(%silent, "a change cannot be pushed to the other gateways; they hear of it later");
            }
            confirmed.map_err(CommitFault::Ambiguous)?;
            self.leases.proved(part, &grounds.remove(&part).unwrap_or_default(), Some((place, line)));
            self.links.raise(part, place);
            return Ok(Committed { place: part.at(place), line, repeated });
        }
        Err(CommitFault::Ambiguous(said::senseless("a ticket that is never right")))
    }

    fn commit_call<'c>(
        &self,
        commit: &'c Commit,
        texts: &[String],
        part: Part,
        (grounds, reads): (&BTreeMap<Part, Grounds>, &Reads<'c>),
        ticket: &str,
    ) -> (Call, Vec<&'c Key>) {
        let kept = &self.options.kept;
        let keys = ["head", "feed", "ids", "line", "keys", "due", "asks"];
        let seen = |part| Self::seen(part, grounds.get(&part).unwrap_or(&Grounds::default()));
        let mut call = self
            .call(&scripts::COMMIT, part, &keys)
            .number(self.names.skip())
            .number(part.0)
            .arg(seen(part))
            .arg(commit.change.as_str())
            .number(commit.at.ms())
            .arg(ticket)
            .arg(self.names.prefix())
            .number(kept.changes)
            .number(kept.ms)
            .number(kept.feed)
            .number(kept.feed_ms);
        let mut order = Vec::with_capacity(commit.read.len());
        call.push(reads.own.len().to_string());
        for (key, version) in &reads.own {
            call.key(self.names.document(part, key));
            call.push(value::version(*version));
            order.push(key);
        }
        let mut others: Vec<(Part, Vec<&'c Read>)> = Vec::new();
        for read in &reads.foreign {
            let part = self.names.part_of(&read.0);
            match others.iter_mut().find(|(known, _)| *known == part) {
                Some((_, reads)) => reads.push(read),
                None => others.push((part, vec![read])),
            }
        }
        for (part, reads) in others {
            call.key(self.names.of(part, "head"));
            call.key(self.names.of(part, "keys"));
            call.key(self.names.of(part, "line"));
            call.push(seen(part));
            call.push(reads.len().to_string());
            for (key, version) in reads {
                call.key(self.names.document(part, key));
                call.push(value::version(*version));
                order.push(key);
            }
        }
        for ((key, stored), text) in commit.write.iter().zip(texts) {
            let at = reads.own.iter().position(|(read, _)| read == key).unwrap_or_default();
            call.push((at + 1).to_string());
            call.push(due_of(stored).map(|at| at.ms().to_string()).unwrap_or_default());
            call.push(value::bytes(stored, text));
        }
        (call, order)
    }

    pub(super) async fn asked_one(
        &self,
        part: Part,
        change: &ChangeId,
    ) -> Result<Option<Committed>, StoreFault> {
        let grounds = self.leases.grounds(part);
        let call = self.call(&scripts::ASKED, part, &["head", "ids", "asks", "line"]);
        let call = call.arg(Self::seen(part, &grounds)).arg(change.as_str()).number(ASKS);
        let (value, confirmed) = self.write(part, call).await.map_err(|failed| failed.fault)?;
        let mut rows = self.opened(part, value)?;
        let (made, told) = (rows.next(), rows.next());
        match made.as_ref().and_then(text) {
            Some(b"made") => {
                confirmed?;
                let place = number(told.as_ref()).zip(said::line(rows.next().as_ref()));
                let (place, line) = place.ok_or_else(|| said::senseless("a change without a place"))?;
                self.leases.proved(part, &grounds, Some((place, line)));
                Ok(Some(Committed { place: part.at(place), line, repeated: true }))
            }
            Some(b"none") => {
                // Also where it is not confirmed: the ticket may hold.
                self.asks.answered(change, &word(told.as_ref()));
                confirmed?;
                Ok(None)
            }
            _ => Err(said::senseless("neither made nor not")),
        }
    }
}

/// The documents that a script found changed.
fn conflicts(value: &Value, order: &[&Key]) -> Option<Vec<Key>> {
    let Value::Array(rows) = value else { return None };
    if rows.first().and_then(text) != Some(b"conflict") {
        return None;
    }
    let keys = rows.iter().skip(2).filter_map(|row| {
        let at = usize::try_from(number(Some(row))?).ok()?.checked_sub(1)?;
        order.get(at).map(|key| (*key).clone())
    });
    Some(keys.collect())
}

/// The ticket that somebody was given who asked for the change.
fn given(value: &Value) -> Option<String> {
    let Value::Array(rows) = value else { return None };
    (rows.first().and_then(text) == Some(b"asked")).then(|| word(rows.get(1)))
}
